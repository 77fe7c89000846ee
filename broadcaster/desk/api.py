"""The desk for programs: `/api/v1`.

CAD systems send signed reports; a phone, the pages' scripts and the department's own programs do
the rest in somebody's session. `OPERATIONS` is the whole list: it registers the routes and makes
`/api/v1/openapi.json`. `/api/v1/asyncapi.json` says the same of the topics.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from aiohttp import web
from pydantic import AwareDatetime, Field

from broadcaster import notices, rostering
from broadcaster.aftercare import Errand, Found
from broadcaster.approval import (
    AnyRelease,
    ApprovalRequest,
    Assent,
    RequestState,
    Verdict,
    asked_in_words,
    to_keep,
)
from broadcaster.authority import Office
from broadcaster.by_voice import Attest, attest, settle, to_sign
from broadcaster.channel import AnyChannel
from broadcaster.counting import CountRule
from broadcaster.delivery import PostState
from broadcaster.desk import asyncapi, openapi
from broadcaster.desk.changes import Changes, Difference, between, since_last_release
from broadcaster.desk.checks import Check, checks
from broadcaster.desk.decision import (
    answered,
    decided,
    on_record,
    own_passkeys,
    prover,
    request_address,
)
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.handover import accepted
from broadcaster.desk.lapsed import FactChange, OldWords, old_words, told
from broadcaster.desk.openapi import Call, Nothing, Operation, SignedOperation
from broadcaster.desk.preview import Preview, Previewed, preview
from broadcaster.desk.roster import require_passkey
from broadcaster.edit import EditWords, edit_words
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.handover import (
    Accept,
    Reason,
    commander_name,
    end_offer,
    force_command,
    offer_command,
    record_command,
    record_radio,
    take_command,
)
from broadcaster.incident import Command, Handling, Incident, Offer, Topic
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    authorities,
    errands,
    incidents,
    posts,
    problems,
    releases,
    reports,
    voices,
)
from broadcaster.media import Image, Picture
from broadcaster.orders import (
    Decide,
    SubmitRevision,
    Submitted,
    ask_to_keep,
    facts_of,
    in_its_place,
    name_of,
    renew_request,
    stop_release,
    submit_revision,
    take_back,
    withdraw_assent,
    withdraw_request,
)
from broadcaster.passkey import options_to_prove
from broadcaster.policy import screen
from broadcaster.roster import Act, Person, require
from broadcaster.trace import adopted
from broadcaster.update import Rendering, Revision, UpdateKind, Words, lapses_by, short_code
from broadcaster.voice import Settled
from broadcaster.world import Frozen, World

_log = structlog.get_logger(__name__)

# --- Reports, signed --------------------------------------------------------------------------


class ReportAccepted(Frozen):
    """What the sender of a report is told; the same each time it sends the same report."""

    report_id: str
    incident_id: str
    received_at: datetime
    repeated: bool = Field(description="Whether the same report had come before.")
    unknown_fields: int = Field(description="Fields that the schema does not name: not kept.")
    place_withheld: bool = Field(
        description="Whether a place was sent that names no block, crossing or street: not kept."
    )


ACCEPT_REPORT = SignedOperation(
    path="/api/v1/reports",
    name="acceptReport",
    summary="Takes in a report about an incident.",
    answer=ReportAccepted,
    refuses=(
        Kind.INVALID, Kind.UNKNOWN, Kind.FORBIDDEN, Kind.CONFLICT, Kind.TOO_LARGE,
        Kind.UNAVAILABLE,
    ),
)  # fmt: skip


async def accept_report(request: web.Request) -> web.Response:
    """202 for a new report, 200 for one that came before; a refused one stands in `problems`."""
    desk = request.app[DESK]
    try:
        arrived = desk.intake.signed(await _body(request), request.headers, now=desk.clock.now())
        report = arrived.report
        trace = adopted(",".join(request.headers.getall("traceparent", ())))
        accepted = await desk.ledger.write(
            lambda tx: reports.accept(tx, report, actor=report.source, trace=trace)
        )
    except LedgerAway:
        raise
    except Refusal as refusal:
        await _note(request, refusal)
        raise
    answer = ReportAccepted(
        report_id=accepted.report_id, incident_id=accepted.incident_id,
        received_at=accepted.received_at, repeated=accepted.repeated,
        unknown_fields=arrived.unknown_fields, place_withheld=arrived.place_withheld,
    )  # fmt: skip
    return openapi.said(answer, 200 if accepted.repeated else 202)


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refusal(
            "too_large",
            "This message is larger than 1 MiB.",
            "Send the fields of the schema alone; the rest would be left at the door.",
            kind=Kind.TOO_LARGE,
        ) from None


#: When a refusal was last noted of somebody who did not prove who they are, by code.
_NOTED = web.AppKey("noted", dict[str, float])

#: Strangers fill no more of the record than this allows, however much they send.
NOTE_STRANGERS_EVERY = 60.0


async def _note(request: web.Request, refusal: Refusal) -> None:
    """Puts a refused report among the problems, in a transaction of its own."""
    if refusal.kind in (Kind.UNKNOWN, Kind.TOO_LARGE):
        noted, now = request.app[_NOTED], time.monotonic()
        if now - noted.get(refusal.code, -NOTE_STRANGERS_EVERY) < NOTE_STRANGERS_EVERY:
            return
        noted[refusal.code] = now
    try:
        await request.app[DESK].ledger.write(
            lambda tx: problems.note(tx, problems.Place(source="http"), refusal)
        )
    except LedgerAway:  # the sender is told all the same
        _log.warning("report.refusal_not_noted", code=refusal.code)


# --- Incidents --------------------------------------------------------------------------------


class OfferView(Frozen):
    """Command, offered to somebody; who commands decides until it is accepted."""

    id: str
    by: str
    to: str
    to_name: str | None
    expires_at: datetime
    nonce: str = Field(
        description="For what a passkey signs to accept: SHA-256 of `iab/command/v1`, NUL, then "
        "nonce, incident id, offer id and the command's epoch, with a NUL between each two."
    )


class Commander(Frozen):
    """Who commands an incident; nobody where `person_id` is null."""

    person_id: str | None
    with_id: str | None = Field(
        description="The second Commander of a unified command; either decides alone, or:"
    )
    both: bool = Field(
        description="Both must approve. The mode stays for as long as two command; either still "
        "returns or declines alone."
    )
    name: str | None = Field(description="Who commands, in words: of a unified command, both.")
    epoch: int = Field(description="Rises with each change of command.")
    since: datetime | None
    offer: OfferView | None = Field(description="The offer that can be accepted now.")


class IncidentView(Frozen):
    """An incident as its reports say it is now."""

    id: str
    public_id: str
    source: str
    number: str
    type: str
    status: str
    place: str | None
    priority: str | None
    handling: Handling
    notice: Topic | None = Field(description="Of a notice, what it is (389.4); it is no incident.")
    open: bool
    opened_at: datetime
    heard_at: datetime
    closed_at: datetime | None
    reports: int
    command: Commander


class Incidents(Frozen):
    """The incident last heard of first."""

    incidents: tuple[IncidentView, ...]


class Suggested(Frozen):
    """The newest suggested update."""

    at: datetime
    why: str
    words: Words


class PostView(Frozen):
    """One channel's part of a release."""

    id: str
    channel: str
    state: PostState
    since: datetime
    why: str | None
    attempts: int
    url: str | None
    read_back: Found | None = Field(
        description="What the public read there when it was last looked at; none: not looked yet."
    )


