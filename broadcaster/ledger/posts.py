"""Posts: what the gate plans, and what has become of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Row, bindparam, func, insert, select, update

from broadcaster.delivery import Next, Post, PostState, Receipt
from broadcaster.ledger import outbox, schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind
from broadcaster.world import W

#: Deliver is looked for again this long after it was last called, by the sweep.
LOOK_AGAIN = timedelta(seconds=5)

_UNSENT = [str(state) for state in PostState if state.unsent]
_UNFINISHED = [str(state) for state in PostState if not state.ended]
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


def replace(tx: Tx, old_release_ids: tuple[str, ...], by_release_id: str) -> None:
    """Marks the posts of releases that a new one says it replaces; others go out.

    Those not sent yet are looked at now, so that none of them keeps the new one waiting; one that
    is being sent, or in doubt, is not tried again.
    """
    if old_release_ids:
        table = schema.posts.c
        tx.connection.execute(
            update(schema.posts)
            .where(table.release_id.in_(old_release_ids), table.state.in_(_UNFINISHED))
            .values(replaced_by=by_release_id)
        )
        tx.connection.execute(
            update(schema.posts)
            .where(table.release_id.in_(old_release_ids), table.state.in_(_UNSENT))
            .values(state=str(PostState.WAITING), since=tx.now, next_look=tx.now)
        )


class Due(NamedTuple):
    """A post to try now."""

    id: str
    channel: str


def first_due(tx: Tx, channels: Collection[str]) -> tuple[list[Due], datetime | None]:
    """The posts to try now on these channels, and when the next one after them is due.

    In order within an incident and channel: a post waits for the one before it, unless that waits
    for a person (in doubt, or held).
    """
    table = schema.posts.c
    rows = tx.connection.execute(
        select(table.channel, table.incident_id, table.id, table.next_look)
        .where(table.channel.in_(channels), table.state.in_(_GOES_ON))
        .order_by(table.released_at, table.id)
    )
    first: dict[tuple[str, str], tuple[str, datetime | None]] = {}
    for channel, incident_id, post_id, next_look in rows:
        first.setdefault((channel, incident_id), (post_id, next_look))
    now = tx.clock()  # the step's own time is taken later, when it has its locks
    due = [Due(id, channel) for (channel, _), (id, look) in first.items() if look and look <= now]
    later = [look for _, look in first.values() if look and look > now]
    return due, min(later, default=None)


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


def turn(tx: Tx, turns: Sequence[Turn]) -> None:
    """Notes what has become of posts; a receipt that was had stays where none is given."""
    table = schema.posts.c
    values = [
        {"post": each.post.id, "state": str(each.then.state), "since": tx.now,
         "next_look": each.then.next_look, "why": each.then.why,
         "proof": each.receipt.remote_id if each.receipt else None,
         "address": each.receipt.url if each.receipt else None}
        for each in turns
    ]  # fmt: skip
    if values:
        tx.connection.execute(
            update(schema.posts)
            .where(table.id == bindparam("post"))
            .values(remote_id=func.coalesce(bindparam("proof"), table.remote_id),
                    url=func.coalesce(bindparam("address"), table.url)),
            values,
        )  # fmt: skip
    for each in turns:
        changed(tx, each.post)


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
    """Holds what was to go to channels that are in the settings no more: nobody would end it.

    A channel that another process has the lease of is in that one's settings. What was being sent
    may have arrived.
    """
    table, lease = schema.posts.c, schema.leases.c
    rows = tx.connection.execute(
        select(schema.posts)
        .where(
            table.state.in_(_GOES_ON), table.channel.not_in(channels),
            ("channel:" + table.channel).not_in(select(lease.name).where(lease.until > tx.clock())),
        )
        .order_by(table.id)
        .with_for_update()
    ).all()  # fmt: skip
    why = "Its channel is in the settings no more. Put it back and submit the update again."
    for row in rows:
        post = kept(row)
        in_doubt = post.state is PostState.SENDING
        then = Next(PostState.IN_DOUBT if in_doubt else PostState.HELD, why=why)
        turn(tx, [Turn(post, then)])
        tx.trace = post.trace
        tx.record(Kind.POST_IN_DOUBT if in_doubt else Kind.POST_HELD, actor="deliver",
                  incident_id=post.incident_id, post_id=post.id, channel=post.channel,
                  private={"why": why})  # fmt: skip


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
        released_at=row.released_at, replaced_by=row.replaced_by,
        trace=row.trace,
    )  # fmt: skip
