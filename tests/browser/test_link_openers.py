"""What opens links by itself: scanners of mail and chat, some of which run a page's JavaScript.

facts/security-reliability-ux.md §1: such an opener burns one-time tokens and presses what presses
itself. Ours burns nothing: a link locates, and a person decides (DESIGN.md rule 7).
"""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from broadcaster.approval import RequestState
from broadcaster.ledger import approvals, people, records
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

COMMANDER = "Lt J. Park"


async def opened(page: Page, address: str) -> None:
    """As an opener does it: runs everything until nothing moves, reloads, and goes back."""
    for _ in range(2):
        await page.goto(address, wait_until="load")
        await page.evaluate("document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
    await page.go_back()
    await page.go_forward()


@pytest.mark.parametrize("who", [None, "A. Reyes", COMMANDER])
@pytest.mark.parametrize("scripts", [True, False])
async def test_an_opened_link_decides_nothing(
    stage: Stage, open_as: Open, who: str | None, scripts: bool
) -> None:
    """Nobody's browser, the compiler's, and the very one that may decide."""
    submitted = stage.submit(stage.report())
    options = {} if scripts else {"java_script_enabled": False}
    page = await open_as(who, "/sign-in", viewport=PHONE, **options)
    before = stage.read(records.head)
    address = f"/a/{submitted.request.id}"
    if scripts:
        await opened(page, address)
    else:
        await page.goto(address)
    text = await page.locator("body").inner_text()
    assert ("Pierson" in text) == (who is not None), "words are for who is signed in"
    kept = stage.read(lambda tx: approvals.request(tx, submitted.request.id))
    assert kept is not None and kept.request.state is RequestState.OPEN
    assert stage.read(records.head) == before


async def test_an_opened_sign_in_link_still_works(stage: Stage, open_as: Open) -> None:
    person = stage.people["A. Reyes"]
    token = stage.write(lambda tx: people.enrol(tx, person.id, actor="operator"))
    opener = await open_as(None, "/sign-in")
    await opened(opener, f"/enrol/{token}")
    assert stage.read(lambda tx: people.enrolment(tx, token)) is not None
    page = await open_as(None, f"/enrol/{token}")
    await page.get_by_role("button", name="Sign in without a passkey").click()
    await expect(page.get_by_text("You are A. Reyes")).to_be_visible()
