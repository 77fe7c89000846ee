"""Command on the pages and by the API: who sees which button, and what it does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape

import pytest
from aiohttp.test_utils import TestClient

from broadcaster import handover
from broadcaster.handover import record_command
from broadcaster.incident import Command
from broadcaster.ledger import Ledger, incidents, people, records
from broadcaster.orders import Submitted
from broadcaster.roster import Person, Role
from tests.authenticator import Authenticator, asks
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_api import V1
from tests.broadcaster.desk.test_passkeys import HOST, ORIGIN, enrolled, link


@pytest.fixture
async def ruiz(ledger: Ledger) -> Person:
    """A Commander whom anybody may practise as."""
    return await ledger.write(
        lambda tx: people.add(tx, "Capt Ruiz", [Role.COMMANDER], actor="test", practice=True)
    )


@pytest.fixture
async def commanded(ledger: Ledger, submitted: Submitted, persons: scene.Persons) -> Submitted:
    """The waiting update, once Sgt Ortiz commands."""
    incident_id = submitted.request.incident_id
    await ledger.write(
        lambda tx: record_command(tx, incident_id, persons.commander.id, persons.pio)
    )
    return submitted


async def command_of(ledger: Ledger, submitted: Submitted) -> Command:
    kept = await ledger.read(lambda tx: incidents.get(tx, submitted.request.incident_id))
    assert kept is not None
    return kept.incident.command


async def shown(client: TestClient, person: Person, path: str) -> str:
    """The page in words, as this person sees it."""
    await scene.sign_in(client, person)
    page = await (await client.get(path, headers=scene.PAGE)).text()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def press(client: TestClient, path: str, act: str, **fields: str) -> tuple[int, str]:
    """Presses a button of the page without JavaScript."""
    answer = await client.post(path, data={"act": act, **fields}, headers=scene.SAME_ORIGIN,
                               allow_redirects=False)  # fmt: skip
    return answer.status, await answer.text()


async def test_command_and_the_waiting_update_share_a_page(
    client: TestClient, ledger: Ledger, commanded: Submitted, persons: scene.Persons, ruiz: Person
) -> None:
    incident, page = f"/incidents/{commanded.request.incident_id}", f"/a/{commanded.request.id}"
    await scene.sign_in(client, persons.commander)
    assert (await press(client, incident, "command_offer", commander=ruiz.id))[0] == 303
    offer = (await command_of(ledger, commanded)).offer
    assert offer is not None
    assert "Command is offered to Capt Ruiz until" in await shown(
        client, persons.commander, incident
    )
    assert "Command is offered to you" in await shown(client, ruiz, "/")
    seen = await shown(client, ruiz, page)
    assert "Sgt Ortiz offers you command" in seen and "Sgt Ortiz decides until you take it" in seen
    assert "Take command EXERCISE" in seen and "Approve EXERCISE" not in seen
    assert (await press(client, page, "command_accept", offer_id=offer.id))[0] == 303
    assert (await command_of(ledger, commanded)).commanders == (ruiz.id,)
    seen = await shown(client, ruiz, page)
    assert "Approve EXERCISE" in seen and "Take command" not in seen
    seen = await shown(client, persons.commander, page)
    assert "Capt Ruiz decides Command has moved" in seen and "Approve EXERCISE" not in seen
    decision = {
        "verdict": "approved",
        "idempotency_key": "late-key",
        "revision_id": commanded.revision.id,
        "digest": commanded.revision.digest,
    }
    status, said = await press(client, page, "decide", **decision)
    assert status == 409 and "Capt Ruiz commands this incident" in said


async def test_the_watch_commander_takes_command_first_or_by_deciding(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons
) -> None:
    page = f"/a/{submitted.request.id}"
    seen = await shown(client, persons.watch, page)
    assert "Approve EXERCISE" in seen and "Deciding takes command" in seen
    assert "Take command EXERCISE first" in seen
    assert "Take command" not in await shown(client, persons.commander, page)
    await scene.sign_in(client, persons.watch)
    assert (await press(client, page, "command_take"))[0] == 303
    command = await command_of(ledger, submitted)
    assert (command.commanders, command.epoch) == ((persons.watch.id,), 1)
    seen = await shown(client, persons.watch, page)
    assert "Approve EXERCISE" in seen and "Take command" not in seen


async def test_what_each_person_may_do_about_command(
    client: TestClient, commanded: Submitted, persons: scene.Persons, ruiz: Person
) -> None:
    buttons = {
        "Offer command": {persons.commander, persons.watch},
        "Record the hand-over by radio": {persons.pio, persons.watch},
        "Transfer command ": {persons.watch},
        "Record it": {persons.pio, persons.watch},
    }
    path = f"/incidents/{commanded.request.incident_id}"
    for person in (persons.pio, persons.commander, persons.watch, persons.records, ruiz):
        await scene.sign_in(client, person)
        page = await (await client.get(path, headers=scene.PAGE)).text()
        for button, may in buttons.items():
            assert (f">{button.strip()}</button>" in page) == (person in may), (button, person)


async def test_the_buttons_of_the_incidents_page(
    client: TestClient, ledger: Ledger, commanded: Submitted, persons: scene.Persons, ruiz: Person
) -> None:
    path = f"/incidents/{commanded.request.incident_id}"
    await scene.sign_in(client, persons.pio)
    radio = {"said_by": persons.commander.id, "commander": ruiz.id}
    assert (await press(client, path, "command_radio", **radio))[0] == 303
    assert (await command_of(ledger, commanded)).commanders == (ruiz.id,)
    status, page = await press(client, path, "command_radio", **radio)
    assert status == 409 and "so it is not theirs to hand over" in page
    both = {"commander": persons.commander.id, "with": ruiz.id}
    assert (await press(client, path, "command", **both))[0] == 303
    assert "Sgt Ortiz and Capt Ruiz command since" in await shown(client, persons.pio, path)
    page_of_both = await shown(client, persons.watch, f"/a/{commanded.request.id}")
    assert "Sgt Ortiz or Capt Ruiz decides" in page_of_both
    transfer = {"commander": persons.watch.id, "transfer_reason": ""}
    status, page = await press(client, path, "command_transfer", **transfer)
    assert status == 422 and "for a reason alone" in page and "Not sent." not in page
    assert re.search(rf'id="f-transfer".*?{persons.watch.id}" selected', page, re.S), "it is kept"
    transfer["transfer_reason"] = "Both are out of reach"
    assert (await press(client, path, "command_transfer", **transfer))[0] == 303
    assert (await command_of(ledger, commanded)).commanders == (persons.watch.id,)
    story = await shown(client, persons.watch, path)
    assert "Lt Baker commands, transferred without its Commander" in story
    assert "Reason Both are out of reach" in story
    assert "Capt Ruiz commands: Sgt Ortiz handed over by radio" in story


@pytest.mark.parametrize(
    ("act", "fields"),
    [("command_offer", {}), ("command_end_offer", {}), ("command_accept", {}),
     ("command_accept", {"offer_id": "x", "passkey": "no json"}),
     ("command_accept", {"offer_id": "x", "passkey": "[1]"}), ("command_radio", {}),
     ("command_transfer", {}), ("command", {})],
)  # fmt: skip
async def test_a_button_that_lacks_a_part(
    client: TestClient, commanded: Submitted, persons: scene.Persons, act: str,
    fields: dict[str, str],
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.watch)
    for path in (f"/incidents/{commanded.request.incident_id}", f"/a/{commanded.request.id}"):
        status, page = await press(client, path, act, **fields)
        assert status == 422 and "Reload the page" in page


# --- With a passkey of one's own --------------------------------------------------------------


async def test_a_phone_accepts_what_was_offered_and_its_cookie_alone_does_not(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons
) -> None:
    phone = Authenticator(ORIGIN, HOST)
    lee = await ledger.write(
        lambda tx: people.add(tx, "Lt Lee", [Role.COMMANDER], actor="operator")
    )
    await enrolled(client, await link(ledger, lee), phone)
    incident_id, page = submitted.request.incident_id, f"/a/{submitted.request.id}"
    offer = await ledger.write(
        lambda tx: handover.offer_command(tx, incident_id, lee.id, persons.watch)
    )
    status, words = await press(client, page, "command_accept", offer_id=offer.id)
    assert status == 403 and "proven with a passkey" in words
    asked = asks(await (await client.get(page, headers=scene.PAGE)).text(), "data-prove")
    answer = json.dumps(phone.prove(asked))
    assert (await press(client, page, "command_accept", offer_id=offer.id, passkey=answer))[
        0
    ] == 303
    assert (await command_of(ledger, submitted)).commanders == (lee.id,)


async def test_without_a_passkey_the_page_says_what_to_do(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons
) -> None:
    lee = await ledger.write(
        lambda tx: people.add(tx, "Lt Lee", [Role.COMMANDER], actor="operator")
    )
    await client.post(await link(ledger, lee), headers=scene.SAME_ORIGIN)
    incident_id = submitted.request.incident_id
    await ledger.write(lambda tx: handover.offer_command(tx, incident_id, lee.id, persons.watch))
    answer = await client.get(f"/a/{submitted.request.id}", headers=scene.PAGE)
    page = await answer.text()
    assert "Have the PIO record the hand-over by radio" in page
    assert "command_accept" not in page


# --- By the API -------------------------------------------------------------------------------


async def test_the_same_acts_by_the_api(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger,
    commanded: Submitted, persons: scene.Persons, ruiz: Person,
) -> None:  # fmt: skip
    base = f"{V1}/incidents/{commanded.request.incident_id}/command"

    async def post(person: Person, path: str, body: object) -> tuple[int, dict[str, object]]:
        other = another_client()
        await scene.sign_in(other, person)
        answer = await other.post(base + path, json=body, headers=scene.PROGRAM)
        return answer.status, await answer.json()

    async def code(person: Person, path: str, body: object) -> tuple[int, object]:
        status, said = await post(person, path, body)
        return status, said["code"]

    to = {"commander_id": ruiz.id}
    assert await code(ruiz, "/offers", to) == (403, "not_yours_to_offer")
    status, offer = await post(persons.commander, "/offers", to)
    assert (status, offer["to_name"]) == (201, "Capt Ruiz")
    order = {"incident_id": commanded.request.incident_id, "offer_id": offer["id"]}
    accept = f"/offers/{offer['id']}/accept"
    assert await code(ruiz, "/offers/other/accept", order) == (422, "invalid_field")
    assert await code(persons.watch, accept, order) == (403, "not_offered_to_you")
    status, command = await post(ruiz, accept, order)
    assert (status, command["name"], command["epoch"]) == (200, "Capt Ruiz", 2)
    assert await post(ruiz, accept, order) == (200, command), "the first answer again"
    _, offer = await post(ruiz, "/offers", {"commander_id": persons.commander.id})
    assert (await post(persons.commander, f"/offers/{offer['id']}/end", {}))[1]["offer"] is None
    assert await code(ruiz, f"/offers/{offer['id']}/end", {}) == (409, "offer_gone")
    assert await code(persons.watch, "/take", {}) == (409, "command_held")
    radio = {"said_by": ruiz.id, "commander_id": persons.commander.id}
    assert (await post(persons.pio, "/radio", radio))[1]["name"] == "Sgt Ortiz"
    assert await code(persons.pio, "/radio", radio) == (409, "not_theirs_to_hand_over")
    why = {"commander_id": ruiz.id, "reason": "Sgt Ortiz is hurt"}
    assert await code(persons.pio, "/transfer", why) == (403, "not_your_act")
    assert (await post(persons.watch, "/transfer", why))[1]["name"] == "Capt Ruiz"
    both = {"commander_id": ruiz.id, "with_id": persons.commander.id}
    _, command = await post(persons.pio, "", both)
    assert command["name"] == "Capt Ruiz and Sgt Ortiz"
    await post(persons.pio, "", {"commander_id": None})
    _, command = await post(persons.watch, "/take", {})
    assert command["name"] == "Lt Baker"
    lines = await ledger.read(lambda tx: records.lines(tx, limit=50))
    assert [json.loads(each.body)["public"]["how"] for each in lines
            if each.kind == "CommandRecorded"] == [
        "taken", "recorded", "recorded", "forced", "radio", "accepted", "recorded",
    ]  # fmt: skip


async def test_nobody_is_promised_a_call_where_nobody_can_be_called(
    client: TestClient, commanded: Submitted, persons: scene.Persons
) -> None:
    page = await shown(client, persons.pio, f"/incidents/{commanded.request.incident_id}")
    assert "Telephone whoever else must know." in page
    assert "called by the ways" not in page and "Called about command" not in page
