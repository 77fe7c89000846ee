"""A PostgreSQL server of the tests' own, and a fresh database with its roles for each test."""

from __future__ import annotations

import getpass
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
import pytest

from broadcaster.ledger import postgres as ledger
from broadcaster.ledger.owner import Roles, apply
from streams.embedded import free_port

#: Debian's servers lie in a folder for each version; elsewhere they are on the path.
FOLDERS = [found.parent for found in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
NUMBERS = itertools.count()

#: Databases are made one at a time: what they are a copy of is shared.
MAKING = threading.Lock()


@dataclass(frozen=True)
class Database:
    """One database, and the addresses by which its three roles reach it."""

    name: str
    port: int

    def url(self, role: str = "postgres") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{self.name}"


@dataclass(frozen=True)
class Server:
    """A server; its folder and port stay the same from start to start."""

    port: int
    folder: Path
    programs: Path
    user: str | None  #: as whom it runs, where that is somebody else

    @property
    def leader(self) -> Path:
        """Holds the process id of the server; there as long as it runs."""
        return self.folder / "data" / "postmaster.pid"

    def start(self, *settings: str) -> None:
        """Returns once it takes connections; `settings` (`NAME=VALUE`) go on top of its own."""
        own = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off",
               "max_connections=500", *settings)  # fmt: skip
        options = " ".join([f"-p {self.port}", *(f"-c {each}" for each in own)])
        self._control("-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        """At once, as if its power failed."""
        self._control("-m", "immediate", "stop")

    def signal(self, number: int) -> None:
        """Sends every process of it a signal."""
        leader = int(self.leader.read_text().split()[0])
        for pid in (leader, *_children(leader)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _control(self, *arguments: str) -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), *arguments)

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs, as the server's user."""
        become = ["runuser", "-u", self.user, "--"] if self.user else []
        _quiet([*become, str(self.programs / program), *arguments])

    @contextmanager
    def outside(self, name: str = "postgres") -> Iterator[psycopg.Connection]:
        """A connection past the product, as the one who may do all."""
        with psycopg.connect(Database(name, self.port).url(), autocommit=True) as admin:
            yield admin

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A new database of the exercise world, with its tables and rights."""
        with MAKING:
            database = self._made(f" TEMPLATE {self._migrated.name}")
        yield database
        with self.outside() as admin:
            admin.execute(f"DROP DATABASE {database.name} WITH (FORCE)")  # type: ignore[arg-type]

    @cached_property
    def _migrated(self) -> Database:
        """What every database is a copy of: made once, since the migrations take their time."""
        roles = Roles()
        with self.outside() as admin:
            for role in (roles.desk, roles.worker):
                admin.execute(f"CREATE ROLE {role} LOGIN")  # type: ignore[arg-type]
        database = self._made()
        apply(database.url(), "exercise", roles)
        return database

    def _made(self, template: str = "") -> Database:
        database = Database(f"test_{os.getpid()}_{next(NUMBERS)}", self.port)
        with self.outside() as admin:
            admin.execute(f"CREATE DATABASE {database.name}{template}")  # type: ignore[arg-type]
        return database


@contextmanager
def server() -> Iterator[Server]:
    """Starts one on loopback, in a folder of its own; skips, saying so, where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    made = Server(free_port(), folder, programs, _user(folder))
    try:
        made.run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync")
        made.start()
        yield made
    finally:
        if made.leader.exists():
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server that all tests share: take a database of your own."""
    with server() as running:
        yield running


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that gives nobody up: how long it waits is `test_postgres.py`'s to show, and a busy
    machine is slower than that."""
    monkeypatch.setattr(ledger, "PATIENCE", 120.0)
    monkeypatch.setattr(ledger, "_CONNECT", {})


def _programs() -> Path | None:
    if FOLDERS:
        return FOLDERS[0]
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def _user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: then as its own user, who gets the folder."""
    if getpass.getuser() != "root":
        return None
    shutil.chown(folder, "postgres")
    return "postgres"


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True
    )
    return [int(each) for each in listed.stdout.split()]


def _quiet(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr or done.stdout
