"""Whatever a step does, whoever asked for it is answered."""

from __future__ import annotations

import asyncio

import pytest

from broadcaster.ledger import Ledger, Tx
from tests.patience import PATIENCE


def lets_an_end_out(tx: Tx) -> int:
    nothing: list[int] = []
    return next(iter(nothing))


async def test_a_step_that_lets_an_iterations_end_out_is_answered(ledger: Ledger) -> None:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(RuntimeError, match="let an iteration's end out"):
            await ledger.write(lets_an_end_out)
        with pytest.raises(RuntimeError, match="let an iteration's end out"):
            await ledger.read(lets_an_end_out)
