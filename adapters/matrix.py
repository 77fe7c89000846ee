"""A Matrix room in which only we speak (client-server API v1.17).

    PUT  v3/rooms/{room}/send/m.room.message/{key}   posts; with `m.replace` it edits
    PUT  v3/rooms/{room}/redact/{event}/{key}        takes an event's content away, for good
    GET  v3/rooms/{room}/event/{event}               one event, its newest edit beside it
    GET  v3/rooms/{room}/messages                    the newest events
    GET  v1/rooms/{room}/relations/{event}/{kind}    its edits (m.replace), pictures (m.reference)
    POST media/v3/upload                             brings a picture, and posts nothing
    GET  v3/rooms/{room}/state/m.room.power_levels   who may send what
    GET  v3/account/whoami                           who we are

The key (transaction id) of a post is its id. A server knows it by the device that our token was
made for, and shows it to that device alone, in any process and after a restart. The message holds
the text and no headline, which the words themselves hold.

A picture is an event of its own after the words, with a key of its own, that refers to them; its
caption is the description (v1.10). In one event, with the words for a caption, clients that know no
captions would show no words. Its file stays on the homeserver when it is taken back: no request of
ours deletes one.

Others set who may speak in the room. Before each post it is looked at: one in which everybody may
send anything gets none (389.5.1). It is looked at again whenever a post is read back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field
from yarl import URL

from adapters import http
from broadcaster.accounts import MatrixAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.delivery import (
    InDoubt,
    Message,
    NotThere,
    Receipt,
    Refused,
    Seen,
    Sender,
    TryLater,
    meant_for,
)
from broadcaster.media import Picture
from broadcaster.update import LONGEST_EXPIRY
from broadcaster.world import W

#: How many events are asked for at once, and the most bytes that are read of an answer to a look:
#: each event may have 64 KiB, and as much again in its newest edit.
PAGE, LONGEST = 50, 8 * 2**20

#: How far the homeserver's clock may be from ours before a post is no longer found.
CLOCKS_DIFFER = timedelta(hours=1)

_MESSAGES = quote(json.dumps({"types": ["m.room.message"]}), safe="")

_TOKEN = "Put a new one, made for the same device, into the settings."
_ACCOUNT = "Ask whoever runs it why."

#: What a refusal means, and what to do, by its `errcode` (specification, "Common error codes").
_REFUSALS = {
    "M_UNKNOWN_TOKEN": ("The homeserver does not know our token", _TOKEN),
    "M_MISSING_TOKEN": ("The homeserver saw no token of ours", _TOKEN),
    "M_FORBIDDEN": (
        "Our account may not do this in the room",
        "Have it invited and given the power to post, or correct the room's id in the settings.",
    ),
    "M_NOT_FOUND": (
        "The homeserver does not know the room", "Correct the room's id in the settings.",
    ),
    "M_UNRECOGNIZED": (
        "What answers there does not know this request of Matrix",
        "Correct the homeserver's URL in the settings, or have it brought up to date.",
    ),
    "M_USER_LOCKED": ("The homeserver has locked our account", _ACCOUNT),
    "M_USER_SUSPENDED": ("The homeserver has suspended our account", _ACCOUNT),
    "M_USER_DEACTIVATED": ("The homeserver has closed our account", _ACCOUNT),
    "M_RESOURCE_LIMIT_EXCEEDED": ("The homeserver has reached its own limits", _ACCOUNT),
    "M_CONSENT_NOT_GIVEN": (
        "The homeserver wants its terms agreed to", "Sign in there as our account, and agree.",
    ),
    "M_TOO_LARGE": ("The homeserver takes no message that long", "Shorten the text."),
}  # fmt: skip

#: What it means otherwise where a picture was brought (specification, "Content repository").
_REFUSALS_OF_PICTURES = _REFUSALS | {
    "M_FORBIDDEN": (
        "The homeserver takes no such picture from our account",
        "Ask whoever runs it which it takes, or have the words approved without it.",
    ),
    "M_TOO_LARGE": (
        "The homeserver takes no picture that large",
        "Have the words approved without it, or with a smaller one.",
    ),
}


class Matrix(Sender[W]):
    """Posts to one room. The token is never shown."""

    def __init__(
        self, channel: Channel[W], account: MatrixAccount, *, networks: http.Networks, clock: Clock
    ) -> None:
        self.channel = channel
        self._base = f"{str(account.url).rstrip('/')}/_matrix/client"
        self._media = f"{str(account.url).rstrip('/')}/_matrix/media/v3"
        self._room = account.room
        self._in_room = f"rooms/{quote(account.room, safe='')}"
        self._headers = {
            "Authorization": f"Bearer {account.token.get_secret_value()}",
            "Content-Type": "application/json",
        }
        self._client = http.Client(networks, clock)
        self._user: str | None = None  #: who we are, once it was asked

    async def send(self, message: Message[W]) -> Receipt:
        """Posts the message. Raises TryLater, Refused or InDoubt."""
        meant_for(self.channel, message)
        await self._look_at_the_room()
        user, pictures = await self._who_we_are(), await self._brought(message)
        event_id = await self._put(f"send/m.room.message/{message.post_id}", _says(message))
        with _after_the_words():
            await self._show(message, pictures, event_id)
        return self._receipt(event_id, user)

    async def find(self, message: Message[W]) -> Receipt | None:
        """The post, or the one that it is an edit of: by our key, in what the room holds since.

        Without its picture it is not there: it is sent again, under the same keys.
        """
        shown = not message.rendering.pictures
        keys = (message.post_id, _edit_key(message))
        oldest = (message.released_at - CLOCKS_DIFFER).timestamp() * 1000
        page = _Page(chunk=[], end="")
        with _looking():
            while page.end is not None:
                page = await self._older(page.end)
                for event in page.chunk:  # the newest first, and so the picture before the words
                    shown = shown or event.unsigned.transaction_id == _picture_key(message)
                    if shown and event.unsigned.transaction_id in keys:
                        there = await self._event(event.edited) if event.edited else event
                        if there is not None and there.text is not None:
                            return self._receipt(there.event_id, await self._who_we_are())
                if page.chunk and page.chunk[-1].origin_server_ts < oldest:
                    break
        return None

    async def edit(self, message: Message[W], there: Receipt) -> Receipt:
        """Puts the message in a post's place. Raises as `send`, or NotThere.

        A server takes an edit of what is gone, or of another's post, and nobody sees it: so it is
        looked at first.
        """
        meant_for(self.channel, message)
        await self._look_at_the_room()
        user, now = await self._who_we_are(), await self._event(there.remote_id)
        if now is None or now.text is None:
            raise NotThere("The post is no longer in the room. Nothing was changed.")
        if now.sender != user:
            raise Refused(
                "Another account wrote the post, so nobody would see it changed by ours. Put the "
                "account that wrote it back into the settings, or post the right words anew."
            )
        pictures = await self._brought(message)
        content = _says(message) | {
            "m.new_content": _says(message),
            "m.relates_to": {"rel_type": "m.replace", "event_id": there.remote_id},
        }
        await self._put(f"send/m.room.message/{_edit_key(message)}", content)
        with _after_the_words():
            shown = await self._show(message, pictures, there.remote_id)
            for event in await self._related(there.remote_id, "m.reference"):
                if event.event_id not in shown and event.sender == user:
                    await self._redact(event.event_id)
        return there

    async def retract(self, there: Receipt) -> None:
        """Takes away the post's content, its pictures, and its edits, which else can be read.

        Those first: a server names none for a post that is gone.
        """
        for kind in ("m.replace", "m.reference"):
            for each in await self._related(there.remote_id, kind):
                await self._redact(each.event_id)
        await self._redact(there.remote_id)

    async def read(self, there: Receipt) -> Seen | None:
        """What the public reads there; None: it is gone. Raises TryLater."""
        with _looking():
            event = await self._event(there.remote_id)
            if event is None or event.text is None:
                return None
            levels = await self._levels()
            about = await self._related(there.remote_id, "m.reference")
        pictures = [each.text for each in about if each.sender == event.sender and each.text]
        return Seen(
            text=event.text, answerable=bool(levels.open_to_all()),
            pictures=tuple(reversed(pictures)),  # they are told the newest first
        )  # fmt: skip

    async def close(self) -> None:
        await self._client.close()

    # --- looking ------------------------------------------------------------------------------

    async def _look_at_the_room(self) -> None:
        """Raises Refused where the public may speak in the room, and TryLater."""
        levels = await self._levels()
        if open_to_all := levels.open_to_all():
            raise Refused(
                "Everybody may speak in the room. Set these of its power levels above its "
                f"users_default, which is {levels.users_default}: {', '.join(open_to_all[:5])}."
            )

    async def _levels(self) -> _PowerLevels:
        answer = await self._ask(f"v3/{self._in_room}/state/m.room.power_levels")
        return _PowerLevels() if _is_missing(answer) else _understood(answer, _PowerLevels)

    async def _who_we_are(self) -> str:
        if self._user is None:
            us = _understood(await self._ask("v3/account/whoami"), _Us)
            self._user = us.user_id
        return self._user

    async def _event(self, event_id: str) -> _Event | None:
        """An event; None: the room does not hold it. Raises Refused and TryLater."""
        answer = await self._ask(f"v3/{self._in_room}/event/{quote(event_id, safe='')}")
        if not _is_missing(answer):
            return _understood(answer, _Event)
        await self._levels()  # who may not see the room is told the same: this tells them apart
        return None

    async def _related(self, event_id: str, kind: str) -> list[_Event]:
        """The edits or pictures of a post that is there. Raises Refused and TryLater."""
        post = quote(event_id, safe="")
        answer = await self._ask(f"v1/{self._in_room}/relations/{post}/{kind}?limit=100")
        return [] if _is_missing(answer) else _understood(answer, _Page).chunk

    async def _older(self, than: str) -> _Page:
        """A page of the room's messages, the newest first. Raises Refused and TryLater."""
        begin = f"&from={quote(than, safe='')}" if than else ""
        path = f"v3/{self._in_room}/messages?dir=b&limit={PAGE}&filter={_MESSAGES}{begin}"
        page = _understood(await self._ask(path), _Page)
        return page.model_copy(update={"end": None}) if page.end == than else page

    # --- speaking -----------------------------------------------------------------------------

    async def _brought(self, message: Message[W]) -> list[tuple[Picture, str]]:
        """The message's pictures, each with its address there. Raises TryLater or Refused."""
        brought = []
        for picture in message.rendering.pictures:
            with http.posts_nothing():
                answer = await self._client.bring(
                    URL(f"{self._media}/upload?filename={picture.file_name}", encoded=True),
                    body=message.file(picture), deadline=self.channel.time_for([picture]),
                    headers=self._headers | {"Content-Type": picture.type},
                )  # fmt: skip
                _prove(answer, _REFUSALS_OF_PICTURES)
                brought.append((picture, _read(answer, _Brought, TryLater).content_uri))
        return brought

    async def _show(
        self, message: Message[W], pictures: Sequence[tuple[Picture, str]], about: str
    ) -> list[str]:
        """Puts pictures after the words that they belong to; their ids. Raises as `_put`."""
        return [
            await self._put(f"send/m.room.message/{_picture_key(message)}",
                            _pictured(picture, uri, about))
            for picture, uri in pictures
        ]  # fmt: skip

    async def _redact(self, event_id: str) -> None:
        event = quote(event_id, safe="")
        await self._put(f"redact/{event}/{event}", {})

    async def _put(self, path: str, content: Mapping[str, Any]) -> str:
        """Makes an event in the room, once; its id. Raises TryLater, Refused and InDoubt."""
        answer = await self._client.request(
            "PUT", self._url(f"v3/{self._in_room}/{path}"), headers=self._headers,
            body=json.dumps(content, ensure_ascii=False).encode(),
            deadline=self.channel.deadline,
        )  # fmt: skip
        _prove(answer)
        return _read(answer, _Sent, InDoubt).event_id

    async def _ask(self, path: str) -> http.Answer:
        """Asks for what changes nothing. Raises Refused, and TryLater however it broke."""
        try:
            return await self._client.request(
                "GET", self._url(path), headers=self._headers, deadline=self.channel.deadline,
                most=LONGEST,
            )  # fmt: skip
        except InDoubt as broke:
            raise TryLater(str(broke)) from None

    def _url(self, path: str) -> URL:
        return URL(f"{self._base}/{path}", encoded=True)

    def _receipt(self, event_id: str, user: str) -> Receipt:
        """With the public address (specification, "matrix.to navigation").

        `via` names a server that is in the room: the room's id tells none from version 12 on.
        """
        where = f"{quote(self._room, safe='')}/{quote(event_id, safe='')}"
        via = quote(user.partition(":")[2], safe="")
        return Receipt(remote_id=event_id, url=f"https://matrix.to/#/{where}?via={via}")


