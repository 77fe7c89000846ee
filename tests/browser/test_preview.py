"""What each channel would post, in that platform's shape, as one types and without scripts."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from broadcaster.accounts import (
    Account,
    BlueskyAccount,
    MailAccount,
    MastodonAccount,
    MatrixAccount,
    NtfyAccount,
    WordPressAccount,
    XAccount,
)
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_axe import faults
from tests.browser.test_mended import the_chief

#: One of each kind, of which nothing is asked.
URL = "http://127.0.0.1:9"
PLATFORMS: list[Account] = [
    MatrixAccount(kind="matrix", name="matrix", title="Matrix", url=URL, room="!dhs:example.gov",
                  token="t"),
    MastodonAccount(kind="mastodon", name="mastodon", title="Mastodon", url=URL, token="t"),
    BlueskyAccount(kind="bluesky", name="bluesky", title="Bluesky", url=URL, user="dhs.example",
                   password="p"),
    WordPressAccount(kind="wordpress", name="city_site", title="City website", url=URL, user="it",
                     password="p"),
    XAccount(kind="x", name="x", title="X", user_id="1", api_key="k", api_key_secret="s",
             token="t", token_secret="s"),
    MailAccount(kind="mail", name="mail", title="E-mail list", host="127.0.0.1", tls="none",
                sender="alerts@dhs.example", recipients=("a@dhs.example",),
                unsubscribe="https://dhs.example/off"),
    NtfyAccount(kind="ntfy", name="ntfy", title="ntfy", url=URL, topic="dhs-alerts", token="t"),
]  # fmt: skip

TEXT = "Gas leak. #OakSt is closed. https://police.gov/gas @oak@b.example\nابقوا في الداخل."


@pytest.fixture
def accounts() -> list[Account]:
    return PLATFORMS


async def composed(stage: Stage, open_as: Open, *, javascript: bool, **how: object) -> Page:
    """The composer with a text that each platform reads in its own way."""
    the_chief(stage)  # lets Mastodon be used
    page = await open_as(
        "A. Reyes", f"/incidents/{stage.report()}", java_script_enabled=javascript, **how
    )
    await page.get_by_label("Text", exact=True).fill(TEXT)
    if not javascript:
        await page.get_by_role("button", name="Preview").click()
    await expect(page.locator('[data-channel="mastodon"] [data-text]')).to_contain_text("ابقوا")
    return page


async def shown(page: Page, channel: str) -> list[list[str]]:
    """The passages that a channel marks, each with what it is."""
    found: list[list[str]] = await page.locator(
        f'[data-channel="{channel}"] [data-text] span'
    ).evaluate_all("several => several.map(each => [each.className.trim(), each.textContent])")
    return found


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_each_channel_reads_the_words_in_its_own_way(
    stage: Stage, open_as: Open, javascript: bool
) -> None:
    page = await composed(stage, open_as, javascript=javascript)
    link, tag = ["link", "https://police.gov/gas"], ["hashtag", "#OakSt"]
    mention = ["mention", "@oak@b.example"]
    assert await shown(page, "mastodon") == [tag, link, mention]
    assert await shown(page, "x") == [tag, link, ["mention", "@oak"]], "refused there, and why"
    assert await shown(page, "bluesky") == [link], "we mark nothing else there"
    for channel in ("matrix", "mail"):
        assert await shown(page, channel) == [link]
    for channel in ("public_page", "city_site", "county_eoc"):
        assert await shown(page, channel) == []
    for channel, text in [
        ("mail", "Subject"), ("mail", "alerts@dhs.example"), ("city_site", "Title"),
        ("bluesky", "@dhs.example"), ("matrix", "!dhs:example.gov"),
        ("mastodon", "A card of https://police.gov/gas may stand beneath"),
    ]:  # fmt: skip
        await expect(page.locator(f'[data-channel="{channel}"] figure')).to_contain_text(text)
    for channel in ("x", "bluesky", "mastodon", "matrix"):  # their posts have no headline
        await expect(page.locator(f'[data-channel="{channel}"] [data-headline]')).to_have_count(0)
    await expect(page.locator('[data-channel="bluesky"] [data-notes]')).to_be_hidden()
    said = await page.locator('[data-channel="mail"] [data-text]').text_content()
    assert said == f"EXERCISE, NOT REAL. {TEXT}", "the passages are the words, and nothing else"


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_what_is_folded_is_told(stage: Stage, open_as: Open, javascript: bool) -> None:
    page = await composed(stage, open_as, javascript=javascript)
    await page.get_by_label("Text", exact=True).fill("\n".join(map(str, range(1, 31))))
    if not javascript:
        await page.get_by_role("button", name="Preview").click()
    box = page.locator('[data-channel="bluesky"]')
    await expect(box.locator("[data-notes]")).to_contain_text("What stands under “Show more”")
    await expect(box.locator(".folded")).to_have_text("26\n27\n28\n29\n30")
    assert await box.locator(".folded").get_attribute("data-more") == "Show more"
    await expect(page.locator('[data-channel="mastodon"] .folded')).to_have_count(0)


async def test_words_that_run_from_the_right_stand_at_the_right(
    stage: Stage, open_as: Open
) -> None:
    page = await composed(stage, open_as, javascript=True)
    await page.get_by_label("Text", exact=True).fill("ابقوا في الداخل.")
    own = page.locator('[data-channel="mail"]')
    await own.get_by_text("Say something else here").click()
    await own.get_by_label("E-mail list's own text").fill("Stay.\nابقوا في الداخل.")
    words = own.locator("[data-text]")
    await expect(words).to_contain_text("Stay.")
    starts = await words.evaluate(
        """words => {
          const range = document.createRange();
          return [0, words.textContent.indexOf("ا")].map((at) => {
            range.setStart(words.firstChild, at);
            range.setEnd(words.firstChild, at + 1);
            return range.getBoundingClientRect().left;
          });
        }"""
    )
    assert starts[0] < starts[1], "each paragraph by its own direction"


@pytest.mark.parametrize("width", [360, 1280])
async def test_the_shapes_fit_and_can_be_read(stage: Stage, open_as: Open, width: int) -> None:
    asked: list[str] = []
    page = await composed(stage, open_as, javascript=True, viewport=PHONE | {"width": width})
    page.on("request", lambda request: asked.append(request.url))
    await page.reload()
    assert await faults(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert all(url.startswith(stage.address) for url in asked), "nothing is asked of a platform"
