"""Errands: what is still owed to posts that are there, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, and_, insert, or_, select, update

from broadcaster.aftercare import Errand, Found, Owed, Then
from broadcaster.delivery import PostState, Receipt
from broadcaster.ledger import attempts, leases, posts, schema
from broadcaster.ledger.attempts import Opened
from broadcaster.ledger.leases import Lease
from broadcaster.ledger.tx import Tx

_ALARMS = [str(found) for found in Found if found.alarms]


@dataclass(frozen=True)
class Kept:
    """An errand in the ledger."""

    post_id: str
    owed: Owed
    due_at: datetime | None  #: None: it has an end
    found: Found | None
    why: str | None
    done_at: datetime | None  #: when it last told something
    alarm: int  #: which one stands, where one does: the how manieth of this errand
    seen_by: str | None  #: who has seen it
    seen_at: datetime | None

    @property
    def alarms(self) -> bool:
        """Whether somebody must still look."""
        return self.found is not None and self.found.alarms and self.seen_by is None

    @property
    def takes_down(self) -> bool:
        """Whether wrong words are still to be taken down, by us or by hand."""
        return self.owed.errand is Errand.RETRACT and (
            self.due_at is not None or self.found is Found.STAYS
        )


@dataclass(frozen=True)
class Due:
    """An errand that is to be done now, with the words that were approved."""

    errand: Errand
    opened: Opened
    there: Receipt
    lease: Lease


@dataclass(frozen=True)
class Room:
    """How many errands a worker has room for on a channel, on the strength of its lease."""

    channel: str
    lease: Lease
    most: int
    lasts: timedelta  #: within this nobody else does them


def owe(tx: Tx, post_id: str, errand: Errand, after: timedelta = timedelta()) -> None:
    """Has an errand done `after` so long; one owed already, or that was done, is left as it is."""
    table = schema.errands
    known = select(table.c.post_id).where(table.c.post_id == post_id, table.c.errand == str(errand))
    if tx.connection.execute(known).first() is None:
        tx.connection.execute(insert(table).values(
            post_id=post_id, errand=str(errand), since=tx.now, due_at=tx.now + after,
            reads=0, tries=0,
        ))  # fmt: skip


def end(tx: Tx, post_id: str) -> None:
    """Nothing more is to be done: the post's words are there no more, as they should be."""
    table = schema.errands
    tx.connection.execute(
        update(table)
        .where(
            table.c.post_id == post_id,
            or_(table.c.found.is_(None), table.c.found != str(Found.DOWN)),
        )
        .values(due_at=None, found=None, why=None)
    )


def due(tx: Tx, rooms: Sequence[Room]) -> tuple[list[Due], datetime | None]:
    """The errands to do now on channels, and when the next one is due.

    None on a channel that has a new holder.
    """
    lost = leases.lost(tx, {each.lease for each in rooms})
    mine = {each.channel: each for each in rooms if each.lease not in lost}
    table, post = schema.errands.c, schema.posts.c
    owed = schema.errands.join(schema.posts, post.id == table.post_id)
    rows = tx.connection.execute(
        select(schema.posts, table.errand)
        .select_from(owed)
        .where(table.due_at <= tx.now, post.channel.in_(mine))
        .order_by(table.due_at)
    ).all()
    # Each post that can be read waits here for a day: of those that are not due, one row is read.
    later = tx.connection.execute(
        select(table.due_at)
        .select_from(owed)
        .where(table.due_at > tx.now, post.channel.in_(mine))
        .order_by(table.due_at)
        .limit(1)
    ).scalar()
    left, begun = {name: room.most for name, room in mine.items()}, []
    for row in rows:
        if left[row.channel] > 0 and _begin(tx, row.id, row.errand, mine[row.channel].lasts):
            left[row.channel] -= 1
            begun.append(row)
    as_sent = {each.post.id: each for each in attempts.as_sent(
        tx, [(posts.kept(row), row.attempts) for row in begun]
    )}  # fmt: skip
    now = [
        Due(Errand(row.errand), as_sent[row.id], Receipt(remote_id=row.remote_id, url=row.url),
            mine[row.channel].lease)
        for row in begun if row.id in as_sent
    ]  # fmt: skip
    return now, later


