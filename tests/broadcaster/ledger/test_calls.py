"""How people are reached, whom to call, and what came of it: as kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from broadcaster import handover, rostering
from broadcaster.authority import Office
from broadcaster.calling import (
    About,
    Accepted,
    Call,
    Due,
    Gone,
    Means,
    Outcome,
    Progress,
    next_calls,
)
from broadcaster.clock import Watch
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.errors import Refusal
from broadcaster.handover import record_command
from broadcaster.ledger import Tx, calls, exercises, people, problems, schema
from broadcaster.orders import Submitted, withdraw_request
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.settling import confirm_clock
from streams.deliver import _open_due
from tests.story import NOW, Story

ADDRESS = "https://alerts.example"
URL = f"{ADDRESS}/a/{{}}".format
EVERY = tuple(Means)


async def reach(story: Story, person: Person, means: Means, address: str) -> str:
    step = lambda tx: calls.add_reach(tx, person.id, means, address, actor="test")  # noqa: E731
    return (await story.ledger.write(step)).id


async def due(story: Story, means: tuple[Means, ...] = EVERY) -> Due:
    return await story.ledger.read(lambda tx: next_calls(calls.state(tx, means, ADDRESS), tx.now))


async def begun(story: Story, *about: About) -> list[Call]:
    """Begins all calls that are due; answers those about what is asked for."""

    def step(tx: Tx) -> list[Call]:
        found = list(next_calls(calls.state(tx, EVERY, ADDRESS), tx.now).calls)
        for call in found:
            calls.begin(tx, call)
        return [call for call in found if call.about in (about or [About.REQUEST])]

    return await story.ledger.write(step)


async def facts(story: Story, kind: Kind) -> list[str]:
    kept = select(schema.entries.c.body).where(schema.entries.c.kind == kind)
    return list(await story.ledger.read(lambda tx: tx.connection.execute(kept).scalars().all()))


@pytest.fixture
async def asked(story: Story) -> Submitted:
    return await story.submitted(await story.reported())


async def test_whoever_is_asked_is_called_by_every_means_at_once(
    story: Story, asked: Submitted
) -> None:
    await reach(story, story.commander, Means.SMS, "+1 (760) 555-0100")
    await reach(story, story.commander, Means.MAIL, "ortiz@example.gov")
    found = (await due(story)).calls
    assert {(call.means, call.address) for call in found} == {
        (Means.SMS, "+17605550100"), (Means.MAIL, "ortiz@example.gov"),
    }  # fmt: skip
    assert {call.url for call in found} == {URL(asked.request.id)}
    only_mail = await due(story, (Means.MAIL,))
    assert [call.means for call in only_mail.calls] == [Means.MAIL], "the one with an account"


async def test_the_compiler_is_never_called(story: Story) -> None:
    """Who compiled may approve nothing, though they hold the office that is asked."""
    watch = await story.ledger.write(
        lambda tx: people.add(
            tx, "Lt Diaz", [Role.PIO, Role.WATCH_COMMANDER], actor="test", practice=True
        )
    )
    await reach(story, watch, Means.SMS, "+17605550101")
    await reach(story, story.commander, Means.SMS, "+17605550100")
    story.pio = watch
    await story.submitted(await story.reported())
    assert {call.person_id for call in (await due(story)).calls} == {story.commander.id}


async def test_command_decides_who_is_first_and_who_after_180_seconds(story: Story) -> None:
    captain = await story.ledger.write(
        lambda tx: people.add(tx, "Capt Ruiz", [Role.COMMANDER], actor="test")
    )
    await reach(story, captain, Means.SMS, "+17605550102")
    await reach(story, story.commander, Means.SMS, "+17605550100")
    incident = await story.reported()
    await story.ledger.write(lambda tx: record_command(tx, incident, captain.id, story.pio))
    await story.submitted(incident)
    assert {call.person_id for call in await begun(story)} == {captain.id}
    story.clock.move(seconds=180)
    assert {call.person_id for call in await begun(story)} == {captain.id, story.commander.id}


async def test_a_deputy_is_called_after_180_seconds_and_the_watch_commander_after_that(
    story: Story,
) -> None:
    captain, deputy = [
        await story.ledger.write(lambda tx, n=name: people.add(tx, n, [Role.COMMANDER], actor="t"))
        for name in ("Capt Ruiz", "Sgt Bell")
    ]
    await reach(story, deputy, Means.SMS, "+17605550103")
    await reach(story, captain, Means.SMS, "+17605550102")
    await reach(story, story.commander, Means.SMS, "+17605550100")
    incident = await story.reported()
    await story.ledger.write(lambda tx: record_command(tx, incident, captain.id, story.pio))
    await story.submitted(incident)
    await begun(story)
    until = story.clock.at + timedelta(seconds=500)
    await story.ledger.write(
        lambda tx: rostering.delegate(tx, deputy.id, Office.DEPUTY, reason="Away", until=until,
                                         person=story.commander, actor="test")
    )  # fmt: skip
    story.clock.move(seconds=180)
    assert {call.person_id for call in await begun(story)} == {captain.id, deputy.id}
    story.clock.move(seconds=60)
    everybody = {captain.id, deputy.id, story.commander.id}
    assert {call.person_id for call in await begun(story)} == everybody
    story.clock.move(seconds=260)
    assert deputy.id not in {call.person_id for call in await begun(story)}, "it has ended"


@pytest.mark.parametrize("commanded", [True, False])
async def test_the_duty_chief_is_called_with_the_watch_commander_or_after_who_is_asked(
    story: Story, commanded: bool
) -> None:
    captain, chief = await on_phones(story, "Capt Ruiz", "Cmdr Hall")
    banks = await story.ledger.write(
        lambda tx: people.add(tx, "Chief Banks", [Role.CHIEF], actor="t")
    )
    until = story.clock.at + timedelta(hours=1)
    await story.ledger.write(
        lambda tx: rostering.delegate(tx, chief.id, Office.DUTY_CHIEF, reason="Week", until=until,
                                      person=banks, actor="test")
    )  # fmt: skip
    incident, watch = await story.reported(), story.commander
    if commanded:
        await story.ledger.write(lambda tx: record_command(tx, incident, captain.id, story.pio))
    await story.submitted(incident)
    first = {captain.id if commanded else watch.id}
    assert {call.person_id for call in await begun(story)} == first
    story.clock.move(seconds=180)
    assert {call.person_id for call in await begun(story)} == first | {watch.id, chief.id}


async def test_a_begun_call_is_not_begun_again_until_the_next_round(
    story: Story, asked: Submitted
) -> None:
    await reach(story, story.commander, Means.SMS, "+17605550100")
    [first] = await begun(story)
    assert await begun(story) == []
    story.clock.move(seconds=60)
    [second] = await begun(story)
    assert (first.attempt, second.attempt) == (1, 2)
    called = await facts(story, Kind.APPROVER_CALLED)
    assert len(called) == 2 and not any("7605550100" in body for body in called), "no address"


@pytest.mark.parametrize(
    ("how", "outcome", "called_again_in_60_s"),
    [
        (Accepted(remote_id="SM1", at=NOW), Outcome.ACCEPTED, True),
        (TryLater("Busy.", timedelta(seconds=5)), Outcome.LATER, True),
        (Refused("No such number."), Outcome.REFUSED, False),
        (Gone("It has ended."), Outcome.REFUSED, False),
        (InDoubt("No answer."), Outcome.IN_DOUBT, True),
    ],
)
async def test_what_came_of_it_is_kept_and_on_the_record(
    story: Story, asked: Submitted, how: object, outcome: Outcome, called_again_in_60_s: bool
) -> None:
    await reach(story, story.commander, Means.SMS, "+17605550100")
    [call] = await begun(story)
    await story.ledger.write(lambda tx: calls.end(tx, call.id, how))
    [kept] = await story.ledger.read(lambda tx: calls.of_request(tx, asked.request.id))
    assert (kept.outcome, kept.ended_at) == (outcome, story.clock.at)
    [entry] = await facts(story, Kind.CALL_ENDED)
    assert str(outcome) in entry
    story.clock.move(seconds=60)
    assert bool(await begun(story)) is called_again_in_60_s
    left = await story.ledger.read(lambda tx: calls.reaches_of(tx, story.commander.id))
    assert bool(left) is not isinstance(how, Gone), "an address that is no more is struck off"


async def test_what_arrived_does_not_un_arrive(story: Story, asked: Submitted) -> None:
    await reach(story, story.commander, Means.SMS, "+17605550100")
    [call] = await begun(story)
    for progress in (Progress.SENT, Progress.DELIVERED, Progress.DELIVERED, Progress.SENT):
        await story.ledger.write(lambda tx, it=progress: calls.report(tx, call.id, it))
    [kept] = await story.ledger.read(lambda tx: calls.of_request(tx, asked.request.id))
    assert kept.progress is Progress.DELIVERED
    assert len(await facts(story, Kind.CALL_REPORTED)) == 2
    with pytest.raises(Refusal) as caught:
        await story.ledger.write(lambda tx: calls.report(tx, "none", Progress.SENT))
    assert caught.value.code == "no_such_call"


async def test_who_was_called_opens_it_once(story: Story, asked: Submitted) -> None:
    await reach(story, story.commander, Means.SMS, "+17605550100")
    open_it = lambda tx: calls.opened(  # noqa: E731
        tx, calls.unopened(tx, story.commander.id, request_id=asked.request.id)
    )
    await story.ledger.write(open_it)
    assert await facts(story, Kind.REQUEST_OPENED) == [], "nobody was called yet"
    await begun(story)
    for _ in range(2):
        await story.ledger.write(open_it)
    assert len(await facts(story, Kind.REQUEST_OPENED)) == 1


async def test_nobody_is_called_about_what_no_longer_waits(story: Story, asked: Submitted) -> None:
    await reach(story, story.commander, Means.SMS, "+17605550100")
    await story.ledger.write(lambda tx: withdraw_request(tx, asked.request.id, story.pio))
    assert await due(story) == Due((), None)


# --- About command ------------------------------------------------------------------------------


async def on_phones(story: Story, *names: str) -> list[Person]:
    """Commanders, each with a telephone; the Watch Commander and the PIO have one, too."""
    people_ = [
        await story.ledger.write(lambda tx, n=name: people.add(tx, n, [Role.COMMANDER], actor="t"))
        for name in names
    ]
    for number, person in enumerate((story.commander, story.pio, *people_)):
        await reach(story, person, Means.SMS, f"+1760555010{number}")
    return people_


async def told(story: Story, about: About = About.MOVED) -> set[str]:
    """Who is called about command now, each once; a provider takes it."""
    found = await begun(story, about)
    ok = Accepted(remote_id="SM1", at=NOW)
    for call in found:
        await story.ledger.write(lambda tx, call=call: calls.end(tx, call.id, ok))
    assert len({call.person_id for call in found}) == len(found)
    return {call.person_id for call in found}


async def test_a_move_calls_whom_it_concerns_and_not_who_did_it(story: Story) -> None:
    ruiz, lee, other = await on_phones(story, "Capt Ruiz", "Lt Lee", "Sgt Other")
    incident, pio, watch = await story.reported(), story.pio, story.commander

    async def after(step: Callable[[Tx], object]) -> set[str]:
        await story.ledger.write(step)
        them = await told(story)
        assert other.id not in them
        assert await told(story) == set(), "and once"
        return them

    recorded = await after(lambda tx: record_command(tx, incident, ruiz.id, pio))
    assert recorded == {ruiz.id, watch.id}
    radio = await after(lambda tx: handover.record_radio(tx, incident, ruiz.id, lee.id, pio))
    assert radio == {ruiz.id, lee.id, watch.id}, "both, and the Watch Commander"
    force = lambda tx: handover.force_command(tx, incident, ruiz.id, "hurt", watch)  # noqa: E731
    assert await after(force) == {lee.id, ruiz.id}
    assert await after(lambda tx: record_command(tx, incident, None, pio)) == {ruiz.id, watch.id}
    assert await after(lambda tx: handover.take_command(tx, incident, watch)) == set()


async def test_a_call_about_command_leads_to_the_incident(story: Story) -> None:
    [ruiz] = await on_phones(story, "Capt Ruiz")
    incident = await story.reported()
    await story.ledger.write(lambda tx: record_command(tx, incident, ruiz.id, story.pio))
    urls = {call.url for call in (await due(story)).calls}
    assert urls == {f"{ADDRESS}/incidents/{incident}"}


async def test_the_chief_is_told_once_of_a_channel_that_knows_our_credential_no_more(
    story: Story,
) -> None:
    await on_phones(story)
    chief = await story.ledger.write(
        lambda tx: people.add(tx, "Chief", [Role.CHIEF], actor="test", practice=True)
    )
    await reach(story, chief, Means.SMS, "+17605550109")
    await reach(story, chief, Means.MAIL, "chief@example.org")
    dead = Refusal(calls.CREDENTIAL_DEAD, "City is paused.", "Give it another one.")
    number = await story.ledger.write(
        lambda tx: problems.note(tx, problems.Place(source="channel city"), dead)
    )
    now = {call.means: call for call in (await due(story)).calls}
    sms, mail = now[Means.SMS], now[Means.MAIL]
    assert {sms.person_id, mail.person_id} == {chief.id} and sms.url == f"{ADDRESS}/channels"
    assert "City" not in sms.text and sms.text.startswith("EXERCISE: a channel is paused")
    assert {call.person_id for call in await begun(story, About.LOCKED_OUT)} == {chief.id}
    await story.ledger.write(lambda tx: calls.end(tx, sms.id, Accepted(remote_id="SM1", at=NOW)))
    story.clock.move(seconds=61)
    [again] = (await due(story)).calls
    assert again.means is Means.MAIL, "nobody knows whether that one left"
    assert number is not None
    await story.ledger.write(lambda tx: problems.settle(tx, number, "dropped", actor=chief.id))
    assert (await due(story)).calls == ()
    assert await facts(story, Kind.CONCERNED_CALLED), "on the record"


async def test_chief_and_watch_commander_are_told_of_a_clock_that_holds_all_sending(
    story: Story,
) -> None:
    chief, watch = [
        await story.ledger.write(lambda tx, name=name, role=role: people.add(
            tx, name, [role], actor="test", practice=True))
        for name, role in (("Chief", Role.CHIEF), ("Lt Wu", Role.WATCH_COMMANDER))
    ]  # fmt: skip
    for number, person in enumerate((chief, watch)):
        await reach(story, person, Means.SMS, f"+1760555011{number}")

    def set_forward(tx: Tx) -> None:
        watched = Watch(lambda: 0.0)
        watched.believe(watched.read(lambda: tx.now - timedelta(hours=1)))
        for _ in range(2):
            _open_due(tx, [], [], watched)

    await story.ledger.write(set_forward)
    now = await begun(story, About.CLOCK_SET)
    assert {call.person_id for call in now} == {chief.id, watch.id}
    assert {call.url for call in now} == {f"{ADDRESS}/channels"}
    assert "clock" in now[0].text and now[0].text.startswith("EXERCISE: ")
    await story.ledger.write(lambda tx: calls.end(tx, now[0].id, TryLater("away")))
    assert len(await facts(story, Kind.CONCERNED_CALLED)) == 2, "on the record"
    await story.ledger.write(lambda tx: confirm_clock(tx, story.pio))
    story.clock.move(seconds=61)
    assert (await due(story)).calls == (), "somebody has looked"
    assert await story.ledger.read(problems.listed) == []


async def test_an_offer_calls_whom_it_is_offered_to_for_as_long_as_it_stands(story: Story) -> None:
    ruiz, lee = await on_phones(story, "Capt Ruiz", "Lt Lee")
    incident, ledger = await story.reported(), story.ledger
    await ledger.write(lambda tx: record_command(tx, incident, ruiz.id, story.pio))
    await told(story)
    offer_it = lambda tx: handover.offer_command(tx, incident, lee.id, ruiz)  # noqa: E731
    await ledger.write(offer_it)
    assert await told(story, About.OFFERED) == {lee.id}
    again = await ledger.write(offer_it)
    await ledger.write(lambda tx: handover.end_offer(tx, incident, again.id, lee))
    assert await told(story, About.OFFERED) == set(), "it does not stand any more"
    await ledger.write(offer_it)
    offer = await ledger.write(offer_it)
    await ledger.write(lambda tx: handover.end_offer(tx, incident, offer.id, lee))
    assert await told(story, About.OFFER_ENDED) == {ruiz.id}


async def test_what_was_told_and_opened_is_on_the_record(story: Story) -> None:
    [ruiz] = await on_phones(story, "Capt Ruiz")
    incident = await story.reported()
    await story.ledger.write(lambda tx: record_command(tx, incident, ruiz.id, story.pio))
    await told(story)
    for _ in range(2):
        await story.ledger.write(
            lambda tx: calls.opened(tx, calls.unopened(tx, ruiz.id, incident_id=incident))
        )
    for kind, count in ((Kind.CONCERNED_CALLED, 2), (Kind.CALL_ENDED, 2), (Kind.CALL_OPENED, 1)):
        entries = await facts(story, kind)
        assert len(entries) == count and not any("7605550" in body for body in entries)
        assert all('"about":"command moved"' in body and incident in body for body in entries)
    kept = await story.ledger.read(lambda tx: calls.of_newest_move(tx, incident))
    assert {each.person_id: each.opened_at is not None for each in kept} == {
        ruiz.id: True, story.commander.id: False,
    }  # fmt: skip


async def test_a_move_is_told_for_ten_minutes_and_not_in_an_exercise_that_is_over(
    story: Story,
) -> None:
    [ruiz] = await on_phones(story, "Capt Ruiz")
    incident = await story.reported()
    await story.ledger.write(lambda tx: record_command(tx, incident, ruiz.id, story.pio))
    turn = lambda running: lambda tx: exercises.turn(tx, running=running, by=story.pio.id)  # noqa: E731
    await story.ledger.write(turn(False))
    assert await due(story) == Due((), None)
    await story.ledger.write(turn(True))
    assert (await due(story)).calls
    story.clock.move(minutes=10)
    assert await due(story) == Due((), None)


@pytest.mark.parametrize(
    ("means", "address"),
    [
        (Means.SMS, "760 555 0100"), (Means.SMS, "+1"), (Means.SMS, ""),
        (Means.MAIL, "ortiz"), (Means.MAIL, "a@b\nBcc: c@d"), (Means.WEBHOOK, "two words"),
        (Means.PUSH, "{}"), (Means.PUSH, "[1]"), (Means.PUSH, "null"),
        (Means.PUSH, '{"endpoint": "http://x", "keys": {"p256dh": "a", "auth": "b"}}'),
    ],
)  # fmt: skip
async def test_an_address_that_reaches_nobody_is_refused(
    story: Story, means: Means, address: str
) -> None:
    with pytest.raises(Refusal) as caught:
        await reach(story, story.commander, means, address)
    assert (caught.value.code, caught.value.field) == ("address_invalid", "address")


async def test_the_same_address_is_kept_once_and_can_be_struck_off(story: Story) -> None:
    first = await reach(story, story.commander, Means.MAIL, "ortiz@example.gov")
    assert await reach(story, story.commander, Means.MAIL, " ortiz@example.gov ") == first
    for _ in range(2):
        await story.ledger.write(lambda tx: calls.end_reach(tx, first, actor="test"))
    assert await story.ledger.read(lambda tx: calls.reaches_of(tx, story.commander.id)) == []
    assert len(await facts(story, Kind.REACH_ENDED)) == 1
