"""Pages that move by themselves: at once, without a jump, and honest when they cannot."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, Route, expect
from sqlalchemy import update

from broadcaster.delivery import PostState
from broadcaster.desk import live
from broadcaster.incident import Status
from broadcaster.ledger import Tx, people, posts, releases, schema
from broadcaster.orders import Submitted
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.patience import PATIENCE

PIO = "A. Reyes"
RECORDS = "K. Lindqvist"


async def on_the_board(page: Page) -> None:
    """Arrived, and its script has begun."""
    await expect(page).to_have_title("EXERCISE · Board · Desert Hot Springs PD")
    await page.wait_for_load_state("load")


async def test_the_board_moves_without_reloading(stage: Stage, open_as: Open) -> None:
    page = await open_as(PIO, "/")
    await expect(page.locator("#board")).to_contain_text("Nothing needs words now.")
    await page.evaluate("window.same = true")
    incident = await asyncio.to_thread(stage.report)
    await expect(page.locator(".row")).to_contain_text("Suggested: update #1: new incident")
    await expect(page.locator("#said")).to_have_text("1 incident needs words")
    await asyncio.to_thread(stage.submit, incident)
    await expect(page.locator(".row")).to_contain_text("Waiting for the Watch Commander")
    assert await page.evaluate("window.same")


async def test_focus_and_what_is_open_stay(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    await page.locator("#story details").first.locator("summary").click()
    opened = await page.locator("#story details[open]").get_attribute("id")
    await page.get_by_label("Do", exact=True).focus()
    await page.keyboard.press("End")
    await asyncio.to_thread(stage.report, status=Status.STRUCTURE_CLEARED)
    await expect(page.locator("#facts")).to_contain_text("structure cleared")
    await expect(page.locator(f"#{opened}[open]")).to_have_count(1)
    await expect(page.get_by_label("Do", exact=True)).to_be_focused()


async def test_a_silent_stream_is_said(stage: Stage, open_as: Open) -> None:
    page = await open_as(None, "/sign-in")
    await page.clock.install()
    await page.route("**/events*", lambda route: asyncio.sleep(0))  # never answered
    await page.get_by_role("button", name=PIO).click()
    await on_the_board(page)
    await expect(page.locator("#not-live")).to_be_hidden()
    await page.clock.fast_forward(25_000)
    await expect(page.locator("#not-live")).to_contain_text("Not live since")
    await expect(page.locator("#not-live")).to_contain_text("What you send still goes to the desk")


async def test_signed_out_elsewhere_is_said_and_leads_back(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    await page.get_by_label("Do", exact=True).fill("Stay inside, please.")
    elsewhere = await page.context.new_page()
    await elsewhere.goto("/")
    await elsewhere.locator("#you summary").click()
    await elsewhere.get_by_role("button", name="Sign out").click()
    await expect(elsewhere).to_have_url(f"{stage.address}/sign-in")
    await asyncio.to_thread(stage.report, status=Status.STRUCTURE_CLEARED)
    await page.get_by_role("link", name="Sign in, and go on here").click()
    await page.get_by_role("button", name=PIO).click()
    await expect(page.get_by_label("Do", exact=True)).to_have_value("Stay inside, please.")


async def test_times_grow_older_without_a_word_to_a_screen_reader(
    stage: Stage, open_as: Open
) -> None:
    stage.report()
    page = await open_as(None, "/sign-in")
    await page.clock.install()
    await page.get_by_role("button", name=PIO).click()
    await on_the_board(page)
    await page.clock.fast_forward(3 * 60_000)
    await expect(page.locator(".times").first).to_contain_text("Reported 3 min ago")
    await expect(page.locator("#said")).to_have_text("")


async def test_streams_that_stand_still_are_said(stage: Stage, open_as: Open) -> None:
    stage.stand_still(True)
    page = await open_as(PIO, "/")
    await expect(page.locator(".still")).to_contain_text("The streams stand still since")
    await expect(page.locator(".still")).to_contain_text("What you record here is kept")


async def test_real_incident_ends_the_exercise_on_every_page(stage: Stage, open_as: Open) -> None:
    asked = stage.submit(stage.report()).request
    phone = await open_as("Lt J. Park", f"/a/{asked.id}", viewport=PHONE)
    board = await open_as("A. Reyes", "/")
    await board.locator("#you summary").click()
    await board.get_by_role("button", name="REAL INCIDENT").click()
    for page in (board, phone):
        await expect(page.locator("#exercise")).to_contain_text("A. Reyes ended this exercise")
    await expect(phone.locator("#state")).to_contain_text("REAL INCIDENT")
    await expect(phone.get_by_role("button", name="Approve")).to_have_count(0)
    await phone.get_by_role("button", name="begin the exercise again").click()
    await expect(board.locator("#exercise")).not_to_contain_text("REAL INCIDENT")


async def test_what_moves_while_the_page_is_fetched_is_not_missed(
    stage: Stage, open_as: Open
) -> None:
    """The old piece knew of no release; the new one does, and its posts moved on the way here."""
    for name in ("county_eoc", "school_district"):
        stage.answers[name] = 429
    submitted = stage.submit(stage.report())
    page = await open_as("A. Reyes", f"/a/{submitted.request.id}", viewport=PHONE)
    fetched, posted = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        if "Released" in await answer.text():
            fetched.set()
            await posted.wait()
        await route.fulfill(response=answer)

    await page.route("**/a/*", late)
    await asyncio.to_thread(stage.decide, submitted)
    await asyncio.wait_for(fetched.wait(), 10)
    stage.answers.clear()
    await asyncio.to_thread(stage.until, lambda tx: _all_posted(tx, submitted))
    posted.set()
    await expect(page.locator("#state .state.good")).to_have_count(3)


async def test_a_note_that_is_being_typed_outlives_what_moves(stage: Stage, open_as: Open) -> None:
    """Begun while the page's newest state was on its way here; and left for a moment."""
    submitted = stage.submit(stage.report())
    page = await open_as("Lt J. Park", f"/a/{submitted.request.id}", viewport=PHONE)
    asked, typed = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        if route.request.headers.get("x-refresh"):
            asked.set()
            await typed.wait()
        await route.continue_()

    await page.route("**/a/*", late)
    note = page.locator("#n-returned")
    await page.get_by_text("Return", exact=True).first.click()
    await page.locator("#acts").evaluate("(acts) => acts.setAttribute('data-old', '')")
    await asyncio.to_thread(stage.write, lambda tx: tx.changed(f"request:{submitted.request.id}"))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    await note.fill("Say which side of the street.")
    async with page.expect_response(lambda answer: "x-refresh" in answer.request.headers):
        typed.set()
    await expect(note).to_be_focused()
    await expect(page.locator("#acts")).to_have_attribute("data-old", "")  # still in their hands
    await note.blur()
    await expect(page.locator("#acts")).not_to_have_attribute("data-old", "")
    await expect(note).to_have_value("Say which side of the street.")
    await page.get_by_role("button", name="Return with this note").click()
    await expect(page.locator("#state")).to_contain_text("Say which side of the street.")


