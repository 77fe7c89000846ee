"""The attempt is the point of no return: what it lets through, and what it keeps back."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from broadcaster.approval import AnyRelease
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import Refusal
from broadcaster.exercise import end_exercise
from broadcaster.ledger import (
    attempts,
    leases,
    mails,
    people,
    posts,
    publications,
    releases,
)
from broadcaster.ledger.attempts import Closing, Ended, Look, Opened, Wanted
from broadcaster.ledger.leases import Lease, LeaseLost
from broadcaster.ledger.posts import Kept
from broadcaster.orders import stop_release
from broadcaster.outcome import Next
from broadcaster.roster import Role
from streams.gate import judge_decision
from streams.sweep import sweep
from tests.story import EXERCISE, HOOK, INCIDENT_URL, PAGE, Story, a_story

DEADLINE = timedelta(seconds=15)
BY_NAME = {each.name: each for each in (PAGE, HOOK)}
LASTS = timedelta(seconds=30)
POSTED = Next(PostState.POSTED)
RECEIPT = Receipt(remote_id="r1", url="http://x/1")


async def leased(story: Story, holder: str = "worker-1", channel: str = PAGE.name) -> Lease:
    name = f"channel:{channel}"
    return (await story.ledger.write(lambda tx: leases.take(tx, [name], holder, LASTS)))[name]


async def attempted(story: Story, post: Kept, lease: Lease) -> Opened | Next | None:
    wanted = Wanted(post.id, lease, DEADLINE, BY_NAME[post.channel])
    outcome = (await story.ledger.write(lambda tx: attempts.open_(tx, [wanted]))).get(post.id)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome.then if isinstance(outcome, Ended) else outcome


async def closed(
    story: Story, opened: Opened | Next | None, lease: Lease, then: Next, outcome: str,
    receipt: Receipt | None = None,
) -> bool:  # fmt: skip
    assert isinstance(opened, Opened)
    closing = Closing(opened, lease, outcome, then, receipt)
    [news] = await story.ledger.write(lambda tx: attempts.close(tx, [closing]))
    if isinstance(news, Exception):
        raise news
    return news


async def kept(story: Story, post: Kept) -> Kept:
    now = await story.ledger.read(lambda tx: posts.get(tx, post.id))
    assert now is not None
    return now


async def due(story: Story, channel: str = PAGE.name) -> list[str]:
    found = await story.ledger.read(lambda tx: posts.first_due(tx, [channel]))
    return [post.id for post in found.to_try]


async def one_post(story: Story, **fields: Any) -> Kept:
    incident = await story.reported(**fields)
    return (await story.released(incident))[1][PAGE.name]


def waiting(story: Story, seconds: float = 60) -> Next:
    return Next(PostState.WAITING, story.clock.at + timedelta(seconds=seconds), "Away.")


# --- The attempt ------------------------------------------------------------------------------


async def test_an_attempt_is_noted_before_anything_is_sent(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    opened = await attempted(story, post, lease)
    assert isinstance(opened, Opened)
    assert opened.number == 1 and opened.revision.rendering(PAGE.name).text
    [noted] = await story.ledger.read(lambda tx: attempts.of_post(tx, post.id))
    assert noted.send_before == story.clock.at + DEADLINE and noted.ended_at is None
    now = await kept(story, post)
    assert (now.state, now.attempts, now.next_look) == (PostState.SENDING, 1, noted.send_before)


async def test_a_post_has_at_most_one_open_attempt(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    opened = await attempted(story, post, lease)
    assert await attempted(story, post, lease) is None
    await closed(story, opened, lease, POSTED, "receipt", RECEIPT)
    assert await attempted(story, post, lease) is None
    now = await kept(story, post)
    assert (now.state, now.url, now.remote_id) == (PostState.POSTED, "http://x/1", "r1")
    assert await due(story) == []


async def is_stopped(story: Story, post: Kept) -> None:
    for _ in range(2):  # a second tap does nothing
        await story.ledger.write(lambda tx: stop_release(tx, post.release_id, story.pio))


async def is_replaced(story: Story, post: Kept) -> None:
    await story.released(post.incident_id, "Newer.", replaces=(post.release_id,))


async def has_run_out(story: Story, post: Kept) -> None:
    story.clock.move(hours=24)


async def is_tampered_with(story: Story, post: Kept) -> None:
    await change(
        story,
        "UPDATE revisions SET body = replace(body, 'stay inside', 'run outside') WHERE id = "
        "(SELECT revision_id FROM releases WHERE id = :id)",
        post.release_id,
    )


async def has_its_release_tampered_with(story: Story, post: Kept) -> None:
    await change(
        story, "UPDATE releases SET body = replace(body, '\"digest\":\"', '\"digest\":\"0') "
        "WHERE id = :id", post.release_id,
    )  # fmt: skip


async def has_moved(story: Story, post: Kept) -> None:
    """And compile has not said so of its posts."""
    await change(
        story,
        "UPDATE incidents SET body = replace(body, '1200 block of Oak St', 'Elm St') "
        "WHERE id = :id",
        post.incident_id,
    )


async def change(story: Story, statement: str, id_: str) -> None:
    """What no part of the product does: somebody at the file itself."""
    run = text(statement).bindparams(id=id_)
    assert (await story.ledger.write(lambda tx: tx.connection.execute(run).rowcount)) == 1


Happens = Callable[[Story, Kept], Awaitable[None]]
HAPPENS: list[tuple[Happens, PostState]] = [
    (is_stopped, PostState.STOPPED),
    (is_replaced, PostState.REPLACED),
    (has_run_out, PostState.EXPIRED),
    (is_tampered_with, PostState.HELD),
    (has_its_release_tampered_with, PostState.HELD),
    (has_moved, PostState.HELD),
]


@pytest.mark.parametrize(("happens", "state"), HAPPENS)
async def test_what_keeps_a_post_back(story: Story, happens: Happens, state: PostState) -> None:
    post = await one_post(story)
    await happens(story, post)
    instead = await attempted(story, post, await leased(story))
    assert isinstance(instead, Next) and instead.state is state
    now = await kept(story, post)
    assert (now.state, now.attempts, now.next_look) == (state, 0, None)
    assert now.why and now.why == instead.why
    assert await story.ledger.read(lambda tx: attempts.of_post(tx, post.id)) == []


@pytest.mark.parametrize("happens", [row[0] for row in HAPPENS])
async def test_what_may_have_arrived_stays_in_doubt(story: Story, happens: Happens) -> None:
    """A page's post whose try was in doubt waits to be tried again, and then cannot be."""
    post, lease = await one_post(story), await leased(story)
    await closed(story, await attempted(story, post, lease), lease, waiting(story), "InDoubt")
    await happens(story, post)
    instead = await attempted(story, post, await leased(story))
    assert isinstance(instead, Next) and instead.state is PostState.IN_DOUBT
    assert "may have arrived" in str(instead.why)


