"""Handling, and the fold of reports into incidents."""

from __future__ import annotations

import csv
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broadcaster.incident import (
    AUTO_DRAFT_TYPES,
    HELD_TYPES,
    SUPPRESSED_TYPES,
    Command,
    Handling,
    Incident,
    Offer,
    Report,
    Status,
    commanders_in_words,
    fold,
    handling,
    incident_id,
)

NOW = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)


def a_report(message_id: str = "m1", **fields: object) -> Report:
    return Report.model_validate({
        "source": "cad", "message_id": message_id, "number": "2026-1", "type": "GASLEAK",
        "opened_at": NOW, "reported_at": NOW,
    } | fields)  # fmt: skip


def folded(*reports: Report) -> Incident:
    incident = None
    for report in reports:
        incident = fold(incident, report, world="exercise", now=NOW)
    assert incident is not None
    return incident


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("GASLEAKO", Handling.AUTO_DRAFT),
        ("ACTSHOOT", Handling.AUTO_DRAFT),
        ("MCI", Handling.AUTO_DRAFT),
        ("BARICADE", Handling.HELD),
        ("HOSTAGE", Handling.HELD),
        ("DVA", Handling.SUPPRESSED),
        ("WARRANT", Handling.SUPPRESSED),  # listed twice: the first list that names it counts
        ("CARDIAC", Handling.SUPPRESSED),  # medical calls are in no list
        ("NOISE", Handling.SUPPRESSED),
        ("NEVERHEARD", Handling.SUPPRESSED),
    ],
)
def test_handling(code: str, expected: Handling) -> None:
    assert handling(code) is expected
    assert folded(a_report(type=code)).handling is expected


def test_every_listed_type_is_in_the_registry(corpus: Path) -> None:
    with (corpus / "eido/registries/incident_type_common.csv").open(newline="") as file:
        registry = {row["value"] for row in csv.DictReader(file)}
    assert registry >= SUPPRESSED_TYPES | HELD_TYPES | AUTO_DRAFT_TYPES


def test_status_is_the_registry(corpus: Path) -> None:
    with (corpus / "eido/registries/incident_status_common.csv").open(newline="") as file:
        assert {row["value"] for row in csv.DictReader(file)} == set(Status)


def test_the_newest_report_wins_fact_by_fact() -> None:
    incident = folded(
        a_report("m1", place="Oak St", priority=3, latitude=33.961, longitude=-116.502),
        a_report("m2", reported_at=NOW + timedelta(minutes=1), type="EXPLOS"),
        a_report("m3", reported_at=NOW - timedelta(minutes=1), place="Elm St"),
    )
    assert incident.id == incident_id("exercise", "cad", "2026-1")
    assert incident.type.value == "EXPLOS"
    assert incident.place is not None and incident.place.value == "Oak St"
    assert incident.position is not None and incident.position.value == "33.961,-116.502"
    assert incident.priority is not None and incident.priority.value == "3"
    assert incident.reports == 3


def test_a_closing_report_closes_at_its_own_time_and_a_newer_one_opens_again() -> None:
    closing = a_report("m2", status=Status.CLOSED, reported_at=NOW + timedelta(minutes=1))
    closed = folded(a_report("m1"), closing)
    assert not closed.open and closed.closed_at == closing.reported_at
    late = a_report("m0", reported_at=NOW)
    assert folded(a_report("m1"), closing, late).closed_at == closing.reported_at
    again = a_report("m3", status=Status.REOPENED, reported_at=NOW + timedelta(minutes=2))
    assert folded(a_report("m1"), closing, again).open


def test_worlds_do_not_share_incidents() -> None:
    assert incident_id("exercise", "cad", "1") != incident_id("live", "cad", "1")


@pytest.mark.parametrize("field", ["opened_at", "reported_at"])
def test_a_report_knows_its_zone(field: str) -> None:
    with pytest.raises(ValidationError):
        a_report("m1", **{field: NOW.replace(tzinfo=None)})


