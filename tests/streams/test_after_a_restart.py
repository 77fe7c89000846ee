"""After a restart all that was being sent is listed and first looked for within 10 s."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from broadcaster import channel
from broadcaster.channel import Idempotency
from broadcaster.clock import SystemClock
from broadcaster.delivery import PostState, Receipt, Unsupported
from broadcaster.ledger import Tx, attempts, leases, posts, records
from broadcaster.ledger.attempts import Wanted
from broadcaster.record import Kind
from streams.deliver import Deliver
from streams.lease import LASTS
from tests.connected.installation import until
from tests.story import EXERCISE, PAGE, Story

INCIDENTS = 100
WITHIN = timedelta(seconds=10)

#: Seconds that a channel takes to answer.
ANSWERS_AFTER = 0.05

LOOKS = {"idempotency": Idempotency.CAN_LOOK, "find_lag": timedelta(seconds=1)}
KEYED, BLIND, LOOKED = (
    [channel.webhook(EXERCISE, f"{name}_{n}", name, dedupes=name == "keyed") for n in range(3)]
    for name in ("keyed", "blind", "looked")
)
CHANNELS = (PAGE, *KEYED, *BLIND, *(each.model_copy(update=LOOKS) for each in LOOKED))


class Remembers:
    """The adapter of a channel that has every post already: it was sent before the restart."""

    def __init__(self, of: Any) -> None:
        self.channel = of

    async def send(self, message: Any) -> Receipt:
        assert self.channel.idempotency.may_send_again, "it may have arrived"
        return await self._there(message)

    async def find(self, message: Any) -> Receipt:
        if self.channel.find_lag is None:
            raise Unsupported("It cannot be asked.")
        return await self._there(message)

    async def _there(self, message: Any) -> Receipt:
        await asyncio.sleep(ANSWERS_AFTER)
        return Receipt(remote_id=message.post_id)

    async def close(self) -> None:
        """Nothing was opened."""


async def test_a_thousand_open_posts_are_listed_and_looked_for(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story.clock, "now", SystemClock().now)
    story.clock.at = story.clock.now()
    await all_being_sent(story)
    await story.ledger.write(attempts.orphaned)  # as the start of `broadcaster up` has it
    began = story.clock.now()
    adapters = {each.name: Remembers(each) for each in CHANNELS}
    worker = Deliver(story.ledger, adapters, "{}".format, story.clock, "after")
    running = asyncio.create_task(worker.run(lambda: frozenset(adapters)))
    try:
        await until("each ended as its class allows", lambda: all_ended(story), 60)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await worker.close()
    failing = await story.ledger.read(lambda tx: records.lines(tx, kinds=[Kind.CHANNEL_FAILING]))
    assert not failing, "it was us who ended, and no channel that failed"
    doubtful = await times(story, Kind.POST_IN_DOUBT, Kind.POST_DEFERRED)
    proved = await times(story, Kind.POST_DELIVERED)
    assert len(doubtful) == INCIDENTS * len(CHANNELS), "each is on the record as left open"
    assert len(proved) == INCIDENTS * (len(CHANNELS) - len(BLIND))
    listed, looked_for = (max(each.values()) - began for each in (doubtful, proved))
    print(f"{len(doubtful)} listed {listed.total_seconds():.1f} s after the restart, "
          f"all that can be looked for {looked_for.total_seconds():.1f} s after it")  # fmt: skip
    assert max(listed, looked_for) <= WITHIN


async def all_being_sent(story: Story) -> None:
    """Of each incident one post on each channel, whose sender is killed."""
    for number in range(INCIDENTS):
        await story.released(await story.reported(f"2026-{number}"), channels=CHANNELS)

    def sent(tx: Tx) -> None:
        names = {f"channel:{each.name}": each for each in CHANNELS}
        held = leases.take(tx, names, "before", LASTS)
        for name, lease in held.items():
            due = posts.first_due(tx, [names[name].name]).to_try
            attempts.open_(tx, [Wanted(one.id, lease, timedelta(seconds=15), names[name])
                                for one in due])  # fmt: skip

    await story.ledger.write(sent)


async def all_ended(story: Story) -> bool:
    states = await story.ledger.read(posts.by_channel_and_state)
    blind = {each.name for each in BLIND}
    return states == {
        (each.name, PostState.IN_DOUBT if each.name in blind else PostState.POSTED): INCIDENTS
        for each in CHANNELS
    }


async def times(story: Story, *kinds: Kind) -> dict[str, datetime]:
    """When the record says so of each post."""
    lines = await story.ledger.read(lambda tx: records.lines(tx, kinds=kinds, limit=10_000))
    told = [json.loads(line.body)["public"] for line in lines]
    return {said["post_id"]: datetime.fromisoformat(line.at)
            for said, line in zip(told, lines, strict=True)}  # fmt: skip
