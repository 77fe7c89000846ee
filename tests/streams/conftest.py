"""A broker, and a ledger in which a story is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.brokers import LEFT, broker, collected, embedded_broker, own_broker
from tests.story import Story, a_story

__all__ = ["broker", "collected", "embedded_broker", "own_broker"]


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with a_story(tmp_path) as story:
        yield story


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A broker that hangs, dies or does not let in leaves connections that aiokafka does not close:
    they are the garbage collector's, which complains. That counts for nothing here alone."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{LEFT}"))
