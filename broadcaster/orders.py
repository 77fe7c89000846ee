"""What people order at the desk, each one ledger transaction: submit, decide, renew, stop.

An order may be refused; what it leaves behind is a fact and cannot be. The pages and the API call
these and nothing else, so that a rule is kept wherever the order comes from.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from broadcaster.approval import (
    AnyRelease,
    ApprovalRequest,
    Assent,
    Case,
    Decision,
    RequestState,
    Routine,
    Verdict,
    assent_objection,
    objection,
    policy_objection,
    request_digest,
)
from broadcaster.authority import Authority, Content, content_of
from broadcaster.authority import objection as authority_objection
from broadcaster.channel import AnyChannel
from broadcaster.devices import count_failure
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.fallback import Entered
from broadcaster.guideline import about_an_incident
from broadcaster.handover import How, commander_name, locked, move
from broadcaster.incident import NAMESPACE, Incident
from broadcaster.informing import State
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    attempts,
    authorities,
    exercises,
    fallbacks,
    guidelines,
    incidents,
    outbox,
    passkeys,
    people,
    pictures,
    posts,
    releases,
    reply_decisions,
    request_changes,
)
from broadcaster.media import MOST_PICTURES, Digest, Picture, described
from broadcaster.passkey import Json, Passkey, Site, id_of, may_be_copied
from broadcaster.policy import screen
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, require
from broadcaster.update import (
    EXPIRES_AFTER,
    LONGEST_EXPIRY,
    SLOT,
    Change,
    Origin,
    Rendering,
    Revision,
    UpdateKind,
    Words,
    changed_facts,
    clean,
    compose,
    is_over,
    lapses_by,
    render,
    retraction_of,
    retraction_text,
    short_code,
    unfilled,
)
from broadcaster.world import Frozen

#: The most that a reason for a soft finding may hold.
LONGEST_REASON = 500


class ShowPicture(Frozen):
    """An uploaded picture, and what it shows, told to who cannot see it."""

    digest: Digest
    alt: Annotated[str, Field(max_length=20_000)] = ""


class SubmitRevision(Frozen):
    """Put these words before the Commander."""

    incident_id: str
    kind: UpdateKind = UpdateKind.UPDATE
    words: Words
    #: The common text; empty: composed from the words.
    text: Annotated[str, Field(max_length=20_000)] = ""
    #: A channel's own text, where it differs.
    own_texts: dict[str, str] = Field(default_factory=dict)
    channels: tuple[str, ...]
    #: Shown on the channels that show any; the others say the words alone.
    pictures: Annotated[tuple[ShowPicture, ...], Field(max_length=MOST_PICTURES)] = ()
    #: Releases that this one takes the place of, where a channel has not sent them yet.
    replaces: tuple[str, ...] = ()
    corrects: str | None = None
    expires_at: AwareDatetime | None = None
    #: The update that this is a new wording of; None begins the incident's next one.
    update_id: str | None = None
    #: The compiler's own statement: no danger to the investigation or to anybody (389.5).
    attested: bool = False
    #: Of a notice, their statement that it is about no open incident (389.4.1).
    no_open_incident: bool = False
    #: Why to go on in spite of a soft finding, by the rule's id; others are not kept.
    policy_reasons: dict[str, Annotated[str, Field(max_length=LONGEST_REASON)]] = Field(
        default_factory=dict
    )


class Decide(Frozen):
    """One person's decision about the words that their page showed."""

    request_id: str
    verdict: Verdict
    revision_id: str
    digest: str
    reason: Annotated[str, Field(max_length=1000)] | None = None
    idempotency_key: Annotated[str, Field(min_length=8, max_length=100)]
    #: What the person's passkey answered to `passkey.decision_challenge` (WebAuthn's
    #: AuthenticationResponseJSON).
    proof: dict[str, Any] | None = None
    #: The digest of the changed facts that the page showed: these words are kept, knowing them.
    keeps: Annotated[str, Field(min_length=64, max_length=64)] | None = None


@dataclass(frozen=True)
class Submitted:
    """What a submission left: the revision, and the request that waits."""

    revision: Revision
    request: ApprovalRequest


