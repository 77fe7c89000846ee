"""A picture in the composer, on the Commander's page, and before the public."""

from __future__ import annotations

import hashlib
import io
import re

import feedparser
import pytest
from aiohttp import ClientResponse, FormData
from aiohttp.test_utils import TestClient
from lxml import etree

from broadcaster.approval import AnyRelease
from broadcaster.cleaning import MOST_SENT, clean_picture
from broadcaster.desk import composer
from broadcaster.ledger import Ledger, Tx, approvals, incidents, pictures
from broadcaster.media import Image
from broadcaster.orders import ShowPicture, Submitted, take_back
from broadcaster.settings import Settings
from streams.gate import judge_decision
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_composer import form_of, suggested
from tests.pictures import drawing, kept_picture, photograph

ALT = "A map of Pierson Blvd, closed from Cactus to Palm."
CAP = {"cap": "urn:oasis:names:tc:emergency:cap:1.2"}


@pytest.fixture(autouse=True)
def channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public page, which shows pictures, and partners that get the words alone."""
    page, partners = scene.CHANNELS
    alone = partners.model_copy(update={"pictures": 0})
    monkeypatch.setattr(scene, "CHANNELS", (page, alone))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings.model_validate(settings.model_dump() | {"voice_approval": True})


async def upload(
    client: TestClient, incident: incidents.Kept, data: bytes, name: str = "photo.jpg",
    **changed: str,
) -> ClientResponse:  # fmt: skip
    """Presses the composer's button with a file and with what stands in its other fields."""
    form = FormData()
    for field, value in form_of(suggested(incident.incident), **changed).items():
        form.add_field(field, str(value))
    form.add_field("file", io.BytesIO(data), filename=name, content_type="text/plain")
    return await client.post(
        f"/incidents/{incident.incident.id}/picture", data=form,
        headers=scene.SAME_ORIGIN | scene.PAGE,
    )  # fmt: skip


async def test_it_is_added_beside_what_was_typed(
    client: TestClient, incident: incidents.Kept, persons: scene.Persons, ledger: Ledger
) -> None:
    await scene.sign_in(client, persons.pio)
    answer = await upload(client, incident, photograph(), "harmless.gif", place="Elm St")
    said = await answer.text()
    image = clean_picture(photograph()).image
    assert answer.status == 200 and 'value="Elm St"' in said
    assert f'name="picture" value="{image.digest}"' in said
    assert "Goes without the picture: Partner agencies" in said
    kept = await ledger.read(lambda tx: pictures.get(tx, image.digest))
    assert kept is not None and b"Lund" not in kept.data
    [address] = re.findall(r'src="(/incidents/[^"]+)"', said)
    shown = await client.get(address)
    assert await shown.read() == kept.data
    assert (shown.content_type, shown.headers["X-Content-Type-Options"]) == (
        "image/jpeg", "nosniff"
    )  # fmt: skip
    assert shown.headers["Cache-Control"] == "no-store"


async def test_it_is_sent_described_and_not_otherwise(
    client: TestClient, incident: incidents.Kept, persons: scene.Persons, ledger: Ledger
) -> None:
    await scene.sign_in(client, persons.pio)
    image = await kept_picture(ledger, incident.incident.id, persons.pio)
    address = f"/incidents/{incident.incident.id}"

    async def send(alt: str, act: str = "send") -> ClientResponse:
        form = form_of(suggested(incident.incident), picture=image.digest, alt=alt, act=act,
                       attested="on")  # fmt: skip
        return await client.post(
            address, data=form, headers=scene.SAME_ORIGIN | scene.PAGE, allow_redirects=False
        )

    refused = await send("")
    assert refused.status == 422 and "has no description" in await refused.text()
    out = await (await send(ALT, "no_picture")).text()
    assert image.digest not in out and ALT not in out
    assert (await send(ALT)).status == 303
    [revision] = await ledger.read(lambda tx: approvals.revisions_of(tx, incident.incident.id))
    assert [each.alt for each in revision.pictures] == [ALT]


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"", 422, "No picture was chosen"),
        (b"GIF89a", 422, "this is a GIF"),
        (photograph()[:700], 422, "cannot be read"),
        (b"\xff\xd8\xff" + b"\0" * MOST_SENT, 413, "more than 12 MB"),
    ],
    ids=["none", "GIF", "cut off", "too large"],
)
async def test_what_is_refused_leaves_the_form_as_it_was(
    client: TestClient, incident: incidents.Kept, persons: scene.Persons, data: bytes, status: int,
    says: str,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.pio)
    answer = await upload(client, incident, data, place="Elm St")
    said = await answer.text()
    assert answer.status == status and says in said and 'value="Elm St"' in said


