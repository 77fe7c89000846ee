"""The production set-up: PostgreSQL with three roles, Apache Kafka, and one process for each part.

Each process is started again whenever it ends, as compose and systemd do it. The servers are
shared: every installation has a database of its own, and topics under a prefix of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest import mock

import aiohttp
import psycopg
import pytest
from psycopg import sql

from broadcaster import bootstrap, here
from broadcaster.settings import Settings, load
from streams.embedded import free_port
from tests.connected.installation import (
    PROGRAM,
    Embedded,
    Installation,
    Json,
    ask,
    broadcaster,
    environment,
    short_folder,
    some_receivers,
    until,
)
from tests.kafka import Cluster
from tests.postgres import Database, Server

WORKERS = ("intake", "compile", "notify", "gate", "deliver", "relay")

#: Cases run side by side in threads, and a process has one environment.
_ENVIRONMENT = threading.Lock()

#: Seconds between the end of a process and its next start.
PAUSE = 0.1


_GIVEN: set[int] = set()


def unused_port() -> int:
    """A free port that was not given before: whoever got that one may not listen there yet."""
    while (port := free_port()) in _GIVEN:
        pass
    _GIVEN.add(port)
    return port


@dataclass(frozen=True)
class Servers:
    """Where an installation of production keeps what it knows, and through what it flows."""

    postgres: Server
    kafka: str  #: HOST:PORT,…


class Kept:
    """One process, started again whenever it ends by itself."""

    def __init__(
        self, name: str, arguments: tuple[str, ...], settings: Mapping[str, str], program: str
    ) -> None:
        self.name = name
        self.ends: list[tuple[float, int]] = []  #: of its past lives: when, and the exit code
        self._arguments = arguments
        self._settings = dict(settings)
        self._program = program
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @property
    def home(self) -> Path:
        return Path(self._settings["BROADCASTER_HOME"])

    @property
    def log(self) -> Path:
        return self.home.with_suffix(".log")

    @property
    def address(self) -> str:
        return f"http://localhost:{self._settings['BROADCASTER_PORT']}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._spawn()
        self._thread.start()

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = broadcaster(
                self._arguments, self._settings, self._program, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def _keep(self) -> None:
        while True:
            assert self._process is not None
            code = self._process.wait()
            self.ends.append((time.monotonic(), code))
            if self._over.wait(PAUSE):
                return
            self._spawn()

    def end(self, number: int, within: float) -> int:
        """Ends it for good: its exit code. Raises TimeoutExpired where that takes longer."""
        if self._thread is None or self._process is None:
            return 0
        self._over.set()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(within)
        finally:
            self._process.kill()
            self._thread.join()
            self._thread = None
        return self.ends[-1][1]


@dataclass
class Production(Installation):
    """The desk and the workers, each a process of its own."""

    kept: dict[str, Kept] = field(default_factory=dict)
    each: int = 1  #: how many there are of every worker
    program: str = PROGRAM  #: the module that each of them runs
    database: Database | None = None
    prefix: str = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def fresh(
        cls, *, receivers: dict[str, bool] | None = None, start: bool = True,
        on: Servers | None = None, each: int = 1, program: str = PROGRAM, **settings: object,
    ) -> AsyncIterator[Self]:  # fmt: skip
        """One on these servers. `each`: how many there are of every worker."""
        assert on is not None, "it needs its servers"
        with short_folder() as folder, on.postgres.database() as database:
            at = cls(
                folder / "home", some_receivers(receivers, folder), environment(settings),
                broker=on.kafka, each=each, program=program, database=database,
                prefix=f"{database.name}.",
            )  # fmt: skip
            at.home.mkdir()
            at.address = f"http://localhost:{unused_port()}"
            async with at.lasting(start):
                yield at

    def _employ(self) -> Iterator[Kept]:
        """The desk, and so many of each worker."""
        port = self.address.rpartition(":")[2]
        yield self._one("desk", ("desk",), "broadcaster_desk", port)
        for worker, number in itertools.product(WORKERS, range(1, self.each + 1)):
            name = worker if self.each == 1 else f"{worker} {number}"
            yield self._one(name, ("worker", worker), "broadcaster_worker", str(unused_port()))

    def _one(self, name: str, arguments: tuple[str, ...], role: str, port: str) -> Kept:
        home = self.home / name.replace(" ", "-")
        home.mkdir()
        return Kept(name, arguments, {
            **self.settings(), "BROADCASTER_HOME": str(home), "BROADCASTER_PORT": port,
            "BROADCASTER_LEDGER_URL": self._database.url(role),
        }, self.program)  # fmt: skip

    @property
    def _database(self) -> Database:
        assert self.database is not None, "made by `fresh`"
        return self.database

    @property
    def name(self) -> str:
        """Of its database."""
        return self._database.name

    def settings(self) -> dict[str, str]:
        """As the owner of the ledger has them."""
        return {
            **super().settings(),
            "BROADCASTER_LEDGER_URL": self._database.url(),
            "BROADCASTER_KAFKA": self.broker,
            "BROADCASTER_KAFKA_PREFIX": self.prefix,
            "BROADCASTER_KAFKA_PARTITIONS": "2",
            "BROADCASTER_KAFKA_REPLICATION": "1",
            "BROADCASTER_PUBLIC_URL": self.address,
        }

    def topic(self, name: str) -> str:
        return f"{self.prefix}exercise.{name}"

    def logs(self) -> list[Path]:
        return [each.log for each in self.kept.values()]

    async def _begin(self) -> None:
        if not self.kept:
            await bootstrap.apply_topics(self._loaded())
            self.kept = {each.name: each for each in self._employ()}
        for each in self.kept.values():
            each.start()

    async def ready(self) -> None:
        await until("every process is ready", self.all_ready)

    async def all_ready(self) -> bool:
        return all([await self.is_ready(name) for name in self.kept])

    async def is_ready(self, name: str) -> bool:
        """Whether a process serves, and the streams, its own or those beside a desk, run."""
        said = await self.readiness(name)
        return bool(said.get("streams") == "run")

    async def readiness(self, name: str) -> Json:
        """What a process says of itself; nothing where it does not answer."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with aiohttp.ClientSession(self.kept[name].address) as session:
                return (await ask(session, "GET", "/readyz")).body
        return {}

    async def order(self, name: str, /, **arguments: Any) -> Json:
        """A command, as the owner of the ledger runs it. Raises Refusal."""
        return await here.alone(self._loaded(), name, arguments)

    def _loaded(self) -> Settings:
        with _ENVIRONMENT, mock.patch.dict(os.environ, self.settings()):
            return load()

    async def is_drained(self) -> bool:
        return await super().is_drained() and not self.rows("SELECT 1 FROM unsealed LIMIT 1")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers, asked past the product."""
        with psycopg.connect(self._database.url()) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    async def laid_open(self) -> Path:
        return copied(self._database.url(), self.home.parent / f"{uuid.uuid4().hex}.db")

    async def end(self, number: int = signal.SIGTERM, within: float = 60.0) -> int:
        codes = await asyncio.gather(*(
            asyncio.to_thread(each.end, number, within) for each in self.kept.values()
        ))  # fmt: skip
        return next(filter(None, codes), 0)

    def kill(self, which: str, number: int = signal.SIGKILL) -> int:
        pid = self.kept[which].pid
        os.kill(pid, number)
        return pid

    def killed(self) -> list[str]:
        ends = [(at, each.name) for each in self.kept.values() for at, code in each.ends
                if code == -signal.SIGKILL]  # fmt: skip
        return [name for _, name in sorted(ends)]


def copied(url: str, file: Path) -> Path:
    """A PostgreSQL ledger as a SQLite file: every table, as it is at one moment.

    By what the database itself tells of its tables, so that nothing of the product stands between
    the ledger and its judge.
    """
    with (
        psycopg.connect(url) as ledger, contextlib.closing(sqlite3.connect(file)) as copy, copy,
    ):  # fmt: skip
        ledger.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for table, columns in tables(ledger):
            copy.execute(f"CREATE TABLE {table} ({', '.join(map(_quoted, columns))})")
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            rows = ledger.execute(sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(table)))
            marks = ", ".join("?" * len(columns))
            copy.executemany(f"INSERT INTO {table} VALUES ({marks})", map(_plain, rows))
    return file


def tables(ledger: psycopg.Connection) -> Iterator[tuple[str, list[str]]]:
    """Each table with its columns."""
    listed = ledger.execute(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    ).fetchall()
    for table, columns in itertools.groupby(listed, key=lambda row: str(row[0])):
        yield table, [column for _, column in columns]


def _quoted(name: str) -> str:
    return f'"{name}"'


def _plain(row: tuple[Any, ...]) -> list[Any]:
    return [value.isoformat() if hasattr(value, "isoformat") else value for value in row]


#: Makes an installation of one set-up, as `Installation.fresh` does.
Fresh = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.fixture(scope="session")
def servers(postgres: Server, kafka: Cluster) -> Servers:
    """Those that all installations of production share."""
    return Servers(postgres, kafka.bootstrap)


@pytest.fixture(scope="module", params=["embedded", "production"])
def fresh(request: pytest.FixtureRequest) -> Fresh:
    """Makes installations: a test that asks for it runs on both set-ups."""
    if request.param == "embedded":
        return Embedded.fresh
    return partial(Production.fresh, on=request.getfixturevalue("servers"))
