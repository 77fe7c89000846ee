"""Synapse, the reference homeserver of Matrix, on a free loopback port and in a folder of its own.

It starts once for a test module. Of whoever is not let off that, it takes five messages and then
one in 100 s.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from streams.embedded import free_port

_PYTHON = Path(__file__).resolve().parents[2] / ".servers" / "synapse" / "bin" / "python"

#: Seconds that a start may take on a busy machine; an idle one needs four.
_START = 60

_SECRET, _PASSWORD = secrets.token_hex(), secrets.token_hex()

#: A room as the channel wants it: whoever joins may read, and nothing else.
CLOSED = {"events_default": 50}


@dataclass(frozen=True)
class User:
    """An account, signed in on a device."""

    id: str
    token: str
    device: str


@dataclass
class Synapse:
    """A homeserver; its port and folder stay the same from start to start."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns once it takes requests, which it says as systemd wants it (sd_notify)."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
            (self.folder / "log").open("ab") as log,
        ):
            told.bind(str(ready))
            told.settimeout(_START)
            self.process = subprocess.Popen(
                [_PYTHON, "-m", "synapse.app.homeserver", "-c", self.folder / "homeserver.yaml"],
                cwd=self.folder, env=os.environ | {"NOTIFY_SOCKET": str(ready)},
                stdout=log, stderr=log,
            )  # fmt: skip
            try:
                told.recv(4096)
            except TimeoutError:
                pytest.fail(f"Synapse did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """At once, as if its power failed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, path: str, user: User | None = None, body: Any = None) -> Any:
        """What it answers to a request that it grants; else raises HTTPError."""
        request = Request(
            f"{self.url}{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {user.token}"} if user else {},
        )  # fmt: skip
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def fetch(self, uri: str, user: User) -> bytes:
        """The file at an mxc address."""
        path = f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}"
        request = Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {user.token}"})
        with urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def status(self, method: str, path: str, user: User, body: Any = None) -> int:
        """How it answers a request."""
        try:
            self.ask(method, path, user, body)
        except HTTPError as refused:
            with refused:
                return refused.code
        return 200

    def register(self, name: str, admin: bool = False) -> User:
        """A new account (Synapse's admin API, "Shared-Secret Registration")."""
        nonce = self.ask("GET", "/_synapse/admin/v1/register")["nonce"]
        parts = [nonce, name, _PASSWORD, "admin" if admin else "notadmin"]
        made = self.ask("POST", "/_synapse/admin/v1/register", body={
            "nonce": nonce, "username": name, "password": _PASSWORD, "admin": admin,
            "mac": hmac.digest(_SECRET.encode(), "\0".join(parts).encode(), hashlib.sha1).hex(),
        })  # fmt: skip
        return User(made["user_id"], made["access_token"], made["device_id"])

    def sign_in(self, user: User, device: str | None = None) -> User:
        """Another token of an account; None: on a new device."""
        body = {
            "type": "m.login.password", "password": _PASSWORD,
            "identifier": {"type": "m.id.user", "user": user.id},
        }  # fmt: skip
        body |= {"device_id": device} if device else {}
        made = self.ask("POST", "/_matrix/client/v3/login", body=body)
        return User(made["user_id"], made["access_token"], made["device_id"])

    def let_off(self, user: User, admin: User) -> None:
        """No limit on how many messages a minute (Synapse's admin API)."""
        path = f"/_synapse/admin/v1/users/{quote(user.id)}/override_ratelimit"
        self.ask("POST", path, admin, {"messages_per_second": 0, "burst_count": 0})

    def room(self, user: User, levels: dict[str, Any] = CLOSED, **more: Any) -> str:
        """A new room of a user, that everybody may join; its id."""
        body = {"preset": "public_chat", "power_level_content_override": levels, **more}
        made = self.ask("POST", "/_matrix/client/v3/createRoom", user, body)
        return str(made["room_id"])


@contextmanager
def running() -> Iterator[Synapse]:
    """A homeserver with nobody in it. Skips the test where it is not installed."""
    if not _PYTHON.exists():
        pytest.skip("Synapse is not here: run scripts/servers/synapse")
    with tempfile.TemporaryDirectory(prefix="synapse-") as name:
        there = Synapse(free_port(), Path(name))
        (there.folder / "homeserver.yaml").write_text(json.dumps(_settings(there)))
        key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        (there.folder / "key").write_text(f"ed25519 a_key {key}\n")
        try:
            there.start()
            yield there
        finally:
            there.stop()


def _settings(there: Synapse) -> dict[str, Any]:
    unlimited = {"per_second": 1000, "burst_count": 1000}
    return {
        "server_name": "localhost",
        "report_stats": False,
        "pid_file": str(there.folder / "pid"),
        "signing_key_path": str(there.folder / "key"),
        "media_store_path": str(there.folder / "media"),
        "macaroon_secret_key": _SECRET,
        "form_secret": _SECRET,
        "registration_shared_secret": _SECRET,
        "trusted_key_servers": [],
        "bcrypt_rounds": 4,
        "database": {"name": "sqlite3", "args": {"database": str(there.folder / "database")}},
        "listeners": [{
            "port": there.port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": False,
            "resources": [{"names": ["client"]}],
        }],
        "rc_message": {"per_second": 0.01, "burst_count": 5},
        "rc_room_creation": unlimited,
        "rc_login": {"address": unlimited, "account": unlimited},
        "rc_joins": {"local": unlimited},
    }  # fmt: skip
