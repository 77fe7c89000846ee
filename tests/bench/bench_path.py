"""How fast the whole path is, on the embedded default: `make bench`.

A report until its suggestion stands on the PIO's page, an approval until its words stand on the
public page (both as a browser learns of it: an event, then the page again), a month's export
replayed, and what idling costs. Beside the first two, in the same rounds, the least that such a
path can cost: a bare aiohttp server that keeps nothing.

Writes its rows to `figures.json` beside this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.bench.figures import cpu_seconds, figure, keep, memory_mb, timing
from tests.connected.export import write_export
from tests.connected.installation import (
    COMMANDER,
    PIO,
    Embedded,
    Installation,
    Json,
    Person,
    family,
    until,
)

ROUNDS = 40
ROWS = 20_530
IDLE_SECONDS = 20


async def main() -> None:
    rows: list[Json] = []
    async with Embedded.fresh(receivers={"county": True, "school": True}) as at:
        async with bare() as bare_path, Events.of(at, PIO) as events:
            await at.opened()  # so that an incident is open, and every hop quick
            timings: dict[str, list[float]] = {"report": [], "approve": [], "bare": []}
            for _ in range(ROUNDS):
                seen, took = await report_to_suggestion(at, events)
                timings["report"].append(took)
                timings["approve"].append(await approval_to_page(at, events, seen))
                timings["bare"].append(await bare_path())
        names = {
            "report": "report accepted → suggestion on the PIO's page",
            "approve": "approve → on the public page",
            "bare": "bare aiohttp: told, then read (nothing kept)",
        }
        rows += [timing("path", "embedded", names[name], took) for name, took in timings.items()]
    async with Embedded.fresh() as at:
        rows += await idle(at)
        rows += await replay(at)
    async with Embedded.fresh() as at:
        rows += await flood(at)
    keep(rows)
    bare_p50 = next(each["p50_ms"] for each in rows if "bare" in each["subject"])
    for each in rows:
        if "p50_ms" in each and "bare" not in each["subject"]:
            print(f"\n{each['subject']}: {each['p50_ms'] / bare_p50:.0f} × the bare path, p50")


# --- A report, and an approval ----------------------------------------------------------------


async def report_to_suggestion(at: Installation, events: Events) -> tuple[Json, float]:
    """A new incident, and the ms from its 202 until the PIO's page shows the suggested words."""
    accepted = await at.send_report(at.report())
    began = time.perf_counter()
    incident = accepted.body["incident_id"]
    await events.until(f"incident:{incident}")
    page = await (await at.person(PIO)).session.get(
        f"/incidents/{incident}", headers={"Accept": "text/html"}
    )
    text = await page.text()
    took = (time.perf_counter() - began) * 1000
    assert "66100 block of Pierson Blvd" in text, text[:500]
    await at.commanded(incident)
    return await at.suggested(incident), took


async def approval_to_page(at: Installation, events: Events, seen: Json) -> float:
    """The ms from the Commander's tap until the public page holds the approved words."""
    public_id = seen["incident"]["public_id"]
    request = await at.submit(seen)
    phone: Person = await at.person(COMMANDER)
    began = time.perf_counter()
    decided = asyncio.create_task(at.decide(request))
    await events.until(f"public:{public_id}")
    page = await phone.session.get(f"/p/{public_id}", headers={"Accept": "text/html"})
    text = await page.text()
    took = (time.perf_counter() - began) * 1000
    assert "66100 block of Pierson Blvd" in text, text[:500]
    assert (await decided).good
    return took


