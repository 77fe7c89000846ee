"""A test of one channel, in an exercise: words of no meaning go there, are read, and taken back.

Nobody approves them, so they are always the same ones, and the live world has no such test. The
public reads them all the same, so a channel on which it can answer is as off as it is for posts.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from broadcaster.aftercare import as_approved
from broadcaster.delivery import Adapter, InDoubt, Message, NotThere, Refused, TryLater, Unsupported
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.ledger import Ledger, Tx, reply_decisions
from broadcaster.record import Kind
from broadcaster.update import Rendering
from broadcaster.world import Exercise

HEADLINE = "EXERCISE: a test"
WORDS = "EXERCISE. This is a test of this channel. Nothing has happened."

#: For so long a receiver may take it for news.
LASTS = timedelta(minutes=10)

T = TypeVar("T")


async def run(
    ledger: Ledger, adapter: Adapter[Exercise], *, address: str, actor: str
) -> dict[str, str]:
    """What came of it, step by step; each is tried once. `address`: where our page is.

    The record has it before anything is sent. Raises LedgerAway, and Refusal where the public can
    answer and the Chief has not decided that the channel is used all the same (389.5.1).
    """
    channel, test = adapter.channel, str(uuid.uuid4())

    def started(tx: Tx) -> Message[Exercise]:
        if reply_decisions.off(tx, [channel]):
            raise Refusal(
                "channel_off",
                f"The public can answer on {channel.title}, and the Chief has not decided that it "
                "is used all the same (389.5.1). Nothing was sent.",
                f"Ask the Chief (`broadcaster channel allow-replies {channel.name}`).",
                kind=Sort.FORBIDDEN,
            )
        tx.record(Kind.CHANNEL_TEST_STARTED, actor=actor, channel=channel.name, test=test)
        return Message[Exercise](
            post_id=test, world=channel.world, incident_public_id="test", incident_url=address,
            number=1, kind="update",
            rendering=Rendering(channel=channel.name, headline=HEADLINE, text=WORDS),
            released_at=tx.now, expires_at=tx.now + LASTS,
        )  # fmt: skip

    message = await ledger.write(started)
    told = {"channel": channel.name, "replies": str(channel.replies)}
    differs, why = await _once(adapter.differs(), channel.deadline)
    if said := why or " ".join(differs or ()):
        told["differs"] = said
    receipt, why = await _once(adapter.send(message), channel.deadline)
    told["sent"] = why or "posted"
    if receipt:
        told["id"] = receipt.remote_id
        if receipt.url:
            told["address"] = receipt.url
        seen, why = await _once(adapter.read(receipt), channel.deadline)
        same = seen is not None and as_approved(seen, message.rendering)
        told["read"] = why or ("the same words" if same else "other words, or none")
        if seen is not None and seen.answerable:
            told["answers"] = "the public can answer there, though that was to be closed (389.5.1)"
        _, why = await _once(adapter.retract(receipt), channel.deadline)
        told["taken back"] = why or "yes"
    await ledger.write(lambda tx: tx.record(
        Kind.CHANNEL_TEST_ENDED, actor=actor, channel=channel.name, test=test, outcome=told["sent"],
    ))  # fmt: skip
    return told


async def _once(act: Awaitable[T], within: timedelta) -> tuple[T | None, str | None]:
    """What an adapter answered, or why it did not."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await act, None
    except (TryLater, Refused, InDoubt, Unsupported, NotThere) as said:
        return None, str(said)
    except TimeoutError:
        return None, "The channel gave no answer in time."
    except Exception as problem:
        return None, f"It broke off ({type(problem).__name__})."
