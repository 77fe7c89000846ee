"""Attempts: the point of no return before a send, and how each ended.

Many at a time, since a release's posts are due together: one statement for all of them where one
each would do the same, and each revision is read and hashed once. What is checked of a post is
checked of each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Select, bindparam, insert, or_, select, update

from broadcaster.delivery import InDoubt, Next, PostState, Receipt, Standing, before_attempt
from broadcaster.ledger import incidents, leases, posts, releases, schema
from broadcaster.ledger.leases import Lease, LeaseLost
from broadcaster.ledger.posts import Kept, Turn
from broadcaster.ledger.tx import Tx
from broadcaster.update import Revision, lapses_by


@dataclass(frozen=True)
class Attempt:
    """One try, as noted in the ledger."""

    number: int
    started_at: datetime
    send_before: datetime
    ended_at: datetime | None
    outcome: str | None
    why: str | None


def of_post(tx: Tx, post_id: str) -> list[Attempt]:
    """A post's attempts, in order."""
    table = schema.attempts.c
    rows = tx.connection.execute(
        select(schema.attempts).where(table.post_id == post_id).order_by(table.number)
    )
    return [
        Attempt(row.number, row.started_at, row.send_before, row.ended_at, row.outcome, row.why)
        for row in rows
    ]


# --- Before the send --------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """A post that a worker would try, on the strength of its lease."""

    post_id: str
    lease: Lease
    lasts: timedelta  #: until then it is sent, or given up


@dataclass(frozen=True)
class Opened:
    """An attempt that may be sent now: the point of no return is behind it."""

    post: Kept
    number: int
    revision: Revision
    digest: str  #: of the words that are sent, computed from them
    public_id: str  #: the incident's


@dataclass(frozen=True)
class Ended:
    """A post that may not be sent, and what became of it instead."""

    post: Kept
    then: Next
    public_id: str


#: What may be tried.
_TRIED = (PostState.PLANNED, PostState.WAITING)

#: What came of an attempt that was wanted; an error keeps that post back and no other.
Outcome = Opened | Ended | Exception


def open_(tx: Tx, wanted: Sequence[Wanted]) -> dict[str, Outcome]:
    """Notes attempts, or what becomes of a post instead, by its id; without those to leave alone.

    LeaseLost where a channel has a new holder. Fails closed: the digest is computed again from
    the words that would be sent.
    """
    lost = leases.lost(tx, {each.lease for each in wanted})
    outcomes: dict[str, Outcome] = {
        each.post_id: lost[each.lease] for each in wanted if each.lease in lost
    }
    asked = {each.post_id: each for each in wanted if each.lease not in lost}
    released = _released_of(tx, asked)  # held before their posts: a stop comes before, or after
    several = [post for post in posts.locked(tx, asked) if post.state in _TRIED]
    about = incidents.several(tx, {post.incident_id for post in several})
    doubtful = _in_doubt(tx, [post.id for post in several])
    for post in several:
        outcomes[post.id] = _judged(
            tx, post, released[post.release_id], about[post.incident_id], post.id in doubtful
        )
    _note(tx, asked, outcomes)
    return outcomes


@dataclass(frozen=True)
class _Released:
    """A release as the ledger holds it now, with its words and what they hash to."""

    expires_at: datetime
    stopped: bool
    keeps: str | None
    digest_released: str
    revision: Revision
    digest: str


def _released_of(tx: Tx, post_ids: Collection[str]) -> dict[str, _Released | Exception]:
    """The releases of posts by id, held so that none is stopped until the step ends.

    One that cannot be read is an error of its own.
    """
    table = schema.releases.c
    of_posts = select(schema.posts.c.release_id).where(schema.posts.c.id.in_(post_ids))
    return _read(tx, _RELEASED.where(table.id.in_(of_posts)).order_by(table.id).with_for_update(
        read=True, of=schema.releases))  # fmt: skip


