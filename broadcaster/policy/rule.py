"""What a rule of the screening is, and the two ways in which it finds what it looks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from broadcaster.policy.fold import Folded

Span = tuple[int, int]
Find = Callable[[str], Iterable[Span]]

_MARKED = re.compile(r"\[(.*?)\]", re.S)


class Severity(StrEnum):
    """What a finding asks for."""

    HARD = "hard"  #: blocks: the words must change
    SOFT = "soft"  #: the PIO may go on with a written reason, which the Commander reads


@dataclass(frozen=True)
class Rule:
    """One thing that must not be said, or not without a reason."""

    id: str  #: stable: reasons are given by it
    title: str  #: what was found, in two or three words
    clause: str  #: of policy 389, or the other source that asks for it
    severity: Severity
    why: str  #: a whole sentence
    do: str  #: another, which says what can be said instead
    find: Find  #: spans in plain text (fold.py), or in the original where it is `named`
    #: Texts in which it finds what stands in brackets, and nothing else.
    finds: tuple[str, ...]
    #: Texts that could be taken for one, and are fine.
    passes: tuple[str, ...]
    #: The fields that it looks at; empty: all of them.
    fields: tuple[str, ...] = ()
    #: Says what is wrong with what was found, where `why` cannot: it then reads the text as it was
    #: written, and not made plain.
    named: Callable[[str], str] | None = None

    def places(self, text: Folded) -> list[Span]:
        """Where it finds something in a text as it was written."""
        if self.named:
            return self.spans(text.original)
        return [text.span(*span) for span in self.spans(text.text)]

    def spans(self, plain: str) -> list[Span]:
        """What it finds in plain text, in order; spans that overlap are one."""
        joined: list[Span] = []
        for start, end in sorted(self.find(plain)):
            if joined and start < joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined

    def found_examples(self) -> Iterator[tuple[str, list[Span]]]:
        """Each text that must be found, without its brackets, and where."""
        for marked in self.finds:
            text, spans, at = "", [], 0
            for match in _MARKED.finditer(marked):
                text += marked[at : match.start()]
                spans.append((len(text), len(text) + len(match[1])))
                text += match[1]
                at = match.end()
            yield text + marked[at:], spans


def pattern(*alternatives: str, flags: int = 0) -> Find:
    """Finds what an alternative matches: its group `found`, or the whole where it has none.

    What overlaps with an alternative made by `fine` is not found.
    """
    compiled = [re.compile(each, re.A | flags) for each in alternatives]
    allowed = [each for each in compiled if each.pattern.startswith(_FINE)]
    wanted = [each for each in compiled if not each.pattern.startswith(_FINE)]

    def find(text: str) -> Iterator[Span]:
        leave = [match.span() for each in allowed for match in each.finditer(text)]
        for each in wanted:
            for match in each.finditer(text):
                begin, end = match.span("found" if "found" in each.groupindex else 0)
                if not any(start < end and begin < stop for start, stop in leave):
                    yield begin, end

    return find


#: `76O-329-29l4`: an O or an l among digits is one.
_TYPED_AS_DIGIT = re.compile(r"(?<![A-Za-z0-9])(?=[OolI]*\d)[\dOolI]{2,}(?![A-Za-z0-9])", re.A)
_DIGITS = str.maketrans("OolI", "0011")


def in_digits(find: Find) -> Find:
    """Finds in a number what the typewriter's O and l stand for, too."""
    return lambda text: find(_TYPED_AS_DIGIT.sub(lambda m: m[0].translate(_DIGITS), text))


_FINE = "(?#fine)"


def fine(text: str) -> str:
    """An alternative for `pattern` of what is no finding, though another alternative matches it."""
    return _FINE + text
