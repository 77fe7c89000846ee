"""How long a test waits for what must come: far beyond what it takes, also on a busy machine."""

from __future__ import annotations

#: Seconds.
PATIENCE = 60.0
