"""How fast an approval fans out: `make bench`.

From the start of the Commander's tap (the POST of the decision) to its arrival at the last of N
receivers, which answer after 50 ms. Embedded, Apache Kafka with SQLite, and Kafka with PostgreSQL
and a process a step; beside them, in the same rounds, what does nothing but send: bare aiohttp
(all posts at once) and Apprise.

Every round visits every subject, each started anew, so that none works while another is measured
and what the machine does besides falls on all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp
import apprise

from tests.bench.figures import keep, timing
from tests.bench.setups import SETUPS, servers
from tests.connected.installation import COMMANDER, Installation, Json, new_secret
from tests.connected.production import Servers

ROUNDS, RELEASES, WARM_UPS = 5, 30, 3
WIDTHS = (10, 40)
ANSWERS_AFTER = 0.05
RECEIVER = Path(__file__).with_name("receiver.py")
BARE, APPRISE = "bare aiohttp", "Apprise"


@dataclass(frozen=True)
class Sender:
    """Sends once to all; and does, when all have it, what it needs to send again."""

    send: Callable[[], Coroutine[None, None, None]]
    ready: Callable[[], Coroutine[None, None, None]]


async def measure(on: Servers) -> None:
    took: dict[tuple[int, str], list[float]] = {}
    async with Receivers.running() as receivers:
        for n in WIDTHS:
            for each_round in range(ROUNDS):
                for name, subject in subjects(on, receivers, n).items():
                    async with subject as sender:
                        times = [await receivers.last_of(n, sender)
                                 for _ in range(WARM_UPS + RELEASES // ROUNDS)]  # fmt: skip
                    took.setdefault((n, name), []).extend(times[WARM_UPS:])
                    print(f"N={n}, round {each_round + 1}: {name}, "
                          f"{median(times[WARM_UPS:]):.1f} ms", file=sys.stderr)  # fmt: skip
    rows = [
        timing("fanout", name, "approve → the last of n", times, n=n)
        for (n, name), times in took.items()
    ]
    keep(rows)
    show_ratios(rows)


def show_ratios(rows: list[Json]) -> None:
    p50 = {(row["n"], row["setup"]): row["p50_ms"] for row in rows}
    print("\n| set-up | n | × bare aiohttp, p50 | Apprise ÷ it, p50 |\n| --- | --- | --- | --- |")
    for (n, setup), ms in p50.items():
        if setup not in (BARE, APPRISE):
            print(f"| {setup} | {n} | {ms / p50[n, BARE]:.1f} | {p50[n, APPRISE] / ms:.1f} |")


# --- Who sends --------------------------------------------------------------------------------


def subjects(on: Servers, to: Receivers, n: int) -> dict[str, AbstractAsyncContextManager[Sender]]:
    return {
        BARE: bare(to, n),
        APPRISE: with_apprise(to, n),
        **{name: releasing(setup(on, **to.settings(n)), n) for name, setup in SETUPS.items()},
    }


async def at_once() -> None:
    """For a sender that needs nothing more."""


@contextlib.asynccontextmanager
async def bare(to: Receivers, n: int) -> AsyncIterator[Sender]:
    """A session for each fan-out: minutes lie between two, and no kept connection lives so long."""
    body = json.dumps({"text": "Gas leak, 66100 block of Pierson Blvd. " * 5}).encode()

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        async with session.post(to.url(number), data=body) as answer:
            await answer.read()

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(one(session, number) for number in range(n)))

    yield Sender(send, at_once)


@contextlib.asynccontextmanager
async def with_apprise(to: Receivers, n: int) -> AsyncIterator[Sender]:
    told = apprise.Apprise()
    for number in range(n):
        told.add(to.url(number).replace("http://", "json://"))

    async def send() -> None:
        assert await told.async_notify(body="Gas leak, 66100 block of Pierson Blvd. " * 5)

    yield Sender(send, at_once)


@contextlib.asynccontextmanager
async def releasing(
    installation: AbstractAsyncContextManager[Installation], n: int
) -> AsyncIterator[Sender]:
    """Updates of one incident, each submitted before its turn and settled after it."""
    async with installation as at:
        await at.person(COMMANDER)
        seen = await at.opened()
        channels = [channel(number) for number in range(n)]
        waiting = await at.submit(seen, channels=channels)

        async def send() -> None:
            assert (await at.decide(waiting)).good

        async def ready() -> None:
            nonlocal waiting
            posts = await at.settled(waiting)
            assert {post["state"] for post in posts.values()} == {"posted"}, posts
            waiting = await at.submit(seen, channels=channels)
            await at.drained()

        yield Sender(send, ready)


# --- Who receives -----------------------------------------------------------------------------


def channel(number: int) -> str:
    return f"receiver_{number}"


@dataclass
class Receivers:
    """The receivers' process, and what it says."""

    port: int
    said: asyncio.StreamReader

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator[Receivers]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(RECEIVER), str(ANSWERS_AFTER), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            yield cls(int(await process.stdout.readline()), process.stdout)
        finally:
            process.kill()
            await process.wait()

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port}/{channel(number)}"

    def settings(self, n: int) -> dict[str, str]:
        """An installation's, for n of them."""
        hooks = [{"name": channel(number), "title": f"Receiver {number}", "secret": new_secret(),
                  "url": self.url(number)} for number in range(n)]  # fmt: skip
        return {"webhooks": json.dumps(hooks)}

    async def last_of(self, n: int, sender: Sender) -> float:
        """The ms from the start of a fan-out until the last of n has it, each of them once."""
        arrived: dict[str, float] = {}
        began = time.monotonic()
        sending = asyncio.create_task(sender.send())
        async with asyncio.timeout(60):
            for _ in range(n):
                path, at = (await self.said.readline()).decode().split()
                assert path not in arrived, f"{path} has it twice"
                arrived[path] = float(at)
            await sending
            await sender.ready()
        return (max(arrived.values()) - began) * 1000


if __name__ == "__main__":
    with servers() as on:
        asyncio.run(measure(on))
