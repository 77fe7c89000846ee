"""Deliver: each channel's posts go out, in order within an incident, and end honestly.

Wakes on `posts.<channel>`; the message only says look, and the ledger says what: whichever
channel is called, all that is due on the channels of this process is opened in one transaction,
and what ends together is noted together. Sending is apart: each channel has a lane of its own,
with its own lease, its own session (the adapter's), its own waits, so that one sick channel
delays itself alone (DESIGN.md rule 6).

One transaction before the send, one after, none across I/O (rule 5). The first is the point of no
return: it proves that these words were approved and may still go out, and notes the attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from broadcaster import failpoint
from broadcaster.channel import Idempotency
from broadcaster.clock import Clock
from broadcaster.delivery import (
    Adapter,
    Happened,
    InDoubt,
    Message,
    Refused,
    TryLater,
    after,
)
from broadcaster.errors import LedgerAway
from broadcaster.ledger import Ledger, Tx, attempts, leases, posts
from broadcaster.ledger.attempts import Closing, Ended, Opened, Outcome, Wanted
from broadcaster.ledger.leases import Lease, LeaseLost
from broadcaster.record import Kind
from streams.batch import Batch
from streams.ends import note_end
from streams.lease import LASTS, RENEW_EVERY
from streams.within import noticed

ACTOR = "deliver"

#: Seconds between two looks at which channels' messages come to this process.
LOOK_EVERY = 0.2

#: Posts of different incidents that one channel sends side by side.
SIDE_BY_SIDE = 8

#: Seconds that open sends get to end when the process does (Ctrl-C ends all within 5 s).
GRACE = 2.5

#: What a send may still take, beyond its deadline, to be cancelled and noted.
MARGIN = timedelta(seconds=2)

log = structlog.get_logger(__name__)

AnyAdapter = Adapter[Any]


class Deliver:
    """All channels of one process, as long as that lives; `look` says that there is work.

    `run` again with each streams. What is being sent, and a receipt that waits for a ledger that
    is away, outlives them; `close` ends it with the process.
    """

    def __init__(
        self,
        ledger: Ledger,
        adapters: Mapping[str, AnyAdapter],
        incident_url: Callable[[str], str],
        clock: Clock,
        holder: str,
    ) -> None:
        """`holder` tells this process from others that want the same channels."""
        self._ledger = ledger
        self._clock = clock
        self._holder = holder
        self._work = asyncio.Event()
        self._closes = Batch(self._close)
        self._lanes = {
            name: _Lane(
                adapter, incident_url, self._closes, self._work.set, self._renew, self._let_go
            )
            for name, adapter in adapters.items()
        }
        self._called: asyncio.Future[None] | None = None  #: done after the next look
        self._ending = False
        self._wanted: frozenset[str] = frozenset()
        self._lease_at = 0.0  #: when leases are taken and renewed next, by the loop's clock
        self._next_look: datetime | None = None  #: when a post is due though nobody calls
        self._failing: set[str] = set()  #: posts that could not be tried: they go last

    async def look(self) -> None:
        """Returns once it has looked into the ledger, from now on, at what is due.

        So a message is acknowledged when what it calls for is under way. Those that come meanwhile
        share the next look. Raises what kept it from looking.
        """
        if self._called is None:
            self._called = asyncio.get_running_loop().create_future()
            self._called.add_done_callback(noticed)
        self._work.set()
        if not self._ending:
            await asyncio.shield(self._called)

    async def run(self, mine: Callable[[], frozenset[str]]) -> None:
        """Sends until cancelled. Raises what ended it: the ledger being away, above all.

        `mine` tells the channels whose messages come to this process now: their lanes run here.
        """
        self._ending, self._wanted, self._lease_at = False, frozenset(), 0.0
        working = asyncio.create_task(self._go(mine))
        try:
            await asyncio.shield(working)
        finally:  # it is asked to end, so that what was opened is sent
            self._ending = True
            self._work.set()
            await asyncio.wait({working}, timeout=1)
            working.cancel()
            if self._called:  # whoever sends next begins with a look
                self._called.set_result(None)
                self._called = None
            for lane in self._lanes.values():
                lane.leave()

    async def close(self) -> None:
        """Ends what is still being sent; called once, when the process ends."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    async def _go(self, mine: Callable[[], frozenset[str]]) -> None:
        while not self._ending:
            await self._hold(mine())
            if self._work.is_set() or self._is_due():
                await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._work.wait()

    async def _look(self) -> None:
        self._work.clear()
        called, self._called = self._called, None
        try:
            await self._send_due()
        except BaseException as problem:
            if called:
                called.set_exception(problem)
            raise
        if called:
            called.set_result(None)

    def _is_due(self) -> bool:
        return self._next_look is not None and self._next_look <= self._clock.now()

    async def _hold(self, wanted: frozenset[str]) -> None:
        """Leaves the lanes that are not ours any more; takes and renews the leases of the rest."""
        for name in self._wanted - wanted:
            self._lanes[name].leave()
        now = asyncio.get_running_loop().time()
        if (wanted == self._wanted and now < self._lease_at) or self._ending:
            return
        self._wanted = wanted
        for name in wanted:
            self._lanes[name].stay()
        lanes = {f"channel:{name}": lane for name, lane in self._lanes.items()
                 if name in wanted and not lane.leaving}  # fmt: skip
        taken = await self._ledger.write(lambda tx: leases.take(tx, lanes, self._holder, LASTS))
        for name, lane in lanes.items():
            lane.hold(taken.get(name))
        await self._settle_left_open()
        all_held = len(self._held()) == len(wanted)
        self._lease_at = now + (RENEW_EVERY.total_seconds() if all_held else LOOK_EVERY)
        self._work.set()

    def _held(self) -> dict[str, _Lane]:
        return {name: lane for name, lane in self._lanes.items() if lane.lease}

    async def _settle_left_open(self) -> None:
        """Ends attempts whose sender is gone: what became of them is not known."""
        held = self._held()
        left = await self._ledger.read(lambda tx: attempts.left_open(tx, held))
        why = "The program ended while this was being sent."
        if sent := [held[each.post.channel].sent(each, Happened(error=InDoubt(why)))
                    for each in left
                    if each.post.id not in held[each.post.channel].noting]:  # fmt: skip
            await self._close(sent)

    async def _send_due(self) -> None:
        """Opens what is due on all lanes, as far as they have room, and has them send it."""
        lanes = self._held()
        if not lanes:
            return
        asks = [lane.ask() for lane in lanes.values()]
        began = asyncio.get_running_loop().time()
        outcomes, self._next_look = await self._ledger.write(
            partial(_open_due, asks=asks, last=self._failing), urgent=True
        )
        failed = set()
        for post_id, outcome in outcomes.items():
            if isinstance(outcome, Opened):
                lanes[outcome.post.channel].send(outcome, began)
            elif isinstance(outcome, Ended):
                self._work.set()  # the next one of its incident may go
            elif isinstance(outcome, LeaseLost):
                self._lease_at = 0.0
            else:  # it is looked at again when the leases are renewed, not at once and without end
                log.error("a post could not be tried", post=post_id, cause=str(outcome))
                failed.add(post_id)
        if failed - self._failing:
            self._work.set()  # those whose places they took may go
        self._failing = (self._failing - outcomes.keys()) | failed

    async def _close(self, several: Sequence[_Sent]) -> Sequence[bool | Exception]:
        return await self._ledger.write(partial(_note_ends, several=several))

    async def _renew(self, lease: Lease) -> None:
        with contextlib.suppress(LedgerAway):
            await self._ledger.write(lambda tx: leases.renew(tx, lease, LASTS))

    async def _let_go(self, lease: Lease) -> None:
        with contextlib.suppress(LedgerAway):
            await self._ledger.write(lambda tx: leases.let_go(tx, lease))


