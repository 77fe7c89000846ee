"""The Commander's page: one tap on a telephone, however bad the line and however often tapped."""

from __future__ import annotations

import asyncio
import gzip

from playwright.async_api import Page, Route, expect

from broadcaster.approval import RequestState
from broadcaster.handover import record_command
from broadcaster.ledger import approvals, records
from streams.sweep import sweep
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

COMMANDER = "Lt J. Park"


async def approve(page: Page) -> None:
    await page.get_by_role("button", name="Approve EXERCISE: 3 channels").click()


async def test_fits_a_telephone(stage: Stage, open_as: Open) -> None:
    """360 px without scrolling sideways, everything sent within 30 KB, its styles within 8."""
    incident = stage.report(place="66000 block of Pierson Blvd")
    stage.tell(incident)
    stage.report(place="66100 block of Pierson Blvd")
    submitted = stage.submit(incident)
    page = await open_as(COMMANDER, "/sign-in", viewport=PHONE)
    sent: dict[str, bytes] = {}

    async def keep(route: Route) -> None:
        answer = await route.fetch()
        sent[route.request.url] = await answer.body()
        await route.fulfill(response=answer)

    await page.route(lambda url: "/events" not in url, keep)
    await page.goto(f"/a/{submitted.request.id}")
    await expect(page.get_by_role("heading", name="What changed since #1")).to_be_visible()

    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert sum(len(gzip.compress(body)) for body in sent.values()) <= 30_000
    assert sum(len(body) for url, body in sent.items() if ".css" in url) <= 8_000
    for button in await page.locator("#decide button, #decide summary").all():
        if await button.is_visible():
            box = await button.bounding_box()
            assert box is not None and box["height"] >= 44


async def test_opening_it_changes_nothing(stage: Stage, open_as: Open) -> None:
    submitted = stage.submit(stage.report())
    page = await open_as(COMMANDER, "/")
    before = stage.read(records.head)
    await page.goto(f"/a/{submitted.request.id}")
    await page.reload()
    assert stage.read(records.head) == before


async def test_what_changed_is_said_in_words(stage: Stage, open_as: Open) -> None:
    incident = stage.report(place="66000 block of Pierson Blvd")
    stage.tell(incident)
    stage.report(place="66100 block of Pierson Blvd")
    page = await open_as(COMMANDER, f"/a/{stage.submit(incident).request.id}", viewport=PHONE)
    hunk = page.locator(".hunks li").first
    await expect(hunk.locator("del")).to_have_text("− removed: “66000”")
    await expect(hunk.locator("ins")).to_have_text("+ added: “66100”")
    await expect(page.get_by_role("heading", name="(the same)")).to_have_count(1)


