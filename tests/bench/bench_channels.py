"""What a channel costs us: our own time per post, the loop's stalls, and the rendering.

Processor time of our own thread, in ms, so that neither the other side nor what else the machine
does counts; where it says so, the time that passed beside it.

Per kind that is spoken to by HTTP: a post through its adapter, and in turn with it, by bare
aiohttp, the very requests that it makes (recorded before), each on a new connection as the
adapter's are. Both ask the same loopback server, in a process of its own, which answers at once as
the platform does. The difference is ours. What an adapter asks only once, as a login, is over
before it counts.

Stalls: a clock that wants to tick each millisecond, and how long the loop at worst had other work
between two ticks while 40 adapters of all these kinds post at once from it; beside it bare aiohttp
with the same requests, and nothing at all, which tells of the machine.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from itertools import cycle, islice
from multiprocessing.connection import Connection
from statistics import median

import aiohttp

from broadcaster.channel import kinds
from broadcaster.delivery import Adapter
from broadcaster.suggestion import TEMPLATES
from broadcaster.system import COLLECT_EVERY
from broadcaster.update import Origin, Phrase, Words, render
from broadcaster.world import Exercise
from tests.adapters.contract import LOOPBACK, HttpFaults
from tests.adapters.ntfy_server import NtfyServer
from tests.adapters.test_bluesky import TestBlueskyFaults
from tests.adapters.test_mastodon import TestMastodonFaults
from tests.adapters.test_matrix import TestMatrixFaults
from tests.adapters.test_ntfy import TOKEN, TOPIC, TestNtfy
from tests.adapters.test_webhook import TestWebhook
from tests.adapters.test_wordpress import TestWordPressFaults
from tests.adapters.test_x import TestXFaults
from tests.bench.figures import Json, keep, tally, timing
from tests.faults.receiver import Receiver, Request, by
from tests.story import EXERCISE

POSTS, WARM_UPS = 200, 20
CHANNELS, ROUNDS = 40, 20
RENDERINGS = 200
TICK = 0.001  #: seconds

#: The other side of each kind, as its own test plays it.
DOUBLES: dict[str, type[HttpFaults]] = {
    "webhook": TestWebhook, "matrix": TestMatrixFaults, "mastodon": TestMastodonFaults,
    "bluesky": TestBlueskyFaults, "wordpress": TestWordPressFaults, "x": TestXFaults,
    "ntfy": TestNtfy,
}  # fmt: skip

Posting = Callable[[], Awaitable[object]]


def double(kind: str) -> HttpFaults:
    made = DOUBLES[kind]()
    if isinstance(made, TestNtfy):
        made.server = NtfyServer(TOPIC, {TOKEN: True})
        made.server.burst = 1_000_000
    return made


# --- The other side ---------------------------------------------------------------------------


async def serve(told: Connection) -> None:
    """Listens for each kind, and tells the ports, until nobody holds the other end any more."""
    async with AsyncExitStack() as stack:
        ports = {}
        for kind in DOUBLES:
            there = await stack.enter_async_context(Receiver(ways=[by(double(kind).well)]))
            ports[kind] = there.port
        told.send(ports)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(told.fileno(), ended.set)
        await ended.wait()


def _serve(told: Connection) -> None:
    asyncio.run(serve(told))


@contextmanager
def served() -> Iterator[dict[str, int]]:
    """The ports of the kinds' servers, which a process of its own plays."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


# --- Who posts --------------------------------------------------------------------------------


def adapter_of(kind: str, port: int) -> Adapter[Exercise]:
    made = double(kind)
    url = made.url(port=port)
    return made.make(url, networks=LOOPBACK, deadline=timedelta(seconds=20))


async def asked(kind: str) -> list[Request]:
    """What an adapter asks for one post, when it has posted before."""
    made = double(kind)
    message = await made.message("Stay inside.")
    async with Receiver(ways=[by(made.well)]) as there:
        adapter = adapter_of(kind, there.port)
        await adapter.send(message)
        before = len(there.heard)
        await adapter.send(message)
        await adapter.close()
        return there.heard[before:]


@asynccontextmanager
async def ours(kind: str, port: int) -> AsyncIterator[Posting]:
    adapter, message = adapter_of(kind, port), await double(kind).message("Stay inside.")

    async def post() -> None:
        await adapter.send(message)

    yield post
    await adapter.close()


@asynccontextmanager
async def bare(kind: str, port: int) -> AsyncIterator[Posting]:
    asks = [
        (each.method, f"http://127.0.0.1:{port}{each.path}", each.body or None,
         {name: value for name, value in each.headers.items()
          if name not in ("host", "content-length", "connection")})
        for each in await asked(kind)
    ]  # fmt: skip
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0)
    ) as session:

        async def post() -> None:
            for method, url, body, headers in asks:
                async with session.request(method, url, data=body, headers=headers) as answer:
                    await answer.read()

        yield post


