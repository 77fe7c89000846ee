"""What the tests of the streams share: a handler that remembers, and ways to wait for it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.app import Delivered, Step, Streams
from streams.broker import Broker
from streams.errors import Poison
from tests.brokers import Embedded
from tests.patience import PATIENCE


class Seen:
    """Remembers what came, and lets a test wait until so many did."""

    def __init__(self) -> None:
        self.messages: list[Delivered] = []
        self._came = asyncio.Condition()

    @property
    def values(self) -> list[bytes]:
        return [message.value for message in self.messages]

    async def __call__(self, message: Delivered) -> None:
        async with self._came:
            self.messages.append(message)
            self._came.notify_all()

    async def until(self, count: int, deadline: float = PATIENCE) -> list[bytes]:
        async with asyncio.timeout(deadline), self._came:
            await self._came.wait_for(lambda: len(self.messages) >= count)
        return self.values


class Problems(Seen):
    """Stands where the ledger's `problems` do."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[str] = []

    async def note(self, message: Delivered, poison: Poison) -> None:
        self.codes.append(poison.code)
        await self(message)


def a_name(what: str) -> str:
    """A topic or group that no other test uses."""
    return f"{what}.{uuid4().hex[:8]}"


def freeze(broker: Embedded) -> None:
    """Stops it where it is, and returns once it stands."""
    assert broker.pid
    os.kill(broker.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, broker.pid, os.WSTOPPED | os.WNOWAIT)


def thaw(broker: Embedded) -> None:
    assert broker.pid
    os.kill(broker.pid, signal.SIGCONT)


def kill(broker: Embedded) -> None:
    assert broker.pid
    os.kill(broker.pid, signal.SIGKILL)


async def make_topic(broker: Broker, name: str | None = None) -> str:
    name = name or a_name("topic")
    admin = AIOKafkaAdminClient(**broker.client())
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, broker.replication)])
    await admin.close()
    return name


async def produce(broker: Broker, topic: str, values: Iterable[bytes]) -> None:
    producer = AIOKafkaProducer(**broker.client())
    await producer.start()
    try:
        for future in [await producer.send(topic, value) for value in values]:
            await future
    finally:
        await producer.stop()


async def committed(broker: Broker, group: str, topic: str) -> int | None:
    """Where the group goes on: the offset after the last that it acknowledged in a row."""
    consumer = AIOKafkaConsumer(**broker.client(), group_id=group)
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, 0))
        return offset
    finally:
        await consumer.stop()


async def read_back(
    broker: Broker, topic: str, count: int, deadline: float = PATIENCE
) -> list[bytes]:
    """What stands on a topic, from its beginning, once there is so much."""
    consumer = AIOKafkaConsumer(
        **broker.client(), auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    values: list[bytes] = []
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(deadline):
            while len(values) < count:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    values += [record.value for record in records]
    finally:
        await consumer.stop()
    return values


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % n for n in range(start, start + count)]


def streams_on(
    broker: Broker,
    group: str,
    handle: Callable[[Delivered], Awaitable[None]],
    *topics: str,
    problems: Problems | None = None,
) -> Streams:
    return Streams(
        broker,
        group,
        [Step("test", topics, handle)],
        (problems or Problems()).note,
        fetch_wait_ms=20,
    )
