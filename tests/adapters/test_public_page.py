"""The public page under the contract, publishing into a real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.public_page import PublicPage
from broadcaster.delivery import Adapter, Message, Refused, TryLater
from broadcaster.ledger import approvals, incidents, publications
from broadcaster.world import Exercise
from tests.adapters.contract import Contract, Posted
from tests.story import EXERCISE, PAGE, Story, a_story


class LedgerPage:
    """The port as `bootstrap` makes it."""

    def __init__(self, story: Story) -> None:
        self.ledger = story.ledger

    async def publish(self, post_id: str) -> str:
        return await self.ledger.write(lambda tx: publications.publish(tx, post_id))

    async def find(self, post_id: str) -> str | None:
        return await self.ledger.read(lambda tx: publications.find(tx, post_id))


class TestPublicPage(Contract):
    @pytest.fixture(autouse=True)
    async def _story(self, tmp_path: Path) -> AsyncIterator[None]:
        async with a_story(tmp_path) as self.story:
            yield

    @pytest.fixture
    def adapter(self) -> Adapter[Exercise]:
        return PublicPage(PAGE, page=LedgerPage(self.story))

    async def message(self, text: str) -> Message[Exercise]:
        incident_id = await self.story.reported()
        release, planned = await self.story.released(incident_id, text, [PAGE])
        look = self.story.ledger.read
        revision = await look(lambda tx: approvals.revision(tx, release.revision_id))
        kept = await look(lambda tx: incidents.get(tx, incident_id))
        assert revision is not None and kept is not None
        return Message[Exercise](
            post_id=planned[PAGE.name].id, world=EXERCISE, incident_public_id=kept.public_id,
            incident_url=f"http://localhost/p/{kept.public_id}", number=revision.number,
            kind=str(revision.kind), rendering=revision.rendering(PAGE.name),
            released_at=release.released_at, expires_at=release.expires_at,
        )  # fmt: skip

    async def posted(self) -> list[Posted]:
        shown = await self.story.ledger.read(publications.newest)
        return [Posted(each.post_id, each.headline, each.text) for each in shown]

    async def test_twice_is_once(self, adapter: Adapter[Exercise]) -> None:
        message = await self.message("Stay inside.")
        receipt = await adapter.send(message)
        await adapter.send(message)
        assert len(await self.posted()) == 1
        assert receipt.url == f"{message.incident_url}#1"

    async def test_the_ledger_is_away(self, adapter: Adapter[Exercise]) -> None:
        message = await self.message("Stay inside.")
        await self.story.ledger.close()
        for call in (adapter.send, adapter.find):
            with pytest.raises(TryLater, match="Nothing was kept"):
                await call(message)

    async def test_no_such_post(self, adapter: Adapter[Exercise]) -> None:
        message = await self.message("Stay inside.")
        with pytest.raises(Refused, match="no such post"):
            await adapter.send(message.model_copy(update={"post_id": "unknown"}))
