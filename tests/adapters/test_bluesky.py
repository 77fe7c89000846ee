"""Bluesky under the contract: the reference PDS shows what it holds, a scripted one breaks."""

from __future__ import annotations

import asyncio
import base64
import hmac
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters import http
from adapters.bluesky import POST, POSTGATE, SESSION_LIFE, THREADGATE, Bluesky, key, links
from broadcaster import channel
from broadcaster.accounts import BlueskyAccount
from broadcaster.clock import SystemClock
from broadcaster.delivery import InDoubt, LockedOut, Message, Receipt, Refused, Seen, TryLater
from broadcaster.errors import Refusal
from broadcaster.media import digest_of
from broadcaster.update import clean
from broadcaster.world import Exercise
from tests.adapters.bluesky_pds_server import Account, Pds, bluesky_pds
from tests.adapters.contract import (
    LOOPBACK,
    SHOWN,
    HttpFaults,
    Pictured,
    Platform,
    Posted,
    approved,
    showing,
)
from tests.faults.receiver import Request, Way, answers, by
from tests.story import EXERCISE, NOW, StillClock

BLUESKY = channel.bluesky(EXERCISE, "bluesky", "Bluesky")

#: Texts that are hard to count, to store or to link, each as a reader would meet it.
PIECES = [
    "a", " ", "\n", "é", "e\u0301\u0323", "\u00a0", "\ufeff", "\u2028", "ﬁ", "½", "\U0010fffd",
    "👩‍🚒", "👩🏽‍🚒", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "🇺🇸", "🇺", "❤️", "\u200d", "\u200c", "\ufe0f", "\u0301",
    "مرحبا", "لا", "क्षत्रिय", "नमस्ते", "क्\u200dष", "a\u094dक", "ൟ്യ", "স্ত্রী", "각",
    "한국어", "\u1112\u1161\u11ab", "火事", "𠮷", "ไทย", "https://example.gov/alerts/1?q=a&b=(c)",
    "https://example.gov/" + "x" * 90, "(https://example.gov/a)", "https://例え.jp/火", "http://x", "https://",
    "https://.)",    "@a.test", "#fire",
]  # fmt: skip


PIECE = st.sampled_from(PIECES) | st.characters(exclude_categories=["Cc", "Cs", "Cn"])
_NUMBERS = itertools.count(1)

#: Method, status, error; what we make of it, and what we say (lexicons; atproto.com/specs/xrpc).
ERRORS: list[tuple[str, int, str, type[Exception], str]] = [
    ("createSession", 401, "AuthenticationRequired", LockedOut, "does not know this user"),
    ("createSession", 401, "AuthFactorTokenRequired", LockedOut, "second factor"),
    ("createSession", 401, "AccountTakedown", LockedOut, "taken the account down"),
    ("createSession", 400, "InvalidRequest", Refused, "refused this (400)"),
    ("createSession", 404, "", Refused, "refused this (404)"),
    ("createSession", 429, "RateLimitExceeded", TryLater, "come back later"),
    ("createSession", 500, "InternalServerError", TryLater, "could not log in"),
    ("getRecord", 400, "InvalidRequest", TryLater, "could not look"),
    ("getRecord", 429, "RateLimitExceeded", TryLater, "come back later"),
    ("getRecord", 502, "UpstreamFailure", TryLater, "could not look"),
    ("uploadBlob", 400, "InvalidRequest", Refused, "does not take the picture (400)"),
    ("uploadBlob", 400, "InvalidToken", Refused, "session that it has just given us"),
    ("uploadBlob", 401, "AuthMissing", LockedOut, "refused this (401)"),
    ("uploadBlob", 413, "PayloadTooLarge", Refused, "does not take the picture (413)"),
    ("uploadBlob", 415, "", Refused, "does not take the picture (415)"),
    ("uploadBlob", 429, "RateLimitExceeded", TryLater, "come back later"),
    ("uploadBlob", 500, "InternalServerError", TryLater, "only the picture"),
    ("deleteRecord", 400, "InvalidRequest", Refused, "refused this (400)"),
    ("deleteRecord", 400, "InvalidToken", Refused, "session that it has just given us"),
    ("deleteRecord", 401, "AuthMissing", LockedOut, "refused this (401)"),
    ("deleteRecord", 401, "AccountTakedown", LockedOut, "taken the account down"),
    ("deleteRecord", 429, "RateLimitExceeded", TryLater, "come back later"),
    ("deleteRecord", 500, "InternalServerError", InDoubt, "answered 500"),
    ("applyWrites", 400, "InvalidRequest", Refused, "refused this (400)"),
    ("applyWrites", 400, "InvalidSwap", Refused, "refused this (400)"),
    ("applyWrites", 400, "InvalidToken", Refused, "session that it has just given us"),
    ("applyWrites", 401, "AuthMissing", LockedOut, "refused this (401)"),
    ("applyWrites", 401, "AccountDeactivated", LockedOut, "deactivated"),
    ("applyWrites", 401, "AccountTakedown", LockedOut, "taken the account down"),
    ("applyWrites", 403, "Forbidden", Refused, "refused this (403)"),
    ("applyWrites", 413, "PayloadTooLarge", Refused, "refused this (413)"),
    ("applyWrites", 429, "RateLimitExceeded", TryLater, "come back later"),
    ("applyWrites", 500, "InternalServerError", InDoubt, "answered 500"),
    ("applyWrites", 501, "MethodNotImplemented", InDoubt, "answered 501"),
    ("applyWrites", 502, "UpstreamFailure", InDoubt, "answered 502"),
    ("applyWrites", 503, "NotEnoughResources", InDoubt, "answered 503"),
    ("applyWrites", 504, "UpstreamTimeout", InDoubt, "answered 504"),
    ("applyWrites", 200, "", InDoubt, "does not say"),
]


