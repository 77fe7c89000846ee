"""How soon a restart sees to what was being sent: `make bench`.

A thousand posts to ten channels were being sent when the process was killed. Prints after how long
all stand on the record as left open, and after how long all that can be looked for were: beside as
many commits of one row each, which is what a disk takes for being told.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter

from broadcaster.ledger import Ledger
from broadcaster.record import Kind
from tests.bench.figures import figure, keep
from tests.story import a_story
from tests.streams.restart import CHANNELS, INCIDENTS, restarted

POSTS = INCIDENTS * len(CHANNELS)
SETUP = "embedded"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with a_story(Path(folder)) as story:
            seen, _ = await restarted(story)
            bare = await commits(story.ledger, POSTS)
    listed, looked_for = (
        (max(each.values()) - seen.began).total_seconds() for each in (seen.listed, seen.proved)
    )
    print(f"{POSTS} posts: listed after {listed:.1f} s, looked for after {looked_for:.1f} s "
          f"(aim 10); {POSTS} commits alone {bare:.1f} s")  # fmt: skip
    keep([
        figure("restart", SETUP, f"{POSTS} open posts are listed", listed, "s"),
        figure("restart", SETUP, "all that can be are looked for", looked_for, "s"),
        figure("restart", SETUP, f"{POSTS} commits alone", bare, "s"),
    ])  # fmt: skip


async def commits(ledger: Ledger, count: int) -> float:
    """Seconds that so many transactions take, each of which notes one thing."""
    began = perf_counter()
    for _ in range(count):
        await ledger.write(lambda tx: tx.record(Kind.CHANNEL_RECOVERED, actor="bench"))
    return perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main())
