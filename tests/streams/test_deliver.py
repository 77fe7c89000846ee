"""Deliver: many channels in one transaction, and none of them pays for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from broadcaster import control
from broadcaster.aftercare import Errand
from broadcaster.breaker import OPENS_AFTER, PROBE_EVERY
from broadcaster.channel import Channel, Idempotency
from broadcaster.clock import Watch
from broadcaster.delivery import InDoubt, LockedOut, PostState, Receipt, TryLater, Unsupported
from broadcaster.errors import LedgerAway, LedgerSilent, Refusal
from broadcaster.ledger import (
    Tx,
    attempts,
    channels,
    errands,
    leases,
    posts,
    problems,
    records,
    schema,
)
from broadcaster.ledger.attempts import Opened, Wanted
from broadcaster.orders import ShowPicture, stop_release
from broadcaster.outcome import Choice, tried
from broadcaster.posting import Channels
from broadcaster.record import Kind
from broadcaster.settings import Settings
from broadcaster.settling import (
    choose,
    confirm_clock,
    have_sent_again,
    pause_channel,
    resume_channel,
)
from broadcaster.world import Exercise
from streams import deliver
from streams.deliver import Deliver
from streams.lease import LASTS
from streams.sweep import sweep
from tests.connected.installation import until
from tests.patience import PATIENCE
from tests.pictures import kept_picture
from tests.story import HOOK, PAGE, Story

#: Seconds that it is watched for: one that does not pause writes hundreds of times in them.
WATCHED = 1.0


@pytest.fixture
def renewed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that waits until deliver has renewed its leases."""
    monkeypatch.setattr(deliver, "RENEW_EVERY", timedelta(seconds=0.05))


