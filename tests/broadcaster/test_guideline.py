"""The Chief's guidelines as rules: what is strictly within one, and what names an incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broadcaster.authority import Authority, Content, Standing, Subject, Training
from broadcaster.guideline import (
    Guideline,
    OpenIncident,
    Submission,
    about_an_incident,
    covering,
    named,
    objection,
)
from broadcaster.incident import Topic
from broadcaster.roster import Person, Role

NOW = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
DAY = timedelta(days=1)

GUIDELINE = Guideline(
    id="g", topic=Topic.TRAFFIC, members=frozenset({"lopez"}), roles=frozenset({Role.PIO}),
    channels=("public_page", "x"), until=NOW + DAY, text="Road works.", granted_by="chief",
    granted_at=NOW - DAY,
)  # fmt: skip
LOPEZ = Person(id="lopez", name="J. Lopez", roles=frozenset({Role.STAFF}))
OTHER = Person(id="novak", name="N. Novak", roles=frozenset({Role.STAFF}))
PIO = Person(id="reyes", name="A. Reyes", roles=frozenset({Role.PIO}))


def held(content: Content = Content.ROUTINE, trained: timedelta = DAY) -> Standing:
    return Standing(
        authorities=(Authority(id="a", person_id="lopez", content=content, until=None,
                               granted_by="chief", granted_at=NOW - DAY),),
        trainings=tuple(Training(subject=each, given_at=NOW - DAY, expires_at=NOW + trained)
                        for each in Subject),
    )  # fmt: skip


WITHIN = Submission(
    topic=Topic.TRAFFIC, channels=("x",), person=LOPEZ, held=held(), findings=0, at=NOW
)

#: One term after the other: what is submitted, and what the guideline says to it.
TERMS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"person": PIO}, None),
    ({"channels": ("public_page", "x")}, None),
    ({"at": NOW + DAY - timedelta(microseconds=1), "held": held(trained=2 * DAY)}, None),
    ({"at": NOW + DAY}, "guideline_ended"),
    ({"topic": Topic.SAFETY}, "outside_guideline"),
    ({"channels": ("x", "facebook")}, "outside_guideline"),
    ({"person": OTHER}, "outside_guideline"),
    ({"findings": 1}, "outside_guideline"),
    ({"held": held(Content.INCIDENT)}, "authority_missing"),
    ({"held": held(trained=timedelta())}, "training_lapsed"),
]


@pytest.mark.parametrize(("changed", "code"), TERMS, ids=str)
def test_strictly_within_means_each_of_its_terms(changed: dict[str, Any], code: str | None) -> None:
    it = replace(WITHIN, **changed)
    refusal = objection(GUIDELINE, it)
    assert (refusal.code if refusal else None) == code
    assert covering([GUIDELINE], it) == (None if code else GUIDELINE)


def test_one_that_was_ended_and_none_at_all_cover_nothing() -> None:
    ended = GUIDELINE.model_copy(update={"ended_at": NOW, "ended_by": "chief"})
    for each in (ended, None):
        refusal = objection(each, WITHIN)
        assert refusal is not None and refusal.code == "guideline_ended"


def test_of_several_the_one_granted_last_is_named() -> None:
    newer = GUIDELINE.model_copy(update={"id": "newer", "granted_at": NOW})
    assert covering([newer, GUIDELINE], WITHIN) is newer
    assert covering([GUIDELINE, newer], WITHIN) is newer


def test_each_topic_has_its_letter() -> None:
    assert [topic.clause for topic in Topic] == [f"389.4({letter})" for letter in "abcdefgh"]


LEAK = OpenIncident("1", "Gas leak", "1200 block of Oak St", "k7mq2x9p")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Avoid the 1200 block of Oak St today.", True),
        ("avoid the 1200 BLOCK\nof Oak  St.", True),
        ("See https://alerts.example/p/k7mq2x9p", True),
        ("The 1200 block of Оak St is closed.", True),  # a Cyrillic O
        ("The 1200 block of Oak Stream is open.", False),
        ("The 11200 block of Oak St is open.", False),
        ("Coffee with an officer.", False),
    ],
)
def test_words_that_name_an_open_incident(text: str, found: bool) -> None:
    assert named([text], [LEAK]) == (LEAK if found else None)
    refusal = about_an_incident([text], [LEAK], stated=True)
    assert (refusal.code if refusal else None) == ("open_incident_named" if found else None)


def test_an_incident_without_a_place_is_named_by_its_public_id_alone() -> None:
    assert named(["Coffee."], [replace(LEAK, place="")]) is None


def test_without_the_statement_it_is_not_submitted() -> None:
    refusal = about_an_incident(["Coffee."], [LEAK], stated=False)
    assert refusal is not None and refusal.code == "statement_missing"
