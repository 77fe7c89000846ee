"""What is done for a post once it is there: it is read back, and taken down where it was wrong.

An *errand* is done by the channel's own worker, between sends, until it has an end. Pure, as
`outcome` is: this says what follows from how one try of an errand ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import tenacity

from broadcaster.delivery import InDoubt, Refused, Seen, TryLater, Unsupported
from broadcaster.outcome import Tell, pause
from broadcaster.update import Rendering

#: A post is read back so long after it was proved to be there.
READ_AFTER = (timedelta(), timedelta(hours=1), timedelta(hours=24))

#: After so long nobody tries to read it any more.
READ_UNTIL = timedelta(hours=48)

#: Where wrong words stand again, it is read so often, and somebody is told each time.
READ_AGAIN = timedelta(hours=1)

#: What could not be taken down in so long, a person is told of.
TAKE_DOWN_WITHIN = timedelta(minutes=15)

_WAIT = tenacity.wait_random_exponential(multiplier=1, max=300)


class Errand(StrEnum):
    """What is done for a post that is there."""

    READ_BACK = "read back"  #: whether the public reads what was approved
    RETRACT = "retract"  #: right words were posted since, so it is taken down


class Found(StrEnum):
    """What came of an errand."""

    AS_APPROVED = "as approved"
    CHANGED = "changed"  #: the public reads something else there
    WRONG = "wrong again"  #: what it was to put right stands there again
    ANSWERABLE = "open to answers"  #: the words are right, and the public can answer them there
    GONE = "gone"  #: it is there no more, and we did not take it down
    DOWN = "down"  #: we took it down
    STAYS = "stays"  #: we cannot take it down: somebody must, by hand

    @property
    def alarms(self) -> bool:
        """Whether somebody must look: what the public reads is not as it was approved."""
        return self not in (Found.AS_APPROVED, Found.DOWN)


@dataclass(frozen=True)
class Owed:
    """An errand as it stands."""

    errand: Errand
    since: datetime  #: when it was first owed
    reads: int = 0  #: how often it told something
    tries: int = 0  #: in a row that told nothing, this one with them
    found: Found | None = None  #: what came of it so far
    read: str | None = None  #: the digest of what was read where that was not as approved


@dataclass(frozen=True)
class Then:
    """What follows: when it is done again, what was found, and why, in words."""

    due_at: datetime | None
    found: Found | None = None
    why: str | None = None
    tell: Tell | None = None
    read: str | None = None  #: the digest of what was read, where that is not as approved
    alarms: bool = False  #: whether somebody must look, though they have seen what was before


def as_approved(seen: Seen, approved: Rendering) -> bool:
    """Whether the public reads the words that were approved."""
    return seen.text == approved.text and seen.headline in (None, approved.headline)


def after_read(
    how: Seen | TryLater | Unsupported | None, approved: Rendering, owed: Owed, *,
    wrong: Collection[Rendering] = (), now: datetime,
) -> Then:  # fmt: skip
    """What follows from a look at what the public reads.

    `wrong`: the words that these were to put right. Whoever has seen that others stand there is
    told anew where it happens again; of wrong words that stand there again, each time they do.
    """
    match how:
        case TryLater():
            over = now > owed.since + READ_UNTIL
            return Then(None if over else _again(how.after, owed, now), why=str(how))
        case Unsupported():
            return Then(None, why=str(how))
        case None:
            why = "It is there no more, and nobody here took it down."
            anew = owed.found is not Found.GONE
            return Then(_next_read(owed), Found.GONE, why, Tell.PIO, alarms=anew)
        case Seen() if as_approved(how, approved):
            return _framed(how, approved, owed)
        case Seen() if any(as_approved(how, words) for words in wrong):
            why = "The wrong words stand there again, in the place of these."
            again = now + READ_AGAIN
            due = (
                min(_next_read(owed) or again, again) if again <= owed.since + READ_UNTIL else None
            )
            return Then(due, Found.WRONG, why, Tell.PIO, _digest(how), alarms=True)
        case Seen():
            why = "What the public reads there is not what was approved."
            anew = (owed.found, owed.read) != (Found.CHANGED, _digest(how))
            return Then(_next_read(owed), Found.CHANGED, why, Tell.PIO, _digest(how), anew)


def _framed(seen: Seen, approved: Rendering, owed: Owed) -> Then:
    """What follows where the words are right: from what stands with them, and whether they can be
    answered. What a channel does not tell is no alarm."""
    if seen.pictures not in (None, tuple(each.alt for each in approved.pictures)):
        found, why = Found.CHANGED, "The words are there, but not the picture that was approved."
        if not approved.pictures:
            why = "The words are there, and with them a picture that nobody approved."
    elif seen.answerable:
        found, why = Found.ANSWERABLE, (
            "The public can answer it there, though that was to be closed (389.5.1). Close it "
            "there by hand."
        )  # fmt: skip
    else:
        return Then(_next_read(owed), Found.AS_APPROVED)
    anew = (owed.found, owed.read) != (found, _digest(seen))
    return Then(_next_read(owed), found, why, Tell.PIO, _digest(seen), anew)


def after_retract(
    how: TryLater | InDoubt | Refused | Unsupported | None, owed: Owed, *, now: datetime
) -> Then:
    """What follows from a try to take a post down; to try it twice does no harm.

    A person is told once where it takes long, since wrong words are read meanwhile, and once more
    where it is tried no longer.
    """
    match how:
        case None:
            return Then(None, Found.DOWN)
        case TryLater() | InDoubt():
            again = _again(how.after, owed, now)
            if owed.reads or now <= owed.since + TAKE_DOWN_WITHIN:
                return Then(again, why=str(how))
            why = f"{how} It is tried again, and quicker taken down by hand."
            return Then(again, Found.STAYS, why, Tell.PIO, alarms=True)
        case Refused() | Unsupported():
            why = f"{how} Take it down by hand."
            return Then(None, Found.STAYS, why, Tell.PIO, alarms=True)


def _digest(seen: Seen) -> str:
    pictures = "".join(f"\0{each}" for each in seen.pictures or ())
    return hashlib.sha256(f"{seen.headline}\0{seen.text}{pictures}".encode()).hexdigest()


def _next_read(owed: Owed) -> datetime | None:
    later = READ_AFTER[owed.reads + 1 :]
    return owed.since + later[0] if later else None


def _again(asked: timedelta | None, owed: Owed, now: datetime) -> datetime:
    return now + max(asked or timedelta(), pause(_WAIT, owed.tries))
