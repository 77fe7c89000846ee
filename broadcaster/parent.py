"""The parent of `broadcaster up`: keeps the embedded broker and one child alive, and ends both.

Where BROADCASTER_KAFKA names brokers, there is no embedded one and the child alone is kept.
Standard library alone, so that it stays small. The child holds the ledger, the desk and the
streams; it ends by itself when its parent is gone (its standard input then ends).
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from broadcaster.errors import Refusal
from streams.embedded import Broker, free_port

#: Seconds that the child gets to end in order before it is killed.
PATIENCE = 4.5
LOOK_EVERY = 5.0
LONGEST_PAUSE = 10.0

#: A child that ends with this code asked for something that will not change by starting it again.
REFUSED = 78  # EX_CONFIG of sysexits.h


@dataclass
class Parent:
    """Broker and child of one home folder."""

    home: Path
    broker: Broker | None  #: None: the child's settings name brokers elsewhere
    broker_restart_bytes: int
    command: tuple[str, ...]
    tied: bool = False  #: ends when standard input does: with the program that started it

    async def run(self) -> int:
        """Until a signal, or until the child refuses to start. Returns the exit code."""
        self._stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        if self.tied:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._hear)
        if self.broker is None:
            return await self._keep_child()
        self.broker.start()
        watch = asyncio.create_task(self._keep_broker(self.broker))
        try:
            return await self._keep_child()
        finally:
            watch.cancel()
            await self.broker.stop()

    def _hear(self) -> None:
        if not os.read(sys.stdin.fileno(), 64):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._stop.set()

    async def _keep_child(self) -> int:
        failures = 0
        while not self._stop.is_set():
            began = monotonic()
            code = await self._one_child()
            if code == REFUSED or (code == 0 and not self._stop.is_set()):
                return 1 if code == REFUSED else 0
            failures = 0 if monotonic() - began > 30 else failures + 1
            await self._pause(failures)
        return 0

    async def _one_child(self) -> int:
        """One life of the child, from start to end; ends it in order when we are asked to end."""
        child = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us; the child ends when we say so
            env={**os.environ, **self._told()},
        )
        ended = asyncio.create_task(child.wait())
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not ended.done():
            child.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await asyncio.shield(ended)
        if not ended.done():
            child.kill()
        return await ended

    def _told(self) -> dict[str, str]:
        """What the child's settings do not say: where the embedded broker is."""
        return {"BROADCASTER_BROKER": self.broker.bootstrap} if self.broker else {}

    async def _pause(self, failures: int) -> None:
        if failures:
            longest = min(LONGEST_PAUSE, 0.25 * 2**failures)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(longest / 2, longest)):
                    await self._stop.wait()

    async def _keep_broker(self, broker: Broker) -> None:
        """Starts an ended broker again, and an idle one that grew past its limit anew."""
        failures = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await broker.wait()
            if broker.running:
                failures = 0
                if broker.rss_bytes() > self.broker_restart_bytes and await self._idle():
                    await broker.stop()
                else:
                    continue
            await self._pause(failures)
            failures += 1
            with contextlib.suppress(Exception):  # the port may still be held for a moment
                broker.start()

    async def _idle(self) -> bool:
        """Whether the child says that nothing waits and no incident is open."""
        return await asyncio.to_thread(ask_idle, self.home / "control.sock")


def ask_idle(path: Path) -> bool:
    """Asks the process behind a control socket whether it is idle; a silent one is not."""

    class _Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(3)
            self.sock.connect(str(path))

    try:
        connection = _Connection("control")
        connection.request("GET", "/idle")
        with contextlib.closing(connection):
            return json.loads(connection.getresponse().read()).get("idle") is True
    except (OSError, ValueError, http.client.HTTPException):
        return False


def parent_command(
    home: Path, port: int, restart_mb: int, *, embedded: bool, tied: bool
) -> list[str]:
    """How `broadcaster up`, once it has read its settings, becomes the parent."""
    this = [sys.executable, "-m", "broadcaster.parent", str(home), str(port), str(restart_mb)]
    return [*this, "embedded" if embedded else "outside", "tied" if tied else "free"]


def _embedded(home: Path, port: int) -> Broker:
    log = home / "broker.log"
    log.write_bytes(b"")
    return Broker(port or free_port(), log)


def main() -> int:
    """The parent's own process, begun by `parent_command`."""
    home, port, restart_mb, broker, tied = sys.argv[1:]
    parent = Parent(
        Path(home),
        broker=_embedded(Path(home), int(port)) if broker == "embedded" else None,
        broker_restart_bytes=int(restart_mb) << 20,
        command=(sys.executable, "-m", "broadcaster.cli", "up", "--child"),
        tied=tied == "tied",
    )
    try:
        return asyncio.run(parent.run())
    except Refusal as refusal:
        print(refusal.in_words, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
