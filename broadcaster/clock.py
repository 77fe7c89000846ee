"""Time, as one small port, so that tests can hold it still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """Tells the time; always aware, always UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


#: A clock that is set by more than this within one process's life is not believed before somebody
#: has looked at it: what expires, and who commanded when, is judged by it.
BELIEVED = timedelta(seconds=5)


#: A wall clock that took longer to be read than this tells nothing to compare later ones with.
_PROMPT = 1.0


class Reading(NamedTuple):
    """What a wall clock said, between two readings of the machine's steady one, in seconds."""

    before: float
    wall: datetime
    after: float


class Watch:
    """Whether a wall clock goes as the machine's steady one does."""

    def __init__(self, steady: Callable[[], float]) -> None:
        """`steady`: seconds of a clock that nobody sets."""
        self._steady = steady
        self._believed: Reading | None = None

    def read(self, wall: Callable[[], datetime]) -> Reading:
        return Reading(self._steady(), wall(), self._steady())

    def set_by(self, now: Reading) -> timedelta | None:
        """By how much the clock was set since it was last believed; None: it goes as it should."""
        then = self._believed
        if then is None:
            return None
        earliest, latest = (
            then.wall + timedelta(seconds=gone_by)
            for gone_by in (now.before - then.after, now.after - then.before)
        )
        if earliest - BELIEVED <= now.wall <= latest + BELIEVED:
            return None
        return now.wall - latest if now.wall > latest else now.wall - earliest

    def believe(self, now: Reading) -> None:
        """From now on a step is one from here."""
        if self._believed is None or now.after - now.before <= _PROMPT:
            self._believed = now


def age(then: datetime, now: datetime) -> str:
    """How long ago `then` was, as people say it: "just now", "3 min ago", "2 h ago"."""
    seconds = int((now - then).total_seconds())
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{seconds} s ago"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h ago"
    return f"{seconds // 86400} days ago"
