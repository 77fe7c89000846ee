"""`kill -9` before and after each commit, publish and send: nothing lost, nothing twice.

Each case has an installation of its own, whose child is killed at the places named, once each,
while a CAD system, a PIO and a Commander go on as real ones do: they repeat what was not answered
with the same ids. The judge is `auditor.py`, which knows nothing of us. Several cases run at a
time, since most of a case is waiting for a start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.connected.installation import Embedded
from tests.faults.judging import Story, faults

AT_ONCE = 4

#: The facts whose commit is cut off, before it and after it.
COMMITS = (
    "ReportAccepted", "IncidentOpened", "RevisionSubmitted", "ApproverCalled", "DecisionRecorded",
    "UpdateReleased", "AttemptStarted", "PostDelivered",
)  # fmt: skip
TOPICS = (
    "incident.reports", "update.submitted", "update.decided", "updates.public",
    "posts.public_page", "posts.county", "posts.school", "posts.settled",
)  # fmt: skip
CHANNELS = ("public_page", "county", "school")

#: A case's name, and the places at which the child is killed.
CASES = {
    **{f"commit of {fact}": (f"before_commit:{fact}", f"after_commit:{fact}") for fact in COMMITS},
    **{f"publish to {topic}": (f"before_publish:exercise.{topic}",
                               f"after_publish:exercise.{topic}") for topic in TOPICS},
    "before each send": tuple(f"before_send:{name}" for name in CHANNELS),
    "after each send": tuple(f"after_send:{name}" for name in CHANNELS),
}  # fmt: skip


@dataclass(frozen=True)
class Played:
    """How one case went."""

    faults: list[str]
    starts: int  #: how often the child was started
    not_reached: str


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Played]]]:
    """The cases that were asked for, on their way."""
    wanted = [str(item.callspec.params["case"]) for item in request.session.items
              if isinstance(item, pytest.Function) and item.function is test_killed_at]  # fmt: skip
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {case: pool.submit(asyncio.run, play(CASES[case])) for case in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES)
def test_killed_at(case: str, played: dict[str, Future[Played]]) -> None:
    outcome = played[case].result(timeout=180)
    assert outcome.not_reached == ""
    assert outcome.starts == 1 + len(CASES[case]), "it was killed at each place"
    assert outcome.faults == []


async def play(places: tuple[str, ...]) -> Played:
    async with Embedded.fresh(
        receivers={"county": True, "school": False}, start=False, sweep_seconds=0.5
    ) as at:
        armed = at.home.parent / "failpoints"
        armed.write_text("".join(f"{place}\n" for place in places))
        at.environment["BROADCASTER_FAILPOINTS"] = str(armed)
        await at.start()
        story = Story(at)
        await story.two_updates()
        found = faults(await story.case())
        return Played(found, at.log.read_text().count('"event": "listens"'), armed.read_text())
