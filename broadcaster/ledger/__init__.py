"""The ledger: where the truth is kept, and how it is written.

Everything outside imports from here: `Ledger` to run a step, `Tx` inside one. The modules beside
it (`reports`, `incidents`, `approvals`, `posts`, ...) hold what steps say to the ledger, one
module a subject, each function taking the step's `Tx` first.
"""

from __future__ import annotations

from broadcaster.ledger.tx import Change, Tx
from broadcaster.ledger.writer import Ledger, open_ledger

__all__ = ["Change", "Ledger", "Tx", "open_ledger"]
