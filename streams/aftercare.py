"""Aftercare: what is owed to posts that are there, done on their channel's lane between sends.

What was right is read back; what was wrong is taken down once the right words are there. Neither
can post anything, and both may be done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import structlog

from broadcaster.aftercare import Errand, Found, Then, after_read, after_retract
from broadcaster.channel import AnyChannel, Mending
from broadcaster.delivery import (
    Adapter,
    InDoubt,
    PostState,
    Refused,
    Seen,
    TryLater,
    Unsupported,
    post_id,
)
from broadcaster.ledger import Tx, approvals, errands, leases, posts, releases
from broadcaster.ledger.attempts import Opened
from broadcaster.ledger.errands import Due
from broadcaster.outcome import Next
from broadcaster.record import Kind
from broadcaster.update import Rendering, Revision
from streams.ends import note_end

ACTOR = "deliver"

log = structlog.get_logger(__name__)

#: How one try of an errand ended; None: of a read, it is gone, of a retraction, it is down.
How = Seen | TryLater | InDoubt | Refused | Unsupported | None


@dataclass(frozen=True)
class Done:
    """An errand that was tried, and how that ended."""

    due: Due
    how: How


def cares(channel: AnyChannel) -> bool:
    """Whether anything is ever owed to a channel's posts."""
    return channel.reads_back or channel.mending is not Mending.FOLLOW_UP


async def do(adapter: Adapter[Any], due: Due) -> Done:
    """One try of an errand. What the adapter raises unasked tells nothing."""
    how: How
    try:
        async with asyncio.timeout(adapter.channel.deadline.total_seconds()):
            if due.errand is Errand.READ_BACK:
                how = await adapter.read(due.there)
            else:
                await adapter.retract(due.there)
                how = None
    except (TryLater, InDoubt, Refused, Unsupported) as said:
        how = said
    except TimeoutError:
        how = TryLater("The channel gave no answer in time.")
    except Exception as problem:
        log.exception("an adapter failed", channel=adapter.channel.name)
        how = TryLater(f"It broke off ({type(problem).__name__}).")
    return Done(due, how)


# --- The transactions -------------------------------------------------------------------------


def posted(tx: Tx, channel: AnyChannel, opened: Opened) -> None:
    """Notes what is owed once a post is proved to be there, by it and by what it corrects."""
    _owe_a_read(tx, channel, opened)
    _mend(tx, channel, opened)


def seen(tx: Tx, channel: AnyChannel | None, opened: Opened) -> None:
    """Notes what is owed once a person has seen a post there, of which no proof came.

    `channel`: None where the settings know it no more. Where the post stands we know only where it
    was put in the place of another.
    """
    if channel is not None and opened.edits is not None:
        _owe_a_read(tx, channel, opened)
    _mend(tx, channel, opened)


def _owe_a_read(tx: Tx, channel: AnyChannel, opened: Opened) -> None:
    if channel.reads_back:
        errands.owe(tx, opened.post.id, Errand.READ_BACK, channel.read_lag)


def _mend(tx: Tx, channel: AnyChannel | None, opened: Opened) -> None:
    """Notes what becomes of the wrong words, now that the right ones are there."""
    puts_right = _put_right_meanwhile(tx, opened)
    if channel is not None and channel.mending is Mending.FOLLOW_UP:
        if puts_right is Beside.NOWHERE:
            why = "What takes its words back was not sent there, and they cannot be taken down."
            _owe_retraction(tx, opened.post.id, by_hand=why)
        return
    if opened.edits is not None:
        number = opened.revision.number
        gone(tx, opened, f"Its words were put right: update #{number} stands in their place.")
    by_hand = None if channel else "Its channel is in the settings no more."
    for wrong in _puts_right(tx, opened.revision):
        _owe_retraction(tx, post_id(wrong, opened.post.channel), by_hand=by_hand)
    if puts_right is not None:
        _owe_retraction(tx, opened.post.id, by_hand=by_hand)


def gone(tx: Tx, opened: Opened, why: str) -> None:
    """Notes that the words in whose place an attempt put its own are there no more."""
    assert opened.edits is not None, "only an attempt that edits has such words"
    for post in posts.at(tx, opened.post.channel, opened.edits.remote_id):
        if post.id != opened.post.id:
            _down(tx, post, opened.public_id, why)


def note(tx: Tx, several: Sequence[Done]) -> Sequence[bool | Exception]:
    """Notes how errands ended; answers of each whether it still stood.

    LeaseLost where the channel has a new holder, who does it again.
    """
    lost = leases.lost(tx, {each.due.lease for each in several})
    return [lost.get(each.due.lease) or _note(tx, each) for each in several]


