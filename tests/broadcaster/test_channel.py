"""What a channel can do, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

import pytest
from pydantic import ValidationError

from adapters import http
from broadcaster import channel
from broadcaster.channel import Idempotency
from broadcaster.counting import CountRule
from tests.story import CHANNELS, EXERCISE, HOOK, PAGE


@pytest.mark.parametrize(
    ("rule", "text", "count"),
    [
        (CountRule.CHARACTERS, "cañon 👩‍🚒", 9),
        (CountRule.BYTES, "cañon 👩‍🚒", 18),
        (CountRule.CHARACTERS, "", 0),
        (CountRule.BYTES, "½\n", 3),
    ],
)
def test_each_rule_counts_in_its_own_way(rule: CountRule, text: str, count: int) -> None:
    assert PAGE.model_copy(update={"count_rule": rule}).count(text) == count


def test_a_text_fits_up_to_the_limit() -> None:
    short = HOOK.model_copy(update={"limit": 4})
    assert short.fits("éé") and not short.fits("ééx")
    assert PAGE.limit is None and PAGE.fits("x" * 10**6)


def test_of_two_limits_the_one_that_is_broken_is_told() -> None:
    family, two = "👨‍👩‍👧‍👦", channel.bluesky(EXERCISE, "bluesky", "Bluesky")
    assert two.measure(family * 120) == (120, 300, CountRule.GRAPHEMES) and two.fits(family * 120)
    assert two.measure(family * 121) == (3_025, 3_000, CountRule.BYTES)
    assert not two.fits(family * 121) and not two.fits("a" * 301)


def test_what_a_platform_would_change_does_not_fit() -> None:
    bluesky = channel.bluesky(EXERCISE, "bluesky", "Bluesky")
    assert "U+FEFF" in (bluesky.unfit("\ufeffStay.") or "") and not bluesky.fits("\ufeffStay.")
    assert bluesky.fits("Stay\ufeff.") and PAGE.fits("\ufeffStay.")


@pytest.mark.parametrize(
    ("idempotency", "may"), [("A", True), ("B", True), ("C", False), ("D", False)]
)
def test_which_classes_may_send_again(idempotency: str, may: bool) -> None:
    assert Idempotency(idempotency).may_send_again is may


def test_a_webhook_is_blind_unless_its_receiver_is_declared_to_dedupe() -> None:
    assert HOOK.idempotency is Idempotency.BLIND
    declared = channel.webhook(EXERCISE, "county", "County desk", dedupes=True)
    assert declared.idempotency is Idempotency.TAKES_OUR_KEY
    assert PAGE.idempotency is Idempotency.WE_CHOOSE_THE_ID


@pytest.mark.parametrize("each", CHANNELS, ids=lambda each: cast(str, each.name))
def test_a_send_may_take_as_long_as_it_needs(each: Any) -> None:
    assert each.deadline.total_seconds() >= http.CONNECT + http.READ
    assert each.frame.endswith(".")


@pytest.mark.parametrize("name", ["", "County", "a-b", "1st", "a.b", "a b", "é", "x" * 41])
def test_a_name_can_be_a_topic_and_an_address(name: str) -> None:
    with pytest.raises(ValidationError):
        channel.webhook(EXERCISE, name, "County desk", dedupes=False)


def test_the_readmes_table_is_made_from_what_they_can_do() -> None:
    """`scripts/channels-table` makes it anew."""
    assert channel.kinds().keys() == set(get_args(channel.Kind)) == channel.PROOFS.keys()
    assert channel.table() in (Path(__file__).parents[2] / "README.md").read_text()
