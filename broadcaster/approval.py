"""The gate's rule: a decision becomes a release, or a refusal that says why.

The desk asks `objection` before it records a decision; the gate asks it again, alone, of what the
ledger holds, and only `decide` makes a `Release` (DESIGN.md "The job"); of a retraction that was
approved with the words that it takes back, `take_back` does.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic

from broadcaster import fallback, guideline, passkey, voice
from broadcaster.authority import Standing
from broadcaster.errors import Kind, Refusal
from broadcaster.guideline import Guideline, OpenIncident, Submission
from broadcaster.incident import NAMESPACE, Command, Topic
from broadcaster.passkey import Json, Passkey, Site, decision_challenge
from broadcaster.policy import Finding, blocking, screen, wanting
from broadcaster.roster import Act, Person, Role, may_command, require
from broadcaster.update import (
    Change,
    Revision,
    facts_digest,
    is_over,
    lapses_by,
    may_stand,
    retraction_of,
    short_code,
)
from broadcaster.world import Exercise, Frozen, Live, W

#: A gate that comes so late or later asks again instead of releasing (security facts §1).
GATE_MAY_BE_LATE = timedelta(seconds=60)
GATE_LATE = "gate_late"

#: A decision's time may lie so far ahead of the gate's: desk and gate may run on two clocks.
CLOCKS_DIFFER = timedelta(seconds=5)

#: What the gate makes of an approval that goes out: a release, or what was held of one goes on.
RELEASED, KEPT = "released", "kept"


class Verdict(StrEnum):
    """What a person decided about one digest."""

    APPROVED = "approved"
    RETURNED = "returned"
    DECLINED = "declined"


class RequestState(StrEnum):
    """Where an approval request stands."""

    OPEN = "open"  #: waiting for a decision
    APPROVED = "approved"  #: decided: the gate releases it or says why not
    RETURNED = "returned"  #: decided: back to the PIO with a note
    DECLINED = "declined"  #: decided: not to be said
    WITHDRAWN = "withdrawn"  #: the PIO took it back or put a newer one in its place
    LAPSED = "lapsed"  #: a fact behind the words changed; approved by who keeps them all the same
    EXPIRED = "expired"  #: nobody decided in time; renewed by one act


class ApprovalRequest(Frozen):
    """A revision put before the Commander."""

    id: str
    revision_id: str
    incident_id: str
    digest: str
    state: RequestState
    asked: str | None  #: the Commander's id; None: any Watch Commander
    epoch: int
    nonce: str = ""  #: makes what a passkey signs this request's own
    created_at: datetime
    expires_at: datetime

    def challenge(self, verdict: str, digest: str, epoch: int, keeps: str | None = None) -> bytes:
        """What a passkey signs to decide about it, under the command of this epoch."""
        return decision_challenge(
            self.nonce, self.id, verdict, digest, keeps, until=self.expires_at, epoch=epoch
        )


class Decision(Frozen):
    """One person's decision on one digest, as the desk recorded it."""

    id: str
    request_id: str
    person_id: str
    verdict: Verdict
    digest: str
    reason: str | None
    at: datetime
    #: `update.facts_digest` of the changed facts in spite of which the words are kept.
    keeps: str | None = None
    #: The Chief's guideline that approves it instead of a supervisor (389.3). `person_id` is then
    #: who compiled it, and the gate proves the guideline beside their passkey.
    guideline_id: str | None = None
    #: Where both Commanders must approve, the assent that this decision completes.
    assent_id: str | None = None


class Assent(Frozen):
    """The first of two Commanders' approvals, where both must: it waits for the other's."""

    id: str
    request_id: str
    person_id: str
    nonce: str  #: the request's; a new one voids what was signed with it
    digest: str
    keeps: str | None  #: as in Decision
    epoch: int  #: of the command that it was given under: no change of command lets it stand
    at: datetime
    proof: Json  #: what the person's passkey answered, to the same challenge as a decision


class Release(Frozen, Generic[W]):
    """An approved revision. Only `decide` makes one, and `take_back` of a retraction."""

    id: str
    world: W
    revision_id: str
    incident_id: str
    decision_id: str
    digest: str
    channels: tuple[str, ...]
    replaces: tuple[str, ...]
    released_at: datetime
    expires_at: datetime