def _all_posted(tx: Tx, submitted: Submitted) -> bool | None:
    release = releases.of_revision(tx, submitted.revision.id)
    kept = posts.of_release(tx, release.id) if release else []
    return True if all(post.state is PostState.POSTED for post in kept) else None


async def test_a_stop_that_is_not_received_is_said_and_sent_again(
    stage: Stage, open_as: Open
) -> None:
    stage.answers["school_district"] = 429
    release = stage.tell(stage.report())
    page = await open_as("Lt J. Park", f"/releases/{release.id}", viewport=PHONE)
    await page.context.set_offline(True)
    await page.get_by_role("button", name="Stop EXERCISE").click()
    await expect(page.locator("#stop [role=alert]")).to_contain_text("Stop not received")
    await expect(page.locator("#stop [role=alert]")).to_contain_text("telephone")
    await page.context.set_offline(False)
    await expect(page.locator("#stop")).to_contain_text("Stopped ")


def sign_out_everywhere(stage: Stage, name: str) -> None:
    person = stage.people[name]
    stage.write(lambda tx: people.end_sessions(tx, person.id, actor="test"))


async def test_a_stop_without_a_session_is_not_taken_for_done(stage: Stage, open_as: Open) -> None:
    stage.answers["school_district"] = 429
    release = stage.tell(stage.report())
    page = await open_as("Lt J. Park", f"/releases/{release.id}", viewport=PHONE)
    stop = page.get_by_role("button", name="Stop EXERCISE")
    await expect(stop).to_be_visible()  # not while its last post is being sent
    await asyncio.to_thread(sign_out_everywhere, stage, "Lt J. Park")
    await stop.click()
    alert = page.locator("#stop [role=alert]")
    await expect(alert).to_contain_text("NOT STOPPED: you are signed out.")
    await expect(alert).to_contain_text("telephone")
    await alert.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name="Lt J. Park").click()
    await expect(page).to_have_url(f"{stage.address}/releases/{release.id}#stop")
    await stop.click()
    await expect(page.locator("#stop")).to_contain_text("Stopped ")