async def test_two_tabs_and_a_double_tap_are_one_decision(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    address = f"/a/{stage.submit(incident).request.id}"
    first, second = await open_as(COMMANDER, address), await open_as(COMMANDER, address)
    await first.get_by_role("button", name="Approve").dblclick()
    await expect(first.locator("#state")).to_contain_text("Released")
    await second.reload()
    await expect(second.locator("#state")).to_contain_text("Released")
    assert stage.decisions(incident) == 1


async def test_a_second_tab_that_was_open_says_what_stands(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    address = f"/a/{stage.submit(incident).request.id}"
    first = await open_as(COMMANDER, address, java_script_enabled=False)
    second = await open_as(COMMANDER, address, java_script_enabled=False)
    await approve(first)
    await approve(second)
    await expect(second.get_by_role("alert")).to_contain_text("already approved")
    assert stage.decisions(incident) == 1


async def test_an_answer_that_comes_late_takes_nothing_newer_off_the_page(
    stage: Stage, open_as: Open
) -> None:
    """The page has seen all posted when the answer to its tap, which is older, arrives."""
    page = await open_as(COMMANDER, f"/a/{stage.submit(stage.report()).request.id}", viewport=PHONE)
    posted = page.locator("#state .state.good")

    async def late(route: Route) -> None:
        if route.request.method != "POST":
            return await route.fallback()
        answer = await route.fetch(max_redirects=0)
        await all_posted.wait()
        await route.fulfill(response=answer)

    all_posted = asyncio.Event()
    await page.route("**/a/*", late)
    async with page.expect_response(lambda answer: answer.request.method == "POST"):
        await approve(page)
        await expect(posted).to_have_count(3)
        all_posted.set()
    await expect(page.locator("#state")).to_be_focused()  # the answer has been heeded
    await expect(posted).to_have_count(3)


async def test_a_bad_line_loses_nothing(stage: Stage, open_as: Open) -> None:
    """The first answer is lost on the way back, the second never arrives: one decision."""
    incident = stage.report()
    page = await open_as(COMMANDER, f"/a/{stage.submit(incident).request.id}", viewport=PHONE)
    sent = 0

    async def cut(route: Route) -> None:
        nonlocal sent
        if route.request.method != "POST":
            return await route.fallback()
        sent += 1
        if sent == 1:
            await route.fetch(max_redirects=0)
        if sent < 3:
            return await route.abort()
        await route.fallback()

    await page.route("**/a/*", cut)
    await approve(page)
    await expect(page.locator("#state")).to_contain_text("Received")
    await expect(page.locator("#state h2")).to_contain_text("Released")
    await expect(page.locator("#sending")).to_be_hidden()
    assert sent == 3 and stage.decisions(incident) == 1
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_decision_on_its_way_survives_a_reload(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(COMMANDER, f"/a/{stage.submit(incident).request.id}", viewport=PHONE)
    away = True

    async def cut(route: Route) -> None:
        if route.request.method == "POST" and away:
            return await route.abort()
        await route.fallback()

    await page.route("**/a/*", cut)
    await approve(page)
    await expect(page.locator("#sending")).to_contain_text("Not sent")
    away = False
    await page.reload()
    await expect(page.locator("#state h2")).to_contain_text("Released")
    assert stage.decisions(incident) == 1


async def test_it_can_be_stopped_while_it_was_not_sent(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(COMMANDER, f"/a/{stage.submit(incident).request.id}", viewport=PHONE)

    async def cut(route: Route) -> None:
        await (route.abort() if route.request.method == "POST" else route.fallback())

    await page.route("**/a/*", cut)
    await approve(page)
    await page.get_by_role("button", name="Stop trying").click()
    await expect(page.get_by_role("button", name="Approve EXERCISE")).to_be_visible()
    await expect(page.locator("#sending")).to_be_hidden()
    assert stage.decisions(incident) == 0


async def test_others_see_what_it_is_about_and_who_decides(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    stage.write(
        lambda tx: record_command(
            tx, incident, stage.people["Sgt M. Ortiz"].id, stage.people["A. Reyes"]
        )
    )
    submitted = stage.submit(incident)
    for person, says in (
        ("A. Reyes", "nobody approves their own"),
        (COMMANDER, "Telephone them if you have something to add"),
        ("K. Lindqvist", "Telephone them if you have something to add"),
    ):
        page = await open_as(person, f"/a/{submitted.request.id}")
        await expect(page.locator("#state")).to_contain_text("Sgt M. Ortiz decides")
        await expect(page.locator("#state")).to_contain_text(says)
        await expect(page.locator("#decide")).to_have_count(0)
        await expect(page.locator(".words")).to_be_visible()


async def test_command_that_moves_takes_the_buttons_along(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    address = f"/a/{stage.submit(incident).request.id}"
    live = await open_as(COMMANDER, address)
    still = await open_as(COMMANDER, address, java_script_enabled=False)
    stage.write(
        lambda tx: record_command(
            tx, incident, stage.people["Sgt M. Ortiz"].id, stage.people["A. Reyes"]
        )
    )
    await expect(live.locator("#decide")).to_have_count(0)
    await expect(live.locator("#state")).to_contain_text("Sgt M. Ortiz decides")
    await approve(still)
    await expect(still.get_by_role("alert")).to_contain_text("Sgt M. Ortiz commands this incident")
    await expect(still.locator("#decide")).to_have_count(0)
    assert stage.decisions(incident) == 0


async def test_expired_is_asked_again_with_one_button(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    submitted = stage.submit(incident)
    page = await open_as(COMMANDER, f"/a/{submitted.request.id}", java_script_enabled=False)
    stage.run_out(submitted.request.id)
    await approve(page)
    await expect(page.get_by_role("alert")).to_contain_text("The time to decide on this request")

    pio = await open_as("A. Reyes", f"/incidents/{incident}")
    await expect(pio.locator("#standing h2")).to_contain_text("Nobody decided")
    await pio.get_by_role("button", name="Ask the Watch Commander again, EXERCISE").click()
    await expect(pio.locator("#standing h2")).to_contain_text("Update #1 waits")
    await page.goto(f"/a/{submitted.request.id}")
    await page.get_by_role("link", name="Open the newer request").click()
    await approve(page)
    await expect(page.locator("#state")).to_contain_text("Received")


async def test_it_moves_while_it_is_looked_at(stage: Stage, open_as: Open) -> None:
    """The gate stands still, then goes on: the page follows without a reload."""
    incident = stage.report()
    submitted = stage.submit(incident)
    stage.stand_still(True)
    page = await open_as(COMMANDER, f"/a/{submitted.request.id}", viewport=PHONE)
    await expect(page.get_by_text("The streams stand still")).to_be_visible()
    await approve(page)
    await expect(page.locator("#state h2")).to_contain_text("Approved; it is being released")
    stage.stand_still(False)
    await expect(page.locator("#state h2")).to_contain_text("Released")
    await expect(page.locator("#state .state.good")).to_have_count(3)


async def test_taken_back_while_it_is_looked_at(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    submitted = stage.submit(incident)
    page = await open_as(COMMANDER, f"/a/{submitted.request.id}")
    pio = await open_as("A. Reyes", f"/incidents/{incident}")
    await pio.get_by_role("button", name="Take back").click()
    await expect(page.locator("#decide")).to_have_count(0)
    await expect(page.locator("#state")).to_contain_text("Taken back")
    kept = stage.read(lambda tx: approvals.request(tx, submitted.request.id))
    assert kept is not None and kept.request.state is RequestState.WITHDRAWN


async def test_stop_keeps_back_what_has_not_begun(stage: Stage, open_as: Open) -> None:
    """One tap on the Commander's page, no passkey; what is out stays out, and says so."""
    incident = stage.report()
    submitted = stage.submit(incident)
    stage.answers["county_eoc"] = 429
    page = await open_as(COMMANDER, f"/a/{submitted.request.id}", viewport=PHONE)
    await approve(page)
    await expect(page.locator(".posts")).to_contain_text("Waiting")
    await page.get_by_role("button", name="Stop EXERCISE").click()
    await expect(page.locator("#state")).to_contain_text("Stopped")
    await expect(page.get_by_role("button", name="Stop EXERCISE")).to_have_count(0)
    stage.write(sweep)
    await expect(page.locator(".posts li", has_text="County EOC")).to_contain_text("Stopped")
    await expect(page.locator(".posts li", has_text="Public page")).to_contain_text("Posted")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
