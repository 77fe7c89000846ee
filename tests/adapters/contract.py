"""What every adapter must do, whatever its channel. A channel's own test says how to make one.

`Contract` is for all; `HttpContract` adds what holds for a channel that is spoken to by HTTP. Each
failing send is also looked through for secrets: the URL, which may be one, and the key.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from adapters import http
from broadcaster.channel import Idempotency
from broadcaster.delivery import (
    Adapter,
    InDoubt,
    Message,
    Refused,
    TryLater,
    Unsupported,
)
from broadcaster.update import Rendering
from broadcaster.world import Exercise
from tests.adapters import receiver
from tests.adapters.receiver import Receiver, Request, answers
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
    headline: str
    text: str


class Contract(ABC):
    """Holds for every channel. `adapter` is a fixture of the channel's own test."""

    @abstractmethod
    async def message(self, text: str) -> Message[Exercise]:
        """An approved message of the adapter's channel, ready to be sent."""

    @abstractmethod
    async def posted(self) -> list[Posted]:
        """What the other side has taken, in order; read there and not from the adapter."""

    @pytest.mark.parametrize("text", TEXTS)
    async def test_what_was_approved_is_what_is_posted(
        self, adapter: Adapter[Exercise], text: str
    ) -> None:
        message = await self.message(text)
        receipt = await adapter.send(message)
        assert receipt.remote_id
        [posted] = await self.posted()
        assert posted.text == message.rendering.text
        assert posted.headline == message.rendering.headline

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

    async def test_it_may_be_closed_twice(self, adapter: Adapter[Exercise]) -> None:
        await adapter.send(await self.message("Stay inside."))
        await adapter.close()
        await adapter.close()


