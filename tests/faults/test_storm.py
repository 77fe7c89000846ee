"""The storm: all that runs is killed and frozen at random moments; each post has one honest end.

In production with two of every worker, on a Kafka and a PostgreSQL of its own, which are struck as
well. 24 incidents are told on ten channels of all four classes, whose receivers break 1 of 100
requests before they act and 1 of 200 after. `auditor.py`, which knows nothing of us, first proves
itself on what is planted in a calm round, and then judges all. Its last line is printed.

`make test` has it small; `make storm` with 200 kills. BROADCASTER_STORM_SEED plays another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from tests.brokers import LEFT
from tests.connected.installation import Json, until
from tests.connected.production import Production, Servers
from tests.faults.judging import Story, judged
from tests.faults.planting import finds
from tests.kafka import Cluster, cluster
from tests.postgres import Server, server

pytestmark = pytest.mark.filterwarnings(f"ignore:{LEFT}")

KILLS = int(os.environ.get("BROADCASTER_STORM_KILLS", "10"))
SEED = int(os.environ.get("BROADCASTER_STORM_SEED", "389"))

#: Seconds between two strikes, on average. A long storm strikes the same ones again and again, and
#: leaves them time to come back.
EVERY = 2.0 if KILLS < 20 else 5.0

#: Seconds for which a process stands still. A lease lasts 6 s without its holder, a group misses a
#: member after 10 s, and an attempt is over after 15 s.
FREEZES = (2.0, 8.0, 17.0)

#: Seconds for which Kafka stays away, or not at all; an approval waits a minute for the gate.
GONE = 20.0

KAFKA, POSTGRES = "Kafka", "PostgreSQL"

INCIDENTS = 24

#: Updates on their way at a time.
AT_ONCE = 4

#: By name, whether each is declared to dedupe (A); `look_…` can be asked (C), the rest not (D).
RECEIVERS = {
    "county": True, "media": True, "transit": True,
    "look_city": False, "look_radio": False, "look_parks": False,
    "school": False, "hospital": False, "airport": False,
}  # fmt: skip

#: What the auditor has to find before each storm.
PLANTED = ("acted never", "acted twice", "out of order", "other words on the page")

#: Seconds within which whatever was struck has come back, and an update was released.
PATIENT = 120.0


@pytest.fixture
def own() -> Iterator[tuple[Server, Cluster]]:
    """Servers to kill and freeze."""
    with server() as postgres, cluster() as kafka:
        yield postgres, kafka


async def test_storm(own: tuple[Server, Cluster], tmp_path: Path) -> None:
    postgres, kafka = own
    async with Production.fresh(
        on=Servers(postgres, kafka.bootstrap), receivers=RECEIVERS, each=2,
        program="tests.faults.looking", sweep_seconds=0.5,
    ) as at:  # fmt: skip
        town = Town(Story(at))
        await town.opened()
        await town.some_told()
        calm = await town.story.case()
        assert judged(calm)[0] == []
        for what in PLANTED:
            finds(what, calm, tmp_path)
        for number, receiver in enumerate(at.receivers.values()):
            await receiver.set_ways(f"flaky:{SEED + number}")
        async with town.read():
            async with town.telling():
                await Storm(at, postgres, kafka, town.story).rages()
                await until("every process is ready", at.all_ready, PATIENT)
            await town.some_told()  # so that a post is proved on each channel after the last kill
            await until("all is drained", at.is_drained, PATIENT)
        found, figures = judged(await town.story.case())
    print(json.dumps(figures))
    assert found == []
    assert figures["kills"] == KILLS


@dataclass
class Town:
    """Its incidents, and those who tell of them."""

    story: Story
    incidents: list[Json] = field(default_factory=list)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def opened(self) -> None:
        async def one() -> Json:
            async with self._room:
                return await self.story.opened()

        self.incidents = list(await asyncio.gather(*(one() for _ in range(INCIDENTS))))

    async def some_told(self) -> None:
        """Tells two updates of a few."""
        await asyncio.gather(*map(self._two_updates, self.incidents[:AT_ONCE]))

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """Reads the feed all the time, as long as the block lasts."""

        async def on_and_on() -> None:
            while True:
                await self.story.read()
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as reading:
            reader = reading.create_task(on_and_on())
            yield
            reader.cancel()

    @contextlib.asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tells on and on, as long as the block lasts."""
        over = asyncio.Event()

        async def on_and_on(seen: Json) -> None:
            while not over.is_set():
                await self._two_updates(seen)

        tellers = [asyncio.create_task(on_and_on(seen)) for seen in self.incidents]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tellers)

    async def _two_updates(self, seen: Json) -> None:
        """The second before the first has arrived."""
        async with self._room:
            for report in (self.story.report, self.story.write):
                with contextlib.suppress(KafkaError):  # CAD has no answer, and nobody owes it one
                    await report(incident_number=seen["incident"]["number"])
                request = await self.story.at.submit(seen)
                await self.story.decide(request)
                await until("it was judged", partial(self._is_judged, request), PATIENT)

    async def _is_judged(self, request: Json) -> bool:
        """Released; or the gate came too late, and asks again."""
        shown = await self.story.at.request(request["id"])
        return shown["release"] is not None or shown["request"]["state"] == "expired"


