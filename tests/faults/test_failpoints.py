"""`kill -9` before and after each commit, publish and send: nothing lost, nothing twice.

In each case the processes that come to the places named are killed there, once at each place,
while a CAD system, a PIO and a Commander go on as real ones do: they repeat what was not answered
with the same ids. The judge is `auditor.py`, which knows nothing of us. Embedded, each case has an
installation of its own; in production, where a start takes longer, one after the other has the
same. Several go on at a time, since most of a case is waiting for a start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.connected.installation import Embedded, Installation
from tests.connected.production import Production
from tests.faults.judging import Story, faults

AT_ONCE = 3

#: The facts whose commit is cut off, before it and after it, and who commits them.
COMMITS = {
    "ReportAccepted": "desk", "IncidentOpened": "compile", "RevisionSubmitted": "desk",
    "ApproverCalled": "notify", "DecisionRecorded": "desk", "UpdateReleased": "gate",
    "AttemptStarted": "deliver", "PostDelivered": "deliver",
}  # fmt: skip
TOPICS = (
    "incident.reports", "update.submitted", "update.decided", "updates.public",
    "posts.public_page", "posts.county", "posts.school", "posts.settled",
)  # fmt: skip
CHANNELS = ("public_page", "county", "school")


@dataclass(frozen=True)
class Case:
    """Where processes are killed, and which."""

    process: str  #: the one that comes there; embedded, all are one
    places: tuple[str, ...]
    by_topic: bool = False  #: the first report comes through Kafka


def commits(fact: str) -> tuple[str, ...]:
    return f"before_commit:{fact}", f"after_commit:{fact}"


CASES = {
    **{f"commit of {fact}": Case(process, commits(fact)) for fact, process in COMMITS.items()},
    "commit of ReportAccepted by its topic": Case("intake", commits("ReportAccepted"), True),
    **{f"publish to {topic}": Case("relay", (f"before_publish:exercise.{topic}",
                                             f"after_publish:exercise.{topic}"))
       for topic in TOPICS},
    "before each send": Case("deliver", tuple(f"before_send:{name}" for name in CHANNELS)),
    "after each send": Case("deliver", tuple(f"after_send:{name}" for name in CHANNELS)),
}  # fmt: skip


@dataclass(frozen=True)
class Played:
    """How one case went."""

    faults: list[str]
    killed: list[str]  #: the processes, by name
    not_reached: str


#: The cases that were asked for, on their way.
Outcomes = dict[str, Future[Played]]

#: An installation with two receivers, not yet started.
Make = Callable[[], AbstractAsyncContextManager[Installation]]


@pytest.fixture(scope="module", params=["embedded", "production"])
def played(request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    wanted = {str(item.callspec.params["case"]) for item in request.session.items
              if isinstance(item, pytest.Function) and item.function is test_killed_at}  # fmt: skip
    outcomes: Outcomes = {case: Future() for case in CASES if case in wanted}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for lane in _lanes(request, outcomes):
            pool.submit(asyncio.run, lane)
        yield outcomes
        pool.shutdown(cancel_futures=True)


def _lanes(
    request: pytest.FixtureRequest, outcomes: Outcomes
) -> Iterator[Coroutine[Any, Any, None]]:
    """What goes on beside each other: cases that have an installation of their own, or share."""
    settings = {"receivers": {"county": True, "school": False}, "start": False,
                "sweep_seconds": 0.5}  # fmt: skip
    if request.param == "embedded":
        for case, outcome in outcomes.items():
            yield one_after_the_other({case: outcome}, partial(Embedded.fresh, **settings))
    else:
        make = partial(Production.fresh, on=request.getfixturevalue("servers"), **settings)
        listed = sorted(outcomes.items(), key=lambda each: _quickness(CASES[each[0]]))
        for n in range(AT_ONCE):
            yield one_after_the_other(dict(listed[n::AT_ONCE]), make)


def _quickness(case: Case) -> tuple[int, int]:
    """A step that is killed is missed by its group after 10 s, the relay by its lease after 6 s."""
    return {"relay": 1, "desk": 2}.get(case.process, 0), -len(case.places)


async def one_after_the_other(outcomes: Outcomes, make: Make) -> None:
    """Plays cases on one installation."""
    try:
        async with make() as at:
            armed = at.home.parent / "failpoints"
            armed.touch()
            at.environment["BROADCASTER_FAILPOINTS"] = str(armed)
            await at.start()
            for case, outcome in outcomes.items():
                outcome.set_result(await play(at, CASES[case]))
    except BaseException as problem:
        for outcome in outcomes.values():
            if not outcome.done():
                outcome.set_exception(problem)


async def play(at: Installation, case: Case) -> Played:
    before = len(at.killed())
    armed = at.home.parent / "failpoints"
    armed.write_text("".join(f"{place}\n" for place in case.places))
    story = Story(at)
    await story.two_updates(by_topic=case.by_topic)
    found = faults(await story.case())
    return Played(found, at.killed()[before:], armed.read_text())


@pytest.mark.parametrize("case", CASES)
def test_killed_at(case: str, played: Outcomes, request: pytest.FixtureRequest) -> None:
    outcome = played[case].result(timeout=1200)
    assert outcome.not_reached == ""
    process = "child" if "embedded" in request.node.callspec.id else CASES[case].process
    assert outcome.killed == [process] * len(CASES[case].places), "it was killed at each place"
    assert outcome.faults == []
