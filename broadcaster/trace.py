"""One trace id for all that follows from a report, up to the last receipt (W3C Trace Context).

32 lower-case hexadecimal digits. It is drawn at random, because subscribers see it: one that were
computed from a report's number would let them guess the number.
"""

from __future__ import annotations

import re
import secrets
import uuid

#: https://www.w3.org/TR/trace-context/#traceparent-header; versions after 00 may append to it.
_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}"
    r"-[0-9a-f]{2}(?P<more>-.*)?"
)


def begun() -> str:
    """A new trace."""
    return secrets.token_hex(16)


def adopted(traceparent: str | None) -> str | None:
    """The trace of a sender's `traceparent`; None where it sent none, or one that is ill formed."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return found["trace"]


def traceparent(trace: str, message_id: str) -> str:
    """The `traceparent` of a message of ours; the same message (a UUID) has the same one again."""
    return f"00-{trace}-{uuid.UUID(message_id).hex[16:]}-01"
