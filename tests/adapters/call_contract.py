"""What everything that calls a person must do. Its own test says how to make one.

`CallContract` is for all; `HttpCallContract` adds what holds where the means is spoken to by HTTP.
Each failing call is also looked through for what nobody may read: the account's secrets, the
person's address and the link.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

import pytest
import trustme

from adapters import http
from broadcaster.calling import Call, Caller, Gone, Means, words
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.world import Exercise
from tests.adapters.contract import ANSWERS, BREAKS, LOOPBACK, certified, networks
from tests.faults import receiver
from tests.faults.receiver import Receiver, Request, answers
from tests.patience import PATIENCE
from tests.story import EXERCISE, NOW

LINK = "https://alerts.example/a/0d5c1f8e-4a55-4b0e-9a55-6e1a3f0c2b7d"


class Heard(NamedTuple):
    """What the other side holds of one call, and all that is shown to the person."""

    key: str | None  #: None: the means has none
    words: str
    link: str


async def says_nothing(connection: receiver.Connection) -> None:
    connection.came.set()
    await connection.ended.wait()


class CallContract(ABC):
    """Holds for every means. `caller` speaks to the other side's port as it is made."""

    means: Means
    address: str  #: of the person, where it does not depend on the other side's port
    secrets: tuple[str, ...]  #: of the account: in no error, log line or repr
    keyed = True
    defaults: ClassVar[dict[str, Any]] = {"deadline": timedelta(seconds=5)}
    broken_off: type[Exception]  #: what it means that nobody answers

    @abstractmethod
    def make(self, port: int, **ways: Any) -> Caller[Exercise]:
        """A caller that speaks to `port` of this machine. `ways`: `tls`, and what else it takes."""

    @abstractmethod
    def heard(self) -> list[Heard]:
        """What the other side has taken, in order; read there and not from the caller."""

    @property
    @abstractmethod
    def port(self) -> int:
        """The other side's, where it takes every call."""

    def a_call(self, port: int | None = None, tls: str = "", **fields: Any) -> Call[Exercise]:
        return Call[Exercise](**{
            "id": "f1d3ff84-4329-5732-b76e-000000000001", "about_id": LINK.rpartition("/")[2],
            "incident_id": "i1",
            "person_id": "the-persons-id", "reach_id": "r1", "means": self.means, "world": EXERCISE,
            "address": self.address_at(port or self.port, tls), "url": LINK, "attempt": 1,
        } | fields)  # fmt: skip

    def address_at(self, port: int, tls: str = "") -> str:
        return self.address

    @pytest.fixture(autouse=True)
    async def _short(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        monkeypatch.setattr(http, "CONNECT", 1.0)
        monkeypatch.setattr(http, "READ", 1.0)
        self._callers: list[Caller[Exercise]] = []
        yield
        for caller in self._callers:
            await caller.close()

    @pytest.fixture
    def caller(self) -> Any:
        return self.made()

    def made(self, port: int | None = None, **ways: Any) -> Caller[Exercise]:
        self._callers.append(self.make(port or self.port, **(self.defaults | ways)))
        return self._callers[-1]

    async def fails(
        self,
        error: type[Exception],
        caplog: pytest.LogCaptureFixture,
        port: int | None = None,
        **ways: Any,
    ) -> Exception:
        """The error of one call, which must be of this very type and hold no secret."""
        caplog.set_level(logging.DEBUG)
        caller, call = self.made(port, **ways), self.a_call(port, ways.get("tls", ""))
        with pytest.raises((TryLater, Refused, InDoubt)) as caught:
            await caller.call(call)
        assert type(caught.value) is error, caught.value
        assert str(caught.value).endswith(".")
        told = "".join(
            [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value),
             repr(caller), repr(call).replace(LINK, ""), caplog.text]
        )  # fmt: skip
        secrets = (*self.secrets, call.address, LINK)
        assert not [secret for secret in secrets if secret in told]
        return caught.value

    async def test_it_says_that_something_waits_and_where_and_nothing_else(
        self, caller: Caller[Exercise]
    ) -> None:
        accepted = await caller.call(self.a_call())
        assert accepted.remote_id and accepted.at == NOW
        [heard] = self.heard()
        assert (heard.words, heard.link) == (words(EXERCISE), LINK)

    async def test_the_same_call_carries_the_same_key(self, caller: Caller[Exercise]) -> None:
        await caller.call(self.a_call())
        await caller.call(self.a_call())
        first, second = (heard.key for heard in self.heard())
        assert first == second and (first is not None) is self.keyed

    async def test_nobody_is_called_for_the_other_world(self, caller: Caller[Any]) -> None:
        call = self.a_call().model_copy(update={"world": "live"})
        with pytest.raises(Refused, match="live world"):
            await caller.call(call)
        assert self.heard() == []

    async def test_nobody_is_called_by_another_means(self, caller: Caller[Exercise]) -> None:
        other = next(each for each in Means if each is not self.means)
        with pytest.raises(Refused, match=f"by {other}"):
            await caller.call(self.a_call(means=other))
        assert self.heard() == []

    async def test_it_may_be_closed_twice(self, caller: Caller[Exercise]) -> None:
        await caller.call(self.a_call())
        await caller.close()
        await caller.close()

    async def test_nobody_listens(self, caplog: pytest.LogCaptureFixture) -> None:
        async with Receiver() as gone:
            port = gone.port
        await self.fails(TryLater, caplog, port)

    async def test_nobody_answers(self, caplog: pytest.LogCaptureFixture) -> None:
        async with Receiver() as there:
            there.ways = [says_nothing]
            began = time.monotonic()
            await self.fails(self.broken_off, caplog, there.port, deadline=timedelta(seconds=20))
            assert time.monotonic() - began < 10, "silence is not waited out until the deadline"

    async def test_it_obeys_when_it_is_cancelled(self) -> None:
        async with Receiver() as there:
            there.ways = [says_nothing]
            caller, call = self.made(there.port), self.a_call(there.port)
            calling = asyncio.ensure_future(caller.call(call))
            async with asyncio.timeout(PATIENCE):
                await there.came.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling

    async def test_a_certificate_that_nobody_vouches_for(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Receiver() as there:
            there.tls = certified(trustme.CA().issue_cert("localhost"))
            await self.fails(TryLater, caplog, there.port, tls="tls")
            assert there.heard == []


class HttpCallContract(CallContract):
    """Holds for every means that is spoken to by HTTP."""

    defaults = CallContract.defaults | {"networks": LOOPBACK}
    taken = b"{}"  #: what the other side answers with when it takes a call
    ended = frozenset[int]()  #: statuses that say that the person's address is no more
    broken_off = InDoubt

    @abstractmethod
    def read(self, request: Request) -> Heard:
        """What one request says. Fails where it is not as the provider wants it."""

    def url(self, port: int, tls: str = "") -> str:
        where = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
        return f"{where}/hooks/{self.secrets[0]}"

    def heard(self) -> list[Heard]:
        return [self.read(request) for request in self.there.heard]

    @property
    def port(self) -> int:
        return self.there.port

    @pytest.fixture(autouse=True)
    async def _receiver(self) -> AsyncIterator[None]:
        async with Receiver() as self.there:
            self.there.ways = [answers(201, body=self.taken)]
            yield

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
            error = InDoubt  # an answer without what the provider always says is not the provider's
        if status == 503 and pause:
            error = TryLater  # to call somebody twice does no harm, and not at all may
        leaky = f"{self.secrets[0]} {self.address_at(self.port)} {LINK}".encode()
        self.there.ways = [answers(status, headers, body=leaky if error else self.taken)]
        if error is None:
            assert (await self.made().call(self.a_call())).remote_id
            return
        told = await self.fails(Gone if status in self.ended else error, caplog)
        assert str(status) in str(told)
        if isinstance(told, TryLater | InDoubt):
            assert told.after == pause

    @pytest.mark.parametrize("way", BREAKS)
    async def test_broken_after_the_call_may_have_left(
        self, way: receiver.Way, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.there.ways = [way]
        await self.fails(InDoubt, caplog)
        assert self.there.connections == 1

    async def test_it_ends_at_its_deadline(self, caplog: pytest.LogCaptureFixture) -> None:
        self.there.ways = [receiver.drips]
        began = time.monotonic()
        await self.fails(InDoubt, caplog, deadline=timedelta(seconds=0.5))
        assert 0.4 < time.monotonic() - began < 5

    async def test_a_redirect_is_not_followed(self, caplog: pytest.LogCaptureFixture) -> None:
        async with Receiver() as elsewhere:
            there = {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
            self.there.ways = [answers(307, there)]
            await self.fails(Refused, caplog)
            assert elsewhere.connections == 0 and len(self.there.heard) == 1

    @pytest.mark.parametrize("tls", ["", "by name"])
    async def test_an_address_outside_the_networks(
        self, tls: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        allowed = networks("203.0.113.0/24", "2001:db8::/32")
        told = await self.fails(Refused, caplog, networks=allowed, tls=tls)
        assert "BROADCASTER_CALL_NETWORKS" in str(told)
        assert self.there.connections == 0
