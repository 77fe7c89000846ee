"""A Commander from outside at the desk: enrolled on a page, and kept to one incident."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from broadcaster.approval import AnyRelease
from broadcaster.desk.guest import ANYWHERE
from broadcaster.handover import offer_command, record_command
from broadcaster.ledger import Ledger, guests, incidents, people
from broadcaster.orders import ShowPicture, Submitted
from broadcaster.roster import Person, Role
from tests.authenticator import Authenticator, asks
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_passkeys import HOST, ORIGIN, enrolled, link, tap
from tests.pictures import kept_picture

FORM = {"rank": "Capt", "name": "J. Diaz", "agency": "Palm Fire", "hours": "8"}


@pytest.fixture
def phone() -> Authenticator:
    return Authenticator(ORIGIN, HOST)


async def posted(client: TestClient, incident_id: str, fields: dict[str, str]) -> tuple[int, str]:
    answer = await client.post(
        f"/incidents/{incident_id}/guests", data=fields, headers=scene.SAME_ORIGIN | scene.PAGE
    )
    return answer.status, await answer.text()


def hidden(page: str) -> dict[str, str]:
    """What the form that is signed carries."""
    form = page[page.index('id="sign"') :]
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


async def a_link(client: TestClient, watch: Person, incident_id: str) -> str:
    """The Watch Commander enrols somebody; answers where their link leads."""
    await scene.sign_in(client, watch)
    _, drafted = await posted(client, incident_id, FORM)
    status, shown = await posted(client, incident_id, hidden(drafted))
    assert status == 200, shown
    found = re.search(r'<code class="link">http://127.0.0.1:8080(/enrol/[^<]+)</code>', shown)
    assert found and "<svg" in shown and "Capt J. Diaz, Palm Fire" in shown
    return found[1]


@pytest.fixture
async def guest(
    client: TestClient, another_client: Callable[[], TestClient], persons: scene.Persons,
    ledger: Ledger, submitted: Submitted, phone: Authenticator,
) -> Person:  # fmt: skip
    """Capt Diaz, signed in on `client` by their own phone, at the incident that has a request."""
    incident_id = submitted.request.incident_id
    await enrolled(client, await a_link(another_client(), persons.watch, incident_id), phone)
    [kept] = await ledger.read(lambda tx: guests.of_incident(tx, incident_id))
    person = await ledger.read(lambda tx: people.get(tx, kept.person_id))
    assert person is not None
    return person


async def test_from_the_watch_commanders_signature_to_a_decision(
    client: TestClient, ledger: Ledger, guest: Person, submitted: Submitted,
    phone: Authenticator, persons: scene.Persons,
) -> None:  # fmt: skip
    incident_id = submitted.request.incident_id
    first = await client.get("/", headers=scene.PAGE)
    assert first.url.path == f"/incidents/{incident_id}"
    assert 'class="masthead"' not in await first.text()
    await ledger.write(lambda tx: offer_command(tx, incident_id, guest.id, persons.watch))
    page = await (await client.get(f"/a/{submitted.request.id}", headers=scene.PAGE)).text()
    offer = re.search(r'name="offer_id" value="([^"]+)"', page)
    assert offer
    taken = await client.post(
        f"/a/{submitted.request.id}", headers=scene.SAME_ORIGIN, allow_redirects=False,
        data={"act": "command_accept", "offer_id": offer[1],
              "passkey": json.dumps(phone.prove(asks(page, "data-prove")))},
    )  # fmt: skip
    assert taken.status == 303, await taken.text()
    assert (await tap(client, submitted, phone))[0] == 303


async def test_they_sign_in_again_with_their_passkey_while_they_may(
    client: TestClient, ledger: Ledger, guest: Person, phone: Authenticator,
    clock: scene.HeldClock,
) -> None:  # fmt: skip
    async def signed_in() -> int:
        await client.post("/sign-out", headers=scene.SAME_ORIGIN)
        asked = await (await client.post("/sign-in/ask", headers=scene.SAME_ORIGIN)).json()
        answer = await client.post(
            "/sign-in", data={"passkey": json.dumps(phone.prove(asked))},
            headers=scene.SAME_ORIGIN, allow_redirects=False,
        )  # fmt: skip
        return answer.status

    assert await signed_in() == 303
    clock.on(hours=8)
    assert await signed_in() == 403


async def test_a_guests_phone_proves_nothing_about_another_incident(
    client: TestClient, ledger: Ledger, guest: Person, phone: Authenticator,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    other = await scene.add_incident(ledger, clock.now(), number="2026-2")
    waits = await scene.submit(ledger, scene.order_for(other, clock.now()), persons.pio)
    order = {
        "verdict": "approved", "revision_id": waits.revision.id,
        "digest": waits.revision.digest, "idempotency_key": "one-tap-1",
    }  # fmt: skip
    answer = await client.post(f"/a/{waits.request.id}", data=order, headers=scene.SAME_ORIGIN)
    assert answer.status == 403 and "guest_elsewhere" in await answer.text()


async def test_every_address_but_those_of_their_incident_is_refused(
    app: web.Application, client: TestClient, ledger: Ledger, guest: Person,
    submitted: Submitted, released: AnyRelease, persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    """The addresses are the application's own: a new one is refused unless it names theirs."""
    other = await scene.add_incident(ledger, clock.now(), number="2026-2")
    waits = await scene.submit(ledger, scene.order_for(other, clock.now()), persons.pio)
    release = await scene.approve(ledger, waits, persons.watch)
    theirs: dict[str, Any] = {"request_id": submitted.request.id, "release_id": released.id,
                              "incident_id": submitted.request.incident_id}  # fmt: skip
    others: dict[str, Any] = {"request_id": waits.request.id, "release_id": release.id,
                              "incident_id": other.incident.id}  # fmt: skip
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if ANYWHERE.fullmatch(path) or path == "/" or path.startswith("/hooks/"):
            continue

        async def status(ids: dict[str, Any], path: str = path, method: str = route.method) -> int:
            filled = re.sub(r"\{(\w+)[^}]*\}", lambda found: str(ids.get(found[1], "0")), path)
            headers = scene.SAME_ORIGIN | scene.PAGE
            answer = await client.request(method, filled, headers=headers, allow_redirects=False)
            said = "" if method == "HEAD" else await answer.text()
            assert "2026-2" not in said and waits.revision.digest not in said, path
            return answer.status

        assert await status(others) == 403, path
        if path in ("/incidents/{incident_id}", "/a/{request_id}", "/releases/{release_id}"):
            assert await status(theirs) in (200, 422), path