class ReleaseView(Frozen):
    """What was released, and what became of it on each channel."""

    id: str
    number: int
    digest: str
    released_at: datetime
    expires_at: datetime
    stopped_at: datetime | None = Field(
        description="Since when nothing of it begins to be sent any more."
    )
    posts: tuple[PostView, ...]

    @property
    def can_be_stopped(self) -> bool:
        """Whether a post of it may still begin, or be begun again."""
        return self.stopped_at is None and not all(post.state.ended for post in self.posts)


class RequestView(Frozen):
    """Where an approval request stands."""

    id: str
    revision_id: str
    incident_id: str
    digest: str
    code: str
    nonce: str = Field(
        description="For what a passkey signs to decide: SHA-256 of `iab/approve/v2`, NUL, then "
        "nonce, request id, `expires_at` and `epoch` as they stand here, verdict and digest, with "
        "a NUL between each two; to keep the words, then NUL and `keeps`."
    )
    epoch: int = Field(description="Of the command that it would be decided under now.")
    state: RequestState
    why: str | None
    asked: str | None = Field(
        description="The Commander's id; null: any Watch Commander, of a notice any supervisor."
    )
    asked_name: str
    created_at: datetime
    expires_at: datetime
    called_at: datetime | None


class RevisionView(Frozen):
    """One wording of an update."""

    id: str
    update_id: str
    number: int
    kind: UpdateKind
    digest: str
    code: str
    compiled_by: str
    compiled_at: datetime


class IncidentDetail(Frozen):
    """An incident with all that was suggested, submitted and released; newest first."""

    incident: IncidentView
    suggestion: Suggested | None
    revisions: tuple[RevisionView, ...]
    requests: tuple[RequestView, ...]
    releases: tuple[ReleaseView, ...]


_SHOWN: dict[str, tuple[bool, tuple[Handling, ...]]] = {
    "open": (True, (Handling.HELD, Handling.AUTO_DRAFT)),
    "kept-off": (True, (Handling.SUPPRESSED,)),
    "closed": (False, tuple(each for each in Handling if each is not Handling.NOTICE)),
    "routine": (False, (Handling.NOTICE,)),
}


async def list_incidents(call: Call[Nothing]) -> Incidents:
    require(call.person, Act.READ)
    wanted = call.request.query.get("show", "open")
    if wanted not in _SHOWN:
        raise Refusal("invalid_field", "There is no such part of the board.",
                      f"Send show as one of: {', '.join(_SHOWN)}.", field="show")  # fmt: skip
    open_, handlings = _SHOWN[wanted]

    def look(tx: Tx) -> Incidents:
        found = incidents.board(tx, open_=open_, handlings=handlings)
        return Incidents(incidents=tuple(_incident(tx, kept) for kept in found))

    return await call.desk.ledger.read(look)


