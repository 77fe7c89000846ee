"""How long each platform takes a text to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from broadcaster.counting import CountRule, count

LINK = "https://www.police.gov/alerts/2026/gas-leak-oak-street?lang=en#map"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("cañon", 5),
        ("can\u0303on", 5),
        ("👩‍🚒🏽 🇺🇸 नमस्ते", 6 + 1),
        (LINK, 23),
        (f"See {LINK}.", 28),
        (f"({LINK})", 25),
        ("http://a.us", 23),
        ("police.gov/a-long-way-to-go", 27),  # no link without its https
        ("https://localhost/a-long-way-to-go", 34),
        ("https://a.nosuchname/a-long-way-to-go", 37),  # perhaps no link: too many rather
        (f"@{LINK}", 1 + len(LINK)),
        ("https://police.gov火事", 25),
        ("@oak", 4),
        ("@oak@mastodon.example", 4),
        ("mail pio@police.gov", 19),
        (f"{LINK}\u0301", 23),
    ],
)
def test_as_mastodon_counts(text: str, length: int) -> None:
    assert count(CountRule.MASTODON, text) == length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("cañon", 5),
        ("can\u0303on", 5),
        ("火事", 4),
        ("naïve – “quotes” … ½", 19 + 2),  # … weighs 2
        ("👩‍🚒", 2),
        ("👩🏽‍🚒👨‍👩‍👧‍👦", 4),
        ("🇺🇸1️⃣❤️☺", 8),
        ("🚒🏽", 4),  # nobody's skin
        ("नमस्ते", 6),
        (LINK, 23),
        (f"See {LINK}.", 28),
        ("police.gov", 23),
        ("police.nosuchname/a-long-way-to-go", 34),
        ("https://police.gov火事", 27),
        ("5.30pm, 1.5 mi, U.S.A.", 22),
        ("pio@police.gov", 14),
    ],
)
def test_as_x_weighs(text: str, length: int) -> None:
    assert count(CountRule.WEIGHTED, text) == length


def test_x_s_own_vectors(corpus: Path) -> None:
    """twitter-text's conformance suite, for version 3 of its rules."""
    vectors = yaml.safe_load((corpus / "specs/twitter-text/validate.yml").read_text())["tests"]
    group: list[dict[str, Any]] = vectors["WeightedTweetsWithDiscountedEmojiCounterTest"]
    assert len(group) > 20
    wrong = {
        each["description"]: ours - theirs
        for each in group
        if (ours := count(CountRule.WEIGHTED, each["text"]))
        != (theirs := each["expected"]["weightedLength"])
    }
    # A host in another script, and so perhaps no link to X: counted as text, which is more.
    [(told, more)] = wrong.items()
    assert "CJK chars less than 63 punycode encoded chars in the host" in told and more > 0


@pytest.mark.parametrize(
    ("text", "graphemes"),
    [
        ("", 0),
        ("Stay inside.", 12),
        ("a\r\nb\nc", 5),
        ("e\u0301\u0323", 1),
        ("\u0301", 1),
        ("👩🏽‍🚒", 1),
        ("👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 2),
        ("❤️‍🔥", 1),
        ("🇺🇸🇲🇽", 2),
        ("🇺🇸🇲", 2),
        ("🏴󠁧󠁢󠁷󠁬󠁳󠁿", 1),
        ("مُحَمَّد", 4),
        ("क्षत्रिय", 3),  # joined by a virama (GB9c)
        ("a\u094dक", 2),  # no consonant stands before this one
        ("ൟ്യ", 2),
        ("각\u1112\u1161\u11ab", 2),
        ("\u0600١", 1),  # a sign that stands before a number
        ("ไทย", 3),
        ("a\u200db", 2),
        ("\u200b", 1),
    ],
)
def test_graphemes(text: str, graphemes: int) -> None:
    """As the reference server counts (Intl.Segmenter): compared there, text by text."""
    assert count(CountRule.GRAPHEMES, text) == graphemes


@pytest.mark.parametrize(
    ("rule", "one", "many", "holds"),
    [
        (CountRule.CHARACTERS, "1 character", "1 of 500 characters", "500 characters"),
        (CountRule.BYTES, "1 byte", "1 of 500 bytes", "500 bytes"),
        (CountRule.GRAPHEMES, "1 character (as readers see them)",
         "1 of 500 characters (as readers see them)", "500 characters (as readers see them)"),
        (CountRule.MASTODON, "1 character (a link counts 23)",
         "1 of 500 characters (a link counts 23)", "500 characters (a link counts 23)"),
        (CountRule.WEIGHTED, "1 character (as X weighs them)",
         "1 of 500 characters (as X weighs them)", "500 characters (as X weighs them)"),
    ],
)  # fmt: skip
def test_a_length_in_words(rule: CountRule, one: str, many: str, holds: str) -> None:
    assert rule.of(1, None) == one
    assert rule.of(1, 500) == many
    assert rule.holds(500) == holds
    assert CountRule.BYTES.of(16_001, None) == "16,001 bytes"
    assert CountRule.BYTES.holds(1) == "1 byte"