async def test_they_stop_what_goes_out_and_order_nothing_else(
    client: TestClient, guest: Person, released: AnyRelease, submitted: Submitted
) -> None:
    for path, fields, status in (
        (f"/releases/{released.id}/take-back", {}, 403),
        (f"/releases/{released.id}/keep", {}, 403),
        (f"/incidents/{released.incident_id}", {"act": "close"}, 403),
        (f"/incidents/{released.incident_id}", {"act": "send"}, 403),
        (f"/incidents/{released.incident_id}/guests", FORM, 403),
        (f"/releases/{released.id}/stop", {}, 303),
    ):
        answer = await client.post(
            path, data=fields, headers=scene.SAME_ORIGIN, allow_redirects=False
        )
        assert answer.status == status, path


async def test_once_ended_they_read_nothing_any_more(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, guest: Person,
    submitted: Submitted, persons: scene.Persons,
) -> None:  # fmt: skip
    watch, incident_id = another_client(), submitted.request.incident_id
    await ledger.write(lambda tx: record_command(tx, incident_id, guest.id, persons.pio))
    await scene.sign_in(watch, persons.watch)
    status, page = await posted(watch, incident_id, {"end": guest.id})
    assert status == 200 and "Capt J. Diaz, Palm Fire: ended" in page
    answer = await client.get(f"/incidents/{incident_id}")
    assert answer.status == 401
    kept = await ledger.read(lambda tx: incidents.get(tx, incident_id))
    assert kept is not None and kept.incident.command.person_id is None


async def test_the_link_signs_nobody_in_without_a_passkey(
    client: TestClient, another_client: Callable[[], TestClient], persons: scene.Persons,
    incident: incidents.Kept,
) -> None:  # fmt: skip
    address = await a_link(another_client(), persons.watch, incident.incident.id)
    page = await (await client.get(address, headers=scene.PAGE)).text()
    assert 'id="without"' not in page and "Capt J. Diaz, Palm Fire" in page
    answer = await client.post(address, headers=scene.SAME_ORIGIN)
    assert answer.status == 422


async def test_a_cookie_alone_enrols_nobody(
    client: TestClient, ledger: Ledger, persons: scene.Persons, incident: incidents.Kept,
    phone: Authenticator,
) -> None:  # fmt: skip
    """Whoever is no practice person signs with their own passkey; the PIO may not at all."""
    incident_id = incident.incident.id
    await scene.sign_in(client, persons.pio)
    assert (await posted(client, incident_id, FORM))[0] == 403
    kim = await ledger.write(
        lambda tx: people.add(tx, "Lt Kim", [Role.WATCH_COMMANDER], actor="test")
    )
    await enrolled(client, await link(ledger, kim), phone)
    _, drafted = await posted(client, incident_id, FORM)
    status, page = await posted(client, incident_id, hidden(drafted) | {"passkey": ""})
    assert status == 403 and "proven with a passkey" in page
    proof = json.dumps(phone.prove(asks(drafted, "data-prove")))
    altered = hidden(drafted) | {"passkey": proof, "name": "Capt Roe, Palm Fire"}
    assert (await posted(client, incident_id, altered))[0] == 403
    assert await ledger.read(lambda tx: guests.of_incident(tx, incident_id)) == []
    status, page = await posted(client, incident_id, hidden(drafted) | {"passkey": proof})
    assert status == 200 and "<svg" in page


async def test_they_see_the_pictures_that_were_submitted_of_their_incident(
    client: TestClient, ledger: Ledger, guest: Person, submitted: Submitted,
    persons: scene.Persons, clock: scene.HeldClock, incident: incidents.Kept,
) -> None:  # fmt: skip
    about = incident.incident.id
    image = await kept_picture(ledger, about, persons.pio)
    address = f"/incidents/{about}/pictures/{image.file_name}"
    assert (await client.get(address)).status == 404
    order = scene.order_for(
        incident, clock.now(), update_id=submitted.revision.update_id,
        pictures=(ShowPicture(digest=image.digest, alt="A map of Pierson Blvd."),),
    )  # fmt: skip
    await scene.submit(ledger, order, persons.pio)
    assert (await client.get(address)).status == 200
    elsewhere = address.replace(about, "another")
    assert (await client.get(elsewhere)).status == 403
