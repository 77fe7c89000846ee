"""Posts: what the gate plans, and what has become of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Row, and_, bindparam, case, exists, func, insert, or_, select, update

from broadcaster.delivery import InDoubt, Post, PostState, Receipt
from broadcaster.incident import Handling
from broadcaster.ledger import outbox, schema
from broadcaster.ledger.tx import Tx
from broadcaster.outcome import Next
from broadcaster.record import Kind
from broadcaster.world import W

#: Deliver is looked for again this long after it was last called, by the sweep.
LOOK_AGAIN = timedelta(seconds=5)

_UNSENT = [str(state) for state in PostState if state.unsent]
UNENDED = [str(state) for state in PostState if not state.ended]
_NOT_WELL = [*UNENDED, str(PostState.REFUSED)]
_GOES_ON = [str(state) for state in (PostState.PLANNED, PostState.WAITING, PostState.SENDING)]


@dataclass(frozen=True)
class Kept:
    """A post in the ledger."""

    id: str
    release_id: str
    incident_id: str
    channel: str
    state: PostState
    since: datetime
    why: str | None
    attempts: int
    url: str | None
    remote_id: str | None
    next_look: datetime | None
    released_at: datetime
    replaced_by: str | None
    looks: int  #: for it since its last try ended in doubt
    looked_at: datetime | None
    not_there_at: datetime | None  #: no try that had ended by then is in doubt any more
    chosen_at: datetime | None  #: when a person last chose what should become of it
    trace: str | None


def add(tx: Tx, planned: Sequence[Post[W]], released_at: datetime) -> None:
    """Keeps a release's planned posts, and wakes deliver on each one's channel."""
    tx.connection.execute(insert(schema.posts), [
        {"id": post.id, "release_id": post.release_id, "incident_id": post.incident_id,
         "channel": post.channel, "trace": tx.trace, "released_at": released_at,
         "state": str(post.state), "since": tx.now, "attempts": post.attempts,
         "next_look": tx.now}
        for post in planned
    ])  # fmt: skip
    for post in planned:
        outbox.post_planned(tx, post.id, post.incident_id, post.channel)
        tx.changed(f"posts:{post.channel}", f"incident:{post.incident_id}",
                   f"release:{post.release_id}")  # fmt: skip


def get(tx: Tx, post_id: str) -> Kept | None:
    row = tx.connection.execute(select(schema.posts).where(schema.posts.c.id == post_id)).first()
    return kept(row) if row else None


def several(tx: Tx, post_ids: Collection[str]) -> list[Kept]:
    rows = tx.connection.execute(select(schema.posts).where(schema.posts.c.id.in_(post_ids)))
    return [kept(row) for row in rows]


def of_release(tx: Tx, release_id: str) -> list[Kept]:
    rows = tx.connection.execute(
        select(schema.posts)
        .where(schema.posts.c.release_id == release_id)
        .order_by(schema.posts.c.channel)
    )
    return [kept(row) for row in rows]


def of_incident(tx: Tx, incident_id: str) -> list[Kept]:
    rows = tx.connection.execute(
        select(schema.posts)
        .where(schema.posts.c.incident_id == incident_id)
        .order_by(schema.posts.c.released_at.desc(), schema.posts.c.channel)
    )
    return [kept(row) for row in rows]


def at(tx: Tx, channel: str, remote_id: str) -> list[Kept]:
    """Posts whose words stand at one place of a channel, held until the step ends."""
    table = schema.posts.c
    rows = tx.connection.execute(
        select(schema.posts)
        .where(
            table.channel == channel, table.remote_id == remote_id,
            table.state == str(PostState.POSTED),
        )
        .order_by(table.id)
        .with_for_update()
    )  # fmt: skip
    return [kept(row) for row in rows]


def replace(
    tx: Tx, old_release_ids: tuple[str, ...], by_release_id: str, *, corrects: str | None = None
) -> None:
    """Marks the posts of releases that a new one says it replaces; others go out.

    Those not sent yet are looked at now, so that none of them keeps the new one waiting; one that
    is being sent, or in doubt, is not tried again. Nor is one that was refused, whether it is
    replaced or corrected: nobody may have it sent again, since nothing would put it right there.
    """
    table = schema.posts.c
    if wrong := [*old_release_ids, *([corrects] if corrects else [])]:
        tx.connection.execute(
            update(schema.posts)
            .where(table.release_id.in_(wrong), table.state == str(PostState.REFUSED))
            .values(replaced_by=by_release_id)
        )
    if old_release_ids:
        tx.connection.execute(
            update(schema.posts)
            .where(table.release_id.in_(old_release_ids), table.state.in_(UNENDED))
            .values(replaced_by=by_release_id)
        )
        tx.connection.execute(
            update(schema.posts)
            .where(table.release_id.in_(old_release_ids), table.state.in_(_UNSENT))
            .values(state=str(PostState.WAITING), since=tx.now, next_look=tx.now)
        )


class Due(NamedTuple):
    """A post to try, or to look for, now."""

    id: str
    channel: str
    incident_id: str
    urgent: bool  #: whether its incident is of a type of which the public is told at once
    next_look: datetime
    #: Earlier ones of its incident, in doubt: one that turns out not to be there goes first.
    passes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dues:
    """What there is to do now on some channels, and when the next thing is after that."""

    to_try: Sequence[Due]
    to_look_for: Sequence[Due]
    next_look: datetime | None


def first_due(tx: Tx, channels: Collection[str]) -> Dues:
    """The posts to try, and those to look for, now on these channels.

    In order within an incident and channel: a post waits for the one before it, unless that waits
    for a person (held), or nobody knows of it (in doubt). What waited to be tried again when a
    person let its channel go on waits no longer.
    """
    table, about, on = schema.posts.c, schema.incidents.c, schema.channels.c
    let_go = and_(table.state == str(PostState.WAITING), table.since < on.tried_now_at,
                  table.next_look > on.tried_now_at)  # fmt: skip
    look = case((let_go, on.tried_now_at), else_=table.next_look)
    rows = tx.connection.execute(
        select(table.channel, table.incident_id, table.id, table.state, look, about.handling)
        .join(schema.incidents, about.id == table.incident_id)
        .outerjoin(schema.channels, on.name == table.channel)
        .where(
            table.channel.in_(channels),
            or_(table.state.in_(_GOES_ON),
                and_(table.state == str(PostState.IN_DOUBT), table.next_look.is_not(None))),
        )
        .order_by(table.released_at, table.id)
    )  # fmt: skip
    first: dict[tuple[str, str], Due | None] = {}
    doubtful: list[Due] = []
    passed: dict[tuple[str, str], tuple[str, ...]] = {}
    for channel, incident_id, post_id, state, look, handling in rows:
        urgent, of = handling == Handling.AUTO_DRAFT, (channel, incident_id)
        due = Due(post_id, channel, incident_id, urgent, look, passed.get(of, ())) if look else None
        if state == PostState.IN_DOUBT and due:
            doubtful.append(due)
            passed[of] = (*passed.get(of, ()), post_id)
        else:
            first.setdefault((channel, incident_id), due)
    now = tx.clock()  # the step's own time is taken later, when it has its locks
    tries = [due for due in first.values() if due]
    return Dues(
        [due for due in tries if due.next_look <= now],
        [due for due in doubtful if due.next_look <= now],
        min((due.next_look for due in (*tries, *doubtful) if due.next_look > now), default=None),
    )


def locked(tx: Tx, post_ids: Collection[str]) -> list[Kept]:
    """Posts, held until the step ends (last in the lock order)."""
    table = schema.posts.c
    rows = tx.connection.execute(
        select(schema.posts).where(table.id.in_(post_ids)).order_by(table.id).with_for_update()
    )
    return [kept(row) for row in rows]


@dataclass(frozen=True)
class Turn:
    """What becomes of a post, and the proof where there is one."""

    post: Kept
    then: Next
    receipt: Receipt | None = None
    url: str | None = None  #: where a person has seen it


def turn(tx: Tx, turns: Sequence[Turn]) -> None:
    """Notes what has become of posts; a receipt that was had stays where none is given."""
    table = schema.posts.c
    values = [
        {"post": each.post.id, "state": str(each.then.state), "since": tx.now,
         "next_look": each.then.next_look, "why": each.then.why,
         "proof": each.receipt.remote_id if each.receipt else None,
         "address": each.receipt.url if each.receipt else each.url,
         "settled": tx.now if each.then.surely_not_there else None}
        for each in turns
    ]  # fmt: skip
    if values:
        tx.connection.execute(
            update(schema.posts)
            .where(table.id == bindparam("post"))
            .values(remote_id=func.coalesce(bindparam("proof"), table.remote_id),
                    url=func.coalesce(bindparam("address"), table.url),
                    not_there_at=func.coalesce(bindparam("settled", type_=schema.Instant),
                                               table.not_there_at)),
            values,
        )  # fmt: skip
    for each in turns:
        changed(tx, each.post)


def looked_for(tx: Tx, post: Kept, then: Next) -> None:
    """Notes that a post in doubt was looked for, which told nothing, and when it is again."""
    table = schema.posts
    tx.connection.execute(
        update(table)
        .where(table.c.id == post.id)
        .values(looks=post.looks + 1, looked_at=tx.now, next_look=then.next_look, why=then.why)
    )
    changed(tx, post)


def chosen(tx: Tx, post_id: str) -> None:
    """Notes that a person has chosen what becomes of a post: its doubts are counted anew."""
    table = schema.posts
    tx.connection.execute(
        update(table).where(table.c.id == post_id).values(chosen_at=tx.now, looks=0)
    )


def look_again(tx: Tx) -> int:
    """Calls deliver again, once for each channel with posts well past their `next_look`.

    A channel that is called looks at all that is due, so one post stands for all of them.
    """
    table = schema.posts.c
    rows = tx.connection.execute(
        select(table.channel, func.min(table.id))
        .where(table.next_look <= tx.now - LOOK_AGAIN)
        .group_by(table.channel)
    ).all()
    for channel, post_id in rows:
        post = get(tx, post_id)
        assert post is not None, "it was just read"
        tx.trace = post.trace
        outbox.post_planned(tx, post_id, post.incident_id, channel)
    return len(rows)


def of_stopped(tx: Tx) -> int:
    """Makes what still waits of stopped releases due now, so that deliver ends it as stopped."""
    table, stopped = schema.posts.c, schema.releases.c
    return tx.connection.execute(
        update(schema.posts)
        .where(
            table.state == str(PostState.WAITING), table.next_look > tx.now,
            table.release_id.in_(select(stopped.id).where(stopped.stopped_at.is_not(None))),
        )
        .values(next_look=tx.now - LOOK_AGAIN)
    ).rowcount  # fmt: skip


def held_of_stopped(tx: Tx) -> list[tuple[Kept, str]]:
    """What is held of stopped releases, and will never go; each with its incident's public id."""
    table, stopped, about = schema.posts.c, schema.releases.c, schema.incidents.c
    rows = tx.connection.execute(
        select(schema.posts, about.public_id)
        .join(schema.incidents, about.id == table.incident_id)
        .where(
            table.state == str(PostState.HELD),
            table.release_id.in_(select(stopped.id).where(stopped.stopped_at.is_not(None))),
        )
        .order_by(table.id)
        .with_for_update(of=schema.posts)
    )
    return [(kept(row), row.public_id) for row in rows]