def account_of(url: str, user: str, password: str) -> BlueskyAccount:
    return BlueskyAccount(
        kind="bluesky", name=BLUESKY.name, title=BLUESKY.title, url=url, user=user,
        password=password,
    )  # fmt: skip


def adapter_of(pds: Pds, account: Account, password: str | None = None) -> Bluesky[Exercise]:
    return Bluesky(
        BLUESKY, account_of(pds.url, account.handle, password or account.password),
        networks=LOOPBACK, clock=SystemClock(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def pds() -> Iterator[Pds]:
    with bluesky_pds() as started:
        yield started


@pytest.fixture(scope="module")
def account(pds: Pds) -> Account:
    return pds.account()


@pytest.fixture(scope="module")
def token(pds: Pds, account: Account) -> str:
    return pds.session(account)


@pytest.fixture(scope="module")
def logged_in(pds: Pds, account: Account) -> Bluesky[Exercise]:
    """Keeps its session from test to test, and its connections no longer than one."""
    return adapter_of(pds, account)


@pytest.fixture
async def adapter(
    pds: Pds, account: Account, token: str, logged_in: Bluesky[Exercise]
) -> AsyncIterator[Bluesky[Exercise]]:
    yield logged_in
    await logged_in.close()
    pds.wipe(account, token, POST, THREADGATE, POSTGATE)


@pytest.mark.server
class TestBluesky(Platform):
    @pytest.fixture(autouse=True)
    def _there(self, pds: Pds, account: Account) -> None:
        self.pds, self.account = pds, account
        self.ids: dict[str, str] = {}

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        message = approved(BLUESKY.name, text, number)
        self.ids[key(message)] = message.post_id
        return message

    async def posted(self) -> list[Posted]:
        shown = self.pds.records(self.account, POST)
        return [Posted(self.ids[rkey], None, post["text"]) for rkey, post in shown.items()]

    async def shown(self) -> list[Pictured]:
        return [
            Pictured(digest_of(self.pds.blob(self.account, image["image"])), image["alt"])
            for post in self.pds.records(self.account, POST).values()
            for image in post["embed"]["images"]
        ]

    async def replies_are_closed(self, receipt: Receipt) -> bool:
        """And quotes: both gates stand under the post's own key, and are about it."""
        rkey = receipt.remote_id.rpartition("/")[2]
        answers, quotes = (
            self.pds.records(self.account, gate)[rkey] for gate in (THREADGATE, POSTGATE)
        )
        assert answers["post"] == quotes["post"] == receipt.remote_id
        disabled = [{"$type": f"{POSTGATE}#disableRule"}]
        return answers["allow"] == [] and quotes["embeddingRules"] == disabled

    @pytest.mark.parametrize(
        ("gate", "answerable"),
        [
            ({"allow": []}, False),
            ({}, True),  # whoever likes (lexicon app.bsky.feed.threadgate)
            ({"allow": [{"$type": f"{THREADGATE}#followingRule"}]}, True),
            (None, True),
        ],
    )
    async def test_whether_nobody_may_answer_is_read_back(
        self, adapter: Bluesky[Exercise], pds: Pds, token: str,
        gate: dict[str, object] | None, answerable: bool,
    ) -> None:  # fmt: skip
        receipt = await adapter.send(showing(await self.message("Stay inside.")))
        rkey = receipt.remote_id.rpartition("/")[2]
        at = {"repo": self.account.did, "collection": THREADGATE, "rkey": rkey}
        pds.ask("com.atproto.repo.deleteRecord", at, token)
        if gate is not None:
            record = {"$type": THREADGATE, "post": receipt.remote_id, "createdAt": NOW.isoformat()}
            said = pds.ask("com.atproto.repo.putRecord", at | {"record": record | gate}, token)
            assert "error" not in said
        assert await adapter.read(receipt) == Seen(
            text="Stay inside.", answerable=answerable, pictures=(SHOWN.alt,)
        )

    async def test_what_stands_there(self, adapter: Bluesky[Exercise]) -> None:
        text = "Gas leak – 🚒 see https://a.example/é."
        receipt = await adapter.send(await self.message(text))
        [(rkey, post)] = self.pds.records(self.account, POST).items()
        assert receipt == Receipt(
            remote_id=f"at://{self.account.did}/app.bsky.feed.post/{rkey}",
            url=f"https://bsky.app/profile/{self.account.handle}/post/{rkey}",
        )
        assert datetime.fromisoformat(post["createdAt"]) == NOW and post["langs"] == ["en"]
        [facet] = post["facets"]
        start, end = facet["index"]["byteStart"], facet["index"]["byteEnd"]
        assert text.encode()[start:end].decode() == "https://a.example/é"
        assert facet["features"][0]["uri"] == "https://a.example/é"

    async def test_other_words_in_its_place(self, adapter: Bluesky[Exercise]) -> None:
        """They are found, being ours by their key: so they are read back, and corrections reach
        them."""
        there = await adapter.send(await self.message("Leave."))
        message = await self.message("Stay inside.")
        with pytest.raises(Refused, match="Other words"):
            await adapter.send(message)
        assert await adapter.find(message) == there
        assert [each.text for each in await self.posted()] == ["Leave."]

    async def test_sent_twice_at_once(self, pds: Pds, adapter: Bluesky[Exercise]) -> None:
        """The server takes one, and says of the other what leaves everything open (500)."""
        message, other = await self.message("Stay inside."), adapter_of(pds, self.account)
        sent = await asyncio.gather(
            adapter.send(message), other.send(message), return_exceptions=True
        )
        await other.close()
        assert [type(each) for each in sent if not isinstance(each, Receipt)] in ([], [InDoubt])
        assert await adapter.send(message) in sent
        assert len(await self.posted()) == 1

    async def test_retracted_whole(self, adapter: Bluesky[Exercise]) -> None:
        await adapter.retract(await adapter.send(await self.message("Leave.")))
        for collection in (POST, THREADGATE, POSTGATE):
            assert self.pds.records(self.account, collection) == {}

    async def test_a_post_of_another_account_is_not_said_to_be_down(
        self, pds: Pds, adapter: Bluesky[Exercise]
    ) -> None:
        """As after a change of the account in the settings."""
        there = await adapter.send(await self.message("Leave."))
        other = adapter_of(pds, pds.account())
        with pytest.raises(Refused, match="another account"):
            await other.retract(there)
        await other.close()
        assert len(await self.posted()) == 1

    async def test_a_wrong_password(self, pds: Pds) -> None:
        other = adapter_of(pds, self.account, "secret-of-another")
        with pytest.raises(Refused, match="does not know this user") as refused:
            await other.send(await self.message("Stay inside."))
        await other.close()
        assert "secret" not in repr(refused.value) + repr(other)

    async def test_a_deactivated_account(self, pds: Pds) -> None:
        account, message = pds.account(), await self.message("Stay inside.")
        used, anew = adapter_of(pds, account), adapter_of(pds, account)
        assert await used.send(message)
        pds.ask("com.atproto.server.deactivateAccount", {}, pds.session(account, account.owners))
        with pytest.raises(TryLater):  # it shows nothing more, and does not say why
            await used.find(message)
        with pytest.raises(Refused, match="not active"):
            await anew.send(message)
        await used.close()
        await anew.close()

    async def test_logged_in_too_often(self, pds: Pds) -> None:
        """30 times in five minutes; the server says until when by RateLimit-Reset alone."""
        nobody = Account("did:plc:nobody", "nobody.test", "secret", "")
        other, message = adapter_of(pds, nobody), await self.message("Stay inside.")
        tries = (other.send(message) for _ in range(31))
        said = await asyncio.gather(*tries, return_exceptions=True)
        await other.close()
        [later] = [each for each in said if not isinstance(each, Refused)]
        assert isinstance(later, TryLater) and later.after is not None
        assert timedelta(minutes=4) < later.after <= timedelta(minutes=5)

    async def test_what_the_server_says_of_old_tokens(self, pds: Pds, token: str) -> None:
        """As the scripted one below does."""
        head, claims, _ = token.split(".")
        old = json.loads(base64.urlsafe_b64decode(claims + "=="))
        old["iat"], old["exp"] = int(time.time()) - 7201, int(time.time()) - 1
        assert old["scope"] == "com.atproto.appPass"
        signed = f"{head}.{_base64(json.dumps(old).encode())}"
        mac = _base64(hmac.digest(pds.secret.encode(), signed.encode(), "sha256"))
        empty = {"repo": self.account.did, "writes": []}
        for bad, error in ((f"{signed}.{mac}", "ExpiredToken"), (f"{token}x", "InvalidToken")):
            said = pds.ask("com.atproto.repo.applyWrites", empty, bad)
            assert (said["status"], said["error"]) == (400, error)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.server
class TestTexts:
    """What we let through is taken, and read back unchanged; the limits are the server's own."""

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(PIECE, min_size=1, max_size=20), st.booleans())
    async def test_what_fits_is_taken(
        self, adapter: Bluesky[Exercise], pieces: list[str], full: bool
    ) -> None:
        text = "".join(pieces)
        for step in (64, 8, 1) if full else ():
            while BLUESKY.fits(text + pieces[0] * step):
                text += pieces[0] * step
        try:
            text = clean(text, "text")
        except Refusal:
            return
        if not text or not BLUESKY.fits(text):
            return
        receipt = await adapter.send(approved(BLUESKY.name, text, next(_NUMBERS)))
        assert await adapter.read(receipt) == Seen(text=text, answerable=False, pictures=())

    @pytest.mark.parametrize(
        ("text", "more"),
        [
            ("a" * 300, "a"),
            ("👩🏽‍🚒" * 200, "👩🏽‍🚒"),  # 15 bytes each
            ("🇺🇸" * 300, "🇺"),
            ("क्षत्रिय" * 100, "क"),
            ("a\u094dक" * 150, "a"),
            ("x" + "\u0301" * 1_499, "\u0301"),
            ("\r\n" * 300, "\r"),
        ],
    )
    async def test_the_limits_are_the_servers(
        self, adapter: Bluesky[Exercise], text: str, more: str
    ) -> None:
        assert BLUESKY.fits(text) and not BLUESKY.fits(text + more)
        await adapter.send(approved(BLUESKY.name, text, 1))
        with pytest.raises(Refused, match="refused this"):
            await adapter.send(approved(BLUESKY.name, text + more, 2))

    async def test_what_the_server_changes(
        self, adapter: Bluesky[Exercise], pds: Pds, account: Account, token: str
    ) -> None:
        """Hence `unfit`: such words are refused, and not only by those who compile them."""
        text = "\ufeffStay inside."
        record = {"$type": POST, "text": text, "createdAt": NOW.isoformat()}
        asked = {"repo": account.did, "collection": POST, "record": record}
        assert "error" not in pds.ask("com.atproto.repo.createRecord", asked, token)
        [post] = pds.records(account, POST).values()
        assert post["text"] == "Stay inside."
        with pytest.raises(Refused, match=re.escape("U+FEFF")):
            await adapter.send(approved(BLUESKY.name, text))


# --- The scripted one -------------------------------------------------------------------------

TOKEN, PASSWORD, DID = "token-of-a-session", "app-password", "did:plc:7x2xzc6n6dp6cu3cg3ohohrd"
NOT_FOUND = answers(400, body=b'{"error":"RecordNotFound","message":"Could not locate record"}')


class TestBlueskyFaults(HttpFaults):
    channel_name = BLUESKY.name
    secrets = ("a-path-that-is-a-secret", PASSWORD, TOKEN)
    asks_first = True
    #: Of `approved`, number 1 (the key is the one in KEYS below).
    taken = json.dumps({
        "results": [{"uri": f"at://{DID}/app.bsky.feed.post/3n2wmgnuijlts", "cid": "bafy"}]
    }).encode()  # fmt: skip

    def make(self, url: str, *, networks: http.Networks, deadline: timedelta) -> Bluesky[Exercise]:
        self.clock = StillClock()
        return Bluesky(
            BLUESKY.model_copy(update={"deadline": deadline}),
            account_of(url, "desk.test", PASSWORD), networks=networks, clock=self.clock,
        )  # fmt: skip

    def is_send(self, request: Request) -> bool:
        return request.path.endswith("/com.atproto.repo.applyWrites")

    def is_upload(self, request: Request) -> bool:
        return request.path.endswith("/com.atproto.repo.uploadBlob")

    async def test_another_picture_than_was_approved_is_not_posted(self) -> None:
        """As a server keeps that makes its own of them."""
        kept = {"blob": {"$type": "blob", "ref": {"$link": "bafkreiaaaa"}}}
        self.says("uploadBlob", answers(200, body=json.dumps(kept).encode()))
        with pytest.raises(Refused, match="another picture"):
            await self._made().send(showing(await self.message("Stay inside.")))
        assert self.sends == []

    def well(self, request: Request) -> Way:
        if self.is_send(request):
            return super().well(request)
        if request.path.endswith("/com.atproto.server.createSession"):
            session = {"did": DID, "handle": "desk.test", "accessJwt": TOKEN}
            return answers(200, body=json.dumps(session).encode(), acts=False)
        return NOT_FOUND

    def says(self, method: str, way: Way) -> None:
        """The other side answers one method in this way, and is well otherwise."""
        self.there.ways = [by(lambda asked: way if method in asked.path else self.well(asked))]

    @property
    def logins(self) -> int:
        return sum("createSession" in request.path for request in self.there.heard)

    @pytest.mark.parametrize(("method", "status", "error", "raised", "told"), ERRORS)
    async def test_what_an_error_means(
        self, method: str, status: int, error: str, raised: type[Exception], told: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        self.says(method, answers(status, body=json.dumps({"error": error}).encode()))
        if method == "deleteRecord":
            with pytest.raises(raised, match=re.escape(told)):
                await self._made().retract(Receipt(remote_id=f"at://{DID}/{POST}/3n2wmgnuijlts"))
        elif method == "uploadBlob":
            with pytest.raises(raised, match=re.escape(told)):
                await self._made().send(showing(await self.message("Stay inside.")))
            assert self.sends == []
        else:
            assert told in str(await self._fails(self._made(), raised, caplog))

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"did":1}', b'{"value":null}'])
    @pytest.mark.parametrize("method", ["createSession", "getRecord"])
    async def test_an_answer_that_cannot_be_read(
        self, method: str, body: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.says(method, answers(200, body=body))
        await self._fails(self._made(), TryLater, caplog)
        assert self.sends == []

    async def test_one_session_serves_until_it_is_old(self) -> None:
        adapter, message = self._made(), await self.message("Stay inside.")
        for _ in range(2):
            await adapter.send(message)
        assert self.logins == 1
        self.clock.move(seconds=SESSION_LIFE.total_seconds() + 1)
        await adapter.send(message)
        assert self.logins == 2

    @pytest.mark.parametrize("error", ["ExpiredToken", "InvalidToken"])
    async def test_a_session_that_ended_early(
        self, error: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server started anew, say. One attempt posts once, so the next one does it."""
        ended = json.dumps({"error": error}).encode()
        adapter = self._made()
        await adapter.send(await self.message("Stay inside."))
        self.clock.move(minutes=2)
        self.suffers(answers(400, body=ended), self.well(self.sends[0]))
        later = await self._fails(adapter, TryLater, caplog)
        assert isinstance(later, TryLater) and later.after == timedelta()
        assert await adapter.send(await self.message("Stay inside."))
        assert self.logins == 2 and len(self.sends) == 3

    @pytest.mark.parametrize("left", [0, 1, 2])
    async def test_taken_down_in_part(self, left: int) -> None:
        """Where it breaks halfway, it is done again from the start; the post goes first."""
        there = Receipt(remote_id=f"at://{DID}/app.bsky.feed.post/3n2wmgnuijlts")
        asked: list[str] = []

        def rule(request: Request) -> Way:
            if "deleteRecord" not in request.path:
                return self.well(request)
            asked.append(request.json["collection"])
            return answers(500 if len(asked) == left + 1 else 200)

        self.there.ways = [by(rule)]
        adapter = self._made()
        with pytest.raises(InDoubt):
            await adapter.retract(there)
        await adapter.retract(there)
        all_three = [POST, THREADGATE, POSTGATE]
        assert asked == all_three[: left + 1] + all_three

    async def test_other_words_under_our_key_are_found(self) -> None:
        message = await self.message("Stay inside.")
        uri = json.loads(self.taken)["results"][0]["uri"]
        other = {"uri": uri, "value": {"text": "Leave.", "createdAt": "2026-11-22T22:00:00Z"}}
        self.says("getRecord", answers(200, body=json.dumps(other).encode()))
        found = await self._made().find(message)
        assert found is not None and found.remote_id == uri

    async def test_looking_changes_nothing(self) -> None:
        """And needs no session: the public may look."""
        message = await self.message("Stay inside.")
        self.says("getRecord", answers(500))
        with pytest.raises(TryLater):
            await self._made().find(message)
        self.says("getRecord", NOT_FOUND)
        assert await self._made().find(message) is None
        assert {request.method for request in self.there.heard} == {"GET"}
        assert not any("authorization" in request.headers for request in self.there.heard)


# --- Keys and links ---------------------------------------------------------------------------

#: As the reference implementation writes them (TID.fromTime of @atproto/common-web).
KEYS = [(1, "3n2wmgnuijlts"), (2, "3n2wmgnuimsqm")]


@pytest.mark.parametrize(("number", "rkey"), KEYS)
def test_a_key_is_a_tid(number: int, rkey: str) -> None:
    assert key(approved(BLUESKY.name, "Stay inside.", number)) == rkey


def test_keys_are_in_the_order_of_release() -> None:
    message = approved(BLUESKY.name, "Stay inside.")
    at = [NOW + timedelta(milliseconds=step) for step in range(50)]
    keys = [key(message.model_copy(update={"released_at": each})) for each in at]
    assert keys == sorted(set(keys))
    there = NOW.astimezone(timezone(timedelta(hours=-8)))
    assert key(message.model_copy(update={"released_at": there})) == keys[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See https://a.example/x.", ["https://a.example/x"]),
        ("(https://a.example/x)", ["https://a.example/x"]),
        ("https://a.example/x_(y), then", ["https://a.example/x_(y)"]),
        ("é🚒 http://a.example http://b.example!?", ["http://a.example", "http://b.example"]),
        ("<https://a.example/>", ["https://a.example/"]),
        ("https://例え.jp/火\ufeffx", ["https://例え.jp/火"]),
        ("https:// http://. a.example www.a.example ftp://a.example", []),
    ],
)
def test_links(text: str, found: list[str]) -> None:
    facets = links(text)
    assert [facet["features"][0]["uri"] for facet in facets] == found
    places = [facet["index"] for facet in facets]
    read = [text.encode()[each["byteStart"] : each["byteEnd"]].decode() for each in places]
    assert read == found


@pytest.mark.parametrize("user", ["desk@example.com", "@desk.test", "a b", "x/y", ""])
def test_a_user_is_a_handle_or_a_did(user: str) -> None:
    with pytest.raises(ValidationError):
        account_of("https://pds.example", user, "x")
