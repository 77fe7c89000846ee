"""Attempts: the point of no return before a send, and how each ended.

Many at a time, since a release's posts are due together: one statement for all of them where one
each would do the same, and each revision is read and hashed once. What is checked of a post is
checked of each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Select,
    and_,
    bindparam,
    exists,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from broadcaster.aftercare import Errand
from broadcaster.channel import AnyChannel, Mending
from broadcaster.clock import BELIEVED
from broadcaster.delivery import InDoubt, PostState, Receipt
from broadcaster.incident import Handling
from broadcaster.ledger import (
    incidents,
    leases,
    mails,
    pictures,
    posts,
    releases,
    reply_decisions,
    schema,
)
from broadcaster.ledger.leases import Lease, LeaseLost
from broadcaster.ledger.posts import Kept, Turn
from broadcaster.ledger.tx import Tx
from broadcaster.outcome import Next, Standing, Trial, before_attempt
from broadcaster.update import Rendering, Revision, lapses_by


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


def may_be_out(tx: Tx, several: Sequence[Kept]) -> bool:
    """Whether the public may read one of some posts: it is out, or a try of it told nothing."""
    doubts = _doubts(tx, several)
    return any(post.state.out or (not post.state.ended and doubts[post.id].stands)
               for post in several)  # fmt: skip


# --- Before the send --------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """A post that a worker would try, on the strength of its lease."""

    post_id: str
    lease: Lease
    lasts: timedelta  #: until then it is sent, or given up, where it brings no pictures
    channel: AnyChannel
    passes: tuple[str, ...] = ()  #: earlier ones of its incident that were in doubt just now


@dataclass(frozen=True)
class Opened:
    """An attempt that may be sent now: the point of no return is behind it."""

    post: Kept
    number: int
    revision: Revision
    digest: str  #: of the words that are sent, computed from them
    public_id: str  #: the incident's
    edits: Receipt | None = None  #: in whose place the words are put, where they are
    #: The bytes of the words' pictures, by their digest.
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def rendering(self) -> Rendering:
        """The words that are sent."""
        return self.revision.rendering(self.post.channel)


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
    several = _in_their_turn(tx, asked)
    about = incidents.several(tx, {post.incident_id for post in several})
    doubts = _doubts(tx, several)
    overtaken = _overtaken(tx, several) if several else set()
    wrong = _to_correct(tx, several, released)
    off = reply_decisions.off(tx, [each.channel for each in asked.values()])
    for post in several:
        outcomes[post.id] = _judged(
            tx, post, released[post.release_id], about[post.incident_id], doubts[post.id],
            asked[post.id].channel, wrong.get(post.id), replies_open=post.channel in off,
            overtaken=post.id in overtaken,
        )  # fmt: skip
    _note(tx, asked, outcomes)
    return outcomes


def _in_their_turn(tx: Tx, asked: Mapping[str, Wanted]) -> list[Kept]:
    """What may be tried of what is asked for, held with what it passes.

    A look may have ended since it was asked for, on another connection: what that look did not see
    there goes first. And a look that ends from now on waits, and finds that it was passed.
    """
    passed = {id for each in asked.values() for id in each.passes}
    held = {post.id: post for post in posts.locked(tx, {*asked, *passed})}
    goes_on = {id for id in passed if held[id].state in (*_TRIED, PostState.SENDING)}
    return [post for id, post in held.items()
            if id in asked and post.state in _TRIED
            and not goes_on.intersection(asked[id].passes)]  # fmt: skip


@dataclass(frozen=True)
class _Released:
    """A release as the ledger holds it now, with its words and what they hash to.

    Where a picture's bytes are gone, or are no longer those that were approved, `digest` is none.
    """

    expires_at: datetime
    stopped: bool
    keeps: str | None
    digest_released: str
    revision: Revision
    digest: str
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


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
    return _with_pictures(tx, found)


def _with_pictures(
    tx: Tx, found: dict[str, _Released | Exception]
) -> dict[str, _Released | Exception]:
    """The same, with the bytes of what is shown: hashed again, as the words are."""
    showing = {id: it for id, it in found.items()
               if isinstance(it, _Released) and it.revision.media}  # fmt: skip
    kept = pictures.several(tx, {digest for it in showing.values() for digest in it.revision.media})
    return found | {
        id: replace(it, digest=it.digest if set(it.revision.media) <= kept.keys() else "", files={
            digest: kept[digest].data for digest in it.revision.media if digest in kept
        })
        for id, it in showing.items()
    }  # fmt: skip


def _judged(
    tx: Tx, post: Kept, released: _Released | Exception, about: incidents.Kept | Exception,
    doubts: _Doubts, channel: AnyChannel | None, wrong: _Wrong | None = None,
    *, replies_open: bool = False, overtaken: bool = False,
) -> Outcome:  # fmt: skip
    """What is to be noted of one post. Without its channel nothing is found out by looking."""
    if isinstance(released, Exception):
        return released
    if isinstance(about, Exception):
        return about
    standing = Standing(
        release_expires_at=released.expires_at, stopped=released.stopped,
        replaced_by=post.replaced_by, overtaken=overtaken,
        nothing_to_correct=wrong is not None and not wrong.went_out,
        replies_open=replies_open, digest_released=released.digest_released,
        digest=released.digest, changes=lapses_by(released.revision, about.incident.facts),
        keeps=released.keeps, in_doubt=doubts.stands,
        resend_until=None if channel is None or doubts.edits
        else channel.resend_until(doubts.first_tried_at or tx.now),
        can_look=channel is not None and channel.find_lag is not None,
        deadline=channel.time_for(released.revision.rendering(post.channel).pictures)
        if channel else timedelta(),
    )  # fmt: skip
    instead = before_attempt(standing, now=tx.now)
    if instead is not None:
        return Ended(post, instead, about.public_id)
    edits = wrong.stands if wrong and channel and channel.mending is Mending.EDIT else None
    if doubts.stands and not doubts.edits:  # it may be there, and would be there twice
        edits = None
    return Opened(
        post, post.attempts + 1, released.revision, released.digest, about.public_id, edits,
        released.files,
    )  # fmt: skip


@dataclass(frozen=True)
class _Wrong:
    """What a correction or retraction is about, on its channel."""

    went_out: bool  #: whether the public has read it there, or may have
    #: Where its words, or those that stand in their place, are now, unless they are being taken
    #: down: what is put there would go with them.
    stands: Receipt | None


def _to_correct(
    tx: Tx, several: Sequence[Kept], released: Mapping[str, _Released | Exception]
) -> dict[str, _Wrong]:
    """What corrections and retractions are about, by their own post's id."""
    about = {
        post.id: (it.revision.corrects, post.channel)
        for post in several
        if isinstance(it := released[post.release_id], _Released) and it.revision.corrects
    }
    if not about:
        return {}
    table, place = schema.posts.c, schema.posts.alias("place")
    rows = tx.connection.execute(
        select(table.release_id, table.channel, table.state, place.c.remote_id, place.c.url)
        .select_from(schema.posts)
        .outerjoin(place, and_(
            place.c.channel == table.channel, place.c.remote_id == table.remote_id,
            place.c.state == str(PostState.POSTED), place.c.id.not_in(_TAKEN_DOWN),
        ))
        .where(table.release_id.in_({release_id for release_id, _ in about.values()}))
    )  # fmt: skip
    found = {
        (row.release_id, row.channel): _Wrong(
            PostState(row.state).went_out,
            Receipt(remote_id=row.remote_id, url=row.url) if row.remote_id else None,
        )
        for row in rows
    }
    return {id: found.get(each, _Wrong(False, None)) for id, each in about.items()}