@pytest.mark.parametrize("field", ["message_id", "number", "source"])
@pytest.mark.parametrize("value", ["", " ", "a\0b", "a\nb", "a\ud800", "ä", "x" * 201])
def test_what_names_a_report_is_plain(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        Report.model_validate(a_report().model_dump() | {field: value})


REPORTS = st.lists(
    st.builds(
        lambda minute, opened, kind, status, place, priority: {
            # Few minutes, so that reports often have the same time.
            "reported_at": NOW + timedelta(minutes=minute),
            "opened_at": NOW + timedelta(minutes=opened),
            "type": kind,
            "status": status,
            "place": place,
            "priority": priority,
            "latitude": None if place is None else 33.9 + minute / 1000,
            "longitude": None if place is None else -116.5,
        },
        st.integers(0, 2),
        st.integers(-2, 2),
        st.sampled_from(["GASLEAK", "EXPLOS"]),
        st.sampled_from([Status.ACTIVE, Status.CLOSED, Status.CANCELLED, Status.REOPENED]),
        st.sampled_from([None, "Oak St", "Elm St"]),
        st.sampled_from([None, 1, 9]),
    ),
    min_size=1,
    max_size=4,
).map(lambda several: [a_report(f"m{n}", **fields) for n, fields in enumerate(several)])


@given(REPORTS)
def test_every_shuffle_gives_the_same_incident(reports: list[Report]) -> None:
    incident, *others = (folded(*order) for order in itertools.permutations(reports))
    assert all(other == incident for other in others)


@given(REPORTS, st.data())
def test_a_report_that_comes_twice_changes_no_fact(
    reports: list[Report], data: st.DataObject
) -> None:
    again = data.draw(st.sampled_from(reports))
    once, twice = folded(*reports), folded(*reports, again)
    assert twice == once.model_copy(update={"reports": once.reports + 1})


def test_what_is_wrong_with_a_report_is_said_without_quoting_it() -> None:
    """Such an error may reach the log: a row of the ledger that another version wrote."""
    with pytest.raises(ValidationError) as caught:
        Report.model_validate({"number": "zq private\n", "place": ["zq private"]})
    assert "number" in str(caught.value) and "zq private" not in str(caught.value)


# --- Command ----------------------------------------------------------------------------------

ALONE = Command(person_id="ortiz", epoch=1, since=NOW)
UNIFIED = Command(person_id="ortiz", with_id="ruiz", epoch=1, since=NOW)


@pytest.mark.parametrize(
    ("command", "by", "to", "then"),
    [
        (ALONE, "ortiz", "lee", ("lee",)),
        (ALONE, "the Watch Commander", "lee", ("lee",)),
        (Command(), "the Watch Commander", "lee", ("lee",)),
        (UNIFIED, "ortiz", "lee", ("lee", "ruiz")),
        (UNIFIED, "ruiz", "lee", ("ortiz", "lee")),
        (UNIFIED, "ortiz", "ruiz", ("ruiz",)),
        (UNIFIED, "the Watch Commander", "lee", ("lee",)),
    ],
)
def test_who_commands_after_a_hand_over(
    command: Command, by: str, to: str, then: tuple[str, ...]
) -> None:
    assert command.handed(by, to) == then


def test_each_change_of_command_is_a_new_epoch_and_remembers_who_had_it() -> None:
    offer = Offer(id="o", by="ortiz", to="lee", nonce="n", expires_at=NOW + timedelta(minutes=10))
    offered = UNIFIED.model_copy(update={"offer": offer})
    later = offered.moved(("lee", "ruiz"), at=NOW + timedelta(minutes=1), accepted="o")
    assert (later.commanders, later.epoch, later.former) == (("lee", "ruiz"), 2, ("ortiz",))
    assert later.offer is None and later.accepted == "o"
    ended = later.moved((), at=NOW)
    assert (ended.commanders, ended.former) == ((), ("ortiz", "lee", "ruiz"))
    back = ended.moved(("ortiz",), at=NOW)
    assert (back.commanders, back.epoch, back.former) == (("ortiz",), 4, ("lee", "ruiz"))


def test_that_both_must_approve_holds_for_as_long_as_there_are_two() -> None:
    both = UNIFIED.model_copy(update={"both": True})
    assert both.moved(("lee", "ruiz"), at=NOW).both
    assert not both.moved(("lee",), at=NOW).both
    assert not both.moved(("lee",), at=NOW, both=True).both
    assert not both.moved(("lee", "ruiz"), at=NOW, both=False).both
    assert not UNIFIED.moved(("lee", "ruiz"), at=NOW).both


def test_an_offer_can_be_accepted_until_its_time_is_over() -> None:
    offer = Offer(id="o", by="ortiz", to="lee", nonce="n", expires_at=NOW)
    command = ALONE.model_copy(update={"offer": offer})
    assert command.offered(NOW - timedelta(microseconds=1)) == offer
    assert command.offered(NOW) is None
    assert ALONE.offered(NOW) is None


def test_who_commands_in_words() -> None:
    names = {"ortiz": "Sgt Ortiz", "ruiz": "Capt Ruiz"}
    said = [commanders_in_words(each, names) for each in (Command(), ALONE, UNIFIED)]
    assert said == [None, "Sgt Ortiz", "Sgt Ortiz and Capt Ruiz"]