async def test_a_stop_that_is_refused_says_why_and_keeps_saying_it(
    stage: Stage, open_as: Open
) -> None:
    stage.answers["school_district"] = 429
    release = stage.tell(stage.report())
    page = await open_as("Lt J. Park", f"/releases/{release.id}", viewport=PHONE)
    form, alert = page.locator("#stop form"), page.locator("#stop [role=alert]")
    unknown = f"{stage.address}/releases/none/stop"
    await page.route("**/stop", lambda route: route.continue_(url=unknown))
    await page.get_by_role("button", name="Stop EXERCISE").click()
    await expect(alert).to_contain_text("NOT STOPPED. There is no such release")
    await form.evaluate("(form) => form.setAttribute('data-old', '')")
    await asyncio.to_thread(stage.write, lambda tx: tx.changed(f"release:{release.id}"))
    await expect(form).not_to_have_attribute("data-old", "")
    await expect(alert).to_contain_text("NOT STOPPED. There is no such release")

    await page.unroute("**/stop")
    await page.route("**/releases/*", lambda route: route.abort())  # as it stood before
    elsewhere = await page.context.new_page()
    await elsewhere.goto("/")
    await elsewhere.locator("#you summary").click()
    await elsewhere.get_by_role("button", name=RECORDS).click()
    await expect(elsewhere.locator("#you")).to_contain_text(f"You are {RECORDS}")
    await page.get_by_role("button", name="Stop EXERCISE").click()
    await expect(alert).to_contain_text(f"NOT STOPPED. {RECORDS} (Custodian of Records) may not")
    assert not await asyncio.to_thread(stage.read, lambda tx: releases.stopped_at(tx, release.id))


async def test_a_page_left_alone_idles_out_says_so_and_loses_nothing(
    stage: Stage, open_as: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour after it was last used; what its script fetches meanwhile is no use of it."""
    monkeypatch.setattr(live, "SESSION_EVERY", 0.0)
    monkeypatch.setattr(live, "HERE_EVERY", 0.1)
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    await page.get_by_label("Do", exact=True).fill("Stay inside, please.")
    async with page.expect_request(
        lambda request: request.url == page.url and request.headers.get("x-refresh") == "1"
    ):
        await asyncio.to_thread(stage.report, status=Status.STRUCTURE_CLEARED)
    await expect(page.locator("#facts")).to_contain_text("structure cleared")
    await asyncio.to_thread(stage.write, left_alone)
    await expect(page.locator("#not-live")).to_contain_text("You are signed out.")
    await page.get_by_role("link", name="Sign in, and go on here").click()
    await page.get_by_role("button", name=PIO).click()
    await expect(page.get_by_label("Do", exact=True)).to_have_value("Stay inside, please.")


def left_alone(tx: Tx) -> None:
    """As half an hour leaves every session."""
    ago = tx.now - people.SESSION_IDLE
    tx.connection.execute(update(schema.sessions).values(seen_at=ago))