async def get_incident(call: Call[Nothing]) -> IncidentDetail:
    require(call.person, Act.READ)

    def look(tx: Tx) -> IncidentDetail:
        kept = incidents.get(tx, call.part("incident_id"))
        if kept is None:
            raise _no_incident()
        id_ = kept.incident.id
        suggested = incidents.suggestion(tx, id_)
        revisions = approvals.revisions_of(tx, id_)
        numbers = {revision.id: revision.number for revision in revisions}
        return IncidentDetail(
            incident=_incident(tx, kept),
            suggestion=Suggested(at=suggested.at, why=suggested.why, words=suggested.words)
            if suggested
            else None,
            revisions=tuple(map(_revision, revisions)),
            requests=tuple(_request(tx, each) for each in approvals.requests_of(tx, id_)),
            releases=tuple(
                _release(tx, each, numbers[each.revision_id])
                for each in releases.of_incident(tx, id_)
            ),
        )

    return await call.desk.ledger.read(look)


class SetCommand(Frozen):
    """Who commands from now on; null: command has ended."""

    commander_id: str | None
    with_id: str | None = Field(
        default=None, description="The second Commander of a unified command."
    )
    both: bool = Field(
        default=False, description="Both must approve; else either of the two decides."
    )


class OfferCommand(Frozen):
    """To whom command is offered."""

    commander_id: str


class RadioHandOver(Frozen):
    """What was heard: who handed command over, and to whom."""

    said_by: str = Field(description="The Commander who said so.")
    commander_id: str


class TransferCommand(Frozen):
    """To whom command goes, and why its Commander is not asked."""

    commander_id: str
    reason: Reason


async def _moved(call: Call[Any], order: Callable[[Tx], Command]) -> Commander:
    return await call.desk.ledger.write(lambda tx: _commander(tx, order(tx)), urgent=True)


async def set_command(call: Call[SetCommand]) -> Commander:
    it = call.body
    return await _moved(call, lambda tx: record_command(
        tx, call.part("incident_id"), it.commander_id, call.person, with_id=it.with_id,
        both=it.both,
    ))  # fmt: skip


async def offer(call: Call[OfferCommand]) -> OfferView:
    def step(tx: Tx) -> OfferView:
        incident_id, to = call.part("incident_id"), call.body.commander_id
        return _offer(tx, offer_command(tx, incident_id, to, call.person))

    return await call.desk.ledger.write(step, urgent=True)


async def accept(call: Call[Accept]) -> Commander:
    _same(call.body.incident_id, call.part("incident_id"), "incident_id")
    _same(call.body.offer_id, call.part("offer_id"), "offer_id")
    command = await accepted(call.desk, call.person, call.body)
    return await call.desk.ledger.read(lambda tx: _commander(tx, command))


async def end_the_offer(call: Call[Nothing]) -> Commander:
    return await _moved(
        call, lambda tx: end_offer(tx, call.part("incident_id"), call.part("offer_id"), call.person)
    )


async def take(call: Call[Nothing]) -> Commander:
    return await _moved(call, lambda tx: take_command(tx, call.part("incident_id"), call.person))


async def radio(call: Call[RadioHandOver]) -> Commander:
    it = call.body
    return await _moved(call, lambda tx: record_radio(
        tx, call.part("incident_id"), it.said_by, it.commander_id, call.person
    ))  # fmt: skip


async def transfer(call: Call[TransferCommand]) -> Commander:
    it = call.body
    return await _moved(call, lambda tx: force_command(
        tx, call.part("incident_id"), it.commander_id, it.reason, call.person
    ))  # fmt: skip


# --- Updates before approval ------------------------------------------------------------------


class SubmittedView(Frozen):
    """What a submission left: a fixed wording, and the request that waits."""

    revision: RevisionView
    request: RequestView


async def submit(call: Call[SubmitRevision]) -> SubmittedView:
    _same(call.body.incident_id, call.part("incident_id"), "incident_id")

    def step(tx: Tx) -> SubmittedView:
        submitted = submit_revision(
            tx, call.body, call.person, call.desk.channels, contact=call.desk.settings.contact
        )
        return _submitted(tx, submitted)

    return await call.desk.ledger.write(step)


def _submitted(tx: Tx, submitted: Submitted) -> SubmittedView:
    kept = approvals.Kept(submitted.request, called_at=None, why=None)
    return SubmittedView(revision=_revision(submitted.revision), request=_request(tx, kept))


async def show_preview(call: Call[Preview]) -> Previewed:
    require(call.person, Act.WRITE_NOTICE)  # whoever writes an update may
    settings = call.desk.settings
    return preview(settings.world, call.desk.channels, call.body, contact=settings.contact)


# --- Approval ---------------------------------------------------------------------------------


class RenderingView(Frozen):
    """Exactly what one channel will post. Of a channel that is no longer there only its words."""

    channel: str
    title: str
    language: str
    headline: str
    text: str
    length: int
    limit: int | None
    unit: CountRule
    frame: str | None = Field(description="What the channel adds round the words.")


class PictureView(Picture):
    """A picture of the update, and who shows it."""

    address: str = Field(description="Where the desk serves it.")
    channels: tuple[str, ...] = Field(description="Channels that show it.")
    without: tuple[str, ...] = Field(description="Channels that say the words without it.")


class DecisionView(Frozen):
    """A decision as it was recorded; the same each time it is sent again under its key.

    Or, where both Commanders must approve, the approval of the first one.
    """

    id: str
    request_id: str
    person_id: str
    verdict: Verdict
    digest: str
    code: str
    reason: str | None
    at: datetime
    waits_for_other: bool = Field(
        description="Both Commanders must approve, and this was the first: the request stays open, "
        "and nothing is released until the other approves, too."
    )