#: A release of either world, where only what it holds matters.
AnyRelease = Release[Exercise] | Release[Live]


@dataclass(frozen=True)
class Routine:
    """What a notice is judged by beside its words, as it is now (389.3)."""

    topic: Topic
    open_incidents: Sequence[OpenIncident]
    compiler: Person
    held: Standing  #: the compiler's authority and training


@dataclass(frozen=True)
class Case:
    """All that a decision is judged by. `command` and `at` are those of the decision's time."""

    request: ApprovalRequest
    revision: Revision
    head_revision_id: str  #: the newest revision of the same update
    person: Person
    verdict: Verdict
    digest: str  #: what the person's page showed
    reason: str | None
    command: Command
    commander_name: str | None
    facts: dict[str, str | None]  #: what the incident's facts are now
    at: datetime
    proof: Json | None  #: what the person's passkey answered
    passkey: Passkey | None  #: the one that the answer names, as it stands now
    site: Site
    keeps: str | None = None  #: as in Decision
    routine: Routine | None = None  #: of a notice
    by_guideline: bool = False  #: decided by its compiler, on a guideline's word
    guideline: Guideline | None = None  #: that one; None, too, where there is none such
    #: What a second listener heard, where the Commander had no signal; the proof is then theirs.
    voice: voice.Voice | None = None
    assent: Assent | None = None  #: where both must approve, the one that this completes
    assent_passkey: Passkey | None = None  #: the one that it names, as it stands now
    #: PIN and code, where they were typed instead of a passkey.
    entered: fallback.Entered | None = None
    device_bound: bool = False  #: whether theirs may be no passkey that can be copied
    assent_bound: bool = False  #: the same of whose assent this completes
    #: Whether an approval that was given for this nonce was taken back.
    taken_back: bool = False


def to_keep(request: ApprovalRequest, changes: Sequence[Change], at: datetime) -> str | None:
    """What whoever keeps these words signs of the facts; None where it is not asked or too late."""
    asked = request.state is RequestState.LAPSED or (request.state is RequestState.OPEN and changes)
    if not asked or at >= request.expires_at or is_over(changes):
        return None
    return facts_digest(changes)


def asked_in_words(command: Command, names: Mapping[str, str], assent: Assent | None = None) -> str:
    """Who is asked: of two Commanders one or the other; or both, but for who has assented."""
    given_by = assent.person_id if assent else None
    left = [names[each] for each in command.commanders if each in names and each != given_by]
    between = " together with " if command.both else " or "
    return between.join(left) or ("a supervisor" if command.routine else "the Watch Commander")


def objection(case: Case) -> Refusal | None:
    """Why this decision cannot stand, or None. The order is the order a person can mend it in."""
    return _state(case) or _still_objected(case)


def not_theirs(case: Case) -> Refusal | None:
    """Why these words are not this person's to decide about now, or None; what they would decide,
    and whether a passkey proves it, is left out."""
    for check in (_state, _time, person_objection, _words, _facts):
        if refusal := check(case):
            return refusal
    return None


def decide(
    case: Case, decision_id: str, world: W, *, now: datetime, contact: str = ""
) -> Release[W]:
    """The release of an approved decision.

    Raises Refusal where the decision, looked at again, cannot stand; where it was not an
    approval; where the worlds differ; where policy 389.5 forbids the revision's words, whatever
    the desk made of them; or where the gate came too late to act on it. `contact`: the
    department's own, which words may say; the fewest words pass where none is given.
    """
    if not case.request.state == case.verdict == Verdict.APPROVED:
        raise Refusal(
            "not_approved",
            f"The decision was: {case.verdict}; the request is {case.request.state}.",
            "Nothing is released.",
            kind=Kind.CONFLICT,
        )
    if case.by_guideline and (refusal := _outside(case, contact)):
        raise refusal
    if refusal := _still_objected(case) or assent_objection(case):
        raise refusal
    if case.revision.world != world:
        raise Refusal(
            "wrong_world",
            f"The revision belongs to the {case.revision.world} world, this gate to {world}.",
            "Nothing is released. Submit it in its own world.",
            kind=Kind.FORBIDDEN,
        )
    if refusal := _policy(case.revision, contact):
        raise refusal
    if now - case.at >= GATE_MAY_BE_LATE:
        raise Refusal(
            GATE_LATE,
            f"The approval was given {int((now - case.at).total_seconds())} s ago and could not be "
            "acted on since.",
            "Ask the Commander again: what was true then may not be true now.",
            kind=Kind.GONE,
        )
    if case.at - now > CLOCKS_DIFFER:
        raise Refusal(
            "decided_ahead",
            f"The approval says that it is given in {int((case.at - now).total_seconds())} s.",
            "Have the clocks of desk and gate set right, and submit it again.", kind=Kind.CONFLICT,
        )  # fmt: skip
    if now >= case.revision.expires_at:
        raise Refusal(
            "update_expired", "The update's own time has run out.", "Submit it with a new one.",
            kind=Kind.GONE,
        )  # fmt: skip
    return _release(case.revision, decision_id, world, now)


