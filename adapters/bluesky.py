"""Bluesky: a post is a record in our repository on its server (AT Protocol, XRPC).

We choose the record's key (`key`), so that the same post is the same record, whoever sends it and
however often. With it, in one commit, go a threadgate that allows nobody to answer and a postgate
that allows nobody to quote (lexicons app.bsky.feed.threadgate and postgate). The server takes that
commit once: sent again it answers 500, which says nothing, so each send looks first. Whoever may
read the public may look, so that needs no session.

A picture is brought before its post (com.atproto.repo.uploadBlob), and is named there by the
SHA-256 of its bytes: that it is the approved one can be seen. One that no record names is dropped
by the server, so it is brought anew on each try.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from yarl import URL

from adapters import http
from broadcaster.accounts import BlueskyAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    Receipt,
    Refused,
    Seen,
    Sender,
    TryLater,
    meant_for,
)
from broadcaster.media import Picture
from broadcaster.parts import addresses
from broadcaster.world import W

POST, THREADGATE, POSTGATE = (
    "app.bsky.feed.post", "app.bsky.feed.threadgate", "app.bsky.feed.postgate",
)  # fmt: skip

IMAGES = "app.bsky.embed.images"

#: The method that brings a picture.
BRINGS = "com.atproto.repo.uploadBlob"

#: A session is used for this long; the reference server's lasts two hours.
SESSION_LIFE = timedelta(hours=1)

#: A session of less than this is not at its end.
_NEW = timedelta(minutes=1)

#: What the server says where a person has to do something, and what that is (com.atproto.server.*
#: lexicons, and the reference server).
_REFUSALS = {
    "AuthenticationRequired": "Bluesky does not know this user by this password ({}). Put its "
    "handle and a new app password into the settings.",
    "AuthFactorTokenRequired": "Bluesky asks for a second factor with this password ({}). Put an "
    "app password into the settings instead.",
    "AccountTakedown": "Bluesky has taken the account down ({}). Ask its support why.",
    "AccountDeactivated": "The account is deactivated ({}). Activate it in Bluesky's settings.",
    "InvalidToken": "Bluesky does not take the session that it has just given us ({}). Put a new "
    "app password into the settings.",
}


@dataclass(frozen=True)
class _Session:
    """What proves us to the server for a while."""

    did: str
    since: datetime
    token: str = field(repr=False)


@dataclass(frozen=True)
class _Found:
    """A post that the server has."""

    uri: str
    text: str
    pictures: tuple[str, ...]  #: their descriptions


class Bluesky(Sender[W]):
    """Posts by one account. Its app password and its session are never shown."""

    def __init__(
        self, channel: Channel[W], account: BlueskyAccount, *, networks: http.Networks,
        clock: Clock,
    ) -> None:  # fmt: skip
        self.channel = channel
        self._account = account
        self._xrpc = URL(str(account.url)) / "xrpc"
        self._client = http.Client(networks, clock)
        self._clock = clock
        self._session: _Session | None = None

    async def send(self, message: Message[W]) -> Receipt:
        """Posts the message unless it is there. Raises TryLater, Refused or InDoubt."""
        meant_for(self.channel, message)
        session = await self._logged_in()
        found = await self._found(self._account.user, key(message))
        if found is None:
            return await self._post(message, session)
        if found.text != message.rendering.text:
            raise Refused(
                "Other words stand on Bluesky in this post's place. Nothing was posted: look there "
                "who wrote them."
            )
        return self._receipt(found.uri)

    async def find(self, message: Message[W]) -> Receipt | None:
        """The post of our key, whatever it says by now. Raises TryLater."""
        found = await self._found(self._account.user, key(message))
        return None if found is None else self._receipt(found.uri)

    async def retract(self, there: Receipt) -> None:
        """Deletes the post, then its gates: what is gone already may be deleted again.

        Raises as `send` does.
        """
        session = await self._logged_in()
        repo, rkey = _place(there.remote_id)
        if repo != session.did:
            raise Refused(
                "The post belongs to another account than the one in the settings. Take it down "
                "there by hand."
            )
        for collection in (POST, THREADGATE, POSTGATE):
            answer = await self._write(
                "com.atproto.repo.deleteRecord",
                {"repo": repo, "collection": collection, "rkey": rkey},
                session,
            )
            if not answer.body.lstrip().startswith(b"{"):
                raise InDoubt(
                    f"What answered ({answer.status}) does not speak as Bluesky does. See whether "
                    "the post is there."
                )

    async def read(self, there: Receipt) -> Seen | None:
        """The words of the post; None: it is gone. Raises TryLater.

        Nobody may answer it while its threadgate stands, and allows nobody.
        """
        repo, rkey = _place(there.remote_id)
        found = await self._found(repo, rkey)
        if found is None:
            return None
        gate = await self._record(repo, THREADGATE, rkey)
        closed = gate is not None and gate[1].get("allow") == []
        return Seen(text=found.text, answerable=not closed, pictures=found.pictures)

    async def close(self) -> None:
        await self._client.close()

    async def _post(self, message: Message[W], session: _Session) -> Receipt:
        images = [await self._brought(message, each, session)
                  for each in message.rendering.pictures]  # fmt: skip
        rkey, at = key(message), message.released_at.astimezone(UTC).isoformat()
        uri = f"at://{session.did}/{POST}/{rkey}"
        gates = {"post": uri, "createdAt": at}
        records: dict[str, dict[str, Any]] = {
            POST: {
                "text": message.rendering.text, "createdAt": at,
                "langs": [message.rendering.language], "facets": links(message.rendering.text),
                **({"embed": {"$type": IMAGES, "images": images}} if images else {}),
            },
            THREADGATE: {**gates, "allow": []},
            POSTGATE: {**gates, "embeddingRules": [{"$type": f"{POSTGATE}#disableRule"}]},
        }  # fmt: skip
        writes = [
            {
                "$type": "com.atproto.repo.applyWrites#create", "collection": collection,
                "rkey": rkey, "value": {"$type": collection, **record},
            }
            for collection, record in records.items()
        ]  # fmt: skip
        answer = await self._write(
            "com.atproto.repo.applyWrites",
            {"repo": session.did, "validate": True, "writes": writes},
            session,
        )
        if uri not in _uris(answer):
            raise InDoubt(
                f"Bluesky's answer ({answer.status}) does not say that the post is there."
            )
        return self._receipt(uri)

    async def _brought(
        self, message: Message[W], picture: Picture, session: _Session
    ) -> dict[str, Any]:
        """A picture that the server has, as a post shows it. Raises TryLater or Refused."""
        with http.posts_nothing():
            answer = await self._as_us(BRINGS, message.file(picture), picture.type, session)
            blob = answer.json["blob"]
            named = blob["ref"]["$link"]
        if named != cid(picture):
            raise Refused(
                "Bluesky keeps another picture than was approved. Nothing was posted: look whether "
                "the server changes pictures."
            )
        return {
            "image": blob, "alt": picture.alt,
            "aspectRatio": {"width": picture.width, "height": picture.height},
        }  # fmt: skip

    async def _logged_in(self) -> _Session:
        """A session that lasts. Raises TryLater or Refused: nothing was posted."""
        now = self._clock.now()
        if self._session is None or now - self._session.since > SESSION_LIFE:
            login = {
                "identifier": self._account.user,
                "password": self._account.password.get_secret_value(),
            }
            try:
                answer = await self._call(
                    "com.atproto.server.createSession", json.dumps(login).encode(),
                    "application/json",
                )  # fmt: skip
                _prove(answer)
                said = answer.json
                if said.get("active") is False:
                    raise Refused(
                        "Bluesky says that the account is not active. Activate it in Bluesky's "
                        "settings."
                    )
                self._session = _Session(str(said["did"]), now, str(said["accessJwt"]))
            except InDoubt as broke:
                raise TryLater(f"We could not log in to Bluesky. {broke}", broke.after) from None
            except (ValueError, KeyError, TypeError, AttributeError):
                raise TryLater("Bluesky's answer to our login cannot be read.") from None
        return self._session

    async def _write(self, method: str, body: dict[str, Any], session: _Session) -> http.Answer:
        """Changes our repository. Raises as `send` does."""
        said = json.dumps(body, ensure_ascii=False).encode()
        return await self._as_us(method, said, "application/json", session)

    async def _as_us(
        self, method: str, body: bytes, content_type: str, session: _Session
    ) -> http.Answer:
        """Sends what only we may. Raises as `send` does.

        A session that ends before its time does so for nothing that was sent: the next try has
        another. One that was never any good is for a person to look at.
        """
        answer = await self._call(
            method, body, content_type, Authorization=f"Bearer {session.token}"
        )
        if _error(answer) in ("ExpiredToken", "InvalidToken"):
            self._session = None
            if self._clock.now() - session.since > _NEW:
                raise TryLater(
                    f"Our session with Bluesky has ended ({answer.status}). Nothing was changed; "
                    "the next try logs in again.",
                    timedelta(),
                )
        _prove(answer, method)
        return answer

    async def _call(
        self, method: str, body: bytes, content_type: str, **headers: str
    ) -> http.Answer:
        ask, longer = self._client.post, timedelta()
        if method == BRINGS:
            ask, longer = self._client.bring, self.channel.upload
        return await ask(
            self._xrpc / method, body=body, headers={"Content-Type": content_type, **headers},
            deadline=self.channel.deadline + longer,
        )  # fmt: skip

    async def _found(self, repo: str, rkey: str) -> _Found | None:
        """The post that stands under a key; None: none does. Raises TryLater."""
        record = await self._record(repo, POST, rkey)
        if record is None:
            return None
        uri, post = record
        with http.legible():
            images = post.get("embed", {}).get("images", ())
            return _Found(uri, str(post["text"]), tuple(str(each["alt"]) for each in images))

    async def _record(
        self, repo: str, collection: str, rkey: str
    ) -> tuple[str, dict[str, Any]] | None:
        """A record and its address; None: there is none. Raises TryLater."""
        record = {"repo": repo, "collection": collection, "rkey": rkey}
        answer = await self._client.look(
            (self._xrpc / "com.atproto.repo.getRecord").with_query(record), headers={},
            deadline=self.channel.deadline,
        )  # fmt: skip
        if _error(answer) == "RecordNotFound":
            return None
        try:
            http.prove(answer)
        except InDoubt as broke:
            raise TryLater(f"We could not look at Bluesky. {broke}", broke.after) from None
        except Refused as no:
            raise TryLater(f"We could not look at Bluesky. {no}") from None
        with http.legible():
            said = answer.json
            return str(said["uri"]), dict(said["value"])

    def _receipt(self, uri: str) -> Receipt:
        _, rkey = _place(uri)
        return Receipt(
            remote_id=uri, url=f"https://bsky.app/profile/{self._account.user}/post/{rkey}"
        )


def _prove(answer: http.Answer, method: str = "") -> None:
    """As `http.prove`, in better words where Bluesky says what is wrong."""
    if refusal := _REFUSALS.get(_error(answer)):
        locked_out = answer.status == 401
        raise (LockedOut if locked_out else Refused)(refusal.format(answer.status))
    if method.endswith(".uploadBlob") and answer.status in (400, 413, 415):
        raise Refused(
            f"Bluesky does not take the picture ({answer.status}), and nothing was posted. Have "
            "the words approved without it, or with a smaller one."
        )
    http.prove(answer)


def _error(answer: http.Answer) -> str:
    """What went wrong, by its name (atproto.com/specs/xrpc, "Error Responses"); or nothing."""
    try:
        return str(answer.json["error"]) if answer.status >= 400 else ""
    except (ValueError, KeyError, TypeError):
        return ""


def _uris(answer: http.Answer) -> list[object]:
    """The records that a commit wrote, as far as its answer says so."""
    try:
        return [each["uri"] for each in answer.json["results"]]
    except (ValueError, KeyError, TypeError):
        return []


def _place(uri: str) -> tuple[str, str]:
    """The repository and the key of at://REPOSITORY/COLLECTION/KEY."""
    _, _, repo, _, rkey = uri.split("/")
    return repo, rkey


