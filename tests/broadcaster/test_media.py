"""A picture's description is asked for, and what a channel cannot show it says before approval."""

from __future__ import annotations

import pytest

from broadcaster import channel
from broadcaster.errors import Refusal
from broadcaster.media import LONGEST_ALT, Image, Picture, described
from broadcaster.update import Rendering, render
from tests.broadcaster.values import a_revision, some_words
from tests.story import EXERCISE, PAGE

IMAGE = Image(digest="a" * 64, type="image/png", width=8, height=6, size=900)
PICTURE = described(IMAGE, "A map of Oak St.")
NTFY = channel.ntfy(EXERCISE, "ntfy", "ntfy")


def test_it_is_the_image_and_what_it_shows() -> None:
    assert PICTURE.file_name == f"{'a' * 64}.png"
    assert Picture(**IMAGE.model_dump(), alt="A map of Oak St.") == PICTURE


@pytest.mark.parametrize(
    ("alt", "code"), [("", "alt_missing"), ("x" * (LONGEST_ALT + 1), "alt_too_long")]
)
def test_it_is_not_shown_undescribed(alt: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        described(IMAGE, alt)
    assert (refused.value.code, refused.value.field) == (code, "alt")


def test_a_channel_without_pictures_says_the_words_alone() -> None:
    page, ntfy = render(EXERCISE, [PAGE, NTFY], some_words(), "Stay.", {}, [PICTURE])
    assert (page.pictures, ntfy.pictures) == ((PICTURE,), ())
    assert page.text == ntfy.text


def test_a_picture_that_nobody_would_see_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        render(EXERCISE, [NTFY], some_words(), "Stay.", {}, [PICTURE])
    assert refused.value.code == "picture_nowhere"


@pytest.mark.parametrize(
    ("limits", "says"),
    [({"picture_bytes": 899}, "899 bytes"), ({"longest_alt": 5}, "5 characters"),
     ({"pictures": 1}, "1 of these 2")],
)  # fmt: skip
def test_what_a_channel_cannot_show_whole_is_refused_by_name(
    limits: dict[str, int], says: str
) -> None:
    tight = PAGE.model_copy(update=limits)
    shown = [PICTURE, PICTURE.model_copy(update={"digest": "b" * 64})] if "pictures" in limits \
        else [PICTURE]  # fmt: skip
    with pytest.raises(Refusal, match=says) as refused:
        render(EXERCISE, [tight], some_words(), "Stay.", {}, shown)
    assert refused.value.code == "picture_unfit" and "Public page" in refused.value.why


def showing(**changed: object) -> str:
    """The digest of a revision whose picture is changed so."""
    picture = PICTURE.model_copy(update=changed)
    rendering = Rendering(channel="public_page", headline="Gas leak", text="Stay inside.",
                          pictures=(picture,))  # fmt: skip
    return a_revision(renderings=(rendering,), media=(picture.digest,)).digest


def test_the_digest_covers_the_bytes_and_the_description() -> None:
    digests = {
        a_revision().digest, showing(), showing(digest="b" * 64), showing(alt="Another."),
        showing(width=9), showing(type="image/jpeg"),
    }  # fmt: skip
    assert len(digests) == 6


def test_without_a_picture_a_rendering_is_written_as_before_there_were_any() -> None:
    [rendering] = a_revision().renderings
    assert rendering.model_dump(mode="json") == {
        "channel": "public_page", "language": "en", "headline": "Gas leak", "text": "Stay inside.",
    }  # fmt: skip
    assert "pictures" not in a_revision().model_dump_json()
