"""What became of wrong words, what is read back, and a channel that is off."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect

from broadcaster.accounts import Account, BlueskyAccount, MastodonAccount, WordPressAccount
from broadcaster.aftercare import Errand, Found
from broadcaster.approval import AnyRelease
from broadcaster.delivery import PostState, Refused
from broadcaster.ledger import Tx, approvals, errands, people, posts, releases, wrong_words
from broadcaster.roster import Person, Role
from broadcaster.settling import allow_replies, forbid_replies, pause_channel
from broadcaster.update import Rendering, UpdateKind
from streams.sweep import sweep
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage
from tests.browser.test_axe import faults

LEDGERS = ["sqlite", "postgres"]

#: One that puts right words in the place of wrong ones, one that takes these down, and one on
#: which the public can answer, so that it is off. Nothing is sent to the address.
URL = "http://127.0.0.1:9"
PLATFORMS: list[Account] = [
    WordPressAccount(kind="wordpress", name="city_site", title="City website", url=URL, user="it",
                     password="p"),
    BlueskyAccount(kind="bluesky", name="bluesky", title="Bluesky", url=URL, user="dhs.example",
                   password="p"),
    MastodonAccount(kind="mastodon", name="mastodon", title="Mastodon", url=URL, token="t"),
]  # fmt: skip


#: Bluesky holds no more.
SHORT = "Gas leak, 66100 block of Pierson Blvd. Stay away."


@pytest.fixture
def accounts() -> list[Account]:
    return PLATFORMS


def read_back(stage: Stage, release: AnyRelease, channel: str, found: Found) -> None:
    """Waits until a release's post was read on its channel, and what was found."""

    def step(tx: Tx) -> bool | None:
        [post] = [each.id for each in posts.of_release(tx, release.id) if each.channel == channel]
        owed = [each for each in errands.of_posts(tx, [post]) if each.found is found]
        return True if any(each.owed.errand is Errand.READ_BACK for each in owed) else None

    stage.until(step)


def corrected(stage: Stage) -> tuple[AnyRelease, AnyRelease]:
    """Wrong words, and the right ones; of these the public reads something else on the website."""
    gas = stage.report(place="66000 block of Pierson Blvd")
    short = "Gas leak, {} block of Pierson Blvd. Stay away."  # Bluesky holds no more
    wrong = stage.tell(gas, own_texts={"bluesky": short.format(66000)})
    for channel in ("city_site", "bluesky"):
        read_back(stage, wrong, channel, Found.AS_APPROVED)
    stage.report(place="66100 block of Pierson Blvd")
    stage.platforms["city_site"].instead = "Gas leak: everybody must leave the city."
    right = stage.tell(
        gas, kind=UpdateKind.CORRECTION, corrects=wrong.id,
        own_texts={"bluesky": short.format(66100)},
    )  # fmt: skip
    read_back(stage, right, "city_site", Found.CHANGED)
    read_back(stage, right, "bluesky", Found.AS_APPROVED)

    def mended(tx: Tx) -> bool | None:
        states = {each.channel: each.state for each in posts.of_release(tx, wrong.id)}
        down = all(states[each] is PostState.RETRACTED for each in ("city_site", "bluesky"))
        return True if down else None

    stage.until(mended)
    return wrong, right


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_somebody_has_seen_that_the_public_reads_something_else(
    stage: Stage, open_as: Open, javascript: bool
) -> None:
    _, right = corrected(stage)
    page = await open_as("A. Reyes", f"/releases/{right.id}", java_script_enabled=javascript)
    row = page.locator("#posts li", has_text="City website")
    seen = row.get_by_role("button", name="I have seen it (City website)")
    await expect(row).to_contain_text("What the public reads there is not what was approved.")
    await expect(page.get_by_role("button", name="I have seen it")).to_have_count(1)
    records = await open_as("K. Lindqvist", f"/releases/{right.id}", viewport=PHONE)
    await expect(records.locator("#posts")).to_contain_text("is not what was approved")
    await expect(records.get_by_role("button", name="I have seen it")).to_have_count(0)
    board = await open_as("A. Reyes", "/", java_script_enabled=javascript)
    await expect(board.locator("#board")).to_contain_text("City website")
    await seen.click()
    await expect(row).to_contain_text("is not what was approved. A. Reyes has seen it")
    await expect(row.get_by_role("status")).to_have_count(0)
    await expect(seen).to_have_count(0)
    if not javascript:
        await board.reload()
    await expect(board.locator("#board")).not_to_contain_text("City website")