def submit_revision(
    tx: Tx, order: SubmitRevision, person: Person, channels: Sequence[AnyChannel],
    *, contact: str = "",
) -> Submitted:  # fmt: skip
    """Fixes a wording and asks for its approval. Raises Refusal; nothing is kept then.

    `contact`: the department's own, which words may always say (broadcaster.policy).
    """
    exercises.require_running(tx)
    incident = locked(tx, order.incident_id).incident
    require(person, writing(incident))
    content = content_of(order.kind, incident_open=incident.open, notice=bool(incident.notice))
    authority, lapsed = _authorized(tx, person, content)
    chosen = _chosen(tx, order, channels)
    _still_true(changed_facts(order.words, incident.facts))
    _nothing_else_waits(tx, order, person)
    update_id, number = _update(tx, order)
    text = order.text.strip() or compose(order.words)
    if order.kind is UpdateKind.ALL_CLEAR:
        _says_how_it_ended(order.words, text)
    filled({"text": text} | {f"text_{name}": own for name, own in order.own_texts.items()})
    expires_at = _expiry(order, tx.now)
    area = area_of(order.words)
    shown = _pictures(tx, order.pictures)
    renderings = render(tx.world, chosen, order.words, text, order.own_texts, shown)
    retraction = (
        ()
        if order.kind is UpdateKind.RETRACTION
        else render(tx.world, chosen, order.words, retraction_text(order.words, number), {})
    )
    reasons = {rule: clean(why, f"reason_{rule}") for rule, why in order.policy_reasons.items()}
    findings = screen(order.words, renderings, contact=contact, alts=[each.alt for each in shown])
    if refusal := policy_objection(findings, reasons, attested=order.attested):
        refusal.field = _typed_in(refusal.field, order)
        raise refusal
    if incident.notice:
        _about_no_incident(tx, order, area, renderings)
    revision = Revision(
        id=str(uuid.uuid4()),
        update_id=update_id,
        incident_id=incident.id,
        world=tx.world,
        kind=order.kind,
        number=number,
        area=area,
        channels=tuple(channel.name for channel in chosen),
        renderings=renderings,
        media=tuple(each.digest for each in shown),
        replaces=_releases_of(tx, incident.id, order.replaces, "replaces"),
        corrects=_corrected(tx, incident.id, order),
        expires_at=expires_at,
        words=order.words,
        compiled_by=person.id,
        compiled_at=approvals.after_the_last(tx, update_id),
        attested=order.attested,
        no_open_incident=order.no_open_incident,
        policy_reasons={each.rule: reasons[each.rule] for each in findings},
        incident_open=incident.open,
        retraction=retraction,
    )
    approvals.add_revision(tx, revision)
    tx.trace = incidents.trace(tx, incident.id)
    request = approvals.open_request(tx, revision, incident.command)
    tx.record(
        Kind.REVISION_SUBMITTED,
        actor=person.id,
        incident_id=incident.id,
        revision_id=revision.id,
        request_id=request.id,
        number=number,
        update_kind=str(order.kind),
        digest=revision.digest,
        channels=list(revision.channels),
        pictures=list(revision.media) or None,
        replaces=list(revision.replaces),
        expires_at=expires_at.isoformat(),
        attested=revision.attested,
        no_open_incident=revision.no_open_incident or None,
        reasons_for=list(revision.policy_reasons),
        content=str(content),
        authority_id=authority.id,
        training_lapsed=lapsed or None,
        private={f"text_{r.channel}": r.text for r in revision.renderings}
        | alts_told(revision)
        | {f"reason_{rule}": why for rule, why in revision.policy_reasons.items()},
    )
    return Submitted(revision, request)


def _pictures(tx: Tx, wanted: Sequence[ShowPicture]) -> tuple[Picture, ...]:
    """The pictures as they are kept, described. Raises Refusal."""
    found = []
    for each in wanted:
        image = pictures.image(tx, each.digest)
        if image is None:
            raise Refusal(
                "no_such_picture", "This picture was not uploaded here.",
                "Add it again.", field="picture",
            )  # fmt: skip
        # One line, as it stands where there is room for no more.
        found.append(described(image, " ".join(clean(each.alt, "alt").split())))
    return tuple(found)


def alts_told(revision: Revision) -> dict[str, str]:
    """What is said of the pictures, for the record's private fields: it is free text."""
    return {f"alt_{each.digest[:8]}": each.alt for each in revision.pictures}


def writing(incident: Incident) -> Act:
    """What it takes to write about this, beside the Chief's authority."""
    return Act.WRITE_NOTICE if incident.notice else Act.COMPILE


def _about_no_incident(
    tx: Tx, order: SubmitRevision, area: str, renderings: Sequence[Rendering]
) -> None:
    """Raises Refusal where words are about an open incident, or nobody states otherwise."""
    texts = [area, *(f"{each.headline} {each.text}" for each in renderings)]
    several = guidelines.open_incidents(tx)
    if refusal := about_an_incident(texts, several, stated=order.no_open_incident):
        raise refusal


def withdraw_request(tx: Tx, request_id: str, person: Person) -> None:
    """Takes a submission back while nobody has decided. Raises Refusal."""
    about, kept = held_request(tx, request_id)
    require(person, writing(about.incident))
    if kept.state is not RequestState.OPEN:
        raise Refusal(
            f"already_{kept.state}", f"This request is already {kept.state}.",
            "Look at the incident's page for what stands now.", kind=Sort.CONFLICT,
        )  # fmt: skip
    approvals.end_request(tx, kept, RequestState.WITHDRAWN, f"{person.name} took it back.")
    tx.record(Kind.REQUEST_WITHDRAWN, actor=person.id, incident_id=kept.incident_id,
              request_id=kept.id)  # fmt: skip