class AssentView(Frozen):
    """The approval of one Commander, where both must approve."""

    person_id: str
    person_name: str | None
    at: datetime


class DecidedView(Frozen):
    """A decision and what the gate made of it: `released`, or why not; null until it has."""

    decision: DecisionView
    person_name: str | None
    by_code: bool = Field(
        description="Whether it was proven with PIN and code, where the roster allows that, "
        "instead of a passkey."
    )
    outcome: str | None
    why: str | None


class NewerView(Frozen):
    """The request that waits in this one's place."""

    request_id: str
    address: str = Field(description="Its page.")
    code: str
    changes: Difference = Field(description="Its words against those of this request.")


class ApprovalDetail(Frozen):
    """All that a phone needs to show before a decision, and after it."""

    request: RequestView
    world: World
    now: datetime = Field(description="The ledger's time: what `expires_at` is measured by.")
    incident: IncidentView
    number: int
    kind: UpdateKind
    compiled_by: str
    compiled_by_name: str | None
    edited_by: str | None = Field(description="The Commander who mended it; null: nobody.")
    edited_by_name: str | None
    area: str
    languages: tuple[str, ...]
    expires_at: datetime = Field(description="When the update itself ends, if it is released.")
    words: Words
    renderings: tuple[RenderingView, ...]
    pictures: tuple[PictureView, ...] = Field(
        description="What some channels show beside the words: in the same digest."
    )
    retraction: tuple[RenderingView, ...] = Field(
        description="What takes it back, prepared: approved with these words, in the same digest."
    )
    replaces: tuple[int, ...] = Field(description="Numbers of updates whose unsent posts it ends.")
    corrects: int | None
    changes: Changes | None = Field(
        description="Against the incident's last release; null: there is none."
    )
    checks: tuple[Check, ...] = Field(
        description="What policy 389.5 asks a reason for in these words, with the compiler's."
    )
    attested: bool = Field(
        description="Whether somebody states that nobody and no investigation is endangered."
    )
    attested_by_name: str | None = Field(
        description="Who states it: the compiler, or a Commander who changed the words."
    )
    changed: tuple[FactChange, ...] = Field(
        description="Facts in the words that are no longer so, while nobody has decided."
    )
    keeps: str | None = Field(
        description="For an approval that keeps the words in spite of `changed`: the decision's "
        "`keeps`, which the passkey signs after the digest. Null: nobody is asked that."
    )
    old_words: tuple[OldWords, ...] = Field(
        description="What was released of this incident and is no longer so: where it is out."
    )
    assent: AssentView | None = Field(
        description="Where both Commanders must approve: who has, while the other is waited for; "
        "or whose approval the decision completed."
    )
    newer: NewerView | None = Field(
        description="A newer request of the same update or incident that waits for a decision."
    )
    decided: DecidedView | None
    release: ReleaseView | None


async def get_request(call: Call[Nothing]) -> ApprovalDetail:
    require(call.person, Act.READ)

    def look(tx: Tx) -> ApprovalDetail:
        kept = approvals.request(tx, call.part("request_id"))
        if kept is None:
            raise Refusal(
                "no_such_request", "There is no such approval request.",
                "Open it from the board, or from the link you were sent.", kind=Kind.NOT_FOUND,
            )  # fmt: skip
        return approval_detail(tx, call.desk, kept)

    return await call.desk.ledger.read(look)


async def send_decision(call: Call[Decide]) -> DecisionView:
    _same(call.body.request_id, call.part("request_id"), "request_id")
    return _decision(await decided(call.desk, call.person, call.body))


async def withdraw_approval(call: Call[Nothing]) -> RequestView:
    def step(tx: Tx) -> RequestView:
        withdraw_assent(tx, call.part("request_id"), call.person)
        kept = approvals.request(tx, call.part("request_id"))
        assert kept is not None, "its assent was just taken back"
        return _request(tx, kept)

    return await call.desk.ledger.write(step, urgent=True)


async def by_passkey(request: web.Request, body: Decide) -> Person:
    """Whose passkey the body's `proof` is."""
    return await prover(request.app[DESK], body)


async def edit(call: Call[EditWords]) -> SubmittedView:
    _same(call.body.request_id, call.part("request_id"), "request_id")
    desk = call.desk

    def step(tx: Tx) -> SubmittedView:
        return _submitted(tx, edit_words(
            tx, call.body, call.person, desk.channels, desk.site, contact=desk.settings.contact
        ))  # fmt: skip

    return await desk.ledger.write(step, urgent=True)


async def stop(call: Call[Nothing]) -> ReleaseView:
    def step(tx: Tx) -> ReleaseView:
        stop_release(tx, call.part("release_id"), call.person)
        release = releases.get(tx, call.part("release_id"))
        assert release is not None, "it was just stopped"
        return _release(tx, release, releases.numbers(tx, release.incident_id)[release.id])

    return await call.desk.ledger.write(step, urgent=True)


async def take_it_back(call: Call[Nothing]) -> SubmittedView:
    return await call.desk.ledger.write(
        lambda tx: _submitted(tx, take_back(tx, call.part("release_id"), call.person)), urgent=True
    )


async def keep(call: Call[Nothing]) -> RequestView:
    def step(tx: Tx) -> RequestView:
        request = ask_to_keep(tx, call.part("release_id"), call.person)
        return _request(tx, approvals.Kept(request, called_at=None, why=None))

    return await call.desk.ledger.write(step)


