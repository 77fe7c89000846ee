"""Brings a ledger's tables up to this version's, by Alembic."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from broadcaster.errors import Refusal

#: The newest migration. Known here, so that Alembic is loaded only where there is work for it.
HEAD = "0030"
MIGRATIONS = Path(__file__).parent / "migrations"


def bring_up_to_date(connection: Connection, path: Path) -> None:
    """Makes the tables of a new ledger, or changes an older one's, keeping a copy beside it.

    Raises Refusal where a newer version of the product wrote the ledger.
    """
    version = version_of(connection)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise Refusal(
            "ledger_newer",
            f"This ledger was written by a newer version of the broadcaster (tables {version}, "
            f"this version knows {HEAD}).",
            "Install that version again, or set BROADCASTER_HOME to another folder.",
        )
    if version is not None:
        shutil.copy2(path, path.with_suffix(f".before-{HEAD}.db"))
    upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Runs the migrations that this ledger has not seen."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def version_of(connection: Connection) -> str | None:
    """The newest migration that a ledger has seen; None: it has no tables."""
    with contextlib.suppress(DatabaseError):
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    connection.rollback()
    return None
