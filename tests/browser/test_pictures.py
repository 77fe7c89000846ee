"""The README's pictures, of the same pages that the other tests act on.

They are written only when BROADCASTER_PICTURES=1, so that a test run leaves the checkout as it
was; otherwise this proves that they can be made.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.async_api import Page, expect

from broadcaster import up_the_chain
from broadcaster.accounts import Account
from broadcaster.approval import Verdict
from broadcaster.handover import offer_command, record_command
from broadcaster.ledger import Tx, channels, incidents, wrong_words
from broadcaster.settling import pause_channel
from broadcaster.update import UpdateKind
from tests.browser.conftest import DESK, PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_both import approve
from tests.browser.test_both import commanded as commanded_by_two
from tests.browser.test_fallback import allowed_to, typed
from tests.browser.test_mended import PLATFORMS, corrected
from tests.browser.test_notices import STAFF, TEXT, staffed
from tests.browser.test_passkeys import CAPTAIN, captain, commanded
from tests.browser.test_preview import PLATFORMS as SHAPES
from tests.browser.test_preview import composed

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
GUIDANCE = (
    "Stay inside. Close doors and windows. Do not use switches or lighters. "
    "If you smell gas, leave on foot and call 911 from outside."
)
#: At this width a page of the console can be read in the README, which shows it at 600 px.
CONSOLE = {"width": 960, "height": 720}
ON_PHONE = {"viewport": PHONE, "device_scale_factor": 2}

#: Takes a page's picture, under a name, once it says something.
Picture: TypeAlias = Callable[[str, Page, str], Awaitable[None]]


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    folder = PICTURES if os.environ.get("BROADCASTER_PICTURES") == "1" else tmp_path
    folder.mkdir(parents=True, exist_ok=True)

    async def take(name: str, page: Page, ready: str) -> None:
        await expect(page.locator("body")).to_contain_text(ready)
        path = folder / f"{name}.png"
        await page.screenshot(path=path, animations="disabled")
        assert 10_000 < path.stat().st_size < 250_000

    return take


async def test_pictures(stage: Stage, open_as: Open, picture: Picture) -> None:
    gas = stage.report(place="66000 block of Pierson Blvd", ago=timedelta(minutes=24))
    stage.tell(gas)
    ortiz, reyes = stage.people["Sgt M. Ortiz"], stage.people["A. Reyes"]
    stage.write(lambda tx: record_command(tx, gas, ortiz.id, reyes))
    stage.report(place="66100 block of Pierson Blvd")
    waiting = stage.submit(gas, guidance=GUIDANCE)
    collision = stage.report("2026-004415", type_="MVAINJY", place="Hacienda Ave and Palm Dr")
    stage.decide(stage.submit(collision), Verdict.RETURNED, reason="Say which lanes are closed.")
    wires = stage.report("2026-004420", type_="WIRES", place="Palm Dr and Two Bunch Palms Trl")
    stage.report("2026-004421", type_="BARICADE", place="12800 block of West Dr")
    public_id = stage.read(lambda tx: incidents.get(tx, gas)).public_id

    await picture("board", await open_as("A. Reyes", "/"), "Waiting for Sgt M. Ortiz")
    await picture("incident", await open_as("A. Reyes", f"/incidents/{wires}"), "Write update #1")
    page = await open_as("Sgt M. Ortiz", f"/a/{waiting.request.id}", **ON_PHONE)
    await picture("approval", page, "Approve EXERCISE: 3 channels")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#state .state.good")).to_have_count(3)
    await picture("released", page, "Released")
    await picture("record", await open_as("K. Lindqvist", "/record"), "The chain verifies")
    public = await open_as("A. Reyes", f"/p/{public_id}", viewport=DESK)
    await picture("public", public, "66100 block of Pierson Blvd")


async def test_pictures_of_the_gate(stage: Stage, open_as: Open, picture: Picture) -> None:
    """What a Commander may do beside approving, and who may do what at all."""
    ortiz, reyes = stage.people["Sgt M. Ortiz"], stage.people["A. Reyes"]

    def waiting(number: str, place: str) -> tuple[str, str]:
        incident = stage.report(number, place=place)
        stage.write(lambda tx: record_command(tx, incident, ortiz.id, reyes))
        return incident, f"/a/{stage.submit(incident, guidance=GUIDANCE).request.id}"

    _, moved = waiting("2026-004417", "66000 block of Pierson Blvd")
    stage.report("2026-004417", place="66100 block of Pierson Blvd")
    await picture("keep", await open_as("Sgt M. Ortiz", moved, **ON_PHONE), "Keep these words")
    _, edited = waiting("2026-004418", "12800 block of West Dr")
    page = await open_as("Sgt M. Ortiz", edited, **ON_PHONE)
    await page.get_by_text("Edit the words, or leave out a channel").click()
    await page.locator("#text_0").scroll_into_view_if_needed()
    await picture("edit", page, "Show me the edit")
    taken, offered = waiting("2026-004419", "Palm Dr and Two Bunch Palms Trl")
    watch = stage.people["Lt J. Park"]
    stage.write(lambda tx: offer_command(tx, taken, watch.id, ortiz))
    await picture("take-command", await open_as("Lt J. Park", offered, **ON_PHONE), "Take command")
    await picture(
        "people", await open_as("Lt J. Park", "/people", viewport=DESK), "Who may do what"
    )
    await picture("calls", await open_as("Sgt M. Ortiz", "/me", **ON_PHONE), "How are you called")


async def test_pictures_of_two_who_must_approve(
    stage: Stage, open_as: Open, picture: Picture
) -> None:
    _, address = commanded_by_two(stage)
    page = await open_as("Sgt M. Ortiz", address, **ON_PHONE)
    await approve(page)
    await picture("both", page, "it waits for Lt J. Park")


async def test_pictures_of_pin_and_code(stage: Stage, open_as: Open, picture: Picture) -> None:
    person, _ = captain(stage)
    address = commanded(stage, person)
    allowed = allowed_to(stage, person)
    page = await open_as(None, address, **ON_PHONE)
    await page.get_by_text("Use PIN and code").click()
    await page.get_by_label("Your name").fill(CAPTAIN)
    await typed(page, allowed)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.get_by_text("Use PIN and code").click()
    await typed(page, allowed, next_one=True)
    await picture("code", page, "The code that your app shows now")


async def test_pictures_of_an_approval_by_voice(
    stage: Stage, open_as: Open, picture: Picture
) -> None:
    incident = stage.report()
    ortiz, reyes = stage.people["Sgt M. Ortiz"], stage.people["A. Reyes"]
    stage.write(lambda tx: record_command(tx, incident, ortiz.id, reyes))
    voice = f"/voice/{stage.submit(incident).request.id}"
    commander = await open_as("Sgt M. Ortiz", "/me")
    await commander.get_by_role("button", name="Show me new codes").click()
    code = await commander.locator("#codes .code").first.inner_text()
    await picture("voice", await open_as("A. Reyes", voice, viewport=CONSOLE), "three words")
    listener = await open_as("K. Lindqvist", voice, **ON_PHONE)
    await listener.get_by_label("Their code").fill(code)
    await listener.get_by_label("Radio channel").fill("TAC 2")
    await listener.get_by_label("Time, as 14:02").fill(f"{datetime.now(stage.settings.zone):%H:%M}")
    await listener.locator("#attest-now").scroll_into_view_if_needed()
    await picture("listener", listener, "You are the second listener")


async def test_pictures_of_a_commander_from_outside(
    stage: Stage, open_as: Open, picture: Picture
) -> None:
    page = await open_as("Lt J. Park", f"/incidents/{stage.report()}", viewport=CONSOLE)
    await page.get_by_text("Who commands: hand over, or record").click()
    await page.get_by_role("link", name="Enrol a Commander from outside").click()
    for label, text in (("Rank", "Capt"), ("Name", "J. Diaz"), ("Agency", "Palm Fire")):
        await page.get_by_label(label, exact=True).fill(text)
    await page.get_by_role("button", name="Go on: sign it").click()
    await page.get_by_role("button", name="Enrol for this incident, EXERCISE").click()
    await picture("guest", page, "Show this to Capt J. Diaz, Palm Fire")


async def test_pictures_of_a_notice(stage: Stage, open_as: Open, picture: Picture) -> None:
    """Within the Chief's guideline, and what comes up the chain of command."""
    staffed(stage)
    page = await open_as(STAFF, "/?tab=routine", viewport=CONSOLE)
    await page.get_by_text("New notice").click()
    await page.get_by_label("What it is").select_option("announcement")
    await page.get_by_label("Subject").fill("Coffee with a cop")
    await page.get_by_label("For where").fill("Desert Hot Springs")
    await page.get_by_role("button", name="Begin EXERCISE notice").click()
    await page.get_by_label("What is said", exact=True).fill(TEXT)
    await expect(page.locator("[data-text]").first).to_contain_text(TEXT)
    await picture("notice", page, "Coffee with a cop")
    ortiz, park = stage.people["Sgt M. Ortiz"], stage.people["Lt J. Park"]
    asked = stage.write(lambda tx: up_the_chain.ask(
        tx, "Say that the boot camp for recruits moved to the high school.", ortiz))  # fmt: skip
    stage.write(lambda tx: up_the_chain.pass_on(tx, asked.id, park))
    lopez = stage.people[STAFF]
    stage.write(lambda tx: up_the_chain.ask(
        tx, "Two catalytic converters were stolen on Ironwood Dr. Ask people to park inside.",
        lopez))  # fmt: skip
    await picture(
        "request", await open_as("Lt J. Park", "/requests", viewport=CONSOLE), "J. Lopez asks"
    )


