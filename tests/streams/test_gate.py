"""The gate: what comes late is asked again, and time never steps back."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from broadcaster import channel
from broadcaster.approval import AnyRelease, RequestState
from broadcaster.ledger import approvals, incidents, outbox, posts, releases
from broadcaster.orders import Submitted, renew_request
from broadcaster.subscribers import UpdateReleased
from streams.gate import judge_decision
from streams.topics import INTAKE_LIMIT
from tests.story import EXERCISE, INCIDENT_URL, PAGE, Story

Json = dict[str, Any]


async def judged(
    story: Story, submitted: Submitted, *, seconds_late: float = 0, contact: str = ""
) -> str | None:
    """Approved, and judged so much later: what the gate made of it."""
    decision_id = (await story.approved(submitted)).decision.id
    story.clock.move(seconds=seconds_late)
    await story.ledger.write(judge_decision(decision_id, EXERCISE, INCIDENT_URL, contact))
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


async def test_what_the_desk_let_through_the_gate_does_not(story: Story) -> None:
    submitted = await story.submitted(await story.reported(), contact="Tips: 760-329-2904",
                                      text="Call 760-329-2904.")  # fmt: skip
    assert await judged(story, submitted) == "policy_blocked"
    assert await release_of(story, submitted) is None
    again = await story.submitted(await story.reported("2026-2"), contact="Tips: 760-329-2904",
                                  text="Call 760-329-2904.")  # fmt: skip
    assert await judged(story, again, contact="Tips: 760-329-2904") == "released"


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
    [due] = (await story.ledger.read(lambda tx: posts.first_due(tx, [PAGE.name]))).to_try
    assert due.id == planned[PAGE.name].id


async def told(story: Story) -> list[tuple[str, Json]]:
    """What waits for subscribers of releases: key and message."""
    rows = await story.ledger.read(lambda tx: outbox.unsent(tx, 1000))
    return [(row.key, json.loads(row.value)) for row in rows
            if row.topic == "exercise.updates.public"]  # fmt: skip


async def test_subscribers_are_told_of_a_release_in_full(story: Story) -> None:
    incident_id = await story.reported("SECRET-7")
    first, _ = await story.released(incident_id, text="First words.")
    second, _ = await story.released(incident_id, text="Second.", replaces=(first.id,))
    (key, one), (other_key, two) = await told(story)
    incident = await story.ledger.read(lambda tx: incidents.get(tx, incident_id))
    assert incident is not None
    assert key == other_key == one["incident"] == incident.public_id
    assert one["incident_url"] == INCIDENT_URL(incident.public_id)
    assert (one["version"], one["world"], one["kind"], one["number"]) == (
        1, "exercise", "update", 1,
    )  # fmt: skip
    assert (one["release_id"], one["digest"]) == (first.id, first.digest)
    assert datetime.fromisoformat(one["released_at"]) == first.released_at
    assert datetime.fromisoformat(one["expires_at"]) == first.expires_at
    assert [(each["channel"], each["language"], each["text"]) for each in one["renderings"]] == [
        (name, "en", "EXERCISE, NOT REAL. First words.") for name in first.channels
    ]
    assert (one["area"], one["languages"]) == ("1200 block of Oak St", ["en"])
    assert (two["replaces"], two["number"], two["corrects"]) == ([first.id], 2, None)
    assert one["message_id"] != two["message_id"] and two["release_id"] == second.id


async def test_they_are_told_nothing_that_is_not_public(story: Story) -> None:
    incident_id = await story.reported("SECRET-7")
    await story.released(incident_id)
    [(_, message)] = await told(story)
    assert set(message) == set(UpdateReleased.model_fields)
    private = (incident_id, "SECRET-7", story.pio.id, story.pio.name, story.commander.id,
               story.commander.name)  # fmt: skip
    assert [word for word in private if word in json.dumps(message)] == []


async def test_of_what_the_gate_refuses_they_are_told_nothing(story: Story) -> None:
    submitted = await story.submitted(await story.reported())
    assert await judged(story, submitted, seconds_late=3600) != "released"
    assert await told(story) == []


async def test_a_long_release_to_forty_channels_is_one_message_that_kafka_takes(
    story: Story,
) -> None:
    many = [channel.webhook(EXERCISE, f"hook{n}", "A desk", dedupes=True) for n in range(40)]
    await story.released(await story.reported(), text="Ü" * 5_000, channels=many)
    rows = await story.ledger.read(lambda tx: outbox.unsent(tx, 1000))
    [row] = [row for row in rows if row.topic == "exercise.updates.public"]
    assert 400_000 < len(row.value) < INTAKE_LIMIT / 2
