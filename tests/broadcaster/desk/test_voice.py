"""Approval by voice on the desk's pages, without JavaScript, by practice persons."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from webauthn.helpers import bytes_to_base64url

from broadcaster.approval import RequestState
from broadcaster.explain import update as explained
from broadcaster.handover import record_command
from broadcaster.ledger import Ledger, Tx, approvals, locks, passkeys, releases, voices
from broadcaster.orders import Submitted
from broadcaster.passkey import FAILURES, Site, register
from broadcaster.roster import Person
from broadcaster.settings import Settings
from broadcaster.voice import MOST_WRONG, words_of
from streams.gate import judge_decision
from tests.authenticator import Authenticator
from tests.broadcaster.desk import scene
from tests.story import EXERCISE, ZONE, linked


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings.model_validate(settings.model_dump() | {"voice_approval": True})


@pytest.fixture
async def codes(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons
) -> list[str]:
    """Sgt Ortiz commands, and has taken a list of codes."""
    await ledger.write(
        lambda tx: record_command(
            tx, submitted.request.incident_id, persons.commander.id, persons.pio
        )
    )
    await scene.sign_in(client, persons.commander)
    _, page = await post(client, "/me", codes="new")
    found = re.findall(r'class="code">(\d{4} \d{4})<', page)
    assert len(found) == 6
    return found


async def post(client: TestClient, path: str, **fields: str) -> tuple[int, str]:
    answer = await client.post(
        path, data=fields, headers=scene.SAME_ORIGIN | scene.PAGE, allow_redirects=False
    )
    return answer.status, await answer.text()


async def page_of(client: TestClient, path: str) -> str:
    answer = await client.get(path, headers=scene.PAGE)
    assert answer.status == 200
    return await answer.text()


def heard(submitted: Submitted, persons: scene.Persons, code: str, **other: str) -> dict[str, str]:
    at = f"{submitted.request.created_at.astimezone(ZONE):%H:%M}"
    return {
        "digest": submitted.request.digest, "idempotency_key": "a-key-of-mine",
        "commander": persons.commander.id, "reader": persons.pio.id, "code": code,
        "radio": "TAC 2", "heard_at": at,
    } | other  # fmt: skip


async def judged(ledger: Ledger, submitted: Submitted, *, by_voice: bool = True) -> str | None:
    decided = await ledger.read(lambda tx: approvals.decision_of(tx, submitted.request.id))
    assert decided is not None
    id_ = decided.decision.id
    step = judge_decision(id_, EXERCISE, "http://127.0.0.1:8080/p/{}".format, by_voice=by_voice)
    await ledger.write(step)
    kept = await ledger.read(lambda tx: approvals.decision(tx, id_))
    return kept.outcome if kept else None


async def test_read_heard_attested_released_and_ratified(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    request, incident = submitted.request, submitted.request.incident_id
    three = " ".join(words_of(request.digest))
    assert three in await page_of(client, f"/a/{request.id}")  # the Commander's phone
    await scene.sign_in(client, persons.pio)
    assert three in await page_of(client, f"/incidents/{incident}")
    assert "The second listener attests it" in await page_of(client, f"/voice/{request.id}")

    await scene.sign_in(client, persons.records)
    assert three in await page_of(client, f"/voice/{request.id}")
    status, said = await post(client, f"/voice/{request.id}", **heard(submitted, persons, codes[0]))
    assert status == 303, said
    assert await judged(ledger, submitted) == "released"
    release = await ledger.read(lambda tx: releases.of_revision(tx, submitted.revision.id))
    assert release is not None

    flagged = "Approved by voice, not ratified"
    pages = ["/", f"/a/{request.id}", f"/incidents/{incident}", f"/releases/{release.id}",
             f"/voice/{request.id}"]  # fmt: skip
    for path in pages:
        assert flagged in await page_of(client, path), path
    assert "by voice on TAC 2; K. Lund attests it" in await page_of(client, "/record")
    told = await ledger.read(lambda tx: explained(tx, release.id))
    assert any("not ratified" in each["why"] for each in told["clauses"])

    assert (await post(client, f"/voice/{request.id}", act="ratified"))[0] == 403  # the listener
    await scene.sign_in(client, persons.commander)
    assert (await post(client, f"/voice/{request.id}", act="ratified"))[0] == 303
    for path in pages:
        assert flagged not in await page_of(client, path), path
    assert await ledger.read(lambda tx: releases.stopped_at(tx, release.id)) is None


async def test_what_the_commander_repudiates_is_stopped(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.records)
    path = f"/voice/{submitted.request.id}"
    assert (await post(client, path, **heard(submitted, persons, codes[0])))[0] == 303
    assert await judged(ledger, submitted) == "released"
    await scene.sign_in(client, persons.commander)
    status, said = await post(client, path, act="repudiated", passkey="{")
    assert status == 422 and "No passkey was used" in said
    assert (await post(client, path, act="repudiated"))[0] == 303
    release = await ledger.read(lambda tx: releases.of_revision(tx, submitted.revision.id))
    assert release is not None
    assert await ledger.read(lambda tx: releases.stopped_at(tx, release.id)) is not None
    assert (await post(client, path, act="ratified"))[0] == 409


@pytest.mark.parametrize(
    ("who", "other", "words"),
    [
        ("pio", {}, "cannot be the second listener"),
        ("supervisor", {"radio": " "}, "No radio channel is named"),
        ("supervisor", {"heard_at": "25:99"}, "missing, or unreadable"),
        ("supervisor", {"digest": "0" * 64}, "are not the words that stand now"),
        ("supervisor", {"commander": "nobody"}, "no such Commander"),
        ("supervisor", {"reader": "another"}, "somebody who may compile them"),
        ("supervisor", {"reader": "records"}, "somebody who may compile them"),
        ("supervisor", {"code": "00000000"}, "none of this Commander"),
    ],
)
async def test_what_is_refused_decides_nothing(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str], who: str, other: dict[str, str], words: str,
) -> None:  # fmt: skip
    await scene.sign_in(client, getattr(persons, who))
    reader = {"reader": persons.watch.id} if who == "pio" else {}
    if other.get("reader") == "records":
        other = {"reader": persons.records.id}
    status, said = await post(
        client, f"/voice/{submitted.request.id}",
        **heard(submitted, persons, **{"code": codes[0], **reader, **other}),
    )  # fmt: skip
    assert status >= 400
    assert words in said
    assert await ledger.read(lambda tx: approvals.decision_of(tx, submitted.request.id)) is None


async def test_wrong_codes_void_that_persons_and_never_the_incident(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.supervisor)
    path = f"/voice/{submitted.request.id}"
    for _ in range(MOST_WRONG):
        wrong = heard(submitted, persons, "00000000")
        assert (await post(client, path, **wrong))[0] == 403
    assert (await post(client, path, **heard(submitted, persons, codes[0])))[0] == 403
    assert await ledger.read(lambda tx: voices.standing(tx, persons.commander.id)) == []
    assert (await scene.request_of(ledger, submitted.request.id)).request.state is RequestState.OPEN
    release = await scene.approve(ledger, submitted, persons.commander)  # by passkey, as ever
    assert release.revision_id == submitted.revision.id


async def test_a_list_that_was_lost_is_good_for_nothing(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    """With the phone that it was carried with."""
    await post(client, "/people", lost=persons.commander.id)
    await scene.sign_in(client, persons.records)
    path = f"/voice/{submitted.request.id}"
    status, said = await post(client, path, **heard(submitted, persons, codes[0]))
    assert status == 403 and "none of this Commander" in said
    told = await page_of(client, "/record")
    assert f"Voided the codes of {persons.commander.name} for approving by voice" in told


async def test_of_a_locked_commander_nothing_is_approved_aloud_either(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    for _ in range(FAILURES):
        await ledger.write(lambda tx: locks.failed(tx, persons.commander.id))
    await scene.sign_in(client, persons.records)
    path = f"/voice/{submitted.request.id}"
    status, said = await post(client, path, **heard(submitted, persons, codes[0]))
    assert status == 403 and "The Commander is locked" in said
    assert len(await ledger.write(lambda tx: voices.standing(tx, persons.commander.id))) == 6


async def test_only_who_may_compile_is_offered_as_the_reader(
    client: TestClient, submitted: Submitted, persons: scene.Persons, codes: list[str]
) -> None:
    await scene.sign_in(client, persons.records)
    page = await page_of(client, f"/voice/{submitted.request.id}")
    asked = page[page.index('name="reader"') :]
    assert re.findall(r'value="([^"]+)"', asked[: asked.index("</select>")]) == [persons.pio.id]


async def test_a_code_counts_once_and_not_after_new_ones(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    await post(client, "/me", codes="new")
    await scene.sign_in(client, persons.records)
    path = f"/voice/{submitted.request.id}"
    assert (await post(client, path, **heard(submitted, persons, codes[0])))[0] == 403


async def test_a_gate_whose_setting_is_off_releases_nothing(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.records)
    fields = heard(submitted, persons, codes[0])
    assert (await post(client, f"/voice/{submitted.request.id}", **fields))[0] == 303
    assert await judged(ledger, submitted, by_voice=False) == "voice_off"


async def test_a_program_attests_and_settles_by_passkey(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons,
    codes: list[str],
) -> None:  # fmt: skip
    """Told first what the passkey is asked, then with its answer; whose is whose is asked alike."""
    path = f"/api/v1/approval-requests/{submitted.request.id}/attestation"

    async def asked(body: dict[str, object], to: str = path, status: int = 200) -> Any:
        answer = await client.post(to, json=body, headers=scene.PROGRAM)
        assert answer.status == status, await answer.text()
        return await answer.json()

    async def proven(phone: Authenticator, key: str, body: dict[str, object], to: str) -> Any:
        options = (await asked(body, to))["options"]
        assert [each["id"] for each in options["allowCredentials"]] == [key]
        return await asked(body | {"proof": phone.prove(options)}, to)

    async def phone_of(person: Person) -> tuple[Authenticator, str]:
        """A device of their own in place of the one that the desk answers with."""
        holder = Authenticator("http://127.0.0.1:8080", "127.0.0.1")
        made = register(holder.make({"challenge": bytes_to_base64url(bytes(32))}),
                        site=Site("http://127.0.0.1:8080"), challenge=bytes(32))  # fmt: skip

        def step(tx: Tx) -> None:
            for each in passkeys.of_person(tx, person.id):
                passkeys.revoke(tx, each.id, actor="test")
            linked(tx, person, made)

        await ledger.write(step)
        return holder, made.id

    phone, key = await phone_of(persons.records)
    await scene.sign_in(client, persons.records)
    body = {
        "request_id": submitted.request.id, "digest": submitted.request.digest,
        "commander_id": persons.commander.id, "reader_id": persons.pio.id, "code": codes[0],
        "radio": "TAC 2", "heard_at": submitted.request.created_at.isoformat(),
        "idempotency_key": "a-key-of-mine",
    }  # fmt: skip
    wrong = await asked(body | {"code": "0000 0000"}, status=403)
    assert wrong["code"] == "code_wrong"
    told = await proven(phone, key, body, path)
    assert told["options"] is None and told["decision"]["person_id"] == persons.commander.id
    assert await judged(ledger, submitted) == "released"

    settle = {"settled": "ratified"}
    assert (await asked(settle, f"{path}/settle", 403))["code"] == "not_the_commander"
    phone, key = await phone_of(persons.commander)
    await scene.sign_in(client, persons.commander)
    told = await proven(phone, key, settle, f"{path}/settle")
    assert told["settled"] == "ratified"
    assert await asked(settle, f"{path}/settle") == told
    assert (await asked({"settled": "repudiated"}, f"{path}/settle", 409))["code"] == (
        "already_ratified"
    )