@dataclass(frozen=True)
class TakingBack:
    """All that an order to take a release back is judged by."""

    retraction: Revision  #: what would be said
    base: Revision  #: the words that are taken back
    released: AnyRelease  #: as they were approved and released
    decision: Decision
    person: Person


def take_back(order: TakingBack, world: W, *, now: datetime, contact: str = "") -> Release[W]:
    """The release of a retraction that was approved together with the words that it takes back.

    It is ordered and not approved again, by whoever may. Raises Refusal where it says anything
    but what the digest of those words covered.
    """
    require(order.person, Act.TAKE_BACK)
    said, base = order.retraction, order.base
    prepared = retraction_of(
        base, order.released.id, said.channels, id=said.id, update_id=said.update_id,
        number=said.number, compiled_at=said.compiled_at,
    )  # fmt: skip
    approved = base.digest == order.released.digest and base.retraction
    if not (approved and said == prepared and order.decision.verdict is Verdict.APPROVED):
        raise not_prepared()
    if refusal := _policy(said, contact):
        raise refusal
    return _release(said, order.decision.id, world, now)


def not_prepared() -> Refusal:
    """What is told about a retraction that nobody approved."""
    return Refusal(
        "not_prepared", "These are not the words that were approved for taking it back.",
        "Write a retraction, and have it approved.", kind=Kind.FORBIDDEN,
    )  # fmt: skip


def policy_objection(
    findings: Sequence[Finding], reasons: Mapping[str, str], *, attested: bool
) -> Refusal | None:
    """Why words with these findings may not go on (389.5), or None.

    `policy_blocked` names field, clause and words. A soft finding without a reason is
    `policy_reason_missing`, a missing statement of the compiler `attestation_missing`.
    """
    if blocked := blocking(findings):
        more = len({(each.rule, each.quoted) for each in blocked}) - 1
        also = f" {more} more must go, too." if more else ""
        return _found("policy_blocked", blocked[0], blocked[0].field, also)
    if unexplained := wanting(findings, reasons):
        rule = unexplained[0].rule
        also = " It wants a reason that the Commander can read."
        return _found("policy_reason_missing", unexplained[0], f"reason_{rule}", also)
    if not attested:
        return Refusal(
            "attestation_missing",
            "Nobody has stated that these words endanger neither the investigation nor anybody "
            "(389.5).",
            "Read them once more, and tick the statement.",
            field="attested",
        )
    return None


def _found(code: str, finding: Finding, field: str, also: str) -> Refusal:
    return Refusal(
        code, finding.what + also, finding.do, field=field,
        facts={"rule": finding.rule, "clause": finding.clause, "quoted": finding.quoted},
    )  # fmt: skip


def _policy(revision: Revision, contact: str) -> Refusal | None:
    """The screening of the ledger's own revision, once more. What cannot be screened is refused."""
    try:
        findings = _screened(revision, contact)
    except Exception as error:  # whatever a rule stumbles on, the words stay in
        return Refusal(
            "policy_blocked",
            f"These words could not be screened for policy 389.5 ({type(error).__name__}).",
            "Submit them in other words, and tell whoever looks after the program.",
        )
    return policy_objection(findings, revision.policy_reasons, attested=revision.attested)


