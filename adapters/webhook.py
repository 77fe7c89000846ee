"""A signed webhook to another party's systems (Standard Webhooks, specification 1.0).

`webhook-id` is the post's id, the same on every try, so that a receiver can act once on it;
`webhook-timestamp` is the time of this try. The body is JSON in UTF-8:

    version      1
    world        "exercise" or "live"
    post_id      the post's id, as in `webhook-id`
    incident     the incident's public id
    url          the incident's public address
    number       the update's number within its incident
    kind         "update", "correction", "retraction" or "all clear"
    headline     as approved
    text         as approved, verbatim
    language     of headline and text (BCP 47)
    released_at  RFC 3339, UTC
    expires_at   RFC 3339, UTC: from then on the update says nothing
    pictures     where there are any: of each its url, type, width and height in pixels, size in
                 bytes, sha256 of those, and alt, its description as approved

A picture can be fetched from its url (in an exercise with the feeds' password) while its update is
out, and is the one that was approved if its SHA-256 is `sha256`.

A receiver answers 2xx once it has taken the message, 410 to end the subscription, and 429 to be
asked again later, with Retry-After if it knows when. Any 5xx leaves open what it did, for a proxy
may have said it: one that acts once on one `webhook-id` gets it again, after Retry-After. A webhook
cannot be asked what it holds.

While its secret is changed the one before signs, too, for a day: `webhook-signature` then holds two
signatures, separated by a space, and either is good.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from yarl import URL

from adapters import http
from broadcaster.accounts import WebhookAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.delivery import Message, Receipt, Refused, Sender, meant_for
from broadcaster.world import W


class Webhook(Sender[W]):
    """Posts to one receiver. `key` is the secret's bytes; neither it nor the URL is ever shown."""

    def __init__(
        self, channel: Channel[W], account: WebhookAccount, *, key: bytes,
        before: tuple[bytes, datetime] | None = None, networks: http.Networks, clock: Clock,
    ) -> None:  # fmt: skip
        """`before`: the key before this one, and until when it signs, too."""
        self.channel = channel
        self._url = URL(str(account.url))
        self._key = key
        self._before = before
        self._clock = clock
        self._client = http.Client(networks, clock)

    async def send(self, message: Message[W]) -> Receipt:
        """Posts the message. Raises TryLater, Refused or InDoubt."""
        meant_for(self.channel, message)
        answer = await self._client.post_signed(
            self._url, message.post_id, _body(message), keys=self._keys(),
            deadline=self.channel.deadline,
        )  # fmt: skip
        if answer.status == 410:
            raise Refused(
                "The receiver ended the subscription (410). Take its channel out of the settings, "
                "or ask whoever runs it."
            )
        http.prove(answer)
        return Receipt(remote_id=message.post_id)

    async def close(self) -> None:
        await self._client.close()

    def _keys(self) -> list[bytes]:
        if self._before is None or self._clock.now() >= self._before[1]:
            return [self._key]
        return [self._key, self._before[0]]


def _body(message: Message[W]) -> bytes:
    fields: dict[str, object] = {
        "version": 1,
        "world": message.world,
        "post_id": message.post_id,
        "incident": message.incident_public_id,
        "url": message.incident_url,
        "number": message.number,
        "kind": message.kind,
        "headline": message.rendering.headline,
        "text": message.rendering.text,
        "language": message.rendering.language,
        "released_at": message.released_at.astimezone(UTC).isoformat(),
        "expires_at": message.expires_at.astimezone(UTC).isoformat(),
    }
    if pictures := message.rendering.pictures:
        fields["pictures"] = [
            {
                "url": message.picture_url(each), "type": each.type, "width": each.width,
                "height": each.height, "size": each.size, "sha256": each.digest, "alt": each.alt,
            }
            for each in pictures
        ]  # fmt: skip
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
