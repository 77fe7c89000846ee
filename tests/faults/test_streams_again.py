"""The desk lives in the same process: streams must come and go there, again and again."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.app import BrokerLost, Delivered, Streams
from streams.broker import Broker
from tests.brokers import Embedded
from tests.patience import PATIENCE
from tests.streams.helpers import Seen, kill, make_topic, produce, streams_on

#: 5 cycles warm up allocator and caches; the 15 after them are measured.
WARM_UP, MEASURED = 5, 15

#: What 15 cycles may add to the resident set, in bytes. One leaked app is about 1.5 MB.
STEADY = 6_000_000


@pytest.fixture
def unlogged() -> Iterator[None]:
    """pytest would keep what is logged, and with an exception all that it touched."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("unlogged")
async def test_twenty_times_round_leaves_nothing_behind(own_broker: Embedded) -> None:
    apps: list[weakref.ref[object]] = []
    for n in range(WARM_UP + MEASURED):
        if n == WARM_UP:
            before = _held(), _rss()
        apps.append(await _cycle(own_broker, n))
    await asyncio.sleep(0)
    gc.collect()
    assert [ref for ref in apps if ref() is not None] == []
    if before[0]:
        assert _held() == before[0], "threads, tasks, open files"
        assert _rss() - before[1] < STEADY


async def _cycle(broker: Embedded, n: int) -> weakref.ref[object]:
    """One life of the streams; every fourth ends with a failure, every fourth with the broker."""
    topic, seen = await make_topic(broker.at, f"topic{n}"), Seen()

    async def handle(message: Delivered) -> None:
        if message.value == b"fail":
            raise RuntimeError("as told")
        await seen(message)

    streams = streams_on(broker.at, f"group{n}", handle, topic)
    await streams.start()
    await produce(broker.at, topic, [b"0", b"1"])
    await seen.until(2)
    if n % 4 == 1:
        await produce(broker.at, topic, [b"fail"])
        assert isinstance(await _end_of(streams), RuntimeError)
    if n % 4 == 3:
        await _restart(broker, streams)
    assert await streams.stop()
    return weakref.ref(streams._app)


async def _restart(broker: Embedded, streams: Streams) -> None:
    kill(broker)
    assert isinstance(await _end_of(streams), BrokerLost)
    await broker.wait()
    broker.start()
    await broker.ready()


async def _end_of(streams: Streams) -> BaseException | None:
    async with asyncio.timeout(PATIENCE):
        return await streams.ended


def _held() -> tuple[int, int, int] | None:
    """Threads, tasks and open files; None where the system does not tell."""
    files = Path("/proc/self/fd")
    if not files.exists():
        return None
    gc.collect()
    return threading.active_count(), len(asyncio.all_tasks()), len(list(files.iterdir()))


def _rss() -> int:
    if not Path("/proc/self/statm").exists():
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def test_what_faust_prints_and_how_it_logs_is_left_alone(
    broker: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.stdout, sys.stderr
    topic, seen = await make_topic(broker), Seen()
    streams = streams_on(broker, "quiet", seen, topic)
    await streams.start()
    await produce(broker, topic, [b"0"])
    await seen.until(1)
    assert await streams.stop()
    assert (root.handlers[:], root.level, sys.stdout, sys.stderr) == before
    assert capfd.readouterr() == ("", "")
