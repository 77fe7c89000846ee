"""Fault matrix, rows 11, 14, 18 and 19: the network to the receivers breaks, in the whole system.

Each fault lies before two receivers while an update is released: one that is declared to dedupe,
and one that is not. The public page never waits for any of them. The judge is `auditor.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.adapters.contract import Fault, cut_off, down, up
from tests.connected.installation import Embedded, Json, until
from tests.faults.judging import Story, faults
from tests.faults.proxy import NEVER, Proxy

#: Seconds within which the ledger tells of the fault: a send takes up to 10 s, and the machine its
#: own time.
PATIENT = 120.0

#: What befalls the network, what then becomes of the post whose receiver does not dedupe, and
#: how often each of the two has acted before the network is mended (None: as it may be).
FAULTS: dict[str, tuple[Fault, str, int | None]] = {
    "nobody listens": (Proxy.refuse, "waiting", 0),
    "no packet arrives": (cut_off, "waiting", 0),
    "the message is cut off": (up(limit_data=100), "in doubt", 0),
    "reset before the message": (up(reset_peer=0), "in doubt", 0),
    "the answer is reset": (down(reset_peer=1), "in doubt", None),
    "the answer is cut off": (down(limit_data=9), "in doubt", None),
    "the line goes dead": (down(timeout=NEVER), "in doubt", None),
    "the answer is late": (down(latency=60), "in doubt", None),
}


@dataclass
class Case:
    """One fault, with an incident, two receivers and their network of its own."""

    name: str
    at: Embedded
    story: Story
    proxies: dict[str, Proxy]  #: by receiver: the one that dedupes, and the one that does not

    async def goes_by(self) -> None:
        fault, state, acted = FAULTS[self.name]
        county, school = self.proxies
        seen = await self.story.opened()
        for proxy in self.proxies.values():
            await fault(proxy)
        request = await self.story.asked(seen, channels=["public_page", county, school])
        await self.story.decide(request)
        posts = await self.at.settled(request, "public_page")
        assert posts["public_page"]["state"] == "posted"
        assert "posted" not in (posts[county]["state"], posts[school]["state"]), "no proof yet"

        async def both_are_told() -> dict[str, Json] | None:
            posts = await self.at.posts(request)
            told = [posts[each]["why"] for each in (county, school)]
            return posts if all(told) and posts[school]["state"] == state else None

        posts = await until(f"{school} is {state}", both_are_told, PATIENT)
        assert posts[county]["state"] in ("waiting", "sending"), "it may be sent again"
        if acted is not None:
            for each in self.proxies:
                assert self.at.receivers[each].acted()[posts[each]["id"]] == acted
        for proxy in self.proxies.values():
            await proxy.mend()
        states = {each: post["state"] for each, post in (await self.at.settled(request)).items()}
        ends = "posted" if state == "waiting" else "in doubt"
        assert states == {"public_page": "posted", county: "posted", school: ends}


@dataclass
class Scene:
    story: Story
    cases: dict[str, asyncio.Task[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """All of them at once: what each takes is time-outs and pauses, in which nothing happens."""
    pairs = {name: (f"county_{n}", f"school_{n}") for n, name in enumerate(FAULTS)}
    receivers: dict[str, bool] = {}
    for county, school in pairs.values():
        receivers |= {county: True, school: False}
    async with (
        Embedded.fresh(receivers=receivers, start=False, sweep_seconds=0.5) as at,
        contextlib.AsyncExitStack() as lying,
    ):
        proxies = {}
        for each, receiver in at.receivers.items():
            proxies[each] = await lying.enter_async_context(Proxy(receiver.port))
            receiver.port = proxies[each].port
        await at.start()
        story = Story(at)
        cases = {
            name: asyncio.create_task(
                Case(name, at, story, {each: proxies[each] for each in pair}).goes_by()
            )
            for name, pair in pairs.items()
        }
        yield Scene(story, cases)
        await at.end()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", FAULTS)
async def test_the_network_breaks(name: str, scene: Scene) -> None:
    await scene.cases[name]


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_was_lost_or_sent_twice(scene: Scene) -> None:
    assert faults(await scene.story.case()) == []