@pytest.mark.parametrize(
    ("fates", "out"), [(("taken", "unsent"), True), (("in doubt",), True), (("told",), True),
                       (("refused", "unsent"), False), ((), False)],
)  # fmt: skip
async def test_mail_that_some_have_does_not_end_as_if_nobody_had_it(
    story: Story, fates: tuple[str, ...], out: bool
) -> None:
    post, lease = await one_post(story), await leased(story)
    await closed(story, await attempted(story, post, lease), lease, waiting(story), "TryLater")
    noted = {str(number): fate for number, fate in enumerate(fates)}
    await story.ledger.write(lambda tx: mails.note(tx, post.id, noted))
    await is_stopped(story, post)
    assert (await kept(story, post)).state is PostState.WAITING
    instead = await attempted(story, post, await leased(story))
    assert isinstance(instead, Next)
    assert instead.state is (PostState.IN_DOUBT if out else PostState.STOPPED)


async def test_what_became_of_a_recipient_is_what_was_noted_last(story: Story) -> None:
    post, another = [await one_post(story, number=number) for number in ("1", "2")]
    steps = [{"a": "in doubt", "b": "in doubt"}, {"a": "taken", "b": "unsent", "c": "in doubt"}, {}]
    for step in steps:
        await story.ledger.write(lambda tx, step=step: mails.note(tx, post.id, step))
    look = story.ledger.read
    assert await look(lambda tx: mails.of_post(tx, post.id)) == steps[1]
    assert await look(lambda tx: mails.of_post(tx, another.id)) == {}


async def test_a_post_that_nobody_knows(story: Story) -> None:
    lease = await leased(story)
    unknown = replace(await one_post(story), id="unknown")
    assert await attempted(story, unknown, lease) is None


