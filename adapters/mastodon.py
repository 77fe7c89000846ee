"""Statuses of an account on a Mastodon server (docs.joinmastodon.org/methods/statuses).

Each is public and may be quoted by nobody; Mastodon cannot close replies (issue #14762). Its
Idempotency-Key is the post's id, which the server knows for an hour; some answer 500 to one that
they know (issue #40399), so after a 500 the status is looked for. Read is what the public reads,
the HTML `content`, and not `/source`: what the server makes of the words is part of them.

A picture is brought before its status (docs.joinmastodon.org/methods/media, version 2). One that no
status shows is dropped by the server, so it is brought anew on each try.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from yarl import URL

from adapters import http
from broadcaster.accounts import MastodonAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.counting import LINK_COUNTS
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    NotThere,
    Receipt,
    Refused,
    Seen,
    Sender,
    TryLater,
    meant_for,
)
from broadcaster.media import ENDINGS
from broadcaster.world import W

#: How many statuses are asked for at once (servers give no more), the bytes they may be, and how
#: often.
PAGE, LONGEST_PAGE, PAGES = 40, 2_000_000, 25

#: When a server that works on a picture is asked again.
WORKS = timedelta(seconds=5)

#: How far the server's clock may be behind ours: what is older than the release is another post.
SKEW = timedelta(minutes=1)


class Mastodon(Sender[W]):
    """Posts to one account. Its token is never shown."""

    def __init__(
        self, channel: Channel[W], account: MastodonAccount, *, networks: http.Networks,
        clock: Clock,
    ) -> None:  # fmt: skip
        self.channel = channel
        self._api = URL(str(account.url)) / "api/v1"
        self._token = account.token
        self._client = http.Client(networks, clock)
        self._account_id: str | None = None

    async def send(self, message: Message[W]) -> Receipt:
        """Posts a status. Raises TryLater, Refused or InDoubt."""
        meant_for(self.channel, message)
        status = _status(message) | {"visibility": "public"}
        if brought := await self._brought(message):
            status["media_ids"] = brought
        answer = await self._ask(
            "POST", self._api / "statuses", status, {"Idempotency-Key": message.post_id}
        )
        if answer.status == 500:
            with contextlib.suppress(TryLater):
                if there := await self.find(message):
                    return there
        _prove(answer)
        return _receipt(answer)

    async def find(self, message: Message[W]) -> Receipt | None:
        """The newest status of these words since their release. Raises TryLater."""
        with http.legible():
            if self._account_id is None:
                self._account_id = str((await self._look("accounts/verify_credentials"))["id"])
            since = message.released_at - SKEW
            query = {"limit": str(PAGE), "exclude_reblogs": "true"}
            for _ in range(PAGES):
                page = await self._look(f"accounts/{self._account_id}/statuses", query)
                for status in page:
                    if _at(status) < since:
                        return None
                    if words(status) == message.rendering.text:
                        return _told(status)
                if not page:
                    return None
                query["max_id"] = str(page[-1]["id"])
        raise TryLater("Too many posts were made since these words were released to look through.")

    async def edit(self, message: Message[W], there: Receipt) -> Receipt:
        """Puts words and picture in the place of a status's. Raises as `send`, or NotThere."""
        meant_for(self.channel, message)
        status = _status(message) | {"media_ids": await self._brought(message)}
        answer = await self._ask("PUT", self._api / "statuses" / there.remote_id, status)
        if answer.status == 404:
            raise NotThere("The post is no longer on Mastodon (404). Nothing was changed.")
        _prove(answer)
        return _receipt(answer)

    async def retract(self, there: Receipt) -> None:
        """Deletes a status; one that is gone is deleted. Raises TryLater, Refused or InDoubt."""
        answer = await self._ask("DELETE", self._api / "statuses" / there.remote_id)
        if answer.status not in (404, 410):
            _prove(answer)
            _receipt(answer)  # a deletion is answered with the status that was

    async def read(self, there: Receipt) -> Seen | None:
        """The words that the public reads; None: they are gone. Raises TryLater."""
        with http.legible():
            status = await self._look(f"statuses/{there.remote_id}")
            if status is None:
                return None
            shown = tuple(each["description"] or "" for each in status["media_attachments"])
            return Seen(text=words(status), pictures=shown)

    async def differs(self) -> Sequence[str]:
        """Limits of the server that are not those we count by. Raises TryLater.

        They stand in its `configuration` (docs.joinmastodon.org/entities/Instance).
        """
        with http.legible():
            server = (await self._look("instance", of=self._api.parent / "v2"))["configuration"]
            return list(_differences(server, self.channel))

    async def close(self) -> None:
        await self._client.close()

    async def _brought(self, message: Message[W]) -> list[str]:
        """The server's numbers for the message's pictures. Raises TryLater or Refused."""
        brought = []
        for picture in message.rendering.pictures:
            body, content_type = http.form(
                {"description": picture.alt}, "file", picture, message.file(picture)
            )
            with http.posts_nothing():
                answer = await self._client.bring(
                    self._api.parent / "v2/media", body=body,
                    deadline=self.channel.time_for([picture]),
                    headers={**self._proof(), "Content-Type": content_type},
                )  # fmt: skip
                if answer.status in (413, 422):
                    raise Refused(
                        f"Mastodon does not take the picture ({answer.status}), and nothing was "
                        "posted. Have the words approved without it, or with a smaller one."
                    )
                _prove(answer)
                brought.append(str(answer.json["id"]))
            if answer.status == 202:
                raise TryLater(
                    "Mastodon is still working on the picture (202). Nothing was posted.", WORKS
                )
        return brought

    async def _look(
        self, path: str, query: Mapping[str, str] | None = None, *, of: URL | None = None
    ) -> Any:
        """What is there, as JSON; None: nothing is (any more). Raises TryLater."""
        answer = await self._client.look(
            (of or self._api).joinpath(path).with_query(query), headers=self._proof(),
            deadline=self.channel.deadline, most=LONGEST_PAGE,
        )  # fmt: skip
        return None if answer.status in (404, 410) else http.shown(answer)

    async def _ask(
        self, method: str, url: URL, fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.Answer:  # fmt: skip
        body = None if fields is None else json.dumps(fields).encode()
        said = {} if fields is None else {"Content-Type": "application/json"}
        return await self._client.request(
            method, url, body=body, headers={**self._proof(), **said, **(headers or {})},
            deadline=self.channel.deadline,
        )  # fmt: skip

    def _proof(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"}


def _status(message: Message[W]) -> dict[str, object]:
    return {
        "status": message.rendering.text, "language": message.rendering.language,
        "quote_approval_policy": "nobody",
    }  # fmt: skip


def _prove(answer: http.Answer) -> None:
    """As `http.prove`, and says what Mastodon's refusals mean."""
    match answer.status:
        case 401:
            raise LockedOut(
                "Mastodon does not know our token (401). Make a new one in the account's settings, "
                "under Development, and put it into ours."
            )
        case 403:
            raise Refused(
                "Mastodon does not let this token or account post (403). Look whether the token "
                "has the scopes write:statuses and write:media, and whether the server has "
                "limited the account."
            )
        case 422:
            raise Refused(
                "Mastodon found these words or their form invalid (422), and posted nothing. "
                "Compare the limit in the settings with the server's, or shorten the text."
            )
    http.prove(answer)


def _receipt(answer: http.Answer) -> Receipt:
    try:
        return _told(answer.json)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InDoubt(
            f"The server answered {answer.status}, but not as Mastodon does when it has done this."
        ) from None


def _told(status: Any) -> Receipt:
    return Receipt(remote_id=str(status["id"]), url=status.get("url"))


def _at(status: Any) -> datetime:
    return datetime.fromisoformat(status["created_at"])


def _differences(server: Mapping[str, Any], ours: Channel[Any]) -> Iterator[str]:
    texts, media = server["statuses"], server["media_attachments"]
    if (longest := texts["max_characters"]) != ours.limit:
        yield (
            f"The server takes {longest:,} characters in a status, and the settings say "
            f"{ours.limit:,}: put the server's number there, or add the channel anew with it."
        )
    if (link := texts["characters_reserved_per_url"]) != LINK_COUNTS:
        yield (
            f"The server counts a link as {link} characters, and we as {LINK_COUNTS}: a text "
            "with links that just fits here may be refused there."
        )
    if (most := texts["max_media_attachments"]) < ours.pictures:
        yield f"The server takes {most} pictures with a status, and we send {ours.pictures}."
    if (size := media["image_size_limit"]) < ours.picture_bytes:
        yield f"The server takes pictures of {size:,} bytes, and we send {ours.picture_bytes:,}."
    # It is told from version 4.4 on.
    if (alt := media.get("description_limit") or ours.longest_alt) < ours.longest_alt:
        yield f"The server takes descriptions of {alt:,} characters, and we {ours.longest_alt:,}."
    if refused := [each for each in ENDINGS if each not in media["supported_mime_types"]]:
        yield f"The server takes no {' and no '.join(refused)}, which we send."


# --- What the public reads ----------------------------------------------------------------------


def words(status: Mapping[str, Any]) -> str:
    """The words of a status, out of Mastodon's HTML (app/lib/text_formatter.rb).

    A link is its address, of which it shows a part; an account elsewhere is named in full, where
    it shows only the name.
    """
    reader = _Reader({each["url"]: each["acct"] for each in status["mentions"]})
    reader.feed(status["content"])
    reader.close()
    return "".join(reader.words)


class _Reader(HTMLParser):
    def __init__(self, accounts: Mapping[str, str]) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._accounts = accounts  #: their names, by their addresses
        self._stands_for: str | None = None  #: what the link stands for that is being read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "p" and self.words:
            self.words.append("\n\n")
        elif tag == "br":
            self.words.append("\n")
        elif tag == "a":
            address, classes = given.get("href") or "", (given.get("class") or "").split()
            if "mention" not in classes:
                self._stands_for = address
            elif address in self._accounts:
                self._stands_for = f"@{self._accounts[address]}"
            if self._stands_for is not None:
                self.words.append(self._stands_for)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._stands_for = None

    def handle_data(self, data: str) -> None:
        if self._stands_for is None:
            self.words.append(data)