_RELEASED = select(
    schema.releases.c.id, schema.releases.c.body, schema.releases.c.stopped_at,
    schema.releases.c.keeps,
    schema.revisions.c.body.label("words"),
).join(schema.revisions, schema.revisions.c.id == schema.releases.c.revision_id)  # fmt: skip


def _released(tx: Tx, release_ids: Collection[str]) -> dict[str, _Released | Exception]:
    """Releases by id; one that cannot be read is an error of its own."""
    return _read(tx, _RELEASED.where(schema.releases.c.id.in_(release_ids)))


def _read(tx: Tx, query: Select[Any]) -> dict[str, _Released | Exception]:
    rows = tx.connection.execute(query)
    found: dict[str, _Released | Exception] = {}
    for row in rows:
        try:
            release, revision = releases.parse(row.body), Revision.model_validate_json(row.words)
        except ValueError as unreadable:
            found[row.id] = unreadable
        else:
            found[row.id] = _Released(release.expires_at, row.stopped_at is not None, row.keeps,
                                      release.digest, revision, revision.digest)  # fmt: skip
    return found


def _judged(
    tx: Tx, post: Kept, released: _Released | Exception, about: incidents.Kept | Exception,
    in_doubt: bool,
) -> Outcome:  # fmt: skip
    """What is to be noted of one post."""
    if isinstance(released, Exception):
        return released
    if isinstance(about, Exception):
        return about
    standing = Standing(
        release_expires_at=released.expires_at, stopped=released.stopped,
        replaced_by=post.replaced_by, digest_released=released.digest_released,
        digest=released.digest, changes=lapses_by(released.revision, about.incident.facts),
        keeps=released.keeps, in_doubt=in_doubt,
    )  # fmt: skip
    instead = before_attempt(standing, now=tx.now)
    if instead is not None:
        return Ended(post, instead, about.public_id)
    return Opened(post, post.attempts + 1, released.revision, released.digest, about.public_id)


def hold_lapsed(tx: Tx, incident: incidents.Kept) -> list[Ended]:
    """Holds what has not begun of an incident's posts where it is no longer as they say.

    The caller holds the incident. The attempt asks the same again: this only says it at once, and
    leaves to it whatever else has become of them.
    """
    waiting = [post.id for post in posts.of_incident(tx, incident.incident.id)
               if post.state in _TRIED]  # fmt: skip
    released = _released_of(tx, waiting)
    several = [post for post in posts.locked(tx, waiting) if post.state in _TRIED]
    doubtful = _in_doubt(tx, [post.id for post in several])
    judged = [_judged(tx, post, released[post.release_id], incident, post.id in doubtful)
              for post in several]  # fmt: skip
    held = (PostState.HELD, PostState.IN_DOUBT)
    ended = [each for each in judged if isinstance(each, Ended) and each.then.state in held]
    posts.turn(tx, [Turn(each.post, each.then) for each in ended])
    return ended


def _note(tx: Tx, asked: Mapping[str, Wanted], outcomes: Mapping[str, Outcome]) -> None:
    posts.turn(tx, [Turn(each.post, each.then) for each in outcomes.values()
                    if isinstance(each, Ended)])  # fmt: skip
    opened = [(each, asked[each.post.id]) for each in outcomes.values() if isinstance(each, Opened)]
    if not opened:
        return
    tx.connection.execute(insert(schema.attempts), [
        {"post_id": each.post.id, "number": each.number, "started_at": tx.now,
         "send_before": tx.now + wanted.lasts, "lease_epoch": wanted.lease.epoch}
        for each, wanted in opened
    ])  # fmt: skip
    table = schema.posts.c
    for lasts in {wanted.lasts for _, wanted in opened}:
        alike = [each.post.id for each, wanted in opened if wanted.lasts == lasts]
        tx.connection.execute(
            update(schema.posts)
            .where(table.id.in_(alike))
            .values(state=str(PostState.SENDING), since=tx.now, attempts=table.attempts + 1,
                    next_look=tx.now + lasts, why=None)
        )  # fmt: skip
    for each, _ in opened:
        posts.changed(tx, each.post)


