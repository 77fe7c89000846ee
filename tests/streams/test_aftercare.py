"""What is owed to posts that are there: put right by what their channel can do, and read back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from broadcaster.aftercare import READ_AFTER, TAKE_DOWN_WITHIN, Errand, Found
from broadcaster.channel import Channel, Idempotency, Mending
from broadcaster.delivery import (
    InDoubt,
    NotThere,
    PostState,
    Receipt,
    Refused,
    Seen,
    Sender,
    TryLater,
    Unsupported,
    post_id,
)
from broadcaster.errors import Refusal
from broadcaster.ledger import (
    Tx,
    approvals,
    attempts,
    errands,
    leases,
    posts,
    records,
    releases,
    schema,
)
from broadcaster.ledger.attempts import Ended, Opened, Outcome, Wanted
from broadcaster.ledger.leases import Lease
from broadcaster.ledger.posts import Turn
from broadcaster.orders import stop_release, take_back
from broadcaster.outcome import Choice, Next, tried
from broadcaster.record import Kind
from broadcaster.settling import choose, see_alarm
from broadcaster.world import Exercise
from streams.deliver import Deliver, _note_ends, _Sent
from streams.gate import judge_decision
from streams.sweep import sweep
from tests.connected.installation import until
from tests.story import EXERCISE, HOOK, INCIDENT_URL, PAGE, Story
from tests.streams.test_deliver import delivering, ended, entries, kept, moving

PLATFORM = HOOK.model_copy(
    update={"idempotency": Idempotency.CAN_LOOK, "find_lag": timedelta(), "reads_back": True}
)
EDITS = PLATFORM.model_copy(update={"mending": Mending.EDIT})
DELETES = PLATFORM.model_copy(update={"mending": Mending.DELETE})

#: Whatever waits for longer is not waited for.
SOON = timedelta(minutes=30)


class Platform(Sender[Exercise]):
    """The adapter of a platform that holds what it is sent; each of `fails` fails one request."""

    def __init__(self, channel: Any, *fails: tuple[str, Exception]) -> None:
        self.channel = channel
        self.fails = list(fails)
        self.there: dict[str, str] = {}
        self.answerable = False
        self.asked: list[str] = []

    async def send(self, message: Any) -> Receipt:
        self.there[message.post_id] = message.rendering.text
        self._ask("send")
        return Receipt(remote_id=message.post_id)

    async def find(self, message: Any) -> Receipt | None:
        self._ask("find")
        return Receipt(remote_id=message.post_id) if message.post_id in self.there else None

    async def edit(self, message: Any, there: Receipt) -> Receipt:
        if there.remote_id not in self.there:
            raise NotThere("It is gone.")
        self.there[there.remote_id] = message.rendering.text
        self._ask("edit")
        return there

    async def retract(self, there: Receipt) -> None:
        self._ask("retract")
        self.there.pop(there.remote_id, None)

    async def read(self, there: Receipt) -> Seen | None:
        self._ask("read")
        text = self.there.get(there.remote_id)
        return Seen(text=text, answerable=self.answerable) if text is not None else None

    async def close(self) -> None:
        """Nothing was opened."""

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.fails and self.fails[0][0] == what:
            raise self.fails.pop(0)[1]


@dataclass
class Told:
    """Wrong words, what corrects them, and the platform that has both."""

    story: Story
    home: Path
    platform: Platform
    wrong: posts.Kept
    right: posts.Kept

    async def found(self, post: posts.Kept, errand: Errand) -> Found | None:
        return (await owed(self.story, post))[errand].found

    async def state(self, post: posts.Kept) -> PostState:
        return (await kept(self.story, post)).state

    @property
    def shown(self) -> list[str]:
        return list(self.platform.there.values())


async def told(
    story: Story, home: Path, platform: Platform, between: Callable[[], None] = lambda: None
) -> Told:
    """Wrong words are posted, and read back; then they are corrected, and all that follows is done.

    `between`: what happens to the platform before the correction.
    """
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [platform.channel])
    wrong = planned[HOOK.name]
    async with delivering(story, home, HOOK.name, answers=platform) as (_, worker):
        await ended(story, wrong)
        await done(story, worker, wrong)
        between()
        story.clock.move(seconds=1)
        corrected = await story.corrected(incident, release.id, [platform.channel])
        _, planned = await story.gated(corrected)
        await ended(story, planned[HOOK.name])
        for post in (planned[HOOK.name], wrong):
            await done(story, worker, post)
    return Told(story, home, platform, wrong, planned[HOOK.name])


async def done(story: Story, worker: Deliver, post: posts.Kept) -> None:
    """Until nothing is owed to a post before long; the clock goes to whatever is to be done."""

    async def nothing_is() -> bool:
        soon = [each.due_at for each in (await owed(story, post)).values()
                if each.due_at and each.due_at < story.clock.at + SOON]  # fmt: skip
        if soon and not worker._lanes[HOOK.name]._looking:
            story.clock.at = max(story.clock.at, *soon)
        return not soon

    await until("nothing is owed", nothing_is)


async def owed(story: Story, post: posts.Kept) -> dict[Errand, errands.Kept]:
    several = await story.ledger.read(lambda tx: errands.of_posts(tx, [post.id]))
    return {each.owed.errand: each for each in several}


# --- Put right --------------------------------------------------------------------------------


async def test_right_words_stand_in_the_place_of_wrong_ones(story: Story, tmp_path: Path) -> None:
    at = await told(story, tmp_path, Platform(EDITS))
    assert at.shown == ["EXERCISE, NOT REAL. Right words."]
    wrong, right = await kept(story, at.wrong), await kept(story, at.right)
    assert (wrong.state, right.state) == (PostState.RETRACTED, PostState.POSTED)
    assert wrong.remote_id == right.remote_id
    assert wrong.why == "Its words were put right: update #2 stands in their place."
    assert at.platform.asked == ["send", "read", "edit", "read"]
    assert await at.found(right, Errand.READ_BACK) is Found.AS_APPROVED
    assert await entries(story) == [
        Kind.ATTEMPT_STARTED, Kind.POST_DELIVERED, Kind.POST_READ_BACK, Kind.ATTEMPT_STARTED,
        Kind.POST_DELIVERED, Kind.POST_RETRACTED, Kind.POST_READ_BACK,
    ]  # fmt: skip


async def test_an_edit_whose_answer_is_lost_is_done_again(story: Story, tmp_path: Path) -> None:
    """It can do no harm twice, on a channel where a post could."""
    incident = await story.reported()
    platform = Platform(EDITS, ("edit", InDoubt("?")))
    release, planned = await story.released(incident, "Wrong words.", [EDITS])
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await ended(story, planned[HOOK.name])
        story.clock.move(seconds=1)
        _, later = await story.gated(await story.corrected(incident, release.id, [EDITS]))
        now = await moving(story, worker, later[HOOK.name], PostState.POSTED)
    assert now.attempts == 2 and "find" not in platform.asked
    assert list(platform.there.values()) == ["EXERCISE, NOT REAL. Right words."]


async def test_where_the_wrong_words_are_gone_the_right_ones_are_posted_alone(
    story: Story, tmp_path: Path
) -> None:
    platform = Platform(EDITS)
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [EDITS])
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await ended(story, planned[HOOK.name])
        platform.there.clear()
        story.clock.move(seconds=1)
        _, later = await story.gated(await story.corrected(incident, release.id, [EDITS]))
        now = await moving(story, worker, later[HOOK.name], PostState.POSTED)
    assert now.attempts == 2 and now.remote_id == now.id
    assert list(platform.there) == [now.id]
    assert (await kept(story, planned[HOOK.name])).state is PostState.RETRACTED


async def test_a_second_correction_stands_in_the_place_of_the_first(
    story: Story, tmp_path: Path
) -> None:
    at = await told(story, tmp_path, Platform(EDITS))
    async with delivering(story, tmp_path, HOOK.name, answers=at.platform):
        story.clock.move(seconds=1)
        again = await story.corrected(at.wrong.incident_id, at.wrong.release_id, [EDITS])
        _, last = await story.gated(again)
        assert await ended(story, last[HOOK.name]) is PostState.POSTED
    assert list(at.platform.there) == [at.wrong.id]
    assert [await at.state(post) for post in (at.wrong, at.right)] == [PostState.RETRACTED] * 2


async def test_wrong_words_are_taken_down_once_right_ones_are_posted(
    story: Story, tmp_path: Path
) -> None:
    """And again, while the platform cannot say that they are."""
    fails = [("retract", TryLater("away")), ("retract", InDoubt("?"))]
    at = await told(story, tmp_path, Platform(DELETES, *fails))
    assert at.shown == ["EXERCISE, NOT REAL. Right words."]
    assert await at.state(at.wrong) is PostState.RETRACTED
    asked = [each for each in at.platform.asked if each != "read"]
    assert asked == ["send", "send", "retract", "retract", "retract"]


async def test_what_cannot_be_taken_down_needs_a_person(story: Story, tmp_path: Path) -> None:
    refuses = Platform(DELETES, ("retract", Refused("Not allowed.")))
    at = await told(story, tmp_path, refuses)
    assert len(at.shown) == 2 and await at.state(at.wrong) is PostState.POSTED
    left = (await owed(story, at.wrong))[Errand.RETRACT]
    assert left.alarms and left.why == "Not allowed. Take it down by hand."
    assert Kind.POST_STAYS in await entries(story)
    await see(story, at.wrong, left)
    assert not (await owed(story, at.wrong))[Errand.RETRACT].alarms
    with pytest.raises(Refusal) as refused:
        await see(story, at.wrong, left)
    assert refused.value.code == "no_alarm"


@pytest.mark.parametrize("channel", [EDITS, DELETES])
async def test_what_only_a_person_has_seen_there_is_theirs_to_take_down(
    channel: Channel[Exercise], story: Story, tmp_path: Path
) -> None:
    """Nobody else knows which post it is."""
    platform = Platform(channel, ("send", InDoubt("?")), ("find", Unsupported("No.")))
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [channel])
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        wrong = await moving(story, worker, planned[HOOK.name], PostState.IN_DOUBT)
        await until("a person is asked", lambda: is_asked(story, wrong))
        await story.ledger.write(lambda tx: choose(tx, wrong.id, 1, Choice.THERE, story.pio))
        await story.ledger.write(sweep)
        story.clock.move(seconds=1)
        _, planned = await story.gated(await story.corrected(incident, release.id, [channel]))
        assert await ended(story, planned[HOOK.name]) is PostState.POSTED
    left = (await owed(story, wrong))[Errand.RETRACT]
    assert (left.found, left.alarms, left.due_at) == (Found.STAYS, True, None)
    assert "retract" not in platform.asked and Kind.POST_STAYS in await entries(story)


async def test_where_a_channel_can_do_neither_both_stand(story: Story, tmp_path: Path) -> None:
    at = await told(story, tmp_path, Platform(PLATFORM))
    assert len(at.shown) == 2
    assert not {Errand.RETRACT} & (await owed(story, at.wrong)).keys()


async def test_what_is_found_to_be_there_after_its_correction_is_taken_down(
    story: Story, tmp_path: Path
) -> None:
    platform = Platform(DELETES, ("send", InDoubt("?")), ("find", TryLater("away")))
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [DELETES])
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await moving(story, worker, planned[HOOK.name], PostState.IN_DOUBT)
        story.clock.move(seconds=1)
        _, later = await story.gated(await story.corrected(incident, release.id, [DELETES]))
        assert await ended(story, later[HOOK.name]) is PostState.POSTED
        await moving(story, worker, planned[HOOK.name], PostState.RETRACTED)
    assert list(platform.there) == [later[HOOK.name].id]


async def test_right_words_do_not_go_down_with_the_wrong_ones_whose_place_they_take(
    story: Story, tmp_path: Path
) -> None:
    """What is being taken down is no place to put words in."""
    fails = [("send", InDoubt("?")), ("find", TryLater("away")),
             ("retract", TryLater("away", timedelta(hours=2)))]  # fmt: skip
    platform = Platform(EDITS, *fails)
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [EDITS])
    wrong = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await moving(story, worker, wrong, PostState.IN_DOUBT)
        story.clock.move(seconds=1)
        _, first = await story.gated(await story.corrected(incident, release.id, [EDITS]))
        assert await ended(story, first[HOOK.name]) is PostState.POSTED
        await moving(story, worker, wrong, PostState.POSTED)
        await done(story, worker, wrong)
        _, second = await story.gated(await story.corrected(incident, release.id, [EDITS]))
        assert await ended(story, second[HOOK.name]) is PostState.POSTED
        story.clock.move(hours=2, seconds=1)
        await until("they are down", lambda: is_down(story, wrong))
        await done(story, worker, wrong)
    assert platform.there.keys() == {first[HOOK.name].id, second[HOOK.name].id}


async def test_words_in_anothers_place_are_looked_for_there(story: Story, tmp_path: Path) -> None:
    """The channel knows nothing of them under their own number."""
    platform = Platform(EDITS, ("edit", InDoubt("?")))
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [EDITS])
    wrong = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await ended(story, wrong)
        story.clock.move(seconds=1)
        later, planned = await story.gated(await story.corrected(incident, release.id, [EDITS]))
        right = planned[HOOK.name]
        await until("it was tried", lambda: is_in(story, right, PostState.WAITING))
        await story.ledger.write(lambda tx: stop_release(tx, later.id, story.pio))
        now = await moving(story, worker, right, PostState.POSTED)
        await done(story, worker, wrong)
    assert now.remote_id == wrong.id and await is_down(story, wrong)
    assert platform.there == {wrong.id: "EXERCISE, NOT REAL. Right words."}


async def test_what_may_have_been_posted_alone_is_not_put_in_anothers_place_as_well(
    story: Story, tmp_path: Path
) -> None:
    channel = EDITS.model_copy(update={"idempotency": Idempotency.WE_CHOOSE_THE_ID})
    fails = [("send", InDoubt("?")), ("find", TryLater("away")), *[("send", InDoubt("?"))] * 2]
    platform = Platform(channel, *fails)
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [channel])
    wrong = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await until("it was tried", lambda: is_in(story, wrong, PostState.WAITING))
        story.clock.move(microseconds=1)  # later, and before the wrong words are due again
        _, planned = await story.gated(await story.corrected(incident, release.id, [channel]))
        await moving(story, worker, wrong, PostState.POSTED)
        await moving(story, worker, planned[HOOK.name], PostState.POSTED)
        await until("they are down", lambda: is_down(story, wrong))
    assert list(platform.there) == [planned[HOOK.name].id]


@pytest.mark.parametrize("channel", [EDITS, DELETES])
async def test_what_is_found_after_its_correction_was_corrected_is_taken_down(
    channel: Channel[Exercise], story: Story, tmp_path: Path
) -> None:
    platform = Platform(channel, ("send", InDoubt("?")), ("find", TryLater("away")))
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [channel])
    wrong = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await moving(story, worker, wrong, PostState.IN_DOUBT)
        for _ in range(2):
            story.clock.move(seconds=0.1)
            release, planned = await story.gated(
                await story.corrected(incident, release.id, [channel])
            )
            assert await ended(story, planned[HOOK.name]) is PostState.POSTED
        await moving(story, worker, wrong, PostState.RETRACTED)
    assert list(platform.there.values()) == ["EXERCISE, NOT REAL. Right words."]


@pytest.mark.parametrize("channel", [DELETES, HOOK], ids=["deletes", "follows up"])
async def test_what_was_taken_back_and_proves_to_be_there_after_all_comes_down_by_itself(
    channel: Channel[Exercise], story: Story
) -> None:
    """Its retraction was not sent there, since it seemed never to have gone out. Taking down needs
    no words; where the channel cannot, a person is told."""
    release, planned = await story.released(await story.reported(), channels=[PAGE, channel])
    wrong, lasts = planned[HOOK.name], timedelta(seconds=30)

    def opened_on(tx: Tx, post_id: str, by: Channel[Exercise]) -> tuple[Outcome, Lease]:
        [lease] = leases.take(tx, [f"channel:{by.name}"], "test", lasts).values()
        [outcome] = attempts.open_(tx, [Wanted(post_id, lease, lasts, by)]).values()
        return outcome, lease

    def sent(tx: Tx, post_id: str, by: Channel[Exercise]) -> _Sent:
        opened, lease = opened_on(tx, post_id, by)
        assert isinstance(opened, Opened)
        return _Sent(opened, lease, tried(Receipt(remote_id=post_id)), by)

    def taken_back(tx: Tx) -> tuple[_Sent, str]:
        _note_ends(tx, [sent(tx, planned[PAGE.name].id, PAGE)], fares=False)
        answer_on_its_way = sent(tx, wrong.id, channel)
        return answer_on_its_way, take_back(tx, release.id, story.pio).request.id

    answer, request_id = await story.ledger.write(taken_back)
    story.clock.move(seconds=1)

    def released(tx: Tx) -> None:
        decision = approvals.decision_of(tx, request_id)
        assert decision is not None
        judge_decision(decision.decision.id, EXERCISE, INCIDENT_URL)(tx)
        posts.turn(tx, [Turn(wrong, Next(PostState.REPLACED, surely_not_there=True))])
        [newest, *_] = releases.of_incident(tx, wrong.incident_id)
        instead, _ = opened_on(tx, post_id(newest.id, channel.name), channel)
        assert isinstance(instead, Ended) and instead.then.state is PostState.STOPPED
        _note_ends(tx, [answer], fares=False)

    await story.ledger.write(released)
    assert (await kept(story, wrong)).state is PostState.POSTED
    down = (await owed(story, wrong))[Errand.RETRACT]
    if channel is DELETES:
        assert down.due_at and not down.found
    else:
        assert (down.due_at, down.found) == (None, Found.STAYS)
        assert down.why and "cannot be taken down" in down.why


# --- Read back --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def read_back(
    story: Story, tmp_path: Path, platform: Platform
) -> AsyncIterator[tuple[Platform, posts.Kept]]:
    """A post on it that was posted, and read back for the first time."""
    _, planned = await story.released(await story.reported(), "Leave.", [PLATFORM])
    post = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await ended(story, post)
        await done(story, worker, post)
        yield platform, post


async def test_what_the_public_reads_is_looked_at_three_times(story: Story, tmp_path: Path) -> None:
    platform = Platform(PLATFORM, ("read", TryLater("away")))
    async with read_back(story, tmp_path, platform) as (_, post):
        first = (await owed(story, post))[Errand.READ_BACK]
        assert (first.found, first.alarms) == (Found.AS_APPROVED, False)
        assert first.due_at == first.owed.since + READ_AFTER[1]
        platform.there[post.id] = "Leave"
        story.clock.at = first.due_at
        await until("it was read", lambda: has_found(story, post, Found.CHANGED))
        platform.there.clear()
        story.clock.at = first.owed.since + READ_AFTER[2]
        await until("it was read", lambda: has_found(story, post, Found.GONE))
        last = (await owed(story, post))[Errand.READ_BACK]
        assert last.due_at is None and last.alarms
    assert (await kept(story, post)).state is PostState.POSTED, "it was there; the alarm says more"
    entries = await story.ledger.read(lambda tx: records.of_incident(tx, post.incident_id))
    found = [each["public"]["found"] for each in reversed(entries)
             if each["kind"] == Kind.POST_READ_BACK]  # fmt: skip
    assert found == ["as approved", "changed", "gone"]


async def test_a_post_that_the_public_can_answer_all_at_once_stands_on_the_board_and_the_record(
    story: Story, tmp_path: Path
) -> None:
    async with read_back(story, tmp_path, Platform(PLATFORM)) as (platform, post):
        first = (await owed(story, post))[Errand.READ_BACK]
        assert (first.found, first.alarms) == (Found.AS_APPROVED, False)
        platform.answerable = True
        story.clock.at = first.owed.since + READ_AFTER[1]
        await until("it was read", lambda: has_found(story, post, Found.ANSWERABLE))
    [(alarming, errand)] = await story.ledger.read(
        lambda tx: errands.alarming(tx, [post.incident_id])
    )
    assert alarming.id == post.id and errand.why and "389.5.1" in errand.why
    entries = await story.ledger.read(lambda tx: records.of_incident(tx, post.incident_id))
    last = next(each for each in entries if each["kind"] == Kind.POST_READ_BACK)
    assert last["public"]["found"] == "open to answers" and last["public"]["tell"] == "pio"


async def test_it_is_not_read_before_the_channel_may_show_it(story: Story, tmp_path: Path) -> None:
    channel = PLATFORM.model_copy(update={"read_lag": timedelta(seconds=30)})
    platform = Platform(channel)
    _, planned = await story.released(await story.reported(), "Leave.", [channel])
    post = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await ended(story, post)
        read = (await owed(story, post))[Errand.READ_BACK]
        assert read.due_at == read.owed.since + timedelta(seconds=30)
        assert platform.asked == ["send"]
        await done(story, worker, post)
    assert platform.asked == ["send", "read"]


async def has_found(story: Story, post: posts.Kept, found: Found) -> bool:
    return (await owed(story, post))[Errand.READ_BACK].found is found


async def test_what_is_owed_is_done_by_whoever_has_the_channel_next(
    story: Story, tmp_path: Path
) -> None:
    away = [("retract", TryLater("away", timedelta(hours=2)))]
    platform = Platform(DELETES, *away)
    at = await told(story, tmp_path, platform)
    assert await at.state(at.wrong) is PostState.POSTED
    story.clock.move(hours=2, seconds=1)
    async with delivering(story, tmp_path, HOOK.name, answers=platform):
        await until("it is down", lambda: is_down(story, at.wrong))


async def is_down(story: Story, post: posts.Kept) -> bool:
    return await is_in(story, post, PostState.RETRACTED)


async def is_asked(story: Story, post: posts.Kept) -> bool:
    now = await kept(story, post)
    if now.next_look:
        story.clock.at = max(story.clock.at, now.next_look)
    return now.next_look is None


async def is_in(story: Story, post: posts.Kept, state: PostState) -> bool:
    return (await kept(story, post)).state is state


# --- What a person says of it -----------------------------------------------------------------


async def seen_there(
    story: Story, platform: Platform, home: Path, *, by: str = "a correction"
) -> tuple[posts.Kept, posts.Kept]:
    """Wrong words, and the right ones, of which one is in doubt until a person has seen it."""
    incident, channel = await story.reported(), platform.channel
    release, planned = await story.released(incident, "Wrong words.", [channel])
    wrong = planned[HOOK.name]
    async with delivering(story, home, HOOK.name, answers=platform) as (_, worker):
        if by == "a correction":
            await ended(story, wrong)
            platform.fails = [("send", InDoubt("?")), ("find", Unsupported("No."))]
        else:
            await moving(story, worker, wrong, PostState.IN_DOUBT)
        story.clock.move(seconds=1)
        _, planned = await story.gated(await story.corrected(incident, release.id, [channel]))
        right = planned[HOOK.name]
        doubtful = right if by == "a correction" else wrong
        if by == "a correction":
            await moving(story, worker, right, PostState.IN_DOUBT)
        else:
            await ended(story, right)
        await until("a person is asked", lambda: is_asked(story, doubtful))
        await story.ledger.write(lambda tx: choose(tx, doubtful.id, 1, Choice.THERE, story.pio))
        await story.ledger.write(lambda tx: sweep(tx, [channel]))
        assert await is_in(story, doubtful, PostState.POSTED)
        await done(story, worker, wrong)
    return wrong, right


async def test_wrong_words_are_taken_down_once_somebody_has_seen_the_right_ones(
    story: Story, tmp_path: Path
) -> None:
    platform = Platform(DELETES)
    wrong, right = await seen_there(story, platform, tmp_path)
    assert await is_down(story, wrong)
    assert list(platform.there) == [right.id]


async def test_wrong_words_that_somebody_has_seen_are_theirs_to_take_down_after_the_correction(
    story: Story, tmp_path: Path
) -> None:
    platform = Platform(DELETES, ("send", InDoubt("?")), ("find", Unsupported("No.")))
    wrong, _ = await seen_there(story, platform, tmp_path, by="the wrong words")
    left = (await owed(story, wrong))[Errand.RETRACT]
    assert (left.found, left.alarms) == (Found.STAYS, True)


async def test_right_words_that_somebody_has_seen_in_anothers_place_are_read_back_there(
    story: Story, tmp_path: Path
) -> None:
    """What they say is no proof: had the edit not arrived, the wrong words would stand there."""
    platform = Platform(EDITS, ("edit", InDoubt("?")))
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [EDITS])
    wrong = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await ended(story, wrong)
        await done(story, worker, wrong)
        story.clock.move(seconds=1)
        later, planned = await story.gated(await story.corrected(incident, release.id, [EDITS]))
        right = planned[HOOK.name]
        await until("it was tried", lambda: is_in(story, right, PostState.WAITING))
        platform.fails = [("read", Unsupported("No."))]
        await story.ledger.write(lambda tx: stop_release(tx, later.id, story.pio))
        await moving(story, worker, right, PostState.IN_DOUBT)
        await until("a person is asked", lambda: is_asked(story, right))
        platform.there[wrong.id] = "EXERCISE, NOT REAL. Wrong words."
        await story.ledger.write(lambda tx: choose(tx, right.id, 1, Choice.THERE, story.pio))
        await story.ledger.write(lambda tx: sweep(tx, [EDITS]))
        await done(story, worker, right)
    read = (await owed(story, right))[Errand.READ_BACK]
    assert (await kept(story, right)).remote_id == wrong.id and await is_down(story, wrong)
    assert (read.found, read.alarms) == (Found.WRONG, True)
    assert read.why == "The wrong words stand there again, in the place of these."


async def test_of_a_channel_that_is_in_the_settings_no_more_a_person_takes_it_down(
    story: Story, tmp_path: Path
) -> None:
    platform = Platform(DELETES, ("send", InDoubt("?")), ("find", Unsupported("No.")))
    incident = await story.reported()
    release, planned = await story.released(incident, "Wrong words.", [DELETES])
    wrong = planned[HOOK.name]
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        platform.fails = []
        await ended(story, wrong)
        platform.fails = [("send", InDoubt("?")), ("find", Unsupported("No."))]
        story.clock.move(seconds=1)
        _, planned = await story.gated(await story.corrected(incident, release.id, [DELETES]))
        right = planned[HOOK.name]
        await moving(story, worker, right, PostState.IN_DOUBT)
        await until("a person is asked", lambda: is_asked(story, right))
    await story.ledger.write(lambda tx: choose(tx, right.id, 1, Choice.THERE, story.pio))
    await story.ledger.write(sweep)
    left = (await owed(story, wrong))[Errand.RETRACT]
    assert (left.found, left.alarms, left.due_at) == (Found.STAYS, True, None)


async def test_what_stays_is_owed_until_somebody_says_that_it_is_down(
    story: Story, tmp_path: Path
) -> None:
    refuses = Platform(DELETES, ("retract", Refused("Not allowed.")))
    at = await told(story, tmp_path, refuses)
    wrong = at.wrong.id
    await story.ledger.write(lambda tx: choose(tx, wrong, 1, Choice.DOWN, story.pio))
    await story.ledger.write(sweep)
    now = await kept(story, at.wrong)
    assert (now.state, now.why) == (PostState.RETRACTED, "A. Reyes has taken it down.")
    assert not any(each.alarms for each in (await owed(story, at.wrong)).values())
    assert (await entries(story))[-1] == Kind.POST_RETRACTED
    for post in (wrong, at.right.id):  # the right words are nobody's to take down
        with pytest.raises(Refusal) as refused:
            await story.ledger.write(partial(choose, post_id=post, attempt=1, choice=Choice.DOWN,
                                             by=story.pio))  # fmt: skip
        assert refused.value.code == "post_moved"


async def test_that_it_is_not_tried_any_more_is_told_though_the_delay_was_seen(
    story: Story, tmp_path: Path
) -> None:
    """Else nobody would take it down."""
    late = TAKE_DOWN_WITHIN + timedelta(seconds=1)
    platform = Platform(DELETES, ("retract", TryLater("away", late)))
    platform.fails += [("retract", TryLater("away", timedelta(hours=2)))]
    at = await told(story, tmp_path, platform)
    left = (await owed(story, at.wrong))[Errand.RETRACT]
    assert (left.found, left.alarms) == (Found.STAYS, True) and left.due_at
    await see(story, at.wrong, left)
    assert not (await owed(story, at.wrong))[Errand.RETRACT].alarms
    platform.fails = [("retract", Refused("Not allowed."))]
    story.clock.at = left.due_at
    async with delivering(story, tmp_path, HOOK.name, answers=platform) as (_, worker):
        await done(story, worker, at.wrong)
    left = (await owed(story, at.wrong))[Errand.RETRACT]
    assert (left.found, left.alarms, left.due_at) == (Found.STAYS, True, None)


async def see(story: Story, post: posts.Kept, errand: errands.Kept) -> None:
    await story.ledger.write(
        lambda tx: see_alarm(tx, post.id, errand.owed.errand, errand.alarm, story.pio)
    )


async def test_what_was_seen_alarms_again_where_it_happens_again(
    story: Story, tmp_path: Path
) -> None:
    """Altered and seen; the same words: nobody is asked again; others: somebody is."""
    async with read_back(story, tmp_path, Platform(PLATFORM)) as (platform, post):
        approved = platform.there[post.id]
        read = (await owed(story, post))[Errand.READ_BACK]
        for text, alarms in [("Stay", True), ("Stay", False), ("Go", True), (approved, False),
                             ("Go", True)]:  # fmt: skip
            platform.there[post.id] = text
            read = await read_now(story, post)
            assert read.alarms == alarms, text
            if alarms:
                await see(story, post, read)
                with pytest.raises(Refusal) as refused:
                    await see(story, post, read)
                assert refused.value.code == "no_alarm"


async def test_only_what_was_shown_is_seen(story: Story, tmp_path: Path) -> None:
    async with read_back(story, tmp_path, Platform(PLATFORM)) as (platform, post):
        platform.there[post.id] = "Stay"
        shown = await read_now(story, post)
        platform.there[post.id] = "Go"
        await read_now(story, post)
    with pytest.raises(Refusal) as refused:
        await see(story, post, shown)
    assert refused.value.code == "alarm_moved"
    assert (await owed(story, post))[Errand.READ_BACK].alarms


async def has_read(story: Story, post: posts.Kept, reads: int) -> bool:
    return (await owed(story, post))[Errand.READ_BACK].owed.reads == reads


async def read_now(story: Story, post: posts.Kept) -> errands.Kept:
    """Has a post read back before its time, and waits until it was."""
    before = (await owed(story, post))[Errand.READ_BACK].owed.reads
    now = update(schema.errands).where(schema.errands.c.post_id == post.id)
    await story.ledger.write(lambda tx: tx.connection.execute(now.values(due_at=tx.now)).rowcount)
    await until("it was read", lambda: has_read(story, post, before + 1))
    return (await owed(story, post))[Errand.READ_BACK]
