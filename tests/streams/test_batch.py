"""What comes while one is under way is done together; one that fails fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from broadcaster.errors import LedgerAway
from streams.batch import Batch


class Doing:
    """Notes what it was asked for together; waits to be let go on."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.away = False

    async def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.together.append(list(asked))
        self.asked.set()
        await self.go_on.wait()
        if self.away:
            raise LedgerAway("it is gone")
        if 13 in asked:
            raise ValueError("13")
        return [number * 2 if number < 100 else KeyError(number) for number in asked]


async def test_what_comes_in_the_meantime_is_done_together() -> None:
    doing = Doing()
    batch: Batch[int, int] = Batch(doing)
    first = asyncio.create_task(batch(1))
    await doing.asked.wait()
    rest = [asyncio.create_task(batch(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    doing.go_on.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert doing.together == [[1], [2, 3, 4]]


async def test_one_that_fails_fails_alone() -> None:
    doing = Doing()
    doing.go_on.set()
    batch: Batch[int, int] = Batch(doing)
    answers = await asyncio.gather(*map(batch, (1, 13, 100, 2)), return_exceptions=True)
    assert [answers[0], answers[3]] == [2, 4]
    assert isinstance(answers[1], ValueError) and isinstance(answers[2], KeyError)
    assert doing.together == [[1, 13, 100, 2], [1], [13], [100], [2]]


async def test_a_ledger_that_is_away_is_not_asked_again_for_each() -> None:
    doing = Doing()
    doing.away = True
    doing.go_on.set()
    batch: Batch[int, int] = Batch(doing)
    answers = await asyncio.gather(*map(batch, (1, 2)), return_exceptions=True)
    assert all(isinstance(answer, LedgerAway) for answer in answers)
    assert doing.together == [[1, 2]]


async def test_who_no_longer_waits_keeps_nobody_waiting() -> None:
    doing = Doing()
    batch: Batch[int, int] = Batch(doing)
    gone, there = asyncio.create_task(batch(1)), asyncio.create_task(batch(2))
    await doing.asked.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    doing.go_on.set()
    assert await there == 4
