"""Text as the rules read it: plain letters and digits, whatever they were dressed up as."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

#: Letters of other scripts that an eye takes for ours (Unicode TS 39, the commonest of its table).
_LOOKALIKES = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁһԛԝ" "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοιν",
    "ABESIJKMHOPCTYXaeijopcyxsdhqw" "ABEZHIKMNOPTYXoiv",
)  # fmt: skip


@dataclass(frozen=True)
class Folded:
    """A text made plain, and where in the original each of its characters is from."""

    original: str
    text: str
    origins: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a passage of the plain text stands in the original, its accents included."""
        if start == end:
            return (0, 0)
        last = self.origins[end - 1] + 1
        while last < len(self.original) and not _plain(self.original[last]):
            last += 1
        return self.origins[start], last


def fold(text: str) -> Folded:
    """NFKD without marks and invisible characters, with lookalikes, digits, dashes, spaces as ours.

    Nothing else is changed, so that a rule's capital letters still mean what they say.
    """
    if text.isascii():
        return Folded(text, text, range(len(text)))
    characters, origins = [], []
    for at, character in enumerate(text):
        for plain in _plain(character):
            characters.append(plain)
            origins.append(at)
    return Folded(text, "".join(characters).translate(_LOOKALIKES), origins)


def _plain(character: str) -> str:
    """What is left of one character: often itself, nothing of a mark or of a zero-width one."""
    return "".join(_ours(each) for each in unicodedata.normalize("NFKD", character))


def _ours(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf"):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Pd":
        return "-"
    if category == "Zs":
        return " "
    return "'" if character in "’‘" else character
