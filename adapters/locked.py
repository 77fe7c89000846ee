"""A channel whose account does not open: it waits until somebody mends that."""

from __future__ import annotations

from broadcaster.channel import Channel
from broadcaster.delivery import LockedOut, Message, Receipt, Sender
from broadcaster.world import W


class Locked(Sender[W]):
    """Sends nothing, and says why."""

    def __init__(self, channel: Channel[W], why: str) -> None:
        self.channel = channel
        self._why = why

    async def send(self, message: Message[W]) -> Receipt:
        raise LockedOut(self._why)

    async def close(self) -> None:
        """Nothing is open."""
