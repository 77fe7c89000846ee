"""Waiting for a commit that changed something, or for a while."""

from __future__ import annotations

import asyncio
import contextlib

from broadcaster.ledger import Change, Ledger


class Woken:
    """Set by every commit, of whatever process, that changed one of some things."""

    def __init__(self, ledger: Ledger, *what: Change) -> None:
        self._what = frozenset(what)
        self._event = asyncio.Event()
        self.forget = ledger.on_commit(self._hear)  #: takes the listener away again

    def _hear(self, changed: frozenset[Change]) -> None:
        if changed & self._what:
            self._event.set()

    async def wait(self, seconds: float) -> None:
        """Returns at the first such commit since it last did, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()
