"""The digest covers what approval covers, and a rendering is the whole text or none."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import timedelta
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from broadcaster import channel
from broadcaster.channel import WEBHOOK_LIMIT
from broadcaster.errors import Refusal
from broadcaster.update import (
    EXERCISE_MARK,
    LONGEST_HEADLINE,
    LONGEST_TEXT,
    Change,
    Origin,
    Phrase,
    Rendering,
    Revision,
    UpdateKind,
    changed_facts,
    clean,
    compose,
    facts_digest,
    headline,
    lapses_by,
    may_stand,
    render,
    retraction_of,
    retraction_text,
    short_code,
)
from tests.broadcaster.values import PLACE, a_revision, some_words
from tests.story import CHANNELS, EXERCISE, HOOK, NOW, PAGE

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


# --- The digest -------------------------------------------------------------------------------


def a_rendering(**fields: Any) -> tuple[Rendering, ...]:
    return (a_revision().renderings[0].model_copy(update=fields),)


COVERED: list[tuple[str, Any]] = [
    ("id", "revision-2"),
    ("update_id", "update-2"),
    ("incident_id", "incident-2"),
    ("world", "live"),
    ("kind", UpdateKind.CORRECTION),
    ("number", 2),
    ("area", "1300 block of Oak St"),
    ("languages", ()),
    ("channels", ("public_page", "county")),
    ("channels", ()),
    ("renderings", a_rendering(channel="county")),
    ("renderings", a_rendering(headline="Gas leak.")),
    ("renderings", a_rendering(text="Stay inside")),
    ("renderings", a_rendering(text="Stay inside. ")),
    ("renderings", a_rendering(language="es")),
    ("renderings", a_revision().renderings * 2),
    ("renderings", ()),
    ("media", ("0" * 64,)),
    ("replaces", ("release-1",)),
    ("corrects", "release-1"),
    ("expires_at", NOW + timedelta(hours=24, microseconds=1)),
    ("retraction", a_rendering(text="We take it back.")),
]
OUTSIDE: dict[str, Any] = {
    "words": some_words(guidance=Phrase(text="Other.", origin=Origin.TYPED)),
    "compiled_by": "somebody else",
    "compiled_at": NOW + timedelta(days=1),
    "edited_by": "the Commander",
    "attested_by": "the Commander",
    "attested": False,
    "policy_reasons": {"house-number": "The shelter."},
    "incident_open": False,
    "no_open_incident": True,
}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of a language not yet spoken
@pytest.mark.parametrize(("field", "value"), COVERED)
def test_the_digest_covers(field: str, value: Any) -> None:
    changed = a_revision().model_copy(update={field: value})
    assert changed != a_revision()
    assert changed.digest != a_revision().digest


@pytest.mark.parametrize("field", OUTSIDE)
def test_how_the_text_came_about_stands_outside(field: str) -> None:
    assert a_revision(**{field: OUTSIDE[field]}).digest == a_revision().digest


def test_every_field_is_covered_or_outside() -> None:
    assert {field for field, _ in COVERED} | OUTSIDE.keys() == Revision.model_fields.keys()


def test_the_digest_is_what_it_was() -> None:
    """What was approved before must still be found approved: a new scheme needs a new tag."""
    revision = a_revision()
    said = rfc8785.dumps({
        "area": PLACE, "channels": ["public_page"], "corrects": None,
        "expires_at": "2026-11-23T22:00:00Z", "id": "revision-1", "incident_id": "incident-1",
        "kind": "update", "languages": ["en"], "media": [], "number": 1,
        "renderings": [{"channel": "public_page", "headline": "Gas leak", "language": "en",
                        "text": "Stay inside."}],
        "replaces": [], "update_id": "update-1", "world": "exercise",
    })  # fmt: skip
    tagged = b"incident-alert-broadcaster/revision/1\0" + said
    assert revision.digest == hashlib.sha256(tagged).hexdigest()


def test_a_retraction_is_what_was_prepared_where_it_is_wanted() -> None:
    words, (ours,), (county,) = some_words(), a_rendering(text="No."), a_rendering(channel="county")
    assert retraction_text(words, 3) == (
        f"DHSPD: We take back our update #3 (Gas leak, {PLACE}). Do not act on it."
    )
    base = a_revision(channels=("public_page", "county"), retraction=(ours, county), number=3)
    said = retraction_of(base, "release-3", ["public_page"], id="revision-4", update_id="update-4",
                         number=4, compiled_at=NOW)  # fmt: skip
    assert (said.kind, said.corrects, said.replaces) == ("retraction", "release-3", ("release-3",))
    assert (said.renderings, said.channels, said.retraction) == ((ours,), ("public_page",), ())
    assert (said.number, said.expires_at) == (4, NOW + timedelta(hours=24))
    assert (said.area, said.world, said.compiled_by) == (base.area, base.world, base.compiled_by)


@given(TEXT, TEXT.filter(bool), st.timezones(), st.integers(0, 10**6))
def test_the_digest_survives_the_ledger(head: str, text: str, zone: Any, micro: int) -> None:
    revision = a_revision(
        renderings=(Rendering(channel="public_page", headline=head, text=text),),
        expires_at=(NOW + timedelta(microseconds=micro)).astimezone(zone),
    )
    assert Revision.model_validate_json(revision.model_dump_json()).digest == revision.digest


def test_two_people_can_compare_it_by_voice() -> None:
    assert short_code("a91c04ef" + "0" * 56) == "A91C-04EF"


def test_a_channel_without_a_rendering_has_none() -> None:
    assert a_revision().rendering("public_page").text == "Stay inside."
    with pytest.raises(KeyError):
        a_revision().rendering("county")


# --- The words --------------------------------------------------------------------------------


def phrase(text: str) -> Phrase:
    return Phrase(text=text, origin=Origin.TYPED)


def test_the_five_elements_stand_in_order() -> None:
    assert compose(some_words()) == (
        "DHSPD: Gas leak, 1200 block of Oak St. Stay inside. As of 14:00 PST."
    )
    assert headline(some_words()) == "Gas leak, 1200 block of Oak St"


def test_an_element_that_is_missing_leaves_no_gap() -> None:
    bare = some_words(place=phrase(""), guidance=phrase("  "), time=phrase("Until noon"))
    assert compose(bare) == "DHSPD: Gas leak. Until noon."
    assert headline(bare) == "Gas leak"


@pytest.mark.parametrize(
    ("facts", "changed"),
    [
        ({"type": "GASLEAK", "place": PLACE}, ()),
        ({"type": "EXPLOS", "place": PLACE}, ("hazard",)),
        ({"type": "GASLEAK", "place": "Elm St"}, ("place",)),
        ({"type": "GASLEAK", "place": None}, ("place",)),
        ({}, ("hazard", "place")),
    ],
)
def test_which_facts_no_longer_hold(facts: dict[str, str | None], changed: tuple[str]) -> None:
    assert tuple(each.name for each in changed_facts(some_words(), facts)) == changed


def test_typed_words_rest_on_no_fact() -> None:
    typed = some_words(hazard=phrase("Gas leak"), place=phrase(PLACE))
    assert changed_facts(typed, {}) == ()


MOVED: dict[str, str | None] = {"type": "GASLEAK", "place": "Elm St", "status": "open"}
OVER: dict[str, str | None] = {"type": "GASLEAK", "place": PLACE, "status": "closed"}


@pytest.mark.parametrize(
    ("kind", "about_open", "facts", "changed"),
    [
        (UpdateKind.UPDATE, True, MOVED, ["place"]),
        (UpdateKind.UPDATE, True, OVER, ["status"]),
        (UpdateKind.UPDATE, True, MOVED | {"status": "closed"}, ["place", "status"]),
        (UpdateKind.UPDATE, False, OVER, []),  # it never spoke of an incident that goes on
        (UpdateKind.ALL_CLEAR, True, MOVED, ["place"]),
        (UpdateKind.ALL_CLEAR, True, OVER, []),
        (UpdateKind.CORRECTION, True, MOVED | OVER | {"place": "Elm St"}, []),
        (UpdateKind.RETRACTION, True, MOVED | OVER | {"place": "Elm St"}, []),
    ],
)
def test_what_makes_a_wording_lapse(
    kind: UpdateKind, about_open: bool, facts: dict[str, str | None], changed: list[str]
) -> None:
    revision = a_revision(kind=kind, incident_open=about_open)
    assert [each.name for each in lapses_by(revision, facts)] == changed


def test_words_stand_in_spite_of_exactly_the_facts_that_were_signed() -> None:
    moved, again = (changed_facts(some_words(), MOVED | {"place": place}) for place in "AB")
    assert may_stand((), None) and may_stand((), facts_digest(moved))
    assert may_stand(moved, facts_digest(moved))
    assert not may_stand(moved, None) and not may_stand(moved, facts_digest(()))
    assert not may_stand(again, facts_digest(moved))
    over = lapses_by(a_revision(), OVER)
    assert not may_stand(over, facts_digest(over)), "an incident that is over is kept by nobody"


@pytest.mark.parametrize("differs", [{"name": "hazard"}, {"was": None}, {"now": "B"}])
def test_what_is_signed_of_the_facts_is_all_that_was_shown(differs: dict[str, Any]) -> None:
    change = Change(name="place", was=PLACE, now="A")
    other = change.model_copy(update=differs)
    assert facts_digest([change]) != facts_digest([other])
    assert facts_digest([change, other]) != facts_digest([other, change])


def test_a_change_in_words() -> None:
    assert Change(name="place", was=PLACE, now=None).in_words == f"place: {PLACE} is now not known"
    assert Change(name="hazard", was="GASLEAK", now="EXPLOS").in_words == (
        "hazard: Gas leak is now Explosion"
    )


# --- What a text may hold ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "character",
    ["\0", "\a", "\t", "\x1b", "\x7f", "\x85", "\u061c", "\u200e", "\u200f", "\u202a", "\u202b",
     "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\ud800",
     "\ufffe", "\uffff", "\ufdd0", "\U0010ffff"],
)  # fmt: skip
def test_hidden_characters_are_refused_by_name(character: str) -> None:
    with pytest.raises(Refusal) as refused:
        clean(f"Oak{character}St", "text")
    assert (refused.value.code, refused.value.field) == ("hidden_character", "text")
    assert f"U+{ord(character):04X}" in refused.value.why


@pytest.mark.parametrize(
    ("typed", "cleaned"),
    [
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree"),
        (" \n Oak St \t ", "Oak St"),
        ("can\u0303on", "cañon"),
        ("👩‍🚒 “quotes” – ½", "👩‍🚒 “quotes” – ½"),
        ("الطريق مغلق", "الطريق مغلق"),
    ],
)
def test_what_cleaning_does(typed: str, cleaned: str) -> None:
    assert clean(typed, "text") == cleaned


@given(st.text(st.characters(), max_size=40))
def test_cleaning_changes_no_word(typed: str) -> None:
    try:
        cleaned = clean(typed, "text")
    except Refusal:
        return
    assert clean(cleaned, "text") == cleaned
    wanted = unicodedata.normalize("NFC", typed.replace("\r\n", "\n").replace("\r", "\n"))
    assert cleaned in wanted and not wanted.replace(cleaned, "", 1).strip()


# --- Renderings -------------------------------------------------------------------------------


def rendered(text: str, own_texts: dict[str, str] | None = None, **phrases: str) -> Any:
    words = some_words(**{name: phrase(said) for name, said in phrases.items()})
    return render("exercise", CHANNELS, words, text, own_texts or {})


def refused(*args: Any, **phrases: Any) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as refusal:
        rendered(*args, **phrases)
    return refusal.value.code, refusal.value.field


def test_an_exercise_says_so_first_in_the_approved_words() -> None:
    page, hook = rendered("Stay inside.", {HOOK.name: "Keep away."})
    assert page.text == EXERCISE_MARK + "Stay inside."
    assert hook.text == EXERCISE_MARK + "Keep away."
    assert page.headline == hook.headline == f"{EXERCISE_MARK}Gas leak, {PLACE}"
    assert (page.channel, hook.channel) == (PAGE.name, HOOK.name)
    assert render("live", CHANNELS, some_words(), "Stay.", {})[0].text == "Stay."


def test_an_own_text_of_nothing_is_none() -> None:
    assert rendered("Stay inside.", {HOOK.name: " \n"})[1].text.endswith("Stay inside.")


@pytest.mark.parametrize(
    ("args", "phrases", "code", "field"),
    [
        ([""], {}, "text_empty", "text"),
        ([" \n "], {}, "text_empty", "text"),
        (["Stay."], {"hazard": " "}, "hazard_empty", "hazard"),
        (["Stay."], {"hazard": "x" * LONGEST_HEADLINE}, "headline_too_long", "hazard"),
        (["Stay."], {"hazard": "Gas\nleak"}, "headline_two_lines", "hazard"),
        (["Stay."], {"hazard": "a\u202eb"}, "hidden_character", "hazard"),
        (["St\u202eay."], {}, "hidden_character", "text"),
        (["Stay.", {"county": "St\u202eay."}], {}, "hidden_character", "text_county"),
        (["Stay.", {"county": "x" * WEBHOOK_LIMIT}], {}, "text_too_long", "text_county"),
        (["x" * LONGEST_TEXT], {}, "text_too_long", "text"),
    ],
)
def test_what_is_not_rendered(
    args: list[Any], phrases: dict[str, str], code: str, field: str
) -> None:
    assert refused(*args, **phrases) == (code, field)


def test_what_a_platform_would_change_is_not_rendered() -> None:
    x = channel.x(EXERCISE, "x", "X")
    with pytest.raises(Refusal) as refused:
        render(EXERCISE, [PAGE, x], some_words(), "Thanks to @oak.", {})
    assert (refused.value.code, refused.value.field) == ("text_unfit", "text")
    assert "@oak" in str(refused.value)


def test_a_text_fills_a_channel_to_the_last_byte_and_no_further() -> None:
    room = WEBHOOK_LIMIT - len(EXERCISE_MARK)
    assert len(rendered("é" * (room // 2))[1].text.encode()) == WEBHOOK_LIMIT
    assert refused("é" * (room // 2 + 1)) == ("text_too_long", "text")


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.integers(0, WEBHOOK_LIMIT))
def test_nothing_is_ever_cut(text: str, more: int) -> None:
    text += "x" * more
    try:
        renderings = rendered(text)
    except Refusal:
        return
    for each in renderings:
        assert each.text == EXERCISE_MARK + clean(text, "text")
