"""The gate: what comes late is asked again, and time never steps back."""

from __future__ import annotations

from functools import partial

import pytest

from broadcaster.approval import AnyRelease, RequestState
from broadcaster.ledger import approvals, posts, releases
from broadcaster.orders import Submitted, renew_request
from streams.gate import judge_decision
from tests.story import EXERCISE, PAGE, Story


async def judged(story: Story, submitted: Submitted, *, seconds_late: float = 0) -> str | None:
    """Approved, and judged so much later: what the gate made of it."""
    decision_id = (await story.approved(submitted)).decision.id
    story.clock.move(seconds=seconds_late)
    await story.ledger.write(judge_decision(decision_id, EXERCISE))
    kept = await story.ledger.read(lambda tx: approvals.decision(tx, decision_id))
    assert kept is not None
    return kept.outcome


async def release_of(story: Story, submitted: Submitted) -> AnyRelease | None:
    return await story.ledger.read(lambda tx: releases.of_revision(tx, submitted.revision.id))


async def test_a_late_approval_is_asked_again_and_then_released(story: Story) -> None:
    first = await story.submitted(await story.reported())
    assert await judged(story, first, seconds_late=61) == "gate_late"
    assert await release_of(story, first) is None
    ended = await story.ledger.read(lambda tx: approvals.request(tx, first.request.id))
    assert ended is not None and ended.request.state is RequestState.EXPIRED
    assert ended.why and "61 s ago" in ended.why
    request = await story.ledger.write(lambda tx: renew_request(tx, first.request.id, story.pio))
    again = Submitted(first.revision, request)
    assert await judged(story, again, seconds_late=59) == "released"
    assert await release_of(story, again) is not None


@pytest.mark.parametrize("back", [0, 2])
async def test_the_newer_wording_is_the_newer_one_whatever_the_clock_does(
    story: Story, back: float
) -> None:
    for number in range(5):  # ids are random: they must not happen to say which is newer
        incident_id = await story.reported(f"2026-{number}")
        older = await story.submitted(incident_id, "First.")
        story.clock.move(seconds=-back)
        update_id = older.revision.update_id
        newer = await story.submitted(incident_id, "Then.", update_id=update_id)
        look = partial(approvals.revisions_of, incident_id=incident_id)
        shown = await story.ledger.read(look)
        assert [each.id for each in shown] == [newer.revision.id, older.revision.id]
        assert await judged(story, newer) == "released"


async def test_releases_keep_their_order_when_the_clock_steps_back(story: Story) -> None:
    incident_id = await story.reported()
    first, planned = await story.released(incident_id, "First.")
    story.clock.move(seconds=-2)
    second, _ = await story.released(incident_id, "Second.")
    assert second.released_at > first.released_at
    story.clock.move(seconds=2)
    [due], _ = await story.ledger.read(lambda tx: posts.first_due(tx, PAGE.name))
    assert due.id == planned[PAGE.name].id
