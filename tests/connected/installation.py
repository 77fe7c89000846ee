"""One whole installation, as an operator has it: on a home of its own, embedded or in production.

Around it what the department has: a CAD system that signs its reports, people at consoles and
phones, and receivers of webhooks (`tests/faults/receiver.py`, programs of their own). All of them
speak to it as the real ones do, and repeat what was not answered with the same ids. Whatever was
started here ends with the block, by its process id.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
from aiokafka import AIOKafkaProducer

from broadcaster import control
from broadcaster.errors import Refusal
from broadcaster.incident import incident_id
from broadcaster.intake import native
from tests.patience import PATIENCE

Json = dict[str, Any]
T = TypeVar("T")

ROOT = Path(__file__).parents[2]
RECEIVER = ROOT / "tests" / "faults" / "receiver.py"

#: The module that is run as `broadcaster`.
PROGRAM = "broadcaster.cli"

PIO, COMMANDER, OTHER, WATCH = "P. Tester", "C. Tester", "O. Tester", "W. Tester"
PEOPLE = {
    PIO: ["pio"], COMMANDER: ["commander"], OTHER: ["commander"], WATCH: ["watch-commander"],
}  # fmt: skip

#: States of a post that changes without a person.
MOVING = ("planned", "waiting", "sending")


async def until(
    what: str, holds: Callable[[], Awaitable[T | None]], within: float = PATIENCE
) -> T:  # fmt: skip
    """What `holds` gives once that is true; fails with `what` if it is not so in time."""
    end = time.monotonic() + within
    while not (found := await holds()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what}; last: {str(found)[:2000]}")
        await asyncio.sleep(0.02)
    return found


# --- Processes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A line of `ps`."""

    pid: int
    parent: int
    command: str


def processes() -> dict[int, Process]:
    """All that live; what has ended and waits to be noticed does not."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found = {}
    for line in listed.stdout.splitlines():
        pid, parent, stat, command = line.split(maxsplit=3)
        if not stat.startswith("Z"):
            found[int(pid)] = Process(int(pid), int(parent), command)
    return found


def family(pid: int) -> list[Process]:
    """A process with all that it and they started."""
    living = processes()
    found = [living[pid]] if pid in living else []
    for each in found:
        found += [other for other in living.values() if other.parent == each.pid]
    return found


async def gone(pids: Sequence[int], within: float = PATIENCE) -> None:
    """Returns once none of them lives."""

    async def none_lives() -> bool:
        return not processes().keys() & set(pids)

    await until(f"processes {pids} end", none_lives, within)


# --- Those around it --------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Json:
        read: Json = json.loads(self.raw)
        return read

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


async def ask(session: aiohttp.ClientSession, method: str, url: str, **more: Any) -> Answer:
    async with session.request(method, url, allow_redirects=False, **more) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, await response.read())


async def insist(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Repeats a call until it is answered, as a CAD system or a phone's page does."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            answer = await call()
            if answer.status < 500 or time.monotonic() > end:
                return answer
        if time.monotonic() > end:
            raise AssertionError(f"not answered within {PATIENCE:g} s")
        await asyncio.sleep(0.1)


@dataclass
class Person:
    """Somebody at a browser or phone: one session, and the calls that those make."""

    id: str
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Answer:
        return await insist(lambda: ask(self.session, "GET", path))

    async def post(self, path: str, body: Json | None = None) -> Answer:
        return await insist(lambda: ask(self.session, "POST", path, json=body or {}))


@dataclass
class Receiver:
    """A receiver of webhooks, in a process of its own, at one port for as long as it is needed."""

    name: str
    dedupes: bool
    log: Path
    secret: str = field(default_factory=lambda: new_secret())
    port: int = 0
    process: subprocess.Popen[str] | None = None
    _control: int = 0

    def start(self, ways: str = "ok") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(RECEIVER), "--secret", self.secret, "--log", str(self.log),
             "--port", str(self.port), "--ways", ways, "--lag", "1",
             "--idempotency", self.idempotency],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.port, self._control = told["port"], told["control"]

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    async def set_ways(self, ways: str) -> None:
        """How it answers from now on; the last way stays."""
        async with aiohttp.ClientSession() as session:
            answer = await ask(session, "PUT", f"http://127.0.0.1:{self._control}/ways", data=ways)
        assert answer.good, answer

    @property
    def idempotency(self) -> str:
        """Its class; only `tests.faults.looking` asks a receiver what it holds."""
        return "A" if self.dedupes else "C" if self.name.startswith("look_") else "D"

    @property
    def setting(self) -> Json:
        return {"kind": "webhook", "name": self.name, "title": self.name.title(),
                "dedupes": self.dedupes, "url": f"http://127.0.0.1:{self.port}/",
                "secret": self.secret}  # fmt: skip

    def lines(self, what: str) -> list[Json]:
        """Its log: each `request`, or each time that it `acted`."""
        read = map(json.loads, self.log.read_text().splitlines())
        return [line for line in read if line["is"] == what]

    def acted(self) -> Counter[str]:
        """How often it acted, by the message's id, in the order of the first time."""
        return Counter(line["id"] for line in self.lines("acted"))


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, message_id: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """The headers that prove who sent a body (Standard Webhooks)."""
    stamp = str(int(at or time.time()))
    text = f"{message_id}.{stamp}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return {"content-type": "application/json", "webhook-id": message_id,
            "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}"}  # fmt: skip


