"""Who could approve what, and why an update was or was not released, clause by clause.

Read from the ledger alone; nothing here decides anything. The clauses are the policy's (389).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broadcaster.approval import (
    KEPT,
    RELEASED,
    AnyRelease,
    ApprovalRequest,
    Assent,
    Decision,
    RequestState,
    Verdict,
    asked_in_words,
    person_objection,
    policy_objection,
)
from broadcaster.authority import Content, Office, Standing, Subject, abilities, objection
from broadcaster.delivery import PostState
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.fallback import Allowance
from broadcaster.guideline import Guideline
from broadcaster.incident import Incident
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    authorities,
    fallbacks,
    guidelines,
    incidents,
    passkeys,
    people,
    posts,
    records,
    releases,
    roles,
    voices,
)
from broadcaster.orders import case_of
from broadcaster.passkey import Site
from broadcaster.policy import screen
from broadcaster.record import Kind
from broadcaster.roster import Person
from broadcaster.update import Revision, short_code
from broadcaster.voice import Settled

Json = dict[str, Any]


# --- The roster -------------------------------------------------------------------------------


def roster(tx: Tx) -> list[Json]:
    """Everybody: roles, authority, training, devices, and what they may do and approve now."""
    names = _names(tx)
    waiting = [each.request for each in approvals.open_requests(tx)]
    return [_person(tx, each, names, waiting) for each in people.everybody(tx)]


def _person(tx: Tx, person: Person, names: dict[str, str], waiting: list[ApprovalRequest]) -> Json:
    held, devices = authorities.standing(tx, person.id), passkeys.of_person(tx, person.id)
    able = abilities(person, held, devices, tx.now)
    return {
        "id": person.id,
        "name": person.name,
        "roles": sorted(person.roles),
        "left": _stamp(person.left),
        "role_changes": [
            {"roles": sorted(each.roles), "at": _stamp(each.at), "by": names.get(each.by, each.by)}
            for each in roles.changes(tx, person.id)
        ],
        "authority": [
            {"content": str(each.content), "until": _stamp(each.until),
             "granted_by": names.get(each.granted_by, each.granted_by),
             "granted_at": _stamp(each.granted_at)}
            for each in held.authorities if each.holds(tx.now)
        ],
        "training": [_training(held, subject, tx.now) for subject in Subject],
        "exceptions": [
            {"matter": str(each.matter), "until": _stamp(each.until), "reason": each.reason,
             "granted_by": names.get(each.granted_by, each.granted_by)}
            for each in held.exempt(tx.now)
        ],
        **{f"{office.name.lower()}_until": _stamp(until.until) if until else None
           for office in Office for until in [held.office(office, tx.now)]},
        "fallback": {
            "until": _stamp(allowed.until), "reason": allowed.reason,
            "granted_by": names.get(allowed.granted_by, allowed.granted_by),
        } if (allowed := held.fallback(tx.now)) else None,
        "devices": [
            {"name": each.name, "approved": each.approved, "revoked": each.revoked,
             "synced": each.synced, "practice": each.practice}
            for each in devices
        ],
        "released_without_approval": [
            {"guideline_id": each.id, "clause": each.clause, "topic": str(each.topic),
             "channels": list(each.channels), "until": _stamp(each.until)}
            for each in guidelines.every(tx)
            if each.holds(tx.now) and each.names(person)
            and objection(person, held, Content.ROUTINE, tx.now) is None
        ],
        "may": [
            {"act": each.act, "clause": each.clause, "now": each.refusal is None,
             "why": each.refusal.in_words if each.refusal else None}
            for each in able
        ],
        "could_approve": [
            _waiting(tx, request) for request in waiting if _could_approve(tx, request, person)
        ] if allowed or any(each.usable for each in devices) else [],
    }  # fmt: skip


def guidelines_now(tx: Tx) -> list[Json]:
    """The Chief's guidelines that hold (389.3)."""
    names = _names(tx)
    return [
        {"id": each.id, "clause": each.clause, "topic": str(each.topic),
         "members": sorted(names.get(member, member) for member in each.members),
         "roles": sorted(each.roles), "channels": list(each.channels),
         "until": _stamp(each.until), "text": each.text,
         "granted_by": names.get(each.granted_by, each.granted_by)}
        for each in guidelines.every(tx) if each.holds(tx.now)
    ]  # fmt: skip


