"""The embedded broker as a child: it serves, it ends, it is never left behind."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from streams.embedded import Broker, find_binary, free_port, runnable
from streams.errors import NoBroker
from tests.brokers import Embedded
from tests.patience import PATIENCE
from tests.streams.helpers import freeze, kill

_PARENT = """
import asyncio, sys
from pathlib import Path
from streams.embedded import Broker
broker = Broker(int(sys.argv[1]), Path(sys.argv[2]))
broker.start()
asyncio.run(broker.ready())
print(broker.pid, flush=True)
sys.stdin.read()
"""


async def test_it_starts_serves_and_stops(tmp_path: Path) -> None:
    broker = Broker(free_port(), tmp_path / "broker.log")
    assert (broker.running, broker.pid, broker.rss_bytes()) == (False, None, 0)
    broker.start()
    await broker.ready()
    assert broker.running
    assert 1_000_000 < broker.rss_bytes() < 64_000_000
    assert "tansu" in (tmp_path / "broker.log").read_text()
    await broker.stop()
    await broker.stop()
    assert (broker.running, broker.rss_bytes()) == (False, 0)


async def test_one_that_will_not_end_is_made_to(own_broker: Embedded) -> None:
    freeze(own_broker)
    async with asyncio.timeout(PATIENCE):
        await own_broker.stop()
    assert await own_broker.wait() == -signal.SIGKILL


async def test_a_frozen_one_is_not_ready(own_broker: Embedded) -> None:
    freeze(own_broker)
    with pytest.raises(NoBroker, match="did not answer") as caught:
        await own_broker.ready(deadline=0.2)
    assert caught.value.code == "broker_silent"


async def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(NoBroker, match="set another port") as caught:
            Broker(other.getsockname()[1], tmp_path / "broker.log").start()
    assert caught.value.code == "port_taken"


async def test_one_that_ends_while_starting_points_to_its_log(tmp_path: Path) -> None:
    broker = Broker(free_port(), tmp_path / "broker.log")
    broker.start()
    kill(broker)
    await broker.wait()
    with pytest.raises(NoBroker, match=r"broker\.log") as caught:
        await broker.ready()
    assert caught.value.code == "broker_ended"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel promises this")
def test_it_dies_with_its_parent_though_the_parent_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PARENT, str(free_port()), str(tmp_path / "broker.log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        gone = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    with open(gone):
        asyncio.run(asyncio.wait_for(_readable(gone), PATIENCE))


async def _readable(fd: int) -> None:
    """A pidfd is readable once its process has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(fd)


def test_a_platform_without_the_wheel_gets_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NoBroker, match="Apache Kafka cluster instead") as caught:
        find_binary()
    assert caught.value.code == "no_embedded_broker"


def test_a_binary_that_lost_its_x_bit_gets_it_back(tmp_path: Path) -> None:
    binary = tmp_path / "tansu"
    binary.write_bytes(b"#!/bin/sh\n")
    binary.chmod(0o644)
    assert runnable(binary, tmp_path) == binary
    assert os.access(binary, os.X_OK)


def test_where_the_bit_cannot_be_set_a_copy_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    binary = theirs / "tansu"
    binary.write_bytes(b"#!/bin/sh\n")
    binary.chmod(0o644)
    chmod = Path.chmod

    def only_ours(path: Path, mode: int) -> None:
        if path == binary:
            raise PermissionError(path)
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", only_ours)
    assert runnable(binary, ours) == ours / "tansu"
    assert os.access(ours / "tansu", os.X_OK)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_parent_that_imports_it_stays_small() -> None:
    script = """
import sys, streams.embedded
print(*{name.partition(".")[0] for name in sys.modules})
print(open("/proc/self/statm").read().split()[1])
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules, pages = out.stdout.splitlines()
    heavy = {"faust", "mode", "aiokafka", "pydantic", "sqlalchemy", "aiohttp", "ctypes"}
    assert not heavy & set(modules.split())
    assert int(pages) * os.sysconf("SC_PAGESIZE") < 25_000_000
