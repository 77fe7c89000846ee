"""What goes out of an uploaded file is its pixels, and nothing else that was in it."""

from __future__ import annotations

import contextlib
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from broadcaster import cleaning
from broadcaster.cleaning import LONGEST_EDGE, MOST_SENT, clean_picture
from broadcaster.errors import Refusal
from broadcaster.media import MOST_BYTES, digest_of
from tests import pictures


def opened(data: bytes) -> Pillow.Image:
    return Pillow.open(io.BytesIO(data), formats=("JPEG", "PNG"))


@pytest.mark.parametrize("sent", [pictures.photograph(), pictures.drawing()], ids=["JPEG", "PNG"])
def test_nothing_but_the_pixels_goes_out(sent: bytes) -> None:
    assert b"Lund" in sent
    made = clean_picture(sent)
    again = opened(made.data)
    assert made.image.digest == digest_of(made.data)
    assert (made.image.width, made.image.height) == again.size == (64, 48)
    assert made.image.size == len(made.data)
    assert dict(again.getexif()) == {} and again.info.keys() <= {
        "jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression"
    }  # fmt: skip
    for private in (b"Lund", pictures.CAMERA.encode(), b"Exif", b"GPS", b"ICC_PROFILE", b"PK\3\4"):
        assert private not in made.data


def test_the_camera_wrote_where_it_was() -> None:
    """Else the test above would prove nothing."""
    before = opened(pictures.photograph()).getexif()
    assert before.get_ifd(0x8825)[2][0] == 33 and before[0x0110] == pictures.CAMERA


@pytest.mark.parametrize(
    ("turned", "red"), [(1, (0, 0)), (3, (1, 1)), (6, (1, 0)), (8, (0, 1)), (2, (1, 0))]
)
def test_it_stands_as_the_camera_held_it(turned: int, red: tuple[int, int]) -> None:
    made = opened(clean_picture(pictures.photograph(turned=turned)).data).convert("RGB")
    assert made.size == ((48, 64) if turned in (6, 8) else (64, 48))
    corners = [(x, y) for x in (0, 1) for y in (0, 1)]
    seen = [
        corner for corner in corners
        if made.getpixel((corner[0] * (made.width - 1), corner[1] * (made.height - 1)))[0] > 200
    ]  # fmt: skip
    assert seen == [red]


def test_what_lies_under_what_is_transparent_does_not_go_out() -> None:
    hidden = Pillow.new("RGBA", (8, 8), (200, 10, 10, 0))  # painted over by rubbing out
    into = io.BytesIO()
    hidden.save(into, "PNG")
    assert set(opened(clean_picture(into.getvalue()).data).convert("RGB").get_flattened_data()) == {
        (255, 255, 255)
    }


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_each_sort_of_png_is_taken(mode: str) -> None:
    made = clean_picture(pictures.drawing(mode=mode))
    assert (made.image.type, opened(made.data).mode) == ("image/png", "RGB")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_each_sort_of_jpeg_is_taken(mode: str) -> None:
    into = io.BytesIO()
    Pillow.new(mode, (9, 9)).save(into, "JPEG")
    assert clean_picture(into.getvalue()).image.type == "image/jpeg"


def test_a_phones_second_still_stays_behind() -> None:
    """MPO: a JPEG that holds a depth map, or the other eye's picture."""
    into = io.BytesIO()
    first, second = Pillow.new("RGB", (16, 8), "red"), Pillow.new("RGB", (16, 8), "blue")
    first.save(into, "MPO", save_all=True, append_images=[second])
    made = opened(clean_picture(into.getvalue()).data)
    assert (made.format, made.size) == ("JPEG", (16, 8))
    assert made.convert("RGB").getpixel((3, 3))[0] > 200


def test_a_large_one_is_scaled_down_and_a_detailed_drawing_becomes_a_jpeg() -> None:
    made = clean_picture(pictures.photograph(4000, 1000))
    assert (made.image.width, made.image.height) == (LONGEST_EDGE, LONGEST_EDGE // 4)
    noise = io.BytesIO()
    Pillow.effect_noise((1600, 1200), 60).save(noise, "PNG")
    assert len(noise.getvalue()) > MOST_BYTES
    drawn = clean_picture(noise.getvalue()).image
    assert drawn.type == "image/jpeg" and drawn.size <= MOST_BYTES


def test_what_stays_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "MOST_BYTES", 100)
    with pytest.raises(Refusal) as refused:
        clean_picture(pictures.drawing())
    assert refused.value.code == "picture_too_detailed"


def _as_gif_by_name() -> bytes:
    """A page with a script that begins as a GIF does."""
    return b"GIF89a/*<script>alert(1)</script>*/=1;"


def _zip() -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("a.jpg", pictures.photograph())
    return into.getvalue()


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "picture_missing"),
    "too many bytes": (b"\xff\xd8\xff" + b"\0" * MOST_SENT, "picture_too_large"),
    "a bomb": (pictures.bomb(), "picture_too_many_pixels"),
    "one that Pillow only warns of": (pictures.bomb(6_000), "picture_too_many_pixels"),
    "a large PNG": (pictures.bomb(4_000), "picture_too_many_pixels"),
    "cut off": (pictures.photograph()[:900], "picture_broken"),
    "a cut drawing": (pictures.drawing()[:-30], "picture_broken"),
    "a header alone": (b"\x89PNG\r\n\x1a\n", "picture_broken"),
    "an SVG": (SVG, "picture_type"),
    "a page": (b"<!DOCTYPE html><script>alert(1)</script>", "picture_type"),
    "a GIF that moves": (pictures.animation("GIF"), "picture_type"),
    "a PNG that moves": (pictures.animation("PNG"), "picture_moves"),
    "a script that looks like a GIF": (_as_gif_by_name(), "picture_type"),
    "a PDF": (b"%PDF-1.7 ...", "picture_type"),
    "an archive": (_zip(), "picture_type"),
    "a HEIC": (b"\0\0\0\x18ftypheic", "picture_type"),
    "a WebP": (b"RIFF\0\0\0\0WEBPVP8 ", "picture_type"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_picture_of_ours_is_refused_with_what_to_do(what: str) -> None:
    sent, code = REFUSED[what]
    with pytest.raises(Refusal) as refused:
        clean_picture(sent)
    assert (refused.value.code, refused.value.field) == (code, "picture")
    assert refused.value.do.endswith(".")


def test_the_pixels_are_counted_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: object) -> None:
        raise AssertionError("a bomb was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(Refusal, match="million pixels"):
        clean_picture(pictures.bomb())


def test_the_same_file_gives_the_same_bytes() -> None:
    assert clean_picture(pictures.photograph()) == clean_picture(pictures.photograph())


@given(st.binary(max_size=300), st.integers(0, 800), st.sampled_from(["jpeg", "png", "none"]))
def test_whatever_is_sent_is_a_picture_or_a_refusal(mess: bytes, at: int, within: str) -> None:
    whole = {"jpeg": pictures.photograph(), "png": pictures.drawing(), "none": b""}[within]
    sent = whole[:at] + mess + whole[at + len(mess) :]
    with contextlib.suppress(Refusal):  # and nothing else
        made = clean_picture(sent)
        assert made.image.digest == digest_of(made.data) and b"Lund" not in made.data
