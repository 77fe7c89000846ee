"""A post of which nobody knows, a channel that is left alone: the pages alone say what to do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect

from broadcaster.delivery import PostState
from broadcaster.ledger import Tx, clocks, posts, releases
from streams.sweep import sweep
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

LEDGERS = ["sqlite", "postgres"]
BLIND = "school_district"


@pytest.fixture
def doubtful(stage: Stage) -> posts.Kept:
    """Sent to a receiver that broke off, and cannot be asked what it holds."""
    stage.answers[BLIND] = 500
    release = stage.tell(stage.report())

    def in_doubt(tx: Tx) -> posts.Kept | None:
        post = next(p for p in posts.of_release(tx, release.id) if p.channel == BLIND)
        return post if post.state is PostState.IN_DOUBT else None

    found = stage.until(in_doubt)
    assert found is not None
    return found


@pytest.mark.parametrize("javascript", [True, False])
async def test_the_pio_reads_what_was_tried_and_says_what_they_saw(
    stage: Stage, open_as: Open, doubtful: posts.Kept, javascript: bool
) -> None:
    page = await open_as("A. Reyes", "/", java_script_enabled=javascript)
    await page.get_by_role("link", name="Look").click()
    row = page.locator("#posts li", has_text="School district")
    await expect(row).to_contain_text("In doubt")
    await expect(row).to_contain_text("The receiver answered 500")
    await expect(row).to_contain_text("Look at the channel itself")
    await row.get_by_label("Where you saw it").fill("https://district.example/alerts/7")
    await row.get_by_role("button", name="I have seen it there").click()
    await expect(row).to_contain_text("it is being done")
    stage.write(sweep)
    if not javascript:
        await page.reload()
    await expect(row).to_contain_text("Posted")
    await expect(row).to_contain_text("A. Reyes has seen it there.")
    proof = row.get_by_role("link", name="See the proof")
    await expect(proof).to_have_attribute("href", "https://district.example/alerts/7")


async def test_it_is_sent_again_from_a_phone(
    stage: Stage, open_as: Open, doubtful: posts.Kept
) -> None:
    page = await open_as("A. Reyes", f"/releases/{doubtful.release_id}", viewport=PHONE)
    row = page.locator("#posts li", has_text="School district")
    again = row.get_by_role("button", name="It is not there: send it again")
    box = await again.bounding_box()
    assert box is not None and box["height"] >= 44 and box["x"] + box["width"] <= PHONE["width"]
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    stage.answers[BLIND] = 204
    await again.click()
    stage.write(sweep)
    await expect(row).to_contain_text("Posted")
    await row.get_by_text("2 attempts").click()
    await expect(row).to_contain_text("no trustworthy answer")


async def test_what_is_in_doubt_is_told_while_the_next_update_waits(
    stage: Stage, open_as: Open, doubtful: posts.Kept
) -> None:
    stage.submit(doubtful.incident_id)
    page = await open_as("A. Reyes", f"/incidents/{doubtful.incident_id}")
    await expect(page.locator("#behind")).to_contain_text("#1, School district")


async def test_a_channel_is_left_alone_and_goes_on(
    stage: Stage, open_as: Open, doubtful: posts.Kept
) -> None:
    stage.answers[BLIND] = 204
    page = await open_as("A. Reyes", "/channels", viewport=PHONE)
    row = page.locator(f"#channel-{BLIND}")
    await expect(row).to_contain_text("1 in doubt")
    await row.get_by_text("Pause").click()
    await row.get_by_label("Why").fill("The district moves its system.")
    await row.get_by_role("button", name="Send nothing there").click()
    await expect(row).to_contain_text("Paused")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    incident = stage.report()
    submitted = stage.submit(incident)
    stage.decide(submitted)
    release = stage.until(lambda tx: releases.of_revision(tx, submitted.revision.id))
    board = await open_as("A. Reyes", "/")
    await expect(board.locator("#kept-back")).to_contain_text("sent now on School district")
    behind = await open_as("A. Reyes", f"/incidents/{incident}")
    await expect(behind.locator("#behind")).to_contain_text("#1, School district")
    told = await open_as("A. Reyes", f"/releases/{release.id}")
    blind = told.locator("#posts li", has_text="School district")
    await expect(blind).to_contain_text("kept back: paused: The district moves its system.")
    await row.get_by_role("button", name="Try now").click()
    await expect(row).to_contain_text("Works")
    await expect(blind).to_contain_text("Posted")


async def test_after_the_clock_was_set_every_page_says_that_nothing_is_sent(
    stage: Stage, open_as: Open
) -> None:
    page = await open_as("A. Reyes", "/")
    stage.write(lambda tx: clocks.stepped(tx, timedelta(hours=-1)))
    custodian = await open_as("K. Lindqvist", "/")
    await expect(custodian.locator("#clock")).to_contain_text("Watch Commander or a Supervisor can")
    await expect(custodian.locator("#clock button")).to_have_count(0)
    notice = page.locator("#clock")
    await expect(notice).to_contain_text("The clock was set by -3,600 s")
    await notice.get_by_role("button", name="The clock is right").click()
    await page.wait_for_url("**/channels")
    await expect(page.locator("#clock")).not_to_contain_text("The clock")
