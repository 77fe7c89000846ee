"""No page has a fault that axe can find, by day or by night, wide or narrow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from broadcaster import notices, up_the_chain
from broadcaster.approval import Verdict
from broadcaster.errors import Refusal
from broadcaster.handover import offer_command, record_command
from broadcaster.incident import Status, Topic
from broadcaster.ledger import guidelines, incidents, people, problems
from broadcaster.roster import Role
from tests.browser.conftest import DESK, PHONE, Open
from tests.browser.stage import Stage

PIO, COMMANDER, CHIEF = "A. Reyes", "Lt J. Park", "Chief L. Banks"


async def faults(page: Page) -> list[str]:
    found = await Axe().run(page)
    return [
        f"{page.url}: {violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk by day", "phone by night"]
)
async def test_axe_finds_nothing(
    stage: Stage, open_as: Open, scheme: str, size: dict[str, int]
) -> None:
    told = stage.report(place="66000 block of Pierson Blvd")
    stage.answers["school_district"] = 403
    release = stage.tell(told)
    stage.answers.clear()
    stage.report(place="66100 block of Pierson Blvd")
    waiting = stage.submit(told)
    fresh = stage.report("2", type_="WIRES", place="Palm Dr and Two Bunch Palms Trl")
    stage.report("3", type_="DVA", place="Ironwood Dr")
    closed = stage.report("4", type_="FBRUSH", place="Dillon Rd")
    stage.tell(closed)
    stage.report("4", type_="FBRUSH", place="Dillon Rd", status=Status.CLOSED)
    returned = stage.report("5", type_="THAZ", place="Hacienda Ave")
    back = stage.submit(returned)
    stage.decide(back, Verdict.RETURNED, reason="Say which lanes.")
    late = stage.submit(stage.report("6", type_="MVAINJY", place="Palm Dr"))
    stage.run_out(late.request.id)
    moved = stage.report("8", type_="WIRES", place="Palm Dr")
    stage.tell(moved)
    lapsed = stage.submit(moved)
    stage.report("8", type_="WIRES", place="Ironwood Dr")
    handed = stage.report("7", type_="HAZMAT", place="Mission Lakes Blvd")
    offered = stage.submit(handed)
    ortiz, park, reyes = (stage.people[name] for name in ("Sgt M. Ortiz", COMMANDER, PIO))
    stage.write(lambda tx: record_command(tx, handed, ortiz.id, reyes))
    stage.write(lambda tx: offer_command(tx, handed, park.id, ortiz))
    stage.write(
        lambda tx: problems.note(
            tx, problems.Place("kafka", "exercise.incident.intake", 0, 7),
            Refusal("not_json", "This message is not a JSON object.", "Send one JSON object."),
        )
    )  # fmt: skip
    token = stage.write(lambda tx: people.enrol(tx, stage.people[PIO].id, actor="test"))
    stage.people[CHIEF] = stage.write(
        lambda tx: people.add(tx, CHIEF, [Role.CHIEF, Role.SUPERVISOR], actor="test", practice=True)
    )
    stage.write(lambda tx: up_the_chain.ask(tx, "The road is closed.", stage.people[COMMANDER]))
    notice = stage.write(
        lambda tx: notices.begin(
            tx, Topic.ANNOUNCEMENT, "Coffee with a cop", "The city", stage.people[PIO]
        )
    )
    stage.write(
        lambda tx: guidelines.grant(
            tx, Topic.ANNOUNCEMENT, members=[], roles=[Role.PIO], channels=["public_page"],
            until=datetime.now(UTC) + timedelta(days=9), text="Dates of community events.",
            granted_by=stage.people[CHIEF].id, actor="test",
        )
    )  # fmt: skip
    public_id = stage.read(lambda tx: incidents.get(tx, told)).public_id
    pages = [
        (None, "/sign-in"), (None, f"/enrol/{token}"), (None, "/enrol/unknown"),
        (PIO, "/"), (PIO, "/?tab=open"), (PIO, "/?tab=off"), (PIO, "/?tab=closed"),
        (PIO, "/?tab=routine&request=1"), (PIO, f"/incidents/{notice.id}"),
        (PIO, "/?about=2#report"), (COMMANDER, "/"), (PIO, "/?tab=nonsense&page=7"),
        (PIO, f"/incidents/{fresh}"), (PIO, f"/incidents/{told}"), (PIO, f"/incidents/{returned}"),
        (PIO, f"/incidents/{closed}?kind=all+clear"), (COMMANDER, f"/incidents/{fresh}"),
        (COMMANDER, f"/a/{waiting.request.id}"), (PIO, f"/a/{waiting.request.id}"),
        (PIO, f"/voice/{offered.request.id}"), (CHIEF, f"/voice/{offered.request.id}"),
        (COMMANDER, f"/a/{late.request.id}"), (COMMANDER, f"/a/{back.request.id}"),
        (COMMANDER, f"/a/{offered.request.id}"), (COMMANDER, f"/incidents/{handed}"),
        (COMMANDER, f"/a/{lapsed.request.id}"), (PIO, f"/incidents/{moved}"),
        (PIO, f"/releases/{release.id}"), (PIO, "/record"), (PIO, "/record?kind=PostDelivered"),
        (COMMANDER, "/me"), (PIO, "/people"), (CHIEF, "/people"), (PIO, "/requests"),
        (CHIEF, "/requests"),
        (PIO, "/problems"), (PIO, "/nothing-here"), (PIO, "/p"), (PIO, f"/p/{public_id}"),
        (PIO, "/channels"),
    ]  # fmt: skip
    found = []
    by_person: dict[str | None, Page] = {}
    for person, path in pages:
        if person not in by_person:
            by_person[person] = await open_as(person, path, viewport=size, color_scheme=scheme)
        page = by_person[person]
        await page.goto(path)
        await page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        found += await faults(page)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        if wide > size["width"]:
            found.append(f"{path} scrolls sideways: {wide}")
    assert not found, "\n".join(found)


async def test_axe_would_find_something(open_as: Open) -> None:
    page = await open_as(PIO, "/")
    await page.locator("label[for=r-place]").evaluate("(label) => label.remove()")
    await page.evaluate("document.getElementById('report').open = true")
    assert any("label" in fault for fault in await faults(page))
