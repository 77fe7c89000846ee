"""The suggested update: its templates, what fills them, and what brings a new one about."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broadcaster.channel import WEBHOOK_LIMIT
from broadcaster.incident import (
    AUTO_DRAFT_TYPES,
    HELD_TYPES,
    SUPPRESSED_TYPES,
    Incident,
    Report,
    Status,
    fold,
    handling,
)
from broadcaster.suggestion import (
    NEXT_UPDATE_AFTER,
    TEMPLATES,
    Template,
    promised,
    suggest,
    times,
    why_suggest,
    words,
)
from broadcaster.update import Origin, changed_facts, clean, compose, headline
from tests.story import NOW, ZONE

SAID = [
    (code, said)
    for code, template in TEMPLATES.items()
    for said in (template.hazard, template.guidance)
]


def an_incident(before: Incident | None = None, **fields: Any) -> Incident:
    report = Report.model_validate({
        "source": "cad", "message_id": "m1", "number": "2026-1", "type": "GASLEAK",
        "place": "1200 block of Oak St", "opened_at": NOW, "reported_at": NOW,
    } | fields)  # fmt: skip
    return fold(before, report, world="exercise", now=NOW)


def suggested(**fields: Any) -> Any:
    return suggest(an_incident(**fields), department="Desert Hot Springs PD", zone=ZONE, now=NOW)


# --- The templates ----------------------------------------------------------------------------


def test_what_is_drafted_automatically_has_a_template_and_what_is_suppressed_has_none() -> None:
    drafted = {code for code in AUTO_DRAFT_TYPES if handling(code) == "auto-draft"}
    assert drafted <= TEMPLATES.keys()
    assert {"HOSTAGE", "BARICADE"} <= HELD_TYPES & TEMPLATES.keys()
    assert not TEMPLATES.keys() & SUPPRESSED_TYPES


@pytest.mark.parametrize(("code", "said"), SAID)
def test_a_template_is_plain_words(code: str, said: str) -> None:
    assert clean(said, "text") == said and said.isascii()
    shouted = set(re.findall(r"\b[A-Z]{2,}\b", said))
    assert not shouted, "no capitals but at the beginning of a sentence or a name"
    assert not re.search(r"\b(?:10-\d+|code \d|[A-Z]+\d+|11-\d+)\b", said, re.I), "no codes"
    assert not re.search(
        r"\b(?:evac|perimeter|suspect|subject|units?|RP|advised|mandatory|voluntary|advisory)\b",
        said, re.I,
    ), "no jargon, and none of the terms that Cal OES has given up"  # fmt: skip
    assert not re.search(r"  |\.\.|!", said)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_says_what_and_what_to_do(template: Template) -> None:
    assert template.hazard and not template.hazard.endswith(".")
    assert template.guidance.endswith(".") and len(template.guidance.split()) <= 45
    assert len(template.hazard) <= 40


def test_shelter_in_place_says_what_to_do() -> None:
    """`Shelter in place` alone has been misunderstood (facts/domain.md §3)."""
    for _, said in SAID:
        if "Shelter in place" in said:
            assert "go inside" in said and "close doors and windows" in said


# --- What fills them --------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(TEMPLATES))
def test_the_words_of_every_type_can_be_released(code: str) -> None:
    said = words(an_incident(type=code), department="Desert Hot Springs PD", zone=ZONE, now=NOW)
    text = compose(said)
    assert text == clean(text, "text") and len(text.encode()) < WEBHOOK_LIMIT
    assert headline(said) == f"{TEMPLATES[code].hazard}, 1200 block of Oak St"
    assert text.startswith(
        f"Desert Hot Springs PD: {TEMPLATES[code].hazard}, 1200 block of Oak St."
    )


def test_each_phrase_says_where_it_is_from() -> None:
    said = suggested()
    origins = {name: phrase.origin for name, phrase in said.phrases().items()}
    assert origins == {
        "source": Origin.TEMPLATE, "hazard": Origin.TEMPLATE, "place": Origin.CAD,
        "guidance": Origin.TEMPLATE, "time": Origin.TEMPLATE,
    }  # fmt: skip
    assert [name for name, phrase in said.phrases().items() if phrase.verified] == ["source"]


def test_it_rests_on_the_facts_of_its_time() -> None:
    incident = an_incident()
    said = suggested()
    assert changed_facts(said, incident.facts) == ()
    moved = an_incident(incident, place="Elm St", type="EXPLOS", reported_at=NOW + timedelta(1))
    assert [each.name for each in changed_facts(said, moved.facts)] == ["hazard", "place"]


@pytest.mark.parametrize("code", ["HOSTAGE", "BARICADE", "WARRANT", "SUICIDE", "NOSUCHTYPE"])
def test_no_suggestion_for_what_is_held_or_suppressed(code: str) -> None:
    assert suggested(type=code) is None


def test_a_missing_place_is_left_for_a_person() -> None:
    said = suggested(place=None)
    assert said.place.text == "" and said.place.origin is Origin.TYPED and said.place.fact is None
    assert headline(said) == "Gas leak"
    assert changed_facts(said, {"type": "GASLEAK", "place": "Oak St"}) == ()


def test_a_type_without_a_template_is_left_for_a_person() -> None:
    said = words(an_incident(type="NOSUCHTYPE"), department="DHSPD", zone=ZONE, now=NOW)
    assert said.hazard.text == said.guidance.text == "" and said.hazard.origin is Origin.TYPED
    assert said.place.text == "1200 block of Oak St"


# --- Times ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "zone", "said"),
    [
        (NOW, "America/Los_Angeles", "As of 14:00 PST; next update by 14:15."),
        (datetime(2026, 7, 1, 6, 50, tzinfo=UTC), "America/Los_Angeles",
         "As of 23:50 PDT; next update by 00:05."),
        (NOW, "Europe/Berlin", "As of 23:00 CET; next update by 23:15."),
        # The clocks go back at 2: what follows 1:50 summer time is 1:05 winter time.
        (datetime(2026, 11, 1, 8, 50, tzinfo=UTC), "America/Los_Angeles",
         "As of 01:50 PDT; next update by 01:05 PST."),
    ],
)  # fmt: skip
def test_times_are_told_with_their_zone(now: datetime, zone: str, said: str) -> None:
    assert times(now, ZoneInfo(zone)) == said


@pytest.mark.parametrize("hour", range(24))
def test_what_was_promised_can_be_read_back(hour: int) -> None:
    now = NOW + timedelta(hours=hour)
    assert promised(times(now, ZONE), now, ZONE) == now + NEXT_UPDATE_AFTER


@pytest.mark.parametrize(
    "said", ["", "As of 14:00 PST.", "Next update by noon.", "next update by 25:00.",
             "next update by 14:75."]
)  # fmt: skip
def test_what_promises_nothing(said: str) -> None:
    assert promised(said, NOW, ZONE) is None


# --- What brings a new one about --------------------------------------------------------------


def test_what_moved_is_said() -> None:
    before = an_incident()
    later = NOW + timedelta(minutes=5)

    def moved(**fields: Any) -> str | None:
        return why_suggest(before, an_incident(before, reported_at=later, **fields))

    assert why_suggest(None, before) == "new incident"
    assert moved() is None
    assert moved(priority=1) is None
    assert moved(place="Elm St") == "place changed"
    assert moved(type="EXPLOS", status=Status.RESOURCES_ONSCENE) == "type changed, status changed"
    unplaced = an_incident(place=None)
    assert why_suggest(unplaced, before) == "place changed"


@pytest.mark.parametrize(
    ("said", "at", "by"),
    [
        ("As of 14:02 PST; next update by 14:17.", "14:02", "14:17"),
        ("As of 23:55 PST; next update by 00:10.", "23:55", "00:10+1"),
        ("Next update by 14:00.", "14:05", "14:00"),  # broken already when it was said
        ("As of 14:02 PST.", "14:02", None),
        ("next update by 25:10", "14:02", None),
    ],
)
def test_a_promise_is_read_from_the_words(said: str, at: str, by: str | None) -> None:
    zone = ZoneInfo("America/Los_Angeles")

    def on_the_day(clock: str) -> datetime:
        time, _, days = clock.partition("+")
        day = datetime(2026, 11, 22, *map(int, time.split(":")), tzinfo=zone)
        return day + timedelta(days=int(days or 0))

    assert promised(said, on_the_day(at), zone) == (by and on_the_day(by))
