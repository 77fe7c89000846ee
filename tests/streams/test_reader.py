"""Reading one message again, or learning that it is gone."""

from __future__ import annotations

import pytest

from streams.app import Where
from streams.broker import Broker
from streams.embedded import free_port
from streams.errors import BrokerAway
from streams.reader import read
from tests.streams.helpers import make_topic, numbers, produce


async def test_a_message_is_read_where_it_was(broker: Broker) -> None:
    topic = await make_topic(broker)
    await produce(broker, topic, numbers(60))
    found = await read(broker, Where(topic, 0, 41))
    assert found
    assert (found.value, found.where) == (b"41", Where(topic, 0, 41))
    assert await read(broker, Where(topic, 0, 41), written=found.written) == found


async def test_another_message_at_its_place_is_not_it(broker: Broker) -> None:
    topic = await make_topic(broker)
    await produce(broker, topic, numbers(3))
    assert await read(broker, Where(topic, 0, 1), written=1_600_000_000_000) is None


@pytest.mark.parametrize("offset", [3, 50, 10**9])
async def test_past_the_end_is_gone(broker: Broker, offset: int) -> None:
    topic = await make_topic(broker)
    await produce(broker, topic, numbers(3))
    assert await read(broker, Where(topic, 0, offset)) is None


async def test_a_broker_that_is_away_is_not_taken_for_a_message_that_is_gone() -> None:
    nobody = Broker(f"127.0.0.1:{free_port()}", embedded=True)
    with pytest.raises(BrokerAway):
        await read(nobody, Where("topic", 0, 0), deadline=1.0)
