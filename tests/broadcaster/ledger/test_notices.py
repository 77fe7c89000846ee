"""Notices: routine content, released by the Chief's guideline or by a supervisor (389.3, 389.4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from broadcaster import explain, notices, rostering
from broadcaster.approval import RequestState, Verdict
from broadcaster.authority import Content, Subject
from broadcaster.calling import COMPILER_FIRST, Means, next_calls
from broadcaster.edit import EditWords, edit_words
from broadcaster.errors import Refusal
from broadcaster.guideline import Guideline
from broadcaster.handover import offer_command, record_command, take_command
from broadcaster.incident import Incident, Topic
from broadcaster.ledger import (
    Tx,
    approvals,
    authorities,
    calls,
    guidelines,
    incidents,
    people,
    posting_requests,
    releases,
    schema,
)
from broadcaster.ledger.approvals import KeptDecision
from broadcaster.ledger.posting_requests import State
from broadcaster.orders import (
    Decide,
    SubmitRevision,
    Submitted,
    decide,
    renew_request,
    stop_release,
    submit_revision,
    withdraw_request,
)
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.update import UpdateKind
from streams.gate import judge_decision
from streams.notify import call_approver
from tests.story import CHANNELS, EXERCISE, INCIDENT_URL, NOW, SITE, ZONE, Story, tapped

DAY = timedelta(days=1)
SAID = "Coffee with an officer on Tuesday at 9 in the library."


@dataclass
class Routine:
    """A notice begun by an authorized, trained member of the staff, and who may approve it."""

    story: Story
    chief: Person
    staff: Person
    supervisor: Person
    notice: Incident = field(init=False)

    async def begin(self, topic: Topic = Topic.ANNOUNCEMENT, **more: Any) -> Incident:
        place = more.pop("place", "Desert Hot Springs")
        self.notice = await self.story.ledger.write(
            lambda tx: notices.begin(tx, topic, "Coffee with a cop", place, self.staff, **more)
        )
        return self.notice

    async def guideline(self, **more: Any) -> Guideline:
        said: dict[str, Any] = {
            "members": [self.staff.id], "roles": [], "channels": ["public_page", "county"],
            "until": NOW + DAY, "text": "Dates of community events.", "person": self.chief,
        } | more  # fmt: skip
        topic = said.pop("topic", Topic.ANNOUNCEMENT)
        return await self.story.ledger.write(
            lambda tx: rostering.keep_guideline(tx, topic, actor="test", **said)
        )

    def order(self, text: str = SAID, **more: Any) -> SubmitRevision:
        return SubmitRevision(**{
            "incident_id": self.notice.id, "channels": tuple(each.name for each in CHANNELS),
            "attested": True, "no_open_incident": True,
            "words": notices.words(self.notice, department="DHSPD", text=text, zone=ZONE,
                                   now=self.story.clock.at),
        } | more)  # fmt: skip

    async def submit(self, text: str = SAID, **more: Any) -> Submitted:
        person = more.pop("person", self.staff)
        order = self.order(text, **more)
        return await self.story.ledger.write(
            lambda tx: submit_revision(tx, order, person, list(CHANNELS))
        )

    async def decide(
        self, submitted: Submitted, person: Person, verdict: Verdict = Verdict.APPROVED
    ) -> KeptDecision | Refusal:
        order = Decide(
            request_id=submitted.request.id, verdict=verdict, revision_id=submitted.revision.id,
            digest=submitted.revision.digest, idempotency_key=f"key-{submitted.request.id}",
        )  # fmt: skip
        return await self.story.ledger.write(lambda tx: tapped(tx, order, person))

    async def judged(self, submitted: Submitted) -> str | None:
        """What the gate makes of the decision on a submission."""

        def kept(tx: Tx) -> KeptDecision:
            found = approvals.decision_of(tx, submitted.request.id)
            assert found is not None
            return found

        decision = await self.story.ledger.read(kept)
        await self.story.ledger.write(judge_decision(decision.decision.id, EXERCISE, INCIDENT_URL))
        return (await self.story.ledger.read(kept)).outcome

    async def facts(self, kind: Kind) -> list[dict[str, Any]]:
        def look(tx: Tx) -> list[dict[str, Any]]:
            table = schema.entries.c
            rows = tx.connection.execute(
                select(table.body).where(table.kind == kind).order_by(table.at.desc())
            )
            return [json.loads(body) for body in rows.scalars()]

        return await self.story.ledger.read(look)


@pytest.fixture
async def routine(story: Story) -> Routine:
    async def added(name: str, role: Role) -> Person:
        return await story.ledger.write(
            lambda tx: people.add(tx, name, [role], actor="test", practice=True)
        )

    made = Routine(
        story, await added("Chief Low", Role.CHIEF), await added("J. Lopez", Role.STAFF),
        await added("Sgt Cole", Role.SUPERVISOR),
    )  # fmt: skip
    await made.begin()
    return made


async def refused(story: Story, step: Callable[[Tx], object]) -> str:
    with pytest.raises(Refusal) as answer:
        await story.ledger.write(step)
    return answer.value.code


# --- By guideline -----------------------------------------------------------------------------


async def test_within_a_guideline_its_compiler_releases_it_by_passkey(routine: Routine) -> None:
    kept = await routine.guideline()
    submitted = await routine.submit()
    assert submitted.request.state is RequestState.OPEN
    assert isinstance(await routine.decide(submitted, routine.staff), KeptDecision)
    assert await routine.judged(submitted) == "released"

    def look(tx: Tx) -> tuple[Any, Any]:
        return releases.of_revision(tx, submitted.revision.id), explain.update(
            tx, submitted.revision.id
        )

    release, told = await routine.story.ledger.read(look)
    assert release is not None and release.channels == ("public_page", "county")
    (decided,) = await routine.facts(Kind.DECISION_RECORDED)
    assert decided["actor"] == routine.staff.id and decided["public"]["guideline_id"] == kept.id
    (released,) = await routine.facts(Kind.UPDATE_RELEASED)
    assert released["public"]["guideline_id"] == kept.id
    (stated,) = await routine.facts(Kind.REVISION_SUBMITTED)
    assert stated["public"]["no_open_incident"] is True
    because = " ".join(each["why"] for each in told["clauses"])
    on_its_word = f"on the word of the guideline {kept.id} on announcement (389.4(a), by Chief Low)"
    assert f"its compiler decides; J. Lopez, {on_its_word}, approved" in because
    assert "389.4.1" not in {each["clause"] for each in told["clauses"]}


#: What takes a submission out of the guideline: of the guideline, and of what is submitted.
OUTSIDE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another topic": ({"topic": Topic.RECRUITMENT}, {}),
    "a channel that it does not name": ({"channels": ["public_page"]}, {}),
    "not this member": ({"members": [], "roles": [Role.PIO]}, {}),
    "a finding that has a reason": ({}, {
        "text": "At 1234 Oak St.", "policy_reasons": {"house-number": "The library's own."},
    }),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTSIDE)
async def test_outside_of_it_a_supervisor_approves(routine: Routine, case: str) -> None:
    guideline, submission = OUTSIDE[case]
    await routine.guideline(**guideline)
    if "policy_reasons" in submission:
        submission = submission | {"policy_reasons": await found(routine, submission["text"])}
    submitted = await routine.submit(**submission)
    own = await routine.decide(submitted, routine.staff)
    assert isinstance(own, Refusal) and own.code == "own_words"
    answer = await routine.decide(submitted, routine.supervisor)
    assert isinstance(answer, KeptDecision), answer
    assert await routine.judged(submitted) == "released"


async def found(routine: Routine, text: str) -> dict[str, str]:
    """A reason for whatever the screening asks one for."""
    with pytest.raises(Refusal) as asked:
        await routine.submit(text)
    return {str(asked.value.facts["rule"]): "The library's own address."}


async def test_a_role_is_named_as_well_as_a_member(routine: Routine) -> None:
    await routine.guideline(members=[], roles=[Role.STAFF])
    submitted = await routine.submit()
    assert isinstance(await routine.decide(submitted, routine.staff), KeptDecision)


async def not_on_its_word(routine: Routine) -> bool:
    """Whether its compiler can release nothing."""
    answer = await routine.decide(await routine.submit(), routine.staff)
    return isinstance(answer, Refusal) and answer.code == "own_words"


async def test_whoever_compiled_it_says_so_by_passkey(routine: Routine) -> None:
    """Without one it waits for a supervisor, who is called once the compiler had a minute."""
    await routine.guideline()
    submitted = await routine.submit()
    order = Decide(
        request_id=submitted.request.id, verdict=Verdict.APPROVED,
        revision_id=submitted.revision.id, digest=submitted.revision.digest,
        idempotency_key="a-key-of-mine",
    )  # fmt: skip
    answer = await routine.story.ledger.write(lambda tx: decide(tx, order, routine.staff, SITE))
    assert isinstance(answer, Refusal) and answer.code == "passkey_missing"
    await routine.story.ledger.write(
        lambda tx: calls.add_reach(
            tx, routine.supervisor.id, Means.SMS, "+17605550100", actor="test"
        )
    )
    state = await routine.story.ledger.read(
        lambda tx: calls.state(tx, [Means.SMS], "https://alerts.example")
    )
    at = routine.story.clock.at
    assert not next_calls(state, at).calls
    assert next_calls(state, at + COMPILER_FIRST).calls
    assert isinstance(await routine.decide(submitted, routine.supervisor), KeptDecision)
    assert await routine.judged(submitted) == "released"
    (decided,) = await routine.facts(Kind.DECISION_RECORDED)
    assert "guideline_id" not in decided["public"], "it is the supervisor's own"


async def test_nobody_elses_passkey_uses_a_guideline(routine: Routine) -> None:
    """Nor does its compiler return or decline it so: they take it back."""
    await routine.guideline(members=[routine.staff.id, routine.story.pio.id])
    submitted = await routine.submit()
    for who, verdict, code in (
        (routine.story.pio, Verdict.APPROVED, "not_a_supervisor"),
        (routine.staff, Verdict.DECLINED, "own_words"),
    ):
        answer = await routine.decide(submitted, who, verdict)
        assert isinstance(answer, Refusal) and answer.code == code


async def test_an_ended_guideline_covers_nothing(routine: Routine) -> None:
    kept = await routine.guideline()
    end = lambda tx: rostering.end_guideline(  # noqa: E731
        tx, kept.id, person=routine.chief, actor="test"
    )
    await routine.story.ledger.write(end)
    assert await not_on_its_word(routine)
    assert await refused(routine.story, end) == "no_such_guideline"


async def test_one_whose_time_is_over_covers_nothing(routine: Routine) -> None:
    await routine.guideline(until=NOW + timedelta(hours=1))
    routine.story.clock.move(hours=1)
    assert await not_on_its_word(routine)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"person": "staff"}, "not_your_act"), ({"until": NOW}, "until_past"),
        ({"text": " "}, "text_missing"), ({"members": []}, "member_missing"),
        ({"channels": []}, "channel_missing"), ({"members": ["nobody"]}, "no_such_person"),
    ],
)  # fmt: skip
async def test_a_guideline_is_the_chiefs_and_whole(
    routine: Routine, changed: dict[str, Any], code: str
) -> None:
    if changed.get("person") == "staff":
        changed = {"person": routine.staff}
    with pytest.raises(Refusal) as answer:
        await routine.guideline(**changed)
    assert answer.value.code == code
    assert await routine.story.ledger.read(guidelines.every) == []


async def test_the_gate_comes_late_and_the_member_asks_again(routine: Routine) -> None:
    await routine.guideline()
    submitted = await routine.submit()
    assert isinstance(await routine.decide(submitted, routine.staff), KeptDecision)
    routine.story.clock.move(seconds=61)
    assert await routine.judged(submitted) == "gate_late"
    again = await routine.story.ledger.write(
        lambda tx: renew_request(tx, submitted.request.id, routine.staff)
    )
    assert again.state is RequestState.OPEN


# --- By a supervisor --------------------------------------------------------------------------


async def test_only_a_supervisor_who_did_not_write_it_approves(routine: Routine) -> None:
    submitted = await routine.submit()
    for person, code in ((routine.staff, "own_words"), (routine.story.pio, "not_a_supervisor")):
        answer = await routine.decide(submitted, person)
        assert isinstance(answer, Refusal) and answer.code == code
    assert isinstance(await routine.decide(submitted, routine.story.commander), KeptDecision)
    assert await routine.judged(submitted) == "released"
    kept = await routine.story.ledger.read(lambda tx: incidents.get(tx, routine.notice.id))
    assert kept is not None and kept.incident.command == routine.notice.command, "nobody commands"


async def test_the_supervisors_are_called(routine: Routine) -> None:
    await routine.story.ledger.write(
        lambda tx: calls.add_reach(
            tx, routine.supervisor.id, Means.SMS, "+17605550100", actor="test"
        )
    )
    await routine.story.ledger.write(
        lambda tx: calls.add_reach(tx, routine.chief.id, Means.SMS, "+17605550101", actor="test")
    )
    submitted = await routine.submit()
    await routine.story.ledger.write(call_approver(submitted.request.id))
    (called,) = await routine.facts(Kind.APPROVER_CALLED)
    assert called["public"]["called"] == "supervisor"
    state = await routine.story.ledger.read(
        lambda tx: calls.state(tx, [Means.SMS], "https://alerts.example")
    )
    (asking,) = state.open
    assert [each.person_id for each in asking.people] == [routine.supervisor.id]


async def test_a_supervisor_mends_the_words_and_signs_them(routine: Routine) -> None:
    submitted = await routine.submit()
    order = EditWords(
        request_id=submitted.request.id, digest=submitted.revision.digest, attested=True,
        texts={"public_page": "Coffee with an officer on Wednesday."},
    )  # fmt: skip
    edited = await routine.story.ledger.write(
        lambda tx: edit_words(tx, order, routine.supervisor, list(CHANNELS), SITE)
    )
    assert edited.revision.no_open_incident
    assert isinstance(await routine.decide(edited, routine.supervisor), KeptDecision)
    assert await routine.judged(edited) == "released"


async def test_whoever_may_write_it_takes_it_back_and_stops_it(routine: Routine) -> None:
    submitted = await routine.submit()
    await routine.story.ledger.write(
        lambda tx: withdraw_request(tx, submitted.request.id, routine.staff)
    )
    await routine.guideline()
    again = await routine.submit(update_id=submitted.revision.update_id)
    assert isinstance(await routine.decide(again, routine.staff), KeptDecision)
    assert await routine.judged(again) == "released"

    def stop(tx: Tx) -> None:
        release = releases.of_revision(tx, again.revision.id)
        assert release is not None
        stop_release(tx, release.id, routine.staff)

    await routine.story.ledger.write(stop)
    assert len(await routine.facts(Kind.RELEASE_STOPPED)) == 1


async def test_staff_stops_no_incidents_update(routine: Routine) -> None:
    release, _ = await routine.story.released(await routine.story.reported())
    code = await refused(routine.story, lambda tx: stop_release(tx, release.id, routine.staff))
    assert code == "not_your_act"


async def test_a_correction_is_a_notice_too(routine: Routine) -> None:
    await routine.guideline()
    first = await routine.submit()
    assert isinstance(await routine.decide(first, routine.staff), KeptDecision)
    assert await routine.judged(first) == "released"
    release = await routine.story.ledger.read(
        lambda tx: releases.of_revision(tx, first.revision.id)
    )
    assert release is not None
    submitted = await routine.submit(kind=UpdateKind.CORRECTION, corrects=release.id)
    (fact, _) = await routine.facts(Kind.REVISION_SUBMITTED)
    assert fact["public"]["content"] == "routine"
    assert isinstance(await routine.decide(submitted, routine.staff), KeptDecision)
    assert await routine.judged(submitted) == "released"


# --- Who may, and about what ------------------------------------------------------------------


async def test_the_chiefs_authority_and_training_are_asked(routine: Routine) -> None:
    added = await routine.story.ledger.write(
        lambda tx: people.add(tx, "N. Novak", [Role.STAFF], actor="test")
    )
    with pytest.raises(Refusal) as answer:
        await routine.submit(person=added)
    assert answer.value.code == "authority_missing"
    await routine.story.ledger.write(
        lambda tx: authorities.grant(
            tx, added.id, Content.ROUTINE, until=None, granted_by=routine.chief.id, actor="test"
        )
    )
    with pytest.raises(Refusal) as answer:
        await routine.submit(person=added)
    assert answer.value.code == "training_lapsed"
    await routine.story.ledger.write(
        lambda tx: authorities.train(
            tx, added.id, Subject, given_at=NOW, expires_at=NOW + DAY,
            recorded_by=routine.chief.id, actor="test",
        )
    )  # fmt: skip
    assert (await routine.submit(person=added)).request.state is RequestState.OPEN


async def test_it_is_stated_that_it_is_about_no_open_incident(routine: Routine) -> None:
    with pytest.raises(Refusal) as answer:
        await routine.submit(no_open_incident=False)
    assert (answer.value.code, answer.value.field) == ("statement_missing", "no_open_incident")


async def test_words_that_name_an_open_incident_are_its_commanders(routine: Routine) -> None:
    about = await routine.story.reported(place="66000 block of Pierson Blvd")
    with pytest.raises(Refusal) as answer:
        await routine.submit("Keep away from the 66000 BLOCK of Pierson-Blvd!")
    assert answer.value.code == "open_incident_named"
    assert answer.value.facts == {"incident": about}
    kept = await routine.story.ledger.read(lambda tx: incidents.get(tx, about))
    assert kept is not None
    with pytest.raises(Refusal) as answer:
        await routine.submit(f"See /p/{kept.public_id} for more.")
    assert answer.value.code == "open_incident_named"


async def test_one_that_opens_while_a_supervisor_reads_is_not_released(routine: Routine) -> None:
    submitted = await routine.submit("Road works in the 66000 block of Pierson Blvd.")
    await routine.story.reported(place="66000 block of Pierson Blvd")
    answer = await routine.decide(submitted, routine.supervisor)
    assert isinstance(answer, Refusal) and answer.code == "open_incident_named"


async def test_a_notice_is_no_incident(routine: Routine) -> None:
    """No report changes it, nobody commands it, and it stands on no list of incidents."""
    number, notice, commander = routine.notice.number, routine.notice.id, routine.story.commander
    pio = routine.story.pio
    for step in (
        lambda tx: take_command(tx, notice, commander),
        lambda tx: record_command(tx, notice, commander.id, pio),
        lambda tx: offer_command(tx, notice, commander.id, commander),
    ):
        assert await refused(routine.story, step) == "notice_has_no_command"

    def look(tx: Tx) -> tuple[Any, ...]:
        return (
            incidents.by_number(tx, number), incidents.by_number(tx, notice),
            incidents.closed_and_told(tx, limit=10), incidents.any_open(tx),
            guidelines.open_incidents(tx), incidents.silent_too_long(tx, limit=10),
        )  # fmt: skip

    submitted = await routine.submit()
    assert isinstance(await routine.decide(submitted, routine.supervisor), KeptDecision)
    assert await routine.judged(submitted) == "released"
    assert await routine.story.ledger.write(look) == (None, None, [], False, [], [])
    reported = await routine.story.reported(number, source="notice")
    assert reported != notice


@pytest.mark.parametrize(
    ("subject", "place", "code"),
    [(" ", "City", "subject_missing"), ("x" * 121, "City", "subject_too_long"),
     ("Fair", "", "place_missing"), ("Fair", "x" * 81, "place_too_long")],
)  # fmt: skip
async def test_a_notice_says_what_and_where(
    routine: Routine, subject: str, place: str, code: str
) -> None:
    topic, staff = Topic.ANNOUNCEMENT, routine.staff
    step = lambda tx: notices.begin(tx, topic, subject, place, staff)  # noqa: E731
    assert await refused(routine.story, step) == code


async def test_the_custodian_writes_none(routine: Routine) -> None:
    records_ = await routine.story.ledger.write(
        lambda tx: people.add(tx, "R. Vega", [Role.RECORDS], actor="test")
    )
    code = await refused(
        routine.story,
        lambda tx: notices.begin(tx, Topic.ANNOUNCEMENT, "Fair", "City", records_),
    )
    assert code == "not_your_act"


async def test_a_notice_is_begun_from_what_was_passed_on(routine: Routine) -> None:
    def ask(tx: Tx) -> str:
        made = posting_requests.add(tx, routine.story.commander.id, "Tell them of the fair.")
        posting_requests.settle(tx, made, State.PASSED_ON, None, actor=routine.supervisor.id)
        return made.id

    asked = await routine.story.ledger.write(ask)
    begun = await routine.begin(request_id=asked)
    kept = await routine.story.ledger.read(lambda tx: posting_requests.of_notice(tx, begun.id))
    assert kept is not None and kept.id == asked


async def test_the_roster_tells_what_goes_out_without_approval(routine: Routine) -> None:
    kept = await routine.guideline()
    await routine.begin(Topic.RECRUITMENT)
    submitted = await routine.submit()

    def look(tx: Tx) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return {each["name"]: each for each in explain.roster(tx)}, explain.guidelines_now(tx)

    listed, written = await routine.story.ledger.read(look)
    (within,) = listed["J. Lopez"]["released_without_approval"]
    assert (within["guideline_id"], within["clause"]) == (kept.id, "389.4(a)")
    assert listed["Sgt Cole"]["released_without_approval"] == []
    (could,) = listed["Sgt Cole"]["could_approve"]
    assert (could["request_id"], could["clause"]) == (submitted.request.id, "389.3")
    assert [each["granted_by"] for each in written] == ["Chief Low"]


async def test_no_guideline_is_changed_on_the_ledger(routine: Routine) -> None:
    """It ends once: neither the row nor its end is ever written again."""
    kept = await routine.guideline()

    def end_twice(tx: Tx) -> None:
        for _ in range(2):
            guidelines.end(tx, kept, ended_by=routine.chief.id, actor="test")

    with pytest.raises(DBAPIError):
        await routine.story.ledger.write(end_twice)
