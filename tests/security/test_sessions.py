"""Sessions: a new one ends the one before, and what was behind it is not there any more."""

from __future__ import annotations

import json

from aiohttp.test_utils import TestClient

from broadcaster.ledger import Ledger, people
from broadcaster.orders import Submitted
from broadcaster.roster import Person, Role
from tests.authenticator import Authenticator, asks
from tests.broadcaster.desk import scene

ORIGIN, HOST = "http://127.0.0.1:8080", "127.0.0.1"


def token_in(client: TestClient) -> str:
    (token,) = [cookie.value for cookie in client.session.cookie_jar]
    return token


async def known(ledger: Ledger, token: str) -> bool:
    return await ledger.read(lambda tx: people.session(tx, token)) is not None


async def somebody(ledger: Ledger) -> tuple[Person, str]:
    person = await ledger.write(lambda tx: people.add(tx, "Capt Ruiz", [Role.COMMANDER], actor="t"))
    return person, await ledger.write(lambda tx: people.enrol(tx, person.id, actor="t"))


async def test_each_way_of_signing_in_ends_the_session_before(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    """ASVS 7.2.4. By a link, then by the passkey that was made on it."""
    _, link = await somebody(ledger)
    phone = Authenticator(ORIGIN, HOST)
    await scene.sign_in(client, persons.pio)
    first = token_in(client)

    page = await (await client.get(f"/enrol/{link}", headers=scene.PAGE)).text()
    made = json.dumps(phone.make(asks(page, "data-make")))
    await client.post(
        f"/enrol/{link}", data={"device": "Duty phone", "passkey": made},
        headers=scene.SAME_ORIGIN, allow_redirects=False,
    )  # fmt: skip
    second = token_in(client)
    assert (await known(ledger, first), await known(ledger, second)) == (False, True)

    asked = await client.post("/sign-in/ask", headers=scene.SAME_ORIGIN)
    proof = json.dumps(phone.prove(await asked.json()))
    answer = await client.post(
        "/sign-in", data={"passkey": proof}, headers=scene.SAME_ORIGIN, allow_redirects=False
    )
    assert answer.status == 303, await answer.text()
    third = token_in(client)
    assert (await known(ledger, second), await known(ledger, third)) == (False, True)


async def test_a_sign_in_that_fails_ends_nothing(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    first = token_in(client)
    await client.post("/sign-in", data={"passkey": "{}"}, headers=scene.SAME_ORIGIN)
    await client.post("/enrol/made-up", data={}, headers=scene.SAME_ORIGIN)
    assert token_in(client) == first and await known(ledger, first)


async def test_after_signing_out_the_old_cookie_opens_and_approves_nothing(
    client: TestClient, submitted: Submitted, persons: scene.Persons
) -> None:
    """ASVS 7.4.1. The page itself is kept nowhere, so there is none to go back to."""
    await scene.sign_in(client, persons.watch)
    path, cookie = f"/a/{submitted.request.id}", f"sid_8080={token_in(client)}"
    page = await client.get(path, headers=scene.PAGE)
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    await client.post("/sign-out", headers=scene.SAME_ORIGIN, allow_redirects=False)
    again = {"Cookie": cookie}
    answer = await client.get(path, headers=again, allow_redirects=False)
    assert answer.status == 401 and "Pierson" not in await answer.text()
    answer = await client.post(path, data={}, headers=again | scene.SAME_ORIGIN)
    assert (answer.status, (await answer.json())["code"]) == (401, "sign_in_first")


async def test_every_page_offers_to_sign_out(
    client: TestClient, submitted: Submitted, persons: scene.Persons
) -> None:
    """ASVS 7.4.4."""
    await scene.sign_in(client, persons.watch)
    request = submitted.request
    for path in ("/", f"/a/{request.id}", f"/incidents/{request.incident_id}", "/record",
                 "/problems", "/people"):  # fmt: skip
        page = await (await client.get(path, headers=scene.PAGE)).text()
        assert 'action="/sign-out"' in page, path
