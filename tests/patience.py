"""How long a test waits for what must come: far beyond what it takes, on a slow machine, too."""

from __future__ import annotations

#: Seconds.
PATIENCE = 180.0
