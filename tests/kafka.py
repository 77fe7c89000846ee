"""Apache Kafka of the tests' own: one node, or a cluster of three to kill, freeze and start again.

`scripts/test-deps` fetches its jars into `.kafka` in the checkout. A node is broker and controller
in one (KRaft), and dies with whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.broker import Broker
from streams.embedded import HOST, free_port, spawn
from tests.patience import PATIENCE

FETCHED = Path(__file__).resolve().parents[1] / ".kafka"

#: The classes of a node as they lie in memory; the first that ends in order leaves it here. With
#: it one starts in 1.4 s instead of 2.0 s, and takes half the processor time (measured).
ARCHIVE = FETCHED / "classes.jsa"


@dataclass
class Node:
    """One node. Its folder and ports stay the same from start to start."""

    number: int
    folder: Path
    port: int = field(default_factory=free_port)
    controller_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def start(self) -> None:
        """Starts it, also after it was stopped or killed; `Cluster.ready` waits for it."""
        classes = [f"-XX:SharedArchiveFile={ARCHIVE}", "-Xshare:auto"]
        if not ARCHIVE.exists():
            classes = [f"-XX:ArchiveClassesAtExit={self.folder / ARCHIVE.name}", "-Xlog:disable"]
        command = [*_java("-Xmx512m", *classes), "kafka.Kafka", str(self.folder / "properties")]
        with self.log.open("ab") as log:
            self._process = spawn(command, log)

    def stop(self) -> None:
        """Ends it in order: its partitions are led by others before it goes."""
        self._signal(signal.SIGTERM)
        self._wait()
        if (left := self.folder / ARCHIVE.name).exists() and not ARCHIVE.exists():
            shutil.copy(left, ARCHIVE.with_suffix(f".{os.getpid()}"))
            ARCHIVE.with_suffix(f".{os.getpid()}").rename(ARCHIVE)

    def kill(self) -> None:
        """As if its power failed."""
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        """Stops it where it is, and returns once it stands."""
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=PATIENCE)


@dataclass(frozen=True)
class Cluster:
    """Nodes that know each other."""

    nodes: Sequence[Node]

    @property
    def bootstrap(self) -> str:
        """Where clients find it: every node, `HOST:PORT,HOST:PORT`."""
        return ",".join(node.address for node in self.nodes)

    @property
    def at(self) -> Broker:
        """As many copies as there are nodes, and two partitions."""
        return Broker(
            self.bootstrap, embedded=False, partitions=2, replication=min(3, len(self.nodes))
        )

    def node(self, number: int) -> Node:
        """The node that the brokers' answers call by this number."""
        return next(node for node in self.nodes if node.number == number)

    async def ready(self, deadline: float = PATIENCE) -> None:
        """Returns once the cluster knows of every node that runs, and of no other."""
        wanted = {node.number for node in self.nodes if node.running}
        try:
            async with asyncio.timeout(deadline):
                while await self._known() != wanted:
                    assert all(node.running for node in self.nodes if node.number in wanted)
                    await asyncio.sleep(0.05)
        except (TimeoutError, AssertionError):
            pytest.fail(f"Kafka's nodes {wanted} did not get ready:\n{self.told()}")

    async def _known(self) -> set[int]:
        """The nodes that each running one would tell a client of."""
        known: list[set[int]] = []
        for node in self.nodes:
            if node.running:
                known.append(await _told_by(node))
        return known[0] if all(told == known[0] for told in known) else set()

    def told(self) -> str:
        """The last lines of each node's log."""
        return "\n".join(
            f"node {node.number}: {node.log.read_text(errors='replace')[-2000:]}"
            for node in self.nodes
        )


