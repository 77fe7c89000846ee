"""What becomes of a post: one table of states and of what can happen in them.

`before_attempt` says what must be true for a try; `after` what follows from how a try, a look, or a
wait ended. Both are pure. Whether and when something is tried again is decided here, by
tenacity's wait objects, and kept in the ledger as `next_look`.

The law behind it (DESIGN.md rule 5): what may have arrived is sent again only where that cannot
post twice, or after it was looked for and is not there; else a person chooses. An end is never
guessed. A key that a server takes is no reason not to look: it may be slow to know the key
(mastodon#21840), or know it and answer nothing but 500 (mastodon#40399).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import tenacity

from broadcaster.channel import AnyChannel, Idempotency
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    NotThere,
    PostState,
    Receipt,
    Refused,
    TryLater,
    Unsupported,
)
from broadcaster.update import Change, may_stand

#: Full jitter, at most 30 s between tries (facts/security-reliability-ux.md §3).
_WAIT = tenacity.wait_random_exponential(multiplier=0.5, max=30)

#: A post in doubt is looked for so long after its try ended, and then each minute. The last of
#: these comes after every channel's lag.
LOOKS = tuple(timedelta(seconds=each) for each in (2, 5, 15, 60, 120))
LOOK_EVERY = timedelta(seconds=60)

#: A channel that asks for a longer pause than this has a person told, too.
LONG_PAUSE = timedelta(minutes=15)

#: Of a post that may have arrived and cannot be looked for: when the Chief's designee has it sent
#: again all the same, for the safety of life.
SENT_AGAIN_AFTER = timedelta(seconds=60)

#: What no look could tell in so long, a person is asked.
LOOKED_FOR = timedelta(hours=24)

#: After so many tries that ended in doubt a post is not sent again by itself.
MOST_DOUBTS = 2


class Met(StrEnum):
    """What happened to a post."""

    PROVED = "proved"  #: the channel proved that it has it
    GONE = "gone"  #: what it was to be put in the place of is there no more
    UNSENT = "unsent"  #: it broke before the message left, or the channel says it did nothing
    REFUSED = "refused"  #: the channel said no for good
    LOCKED_OUT = "locked out"  #: the channel does not know our credential
    UNKNOWN = "unknown"  #: sent, and no trustworthy answer came
    FOUND = "found"  #: looked for, and there
    UNSEEN = "unseen"  #: looked for, and not to be seen
    LOOK_FAILED = "look failed"  #: looked for, and no trustworthy answer came
    TIME_UP = "time up"  #: it could not be looked for, and its wait is over


class Tell(StrEnum):
    """Who is told, beside whoever looks at its page."""

    PIO = "pio"  #: chooses what is to become of it
    OPERATOR = "operator"  #: sees to the channel


class Choice(StrEnum):
    """What a person says of a post that cannot be ended without one."""

    THERE = "there"  #: they have seen it
    SEND_AGAIN = "send again"  #: it is not there, or what kept it back is over
    NOT_THERE = "not there"  #: they have looked, and a later update says what stands
    DOWN = "down"  #: they have taken it down, since its words were wrong


def still_looking(state: PostState, next_look: datetime | None, looks: int) -> bool:
    """Whether a look for a post in doubt may yet tell what becomes of it.

    After as many as `LOOKS` has, its channel's lag is over, and it gives no answer: whoever has
    seen it with their own eyes knows more.
    """
    return state is PostState.IN_DOUBT and next_look is not None and looks < len(LOOKS)


def choices_of(
    state: PostState, *, takes_down: bool, looking: bool, superseded: bool
) -> tuple[Choice, ...]:  # fmt: skip
    """What a person may say of a post.

    `takes_down`: whether it is there and should not be. `looking`: as `still_looking` says: what
    is not to be seen yet may be there. `superseded`: whether a later update has taken its place,
    or was tried after it, so that it is sent no more (DESIGN.md rule 6).
    """
    match state:
        case PostState.POSTED if takes_down:
            return (Choice.DOWN,)
        case PostState.IN_DOUBT if looking:
            return (Choice.THERE,)
        case PostState.IN_DOUBT:
            return (Choice.THERE, Choice.NOT_THERE if superseded else Choice.SEND_AGAIN)
        case PostState.REFUSED | PostState.HELD if not superseded:
            return (Choice.SEND_AGAIN,)
    return ()


@dataclass(frozen=True)
class Next:
    """What becomes of a post: its state, when it is looked at again, and why, in words."""

    state: PostState
    next_look: datetime | None = None
    why: str | None = None
    tell: Tell | None = None
    surely_not_there: bool = False  #: nothing that was tried so far has arrived


# --- Before a try -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """What must be true now for an attempt: read under the lock, in the attempt's transaction."""

    release_expires_at: datetime
    stopped: bool
    replaced_by: str | None
    overtaken: bool  #: whether a later update of the incident was tried on this channel
    nothing_to_correct: bool  #: what it corrects or takes back never went out on this channel
    replies_open: bool  #: whether the public can answer there, and the Chief has not said so be it
    digest_released: str
    digest: str  #: of the words that would be sent, computed from them now
    changes: Sequence[Change]  #: the facts in those words that are no longer so
    keeps: str | None  #: of which of them the Commander knew
    in_doubt: bool  #: whether an earlier attempt may have reached the public
    resend_until: datetime | None  #: as `Channel.resend_until` says; None: never by itself
    can_look: bool  #: whether its channel can be asked what it holds
    deadline: timedelta  #: how long the send may take


