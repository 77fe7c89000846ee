"""The public's page: the approved words, whole, and what has become of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from lxml import html as lxml_html

from broadcaster.approval import AnyRelease
from broadcaster.desk import templating
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk
from broadcaster.ledger import Ledger, approvals, incidents
from broadcaster.orders import Submitted
from broadcaster.update import UpdateKind, short_code
from tests.broadcaster.desk import scene

STATIC = Path(templating.__file__).parent / "static"


@pytest.fixture
async def reader(client: TestClient, persons: scene.Persons) -> TestClient:
    """Somebody who may read an exercise's page."""
    await scene.sign_in(client, persons.records)
    return client


async def text_of(client: TestClient, path: str) -> str:
    """A page's text as an eye reads it: one space between words."""
    answer = await client.get(path, headers=scene.PAGE)
    assert answer.status == 200, await answer.text()
    tree = lxml_html.fromstring(await answer.text())
    for hidden in tree.xpath("//script | //style | //head"):
        hidden.drop_tree()
    return " ".join(tree.text_content().split())


@pytest.mark.parametrize("path", ["/p", "/p/abcd2345"])
async def test_an_exercises_page_needs_a_sign_in(client: TestClient, path: str) -> None:
    answer = await client.get(path, headers=scene.PAGE, allow_redirects=False)
    assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/sign-in")


async def test_nothing_told_yet(reader: TestClient) -> None:
    assert "Nothing is being told now." in await text_of(reader, "/p")


async def test_the_approved_words_stand_whole(
    reader: TestClient, released: AnyRelease, submitted: Submitted, incident: incidents.Kept
) -> None:
    rendering = submitted.revision.rendering("public_page")
    for path in ("/p", f"/p/{incident.public_id}"):
        said = await text_of(reader, path)
        assert rendering.headline in said and rendering.text in said
        assert "14:02 PST, just now" in said and "Mon Nov 23, 14:02 PST" in said
    assert f"#1, code {short_code(released.digest)}" in said
    assert submitted.revision.area in said
    assert "This page was made at 14:02:00 PST." in said


async def test_what_is_first_stands_first(
    reader: TestClient, released: AnyRelease, submitted: Submitted, incident: incidents.Kept
) -> None:
    """What happened and where, what to do, until when: in that order."""
    said = await text_of(reader, f"/p/{incident.public_id}")
    rendering = submitted.revision.rendering("public_page")
    in_order = [rendering.headline, rendering.text, "Where", "Holds until", "How to check"]
    places = [said.index(each) for each in in_order]
    assert places == sorted(places)


async def test_the_exercise_is_said_and_who_one_is(
    reader: TestClient, released: AnyRelease, incident: incidents.Kept
) -> None:
    said = await text_of(reader, f"/p/{incident.public_id}")
    assert said.count("EXERCISE") >= 3 and "You are K. Lund" in said and "Sgt Ortiz" in said


