"""The streams' start: what nobody here would send is told at once."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from broadcaster.bootstrap import flowing
from broadcaster.clock import SystemClock
from broadcaster.delivery import PostState
from broadcaster.ledger import posts
from broadcaster.settings import Settings
from tests.brokers import Embedded
from tests.story import HOOK, Story


async def test_posts_of_a_channel_that_is_gone_are_held_when_the_streams_start(
    story: Story, own_broker: Embedded, tmp_path: Path
) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    assert await story.ledger.read(posts.waiting) == 1
    changed = asyncio.Event()
    story.ledger.on_commit(lambda _: changed.set())
    flow = flowing(
        Settings(home=tmp_path), story.ledger, own_broker.at,
        "http://127.0.0.1/p", SystemClock(),
    )  # fmt: skip
    running = asyncio.create_task(flow.run())
    try:
        async with asyncio.timeout(15):
            while await story.ledger.read(posts.waiting):
                changed.clear()
                await changed.wait()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    post = await story.ledger.read(lambda tx: posts.get(tx, planned[HOOK.name].id))
    assert post is not None and post.state is PostState.HELD
    assert post.why and "in the settings no more" in post.why