async def test_only_who_writes_adds_one_and_no_other_address_takes_so_much(
    client: TestClient, incident: incidents.Kept, persons: scene.Persons, ledger: Ledger
) -> None:
    assert (await upload(client, incident, drawing())).status == 401
    await scene.sign_in(client, persons.records)
    assert (await upload(client, incident, drawing())).status == 403
    assert await ledger.read(
        lambda tx: pictures.get(tx, clean_picture(drawing()).image.digest)
    ) is None  # fmt: skip
    form = FormData()
    form.add_field("file", io.BytesIO(b"\0" * 2_000_000), filename="a.jpg")
    elsewhere = await client.post(
        f"/incidents/{incident.incident.id}", data=form, headers=scene.SAME_ORIGIN | scene.PAGE
    )
    assert elsewhere.status == 413


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"no parts", "multipart/form-data; boundary=x"), (b"", "multipart/form-data")],
)
async def test_a_broken_form_is_refused_in_words(
    client: TestClient, incident: incidents.Kept, persons: scene.Persons, body: bytes,
    content_type: str,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.pio)
    answer = await client.post(
        f"/incidents/{incident.incident.id}/picture", data=body,
        headers=scene.SAME_ORIGIN | scene.PAGE | {"Content-Type": content_type},
    )  # fmt: skip
    assert answer.status in (400, 422)
    assert "<h1" in await answer.text()


