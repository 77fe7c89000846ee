"""What comes in wrong: named, with what to do about it; and the next good one goes through."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from broadcaster.errors import Refusal
from tests.connected.installation import Installation, Json, new_secret, signed, until
from tests.connected.production import Production

pytestmark = pytest.mark.asyncio(loop_scope="module")


#: What every wrong message is called, in its body as in its header.
WRONG_ID = "wrong-1"


def body(at: Installation, **fields: object) -> bytes:
    return at.bytes_of(at.report(**{"id": WRONG_ID, **fields}))


def twice(at: Installation) -> bytes:
    return body(at).replace(b'"priority": 2', b'"priority": 2, "priority": 3')


def without(name: str) -> Callable[[Installation], bytes]:
    def make(at: Installation) -> bytes:
        report = at.report(id=WRONG_ID)
        del report[name]
        return at.bytes_of(report)

    return make


Made = Callable[[Installation], bytes]

#: What is sent, and what is said: the status over HTTP, the code, the field.
WRONG: dict[str, tuple[Made, int, str, str | None]] = {
    "not JSON": (lambda at: b'{"version": 1, ', 400, "not_json", None),
    "no object": (lambda at: b"[]", 400, "not_json", None),
    "not UTF-8": (lambda at: body(at).replace(b"Pierson", b"Pi\xffrson"), 400, "not_json", None),
    "NaN": (lambda at: body(at).replace(b"33.9611", b"NaN"), 400, "not_json", None),
    "too large": (lambda at: body(at, note="x" * 2**20), 413, "too_large", None),
    "10^5 deep": (
        lambda at: b'{"a":' * 10**5 + b"1" + b"}" * 10**5, 400, "too_deep", None),
    "10^5 deep, never closed": (lambda at: b"[" * 10**5, 400, "too_deep", None),
    "a key twice": (twice, 400, "duplicate_key", "priority"),
    "a place in space": (
        lambda at: body(at, latitude=91.0), 422, "invalid_field", "latitude"),
    "half a position": (without("latitude"), 422, "invalid_field", "latitude"),
    "a time to come": (
        lambda at: body(at, reported_at=at.in_seconds(3600)), 422, "in_future", "reported_at"),
    "opened in the future": (
        lambda at: body(at, opened_at=at.in_seconds(3600)), 422, "in_future", "opened_at"),
    "no time zone": (
        lambda at: body(at, reported_at="2026-11-22T10:00:00"), 422, "invalid_field",
        "reported_at"),
    "an empty place": (lambda at: body(at, place=""), 422, "invalid_field", "place"),
    "a place of spaces": (lambda at: body(at, place="  "), 422, "invalid_field", "place"),
    "no place": (without("place"), 422, "invalid_field", "place"),
    "no number": (without("incident_number"), 422, "invalid_field", "incident_number"),
    "an unknown type": (lambda at: body(at, type="GASLEAKX"), 422, "invalid_field", "type"),
    "an unknown status": (lambda at: body(at, status="Odd"), 422, "invalid_field", "status"),
    "a version of later": (lambda at: body(at, version=2), 422, "invalid_field", "version"),
    "an id with a line end": (lambda at: body(at, id="a\nb"), 422, "invalid_field", "id"),
}  # fmt: skip


def said_well(refusal: Json) -> bool:
    """In words for a person: what, and what to do; whole sentences, and nothing of ours."""
    said = (refusal["why"], refusal["do"])
    return all(each[0].isupper() and each.endswith(".") for each in said) and not any(
        word in " ".join(said) for word in ("Traceback", "pydantic", "Error")
    )


async def goes_through(at: Installation, report: Json) -> None:
    await at.suggested(at.incident_of(report))


async def newest_problem(at: Installation) -> Json:
    found: Json = (await at.order("problems_list", all=True))["problems"][0]
    return found


@pytest.mark.parametrize("what", WRONG)
async def test_over_http(what: str, at: Installation) -> None:
    make, status, code, field = WRONG[what]
    answer = await at.send_raw(make(at), WRONG_ID)
    assert (answer.status, answer.body["code"], answer.body.get("field")) == (status, code, field)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert said_well(answer.body)
    if code != "too_large":  # of which a stranger could send many: noted now and then
        noted = await newest_problem(at)
        assert (noted["code"], noted["field"]) == (code, field)
        assert noted["place"]["source"] == "http"


async def test_the_next_good_one_goes_through_over_http(at: Installation) -> None:
    report = at.report()
    assert (await at.send_report(report)).status == 202
    await goes_through(at, report)


async def test_over_http_with_a_signature_of_no_use(at: Installation) -> None:
    report = at.report()
    sent = at.bytes_of(report)
    good = signed(at.cad_secret, report["id"], sent)
    for headers, code in (
        (signed(new_secret(), report["id"], sent), "signature_wrong"),
        ({**good, "webhook-id": "another"}, "signature_wrong"),
        ({"content-type": "application/json"}, "signature_missing"),
        (signed(at.cad_secret, report["id"], sent, time.time() - 301), "signature_old"),
        (signed(at.cad_secret, report["id"], sent, time.time() + 360), "signature_old"),
    ):
        answer = await at.send_raw(sent, headers=headers)
        assert (answer.status, answer.body["code"]) == (401, code)
        assert said_well(answer.body)
    changed = await at.send_raw(sent.replace(b"Pierson", b"Persona"), headers=good)
    assert (changed.status, changed.body["code"]) == (401, "signature_wrong")
    assert (await at.send_raw(sent, headers=good)).status == 202
    await goes_through(at, report)


async def test_over_http_in_another_s_name(at: Installation) -> None:
    report = at.report(source="elsewhere")
    answer = await at.send_report(report)
    assert (answer.status, answer.body["code"], answer.body["field"]) == (
        403, "source_wrong", "source",
    )  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_by_the_topic(what: str, at: Installation) -> None:
    """A line in `problems` that says where the message stands, and the stream goes on."""
    make, _, code, field = WRONG[what]
    before = (await newest_problem(at))["id"]
    report = at.report()
    if code == "too_large" and isinstance(at, Production):
        with pytest.raises(MessageSizeTooLargeError):  # Apache Kafka is told our limit
            await at.produce(make(at))
        return
    await at.produce(make(at), at.bytes_of(report))

    async def noted() -> Json | None:
        newest = await newest_problem(at)
        return newest if newest["id"] > before else None

    problem = await until("it is noted", noted)
    assert (problem["code"], problem["field"], problem["state"]) == (code, field, "open")
    assert problem["place"]["topic"] == at.topic("incident.intake")
    assert problem["place"]["offset"] is not None
    assert said_well(problem)
    await goes_through(at, report)


async def test_by_a_topic_of_ours(at: Installation) -> None:
    """What a stranger writes where only we should changes nothing, and the stream goes on.

    Each is noted; but a post that nobody knows is only looked for, as any other is.
    """
    forged: list[tuple[str, Any]] = [
        ("incident.reports", {"report_id": "none"}),
        ("update.submitted", {"request_id": "none"}),
        ("update.decided", {"decision_id": "none"}),
        ("posts.county", {"post_id": "none"}),
    ]
    for topic, ids in forged:
        wake = {"version": 1, "message_id": "forged", **ids}
        for sent in (json.dumps(wake).encode(), b"not JSON", b"{}", b"x" * 5000):
            await at.produce(sent, topic=topic)
    request = await at.approved(await at.opened())
    assert (await at.settled(request))["county"]["state"] == "posted"

    async def all_noted() -> bool:
        listed = (await at.order("problems_list", all=True))["problems"]
        ours = [each for each in listed if each["place"]["topic"] not in
                (None, at.topic("incident.intake"))]  # fmt: skip
        return len(ours) == 4 * len(forged) - 1

    await until("each is noted", all_noted)


async def test_by_a_file(at: Installation, tmp_path: Path) -> None:
    """One line in `problems` for each bad row, and the rest of the file goes on."""
    ms = str(int((time.time() - 3600) * 1000))
    good = {"IncidentNumber": "F-1", "ProblemType": "Fire", "Address": "900 S San Manuel",
            "LAT": "29.418571", "LON": "-98.558526", "ResponseDate": ms}  # fmt: skip
    wrong = [
        ({"LAT": "29.9"}, "out_of_bounds", "LAT"),
        ({"LON": "29.4"}, "out_of_bounds", "LON"),
        ({"LAT": "north"}, "invalid_field", "LAT"),
        ({"LAT": "nan"}, "out_of_bounds", "LAT"),
        ({"Address": " "}, "invalid_field", "Address"),
        ({"ProblemType": ""}, "invalid_field", "ProblemType"),
        ({"IncidentNumber": ""}, "invalid_field", "IncidentNumber"),
        ({"ResponseDate": "10/01/24"}, "invalid_field", "ResponseDate"),
        ({"ResponseDate": str(int((time.time() + 3600) * 1000))}, "in_future", "ResponseDate"),
        ({"IncidentNumber": "x" * 81}, "invalid_field", "IncidentNumber"),
    ]  # fmt: skip
    file = tmp_path / "calls.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, good)
        writer.writeheader()
        for number, (fields, _, _) in enumerate(wrong):
            writer.writerow({**good, "IncidentNumber": f"F-{number}", **fields})
        out.write("too,few\r\n")
        writer.writerow({**good, "IncidentNumber": "F-last"})
    code, printed, err = await at.run("replay", str(file), "--map", "sapd", "--json")
    assert code == 0, err
    said = json.loads(printed)
    assert (said["rows"], said["accepted"], said["refused"]) == (12, 1, 11)
    listed = (await at.order("problems_list"))["problems"]
    found = {each["place"]["line"]: each for each in listed
             if each["place"]["source"] == "file calls.csv"}  # fmt: skip
    for line, (_, wrong_code, field) in enumerate(wrong, start=2):
        problem = found.pop(line)
        assert (problem["code"], problem["field"]) == (wrong_code, field), problem
        assert said_well(problem)
    (broken,) = found.values()
    assert (broken["place"]["line"], broken["code"]) == (12, "row_broken")


async def test_by_hand(at: Installation) -> None:
    for fields, field in (
        ({"type": "GASLEAKX", "place": "900 Main St"}, "type"),
        ({"type": "GASLEAKO", "place": ""}, "place"),
        ({"type": "GASLEAKO", "place": "900 Main St", "status": "Odd"}, "status"),
        ({"type": "GASLEAKO", "place": "900 Main St", "number": "none"}, "incident_number"),
    ):
        with pytest.raises(Refusal) as refusal:
            await at.order("report", **fields)
        assert refusal.value.field == field
        assert said_well({"why": refusal.value.why, "do": refusal.value.do})
    code, _, err = await at.run("report", "--type", "GASLEAKX", "--place", "900 Main St")
    assert code == 1 and len(err.splitlines()) == 1 and "Traceback" not in err
