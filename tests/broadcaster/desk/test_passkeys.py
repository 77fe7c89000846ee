"""A device is enrolled, signs in and decides; and what it cannot do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from broadcaster import practice, rostering
from broadcaster.authority import Matter
from broadcaster.desk.deps import Desk
from broadcaster.handover import record_command
from broadcaster.ledger import Ledger, Tx, passkeys, people
from broadcaster.orders import Submitted
from broadcaster.passkey import Registered
from broadcaster.roster import Person, Role
from tests.authenticator import MAY_BE_SYNCED, PRESENT, Authenticator, asks
from tests.broadcaster.desk import scene

ORIGIN, HOST = "http://127.0.0.1:8080", "127.0.0.1"


@pytest.fixture
def phone() -> Authenticator:
    return Authenticator(ORIGIN, HOST)


@pytest.fixture
async def ruiz(ledger: Ledger) -> Person:
    """Somebody whom nobody may practise as."""
    return await ledger.write(
        lambda tx: people.add(tx, "Capt Ruiz", [Role.COMMANDER], actor="operator")
    )


@pytest.fixture
async def commanded(
    ledger: Ledger, clock: scene.HeldClock, ruiz: Person, persons: scene.Persons
) -> Submitted:
    """A submission that waits for Capt Ruiz."""
    incident = await scene.add_incident(ledger, clock.now())
    incident_id = incident.incident.id
    await ledger.write(lambda tx: record_command(tx, incident_id, ruiz.id, persons.pio))
    return await scene.submit(ledger, scene.order_for(incident, clock.now()), persons.pio)


async def link(ledger: Ledger, person: Person) -> str:
    return f"/enrol/{await ledger.write(lambda tx: people.enrol(tx, person.id, actor='operator'))}"


async def enrolled(client: TestClient, address: str, phone: Authenticator) -> None:
    """Opens a link and makes a passkey, as a browser would."""
    page = await (await client.get(address, headers=scene.PAGE)).text()
    answer = json.dumps(phone.make(asks(page, "data-make")))
    kept = await client.post(
        address, data={"device": "Duty phone", "passkey": answer}, headers=scene.SAME_ORIGIN,
        allow_redirects=False,
    )  # fmt: skip
    assert kept.status == 303, await kept.text()


async def tap(
    client: TestClient, submitted: Submitted, phone: Authenticator | None, **different: str
) -> tuple[int, str]:
    """Presses Approve on the Commander's page, and answers its status and what it says."""
    address = f"/a/{submitted.request.id}"
    page = await (await client.get(address, headers=scene.PAGE)).text()
    fields = {"verdict": "approved", "revision_id": submitted.revision.id,
              "digest": submitted.revision.digest, "idempotency_key": "one-tap-1"}  # fmt: skip
    if phone:
        fields["proof"] = json.dumps(phone.prove(asks(page, "data-asks")["approved"]))
    answer = await client.post(
        address, data=fields | different, headers=scene.SAME_ORIGIN, allow_redirects=False
    )
    return answer.status, await answer.text()


async def test_from_the_link_to_a_decision(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted, phone: Authenticator
) -> None:
    await enrolled(client, await link(ledger, ruiz), phone)
    [kept] = await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))
    assert (kept.name, kept.usable, kept.practice) == ("Duty phone", True, False)
    assert await tap(client, commanded, phone) == (303, "303: See Other")


async def test_the_pages_script_gets_the_receipt_without_another_round_trip(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted, phone: Authenticator
) -> None:
    await enrolled(client, await link(ledger, ruiz), phone)
    client.session.headers["X-Broadcaster"] = "1"
    status, page = await tap(client, commanded, phone)
    assert status == 200 and "Received" in page and 'id="decide"' not in page


async def test_a_cookie_alone_approves_nothing(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted, phone: Authenticator
) -> None:
    await enrolled(client, await link(ledger, ruiz), phone)
    status, page = await tap(client, commanded, None)
    assert status == 403 and "proven with a passkey" in page
    decided = (await scene.request_of(ledger, commanded.request.id)).request.state
    assert decided == "open"


async def test_an_answer_for_one_verdict_is_none_for_another(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted, phone: Authenticator
) -> None:
    await enrolled(client, await link(ledger, ruiz), phone)
    status, page = await tap(client, commanded, phone, verdict="declined")
    assert status == 403 and "does not fit these words" in page


async def test_a_touch_without_finger_face_or_pin_proves_nothing(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted, phone: Authenticator
) -> None:
    await enrolled(client, await link(ledger, ruiz), phone)
    phone.flags = PRESENT
    assert (await tap(client, commanded, phone))[0] == 403