def _training(held: Standing, subject: Subject, now: datetime) -> Json:
    last = held.training(subject)
    return {
        "subject": str(subject),
        "given_at": _stamp(last.given_at if last else None),
        "expires_at": _stamp(last.expires_at if last else None),
        "lapsed": subject in held.lapsed(now),
    }


def _could_approve(tx: Tx, request: ApprovalRequest, person: Person) -> bool:
    """Whether the gate's own rule says that this request is this person's to decide now."""
    revision = approvals.revision(tx, request.revision_id)
    incident = incidents.get(tx, request.incident_id)
    assert revision is not None and incident is not None, "a request's are foreign keys"
    case = case_of(tx, incident, request, revision, person, Site(""), digest=revision.digest)
    theirs = not person.outside or person.guest_of == request.incident_id
    return theirs and request.expires_at > tx.now and person_objection(case) is None


def _waiting(tx: Tx, request: ApprovalRequest) -> Json:
    revision = approvals.revision(tx, request.revision_id)
    assert revision is not None, "a request's revision is a foreign key"
    kept = _incident(tx, request.incident_id)
    return {"request_id": request.id, "incident_id": request.incident_id,
            "number": revision.number, "clause": "389.3" if kept.notice else "389.4.1"}  # fmt: skip


def _incident(tx: Tx, incident_id: str) -> Incident:
    kept = incidents.get(tx, incident_id)
    assert kept is not None, "a foreign key"
    return kept.incident


# --- An update --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reason:
    """What one clause asked, and how it was met. `holds` None: not asked yet, or it only warns."""

    clause: str
    what: str
    holds: bool | None
    why: str


@dataclass(frozen=True)
class _Looked:
    """All that the ledger holds of one wording."""

    revision: Revision
    requests: list[approvals.Kept]  #: the newest first
    decision: approvals.KeptDecision | None
    assent: Assent | None  #: where both Commanders must approve: the one that waits
    release: AnyRelease | None
    stopped_at: datetime | None
    posts: list[posts.Kept]
    entries: list[Json]  #: the incident's, the newest first
    names: dict[str, str]
    incident: Incident
    guideline: Guideline | None  #: that decided
    now: datetime
    contact: str

    @property
    def clause(self) -> str:
        """What the approval rests on."""
        return "389.3" if self.incident.notice else "389.4.1"

    def name(self, person_id: str | None) -> str:
        return self.names.get(person_id or "", person_id or "nobody")

    @property
    def submitted(self) -> Json:
        """What the record noted when it, or what it was edited from, was submitted."""
        ordered = self.entry(Kind.RETRACTION_ORDERED, revision_id=self.revision.id)
        revision_id = ordered["public"]["prepared_in"] if ordered else self.revision.id
        while edit := self.entry(Kind.REVISION_EDITED, revision_id=revision_id):
            revision_id = edit["public"]["edits"]
        entry = self.entry(Kind.REVISION_SUBMITTED, revision_id=revision_id)
        assert entry is not None, "a revision's submission is recorded with it"
        public: Json = entry["public"]
        return public

    def entry(self, kind: Kind, **about: str) -> Json | None:
        """The newest entry of a kind whose public fields are these."""
        for each in self.entries:
            if each["kind"] == kind and about.items() <= each["public"].items():
                return each
        return None


