"""A loopback receiver of signed webhooks: the judge of what was sent, and what acted on twice.

It imports nothing of the product: what Standard Webhooks asks of a receiver is written here anew.

    python tests/faults/receiver.py --secret whsec_… --log FILE [--port N] [--dedupe] [--ways WAYS]

The first line of its output is `{"port": N}`. WAYS are comma-separated, one for each request in
turn, the last for all that follow; `PUT /ways` with WAYS as its body sets them anew:

    ok            acts and answers 204
    slow:SECONDS  acts, and answers after so long
    error         acts, then answers 500
    reset         acts, then resets the connection
    reset-first   resets the connection without having acted
    later:SECONDS does not act, and answers 503 with Retry-After
    refuse:STATUS does not act, and answers with that status

It acts only on what is signed well and not older than 5 minutes; anything else is answered 401.
With --dedupe it acts once on one `webhook-id`, also after it was started again with the same log.

The log holds one JSON line per request (`"is": "request"`: at, id, verified, sha256, bytes, way)
and one per act (`"is": "acted"`: at, id, sha256), flushed before the answer. `count` reads it.
"""

from __future__ import annotations

import argparse
import base64
import collections
import hashlib
import hmac
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOLERANCE = 300


def verified(key: bytes, headers: Any, body: bytes) -> bool:
    """Whether the message is signed with the key and was signed within the last 5 minutes."""
    try:
        message_id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        signed = f"{message_id}.{stamp}.".encode() + body
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        given = headers["webhook-signature"].split(" ")
        fresh = abs(time.time() - int(stamp)) <= TOLERANCE
    except (AttributeError, TypeError, ValueError):
        return False
    return fresh and any(hmac.compare_digest(f"v1,{wanted}", one) for one in given)


def count(log: Path) -> dict[str, int]:
    """What a log says: requests, those not verified, acts, and acts on an id beyond its first."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    acts = collections.Counter(line["id"] for line in lines if line["is"] == "acted")
    requests = [line for line in lines if line["is"] == "request"]
    return {
        "requests": len(requests),
        "unverified": sum(not line["verified"] for line in requests),
        "acted": acts.total(),
        "duplicates": acts.total() - len(acts),
    }


class Book:
    """The log, the ids acted on, and the ways still to come. Shared by the connections' threads."""

    def __init__(self, log: Path, ways: str, dedupe: bool) -> None:
        self._lock = threading.Lock()
        self._dedupe = dedupe
        self._acted: set[str] = set()
        if log.exists():
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            self._acted = {line["id"] for line in lines if line["is"] == "acted"}
        self._file = log.open("a")
        self.set_ways(ways)

    def set_ways(self, ways: str) -> None:
        self._ways = collections.deque(ways.split(","))

    def next_way(self) -> tuple[str, float]:
        with self._lock:
            way = self._ways.popleft() if len(self._ways) > 1 else self._ways[0]
        name, _, number = way.partition(":")
        return name, float(number or 0)

    def note(self, **line: object) -> None:
        with self._lock:
            self._write(line)

    def act(self, message_id: str, sha256: str) -> None:
        """Acts on a message, unless it did so before and dedupes."""
        with self._lock:
            if self._dedupe and message_id in self._acted:
                return
            self._acted.add(message_id)
            self._write({"is": "acted", "id": message_id, "sha256": sha256})

    def _write(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps({"at": time.time(), **line}) + "\n")
        self._file.flush()


def handler(book: Book, key: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            book.set_ways(self._body().decode())
            self._answer(204)

        def do_POST(self) -> None:
            body, (way, number) = self._body(), book.next_way()
            message_id = self.headers["webhook-id"] or ""
            sha256, good = hashlib.sha256(body).hexdigest(), verified(key, self.headers, body)
            book.note(**{"is": "request", "id": message_id, "verified": good, "sha256": sha256,
                         "bytes": len(body), "way": way})  # fmt: skip
            if way == "reset-first":
                return self._reset()
            if way == "later":
                return self._answer(503, {"Retry-After": f"{number:.0f}"})
            if way == "refuse" or not good:
                return self._answer(int(number) if good else 401)
            book.act(message_id, sha256)
            if way == "reset":
                return self._reset()
            if way == "slow":
                time.sleep(number)
            return self._answer(500 if way == "error" else 204)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers["Content-Length"] or 0))

        def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if status >= 300:
                self.send_header("Content-Length", "0")
            self.end_headers()

        def _reset(self) -> None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            """The log is in `book`."""

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A sender that was killed is what this is for."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--secret", required=True)
    parser.add_argument("--log", required=True, type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dedupe", action="store_true")
    parser.add_argument("--ways", default="ok")
    given = parser.parse_args()
    key = base64.b64decode(given.secret.removeprefix("whsec_") + "==")
    book = Book(given.log, given.ways, given.dedupe)
    server = Server(("127.0.0.1", given.port), handler(book, key))
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