@pytest.mark.parametrize("state", [s for s in PostState if s not in ("planned", "waiting")])
async def test_no_other_state_is_tried(story: Story, state: PostState) -> None:
    post, lease = await one_post(story), await leased(story)
    await change(story, f"UPDATE posts SET state = '{state}' WHERE id = :id", post.id)
    assert await attempted(story, post, lease) is None
    assert (await kept(story, post)).state is state


# --- What comes late --------------------------------------------------------------------------


async def test_an_attempt_that_nobody_closed_is_found_after_its_time(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    await attempted(story, post, lease)
    look = lambda tx: attempts.left_open(tx, [PAGE.name])  # noqa: E731
    assert await story.ledger.read(look) == []
    story.clock.move(seconds=DEADLINE.total_seconds())
    [reopened] = await story.ledger.read(look)
    assert (reopened.post.id, reopened.number) == (post.id, 1)
    in_doubt = Next(PostState.IN_DOUBT, why="Who knows.")
    assert await closed(story, reopened, lease, in_doubt, "InDoubt")
    assert await story.ledger.read(look) == []


async def test_proof_stands_above_doubt_however_late(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    opened = await attempted(story, post, lease)
    assert await closed(story, opened, lease, Next(PostState.IN_DOUBT, why="?"), "InDoubt")
    assert await closed(story, opened, lease, POSTED, "receipt", RECEIPT)
    assert (await kept(story, post)).state is PostState.POSTED


async def test_proof_that_is_noted_again_is_no_news(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    opened = await attempted(story, post, lease)
    assert await closed(story, opened, lease, POSTED, "receipt", RECEIPT)
    assert not await closed(story, opened, lease, POSTED, "receipt", RECEIPT)
    assert (await kept(story, post)).state is PostState.POSTED


async def test_proof_of_what_was_taken_down_since_does_not_bring_it_back(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    opened = await attempted(story, post, lease)
    down = [posts.Turn(opened.post, Next(PostState.RETRACTED))]
    await story.ledger.write(lambda tx: posts.turn(tx, down))
    assert not await closed(story, opened, lease, POSTED, "receipt", RECEIPT)
    assert (await kept(story, post)).state is PostState.RETRACTED


async def test_a_late_answer_without_proof_changes_nothing(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    first = await attempted(story, post, lease)
    await closed(story, first, lease, waiting(story), "InDoubt")
    second = await attempted(story, post, lease)
    assert not await closed(story, first, lease, waiting(story), "TryLater")
    assert (await kept(story, post)).state is PostState.SENDING
    await closed(story, first, lease, POSTED, "receipt", RECEIPT)
    assert not await closed(story, second, lease, waiting(story), "TryLater")
    assert (await kept(story, post)).state is PostState.POSTED


# --- Order ------------------------------------------------------------------------------------


async def test_posts_of_an_incident_leave_in_order(story: Story) -> None:
    incident, other = await story.reported(), await story.reported("2026-2")
    first = (await story.released(incident, "First."))[1][PAGE.name]
    story.clock.move(seconds=1)
    second = (await story.released(incident, "Second."))[1][PAGE.name]
    story.clock.move(seconds=1)
    elsewhere = (await story.released(other, "Elsewhere."))[1][PAGE.name]
    lease = await leased(story)
    assert await due(story) == [first.id, elsewhere.id]
    opened = await attempted(story, first, lease)
    assert second.id not in await due(story), "the first is being sent"
    await closed(story, opened, lease, waiting(story), "TryLater")
    found, _, next_look = vars(
        await story.ledger.read(lambda tx: posts.first_due(tx, [PAGE.name]))
    ).values()
    assert [post.id for post in found] == [elsewhere.id]
    assert next_look == story.clock.at + timedelta(seconds=60)
    story.clock.move(seconds=60)
    assert await due(story) == [first.id, elsewhere.id]
    await closed(story, await attempted(story, first, lease), lease, POSTED, "receipt", RECEIPT)
    assert await due(story) == [second.id, elsewhere.id]


@pytest.mark.parametrize("state", ["in doubt", "held", "refused", "expired", "stopped"])
async def test_what_waits_for_a_person_keeps_nothing_back(story: Story, state: str) -> None:
    first = await one_post(story)
    story.clock.move(seconds=1)
    second = (await story.released(first.incident_id, "Second."))[1][PAGE.name]
    await change(
        story, f"UPDATE posts SET state = '{state}', next_look = NULL WHERE id = :id", first.id
    )
    assert await due(story) == [second.id]


async def test_what_a_look_did_not_see_meanwhile_goes_first(story: Story) -> None:
    """It was in doubt when the later one was found to be due, and no longer when that was opened:
    a storm found them at a receiver in the wrong order."""
    first = await one_post(story)
    story.clock.move(seconds=1)
    second = (await story.released(first.incident_id, "Second."))[1][PAGE.name]
    lease = await leased(story)
    opened = await attempted(story, first, lease)
    doubt = Next(PostState.IN_DOUBT, story.clock.at + timedelta(seconds=60), "?")
    assert await closed(story, opened, lease, doubt, "InDoubt")
    [later] = (await story.ledger.read(lambda tx: posts.first_due(tx, [PAGE.name]))).to_try
    assert (later.id, later.passes) == (second.id, (first.id,))

    async def attempted_now() -> Mapping[str, object]:
        wanted = Wanted(later.id, lease, DEADLINE, PAGE, later.passes)
        return await story.ledger.write(lambda tx: attempts.open_(tx, [wanted]))

    unseen = Next(PostState.WAITING, story.clock.at, surely_not_there=True)
    assert isinstance(opened, Opened)
    look = Look(opened, lease, story.clock.at)
    assert await story.ledger.write(lambda tx: attempts.found_out(tx, look, unseen, None)) is True
    assert await attempted_now() == {}
    assert await due(story) == [first.id]
    again = await attempted(story, first, lease)
    assert await attempted_now() == {}, "it is being sent"
    assert await closed(story, again, lease, doubt, "InDoubt")
    assert isinstance((await attempted_now())[second.id], Opened), "in doubt it keeps nothing back"


async def test_only_what_a_release_says_it_replaces_is_replaced(story: Story) -> None:
    first = await one_post(story)
    story.clock.move(seconds=1)
    _, second = await story.released(first.incident_id, "Second.")
    assert await due(story) == [first.id]
    story.clock.move(seconds=1)
    _, third = await story.released(
        first.incident_id, "Third.", replaces=(second[PAGE.name].release_id,)
    )
    lease = await leased(story)
    instead = await attempted(story, second[PAGE.name], lease)
    assert isinstance(instead, Next) and instead.state is PostState.REPLACED
    assert isinstance(await attempted(story, first, lease), Opened)
    assert isinstance(await attempted(story, third[PAGE.name], lease), Opened)


@pytest.mark.parametrize("state", ["planned", "waiting", "held"])
async def test_a_replaced_post_keeps_its_successor_waiting_no_longer(
    story: Story, state: str
) -> None:
    first, lease = await one_post(story), await leased(story)
    later = "'2026-11-22 23:00:00.000000'" if state == "waiting" else "NULL"
    await change(
        story, f"UPDATE posts SET state = '{state}', next_look = {later} WHERE id = :id", first.id
    )
    story.clock.move(seconds=1)
    _, planned = await story.released(first.incident_id, "Newer.", replaces=(first.release_id,))
    assert await due(story) == [first.id]
    assert isinstance(await attempted(story, first, lease), Next)
    assert (await kept(story, first)).state is PostState.REPLACED
    assert await due(story) == [planned[PAGE.name].id]


async def test_one_that_is_being_sent_is_not_sent_again_once_it_is_replaced(story: Story) -> None:
    first, lease = await one_post(story), await leased(story)
    opened = await attempted(story, first, lease)
    story.clock.move(seconds=1)
    _, planned = await story.released(first.incident_id, "Newer.", replaces=(first.release_id,))
    assert (await kept(story, first)).state is PostState.SENDING
    await closed(story, opened, lease, waiting(story), "TryLater")
    assert await due(story) == [first.id], "its pause does not keep the newer one waiting"
    instead = await attempted(story, first, lease)
    assert isinstance(instead, Next) and instead.state is PostState.REPLACED
    assert await due(story) == [planned[PAGE.name].id]


async def test_channels_do_not_wait_for_each_other(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    await attempted(story, post, lease)
    assert len(await due(story, HOOK.name)) == 1


ACTIONS = st.lists(
    st.sampled_from([
        "try", "try", "proof", "late proof", "later", "doubt", "later again", "wait", "replace",
        "taken",
    ]),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(ACTIONS)
def test_a_post_is_sending_while_one_attempt_is_open_and_only_then(actions: list[str]) -> None:
    """Whatever workers do, in whatever order, and whoever holds the channel."""
    asyncio.run(_told(actions))


async def _told(actions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with a_story(Path(folder)) as story:
            opened: list[Opened] = []
            post, lease = await one_post(story), await leased(story)
            for number, action in enumerate(actions):
                with contextlib.suppress(LeaseLost):
                    await _act(story, action, post, lease, opened, f"worker-{number}")
                if action == "taken":
                    lease = await leased(story, f"worker-{number}")
                await _invariant(story, post)


async def _act(
    story: Story, action: str, post: Kept, lease: Lease, opened: list[Opened], worker: str
) -> None:
    match action:
        case "try":
            got = await attempted(story, post, lease)
            opened += [got] if isinstance(got, Opened) else []
        case "wait" | "taken":
            story.clock.move(seconds=LASTS.total_seconds())
        case "replace":
            newer = await story.submitted(post.incident_id, "Newer.", replaces=(post.release_id,))
            kept_decision = await story.approved(newer)
            await story.ledger.write(
                judge_decision(kept_decision.decision.id, EXERCISE, INCIDENT_URL)
            )
        case "proof" if opened:
            await closed(story, opened[-1], lease, POSTED, "receipt", RECEIPT)
        case "later" if opened:
            await closed(story, opened[-1], lease, waiting(story), "TryLater")
        case "late proof" if opened:
            await closed(story, opened[0], lease, POSTED, "receipt", RECEIPT)
        case "later again" if opened:
            await closed(story, opened[0], lease, waiting(story), "TryLater")
        case "doubt" if opened:
            await closed(story, opened[-1], lease, waiting(story), "InDoubt")


async def _invariant(story: Story, post: Kept) -> None:
    now = await kept(story, post)
    noted = await story.ledger.read(lambda tx: attempts.of_post(tx, post.id))
    still_open = [attempt for attempt in noted if attempt.ended_at is None]
    assert len(still_open) <= 1
    assert now.attempts == len(noted)
    proven = any(attempt.outcome == "receipt" for attempt in noted)
    assert (now.state is PostState.POSTED) == proven
    assert (now.state is PostState.SENDING) == (len(still_open) == 1) or proven


# --- A channel that there is no more -------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "then", "noted_as"),
    [("planned", PostState.HELD, "PostHeld"), ("waiting", PostState.HELD, "PostHeld"),
     ("sending", PostState.IN_DOUBT, "PostInDoubt")],
)  # fmt: skip
async def test_what_nobody_would_send_is_held_and_waits_no_more(
    story: Story, state: str, then: PostState, noted_as: str
) -> None:
    _, planned = await story.released(await story.reported())
    here, gone = planned[PAGE.name], planned[HOOK.name]
    await change(story, f"UPDATE posts SET state = '{state}' WHERE id = :id", gone.id)
    assert await story.ledger.read(posts.waiting) == 2
    await story.ledger.write(lambda tx: posts.hold_unknown(tx, [PAGE.name]))
    now = await kept(story, gone)
    assert (now.state, now.next_look) == (then, None)
    assert now.why and "There is no such channel any more" in now.why
    assert await kept(story, here) == here
    assert await story.ledger.read(posts.waiting) == 1
    noted = text(f"SELECT count(*) FROM entries WHERE kind = '{noted_as}'")
    assert await story.ledger.read(lambda tx: tx.connection.execute(noted).scalar()) == 1


@pytest.mark.parametrize(
    ("not_there_at", "then"),
    [(None, PostState.IN_DOUBT), ("2026-11-22 21:59:59.000000", PostState.IN_DOUBT),
     ("2026-11-22 22:00:00.000000", PostState.HELD)],
)  # fmt: skip
async def test_what_may_have_arrived_there_is_not_said_to_be_held(
    story: Story, not_there_at: str | None, then: PostState
) -> None:
    """It waits to be sent again with the key of a try that ended in doubt."""
    gone = (await story.released(await story.reported()))[1][HOOK.name]
    since = f"'{not_there_at}'" if not_there_at else "NULL"
    await change(
        story,
        f"UPDATE posts SET state = 'waiting', attempts = 1, not_there_at = {since} WHERE id = :id",
        gone.id,
    )
    await change(
        story,
        "INSERT INTO attempts VALUES (:id, 1, '2026-11-22 22:00:00.000000', "
        "'2026-11-22 22:00:15.000000', 1, '2026-11-22 22:00:00.000000', 'InDoubt', NULL, NULL)",
        gone.id,
    )
    await story.ledger.write(lambda tx: posts.hold_unknown(tx, [PAGE.name]))
    assert (await kept(story, gone)).state is then


async def test_what_has_ended_on_such_a_channel_stays_as_it_ended(story: Story) -> None:
    _, planned = await story.released(await story.reported())
    gone = planned[HOOK.name]
    await change(
        story, "UPDATE posts SET state = 'posted', next_look = NULL WHERE id = :id", gone.id
    )
    before = await kept(story, gone)
    await story.ledger.write(lambda tx: posts.hold_unknown(tx, [PAGE.name]))
    assert await kept(story, gone) == before


# --- Leases -----------------------------------------------------------------------------------


async def test_one_worker_holds_a_channel_and_a_later_one_has_a_higher_epoch(story: Story) -> None:
    async def take(holder: str) -> Lease | None:
        taken = await story.ledger.write(lambda tx: leases.take(tx, ["channel:x"], holder, LASTS))
        return taken.get("channel:x")

    first = await take("worker-1")
    assert first is not None and first.epoch == 1
    assert await take("worker-2") is None
    story.clock.move(seconds=20)
    renewed = await take("worker-1")
    assert renewed is not None
    assert (renewed.epoch, renewed.until) == (1, story.clock.at + LASTS)
    story.clock.move(seconds=29)
    assert await take("worker-2") is None
    story.clock.move(seconds=1)
    second = await take("worker-2")
    assert second is not None and second.epoch == 2
    assert await take("worker-1") is None
    await story.ledger.write(lambda tx: leases.let_go(tx, first))
    assert await take("worker-1") is None, "one that was lost cannot be given back"
    await story.ledger.write(lambda tx: leases.let_go(tx, second))
    third = await take("worker-1")
    assert third is not None and third.epoch == 3


async def test_who_lost_the_channel_neither_begins_nor_ends_a_send(story: Story) -> None:
    post, other = await one_post(story), await one_post(story, number="2026-2")
    old = await leased(story)
    opened = await attempted(story, post, old)
    story.clock.move(seconds=31)
    new = await leased(story, "worker-2")
    with pytest.raises(LeaseLost):
        await attempted(story, other, old)
    with pytest.raises(LeaseLost):
        await closed(story, opened, old, waiting(story), "TryLater")
    assert (await kept(story, post)).state is PostState.SENDING
    assert isinstance(await attempted(story, other, new), Opened)


async def test_proof_stands_though_the_channel_was_lost(story: Story) -> None:
    """The new holder could say no more than that it is in doubt."""
    post, old = await one_post(story), await leased(story)
    opened = await attempted(story, post, old)
    story.clock.move(seconds=31)
    await leased(story, "worker-2")
    assert await closed(story, opened, old, POSTED, "receipt", RECEIPT)
    now = await kept(story, post)
    assert (now.state, now.remote_id, now.next_look) == (PostState.POSTED, RECEIPT.remote_id, None)


async def test_proof_has_the_last_word_of_what_is_noted_together(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    first = await attempted(story, post, lease)
    await closed(story, first, lease, waiting(story), "InDoubt")
    second = await attempted(story, post, lease)
    assert isinstance(first, Opened) and isinstance(second, Opened)
    together = [
        Closing(first, lease, "receipt", POSTED, RECEIPT),
        Closing(second, lease, "InDoubt", waiting(story)),
    ]
    await story.ledger.write(lambda tx: attempts.close(tx, together))
    assert (await kept(story, post)).state is PostState.POSTED


async def test_what_another_process_delivers_is_not_held(story: Story) -> None:
    """A worker whose settings lack a channel starts beside one that has it."""
    planned = (await story.released(await story.reported()))[1][HOOK.name]
    await leased(story, "worker-2", HOOK.name)
    await story.ledger.write(lambda tx: posts.hold_unknown(tx, [PAGE.name]))
    assert await kept(story, planned) == planned
    story.clock.move(seconds=LASTS.total_seconds())
    await story.ledger.write(lambda tx: posts.hold_unknown(tx, [PAGE.name]))
    assert (await kept(story, planned)).state is PostState.HELD


# --- The page ---------------------------------------------------------------------------------


async def test_a_post_is_published_once_in_its_approved_words(story: Story) -> None:
    post = await one_post(story)
    public_id = await story.ledger.write(lambda tx: publications.publish(tx, post.id))
    assert await story.ledger.write(lambda tx: publications.publish(tx, post.id)) == public_id
    [shown] = await story.ledger.read(lambda tx: publications.of_incident(tx, public_id))
    opened = await attempted(story, post, await leased(story))
    assert isinstance(opened, Opened)
    assert shown.text == opened.revision.rendering(PAGE.name).text
    assert shown.digest == opened.revision.digest


async def test_a_stop_ends_at_once_what_waits_for_another_try(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    opened = await attempted(story, post, lease)
    await closed(story, opened, lease, waiting(story), "TryLater")
    assert await due(story) == []
    await is_stopped(story, post)
    await story.ledger.write(sweep)
    assert await due(story) == [post.id]
    ended = await attempted(story, post, lease)
    assert isinstance(ended, Next) and ended.state is PostState.STOPPED
    assert (await kept(story, post)).state is PostState.STOPPED


async def test_a_stop_leaves_alone_what_is_being_sent_and_what_is_out(story: Story) -> None:
    post, lease = await one_post(story), await leased(story)
    opened = await attempted(story, post, lease)
    await is_stopped(story, post)
    assert (await kept(story, post)).state is PostState.SENDING
    await closed(story, opened, lease, POSTED, "receipt", RECEIPT)
    assert (await kept(story, post)).state is PostState.POSTED


async def test_what_is_on_its_way_as_an_exercise_ends_is_not_tried_again(story: Story) -> None:
    release, planned = await story.released(await story.reported(), channels=(PAGE,))
    post, lease = planned[PAGE.name], await leased(story)
    opened = await attempted(story, post, lease)
    await story.ledger.write(lambda tx: end_exercise(tx, story.pio))
    assert await story.ledger.read(lambda tx: releases.stopped_at(tx, release.id))
    await closed(story, opened, lease, waiting(story, 0), "TryLater")
    then = await attempted(story, post, lease)
    assert isinstance(then, Next) and then.state is PostState.STOPPED


async def test_who_may_not_stop_and_what_is_no_release(story: Story) -> None:
    post = await one_post(story)
    custodian = await story.ledger.write(
        lambda tx: people.add(tx, "K. Lindqvist", [Role.RECORDS], actor="test")
    )
    for person, release_id, code in (
        (custodian, post.release_id, "not_your_act"), (story.pio, "none", "no_such_release"),
    ):  # fmt: skip
        with pytest.raises(Refusal) as refused:
            await story.ledger.write(
                lambda tx, who=person, what=release_id: stop_release(tx, what, who)
            )
        assert refused.value.code == code


# --- Corrections ------------------------------------------------------------------------------


async def test_a_correction_goes_exactly_where_the_wrong_words_may_be_read(story: Story) -> None:
    """Where they surely never went out there is nothing to correct."""
    incident = await story.reported()
    release, planned = await story.released(incident)
    page, hook = await leased(story), await leased(story, channel=HOOK.name)
    await closed(story, await attempted(story, planned[PAGE.name], page), page, POSTED, "receipt",
                 RECEIPT)  # fmt: skip
    for channels, code in (([PAGE], "correction_leaves_out"), ([HOOK], "correction_leaves_out")):
        with pytest.raises(Refusal) as refused:
            await story.corrected(incident, release.id, channels)
        assert (refused.value.code, refused.value.field) == (code, "channels")
    correction = await story.corrected(incident, release.id, [PAGE, HOOK])
    _, posts_2 = await story.gated(correction)
    instead = await attempted(story, planned[HOOK.name], hook)
    assert isinstance(instead, Next) and instead.state is PostState.REPLACED
    instead = await attempted(story, posts_2[HOOK.name], hook)
    assert isinstance(instead, Next) and instead.state is PostState.STOPPED
    assert isinstance(await attempted(story, posts_2[PAGE.name], page), Opened)
    story.clock.move(seconds=1)
    with pytest.raises(Refusal) as refused:
        await story.corrected(incident, release.id, [PAGE, HOOK])
    assert refused.value.code == "correction_beyond"


async def releases_of(story: Story, incident: str) -> list[AnyRelease]:
    return list(await story.ledger.read(lambda tx: releases.of_incident(tx, incident)))
