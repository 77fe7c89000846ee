"""The newcomer's tour, with and without JavaScript: from a report to a public post."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.stage import Stage

LEDGERS = ["sqlite", "postgres"]


async def go_on_as(page: Page, name: str) -> None:
    """By the band at the top, as the README tells it."""
    await page.locator("#you summary").click()
    await page.get_by_role("button", name=name).click()
    await expect(page.locator("#you summary")).to_contain_text(name)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_tour(stage: Stage, open_as: Open, scripts: bool) -> None:
    page = await open_as(None, "/", java_script_enabled=scripts)
    await page.get_by_role("button", name="A. Reyes").click()
    await expect(page).to_have_title("EXERCISE · Board · Desert Hot Springs PD")

    # A person's report puts an incident on the board, its exact address made coarser.
    await page.get_by_text("Enter a report").click()
    await page.get_by_label("What", exact=True).select_option("Gas leak outside")
    await page.get_by_label("Where").fill("66142 Pierson Blvd")
    await page.get_by_role("button", name="Enter EXERCISE report").click()
    await (
        page.get_by_role("link", name="incident", exact=False)
        .or_(page.get_by_role("link", name="Look for it"))
        .first.click()
    )
    await expect(page.locator("h1")).to_have_text(
        "EXERCISE Gas leak outside 66100 block of Pierson Blvd"
    )

    # The PIO records who commands, and sends the suggested words.
    await page.get_by_text("Who commands: hand over, or record").click()
    await page.get_by_label("Record who commands from now on").select_option(
        "Sgt M. Ortiz, Incident Commander"
    )
    await page.get_by_role("button", name="Record it").click()
    await page.get_by_role("checkbox", name="Where: verified").check()
    await page.get_by_role("checkbox", name="I state that these words endanger").check()
    await page.get_by_role("button", name="Send EXERCISE to Sgt M. Ortiz for approval").click()
    await expect(page.locator("#standing h2")).to_contain_text("Update #1 waits for Sgt M. Ortiz")

    # The Commander finds it first on the board, reads, and approves with one tap.
    await go_on_as(page, "Sgt M. Ortiz")
    await page.goto("/")
    await page.get_by_role("link", name="Read and decide EXERCISE").click()
    await expect(page.get_by_role("heading", name="First update of this incident")).to_be_visible()
    await expect(page.locator(".words")).to_contain_text(
        "EXERCISE, NOT REAL. Desert Hot Springs PD: Gas leak"
    )
    await page.get_by_role("button", name="Approve EXERCISE: 3 channels").click()
    await _until_posted(page, scripts)
    await expect(page.locator("#state")).to_contain_text("Received")

    # The release, the public page and the record say the same.
    await page.get_by_role("link", name="Channel by channel").click()
    await expect(page.locator(".release .row")).to_have_count(3)
    await page.get_by_role("link", name="See the proof (Public page)").click()
    await expect(page.locator("main")).to_contain_text("66100 block of Pierson Blvd")
    await page.goto("/record")
    await expect(page.locator("#verdict")).to_contain_text("The chain verifies")
    await expect(page.locator("#entries")).to_contain_text("Released update #1 to 3 channels")


async def _until_posted(page: Page, scripts: bool) -> None:
    """Live where there are scripts; by reloading, as one does, where there are none."""
    posted = page.locator("#state .state.good")
    if scripts:
        return await expect(posted).to_have_count(3)
    for _ in range(20):
        if await posted.count() == 3:
            return
        await page.reload()
    raise AssertionError("it was not posted")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_returned_words_come_back_with_the_note(
    stage: Stage, open_as: Open, scripts: bool
) -> None:
    incident = stage.report()
    submitted = stage.submit(incident)
    page = await open_as("Lt J. Park", f"/a/{submitted.request.id}", java_script_enabled=scripts)

    await page.get_by_text("Return", exact=True).click()
    await page.get_by_role("button", name="Return with this note").click()
    if not scripts:
        await expect(page.get_by_role("alert")).to_contain_text("An update goes back with a note")
    await page.get_by_label("What should A. Reyes change?").fill("Say which side of the street.")
    await page.get_by_role("button", name="Return with this note").click()
    await expect(page.locator("#state")).to_contain_text("Say which side of the street.")

    await go_on_as(page, "A. Reyes")
    await page.goto("/")
    await expect(page.locator(".row").first).to_contain_text("Returned by Lt J. Park: Say which")
    await page.get_by_role("link", name="Mend the words").click()
    await expect(page.locator("#composer")).to_contain_text("A newer wording of update #1")
    await expect(page.locator("#composer .note")).to_contain_text("Say which side of the street.")
    await page.get_by_label("Where", exact=True).fill("North side of Pierson Blvd")
    await page.get_by_role("checkbox", name="I state that these words endanger").check()
    await page.get_by_role("button", name="Send EXERCISE to Lt J. Park for approval").click()
    await expect(page.locator("#standing")).to_contain_text("North side of Pierson Blvd")
