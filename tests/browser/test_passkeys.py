"""A passkey in a real browser, on Chromium's virtual authenticator: from link to Released."""

from __future__ import annotations

import pytest
from playwright.async_api import CDPSession, Page, expect

from broadcaster.handover import record_command
from broadcaster.ledger import passkeys, people
from broadcaster.roster import Person, Role
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

LEDGERS = ["sqlite", "postgres"]

CAPTAIN = "Capt M. Ruiz"


async def authenticator(page: Page, *, synced: bool = False) -> tuple[CDPSession, str]:
    """A phone's own: it verifies its user, and says yes by itself. `synced`: its maker copies what
    it makes."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    made = await session.send("WebAuthn.addVirtualAuthenticator", {"options": {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
        "hasUserVerification": True, "isUserVerified": True,
        "automaticPresenceSimulation": True, "defaultBackupEligibility": synced,
        "defaultBackupState": synced,
    }})  # fmt: skip
    return session, made["authenticatorId"]


def captain(stage: Stage) -> tuple[Person, str]:
    """Somebody whom nobody may practise as, and their link."""
    person = stage.write(lambda tx: people.add(tx, CAPTAIN, [Role.COMMANDER], actor="operator"))
    return person, stage.write(lambda tx: people.enrol(tx, person.id, actor="operator"))


def commanded(stage: Stage, person: Person) -> str:
    """A submission that waits for them: its page's address."""
    incident = stage.report()
    pio = stage.people["A. Reyes"]
    stage.write(lambda tx: record_command(tx, incident, person.id, pio))
    return f"/a/{stage.submit(incident).request.id}"


async def enrol(page: Page, token: str) -> None:
    await page.goto(f"/enrol/{token}")
    await page.get_by_label("What is this device called?").fill("Duty phone")
    await page.get_by_role("button", name="Make a passkey").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("words")


async def test_from_the_link_to_released(stage: Stage, open_as: Open) -> None:
    person, token = captain(stage)
    address = commanded(stage, person)
    page = await open_as(None, "/sign-in", viewport=PHONE)
    await authenticator(page)
    await enrol(page, token)
    [kept] = stage.read(lambda tx: passkeys.of_person(tx, person.id))
    assert (kept.name, kept.usable, kept.practice) == ("Duty phone", True, False)

    await page.context.clear_cookies()  # the session lapsed; the passkey did not
    await page.goto(address)
    await page.get_by_role("button", name="Sign in with your passkey").click()
    await page.get_by_role("button", name="Approve EXERCISE: 3 channels").click()
    await expect(page.locator("#state")).to_contain_text("Released")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_a_finger_that_is_not_theirs_decides_nothing(stage: Stage, open_as: Open) -> None:
    person, token = captain(stage)
    address = commanded(stage, person)
    page = await open_as(None, "/sign-in", viewport=PHONE)
    session, device = await authenticator(page)
    await enrol(page, token)
    await page.goto(address)
    await session.send("WebAuthn.setUserVerified",
                       {"authenticatorId": device, "isUserVerified": False})  # fmt: skip
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#sending")).to_contain_text("nothing was decided")
    await session.send("WebAuthn.setUserVerified",
                       {"authenticatorId": device, "isUserVerified": True})  # fmt: skip
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#state")).to_contain_text("Released")


async def test_without_javascript_it_says_whom_to_telephone(stage: Stage, open_as: Open) -> None:
    person, token = captain(stage)
    address = commanded(stage, person)
    page = await open_as(None, f"/enrol/{token}", viewport=PHONE, java_script_enabled=False)
    await page.get_by_role("button", name="Sign in without a passkey").click()
    await page.goto(address)
    await expect(page.get_by_text("You have no passkey that may be used")).to_be_visible()
    await expect(page.get_by_role("button", name="Approve")).to_have_count(0)


async def test_a_second_device_is_added_and_approved(stage: Stage, open_as: Open) -> None:
    page = await open_as("A. Reyes", "/people")
    await authenticator(page)
    await page.get_by_label("What is it called?").fill("Console key")
    await page.get_by_role("button", name="Make a passkey on it").click()
    await expect(page.get_by_text("Console key: waits for approval")).to_be_visible()
    watch = await open_as("Lt J. Park", "/people", viewport=PHONE)
    assert await watch.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await watch.get_by_role("button", name="Approve Console key").click()
    await expect(watch.get_by_text("waits for approval")).to_have_count(0)


async def test_a_further_device_asks_for_the_present_one(stage: Stage, open_as: Open) -> None:
    """Both stand in one browser here, which would not make a second passkey of one person's."""
    person, token = captain(stage)
    page = await open_as(None, "/sign-in")
    await page.add_init_script(
        "const create = navigator.credentials.create.bind(navigator.credentials);"
        "navigator.credentials.create = (asked) => "
        "create({ publicKey: { ...asked.publicKey, excludeCredentials: [] } });"
    )
    session, device = await authenticator(page)
    await enrol(page, token)
    await page.goto("/people")
    await page.get_by_label("What is it called?").fill("Tablet")
    verified = {"authenticatorId": device, "isUserVerified": False}
    await session.send("WebAuthn.setUserVerified", verified)
    add = page.get_by_role("button", name="Make a passkey on it")
    await add.click()
    notice = page.get_by_role("alert")
    await expect(notice).to_contain_text("No passkey was used, and nothing has happened")
    await session.send("WebAuthn.setUserVerified", verified | {"isUserVerified": True})
    await add.click()
    await expect(page.get_by_text("Tablet: waits for approval")).to_be_visible()
    assert len(stage.read(lambda tx: passkeys.of_person(tx, person.id))) == 2


async def test_a_synced_passkey_signs_in_and_a_device_bound_one_decides(
    stage: Stage, open_as: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.settings, "device_bound", True)
    person, token = captain(stage)
    address = commanded(stage, person)
    page = await open_as(None, "/sign-in", viewport=PHONE)
    session, device = await authenticator(page, synced=True)
    await enrol(page, token)
    [kept] = stage.read(lambda tx: passkeys.of_person(tx, person.id))
    assert kept.synced
    await page.goto(address)
    await expect(page.get_by_text("You have no passkey that may be used")).to_be_visible()
    await page.goto("/people")
    await expect(page.get_by_text("signs in, and decides nothing")).to_be_visible()

    await session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": device})
    await session.detach()
    await authenticator(page)
    token = stage.write(lambda tx: people.enrol(tx, person.id, actor="operator"))
    await enrol(page, token)
    await page.goto(address)
    await page.get_by_role("button", name="Approve EXERCISE: 3 channels").click()
    await expect(page.locator("#state")).to_contain_text("Released")