@dataclass(frozen=True)
class _Ask:
    """What a lane can take."""

    channel: str
    lease: Lease
    lasts: timedelta
    room: int


@dataclass(frozen=True)
class _Sent:
    """An attempt and how it ended."""

    opened: Opened
    lease: Lease
    happened: Happened
    idempotency: Idempotency


class _Lane:
    """One channel's way out, while this process has its lease."""

    def __init__(
        self,
        adapter: AnyAdapter,
        incident_url: Callable[[str], str],
        closes: Batch[_Sent, bool],
        ended: Callable[[], None],
        renew: Callable[[Lease], Coroutine[Any, Any, None]],
        let_go: Callable[[Lease], Coroutine[Any, Any, None]],
    ) -> None:
        self.lease: Lease | None = None
        self.noting: set[str] = set()  #: posts whose send has ended, and that is to be noted
        self._adapter = adapter
        self._incident_url = incident_url
        self._closes = closes
        self._ended = ended
        self._renew = renew
        self._let_go = let_go
        self._sending: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None

    @property
    def leaving(self) -> bool:
        """Whether sends of the lease before still end."""
        return self._leaving is not None and not self._leaving.done()

    def hold(self, lease: Lease | None) -> None:
        """Goes on with a lease, taken or renewed; one that another had since is left."""
        if self.lease and (lease is None or lease.epoch != self.lease.epoch):
            self.leave()
        else:
            self.lease = lease

    def leave(self) -> None:
        """Begins nothing more, and gives the lease back once what is being sent has ended."""
        lease, self.lease = self.lease, None
        if lease:
            self._leaving = asyncio.create_task(self._end_sends(lease))

    def stay(self) -> None:
        """Does not leave after all: what is being sent goes on beside what is to come."""
        if self._leaving and self._sending:
            self._leaving.cancel()
            self._leaving = None

    async def close(self) -> None:
        """Gives open sends a moment to end; what has not by then notes that it is in doubt."""
        self.leave()
        for patience in (GRACE, 1):  # the latter for what those that were cut off have to note
            if self._sending:
                _, late = await asyncio.wait(self._sending, timeout=patience)
                for task in late:
                    task.cancel()
        if self._leaving:
            await asyncio.wait({self._leaving}, timeout=1)
        await self._adapter.close()

    def ask(self) -> _Ask:
        assert self.lease, "only a lane that is held is asked"
        return _Ask(self._channel, self.lease, self._adapter.channel.deadline + MARGIN,
                    SIDE_BY_SIDE - len(self._sending))  # fmt: skip

    def send(self, opened: Opened, began: float) -> None:
        """Begins a send; posts of one incident come one after the other, from the ledger.

        It ends within the channel's deadline after `began`, the loop's time before it was opened:
        so before the time that the ledger noted, however long this process then stood still.
        """
        assert self.lease, "it was opened on it"
        until = began + self._adapter.channel.deadline.total_seconds()
        task = asyncio.create_task(self._send(opened, self.lease, until))
        self._sending.add(task)
        task.add_done_callback(self._done)

    def sent(self, opened: Opened, happened: Happened) -> _Sent:
        assert self.lease, "only a lane that is held ends attempts"
        return _Sent(opened, self.lease, happened, self._adapter.channel.idempotency)

    @property
    def _channel(self) -> str:
        return self._adapter.channel.name

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            # It is looked at again when its time is over.
            log.error("a send could not be noted", channel=self._channel, cause=str(problem))
        else:
            self._ended()

    async def _send(self, opened: Opened, lease: Lease, until: float) -> None:
        message = _message(opened, self._adapter, self._incident_url)
        failpoint.reach("before_send", (self._channel,))
        happened = await self._try(message, until)
        failpoint.reach("after_send", (self._channel,))
        await self._note(_Sent(opened, lease, happened, self._adapter.channel.idempotency))

    async def _note(self, sent: _Sent) -> None:
        """Notes how an attempt ended; no receipt is lost to a ledger that is away."""
        self.noting.add(sent.opened.post.id)
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(LedgerAway),
                wait=wait_random_exponential(multiplier=0.1, max=1),
            ):
                with attempt:
                    await asyncio.shield(self._closes(sent))
        finally:
            self.noting.discard(sent.opened.post.id)

    async def _try(self, message: Message[Any], until: float) -> Happened:
        """One call of the adapter. Whatever it raises unasked, the send is then in doubt."""
        if asyncio.get_running_loop().time() >= until:  # another may have the channel by now
            return Happened(error=TryLater("Its time to be sent went by. Nothing was sent."))
        try:
            async with asyncio.timeout_at(until):
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

    async def _end_sends(self, lease: Lease) -> None:
        """Keeps the lease until what is being sent has ended, within the channel's deadline."""
        while self._sending:
            await asyncio.wait(self._sending, timeout=RENEW_EVERY.total_seconds())
            await self._renew(lease)
        await self._let_go(lease)


