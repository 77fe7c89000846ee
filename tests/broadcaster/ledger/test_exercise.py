"""REAL INCIDENT: one act takes back, stops and refuses; and all can begin again."""

from __future__ import annotations

import pytest

from broadcaster.approval import RequestState
from broadcaster.errors import Refusal
from broadcaster.exercise import begin_exercise, end_exercise
from broadcaster.ledger import Tx, approvals, people, releases
from broadcaster.orders import renew_request
from broadcaster.roster import Person, Role
from streams.gate import judge_decision
from tests.story import EXERCISE, INCIDENT_URL, Story


async def add(story: Story, role: Role) -> Person:
    return await story.ledger.write(lambda tx: people.add(tx, str(role), [role], actor="test"))


async def end(story: Story) -> None:
    await story.ledger.write(lambda tx: end_exercise(tx, story.pio))


async def code_of(story: Story, step: object) -> str:
    with pytest.raises(Refusal) as caught:
        await story.ledger.write(step)
    return caught.value.code


async def test_what_is_asked_is_taken_back_and_what_goes_out_is_stopped(story: Story) -> None:
    release, _ = await story.released(await story.reported("2026-1"))
    asked = await story.submitted(await story.reported("2026-2"))
    for _ in range(2):
        await end(story)
    kept = await story.ledger.read(lambda tx: approvals.request(tx, asked.request.id))
    assert kept and kept.request.state is RequestState.WITHDRAWN
    assert kept.why and kept.why.startswith("REAL INCIDENT")
    assert await story.ledger.read(lambda tx: releases.stopped_at(tx, release.id))


async def test_a_decision_on_its_way_to_the_gate_releases_nothing(story: Story) -> None:
    asked = await story.submitted(await story.reported())
    decided = await story.approved(asked)
    await end(story)
    await story.ledger.write(judge_decision(decided.decision.id, EXERCISE, INCIDENT_URL))
    kept = await story.ledger.read(lambda tx: approvals.decision(tx, decided.decision.id))
    assert kept and kept.outcome == "exercise_ended"


async def test_nothing_more_is_asked_until_a_supervisor_begins_it_again(story: Story) -> None:
    incident = await story.reported()
    asked = await story.submitted(incident)
    story.clock.at = asked.request.expires_at
    await end(story)
    with pytest.raises(Refusal) as caught:
        await story.submitted(incident)
    assert caught.value.code == "exercise_ended"
    renew = lambda tx: renew_request(tx, asked.request.id, story.pio)  # noqa: E731
    assert await code_of(story, renew) == "exercise_ended"
    assert await code_of(story, lambda tx: begin_exercise(tx, story.pio)) == "not_your_act"
    supervisor = await add(story, Role.SUPERVISOR)
    for _ in range(2):
        await story.ledger.write(lambda tx: begin_exercise(tx, supervisor))
    assert (await story.submitted(incident)).request.state is RequestState.OPEN


async def test_the_custodian_ends_nothing(story: Story) -> None:
    custodian = await add(story, Role.RECORDS)

    def step(tx: Tx) -> None:
        end_exercise(tx, custodian)

    assert await code_of(story, step) == "not_your_act"
