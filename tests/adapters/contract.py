"""What every adapter must do, whatever its channel. A channel's own test says how to make one.

`Contract` is for all, and goes to the other side that the channel's test has: a real server, where
there is one. `Platform` adds what holds where a server shows what it holds: read there, found,
edited, retracted. `HttpFaults` is for whatever is spoken to by HTTP: it plays the other side by
itself (tests/faults/receiver.py), and breaks in every way. Each failing send is also looked through
for secrets: the URL, which may be one, and what proves us.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from ipaddress import ip_network
from typing import Any

import pytest
import trustme

from adapters import http
from broadcaster.channel import Idempotency, Mending
from broadcaster.cleaning import clean_picture
from broadcaster.delivery import (
    Adapter,
    InDoubt,
    LockedOut,
    Message,
    NotThere,
    Receipt,
    Refused,
    TryLater,
    Unsupported,
)
from broadcaster.media import Picture
from broadcaster.update import Rendering
from broadcaster.world import Exercise
from tests.faults import receiver
from tests.faults.proxy import NEVER, Proxy, Toxics
from tests.faults.receiver import Connection, Receiver, Request, Way, answers, by, takes
from tests.patience import PATIENCE
from tests.pictures import drawing
from tests.story import EXERCISE, NOW

#: Texts that somebody's "harmless" clean-up would change.
TEXTS = [
    "Gas leak, 1200 block of Oak St. Stay inside.",
    "One line\nand another\n\n  and an indented one",
    "<script>alert('x')</script> & <b>Oak</b> &amp; \"quotes\" \\n %s {0} ${HOME}",
    "Fuga de gas: cañón, ñandú, naïve – “quotes”, ½ mile, 40 °C",
    "火事です。避難してください。 שלום مرحبا",
    "👩‍🚒🏽 🇺🇸 e\u0301\u0323 \u00a0 \u200d \u2028 \ufeff \U0010fffd",
    "x" * 12_000,
]


@dataclass(frozen=True)
class Posted:
    """What the other side holds of one send: the key it came by, and the words."""

    key: str
    headline: str | None  #: None: the channel has none
    text: str


@dataclass(frozen=True)
class Pictured:
    """What the other side holds of a picture: the SHA-256 of its bytes, and its description."""

    digest: str
    alt: str


PICTURE = clean_picture(drawing())
ALT = "A map of Oak St <closed from Cactus & Palm>: “detour”, 1⁄2 mile."


def showing(message: Message[Exercise], number: int = 1) -> Message[Exercise]:
    """The message with a picture; each number has another description."""
    picture = Picture(**PICTURE.image.model_dump(), alt=f"{ALT} {number}")
    rendering = message.rendering.model_copy(update={"pictures": (picture,)})
    return message.model_copy(
        update={"rendering": rendering, "files": {picture.digest: PICTURE.data}}
    )


#: What the other side holds of `showing`.
SHOWN = Pictured(PICTURE.image.digest, f"{ALT} 1")


class Contract(ABC):
    """Holds for every channel. `adapter` is a fixture of the channel's own test."""

    @abstractmethod
    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        """An approved message of the adapter's channel; each number is a post of its own."""

    @abstractmethod
    async def posted(self) -> list[Posted]:
        """What the other side has taken, in order; read there and not from the adapter."""

    async def shown(self) -> list[Pictured]:
        """The pictures of what the other side has taken; for each channel that shows any."""
        raise NotImplementedError

    @pytest.mark.parametrize("text", TEXTS)
    async def test_what_was_approved_is_what_is_posted(
        self, adapter: Adapter[Exercise], text: str
    ) -> None:
        if not adapter.channel.fits(text):
            return  # nobody is ever asked to approve it (tests/broadcaster/test_channel.py)
        message = await self.message(text)
        receipt = await adapter.send(message)
        assert receipt.remote_id
        [posted] = await self.posted()
        assert posted.text == message.rendering.text
        assert posted.headline in (message.rendering.headline, None)

    async def test_the_same_post_carries_the_same_key(self, adapter: Adapter[Exercise]) -> None:
        message = await self.message("Stay inside.")
        first, second = await adapter.send(message), await adapter.send(message)
        assert first == second
        assert {posted.key for posted in await self.posted()} == {message.post_id}

    async def test_nothing_of_the_other_world_is_sent(self, adapter: Adapter[Any]) -> None:
        message = (await self.message("Stay inside.")).model_copy(update={"world": "live"})
        with pytest.raises(Refused, match="live world"):
            await adapter.send(message)
        assert await self.posted() == []

    async def test_nothing_approved_for_another_channel_is_sent(
        self, adapter: Adapter[Exercise]
    ) -> None:
        message = await self.message("Stay inside.")
        other = message.rendering.model_copy(update={"channel": "elsewhere"})
        with pytest.raises(Refused, match="elsewhere"):
            await adapter.send(message.model_copy(update={"rendering": other}))
        assert await self.posted() == []

    async def test_a_picture_is_shown_as_it_was_approved_or_is_not_taken(
        self, adapter: Adapter[Exercise]
    ) -> None:
        message = showing(await self.message("Stay inside."))
        if not adapter.channel.pictures:  # what was approved with one is not said without
            with pytest.raises(Refused, match="picture"):
                await adapter.send(message)
            assert await self.posted() == []
            return
        receipt = await adapter.send(message)
        [posted] = await self.posted()
        assert posted.text == message.rendering.text
        assert await self.shown() == [SHOWN]
        assert await adapter.send(message) == receipt

    async def test_a_picture_of_other_bytes_is_not_sent(self, adapter: Adapter[Exercise]) -> None:
        message = showing(await self.message("Stay inside."))
        other = dict.fromkeys(message.files, b"something else")
        for files in (other, {}):
            with pytest.raises(Refused, match="picture"):
                await adapter.send(message.model_copy(update={"files": files}))
        assert await self.posted() == []

    async def test_it_finds_what_is_there_or_says_that_it_cannot_look(
        self, adapter: Adapter[Exercise]
    ) -> None:
        message = await self.message("Stay inside.")
        try:
            assert await adapter.find(message) is None
        except Unsupported:
            assert adapter.channel.idempotency is not Idempotency.CAN_LOOK
            return
        receipt = await adapter.send(message)
        assert await adapter.find(message) == receipt

    async def test_what_cannot_be_done_to_a_post_is_said(self, adapter: Adapter[Exercise]) -> None:
        """As the channel declares it: what it promises, its other tests try."""
        wrong, right = await self.message("Leave."), await self.message("Stay inside.", 2)
        there, channel = await adapter.send(wrong), adapter.channel
        for can, act in (
            (channel.mending is Mending.EDIT, partial(adapter.edit, right, there)),
            (channel.mending is not Mending.FOLLOW_UP, partial(adapter.retract, there)),
            (channel.reads_back, partial(adapter.read, there)),
        ):
            if not can:
                with pytest.raises(Unsupported):
                    await act()
        assert [each.text for each in await self.posted()] == [wrong.rendering.text]

    async def test_it_may_be_closed_twice(self, adapter: Adapter[Exercise]) -> None:
        await adapter.send(await self.message("Stay inside."))
        await adapter.close()
        await adapter.close()


