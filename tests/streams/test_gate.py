"""The gate: what comes late is asked again, and time never steps back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from broadcaster import channel
from broadcaster.approval import AnyRelease, RequestState
from broadcaster.calling import About, Accepted, Means, next_calls
from broadcaster.handover import record_command
from broadcaster.ledger import Tx, approvals, calls, incidents, outbox, people, posts, releases
from broadcaster.orders import Submitted, facts_of
from broadcaster.roster import Role
from broadcaster.subscribers import UpdateReleased
from broadcaster.update import facts_digest, lapses_by
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


@pytest.mark.parametrize("seconds_late", [60, 70])
async def test_a_late_approval_is_asked_again_by_itself(story: Story, seconds_late: float) -> None:
    first = await story.submitted(await story.reported())
    assert await judged(story, first, seconds_late=seconds_late) == "gate_late"
    assert await release_of(story, first) is None
    ended = await story.ledger.read(lambda tx: approvals.request(tx, first.request.id))
    assert ended is not None and ended.request.state is RequestState.EXPIRED
    [asked] = await story.ledger.read(lambda tx: approvals.open_requests(tx))
    request = asked.request
    assert (request.revision_id, request.digest) == (first.revision.id, first.revision.digest)
    assert (request.asked, request.epoch) == (story.commander.id, 1)
    assert request.nonce not in ("", first.request.nonce), "nothing that was signed proves it"
    assert await why_not(story, first) == (
        f"The approval was given {seconds_late} s ago and could not be acted on since. The same "
        "words are asked for again: what was true then may not be true now."
    )
    assert await judged(story, Submitted(first.revision, request), seconds_late=59) == "released"
    assert await release_of(story, first) is not None


async def why_not(story: Story, submitted: Submitted) -> str | None:
    kept = await story.ledger.read(lambda tx: approvals.decision_of(tx, submitted.request.id))
    return kept.why if kept else None


async def elsewhere(story: Story, place: str = "1400 block of Elm St") -> None:
    """CAD says, a second later, that it is at another place."""
    story.clock.move(seconds=1)
    await story.reported(place=place)


async def command_moves(story: Story, submitted: Submitted) -> None:
    story.clock.move(seconds=1)
    lee = await story.ledger.write(
        lambda tx: people.add(tx, "Sgt Lee", [Role.COMMANDER], actor="test", practice=True)
    )
    await story.ledger.write(
        lambda tx: record_command(tx, submitted.request.incident_id, lee.id, story.pio)
    )


async def another_is_submitted(story: Story, submitted: Submitted) -> None:
    await story.submitted(submitted.request.incident_id, "Something else.")


async def its_time_runs_out(story: Story, submitted: Submitted) -> None:
    left = submitted.revision.expires_at - story.clock.at - timedelta(seconds=60)
    story.clock.move(seconds=left.total_seconds())


@pytest.mark.parametrize(
    ("moves", "told"),
    [
        (command_moves, "Command has moved since. Ask the Commander again"),
        (another_is_submitted, "Another update waits for a decision. Ask the Commander again"),
        (its_time_runs_out, "The update's own time has run out, too. Ask the Commander again"),
    ],
)
async def test_a_late_approval_is_not_asked_again_where_something_moved(
    story: Story, moves: Callable[[Story, Submitted], Awaitable[None]], told: str
) -> None:
    first = await story.submitted(await story.reported())
    decision_id = (await story.approved(first)).decision.id
    await moves(story, first)
    story.clock.move(seconds=60)
    before = await story.ledger.read(lambda tx: len(approvals.open_requests(tx)))
    await story.ledger.write(judge_decision(decision_id, EXERCISE, INCIDENT_URL))
    assert await story.ledger.read(lambda tx: len(approvals.open_requests(tx))) == before
    assert told in (await why_not(story, first) or "")


async def test_words_kept_in_spite_of_a_change_are_not_asked_again_as_if_they_were_so(
    story: Story,
) -> None:
    incident_id = await story.reported()
    first = await story.submitted(incident_id)
    await elsewhere(story)
    incident = await story.ledger.read(lambda tx: incidents.get(tx, incident_id))
    assert incident is not None
    keeps = facts_digest(lapses_by(first.revision, facts_of(incident)))
    kept = await story.approved(first, keeps=keeps)
    story.clock.move(seconds=60)
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    assert await story.ledger.read(lambda tx: approvals.open_requests(tx)) == []
    assert "The incident has changed (place: " in (await why_not(story, first) or "")


# --- Who is called ------------------------------------------------------------------------------


async def on_phones(story: Story) -> dict[str, str]:
    """The Commander and the PIO have a telephone each: who they are, by person."""
    for number, person in enumerate((story.commander, story.pio)):
        await story.ledger.write(
            lambda tx, person=person, number=number: calls.add_reach(
                tx, person.id, Means.SMS, f"+1760555010{number}", actor="test"
            )
        )
    return {story.commander.id: "Commander", story.pio.id: "PIO"}


async def called(story: Story, names: dict[str, str]) -> set[tuple[str, About, str]]:
    """Whom notify would call now: who, about what, and where it leads; a provider takes it."""

    def step(tx: Tx) -> set[tuple[str, About, str]]:
        due = next_calls(calls.state(tx, [Means.SMS], "https://alerts.example"), tx.now).calls
        for call in due:
            calls.begin(tx, call)
            calls.end(tx, call.id, Accepted(remote_id=call.id, at=tx.now))
        return {(names[call.person_id], call.about, call.url) for call in due}

    return await story.ledger.write(step)


def page(request_id: str) -> str:
    return f"https://alerts.example/a/{request_id}"


async def test_a_refusal_calls_who_decided_and_who_wrote_it_once(story: Story) -> None:
    names = await on_phones(story)
    submitted = await story.submitted(await story.reported(), contact="Tips: 760-329-2904",
                                      text="Call 760-329-2904.")  # fmt: skip
    assert await called(story, names) == {("Commander", About.REQUEST, page(submitted.request.id))}
    assert await judged(story, submitted) == "policy_blocked"
    assert await called(story, names) == {
        (who, About.REFUSED, page(submitted.request.id)) for who in ("Commander", "PIO")
    }
    assert await called(story, names) == set(), "once"
    opened = partial(calls.unopened, person_id=story.pio.id, request_id=submitted.request.id)
    assert len(await story.ledger.read(opened)) == 1, "that they open the page is noted"


async def test_a_late_gate_calls_the_commander_to_decide_again(story: Story) -> None:
    names = await on_phones(story)
    first = await story.submitted(await story.reported())
    await called(story, names)
    await judged(story, first, seconds_late=70)
    [asked] = await story.ledger.read(lambda tx: approvals.open_requests(tx))
    assert await called(story, names) == {
        ("Commander", About.REQUEST, page(asked.request.id)),
        ("PIO", About.REFUSED, page(first.request.id)),
    }


async def test_words_that_lapse_while_they_wait_call_commander_and_pio_once(story: Story) -> None:
    names = await on_phones(story)
    submitted = await story.submitted(await story.reported())
    await called(story, names)
    for place in ("1400 block of Elm St", "1500 block of Elm St"):
        await elsewhere(story, place)
    assert await called(story, names) == {
        (who, About.LAPSED, page(submitted.request.id)) for who in ("Commander", "PIO")
    }
    assert await called(story, names) == set(), "once"


async def test_a_release_that_a_changed_fact_holds_calls_commander_and_pio_once(
    story: Story,
) -> None:
    names = await on_phones(story)
    submitted = await story.submitted(await story.reported())
    await called(story, names)
    await story.gated(submitted)
    await elsewhere(story)
    told = await called(story, names)
    assert {(who, url) for who, about, url in told if about is About.LAPSED} == {
        (who, page(submitted.request.id)) for who in ("Commander", "PIO")
    }
    await elsewhere(story, "1500 block of Elm St")
    assert await called(story, names) == set(), "once"


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
