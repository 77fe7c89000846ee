"""Every table of the ledger. Written for SQLite and PostgreSQL alike.

Times are UTC. Ids are text. What the rules compute (an incident, a revision) is kept whole as
JSON beside the columns that are searched by.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps no zone, so it is taken off and put on again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        aware: datetime = value
        return aware.replace(tzinfo=UTC) if aware.tzinfo is None else aware.astimezone(UTC)


#: SQLite counts a rowid only for a column that is exactly INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: One row a ledger: whose it is and which world it belongs to.
meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# --- The record -------------------------------------------------------------------------------

entries = Table(
    "entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("incident_id", Text, index=True),
    Column("body", Text, nullable=False),
)

#: An entry's number and hash. Apart from it, because the sealer writes after the step.
seals = Table(
    "seals",
    metadata,
    Column("number", Serial, primary_key=True, autoincrement=False),
    Column("entry_id", Text, ForeignKey("entries.id"), nullable=False, unique=True),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

#: Entries that the sealer has still to number: PostgreSQL alone, SQLite seals with the step.
unsealed = Table(
    "unsealed",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("entry_id", Text, ForeignKey("entries.id"), nullable=False),
)

#: The personal and free-text fields of entries: the one part of the record that can be purged.
private_values = Table(
    "private_values",
    metadata,
    Column("entry_id", Text, ForeignKey("entries.id"), primary_key=True),
    Column("field", Text, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("value", Text, nullable=False),
)

# --- People -----------------------------------------------------------------------------------

people = Table(
    "people",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("roles", Text, nullable=False),
    #: Made by the exercise itself: may be chosen on loopback without a link.
    Column("practice", Boolean, nullable=False, default=False),
    Column("added_at", Instant, nullable=False),
)

#: What somebody's roles are from a time on, by the Chief's word (389.3); none: they are taken off
#: the roster.
role_changes = Table(
    "role_changes",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("roles", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("by", Text, ForeignKey("people.id"), nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("token", Text),  # once it is used: proves that whoever used it had the link
    Column("passkey_id", Text, index=True),  # the one that was made with it
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    Column("signed_in_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("browser", Text, nullable=False),  # as it named itself
    Column("by_code", Boolean, nullable=False, server_default=false()),  # and not by passkey
)

#: What proves a person (WebAuthn). `private_key`: of practice persons alone, and kept by the desk.
passkeys = Table(
    "passkeys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("synced", Boolean, nullable=False),
    Column("aaguid", Text, nullable=False),
    Column("private_key", LargeBinary),
    Column("added_at", Instant, nullable=False),
    Column("approved_at", Instant),
    Column("approved_by", Text),
    Column("approved_until", Instant),
    Column("approval", Text),  # what the passkey of `approved_by` answered
    Column("revoked_at", Instant),
)

#: Proofs that did not fit, from the person's own session (CJIS AC-7).
failed_proofs = Table(
    "failed_proofs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
)

#: Who proves nothing from when, until a supervisor has signed that it is over.
locks = Table(
    "locks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", Text),
    Column("proof", Text),  # what the passkey of `ended_by` answered
)

#: What a browser was asked to sign, until it is used up or its time is over.
challenges = Table(
    "challenges",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id")),
    Column("expires_at", Instant, nullable=False),
)

#: How a person is called. The address is theirs, and leaves this table for nothing but the call.
reaches = Table(
    "reaches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("means", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("ended_at", Instant),
)

#: An exercise ends for a real incident, and begins again: the newest row says which.
exercise_turns = Table(
    "exercise_turns",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("by", Text, ForeignKey("people.id"), nullable=False),
    Column("running", Boolean, nullable=False),
)

#: Who may post what on the department's behalf, until when, and by whose word (389.3).
authorities = Table(
    "authorities",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("content", Text, nullable=False),
    Column("until", Instant),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("revoked_by", Text),
)

#: What a person was trained in, and until when it counts (389.8).
trainings = Table(
    "trainings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("subject", Text, nullable=False),
    Column("given_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

#: A supervisor's leave from approved equipment or duty hours (389.3).
exemptions = Table(
    "exemptions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("matter", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", Instant, nullable=False),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", Instant, nullable=False),
)

#: Who is a deputy of the Watch Commander, by their word, or the duty chief, by the Chief's.
delegations = Table(
    "delegations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("office", Text, nullable=False, server_default="deputy"),
    Column("reason", Text, nullable=False),
    Column("until", Instant, nullable=False),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", Text),
)

#: The Chief's word that a person may decide with PIN and code (broadcaster/fallback.py), the hashes
#: of the PINs, which the desk may not read, and which have ended. An end is never changed.
fallbacks = Table(
    "fallbacks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", Instant, nullable=False),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", Instant, nullable=False),
)

fallback_pins = Table(
    "fallback_pins",
    metadata,
    Column("fallback_id", Text, ForeignKey("fallbacks.id"), primary_key=True),
    Column("hash", Text, nullable=False),
)

fallback_ends = Table(
    "fallback_ends",
    metadata,
    Column("fallback_id", Text, ForeignKey("fallbacks.id"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("by", Text, nullable=False),
)

#: What was typed, sealed, and what the gate made of it: the step whose code it was, or why not.
fallback_answers = Table(
    "fallback_answers",
    metadata,
    Column("seal", Text, primary_key=True),
    Column("fallback_id", Text, ForeignKey("fallbacks.id"), nullable=False),
    Column("challenge", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("step", BigInteger),
    Column("refused", Text),
    #: A code counts once (RFC 6238 §5.2).
    UniqueConstraint("fallback_id", "step"),
)

#: Commanders from outside, each for one incident (broadcaster/guest.py). A row counts for nothing
#: without the passkey's answer in `approval`. Which have ended stands apart, so that no end is ever
#: taken back.
guests = Table(
    "guests",
    metadata,
    Column("person_id", Text, ForeignKey("people.id"), primary_key=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("approval", Text, nullable=False),
    Column("used_at", Instant),
    Column("token", Text),  # once it is used, as in `enrolments`
    Column("passkey_id", Text),
)

guest_ends = Table(
    "guest_ends",
    metadata,
    Column("person_id", Text, ForeignKey("guests.person_id"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("by", Text, ForeignKey("people.id"), nullable=False),
)

#: The Chief's written guidelines, and which have ended. Two tables, so that neither is ever
#: changed: the desk may end a guideline, and neither make one nor bring one back.
guidelines = Table(
    "guidelines",
    metadata,
    Column("id", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("granted_at", Instant, nullable=False),
)

guideline_ends = Table(
    "guideline_ends",
    metadata,
    Column("guideline_id", Text, ForeignKey("guidelines.id"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("by", Text, ForeignKey("people.id"), nullable=False),
)

#: What members who may not post ask for, up the chain of command (389.3).
posting_requests = Table(
    "posting_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("state", Text, nullable=False),
    Column("settled_by", Text),
    Column("settled_at", Instant),
    Column("reason", Text),
    #: The notice that was begun from it.
    Column("notice_id", Text, ForeignKey("incidents.id")),
)

# --- Reports and incidents --------------------------------------------------------------------

reports = Table(
    "reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("body_digest", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("incident_id", Text, nullable=False, index=True),
    #: The trace that begins here (broadcaster/trace.py); what it causes takes it on, row by row.
    Column("trace", Text, nullable=False),
    Column("compiled_at", Instant),
    Column("next_look", Instant),
    UniqueConstraint("source", "message_id"),
    Index("ix_reports_due", "next_look", sqlite_where=text("next_look IS NOT NULL"),
          postgresql_where=text("next_look IS NOT NULL")),
)  # fmt: skip

incidents = Table(
    "incidents",
    metadata,
    Column("id", Text, primary_key=True),
    #: The public address's part: says nothing about the number at the source.
    Column("public_id", Text, nullable=False, unique=True),
    Column("number", Text, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("handling", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("heard_at", Instant, nullable=False),
    Column("closes_at", Instant, nullable=False),
    Index("ix_incidents_board", "open", "handling", "heard_at"),
    Index("ix_incidents_closing", "open", "closes_at"),
)

suggestions = Table(
    "suggestions",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("why", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("trace", Text),
)

# --- From a wording to a release --------------------------------------------------------------

updates = Table(
    "updates",
    metadata,
    Column("id", Text, primary_key=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    UniqueConstraint("incident_id", "number"),
)

revisions = Table(
    "revisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("update_id", Text, ForeignKey("updates.id"), nullable=False, index=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("compiled_by", Text, ForeignKey("people.id"), nullable=False),
    Column("compiled_at", Instant, nullable=False),
)

approval_requests = Table(
    "approval_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("revision_id", Text, ForeignKey("revisions.id"), nullable=False, index=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("asked", Text, ForeignKey("people.id")),
    Column("epoch", Integer, nullable=False),
    #: Makes what a passkey signs this request's own.
    Column("nonce", Text, nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("trace", Text),
    #: Why it ended where no person decided, or the gate's refusal.
    Column("why", Text),
    Column("called_at", Instant),
    Column("next_look", Instant, index=True),
)

#: What whoever is concerned is called about beside requests that wait: command moved, or is
#: offered; the gate released nothing; words lapsed.
command_moves = Table(
    "command_moves",
    metadata,
    Column("id", Text, primary_key=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("about", Text, nullable=False),
    #: Whom it concerns: persons by id, and offices. JSON.
    Column("concerned", Text, nullable=False),
    #: The request that it is about.
    Column("request_id", Text, ForeignKey("approval_requests.id"), index=True),
    #: Who did it, and so is not called.
    Column("by", Text, ForeignKey("people.id")),
    Column("at", Instant, nullable=False, index=True),
)

#: Every call of a person about a request, a move or a problem: one row, however often it is tried.
calls = Table(
    "calls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text, ForeignKey("approval_requests.id"), index=True),
    Column("move_id", Text, ForeignKey("command_moves.id"), index=True),
    Column("problem_id", Integer, ForeignKey("problems.id"), index=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    Column("reach_id", Text, ForeignKey("reaches.id"), nullable=False),
    Column("means", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("again_at", Instant),
    Column("why", Text),
    Column("remote_id", Text),
    Column("ended_at", Instant),
    #: What the provider told of it later.
    Column("progress", Text),
    #: When the person called first opened what the call leads to.
    Column("opened_at", Instant),
)

#: The first of two Commanders' approvals, where both must (broadcaster/approval.py).
assents = Table(
    "assents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text, ForeignKey("approval_requests.id"), nullable=False),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    #: The request's, when it was given: one that was taken back has another than the request.
    Column("nonce", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("keeps", Text),
    #: Of the command that it was given under.
    Column("epoch", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    #: The passkey's answer, for the gate to look at by itself (WebAuthn JSON).
    Column("proof", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    UniqueConstraint("request_id", "person_id", "idempotency_key"),
)

#: Which nonces of requests were given up with an approval that was given for them. Apart from both,
#: so that none is ever taken up again.
assent_ends = Table(
    "assent_ends",
    metadata,
    Column("request_id", Text, ForeignKey("approval_requests.id"), primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("assent_id", Text, ForeignKey("assents.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("by", Text, ForeignKey("people.id"), nullable=False),
)

#: Each change of a request's state, for the department's own app.
request_changes = Table(
    "request_changes",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("request_id", Text, ForeignKey("approval_requests.id"), nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("told_at", Instant),
    #: None once it was told, or given up.
    Column("next_look", Instant),
    Index("ix_request_changes_due", "request_id", "id",
          sqlite_where=text("next_look IS NOT NULL"),
          postgresql_where=text("next_look IS NOT NULL")),
)  # fmt: skip

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    #: One decision a request: the second tap finds the first.
    Column("request_id", Text, ForeignKey("approval_requests.id"), nullable=False, unique=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False),
    Column("verdict", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("reason", Text),
    Column("idempotency_key", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    Column("at", Instant, nullable=False),
    #: The command that held when it was decided.
    Column("command", Text, nullable=False),
    #: The passkey's answer, for the gate to look at by itself (WebAuthn JSON).
    Column("proof", Text),
    #: PIN and code instead of it, as they were sealed.
    Column("seal", Text, ForeignKey("fallback_answers.seal")),
    #: The digest of the changed facts in spite of which the words are kept.
    Column("keeps", Text),
    #: The guideline that decided instead of a person (389.3).
    Column("guideline_id", Text, ForeignKey("guidelines.id")),
    #: Where both Commanders must approve, the other's approval.
    Column("assent_id", Text, ForeignKey("assents.id")),
    #: What the gate made of it: `released`, or the refusal's code and words.
    Column("outcome", Text),
    Column("why", Text),
    Column("judged_at", Instant),
    Column("next_look", Instant, index=True),
)

#: A Commander's one-time codes for approving aloud, as salted slow hashes (broadcaster/voice.py).
voice_codes = Table(
    "voice_codes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", Text, ForeignKey("people.id"), nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    Column("hash", Text, nullable=False),
    Column("issued_at", Instant, nullable=False),
    #: Wrong ones said for this person while this one stood.
    Column("wrong", Integer, nullable=False),
    Column("void_at", Instant),
    Column("used_by", Text, ForeignKey("decisions.id")),
)

#: What a second listener heard, for decisions that were given aloud.
voice_approvals = Table(
    "voice_approvals",
    metadata,
    Column("decision_id", Text, ForeignKey("decisions.id"), primary_key=True),
    #: A code is said once.
    Column("code_id", Text, ForeignKey("voice_codes.id"), nullable=False, unique=True),
    Column("heard", Text, nullable=False),
    #: Ratified or repudiated by the Commander.
    Column("settled", Text),
    Column("settled_at", Instant),
)

releases = Table(
    "releases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("revision_id", Text, ForeignKey("revisions.id"), nullable=False, unique=True),
    Column("decision_id", Text, ForeignKey("decisions.id"), nullable=False, unique=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("released_at", Instant, nullable=False, index=True),
    Column("expires_at", Instant, nullable=False),
    Column("stopped_at", Instant),
    #: As in the decision by which it goes on.
    Column("keeps", Text),
)

#: The pictures of updates by what they are named by, each once: who can see an approval can be
#: shown what was approved. Never changed, and never taken away.
pictures = Table(
    "pictures",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("sha1", Text, nullable=False),  # which CAP 1.2 asks for
    Column("type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("added_by", Text, ForeignKey("people.id"), nullable=False),
    Column("added_at", Instant, nullable=False),
)

# --- Delivery ---------------------------------------------------------------------------------

posts = Table(
    "posts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("release_id", Text, ForeignKey("releases.id"), nullable=False),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("channel", Text, nullable=False),
    Column("trace", Text),
    #: The release's order, so that a channel's posts leave in order within an incident.
    Column("released_at", Instant, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("why", Text),
    Column("attempts", Integer, nullable=False, default=0),
    Column("remote_id", Text),
    Column("url", Text),
    Column("replaced_by", Text, ForeignKey("releases.id")),
    Column("next_look", Instant),
    #: How often it was looked for since the last try of it ended in doubt, and when last.
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("looked_at", Instant),
    #: None of the tries that had ended by then is in doubt any more.
    Column("not_there_at", Instant),
    #: When a person last chose what should become of it.
    Column("chosen_at", Instant),
    UniqueConstraint("release_id", "channel"),
    Index("ix_posts_due", "channel", "next_look", sqlite_where=text("next_look IS NOT NULL"),
          postgresql_where=text("next_look IS NOT NULL")),
)  # fmt: skip

attempts = Table(
    "attempts",
    metadata,
    Column("post_id", Text, ForeignKey("posts.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("started_at", Instant, nullable=False),
    #: Until then its sender may still be at it; nobody else sends this post before.
    Column("send_before", Instant, nullable=False),
    Column("lease_epoch", Integer, nullable=False),
    Column("ended_at", Instant),
    Column("outcome", Text),
    Column("why", Text),
    #: The channel's number of the post in whose place the words were put, where they were.
    Column("edits", Text),
)

#: What is owed to posts that are there: read back, or taken down. Without `due_at` it has an end.
errands = Table(
    "errands",
    metadata,
    Column("post_id", Text, ForeignKey("posts.id"), primary_key=True),
    Column("errand", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("due_at", Instant),
    Column("reads", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("found", Text),
    Column("why", Text),
    Column("done_at", Instant),
    #: How often somebody had to look, and what was read last where that was not as approved.
    Column("alarm", Integer, nullable=False, server_default="0"),
    Column("read_digest", Text),
    Index("ix_errands_due", "due_at", sqlite_where=text("due_at IS NOT NULL"),
          postgresql_where=text("due_at IS NOT NULL")),
)  # fmt: skip

#: Who has seen which alarm of an errand: the desk writes it. A later one is another alarm. That a
#: post expired is seen as alarm 0 of `send`.
alarms_seen = Table(
    "alarms_seen",
    metadata,
    Column("post_id", Text, ForeignKey("posts.id"), primary_key=True),
    Column("errand", Text, primary_key=True),
    Column("alarm", Integer, primary_key=True),
    Column("by", Text, ForeignKey("people.id"), nullable=False),
    Column("at", Instant, nullable=False),
)

#: By whom, why and until when a channel is used although the public can answer there (389.5.1).
reply_decisions = Table(
    "reply_decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("until", Instant, nullable=False),
    Column("decided_by", Text, ForeignKey("people.id"), nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", Text, ForeignKey("people.id")),
)

#: The channels that were added by command, beside those of the settings.
accounts = Table(
    "accounts",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    #: What else the channel is made of (JSON); no secret.
    Column("shape", Text, nullable=False),
    #: Rises with each new credential.
    Column("serial", Integer, nullable=False),
    #: The last day that its credential is good for, where somebody knows it.
    Column("expires_on", Text),
    Column("added_by", Text, ForeignKey("people.id"), nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("changed_by", Text, ForeignKey("people.id"), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("removed_at", Instant),
)

#: What proves us to each of them, sealed with a key that stands outside the ledger.
account_secrets = Table(
    "account_secrets",
    metadata,
    Column("channel", Text, ForeignKey("accounts.channel"), primary_key=True),
    Column("sealed", Text, nullable=False),
)

#: Of which last day of a channel's credential somebody was told, and how many days before it.
credential_warnings = Table(
    "credential_warnings",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("ends", Text, nullable=False),
    Column("days", Integer, nullable=False),
)

#: How a channel fares, and what was ordered of it: a row once a process has sent on it.
channels = Table(
    "channels",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("again_at", Instant),
    Column("why", Text),
    Column("paused_by", Text),
    Column("paused_at", Instant),
    Column("paused_why", Text),
    Column("proved_at", Instant),
    Column("sends_again_by", Text),
    Column("tried_now_at", Instant),  # what waited then to be tried again waits no longer
)

#: When the ledger's clock was found to have been set, by how much, and who said that it is right.
clock_steps = Table(
    "clock_steps",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("confirmed_by", Text),
    Column("confirmed_at", Instant),
)

#: What a person chose of a post that cannot be ended without one: the desk writes it, the sweep
#: carries it out.
choices = Table(
    "choices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("post_id", Text, ForeignKey("posts.id"), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("choice", Text, nullable=False),
    Column("url", Text),
    Column("by", Text, nullable=False),  # a person's id, or the operator
    Column("at", Instant, nullable=False),
    Column("trace", Text),
    Column("done_at", Instant),
)

#: One worker holds a channel, or the relay, at a time; the epoch rises with each new holder.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("until", Instant, nullable=False),
)

#: What the public page and the feeds show: written by the page's adapter alone.
publications = Table(
    "publications",
    metadata,
    Column("post_id", Text, ForeignKey("posts.id"), primary_key=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("headline", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("published_at", Instant, nullable=False, index=True),
    Column("expires_at", Instant, nullable=False),
)

#: What became of each recipient of a post by mail: written by that adapter alone. `recipient` is a
#: hash of the post and the address.
mail_taken = Table(
    "mail_taken",
    metadata,
    Column("post_id", Text, ForeignKey("posts.id"), primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("fate", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

# --- Messages and what was wrong with some ----------------------------------------------------

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    #: Written on the message; what the broker may give twice is told apart by it.
    Column("message_id", Text, nullable=False),
    Column("trace", Text),
    Column("at", Instant, nullable=False),
)

problems = Table(
    "problems",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", Instant, nullable=False),
    #: Where it came from: a topic, `http`, a file; never what it said.
    Column("source", Text, nullable=False),
    Column("topic", Text),
    Column("partition", Integer),
    Column("offset", BigInteger),
    #: When it was written (ms since 1970): a broker that began anew may reuse an offset.
    Column("written", BigInteger),
    Column("line", Integer),
    Column("code", Text, nullable=False),
    Column("field", Text),
    Column("why", Text, nullable=False),
    Column("do", Text, nullable=False),
    Column("state", Text, nullable=False, default="open"),
    Column("settled_by", Text),
    Column("settled_at", Instant),
    Index("ix_problems_state", "state", "id"),
)

#: What may never be changed or taken away. The database itself refuses.
APPEND_ONLY = ("entries", "seals")


def pictures_ddl(dialect: str) -> list[str]:
    """The statements that make UPDATE and DELETE on pictures abort."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER pictures_{act.lower()}_refused BEFORE {act} ON pictures "
            "BEGIN SELECT RAISE(ABORT, 'a picture stays as it is'); END"
            for act in ("UPDATE", "DELETE")
        ]
    return [
        "CREATE FUNCTION picture_stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a picture stays as it is'; END $$",
        "CREATE TRIGGER pictures_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON pictures "
        "FOR EACH STATEMENT EXECUTE FUNCTION picture_stays()",
    ]


def append_only_ddl(dialect: str) -> list[str]:
    """The statements that make UPDATE and DELETE on the record abort."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_{act.lower()}_refused BEFORE {act} ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
            for table in APPEND_ONLY
            for act in ("UPDATE", "DELETE")
        ]
    return [
        "CREATE FUNCTION record_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the record is append-only'; END $$",
        *(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION record_is_append_only()"
            for table in APPEND_ONLY
        ),
    ]