#: Status, headers, what it means, and the pause that is asked for.
ANSWERS: list[tuple[int, dict[str, str], type[Exception] | None, timedelta | None]] = [
    (200, {}, None, None),
    (201, {}, None, None),
    (202, {}, None, None),
    (204, {}, None, None),
    (200, {"Content-Encoding": "gzip"}, None, None),
    *((status, {}, Refused, None) for status in (300, 301, 302, 303, 304, 307, 308)),
    *((status, {}, Refused, None) for status in (400, 401, 403, 404, 409, 410, 413, 422)),
    *((status, {}, InDoubt, None) for status in (408, 500, 501, 502, 503, 504, 599)),
    (500, {"Retry-After": "7"}, InDoubt, None),
    (503, {"Retry-After": "soon"}, InDoubt, None),
    (503, {"Retry-After": "7"}, TryLater, timedelta(seconds=7)),
    (429, {}, TryLater, None),
    (429, {"Retry-After": "0"}, TryLater, timedelta()),
    (429, {"Retry-After": "120"}, TryLater, timedelta(seconds=120)),
    (429, {"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, TryLater,
     timedelta(seconds=90)),
    (429, {"Retry-After": "Sunday, 22-Nov-26 22:01:30 GMT"}, TryLater, timedelta(seconds=90)),
    (429, {"Retry-After": "Sun Nov 22 22:01:30 2026"}, TryLater, timedelta(seconds=90)),
    (429, {"Retry-After": "Sun, 22 Nov 2026 21:00:00 GMT"}, TryLater, timedelta()),
    (429, {"Retry-After": "9" * 5000}, TryLater, timedelta(days=7)),
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


class HttpContract(Contract):
    """Holds for every channel that is spoken to by HTTP."""

    #: None of these may stand in an error, a log line or a repr.
    secrets: tuple[str, ...]

    @abstractmethod
    def make(self, url: str, *, networks: http.Networks, deadline: timedelta) -> Adapter[Exercise]:
        """An adapter of the channel that posts to `url`, its secrets being `secrets`."""

    @abstractmethod
    def read(self, request: Request) -> Posted:
        """What one request says. Fails where it is not as the channel's own server wants it."""

    def url(self, *, scheme: str = "http", host: str = "127.0.0.1", port: int | None = None) -> str:
        return f"{scheme}://{host}:{port or self.there.port}/hooks/{self.secrets[0]}"

    async def message(self, text: str) -> Message[Exercise]:
        return Message[Exercise](
            post_id="f1d3ff84-4329-5732-b76e-000000000001", world=EXERCISE,
            incident_public_id="k7m2p9qx", incident_url="http://127.0.0.1:8080/p/k7m2p9qx",
            number=3, kind="update", released_at=NOW, expires_at=NOW + timedelta(hours=24),
            rendering=Rendering(channel=self.channel_name, headline="Gas leak – Oak St", text=text),
        )  # fmt: skip

    channel_name: str

    async def posted(self) -> list[Posted]:
        return [self.read(request) for request in self.there.heard]

    @pytest.fixture(autouse=True)
    async def _receiver(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        monkeypatch.setattr(http, "CONNECT", 0.3)
        monkeypatch.setattr(http, "READ", 0.3)
        self._adapters: list[Adapter[Exercise]] = []
        async with Receiver() as self.there:
            yield
            for adapter in self._adapters:
                await adapter.close()

    @pytest.fixture
    def adapter(self) -> Adapter[Exercise]:
        return self._made()

    def _made(self, url: str | None = None, **ways: Any) -> Adapter[Exercise]:
        defaults: dict[str, Any] = {
            "networks": LOOPBACK, "deadline": timedelta(seconds=5),
        }  # fmt: skip
        self._adapters.append(self.make(url or self.url(), **(defaults | ways)))
        return self._adapters[-1]

    async def _fails(
        self, adapter: Adapter[Exercise], error: type[Exception], caplog: pytest.LogCaptureFixture
    ) -> Exception:
        """The error of one send, which must be of this type and hold no secret."""
        caplog.set_level(logging.DEBUG)
        with pytest.raises((TryLater, Refused, InDoubt)) as caught:
            await adapter.send(await self.message("Stay inside."))
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
        self.there.ways = [answers(status, headers, body=self.secrets[0].encode())]
        if error is None:
            assert (await self._made().send(await self.message("Stay inside."))).remote_id
            return
        told = await self._fails(self._made(), error, caplog)
        assert str(status) in str(told)
        if isinstance(told, TryLater):
            assert told.after == pause

    async def test_a_long_answer_is_not_read_to_its_end(self) -> None:
        self.there.ways = [receiver.answers_without_end]
        assert await self._made().send(await self.message("Stay inside."))

    # --- where it broke -----------------------------------------------------------------------

    @pytest.mark.parametrize("way", BREAKS)
    async def test_broken_after_the_message_may_have_left(
        self, way: receiver.Way, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.there.ways = [way]
        began = time.monotonic()
        await self._fails(self._made(deadline=timedelta(seconds=20)), InDoubt, caplog)
        assert self.there.connections == 1
        assert time.monotonic() - began < 10, "silence is not waited out until the deadline"

    async def test_nobody_listens(self, caplog: pytest.LogCaptureFixture) -> None:
        async with Receiver() as gone:
            port = gone.port
        await self._fails(self._made(self.url(port=port)), TryLater, caplog)

    async def test_a_name_that_nobody_knows(self, caplog: pytest.LogCaptureFixture) -> None:
        await self._fails(self._made(self.url(host="no-such-host.invalid")), TryLater, caplog)

    async def test_a_server_without_tls(self, caplog: pytest.LogCaptureFixture) -> None:
        self.there.ways = [receiver.talks_first]
        await self._fails(self._made(self.url(scheme="https")), TryLater, caplog)
        assert self.there.heard == []

    async def test_a_server_that_never_agrees_on_tls(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.there.ways = [receiver.never_reads]
        await self._fails(self._made(self.url(scheme="https")), TryLater, caplog)

    async def test_a_certificate_that_nobody_vouches_for(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.there.ways = [receiver.speaks_tls(Path(__file__).with_name("untrusted.pem"))]
        await self._fails(self._made(self.url(scheme="https", host="localhost")), TryLater, caplog)
        assert self.there.heard == []

    async def test_it_ends_at_its_deadline(self, caplog: pytest.LogCaptureFixture) -> None:
        self.there.ways = [receiver.drips]
        began = time.monotonic()
        await self._fails(self._made(deadline=timedelta(seconds=0.5)), InDoubt, caplog)
        assert 0.4 < time.monotonic() - began < 2

    async def test_it_obeys_when_it_is_cancelled(self) -> None:
        self.there.ways = [receiver.never_answers]
        sending = asyncio.ensure_future(self._made().send(await self.message("Stay inside.")))
        async with asyncio.timeout(5):
            await self.there.came.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    async def test_a_connection_is_not_used_twice(self, adapter: Adapter[Exercise]) -> None:
        """A kept one may be closed on the other side, and then a send on it is in doubt."""
        message = await self.message("Stay inside.")
        for _ in range(3):
            await adapter.send(message)
        assert self.there.connections == 3

    # --- where it goes ------------------------------------------------------------------------

    async def test_a_redirect_is_not_followed(self, caplog: pytest.LogCaptureFixture) -> None:
        async with Receiver() as elsewhere:
            there = {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
            self.there.ways = [answers(307, there)]
            await self._fails(self._made(), Refused, caplog)
            assert elsewhere.connections == 0 and len(self.there.heard) == 1

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
    async def test_an_address_outside_the_networks(
        self, host: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        allowed = networks("203.0.113.0/24", "2001:db8::/32")
        told = await self._fails(self._made(self.url(host=host), networks=allowed), Refused, caplog)
        assert "BROADCASTER_WEBHOOK_NETWORKS" in str(told)
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
        assert asked == ["hooks.example"]
        assert self.there.connections == 1

    async def test_the_environment_names_no_proxy(
        self, adapter: Adapter[Exercise], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.delenv("no_proxy", raising=False)
        assert await adapter.send(await self.message("Stay inside."))

    async def test_cookies_are_not_kept(self, adapter: Adapter[Exercise]) -> None:
        self.there.ways = [answers(200, {"Set-Cookie": "a=b; Path=/"})]
        message = await self.message("Stay inside.")
        await adapter.send(message)
        await adapter.send(message)
        assert not [request for request in self.there.heard if "cookie" in request.headers]


def networks(*ranges: str) -> http.Networks:
    return [ip_network(each) for each in ranges]


LOOPBACK = networks("127.0.0.0/8")
