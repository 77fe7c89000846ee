"""A deadline that is kept whether or not what is awaited obeys it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


async def within(seconds: float, work: Awaitable[object]) -> bool:
    """Whether `work` ended well in so many seconds; after them it is cancelled.

    Unlike `asyncio.timeout` this does not wait for it to obey, since coroutines of Faust and
    aiokafka swallow cancellations, or raise one that nobody asked for.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(noticed)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
        return False
    return not task.cancelled() and task.exception() is None


def noticed(task: asyncio.Future[Any]) -> None:
    """Looks at an error that may come when nobody waits any more, or asyncio complains of it."""
    if not task.cancelled():
        task.exception()
