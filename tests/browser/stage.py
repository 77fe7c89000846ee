"""A whole desk for a browser to look at: real ledger, real steps, real channels, no broker.

Everything runs in one thread of its own, so that a test can drive Playwright's own loop. After
each commit what stands in the outbox is handed to the step that reads its topic, as the relay and
the broker would.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from aiohttp import web
from sqlalchemy import select, update

from adapters.call_push import new_key
from broadcaster import bootstrap, posting
from broadcaster.accounts import Account, WebhookAccount
from broadcaster.approval import AnyRelease, Verdict
from broadcaster.clock import SystemClock
from broadcaster.delivery import PostState, Receipt, Seen
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Flow
from broadcaster.desk.templating import ENVIRONMENT
from broadcaster.errors import Refusal
from broadcaster.incident import Report, Status
from broadcaster.ledger import (
    Change,
    Ledger,
    Tx,
    approvals,
    chain,
    incidents,
    open_ledger,
    outbox,
    people,
    posts,
    releases,
    reply_decisions,
    reports,
    schema,
)
from broadcaster.orders import (
    Decide,
    SubmitRevision,
    Submitted,
    decide,
    practised,
    submit_revision,
)
from broadcaster.passkey import Site
from broadcaster.roster import Person, Role
from broadcaster.settings import Settings
from broadcaster.suggestion import words
from broadcaster.update import Phrase
from streams.app import Delivered, Where
from streams.deliver import Deliver
from streams.prove import prove
from tests.codes import KEY
from tests.patience import PATIENCE
from tests.story import new_ledger
from tests.streams.test_aftercare import Platform

T = TypeVar("T")

PEOPLE = {
    "A. Reyes": [Role.PIO],
    "Sgt M. Ortiz": [Role.COMMANDER],
    "Lt J. Park": [Role.WATCH_COMMANDER],
    "K. Lindqvist": [Role.RECORDS],
}
SECRET = "whsec_" + base64.b64encode(b"0" * 32).decode()
STEPS = {
    "incident.reports": "compile", "update.submitted": "notify", "update.decided": "gate",
}  # fmt: skip


class Shown(Platform):
    """A platform of which the public may read something else than it was sent."""

    instead: str | None = None

    async def read(self, there: Receipt) -> Seen | None:
        return Seen(text=self.instead) if self.instead else await super().read(there)


class Stage:
    """One desk. `do` runs a coroutine in its thread and gives the result.

    `url`: where its ledger is; None: a SQLite file in its home. `accounts`: of channels beside the
    public page and the two webhooks; what is posted there is kept in `platforms`, by their names.
    """

    def __init__(
        self, home: Path, url: str | None, compiled: jinja2.BytecodeCache,
        accounts: Sequence[Account] = (),
    ) -> None:  # fmt: skip
        self.home = home
        self.compiled = compiled
        self.url = url
        self.accounts = accounts
        self.platforms: dict[str, Shown] = {}
        self.address = ""
        self.people: dict[str, Person] = {}
        #: What the webhooks' receiver answers, by its path.
        self.answers: dict[str, int] = {}
        self.running = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._moved: asyncio.Event
        self._noted: asyncio.Event
        self._said = 0

    # --- its life -----------------------------------------------------------------------------

    def __enter__(self) -> Stage:
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        self.do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def write(self, step: Callable[[Tx], T]) -> T:
        return self.do(self.ledger.write(step))

    def read(self, query: Callable[[Tx], T]) -> T:
        return self.do(self.ledger.read(query))

    async def _start(self) -> None:
        receiver = await self._serve(self._receiver())
        self.settings = Settings(
            home=self.home,
            voice_approval=True,
            channels=[
                WebhookAccount(kind="webhook", name=name, title=title, url=f"{receiver}/{name}",
                               secret=SECRET, dedupes=dedupes)
                for name, title, dedupes in (
                    ("county_eoc", "County EOC", True),
                    ("school_district", "School district", False),
                )
            ] + list(self.accounts),
            channel_networks=["127.0.0.0/8"],
            calls={
                "push": {"key": new_key(), "contact": "mailto:it@example.gov"},
                "sms": {"account": "AC" + "0" * 32, "token": "t", "sender": "+15005550001"},
                "mail": {"host": "127.0.0.1", "tls": "none", "sender": "alerts@example.gov"},
            },
        )  # fmt: skip
        if self.url is None:
            self.settings.ledger_path.write_bytes(await new_ledger(SystemClock()))
        self.ledger: Ledger = open_ledger(self.settings.ledger_path, "exercise", url=self.url)
        self._stack.push_async_callback(self.ledger.close)
        for name, roles in PEOPLE.items():
            self.people[name] = await self.ledger.write(
                lambda tx, name=name, roles=roles: people.add(
                    tx, name, roles, actor="stage", practice=True
                )
            )
        self.address = await self._serve_desk()
        self._moved, self._noted = asyncio.Event(), asyncio.Event()
        self._stack.callback(self.ledger.on_commit(self._hear))
        adapters = dict(posting.Channels(self.settings, self.ledger).adapters())
        for account in self.accounts:
            self.platforms[account.name] = Shown(adapters[account.name].channel)
        adapters |= self.platforms
        url = f"{self.address}/p/{{}}".format
        self._deliver = Deliver(self.ledger, adapters, url, SystemClock(), "stage")
        self._stack.push_async_callback(self._deliver.close)
        self._handlers = bootstrap.handlers(
            self.settings, self.ledger, SystemClock(), url, lambda: self._deliver
        )
        for work in (
            self._pump(), self._seal(), self._deliver.run(lambda: frozenset(adapters)),
            prove(self.ledger, KEY, Site.at(self.address)),
        ):  # fmt: skip
            self._stack.push_async_callback(_end, asyncio.create_task(work))

    async def _serve_desk(self) -> str:
        """The desk has to know its own port before it is made, so one is chosen first."""
        holder = await self._serve(web.Application())
        app = make_app(bootstrap.desk(self.settings, self.ledger, holder, self._flow))
        app[ENVIRONMENT].bytecode_cache = self.compiled
        await self._runners.pop().cleanup()
        return await self._serve(app, int(holder.rsplit(":", 1)[1]))

    async def _serve(self, app: web.Application, port: int = 0) -> str:
        runner = web.AppRunner(app, shutdown_timeout=1, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self._runners.append(runner)
        self._stack.push_async_callback(runner.cleanup)
        # By its name: a passkey's site is a name, and no address (WebAuthn §5.1.2).
        return f"http://localhost:{runner.addresses[0][1]}"

    @property
    def _runners(self) -> list[web.AppRunner]:
        return self.__dict__.setdefault("_list_of_runners", [])

    def _flow(self) -> Flow:
        if self.running:
            return Flow(running=True)
        return Flow(False, datetime.now(UTC), "The broker does not answer.")

    def _receiver(self) -> web.Application:
        async def take(request: web.Request) -> web.Response:
            return web.Response(status=self.answers.get(request.match_info["name"], 204))

        app = web.Application()
        app.router.add_post("/{name}", take)
        return app

    # --- what the relay and the broker do -----------------------------------------------------

    def _hear(self, changes: frozenset[Change]) -> None:
        if "outbox" in changes:
            self._moved.set()
        if "record" in changes:
            self._noted.set()

    async def _pump(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            while self.running and (waiting := await self.ledger.read(_unsent)):
                for each in waiting:
                    await self._hand_over(
                        each.topic.removeprefix("exercise."), each.key, each.value
                    )
                done = [each.id for each in waiting]
                await self.ledger.write(lambda tx, done=done: outbox.sent(tx, done))

    async def _seal(self) -> None:
        """Numbers entries, as `worker relay` does; SQLite's are numbered with their step."""
        while self.url is not None:
            await self._noted.wait()
            self._noted.clear()
            await self.ledger.write(lambda tx: chain.seal_waiting(tx.connection))

    async def _hand_over(self, topic: str, key: str, value: bytes) -> None:
        step = STEPS.get(topic) or ("deliver" if topic.startswith("posts.") else "")
        if step and topic != "posts.settled":
            self._said += 1
            where = Where(topic, 0, self._said)
            await self._handlers[step](Delivered(where, key.encode(), value, (), 0))

    def stand_still(self, still: bool) -> None:
        """Stops the flow, or lets it go on."""
        self.running = not still
        self._loop.call_soon_threadsafe(self._moved.set)

    def until(self, query: Callable[[Tx], T | None], seconds: float = PATIENCE) -> T:
        """What `query` finds, as soon as it finds something."""

        async def wait() -> T:
            moved = asyncio.Event()
            stop = self.ledger.on_commit(lambda changes: moved.set())
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        moved.clear()
                        if (found := await self.ledger.read(query)) is not None:
                            return found
                        await moved.wait()
            finally:
                stop()

        return self.do(wait())

    # --- what people and CAD do ---------------------------------------------------------------

    def report(
        self, number: str = "2026-004417", *, type_: str = "GASLEAKO",
        place: str | None = "66100 block of Pierson Blvd", source: str = "dhs-cad",
        status: Status = Status.RESOURCES_ONSCENE, ago: timedelta = timedelta(minutes=4),
    ) -> str:  # fmt: skip
        """CAD reports; gives the incident's id once it is on the board."""
        now = datetime.now(UTC)
        self._said += 1
        report = Report(
            source=source, message_id=f"m-{self._said}", number=number, type=type_, place=place,
            status=status, priority=2, opened_at=now - ago, reported_at=now,
        )  # fmt: skip
        accepted = self.write(lambda tx: reports.accept(tx, report, actor=source))
        self.until(lambda tx: _compiled(tx, report.id))
        return accepted.incident_id

    def submit(self, incident_id: str, *, guidance: str = "", **more: object) -> Submitted:
        """The PIO submits the suggested words, to every channel that may be used."""
        channels = posting.channels(self.settings)

        def step(tx: Tx) -> Submitted:
            kept = incidents.get(tx, incident_id)
            assert kept is not None
            said = words(
                kept.incident, department=self.settings.department, zone=self.settings.zone,
                now=tx.now,
            )  # fmt: skip
            if guidance:
                said = said.model_copy(update={"guidance": Phrase(text=guidance, origin="typed")})
            off = reply_decisions.off(tx, channels)
            order = SubmitRevision(
                incident_id=incident_id, words=said, attested=True, **more,
                channels=tuple(each.name for each in channels if each.name not in off),
            )  # fmt: skip
            return submit_revision(tx, order, self.people["A. Reyes"], channels)

        return self.write(step)

    def decide(
        self, submitted: Submitted, verdict: Verdict = Verdict.APPROVED, *,
        person: str = "Lt J. Park", reason: str | None = None,
    ) -> None:  # fmt: skip
        order = Decide(
            request_id=submitted.request.id,
            verdict=verdict,
            revision_id=submitted.revision.id,
            digest=submitted.revision.digest,
            reason=reason,
            idempotency_key=f"key-{submitted.request.id}",
        )
        site = Site.at(self.address)
        who = self.people[person]
        kept = self.write(lambda tx: decide(tx, practised(tx, order, who, site), who, site))
        assert not isinstance(kept, Refusal), kept

    def tell(self, incident_id: str, **more: object) -> AnyRelease:
        """A whole round: submitted, approved, released, and ended on every channel."""
        submitted = self.submit(incident_id, **more)
        self.decide(submitted)
        release = self.until(lambda tx: releases.of_revision(tx, submitted.revision.id))
        self.until(lambda tx: _settled(tx, release.id))
        return release

    def run_out(self, request_id: str) -> None:
        """Lets a request's time run out, without waiting for it."""
        table = schema.approval_requests

        def step(tx: Tx) -> None:
            tx.connection.execute(
                update(table).where(table.c.id == request_id).values(expires_at=tx.now)
            )
            tx.changed("board", f"request:{request_id}")

        self.write(step)

    def decisions(self, incident_id: str) -> int:
        """How many of an incident's requests were decided."""
        return self.read(
            lambda tx: sum(
                approvals.decision_of(tx, kept.request.id) is not None
                for kept in approvals.requests_of(tx, incident_id)
            )
        )


def _unsent(tx: Tx) -> list[outbox.Unsent]:
    return outbox.unsent(tx, 100)


def _compiled(tx: Tx, report_id: str) -> bool | None:
    at = tx.connection.execute(
        select(schema.reports.c.compiled_at).where(schema.reports.c.id == report_id)
    ).scalar()
    return True if at else None


def _settled(tx: Tx, release_id: str) -> bool | None:
    kept = posts.of_release(tx, release_id)
    moving = (PostState.PLANNED, PostState.SENDING)
    return True if kept and not any(post.state in moving for post in kept) else None


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
