"""`broadcaster doctor`: what an operator checks first, and what to mend."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from broadcaster import control
from broadcaster.errors import Refusal
from broadcaster.here import alone
from broadcaster.settings import Settings, make_home
from streams.embedded import find_binary
from streams.pins import check_private_names

#: Bytes below which the disk is called nearly full.
LITTLE_DISK = 500 * 2**20


@dataclass(frozen=True)
class Finding:
    """One thing looked at: fine, or what to mend."""

    what: str
    ok: bool
    told: str


async def examine(settings: Settings) -> list[Finding]:
    """Looks at the home folder, the disk, the libraries, the broker, the ledger and the streams."""
    return [
        _home(settings),
        _disk(settings),
        _libraries(),
        *([_broker()] if settings.kafka is None else []),
        *await _ledger(settings),
    ]


def _home(settings: Settings) -> Finding:
    try:
        make_home(settings)
    except Refusal as refusal:
        return Finding("home folder", False, refusal.in_words)
    return Finding("home folder", True, f"{settings.folder} can be written")


def _disk(settings: Settings) -> Finding:
    folder = settings.folder if settings.folder.is_dir() else settings.folder.anchor
    free = shutil.disk_usage(folder).free
    ok = free > LITTLE_DISK
    told = f"{free / 2**30:.1f} GB free" + ("" if ok else ": make room before it is full")
    return Finding("disk", ok, told)


def _libraries() -> Finding:
    try:
        check_private_names()
    except Refusal as refusal:
        return Finding("libraries", False, f"{refusal.why} {refusal.do}")
    return Finding("libraries", True, "the versions that this program was written for")


def _broker() -> Finding:
    try:
        return Finding("embedded broker", True, f"{find_binary().name} is installed")
    except Refusal as refusal:
        return Finding("embedded broker", False, f"{refusal.why} {refusal.do}")


async def _ledger(settings: Settings) -> list[Finding]:
    """The ledger and its record, through the running process where there is one."""
    running = control.is_listening(settings.socket_path)
    try:
        if running:
            status = await control.ask(settings.socket_path, "status", {})
            verdict = await control.ask(settings.socket_path, "verify", {})
        else:
            status = await alone(settings, "status", {})
            verdict = await alone(settings, "verify", {})
    except Refusal as refusal:
        return [Finding("ledger", False, f"{refusal.why} {refusal.do}")]
    return [
        Finding("ledger", True, f"{status['reports']} reports, {status['incidents']} incidents, "
                f"{status['posts']} posts"),
        Finding("record", verdict["ok"], verdict["fault"]
                or f"{verdict['entries']} entries, whole"),
        _streams(running, status["streams"]),
        Finding("problems", not status["problems"], f"{status['problems']} open"
                + ("; see `broadcaster problems list`" if status["problems"] else "")),
    ]  # fmt: skip


def _streams(running: bool, said: str) -> Finding:
    if not running:
        return Finding("streams", True, "not started; `broadcaster up` starts them")
    return Finding("streams", said == "run", "run" if said == "run" else f"stand still: {said}")
