"""The mobile web hook as an API: a department's own app decides by passkey alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from sqlalchemy import func, select, update

from broadcaster.approval import Verdict
from broadcaster.desk.deps import Desk
from broadcaster.ledger import Ledger, Tx, approvals, passkeys, people, schema
from broadcaster.orders import Submitted
from broadcaster.passkey import (
    Site,
    options_to_prove,
    options_to_register,
    register,
)
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.settings import Settings
from streams.gate import judge_decision
from tests.authenticator import Authenticator
from tests.broadcaster.desk import scene
from tests.story import EXERCISE, linked

ORIGIN, HOST = "http://127.0.0.1:8080", "127.0.0.1"
SITE = Site.at(ORIGIN)


@pytest.fixture
async def phone(ledger: Ledger, persons: scene.Persons) -> Authenticator:
    """A device of the Watch Commander's, enrolled and approved."""
    return await enrolled(ledger, persons.watch)


async def enrolled(ledger: Ledger, person: Person) -> Authenticator:
    phone = Authenticator(ORIGIN, HOST)
    challenge = b"c" * 32
    asked = options_to_register(SITE, name=person.name, challenge=challenge, known=[])
    made = register(phone.make(asked), site=SITE, challenge=challenge)
    await ledger.write(lambda tx: linked(tx, person, made))
    return phone


def body_of(
    submitted: Submitted, phone: Authenticator | None, verdict: str = "approved", *,
    epoch: int | None = None, **different: Any,
) -> dict[str, Any]:  # fmt: skip
    """`epoch`: the command's, where it has moved since the words were submitted."""
    request = submitted.request
    signed = request.challenge(verdict, request.digest, request.epoch if epoch is None else epoch)
    proof = phone.prove(options_to_prove(SITE, challenge=signed, allowed=[])) if phone else None
    return {
        "request_id": request.id, "verdict": verdict, "revision_id": request.revision_id,
        "digest": request.digest, "reason": None, "idempotency_key": "hook-key-1",
        "proof": proof,
    } | different  # fmt: skip


