"""Health, metrics, and the command line's socket.

`/healthz`, `/readyz` and `/metrics` answer on the desk's port; commands come through
`control.sock` in the home folder (0600), so that SQLite keeps one writer while `up` runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from broadcaster import commands
from broadcaster.channel import AnyChannel
from broadcaster.commands import Here, Result
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.ledger import (
    Tx,
    accounts,
    channels,
    incidents,
    outbox,
    posts,
    problems,
    records,
    reports,
)
from streams.run import Flowing

_HERE = web.AppKey("here", Here)


Application = web.Application


def bare() -> Application:
    """An application with no page of its own, for a process that only answers how it is."""
    return web.Application()


def add_health(app: web.Application, here: Here, *, desk: bool) -> None:
    """Adds the three addresses that a machine asks, of a process with a `desk` or a worker."""

    async def healthz(request: web.Request) -> web.Response:
        """The process turns its event loop."""
        return web.json_response({"ok": True})

    async def readyz(request: web.Request) -> web.Response:
        """A desk can take reports and decisions: the ledger can be written. A worker's steps run.

        A desk is ready without Kafka: what it records moves on when the broker is back.
        """
        try:
            await here.ledger.prove()
        except Refusal as refusal:
            return _ready(here, refusal.why)
        return _ready(here, None if desk or here.streams == "run" else here.streams)

    async def metrics(request: web.Request) -> web.Response:
        families = list(_process_metrics(here))
        try:
            known = {each.name: each for each in here.channels.all}
            families += await here.ledger.read(lambda tx: list(_ledger_metrics(tx, known)))
        except LedgerAway:
            families.append(_gauge("ledger_reachable", _REACHABLE, 0))
        return web.Response(body=_exposition(families), headers={
            "Content-Type": "text/plain; version=0.0.4; charset=utf-8"})  # fmt: skip

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def _ready(here: Here, why_not: str | None) -> web.Response:
    """What an orchestrator, or a person with curl, is told."""
    told = {"ready": why_not is None, "streams": here.streams}
    if why_not is None:
        return web.json_response(told)
    return web.json_response({**told, "why": why_not}, status=503, headers={"Retry-After": "5"})


class _Once:
    """A registry's view of metrics that were read from the ledger already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _exposition(families: list[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    return generate_latest(registry)


_REACHABLE = "1 while the ledger answers."


def _process_metrics(here: Here) -> Iterable[Metric]:
    """Figures of this process alone."""
    yield _gauge("streams_running", "1 while the streams run.", int(here.streams == "run"))
    if isinstance(here.flow, Flowing):
        yield _counter("streams_restarts", "Times the streams were started again.",
                       here.flow.restarts)  # fmt: skip


def _ledger_metrics(tx: Tx, known: Mapping[str, AnyChannel]) -> Iterable[Metric]:
    """Figures for the operator's charts; labels are bounded, and never name an incident."""
    waiting, oldest = outbox.waiting(tx)
    yield _gauge("ledger_reachable", _REACHABLE, 1)
    yield _counter("reports_accepted", "Reports in the ledger.", reports.count(tx))
    yield _gauge("reports_waiting", "Reports that compile has not seen to.", reports.waiting(tx))
    yield _gauge("outbox_waiting", "Messages that wait for the relay.", waiting)
    age = (tx.now - oldest).total_seconds() if oldest else 0
    yield _gauge("outbox_oldest_seconds", "Age of the oldest of them, in seconds.", age)
    yield _gauge("problems_open", "Messages that came in wrong.", problems.open_count(tx))
    yield _counter("record_entries", "Sealed entries of the record.", records.count(tx))
    open_ = GaugeMetricFamily("broadcaster_incidents", "Incidents.", labels=["open", "handling"])
    for (is_open, handling), count in incidents.counts(tx).items():
        open_.add_metric([str(is_open).lower(), handling], count)
    yield open_
    by_state = GaugeMetricFamily("broadcaster_posts", "Posts.", labels=["channel", "state"])
    for (channel, state), count in posts.by_channel_and_state(tx).items():
        by_state.add_metric([channel, state], count)
    yield by_state
    yield from _channel_metrics(tx, known)


