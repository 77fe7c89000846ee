"""Two processes in one group: whichever is killed, nothing is lost and the order holds."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from streams.broker import Broker
from tests.faults.streams_worker import HELD
from tests.kafka import Cluster
from tests.patience import PATIENCE
from tests.streams.helpers import a_name, make_topic, numbers, produce

MESSAGES = 600


async def test_a_killed_worker_is_replaced_without_loss(broker: Broker, tmp_path: Path) -> None:
    topic, group = await make_topic(broker), a_name("group")
    await produce(broker, topic, numbers(MESSAGES))
    first = await _worker(broker, group, topic, tmp_path / "first")
    await _handled(tmp_path, 100)
    first.send_signal(signal.SIGKILL)
    await first.wait()
    second = await _worker(broker, group, topic, tmp_path / "second")
    await _handled(tmp_path, MESSAGES)
    third = await _worker(broker, group, topic, tmp_path / "third")  # joins: a rebalance
    await produce(broker, topic, numbers(MESSAGES, start=MESSAGES))
    await _handled(tmp_path, MESSAGES + 100)
    for worker in (second, third):
        worker.send_signal(signal.SIGKILL)
        await worker.wait()

    order = list(dict.fromkeys(value for _, value in sorted(_notes(tmp_path))))
    assert order == list(range(len(order))), "each first time in its place, and none left out"


async def test_a_worker_stopped_past_its_time_and_continued_harms_nothing(
    kafka: Cluster, tmp_path: Path
) -> None:
    """Row 4 of the fault matrix: amid what it fetched, its partition goes to another."""
    broker = kafka.at
    topic, group = await make_topic(broker), a_name("group")
    (hold := tmp_path / "hold").touch()
    first = await _worker(broker, group, topic, tmp_path / "first")
    second = await _worker(broker, group, topic, tmp_path / "second")
    await produce(broker, topic, numbers(MESSAGES))  # who joins later would end what is held
    await _handled(tmp_path, HELD)
    owner = (
        first
        if (tmp_path / "first").stat().st_mtime_ns > (tmp_path / "second").stat().st_mtime_ns
        else second
    )
    owner.send_signal(signal.SIGSTOP)
    hold.unlink()
    await _handled(tmp_path, MESSAGES)
    owner.send_signal(signal.SIGCONT)
    await produce(broker, topic, numbers(MESSAGES, start=MESSAGES))
    await _handled(tmp_path, 2 * MESSAGES)
    for worker in (first, second):
        if worker.returncode is None:
            worker.send_signal(signal.SIGKILL)
        await worker.wait()
    order = list(dict.fromkeys(value for _, value in sorted(_notes(tmp_path))))
    assert order == list(range(2 * MESSAGES)), "each first time in its place, and none left out"


async def _worker(broker: Broker, group: str, topic: str, notes: Path) -> Process:
    kind = "embedded" if broker.embedded else "kafka"
    command = [
        "-m",
        "tests.faults.streams_worker",
        broker.bootstrap,
        kind,
        group,
        topic,
        str(notes),
    ]
    worker = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    assert worker.stdout
    async with asyncio.timeout(PATIENCE):
        assert await worker.stdout.readline() == b"started\n"
    return worker


def _notes(folder: Path) -> list[tuple[int, int]]:
    lines = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
    return [(int(at), int(value)) for at, value in (line.split() for line in lines)]


async def _handled(folder: Path, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len({value for _, value in _notes(folder)}) < count:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)
