"""How people are reached, whom to call, and what came of it: as kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from broadcaster import rostering
from broadcaster.calling import Accepted, Call, Due, Gone, Means, Outcome, Progress, next_calls
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.errors import Refusal
from broadcaster.handover import record_command
from broadcaster.ledger import Tx, calls, people, schema
from broadcaster.orders import Submitted, withdraw_request
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from tests.story import NOW, Story

URL = "https://alerts.example/a/{}".format
EVERY = tuple(Means)


async def reach(story: Story, person: Person, means: Means, address: str) -> str:
    step = lambda tx: calls.add_reach(tx, person.id, means, address, actor="test")  # noqa: E731
    return (await story.ledger.write(step)).id


async def due(story: Story, means: tuple[Means, ...] = EVERY) -> Due:
    return await story.ledger.read(lambda tx: next_calls(calls.state(tx, means, URL), tx.now))


async def begun(story: Story) -> list[Call]:
    def step(tx: Tx) -> list[Call]:
        found = list(next_calls(calls.state(tx, EVERY, URL), tx.now).calls)
        for call in found:
            calls.begin(tx, call)
        return found

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
        lambda tx: rostering.name_deputy(tx, deputy.id, reason="Away", until=until,
                                         person=story.commander, actor="test")
    )  # fmt: skip
    story.clock.move(seconds=180)
    assert {call.person_id for call in await begun(story)} == {captain.id, deputy.id}
    story.clock.move(seconds=60)
    everybody = {captain.id, deputy.id, story.commander.id}
    assert {call.person_id for call in await begun(story)} == everybody
    story.clock.move(seconds=260)
    assert deputy.id not in {call.person_id for call in await begun(story)}, "it has ended"


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
    open_it = lambda tx: calls.opened(tx, asked.request.id, story.commander.id)  # noqa: E731
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
