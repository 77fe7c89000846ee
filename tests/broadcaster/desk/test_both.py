"""Both Commanders must approve: on the pages, by the API, and by the hook."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from broadcaster.handover import record_command
from broadcaster.ledger import Ledger, approvals, people
from broadcaster.orders import Submitted
from broadcaster.roster import Person, Role
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_api import V1
from tests.broadcaster.desk.test_handover import press, shown
from tests.broadcaster.desk.test_hook import body_of, enrolled, post
from tests.security.test_at_once import answer, recorded


@pytest.fixture
async def ruiz(ledger: Ledger) -> Person:
    return await ledger.write(
        lambda tx: people.add(tx, "Capt Ruiz", [Role.COMMANDER], actor="test", practice=True)
    )


@pytest.fixture
async def both(
    ledger: Ledger, submitted: Submitted, persons: scene.Persons, ruiz: Person
) -> Submitted:
    """The waiting update, once Sgt Ortiz and Capt Ruiz command, who must both approve it."""
    await ledger.write(lambda tx: record_command(
        tx, submitted.request.incident_id, persons.commander.id, persons.pio, with_id=ruiz.id,
        both=True,
    ))  # fmt: skip
    return submitted


async def test_the_pages_say_who_has_approved_and_who_is_waited_for(
    client: TestClient, both: Submitted, persons: scene.Persons, ruiz: Person
) -> None:
    page, incident = f"/a/{both.request.id}", f"/incidents/{both.request.incident_id}"
    waits = await shown(client, persons.pio, incident)
    assert "Sgt Ortiz and Capt Ruiz command, and both must approve," in waits
    assert "waits for Sgt Ortiz together with Capt Ruiz" in waits
    assert "approve by voice" not in waits
    assert "Capt Ruiz must approve, too" in await shown(client, persons.commander, page)
    assert "Sgt Ortiz must approve, too" in await shown(client, ruiz, page)

    await scene.sign_in(client, persons.commander)
    status, _ = await answer(client, both, "key-of-ortiz")
    assert status == 200
    mine = await shown(client, persons.commander, page)
    assert "You approved" in mine and "it waits for Capt Ruiz" in mine
    assert "Approve EXERCISE" not in mine and "Decline: this is not said" in mine
    assert "Waiting for Capt Ruiz" in await shown(client, persons.commander, "/")
    theirs = await shown(client, ruiz, page)
    assert "Sgt Ortiz approved" in theirs and "Yours is the second" in theirs
    assert "Approve EXERCISE" in theirs
    assert "Waiting for you" in await shown(client, ruiz, "/")
    waits = await shown(client, persons.pio, incident)
    assert "waits for Capt Ruiz" in waits and "Sgt Ortiz approved" in waits and "both must" in waits
    assert "Capt Ruiz decides" in await shown(client, persons.watch, page)

    await scene.sign_in(client, persons.commander)
    assert (await press(client, page, "withdraw"))[0] == 303
    assert "Capt Ruiz must approve, too" in await shown(client, persons.commander, page)
    status, refused = await press(client, page, "withdraw")
    assert status == 409 and "No approval of yours waits here" in refused


async def test_it_is_recorded_on_the_incidents_page(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons, ruiz: Person
) -> None:
    path = f"/incidents/{submitted.request.incident_id}"
    await scene.sign_in(client, persons.pio)
    two = {"commander": persons.commander.id, "with": ruiz.id, "both": "on"}
    assert (await press(client, path, "command", **two))[0] == 303
    assert "command together; both must approve" in await shown(client, persons.pio, path)
    status, page = await press(client, path, "command", **two | {"with": ""})
    assert status == 422 and "names two different Commanders" in page


async def test_two_at_once_are_one_assent_and_one_decision(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger, both: Submitted,
    persons: scene.Persons, ruiz: Person,
) -> None:  # fmt: skip
    other = another_client()
    await scene.sign_in(client, persons.commander)
    await scene.sign_in(other, ruiz)
    answers = await asyncio.gather(
        *(answer(client, both, f"ortiz-{n:03}") for n in range(10)),
        *(answer(other, both, f"ruiz-{n:03}") for n in range(10)),
    )
    assert Counter(status for status, _ in answers) == {200: 2, 409: 18}
    taken = [said for status, said in answers if status == 200]
    assert {said["person_id"] for said in taken} == {persons.commander.id, ruiz.id}
    assert sorted(bool(said["waits_for_other"]) for said in taken) == [False, True]
    codes = {said["code"] for status, said in answers if status == 409}
    assert codes <= {"already_assented", "already_approved"}
    assert await recorded(ledger) == 1


async def test_by_the_hook_it_is_the_same(
    client: TestClient, ledger: Ledger, both: Submitted, persons: scene.Persons, ruiz: Person
) -> None:
    phones = [await enrolled(ledger, each) for each in (persons.commander, ruiz)]
    bodies = [body_of(both, each, idempotency_key=f"hook-{n:04}", epoch=1)
              for n, each in enumerate(phones)]  # fmt: skip
    told: list[tuple[int, Any]] = [
        await post(client, both.request.id, each) for each in (bodies[0], bodies[0], bodies[1])
    ]
    assert [(status, said["waits_for_other"]) for status, said in told] == [
        (200, True), (200, True), (200, False),
    ]  # fmt: skip
    assert told[0] == told[1]


async def test_by_the_api_it_is_recorded_told_and_taken_back(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons, ruiz: Person
) -> None:
    async def sent(person: Person, path: str, body: object) -> dict[str, Any]:
        await scene.sign_in(client, person)
        said = await client.post(f"{V1}{path}", json=body, headers=scene.PROGRAM)
        found: dict[str, Any] = await said.json()
        return found

    about = f"/approval-requests/{submitted.request.id}"
    command = await sent(
        persons.pio, f"/incidents/{submitted.request.incident_id}/command",
        {"commander_id": ruiz.id, "with_id": persons.commander.id, "both": True},
    )  # fmt: skip
    assert command["both"] is True

    async def told() -> dict[str, Any] | None:
        detail = await client.get(f"{V1}{about}", headers=scene.PROGRAM)
        found: dict[str, Any] | None = (await detail.json())["assent"]
        return found

    assert await told() is None
    await scene.sign_in(client, ruiz)
    await answer(client, submitted, "key-of-ruiz")
    given = await told()
    assert given is not None and given["person_name"] == "Capt Ruiz"
    before = await ledger.read(lambda tx: approvals.request(tx, submitted.request.id))
    refused = await sent(persons.commander, f"{about}/withdraw-approval", {})
    assert refused["code"] == "not_assented"
    after = await sent(ruiz, f"{about}/withdraw-approval", {})
    assert before is not None and after["nonce"] != before.request.nonce
    assert await told() is None
