"""Command changes hands on a phone: taken by passkey, and the waiting update decided at once."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect

from broadcaster.handover import offer_command, record_command
from broadcaster.ledger import incidents
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_passkeys import authenticator, captain, enrol

LEDGERS = ["sqlite", "postgres"]

ORTIZ, WATCH = "Sgt M. Ortiz", "Lt J. Park"


def commanded(stage: Stage) -> tuple[str, str]:
    """An incident that Sgt Ortiz commands, and the page of an update that waits for them."""
    incident = stage.report()
    stage.write(
        lambda tx: record_command(tx, incident, stage.people[ORTIZ].id, stage.people["A. Reyes"])
    )
    return incident, f"/a/{stage.submit(incident).request.id}"


def commanders(stage: Stage, incident: str) -> tuple[str, ...]:
    kept = stage.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None
    return kept.incident.command.commanders


async def test_command_is_taken_and_the_update_approved_in_one_visit(
    stage: Stage, open_as: Open, tmp_path: Path
) -> None:
    person, token = captain(stage)
    incident, address = commanded(stage)
    page = await open_as(None, "/sign-in", viewport=PHONE)
    session, device = await authenticator(page)
    await enrol(page, token)
    ortiz = await open_as(ORTIZ, address, viewport=PHONE)
    await page.goto(address)
    await expect(page.get_by_role("button", name="Take command")).to_have_count(0)
    stage.write(lambda tx: offer_command(tx, incident, person.id, stage.people[ORTIZ]))
    take = page.get_by_role("button", name="Take command EXERCISE")
    await expect(take).to_be_visible()  # of itself: the page is live
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await page.screenshot(path=tmp_path / "offered.png")

    verified = {"authenticatorId": device, "isUserVerified": False}
    await session.send("WebAuthn.setUserVerified", verified)
    await take.click()
    await expect(page.locator("#take").get_by_role("alert")).to_contain_text("nothing has happened")
    assert commanders(stage, incident) == (stage.people[ORTIZ].id,)
    await session.send("WebAuthn.setUserVerified", verified | {"isUserVerified": True})
    await take.click()
    await page.get_by_role("button", name="Approve EXERCISE: 3 channels").click()
    await expect(page.locator("#state")).to_contain_text("Released")
    assert commanders(stage, incident) == (person.id,)
    await expect(ortiz.locator("#decide")).to_have_count(0)


async def test_without_javascript_the_watch_commander_takes_command_first(
    stage: Stage, open_as: Open, tmp_path: Path
) -> None:
    incident = stage.report()
    address = f"/a/{stage.submit(incident).request.id}"
    page = await open_as(WATCH, address, viewport=PHONE, java_script_enabled=False)
    await page.screenshot(path=tmp_path / "watch.png")
    await page.get_by_role("button", name="Take command EXERCISE first").click()
    assert commanders(stage, incident) == (stage.people[WATCH].id,)
    await page.get_by_role("button", name="Approve EXERCISE").click()
    await expect(page.locator("#state")).to_contain_text("Received")


async def test_the_incidents_page_hands_over_and_records(
    stage: Stage, open_as: Open, tmp_path: Path
) -> None:
    incident, _ = commanded(stage)
    page = await open_as(WATCH, f"/incidents/{incident}", viewport=PHONE)
    await page.get_by_text("Who commands: hand over, or record").click()
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await page.locator("#command").screenshot(path=tmp_path / "command.png")
    await page.get_by_label("Hand command over to").select_option(label=f"{WATCH}, Watch Commander")
    await page.get_by_role("button", name="Offer command").click()
    await page.get_by_role("button", name="Take command EXERCISE").click()
    await expect(page.locator("#facts")).to_contain_text(f"{WATCH} commands since")
    assert commanders(stage, incident) == (stage.people[WATCH].id,)
