"""Each change of a request's state is kept for the department's app, in order, and let go."""

from __future__ import annotations

from datetime import timedelta

from broadcaster.approval import Verdict
from broadcaster.handover import record_command
from broadcaster.informing import GIVEN_UP_AFTER, State
from broadcaster.ledger import Tx, approvals, problems, request_changes
from broadcaster.ledger.request_changes import Untold
from broadcaster.orders import Decide, expire_request, withdraw_request
from streams.gate import judge_decision
from streams.notify import call_approver
from tests.story import EXERCISE, INCIDENT_URL, Story, tapped

ADDRESS = "https://alerts.example"


async def states(story: Story, request_id: str) -> list[tuple[State, int]]:
    kept = await story.ledger.read(lambda tx: request_changes.of_request(tx, request_id))
    return [(state, epoch) for state, epoch, _ in kept]


async def untold(story: Story) -> list[Untold]:
    return await story.ledger.read(lambda tx: request_changes.untold(tx, ADDRESS))


async def test_from_opened_to_released_under_the_epoch_it_was_put_to(story: Story) -> None:
    incident = await story.reported()
    submitted = await story.submitted(incident)
    request_id = submitted.request.id
    await story.ledger.write(call_approver(request_id))
    await story.ledger.write(lambda tx: record_command(tx, incident, story.commander.id, story.pio))
    story.clock.move(seconds=1)
    await story.ledger.write(call_approver(request_id))
    kept = await story.approved(submitted)
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    assert await states(story, request_id) == [
        (State.OPENED, 0), (State.ASKED, 0), (State.ASKED, 1), (State.APPROVED, 1),
        (State.RELEASED, 1),
    ]  # fmt: skip


async def test_what_the_gate_refuses_and_asks_again(story: Story) -> None:
    submitted = await story.submitted(await story.reported())
    kept = await story.approved(submitted)
    story.clock.move(seconds=61)
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    request = submitted.request
    [again] = await story.ledger.read(lambda tx: approvals.open_requests(tx))
    assert [state for state, _ in await states(story, request.id)] == [
        State.OPENED, State.APPROVED, State.NOT_RELEASED, State.EXPIRED, State.RENEWED,
    ]  # fmt: skip
    assert [state for state, _ in await states(story, again.request.id)] == [State.OPENED]


async def test_each_other_end_of_a_request(story: Story) -> None:
    async def after(step: object, number: str) -> State:
        submitted = await story.submitted(await story.reported(number))

        def ends(tx: Tx) -> object:
            assert callable(step)
            return step(tx, submitted)

        await story.ledger.write(ends)
        if number == "lapses":
            story.clock.move(seconds=1)
            await story.reported(number, place="Elm St")
        return (await states(story, submitted.request.id))[-1][0]

    def decides(verdict: Verdict) -> object:
        return lambda tx, it: tapped(tx, Decide(
            request_id=it.request.id, verdict=verdict, revision_id=it.revision.id,
            digest=it.revision.digest, reason="Say where.", idempotency_key=it.request.id,
        ), story.commander)  # fmt: skip

    assert await after(decides(Verdict.RETURNED), "1") is State.RETURNED
    assert await after(decides(Verdict.DECLINED), "2") is State.DECLINED
    withdraws = lambda tx, it: withdraw_request(tx, it.request.id, story.pio)  # noqa: E731
    assert await after(withdraws, "3") is State.WITHDRAWN
    assert await after(lambda tx, it: expire_request(tx, it.request), "4") is State.EXPIRED
    assert await after(lambda tx, it: None, "lapses") is State.LAPSED


async def test_of_each_request_the_oldest_is_told_first(story: Story) -> None:
    first, second = [(await story.submitted(await story.reported(n))).request for n in "12"]
    await story.ledger.write(lambda tx: withdraw_request(tx, first.id, story.pio))
    heads = await untold(story)
    assert [(each.change.request_id, each.change.state) for each in heads] == [
        (first.id, State.OPENED), (second.id, State.OPENED),
    ]  # fmt: skip
    assert heads[0].change.url == f"{ADDRESS}/a/{first.id}"
    until = story.clock.at + timedelta(seconds=9)
    await story.ledger.write(lambda tx: request_changes.later(tx, heads[0].number, until))
    again = {each.change.request_id: each for each in await untold(story)}
    assert (again[first.id].tries, again[first.id].next_look) == (1, until)
    assert again[first.id].change == heads[0].change, "the next one waits behind it"
    await story.ledger.write(lambda tx: request_changes.told(tx, heads[0].number))
    states_ = {each.change.request_id: each.change.state for each in await untold(story)}
    assert states_ == {first.id: State.WITHDRAWN, second.id: State.OPENED}


async def test_what_could_not_be_told_in_time_is_let_go_and_told_as_a_problem(
    story: Story,
) -> None:
    await story.submitted(await story.reported("1"))
    story.clock.move(seconds=GIVEN_UP_AFTER.total_seconds() - 1)
    assert await story.ledger.write(request_changes.give_up) == 0
    await story.submitted(await story.reported("2"))
    story.clock.move(seconds=1)
    assert await story.ledger.write(request_changes.give_up) == 1
    assert len(await untold(story)) == 1
    listed = await story.ledger.read(lambda tx: problems.listed(tx, state="open", limit=9))
    assert [each.code for each in listed] == ["app_not_told"]