def _in_doubt(tx: Tx, post_ids: Sequence[str]) -> set[str]:
    """Posts of which some attempt ended without anybody knowing how."""
    table = schema.attempts.c
    doubtful = select(table.post_id).where(
        table.post_id.in_(post_ids), table.outcome == InDoubt.__name__
    )
    return set(tx.connection.execute(doubtful).scalars())


# --- After the send ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Closing:
    """How an attempt ended, and what becomes of its post."""

    opened: Opened
    lease: Lease
    outcome: str
    then: Next
    receipt: Receipt | None = None


def close(tx: Tx, closings: Sequence[Closing]) -> list[bool | LeaseLost]:
    """Notes how attempts ended; answers of each whether that was news.

    Of an attempt that was ended in the meantime only a first receipt is news: proof stands above
    doubt, and the same proof may be noted again. LeaseLost where the channel has a new holder and
    there is no proof.
    """
    lost = leases.lost(tx, {each.lease for each in closings if each.receipt is None})
    mine = [each for each in closings if each.lease not in lost or each.receipt is not None]
    mine.sort(key=lambda closing: closing.receipt is not None)  # proof has the last word
    stand = {post.id: post for post in posts.locked(tx, {each.opened.post.id for each in mine})}
    table = schema.attempts.c
    if mine:
        tx.connection.execute(
            update(schema.attempts).where(
                table.post_id == bindparam("post"), table.number == bindparam("numbered"),
                or_(table.ended_at.is_(None), bindparam("proven", type_=Boolean)),
            ),
            [{"post": each.opened.post.id, "numbered": each.opened.number,
              "proven": each.receipt is not None, "ended_at": tx.now, "outcome": each.outcome,
              "why": each.then.why} for each in mine],
        )  # fmt: skip
    news = [each for each in mine if _is_news(each, stand[each.opened.post.id])]
    posts.turn(tx, [Turn(each.opened.post, _then(tx, each, stand[each.opened.post.id]),
                         each.receipt) for each in news])  # fmt: skip
    return [each in news or (each not in mine and lost[each.lease]) for each in closings]


def _is_news(closing: Closing, post: Kept) -> bool:
    open_still = (post.state, post.attempts) == (PostState.SENDING, closing.opened.number)
    return open_still or (closing.receipt is not None and post.state is not PostState.POSTED)


def _then(tx: Tx, closing: Closing, post: Kept) -> Next:
    """What becomes of a post; one that was replaced meanwhile ends without a pause."""
    if post.replaced_by is not None and closing.then.next_look is not None:
        return replace(closing.then, next_look=tx.now)
    return closing.then


def left_open(tx: Tx, channels: Collection[str]) -> list[Opened]:
    """Attempts that nobody closed, past the time by which they must have been sent.

    Without those whose words or incident cannot be read any more: they stand as being sent until
    somebody mends the ledger.
    """
    table, tried = schema.posts.c, schema.attempts.c
    rows = tx.connection.execute(
        select(schema.posts, tried.number)
        .join(schema.attempts, tried.post_id == table.id)
        .where(
            table.channel.in_(channels), table.state == str(PostState.SENDING),
            tried.ended_at.is_(None), tried.send_before <= tx.now,
        )
    ).all()  # fmt: skip
    released = _released(tx, {row.release_id for row in rows})
    about = incidents.several(tx, {row.incident_id for row in rows})
    return [
        Opened(posts.kept(row), row.number, words.revision, words.digest, incident.public_id)
        for row in rows
        if isinstance(words := released[row.release_id], _Released)
        and isinstance(incident := about[row.incident_id], incidents.Kept)
    ]  # fmt: skip


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