def update(tx: Tx, given: str, *, contact: str = "") -> Json:
    """Why the update, revision, request or release of this id was or was not released.

    Raises Refusal where there is no such id. `contact`: the department's own, which words may say.
    """
    revision = _revision_of(tx, given)
    seen = _look(tx, revision, contact)
    state, because = _outcome(seen)
    return {
        "update_id": revision.update_id,
        "revision_id": revision.id,
        "incident_id": revision.incident_id,
        "release_id": seen.release.id if seen.release else None,
        "kind": str(revision.kind),
        "number": revision.number,
        "code": short_code(revision.digest),
        "newest_revision_id": approvals.head_revision_id(tx, revision.update_id),
        "released": seen.release is not None,
        "state": state,
        "because": because,
        "clauses": [vars(each) for each in _clauses(tx, seen)],
        "channels": [
            {"channel": each.channel, "state": str(each.state), "since": _stamp(each.since),
             "why": each.why, "attempts": each.attempts, "url": each.url}
            for each in seen.posts
        ],
    }  # fmt: skip


def _revision_of(tx: Tx, given: str) -> Revision:
    """The wording that an id is about; of an update, the newest."""
    if release := releases.get(tx, given):
        revision_id = release.revision_id
    elif request := approvals.request(tx, given):
        revision_id = request.request.revision_id
    elif approvals.update_number(tx, given):
        revision_id = approvals.head_revision_id(tx, given)
    else:
        revision_id = given
    revision = approvals.revision(tx, revision_id)
    if revision is None:
        raise Refusal(
            "no_such_update", f"No update, revision, request or release has the id {given}.",
            "Copy the id from the incident's page, the record, or a release's address.",
            kind=Sort.NOT_FOUND, field="id",
        )  # fmt: skip
    return revision


def _look(tx: Tx, revision: Revision, contact: str) -> _Looked:
    kept = [
        each
        for each in approvals.requests_of(tx, revision.incident_id)
        if each.request.revision_id == revision.id
    ]
    release = releases.of_revision(tx, revision.id)
    decision = approvals.decision_of(tx, kept[0].request.id) if kept else None
    incident = _incident(tx, revision.incident_id)
    return _Looked(
        revision=revision,
        requests=kept,
        decision=decision,
        assent=assents.waiting(tx, kept[0].request, incident, revision) if kept else None,
        release=release,
        stopped_at=releases.stopped_at(tx, release.id) if release else None,
        posts=posts.of_release(tx, release.id) if release else [],
        entries=records.of_incident(tx, revision.incident_id),
        names=_names(tx),
        incident=incident,
        guideline=guidelines.get(tx, decision.decision.guideline_id) if decision else None,
        now=tx.now,
        contact=contact,
    )


def _outcome(seen: _Looked) -> tuple[str, str]:
    """How it stands, as a stable code and in a sentence."""
    if seen.release is not None:
        return _released(seen, seen.release)
    if not seen.requests:
        return "not_asked", "Nobody was asked about these words."
    kept = seen.requests[0]
    request, decision = kept.request, seen.decision
    if decision is not None:
        who, at = _decider(seen, decision.decision), _time(decision.decision.at)
        verdict = decision.decision.verdict
        if verdict is not Verdict.APPROVED:
            note = f': "{decision.decision.reason}"' if decision.decision.reason else "."
            return str(verdict), f"Not released: {who} {verdict} it at {at}{note}"
        did = "approved" if decision.proven else "ordered"  # as a retraction that was approved
        if decision.outcome is None:
            return "at_the_gate", f"{who} {did} it at {at}; the gate has not judged it yet."
        return decision.outcome, (
            f"Not released: {who} {did} it at {at}, and the gate refused. {decision.why}"
        )
    if request.state is RequestState.OPEN and request.expires_at > seen.now:
        waits = asked_in_words(seen.incident.command, seen.names, seen.assent)
        both = " Both Commanders must approve." if seen.incident.command.both else ""
        return "waiting", (
            f"Not released: it waits for {waits} since "
            f"{_time(request.created_at)}, until {_time(request.expires_at)}.{both}"
        )
    if request.state is RequestState.OPEN:
        return "expired", f"Not released: nobody decided before {_time(request.expires_at)}."
    return str(request.state), f"Not released: the request is {request.state}. {kept.why or ''}"