async def renew(call: Call[Nothing]) -> RequestView:
    def step(tx: Tx) -> RequestView:
        request = renew_request(tx, call.part("request_id"), call.person)
        return _request(tx, approvals.Kept(request, called_at=None, why=None))

    return await call.desk.ledger.write(step)


async def withdraw(call: Call[Nothing]) -> RequestView:
    def step(tx: Tx) -> RequestView:
        withdraw_request(tx, call.part("request_id"), call.person)
        kept = approvals.request(tx, call.part("request_id"))
        assert kept is not None, "it was just taken back"
        return _request(tx, kept)

    return await call.desk.ledger.write(step)


class AttestedView(Frozen):
    """What the passkey is to be asked first; or what is recorded."""

    options: dict[str, Any] | None = Field(
        description="What a passkey of the caller's is asked (WebAuthn's "
        "PublicKeyCredentialRequestOptionsJSON): send the same body once more, with its answer as "
        "`proof`. Null: it is recorded."
    )
    decision: DecisionView | None = Field(description="The Commander's, given aloud.")
    settled: Settled | None = Field(description="What the Commander has said of it since.")


class SettleVoice(Frozen):
    """What the Commander says of what was approved in their name."""

    settled: Settled
    #: What their passkey answered.
    proof: dict[str, Any] | None = None


async def attest_voice(call: Call[Attest]) -> AttestedView:
    _same(call.body.request_id, call.part("request_id"), "request_id")
    desk, person = call.desk, call.person

    def step(tx: Tx) -> AttestedView | Refusal:
        done = attest(
            tx, call.body, person, desk.site, allowed=desk.settings.voice_approval,
            practice=desk.practice,
        )  # fmt: skip
        return done if isinstance(done, Refusal) else _attested(tx, desk, person, done)

    return await on_record(desk, step)


async def settle_voice(call: Call[SettleVoice]) -> AttestedView:
    desk, person, it = call.desk, call.person, call.body

    def step(tx: Tx) -> AttestedView | Refusal:
        decided = approvals.decision_of(tx, call.part("request_id"))
        id_ = decided.decision.id if decided else ""
        signed = to_sign(tx, id_, it.settled, person)
        if isinstance(signed, bytes):
            proof = answered(tx, desk, person, it.proof, signed)
            if proof is None:
                return _attested(tx, desk, person, signed)
            signed = settle(tx, id_, it.settled, proof, person, desk.site)
        if signed is not None:
            return signed
        assert decided is not None, "it was just settled"
        return _attested(tx, desk, person, decided)

    return await on_record(desk, step)


def _attested(
    tx: Tx, desk: Desk, person: Person, done: approvals.KeptDecision | bytes
) -> AttestedView:
    """What is recorded; or what the person's passkey is to sign, and is asked."""
    if isinstance(done, bytes):
        asks = options_to_prove(
            desk.site, challenge=done, allowed=own_passkeys(tx, desk, person) or []
        )
        return AttestedView(options=asks, decision=None, settled=None)
    kept = voices.of_decision(tx, done.decision.id)
    return AttestedView(
        options=None, decision=_decision(done), settled=kept.settled if kept else None
    )


# --- Notices ----------------------------------------------------------------------------------


class BeginNotice(Frozen):
    """Routine content, about no open incident (389.3, 389.4)."""

    topic: Topic
    subject: str
    place: str
    request_id: str | None = Field(
        default=None, description="The request up the chain of command that it is written from."
    )


async def begin_notice(call: Call[BeginNotice]) -> IncidentView:
    it = call.body

    def step(tx: Tx) -> IncidentView:
        begun = notices.begin(
            tx, it.topic, it.subject, it.place, call.person, request_id=it.request_id
        )
        kept = incidents.get(tx, begun.id)
        assert kept is not None, "it was just begun"
        return _incident(tx, kept)

    return await call.desk.ledger.write(step)


# --- The roster -------------------------------------------------------------------------------


class NameDeputy(Frozen):
    """Until when somebody is a deputy of the Watch Commander, and why."""

    until: AwareDatetime = Field(description="Within a week.")
    reason: str


class DeputyView(Frozen):
    """Somebody's last time as a deputy of the Watch Commander."""

    person_id: str
    until: datetime
    reason: str
    granted_by: str
    granted_at: datetime
    ended_at: datetime | None = Field(description="When it was ended early.")
    ended_by: str | None


async def name_deputy(call: Call[NameDeputy]) -> DeputyView:
    it, person = call.body, call.person

    def step(tx: Tx) -> DeputyView:
        require_passkey(tx, call.request)
        rostering.delegate(tx, call.part("person_id"), Office.DEPUTY, reason=it.reason,
                           until=it.until, person=person, actor=person.id)  # fmt: skip
        return _deputy(tx, call.part("person_id"))

    return await call.desk.ledger.write(step)


async def end_deputy(call: Call[Nothing]) -> DeputyView:
    person = call.person

    def step(tx: Tx) -> DeputyView:
        require_passkey(tx, call.request)
        rostering.end_delegation(tx, call.part("person_id"), Office.DEPUTY, person=person,
                                 actor=person.id)  # fmt: skip
        return _deputy(tx, call.part("person_id"))

    return await call.desk.ledger.write(step)


