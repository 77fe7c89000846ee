"""The desk for programs: signed reports in, and everything a phone does."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate
from standardwebhooks import Webhook

from broadcaster.approval import AnyRelease, RequestState, Verdict
from broadcaster.desk import api
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk
from broadcaster.desk.openapi import of_session
from broadcaster.errors import LedgerAway, Refusal
from broadcaster.intake.door import Door
from broadcaster.intake.native import EXAMPLE
from broadcaster.ledger import Ledger, incidents, problems, records, reports
from broadcaster.orders import Submitted
from streams.gate import judge_decision
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.conftest import SECRET

V1 = "/api/v1"
EXAMPLE_ID = str(EXAMPLE["id"])


def signed(
    body: bytes, now: datetime, *, secret: str = SECRET, message_id: str = EXAMPLE_ID
) -> dict[str, str]:
    """The headers that a CAD system sends with a report."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body.decode()),
    }


async def send(client: TestClient, body: bytes, headers: dict[str, str]) -> ClientResponse:
    return await client.post(f"{V1}/reports", data=io.BytesIO(body), headers=headers)


async def noted(ledger: Ledger) -> list[tuple[str, str]]:
    return [
        (each.place.source, each.code)
        for each in await ledger.read(lambda tx: problems.listed(tx, state=None))
    ]


# --- Reports ----------------------------------------------------------------------------------


async def test_a_signed_report_is_accepted_once(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock
) -> None:
    body = scene.report_body(clock.now(), caller_name="Jane Roe")
    first = await send(client, body, signed(body, clock.now()))
    assert first.status == 202
    said = await first.json()
    assert said["repeated"] is False
    assert (said["unknown_fields"], said["place_withheld"]) == (1, False)
    clock.on(seconds=30)
    again = await send(client, body, signed(body, clock.now()))
    assert again.status == 200
    assert await again.json() == {**said, "repeated": True}
    assert await ledger.read(reports.count) == 1
    kept = await ledger.read(lambda tx: reports.of_incident(tx, said["incident_id"]))
    assert kept[0].actor == "dhs-cad" and "Roe" not in kept[0].report.model_dump_json()
    assert await noted(ledger) == []


async def test_the_same_id_with_another_body_is_a_problem(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock
) -> None:
    body = scene.report_body(clock.now())
    await send(client, body, signed(body, clock.now()))
    other = scene.report_body(clock.now(), type="FSTRU")
    answer = await send(client, other, signed(other, clock.now()))
    assert answer.status == 409
    said = await answer.json()
    assert (said["code"], said["field"]) == ("repeated_id", "id")
    assert await ledger.read(reports.count) == 1
    assert await noted(ledger) == [("http", "repeated_id")]


NOW = scene.a_time()


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "not_json", None),
        (b"[]", 400, "not_json", None),
        (b"[" * 100_000, 400, "too_deep", None),
        (scene.report_body(NOW)[:-1] + b', "type": "FSTRU"}', 400, "duplicate_key", "type"),
        (scene.report_body(NOW, latitude=91), 422, "invalid_field", "latitude"),
        (scene.report_body(NOW, place=" "), 422, "invalid_field", "place"),
        (scene.report_body(NOW, type="GAS"), 422, "invalid_field", "type"),
        (
            scene.report_body(NOW, reported_at=(NOW + timedelta(hours=1)).isoformat()),
            422, "in_future", "reported_at",
        ),
        (scene.report_body(NOW, source="other"), 403, "source_wrong", "source"),
        (scene.report_body(NOW, id="another"), 422, "invalid_field", "id"),
        (scene.report_body(NOW, note="x" * (1 << 20)), 413, "too_large", None),
    ],
)  # fmt: skip
async def test_a_report_of_no_use_names_its_field_and_is_noted(
    client: TestClient, ledger: Ledger, body: bytes, status: int, code: str, field: str | None
) -> None:
    answer = await send(client, body, signed(body, NOW))
    said = await answer.json()
    assert (answer.status, said["code"], said.get("field")) == (status, code, field), said
    assert said["why"].endswith(".") and said["do"].endswith(".")
    assert await noted(ledger) == [("http", code)]
    assert await ledger.read(reports.count) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda h: {}, "signature_missing"),
        (lambda h: {**h, "webhook-signature": "v1,bm9uc2Vuc2U="}, "signature_wrong"),
        (lambda h: {**h, "webhook-id": "another"}, "signature_wrong"),
        (lambda h: {**h, "webhook-timestamp": "soon"}, "signature_wrong"),
    ],
)
async def test_a_stranger_is_told_to_sign(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, change: Callable[..., dict],
    code: str,
) -> None:  # fmt: skip
    body = scene.report_body(clock.now())
    answer = await send(client, body, change(signed(body, clock.now())))
    assert (answer.status, (await answer.json())["code"]) == (401, code)
    assert await noted(ledger) == [("http", code)]