#: What is being taken down.
_TAKEN_DOWN = select(schema.errands.c.post_id).where(
    schema.errands.c.errand == str(Errand.RETRACT), schema.errands.c.due_at.is_not(None)
)


def hold_lapsed(tx: Tx, incident: incidents.Kept) -> list[Ended]:
    """Holds what has not begun of an incident's posts where it is no longer as they say.

    The caller holds the incident. The attempt asks the same again: this only says it at once, and
    leaves to it whatever else has become of them.
    """
    waiting = [post.id for post in posts.of_incident(tx, incident.incident.id)
               if post.state in _TRIED]  # fmt: skip
    released = _released_of(tx, waiting)
    several = [post for post in posts.locked(tx, waiting) if post.state in _TRIED]
    doubts = _doubts(tx, several)
    judged = [_judged(tx, post, released[post.release_id], incident, doubts[post.id], None)
              for post in several]  # fmt: skip
    held = (PostState.HELD, PostState.IN_DOUBT)
    ended = [each for each in judged if isinstance(each, Ended) and each.then.state in held]
    posts.turn(tx, [Turn(each.post, each.then) for each in ended])
    return ended


def _longer(opened: Opened, channel: AnyChannel) -> timedelta:
    """How much longer than words alone it may take to send."""
    return channel.time_for(opened.rendering.pictures) - channel.deadline