# --- What is said -----------------------------------------------------------------------------


def _says(message: Message[Any]) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": message.rendering.text}


def _edit_key(message: Message[Any]) -> str:
    """Another than the post's own: what cannot be edited any more is posted anew."""
    return f"{message.post_id}-edit"


def _picture_key(message: Message[Any]) -> str:
    """A message has one picture at most (`media.MOST_PICTURES`)."""
    return f"{message.post_id}-picture"


def _pictured(picture: Picture, uri: str, about: str) -> dict[str, Any]:
    return {
        "msgtype": "m.image", "body": picture.alt, "filename": picture.file_name, "url": uri,
        "info": {
            "mimetype": picture.type, "w": picture.width, "h": picture.height,
            "size": picture.size,
        },
        "m.relates_to": {"rel_type": "m.reference", "event_id": about},
    }  # fmt: skip


@contextmanager
def _after_the_words() -> Iterator[None]:
    """Once the words are there, nobody may say that nothing was: the same keys serve again."""
    try:
        yield
    except (TryLater, Refused) as no:
        pause = no.after if isinstance(no, TryLater) else None
        raise InDoubt(
            f"The words are in the room, their picture perhaps not. {no}", pause
        ) from None


# --- What is heard ----------------------------------------------------------------------------


class _PowerLevels(BaseModel):
    """Who may send what in a room, with what holds where it does not say (m.room.power_levels)."""

    users_default: int = 0
    events_default: int = 0
    state_default: int = 50
    events: dict[str, int] = Field(default_factory=dict)

    def open_to_all(self) -> list[str]:
        """The levels that do not keep out whoever joins the room."""
        needed = {
            "events_default": self.events_default,
            "state_default": self.state_default,
            **self.events,
        }
        return [name for name, level in needed.items() if level <= self.users_default]


