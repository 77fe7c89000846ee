"""Numbers and chains entries: in SQLite's batch, or behind the steps by PostgreSQL's sealer."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select

from broadcaster import record
from broadcaster.ledger import schema

#: Entries sealed in one transaction, at most.
AT_ONCE = 500

Head = tuple[int, str]


def newest(connection: Connection) -> Head:
    """The number and hash of the newest sealed entry."""
    row = connection.execute(
        select(schema.seals.c.number, schema.seals.c.hash)
        .order_by(schema.seals.c.number.desc())
        .limit(1)
    ).first()
    return (row.number, row.hash) if row else (0, record.FIRST_HASH)


def seal(connection: Connection, head: Head, entries: Iterable[record.Entry]) -> Head:
    """Numbers and chains the entries, and returns the new head."""
    number, previous = head
    rows = []
    for entry in entries:
        number += 1
        hash_ = record.seal(previous, number, entry.body)
        rows.append({"number": number, "entry_id": entry.id, "previous_hash": previous,
                     "hash": hash_})  # fmt: skip
        previous = hash_
    if rows:
        connection.execute(insert(schema.seals), rows)
    return number, previous


def seal_waiting(connection: Connection) -> int:
    """Seals what steps left unsealed, in the order it came; answers how many.

    The head is read anew each time and the lock on the sealer's row holds until the commit, so
    two sealers make one chain.
    """
    connection.execute(
        select(schema.meta.c.value).where(schema.meta.c.name == "sealer").with_for_update()
    ).scalar_one()
    waiting = connection.execute(
        select(schema.unsealed.c.id, schema.entries)
        .join(schema.entries, schema.entries.c.id == schema.unsealed.c.entry_id)
        .order_by(schema.unsealed.c.id)
        .limit(AT_ONCE)
    ).all()
    seal(
        connection,
        newest(connection),
        (record.Entry(row[1], row.kind, row.at, row.incident_id, row.body) for row in waiting),
    )
    if waiting:
        connection.execute(
            delete(schema.unsealed).where(schema.unsealed.c.id.in_([row[0] for row in waiting]))
        )
    return len(waiting)
