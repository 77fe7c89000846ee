"""An installation that the tests of a file share: each uses incidents of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.connected.installation import Embedded, Installation


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at() -> AsyncIterator[Installation]:
    """Two receivers: one that is declared to dedupe, and one that is not."""
    async with Embedded.fresh(
        receivers={"county": True, "school": False}, sweep_seconds=0.5
    ) as installation:
        yield installation
