"""Receivers that answer late, as the public's do: `python -I receiver.py SECONDS`.

One process for all channels, each with a path of its own, and next to nothing to do: so that what
is measured is the sender. Prints its port; then, for each request that has arrived whole, its
path and the time (`time.monotonic`, one clock for all processes of a machine), and answers 204
that many seconds later.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Receiver(asyncio.Protocol):
    """One connection, which may carry several requests."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, rest = self._read.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if end and len(rest) >= (size := int(length[1]) if length else 0):
            self._read = rest[size:]
            print(head.split(b" ", 2)[1].decode(), time.monotonic(), flush=True)
            asyncio.get_running_loop().call_later(self._delay, self._answer)

    def _answer(self) -> None:
        self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def main(delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiver(delay), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