def let_go(tx: Tx, release_id: str) -> list[Kept]:
    """Has what is held of a release tried again, and wakes deliver; answers what that is.

    The attempt judges each as ever.
    """
    held = [post for post in of_release(tx, release_id) if post.state is PostState.HELD]
    turn(tx, [Turn(post, Next(PostState.WAITING, next_look=tx.now)) for post in held])
    for post in held:
        outbox.post_planned(tx, post.id, post.incident_id, post.channel)
    return held


def hold_unknown(tx: Tx, channels: Sequence[str]) -> None:
    """Holds what was to go to channels that there are no more: nobody would end it.

    A channel that another process has the lease of is known to that one. What was being sent
    may have arrived, and so may what waits to be sent again with the same key.
    """
    table, lease, tried = schema.posts.c, schema.leases.c, schema.attempts.c
    doubtful = exists().where(
        tried.post_id == table.id, tried.outcome == InDoubt.__name__,
        or_(table.not_there_at.is_(None), tried.ended_at > table.not_there_at),
    )  # fmt: skip
    rows = tx.connection.execute(
        select(schema.posts, doubtful.label("doubtful"))
        .where(
            table.next_look.is_not(None), table.channel.not_in(channels),
            ("channel:" + table.channel).not_in(select(lease.name).where(lease.until > tx.clock())),
        )
        .order_by(table.id)
        .with_for_update(of=schema.posts)
    ).all()  # fmt: skip
    why = "There is no such channel any more. Put it back and submit the update again."
    for row in rows:
        post = kept(row)
        in_doubt = row.doubtful or post.state in (PostState.SENDING, PostState.IN_DOUBT)
        then = Next(PostState.IN_DOUBT if in_doubt else PostState.HELD, why=why)
        turn(tx, [Turn(post, then)])
        tx.trace = post.trace
        tx.record(Kind.POST_IN_DOUBT if in_doubt else Kind.POST_HELD, actor="deliver",
                  incident_id=post.incident_id, post_id=post.id, channel=post.channel,
                  private={"why": why})  # fmt: skip


