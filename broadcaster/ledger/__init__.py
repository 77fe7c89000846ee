"""The ledger: where the truth is kept, and how it is written.

Everything outside imports from here: `Ledger` to run a step, `Tx` inside one. The modules beside
it (`reports`, `incidents`, `approvals`, `posts`, ...) hold what steps say to the ledger, one
module a subject, each function taking the step's `Tx` first.
"""

from __future__ import annotations

from pathlib import Path

from broadcaster.clock import Clock
from broadcaster.ledger.base import Ledger
from broadcaster.ledger.sqlite import open_sqlite
from broadcaster.ledger.tx import Change, Tx
from broadcaster.world import World

__all__ = ["Change", "Ledger", "Tx", "open_ledger"]


def open_ledger(
    path: Path, world: World, clock: Clock | None = None, *, url: str | None = None
) -> Ledger:
    """The SQLite ledger in a file, or with `url` the PostgreSQL one. Raises Refusal, LedgerAway."""
    if url is None:
        return open_sqlite(path, world, clock)
    from broadcaster.ledger.postgres import open_postgres  # its driver is loaded where it is used

    return open_postgres(url, world, clock)
