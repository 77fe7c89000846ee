"""Who receives, and who else sends to them: the same for every bench of delivery.

The peers have the settings that serve them best here. Bare aiohttp sends all at once, and nothing
else. Apprise sends by `async_notify`. Alertmanager (Debian's) has a route for each receiver, so
that none waits for another; each update is a group of its own, sent without waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import apprise

from streams.embedded import free_port
from tests.connected.installation import COMMANDER, Installation, new_secret, until

ANSWERS_AFTER = 0.05
RECEIVER = Path(__file__).with_name("receiver.py")

BARE, APPRISE, ALERTMANAGER = "bare aiohttp", "Apprise", "Alertmanager"

#: Debian's program; `scripts/bench-deps` installs it.
PROGRAM = shutil.which("prometheus-alertmanager")

#: Seconds after which bare aiohttp gives a receiver up, as our channels do.
GIVEN_UP_AFTER = 13

TEXT = "Gas leak, 66100 block of Pierson Blvd. " * 5


# --- Who receives -----------------------------------------------------------------------------


def channel(number: int) -> str:
    return f"receiver_{number}"


@dataclass(frozen=True)
class Arrival:
    """A request that has arrived whole at a receiver."""

    channel: str
    at: float  #: time.monotonic
    number: int  #: the update's; -1: it has none
    id: str  #: the message's, the same on each try; "-": it has none
    what: str  #: "acted", "refused", "early"


@dataclass
class Receivers:
    """The receivers' process, what it says, and what it is told."""

    process: asyncio.subprocess.Process
    port: int
    arrived: list[Arrival] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator[Receivers]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(RECEIVER), str(ANSWERS_AFTER),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        receivers = cls(process, int(await process.stdout.readline()))
        listening = asyncio.create_task(receivers._listen(process.stdout))
        try:
            yield receivers
        finally:
            listening.cancel()
            process.kill()
            await process.wait()

    async def _listen(self, said: asyncio.StreamReader) -> None:
        while line := (await said.readline()).decode():
            path, at, number, message_id, what = line.split()
            self.arrived.append(Arrival(
                path[1:], float(at), -1 if number == "-" else int(number), message_id, what
            ))  # fmt: skip
            self._news.set()

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port}/{channel(number)}"

    def settings(self, n: int, *, dedupes: bool = False) -> dict[str, str]:
        """An installation's, for n of them."""
        hooks = [{"kind": "webhook", "name": channel(number), "title": f"Receiver {number}",
                  "secret": new_secret(), "url": self.url(number), "dedupes": dedupes}
                 for number in range(n)]  # fmt: skip
        return {"channels": json.dumps(hooks)}

    async def told(self, path: str, way: str) -> None:
        """Has a path (`*`: the whole process) behave in one of the ways of `receiver.py`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{path} {way}\n".encode())
        await self.process.stdin.drain()

    async def each(self, n: int, way: str) -> None:
        for number in range(n):
            await self.told(f"/{channel(number)}", way)

    async def come(self, so: Callable[[], bool], within: float) -> bool:
        """Whether what is waited for of the arrivals came in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not so():
                    self._news.clear()
                    await self._news.wait()
        return so()


# --- Who sends --------------------------------------------------------------------------------


async def nothing() -> None:
    """For a sender that needs nothing more."""


async def nobody() -> set[tuple[str, int]]:
    """For a sender that asks nobody."""
    return set()


@dataclass
class Sender:
    """Tells all receivers an update, by its number.

    `ready`: does, when all have it, what it needs to tell the next. `kill` ends its process as
    a crash does, and returns once it has begun again. `asked`: the channel and update of each post
    of which a person is asked whether it is there.
    """

    tell: Callable[[int], Awaitable[None]]
    ready: Callable[[], Awaitable[None]] = nothing
    kill: Callable[[], Awaitable[None]] = nothing
    asked: Callable[[], Awaitable[set[tuple[str, int]]]] = nobody
    began: dict[int, float] = field(default_factory=dict)  #: when the last tap or call began


Subject = Callable[[Receivers, int], AbstractAsyncContextManager[Sender]]


def words(number: int) -> str:
    return f"{TEXT}Bulletin {number}."


@contextlib.asynccontextmanager
async def bare(to: Receivers, n: int) -> AsyncIterator[Sender]:
    """A session for each fan-out: minutes lie between two, and no kept connection lives so long."""
    limit = aiohttp.ClientTimeout(total=GIVEN_UP_AFTER)

    async def one(session: aiohttp.ClientSession, number: int, body: bytes) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with session.post(to.url(number), data=body) as answer:
                await answer.read()

    async def tell(update: int) -> None:
        sender.began[update] = time.monotonic()
        body = json.dumps({"text": words(update)}).encode()
        async with aiohttp.ClientSession(timeout=limit) as session:
            await asyncio.gather(*(one(session, number, body) for number in range(n)))

    sender = Sender(tell)
    yield sender


