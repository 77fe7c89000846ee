"""An outbox of the tests' own, and a relay that carries it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence

from streams.broker import Broker
from streams.relay import OutboxRow, Relay
from tests.patience import PATIENCE


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

    async def unsent(self, limit: int, without: Collection[str] = ()) -> Sequence[OutboxRow]:
        if self.fails:
            raise self.fails
        self._left.clear()
        return [row for row in self.rows if row.topic not in without][:limit]

    async def sent(self, ids: Sequence[int]) -> None:
        await self._take(set(ids))

    async def refused(self, id: int, reason: str) -> None:
        self.refusals[id] = reason
        await self._take({id})

    async def wait(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._left.wait()

    async def empty(self, deadline: float = PATIENCE) -> None:
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
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def away(carrier: Relay, yes: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while (carrier.away is not None) is not yes:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