@dataclass
class Storm:
    """What befalls an installation and its servers; the next strike seldom waits for the last."""

    at: Production
    postgres: Server
    kafka: Cluster
    story: Story
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    _deck: list[str] = field(default_factory=list)  #: whose turn is still to come in this round
    _struck: set[str] = field(default_factory=set)  #: and not back yet

    async def rages(self) -> None:
        """Kills as often as it was told to, and freezes half as often; each in its turn."""
        strikes = [self._kill] * KILLS + [self._freeze] * (KILLS // 2)
        self.dice.shuffle(strikes)
        async with asyncio.TaskGroup() as passing:
            for strike in strikes:
                passing.create_task(self._passes(strike, self._drawn()))
                await asyncio.sleep(self.dice.uniform(0, 2 * EVERY))

    def _drawn(self) -> str:
        if not set(self._deck) - self._struck:
            self._deck = [*self.at.kept, KAFKA, POSTGRES]
            self.dice.shuffle(self._deck)
        name = next(each for each in self._deck if each not in self._struck)
        self._deck.remove(name)
        self._struck.add(name)
        return name

    async def _passes(self, strike: Callable[[str], Awaitable[None]], name: str) -> None:
        print(f"{strike.__name__} {name}")
        await strike(name)
        self._struck.remove(name)

    async def _kill(self, name: str) -> None:
        """Ends at once, and is started again; PostgreSQL's many processes by its own program."""
        self.story.kills.append(time.time())
        if name == POSTGRES:
            await asyncio.to_thread(self.postgres.stop)
            await asyncio.to_thread(self.postgres.start)
        elif name == KAFKA:
            [node] = self.kafka.nodes
            node.kill()
            await asyncio.sleep(self.dice.choice((0, GONE)))
            node.start()
            await self.kafka.ready()
        else:
            ended = len(self.at.kept[name].ends)
            self.at.kill(name)
            await until(f"{name} ends", partial(self._has_ended, name, ended))

    async def _has_ended(self, name: str, before: int) -> bool:
        return len(self.at.kept[name].ends) > before and self.at.kept[name].runs

    async def _freeze(self, name: str) -> None:
        """Stands still, and goes on as if nothing had been."""
        signals = {POSTGRES: self.postgres.signal, KAFKA: self._signal_kafka}
        signalled = signals.get(name, partial(self.at.kill, name))
        signalled(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.dice.choice(FREEZES))
        finally:
            signalled(signal.SIGCONT)

    def _signal_kafka(self, number: int) -> None:
        os.kill(self.kafka.nodes[0].pid, number)
