"""Commanders from outside, on both databases: who enrols one, for how long, and what they may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from broadcaster import practice, rostering
from broadcaster.authority import Office
from broadcaster.errors import Refusal
from broadcaster.guest import LINK_LIVES, Guest
from broadcaster.guests import EnrolGuest, draft_guest, end_guest, enrol_guest
from broadcaster.handover import record_command
from broadcaster.incident import Status
from broadcaster.ledger import Tx, guests, incidents, passkeys, people
from broadcaster.passkey import guest_challenge, vouched
from broadcaster.roster import Act, Person, Role
from tests.story import EXERCISE, SITE, Story


async def drafted(story: Story, incident_id: str, by: Person, **fields: Any) -> EnrolGuest:
    said = {"rank": "Capt", "name": "J. Diaz", "agency": "Palm Fire", "hours": 8} | fields
    return await story.ledger.write(lambda tx: draft_guest(tx, incident_id, by, **said))


def signed(tx: Tx, order: EnrolGuest, by: Person) -> EnrolGuest:
    """With the practice passkey of whoever enrols."""
    challenge = guest_challenge(order.guest)
    proof = passkeys.practice_answer(tx, by.id, site=SITE, challenge=challenge)
    return order.model_copy(update={"proof": proof})


async def enrolled(
    story: Story, incident_id: str, by: Person | None = None, order: EnrolGuest | None = None
) -> Guest:
    who = by or story.commander
    draft = order or await drafted(story, incident_id, who)
    answer = await story.ledger.write(lambda tx: enrol_guest(tx, signed(tx, draft, who), who, SITE))
    assert isinstance(answer, Guest), answer
    return answer


def opened(tx: Tx, order: EnrolGuest) -> str:
    """Opens the link and makes a passkey with it; answers the session's token."""
    made, _ = practice.make()
    _, session = people.sign_in_by_link(tx, order.token, passkey_id=made.id)
    passkeys.add(tx, order.person_id, made, "Phone", actor="test", approved_by=passkeys.LINK)
    return session


async def person_of(story: Story, guest: Guest) -> Person:
    person = await story.ledger.read(lambda tx: people.get(tx, guest.person_id))
    assert person is not None
    return person


async def refused(story: Story, step: Callable[[Tx], object]) -> str:
    try:
        answer = await story.ledger.write(step)
    except Refusal as refusal:
        return refusal.code
    assert isinstance(answer, Refusal)
    return answer.code


async def test_somebody_from_outside_may_command_one_incident_and_nothing_else(
    story: Story,
) -> None:
    here, elsewhere = await story.reported(), await story.reported("2026-2")
    guest = await enrolled(story, here)
    person = await person_of(story, guest)
    assert (person.name, person.guest_of) == ("Capt J. Diaz, Palm Fire", here)
    assert {act for act in Act if person.may(act)} == {Act.READ, Act.STOP}
    command = await story.ledger.write(
        lambda tx: record_command(tx, here, guest.person_id, story.pio)
    )
    assert command.person_id == guest.person_id
    code = await refused(
        story, lambda tx: record_command(tx, elsewhere, guest.person_id, story.pio)
    )
    assert code == "cannot_command"


async def test_it_takes_who_may_move_command_and_their_passkey(story: Story) -> None:
    incident = await story.reported()
    order = await drafted(story, incident, story.commander)
    write = story.ledger.write
    lee = await write(lambda tx: people.add(tx, "Lee", [Role.COMMANDER], actor="t", practice=True))
    attempts: list[tuple[str, EnrolGuest, Person]] = [
        ("not_your_act", order, story.pio),
        ("not_your_act", order, lee),
        ("passkey_missing", order, story.commander),
    ]
    for code, said, by in attempts:
        assert await refused(story, lambda tx, o=said, b=by: enrol_guest(tx, o, b, SITE)) == code
    as_signed = await write(lambda tx: signed(tx, order, story.commander))
    for field, value in (("name", "Capt Roe, Palm Fire"), ("token", "u" * 32),
                         ("until", order.until + timedelta(hours=1))):  # fmt: skip
        altered = as_signed.model_copy(update={field: value})
        code = await refused(story, lambda tx, o=altered: enrol_guest(tx, o, story.commander, SITE))
        assert code == "passkey_not_proven", field


async def test_a_deputy_enrols_and_what_they_signed_outlasts_them(story: Story) -> None:
    incident, write = await story.reported(), story.ledger.write
    lee = await write(lambda tx: people.add(tx, "Lee", [Role.COMMANDER], actor="t", practice=True))
    until = story.clock.at + timedelta(hours=2)
    await write(
        lambda tx: rostering.delegate(
            tx,
            lee.id,
            Office.DEPUTY,
            reason="Leave",
            until=until,
            person=story.commander,
            actor="test",
        )
    )
    order = await drafted(story, incident, lee)
    guest = await enrolled(story, incident, lee, order)
    await write(lambda tx: opened(tx, order))
    story.clock.move(seconds=1)
    await write(
        lambda tx: rostering.end_delegation(
            tx, lee.id, Office.DEPUTY, person=story.commander, actor="test"
        )
    )
    assert await vouches(story, guest)


