"""The department's own page and feeds.

Publishing is a row in the ledger, keyed by the post's id, so a second time changes nothing; the
words are read there from the approved revision. `bootstrap` hands the port; the desk renders.
"""

from __future__ import annotations

from typing import Protocol

from broadcaster.channel import Channel
from broadcaster.delivery import Message, Receipt, Refused, Sender, TryLater, meant_for
from broadcaster.errors import LedgerAway
from broadcaster.world import W


class Page(Protocol):
    """What the page's keeper can do."""

    async def publish(self, post_id: str) -> str:
        """Puts a post's approved words on the page, once; returns the incident's public id.

        Raises LookupError where there is no such post, LedgerAway where nothing was kept.
        """
        ...

    async def find(self, post_id: str) -> str | None:
        """The incident's public id, if the post is on the page. Raises LedgerAway."""
        ...


class PublicPage(Sender[W]):
    """Posts to the department's own page. Class B: the post's id is ours."""

    def __init__(self, channel: Channel[W], *, page: Page) -> None:
        self.channel = channel
        self._page = page

    async def send(self, message: Message[W]) -> Receipt:
        """Publishes the post. Raises TryLater or Refused."""
        meant_for(self.channel, message)
        try:
            await self._page.publish(message.post_id)
        except LedgerAway as away:
            raise TryLater(str(away)) from None
        except LookupError:
            raise Refused(
                "The ledger has no such post, so nothing was published. Run `broadcaster verify`."
            ) from None
        return _receipt(message)

    async def find(self, message: Message[W]) -> Receipt | None:
        """The post, if it is on the page. Raises TryLater."""
        try:
            found = await self._page.find(message.post_id)
        except LedgerAway as away:
            raise TryLater(str(away)) from None
        return _receipt(message) if found else None

    async def close(self) -> None:
        """The page is the ledger's, and stays."""


def _receipt(message: Message[W]) -> Receipt:
    """The page's own address for one update of an incident."""
    return Receipt(remote_id=message.post_id, url=f"{message.incident_url}#{message.number}")
