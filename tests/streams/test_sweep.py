"""The sweep calls again what a lost message was to wake, once each."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import select, text
from sqlalchemy import update as update_

from broadcaster.handover import record_command
from broadcaster.incident import Status
from broadcaster.ledger import Tx, approvals, incidents, outbox, people, records, schema
from broadcaster.roster import Role
from broadcaster.update import UpdateKind
from streams.notify import call_approver
from streams.sweep import sweep
from tests.story import CHANNELS, NOW, Story

IDS = ("report_id", "request_id", "decision_id", "post_id")


async def taken_out(story: Story) -> list[tuple[str, str]]:
    """Topic and id of each wake that waits for the relay, taken out as if the broker forgot it."""

    def step(tx: Tx) -> list[tuple[str, str]]:
        rows = outbox.unsent(tx, 1000)
        outbox.sent(tx, [row.id for row in rows])
        bodies = [(row.topic, json.loads(row.value)) for row in rows]
        return [(topic, body[i]) for topic, body in bodies for i in IDS if i in body]

    return await story.ledger.write(step)


async def called(story: Story) -> list[str]:
    """Who has been called to decide, newest first."""
    lines = await story.ledger.read(lambda tx: records.lines(tx, kinds=["ApproverCalled"]))
    return [json.loads(line.body)["public"]["called"] for line in lines]


async def test_a_channel_is_called_once_however_much_is_overdue(story: Story) -> None:
    for number in range(4):
        await story.released(await story.reported(f"2026-{number}"))
    await taken_out(story)
    story.clock.move(seconds=6)
    swept = await story.ledger.write(sweep)
    assert swept.posts == len(CHANNELS) and not swept.more
    topics = [topic for topic, _ in await taken_out(story)]
    assert sorted(topics) == sorted(f"exercise.posts.{channel.name}" for channel in CHANNELS)


async def test_an_incident_that_cannot_be_read_stops_no_sweep(story: Story) -> None:
    """The relay runs beside the sweep, and would end with it again and again."""
    broken, silent = await story.reported(), await story.reported("2026-2")
    spoil = text("UPDATE incidents SET body = '{' WHERE id = :id").bindparams(id=broken)
    await story.ledger.write(lambda tx: tx.connection.execute(spoil).rowcount)
    story.clock.move(days=30)
    assert (await story.ledger.write(sweep)).closed == 1
    now = await story.ledger.read(lambda tx: incidents.get(tx, silent))
    assert now is not None and not now.incident.open


async def test_a_new_commander_whose_call_was_lost_is_called_again(story: Story) -> None:
    incident_id = await story.reported()
    request = (await story.submitted(incident_id)).request
    await story.ledger.write(call_approver(request.id))
    assert await called(story) == ["watch-commander"]
    story.clock.move(seconds=1)
    commander = await story.ledger.write(
        lambda tx: people.add(tx, "Sgt Lee", [Role.COMMANDER], actor="test")
    )
    await story.ledger.write(lambda tx: record_command(tx, incident_id, commander.id, story.pio))
    await taken_out(story)
    story.clock.move(seconds=6)
    await story.ledger.write(sweep)
    assert await taken_out(story) == [("exercise.update.submitted", request.id)]
    story.clock.move(seconds=1)
    for _ in range(2):  # the sweep's message, and the lost one after all
        await story.ledger.write(call_approver(request.id))
    assert await called(story) == [commander.id, "watch-commander"]
    story.clock.move(seconds=6)
    await story.ledger.write(sweep)
    assert await taken_out(story) == [], "the call is made; what is left is to decide"


async def test_who_was_called_already_is_not_looked_for_again_and_again(story: Story) -> None:
    """The sweep called once more while the first message was on its way."""
    request = (await story.submitted(await story.reported())).request
    await story.ledger.write(call_approver(request.id))
    story.clock.move(seconds=1)
    await story.ledger.write(lambda tx: approvals.look_again(tx, request))
    await story.ledger.write(call_approver(request.id))
    await taken_out(story)
    story.clock.move(seconds=6)
    await story.ledger.write(sweep)
    assert await taken_out(story) == []
    assert await called(story) == ["watch-commander"]


async def test_what_waits_for_a_broker_that_is_away_is_not_called_again_and_again(
    story: Story,
) -> None:
    _, planned = await story.released(await story.reported())
    before, _ = await story.ledger.read(outbox.waiting)
    for _ in range(3):
        story.clock.move(seconds=6)
        assert (await story.ledger.write(sweep)).posts == len(planned)
    assert await story.ledger.read(outbox.waiting) == (before, NOW)
    await taken_out(story)
    story.clock.move(seconds=6)
    await story.ledger.write(sweep)
    assert len(await taken_out(story)) == len(planned), "but what was lost is called"


async def test_an_update_lapses_with_its_incident_and_an_all_clear_does_not(story: Story) -> None:
    """Issue 5: whichever closes it, a report or its source's silence."""

    async def state(request_id: str) -> str:
        kept = await story.ledger.read(lambda tx: approvals.request(tx, request_id))
        assert kept is not None
        return str(kept.request.state)

    over = await story.reported("2026-1")
    update = (await story.submitted(over)).request.id
    await story.reported("2026-1", status=Status.CLOSED, message_id="over-1")
    assert await state(update) == "lapsed"
    told = (await story.submitted(over, kind=UpdateKind.ALL_CLEAR)).request.id
    await story.reported("2026-1", message_id="again-1")
    await story.reported("2026-1", status=Status.CLOSED, message_id="over-2")
    assert await state(told) == "open"

    silent = (await story.submitted(await story.reported("2026-2"))).request.id
    closes = select(schema.incidents.c.closes_at).where(schema.incidents.c.number == "2026-2")
    at = await story.ledger.read(lambda tx: tx.connection.execute(closes).scalar_one())
    extend = update_(schema.approval_requests).values(expires_at=at + timedelta(days=1))
    await story.ledger.write(lambda tx: tx.connection.execute(extend).rowcount)
    story.clock.at = at
    await story.ledger.write(sweep)
    assert await state(silent) == "lapsed"