def _screened(revision: Revision, contact: str) -> tuple[Finding, ...]:
    """What the screening finds in all that a revision says."""
    return screen(
        revision.words, revision.renderings, contact=contact, area=revision.area,
        alts=[each.alt for each in revision.pictures],
    )  # fmt: skip


def _release(revision: Revision, decision_id: str, world: W, now: datetime) -> Release[W]:
    return Release(
        id=str(uuid.uuid5(NAMESPACE, f"release\0{revision.id}")),
        world=world,
        revision_id=revision.id,
        incident_id=revision.incident_id,
        decision_id=decision_id,
        digest=revision.digest,
        channels=revision.channels,
        replaces=revision.replaces,
        released_at=now,
        expires_at=revision.expires_at,
    )


def request_digest(
    request_id: str, verdict: str, digest: str, reason: str | None, keeps: str | None = None
) -> str:
    """What "the same decision again" means when an idempotency key comes twice."""
    parts = "\0".join((request_id, verdict, digest, reason or "", *([keeps] if keeps else [])))
    return hashlib.sha256(parts.encode()).hexdigest()


def _still_objected(case: Case) -> Refusal | None:
    """What can stand against a decision at any time; the first in the order of mending it."""
    for check in (
        _time, _nonce, person_objection, _words, _one_compiled, _proof, _device, _facts, _reason,
        _no_incident,
    ):  # fmt: skip
        if case.by_guideline and check is person_objection:
            continue  # the guideline's word stands for a supervisor's, by its compiler's own hand
        if refusal := check(case):
            return refusal
    return None


def _outside(case: Case, contact: str) -> Refusal | None:
    """Why these words are not strictly within the guideline that is said to release them."""
    it, revision = case.routine, case.revision
    if it is None:
        return Refusal(
            "guideline_ended", "No guideline releases what is said about an incident (389.4.1).",
            "Have its Commander approve it.", kind=Kind.FORBIDDEN,
        )  # fmt: skip
    if revision.edited_by is not None or case.person.id != revision.compiled_by:
        return guideline.not_within("somebody else changed the words")
    findings = _screened(revision, contact)
    return guideline.objection(
        case.guideline,
        Submission(topic=it.topic, channels=revision.channels, person=it.compiler, held=it.held,
                   findings=len(findings), at=case.at, pictured=bool(revision.pictures)),
    )  # fmt: skip


def _no_incident(case: Case) -> Refusal | None:
    """A notice is about no open incident (389.4.1)."""
    if case.routine is None or case.verdict is not Verdict.APPROVED:
        return None
    revision = case.revision
    texts = [revision.area, *(f"{each.headline} {each.text}" for each in revision.renderings)]
    return guideline.about_an_incident(
        texts, case.routine.open_incidents, stated=revision.no_open_incident
    )


def _state(case: Case) -> Refusal | None:
    state = case.request.state
    if state is RequestState.OPEN:
        return None
    if state is RequestState.EXPIRED:
        return _expired()
    if state is RequestState.LAPSED:
        kept = case.verdict is Verdict.APPROVED and case.keeps is not None
        in_time = case.at < case.request.expires_at
        return None if kept and in_time else _lapsed(lapses_by(case.revision, case.facts), in_time)
    why = f"This update was already {state}."
    if state is RequestState.WITHDRAWN:
        why = "The PIO took this submission back, or put a newer one in its place."
    return Refusal(
        f"already_{state}", why, "Look at the incident's page for what stands now.",
        kind=Kind.CONFLICT,
    )  # fmt: skip


def _time(case: Case) -> Refusal | None:
    return _expired() if case.at >= case.request.expires_at else None


def _nonce(case: Case) -> Refusal | None:
    """That what was signed was not taken back since, whatever the request's row says again."""
    if not case.taken_back:
        return None
    return Refusal(
        "assent_taken_back",
        "One of the two Commanders took back what was signed for this request.",
        "Have both read the page again, and approve.", kind=Kind.CONFLICT,
    )  # fmt: skip


