"""What each platform makes of a text: which of it a reader can tap, and where it is folded.

For the preview alone: nothing here changes what is sent, except that Bluesky's links are those
that are found here, since there whoever posts says what is a link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import pairwise

import regex

from broadcaster.counting import BARE_LINK, LINK
from broadcaster.verbatim import MENTION
from broadcaster.world import Frozen


class Marks(StrEnum):
    """By whose rules words become links."""

    NONE = "none"  #: none of them does
    LINKS = "links"  #: addresses, as most programs that show text find them
    MASTODON = "mastodon"
    X = "x"


class Mark(StrEnum):
    """What a passage is there."""

    LINK = "link"
    TAG = "hashtag"
    MENTION = "mention"


class Part(Frozen):
    """A passage, what the platform makes of it, and whether it is shown only when asked for."""

    text: str
    mark: Mark | None = None
    folded: bool = False


#: Up to what does not belong to it. (U+FEFF is a space to Bluesky's server, and none to Python.)
_ADDRESS = regex.compile(r"https?://\w[^\s\ufeff<>\"]*")


def addresses(text: str) -> list[tuple[int, int]]:
    """Where addresses stand in a text, without the punctuation that a sentence puts after them."""
    found = []
    for match in _ADDRESS.finditer(text):
        address = match[0].rstrip(".,;:!?" if "(" in match[0] else ".,;:!?)")
        found.append((match.start(), match.start() + len(address)))
    return found


#: twitter-text, validHashtag: letters, marks and digits with a letter among them. Pictures, which
#: X reads as hashtags, too, are left out.
_X_WORD = r"[\p{L}\p{M}\p{Nd}_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c\u309b\u309c\u30a0\u30fb\u3003\u0f0b\u0f0c\u00b7]"  # noqa: E501
_X_TAG = regex.compile(
    rf"(?<!{_X_WORD}|&)[#＃](?![\ufe0f\u20e3]){_X_WORD}*[\p{{L}}\p{{M}}]{_X_WORD}*(?!{_X_WORD}|[#＃]|://)"
)

#: Mastodon, Tag::HASHTAG_RE: with a letter among them; in the middle these may stand, too.
_MASTODON_TAG = regex.compile(
    r"(?<![=/)\w])[#＃](?:\w[\w·・\u200c]*[\p{L}\p{M}_·・\u200c][\w·・\u200c]*\w|\w*[\p{L}\p{M}]\w*)"
)

#: Mastodon, Account::MENTION_RE. It is one where there is such an account, which we do not know.
_MASTODON_MENTION = regex.compile(
    r"(?<![=/\w])@[a-z0-9_]+(?:[a-z0-9_.-]+[a-z0-9_]+)?(?:@\w+(?:[.:-]+\w+)*)?",
    regex.IGNORECASE | regex.ASCII,
)

_Find = Callable[[str], Iterator[tuple[int, int]]]


def _by(pattern: regex.Pattern[str]) -> _Find:
    return lambda text: (match.span() for match in pattern.finditer(text))


#: What is found first keeps others out.
_FINDS: Mapping[Marks, tuple[tuple[Mark, _Find], ...]] = {
    Marks.NONE: (),
    Marks.LINKS: ((Mark.LINK, lambda text: iter(addresses(text))),),
    Marks.MASTODON: (
        (Mark.LINK, _by(LINK)), (Mark.MENTION, _by(_MASTODON_MENTION)),
        (Mark.TAG, _by(_MASTODON_TAG)),
    ),
    Marks.X: (
        (Mark.LINK, _by(LINK)), (Mark.LINK, _by(BARE_LINK)), (Mark.MENTION, _by(MENTION)),
        (Mark.TAG, _by(_X_TAG)),
    ),
}  # fmt: skip


def parts(text: str, marks: Marks, folds_after: int | None = None) -> tuple[Part, ...]:
    """A text in its passages: joined, they are the text.

    `folds_after`: how many lines are shown before a reader asks for more. Where lines are broken
    by their length we do not know: those that are written are counted.
    """
    spans: list[tuple[int, int, Mark]] = []
    for mark, find in _FINDS[marks]:
        for start, end in find(text):
            if not any(start < taken_to and taken < end for taken, taken_to, _ in spans):
                spans.append((start, end, mark))
    fold = _fold(text, folds_after)
    cuts = sorted({0, fold, len(text), *(at for start, end, _ in spans for at in (start, end))})
    of = {at: mark for start, end, mark in spans for at in cuts if start <= at < end}
    return tuple(
        Part(text=text[start:end], mark=of.get(start), folded=start >= fold)
        for start, end in pairwise(cuts)
    )


def _fold(text: str, lines: int | None) -> int:
    breaks = [match.end() for match in regex.finditer("\n", text)]
    return breaks[lines - 1] if lines and len(breaks) >= lines else len(text)
