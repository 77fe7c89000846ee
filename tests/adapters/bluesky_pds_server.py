"""The reference PDS, with a directory of identities of its own, on free loopback ports.

It starts once for a test module, which has one account in it, wiped after each test: a login costs
the server more than all else, and it takes 30 of an account in five minutes.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

_PACKAGES = Path(__file__).resolve().parents[2] / ".servers" / "bluesky_pds"
_RUNS = Path(__file__).with_name("bluesky_pds.cjs")

#: Seconds that a start may take on a busy machine; an idle one needs four.
_START = 120


@dataclass(frozen=True)
class Account:
    """Somebody with a repository on the server."""

    did: str
    handle: str
    password: str  #: an app password
    owners: str  #: that of its owner


@dataclass(frozen=True)
class Pds:
    """The server, asked by the test and not by the adapter."""

    url: str
    secret: str  #: that signs its sessions
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def account(self) -> Account:
        """A new account."""
        handle, owners = f"desk{next(self._numbers)}.test", secrets.token_urlsafe()
        wanted = {"handle": handle, "password": owners, "email": f"{handle}@example.com"}
        made = self.ask("com.atproto.server.createAccount", wanted)
        app = self.ask("com.atproto.server.createAppPassword", {"name": "desk"}, made["accessJwt"])
        return Account(made["did"], handle, app["password"], owners)

    def session(self, account: Account, password: str = "") -> str:
        """The token of a session; with another password than that of the app."""
        login = {"identifier": account.handle, "password": password or account.password}
        token: str = self.ask("com.atproto.server.createSession", login)["accessJwt"]
        return token

    def wipe(self, account: Account, token: str, *collections: str) -> None:
        """Deletes what there is in three collections; one commit takes 200 deletions."""
        while found := [
            (each, rkey) for each in collections for rkey in self.records(account, each)
        ]:
            writes = [
                {"$type": "com.atproto.repo.applyWrites#delete", "collection": each, "rkey": rkey}
                for each, rkey in found
            ]
            wiped = self.ask(
                "com.atproto.repo.applyWrites", {"repo": account.did, "writes": writes}, token
            )
            assert "error" not in wiped, wiped

    def records(self, account: Account, collection: str) -> dict[str, dict[str, Any]]:
        """The first 66 of a collection, as the public may read it: by key, oldest first."""
        wanted = {
            "repo": account.did, "collection": collection, "reverse": "true", "limit": "66",
        }  # fmt: skip
        listed = self.ask(f"com.atproto.repo.listRecords?{urlencode(wanted)}")["records"]
        return {each["uri"].rpartition("/")[2]: each["value"] for each in listed}

    def blob(self, account: Account, blob: dict[str, Any]) -> bytes:
        """What a record names, as the public may fetch it."""
        wanted = urlencode({"did": account.did, "cid": blob["ref"]["$link"]})
        with urlopen(f"{self.url}/xrpc/com.atproto.sync.getBlob?{wanted}", timeout=60) as answer:
            return bytes(answer.read())

    def ask(self, method: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
        """What the server answers; {"status": …, "error": …} where it refuses."""
        request = Request(
            f"{self.url}/xrpc/{method}", None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {token}"} if token else {}),
        )  # fmt: skip
        try:
            with urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"{}")
        except HTTPError as refused:
            with refused:
                return {"status": refused.code, **json.loads(refused.read())}


@contextmanager
def bluesky_pds() -> Iterator[Pds]:
    """Skips where it is not installed."""
    node = shutil.which("node")
    if node is None or not (_PACKAGES / "packages").exists():
        pytest.skip("the Bluesky PDS is not installed: run scripts/servers/bluesky_pds")
    with tempfile.TemporaryDirectory() as data, (Path(data) / "log").open("w+") as log:
        server = subprocess.Popen(
            [node, str(_RUNS), str(_PACKAGES), data], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=log, env={**os.environ, "LOG_ENABLED": "false"},
        )  # fmt: skip
        assert server.stdin is not None and server.stdout is not None
        try:
            ready, _, _ = select.select([server.stdout], [], [], _START)
            told = server.stdout.readline() if ready else b""
            assert told, f"the PDS did not start: {(Path(data) / 'log').read_text()[-2000:]}"
            yield Pds(**json.loads(told))
        finally:
            server.stdin.close()
            server.stdout.close()
            server.kill()
            server.wait()
