"""The broker is made to look like the map, and nothing on it is made smaller."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from click.testing import CliRunner

from broadcaster import cli
from streams import making, topics
from streams.broker import Broker
from streams.embedded import free_port
from streams.errors import BrokerAway, TopicsNotMade
from tests.brokers import Embedded
from tests.kafka import Cluster
from tests.streams.helpers import a_name, produce

CHANNELS = ["public_page", "webhook"]
NAMES = topics.full_names("exercise", CHANNELS)
REPORTS = topics.full_name("exercise", topics.REPORTS)
POSTS = topics.full_name("exercise", topics.POSTS, "webhook")
SETTLED = topics.full_name("exercise", topics.SETTLED)


async def test_creating_twice_leaves_them_as_they_are(own_broker: Embedded) -> None:
    await making.make(own_broker.at, NAMES)
    await making.make(own_broker.at, NAMES)
    assert await _partitions(own_broker.at) == dict.fromkeys(NAMES, 1)


async def test_what_a_client_made_by_asking_is_made_anew(own_broker: Embedded) -> None:
    asked = next(iter(NAMES))
    await produce(own_broker.at, asked, [b"too early"])
    await making.make(own_broker.at, NAMES)
    assert await _partitions(own_broker.at) == dict.fromkeys(NAMES, 1)


async def test_creating_waits_for_a_broker_only_so_long() -> None:
    nobody = Broker(f"127.0.0.1:{free_port()}", embedded=False)
    with pytest.raises(BrokerAway, match="cannot be used now"):
        await making.make(nobody, NAMES, deadline=0.5)


@pytest.fixture
def ours(kafka: Cluster) -> Broker:
    """A cluster on which we have nothing yet."""
    return replace(kafka.at, prefix=f"{a_name('ours')}.")


async def test_a_cluster_that_lacks_topics_is_told_with_the_command_that_makes_them(
    ours: Broker,
) -> None:
    with pytest.raises(TopicsNotMade, match="broadcaster topics apply") as told:
        await making.ready(ours, NAMES)
    assert all(ours.named(name) in told.value.why for name in NAMES)
    assert await _partitions(ours) == {}, "nobody made them by asking"
    await making.apply(ours, NAMES)
    await making.ready(ours, NAMES)


async def test_applying_makes_what_is_missing_and_then_leaves_it(ours: Broker) -> None:
    first = await making.apply(ours, NAMES)
    assert [(each.topic, each.did) for each in first] == [(ours.named(n), "made") for n in NAMES]
    assert await _partitions(ours) == {
        ours.named(name): 1 if topic is topics.POSTS else 2 for name, topic in NAMES.items()
    }
    assert (await _settings(ours, topics.full_name("exercise", topics.INTAKE))) >= {
        ("retention.ms", "86400000"), ("max.message.bytes", "1048576"),
    }  # fmt: skip
    again = await making.apply(ours, topics.full_names("exercise", [*CHANNELS, "new"]))
    assert {each.topic for each in again if each.did == "made"} == {
        ours.named("exercise.posts.new")
    }
    assert {each.did for each in again} == {"made", "left"}


async def test_what_is_too_small_grows_and_others_settings_stay(ours: Broker) -> None:
    short = {"retention.ms": "1000", "segment.ms": "60000"}
    await _make(ours, REPORTS, 1, short)
    await _make(ours, SETTLED, 1, {"retention.ms": "1000"})
    grown = {each.topic: each for each in await making.apply(ours, NAMES)}
    assert grown[ours.named(REPORTS)].did == "grown"
    assert grown[ours.named(REPORTS)].told == ("retention.ms 1000 → 604800000, partitions 1 → 2")
    assert await _settings(ours, REPORTS) >= {
        ("retention.ms", "604800000"),
        ("segment.ms", "60000"),
    }
    partitions = await _partitions(ours)
    assert partitions[ours.named(REPORTS)] == 2
    assert partitions[ours.named(SETTLED)] == 1, "its subscribers rely on the order"
    assert {each.did for each in await making.apply(ours, NAMES)} == {"left"}


@pytest.mark.parametrize(
    ("name", "partitions", "settings", "said"),
    [
        (REPORTS, 3, {}, "set BROADCASTER_KAFKA_PARTITIONS to 3"),
        (POSTS, 2, {}, "must have one"),
        (REPORTS, 2, {"retention.ms": "-1"}, "kafka-configs.sh .*retention.ms=604800000"),
        (
            topics.full_name("exercise", topics.INTAKE), 2, {"max.message.bytes": "2000000"},
            "takes messages of 2000000 bytes instead of 1048576",
        ),
    ],
)  # fmt: skip
async def test_nothing_is_made_smaller(
    ours: Broker, name: str, partitions: int, settings: dict[str, str], said: str
) -> None:
    await _make(ours, name, partitions, settings)
    applied = {each.topic: each for each in await making.apply(ours, NAMES)}
    refused = applied.pop(ours.named(name))
    assert refused.did == "refused"
    assert re.search(said, refused.told)
    assert {each.did for each in applied.values()} == {"made"}, "the others are not held up"
    assert (await _partitions(ours))[ours.named(name)] == partitions
    assert await _settings(ours, name) >= set(settings.items())


async def test_fewer_copies_than_there_are_is_refused(ours: Broker) -> None:
    await making.apply(ours, NAMES)
    applied = await making.apply(replace(ours, replication=3), NAMES)
    assert {each.did for each in applied} == {"refused"}
    assert "kafka-reassign-partitions.sh" in applied[0].told


async def test_the_command_prints_what_it_did(
    ours: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "HOME": str(tmp_path), "KAFKA": ours.bootstrap, "KAFKA_PREFIX": ours.prefix,
        "KAFKA_PARTITIONS": "2", "KAFKA_REPLICATION": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"BROADCASTER_{name}", value)
    made = await asyncio.to_thread(CliRunner().invoke, cli.cli, ["topics", "apply", "--json"])
    assert made.exit_code == 0
    assert {each["did"] for each in json.loads(made.output)} == {"made"}
    monkeypatch.setenv("BROADCASTER_KAFKA_PARTITIONS", "1")
    again = await asyncio.to_thread(CliRunner().invoke, cli.cli, ["topics", "apply"])
    assert again.exit_code == 1
    assert f" refused  {ours.named(REPORTS)}: It has 2 partitions" in again.output


async def _partitions(broker: Broker) -> dict[str, int]:
    """The topics that are ours on it."""
    admin = AIOKafkaAdminClient(**broker.client())
    await admin.start()
    try:
        return {
            told["topic"]: len(told["partitions"]) for told in await admin.describe_topics()
            if told["topic"].startswith(broker.prefix)
        }  # fmt: skip
    finally:
        await admin.close()


async def _settings(broker: Broker, name: str) -> set[tuple[str, str]]:
    admin = AIOKafkaAdminClient(**broker.client())
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, broker.named(name))
        (response,) = await admin.describe_configs([resource])
        return {(key, value) for key, value, *_ in response.resources[0][4]}
    finally:
        await admin.close()


async def _make(broker: Broker, name: str, partitions: int, settings: dict[str, str]) -> None:
    """Makes a topic as somebody else would."""
    admin = AIOKafkaAdminClient(**broker.client())
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(broker.named(name), partitions, 1, topic_configs=settings)]
        )
    finally:
        await admin.close()


async def test_what_is_wrong_is_told_and_left(ours: Broker) -> None:
    missing = await making.wrong(ours, NAMES)
    assert len(missing) == len(NAMES) and all("topics apply" in each for each in missing)
    await making.apply(ours, NAMES)
    assert await making.wrong(ours, NAMES) == []
    more = replace(ours, partitions=ours.partitions + 2)
    too_few = await making.wrong(more, NAMES)
    assert any(ours.named(REPORTS) in each and "partitions" in each for each in too_few)
    await making.apply(more, NAMES)
    too_many = await making.wrong(ours, NAMES)
    assert any("cannot be taken away" in each for each in too_many)
    assert await making.wrong(more, NAMES) == [], "looking changed nothing"
