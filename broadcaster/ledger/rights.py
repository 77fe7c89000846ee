"""What the database lets us do, as it says itself: which of the three roles a process has."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from broadcaster.ledger.tx import Tx

#: What only a worker may write: with any of these, the part that faces the network could publish.
_WORKERS = ("releases", "posts", "attempts", "seals")


@dataclass(frozen=True)
class Rights:
    """One role of the database, and what it may."""

    role: str
    owns: bool  #: the tables, or everything: no right can be kept from it
    decides: bool  #: may record a decision, as the desk does
    releases: bool  #: may write a release, a post, an attempt or a seal, as a worker does


def of_this_process(tx: Tx) -> Rights:
    """The rights that we signed in with. PostgreSQL alone."""
    asked = ", ".join(f"has_table_privilege('{table}', 'INSERT')" for table in _WORKERS)
    role, owns, decides, *releases = tx.connection.execute(
        text(
            "SELECT current_user, pg_has_role(relowner, 'USAGE'), "
            f"has_table_privilege('decisions', 'INSERT'), {asked} "
            "FROM pg_class WHERE oid = 'releases'::regclass"
        )
    ).one()
    return Rights(role, owns, decides, any(releases))
