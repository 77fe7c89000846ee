"""Incidents as folded, and the updates suggested for them."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, func, insert, select, update

from broadcaster.incident import Handling, Incident
from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.update import Words

_PUBLIC_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"

#: A notice stands in an incident's place, and is none.
_IS_INCIDENT = schema.incidents.c.handling != str(Handling.NOTICE)


@dataclass(frozen=True)
class Kept:
    """An incident in the ledger, with the id that its public address carries."""

    incident: Incident
    public_id: str


@dataclass(frozen=True)
class Suggestion:
    """An update suggested for an incident: its words, and what brought it about."""

    id: int
    at: datetime
    why: str
    words: Words


def lock(tx: Tx, incident_id: str) -> Kept | None:
    """The incident, held until the step ends (first in the lock order); None if there is none."""
    row = tx.connection.execute(
        select(schema.incidents).where(schema.incidents.c.id == incident_id).with_for_update()
    ).first()
    return _kept(row) if row else None


def get(tx: Tx, incident_id: str) -> Kept | None:
    row = tx.connection.execute(
        select(schema.incidents).where(schema.incidents.c.id == incident_id)
    ).first()
    return _kept(row) if row else None


def several(tx: Tx, incident_ids: Collection[str]) -> dict[str, Kept | ValueError]:
    """Incidents by id; one that cannot be read is an error of its own."""
    rows = tx.connection.execute(
        select(schema.incidents).where(schema.incidents.c.id.in_(incident_ids))
    )
    return {row.id: _read(row) for row in rows}


def by_number(tx: Tx, number: str) -> Kept | None:
    """The incident that was last heard of under a source's number; its own id does as well."""
    table = schema.incidents.c
    row = tx.connection.execute(
        select(schema.incidents)
        .where((table.number == number) | (table.id == number), _IS_INCIDENT)
        .order_by(table.heard_at.desc())
        .limit(1)
    ).first()
    return _kept(row) if row else None


def naming(tx: Tx, person_id: str) -> list[str]:
    """The ids of incidents that name a person: who commands, is offered command, or did before."""
    table = schema.incidents.c
    named = select(table.id).where(table.body.contains(person_id)).order_by(table.id)
    return list(tx.connection.execute(named).scalars())


def add(tx: Tx, incident: Incident) -> Kept:
    """Keeps a new incident and gives it its public id."""
    public_id = "".join(secrets.choice(_PUBLIC_ALPHABET) for _ in range(8))
    tx.connection.execute(
        insert(schema.incidents).values(
            id=incident.id,
            number=incident.number,
            public_id=public_id,
            opened_at=incident.opened_at,
            **_columns(incident),
        )
    )
    _changed(tx, incident)
    return Kept(incident, public_id)


def save(tx: Tx, incident: Incident) -> None:
    """Keeps what the incident now is."""
    tx.connection.execute(
        update(schema.incidents)
        .where(schema.incidents.c.id == incident.id)
        .values(**_columns(incident))
    )
    _changed(tx, incident)


def board(
    tx: Tx, *, open_: bool, handlings: Sequence[Handling], limit: int = 200, offset: int = 0
) -> list[Kept]:
    """Incidents for the board, the one last heard of first."""
    table = schema.incidents.c
    rows = tx.connection.execute(
        select(schema.incidents)
        .where(table.open == open_, table.handling.in_([str(h) for h in handlings]))
        .order_by(table.heard_at.desc(), table.id)
        .limit(limit)
        .offset(offset)
    )
    return [_kept(row) for row in rows]


def closed_and_told(tx: Tx, *, limit: int) -> list[Kept]:
    """Closed incidents about which the public was told something, the one last heard of first."""
    table = schema.incidents.c
    rows = tx.connection.execute(
        select(schema.incidents)
        .where(~table.open, _IS_INCIDENT, table.id.in_(select(schema.releases.c.incident_id)))
        .order_by(table.heard_at.desc(), table.id)
        .limit(limit)
    )
    return [_kept(row) for row in rows]


def counts(tx: Tx) -> dict[tuple[bool, Handling], int]:
    """How many incidents there are, by open and handling."""
    table = schema.incidents.c
    rows = tx.connection.execute(
        select(table.open, table.handling, func.count()).group_by(table.open, table.handling)
    )
    return {(bool(row[0]), Handling(row[1])): row[2] for row in rows}


def any_open(tx: Tx) -> bool:
    """Whether an incident that the board shows is open: then every hop must be quick."""
    table = schema.incidents.c
    return (
        tx.connection.execute(
            select(table.id)
            .where(table.open, table.handling.in_([Handling.HELD, Handling.AUTO_DRAFT]))
            .limit(1)
        ).first()
        is not None
    )


def silent_too_long(tx: Tx, *, limit: int) -> list[Kept]:
    """Open incidents whose source has said nothing for its `closes_after`.

    Without those that cannot be read any more: they stay open until somebody mends the ledger.
    """
    table = schema.incidents.c
    rows = tx.connection.execute(
        select(schema.incidents)
        .where(table.open, table.closes_at <= tx.now)
        .order_by(table.closes_at)
        .limit(limit)
        .with_for_update(skip_locked=True)  # of one that compile has in hand something is heard
    )
    return [each for row in rows if isinstance(each := _read(row), Kept)]


def suggest(tx: Tx, incident_id: str, words: Words, why: str) -> None:
    """Keeps a suggested update; the newest is the one that the composer starts from."""
    tx.connection.execute(
        insert(schema.suggestions).values(
            incident_id=incident_id,
            at=tx.now,
            why=why,
            words=words.model_dump_json(),
            trace=tx.trace,
        )
    )
    tx.changed("board", f"incident:{incident_id}")


def suggestion(tx: Tx, incident_id: str) -> Suggestion | None:
    """The newest suggested update of an incident."""
    row = tx.connection.execute(
        select(schema.suggestions)
        .where(schema.suggestions.c.incident_id == incident_id)
        .order_by(schema.suggestions.c.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return Suggestion(row.id, row.at, row.why, Words.model_validate_json(row.words))


def trace(tx: Tx, incident_id: str) -> str | None:
    """What words written now go back to: the newest suggestion, else the newest report."""
    suggested, reported = schema.suggestions.c, schema.reports.c
    newest = [
        select(suggested.trace)
        .where(suggested.incident_id == incident_id)
        .order_by(suggested.id.desc()),
        select(reported.trace)
        .where(reported.incident_id == incident_id)
        .order_by(reported.received_at.desc()),
    ]
    found = (tx.connection.execute(query.limit(1)).scalar() for query in newest)
    return next((trace for trace in found if trace), None)


def suggestions_counted(tx: Tx) -> int:
    return tx.connection.execute(select(func.count()).select_from(schema.suggestions)).scalar_one()


def _columns(incident: Incident) -> dict[str, object]:
    return {
        "body": incident.model_dump_json(),
        "handling": str(incident.handling),
        "open": incident.open,
        "heard_at": incident.heard_at,
        "closes_at": incident.closes_at,
    }


def _changed(tx: Tx, incident: Incident) -> None:
    tx.changed(f"incident:{incident.id}")
    if incident.handling is not Handling.SUPPRESSED:
        tx.changed("board")


def _read(row: Row[tuple[object, ...]]) -> Kept | ValueError:
    try:
        return _kept(row)
    except ValueError as unreadable:
        return unreadable


def _kept(row: Row[tuple[object, ...]]) -> Kept:
    return Kept(Incident.model_validate_json(row.body), row.public_id)
