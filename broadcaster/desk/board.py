"""The board: which incidents need words now, and the way to enter a report by hand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from broadcaster import notices
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.middleware import status_of
from broadcaster.desk.needs import Need, Row, Seen, row
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.story import STATUS_WORDS
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.incident import SUPPRESSED_TYPES, Handling, Incident, Topic, handling
from broadcaster.ledger import Tx, board, channels, incidents, people, reports
from broadcaster.roster import Act, Person, require
from broadcaster.type_names import type_in_words

ON_THE_BOARD = (Handling.HELD, Handling.AUTO_DRAFT)
#: A notice is none.
INCIDENTS = (*ON_THE_BOARD, Handling.SUPPRESSED)
#: What each tab but the first lists.
_HANDLINGS = {
    "open": ON_THE_BOARD, "off": (Handling.SUPPRESSED,), "closed": INCIDENTS,
    "routine": (Handling.NOTICE,),
}  # fmt: skip
PAGE = 50
#: Open incidents that are looked at for the first tab; more than a department ever has.
MOST_OPEN = 2000
MOST_CLOSED = 200

TABS = {
    "needs": "Needs words",
    "open": "All open",
    "off": "Kept off the board",
    "closed": "Closed",
    "routine": "Routine",
}


@dataclass(frozen=True)
class Shown:
    """One tab's page."""

    rows: Sequence[Row]
    counts: Mapping[str, int]
    pages: int
    kept_back: Sequence[
        str
    ]  #: the titles of channels on which something waits, and nothing is sent


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
    begun = incidents.board(tx, open_=False, handlings=[Handling.NOTICE], limit=MOST_CLOSED)
    routine = [row(standing, seen) for standing in board.standings(tx, begun)]
    needs = sorted(
        (each for each in [*rows, *routine] if each.need is not Need.NOTHING),
        key=lambda each: (each.need, each.since),
    )
    known = incidents.counts(tx)
    counts = {
        "needs": len(needs),
        "open": sum(known.get((True, each), 0) for each in ON_THE_BOARD),
        "off": known.get((True, Handling.SUPPRESSED), 0),
        "closed": sum(known.get((False, each), 0) for each in INCIDENTS),
        "routine": known.get((False, Handling.NOTICE), 0),
    }
    first = PAGE * (number - 1)
    if tab == "needs":
        wanted = needs[first : first + PAGE]
    else:
        page_of = incidents.board(
            tx, open_=tab in ("open", "off"), limit=PAGE, offset=first,
            handlings=_HANDLINGS[tab],
        )  # fmt: skip
        wanted = [row(standing, seen) for standing in board.standings(tx, page_of)]
    idle = [name for name, fare in channels.several(tx).items() if fare.kept_back(tx.now)]
    waits = channels.figures(tx) if idle else {}  # it counts every post that there ever was
    kept_back = [seen.channels.get(name, name) for name in idle
                 if name in waits and waits[name].waiting]  # fmt: skip
    return Shown(wanted, counts, max(1, -(-counts[tab] // PAGE)), kept_back)


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
    groups: dict[Handling, list[tuple[str, str]]] = {each: [] for each in INCIDENTS}
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


@routes.post("/notices")
async def begin_notice(request: web.Request) -> web.Response:
    """Begins a notice, and opens its page: there it is written."""
    desk, person, fields = request.app[DESK], require_person(request), await fields_of(request)

    def step(tx: Tx) -> str:
        topic = topic_of(fields.get("topic", ""))
        return notices.begin(
            tx, topic, fields.get("subject", ""), fields.get("place", ""), person,
            request_id=fields.get("request") or None,
        ).id  # fmt: skip

    try:
        begun = await desk.ledger.write(step)
    except Refusal as refusal:
        return await _page(request, fields={}, notice=fields, refusal=refusal)
    raise web.HTTPSeeOther(f"/incidents/{begun}#composer")


def topic_of(given: str) -> Topic:
    """What a notice is about. Raises Refusal."""
    if given not in list(Topic):
        raise Refusal("topic_missing", "It is not said what the notice is (389.4).",
                      f"Choose one of: {', '.join(Topic)}.", field="topic")  # fmt: skip
    return Topic(given)


async def accept(desk: Desk, person: Person, fields: Mapping[str, str]) -> str:
    """Accepts a person's report, once however often its form is sent; gives its incident's id."""
    message_id = _message_id(fields)

    def step(tx: Tx) -> str:
        def find(number: str) -> Incident | None:
            kept = incidents.by_number(tx, number)
            return kept.incident if kept else None

        report = desk.intake.typed(
            fields, find=find, message_id=message_id, now=tx.now,
            new_number=f"P-{tx.now.astimezone(desk.settings.zone):%y%m%d-%H%M%S}-{message_id[:4]}",
        )  # fmt: skip
        if not report.status.open:
            require(person, Act.CLOSE_INCIDENT)
        if earlier := reports.lock(tx, report.id):
            return earlier.incident_id
        return reports.accept(tx, report, actor=person.id).incident_id

    return await desk.ledger.write(step)


def _message_id(fields: Mapping[str, str]) -> str:
    """The id that the form was made with; a new one where it carries none that we made."""
    try:
        return str(uuid.UUID(fields.get("message_id", "")))
    except ValueError:
        return str(uuid.uuid4())


async def _page(
    request: web.Request, *, fields: Mapping[str, str], refusal: Refusal | None = None,
    notice: Mapping[str, str] | None = None,
) -> web.Response:  # fmt: skip
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)
    tab = "routine" if notice else request.query.get("tab", "needs")
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
        notice=notice or {"request": request.query.get("request", "")},
        about=_About(known) if known else None,
        refusal=refusal,
        reported=reported,
        compiled=compiled,
        message_id=fields.get("message_id") or str(uuid.uuid4()),
        type_groups=type_choices(desk.intake.types),
        statuses=STATUS_WORDS,
        may_report=person.may(Act.ENTER_REPORT),
        may_compile=person.may(Act.COMPILE),
        may_write_notice=person.may(Act.WRITE_NOTICE),
        topics=list(Topic),
    )
