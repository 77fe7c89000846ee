"""The set-ups that are measured beside each other, and what they stand on."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

from tests import kafka, postgres
from tests.connected.installation import Embedded, Installation
from tests.connected.production import Production, Servers


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """What outlives the installations: one node of Apache Kafka, and a PostgreSQL that syncs."""
    with kafka.cluster() as brokers, postgres.server() as databases:
        databases.stop()
        databases.start("fsync=on")
        yield Servers(databases, brokers.bootstrap)


#: Starts an installation with settings.
Setup = Callable[..., AbstractAsyncContextManager[Installation]]


def embedded(on: Servers, **settings: object) -> AbstractAsyncContextManager[Installation]:
    return Embedded.fresh(**settings)


@contextlib.asynccontextmanager
async def kafka_sqlite(on: Servers, **settings: object) -> AsyncIterator[Installation]:
    """`broadcaster up` on a Kafka elsewhere, under a prefix of its own."""
    prefix = f"{uuid.uuid4().hex}."
    async with Embedded.fresh(
        start=False, kafka=on.kafka, kafka_prefix=prefix, kafka_replication=1, **settings
    ) as at:
        code, _, err = await at.run("topics", "apply")
        assert code == 0, err
        await at.start()
        yield at


def kafka_postgres(on: Servers, **settings: object) -> AbstractAsyncContextManager[Installation]:
    return Production.fresh(on=on, **settings)


SETUPS: dict[str, Setup] = {
    "embedded": embedded, "Kafka + SQLite": kafka_sqlite, "Kafka + PostgreSQL": kafka_postgres,
}  # fmt: skip
