"""The department's app is told of each change, in order, until it has it; beside the calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from broadcaster.calling import Means, Outcome
from broadcaster.clock import SystemClock
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.informing import State, StateChange
from broadcaster.ledger import request_changes
from broadcaster.orders import withdraw_request
from streams.inform import Inform
from streams.notify import Notify
from tests.patience import PATIENCE
from tests.story import Story
from tests.streams.test_notify import ADDRESS, BOTH, Phone, reached, settled, takes


class App:
    """An app that answers as the test says, and takes what it does not refuse."""

    def __init__(self, answer: Callable[[StateChange[Any], int], None]) -> None:
        self.taken: dict[str, list[State]] = defaultdict(list)
        self.tried: defaultdict[str, int] = defaultdict(int)
        self.closed = False
        self._answer = answer

    async def inform(self, change: StateChange[Any]) -> None:
        self.tried[change.id] += 1
        self._answer(change, self.tried[change.id])
        self.taken[change.request_id].append(change.state)

    async def close(self) -> None:
        self.closed = True


@contextlib.asynccontextmanager
async def informing(story: Story, app: App, *phones: Phone) -> AsyncIterator[None]:
    inform = Inform(story.ledger, app, ADDRESS, story.clock)
    callers = {each.means: each for each in phones or (Phone(Means.SMS, takes),)}
    notify = Notify(story.ledger, callers, ADDRESS, SystemClock(), inform)
    task = asyncio.create_task(notify.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await notify.close()
    assert app.closed


async def all_told(story: Story, request_id: str) -> None:
    """Returns once all is told; the clock goes on meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while True:
            kept = await story.ledger.read(lambda tx: request_changes.of_request(tx, request_id))
            if kept and all(told for *_, told in kept):
                return
            story.clock.move(seconds=0.1)
            await asyncio.sleep(0.02)


def good(change: StateChange[Any], tries: int) -> None:
    """Takes everything."""


@pytest.mark.parametrize(
    "problem", [TryLater("Away."), InDoubt("?"), Refused("No."), ZeroDivisionError()]
)
async def test_what_fails_is_told_again_and_the_next_waits_behind_it(
    story: Story, problem: Exception
) -> None:
    def first_fails(change: StateChange[Any], tries: int) -> None:
        if change.state is State.OPENED and tries == 1:
            raise problem

    app = App(first_fails)
    request = (await story.submitted(await story.reported())).request
    await story.ledger.write(lambda tx: withdraw_request(tx, request.id, story.pio))
    async with informing(story, app):
        await all_told(story, request.id)
    assert app.taken == {request.id: [State.OPENED, State.WITHDRAWN]}
    assert sorted(app.tried.values()) == [1, 2]


async def test_an_app_that_refuses_one_request_is_told_of_the_others(story: Story) -> None:
    sick = (await story.submitted(await story.reported("1"))).request

    def refuses_one(change: StateChange[Any], tries: int) -> None:
        if change.request_id == sick.id:
            raise Refused("No.")

    app = App(refuses_one)
    async with informing(story, app):
        other = (await story.submitted(await story.reported("2"))).request
        await all_told(story, other.id)
        await story.ledger.write(lambda tx: withdraw_request(tx, other.id, story.pio))
        await all_told(story, other.id)
    assert app.taken == {other.id: [State.OPENED, State.WITHDRAWN]}


async def test_an_app_that_does_not_answer_keeps_nobody_from_being_called(story: Story) -> None:
    class Hangs(App):
        async def inform(self, change: StateChange[Any]) -> None:
            await asyncio.Event().wait()

    await reached(story, *BOTH)
    sms, mail = Phone(Means.SMS, takes), Phone(Means.MAIL, takes)
    async with informing(story, Hangs(good), sms, mail):
        submitted = await story.submitted(await story.reported())
        kept = await settled(story, submitted, 2)
    assert {each.outcome for each in kept} == {Outcome.ACCEPTED}


async def test_what_was_not_told_when_it_ended_is_told_by_the_next(story: Story) -> None:
    request = (await story.submitted(await story.reported())).request
    app = App(good)
    async with informing(story, app):
        await all_told(story, request.id)
    await story.ledger.write(lambda tx: withdraw_request(tx, request.id, story.pio))
    again = App(good)
    async with informing(story, again):
        await all_told(story, request.id)
    assert (app.taken, again.taken) == (
        {request.id: [State.OPENED]}, {request.id: [State.WITHDRAWN]},
    )  # fmt: skip