class _Us(BaseModel):
    user_id: str


class _Sent(BaseModel):
    event_id: str


class _Brought(BaseModel):
    content_uri: str


class _Edit(BaseModel):
    content: dict[str, Any]


class _Relations(BaseModel):
    newest_edit: _Edit | None = Field(None, alias="m.replace")


class _Unsigned(BaseModel):
    """What the server adds to an event."""

    transaction_id: str | None = None  #: our key, where this device of ours sent it
    relations: _Relations = Field(default_factory=_Relations, alias="m.relations")


class _Event(BaseModel):
    event_id: str
    sender: str
    origin_server_ts: int  #: milliseconds
    content: dict[str, Any]  #: empty once it was taken down
    unsigned: _Unsigned = Field(default_factory=_Unsigned)

    @property
    def text(self) -> str | None:
        """What the public reads; None: nothing any more."""
        edit = self.unsigned.relations.newest_edit
        text = (edit.content.get("m.new_content", {}) if edit else self.content).get("body")
        return text if isinstance(text, str) else None

    @property
    def edited(self) -> str | None:
        """The id of the post that this event, of ours, is an edit of."""
        about = self.content.get("m.relates_to")
        return str(about["event_id"]) if about else None


class _Page(BaseModel):
    chunk: list[_Event]
    end: str | None = None  #: where the next one begins; None: there is none


