"""The gate from a phone, on both set-ups: Chromium, a passkey, and every process that there is."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.connected.installation import COMMANDER, Installation, Json
from tests.connected.phone import CHROMIUM, a_phone, enrolled, make_a_passkey
from tests.connected.production import Fresh
from tests.patience import PATIENCE

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]

CAPTAIN = "Capt M. Ruiz"


async def waiting(at: Installation, by: str = CAPTAIN) -> tuple[Json, Json]:
    """A new incident that somebody commands, and its first update, which waits for them."""
    accepted = await at.send_report(at.report())
    await at.commanded(accepted.body["incident_id"], by=by)
    seen = await at.suggested(accepted.body["incident_id"])
    return seen["incident"], await at.submit(seen)


async def released(page: Page) -> None:
    await expect(page.locator("#state h2")).to_contain_text("Released")
    await expect(page.locator("#state .state.good")).to_have_count(2)


async def test_all_that_a_commander_does(fresh: Fresh) -> None:
    """Approves, returns with a note, edits and leaves out a channel, is handed command."""
    async with fresh(receivers={"county": True}) as at, a_phone(at) as (page, _):
        page.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        await make_a_passkey(page, await enrolled(at, CAPTAIN), CAPTAIN)
        _, request = await waiting(at)
        await page.goto(f"/a/{request['id']}")
        await page.get_by_role("button", name="Approve EXERCISE: 2 channels").tap()
        await released(page)

        _, request = await waiting(at)
        await page.goto(f"/a/{request['id']}")
        await page.get_by_text("Return", exact=True).first.tap()
        await page.locator("#n-returned").fill("Say which side of the street.")
        await page.get_by_role("button", name="Return with this note").tap()
        await expect(page.locator("#state")).to_contain_text("Say which side of the street.")
        assert (await at.request(request["id"]))["request"]["state"] == "returned"

        _, request = await waiting(at)
        await page.goto(f"/a/{request['id']}")
        await page.get_by_text("Edit the words, or leave out a channel").tap()
        await page.get_by_label("Post on county").uncheck()
        await page.get_by_label("endanger neither").check()
        await page.get_by_role("button", name="Show me the edit").tap()
        await page.get_by_role("button", name="Approve EXERCISE: 1 channel").tap()
        await expect(page.locator("#state h2")).to_contain_text("Released")
        assert (await at.request(request["id"]))["request"]["state"] == "withdrawn"

        incident, request = await waiting(at, by=COMMANDER)
        ortiz = await at.person(COMMANDER)
        offered = await ortiz.post(
            f"/api/v1/incidents/{incident['id']}/command/offers",
            {"commander_id": at.people[CAPTAIN]},
        )
        assert offered.status == 201, offered
        await page.goto(f"/a/{request['id']}")
        await page.get_by_role("button", name="Take command EXERCISE").tap()
        await page.get_by_role("button", name="Approve EXERCISE: 2 channels").tap()
        await released(page)
