"""What is in doubt is looked for; what a person may have sent again; and whose word counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from broadcaster.aftercare import Errand
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import Tx, attempts, errands, posts
from broadcaster.ledger.attempts import Look, Opened, Wanted
from broadcaster.ledger.errands import Room
from broadcaster.ledger.leases import Lease, LeaseLost
from broadcaster.ledger.posts import Kept
from broadcaster.orders import SubmitRevision
from broadcaster.outcome import LOOKS, Choice, Next
from broadcaster.settling import choose
from streams import aftercare
from streams.aftercare import Done
from streams.sweep import sweep
from tests import story as story_of
from tests.broadcaster.ledger.test_posts import (
    DEADLINE,
    POSTED,
    RECEIPT,
    attempted,
    change,
    closed,
    kept,
    leased,
    one_post,
    waiting,
)
from tests.story import HOOK, PAGE, Story


async def in_doubt(story: Story, post: Kept, lease: Lease, *, looks: bool = True) -> None:
    """Its only try ends without an answer. `looks`: whether it is looked for then."""
    opened = await attempted(story, post, lease)
    look = story.clock.at + LOOKS[0] if looks else None
    await closed(story, opened, lease, Next(PostState.IN_DOUBT, look, "No answer."), "InDoubt")


async def begun(story: Story, post: Kept, lease: Lease) -> Look:
    """A look for it."""
    story.clock.move(seconds=2)
    wanted = Wanted(post.id, lease, DEADLINE, PAGE)
    [look] = await story.ledger.write(lambda tx: attempts.to_look_for(tx, [wanted]))
    return look


async def found_out(
    story: Story, look: Look, then: Next, receipt: Receipt | None = None
) -> bool | LeaseLost:
    return await story.ledger.write(lambda tx: attempts.found_out(tx, look, then, receipt))


async def chosen(story: Story, post: Kept, choice: Choice = Choice.SEND_AGAIN) -> None:
    now = await kept(story, post)
    await story.ledger.write(lambda tx: choose(tx, post.id, now.attempts, choice, story.pio))


async def refused(story: Story, post: Kept, choice: Choice = Choice.SEND_AGAIN) -> str:
    """With which code it cannot be chosen."""
    with pytest.raises(Refusal) as said:
        await chosen(story, post, choice)
    assert said.value.kind is Kind.CONFLICT and said.value.do
    return said.value.code


# --- Looks ------------------------------------------------------------------------------------


async def test_a_look_knows_when_it_began_and_nobody_else_begins_one(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    await in_doubt(story, post, lease)
    wanted = [Wanted(post.id, lease, DEADLINE, PAGE)]
    assert await story.ledger.write(lambda tx: attempts.to_look_for(tx, wanted)) == [], "not due"
    look = await begun(story, post, lease)
    assert (look.opened.post.id, look.lease, look.began) == (post.id, lease, story.clock.at)
    assert await story.ledger.write(lambda tx: attempts.to_look_for(tx, wanted)) == []
    assert (await kept(story, post)).next_look == story.clock.at + DEADLINE


async def test_who_lost_the_channel_neither_begins_nor_ends_a_look(story: Story) -> None:
    post, old = await one_post(story), await leased(story)
    await in_doubt(story, post, old)
    look = await begun(story, post, old)
    story.clock.move(seconds=31)
    new = await leased(story, "worker-2")
    before = await kept(story, post)
    wanted = [Wanted(post.id, old, DEADLINE, PAGE)]
    assert await story.ledger.write(lambda tx: attempts.to_look_for(tx, wanted)) == []
    unseen = Next(PostState.WAITING, story.clock.at, "Not there.", surely_not_there=True)
    assert isinstance(await found_out(story, look, unseen), LeaseLost)
    assert await kept(story, post) == before
    assert await begun(story, post, new)
    assert await found_out(story, look, POSTED, RECEIPT) is True, "proof is proof"
    assert (await kept(story, post)).state is PostState.POSTED


# --- A person's choice ------------------------------------------------------------------------


async def test_what_is_still_looked_for_is_not_sent_again(story: Story) -> None:
    """It may not be to be seen yet, and would be there twice."""
    post, lease = await one_post(story), await leased(story)
    await in_doubt(story, post, lease)
    assert await refused(story, post) == "post_looked_for"
    await chosen(story, post, Choice.THERE)
    await story.ledger.write(sweep)
    assert (await kept(story, post)).state is PostState.POSTED


async def found_before_it_is_sent(story: Story, post: Kept, lease: Lease) -> None:
    """It waits to be sent again."""
    assert (await kept(story, post)).state is PostState.WAITING


async def found_while_it_is_sent(story: Story, post: Kept, lease: Lease) -> None:
    assert isinstance(await attempted(story, post, lease), Opened)


async def chosen_amid_a_look(story: Story) -> tuple[Kept, Lease, Look]:
    """A post in doubt that told nothing for so long that somebody had it sent again."""
    post, lease = await one_post(story), await leased(story)
    await in_doubt(story, post, lease)
    look = await begun(story, post, lease)
    await change(story, f"UPDATE posts SET looks = {len(LOOKS)} WHERE id = :id", post.id)
    await chosen(story, post)
    await story.ledger.write(sweep)
    return post, lease, look


@pytest.mark.parametrize("meanwhile", [found_before_it_is_sent, found_while_it_is_sent])
async def test_what_is_found_stands_above_what_was_chosen(story: Story, meanwhile: object) -> None:
    """The channel gave no answer for so long that a person was asked, and then it did."""
    post, lease, look = await chosen_amid_a_look(story)
    await meanwhile(story, post, lease)  # type: ignore[operator]
    assert await found_out(story, look, POSTED, RECEIPT) is True
    now = await kept(story, post)
    assert (now.state, now.remote_id, now.next_look) == (PostState.POSTED, RECEIPT.remote_id, None)
    tries = await story.ledger.read(lambda tx: attempts.of_post(tx, post.id))
    assert all(each.ended_at for each in tries)
    assert await found_out(story, look, POSTED, RECEIPT) is False, "it is known"
    again = Opened(now, now.attempts, look.opened.revision, look.opened.digest, "")
    assert not await closed(story, again, lease, waiting(story), "TryLater")


async def test_what_a_look_did_not_see_is_no_news_once_somebody_chose(story: Story) -> None:
    post, _, look = await chosen_amid_a_look(story)
    doubt = Next(PostState.IN_DOUBT, None, "?")
    assert await found_out(story, look, doubt) is False
    assert (await kept(story, post)).state is PostState.WAITING


# --- What a later update has gone before ------------------------------------------------------


async def is_refused(story: Story, post: Kept, lease: Lease) -> None:
    opened = await attempted(story, post, lease)
    await closed(story, opened, lease, Next(PostState.REFUSED, why="No."), "Refused")


async def is_held(story: Story, post: Kept, lease: Lease) -> None:
    await change(story, "UPDATE posts SET state = 'held', next_look = NULL WHERE id = :id", post.id)


async def later(story: Story, post: Kept, replaces: tuple[str, ...] = ()) -> Kept:
    story.clock.move(seconds=1)
    _, planned = await story.released(post.incident_id, "Newer.", replaces=replaces)
    return planned[PAGE.name]


@pytest.mark.parametrize("stands", [is_refused, is_held])
async def test_what_a_later_update_was_tried_after_is_not_sent_again(
    story: Story, stands: object
) -> None:
    post, lease = await one_post(story), await leased(story)
    await stands(story, post, lease)  # type: ignore[operator]
    newer = await later(story, post)
    await chosen(story, post)  # the newer one was not tried yet
    assert isinstance(await attempted(story, newer, lease), Opened)
    before = await kept(story, post)
    await story.ledger.write(sweep)
    assert await kept(story, post) == before, "and was, before this was carried out"
    assert await refused(story, post) == "post_superseded"
    await change(story, "UPDATE posts SET state = 'waiting' WHERE id = :id", post.id)
    instead = await attempted(story, post, lease)
    assert isinstance(instead, Next) and instead.state is PostState.REPLACED


async def test_what_was_refused_and_is_replaced_is_not_sent_again(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    await is_refused(story, post, lease)
    await later(story, post, replaces=(post.release_id,))
    assert (await kept(story, post)).state is PostState.REFUSED
    assert await refused(story, post) == "post_superseded"


@pytest.mark.parametrize("replaces", [True, False])
async def test_what_was_refused_and_is_corrected_elsewhere_is_not_sent_again(
    story: Story, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    """Nothing would put its words right there, whether the correction says that it replaces it."""
    incident = await story.reported()
    release, planned = await story.released(incident)
    page, hook = await leased(story), await leased(story, channel=HOOK.name)
    await closed(story, await attempted(story, planned[PAGE.name], page), page, POSTED, "receipt",
                 RECEIPT)  # fmt: skip
    await is_refused(story, planned[HOOK.name], hook)
    story.clock.move(seconds=1)
    if not replaces:
        order = partial(SubmitRevision.model_copy, update={"replaces": ()})
        submit = story_of.submit_revision
        monkeypatch.setattr(
            story_of, "submit_revision", lambda tx, typed, *given: submit(tx, order(typed), *given)
        )
    _, right = await story.gated(await story.corrected(incident, release.id, [PAGE]))
    assert right.keys() == {PAGE.name}
    assert await refused(story, planned[HOOK.name]) == "post_superseded"


async def test_what_is_refused_after_it_was_corrected_is_not_sent_again(story: Story) -> None:
    """The correction ended, since there was nothing to correct."""
    incident = await story.reported()
    release, planned = await story.released(incident, channels=[PAGE])
    post, lease = planned[PAGE.name], await leased(story)
    opened = await attempted(story, post, lease)
    story.clock.move(seconds=1)
    _, right = await story.gated(await story.corrected(incident, release.id, [PAGE]))
    await closed(story, opened, lease, Next(PostState.REFUSED, why="No."), "Refused")
    await change(story, "UPDATE posts SET replaced_by = NULL WHERE id = :id", post.id)
    await chosen(story, post)
    instead = await attempted(story, right[PAGE.name], lease)
    assert isinstance(instead, Next) and instead.state is PostState.STOPPED
    await story.ledger.write(lambda tx: posts.turn(tx, [posts.Turn(right[PAGE.name], instead)]))
    await story.ledger.write(sweep)
    assert (await kept(story, post)).state is PostState.REFUSED
    assert await refused(story, post) == "post_superseded"


async def test_of_what_is_in_doubt_a_person_says_that_it_is_not_there(story: Story) -> None:
    """It ends with that, where a later update says what stands."""
    post, lease = await one_post(story), await leased(story)
    await in_doubt(story, post, lease, looks=False)
    assert await refused(story, post, Choice.NOT_THERE) == "post_moved", "it may be sent again"
    assert isinstance(await attempted(story, await later(story, post), lease), Opened)
    assert await refused(story, post) == "post_superseded"
    await chosen(story, post, Choice.NOT_THERE)
    await story.ledger.write(sweep)
    now = await kept(story, post)
    assert now.state is PostState.REPLACED and now.not_there_at
    assert now.why and now.why.startswith(f"{story.pio.name} has looked, and it is not there.")


# --- Errands ----------------------------------------------------------------------------------


async def owed(story: Story) -> tuple[Kept, Lease]:
    """A post that is there, and is to be read back."""
    post, lease = await one_post(story), await leased(story)
    await closed(story, await attempted(story, post, lease), lease, POSTED, "receipt", RECEIPT)
    await story.ledger.write(lambda tx: errands.owe(tx, post.id, Errand.READ_BACK))
    return post, lease


async def due(story: Story, lease: Lease) -> list[errands.Due]:
    room = Room(PAGE.name, lease, 8, DEADLINE)
    return (await story.ledger.write(lambda tx: errands.due(tx, [room])))[0]


async def test_who_lost_the_channel_neither_begins_nor_ends_an_errand(story: Story) -> None:
    post, old = await owed(story)
    [errand] = await due(story, old)
    assert errand.lease == old and await due(story, old) == [], "nobody else does it meanwhile"
    story.clock.move(seconds=31)
    new = await leased(story, "worker-2")
    assert await due(story, old) == []
    [before] = await story.ledger.read(lambda tx: errands.of_posts(tx, [post.id]))
    [said] = await story.ledger.write(lambda tx: aftercare.note(tx, [Done(errand, None)]))
    assert isinstance(said, LeaseLost)
    assert await story.ledger.read(lambda tx: errands.of_posts(tx, [post.id])) == [before]
    [again] = await due(story, new)
    assert again == replace(errand, lease=new)


async def test_an_errand_that_ended_meanwhile_does_not_begin(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL another step may commit once it was read: it would be due for ever."""
    post, lease = await owed(story)
    begin = errands._begin

    def ends_before(tx: Tx, post_id: str, errand: str, lasts: timedelta) -> bool:
        errands.end(tx, post_id)
        return begin(tx, post_id, errand, lasts)

    monkeypatch.setattr(errands, "_begin", ends_before)
    assert await due(story, lease) == []
    [errand] = await story.ledger.read(lambda tx: errands.of_posts(tx, [post.id]))
    assert errand.due_at is None
