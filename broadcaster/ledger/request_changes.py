"""Each change of an approval request's state, and whether the department's app was told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update

from broadcaster.calling import About
from broadcaster.errors import Refusal
from broadcaster.informing import GIVEN_UP_AFTER, AnyStateChange, State, StateChange, change_id
from broadcaster.ledger import problems, schema
from broadcaster.ledger.tx import Tx

#: As many are told side by side: of different requests each.
AT_ONCE = 20


def note(tx: Tx, request_id: str, state: State, epoch: int | None = None) -> None:
    """Keeps a change; None: under the epoch of the change before. The caller holds the request."""
    table = schema.request_changes
    before = select(func.max(table.c.epoch)).where(table.c.request_id == request_id)
    asked = select(schema.approval_requests.c.epoch).where(
        schema.approval_requests.c.id == request_id
    )
    known = func.coalesce(before.scalar_subquery(), asked.scalar_subquery())
    tx.connection.execute(
        insert(table).values(
            request_id=request_id, state=str(state), at=tx.now, next_look=tx.now, tries=0,
            epoch=known if epoch is None else epoch,
        )
    )  # fmt: skip
    tx.changed("request_changes")


@dataclass(frozen=True)
class Untold:
    """A change that the app has not taken yet."""

    number: int
    change: AnyStateChange
    tries: int
    next_look: datetime


def untold(tx: Tx, address: str) -> list[Untold]:
    """Of each request the oldest change that was not told yet, whose look is next first."""
    table, requests = schema.request_changes, schema.approval_requests
    oldest = (
        select(func.min(table.c.id))
        .where(table.c.next_look.is_not(None))
        .group_by(table.c.request_id)
    )
    rows = tx.connection.execute(
        select(table, requests.c.incident_id)
        .join(requests, requests.c.id == table.c.request_id)
        .where(table.c.id.in_(oldest))
        .order_by(table.c.next_look, table.c.id)
        .limit(AT_ONCE)
    )
    return [Untold(row.id, _change(tx, row, address), row.tries, row.next_look) for row in rows]


def _change(tx: Tx, row: Any, address: str) -> AnyStateChange:
    fields: dict[str, Any] = {
        "id": change_id(row.request_id, row.id), "request_id": row.request_id,
        "incident_id": row.incident_id, "state": State(row.state), "at": row.at,
        "world": tx.world, "epoch": row.epoch,
        "url": address + About.REQUEST.page(row.request_id, row.incident_id),
    }  # fmt: skip
    return StateChange(**fields)


def told(tx: Tx, number: int) -> None:
    """The app has taken it."""
    _update(tx, number, told_at=tx.now, next_look=None)


def later(tx: Tx, number: int, at: datetime) -> None:
    """The app has not taken it, and is told again then."""
    _update(tx, number, tries=schema.request_changes.c.tries + 1, next_look=at)


def give_up(tx: Tx) -> int:
    """Lets go what could not be told in time, and notes that as a problem; answers how much."""
    table = schema.request_changes
    old = (table.c.next_look.is_not(None), table.c.at <= tx.now - GIVEN_UP_AFTER)
    count = tx.connection.execute(update(table).where(*old).values(next_look=None)).rowcount
    if count:
        hours = int(GIVEN_UP_AFTER.total_seconds() // 3600)
        problems.note(tx, problems.Place("app"), Refusal(
            "app_not_told",
            f"The department's app took {count} of what became of approval requests not within "
            f"{hours} hours, and is not told any more.",
            "Look whether the app answers, and whether its address and secret in "
            "BROADCASTER_CALLS are right.",
        ))  # fmt: skip
    return count


def of_request(tx: Tx, request_id: str) -> Sequence[tuple[State, int, bool]]:
    """A request's changes in order: state, epoch, and whether the app has taken it."""
    table = schema.request_changes.c
    rows = tx.connection.execute(
        select(table.state, table.epoch, table.told_at)
        .where(table.request_id == request_id)
        .order_by(table.id)
    )
    return [(State(row.state), row.epoch, row.told_at is not None) for row in rows]


def _update(tx: Tx, number: int, **values: object) -> None:
    table = schema.request_changes
    tx.connection.execute(update(table).where(table.c.id == number).values(**values))
