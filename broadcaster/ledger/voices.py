"""Commanders' one-time codes, and the approvals that were given aloud with them."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Row, insert, select, update

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind
from broadcaster.voice import MOST_WRONG, Code, Heard, Settled, hashed, new_codes


@dataclass(frozen=True)
class Kept:
    """An approval by voice in the ledger."""

    decision_id: str
    heard: Heard
    settled: Settled | None
    settled_at: datetime | None


def issue(tx: Tx, person_id: str, *, actor: str) -> list[str]:
    """New codes for a Commander, shown this once; those handed out before are void."""
    _void(tx, person_id)
    codes, salt = new_codes(), secrets.token_bytes(16)
    tx.connection.execute(
        insert(schema.voice_codes),
        [
            {"id": str(uuid.uuid4()), "person_id": person_id, "salt": salt,
             "hash": hashed(code, salt), "issued_at": tx.now, "wrong": 0}
            for code in codes
        ],
    )  # fmt: skip
    tx.record(Kind.VOICE_CODES_ISSUED, actor=actor, person_id=person_id, codes=len(codes))
    return codes


def standing(tx: Tx, person_id: str) -> list[Code]:
    """A person's codes that are not void, used ones among them."""
    table = schema.voice_codes.c
    rows = tx.connection.execute(
        select(schema.voice_codes)
        .where(table.person_id == person_id, table.void_at.is_(None))
        .order_by(table.id)
        .with_for_update()
    )
    return [_code(row) for row in rows]


def newest(tx: Tx, person_id: str) -> str | None:
    """One of a person's last set, void or not; None: they never had any."""
    table = schema.voice_codes.c
    return tx.connection.execute(
        select(table.id)
        .where(table.person_id == person_id)
        .order_by(table.issued_at.desc(), table.id)
        .limit(1)
    ).scalar()


def code(tx: Tx, code_id: str) -> Code | None:
    row = tx.connection.execute(
        select(schema.voice_codes).where(schema.voice_codes.c.id == code_id)
    ).first()
    return _code(row) if row else None


def said_wrong(tx: Tx, person_id: str, *, actor: str) -> None:
    """Counts a wrong code; after some, all of that person's are void."""
    table = schema.voice_codes
    counts = tx.connection.execute(
        update(table)
        .where(table.c.person_id == person_id, table.c.void_at.is_(None))
        .values(wrong=table.c.wrong + 1)
        .returning(table.c.wrong)
    ).scalars()
    if max(counts, default=0) >= MOST_WRONG:
        _void(tx, person_id)
        tx.record(Kind.VOICE_CODES_VOIDED, actor=actor, person_id=person_id)


def end(tx: Tx, person_id: str, how: Literal["lost", "left"], *, actor: str) -> None:
    """Voids the codes of somebody who lost them or approves no more, if any is left to be said."""
    if any(each.used_by is None for each in standing(tx, person_id)):
        _void(tx, person_id)
        tx.record(Kind.VOICE_CODES_VOIDED, actor=actor, person_id=person_id, how=how)


def add(tx: Tx, decision_id: str, heard: Heard) -> None:
    """Keeps what was heard, and uses the code up: a second use of it fails on its key."""
    tx.connection.execute(
        insert(schema.voice_approvals).values(
            decision_id=decision_id, code_id=heard.code_id, heard=heard.model_dump_json()
        )
    )
    tx.connection.execute(
        update(schema.voice_codes)
        .where(schema.voice_codes.c.id == heard.code_id)
        .values(used_by=decision_id)
    )


def of_decision(tx: Tx, decision_id: str) -> Kept | None:
    """What was heard for a decision; None where it was given by passkey."""
    row = tx.connection.execute(
        select(schema.voice_approvals).where(schema.voice_approvals.c.decision_id == decision_id)
    ).first()
    if row is None:
        return None
    settled = Settled(row.settled) if row.settled else None
    return Kept(row.decision_id, Heard.model_validate_json(row.heard), settled, row.settled_at)


def settle(tx: Tx, decision_id: str, settled: Settled) -> None:
    tx.connection.execute(
        update(schema.voice_approvals)
        .where(schema.voice_approvals.c.decision_id == decision_id)
        .values(settled=str(settled), settled_at=tx.now)
    )


def _void(tx: Tx, person_id: str) -> None:
    table = schema.voice_codes
    tx.connection.execute(
        update(table)
        .where(table.c.person_id == person_id, table.c.void_at.is_(None))
        .values(void_at=tx.now)
    )


def _code(row: Row[tuple[object, ...]]) -> Code:
    return Code(
        id=row.id, person_id=row.person_id, salt=row.salt, hash=row.hash, used_by=row.used_by,
        void=row.void_at is not None,
    )  # fmt: skip