def _released(seen: _Looked, release: AnyRelease) -> tuple[str, str]:
    """The release, and the first thing about it that a person should know."""
    at = _time(release.released_at)
    if seen.stopped_at:
        entry = seen.entry(Kind.RELEASE_STOPPED, release_id=release.id)
        by = f" by {seen.name(entry['actor'])}" if entry else ""
        return "stopped", f"Released at {at}, and stopped{by} at {_time(seen.stopped_at)}."
    for state, words in ((PostState.IN_DOUBT, "in_doubt"), (PostState.HELD, "held")):
        if where := [each.channel for each in seen.posts if each.state is state]:
            return words, f"Released at {at}; {state} on {', '.join(where)}."
    return "released", f"Released at {at}."


def _clauses(tx: Tx, seen: _Looked) -> Iterable[Reason]:
    """Each clause in the order in which it was asked."""
    yield _authority(tx, seen)
    yield from _exempt(tx, seen)
    yield _trained(seen)
    yield _compiled(seen)
    yield _screened(seen)
    for kept in reversed(seen.requests):
        yield from _asked_and_decided(tx, seen, kept)
    yield from _gate(seen)
    if seen.stopped_at and seen.release:
        yield Reason("389.5", "stopped", False, _released(seen, seen.release)[1])
    for post in seen.posts:
        yield _channel(post)


def _compiled(seen: _Looked) -> Reason:
    """Who compiled it, and who edited that."""
    revision, what = seen.revision, "compiled by the Public Information Officer or designee"
    if seen.incident.notice:
        what = f"{seen.incident.notice} ({seen.incident.notice.clause}), by an authorized member"
    clause = "389.4" if seen.incident.notice else "389.4.1"
    compiler, at = seen.name(revision.compiled_by), _time(revision.compiled_at)
    if revision.edited_by is None:
        return Reason(clause, what, True, f"{compiler} compiled it at {at}.")
    editor = seen.name(revision.edited_by)
    return Reason(clause, what, True, f"{compiler} compiled it; {editor} edited it at {at}.")


def _authority(tx: Tx, seen: _Looked) -> Reason:
    """By which authority it was submitted, as the record noted it then."""
    who, submitted = seen.name(seen.revision.compiled_by), seen.submitted
    kept = authorities.get(tx, submitted.get("authority_id", ""))
    if kept is None:
        why = f"{who} submitted it before authority was kept on the roster."
        return Reason("389.3", "authorized to post", None, why)
    until = f"until {_time(kept.until)}" if kept.until else "until it is revoked"
    since = f"; it was revoked at {_time(kept.revoked_at)}" if kept.revoked_at else ""
    return Reason(
        "389.3", f"authorized to post {kept.content} content", True,
        f"{seen.name(kept.granted_by)} granted it to {who} at {_time(kept.granted_at)}, "
        f"{until}{since}.",
    )  # fmt: skip


def _exempt(tx: Tx, seen: _Looked) -> Iterable[Reason]:
    """The supervisors' exceptions that held when it was submitted."""
    at = seen.revision.compiled_at
    for each in authorities.standing(tx, seen.revision.compiled_by).exemptions:
        if each.granted_at <= at < each.until:
            yield Reason(
                "389.3", f"excepted from {each.matter}", None,
                f"{seen.name(each.granted_by)} excepted "
                f"{seen.name(seen.revision.compiled_by)} until {_time(each.until)}: "
                f'"{each.reason}"',
            )  # fmt: skip


