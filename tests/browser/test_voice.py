"""Approval by voice in a real browser: codes, attestation and ratification, each by passkey."""

from __future__ import annotations

import re
from datetime import datetime

from playwright.async_api import expect

from broadcaster.ledger import people
from broadcaster.roster import Role
from broadcaster.voice import words_of
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_passkeys import authenticator, captain, commanded, enrol

LEDGERS = ["sqlite", "postgres"]


async def test_from_the_codes_to_ratified(stage: Stage, open_as: Open) -> None:
    person, token = captain(stage)
    address = commanded(stage, person)
    request_id = address.removeprefix("/a/")
    phone = await open_as(None, "/sign-in", viewport=PHONE)
    await authenticator(phone)
    await enrol(phone, token)
    await phone.goto("/me")
    await phone.get_by_role("button", name="Show me new codes").click()
    code = await phone.locator("#codes .code").first.inner_text()
    assert re.fullmatch(r"\d{4} \d{4}", code)

    listener = stage.write(lambda tx: people.add(tx, "T. Dunn", [Role.RECORDS], actor="operator"))
    link = stage.write(lambda tx: people.enrol(tx, listener.id, actor="operator"))
    console = await open_as(None, "/sign-in")
    await authenticator(console)
    await enrol(console, link)
    await console.goto(f"/voice/{request_id}")
    digest = await console.locator("[name=digest]").get_attribute("value")
    await expect(console.locator("#words")).to_have_text(" ".join(words_of(digest or "")))
    await console.get_by_label("Their code").fill(code)
    await console.get_by_label("Radio channel").fill("TAC 2")
    at = datetime.now(stage.settings.zone)
    await console.get_by_label("Time, as 14:02").fill(f"{at:%H:%M}")
    await console.get_by_role("button", name="I heard the Commander approve").click()
    await console.get_by_role("button", name="Attest, and release EXERCISE").click()
    await expect(console.locator("#heard")).to_contain_text("Approved by voice, not ratified")
    await console.goto(address)
    await expect(console.locator("#state")).to_contain_text("Released")

    await phone.goto(f"/voice/{request_id}")
    await phone.get_by_role("button", name="Yes, I approved this").click()
    await expect(phone.locator("#heard")).to_contain_text("Ratified")
    assert await phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
