"""Notify's calls: made when they are due, by every means, and their ends kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Literal

import pytest

from broadcaster.calling import Accepted, Call, Means, Outcome
from broadcaster.clock import SystemClock
from broadcaster.delivery import Refused
from broadcaster.ledger import calls
from broadcaster.orders import Submitted
from broadcaster.world import Exercise
from streams.notify import Notify
from tests.patience import PATIENCE
from tests.story import EXERCISE, NOW, Story

ADDRESS = "https://alerts.example"
URL = f"{ADDRESS}/a/{{}}".format


class Phone:
    """A caller whose provider answers as the test says."""

    world: Exercise = EXERCISE

    def __init__(self, means: Means, answer: Callable[[], Accepted]) -> None:
        self.means = means
        self.heard: list[Call[Exercise]] = []
        self.closed = False
        self._answer = answer

    async def call(self, call: Call[Exercise]) -> Accepted:
        self.heard.append(call)
        return self._answer()

    async def close(self) -> None:
        self.closed = True


def takes() -> Accepted:
    return Accepted(remote_id="one", at=NOW)


def refuses() -> Accepted:
    raise Refused("This number cannot get an SMS.")


def breaks() -> Accepted:
    raise ZeroDivisionError


@contextlib.asynccontextmanager
async def calling(story: Story, *phones: Phone) -> AsyncIterator[Notify]:
    notify = Notify(story.ledger, {each.means: each for each in phones}, ADDRESS, SystemClock())
    task = asyncio.create_task(notify.run())
    try:
        yield notify
    finally:
        task.cancel()
        await asyncio.wait({task})
        await notify.close()


async def reached(story: Story, *means: tuple[Means, str]) -> None:
    for each, address in means:
        await story.ledger.write(
            lambda tx, each=each, address=address: calls.add_reach(
                tx, story.commander.id, each, address, actor="test"
            )
        )


async def settled(story: Story, submitted: Submitted, count: int) -> list[calls.Kept]:
    """The calls about a request, once so many have ended."""
    changed = asyncio.Event()
    forget = story.ledger.on_commit(lambda _: changed.set())
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                changed.clear()
                kept = await story.ledger.read(
                    lambda tx: calls.of_request(tx, submitted.request.id)
                )
                if len([each for each in kept if each.outcome is not Outcome.OPEN]) >= count:
                    return kept
                await changed.wait()
    finally:
        forget()


BOTH = ((Means.SMS, "+17605550100"), (Means.MAIL, "ortiz@example.gov"))


async def test_a_submission_calls_by_every_means_and_each_end_is_kept(story: Story) -> None:
    await reached(story, *BOTH)
    sms, mail = Phone(Means.SMS, refuses), Phone(Means.MAIL, takes)
    async with calling(story, sms, mail):
        submitted = await story.submitted(await story.reported())
        kept = await settled(story, submitted, 2)
    assert {each.means: each.outcome for each in kept} == {
        Means.SMS: Outcome.REFUSED, Means.MAIL: Outcome.ACCEPTED,
    }  # fmt: skip
    assert [call.url for call in mail.heard] == [URL(submitted.request.id)]
    assert sms.closed and mail.closed


async def test_what_nobody_foresaw_keeps_no_other_from_calling(story: Story) -> None:
    await reached(story, *BOTH)
    async with calling(story, Phone(Means.SMS, breaks), Phone(Means.MAIL, takes)):
        submitted = await story.submitted(await story.reported())
        kept = await settled(story, submitted, 2)
    assert {each.means: each.outcome for each in kept} == {
        Means.SMS: Outcome.IN_DOUBT, Means.MAIL: Outcome.ACCEPTED,
    }  # fmt: skip


@pytest.mark.parametrize("before", ["submitted", "running"])
async def test_an_address_that_comes_late_is_called_at_once(
    story: Story, before: Literal["submitted", "running"]
) -> None:
    submitted = await story.submitted(await story.reported())
    phone = Phone(Means.SMS, takes)
    if before == "running":
        await reached(story, BOTH[0])
    async with calling(story, phone):
        if before == "submitted":
            await reached(story, BOTH[0])
        [kept] = await settled(story, submitted, 1)
    assert kept.outcome is Outcome.ACCEPTED and len(phone.heard) == 1
