"""The roster's orders, and what a submission asks of them (389.3, 389.8)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import cast

import pytest
from sqlalchemy import text

from broadcaster import rostering
from broadcaster.authority import Content, Matter, Office, Standing, Subject
from broadcaster.calling import Means
from broadcaster.errors import Refusal
from broadcaster.handover import offer_command, record_command
from broadcaster.ledger import (
    Tx,
    approvals,
    authorities,
    calls,
    incidents,
    passkeys,
    people,
    voices,
)
from broadcaster.orders import renew_request
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, Role, may_command
from broadcaster.update import UpdateKind
from streams.gate import judge_decision
from tests.codes import PIN
from tests.story import EXERCISE, INCIDENT_URL, NOW, Story

DAY = timedelta(days=1)


async def added(story: Story, name: str, role: Role) -> Person:
    return await story.ledger.write(lambda tx: people.add(tx, name, [role], actor="test"))


async def chief_of(story: Story) -> Person:
    return await added(story, "Chief Low", Role.CHIEF)


async def standing(story: Story, person: Person) -> Standing:
    return await story.ledger.read(lambda tx: authorities.standing(tx, person.id))


async def refused(story: Story, step: Callable[[Tx], object]) -> Refusal:
    with pytest.raises(Refusal) as answer:
        await story.ledger.write(step)
    return answer.value


def granting(
    to: Person, by: Person, *contents: Content, until: datetime | None = None
) -> Callable[[Tx], None]:
    return lambda tx: rostering.grant(tx, to.id, contents, until=until, person=by, actor=by.id)


def training(
    to: Person, by: Person, *subjects: Subject, given: datetime | None = None,
    expires: datetime | None = None,
) -> Callable[[Tx], None]:  # fmt: skip
    return lambda tx: rostering.train(
        tx, to.id, subjects, given_at=given, expires_at=expires, person=by, actor=by.id
    )


def excepting(
    to: Person, by: Person, *, reason: str = "Duty phone broke", until: datetime = NOW + DAY
) -> Callable[[Tx], None]:
    return lambda tx: rostering.exempt(
        tx, to.id, Matter.EQUIPMENT, reason=reason, until=until, person=by, actor=by.id
    )


async def on_record(story: Story, kind: Kind) -> list[dict[str, object]]:
    sql = text("SELECT body FROM entries WHERE kind = :kind").bindparams(kind=str(kind))
    bodies = await story.ledger.read(lambda tx: list(tx.connection.execute(sql).scalars()))
    return [json.loads(body)["public"] for body in bodies]


async def test_without_the_chiefs_word_nothing_is_submitted(story: Story) -> None:
    story.pio = await added(story, "B. New", Role.PIO)
    incident_id = await story.reported()
    with pytest.raises(Refusal) as answer:
        await story.submitted(incident_id)
    assert answer.value.code == "authority_missing"
    assert "Chief of Police or designee" in answer.value.do
    assert await on_record(story, Kind.REVISION_SUBMITTED) == []


async def test_with_it_an_untrained_person_is_warned_and_recorded(story: Story) -> None:
    chief = await chief_of(story)
    story.pio = await added(story, "B. New", Role.PIO)
    await story.ledger.write(granting(story.pio, chief, Content.INCIDENT))
    await story.submitted(await story.reported())
    (entry,) = await on_record(story, Kind.REVISION_SUBMITTED)
    assert entry["training_lapsed"] == [str(subject) for subject in Subject]


async def test_a_trained_person_is_not_warned(story: Story) -> None:
    await story.submitted(await story.reported())
    (entry,) = await on_record(story, Kind.REVISION_SUBMITTED)
    assert "training_lapsed" not in entry


async def test_a_closed_incident_is_routine_and_waits_for_training(story: Story) -> None:
    chief = await chief_of(story)
    story.pio = await added(story, "B. New", Role.PIO)
    await story.ledger.write(granting(story.pio, chief, *Content))
    incident_id = await story.reported(status="Closed")
    with pytest.raises(Refusal) as answer:
        await story.submitted(incident_id)
    assert answer.value.code == "training_lapsed"
    await story.ledger.write(training(story.pio, chief, *Subject))
    submitted = await story.submitted(incident_id)
    assert submitted.revision.kind is UpdateKind.UPDATE


async def test_revoked_authority_renews_no_request(story: Story) -> None:
    chief = await chief_of(story)
    submitted = await story.submitted(await story.reported())
    story.clock.move(hours=1)
    await story.ledger.write(
        lambda tx: rostering.revoke(tx, story.pio.id, [], person=chief, actor=chief.id)
    )
    refusal = await refused(story, lambda tx: renew_request(tx, submitted.request.id, story.pio))
    assert refusal.code == "authority_ended" and "was revoked" in refusal.why


async def test_authority_runs_out_by_itself(story: Story) -> None:
    chief = await chief_of(story)
    story.pio = await added(story, "B. New", Role.PIO)
    await story.ledger.write(granting(story.pio, chief, Content.INCIDENT, until=NOW + DAY))
    incident_id = await story.reported()
    submitted = await story.submitted(incident_id)
    story.clock.move(days=1)
    with pytest.raises(Refusal) as answer:
        await story.submitted(incident_id, update_id=submitted.revision.update_id)
    assert answer.value.code == "authority_ended"


async def test_what_is_granted_says_by_whom_and_is_on_the_record(story: Story) -> None:
    chief, member = await chief_of(story), await added(story, "B. New", Role.PIO)
    await story.ledger.write(granting(member, chief, Content.INCIDENT, until=NOW + DAY))
    (held,) = (await standing(story, member)).authorities
    assert (held.content, held.until, held.granted_by) == (Content.INCIDENT, NOW + DAY, chief.id)
    entries = await on_record(story, Kind.AUTHORITY_GRANTED)
    assert [each["granted_by"] for each in entries if each["person_id"] == member.id] == [chief.id]


async def test_one_content_is_revoked_and_the_other_stays(story: Story) -> None:
    chief = await chief_of(story)
    await story.ledger.write(
        lambda tx: rostering.revoke(
            tx, story.pio.id, [Content.ROUTINE], person=chief, actor=chief.id
        )
    )
    held = await standing(story, story.pio)
    assert held.authority(Content.ROUTINE, NOW) is None
    assert held.authority(Content.INCIDENT, NOW) is not None
    ended = held.last(Content.ROUTINE)
    assert ended is not None and (ended.revoked_at, ended.revoked_by) == (NOW, chief.id)
    again = await refused(
        story,
        lambda tx: rostering.revoke(
            tx, story.pio.id, [Content.ROUTINE], person=chief, actor=chief.id
        ),
    )
    assert again.code == "no_authority"


async def test_authority_and_training_are_the_chiefs_exceptions_a_supervisors(
    story: Story,
) -> None:
    chief, sergeant = await chief_of(story), await added(story, "Sgt Cole", Role.SUPERVISOR)
    for step in (
        granting(story.pio, sergeant, Content.INCIDENT),
        lambda tx: rostering.revoke(tx, story.pio.id, [], person=sergeant, actor=sergeant.id),
        training(story.pio, sergeant, *Subject),
        excepting(story.pio, chief),
    ):
        assert (await refused(story, step)).code == "not_your_act"
    await story.ledger.write(excepting(story.pio, sergeant))
    (given,) = (await standing(story, story.pio)).exempt(NOW)
    assert (given.matter, given.reason) == (Matter.EQUIPMENT, "Duty phone broke")


async def test_orders_that_cannot_be_meant_are_refused(story: Story) -> None:
    chief, sergeant = await chief_of(story), await added(story, "Sgt Cole", Role.SUPERVISOR)
    nobody = story.pio.model_copy(update={"id": "nobody"})
    for step, code in (
        (granting(nobody, chief, Content.INCIDENT), "no_such_person"),
        (granting(story.pio, chief), "content_missing"),
        (granting(story.pio, chief, Content.INCIDENT, until=NOW), "until_past"),
        (training(story.pio, chief), "subject_missing"),
        (training(story.pio, chief, *Subject, given=NOW + DAY), "training_dates_invalid"),
        (training(story.pio, chief, *Subject, expires=NOW), "training_dates_invalid"),
        (excepting(sergeant, sergeant), "own_exemption"),
        (excepting(story.pio, sergeant, reason=" "), "reason_missing"),
        (excepting(story.pio, sergeant, until=NOW), "until_past"),
        (excepting(story.pio, sergeant, until=NOW + 8 * DAY), "until_too_far"),
    ):
        assert (await refused(story, step)).code == code


async def test_practice_persons_who_compile_may_post_and_others_need_not(story: Story) -> None:
    assert (await standing(story, story.pio)).lapsed(NOW) == ()
    assert (await standing(story, story.commander)).authorities == ()
    real = await added(story, "B. New", Role.PIO)
    assert await standing(story, real) == Standing()


OFFICES = pytest.mark.parametrize(
    ("office", "namer"),
    [(Office.DEPUTY, Role.WATCH_COMMANDER), (Office.DUTY_CHIEF, Role.CHIEF)],
)


def naming(
    to: Person, by: Person, office: Office = Office.DEPUTY, *, reason: str = "Court",
    until: datetime = NOW + DAY,
) -> Callable[[Tx], None]:  # fmt: skip
    return lambda tx: rostering.delegate(
        tx, to.id, office, reason=reason, until=until, person=by, actor=by.id
    )


@OFFICES
async def test_a_deputy_or_duty_chief_is_named_until_it_is_ended(
    story: Story, office: Office, namer: Role
) -> None:
    by = await added(story, "Lt Kim", namer)
    bell = await added(story, "Sgt Bell", Role.COMMANDER)
    code = office.name.lower()
    await story.ledger.write(naming(bell, by, office))
    held = (await standing(story, bell)).office(office, NOW)
    assert held is not None and (held.reason, held.granted_by) == ("Court", by.id)
    (other,) = set(Office) - {office}
    assert (await standing(story, bell)).office(other, NOW) is None
    assert (await refused(story, naming(bell, by, office))).code == f"{code}_already"
    (entry,) = await on_record(story, Kind[f"{office.name}_NAMED"])
    assert (entry["person_id"], entry["granted_by"]) == (bell.id, by.id)
    assert "Court" not in json.dumps(entry), "a reason is private"

    def end(tx: Tx) -> None:
        rostering.end_delegation(tx, bell.id, office, person=by, actor=by.id)

    await story.ledger.write(end)
    assert (await standing(story, bell)).office(office, NOW) is None
    assert (await refused(story, end)).code == f"no_{code}"
    assert len(await on_record(story, Kind[f"{office.name}_ENDED"])) == 1


@OFFICES
async def test_who_can_be_no_deputy_or_duty_chief_and_for_how_long(
    story: Story, office: Office, namer: Role
) -> None:
    by = await added(story, "Lt Kim", namer)
    other = await added(story, "Lt Hall", *{Role.WATCH_COMMANDER, Role.CHIEF} - {namer})
    bell = await added(story, "Sgt Bell", Role.COMMANDER)
    new = await added(story, "B. New", Role.PIO)
    table = [
        (naming(bell, bell, office), "not_your_act"),
        (naming(bell, other, office), "not_your_act"),
        (naming(by, by, office), f"cannot_be_{office.name.lower()}"),
        (naming(new, by, office), f"cannot_be_{office.name.lower()}"),
        (naming(bell, by, office, reason=" "), "reason_missing"),
        (naming(bell, by, office, until=NOW), "until_past"),
        (naming(bell, by, office, until=NOW + 8 * DAY), "until_too_far"),
    ]
    assert [(await refused(story, step)).code for step, _ in table] == [code for _, code in table]
    assert await on_record(story, Kind[f"{office.name}_NAMED"]) == []


async def test_naming_a_deputy_wakes_notify_for_what_waits(story: Story) -> None:
    watch = await added(story, "Lt Kim", Role.WATCH_COMMANDER)
    bell = await added(story, "Sgt Bell", Role.COMMANDER)
    await story.submitted(await story.reported())
    waking = text("SELECT count(*) FROM outbox WHERE topic LIKE '%update.submitted'")

    async def wakes() -> int:
        return await story.ledger.read(lambda tx: int(tx.connection.execute(waking).scalar_one()))

    before = await wakes()
    await story.ledger.write(naming(bell, watch))
    assert await wakes() == before + 1


# --- Roles change, and people leave -----------------------------------------------------------


def removing(whom: Person, by: Person) -> Callable[[Tx], rostering.Gone]:
    return lambda tx: rostering.remove(tx, whom.id, person=by, actor="operator")


def becoming(whom: Person, by: Person, *roles: Role) -> Callable[[Tx], rostering.Gone]:
    return lambda tx: rostering.change_roles(tx, whom.id, roles, person=by, actor="operator")


async def now(story: Story, person: Person) -> Person:
    found = await story.ledger.read(lambda tx: people.get(tx, person.id))
    assert found is not None
    return found


async def test_who_is_taken_off_the_roster_keeps_the_name_and_nothing_else(story: Story) -> None:
    chief, lee = await chief_of(story), await added(story, "Lt Lee", Role.WATCH_COMMANDER)
    until = NOW + timedelta(days=1)

    def given(tx: Tx) -> tuple[str, str]:
        rostering.grant(tx, lee.id, [Content.ROUTINE], until=None, person=chief, actor="test")
        rostering.delegate(tx, lee.id, Office.DUTY_CHIEF, reason="Night", until=until,
                           person=chief, actor="test")  # fmt: skip
        rostering.allow_fallback(tx, lee.id, pin=PIN, reason="Phone", until=until, person=chief,
                                 actor="test")  # fmt: skip
        calls.add_reach(tx, lee.id, Means.MAIL, "lee@example.gov", actor="test")
        voices.issue(tx, lee.id, actor="test")
        _, token = people.sign_in_by_link(tx, people.enrol(tx, lee.id, actor="test"))
        return token, people.enrol(tx, lee.id, actor="test")

    token, link = await story.ledger.write(given)
    assert await story.ledger.read(lambda tx: people.session(tx, token))
    await story.ledger.write(removing(lee, chief))

    left = await now(story, lee)
    assert (left.name, left.title) == ("Lt Lee", "Taken off the roster")
    assert left.left == NOW and not any(left.may(act) for act in Act)
    assert not may_command(left) and not left.outside
    held = await standing(story, lee)
    assert not held.authority(Content.ROUTINE, NOW) and not held.fallback(NOW)
    assert not held.office(Office.DUTY_CHIEF, NOW)

    def look(tx: Tx) -> tuple[object, ...]:
        return (people.session(tx, token), people.enrolment(tx, link), calls.reaches_of(tx, lee.id),
                people.sessions(tx, lee.id), voices.standing(tx, lee.id))  # fmt: skip

    assert await story.ledger.write(look) == (None, None, [], [], [])
    (fact,) = await on_record(story, Kind.PERSON_REMOVED)
    assert (fact["person_id"], fact["by"]) == (lee.id, chief.id)
    assert fact["before"] == ["watch-commander"]


async def test_the_devices_of_who_leaves_serve_no_more_though_they_come_back(story: Story) -> None:
    chief = await chief_of(story)
    (device,) = await story.ledger.read(lambda tx: passkeys.of_person(tx, story.pio.id))
    story.clock.move(minutes=1)
    await story.ledger.write(removing(story.pio, chief))
    assert await refused(story, granting(story.pio, chief, Content.INCIDENT))
    await story.ledger.write(becoming(story.pio, chief, Role.PIO))
    back = await now(story, story.pio)
    assert back.left is None and back.may(Act.COMPILE)
    kept = await story.ledger.read(lambda tx: passkeys.get(tx, device.id))
    assert kept is not None and kept.revoked
    then = await story.ledger.read(lambda tx: passkeys.get(tx, device.id, at=NOW))
    assert then is not None and not then.revoked


async def test_an_incident_loses_its_commander_and_the_watch_commander_is_asked(
    story: Story,
) -> None:
    chief, lee = await chief_of(story), await added(story, "Sgt Lee", Role.COMMANDER)
    incident = await story.reported()
    await story.ledger.write(lambda tx: record_command(tx, incident, lee.id, story.pio))
    submitted = await story.submitted(incident)
    assert submitted.request.asked == lee.id
    gone = await story.ledger.write(removing(lee, chief))
    assert gone.commanded == ("2026-1",)
    kept = await story.ledger.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None and kept.incident.command.commanders == ()
    told = (await on_record(story, Kind.COMMAND_RECORDED))[-1]
    assert (told["how"], told["left"]) == ("left", lee.id)
    assert "watch-commander" in cast(list[str], told["tell"])

    def called(tx: Tx) -> set[str]:
        calls.add_reach(tx, story.commander.id, Means.MAIL, "wc@example.gov", actor="test")
        (asking, *_) = calls.state(tx, [Means.MAIL], "https://desk").open
        return {callee.person_id for callee in asking.people}

    assert await story.ledger.write(called) == {story.commander.id}
    await story.gated(submitted)


async def test_of_two_commanders_the_other_goes_on(story: Story) -> None:
    chief, lee = await chief_of(story), await added(story, "Sgt Lee", Role.COMMANDER)
    incident = await story.reported()
    await story.ledger.write(
        lambda tx: record_command(tx, incident, lee.id, story.pio, with_id=story.commander.id)
    )
    await story.ledger.write(becoming(lee, chief, Role.RECORDS))
    kept = await story.ledger.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None and kept.incident.command.commanders == (story.commander.id,)


async def test_an_offer_to_who_leaves_does_not_stand(story: Story) -> None:
    chief, lee = await chief_of(story), await added(story, "Sgt Lee", Role.COMMANDER)
    incident = await story.reported()
    await story.ledger.write(lambda tx: offer_command(tx, incident, lee.id, story.commander))
    await story.ledger.write(removing(lee, chief))
    kept = await story.ledger.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None and kept.incident.command.offer is None


async def test_a_supervisor_who_becomes_something_else_is_one_no_more(story: Story) -> None:
    chief = await chief_of(story)
    lee = await added(story, "Sgt Lee", Role.SUPERVISOR)
    story.clock.move(minutes=1)
    await story.ledger.write(becoming(lee, chief, Role.PIO, Role.RECORDS))
    became = await now(story, lee)
    assert became.may(Act.COMPILE) and not became.may(Act.APPROVE_NOTICE)
    before = await story.ledger.read(lambda tx: people.get(tx, lee.id, at=NOW))
    assert before is not None and before.roles == {Role.SUPERVISOR}
    (fact,) = await on_record(story, Kind.ROLES_CHANGED)
    assert fact["roles"] == ["pio", "records"] and fact["before"] == ["supervisor"]


async def test_whose_word_it_is_and_what_cannot_be(story: Story) -> None:
    chief, pio = await chief_of(story), story.pio
    refusals = {
        "not_your_act": removing(pio, story.commander),
        "own_roles": removing(chief, chief),
        "roles_already": becoming(pio, chief, Role.PIO),
        "role_missing": becoming(pio, chief),
        "no_such_person": removing(Person(id="x", name="X", roles=frozenset()), chief),
    }
    for code, step in refusals.items():
        assert (await refused(story, step)).code == code
    await story.ledger.write(removing(pio, chief))
    assert (await refused(story, removing(pio, chief))).code == "not_on_the_roster"


async def test_what_was_decided_before_goes_out_and_nothing_after(story: Story) -> None:
    chief = await chief_of(story)
    incident = await story.reported()
    await story.ledger.write(lambda tx: record_command(tx, incident, story.commander.id, story.pio))
    kept = await story.approved(await story.submitted(incident))
    story.clock.move(seconds=1)
    await story.ledger.write(removing(story.commander, chief))
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    first = await story.ledger.read(lambda tx: approvals.decision(tx, kept.decision.id))
    assert first is not None and first.outcome == "released"
    with pytest.raises(AssertionError):
        await story.approved(await story.submitted(incident, "More."))
