"""The streams' start: what nobody here would send is told at once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher

from broadcaster.accounts import WebhookAccount
from broadcaster.bootstrap import flowing
from broadcaster.clock import SystemClock
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import LedgerAway
from broadcaster.ledger import posts, problems
from broadcaster.orders import stop_release
from broadcaster.settings import Settings
from streams import deliver, making, run, topics
from tests.brokers import Embedded
from tests.connected.installation import until
from tests.kafka import Cluster
from tests.patience import PATIENCE
from tests.story import EXERCISE, HOOK, Story
from tests.streams.helpers import a_name, produce


async def test_posts_of_a_channel_that_is_gone_are_held_when_the_streams_start(
    story: Story, own_broker: Embedded, tmp_path: Path
) -> None:
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    assert await story.ledger.read(posts.waiting) == 1
    changed = asyncio.Event()
    story.ledger.on_commit(lambda _: changed.set())
    flow = flowing(
        Settings(home=tmp_path), story.ledger, own_broker.at,
        "http://127.0.0.1", SystemClock(),
    )  # fmt: skip
    running = asyncio.create_task(flow.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while await story.ledger.read(posts.waiting):
                changed.clear()
                await changed.wait()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    post = await story.ledger.read(lambda tx: posts.get(tx, planned[HOOK.name].id))
    assert post is not None and post.state is PostState.HELD
    assert post.why and "There is no such channel any more" in post.why


SECRET = "whsec_" + base64.b64encode(b"0" * 32).decode()


class Outage:
    """A ledger that can be away, and a webhook that counts what it is sent."""

    def __init__(self, story: Story, patch: pytest.MonkeyPatch) -> None:
        self.away, self.sent = False, 0
        self.goes_away_at_a_send = False
        self._write = story.ledger.write
        patch.setattr(story.ledger, "write", self._written)
        patch.setattr("adapters.webhook.Webhook.send", lambda _, message: self._send(message))

    async def _written(self, step: Any, *, urgent: bool = False) -> Any:
        if self.away:
            raise LedgerAway("it is gone")
        return await self._write(step, urgent=urgent)

    async def _send(self, message: Any) -> Receipt:
        self.away, self.sent = self.goes_away_at_a_send, self.sent + 1
        return Receipt(remote_id="1", url=None)


@contextlib.asynccontextmanager
async def running(story: Story, broker: Embedded, home: Path) -> AsyncIterator[run.Flowing]:
    """Everything, with the webhook HOOK."""
    hook = WebhookAccount(
        kind="webhook", name=HOOK.name, title=HOOK.title, url="https://x", secret=SECRET
    )
    flow = flowing(
        Settings(home=home, channels=[hook]), story.ledger, broker.at,
        "http://127.0.0.1", SystemClock(),
    )  # fmt: skip
    task = asyncio.create_task(flow.run())
    try:
        yield flow
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ended_as(story: Story, post_id: str, state: PostState) -> None:
    async def so() -> bool:
        now = await story.ledger.read(lambda tx: posts.get(tx, post_id))
        return now is not None and now.state is state

    await until(f"the post is {state}", so)


async def restarted(flow: run.Flowing, times: int) -> None:
    async def so() -> bool:
        return flow.restarts >= times

    await until(f"the streams ended {times} times", so)


async def test_a_receipt_outlives_the_streams_that_the_ledgers_absence_ends(
    story: Story, own_broker: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blind channel's post would else end in doubt although its proof was had."""
    monkeypatch.setattr(deliver, "GRACE", 0.1)
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    outage = Outage(story, monkeypatch)
    outage.goes_away_at_a_send = True
    async with running(story, own_broker, tmp_path) as flow:
        await restarted(flow, 1)
        outage.away = False
        await ended_as(story, planned[HOOK.name].id, PostState.POSTED)
    assert outage.sent == 1


async def test_after_an_outage_a_stop_comes_before_what_it_stops(
    story: Story, own_broker: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could press Stop while the ledger was away, so deliver waits for those who did."""
    monkeypatch.setattr(run, "LONG_AWAY", 0.0)
    monkeypatch.setattr(run, "STOPS_FIRST", 2.0)
    release, planned = await story.released(await story.reported(), channels=[HOOK])
    outage = Outage(story, monkeypatch)
    outage.away = True
    async with running(story, own_broker, tmp_path) as flow:
        await restarted(flow, 2)
        outage.away = False

        async def back() -> bool:
            return flow.away is None

        await until("the streams run", back)
        await story.ledger.write(lambda tx: stop_release(tx, release.id, story.pio))
        await ended_as(story, planned[HOOK.name].id, PostState.STOPPED)
    assert outage.sent == 0


async def test_a_worker_whose_fetches_bring_nothing_is_started_again(
    story: Story, kafka: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 5 of the fault matrix: what waits for it on the cluster tells that it is wedged."""
    wedged, in_vain = threading.Event(), threading.Event()  # fetches are made in another thread
    fetch = Fetcher._proc_fetch_request

    async def dropped(fetcher: Fetcher, assignment: Any, node: int, request: Any) -> bool:
        if wedged.is_set():
            in_vain.set()
            await asyncio.sleep(0.1)
            return False
        answered: bool = await fetch(fetcher, assignment, node, request)
        return answered

    monkeypatch.setattr(Fetcher, "_proc_fetch_request", dropped)
    broker = replace(kafka.at, prefix=f"{a_name('wedged')}.")
    await making.make(broker, topics.full_names(EXERCISE, ["public_page"]))
    flow = flowing(
        Settings(home=tmp_path, watchdog_seconds=5), story.ledger, broker, "http://127.0.0.1",
        SystemClock(), steps=["compile"], relays=False,
    )  # fmt: skip
    running = asyncio.create_task(flow.run())
    noted = asyncio.Event()
    story.ledger.on_commit(lambda _: noted.set())

    async def problems_are(count: int) -> None:
        while await story.ledger.read(problems.open_count) < count:
            noted.clear()
            await noted.wait()

    topic = broker.named("exercise.incident.reports")
    try:
        async with asyncio.timeout(PATIENCE):
            await produce(broker, topic, [b"not ours"])
            await problems_are(1)
            assert flow.streams is not None and await flow.streams.behind() == 0
            wedged.set()
            await asyncio.to_thread(in_vain.wait)  # the fetch that was on its way has ended
            await produce(broker, topic, [b"nor this"])
            streams = flow.streams
            reason = await asyncio.shield(streams.ended)
            assert reason is None and flow.restarts == 0  # ended from outside: by the watchdog
            wedged.clear()
            await problems_are(2)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert flow.restarts == 1