def _trained(seen: _Looked) -> Reason:
    who, lapsed = seen.name(seen.revision.compiled_by), seen.submitted.get("training_lapsed")
    if lapsed:
        why = f"{who}'s had lapsed in {', '.join(lapsed)}: a warning on the record, no bar."
        return Reason("389.8", "training", None, why)
    if "authority_id" not in seen.submitted:
        why = f"{who} submitted it before training was kept on the roster."
        return Reason("389.8", "training", None, why)
    return Reason("389.8", "training", True, f"{who} was trained in every subject.")


def _screened(seen: _Looked) -> Reason:
    """What today's rules find in the words, and how the compiler answered it."""
    revision = seen.revision
    findings = screen(revision.words, revision.renderings, contact=seen.contact,
                      area=revision.area,
                      alts=[each.alt for each in revision.pictures])  # fmt: skip
    what = "no prohibited content"
    refusal = policy_objection(findings, revision.policy_reasons, attested=revision.attested)
    if refusal is not None:
        return Reason("389.5", what, False, refusal.in_words)
    given = "".join(f' {rule}: "{why}".' for rule, why in revision.policy_reasons.items())
    by = seen.name(revision.attested_by or revision.compiled_by)
    stated = f"{by} stated that it endangers nobody."
    return Reason("389.5", what, True, f"Screened; {stated}{given}")


def _asked_and_decided(tx: Tx, seen: _Looked, kept: approvals.Kept) -> Iterable[Reason]:
    """One request: whom it asked, which answers were refused, and how it ended."""
    request = kept.request
    what = "approved by the Incident Commander"
    if seen.incident.notice:
        what = "approved by the Chief's guideline, or by a supervisor"
    asked = f"{_asked(seen, request)} was asked at {_time(request.created_at)}"
    for entry in reversed(seen.entries):
        if entry["public"].get("request_id") == request.id and entry["kind"] in _ANSWERS:
            yield _answer(seen, entry)
    decided = approvals.decision_of(tx, request.id)
    if ordered := seen.entry(Kind.RETRACTION_ORDERED, revision_id=seen.revision.id):
        yield Reason(
            "389.4.1", what, True,
            f"Its words were approved with those that it takes back, release "
            f"{ordered['public']['release_id']}; {seen.name(ordered['actor'])} ordered it at "
            f"{_time(datetime.fromisoformat(ordered['at']))}.",
        )  # fmt: skip
    elif decided is not None:
        verdict = decided.decision.verdict
        note = f': "{decided.decision.reason}"' if decided.decision.reason else ""
        who = _decider(seen, decided.decision)
        if decided.decision.keeps:
            said = seen.entry(Kind.DECISION_RECORDED, decision_id=decided.decision.id)
            changed = ", ".join(said["public"]["keeps"]) if said else ""
            note += f" knowing what has changed in them since ({changed or 'nothing any more'})"
        if seen.guideline:
            asked = "its compiler decides"
        if spoken := voices.of_decision(tx, decided.decision.id):
            yield _by_voice(seen, spoken)
        if entered := fallbacks.entered(tx, decided.seal):
            yield _by_code(seen, entered.allowance)
        yield Reason(
            seen.clause, what, verdict is Verdict.APPROVED,
            f"{asked}; {who} {verdict} the words #{short_code(decided.decision.digest)} at "
            f"{_time(decided.decision.at)}{note}.",
        )  # fmt: skip
    elif request.state is RequestState.OPEN:
        over = "nobody decided before" if request.expires_at <= seen.now else "it waits until"
        yield Reason(
            seen.clause, what, False if request.expires_at <= seen.now else None,
            f"{asked}; {over} {_time(request.expires_at)}.",
        )  # fmt: skip
    else:
        yield Reason(
            seen.clause, what, False, f"{asked}; {request.state}. {kept.why or ''}".strip()
        )


#: What became of answers that decided nothing.
_ANSWERS = (Kind.DECISION_REFUSED, Kind.ASSENT_GIVEN, Kind.ASSENT_ENDED)


