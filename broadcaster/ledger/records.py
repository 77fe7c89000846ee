"""The record as it is read: for verification, and for the page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from broadcaster import record
from broadcaster.ledger import chain, schema
from broadcaster.ledger.tx import Tx


@dataclass(frozen=True)
class Line:
    """One entry as a person reads it: its body opened, its private values beside it."""

    number: int
    hash: str
    kind: str
    at: str
    incident_id: str | None
    body: str
    private: dict[str, str]


def head(tx: Tx) -> chain.Head:
    """The number and hash of the newest sealed entry."""
    return chain.newest(tx.connection)


def lines(
    tx: Tx,
    *,
    before: int | None = None,
    incident_id: str | None = None,
    kinds: Sequence[str] = (),
    limit: int = 100,
) -> list[Line]:
    """Entries, newest first, below number `before`."""
    query = (
        select(schema.seals.c.number, schema.seals.c.hash, schema.entries)
        .join_from(schema.seals, schema.entries)
        .order_by(schema.seals.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(schema.seals.c.number < before)
    if incident_id is not None:
        query = query.where(schema.entries.c.incident_id == incident_id)
    if kinds:
        query = query.where(schema.entries.c.kind.in_(kinds))
    rows = tx.connection.execute(query).all()
    values: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    for value in tx.connection.execute(
        select(schema.private_values).where(schema.private_values.c.entry_id.in_(values))
    ):
        values[value.entry_id][value.field] = value.value
    return [
        Line(row.number, row.hash, row.kind, row.at, row.incident_id, row.body, values[row.id])
        for row in rows
    ]


def of_incident(tx: Tx, incident_id: str) -> list[dict[str, Any]]:
    """The bodies of an incident's entries, newest first, whether or not they are sealed yet."""
    table = schema.entries.c
    rows = tx.connection.execute(
        select(table.body).where(table.incident_id == incident_id).order_by(table.at.desc())
    )
    return [json.loads(body) for body in rows.scalars()]


def count(tx: Tx) -> int:
    return tx.connection.execute(select(func.count()).select_from(schema.seals)).scalar_one()


def unsealed(tx: Tx) -> tuple[int, str | None]:
    """Entries that the sealer has still to number, and the time of the oldest: PostgreSQL alone."""
    row = tx.connection.execute(
        select(func.count(), func.min(schema.entries.c.at)).select_from(
            schema.unsealed.join(schema.entries)
        )
    ).one()
    return row[0], row[1]


def verify(tx: Tx, anchors: Sequence[record.Anchor]) -> record.Verdict:
    """Walks the whole chain as it stands in the ledger, and compares it with the anchors."""
    return record.verify(sealed_entries(tx.connection), anchors)


def after(tx: Tx, number: int, limit: int) -> list[record.Sealed]:
    """Sealed entries above a number, in order, with their private values."""
    rows = tx.connection.execute(
        select(schema.seals, schema.entries)
        .join_from(schema.seals, schema.entries)
        .where(schema.seals.c.number > number)
        .order_by(schema.seals.c.number)
        .limit(limit)
    ).all()
    private: dict[str, list[record.PrivateValue]] = {row.id: [] for row in rows}
    for row in tx.connection.execute(
        select(schema.private_values)
        .where(schema.private_values.c.entry_id.in_(private))
        .order_by(schema.private_values.c.field)
    ):
        private[row.entry_id].append(record.PrivateValue(row.field, row.salt, row.value))
    return [
        record.Sealed(
            row.number, row.previous_hash, row.hash,
            record.Entry(row.id, row.kind, row.at, row.incident_id, row.body,
                         tuple(private[row.id])),
        )
        for row in rows
    ]  # fmt: skip


def sealed_entries(connection: Connection) -> Iterator[record.Sealed]:
    """The record in order, with its private values, as `record.verify` walks it."""
    values = _private_values(connection)
    pending = next(values, None)
    rows = connection.execution_options(yield_per=1000).execute(
        select(schema.seals, schema.entries)
        .join_from(schema.seals, schema.entries, isouter=True)
        .order_by(schema.seals.c.number)
    )
    for row in rows.mappings():
        number = row[schema.seals.c.number]
        mine = []
        while pending is not None and pending[0] <= number:
            if pending[0] == number:
                mine.append(pending[1])
            pending = next(values, None)
        yield record.Sealed(
            number=number,
            previous_hash=row[schema.seals.c.previous_hash],
            hash=row[schema.seals.c.hash],
            entry=record.Entry(
                id=row[schema.entries.c.id] or "",
                kind=row[schema.entries.c.kind] or "",
                at=row[schema.entries.c.at] or "",
                incident_id=row[schema.entries.c.incident_id],
                body=row[schema.entries.c.body] or "{}",
                private=tuple(mine),
            ),
        )


def _private_values(connection: Connection) -> Iterator[tuple[int, record.PrivateValue]]:
    rows = connection.execution_options(yield_per=1000).execute(
        select(schema.seals.c.number, schema.private_values)
        .join_from(
            schema.private_values,
            schema.seals,
            schema.seals.c.entry_id == schema.private_values.c.entry_id,
        )
        .order_by(schema.seals.c.number)
    )
    for row in rows:
        yield row.number, record.PrivateValue(row.field, row.salt, row.value)
