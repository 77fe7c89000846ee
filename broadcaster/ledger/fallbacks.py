"""Who may decide with PIN and code, what was typed, and what the gate made of it."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update

from broadcaster.fallback import Allowance, Answer, Entered
from broadcaster.ledger import passkeys, schema
from broadcaster.ledger.tx import Change, Tx
from broadcaster.record import Kind
from broadcaster.voice import hashed

#: Told when something was typed, or judged.
CODES: Change = "codes"

_ANSWERS, _COLUMNS = schema.fallback_answers, schema.fallback_answers.c
_UNJUDGED = (_COLUMNS.step.is_(None), _COLUMNS.refused.is_(None))


def allow(
    tx: Tx, person_id: str, *, pin: str, reason: str, until: datetime, granted_by: str, actor: str
) -> Allowance:
    """Lets a person decide with this PIN, kept as a slow hash, and the codes of one app."""
    made = Allowance(
        id=str(uuid.uuid4()), person_id=person_id, salt=secrets.token_bytes(16), reason=reason,
        until=until, granted_by=granted_by, granted_at=tx.now,
    )  # fmt: skip
    tx.connection.execute(
        insert(schema.fallbacks).values(**made.model_dump(exclude={"ended_at", "ended_by"}))
    )
    tx.connection.execute(
        insert(schema.fallback_pins).values(fallback_id=made.id, hash=hashed(pin, made.salt))
    )
    tx.record(Kind.FALLBACK_ALLOWED, actor=actor, person_id=person_id, fallback_id=made.id,
              until=until.isoformat(), granted_by=granted_by,
              private={"reason": reason})  # fmt: skip
    tx.changed("people")
    return made


def end(tx: Tx, held: Allowance, *, ended_by: str, actor: str) -> None:
    """Ends an allowance now; the caller has seen that it holds."""
    tx.connection.execute(
        insert(schema.fallback_ends).values(fallback_id=held.id, at=tx.now, by=ended_by)
    )
    tx.record(Kind.FALLBACK_ENDED, actor=actor, person_id=held.person_id, fallback_id=held.id,
              ended_by=ended_by)  # fmt: skip
    tx.changed("people")


def of_person(tx: Tx, person_id: str) -> tuple[Allowance, ...]:
    """All that a person ever had, the newest first."""
    table = schema.fallbacks.c
    rows = tx.connection.execute(
        _query().where(table.person_id == person_id).order_by(table.granted_at.desc(), table.id)
    )
    return tuple(map(_allowance, rows))


def standing(tx: Tx, person_id: str) -> Allowance | None:
    """The one that holds now."""
    return next((each for each in of_person(tx, person_id) if each.holds(tx.now)), None)


def anybody_may(tx: Tx) -> bool:
    """Whether any holds now."""
    return any(_allowance(row).holds(tx.now) for row in tx.connection.execute(_query()))


def enter(tx: Tx, allowance_id: str, seal: str, challenge: bytes) -> None:
    """Puts before the gate what was typed; the same again is the same answer."""
    if _answer_of(tx, seal) is None:
        tx.connection.execute(
            insert(_ANSWERS).values(
                seal=seal, fallback_id=allowance_id, challenge=challenge.hex(), at=tx.now
            )
        )
        tx.changed(CODES)


def entered(tx: Tx, seal: str | None) -> Entered | None:
    """An answer with all that it is judged by."""
    answer = _answer_of(tx, seal)
    if answer is None:
        return None
    allowance = _get(tx, answer.allowance_id)
    return Entered(answer, allowance, passkeys.locks_of(tx, allowance.person_id))


def waits(tx: Tx, seal: str | None = None) -> bool:
    """Whether an answer, or any, was not judged yet."""
    waiting = select(_COLUMNS.seal).where(*_UNJUDGED).limit(1)
    if seal is not None:
        waiting = waiting.where(_COLUMNS.seal == seal)
    return tx.connection.execute(waiting).first() is not None


# --- What the gate does -----------------------------------------------------------------------


def next_to_judge(tx: Tx) -> tuple[Answer, Allowance] | None:
    """The oldest answer that was not judged; both are held, so that one person's are judged one by
    one."""
    row = tx.connection.execute(
        select(_ANSWERS)
        .where(*_UNJUDGED)
        .order_by(_COLUMNS.at, _COLUMNS.seal)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    table = schema.fallbacks.c
    tx.connection.execute(select(table.id).where(table.id == row.fallback_id).with_for_update())
    return _answer(row), _get(tx, row.fallback_id)


def pin_hash(tx: Tx, allowance_id: str) -> str:
    table = schema.fallback_pins.c
    kept: str = tx.connection.execute(
        select(table.hash).where(table.fallback_id == allowance_id)
    ).scalar_one()
    return kept


def was_used(tx: Tx, allowance_id: str, step: int) -> bool:
    """Whether the code of this step has counted already."""
    used = select(_COLUMNS.seal).where(
        _COLUMNS.fallback_id == allowance_id, _COLUMNS.step == step
    )  # fmt: skip
    return tx.connection.execute(used).first() is not None


def wrong_ones(tx: Tx, allowance_id: str) -> int:
    """How many wrong answers there have been."""
    return tx.connection.execute(
        select(func.count()).where(
            _COLUMNS.fallback_id == allowance_id, _COLUMNS.refused == "code_wrong"
        )
    ).scalar_one()


def judged(tx: Tx, answer: Answer, outcome: int | str) -> None:
    """Notes the step whose code it was, or the code of the refusal."""
    made = {"step": outcome} if isinstance(outcome, int) else {"refused": outcome}
    tx.connection.execute(update(_ANSWERS).where(_COLUMNS.seal == answer.seal).values(**made))
    tx.changed(CODES)


def _get(tx: Tx, allowance_id: str) -> Allowance:
    return _allowance(
        tx.connection.execute(_query().where(schema.fallbacks.c.id == allowance_id)).one()
    )


def _query() -> Select[tuple[Any, ...]]:
    ends = schema.fallback_ends.c
    return select(schema.fallbacks, ends.at.label("ended_at"), ends.by.label("ended_by")).outerjoin(
        schema.fallback_ends, ends.fallback_id == schema.fallbacks.c.id
    )


def _allowance(row: Row[tuple[Any, ...]]) -> Allowance:
    return Allowance.model_validate(dict(row._mapping))


def _answer_of(tx: Tx, seal: str | None) -> Answer | None:
    row = tx.connection.execute(select(_ANSWERS).where(_COLUMNS.seal == seal)).first()
    return _answer(row) if row else None


def _answer(row: Row[tuple[Any, ...]]) -> Answer:
    return Answer(
        seal=row.seal, allowance_id=row.fallback_id, challenge=row.challenge, at=row.at,
        step=row.step, refused=row.refused,
    )  # fmt: skip