def _note(tx: Tx, asked: Mapping[str, Wanted], outcomes: Mapping[str, Outcome]) -> None:
    posts.turn(tx, [Turn(each.post, each.then) for each in outcomes.values()
                    if isinstance(each, Ended)])  # fmt: skip
    opened = [(each, asked[each.post.id]) for each in outcomes.values() if isinstance(each, Opened)]
    if not opened:
        return
    ends = {each.post.id: wanted.lasts + _longer(each, wanted.channel) for each, wanted in opened}
    tx.connection.execute(insert(schema.attempts), [
        {"post_id": each.post.id, "number": each.number, "started_at": tx.now,
         "send_before": tx.now + ends[each.post.id], "lease_epoch": wanted.lease.epoch,
         "edits": each.edits.remote_id if each.edits else None}
        for each, wanted in opened
    ])  # fmt: skip
    table = schema.posts.c
    for lasts in set(ends.values()):
        alike = [id for id, mine in ends.items() if mine == lasts]
        tx.connection.execute(
            update(schema.posts)
            .where(table.id.in_(alike))
            .values(state=str(PostState.SENDING), since=tx.now, attempts=table.attempts + 1,
                    next_look=tx.now + lasts, why=None, looks=0)
        )  # fmt: skip
    for each, _ in opened:
        posts.changed(tx, each.post)


@dataclass(frozen=True)
class _Doubts:
    """What a post's tries so far leave open."""

    first_tried_at: datetime | None
    count: int  #: tries that ended in doubt since a person last chose
    since: datetime | None  #: when the last of them ended
    stands: bool  #: whether one of them may have arrived, or has for some
    edits: bool  #: whether the last try put the words in the place of others


def _doubts(tx: Tx, several: Sequence[Kept]) -> dict[str, _Doubts]:
    tried: dict[str, list[_Try]] = {p.id: [] for p in several}
    table = schema.attempts.c
    begun: set[str] = set()
    if again := [post.id for post in several if post.attempts]:
        begun = mails.begun(tx, again)
        for row in tx.connection.execute(
            select(table.post_id, table.started_at, table.ended_at, table.outcome, table.edits)
            .where(table.post_id.in_(again))
            .order_by(table.number)
        ):
            doubtful = row.outcome == InDoubt.__name__
            edits = row.edits is not None
            tried[row.post_id].append(_Try(row.started_at, row.ended_at, doubtful, edits))
    return {post.id: _left_open(post, tried[post.id], post.id in begun, tx.now)
            for post in several}  # fmt: skip


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class _Try(NamedTuple):
    started_at: datetime
    ended_at: datetime | None
    doubtful: bool
    edits: bool


def _left_open(post: Kept, tried: Sequence[_Try], begun: bool, now: datetime) -> _Doubts:
    """Times of the future are of a clock that was ahead: such settle nothing that may have come
    after them, and how old a key of then is cannot be known."""
    ends = [each.ended_at for each in tried if each.doubtful and each.ended_at]
    latest = now + BELIEVED
    settled = post.not_there_at if post.not_there_at and post.not_there_at <= latest else None
    chosen = post.chosen_at if post.chosen_at and post.chosen_at <= latest else None
    first = tried[0].started_at if tried else None
    return _Doubts(
        first_tried_at=first if first is None or first <= latest else _LONG_AGO,
        count=sum(chosen is None or end > chosen for end in ends),
        since=max(ends, default=None),
        stands=begun or any(settled is None or end > settled for end in ends),
        edits=bool(tried) and tried[-1].edits,
    )