async def test_a_send_that_cannot_be_noted_does_not_spin(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, planned = await story.released(await story.reported(), channels=[PAGE])
    unreadable = text("UPDATE revisions SET body = '{'")
    await story.ledger.write(lambda tx: tx.connection.execute(unreadable).rowcount)
    write, written, tried = story.ledger.write, 0, asyncio.Event()

    async def counted(step: Any, *, urgent: bool = False) -> Any:
        nonlocal written
        written += 1
        if urgent:
            tried.set()
        return await write(step, urgent=urgent)

    monkeypatch.setattr(story.ledger, "write", counted)
    async with delivering(story, tmp_path, PAGE.name) as (running, _):
        async with asyncio.timeout(PATIENCE):
            await tried.wait()
        await asyncio.wait([running], timeout=WATCHED)
        assert not running.done(), "one post does not end the channel"
        assert written <= 4, "the lease, and the try"
    assert (await kept(story, planned[PAGE.name])).state is PostState.PLANNED


async def test_words_that_cannot_be_read_keep_back_their_own_posts_alone(
    story: Story, tmp_path: Path
) -> None:
    """Opened in one transaction with others, on the same channel and on another."""
    _, broken = await story.released(await story.reported(), channels=[PAGE, HOOK])
    _, sound = await story.released(await story.reported("2026-2"), channels=[PAGE])
    unreadable = text("UPDATE revisions SET body = '{' WHERE incident_id = :incident").bindparams(
        incident=broken[PAGE.name].incident_id
    )
    await story.ledger.write(lambda tx: tx.connection.execute(unreadable).rowcount)
    async with delivering(story, tmp_path, PAGE.name):
        assert await ended(story, sound[PAGE.name]) is PostState.POSTED
    for post in broken.values():
        assert (await kept(story, post)).state is PostState.PLANNED


async def test_an_incident_that_cannot_be_read_keeps_back_its_own_posts_alone(
    story: Story, tmp_path: Path
) -> None:
    _, broken = await story.released(await story.reported(), channels=[PAGE])
    _, left_open = await story.released(await story.reported("2026-2"), channels=[PAGE])
    _, sound = await story.released(await story.reported("2026-3"), channels=[PAGE])
    spoilt = [broken[PAGE.name], left_open[PAGE.name]]

    def spoil(tx: Tx) -> None:
        name = f"channel:{PAGE.name}"
        lease = leases.take(tx, [name], "worker-1", timedelta(seconds=6))[name]
        attempts.open_(tx, [Wanted(left_open[PAGE.name].id, lease, timedelta(), PAGE)])
        for post in spoilt:
            unreadable = text("UPDATE incidents SET body = '{' WHERE id = :id")
            tx.connection.execute(unreadable.bindparams(id=post.incident_id))

    await story.ledger.write(spoil)
    async with delivering(story, tmp_path, PAGE.name):
        assert await ended(story, sound[PAGE.name]) is PostState.POSTED
    states = [(await kept(story, post)).state for post in spoilt]
    assert states == [PostState.PLANNED, PostState.SENDING]


async def test_posts_that_cannot_be_tried_take_no_others_place(
    story: Story, tmp_path: Path
) -> None:
    """They are the oldest, and more than a channel sends side by side, twice over."""
    for number in range(2 * deliver.SIDE_BY_SIDE + 1):
        await story.released(await story.reported(f"2026-{number}"), channels=[PAGE])
    unreadable = text("UPDATE revisions SET body = '{'")
    await story.ledger.write(lambda tx: tx.connection.execute(unreadable).rowcount)
    story.clock.move(seconds=1)
    _, sound = await story.released(await story.reported("2026-sound"), channels=[PAGE])
    async with delivering(story, tmp_path, PAGE.name):
        assert await ended(story, sound[PAGE.name]) is PostState.POSTED


async def test_a_process_that_stood_still_before_a_send_does_not_send(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may have the channel by then, and have sent what came after."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers()
    answers.channel = HOOK.model_copy(update={"deadline": timedelta(milliseconds=20)})
    write = story.ledger.write

    async def frozen_after(step: Any, *, urgent: bool = False) -> Any:
        answer = await write(step, urgent=urgent)
        if getattr(step, "func", None) is deliver._open_due:
            await asyncio.sleep(answers.channel.deadline.total_seconds())
        return answer

    async def noted() -> posts.Kept | None:
        now = await kept(story, planned[HOOK.name])
        return now if now.state is PostState.WAITING else None

    monkeypatch.setattr(story.ledger, "write", frozen_after)
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        now = await until("it was noted", noted)
    assert answers.sent == 0
    assert now.why and "Nothing was sent" in now.why


async def test_a_send_that_brings_a_picture_has_the_time_for_it(
    story: Story, tmp_path: Path
) -> None:
    """On a channel on which there is no time but for that."""
    there = HOOK.model_copy(update={"deadline": timedelta(), "upload": timedelta(seconds=PATIENCE)})
    incident = await story.reported()
    image = await kept_picture(story.ledger, incident, story.pio)
    shown = ShowPicture(digest=image.digest, alt="A closed street.")
    shows = await story.submitted(incident, channels=[there], pictures=(shown,))
    _, planned = await story.gated(shows)
    _, alone = await story.released(await story.reported("2026-2"), channels=[there])

    async def unsent() -> bool:
        return (await kept(story, alone[HOOK.name])).state is PostState.WAITING

    answers = Answers(channel=there)
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED
        await until("the words alone were not sent", unsent)
    assert answers.posts == [planned[HOOK.name].id]


async def test_a_channel_that_another_holds_keeps_back_its_own_posts_alone(
    story: Story, tmp_path: Path
) -> None:
    _, planned = await story.released(await story.reported(), channels=[PAGE, HOOK])
    name = [f"channel:{HOOK.name}"]
    await story.ledger.write(lambda tx: leases.take(tx, name, "another", timedelta(hours=1)))
    async with delivering(story, tmp_path, PAGE.name, HOOK.name):
        assert await ended(story, planned[PAGE.name]) is PostState.POSTED
    assert (await kept(story, planned[HOOK.name])).state is PostState.PLANNED


@pytest.mark.parametrize("kept_first", [False, True], ids=["away", "silent"])
async def test_a_receipt_outlives_a_ledger_that_is_away_for_a_moment(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_first: bool
) -> None:
    """A blind channel would else end in doubt although its proof was had."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    write, outages = story.ledger.write, 3

    async def away(step: Any, *, urgent: bool = False) -> Any:
        nonlocal outages
        if getattr(step, "func", None) is not deliver._note_ends or not outages:
            return await write(step, urgent=urgent)
        outages -= 1
        if kept_first:
            await write(step, urgent=urgent)
            raise LedgerSilent("the connection ended")
        raise LedgerAway("it is being started")

    monkeypatch.setattr(story.ledger, "write", away)
    answers = Answers()
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED
        await until("it was noted", lambda: _is(outages == 0))
    assert answers.sent == 1
    lines = await story.ledger.read(records.lines)
    assert [line.kind for line in lines].count(Kind.POST_DELIVERED) == 1


@pytest.mark.usefixtures("renewed_often")
async def test_a_receipt_that_waits_for_the_ledger_is_not_called_in_doubt_meanwhile(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    write, away, asked = story.ledger.write, True, list[Any]()

    async def no_notes(step: Any, *, urgent: bool = False) -> Any:
        if getattr(step, "func", None) is deliver._note_ends:
            asked.extend(step.keywords["several"])
            if away:
                raise LedgerAway("it is being started")
        return await write(step, urgent=urgent)

    monkeypatch.setattr(story.ledger, "write", no_notes)
    async with delivering(story, tmp_path, HOOK.name, answers=Answers()):
        await until("it was to be noted", lambda: _is(bool(asked)))
        for _ in range(2):  # with each lease it looks for what was left open
            story.clock.move(seconds=60)  # longer than any send takes
            await until("its lease was renewed", lambda: renewed(story))
        away = False
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED
    assert all(sent.happened.receipt for sent in asked)


async def test_what_is_being_sent_outlives_the_streams(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "GRACE", 0)
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(slow=True)
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (running, worker):
        await until("it is being sent", lambda: _is(answers.sent == 1))
        running.cancel()
        await asyncio.wait([running])
        again = asyncio.create_task(worker.run(lambda: frozenset([HOOK.name])))
        _, other = await story.released(await story.reported("2026-2"), channels=[HOOK])
        assert await ended(story, other[HOOK.name]) is PostState.POSTED
        assert (await kept(story, planned[HOOK.name])).state is PostState.SENDING
        answers.go_on.set()
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED
        again.cancel()
        await asyncio.wait([again])


async def test_a_process_that_ends_does_not_wait_for_a_ledger_that_stays_away(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "GRACE", 0.1)
    await story.released(await story.reported(), channels=[HOOK])
    write, asked = story.ledger.write, 0

    async def away(step: Any, *, urgent: bool = False) -> Any:
        nonlocal asked
        if getattr(step, "func", None) is deliver._note_ends:
            asked += 1
        if asked:
            raise LedgerAway("it is gone")
        return await write(step, urgent=urgent)

    monkeypatch.setattr(story.ledger, "write", away)
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        async with delivering(story, tmp_path, HOOK.name, answers=Answers()):
            await until("it was to be noted", lambda: _is(asked > 0))
    assert asyncio.all_tasks() == before


@pytest.mark.usefixtures("renewed_often")
async def test_a_channel_that_goes_to_another_process_ends_its_sends_first(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes on: nothing has to be cut off and left in doubt."""
    monkeypatch.setattr(deliver, "GRACE", 0)
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers, mine = Answers(slow=True), {HOOK.name}
    async with delivering(story, tmp_path, HOOK.name, answers=answers, mine=mine):
        await until("it is being sent", lambda: _is(answers.sent == 1))
        mine.clear()
        for _ in range(3):
            story.clock.move(seconds=4)
            await until("the lease was renewed", lambda: renewed(story))
        assert not await taken_by_another(story)
        answers.go_on.set()
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED
        await until("another has the channel", lambda: taken_by_another(story))


async def test_a_channel_that_comes_back_meanwhile_is_not_kept_waiting(
    story: Story, tmp_path: Path
) -> None:
    """Kafka takes and gives again in one rebalance; one slow send holds up no other incident."""
    _, slow = await story.released(await story.reported(), channels=[HOOK])
    answers, mine = Answers(slow=True), {HOOK.name}
    async with delivering(story, tmp_path, HOOK.name, answers=answers, mine=mine) as (_, worker):
        await until("it is being sent", lambda: _is(answers.sent == 1))
        mine.clear()
        await until("it leaves", lambda: _is(worker._lanes[HOOK.name].leaving))
        _, other = await story.released(await story.reported("2026-2"), channels=[HOOK])
        mine.add(HOOK.name)
        assert await ended(story, other[HOOK.name]) is PostState.POSTED
        assert (await kept(story, slow[HOOK.name])).state is PostState.SENDING
        answers.go_on.set()
        assert await ended(story, slow[HOOK.name]) is PostState.POSTED
        assert not await taken_by_another(story)
    assert answers.sent == 2


async def test_what_is_being_sent_when_the_process_ends_is_cut_off(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "GRACE", 0.1)
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(slow=True)
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        await until("it is being sent", lambda: _is(answers.sent == 1))
    assert (await kept(story, planned[HOOK.name])).state is PostState.IN_DOUBT
    assert await taken_by_another(story), "the lease goes at once"


# --- What is in doubt -------------------------------------------------------------------------

LOOKED_AT = HOOK.model_copy(
    update={"idempotency": Idempotency.CAN_LOOK, "find_lag": timedelta(seconds=10)}
)


async def moving(story: Story, worker: Deliver, post: posts.Kept, state: PostState) -> posts.Kept:
    """Moves the clock to each next look of a post until it is in `state`."""
    lane = worker._lanes[HOOK.name]

    async def there() -> posts.Kept | None:
        await worker.look()
        if lane._looking or lane._sending:  # until then its next look is the end of that
            return None
        now = await kept(story, post)
        if now.state is state:
            return now
        if now.next_look and now.next_look > story.clock.at:
            story.clock.at = now.next_look
        return None

    return await until(f"it is {state}", there)


async def test_what_is_in_doubt_is_looked_for_and_found(story: Story, tmp_path: Path) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    there = Receipt(remote_id="42", url="https://x.example/42")
    answers = Answers(
        channel=LOOKED_AT, ends=[InDoubt("?")], sights=[TryLater("away"), None, there]
    )
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await moving(story, worker, planned[HOOK.name], PostState.POSTED)
    assert (now.remote_id, now.url, now.attempts) == ("42", "https://x.example/42", 1)
    assert (answers.sent, answers.looks, now.looks) == (1, 3, 2)
    assert story.clock.at == now.released_at + timedelta(seconds=15), "after 2, 5 and 15 s"
    assert await entries(story) == [Kind.ATTEMPT_STARTED, Kind.POST_IN_DOUBT, Kind.POST_DELIVERED]


TAKES_OUR_KEY = LOOKED_AT.model_copy(
    update={"idempotency": Idempotency.TAKES_OUR_KEY, "key_life": timedelta(hours=1)}
)


async def test_it_is_looked_for_before_it_is_sent_again_though_the_server_takes_our_key(
    story: Story, tmp_path: Path
) -> None:
    """A server that is slow may know the post and not yet its key (mastodon#21840)."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    there = Receipt(remote_id="42")
    answers = Answers(channel=TAKES_OUR_KEY, ends=[InDoubt("?")], sights=[None, there])
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await moving(story, worker, planned[HOOK.name], PostState.POSTED)
    assert (now.remote_id, answers.sent, answers.looks) == ("42", 1, 2)


async def test_while_the_key_lives_it_is_sent_until_it_is_there(
    story: Story, tmp_path: Path
) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(channel=TAKES_OUR_KEY, ends=[InDoubt("?")] * 4, sights=[None] * 12)
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await moving(story, worker, planned[HOOK.name], PostState.POSTED)
    assert (answers.sent, now.attempts) == (5, 5)


async def test_what_is_surely_not_there_is_sent_once_more(story: Story, tmp_path: Path) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(channel=LOOKED_AT, ends=[InDoubt("?")], sights=[None, None, None])
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await moving(story, worker, planned[HOOK.name], PostState.POSTED)
    assert (answers.sent, answers.looks, now.attempts) == (2, 3, 2)
    assert Kind.POST_NOT_FOUND in await entries(story)


async def test_a_slow_look_tells_of_when_it_began(story: Story, tmp_path: Path) -> None:
    """What it did not see then may be there when it answers, and would be there twice."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])

    class Slow(Answers):
        async def find(self, message: Any) -> Receipt | None:
            if not self.looks:
                story.clock.move(seconds=9)  # its lag of 10 s is over then
            return await super().find(message)

    there = Receipt(remote_id="42", url=None)
    answers = Slow(channel=LOOKED_AT, ends=[InDoubt("?")], sights=[None, there])
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await moving(story, worker, planned[HOOK.name], PostState.POSTED)
    assert (answers.sent, answers.looks, now.remote_id) == (1, 2, "42")


async def test_what_was_sent_twice_and_is_not_there_waits_for_a_person(
    story: Story, tmp_path: Path
) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    twice = [InDoubt("?"), InDoubt("?")]
    answers = Answers(channel=LOOKED_AT, ends=twice, sights=[None] * 6)

    async def asked() -> posts.Kept | None:
        now = await moving(story, worker, planned[HOOK.name], PostState.IN_DOUBT)
        busy = worker._lanes[HOOK.name]._looking
        if now.next_look and not busy:
            story.clock.at = max(story.clock.at, now.next_look)
        return None if now.next_look else now

    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await until("a person is asked", asked)
        assert (now.attempts, answers.sent) == (2, 2)
        seen = "https://x.example/7"
        for _ in range(2):  # the second tap does nothing
            await story.ledger.write(
                lambda tx: choose(tx, now.id, 2, Choice.THERE, story.pio, seen)
            )
        await story.ledger.write(sweep)
        assert (await kept(story, now)).url == seen
        assert await ended(story, now) is PostState.POSTED
    assert (await entries(story))[-2:] == [Kind.POST_CHOSEN, Kind.POST_DELIVERED]


async def test_a_later_update_that_was_sent_meanwhile_is_the_last_word(
    story: Story, tmp_path: Path
) -> None:
    """In doubt never keeps its successor waiting; and nothing older follows that."""
    incident = await story.reported()
    _, planned = await story.released(incident, channels=[HOOK])
    answers = Answers(channel=LOOKED_AT, ends=[InDoubt("?")], sights=[None] * 3)
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        await moving(story, worker, planned[HOOK.name], PostState.IN_DOUBT)
        story.clock.move(seconds=1)
        _, later = await story.released(incident, "Newer.", channels=[HOOK])
        assert await ended(story, later[HOOK.name]) is PostState.POSTED
        now = await moving(story, worker, planned[HOOK.name], PostState.REPLACED)
    assert now.why and "a later update was sent" in now.why
    assert answers.sent == 2


async def test_what_a_person_has_sent_again_is_tried_as_ever(story: Story, tmp_path: Path) -> None:
    """Stop still holds; and what was in doubt is so no more, since they have looked."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(ends=[InDoubt("?"), InDoubt("?")])
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await moving(story, worker, planned[HOOK.name], PostState.IN_DOUBT)
        assert now.next_look is None and answers.looks == 0, "blind"
        with pytest.raises(Refusal) as stale:
            await story.ledger.write(lambda tx: choose(tx, now.id, 2, Choice.SEND_AGAIN, story.pio))
        assert stale.value.code == "post_moved"
        story.clock.move(seconds=1)
        await story.ledger.write(lambda tx: choose(tx, now.id, 1, Choice.SEND_AGAIN, story.pio))
        await story.ledger.write(sweep)
        await until("it was sent again", lambda: _is(answers.sent == 2))
        now = await moving(story, worker, planned[HOOK.name], PostState.IN_DOUBT)
        story.clock.move(seconds=1)
        await story.ledger.write(lambda tx: stop_release(tx, now.release_id, story.pio))
        await story.ledger.write(lambda tx: choose(tx, now.id, 2, Choice.SEND_AGAIN, story.pio))
        await story.ledger.write(sweep)
        assert await ended(story, now) is PostState.STOPPED
    assert answers.sent == 2


async def test_for_the_safety_of_life_what_nobody_can_look_for_is_sent_again(
    story: Story, tmp_path: Path
) -> None:
    await story.ledger.write(lambda tx: channels.know(tx, [HOOK.name]))
    await story.ledger.write(lambda tx: have_sent_again(tx, HOOK.name, "chief", on=True))
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(ends=[InDoubt("?")], sights=[Unsupported("blind")])
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        now = await moving(story, worker, planned[HOOK.name], PostState.POSTED)
    assert now.attempts == 2
    assert story.clock.at == now.released_at + timedelta(seconds=60)


# --- How a channel fares ----------------------------------------------------------------------


@pytest.mark.usefixtures("renewed_often")
async def test_a_pause_that_one_post_was_told_of_holds_for_all(
    story: Story, tmp_path: Path
) -> None:
    """A person is asked, too, where it is above 15 minutes (row 12 of the fault matrix)."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(ends=[TryLater("429", timedelta(minutes=16))])
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        await until("it was told", lambda: told(story, Kind.POST_DEFERRED))
        [problem] = await story.ledger.read(problems.listed)
        assert problem.code == "long_pause" and "16 minutes" in problem.why
        _, other = await story.released(await story.reported("2026-2"), channels=[HOOK])
        story.clock.move(minutes=15, seconds=59)
        await looked_twice(story)
        assert answers.sent == 1
        story.clock.move(seconds=1)
        for post in (planned[HOOK.name], other[HOOK.name]):
            assert await ended(story, post) is PostState.POSTED


@pytest.mark.usefixtures("renewed_often")
async def test_a_channel_that_is_paused_is_sent_nothing_until_it_goes_on(
    story: Story, tmp_path: Path
) -> None:
    answers = Answers()
    async with delivering(story, tmp_path, HOOK.name, PAGE.name, answers=answers):
        await until("it is known", lambda: fares(story))
        await story.ledger.write(
            lambda tx: pause_channel(tx, HOOK.name, "Account is being moved.", story.pio)
        )
        _, planned = await story.released(await story.reported(), channels=[HOOK, PAGE])
        assert await ended(story, planned[PAGE.name]) is PostState.POSTED
        await looked_twice(story)
        assert answers.sent == 0
        await story.ledger.write(lambda tx: resume_channel(tx, HOOK.name, story.pio))
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED


@pytest.mark.usefixtures("renewed_often")
async def test_what_waits_for_long_is_tried_at_once_when_a_person_lets_its_channel_go_on(
    story: Story, tmp_path: Path
) -> None:
    """And once: what fails then waits as ever."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(ends=[TryLater("Busy (429).", after=timedelta(minutes=9))] * 2)
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        for sent in (1, 2):
            await until("it waits", lambda sent=sent: waits_after(story, planned[HOOK.name], sent))
            story.clock.move(seconds=5)
            await looked_twice(story)
            assert answers.sent == sent
            await story.ledger.write(lambda tx: resume_channel(tx, HOOK.name, story.pio))
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED


async def waits_after(story: Story, post: posts.Kept, attempts: int) -> bool:
    now = await kept(story, post)
    return (now.state, now.attempts) == (PostState.WAITING, attempts)


@pytest.mark.usefixtures("renewed_often")
async def test_a_channel_that_knows_our_credential_no_more_is_left_alone_until_a_person_mends_it(
    story: Story, tmp_path: Path
) -> None:
    _, first = await story.released(await story.reported("2026-1"), channels=[HOOK])
    answers = Answers(ends=[LockedOut("It does not know our token (401).")])
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        await until("it is paused", lambda: told(story, Kind.CHANNEL_PAUSED))
        _, second = await story.released(await story.reported("2026-2"), channels=[HOOK])
        story.clock.move(minutes=10)
        await looked_twice(story)
        assert answers.sent == 1
        waits = [(await kept(story, each[HOOK.name])).state for each in (first, second)]
        assert waits == [PostState.WAITING, PostState.PLANNED]
        [problem] = await story.ledger.read(problems.listed)
        assert problem.code == "credential_dead" and "token (401)" in problem.why
        await story.ledger.write(lambda tx: resume_channel(tx, HOOK.name, story.pio))
        for each in (first, second):
            assert await ended(story, each[HOOK.name]) is PostState.POSTED


async def test_another_credential_is_used_at_once_and_what_is_being_sent_ends_by_the_one_before(
    story: Story, tmp_path: Path
) -> None:
    _, slow = await story.released(await story.reported("2026-1"), channels=[HOOK])
    before, after = Answers(slow=True), Answers()
    async with delivering(story, tmp_path, HOOK.name, answers=before) as (_, worker):
        await until("it is being sent", lambda: _is(before.sent == 1))
        await worker.exchange(HOOK.name, after)
        _, next_ = await story.released(await story.reported("2026-2"), channels=[HOOK])
        assert await ended(story, next_[HOOK.name]) is PostState.POSTED
        assert (before.sent, after.sent, before.closed) == (1, 1, False)
        before.go_on.set()
        assert await ended(story, slow[HOOK.name]) is PostState.POSTED
        await until("the one before is closed", lambda: _is(before.closed))
    assert after.closed and (before.sent, after.sent) == (1, 1)


async def test_another_credential_lets_a_channel_go_on_that_was_paused_for_want_of_one(
    story: Story, tmp_path: Path
) -> None:
    _, first = await story.released(await story.reported(), channels=[HOOK])
    answers = Answers(ends=[LockedOut("It does not know our token (401).")])
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        await until("it is paused", lambda: told(story, Kind.CHANNEL_PAUSED))
        story.clock.move(seconds=1)
        await worker.exchange(HOOK.name, Answers())
        assert await ended(story, first[HOOK.name]) is PostState.POSTED
        await story.ledger.write(lambda tx: pause_channel(tx, HOOK.name, "By hand.", story.pio))
        await worker.exchange(HOOK.name, Answers())
        [fare] = (await story.ledger.read(channels.several)).values()
        assert fare.paused_by == story.pio.id, "what a person has paused, a person lets go on"


async def test_a_channel_that_fails_is_asked_by_one_post_at_a_time(
    story: Story, tmp_path: Path
) -> None:
    several = [
        (await story.released(await story.reported(f"2026-{n}"), channels=[HOOK]))[1][HOOK.name]
        for n in range(OPENS_AFTER)
    ]
    answers = Answers(ends=[TryLater("away")] * (OPENS_AFTER + 1))
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        await until("it is left alone", lambda: told(story, Kind.CHANNEL_FAILING))
        story.clock.move(seconds=PROBE_EVERY.total_seconds() - 1)
        await looked_twice(story)
        assert answers.sent == OPENS_AFTER
        story.clock.move(seconds=1)
        await until("one asked", lambda: _is(answers.sent == OPENS_AFTER + 1))
        await looked_twice(story)
        assert answers.sent == OPENS_AFTER + 1, "and no other"
        story.clock.move(seconds=PROBE_EVERY.total_seconds())
        for post in several:
            assert await ended(story, post) is PostState.POSTED
    assert await told(story, Kind.CHANNEL_RECOVERED)


async def has_answered(story: Story) -> bool:
    fares = await story.ledger.read(channels.several)
    return any(fare.breaker.why is not None for fare in fares.values())


async def test_no_metric_tells_what_a_channel_said(story: Story, tmp_path: Path) -> None:
    """What kept a post back is kept for whoever sees to the channel, and may repeat anything."""
    await story.released(await story.reported(), channels=[HOOK])
    said = "whsec_of-ours: away"
    answers = Answers(ends=[TryLater(said, timedelta(hours=1))])
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        await until("it is noted", lambda: has_answered(story))
        [fare] = (await story.ledger.read(channels.several)).values()
        known = {HOOK.name: HOOK}
        families = await story.ledger.read(lambda tx: list(control._ledger_metrics(tx, known)))
    told = control._exposition(families).decode()
    assert fare.breaker.why == said and HOOK.name in told and "whsec" not in told


async def test_a_slow_channel_is_shared_fairly_and_life_goes_first(
    story: Story, tmp_path: Path
) -> None:
    """One a minute: an incident with a backlog takes no other's turn."""
    busy, quiet = await story.reported("2026-1"), await story.reported("2026-2")
    backlog = []
    for number in range(3):
        story.clock.move(seconds=1)
        backlog.append((await story.released(busy, f"{number}", channels=[HOOK]))[1][HOOK.name])
    story.clock.move(seconds=1)
    other = (await story.released(quiet, channels=[HOOK]))[1]
    leak = (await story.released(await story.reported("2026-3"), channels=[HOOK]))[1]
    held = update(schema.incidents).where(schema.incidents.c.id.in_([busy, quiet]))
    await story.ledger.write(
        lambda tx: tx.connection.execute(held.values(handling="held")).rowcount
    )
    await story.ledger.write(lambda tx: channels.know(tx, [HOOK.name]))
    served: dict[str, int] = {}
    order = []
    for turn in range(1, 6):

        def look(tx: Tx) -> list[str]:
            name = f"channel:{HOOK.name}"
            lease = leases.take(tx, [name], "w", LASTS)[name]
            ask = deliver._Ask(HOOK, lease, LASTS, under_way=0, looks=0, pace=1, served=served)
            outcomes = deliver._open_due(tx, [ask], (), Watch(lambda: 0.0)).outcomes
            for outcome in outcomes.values():
                assert isinstance(outcome, Opened)
                deliver._note_ends(
                    tx, [deliver._Sent(outcome, lease, tried(Receipt(remote_id="1")), HOOK)]
                )
            return list(outcomes)

        [sent] = await story.ledger.write(look)
        order.append(sent)
        incident = next(
            p.incident_id for p in (*backlog, other[HOOK.name], leak[HOOK.name]) if p.id == sent
        )
        served[incident] = turn
    assert order == [
        leak[HOOK.name].id,
        backlog[0].id,
        other[HOOK.name].id,
        backlog[1].id,
        backlog[2].id,
    ]


@pytest.mark.usefixtures("renewed_often")
async def test_after_the_clock_was_set_nothing_is_sent_before_somebody_has_looked(
    story: Story, tmp_path: Path
) -> None:
    """An hour forward: what is waiting would expire, and who commanded is judged by it, too."""
    answers, steady = Answers(), 0.0
    async with delivering(story, tmp_path, HOOK.name, answers=answers, steady=lambda: steady):
        await until("it has looked", lambda: fares(story))
        story.clock.move(seconds=4)
        await looked_twice(story)
        assert not await told(story, Kind.CLOCK_STEPPED), "so much it may drift, or wait"
        story.clock.move(seconds=-3600)
        await until("it was noted", lambda: told(story, Kind.CLOCK_STEPPED))
        _, planned = await story.released(await story.reported(), channels=[HOOK])
        await looked_twice(story)
        assert answers.sent == 0
        lines = [line.kind for line in await story.ledger.read(records.lines)]
        assert lines.count(Kind.CLOCK_STEPPED) == 1
        await story.ledger.write(lambda tx: confirm_clock(tx, story.pio))
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED


@pytest.mark.usefixtures("renewed_often")
async def test_what_was_planned_by_a_clock_that_was_ahead_goes_once_it_is_right(
    story: Story, tmp_path: Path
) -> None:
    """Released while sending was held, and the clock an hour ahead."""
    answers, steady = Answers(), 0.0
    async with delivering(story, tmp_path, HOOK.name, answers=answers, steady=lambda: steady):
        await until("it has looked", lambda: fares(story))
        await looked_twice(story)
        story.clock.move(hours=1)
        await until("it was noted", lambda: told(story, Kind.CLOCK_STEPPED))
        _, planned = await story.released(await story.reported(), channels=[HOOK])
        story.clock.move(hours=-1)
        await looked_twice(story)
        assert answers.sent == 0
        await story.ledger.write(lambda tx: confirm_clock(tx, story.pio))
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED


async def test_whoever_begins_after_the_clock_was_put_right_sees_to_what_was_planned_before(
    story: Story, tmp_path: Path
) -> None:
    """No process saw it stepping, so nobody is asked; what waits does not wait for the hour."""
    story.clock.move(hours=1)
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    _, begun = await story.released(await story.reported("2026-2"), channels=[HOOK])
    owed = await story.released(await story.reported("2026-3"), channels=[HOOK])

    def left(tx: Tx) -> None:
        name = f"channel:{HOOK.name}"
        lease = leases.take(tx, [name], "another", LASTS)[name]
        attempts.open_(tx, [Wanted(begun[HOOK.name].id, lease, LASTS, HOOK)])
        errands.owe(tx, owed[1][HOOK.name].id, Errand.RETRACT)

    await story.ledger.write(left)
    story.clock.move(hours=-1)
    assert not await taken_by_another(story, "worker-2"), "whoever has it may live"
    story.clock.move(seconds=LASTS.total_seconds())

    async def in_doubt() -> bool:
        return (await kept(story, begun[HOOK.name])).state is PostState.IN_DOUBT

    async with delivering(story, tmp_path, HOOK.name, answers=Answers()):
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED
        await until("nobody sends it any more", in_doubt)
    since = await story.ledger.read(
        lambda tx: [each.owed.since for each in errands.of_posts(tx, [owed[1][HOOK.name].id])]
    )
    assert since == [story.clock.at], "what is owed counts from now"


async def test_a_doubt_of_a_clock_that_was_ahead_is_looked_for_as_any(
    story: Story, tmp_path: Path
) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    there = Receipt(remote_id="42")
    story.clock.move(hours=1)
    answers = Answers(channel=LOOKED_AT, ends=[InDoubt("?")], sights=[None, there])
    async with delivering(story, tmp_path, HOOK.name, answers=answers):
        await until("it is in doubt", lambda: told(story, Kind.POST_IN_DOUBT))
    story.clock.move(hours=-1)
    story.clock.move(seconds=LASTS.total_seconds())
    async with delivering(story, tmp_path, HOOK.name, answers=answers) as (_, worker):
        await until("it was looked for", lambda: _is(answers.looks == 1))
        await moving(story, worker, planned[HOOK.name], PostState.POSTED)
    assert story.clock.at < planned[HOOK.name].released_at + timedelta(minutes=1)


@pytest.mark.usefixtures("renewed_often")
async def test_a_clock_set_forward_leaves_alone_what_is_being_sent(
    story: Story, tmp_path: Path
) -> None:
    """Its time is over by that clock alone; that nothing was sent is news when it comes."""
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    answers, steady = Answers(slow=True, ends=[TryLater("away")]), 0.0
    async with delivering(story, tmp_path, HOOK.name, answers=answers, steady=lambda: steady):
        await until("it is being sent", lambda: _is(answers.sent == 1))
        story.clock.move(hours=1)
        await until("it was noted", lambda: told(story, Kind.CLOCK_STEPPED))
        await looked_twice(story)
        answers.go_on.set()
        await until("it was noted", lambda: told(story, Kind.POST_DEFERRED))
        assert (await kept(story, planned[HOOK.name])).state is PostState.WAITING
        assert not await told(story, Kind.POST_IN_DOUBT)


async def entries(story: Story) -> list[str]:
    """What the record says of posts, in order."""
    lines = reversed(await story.ledger.read(records.lines))
    return [line.kind for line in lines if line.kind.startswith(("Post", "Attempt"))]


async def told(story: Story, kind: Kind) -> bool:
    return kind in [line.kind for line in await story.ledger.read(records.lines)]


async def fares(story: Story) -> bool:
    return HOOK.name in await story.ledger.read(channels.several)


async def looked_twice(story: Story) -> None:
    """Waits for two looks of deliver into the ledger: each renews the leases first."""
    for _ in range(2):
        story.clock.move(microseconds=1)
        await until("its lease was renewed", lambda: renewed(story))


async def renewed(story: Story) -> bool:
    """Whether the channel's lease lasts as long from now as one that is renewed now."""
    until = select(schema.leases.c.until).where(schema.leases.c.name == f"channel:{HOOK.name}")
    lasts: datetime = await story.ledger.read(lambda tx: tx.connection.execute(until).scalar_one())
    return lasts == story.clock.at + LASTS


async def taken_by_another(story: Story, who: str = "another") -> bool:
    name = [f"channel:{HOOK.name}"]
    return bool(await story.ledger.write(lambda tx: leases.take(tx, name, who, LASTS)))


async def _is(true: bool) -> bool:
    return true


class Answers:
    """The adapter of a channel that takes what it is sent; where slow the first when told to."""

    def __init__(
        self, *, slow: bool = False, channel: Channel[Exercise] = HOOK, ends: Sequence[object] = (),
        sights: Sequence[object] = (),
    ) -> None:  # fmt: skip
        """`ends`: how the first sends end, and `sights` the first looks."""
        self.channel = channel
        self.closed = False
        self.sent = 0
        self.looks = 0
        self.posts: list[str] = []
        self._ends, self._sights = list(ends), list(sights)
        self.go_on = asyncio.Event()
        if not slow:
            self.go_on.set()

    async def send(self, message: Any) -> Receipt:
        self.sent += 1
        self.posts.append(message.post_id)
        if self.sent == 1:
            await self.go_on.wait()
        return _said(self._ends.pop(0)) if self._ends else Receipt(remote_id="1", url=None)

    async def find(self, message: Any) -> Receipt | None:
        self.looks += 1
        assert self._sights, "nothing is in doubt"
        found = self._sights.pop(0)
        return None if found is None else _said(found)

    async def close(self) -> None:
        self.closed = True


def _said(how: object) -> Receipt:
    if isinstance(how, Exception):
        raise how
    assert isinstance(how, Receipt)
    return how


@contextlib.asynccontextmanager
async def delivering(
    story: Story,
    home: Path,
    *names: str,
    answers: Answers | None = None,
    mine: set[str] | None = None,
    steady: Callable[[], float] | None = None,
) -> AsyncIterator[tuple[asyncio.Task[None], Deliver]]:
    """A deliver to whose process these channels' messages come; or those of `mine`, which moves."""
    known = Channels(Settings(home=home), story.ledger)
    adapters = {name: known.adapter(name) for name in names if name in known.names}
    for name in set(names) - adapters.keys():
        adapters[name] = answers or NeverAsked()
    worker = Deliver(
        story.ledger, adapters, lambda public_id: public_id, story.clock, "worker-1",
        steady or (lambda: story.clock.at.timestamp()),
    )  # fmt: skip
    running = asyncio.create_task(worker.run(lambda: frozenset(names if mine is None else mine)))
    try:
        yield running, worker
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, LedgerAway):
            await running
        await worker.close()


class NeverAsked:
    """The adapter of a channel on which nothing may be sent."""

    channel = HOOK

    async def send(self, message: Any) -> Any:
        raise AssertionError("another has the channel")

    find = send

    async def close(self) -> None:
        """Nothing was opened."""


async def kept(story: Story, post: posts.Kept) -> posts.Kept:
    now = await story.ledger.read(lambda tx: posts.get(tx, post.id))
    assert now is not None
    return now


async def ended(story: Story, post: posts.Kept) -> PostState:
    async def state() -> PostState | None:
        now = (await kept(story, post)).state
        return now if now.ended else None

    return await until("the post ended", state)


async def test_what_calls_waits_until_it_was_looked_at(story: Story, tmp_path: Path) -> None:
    """So a message is acknowledged only then; one look answers all that call meanwhile."""
    async with delivering(story, tmp_path, PAGE.name) as (_, worker):
        _, planned = await story.released(await story.reported(), channels=[PAGE])
        await asyncio.gather(*(worker.look() for _ in range(5)))
        assert (await kept(story, planned[PAGE.name])).state is not PostState.PLANNED


async def test_what_calls_hears_that_the_ledger_is_away(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its message is not acknowledged, and comes again."""
    async with delivering(story, tmp_path, PAGE.name) as (running, worker):
        await worker.look()

        async def away(step: Any, *, urgent: bool = False) -> Any:
            raise LedgerAway("it is gone")

        with monkeypatch.context() as gone:
            gone.setattr(story.ledger, "write", away)
            with pytest.raises(LedgerAway):
                await worker.look()
            with pytest.raises(LedgerAway):
                await running


async def test_what_calls_at_the_end_is_let_go(story: Story, tmp_path: Path) -> None:
    async with delivering(story, tmp_path, PAGE.name) as (running, worker):
        await worker.look()
        running.cancel()
        async with asyncio.timeout(PATIENCE):
            await worker.look()
            await asyncio.wait([running])
            await worker.look()
