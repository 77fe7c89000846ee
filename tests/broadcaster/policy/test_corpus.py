"""The screening on real input. `make bench` prints the figures; here they may not get worse."""

from __future__ import annotations

import csv
from pathlib import Path

from broadcaster.place import generalise
from broadcaster.policy import BY_ID, Severity
from tests.bench.bench_screening import blocked, measure, spans


def test_labelled_sentences_from_all_over_the_world(corpus: Path) -> None:
    """Of numbers and addresses written as they are here all, or nearly; nothing that is none."""
    scores = measure(corpus)
    for rule in ("phone-number", "social-security-number", "home-address", "house-number"):
        assert scores[rule].precision == 1, rule
    assert scores["social-security-number"].recall == 1
    assert scores["phone-number"].recall > 0.6
    assert scores["our addresses"].recall > 0.9


def test_real_alerts_are_not_blocked_but_for_birth_dates(corpus: Path) -> None:
    """AMBER alerts give the child's birth date, where policy 389.5 leaves us the age."""
    count, found = blocked(corpus)
    assert count > 100
    hard = {rule: quoted for rule, quoted in found.items() if BY_ID[rule].severity is Severity.HARD}
    assert set(hard) == {"birth-date"}, hard


def test_a_place_that_came_through_the_door_is_never_an_exact_address(corpus: Path) -> None:
    with (corpus / "cad_sapd" / "sapd_24-10.csv").open(newline="") as file:
        places = {row["Address"] for row in csv.DictReader(file)}
    said = {place for each in places if (place := generalise(each))}
    assert len(said) > 1000
    assert {place: found for place in said if (found := list(spans(place)))} == {}
