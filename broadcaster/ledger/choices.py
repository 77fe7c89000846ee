"""What people chose to become of posts that cannot be ended without them.

The desk notes a choice and can do no more: the sweep carries it out, where the post is still as
it was when it was chosen.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.outcome import Choice


@dataclass(frozen=True)
class Kept:
    """A choice in the ledger."""

    id: str
    post_id: str
    attempt: int  #: the newest one that whoever chose had seen
    choice: Choice
    url: str | None  #: where they saw it
    by: str  #: a person's id, or the operator
    at: datetime
    trace: str | None


def add(tx: Tx, post_id: str, attempt: int, choice: Choice, url: str | None, by: str) -> None:
    tx.connection.execute(insert(schema.choices).values(
        id=str(uuid.uuid4()), post_id=post_id, attempt=attempt, choice=str(choice), url=url,
        by=by, at=tx.now, trace=tx.trace,
    ))  # fmt: skip
    tx.changed("choices")


def to_do(tx: Tx, *, limit: int) -> list[Kept]:
    """Choices that were not carried out yet, the oldest first."""
    table = schema.choices.c
    rows = tx.connection.execute(
        select(schema.choices).where(table.done_at.is_(None)).order_by(table.at).limit(limit)
    )
    return [
        Kept(row.id, row.post_id, row.attempt, Choice(row.choice), row.url, row.by, row.at,
             row.trace)
        for row in rows
    ]  # fmt: skip


def done(tx: Tx, choice_id: str) -> None:
    table = schema.choices
    tx.connection.execute(update(table).where(table.c.id == choice_id).values(done_at=tx.now))


def waits(tx: Tx, post_id: str) -> bool:
    """Whether somebody's choice about a post is still to be carried out."""
    table = schema.choices.c
    query = select(table.id).where(table.post_id == post_id, table.done_at.is_(None)).limit(1)
    return tx.connection.execute(query).first() is not None
