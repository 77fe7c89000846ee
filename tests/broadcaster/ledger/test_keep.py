"""Words and the facts in them: what lapses, what is held, and what a Commander keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from broadcaster.approval import ApprovalRequest, RequestState, Verdict, to_keep
from broadcaster.delivery import PostState
from broadcaster.errors import Refusal
from broadcaster.incident import Status
from broadcaster.ledger import (
    Tx,
    approvals,
    attempts,
    incidents,
    leases,
    people,
    posts,
    records,
    releases,
    schema,
)
from broadcaster.ledger.approvals import KeptDecision
from broadcaster.ledger.attempts import Closing, Ended, Opened, Wanted
from broadcaster.orders import Decide, SubmitRevision, ask_to_keep, facts_of, submit_revision
from broadcaster.outcome import Next
from broadcaster.record import Kind
from broadcaster.roster import Role
from broadcaster.suggestion import words
from broadcaster.update import UpdateKind, lapses_by
from streams.gate import judge_decision
from streams.sweep import sweep
from tests.story import CHANNELS, EXERCISE, HOOK, INCIDENT_URL, PAGE, ZONE, Story, tapped


async def state(story: Story, request_id: str) -> RequestState:
    kept = await story.ledger.read(lambda tx: approvals.request(tx, request_id))
    assert kept is not None
    return kept.request.state


async def moved(story: Story, place: str = "Elm St", **fields: object) -> None:
    """CAD says that it is somewhere else."""
    story.clock.move(seconds=1)
    await story.reported(place=place, **fields)


async def to_sign(story: Story, request: ApprovalRequest) -> str | None:
    """What the page has a Commander sign of the facts."""

    def look(tx: Tx) -> str | None:
        kept, revision = (
            approvals.request(tx, request.id),
            approvals.revision(tx, request.revision_id),
        )
        incident = incidents.get(tx, request.incident_id)
        assert kept and revision and incident
        return to_keep(kept.request, lapses_by(revision, facts_of(incident)), tx.now)

    return await story.ledger.read(look)


async def decided(
    story: Story, request: ApprovalRequest, keeps: str | None
) -> KeptDecision | Refusal:
    order = Decide(
        request_id=request.id, verdict=Verdict.APPROVED, revision_id=request.revision_id,
        digest=request.digest, idempotency_key=f"key-{keeps}"[:60], keeps=keeps,
    )  # fmt: skip
    return await story.ledger.write(lambda tx: tapped(tx, order, story.commander))


async def judged(story: Story, decision: KeptDecision | Refusal) -> str | None:
    assert isinstance(decision, KeptDecision), decision
    await story.ledger.write(judge_decision(decision.decision.id, EXERCISE, INCIDENT_URL))
    after = await story.ledger.read(lambda tx: approvals.decision(tx, decision.decision.id))
    assert after is not None
    return after.outcome


async def states(story: Story, release_id: str) -> set[PostState]:
    planned = await story.ledger.read(lambda tx: posts.of_release(tx, release_id))
    return {post.state for post in planned}


async def entries(story: Story, incident_id: str, kind: Kind) -> list[dict[str, Any]]:
    told = await story.ledger.read(lambda tx: records.of_incident(tx, incident_id))
    return [entry for entry in told if entry["kind"] == kind]


async def private(story: Story, field: str) -> list[str]:
    """What entries say in a field that can be purged."""
    table = schema.private_values.c
    said = select(table.value).where(table.field == field)
    return await story.ledger.read(lambda tx: list(tx.connection.execute(said).scalars()))


async def refused(story: Story, release_id: str) -> str:
    with pytest.raises(Refusal) as refusal:
        await story.ledger.write(lambda tx: ask_to_keep(tx, release_id, story.pio))
    return refusal.value.code


# --- An open request --------------------------------------------------------------------------


async def test_what_lapsed_is_approved_by_who_signs_exactly_what_changed(story: Story) -> None:
    incident = await story.reported()
    submitted = await story.submitted(incident)
    request = submitted.request
    await moved(story)
    assert await state(story, request.id) is RequestState.LAPSED
    plain = await decided(story, request, None)
    assert isinstance(plain, Refusal) and plain.code == "facts_changed"
    assert plain.facts == {"changed": "place: 1200 block of Oak St is now Elm St"}

    seen = await to_sign(story, request)
    await moved(story, "Palm Dr")
    stale = await decided(story, request, seen)
    assert isinstance(stale, Refusal) and stale.code == "facts_changed"
    assert "is now Palm Dr" in stale.why, "the newer one is shown"

    keeps = await to_sign(story, request)
    assert await judged(story, await decided(story, request, keeps)) == "released"
    assert await state(story, request.id) is RequestState.APPROVED
    release = await story.ledger.read(lambda tx: releases.of_revision(tx, submitted.revision.id))
    assert release is not None and release.digest == request.digest
    assert await story.ledger.read(lambda tx: releases.keeps(tx, release.id)) == keeps
    [told] = await entries(story, incident, Kind.DECISION_RECORDED)
    assert told["public"]["keeps"] == ["place"] and "Palm" not in str(told["public"])
    assert "place: 1200 block of Oak St is now Palm Dr" in await private(story, "changes")
    assert await states(story, release.id) == {PostState.PLANNED}


async def test_facts_that_change_after_a_keep_are_judged_by_the_gate(story: Story) -> None:
    request = (await story.submitted(await story.reported())).request
    await moved(story)
    decision = await decided(story, request, await to_sign(story, request))
    await moved(story, "Palm Dr")
    assert await judged(story, decision) == "facts_changed"


async def test_what_lapsed_is_there_until_its_own_time_and_no_longer(story: Story) -> None:
    request = (await story.submitted(await story.reported())).request
    await moved(story)
    keeps = await to_sign(story, request)
    story.clock.at = request.expires_at
    late = await decided(story, request, keeps)
    assert isinstance(late, Refusal) and late.code == "facts_changed"
    assert await to_sign(story, request) is None


async def test_nobody_keeps_words_about_an_incident_that_is_over(story: Story) -> None:
    request = (await story.submitted(await story.reported())).request
    await moved(story, status=Status.CLOSED)
    assert await state(story, request.id) is RequestState.LAPSED
    assert await to_sign(story, request) is None
    for keeps in (None, "0" * 64):
        answer = await decided(story, request, keeps)
        assert isinstance(answer, Refusal) and answer.code == "facts_changed"


async def test_a_keep_is_a_decision_of_its_own_under_its_key(story: Story) -> None:
    request = (await story.submitted(await story.reported())).request
    await moved(story)
    keeps = await to_sign(story, request)
    first = await decided(story, request, keeps)
    assert await decided(story, request, keeps) == first
    other = await decided(story, request, "0" * 64)
    assert isinstance(other, Refusal) and other.code == "already_approved"


@pytest.mark.parametrize("kind", [UpdateKind.CORRECTION, UpdateKind.RETRACTION])
async def test_what_mends_never_lapses(story: Story, kind: UpdateKind) -> None:
    incident = await story.reported()
    wrong, _ = await story.released(incident)
    kept = await story.ledger.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None
    order = SubmitRevision(
        incident_id=incident, kind=kind, corrects=wrong.id, channels=(PAGE.name, HOOK.name),
        attested=True,
        text="We take it back.",
        words=words(kept.incident, department="DHSPD", zone=ZONE, now=story.clock.at),
    )  # fmt: skip
    mends = await story.ledger.write(
        lambda tx: submit_revision(tx, order, story.pio, list(CHANNELS))
    )
    await moved(story)
    assert await state(story, mends.request.id) is RequestState.OPEN
    assert await judged(story, await decided(story, mends.request, None)) == "released"
    release = await story.ledger.read(lambda tx: releases.of_revision(tx, mends.revision.id))
    assert release is not None
    await moved(story, "Palm Dr", status=Status.CLOSED)
    assert await states(story, release.id) == {PostState.PLANNED}
    assert await states(story, wrong.id) == {PostState.HELD}


# --- What is released and has not begun -------------------------------------------------------


@pytest.mark.parametrize("changed", [{}, {"place": "1200 block of Oak St", "status": "Closed"}])
async def test_posts_are_held_as_soon_as_a_fact_changes(
    story: Story, changed: dict[str, object]
) -> None:
    incident = await story.reported()
    release, _ = await story.released(incident)
    await moved(story, **changed)  # type: ignore[arg-type]
    assert await states(story, release.id) == {PostState.HELD}
    held = await entries(story, incident, Kind.POST_HELD)
    assert len(held) == len(CHANNELS)
    assert all("has changed since" in why for why in await private(story, "why"))


async def test_what_says_nothing_of_the_fact_is_not_held(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    await moved(story, "1200 block of Oak St", priority=1)
    assert await states(story, release.id) == {PostState.PLANNED}


async def test_an_all_clear_goes_though_the_incident_closes(story: Story) -> None:
    incident = await story.reported()
    over = await story.submitted(incident, kind=UpdateKind.ALL_CLEAR)
    await story.ledger.write(
        judge_decision((await story.approved(over)).decision.id, EXERCISE, INCIDENT_URL)
    )
    release = await story.ledger.read(lambda tx: releases.of_revision(tx, over.revision.id))
    await moved(story, "1200 block of Oak St", status=Status.CLOSED)
    assert release is not None and await states(story, release.id) == {PostState.PLANNED}


async def attempted(story: Story, release_id: str) -> Opened | Ended | Exception:
    def step(tx: Tx) -> Opened | Ended | Exception:
        post = next(p for p in posts.of_release(tx, release_id) if p.channel == PAGE.name)
        lasts = timedelta(seconds=30)
        [lease] = leases.take(tx, ["channel:public_page"], "test", lasts).values()
        [outcome] = attempts.open_(tx, [Wanted(post.id, lease, lasts, PAGE)]).values()
        return outcome

    return await story.ledger.write(step)


async def test_what_is_held_goes_once_the_commander_keeps_it(story: Story) -> None:
    incident = await story.reported()
    release, planned = await story.released(incident)
    await moved(story)
    request = await story.ledger.write(lambda tx: ask_to_keep(tx, release.id, story.pio))
    assert (request.digest, request.revision_id) == (release.digest, release.revision_id)
    assert await refused(story, release.id) == "request_open"
    plain = await decided(story, request, None)
    assert isinstance(plain, Refusal) and plain.code == "facts_changed"
    assert await states(story, release.id) == {PostState.HELD}

    keeps = await to_sign(story, request)
    assert await judged(story, await decided(story, request, keeps)) == "kept"
    assert await states(story, release.id) == {PostState.WAITING}
    assert len(await story.ledger.read(lambda tx: releases.of_incident(tx, incident))) == 1
    [told] = await entries(story, incident, Kind.WORDS_KEPT)
    assert set(told["public"]["channels"]) == set(planned)
    due = (await story.ledger.read(lambda tx: posts.first_due(tx, planned))).to_try
    assert {post.channel for post in due} == set(planned)
    opened = await attempted(story, release.id)
    assert isinstance(opened, Opened) and opened.digest == release.digest


async def test_what_changes_after_the_keep_is_held_again(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    await moved(story)
    request = await story.ledger.write(lambda tx: ask_to_keep(tx, release.id, story.commander))
    assert await judged(story, await decided(story, request, await to_sign(story, request)))
    await moved(story, "Palm Dr")
    assert await states(story, release.id) == {PostState.HELD}


async def test_the_attempt_holds_it_by_itself(story: Story) -> None:
    """Whatever compile did, or did not get to."""
    release, _ = await story.released(await story.reported())
    await moved(story)
    await story.ledger.write(lambda tx: posts.let_go(tx, release.id))
    outcome = await attempted(story, release.id)
    assert isinstance(outcome, Ended) and outcome.then.state is PostState.HELD


async def test_when_there_is_nothing_to_keep(story: Story) -> None:
    incident = await story.reported()
    release, _ = await story.released(incident)
    assert await refused(story, release.id) == "nothing_to_keep", "nothing is held"
    assert await refused(story, "no-release") == "no_such_release"
    await moved(story, status=Status.CLOSED)
    assert await refused(story, release.id) == "nothing_to_keep", "the incident is over"
    clerk = await story.ledger.write(lambda tx: people.add(tx, "Lund", [Role.RECORDS], actor="t"))
    with pytest.raises(Refusal) as refusal:
        await story.ledger.write(lambda tx: ask_to_keep(tx, release.id, clerk))
    assert refusal.value.code == "not_your_act"


async def test_what_a_later_update_has_overtaken_is_not_kept(story: Story) -> None:
    incident = await story.reported()
    release, _ = await story.released(incident, channels=(PAGE,))
    await moved(story)
    later, _ = await story.released(incident, "It is at Elm St.", channels=(PAGE,))
    assert isinstance(await attempted(story, later.id), Opened)
    assert await states(story, release.id) == {PostState.HELD}
    assert await refused(story, release.id) == "nothing_to_keep"


async def test_a_stop_ends_what_is_held(story: Story) -> None:
    incident = await story.reported()
    release, _ = await story.released(incident)
    await moved(story)
    assert await story.ledger.write(lambda tx: releases.stop(tx, release.id))
    assert await refused(story, release.id) == "nothing_to_keep"
    await story.ledger.write(sweep)
    assert await states(story, release.id) == {PostState.STOPPED}
    assert len(await entries(story, incident, Kind.POST_STOPPED)) == len(CHANNELS)


async def test_a_newer_update_ends_what_it_replaces_of_what_is_held(story: Story) -> None:
    incident = await story.reported()
    release, _ = await story.released(incident)
    await moved(story)
    story.clock.move(seconds=1)
    await story.released(incident, replaces=(release.id,))
    outcome = await attempted(story, release.id)
    assert isinstance(outcome, Ended) and outcome.then.state is PostState.REPLACED


async def test_what_may_have_arrived_stays_in_doubt(story: Story) -> None:
    """A try that nobody knows the end of, and another to come; then the fact changes."""
    release, _ = await story.released(await story.reported())
    opened = await attempted(story, release.id)
    assert isinstance(opened, Opened)

    def in_doubt(tx: Tx) -> None:
        [lease] = leases.take(tx, ["channel:public_page"], "test", timedelta(seconds=30)).values()
        again = Next(PostState.WAITING, next_look=tx.now, why="Away.")
        attempts.close(tx, [Closing(opened, lease, "InDoubt", again)])

    await story.ledger.write(in_doubt)
    await moved(story)
    assert await states(story, release.id) == {PostState.HELD, PostState.IN_DOUBT}


async def test_what_is_being_sent_is_left_to_its_attempt(story: Story) -> None:
    release, planned = await story.released(await story.reported())
    opened = await attempted(story, release.id)
    assert isinstance(opened, Opened)
    await moved(story)
    now = await story.ledger.read(lambda tx: posts.of_release(tx, release.id))
    found = {post.channel: post.state for post in now}
    assert found == dict.fromkeys(planned, PostState.HELD) | {PAGE.name: PostState.SENDING}
