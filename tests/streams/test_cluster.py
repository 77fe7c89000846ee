"""A cluster of three in trouble: nothing is lost, the order holds, all goes on by itself.

Rows 1 to 4 of the fault matrix. `make storm` keeps all brokers away for five minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.producer.sender import SendProduceReqHandler

from broadcaster.bootstrap import flowing
from broadcaster.clock import SystemClock
from broadcaster.incident import Report
from broadcaster.ledger import reports
from broadcaster.settings import Settings
from streams import making, relay, topics
from streams.broker import Broker
from streams.run import Flowing
from tests.connected.installation import until
from tests.kafka import Cluster, Node, cluster
from tests.patience import PATIENCE
from tests.story import EXERCISE, Story
from tests.streams.helpers import a_name, make_topic, numbers, read_back
from tests.streams.outbox import Rows, away, running

#: Seconds that all brokers are gone.
GONE = float(os.environ.get("BROADCASTER_STORM_SECONDS", "20"))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster(3) as three:
        yield three


@pytest.fixture
async def three(nodes: Cluster) -> AsyncIterator[Cluster]:
    """Three nodes that run; whatever a test does to them is put right after it."""
    yield nodes
    for node in nodes.nodes:
        if not node.running:
            node.start()
        node.thaw()
    await nodes.ready()


async def test_a_killed_leaders_messages_go_to_the_next_within_seconds(three: Cluster) -> None:
    topic, rows = await make_topic(three.at), Rows()
    async with running(rows, three.at) as carrier:
        rows.leave(topic, numbers(100))
        await rows.empty()
        leader = await _leader(three, topic)
        leader.kill()
        began = monotonic()
        for n in range(20):
            rows.leave(topic, numbers(10, start=100 + n * 10))
            await asyncio.sleep(0.05)  # as they come, not all at once
        await rows.empty(deadline=9)
        assert monotonic() - began < 9
        await away(carrier, False)
    assert await read_back(three.at, topic, 300) == numbers(300), "by one producer: once each"


async def test_a_batch_whose_answer_was_lost_with_its_leader_is_there_once(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idempotent producer says again what the copies have already, and is understood."""
    topic, rows = await make_topic(three.at), Rows()
    leader = await _leader(three, topic)
    answers = SendProduceReqHandler.handle_response

    def lost(handler: SendProduceReqHandler, response: object) -> None:
        monkeypatch.setattr(SendProduceReqHandler, "handle_response", answers)
        leader.kill()
        for batch in handler._batches.values():
            handler._to_reenqueue.append(batch)
        handler._client.force_metadata_update()

    monkeypatch.setattr(SendProduceReqHandler, "handle_response", lost)
    async with running(rows, three.at):
        rows.leave(topic, numbers(20))
        await rows.empty(deadline=9)
    assert not leader.running
    rows.leave(topic, [b"the last"])
    async with running(rows, three.at):
        await rows.empty()
    assert await read_back(three.at, topic, 21) == [*numbers(20), b"the last"]


async def test_with_too_few_copies_it_waits_and_says_why(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 2.0)
    topic, rows = await make_topic(three.at), Rows()
    await _set(three, topic, {"min.insync.replicas": "3"})
    leader = await _leader(three, topic)
    async with running(rows, three.at) as carrier:
        rows.leave(topic, numbers(5))
        await rows.empty()
        next(node for node in three.nodes if node is not leader).kill()
        await three.ready()
        rows.leave(topic, numbers(5, start=5))
        async with asyncio.timeout(PATIENCE):
            while "copies" not in (carrier.away.why if carrier.away else ""):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert carrier.away
        assert f"of 3 copies of {topic} 2 can be written to" in carrier.away.why
        assert len(rows.rows) == 5
        for node in three.nodes:
            if not node.running:
                node.start()
        await rows.empty(deadline=30)
        await away(carrier, False)
    _in_order(await read_back(three.at, topic, 10), 10)


async def test_a_topic_that_takes_nothing_keeps_back_no_other(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 3.0)
    sick, sound = await make_topic(three.at), await make_topic(three.at)
    rows = Rows()
    async with running(rows, three.at) as carrier:
        rows.leave(sick, numbers(5))
        rows.leave(sound, numbers(1))
        await rows.empty()
        await _set(three, sick, {"min.insync.replicas": "3"})
        leaders = [await _leader(three, sick), await _leader(three, sound)]
        gone = next(node for node in three.nodes if node not in leaders)
        gone.kill()
        await three.ready()
        rows.leave(sick, numbers(5, start=5))
        turns = range(1, 25)  # for longer than the producer lasts
        async with asyncio.timeout(len(turns) * (relay.TURN + 1)):
            for number in turns:
                rows.leave(sound, numbers(1, start=number))
                while any(row.topic == sound for row in rows.rows):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert carrier.away is None, "others get through"
                await asyncio.sleep(0.2)
        assert [row.value for row in rows.rows] == numbers(5, start=5)
        gone.start()
        await rows.empty(deadline=30)
    _in_order(await read_back(three.at, sick, 10), 10)
    _in_order(await read_back(three.at, sound, 25), 25)


