"""Deliver: many channels in one transaction, and none of them pays for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from broadcaster.bootstrap import make_adapters
from broadcaster.delivery import PostState
from broadcaster.ledger import leases, posts
from broadcaster.settings import Settings
from streams.deliver import Deliver
from tests.connected.installation import until
from tests.story import HOOK, PAGE, Story

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
    async with delivering(story, tmp_path, PAGE.name) as running:
        async with asyncio.timeout(10):
            await tried.wait()
        await asyncio.wait([running], timeout=WATCHED)
        assert not running.done(), "one post does not end the channel"
        assert written <= 4, "the lease, and the try"
    assert (await kept(story, planned[PAGE.name])).state is PostState.PLANNED


async def test_words_that_cannot_be_read_keep_back_their_own_posts_alone(
    story: Story, tmp_path: Path
) -> None:
    """Opened in one transaction with others, on the same channel and on another."""
    _, broken = await story.released(await story.reported(), channels=[PAGE, HOOK])
    _, sound = await story.released(await story.reported("2026-2"), channels=[PAGE])
    unreadable = text("UPDATE revisions SET body = '{' WHERE incident_id = :incident").bindparams(
        incident=broken[PAGE.name].incident_id
    )
    await story.ledger.write(lambda tx: tx.connection.execute(unreadable).rowcount)
    async with delivering(story, tmp_path, PAGE.name):
        assert await ended(story, sound[PAGE.name]) is PostState.POSTED
    for post in broken.values():
        assert (await kept(story, post)).state is PostState.PLANNED


async def test_a_channel_that_another_holds_keeps_back_its_own_posts_alone(
    story: Story, tmp_path: Path
) -> None:
    _, planned = await story.released(await story.reported(), channels=[PAGE, HOOK])
    name = [f"channel:{HOOK.name}"]
    await story.ledger.write(lambda tx: leases.take(tx, name, "another", timedelta(hours=1)))
    async with delivering(story, tmp_path, PAGE.name, HOOK.name):
        assert await ended(story, planned[PAGE.name]) is PostState.POSTED
    assert (await kept(story, planned[HOOK.name])).state is PostState.PLANNED


@contextlib.asynccontextmanager
async def delivering(story: Story, home: Path, *channels: str) -> AsyncIterator[asyncio.Task[None]]:
    """A deliver to whose process these channels' messages come."""
    adapters = make_adapters(Settings(home=home), story.ledger)
    adapters = {name: adapter for name, adapter in adapters.items() if name in channels}
    for name in set(channels) - adapters.keys():
        adapters[name] = NeverAsked()
    deliver = Deliver(story.ledger, adapters, lambda public_id: public_id, story.clock, "worker-1")
    running = asyncio.create_task(deliver.run(lambda: frozenset(channels)))
    try:
        yield running
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class NeverAsked:
    """The adapter of a channel on which nothing may be sent."""

    channel = HOOK

    async def send(self, message: Any) -> Any:
        raise AssertionError("another has the channel")

    find = send

    async def close(self) -> None:
        """Nothing was opened."""


async def kept(story: Story, post: posts.Kept) -> posts.Kept:
    now = await story.ledger.read(lambda tx: posts.get(tx, post.id))
    assert now is not None
    return now


async def ended(story: Story, post: posts.Kept) -> PostState:
    async def state() -> PostState | None:
        now = (await kept(story, post)).state
        return now if now.ended else None

    return await until("the post ended", state)
