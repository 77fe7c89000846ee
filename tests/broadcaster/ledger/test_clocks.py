"""What a clock that was ahead has left in the ledger, once it is right again."""

from __future__ import annotations

from datetime import timedelta

from broadcaster.aftercare import Errand
from broadcaster.delivery import InDoubt, PostState
from broadcaster.ledger import Tx, approvals, attempts, clocks, errands, leases, posts, reports
from broadcaster.ledger.attempts import Closing, Opened, Wanted
from broadcaster.outcome import Next
from tests.story import HOOK, PAGE, Story

LASTS = timedelta(seconds=6)
HOUR = timedelta(hours=1)


def begun(tx: Tx, post: posts.Kept) -> tuple[Opened, leases.Lease]:
    [lease] = leases.take(tx, [f"channel:{HOOK.name}"], "one", LASTS).values()
    [opened] = attempts.open_(tx, [Wanted(post.id, lease, LASTS, HOOK)]).values()
    assert isinstance(opened, Opened)
    return opened, lease


async def test_what_it_planned_is_due_and_what_others_wait_for_is_left_alone(story: Story) -> None:
    _, before = await story.released(await story.reported("2026-0"), channels=[HOOK])
    waits = story.clock.at + timedelta(seconds=30)
    waiting = Next(PostState.WAITING, next_look=waits)
    await story.ledger.write(
        lambda tx: posts.turn(tx, [posts.Turn(before[HOOK.name], waiting)])
    )  # fmt: skip
    story.clock.at += HOUR
    _, planned = await story.released(await story.reported("2026-1"), channels=[HOOK, PAGE])
    _, doubted = await story.released(await story.reported("2026-2"), channels=[HOOK])
    _, sending = await story.released(await story.reported("2026-3"), channels=[HOOK])

    def left(tx: Tx) -> None:
        opened, lease = begun(tx, doubted[HOOK.name])
        then = Next(PostState.IN_DOUBT, tx.now + LASTS)
        attempts.close(tx, [Closing(opened, lease, InDoubt.__name__, then)])
        begun(tx, sending[HOOK.name])
        errands.owe(tx, planned[HOOK.name].id, Errand.RETRACT)

    await story.ledger.write(left)
    story.clock.at -= HOUR

    def look(tx: Tx) -> tuple[set[str], set[str], set[str]]:
        clocks.catch_up(tx, [HOOK.name])
        dues = posts.first_due(tx, [HOOK.name, PAGE.name])
        return (
            {due.id for due in dues.to_try}, {due.id for due in dues.to_look_for},
            {each.post.id for each in attempts.left_open(tx, [HOOK.name])},
        )  # fmt: skip

    tries, looks, left_open = await story.ledger.write(look)
    assert tries == {planned[HOOK.name].id}, "not the other channel's, nor what waits in its turn"
    assert looks == {doubted[HOOK.name].id} and left_open == {sending[HOOK.name].id}
    [owed] = await story.ledger.read(lambda tx: errands.of_posts(tx, [planned[HOOK.name].id]))
    assert (owed.owed.since, owed.due_at) == (story.clock.at, story.clock.at)


async def test_no_lease_lasts_longer_than_one_does(story: Story) -> None:
    take = lambda tx, holder: leases.take(tx, ["relay"], holder, LASTS)  # noqa: E731
    story.clock.at += HOUR
    await story.ledger.write(lambda tx: take(tx, "one"))
    story.clock.at -= HOUR
    assert not await story.ledger.write(lambda tx: take(tx, "another")), "it may live"
    story.clock.at += LASTS
    assert await story.ledger.write(lambda tx: take(tx, "another"))


async def test_lost_messages_of_then_are_sent_again(story: Story) -> None:
    story.clock.at += HOUR
    await story.approved(await story.submitted(await story.reported("2026-1")))
    story.clock.at -= HOUR
    assert await story.ledger.write(lambda tx: approvals.decisions_look_again(tx, limit=9)) == 1
    assert await story.ledger.write(lambda tx: approvals.decisions_look_again(tx, limit=9)) == 0
    assert await story.ledger.write(lambda tx: reports.look_again(tx, limit=9)) == 0, "compiled"
