"""The feeds, read as a stranger reads them, and CAP against the OASIS schema."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import feedparser
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from broadcaster.approval import AnyRelease
from broadcaster.desk import cap, feeds
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk
from broadcaster.errors import Refusal
from broadcaster.ledger import Ledger, incidents, publications
from broadcaster.ledger.publications import Publication
from broadcaster.orders import Submitted
from broadcaster.update import UpdateKind, clean, short_code
from tests.broadcaster.desk import scene

CAP = f"{{{cap.NAMESPACE}}}"
PATHS = [each.path for each in feeds.FEEDS]


@pytest.fixture
async def reader(client: TestClient, persons: scene.Persons) -> TestClient:
    await scene.sign_in(client, persons.records)
    return client


async def body_of(client: TestClient, path: str) -> bytes:
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return await answer.read()


# --- Atom, RSS, JSON Feed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "version"), [("/p/feed.atom", "atom10"), ("/p/feed.rss", "rss20")]
)
async def test_a_feed_carries_the_approved_words(
    reader: TestClient, released: AnyRelease, submitted: Submitted, incident: incidents.Kept,
    path: str, version: str,
) -> None:  # fmt: skip
    feed = feedparser.parse(await body_of(reader, path))
    assert not feed.bozo and feed.version == version
    (entry,) = feed.entries
    rendering = submitted.revision.rendering("public_page")
    assert entry.title == rendering.headline
    said = entry.content[0].value if version == "atom10" else entry.description
    assert said == rendering.text
    assert entry.link == f"http://127.0.0.1:8080/p/{incident.public_id}#1"
    assert entry.id.startswith("urn:uuid:")
    assert datetime(*entry.published_parsed[:6], tzinfo=UTC) == scene.a_time()
    assert [tag.term for tag in entry.tags] == ["update"]


async def test_json_feed(
    reader: TestClient, released: AnyRelease, submitted: Submitted, incident: incidents.Kept
) -> None:
    feed = json.loads(await body_of(reader, "/p/feed.json"))
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    (item,) = feed["items"]
    assert item["content_text"] == submitted.revision.rendering("public_page").text
    assert item["_broadcaster"]["code"] == short_code(released.digest)
    assert datetime.fromisoformat(item["date_published"]) == scene.a_time()


async def test_an_id_never_changes_and_no_two_are_alike(
    reader: TestClient, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    before = feedparser.parse(await body_of(reader, "/p/feed.atom"))
    clock.on(minutes=3)
    await scene.told(ledger, incident, persons, clock.now(), text="Another word.")
    after = feedparser.parse(await body_of(reader, "/p/feed.atom"))
    assert before.feed.id == after.feed.id
    assert [each.id for each in after.entries][1:] == [each.id for each in before.entries]
    assert len({each.id for each in after.entries}) == 2
    rss = feedparser.parse(await body_of(reader, "/p/feed.rss"))
    assert [each.id for each in rss.entries] == [each.id for each in after.entries]


@pytest.mark.parametrize("path", PATHS)
async def test_a_feed_without_updates_is_a_feed(reader: TestClient, path: str) -> None:
    body = await body_of(reader, path)
    if path.endswith("json"):
        assert json.loads(body)["items"] == []
    else:
        feed = feedparser.parse(body)
        assert not feed.bozo and feed.entries == [] and feed.version


@pytest.mark.parametrize("path", PATHS)
async def test_a_feed_is_sent_again_only_when_it_moved(
    reader: TestClient, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock, path: str,
) -> None:  # fmt: skip
    first = await reader.get(path)
    by_tag = {"If-None-Match": first.headers["ETag"]}
    by_time = {"If-Modified-Since": first.headers["Last-Modified"]}
    for known in (by_tag, by_time):
        again = await reader.get(path, headers=known)
        assert again.status == 304 and await again.read() == b""
    clock.on(seconds=1)
    await scene.told(ledger, incident, persons, clock.now(), text="Another word.")
    for known in (by_tag, by_time):
        assert (await reader.get(path, headers=known)).status == 200


# --- Who may read an exercise's ---------------------------------------------------------------


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", [*PATHS, "/p/cap/00000000-0000-0000-0000-000000000000.xml"])
async def test_an_exercises_feeds_ask_for_a_password(client: TestClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="EXERCISE')


async def test_the_password_stands_on_the_page_and_opens_the_feeds(
    client: TestClient, reader: TestClient, released: AnyRelease, ledger: Ledger, desk: Desk
) -> None:
    password = await ledger.read(publications.feed_password)
    assert password in await (await reader.get("/p")).text()
    async with TestClient(TestServer(make_app(desk))) as stranger:  # another start, the same word
        for path in PATHS:
            answer = await stranger.get(path, headers=basic("feeds", password))
            assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("feeds", "wrong"),
        basic("feeds", ""),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer abc"},
    ],
)
async def test_a_wrong_password_opens_nothing(client: TestClient, headers: dict[str, str]) -> None:
    assert (await client.get("/p/feed.atom", headers=headers)).status == 401


async def test_the_password_opens_no_page(client: TestClient, ledger: Ledger) -> None:
    password = await ledger.read(publications.feed_password)
    headers = {**basic("feeds", password), **scene.PAGE}
    answer = await client.get("/p", headers=headers, allow_redirects=False)
    assert answer.status == 303


async def test_the_live_feeds_are_for_everybody(desk: Desk, released: AnyRelease) -> None:
    live = desk.settings.model_copy(update={"world": "live"})
    async with TestClient(TestServer(make_app(replace(desk, settings=live)))) as client:
        for path in PATHS:
            answer = await client.get(path)
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "public, max-age=15"


# --- CAP --------------------------------------------------------------------------------------


async def messages(client: TestClient) -> list[etree._Element]:
    """Every CAP message that the index names, the newest first."""
    index = feedparser.parse(await body_of(client, "/p/cap.atom"))
    found = []
    for entry in index.entries:
        assert entry.links[0].type == "application/cap+xml"
        path = entry.links[0].href.removeprefix("http://127.0.0.1:8080")
        answer = await client.get(path)
        assert answer.content_type == "application/cap+xml"
        found.append(etree.fromstring(await answer.read()))
    return found


def said(message: etree._Element, name: str) -> str | None:
    return message.findtext(f".//{CAP}{name}")


async def test_cap_fits_its_schema_and_carries_the_words(
    reader: TestClient, released: AnyRelease, submitted: Submitted, incident: incidents.Kept,
    cap_schema: etree.XMLSchema,
) -> None:  # fmt: skip
    (message,) = await messages(reader)
    cap_schema.assertValid(message)
    rendering = submitted.revision.rendering("public_page")
    assert said(message, "headline") == rendering.headline
    assert said(message, "description") == rendering.text
    assert said(message, "areaDesc") == submitted.revision.area
    assert said(message, "instruction") == submitted.revision.words.guidance.text
    assert (said(message, "status"), said(message, "msgType")) == ("Exercise", "Alert")
    assert (said(message, "scope"), said(message, "language")) == ("Public", "en")
    assert said(message, "sent") == "2026-11-22T14:02:00-08:00"
    assert said(message, "expires") == "2026-11-23T14:02:00-08:00"
    assert said(message, "urgency") == said(message, "severity") == said(message, "certainty")
    assert said(message, "urgency") == "Unknown"


async def test_guidance_that_the_approved_text_does_not_say_stays_out(
    reader: TestClient, ledger: Ledger, incident: incidents.Kept, persons: scene.Persons,
    clock: scene.HeldClock,
) -> None:  # fmt: skip
    await scene.told(ledger, incident, persons, clock.now(), text="Gas leak. Keep away.")
    (message,) = await messages(reader)
    assert said(message, "instruction") is None


async def test_the_life_of_an_incident_in_cap(
    reader: TestClient, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock, cap_schema: etree.XMLSchema,
) -> None:  # fmt: skip
    clock.on(minutes=5)
    second = await scene.told(ledger, incident, persons, clock.now(), text="More.")
    clock.on(minutes=5)
    await scene.told(ledger, incident, persons, clock.now(), text="Not so.",
                     kind=UpdateKind.RETRACTION, corrects=second.id)  # fmt: skip
    clock.on(minutes=5)
    await scene.told(ledger, incident, persons, clock.now(), text="The leak is closed.",
                     kind=UpdateKind.ALL_CLEAR)  # fmt: skip
    fourth, third, two, first = await messages(reader)
    for message in (first, two, third, fourth):
        cap_schema.assertValid(message)

    def reference(message: etree._Element) -> str:
        return ",".join(said(message, name) or "" for name in ("sender", "identifier", "sent"))

    assert [said(m, "msgType") for m in (first, two, third, fourth)] == [
        "Alert", "Update", "Cancel", "Update",
    ]  # fmt: skip
    assert said(first, "references") is None
    assert said(two, "references") == reference(first)
    assert said(third, "references") == reference(two)
    assert said(fourth, "references") == reference(first), "not the cancelled one"
    assert (said(fourth, "responseType"), said(fourth, "urgency")) == ("AllClear", "Past")
    assert said(first, "responseType") is None


async def test_no_such_message(reader: TestClient) -> None:
    answer = await reader.get("/p/cap/00000000-0000-0000-0000-000000000000.xml")
    assert (answer.status, (await answer.json())["code"]) == (404, "no_such_message")


@pytest.mark.parametrize(
    ("zone", "written"),
    [
        ("America/Los_Angeles", "2026-11-22T14:02:00-08:00"),
        ("Asia/Kathmandu", "2026-11-23T03:47:00+05:45"),
        ("UTC", "2026-11-22T22:02:00-00:00"),
        ("Europe/London", "2026-11-22T22:02:00-00:00"),
    ],
)
def test_times_as_cap_writes_them(zone: str, written: str) -> None:
    at = scene.a_time() + timedelta(microseconds=123_456)
    assert cap.moment(at, ZoneInfo(zone)) == written


def test_a_retraction_of_what_stood_elsewhere_cancels_nothing_here(desk: Desk) -> None:
    alone = scene.publication(
        scene.a_time(), kind="retraction", corrects="a release of other channels"
    )
    message = etree.fromstring(cap.message(desk, alone, [alone]))
    assert said(message, "msgType") == "Alert" and said(message, "references") is None


def cleaned(text: str) -> str | None:
    """What the product keeps of a text; None where it refuses it."""
    try:
        return clean(text, "text")
    except Refusal:
        return None


ANY_TEXT = st.text(max_size=200).map(cleaned).filter(bool)


@settings(max_examples=150, deadline=None)
@given(headline=ANY_TEXT, text=ANY_TEXT, area=ANY_TEXT)
def test_whatever_may_be_approved_comes_out_the_same(
    headline: str, text: str, area: str, a_desk: Desk, cap_schema: etree.XMLSchema
) -> None:
    one = scene.publication(scene.a_time(), headline=headline, text=text, area=area, guidance=text)
    message = etree.fromstring(cap.message(a_desk, one, [one]))
    cap_schema.assertValid(message)
    assert [said(message, name) for name in ("headline", "description", "areaDesc")] == [
        headline, text, area,
    ]  # fmt: skip
    several: Sequence[Publication] = [one]
    atom = etree.fromstring(feeds.atom(a_desk, several))
    assert atom.findtext(f".//{{{feeds.ATOM}}}content") == text
    rss = etree.fromstring(feeds.rss(a_desk, several))
    assert rss.findtext(".//item/description") == text
    assert json.loads(feeds.json_feed(a_desk, several))["items"][0]["content_text"] == text
    etree.fromstring(feeds.cap_index(a_desk, several))
