"""Deliver: many channels in one transaction, and none of them pays for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from broadcaster.bootstrap import make_adapters
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import LedgerAway, LedgerSilent
from broadcaster.ledger import Tx, attempts, leases, posts, records, schema
from broadcaster.ledger.attempts import Wanted
from broadcaster.record import Kind
from broadcaster.settings import Settings
from streams import deliver
from streams.deliver import Deliver
from streams.lease import LASTS
from tests.connected.installation import until
from tests.story import HOOK, PAGE, Story

#: Seconds that it is watched for: one that does not pause writes hundreds of times in them.
WATCHED = 1.0


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
        async with asyncio.timeout(10):
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
        attempts.open_(tx, [Wanted(left_open[PAGE.name].id, lease, timedelta())])
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


async def test_a_receipt_that_waits_for_the_ledger_is_not_called_in_doubt_meanwhile(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "RENEW_EVERY", timedelta(seconds=0.05))
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
    async with asyncio.timeout(10):
        async with delivering(story, tmp_path, HOOK.name, answers=Answers()):
            await until("it was to be noted", lambda: _is(asked > 0))
    assert asyncio.all_tasks() == before


async def test_a_channel_that_goes_to_another_process_ends_its_sends_first(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes on: nothing has to be cut off and left in doubt."""
    monkeypatch.setattr(deliver, "GRACE", 0)
    monkeypatch.setattr(deliver, "RENEW_EVERY", timedelta(seconds=0.05))
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


async def renewed(story: Story) -> bool:
    """Whether the channel's lease lasts as long from now as one that is renewed now."""
    until = select(schema.leases.c.until).where(schema.leases.c.name == f"channel:{HOOK.name}")
    lasts: datetime = await story.ledger.read(lambda tx: tx.connection.execute(until).scalar_one())
    return lasts == story.clock.at + LASTS


async def taken_by_another(story: Story) -> bool:
    name = [f"channel:{HOOK.name}"]
    return bool(await story.ledger.write(lambda tx: leases.take(tx, name, "another", LASTS)))


async def _is(true: bool) -> bool:
    return true


class Answers:
    """The adapter of a channel that takes what it is sent; where slow the first when told to."""

    def __init__(self, *, slow: bool = False) -> None:
        self.channel = HOOK
        self.sent = 0
        self.go_on = asyncio.Event()
        if not slow:
            self.go_on.set()

    async def send(self, message: Any) -> Receipt:
        self.sent += 1
        if self.sent == 1:
            await self.go_on.wait()
        return Receipt(remote_id="1", url=None)

    async def find(self, post_id: str) -> Receipt | None:
        raise AssertionError("nothing is in doubt")

    async def close(self) -> None:
        """Nothing was opened."""


@contextlib.asynccontextmanager
async def delivering(
    story: Story,
    home: Path,
    *channels: str,
    answers: Answers | None = None,
    mine: set[str] | None = None,
) -> AsyncIterator[tuple[asyncio.Task[None], Deliver]]:
    """A deliver to whose process these channels' messages come; or those of `mine`, which moves."""
    adapters = make_adapters(Settings(home=home), story.ledger)
    adapters = {name: adapter for name, adapter in adapters.items() if name in channels}
    for name in set(channels) - adapters.keys():
        adapters[name] = answers or NeverAsked()
    worker = Deliver(story.ledger, adapters, lambda public_id: public_id, story.clock, "worker-1")
    running = asyncio.create_task(worker.run(lambda: frozenset(channels if mine is None else mine)))
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
        async with asyncio.timeout(5):
            await worker.look()
            await asyncio.wait([running])
            await worker.look()