async def test_what_became_of_wrong_words_reads_well_on_a_phone(
    stage: Stage, open_as: Open
) -> None:
    wrong, right = corrected(stage)
    page = await open_as("A. Reyes", f"/releases/{wrong.id}", viewport=PHONE)
    website = page.locator("#posts li", has_text="City website")
    await expect(website).to_contain_text("put right: update #2 stands in their place")
    taken = page.locator("#posts li", has_text="Bluesky")
    await expect(taken).to_contain_text("It was taken down, since right words were posted")
    for release in (wrong, right):
        await page.goto(f"/releases/{release.id}")
        assert await faults(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    card = await page.locator("main > .card").bounding_box()
    row = await page.locator("#posts li").first.bounding_box()
    assert row is not None and card is not None and row["width"] == card["width"]
    seen = await page.get_by_role("button", name="I have seen it").bounding_box()
    assert seen is not None and seen["height"] >= 44


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_a_channel_that_is_off_is_a_hint_and_no_tick_box(
    stage: Stage, open_as: Open, javascript: bool
) -> None:
    page = await open_as("A. Reyes", f"/incidents/{stage.report()}", java_script_enabled=javascript)
    await expect(page.get_by_role("checkbox", name="Bluesky")).to_be_checked()
    await expect(page.get_by_role("checkbox", name="Mastodon")).to_have_count(0)
    await expect(page.locator("#off-mastodon")).to_contain_text("Mastodon is off: the public can")


def waiting(stage: Stage) -> tuple[str, AnyRelease]:
    """Wrong words on a channel that somebody has paused, and the retraction that waits for that."""
    gas = stage.report()
    wrong = stage.tell(gas, own_texts={"bluesky": SHORT})
    reyes = stage.people["A. Reyes"]
    stage.write(lambda tx: pause_channel(tx, "city_site", "The website is being moved.", reyes))
    taken_back = stage.submit(gas, kind=UpdateKind.RETRACTION, corrects=wrong.id,
                              text="We take it back.")  # fmt: skip
    stage.decide(taken_back, person="Lt J. Park")
    stage.until(lambda tx: releases.of_revision(tx, taken_back.revision.id))
    stage.until(lambda tx: True if len(wrong_words.still_out(tx, gas)) == 1 else None)
    return f"/a/{taken_back.request.id}", wrong


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_a_pause_that_keeps_wrong_words_up_is_told_where_one_looks_and_ended_there(
    stage: Stage, open_as: Open, javascript: bool
) -> None:
    approval, wrong = waiting(stage)
    incident = f"/incidents/{wrong.incident_id}"
    for person, address, viewport in (
        ("A. Reyes", f"/releases/{wrong.id}", None), ("A. Reyes", incident, None),
        ("Sgt M. Ortiz", approval, PHONE), ("Sgt M. Ortiz", incident, PHONE),
    ):  # fmt: skip
        how = {"viewport": viewport} if viewport else {}
        page = await open_as(person, address, java_script_enabled=javascript, **how)
        told = page.locator(".wrong", has_text="City website")
        await expect(told).to_contain_text("The wrong words of #1 stay up on City website.")
        await expect(told).to_contain_text("A. Reyes paused the channel")
        await expect(told).to_contain_text(
            "“The website is being moved.” So #2, which puts them right, is not"
        )
        if viewport:
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        if javascript:
            assert await faults(page) == []
    board = await open_as("A. Reyes", "/", java_script_enabled=javascript)
    await expect(board.locator("#board")).to_contain_text("City website: wrong words stay up")
    await page.get_by_role("button", name="Let City website go on").click()
    await expect(page).to_have_url(f"{stage.address}{incident}")
    await expect(page.locator(".wrong")).to_have_count(0)


async def test_wrong_words_that_stay_are_shown_until_somebody_has_taken_them_down(
    stage: Stage, open_as: Open
) -> None:
    gas = stage.report()
    wrong = stage.tell(gas, own_texts={"bluesky": SHORT})
    stage.platforms["bluesky"].fails = [("retract", Refused("Bluesky does not allow it."))]
    stage.tell(gas, kind=UpdateKind.CORRECTION, corrects=wrong.id, own_texts={"bluesky": SHORT})
    stage.until(lambda tx: any(e.alarms for _, e in errands.alarming(tx, [gas])) or None)
    page = await open_as("A. Reyes", f"/incidents/{gas}")
    told = page.locator("#wrong .wrong", has_text="Bluesky")
    await expect(told).to_contain_text("Bluesky does not allow it. Take it down by hand.")
    await told.get_by_role("button", name="They cannot be taken down (Bluesky)").click()
    await expect(told).to_contain_text("A. Reyes said")
    await expect(told.get_by_role("button", name="They cannot be taken down")).to_have_count(0)
    await page.goto(f"/releases/{wrong.id}")
    row = page.locator("#posts li", has_text="Bluesky")
    await row.get_by_role("button", name="I have taken them down (Bluesky)").click()
    await expect(row).to_contain_text("it is being done")
    stage.write(sweep)
    await expect(row).to_contain_text("A. Reyes has taken it down.")
    await expect(row.locator(".wrong")).to_have_count(0)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_a_channel_that_is_off_is_offered_where_the_wrong_words_may_be(
    stage: Stage, open_as: Open, javascript: bool
) -> None:
    """What puts them right goes exactly there; for an ordinary update it is no choice."""
    chief = the_chief(stage)
    gas = stage.report()
    wrong = stage.tell(gas, own_texts={"bluesky": SHORT})
    stage.write(lambda tx: forbid_replies(tx, "mastodon", person=chief, actor="test"))
    page = await open_as(
        "A. Reyes", f"/incidents/{gas}?from=retract:{wrong.id}", java_script_enabled=javascript
    )
    box = page.locator('[data-channel="mastodon"]')
    await expect(box.get_by_role("checkbox", name="Mastodon")).to_be_checked()
    await expect(box).to_contain_text("the wrong words may be there")
    if javascript:
        assert await faults(page) == []
        await page.get_by_role("radio", name="Update").check()
        await expect(box).to_be_hidden()
        await page.get_by_role("radio", name="Retraction").check()
    await expect(box.get_by_role("checkbox", name="Mastodon")).to_be_checked()
    await page.get_by_label("I state that these words endanger neither").check()
    await page.get_by_role("button", name="Send EXERCISE to").click()
    await expect(page.locator("#standing")).to_contain_text("waits for")
    asked = stage.read(lambda tx: approvals.open_requests(tx, gas))
    revision = stage.read(lambda tx: approvals.revision(tx, asked[0].request.revision_id))
    assert revision is not None and "mastodon" in revision.channels
    page = await open_as("A. Reyes", f"/incidents/{gas}?from=empty", java_script_enabled=javascript)
    await expect(page.get_by_role("checkbox", name="Mastodon")).to_have_count(0)


def the_chief(stage: Stage) -> Person:
    """The Chief, who has allowed replies on Mastodon."""
    chief = stage.write(lambda tx: people.add(tx, "Chief Banks", [Role.CHIEF], actor="test"))
    stage.write(lambda tx: allow_replies(
        tx, "mastodon", reason="Many read it.", until=tx.now + timedelta(days=1), person=chief,
        actor="test",
    ))  # fmt: skip
    return chief


async def test_wrong_words_that_stand_there_again_are_told_though_somebody_has_seen_it(
    stage: Stage, open_as: Open
) -> None:
    gas = stage.report()
    wrong = stage.tell(gas, own_texts={"bluesky": SHORT})
    [said] = [each.text for each in stage.read(lambda tx: words_of(tx, wrong))
              if each.channel == "city_site"]  # fmt: skip
    stage.platforms["city_site"].instead = said
    right = stage.tell(gas, kind=UpdateKind.CORRECTION, corrects=wrong.id, text="Right words.",
                       own_texts={"bluesky": SHORT})  # fmt: skip
    read_back(stage, right, "city_site", Found.WRONG)
    page = await open_as("A. Reyes", f"/releases/{right.id}")
    await page.get_by_role("button", name="I have seen it (City website)").click()
    await expect(page.locator("#posts")).to_contain_text("A. Reyes has seen it")
    await page.goto(f"/incidents/{gas}")
    told = page.locator("#wrong .wrong")
    await expect(told).to_contain_text("The wrong words of #1 stand again on City website.")
    await expect(told).to_contain_text("in the place of #2")
    assert await faults(page) == []


def words_of(tx: Tx, release: AnyRelease) -> tuple[Rendering, ...]:
    words = approvals.revision(tx, release.revision_id)
    assert words is not None
    return words.renderings