def unended(
    tx: Tx, incident_ids: Collection[str] | None = None, *, limit: int | None = None
) -> list[Kept]:
    """Posts that have not ended, or that a channel refused; the newest first.

    Of these incidents, or of all.
    """
    table = schema.posts.c
    query = select(schema.posts).where(table.state.in_(_NOT_WELL))
    if incident_ids is not None:
        query = query.where(table.incident_id.in_(incident_ids))
    rows = tx.connection.execute(
        query.order_by(table.released_at.desc(), table.channel).limit(limit)
    )
    return [kept(row) for row in rows]


@dataclass(frozen=True)
class SeenBy:
    """Who has seen that a post expired, and when."""

    person_id: str
    at: datetime


_EXPIRY_SEEN = and_(schema.alarms_seen.c.errand == "send", schema.alarms_seen.c.alarm == 0)


def missed(tx: Tx, incident_ids: Collection[str]) -> list[Kept]:
    """Posts of incidents that expired, which nobody has seen yet; the newest first."""
    table, seen = schema.posts.c, schema.alarms_seen.c
    rows = tx.connection.execute(
        select(schema.posts)
        .where(
            table.incident_id.in_(incident_ids), table.state == str(PostState.EXPIRED),
            table.id.not_in(select(seen.post_id).where(_EXPIRY_SEEN)),
        )
        .order_by(table.released_at.desc(), table.channel)
    )  # fmt: skip
    return [kept(row) for row in rows]


