"""What the ledger's owner does on PostgreSQL: makes the tables, and gives each role its rights.

Three roles. The *owner* makes and migrates. The *desk* faces the network: it records what people
order, and can write no release, no post, no attempt, no link for a device, and no message that
wakes deliver; it may stop a release. The *worker* runs the steps, and the command line's roster.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url

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
    "locks": "INSERT, UPDATE",
    "challenges": "INSERT, DELETE",
    "reaches": "INSERT, UPDATE",
    "exercise_turns": "INSERT",
    "authorities": "INSERT, UPDATE",
    "trainings": "INSERT",
    "exemptions": "INSERT",
    "delegations": "INSERT, UPDATE",
    "guideline_ends": "INSERT",
    "posting_requests": "INSERT, UPDATE",
    "reports": "INSERT",
    "incidents": "INSERT, UPDATE",
    "updates": "INSERT",
    "revisions": "INSERT",
    "approval_requests": "INSERT, UPDATE",
    "decisions": "INSERT",
    "voice_codes": "INSERT, UPDATE",
    "voice_approvals": "INSERT, UPDATE",
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
    "approval_requests": "INSERT, UPDATE",
    "reaches": "INSERT, UPDATE",
    "calls": "INSERT, UPDATE",
    "decisions": "UPDATE",
    "guidelines": "INSERT",
    "guideline_ends": "INSERT",
    "releases": "INSERT, UPDATE",
    "posts": "INSERT, UPDATE",
    "attempts": "INSERT, UPDATE",
    "leases": "INSERT, UPDATE",
    "people": "INSERT",  # and what else `broadcaster roster` writes: see `_rights`
    "passkeys": "INSERT, UPDATE",
    "enrolments": "INSERT",
    "authorities": "INSERT, UPDATE",
    "trainings": "INSERT",
    "exemptions": "INSERT",
    "publications": "INSERT",
    "outbox": "INSERT, DELETE",
    "problems": "INSERT, UPDATE",
    "meta": "INSERT, UPDATE",
}

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
    return [
        f"REVOKE ALL ON {every} FROM {both}",
        f"GRANT SELECT ON {every}, alembic_version TO {both}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {both}",
        *(f"GRANT {acts} ON {quote(table)} TO {desk}" for table, acts in _DESK.items()),
        *(f"GRANT {acts} ON {quote(table)} TO {worker}" for table, acts in _WORKER.items()),
        # A link vouches for the device that is made with it: the desk can use one, and make none.
        f"GRANT UPDATE (used_at, token, passkey_id) ON enrolments TO {desk}",
        # A device's key and owner stay as they were made.
        f"GRANT UPDATE (counter, approved_at, approved_by, approved_until, approval, revoked_at) "
        f"ON passkeys TO {desk}",
        *_REVOKED_STAYS,
        f"GRANT UPDATE (progress, opened_at) ON calls TO {desk}",  # what came of a call
        f"GRANT UPDATE (stopped_at) ON releases TO {desk}",  # it can only keep posts back
        "ALTER TABLE outbox ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE decisions ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE enrolments ENABLE ROW LEVEL SECURITY",
        *_policies("enrolments", desk, worker, "false"),
        "DROP POLICY IF EXISTS enrolments_desk_uses ON enrolments",
        f"CREATE POLICY enrolments_desk_uses ON enrolments FOR UPDATE TO {desk} "
        "USING (used_at IS NULL AND expires_at > now()) WITH CHECK (used_at IS NOT NULL)",
        *_policies("outbox", desk, worker, topics),
        *_policies("decisions", desk, worker, "COALESCE(outcome, '') NOT IN ('released', 'kept')"),
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
