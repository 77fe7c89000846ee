"""A picture, from the PIO's file to the public's page, by Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from broadcaster.accounts import Account, XAccount
from broadcaster.cleaning import clean_picture
from broadcaster.delivery import PostState
from broadcaster.ledger import approvals, incidents, posts
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.pictures import photograph

PIO, COMMANDER = "A. Reyes", "Lt J. Park"
ALT = "A map of Pierson Blvd, closed from Cactus to Palm."
DESCRIBE = "What it shows, for who cannot see it"


@pytest.fixture
def accounts() -> list[Account]:
    """X takes the words alone."""
    return [XAccount(kind="x", name="x", title="X", user_id="1", api_key="k", api_key_secret="s",
                     token="t", token_secret="s")]  # fmt: skip


async def add(page: Page) -> None:
    photo = {"name": "IMG_0001.HEIC", "mimeType": "image/heic", "buffer": photograph(800, 600)}
    await page.get_by_label("JPEG or PNG").set_input_files(photo)  # type: ignore[arg-type]
    await page.get_by_role("button", name="Add the picture").click()
    await expect(page.get_by_label(DESCRIBE)).to_be_visible()


async def drawn(page: Page, alt: str) -> None:
    """The picture with this description is shown, and was fetched."""
    picture = page.get_by_role("img", name=alt)
    await expect(picture).to_be_visible()
    await picture.scroll_into_view_if_needed()
    await expect(picture).to_have_js_property("naturalWidth", 800)


async def test_from_a_file_to_the_public_page(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    await page.get_by_label("Where", exact=True).fill("Pierson Blvd, Cactus to Palm")
    await add(page)
    await expect(page).to_have_url(f"{stage.address}/incidents/{incident}")
    await expect(page.get_by_label("Where", exact=True)).to_have_value(
        "Pierson Blvd, Cactus to Palm"
    )
    await expect(page.locator("#f-picture")).to_contain_text("Goes without the picture: X.")
    await page.get_by_label("Text", exact=True).fill("Pierson Blvd is closed.")  # X is short
    await page.get_by_label(DESCRIBE).fill("Call 760-329-2904.")
    await expect(page.locator("#checks")).to_contain_text("in the picture's description")
    await page.get_by_label(DESCRIBE).fill(ALT)
    await page.reload()  # what was typed is kept, and with it the picture
    await expect(page.get_by_label(DESCRIBE)).to_have_value(ALT)
    await expect(page.locator("#shown-picture")).to_have_js_property("naturalWidth", 800)
    await page.get_by_role("checkbox", name="I state that these words endanger").check()
    await page.get_by_role("button", name="Send EXERCISE to the Watch Commander").click()
    await expect(page.locator("#standing")).to_contain_text("waits for the Watch Commander")

    [asked] = stage.read(lambda tx: approvals.requests_of(tx, incident))
    phone = await open_as(COMMANDER, f"/a/{asked.request.id}", viewport=PHONE)
    await drawn(phone, ALT)
    assert await phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await expect(phone.get_by_text("Goes without the picture: X.")).to_be_visible()
    await phone.get_by_role("button", name="Approve EXERCISE").click()
    await expect(phone.locator("#state")).to_contain_text("Released")
    stage.until(lambda tx: any(
        post.channel == "public_page" and post.state is PostState.POSTED
        for post in posts.of_incident(tx, incident)
    ))  # fmt: skip

    kept = stage.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None
    public = await open_as(COMMANDER, f"/p/{kept.public_id}")
    await drawn(public, ALT)
    address = await public.get_by_role("img", name=ALT).get_attribute("src")
    answer = await public.request.get(f"{stage.address}{address}")
    assert await answer.body() == clean_picture(photograph(800, 600)).data


async def test_without_a_script_it_can_be_added_and_taken_out(stage: Stage, open_as: Open) -> None:
    page = await open_as(PIO, f"/incidents/{stage.report()}", java_script_enabled=False)
    await page.get_by_label("Where", exact=True).fill("Elm St")
    await add(page)
    await expect(page.get_by_label("Where", exact=True)).to_have_value("Elm St")
    await page.get_by_role("button", name="Take the picture out").click()
    await expect(page.get_by_label(DESCRIBE)).to_be_hidden()
    await expect(page.get_by_label("Where", exact=True)).to_have_value("Elm St")
