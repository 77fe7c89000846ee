"""The roster's orders, and what a submission asks of them (389.3, 389.8)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from broadcaster import rostering
from broadcaster.authority import Content, Matter, Office, Standing, Subject
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, authorities, people
from broadcaster.orders import renew_request
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.update import UpdateKind
from tests.story import NOW, Story

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
