"""Why an incident needs somebody now: what the board says of each, and in what order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from zoneinfo import ZoneInfo

from broadcaster.approval import KEPT, RELEASED, Assent, RequestState, asked_in_words
from broadcaster.delivery import PostState
from broadcaster.desk.marks import STATES
from broadcaster.desk.story import STATUS_WORDS
from broadcaster.handover import OFFER_LIVES
from broadcaster.incident import Command, Handling, Incident
from broadcaster.ledger import board
from broadcaster.orders import writing
from broadcaster.roster import Act, Person, Role
from broadcaster.suggestion import promised
from broadcaster.type_names import type_in_words
from broadcaster.update import UpdateKind, changed_facts, lapses_by, may_stand
from broadcaster.voice import Settled


class Need(IntEnum):
    """Why an incident needs somebody now, the most urgent first."""

    YOU = 1  #: a request waits for the one who looks
    SOMEBODY = 2  #: a request waits for a Commander
    CAME_BACK = 3  #: returned, expired, lapsed, or refused by the gate
    #: A channel refused, nobody knows whether it posted, it shows something else, or a voice is not
    #: ratified.
    CHANNEL = 4
    CHANGED = 5  #: the facts changed since the public was told
    OVERDUE = 6  #: the public was promised an update by now
    SUGGESTED = 7  #: an update is suggested, and none was written
    UNTOLD = 8  #: its type is held: nothing is suggested, and nothing was said
    ALL_CLEAR = 9  #: closed, and the public was not told so
    NOTHING = 10


@dataclass(frozen=True)
class Row:
    """One incident on the board."""

    incident: Incident
    need: Need
    since: datetime
    shape: str  #: drawn before the words
    why: str  #: in a few words, and
    more: str  #: in detail
    link: str
    act: str
    title: str
    place: str
    status: str
    told_at: datetime | None
    told_number: int
    promised: datetime | None
    next_number: int


@dataclass(frozen=True)
class Seen:
    """Who looks, when, and what everybody is called."""

    person: Person
    names: Mapping[str, str]
    channels: Mapping[str, str]
    now: datetime
    zone: ZoneInfo

    def asked(self, standing: board.Standing) -> str:
        return asked_in_words(standing.kept.incident.command, self.names, standing.assent)


def may_decide(person: Person, command: Command, assent: Assent | None = None) -> bool:
    """Whether a decision about an incident, or a notice, is this person's, as it stands now.

    Whoever has assented waits for the other Commander.
    """
    if assent is not None and assent.person_id == person.id:
        return False
    if command.routine:
        return person.may(Act.APPROVE_NOTICE)
    if not command.commanders:
        return Role.WATCH_COMMANDER in person.roles
    return command.held_by(person.id)


def row(standing: board.Standing, seen: Seen) -> Row:
    """What the board says of one incident."""
    incident, release = standing.kept.incident, standing.release
    found = _need(standing, seen)
    return Row(
        incident=incident,
        need=found.need,
        since=found.since,
        shape=found.shape,
        why=found.why,
        more=found.more,
        link=found.link or f"/incidents/{incident.id}",
        act=found.act or ("Write update" if seen.person.may(writing(incident)) else "Open"),
        title=type_in_words(incident.type.value),
        place=incident.place.value if incident.place else "place not known",
        status=STATUS_WORDS.get(incident.status.value, incident.status.value),
        told_at=release.released_at if release else None,
        told_number=standing.revision.number if standing.revision else 0,
        promised=_promised(standing, seen) if incident.open else None,
        next_number=standing.next_number,
    )


@dataclass(frozen=True)
class _Found:
    need: Need
    since: datetime
    shape: str = ""
    why: str = ""
    more: str = ""
    link: str = ""
    act: str = ""


def _need(standing: board.Standing, seen: Seen) -> _Found:
    for look in (
        _offered,
        _waits,
        _came_back,
        _channel,
        _by_voice,
        _changed,
        _overdue,
        _suggested,
        _all_clear,
    ):
        if found := look(standing, seen):
            return found
    return _Found(Need.NOTHING, standing.kept.incident.heard_at)


def _offered(standing: board.Standing, seen: Seen) -> _Found | None:
    incident, kept = standing.kept.incident, standing.request
    offer = incident.command.offered(seen.now)
    if offer is None or offer.to != seen.person.id:
        return None
    waits = kept is not None and kept.request.state is RequestState.OPEN
    return _Found(
        Need.YOU, offer.expires_at - OFFER_LIVES, "clock", "Command is offered to you",
        f"by {seen.names.get(offer.by, 'its Commander')}", act="Take command",
        link=f"/a/{kept.request.id}" if kept and waits else f"/incidents/{incident.id}#command",
    )  # fmt: skip


def _waits(standing: board.Standing, seen: Seen) -> _Found | None:
    kept = standing.request
    if kept is None:
        return None
    request, command = kept.request, standing.kept.incident.command
    if request.state is RequestState.OPEN and request.expires_at > seen.now:
        if may_decide(seen.person, command, standing.assent):
            return _Found(
                Need.YOU, request.created_at, "clock", "Waiting for you",
                link=f"/a/{request.id}", act="Read and decide",
            )  # fmt: skip
        return _Found(
            Need.SOMEBODY, request.created_at, "clock", f"Waiting for {seen.asked(standing)}",
            act="Open",
        )  # fmt: skip
    judged = standing.decision.outcome if standing.decision else None
    if request.state is RequestState.APPROVED and judged is None:
        return _Found(
            Need.SOMEBODY, request.created_at, "tick", "Approved, being released", act="Open"
        )
    return None


def _came_back(standing: board.Standing, seen: Seen) -> _Found | None:
    kept, decision = standing.request, standing.decision
    if kept is None:
        return None
    request = kept.request
    at = request.created_at
    if request.state is RequestState.EXPIRED or (
        request.state is RequestState.OPEN and request.expires_at <= seen.now
    ):
        act = "Ask again" if seen.person.may(writing(standing.kept.incident)) else "Open"
        if decision is not None:  # the gate came too late to it
            why = "Approved, and not released"
            return _Found(Need.CAME_BACK, at, "exclamation", why, decision.why or "", act=act)
        return _Found(Need.CAME_BACK, at, "barred", "Nobody decided in time", act=act)
    if request.state is RequestState.RETURNED and decision is not None:
        who = seen.names.get(decision.decision.person_id, "whoever decided")
        act = "Mend the words" if seen.person.may(writing(standing.kept.incident)) else "Open"
        link = f"/incidents/{request.incident_id}?from=returned:{request.revision_id}"
        return _Found(
            Need.CAME_BACK, at, "back", f"Returned by {who}", decision.decision.reason or "",
            link=link, act=act,
        )  # fmt: skip
    if request.state is RequestState.LAPSED:
        return _Found(Need.CAME_BACK, at, "exclamation", "Lapsed", kept.why or "")
    if (
        decision
        and request.state is RequestState.APPROVED
        and decision.outcome not in (RELEASED, KEPT)
    ):
        why = "Approved, and not released"
        return _Found(Need.CAME_BACK, at, "exclamation", why, decision.why or "")
    return None


def _channel(standing: board.Standing, seen: Seen) -> _Found | None:
    lapsed = standing.revision and lapses_by(standing.revision, standing.kept.incident.facts)
    several = [each for each in standing.need_a_look
               if not lapsed or each.state is not PostState.HELD]  # fmt: skip
    if not several:  # what changed facts hold is told with them
        return _alarm(standing, seen)
    post = several[0]
    shape, word, _ = STATES[str(post.state)]
    return _Found(
        Need.CHANNEL, post.since, shape, f"{seen.channels.get(post.channel, post.channel)}: {word}",
        post.why or "", link=f"/releases/{post.release_id}", act="Look",
    )  # fmt: skip


def _alarm(standing: board.Standing, seen: Seen) -> _Found | None:
    if not standing.alarms:
        return _kept_up(standing, seen)
    post, errand = standing.alarms[0]
    shape, word, _ = STATES[str(errand.found)]
    return _Found(
        Need.CHANNEL, errand.done_at or post.since, shape,
        f"{seen.channels.get(post.channel, post.channel)}: {word}", errand.why or "",
        link=f"/releases/{post.release_id}", act="Look",
    )  # fmt: skip


def _kept_up(standing: board.Standing, seen: Seen) -> _Found | None:
    if not standing.kept_up:
        return None
    [first, *_] = standing.kept_up
    channel = first.post.channel
    since = first.paused.paused_at if first.paused else None
    return _Found(
        Need.CHANNEL, since or first.post.since, "exclamation",
        f"{seen.channels.get(channel, channel)}: wrong words stay up", "the channel is paused",
        link=f"/incidents/{standing.kept.incident.id}#wrong", act="Look",
    )  # fmt: skip


def _by_voice(standing: board.Standing, seen: Seen) -> _Found | None:
    release, spoken = standing.release, standing.by_voice
    if release is None or spoken is None or spoken.settled is Settled.RATIFIED:
        return None
    why = f"Approved by voice, {spoken.settled or 'not ratified'}"
    return _Found(
        Need.CHANNEL, release.released_at, "exclamation", why, link=f"/releases/{release.id}",
        act="Look",
    )  # fmt: skip


def _changed(standing: board.Standing, seen: Seen) -> _Found | None:
    incident, revision = standing.kept.incident, standing.revision
    if revision is None or not incident.open:
        return None
    moved = changed_facts(revision.words, incident.facts)
    if not may_stand(moved, standing.keeps):
        what = " and the ".join(each.name for each in moved)
        why = f"The {what} changed since the public was told"
        return _Found(Need.CHANGED, _newest(standing), "exclamation", why, _suggestion(standing))
    if _unanswered(standing):
        why = f"Suggested: update #{standing.next_number}"
        return _Found(Need.CHANGED, _newest(standing), "arrow", why, standing.suggested_why or "")
    return None


def _overdue(standing: board.Standing, seen: Seen) -> _Found | None:
    by = _promised(standing, seen)
    if by is None or by > seen.now or not standing.kept.incident.open:
        return None
    return _Found(Need.OVERDUE, by, "triangle", "The promised update is overdue")


def _suggested(standing: board.Standing, seen: Seen) -> _Found | None:
    incident = standing.kept.incident
    if standing.release is not None or not incident.open:
        return None
    if _unanswered(standing) and standing.suggested_at is not None:
        why = f"Suggested: update #{standing.next_number}"
        return _Found(
            Need.SUGGESTED, standing.suggested_at, "arrow", why, standing.suggested_why or ""
        )
    if incident.handling is Handling.HELD and standing.compiled_at is None:
        more = "nothing is suggested for this type. Ask the Commander what may be said"
        return _Found(Need.UNTOLD, incident.opened_at, "bars", "Held", more)
    return None


def _all_clear(standing: board.Standing, seen: Seen) -> _Found | None:
    incident, release, revision = standing.kept.incident, standing.release, standing.revision
    if incident.open or release is None or revision is None or release.expires_at <= seen.now:
        return None
    if incident.notice or revision.kind in (UpdateKind.ALL_CLEAR, UpdateKind.RETRACTION):
        return None
    return _Found(
        Need.ALL_CLEAR, incident.closed_at or incident.heard_at, "ring", "No all clear yet",
        f"the incident is closed, and update #{revision.number} still stands",
        link=f"/incidents/{incident.id}?kind=all+clear",
        act="Give the all clear" if seen.person.may(Act.COMPILE) else "Open",
    )  # fmt: skip


def _unanswered(standing: board.Standing) -> bool:
    """Whether an update was suggested after the newest wording that was not taken back."""
    if standing.suggested_at is None:
        return False
    taken_back = standing.request and standing.request.request.state is RequestState.WITHDRAWN
    if standing.compiled_at is None or (taken_back and standing.release is None):
        return True
    return standing.suggested_at > standing.compiled_at


def _suggestion(standing: board.Standing) -> str:
    return f"suggested: update #{standing.next_number}" if _unanswered(standing) else ""


def _newest(standing: board.Standing) -> datetime:
    return standing.suggested_at or standing.kept.incident.heard_at


def _promised(standing: board.Standing, seen: Seen) -> datetime | None:
    release, revision = standing.release, standing.revision
    if release is None or revision is None or revision.kind is UpdateKind.ALL_CLEAR:
        return None
    return promised(revision.words.time.text, revision.compiled_at, seen.zone)