def _channel_metrics(tx: Tx, known: Mapping[str, AnyChannel]) -> Iterable[Metric]:
    """What an alarm is set on: who waits longest, what is in doubt, what is kept back and why."""
    several = channels.overview(tx, known)
    told: dict[str, tuple[str, Callable[[channels.Figures, channels.Kept | None], float]]] = {
        "oldest_waiting_seconds": (
            "Age of the release whose post waits longest, in seconds.",
            lambda each, _: (tx.now - each.oldest).total_seconds() if each.oldest else 0,
        ),
        "in_doubt": ("Posts of which nobody knows.", lambda each, _: each.in_doubt),
        "paused": (
            "1 while a person has it paused.",
            lambda _, fare: bool(fare and fare.paused_by and not fare.locked_out),
        ),
        "locked_out": (
            "1 while it is paused because it does not know our credential.",
            lambda _, fare: bool(fare and fare.locked_out),
        ),
        "failing": (
            "1 while its breaker is open.",
            lambda _, fare: bool(fare and fare.breaker.open),
        ),
        "last_proof_timestamp_seconds": (
            "When it last proved a post, in Unix time; 0: never.",
            lambda _, fare: fare.proved_at.timestamp() if fare and fare.proved_at else 0,
        ),
    }
    for name, (help_, value) in told.items():
        gauge = GaugeMetricFamily(f"broadcaster_channel_{name}", help_, labels=["channel"])
        for each in several:
            gauge.add_metric([each.name], float(value(each.figures, each.fare)))
        yield gauge
    yield _of_some("pace_per_minute", "Posts a minute that it takes; none: as many as come.",
                   {name: each.pace for name, each in known.items() if each.pace})  # fmt: skip
    today = tx.now.date()
    yield _of_some(
        "credential_days", "Days until its credential's last one; below 0: it is over.",
        {name: (day - today).days for name, day in accounts.ends(tx, known.values()).items()},
    )  # fmt: skip


def _of_some(name: str, help_: str, values: Mapping[str, int]) -> Metric:
    """A figure that not every channel has."""
    gauge = GaugeMetricFamily(f"broadcaster_channel_{name}", help_, labels=["channel"])
    for channel, value in values.items():
        gauge.add_metric([channel], value)
    return gauge


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"broadcaster_{name}", help_, value=value)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(f"broadcaster_{name}", help_, value=value)


@contextlib.asynccontextmanager
async def serving(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serves an application on a bound socket for as long as the block lasts."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def listening(here: Here, path: Path) -> AsyncIterator[None]:
    """Takes commands on the socket for as long as the block lasts."""
    app = web.Application(client_max_size=8 * 2**20)
    app[_HERE] = here
    app.router.add_get("/idle", _idle)
    app.router.add_post("/command", _command)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    _remove(path)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)
    try:
        yield
    finally:
        _remove(path)
        await runner.cleanup()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _idle(request: web.Request) -> web.Response:
    return web.json_response(await commands.run("idle", {}, request.app[_HERE]))


async def _command(request: web.Request) -> web.StreamResponse:
    """One command: JSON lines of how far it is, the last with its result or its refusal."""
    asked = await request.json()
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)

    async def say(line: Result) -> None:
        await response.write(json.dumps(line, default=str).encode() + b"\n")

    try:
        result = await commands.run(asked["name"], asked["arguments"], request.app[_HERE], say)
        await say({"result": result})
    except Refusal as refusal:
        await say({"refusal": _as_json(refusal)})
    await response.write_eof()
    return response


def _as_json(refusal: Refusal) -> Result:
    return {"code": refusal.code, "why": refusal.why, "do": refusal.do, "kind": refusal.kind,
            "field": refusal.field, "facts": refusal.facts}  # fmt: skip


async def ask(
    path: Path, name: str, arguments: Result, say: commands.Say = commands.unheard
) -> Result:
    """Has the process behind the socket run a command. Raises Refusal, its own or `not_running`."""
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(path)),
                timeout=aiohttp.ClientTimeout(total=None),
            ) as session,
            session.post(
                "http://control/command", json={"name": name, "arguments": arguments}
            ) as response,
        ):
            async for raw in response.content:
                line: dict[str, Any] = json.loads(raw)
                if "result" in line:
                    result: Result = line["result"]
                    return result
                if "refusal" in line:
                    told = line["refusal"]
                    raise Refusal(told["code"], told["why"], told["do"], kind=Kind(told["kind"]),
                                  field=told["field"], facts=told["facts"])  # fmt: skip
                await say(line)
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
        raise not_running(str(error)) from error
    raise not_running("the answer broke off")


def not_running(cause: str) -> Refusal:
    return Refusal(
        "not_running", f"No running broadcaster answers for this home folder ({cause}).",
        "Start it with `broadcaster up`.", kind=Kind.UNAVAILABLE,
    )  # fmt: skip


def is_listening(path: Path) -> bool:
    """Whether a process takes commands on this socket now."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