async def test_where_devices_are_asked_for_a_copied_passkey_decides_nothing(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted, phone: Authenticator,
    desk: Desk, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whatever the browser says of it when it is made: what it signs says so each time."""
    monkeypatch.setattr(desk.settings, "device_bound", True)
    await enrolled(client, await link(ledger, ruiz), phone)
    phone.flags |= MAY_BE_SYNCED
    status, page = await tap(client, commanded, phone)
    assert status == 403 and "copied between devices" in page
    phone.flags &= ~MAY_BE_SYNCED
    assert (await tap(client, commanded, phone))[0] == 303


async def test_an_exception_from_equipment_lets_one_decide_and_is_recorded_with_it(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted, phone: Authenticator,
    desk: Desk, persons: scene.Persons, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(desk.settings, "device_bound", True)
    phone.flags |= MAY_BE_SYNCED
    await enrolled(client, await link(ledger, ruiz), phone)

    def order(tx: Tx, matter: Matter) -> None:
        rostering.exempt(
            tx, ruiz.id, matter, reason="The key broke", until=tx.now + timedelta(days=1),
            person=persons.supervisor, actor=persons.supervisor.id,
        )  # fmt: skip

    await ledger.write(lambda tx: order(tx, Matter.DUTY_HOURS))
    people_page = await (await client.get("/people", headers=scene.PAGE)).text()
    assert "signs in, and decides nothing" in people_page and "a note: nobody" in people_page
    assert (
        "You have no passkey that may be used"
        in await (await client.get(f"/a/{commanded.request.id}", headers=scene.PAGE)).text()
    )
    await ledger.write(lambda tx: order(tx, Matter.EQUIPMENT))
    assert "decides by exception" in await (await client.get("/people", headers=scene.PAGE)).text()
    assert (await tap(client, commanded, phone))[0] == 303
    record_page = await (await client.get("/record", headers=scene.PAGE)).text()
    assert "with a passkey that its maker copies, excepted by Sgt Cole (389.3)" in record_page


async def test_a_person_without_a_passkey_is_told_whom_to_telephone(
    client: TestClient, ledger: Ledger, ruiz: Person, commanded: Submitted
) -> None:
    await client.post(await link(ledger, ruiz), headers=scene.SAME_ORIGIN)
    page = await (await client.get(f"/a/{commanded.request.id}", headers=scene.PAGE)).text()
    assert "You have no passkey that may be used" in page and 'id="decide"' not in page


async def test_a_link_enrols_one_device(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, ruiz: Person,
    phone: Authenticator,
) -> None:  # fmt: skip
    address = await link(ledger, ruiz)
    page = await (await client.get(address, headers=scene.PAGE)).text()
    asked = asks(page, "data-make")
    await enrolled(client, address, phone)
    late = {"device": "Another", "passkey": json.dumps(Authenticator(ORIGIN, HOST).make(asked))}
    other = await another_client().post(address, data=late, headers=scene.SAME_ORIGIN)
    assert other.status == 410
    assert len(await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))) == 1


async def test_what_another_link_made_is_not_kept(
    client: TestClient, ledger: Ledger, ruiz: Person, phone: Authenticator
) -> None:
    first, second = await link(ledger, ruiz), await link(ledger, ruiz)
    page = await (await client.get(first, headers=scene.PAGE)).text()
    made = json.dumps(phone.make(asks(page, "data-make")))
    for answer in (made, "no json", "[]"):
        refused = await client.post(second, data={"device": "x", "passkey": answer},
                                    headers=scene.SAME_ORIGIN)  # fmt: skip
        assert refused.status == 422, await refused.text()
    assert await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id)) == []


async def test_signing_in_again(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, ruiz: Person,
    phone: Authenticator,
) -> None:  # fmt: skip
    await enrolled(client, await link(ledger, ruiz), phone)
    other = another_client()
    asked = await (await other.post("/sign-in/ask", headers=scene.SAME_ORIGIN)).json()
    fields = {"passkey": json.dumps(phone.prove(asked)), "next": "/record"}

    async def send() -> tuple[int, str | None]:
        answer = await other.post("/sign-in", data=fields, headers=scene.SAME_ORIGIN,
                                  allow_redirects=False)  # fmt: skip
        return answer.status, answer.headers.get("Location")

    assert await send() == (303, "/record")
    assert await send() == (410, None), "an answer is good once"
    assert "Capt Ruiz" in await (await other.get("/", headers=scene.PAGE)).text()


@pytest.mark.parametrize("passkey", ["", "{}", '{"id": "x"}', "[1]"])
async def test_what_is_no_passkeys_answer_signs_nobody_in(client: TestClient, passkey: str) -> None:
    answer = await client.post("/sign-in", data={"passkey": passkey}, headers=scene.SAME_ORIGIN)
    assert answer.status in (403, 422)


async def further(
    client: TestClient, phone: Authenticator | None, tablet: Authenticator, by: int = 0
) -> int:
    """Makes a passkey on a further device, proven on the present one; answers the status.

    `by`: which of the things that were asked is proven; each is asked anew.
    """
    asked = [
        await (await client.post("/people/ask", headers=scene.SAME_ORIGIN)).json()
        for _ in range(by + 1)
    ]
    proof = json.dumps(phone.prove(asked[-1]["prove"])) if phone else ""
    answer = await client.post(
        "/people", headers=scene.SAME_ORIGIN, allow_redirects=False,
        data={"device": "Tablet", "passkey": json.dumps(tablet.make(asked[0]["make"])),
              "proof": proof},
    )  # fmt: skip
    return answer.status


async def test_a_stolen_cookie_adds_no_device(
    client: TestClient, ledger: Ledger, ruiz: Person, phone: Authenticator
) -> None:
    """Nor does the present passkey's answer about another device."""
    await enrolled(client, await link(ledger, ruiz), phone)
    tablet = Authenticator(ORIGIN, HOST)
    assert await further(client, None, tablet) == 403
    assert await further(client, phone, tablet, by=1) == 403
    assert len(await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))) == 1
    assert await further(client, phone, tablet) == 303
    assert len(await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))) == 2


