"""How long a test waits for what must come: far beyond what it takes, also on a machine a tenth as fast."""

from __future__ import annotations

#: Seconds.
PATIENCE = 180.0