def before_attempt(standing: Standing, *, now: datetime) -> Next | None:
    """None if the post may be tried now; else what becomes of it instead. Fails closed.

    A post that may have reached the public already does not end as if it had not: it stays in
    doubt until somebody looks.
    """
    instead = _against(standing, now)
    if standing.in_doubt and instead is None and _key_is_over(standing, now):
        instead = Next(PostState.HELD, why="The channel knows its key no more. Nothing was sent.")
    if instead is None or not standing.in_doubt:
        return instead
    return Next(
        PostState.IN_DOUBT, now if standing.can_look else None,
        f"{instead.why} An earlier try may have arrived.", Tell.PIO,
    )  # fmt: skip


def _key_is_over(standing: Standing, now: datetime) -> bool:
    """Whether sending again would no longer surely write the same post; of class A alone."""
    until = standing.resend_until
    return until is not None and now > until - standing.deadline


def _against(standing: Standing, now: datetime) -> Next | None:
    if standing.stopped:
        return Next(PostState.STOPPED, why="The release was stopped before this was sent.")
    if standing.replaced_by is not None:
        return Next(PostState.REPLACED, why=f"Release {standing.replaced_by} took its place.")
    if standing.overtaken:
        return Next(PostState.REPLACED, why="A later update was sent here before it could be.")
    if standing.nothing_to_correct:
        return Next(PostState.STOPPED, why="What it is about never went out here.")
    if now >= standing.release_expires_at:
        why = "Its time ran out before it could be sent."
        return Next(PostState.EXPIRED, why=why, tell=Tell.PIO)
    if standing.replies_open:
        return Next(
            PostState.HELD,
            why="The public can answer on this channel, and the Chief has not decided that it is "
            "used all the same (389.5.1). Nothing was sent.",
            tell=Tell.PIO,
        )
    if standing.digest != standing.digest_released:
        return Next(
            PostState.HELD,
            why="The words in the ledger are not the words that were approved. Nothing was sent; "
            "run `broadcaster verify`.",
            tell=Tell.OPERATOR,
        )
    if not may_stand(standing.changes, standing.keeps):
        changed = "; ".join(change.in_words for change in standing.changes)
        return Next(
            PostState.HELD,
            why=f"The incident has changed since these words were approved ({changed}). Nothing "
            "was sent.",
            tell=Tell.PIO,
        )
    return None


# --- After a try, a look, a wait --------------------------------------------------------------


@dataclass(frozen=True)
class Happened:
    """How one attempt or look ended: with a receipt, with what the adapter raised, or, of a look,
    with neither."""

    met: Met
    receipt: Receipt | None = None
    why: str | None = None
    pause: timedelta | None = None  #: that the channel asked for


def tried(how: Receipt | TryLater | Refused | InDoubt | NotThere) -> Happened:
    """How an attempt ended."""
    match how:
        case Receipt():
            return Happened(Met.PROVED, how)
        case NotThere():
            return Happened(Met.GONE, why=str(how))
        case TryLater():
            return Happened(Met.UNSENT, why=str(how), pause=how.after)
        case LockedOut():
            return Happened(Met.LOCKED_OUT, why=str(how))
        case Refused():
            return Happened(Met.REFUSED, why=str(how))
        case InDoubt():
            return Happened(Met.UNKNOWN, why=str(how), pause=how.after)


