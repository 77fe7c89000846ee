"""Posts, attempts and leases: what deliver reads before a send, and writes after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, func, insert, select, true, update

from broadcaster.delivery import InDoubt, Next, PostState, Receipt, Standing, before_attempt
from broadcaster.ledger import approvals, incidents, outbox, releases, schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind
from broadcaster.update import Revision

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


@dataclass(frozen=True)
class Attempt:
    """One try, as noted in the ledger."""

    number: int
    started_at: datetime
    send_before: datetime
    ended_at: datetime | None
    outcome: str | None
    why: str | None


@dataclass(frozen=True)
class Lease:
    """The right to send on one channel; a later holder has a higher epoch."""

    name: str
    holder: str
    epoch: int
    until: datetime


class LeaseLost(Exception):
    """Another worker holds the channel now; this one must send nothing more on it."""


def add(
    tx: Tx, *, post_id: str, release_id: str, incident_id: str, channel: str, released_at: datetime
) -> None:
    """Keeps a planned post and wakes deliver on its channel."""
    tx.connection.execute(
        insert(schema.posts).values(
            id=post_id, release_id=release_id, incident_id=incident_id, channel=channel,
            trace=tx.trace, released_at=released_at, state=str(PostState.PLANNED), since=tx.now,
            attempts=0, next_look=tx.now,
        )
    )  # fmt: skip
    outbox.post_planned(tx, post_id, incident_id, channel)
    tx.changed(f"posts:{channel}", f"incident:{incident_id}", f"release:{release_id}")


def get(tx: Tx, post_id: str) -> Kept | None:
    row = tx.connection.execute(select(schema.posts).where(schema.posts.c.id == post_id)).first()
    return _kept(row) if row else None


def of_release(tx: Tx, release_id: str) -> list[Kept]:
    rows = tx.connection.execute(
        select(schema.posts)
        .where(schema.posts.c.release_id == release_id)
        .order_by(schema.posts.c.channel)
    )
    return [_kept(row) for row in rows]


def of_incident(tx: Tx, incident_id: str) -> list[Kept]:
    rows = tx.connection.execute(
        select(schema.posts)
        .where(schema.posts.c.incident_id == incident_id)
        .order_by(schema.posts.c.released_at.desc(), schema.posts.c.channel)
    )
    return [_kept(row) for row in rows]


def attempts_of(tx: Tx, post_id: str) -> list[Attempt]:
    """A post's attempts, in order."""
    table = schema.attempts.c
    rows = tx.connection.execute(
        select(schema.attempts).where(table.post_id == post_id).order_by(table.number)
    )
    return [
        Attempt(row.number, row.started_at, row.send_before, row.ended_at, row.outcome, row.why)
        for row in rows
    ]


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


def first_due(tx: Tx, channel: str) -> tuple[list[Kept], datetime | None]:
    """The posts of a channel to try now, at most one an incident, and when the next one is due.

    In order within an incident: a post waits for the one before it, unless that waits for a
    person (in doubt, or held).
    """
    table = schema.posts.c
    rows = tx.connection.execute(
        select(schema.posts)
        .where(
            table.channel == channel,
            table.state.in_(_GOES_ON),
        )
        .order_by(table.released_at, table.id)
    )
    first: dict[str, Kept] = {}
    for row in rows:
        first.setdefault(row.incident_id, _kept(row))
    looked_for = [kept for kept in first.values() if kept.next_look is not None]
    due = [kept for kept in looked_for if kept.next_look is not None and kept.next_look <= tx.now]
    later = [kept.next_look for kept in looked_for if kept.next_look and kept.next_look > tx.now]
    return due, min(later, default=None)


@dataclass(frozen=True)
class Opened:
    """An attempt that may be sent now: the point of no return is behind it."""

    post: Kept
    number: int
    revision: Revision


