"""Keeps the streams running: starts them when broker and ledger are there, again and again.

Ledger away, broker away, a wedged step: each ends the streams, never the desk beside them. What
was not acknowledged comes again; what the broker forgot is called again from the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from typing import Any

import structlog
from tenacity import wait_random_exponential

from broadcaster.channel import AnyChannel
from broadcaster.clock import Clock
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.ledger import (
    Ledger,
    Tx,
    accounts,
    approvals,
    chain,
    incidents,
    outbox,
    posts,
    reports,
)
from broadcaster.outcome import pause
from broadcaster.trace import traceparent
from broadcaster.world import World
from streams import making, sweep, topics
from streams.app import BrokerLost, OnPoison, Step, Streams
from streams.broker import Broker
from streams.deliver import Deliver
from streams.errors import BrokerAway
from streams.lease import while_held
from streams.notify import Notify
from streams.relay import Away, OutboxRow, Relay
from streams.together import together
from streams.woken import Woken

log = structlog.get_logger(__name__)

#: How long a fetch waits at the embedded broker: while there is something to hurry for, and else.
#: A fetch that waits does not wake when a message comes, so it bounds each hop's delay.
QUICK_MS = 20
IDLE_MS = 1500

_BACK_OFF = wait_random_exponential(multiplier=0.2, max=10)


#: The steps that messages wake, in the order of the flow.
STEPS = ("intake", "compile", "notify", "gate", "deliver")


#: A ledger that was away longer than the first has kept people from stopping what goes out. So
#: deliver gives them the second, in seconds, once it is back: their desks send what they pressed.
LONG_AWAY, STOPS_FIRST = 3.0, 10.0


class Unclean(Exception):
    """Something of the streams could not be ended; the process should end, and start anew."""


class Flowing:
    """The streams of one process, and how they are."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        world: World,
        channels: Sequence[AnyChannel],
        steps: Sequence[Step],
        on_poison: OnPoison,
        deliver: Callable[[], Deliver],
        notify: Callable[[], Notify],
        prove: Callable[[], Coroutine[Any, Any, None]],
        clock: Clock,
        *,
        relays: bool = True,
        group: str = "broadcaster",
        sweep_seconds: float,
        watchdog_seconds: float,
    ) -> None:
        """`relays`: whether relay, sweep and sealer run here; `group`: the consumer group."""
        self._relays = relays
        self._group = group
        self.restarts = 0
        self._still: Away | None = Away(clock.now(), "They are starting.")
        self._unclean = False
        self._ledger_away: float | None = None  #: since when, by the monotonic clock
        self._outbox = _Outbox(ledger)
        self.streams: Streams | None = None
        self.relay: Relay | None = None
        self.deliver: Deliver | None = None  #: outlives the streams: it may be sending
        self.notify: Notify | None = None
        self._ledger = ledger
        self._broker = broker
        self._world = world
        self._channels = tuple(channels)
        self._names = [channel.name for channel in channels]
        self._topics = topics.full_names(world, self._names)
        self.steps = tuple(steps)
        self._on_poison = on_poison
        self._make_deliver = deliver
        self._make_notify = notify
        self._prove = prove
        self._clock = clock
        self._sweep_seconds = sweep_seconds
        self._watchdog_seconds = watchdog_seconds

    @property
    def away(self) -> Away | None:
        """Since when nothing moves on, and why, in words; None while the streams run."""
        return self._still or (self.relay.away if self.relay else None)

    async def run(self) -> None:
        """Until cancelled. Raises Unclean where a part could not be ended."""
        try:
            await self._again_and_again()
        finally:
            if self.deliver is not None:
                await self.deliver.close()
            if self.notify is not None:
                await self.notify.close()

    async def _again_and_again(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._once()
                why = "They ended."
            except (Refusal, OSError, BrokerLost) as problem:
                why = _in_words(problem)
                if isinstance(problem, LedgerAway) and self._ledger_away is None:
                    self._ledger_away = time.monotonic()
            except Exception as problem:
                log.exception("the streams ended")
                why = f"Something in them failed ({type(problem).__name__}); the log says what."
            if self._unclean:
                raise Unclean(why)
            failures = 0 if time.monotonic() - began > 30 else failures + 1
            self._stand_still(why)
            log.warning("streams stand still", why=why)
            await asyncio.sleep(pause(_BACK_OFF, failures).total_seconds())
            self.restarts += 1

    def _stand_still(self, why: str) -> None:
        self._still = Away(self._still.since if self._still else self._clock.now(), why)

    async def _once(self) -> None:
        """One life of the streams: from the broker's first answer to the first thing that ends."""
        broker = self._broker
        await making.ready(broker, self._topics, deadline=5)
        if broker.embedded:
            await self._ledger.write(sweep.forget)
        streams = Streams(
            broker, self._group, self.steps, self._on_poison, fetch_wait_ms=QUICK_MS
        ) if self.steps else None  # fmt: skip
        if self._relays:
            self.relay = Relay(self._outbox, broker, self._clock)
        if any(step.name == "deliver" for step in self.steps):
            self.deliver = self.deliver or self._make_deliver()
        if any(step.name == "notify" for step in self.steps):
            self.notify = self.notify or self._make_notify()
        self.streams = streams
        try:
            if streams is not None:
                await streams.start()
            self._still = None
            log.info("streams run", broker=broker.bootstrap, group=self._group)
            await together(*self._parts())
        finally:
            self.streams = self.relay = None
            if streams is not None:
                self._unclean = not await asyncio.shield(streams.stop())

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside each other while the streams do."""
        parts: list[Coroutine[Any, Any, None]] = []
        if self.streams is not None:
            parts += [
                self._pace(self.streams), self._watch(self.streams), _until_ended(self.streams),
            ]  # fmt: skip
        if self.relay is not None:
            parts.append(self._lead(self.relay))
        if self.deliver is not None:
            parts.append(self._deliver(self.deliver))
        if self.notify is not None:
            parts.append(self._call(self.notify))
        if any(step.name == "gate" for step in self.steps):
            parts.append(self._prove())
        return parts

    def _hold_unknown(self, tx: Tx) -> None:
        """Those of a channel that was added since this process began are another's to send."""
        added = (each.name for each in accounts.standing(tx))
        posts.hold_unknown(tx, [*self._names, *added])

    def _mine(self) -> frozenset[str]:
        """The channels whose posts come to this process."""
        prefix = topics.full_name(self._world, topics.POSTS, "")
        assigned = self.streams.assigned() if self.streams else ()
        return frozenset(name.removeprefix(prefix) for name in assigned if name.startswith(prefix))

    async def _deliver(self, deliver: Deliver) -> None:
        """Sends; after a long outage of the ledger stops go first."""
        since, self._ledger_away = self._ledger_away, None
        if since is not None and time.monotonic() - since > LONG_AWAY:
            log.info("stops go first", seconds=STOPS_FIRST)
            await asyncio.sleep(STOPS_FIRST)
        await together(deliver.run(self._mine), self._hold_what_nobody_sends())

    async def _hold_what_nobody_sends(self) -> None:
        """Approved before its channel was taken away, and released after it."""
        while True:
            await self._ledger.write(self._hold_unknown)
            await asyncio.sleep(self._sweep_seconds)

    async def _call(self, notify: Notify) -> None:
        """Calls people: one process at a time, by lease where there may be several."""
        if self._ledger.alone:
            await notify.run()
        else:
            await while_held(self._ledger, "notify", notify.run)

    async def _lead(self, relay: Relay) -> None:
        """Relay, sweep and sealer: one process at a time, by lease where there may be several."""
        if self._ledger.alone:
            await together(relay.run(), self._sweep())
            return
        await while_held(self._ledger, "relay", relay.run, self._sweep, self._seal)

    async def _seal(self) -> None:
        """Numbers and chains what the steps left, at most 50 ms behind them."""
        recorded = Woken(self._ledger, "record")
        try:
            while True:
                sealed = await self._ledger.write(lambda tx: chain.seal_waiting(tx.connection))
                if sealed < chain.AT_ONCE:
                    await recorded.wait(1)
                    await asyncio.sleep(0.05)
        finally:
            recorded.forget()

    async def _sweep(self) -> None:
        while True:
            swept = await self._ledger.write(lambda tx: sweep.sweep(tx, self._channels))
            await asyncio.sleep(0.05 if swept.more else self._sweep_seconds)

    async def _pace(self, streams: Streams) -> None:
        """Short fetch waits while an incident is open or work waits; long ones else."""
        if not self._broker.embedded:
            return
        changed = Woken(self._ledger, "board", "outbox")
        try:
            while True:
                hurry = await self._ledger.read(_hurry)
                streams.set_fetch_wait(QUICK_MS if hurry else IDLE_MS)
                await changed.wait(self._sweep_seconds)
                await asyncio.sleep(0.5 if hurry else 0)
        finally:
            changed.forget()

    async def _watch(self, streams: Streams) -> None:
        """Ends streams that are wedged: work waits, broker and ledger are there, nothing moves.

        Waiting for a broker or a ledger is not being wedged.
        """
        moved, last = time.monotonic(), _done(streams)
        while True:
            await asyncio.sleep(min(5.0, self._watchdog_seconds / 3))
            if why := streams.stuck(self._watchdog_seconds):
                raise BrokerAway(self._broker.bootstrap, f"the streams are wedged: {why}")
            work = await self._waiting_for(streams)
            if _done(streams) != last or not work:
                moved, last = time.monotonic(), _done(streams)
            elif time.monotonic() - moved > self._watchdog_seconds:
                raise BrokerAway(
                    self._broker.bootstrap,
                    f"work waits ({work}), and nothing moved for {self._watchdog_seconds:.0f} s",
                )

    async def _waiting_for(self, streams: Streams) -> int:
        """What these streams could do now: 0 where nothing waits, or the broker is away."""
        if not self._broker.embedded:
            return await streams.behind()
        # The embedded broker tells wrong ends of its topics; all steps and the relay are here.
        if self.relay is None or self.relay.away is not None:
            return 0
        return await self._ledger.read(_work_for_steps)


def _in_words(problem: Exception) -> str:
    """Why they ended; where a person must mend it, also what to do."""
    if not isinstance(problem, Refusal):
        return str(problem)
    return str(problem) if problem.kind is Kind.FORBIDDEN else problem.why


async def _until_ended(streams: Streams) -> None:
    reason = await asyncio.shield(streams.ended)
    if reason is not None:
        raise reason


def _done(streams: Streams) -> int:
    return sum(at.acked for at in streams.progress)


def _hurry(tx: Tx) -> bool:
    return incidents.any_open(tx) or _work(tx) > 0


def _work_for_steps(tx: Tx) -> int:
    """Work that a message wakes: what deliver waits for by itself is not among it."""
    return reports.waiting(tx) + approvals.waiting_for_gate(tx)


def _work(tx: Tx) -> int:
    return _work_for_steps(tx) + posts.waiting(tx) + outbox.waiting(tx)[0]


def _headers(message_id: str, trace: str | None) -> Iterator[tuple[str, bytes]]:
    yield "message-id", message_id.encode()
    if trace is not None:
        yield "traceparent", traceparent(trace, message_id).encode()


class _Outbox:
    """The relay's port to the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._woken = Woken(ledger, "outbox")

    async def unsent(self, limit: int, without: Collection[str] = ()) -> Sequence[OutboxRow]:
        rows = await self._ledger.read(lambda tx: outbox.unsent(tx, limit, without))
        return [
            OutboxRow(row.id, row.topic, row.key.encode(), row.value,
                      tuple(_headers(row.message_id, row.trace)), row.trace)
            for row in rows
        ]  # fmt: skip

    async def sent(self, ids: Sequence[int]) -> None:
        await self._ledger.write(lambda tx: outbox.sent(tx, ids))

    async def refused(self, id: int, reason: str) -> None:
        await self._ledger.write(lambda tx: outbox.refused(tx, id, reason))

    async def wait(self, timeout: float) -> None:
        await self._woken.wait(timeout)