def renew_request(tx: Tx, request_id: str, person: Person) -> ApprovalRequest:
    """Asks again for the same words after the time to decide ran out. Raises Refusal."""
    exercises.require_running(tx)
    about, old = held_request(tx, request_id)
    incident = about.incident
    require(person, writing(incident))
    ran_out = old.state is RequestState.OPEN and old.expires_at <= tx.now
    if old.state is not RequestState.EXPIRED and not ran_out:
        raise Refusal(
            "not_expired",
            f"This request is {old.state}; only one whose time ran out can be renewed.",
            "Submit the update again instead.",
            kind=Sort.CONFLICT,
        )
    if ran_out:
        expire_request(tx, old)
    if approvals.open_requests(tx, old.incident_id):
        raise _something_waits()
    revision = approvals.revision(tx, old.revision_id)
    assert revision is not None, "a request's revision is a foreign key"
    if approvals.head_revision_id(tx, revision.update_id) != revision.id or (
        releases.of_revision(tx, revision.id) is not None
    ):
        raise Refusal(
            "not_newest", "A newer wording of this update exists.",
            "Open the incident and submit that one.", kind=Sort.CONFLICT,
        )  # fmt: skip
    content = content_of(revision.kind, incident_open=incident.open, notice=bool(incident.notice))
    authority, lapsed = _authorized(tx, person, content)
    _still_true(lapses_by(revision, incident.facts))
    approvals.renewed(tx, old)
    request = approvals.open_request(tx, revision, incident.command)
    tx.record(Kind.REQUEST_RENEWED, actor=person.id, incident_id=incident.id,
              request_id=request.id, renews=old.id, digest=request.digest,
              content=str(content), authority_id=authority.id,
              training_lapsed=lapsed or None)  # fmt: skip
    return request


def expire_request(tx: Tx, kept: ApprovalRequest) -> None:
    """Notes that nobody decided in time."""
    why = "Nobody decided within the time; it can be renewed by one button."
    approvals.end_request(tx, kept, RequestState.EXPIRED, why)
    tx.record(Kind.REQUEST_EXPIRED, actor="sweep", incident_id=kept.incident_id,
              request_id=kept.id)  # fmt: skip


def decide(
    tx: Tx, order: Decide, person: Person, site: Site, *, seal: str | None = None,
    device_bound: bool = False,
) -> approvals.KeptDecision | Assent | Refusal:  # fmt: skip
    """Records a decision, or puts the refusal on the record and gives it back. Raises Refusal where
    there is no such request. `seal`: of PIN and code, where they prove it instead of a passkey.

    The same idempotency key with the same body gets the first answer again. A Watch Commander
    who decides where no command is recorded takes command by deciding. Where both Commanders must
    approve, the first one's approval is an assent: the request stays open for the other's. Who
    compiled a notice approves it on the word of the Chief's guideline that covers it (389.3).
    `device_bound`: whether no passkey is taken that its maker copies, but for who is excepted.
    """
    incident, request = held_request(tx, order.request_id)
    reason = clean(order.reason, "reason") if order.reason else None
    if sent := assents.sent(tx, request.id, person.id, order.idempotency_key):
        assent, same = sent
        return assent if same == _digest_of(order, reason) else _key_reused()
    if earlier := approvals.decision_of(tx, request.id):
        return _again(order, reason, person, earlier)
    revision = approvals.revision(tx, request.revision_id)
    assert revision is not None, "a request's revision is a foreign key"
    command = incident.incident.command
    key = passkeys.get(tx, id_of(order.proof), lock=True)
    case = case_of(
        tx, incident, request, revision, person, site, verdict=order.verdict,
        digest=order.digest if order.revision_id == revision.id else "", reason=reason,
        proof=order.proof, key=key, keeps=order.keeps, entered=fallbacks.entered(tx, seal),
        device_bound=device_bound,
    )  # fmt: skip
    own = person.id == revision.compiled_by and order.verdict is Verdict.APPROVED
    if own and (it := guidelines.covering(tx, incident.incident, revision)):
        case = replace(case, by_guideline=True, guideline=it)
    refusal = objection(case)
    if refusal is None and case.entered is None:
        refusal = passkeys.counted(tx, key, order.proof)
    completes = command.both and order.verdict is Verdict.APPROVED
    if refusal is None and completes:
        if case.assent is None and case.entered is not None:
            refusal = _first_by_passkey()
        elif case.assent is None:
            return _assented(tx, case, order, reason, device_bound)
        elif case.assent.person_id == person.id:
            return _assented_already()
        elif refusal := assent_objection(case):
            _end_assent(tx, request, case.assent, "not proven any more", actor=person.id)
    if refusal is not None:
        tx.record(Kind.DECISION_REFUSED, actor=person.id, incident_id=request.incident_id,
                  request_id=request.id, verdict=str(order.verdict), code=refusal.code,
                  digest=order.digest[:64])  # fmt: skip
        count_failure(tx, refusal, person)
        return refusal
    if case.command.person_id is None and not case.command.routine:
        command = move(tx, incident.incident, [person.id], How.TAKEN, actor=person.id)
    decision = Decision(
        id=str(uuid.uuid4()), request_id=request.id, person_id=person.id, verdict=order.verdict,
        digest=order.digest, reason=reason, at=tx.now, keeps=order.keeps,
        assent_id=case.assent.id if case.assent and completes else None,
        guideline_id=case.guideline.id if case.guideline else None,
    )  # fmt: skip
    kept_facts = lapses_by(revision, case.facts) if order.keeps else ()
    recorded = approvals.add_decision(
        tx, decision, case.command, order.idempotency_key, order.proof, seal
    )
    approvals.end_request(tx, request, RequestState(order.verdict.value), reason)
    if order.verdict is Verdict.APPROVED:
        outbox.decision_recorded(tx, decision.id, request.incident_id)
    tx.record(Kind.DECISION_RECORDED, actor=person.id, incident_id=request.incident_id,
              decision_id=decision.id, request_id=request.id, verdict=str(order.verdict),
              digest=decision.digest, code=short_code(decision.digest), epoch=command.epoch,
              passkey_id=id_of(order.proof), assent_id=decision.assent_id,
              excepted_by=_excepted_by(tx, person, order.proof, device_bound),
              after=case.assent.person_id if case.assent and completes else None,
              fallback_id=case.entered.allowance.id if case.entered else None,
              guideline_id=decision.guideline_id,
              clause=case.guideline.clause if case.guideline else None,
              topic=str(case.guideline.topic) if case.guideline else None,
              keeps=[change.name for change in kept_facts] if order.keeps else None,
              private={"reason": reason} | changes_told(kept_facts))  # fmt: skip
    return recorded


