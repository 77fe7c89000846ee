"""The Chief's decisions that a channel may be used although the public can answer there."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import insert, select, update

from broadcaster.channel import AnyChannel
from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind
from broadcaster.world import Frozen


class ReplyDecision(Frozen):
    """One decision, which has an end (389.5.1)."""

    id: str
    channel: str
    reason: str
    until: datetime
    decided_by: str
    decided_at: datetime


def decide(tx: Tx, channel: str, *, reason: str, until: datetime, by: str, actor: str) -> None:
    """Keeps a decision; the one before is over."""
    end(tx, channel, by=by, actor=None)
    made = str(uuid.uuid4())
    tx.connection.execute(insert(schema.reply_decisions).values(
        id=made, channel=channel, reason=reason, until=until, decided_by=by, decided_at=tx.now,
    ))  # fmt: skip
    tx.record(Kind.REPLIES_ALLOWED, actor=actor, channel=channel, decision=made, decided_by=by,
              until=until.isoformat(), private={"reason": reason})  # fmt: skip
    tx.changed("channels")


def end(tx: Tx, channel: str, *, by: str, actor: str | None) -> bool:
    """Ends what stands of a channel; answers whether there was such a decision.

    Without an actor another one takes its place, and the record says that.
    """
    table = schema.reply_decisions
    ended = tx.connection.execute(
        update(table)
        .where(table.c.channel == channel, table.c.ended_at.is_(None), table.c.until > tx.now)
        .values(ended_at=tx.now, ended_by=by)
    ).rowcount
    if ended and actor:
        tx.record(Kind.REPLIES_FORBIDDEN, actor=actor, channel=channel, ended_by=by)
        tx.changed("channels")
    return bool(ended)


def standing(tx: Tx) -> dict[str, ReplyDecision]:
    """The decisions that stand now, by channel."""
    table = schema.reply_decisions
    rows = tx.connection.execute(
        select(table).where(table.c.ended_at.is_(None), table.c.until > tx.now)
    )
    return {
        row.channel: ReplyDecision(
            id=row.id, channel=row.channel, reason=row.reason, until=row.until,
            decided_by=row.decided_by, decided_at=row.decided_at,
        )
        for row in rows
    }  # fmt: skip


def off(tx: Tx, channels: Collection[AnyChannel]) -> set[str]:
    """Of channels on which the public can answer, those that nobody has decided to use."""
    open_ = {channel.name for channel in channels if channel.replies.need_the_chief}
    return open_ - standing(tx).keys() if open_ else set()
