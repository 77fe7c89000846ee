"""Makes a picture anew of an uploaded file, so that nothing else in the file goes out with it.

What it is, its bytes say, never its name or what the sender calls it. The pixels are decoded and
written into a new file: EXIF with its GPS position, thumbnails, XMP, comments, colour profiles and
whatever hung behind the picture stay behind. It takes up to a second of one core: never in the
event loop, and never in a ledger's step.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from broadcaster.errors import Kind, Refusal
from broadcaster.media import MOST_BYTES, Image, Type, digest_of

#: Of an uploaded file, in bytes. A phone's photograph has 3 to 8 MB.
MOST_SENT = 12 * 1024 * 1024

#: Of a picture, by its header, before anything is decoded. Phones make 12 to 24 million. Of memory
#: it takes up to 170 MB meanwhile, a progressive JPEG as well as a PNG (measured).
MOST_PIXELS, MOST_OF_A_PNG = 25_000_000, 12_500_000

#: The longer edge of what is posted, in pixels; a larger picture is scaled down to it.
LONGEST_EDGE = 2048

#: JPEG's qualities, tried in order until the bytes are few enough.
_QUALITIES = (85, 75, 60, 45)

# Pillow warns from here on, and refuses at twice as much: for us both are a refusal.
Pillow.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.filterwarnings("error", category=Pillow.DecompressionBombWarning)

#: What a JPEG and a PNG begin with.
_OURS = (b"\xff\xd8\xff", b"\x89PNG")

#: What files begin with that people send for pictures, each with what it is.
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
)


@dataclass(frozen=True)
class Cleaned:
    """A picture made anew, and its bytes."""

    image: Image
    data: bytes


def clean_picture(sent: bytes) -> Cleaned:
    """The picture in an uploaded file, without anything else that was in it. Blocks.

    Turned as its camera held it, laid on white where it is transparent (what lies under would
    go out with it), scaled down to `LONGEST_EDGE`; the same file gives the same bytes. Raises
    Refusal, and nothing else, whatever was sent.
    """
    if not sent:
        raise _refusal("picture_missing", "No picture was chosen.", "Choose a file, then add it.")
    if len(sent) > MOST_SENT:
        raise too_large()
    try:
        with Pillow.open(io.BytesIO(sent), formats=("JPEG", "PNG")) as opened:
            return _made_anew(opened)
    except Refusal:
        raise
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise _too_many_pixels(MOST_PIXELS) from None
    except UnidentifiedImageError:
        raise (_broken() if sent.startswith(_OURS) else _other_type(sent)) from None
    except Exception:  # a decoder stumbles in many ways, and each means the same
        raise _broken() from None


def _made_anew(opened: Pillow.Image) -> Cleaned:
    was_png = opened.format == "PNG"
    most = MOST_OF_A_PNG if was_png else MOST_PIXELS
    if opened.width * opened.height > most:
        raise _too_many_pixels(most)
    # A JPEG may hold more than one still (MPO: a phone's depth map): the first is the picture.
    if was_png and getattr(opened, "is_animated", False):
        raise _refusal(
            "picture_moves", "This picture moves, and channels show only a part of that, or none.",
            "Send one still of it: a screenshot will do.",
        )  # fmt: skip
    opened.draft("RGB", (LONGEST_EDGE, LONGEST_EDGE))  # JPEG alone: fewer pixels in memory
    whole = opened if opened.mode in ("L", "RGB", "RGBA") else opened.convert("RGBA")
    if max(whole.size) > LONGEST_EDGE:
        whole.thumbnail((LONGEST_EDGE, LONGEST_EDGE), Pillow.Resampling.LANCZOS)
    turned = ImageOps.exif_transpose(whole)
    clear = turned.convert("RGBA")
    pixels = Pillow.new("RGB", turned.size, "white")  # new: it knows nothing of the file
    pixels.paste(clear, mask=clear)
    if was_png and len(data := _written(pixels, "PNG", optimize=True)) <= MOST_BYTES:
        return _cleaned(pixels, "image/png", data)
    for quality in _QUALITIES:
        data = _written(pixels, "JPEG", quality=quality, progressive=True, optimize=True)
        if len(data) <= MOST_BYTES:
            return _cleaned(pixels, "image/jpeg", data)
    raise _refusal(
        "picture_too_detailed", "This picture has more detail than channels take (1 MB).",
        "Cut it to what people must see, and add that.",
    )  # fmt: skip


def _written(pixels: Pillow.Image, form: str, **how: object) -> bytes:
    into = io.BytesIO()
    pixels.save(into, form, **how)
    return into.getvalue()


def _cleaned(pixels: Pillow.Image, type_: Type, data: bytes) -> Cleaned:
    image = Image(digest=digest_of(data), type=type_, width=pixels.width, height=pixels.height,
                  size=len(data))  # fmt: skip
    return Cleaned(image, data)


def too_large() -> Refusal:
    """What is told of a file that is too large to look at."""
    return Refusal(
        "picture_too_large", f"This file has more than {MOST_SENT // 1024**2} MB.",
        "Send a smaller copy of it: a screenshot will do.", kind=Kind.TOO_LARGE, field="picture",
    )  # fmt: skip


def _too_many_pixels(most: int) -> Refusal:
    return _refusal(
        "picture_too_many_pixels",
        f"This picture has more than {most / 1_000_000:g} million pixels.",
        "Send a smaller copy of it: a screenshot will do.",
    )


def _broken() -> Refusal:
    return _refusal(
        "picture_broken", "This picture cannot be read to its end.",
        "Open it on your device, save it again as JPEG or PNG, and add that.",
    )  # fmt: skip


def _other_type(sent: bytes) -> Refusal:
    begins = sent[:512].lstrip().lower()
    what = next((name for start, name in _OTHERS if sent.startswith(start)), "something else")
    if sent[:4] == b"RIFF" and sent[8:12] == b"WEBP":
        what = "a WebP"
    elif sent[4:8] == b"ftyp":
        what = "a HEIC or AVIF picture, or a film"
    elif begins.startswith((b"<svg", b"<?xml", b"<!doctype", b"<html")):
        what = "an SVG or a web page"
    return _refusal(
        "picture_type", f"A picture is a JPEG or a PNG, whatever its name; this is {what}.",
        "Save it as JPEG or PNG, or send a screenshot of it.",
    )  # fmt: skip


def _refusal(code: str, why: str, do: str) -> Refusal:
    return Refusal(code, why, do, field="picture")
