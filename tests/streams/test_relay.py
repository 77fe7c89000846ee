"""The outbox reaches the broker: all of it, in order per key, whatever the broker does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from streams import relay
from streams.broker import Broker
from streams.relay import OutboxRow, Relay
from tests.brokers import Embedded
from tests.streams.helpers import freeze, kill, make_topic, numbers, read_back, thaw


class Rows:
    """An outbox: a list, and what became of its rows."""

    def __init__(self) -> None:
        self.rows: list[OutboxRow] = []
        self.refusals: dict[int, str] = {}
        self.fails: Exception | None = None
        self._changed = asyncio.Condition()
        self._left = asyncio.Event()
        self._next = 1

    def leave(self, topic: str, values: Sequence[bytes], key: bytes = b"incident") -> None:
        for value in values:
            self.rows.append(OutboxRow(self._next, topic, key, value, (("message-id", b"m"),)))
            self._next += 1
        self._left.set()

    async def unsent(self, limit: int) -> Sequence[OutboxRow]:
        if self.fails:
            raise self.fails
        self._left.clear()
        return self.rows[:limit]

    async def sent(self, ids: Sequence[int]) -> None:
        await self._take(set(ids))

    async def refused(self, id: int, reason: str) -> None:
        self.refusals[id] = reason
        await self._take({id})

    async def wait(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._left.wait()

    async def empty(self, deadline: float = 10.0) -> None:
        async with asyncio.timeout(deadline), self._changed:
            await self._changed.wait_for(lambda: not self.rows)

    async def _take(self, ids: set[int]) -> None:
        async with self._changed:
            self.rows = [row for row in self.rows if row.id not in ids]
            self._changed.notify_all()


@contextlib.asynccontextmanager
async def running(rows: Rows, broker: Broker) -> AsyncIterator[Relay]:
    carrier = Relay(rows, broker)
    task = asyncio.create_task(carrier.run())
    try:
        yield carrier
    finally:
        task.cancel()
        async with asyncio.timeout(2):
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def away(carrier: Relay, yes: bool) -> None:
    async with asyncio.timeout(10):
        while (carrier.away is not None) is not yes:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_everything_is_carried_in_order_and_marked(broker: Broker) -> None:
    topic, rows = await make_topic(broker), Rows()
    rows.leave(topic, numbers(1200))
    async with running(rows, broker) as carrier:
        await rows.empty()
        rows.leave(topic, numbers(3, start=1200))
        await rows.empty(deadline=0.9)  # woken by what was left, not by the clock
        assert (carrier.sent, carrier.away) == (1203, None)
    assert await read_back(broker, topic, 1203) == numbers(1203)


async def test_a_broker_that_is_away_is_waited_for(own_broker: Embedded) -> None:
    topic, rows = await make_topic(own_broker.at), Rows()
    await own_broker.stop()
    rows.leave(topic, numbers(5))
    async with running(rows, own_broker.at) as carrier:
        await away(carrier, True)
        assert carrier.away
        assert own_broker.bootstrap in carrier.away.why
        since = carrier.away.since
        rows.leave(topic, numbers(5, start=5))
        own_broker.start()
        await own_broker.ready()
        await rows.empty()
        await away(carrier, False)
        assert since
    assert await read_back(own_broker.at, topic, 10) == numbers(10)


async def test_a_broker_killed_while_it_takes_them_gets_the_rest_in_order(
    own_broker: Embedded,
) -> None:
    topic, rows = await make_topic(own_broker.at), Rows()
    async with running(rows, own_broker.at) as carrier:
        rows.leave(topic, numbers(200))
        await rows.empty()
        kill(own_broker)
        rows.leave(topic, numbers(50, start=200))
        await own_broker.wait()
        await away(carrier, True)
        own_broker.start()
        await own_broker.ready()
        await make_topic(own_broker.at, topic)
        await rows.empty()
    assert await read_back(own_broker.at, topic, 50) == numbers(50, start=200)


async def test_one_too_large_is_refused_and_holds_up_nothing(broker: Broker) -> None:
    topic, rows = await make_topic(broker), Rows()
    rows.leave(topic, [b"before"])
    rows.leave(topic, [b"x" * 1_200_000])
    rows.leave(topic, [b"after"])
    async with running(rows, broker) as carrier:
        await rows.empty()
        assert (carrier.sent, carrier.away) == (2, None)
    assert list(rows.refusals) == [2]
    assert "larger" in rows.refusals[2]
    assert await read_back(broker, topic, 2) == [b"before", b"after"]


async def test_a_producer_that_hangs_is_abandoned(
    own_broker: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 0.5)
    topic, rows = await make_topic(own_broker.at), Rows()
    async with running(rows, own_broker.at) as carrier:
        rows.leave(topic, numbers(5))
        await rows.empty()
        freeze(own_broker)
        rows.leave(topic, numbers(5, start=5))
        await away(carrier, True)
        thaw(own_broker)
        await rows.empty()
        await away(carrier, False)
    values = await read_back(own_broker.at, topic, 10)
    assert values[:5] == numbers(5)
    assert values[-5:] == numbers(5, start=5), "sent twice perhaps, but last as written"


async def test_it_ends_at_once_though_the_broker_is_frozen(own_broker: Embedded) -> None:
    topic, rows = await make_topic(own_broker.at), Rows()
    async with running(rows, own_broker.at):
        rows.leave(topic, numbers(5))
        await rows.empty()
        freeze(own_broker)
        rows.leave(topic, numbers(5, start=5))


async def test_a_ledger_that_is_away_ends_it(broker: Broker) -> None:
    rows = Rows()
    rows.fails = OSError("the ledger is away")
    with pytest.raises(OSError, match="the ledger is away"):
        await Relay(rows, broker).run()