@pytest.mark.parametrize("accounts", [PLATFORMS], ids=[""])
async def test_pictures_of_what_the_channels_can_do(
    stage: Stage, open_as: Open, picture: Picture, accounts: list[Account]
) -> None:
    """Wrong words that are mended, others that the public reads, and a channel that fails."""
    wrong, right = corrected(stage)
    await picture(
        "mended", await open_as("A. Reyes", f"/releases/{wrong.id}", viewport=CONSOLE), "put right"
    )
    page = await open_as("A. Reyes", f"/releases/{right.id}", viewport=CONSOLE)
    alarm = page.get_by_role("button", name="I have seen it")
    await alarm.evaluate("button => button.scrollIntoView({ block: 'center' })")
    await picture("alarm", page, "I have seen it")
    stage.answers["county_eoc"] = 500
    short = {"bluesky": "Road closed. Stay away."}
    for number in range(5):
        incident = stage.report(f"2026-00443{number}", type_="WIRES", place="Palm Dr")
        stage.decide(stage.submit(incident, own_texts=short))

    def fails(tx: Tx) -> bool | None:
        fares = channels.several(tx, {"county_eoc"})
        return True if fares["county_eoc"].breaker.open else None

    stage.until(fails)
    await picture("channels", await open_as("A. Reyes", "/channels", viewport=CONSOLE), "Fails")


