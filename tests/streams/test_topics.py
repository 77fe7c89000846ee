"""The map holds together, and the broker is made to look like it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streams import topics
from streams.broker import Broker
from streams.embedded import free_port
from streams.errors import BrokerAway
from tests.brokers import Embedded
from tests.streams.helpers import produce

CHANNELS = ["public_page", "webhook"]


def test_a_world_has_every_topic_in_the_order_of_the_flow() -> None:
    assert list(topics.full_names("exercise", CHANNELS)) == [
        "exercise.incident.intake",
        "exercise.incident.reports",
        "exercise.update.submitted",
        "exercise.update.decided",
        "exercise.updates.public",
        "exercise.posts.public_page",
        "exercise.posts.webhook",
        "exercise.posts.settled",
    ]


def test_nothing_crosses_from_one_world_into_the_other() -> None:
    exercise, live = (topics.full_names(world, CHANNELS) for world in ("exercise", "live"))
    assert not set(exercise) & set(live)


def test_each_topic_is_written_by_what_an_earlier_one_wakes() -> None:
    known = {"CAD", "intake", "desk"}
    for topic, after in pairwise([*topics.FLOW, topics.INTAKE]):
        assert topic.writer in known, topic.name
        assert topic.readers, after.name
        known.update(topic.readers)


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("intake", ["exercise.incident.intake"]),
        ("compile", ["exercise.incident.reports"]),
        ("notify", ["exercise.update.submitted"]),
        ("gate", ["exercise.update.decided"]),
        ("deliver", ["exercise.posts.public_page", "exercise.posts.webhook"]),
        ("nobody", []),
    ],
)
def test_a_step_knows_what_it_reads(step: str, names: list[str]) -> None:
    assert list(topics.read_by(step, "exercise", CHANNELS)) == names


def test_no_channel_may_take_the_subscribers_topic() -> None:
    with pytest.raises(ValueError, match="settled"):
        topics.full_names("exercise", ["settled"])


async def test_creating_twice_leaves_them_as_they_are(own_broker: Embedded) -> None:
    names = topics.full_names("exercise", CHANNELS)
    await topics.create(own_broker.at, names)
    await topics.create(own_broker.at, names)
    assert await _partitions(own_broker.at) == dict.fromkeys(names, 1)


async def test_what_a_client_made_by_asking_is_made_anew(own_broker: Embedded) -> None:
    names = topics.full_names("exercise", CHANNELS)
    asked = next(iter(names))
    await produce(own_broker.at, asked, [b"too early"])
    await topics.create(own_broker.at, names)
    assert await _partitions(own_broker.at) == dict.fromkeys(names, 1)


async def test_creating_waits_for_a_broker_only_so_long() -> None:
    nobody = Broker(f"127.0.0.1:{free_port()}", embedded=False)
    with pytest.raises(BrokerAway, match="cannot be used now"):
        await topics.create(nobody, topics.full_names("exercise", CHANNELS), deadline=0.5)


async def _partitions(broker: Broker) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**broker.client())
    await admin.start()
    try:
        return {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics()}
    finally:
        await admin.close()