def _assented(tx: Tx, case: Case, order: Decide, reason: str | None, device_bound: bool) -> Assent:
    """The first of two Commanders' approvals; the other is called on."""
    request, person = case.request, case.person
    assert case.proof is not None, "it was proven"
    assent = Assent(
        id=str(uuid.uuid4()), request_id=request.id, person_id=person.id, nonce=request.nonce,
        digest=case.digest, keeps=case.keeps, epoch=case.command.epoch, at=tx.now,
        proof=case.proof,
    )  # fmt: skip
    assents.add(tx, assent, order.idempotency_key, _digest_of(order, reason))
    request_changes.note(tx, request.id, State.ASSENTED)
    kept_facts = lapses_by(case.revision, case.facts) if case.keeps else ()
    tx.record(Kind.ASSENT_GIVEN, actor=person.id, incident_id=request.incident_id,
              request_id=request.id, assent_id=assent.id, digest=assent.digest,
              code=short_code(assent.digest), epoch=assent.epoch, passkey_id=id_of(assent.proof),
              excepted_by=_excepted_by(tx, person, order.proof, device_bound),
              keeps=[change.name for change in kept_facts] if case.keeps else None,
              private={"reason": reason} | changes_told(kept_facts))  # fmt: skip
    tx.changed("board", "calls", f"incident:{request.incident_id}", f"request:{request.id}")
    return assent


def _excepted_by(tx: Tx, person: Person, proof: Json | None, device_bound: bool) -> str | None:
    """Who excepted a person from approved equipment, where that let a copied passkey decide."""
    if not device_bound or proof is None or not may_be_copied(proof):
        return None
    exemption = authorities.excepted(tx, person.id, tx.now)
    return exemption.granted_by if exemption else None


def withdraw_assent(tx: Tx, request_id: str, person: Person) -> None:
    """A Commander takes back the approval that waits for the other's. Raises Refusal.

    No passkey: it can only keep words back. What they signed proves nothing any more.
    """
    incident, request = held_request(tx, request_id)
    revision = approvals.revision(tx, request.revision_id)
    assert revision is not None, "a request's revision is a foreign key"
    assent = assents.waiting(tx, request, incident.incident, revision)
    if assent is None or assent.person_id != person.id:
        raise Refusal(
            "not_assented", "No approval of yours waits here for another Commander's.",
            "Reload the page for what stands now.", kind=Sort.CONFLICT,
        )  # fmt: skip
    _end_assent(tx, request, assent, "taken back", actor=person.id)


def _end_assent(tx: Tx, request: ApprovalRequest, assent: Assent, how: str, *, actor: str) -> None:
    """Both are asked again."""
    assents.end(tx, request, assent, by=actor)
    request_changes.note(tx, request.id, State.ASSENT_ENDED)
    tx.record(Kind.ASSENT_ENDED, actor=actor, incident_id=request.incident_id,
              request_id=request.id, assent_id=assent.id, given_by=assent.person_id,
              how=how)  # fmt: skip


