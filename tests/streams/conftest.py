"""A broker, and a ledger in which a story is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.brokers import broker, embedded_broker, own_broker
from tests.story import Story, a_story

__all__ = ["broker", "embedded_broker", "own_broker"]


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with a_story(tmp_path) as story:
        yield story
