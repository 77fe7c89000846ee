"""A report that a person types."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Incident, Report, Status, fold
from broadcaster.intake import person

NOW = datetime(2026, 11, 22, 22, 2, 30, tzinfo=UTC)
FORM = {"type": "GASLEAKO", "place": " 66142 Pierson Blvd ", "status": "Active", "csrf": "x"}


def typed(about: Incident | None = None, **fields: str) -> Report:
    form = person.read(FORM | fields)
    return person.report(form, about=about, message_id="p-1", new_number="P-20261122-7F3A", now=NOW)


def refusal(about: Incident | None = None, **fields: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        typed(about, **fields)
    return caught.value


@pytest.fixture
def incident() -> Incident:
    opened = NOW - timedelta(hours=1)
    report = Report(
        source="cad", message_id="m1", number="2026-1", type="GASLEAK", place="Oak St",
        opened_at=opened, reported_at=opened,
    )  # fmt: skip
    return fold(None, report, world="exercise", now=opened)


def test_a_new_incident() -> None:
    report = typed()
    assert (report.source, report.number) == ("person", "P-20261122-7F3A")
    assert report.place == "66100 block of Pierson Blvd"
    assert report.opened_at == report.reported_at == NOW


def test_about_an_incident_it_folds_into_that_incident(incident: Incident) -> None:
    report = typed(incident, incident_number="2026-1", place="", status="Closed")
    after = fold(incident, report, world="exercise", now=NOW)
    assert (report.source, report.number) == (incident.source, incident.number)
    assert after.id == incident.id and after.closed_at == NOW
    assert after.place == incident.place and after.opened_at == incident.opened_at


def test_about_an_incident_that_is_not_there() -> None:
    told = refusal(incident_number="2026-9")
    assert (told.code, told.kind, told.field) == (
        "incident_unknown",
        Kind.NOT_FOUND,
        "incident_number",
    )


@pytest.mark.parametrize("place", ["", "   "])
def test_a_new_incident_needs_a_place(place: str) -> None:
    told = refusal(place=place)
    assert (told.code, told.field) == ("invalid_field", "place")
    assert told.why == "The field place is missing."


def test_a_place_that_cannot_be_said_is_told_which_can(incident: Incident) -> None:
    for about in (None, incident):
        told = refusal(about, place="Jane Doe's home")
        assert (told.code, told.field) == ("invalid_field", "place")
        assert "1200 block of Main St" in told.do and "Jane" not in str(told)


@pytest.mark.parametrize(
    ("field", "value"),
    [("type", ""), ("type", "GAS"), ("status", "Open"), ("place", "x" * 401)],
)
def test_what_cannot_be_used_is_named(field: str, value: str) -> None:
    told = refusal(None, **{field: value})
    assert (told.code, told.field) == ("invalid_field", field)


def test_the_status_is_active_unless_said() -> None:
    assert typed(status="").status is Status.ACTIVE


@given(st.dictionaries(st.sampled_from([*FORM, "incident_number"]), st.text()))
def test_anything_typed_is_a_report_or_a_refusal(fields: dict[str, str]) -> None:
    with contextlib.suppress(Refusal):
        assert typed(None, **fields).body_digest()
