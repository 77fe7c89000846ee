"""A ledger of a test's own: the same cases on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from broadcaster.clock import SystemClock
from broadcaster.ledger import Ledger, open_ledger
from tests.postgres import Server
from tests.story import EXERCISE, Story, a_story, new_ledger


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the ledger is: None for a SQLite file."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield None
        else:
            request.getfixturevalue("patient")
            running: Server = request.getfixturevalue("postgres")
            yield stack.enter_context(running.database()).url()


@pytest.fixture
async def ledger(tmp_path: Path, url: str | None) -> AsyncIterator[Ledger]:
    path = tmp_path / "ledger.db"
    if url is None:
        path.write_bytes(await new_ledger(SystemClock()))
    ledger = open_ledger(path, EXERCISE, url=url)
    yield ledger
    await ledger.close()


@pytest.fixture
async def story(tmp_path: Path, url: str | None) -> AsyncIterator[Story]:
    async with a_story(tmp_path, url) as story:
        yield story
