"""The gate's rule: a decision becomes a release, or a refusal that says why.

The desk asks `objection` before it records a decision; the gate asks it again, alone, of what the
ledger holds, and only `decide` makes a `Release` (DESIGN.md "The job").
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic

from broadcaster import passkey, voice
from broadcaster.errors import Kind, Refusal
from broadcaster.incident import NAMESPACE, Command
from broadcaster.passkey import Passkey, Site, decision_challenge
from broadcaster.policy import Finding, blocking, screen, wanting
from broadcaster.roster import Person, Role
from broadcaster.update import Revision, changed_facts, short_code
from broadcaster.world import Exercise, Frozen, Live, W

#: A gate that comes this late asks again instead of releasing (security facts §1).
GATE_MAY_BE_LATE = timedelta(seconds=60)
GATE_LATE = "gate_late"


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
    LAPSED = "lapsed"  #: a fact behind the words changed
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


class Decision(Frozen):
    """One person's decision on one digest, as the desk recorded it."""

    id: str
    request_id: str
    person_id: str
    verdict: Verdict
    digest: str
    reason: str | None
    at: datetime


class Release(Frozen, Generic[W]):
    """An approved revision. Only `decide` makes one."""

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
    proof: passkey.Json | None  #: what the person's passkey answered
    passkey: Passkey | None  #: the one that the answer names, as it stands now
    site: Site
    #: What a second listener heard, where the Commander had no signal; the proof is then theirs.
    voice: voice.Voice | None = None


def asked_in_words(command: Command, commander_name: str | None) -> str:
    return commander_name or "the Watch Commander"


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
    if refusal := _still_objected(case):
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
    if now - case.at > GATE_MAY_BE_LATE:
        raise Refusal(
            GATE_LATE,
            f"The approval was given {int((now - case.at).total_seconds())} s ago and could not be "
            "acted on since.",
            "Ask the Commander again: what was true then may not be true now.",
            kind=Kind.GONE,
        )
    if now >= case.revision.expires_at:
        raise Refusal(
            "update_expired", "The update's own time has run out.", "Submit it with a new one.",
            kind=Kind.GONE,
        )  # fmt: skip
    return Release(
        id=str(uuid.uuid5(NAMESPACE, f"release\0{case.revision.id}")),
        world=world,
        revision_id=case.revision.id,
        incident_id=case.revision.incident_id,
        decision_id=decision_id,
        digest=case.revision.digest,
        channels=case.revision.channels,
        replaces=case.revision.replaces,
        released_at=now,
        expires_at=case.revision.expires_at,
    )


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
        findings = screen(revision.words, revision.renderings, contact=contact, area=revision.area)
    except Exception as error:  # whatever a rule stumbles on, the words stay in
        return Refusal(
            "policy_blocked",
            f"These words could not be screened for policy 389.5 ({type(error).__name__}).",
            "Submit them in other words, and tell whoever looks after the program.",
        )
    return policy_objection(findings, revision.policy_reasons, attested=revision.attested)


def request_digest(request_id: str, verdict: str, digest: str, reason: str | None) -> str:
    """What "the same decision again" means when an idempotency key comes twice."""
    parts = "\0".join((request_id, verdict, digest, reason or ""))
    return hashlib.sha256(parts.encode()).hexdigest()


def _still_objected(case: Case) -> Refusal | None:
    """What can stand against a decision at any time; the first in the order of mending it."""
    for check in (_time, person_objection, _words, _proof, _facts, _reason):
        if refusal := check(case):
            return refusal
    return None


def _state(case: Case) -> Refusal | None:
    state = case.request.state
    if state is RequestState.OPEN:
        return None
    if state is RequestState.EXPIRED:
        return _expired()
    if state is RequestState.LAPSED:
        return _lapsed(("a fact",))
    why = f"This update was already {state}."
    if state is RequestState.WITHDRAWN:
        why = "The PIO took this submission back, or put a newer one in its place."
    return Refusal(
        f"already_{state}", why, "Look at the incident's page for what stands now.",
        kind=Kind.CONFLICT,
    )  # fmt: skip


def _time(case: Case) -> Refusal | None:
    return _expired() if case.at >= case.request.expires_at else None


def person_objection(case: Case) -> Refusal | None:
    """Why this decision is not this person's, whatever they would prove (389.4.1), or None."""
    if case.person.id == case.revision.compiled_by:
        return Refusal(
            "own_words",
            "You compiled these words; policy 389.4.1 asks for the Commander's approval of them.",
            f"Wait for {asked_in_words(case.command, case.commander_name)}, or telephone them.",
            kind=Kind.FORBIDDEN,
        )
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
        return None
    moved = case.person.id == case.request.asked or case.person.id in case.command.former
    return Refusal(
        "command_moved" if moved else "not_the_commander",
        f"{case.commander_name} {'command' if case.command.with_id else 'commands'} this incident"
        + (f" since {case.command.since:%H:%M} UTC." if case.command.since else "."),
        f"The decision is {case.commander_name}'s. Telephone them if you have something to add.",
        kind=Kind.CONFLICT if moved else Kind.FORBIDDEN,
        facts={"commander": case.commander_name or ""},
    )


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
    they approved it aloud, and a second listener's passkey signed what was heard."""
    request = case.request
    if case.voice is not None:
        return voice.objection(
            case.voice, case.proof, case.passkey, person_id=case.person.id,
            commanded=case.command.person_id is not None, compilers=case.revision.writers,
            nonce=request.nonce, request_id=request.id, digest=case.digest,
            asked_at=request.created_at, decided_at=case.at, site=case.site,
            world=case.revision.world,
        )  # fmt: skip
    signed = decision_challenge(request.nonce, request.id, case.verdict, case.digest)
    return passkey.objection(
        case.proof, case.passkey, person_id=case.person.id, site=case.site, challenge=signed,
        world=case.revision.world,
    )  # fmt: skip


def _facts(case: Case) -> Refusal | None:
    if case.verdict is not Verdict.APPROVED:
        return None
    changed = changed_facts(case.revision.words, case.facts)
    return _lapsed(changed) if changed else None


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


def _lapsed(changed: tuple[str, ...]) -> Refusal:
    return Refusal(
        "facts_changed",
        f"The incident has changed since these words were written ({', '.join(changed)}).",
        "Return it, or have the PIO submit the update again with what is true now.",
        kind=Kind.CONFLICT,
    )
