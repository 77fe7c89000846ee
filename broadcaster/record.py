"""The record: append-only entries, each chained to the one before it.

An entry's hash covers RFC 8785 canonical JSON of the entry and the hash before it. Personal and
free-text fields stand in it as salted digests from the first entry on; their values live beside
it, so that one can be redacted or purged and the chain still verifies (the pattern of RFC 9901;
policy 389.7).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import rfc8785

CHAIN_TAG = b"incident-alert-broadcaster/entry/1\0"
FIRST_HASH = hashlib.sha256(CHAIN_TAG + b"the first entry").hexdigest()


class Kind(StrEnum):
    """What an entry says happened. Past tense: none of these can still be refused."""

    LEDGER_CREATED = "LedgerCreated"
    STARTED = "Started"
    REPORT_ACCEPTED = "ReportAccepted"
    PROBLEM_NOTED = "ProblemNoted"
    PROBLEM_SETTLED = "ProblemSettled"
    INCIDENT_OPENED = "IncidentOpened"
    INCIDENT_CHANGED = "IncidentChanged"
    INCIDENT_CLOSED = "IncidentClosed"
    INCIDENT_REOPENED = "IncidentReopened"
    UPDATE_SUGGESTED = "UpdateSuggested"
    COMMAND_RECORDED = "CommandRecorded"
    COMMAND_OFFERED = "CommandOffered"
    COMMAND_OFFER_ENDED = "CommandOfferEnded"
    ACCEPTANCE_REFUSED = "AcceptanceRefused"
    PICTURE_ADDED = "PictureAdded"
    REVISION_SUBMITTED = "RevisionSubmitted"
    REVISION_EDITED = "RevisionEdited"
    REQUEST_RENEWED = "RequestRenewed"
    KEEP_ASKED = "KeepAsked"
    REQUEST_LAPSED = "RequestLapsed"
    REQUEST_EXPIRED = "RequestExpired"
    REQUEST_WITHDRAWN = "RequestWithdrawn"
    APPROVER_CALLED = "ApproverCalled"
    CALL_ENDED = "CallEnded"
    CALL_REPORTED = "CallReported"
    REQUEST_OPENED = "RequestOpened"
    ASSENT_GIVEN = "AssentGiven"
    ASSENT_ENDED = "AssentEnded"
    CONCERNED_CALLED = "ConcernedCalled"
    CALL_OPENED = "CallOpened"
    DECISION_RECORDED = "DecisionRecorded"
    DECISION_REFUSED = "DecisionRefused"
    VOICE_CODES_ISSUED = "VoiceCodesIssued"
    VOICE_CODES_VOIDED = "VoiceCodesVoided"
    VOICE_SETTLED = "VoiceSettled"
    FALLBACK_ALLOWED = "FallbackAllowed"
    FALLBACK_ENDED = "FallbackEnded"
    UPDATE_RELEASED = "UpdateReleased"
    WORDS_KEPT = "WordsKept"
    RELEASE_REFUSED = "ReleaseRefused"
    RETRACTION_ORDERED = "RetractionOrdered"
    RELEASE_STOPPED = "ReleaseStopped"
    ATTEMPT_STARTED = "AttemptStarted"
    POST_DELIVERED = "PostDelivered"
    POST_DEFERRED = "PostDeferred"
    POST_REFUSED = "PostRefused"
    POST_IN_DOUBT = "PostInDoubt"
    POST_REPLACED = "PostReplaced"
    POST_EXPIRED = "PostExpired"
    POST_STOPPED = "PostStopped"
    POST_HELD = "PostHeld"
    POST_NOT_FOUND = "PostNotFound"
    POST_CHOSEN = "PostChosen"
    POST_READ_BACK = "PostReadBack"
    POST_RETRACTED = "PostRetracted"
    POST_STAYS = "PostStays"
    POST_ALARM_SEEN = "PostAlarmSeen"
    REPLIES_ALLOWED = "RepliesAllowed"
    REPLIES_FORBIDDEN = "RepliesForbidden"
    CHANNEL_ADDED = "ChannelAdded"
    CHANNEL_CREDENTIAL_CHANGED = "ChannelCredentialChanged"
    CHANNEL_REMOVED = "ChannelRemoved"
    CHANNEL_TEST_STARTED = "ChannelTestStarted"
    CHANNEL_TEST_ENDED = "ChannelTestEnded"
    CHANNEL_FAILING = "ChannelFailing"
    CHANNEL_RECOVERED = "ChannelRecovered"
    CHANNEL_PAUSED = "ChannelPaused"
    CHANNEL_RESUMED = "ChannelResumed"
    CHANNEL_SENDS_AGAIN = "ChannelSendsAgain"
    CLOCK_STEPPED = "ClockStepped"
    CLOCK_CONFIRMED = "ClockConfirmed"
    PERSON_ADDED = "PersonAdded"
    ROLES_CHANGED = "RolesChanged"
    PERSON_REMOVED = "PersonRemoved"
    ENROLMENT_ISSUED = "EnrolmentIssued"
    PASSKEY_ADDED = "PasskeyAdded"
    PASSKEY_APPROVED = "PasskeyApproved"
    PASSKEY_REVOKED = "PasskeyRevoked"
    PROOF_REFUSED = "ProofRefused"
    PERSON_LOCKED = "PersonLocked"
    PERSON_UNLOCKED = "PersonUnlocked"
    SESSIONS_ENDED = "SessionsEnded"
    REACH_ADDED = "ReachAdded"
    REACH_ENDED = "ReachEnded"
    EXERCISE_ENDED = "ExerciseEnded"
    EXERCISE_BEGUN = "ExerciseBegun"
    AUTHORITY_GRANTED = "AuthorityGranted"
    AUTHORITY_REVOKED = "AuthorityRevoked"
    TRAINING_RECORDED = "TrainingRecorded"
    EXEMPTION_GRANTED = "ExemptionGranted"
    DEPUTY_NAMED = "DeputyNamed"
    DEPUTY_ENDED = "DeputyEnded"
    DUTY_CHIEF_NAMED = "DutyChiefNamed"
    DUTY_CHIEF_ENDED = "DutyChiefEnded"
    GUEST_ENROLLED = "GuestEnrolled"
    GUEST_ENDED = "GuestEnded"
    GUIDELINE_GRANTED = "GuidelineGranted"
    GUIDELINE_ENDED = "GuidelineEnded"
    NOTICE_BEGUN = "NoticeBegun"
    POSTING_REQUESTED = "PostingRequested"
    POSTING_REQUEST_SETTLED = "PostingRequestSettled"
    SIGNED_IN = "SignedIn"
    SIGNED_OUT = "SignedOut"


def salted_digest(salt: bytes, value: str) -> str:
    """HMAC-SHA256 of the value; without the salt a short value cannot be guessed from it.

    A plain hash of one after the other would not tell where the salt ends, and the value could be
    shortened by making the salt longer.
    """
    return hmac.digest(salt, value.encode(), "sha256").hex()


@dataclass(frozen=True)
class PrivateValue:
    """A personal or free-text field kept beside its entry."""

    field: str
    salt: bytes
    value: str

    @property
    def digest(self) -> str:
        return salted_digest(self.salt, self.value)


@dataclass(frozen=True)
class Entry:
    """One fact on the record, as it is written: canonical bytes and what stands beside them."""

    id: str
    kind: str
    at: str
    incident_id: str | None
    body: str
    private: tuple[PrivateValue, ...] = ()


def entry(
    kind: Kind,
    *,
    at: datetime,
    actor: str,
    incident_id: str | None = None,
    public: Mapping[str, object] | None = None,
    private: Mapping[str, str | None] | None = None,
) -> Entry:
    """The entry of one fact. `actor`: a person's id or a step's name. None values are left out."""
    kept = tuple(
        PrivateValue(field, secrets.token_bytes(16), value)
        for field, value in (private or {}).items()
        if value is not None
    )
    entry_id = secrets.token_hex(16)
    stamp = at.isoformat(timespec="microseconds")
    body: dict[str, object] = {
        "id": entry_id,
        "kind": str(kind),
        "at": stamp,
        "actor": actor,
        "incident_id": incident_id,
        "public": {k: v for k, v in (public or {}).items() if v is not None},
        "private": {p.field: p.digest for p in kept},
    }
    text = rfc8785.dumps(body).decode()  # type: ignore[arg-type]
    return Entry(entry_id, str(kind), stamp, incident_id, text, kept)


def seal(previous_hash: str, number: int, body: str) -> str:
    """The hash of entry `number`, which holds the hash of the entry before it."""
    return hashlib.sha256(
        CHAIN_TAG + f"{previous_hash}\0{number}\0".encode() + body.encode()
    ).hexdigest()


@dataclass(frozen=True)
class Sealed:
    """An entry as the ledger gives it back for verification."""

    number: int
    previous_hash: str
    hash: str
    entry: Entry


@dataclass(frozen=True)
class Anchor:
    """The chain's head at a time, kept outside the ledger: catches a cut-off or rewritten end."""

    number: int
    hash: str
    at: str