def take_back(tx: Tx, release_id: str, person: Person) -> Submitted:
    """Orders the retraction that was approved with a release, where that is out. Raises Refusal.

    No passkey and nobody's approval: its words were in the digest that the Commander signed, and
    the gate releases these alone. What had not begun is not sent any more.
    """
    require(person, Act.TAKE_BACK)
    exercises.require_running(tx)
    found, incident, base = _held_release(tx, release_id)
    id_ = str(uuid.uuid5(NAMESPACE, f"retraction\0{release_id}"))
    if approvals.revision(tx, id_) is not None:
        raise Refusal(
            "already_taken_back", "This was taken back already.",
            "Look at the incident's page for what stands now.", kind=Sort.CONFLICT,
        )  # fmt: skip
    out = to_take_back(tx, posts.of_release(tx, release_id))
    if not out or not base.retraction:
        raise Refusal(
            "nothing_to_take_back",
            "Nothing of this is out." if not out else "No retraction was prepared with it.",
            "Press Stop: what has not begun is then not sent." if not out
            else "Write a retraction, and have it approved.",
            kind=Sort.CONFLICT,
        )  # fmt: skip
    number = approvals.next_number(tx, found.incident_id)
    update_id = approvals.add_update(tx, found.incident_id, number, UpdateKind.RETRACTION)
    revision = retraction_of(base, release_id, out, id=id_, update_id=update_id, number=number,
                             compiled_at=tx.now)  # fmt: skip
    approvals.add_revision(tx, revision)
    tx.trace = incidents.trace(tx, found.incident_id)
    command = incident.incident.command
    request = approvals.open_request(tx, revision, command)
    approvals.end_request(tx, request, RequestState.APPROVED, None)
    decision = Decision(
        id=str(uuid.uuid4()), request_id=request.id, person_id=person.id,
        verdict=Verdict.APPROVED, digest=revision.digest, reason=None, at=tx.now,
    )  # fmt: skip
    approvals.add_decision(tx, decision, command, id_, None)
    outbox.decision_recorded(tx, decision.id, found.incident_id)
    tx.record(Kind.RETRACTION_ORDERED, actor=person.id, incident_id=found.incident_id,
              release_id=release_id, revision_id=revision.id, prepared_in=base.id,
              request_id=request.id, decision_id=decision.id, number=number,
              digest=revision.digest, channels=list(revision.channels),
              private={f"text_{r.channel}": r.text for r in revision.renderings})  # fmt: skip
    return Submitted(revision, request)


def to_take_back(tx: Tx, several: Sequence[posts.Kept]) -> list[str]:
    """The channels that take a release back, of its posts; none where nothing of it can be out.

    Those, too, where it may begin before the gate has the order: where it then did not, nothing is
    taken back.
    """
    if not attempts.may_be_out(tx, several):
        return []
    return [post.channel for post in several if post.state.stands_or_may]


def ask_to_keep(tx: Tx, release_id: str, person: Person) -> ApprovalRequest:
    """Asks the Commander whether what is held of a release may go as it stands. Raises Refusal.

    A request for the same words: what is signed is that they are kept, knowing what has changed.
    """
    if not person.may(Act.DECIDE):
        require(person, Act.COMPILE)
    exercises.require_running(tx)
    found, incident, revision = _held_release(tx, release_id)
    changes = lapses_by(revision, facts_of(incident))
    held = attempts.held_to_go(tx, posts.of_release(tx, release_id))
    if not held or releases.stopped_at(tx, release_id) or is_over(changes):
        raise Refusal(
            "nothing_to_keep", "Nothing is held of this release that the Commander could let go.",
            "Look at what stands on its page, and submit an update with what is true now.",
            kind=Sort.CONFLICT,
        )  # fmt: skip
    if approvals.open_requests(tx, found.incident_id):
        raise _something_waits()
    tx.trace = incidents.trace(tx, found.incident_id)
    request = approvals.open_request(tx, revision, incident.incident.command)
    tx.record(Kind.KEEP_ASKED, actor=person.id, incident_id=found.incident_id,
              request_id=request.id, release_id=release_id, digest=request.digest,
              changed=[change.name for change in changes],
              private=changes_told(changes))  # fmt: skip
    return request


def changes_told(changes: Sequence[Change]) -> dict[str, str]:
    """What changed, for the record's private fields: a place is nobody's until it is released."""
    return {"changes": "; ".join(change.in_words for change in changes)} if changes else {}


def practised(tx: Tx, order: Decide, person: Person, site: Site) -> Decide:
    """The order, proven with the practice passkey of a practice person who used no other."""
    signed = challenge_of(tx, order)
    if order.proof is not None or signed is None:
        return order
    proof = passkeys.practice_answer(tx, person.id, site=site, challenge=signed)
    return order.model_copy(update={"proof": proof})


