"""Anchors: the record's head, written outside the ledger, so that a cut-off end is seen.

One JSON line an anchor in `record.anchors`, each forced to the disk. A copy kept on another
machine protects against whoever can write both files.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from broadcaster.record import Anchor


def read(path: Path) -> list[Anchor]:
    """The anchors taken so far; a line cut off by a crash is left out."""
    anchors = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            anchors.append(Anchor(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return anchors


def add(path: Path, anchor: Anchor) -> None:
    """Appends an anchor and waits until the disk has it."""
    with path.open("a") as file:
        file.write(json.dumps(vars(anchor)) + "\n")
        file.flush()
        os.fsync(file.fileno())
