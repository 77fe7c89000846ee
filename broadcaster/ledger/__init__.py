"""The ledger: where the truth is kept, and how it is written.

Everything outside imports from here: `Ledger` to run a step, `Tx` inside one. The modules beside
it (`reports`, `incidents`, `approvals`, `posts`, ...) hold what steps say to the ledger, one
module a subject, each function taking the step's `Tx` first.
"""

from __future__ import annotations

from broadcaster.ledger.base import Ledger
from broadcaster.ledger.sqlite import open_sqlite as open_ledger
from broadcaster.ledger.tx import Change, Tx

__all__ = ["Change", "Ledger", "Tx", "open_ledger"]
