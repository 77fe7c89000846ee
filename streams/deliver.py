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
import itertools
import math
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from broadcaster import failpoint
from broadcaster.aftercare import as_approved
from broadcaster.channel import AnyChannel
from broadcaster.clock import Clock, Reading, Watch
from broadcaster.delivery import (
    Adapter,
    InDoubt,
    LockedOut,
    Message,
    NotThere,
    PostState,
    Receipt,
    Refused,
    TryLater,
    Unsupported,
)
from broadcaster.errors import LedgerAway, Refusal
from broadcaster.ledger import (
    Ledger,
    Tx,
    attempts,
    calls,
    channels,
    clocks,
    errands,
    leases,
    posts,
    problems,
)
from broadcaster.ledger.attempts import Closing, Ended, Look, Opened, Outcome, Wanted
from broadcaster.ledger.errands import Due
from broadcaster.ledger.leases import Lease, LeaseLost
from broadcaster.outcome import LONG_PAUSE, PROVED, Happened, Met, Next, Tell, after, looked, tried
from broadcaster.record import Kind
from streams import aftercare
from streams.aftercare import Done
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

#: The seconds in which a channel takes as many posts as its pace says.
PACE_SECONDS = 60

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
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder` tells this process from others that want the same channels.

        `steady`: seconds of a clock that nobody sets, by which the ledger's is judged.
        """
        self._ledger = ledger
        self._clock = clock
        self._holder = holder
        self._watch = Watch(steady)
        self._work = asyncio.Event()
        self._closes = Batch(self._close)
        self._found = Batch(self._find_out)
        self._cared = Batch(self._note_errands)
        self._lanes = {
            name: _Lane(
                adapter,
                incident_url,
                self._closes,
                self._found,
                self._cared,
                self._work.set,
                self._renew,
                self._let_go,
            )
            for name, adapter in adapters.items()
        }
        self._called: asyncio.Future[None] | None = None  #: done after the next look
        self._ending = False
        self._wanted: frozenset[str] = frozenset()
        self._lease_at = 0.0  #: when leases are taken and renewed next, by the loop's clock
        self._next_look: datetime | None = None  #: when a post is due though nobody calls
        self._failing: set[str] = set()  #: posts that could not be tried: they go last
        #: Channels on which nothing waits any more that a clock which was ahead has planned.
        self._caught_up: set[str] = set()

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

    async def exchange(self, name: str, adapter: AnyAdapter) -> None:
        """Goes on by another account of the same channel; what is being sent by the one before
        ends by it. If it was paused for want of a credential, it goes on, too.
        """
        lane = self._lanes[name]
        lane.exchange(adapter)
        if lane.lease:  # else whoever has it does
            await self._ledger.write(partial(_let_go_on, name=name))
            self._work.set()

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
        taken = await self._ledger.write(partial(_take, names=lanes, holder=self._holder))
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
        sent = [held[each.post.channel].sent(each, tried(InDoubt(why)))
                for each in left
                if not held[each.post.channel].sends(each.post.id)]  # fmt: skip
        if sent:  # it was not the channel that failed
            await self._ledger.write(partial(_note_ends, several=sent, fares=False))

    async def _send_due(self) -> None:
        """Opens what is due on all lanes, as far as they have room, and has them send it."""
        lanes = self._held()
        if not lanes:
            return
        asks = [lane.ask() for lane in lanes.values()]
        began = asyncio.get_running_loop().time()
        opened = await self._ledger.write(
            partial(_open_due, asks=asks, last=self._failing, watch=self._watch,
                    behind=lanes.keys() - self._caught_up),
            urgent=True,
        )  # fmt: skip
        self._caught_up = set() if opened.held else set(lanes)
        self._watch.believe(opened.read)
        outcomes, doubtful, self._next_look = opened.outcomes, opened.doubtful, opened.next_look
        for each in doubtful:
            lanes[each.opened.post.channel].look_for(each)
        for due in opened.errands:
            lanes[due.opened.post.channel].care_for(due)
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

    async def _find_out(self, several: Sequence[_Looked]) -> Sequence[bool | Exception]:
        return await self._ledger.write(partial(_note_looks, several=several))

    async def _note_errands(self, several: Sequence[Done]) -> Sequence[bool | Exception]:
        return await self._ledger.write(partial(aftercare.note, several=several))

    async def _renew(self, lease: Lease) -> None:
        with contextlib.suppress(LedgerAway):
            await self._ledger.write(lambda tx: leases.renew(tx, lease, LASTS))

    async def _let_go(self, lease: Lease) -> None:
        with contextlib.suppress(LedgerAway):
            await self._ledger.write(lambda tx: leases.let_go(tx, lease))


@dataclass(frozen=True)
class _Ask:
    """What a lane can take."""

    channel: AnyChannel
    lease: Lease
    lasts: timedelta
    under_way: int  #: sends
    looks: int  #: for posts in doubt
    pace: int  #: how many sends its pace leaves room for
    served: Mapping[str, int]  #: incidents that had their turn, the last one with the highest


@dataclass(frozen=True)
class _Sent:
    """An attempt and how it ended."""

    opened: Opened
    lease: Lease
    happened: Happened
    channel: AnyChannel


@dataclass(frozen=True)
class _Looked:
    """A look for a post in doubt, and how it ended."""

    look: Look
    happened: Happened
    channel: AnyChannel


@dataclass(frozen=True)
class _Begun:
    """What came of one look into the ledger."""

    outcomes: Mapping[str, Outcome]
    doubtful: Sequence[Look]  #: to be begun
    errands: Sequence[Due]  #: to be done
    next_look: datetime | None
    read: Reading  #: of the ledger's clock
    held: bool = False  #: nothing begins before somebody has said that the clock is right


class _Lane:
    """One channel's way out, while this process has its lease."""

    def __init__(
        self,
        adapter: AnyAdapter,
        incident_url: Callable[[str], str],
        closes: Batch[_Sent, bool],
        found: Batch[_Looked, bool],
        cared: Batch[Done, bool],
        ended: Callable[[], None],
        renew: Callable[[Lease], Coroutine[Any, Any, None]],
        let_go: Callable[[Lease], Coroutine[Any, Any, None]],
    ) -> None:
        self.lease: Lease | None = None
        self._noting: set[str] = set()  #: posts whose send has ended, and that is to be noted
        self._adapter = adapter
        self._incident_url = incident_url
        self._closes = closes
        self._found = found
        self._cared = cared
        self._ended = ended
        self._renew = renew
        self._let_go = let_go
        self._sending: set[asyncio.Task[None]] = set()
        self._until: dict[str, float] = {}  #: by when what is being sent ends, by the loop's time
        self._looking: set[asyncio.Task[None]] = set()
        self._pace = _limiter(adapter.channel)
        self._served: dict[str, int] = {}
        self._turns = itertools.count(1)
        self._leaving: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()  #: adapters whose last sends end

    def exchange(self, adapter: AnyAdapter) -> None:
        """Sends by another adapter of this channel from now on."""
        before, self._adapter = self._adapter, adapter
        task = asyncio.create_task(_end(before, {*self._sending, *self._looking}))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

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
        for look in self._looking:  # whoever has the channel next looks again
            look.cancel()
        if ending := {*self._ending, *([self._leaving] if self._leaving else [])}:
            await asyncio.wait(ending, timeout=1)
        await self._adapter.close()

    def ask(self) -> _Ask:
        assert self.lease, "only a lane that is held is asked"
        room = SIDE_BY_SIDE
        while self._pace and room and not self._pace.has_capacity(room):
            room -= 1
        return _Ask(
            self._adapter.channel, self.lease, self._adapter.channel.deadline + MARGIN,
            under_way=len(self._sending), looks=len(self._looking), pace=room,
            served=self._served,
        )  # fmt: skip

    def send(self, opened: Opened, began: float) -> None:
        """Begins a send; posts of one incident come one after the other, from the ledger.

        It ends within the channel's deadline after `began`, the loop's time before it was opened:
        so before the time that the ledger noted, however long this process then stood still.
        """
        assert self.lease, "it was opened on it"
        lasts = self._adapter.channel.time_for(opened.rendering.pictures)
        until = began + lasts.total_seconds()
        task = asyncio.create_task(self._send(opened, self.lease, until))
        self._sending.add(task)
        self._served[opened.post.incident_id] = next(self._turns)
        self._until[opened.post.id] = until
        task.add_done_callback(lambda _: self._until.pop(opened.post.id, None))
        task.add_done_callback(self._done)

    def sends(self, post_id: str) -> bool:
        """Whether it still sends a post, or notes how that ended, whatever the wall clock says."""
        until = self._until.get(post_id, -math.inf) + MARGIN.total_seconds()
        return post_id in self._noting or asyncio.get_running_loop().time() < until

    def look_for(self, look: Look) -> None:
        """Begins to look for a post in doubt."""
        self._begin_look(self._look_for(look))

    def care_for(self, due: Due) -> None:
        """Begins an errand."""
        self._begin_look(self._care_for(due))

    def _begin_look(self, look: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(look)
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)
        task.add_done_callback(noticed)

    def sent(self, opened: Opened, happened: Happened) -> _Sent:
        assert self.lease, "only a lane that is held ends attempts"
        return _Sent(opened, self.lease, happened, self._adapter.channel)

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
        if self._pace:
            await self._pace.acquire()
        failpoint.reach("before_send", (self._channel,))
        happened = await self._try(message, opened.edits, until)
        failpoint.reach("after_send", (self._channel,))
        await self._note(_Sent(opened, lease, happened, self._adapter.channel))

    async def _look_for(self, look: Look) -> None:
        message = _message(look.opened, self._adapter, self._incident_url)
        happened = await self._find(message, look.opened.edits)
        with contextlib.suppress(LedgerAway, LeaseLost):  # then it is looked for again
            await self._found(_Looked(look, happened, self._adapter.channel))
        self._ended()

    async def _care_for(self, due: Due) -> None:
        done = await aftercare.do(self._adapter, due)
        with contextlib.suppress(LedgerAway, LeaseLost):  # then it is done again
            await self._cared(done)
        self._ended()

    async def _find(self, message: Message[Any], edits: Receipt | None) -> Happened:
        """One look, at the place of others where the words were put there. What the adapter raises
        unasked tells nothing."""
        try:
            async with asyncio.timeout(self._adapter.channel.deadline.total_seconds()):
                if edits is not None:
                    seen = await self._adapter.read(edits)
                    there = seen is not None and as_approved(seen, message.rendering)
                    return looked(edits if there else None)
                return looked(await self._adapter.find(message))
        except (TryLater, Unsupported) as said:
            return looked(said)
        except TimeoutError:
            return looked(TryLater("The channel did not say in time whether it is there."))
        except Exception as problem:
            log.exception("an adapter failed", channel=self._channel)
            return looked(TryLater(f"The look broke off ({type(problem).__name__})."))

    async def _note(self, sent: _Sent) -> None:
        """Notes how an attempt ended; no receipt is lost to a ledger that is away."""
        self._noting.add(sent.opened.post.id)
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(LedgerAway),
                wait=wait_random_exponential(multiplier=0.1, max=1),
            ):
                with attempt:
                    await asyncio.shield(self._closes(sent))
        finally:
            self._noting.discard(sent.opened.post.id)

    async def _try(
        self, message: Message[Any], edits: Receipt | None, until: float
    ) -> Happened:  # fmt: skip
        """One call of the adapter, which puts the words in the place of others, where those stand.
        Whatever it raises unasked, the send is then in doubt."""
        if asyncio.get_running_loop().time() >= until:  # another may have the channel by now
            return tried(TryLater("Its time to be sent went by. Nothing was sent."))
        try:
            async with asyncio.timeout_at(until):
                if edits is not None:
                    return tried(await self._adapter.edit(message, edits))
                return tried(await self._adapter.send(message))
        except NotThere:
            return tried(NotThere("What it puts right is there no more, so it is posted alone."))
        except Unsupported as said:
            return tried(Refused(str(said)))
        except (TryLater, Refused, InDoubt) as said:
            return tried(said)
        except TimeoutError:
            return tried(InDoubt("The channel gave no answer in time."))
        except asyncio.CancelledError:
            return tried(InDoubt("The program was ended while it was sending."))
        except Exception as problem:
            log.exception("an adapter failed", channel=self._channel)
            return tried(InDoubt(f"The send broke off ({type(problem).__name__})."))

    async def _end_sends(self, lease: Lease) -> None:
        """Keeps the lease until what is being sent has ended, within the channel's deadline."""
        while self._sending:
            await asyncio.wait(self._sending, timeout=RENEW_EVERY.total_seconds())
            await self._renew(lease)
        await self._let_go(lease)


async def _end(adapter: AnyAdapter, uses: Collection[asyncio.Task[None]]) -> None:
    """Closes an adapter once nothing uses it any more."""
    if uses:
        await asyncio.wait(uses)
    await adapter.close()


def _message(
    opened: Opened, adapter: AnyAdapter, incident_url: Callable[[str], str]
) -> Message[Any]:
    revision, post, rendering = opened.revision, opened.post, opened.rendering
    return Message(
        post_id=post.id, world=adapter.channel.world, incident_public_id=opened.public_id,
        incident_url=incident_url(opened.public_id), number=revision.number,
        kind=str(revision.kind), rendering=rendering,
        files={each.digest: opened.files[each.digest] for each in rendering.pictures
               if each.digest in opened.files},
        released_at=post.released_at, expires_at=revision.expires_at,
    )  # fmt: skip


def _limiter(channel: AnyChannel) -> AsyncLimiter | None:
    return AsyncLimiter(channel.pace, PACE_SECONDS) if channel.pace else None


# --- The transactions -------------------------------------------------------------------------


def _take(tx: Tx, names: Collection[str], holder: str) -> dict[str, Lease]:
    channels.know(tx, [name.removeprefix("channel:") for name in names])
    return leases.take(tx, names, holder, LASTS)


def _let_go_on(tx: Tx, name: str) -> None:
    """Lets a channel go on that was paused because it did not know our credential."""
    if (kept := channels.several(tx, [name]).get(name)) and kept.paused_by == ACTOR:
        channels.go_on(tx, name)
        tx.trace = None
        tx.record(Kind.CHANNEL_RESUMED, actor=ACTOR, channel=name)


def _open_due(
    tx: Tx, asks: Collection[_Ask], last: Collection[str],
    watch: Watch, behind: Collection[str] = (),
) -> _Begun:  # fmt: skip
    """Notes the attempts of what is due, or what becomes of it instead.

    `last`: posts that are tried where the others leave room. `watch`: of the ledger's clock; after
    a step of it nothing begins before somebody has looked. `behind`: channels on which a clock
    that was ahead may have left something for later.
    """
    by_channel = {ask.channel.name: ask for ask in asks}
    fares = channels.several(tx, by_channel)
    if behind:
        clocks.catch_up(tx, behind)
    dues = posts.first_due(tx, by_channel)
    read = watch.read(tx.clock)
    now = read.wall
    if by := watch.set_by(read):
        if clocks.stepped(tx, by):
            _call_about_the_clock(tx, by)
        tx.record(Kind.CLOCK_STEPPED, actor=ACTOR, seconds=round(by.total_seconds(), 1))
    if clocks.unconfirmed(tx):
        return _Begun({}, (), (), None, read, held=True)
    room = {name: _room(ask, fares[name], now) for name, ask in by_channel.items()}
    wanted = []
    for due in sorted(dues.to_try, key=lambda due: _turn(due, by_channel[due.channel], last)):
        if room[due.channel] > 0:
            room[due.channel] -= 1
            ask = by_channel[due.channel]
            wanted.append(Wanted(due.id, ask.lease, ask.lasts, ask.channel, due.passes))
    outcomes = attempts.open_(tx, wanted)
    for outcome in outcomes.values():
        if isinstance(outcome, Opened):
            tx.trace = outcome.post.trace
            tx.record(Kind.ATTEMPT_STARTED, actor=ACTOR, incident_id=outcome.post.incident_id,
                      post_id=outcome.post.id, channel=outcome.post.channel,
                      attempt=outcome.number, digest=outcome.digest)  # fmt: skip
        elif isinstance(outcome, Ended):
            note_end(tx, outcome.post, outcome.public_id, outcome.then, actor=ACTOR)
    doubtful = _to_look_for(tx, by_channel, fares, dues.to_look_for, now)
    owed, next_errand = _errands(tx, by_channel, fares, now)
    waits = {due.channel for due in (*dues.to_try, *dues.to_look_for)}
    opens = [fares[name].breaker.again_at for name in waits]
    opens += [now + timedelta(seconds=PACE_SECONDS) / (ask.channel.pace or 1)
              for name, ask in by_channel.items() if name in waits and not ask.pace]  # fmt: skip
    later = [at for at in (dues.next_look, next_errand, *opens) if at and at > now]
    return _Begun(outcomes, doubtful, owed, min(later, default=None), read)


def _call_about_the_clock(tx: Tx, by: timedelta) -> None:
    """Has the Chief or designee and the Watch Commander called: nothing is sent meanwhile."""
    problems.note(tx, problems.Place(source="clock"), Refusal(
        calls.CLOCK_SET, f"The clock was set by {by.total_seconds():+,.0f} s. Nothing is sent.",
        "Compare it with another, set it right, and press The clock is right on any page.",
    ))  # fmt: skip
    tx.changed("calls")


def _room(ask: _Ask, fare: channels.Kept, now: datetime) -> int:
    """How many sends may begin on a channel."""
    if fare.paused_by:
        return 0
    return min(fare.breaker.room(SIDE_BY_SIDE, now=now) - ask.under_way, ask.pace)


def _turn(due: posts.Due, ask: _Ask, last: Collection[str]) -> tuple[bool, bool, int]:
    """Who goes first: what is urgent, then whose incident has waited longest for its turn."""
    return due.id in last, not due.urgent, ask.served.get(due.incident_id, 0)


def _to_look_for(
    tx: Tx, asks: Mapping[str, _Ask], fares: Mapping[str, channels.Kept],
    due: Sequence[posts.Due], now: datetime,
) -> list[Look]:  # fmt: skip
    """What is in doubt and may be looked for now, as far as there is room for looks."""
    wanted: list[Wanted] = []
    for name, ask in asks.items():
        room = fares[name].breaker.room(SIDE_BY_SIDE, now=now) - ask.looks
        mine = [each.id for each in due if each.channel == name][: max(room, 0)]
        wanted += [Wanted(post_id, ask.lease, ask.lasts, ask.channel) for post_id in mine]
    return attempts.to_look_for(tx, wanted) if wanted else []


def _errands(
    tx: Tx, asks: Mapping[str, _Ask], fares: Mapping[str, channels.Kept], now: datetime
) -> tuple[Sequence[Due], datetime | None]:
    """What is owed to posts that are there, as far as there is room for looks."""
    rooms = [
        errands.Room(
            name, ask.lease, max(fares[name].breaker.room(SIDE_BY_SIDE, now=now) - ask.looks, 0),
            ask.lasts,
        )
        for name, ask in asks.items()
        if aftercare.cares(ask.channel) and not fares[name].paused_by
    ]  # fmt: skip
    return errands.due(tx, rooms) if rooms else ((), None)


def _note_ends(
    tx: Tx, several: Sequence[_Sent], *, fares: bool = True
) -> Sequence[bool | Exception]:  # fmt: skip
    """Notes how attempts ended, what becomes of their posts, and how their channels fare."""
    unproved = {each.opened.post.id: each.channel for each in several if not each.happened.receipt}
    tried_so_far = attempts.trials(tx, unproved, ending=True) if unproved else {}

    def then(sent: _Sent) -> Next:
        trial = tried_so_far.get(sent.opened.post.id)
        return after(PostState.SENDING, sent.happened, trial, now=tx.now) if trial else PROVED

    closings = [
        Closing(each.opened, each.lease, _OUTCOMES[each.happened.met], then(each),
                each.happened.receipt)
        for each in several
    ]  # fmt: skip
    news = attempts.close(tx, closings)
    for closing, is_news in zip(closings, news, strict=True):
        if is_news is True:
            opened = closing.opened
            note_end(tx, opened.post, opened.public_id, closing.then, closing.receipt,
                     actor=ACTOR)  # fmt: skip
    for each, is_news in zip(several, news, strict=True):
        if is_news is True:
            _care(tx, each.channel, each.opened, each.happened)
    if fares:
        _note_fares(tx, [(each.channel, each.happened)
                         for each, is_news in zip(several, news, strict=True)
                         if not isinstance(is_news, LeaseLost)])  # fmt: skip
    return news


def _note_looks(tx: Tx, several: Sequence[_Looked]) -> Sequence[bool | Exception]:
    """Notes how looks ended, and what becomes of their posts."""
    known = {each.look.opened.post.id: each.channel for each in several}
    tried_so_far = attempts.trials(tx, known, ending=False)
    news: list[bool | Exception] = []
    for each in several:
        opened, receipt = each.look.opened, each.happened.receipt
        then = after(PostState.IN_DOUBT, each.happened, tried_so_far[opened.post.id], now=tx.now,
                     began=each.look.began)  # fmt: skip
        is_news = attempts.found_out(tx, each.look, then, receipt)
        if is_news is True and not (then.state is PostState.IN_DOUBT and then.next_look):
            note_end(tx, opened.post, opened.public_id, then, receipt, actor=ACTOR)
            _care(tx, each.channel, opened, each.happened)
        news.append(is_news)
    _note_fares(tx, [(each.channel, each.happened)
                     for each, is_news in zip(several, news, strict=True)
                     if each.happened.met is not Met.TIME_UP
                     and not isinstance(is_news, LeaseLost)])  # fmt: skip
    return news


def _care(tx: Tx, channel: AnyChannel, opened: Opened, happened: Happened) -> None:
    """Notes what is owed now that a post is there, or that what it was to change is not."""
    if happened.met is Met.GONE:
        aftercare.gone(tx, opened, "It was there no more when it was to be put right.")
    elif happened.receipt:
        aftercare.posted(tx, channel, opened)


def _note_fares(tx: Tx, several: Sequence[tuple[AnyChannel, Happened]]) -> None:
    """Notes how channels fare after tries and looks; on the record where one begins to fail."""
    before = channels.locked(tx, {channel.name for channel, _ in several})
    now = {name: kept.breaker for name, kept in before.items()}
    for channel, happened in several:
        now[channel.name] = now[channel.name].after(happened, now=tx.now)
    moved = {name: fare for name, fare in now.items() if fare != before[name].breaker}
    proved = {channel.name for channel, happened in several if happened.receipt}
    channels.fare(tx, moved, proved)
    _park(tx, before, several)
    _tell_of_pauses(tx, before, several)
    for name, fare in moved.items():
        if fare.open != before[name].breaker.open:
            kind = Kind.CHANNEL_FAILING if fare.open else Kind.CHANNEL_RECOVERED
            tx.trace = None
            tx.record(kind, actor=ACTOR, channel=name, private={"why": fare.why})


def _park(
    tx: Tx, before: Mapping[str, channels.Kept], several: Sequence[tuple[AnyChannel, Happened]]
) -> None:  # fmt: skip
    """Pauses channels that do not know our credential: each further try would only be counted
    against us. The others go on; what waits here goes out once a person lets the channel go on.
    """
    locked_out = {
        channel: happened.why or ""
        for channel, happened in several
        if happened.met is Met.LOCKED_OUT and not before[channel.name].paused_by
    }
    if locked_out:
        tx.changed("calls")  # the Chief or designee is told
    for channel, why in locked_out.items():
        channels.pause(tx, channel.name, channels.ITSELF, why)
        tx.trace = None
        tx.record(Kind.CHANNEL_PAUSED, actor=ACTOR, channel=channel.name, tell=Tell.OPERATOR,
                  private={"reason": why})  # fmt: skip
        problems.note(tx, problems.Place(source=f"channel {channel.name}"), Refusal(
            calls.CREDENTIAL_DEAD, f"{channel.title} is paused: {why}",
            f"`broadcaster channel change {channel.name}` takes a new one, and what waits goes "
            "out. For a channel of the settings: put it there, start its worker again, and press "
            "Try now on the channels' page.",
        ))  # fmt: skip


def _tell_of_pauses(
    tx: Tx, before: Mapping[str, channels.Kept], several: Sequence[tuple[AnyChannel, Happened]]
) -> None:  # fmt: skip
    """Asks a person, once, about a channel that wants to be left alone for long."""
    pauses = {
        channel: happened.pause
        for channel, happened in several
        if happened.pause and happened.pause > LONG_PAUSE
    }
    for channel, pause in pauses.items():
        again_at = before[channel.name].breaker.again_at
        if again_at is None or again_at <= tx.now:
            minutes = pause // timedelta(minutes=1)
            problems.note(tx, problems.Place(source=f"channel {channel.name}"), Refusal(
                "long_pause", f"{channel.title} asks to be left alone for {minutes} minutes.",
                "Say what matters on other channels meanwhile; ask whoever runs this one for more.",
            ))  # fmt: skip


#: How an attempt's end is called in the ledger.
_OUTCOMES = {
    Met.PROVED: "receipt",
    Met.UNSENT: TryLater.__name__,
    Met.GONE: NotThere.__name__,
    Met.REFUSED: Refused.__name__,
    Met.LOCKED_OUT: LockedOut.__name__,
    Met.UNKNOWN: InDoubt.__name__,
}
