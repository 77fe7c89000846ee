"""A WordPress of the tests' own, with its database: loopback alone, in a temporary folder."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streams.embedded import free_port
from tests.patience import PATIENCE

_HERE = Path(__file__).parent / "wordpress"
_SITE = Path(__file__).parents[2] / ".servers" / "wordpress" / "site"

#: Whom install.php makes.
ADMINISTRATOR, AUTHOR, CONTRIBUTOR = "administrator 1", "author 1", "contributor 1"
_MARIADB = shutil.which("mariadbd", path=os.environ.get("PATH", "") + ":/usr/sbin")


@dataclass(frozen=True)
class Site:
    """A site, at first without posts; as WordPress comes, its visitors may comment."""

    url: str
    passwords: Mapping[str, str]  #: application passwords, by user

    async def ask(
        self, method: str, post: object = "", *, user: str | None = None,
        json: Mapping[str, str] | None = None, kind: str = "posts", **query: str,
    ) -> Any:  # fmt: skip
        """What the site says of its posts, or of one, to a user or to anybody; None: an error."""
        route = f"/wp/v2/{kind}/{post}".rstrip("/")
        login = aiohttp.encode_basic_auth(user, self.passwords[user]) if user else None
        async with (
            aiohttp.ClientSession(headers={"Authorization": login} if login else {}) as session,
            session.request(
                method, self.url, params={"rest_route": route, **query}, json=json
            ) as answer,
        ):
            return await answer.json() if answer.ok else None


@pytest.fixture(scope="module")
def wordpress() -> Iterator[Site]:
    """One site that a module's tests share; skips, saying so, where WordPress is not installed."""
    if not (_SITE / "wp-config.php").exists() or not _MARIADB or not shutil.which("php"):
        pytest.skip("WordPress is not installed here: run scripts/servers/wordpress")
    folder = Path(tempfile.mkdtemp(prefix="wordpress-"))
    try:
        with _running(folder) as site:
            yield site
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(folder: Path) -> Iterator[Site]:
    port, database = free_port(), folder / "database"
    url = f"http://127.0.0.1:{port}"
    surroundings = os.environ | {
        "WORDPRESS_CONFIG": str(_HERE / "config.php"), "WORDPRESS_DATABASE": str(database),
        "WORDPRESS_URL": url,
    }  # fmt: skip
    (folder / "data").mkdir()
    # It has no users of its own, and is reached in the folder alone.
    mariadb = [
        str(_MARIADB), "--no-defaults", f"--user={getpass.getuser()}", "--skip-grant-tables",
        "--skip-networking", f"--socket={database}", f"--datadir={folder / 'data'}",
        "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0",
    ]  # fmt: skip
    php = ["php", "-d", "opcache.enable_cli=1", "-S", f"127.0.0.1:{port}", "-t", str(_SITE)]
    with _server(mariadb, folder / "mariadb.log", "ready for connections", surroundings):
        made = subprocess.run(
            ["php", str(_HERE / "install.php"), str(_SITE)],
            env=surroundings, capture_output=True, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        with _server(php, folder / "php.log", "started", surroundings):
            yield Site(url, json.loads(made.stdout))


@contextmanager
def _server(
    command: list[str], log: Path, ready: str, surroundings: Mapping[str, str]
) -> Iterator[None]:
    """Runs a server from when its log says that it is ready; kills it at the end."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=surroundings, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while ready not in log.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()
