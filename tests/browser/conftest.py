"""A desk to look at, and Debian's Chromium to look with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import jinja2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from broadcaster.accounts import Account
from tests.browser.stage import Stage
from tests.patience import PATIENCE
from tests.postgres import Server

CHROMIUM = Path("/usr/bin/chromium")
#: Chromium's sandbox needs a user that is not root; these pages are our own.
ARGUMENTS = ["--no-sandbox"]

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

expect.set_options(timeout=1000 * PATIENCE)

#: Opens a page as somebody; None: signed out.
Open = Callable[..., Awaitable[Page]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder share one loop, and so one Chromium."""
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if not CHROMIUM.exists():
            item.add_marker(pytest.mark.skip(reason=f"there is no Chromium at {CHROMIUM}"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What a file calls its `LEDGERS` its tests run on: SQLite, if it does not say."""
    if "url" in metafunc.fixturenames:
        ledgers = getattr(metafunc.module, "LEDGERS", ["sqlite"])
        metafunc.parametrize("url", ledgers, indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the ledger is: None for a SQLite file."""
    if request.param == "sqlite":
        yield None
        return
    request.getfixturevalue("patient")
    running: Server = request.getfixturevalue("postgres")
    with running.database() as database:
        yield database.url()


@pytest.fixture
def accounts() -> list[Account]:
    """Of channels that a test has beside those of every stage; a file may have its own."""
    return []


@pytest.fixture
def stage(
    tmp_path: Path, url: str | None, compiled: jinja2.BytecodeCache, accounts: list[Account]
) -> Iterator[Stage]:
    with Stage(tmp_path, url, compiled, accounts) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="session")
async def open_as(browser: Browser, stage: Stage) -> AsyncIterator[Open]:
    """Opens a page of the desk in a browser of its own, signed in as a practice person.

    What the page itself complains about (a script's error, a policy that it broke) fails the test.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    async def open_(person: str | None, path: str = "/", **options: object) -> Page:
        options.setdefault("viewport", DESK)
        context = await browser.new_context(base_url=stage.address, **options)
        contexts.append(context)
        if person is not None:
            answer = await context.request.post(
                "/practice", form={"person_id": stage.people[person].id, "next": "/"},
                headers={"Sec-Fetch-Site": "same-origin"},
            )  # fmt: skip
            assert answer.ok, await answer.text()
        page = await context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: _note(said.type, said.text, complaints))
        await page.goto(path)
        return page

    yield open_
    for context in contexts:
        await context.close()
    assert not complaints


def _note(kind: str, text: str, complaints: list[str]) -> None:
    """Errors, but for those that a test brings about: a refusal's status, a line cut off."""
    if kind == "error" and "Failed to load resource" not in text:
        complaints.append(text)
