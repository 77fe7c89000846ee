"""A PostgreSQL server of the tests' own, and a fresh database with its roles for each test."""

from __future__ import annotations

import getpass
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from broadcaster.ledger.owner import Roles, apply

#: Debian's servers lie in a folder for each version; elsewhere they are on the path.
FOLDERS = [found.parent for found in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Database:
    """One database, and the addresses by which its three roles reach it."""

    name: str
    port: int

    def url(self, role: str = "postgres") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{self.name}"


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int

    @contextmanager
    def database(self, roles: Roles = Roles()) -> Iterator[Database]:  # noqa: B008 - frozen
        """A new database of the exercise world, with its tables and rights."""
        database = Database(f"test_{os.getpid()}_{next(NUMBERS)}", self.port)
        with psycopg.connect(Database("postgres", self.port).url(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {database.name}")  # type: ignore[arg-type]
            for role in (roles.desk, roles.worker):
                if not admin.execute(
                    "SELECT 1 FROM pg_roles WHERE rolname = %s", [role]
                ).fetchone():
                    admin.execute(f"CREATE ROLE {role} LOGIN")  # type: ignore[arg-type]
            apply(database.url(), "exercise", roles)
            yield database
            admin.execute(f"DROP DATABASE {database.name} WITH (FORCE)")  # type: ignore[arg-type]


@contextmanager
def server() -> Iterator[Server]:
    """Starts one on loopback, in a folder of its own; skips, saying so, where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _user(folder)
    run = [*(["runuser", "-u", user, "--"] if user else [])]
    data = folder / "data"
    try:
        _quiet([*run, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres",
                "--no-sync"])  # fmt: skip
        port = _free_port()
        options = (f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
                   "-c fsync=off -c max_connections=100")  # fmt: skip
        _quiet([*run, str(programs / "pg_ctl"), "-D", str(data), "-o", options,
                "-l", str(folder / "log"), "-w", "start"])  # fmt: skip
        yield Server(port)
        _quiet([*run, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server that all tests share: take a database of your own."""
    with server() as running:
        yield running


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


def _quiet(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr or done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
