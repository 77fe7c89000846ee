"""How long a text is, by the rule of each platform.

Each counts in its own way, and a text that fits by one is cut or refused by another. The PIO sees
the platform's own count while typing, so each is quick.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from enum import StrEnum

import regex


class CountRule(StrEnum):
    """How a channel counts the length of a text."""

    CHARACTERS = "characters"  #: Unicode code points
    BYTES = "bytes"  #: bytes of UTF-8
    GRAPHEMES = "graphemes"  #: what a reader takes for one character (Unicode UAX #29)
    #: As Mastodon counts: a link is 23, and of an account elsewhere only its name.
    MASTODON = "characters, a link being 23"
    #: As X counts (twitter-text, configuration v3): most of Latin 1, else 2; a link is 23.
    WEIGHTED = "characters as X weighs them"

    def holds(self, limit: int) -> str:
        """How much there is room for: `500 characters (a link counts 23)`."""
        return self._said(f"{limit:,}", limit)

    def of(self, length: int, limit: int | None) -> str:
        """How long a text is: `1 byte`, `324 of 500 characters (a link counts 23)`."""
        if limit is None:
            return self._said(f"{length:,}", length)
        return self._said(f"{length:,} of {limit:,}", limit)

    def _said(self, number: str, of: int) -> str:
        one, aside = _IN_WORDS[self]
        return f"{number} {one}{'' if of == 1 else 's'}{f' ({aside})' if aside else ''}"


#: What one of them is called, and what else is to be known.
_IN_WORDS = {
    CountRule.CHARACTERS: ("character", ""),
    CountRule.BYTES: ("byte", ""),
    CountRule.GRAPHEMES: ("character", "as readers see them"),
    CountRule.MASTODON: ("character", "a link counts 23"),
    CountRule.WEIGHTED: ("character", "as X weighs them"),
}


def _bytes(text: str) -> int:
    return len(text.encode())


#: What a reader takes for one character (Unicode UAX #29, tables 1b and 1c, read as a pattern).
#: Written out, since `regex`'s own \\X joins a consonant to whatever stands before a virama, where
#: rule GB9c and the platforms want a consonant there: it would count too little.
_GRAPHEME = regex.compile(
    r"""
    \r\n | [\p{GCB=Control}\r\n]
    | \p{GCB=Prepend}*
      (?: \p{GCB=L}* (?: \p{GCB=V}+ | \p{GCB=LV} \p{GCB=V}* | \p{GCB=LVT} ) \p{GCB=T}*
        | \p{GCB=L}+ | \p{GCB=T}+
        | \p{GCB=Regional_Indicator}{2}
        | \p{ExtPict} (?: \p{GCB=Extend}* \u200d \p{ExtPict} )*
        | \p{InCB=Consonant} (?: [\p{InCB=Extend}\p{InCB=Linker}]* \p{InCB=Linker}
                                [\p{InCB=Extend}\p{InCB=Linker}]* \p{InCB=Consonant} )*
        | [^\p{GCB=Control}\r\n]
      ) [\p{GCB=Extend}\p{GCB=SpacingMark}\u200d]*
    """,
    regex.VERBOSE,
)


def _graphemes(text: str) -> int:
    return len(_GRAPHEME.findall(text))


#: How long a link is on Mastodon (characters_reserved_per_url) and X (transformedURLLength).
LINK_COUNTS = 23

#: Before what both take for a link, or X for a link without its https, stands none of these
#: (twitter-text, validUrlPrecedingChars).
_NOT_AFTER = r"(?<![A-Za-z0-9@＠$#＃])"

#: A host as twitter-text reads it (validDomain); whether its last label exists, we do not know.
_HOST = (
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+"
    r"(?P<last>[a-z]{2,63}(?![a-z0-9@+-])|[^\W\d_a-z]{2,63}|xn--[a-z0-9-]{2,59})"
)

#: Of the rest of a link, only what both are sure to read as its part; a second one is not.
_REST = (
    r"(?::[0-9]{1,5})?"
    r"(?:/(?:(?:(?!https?://)[a-z0-9!*';:=+,.$/%#\[\]_~@|&-])*[a-z0-9_#/+-])?)?"
    r"(?:\?(?:(?!https?://)[a-z0-9!?*'@();:&=+$/%#\[\]_.,~|-])*[a-z0-9_&=#/-])?"
)

LINK = regex.compile(_NOT_AFTER + "https?://" + _HOST + _REST, regex.IGNORECASE)

#: What X makes a link of though nobody wrote https:// before it; Mastodon leaves it alone.
BARE_LINK = regex.compile(_NOT_AFTER + r"(?<![-_./])" + _HOST + _REST, regex.IGNORECASE)

#: Last labels that are sure to exist; a link with another may be taken for mere text.
_SURE = frozenset("com org net gov edu mil us".split())


def _links(kind: regex.Pattern[str], text: str, weigh: Callable[[str], int]) -> str:
    """The text with as many spaces for each link as it counts; too many rather than too few."""

    def counted(found: regex.Match[str]) -> str:
        sure = found["last"].lower() in _SURE and found[0].isascii()
        return " " * (LINK_COUNTS if sure else max(LINK_COUNTS, weigh(found[0])))

    return str(kind.sub(counted, text))


#: An account elsewhere (Mastodon, Account::MENTION_RE): its server is not counted.
_ELSEWHERE = regex.compile(r"(?<![\w=/])(@[a-z0-9_]+)@[a-z0-9.-]*[a-z0-9]", regex.IGNORECASE)


def _mastodon(text: str) -> int:
    """As Mastodon's StatusLengthValidator: what a reader takes for one character is one."""
    return _graphemes(_ELSEWHERE.sub(r"\1", _links(LINK, text, _graphemes)))


#: What X draws as one picture (twitter-text, version 3, discounts them): a flag, a key cap, a
#: flag of a region by its tags, and pictures with their skin tones, joined or not.
_ONE_PICTURE = r"\p{Extended_Pictographic}(?:\uFE0F|(?<=\p{Emoji_Modifier_Base})\p{EMod})?"
_PICTURE = regex.compile(
    r"\p{RI}{2}|[0-9#*]\uFE0F?\u20E3|\U0001F3F4[\U000E0020-\U000E007E]+\U000E007F|"
    rf"{_ONE_PICTURE}(?:\u200D{_ONE_PICTURE})*"
)

#: Code points that weigh 1 on X; all others weigh 2 (twitter-text, config/v3.json).
_LIGHT = regex.compile(r"[\0-\u10FF\u2000-\u200D\u2010-\u201F\u2032-\u2037]")


def _weighed(text: str) -> int:
    pictures, rest = len(_PICTURE.findall(text)), _PICTURE.sub("", text)
    return 2 * (pictures + len(rest)) - len(_LIGHT.findall(rest))


def _weighted(text: str) -> int:
    """As twitter-text 3 weighs, after NFC; rather more where its table of names decides.

    Less only for what hardly anybody writes, as pictures joined that X does not know as one: it
    refuses those, then, and posts nothing.
    """
    text = unicodedata.normalize("NFC", text)
    return _weighed(_links(BARE_LINK, _links(LINK, text, _weighed), _weighed))


_COUNTS: dict[CountRule, Callable[[str], int]] = {
    CountRule.CHARACTERS: len,
    CountRule.BYTES: _bytes,
    CountRule.GRAPHEMES: _graphemes,
    CountRule.MASTODON: _mastodon,
    CountRule.WEIGHTED: _weighted,
}


def count(rule: CountRule, text: str) -> int:
    """The length of a text by a rule."""
    return _COUNTS[rule](text)