def _answer(seen: _Looked, entry: Json) -> Reason:
    """An answer that was refused, or that waited for the other Commander's."""
    public, kind = entry["public"], entry["kind"]
    by = f"{seen.name(entry['actor'])} at {_time(datetime.fromisoformat(entry['at']))}"
    if kind == Kind.DECISION_REFUSED:
        what = "an answer that was refused"
        return Reason(seen.clause, what, False, f"{by}: {public['code']}.")
    what = "both Commanders must approve"
    if kind == Kind.ASSENT_GIVEN:
        return Reason(seen.clause, what, None, f"One did: {by}, the words #{public['code']}.")
    why = f"{by}: {seen.name(public['given_by'])}'s approval was {public['how']}."
    return Reason(seen.clause, what, None, why)


def _by_voice(seen: _Looked, kept: voices.Kept) -> Reason:
    """Given aloud: who heard it, and whether the Commander has said since that it was so."""
    heard = kept.heard
    holds = None if kept.settled is None else kept.settled is Settled.RATIFIED
    return Reason(
        "389.4.1", "approved by voice", holds,
        f"{seen.name(heard.reader_id)} read it on {heard.radio}; {seen.name(heard.attester_id)} "
        f"attests the answer at {_time(heard.at)}; {kept.settled or 'not ratified'}.",
    )  # fmt: skip


def _by_code(seen: _Looked, allowance: Allowance) -> Reason:
    """Proven with PIN and code instead of a passkey: by whose word, why, and until when."""
    return Reason(
        "389.3", "PIN and code instead of a passkey", True,
        f"{seen.name(allowance.granted_by)} allowed it to {seen.name(allowance.person_id)} until "
        f'{_time(allowance.until)}: "{allowance.reason}"',
    )  # fmt: skip


def _gate(seen: _Looked) -> Iterable[Reason]:
    """What the gate made of the decision, having proven it for itself."""
    decision = seen.decision
    if decision is None or decision.decision.verdict is not Verdict.APPROVED:
        return
    what = "the gate: right person, right words, still true, policy clean"
    if decision.outcome is None:
        yield Reason(seen.clause, what, None, "It has not judged the decision yet.")
    elif seen.release is not None and decision.outcome in (RELEASED, KEPT):
        yield Reason(seen.clause, what, True, f"Released at {_time(seen.release.released_at)}.")
    else:
        clause = "389.5" if decision.outcome.startswith("policy") else seen.clause
        yield Reason(clause, what, False, f"{decision.outcome}: {decision.why}")


def _channel(post: posts.Kept) -> Reason:
    holds = {PostState.POSTED: True, PostState.REFUSED: False, PostState.STOPPED: False,
             PostState.EXPIRED: False}.get(post.state)  # fmt: skip
    proof = f" Proof: {post.url}." if post.url else ""
    why = f" {post.why}" if post.why else ""
    return Reason(
        "389.4", f"posted on {post.channel}", holds,
        f"{post.state} since {_time(post.since)}.{why}{proof}",
    )  # fmt: skip


def _asked(seen: _Looked, request: ApprovalRequest) -> str:
    command = seen.incident.command
    return seen.name(request.asked) if request.asked else asked_in_words(command, {})


def _decider(seen: _Looked, decision: Decision) -> str:
    """The person, or both who had to; on whose word, where that is a guideline's."""
    if decision.assent_id and (said := seen.entry(Kind.DECISION_RECORDED, decision_id=decision.id)):
        return f"{seen.name(said['public']['after'])} and {seen.name(decision.person_id)}"
    if seen.guideline is None or decision.guideline_id is None:
        return seen.name(decision.person_id)
    it = seen.guideline
    return (f"{seen.name(decision.person_id)}, on the word of the guideline {it.id} on {it.topic} "
            f"({it.clause}, by {seen.name(it.granted_by)}),")  # fmt: skip


def _names(tx: Tx) -> dict[str, str]:
    return {each.id: each.name for each in people.everybody(tx)}


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _stamp(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
