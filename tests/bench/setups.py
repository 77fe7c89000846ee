"""The set-ups that are measured beside each other, and what they stand on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from tests import kafka, postgres
from tests.connected.installation import Embedded, Installation


@dataclass(frozen=True)
class Ground:
    """What outlives the installations: one node of Apache Kafka, and PostgreSQL."""

    kafka: kafka.Cluster
    postgres: postgres.Server


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    with kafka.cluster() as brokers, postgres.server() as databases:
        yield Ground(brokers, databases)


#: Starts an installation with settings.
Setup = Callable[..., AbstractAsyncContextManager[Installation]]


def embedded(ground: Ground, **settings: object) -> AbstractAsyncContextManager[Installation]:
    return Embedded.fresh(**settings)


def kafka_sqlite(ground: Ground, **settings: object) -> AbstractAsyncContextManager[Installation]:
    return Embedded.fresh(kafka=ground.kafka.bootstrap, kafka_replication=1, **settings)


SETUPS: dict[str, Setup] = {"embedded": embedded, "Kafka + SQLite": kafka_sqlite}
