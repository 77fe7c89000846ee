"""First screening of words against policy 389.5: what must not go out, and what wants a reason.

Pure: the same words give the same findings. The desk shows them as one types, submission refuses
what they forbid, and the gate judges the ledger's own revision again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from broadcaster.policy.fold import fold
from broadcaster.policy.rule import Rule, Severity
from broadcaster.policy.rules import BY_ID, RULES
from broadcaster.update import Words
from broadcaster.world import Frozen

__all__ = ["BY_ID", "RULES", "Finding", "Rule", "Severity", "blocking", "screen", "wanting"]


class Finding(Frozen):
    """What a rule found in one text, and where: `start` and `end` count its own characters."""

    rule: str
    title: str
    clause: str
    severity: Severity
    field: str  #: an element's name, `area`, `alt`, or `headline_` or `text_` with the channel's
    start: int
    end: int
    quoted: str
    why: str
    do: str

    @property
    def where(self) -> str:
        """The field in words: `guidance`, `text of county`."""
        if self.field == "alt":
            return "picture's description"
        part, _, channel = self.field.partition("_")
        return f"{part} of {channel}" if channel else part

    @property
    def what(self) -> str:
        """What is wrong, where and why: `Phone number in the guidance, 389.5(b): “…”. …`"""
        words = f": “{self.quoted}”" if self.quoted else ""
        return f"{self.title} in the {self.where}, {self.clause}{words}. {self.why}"


class Said(Protocol):
    """What one channel says: a rendering, or its preview."""

    @property
    def channel(self) -> str: ...
    @property
    def headline(self) -> str: ...
    @property
    def text(self) -> str: ...


def screen(
    words: Words, said: Iterable[Said], *, contact: str, area: str | None = None,
    alts: Iterable[str] = (),
) -> tuple[Finding, ...]:  # fmt: skip
    """All findings, those that block first: in each element, then as each channel says it.

    `contact`: the department's own (its setting); what stands in it may be said. `alts`: what is
    said of the pictures.
    """
    elements = {name: phrase.text for name, phrase in words.phrases().items()}
    others = {} if area is None else {"area": area}
    for each in said:
        others[f"headline_{each.channel}"] = each.headline
        others[f"text_{each.channel}"] = each.text
    if described := "\n".join(alts):
        others["alt"] = described
    ours = {_key(quoted) for *_, quoted in _of_text(contact) if quoted}
    seen: dict[str, list[_Span]] = {}  # channels mostly say the same
    found = []
    for field, text in (elements | others).items():
        if text not in seen:
            seen[text] = [
                (rule, start, end, quoted)
                for rule, start, end, quoted in _of_text(text)
                if not _is_ours(quoted, ours)
            ]
        found += [_finding(field, *each) for each in _standing(seen[text], field)]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.HARD))


def blocking(findings: Iterable[Finding]) -> list[Finding]:
    """Those that no reason opens."""
    return [each for each in findings if each.severity is Severity.HARD]


def wanting(findings: Iterable[Finding], reasons: Mapping[str, str]) -> list[Finding]:
    """Those that want a reason and have none."""
    return [
        each
        for each in findings
        if each.severity is Severity.SOFT and not reasons.get(each.rule, "").strip()
    ]


_Span = tuple[Rule, int, int, str]


def _of_text(text: str) -> Iterator[_Span]:
    plain = fold(text)
    for rule in RULES:
        for start, end in rule.places(plain):
            yield rule, start, end, text[start:end]


def _is_ours(quoted: str, ours: Iterable[str]) -> bool:
    """Whether the department's contact says the same, or ends so: a number without area code."""
    return bool(quoted) and any(own.endswith(_key(quoted)) for own in ours)


def _standing(spans: Iterable[_Span], field: str) -> Iterator[_Span]:
    """What counts in this field, but nothing soft within what blocks anyway."""
    here = [each for each in spans if not each[0].fields or field in each[0].fields]
    hard = [(start, end) for rule, start, end, _ in here if rule.severity is Severity.HARD]
    for rule, start, end, quoted in here:
        if rule.severity is Severity.HARD or not any(
            begin <= start and end <= stop for begin, stop in hard
        ):
            yield rule, start, end, quoted


def _key(quoted: str) -> str:
    """`+1 (760) 329-2904` and `760.329.2904` are the same number."""
    plain = "".join(filter(str.isalnum, fold(quoted).text.lower()))
    return plain.removeprefix("1") if plain.isdigit() else plain


def _finding(field: str, rule: Rule, start: int, end: int, quoted: str) -> Finding:
    return Finding(
        rule=rule.id, title=rule.title, clause=rule.clause, severity=rule.severity, field=field,
        start=start, end=end, quoted=quoted, why=rule.named(quoted) if rule.named else rule.why,
        do=rule.do,
    )  # fmt: skip


def table() -> str:
    """The README's table: every rule, its clause, what it does, and an example of each kind."""
    rows = ["| rule | source | finds, as in | passes, as in |", "| --- | --- | --- | --- |"]
    for rule in RULES:
        found = f"{rule.finds[0].replace('[', '**').replace(']', '**')}"
        shown = found if found.strip("*") else "*nothing typed*"
        act = "blocks" if rule.severity is Severity.HARD else "wants a reason"
        rows.append(f"| `{rule.id}`, {act} | {rule.clause} | {shown} | {rule.passes[0]} |")
    return "\n".join(rows)
