"""How well and how fast the screening finds: against 750 labelled sentences, and in time.

The sentences (corpus/pii_presidio) are from all over the world and labelled for five of the rules;
what the others find there stands as a bare count. Real public alerts (corpus/cap_*) say what a
working PIO would be stopped by. Writes its rows to `figures.json` beside this file.
"""

from __future__ import annotations

import html
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broadcaster.place import SUFFIX
from broadcaster.policy import RULES, screen
from broadcaster.policy.fold import fold
from broadcaster.suggestion import TEMPLATES
from broadcaster.update import Origin, Phrase, Rendering, Words
from tests.bench.figures import figure, keep, timing
from tests.conftest import corpus_folder

#: What the sentences call that which a rule finds.
LABELS = {
    "phone-number": "PHONE_NUMBER",
    "public-number": "PHONE_NUMBER",
    "social-security-number": "US_SSN",
    "birth-date": "DATE_TIME",
    "home-address": "STREET_ADDRESS",
    "house-number": "STREET_ADDRESS",
}
#: Those that look for all that is so labelled, and not for some of it: a date is seldom of birth.
WHOLE = ("phone-number", "social-security-number")
#: A number, a name and a street's word, as addresses are written here.
_OUR_WAY = re.compile(rf"\d+ (?:[\w.'-]+ ){{1,4}}(?:{SUFFIX.pattern})(?!\w)", re.I)

_SAID = re.compile(r"<(?:cap:)?(?:description|instruction|headline|areaDesc)\b[^>]*>(.*?)</", re.S)


@dataclass
class Score:
    """Of one rule: what it found, what of that is labelled, and of the labels what was found."""

    found: int = 0
    right: int = 0
    labelled: int = 0
    met: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.met / self.labelled if self.labelled else 1.0


def spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Each rule's findings in a text."""
    plain = fold(text)
    for rule in RULES:
        if not rule.fields:
            for span in rule.places(plain):
                yield rule.id, *span


def measure(corpus: Path) -> dict[str, Score]:
    """The scores by rule, and of all addresses and of those written as they are here."""
    scores = {rule.id: Score() for rule in RULES if not rule.fields}
    ours = scores["our addresses"] = Score()
    everywhere = scores["addresses"] = Score()
    for sentence in json.loads((corpus / "pii_presidio" / "sentences.json").read_text()):
        found = list(spans(sentence["full_text"]))
        labels = [
            (each["entity_type"], each["start_position"], each["end_position"])
            for each in sentence["spans"]
        ]
        for rule, start, end in found:
            scores[rule].found += 1
            scores[rule].right += any(
                kind == LABELS.get(rule) and start < stop and begin < end
                for kind, begin, stop in labels
            )
        for kind, begin, stop in labels:
            rules = [rule for rule, label in LABELS.items() if label == kind]
            met = any(rule in rules and a < stop and begin < b for rule, a, b in found)
            counts = [scores[rule] for rule in rules if rule in WHOLE]
            if kind == "STREET_ADDRESS":
                here = _OUR_WAY.search(sentence["full_text"][begin:stop])
                counts = [everywhere, ours] if here else [everywhere]
            for score in counts:
                score.labelled += 1
                score.met += met
    return scores


def alerts(corpus: Path) -> Iterator[str]:
    """What real public alerts say, each text once."""
    texts = {
        html.unescape(match[1]).strip()
        for file in sorted(corpus.glob("cap_*/*"))
        for match in _SAID.finditer(file.read_text(errors="replace"))
    }
    return iter(sorted(texts))


def blocked(corpus: Path) -> tuple[int, dict[str, list[str]]]:
    """How many texts of real alerts there are, and what rules find in them, by rule."""
    found: dict[str, list[str]] = {}
    count = 0
    for text in alerts(corpus):
        count += 1
        for rule, start, end in spans(text):
            found.setdefault(rule, []).append(text[start:end])
    return count, found


def times(channels: int, rounds: int = 200) -> list[float]:
    """How long screening an ordinary update takes, in ms: that many channels say the same."""
    template = TEMPLATES["ACTSHOOT"]
    phrase = {
        "source": "Desert Hot Springs PD", "hazard": template.hazard,
        "place": "66100 block of Pierson Blvd", "guidance": template.guidance,
        "time": "As of 14:02 PST; next update by 14:17.",
    }  # fmt: skip
    words = Words(**{n: Phrase(text=text, origin=Origin.TYPED) for n, text in phrase.items()})
    said = [
        Rendering(channel=f"c{number}", headline=template.hazard, text=" ".join(phrase.values()))
        for number in range(channels)
    ]
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        assert screen(words, said, contact="Emergencies: call 911.") == ()
        took.append((time.perf_counter() - began) * 1000)
    return took


def main() -> None:
    rows = [timing("screening", "one process", "an update's words", times(12), n=12)]
    corpus = corpus_folder()
    if not corpus.is_dir():
        sys.exit(f"There is no corpus at {corpus}: set BROADCASTER_CORPUS to its folder.")
    for name, score in measure(corpus).items():
        print(f"{name:24} found {score.found:3}, right {score.right:3}; "
              f"labelled {score.labelled:3}, met {score.met:3}")  # fmt: skip
        if score.labelled:
            rows.append(figure("screening", "pii_presidio", f"{name}: recall",
                               100 * score.recall, "%"))  # fmt: skip
        if name in LABELS:
            rows.append(figure("screening", "pii_presidio", f"{name}: precision",
                               100 * score.precision, "%"))  # fmt: skip
    count, found = blocked(corpus)
    print(f"{count} texts of real alerts:")
    for rule, quoted in found.items():
        print(f"  {rule}: {', '.join(quoted)}")
    keep(rows)


if __name__ == "__main__":
    main()
