"""A run told as a CAD system, a PIO and a Commander live it, and brought before the auditor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.connected.installation import COMMANDER, Answer, Installation, Json, until

AUDITOR = Path(__file__).with_name("auditor.py")


@dataclass
class Story:
    """What the clients did, and the ids of what was answered with 2xx."""

    at: Installation
    reports: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)  #: when, seconds since 1970
    _read: dict[tuple[object, ...], Json] = field(default_factory=dict)

    async def report(self, **fields: object) -> Json:
        """A report over HTTP; gives it as it was sent."""
        report = self.at.report(**fields)
        answer = await self.at.send_report(report)
        assert answer.good, answer
        assert answer.body["report_id"] == self.at.id_of(report)
        self.reports.append(self.at.id_of(report))
        return report

    async def write(self, **fields: object) -> Json:
        """A report by its topic: the broker has acknowledged it."""
        report = self.at.report(**fields)
        await self.at.produce(json.dumps(report).encode())
        self.reports.append(self.at.id_of(report))
        return report

    async def decide(self, request: Json, key: str | None = None) -> None:
        answer = await self.at.decide(request, key=key)
        assert answer.good, answer
        self.decisions.append(answer.body["id"])

    async def opened(self) -> Json:
        """An incident that is commanded, and for which an update is suggested."""
        incident_id = self.at.incident_of(await self.report())
        await self.at.commanded(incident_id)
        return await self.at.suggested(incident_id)

    async def asked(self, seen: Json, **fields: object) -> Json:
        """An update is submitted, and the Commander called."""
        request = await self.at.submit(seen, **fields)

        async def called() -> bool:
            shown = await self.at.request(request["id"])
            return shown["request"]["called_at"] is not None

        await until(f"{COMMANDER} is called", called)
        return request

    async def tell(self, seen: Json) -> Json:
        """One update: submitted, decided once the Commander was called, and posted."""
        request = await self.asked(seen)
        await self.decide(request)
        await self.at.settled(request)
        return request

    async def two_updates(self, *, by_topic: bool = False) -> None:
        """An incident from CAD to the public, twice told: the whole path."""
        first = await (self.write() if by_topic else self.report())
        incident_id = self.at.incident_of(first)
        await self.at.commanded(incident_id)
        await self.tell(await self.at.suggested(incident_id))
        number = first["incident_number"]
        await self.write(incident_number=number, place="Pierson Blvd / Palm Dr")
        await self.tell(await self.at.suggested(incident_id, "place changed"))

    async def read(self) -> None:
        """Reads the feed, which holds the newest alone, and keeps what it has not seen there."""
        times: Counter[str] = Counter()
        for item in await self.at.feed():
            times[item["id"]] += 1
            words = item["title"], item["content_text"]
            self._read[item["id"], times[item["id"]], *words] = item

    async def case(self) -> Path:
        """Lays before the auditor what is left once nothing waits (the embedded one ends)."""
        await self.at.drained()
        await self.read()
        verified = await self.at.order("verify")
        assert verified["ok"], verified
        ledger = await self.at.laid_open()
        case = ledger.with_suffix(".case.json")
        case.write_text(json.dumps({
            "ledger": str(ledger), "address": self.at.address,
            "feed": list(self._read.values()),
            "receivers": [{"name": each.name, "log": str(each.log), "class": each.idempotency}
                          for each in self.at.receivers.values()],
            "reports": self.reports, "decisions": self.decisions, "kills": self.kills,
        }))  # fmt: skip
        return case


def told_to_come_again(answer: Answer) -> None:
    """The ledger is away: a sentence says so, and a header when to come again."""
    assert (answer.status, answer.headers["retry-after"]) == (503, "5"), answer
    assert answer.body["code"] in ("ledger_away", "ledger_silent")
    assert answer.body["why"].endswith(".") and "Traceback" not in answer.raw.decode()


def judged(case: Path) -> tuple[list[str], Json]:
    """The auditor's verdict and figures, from a process that cannot import the product."""
    judge = subprocess.run(
        [sys.executable, "-I", "-S", str(AUDITOR), str(case)], capture_output=True, text=True
    )
    assert judge.returncode in (0, 1) and judge.stdout, judge.stderr
    verdict, figures = map(json.loads, judge.stdout.splitlines())
    assert (judge.returncode == 1) == bool(verdict["faults"])
    return verdict["faults"], figures


def faults(case: Path) -> list[str]:
    """The auditor's verdict."""
    return judged(case)[0]
