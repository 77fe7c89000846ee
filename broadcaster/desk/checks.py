"""What the screening found, as pages and programs show it: once a rule, with where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broadcaster.policy import RULES, Finding, Severity
from broadcaster.world import Frozen

#: The phrases in the order that works (facts/domain.md §3), each with what its field is called.
PHRASES = {
    "source": "Source",
    "hazard": "Hazard",
    "place": "Where",
    "guidance": "Do",
    "time": "When",
}

#: What else is screened beside what channels say.
OTHERS = PHRASES | {"alt": "the picture's description"}


class Place(Frozen):
    """Where some words stand, from `start` to `end`: in a phrase, in what is said of the picture
    (`alt`), or in a channel's headline or text."""

    field: str
    start: int
    end: int


class Quote(Frozen):
    """Words that a rule found, and everywhere that they stand. Empty: the place itself is."""

    quoted: str
    where: str
    places: tuple[Place, ...]


class Check(Frozen):
    """One rule's findings, and the reason to go on, where there is one."""

    rule: str
    title: str
    clause: str
    severity: Severity
    why: str
    do: str
    quotes: tuple[Quote, ...]
    reason: str | None = None

    @property
    def in_words(self) -> str:
        """What was found and where: “SWAT” in Do and every channel."""
        return "; ".join(
            f"“{each.quoted}” in {each.where}" if each.quoted else each.where
            for each in self.quotes
        )


def checks(
    findings: Iterable[Finding], titles: Mapping[str, str], reasons: Mapping[str, str] | None = None
) -> tuple[Check, ...]:
    """The findings by rule, those that block first. `titles`: of the channels that say them."""
    by_rule: dict[str, dict[str, list[Finding]]] = {}
    for each in findings:
        by_rule.setdefault(each.rule, {}).setdefault(each.quoted, []).append(each)
    found = [
        Check(
            rule=rule.id, title=rule.title, clause=rule.clause, severity=rule.severity,
            why=_why(by_rule[rule.id]), do=rule.do, reason=(reasons or {}).get(rule.id),
            quotes=tuple(_quotes(by_rule[rule.id], titles)),
        )
        for rule in RULES
        if rule.id in by_rule
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda check: check.severity is not Severity.HARD))


def _why(by_words: Mapping[str, list[Finding]]) -> str:
    """Why they were found: of an address, which character of it."""
    return " ".join(dict.fromkeys(each.why for several in by_words.values() for each in several))


def _quotes(by_words: Mapping[str, list[Finding]], titles: Mapping[str, str]) -> Iterable[Quote]:
    for quoted, several in by_words.items():
        places = [Place(field=each.field, start=each.start, end=each.end) for each in several]
        if quoted:
            yield Quote(quoted=quoted, where=_where(places, titles), places=tuple(places))
        else:  # every missing part is one of its own
            for place in places:
                yield Quote(quoted="", where=_where([place], titles), places=(place,))


def _where(places: Iterable[Place], titles: Mapping[str, str]) -> str:
    fields = dict.fromkeys(place.field for place in places)
    names = [OTHERS[field] for field in fields if field in OTHERS]
    saying = dict.fromkeys(field.partition("_")[2] for field in fields if field not in OTHERS)
    if len(titles) > 1 and set(titles) <= set(saying):
        names.append("every channel")
    else:
        names += [titles.get(name, name) for name in saying]
    return f"{', '.join(names[:-1])} and {names[-1]}" if names[1:] else names[0]
