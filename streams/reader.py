"""Reads one message again, where it was, for `broadcaster problems retry`."""

from __future__ import annotations

import asyncio
from time import monotonic

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, UnknownTopicOrPartitionError

from streams.app import Delivered, Where
from streams.broker import Broker
from streams.door import refusal


async def read(
    broker: Broker, where: Where, *, written: int | None = None, deadline: float = 5.0
) -> Delivered | None:
    """The message at that place, or None if the broker no longer has it.

    A broker that forgot and began anew (the embedded one) may have another message there:
    `written` (`Delivered.written`) tells them apart.

    Raises `BrokerAway` if the broker does not answer within `deadline` seconds, `BrokerRefused`
    if it does not let us.
    """
    consumer = AIOKafkaConsumer(
        **broker.client(),
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
        request_timeout_ms=int(deadline * 1000),
    )
    try:
        async with asyncio.timeout(deadline):
            await consumer.start()
            record = await _record(consumer, where, monotonic() + deadline)
    except (OffsetOutOfRangeError, UnknownTopicOrPartitionError):
        return None
    except (KafkaError, OSError, TimeoutError) as error:
        raise await refusal(broker, error) from error
    finally:
        await consumer.stop()
    if record is None or (written is not None and record.timestamp != written):
        return None
    return Delivered(
        where=where,
        key=record.key,
        value=record.value or b"",
        headers=tuple(record.headers),
        written=record.timestamp,
    )


async def _record(
    consumer: AIOKafkaConsumer, where: Where, until: float
) -> ConsumerRecord[bytes, bytes] | None:
    place = TopicPartition(where.topic, where.partition)
    consumer.assign([place])
    consumer.seek(place, where.offset)
    while monotonic() < until:
        for record in (await consumer.getmany(place, timeout_ms=200)).get(place, []):
            return record if record.offset == where.offset else None
        # Tansu tells wrong end offsets, and nothing about a place past its end: a fetch that was
        # answered (only then is there a high-water mark) and brought nothing is the proof.
        if consumer.highwater(place) is not None:
            return None
    raise TimeoutError("no fetch was answered")
