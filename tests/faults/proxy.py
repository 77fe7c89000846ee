"""A proxy that makes a network's faults, between two ends that speak TCP on loopback.

Its toxics have the names and the meaning of Shopify's Toxiproxy. They are set, changed and taken
away while it runs, and act at once, also on what is open already:

    async with Proxy(to=port) as proxy:
        proxy.down = Toxics(latency=8)      # each answer comes 8 s late
        proxy.down = Toxics(timeout=NEVER)  # no answer comes, and no end of the connection
        await proxy.mend()

`up` is what the client says, `down` what the server says. Chance has a seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
from dataclasses import dataclass
from typing import Self

from tests.faults.receiver import reset

NEVER = math.inf

#: Bytes of one read, and how many such pieces a direction holds before it reads no further.
PIECE, HELD = 65_536, 64


@dataclass(frozen=True)
class Toxics:
    """What one direction suffers. Times are seconds; a connection is always ended on both sides."""

    timeout: float | None = None  #: nothing passes, and the connection is closed after so long
    reset_peer: int | None = None  #: RST once so many bytes have passed; 0: at once
    limit_data: int | None = None  #: closed (FIN) once so many bytes have passed; 0: at once
    latency: float = 0.0  #: so much later
    jitter: float = 0.0  #: and up to so much more or less, by chance
    bandwidth: float = 0.0  #: bytes per second; 0: as fast as it goes
    slicer: int = 0  #: in pieces of so many bytes; 0: as they come
    delay: float = 0.0  #: between two pieces
    slow_close: float = 0.0  #: its end is passed on so much later


class Proxy:
    """Listens on a port of 127.0.0.1 (0: a free one), and passes on to another."""

    def __init__(
        self, to: int, port: int = 0, *, down: Toxics | None = None, seed: int = 0
    ) -> None:
        self.to, self.port = to, port
        self.connections = 0  #: taken so far
        self.chance = random.Random(seed)
        self._toxics = {"up": Toxics(), "down": down or Toxics()}
        self._open: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self._hole: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    @property
    def up(self) -> Toxics:
        return self._toxics["up"]

    @up.setter
    def up(self, toxics: Toxics) -> None:
        self._set(up=toxics)

    @property
    def down(self) -> Toxics:
        return self._toxics["down"]

    @down.setter
    def down(self, toxics: Toxics) -> None:
        self._set(down=toxics)

    async def mend(self) -> None:
        """Takes the toxics away, and takes connections again."""
        self._set(up=Toxics(), down=Toxics())
        await self.accept()

    async def accept(self) -> None:
        if self._server is None:
            self._stop_listening()
            self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """As when a process has died: what is open is reset, and nobody can connect."""
        self._stop_listening()
        for task, connection in self._open.items():
            connection.reset()
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    def blackhole(self) -> None:
        """As when a cable is cut: what is open stays and is silent, and no connection is made."""
        self._stop_listening()
        self._hole = [socket.create_server(("127.0.0.1", self.port), backlog=0)]
        for _ in range(4):  # that nobody takes; once its queue is full the kernel drops a SYN
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._hole.append(waiting)
        self._set(up=Toxics(timeout=NEVER), down=Toxics(timeout=NEVER))

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        for each in self._hole:
            each.close()
        self._server, self._hole = None, []

    def _set(self, **toxics: Toxics) -> None:
        self._toxics |= toxics
        for connection in self._open.values():
            for side in toxics:
                connection.sides[side].look_again()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            return reset(writer)
        self._open[task] = _Connection(
            up=_Side("up", self, reader, there_writer),
            down=_Side("down", self, there_reader, writer),
        )
        try:
            await self._open[task].run()
        except asyncio.CancelledError:
            pass  # by `refuse`; asyncio's streams tell of one that comes out here as of an error
        finally:
            del self._open[task]


class _Connection:
    """Both directions; what ends one with an error ends both."""

    def __init__(self, **sides: _Side) -> None:
        self.sides = sides

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for side in self.sides.values():
                    group.create_task(side.read())
                    group.create_task(side.write())
        except* ConnectionAbortedError:
            pass
        except* ConnectionError:
            self.reset()
        finally:
            for side in self.sides.values():
                side.writer.close()

    def reset(self) -> None:
        for side in self.sides.values():
            reset(side.writer)


class _Side:
    """One direction: what is read is held with the time at which it came, until it is written."""

    def __init__(
        self, name: str, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._name, self._proxy, self._reader, self.writer = name, proxy, reader, writer
        self._held: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(HELD)
        self._changed = asyncio.Event()
        self._passed = 0

    @property
    def _toxics(self) -> Toxics:
        return self._proxy._toxics[self._name]

    def look_again(self) -> None:
        """The toxics have changed: whatever waits looks at them."""
        self._changed.set()
        with contextlib.suppress(asyncio.QueueFull):  # else it does not wait for the queue
            self._held.put_nowait(None)

    async def read(self) -> None:
        data = b"something"
        while data:
            data = await self._reader.read(PIECE)
            await self._held.put((_now(), data))

    async def write(self) -> None:
        """Raises ConnectionAbortedError where the connection is to be closed, or is reset."""
        while True:
            await self._ends()
            if (held := await self._held.get()) is None:
                continue
            came, data = held
            chance = self._proxy.chance.uniform(-1, 1)
            await self._pause(came + self._toxics.latency + chance * self._toxics.jitter - _now())
            if not data:
                await self._pause(self._toxics.slow_close)
                return self.writer.write_eof()
            while data:
                await self._ends()
                toxics, size = self._toxics, self._size(len(data))
                self.writer.write(data[:size])
                await self.writer.drain()
                self._passed, data = self._passed + size, data[size:]
                await self._pause(
                    toxics.delay + (size / toxics.bandwidth if toxics.bandwidth else 0)
                )

    async def _ends(self) -> None:
        """Raises where the connection ends here and now, or has been silent for so long."""
        toxics = self._toxics
        if toxics.timeout is not None:
            until = _now() + toxics.timeout
            while self._toxics == toxics and _now() < until:
                await self._pause(until - _now())
            # What should have passed meanwhile never did, so it cannot go on where it is let again.
            raise ConnectionAbortedError
        if toxics.limit_data is not None and self._passed >= toxics.limit_data:
            raise ConnectionAbortedError
        if toxics.reset_peer is not None and self._passed >= toxics.reset_peer:
            raise ConnectionResetError

    def _size(self, most: int) -> int:
        """How many bytes pass next."""
        toxics = self._toxics
        ends = [end for end in (toxics.limit_data, toxics.reset_peer) if end is not None]
        a_tenth = max(1, int(toxics.bandwidth / 10)) if toxics.bandwidth else most
        return min(toxics.slicer or most, a_tenth, most, *(end - self._passed for end in ends))

    async def _pause(self, seconds: float) -> None:
        """Waits so long, or until the toxics change."""
        if seconds > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == NEVER else seconds):
                    await self._changed.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
