"""Receivers that answer late, as the public's do, or break: `python -I receiver.py SECONDS`.

One process for all channels, each with a path of its own, and next to nothing to do: so that what
is measured is the sender. Prints its port; then a line for each request that has arrived whole:

    PATH TIME NUMBER ID WHAT

TIME is `time.monotonic`, one clock for all processes of a machine; NUMBER what follows the word
*bulletin* in the body, ID the `webhook-id` (`-` where there is none); WHAT is `acted`, or where it
did not act `refused`, or `early` before the time that it had told to come back at. A receiver that
is well acts and answers 204 after SECONDS. On its input stands, a line each, what is otherwise:

    PATH ok          is well (again)
    PATH slow N      acts, and answers after N seconds
    PATH hang        acts, and never answers
    PATH drip        acts, and answers a byte each 0.2 s, without end
    PATH 429 N       does not act until N seconds after its first refusal, which tells so
    PATH 503 N       the same
    PATH reset       acts, and of each bulletin resets the first connection; then is well
    PATH half        acts, and gives the first request of each bulletin half a body; then is well
    * away, * back   nobody listens at the port, and what was open ends; somebody listens again
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ID = re.compile(rb"\r\nwebhook-id: *(\S+)", re.IGNORECASE)
NUMBER = re.compile(rb"bulletin (\d+)", re.IGNORECASE)

RESET = struct.pack("ii", 1, 0)


@dataclass
class Way:
    """How one path is treated, and what it has seen since."""

    name: str = "ok"
    seconds: float = 0.0
    until: float | None = None
    seen: set[bytes] = field(default_factory=set)


class Receiver(asyncio.Protocol):
    """One connection, which may carry several requests."""

    def __init__(self, delay: float, ways: dict[str, Way], open_: set[Receiver]) -> None:
        self._delay = delay
        self._ways = ways
        self._open = open_
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(self)

    def connection_lost(self, problem: Exception | None) -> None:
        self._open.discard(self)

    def end(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, rest = self._read.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if end and len(rest) >= (size := int(length[1]) if length else 0):
            self._read = rest[size:]
            self._take(head, rest[:size])

    def _take(self, head: bytes, body: bytes) -> None:
        path, now = head.split(b" ", 2)[1].decode(), time.monotonic()
        number, message_id = NUMBER.search(body), ID.search(head)
        told = number[1] if number else b"-"
        way = self._ways.setdefault(path, Way())
        what = "acted"
        if way.name in ("429", "503"):
            if way.until is None:
                way.until, what = now + way.seconds, "refused"
            elif now < way.until:
                what = "early"
        first = told not in way.seen
        way.seen.add(told)
        print(path, now, told.decode(), message_id[1].decode() if message_id else "-", what,
              flush=True)  # fmt: skip
        if what != "acted":
            left = max(1, round((way.until or now) - now + 0.5))  # whole seconds, never too few
            self._say(f"HTTP/1.1 {way.name} X\r\nRetry-After: {left}\r\nContent-Length: 0\r\n\r\n")
        elif way.name == "drip":
            self._say("HTTP/1.1 200 OK\r\nX-Drip: ")
            self._drip()
        elif way.name == "reset" and first:
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        elif way.name == "half" and first:
            self._say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            self._transport.close()
        elif way.name != "hang":
            late = way.seconds if way.name == "slow" else self._delay
            asyncio.get_running_loop().call_later(
                late, self._say, "HTTP/1.1 204 No Content\r\n\r\n"
            )

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._say(".")
            asyncio.get_running_loop().call_later(0.2, self._drip)

    def _say(self, text: str) -> None:
        self._transport.write(text.encode())


async def main(delay: float) -> None:
    loop = asyncio.get_running_loop()
    ways: dict[str, Way] = {}
    open_: set[Receiver] = set()

    async def listen(port: int) -> asyncio.Server:
        return await loop.create_server(
            lambda: Receiver(delay, ways, open_), "127.0.0.1", port, backlog=256
        )

    server = await listen(0)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := (await orders.readline()).decode().split():
        match line:
            case ["*", "away"]:
                server.close()
                for each in list(open_):  # else whoever keeps a connection notices nothing
                    each.end()
            case ["*", "back"]:
                server = await listen(port)
            case [path, name, *number]:
                ways[path] = Way(name, float(number[0]) if number else 0.0)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
