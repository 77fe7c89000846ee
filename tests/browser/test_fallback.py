"""PIN and code in a real browser, at a phone's width, with and without JavaScript."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from broadcaster import rostering
from broadcaster.fallback import STEP, Allowance
from broadcaster.ledger import people
from broadcaster.roster import Person, Role
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_passkeys import CAPTAIN, captain, commanded
from tests.codes import PIN, code_at

LEDGERS = ["sqlite", "postgres"]


def allowed_to(stage: Stage, person: Person) -> Allowance:
    """The Chief's word that somebody may decide with PIN and code."""
    chief = stage.write(lambda tx: people.add(tx, "Chief Banks", [Role.CHIEF], actor="operator"))
    return stage.write(
        lambda tx: rostering.allow_fallback(
            tx, person.id, pin=PIN, reason="Lost the phone", until=tx.now + timedelta(days=1),
            person=chief, actor="operator",
        )
    )  # fmt: skip


async def typed(page: Page, allowed: Allowance, *, next_one: bool = False, pin: str = PIN) -> None:
    """The code that the app shows, or the next one: a clock may be half a minute ahead."""
    at = datetime.now(UTC) + timedelta(seconds=STEP if next_one else 0)
    await page.get_by_label("Your PIN").fill(pin)
    await page.get_by_label("The code that your app shows now").fill(code_at(allowed, at))


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
async def test_from_signing_in_to_released(stage: Stage, open_as: Open, script: bool) -> None:
    person, _ = captain(stage)
    address = commanded(stage, person)
    allowed = allowed_to(stage, person)
    page = await open_as(None, address, viewport=PHONE, java_script_enabled=script)
    await page.get_by_text("Use PIN and code").click()
    await page.get_by_label("Your name").fill(CAPTAIN)
    await typed(page, allowed, pin="975310")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_text("PIN or code is wrong")).to_be_visible()
    await typed(page, allowed)
    await page.get_by_role("button", name="Sign in", exact=True).click()

    await expect(page.locator("#decide")).to_have_count(0)  # no passkey to ask for
    await page.get_by_text("Use PIN and code").click()
    for field in ("#pin", "#code", "#typed-approve", "#with-code > summary"):
        box = await page.locator(field).bounding_box()
        assert box is not None and box["height"] >= 48, (field, box)
    assert await page.locator("#with-code").evaluate("it => it.scrollWidth") <= PHONE["width"]
    await typed(page, allowed, next_one=True)
    await page.get_by_role("button", name="Approve EXERCISE: 3 channels").click()
    if script:
        await expect(page.locator("#state")).to_contain_text("Released")
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert await page.evaluate("localStorage.length") == 0  # neither PIN nor code is kept
    await expect(page.locator("#state")).to_contain_text("PIN and code instead of a passkey")
