"""A Commander's phone before a running installation: Chromium at 360 px, with a passkey."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import CDPSession, Page, async_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM, PHONE
from tests.browser.test_passkeys import authenticator
from tests.connected.installation import PIO, Installation

__all__ = ["CHROMIUM", "a_phone", "enrolled", "make_a_passkey"]


@asynccontextmanager
async def a_phone(at: Installation) -> AsyncIterator[tuple[Page, CDPSession]]:
    """A page on a phone of its own, whose authenticator verifies its user and always says yes."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        phone = await browser.new_context(
            base_url=at.address, viewport=PHONE, has_touch=True, is_mobile=True
        )
        page = await phone.new_page()
        session, _ = await authenticator(page)
        yield page, session
        await browser.close()


async def enrolled(at: Installation, name: str) -> str:
    """Puts a Commander, whom nobody may practise as, on the roster, and gives their link."""
    code, out, err = await at.run("roster", "add", name, "--role", "commander")
    assert code == 0, err
    incident = (await at.opened())["incident"]["id"]
    shown = await (await at.person(PIO)).get(f"/incidents/{incident}")
    found = re.search(rf'value="([^"]+)"[^>]*>\s*{name}', shown.raw.decode())
    assert found, "the incident's page lists who may command"
    at.people[name] = found[1]
    return out.split()[-1]


async def make_a_passkey(page: Page, link: str, name: str) -> None:
    await page.goto(link)
    await page.get_by_label("What is this device called?").fill("Duty phone")
    await page.get_by_role("button", name="Make a passkey").click()
    await page.get_by_text(f"You are {name}").wait_for()
