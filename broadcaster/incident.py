"""Report to incident: what CAD and people said, folded into one view.

The fold does not care about order: each fact remembers the report that set it, and the newest
report (by its own time, then by its id) wins. A file replayed twice, or shuffled, gives the same
incidents.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from broadcaster.world import Frozen, World

#: Ids that must be the same whenever the same thing is named come from this namespace.
NAMESPACE = uuid.UUID("5b7d3f0e-6c5f-5a0a-9a63-1f4c51f9a389")

#: Whether an incident goes on, as a fact behind the words.
OPEN, CLOSED = "open", "closed"

#: A source without its own rule closes an incident after this long without a word.
CLOSES_AFTER = timedelta(hours=12)


class Status(StrEnum):
    """EIDO incidentStatusCommon (NENA-STA-021.1b-2022, table of the registry)."""

    ACTIVE = "Active"
    RESOURCES_ASSIGNED = "ResourcesAssigned"
    RESOURCES_ENROUTE = "ResourcesEnroute"
    RESOURCES_ONSCENE = "ResourcesOnscene"
    NEW_LOCATION = "NewLocation"
    STRUCTURE_CLEARED = "StructureCleared"
    FIRE_UNDER_CONTROL = "FireUnderControl"
    CANCELLED = "Cancelled"
    CLOSED = "Closed"
    REOPENED = "ReOpened"

    @property
    def open(self) -> bool:
        return self not in (Status.CANCELLED, Status.CLOSED)


class Handling(StrEnum):
    """What the product does of itself with an incident of a type (facts/domain.md §1)."""

    SUPPRESSED = "suppressed"  #: off the board; a person may still open it and write
    HELD = "held"  #: on the board, without a suggestion: the Commander speaks first
    AUTO_DRAFT = "auto-draft"  #: on the board, with a suggested update
    NOTICE = "notice"  #: no incident: a routine subject, on a tab of its own


class Topic(StrEnum):
    """What a notice is: the policy's examples of what may be posted (389.4)."""

    ANNOUNCEMENT = "announcement"
    PREVENTION = "crime prevention"
    REQUEST_FOR_INFORMATION = "request for information"
    COMMUNITY_PROJECT = "community project"
    SAFETY = "safety information"
    TRAFFIC = "traffic information"
    PRESS_RELEASE = "press release"
    RECRUITMENT = "recruitment"

    @property
    def clause(self) -> str:
        """389.4(a) to (h), in the policy's order."""
        return f"389.4({'abcdefgh'[list(Topic).index(self)]})"


SUPPRESSED_TYPES = frozenset(
    "DVA DVNA ABUSE NEGLECT SEXOFFNS SUICIDE SUICTHRT EDP MNTL MTLV OD JUV RUNAWAY STKX DEATH "
    "DEATHNTF WARRANT VICE NCIC HLP1 HLP2".split()
)
HELD_TYPES = frozenset("WARRANT HOSTAGE BARICADE".split())
AUTO_DRAFT_TYPES = frozenset(
    "ACTSHOOT SHOOT BOMB EXPLOS HAZMAT GASLEAK GASLEAKI GASLEAKO FBRUSH FSTRU MVAINJY THAZ WIRES "
    "CU1 ESCAPE ABDUCTF ABDUCTNF PERMISS TERROR MAJORINC MCI".split()
)


def handling(type_code: str) -> Handling:
    """The handling of an EIDO incident type: the first list that names it, else suppressed."""
    if type_code in SUPPRESSED_TYPES:
        return Handling.SUPPRESSED
    if type_code in HELD_TYPES:
        return Handling.HELD
    if type_code in AUTO_DRAFT_TYPES:
        return Handling.AUTO_DRAFT
    return Handling.SUPPRESSED


#: Which system speaks, as it is enrolled here.
Source = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
#: Visible ASCII: it travels in a header, and neither a log nor SQL may trip over it.
MessageId = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
#: Printable ASCII without a space at either end.
Number = Annotated[str, Field(pattern=r"^[!-~](?:[ -~]{0,78}[!-~])?$")]


class Report(Frozen):
    """One message about an incident, already cut to the fields that may come in."""

    source: Source
    message_id: MessageId
    number: Number
    type: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,20}$")]
    status: Status = Status.ACTIVE
    #: Generalised before it gets here: a hundred block, an intersection, or a street.
    place: Annotated[str, Field(max_length=200)] | None = None
    #: The source named a place that cannot be said in public: what stood before is not true now.
    place_withheld: bool = False
    #: Rounded to 0.001 degree (about 100 m, a block).
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    priority: Annotated[int, Field(ge=0, le=10)] | None = None
    opened_at: AwareDatetime
    reported_at: AwareDatetime
    closes_after: timedelta = CLOSES_AFTER

    @property
    def id(self) -> str:
        return str(uuid.uuid5(NAMESPACE, f"report\0{self.source}\0{self.message_id}"))

    def body_digest(self) -> str:
        """What "the same body" means when the same message id comes again."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Fact(Frozen):
    """One thing an incident's reports say, and which of them said it last."""

    value: str
    at: datetime
    report_id: str

    def yields_to(self, other: Fact) -> bool:
        return (self.at, self.report_id) < (other.at, other.report_id)


class Offer(Frozen):
    """Command, offered to a named person. Who offers it decides until it is accepted."""

    id: str
    by: str
    to: str
    nonce: str  #: makes what a passkey signs this offer's own
    expires_at: datetime


