"""A Commander from outside: enrolled at a console, on their own phone until *Released*."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect

from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_axe import faults
from tests.browser.test_passkeys import authenticator

LEDGERS = ["sqlite", "postgres"]

WATCH, GUEST = "Lt J. Park", "Capt J. Diaz, Palm Fire"


async def test_from_the_watch_commanders_screen_to_released(
    stage: Stage, open_as: Open, tmp_path: Path
) -> None:
    incident = stage.report()
    address = f"/a/{stage.submit(incident).request.id}"
    watch = await open_as(WATCH, f"/incidents/{incident}")
    await watch.get_by_text("Who commands: hand over, or record").click()
    await watch.get_by_role("link", name="Enrol a Commander from outside").click()
    for label, text in (("Rank", "Capt"), ("Name", "J. Diaz"), ("Agency", "Palm Fire")):
        await watch.get_by_label(label, exact=True).fill(text)
    await watch.set_viewport_size(PHONE)
    assert await faults(watch) == []
    await watch.screenshot(path=tmp_path / "form.png", full_page=True)
    await watch.get_by_role("button", name="Go on: sign it").click()
    await watch.screenshot(path=tmp_path / "sign.png", full_page=True)
    await watch.get_by_role("button", name="Enrol for this incident, EXERCISE").click()
    await expect(watch.get_by_role("img", name=f"QR code of the link for {GUEST}")).to_be_visible()
    assert await watch.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert await faults(watch) == []
    await watch.screenshot(path=tmp_path / "link.png", full_page=True)
    link = await watch.locator("code.link").inner_text()

    page = await open_as(None, "/sign-in", viewport=PHONE)
    await authenticator(page)
    await page.goto(link)
    await page.screenshot(path=tmp_path / "enrol.png", full_page=True)
    await page.get_by_role("button", name="Make a passkey").click()
    await expect(page).to_have_url(f"{stage.address}/incidents/{incident}")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert await faults(page) == []
    await page.screenshot(path=tmp_path / "incident.png", full_page=True)
    await page.goto(address)
    await watch.get_by_role("link", name="Hand command over").click()
    await watch.locator("#command summary").click()
    await watch.get_by_label("Hand command over to").select_option(label=f"{GUEST}, Commander "
        "from outside, for one incident")  # fmt: skip
    await watch.get_by_role("button", name="Offer command").click()
    await page.get_by_role("button", name="Take command EXERCISE").click()  # of itself: it is live
    await page.get_by_role("button", name="Approve EXERCISE: 3 channels").click()
    await expect(page.locator("#state")).to_contain_text("Released")
    await page.screenshot(path=tmp_path / "released.png", full_page=True)
    assert await faults(page) == []