async def vouches(story: Story, guest: Guest) -> bool:
    """Whether what was signed vouches for the passkey that their link made."""

    def look(tx: Tx) -> bool:
        [key] = passkeys.of_person(tx, guest.person_id)
        return vouched(key, site=SITE, world=EXERCISE)

    return await story.ledger.read(look)


async def test_a_link_makes_one_passkey_within_a_quarter_of_an_hour(story: Story) -> None:
    incident = await story.reported()
    order = await drafted(story, incident, story.commander)
    guest = await enrolled(story, incident, order=order)
    write = story.ledger.write
    unused = await refused(story, lambda tx: people.sign_in_by_link(tx, order.token))
    assert unused == "passkey_missing"
    await write(lambda tx: opened(tx, order))
    assert await vouches(story, guest)
    assert await refused(story, lambda tx: opened(tx, order)) == "link_used"
    late = await drafted(story, incident, story.commander)
    await enrolled(story, incident, order=late)
    story.clock.at += LINK_LIVES
    assert await refused(story, lambda tx: opened(tx, late)) == "link_used"


async def test_enrolling_twice_is_once_and_a_draft_that_lay_is_none(story: Story) -> None:
    incident = await story.reported()
    order = await drafted(story, incident, story.commander)
    assert await enrolled(story, incident, order=order) == await enrolled(
        story, incident, order=order
    )
    assert len(await story.ledger.read(lambda tx: guests.of_incident(tx, incident))) == 1
    again = await drafted(story, incident, story.commander)
    assert again.name == "Capt J. Diaz, Palm Fire (2)"
    story.clock.at += LINK_LIVES
    by = story.commander
    code = await refused(story, lambda tx: enrol_guest(tx, signed(tx, again, by), by, SITE))
    assert code == "guest_draft_over"


async def test_a_device_that_is_lent_enrols_nobody(story: Story) -> None:
    incident, by = await story.reported(), story.commander

    def lend(tx: Tx) -> None:
        [key] = passkeys.of_person(tx, by.id)
        until = tx.now + timedelta(hours=9)
        passkeys.approve(tx, key, {}, until=until, actor="test")

    await story.ledger.write(lend)
    order = await drafted(story, incident, by)
    code = await refused(story, lambda tx: enrol_guest(tx, signed(tx, order, by), by, SITE))
    assert code == "passkey_lent"


async def test_it_ends_when_it_is_ended_and_command_goes_back_to_nobody(story: Story) -> None:
    incident, write = await story.reported(), story.ledger.write
    order = await drafted(story, incident, story.commander)
    guest = await enrolled(story, incident, order=order)
    await write(lambda tx: record_command(tx, incident, guest.person_id, story.pio))
    session = await write(lambda tx: opened(tx, order))
    step = partial(end_guest, incident_id=incident, person_id=guest.person_id)
    assert await refused(story, lambda tx: step(tx, person=story.pio)) == "not_your_act"
    await write(lambda tx: step(tx, person=story.commander))
    assert await refused(story, lambda tx: step(tx, person=story.commander)) == "no_such_guest"
    person = await person_of(story, guest)
    assert person.guest_of is None and not any(person.may(act) for act in Act)
    assert await story.ledger.read(lambda tx: people.session(tx, session)) is None
    kept = await story.ledger.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None and kept.incident.command.commanders == ()


async def test_it_ends_with_its_time_and_with_the_incident(story: Story) -> None:
    incident = await story.reported()
    guest = await enrolled(story, incident)
    assert (await person_of(story, guest)).guest_of == incident
    later = story.clock.at + timedelta(seconds=1)
    await story.reported(status=Status.CLOSED, reported_at=later)
    assert (await person_of(story, guest)).guest_of is None
    by = story.commander
    code = await refused(
        story,
        lambda tx: draft_guest(tx, incident, by, rank="C", name="N", agency="A", hours=1),
    )
    assert code == "incident_closed"
    other = await story.reported("2026-2")
    guest = await enrolled(story, other)
    story.clock.move(hours=8)
    assert (await person_of(story, guest)).guest_of is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"rank": " "}, "rank_missing"),
        ({"name": ""}, "name_missing"),
        ({"agency": ""}, "agency_missing"),
        ({"agency": "A" * 120}, "name_invalid"),
        ({"hours": 13}, "until_too_far"),
        ({"hours": 0}, "until_too_far"),
    ],
)
async def test_what_is_written_of_them_is_asked_for(
    story: Story, fields: dict[str, Any], code: str
) -> None:
    incident = await story.reported()
    with pytest.raises(Refusal) as refusal:
        await drafted(story, incident, story.commander, **fields)
    assert refusal.value.code == code
