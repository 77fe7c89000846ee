"""Production without Kafka, or without PostgreSQL: what is answered meanwhile, and what is left.

Without Kafka the desk takes reports and decisions as ever. Without the ledger it takes none, and
says so to whoever asks. Nothing that was answered 2xx is lost, and all goes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import pytest_asyncio

from tests.connected.installation import PIO, Answer, ask, until
from tests.connected.production import Production, Servers
from tests.faults.judging import Story, faults, told_to_come_again
from tests.faults.watching import page, run_again, stand_still
from tests.kafka import Cluster, cluster
from tests.postgres import Server, server

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Seconds that they are away, at most; all brokers for five minutes in `make storm`.
AWAY = 20.0
BROKERS_AWAY = float(os.environ.get("BROADCASTER_STORM_SECONDS", AWAY))

#: Seconds within which the pages say that the broker takes nothing.
SAID_WITHIN = 10.0

#: Seconds within which whoever asks has an answer, be it that there is none.
ANSWERED_WITHIN = 15.0


# --- Kafka ------------------------------------------------------------------------------------


@pytest.fixture
def own_kafka() -> Iterator[Cluster]:
    """One to kill."""
    with cluster() as own:
        yield own


async def test_all_brokers_are_gone(postgres: Server, own_kafka: Cluster) -> None:
    async with Production.fresh(
        on=Servers(postgres, own_kafka.bootstrap), receivers={"county": True, "school": False},
        sweep_seconds=0.5,
    ) as at:  # fmt: skip
        await without_brokers(at, own_kafka)


async def without_brokers(at: Production, kafka: Cluster) -> None:
    story = Story(at)
    seen = await story.opened()
    await at.drained()
    kafka.nodes[0].kill()
    gone_at = time.monotonic()
    await story.report(incident_number=seen["incident"]["number"])
    said = await until("/readyz says so", lambda: stand_still(at), SAID_WITHIN)
    shown = await page(at)
    assert "The streams stand still" in shown and said in shown
    while time.monotonic() - gone_at < BROKERS_AWAY:
        began = time.monotonic()
        await story.report(incident_number=seen["incident"]["number"])
        assert time.monotonic() - began < 5, "intake does not wait for the broker"
        assert await stand_still(at)
        await asyncio.sleep(0.5)
    # Two updates are approved, though none can be released now: as late as they may be, since the
    # gate asks again of what comes to it a minute late, and a busy machine takes long to start.
    for _ in range(2):
        await story.decide(await at.submit(seen))
    assert await stand_still(at) and not at.receivers["county"].acted()
    kafka.nodes[0].start()
    await kafka.ready()
    await run_again(at)
    assert faults(await story.case()) == [], "nothing lost, and in order"
    assert len(at.receivers["county"].acted()) == 2


# --- PostgreSQL -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Server]:
    """One to stop, freeze and fill."""
    with server() as own:
        yield own


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(own_postgres: Server, kafka: Cluster) -> AsyncIterator[Production]:
    async with Production.fresh(
        on=Servers(own_postgres, kafka.bootstrap), receivers={"county": True, "school": False},
        sweep_seconds=0.5,
    ) as installation:  # fmt: skip
        yield installation


@contextlib.contextmanager
def stopped(postgres: Server, name: str) -> Iterator[None]:
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@contextlib.contextmanager
def frozen(postgres: Server, name: str) -> Iterator[None]:
    """It takes connections, and answers none."""
    postgres.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        postgres.signal(signal.SIGCONT)


@contextlib.contextmanager
def refused(postgres: Server, name: str) -> Iterator[None]:
    """It refuses every connection, and has ended those there were."""
    with postgres.outside() as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[arg-type]
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[arg-type]


@contextlib.contextmanager
def locked(postgres: Server, name: str) -> Iterator[None]:
    """Somebody holds all that is written to, and goes on holding it."""
    with postgres.outside(name) as holder, holder.transaction():
        holder.execute("SELECT 1 FROM incidents FOR UPDATE")
        holder.execute("LOCK TABLE entries, reports IN SHARE ROW EXCLUSIVE MODE")
        yield


#: Takes the ledger away for as long as the block lasts.
Fault = Callable[[Server, str], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("fault", "seconds"), [(stopped, 8.0), (refused, 8.0), (locked, AWAY), (frozen, 5.0)]
)
async def test_the_ledger_is_away(
    fault: Fault, seconds: float, at: Production, own_postgres: Server
) -> None:
    story = Story(at)
    request = await story.asked(await story.opened())
    report, key = at.report(), str(uuid.uuid4())
    await at.drained()
    acted = at.receivers["county"].acted()
    with fault(own_postgres, at.name):
        away_at = time.monotonic()
        while time.monotonic() - away_at < seconds:
            *refusals, _ = await asyncio.gather(
                in_time(at.send_once(at.bytes_of(report), report["id"])),
                in_time(at.tap(request, "approved", key=key)),
                honest(at),
            )
            for each in refusals:
                told_to_come_again(each)
            assert at.receivers["county"].acted() == acted
    await story.report(**report)  # as CAD does, since it was told to
    await story.decide(request, key)
    await at.settled(request)
    await at.ready()
    assert faults(await story.case()) == [], "no half state"


async def in_time(answering: Coroutine[Any, Any, Answer]) -> Answer:
    async with asyncio.timeout(ANSWERED_WITHIN):
        return await answering


async def honest(at: Production) -> None:
    """The public gets the page as it is, or is told that it cannot be had; the desk still turns."""
    pio = await at.person(PIO)
    *shown, ready, healthy = await asyncio.gather(*map(in_time, (
        ask(pio.session, "GET", "/p", headers={"Accept": "text/html"}),
        ask(pio.session, "GET", "/p", headers={"Accept": "application/json"}),
        at.get("/readyz"),
        at.get("/healthz"),
    )))  # fmt: skip
    for answer in shown:
        if answer.status != 200:
            assert (answer.status, answer.headers["retry-after"]) == (503, "5"), answer
            assert "Traceback" not in answer.raw.decode()
    assert ready.status == 200 or ready.body["why"]
    assert healthy.status == 200
