"""A ledger of a test's own: the same cases on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from broadcaster.ledger import Ledger, open_ledger
from tests.postgres import Server
from tests.story import EXERCISE, Story, a_story


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the ledger is: None for a SQLite file."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield None
        else:
            running: Server = request.getfixturevalue("postgres")
            yield stack.enter_context(running.database()).url()


@pytest.fixture
async def ledger(tmp_path: Path, url: str | None) -> AsyncIterator[Ledger]:
    ledger = open_ledger(tmp_path / "ledger.db", EXERCISE, url=url)
    yield ledger
    await ledger.close()


@pytest.fixture
async def story(tmp_path: Path, url: str | None) -> AsyncIterator[Story]:
    async with a_story(tmp_path, url) as story:
        yield story
