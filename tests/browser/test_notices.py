"""A notice in a browser: released by the Chief's guideline, or by a supervisor's passkey."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from playwright.async_api import Page, expect

from broadcaster import rostering
from broadcaster.incident import Topic
from broadcaster.ledger import authorities, passkeys, people
from broadcaster.roster import Person, Role
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_passkeys import authenticator, enrol

LEDGERS = ["sqlite", "postgres"]

STAFF = "J. Lopez"
TEXT = "Meet your officers over a coffee on Tuesday at 9 in the library."


def staffed(stage: Stage) -> None:
    """Somebody at city hall who may write notices, and the Chief's guideline for announcements."""
    until = datetime.now(UTC) + timedelta(days=30)

    def added(name: str, role: Role) -> Person:
        return stage.write(lambda tx: people.add(tx, name, [role], actor="test", practice=True))

    stage.people[STAFF], chief = added(STAFF, Role.STAFF), added("Chief L. Banks", Role.CHIEF)
    stage.write(
        lambda tx: rostering.keep_guideline(
            tx, Topic.ANNOUNCEMENT, members=[], roles=[Role.STAFF],
            channels=["public_page", "county_eoc", "school_district"], until=until,
            text="Dates of community events.", person=chief, actor="test",
        )
    )  # fmt: skip


async def write(page: Page, topic: str, subject: str, text: str = TEXT) -> None:
    """Begins a notice on the board's routine tab, and submits it."""
    await page.goto("/?tab=routine")
    await page.get_by_text("New notice").click()
    await page.get_by_label("What it is").select_option(topic)
    await page.get_by_label("Subject").fill(subject)
    await page.get_by_label("For where").fill("Desert Hot Springs")
    await page.get_by_role("button", name="Begin EXERCISE notice").click()
    await page.get_by_label("What is said", exact=True).fill(text)
    await expect(page.locator("[data-text]").first).to_contain_text(text)
    await page.get_by_label("endanger neither").check()
    await page.get_by_label("about no open incident").check()
    await page.get_by_role("button", name="Submit EXERCISE notice").click()


async def test_within_the_guideline_its_compiler_releases_it_in_one_tap(
    stage: Stage, open_as: Open
) -> None:
    """With a passkey of their own."""
    staffed(stage)
    novak = stage.write(lambda tx: people.add(tx, "N. Novak", [Role.STAFF], actor="test"))
    stage.write(lambda tx: authorities.authorize_for_practice(tx, novak.id, actor="test"))
    token = stage.write(lambda tx: people.enrol(tx, novak.id, actor="test"))
    page = await open_as(None, "/sign-in")
    await authenticator(page)
    await enrol(page, token)
    await write(page, "announcement", "Coffee with a cop")
    await page.get_by_role("button", name="Release EXERCISE").click()
    await expect(page.locator("#state")).to_contain_text("Released")
    await page.goto("/p")
    notices = page.get_by_role("region", name="Notices")
    await expect(notices.get_by_role("heading", name="Coffee with a cop")).to_be_visible()
    await expect(notices).to_contain_text(TEXT)


async def test_outside_of_it_a_supervisor_approves_on_a_telephone(
    stage: Stage, open_as: Open
) -> None:
    staffed(stage)
    page = await open_as(STAFF)
    await write(page, "recruitment", "Dispatchers wanted", "Apply for the next class by Friday.")
    await expect(page.locator("#standing")).to_contain_text("waits for a supervisor")
    waiting = await page.get_by_role("link", name="See what they see").get_attribute("href")

    cole = stage.write(lambda tx: people.add(tx, "Sgt R. Cole", [Role.SUPERVISOR], actor="test"))
    token = stage.write(lambda tx: people.enrol(tx, cole.id, actor="test"))
    phone = await open_as(None, "/sign-in", viewport=PHONE)
    await authenticator(phone)
    await enrol(phone, token)
    [kept] = stage.read(lambda tx: passkeys.of_person(tx, cole.id))
    assert kept.usable and not kept.practice
    await phone.goto(str(waiting))
    assert await phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await phone.get_by_role("button", name="Approve EXERCISE").click()
    await expect(phone.locator("#state")).to_contain_text("Released")
    await expect(page.locator("#standing")).to_contain_text("released")