def _deputy(tx: Tx, person_id: str) -> DeputyView:
    """The newest delegation; there is one."""
    held = authorities.standing(tx, person_id).delegations
    it = next(each for each in held if each.office is Office.DEPUTY)
    return DeputyView(
        person_id=it.person_id, until=it.until, reason=it.reason, granted_by=it.granted_by,
        granted_at=it.granted_at, ended_at=it.ended_at, ended_by=it.ended_by,
    )  # fmt: skip


# --- What things look like --------------------------------------------------------------------


def _incident(tx: Tx, kept: incidents.Kept) -> IncidentView:
    it: Incident = kept.incident
    return IncidentView(
        id=it.id, public_id=kept.public_id, source=it.source, number=it.number,
        type=it.type.value, status=it.status.value, place=it.place.value if it.place else None,
        priority=it.priority.value if it.priority else None, handling=it.handling, notice=it.notice,
        open=it.open,
        opened_at=it.opened_at, heard_at=it.heard_at, closed_at=it.closed_at, reports=it.reports,
        command=_commander(tx, it.command),
    )  # fmt: skip


def _commander(tx: Tx, command: Command) -> Commander:
    offered = command.offered(tx.now)
    return Commander(
        person_id=command.person_id, with_id=command.with_id, both=command.both,
        name=commander_name(tx, command), epoch=command.epoch, since=command.since,
        offer=_offer(tx, offered) if offered else None,
    )  # fmt: skip


def _offer(tx: Tx, offer: Offer) -> OfferView:
    return OfferView(
        id=offer.id, by=offer.by, to=offer.to, to_name=name_of(tx, offer.to),
        expires_at=offer.expires_at, nonce=offer.nonce,
    )  # fmt: skip


def _revision(revision: Revision) -> RevisionView:
    return RevisionView(
        id=revision.id, update_id=revision.update_id, number=revision.number, kind=revision.kind,
        digest=revision.digest, code=short_code(revision.digest),
        compiled_by=revision.compiled_by, compiled_at=revision.compiled_at,
    )  # fmt: skip


def _request(tx: Tx, kept: approvals.Kept) -> RequestView:
    it: ApprovalRequest = kept.request
    about = incidents.get(tx, it.incident_id)
    command = about.incident.command if about else Command()
    return RequestView(
        id=it.id, revision_id=it.revision_id, incident_id=it.incident_id, digest=it.digest,
        code=short_code(it.digest), nonce=it.nonce, epoch=command.epoch, state=it.state,
        why=kept.why, asked=it.asked,
        asked_name=name_of(tx, it.asked) or asked_in_words(command, {}), created_at=it.created_at,
        expires_at=it.expires_at, called_at=kept.called_at,
    )  # fmt: skip


def _rendering(rendering: Rendering, channel: AnyChannel | None) -> RenderingView:
    return RenderingView(
        channel=rendering.channel, title=channel.title if channel else rendering.channel,
        language=rendering.language, headline=rendering.headline, text=rendering.text,
        length=channel.count(rendering.text) if channel else len(rendering.text),
        limit=channel.limit if channel else None,
        unit=channel.count_rule if channel else CountRule.CHARACTERS,
        frame=channel.frame if channel else None,
    )  # fmt: skip


def pictures_of(revision: Revision) -> tuple[PictureView, ...]:
    """What a revision shows, each with the channels that show it."""
    return tuple(
        PictureView(
            **each.model_dump(), address=picture_address(revision.incident_id, each),
            channels=tuple(one.channel for one in revision.renderings if each in one.pictures),
            without=tuple(one.channel for one in revision.renderings if each not in one.pictures),
        )
        for each in revision.pictures
    )  # fmt: skip


def picture_address(incident_id: str, picture: Image) -> str:
    """Where the desk serves a picture to who may read about the incident."""
    return f"/incidents/{incident_id}/pictures/{picture.file_name}"


def _release(tx: Tx, release: AnyRelease, number: int) -> ReleaseView:
    several = posts.of_release(tx, release.id)
    read = {each.post_id: each.found for each in errands.of_posts(tx, [p.id for p in several])
            if each.owed.errand is Errand.READ_BACK}  # fmt: skip
    return ReleaseView(
        id=release.id, number=number, digest=release.digest, released_at=release.released_at,
        expires_at=release.expires_at, stopped_at=releases.stopped_at(tx, release.id),
        posts=tuple(
            PostView(id=post.id, channel=post.channel, state=post.state, since=post.since,
                     why=post.why, attempts=post.attempts, url=post.url,
                     read_back=read.get(post.id))
            for post in several
        ),
    )  # fmt: skip


def _decision(kept: approvals.KeptDecision | Assent) -> DecisionView:
    if isinstance(kept, Assent):
        return DecisionView(
            id=kept.id, request_id=kept.request_id, person_id=kept.person_id,
            verdict=Verdict.APPROVED, digest=kept.digest, code=short_code(kept.digest),
            reason=None, at=kept.at, waits_for_other=True,
        )  # fmt: skip
    it = kept.decision
    return DecisionView(
        id=it.id, request_id=it.request_id, person_id=it.person_id, verdict=it.verdict,
        digest=it.digest, code=short_code(it.digest), reason=it.reason, at=it.at,
        waits_for_other=False,
    )  # fmt: skip


