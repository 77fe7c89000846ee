"""The streams' start: what nobody here would send is told at once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher

from broadcaster.bootstrap import flowing
from broadcaster.clock import SystemClock
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import LedgerAway
from broadcaster.ledger import posts, problems
from broadcaster.orders import stop_release
from broadcaster.settings import Settings, WebhookSetting
from streams import deliver, making, run, topics
from tests.brokers import Embedded
from tests.connected.installation import until
from tests.kafka import Cluster
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


async def test_a_receipt_outlives_the_streams_that_the_ledgers_absence_ends(
    story: Story, own_broker: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blind channel's post would else end in doubt although its proof was had."""
    monkeypatch.setattr(deliver, "GRACE", 0.1)
    secret = "whsec_" + base64.b64encode(b"0" * 32).decode()
    hook = WebhookSetting(name=HOOK.name, title=HOOK.title, url="https://x", secret=secret)
    _, planned = await story.released(await story.reported(), channels=[HOOK])
    write, away, sent = story.ledger.write, False, 0

    async def written(step: Any, *, urgent: bool = False) -> Any:
        if away:
            raise LedgerAway("it is gone")
        return await write(step, urgent=urgent)

    async def send(message: Any) -> Receipt:
        nonlocal away, sent
        away, sent = True, sent + 1
        return Receipt(remote_id="1", url=None)

    monkeypatch.setattr(story.ledger, "write", written)
    monkeypatch.setattr("adapters.webhook.Webhook.send", lambda self, message: send(message))
    flow = flowing(
        Settings(home=tmp_path, webhooks=[hook]), story.ledger, own_broker.at,
        "http://127.0.0.1", SystemClock(),
    )  # fmt: skip
    running = asyncio.create_task(flow.run())

    async def noted() -> bool:
        now = await story.ledger.read(lambda tx: posts.get(tx, planned[HOOK.name].id))
        return now is not None and now.state is PostState.POSTED

    async def started_again() -> bool:
        return flow.restarts > 0

    try:
        await until("the streams ended", started_again)
        away = False
        await until("the receipt was noted", noted)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert sent == 1


async def test_after_an_outage_a_stop_comes_before_what_it_stops(
    story: Story, own_broker: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could press Stop while the ledger was away, so deliver waits for those who did."""
    monkeypatch.setattr(run, "LONG_AWAY", 0.0)
    monkeypatch.setattr(run, "STOPS_FIRST", 2.0)
    secret = "whsec_" + base64.b64encode(b"0" * 32).decode()
    hook = WebhookSetting(name=HOOK.name, title=HOOK.title, url="https://x", secret=secret)
    release, planned = await story.released(await story.reported(), channels=[HOOK])
    write, away, sent = story.ledger.write, True, 0

    async def written(step: Any, *, urgent: bool = False) -> Any:
        if away:
            raise LedgerAway("it is gone")
        return await write(step, urgent=urgent)

    async def send(message: Any) -> Receipt:
        nonlocal sent
        sent += 1
        return Receipt(remote_id="1", url=None)

    monkeypatch.setattr(story.ledger, "write", written)
    monkeypatch.setattr("adapters.webhook.Webhook.send", lambda self, message: send(message))
    flow = flowing(
        Settings(home=tmp_path, webhooks=[hook]), story.ledger, own_broker.at,
        "http://127.0.0.1", SystemClock(),
    )  # fmt: skip
    running = asyncio.create_task(flow.run())

    async def twice_away() -> bool:
        return flow.restarts > 1

    async def back() -> bool:
        return flow.away is None

    async def stopped() -> bool:
        now = await story.ledger.read(lambda tx: posts.get(tx, planned[HOOK.name].id))
        return now is not None and now.state is PostState.STOPPED

    try:
        await until("the ledger is seen to be away", twice_away)
        away = False
        await until("the streams run", back)
        await story.ledger.write(lambda tx: stop_release(tx, release.id, story.pio))
        await until("the post ended as stopped", stopped)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert sent == 0


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
        async with asyncio.timeout(60):
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
