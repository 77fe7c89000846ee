"""Who may do what (389.3, 389.4.1): people, their roles, and the acts each role is for."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from broadcaster.errors import Kind, Refusal
from broadcaster.world import Frozen


class Role(StrEnum):
    """A person's standing with the department; one person may hold several."""

    PIO = "pio"  #: Public Information Officer or designee: compiles (389.4.1)
    COMMANDER = "commander"  #: may command an incident, and approves what is said about it
    WATCH_COMMANDER = "watch-commander"  #: asked while no command is recorded, and after it ends
    SUPERVISOR = "supervisor"  #: settles what came in wrong; approves routine content (389.3)
    CHIEF = "chief"  #: Chief of Police or designee: says who may post, keeps the roster (389.3)
    STAFF = "staff"  #: city hall: writes notices, where the Chief has authorized them (389.3)
    RECORDS = "records"  #: custodian of records: reads everything, changes nothing (389.7)

    @property
    def in_words(self) -> str:
        return _TITLES[self]


_TITLES = {
    Role.PIO: "Public Information Officer",
    Role.COMMANDER: "Incident Commander",
    Role.WATCH_COMMANDER: "Watch Commander",
    Role.SUPERVISOR: "Supervisor",
    Role.CHIEF: "Chief of Police or designee",
    Role.STAFF: "Staff member",
    Role.RECORDS: "Custodian of Records",
}


class Act(StrEnum):
    """What a person may ask the desk to do. Who may do it stands in `MAY`."""

    READ = "read the desk's pages"
    ENTER_REPORT = "enter a report"
    CLOSE_INCIDENT = "close an incident"
    COMPILE = "compile an update"
    WRITE_NOTICE = "write a notice"
    RECORD_COMMAND = "record who commands"
    TRANSFER_COMMAND = "move command without its Commander"
    NAME_DEPUTY = "name a deputy of the Watch Commander"
    NAME_DUTY_CHIEF = "name the duty chief"
    DECIDE = "decide about an update"
    APPROVE_NOTICE = "approve a notice"
    STOP = "stop what is going out"
    TAKE_BACK = "take back what is out, in the words approved for that"
    SETTLE_POST = "say what becomes of a post in doubt"
    RUN_CHANNEL = "pause a channel or let it go on"
    KEEP_CHANNELS = "add, change or remove a channel"
    ALLOW_REPLIES = "have a channel used on which the public can answer"
    SETTLE_PROBLEM = "settle a problem"
    APPROVE_DEVICE = "approve or revoke a device of somebody's"
    GRANT_AUTHORITY = "grant or revoke authority to post"
    RECORD_TRAINING = "record training"
    KEEP_ROSTER = "change roles or take somebody off the roster"
    ALLOW_FALLBACK = "let somebody decide with PIN and code instead of a passkey"
    KEEP_GUIDELINES = "keep the written guidelines"
    EXCEPT = "except somebody from approved equipment or duty hours"
    REQUEST_POST = "ask for something to be posted"
    SETTLE_REQUEST = "pass on or decline a request to post"
    READ_RECORD = "read the record"


_EVERYBODY = frozenset(Role)
#: What a Commander from outside may do, at the one incident that they are enrolled for; beside to
#: command it (broadcaster/guest.py).
GUEST_MAY = frozenset({Act.READ, Act.STOP})
_SWORN = frozenset({Role.PIO, Role.COMMANDER, Role.WATCH_COMMANDER, Role.SUPERVISOR})
_MEMBERS = _SWORN | {Role.CHIEF, Role.STAFF}

