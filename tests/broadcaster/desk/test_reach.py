"""How a person is called: their page of it, what the PIO sees, and what Twilio reports."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

import pytest
from aiohttp.test_utils import TestClient

from adapters.call_push import new_key, public_key
from broadcaster.bootstrap import desk as joined
from broadcaster.calling import Accepted, Call, Means, next_calls
from broadcaster.desk.deps import Desk, Flow
from broadcaster.handover import record_command
from broadcaster.ledger import Ledger, Tx, calls
from broadcaster.orders import Submitted
from broadcaster.roster import Person
from broadcaster.settings import Settings
from tests.broadcaster.desk import scene

TOKEN, KEY = "the-auth-token", new_key()
NUMBER = "+17605550100"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Every account there can be."""
    return Settings.model_validate(settings.model_dump() | {"calls": {
        "push": {"key": KEY, "contact": "mailto:it@example.gov"},
        "sms": {"account": "AC" + "0" * 32, "token": TOKEN, "sender": "+15005550001"},
        "mail": {"host": "127.0.0.1", "tls": "none", "sender": "alerts@example.gov"},
        "app": {"url": "https://app.example/call", "secret": "whsec_" + "A" * 32},
    }})  # fmt: skip


@pytest.fixture
def desk(desk: Desk, settings: Settings, ledger: Ledger, clock: scene.HeldClock) -> Desk:
    """The desk as `bootstrap` joins it with these accounts."""
    made = joined(settings, ledger, desk.address, lambda: Flow(running=True))
    return Desk(**{
        **vars(desk), "means": made.means, "push_key": made.push_key,
        "sms_report": made.sms_report,
    })  # fmt: skip


async def page_of(client: TestClient, address: str) -> str:
    answer = await client.get(address, headers=scene.PAGE)
    assert answer.status == 200
    return await answer.text()


async def post(client: TestClient, path: str, **fields: str) -> tuple[int, str]:
    answer = await client.post(
        path, data=fields, headers=scene.SAME_ORIGIN | scene.PAGE, allow_redirects=False
    )
    return answer.status, await answer.text()


async def called(ledger: Ledger, *means: Means) -> list[Call]:
    def step(tx: Tx) -> list[Call]:
        state = calls.state(tx, means, "http://127.0.0.1:8080")
        found = list(next_calls(state, tx.now).calls)
        for call in found:
            calls.begin(tx, call)
            calls.end(tx, call.id, Accepted(remote_id="SM1", at=tx.now))
        return found

    return await ledger.write(step)


async def reach(ledger: Ledger, person: Person, address: str = NUMBER) -> None:
    await ledger.write(
        lambda tx: calls.add_reach(tx, person.id, Means.SMS, address, actor=person.id)
    )


async def test_a_person_adds_and_strikes_off_their_own(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.watch)
    assert public_key(KEY) in await page_of(client, "/me")
    status, _ = await post(client, "/me", means="SMS", address="+1 760 555 0100")
    assert status == 303
    assert NUMBER in await page_of(client, "/me")
    [kept] = await ledger.read(lambda tx: calls.reaches_of(tx, persons.watch.id))
    assert (await post(client, "/me", end=kept.id))[0] == 303
    assert await ledger.read(lambda tx: calls.reaches_of(tx, persons.watch.id)) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"means": "SMS", "address": "760 555"}, "no telephone number"),
        ({"means": "pigeon", "address": "roof"}, "cannot call people that way"),
        ({"means": "push", "address": "{}"}, "no browser that can be called"),
        ({"end": "none"}, "Nobody is reached by this"),
    ],
)
async def test_what_is_of_no_use_is_refused_in_words_and_kept_in_the_field(
    client: TestClient, persons: scene.Persons, fields: Mapping[str, str], words: str
) -> None:
    await scene.sign_in(client, persons.supervisor)
    status, page = await post(client, "/me", **fields)
    assert status in (404, 422) and words in page
    if fields.get("means") == "SMS":
        assert 'value="760 555"' in page and 'aria-invalid="true"' in page