@pytest.mark.parametrize("accounts", [SHAPES], ids=[""])
async def test_pictures_of_what_each_channel_will_post(
    stage: Stage, open_as: Open, picture: Picture, accounts: list[Account]
) -> None:
    page = await composed(stage, open_as, javascript=True, viewport=CONSOLE)
    box = page.locator('[data-channel="mastodon"]')
    await box.evaluate("box => box.scrollIntoView({ block: 'center' })")
    await picture("preview", page, "A card of https://police.gov/gas may stand beneath")


async def test_pictures_of_wrong_words_that_a_pause_keeps_up(
    stage: Stage, open_as: Open, picture: Picture
) -> None:
    gas = stage.report()
    wrong, reyes = stage.tell(gas), stage.people["A. Reyes"]
    stage.write(lambda tx: pause_channel(tx, "county_eoc", "Their server is moved.", reyes))
    taken_back = stage.submit(gas, kind=UpdateKind.RETRACTION, corrects=wrong.id,
                              text="We take back update #1.")  # fmt: skip
    stage.decide(taken_back)
    stage.until(lambda tx: True if wrong_words.still_out(tx, gas) else None)
    page = await open_as("A. Reyes", f"/incidents/{gas}", viewport=CONSOLE)
    await picture("wrong", page, "The wrong words of #1 stay up on County EOC.")
