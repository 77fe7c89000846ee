"""Makes the topics of the map on a broker, and sees whether they are there.

The embedded broker's are made at each start, since it forgets. A cluster's are made by
`broadcaster topics apply`, by an account that may: workers only look whether they are there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from streams.broker import Broker
from streams.door import at_the_door, may_pass, refusal
from streams.errors import TopicsNotMade
from streams.topics import INTAKE, INTAKE_LIMIT, Topic

T = TypeVar("T")

_MILLISECOND = timedelta(milliseconds=1)

#: `config_source` of a value that was set on the topic itself.
_SET_ON_THE_TOPIC = 1

#: A value of `retention.ms`: for ever.
_FOR_EVER = -1


async def ready(broker: Broker, topics: Mapping[str, Topic], *, deadline: float = 30.0) -> None:
    """Returns when every topic of `full_names` is there: made on the embedded broker, else found.

    Raises `TopicsNotMade` where a cluster lacks some, `BrokerAway` when `deadline` seconds have
    passed, `BrokerRefused` at an answer that no waiting will change.
    """
    if broker.embedded:
        await make(broker, topics, deadline=deadline)
        return
    names = [broker.named(name) for name in topics]
    found = await _patiently(broker, deadline, lambda admin: _describe(admin, names))
    if missing := [name for name in names if name not in found]:
        raise TopicsNotMade(broker.bootstrap, missing)


async def make(broker: Broker, topics: Mapping[str, Topic], *, deadline: float = 30.0) -> None:
    """Makes sure that every topic exists and has a leader; those that exist are left as they are.

    Right after topics are made a cluster may still say that they are unknown: that is waited for.

    A client that asks the embedded broker for a topic which it does not know makes it, with four
    partitions: those are made anew. The messages in them are lost, and the sweep sends them again.

    Raises as `ready` does.
    """
    wanted = [_as_new(broker, name, topic) for name, topic in topics.items()]

    async def once(admin: AIOKafkaAdminClient) -> None:
        await _create(admin, wanted)
        names = [new.name for new in wanted]
        await _lead(admin, names)
        found = await _describe(admin, names)
        wrong = [new.name for new in wanted if found[new.name].partitions != new.num_partitions]
        if broker.embedded and wrong:
            await admin.delete_topics(wrong)
            raise UnknownTopicOrPartitionError(f"{', '.join(wrong)}: to be made anew")

    await _patiently(broker, deadline, once)


@dataclass(frozen=True)
class Applied:
    """What `apply` did with one topic, in words."""

    topic: str  #: as it is called on the broker
    did: Literal["made", "grown", "left", "refused"]
    told: str


async def apply(
    broker: Broker, topics: Mapping[str, Topic], *, deadline: float = 30.0
) -> list[Applied]:
    """Makes what is missing, grows what is smaller than the map and the settings say, shrinks none.

    What grows: partitions, how long messages are kept, how large one may be, and how many copies
    must have it. What is larger than it should be stays, and is `refused` with what to do.

    More partitions send a key's next messages another way than its last, so that two of them may
    be handled in the other order, or at once. That is harmless to our steps: a message says look,
    and the step locks the row and does what the ledger still asks, in the ledger's order; what
    CAD writes itself carries its own time, by which the fold takes the newest. Subscribers have
    no ledger, so the topics that they read keep their partitions.

    Raises as `ready` does, `TopicsNotMade` excepted.
    """
    wanted = {broker.named(name): (topic, _as_new(broker, name, topic))
              for name, topic in topics.items()}  # fmt: skip

    made: set[str] = set()

    async def once(admin: AIOKafkaAdminClient) -> list[Applied]:
        found = await _look(admin, wanted)
        made.update(await _create(admin, [new for n, (_, new) in wanted.items() if n not in found]))
        _all_in(wanted, made | found.keys())
        return [
            Applied(name, "made", _shape(new)) if name in made
            else await _grow(admin, topic, new, found[name])
            for name, (topic, new) in wanted.items()
        ]  # fmt: skip

    async def settled(admin: AIOKafkaAdminClient) -> None:
        await _lead(admin, wanted)
        found = await _look(admin, wanted)
        _all_in(wanted, {
            name for name in found
            if _too_large(*wanted[name], found[name]) or not _too_small(*wanted[name], found[name])
        })  # fmt: skip

    applied = await _patiently(broker, deadline, once)
    await _patiently(broker, deadline, settled)
    return applied


async def wrong(
    broker: Broker, topics: Mapping[str, Topic], *, deadline: float = 30.0
) -> list[str]:
    """What is not as the map and the settings say, a sentence each; nothing is changed.

    Raises as `apply` does.
    """
    wanted = {broker.named(name): topic for name, topic in topics.items()}
    found = await _patiently(broker, deadline, lambda admin: _look(admin, wanted))
    told = []
    for name, topic in wanted.items():
        if name not in found:
            told.append(f"{name} is not there: run `broadcaster topics apply`.")
            continue
        new = _as_new(broker, name.removeprefix(broker.prefix), topic)
        told += [f"{name}: {each}" for each in _too_large(topic, new, found[name])]
        told += [
            f"{name} has {what} {before} instead of {after}: run `broadcaster topics apply`."
            for what, (before, after) in _too_small(topic, new, found[name]).items()
        ]
    return told


@dataclass
class _Found:
    """A topic as it is on the broker."""

    partitions: int
    copies: int
    settings: dict[str, str | None]
    own: dict[str, str | None]  #: those that were set on the topic itself


def _as_new(broker: Broker, name: str, topic: Topic) -> NewTopic:
    settings = {"cleanup.policy": "delete", "retention.ms": str(topic.retention // _MILLISECOND)}
    if topic is INTAKE:
        settings["max.message.bytes"] = str(INTAKE_LIMIT)
    if broker.replication >= 3:
        settings["min.insync.replicas"] = "2"
    count = 1 if topic.one_partition else broker.partitions
    return NewTopic(broker.named(name), count, broker.replication, topic_configs=settings)


async def _patiently(
    broker: Broker, deadline: float, once: Callable[[AIOKafkaAdminClient], Awaitable[T]]
) -> T:
    """Does it, again and again while what goes wrong may pass, until the deadline."""

    async def connected() -> T:
        admin = AIOKafkaAdminClient(**broker.client(), request_timeout_ms=int(deadline * 1000))
        try:
            await admin.start()
            return await once(admin)
        except KafkaConnectionError as error:
            raise await at_the_door(broker) or error from None
        finally:
            await admin.close()

    try:
        return await AsyncRetrying(
            retry=retry_if_exception(may_pass),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            stop=stop_after_delay(deadline),
            reraise=True,
        )(connected)
    except (KafkaError, OSError) as error:
        raise await refusal(broker, error) from error


async def _create(admin: AIOKafkaAdminClient, wanted: Sequence[NewTopic]) -> list[str]:
    """Makes those that do not exist, and says which that were."""
    if not wanted:
        return []
    answer = await admin.create_topics(list(wanted))
    for name, code, *_ in answer.topic_errors:
        _check(name, code, TopicAlreadyExistsError)
    return [name for name, code, *_ in answer.topic_errors if for_code(code) is NoError]


async def _describe(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, _Found]:
    """Those of the topics that exist, without their settings."""
    found = {}
    for told in await admin.describe_topics(list(names)):
        _check(told["topic"], told["error_code"], UnknownTopicOrPartitionError)
        if parts := told["partitions"]:
            found[told["topic"]] = _Found(len(parts), len(parts[0]["replicas"]), {}, {})
    return found


async def _look(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, _Found]:
    """Those of the topics that exist, with their settings."""
    found = await _describe(admin, names)
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
    for response in await admin.describe_configs(asked) if asked else []:
        for code, _, _, name, entries in response.resources:
            _check(name, code)
            for key, value, _, source, *_ in entries:
                found[name].settings[key] = value
                if source == _SET_ON_THE_TOPIC:
                    found[name].own[key] = value
    return found


async def _lead(admin: AIOKafkaAdminClient, names: Iterable[str]) -> None:
    """Raises, for now, where one of them does not exist or has no leader."""
    for told in await admin.describe_topics(list(names)):
        for part in [told, *told["partitions"]]:
            _check(told["topic"], part["error_code"])


def _all_in(wanted: Iterable[str], there: Iterable[str]) -> None:
    """Raises, for now, where the broker does not tell of one yet: one node learns from another."""
    if missing := set(wanted) - set(there):
        raise UnknownTopicOrPartitionError(f"not told of yet: {', '.join(sorted(missing))}")


async def _grow(
    admin: AIOKafkaAdminClient, topic: Topic, wanted: NewTopic, found: _Found
) -> Applied:
    """Makes one topic as large as it should be, unless it is larger in anything."""
    if too_large := _too_large(topic, wanted, found):
        return Applied(wanted.name, "refused", " ".join(too_large))
    small = _too_small(topic, wanted, found)
    if not small:
        return Applied(wanted.name, "left", "as it should be")
    if "partitions" in small:
        await admin.create_partitions({wanted.name: NewPartitions(wanted.num_partitions)})
    if settings := {key: value for key, (_, value) in small.items() if key != "partitions"}:
        # This call of Kafka's sets all of a topic's settings: those that others made stay.
        resource = ConfigResource(ConfigResourceType.TOPIC, wanted.name, {**found.own, **settings})
        for response in await admin.alter_configs([resource]):
            for code, *_ in response.resources:
                _check(wanted.name, code)
    grown = (f"{what} {before} → {after}" for what, (before, after) in small.items())
    return Applied(wanted.name, "grown", ", ".join(grown))


def _too_small(topic: Topic, wanted: NewTopic, found: _Found) -> dict[str, tuple[object, object]]:
    """What is smaller than it should be: as it is, and as it should be."""
    small: dict[str, tuple[object, object]] = {
        key: (found.settings[key], wanted.topic_configs[key])
        for key in _IN_WORDS
        if key in wanted.topic_configs
        and _number(found.settings[key]) < _number(wanted.topic_configs[key])
    }
    if found.partitions < wanted.num_partitions and "subscribers" not in topic.readers:
        small["partitions"] = (found.partitions, wanted.num_partitions)
    return small


#: What of a topic's settings may be larger than it should be, in words.
_IN_WORDS = {
    "retention.ms": "keeps messages for {found} ms instead of {wanted}",
    "max.message.bytes": "takes messages of {found} bytes instead of {wanted}",
    "min.insync.replicas": "",  # more than we ask for is well
}


def _too_large(topic: Topic, wanted: NewTopic, found: _Found) -> list[str]:
    """What of it would have to shrink, which is never done, and what to do instead."""
    told = []
    if topic.one_partition and found.partitions > 1:
        told.append(
            f"It has {found.partitions} partitions and must have one, or its posts get out of "
            "order: end the workers, delete it, apply again; the sweep sends its messages again."
        )
    elif found.partitions > wanted.num_partitions:
        told.append(
            f"It has {found.partitions} partitions, which cannot be taken away: set "
            f"BROADCASTER_KAFKA_PARTITIONS to {found.partitions} or more."
        )
    if found.copies != wanted.replication_factor:
        told.append(
            f"It has {found.copies} copies of each partition instead of "
            f"{wanted.replication_factor}: change that by Kafka's kafka-reassign-partitions.sh, or "
            f"set BROADCASTER_KAFKA_REPLICATION to {found.copies}."
        )
    for key, words in _IN_WORDS.items():
        value = wanted.topic_configs.get(key)
        if words and value and _number(found.settings[key]) > _number(value):
            said = words.format(found=found.settings[key], wanted=value)
            told.append(
                f"It {said}: to make that smaller, which may throw messages away, use Kafka's "
                f"kafka-configs.sh --alter --entity-type topics --entity-name {wanted.name} "
                f"--add-config {key}={value}."
            )
    return told


def _number(value: str | None) -> float:
    number = int(value or 0)
    return float("inf") if number == _FOR_EVER else number


def _shape(new: NewTopic) -> str:
    days = int(new.topic_configs["retention.ms"]) * _MILLISECOND / timedelta(days=1)
    return (f"partitions {new.num_partitions}, copies {new.replication_factor}, "
            f"days kept {days:g}")  # fmt: skip


def _check(name: str, code: int, *well: type[Any]) -> None:
    error = for_code(code)
    if error is not NoError and error not in well:
        raise error(name)
