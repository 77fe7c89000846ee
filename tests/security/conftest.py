"""The desk of the desk's own tests, looked at from outside."""

from __future__ import annotations

from tests.broadcaster.desk.conftest import (
    another_client,
    app,
    client,
    clock,
    desk,
    empty_ledger,
    incident,
    ledger,
    persons,
    released,
    settings,
    some_settings,
    submitted,
)

__all__ = [
    "another_client", "app", "client", "clock", "desk", "empty_ledger", "incident", "ledger",
    "persons", "released", "settings", "some_settings", "submitted",
]  # fmt: skip
