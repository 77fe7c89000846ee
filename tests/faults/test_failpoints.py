"""`kill -9` before and after each commit, publish and send: nothing lost, nothing twice.

Each case has an installation of its own, whose child is killed at the places named, once each,
while a CAD system, a PIO and a Commander go on as real ones do: they repeat what was not answered
with the same ids. The judge is `auditor.py`, which knows nothing of us. Several cases run at a
time, since most of a case is waiting for a start.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.connected.installation import COMMANDER, Installation, Json, until

AUDITOR = Path(__file__).with_name("auditor.py")
AT_ONCE = 4

#: The facts whose commit is cut off, before it and after it.
COMMITS = (
    "ReportAccepted", "IncidentOpened", "RevisionSubmitted", "ApproverCalled", "DecisionRecorded",
    "UpdateReleased", "AttemptStarted", "PostDelivered",
)  # fmt: skip
TOPICS = (
    "incident.reports", "update.submitted", "update.decided", "posts.public_page", "posts.county",
    "posts.school", "posts.settled",
)  # fmt: skip
CHANNELS = ("public_page", "county", "school")

#: A case's name, and the places at which it is killed.
CASES = {
    **{f"commit of {fact}": (f"before_commit:{fact}", f"after_commit:{fact}") for fact in COMMITS},
    **{f"publish to {topic}": (f"before_publish:exercise.{topic}",
                               f"after_publish:exercise.{topic}") for topic in TOPICS},
    "before each send": tuple(f"before_send:{name}" for name in CHANNELS),
    "after each send": tuple(f"after_send:{name}" for name in CHANNELS),
}  # fmt: skip

Played = dict[str, "Future[Json]"]


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    """The cases that were asked for, on their way: by name, what the auditor says of each."""
    wanted = [item.callspec.params["case"] for item in request.session.items
              if getattr(item, "originalname", "") == test_killed_at.__name__]  # fmt: skip
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {case: pool.submit(asyncio.run, play(CASES[case])) for case in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES)
def test_killed_at(case: str, played: Played) -> None:
    verdict = played[case].result(timeout=180)
    assert "\n".join(verdict["faults"]) == ""
    assert verdict["not reached"] == [], "each place was come to"
    assert verdict["starts"] == 1 + len(CASES[case]), "and the child was killed there"
    assert verdict["chain_ok"]


async def play(places: tuple[str, ...]) -> Json:
    """An incident from CAD to the public, twice told, with the child killed on the way."""
    async with Installation.fresh(
        receivers={"county": True, "school": False}, start=False, sweep_seconds=0.5
    ) as at:
        armed = at.home.parent / "failpoints"
        armed.write_text("".join(f"{place}\n" for place in places))
        at.environment["BROADCASTER_FAILPOINTS"] = str(armed)
        await at.start()
        return await _judged(at, await tell(at), armed)


async def tell(at: Installation) -> tuple[list[str], list[str]]:
    """Two reports, two updates; gives the ids of the reports and decisions that were answered."""
    first = at.report()
    reports = [await accepted(at, first)]
    incident_id = at.incident_of(first)
    await at.commanded(incident_id)
    decisions = [await told(at, await at.suggested(incident_id))]
    second = at.report(incident_number=first["incident_number"], place="Pierson Blvd / Palm Dr")
    await at.produce(json.dumps(second).encode())
    seen = await at.suggested(incident_id, "place changed")
    reports.append(at.id_of(second))
    decisions.append(await told(at, seen))
    await at.drained()
    return reports, decisions


async def accepted(at: Installation, report: Json) -> str:
    answer = await at.send_report(report)
    assert answer.good, answer
    assert answer.body["report_id"] == at.id_of(report)
    return at.id_of(report)


async def told(at: Installation, seen: Json) -> str:
    """One update: submitted, decided when the Commander was called, and posted."""
    request = await at.submit(seen)

    async def called() -> bool:
        return (await at.request(request["id"]))["request"]["called_at"] is not None

    await until(f"{COMMANDER} is called", called)
    answer = await at.decide(request)
    assert answer.good, answer
    await at.settled(request)
    return str(answer.body["id"])


async def _judged(at: Installation, answered: tuple[list[str], list[str]], armed: Path) -> Json:
    """What the auditor says, with the ledger as the end of the program leaves it."""
    feed, verified = await at.feed(), await at.order("verify")
    starts = at.log.read_text().count('"desk listens"')
    await at.end()
    reports, decisions = answered
    case = at.home.parent / "case.json"
    case.write_text(json.dumps({
        "ledger": str(at.home / "ledger.db"), "address": at.address, "feed": feed,
        "receivers": [{"name": r.name, "log": str(r.log), "dedupes": r.dedupes}
                      for r in at.receivers.values()],
        "reports": reports, "decisions": decisions,
    }))  # fmt: skip
    verdict = audit(case)
    return {**verdict, "not reached": armed.read_text().splitlines(), "starts": starts,
            "chain_ok": verified["ok"]}  # fmt: skip


def audit(case: Path) -> Any:
    """The auditor's verdict, from a process that cannot import the product."""
    judge = subprocess.run(
        [sys.executable, "-I", "-S", str(AUDITOR), str(case)], capture_output=True, text=True
    )
    assert judge.returncode in (0, 1) and judge.stdout, judge.stderr
    verdict = json.loads(judge.stdout)
    assert (judge.returncode == 1) == bool(verdict["faults"])
    return verdict
