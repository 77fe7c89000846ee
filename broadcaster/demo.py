"""The practice run: a gas leak goes from CAD to the public, through a PIO and a Commander.

It starts the whole product in the exercise world and plays the people in it by the same HTTP
calls that a CAD system, a console and a phone make. Two loopback receivers stand for a county's
emergency operations centre and a school district; what they and the public feed hold is what
counts as delivered.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import click
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from broadcaster import control, here
from broadcaster.errors import Kind, Refusal
from broadcaster.settings import Settings, make_home

Json = dict[str, Any]

#: Tells the newcomer who did what.
Say = Callable[[str, str], None]

#: Who takes part, and as what. They exist in the exercise world alone.
PEOPLE = {
    "A. Reyes": ["pio"],
    "Sgt M. Ortiz": ["commander"],
    "Lt J. Park": ["watch-commander"],
    "Sgt D. Okafor": ["supervisor"],
    "Chief L. Banks": ["chief"],
    "K. Lindqvist": ["records"],
}
PIO, COMMANDER = "A. Reyes", "Sgt M. Ortiz"

#: The receivers: name, title, and whether each is declared to act once on one message id.
RECEIVERS = (
    ("county_eoc", "County EOC", True),
    ("school_district", "School district", False),
)

#: What each step of the story may take before the run counts as failed.
PATIENCE = 30.0


@dataclass
class Memory:
    """What the practice run keeps in its home folder, so that a second start goes on."""

    intake_secret: str
    webhook_secrets: dict[str, str]
    incident_id: str | None = None
    public_id: str | None = None
    request_id: str | None = None
    doors: dict[str, int] = field(default_factory=dict)  #: each receiver's second port, this time

    @classmethod
    def load(cls, path: Path) -> Memory:
        if path.exists():
            return cls(**json.loads(path.read_text()))
        return cls(_secret(), {name: _secret() for name, _, _ in RECEIVERS})

    def save(self, path: Path) -> None:
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(asdict(self)))
        new.replace(path)


@dataclass
class Receiver:
    """One loopback receiver of signed webhooks: it verifies, and counts by message id."""

    name: str
    secret: str
    arrived: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _http: web.Server | None = None
    _server: asyncio.Server | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _called_back: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listens at `port`, and at the one given for whoever stands there in its place."""
        app = web.Application()
        app.router.add_post("/", self.take)
        app.router.add_put("/aside", self.stand_aside)
        app.router.add_delete("/aside", self.come_back)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._http = runner.server
        await self._listen()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()
            if self._server is not None:
                self._server.close()

    async def take(self, request: web.Request) -> web.Response:
        try:
            Webhook(self.secret).verify(await request.read(), dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        self.arrived[request.headers["webhook-id"]] += 1
        return web.Response(status=204)

    async def stand_aside(self, request: web.Request) -> web.StreamResponse:
        """Leaves its port, which it tells, to whoever asks: until they hang up, or it comes back.

        So a person may put a fault there and watch the pages (`tests/faults/breaking.py`).
        """
        self._called_back.set()
        async with self._turn:
            self._called_back.clear()
            assert self._server is not None
            self._server.close()
            line = web.StreamResponse()
            try:
                await line.prepare(request)
                await line.write(f"{self.port}\n".encode())
                await self._called_back.wait()
                await line.write_eof()
            finally:
                await self._listen()
        return line

    async def come_back(self, _: web.Request) -> web.Response:
        """Takes its port again, from whoever stands there."""
        self._called_back.set()
        async with self._turn:
            return web.Response(status=204)

    async def _listen(self) -> None:
        """As soon as nobody else listens there."""
        assert self._http is not None
        listen = asyncio.get_running_loop().create_server
        while True:
            try:
                self._server = await listen(self._http, "127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                self.port = self._server.sockets[0].getsockname()[1]
                return


async def play(settings: Settings, *, once: bool, as_json: bool) -> int:
    """Plays the sample and returns the exit code. Raises Refusal."""
    if settings.world != "exercise":
        raise Refusal("only_in_exercise", "The practice run plays in the exercise world alone.",
                      "Set BROADCASTER_WORLD=exercise.", kind=Kind.FORBIDDEN)  # fmt: skip
    if control.is_listening(settings.socket_path):
        raise Refusal("already_running", f"A broadcaster runs in {settings.folder} already.",
                      "End it, or set BROADCASTER_HOME to another folder.",
                      kind=Kind.CONFLICT)  # fmt: skip
    make_home(settings)
    path = settings.folder / "demo.json"
    memory = Memory.load(path)
    if once and memory.incident_id is not None:
        raise Refusal("not_fresh", f"A practice run has played in {settings.folder} already.",
                      "Set BROADCASTER_HOME to a new folder for `--once`.")  # fmt: skip
    stop = _stopped()
    say = _silent_say if as_json else _say
    say("start", "broker, ledger, desk and streams, in the exercise world")
    async with _receivers(memory) as receivers:
        run = asyncio.create_task(_run(settings, memory, path, receivers, say, once, as_json, stop))
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait({run, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not run.done():
            run.cancel()
        try:
            return await run
        except asyncio.CancelledError:
            return 0
        except TimeoutError:
            raise Refusal(
                "story_stuck", f"The story did not go on within {PATIENCE:.0f} s.",
                f"Read {settings.folder / 'up.log'}; `broadcaster doctor` says more.",
                kind=Kind.UNAVAILABLE,
            ) from None  # fmt: skip
    return 0


async def _run(
    settings: Settings, memory: Memory, path: Path, receivers: list[Receiver],
    say: Say, once: bool, as_json: bool, stop: asyncio.Event,
) -> int:  # fmt: skip
    async with here.running(settings, _environment(memory, receivers)):
        memory.save(path)
        status = await control.ask(settings.socket_path, "status", {})
        made = await control.ask(settings.socket_path, "roster_practice", {"names": PEOPLE})
        async with (
            Actor.signed_in(status["address"], made["people"][PIO]) as pio,
            Actor.signed_in(status["address"], made["people"][COMMANDER]) as commander,
        ):
            story = Story(status["address"], memory, pio, commander, made["people"], say)
            if memory.incident_id is None:
                await story.play(to_the_end=once)
                memory.save(path)
            else:
                say("start", "went on with what an earlier run left")
            if once:
                return await _finish(settings, receivers, pio, as_json)
            story.show_addresses()
            await story.wait_for_person(memory.request_id, stop)
    return 0


async def _finish(settings: Settings, receivers: list[Receiver], pio: Actor, as_json: bool) -> int:
    """Waits until all is delivered, counts at the receivers, and tells the figures."""
    await control.ask(settings.socket_path, "drained", {"seconds": PATIENCE})
    status = await control.ask(settings.socket_path, "status", {})
    verdict = await control.ask(settings.socket_path, "verify", {})
    on_page = len((await pio.get("/p/feed.json"))["items"])
    delivered = on_page + sum(len(receiver.arrived) for receiver in receivers)
    figures = {
        "reports": status["reports"],
        "incidents": status["incidents"],
        "updates": status["updates"],
        "approvals": status["approvals"],
        "releases": status["releases"],
        "posts": status["posts"],
        "delivered": delivered,
        "duplicates": sum(r.arrived.total() - len(r.arrived) for r in receivers),
        "lost": status["posts"] - delivered,
        "record_entries": verdict["entries"],
        "chain_ok": verdict["ok"],
    }
    if as_json:
        click.echo(json.dumps(figures))
    else:
        for name, value in figures.items():
            click.echo(f"{name.replace('_', ' '):>16}  {value}")
    good = figures["chain_ok"] and not figures["lost"] and not figures["duplicates"]
    return 0 if good else 1


@dataclass
class Actor:
    """A practice person at a browser or phone: one session, and the calls those make."""

    session: aiohttp.ClientSession

    @classmethod
    @contextlib.asynccontextmanager
    async def signed_in(cls, address: str, person_id: str) -> AsyncIterator[Actor]:
        async with aiohttp.ClientSession(
            address, headers={"X-Broadcaster": "1", "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=PATIENCE),
        ) as session:  # fmt: skip
            actor = cls(session)
            await actor.post("/practice", {"person_id": person_id})
            yield actor

    async def get(self, path: str) -> Json:
        async with self.session.get(path) as response:
            return await _told(response)

    async def post(self, path: str, body: Json) -> Json:
        async with self.session.post(path, json=body) as response:
            return await _told(response)


async def _told(response: aiohttp.ClientResponse) -> Json:
    body: Json = await response.json(content_type=None)
    if response.status >= 400:
        raise Refusal(body["code"], body["why"], body["do"], kind=Kind.CONFLICT)
    return body


@dataclass
class Story:
    """The sample incident, step by step."""

    address: str
    memory: Memory
    pio: Actor
    commander: Actor
    people: dict[str, str]
    say: Say
    #: The incident's number at CAD; a story that was broken off is begun anew under another.
    number: str = field(default_factory=lambda: f"DHS-26-{secrets.randbelow(90_000) + 10_000}")

    async def play(self, *, to_the_end: bool) -> None:
        """A leak is reported, confirmed and moves; two updates; in the end an all clear."""
        began = datetime.now(UTC) - timedelta(minutes=4)
        await self._report(began, "66123 Pierson Blvd", "Active", minutes=0)
        detail = await self._suggested("new incident")
        await self.pio.post(
            f"/api/v1/incidents/{self.memory.incident_id}/command",
            {"commander_id": self.people[COMMANDER]},
        )
        self.say("PIO", f"{COMMANDER} commands; update #1 goes to them")
        request = await self._submit(detail, "update")
        await self._approve(request)
        await self._report(began, "66123 Pierson Blvd", "ResourcesOnscene", minutes=2)
        await self._report(began, "Pierson Blvd / Palm Dr", "NewLocation", minutes=3)
        detail = await self._suggested("place changed")
        request = await self._submit(detail, "update", replaces=[self._newest(detail)])
        self.memory.request_id = request["id"]
        if not to_the_end:
            self.say("PIO", "update #2 waits for the Commander: that is you")
            return
        await self._approve(request)
        await self._report(began, "Pierson Blvd / Palm Dr", "Closed", minutes=4)
        detail = await self._until(lambda d: not d["incident"]["open"])
        await self._approve(await self._submit(_ended(detail), "all clear"))

    def show_addresses(self) -> None:
        """The four places to look."""
        click.echo()
        for what, path in (
            ("public page", f"/p/{self.memory.public_id}"),
            ("board", "/"),
            ("approval", f"/a/{self.memory.request_id}"),
            ("record", "/record"),
        ):
            click.echo(f"  {what:<12} {self.address}{path}")
        click.echo(
            "\nA page asks who you are: choose a practice person. Approve update #2 as "
            f'{COMMANDER}; if its\n10 minutes are over, go on as {PIO} and press "Ask again" on '
            "the incident's page. Ctrl-C ends all.\n"
        )

    async def wait_for_person(self, request_id: str | None, stop: asyncio.Event) -> None:
        """Tells when the newcomer has decided; then only waits for the end."""
        told = None
        while not stop.is_set():
            with contextlib.suppress(Refusal, aiohttp.ClientError, KeyError, TypeError):
                decided = (await self.pio.get(f"/api/v1/approval-requests/{request_id}"))["decided"]
                if decided and decided["outcome"] != told:
                    told = decided["outcome"]
                    self.say("gate", f"update #2: {told}, decided by {decided['person_name']}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await stop.wait()

    async def _report(self, began: datetime, place: str, status: str, *, minutes: int) -> None:
        """One signed report, as a CAD system sends it."""
        message_id = f"demo-{uuid.uuid4()}"
        now = datetime.now(UTC)
        body = json.dumps({
            "version": 1, "id": message_id, "source": "cad",
            "incident_number": self.number, "type": "GASLEAKO", "status": status,
            "place": place, "latitude": 33.9611, "longitude": -116.5017, "priority": 2,
            "opened_at": began.isoformat(),
            "reported_at": min(began + timedelta(minutes=minutes), now).isoformat(),
        }).encode()  # fmt: skip
        signature = Webhook(self.memory.intake_secret).sign(message_id, now, body.decode())
        headers = {
            "content-type": "application/json", "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature,
        }  # fmt: skip
        async with self.pio.session.post("/api/v1/reports", data=body, headers=headers) as response:
            accepted = await _told(response)
        self.memory.incident_id = accepted["incident_id"]
        self.say("CAD", f"gas leak, {status}, {place}: report accepted")

    async def _suggested(self, why: str) -> Json:
        detail = await self._until(
            lambda d: bool(d["suggestion"]) and why in d["suggestion"]["why"]
        )
        self.memory.public_id = detail["incident"]["public_id"]
        place = detail["suggestion"]["words"]["place"]["text"]
        self.say("compile", f"an update is suggested ({detail['suggestion']['why']}): {place}")
        return detail

    async def _submit(self, detail: Json, kind: str, replaces: list[str] | None = None) -> Json:
        """The PIO verifies what CAD said, and submits the suggested words."""
        words = detail["suggestion"]["words"]
        for phrase in words.values():
            phrase["verified"] = True
        order = {
            "incident_id": self.memory.incident_id, "kind": kind, "words": words,
            "channels": ["public_page", *(name for name, _, _ in RECEIVERS)],
            "replaces": replaces or [],
            "attested": True,
        }  # fmt: skip
        submitted = await self.pio.post(
            f"/api/v1/incidents/{self.memory.incident_id}/revisions", order
        )
        request: Json = submitted["request"]
        self.say("PIO", f"submitted, code {request['code']}: {request['asked_name']} is asked")
        return request

    async def _approve(self, request: Json) -> None:
        """The Commander's phone: open the page's data, then decide on what it showed."""
        path = f"/api/v1/approval-requests/{request['id']}"
        shown = (await self.commander.get(path))["request"]
        began = asyncio.get_running_loop().time()
        decided = await self.commander.post(f"{path}/decision", {
            "request_id": shown["id"], "verdict": "approved", "digest": shown["digest"],
            "revision_id": shown["revision_id"], "idempotency_key": str(uuid.uuid4()),
        })  # fmt: skip
        self.say("Commander", f"approved {decided['code']}")
        async with asyncio.timeout(PATIENCE):
            while True:
                now = await self.commander.get(path)
                if now["decided"]["outcome"] not in (None, "released"):
                    raise Refusal("not_released", now["decided"]["why"], "", kind=Kind.CONFLICT)
                posts = now["release"]["posts"] if now["release"] else []
                if posts and all(post["state"] == "posted" for post in posts):
                    break
                await asyncio.sleep(0.02)
        milliseconds = (asyncio.get_running_loop().time() - began) * 1000
        channels = ", ".join(post["channel"] for post in posts)
        self.say("deliver", f"posted on {channels}, {milliseconds:.0f} ms after the tap")

    async def _until(self, holds: Callable[[Json], bool]) -> Json:
        """The incident as the console sees it, once something holds of it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(Refusal):  # not compiled yet
                    detail = await self.pio.get(f"/api/v1/incidents/{self.memory.incident_id}")
                    if holds(detail):
                        return detail
                await asyncio.sleep(0.02)

    def _newest(self, detail: Json) -> str:
        newest: str = detail["releases"][0]["id"]
        return newest


def _ended(detail: Json) -> Json:
    """What the PIO writes when it is over: how it ended and where, and that people may go out."""
    words = detail["suggestion"]["words"]
    words["hazard"] |= {"text": "Gas leak stopped", "origin": "typed", "fact": None}
    words["guidance"] |= {
        "text": "The gas company has closed the line and the air is safe again. You may go "
        "outside. Pierson Blvd is open.",
        "origin": "typed",
    }
    words["time"] |= {"text": "This is the last update about this incident.", "origin": "typed"}
    return detail


@contextlib.asynccontextmanager
async def _receivers(memory: Memory) -> AsyncIterator[list[Receiver]]:
    async with contextlib.AsyncExitStack() as listening:
        receivers = [Receiver(name, memory.webhook_secrets[name]) for name, _, _ in RECEIVERS]
        for receiver in receivers:
            door = await listening.enter_async_context(receiver.listening())
            memory.doors[receiver.name] = door
        yield receivers


def _environment(memory: Memory, receivers: list[Receiver]) -> dict[str, str]:
    """The settings of the started product: the receivers as channels, and CAD's secret."""
    by_name = {receiver.name: receiver for receiver in receivers}
    return {
        "BROADCASTER_INTAKE_SECRETS": json.dumps({"cad": [memory.intake_secret]}),
        "BROADCASTER_CHANNEL_NETWORKS": '["127.0.0.1/32"]',
        "BROADCASTER_CHANNELS": json.dumps([
            {"kind": "webhook", "name": name, "title": title, "url": by_name[name].url,
             "dedupes": dedupes, "secret": memory.webhook_secrets[name]}
            for name, title, dedupes in RECEIVERS
        ]),
    }  # fmt: skip


def _secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _stopped() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _say(who: str, what: str) -> None:
    click.echo(f"{datetime.now().astimezone():%H:%M:%S}  {who:<10} {what}")


def _silent_say(who: str, what: str) -> None:
    """The figures alone are wanted."""
