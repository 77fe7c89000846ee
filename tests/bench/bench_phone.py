"""How fast an approval is on a phone with a bad line: `make bench`.

Chromium at 360 px with its CPU four times slower and 400 ms on every request, on the embedded
default: from the tap on a notification, with a session that has lapsed, until *Released* stands on
the page. The thumb is scripted: it waits half a second before each tap, reads nothing, and the
phone's own prompt is answered at once, by Chromium's virtual authenticator. Beside it what the desk
alone takes: 50 answers at once, and a decision until its release.

Writes its rows to `figures.json` beside this file.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from statistics import median, quantiles

from playwright.async_api import BrowserContext, Page, Response

from tests.bench.figures import figure, keep, timing
from tests.connected.installation import COMMANDER, Embedded, Json
from tests.connected.phone import CHROMIUM, a_phone, enrolled, make_a_passkey

ROUNDS = 20
ANSWERS = 50
SLOWER = 4
ROUND_TRIP_MS = 400
THUMB_S = 0.5
CAPTAIN = "Capt M. Ruiz"
SETUP = "phone, embedded"

LAPSED = "notification, session lapsed → Released"
USABLE = "approval page: opened → usable"
RECEIVED = "tap → received, as the phone shows it"
RELEASED = "decision → release"


async def main() -> None:
    if not CHROMIUM.exists():
        sys.exit(f"There is no Chromium at {CHROMIUM}.")
    async with Embedded.fresh() as at:
        times, weight = await on_the_phone(at)
        slowest, releases, answers = await at_once(at)
        times[RELEASED] = await until_released(at)
    p95 = quantiles(times[RECEIVED], n=20, method="inclusive")[18]
    keep([
        *(timing("phone", SETUP, name, took) for name, took in times.items()),
        figure("phone", SETUP, f"{RECEIVED}, p95", p95, "ms"),
        figure("phone", SETUP, "approval page, all of it, gzipped", weight / 1000, "KB"),
        figure("phone", SETUP, f"{ANSWERS} answers at once: the slowest", slowest * 1000, "ms"),
        figure("phone", SETUP, f"{ANSWERS} answers at once: releases", releases, "release"),
    ])  # fmt: skip
    print(f"\n{ANSWERS} answers at once were answered: {dict(answers)}")
    print("\n| what | measured | aim | |\n| --- | --- | --- | --- |")
    for what, measured, aim, unit in (
        (f"{LAPSED}, the slowest", max(times[LAPSED]) / 1000, 10, "s"),
        (f"{USABLE}, the slowest", max(times[USABLE]) / 1000, 2, "s"),
        (f"{RECEIVED}, p95", p95 / 1000, 1, "s"),
        ("approval page, all of it, gzipped", weight / 1000, 30, "KB"),
        (f"{ANSWERS} answers at once, the slowest", slowest, 2, "s"),
        (f"{ANSWERS} answers at once, releases", releases, 1, ""),
        (f"{RELEASED}, p50", median(times[RELEASED]), 50, "ms"),
    ):
        verdict = "met" if measured <= aim else "missed"
        print(f"| {what} | {measured:.2f} {unit} | ≤ {aim} {unit} | {verdict} |")


# --- The phone --------------------------------------------------------------------------------


async def on_the_phone(at: Embedded) -> tuple[dict[str, list[float]], int]:
    """The times by what was timed, in ms, and what the page weighs, in bytes."""
    link = await enrolled(at, CAPTAIN)
    times: dict[str, list[float]] = {name: [] for name in (LAPSED, USABLE, RECEIVED)}
    async with a_slow_phone(at) as (phone, page):
        await make_a_passkey(page, link, CAPTAIN)
        weight = await weighed(phone, f"/a/{(await waiting(at))['id']}")
        for _ in range(ROUNDS):
            path = f"/a/{(await waiting(at))['id']}"
            await phone.clear_cookies()
            times[LAPSED].append(await lapsed(page, path))
            path = f"/a/{(await waiting(at))['id']}"
            usable, received = await signed_in(page, path)
            times[USABLE].append(usable)
            times[RECEIVED].append(received)
    return times, weight


@asynccontextmanager
async def a_slow_phone(at: Embedded) -> AsyncIterator[tuple[BrowserContext, Page]]:
    async with a_phone(at) as (page, session):
        await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        await session.send("Network.enable")
        await session.send("Network.emulateNetworkConditions", {
            "offline": False, "latency": ROUND_TRIP_MS, "downloadThroughput": -1,
            "uploadThroughput": -1,
        })  # fmt: skip
        yield page.context, page


async def waiting(at: Embedded) -> Json:
    """A new incident's first update, which waits for the captain."""
    accepted = await at.send_report(at.report())
    await at.commanded(accepted.body["incident_id"], by=CAPTAIN)
    return await at.submit(await at.suggested(accepted.body["incident_id"]))


