"""The outbox reaches the broker: all of it, in order per key, whatever the broker does."""

from __future__ import annotations

import pytest

from streams import relay
from streams.broker import Broker
from streams.relay import Relay
from tests.brokers import Embedded
from tests.streams.helpers import freeze, kill, make_topic, numbers, read_back, thaw
from tests.streams.outbox import Rows, away, running


async def test_everything_is_carried_in_order_and_marked(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LOOK_EVERY", 600.0)
    topic, rows = await make_topic(broker), Rows()
    rows.leave(topic, numbers(1200))
    async with running(rows, broker) as carrier:
        await rows.empty()
        rows.leave(topic, numbers(3, start=1200))
        await rows.empty()  # woken by what was left, not by the clock
        assert (carrier.sent, carrier.away) == (1203, None)
    assert await read_back(broker, topic, 1203) == numbers(1203)


async def test_a_broker_that_is_away_is_waited_for(own_broker: Embedded) -> None:
    topic, rows = await make_topic(own_broker.at), Rows()
    await own_broker.stop()
    rows.leave(topic, numbers(5))
    async with running(rows, own_broker.at) as carrier:
        await away(carrier, True)
        assert carrier.away
        assert own_broker.bootstrap in carrier.away.why
        since = carrier.away.since
        rows.leave(topic, numbers(5, start=5))
        own_broker.start()
        await own_broker.ready()
        await rows.empty()
        await away(carrier, False)
        assert since
    assert await read_back(own_broker.at, topic, 10) == numbers(10)


async def test_a_broker_killed_while_it_takes_them_gets_the_rest_in_order(
    own_broker: Embedded,
) -> None:
    """As the streams do, which end with this broker: the next relay begins when topics are made.

    One that went on could be quicker than that, and this broker makes topics of its own then.
    """
    topic, rows = await make_topic(own_broker.at), Rows()
    async with running(rows, own_broker.at) as carrier:
        rows.leave(topic, numbers(200))
        await rows.empty()
        kill(own_broker)
        rows.leave(topic, numbers(50, start=200))
        await own_broker.wait()
        await away(carrier, True)
    own_broker.start()
    await own_broker.ready()
    await make_topic(own_broker.at, topic)
    async with running(rows, own_broker.at):
        await rows.empty()
    assert await read_back(own_broker.at, topic, 50) == numbers(50, start=200)


async def test_one_too_large_is_refused_and_holds_up_nothing(broker: Broker) -> None:
    topic, rows = await make_topic(broker), Rows()
    rows.leave(topic, [b"before"])
    rows.leave(topic, [b"x" * 1_200_000])
    rows.leave(topic, [b"after"])
    async with running(rows, broker) as carrier:
        await rows.empty()
        assert (carrier.sent, carrier.away) == (2, None)
    assert list(rows.refusals) == [2]
    assert "larger" in rows.refusals[2]
    assert await read_back(broker, topic, 2) == [b"before", b"after"]


async def test_a_producer_that_hangs_is_abandoned(
    own_broker: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 0.5)
    topic, rows = await make_topic(own_broker.at), Rows()
    async with running(rows, own_broker.at) as carrier:
        rows.leave(topic, numbers(5))
        await rows.empty()
        freeze(own_broker)
        rows.leave(topic, numbers(5, start=5))
        await away(carrier, True)
        thaw(own_broker)
        await rows.empty()
        await away(carrier, False)
    values = await read_back(own_broker.at, topic, 10)
    assert values[:5] == numbers(5)
    assert values[-5:] == numbers(5, start=5), "sent twice perhaps, but last as written"


async def test_it_ends_at_once_though_the_broker_is_frozen(own_broker: Embedded) -> None:
    topic, rows = await make_topic(own_broker.at), Rows()
    async with running(rows, own_broker.at):
        rows.leave(topic, numbers(5))
        await rows.empty()
        freeze(own_broker)
        rows.leave(topic, numbers(5, start=5))


async def test_a_ledger_that_is_away_ends_it(broker: Broker) -> None:
    rows = Rows()
    rows.fails = OSError("the ledger is away")
    with pytest.raises(OSError, match="the ledger is away"):
        await Relay(rows, broker).run()