async def test_a_second_device_waits_for_approval(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, ruiz: Person,
    commanded: Submitted, persons: scene.Persons, phone: Authenticator,
) -> None:  # fmt: skip
    await enrolled(client, await link(ledger, ruiz), phone)
    tablet = Authenticator(ORIGIN, HOST)
    assert await further(client, phone, tablet) == 303
    _, second = await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))
    assert (second.name, second.usable) == ("Tablet", False)
    approve = {"do": "approve", "device": second.id}
    own = await client.post("/people", data=approve, headers=scene.SAME_ORIGIN)
    assert own.status == 403
    assert (await tap(client, commanded, phone))[0] == 303
    watch = another_client()
    await scene.sign_in(watch, persons.watch)
    page = await (await watch.get("/people", headers=scene.PAGE)).text()
    assert "Tablet: waits for approval" in page
    await watch.post("/people", data=approve, headers=scene.SAME_ORIGIN)
    _, now = await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))
    assert now.usable
    await watch.post("/people", data={"revoke": second.id}, headers=scene.SAME_ORIGIN)
    _, now = await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))
    assert not now.usable


@pytest.fixture
async def cole(ledger: Ledger) -> Person:
    """A supervisor whom nobody may practise as."""
    return await ledger.write(
        lambda tx: people.add(tx, "Lt Cole", [Role.SUPERVISOR], actor="operator")
    )


async def test_a_stolen_cookie_approves_no_device(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, ruiz: Person,
    cole: Person, phone: Authenticator,
) -> None:  # fmt: skip
    """A supervisor's session is not enough: their passkey signs which device, and how long."""
    added = await ledger.write(
        lambda tx: passkeys.add(tx, ruiz.id, registered(), "Tablet", actor=ruiz.id)
    )
    watch, key = another_client(), Authenticator(ORIGIN, HOST)
    await enrolled(watch, await link(ledger, cole), key)

    async def ordered(**fields: str) -> str:
        answer = await watch.post(
            "/people", data={"do": "approve", "device": added.id} | fields,
            headers=scene.SAME_ORIGIN,
        )  # fmt: skip
        return await answer.text()

    page = await (await watch.get("/people", headers=scene.PAGE)).text()
    assert "none was used" in await ordered()
    shift = re.findall(r'name="until" value="([^"]+)"', page)[-1]
    good, lent = map(json.loads, map(unescape, re.findall(r"data-prove='([^']+)'", page)))
    assert "does not fit" in await ordered(until=shift, passkey=json.dumps(key.prove(good)))
    assert not (await ledger.read(lambda tx: passkeys.known(tx, added.id))).usable
    await ordered(until=shift, passkey=json.dumps(key.prove(lent)))
    now = await ledger.read(lambda tx: passkeys.get(tx, added.id))
    assert now and now.usable and now.approved_until and now.approved_until.isoformat() == shift


