"""The board: which incidents need words now, and the way to enter a report by hand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from zoneinfo import ZoneInfo

from aiohttp import web

from broadcaster.approval import RequestState
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.marks import STATES
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.story import STATUS_WORDS
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.incident import SUPPRESSED_TYPES, Command, Handling, Incident, handling
from broadcaster.ledger import Tx, board, incidents, people, reports
from broadcaster.roster import Act, Person, Role, require
from broadcaster.suggestion import promised
from broadcaster.type_names import type_in_words
from broadcaster.update import UpdateKind, changed_facts

ON_THE_BOARD = (Handling.HELD, Handling.AUTO_DRAFT)
PAGE = 50
#: Open incidents that are looked at for the first tab; more than a department ever has.
MOST_OPEN = 2000
MOST_CLOSED = 200

TABS = {
    "needs": "Needs words",
    "open": "All open",
    "off": "Kept off the board",
    "closed": "Closed",
}


class Need(IntEnum):
    """Why an incident needs somebody now, the most urgent first."""

    YOU = 1  #: a request waits for the one who looks
    SOMEBODY = 2  #: a request waits for a Commander
    CAME_BACK = 3  #: returned, expired, lapsed, or refused by the gate
    CHANNEL = 4  #: a channel refused, or nobody knows whether it posted
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

    def commander(self, command: Command) -> str:
        if command.person_id is None:
            return "the Watch Commander"
        return self.names.get(command.person_id, "the Commander")


def may_decide(person: Person, commander_id: str | None) -> bool:
    """Whether a decision about an incident is this person's, as command stands now."""
    if commander_id is None:
        return Role.WATCH_COMMANDER in person.roles
    return commander_id == person.id


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
        act=found.act or ("Write update" if seen.person.may(Act.COMPILE) else "Open"),
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
    for look in (_waits, _came_back, _channel, _changed, _overdue, _suggested, _all_clear):
        if found := look(standing, seen):
            return found
    return _Found(Need.NOTHING, standing.kept.incident.heard_at)


