"""What platforms would change, and what they would not."""

from __future__ import annotations

import pytest

from broadcaster import channel
from broadcaster.channel import AnyChannel
from tests.story import EXERCISE, HOOK

MASTODON = channel.mastodon(EXERCISE, "mastodon", "Mastodon", "social.police.gov")
X = channel.x(EXERCISE, "x", "X")


@pytest.mark.parametrize(
    ("on", "text", "named"),
    [
        (MASTODON, "One\n\n\ntwo", "U+000A (LINE FEED) after “One”"),
        (MASTODON, "One\n \ntwo", "U+0020 (SPACE) after “One”"),
        (MASTODON, "The first line\n\u3000\t\ntwo", "U+3000 (IDEOGRAPHIC SPACE) after “irst line”"),
        (MASTODON, "One ", "ends with, U+0020 (SPACE)"),
        (MASTODON, "\u2003One", "begins with, U+2003 (EM SPACE)"),
        (MASTODON, "Ask @oak@social.police.gov.", "@oak@social.police.gov"),
        (MASTODON, "(@Oak@Social.Police.Gov)", "@Oak@Social.Police.Gov"),
        (MASTODON, "Ask @oak@police.gov.", "@police.gov"),  # whose server may stand at social
        (X, "One\n\n\ntwo", "U+000A (LINE FEED)"),
        (X, "\u00a0One", "U+00A0 (NO-BREAK SPACE)"),
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


@pytest.mark.parametrize(
    "text",
    [
        "Ask @oak or @oak@there.example, write to oak@social.police.gov or see "
        "https://social.police.gov/@oak@social.police.gov.",
        "Not @oak@police.gov.example, @oak@antisocial.police.gov or @oak@lice.gov.",
    ],
)
def test_who_may_be_named_on_mastodon(text: str) -> None:
    assert MASTODON.unfit(text) is None
    assert channel.mastodon(EXERCISE, "mastodon", "Mastodon").unfit("@oak@police.gov") is None