async def post(client: TestClient, request_id: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    """As a program does, with no cookie and no header of ours."""
    answer = await client.post(
        f"/hooks/approval/{request_id}", data=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    return answer.status, await answer.json()


async def decisions(ledger: Ledger) -> int:
    count = select(func.count()).select_from(schema.decisions)
    return await ledger.read(lambda tx: tx.connection.execute(count).scalar_one())


async def refusals_on_record(ledger: Ledger) -> int:
    kept = select(func.count()).where(schema.entries.c.kind == Kind.DECISION_REFUSED)
    return await ledger.read(lambda tx: tx.connection.execute(kept).scalar_one())


async def test_a_passkey_decides_without_a_session(
    client: TestClient, ledger: Ledger, persons: scene.Persons, submitted: Submitted,
    phone: Authenticator,
) -> None:  # fmt: skip
    body = body_of(submitted, phone)
    status, said = await post(client, submitted.request.id, body)
    assert (status, said["verdict"], said["person_id"]) == (200, "approved", persons.watch.id)
    assert await post(client, submitted.request.id, body) == (200, said), "the first answer again"
    assert await decisions(ledger) == 1


@pytest.mark.parametrize("different", [
    {"proof": None}, {"proof": {}}, {"proof": {"id": "unknown"}}, {"digest": "0" * 64},
    {"verdict": Verdict.DECLINED},
])  # fmt: skip
async def test_what_no_passkey_proves_leaves_nothing(
    client: TestClient, ledger: Ledger, submitted: Submitted, phone: Authenticator,
    different: dict[str, Any],
) -> None:  # fmt: skip
    status, said = await post(client, submitted.request.id, body_of(submitted, phone) | different)
    assert status == 403 and said["code"].startswith("passkey_")
    assert await decisions(ledger) == 0
    assert await refusals_on_record(ledger) == 0, "nobody is blamed for what they did not sign"


async def test_the_refusals_are_those_of_the_page(
    client: TestClient, ledger: Ledger, persons: scene.Persons, submitted: Submitted,
    phone: Authenticator,
) -> None:  # fmt: skip
    captain = await ledger.write(
        lambda tx: people.add(tx, "Capt Ruiz", [Role.COMMANDER], actor="test")
    )
    other = await enrolled(ledger, captain)
    status, said = await post(client, submitted.request.id, body_of(submitted, other))
    assert (status, said["code"]) == (403, "not_the_commander")
    assert await refusals_on_record(ledger) == 1, "they did sign that"
    pio = await enrolled(ledger, persons.pio)
    status, said = await post(client, submitted.request.id, body_of(submitted, pio))
    assert (status, said["code"]) == (403, "own_words")
    body = body_of(submitted, phone) | {"request_id": "another"}
    status, said = await post(client, submitted.request.id, body)
    assert status in (404, 422)
    status, said = await post(client, "none", body_of(submitted, phone) | {"request_id": "none"})
    assert (status, said["code"]) == (404, "no_such_request")


async def test_a_revoked_device_decides_nothing(
    client: TestClient, ledger: Ledger, persons: scene.Persons, submitted: Submitted,
    phone: Authenticator,
) -> None:  # fmt: skip
    mine = await ledger.read(lambda tx: passkeys.of_person(tx, persons.watch.id))
    for each in mine:
        await ledger.write(lambda tx, each=each: passkeys.revoke(tx, each.id, actor="test"))
    status, said = await post(client, submitted.request.id, body_of(submitted, phone))
    assert (status, said["code"]) == (403, "passkey_revoked")


# --- An Android app, which answers as itself --------------------------------------------------

FINGERPRINT = ":".join(f"{byte:02X}" for byte in range(32))
ANDROID = "android:apk-key-hash:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
APPS = [
    {"kind": "android", "package": "gov.example.alerts", "fingerprints": [FINGERPRINT.lower()]},
    {"kind": "apple", "team": "ABCDE12345", "bundle": "gov.example.alerts"},
]


@pytest.fixture
def app_settings(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Settings.model_validate({"apps": APPS}).apps
    monkeypatch.setattr(desk.settings, "apps", known)


@pytest.mark.usefixtures("app_settings")
async def test_the_departments_android_app_decides_as_itself(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons
) -> None:
    """At the desk and at the gate; a gate that does not know the app lets nothing out."""
    phone = await enrolled(ledger, persons.watch)
    phone.origin = ANDROID
    answer = await client.post(
        f"/hooks/approval/{submitted.request.id}", json=body_of(submitted, phone),
        headers=scene.PROGRAM,
    )  # fmt: skip
    assert answer.status == 200, await answer.text()
    decision_id = (await answer.json())["id"]
    url = f"{ORIGIN}/p/{{}}".format

    async def judged(apps: tuple[str, ...]) -> str | None:
        def unjudged(tx: Tx) -> None:
            table = schema.decisions
            tx.connection.execute(update(table).values(outcome=None))

        await ledger.write(unjudged)
        await ledger.write(judge_decision(decision_id, EXERCISE, url, apps=apps))
        kept = await ledger.read(lambda tx: approvals.decision(tx, decision_id))
        return kept.outcome if kept else None

    assert await judged(()) == "passkey_not_proven"
    assert await judged((ANDROID,)) == "released"


async def test_an_app_that_is_nobodys_decides_nothing(
    client: TestClient, phone: Authenticator, submitted: Submitted
) -> None:
    phone.origin = ANDROID
    answer = await client.post(
        f"/hooks/approval/{submitted.request.id}", json=body_of(submitted, phone),
        headers=scene.PROGRAM,
    )  # fmt: skip
    assert (answer.status, (await answer.json())["code"]) == (403, "passkey_not_proven")


@pytest.mark.usefixtures("app_settings")
async def test_phones_are_told_which_apps_are_the_departments(client: TestClient) -> None:
    links = await client.get("/.well-known/assetlinks.json")
    assert links.content_type == "application/json"
    (one,) = await links.json()
    assert one["target"] == {
        "namespace": "android_app", "package_name": "gov.example.alerts",
        "sha256_cert_fingerprints": [FINGERPRINT],
    }  # fmt: skip
    assert "delegate_permission/common.get_login_creds" in one["relation"]
    apple = await client.get("/.well-known/apple-app-site-association")
    assert apple.content_type == "application/json"
    assert await apple.json() == {"webcredentials": {"apps": ["ABCDE12345.gov.example.alerts"]}}
