"""Side by side: the first that fails ends the rest, and a cancellation is never forgotten."""

from __future__ import annotations

import asyncio

import pytest

from streams.together import together


async def for_ever(ended: list[str] | None = None) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        if ended is not None:
            ended.append("ended")


async def failing(when: asyncio.Event) -> None:
    await when.wait()
    raise LookupError("as told")


async def test_the_first_failure_ends_the_rest_and_is_raised() -> None:
    ended: list[str] = []
    now = asyncio.Event()
    now.set()
    with pytest.raises(LookupError, match="as told"):
        await together(for_ever(ended), failing(now), for_ever(ended))
    assert ended == ["ended", "ended"]


async def test_all_that_end_well_end_it() -> None:
    await together(asyncio.sleep(0), asyncio.sleep(0.01))


async def test_cancelled_it_ends_them_and_says_so() -> None:
    ended: list[str] = []
    task = asyncio.create_task(together(for_ever(ended), for_ever(ended)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended", "ended"]


@pytest.mark.parametrize("turns", range(6))
async def test_cancelled_while_one_fails_it_is_cancelled(turns: int) -> None:
    """As many turns of the loop after the failure as it takes to end."""
    now = asyncio.Event()

    async def again_and_again() -> None:
        while True:
            try:
                await together(for_ever(), failing(now), for_ever())
            except LookupError:
                now.clear()

    task = asyncio.create_task(again_and_again())
    await asyncio.sleep(0.01)
    now.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    assert task.cancelled()