async def thumb(page: Page, name: str) -> None:
    await asyncio.sleep(THUMB_S)  # what is simulated is a thumb on its way
    await page.get_by_role("button", name=name).tap()


async def lapsed(page: Page, path: str) -> float:
    """From the tap on a notification to *Released*, signing in on the way."""
    began = time.perf_counter()
    await page.goto(path, wait_until="commit")
    await thumb(page, "Sign in with your passkey")
    await page.locator("#decide").wait_for()
    await thumb(page, "Approve EXERCISE")
    await page.locator("#state", has_text="Released").wait_for()
    return (time.perf_counter() - began) * 1000


async def signed_in(page: Page, path: str) -> tuple[float, float]:
    """Until the button can be tapped, its script included; and from the tap to the receipt."""
    began = time.perf_counter()
    await page.goto(path, wait_until="load")
    await page.get_by_role("button", name="Approve EXERCISE").wait_for()
    usable = (time.perf_counter() - began) * 1000
    await asyncio.sleep(THUMB_S)
    began = time.perf_counter()
    await page.get_by_role("button", name="Approve EXERCISE").tap()
    await page.locator("#state", has_text="Received").wait_for()
    return usable, (time.perf_counter() - began) * 1000


async def weighed(phone: BrowserContext, path: str) -> int:
    """Bytes of all that the page loads the first time, each gzipped."""
    page = await phone.new_page()
    session = await phone.new_cdp_session(page)
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    loaded: list[Response] = []

    def keep_it(response: Response) -> None:
        loaded.append(response)

    page.on("response", keep_it)
    await page.goto(path, wait_until="load")
    bodies = [await each.body() for each in loaded if "/events" not in each.url and each.ok]
    await page.close()
    return sum(len(gzip.compress(body)) for body in bodies)


# --- The desk alone ---------------------------------------------------------------------------


async def at_once(at: Embedded) -> tuple[float, int, Counter[int]]:
    """Fifty answers at once, half under one key: the slowest in s, releases, and statuses."""
    seen = await at.opened()
    request = await at.submit(seen)
    keys = [str(uuid.uuid4()) for _ in range(ANSWERS // 2)]
    keys += [keys[0]] * (ANSWERS - len(keys))
    await at.person(COMMANDER)

    async def once(key: str) -> tuple[int, float]:
        began = time.perf_counter()
        answer = await at.tap(request, "approved", key=key)
        return answer.status, time.perf_counter() - began

    answers = await asyncio.gather(*map(once, keys))
    await at.release(request)
    incident = await at.incident(seen["incident"]["id"])
    return max(took for _, took in answers), len(incident["releases"]), Counter(
        status for status, _ in answers
    )  # fmt: skip


async def until_released(at: Embedded) -> list[float]:
    """From a decision's time to its release's, by the ledger's clock, in ms."""
    took = []
    for _ in range(2 * ROUNDS):
        request = await at.approved(await at.opened())
        shown = await at.request(request["id"])
        decided = datetime.fromisoformat(shown["decided"]["decision"]["at"])
        released = datetime.fromisoformat(shown["release"]["released_at"])
        took.append((released - decided).total_seconds() * 1000)
    return took


if __name__ == "__main__":
    asyncio.run(main())