def looked(how: Receipt | TryLater | Unsupported | None) -> Happened:
    """How a look ended."""
    match how:
        case Receipt():
            return Happened(Met.FOUND, how)
        case TryLater():
            return Happened(Met.LOOK_FAILED, why=str(how), pause=how.after)
        case Unsupported():
            return Happened(Met.TIME_UP, why=str(how))
        case None:
            return Happened(Met.UNSEEN, why="It was looked for, and is not to be seen there.")


@dataclass(frozen=True)
class Trial:
    """What was tried of a post so far, and what its channel can do: all that the table looks at."""

    channel: AnyChannel
    attempts: int  #: begun so far
    doubts: int  #: of them that ended in doubt, this one with them
    looks: int  #: for it since, this one with them
    first_tried_at: datetime
    doubt_since: datetime  #: when the last of those ended; of a try that ends now, now
    expires_at: datetime
    overtaken: bool  #: whether a later update of the incident was tried on this channel
    sent_again: bool  #: whether the designee has the channel send again what is in doubt
    may_be_there: bool  #: whether a try that ended before may have arrived
    edits: bool = False  #: whether it was put in the place of another post, which may be done twice


#: What the channel proved needs no look at what was before.
PROVED = Next(PostState.POSTED)


def after(
    state: PostState, happened: Happened, trial: Trial, *, now: datetime,
    began: datetime | None = None,
) -> Next:  # fmt: skip
    """What becomes of a post in `state` to which this `happened`: the first row that fits.

    `began`: of a look, when at the earliest; what has come to be seen since, it has not seen.
    """
    it = _It(happened, trial, now, began)
    for known, met, when, then in TABLE:
        if known is state and met is happened.met and when(it):
            return then(it)
    raise ValueError(f"nothing is said of a post that is {state} and {happened.met}")


@dataclass(frozen=True)
class _It:
    """One post at one moment."""

    happened: Happened
    trial: Trial
    now: datetime
    began: datetime | None

    # When a row fits.

    def always(self) -> bool:
        return True

    def asks_for_long(self) -> bool:
        return (self.happened.pause or timedelta()) > LONG_PAUSE

    def cannot_double(self) -> bool:
        """Whether sending again, once its pause is over, would still write the same post."""
        if self.trial.edits:
            return True
        channel = self.trial.channel
        longest = channel.deadline + channel.upload  # to be sure, as if it brought pictures
        until = channel.resend_until(self.trial.first_tried_at)
        return until is not None and self._tried_again_at() <= until - longest

    def looks_first(self) -> bool:
        """Whether it is looked for though its server takes our key."""
        takes_key = self.trial.channel.idempotency is Idempotency.TAKES_OUR_KEY
        return takes_key and self.can_look() and not self.trial.edits

    def may_be_there(self) -> bool:
        return self.trial.may_be_there

    def can_look(self) -> bool:
        return self.trial.channel.find_lag is not None

    def is_sent_again(self) -> bool:
        """Whether the designee has a channel that nobody can ask send once more."""
        blind = self.trial.channel.idempotency is Idempotency.BLIND
        return blind and self.trial.sent_again and self.trial.doubts < MOST_DOUBTS

    def may_still_appear(self) -> bool:
        shown = self.trial.doubt_since + (self.trial.channel.find_lag or timedelta())
        return self.began is None or self.began < shown

    def looked_for_long(self) -> bool:
        return self.now > self.trial.doubt_since + LOOKED_FOR

    def overtaken(self) -> bool:
        return self.trial.overtaken

    def tried_enough(self) -> bool:
        return self.trial.doubts >= MOST_DOUBTS and not self.cannot_double()

    # What follows.

    def posted(self) -> Next:
        return PROVED

    def refused(self) -> Next:
        return Next(PostState.REFUSED, why=self.happened.why, tell=Tell.PIO)

    def refused_now(self) -> Next:
        """In doubt, as the tries before left it."""
        why = f"{self.happened.why} An earlier try may have arrived."
        return Next(PostState.IN_DOUBT, self.now if self.can_look() else None, why, Tell.PIO)

    def wait(self) -> Next:
        return Next(PostState.WAITING, self._tried_again_at(), self.happened.why)

    def wait_and_tell(self) -> Next:
        return Next(PostState.WAITING, self._tried_again_at(), self.happened.why, Tell.OPERATOR)

    def look(self) -> Next:
        """In doubt, and looked for at the next of the times for that."""
        looks = self.trial.looks
        more = max(looks + 1 - len(LOOKS), 0) * LOOK_EVERY
        due = self.trial.doubt_since + LOOKS[min(looks, len(LOOKS) - 1)] + more
        pause = self.now + (self.happened.pause or timedelta())
        soonest = self.now + (LOOKS[0] if looks else timedelta())  # never without a pause
        tell = Tell.PIO if self.happened.met is Met.UNKNOWN else None
        return Next(PostState.IN_DOUBT, max(due, pause, soonest), self.happened.why, tell)

    def count_down(self) -> Next:
        """In doubt, and sent again after a while, as the designee has it."""
        return Next(
            PostState.IN_DOUBT, self.now + SENT_AGAIN_AFTER, self.happened.why, Tell.PIO
        )  # fmt: skip

    def ask(self) -> Next:
        return Next(PostState.IN_DOUBT, None, self.happened.why, Tell.PIO)

    def ask_after_two(self) -> Next:
        why = "It was sent twice without an answer, and is not to be seen there."
        return Next(PostState.IN_DOUBT, None, why, Tell.PIO, surely_not_there=True)

    def send_again(self) -> Next:
        why = "It was looked for and is not there, so it is sent again."
        return Next(PostState.WAITING, self._tried_again_at(), why, surely_not_there=True)

    def send_for_safety(self) -> Next:
        why = "Nobody can say whether it arrived; for the safety of life it is sent again."
        return Next(PostState.WAITING, self.now, why)

    def take_its_place(self) -> Next:
        why = "It did not arrive, and a later update was sent meanwhile: it is not sent any more."
        return Next(PostState.REPLACED, why=why, surely_not_there=True)

    def _tried_again_at(self) -> datetime:
        # A pause of 0 s is no leave to ask without pause; and no post waits longer than it lives.
        pause = max(self.happened.pause or timedelta(), backoff(self.trial.attempts))
        return min(self.now + pause, self.trial.expires_at)