def with_apprise(options: str = "") -> Subject:
    """`options`: of each address, as `?retry=3`."""

    @contextlib.asynccontextmanager
    async def subject(to: Receivers, n: int) -> AsyncIterator[Sender]:
        told = apprise.Apprise()
        for number in range(n):
            told.add(to.url(number).replace("http://", "json://") + options)

        async def tell(update: int) -> None:
            sender.began[update] = time.monotonic()
            await told.async_notify(body=words(update))

        sender = Sender(tell)
        yield sender

    return subject


def alertmanager(*, group_interval: str = "5m", again: bool = False) -> Subject:
    """`group_interval`: after it a send that failed is tried again, and what it gives a send.

    `again`: what was told is told again after each start, as Prometheus does.
    """

    @contextlib.asynccontextmanager
    async def subject(to: Receivers, n: int) -> AsyncIterator[Sender]:
        names = [channel(number) for number in range(n)]
        config = {
            "route": {
                "receiver": names[0], "group_by": ["..."], "group_wait": "0s",
                "group_interval": group_interval, "repeat_interval": "24h",
                "routes": [{"receiver": name, "continue": True} for name in names],
            },
            "receivers": [
                {"name": name,
                 "webhook_configs": [{"url": to.url(number), "send_resolved": False}]}
                for number, name in enumerate(names)
            ],
        }  # fmt: skip
        address = f"http://127.0.0.1:{free_port()}"
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.yml").write_text(json.dumps(config))  # YAML holds JSON
            process: asyncio.subprocess.Process
            accepted: set[int] = set()
            async with aiohttp.ClientSession() as session:

                async def up() -> bool:
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        async with session.get(f"{address}/-/ready") as answer:
                            return answer.status == 200
                    return False

                async def start() -> None:
                    nonlocal process
                    process = await asyncio.create_subprocess_exec(
                        PROGRAM or "", f"--config.file={folder}/config.yml",
                        f"--storage.path={folder}/data", "--cluster.listen-address=",
                        f"--web.listen-address={address.removeprefix('http://')}",
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    )  # fmt: skip
                    await until("Alertmanager is up", up)

                async def end() -> None:
                    process.kill()
                    await process.wait()

                async def post(update: int) -> None:
                    ends_at = datetime.now(UTC) + timedelta(hours=2)
                    alert = {"labels": {"alertname": "GASLEAKO", "update": str(update)},
                             "annotations": {"text": words(update)},
                             "endsAt": ends_at.isoformat()}  # fmt: skip
                    while True:
                        with contextlib.suppress(aiohttp.ClientError, OSError):
                            async with session.post(f"{address}/api/v2/alerts", json=[alert]) as a:
                                if a.status == 200:
                                    accepted.add(update)
                                    return
                        await asyncio.sleep(0.02)

                async def tell(update: int) -> None:
                    sender.began[update] = time.monotonic()
                    await post(update)

                async def kill() -> None:
                    await end()
                    await start()
                    if again:
                        for update in sorted(accepted):
                            await post(update)

                await start()
                sender = Sender(tell, kill=kill)
                try:
                    yield sender
                finally:
                    await end()

    return subject


@contextlib.asynccontextmanager
async def releasing(
    installation: AbstractAsyncContextManager[Installation], n: int, *, ahead: bool = False
) -> AsyncIterator[Sender]:
    """Updates of one incident, submitted and approved one after the other.

    `ahead`: each is submitted before its turn, and the one before is settled by then.
    """
    async with installation as at:
        await at.person(COMMANDER)
        seen = await at.opened()
        channels = [channel(number) for number in range(n)]
        requests = []
        turn = asyncio.Lock()

        async def submit(update: int) -> None:
            order = at.order_of(seen)
            order["words"]["guidance"].update(text=f"Stay away. Bulletin {update}.")
            requests.append(await at.submit(seen, channels=channels, words=order["words"]))

        async def tell(update: int) -> None:
            async with turn:
                if not ahead:
                    await submit(update)
                sender.began[update] = time.monotonic()
                answer = await at.decide(requests[-1])
                assert answer.good, answer

        async def ready() -> None:
            posts = await at.settled(requests[-1])
            assert {post["state"] for post in posts.values()} == {"posted"}, posts
            await submit(len(requests))
            await at.drained()

        async def kill() -> None:
            at.kill("child")
            await at.ready()

        async def asked() -> set[tuple[str, int]]:
            return {(name, update) for update, request in enumerate(requests)
                    for name, post in (await at.posts(request)).items()
                    if post["state"] == "in doubt"}  # fmt: skip

        sender = Sender(tell, ready, kill, asked)
        if ahead:
            await submit(0)
        yield sender


# --- How fast ---------------------------------------------------------------------------------


async def last_of(to: Receivers, n: int, sender: Sender, update: int) -> float:
    """The ms from the start of a fan-out until the last of n has it, each of them once."""
    to.arrived.clear()
    began = time.monotonic()
    sending = asyncio.create_task(sender.tell(update))
    assert await to.come(lambda: len(to.arrived) >= n, 60), f"{len(to.arrived)} of {n} have it"
    await sending
    arrived = {each.channel: each.at for each in to.arrived}
    assert len(arrived) == len(to.arrived) == n, "somebody has it twice"
    await sender.ready()
    return (max(arrived.values()) - began) * 1000
