"""Installations that the tests of a file share: each test uses incidents of its own.

`at` and `fresh` run a test twice: on the embedded default, and in production.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.connected.installation import Installation
from tests.connected.production import Fresh, fresh, servers

__all__ = ["fresh", "servers"]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(fresh: Fresh) -> AsyncIterator[Installation]:
    """Two receivers: one that is declared to dedupe, and one that is not."""
    async with fresh(receivers={"county": True, "school": False}, sweep_seconds=0.5) as at:
        yield at