def trials(tx: Tx, several: Mapping[str, AnyChannel], *, ending: bool) -> dict[str, Trial]:
    """What was tried so far of posts by id, each with its channel; they are held until the end.

    `ending`: whether a try ends now, and in doubt if that is what it comes to.
    """
    kept_ = posts.locked(tx, several)
    doubts = _doubts(tx, kept_)
    overtaken = _overtaken(tx, kept_) if kept_ else set()
    lively = _sent_again(tx, kept_) if kept_ else set()
    table = schema.releases.c
    expiries = {row.id: row.expires_at for row in tx.connection.execute(
        select(table.id, table.expires_at).where(table.id.in_({p.release_id for p in kept_}))
    )}  # fmt: skip
    return {
        post.id: Trial(
            channel=several[post.id], attempts=post.attempts,
            doubts=doubts[post.id].count + ending, looks=0 if ending else post.looks + 1,
            first_tried_at=doubts[post.id].first_tried_at or tx.now,
            # One of the future is of a clock that was ahead: it is as old as can be known.
            doubt_since=min((None if ending else doubts[post.id].since) or tx.now, tx.now),
            expires_at=expiries[post.release_id], overtaken=post.id in overtaken,
            sent_again=post.id in lively, may_be_there=doubts[post.id].stands,
            edits=doubts[post.id].edits,
        )
        for post in kept_
    }  # fmt: skip


def superseded(tx: Tx, several: Sequence[Kept]) -> set[str]:
    """Posts that are not sent any more: a later update took their place, or was tried after them
    (DESIGN.md rule 6)."""
    if not several:
        return set()
    return {post.id for post in several if post.replaced_by} | _overtaken(tx, several)


def held_to_go(tx: Tx, several: Sequence[Kept]) -> list[Kept]:
    """Those of posts that are held and would be sent if they were let go."""
    held = [post for post in several if post.state is PostState.HELD]
    over = superseded(tx, held)
    return [post for post in held if post.id not in over]


def _overtaken(tx: Tx, several: Sequence[Kept]) -> set[str]:
    """Posts after which a later one of their incident was tried on their channel, or was not since
    they, which it was to put right, were not there."""
    table, later, release = schema.posts.c, schema.posts.alias("later"), schema.releases.c
    nothing_to_correct = and_(
        later.c.state == str(PostState.STOPPED),
        exists().where(release.id == later.c.release_id, release.stopped_at.is_(None)),
    )
    return set(tx.connection.execute(
        select(table.id).where(
            table.id.in_([post.id for post in several]),
            exists().where(
                later.c.channel == table.channel, later.c.incident_id == table.incident_id,
                later.c.released_at > table.released_at,
                or_(later.c.attempts > 0, nothing_to_correct),
            ),
        )
    ).scalars())  # fmt: skip


def _sent_again(tx: Tx, several: Sequence[Kept]) -> set[str]:
    """Posts that the Chief's designee has sent again, in doubt, for the safety of life."""
    table, about, channel = schema.posts.c, schema.incidents.c, schema.channels.c
    return set(tx.connection.execute(
        select(table.id)
        .join(schema.incidents, about.id == table.incident_id)
        .join(schema.channels, channel.name == table.channel)
        .where(
            table.id.in_([post.id for post in several]),
            about.handling == str(Handling.AUTO_DRAFT), channel.sends_again_by.is_not(None),
        )
    ).scalars())  # fmt: skip


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
    doubt, and the same proof may be noted again; it ends a later attempt, too. LeaseLost where the
    channel has a new holder and there is no proof.
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
    _end_later(tx, [each.opened.post.id for each in news
                    if each.opened.number != stand[each.opened.post.id].attempts])  # fmt: skip
    return [each in news or (each not in mine and lost[each.lease]) for each in closings]


def _end_later(tx: Tx, post_ids: Collection[str]) -> None:
    """Ends what is open of posts that were proved by an earlier try."""
    if post_ids:
        table = schema.attempts.c
        why = "An earlier try was proved while this was being sent."
        tx.connection.execute(
            update(schema.attempts)
            .where(table.post_id.in_(post_ids), table.ended_at.is_(None))
            .values(ended_at=tx.now, outcome=InDoubt.__name__, why=why)
        )


def _is_news(closing: Closing, post: Kept) -> bool:
    open_still = (post.state, post.attempts) == (PostState.SENDING, closing.opened.number)
    return open_still or (closing.receipt is not None and not _known(post))


def _known(post: Kept) -> bool:
    """Whether it was proved already; what was taken down was there, too."""
    return post.state in (PostState.POSTED, PostState.RETRACTED)


