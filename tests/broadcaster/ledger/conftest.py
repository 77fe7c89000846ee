"""A ledger of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broadcaster.ledger import Ledger, open_ledger
from tests.story import EXERCISE, Story, a_story


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = open_ledger(tmp_path / "ledger.db", EXERCISE)
    yield ledger
    await ledger.close()


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with a_story(tmp_path) as story:
        yield story