async def test_what_a_lost_phone_had_approved_is_approved_again(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, ruiz: Person,
    cole: Person, persons: scene.Persons, phone: Authenticator,
) -> None:  # fmt: skip
    """Whose approval nobody vouches for any more waits again, and has its button."""
    tablet, key, watch = Authenticator(ORIGIN, HOST), Authenticator(ORIGIN, HOST), another_client()
    await enrolled(client, await link(ledger, ruiz), phone)
    assert await further(client, phone, tablet) == 303
    _, second = await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))
    approve = {"do": "approve", "device": second.id}
    await enrolled(watch, await link(ledger, cole), key)
    page = await (await watch.get("/people", headers=scene.PAGE)).text()
    proof = json.dumps(key.prove(asks(page, "data-prove")))
    await watch.post("/people", data=approve | {"passkey": proof}, headers=scene.SAME_ORIGIN)
    other = another_client()
    await scene.sign_in(other, persons.watch)
    waits = "Tablet: waits for approval"
    assert waits not in await (await other.get("/people", headers=scene.PAGE)).text()
    await other.post("/people", data={"lost": cole.id}, headers=scene.SAME_ORIGIN)
    assert waits in await (await other.get("/people", headers=scene.PAGE)).text()
    await other.post("/people", data=approve, headers=scene.SAME_ORIGIN)
    assert waits not in await (await other.get("/people", headers=scene.PAGE)).text()


async def test_answers_that_do_not_fit_lock_a_person_and_no_incident(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, ruiz: Person,
    cole: Person, commanded: Submitted, persons: scene.Persons, phone: Authenticator,
) -> None:  # fmt: skip
    """CJIS AC-7; a supervisor unlocks them by passkey."""
    await enrolled(client, await link(ledger, ruiz), phone)
    other = Authenticator(ORIGIN, HOST, passkeys=dict.fromkeys(phone.passkeys, a_key()))
    for _ in range(5):
        assert "does not fit" in (await tap(client, commanded, other))[1]
    assert "Telephone the Watch Commander" in (await tap(client, commanded, phone))[1]

    watch, key = another_client(), Authenticator(ORIGIN, HOST)
    await enrolled(watch, await link(ledger, cole), key)
    page = await (await watch.get("/people", headers=scene.PAGE)).text()
    unlock = {"do": "unlock", "person": ruiz.id}
    await watch.post("/people", data=unlock, headers=scene.SAME_ORIGIN)
    assert "locked_out" in str(await refusal_of(client, commanded, phone))
    proof = json.dumps(key.prove(asks(page[page.index("Locked") :], "data-prove")))
    await watch.post("/people", data=unlock | {"passkey": proof}, headers=scene.SAME_ORIGIN)
    assert (await tap(client, commanded, phone))[0] == 303


async def test_a_lost_phone_ends_in_one_act(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, ruiz: Person,
    persons: scene.Persons, phone: Authenticator,
) -> None:  # fmt: skip
    """CJIS AC-2(13): its sessions, its passkeys, and a link that was still open."""
    spare = await link(ledger, ruiz)
    await enrolled(client, await link(ledger, ruiz), phone)
    pio = another_client()
    await scene.sign_in(pio, persons.pio)
    lost = {"lost": ruiz.id}
    assert (await pio.post("/people", data=lost, headers=scene.SAME_ORIGIN)).status == 403
    watch = another_client()
    await scene.sign_in(watch, persons.watch)
    await watch.post("/people", data=lost, headers=scene.SAME_ORIGIN)
    assert (await client.get("/people", headers=scene.PAGE)).url.path == "/sign-in"
    assert (await client.get(spare, headers=scene.PAGE)).status == 410
    [kept] = await ledger.read(lambda tx: passkeys.of_person(tx, ruiz.id))
    assert kept.revoked


async def test_one_ends_a_session_of_ones_own(
    client: TestClient, another_client: Callable[[], TestClient], persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    other = another_client()
    await scene.sign_in(other, persons.pio)
    page = await (await client.get("/people", headers=scene.PAGE)).text()
    [session] = re.findall(r'name="end_session" value="([^"]+)"', page)
    await client.post("/people", data={"end_session": session}, headers=scene.SAME_ORIGIN)
    assert (await other.get("/people", headers=scene.PAGE)).url.path == "/sign-in"
    assert (await client.get("/people", headers=scene.PAGE)).url.path == "/people"


def registered() -> Registered:
    """A passkey of some other device."""
    return practice.make()[0]


def a_key() -> Any:
    return next(iter(_another().passkeys.values()))


def _another() -> Authenticator:
    made = Authenticator(ORIGIN, HOST)
    made.make({"challenge": ""})
    return made


async def refusal_of(client: TestClient, submitted: Submitted, phone: Authenticator) -> str:
    """The code of what a program is told for the same tap."""
    address = f"/a/{submitted.request.id}"
    page = await (await client.get(address, headers=scene.PAGE)).text()
    proof = phone.prove(asks(page, "data-asks")["approved"])
    answer = await client.post(
        f"/api/v1/approval-requests/{submitted.request.id}/decision", headers=scene.PROGRAM,
        json={"request_id": submitted.request.id, "verdict": "approved",
              "revision_id": submitted.revision.id, "digest": submitted.revision.digest,
              "idempotency_key": "another-tap", "proof": proof},
    )  # fmt: skip
    return str((await answer.json())["code"])
