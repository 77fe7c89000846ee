"""What every ledger does, whatever database keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from broadcaster.errors import Kind, Refusal
from broadcaster.ledger.tx import Change, Tx
from broadcaster.world import World

T = TypeVar("T")
Step = Callable[[Tx], T]
Listener = Callable[[frozenset[Change]], None]


def answered(step: Step[T], tx: Tx) -> T:
    """What a step answers. A StopIteration cannot be told to who awaits it: they would for ever."""
    try:
        return step(tx)
    except StopIteration as ended:
        raise RuntimeError("the step let an iteration's end out") from ended


class Ledger(ABC):
    """The truth of one installation, in one world.

    `write` runs a step and answers after its commit; `read` runs one that only looks. Both raise
    what the step raised, or LedgerAway.
    """

    world: World

    #: Whether this process alone writes here: then nobody else's leases or attempts can be alive.
    alone: bool

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @abstractmethod
    async def write(self, step: Step[T], *, urgent: bool = False) -> T:
        """Runs a step and answers once it is committed. Decisions and stops are urgent."""

    @abstractmethod
    async def read(self, query: Step[T], *, long: bool = False) -> T:
        """Runs a query on one consistent view of what is committed.

        `long`: it takes the time that it takes, as a walk through the whole record does.
        """

    @abstractmethod
    async def prove(self) -> None:
        """Raises LedgerAway unless the ledger can be written now; reading alone proves little."""

    @abstractmethod
    async def close(self) -> None:
        """Finishes what waits, then lets go of the database."""

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` in its event loop after each commit that changed something.

        Returns what takes the listener away again.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, changes: frozenset[Change]) -> None:
        if changes:
            for listener in tuple(self._listeners):
                listener(changes)


def wrong_world(owner: str, world: World) -> Refusal:
    return Refusal(
        "wrong_world",
        f"This ledger belongs to the {owner} world, and this start is for the {world} world.",
        "Set BROADCASTER_HOME or BROADCASTER_LEDGER_URL to another ledger, or BROADCASTER_WORLD "
        "back.",
    )


def never_made() -> Refusal:
    return Refusal(
        "ledger_not_made",
        "The ledger has no tables of this version yet.",
        "Have its owner run `broadcaster ledger apply`.",
        kind=Kind.UNAVAILABLE,
    )
