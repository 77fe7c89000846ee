"""A channel that fails is left alone for a while, and then asked by one post at a time.

Beside it stands the pause that a channel asks for (Retry-After): until it is over nothing at all is
sent there, whatever post it was told to. Pure; what it comes to is kept in the ledger, so that the
next holder of the channel's lease goes on with it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from broadcaster.outcome import Happened, Met
from broadcaster.world import Frozen

#: So many failures one after the other open the breaker; then one post tries after each pause
#: (facts/security-reliability-ux.md §3).
OPENS_AFTER = 5
PROBE_EVERY = timedelta(seconds=15)

_FAILED = (Met.UNSENT, Met.UNKNOWN, Met.LOOK_FAILED)


class Breaker(Frozen):
    """How a channel fares: what failed in a row, and when it is asked next."""

    failures: int = 0
    again_at: datetime | None = None  #: nothing is sent before
    why: str | None = None

    @property
    def open(self) -> bool:
        return self.failures >= OPENS_AFTER

    def room(self, most: int, *, now: datetime) -> int:
        """How many posts may be under way there, of `most` at other times."""
        if self.again_at is not None and now < self.again_at:
            return 0
        return 1 if self.open else most

    def after(self, happened: Happened, *, now: datetime) -> Breaker:
        """How it fares once a try or a look of it has ended."""
        again_at = self.again_at if self.again_at and self.again_at > now else None
        if happened.pause:
            again_at = max(now + happened.pause, again_at or now)
        if happened.met not in _FAILED:
            return Breaker(again_at=again_at, why=self.why if again_at else None)
        failures = self.failures if happened.pause else self.failures + 1
        if failures >= OPENS_AFTER:
            again_at = max(now + PROBE_EVERY, again_at or now)
        return Breaker(failures=failures, again_at=again_at, why=happened.why)