def open_attempt(
    tx: Tx, post_id: str, *, lease: Lease, deadline: timedelta
) -> Opened | Next | None:
    """Notes an attempt, or says what becomes of the post instead; None if there is nothing to do.

    Raises LeaseLost where the channel has a new holder. Fails closed: the digest is computed
    again from the words that would be sent.
    """
    hold(tx, lease)
    row = tx.connection.execute(
        select(schema.posts).where(schema.posts.c.id == post_id).with_for_update()
    ).first()
    if row is None:
        return None
    post = _kept(row)
    tx.trace = post.trace
    if post.state not in (PostState.PLANNED, PostState.WAITING):
        return None
    release = releases.get(tx, post.release_id)
    assert release is not None, "a post's release is a foreign key"
    revision = approvals.revision(tx, release.revision_id)
    incident = incidents.get(tx, post.incident_id)
    assert revision is not None and incident is not None, "a release's revision is a foreign key"
    stopped = tx.connection.execute(
        select(schema.releases.c.stopped_at).where(schema.releases.c.id == release.id)
    ).scalar()
    instead = before_attempt(
        Standing(
            release_expires_at=release.expires_at, stopped=stopped is not None,
            replaced_by=post.replaced_by, digest_released=release.digest, revision=revision,
            facts=incident.incident.facts, in_doubt=_in_doubt(tx, post_id),
        ),
        now=tx.now,
    )  # fmt: skip
    if instead is not None:
        _set(tx, post, instead)
        return instead
    number = post.attempts + 1
    tx.connection.execute(
        insert(schema.attempts).values(
            post_id=post_id,
            number=number,
            started_at=tx.now,
            send_before=tx.now + deadline,
            lease_epoch=lease.epoch,
        )
    )
    tx.connection.execute(
        update(schema.posts)
        .where(schema.posts.c.id == post_id)
        .values(state=str(PostState.SENDING), since=tx.now, attempts=number,
                next_look=tx.now + deadline, why=None)
    )  # fmt: skip
    _changed(tx, post)
    return Opened(post, number, revision)


def close_attempt(
    tx: Tx, opened: Opened, *, lease: Lease, outcome: str, then: Next, receipt: Receipt | None
) -> bool:
    """Notes how an attempt ended and what becomes of its post; answers whether that was news.

    Of an attempt that was ended by another in the meantime only a receipt is news: proof stands
    above doubt. Raises LeaseLost.
    """
    hold(tx, lease)
    tx.trace = opened.post.trace
    post = get(tx, opened.post.id)
    open_still = post is not None and (post.state, post.attempts) == (
        PostState.SENDING, opened.number,
    )  # fmt: skip
    table = schema.attempts.c
    tx.connection.execute(
        update(schema.attempts)
        .where(
            table.post_id == opened.post.id, table.number == opened.number,
            table.ended_at.is_(None) if receipt is None else true(),
        )
        .values(ended_at=tx.now, outcome=outcome, why=then.why)
    )  # fmt: skip
    if not open_still and receipt is None:
        return False
    _set(tx, opened.post, then, receipt)
    return True


def reopened(tx: Tx, post: Kept, number: int) -> Opened | None:
    """An attempt that its sender left open, as `open_attempt` gave it."""
    release = releases.get(tx, post.release_id)
    revision = approvals.revision(tx, release.revision_id) if release else None
    return Opened(post, number, revision) if revision else None


def left_open(tx: Tx, channel: str) -> list[tuple[Kept, int]]:
    """Posts whose attempt nobody closed, past the time by which it must have been sent."""
    table, tried = schema.posts.c, schema.attempts.c
    rows = tx.connection.execute(
        select(schema.posts, tried.number)
        .join(schema.attempts, tried.post_id == table.id)
        .where(
            table.channel == channel,
            table.state == str(PostState.SENDING),
            tried.ended_at.is_(None),
            tried.send_before <= tx.now,
        )
    )
    return [(_kept(row), row.number) for row in rows]


