"""Pictures for tests, as a camera, a scanner or somebody of ill will would send them."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

from PIL import Image as Pillow

from broadcaster.cleaning import clean_picture
from broadcaster.ledger import Ledger, pictures
from broadcaster.media import Image
from broadcaster.roster import Person

#: What a camera wrote of where and with what it took the picture.
LATITUDE = (33.0, 57.0, 40.12)
CAMERA = "SecretCam 9000"


@cache
def photograph(width: int = 64, height: int = 48, *, turned: int = 1) -> bytes:
    """A JPEG with GPS, camera, thumbnail, XMP, a comment, a colour profile, and bytes behind it.

    Its upper left quarter is red. `turned`: EXIF's orientation.
    """
    picture = Pillow.new("RGB", (width, height), "navy")
    picture.paste((255, 0, 0), (0, 0, width // 2, height // 2))
    exif = Pillow.Exif()
    exif[0x0110] = CAMERA
    exif[0x0112] = turned
    exif.get_ifd(0x8825).update({1: "N", 2: LATITUDE, 3: "W", 4: LATITUDE, 29: "2026:11:22"})
    into = io.BytesIO()
    picture.save(
        into, "JPEG", quality=95, exif=exif, icc_profile=b"profile of Officer Lund" * 9,
        comment=b"taken by Officer Lund", xmp=b"<x:xmpmeta>Officer Lund</x:xmpmeta>",
    )  # fmt: skip
    return into.getvalue() + b"PK\x03\x04 Officer Lund's own archive"


@cache
def drawing(width: int = 64, height: int = 48, mode: str = "RGB") -> bytes:
    """A PNG with a text chunk."""
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    told.add_text("Author", "Officer Lund")
    into = io.BytesIO()
    Pillow.new(mode, (width, height), 1).save(into, "PNG", pnginfo=told)
    return into.getvalue()


def animation(form: str) -> bytes:
    """Two pictures after each other, as GIF or PNG."""
    first, second = (Pillow.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    into = io.BytesIO()
    first.save(into, form, save_all=True, append_images=[second], duration=100)
    return into.getvalue()


def bomb(edge: int = 30_000) -> bytes:
    """A small PNG whose header promises `edge` times `edge` pixels, all there."""

    def chunk(name: bytes, data: bytes) -> bytes:
        whole = name + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    line = b"\0" * (edge // 8 + 2)
    squeeze = zlib.compressobj(9)
    data = b"".join(squeeze.compress(line) for _ in range(edge)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


async def kept_picture(ledger: Ledger, incident_id: str, by: Person) -> Image:
    """A picture that somebody uploaded."""
    made = clean_picture(photograph())
    await ledger.write(
        lambda tx: pictures.add(tx, made.image, made.data, incident_id=incident_id, added_by=by.id)
    )
    return made.image