def _waits(standing: board.Standing, seen: Seen) -> _Found | None:
    kept = standing.request
    if kept is None:
        return None
    request, command = kept.request, standing.kept.incident.command
    if request.state is RequestState.OPEN and request.expires_at > seen.now:
        if may_decide(seen.person, command.person_id):
            return _Found(
                Need.YOU, request.created_at, "clock", "Waiting for you",
                link=f"/a/{request.id}", act="Read and decide",
            )  # fmt: skip
        return _Found(
            Need.SOMEBODY, request.created_at, "clock", f"Waiting for {seen.commander(command)}",
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
        act = "Ask again" if seen.person.may(Act.COMPILE) else "Open"
        return _Found(Need.CAME_BACK, at, "barred", "Nobody decided in time", act=act)
    if request.state is RequestState.RETURNED and decision is not None:
        who = seen.names.get(decision.decision.person_id, "the Commander")
        act = "Mend the words" if seen.person.may(Act.COMPILE) else "Open"
        link = f"/incidents/{request.incident_id}?from=returned:{request.revision_id}"
        return _Found(
            Need.CAME_BACK, at, "back", f"Returned by {who}", decision.decision.reason or "",
            link=link, act=act,
        )  # fmt: skip
    if request.state is RequestState.LAPSED:
        return _Found(Need.CAME_BACK, at, "exclamation", "Lapsed", kept.why or "")
    if decision and request.state is RequestState.APPROVED and decision.outcome != "released":
        why = "Approved, and not released"
        return _Found(Need.CAME_BACK, at, "exclamation", why, decision.why or "")
    return None


def _channel(standing: board.Standing, seen: Seen) -> _Found | None:
    if not standing.need_a_look:
        return None
    post = standing.need_a_look[0]
    shape, word, _ = STATES[str(post.state)]
    return _Found(
        Need.CHANNEL, post.since, shape, f"{seen.channels.get(post.channel, post.channel)}: {word}",
        post.why or "", link=f"/releases/{post.release_id}", act="Look",
    )  # fmt: skip


def _changed(standing: board.Standing, seen: Seen) -> _Found | None:
    incident, revision = standing.kept.incident, standing.revision
    if revision is None or not incident.open:
        return None
    moved = changed_facts(revision.words, incident.facts)
    if moved:
        why = f"The {' and the '.join(moved)} changed since the public was told"
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
    if revision.kind in (UpdateKind.ALL_CLEAR, UpdateKind.RETRACTION):
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


# --- The page ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """One tab's page."""

    rows: Sequence[Row]
    counts: Mapping[str, int]
    pages: int


def _shown(tx: Tx, desk: Desk, person: Person, tab: str, number: int) -> Shown:
    seen = Seen(
        person=person,
        names={each.id: each.name for each in people.everybody(tx)},
        channels={channel.name: channel.title for channel in desk.channels},
        now=tx.now,
        zone=desk.settings.zone,
    )
    open_ = incidents.board(tx, open_=True, handlings=ON_THE_BOARD, limit=MOST_OPEN)
    closed = incidents.closed_and_told(tx, limit=MOST_CLOSED)
    rows = [row(standing, seen) for standing in board.standings(tx, [*open_, *closed])]
    needs = sorted(
        (each for each in rows if each.need is not Need.NOTHING),
        key=lambda each: (each.need, each.since),
    )
    known = incidents.counts(tx)
    counts = {
        "needs": len(needs),
        "open": sum(known.get((True, each), 0) for each in ON_THE_BOARD),
        "off": known.get((True, Handling.SUPPRESSED), 0),
        "closed": sum(number for (is_open, _), number in known.items() if not is_open),
    }
    first = PAGE * (number - 1)
    if tab == "needs":
        wanted = needs[first : first + PAGE]
    else:
        page_of = incidents.board(
            tx, open_=tab != "closed", limit=PAGE, offset=first,
            handlings=list(Handling) if tab == "closed" else
            [Handling.SUPPRESSED] if tab == "off" else ON_THE_BOARD,
        )  # fmt: skip
        wanted = [row(standing, seen) for standing in board.standings(tx, page_of)]
    return Shown(wanted, counts, max(1, -(-counts[tab] // PAGE)))


class _About:
    """The incident that a report is about, in words."""

    def __init__(self, incident: Incident) -> None:
        self.id = incident.id
        self.title = type_in_words(incident.type.value)
        self.place = incident.place.value if incident.place else "place not known"


def why_off(incident: Incident) -> str:
    """Why an incident is kept off the board."""
    if incident.type.value in SUPPRESSED_TYPES:
        return "this type is kept private: words about it could harm the people in it"
    return "this type is not on the list of those that the public is told about"


def type_choices(codes: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The incident types that a person may choose, by what the desk does with them, by name."""
    groups: dict[Handling, list[tuple[str, str]]] = {each: [] for each in Handling}
    for code in codes:
        groups[handling(code)].append((code, type_in_words(code)))
    titles = {
        Handling.AUTO_DRAFT: "An update is suggested",
        Handling.HELD: "Held: on the board, without a suggestion",
        Handling.SUPPRESSED: "Kept off the board",
    }
    return [(titles[each], sorted(groups[each], key=lambda pair: pair[1])) for each in titles]


routes = web.RouteTableDef()


@routes.get("/")
async def show(request: web.Request) -> web.Response:
    """The board."""
    return await _page(request, fields={})


@routes.post("/")
async def enter_report(request: web.Request) -> web.Response:
    """Takes in a report that a person typed."""
    desk, person = request.app[DESK], require_person(request)
    fields = await fields_of(request)
    try:
        require(person, Act.ENTER_REPORT)
        accepted = await accept(desk, person, fields)
    except Refusal as refusal:
        return await _page(request, fields=fields, refusal=refusal)
    raise web.HTTPSeeOther(f"/?reported={accepted}#reported")


async def accept(desk: Desk, person: Person, fields: Mapping[str, str]) -> str:
    """Accepts a person's report, once however often its form is sent; gives its incident's id."""
    message_id = fields.get("message_id") or str(uuid.uuid4())

    def step(tx: Tx) -> str:
        def find(number: str) -> Incident | None:
            kept = incidents.by_number(tx, number)
            return kept.incident if kept else None

        report = desk.intake.typed(
            fields, find=find, message_id=message_id, now=tx.now,
            new_number=f"P-{tx.now.astimezone(desk.settings.zone):%y%m%d-%H%M%S}-{message_id[:4]}",
        )  # fmt: skip
        if earlier := reports.lock(tx, report.id):
            return earlier.incident_id
        about = find(report.number)
        return reports.accept(
            tx, report, actor=person.id, about=about.id if about else None
        ).incident_id

    return await desk.ledger.write(step)


async def _page(
    request: web.Request, *, fields: Mapping[str, str], refusal: Refusal | None = None
) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    tab = request.query.get("tab", "needs")
    tab = tab if tab in TABS else "needs"
    asked = request.query.get("page", "1")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 5 else 1
    reported = request.query.get("reported", "")
    about = fields.get("incident_number") or request.query.get("about", "")

    def look(tx: Tx) -> tuple[Shown, bool, Incident | None]:
        shown = _shown(tx, desk, person, tab, max(1, number))
        kept = incidents.get(tx, about) if about else None
        compiled = bool(reported) and incidents.get(tx, reported) is not None
        return shown, compiled, kept.incident if kept else None

    shown, compiled, known = await desk.ledger.read(look)
    if known is not None and not fields:
        fields = {"type": known.type.value, "status": known.status.value}
    return page(
        request,
        "board.html",
        status=status_of(refusal) if refusal else 200,
        tab=tab,
        tabs=TABS,
        shown=shown,
        number=max(1, number),
        needs=Need,
        why_off=why_off,
        fields=fields,
        about=_About(known) if known else None,
        refusal=refusal,
        reported=reported,
        compiled=compiled,
        message_id=fields.get("message_id") or str(uuid.uuid4()),
        type_groups=type_choices(desk.intake.types),
        statuses=STATUS_WORDS,
        may_report=person.may(Act.ENTER_REPORT),
        may_compile=person.may(Act.COMPILE),
    )
