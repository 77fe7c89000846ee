"""The public page under the contract, publishing into a real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.public_page import PublicPage
from broadcaster.cleaning import clean_picture
from broadcaster.delivery import Adapter, Message, Refused, TryLater
from broadcaster.ledger import approvals, incidents, publications
from broadcaster.orders import ShowPicture
from broadcaster.world import Exercise
from tests.adapters.contract import ALT, Contract, Pictured, Posted
from tests.pictures import kept_picture, photograph
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

    async def message(
        self, text: str, number: int = 1, *, pictured: bool = False
    ) -> Message[Exercise]:
        incident_id = await self.story.reported()
        shown: tuple[ShowPicture, ...] = ()
        if pictured:
            image = await kept_picture(self.story.ledger, incident_id, self.story.pio)
            shown = (ShowPicture(digest=image.digest, alt=ALT),)
        submitted = await self.story.submitted(incident_id, text, [PAGE], pictures=shown)
        release, planned = await self.story.gated(submitted)
        look = self.story.ledger.read
        revision = await look(lambda tx: approvals.revision(tx, release.revision_id))
        kept = await look(lambda tx: incidents.get(tx, incident_id))
        assert revision is not None and kept is not None
        return Message[Exercise](
            post_id=planned[PAGE.name].id, world=EXERCISE, incident_public_id=kept.public_id,
            incident_url=f"http://localhost/p/{kept.public_id}", number=revision.number,
            kind=str(revision.kind), rendering=revision.rendering(PAGE.name),
            released_at=release.released_at, expires_at=release.expires_at,
            files={each.digest: clean_picture(photograph()).data for each in revision.pictures},
        )  # fmt: skip

    async def posted(self) -> list[Posted]:
        shown = await self.story.ledger.read(publications.newest)
        return [Posted(each.post_id, each.headline, each.text) for each in shown]

    async def shown(self) -> list[Pictured]:
        told = await self.story.ledger.read(publications.newest)
        return [Pictured(each.digest, each.alt) for one in told for each in one.pictures]

    async def test_a_picture_is_shown_as_it_was_approved_or_is_not_taken(
        self, adapter: Adapter[Exercise]
    ) -> None:
        """What the page shows it reads from the ledger, whatever it is given: the approved one."""
        message = await self.message("Stay inside.", pictured=True)
        await adapter.send(message)
        [picture] = message.rendering.pictures
        assert await self.shown() == [Pictured(picture.digest, picture.alt)]

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