def approval_detail(tx: Tx, desk: Desk, kept: approvals.Kept) -> ApprovalDetail:
    """A request with all that is shown beside it: for the API and for the Commander's page."""
    revision = approvals.revision(tx, kept.request.revision_id)
    incident = incidents.get(tx, kept.request.incident_id)
    assert revision is not None and incident is not None, "a request's foreign keys"
    decided = approvals.decision_of(tx, kept.request.id)
    changes = lapses_by(revision, facts_of(incident))
    waits = kept.request.state in (RequestState.OPEN, RequestState.LAPSED)
    assent = (
        assents.get(tx, decided.decision.assent_id)
        if decided
        else assents.waiting(tx, kept.request, incident.incident, revision)
    )
    release = releases.of_revision(tx, revision.id)
    numbers = releases.numbers(tx, revision.incident_id)
    channels = {channel.name: channel for channel in desk.channels}
    return ApprovalDetail(
        request=_request(tx, kept), world=revision.world, now=tx.now,
        incident=_incident(tx, incident), number=revision.number, kind=revision.kind,
        compiled_by=revision.compiled_by, compiled_by_name=name_of(tx, revision.compiled_by),
        edited_by=revision.edited_by, edited_by_name=name_of(tx, revision.edited_by),
        area=revision.area, languages=revision.languages, expires_at=revision.expires_at,
        words=revision.words,
        renderings=tuple(
            _rendering(each, channels.get(each.channel)) for each in revision.renderings
        ),
        pictures=pictures_of(revision),
        retraction=tuple(
            _rendering(each, channels.get(each.channel)) for each in revision.retraction
        ),
        replaces=tuple(numbers[release_id] for release_id in revision.replaces),
        corrects=numbers[revision.corrects] if revision.corrects else None,
        changes=since_last_release(tx, revision),
        checks=checks(
            screen(revision.words, revision.renderings, contact=desk.settings.contact,
                   alts=[each.alt for each in revision.pictures]),
            {name: channels[name].title for name in revision.channels if name in channels},
            revision.policy_reasons,
        ),
        attested=revision.attested,
        attested_by_name=name_of(tx, revision.attested_by or revision.compiled_by),
        changed=told(changes, incident.incident) if waits else (),
        keeps=to_keep(kept.request, changes, tx.now),
        old_words=old_words(tx, incident),
        assent=AssentView(
            person_id=assent.person_id, person_name=name_of(tx, assent.person_id), at=assent.at
        )
        if assent
        else None,
        newer=_newer(tx, desk, kept.request, revision),
        decided=DecidedView(
            decision=_decision(decided), person_name=name_of(tx, decided.decision.person_id),
            by_code=decided.seal is not None, outcome=decided.outcome, why=decided.why,
        )
        if decided
        else None,
        release=_release(tx, release, revision.number) if release else None,
    )  # fmt: skip


def _newer(tx: Tx, desk: Desk, request: ApprovalRequest, revision: Revision) -> NewerView | None:
    newer = in_its_place(tx, request)
    now = approvals.revision(tx, newer.revision_id) if newer else None
    if newer is None or now is None:
        return None
    return NewerView(
        request_id=newer.id, address=request_address(desk, newer.id),
        code=short_code(newer.digest), changes=between(revision, now),
    )  # fmt: skip


def _same(body: str, address: str, field: str) -> None:
    if body != address:
        raise Refusal(
            "invalid_field", f"The field {field} is not the one in the address.",
            "Send both alike.", field=field,
        )  # fmt: skip


def _no_incident() -> Refusal:
    return Refusal("no_such_incident", "There is no such incident.", "Open it from the board.",
                   kind=Kind.NOT_FOUND)  # fmt: skip


# --- All of it --------------------------------------------------------------------------------

_CHANGE = (Kind.INVALID, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.CONFLICT)