async def test_earlier_updates_newest_first(
    reader: TestClient, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    for text in ("The second word.", "The third word."):
        clock.on(minutes=5)
        await scene.told(ledger, incident, persons, clock.now(), text=text)
    said = await text_of(reader, f"/p/{incident.public_id}")
    order = ["The third word.", "Earlier updates", "#2, 14:07 PST", "The second word.", "#1, 14:02"]
    places = [said.index(each) for each in order]
    assert places == sorted(places)


async def test_a_correction_says_what_was_wrong_and_since_when(
    reader: TestClient, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    clock.on(minutes=5)
    await scene.told(
        ledger, incident, persons, clock.now(), kind=UpdateKind.CORRECTION, corrects=released.id,
        text="It is Palm Drive, not Pierson Blvd.",
    )  # fmt: skip
    said = await text_of(reader, f"/p/{incident.public_id}")
    assert "Correction of update #1, which was told at 14:02 PST. Right since 14:07 PST" in said
    assert "Corrected by update #2 at 14:07 PST. Do not go by these words." in said


async def test_a_retraction_takes_back(
    reader: TestClient, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    await scene.told(
        ledger, incident, persons, clock.now(), kind=UpdateKind.RETRACTION, corrects=released.id,
        text="There was no gas leak.",
    )  # fmt: skip
    said = await text_of(reader, f"/p/{incident.public_id}")
    assert "Retraction of update #1" in said
    assert "Taken back by update #2" in said


async def test_an_all_clear_is_over(
    reader: TestClient, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    await scene.told(
        ledger, incident, persons, clock.now(), kind=UpdateKind.ALL_CLEAR,
        text="The leak is closed. You can open windows again.",
    )  # fmt: skip
    said = await text_of(reader, f"/p/{incident.public_id}")
    assert "All clear" in said and "How it endedThe leak is closed." in said
    said = await text_of(reader, "/p")
    assert said.index("Nothing is being told now.") < said.index("Over")


async def test_an_update_whose_time_ran_out_says_so(
    reader: TestClient, ledger: Ledger, incident: incidents.Kept, persons: scene.Persons,
    clock: scene.HeldClock,
) -> None:  # fmt: skip
    until = clock.now() + timedelta(minutes=20)
    await scene.told(ledger, incident, persons, clock.now(), expires_at=until)
    clock.on(minutes=20)
    said = await text_of(reader, f"/p/{incident.public_id}")
    assert "The time of this update ran out at 14:22 PST. It may no longer be so." in said
    assert "Time ran out" in await text_of(reader, "/p")


async def test_what_only_others_were_told_is_not_here(
    reader: TestClient, ledger: Ledger, incident: incidents.Kept, persons: scene.Persons,
    clock: scene.HeldClock,
) -> None:  # fmt: skip
    order = scene.order_for(incident, clock.now(), channels=("partners",))
    await scene.approve(ledger, await scene.submit(ledger, order, persons.pio), persons.watch)
    answer = await reader.get(f"/p/{incident.public_id}", headers=scene.PAGE)
    assert answer.status == 404
    assert "Nothing has been told about this incident." in await answer.text()


async def test_nothing_is_here_before_it_was_published(
    reader: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    incident: incidents.Kept,
) -> None:  # fmt: skip
    await scene.approve(ledger, submitted, persons.watch)
    assert (await reader.get(f"/p/{incident.public_id}", headers=scene.PAGE)).status == 404


async def test_copies_are_asked_for_again_and_not_sent_again(
    reader: TestClient, released: AnyRelease, incident: incidents.Kept, clock: scene.HeldClock,
    ledger: Ledger, persons: scene.Persons,
) -> None:  # fmt: skip
    path = f"/p/{incident.public_id}"
    first = await reader.get(path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    assert (await reader.get(path, headers=known)).status == 304
    await scene.told(ledger, incident, persons, clock.now(), text="Another word.")
    newer = await reader.get(path, headers=known)
    assert newer.status == 200
    clock.on(minutes=1)  # the page says ages, so an older copy is another page
    answer = await reader.get(path, headers={"If-None-Match": newer.headers["ETag"]})
    assert answer.status == 200


async def test_one_persons_copy_is_not_anothers(
    reader: TestClient, released: AnyRelease, another_client: Callable[[], TestClient],
    persons: scene.Persons,
) -> None:  # fmt: skip
    other = another_client()
    await scene.sign_in(other, persons.pio)
    tag = (await reader.get("/p")).headers["ETag"]
    assert (await other.get("/p", headers={"If-None-Match": tag})).status == 200


async def test_the_live_page_is_for_everybody(
    desk: Desk, released: AnyRelease, incident: incidents.Kept
) -> None:
    settings = desk.settings.model_copy(update={"world": "live"})
    async with TestClient(TestServer(make_app(replace(desk, settings=settings)))) as client:
        answer = await client.get("/p", headers=scene.PAGE)
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "public, max-age=15, stale-if-error=86400"
        assert "X-Robots-Tag" not in answer.headers
        said = await answer.text()
        assert "You are" not in said and "/practice" not in said and "LIVE:" not in said
        assert "feeds of an exercise" not in said


async def test_the_page_runs_nothing_and_fetches_nothing_from_elsewhere(
    reader: TestClient, released: AnyRelease, incident: incidents.Kept
) -> None:
    for path in ("/p", f"/p/{incident.public_id}"):
        tree = lxml_html.fromstring(await (await reader.get(path, headers=scene.PAGE)).text())
        assert not tree.xpath("//script[not(@src)] | //style | //@style | //*[@onclick]")
        for address in tree.xpath("//@src | //link/@href"):
            assert address.startswith("/")


def test_the_public_pays_for_at_most_8_kb_of_style() -> None:
    sizes = [(STATIC / name).stat().st_size for name in ("tokens.css", "public.css")]
    assert sum(sizes) <= 8 * 1024


@pytest.mark.parametrize(
    "words",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</p></article><h1>Evacuate</h1>",
        "javascript:alert(1)",
        "{{ 7*7 }}{% include 'base.html' %}",
        "&lt;b&gt; & <b>",
        "]]><!-- <?xml version='1.0'?> -->",
        "'; DROP TABLE publications; --",
    ],
)
async def test_words_with_html_come_out_as_words(
    reader: TestClient, ledger: Ledger, incident: incidents.Kept, persons: scene.Persons,
    clock: scene.HeldClock, words: str,
) -> None:  # fmt: skip
    release = await scene.told(ledger, incident, persons, clock.now(), hazard=words, text=words)
    revision = await ledger.read(lambda tx: approvals.revision(tx, release.revision_id))
    assert revision is not None
    rendering = revision.rendering("public_page")
    for path in ("/p", f"/p/{incident.public_id}"):
        raw = await (await reader.get(path, headers=scene.PAGE)).text()
        assert rendering.text in await text_of(reader, path)
        tree = lxml_html.fromstring(raw)
        scripts = [each.get("src") for each in tree.iter("script")]
        assert len(scripts) == 1 and scripts[0].startswith("/static/public.js")
        assert not list(tree.iter("img")) and len(list(tree.iter("h1"))) == 1


def test_words_are_not_cut_by_the_size_of_a_phone() -> None:
    style = (STATIC / "public.css").read_text() + (STATIC / "tokens.css").read_text()
    assert "text-overflow" not in style and "line-clamp" not in style