_Model = TypeVar("_Model", bound=BaseModel)


def _read(
    answer: http.Answer, model: type[_Model], error: type[InDoubt] | type[TryLater]
) -> _Model:
    """What an answer holds. Raises `error` where it is none of a homeserver's."""
    try:
        return model.model_validate_json(answer.body)
    except ValueError:
        raise error(
            f"What answered ({answer.status}) does not speak as a Matrix homeserver does. See "
            "whether the homeserver is well, and its URL in the settings right."
        ) from None


def _understood(answer: http.Answer, model: type[_Model]) -> _Model:
    """What the answer to a look holds. Raises Refused, and TryLater where it is of no use."""
    try:
        _prove(answer)
    except InDoubt as unclear:
        raise TryLater(str(unclear), unclear.after) from None
    return _read(answer, model, TryLater)


class _Error(BaseModel):
    """What the body of a refusal says, where it is a homeserver's."""

    errcode: str = ""
    retry_after_ms: Annotated[int, Field(ge=0)] | None = None  #: from before v1.10

    @classmethod
    def of(cls, answer: http.Answer) -> _Error:
        try:
            return cls.model_validate_json(answer.body)
        except ValueError:
            return cls()

    @property
    def pause(self) -> timedelta | None:
        if self.retry_after_ms is None:
            return None
        return timedelta(
            milliseconds=min(self.retry_after_ms, LONGEST_EXPIRY / timedelta(milliseconds=1))
        )


def _is_missing(answer: http.Answer) -> bool:
    return answer.status == 404 and _Error.of(answer).errcode == "M_NOT_FOUND"


def _prove(
    answer: http.Answer, refusals: Mapping[str, tuple[str, str]] = _REFUSALS
) -> None:  # fmt: skip
    """Raises unless a request was granted, as `http.prove` does, with a homeserver's reasons."""
    try:
        http.prove(answer)
    except TryLater as later:
        later.after = _Error.of(answer).pause if later.after is None else later.after
        raise
    except Refused as refused:
        errcode = _Error.of(answer).errcode
        if errcode not in refusals:
            raise
        what, do = refusals[errcode]
        raise type(refused)(f"{what} ({answer.status}). {do}") from None


@contextmanager
def _looking() -> Iterator[None]:
    """Looks are never refused for good: whoever is to look may have it put right meanwhile."""
    try:
        yield
    except Refused as no:
        raise TryLater(str(no)) from None
