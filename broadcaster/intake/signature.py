"""Who sent this: Standard Webhooks over the raw bytes (standardwebhooks.com, specification 1.0).

The `standardwebhooks` library reads the clock itself and knows one secret at a time, so we verify
for ourselves; the tests sign with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from broadcaster.errors import Kind, Refusal
from broadcaster.intake.checks import SKEW

_PREFIX = "whsec_"
_SIGN_AGAIN = "Sign `id.timestamp.body` over the raw bytes that are sent, with a current secret."


def key(secret: str) -> bytes:
    """The key in a secret such as `whsec_…` (base64 of 24 to 64 bytes).

    Raises Refusal `secret_unusable`.
    """
    text = secret.removeprefix(_PREFIX)
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not 24 <= len(found) <= 64:
        raise Refusal(
            "secret_unusable",
            "A webhook secret is not base64 of 24 to 64 bytes.",
            "Make one with `openssl rand -base64 32` and put `whsec_` before it.",
        )
    return found


def verify(raw: bytes, headers: Mapping[str, str], keys: Sequence[bytes], *, now: datetime) -> str:
    """The message id, once one of `keys` (two while rotating) has signed exactly these bytes.

    Raises Refusal `signature_missing`, `signature_wrong` or `signature_old` (more than 5 minutes
    from `now`, either way).
    """
    lower = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at, signatures = (
        lower.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
    )
    if not (message_id and sent_at and signatures):
        raise _unknown(
            "signature_missing",
            "This message is not signed: webhook-id, webhook-timestamp and webhook-signature "
            "belong in its headers.",
            "Sign it as Standard Webhooks says, with the secret that was set up for you.",
        )
    signed = f"{message_id}.{sent_at}.".encode("utf-8", "surrogateescape") + raw
    given = [
        signature[3:].encode("utf-8", "surrogateescape")
        for signature in signatures.split(" ")
        if signature.startswith("v1,")
    ]
    right = [
        hmac.compare_digest(base64.b64encode(hmac.digest(each, signed, hashlib.sha256)), one)
        for each in keys
        for one in given
    ]
    if not any(right):
        raise _unknown(
            "signature_wrong", "No signature of this message fits its bytes.", _SIGN_AGAIN
        )
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12):
        raise _unknown(
            "signature_wrong",
            "The header webhook-timestamp is not a whole number of seconds since 1970.",
            _SIGN_AGAIN,
        )
    if abs(int(sent_at) - now.astimezone(UTC).timestamp()) > SKEW.total_seconds():
        raise _unknown(
            "signature_old",
            "This message was signed more than 5 minutes before or after our time.",
            "Check the sender's clock, and sign each attempt anew under the same webhook-id.",
        )
    return message_id


def _unknown(code: str, why: str, do: str) -> Refusal:
    return Refusal(code, why, do, kind=Kind.UNKNOWN)
