"""Calls a person through the department's own app: a signed webhook (Standard Webhooks 1.0).

`webhook-id` is the call's id, the same on every try. The body is JSON in UTF-8:

    version     1
    type        "call"
    world       "exercise" or "live"
    call_id     the call's id, as in `webhook-id`
    about       "request": an update waits; "release refused": one that was approved was not
                released; "words lapsed": a fact in one has changed; "command moved", "command
                offered", "offer ended"; "channel locked out"
    request_id  of the first three: the last part of `url`
    incident_id of all but the first and the last; where there is no `request_id`, the last part
                of `url`
    to          what the app calls the person
    words       what to show; it names no incident and no place
    url         where the person reads and decides
    attempt     1 for the first round of calls, and so on

The app answers 2xx once it has taken the call, and 429 or 503 with Retry-After to be asked again.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Generic, Literal

from yarl import URL

from adapters import http
from broadcaster.calling import About, Accepted, Call, Means, meant_for
from broadcaster.clock import Clock
from broadcaster.delivery import Refused
from broadcaster.world import W


class CallWebhook(Generic[W]):
    """Calls through one app. `key` is the secret's bytes; neither it nor the URL is ever shown."""

    means: Literal[Means.WEBHOOK] = Means.WEBHOOK

    def __init__(
        self, world: W, *, url: str, key: bytes, networks: http.Networks, clock: Clock,
        deadline: timedelta = http.DEADLINE,
    ) -> None:  # fmt: skip
        self.world: W = world
        self._url = URL(url)
        self._key = key
        self._clock = clock
        self._deadline = deadline
        self._client = http.Client(networks, clock, http.CALL_NETWORKS)

    async def call(self, call: Call[W]) -> Accepted:
        """Hands the call to the app. Raises TryLater, Refused or InDoubt."""
        meant_for(self, call)
        answer = await self._client.post_signed(
            self._url, call.id, _body(call), keys=[self._key], deadline=self._deadline
        )
        if answer.status == 410:
            raise Refused(
                "The app that calls people ended the subscription (410). Take it out of the "
                "settings, or ask whoever runs it."
            )
        http.prove(answer, repeats=True)
        return Accepted(remote_id=call.id, at=self._clock.now())

    async def close(self) -> None:
        await self._client.close()


def _body(call: Call[W]) -> bytes:
    where = {"request_id": call.about_id} if call.about is About.REQUEST else {}
    if call.about not in (About.REQUEST, About.LOCKED_OUT, About.CLOCK_SET):
        where = {"incident_id": call.incident_id}
    if call.request_id is not None:
        where["request_id"] = call.request_id
    fields = {
        "version": 1,
        "type": "call",
        "world": call.world,
        "call_id": call.id,
        "about": call.about,
        **where,
        "to": call.address,
        "words": call.words,
        "url": call.url,
        "attempt": call.attempt,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