class Events:
    """What a console's page hears: the names of what has changed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._heard: set[str] = set()
        self._more = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, at: Installation, name: str) -> AsyncIterator[Events]:
        session = (await at.person(name)).session
        async with session.get(
            "/events", headers={"Accept": "text/event-stream"},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as response:  # fmt: skip
            events = cls(response)
            listening = asyncio.create_task(events._listen())
            yield events
            listening.cancel()

    async def until(self, change: str) -> None:
        """Returns once `change` was heard since it was last waited for."""
        async with asyncio.timeout(30):
            while change not in self._heard:
                self._more.clear()
                await self._more.wait()
        self._heard.discard(change)

    async def _listen(self) -> None:
        async for line in self._response.content:
            if line.startswith(b"data:"):
                self._heard |= set(_names(json.loads(line[5:])))
                self._more.set()


def _names(told: object) -> list[str]:
    found = told.get("changed", []) if isinstance(told, dict) else told
    return [str(name) for name in found] if isinstance(found, list) else []


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """A server that keeps one text in memory; the ms to tell it and read it back."""
    kept = {"text": ""}

    async def take(request: web.Request) -> web.Response:
        kept["text"] = await request.text()
        return web.Response(status=202)

    async def give(request: web.Request) -> web.Response:
        return web.Response(text=kept["text"])

    app = web.Application()
    app.add_routes([web.post("/", take), web.get("/", give)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:

        async def once() -> float:
            began = time.perf_counter()
            async with session.post("/", data="Gas leak, 66100 block of Pierson Blvd"):
                pass
            async with session.get("/") as answer:
                await answer.text()
            return (time.perf_counter() - began) * 1000

        yield once
    await runner.cleanup()


# --- A month's export, and nothing at all -----------------------------------------------------


async def replay(at: Installation) -> list[Json]:
    """Rows a second accepted and compiled, and what memory grew by."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "export.csv")
        write_export(file, ROWS)
        before = memory_mb(at.pid("child"))
        code, out, err = await at.run(
            "replay", str(file), "--map", "sapd", "--json", within=300
        )  # fmt: skip
    assert code == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["accepted"] == ROWS, result
    return [
        figure("replay", "embedded", "rows accepted", ROWS / result["accept_seconds"], "rows/s"),
        figure("replay", "embedded", "rows compiled", ROWS / result["seconds"], "rows/s"),
        figure("replay", "embedded", "memory of the child, before", before, "MB"),
        figure(
            "replay", "embedded", "memory of the child, after", memory_mb(at.pid("child")), "MB"
        ),
        figure(
            "replay", "embedded", "memory of the broker, after", memory_mb(at.pid("broker")), "MB"
        ),
    ]


async def flood(at: Installation) -> list[Json]:
    """Approvals while reports come as fast as they are taken (fault matrix, row 27: ≤ 1 s, p95)."""
    waiting = [await at.submit(await at.opened()) for _ in range(ROUNDS)]
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "export.csv")
        write_export(file, ROWS)
        flooding = asyncio.create_task(
            at.run("replay", str(file), "--map", "sapd", "--json", within=300)
        )
        before = (await at.order("status"))["reports"]
        await until("it comes", lambda: more_reports(at, before + 500))
        for request in waiting:
            began = time.perf_counter()
            answer = await at.decide(request)
            took.append((time.perf_counter() - began) * 1000)
            assert answer.good, answer
            await at.release(request)
        assert not flooding.done(), "the flood was over before the last approval"
        code, out, err = await flooding
    assert code == 0, err
    result = json.loads(out.splitlines()[-1])
    return [
        timing("flood", "embedded", "approval recorded, while reports flood in", took),
        figure("flood", "embedded", "approval recorded, while reports flood in, p95",
               sorted(took)[int(len(took) * 0.95)], "ms"),
        figure("flood", "embedded", "reports accepted meanwhile",
               ROWS / result["accept_seconds"], "rows/s"),
    ]  # fmt: skip


async def more_reports(at: Installation, than: int) -> bool:
    counted: int = (await at.order("status"))["reports"]
    return counted > than


async def idle(at: Installation) -> list[Json]:
    """CPU and memory of parent, broker and child while no incident is open."""
    await until("nothing waits", lambda: at.order("idle"))
    await asyncio.sleep(5)  # the last fetch with a short wait has come back by then
    pids = [each.pid for each in family(at.pid("parent"))]
    before = cpu_seconds(pids)
    await asyncio.sleep(IDLE_SECONDS)  # what is measured is that nothing happens in it
    busy = (cpu_seconds(pids) - before) / IDLE_SECONDS * 100
    total = sum(memory_mb(pid) for pid in pids)
    return [
        figure("idle", "embedded", "CPU, all processes", busy, "% of a core"),
        figure("idle", "embedded", "memory, all processes", total, "MB"),
    ]


if __name__ == "__main__":
    asyncio.run(main())
