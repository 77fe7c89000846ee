"""A desk beside workers: how the steps are, from the ledger alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from broadcaster.beside import Beside
from broadcaster.ledger import Tx, leases, open_ledger
from tests.story import EXERCISE, NOW, StillClock, a_story


async def test_what_stands_still_is_told_with_its_oldest_time(tmp_path: Path) -> None:
    async with a_story(tmp_path) as story:
        beside = Beside(story.ledger, ["county"], story.clock)
        await beside.look()
        assert beside.away is not None and beside.away.since == NOW
        assert "No relay runs" in beside.away.why and "county" in beside.away.why

        def all_run(tx: Tx) -> None:
            for name in ("relay", "channel:county"):
                leases.take(tx, [name], "somebody", timedelta(seconds=6))

        await story.ledger.write(all_run)
        await beside.look()
        assert beside.away is None


async def test_a_ledger_that_is_away_is_told_since_it_first_was(tmp_path: Path) -> None:
    clock = StillClock()
    ledger = open_ledger(tmp_path, EXERCISE, clock, url="postgresql://nobody@127.0.0.1:1/none")
    beside = Beside(ledger, [], clock)
    for _ in range(2):
        await beside.look()
        clock.move(seconds=5)
    assert beside.away is not None and beside.away.since == NOW
    assert beside.away.why.startswith("The ledger cannot take this now")
    await ledger.close()
