"""What platforms make of a text: what of it can be tapped, and where it is folded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.channel import kinds
from broadcaster.parts import Mark, Marks, Part, parts

LINK, TAG, MENTION = Mark.LINK, Mark.TAG, Mark.MENTION


def marked(text: str, marks: Marks) -> list[tuple[str, Mark]]:
    return [(part.text, part.mark) for part in parts(text, marks) if part.mark]


@pytest.mark.parametrize(
    ("marks", "text", "found"),
    [
        (Marks.NONE, "See https://police.gov #OakSt @oak", []),
        (Marks.LINKS, "See https://police.gov/a. Or (https://b.gov)", [
            ("https://police.gov/a", LINK), ("https://b.gov", LINK)]),
        (Marks.LINKS, "police.gov #OakSt @oak", []),
        (Marks.X, "Stay off #OakSt, #2026, #5th and a#b", [("#OakSt", TAG), ("#5th", TAG)]),
        (Marks.X, "#cañón #नमस्ते #مرحبا #火事", [
            ("#cañón", TAG), ("#नमस्ते", TAG), ("#مرحبا", TAG), ("#火事", TAG)]),
        (Marks.X, "#a://b &#x #️⃣", []),
        (Marks.X, "https://police.gov/#OakSt and police.gov", [
            ("https://police.gov/#OakSt", LINK), ("police.gov", LINK)]),
        (Marks.X, "Thanks, @oak", [("@oak", MENTION)]),
        (Marks.MASTODON, "#OakSt #2026 #5th /#no )#no a#no", [("#OakSt", TAG), ("#5th", TAG)]),
        (Marks.MASTODON, "#Oak·St #نار", [("#Oak·St", TAG), ("#نار", TAG)]),
        (Marks.MASTODON, "@oak, @oak@mastodon.example. Mail a@b.gov", [
            ("@oak", MENTION), ("@oak@mastodon.example", MENTION)]),
        (Marks.MASTODON, "https://police.gov/@oak#a police.gov", [
            ("https://police.gov/@oak#a", LINK)]),
    ],
)  # fmt: skip
def test_what_can_be_tapped(marks: Marks, text: str, found: list[tuple[str, Mark]]) -> None:
    assert marked(text, marks) == found


def test_what_is_folded_begins_after_the_last_line_that_is_shown() -> None:
    two = parts("One\nTwo\nThree", Marks.NONE, 2)
    assert two == (Part(text="One\nTwo\n"), Part(text="Three", folded=True))
    assert parts("One\nTwo", Marks.NONE, 2) == (Part(text="One\nTwo"),)
    within = parts("a\nhttps://b.gov", Marks.LINKS, 1)
    assert within[1] == Part(text="https://b.gov", mark=LINK, folded=True)
    assert parts("", Marks.X, 1) == ()


WORDS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(["https://police.gov/a", "#OakSt", "@oak@b.example", "\n", " ", "b.gov."]),
    ),
    max_size=12,
).map("".join)


@given(WORDS, st.sampled_from(Marks), st.one_of(st.none(), st.integers(1, 4)))
def test_joined_they_are_the_text(text: str, marks: Marks, lines: int | None) -> None:
    found = parts(text, marks, lines)
    assert "".join(part.text for part in found) == text
    assert all(part.text for part in found)
    folded = [part.folded for part in found]
    assert folded == sorted(folded), "what is folded stands at the end"
    shown = "".join(part.text for part in found if not part.folded)
    assert shown == text if lines is None else shown.count("\n") <= lines
    assert not any(folded) or shown.count("\n") == lines


def test_what_folds_says_with_what() -> None:
    for channel in kinds().values():
        assert bool(channel.shape.folds_after) == bool(channel.shape.folds_with)
