"""Both Commanders must approve, each on their own telephone."""

from __future__ import annotations

from playwright.async_api import Page, expect

from broadcaster.handover import record_command
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

LEDGERS = ["sqlite", "postgres"]
FIRST, SECOND = "Sgt M. Ortiz", "Lt J. Park"


def commanded(stage: Stage) -> tuple[str, str]:
    """An incident that both command, and the address of what waits for them."""
    incident = stage.report()
    first, second, pio = (stage.people[each] for each in (FIRST, SECOND, "A. Reyes"))
    stage.write(
        lambda tx: record_command(tx, incident, first.id, pio, with_id=second.id, both=True)
    )
    return incident, f"/a/{stage.submit(incident).request.id}"


async def approve(page: Page) -> None:
    await page.get_by_role("button", name="Approve EXERCISE").click()


async def test_one_approves_the_other_reads_so_at_once_and_releases(
    stage: Stage, open_as: Open
) -> None:
    incident, address = commanded(stage)
    ortiz = await open_as(FIRST, address, viewport=PHONE)
    park = await open_as(SECOND, address, viewport=PHONE)
    pio = await open_as("A. Reyes", f"/incidents/{incident}")
    await expect(ortiz.locator("#state")).to_contain_text("Lt J. Park must approve, too")
    await approve(ortiz)
    await expect(ortiz.locator("#state h2")).to_contain_text("it waits for Lt J. Park")
    await expect(ortiz.locator("#approve")).to_have_count(0)
    await expect(park.locator("#state h2")).to_contain_text("Sgt M. Ortiz approved")
    await expect(pio.locator("#standing")).to_contain_text("waits for Lt J. Park")
    assert stage.decisions(incident) == 0
    for page in (ortiz, park):
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    box = await ortiz.locator("#withdraw").bounding_box()
    assert box is not None and box["height"] >= 48

    await approve(park)
    for page in (park, ortiz):
        await expect(page.locator("#state h2")).to_contain_text("Released")
        await expect(page.locator("#state")).to_contain_text("after Sgt M. Ortiz")
    assert stage.decisions(incident) == 1


async def test_an_approval_is_taken_back_without_javascript(stage: Stage, open_as: Open) -> None:
    incident, address = commanded(stage)
    ortiz = await open_as(FIRST, address, viewport=PHONE, java_script_enabled=False)
    await approve(ortiz)
    await ortiz.get_by_role("button", name="Take my approval back").click()
    await expect(ortiz.locator("#state")).to_contain_text("Lt J. Park must approve, too")
    await approve(await open_as(SECOND, address, viewport=PHONE, java_script_enabled=False))
    assert stage.decisions(incident) == 0
    await ortiz.reload()
    await approve(ortiz)
    assert stage.decisions(incident) == 1