def take_lease(tx: Tx, name: str, holder: str, lasts: timedelta) -> Lease | None:
    """Takes or renews a lease; None while another holder's still runs."""
    row = tx.connection.execute(
        select(schema.leases).where(schema.leases.c.name == name).with_for_update()
    ).first()
    if row is not None and row.holder != holder and row.until > tx.now:
        return None
    epoch = 1 if row is None else row.epoch + (row.holder != holder)
    lease = Lease(name, holder, epoch, tx.now + lasts)
    values = {"holder": holder, "epoch": epoch, "until": lease.until}
    if row is None:
        tx.connection.execute(insert(schema.leases).values(name=name, **values))
    else:
        tx.connection.execute(
            update(schema.leases).where(schema.leases.c.name == name).values(**values)
        )
    return lease


def let_go(tx: Tx, lease: Lease) -> None:
    """Gives a lease back before its time, so that the next holder need not wait."""
    tx.connection.execute(
        update(schema.leases)
        .where(schema.leases.c.name == lease.name, schema.leases.c.epoch == lease.epoch)
        .values(until=tx.now)
    )


def orphaned(tx: Tx) -> None:
    """Ends all leases and the time of all open attempts: no process that had them lives.

    Only where that is certain: SQLite's lock keeps a second process away.
    """
    tx.connection.execute(update(schema.leases).values(until=tx.now))
    tx.connection.execute(
        update(schema.attempts)
        .where(schema.attempts.c.ended_at.is_(None))
        .values(send_before=tx.now)
    )


def hold(tx: Tx, lease: Lease) -> None:
    """Raises LeaseLost unless the lease is still this holder's."""
    epoch = tx.connection.execute(
        select(schema.leases.c.epoch).where(schema.leases.c.name == lease.name)
    ).scalar()
    if epoch != lease.epoch:
        raise LeaseLost(f"{lease.name}: epoch {lease.epoch} was followed by {epoch}")


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


def hold_unknown(tx: Tx, channels: Sequence[str]) -> None:
    """Holds what was to go to channels that are in the settings no more: nobody would end it."""
    table = schema.posts.c
    rows = tx.connection.execute(
        select(schema.posts).where(table.state.in_(_GOES_ON), table.channel.not_in(channels))
    ).all()
    why = "Its channel is in the settings no more. Put it back and submit the update again."
    for row in rows:
        tx.trace = row.trace
        _set(tx, _kept(row), Next(PostState.HELD, why=why))
        tx.record(Kind.POST_HELD, actor="deliver", incident_id=row.incident_id, post_id=row.id,
                  channel=row.channel, private={"why": why})  # fmt: skip


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


def _in_doubt(tx: Tx, post_id: str) -> bool:
    """Whether some attempt of a post ended without anybody knowing how."""
    table = schema.attempts.c
    doubtful = select(table.number).where(
        table.post_id == post_id, table.outcome == InDoubt.__name__
    )
    return tx.connection.execute(doubtful).first() is not None


def _set(tx: Tx, post: Kept, then: Next, receipt: Receipt | None = None) -> None:
    values: dict[str, object] = {
        "state": str(then.state), "since": tx.now, "next_look": then.next_look, "why": then.why,
    }  # fmt: skip
    if receipt is not None:
        values |= {"remote_id": receipt.remote_id, "url": receipt.url}
    tx.connection.execute(update(schema.posts).where(schema.posts.c.id == post.id).values(**values))
    _changed(tx, post)


def _changed(tx: Tx, post: Kept) -> None:
    tx.changed(
        "board", f"posts:{post.channel}", f"incident:{post.incident_id}",
        f"release:{post.release_id}",
    )  # fmt: skip


def _kept(row: Row[tuple[object, ...]]) -> Kept:
    return Kept(
        id=row.id, release_id=row.release_id, incident_id=row.incident_id, channel=row.channel,
        state=PostState(row.state), since=row.since, why=row.why, attempts=row.attempts,
        url=row.url, remote_id=row.remote_id, next_look=row.next_look,
        released_at=row.released_at, replaced_by=row.replaced_by,
        trace=row.trace,
    )  # fmt: skip
