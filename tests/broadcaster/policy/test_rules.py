"""Each rule finds what its own examples mark, where they mark it, and lets the others pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from broadcaster.policy import RULES, Rule, table
from broadcaster.policy.fold import fold

FOUND = [(rule, *example) for rule in RULES for example in rule.found_examples()]
PASSED = [(rule, text) for rule in RULES for text in rule.passes]


def test_the_readmes_table_is_the_rules() -> None:
    """`scripts/policy-table` makes it anew."""
    readme = Path(__file__).resolve().parents[3] / "README.md"
    assert table() in readme.read_text()


@pytest.mark.parametrize(
    ("rule", "text", "spans"), FOUND, ids=[f"{rule.id}: {text}" for rule, text, _ in FOUND]
)
def test_what_must_be_found(rule: Rule, text: str, spans: list[tuple[int, int]]) -> None:
    found = rule.places(fold(text))
    assert [text[slice(*span)] for span in found] == [text[slice(*span)] for span in spans]
    assert found == spans


@pytest.mark.parametrize(
    ("rule", "text"), PASSED, ids=[f"{rule.id}: {text}" for rule, text in PASSED]
)
def test_what_must_pass(rule: Rule, text: str) -> None:
    assert [text[slice(*span)] for span in rule.places(fold(text))] == []