def person_objection(case: Case) -> Refusal | None:
    """Why this decision is not this person's, whatever they would prove (389.4.1), or None."""
    if case.person.id == case.revision.compiled_by:
        return Refusal(
            "own_words",
            "You compiled these words; policy 389.3 asks for a supervisor's approval of them."
            if case.command.routine
            else "You compiled these words; policy 389.4.1 asks for the Commander's approval of "
            "them.",
            f"Wait for {case.commander_name or asked_in_words(case.command, {})}, or telephone "
            "them.",
            kind=Kind.FORBIDDEN,
        )
    if case.command.routine:
        return None if case.person.may(Act.APPROVE_NOTICE) else _no_supervisor()
    if case.command.person_id is None:
        if Role.WATCH_COMMANDER in case.person.roles:
            return None
        return Refusal(
            "not_the_commander",
            "No command is recorded for this incident, so the Watch Commander is asked.",
            "Have the PIO record that you command, or telephone the Watch Commander.",
            kind=Kind.FORBIDDEN,
        )
    if case.command.held_by(case.person.id):
        return _no_commander(case)
    moved = case.person.id == case.request.asked or case.person.id in case.command.former
    return Refusal(
        "command_moved" if moved else "not_the_commander",
        f"{case.commander_name} {'command' if case.command.with_id else 'commands'} this incident"
        + (f" since {case.command.since:%H:%M} UTC." if case.command.since else "."),
        f"The decision is {case.commander_name}'s. Telephone them if you have something to add.",
        kind=Kind.CONFLICT if moved else Kind.FORBIDDEN,
        facts={"commander": case.commander_name or ""},
    )


def _no_commander(case: Case) -> Refusal | None:
    """Where whoever commands, by what the desk recorded, was no Commander by the roster then."""
    if case.person.outside or may_command(case.person):
        return None
    return Refusal(
        "cannot_command", f"{case.person.name} ({case.person.title}) may not command.",
        "Have the PIO record who commands, or telephone the Watch Commander.",
        kind=Kind.FORBIDDEN,
    )  # fmt: skip


def _no_supervisor() -> Refusal:
    return Refusal(
        "not_a_supervisor", "A notice is approved by a supervisor (389.3).",
        "Ask a Supervisor or the Watch Commander.", kind=Kind.FORBIDDEN,
    )  # fmt: skip


def _words(case: Case) -> Refusal | None:
    """Digest by digest: what was seen, what was asked, what the revision's words hash to now."""
    now = case.revision.digest
    if case.digest == case.request.digest == now and case.head_revision_id == case.revision.id:
        return None
    return Refusal(
        "words_changed",
        f"The words that you saw ({short_code(case.digest) or 'none'}) are not the words that "
        f"stand now ({short_code(now)}).",
        "Read the page again, then decide.",
        kind=Kind.CONFLICT,
        facts={"digest": now},
    )


def _proof(case: Case) -> Refusal | None:
    """That this person's passkey signed this verdict on these words, for this request; or that
    they typed PIN and code for just that; or that they approved it aloud, and a second listener's
    passkey signed what was heard."""
    request = case.request
    signed = request.challenge(case.verdict, case.digest, case.command.epoch, case.keeps)
    if case.voice is not None and case.person.outside:
        return Refusal(
            "voice_from_outside", "Somebody from outside the department approves nothing by voice.",
            "Have them decide by passkey, or hand command over.", kind=Kind.FORBIDDEN,
        )  # fmt: skip
    if case.voice is not None and case.revision.pictures:
        return Refusal(
            "voice_picture_unseen", "A picture cannot be approved aloud: it was not seen.",
            "Send the words without it, or have the Commander decide where they can see it.",
            kind=Kind.FORBIDDEN,
        )  # fmt: skip
    if case.voice is not None:
        return voice.objection(
            case.voice, case.proof, case.passkey, person_id=case.person.id,
            commanded=case.command.person_id is not None, both=case.command.both,
            compilers=case.revision.writers, meant=signed, asked_at=request.created_at,
            decided_at=case.at, site=case.site, world=case.revision.world,
        )  # fmt: skip
    if case.entered is not None:
        return fallback.objection(
            case.entered, person_id=case.person.id, challenge=signed, at=case.at, site=case.site,
            world=case.revision.world,
        )  # fmt: skip
    return passkey.objection(
        case.proof, case.passkey, person_id=case.person.id, site=case.site, challenge=signed,
        world=case.revision.world, at=case.at, incident_id=request.incident_id,
    )  # fmt: skip