def _then(tx: Tx, closing: Closing, post: Kept) -> Next:
    """What becomes of a post; one that was replaced meanwhile ends without a pause."""
    if post.replaced_by is not None and closing.then.state is PostState.WAITING:
        return replace(closing.then, next_look=tx.now)
    return closing.then


# --- Looking for what is in doubt -------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """A look for a post in doubt that may begin now."""

    opened: Opened
    lease: Lease
    began: datetime  #: by the ledger's time: no part of it is earlier


def to_look_for(tx: Tx, wanted: Sequence[Wanted]) -> list[Look]:
    """Looks for posts in doubt that are due to be looked for; nobody else begins one meanwhile.

    None on a channel that has a new holder.
    """
    lost = leases.lost(tx, {each.lease for each in wanted})
    asked = {each.post_id: each for each in wanted if each.lease not in lost}
    several = [post for post in posts.locked(tx, asked)
               if post.state is PostState.IN_DOUBT and post.next_look
               and post.next_look <= tx.now]  # fmt: skip
    table = schema.posts.c
    if several:
        tx.connection.execute(
            update(schema.posts).where(table.id == bindparam("post")),
            [{"post": each.id, "next_look": tx.now + asked[each.id].lasts} for each in several],
        )
    return [Look(opened, asked[opened.post.id].lease, tx.now)
            for opened in as_sent(tx, [(post, post.attempts) for post in several])]  # fmt: skip


def found_out(
    tx: Tx, look: Look, then: Next, receipt: Receipt | None
) -> bool | LeaseLost:  # fmt: skip
    """Notes how a look ended; answers whether that was news.

    Of a post that is no longer in doubt as it was then, a first receipt alone is news: proof stands
    above what was tried or chosen since, and ends what is being sent. LeaseLost where the channel
    has a new holder and there is no proof.
    """
    opened = look.opened
    if receipt is None and (lost := leases.lost(tx, {look.lease})):
        return lost[look.lease]
    [post] = posts.locked(tx, [opened.post.id])
    stands = (post.state, post.attempts) == (PostState.IN_DOUBT, opened.number)
    if not stands and (receipt is None or _known(post)):
        return False
    if then.state is PostState.IN_DOUBT and then.next_look:
        posts.looked_for(tx, post, then)
    else:
        posts.turn(tx, [Turn(post, then, receipt)])
        _end_later(tx, [] if stands else [post.id])
    return True


# --- What was left open -----------------------------------------------------------------------


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
    return as_sent(tx, [(posts.kept(row), row.number) for row in rows])


def as_sent(tx: Tx, several: Sequence[tuple[Kept, int]]) -> list[Opened]:
    """Posts with the words of an attempt of theirs, as it was opened."""
    released = _released(tx, {post.release_id for post, _ in several})
    about = incidents.several(tx, {post.incident_id for post, _ in several})
    edits = _edited(tx, [(post.id, number) for post, number in several])
    return [
        Opened(
            post,
            number,
            words.revision,
            words.digest,
            incident.public_id,
            edits.get(post.id),
            words.files,
        )
        for post, number in several
        if isinstance(words := released[post.release_id], _Released)
        and isinstance(incident := about[post.incident_id], incidents.Kept)
    ]


def _edited(tx: Tx, tries: Collection[tuple[str, int]]) -> dict[str, Receipt]:
    """In whose place attempts put the words of their posts, where they did: hardly ever."""
    tried, post, place = schema.attempts.c, schema.posts.c, schema.posts.alias("place")
    edits = tx.connection.execute(
        select(tried.post_id, tried.number).where(
            tuple_(tried.post_id, tried.number).in_(tries), tried.edits.is_not(None)
        )
    ).all()
    if not edits:
        return {}
    rows = tx.connection.execute(
        select(tried.post_id, tried.edits, place.c.url)
        .select_from(schema.attempts)
        .join(schema.posts, post.id == tried.post_id)
        .join(place, and_(place.c.channel == post.channel, place.c.remote_id == tried.edits))
        .where(tuple_(tried.post_id, tried.number).in_([tuple(each) for each in edits]))
    )  # fmt: skip
    return {row.post_id: Receipt(remote_id=row.edits, url=row.url) for row in rows}


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