def see_missed(tx: Tx, post_id: str, person_id: str) -> None:
    """Notes who has seen that a post expired."""
    tx.connection.execute(
        insert(schema.alarms_seen).values(
            post_id=post_id, errand="send", alarm=0, by=person_id, at=tx.now
        )
    )


def seen_missed(tx: Tx, post_ids: Collection[str]) -> dict[str, SeenBy]:
    """Who has seen that posts expired, by post."""
    seen = schema.alarms_seen.c
    rows = tx.connection.execute(
        select(seen.post_id, seen.by, seen.at).where(seen.post_id.in_(post_ids), _EXPIRY_SEEN)
    )
    return {row.post_id: SeenBy(row.by, row.at) for row in rows}


def by_channel_and_state(tx: Tx) -> dict[tuple[str, PostState], int]:
    table = schema.posts.c
    rows = tx.connection.execute(
        select(table.channel, table.state, func.count()).group_by(table.channel, table.state)
    )
    return {(row[0], PostState(row[1])): row[2] for row in rows}


def waiting(tx: Tx) -> int:
    """How many posts are still to be tried or ended without a person."""
    return tx.connection.execute(
        select(func.count()).where(schema.posts.c.next_look.is_not(None))
    ).scalar_one()


def changed(tx: Tx, post: Kept) -> None:
    """Says that a post has moved to whoever looks at it."""
    tx.changed(
        "board", f"posts:{post.channel}", f"incident:{post.incident_id}",
        f"release:{post.release_id}",
    )  # fmt: skip


def kept(row: Row[tuple[object, ...]]) -> Kept:
    """A post from its row."""
    return Kept(
        id=row.id, release_id=row.release_id, incident_id=row.incident_id, channel=row.channel,
        state=PostState(row.state), since=row.since, why=row.why, attempts=row.attempts,
        url=row.url, remote_id=row.remote_id, next_look=row.next_look,
        released_at=row.released_at, replaced_by=row.replaced_by, looks=row.looks,
        looked_at=row.looked_at, not_there_at=row.not_there_at, chosen_at=row.chosen_at,
        trace=row.trace,
    )  # fmt: skip
