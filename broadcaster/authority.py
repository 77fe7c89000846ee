"""Who may post on the department's behalf (389.3), how they are trained (389.8), what is excepted.

A role says which acts are a person's own (broadcaster/roster.py); this says whether the Chief has
authorized them to speak for the department, about what, and until when. Authority is the Chief's
alone, and without it nothing is submitted. Training is a "should" of the policy: where it has
lapsed, routine posts wait for it, but the public is not left without word of an active incident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broadcaster.errors import Kind, Refusal
from broadcaster.fallback import Allowance
from broadcaster.passkey import Passkey
from broadcaster.roster import CLAUSE, MAY, Act, Person, Role, Word
from broadcaster.update import UpdateKind
from broadcaster.world import Frozen


class Content(StrEnum):
    """What a person may be authorized to post."""

    INCIDENT = "incident"  #: about an active incident (389.4.1)
    ROUTINE = "routine"  #: everything else (389.4)


class Subject(StrEnum):
    """What training addresses, at a minimum (389.8)."""

    LEGAL = "legal issues"
    PRIVACY = "privacy"
    CIVIL_RIGHTS = "civil rights"
    DISSEMINATION = "dissemination"
    RETENTION = "retention"


class Matter(StrEnum):
    """What a supervisor may except somebody from (389.3). Authority itself is not among it."""

    EQUIPMENT = "equipment"
    DUTY_HOURS = "duty hours"


class Authority(Frozen):
    """The Chief's word that a person may post one sort of content."""

    id: str
    person_id: str
    content: Content
    until: datetime | None  #: None: until it is revoked
    granted_by: str
    granted_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    def holds(self, at: datetime) -> bool:
        """What was granted and not revoked holds to its end, though a clock steps back."""
        return self.revoked_at is None and (self.until is None or at < self.until)


class Training(Frozen):
    """One subject that a person was trained in."""

    subject: Subject
    given_at: datetime
    expires_at: datetime


class Exemption(Frozen):
    """A supervisor's leave to do without approved equipment, or outside duty hours, for a time.

    It stands on the record and is told beside what was posted under it. While one from equipment
    holds, a passkey that its maker copies decides, too. It opens no device: a passkey is approved
    as ever before its first use, for a stolen session could add one. One from duty hours is a note:
    nobody's hours are kept here, so nothing is refused by them.
    """

    matter: Matter
    reason: str
    until: datetime
    granted_by: str
    granted_at: datetime


class Office(StrEnum):
    """As what somebody moves command as the Watch Commander may, for a time."""

    DEPUTY = "deputy"  #: of the Watch Commander, by their word; called before them
    DUTY_CHIEF = "duty chief"  #: by the Chief's word; called with the Watch Commander

    @property
    def act(self) -> Act:
        """Whose it is to name one."""
        return Act.NAME_DEPUTY if self is Office.DEPUTY else Act.NAME_DUTY_CHIEF


class Delegation(Word):
    """The word that a Commander has such an office, for a time.

    Whoever has one moves command as the Watch Commander may, and so can take it and decide in one
    visit. They are not asked in the Watch Commander's place: they decide once they command.
    """

    office: Office = Office.DEPUTY

    def held(self, at: datetime) -> bool:
        """Whether it held then, though it has ended since."""
        return self.granted_at <= at < (self.ended_at or self.until)