@contextlib.contextmanager
def cluster(
    nodes: int = 1, settings: Mapping[str, str] | None = None, users: Sequence[str] = ()
) -> Iterator[Cluster]:
    """Starts a cluster and ends it; `settings` go on top of its own, `listeners` beside its own.

    `users`: accounts for SCRAM, as Kafka's storage tool takes them.

    Three nodes keep three copies, of which two must have a message. Skips, saying so, where
    there is no Java, or no jars.
    """
    if shutil.which("java") is None or not (FETCHED / "libs").is_dir():
        pytest.skip("Apache Kafka is not here: run scripts/test-deps, which fetches it")
    folder = Path(tempfile.mkdtemp(prefix="kafka-"))
    made = Cluster([Node(number, folder / str(number)) for number in range(1, nodes + 1)])
    try:
        _format(made, settings or {}, users)
        for node in made.nodes:
            node.start()
        with asyncio.Runner() as runner:
            runner.run(made.ready())
        yield made
        if not ARCHIVE.exists():
            with contextlib.suppress(subprocess.TimeoutExpired):  # on a busy machine: another will
                made.nodes[0].stop()
    finally:
        for node in made.nodes:
            if node.running:
                node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Cluster]:
    """One node that all tests share: use topics and groups of your own, or a prefix."""
    with cluster() as one:
        yield one


def _format(made: Cluster, settings: Mapping[str, str], users: Sequence[str]) -> None:
    """Writes each node's settings and folder; Kafka's own tool makes the first, a copy the rest."""
    cluster_id = _kafka_id()
    for node in made.nodes:
        node.folder.mkdir()
        own = _settings(made, node)
        listeners = ",".join([own["listeners"], *settings.get("listeners", "").split()])
        own |= {**settings, "listeners": listeners}
        lines = "".join(f"{name}={value}\n" for name, value in own.items())
        (node.folder / "properties").write_text(lines)
    first, *rest = made.nodes
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id]
    tool += [word for user in users for word in ("--add-scram", user)] + ["-c"]
    done = subprocess.run(
        [*_java(f"-XX:SharedArchiveFile={ARCHIVE}"), *tool, str(first.folder / "properties")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for node in rest:
        shutil.copytree(first.folder / "data", node.folder / "data")
        lines = f"node.id={node.number}\ndirectory.id={_kafka_id()}\ncluster.id={cluster_id}\n"
        (node.folder / "data" / "meta.properties").write_text(f"version=1\n{lines}")


def _settings(made: Cluster, node: Node) -> dict[str, str]:
    copies = min(3, len(made.nodes))
    voters = ",".join(f"{each.number}@{HOST}:{each.controller_port}" for each in made.nodes)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{HOST}:{node.controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
        "SSL:SSL,SASL_SSL:SASL_SSL",
        "log.dirs": str(node.folder / "data"),
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(max(1, copies - 1)),
        "offsets.topic.replication.factor": str(copies),
        "offsets.topic.num.partitions": "3",  # 50 take their time to be made
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(max(1, copies - 1)),
        "transaction.state.log.num.partitions": "3",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # A killed node is missed after this; Kafka's own 9 s would make each test wait so long.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "300",
        "replica.lag.time.max.ms": "3000",
    }


def _java(*options: str) -> list[str]:
    """Starts quickly, and makes little of what it could: these processes are short-lived."""
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    quiet = ["-Dlog4j2.level=WARN", "-cp", f"{FETCHED / 'libs'}/*"]
    return [shutil.which("java") or "java", *quick, *options, *quiet]


def _kafka_id() -> str:
    """By chance; it never begins with "-", which Kafka's tool would take for an option."""
    return urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).rstrip(b"=").decode()


async def _told_by(node: Node) -> set[int]:
    client = AIOKafkaClient(bootstrap_servers=node.address, request_timeout_ms=2000)
    try:
        _, writer = await asyncio.open_connection(HOST, node.port)  # the client would log a lot
        writer.close()
        await client.bootstrap()
        return {broker.nodeId for broker in client.cluster.brokers()}
    except (KafkaError, OSError):
        return set()
    finally:
        await client.close()