async def test_an_old_signature_is_refused(client: TestClient, clock: scene.HeldClock) -> None:
    body = scene.report_body(clock.now())
    headers = signed(body, clock.now())
    clock.on(minutes=5, seconds=1)
    answer = await send(client, body, headers)
    assert (answer.status, (await answer.json())["code"]) == (401, "signature_old")


async def test_a_stranger_cannot_fill_the_record(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = scene.report_body(clock.now())
    for _ in range(5):
        assert (await send(client, body, {})).status == 401
    assert await noted(ledger) == [("http", "signature_missing")]
    monkeypatch.setattr(api, "NOTE_STRANGERS_EVERY", 0.0)
    assert (await send(client, body, {})).status == 401
    assert len(await noted(ledger)) == 2


async def test_each_source_speaks_for_itself_alone(desk: Desk, clock: scene.HeldClock) -> None:
    other = "whsec_" + base64.b64encode(b"another system's own secret key").decode()
    both = Door({"dhs-cad": [SECRET], "fire-cad": [other]})
    async with TestClient(TestServer(make_app(replace(desk, intake=both)))) as client:
        mine = scene.report_body(clock.now(), source="fire-cad", id="f-1")
        answer = await send(client, mine, signed(mine, clock.now(), secret=other, message_id="f-1"))
        assert answer.status == 202
        theirs = scene.report_body(clock.now(), source="dhs-cad", id="f-2")
        answer = await send(
            client, theirs, signed(theirs, clock.now(), secret=other, message_id="f-2")
        )
        assert (answer.status, (await answer.json())["code"]) == (403, "source_wrong")


async def test_two_secrets_hold_while_they_rotate(desk: Desk, clock: scene.HeldClock) -> None:
    new = "whsec_" + base64.b64encode(b"the new secret of the same system").decode()
    door = Door({"dhs-cad": [SECRET, new]})
    async with TestClient(TestServer(make_app(replace(desk, intake=door)))) as client:
        body = scene.report_body(clock.now())
        for secret, status in ((SECRET, 202), (new, 200)):
            answer = await send(client, body, signed(body, clock.now(), secret=secret))
            assert answer.status == status


async def test_without_a_secret_nobody_can_report(desk: Desk, clock: scene.HeldClock) -> None:
    async with TestClient(TestServer(make_app(replace(desk, intake=Door({}))))) as client:
        body = scene.report_body(clock.now())
        answer = await send(client, body, signed(body, clock.now()))
        said = await answer.json()
        assert (answer.status, said["code"]) == (401, "no_secret")
        assert "BROADCASTER_INTAKE_SECRETS" in said["do"]


def test_a_shared_secret_is_refused_at_the_start() -> None:
    with pytest.raises(Refusal, match="speak for the other"):
        Door({"dhs-cad": [SECRET], "fire-cad": [SECRET]})


async def test_a_refusal_is_said_even_where_it_cannot_be_noted(
    client: TestClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(step: object, *, urgent: bool = False) -> object:
        raise LedgerAway("the disk is full")

    monkeypatch.setattr(ledger, "write", away)
    assert (await send(client, b"{}", {})).status == 401


async def test_the_ledger_away_is_503_and_no_problem_of_the_sender(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(step: object, *, urgent: bool = False) -> object:
        raise LedgerAway("the disk is full")

    body = scene.report_body(clock.now())
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "write", away)
        answer = await send(client, body, signed(body, clock.now()))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert await noted(ledger) == []


# --- Incidents and updates --------------------------------------------------------------------


class Phone:
    """Somebody's session, speaking JSON."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.client.get(V1 + path)
        assert answer.status == status, await answer.text()
        return await answer.json()

    async def post(self, path: str, body: object = None, status: int = 200) -> Any:
        answer = await self.client.post(
            V1 + path, json=body if body is not None else {}, headers={"X-Broadcaster": "1"}
        )
        assert answer.status == status, await answer.text()
        return await answer.json()


@pytest.fixture
async def pio(client: TestClient, persons: scene.Persons) -> Phone:
    await scene.sign_in(client, persons.pio)
    return Phone(client)


@pytest.fixture
async def watch(another_client: Callable[[], TestClient], persons: scene.Persons) -> Phone:
    other = another_client()
    await scene.sign_in(other, persons.watch)
    return Phone(other)


async def test_incidents_as_they_are(
    pio: Phone, ledger: Ledger, incident: incidents.Kept, clock: scene.HeldClock
) -> None:
    await scene.add_incident(ledger, clock.now(), number="suppressed", type_="DVA")
    (only,) = (await pio.get("/incidents"))["incidents"]
    assert only["id"] == incident.incident.id
    assert only["type"] == "GASLEAKO" and only["handling"] == "auto-draft"
    assert only["command"] == {
        "person_id": None, "with_id": None, "both": False, "name": None, "epoch": 0, "since": None,
        "offer": None,
    }  # fmt: skip
    (kept_off,) = (await pio.get("/incidents?show=kept-off"))["incidents"]
    assert kept_off["number"] == "suppressed"
    assert (await pio.get("/incidents?show=closed"))["incidents"] == []
    assert (await pio.get("/incidents?show=secret", 422))["field"] == "show"


async def test_one_incident_with_its_suggestion(pio: Phone, incident: incidents.Kept) -> None:
    detail = await pio.get(f"/incidents/{incident.incident.id}")
    assert detail["suggestion"]["words"]["hazard"]["text"] == "Gas leak"
    assert detail["revisions"] == detail["requests"] == detail["releases"] == []
    assert (await pio.get("/incidents/nothing", 404))["code"] == "no_such_incident"


async def test_the_whole_path_by_http(
    pio: Phone, watch: Phone, ledger: Ledger, incident: incidents.Kept, persons: scene.Persons
) -> None:
    """What the demonstration does: suggestion, submission, approval, release."""
    path = f"/incidents/{incident.incident.id}"
    words = (await pio.get(path))["suggestion"]["words"]
    left = await pio.post(f"{path}/revisions", {
        "incident_id": incident.incident.id, "words": words,
        "channels": ["public_page", "partners"], "attested": True,
    }, 201)  # fmt: skip
    request_id = left["request"]["id"]
    assert left["request"]["asked_name"] == "the Watch Commander"

    shown = await watch.get(f"/approval-requests/{request_id}")
    assert shown["request"]["state"] == "open" and shown["changes"] is None
    assert [each["channel"] for each in shown["renderings"]] == ["public_page", "partners"]
    assert shown["renderings"][1]["unit"] == "bytes" and shown["renderings"][1]["limit"] == 16384
    assert shown["compiled_by_name"] == "A. Reyes" and shown["world"] == "exercise"

    decision = await watch.post(f"/approval-requests/{request_id}/decision", {
        "request_id": request_id, "verdict": "approved", "idempotency_key": "tap-0001",
        "revision_id": shown["request"]["revision_id"], "digest": shown["request"]["digest"],
    })  # fmt: skip
    assert decision["code"] == shown["request"]["code"]

    await ledger.write(
        judge_decision(decision["id"], "exercise", "http://127.0.0.1:8080/p/{}".format)
    )
    after = await watch.get(f"/approval-requests/{request_id}")
    assert after["request"]["state"] == "approved"
    assert after["decided"]["outcome"] == "released"
    assert after["decided"]["person_name"] == persons.watch.name
    assert {post["channel"]: post["state"] for post in after["release"]["posts"]} == {
        "public_page": "planned", "partners": "planned",
    }  # fmt: skip
    detail = await pio.get(path)
    assert [each["id"] for each in detail["releases"]] == [after["release"]["id"]]
    assert detail["incident"]["command"]["name"] == persons.watch.name  # taken by deciding


async def test_looking_at_a_request_changes_nothing(
    watch: Phone, submitted: Submitted, ledger: Ledger
) -> None:
    before = await ledger.read(records.head)
    kept = await scene.request_of(ledger, submitted.request.id)
    for _ in range(3):
        await watch.get(f"/approval-requests/{submitted.request.id}")
        await watch.client.head(f"{V1}/approval-requests/{submitted.request.id}")
    assert await ledger.read(records.head) == before
    assert await scene.request_of(ledger, submitted.request.id) == kept


async def test_what_changed_since_the_last_release(
    watch: Phone, ledger: Ledger, released: AnyRelease, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    second = await scene.submit(
        ledger,
        scene.order_for(
            incident, clock.now(), text="Gas leak stopped. Stay away.", channels=("public_page",),
            replaces=(released.id,),
        ),
        persons.pio,
    )  # fmt: skip
    shown = await watch.get(f"/approval-requests/{second.request.id}")
    assert shown["replaces"] == [1]
    changes = shown["changes"]
    assert (changes["since_number"], changes["channels_left_out"]) == (1, ["partners"])
    (page,) = changes["channels"]
    whole = "".join(part["text"] for part in page["parts"] if part["how"] != "removed")
    assert whole == shown["renderings"][0]["text"]
    assert {part["how"] for part in page["parts"]} == {"same", "added", "removed"}


def decision_body(submitted: Submitted, **more: object) -> dict[str, object]:
    return scene.decision_on(submitted, **more).model_dump(mode="json")


async def test_the_same_tap_again_gets_the_first_answer(
    watch: Phone, submitted: Submitted, ledger: Ledger
) -> None:
    path = f"/approval-requests/{submitted.request.id}/decision"
    first = await watch.post(path, decision_body(submitted))
    head = await ledger.read(records.head)
    for _ in range(3):
        assert await watch.post(path, decision_body(submitted)) == first
    assert await ledger.read(records.head) == head


async def test_an_answer_to_an_older_request_names_the_newer_and_what_is_new_in_it(
    watch: Phone, ledger: Ledger, submitted: Submitted, incident: incidents.Kept,
    persons: scene.Persons, clock: scene.HeldClock,
) -> None:  # fmt: skip
    path = f"/approval-requests/{submitted.request.id}"
    assert (await watch.get(path))["newer"] is None
    clock.on(seconds=1)
    order = scene.order_for(incident, clock.now(), text="Gas leak stopped. Stay away.",
                            channels=("public_page",))  # fmt: skip
    order = order.model_copy(update={"update_id": submitted.revision.update_id})
    newer = await scene.submit(ledger, order, persons.pio)

    refused = await watch.post(f"{path}/decision", decision_body(submitted), 409)
    address = f"http://127.0.0.1:8080/a/{newer.request.id}"
    assert refused["code"] == "already_withdrawn"
    assert (refused["newer_request_id"], refused["newer_address"]) == (newer.request.id, address)
    told = (await watch.get(path))["newer"]
    assert (told["request_id"], told["address"]) == (newer.request.id, address)
    assert told["changes"]["channels_left_out"] == ["partners"]
    (page,) = told["changes"]["channels"]
    parts = {part["how"]: part["text"] for part in page["parts"]}
    assert "stopped" in parts["added"] and parts["removed"]

    client = watch.client
    answer = await client.post(
        f"/a/{submitted.request.id}", headers=scene.SAME_ORIGIN | scene.PAGE,
        data=decision_body(submitted) | {"reason": "", "proof": "", "keeps": ""},
    )  # fmt: skip
    shown = await answer.text()
    assert answer.status == 409
    newly = shown.split('id="newly"')[1].split("</div>")[0]
    assert re.search(r"<ins>.*stopped", newly) and "<del>" in newly
    assert "Not on Partner agencies this time" in newly
    assert (await watch.get(f"/approval-requests/{newer.request.id}"))["newer"] is None


async def test_a_key_used_for_another_decision_is_refused(
    watch: Phone, submitted: Submitted
) -> None:
    path = f"/approval-requests/{submitted.request.id}/decision"
    await watch.post(path, decision_body(submitted))
    other = decision_body(submitted, verdict=Verdict.DECLINED)
    assert (await watch.post(path, other, 422))["code"] == "key_reused"


async def test_a_second_decision_is_too_late(watch: Phone, submitted: Submitted) -> None:
    path = f"/approval-requests/{submitted.request.id}/decision"
    await watch.post(path, decision_body(submitted))
    late = decision_body(submitted, idempotency_key="another-tap")
    said = await watch.post(path, late, 409)
    assert (said["code"], said["verdict"]) == ("already_approved", "approved")


async def test_deciding_after_the_time_is_gone(
    watch: Phone, submitted: Submitted, clock: scene.HeldClock
) -> None:
    clock.on(minutes=10)
    path = f"/approval-requests/{submitted.request.id}/decision"
    said = await watch.post(path, decision_body(submitted), 410)
    assert said["code"] == "request_expired" and "renew" in said["do"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"digest": "0" * 64}, 409, "words_changed"),
        ({"revision_id": "another"}, 409, "words_changed"),
        ({"verdict": "returned"}, 422, "reason_missing"),
        ({"verdict": "maybe"}, 422, "invalid_field"),
        ({"request_id": "another"}, 422, "invalid_field"),
        ({"idempotency_key": "short"}, 422, "invalid_field"),
        ({"extra": 1}, 422, "invalid_field"),
        ({"reason": "turned\u202earound", "verdict": "returned"}, 422, "hidden_character"),
    ],
)
async def test_a_decision_that_cannot_stand(
    watch: Phone, submitted: Submitted, ledger: Ledger, change: dict[str, object], status: int,
    code: str,
) -> None:  # fmt: skip
    path = f"/approval-requests/{submitted.request.id}/decision"
    said = await watch.post(path, {**decision_body(submitted), **change}, status)
    assert said["code"] == code
    kept = await scene.request_of(ledger, submitted.request.id)
    assert kept.request.state is RequestState.OPEN


async def test_a_refused_decision_is_on_the_record(
    pio: Phone, submitted: Submitted, ledger: Ledger
) -> None:
    path = f"/approval-requests/{submitted.request.id}/decision"
    assert (await pio.post(path, decision_body(submitted), 403))["code"] == "own_words"
    (line,) = await ledger.read(lambda tx: records.lines(tx, limit=1))
    assert line.kind == "DecisionRefused"


async def test_command_moves_the_decision(
    pio: Phone, watch: Phone, submitted: Submitted, incident: incidents.Kept,
    persons: scene.Persons,
) -> None:  # fmt: skip
    path = f"/incidents/{incident.incident.id}/command"
    command = await pio.post(path, {"commander_id": persons.commander.id})
    assert (command["name"], command["epoch"]) == ("Sgt Ortiz", 1)
    decide = f"/approval-requests/{submitted.request.id}/decision"
    assert (await watch.post(decide, decision_body(submitted), 403))["commander"] == "Sgt Ortiz"
    assert (await pio.post(path, {"commander_id": persons.records.id}, 422))["field"] == "commander"
    assert (await pio.post(path, {}, 422))["field"] == "commander_id"


async def test_a_request_is_renewed_after_its_time_and_not_before(
    pio: Phone, submitted: Submitted, clock: scene.HeldClock
) -> None:
    path = f"/approval-requests/{submitted.request.id}/renew"
    assert (await pio.post(path, status=409))["code"] == "not_expired"
    clock.on(minutes=10)
    renewed = await pio.post(path, status=201)
    assert renewed["digest"] == submitted.request.digest
    assert renewed["id"] != submitted.request.id and renewed["state"] == "open"


async def test_a_submission_is_taken_back(pio: Phone, watch: Phone, submitted: Submitted) -> None:
    path = f"/approval-requests/{submitted.request.id}/withdraw"
    assert (await watch.post(path, status=403))["code"] == "not_your_act"
    assert (await pio.post(path))["state"] == "withdrawn"
    assert (await pio.post(path, status=409))["code"] == "already_withdrawn"


async def test_a_notice_is_begun_and_submitted(pio: Phone, watch: Phone, desk: Desk) -> None:
    body = {"topic": "recruitment", "subject": "Hiring officers", "place": "City Hall"}
    begun = await pio.post("/notices", body, 201)
    assert (begun["notice"], begun["open"], begun["type"]) == (
        "recruitment", False, "Hiring officers",
    )  # fmt: skip
    assert (await pio.get(f"/incidents/{begun['id']}"))["incident"] == begun
    refused = await pio.post("/notices", body | {"subject": " "}, 422)
    assert refused["code"] == "subject_missing"
    refused = await pio.post("/notices", body | {"request_id": "none"}, 409)
    assert refused["code"] == "not_passed_on"


async def test_the_watch_commander_names_a_deputy_and_ends_it(
    pio: Phone, watch: Phone, persons: scene.Persons, clock: scene.HeldClock
) -> None:
    path = f"/people/{persons.commander.id}/deputy"
    until = (clock.now() + timedelta(days=1)).isoformat()
    body = {"until": until, "reason": "Night shift"}
    assert (await pio.post(path, body, 403))["code"] == "not_your_act"
    named = await watch.post(path, body, 201)
    assert (named["granted_by"], named["ended_at"]) == (persons.watch.id, None)
    assert (await watch.post(path, body, 409))["code"] == "deputy_already"
    ended = await watch.post(f"{path}/end")
    assert ended["ended_by"] == persons.watch.id and ended["granted_at"] == named["granted_at"]
    assert (await watch.post(f"{path}/end", status=409))["code"] == "no_deputy"
    assert (await watch.post("/people/nobody/deputy", body, 404))["code"] == "no_such_person"


async def test_nobody_signed_in_gets_nothing(client: TestClient, submitted: Submitted) -> None:
    stranger = Phone(client)
    known = {"request_id": submitted.request.id, "incident_id": submitted.request.incident_id,
             "release_id": "none", "offer_id": "none", "person_id": "none"}  # fmt: skip
    for operation in api.OPERATIONS:
        if operation.who is not of_session:
            continue  # tests/broadcaster/desk/test_hook.py
        path = operation.path.removeprefix(V1).format(**known)
        if operation.method == "GET":
            await stranger.get(path, 401)
        else:
            await stranger.post(path, status=401)


async def test_a_body_of_no_use(pio: Phone, incident: incidents.Kept) -> None:
    path = f"{V1}/incidents/{incident.incident.id}/revisions"
    for body in (b"[" * 100_000, b"{", b"\xff", b'"text"'):
        answer = await pio.client.post(path, data=body, headers=scene.PROGRAM)
        assert answer.status in (400, 422), body
        assert (await answer.json())["code"] in ("not_json", "invalid_field")


async def test_a_refusal_quotes_nothing_of_what_was_sent(
    pio: Phone, incident: incidents.Kept
) -> None:
    said = await pio.post(
        f"/incidents/{incident.incident.id}/revisions",
        {"incident_id": incident.incident.id, "kind": "Jane Roe", "channels": []}, 422,
    )  # fmt: skip
    assert "Roe" not in json.dumps(said)


# --- Preview ----------------------------------------------------------------------------------


def preview_of(incident: incidents.Kept, now: datetime, **more: object) -> dict[str, object]:
    words = scene.order_for(incident, now).words.model_dump(mode="json")
    return {"words": words, **more}


async def test_a_preview_is_what_would_be_submitted(
    pio: Phone, ledger: Ledger, incident: incidents.Kept, persons: scene.Persons,
    clock: scene.HeldClock,
) -> None:  # fmt: skip
    shown = await pio.post("/preview", preview_of(incident, clock.now()))
    left = await scene.submit(ledger, scene.order_for(incident, clock.now()), persons.pio)
    for channel, rendering in zip(shown["channels"], left.revision.renderings, strict=True):
        assert (channel["headline"], channel["text"]) == (rendering.headline, rendering.text)
        assert channel["fault"] is None
    assert shown["faults"] == []
    assert shown["channels"][0]["length"] == len(shown["channels"][0]["text"])


async def test_a_preview_counts_by_each_channels_own_rule(
    pio: Phone, incident: incidents.Kept, clock: scene.HeldClock
) -> None:
    shown = await pio.post("/preview", preview_of(incident, clock.now(), text="Señal 🚒"))
    lengths = {each["channel"]: (each["length"], each["unit"]) for each in shown["channels"]}
    mark = len("EXERCISE, NOT REAL. ")
    assert lengths == {
        "public_page": (mark + 7, "characters"), "partners": (mark + 11, "bytes"),
    }  # fmt: skip


async def test_a_preview_says_what_would_be_refused(
    pio: Phone, incident: incidents.Kept, clock: scene.HeldClock
) -> None:
    own = {"partners": "x" * 17_000}
    typed = preview_of(incident, clock.now(), own_texts=own)
    words: Any = typed["words"]
    words["place"]["text"] = words["hazard"]["text"] = " "
    shown = await pio.post("/preview", typed)
    assert {fault["field"] for fault in shown["faults"]} == {"place", "hazard"}
    words["place"]["text"] = words["hazard"]["text"] = "Somewhere"
    shown = await pio.post("/preview", typed)
    page, partners = shown["channels"]
    assert shown["faults"] == [] and page["fault"] is None
    assert (partners["fault"]["code"], partners["length"]) == ("text_too_long", 17_020)
    assert partners["text"].endswith("xxx"), "nothing is cut, in a preview neither"


async def test_a_headline_too_long_is_refused_in_words(
    pio: Phone, incident: incidents.Kept, clock: scene.HeldClock
) -> None:
    typed = preview_of(incident, clock.now())
    words: Any = typed["words"]
    words["hazard"]["text"] = "x" * 400
    (fault,) = (await pio.post("/preview", typed))["faults"]
    assert fault["code"] == "headline_too_long"


async def test_only_who_writes_previews(
    watch: Phone, client: TestClient, persons: scene.Persons, incident: incidents.Kept
) -> None:
    """An update, or a notice; who reads alone does not."""
    typed = preview_of(incident, scene.a_time())
    await watch.post("/preview", typed)
    await scene.sign_in(client, persons.records)
    assert (await Phone(client).post("/preview", typed, 403))["code"] == "not_your_act"


# --- The description --------------------------------------------------------------------------


async def test_the_api_describes_itself(client: TestClient) -> None:
    answer = await client.get(f"{V1}/openapi.json")
    assert answer.status == 200
    document = await answer.json()
    validate(document)
    assert document["openapi"].startswith("3.1")


async def test_every_route_is_described_and_every_description_is_a_route(
    client: TestClient,
) -> None:
    document = await (await client.get(f"{V1}/openapi.json")).json()
    described = {
        (method.upper(), path) for path, entry in document["paths"].items() for method in entry
    }
    assert client.app is not None
    served = {
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource
        and route.resource.canonical.startswith((V1, "/hooks/approval"))
        and route.method != "HEAD"
    }
    documents = {("GET", f"{V1}/openapi.json"), ("GET", f"{V1}/asyncapi.json")}
    assert described == served - documents


async def test_the_schema_of_a_report_is_the_one_that_validates(client: TestClient) -> None:
    document = await (await client.get(f"{V1}/openapi.json")).json()
    body = document["paths"][f"{V1}/reports"]["post"]["requestBody"]
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][name]
    assert schema["examples"] == Door({}).schema.model_json_schema()["examples"]
    assert "GASLEAKO" in schema["properties"]["type"]["enum"]
