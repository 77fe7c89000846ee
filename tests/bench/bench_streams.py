"""How fast the frame round the steps is, on the embedded broker: `make bench`.

Prints start time, one hop (written → handled), messages per second through one agent whose
handler does nothing, and what idling costs, in % of one core.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter

from aiokafka import AIOKafkaProducer

from streams import embedded, making, topics
from streams.app import Delivered, Step, Streams
from streams.broker import Broker
from streams.errors import Poison
from tests.bench.figures import cpu_seconds, memory_mb

MESSAGES = 5_000
HOPS = 300
CHANNELS = ["public_page", "webhook", "third"]  # with these a world has eight topics


class Stopwatch:
    """A handler that notes when each message was handled."""

    def __init__(self) -> None:
        self.at: dict[bytes, float] = {}
        self._came = asyncio.Event()

    async def __call__(self, message: Delivered) -> None:
        self.at[message.value] = perf_counter()
        self._came.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.at) < count:
                self._came.clear()
                await self._came.wait()


async def _no_poison(message: Delivered, poison: Poison) -> None:
    raise poison


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        broker = embedded.Broker(embedded.free_port(), Path(folder, "broker.log"))
        with _timed("broker ready after"):
            broker.start()
            await broker.ready()
        try:
            await measure(broker)
        finally:
            await broker.stop()


async def measure(broker: embedded.Broker) -> None:
    names = topics.full_names("exercise", CHANNELS)
    at = Broker(broker.bootstrap, embedded=True)
    with _timed(f"{len(names)} topics created in"):
        await making.make(at, names)
    watch = Stopwatch()
    streams = Streams(
        at,
        "bench",
        [Step("bench", tuple(names), watch)],
        _no_poison,
        fetch_wait_ms=20,
    )
    with _timed("streams started in"):
        await streams.start()
    producer = AIOKafkaProducer(**at.client())
    await producer.start()
    topic = next(iter(names))
    await hops(producer, topic, watch)
    await throughput(producer, topic, watch)
    await producer.stop()
    if sys.platform == "linux":  # elsewhere nothing tells the processor time of a process
        for wait in (20, 1500):
            streams.set_fetch_wait(wait)
            await asyncio.sleep(2)
            await idle(wait, broker)
        ours = memory_mb(os.getpid())
        print(f"memory: process {ours:.0f} MB, broker {broker.rss_bytes() / 2**20:.0f} MB")
    with _timed("streams stopped in"):
        await streams.stop()


async def hops(producer: AIOKafkaProducer, topic: str, watch: Stopwatch) -> None:
    written: dict[bytes, float] = {}
    for n in range(HOPS):
        value = b"hop %d" % n
        written[value] = perf_counter()
        await producer.send_and_wait(topic, value)
        await asyncio.sleep(0.013)  # so that no fetch is always met at the same point
    await watch.until(HOPS)
    cuts = quantiles([(watch.at[v] - began) * 1000 for v, began in written.items()], n=100)
    print(f"one hop, fetch wait 20 ms: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms")


async def throughput(producer: AIOKafkaProducer, topic: str, watch: Stopwatch) -> None:
    began, before = perf_counter(), len(watch.at)
    for n in range(MESSAGES):
        await producer.send(topic, b"%d" % n)
    await producer.flush()
    await watch.until(before + MESSAGES)
    rate = MESSAGES / (perf_counter() - began)
    print(f"one agent, handler that does nothing: {rate:.0f} messages/s")


async def idle(wait: int, broker: embedded.Broker, seconds: float = 5.0) -> None:
    pids = os.getpid(), broker.pid or 0
    before = [cpu_seconds([pid]) for pid in pids]
    await asyncio.sleep(seconds)
    ours, brokers = (
        (cpu_seconds([p]) - b) / seconds * 100 for p, b in zip(pids, before, strict=True)
    )
    print(f"idle, fetch wait {wait} ms: process {ours:.1f} %, broker {brokers:.1f} % of a core")


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = perf_counter()
    yield
    print(f"{what} {(perf_counter() - began) * 1000:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
