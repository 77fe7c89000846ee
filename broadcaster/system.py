"""One process: ledger and desk first, the streams when the broker answers.

What ends the streams (broker away, ledger away, a wedged step) leaves the desk standing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop

from broadcaster import bootstrap, control, posting
from broadcaster.beside import Beside
from broadcaster.clock import SystemClock
from broadcaster.commands import Here, take_anchor
from broadcaster.desk.deps import Flow
from broadcaster.errors import Kind as ErrorKind
from broadcaster.errors import LedgerAway, Refusal
from broadcaster.ledger import Tx, attempts, open_ledger, records
from broadcaster.parent import PATIENCE
from broadcaster.record import Kind
from broadcaster.settings import Settings
from streams.broker import Broker
from streams.run import STEPS, Flowing
from streams.woken import Woken

log = structlog.get_logger(__name__)

#: Seconds after which a thread that computes lets another go on. The ledger's threads let go at
#: each statement; with Python's own 5 ms they would wait as long to go on while a fan-out keeps
#: the event loop busy, dozens of times in one transaction.
TAKE_TURNS_EVERY = 0.0002

#: New objects after which the garbage collector looks, and how often it then looks further back.
#: With Python's own 700, 10 and 10 it stopped everything for some 17 ms in each release.
COLLECT_EVERY = 5_000, 20, 20

#: A process that ends with this code is to be started again (EX_TEMPFAIL of sysexits.h).
AGAIN = 75

#: Seconds after which a process looks for added channels, though no commit said so.
LOOK_FOR_CHANNELS_EVERY = 60.0

#: An anchor is taken this often while the record grows.
ANCHOR_EVERY = 60.0


@dataclass(frozen=True)
class Share:
    """What one process does of the whole."""

    desk: bool
    #: Steps of the flow; empty for a desk alone, and for the relay.
    steps: tuple[str, ...] = ()
    relays: bool = False


#: `broadcaster up`: everything in one process, which lives and ends with its parent.
ALL = Share(desk=True, steps=STEPS, relays=True)


def share_of(worker: str) -> Share:
    """What `broadcaster worker NAME` does."""
    return Share(desk=False, relays=True) if worker == "relay" else Share(False, (worker,))


def run(settings: Settings, broker: Broker | None, share: Share) -> None:
    """Runs `serve` in an event loop of its own.

    uvloop's: a fan-out is mostly the loop's own work, and takes a sixth less time on it.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        again = runner.run(serve(settings, broker, share))
    if again:
        sys.exit(AGAIN)


async def serve(settings: Settings, broker: Broker | None, share: Share) -> bool:
    """Runs until SIGTERM, SIGINT, or the end of standard input (the parent is gone).

    A desk alone needs no broker: a commit wakes it. Answers whether it is to be started again,
    since channels were added or removed.

    Raises Refusal where it cannot start.
    """
    bootstrap.check_live(settings, calls=share.desk or "notify" in share.steps)
    _pause_rarely()
    stop = _stopped(tied=share is ALL)
    ledger = open_ledger(settings.ledger_path, settings.world, url=settings.ledger_address)
    try:
        known = posting.Channels(settings, ledger, posts="deliver" in share.steps)
        await known.read()
        here = Here(settings, ledger, SystemClock(), broker=broker, channels=known)
        async with _listening(here, share):
            if ledger.alone:
                await ledger.write(_started)
            here.flow = _flowing(here, broker, share)
            async with _commands(here):
                return await _until(stop, here, share, here.flow)
    finally:
        await ledger.close()


def _pause_rarely() -> None:
    """Sets the interpreter so that no thread, and nobody who waits for us, stands still for long.

    What was loaded by now lives as long as the process: frozen, it is not looked through again.
    """
    sys.setswitchinterval(TAKE_TURNS_EVERY)
    gc.freeze()
    gc.set_threshold(*COLLECT_EVERY)


def _flowing(here: Here, broker: Broker | None, share: Share) -> Flowing | Beside:
    """The steps of this process; for a desk alone a view of those in the others."""
    if broker is None or not (share.steps or share.relays):
        return Beside(here.ledger, here.channels.names, here.clock)
    assert here.address is not None, "it listens"
    return bootstrap.flowing(
        here.settings, here.ledger, broker, here.address, steps=share.steps,
        relays=share.relays, known=here.channels,
    )  # fmt: skip


def _commands(here: Here) -> AbstractAsyncContextManager[None]:
    """The command line's socket, where this process alone has the ledger."""
    if here.ledger.alone:
        return control.listening(here, here.settings.socket_path)
    return contextlib.nullcontext()


def _started(tx: Tx) -> None:
    """Notes the start. The ledger's lock proves that nobody who was sending lives any more."""
    attempts.orphaned(tx)
    tx.record(Kind.STARTED, actor="broadcaster")


