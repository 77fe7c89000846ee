"""Our own JSON report: what passes, what does not, and how it is told."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Status
from broadcaster.intake.eido_types import TYPES
from broadcaster.intake.native import EXAMPLE, MAX_BYTES, NativeReport, Parsed, parse

NOW = datetime(2026, 11, 22, 22, 2, 30, tzinfo=UTC)


def sent(*leave_out: str, **fields: Any) -> bytes:
    body = {**EXAMPLE, **fields}
    return json.dumps({name: body[name] for name in body if name not in leave_out}).encode()


def refusal(raw: bytes, **proved: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(raw, now=NOW, **proved)
    return caught.value


def test_a_report_comes_in() -> None:
    parsed = parse(sent(), now=NOW, source="dhs-cad", message_id="cad-2026-11-22-000417")
    report = parsed.report
    assert parsed == Parsed(report, unknown_fields=0, place_withheld=False)
    assert (report.source, report.message_id) == ("dhs-cad", "cad-2026-11-22-000417")
    assert (report.number, report.type) == ("2026-004417", "GASLEAKO")
    assert (report.status, report.priority) == (Status.RESOURCES_ONSCENE, 2)
    assert report.place == "66100 block of Pierson Blvd"
    assert (report.latitude, report.longitude) == (33.961, -116.502)
    assert report.opened_at == datetime(2026, 11, 22, 21, 58, 10, tzinfo=UTC)
    assert report.reported_at.utcoffset() == timedelta(0)


def test_the_published_schema_is_the_one_that_validates() -> None:
    schema = NativeReport.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(EXAMPLE)
    assert not validator.is_valid({**EXAMPLE, "type": "GAS"})
    assert all(field["description"] for field in schema["properties"].values())


def test_the_types_are_the_registry(corpus: Path) -> None:
    with (corpus / "eido/registries/incident_type_common.csv").open(newline="") as file:
        assert {row["value"] for row in csv.DictReader(file)} - {""} == TYPES


def test_coordinates_are_rounded_to_a_block() -> None:
    report = parse(sent(latitude=33.961499, longitude=-0.0001), now=NOW).report
    assert (report.latitude, str(report.longitude)) == (33.961, "0.0")


def test_a_place_that_cannot_be_said_is_withheld_and_counted() -> None:
    parsed = parse(sent(place="Jane Doe's home"), now=NOW)
    assert parsed.place_withheld and parsed.report.place is None


@pytest.mark.parametrize("status", ["Closed", "Cancelled"])
def test_a_closing_report_needs_no_place(status: str) -> None:
    parsed = parse(sent("place", status=status), now=NOW)
    assert not parsed.place_withheld and parsed.report.place is None


@pytest.mark.parametrize("name", ["status", "latitude latitude longitude", "priority"])
def test_what_may_be_left_out(name: str) -> None:
    assert parse(sent(*name.split()), now=NOW).report


@pytest.mark.parametrize("name", ["version", "id", "source", "incident_number", "type", "place",
                                  "opened_at", "reported_at", "latitude", "longitude"])  # fmt: skip
def test_what_is_missing_is_named(name: str) -> None:
    told = refusal(sent(name))
    assert (told.code, told.field, told.kind) == ("invalid_field", name, Kind.INVALID)
    assert told.why == f"The field {name} is missing."


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", "1"),
        ("id", ""),
        ("id", "a b"),
        ("id", "x" * 201),
        ("id", "a\ud800"),
        ("source", "DHS"),
        ("source", "person"),
        ("incident_number", 4417),
        ("incident_number", "a\u0000b"),
        ("incident_number", " "),
        ("type", "GAS"),
        ("type", "gasleak"),
        ("type", ["GASLEAK"]),
        ("status", "Open"),
        ("place", ""),
        ("place", " \n"),
        ("place", 5),
        ("place", "x" * 401),
        ("latitude", 91),
        ("latitude", "33.9"),
        ("latitude", True),
        ("latitude", 10**400),
        ("longitude", -180.5),
        ("priority", 11),
        ("priority", -1),
        ("priority", 1.5),
        ("priority", True),
        ("opened_at", 1_763_848_690),
        ("opened_at", "1763848690"),
        ("opened_at", "2026-11-22T13:58:10"),
        ("opened_at", "yesterday"),
        ("reported_at", "0001-01-01T00:00:00+14:00"),
        ("reported_at", "9999-12-31T23:59:59-14:00"),
        ("reported_at", None),
    ],
)
def test_what_cannot_be_used_is_named_and_never_repeated(field: str, value: Any) -> None:
    told = refusal(sent(**{field: value}))
    assert (told.code, told.field) == ("invalid_field", field)
    assert told.why.startswith(f"The field {field} ") and told.do.startswith(f"Send {field} as ")
    if isinstance(value, str) and len(value) > 4 and value != "person":
        assert value not in str(told)


@pytest.mark.parametrize("field", ["opened_at", "reported_at"])
def test_a_time_in_the_future(field: str) -> None:
    ahead = timedelta(minutes=5)
    assert parse(sent(**{field: (NOW + ahead).isoformat()}), now=NOW)
    told = refusal(sent(**{field: (NOW + ahead + timedelta(seconds=1)).isoformat()}))
    assert (told.code, told.field) == ("in_future", field)


@pytest.mark.parametrize("field", ["opened_at", "reported_at"])
def test_a_time_before_anybody_dispatched_by_computer(field: str) -> None:
    """Some systems send the year 1 where they know no time."""
    told = refusal(sent(**{field: "0001-01-01T00:00:00Z"}))
    assert (told.code, told.field) == ("too_old", field)
    assert refusal(sent(**{field: "1969-12-31T23:59:59Z"})).code == "too_old"
    assert parse(sent(**{field: "1970-01-01T00:00:00Z"}), now=NOW)


def test_the_body_says_what_the_signature_proved() -> None:
    told = refusal(sent(), source="other-cad")
    assert (told.code, told.field, told.kind) == ("source_wrong", "source", Kind.FORBIDDEN)
    assert refusal(sent(), message_id="other").field == "id"


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"", "line 1, column 1"),
        (b'{"version": 1,\n  oops}', "line 2, column 3"),
        (b'{"place": "\xff"}', "byte 12"),
        (b"[]", "outermost value"),
        (b"null", "outermost value"),
        (b'{"latitude": NaN}', "NaN"),
        (b'{"other": [-Infinity]}', "NaN"),
        (b'{"version": ' + b"1" * 5000 + b"}", "too long"),
        (b'{"a": "\\', "line 1"),
    ],
)
def test_what_is_not_json(raw: bytes, cause: str) -> None:
    told = refusal(raw)
    assert told.code == "not_json" and cause in told.why


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse(b"\xef\xbb\xbf" + sent(), now=NOW)


def test_too_large() -> None:
    padded = sent(notes="x" * MAX_BYTES)
    told = refusal(padded)
    assert (told.code, told.kind) == ("too_large", Kind.TOO_LARGE)
    assert parse(sent() + b" " * (MAX_BYTES - len(sent())), now=NOW)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    ],
    ids=["open", "lists", "objects", "33"],
)
def test_too_deep(raw: bytes) -> None:
    assert refusal(raw).code == "too_deep"


def test_brackets_within_text_and_32_levels_are_not_deep() -> None:
    notes = {"a": '[[[["\\"[' * 20, "deep": json.loads("[" * 30 + "]" * 30)}
    assert parse(sent(notes=notes), now=NOW).unknown_fields == 1


@pytest.mark.parametrize("hostile", [b'"\\"' * 300_000, b'"' * 1_000_000, b"\\" * 1_000_000])
def test_a_hostile_mebibyte_is_read_in_one_pass(hostile: bytes) -> None:
    begun = time.process_time()
    assert refusal(b"{" + hostile).code == "not_json"
    assert time.process_time() - begun < 5


def test_a_key_twice() -> None:
    raw = sent()[:-1] + b', "type": "NOISE"}'
    told = refusal(raw)
    assert (told.code, told.field) == ("duplicate_key", "type")
    assert "The field type appears twice" in told.why


def test_a_key_that_we_do_not_know_twice_is_not_repeated() -> None:
    told = refusal(sent()[:-1] + b', "notes": {"Zebedee": 1, "Zebedee": 2}}')
    assert (told.code, told.field) == ("duplicate_key", None)
    assert "Zebedee" not in str(told)


def test_what_no_field_names_is_counted_and_nowhere_else(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    words = [f"zebedee{n}" for n in range(6)]
    extra = {
        "caller": words[0],
        words[1]: 1,
        "personComponent": [{"name": words[2], "nested": {"phone": words[3]}}],
        "place_note": words[4],
    }
    told = [parse(sent(**extra), now=NOW)]
    assert told[0].unknown_fields == 4
    texts = [told[0].report.model_dump_json(), repr(told[0])]
    for spoiled in ({"type": words[5]}, {"latitude": words[5]}, {"reported_at": words[5]}):
        refused = refusal(sent(**extra, **spoiled))
        texts += [str(refused), repr(vars(refused))]
    texts += [caplog.text, *capsys.readouterr()]
    assert not any(word in text for word in words for text in texts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300) | st.text(alphabet='{}[]":,\\ntrue1.-eNaI').map(str.encode))
def test_arbitrary_bytes_are_a_refusal(raw: bytes) -> None:
    assert refusal(raw).code in {"not_json", "too_deep", "duplicate_key", "invalid_field"}


@given(st.dictionaries(st.sampled_from(list(NativeReport.model_fields)), JSON, max_size=3))
def test_arbitrary_fields_are_a_report_or_a_refusal(fields: dict[str, Any]) -> None:
    try:
        parsed = parse(json.dumps({**EXAMPLE, **fields}).encode(), now=NOW)
    except Refusal:
        return
    assert parsed.report.id and parsed.report.body_digest()


@given(st.integers(0, len(sent())), st.binary(max_size=3))
def test_a_damaged_report_is_a_report_or_a_refusal(at: int, damage: bytes) -> None:
    raw = sent()
    with contextlib.suppress(Refusal):
        parse(raw[:at] + damage + raw[at + len(damage) :], now=NOW)
