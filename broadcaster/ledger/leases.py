"""Leases: one worker holds a channel, or the relay, at a time; the epoch rises with each holder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, insert, select, update

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx


@dataclass(frozen=True)
class Lease:
    """The right to send on one channel; a later holder has a higher epoch."""

    name: str
    holder: str
    epoch: int
    until: datetime


class LeaseLost(Exception):
    """Another worker holds the channel now; this one must send nothing more on it."""


def take(tx: Tx, names: Collection[str], holder: str, lasts: timedelta) -> dict[str, Lease]:
    """Takes or renews leases, by name; leaves out those that another's holds still.

    None holds for longer than `lasts` from now: where it says so, the clock was ahead.
    """
    table = schema.leases.c
    rows = tx.connection.execute(
        select(schema.leases).where(table.name.in_(names)).order_by(table.name).with_for_update()
    )
    known = {row.name: row for row in rows}
    taken: dict[str, Lease] = {}
    for name in sorted(names):
        row = known.get(name)
        if row is None or row.holder == holder or row.until <= tx.now:
            epoch = 1 if row is None else row.epoch + (row.holder != holder)
            taken[name] = Lease(name, holder, epoch, tx.now + lasts)
    if ahead := [
        name for name, row in known.items() if name not in taken and row.until > tx.now + lasts
    ]:
        tx.connection.execute(
            update(schema.leases).where(table.name.in_(ahead)).values(until=tx.now + lasts)
        )
    if new := [vars(lease) for lease in taken.values() if lease.name not in known]:
        tx.connection.execute(insert(schema.leases), new)
    again = [
        {"lease": lease.name, "holder": holder, "epoch": lease.epoch, "until": lease.until}
        for lease in taken.values()
        if lease.name in known
    ]
    if again:
        tx.connection.execute(update(schema.leases).where(table.name == bindparam("lease")), again)
    return taken


def renew(tx: Tx, lease: Lease, lasts: timedelta) -> None:
    """Makes a lease last again, unless another had it since."""
    tx.connection.execute(
        update(schema.leases)
        .where(schema.leases.c.name == lease.name, schema.leases.c.epoch == lease.epoch)
        .values(until=tx.now + lasts)
    )


def let_go(tx: Tx, lease: Lease) -> None:
    """Gives a lease back before its time, so that the next holder need not wait."""
    tx.connection.execute(
        update(schema.leases)
        .where(schema.leases.c.name == lease.name, schema.leases.c.epoch == lease.epoch)
        .values(until=tx.now)
    )


def lost(tx: Tx, leases: Collection[Lease]) -> dict[Lease, LeaseLost]:
    """Those of the leases that had another holder since."""
    table = schema.leases.c
    rows = tx.connection.execute(
        select(table.name, table.epoch).where(table.name.in_({lease.name for lease in leases}))
    )
    epochs = {row.name: row.epoch for row in rows}
    return {
        lease: LeaseLost(f"{lease.name}: epoch {lease.epoch} was followed by {epochs[lease.name]}")
        for lease in leases if epochs[lease.name] != lease.epoch
    }  # fmt: skip
