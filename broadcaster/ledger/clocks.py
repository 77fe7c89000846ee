"""Steps of the ledger's clock: nothing is sent after one until somebody says that it is right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx


@dataclass(frozen=True)
class Step:
    """When the clock was found to have been set, and by how much."""

    at: datetime  #: as the clock said then
    by: timedelta


def stepped(tx: Tx, by: timedelta) -> None:
    """Notes that the clock was set, unless that is being looked at already."""
    if unconfirmed(tx) is None:
        row = {"at": tx.now, "seconds": by.total_seconds()}
        tx.connection.execute(insert(schema.clock_steps).values(row))
        tx.changed("board", "clock")


def unconfirmed(tx: Tx) -> Step | None:
    """The step that nobody has looked at yet."""
    table = schema.clock_steps.c
    row = tx.connection.execute(
        select(table.at, table.seconds).where(table.confirmed_at.is_(None)).limit(1)
    ).first()
    return Step(row.at, timedelta(seconds=row.seconds)) if row else None


def confirm(tx: Tx, by: str) -> bool:
    """Notes that somebody says that the clock is right; answers whether that was asked."""
    table = schema.clock_steps
    found = tx.connection.execute(
        update(table)
        .where(table.c.confirmed_at.is_(None))
        .values(confirmed_at=tx.now, confirmed_by=by)
    ).rowcount
    tx.changed("board", "clock")
    return bool(found)