Row = tuple[PostState, Met, Callable[[_It], bool], Callable[[_It], Next]]

_SENDING, _IN_DOUBT = PostState.SENDING, PostState.IN_DOUBT

#: In this state, this happened, and this is so: then that. The first row that fits holds.
TABLE: tuple[Row, ...] = (
    (_SENDING, Met.PROVED, _It.always, _It.posted),
    (_SENDING, Met.REFUSED, _It.may_be_there, _It.refused_now),
    (_SENDING, Met.REFUSED, _It.always, _It.refused),
    (_SENDING, Met.GONE, _It.always, _It.wait),
    (_SENDING, Met.LOCKED_OUT, _It.always, _It.wait_and_tell),
    (_SENDING, Met.UNSENT, _It.asks_for_long, _It.wait_and_tell),
    (_SENDING, Met.UNSENT, _It.always, _It.wait),
    (_SENDING, Met.UNKNOWN, _It.looks_first, _It.look),
    (_SENDING, Met.UNKNOWN, _It.cannot_double, _It.wait),
    (_SENDING, Met.UNKNOWN, _It.can_look, _It.look),
    (_SENDING, Met.UNKNOWN, _It.is_sent_again, _It.count_down),
    (_SENDING, Met.UNKNOWN, _It.always, _It.ask),
    (_IN_DOUBT, Met.PROVED, _It.always, _It.posted),  # its answer came after all
    (_IN_DOUBT, Met.FOUND, _It.always, _It.posted),
    (_IN_DOUBT, Met.LOOK_FAILED, _It.looked_for_long, _It.ask),
    (_IN_DOUBT, Met.LOOK_FAILED, _It.always, _It.look),
    (_IN_DOUBT, Met.UNSEEN, _It.may_still_appear, _It.look),
    (_IN_DOUBT, Met.UNSEEN, _It.overtaken, _It.take_its_place),
    (_IN_DOUBT, Met.UNSEEN, _It.tried_enough, _It.ask_after_two),
    (_IN_DOUBT, Met.UNSEEN, _It.always, _It.send_again),
    (_IN_DOUBT, Met.TIME_UP, _It.overtaken, _It.ask),
    (_IN_DOUBT, Met.TIME_UP, _It.is_sent_again, _It.send_for_safety),
    (_IN_DOUBT, Met.TIME_UP, _It.always, _It.ask),
)


def backoff(attempts: int) -> timedelta:
    """The pause before the next try of a post, with full jitter."""
    return pause(_WAIT, attempts)


def pause(wait: tenacity.wait.wait_base, attempts: int) -> timedelta:
    """How long tenacity's `wait` waits after so many attempts, for whoever waits by itself."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = max(1, attempts)
    return timedelta(seconds=wait(state))
