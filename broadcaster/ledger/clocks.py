"""Steps of the ledger's clock: nothing is sent after one until somebody says that it is right."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert, or_, select, update

from broadcaster.delivery import PostState
from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx


@dataclass(frozen=True)
class Step:
    """When the clock was found to have been set, and by how much."""

    at: datetime  #: as the clock said then
    by: timedelta


def stepped(tx: Tx, by: timedelta) -> bool:
    """Notes that the clock was set; whether that is news: it may be looked at already."""
    if unconfirmed(tx) is not None:
        return False
    row = {"at": tx.now, "seconds": by.total_seconds()}
    tx.connection.execute(insert(schema.clock_steps).values(row))
    tx.changed("board", "clock")
    return True


def unconfirmed(tx: Tx) -> Step | None:
    """The step that nobody has looked at yet."""
    table = schema.clock_steps.c
    row = tx.connection.execute(
        select(table.at, table.seconds).where(table.confirmed_at.is_(None)).limit(1)
    ).first()
    return Step(row.at, timedelta(seconds=row.seconds)) if row else None


def confirm(tx: Tx, by: str) -> bool:
    """Notes that somebody says that the clock is right; answers whether that was asked."""
    table = schema.clock_steps
    found = tx.connection.execute(
        update(table)
        .where(table.c.confirmed_at.is_(None))
        .values(confirmed_at=tx.now, confirmed_by=by)
    ).rowcount
    tx.changed("board", "clock")
    return bool(found)


#: What is looked at when its time has come.
_LOOKED_AT = [str(each) for each in (PostState.PLANNED, PostState.WAITING, PostState.IN_DOUBT)]


def catch_up(tx: Tx, channels: Collection[str]) -> None:
    """Makes due now what a clock that was ahead has left to do on channels.

    That it is of the future shows it. An open attempt of then has no sender any more, but one who
    knows of it.
    """
    now = tx.clock()  # the step's own time is taken later, when it has its locks
    post, tried, owed = schema.posts.c, schema.attempts.c, schema.errands.c
    mine = select(post.id).where(post.channel.in_(channels))
    tx.connection.execute(
        update(schema.posts)
        .where(
            post.channel.in_(channels), post.state.in_(_LOOKED_AT), post.next_look > now,
            or_(post.since > now, post.looked_at > now),
        )
        .values(next_look=now)
    )  # fmt: skip
    tx.connection.execute(
        update(schema.attempts)
        .where(tried.ended_at.is_(None), tried.started_at > now, tried.post_id.in_(mine))
        .values(send_before=now)
    )
    tx.connection.execute(
        update(schema.errands)
        .where(owed.due_at > now, owed.since > now, owed.post_id.in_(mine))
        .values(since=now, due_at=now)
    )
