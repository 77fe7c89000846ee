"""Who proves nothing any more: failures from a person's own session, counted (CJIS AC-7)."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import func, insert, select, update

from broadcaster.ledger import passkeys, schema
from broadcaster.ledger.tx import Tx
from broadcaster.passkey import FAILURES, WITHIN, Json, Lock, Site, holds, id_of
from broadcaster.record import Kind


def failed(tx: Tx, person_id: str) -> bool:
    """Notes a proof that did not fit; whether it locked the person."""
    table = schema.failed_proofs
    tx.connection.execute(insert(table).values(person_id=person_id, at=tx.now))
    since = max(filter(None, (tx.now - WITHIN, _last_ended(tx, person_id))))
    stands = select(schema.locks.c.id).where(
        schema.locks.c.person_id == person_id, schema.locks.c.ended_at.is_(None)
    )
    count = tx.connection.execute(
        select(func.count()).where(table.c.person_id == person_id, table.c.at > since)
    ).scalar_one()
    if count < FAILURES or tx.connection.execute(stands).first() is not None:
        return False
    tx.connection.execute(insert(schema.locks).values(person_id=person_id, at=tx.now))
    tx.record(Kind.PERSON_LOCKED, actor=person_id, person_id=person_id, failures=count)
    tx.changed("people")
    return True


def holding(tx: Tx, person_id: str, site: Site) -> Lock | None:
    """The lock that holds a person now, if one does."""
    several = passkeys.locks_of(tx, person_id)
    return next((each for each in several if holds(each, tx.now, site=site, world=tx.world)), None)


def end(tx: Tx, lock: Lock, proof: Json, *, by: str) -> None:
    """Lets a person prove things again. `proof`: by which somebody else who may has signed it."""
    table = schema.locks.c
    tx.connection.execute(
        update(schema.locks)
        .where(table.person_id == lock.person_id, table.at == lock.at)
        .values(ended_at=tx.now, ended_by=by, proof=json.dumps(proof))
    )
    tx.record(Kind.PERSON_UNLOCKED, actor=by, person_id=lock.person_id,
              passkey_id=id_of(proof))  # fmt: skip
    tx.changed("people")


def _last_ended(tx: Tx, person_id: str) -> datetime | None:
    table = schema.locks.c
    return tx.connection.execute(
        select(func.max(table.ended_at)).where(table.person_id == person_id)
    ).scalar()