def challenge_of(tx: Tx, order: Decide) -> bytes | None:
    """What a passkey signs for this decision; None: there is no such request.

    Under the command as it is now; of one that is made already, under which it was.
    """
    kept = approvals.request(tx, order.request_id)
    about = incidents.get(tx, kept.request.incident_id) if kept else None
    if kept is None or about is None:
        return None
    earlier = approvals.decision_of(tx, order.request_id)
    epoch = (earlier.command if earlier else about.incident.command).epoch
    return kept.request.challenge(order.verdict, order.digest, epoch, order.keeps)


def stop_release(tx: Tx, release_id: str, person: Person) -> datetime:
    """Keeps back whatever of a release has not begun to be sent; answers since when.

    Raises Refusal. One tap and no passkey: it can only take words back, and seconds count. What is
    out, or under way, stays so, and is corrected or retracted.
    """
    release = releases.get(tx, release_id)
    about = incidents.get(tx, release.incident_id) if release else None
    require(person, Act.WRITE_NOTICE if about and about.incident.notice else Act.STOP)
    if release is None:
        raise no_such_release()
    if releases.stop(tx, release_id):
        tx.record(Kind.RELEASE_STOPPED, actor=person.id, incident_id=release.incident_id,
                  release_id=release_id)  # fmt: skip
    return releases.stopped_at(tx, release_id) or tx.now


def case_of(
    tx: Tx, incident: incidents.Kept, request: ApprovalRequest, revision: Revision, person: Person,
    site: Site, *, digest: str, verdict: Verdict = Verdict.APPROVED, reason: str | None = None,
    proof: Json | None = None, key: Passkey | None = None, keeps: str | None = None,
    entered: Entered | None = None, device_bound: bool = False,
) -> Case:  # fmt: skip
    """What a person who decides now is judged by."""
    command = incident.incident.command
    assent = assents.given(tx, request, command, keeps)
    return Case(
        request=request, revision=revision,
        head_revision_id=approvals.head_revision_id(tx, revision.update_id), person=person,
        verdict=verdict, digest=digest, reason=reason, command=command,
        commander_name=commander_name(tx, command), facts=facts_of(incident), at=tx.now,
        proof=proof, passkey=key, site=site, keeps=keeps, assent=assent,
        assent_passkey=passkeys.get(tx, id_of(assent.proof)) if assent else None,
        routine=routine_of(tx, incident.incident, revision), entered=entered,
        device_bound=authorities.bound(tx, person.id, tx.now, device_bound=device_bound),
        assent_bound=assent is not None
        and authorities.bound(tx, assent.person_id, assent.at, device_bound=device_bound),
        taken_back=assents.taken_back(tx, request),
    )  # fmt: skip


def routine_of(tx: Tx, incident: Incident, revision: Revision) -> Routine | None:
    """What a notice is judged by beside its words; None: it is none."""
    if incident.notice is None:
        return None
    compiler = people.get(tx, revision.compiled_by)
    assert compiler is not None, "a revision's compiler is a foreign key"
    return Routine(
        topic=incident.notice, open_incidents=guidelines.open_incidents(tx), compiler=compiler,
        held=authorities.standing(tx, compiler.id),
    )  # fmt: skip


def in_its_place(tx: Tx, request: ApprovalRequest) -> ApprovalRequest | None:
    """The newer request that waits in another one's place: for the same update, else for the same
    incident."""
    newer = [
        each.request
        for each in approvals.open_requests(tx, request.incident_id)
        if each.request.id != request.id and each.request.created_at >= request.created_at
    ]
    mine = approvals.revision(tx, request.revision_id)
    for each in newer:
        theirs = approvals.revision(tx, each.revision_id)
        if mine and theirs and theirs.update_id == mine.update_id:
            return each
    return newer[-1] if newer else None


def facts_of(kept: incidents.Kept) -> dict[str, str | None]:
    """What an incident's facts are now, for telling whether words still hold."""
    return kept.incident.facts


def name_of(tx: Tx, person_id: str | None) -> str | None:
    person = people.get(tx, person_id) if person_id else None
    return person.name if person else None


def _again(
    order: Decide, reason: str | None, person: Person, earlier: approvals.KeptDecision
) -> approvals.KeptDecision | Refusal:
    """The answer to a decision on a request that has one already."""
    same_key = earlier.idempotency_key == order.idempotency_key
    if same_key and earlier.decision.person_id == person.id:
        same = _digest_of(order, reason) == earlier.request_digest
        return earlier if same else _key_reused()
    return Refusal(
        f"already_{earlier.decision.verdict}",
        f"This update was already {earlier.decision.verdict}.",
        "Look at the incident's page for what stands now.",
        kind=Sort.CONFLICT,
        facts={"verdict": str(earlier.decision.verdict)},
    )


def _digest_of(order: Decide, reason: str | None) -> str:
    return request_digest(order.request_id, order.verdict, order.digest, reason, order.keeps)


def _key_reused() -> Refusal:
    return Refusal(
        "key_reused", "This idempotency key came before with another decision.",
        "Use a new key for a new decision.", field="idempotency_key",
    )  # fmt: skip


