"""Approval by voice at the desk: codes handed out, what was heard attested, and what the Commander
says of it afterwards. Each order is one ledger transaction; the rule is broadcaster/voice.py's.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from broadcaster.approval import Case, Decision, RequestState, Verdict, objection
from broadcaster.devices import proven
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, approvals, outbox, passkeys, people, releases, voices
from broadcaster.orders import case_of, held_request
from broadcaster.passkey import Json, Site, id_of
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, may_command, require
from broadcaster.update import short_code
from broadcaster.voice import (
    LONGEST_CHANNEL,
    Code,
    Heard,
    Settled,
    Voice,
    attestation,
    handing_out,
    hashed,
    settlement,
    spoken,
)
from broadcaster.world import Frozen


class Attest(Frozen):
    """I heard this Commander approve these words aloud."""

    request_id: str
    digest: str
    commander_id: str
    reader_id: str
    code: Annotated[str, Field(max_length=40)]
    radio: Annotated[str, Field(max_length=LONGEST_CHANNEL)]
    heard_at: AwareDatetime
    idempotency_key: Annotated[str, Field(min_length=8, max_length=100)]
    #: What the listener's passkey answered to `voice.attestation`.
    proof: dict[str, Any] | None = None


def attest(
    tx: Tx, order: Attest, person: Person, site: Site, *, allowed: bool, practice: bool = False
) -> approvals.KeptDecision | bytes | Refusal:
    """Records an approval that was given aloud; or what the listener's passkey must sign first.

    A refusal is put on the record and given back; raises Refusal where there is no such request.
    `allowed`: the department's setting. `practice`:
    whether a practice person is answered for.
    """
    require(person, Act.READ)
    incident, request = held_request(tx, order.request_id)
    earlier = approvals.decision_of(tx, request.id)
    if earlier is not None and earlier.idempotency_key == order.idempotency_key:
        return earlier
    revision = approvals.revision(tx, request.revision_id)
    commander = people.get(tx, order.commander_id)
    assert revision is not None, "a request's revision is a foreign key"
    if commander is None:
        return Refusal("no_such_person", "There is no such Commander.", "Choose one listed.",
                       field="commander")  # fmt: skip
    code = _code(tx, commander.id, order.code)
    heard = Heard(
        attester_id=person.id, reader_id=order.reader_id, code=spoken(order.code),
        code_id=code.id if code else "", radio=order.radio.strip(), at=order.heard_at,
    )  # fmt: skip
    meant = request.challenge(Verdict.APPROVED, order.digest, incident.incident.command.epoch)
    signed = attestation(meant, code, heard) if code else b""
    proof = order.proof
    if proof is None and practice and code:
        proof = passkeys.practice_answer(tx, person.id, site=site, challenge=signed)
    key = passkeys.get(tx, id_of(proof), lock=True)
    case = replace(
        case_of(tx, incident, request, revision, commander, site, digest=order.digest,
                proof=proof, key=key),
        voice=Voice(
            allowed=allowed, heard=heard, code=code, decision_id=None,
            reader=people.get(tx, heard.reader_id), locks=passkeys.locks_of(tx, commander.id),
        ),
    )  # fmt: skip
    refusal = objection(case)
    if refusal is not None and refusal.code == "passkey_missing":
        return signed
    if refusal := refusal or passkeys.counted(tx, key, proof):
        if refusal.code == "code_wrong":
            voices.said_wrong(tx, commander.id, actor=person.id)
        tx.record(Kind.DECISION_REFUSED, actor=person.id, incident_id=request.incident_id,
                  request_id=request.id, verdict=str(Verdict.APPROVED), code=refusal.code,
                  digest=order.digest[:64], by_voice_of=commander.id)  # fmt: skip
        return refusal
    return _approved(tx, case, heard, order.idempotency_key)


def _approved(tx: Tx, case: Case, heard: Heard, idempotency_key: str) -> approvals.KeptDecision:
    """The Commander's decision, proven with the listener's passkey; the gate is called."""
    request = case.request
    decision = Decision(
        id=str(uuid.uuid4()), request_id=request.id, person_id=case.person.id,
        verdict=Verdict.APPROVED, digest=case.digest, reason=None, at=tx.now,
    )  # fmt: skip
    recorded = approvals.add_decision(tx, decision, case.command, idempotency_key, case.proof)
    voices.add(tx, decision.id, heard)
    approvals.end_request(tx, request, RequestState.APPROVED, None)
    outbox.decision_recorded(tx, decision.id, request.incident_id)
    tx.record(Kind.DECISION_RECORDED, actor=case.person.id, incident_id=request.incident_id,
              decision_id=decision.id, request_id=request.id, verdict=str(decision.verdict),
              digest=decision.digest, code=short_code(decision.digest), epoch=case.command.epoch,
              passkey_id=id_of(case.proof), attester=heard.attester_id, reader=heard.reader_id,
              radio=heard.radio, heard_at=heard.at.isoformat())  # fmt: skip
    return recorded


def settle(
    tx: Tx, decision_id: str, settled: Settled, proof: Json | None, person: Person, site: Site
) -> Refusal | None:
    """Ratifies an approval by voice, or repudiates it, which stops its release as Stop does."""
    signed = to_sign(tx, decision_id, settled, person)
    if not isinstance(signed, bytes):
        return signed
    if refusal := proven(tx, proof, person, site, signed, "what you say of this approval"):
        return refusal
    voices.settle(tx, decision_id, settled)
    decided = approvals.decision(tx, decision_id)
    kept = approvals.request(tx, decided.decision.request_id) if decided else None
    assert kept is not None, "it was just signed for"
    request = kept.request
    release = releases.of_revision(tx, request.revision_id)
    tx.record(Kind.VOICE_SETTLED, actor=person.id, incident_id=request.incident_id,
              decision_id=decision_id, request_id=request.id, settled=str(settled),
              passkey_id=id_of(proof))  # fmt: skip
    if settled is Settled.REPUDIATED and release and releases.stop(tx, release.id):
        tx.record(Kind.RELEASE_STOPPED, actor=person.id, incident_id=request.incident_id,
                  release_id=release.id)  # fmt: skip
    tx.changed("board", f"incident:{request.incident_id}", f"request:{request.id}",
               *([f"release:{release.id}"] if release else []))  # fmt: skip
    return None


def to_sign(tx: Tx, decision_id: str, settled: Settled, person: Person) -> bytes | Refusal | None:
    """What the Commander's passkey signs to say this of an approval by voice, whose request is
    held; None where they have said it."""
    decided = approvals.decision(tx, decision_id)
    if decided is None or voices.of_decision(tx, decision_id) is None:
        return Refusal("not_by_voice", "There is no such approval by voice.",
                       "Open it from its request.", kind=Sort.NOT_FOUND)  # fmt: skip
    request = approvals.lock_request(tx, decided.decision.request_id)
    kept = voices.of_decision(tx, decision_id)
    assert request is not None and kept is not None, "a decision's request is a foreign key"
    if person.id != decided.decision.person_id:
        return Refusal("not_the_commander", "It was approved in another Commander's name.",
                       "They ratify it, or repudiate it.", kind=Sort.FORBIDDEN)  # fmt: skip
    if kept.settled is not None:
        return None if kept.settled is settled else Refusal(
            f"already_{kept.settled}", f"You have {kept.settled} it already.",
            "Stop it, or submit a correction.", kind=Sort.CONFLICT,
        )  # fmt: skip
    return settlement(request.request.nonce, decision_id, decided.decision.digest, settled)


def hand_out(tx: Tx, person: Person, proof: Json | None, site: Site) -> list[str] | Refusal:
    """New codes for whoever may command, by their own passkey; shown this once."""
    if not may_command(person):
        return Refusal("cannot_command", "Only Commanders approve aloud.",
                       "Have the roster changed first.", kind=Sort.FORBIDDEN)  # fmt: skip
    signed = handing_out(person.id, voices.newest(tx, person.id))
    refusal = proven(tx, proof, person, site, signed, "this list of codes")
    return refusal or voices.issue(tx, person.id, actor=person.id)


def _code(tx: Tx, person_id: str, said: str) -> Code | None:
    """The code of a person that was said; a set has one salt, so it is hashed once."""
    several = voices.standing(tx, person_id)
    found = hashed(spoken(said), several[0].salt) if several else ""
    return next((each for each in several if each.hash == found), None)
