"""A Commander edits on the phone, sees what they will sign, and signs it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from broadcaster.ledger import approvals
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

LEDGERS = ["sqlite", "postgres"]


@pytest.mark.parametrize("javascript", [True, False], ids=["with", "without JavaScript"])
async def test_a_word_is_mended_and_a_channel_left_out(
    stage: Stage, open_as: Open, javascript: bool
) -> None:
    incident = stage.report()
    asked = stage.submit(incident).request
    page = await open_as(
        "Lt J. Park", f"/a/{asked.id}", viewport=PHONE, java_script_enabled=javascript
    )
    await page.get_by_text("Edit the words, or leave out a channel").click()
    text = page.locator("#text_0")
    said = await text.input_value()
    assert not said.startswith("EXERCISE"), "the mark is put before it, whatever is written"
    await text.fill(said.replace("stay inside", "stay indoors"))
    await page.get_by_label("Post on School district").uncheck()
    await page.get_by_role("button", name="Show me the edit").click()
    await expect(page.get_by_role("alert")).to_contain_text("tick the statement")
    assert "stay indoors" in await text.input_value(), "what was typed is still there"
    await page.get_by_label("endanger neither").check()
    await page.get_by_role("button", name="Show me the edit").click()
    await expect(page.locator(".meta")).to_contain_text("edited by Lt J. Park")
    assert asked.id not in page.url
    await expect(page.locator(".words")).to_contain_text("stay indoors")
    await page.get_by_role("button", name="Approve EXERCISE: 2 channels").click()
    await expect(page.locator("#state")).to_contain_text(
        "Released" if javascript else re.compile("Approved|Released")
    )
    kept = stage.read(lambda tx: approvals.requests_of(tx, incident))
    assert [str(each.request.state) for each in kept] == ["approved", "withdrawn"]


async def test_the_compiler_reads_who_edited(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    asked = stage.submit(incident).request
    phone = await open_as("Lt J. Park", f"/a/{asked.id}", viewport=PHONE)
    await phone.get_by_text("Edit the words, or leave out a channel").click()
    await phone.get_by_label("Post on School district").uncheck()
    assert await phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    desk = await open_as("A. Reyes", f"/incidents/{incident}")
    await phone.get_by_role("button", name="Show me the edit").click()
    await expect(desk.locator("#standing")).to_contain_text("edited by Lt J. Park")
