"""A restart while a thousand posts are being sent: ten channels, a hundred incidents."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from unittest.mock import patch

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
from tests.patience import PATIENCE
from tests.story import EXERCISE, PAGE, Story

INCIDENTS = 100

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
        self.asked: list[str] = []  #: for which posts, one after the other

    async def send(self, message: Any) -> Receipt:
        assert self.channel.idempotency.may_send_again, "it may have arrived"
        return await self._there(message)

    async def find(self, message: Any) -> Receipt:
        if self.channel.find_lag is None:
            raise Unsupported("It cannot be asked.")
        return await self._there(message)

    async def _there(self, message: Any) -> Receipt:
        self.asked.append(message.post_id)
        await asyncio.sleep(ANSWERS_AFTER)
        return Receipt(remote_id=message.post_id)

    async def close(self) -> None:
        """Nothing was opened."""


class Seen(NamedTuple):
    """What the record says: when each post was listed as left open, and when proved there."""

    began: datetime
    listed: dict[str, datetime]
    proved: dict[str, datetime]


async def restarted(story: Story) -> tuple[Seen, list[Remembers]]:
    """Has all of them being sent, starts again, and waits until each ended as its class allows."""
    with patch.object(story.clock, "now", SystemClock().now):
        return await _restarted(story)


async def _restarted(story: Story) -> tuple[Seen, list[Remembers]]:
    story.clock.at = story.clock.now()
    await all_being_sent(story)
    await story.ledger.write(attempts.orphaned)  # as the start of `broadcaster up` has it
    began = story.clock.now()
    adapters = {each.name: Remembers(each) for each in CHANNELS}
    worker = Deliver(story.ledger, adapters, "{}".format, story.clock, "after")
    running = asyncio.create_task(worker.run(lambda: frozenset(adapters)))
    try:
        await until("each ended as its class allows", lambda: all_ended(story), 3 * PATIENCE)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await worker.close()
    listed = await times(story, Kind.POST_IN_DOUBT, Kind.POST_DEFERRED)
    return Seen(began, listed, await times(story, Kind.POST_DELIVERED)), [*adapters.values()]


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
