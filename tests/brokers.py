"""Real brokers: one for all tests, and one of its own for a test that kills or freezes it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded import Broker, free_port


@contextlib.contextmanager
def _running(log: Path) -> Iterator[Broker]:
    broker = Broker(free_port(), log)
    broker.start()
    try:
        with asyncio.Runner() as runner:
            runner.run(broker.ready())
        yield broker
    finally:
        if broker.running and broker.pid:
            os.kill(broker.pid, signal.SIGCONT)  # a frozen one could not end
        with asyncio.Runner() as runner:
            runner.run(broker.stop())


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that all tests share: use topics and groups of your own (`a_name`)."""
    with _running(tmp_path_factory.mktemp("broker") / "broker.log") as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker to kill, freeze and start again."""
    with _running(tmp_path / "broker.log") as broker:
        yield broker
