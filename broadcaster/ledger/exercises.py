"""Whether the exercise runs: it ends for a real incident in one act, and begins again later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import people, schema
from broadcaster.ledger.tx import Tx


@dataclass(frozen=True)
class Ended:
    """Since when an exercise is over, and who ended it."""

    at: datetime
    by: str


def ended(tx: Tx) -> Ended | None:
    """Since when the exercise is over; None while it runs."""
    table = schema.exercise_turns.c
    last = tx.connection.execute(
        select(schema.exercise_turns).order_by(table.id.desc()).limit(1)
    ).first()
    if last is None or last.running:
        return None
    person = people.get(tx, last.by)
    return Ended(last.at, person.name if person else last.by)


def turn(tx: Tx, *, running: bool, by: str) -> None:
    """Notes that it ended, or began again."""
    tx.connection.execute(insert(schema.exercise_turns).values(at=tx.now, by=by, running=running))
    tx.changed("board", "exercise")


def require_running(tx: Tx) -> None:
    """Raises Refusal where the exercise is over."""
    if over := ended(tx):
        raise Refusal(
            "exercise_ended",
            f"REAL INCIDENT: {over.by} ended the exercise. Nothing of it is asked or posted.",
            "Go to the live desk. When all is over, a Supervisor begins the exercise again here.",
            kind=Kind.CONFLICT,
        )