def _first_by_passkey() -> Refusal:
    return Refusal(
        "first_by_passkey", "Of two Commanders the first approves by passkey.",
        "Have the other Commander approve first, or the PIO record that either may.",
        kind=Sort.CONFLICT,
    )  # fmt: skip


def _assented_already() -> Refusal:
    return Refusal(
        "already_assented", "You have approved this already; the other Commander must, too.",
        "Telephone them if it is urgent.", kind=Sort.CONFLICT,
    )  # fmt: skip


def _authorized(tx: Tx, person: Person, content: Content) -> tuple[Authority, list[str]]:
    """By which authority a person posts this, and in what they are no longer trained (389.3, .8).

    Raises Refusal where they may not. In an active incident lapsed training holds nothing back:
    it stands on the record.
    """
    held = authorities.standing(tx, person.id)
    if refusal := authority_objection(person, held, content, tx.now):
        raise refusal
    authority = held.authority(content, tx.now)
    assert authority is not None, "there was no objection"
    return authority, [str(subject) for subject in held.lapsed(tx.now)]


def held_request(tx: Tx, request_id: str) -> tuple[incidents.Kept, ApprovalRequest]:
    """A request and its incident, both held: what is read from now on stays as it is.

    Raises Refusal where there is none.
    """
    unlocked = approvals.request(tx, request_id)
    if unlocked is None:
        raise no_such_request()
    incident = locked(tx, unlocked.request.incident_id)
    kept = approvals.lock_request(tx, request_id)
    assert kept is not None, "a request is never taken away"
    return incident, kept.request


def _held_release(tx: Tx, release_id: str) -> tuple[AnyRelease, incidents.Kept, Revision]:
    """A release, its incident, held, and its words. Raises Refusal where there is none."""
    found = releases.get(tx, release_id)
    if found is None:
        raise no_such_release()
    incident = locked(tx, found.incident_id)
    revision = approvals.revision(tx, found.revision_id)
    assert revision is not None, "a release's revision is a foreign key"
    return found, incident, revision


def no_such_release() -> Refusal:
    """What whoever names an unknown release is told."""
    return Refusal(
        "no_such_release", "There is no such release.", "Open it from its incident's page.",
        kind=Sort.NOT_FOUND,
    )  # fmt: skip


def no_such_request() -> Refusal:
    """What whoever names an unknown request is told."""
    return Refusal(
        "no_such_request", "There is no such approval request.",
        "Open it from the board, or from the link you were sent.", kind=Sort.NOT_FOUND,
    )  # fmt: skip


def _still_true(changes: Sequence[Change]) -> None:
    """Words whose facts have moved are not put before anybody: the gate would refuse them."""
    if changes:
        what = "; ".join(change.in_words for change in changes)
        raise Refusal(
            "facts_changed",
            f"The incident has changed since these words were begun ({what}).",
            "Look at what is reported now, mend the words where they need it, and send them again.",
            kind=Sort.CONFLICT,
            field=changes[0].name,
        )


def filled(texts: Mapping[str, str]) -> None:
    """A correction says what is right: words with a place still open for it are not sent.

    `texts` by the field that each was typed in. Raises Refusal.
    """
    for field, said in texts.items():
        if unfilled(said):
            raise Refusal(
                "slot_empty", f"The text still holds {SLOT}: something must be written there.",
                "Write what is right in its place.", field=field,
            )  # fmt: skip


def _says_how_it_ended(words: Words, text: str) -> None:
    """An all clear says how it ended, where another update says what to do: in a person's words.

    Raises Refusal.
    """
    how = clean(words.guidance.text, "guidance")
    if not how or unfilled(how) or words.guidance.origin is not Origin.TYPED:
        raise Refusal(
            "slot_empty", "The all clear does not say how it ended.",
            'Write it in a sentence or two, as in "The gas company has closed the line."',
            field="guidance",
        )  # fmt: skip
    if how not in clean(text, "text"):
        raise Refusal(
            "slot_empty", "The text does not say how it ended, as you wrote it above.",
            "Put it into the text, or empty the text to have it composed again.", field="text",
        )  # fmt: skip


def _chosen(tx: Tx, order: SubmitRevision, channels: Sequence[AnyChannel]) -> list[AnyChannel]:
    known = {channel.name: channel for channel in channels}
    unknown = [name for name in order.channels if name not in known]
    if unknown or not order.channels:
        raise Refusal(
            "channel_unknown" if unknown else "channel_missing",
            f"There is no channel {unknown[0]}." if unknown else "No channel is chosen.",
            "Choose at least one of the channels shown.",
            field="channels",
        )
    chosen = [known[name] for name in dict.fromkeys(order.channels)]
    # What puts words right must go wherever they went: where that is off, the attempt holds it.
    if not order.corrects and (off := reply_decisions.off(tx, chosen)):
        titles = " and ".join(known[name].title for name in sorted(off))
        raise Refusal(
            "channel_off",
            f"The public can answer on {titles}, and the Chief has not decided that this is used "
            "all the same (389.5.1).",
            "Leave it out, or ask the Chief (`broadcaster channel allow-replies`).",
            field="channels",
        )
    return chosen


