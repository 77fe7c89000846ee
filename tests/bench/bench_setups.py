"""What each set-up costs while idle and while busy, and how soon others take over: `make bench`.

Per process: processor time and memory, with an incident open and nothing to do, and then while
releases go out to 10 receivers one after the other. In production with two of each worker, the
time from `kill -9`, or SIGTERM, of one of a kind until a release approved at that moment is posted.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine
from typing import Any

from tests.bench.figures import Json, cpu_seconds, figure, keep, memory_mb
from tests.bench.peers import Receivers, last_of, releasing
from tests.bench.setups import SETUPS, servers
from tests.connected.installation import Embedded, Installation, family
from tests.connected.production import WORKERS, Production, Servers

IDLE_SECONDS, BUSY_RELEASES, CHANNELS = 10, 20, 10


async def measure(on: Servers) -> None:
    rows: list[Json] = []
    async with Receivers.running() as receivers:
        for name, setup in SETUPS.items():
            async with setup(on, **receivers.settings(CHANNELS)) as at:
                rows += await costs(name, at, receivers)
    for number in (signal.SIGKILL, signal.SIGTERM):
        rows += await failovers(on, number)
    keep(rows)


async def costs(name: str, at: Installation, receivers: Receivers) -> list[Json]:
    async with releasing(contextlib.nullcontext(at), CHANNELS, ahead=True) as sender:
        rows = await spent(name, "idle", at, asyncio.sleep(IDLE_SECONDS))

        async def work() -> None:
            for update in range(BUSY_RELEASES):
                await last_of(receivers, CHANNELS, sender, update)

        return rows + await spent(name, "busy", at, work())


async def spent(
    name: str, how: str, at: Installation, work: Coroutine[Any, Any, None]
) -> list[Json]:
    """What each process used while the work was done."""
    pids = named(at)
    before, began = {which: cpu_seconds([pid]) for which, pid in pids.items()}, time.monotonic()
    await work
    took = time.monotonic() - began
    return [
        row
        for which, pid in pids.items()
        for row in (
            figure("setups", name, f"{how}, {which}: CPU",
                   (cpu_seconds([pid]) - before[which]) / took * 100, "% of a core"),
            figure("setups", name, f"{how}, {which}: memory", memory_mb(pid), "MB"),
        )
    ]  # fmt: skip


def named(at: Installation) -> dict[str, int]:
    """The processes of an installation, by name."""
    if isinstance(at, Production):
        return {name: each.pid for name, each in at.kept.items()}
    assert isinstance(at, Embedded)
    found = {each.command: each.pid for each in family(at.pid("parent"))}
    return {which(command): pid for command, pid in found.items()}


def which(command: str) -> str:
    """What a process of `broadcaster up` is, by its command line."""
    signs = {"--child": "child", "tansu broker": "broker"}
    return next((name for sign, name in signs.items() if sign in command), "parent")


async def failovers(on: Servers, number: signal.Signals) -> list[Json]:
    """Seconds until what is approved when a worker ends is posted: the worse of its kind's two."""
    rows: list[Json] = []
    async with Production.fresh(on=on, each=2) as at:
        seen = await at.opened()
        for worker in WORKERS:
            took = [await failover(at, seen, f"{worker} {each}", number) for each in (1, 2)]
            what = f"approve → posted, {number.name} of one {worker} of two"
            rows.append(figure("setups", "Kafka + PostgreSQL", what, max(took), "s"))
    return rows


async def failover(at: Production, seen: Json, worker: str, number: signal.Signals) -> float:
    request = await at.submit(seen)
    began = time.monotonic()
    at.kill(worker, number)
    assert (await at.decide(request)).good
    await at.settled(request)
    took = time.monotonic() - began
    await at.ready()
    return took


if __name__ == "__main__":
    with servers() as on:
        asyncio.run(measure(on))
