"""A place made coarse enough to be said in public.

San Francisco and San Diego publish calls by hundred block or intersection (facts/domain.md §1);
so do we. An exact address stops here, at the door. What gets past is only what this grammar
knows whole: a place half understood could carry a flat, a name or a telephone number along.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: Longer than this is a story, not a place.
LONGEST = 160

_PART = re.compile(r"[,;\n]")
_UNIT = re.compile(
    r"(?:\b(?:apt|apartment|unit|suite|ste|room|rm|bldg|building|lot|space|spc|trlr|trailer|floor|"
    r"no)\b\.?\s*#?\s*(?:[a-z]?-?\d|[a-z]\b)|#).*$",
    re.I,
)
_HALF = re.compile(r"(?<=\d)[\s-]*(?:\s1/2|-1/2|[¼½¾])(?!\S)")
_NUMBER = re.compile(r"^(\d{1,6})(?:\s*-\s*\d{1,6}|-?[A-Za-z])?\s+(.+)$", re.A)
#: `73-510 Fred Waring Dr`: a house number in the Coachella Valley, a range of houses elsewhere.
_GRID = re.compile(r"^\d\d-\d{3}\s+(.+)$", re.A)
_BLOCK = re.compile(r"^(\d{1,6}|unit)\s+(?:block|blk)\s+(?:of\s+)?(.+)$", re.A | re.I)
_SLASH = re.compile(r"\s*/\s*")
_WORD = re.compile(r"\s+(?:and|at)\s+|\s*[&@]\s*", re.I)

_WAY = r"(?:[nsew]|[ns][ew]|[nsew]b|north|south|east|west)\.?"
_ACCESS = r"(?:access|frontage|service)\s(?:rd|road)"
#: A street known by its number: `US Hwy 281 N`, `I-10 WB`, `Avenue 52`, `FM 78`.
_ROUTE = re.compile(
    rf"(?:{_WAY}\s)?(?:(?:us|state|st|county|ranch|old|historic|farm\sto\smarket)\s){{0,3}}"
    r"(?:hwy|highway|hy|interstate|i|ih|us|sh|sr|cr|fm|loop|lp|route|rte|fwy|freeway|"
    rf"rd|road|ave|avenue)[\s-]?\d{{1,4}}(?:\s(?:{_WAY}|{_ACCESS}))*",
    re.A | re.I,
)
_ORDINAL = re.compile(r"\d{1,3}(?:st|nd|rd|th)", re.A | re.I)
#: The words that end a street's name.
SUFFIX = re.compile(
    r"(?:st|street|ave|avenue|av|blvd|boulevard|rd|road|dr|drive|ln|lane|way|ct|court|pl|place|"
    r"cir|circle|pkwy|parkway|hwy|highway|fwy|freeway|ter|terrace|trl|trail|loop|expy|expressway|"
    r"plaza|sq|square|run|pass|path|row|bend|cv|cove|ramp|aly|alley|xing|crossing)\.?",
    re.I,
)
_DIRECTION = re.compile(_WAY, re.I)
_MARKS = str.maketrans("", "", "'’.-")
_JOINS = frozenset("and at by from in near on to with".split())
_KEEP_UPPER = frozenset("N S E W NE NW SE SW NB SB EB WB IH US SH FM SR CR".split())


def generalise(place: str) -> str | None:
    """The hundred block, intersection or street that `place` names; None where it names none.

    A house number becomes its hundred block; a flat, unit, city or name beside it is dropped.
    What is not recognised whole (a business, somebody's home, a story) gives None, and a person
    types the place.
    """
    if len(place) > LONGEST:
        return None
    found = (_coarse(" ".join(part.split())) for part in _PART.split(place))
    return next((coarse for coarse in found if coarse), None)


def _coarse(part: str) -> str | None:
    text = _HALF.sub("", _UNIT.sub("", part)).strip(" .-")
    for joined, known in ((_SLASH, _street), (_WORD, _named)):
        parts = joined.split(text)
        if len(parts) == 2:
            return _crossing([_parted(each)[1] for each in parts], known)
    number, street = _parted(text)
    if number is None:
        return _tidy(street) if _named(street) else None
    hundred = 0 if number == "unit" else int(number) // 100 * 100
    return f"{hundred or 'unit'} block of {_tidy(street)}" if _street(street) else None


def _crossing(streets: list[str], known: Callable[[str], bool]) -> str | None:
    """Two streets that meet; a word between them might join anything, so both are `known`."""
    return " and ".join(map(_tidy, streets)) if all(map(known, streets)) else None


def _street(text: str) -> bool:
    return _named(text) or _bare(text)


def _parted(text: str) -> tuple[str | None, str]:
    """House or block number, lower-case, and the rest; no number where it could mean two."""
    if grid := _GRID.match(text):
        return None, grid[1]
    match = _BLOCK.match(text) or _NUMBER.match(text)
    return (match[1].lower(), match[2]) if match else (None, text)


def _named(street: str) -> bool:
    """Whether a route's number or a word like `St` says that this is a street, and it ends so."""
    if _ROUTE.fullmatch(street):
        return True
    words = re.sub(rf"\s{_ACCESS}$", "", street, flags=re.I).split()
    while len(words) > 1 and _DIRECTION.fullmatch(words[-1]):
        words.pop()
    return 2 <= len(words) <= 7 and bool(SUFFIX.fullmatch(words[-1])) and _is_name(words[:-1])


def _bare(street: str) -> bool:
    """Whether this could be a street called without `St`: `Broadway`, `N Santa Rosa`."""
    words = street.split()
    inner = words[1 + bool(_DIRECTION.fullmatch(words[0])) :] if words else []
    return (
        1 <= len(words) <= 4
        and any(len(word) > 1 for word in words)
        and _is_name(words)
        and not any(SUFFIX.fullmatch(word) for word in inner)
    )


def _is_name(words: list[str]) -> bool:
    return all(
        _ORDINAL.fullmatch(word)
        or (
            len(word) <= 24
            and word.lower() not in _JOINS
            and word[0].isalpha()
            and word.translate(_MARKS).isalpha()
            and (word.isascii() or not any(map(str.isnumeric, word)))  # such as the Chinese three
        )
        for word in words
    )


def _tidy(street: str) -> str:
    """`SAN FERNANDO ST` reads as a shout; `San Fernando St` does not."""
    return " ".join(_word(word) for word in street.split())


def _word(word: str) -> str:
    if word.upper() in _KEEP_UPPER:
        return word.upper()
    return word.capitalize() if word.isupper() or word.islower() else word
