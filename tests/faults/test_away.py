"""A part is away, stands still or is killed: the desk goes on, says so, and all drains in order."""

from __future__ import annotations

import asyncio
import signal
import time

from aiokafka.admin import AIOKafkaAdminClient

from tests.connected.installation import (
    Embedded,
    family,
    gone,
    until,
)
from tests.faults.judging import Story, faults
from tests.faults.watching import SAID_WITHIN, page, run_again, stand_still

# --- The broker -------------------------------------------------------------------------------


async def test_the_broker_stands_still_for_ten_seconds() -> None:
    async with Embedded.fresh(receivers={"county": True}, sweep_seconds=0.5) as at:
        story = Story(at)
        incident_id = at.incident_of(report := await story.report())
        await at.commanded(incident_id)
        seen = await at.suggested(incident_id)
        at.kill("broker", signal.SIGSTOP)
        stopped_at = time.monotonic()
        for _ in range(2):  # two updates are approved, though none can be released now
            await story.decide(await at.submit(seen))
        said = await until("/readyz says so", lambda: stand_still(at), SAID_WITHIN)
        assert "broker" in said
        shown = await page(at)
        assert "The streams stand still" in shown and said in shown
        while time.monotonic() - stopped_at < 10:
            began = time.monotonic()
            await story.report(incident_number=report["incident_number"])
            assert time.monotonic() - began < 5, "intake does not wait for the broker"
            assert await stand_still(at) and not at.receivers["county"].acted()
        at.kill("broker", signal.SIGCONT)
        await run_again(at)
        assert faults(await story.case()) == [], "nothing lost, and in order"
        assert len(at.receivers["county"].acted()) == 2


async def test_the_broker_is_killed_again_and_again() -> None:
    """At whatever moment: each time something is on its way."""
    async with Embedded.fresh(receivers={"county": True}, sweep_seconds=0.5) as at:
        story = Story(at)
        for _ in range(3):
            incident_id = at.incident_of(await story.report())
            killed = at.kill("broker")
            said = await until("/readyz says so", lambda: stand_still(at), SAID_WITHIN)
            assert "broker" in said
            shown = await page(at)
            assert "The streams stand still" in shown and said in shown
            await story.report()
            await run_again(at)
            assert at.pid("broker") != killed, "the parent started another"
            await at.commanded(incident_id)
            await story.tell(await at.suggested(incident_id))
        report = await story.write()
        await at.suggested(at.incident_of(report))
        assert faults(await story.case()) == []


# --- Processes --------------------------------------------------------------------------------


async def test_the_child_is_killed_while_much_is_on_its_way() -> None:
    async with Embedded.fresh(receivers={"county": True}, sweep_seconds=0.5) as at:
        story = Story(at)
        sending = asyncio.gather(*(story.report() for _ in range(200)))

        async def some_came() -> bool:
            return len(story.reports) > 20

        await until("some were accepted", some_came)
        killed = at.kill("child")
        await sending
        await at.ready()
        assert at.pid("child") != killed
        incident_id = at.incident_of(await story.report())
        await at.commanded(incident_id)
        await story.tell(await at.suggested(incident_id))
        assert faults(await story.case()) == []
        assert len(set(story.reports)) == 201


async def test_the_parent_is_killed_and_takes_both_with_it() -> None:
    async with Embedded.fresh(sweep_seconds=0.5) as at:
        story = Story(at)
        incident_id = at.incident_of(await story.report())
        await at.commanded(incident_id)
        await at.suggested(incident_id)
        pids = [each.pid for each in family(at.pid("parent"))]
        assert len(pids) == 3
        at.kill("parent")
        await gone(pids, within=5)
        await at.end()
        await at.start()
        await story.tell(await at.suggested(incident_id))
        assert faults(await story.case()) == []


async def test_streams_that_are_wedged_are_started_again() -> None:
    """The broker lost a topic: it answers, yet what is written there reaches nobody."""
    async with Embedded.fresh(sweep_seconds=0.5, watchdog_seconds=5) as at:
        story = Story(at)
        await at.suggested(at.incident_of(await story.report()))
        admin = AIOKafkaAdminClient(bootstrap_servers=at.broker)
        await admin.start()
        await admin.delete_topics(["exercise.incident.reports"])
        await admin.close()
        child = at.pid("child")
        report = await story.report()
        await at.suggested(at.incident_of(report))
        assert "nothing moved for 5 s" in at.log.read_text()
        assert at.pid("child") == child, "the streams alone were started again"
        metrics = (await at.get("/metrics")).raw.decode().splitlines()
        assert "broadcaster_streams_restarts_total 0.0" not in metrics
        assert faults(await story.case()) == []
