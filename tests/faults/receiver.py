"""A loopback server that plays a channel: it answers, or breaks, in each way that one can.

It imports nothing of the product: what Standard Webhooks asks of a receiver is written here anew.
In a test's own process each connection is treated in one of `ways` in turn, the last staying:

    async with Receiver() as there:
        there.ways = [answers(429, {"Retry-After": "7"}), takes]

or in a process of its own, which lives on when senders are killed:

    python tests/faults/receiver.py --log FILE [--secret whsec_…] [--port N] [--idempotency A]
                                    [--lag SECONDS] [--tls PEM] [--ways WAYS]

The first line of its output is `{"port": N, "control": M}`. WAYS are the names in `NAMED`, with
commas between; `PUT /ways` at the control port sets them anew, `PUT /hold` keeps every request
waiting, and `PUT /go-on` ends that.

*Acting* is what a channel does for the public. With a secret it acts only on what is signed well
and not older than 5 minutes; anything else is answered 401. Of a message that comes twice it makes
what the classes of DESIGN.md ("Errors an adapter may raise") say:

    A   acts once on one `webhook-id` or `Idempotency-Key`, also when started again with its log
    B   acts once on one id in the address (PUT …/ID), and again where its body is another
    C   acts each time; GET shows what it acted on, as JSON, from `lag` seconds afterwards
    D   acts each time

The log holds one JSON line per request (`"is": "request"`: at, id, verified, sha256, bytes) and
one per act (`"is": "acted"`: at, id, sha256, text), written before the answer. `count` reads it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import contextlib
import hashlib
import hmac
import json
import random
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

#: Seconds that a signature is good for.
TOLERANCE = 300


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def id(self) -> str:
        """What it is known by: its key, its place, or where it has neither, what it says."""
        key = self.headers.get("webhook-id") or self.headers.get("idempotency-key")
        return key or (self.path.rpartition("/")[2] if self.method == "PUT" else self.sha256)

    def verified(self, key: bytes) -> bool:
        """Whether it is signed with the key and was signed within the last 5 minutes."""
        try:
            stamp = self.headers["webhook-timestamp"]
            signed = f"{self.headers['webhook-id']}.{stamp}.".encode() + self.body
            wanted = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
            given = self.headers["webhook-signature"].split(" ")
            fresh = abs(time.time() - int(stamp)) <= TOLERANCE
        except (KeyError, ValueError):
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
    """What the channel holds, and the log of how it came to."""

    def __init__(self, log: Path | None = None, idempotency: str = "D", lag: float = 0) -> None:
        self._idempotency, self._lag = idempotency, lag
        lines: list[dict[str, Any]] = []
        if log is not None:
            log.touch()
            lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.acted = [line for line in lines if line["is"] == "acted"]
        self._log = log
        self._held = {line["id"]: line["sha256"] for line in self.acted}

    def request(self, request: Request, verified: bool) -> None:
        self._note("request", request, verified=verified, bytes=len(request.body))

    def act(self, request: Request) -> None:
        """Acts on a request, unless its class says that this was done already."""
        held = self._held.get(request.id)
        if self._idempotency == "A" and held:
            return
        if self._idempotency == "B" and held == request.sha256:
            return
        self._held[request.id] = request.sha256
        text = request.body.decode(errors="replace")
        self.acted.append(self._note("acted", request, text=text))

    def shown(self) -> list[dict[str, Any]] | None:
        """What can be seen by now of what it acted on; None: it cannot be looked at."""
        if self._idempotency != "C":
            return None
        return [line for line in self.acted if line["at"] <= time.time() - self._lag]

    def _note(self, what: str, request: Request, **more: object) -> dict[str, Any]:
        line = {"is": what, "at": time.time(), "id": request.id, "sha256": request.sha256, **more}
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return line


class Connection:
    """One connection that was accepted."""

    def __init__(
        self, there: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer
        self.came, self.ended = there.came, there.ended
        self.verified = True  #: what was read, as far as there is a secret
        self._there = there
        self._request: Request | None = None
        self._acted = False

    async def read(self) -> Request:
        """Reads its one request, whole; read again, it is the same."""
        if self._request is None:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            pairs = (line.split(":", 1) for line in head[1:] if line)
            headers = {name.lower(): value.strip() for name, value in pairs}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            self._request = Request(method, path, headers, body)
            self._there.heard.append(self._request)
            if method != "GET":  # a look is nothing that it could act on
                if self._there.key is not None:
                    self.verified = self._request.verified(self._there.key)
                self._there.book.request(self._request, self.verified)
            self.came.set()
        return self._request

    async def act(self) -> None:
        """Does for the public what its request asks."""
        request = await self.read()
        if self.verified and not self._acted:
            self._acted = True
            self._there.book.act(request)

    def shown(self) -> list[dict[str, Any]] | None:
        return self._there.book.shown()

    async def say(self, *lines: str, body: bytes = b"") -> None:
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    async def wait(self, seconds: float | None = None) -> None:
        """So long, or to the server's end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()

    def reset(self) -> None:
        reset(self.writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a crash does: with a RST, and nothing that was still to be said."""
    raw: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it is closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# --- Ways -------------------------------------------------------------------------------------

Way = Callable[[Connection], Awaitable[None]]


def answers(
    status: int,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"{}",
    *,
    acts: bool | None = None,
    only: int | None = None,
) -> Way:
    """Answers whole, and closes the connection afterwards without having said so.

    `acts`: whether it did what was asked; None: where it says so (2xx). `only`: the answer's
    body breaks off after so many bytes.
    """

    async def way(connection: Connection) -> None:
        await connection.read()
        if not connection.verified:
            return await connection.say("HTTP/1.1 401 X", "Content-Length: 0")
        if 200 <= status < 300 if acts is None else acts:
            await connection.act()
        said = b"" if status in (204, 304) else body
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(said)}"] if said else []
        await connection.say(f"HTTP/1.1 {status} X", *lines, body=said[:only])

    return way


async def takes(connection: Connection) -> None:
    """As a channel that is well: acts and answers 204; a GET is shown what is there (class C)."""
    if (await connection.read()).method != "GET":
        return await answers(204)(connection)
    shown = connection.shown()
    await answers(404 if shown is None else 200, body=json.dumps(shown).encode(), acts=False)(
        connection
    )


def by(rule: Callable[[Request], Way]) -> Way:
    """Each request in the way that the rule says."""

    async def way(connection: Connection) -> None:
        await rule(await connection.read())(connection)

    return way


def acting(way: Way, late: float = 0) -> Way:
    """Does what was asked, and then (so many seconds later) answers or breaks in this way."""

    async def acted(connection: Connection) -> None:
        await connection.act()
        if late:
            await connection.wait(late)
        await way(connection)

    return acted


def flaky(seed: int, before: float = 0.01, after: float = 0.005) -> Way:
    """Resets some connections, by chance: a share of them before it acted, and one after."""
    chance = random.Random(seed)

    async def way(connection: Connection) -> None:
        await connection.read()
        drawn = chance.random()
        await (resets if drawn < before else acting(resets) if drawn < before + after else takes)(
            connection
        )

    return way


async def never_answers(connection: Connection) -> None:
    await connection.read()
    await connection.wait()


async def never_reads(connection: Connection) -> None:
    await connection.wait()


async def resets_unread(connection: Connection) -> None:
    connection.reset()


async def resets(connection: Connection) -> None:
    await connection.read()
    connection.reset()


async def hangs_up(connection: Connection) -> None:
    await connection.read()


async def answers_without_end(connection: Connection) -> None:
    await connection.read()
    await connection.say("HTTP/1.1 200 OK", "Content-Length: 1000000000000")
    while True:
        connection.writer.write(b"x" * 65_536)
        await connection.writer.drain()


answers_half = answers(200, body=b'{"taken":' + b" " * 91, only=9)


async def answers_half_and_resets(connection: Connection) -> None:
    await answers_half(connection)
    connection.reset()


async def answers_half_and_waits(connection: Connection) -> None:
    await answers_half(connection)
    await connection.wait()


async def answers_half_a_head(connection: Connection) -> None:
    await connection.read()
    connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-")


async def talks_first(connection: Connection) -> None:
    await connection.say("220 mail.example ESMTP")


async def babbles(connection: Connection) -> None:
    await connection.read()
    await talks_first(connection)


async def drips(connection: Connection) -> None:
    """Answers a little at a time and never ends, so that no single pause is a long one."""
    await connection.read()
    connection.writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not connection.ended.is_set():
        connection.writer.write(b".")
        await connection.writer.drain()
        await connection.wait(0.05)


#: What a way is called where it is written, as `slow:8`; what follows the colon is its number.
NAMED: dict[str, Callable[[float], Way]] = {
    "ok": lambda _: takes,
    "slow": lambda seconds: acting(takes, late=seconds),
    "error": lambda _: answers(500, acts=True),
    "reset": lambda _: acting(resets),
    "reset-first": lambda _: resets,
    "hang": lambda _: acting(never_answers),
    "hang-first": lambda _: never_answers,
    "drip": lambda _: acting(drips),
    "cut": lambda size: answers(200, body=b'{"taken": true}', only=int(size)),
    "later": lambda seconds: answers(503, {"Retry-After": f"{seconds:.0f}"}),
    "too-many": lambda seconds: answers(429, {"Retry-After": f"{seconds:.0f}"}),
    "refuse": lambda status: answers(int(status), acts=False),
    "flaky": lambda seed: flaky(int(seed)),
}


def named(ways: str) -> list[Way]:
    """The ways that are written so, as `later:7,ok`."""
    parts = (way.partition(":") for way in ways.split(","))
    return [NAMED[name](float(number or 0)) for name, _, number in parts]


# --- The server -------------------------------------------------------------------------------


class Receiver:
    """Listens on a loopback port (0: a free one). `ways` treat its connections in turn."""

    def __init__(
        self, book: Book | None = None, *, key: bytes | None = None, port: int = 0,
        tls: ssl.SSLContext | None = None, ways: Sequence[Way] = (takes,),
    ) -> None:  # fmt: skip
        self.book, self.key, self.tls = book or Book(), key, tls
        self.heard: list[Request] = []
        self.connections = 0
        self.came, self.ended = asyncio.Event(), asyncio.Event()
        self.port = port
        self.ways = ways
        self._gone_on = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    @property
    def ways(self) -> Sequence[Way]:
        """The ways still to come; the last stays."""
        return self._ways

    @ways.setter
    def ways(self, ways: Sequence[Way]) -> None:
        self._ways = list(ways)

    def hold(self) -> None:
        """Every request waits from now on, as at a server that stands still."""
        self._gone_on.clear()

    def go_on(self) -> None:
        self._gone_on.set()

    async def __aenter__(self) -> Self:
        self.go_on()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ended.set()
        self._server.close()
        if self._open:
            _, left = await asyncio.wait(self._open, timeout=0.2)
            for each in left:  # as a handshake whose other side has gone: asyncio does not say so
                each.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._treat(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _treat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = self._ways.pop(0) if len(self._ways) > 1 else self._ways[0]
        self.connections += 1
        broken = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)
        try:
            with contextlib.suppress(*broken):
                if self.tls is not None:
                    await writer.start_tls(self.tls)
                await self._gone_on.wait()
                await way(Connection(self, reader, writer))
        finally:
            writer.close()
        with contextlib.suppress(*broken):
            await writer.wait_closed()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True, type=Path)
    parser.add_argument("--secret")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idempotency", choices="ABCD", default="D")
    parser.add_argument("--lag", type=float, default=0)
    parser.add_argument("--tls", type=Path)
    parser.add_argument("--ways", type=named, default="ok")
    given = parser.parse_args()
    key = base64.b64decode(given.secret.removeprefix("whsec_") + "==") if given.secret else None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if given.tls else None
    if tls is not None:
        tls.load_cert_chain(given.tls)
    book = Book(given.log, given.idempotency, given.lag)
    there = Receiver(book, key=key, port=given.port, tls=tls, ways=given.ways)

    async def control(connection: Connection) -> None:
        request = await connection.read()
        match request.path:
            case "/ways":
                there.ways = named(request.body.decode())
            case "/hold":
                there.hold()
            case "/go-on":
                there.go_on()
        await connection.say("HTTP/1.1 204 X")

    async with there, Receiver(ways=[control]) as controlled:
        print(json.dumps({"port": there.port, "control": controlled.port}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