class Command(Frozen):
    """Who commands an incident. The epoch rises with each change, so an old hand is told.

    Unified command (ICS) names two people. Either decides alone, or both must approve.
    """

    person_id: str | None = None
    with_id: str | None = None  #: the second of a unified command
    both: bool = False  #: whether both of them must approve
    epoch: int = 0
    since: datetime | None = None
    former: tuple[str, ...] = ()  #: who commanded before, and does not any more
    offer: Offer | None = None
    accepted: str | None = None  #: the offer by which it came here
    routine: bool = False  #: a notice: nobody ever commands, and a supervisor decides (389.3)

    @property
    def commanders(self) -> tuple[str, ...]:
        return tuple(each for each in (self.person_id, self.with_id) if each)

    def held_by(self, person_id: str) -> bool:
        return person_id in self.commanders

    def offered(self, now: datetime) -> Offer | None:
        """The offer that can be accepted now."""
        return self.offer if self.offer and now < self.offer.expires_at else None

    def handed(self, by: str, to: str) -> tuple[str, ...]:
        """Who commands once `by` has handed over to `to`: a unified command's other one stays.

        Whoever does not command hands over all of it (the Watch Commander).
        """
        if not self.held_by(by):
            return (to,)
        return tuple(dict.fromkeys(to if each == by else each for each in self.commanders))

    def moved(
        self, to: Sequence[str], *, at: datetime, accepted: str | None = None,
        both: bool | None = None,
    ) -> Command:  # fmt: skip
        """The command after a change. No offer outlives it.

        `both`: whether two must approve; None: as before, for as long as there are two.
        """
        person_id, with_id = (*to, None, None)[:2]
        before = dict.fromkeys((*self.former, *self.commanders))
        return Command(
            person_id=person_id, with_id=with_id, epoch=self.epoch + 1, since=at,
            both=with_id is not None and (self.both if both is None else both),
            former=tuple(each for each in before if each not in to), accepted=accepted,
        )  # fmt: skip


def commanders_in_words(command: Command, names: Mapping[str, str]) -> str | None:
    """Who commands, by name; None where nobody does."""
    return " and ".join(names[each] for each in command.commanders if each in names) or None


class Incident(Frozen):
    """The folded view of an incident's reports; or a notice, which a person began.

    A notice is about no incident. It stands in one's place, so that order, story, updates, posts
    and pages are the same; it is closed from its beginning, and no report changes it. Its type is
    its subject, in words.
    """

    id: str
    world: World
    source: str
    number: str
    type: Fact
    status: Fact
    #: Empty where the newest place cannot be said in public.
    place: Fact | None = None
    position: Fact | None = None
    priority: Fact | None = None
    opened_at: datetime
    heard_at: datetime
    closes_at: datetime
    reports: int = 1
    closed_at: datetime | None = None
    command: Command = Command()
    notice: Topic | None = None

    @property
    def handling(self) -> Handling:
        return Handling.NOTICE if self.notice else handling(self.type.value)

    @property
    def open(self) -> bool:
        return self.closed_at is None

    @property
    def facts(self) -> dict[str, str | None]:
        """What the incident's facts are now, for telling whether words still hold."""
        return {
            "type": self.type.value,
            "place": self.place.value if self.place else None,
            "status": OPEN if self.open else CLOSED,
        }


def incident_id(world: World, source: str, number: str) -> str:
    """The same source's number is the same incident, for ever, within a world."""
    return str(uuid.uuid5(NAMESPACE, f"incident\0{world}\0{source}\0{number}"))


#: Whose word a notice is, where an incident has its source.
NOTICES = "notice"


def notice(
    world: World, topic: Topic, subject: str, place: str, *, begun_by: str, now: datetime
) -> Incident:
    """A routine subject in an incident's place."""

    def said(value: str) -> Fact:
        return Fact(value=value, at=now, report_id=begun_by)

    made = uuid.uuid4()
    return Incident(
        id=str(made), world=world, source=NOTICES, number=f"N-{now:%y%m%d}-{made.hex[:6]}",
        type=said(subject), status=said(Status.CLOSED), place=said(place), opened_at=now,
        heard_at=now, closes_at=now, closed_at=now, reports=0, command=Command(routine=True),
        notice=topic,
    )  # fmt: skip


def fold(before: Incident | None, report: Report, *, world: World, now: datetime) -> Incident:
    """The incident after one more report, whatever order the reports come in."""

    def said(value: object) -> Fact:
        return Fact(value=str(value), at=report.reported_at, report_id=report.id)

    def newest(old: Fact | None, value: object | None) -> Fact | None:
        if value is None:
            return old
        new = said(value)
        return new if old is None or old.yields_to(new) else old

    place = "" if report.place_withheld else report.place
    position = (
        None
        if report.latitude is None or report.longitude is None
        else f"{report.latitude:.3f},{report.longitude:.3f}"
    )
    status = said(report.status)
    if before is not None and not before.status.yields_to(status):
        status = before.status
    open_now = Status(status.value).open
    if before is None:
        return Incident(
            id=incident_id(world, report.source, report.number),
            world=world,
            source=report.source,
            number=report.number,
            type=said(report.type),
            status=status,
            place=newest(None, place),
            position=newest(None, position),
            priority=newest(None, report.priority),
            opened_at=report.opened_at,
            heard_at=now,
            closes_at=now + report.closes_after,
            closed_at=None if open_now else status.at,
        )
    kind = said(report.type)
    return before.model_copy(
        update={
            "type": kind if before.type.yields_to(kind) else before.type,
            "status": status,
            "place": newest(before.place, place),
            "position": newest(before.position, position),
            "priority": newest(before.priority, report.priority),
            "opened_at": min(before.opened_at, report.opened_at),
            "heard_at": max(before.heard_at, now),
            "closes_at": max(before.closes_at, now + report.closes_after),
            "reports": before.reports + 1,
            "closed_at": None if open_now else status.at,
        }
    )
