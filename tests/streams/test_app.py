"""The three ends of a message, and that there is no fourth (DESIGN.md rule 4)."""

from __future__ import annotations

import asyncio

import pytest

from streams.app import BrokerLost, Delivered
from streams.broker import Broker
from streams.embedded import free_port
from streams.errors import BrokerAway, Poison
from tests.brokers import Embedded
from tests.patience import PATIENCE
from tests.streams.helpers import (
    Problems,
    Seen,
    a_name,
    committed,
    freeze,
    kill,
    make_topic,
    numbers,
    produce,
    streams_on,
    thaw,
)


async def test_messages_come_in_order_with_all_that_they_carry(broker: Broker) -> None:
    topic, seen = await make_topic(broker), Seen()
    streams = streams_on(broker, a_name("group"), seen, topic)
    await streams.start()
    await produce(broker, topic, numbers(500))
    assert await seen.until(500) == numbers(500)
    assert [m.where.offset for m in seen.messages] == list(range(500))
    assert (seen.messages[0].where.topic, seen.messages[0].key) == (topic, None)
    assert seen.messages[0].written > 1_700_000_000_000
    assert await streams.stop()
    assert streams.ended.result() is None
    assert (streams.progress[0].acked, streams.progress[0].busy_since) == (500, None)


async def test_a_handler_that_fails_ends_the_streams_and_loses_nothing(broker: Broker) -> None:
    topic, group, seen = await make_topic(broker), a_name("group"), Seen()

    async def fails_at_three(message: Delivered) -> None:
        await seen(message)
        if message.value == b"3":
            raise OSError("the ledger is away")

    streams = streams_on(broker, group, fails_at_three, topic)
    await streams.start()
    await produce(broker, topic, numbers(6))
    async with asyncio.timeout(PATIENCE):
        reason = await streams.ended
    assert isinstance(reason, OSError)
    assert seen.values == numbers(4), "nothing after the failure was touched"
    assert await streams.stop()

    again = Seen()
    streams = streams_on(broker, group, again, topic)
    await streams.start()
    assert (await again.until(3))[-3:] == numbers(3, start=3)
    assert await streams.stop()


async def test_poison_is_noted_and_acknowledged_and_the_next_is_handled(broker: Broker) -> None:
    topic, group = await make_topic(broker), a_name("group")
    seen, problems = Seen(), Problems()

    async def picky(message: Delivered) -> None:
        if message.value == b"bad":
            raise Poison("not_json", "The message is not JSON.")
        await seen(message)

    streams = streams_on(broker, group, picky, topic, problems=problems)
    await streams.start()
    await produce(broker, topic, [b"good", b"bad", b"better"])
    assert await seen.until(2) == [b"good", b"better"]
    assert (problems.codes, problems.values) == (["not_json"], [b"bad"])
    assert streams.progress[0].poisoned == 1
    assert await streams.stop()
    assert await committed(broker, group, topic) == 3


async def test_poison_that_cannot_be_noted_is_not_acknowledged(broker: Broker) -> None:
    topic, group = await make_topic(broker), a_name("group")

    async def refuses(message: Delivered) -> None:
        raise Poison("not_json", "The message is not JSON.")

    async def ledger_away(message: Delivered, poison: Poison) -> None:
        raise OSError("the ledger is away")

    problems = Problems()
    problems.note = ledger_away  # type: ignore[method-assign]
    streams = streams_on(broker, group, refuses, topic, problems=problems)
    await streams.start()
    await produce(broker, topic, [b"bad"])
    async with asyncio.timeout(PATIENCE):
        assert isinstance(await streams.ended, OSError)
    assert await streams.stop()
    assert await committed(broker, group, topic) is None


async def test_stopping_waits_for_the_handler_at_work(broker: Broker) -> None:
    topic, group = await make_topic(broker), a_name("group")
    began, may_end, seen = asyncio.Event(), asyncio.Event(), Seen()

    async def slow(message: Delivered) -> None:
        began.set()
        await may_end.wait()
        await seen(message)

    streams = streams_on(broker, group, slow, topic)
    await streams.start()
    await produce(broker, topic, numbers(3))
    await began.wait()
    stopping = asyncio.create_task(streams.stop())
    may_end.set()
    assert await stopping
    assert seen.values == [b"0"], "the one at work ended, no other began"
    assert await committed(broker, group, topic) == 1


