"""Approval by voice, the pure part: words, codes, and what is signed."""

from __future__ import annotations

import pytest

from broadcaster.voice import CODES, DIGITS, WORDS, Code, matches, new_codes, spoken, words_of
from broadcaster.voice import hashed as slow


def test_three_words_stand_for_a_digest() -> None:
    assert len(WORDS) == len(set(WORDS)) == 256
    assert words_of("a" * 64) == words_of("a" * 64) != words_of("b" * 64)
    assert all(word in WORDS for word in words_of("c" * 64))


def test_codes_are_digits_and_differ() -> None:
    codes = new_codes()
    assert len(set(codes)) == CODES
    assert all(len(code) == DIGITS and code.isdigit() for code in codes)


@pytest.mark.parametrize(
    ("said", "code"), [("1234 5678", "12345678"), (" 1234-5678.", "12345678"), ("one", "")]
)
def test_pauses_in_a_code_are_not_heard(said: str, code: str) -> None:
    assert spoken(said) == code


@pytest.mark.parametrize(
    ("person", "said", "fits"), [("lee", "12345678", True), ("lee", "12345679", False),
                                 ("bell", "12345678", False)],
)  # fmt: skip
def test_a_code_is_one_persons(person: str, said: str, fits: bool) -> None:
    kept = Code(id="1", person_id="lee", salt=b"salt", hash=slow("12345678", b"salt"),
                used_by=None, void=False)  # fmt: skip
    assert "12345678" not in kept.hash
    assert matches(kept, person, said) is fits