def _message(
    opened: Opened, adapter: AnyAdapter, incident_url: Callable[[str], str]
) -> Message[Any]:
    revision, post = opened.revision, opened.post
    return Message(
        post_id=post.id, world=adapter.channel.world, incident_public_id=opened.public_id,
        incident_url=incident_url(opened.public_id), number=revision.number,
        kind=str(revision.kind), rendering=revision.rendering(post.channel),
        released_at=post.released_at, expires_at=revision.expires_at,
    )  # fmt: skip


# --- The two transactions ---------------------------------------------------------------------


def _open_due(
    tx: Tx, asks: Collection[_Ask], last: Collection[str]
) -> tuple[Mapping[str, Outcome], datetime | None]:
    """Notes the attempts of what is due, or what becomes of it instead; and the next look.

    `last`: posts that are tried where the others leave room.
    """
    by_channel = {ask.channel: ask for ask in asks}
    room = {ask.channel: ask.room for ask in asks}
    due, next_look = posts.first_due(tx, by_channel)
    wanted = []
    for post in sorted(due, key=lambda post: post.id in last):
        if room[post.channel] > 0:
            room[post.channel] -= 1
            ask = by_channel[post.channel]
            wanted.append(Wanted(post.id, ask.lease, ask.lasts))
    outcomes = attempts.open_(tx, wanted)
    for outcome in outcomes.values():
        if isinstance(outcome, Opened):
            tx.trace = outcome.post.trace
            tx.record(Kind.ATTEMPT_STARTED, actor=ACTOR, incident_id=outcome.post.incident_id,
                      post_id=outcome.post.id, channel=outcome.post.channel,
                      attempt=outcome.number, digest=outcome.digest)  # fmt: skip
        elif isinstance(outcome, Ended):
            note_end(tx, outcome.post, outcome.public_id, outcome.then, actor=ACTOR)
    return outcomes, next_look


def _note_ends(tx: Tx, several: Sequence[_Sent]) -> Sequence[bool | Exception]:
    """Notes how attempts ended, and what becomes of their posts."""
    closings = [_closing(tx, each) for each in several]
    news = attempts.close(tx, closings)
    for closing, is_news in zip(closings, news, strict=True):
        if is_news is True:
            opened = closing.opened
            note_end(tx, opened.post, opened.public_id, closing.then, closing.receipt,
                     actor=ACTOR)  # fmt: skip
    return news


def _closing(tx: Tx, sent: _Sent) -> Closing:
    opened, happened = sent.opened, sent.happened
    then = after(happened, idempotency=sent.idempotency, attempts=opened.number,
                 expires_at=opened.revision.expires_at, now=tx.now)  # fmt: skip
    return Closing(opened, sent.lease, _outcome(happened), then, happened.receipt)


def _outcome(happened: Happened) -> str:
    return "receipt" if happened.error is None else type(happened.error).__name__
