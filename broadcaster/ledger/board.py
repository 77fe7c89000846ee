"""What the board needs to know of many incidents at once, in a few queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from sqlalchemy import exists, func, or_, select

from broadcaster.aftercare import Errand
from broadcaster.approval import AnyRelease, ApprovalRequest, Assent
from broadcaster.delivery import PostState
from broadcaster.incident import Incident
from broadcaster.ledger import (
    approvals,
    assents,
    channels,
    errands,
    incidents,
    posts,
    releases,
    schema,
    voices,
    wrong_words,
)
from broadcaster.ledger.tx import Tx
from broadcaster.ledger.wrong_words import StillOut
from broadcaster.update import Revision

#: Ids in one query: SQLite binds no more than some thousands.
_AT_ONCE = 500

_NEED_A_LOOK = (PostState.REFUSED, PostState.IN_DOUBT, PostState.HELD)


@dataclass
class Standing:
    """Where an incident stands between CAD, the PIO, the Commander and the public."""

    kept: incidents.Kept
    suggested_at: datetime | None = None
    suggested_why: str | None = None
    compiled_at: datetime | None = None  #: the newest wording's time
    request: approvals.Kept | None = None  #: the newest
    decision: approvals.KeptDecision | None = None  #: on the newest request
    assent: Assent | None = None  #: to the newest request, where both Commanders must approve
    release: AnyRelease | None = None  #: the newest
    by_voice: voices.Kept | None = None  #: how the newest release was approved, if by voice
    revision: Revision | None = None  #: the newest release's
    keeps: str | None = None  #: the changed facts in spite of which that was kept
    next_number: int = 1
    #: Of the newest release; in doubt, of any; expired, of any until somebody has seen it.
    need_a_look: list[posts.Kept] = field(default_factory=list)
    #: Posts of any release of which the public reads something else, the newest first.
    alarms: list[tuple[posts.Kept, errands.Kept]] = field(default_factory=list)
    #: Wrong words that stay up, since their channel is paused.
    kept_up: list[StillOut] = field(default_factory=list)


def standings(tx: Tx, several: Sequence[incidents.Kept]) -> list[Standing]:
    """Where each of several incidents stands, in their order."""
    found = {kept.incident.id: Standing(kept) for kept in several}
    for ids in _slices(list(found)):
        _suggested(tx, ids, found)
        _submitted(tx, ids, found)
        _released(tx, ids, found)
    return list(found.values())


def _suggested(tx: Tx, ids: Sequence[str], found: dict[str, Standing]) -> None:
    table = schema.suggestions.c
    newest = (
        select(func.max(table.id)).where(table.incident_id.in_(ids)).group_by(table.incident_id)
    )
    for row in tx.connection.execute(
        select(table.incident_id, table.at, table.why).where(table.id.in_(newest))
    ):
        found[row.incident_id].suggested_at = row.at
        found[row.incident_id].suggested_why = row.why


def _submitted(tx: Tx, ids: Sequence[str], found: dict[str, Standing]) -> None:
    table = schema.approval_requests.c
    written, numbered = schema.revisions.c, schema.updates.c
    for row in tx.connection.execute(
        select(written.incident_id, func.max(written.compiled_at).label("at"))
        .where(written.incident_id.in_(ids))
        .group_by(written.incident_id)
    ):
        found[row.incident_id].compiled_at = row.at
    for row in tx.connection.execute(
        select(numbered.incident_id, func.max(numbered.number).label("number"))
        .where(numbered.incident_id.in_(ids))
        .group_by(numbered.incident_id)
    ):
        found[row.incident_id].next_number = row.number + 1
    newest = {
        row.incident_id: row.id
        for row in tx.connection.execute(
            select(table.incident_id, table.id)
            .where(table.incident_id.in_(ids))
            .order_by(table.created_at, table.id.desc())
        )
    }
    for incident_id, request_id in newest.items():
        standing = found[incident_id]
        standing.request = approvals.request(tx, request_id)
        standing.decision = approvals.decision_of(tx, request_id)
        if standing.request and standing.kept.incident.command.both:
            standing.assent = _assent(tx, standing.request.request, standing.kept.incident)


def _assent(tx: Tx, request: ApprovalRequest, incident: Incident) -> Assent | None:
    revision = approvals.revision(tx, request.revision_id)
    assert revision is not None, "a request's revision is a foreign key"
    return assents.waiting(tx, request, incident, revision)


def _released(tx: Tx, ids: Sequence[str], found: dict[str, Standing]) -> None:
    table = schema.releases.c
    newest = {
        row.incident_id: row.id
        for row in tx.connection.execute(
            select(table.incident_id, table.id)
            .where(table.incident_id.in_(ids))
            .order_by(table.released_at, table.number)
        )
    }
    for incident_id, release_id in newest.items():
        standing = found[incident_id]
        standing.release = releases.get(tx, release_id)
        assert standing.release is not None, "its id was just read"
        standing.revision = approvals.revision(tx, standing.release.revision_id)
        standing.keeps = releases.keeps(tx, release_id)
        standing.by_voice = voices.of_decision(tx, standing.release.decision_id)
    for post in posts.unended(tx, ids):
        standing = found[post.incident_id]
        newest_one = post.release_id == newest[post.incident_id]
        if post.state is PostState.IN_DOUBT or (newest_one and post.state in _NEED_A_LOOK):
            standing.need_a_look.append(post)
    for post in posts.missed(tx, ids):
        found[post.incident_id].need_a_look.append(post)
    for post, errand in errands.alarming(tx, ids):
        found[post.incident_id].alarms.append((post, errand))
    for incident_id in _on_paused_channels(tx, ids):
        several = wrong_words.still_out(tx, incident_id)
        found[incident_id].kept_up += [each for each in several if each.paused]


def _on_paused_channels(tx: Tx, ids: Sequence[str]) -> list[str]:
    """Incidents of which something is owed on a channel that is paused: hardly ever any."""
    paused = [name for name, fare in channels.several(tx).items() if fare.paused_by]
    if not paused:
        return []
    table, owed = schema.posts.c, schema.errands.c
    takes_down = exists().where(
        owed.post_id == table.id, owed.errand == str(Errand.RETRACT), owed.due_at.is_not(None)
    )
    query = select(table.incident_id).where(
        table.incident_id.in_(ids), table.channel.in_(paused),
        or_(table.state.in_(posts.UNENDED), takes_down),
    )  # fmt: skip
    return list(tx.connection.execute(query.distinct()).scalars())


def _slices(ids: list[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while some := list(islice(rest, _AT_ONCE)):
        yield some