def _begin(tx: Tx, post_id: str, errand: str, lasts: timedelta) -> bool:
    """Has an errand left alone for so long; answers whether it is due still, and had no end since
    it was read, on another connection."""
    table = schema.errands
    begun = tx.connection.execute(
        update(table)
        .where(table.c.post_id == post_id, table.c.errand == errand, table.c.due_at <= tx.now)
        .values(due_at=tx.now + lasts)
    )
    return begun.rowcount == 1


def locked(tx: Tx, post_id: str, errand: Errand) -> tuple[posts.Kept, Kept] | None:
    """A post and its errand, both held; None where it has an end by now."""
    [post] = posts.locked(tx, [post_id])
    table = schema.errands.c
    row = tx.connection.execute(
        _KEPT.where(table.post_id == post_id, table.errand == str(errand))
    ).first()
    return (post, _kept(row)) if row and row.due_at and post.state is PostState.POSTED else None


def done(tx: Tx, errand: Kept, then: Then) -> None:
    """Notes how a try of an errand ended. What was found stands until something else is."""
    values: dict[str, object] = {"due_at": then.due_at, "why": then.why}
    if then.found:
        reads = errand.owed.reads + 1
        values |= {"found": str(then.found), "done_at": tx.now, "reads": reads, "tries": 0,
                   "read_digest": then.read, "alarm": errand.alarm + then.alarms}  # fmt: skip
    else:
        values |= {"tries": errand.owed.tries}
    _mark(tx, errand.post_id, errand.owed.errand, **values)


def see(tx: Tx, errand: Kept, person_id: str) -> None:
    """Notes who has seen what was found."""
    tx.connection.execute(insert(schema.alarms_seen).values(
        post_id=errand.post_id, errand=str(errand.owed.errand), alarm=errand.alarm, by=person_id,
        at=tx.now,
    ))  # fmt: skip


def of_posts(tx: Tx, post_ids: Collection[str]) -> list[Kept]:
    """All errands of posts."""
    rows = tx.connection.execute(
        _KEPT.where(schema.errands.c.post_id.in_(post_ids)).order_by(
            schema.errands.c.since, schema.errands.c.errand
        )
    )
    return [_kept(row) for row in rows]


def takes_down(tx: Tx, post_id: str) -> bool:
    """Whether a post's words are wrong, and still to be taken down."""
    return any(each.takes_down for each in of_posts(tx, [post_id]))


def alarming(tx: Tx, incident_ids: Collection[str]) -> list[tuple[posts.Kept, Kept]]:
    """What somebody must still look at of incidents, the newest first."""
    table, post = schema.errands.c, schema.posts.c
    rows = tx.connection.execute(
        select(post.id)
        .join(schema.errands, table.post_id == post.id)
        .where(post.incident_id.in_(incident_ids), table.found.in_(_ALARMS))
        .distinct()
    ).scalars()
    kept = {each.id: each for each in posts.several(tx, rows.all())}
    alarms = [each for each in of_posts(tx, kept) if each.alarms]
    return [(kept[each.post_id], each) for each in reversed(alarms)]


_KEPT = select(
    schema.errands,
    schema.alarms_seen.c.by.label("seen_by"),
    schema.alarms_seen.c.at.label("seen_at"),
).outerjoin(schema.alarms_seen, and_(
    schema.alarms_seen.c.post_id == schema.errands.c.post_id,
    schema.alarms_seen.c.errand == schema.errands.c.errand,
    schema.alarms_seen.c.alarm == schema.errands.c.alarm,
))  # fmt: skip


def _mark(tx: Tx, post_id: str, errand: Errand, **values: object) -> None:
    table = schema.errands
    tx.connection.execute(
        update(table)
        .where(table.c.post_id == post_id, table.c.errand == str(errand))
        .values(**values)
    )


def _kept(row: Row[tuple[object, ...]]) -> Kept:
    found = Found(row.found) if row.found else None
    return Kept(
        post_id=row.post_id,
        owed=Owed(Errand(row.errand), row.since, row.reads, row.tries + 1, found, row.read_digest),
        due_at=row.due_at, found=found, why=row.why, done_at=row.done_at, alarm=row.alarm,
        seen_by=row.seen_by, seen_at=row.seen_at,
    )  # fmt: skip