# --- Our own time per post --------------------------------------------------------------------


async def own_times(ports: dict[str, int]) -> list[Json]:
    rows = []
    for kind, port in ports.items():
        async with ours(kind, port) as post, bare(kind, port) as bare_post:
            took: dict[str, list[float]] = {"ours": [], "bare": []}
            for _ in range(WARM_UPS + POSTS):
                took["ours"].append(await timed(post))
                took["bare"].append(await timed(bare_post))
        with_us, without = (median(took[who][WARM_UPS:]) for who in ("ours", "bare"))
        rows.append(tally("channels", kind, f"a post, p50 of {POSTS}", **{
            "by its adapter, ms": round(with_us, 2), "bare aiohttp, ms": round(without, 2),
            "×": round(with_us / without, 2), "our own, ms": round(with_us - without, 2),
        }))  # fmt: skip
    return rows


async def timed(post: Posting) -> float:
    began = time.thread_time()
    await post()
    return (time.thread_time() - began) * 1000


# --- The loop's stalls ------------------------------------------------------------------------


async def stalls(ports: dict[str, int]) -> list[Json]:
    each_kind = list(islice(cycle(ports.items()), CHANNELS))
    rows = []
    for name, who in (("our adapters", ours), ("bare aiohttp", bare)):
        async with AsyncExitStack() as stack:
            posts = [await stack.enter_async_context(who(kind, port)) for kind, port in each_kind]
            await longest(posts)
            took = [await longest(posts) for _ in range(ROUNDS)]
        rows += stalled(name, "all post at once", took, n=CHANNELS)
    idle = [await longest([lambda: asyncio.sleep(0.1)]) for _ in range(ROUNDS)]
    return [*rows, *stalled("nothing", "0.1 s of it", idle)]


def stalled(
    name: str, what: str, took: Sequence[tuple[float, float]], *, n: int | None = None
) -> list[Json]:
    """The rows of the longest stalls of several rounds."""
    worked, passed = zip(*took, strict=True)
    return [
        timing("channels", name, f"{what}: the loop's longest stall", worked, n=n),
        timing("channels", name, f"{what}: the same, time that passed", passed, n=n),
    ]


async def longest(posts: Sequence[Posting]) -> tuple[float, float]:
    """The longest stall in ms, of processor time and of time, while all of them posted at once."""
    worked = passed = 0.0

    async def ticks() -> None:
        nonlocal worked, passed
        while True:
            began, at = time.thread_time(), time.perf_counter()
            await asyncio.sleep(TICK)
            worked = max(worked, time.thread_time() - began)
            passed = max(passed, time.perf_counter() - at - TICK)

    ticking = asyncio.ensure_future(ticks())
    await asyncio.gather(*(post() for post in posts))
    await asyncio.sleep(TICK)  # the last tick is told, too
    ticking.cancel()
    return worked * 1000, passed * 1000


# --- Rendering --------------------------------------------------------------------------------


def renderings() -> list[Json]:
    """How long it takes to render an update, in ms: for each kind once, and for 40 channels."""
    template = TEMPLATES["GASLEAKO"]
    phrases = {
        "source": "Desert Hot Springs PD", "hazard": template.hazard,
        "place": "66100 block of Pierson Blvd", "guidance": template.guidance,
        "time": "As of 14:02 PST; next update by 14:17.",
    }  # fmt: skip
    words = Words(**{n: Phrase(text=text, origin=Origin.TYPED) for n, text in phrases.items()})
    text, short = " ".join(phrases.values()), f"{template.hazard}, {phrases['place']}. Stay inside."
    once = list(kinds().values())
    many = [
        each.model_copy(update={"name": f"{each.name}{n}"})
        for n, each in enumerate(islice(cycle(once), CHANNELS))
    ]
    rows = []
    for channels in (once, many):
        own = {each.name: short for each in channels if each.kind in ("x", "bluesky")}
        took = []
        for _ in range(RENDERINGS):
            began = time.thread_time()
            rendered = render(EXERCISE, channels, words, text, own)
            took.append((time.thread_time() - began) * 1000)
        assert len(rendered) == len(channels)
        rows.append(timing("channels", "one process", "an update, rendered", took, n=len(channels)))
    return rows


async def measure() -> list[Json]:
    with served() as ports:
        return [*await own_times(ports), *await stalls(ports)]


if __name__ == "__main__":
    gc.freeze()  # as the product does: to look through all that was loaded stops it for 70 ms
    gc.set_threshold(*COLLECT_EVERY)
    keep([*asyncio.run(measure()), *renderings()])
