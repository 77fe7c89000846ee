"""Which roles somebody has, and had: what they were added with, then each change, by the Chief.

A change is added and never rewritten, and the desk's database role can add none: so it can put
nobody back who was taken off the roster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.roster import Role


@dataclass(frozen=True)
class Change:
    """What somebody's roles are from a time on; none: they were taken off the roster."""

    roles: frozenset[Role]
    at: datetime
    by: str


def changes(tx: Tx, person_id: str) -> tuple[Change, ...]:
    """What was changed of a person's roles, the oldest first."""
    return every(tx, person_id).get(person_id, ())


def every(tx: Tx, person_id: str | None = None) -> dict[str, tuple[Change, ...]]:
    """What was changed of everybody's roles, or of one person's, by person, the oldest first."""
    table = schema.role_changes
    query = select(table).order_by(table.c.id)
    if person_id is not None:
        query = query.where(table.c.person_id == person_id)
    found: dict[str, tuple[Change, ...]] = {}
    for row in tx.connection.execute(query):
        change = Change(read(row.roles), row.at, row.by)
        found[row.person_id] = (*found.get(row.person_id, ()), change)
    return found


def change(tx: Tx, person_id: str, roles: Iterable[Role], *, by: str) -> None:
    """Gives somebody these roles from now on; none: takes them off the roster."""
    tx.connection.execute(
        insert(schema.role_changes).values(
            person_id=person_id, roles=written(roles), at=tx.now, by=by
        )
    )


def last(made: Sequence[Change], at: datetime | None = None) -> Change | None:
    """The change that holds: at a time, or, whatever the clock does, now."""
    return next((each for each in reversed(made) if at is None or each.at <= at), None)


def held(tx: Tx, person_id: str, at: datetime | None = None) -> frozenset[Role]:
    """The roles that somebody has, or had at a time."""
    changed = last(changes(tx, person_id), at)
    return changed.roles if changed else added(tx, person_id)


def added(tx: Tx, person_id: str) -> frozenset[Role]:
    """The roles that somebody was added with; none: they are from outside."""
    table = schema.people.c
    kept = tx.connection.execute(select(table.roles).where(table.id == person_id)).scalar()
    return read(kept or "")


def left_since(tx: Tx, person_id: str, since: datetime, at: datetime | None = None) -> bool:
    """Whether somebody was taken off the roster after a time: until another, or until now."""
    return any(
        not each.roles and since <= each.at and (at is None or each.at <= at)
        for each in changes(tx, person_id)
    )


def read(roles: str) -> frozenset[Role]:
    """The roles in a column."""
    return frozenset(map(Role, roles.split()))


def written(roles: Iterable[Role]) -> str:
    """The roles as a column holds them."""
    return " ".join(sorted(roles))
