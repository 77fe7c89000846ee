"""What platforms would change, and what they would not."""

from __future__ import annotations

import pytest

from broadcaster import channel
from broadcaster.channel import AnyChannel
from tests.story import EXERCISE, HOOK

MASTODON = channel.mastodon(EXERCISE, "mastodon", "Mastodon")
X = channel.x(EXERCISE, "x", "X")


@pytest.mark.parametrize(
    ("on", "text", "named"),
    [
        (MASTODON, "One\n\n\ntwo", "Empty lines"),
        (MASTODON, "One\n \ntwo", "Empty lines"),
        (MASTODON, "One ", "Space"),
        (X, "One\n\n\ntwo", "Empty lines"),
        (X, "\u00a0One", "Space"),
        (X, "can\u0303on", "U+006E (LATIN SMALL LETTER N)"),
        (X, "\u212b", "U+212B (ANGSTROM SIGN)"),
        (X, "One\ufefftwo", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        (X, "\U0010ffff\ufffe", "U+FFFE"),
        (X, "Thanks, @oak", "@oak"),
        (X, "@oak", "@oak"),
        (X, "＠oak_1.", "＠oak_1"),
        (X, "RT@oak", "RT@oak"),
        (X, "rt: @oak", "@oak"),
        (X, "!@oak", "@oak"),
        (X, "火事@oak", "@oak"),
        (X, "https://police.gov/@oak", "@oak"),  # it is none, where X takes all of it for a link
        (X, "See police.gov/alerts.", "police.gov/alerts:"),
        (X, "Oak St.Stay inside.", "St.Stay:"),
    ],
)
def test_what_is_unfit(on: AnyChannel, text: str, named: str) -> None:
    why = on.unfit(text)
    assert why is not None and named in why and why.endswith(".")
    assert not on.fits(text)
    assert HOOK.unfit(text) is None and HOOK.fits(text)


@pytest.mark.parametrize(
    "text",
    [
        "Gas leak, 1200 block of Oak St. Stay inside.",
        "One\n\n  two\nthree",
        "Call 760-555-0100 or write to pio@police.gov, first.last@police.gov.",
        "5.30pm, 1.5 mi, U.S.A., e.g. #OakSt @ 1200 Oak St, @, $5",
        "https://police.gov/alerts?see=city.ca.us/alerts.",
        "cañon 👩‍🚒 नमस्ते مرحبا \u200d",
    ],
)
def test_what_is_fit_for_all(text: str) -> None:
    assert MASTODON.unfit(text) is None and X.unfit(text) is None
