"""Deliver: a send that cannot be noted is looked at again, and not without end."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from broadcaster.bootstrap import make_adapters
from broadcaster.delivery import PostState
from broadcaster.ledger import posts
from broadcaster.settings import Settings
from streams.deliver import Deliver
from tests.story import PAGE, Story

#: Seconds that it is watched for: one that does not pause writes hundreds of times in them.
WATCHED = 1.0


async def test_a_send_that_cannot_be_noted_does_not_spin(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, planned = await story.released(await story.reported(), channels=[PAGE])
    unreadable = text("UPDATE revisions SET body = '{'")
    await story.ledger.write(lambda tx: tx.connection.execute(unreadable).rowcount)
    write, written, tried = story.ledger.write, 0, asyncio.Event()

    async def counted(step: Any, *, urgent: bool = False) -> Any:
        nonlocal written
        written += 1
        if urgent:
            tried.set()
        return await write(step, urgent=urgent)

    monkeypatch.setattr(story.ledger, "write", counted)
    adapters = make_adapters(Settings(home=tmp_path), story.ledger)
    deliver = Deliver(story.ledger, adapters, lambda public_id: public_id, story.clock, "worker-1")
    running = asyncio.create_task(deliver.run(lambda: frozenset({PAGE.name})))
    try:
        async with asyncio.timeout(10):
            await tried.wait()
        await asyncio.wait([running], timeout=WATCHED)
        assert not running.done(), "one post does not end the channel"
        assert written <= 4, "the lease, and the try"
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    post = await story.ledger.read(lambda tx: posts.get(tx, planned[PAGE.name].id))
    assert post is not None and post.state is PostState.PLANNED