class Standing(Frozen):
    """All that the roster holds of one person's authority; the newest of each comes first."""

    authorities: tuple[Authority, ...] = ()
    trainings: tuple[Training, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    fallbacks: tuple[Allowance, ...] = ()

    def authority(self, content: Content, at: datetime) -> Authority | None:
        """The authority that holds and lasts longest."""
        held = [each for each in self.authorities if each.content is content and each.holds(at)]
        endless = next((each for each in held if each.until is None), None)
        return endless or max(held, key=lambda each: each.until or at, default=None)

    def last(self, content: Content) -> Authority | None:
        """The newest authority for a content, whether or not it still holds."""
        return next((each for each in self.authorities if each.content is content), None)

    def training(self, subject: Subject) -> Training | None:
        """The training in a subject that lasts longest."""
        given = [each for each in self.trainings if each.subject is subject]
        return max(given, key=lambda each: each.expires_at, default=None)

    def lapsed(self, at: datetime) -> tuple[Subject, ...]:
        """The subjects in which a person's training has run out, or was never given."""
        trained = {each.subject for each in self.trainings if at < each.expires_at}
        return tuple(subject for subject in Subject if subject not in trained)

    def exempt(self, at: datetime) -> tuple[Exemption, ...]:
        """The exemptions that hold at a time."""
        return tuple(each for each in self.exemptions if at < each.until)

    def excepted(self, matter: Matter, at: datetime) -> Exemption | None:
        """The exemption from one matter that held at a time."""
        held = (each for each in self.exempt(at) if each.granted_at <= at)
        return next((each for each in held if each.matter is matter), None)

    def office(self, office: Office, at: datetime) -> Delegation | None:
        """The delegation of an office that holds at a time."""
        held = (each for each in self.delegations if each.office is office and each.holds(at))
        return next(held, None)

    def fallback(self, at: datetime) -> Allowance | None:
        """The allowance to decide with PIN and code that holds at a time."""
        return next((each for each in self.fallbacks if each.holds(at)), None)


def content_of(kind: UpdateKind, *, incident_open: bool, notice: bool = False) -> Content:
    """Which content an update about an incident, or a notice, is.

    What mends or ends something already said belongs to the incident, though it is closed: a
    correction does not wait for training.
    """
    about_it = incident_open or kind is not UpdateKind.UPDATE
    return Content.INCIDENT if about_it and not notice else Content.ROUTINE


def objection(person: Person, held: Standing, content: Content, at: datetime) -> Refusal | None:
    """Why this person may not post this content now (389.3, 389.8), or None."""
    if held.authority(content, at) is None:
        return _no_authority(person, held, content, at)
    if content is Content.ROUTINE and (lapsed := held.lapsed(at)):
        return Refusal(
            "training_lapsed",
            f"{person.name}'s training has lapsed or was never recorded: {', '.join(lapsed)} "
            "(389.8). Routine posts wait for it.",
            f"Ask the {_whom(Act.RECORD_TRAINING)} to record the training, or have somebody who "
            "is trained submit it.",
            kind=Kind.FORBIDDEN,
            facts={"clause": "389.8"},
        )
    return None


def _no_authority(person: Person, held: Standing, content: Content, at: datetime) -> Refusal:
    """`authority_missing` where there never was one; `authority_ended` where it is over."""
    ended = held.last(content)
    why = f"{person.name} is not authorized to post {content} content (389.3)."
    if ended is not None:
        when = f"was revoked {ended.revoked_at:%Y-%m-%d %H:%M} UTC" if ended.revoked_at else (
            f"ended {ended.until:%Y-%m-%d %H:%M} UTC"
        )  # fmt: skip
        why = f"{person.name}'s authority to post {content} content {when} (389.3)."
    return Refusal(
        "authority_ended" if ended else "authority_missing",
        why,
        f"Ask the {_whom(Act.GRANT_AUTHORITY)} for it, or have somebody who is authorized "
        "submit it.",
        kind=Kind.FORBIDDEN,
        facts={"clause": "389.3", "content": str(content)},
    )


def own_exemption(person: Person, supervisor: Person) -> Refusal | None:
    """Nobody excepts themselves: the policy leaves it to a person's supervisor (389.3)."""
    if person.id != supervisor.id:
        return None
    return Refusal(
        "own_exemption", "Nobody excepts themselves (389.3: their supervisors).",
        "Ask another supervisor.", kind=Kind.FORBIDDEN,
    )  # fmt: skip


def _whom(act: Act) -> str:
    return " or ".join(role.in_words for role in Role if role in MAY[act])


@dataclass(frozen=True)
class Ability:
    """One act of a person's roles: whether they may do it now, and on which clause."""

    act: str
    clause: str | None
    refusal: Refusal | None


def abilities(
    person: Person, held: Standing, devices: Sequence[Passkey], at: datetime
) -> list[Ability]:
    """What a person may do now, act by act; posting by content, since authority is."""
    told = []
    for act in Act:
        if not person.may(act):
            continue
        if act is Act.COMPILE:
            told += [
                Ability(f"compile and submit {content} content", CLAUSE[act],
                        objection(person, held, content, at))
                for content in Content
            ]  # fmt: skip
        elif act is Act.WRITE_NOTICE:
            refused = objection(person, held, Content.ROUTINE, at)
            told.append(Ability(str(act), CLAUSE[act], refused))
        elif act in (Act.DECIDE, Act.APPROVE_NOTICE):
            told.append(Ability(str(act), CLAUSE[act], _no_device(person, held, devices, at)))
        else:
            told.append(Ability(str(act), CLAUSE.get(act), None))
    return told


def _no_device(
    person: Person, held: Standing, devices: Sequence[Passkey], at: datetime
) -> Refusal | None:
    if any(each.usable for each in devices) or held.fallback(at):
        return None
    return Refusal(
        "no_device", f"{person.name} has no approved device to decide with (389.3).",
        f"Have one enrolled, and ask the {_whom(Act.APPROVE_DEVICE)} to approve it.",
        kind=Kind.FORBIDDEN, facts={"clause": "389.3"},
    )  # fmt: skip
