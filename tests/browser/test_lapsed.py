"""A fact changes while the Commander reads: before and after, and *Keep these words*, at 360 px."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from broadcaster.ledger import approvals
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

COMMANDER = "Lt J. Park"
OLD, NEW = "66000 block of Pierson Blvd", "66100 block of Pierson Blvd"


async def changed(page: Page) -> None:
    """The page says what changed, and what it was."""
    await expect(page.get_by_role("heading", name="No longer as these words say")).to_be_visible()
    await expect(page.locator("#changed del").first).to_have_text(f"− was: “{OLD}”")
    await expect(page.locator("#changed ins").first).to_have_text(f"+ is now: “{NEW}”")


@pytest.mark.parametrize("scripted", [True, False])
async def test_words_are_kept_with_one_tap(stage: Stage, open_as: Open, scripted: bool) -> None:
    incident = stage.report(place=OLD)
    stage.tell(incident)
    submitted = stage.submit(incident)
    page = await open_as(
        COMMANDER, f"/a/{submitted.request.id}", viewport=PHONE, java_script_enabled=scripted
    )
    await expect(page.get_by_role("button", name="Approve EXERCISE: 3 channels")).to_be_visible()
    stage.report(place=NEW)
    if not scripted:
        await page.reload()
    await changed(page)
    await expect(page.locator("#changed")).to_contain_text("Out with the old words: #1, ")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    keep = page.get_by_role("button", name="Keep these words, EXERCISE: 3 channels")
    box = await keep.bounding_box()
    assert box is not None and box["height"] >= 44
    await keep.click()
    await expect(page.locator("#state")).to_contain_text("Released" if scripted else "Received")
    kept = stage.read(lambda tx: approvals.decision_of(tx, submitted.request.id))
    assert kept is not None and kept.decision.keeps


async def test_a_fact_that_changes_under_the_thumb(stage: Stage, open_as: Open) -> None:
    """The tap is refused, and the page shows the newer one."""
    incident = stage.report(place=OLD)
    submitted = stage.submit(incident)
    stage.report(place="66200 block of Pierson Blvd")
    page = await open_as(
        COMMANDER, f"/a/{submitted.request.id}", viewport=PHONE, java_script_enabled=False
    )
    stage.report(place=NEW)
    await page.get_by_role("button", name="Keep these words").click()
    await expect(page.get_by_role("alert")).to_contain_text(f"place: {OLD} is now {NEW}")
    await changed(page)
    assert stage.decisions(incident) == 0


async def test_what_is_out_is_taken_back_in_two_taps(stage: Stage, open_as: Open) -> None:
    """The words are there to read; the second tap posts them, and nobody is asked."""
    incident = stage.report(place=OLD)
    release = stage.tell(incident)
    page = await open_as(COMMANDER, f"/releases/{release.id}", viewport=PHONE)
    await page.get_by_text("Take it back now").click()
    await expect(page.locator("#takes-back")).to_contain_text("We take back our update #1")
    await page.get_by_role("button", name="Take back EXERCISE").click()
    await expect(page.locator("#state")).to_contain_text("Released")
    await expect(page.locator("#state .posts li", has_text="Posted")).to_have_count(3)


async def test_the_pio_sends_it_again_with_the_new_facts(stage: Stage, open_as: Open) -> None:
    incident = stage.report(place=OLD)
    submitted = stage.submit(incident)
    page = await open_as("A. Reyes", f"/incidents/{incident}")
    stage.report(place=NEW)
    again = page.get_by_role("button", name="Send again with the new facts")
    await expect(again).to_be_visible()
    await page.locator(".anew").get_by_role("checkbox").check()
    await again.click()
    await expect(page.locator("#standing")).to_contain_text("waits for")
    [newest, _] = stage.read(lambda tx: approvals.revisions_of(tx, incident))
    assert newest.area == NEW and newest.update_id == submitted.revision.update_id


async def test_no_time_is_left_of_what_is_over(stage: Stage, open_as: Open) -> None:
    submitted = stage.submit(stage.report())
    page = await open_as(COMMANDER, f"/a/{submitted.request.id}", viewport=PHONE)
    await expect(page.locator("#asked")).to_contain_text("You have")
    await asyncio.to_thread(stage.run_out, submitted.request.id)
    await expect(page.locator("#state")).to_contain_text("Expired")
    await expect(page.locator("#asked")).not_to_contain_text("You have")
