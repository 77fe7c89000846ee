"""Who proves nothing any more: failures from a person's own session, counted (CJIS AC-7)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, insert, select, update

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.passkey import FAILURES, WITHIN, Lock
from broadcaster.record import Kind


def failed(tx: Tx, person_id: str) -> bool:
    """Notes a proof that did not fit; whether it locked the person."""
    table = schema.failed_proofs
    tx.connection.execute(insert(table).values(person_id=person_id, at=tx.now))
    since = max(filter(None, (tx.now - WITHIN, _last_ended(tx, person_id))))
    count = tx.connection.execute(
        select(func.count()).where(table.c.person_id == person_id, table.c.at > since)
    ).scalar_one()
    if count < FAILURES or holding(tx, person_id):
        return False
    tx.connection.execute(insert(schema.locks).values(person_id=person_id, at=tx.now))
    tx.record(Kind.PERSON_LOCKED, actor=person_id, person_id=person_id, failures=count)
    tx.changed("people")
    return True


def of_person(tx: Tx, person_id: str) -> tuple[Lock, ...]:
    """When a person was locked, the oldest first."""
    table = schema.locks.c
    rows = tx.connection.execute(
        select(table.at, table.ended_at).where(table.person_id == person_id).order_by(table.id)
    )
    return tuple(Lock(at=row.at, ended_at=row.ended_at) for row in rows)


def holding(tx: Tx, person_id: str) -> Lock | None:
    """The lock that holds a person now, if one does."""
    return next((each for each in of_person(tx, person_id) if each.holds(tx.now)), None)


def end(tx: Tx, person_id: str, *, by: str) -> None:
    """Lets a person prove things again; where they were not locked it does nothing."""
    table = schema.locks.c
    ended = tx.connection.execute(
        update(schema.locks)
        .where(table.person_id == person_id, table.ended_at.is_(None))
        .values(ended_at=tx.now, ended_by=by)
        .returning(table.id)
    ).first()
    if ended:
        tx.record(Kind.PERSON_UNLOCKED, actor=by, person_id=person_id)
        tx.changed("people")


def _last_ended(tx: Tx, person_id: str) -> datetime | None:
    table = schema.locks.c
    return tx.connection.execute(
        select(func.max(table.ended_at)).where(table.person_id == person_id)
    ).scalar()