def area_of(words: Words) -> str:
    """Where an update is for. A missing area blocks; it never widens (rule 8). Raises Refusal."""
    area = clean(words.place.text, "place")
    if not area:
        raise Refusal(
            "place_empty", "The update does not say where.",
            "Fill in the place: a street, a block or a crossing.", field="place",
        )  # fmt: skip
    return area


def _expiry(order: SubmitRevision, now: datetime) -> datetime:
    expires_at = order.expires_at or now + EXPIRES_AFTER
    if not now < expires_at <= now + LONGEST_EXPIRY:
        raise Refusal(
            "expiry_invalid",
            f"The update's time must end after now, and within {LONGEST_EXPIRY.days} days.",
            "Choose another end.",
            field="expires_at",
        )
    return expires_at


def _update(tx: Tx, order: SubmitRevision) -> tuple[str, int]:
    if order.update_id is None:
        number = approvals.next_number(tx, order.incident_id)
        return approvals.add_update(tx, order.incident_id, number, order.kind), number
    known = approvals.update_number(tx, order.update_id)
    if known is None or known[0] != order.incident_id:
        raise Refusal(
            "no_such_update", "There is no such update of this incident.",
            "Begin a new one.", kind=Sort.NOT_FOUND, field="update_id",
        )  # fmt: skip
    newest = approvals.head_revision_id(tx, order.update_id)
    if releases.of_revision(tx, newest) is not None:
        raise Refusal(
            "already_released",
            f"Update #{known[1]} is released; its words stand.",
            "Submit a new update or a correction.",
            kind=Sort.CONFLICT,
            field="update_id",
        )
    return order.update_id, known[1]


def _typed_in(field: str | None, order: SubmitRevision) -> str | None:
    """The field to mend: what no channel says in its own words is in those that all share."""
    part, _, channel = (field or "").partition("_")
    if part == "headline":
        return "hazard"
    return "text" if part == "text" and not order.own_texts.get(channel, "").strip() else field


def _nothing_else_waits(tx: Tx, order: SubmitRevision, person: Person) -> None:
    """One request at a time before a Commander; a newer wording takes the old's place."""
    for waiting in approvals.open_requests(tx, order.incident_id):
        tx.trace = waiting.trace
        revision = approvals.revision(tx, waiting.request.revision_id)
        if waiting.request.expires_at <= tx.now:
            expire_request(tx, waiting.request)
        elif revision is not None and revision.update_id == order.update_id:
            why = "A newer wording took its place."
            approvals.end_request(tx, waiting.request, RequestState.WITHDRAWN, why)
            tx.record(
                Kind.REQUEST_WITHDRAWN,
                actor=person.id,
                incident_id=order.incident_id,
                request_id=waiting.request.id,
            )
        else:
            raise _something_waits()


def _something_waits() -> Refusal:
    return Refusal(
        "request_open",
        "Another update of this incident is waiting for the Commander.",
        "Wait for the decision, or take that submission back first.",
        kind=Sort.CONFLICT,
    )


def _releases_of(tx: Tx, incident_id: str, wanted: Sequence[str], field: str) -> tuple[str, ...]:
    known = {release.id for release in releases.of_incident(tx, incident_id)}
    if any(release_id not in known for release_id in wanted):
        raise Refusal(
            "no_such_release", "This incident has no such release.",
            "Choose among the earlier updates shown.", field=field,
        )  # fmt: skip
    return tuple(dict.fromkeys(wanted))


def _corrected(tx: Tx, incident_id: str, order: SubmitRevision) -> str | None:
    needs = order.kind in (UpdateKind.CORRECTION, UpdateKind.RETRACTION)
    if needs and not order.corrects:
        raise Refusal(
            "corrects_missing",
            f"A {order.kind} says which earlier update it is about.",
            "Choose the update that was wrong.",
            field="corrects",
        )
    if not order.corrects:
        return None
    [release_id] = _releases_of(tx, incident_id, (order.corrects,), "corrects")
    _goes_where_it_went(tx, release_id, order.channels)
    return release_id


def _goes_where_it_went(tx: Tx, release_id: str, chosen: Collection[str]) -> None:
    """Raises Refusal unless these are exactly the channels on which the wrong words may be read."""
    there = {each.channel for each in posts.of_release(tx, release_id) if each.state.went_out}
    if missing := there - set(chosen):
        raise Refusal(
            "correction_leaves_out",
            f"What was wrong may be read on {', '.join(sorted(missing))}, too.",
            "Choose every channel that it went to.", field="channels",
        )  # fmt: skip
    if beyond := set(chosen) - there:
        raise Refusal(
            "correction_beyond", f"What was wrong never reached {', '.join(sorted(beyond))}.",
            "Leave that channel out, or write an update for it.", field="channels",
        )  # fmt: skip
