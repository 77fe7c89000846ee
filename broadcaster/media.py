"""A picture in an update: what is approved of it, and what a channel can show.

A picture is named by the SHA-256 of its bytes, as they are posted: `cleaning` makes them of what
was uploaded, before anybody approves. Together with its description it stands in a rendering, so
that the digest of a revision covers exactly what each channel shows.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from broadcaster.errors import Refusal
from broadcaster.world import Frozen

#: One says where to look; several push the words off a phone's screen.
MOST_PICTURES = 1

#: Of a description, in characters: no channel of ours takes fewer (Mastodon 1,500).
LONGEST_ALT = 1000

#: Of the bytes that are posted: the least that a channel of ours takes (Bluesky,
#: app.bsky.embed.images: maxSize 1,000,000).
MOST_BYTES = 1_000_000

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Type = Literal["image/jpeg", "image/png"]

#: What a picture's address ends with, for readers that go by that.
ENDINGS: dict[Type, str] = {"image/jpeg": "jpg", "image/png": "png"}


class Image(Frozen):
    """The bytes of a picture, described. Sizes are in bytes, width and height in pixels."""

    digest: Digest
    type: Type
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    size: Annotated[int, Field(gt=0, le=MOST_BYTES)]

    @property
    def file_name(self) -> str:
        """A name that says nothing but what it is: `0f3a….jpg`."""
        return f"{self.digest}.{ENDINGS[self.type]}"


class Picture(Image):
    """A picture as it is approved: the bytes, and what is said to who cannot see them."""

    alt: Annotated[str, Field(min_length=1, max_length=LONGEST_ALT)]


def digest_of(data: bytes) -> str:
    """What a picture is named by: SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def described(image: Image, alt: str) -> Picture:
    """The picture with its description. Raises Refusal where that is missing or too long.

    WCAG 2.2, 1.1.1: who cannot see a picture is told what it shows. `alt` is clean already.
    """
    if not alt:
        raise Refusal(
            "alt_missing", "The picture has no description, so who cannot see it learns nothing.",
            "Write what it shows, as you would tell it by telephone.", field="alt",
        )  # fmt: skip
    if len(alt) > LONGEST_ALT:
        raise Refusal(
            "alt_too_long",
            f"A description holds {LONGEST_ALT:,} characters; this has {len(alt):,}.",
            "Shorten it; what people must know belongs in the text.", field="alt",
        )  # fmt: skip
    return Picture(**image.model_dump(), alt=alt)
