"""Addresses that are not what an eye takes them for: look-alike letters, Punycode, a false login.

A warning with such a link sends people to a stranger. What can be mistaken is told by UTS 39
(Unicode security mechanisms), read strictly: a label is of one script, and Latin has the marks that
people see.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

import regex

from broadcaster.policy.rule import Span

#: Scripts in which addresses are written (UAX 31, table 5, "recommended").
_SCRIPTS = (
    "Latin Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati "
    "Gurmukhi Han Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Malayalam Myanmar Oriya "
    "Sinhala Tamil Telugu Thaana Thai Tibetan"
).split()
_SCRIPT = regex.compile(
    r"[\p{Common}\p{Inherited}]|" + "|".join(rf"(?P<{each}>\p{{{each}}})" for each in _SCRIPTS)
)

#: What may stand together in one label (UTS 39 §5.2, "single script").
_TOGETHER = ({"Han", "Hiragana", "Katakana"}, {"Han", "Bopomofo"}, {"Han", "Hangul"})

#: Letters that are taken for ASCII: of one character, in the scripts above (UTS 39,
#: confusables.txt), the palochka and the capital iotas as an eye reads them. A label of nothing
#: else, digits and hyphens is taken for another label.
_LOOKALIKES = dict(zip(
    "ЗбаАВсСԁеЕԌһНіӏјЈКІӀМоОрРԛгѕЅТѵѴѡԝԜхХуүУҮ"
    "αΑΒϲϹΕΗιΙϳͿΚΜϺΝοσΟρϱΡΤυνΧγΥΖ"
    "քցհոռօՕգզՏսՍա" "ჿყ" "ഠଠဝዐሀ〇",
    "36aABcCdeEGhHiljJKIlMoOpPqrsSTvVwwWxXyyYY"
    "aABcCEHiIjJKMMNooOppPTuvXyYZ"
    "fghnnoOqqSuUw" "oy" "oOoOUO",
    strict=True,
))  # fmt: skip

#: Marks that a reader of Spanish, French or German sees; others are overlooked, as a dot below.
_SEEN_MARKS = frozenset("\u0300\u0301\u0302\u0303\u0308\u030a\u0327")
_LATIN = frozenset("ßæœøþð")

#: What an address begins with, up to its path: what a browser reads as host (RFC 3986 §3.2).
_LINKED = regex.compile(
    r"https?:/{0,2}(?P<found>[^\s/?#\\<>\"“”‘’«»–—…،؛؟]+)", regex.IGNORECASE
)  # fmt: skip
_AFTER = ".,;:!?)]'"

#: A host without https://. Of these only what has a last label of Latin letters: else two words of
#: another script, of which somebody forgot the space, would be one.
_BARE = regex.compile(r"(?<![\w@./-])(?:[\w-]+\.)+(?:[a-z]{2,24}|xn--[a-z0-9-]+)(?![\w-])",
                      regex.IGNORECASE)  # fmt: skip


def lookalikes(text: str) -> Iterator[Span]:
    """Where addresses stand that are not what they look like."""
    for match in _LINKED.finditer(text):
        host = match["found"].rstrip(_AFTER)
        if _wrong(host):
            yield match.start("found"), match.start("found") + len(host)
    for match in _BARE.finditer(text):
        if _wrong(match[0]):
            yield match.span()


def named(host: str) -> str:
    """What is wrong with an address, naming the character: a whole sentence."""
    return _wrong(host) or "It is not what it looks like."


def _wrong(host: str) -> str | None:
    """What is wrong with a host, where something is."""
    login, at, rest = host.rpartition("@")
    if at:
        return f"It leads to {rest}: what stands before the @ ({login}) is a login, and no address."
    if "%" in host:
        return "What stands after % in it is code, which nobody can read."
    for label in host.partition(":")[0].split("."):
        if label.lower().startswith("xn--"):
            return f"{label} is written in Punycode{_decoded(label)}: nobody can read it."
        if not label.isascii() and (why := _wrong_label(label, host)):
            return why
    return None


def _wrong_label(label: str, host: str) -> str | None:
    scripts = [_script_of(each) for each in label]
    several = Counter(each for each in scripts if each)
    foreign = several.keys() - {"Latin"}
    for character, script in zip(label, scripts, strict=True):
        # What goes with any script is a digit or a mark of another one, where there is none.
        stray = not character.isascii() and not script and not foreign
        if script is None or stray or not _is_written(character):
            return f"{_called(character)} is no letter that addresses are written in."
    if len(several) > 1 and not any(several.keys() <= together for together in _TOGETHER):
        odd = label[scripts.index(min(foreign, key=lambda each: (several[each], each)))]
        looks = _LOOKALIKES.get(odd)
        among = f"and looks like {looks}" if looks else "and stands among letters of another script"
        return f"{_called(odd)} is {_script_of(odd)}, {among}."
    letters = [each for each in label if not (each.isascii() and (each.isdigit() or each in "-_"))]
    if all(each in _LOOKALIKES for each in letters):
        seen = "".join(_LOOKALIKES.get(each, each) for each in label)
        looks = _LOOKALIKES[letters[0]]
        return f"{_called(letters[0])} looks like {looks}: in {host} a reader sees “{seen}”."
    for character, script in zip(label, scripts, strict=True):
        if script == "Latin" and not character.isascii() and not _is_seen(character):
            return f"{_called(character)} is easily taken for another letter."
    return None


def _script_of(character: str) -> str | None:
    """A character's script; empty: it goes with any; None: addresses are not written in it."""
    found = _SCRIPT.fullmatch(character)
    return (found.lastgroup or "") if found else None


def _is_written(character: str) -> bool:
    """Whether a character stands in hosts as it is: no sign, no space, no form of another one."""
    if character.isascii():
        return character.isalnum() or character in "-_"
    return unicodedata.category(character)[0] in "LM" or unicodedata.category(character) == "Nd"


def _is_seen(character: str) -> bool:
    decomposed = unicodedata.normalize("NFD", character.lower())
    base, marks = decomposed[0], decomposed[1:]
    if base in _LATIN:
        return not marks
    return base.isascii() and bool(marks) and set(marks) <= _SEEN_MARKS


def _called(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"“{character}” (U+{ord(character):04X}{f' {name}' if name else ''})"


def _decoded(label: str) -> str:
    try:
        said = label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):
        return ""
    return f" for {said}" if said.isprintable() else ""
