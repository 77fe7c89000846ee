"""How each channel fares, and what people have ordered of it: one row a channel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, insert, select, update

from broadcaster.breaker import Breaker
from broadcaster.delivery import PostState
from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx

MINUTE = timedelta(minutes=1)

#: Who has paused a channel that does not know our credential: no person, but its own worker.
ITSELF = "deliver"


@dataclass(frozen=True)
class Kept:
    """A channel in the ledger."""

    name: str
    breaker: Breaker
    paused_by: str | None  #: who has nothing sent there until further notice
    paused_at: datetime | None
    paused_why: str | None
    proved_at: datetime | None  #: when it last proved that it has a post
    sends_again_by: str | None  #: who has it send again, for safety of life, what nobody can find

    @property
    def locked_out(self) -> bool:
        """Whether it is paused because it does not know our credential."""
        return self.paused_by == ITSELF

    def kept_back(self, now: datetime) -> str | None:
        """Why nothing is sent there now, in a few words; None where it is."""
        if self.paused_by:
            return f"paused: {self.paused_why}"
        if self.breaker.again_at and now < self.breaker.again_at:
            return self.breaker.why
        return None


def know(tx: Tx, names: Collection[str]) -> None:
    """Makes rows for channels that have none yet."""
    table = schema.channels
    known = set(tx.connection.execute(select(table.c.name)).scalars())
    if new := [{"name": name, "failures": 0} for name in sorted(set(names) - known)]:
        tx.connection.execute(insert(table), new)
        tx.changed("channels")


def several(tx: Tx, names: Collection[str] | None = None) -> dict[str, Kept]:
    """Channels by name; of no names, all that any process ever sent on."""
    return _read(tx, _ROWS if names is None else _ROWS.where(schema.channels.c.name.in_(names)))


_ROWS = select(schema.channels).order_by(schema.channels.c.name)


def _read(tx: Tx, query: Select[Any]) -> dict[str, Kept]:
    return {
        row.name: Kept(
            row.name, Breaker(failures=row.failures, again_at=row.again_at, why=row.why),
            row.paused_by, row.paused_at, row.paused_why, row.proved_at, row.sends_again_by,
        )
        for row in tx.connection.execute(query)
    }  # fmt: skip


def locked(tx: Tx, names: Collection[str]) -> dict[str, Kept]:
    """Channels by name, held until the step ends, so that no failure of two is counted once."""
    return _read(tx, _ROWS.where(schema.channels.c.name.in_(names)).with_for_update())


def fare(tx: Tx, breakers: Mapping[str, Breaker], proved: Collection[str]) -> None:
    """Notes how channels fare now, and of which a proof came."""
    table = schema.channels
    if breakers:
        tx.connection.execute(
            update(table).where(table.c.name == bindparam("channel")),
            [{"channel": name, "failures": each.failures, "again_at": each.again_at,
              "why": each.why} for name, each in breakers.items()],
        )  # fmt: skip
    if proved:
        tx.connection.execute(
            update(table).where(table.c.name.in_(proved)).values(proved_at=tx.now)
        )
    if breakers:
        tx.changed("channels", *(f"posts:{name}" for name in breakers))


@dataclass(frozen=True)
class Figures:
    """What waits on a channel."""

    waiting: int = 0  #: planned, or to be tried again
    oldest: datetime | None = None  #: when the one of them was released that waits longest
    next_look: datetime | None = None  #: when one of them is tried next
    sending: int = 0
    in_doubt: int = 0
    refused: int = 0
    held: int = 0
    posted: int = 0
    last_minute: int = 0  #: of them that were proved within the last minute


def figures(tx: Tx) -> dict[str, Figures]:
    """What waits on channels, by name."""
    table = schema.posts.c

    def count(*states: PostState) -> ColumnElement[int]:
        return func.count().filter(table.state.in_([str(state) for state in states]))

    waits = table.state.in_([str(PostState.PLANNED), str(PostState.WAITING)])
    just_now = and_(table.state == str(PostState.POSTED), table.since > tx.now - MINUTE)
    rows = tx.connection.execute(
        select(
            table.channel, count(PostState.PLANNED, PostState.WAITING),
            func.min(table.released_at).filter(waits), func.min(table.next_look).filter(waits),
            count(PostState.SENDING), count(PostState.IN_DOUBT), count(PostState.REFUSED),
            count(PostState.HELD), count(PostState.POSTED), func.count().filter(just_now),
        ).group_by(table.channel)
    )  # fmt: skip
    return {row[0]: Figures(*row[1:]) for row in rows}


@dataclass(frozen=True)
class Overview:
    """All that is known of one channel."""

    name: str
    fare: Kept | None  #: None until a worker has it
    figures: Figures


def overview(tx: Tx, known: Collection[str] = ()) -> list[Overview]:
    """Every channel, by name: those `known` to the settings, and any that was ever sent on."""
    fares, waits = several(tx), figures(tx)
    return [Overview(name, fares.get(name), waits.get(name, Figures()))
            for name in sorted({*known, *fares, *waits})]  # fmt: skip


def pause(tx: Tx, name: str, by: str, why: str) -> bool:
    """Has nothing sent on a channel; answers whether there is such a channel."""
    return _order(tx, name, {"paused_by": by, "paused_at": tx.now, "paused_why": why})


def go_on(tx: Tx, name: str) -> bool:
    """Ends every pause of a channel and its posts, whoever or whatever has brought it upon them.

    Answers whether there is such a channel.
    """
    return _order(tx, name, {
        "paused_by": None, "paused_at": None, "paused_why": None,
        "failures": 0, "again_at": None, "why": None, "tried_now_at": tx.now,
    })  # fmt: skip


def _order(tx: Tx, name: str, values: Mapping[str, Any]) -> bool:
    table = schema.channels
    found = tx.connection.execute(update(table).where(table.c.name == name).values(values)).rowcount
    tx.changed("channels", f"posts:{name}")
    return bool(found)


def send_again(tx: Tx, name: str, by: str | None) -> bool:
    """Has a channel that nobody can ask send again, for safety of life, what is in doubt; or not.

    Answers whether there is such a channel.
    """
    table = schema.channels
    found = tx.connection.execute(
        update(table).where(table.c.name == name).values(sends_again_by=by)
    ).rowcount
    tx.changed("channels")
    return bool(found)
