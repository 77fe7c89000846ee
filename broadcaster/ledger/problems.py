"""What came in wrong: where, why and what to do. Never what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, func, insert, select, update

from broadcaster import record
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx


@dataclass(frozen=True)
class Place:
    """Where a message stood that came in wrong, so that it can be looked for again."""

    source: str
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    written: int | None = None
    line: int | None = None


@dataclass(frozen=True)
class Problem:
    """One message that could not be used."""

    id: int
    at: datetime
    place: Place
    code: str
    field: str | None
    why: str
    do: str
    state: str


def note(tx: Tx, place: Place, refusal: Refusal) -> int | None:
    """Notes a problem, once for a place in a topic or a file; None if it was known."""
    if _known(tx, place, refusal.code):
        return None
    number: int = tx.connection.execute(
        insert(schema.problems)
        .values(
            at=tx.now, source=place.source, topic=place.topic, partition=place.partition,
            offset=place.offset, written=place.written, line=place.line, code=refusal.code,
            field=refusal.field,
            why=refusal.why, do=refusal.do, state="open",
        )
        .returning(schema.problems.c.id)
    ).scalar_one()  # fmt: skip
    tx.record(record.Kind.PROBLEM_NOTED, actor=place.source, problem=number, code=refusal.code,
              field=refusal.field, topic=place.topic, offset=place.offset,
              line=place.line)  # fmt: skip
    tx.changed("problems")
    return number


def listed(tx: Tx, *, state: str | None = "open", limit: int = 200) -> list[Problem]:
    """Problems, newest first."""
    query = select(schema.problems).order_by(schema.problems.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(schema.problems.c.state == state)
    return [_problem(row) for row in tx.connection.execute(query)]


def get(tx: Tx, number: int) -> Problem:
    """One problem. Raises Refusal where there is none of that number."""
    row = tx.connection.execute(
        select(schema.problems).where(schema.problems.c.id == number)
    ).first()
    if row is None:
        raise Refusal("no_such_problem", f"There is no problem {number}.",
                      "`broadcaster problems list` shows what there is.",
                      kind=Kind.NOT_FOUND)  # fmt: skip
    return _problem(row)


def settle(tx: Tx, number: int, state: str, *, actor: str) -> None:
    """Ends a problem as `retried` or `dropped`; one that has ended stays as it is."""
    problem = get(tx, number)
    if problem.state != "open":
        return
    tx.connection.execute(
        update(schema.problems)
        .where(schema.problems.c.id == number)
        .values(state=state, settled_by=actor, settled_at=tx.now)
    )
    tx.record(record.Kind.PROBLEM_SETTLED, actor=actor, problem=number, state=state)
    tx.changed("problems")


def open_count(tx: Tx) -> int:
    return tx.connection.execute(
        select(func.count()).where(schema.problems.c.state == "open")
    ).scalar_one()


def counts(tx: Tx, sources: Sequence[str]) -> int:
    """How many problems, of any state, came from these sources."""
    return tx.connection.execute(
        select(func.count()).where(schema.problems.c.source.in_(sources))
    ).scalar_one()


def _known(tx: Tx, place: Place, code: str) -> bool:
    """Whether this very message or row stands here already. What came by HTTP has no place."""
    if place.topic is None and place.line is None:
        return False
    table = schema.problems.c
    same = (
        table.source == place.source,
        table.topic.is_not_distinct_from(place.topic),
        table.partition.is_not_distinct_from(place.partition),
        table.offset.is_not_distinct_from(place.offset),
        table.written.is_not_distinct_from(place.written),
        table.line.is_not_distinct_from(place.line),
        table.code == code,
    )
    return tx.connection.execute(select(table.id).where(*same)).first() is not None


def _problem(row: Row[tuple[object, ...]]) -> Problem:
    return Problem(
        row.id, row.at,
        Place(row.source, row.topic, row.partition, row.offset, row.written, row.line),
        row.code, row.field, row.why, row.do, row.state,
    )  # fmt: skip
