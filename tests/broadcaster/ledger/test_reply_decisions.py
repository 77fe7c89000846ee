"""A channel on which the public can answer is off until the Chief decides otherwise (389.5.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broadcaster.channel import Replies
from broadcaster.delivery import PostState
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, attempts, people, reply_decisions
from broadcaster.ledger.attempts import Ended, Opened, Wanted
from broadcaster.roster import Person, Role
from broadcaster.settling import LONGEST_REPLIES, allow_replies, forbid_replies
from tests.broadcaster.ledger.test_posts import leased
from tests.story import HOOK, Story

OPEN = HOOK.model_copy(update={"replies": Replies.OPEN})
DAY = timedelta(days=1)


async def the_chief(story: Story) -> Person:
    return await story.ledger.write(lambda tx: people.add(tx, "Chief", [Role.CHIEF], actor="test"))


async def allow(story: Story, by: Person, *, lasts: timedelta = DAY, reason: str = "Why.") -> None:
    await story.ledger.write(lambda tx: allow_replies(
        tx, OPEN.name, reason=reason, until=tx.now + lasts, person=by, actor="test"
    ))  # fmt: skip


async def test_nothing_is_written_for_it_before_the_chief_has_decided(story: Story) -> None:
    incident, chief = await story.reported(), await the_chief(story)
    with pytest.raises(Refusal) as refused:
        await story.submitted(incident, channels=[OPEN])
    assert (refused.value.code, refused.value.field) == ("channel_off", "channels")
    with pytest.raises(Refusal) as refused:
        await allow(story, story.pio)
    assert refused.value.code == "not_your_act"
    await allow(story, chief)
    await story.submitted(incident, channels=[OPEN])


@pytest.mark.parametrize("by_time", [True, False])
async def test_what_was_approved_is_held_once_that_is_over(story: Story, by_time: bool) -> None:
    """The attempt, which is the point of no return, asks again."""
    chief = await the_chief(story)
    await allow(story, chief, lasts=timedelta(hours=1))
    _, planned = await story.released(await story.reported(), channels=[OPEN])
    lease = await leased(story, channel=OPEN.name)
    wanted = Wanted(planned[OPEN.name].id, lease, timedelta(seconds=15), OPEN)
    if by_time:
        story.clock.move(hours=1)
        wanted = replace(wanted, lease=await leased(story, channel=OPEN.name))
    else:
        await story.ledger.write(
            lambda tx: forbid_replies(tx, OPEN.name, person=chief, actor="test")
        )
    outcome = (await story.ledger.write(lambda tx: attempts.open_(tx, [wanted])))[wanted.post_id]
    assert isinstance(outcome, Ended) and outcome.then.state is PostState.HELD
    assert outcome.then.why and "389.5.1" in outcome.then.why


async def test_what_puts_words_right_is_written_all_the_same(story: Story) -> None:
    """It must go wherever they went; where the channel is off, the attempt holds it there alone."""
    incident, chief = await story.reported(), await the_chief(story)
    await allow(story, chief)
    release, _ = await story.released(incident, channels=[OPEN])
    await story.ledger.write(lambda tx: forbid_replies(tx, OPEN.name, person=chief, actor="test"))
    story.clock.move(seconds=1)
    _, planned = await story.gated(await story.corrected(incident, release.id, [OPEN]))
    assert planned.keys() == {OPEN.name}


async def test_one_decision_stands_at_a_time_and_ends(story: Story) -> None:
    chief = await the_chief(story)
    for lasts, reason, code in [
        (timedelta(), "Why.", "until_invalid"),
        (LONGEST_REPLIES + DAY, "Why.", "until_invalid"),
        (DAY, " ", "reason_missing"),
    ]:
        with pytest.raises(Refusal) as refused:
            await allow(story, chief, lasts=lasts, reason=reason)
        assert refused.value.code == code
    for reason in ("First.", "Second."):
        await allow(story, chief, reason=reason)
    standing = await story.ledger.read(reply_decisions.standing)
    assert standing[OPEN.name].reason == "Second."
    await story.ledger.write(lambda tx: forbid_replies(tx, OPEN.name, person=chief, actor="test"))
    with pytest.raises(Refusal) as refused:
        await story.ledger.write(
            lambda tx: forbid_replies(tx, OPEN.name, person=chief, actor="test")
        )
    assert refused.value.code == "no_reply_decision"


async def test_a_channel_that_closes_them_needs_no_decision(story: Story) -> None:
    def off(tx: Tx) -> set[str]:
        return reply_decisions.off(tx, [HOOK])

    assert await story.ledger.read(off) == set()
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    lease = await leased(story, channel=HOOK.name)
    wanted = Wanted(planned[HOOK.name].id, lease, timedelta(seconds=15), HOOK)
    outcome = (await story.ledger.write(lambda tx: attempts.open_(tx, [wanted])))[wanted.post_id]
    assert isinstance(outcome, Opened)