async def _until(
    stop: asyncio.Event, here: Here, share: Share, flow: Flowing | Beside
) -> bool:  # fmt: skip
    """Until we are asked to stop, or the streams cannot be ended cleanly, or other channels stand
    in the ledger: then it answers True."""
    streams = asyncio.create_task(flow.run())
    others = asyncio.create_task(_other_channels(here, flow))
    beside = {asyncio.create_task(_take_anchors(here))} if share.relays else set()
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({streams, others, asked}, return_when=asyncio.FIRST_COMPLETED)
    again = others.done() and not asked.done()
    for task in (streams, others, asked, *beside):
        task.cancel()
    await asyncio.wait({streams, others, *beside})
    for task in (streams, others):
        if not task.cancelled() and (problem := task.exception()):
            raise problem
    return again


async def _other_channels(here: Here, flow: Flowing | Beside) -> None:
    """Returns once channels were added or removed; meanwhile deliver gets new credentials."""
    changed = Woken(here.ledger, "accounts")
    to_exchange: set[str] = set()  # kept where the ledger goes away amid several
    try:
        while True:
            with contextlib.suppress(LedgerAway):
                names = await here.channels.look()
                if names is None:
                    log.info("ends, to be started again: channels were added or removed")
                    return
                to_exchange |= names
                while to_exchange and isinstance(flow, Flowing) and flow.deliver:
                    name = min(to_exchange)
                    await flow.deliver.exchange(name, here.channels.adapter(name))
                    to_exchange.discard(name)
            await changed.wait(LOOK_FOR_CHANNELS_EVERY)
    finally:
        changed.forget()


async def _take_anchors(here: Here) -> None:
    """Writes the record's head outside the ledger, now and again, and once more at the end."""
    last = 0
    try:
        while True:
            last = await _anchor(here, last)
            await asyncio.sleep(ANCHOR_EVERY)
    finally:
        await asyncio.shield(_anchor(here, last))


async def _anchor(here: Here, last: int) -> int:
    with contextlib.suppress(Refusal, OSError):
        head = await here.ledger.read(records.head)
        if head[0] > last:
            await asyncio.to_thread(take_anchor, here.settings, head)
        return head[0]
    return last


@contextlib.asynccontextmanager
async def _listening(here: Here, share: Share) -> AsyncIterator[None]:
    """The desk, or a worker's health, on its port for as long as the block lasts."""
    settings = here.settings
    listener = _listen(settings)
    port = listener.getsockname()[1]
    if share.desk:
        _port_file(settings).write_text(str(port))
    url = settings.public_url
    here.address = str(url).rstrip("/") if url else f"http://{_name(settings.host)}:{port}"
    app = _application(here, share)
    control.add_health(app, here, desk=share.desk)
    async with control.serving(app, listener):
        log.info("listens", address=here.address)
        yield


def _application(here: Here, share: Share) -> control.Application:
    """The desk; or for a worker what answers its health alone."""
    if not share.desk:
        return control.bare()
    from broadcaster.desk.app import make_app  # a worker starts a tenth sooner without its pages

    assert here.address is not None, "it listens"
    return make_app(bootstrap.desk(
        here.settings, here.ledger, here.address, lambda: _flow(here), here.channels
    ))  # fmt: skip


def _flow(here: Here) -> Flow:
    """How the streams are, for the pages."""
    away = here.flow.away if here.flow else None
    return Flow(running=False, since=away.since, why=away.why) if away else Flow(running=True)


def _listen(settings: Settings) -> socket.socket:
    """The desk's port: the one that is set; else the one of the last start; else a free one."""
    wanted = settings.port
    if not wanted:
        with contextlib.suppress(OSError, ValueError):
            return _bind(settings.host, int(_port_file(settings).read_text()))
    try:
        return _bind(settings.host, wanted)
    except OSError as error:
        raise Refusal(
            "port_taken",
            f"The desk cannot listen on {settings.host}:{wanted}: {error.strerror}.",
            "End the program that listens there, or set BROADCASTER_PORT to another port (0: a "
            "free one).",
            kind=ErrorKind.UNAVAILABLE,
        ) from None


def _bind(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), backlog=128)


def _port_file(settings: Settings) -> Path:
    return settings.folder / "desk.port"


def _name(host: str) -> str:
    """What a browser on this machine calls the address."""
    return "localhost" if host in ("127.0.0.1", "0.0.0.0", "::1", "::") else host


def _stopped(*, tied: bool) -> asyncio.Event:
    """Set on a signal to end, or, where `tied` to a parent, when standard input ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def heard() -> None:
        if not os.read(sys.stdin.fileno(), 64):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()
            loop.call_later(PATIENCE, os._exit, 1)  # our parent would see to it, but is gone

    if tied:
        with contextlib.suppress(OSError, ValueError):  # no standard input that can be waited for
            loop.add_reader(sys.stdin.fileno(), heard)
    return stop
