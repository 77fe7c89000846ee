"""Seals what the ledger keeps and may not tell: with keys that stand outside it.

Fernet (AES-128-CBC with HMAC-SHA256), so that what was changed or sealed by another does not open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from broadcaster.errors import Refusal


class Sealer:
    """Seals with the first of some keys, and opens what any of them has sealed."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises ValueError where one is no key."""
        try:
            self._keys = MultiFernet([Fernet(key.strip()) for key in keys])
        except ValueError:
            raise ValueError("it is no key; `broadcaster channel key` makes one") from None

    def seal(self, what: Mapping[str, Any], about: Sequence[str]) -> str:
        """`about`: what it belongs to, so that it cannot be put in the place of another."""
        inside = json.dumps({"about": list(about), "what": dict(what)}).encode()
        return self._keys.encrypt(inside).decode()

    def open(self, sealed: str, about: Sequence[str]) -> dict[str, Any]:
        """What was sealed. Raises Refusal where none of the keys opens it, or it is another's."""
        try:
            inside = json.loads(self._keys.decrypt(sealed.encode()))
        except InvalidToken:
            raise _closed() from None
        if inside["about"] != list(about):
            raise _closed()
        found: dict[str, Any] = inside["what"]
        return found


def new_key() -> str:
    return Fernet.generate_key().decode()


def _closed() -> Refusal:
    return Refusal(
        "account_sealed",
        "The account in the ledger does not open with BROADCASTER_ACCOUNTS_KEY.",
        "Set the key that it was sealed with; or remove the channel and add it again.",
        field="BROADCASTER_ACCOUNTS_KEY",
    )
