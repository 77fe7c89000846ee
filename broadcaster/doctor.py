"""`broadcaster doctor`: what an operator checks first, and what to mend."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from broadcaster import bootstrap, control
from broadcaster.desk.signature import CapSigner
from broadcaster.errors import Refusal
from broadcaster.here import alone
from broadcaster.ledger import Ledger, open_ledger, rights
from broadcaster.ledger.rights import Rights
from broadcaster.settings import Settings, make_home
from streams.embedded import find_binary
from streams.pins import check_private_names

#: Bytes below which the disk is called nearly full.
LITTLE_DISK = 500 * 2**20

#: Seconds that a cluster gets to tell of its topics.
BROKER_PATIENCE = 5.0

#: How far this machine's clock may be from the ledger's. A webhook's receiver, a passkey and a
#: signed report's sender are told this machine's time; what is decided is judged by the ledger's.
CLOCKS_APART = timedelta(seconds=2)

#: How long before its end a certificate should be replaced: an authority may take weeks.
CERTIFICATE_ENDS_SOON = timedelta(days=30)

CAP_SIGNATURE = "signature of CAP messages"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: fine, or what to mend."""

    what: str
    ok: bool
    told: str


async def examine(settings: Settings) -> list[Finding]:
    """Looks at home folder, disk, libraries, CAP's certificate, broker, ledger and streams.

    On PostgreSQL also at our role and at the two clocks.
    """
    return [
        _home(settings),
        _disk(settings),
        _libraries(),
        _voice(settings),
        _fallback(settings),
        _equipment(settings),
        _apps(settings),
        _cap(settings),
        *await _broker(settings),
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


def _fallback(settings: Settings) -> Finding:
    """The gate's own; the desk knows nothing of it."""
    told = "on" if settings.codes_key else "off here; the gate and `roster fallback` need its key"
    return Finding("PIN and code instead of a passkey", True, told)


def _voice(settings: Settings) -> Finding:
    """Said aloud here, because a desk and a gate that differ release nothing by voice."""
    told = "on; the gate must have the same setting" if settings.voice_approval else "off"
    return Finding("approval by voice", True, told)


def _equipment(settings: Settings) -> Finding:
    """The same: of a gate that alone has it, people hear only after they have decided."""
    told = "on; the gate must have the same setting" if settings.device_bound else "off"
    return Finding("device-bound passkeys", True, told)


def _apps(settings: Settings) -> Finding:
    """The same: of an app that the gate does not know, every decision is refused there."""
    told = f"{len(settings.apps)}; the gate must have the same setting" if settings.apps else "none"
    return Finding("own apps", True, told)


def _cap(settings: Settings) -> Finding:
    """The desk's own, as `_fallback` is the gate's."""
    try:
        signer = CapSigner.of(settings)
    except Refusal as refusal:
        return Finding(CAP_SIGNATURE, False, refusal.in_words)
    if signer is None:
        return Finding(CAP_SIGNATURE, True, "off here: a desk whose BROADCASTER_CAP_KEY and "
                       "BROADCASTER_CAP_CERTIFICATE are unset leaves them unsigned")  # fmt: skip
    return certificate(*signer.valid, datetime.now(UTC))


async def _broker(settings: Settings) -> list[Finding]:
    """The broker of the settings with its topics; the embedded one where they name none."""
    try:
        broker = bootstrap.outside_broker(settings)
        if broker is not None:
            wrong = await bootstrap.wrong_topics(settings, broker, BROKER_PATIENCE)
            return [
                Finding("broker", True, f"{broker.bootstrap} takes us"),
                Finding("topics", not wrong, " ".join(wrong) or "as they should be"),
            ]
        if settings.ledger_url is not None:
            return [Finding("broker", True, "none is named here, and a desk alone needs none")]
        return [Finding("embedded broker", True, f"{find_binary().name} is installed")]
    except Refusal as refusal:
        return [Finding("broker", False, f"{refusal.why} {refusal.do}")]


async def _ledger(settings: Settings) -> list[Finding]:
    """The ledger and its record, through the running process where there is one."""
    running = control.is_listening(settings.socket_path)
    beside = settings.ledger_url is not None
    try:
        if running:
            status = await control.ask(settings.socket_path, "status", {})
            verdict = await control.ask(settings.socket_path, "verify", {})
        else:
            status = await alone(settings, "status", {})
            verdict = await alone(settings, "verify", {})
        of_postgres = await _postgres(settings) if beside else []
    except Refusal as refusal:
        return [Finding("ledger", False, f"{refusal.why} {refusal.do}")]
    return [
        Finding("ledger", True, f"{status['reports']} reports, {status['incidents']} incidents, "
                f"{status['posts']} posts"),
        *of_postgres,
        Finding("record", verdict["ok"], verdict["fault"]
                or f"{verdict['entries']} entries, whole"),
        _streams(running or beside, status["streams"]),
        Finding("problems", not status["problems"], f"{status['problems']} open"
                + ("; see `broadcaster problems list`" if status["problems"] else "")),
    ]  # fmt: skip


async def _postgres(settings: Settings) -> list[Finding]:
    """What several processes on one database share: its roles, and its clock. Raises Refusal."""
    ledger = open_ledger(settings.ledger_path, settings.world, url=settings.ledger_address)
    try:
        ours = await ledger.read(rights.of_this_process)
        return [role(ours), clock(await _ahead(ledger))]
    finally:
        await ledger.close()


async def _ahead(ledger: Ledger) -> timedelta:
    """How far the ledger's clock is ahead of this machine's, give or take half an answer's way."""
    asked = datetime.now(UTC)
    told = await ledger.read(lambda tx: tx.now)
    return told - asked - (datetime.now(UTC) - asked) / 2


def certificate(begins: datetime, ends: datetime, now: datetime) -> Finding:
    """Whether receivers will take what the certificate of CAP's key signs, and for a while yet."""
    if now < begins:
        return Finding(CAP_SIGNATURE, False, f"the certificate is not valid before {begins:%F}: "
                       "until then receivers refuse what is signed")  # fmt: skip
    if now >= ends:
        return Finding(CAP_SIGNATURE, False, f"the certificate ended on {ends:%F}: receivers "
                       "refuse what is signed until the desk has a new one")  # fmt: skip
    if ends - now < CERTIFICATE_ENDS_SOON:
        return Finding(CAP_SIGNATURE, False, f"the certificate ends on {ends:%F}, in "
                       f"{(ends - now).days} days: give the desk a new one before")  # fmt: skip
    return Finding(CAP_SIGNATURE, True, f"on; the certificate holds until {ends:%F}")


def role(ours: Rights) -> Finding:
    """Whether our role is one of those that a desk or a worker should have."""
    if ours.owns:
        return Finding("role", False, f"{ours.role} owns the tables, so nothing can be kept from "
                       "it: sign in as the desk's or the worker's role, and use this one for "
                       "`broadcaster ledger apply` alone")  # fmt: skip
    if ours.decides and ours.releases:
        return Finding("role", False, f"{ours.role} may both decide and release, so a desk with it "
                       "could publish: have the ledger's owner run `broadcaster ledger apply`"
                       )  # fmt: skip
    if ours.decides:
        return Finding("role", True, f"{ours.role}, a desk's: it can release and post nothing")
    if ours.releases:
        return Finding("role", True, f"{ours.role}, a worker's: it releases and posts")
    return Finding("role", False, f"{ours.role} has neither a desk's rights nor a worker's: have "
                   "the ledger's owner run `broadcaster ledger apply`")  # fmt: skip


def clock(ahead: timedelta) -> Finding:
    """Whether this machine and the ledger agree on the time."""
    seconds = ahead.total_seconds()
    if abs(ahead) <= CLOCKS_APART:
        return Finding("clock", True, f"{abs(seconds):.2f} s from the ledger's")
    late = "behind" if seconds > 0 else "ahead of"
    return Finding("clock", False, f"{abs(seconds):.1f} s {late} the ledger's: have both machines "
                   "follow the same time servers")  # fmt: skip


def _streams(running: bool, said: str) -> Finding:
    if not running:
        return Finding("streams", True, "not started; `broadcaster up` starts them")
    return Finding("streams", said == "run", "run" if said == "run" else f"stand still: {said}")
