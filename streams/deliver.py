"""Deliver: each channel's posts go out, in order within an incident, and end honestly.

Wakes on `posts.<channel>`; the message only says look. Each channel has a lane of its own: its
own lease, its own session (the adapter's), its own waits, so that one sick channel delays itself
alone (DESIGN.md rule 6). What to send and when stands in the ledger.

One transaction before the send, one after, none across I/O (rule 5). The first is the point of no
return: it proves that these words were approved and may still go out, and notes the attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from broadcaster import failpoint
from broadcaster.channel import Idempotency
from broadcaster.clock import Clock
from broadcaster.delivery import (
    Adapter,
    Happened,
    InDoubt,
    Message,
    Next,
    PostState,
    Receipt,
    Refused,
    TryLater,
    after,
)
from broadcaster.errors import LedgerAway
from broadcaster.ledger import Ledger, Tx, incidents, outbox, posts
from broadcaster.record import Kind
from broadcaster.subscribers import PostSettled
from streams.lease import RENEW_EVERY, renew, taken
from streams.together import together

ACTOR = "deliver"

#: Seconds between two looks at whether a channel's messages come to this process.
LOOK_EVERY = 0.2

#: Posts of different incidents that one channel sends side by side.
SIDE_BY_SIDE = 8

#: Seconds that open sends get to end when the streams do (Ctrl-C ends all within 5 s).
GRACE = 2.5

#: What a send may still take, beyond its deadline, to be cancelled and noted.
MARGIN = timedelta(seconds=2)

log = structlog.get_logger(__name__)

AnyAdapter = Adapter[Any]


class Deliver:
    """All channels of one process. `run` until cancelled; `wake` says that a channel has work."""

    def __init__(
        self,
        ledger: Ledger,
        adapters: Mapping[str, AnyAdapter],
        incident_url: Callable[[str], str],
        clock: Clock,
        holder: str,
    ) -> None:
        """`holder` tells this process from others that want the same channels."""
        self._lanes = {
            name: _Lane(ledger, adapter, incident_url, clock, holder)
            for name, adapter in adapters.items()
        }

    def wake(self, channel: str) -> None:
        """Makes a channel look into the ledger; too often does no harm."""
        if lane := self._lanes.get(channel):
            lane.work.set()

    async def run(self, mine: Callable[[], frozenset[str]]) -> None:
        """Sends until cancelled. Raises what ended a lane: the ledger being away, above all.

        `mine` tells the channels whose messages come to this process now: their lanes run here.
        """
        await together(*(
            lane.run(partial(_among, name, mine)) for name, lane in self._lanes.items()
        ))  # fmt: skip


def _among(name: str, mine: Callable[[], frozenset[str]]) -> bool:
    return name in mine()


class _Lane:
    """One channel's way out."""

    def __init__(
        self,
        ledger: Ledger,
        adapter: AnyAdapter,
        incident_url: Callable[[str], str],
        clock: Clock,
        holder: str,
    ) -> None:
        self.work = asyncio.Event()
        self._ledger = ledger
        self._adapter = adapter
        self._incident_url = incident_url
        self._clock = clock
        self._holder = holder
        self._lease: posts.Lease | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}

    @property
    def _channel(self) -> str:
        return self._adapter.channel.name

    async def run(self, mine: Callable[[], bool]) -> None:
        try:
            while True:
                while not mine():  # noqa: ASYNC110 - no event tells of a rebalance
                    await asyncio.sleep(LOOK_EVERY)
                lease = await taken(self._ledger, f"channel:{self._channel}", self._holder)
                self._lease = lease
                with contextlib.suppress(posts.LeaseLost):
                    await self._hold(lease, mine)
                await self._end_sends()
        finally:
            await self._let_go()

    async def _hold(self, lease: posts.Lease, mine: Callable[[], bool]) -> None:
        """Sends what is due while the channel and its lease are ours. Raises LeaseLost."""
        renew_at = self._clock.now() + RENEW_EVERY
        await self._settle_left_open(lease)
        while mine():
            self.work.clear()
            due, next_look = await self._ledger.read(lambda tx: posts.first_due(tx, self._channel))
            for post in due:
                self._begin(post, lease)
            now = self._clock.now()
            if now >= renew_at:
                await renew(self._ledger, lease)
                renew_at = now + RENEW_EVERY
                await self._settle_left_open(lease)
            await self._wait(min(renew_at, next_look or renew_at))

    async def _wait(self, until: Any) -> None:
        pause = min(until - self._clock.now(), RENEW_EVERY).total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(pause, 0)):
                await self.work.wait()

    def _begin(self, post: posts.Kept, lease: posts.Lease) -> None:
        """Starts a send, one an incident at a time and no more than the channel takes at once."""
        key = post.incident_id
        if post.state is PostState.SENDING or key in self._sending:
            return
        if len(self._sending) >= SIDE_BY_SIDE:
            return
        task = asyncio.create_task(self._send(post.id, lease), name=f"{self._channel}:{post.id}")
        self._sending[key] = task
        task.add_done_callback(lambda done: self._done(key, done))

    def _done(self, key: str, task: asyncio.Task[None]) -> None:
        self._sending.pop(key, None)
        if not task.cancelled() and (problem := task.exception()):
            # It is looked at again when the lease is renewed, not at once and without end.
            log.error("a send could not be noted", channel=self._channel, cause=str(problem))
        else:
            self.work.set()

    async def _send(self, post_id: str, lease: posts.Lease) -> None:
        deadline = self._adapter.channel.deadline
        opened = await self._ledger.write(
            lambda tx: _open(tx, post_id, lease, deadline + MARGIN), urgent=True
        )
        if opened is None:
            return
        message = _message(opened, self._adapter, self._incident_url)
        failpoint.reach("before_send", (self._channel,))
        happened = await self._try(message, deadline)
        failpoint.reach("after_send", (self._channel,))
        idempotency = self._adapter.channel.idempotency
        await asyncio.shield(
            self._ledger.write(lambda tx: _close(tx, opened, lease, happened, idempotency))
        )

    async def _try(self, message: Message[Any], deadline: timedelta) -> Happened:
        """One call of the adapter. Whatever it raises unasked, the send is then in doubt."""
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                return Happened(receipt=await self._adapter.send(message))
        except (TryLater, Refused, InDoubt) as said:
            return Happened(error=said)
        except TimeoutError:
            return Happened(error=InDoubt("The channel gave no answer in time."))
        except asyncio.CancelledError:
            return Happened(error=InDoubt("The program was ended while it was sending."))
        except Exception as problem:
            log.exception("an adapter failed", channel=self._channel)
            return Happened(error=InDoubt(f"The send broke off ({type(problem).__name__})."))

    async def _settle_left_open(self, lease: posts.Lease) -> None:
        """Ends attempts whose sender is gone: what became of them is not known."""

        def step(tx: Tx) -> None:
            for post, number in posts.left_open(tx, self._channel):
                _gave_up(tx, post, number, lease, self._adapter.channel.idempotency)

        if await self._ledger.read(lambda tx: bool(posts.left_open(tx, self._channel))):
            await self._ledger.write(step)

    async def _end_sends(self) -> None:
        """Gives open sends a moment to end; what has not by then notes that it is in doubt."""
        if sending := list(self._sending.values()):
            _, late = await asyncio.wait(sending, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.wait(sending, timeout=1)
        if lease := self._lease:
            self._lease = None
            with contextlib.suppress(LedgerAway):
                await self._ledger.write(lambda tx: posts.let_go(tx, lease))

    async def _let_go(self) -> None:
        await self._end_sends()
        await self._adapter.close()


@dataclass(frozen=True)
class _Open:
    """An attempt that is noted, and what its message is made of."""

    attempt: posts.Opened
    public_id: str


def _open(tx: Tx, post_id: str, lease: posts.Lease, lasts: timedelta) -> _Open | None:
    """Notes the attempt; None where the post must not, or need not, be sent."""
    before = posts.get(tx, post_id)
    opened = posts.open_attempt(tx, post_id, lease=lease, deadline=lasts)
    kept = incidents.get(tx, before.incident_id) if before else None
    if opened is None or before is None or kept is None:
        return None
    if isinstance(opened, Next):
        _note_end(tx, before, kept.public_id, opened, None)
        return None
    tx.record(Kind.ATTEMPT_STARTED, actor=ACTOR, incident_id=before.incident_id, post_id=post_id,
              channel=before.channel, attempt=opened.number,
              digest=opened.revision.digest)  # fmt: skip
    return _Open(opened, kept.public_id)


def _message(
    opened: _Open, adapter: AnyAdapter, incident_url: Callable[[str], str]
) -> Message[Any]:
    revision, post = opened.attempt.revision, opened.attempt.post
    return Message(
        post_id=post.id, world=adapter.channel.world, incident_public_id=opened.public_id,
        incident_url=incident_url(opened.public_id), number=revision.number,
        kind=str(revision.kind), rendering=revision.rendering(post.channel),
        released_at=post.released_at, expires_at=revision.expires_at,
    )  # fmt: skip


def _outcome(happened: Happened) -> str:
    return "receipt" if happened.error is None else type(happened.error).__name__


def _close(
    tx: Tx, opened: _Open, lease: posts.Lease, happened: Happened, idempotency: Idempotency
) -> None:
    """Notes how an attempt ended, and what becomes of its post."""
    attempt = opened.attempt
    then = after(happened, idempotency=idempotency, attempts=attempt.number,
                 expires_at=attempt.revision.expires_at, now=tx.now)  # fmt: skip
    if posts.close_attempt(
        tx, attempt, lease=lease, outcome=_outcome(happened), then=then, receipt=happened.receipt
    ):
        _note_end(tx, attempt.post, opened.public_id, then, happened.receipt)


_KINDS = {
    PostState.POSTED: Kind.POST_DELIVERED,
    PostState.WAITING: Kind.POST_DEFERRED,
    PostState.REFUSED: Kind.POST_REFUSED,
    PostState.IN_DOUBT: Kind.POST_IN_DOUBT,
    PostState.REPLACED: Kind.POST_REPLACED,
    PostState.EXPIRED: Kind.POST_EXPIRED,
    PostState.STOPPED: Kind.POST_STOPPED,
    PostState.HELD: Kind.POST_HELD,
}


def _note_end(
    tx: Tx, post: posts.Kept, public_id: str, then: Next, receipt: Receipt | None
) -> None:
    """Puts what became of a post on the record, and tells subscribers where it has ended."""
    tx.record(
        _KINDS[then.state], actor=ACTOR, incident_id=post.incident_id, post_id=post.id,
        channel=post.channel, remote_id=receipt.remote_id if receipt else None,
        url=receipt.url if receipt else None,
        next_look=then.next_look.isoformat() if then.next_look else None,
        private={"why": then.why},
    )  # fmt: skip
    if then.state.ended:
        outbox.post_settled(tx, PostSettled(
            message_id=str(uuid.uuid4()), world=tx.world, incident=public_id,
            release_id=post.release_id, post_id=post.id, channel=post.channel, state=then.state,
            url=receipt.url if receipt else None, settled_at=tx.now,
        ))  # fmt: skip


def _gave_up(
    tx: Tx, post: posts.Kept, number: int, lease: posts.Lease, idempotency: Idempotency
) -> None:
    """Ends one attempt that nobody closed in its time."""
    kept = incidents.get(tx, post.incident_id)
    opened = posts.reopened(tx, post, number)
    if kept is None or opened is None:
        return
    happened = Happened(error=InDoubt("The program ended while this was being sent."))
    _close(tx, _Open(opened, kept.public_id), lease, happened, idempotency)
