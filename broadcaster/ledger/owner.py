"""What the ledger's owner does on PostgreSQL: makes the tables, and gives each role its rights.

Three roles. The *owner* makes and migrates. The *desk* faces the network: it records what people
order, and can write no release, no post, no attempt, nobody with a role, no change of roles, no
link of the roster, and no message that wakes deliver; it may stop a release. The *worker* runs the
steps, and the command line's roster.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url

from broadcaster.guest import LINK_LIVES
from broadcaster.ledger import schema
from broadcaster.ledger.migrate import HEAD, upgrade, version_of
from broadcaster.world import World


@dataclass(frozen=True)
class Roles:
    """The names of the database roles that are to have rights."""

    desk: str = "broadcaster_desk"
    worker: str = "broadcaster_worker"


#: What the desk may write beside reading everything: by table, which acts.
_DESK = {
    "entries": "INSERT",
    "unsealed": "INSERT",
    "private_values": "INSERT",
    "sessions": "INSERT, UPDATE",
    "passkeys": "INSERT",
    "failed_proofs": "INSERT",
    "locks": "INSERT",
    "challenges": "INSERT, DELETE",
    "reaches": "INSERT, UPDATE",
    "exercise_turns": "INSERT",
    "authorities": "INSERT, UPDATE",
    "trainings": "INSERT",
    "exemptions": "INSERT",
    "delegations": "INSERT",
    "people": "INSERT",  # of nobody who has a role: see `_rights`
    "guests": "INSERT",
    "guest_ends": "INSERT",
    "guideline_ends": "INSERT",
    "posting_requests": "INSERT, UPDATE",
    "reports": "INSERT",
    "incidents": "INSERT, UPDATE",
    "command_moves": "INSERT",
    "updates": "INSERT",
    "revisions": "INSERT",
    "pictures": "INSERT",
    "approval_requests": "INSERT",
    "assents": "INSERT",
    "assent_ends": "INSERT",
    "request_changes": "INSERT",
    "decisions": "INSERT",
    "choices": "INSERT",
    "alarms_seen": "INSERT",
    "voice_codes": "INSERT, UPDATE",
    "voice_approvals": "INSERT, UPDATE",
    "fallback_ends": "INSERT",
    "outbox": "INSERT",
    "problems": "INSERT, UPDATE",
    "meta": "INSERT",
}

#: What a worker may write.
_WORKER = {
    "entries": "INSERT",
    "unsealed": "INSERT, DELETE",
    "private_values": "INSERT",
    "seals": "INSERT",
    "reports": "INSERT, UPDATE",
    "incidents": "INSERT, UPDATE",
    "suggestions": "INSERT",
    "command_moves": "INSERT",
    "approval_requests": "INSERT, UPDATE",
    "request_changes": "INSERT, UPDATE",
    "reaches": "INSERT, UPDATE",
    "calls": "INSERT, UPDATE",
    "decisions": "UPDATE",
    "failed_proofs": "INSERT",
    "locks": "INSERT",
    "fallbacks": "INSERT, UPDATE",
    "fallback_pins": "INSERT",
    "fallback_ends": "INSERT",
    "fallback_answers": "UPDATE",
    "guidelines": "INSERT",
    "guideline_ends": "INSERT",
    "releases": "INSERT, UPDATE",
    "posts": "INSERT, UPDATE",
    "attempts": "INSERT, UPDATE",
    "leases": "INSERT, UPDATE",
    "channels": "INSERT, UPDATE",
    "choices": "UPDATE",
    "reply_decisions": "INSERT, UPDATE",
    "accounts": "INSERT, UPDATE",
    "account_secrets": "INSERT, UPDATE, DELETE",
    "credential_warnings": "INSERT, UPDATE",
    "errands": "INSERT, UPDATE",
    "clock_steps": "INSERT, UPDATE",
    "role_changes": "INSERT",
    "guest_ends": "INSERT",
    "people": "INSERT",  # and what else `broadcaster roster` writes: see `_rights`
    "passkeys": "INSERT, UPDATE",
    "enrolments": "INSERT",
    "authorities": "INSERT, UPDATE",
    "trainings": "INSERT",
    "exemptions": "INSERT",
    "delegations": "INSERT, UPDATE",
    "publications": "INSERT",
    "mail_taken": "INSERT, UPDATE",
    "outbox": "INSERT, DELETE",
    "problems": "INSERT, UPDATE",
    "meta": "INSERT, UPDATE",
}

#: What the desk may not even read: with a PIN's hash it could find the PIN; and what channels are
#: signed in with is none of its business, sealed or not.
_NOT_THE_DESKS = {"fallback_pins", "account_secrets"}

#: What was revoked is revoked for good, whoever writes the table.
_REVOKED_STAYS = (
    "CREATE OR REPLACE FUNCTION broadcaster_revoked_stays() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'permission denied: a revoked device stays revoked'; END $$",
    "DROP TRIGGER IF EXISTS revoked_stays ON passkeys",
    "CREATE TRIGGER revoked_stays BEFORE UPDATE ON passkeys FOR EACH ROW "
    "WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at) "
    "EXECUTE FUNCTION broadcaster_revoked_stays()",
)

#: The wakes that the desk may leave. A message that wakes deliver is not among them.
_DESK_TOPICS = ("incident.reports", "update.submitted", "update.decided")


def apply(url: str, world: World, roles: Roles) -> str:
    """Makes or migrates the tables and gives the roles their rights; answers the version.

    The roles must exist. May be run again at any time.
    """
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            if version_of(connection) != HEAD:
                upgrade(connection)
            connection.rollback()
        with engine.begin() as connection:
            for name, value in (("world", world), ("sealer", "")):
                connection.execute(
                    insert(schema.meta).values(name=name, value=value).on_conflict_do_nothing()
                )
            for statement in _rights(connection, roles):
                connection.execute(text(statement))
    finally:
        engine.dispose()
    return HEAD


def _rights(connection: Connection, roles: Roles) -> list[str]:
    quote = connection.dialect.identifier_preparer.quote
    desk, worker = quote(roles.desk), quote(roles.worker)
    both = f"{desk}, {worker}"
    topics = " OR ".join(f"topic LIKE '%.{topic}'" for topic in _DESK_TOPICS)
    every = ", ".join(quote(table) for table in schema.metadata.tables)
    read = ", ".join(map(quote, schema.metadata.tables.keys() - _NOT_THE_DESKS))
    return [
        f"REVOKE ALL ON {every} FROM {both}",
        f"GRANT SELECT ON {every}, alembic_version TO {worker}",
        f"GRANT SELECT ON {read}, alembic_version TO {desk}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {both}",
        *(f"GRANT {acts} ON {quote(table)} TO {desk}" for table, acts in _DESK.items()),
        *(f"GRANT {acts} ON {quote(table)} TO {worker}" for table, acts in _WORKER.items()),
        # A link vouches for the device that is made with it: the desk can use one, and make none.
        *(
            f"GRANT UPDATE (used_at, token, passkey_id) ON {table} TO {desk}"
            for table in ("enrolments", "guests")
        ),
        # Who leaves the roster is signed out; their links are used up, and their codes void.
        f"GRANT UPDATE (ended_at) ON sessions TO {worker}",
        f"GRANT UPDATE (used_at) ON enrolments TO {worker}",
        f"GRANT UPDATE (void_at) ON voice_codes TO {worker}",
        # A device's key and owner stay as they were made.
        f"GRANT UPDATE (counter, approved_at, approved_by, approved_until, approval, revoked_at) "
        f"ON passkeys TO {desk}",
        *_REVOKED_STAYS,
        # What was asked, of whom and until when stays as it was.
        f"GRANT UPDATE (state, why, next_look, nonce) ON approval_requests TO {desk}",
        # The gate counts no end of a lock that no supervisor's passkey has signed.
        f"GRANT UPDATE (ended_at, ended_by, proof) ON locks TO {desk}",
        # What was typed, and not what the gate makes of it.
        f"GRANT INSERT (seal, fallback_id, challenge, at) ON fallback_answers TO {desk}",
        f"GRANT UPDATE (progress, opened_at) ON calls TO {desk}",  # what came of a call
        f"GRANT UPDATE (stopped_at) ON releases TO {desk}",  # it can only keep posts back
        "GRANT UPDATE (paused_by, paused_at, paused_why, failures, again_at, why, tried_now_at) "
        f"ON channels TO {desk}",  # when a channel is asked, never what it is sent
        f"GRANT UPDATE (confirmed_by, confirmed_at) ON clock_steps TO {desk}",
        # The duty chief is the Chief's to name, where the command line runs: never the desk's.
        f"GRANT UPDATE (ended_at, ended_by) ON delegations TO {desk}",
        "ALTER TABLE delegations ENABLE ROW LEVEL SECURITY",
        *_policies("delegations", desk, worker, "office = 'deputy'"),
        "DROP POLICY IF EXISTS delegations_desk_ends ON delegations",
        f"CREATE POLICY delegations_desk_ends ON delegations FOR UPDATE TO {desk} "
        "USING (office = 'deputy')",
        "ALTER TABLE request_changes ENABLE ROW LEVEL SECURITY",
        *_policies(
            "request_changes", desk, worker, "state NOT IN ('released', 'kept', 'not released')"
        ),
        "ALTER TABLE outbox ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE decisions ENABLE ROW LEVEL SECURITY",
        *(
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
            for table in ("enrolments", "people", "guests")
        ),
        *_policies("enrolments", desk, worker, "false"),
        *_uses("enrolments", desk, "expires_at > now()"),
        # Whoever has no role may do nothing, until a Watch Commander's passkey has signed for them.
        *_policies("people", desk, worker, "roles = '' AND NOT practice"),
        *_policies("guests", desk, worker, "used_at IS NULL"),
        *_uses("guests", desk, f"at > now() - interval '{LINK_LIVES.total_seconds():.0f} seconds'"),
        *_policies("outbox", desk, worker, topics),
        *_policies("decisions", desk, worker, "COALESCE(outcome, '') NOT IN ('released', 'kept')"),
    ]


def _uses(table: str, desk: str, while_: str) -> list[str]:
    """The desk may use a link up, once, while it lives."""
    return [
        f"DROP POLICY IF EXISTS {table}_desk_uses ON {table}",
        f"CREATE POLICY {table}_desk_uses ON {table} FOR UPDATE TO {desk} "
        f"USING (used_at IS NULL AND {while_}) WITH CHECK (used_at IS NOT NULL)",
    ]


def _policies(table: str, desk: str, worker: str, desk_may: str) -> list[str]:
    """The desk may insert only what `desk_may` says; both read, and the worker does the rest."""
    names = [f"{table}_desk_reads", f"{table}_desk_writes", f"{table}_worker"]
    return [
        *(f"DROP POLICY IF EXISTS {name} ON {table}" for name in names),
        f"CREATE POLICY {names[0]} ON {table} FOR SELECT TO {desk} USING (true)",
        f"CREATE POLICY {names[1]} ON {table} FOR INSERT TO {desk} WITH CHECK ({desk_may})",
        f"CREATE POLICY {names[2]} ON {table} TO {worker} USING (true) WITH CHECK (true)",
    ]