async def test_the_other_forms_of_that_page_still_work(
    client: TestClient, incident: incidents.Kept, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    address = f"/incidents/{incident.incident.id}"
    looked = await client.get(f"{address}/picture", allow_redirects=False)
    assert (looked.status, looked.headers["Location"]) == (303, address)
    form = form_of(suggested(incident.incident), act="send", attested="on")
    sent = await client.post(
        f"{address}/picture", data=form, headers=scene.SAME_ORIGIN, allow_redirects=False
    )
    assert sent.status == 303 and sent.headers["Location"].startswith(f"{address}?sent=")


# --- Before the Commander, and before the public ----------------------------------------------


@pytest.fixture
async def image(ledger: Ledger, incident: incidents.Kept, persons: scene.Persons) -> Image:
    return await kept_picture(ledger, incident.incident.id, persons.pio)


@pytest.fixture
async def asked(
    ledger: Ledger, clock: scene.HeldClock, incident: incidents.Kept, image: Image,
    persons: scene.Persons,
) -> Submitted:  # fmt: skip
    shown = (ShowPicture(digest=image.digest, alt=ALT),)
    order = scene.order_for(incident, clock.now(), pictures=shown)
    return await scene.submit(ledger, order, persons.pio)


@pytest.fixture
async def told(ledger: Ledger, asked: Submitted, persons: scene.Persons) -> AnyRelease:
    release = await scene.approve(ledger, asked, persons.watch)
    await scene.deliver(ledger, release)
    return release


async def test_the_commander_sees_it_described_and_where_it_does_not_go(
    client: TestClient, asked: Submitted, image: Image, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.watch)
    said = await (await client.get(f"/a/{asked.request.id}")).text()
    assert f'src="/incidents/{asked.request.incident_id}/pictures/{image.file_name}"' in said
    assert f'alt="{ALT}"' in said and f"“{ALT}”" in said
    assert re.search(r"Goes without the picture: Partner agencies\.", said)
    detail = await (await client.get(f"/api/v1/approval-requests/{asked.request.id}")).json()
    [shown] = detail["pictures"]
    assert (shown["digest"], shown["without"]) == (image.digest, ["partners"])


async def test_it_is_not_approved_aloud(
    client: TestClient, asked: Submitted, persons: scene.Persons
) -> None:
    """Who hears the words has not seen it; the page says so before anybody begins."""
    await scene.sign_in(client, persons.pio)
    said = await (await client.get(f"/voice/{asked.request.id}")).text()
    assert "which nobody can approve aloud" in said and 'id="attest"' not in said
    for path in (f"/a/{asked.request.id}", f"/incidents/{asked.request.incident_id}"):
        assert f"/voice/{asked.request.id}" not in await (await client.get(path)).text()


async def test_the_releases_page_shows_it(
    client: TestClient, told: AnyRelease, image: Image, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    said = await (await client.get(f"/releases/{told.id}")).text()
    assert image.file_name in said and "Goes without the picture: Partner agencies." in said


async def test_the_public_sees_it_with_its_description(
    client: TestClient, told: AnyRelease, image: Image, incident: incidents.Kept,
    persons: scene.Persons, cap_schema: etree.XMLSchema,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.watch)
    said = await (await client.get(f"/p/{incident.public_id}")).text()
    [address] = re.findall(r'<img src="(/p/[^"]+)" alt="A map', said)
    shown = await client.get(address)
    data = await shown.read()
    assert shown.status == 200 and hashlib.sha256(data).hexdigest() == image.digest
    again = await client.get(address, headers={"If-None-Match": shown.headers["ETag"]})
    assert again.status == 304
    whole = f"http://127.0.0.1:8080{address}"
    for name in ("atom", "rss"):
        [entry] = feedparser.parse(await (await client.get(f"/p/feed.{name}")).read()).entries
        [enclosure] = entry.enclosures
        assert (enclosure.href, enclosure.type, enclosure.length) == (
            whole, "image/jpeg", str(image.size)
        )  # fmt: skip
    [item] = (await (await client.get("/p/feed.json")).json(content_type=None))["items"]
    assert item["attachments"] == [
        {"url": whole, "mime_type": "image/jpeg", "title": ALT, "size_in_bytes": image.size}
    ]
    post_id = address.split("/")[3]
    message = etree.fromstring(await (await client.get(f"/p/cap/{post_id}.xml")).read())
    cap_schema.assertValid(message)
    [resource] = message.iterfind(".//cap:resource", CAP)
    assert {etree.QName(each).localname: each.text for each in resource} == {
        "resourceDesc": ALT, "mimeType": "image/jpeg", "size": str(image.size), "uri": whole,
        "digest": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    }  # fmt: skip


async def test_what_was_taken_back_is_shown_no_more(
    client: TestClient, told: AnyRelease, incident: incidents.Kept, persons: scene.Persons,
    ledger: Ledger,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.watch)
    page = f"/p/{incident.public_id}"
    [address] = re.findall(r'<img src="(/p/[^"]+)"', await (await client.get(page)).text())

    def order(tx: Tx) -> str:
        back = take_back(tx, told.id, persons.watch)
        decided = approvals.decision_of(tx, back.request.id)
        assert decided is not None
        return decided.decision.id

    url = "https://alerts.example/p/{}".format
    await ledger.write(judge_decision(await ledger.write(order), "exercise", url))
    assert (await client.get(address)).status == 404


def test_new_facts_leave_the_picture_out(incident: incidents.Kept, asked: Submitted) -> None:
    """It may show what was so before."""
    again = {"channels": scene.CHANNELS, "zone": scene.ZONE, "now": scene.a_time()}
    mended = composer.from_revision(
        asked.revision, incident.incident, "exercise", same_update=True, **again
    )
    assert mended.alt == ALT
    anew = composer.with_new_facts(
        asked.revision, incident.incident, "exercise", department="D", **again
    )
    assert (anew.picture, anew.alt) == ("", "")