@pytest.mark.parametrize("frozen", [2, 3])
async def test_a_frozen_cluster_is_left_after_a_while_and_gone_on_with(
    three: Cluster, frozen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three nodes: no majority. The producer that hangs is abandoned, not waited for."""
    monkeypatch.setattr(relay, "PATIENCE", 3.0)
    topic, rows = await make_topic(three.at), Rows()
    async with running(rows, three.at) as carrier:
        rows.leave(topic, numbers(5))
        await rows.empty()
        for node in three.nodes[:frozen]:
            node.freeze()
        hung = carrier._producer
        rows.leave(topic, numbers(5, start=5))
        await away(carrier, True)
        async with asyncio.timeout(relay.PATIENCE + 20):
            while carrier._producer is hung:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.05)
        rows.leave(topic, numbers(5, start=10))
        for node in three.nodes[:frozen]:
            node.thaw()
        await rows.empty(deadline=30)
        await away(carrier, False)
    _in_order(await read_back(three.at, topic, 15), 15)


async def test_what_the_broker_finds_too_large_is_refused_alone(three: Cluster) -> None:
    topic, rows = await make_topic(three.at), Rows()
    await _set(three, topic, {"max.message.bytes": "1000"})
    rows.leave(topic, numbers(3))
    rows.leave(topic, [b"x" * 2000, *numbers(3, start=3)])
    rows.leave(topic, [b"x" * 1_200_000, *numbers(3, start=6)])
    async with running(rows, three.at) as carrier:
        await rows.empty(deadline=20)
        assert carrier.away is None
    assert sorted(rows.refusals) == [4, 8]
    _in_order(await read_back(three.at, topic, 9), 9)


@contextlib.asynccontextmanager
async def _flow(story: Story, broker: Broker, home: Path) -> AsyncIterator[Flowing]:
    """Relay and compile on the cluster, as a process has them."""
    await making.apply(broker, topics.full_names(EXERCISE, ["public_page"]))
    flow = flowing(
        Settings(home=home), story.ledger, broker, "http://127.0.0.1", SystemClock(),
        steps=["compile"],
    )  # fmt: skip
    task = asyncio.create_task(flow.run())
    try:
        yield flow
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _accept(story: Story, number: int) -> None:
    """A report passes the door; compiling it is for the step."""
    report = Report.model_validate({
        "source": "cad", "message_id": f"m{number}", "number": str(number), "type": "GASLEAK",
        "place": "1200 block of Oak St", "opened_at": story.clock.at, "reported_at": story.clock.at,
    })  # fmt: skip
    await story.ledger.write(lambda tx: reports.accept(tx, report, actor="cad"))


async def _compiled(story: Story) -> None:
    """Returns when every report that was accepted is folded into its incident."""
    changed = asyncio.Event()
    forget = story.ledger.on_commit(lambda _: changed.set())
    async with asyncio.timeout(PATIENCE):
        while await story.ledger.read(reports.waiting):
            changed.clear()
            await changed.wait()
    forget()


async def test_steps_go_on_when_their_leader_is_killed(
    three: Cluster, story: Story, tmp_path: Path
) -> None:
    broker = replace(three.at, prefix=f"{a_name('leader')}.", partitions=1)
    async with _flow(story, broker, tmp_path) as flow:
        await _accept(story, 1)
        await _compiled(story)
        (await _leader(three, broker.named("exercise.incident.reports"))).kill()
        began = monotonic()
        await _accept(story, 2)
        await _compiled(story)
        print(f"a report went through {monotonic() - began:.1f} s after its leader was killed")
        assert flow.restarts == 0


async def test_steps_go_on_when_all_brokers_were_gone(
    three: Cluster, story: Story, tmp_path: Path
) -> None:
    broker = replace(three.at, prefix=f"{a_name('gone')}.")
    async with _flow(story, broker, tmp_path) as flow:
        await _accept(story, 1)
        await _compiled(story)
        for node in three.nodes:
            node.kill()
        until = monotonic() + GONE
        count = 1
        while monotonic() < until:
            count += 1
            await _accept(story, count)  # accepted all the same: the ledger has it
            await asyncio.sleep(1)
        assert flow.away is not None
        assert await story.ledger.read(reports.waiting) == count - 1
        for node in three.nodes:
            node.start()
        began = monotonic()
        await _compiled(story)
        print(f"{count - 1} reports went through {monotonic() - began:.1f} s after the start")
        assert await story.ledger.read(reports.count) == count


def _in_order(values: list[bytes], count: int) -> None:
    """Nothing lost; what came twice did so after its first; the last is the last that was left."""
    assert list(dict.fromkeys(values)) == numbers(count)
    assert values[-1] == numbers(count)[-1]


async def _leader(three: Cluster, topic: str) -> Node:
    admin = AIOKafkaAdminClient(**three.at.client())
    await admin.start()
    try:

        async def led() -> int | None:
            partitions = (await admin.describe_topics([topic]))[0]["partitions"]
            return max(partitions[0]["leader"], 0) if partitions else None

        return three.node(await until("the topic is led", led))
    finally:
        await admin.close()


async def _set(three: Cluster, topic: str, settings: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(**three.at.client())
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])
    finally:
        await admin.close()
