"""Several things side by side, all of which end with the first that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Runs the parts until one of them raises; ends the others, and raises that.

    A task group does the same, but before Python 3.13 one that fails at the moment when it is
    cancelled forgets the latter: the process that wants to end would wait for ever.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raised = [task.exception() for task in tasks if not task.cancelled()]
    for problem in raised:
        if problem is not None:
            raise problem