# --- The installation -------------------------------------------------------------------------


@dataclass
class Installation(ABC):
    """What every installation is to those around it; `Embedded` and `Production` say how it runs.

    `environment` holds the settings that a test asked for, by their names in the environment.
    """

    home: Path
    receivers: dict[str, Receiver]
    environment: dict[str, str]
    cad_secret: str = field(default_factory=lambda: new_secret())
    address: str = ""
    broker: str = ""
    people: dict[str, str] = field(default_factory=dict)
    http: aiohttp.ClientSession | None = None
    _open: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _signed_in: dict[str, Person] = field(default_factory=dict)

    # --- start and end ---

    @classmethod
    @contextlib.asynccontextmanager
    async def fresh(
        cls, *, receivers: dict[str, bool] | None = None, start: bool = True, **settings: object
    ) -> AsyncIterator[Self]:
        """One in a new home; `receivers`: by name, whether each is declared to dedupe."""
        with short_folder() as folder:
            at = cls(folder / "home", some_receivers(receivers, folder), environment(settings))
            async with at.lasting(start):
                yield at

    @contextlib.asynccontextmanager
    async def lasting(self, start: bool) -> AsyncIterator[None]:
        """It and its receivers, for as long as the block lasts."""
        try:
            for receiver in self.receivers.values():
                receiver.start()
            if start:
                await self.start()
            yield
        except BaseException:
            print(f"--- the end of the log of {self.home} ---\n{self.log_tail()}")
            raise
        finally:
            await self._open.aclose()
            await self.end()
            for receiver in self.receivers.values():
                receiver.end()

    @abstractmethod
    async def _begin(self) -> None:
        """Starts its processes."""

    @abstractmethod
    async def ready(self) -> None:
        """Returns once its streams run, and its address is known."""

    @abstractmethod
    async def end(self, number: int = signal.SIGTERM, within: float = PATIENCE) -> int:
        """Ends it, and makes sure that nothing which it started is left. Its exit code."""

    @abstractmethod
    async def order(self, name: str, /, **arguments: Any) -> Json:
        """A command of the command line. Raises Refusal."""

    @abstractmethod
    def kill(self, which: str, number: int = signal.SIGKILL) -> int:
        """Sends one of its processes a signal, and gives its process id."""

    @abstractmethod
    def killed(self) -> list[str]:
        """The names of its processes that were killed, each as often as it was, in order."""

    @abstractmethod
    async def laid_open(self) -> Path:
        """Its ledger, in which nothing waits, as a SQLite file of which nobody is the writer."""

    @abstractmethod
    def logs(self) -> list[Path]:
        """What its processes print, over all their starts."""

    @abstractmethod
    def topic(self, name: str) -> str:
        """A topic's name on the broker."""

    def log_tail(self) -> str:
        lines = [(log.name, line) for log in self.logs() if log.exists()
                 for line in log.read_text().splitlines()[-30:]]  # fmt: skip
        return "\n".join(f"{name}: {line}" for name, line in lines)

    def logged(self) -> str:
        """All that its processes printed."""
        return "".join(log.read_text() for log in self.logs() if log.exists())

    def spawn(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        """`broadcaster` with these arguments, on this home."""
        return broadcaster(arguments, self.settings(), **more)

    async def run(self, *arguments: str, within: float = PATIENCE) -> tuple[int, str, str]:
        """Runs a command to its end: its exit code, what it printed, and its errors."""
        process = self.spawn(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL)  # fmt: skip
        try:
            out, err = await asyncio.to_thread(process.communicate, timeout=within)
        finally:
            process.kill()
        return process.returncode, out.decode(), err.decode()

    def settings(self) -> dict[str, str]:
        """The settings of all its processes and commands."""
        return {
            "BROADCASTER_HOME": str(self.home),
            "BROADCASTER_INTAKE_SECRETS": json.dumps({"cad": [self.cad_secret]}),
            "BROADCASTER_CHANNEL_NETWORKS": '["127.0.0.1/32"]',
            "BROADCASTER_CHANNELS": json.dumps([r.setting for r in self.receivers.values()]),
            "BROADCASTER_LOG_FORMAT": "json",
            **self.environment,
        }

    async def start(self) -> None:
        """Starts it, and returns once its streams run and its people are known."""
        await self._begin()
        await self.ready()
        made = await self.order("roster_practice", names=PEOPLE)
        self.people = made["people"]
        if self.http is None:
            self.http = await self._open.enter_async_context(aiohttp.ClientSession(self.address))

    async def restart(self) -> None:
        """Ends it in order and starts it again on the same home."""
        await self.end()
        await self.start()

    async def is_drained(self) -> bool:
        """Whether nothing waits but for a person."""
        waits = await self.order("idle")
        return not any(waits[each] for each in ("reports", "decisions", "posts", "messages"))

    async def drained(self) -> None:
        """Returns once nothing waits but for a person."""
        await until("all is drained", self.is_drained, 2 * PATIENCE)

    # --- CAD ---

    def report(self, **fields: object) -> Json:
        """A gas leak as a CAD system reports it; what a test cares about is given."""
        now = datetime.now(UTC)
        return {
            "version": 1, "id": f"t-{uuid.uuid4()}", "source": "cad",
            "incident_number": f"N-{uuid.uuid4().hex[:12]}", "type": "GASLEAKO",
            "status": "Active", "place": "66123 Pierson Blvd", "latitude": 33.9611,
            "longitude": -116.5017, "priority": 2,
            "opened_at": (now - timedelta(minutes=5)).isoformat(), "reported_at": now.isoformat(),
            **fields,
        }  # fmt: skip

    @staticmethod
    def in_seconds(seconds: float) -> str:
        """A time, as a report writes it."""
        return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()

    @staticmethod
    def id_of(report: Json) -> str:
        """The id that a report has here, whoever asks."""
        return native.parse(json.dumps(report).encode(), now=datetime.now(UTC)).report.id

    @staticmethod
    def incident_of(report: Json) -> str:
        """The id of the incident that a report is about."""
        return incident_id("exercise", report["source"], report["incident_number"])

    async def send_report(self, report: Json, **fields: object) -> Answer:
        """Signs and posts a report, again and again until it is answered."""
        report = {**report, **fields}
        return await self.send_raw(self.bytes_of(report), report["id"])

    @staticmethod
    def bytes_of(report: Json) -> bytes:
        return json.dumps(report).encode()

    async def send_raw(
        self, body: bytes, message_id: str = "raw-1", headers: dict[str, str] | None = None
    ) -> Answer:
        return await insist(lambda: self.send_once(body, message_id, headers))

    async def send_once(
        self, body: bytes, message_id: str, headers: dict[str, str] | None = None
    ) -> Answer:
        """One try of a CAD system to send a report, and what was answered to it."""
        return await ask(
            self._http, "POST", "/api/v1/reports", data=io.BytesIO(body),
            headers=headers or signed(self.cad_secret, message_id, body),
        )  # fmt: skip

    async def produce(
        self, *bodies: bytes, topic: str = "incident.intake", key: bytes = b"cad",
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:  # fmt: skip
        """Writes messages to a topic, as a CAD system with a Kafka client does."""
        producer = AIOKafkaProducer(bootstrap_servers=self.broker, max_request_size=4 * 2**20)
        try:
            await producer.start()
            for body in bodies:
                await producer.send_and_wait(
                    self.topic(topic), body, key=key, headers=list(headers)
                )
        finally:
            await producer.stop()

    @property
    def _http(self) -> aiohttp.ClientSession:
        assert self.http is not None, "it was not started"
        return self.http

    async def get(self, path: str, **headers: str) -> Answer:
        """What a stranger gets."""
        return await ask(self._http, "GET", path, headers=headers)

    # --- people ---

    async def person(self, name: str) -> Person:
        """One of the practice persons, signed in."""
        if name not in self._signed_in:
            session = await self._open.enter_async_context(aiohttp.ClientSession(
                self.address, headers={"X-Broadcaster": "1", "Accept": "application/json"}
            ))  # fmt: skip
            person = Person(self.people[name], session)
            answer = await person.post("/practice", {"person_id": person.id})
            assert answer.good, answer
            self._signed_in[name] = person
        return self._signed_in[name]

    async def incident(self, incident_id: str) -> Json:
        """An incident as the console shows it; empty until it was compiled."""
        answer = await (await self.person(PIO)).get(f"/api/v1/incidents/{incident_id}")
        return answer.body if answer.good else {}

    async def numbered(self, number: str) -> Json | None:
        """The open incident with CAD's number."""
        answer = await (await self.person(PIO)).get("/api/v1/incidents")
        found: list[Json] = answer.body["incidents"]
        return next((each for each in found if each["number"] == number), None)

    async def opened(self, **fields: object) -> Json:
        """Reports an incident, has it commanded, and gives it once an update is suggested."""
        accepted = await self.send_report(self.report(**fields))
        assert accepted.status == 202, accepted
        await self.commanded(accepted.body["incident_id"])
        return await self.suggested(accepted.body["incident_id"])

    async def suggested(self, incident_id: str, why: str = "") -> Json:
        async def there() -> Json | None:
            seen = await self.incident(incident_id)
            return seen if seen.get("suggestion") and why in seen["suggestion"]["why"] else None

        return await until(f"an update is suggested ({why})", there)

    async def commanded(self, incident_id: str, by: str | None = COMMANDER) -> None:
        """Records who commands, as soon as the incident is known."""
        await until("the incident is known", lambda: self.incident(incident_id))
        answer = await (await self.person(PIO)).post(
            f"/api/v1/incidents/{incident_id}/command",
            {"commander_id": self.people[by] if by else None},
        )
        assert answer.good, answer

    def order_of(self, seen: Json, **fields: object) -> Json:
        """What the PIO's page sends: the suggested words, verified, to every channel."""
        words = json.loads(json.dumps(seen["suggestion"]["words"]))
        for phrase in words.values():
            phrase["verified"] = True
        return {"incident_id": seen["incident"]["id"], "kind": "update", "words": words,
                "channels": ["public_page", *self.receivers], "replaces": [], "attested": True,
                **fields}  # fmt: skip

    async def submit(self, seen: Json, **fields: object) -> Json:
        """Submits, and gives the request. Told that one is open, a console finds its own."""
        incident_id = seen["incident"]["id"]
        pio = await self.person(PIO)
        answer = await pio.post(
            f"/api/v1/incidents/{incident_id}/revisions", self.order_of(seen, **fields)
        )
        if answer.status == 409 and answer.body["code"] == "request_open":
            requests = (await self.incident(incident_id))["requests"]
            found: Json = next(each for each in requests if each["state"] == "open")
            return found
        assert answer.status == 201, answer
        request: Json = answer.body["request"]
        return request

    async def decide(
        self, request: Json, verdict: str = "approved", *, by: str = COMMANDER,
        reason: str | None = None, key: str | None = None, keeps: str | None = None,
    ) -> Answer:  # fmt: skip
        """A phone's tap: repeated under one key until it is answered."""
        key = key or str(uuid.uuid4())
        return await insist(
            lambda: self.tap(request, verdict, by=by, reason=reason, key=key, keeps=keeps)
        )

    async def tap(
        self, request: Json, verdict: str, *, by: str = COMMANDER, reason: str | None = None,
        key: str, keeps: str | None = None,
    ) -> Answer:  # fmt: skip
        """One try of a phone to tell a decision, and what was answered to it."""
        phone = await self.person(by)
        return await ask(
            phone.session, "POST", f"/api/v1/approval-requests/{request['id']}/decision",
            json={"request_id": request["id"], "verdict": verdict, "digest": request["digest"],
                  "revision_id": request["revision_id"], "reason": reason, "idempotency_key": key,
                  "keeps": keeps},
        )  # fmt: skip

    async def request(self, request_id: str) -> Json:
        """An approval request as the Commander's page shows it."""
        answer = await (await self.person(COMMANDER)).get(f"/api/v1/approval-requests/{request_id}")
        assert answer.good, answer
        return answer.body

    async def approved(self, seen: Json, **fields: object) -> Json:
        """Submits and approves; gives the request as soon as the gate released it."""
        request = await self.submit(seen, **fields)
        answer = await self.decide(request)
        assert answer.good, answer
        await self.release(request)
        return request

    async def release(self, request: Json) -> Json:
        """The release that the gate made of a request."""

        async def there() -> Json | None:
            found: Json | None = (await self.request(request["id"]))["release"]
            return found

        return await until("the gate released it", there)

    async def posts(self, request: Json) -> dict[str, Json]:
        """A release's posts by channel."""
        return {post["channel"]: post for post in (await self.release(request))["posts"]}

    async def settled(self, request: Json, *channels: str) -> dict[str, Json]:
        """The posts by channel, once those named (else all) go on no more by themselves."""

        async def there() -> dict[str, Json] | None:
            posts = await self.posts(request)
            moving = [each for each in channels or posts if posts[each]["state"] in MOVING]
            return None if moving else posts

        return await until(f"{channels or 'all'} settled", there, 2 * PATIENCE)

    async def feed(self) -> list[Json]:
        """What the public reads, newest first."""
        answer = await (await self.person(PIO)).get("/p/feed.json")
        assert answer.good, answer
        items: list[Json] = answer.body["items"]
        return items


# --- The embedded default ---------------------------------------------------------------------


@dataclass
class Embedded(Installation):
    """`broadcaster up`: a parent that keeps the broker and one child alive."""

    process: subprocess.Popen[bytes] | None = None
    _started: set[int] = field(default_factory=set)

    @property
    def log(self) -> Path:
        """What `broadcaster up` printed, over all its starts."""
        return self.home.parent / "up.log"

    def logs(self) -> list[Path]:
        return [self.log]

    def topic(self, name: str) -> str:
        return f"exercise.{name}"

    async def _begin(self) -> None:
        with self.log.open("ab") as log:
            self.process = self.spawn("up", stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                      start_new_session=True)  # fmt: skip
        self._started.add(self.process.pid)

    async def ready(self) -> None:
        async def streams_run() -> Json | None:
            assert self.process is None or self.process.poll() is None, "it ended"
            with contextlib.suppress(Refusal):
                status = await self.order("status")
                return status if status["streams"] == "run" else None
            return None

        status = await until("the streams run", streams_run)
        self.address, self.broker = status["address"], status["broker"]
        self._started |= {each.pid for each in family(self._pid)}

    async def streams_restarted(self) -> None:
        """Returns once the streams stood still, and run again."""

        async def still() -> bool:
            with contextlib.suppress(Refusal):
                return bool((await self.order("status"))["streams"] != "run")
            return False

        await until("the streams stand still", still)
        await self.ready()

    async def order(self, name: str, /, **arguments: Any) -> Json:
        """A command, through the socket. Raises Refusal."""

        async def nothing(line: Json) -> None:
            """Nobody watches."""

        return await control.ask(self.home / "control.sock", name, arguments, nothing)

    async def laid_open(self) -> Path:
        await self.end()
        return self.home / "ledger.db"

    async def end(self, number: int = signal.SIGTERM, within: float = PATIENCE) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        with contextlib.suppress(ProcessLookupError):
            self._started |= {each.pid for each in family(process.pid)}
            process.send_signal(number)
        try:
            code = await asyncio.to_thread(process.wait, within)
            await gone(sorted(self._started), within)
            return code
        finally:
            for pid in self._started & processes().keys():
                os.kill(pid, signal.SIGKILL)
            process.wait()
            self._started.clear()

    # --- its processes ---

    @property
    def _pid(self) -> int:
        assert self.process is not None, "it was not started"
        return self.process.pid

    def pid(self, which: str) -> int:
        """The process id of its `parent`, `child` or `broker`."""
        if which == "parent":
            return self._pid
        sign = {"child": "--child", "broker": "tansu broker"}[which]
        found = [each.pid for each in family(self._pid)[1:] if sign in each.command]
        assert len(found) == 1, f"one {which} of {family(self._pid)}"
        self._started.add(found[0])
        return found[0]

    def kill(self, which: str, number: int = signal.SIGKILL) -> int:
        pid = self.pid(which)
        os.kill(pid, number)
        return pid

    def killed(self) -> list[str]:
        return ["child"] * (self.logged().count('"event": "listens"') - 1)


def some_receivers(dedupe: dict[str, bool] | None, folder: Path) -> dict[str, Receiver]:
    """Receivers by name, not yet started."""
    return {name: Receiver(name, dedupes, folder / f"{name}.log")
            for name, dedupes in (dedupe or {}).items()}  # fmt: skip


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings by their names in the environment."""
    return {f"BROADCASTER_{name.upper()}": str(value) for name, value in settings.items()}


def broadcaster(
    arguments: Sequence[str], settings: Mapping[str, str], program: str = PROGRAM, **more: Any
) -> subprocess.Popen[bytes]:
    """Starts `broadcaster` with these arguments and no settings but these."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("BROADCASTER_")}
    return subprocess.Popen(
        [sys.executable, "-m", program, *arguments], cwd=ROOT, env={**others, **settings},
        **more,
    )  # fmt: skip


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="b-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
