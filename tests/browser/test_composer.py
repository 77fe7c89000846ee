"""The composer: live where there are scripts, and nothing typed is ever lost."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from broadcaster.ledger import approvals
from tests.browser.conftest import Open
from tests.browser.stage import Stage

PIO = "A. Reyes"
SEND = "Send EXERCISE to the Watch Commander for approval"
STATEMENT = "I state that these words endanger"


async def test_each_channel_is_shown_and_counted_as_one_types(stage: Stage, open_as: Open) -> None:
    page = await open_as(PIO, f"/incidents/{stage.report()}")
    await page.get_by_label("Hazard", exact=True).fill("Gas leak é")
    exact = page.locator('[data-channel="county_eoc"]')
    await expect(exact.locator("[data-text]")).to_contain_text("Gas leak é, 66100 block")
    said = await exact.locator("[data-text]").text_content()
    assert said is not None
    await expect(exact.locator("[data-length]")).to_have_text(
        f"{len(said.encode())} of 16,384 bytes"
    )
    await expect(page.locator('[data-channel="public_page"] [data-length]')).to_have_text(
        f"{len(said)} characters"
    )
    await expect(page.get_by_label("Text", exact=True)).to_have_value(
        said.removeprefix("EXERCISE, NOT REAL. ")
    )
    hazard = page.locator(".phrase", has_text="Hazard")
    await expect(hazard.locator(".origin")).to_have_text("typed")


async def test_one_channel_says_something_else(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    county = page.locator('[data-channel="county_eoc"]')
    await county.get_by_text("Say something else here").click()
    await page.get_by_label("County EOC's own text").fill("Gas leak, Pierson Blvd. Units stay out.")
    await expect(county.locator("[data-text]")).to_have_text(
        "EXERCISE, NOT REAL. Gas leak, Pierson Blvd. Units stay out."
    )
    await page.get_by_role("checkbox", name="School district").uncheck()
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name=SEND).click()
    await expect(page.locator("#standing")).to_contain_text("waits for the Watch Commander")
    (revision,) = stage.read(lambda tx: approvals.revisions_of(tx, incident))
    assert revision.channels == ("public_page", "county_eoc")
    assert revision.rendering("county_eoc").text.endswith("Units stay out.")
    assert revision.rendering("public_page").text.endswith(".")


async def test_ctrl_enter_sends_and_enter_does_not(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    field = page.get_by_label("Where", exact=True)
    await field.focus()
    await field.press("Enter")
    assert stage.read(lambda tx: approvals.requests_of(tx, incident)) == []
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await field.press("Control+Enter")
    await expect(page.locator("#standing h2")).to_contain_text("Update #1 waits")


async def test_everything_is_reached_by_keyboard(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, "/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    link = page.get_by_role("link", name="Write update")
    for _ in range(12):
        await page.keyboard.press("Tab")
        if await link.evaluate("(link) => link === document.activeElement"):
            break
    outline = await link.evaluate("(link) => getComputedStyle(link).outlineWidth")
    assert outline == "3px"
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{stage.address}/incidents/{incident}")
    for target, key in (
        (page.get_by_role("checkbox", name=STATEMENT), "Space"),
        (page.get_by_role("button", name=SEND), "Enter"),
    ):
        for _ in range(60):
            await page.keyboard.press("Tab")
            if await target.evaluate("(field) => field === document.activeElement"):
                break
        await page.keyboard.press(key)
    await expect(page.locator("#standing h2")).to_contain_text("Update #1 waits")


async def test_what_was_typed_survives_an_error(stage: Stage, open_as: Open) -> None:
    page = await open_as(PIO, f"/incidents/{stage.report()}", java_script_enabled=False)
    await page.get_by_label("Where", exact=True).fill("")
    await page.get_by_label("Do", exact=True).fill("Stay inside, please.")
    await page.get_by_role("checkbox", name="School district").uncheck()
    await page.get_by_label("It stands for").select_option("4 hours")
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name=SEND).click()
    await expect(page.get_by_role("alert")).to_contain_text("The update does not say where.")
    await expect(page.get_by_label("Where", exact=True)).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("Do", exact=True)).to_have_value("Stay inside, please.")
    await expect(page.get_by_role("checkbox", name="School district")).not_to_be_checked()
    await expect(page.get_by_label("It stands for")).to_have_value("4")
    await page.get_by_label("Where", exact=True).fill("Pierson Blvd")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.locator('[data-channel="public_page"] [data-text]')).to_contain_text(
        "Gas leak, Pierson Blvd. Stay inside, please."
    )
    await page.get_by_role("button", name=SEND).click()
    await expect(page.locator("#standing h2")).to_contain_text("Update #1 waits")


async def test_what_was_typed_survives_reload_and_sign_out(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    await page.get_by_label("Do", exact=True).fill("Stay inside, please.")
    await page.get_by_role("checkbox", name="School district").uncheck()
    await page.reload()
    await expect(page.get_by_label("Do", exact=True)).to_have_value("Stay inside, please.")
    await expect(page.locator("#kept")).to_contain_text("This is what you typed until")

    await page.locator("#you summary").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.goto(f"/incidents/{incident}")
    await page.get_by_role("button", name=PIO).click()
    await expect(page.get_by_label("Do", exact=True)).to_have_value("Stay inside, please.")
    await expect(page.get_by_role("checkbox", name="School district")).not_to_be_checked()

    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name=SEND).click()
    await expect(page.locator("#standing h2")).to_contain_text("Update #1 waits")
    await page.get_by_role("button", name="Take back").click()
    await expect(page.locator("#kept")).to_be_hidden()
    await expect(page.get_by_label("Do", exact=True)).to_have_value("Stay inside, please.")


async def test_a_fact_that_changed_meanwhile_is_said_before_it_is_sent(
    stage: Stage, open_as: Open
) -> None:
    incident = stage.report(place="66000 block of Pierson Blvd")
    page = await open_as(PIO, f"/incidents/{incident}")
    await page.get_by_label("Do", exact=True).fill("Stay inside, please.")
    stage.report(place="66100 block of Pierson Blvd")
    await expect(page.locator("h1")).to_contain_text("66100 block")  # the page moved,
    await expect(page.get_by_label("Where", exact=True)).to_have_value(
        "66000 block of Pierson Blvd"
    )  # and what is being written did not
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name=SEND).click()
    await expect(page.get_by_role("alert")).to_contain_text("The incident has changed since")
    await expect(page.get_by_text("Reported now: 66100 block of Pierson Blvd")).to_be_visible()
    await expect(page.get_by_label("Do", exact=True)).to_have_value("Stay inside, please.")
    await page.get_by_label("Where", exact=True).fill("66100 block of Pierson Blvd")
    await page.get_by_role("button", name=SEND).click()
    await expect(page.locator("#standing h2")).to_contain_text("Update #1 waits")


async def test_the_next_update_replaces_nothing_unless_ticked(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    release = stage.tell(incident)
    page = await open_as(PIO, f"/incidents/{incident}")
    earlier = page.get_by_role("group", name="Replaces").get_by_role("checkbox")
    await expect(earlier).not_to_be_checked()
    await page.get_by_role("radio", name="Correction").check()
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name="Send EXERCISE to Lt J. Park for approval").click()
    await expect(page.get_by_role("alert")).to_contain_text("says which earlier update it is about")
    await page.get_by_label("It is about").select_option(release.id)
    await earlier.check()
    await page.get_by_role("button", name="Send EXERCISE to Lt J. Park for approval").click()
    await expect(page.locator("#standing h2")).to_contain_text("Update #2 waits for Lt J. Park")
    newest = stage.read(lambda tx: approvals.revisions_of(tx, incident))[0]
    assert newest.replaces == (release.id,) and newest.corrects == release.id


async def test_closing_leads_to_an_all_clear(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    stage.tell(incident)
    page = await open_as(PIO, f"/incidents/{incident}")
    await page.get_by_text("Report a change, or close it").click()
    await page.get_by_role("button", name="Close the incident").click()
    await expect(page.locator("#facts")).to_contain_text("This incident is closed")
    await page.goto("/")
    await expect(page.locator(".row")).to_contain_text("No all clear yet")
    await page.get_by_role("link", name="Give the all clear").click()
    await expect(page.get_by_label("Hazard", exact=True)).to_have_value("All clear: gas leak")
    await expect(page.get_by_role("radio", name="All clear")).to_be_checked()
    ended = page.get_by_label("How it ended", exact=True)
    await expect(ended).to_have_value("[…]")
    send = page.get_by_role("button", name="Send EXERCISE to")
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await send.click()
    await expect(page.get_by_role("alert")).to_contain_text("does not say how it ended")
    await ended.fill("The gas company has closed the line.")
    await send.click()
    await expect(page.locator("#standing")).to_contain_text("waits for")
    newest = stage.read(lambda tx: approvals.revisions_of(tx, incident))[0]
    assert "gas leak, " in newest.rendering("public_page").text
    assert "The gas company has closed the line." in newest.rendering("public_page").text


async def test_who_may_not_write_is_told_who_may(stage: Stage, open_as: Open) -> None:
    page = await open_as("K. Lindqvist", f"/incidents/{stage.report()}")
    await expect(page.locator("#composer")).to_have_count(0)
    await expect(page.locator(".desk")).to_contain_text("The Public Information Officer writes")


async def test_what_was_said_is_taken_back_in_four_taps(stage: Stage, open_as: Open) -> None:
    """The retraction is ready: on exactly the channels that were told."""
    incident = stage.report()
    release = stage.tell(incident)
    page = await open_as(PIO, f"/releases/{release.id}")
    await page.get_by_role("link", name="Take it back").click()
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name="Send EXERCISE to Lt J. Park").click()
    await expect(page.locator("#standing")).to_contain_text("waits for")
    newest = stage.read(lambda tx: approvals.revisions_of(tx, incident))[0]
    assert (newest.kind, newest.corrects) == ("retraction", release.id)
    assert newest.channels == release.channels
    assert "We take back update #1 of" in newest.rendering("public_page").text


async def test_a_correction_says_what_is_right(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    release = stage.tell(incident)
    page = await open_as(PIO, f"/releases/{release.id}", java_script_enabled=False)
    await page.get_by_role("link", name="Correct it").click()
    await page.get_by_role("checkbox", name=STATEMENT).check()
    text = page.get_by_label("Text", exact=True)
    begun = await text.input_value()
    assert begun.startswith("Correction of update #1 of") and begun.endswith("What is right: […]")
    await page.get_by_role("button", name="Send EXERCISE to Lt J. Park").click()
    await expect(page.get_by_text("The text still holds […]").first).to_be_visible()
    await expect(text).to_have_value(begun)
    await text.fill(begun.replace("[…]", "only the block north of Pierson Blvd is closed."))
    await page.get_by_role("button", name="Send EXERCISE to Lt J. Park").click()
    await expect(page.locator("#standing")).to_contain_text("waits for")
    newest = stage.read(lambda tx: approvals.revisions_of(tx, incident))[0]
    assert (newest.kind, newest.corrects) == ("correction", release.id)


# --- Policy 389.5 -------------------------------------------------------------------------------

GUIDANCE = "Stay inside. Officers are behind the school. Shelter: 65850 Pierson Blvd."


async def test_what_must_not_be_said_is_shown_as_one_types(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}")
    checks = page.locator("#checks")
    await expect(checks.get_by_role("status")).to_have_text("none open")
    await page.get_by_label("Do", exact=True).fill(GUIDANCE)
    await expect(checks.get_by_role("status")).to_have_text("2 findings open")
    await expect(page.get_by_role("link", name="2 findings open")).to_be_in_viewport()
    where = checks.locator('[data-rule="unit-position"]')
    await expect(where).to_contain_text("“Officers are behind the school” in Do and every channel")
    await expect(where).to_contain_text("389.5(e)")
    await expect(where).to_contain_text("Say that police are in the area.")
    await where.get_by_role("link", name="Show").click()
    await expect(page).to_have_url(f"{stage.address}/incidents/{incident}#f-guidance")

    await page.get_by_label("Do", exact=True).fill(GUIDANCE.replace("behind the school", "near"))
    await expect(where).to_be_hidden()
    await expect(checks.get_by_role("status")).to_have_text("1 finding open")
    await checks.get_by_label("Exact address: reason, for the Watch Commander").fill(
        "The shelter of the city."
    )
    await page.get_by_role("button", name=SEND).click()
    await expect(page.get_by_role("alert")).to_contain_text("Nobody has stated that these words")
    await expect(
        checks.get_by_label("Exact address: reason, for the Watch Commander")
    ).to_have_value("The shelter of the city.")
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name=SEND).click()
    await expect(page.locator("#standing h2")).to_contain_text("Update #1 waits")
    (revision,) = stage.read(lambda tx: approvals.revisions_of(tx, incident))
    assert revision.attested and revision.policy_reasons == {
        "house-number": "The shelter of the city."
    }


async def test_without_scripts_it_is_shown_after_sending(stage: Stage, open_as: Open) -> None:
    incident = stage.report()
    page = await open_as(PIO, f"/incidents/{incident}", java_script_enabled=False)
    await page.get_by_label("Do", exact=True).fill(GUIDANCE)
    await page.get_by_role("checkbox", name=STATEMENT).check()
    await page.get_by_role("button", name=SEND).click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("Where officers are in the guidance, 389.5(e)")
    await expect(page.get_by_label("Do", exact=True)).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("Do", exact=True)).to_have_value(GUIDANCE)
    await expect(page.locator("#checks")).to_contain_text("“65850 Pierson Blvd” in Do and every")

    await page.get_by_label("Do", exact=True).fill("Stay inside. Shelter: 65850 Pierson Blvd.")
    await page.get_by_role("button", name=SEND).click()
    await expect(alert).to_contain_text("It wants a reason")
    await page.get_by_label("Exact address: reason, for the Watch Commander").fill(
        "The shelter of the city."
    )
    await page.get_by_role("button", name=SEND).click()
    (request,) = stage.read(lambda tx: approvals.requests_of(tx, incident))
    approval = await open_as("Lt J. Park", f"/a/{request.request.id}")
    await expect(approval.locator("dl")).to_contain_text("Exact address, 389.5(b): “65850 Pierson")
    await expect(approval.locator("dl")).to_contain_text("reason: “The shelter of the city.”")
    await expect(approval.locator("dl")).to_contain_text("no danger to the investigation")


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_the_character_that_makes_an_address_another_is_named(
    stage: Stage, open_as: Open, javascript: bool
) -> None:
    page = await open_as(PIO, f"/incidents/{stage.report()}", java_script_enabled=javascript)
    await page.get_by_label("Text", exact=True).fill("Gas leak. See https://pаypal.com/gas.")
    if not javascript:
        await page.get_by_role("button", name="Preview").click()
    found = page.locator('[data-rule="lookalike-address"]')
    await expect(found).to_contain_text("“pаypal.com” in every channel")
    await expect(found).to_contain_text("“а” (U+0430 CYRILLIC SMALL LETTER A) is Cyrillic")
