"""One process at a time: what is led by whoever holds a lease in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from broadcaster.errors import LedgerAway
from broadcaster.ledger import Ledger, leases
from streams.together import together

#: How long a lease lasts without being renewed, and how often it is: work is taken over from a
#: process that was killed within the first, and at once from one that ended in order.
LASTS = timedelta(seconds=6)
RENEW_EVERY = timedelta(seconds=1.5)


async def while_held(
    ledger: Ledger, name: str, *work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Runs `work` while this process holds the lease, again and again, until cancelled."""
    holder = uuid.uuid4().hex
    while True:
        lease = await _taken(ledger, name, holder)
        with contextlib.suppress(leases.LeaseLost):
            await _until_lost(ledger, lease, work)


async def _until_lost(
    ledger: Ledger, lease: leases.Lease, work: Sequence[Callable[[], Coroutine[Any, Any, None]]]
) -> None:
    """Raises LeaseLost, or what ended the work; gives the lease back."""
    try:
        await together(_keep(ledger, lease), *(each() for each in work))
    finally:
        with contextlib.suppress(LedgerAway):
            await asyncio.shield(ledger.write(lambda tx: leases.let_go(tx, lease)))


async def _taken(ledger: Ledger, name: str, holder: str) -> leases.Lease:
    """Waits for a lease to be free, and takes it."""
    while True:
        taken = await ledger.write(lambda tx: leases.take(tx, [name], holder, LASTS))
        if name in taken:
            return taken[name]
        await asyncio.sleep(RENEW_EVERY.total_seconds() / 3)


async def _keep(ledger: Ledger, lease: leases.Lease) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY.total_seconds())
        await _renew(ledger, lease)


async def _renew(ledger: Ledger, lease: leases.Lease) -> None:
    """Makes a lease last again. Raises LeaseLost where another has it, or had it since."""
    renewed = await ledger.write(lambda tx: leases.take(tx, [lease.name], lease.holder, LASTS))
    if lease.name not in renewed or renewed[lease.name].epoch != lease.epoch:
        raise leases.LeaseLost(lease.name)
