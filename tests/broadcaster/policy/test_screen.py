"""Screening: every text of an update, whatever it was dressed up as, and nothing that is safe."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.policy import RULES, Finding, Severity, blocking, screen, wanting
from broadcaster.suggestion import TEMPLATES
from broadcaster.update import Origin, Phrase, Words
from tests.broadcaster.values import some_words

CONTACT = "Emergencies: call 911. Tips: (760) 329-2904. Station: 65950 Pierson Blvd."
ELEMENTS = ("source", "hazard", "place", "guidance", "time")
CHANNELS = ("public_page", "county")
FIELDS = (*ELEMENTS, "area", *(f"{part}_{name}" for part in ("headline", "text")
                               for name in CHANNELS))  # fmt: skip

#: Sentences of which warnings are made, and which say nothing that policy 389.5 keeps back.
SAFE = (
    "Gas leak near Palm Dr.", "Stay inside and close windows.", "Take Highway 111, not I-10.",
    "Officers direct traffic at Pierson Blvd and Cactus.", "1200 block of Oak St",
    "Two people were taken to hospital.", "As of 14:02 PST; next update by 14:17.",
    "Call 911 if you smell gas.", "Nov 22, 2026", "A juvenile is in custody.",
    "Shelter at the high school.", "The missing child was found.", "Stay 35 feet away.",
    "Police activity", "DHSPD:", "Tips: (760) 329-2904.", "Victims were taken to safety.",
    "2 lanes of Palm Dr", "Exit 117", "Case 2026-004417.",
)  # fmt: skip
safe_texts = st.lists(st.sampled_from(SAFE), min_size=1, max_size=10).map(" ".join)


@dataclass(frozen=True)
class Line:
    """What a channel says, as long as it likes."""

    channel: str
    headline: str
    text: str


def said(**texts: str) -> tuple[Finding, ...]:
    """What is found where these fields say this, and all others what is safe."""
    words = some_words(**{
        name: Phrase(text=texts[name], origin=Origin.TYPED) for name in ELEMENTS if name in texts
    })  # fmt: skip
    renderings = [
        Line(
            channel=name,
            headline=texts.get(f"headline_{name}", "Gas leak"),
            text=texts.get(f"text_{name}", "Stay inside."),
        )
        for name in CHANNELS
    ]
    return screen(words, renderings, contact=CONTACT, area=texts.get("area", "Oak St"))


def test_the_ids_are_stable_and_every_rule_says_all() -> None:
    assert [rule.id for rule in RULES] == list(dict.fromkeys(rule.id for rule in RULES))
    for rule in RULES:
        assert rule.finds and rule.passes, rule.id
        assert rule.why.endswith((".", ")")) and rule.do.endswith("."), rule.id
        assert rule.clause.startswith("389.5(") or rule.fields or rule.named, rule.id


@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, safe_texts)))
def test_safe_words_never_block(texts: dict[str, str]) -> None:
    assert blocking(said(**texts)) == []


ssns = st.from_regex(r"[1-8][0-9]{2}-[0-9]{2}-[0-9]{4}", fullmatch=True)
phones = st.tuples(
    st.sampled_from(["760", "951", "213", "442"]),
    st.from_regex(r"[2-9][0-9]{2}", fullmatch=True).filter(lambda it: it[1:] != "11"),
    st.from_regex(r"[0-9]{4}", fullmatch=True),
    st.sampled_from(["{}-{}-{}", "({}) {}-{}", "{}.{}.{}", "{} {} {}", "+1 {} {} {}"]),
).map(lambda it: it[3].format(*it[:3]))
plates = st.from_regex(r"[1-9][A-Z]{3}[0-9]{3}", fullmatch=True)
private = st.one_of(
    ssns.map(lambda it: ("social-security-number", it)),
    phones.map(lambda it: ("phone-number", it)),
    plates.map(lambda it: ("licence-plate", it)),
)
#: The same to an eye, or nearly, and not to a computer.
DRESSES = {
    "as it is": lambda text: text,
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in text),
    "bold": lambda text: "".join(chr(0x1D7CE + int(c)) if c.isdigit() else c for c in text),
    "en dashes": lambda text: text.replace("-", "–"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "zero width": lambda text: "\u200b".join(text),
    "key caps": lambda text: "".join(f"{c}\ufe0f\u20e3" if c.isdigit() else c for c in text),
}


@given(
    private, st.sampled_from(FIELDS), st.lists(st.sampled_from(SAFE), max_size=4),
    st.lists(st.sampled_from(SAFE), max_size=4), st.sampled_from(sorted(DRESSES)),
)  # fmt: skip
def test_what_is_private_is_found_wherever_it_stands(
    slipped: tuple[str, str], field: str, before: list[str], after: list[str], dress: str
) -> None:
    rule, plain = slipped
    dressed = DRESSES[dress](plain)
    text = " ".join([*before, dressed, *after])
    start = len(" ".join(before)) + bool(before)
    found = [each for each in said(**{field: text}) if each.field == field and each.rule == rule]
    assert [(each.start, each.end, each.quoted) for each in found] == [
        (start, start + len(dressed), dressed)
    ]


@given(st.text(max_size=200))
def test_any_text_is_screened_and_what_is_quoted_stands_there(text: str) -> None:
    for each in said(text_county=text or "."):
        if each.field == "text_county":
            assert each.quoted == text[each.start : each.end]


@pytest.mark.parametrize(
    "number", ["760-329-2904", "+1 760 329 2904", "329-2904", "７６０.329.2904"]
)
def test_the_departments_own_number_may_be_said(number: str) -> None:
    assert said(guidance=f"Call {number} if you saw it.") == ()


def test_nobody_elses_number_may_and_without_a_contact_none_may() -> None:
    (found,) = said(guidance="Call 760-329-2905.")
    assert (found.rule, found.field, found.quoted) == ("phone-number", "guidance", "760-329-2905")
    words = some_words(guidance=Phrase(text="Call 760-329-2904.", origin=Origin.TYPED))
    assert [each.rule for each in screen(words, (), contact="")] == ["phone-number"]


def test_the_station_may_be_named_and_another_house_wants_a_reason() -> None:
    assert said(guidance="Come to 65950 Pierson Blvd.") == ()
    (found,) = said(guidance="Come to 65850 Pierson Blvd.")
    assert found.severity is Severity.SOFT
    assert wanting([found], {}) == wanting([found], {"house-number": " "}) == [found]
    assert wanting([found], {"house-number": "The shelter."}) == []


def test_what_blocks_stands_first_and_hides_what_is_soft_within_it() -> None:
    found = said(guidance="SWAT is here.", text_county="He lives at 1234 Oak St.")
    assert [each.rule for each in found] == ["home-address", "police-means"]


def test_a_missing_part_is_named_of_the_words_alone() -> None:
    assert [(each.field, each.severity) for each in said(guidance=" ", time="", place="")] == [
        ("place", Severity.HARD), ("guidance", Severity.SOFT), ("time", Severity.SOFT),
    ]  # fmt: skip


@pytest.mark.parametrize("code", TEMPLATES)
def test_our_own_templates_say_nothing_that_is_kept_back(code: str) -> None:
    template = TEMPLATES[code]
    assert said(hazard=template.hazard, guidance=template.guidance) == ()


@pytest.mark.parametrize(
    "part",
    ["A" * 50, "Ab ", "1 ", "12 Oak ", "a.", "760-", "officers are ", "16-year-old ", "x" * 999,
     "Aa-", "victim is ", "O", "plate ", "home at "],
)  # fmt: skip
def test_a_long_text_of_any_kind_is_screened_in_a_second(part: str) -> None:
    text = (part * 20_000)[:20_000]
    began = time.process_time()
    screen(some_words(), [Line(channel="x", headline="Gas leak", text=text)], contact=CONTACT)
    assert time.process_time() - began < 1


def test_every_kind_of_words_is_screened() -> None:
    assert set(Words.model_fields) == set(ELEMENTS)