def _device(case: Case) -> Refusal | None:
    """That a decision was signed on approved equipment, where the department asks which (389.3)."""
    if case.voice is not None or case.proof is None:
        return None
    return _copied(case.device_bound, case.proof)


def _copied(bound: bool, proof: Json) -> Refusal | None:
    if not (bound and passkey.may_be_copied(proof)):
        return None
    return Refusal(
        "passkey_synced",
        "This passkey is copied between devices by its maker, and a decision takes one that "
        "stays on its device (389.3: approved equipment).",
        "Use your device-bound key. Have a link given for one where you have none, or a supervisor "
        "except you for a time.",
        kind=Kind.FORBIDDEN, field="proof",
    )  # fmt: skip


def _one_compiled(case: Case) -> Refusal | None:
    """Where both must approve, that neither would have to approve their own words (389.4.1)."""
    own = case.command.both and case.command.held_by(case.revision.compiled_by)
    if not own or case.verdict is not Verdict.APPROVED:
        return None
    return Refusal(
        "one_compiled",
        "Both Commanders must approve, and one of them compiled these words: nobody approves "
        "their own (389.4.1).",
        "Have the PIO record that either may approve, or have somebody else compile them.",
        kind=Kind.CONFLICT,
    )  # fmt: skip


def assent_objection(case: Case) -> Refusal | None:
    """Where both Commanders must approve, why the other's assent does not stand; else None.

    It is proven as a decision is: their own passkey signed the same words, for the same request.
    """
    if not case.command.both:
        return None
    assent, request = case.assent, case.request
    if assent is None:
        return _one_alone("the other one has not")
    if assent.person_id == case.person.id or not case.command.held_by(assent.person_id):
        return _one_alone("nobody else who commands has")
    if assent.epoch != case.command.epoch:
        return _one_alone("command has moved since the other one did")
    if assent.at >= request.expires_at:
        return _one_alone("the other one came too late")
    signed = request.challenge(Verdict.APPROVED, case.digest, assent.epoch, case.keeps)
    unproven = passkey.objection(
        assent.proof, case.assent_passkey, person_id=assent.person_id, site=case.site,
        challenge=signed, world=case.revision.world, at=assent.at,
        incident_id=request.incident_id,
    )  # fmt: skip
    unproven = unproven or _copied(case.assent_bound, assent.proof)
    return _one_alone(f"the other one's is not proven ({unproven.code})") if unproven else None


def _one_alone(why: str) -> Refusal:
    return Refusal(
        "both_must_approve", f"Both Commanders must approve, and {why}.",
        "Have both read the page again, and approve.", kind=Kind.CONFLICT,
    )  # fmt: skip


def _facts(case: Case) -> Refusal | None:
    """That the words are still so, or that the Commander signed what is no longer so."""
    if case.verdict is not Verdict.APPROVED:
        return None
    changes = lapses_by(case.revision, case.facts)
    return None if may_stand(changes, case.keeps) else _lapsed(changes)


def _reason(case: Case) -> Refusal | None:
    if case.verdict is Verdict.RETURNED and not (case.reason or "").strip():
        return Refusal(
            "reason_missing", "An update goes back with a note, so that the PIO can mend it.",
            "Write what should change.", field="reason",
        )  # fmt: skip
    return None


def _expired() -> Refusal:
    return Refusal(
        "request_expired",
        "The time to decide on this request has run out.",
        "The PIO can renew it with one button on the incident's page.",
        kind=Kind.GONE,
    )


def _lapsed(changes: Sequence[Change], in_time: bool = True) -> Refusal:
    what = "; ".join(change.in_words for change in changes) or "and back again"
    anew = "Have the PIO submit the update again with what is true now."
    if in_time and not is_over(changes):
        anew = f"Keep these words, knowing it, or return them. {anew}"
    return Refusal(
        "facts_changed", f"The incident has changed since these words were written ({what}).", anew,
        kind=Kind.CONFLICT, facts={"changed": what},
    )  # fmt: skip
