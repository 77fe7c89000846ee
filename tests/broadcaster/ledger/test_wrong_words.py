"""Wrong words that stay up: what keeps them there is told, and who may take back ends a pause."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broadcaster.aftercare import Errand, Found, Then
from broadcaster.channel import AnyChannel, Mending
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, board, channels, errands, incidents, posts, wrong_words
from broadcaster.ledger.posts import Kept, Turn
from broadcaster.ledger.wrong_words import StillOut
from broadcaster.outcome import Choice, Next
from broadcaster.settling import choose, let_go_on, pause_channel, see_alarm
from streams.sweep import sweep
from tests.story import HOOK, Story

POSTED = Next(PostState.POSTED)


async def corrected(story: Story) -> tuple[str, Kept, Kept]:
    """Wrong words that are posted, and the correction that is to go there."""
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [HOOK])
    wrong = planned[HOOK.name]
    await turned(story, wrong, POSTED)
    story.clock.move(seconds=1)
    _, planned = await story.gated(await story.corrected(incident, release.id, [HOOK]))
    await story.ledger.write(lambda tx: channels.know(tx, [HOOK.name]))
    return incident, wrong, planned[HOOK.name]


async def turned(story: Story, post: Kept, then: Next) -> None:
    receipt = Receipt(remote_id=f"r-{post.id}")
    await story.ledger.write(lambda tx: posts.turn(tx, [Turn(post, then, receipt)]))


async def paused(story: Story, by: str | None = None) -> None:
    if by is None:
        await story.ledger.write(lambda tx: pause_channel(tx, HOOK.name, "It is ill.", story.pio))
    else:
        await story.ledger.write(lambda tx: channels.pause(tx, HOOK.name, by, "401"))


async def out(story: Story, incident: str) -> list[StillOut]:
    return await story.ledger.read(lambda tx: wrong_words.still_out(tx, incident))


async def on_the_board(story: Story, incident: str) -> list[StillOut]:
    def look(tx: Tx) -> list[StillOut]:
        kept = incidents.get(tx, incident)
        assert kept is not None
        return board.standings(tx, [kept])[0].kept_up

    return await story.ledger.read(look)


async def go_on(story: Story, post: Kept, role: str = "commander") -> None:
    person = getattr(story, role)
    await story.ledger.write(lambda tx: let_go_on(tx, post.id, person))


async def test_a_pause_that_keeps_a_correction_waiting_is_told_and_the_commander_ends_it(
    story: Story,
) -> None:
    incident, wrong, right = await corrected(story)
    assert await out(story, incident) == [], "it is on its way"
    await paused(story)
    [each] = await out(story, incident)
    assert (each.post.id, each.number, each.right) == (wrong.id, 1, 2)
    assert each.waits and each.waits.id == right.id and each.errand is None
    assert each.paused and each.paused.paused_by == story.pio.id and each.paused_by_a_person
    assert [each.post.id for each in await on_the_board(story, incident)] == [wrong.id]
    await go_on(story, wrong)
    assert await on_the_board(story, incident) == []
    assert await out(story, incident) == []
    fare = (await story.ledger.read(lambda tx: channels.several(tx)))[HOOK.name]
    assert fare.paused_by is None


async def test_a_pause_that_keeps_wrong_words_from_being_taken_down_is_told(story: Story) -> None:
    incident, wrong, right = await corrected(story)
    await turned(story, right, POSTED)
    await story.ledger.write(lambda tx: errands.owe(tx, wrong.id, Errand.RETRACT))
    [each] = await out(story, incident)
    assert each.errand and each.errand.takes_down and each.paused is None
    await paused(story)
    [each] = await out(story, incident)
    assert each.paused and each.waits is None
    assert [each.post.id for each in await on_the_board(story, incident)] == [wrong.id]
    await go_on(story, wrong)
    await turned(story, wrong, Next(PostState.RETRACTED))
    assert await out(story, incident) == []


async def test_where_the_credential_is_dead_nobody_lets_it_go_on_from_there(story: Story) -> None:
    """Each further try would only be counted against us."""
    incident, wrong, _ = await corrected(story)
    await paused(story, by=channels.ITSELF)
    [each] = await out(story, incident)
    assert each.paused and not each.paused_by_a_person
    with pytest.raises(Refusal) as refused:
        await go_on(story, wrong)
    assert refused.value.code == "credential_dead"


async def test_where_no_wrong_words_wait_nobody_lets_a_channel_go_on_from_there(
    story: Story,
) -> None:
    _, planned = await story.released(await story.reported(), "Right words.", [HOOK])
    await story.ledger.write(lambda tx: channels.know(tx, [HOOK.name]))
    await paused(story)
    with pytest.raises(Refusal) as refused:
        await go_on(story, planned[HOOK.name])
    assert refused.value.code == "nothing_paused"


async def test_what_was_to_correct_a_correction_waits_for_both(story: Story) -> None:
    incident, _, right = await corrected(story)
    await turned(story, right, POSTED)
    story.clock.move(seconds=1)
    await story.gated(await story.corrected(incident, right.release_id, [HOOK]))
    await paused(story)
    several = await out(story, incident)
    assert [(each.number, each.right) for each in several] == [(2, 3), (1, 3)]


async def test_each_alarm_is_seen_by_itself(story: Story) -> None:
    _, _, right = await corrected(story)
    await turned(story, right, POSTED)

    def found(tx: Tx, then: Then) -> errands.Kept:
        _, kept = errands.locked(tx, right.id, Errand.READ_BACK) or (None, None)
        assert kept is not None
        errands.done(tx, kept, then)
        [now] = errands.of_posts(tx, [right.id])
        return now

    await story.ledger.write(lambda tx: errands.owe(tx, right.id, Errand.READ_BACK))
    for number in (1, 2):
        due = story.clock.at + timedelta(hours=number)
        then = Then(due, Found.CHANGED, "Look.", read=f"d{number}", alarms=True)
        now = await story.ledger.write(lambda tx, then=then: found(tx, then))
        assert (now.alarm, now.alarms, now.seen_by) == (number, True, None)
        assert now.owed.read == f"d{number}"
        await story.ledger.write(
            lambda tx, at=number: see_alarm(tx, right.id, Errand.READ_BACK, at, story.pio)
        )
        [now] = await story.ledger.read(lambda tx: errands.of_posts(tx, [right.id]))
        assert (now.alarms, now.seen_by, now.seen_at) == (False, story.pio.id, story.clock.at)


@pytest.mark.parametrize("state", [PostState.HELD, PostState.REFUSED, PostState.EXPIRED])
async def test_what_needs_somebody_before_it_puts_them_right_is_told(
    story: Story, state: PostState
) -> None:
    incident, wrong, right = await corrected(story)
    await turned(story, right, Next(state, why="Why."))
    [each] = await out(story, incident)
    assert each.post.id == wrong.id and each.waits and each.waits.why == "Why."
    story.clock.move(seconds=1)
    again = await story.corrected(incident, wrong.release_id, [HOOK])
    _, planned = await story.gated(again)
    await turned(story, planned[HOOK.name], POSTED)
    assert await out(story, incident) == [], "another one has put them right"


async def test_wrong_words_that_were_read_again_are_told_until_they_are_put_right(
    story: Story,
) -> None:
    incident, wrong, right = await corrected(story)
    await turned(story, wrong, Next(PostState.RETRACTED))
    await turned(story, right, POSTED)
    await story.ledger.write(lambda tx: errands.owe(tx, right.id, Errand.READ_BACK))

    def read(tx: Tx, found: Found) -> None:
        _, kept = errands.locked(tx, right.id, Errand.READ_BACK) or (None, None)
        assert kept is not None
        errands.done(tx, kept, Then(tx.now, found, "Look.", alarms=found.alarms))

    await story.ledger.write(lambda tx: read(tx, Found.WRONG))
    await story.ledger.write(lambda tx: see_alarm(tx, right.id, Errand.READ_BACK, 1, story.pio))
    [each] = await out(story, incident)
    assert (each.post.id, each.number, each.right) == (right.id, 1, 2)
    assert each.again and not each.again.alarms, "seen, and still so"
    await story.ledger.write(lambda tx: read(tx, Found.AS_APPROVED))
    assert await out(story, incident) == []


@pytest.mark.parametrize(
    ("known", "due"),
    [
        ([HOOK.model_copy(update={"mending": Mending.DELETE})], True),
        ([], False),  # in the settings no more: by hand
        ([HOOK], None),  # nothing of it can be taken down there
    ],
)
async def test_once_somebody_has_seen_the_right_words_the_wrong_ones_are_to_go(
    story: Story, known: list[AnyChannel], due: bool | None
) -> None:
    _, wrong, right = await corrected(story)
    await turned(story, right, Next(PostState.IN_DOUBT))
    await story.ledger.write(lambda tx: choose(tx, right.id, 0, Choice.THERE, story.pio))
    await story.ledger.write(lambda tx: sweep(tx, known))
    several = await story.ledger.read(lambda tx: errands.of_posts(tx, [wrong.id]))
    assert [each.due_at is not None for each in several] == ([] if due is None else [due])
    assert [each.alarms for each in several] == ([] if due is None else [not due])


async def test_what_somebody_has_taken_down_is_down(story: Story) -> None:
    incident, wrong, right = await corrected(story)
    await turned(story, right, POSTED)
    with pytest.raises(Refusal) as refused:
        await story.ledger.write(lambda tx: choose(tx, wrong.id, 0, Choice.DOWN, story.pio))
    assert refused.value.code == "post_moved", "nothing is owed to it"
    await story.ledger.write(lambda tx: errands.owe(tx, wrong.id, Errand.RETRACT))
    await story.ledger.write(lambda tx: choose(tx, wrong.id, 0, Choice.DOWN, story.pio))
    await story.ledger.write(sweep)
    now = await story.ledger.read(lambda tx: posts.get(tx, wrong.id))
    assert now is not None and now.state is PostState.RETRACTED
    assert await out(story, incident) == []
