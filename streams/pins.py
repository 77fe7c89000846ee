"""The names of other people's that we rely on, though they never promised to keep them.

`faust_parts` and `relay` reach into faust-streaming, mode-streaming and aiokafka. Their versions
are pinned exactly; this check, at start, is for the installation that came about another way.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

from streams.errors import WrongVersion

#: The versions that were measured (their semantics have tests in tests/streams).
PINNED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}

#: Module → what must be in it: dotted for what a class has, or sets when it is made.
PRIVATE_NAMES = {
    "aiokafka.client": ["AIOKafkaClient._conns", "AIOKafkaClient.close"],
    "aiokafka.conn": ["collect_hosts", "create_conn"],
    "aiokafka.consumer.consumer": [
        "AIOKafkaConsumer._client",
        "AIOKafkaConsumer._closed",
        "AIOKafkaConsumer._fetch_max_wait_ms",
        "AIOKafkaConsumer._fetcher",
    ],
    "aiokafka.consumer.fetcher": ["Fetcher._fetch_max_wait_ms", "Fetcher.close"],
    "aiokafka.producer.producer": ["AIOKafkaProducer._closed", "AIOKafkaProducer._sender"],
    "aiokafka.producer.sender": ["Sender.sender_task"],
    "faust.app.base": [
        "App._consumer",
        "App._create_directories",
        "BootStrategy.enable_kafka_producer",
        "BootStrategy.enable_sensors",
    ],
    "faust.tables.manager": ["TableManager._update_channels"],
    "faust.transport.consumer": [
        "Consumer._buffered_partitions",
        "Consumer._clean_unacked_messages",
        "Consumer._commit_livelock_detector",
        "Consumer._get_active_partitions",
        "Consumer._unacked_messages",
        "Consumer._wait_next_records",
        "ThreadDelegateConsumer._thread",
    ],
    "faust.transport.drivers.aiokafka": [
        "AIOKafkaConsumerThread._consumer",
        "AIOKafkaConsumerThread._create_worker_consumer",
        "Consumer._new_consumer_thread",
        "Transport.Consumer",
    ],
    "mode.threads": [
        "QueueServiceThread.on_thread_stop",
        "ServiceThread.Worker",
        "ServiceThread._crash",
        "ServiceThread._stopped_set",
        "ServiceThread._thread",
        "ServiceThread._thread_running",
        "ServiceThread.on_crash",
        "ServiceThread.thread_loop",
        "WorkerThread.stop",
    ],
    # Without its compiled part Faust acknowledges what it skips in a rebalance, and so loses it.
    "faust.streams": ["_CStreamIterator.next"],
}


def check_private_names() -> None:
    """Raises `WrongVersion`, saying what to install, unless all that we rely on is there."""
    for package, wanted in PINNED.items():
        found = _version(package)
        if found != wanted:
            raise WrongVersion(
                f"This program needs {package} {wanted} exactly; {found or 'none'} is installed.",
                f"Run `make setup`, or install {package}=={wanted}.",
            )
    for module, names in PRIVATE_NAMES.items():
        for name in names:
            if not _has(module, name):
                raise WrongVersion(
                    f"{module}.{name}, on which this program relies, is missing.",
                    "Install the published wheels (not sources) of "
                    + ", ".join(f"{package}=={wanted}" for package, wanted in PINNED.items())
                    + ", and leave NO_CYTHON unset.",
                )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _has(module: str, name: str) -> bool:
    try:
        found: object = importlib.import_module(module)
    except ImportError:
        return False
    for part in name.split("."):
        if not hasattr(found, part):
            made = getattr(found, "__init__", None)
            return part in getattr(getattr(made, "__code__", None), "co_names", ())
        found = getattr(found, part)
    return True
