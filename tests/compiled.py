"""What SQLAlchemy has compiled, kept for the ledgers of all tests of a process.

Each test has a ledger of its own, and with it an engine, which would compile every statement anew:
a tenth of all the time. `compiled_cache` is SQLAlchemy's own option. Its keys begin with the
engine's dialect; here they begin with what is the same for all engines of a kind.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

Key = tuple[Any, ...]


class Compiled(dict[Key, Any]):
    """By the kind of the dialect, whichever engine's it is."""

    def get(self, key: Key, default: Any = None) -> Any:
        return super().get(_alike(key), default)

    def __setitem__(self, key: Key, compiled: Any) -> None:
        super().__setitem__(_alike(key), compiled)


def _alike(key: Key) -> Key:
    dialect, *rest = key
    return type(dialect), *rest


def keep_compiled() -> None:
    """From now on every connection looks there first."""
    kept = Compiled()

    @event.listens_for(Engine, "engine_connect")
    def _look_there(connection: Connection) -> None:
        connection.execution_options(compiled_cache=kept)