@dataclass(frozen=True)
class Verdict:
    """What `verify` found. `fault` names the first entry that does not fit, and how."""

    entries: int
    head: str
    fault: str | None = None
    anchor: Anchor | None = None

    @property
    def ok(self) -> bool:
        return self.fault is None


def verify(chain: Iterable[Sealed], anchors: Iterable[Anchor] = ()) -> Verdict:
    """Walks the chain from its first entry and names the first that does not fit."""
    kept = sorted(anchors, key=lambda anchor: anchor.number, reverse=True)
    previous, count, met = FIRST_HASH, 0, None
    for sealed in chain:
        count += 1
        if fault := _fault(sealed, previous, count):
            return Verdict(count, previous, fault, met)
        previous = sealed.hash
        while kept and kept[-1].number <= count:
            anchor = kept.pop()
            if anchor.hash != sealed.hash:
                fault = f"entry {count} differs from the anchor taken at {anchor.at}"
                return Verdict(count, previous, fault, met)
            met = anchor
    if kept:
        fault = (
            f"the record ends at entry {count}, but an anchor of {kept[0].at} names entry "
            f"{kept[0].number}: entries are missing"
        )
        return Verdict(count, previous, fault, met)
    return Verdict(count, previous, anchor=met)


def _fault(sealed: Sealed, previous: str, number: int) -> str | None:
    entry = sealed.entry
    if sealed.number != number:
        return f"entry {number} is missing (the next there is {sealed.number})"
    if sealed.previous_hash != previous:
        return f"entry {number} does not follow the entry before it"
    if seal(previous, number, entry.body) != sealed.hash:
        return f"entry {number} ({entry.kind}) is not what was written: its hash differs"
    return next(_differences(entry, number), None)


def _differences(entry: Entry, number: int) -> Iterator[str]:
    body = json.loads(entry.body)
    columns = {"id": entry.id, "kind": entry.kind, "at": entry.at, "incident_id": entry.incident_id}
    for name, value in columns.items():
        if body[name] != value:
            yield f"entry {number}: its column {name} is not what was written"
    digests: dict[str, str] = body["private"]
    for private in entry.private:
        digest = digests.pop(private.field, None)
        if digest is None:
            yield f"entry {number}: a field {private.field} was added"
        elif private.digest != digest:
            yield f"entry {number}: the value of its field {private.field} is not what was written"
    for field in digests:
        yield f"entry {number}: the value of its field {field} is missing"
