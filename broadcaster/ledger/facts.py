"""Each fact on the record is one line in the log of the process that made it, after its commit."""

from __future__ import annotations

import json
from collections.abc import Iterable

import structlog

from broadcaster.record import Entry

log = structlog.get_logger(__name__)

#: What a line holds of a fact beside its kind and its incident: ids and stable codes, so that it
#: can be followed; never words, names or private values.
_HOLDS = (
    "trace", "report_id", "request_id", "decision_id", "release_id", "post_id", "channel",
    "attempt", "problem", "code",
)  # fmt: skip


def say(entries: Iterable[Entry]) -> None:
    """Logs entries that are committed."""
    for entry in entries:
        public = json.loads(entry.body)["public"]
        held = {name: public[name] for name in _HOLDS if name in public}
        log.info(entry.kind, incident=entry.incident_id, **held)