async def test_nobody_strikes_off_anothers(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    await reach(ledger, persons.watch)
    [kept] = await ledger.read(lambda tx: calls.reaches_of(tx, persons.watch.id))
    await scene.sign_in(client, persons.pio)
    assert (await post(client, "/me", end=kept.id))[0] == 403
    await scene.sign_in(client, persons.supervisor)
    assert (await post(client, "/me", end=kept.id))[0] == 303


async def test_the_pio_sees_what_came_of_the_calls(
    client: TestClient, ledger: Ledger, persons: scene.Persons, submitted: Submitted,
    clock: scene.HeldClock,
) -> None:  # fmt: skip
    await reach(ledger, persons.watch)
    [call] = await called(ledger, Means.SMS)
    address = f"/incidents/{submitted.request.incident_id}"
    await scene.sign_in(client, persons.pio)
    assert f"{persons.watch.name}: SMS accepted " in await page_of(client, address)
    signed = await _report(client, call.id, {"MessageStatus": "delivered"})
    assert signed == 204
    assert f"{persons.watch.name}: SMS delivered" in await page_of(client, address)
    await scene.sign_in(client, persons.watch)
    await page_of(client, f"/a/{submitted.request.id}")
    await scene.sign_in(client, persons.pio)
    assert "SMS delivered; opened " in await page_of(client, address)


async def test_what_came_of_calls_about_command_stands_on_the_incidents_page(
    client: TestClient, ledger: Ledger, persons: scene.Persons, submitted: Submitted
) -> None:
    await reach(ledger, persons.commander)
    incident_id = submitted.request.incident_id
    await ledger.write(
        lambda tx: record_command(tx, incident_id, persons.commander.id, persons.pio)
    )
    await called(ledger, Means.SMS)
    await scene.sign_in(client, persons.pio)
    page = await page_of(client, f"/incidents/{incident_id}")
    said = page.partition("Called about command:")[2]
    assert f"{persons.commander.name}: SMS accepted " in said
    assert "are called by the ways they have" in page
    await scene.sign_in(client, persons.commander)
    await page_of(client, f"/incidents/{incident_id}")
    said = (await page_of(client, f"/incidents/{incident_id}")).partition("Called about command:")
    assert "; opened " in said[2]


async def test_the_number_of_whoever_commands_stands_there_for_the_pio(
    client: TestClient, ledger: Ledger, persons: scene.Persons, submitted: Submitted
) -> None:
    await reach(ledger, persons.commander)
    await ledger.write(
        lambda tx: record_command(
            tx, submitted.request.incident_id, persons.commander.id, persons.pio
        )
    )
    address = f"/incidents/{submitted.request.incident_id}"
    await scene.sign_in(client, persons.pio)
    assert f'href="tel:{NUMBER}"' in await page_of(client, address)
    await scene.sign_in(client, persons.records)
    assert NUMBER not in await page_of(client, address)


async def _report(
    client: TestClient, call_id: str, form: Mapping[str, str], token: str = TOKEN
) -> int:
    """As Twilio sends it (https://www.twilio.com/docs/usage/security#validating-requests)."""
    path = f"/hooks/sms/{call_id}"
    said = f"http://127.0.0.1:8080{path}" + "".join(name + form[name] for name in sorted(form))
    proof = hmac.digest(token.encode(), said.encode(), hashlib.sha1)
    headers = {"X-Twilio-Signature": base64.b64encode(proof).decode()}
    return (await client.post(path, data=dict(form), headers=headers)).status


@pytest.mark.parametrize(
    ("call_id", "token", "status"), [("none", TOKEN, 404), ("none", "another", 403)]
)
async def test_only_twilio_reports_and_only_of_calls(
    client: TestClient, call_id: str, token: str, status: int
) -> None:
    assert await _report(client, call_id, {"MessageStatus": "delivered"}, token) == status


async def test_an_exercise_is_installed_as_one(client: TestClient) -> None:
    answer = await client.get("/manifest.webmanifest")
    assert json.loads(await answer.text())["name"].startswith("EXERCISE ")
    assert answer.content_type == "application/manifest+json"
    worker = await client.get("/sw.js")
    assert worker.status == 200 and worker.content_type == "text/javascript"
    text = await worker.text()
    assert "caches" not in text and '"fetch"' not in text, "it keeps no content"
