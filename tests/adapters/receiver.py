"""A loopback server that answers, or breaks, in each way that a channel's server can."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Connection:
    """One connection that was accepted."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[Request]
    came: asyncio.Event
    ended: asyncio.Event

    async def read(self) -> None:
        """Reads one request, whole."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        self.heard.append(Request(head[0].split(" ")[1], headers, body))
        self.came.set()

    async def say(self, *lines: str, body: bytes = b"") -> None:
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    def reset(self) -> None:
        """Ends the connection as a crash does."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Way = Callable[[Connection], Awaitable[None]]


def answers(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"{}") -> Way:
    """Answers whole, and closes the connection afterwards without having said so."""

    async def way(connection: Connection) -> None:
        await connection.read()
        said = b"" if status in (204, 304) else body
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(said)}"] if said else []
        await connection.say(f"HTTP/1.1 {status} X", *lines, body=said)

    return way


def speaks_tls(certificate: Path) -> Way:
    """Shows a certificate and its key, and reads what it is then told."""

    async def way(connection: Connection) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        await connection.writer.start_tls(tls)
        await connection.read()

    return way


async def never_answers(connection: Connection) -> None:
    await connection.read()
    await connection.ended.wait()


async def never_reads(connection: Connection) -> None:
    await connection.ended.wait()


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


async def answers_half(connection: Connection) -> None:
    await connection.read()
    await connection.say("HTTP/1.1 200 OK", "Content-Length: 100", body=b'{"taken":')


async def answers_half_and_resets(connection: Connection) -> None:
    await answers_half(connection)
    connection.reset()


async def answers_half_and_waits(connection: Connection) -> None:
    await answers_half(connection)
    await connection.ended.wait()


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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.ended.wait()


class Receiver:
    """Listens on a free loopback port. `ways`: how each connection is treated; the last stays."""

    def __init__(self) -> None:
        self.heard: list[Request] = []
        self.connections = 0
        self.came = asyncio.Event()
        self.ways: list[Way] = [answers(204)]
        self._ended = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        self._server.close()
        if self._open:
            await asyncio.wait(self._open, timeout=5)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._treat(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _treat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = self.ways[min(self.connections, len(self.ways) - 1)]
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await way(Connection(reader, writer, self.heard, self.came, self._ended))
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
