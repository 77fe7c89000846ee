"""Inform: the department's own app is told of each change of an approval request's state.

It runs beside notify's calls, under the same lease, and shares nothing with them: an app that is
sick delays itself alone. What is to be told stands in the ledger; when again is
`informing.next_try`. No transaction lasts over a send, and none is needed before it: what may have
been told is told again, under the same id.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import structlog

from broadcaster.clock import Clock
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.informing import GIVEN_UP_AFTER, Informer, next_try
from broadcaster.ledger import Ledger, Tx, request_changes
from broadcaster.ledger.request_changes import Untold
from streams.woken import Woken

#: Where nothing is due, the ledger is looked at again after this long, whoever wakes us.
LONGEST_WAIT = timedelta(seconds=30)

log = structlog.get_logger(__name__)


class Inform:
    """Tells one app, where and while it runs. One at a time may."""

    def __init__(self, ledger: Ledger, informer: Informer[Any], address: str, clock: Clock) -> None:
        """`address`: the desk's."""
        self._ledger = ledger
        self._informer = informer
        self._address = address
        self._clock = clock

    async def run(self) -> None:
        """Tells until cancelled. Raises LedgerAway."""
        changed = Woken(self._ledger, "request_changes")
        try:
            while True:
                untold = await self._ledger.read(self._look)
                now = self._clock.now()
                if any(each.change.at <= now - GIVEN_UP_AFTER for each in untold):
                    await self._ledger.write(request_changes.give_up)
                elif due := [each for each in untold if each.next_look <= now]:
                    await asyncio.gather(*(self._tell(each) for each in due))
                else:
                    await changed.wait(self._until(untold))
        finally:
            changed.forget()

    async def close(self) -> None:
        await self._informer.close()

    def _look(self, tx: Tx) -> list[Untold]:
        return request_changes.untold(tx, self._address)

    def _until(self, untold: list[Untold]) -> float:
        looks = [each.next_look - self._clock.now() for each in untold]
        return max(min([*looks, LONGEST_WAIT]).total_seconds(), 0.0)

    async def _tell(self, it: Untold) -> None:
        if how := await self._try(it):
            at = next_try(how, it.tries + 1, self._clock.now())
            log.warning("the app was not told", request_id=it.change.request_id, why=str(how))
            await self._ledger.write(lambda tx: request_changes.later(tx, it.number, at))
        else:
            await self._ledger.write(lambda tx: request_changes.told(tx, it.number))

    async def _try(self, it: Untold) -> TryLater | Refused | InDoubt | None:
        try:
            await self._informer.inform(it.change)
            return None
        except (TryLater, Refused, InDoubt) as problem:
            return problem
        except Exception as problem:  # what nobody foresaw must not keep the others from being told
            log.exception("telling the app failed", request_id=it.change.request_id)
            return InDoubt(f"Something failed in telling ({type(problem).__name__}).")
