"""Commanders from outside as kept (broadcaster/guest.py). Who may enrol one, `guests` asks."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, Select, insert, select, update

from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.guest import LINK_LIVES, Guest, hashed
from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.passkey import Json, id_of
from broadcaster.record import Kind


def add(tx: Tx, guest: Guest, approval: Json, *, actor: str) -> None:
    """Keeps a person from outside, with what proves who enrolled them. Raises Refusal."""
    taken = select(schema.people.c.id).where(schema.people.c.name == guest.name)
    if tx.connection.execute(taken).first():
        raise Refusal("name_taken", f"{guest.name} is known here already.",
                      "Add a first name or a number, or end the other enrolment.",
                      kind=Sort.CONFLICT, field="name")  # fmt: skip
    tx.connection.execute(
        insert(schema.people).values(
            id=guest.person_id, name=guest.name, roles="", practice=False, added_at=tx.now
        )
    )
    tx.connection.execute(
        insert(schema.guests).values(
            person_id=guest.person_id, incident_id=guest.incident_id, at=guest.at,
            token_hash=guest.token_hash, until=guest.until, approval=json.dumps(approval),
        )
    )  # fmt: skip
    tx.record(Kind.GUEST_ENROLLED, actor=actor, incident_id=guest.incident_id,
              person_id=guest.person_id, until=guest.until.isoformat(),
              passkey_id=id_of(approval), proof=json.dumps(approval),
              private={"name": guest.name})  # fmt: skip
    tx.changed("people", f"incident:{guest.incident_id}")


def of(tx: Tx, person_id: str) -> Guest | None:
    """Somebody from outside, whether or not they still hold."""
    row = tx.connection.execute(_query().where(schema.guests.c.person_id == person_id)).first()
    return _guest(row) if row else None


def approval(tx: Tx, person_id: str) -> Json | None:
    """What the passkey answered by which somebody was enrolled."""
    table = schema.guests.c
    kept = tx.connection.execute(select(table.approval).where(table.person_id == person_id))
    text = kept.scalar()
    return None if text is None else json.loads(text)


def of_incident(tx: Tx, incident_id: str) -> list[Guest]:
    """Whoever was enrolled for an incident, the newest first."""
    table = schema.guests.c
    rows = tx.connection.execute(
        _query().where(table.incident_id == incident_id).order_by(table.at.desc())
    )
    return [_guest(row) for row in rows]


def by_link(tx: Tx, token: str) -> Guest | None:
    """Whom a link is for, while it can still be used."""
    table = schema.guests.c
    row = tx.connection.execute(
        _query().where(
            table.token_hash == hashed(token), table.used_at.is_(None),
            table.at > tx.now - LINK_LIVES,
        )
    ).first()  # fmt: skip
    guest = _guest(row) if row else None
    return guest if guest and guest.holds(tx.now) else None


def use_link(tx: Tx, guest: Guest, token: str, passkey_id: str | None) -> None:
    """Uses a link up, for the passkey that is made with it. Raises Refusal where there is none."""
    if passkey_id is None:
        raise Refusal(
            "passkey_missing", "This link makes a passkey, and none was made.",
            "Use a phone that knows passkeys, and try again.", field="passkey",
        )  # fmt: skip
    tx.connection.execute(
        update(schema.guests)
        .where(schema.guests.c.person_id == guest.person_id)
        .values(used_at=tx.now, token=token, passkey_id=passkey_id)
    )


def end(tx: Tx, guest: Guest, *, actor: str) -> None:
    """Ends it now, for good; the caller has seen that it holds."""
    tx.connection.execute(
        insert(schema.guest_ends).values(person_id=guest.person_id, at=tx.now, by=actor)
    )
    tx.record(Kind.GUEST_ENDED, actor=actor, incident_id=guest.incident_id,
              person_id=guest.person_id)  # fmt: skip
    tx.changed("people", f"incident:{guest.incident_id}")


def _query() -> Select[tuple[Any, ...]]:
    table, ends = schema.guests, schema.guest_ends.c
    return (
        select(
            table, schema.people.c.name, ends.at.label("ended_at"),
            schema.incidents.c.open.label("open"),
        )
        .join(schema.people, schema.people.c.id == table.c.person_id)
        .join(schema.incidents, schema.incidents.c.id == table.c.incident_id)
        .outerjoin(schema.guest_ends, ends.person_id == table.c.person_id)
    )  # fmt: skip


def _guest(row: Row[tuple[Any, ...]]) -> Guest:
    return Guest(
        person_id=row.person_id, name=row.name, incident_id=row.incident_id,
        token_hash=row.token_hash, at=row.at, until=row.until, token=row.token,
        passkey_id=row.passkey_id, ended=row.ended_at is not None, closed=not row.open,
    )  # fmt: skip
