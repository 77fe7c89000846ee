"""What the ledger shows of steps that other processes run."""

from __future__ import annotations

from datetime import timedelta

from broadcaster.incident import Report
from broadcaster.ledger import Tx, leases, outbox, reports
from broadcaster.ledger.standstill import FREE_FOR, LATE, Standstill, standing_still
from streams.gate import judge_decision
from streams.notify import call_approver
from tests.story import CHANNELS, EXERCISE, INCIDENT_URL, Story

NAMES = [each.name for each in CHANNELS]
LEASES = ("relay", *(f"channel:{name}" for name in NAMES))


async def seen(story: Story) -> dict[str, Standstill]:
    found = await story.ledger.read(lambda tx: standing_still(tx, NAMES))
    return {each.step: each for each in found}


async def everybody_runs(story: Story) -> None:
    """All leases are held, and the relay has carried everything."""

    def step(tx: Tx) -> None:
        for name in LEASES:
            leases.take(tx, [name], "somebody", timedelta(seconds=6))
        outbox.sent(tx, [row[0] for row in outbox.unsent(tx, 1000)])

    await story.ledger.write(step)


async def test_nobody_was_ever_started(story: Story) -> None:
    found = await seen(story)
    assert list(found) == ["relay", "deliver"]
    assert "`broadcaster worker relay`" in found["relay"].why
    assert "public_page, county" in found["deliver"].why


async def test_all_is_well(story: Story) -> None:
    await everybody_runs(story)
    assert await seen(story) == {}


async def test_a_lease_that_is_handed_over_is_no_standstill(story: Story) -> None:
    await everybody_runs(story)
    story.clock.move(seconds=6 + FREE_FOR.total_seconds())
    assert await seen(story) == {}
    ended = story.clock.now() - FREE_FOR
    story.clock.move(seconds=1)
    found = await seen(story)
    assert list(found) == ["relay", "deliver"]
    assert found["relay"].since == found["deliver"].since == ended


async def test_messages_wait_for_the_broker(story: Story) -> None:
    await story.reported()
    began = story.clock.now()
    await story.ledger.write(lambda tx: _hold(tx))
    assert await seen(story) == {}
    story.clock.move(seconds=6)
    await story.ledger.write(lambda tx: _hold(tx))
    found = await seen(story)
    assert list(found) == ["relay"]
    assert found["relay"].since == began and "1 waiting" in found["relay"].why


def _hold(tx: Tx) -> None:
    for name in LEASES:
        leases.take(tx, [name], "somebody", timedelta(seconds=6))


async def test_each_step_that_is_waited_for_is_named(story: Story) -> None:
    incident_id = await story.reported()
    submitted = await story.submitted(incident_id)
    began = story.clock.now()
    report = Report.model_validate({
        "source": "cad", "message_id": "late", "number": "2026-2", "type": "GASLEAK",
        "opened_at": began, "reported_at": began,
    })  # fmt: skip
    await story.ledger.write(lambda tx: reports.accept(tx, report, actor="cad"))
    story.clock.move(seconds=LATE.total_seconds())
    await everybody_runs(story)
    assert await seen(story) == {}
    story.clock.move(seconds=1)
    found = await seen(story)
    assert list(found) == ["compile", "notify"]
    assert found["compile"].since == found["notify"].since == began

    await story.ledger.write(call_approver(submitted.request.id))
    decision = await story.approved(submitted)
    story.clock.move(seconds=LATE.total_seconds() + 1)
    await everybody_runs(story)
    assert list(await seen(story)) == ["compile", "gate"]
    await story.ledger.write(judge_decision(decision.decision.id, EXERCISE, INCIDENT_URL))
    await everybody_runs(story)
    assert list(await seen(story)) == ["compile"]