async def test_a_handler_that_does_not_end_is_left_unacknowledged(broker: Broker) -> None:
    topic, group = await make_topic(broker), a_name("group")
    began = asyncio.Event()

    async def stuck(message: Delivered) -> None:
        began.set()
        await asyncio.Event().wait()

    streams = streams_on(broker, group, stuck, topic)
    await streams.start()
    await produce(broker, topic, [b"0"])
    await began.wait()
    assert streams.stuck(60) is None
    assert "test has had one message" in (streams.stuck(0) or "")
    loop = asyncio.get_running_loop()
    stop_began = loop.time()
    assert await streams.stop()
    assert loop.time() - stop_began < 5
    assert await committed(broker, group, topic) is None


async def test_a_backlog_on_one_topic_does_not_hold_up_another(broker: Broker) -> None:
    busy, quiet = await make_topic(broker), await make_topic(broker)
    began, go_on, seen = asyncio.Event(), asyncio.Event(), Seen()

    async def handle(message: Delivered) -> None:
        if message.where.topic == busy:
            began.set()
            await go_on.wait()
        await seen(message)

    streams = streams_on(broker, a_name("group"), handle, busy, quiet)
    await streams.start()
    await produce(broker, busy, numbers(2000))
    await began.wait()
    for n in range(3):
        await produce(broker, quiet, [b"now"])
        assert await seen.until(n + 1) == [b"now"] * (n + 1)
    go_on.set()
    assert (await seen.until(2003))[3:] == numbers(2000)
    assert await streams.stop()


async def test_a_frozen_broker_is_waited_for(own_broker: Embedded) -> None:
    topic, seen = await make_topic(own_broker.at), Seen()
    streams = streams_on(own_broker.at, "group", seen, topic)
    await streams.start()
    await produce(own_broker.at, topic, numbers(5))
    await seen.until(5)
    freeze(own_broker)
    with pytest.raises(TimeoutError):
        await seen.until(6, deadline=3.0)
    thaw(own_broker)
    await produce(own_broker.at, topic, numbers(5, start=5))
    assert await seen.until(10) == numbers(10)
    assert not streams.ended.done()
    assert await streams.stop()


async def test_streams_stop_in_time_though_the_broker_is_frozen(own_broker: Embedded) -> None:
    topic, seen = await make_topic(own_broker.at), Seen()
    streams = streams_on(own_broker.at, "group", seen, topic)
    await streams.start()
    await produce(own_broker.at, topic, numbers(5))
    await seen.until(5)
    freeze(own_broker)
    async with asyncio.timeout(PATIENCE):
        assert await streams.stop()


async def test_a_broker_that_died_ends_the_streams_and_its_empty_heir_serves_new_ones(
    own_broker: Embedded,
) -> None:
    topic, seen = await make_topic(own_broker.at), Seen()
    streams = streams_on(own_broker.at, "group", seen, topic)
    await streams.start()
    await produce(own_broker.at, topic, numbers(5))
    await seen.until(5)
    kill(own_broker)
    async with asyncio.timeout(PATIENCE):
        assert isinstance(await streams.ended, BrokerLost)
    assert await streams.stop()

    await own_broker.wait()
    own_broker.start()
    await own_broker.ready()
    await make_topic(own_broker.at, topic)
    again = Seen()
    streams = streams_on(own_broker.at, "group", again, topic)
    await streams.start()
    await produce(own_broker.at, topic, numbers(3, start=5))
    assert await again.until(3) == numbers(3, start=5)
    assert await streams.stop()


@pytest.mark.parametrize("embedded", [True, False])
async def test_without_a_broker_start_says_so(embedded: bool) -> None:
    nobody = Broker(f"127.0.0.1:{free_port()}", embedded)
    streams = streams_on(nobody, "group", Seen(), "topic")
    with pytest.raises(BrokerAway, match="cannot be used now"):
        await streams.start()
    assert await streams.stop(), "stopping once more does no harm"


async def test_streams_that_were_never_started_can_be_stopped(broker: Broker) -> None:
    assert await streams_on(broker, "group", Seen(), "topic").stop()


async def test_a_broker_that_never_answers_is_given_up_at_the_deadline(
    own_broker: Embedded,
) -> None:
    streams = streams_on(own_broker.at, "group", Seen(), await make_topic(own_broker.at))
    freeze(own_broker)
    async with asyncio.timeout(20):
        with pytest.raises(BrokerAway, match="no partitions"):
            await streams.start(deadline=0.5)