OPERATIONS: tuple[Operation[Any], ...] = (
    Operation(
        "GET", "/api/v1/incidents", "listIncidents", "Incidents, the one last heard of first.",
        Nothing, Incidents, list_incidents, (Kind.INVALID,),
        query=(("show", tuple(_SHOWN), "Which part of the board; open if left out."),),
    ),
    Operation(
        "GET", "/api/v1/incidents/{incident_id}", "getIncident",
        "One incident, with what was suggested, submitted and released.",
        Nothing, IncidentDetail, get_incident, (Kind.NOT_FOUND,),
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/revisions", "submitRevision",
        "Fixes a wording and asks for its approval.",
        SubmitRevision, SubmittedView, submit, _CHANGE, status=201,
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/command", "recordCommand",
        "Records who commands from now on.", SetCommand, Commander, set_command, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/command/take", "takeCommand",
        "The Watch Commander, a deputy or the duty chief commands from now on, where nobody does.",
        Nothing, Commander, take, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/command/radio", "recordRadioHandOver",
        "Records that a Commander handed command over by radio.",
        RadioHandOver, Commander, radio, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/command/transfer", "transferCommand",
        "The Watch Commander, a deputy or the duty chief moves command, with a reason.",
        TransferCommand, Commander, transfer, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/command/offers", "offerCommand",
        "Offers command to a named person; who commands now decides until it is accepted.",
        OfferCommand, OfferView, offer, _CHANGE, status=201,
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/command/offers/{offer_id}/accept",
        "acceptCommand", "Takes the command that was offered, by passkey. Sent again after it was "
        "done, it gets the first answer again.",
        Accept, Commander, accept, (*_CHANGE, Kind.GONE),
    ),
    Operation(
        "POST", "/api/v1/incidents/{incident_id}/command/offers/{offer_id}/end", "endOffer",
        "Takes an offer back, or declines it.", Nothing, Commander, end_the_offer, _CHANGE,
    ),
    Operation(
        "GET", "/api/v1/approval-requests/{request_id}", "getApprovalRequest",
        "All that is needed to decide, and what became of it.",
        Nothing, ApprovalDetail, get_request, (Kind.NOT_FOUND,),
    ),
    Operation(
        "POST", "/api/v1/approval-requests/{request_id}/decision", "decide",
        "Records one person's decision on the words that they saw. The same key with the same "
        "decision gets the first answer again. Where both Commanders must approve, the first "
        "one's approval waits for the other's.",
        Decide, DecisionView, send_decision, (*_CHANGE, Kind.GONE),
    ),
    Operation(
        "POST", "/hooks/approval/{request_id}", "decideByHook",
        "The same for a department's own app, without a session: the passkey's answer in `proof` "
        "says whose decision it is. Without one it is `passkey_missing`: PIN and code, where the "
        "roster allows them, are typed on the desk's own page alone.",
        Decide, DecisionView, send_decision, (*_CHANGE, Kind.GONE), who=by_passkey,
    ),
    Operation(
        "POST", "/api/v1/approval-requests/{request_id}/withdraw-approval", "withdrawApproval",
        "A Commander takes back their approval, where both must approve and the other has not yet. "
        "The request gets a new nonce.",
        Nothing, RequestView, withdraw_approval, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/approval-requests/{request_id}/edit", "edit",
        "Puts a Commander's edit in the place of what waits for them: texts mended, channels left "
        "out. It is a request of its own, to be decided like any other.",
        EditWords, SubmittedView, edit, (*_CHANGE, Kind.GONE), status=201,
    ),
    Operation(
        "POST", "/api/v1/approval-requests/{request_id}/attestation", "attestVoice",
        "Records an approval that a Commander gave aloud, by the passkey of the second listener. "
        "Sent without `proof` it answers what that passkey is asked.",
        Attest, AttestedView, attest_voice, (*_CHANGE, Kind.GONE),
    ),
    Operation(
        "POST", "/api/v1/approval-requests/{request_id}/attestation/settle", "settleVoice",
        "The Commander ratifies or repudiates, by passkey, what was approved aloud in their name. "
        "Sent without `proof` it answers what that passkey is asked.",
        SettleVoice, AttestedView, settle_voice, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/notices", "beginNotice",
        "Begins a notice; its words are submitted as an incident's are.",
        BeginNotice, IncidentView, begin_notice, (Kind.INVALID, Kind.FORBIDDEN, Kind.CONFLICT),
        status=201,
    ),
    Operation(
        "POST", "/api/v1/people/{person_id}/deputy", "nameDeputy",
        "The Watch Commander names a deputy: called before them, and may take command and decide.",
        NameDeputy, DeputyView, name_deputy, _CHANGE, status=201,
    ),
    Operation(
        "POST", "/api/v1/people/{person_id}/deputy/end", "endDeputy",
        "Ends that somebody is a deputy. Command that they took stays.",
        Nothing, DeputyView, end_deputy, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/approval-requests/{request_id}/renew", "renewRequest",
        "Asks again for the same words after the time to decide ran out.",
        Nothing, RequestView, renew, _CHANGE, status=201,
    ),
    Operation(
        "POST", "/api/v1/approval-requests/{request_id}/withdraw", "withdrawRequest",
        "Takes a submission back while nobody has decided.",
        Nothing, RequestView, withdraw, _CHANGE,
    ),
    Operation(
        "POST", "/api/v1/releases/{release_id}/stop", "stopRelease",
        "Keeps back what has not begun to be sent. What is out stays out.",
        Nothing, ReleaseView, stop, (Kind.FORBIDDEN, Kind.NOT_FOUND),
    ),
    Operation(
        "POST", "/api/v1/releases/{release_id}/take-back", "takeBack",
        "Releases the retraction that was approved with a release, on the channels where it is "
        "out.",
        Nothing, SubmittedView, take_it_back,
        (Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.CONFLICT), status=201,
    ),
    Operation(
        "POST", "/api/v1/releases/{release_id}/keep", "askToKeep",
        "Asks the Commander whether what is held of a release may go as it stands.",
        Nothing, RequestView, keep, (Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.CONFLICT), status=201,
    ),
    Operation(
        "POST", "/api/v1/preview", "preview",
        "What each channel would say of these words, with lengths and faults. Keeps nothing.",
        Preview, Previewed, show_preview, (Kind.INVALID, Kind.FORBIDDEN),
    ),
)  # fmt: skip


async def openapi_document(request: web.Request) -> web.Response:
    """This API, described."""
    return web.json_response(openapi.document(request.app[DESK], OPERATIONS, ACCEPT_REPORT))


async def asyncapi_document(request: web.Request) -> web.Response:
    """The topics for programs outside, described."""
    return web.json_response(asyncapi.document(request.app[DESK]))


routes = [
    web.post(ACCEPT_REPORT.path, accept_report),
    *(operation.route() for operation in OPERATIONS),
    web.get("/api/v1/openapi.json", openapi_document),
    web.get("/api/v1/asyncapi.json", asyncapi_document),
]


def setup(app: web.Application) -> None:
    """Keeps what the door has noted of strangers."""
    app[_NOTED] = {}