def cid(picture: Picture) -> str:
    """What a picture is called there: a CID of version 1, of raw bytes, by their SHA-256
    (atproto.com/specs/data-model, "link and CID Formats")."""
    named = bytes.fromhex(f"01551220{picture.digest}")
    return "b" + base64.b32encode(named).decode().lower().rstrip("=")


_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key(message: Message[W]) -> str:
    """The key of a post's record: a TID (atproto.com/specs/tid), 13 digits of 5 bits.

    A TID holds microseconds since 1970 and 10 bits by which clocks differ. Here it is the
    millisecond of release, and the rest is drawn by the post's id: two posts of one millisecond
    have the same key once in a million times, and then the second is refused.
    """
    milliseconds = (message.released_at - _EPOCH) // timedelta(milliseconds=1)
    drawn = int.from_bytes(hashlib.sha256(message.post_id.encode()).digest())
    number = (milliseconds * 1000 + drawn % 1000) << 10 | (drawn // 1000) % 1024
    return "".join(_DIGITS[number >> shift & 31] for shift in range(60, -1, -5))


def links(text: str) -> list[dict[str, Any]]:
    """What makes the links of a text links (app.bsky.richtext.facet): their place, in bytes."""
    facets = []
    for begins, ends in addresses(text):
        link, start = text[begins:ends], len(text[:begins].encode())
        facets.append({
            "index": {"byteStart": start, "byteEnd": start + len(link.encode())},
            "features": [{"$type": "app.bsky.richtext.facet#link", "uri": link}],
        })  # fmt: skip
    return facets