class Platform(Contract):
    """Holds for a channel whose server shows what it holds; asked by the test, not by the adapter.

    `posted` gives what the public reads there.
    """

    @abstractmethod
    async def replies_are_closed(self, receipt: Receipt) -> bool:
        """Whether the server says that nobody may answer, as far as the channel declares it."""

    async def test_twice_is_once(self, adapter: Adapter[Exercise]) -> None:
        message = await self.message("Stay inside.")
        assert await adapter.send(message) == await adapter.send(message)
        assert len(await self.posted()) == 1

    async def test_it_is_found_by_another_process(self, adapter: Adapter[Exercise]) -> None:
        message, other = await self.message("Stay inside."), await self.message("Elsewhere.", 2)
        await adapter.close()
        elsewhere = deepcopy(adapter)  # it knows what was known before the send, and no more
        receipt = await adapter.send(message)
        assert await elsewhere.find(other) is None
        assert await elsewhere.find(message) == receipt
        await elsewhere.close()

    @pytest.mark.parametrize("text", TEXTS[:-1])
    async def test_it_reads_what_is_there(self, adapter: Adapter[Exercise], text: str) -> None:
        if not adapter.channel.fits(text):
            return
        message = await self.message(text)
        seen = await adapter.read(await adapter.send(message))
        assert seen is not None and seen.text == message.rendering.text
        assert seen.headline in (message.rendering.headline, None)

    async def test_right_words_take_the_place_of_wrong_ones(
        self, adapter: Adapter[Exercise]
    ) -> None:
        if adapter.channel.mending is not Mending.EDIT:
            return
        first, right = await self.message("Leave."), await self.message("Stay inside.", 2)
        there = await adapter.send(first)
        edited = await adapter.edit(right, there)
        assert await adapter.edit(right, there) == edited
        seen = await adapter.read(edited)
        assert seen is not None and seen.text == "Stay inside."
        assert [each.text for each in await self.posted()] == ["Stay inside."]

    async def test_what_is_gone_cannot_be_edited(self, adapter: Adapter[Exercise]) -> None:
        if adapter.channel.mending is not Mending.EDIT:
            return
        there = await adapter.send(await self.message("Leave."))
        await adapter.retract(there)
        with pytest.raises(NotThere):
            await adapter.edit(await self.message("Stay inside.", 2), there)
        assert await self.posted() == []

    async def test_what_is_retracted_is_gone(self, adapter: Adapter[Exercise]) -> None:
        message = await self.message("Leave.")
        there = await adapter.send(message)
        await adapter.retract(there)
        await adapter.retract(there)
        assert await adapter.read(there) is None
        assert await self.posted() == []

    async def test_nobody_can_answer(self, adapter: Adapter[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Stay inside."))
        assert await self.replies_are_closed(receipt)

    async def test_its_address_is_told(self, adapter: Adapter[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Stay inside."))
        assert receipt.url and receipt.url.startswith(("http://", "https://"))


#: Status, headers, what it means, and the pause that is asked for.
ANSWERS: list[tuple[int, dict[str, str], type[Exception] | None, timedelta | None]] = [
    (200, {}, None, None),
    (201, {}, None, None),
    (202, {}, None, None),
    (204, {}, None, None),
    (200, {"Content-Encoding": "gzip"}, None, None),
    *((status, {}, Refused, None) for status in (300, 301, 302, 303, 304, 307, 308)),
    *((status, {}, Refused, None) for status in (400, 403, 404, 409, 410, 413, 422)),
    (401, {}, LockedOut, None),
    *((status, {}, InDoubt, None) for status in (408, 500, 501, 502, 503, 504, 599)),
    (500, {"Retry-After": "7"}, InDoubt, timedelta(seconds=7)),
    (503, {"Retry-After": "soon"}, InDoubt, None),
    (503, {"Retry-After": "7"}, InDoubt, timedelta(seconds=7)),
    (429, {}, TryLater, None),
    (429, {"Retry-After": "0"}, TryLater, timedelta()),
    (429, {"Retry-After": "120"}, TryLater, timedelta(seconds=120)),
    (429, {"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, TryLater,
     timedelta(seconds=90)),
    (429, {"Retry-After": "Sunday, 22-Nov-26 22:01:30 GMT"}, TryLater, timedelta(seconds=90)),
    (429, {"Retry-After": "Sun Nov 22 22:01:30 2026"}, TryLater, timedelta(seconds=90)),
    (429, {"Retry-After": "Sun, 22 Nov 2026 21:00:00 GMT"}, TryLater, timedelta()),
    (429, {"Retry-After": "9" * 5000}, TryLater, timedelta(days=7)),
    *((429, {name: value}, TryLater, timedelta(seconds=90))
      for name in ("X-RateLimit-Reset", "x-rate-limit-reset", "RateLimit-Reset")
      for value in (f"{NOW.timestamp() + 90:.0f}", "2026-11-22T22:01:30.000Z", "90")),
    (429, {"X-RateLimit-Reset": f"{NOW.timestamp() - 90:.0f}"}, TryLater, timedelta()),
    (429, {"X-RateLimit-Reset": "9" * 5000}, TryLater, timedelta(days=7)),
    *((429, {"X-RateLimit-Reset": value}, TryLater, None) for value in ("-5", "", "soon", "²")),
    # Of X's several limits those count that are at their end, and of those the one that lasts.
    *((429, {"x-rate-limit-reset": "90", "x-rate-limit-remaining": left,
             f"x-{whose}-limit-24hour-reset": "7200", f"x-{whose}-limit-24hour-remaining": "0"},
       TryLater, timedelta(hours=2)) for whose in ("app", "user") for left in ("0", "88")),
    (429, {"x-rate-limit-reset": "90", "x-rate-limit-remaining": "0",
           "x-app-limit-24hour-reset": "7200", "x-app-limit-24hour-remaining": "9"},
     TryLater, timedelta(seconds=90)),
    (429, {"x-app-limit-24hour-reset": "7200"}, TryLater, None),
    (429, {"Retry-After": "7", "X-RateLimit-Reset": "90"}, TryLater, timedelta(seconds=7)),
    (503, {"X-RateLimit-Reset": "90"}, InDoubt, None),
    *((429, {"Retry-After": value}, TryLater, None) for value in ("-5", "1.5", "", "x", "²")),
]  # fmt: skip

#: Ways to break once the message may have left.
BREAKS = [
    receiver.resets_unread,
    receiver.resets,
    receiver.hangs_up,
    receiver.never_reads,
    receiver.never_answers,
    receiver.answers_half,
    receiver.answers_half_and_resets,
    receiver.answers_half_and_waits,
    receiver.answers_half_a_head,
    receiver.babbles,
]

#: How an edit breaks that was sent, and what that means.
EDITS: list[tuple[Way, type[Exception]]] = [
    *((way, InDoubt) for way in BREAKS),
    (answers(200, body=b"<h1>Welcome</h1>"), InDoubt),
    (answers(503, {"Retry-After": "7"}), InDoubt),
    (answers(429, {"Retry-After": "7"}), TryLater),
    (answers(403), Refused),
    (answers(401), LockedOut),
]

#: Ways in which a look shows nothing: not that something is there, nor that it is gone.
BLIND = [
    *(answers(status, acts=False) for status in (301, 401, 403, 429, 500, 503)),
    answers(200, body=b"<h1>Welcome</h1>", acts=False),
    receiver.hangs_up,
    receiver.never_answers,
    receiver.answers_half,
]

Fault = Callable[[Proxy], Awaitable[None]]


def suffers(side: str, **toxics: Any) -> Fault:
    """What we say (`up`), or what the other side says (`down`), suffers this."""

    async def fault(proxy: Proxy) -> None:
        setattr(proxy, side, Toxics(**toxics))

    fault.__name__ = f"{side} {toxics}"
    return fault


up, down = partial(suffers, "up"), partial(suffers, "down")


async def cut_off(proxy: Proxy) -> None:
    proxy.blackhole()


#: What the network does, and what it means: whether a byte of the message can have left. None:
#: it was taken.
NETWORK: list[tuple[str, Fault, type[Exception] | None]] = [
    *((scheme, fault, TryLater) for scheme in ("http", "https")
      for fault in (Proxy.refuse, cut_off)),
    ("https", up(reset_peer=0), TryLater),
    ("https", up(reset_peer=100), TryLater),
    ("https", up(timeout=NEVER), TryLater),
    ("https", down(timeout=NEVER), TryLater),
    ("https", down(timeout=0.1), TryLater),
    ("https", down(limit_data=100), TryLater),
    ("https", down(bandwidth=100), TryLater),
    *(("http", fault, InDoubt) for fault in (
        up(reset_peer=0), up(reset_peer=100), up(limit_data=100), up(timeout=NEVER),
        up(timeout=0.1), down(reset_peer=0), down(reset_peer=50), down(limit_data=50),
        down(timeout=NEVER), down(timeout=0.1),
    )),
    *((scheme, fault, None) for scheme in ("http", "https") for fault in (
        up(latency=0.05, jitter=0.02), down(latency=0.1), down(slow_close=NEVER),
        up(slicer=200, delay=0.001), down(slicer=200, delay=0.001), down(bandwidth=100_000),
    )),
]  # fmt: skip


def certified(certificate: trustme.LeafCert, oldest: bool = False) -> ssl.SSLContext:
    """A server's side of TLS. `oldest`: in a version that is not to be spoken any more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if oldest:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("DEFAULT@SECLEVEL=0")
    return context


#: What a server shows that is not the one asked for, by the authority that is relied on.
CERTIFICATES: list[Callable[[trustme.CA], ssl.SSLContext]] = [
    lambda _: certified(trustme.CA().issue_cert("localhost")),
    lambda authority: certified(authority.issue_cert("elsewhere.example")),
    lambda authority: certified(
        authority.issue_cert("localhost", not_after=datetime(2026, 1, 1, tzinfo=UTC))
    ),
    lambda authority: certified(authority.issue_cert("localhost"), oldest=True),
]


def approved(channel_name: str, text: str, number: int = 1) -> Message[Exercise]:
    """An approved message; each number is a post of its own."""
    return Message[Exercise](
        post_id=f"f1d3ff84-4329-5732-b76e-{number:012}", world=EXERCISE,
        incident_public_id="k7m2p9qx", incident_url="http://127.0.0.1:8080/p/k7m2p9qx",
        number=3, kind="update", released_at=NOW, expires_at=NOW + timedelta(hours=24),
        rendering=Rendering(channel=channel_name, headline="Gas leak – Oak St", text=text),
    )  # fmt: skip


class HttpFaults(ABC):
    """Holds for every channel that is spoken to by HTTP, whatever it says there.

    The other side is well until the request that posts: that one suffers what a test has in mind.
    """

    #: None of these may stand in an error, a log line or a repr.
    secrets: tuple[str, ...]
    channel_name: str
    #: What a server that is well answers to a post.
    taken = b"{}"
    #: Whether it asks something before it posts: what breaks a first connection then breaks that,
    #: and nothing was sent.
    asks_first = False

    @abstractmethod
    def make(self, url: str, *, networks: http.Networks, deadline: timedelta) -> Adapter[Exercise]:
        """An adapter of the channel that posts to `url`, its secrets being `secrets`."""

    def well(self, request: Request) -> Way:
        """How a server that is well answers a request; a look is nothing that it acts on."""
        acts = None if self.is_send(request) else False
        return answers(200, body=self.taken + b" " * 100, acts=acts)

    def is_send(self, request: Request) -> bool:
        """Whether a request is the one that posts."""
        return request.method != "GET" and not self.is_upload(request)

    def is_upload(self, request: Request) -> bool:
        """Whether a request brings a picture, and posts nothing yet."""
        return False

    def url(self, *, scheme: str = "http", host: str = "127.0.0.1", port: int | None = None) -> str:
        return f"{scheme}://{host}:{port or self.there.port}/hooks/{self.secrets[0]}"

    async def message(self, text: str) -> Message[Exercise]:
        return approved(self.channel_name, text)

    def suffers(self, *ways: Way) -> None:
        """The next sends suffer these; the last one stays."""
        left = list(ways)

        async def send(connection: Connection) -> None:
            await (left.pop(0) if len(left) > 1 else left[0])(connection)

        def rule(request: Request) -> Way:
            return send if self.is_send(request) else self.well(request)

        self.there.ways = [by(rule)] if self.asks_first else ways

    @property
    def sends(self) -> list[Request]:
        """The requests to post that the other side has heard."""
        return [request for request in self.there.heard if self.is_send(request)]

    @property
    def unread(self) -> type[Exception]:
        """What it is that a connection broke on which nothing was read."""
        return TryLater if self.asks_first else InDoubt

    @pytest.fixture(autouse=True)
    async def _receiver(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        for limit in ("CONNECT", "READ", "READ_AFTER_PICTURE"):
            monkeypatch.setattr(http, limit, 1.0)
        self._adapters: list[Adapter[Exercise]] = []
        async with Receiver(ways=[by(self.well)]) as self.there:
            yield
            for adapter in self._adapters:
                await adapter.close()

    @pytest.fixture
    def authority(self, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
        """The one that is relied on, in place of the system's."""
        authority = trustme.CA()
        relied_on = ssl.create_default_context()
        authority.configure_trust(relied_on)
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", relied_on)
        return authority

    def _made(self, url: str | None = None, **ways: Any) -> Adapter[Exercise]:
        defaults: dict[str, Any] = {
            "networks": LOOPBACK, "deadline": timedelta(seconds=5),
        }  # fmt: skip
        self._adapters.append(self.make(url or self.url(), **(defaults | ways)))
        return self._adapters[-1]

    async def _fails(
        self, adapter: Adapter[Exercise], error: type[Exception], caplog: pytest.LogCaptureFixture,
        edits: Receipt | None = None,
    ) -> Exception:  # fmt: skip
        """The error of one send, or edit, which must be of this type and hold no secret."""
        caplog.set_level(logging.DEBUG)
        message = await self.message("Stay inside.")
        with pytest.raises((TryLater, Refused, InDoubt)) as caught:
            await (adapter.edit(message, edits) if edits else adapter.send(message))
        assert type(caught.value) is error, caught.value
        assert str(caught.value).endswith((".", "?"))
        told = "".join(
            [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value),
             repr(adapter), caplog.text]
        )  # fmt: skip
        assert not [secret for secret in self.secrets if secret in told]
        return caught.value

    # --- what an answer means -----------------------------------------------------------------

    @pytest.mark.parametrize(("status", "headers", "error", "pause"), ANSWERS)
    async def test_what_an_answer_means(
        self,
        status: int,
        headers: dict[str, str],
        error: type[Exception] | None,
        pause: timedelta | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        if status == 204 and self.taken != b"{}":
            error = InDoubt  # an answer without what the platform always says is not the platform's
        body = self.secrets[0].encode() if error else self.taken
        self.suffers(answers(status, headers, body=body))
        if error is None:
            assert (await self._made().send(await self.message("Stay inside."))).remote_id
            return
        told = await self._fails(self._made(), error, caplog)
        assert str(status) in str(told)
        assert len(self.sends) == 1, "whether and when to try again is not the adapter's to say"
        if isinstance(told, TryLater | InDoubt):
            assert told.after == pause

    async def test_a_send_that_is_well_tells_no_secret(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        adapter = self._made()
        receipt = await adapter.send(await self.message("Stay inside."))
        told = f"{adapter!r} {receipt.remote_id} {caplog.text}"
        assert not [secret for secret in self.secrets if secret in told]

    # --- what is brought before the post ------------------------------------------------------

    @pytest.mark.parametrize("way", [*BLIND, *BREAKS])
    async def test_a_picture_that_did_not_get_there_posts_nothing(
        self, way: Way, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It may be brought again: nothing of it is in doubt."""
        if type(self).is_upload is HttpFaults.is_upload:
            return  # nothing is brought before
        adapter = self._made()

        async def brought(connection: Connection) -> None:
            await way(connection)

        self.there.ways = [by(lambda it: brought if self.is_upload(it) else self.well(it))]
        caplog.set_level(logging.DEBUG)
        with pytest.raises((TryLater, Refused)) as caught:
            await adapter.send(showing(await self.message("Stay inside.")))
        assert self.sends == []
        told = f"{caught.value!r} {caplog.text}"
        assert not [secret for secret in self.secrets if secret in told]

    # --- what a look means that shows nothing -------------------------------------------------

    @pytest.mark.parametrize("way", BLIND)
    async def test_who_cannot_see_does_not_say_that_nothing_is_there(self, way: Way) -> None:
        """What is not found is sent again, and what is gone is not looked for any more."""
        message, adapter = await self.message("Stay inside."), self._made()
        there = await adapter.send(message)
        self.there.ways = [way]
        for look in (partial(adapter.find, message), partial(adapter.read, there)):
            with pytest.raises((TryLater, Unsupported)):
                await look()

    @pytest.mark.parametrize("way", BLIND)
    async def test_a_retraction_without_an_answer_is_not_done(self, way: Way) -> None:
        adapter = self._made()
        there = await adapter.send(await self.message("Stay inside."))
        self.there.ways = [way]
        with pytest.raises((TryLater, Refused, InDoubt, Unsupported)):
            await adapter.retract(there)

    async def test_a_look_that_was_put_off_says_for_how_long(self) -> None:
        message, adapter = await self.message("Stay inside."), self._made()
        there = await adapter.send(message)
        self.there.ways = [answers(503, {"Retry-After": "7"}, acts=False)]
        for look in (partial(adapter.find, message), partial(adapter.read, there)):
            with pytest.raises((TryLater, Unsupported)) as said:
                await look()
            if isinstance(said.value, TryLater):
                assert said.value.after == timedelta(seconds=7)

    # --- where it broke -----------------------------------------------------------------------

    @pytest.mark.parametrize(("way", "error"), EDITS)
    async def test_how_an_edit_ends(
        self, way: Way, error: type[Exception], caplog: pytest.LogCaptureFixture
    ) -> None:
        adapter = self._made()
        if adapter.channel.mending is not Mending.EDIT:
            return
        there = await adapter.send(await self.message("Leave."))
        self.suffers(way)
        told = await self._fails(adapter, error, caplog, edits=there)
        if "503" in str(told) or "429" in str(told):
            assert getattr(told, "after", None) == timedelta(seconds=7)

    @pytest.mark.parametrize("way", BREAKS)
    async def test_broken_after_the_message_may_have_left(
        self, way: Way, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.suffers(way)
        began = time.monotonic()
        await self._fails(self._made(deadline=timedelta(seconds=20)), InDoubt, caplog)
        assert len(self.sends) <= 1 and self.there.connections == max(len(self.there.heard), 1)
        assert time.monotonic() - began < 10, "silence is not waited out until the deadline"

    async def test_nobody_listens(self, caplog: pytest.LogCaptureFixture) -> None:
        async with Receiver() as gone:
            port = gone.port
        await self._fails(self._made(self.url(port=port)), TryLater, caplog)

    async def test_a_name_that_nobody_knows(self, caplog: pytest.LogCaptureFixture) -> None:
        await self._fails(self._made(self.url(host="no-such-host.invalid")), TryLater, caplog)

    async def test_a_name_server_that_does_not_answer(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Row 17 of the fault matrix, with the case above."""

        async def asks(*_: object, **__: object) -> list[object]:
            await asyncio.sleep(60)
            return []

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", asks)
        await self._fails(self._made(self.url(host="hooks.example")), TryLater, caplog)

    async def test_a_server_without_tls(self, caplog: pytest.LogCaptureFixture) -> None:
        self.there.ways = [receiver.talks_first]
        await self._fails(self._made(self.url(scheme="https")), TryLater, caplog)
        assert self.there.heard == []

    async def test_a_server_that_never_agrees_on_tls(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.there.ways = [receiver.never_reads]
        await self._fails(self._made(self.url(scheme="https")), TryLater, caplog)

    @pytest.mark.parametrize("certificate", CERTIFICATES)
    async def test_a_server_that_does_not_prove_who_it_is(
        self,
        certificate: Callable[[trustme.CA], ssl.SSLContext],
        authority: trustme.CA,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Row 16 of the fault matrix; it is not asked again in a less safe way either."""
        self.there.tls = certificate(authority)
        await self._fails(self._made(self.url(scheme="https", host="localhost")), TryLater, caplog)
        assert self.there.heard == [] and self.there.connections == 1

    async def test_a_server_that_proves_who_it_is(self, authority: trustme.CA) -> None:
        self.there.tls = certified(authority.issue_cert("localhost"))
        made = self._made(self.url(scheme="https", host="localhost"))
        assert await made.send(await self.message("Stay inside."))
        assert len(self.sends) == 1

    # --- where the network broke --------------------------------------------------------------

    @pytest.mark.parametrize(("scheme", "fault", "error"), NETWORK)
    async def test_where_the_network_broke(
        self,
        scheme: str,
        fault: Fault,
        error: type[Exception] | None,
        authority: trustme.CA,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Rows 11, 14, 18 and 19 of the fault matrix."""
        if scheme == "https":
            self.there.tls = certified(authority.issue_cert("localhost"))
        async with Proxy(self.there.port) as proxy:
            await fault(proxy)
            made = self._made(self.url(scheme=scheme, host="localhost", port=proxy.port))
            if error is not None:
                await self._fails(made, self.unread if error is InDoubt else error, caplog)
                assert error is InDoubt or self.there.heard == []
                return
            assert await made.send(await self.message("Stay inside."))
            assert len(self.sends) == 1

    async def test_the_line_goes_dead_once_the_message_has_left(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Row 18: the other side has it, and neither an answer nor an end ever comes."""
        async with Proxy(self.there.port) as proxy:

            async def goes_dead(connection: Connection) -> None:
                await connection.read()
                proxy.blackhole()
                await takes(connection)

            self.suffers(goes_dead)
            made = self._made(self.url(port=proxy.port), deadline=timedelta(seconds=20))
            await self._fails(made, InDoubt, caplog)
            assert len(self.there.book.acted) == 1

    async def test_it_ends_at_its_deadline(self, caplog: pytest.LogCaptureFixture) -> None:
        self.suffers(receiver.drips)
        began = time.monotonic()
        async with asyncio.timeout(10):
            await self._fails(self._made(deadline=timedelta(seconds=0.5)), InDoubt, caplog)
        assert time.monotonic() - began > 0.4

    async def test_it_obeys_when_it_is_cancelled(self) -> None:
        self.suffers(receiver.never_answers)
        sending = asyncio.ensure_future(self._made().send(await self.message("Stay inside.")))
        async with asyncio.timeout(PATIENCE):
            await self.there.came.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    async def test_a_connection_is_not_used_twice(self) -> None:
        """A kept one may be closed on the other side, and then a send on it is in doubt."""
        message, adapter = await self.message("Stay inside."), self._made()

        async def stays_open(connection: Connection) -> None:
            await self.well(await connection.read())(connection)
            await connection.wait()

        self.there.ways = [stays_open]
        for _ in range(3):
            await adapter.send(message)
        assert self.there.connections == len(self.there.heard) >= 3

    # --- where it goes ------------------------------------------------------------------------

    async def test_a_redirect_is_not_followed(self, caplog: pytest.LogCaptureFixture) -> None:
        async with Receiver() as elsewhere:
            there = {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
            self.suffers(answers(307, there))
            await self._fails(self._made(), Refused, caplog)
            assert elsewhere.connections == 0 and len(self.sends) == 1

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
    async def test_an_address_outside_the_networks(
        self, host: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        allowed = networks("203.0.113.0/24", "2001:db8::/32")
        told = await self._fails(self._made(self.url(host=host), networks=allowed), Refused, caplog)
        assert "BROADCASTER_CHANNEL_NETWORKS" in str(told)
        assert self.there.connections == 0

    async def test_an_address_of_version_4_written_as_6(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = self.url(host="[::ffff:127.0.0.1]")
        await self._fails(self._made(url, networks=networks("::/0")), Refused, caplog)
        assert self.there.connections == 0

    @pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "127.0.0.1."])
    async def test_an_address_that_hides_what_it_is(
        self, host: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = self._made(self.url(host=host), networks=networks("203.0.113.0/24"))
        await self._fails(made, Refused, caplog)
        assert self.there.connections == 0

    async def test_no_networks_are_none(self, caplog: pytest.LogCaptureFixture) -> None:
        await self._fails(self._made(networks=()), Refused, caplog)

    async def test_of_several_addresses_only_those_within(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the name meant when it was checked is what is connected to; it is asked once."""
        asked = []

        async def means(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
            asked.append(host)
            addresses = ("169.254.169.254", "127.0.0.1", "10.0.0.1")
            return [(2, 1, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", means)
        url = self.url(host="hooks.example")
        assert await self._made(url).send(await self.message("Stay inside."))
        assert asked == ["hooks.example"] * self.there.connections

    async def test_the_environment_names_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.delenv("no_proxy", raising=False)
        assert await self._made().send(await self.message("Stay inside."))

    async def test_nothing_compressed_is_asked_for(self) -> None:
        """A server that may compresses what is long, and then nobody could read it."""
        await self._made().send(await self.message("Stay inside."))
        assert {each.headers["accept-encoding"] for each in self.there.heard} == {"identity"}

    async def test_cookies_are_not_kept(self, caplog: pytest.LogCaptureFixture) -> None:
        self.suffers(answers(500, {"Set-Cookie": "a=b; Path=/"}))
        adapter = self._made()
        await self._fails(adapter, InDoubt, caplog)
        await self._fails(adapter, InDoubt, caplog)
        assert not [request for request in self.there.heard if "cookie" in request.headers]


def networks(*ranges: str) -> http.Networks:
    return [ip_network(each) for each in ranges]


LOOPBACK = networks("127.0.0.0/8")
