"""The steps that run in other processes, as a desk or a command beside them sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from broadcaster.clock import Clock
from broadcaster.errors import LedgerAway
from broadcaster.ledger import Ledger
from broadcaster.ledger.standstill import standing_still
from streams.relay import Away

#: Seconds between two looks.
LOOK_EVERY = 1.0


class Beside:
    """How the steps are, by what they leave in the ledger: a desk needs no Kafka to know it."""

    def __init__(self, ledger: Ledger, channels: Sequence[str], clock: Clock) -> None:
        self.away: Away | None = None  #: since when something stands still, and why; None if not
        self._ledger = ledger
        self._channels = tuple(channels)
        self._clock = clock

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Looks once."""
        try:
            still = await self._ledger.read(lambda tx: standing_still(tx, self._channels))
        except LedgerAway as away:
            self.away = Away(self.away.since if self.away else self._clock.now(), away.why)
            return
        since = min((each.since for each in still), default=None)
        self.away = Away(since, " ".join(each.why for each in still)) if since else None
