"""A Mastodon server of the tests' own: mastodon_mock, once per module, an account per test."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).resolve().parents[2] / ".servers/mastodon_mock/bin/mastodon_mock"

#: As many tests may ask for an account of their own.
_ACCOUNTS = 60

_SETTINGS = """
domain = "127.0.0.1"
[server]
port = 0
[database]
path = "{database}"
""" + "".join(
    f'[[seed.accounts]]\nusername = "police{n}"\naccess_token = "token-{n}"\n'
    for n in range(_ACCOUNTS)
)


@dataclass(frozen=True)
class Server:
    """One that runs at `url`."""

    url: str
    database: Path
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(_ACCOUNTS)))

    def token(self) -> str:
        """Of an account that has posted nothing."""
        return f"token-{next(self._numbers)}"

    def key(self, status_id: str) -> str:
        """The Idempotency-Key by which a status came."""
        with closing(sqlite3.connect(self.database)) as ledger:
            [[key]] = ledger.execute("SELECT key FROM idempotency WHERE status_id = ?", [status_id])
        return str(key)


@pytest.fixture(scope="module")
def mastodon() -> Iterator[Server]:
    """A server; skips where it is not installed."""
    if not _PROGRAM.exists():
        pytest.skip("mastodon_mock is not installed: run scripts/servers/mastodon_mock")
    folder = Path(tempfile.mkdtemp(prefix="mastodon-"))
    (folder / "settings.toml").write_text(_SETTINGS.format(database=folder / "db.sqlite"))
    process = subprocess.Popen(
        [str(_PROGRAM), "serve", "--config", str(folder / "settings.toml")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
    )  # fmt: skip
    assert process.stdout is not None
    hung = threading.Timer(60, process.kill)
    hung.start()
    found = None
    for line in process.stdout:
        if found := re.search(r"running on (http://\S+)", line):
            break
    hung.cancel()
    heard = threading.Thread(target=process.stdout.read)  # so that its log never waits for us
    heard.start()
    try:
        assert found is not None, "mastodon_mock ended before it listened"
        yield Server(found[1], folder / "db.sqlite")
    finally:
        process.kill()
        process.wait()
        heard.join()
        process.stdout.close()
        shutil.rmtree(folder)