def _note(tx: Tx, done: Done) -> bool:
    opened, errand = done.due.opened, done.due.errand
    stands = errands.locked(tx, opened.post.id, errand)
    if stands is None:
        return False
    post, kept = stands
    if errand is Errand.READ_BACK:
        assert not isinstance(done.how, InDoubt | Refused), "a read does neither"
        approved = opened.revision.rendering(post.channel)
        wrong = _wrong_words(tx, opened)
        then = after_read(done.how, approved, kept.owed, wrong=wrong, now=tx.now)
    else:
        assert not isinstance(done.how, Seen), "a retraction sees nothing"
        then = after_retract(done.how, kept.owed, now=tx.now)
    errands.done(tx, kept, then)
    posts.changed(tx, post)
    if then.found is Found.DOWN:
        _down(
            tx,
            post,
            opened.public_id,
            "It was taken down, since right words were posted or it was taken back.",
        )
    elif then.found is not None:
        _tell(tx, post, then, done.how)
    return True


def _tell(tx: Tx, post: posts.Kept, then: Then, how: How) -> None:
    tx.trace = post.trace
    tx.record(
        Kind.POST_STAYS if then.found is Found.STAYS else Kind.POST_READ_BACK, actor=ACTOR,
        incident_id=post.incident_id, post_id=post.id, channel=post.channel,
        found=str(then.found), tell=then.tell,
        private={
            "why": then.why,
            "seen": how.text if isinstance(how, Seen) and then.read else None,
        },
    )  # fmt: skip


def taken_down(tx: Tx, post: posts.Kept, public_id: str, who: str) -> None:
    """Notes that somebody has taken wrong words down by hand."""
    _down(tx, post, public_id, f"{who} has taken it down.", actor="sweep")


def _down(
    tx: Tx, post: posts.Kept, public_id: str, why: str, *, actor: str = ACTOR
) -> None:  # fmt: skip
    then = Next(PostState.RETRACTED, why=why)
    posts.turn(tx, [posts.Turn(post, then)])
    note_end(tx, post, public_id, then, actor=actor)
    errands.end(tx, post.id)


def _owe_retraction(tx: Tx, wrong: str, *, by_hand: str | None = None) -> None:
    """`by_hand`: why nobody here could do it."""
    for post in posts.locked(tx, [wrong]):
        if post.state is PostState.POSTED:
            errands.owe(tx, post.id, Errand.RETRACT)
            if post.remote_id is None:  # we could not say which one to take down
                why = "Somebody has seen it there, and its number is not known to us."
                _leave_to_a_person(tx, post, why)
            elif by_hand:
                _leave_to_a_person(tx, post, by_hand)


def _leave_to_a_person(tx: Tx, post: posts.Kept, why: str) -> None:
    if stands := errands.locked(tx, post.id, Errand.RETRACT):
        _, kept = stands
        unknown = Unsupported(why)
        then = after_retract(unknown, kept.owed, now=tx.now)
        errands.done(tx, kept, then)
        posts.changed(tx, post)
        _tell(tx, post, then, unknown)


class Beside(Enum):
    """Where what puts a post right was before that was found to be there."""

    THERE = auto()
    NOWHERE = auto()  #: not sent on its channel, since the post seemed never to have gone out


def _put_right_meanwhile(tx: Tx, opened: Opened) -> Beside | None:
    """Whether what puts a post right is there already, or will never be; None: neither."""
    found = None
    post = opened.post
    for release in releases.of_incident(tx, post.incident_id, after=post.released_at):
        words = approvals.revision(tx, release.revision_id)
        if post.release_id in _puts_right(tx, words):
            right = posts.get(tx, post_id(release.id, post.channel))
            if right is not None and right.state is PostState.POSTED:
                return Beside.THERE
            stopped = releases.stopped_at(tx, release.id) is not None
            if right is None or (right.state is PostState.STOPPED and not stopped):
                found = Beside.NOWHERE
    return found


def _wrong_words(tx: Tx, opened: Opened) -> list[Rendering]:
    """What the public read on a post's channel before that put it right."""
    found = []
    for release_id in _puts_right(tx, opened.revision):
        release = releases.get(tx, release_id)
        words = approvals.revision(tx, release.revision_id) if release else None
        channel = opened.post.channel
        found += [each for each in (words.renderings if words else ()) if each.channel == channel]
    return found


def _puts_right(tx: Tx, words: Revision | None) -> list[str]:
    """The releases that words put right: what they correct, and what that was to correct."""
    wrong: list[str] = []
    while words and words.corrects:
        wrong.append(words.corrects)
        release = releases.get(tx, words.corrects)
        words = approvals.revision(tx, release.revision_id) if release else None
    return wrong
