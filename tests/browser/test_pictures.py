"""The README's pictures, of the same pages that the other tests act on.

They are written only when BROADCASTER_PICTURES=1, so that a test run leaves the checkout as it
was; otherwise this proves that they can be made.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from playwright.async_api import Page, expect

from broadcaster.approval import Verdict
from broadcaster.handover import offer_command, record_command
from broadcaster.ledger import incidents
from tests.browser.conftest import DESK, PHONE, Open
from tests.browser.stage import Stage

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
GUIDANCE = (
    "Stay inside. Close doors and windows. Do not use switches or lighters. "
    "If you smell gas, leave on foot and call 911 from outside."
)


async def test_pictures(stage: Stage, open_as: Open, tmp_path: Path) -> None:
    folder = PICTURES if os.environ.get("BROADCASTER_PICTURES") == "1" else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    gas = stage.report(place="66000 block of Pierson Blvd", ago=timedelta(minutes=24))
    stage.tell(gas)
    ortiz, reyes = stage.people["Sgt M. Ortiz"], stage.people["A. Reyes"]
    stage.write(lambda tx: record_command(tx, gas, ortiz.id, reyes))
    stage.report(place="66100 block of Pierson Blvd")
    waiting = stage.submit(gas, guidance=GUIDANCE)
    collision = stage.report("2026-004415", type_="MVAINJY", place="Hacienda Ave and Palm Dr")
    stage.decide(stage.submit(collision), Verdict.RETURNED, reason="Say which lanes are closed.")
    wires = stage.report("2026-004420", type_="WIRES", place="Palm Dr and Two Bunch Palms Trl")
    stage.report("2026-004421", type_="BARICADE", place="12800 block of West Dr")
    public_id = stage.read(lambda tx: incidents.get(tx, gas)).public_id

    async def picture(name: str, page: Page, ready: str) -> None:
        await expect(page.locator("body")).to_contain_text(ready)
        path = folder / f"{name}.png"
        await page.screenshot(path=path, animations="disabled")
        assert 10_000 < path.stat().st_size < 250_000

    await picture("board", await open_as("A. Reyes", "/"), "Waiting for Sgt M. Ortiz")
    await picture("incident", await open_as("A. Reyes", f"/incidents/{wires}"), "Write update #1")
    phone = {"viewport": PHONE, "device_scale_factor": 2}
    page = await open_as("Sgt M. Ortiz", f"/a/{waiting.request.id}", **phone)
    await picture("approval", page, "Approve EXERCISE: 3 channels")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#state .state.good")).to_have_count(3)
    await picture("released", page, "Released")
    await picture("record", await open_as("K. Lindqvist", "/record"), "The chain verifies")
    public = await open_as("A. Reyes", f"/p/{public_id}", viewport=DESK)
    await picture("public", public, "66100 block of Pierson Blvd")


async def test_pictures_of_the_gate(stage: Stage, open_as: Open, tmp_path: Path) -> None:
    """What a Commander may do beside approving, and who may do what at all."""
    folder = PICTURES if os.environ.get("BROADCASTER_PICTURES") == "1" else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    ortiz, reyes = stage.people["Sgt M. Ortiz"], stage.people["A. Reyes"]
    phone = {"viewport": PHONE, "device_scale_factor": 2}

    async def picture(name: str, page: Page, ready: str) -> None:
        await expect(page.locator("body")).to_contain_text(ready)
        path = folder / f"{name}.png"
        await page.screenshot(path=path, animations="disabled")
        assert 10_000 < path.stat().st_size < 250_000

    def waiting(number: str, place: str) -> tuple[str, str]:
        incident = stage.report(number, place=place)
        stage.write(lambda tx: record_command(tx, incident, ortiz.id, reyes))
        return incident, f"/a/{stage.submit(incident, guidance=GUIDANCE).request.id}"

    _, moved = waiting("2026-004417", "66000 block of Pierson Blvd")
    stage.report("2026-004417", place="66100 block of Pierson Blvd")
    await picture("keep", await open_as("Sgt M. Ortiz", moved, **phone), "Keep these words")
    _, edited = waiting("2026-004418", "12800 block of West Dr")
    page = await open_as("Sgt M. Ortiz", edited, **phone)
    await page.get_by_text("Edit the words, or leave out a channel").click()
    await page.locator("#text_0").scroll_into_view_if_needed()
    await picture("edit", page, "Show me the edit")
    taken, offered = waiting("2026-004419", "Palm Dr and Two Bunch Palms Trl")
    watch = stage.people["Lt J. Park"]
    stage.write(lambda tx: offer_command(tx, taken, watch.id, ortiz))
    await picture("take-command", await open_as("Lt J. Park", offered, **phone), "Take command")
    await picture(
        "people", await open_as("Lt J. Park", "/people", viewport=DESK), "Who may do what"
    )
    await picture("calls", await open_as("Sgt M. Ortiz", "/me", **phone), "How are you called")