MAY: dict[Act, frozenset[Role]] = {
    Act.READ: _EVERYBODY,
    Act.ENTER_REPORT: _SWORN,
    Act.CLOSE_INCIDENT: frozenset({Role.PIO, Role.COMMANDER, Role.WATCH_COMMANDER}),
    Act.COMPILE: frozenset({Role.PIO}),
    Act.WRITE_NOTICE: _MEMBERS,
    Act.RECORD_COMMAND: frozenset({Role.PIO, Role.WATCH_COMMANDER}),
    Act.TRANSFER_COMMAND: frozenset({Role.WATCH_COMMANDER}),
    Act.NAME_DEPUTY: frozenset({Role.WATCH_COMMANDER}),
    Act.NAME_DUTY_CHIEF: frozenset({Role.CHIEF}),
    Act.DECIDE: frozenset({Role.COMMANDER, Role.WATCH_COMMANDER}),
    Act.APPROVE_NOTICE: frozenset({Role.WATCH_COMMANDER, Role.SUPERVISOR}),
    Act.STOP: _SWORN,
    Act.TAKE_BACK: _SWORN,
    Act.SETTLE_POST: frozenset({Role.PIO, Role.WATCH_COMMANDER, Role.SUPERVISOR}),
    Act.RUN_CHANNEL: frozenset({Role.PIO, Role.WATCH_COMMANDER, Role.SUPERVISOR}),
    Act.KEEP_CHANNELS: frozenset({Role.CHIEF}),
    Act.ALLOW_REPLIES: frozenset({Role.CHIEF}),
    Act.SETTLE_PROBLEM: frozenset({Role.PIO, Role.WATCH_COMMANDER, Role.SUPERVISOR}),
    Act.APPROVE_DEVICE: frozenset({Role.WATCH_COMMANDER, Role.SUPERVISOR}),
    Act.GRANT_AUTHORITY: frozenset({Role.CHIEF}),
    Act.KEEP_GUIDELINES: frozenset({Role.CHIEF}),
    Act.RECORD_TRAINING: frozenset({Role.CHIEF}),
    Act.KEEP_ROSTER: frozenset({Role.CHIEF}),
    Act.ALLOW_FALLBACK: frozenset({Role.CHIEF}),
    Act.EXCEPT: frozenset({Role.WATCH_COMMANDER, Role.SUPERVISOR}),
    Act.REQUEST_POST: _MEMBERS,
    Act.SETTLE_REQUEST: frozenset({Role.WATCH_COMMANDER, Role.SUPERVISOR}),
    Act.READ_RECORD: _EVERYBODY,
}


#: The clause of the policy that an act rests on, where one does.
CLAUSE: dict[Act, str] = {
    Act.COMPILE: "389.4.1",
    Act.WRITE_NOTICE: "389.4",
    Act.RECORD_COMMAND: "389.4.1",
    Act.DECIDE: "389.4.1",
    Act.APPROVE_NOTICE: "389.3",
    Act.STOP: "389.5",
    Act.TAKE_BACK: "389.5",
    Act.APPROVE_DEVICE: "389.3",
    Act.GRANT_AUTHORITY: "389.3",
    Act.KEEP_GUIDELINES: "389.3",
    Act.RECORD_TRAINING: "389.8",
    Act.KEEP_ROSTER: "389.3",
    Act.ALLOW_FALLBACK: "389.3",
    Act.EXCEPT: "389.3",
    Act.REQUEST_POST: "389.3",
    Act.SETTLE_REQUEST: "389.3",
    Act.READ_RECORD: "389.7",
}


class Person(Frozen):
    """Somebody on the roster, or a Commander from outside, who has no role; or somebody who was
    taken off the roster, who has none either, and whose name stays.
    """

    id: str
    name: str
    roles: frozenset[Role]
    guest_of: str | None = None  #: the one incident of somebody from outside, while they may
    left: datetime | None = None  #: since when they are off the roster

    def may(self, act: Act) -> bool:
        return bool(self.roles & MAY[act]) or (self.guest_of is not None and act in GUEST_MAY)

    @property
    def outside(self) -> bool:
        """Whether they are from outside the department."""
        return not self.roles and self.left is None

    @property
    def title(self) -> str:
        """The roles in words, highest first."""
        if self.left is not None:
            return "Taken off the roster"
        if self.outside:
            return "Commander from outside, for one incident"
        return ", ".join(role.in_words for role in Role if role in self.roles)


class Word(Frozen):
    """Somebody's word that a person may do something, for a reason and a time."""

    id: str
    person_id: str
    reason: str
    until: datetime
    granted_by: str
    granted_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None

    def holds(self, at: datetime) -> bool:
        return self.ended_at is None and at < self.until


def require(person: Person, act: Act) -> None:
    """Raises Refusal where the act is not this person's."""
    if not person.may(act):
        who = " or ".join(role.in_words for role in Role if role in MAY[act])
        raise Refusal(
            "not_your_act",
            f"{person.name} ({person.title}) may not {act}.",
            f"Ask the {who}.",
            kind=Kind.FORBIDDEN,
        )


def may_command(person: Person, incident_id: str | None = None) -> bool:
    """Whether a person can be recorded as the Commander of this incident; None: of any."""
    guest = person.guest_of is not None and person.guest_of == incident_id
    return guest or bool(person.roles & {Role.COMMANDER, Role.WATCH_COMMANDER})
