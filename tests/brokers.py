"""Real brokers: those that all tests share, and one of its own to be killed or frozen."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import embedded
from streams.broker import Broker
from tests.kafka import Cluster


class Embedded(embedded.Broker):
    """An embedded broker, and where its clients find it."""

    @property
    def at(self) -> Broker:
        return Broker(self.bootstrap, embedded=True)


@contextlib.contextmanager
def _running(log: Path) -> Iterator[Embedded]:
    broker = Embedded(embedded.free_port(), log)
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
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """An embedded broker that all tests share: use topics and groups of your own (`a_name`)."""
    with _running(tmp_path_factory.mktemp("broker") / "broker.log") as broker:
        yield broker


@pytest.fixture(params=["embedded", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Both sorts of broker, for what must hold on either; shared, as above."""
    if request.param == "embedded":
        shared: Embedded = request.getfixturevalue("embedded_broker")
        return shared.at
    cluster: Cluster = request.getfixturevalue("kafka")
    return cluster.at


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Embedded]:
    """An embedded broker to kill, freeze and start again."""
    with _running(tmp_path / "broker.log") as broker:
        yield broker


#: What is left of a connection to a broker that hangs, dies or does not let in, by the parts that
#: complain.
LEFT = (
    r"Exception ignored in.*(AIOKafkaConnection|_SelectorTransport|StreamWriter|socket\.socket)"
    ":pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """What a file's tests leave is collected with its last one, and not in somebody else's."""
    yield
    gc.collect()
