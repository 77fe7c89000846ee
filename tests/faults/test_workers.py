"""Production with two of every worker: one of each ends or is killed, and the other takes over.

The receivers' own logs and the ledger are judged by `auditor.py`, which knows nothing of us.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.connected.installation import until
from tests.connected.production import WORKERS, Production, Servers
from tests.faults.judging import Story, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

INCIDENTS = 4

#: Seconds within which processes have ended after SIGTERM, whatever they were at.
DRAINED_WITHIN = 20.0


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(servers: Servers) -> AsyncIterator[Production]:
    async with Production.fresh(
        on=servers, each=2, receivers={"county": True, "school": False}, sweep_seconds=0.5
    ) as installation:
        yield installation


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
async def test_new_work_is_taken_over(number: signal.Signals, at: Production) -> None:
    """With nothing in flight one of each worker goes; the other does what then comes."""
    await at.ready()
    story = Story(at)
    incidents = await asyncio.gather(*(story.opened() for _ in range(INCIDENTS)))
    await at.drained()
    for worker in WORKERS:
        at.kill(f"{worker} 1", number)
    began = time.monotonic()
    await asyncio.gather(*(story.tell(seen) for seen in incidents))
    print(f"after {number.name} of one of each: posted in {time.monotonic() - began:.1f} s")
    await at.ready()
    assert faults(await story.case()) == []


async def test_sigterm_drains(at: Production) -> None:
    """Also while receivers keep us waiting: what was being sent is then in doubt, never lost."""
    story = Story(at)
    seen = await story.opened()
    for receiver in at.receivers.values():
        await receiver.set_ways("slow:60")
    request = await at.submit(seen)
    await story.decide(request)

    async def both_wait() -> bool:
        posts = await at.posts(request)
        return all(each.acted()[posts[name]["id"]] for name, each in at.receivers.items())

    await at.release(request)
    await until("both have it, and do not answer", both_wait)
    assert await at.end(signal.SIGTERM, within=DRAINED_WITHIN) == 0
    for receiver in at.receivers.values():
        await receiver.set_ways("ok")
    await at.start()
    states = {name: post["state"] for name, post in (await at.settled(request)).items()}
    assert states == {"public_page": "posted", "county": "posted", "school": "in doubt"}
    assert faults(await story.case()) == []
