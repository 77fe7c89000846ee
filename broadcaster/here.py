"""How a command finds the ledger: alone in its own process, or by starting everything for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from broadcaster import bootstrap, commands, control, posting
from broadcaster.beside import Beside
from broadcaster.clock import SystemClock
from broadcaster.commands import Here
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import open_ledger, records
from broadcaster.settings import Settings, make_home

#: Seconds that everything gets to start: broker, ledger, desk, socket.
STARTS_WITHIN = 30.0


async def alone(
    settings: Settings, name: str, arguments: dict[str, Any], say: commands.Say = commands.unheard
) -> dict[str, Any]:
    """Runs one command with the ledger open here: all of it, or beside those who share it.

    Raises Refusal.
    """
    bootstrap.check_live(settings)
    make_home(settings)
    ledger = open_ledger(settings.ledger_path, settings.world, url=settings.ledger_address)
    try:
        known = posting.Channels(settings, ledger)
        await known.read()
        here = Here(settings, ledger, SystemClock(), known, address=_address(settings))
        if not ledger.alone:
            return await _beside(here, name, arguments, say)
        before = await ledger.read(records.head)
        result = await commands.run(name, arguments, here, say)
        if (after := await ledger.read(records.head)) != before:
            commands.take_anchor(settings, after)
        return result
    finally:
        await ledger.close()


async def _beside(
    here: Here, name: str, arguments: dict[str, Any], say: commands.Say
) -> dict[str, Any]:
    """Runs a command while other processes run the steps."""
    here.flow = beside = Beside(here.ledger, here.channels.names, here.clock)
    here.broker = bootstrap.outside_broker(here.settings)
    await beside.look()
    return await commands.run(name, arguments, here, say)


@contextlib.asynccontextmanager
async def running(
    settings: Settings, environment: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """Starts `broadcaster up` for this home folder, and ends it after the block. Raises Refusal.

    It also ends when this process does. Its log goes to `up.log` in the home folder. Gives the
    process id.
    """
    bootstrap.check_live(settings, calls=True)
    make_home(settings)
    with (settings.folder / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "broadcaster.cli", "up", "--tied"),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
            process_group=0,
        )
    try:
        await _listening(settings, process)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _listening(settings: Settings, process: asyncio.subprocess.Process) -> None:
    """Returns once the started process takes commands and its streams run."""
    try:
        async with asyncio.timeout(STARTS_WITHIN):
            while not await _streams_run(settings):
                if process.returncode is not None:
                    raise _not_started(settings, "it ended")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise _not_started(settings, f"it was not ready within {STARTS_WITHIN:.0f} s") from None


async def _streams_run(settings: Settings) -> bool:
    if not control.is_listening(settings.socket_path):
        return False
    with contextlib.suppress(Refusal):
        status = await control.ask(settings.socket_path, "status", {})
        return bool(status["streams"] == "run")
    return False


def _not_started(settings: Settings, how: str) -> Refusal:
    log = settings.folder / "up.log"
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    return Refusal(
        "not_started", f"`broadcaster up` did not start: {how}. {' '.join(last)}",
        f"Read {log}; `broadcaster doctor` says more.", kind=Kind.UNAVAILABLE,
    )  # fmt: skip


def _address(settings: Settings) -> str | None:
    """Where the desk was at its last start, so that a link made without it is of use."""
    if settings.public_url:
        return str(settings.public_url).rstrip("/")
    with contextlib.suppress(OSError):
        return f"http://localhost:{(settings.folder / 'desk.port').read_text().strip()}"
    return None
