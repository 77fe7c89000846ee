"""From the ledger's outbox to Kafka: every message, in order per key, however often it takes.

At least once: a row is marked as sent after the broker acknowledged it, so what was on its way
when the broker or this process went away is sent again. Receivers tell doubles by their ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    InvalidMessageError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from broadcaster import failpoint
from broadcaster.clock import Clock, SystemClock
from streams.broker import Broker
from streams.door import in_words, refusal
from streams.errors import BrokerAway
from streams.within import noticed, within

log = structlog.get_logger(__name__)

#: Rows read, and messages on their way, at once.
BATCH = 500

#: Traces named in one line of the log, at most.
TRACES = 50

#: Seconds that the broker gets to acknowledge a message; then the producer is abandoned.
PATIENCE = 10.0

#: Seconds without an acknowledgement after which the pages are told that the broker is away.
SLOW = 1.0

#: Seconds that a message may keep those of other topics waiting.
TURN = 0.25

#: Seconds that the first message of several goes ahead of the others, at most.
HEAD_START = 0.02

#: Seconds for which a topic is left alone that took nothing within `PATIENCE`.
LEFT_ALONE = 2.0

#: Seconds without a new message after which what the broker has is marked.
QUIET = 0.05

#: Seconds after which the outbox is looked through though no commit woke us.
LOOK_EVERY = 1.0

#: Answers that are about the message, not about the broker: no waiting will change them. A broker
#: gives them for all the rows that it got in one request, whichever it means.
_REFUSED = (
    InvalidMessageError,
    InvalidTimestampError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)


class _RowRefused(Exception):
    """The broker, or its client, will never take this row; those beside it are not meant."""


@dataclass(frozen=True)
class OutboxRow:
    """A message that a transaction left."""

    id: int
    topic: str  #: with its world, as in `topics.full_name`
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    trace: str | None = None  #: what it belongs to, for the log


class Outbox(Protocol):
    """What the ledger keeps for us."""

    async def unsent(self, limit: int, without: Collection[str] = ()) -> Sequence[OutboxRow]:
        """The oldest rows that were not marked, by id; without those of some topics."""

    async def sent(self, ids: Sequence[int]) -> None:
        """Marks rows: the broker has them."""

    async def refused(self, id: int, reason: str) -> None:
        """Takes a row out of the way that the broker will never take, and makes it a problem."""

    async def wait(self, timeout: float) -> None:
        """Returns when a transaction left messages, or after so many seconds."""


@dataclass(frozen=True)
class Away:
    """Since when the broker has taken nothing, and why, in words."""

    since: datetime
    why: str


@dataclass(frozen=True)
class _Flight:
    """A row that was handed to the producer; what became of it is told by the broker."""

    row: OutboxRow
    began: float
    answer: asyncio.Future[object]

    @property
    def error(self) -> BaseException | None:
        """Why it did not land; None while it flies, too."""
        if not self.answer.done():
            return None
        return TimeoutError("given up") if self.answer.cancelled() else self.answer.exception()


_Failed = tuple[_Flight, BaseException]


class Relay:
    """Carries the outbox to one broker. One at a time may run on a ledger.

    A topic that takes nothing, as one whose partition has lost its leader, keeps back its own
    messages and no others.
    """

    def __init__(self, outbox: Outbox, broker: Broker, clock: Clock | None = None) -> None:
        self.away: Away | None = None  #: None: as far as we know the broker is there
        self.sent = 0  #: messages that the broker acknowledged
        self._outbox = outbox
        self._broker = broker
        self._clock = clock or SystemClock()
        self._producer: AIOKafkaProducer | None = None
        self._flying: list[_Flight] = []
        self._landed_at = 0.0  #: when the broker last acknowledged something
        self._unmarked: list[int] = []  #: rows that it has
        self._shut: dict[str, float] = {}  #: topics that took nothing, and until when

    async def run(self) -> None:
        """Runs until it is cancelled. Raises what the outbox raises, and `BrokerRefused`."""
        try:
            while True:
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception_type(BrokerAway),
                    wait=wait_random_exponential(multiplier=0.1, max=2.0),
                    before_sleep=self._note,
                ):
                    with attempt:
                        await self._carry()
                await self._rest()
        finally:
            self._flying = []  # nobody hears of these any more: they are handed over again
            await self._let_go()
            await within(1.0, self._mark())

    async def _carry(self) -> None:
        """Hands over what waits, and sees to what became of it, until nothing more waits."""
        while rows := await self._waiting():
            await self._hand_over(rows)
            await self._see_to_flights()
        await self._see_to_flights()

    async def _rest(self) -> None:
        """Until a transaction leaves messages, one that took long lands, or it is time to look.

        Marking waits for a quiet moment, so that it holds up no message.
        """
        pause = QUIET if self._unmarked else LOOK_EVERY
        until = _now() + pause
        woken = asyncio.ensure_future(self._outbox.wait(pause))
        either: set[asyncio.Future[Any]] = {woken, *(flight.answer for flight in self._flying)}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        if _now() >= until:
            await self._mark()

    async def _mark(self) -> None:
        if self._unmarked:
            marked, self._unmarked = self._unmarked, []
            await self._outbox.sent(marked)

    async def _waiting(self) -> list[OutboxRow]:
        """The oldest rows that the broker was not given yet, of topics that take any."""
        if len(self._unmarked) >= BATCH:
            await self._mark()
        now = _now()
        self._shut = {topic: until for topic, until in self._shut.items() if until > now}
        shut = {*self._shut, *(flight.row.topic for flight in self._flying)}
        rows = await self._outbox.unsent(BATCH + len(self._unmarked), shut)
        given = set(self._unmarked)
        return [row for row in rows if row.id not in given]

    async def _hand_over(self, rows: Sequence[OutboxRow]) -> None:
        """Gives rows to the producer; returns when all have landed, or one takes long.

        The first goes ahead: whom it wakes looks at all that is due, while the others follow.
        """
        failpoint.reach("before_publish", (row.topic for row in rows))
        producer = await self._connected()
        for row in rows:
            flight = await self._send(producer, row)
            self._flying.append(flight)
            if row is rows[0]:
                await asyncio.wait([flight.answer], timeout=HEAD_START)
            if flight.error:
                break
        await asyncio.wait([flight.answer for flight in self._flying], timeout=TURN)

    async def _send(self, producer: AIOKafkaProducer, row: OutboxRow) -> _Flight:
        topic, began = self._broker.named(row.topic), _now()
        try:
            async with asyncio.timeout(SLOW):
                answer: asyncio.Future[object] = await producer.send(
                    topic, key=row.key, value=row.value, headers=list(row.headers)
                )
        except _REFUSED as error:
            answer = _failed(_RowRefused(in_words(error)))
        except (KafkaError, TimeoutError) as error:
            answer = _failed(error)
        answer.add_done_callback(noticed)
        return _Flight(row, began, answer)

    async def _see_to_flights(self) -> None:
        """Notes what landed; sees to what failed, or has flown for too long."""
        landed, failed, self._flying = _sort(self._flying)
        failpoint.reach("after_publish", (flight.row.topic for flight in landed))
        if landed:
            self._landed_at, self.away = _now(), None
            self._unmarked += [flight.row.id for flight in landed]
            self.sent += len(landed)
            _say([flight.row for flight in landed])
        now = _now()
        late = TimeoutError(f"no acknowledgement within {PATIENCE:g} s")
        lost: list[_Failed] = [
            (flight, late) for flight in self._flying if flight.began + PATIENCE <= now
        ]
        for flight, error in failed:
            if isinstance(error, _RowRefused):
                await self._outbox.refused(flight.row.id, str(error))
            else:
                lost.append((flight, error))
        if lost:
            await self._start_anew(lost)
        elif self._flying and max(self._landed_at, self._flying[0].began) + SLOW <= now:
            self._note_away(f"The message broker has acknowledged nothing for {SLOW:g} s.")

    async def _start_anew(self, lost: Sequence[_Failed]) -> None:
        """Goes on with another producer: what an idempotent one counts has a hole now.

        What still flies is handed over again, too: that one may yet send it, or not.
        """
        self._flying = []
        await self._let_go()
        for flight, error in lost:
            if isinstance(error, _REFUSED):
                await self._go_alone(flight.row)
        stuck = [each for each in lost if not isinstance(each[1], _REFUSED)]
        if not stuck:
            return
        first, error = stuck[0]
        topics = {flight.row.topic for flight, _ in stuck}
        if self._landed_at < first.began:  # nobody gets through: is it the broker?
            told = await refusal(self._broker, error, {self._broker.named(t) for t in topics})
            if not isinstance(told, BrokerAway):
                raise told from error
            self._note_away(told.why)
        log.warning("topics take nothing", topics=sorted(topics), why=in_words(error))
        self._shut |= dict.fromkeys(topics, _now() + LEFT_ALONE)

    async def _go_alone(self, row: OutboxRow) -> None:
        """Shows whether it was this row that the broker meant when it refused several."""
        flight = await self._send(await self._connected(), row)
        await asyncio.wait([flight.answer], timeout=PATIENCE)
        if isinstance(flight.error, (*_REFUSED, _RowRefused)):
            await self._let_go()
            await self._outbox.refused(row.id, in_words(flight.error))
        else:
            self._flying.append(flight)

    async def _connected(self) -> AIOKafkaProducer:
        """The producer, started. Raises BrokerAway or BrokerRefused."""
        if self._producer is not None:
            return self._producer
        self._producer = producer = AIOKafkaProducer(
            **self._broker.client(),
            acks="all",
            enable_idempotence=not self._broker.embedded,  # that one cannot
            linger_ms=0,
            request_timeout_ms=int(PATIENCE * 1000),
        )
        slow = asyncio.get_running_loop().call_later(
            SLOW, self._note_away, f"The message broker has not answered for {SLOW:g} s."
        )
        starting = asyncio.ensure_future(producer.start())
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cut off while it asks for the first time, it would leave that connection open.
            await asyncio.wait({starting}, timeout=0.5)
            raise
        except (KafkaError, OSError, TimeoutError) as error:
            await self._let_go()
            raise await refusal(self._broker, error) from error
        finally:
            slow.cancel()
            starting.add_done_callback(noticed)
            starting.cancel()
        return producer

    async def _let_go(self) -> None:
        """Abandons the producer: one whose broker is away cannot be stopped, and an idempotent
        one would still send, when it comes back, what we have sent another way by then."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer._closed = True  # or it warns when it is collected
        if producer._sender.sender_task is not None:
            producer._sender.sender_task.cancel()
        producer.client._conns = _Closed(producer.client._conns)
        await within(0.5, producer.client.close())

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._note_away(error.why if isinstance(error, BrokerAway) else str(error))

    def _note_away(self, why: str) -> None:
        if self.away is None:
            log.warning("the broker is away", broker=self._broker.bootstrap, why=why)
        self.away = Away(self.away.since if self.away else self._clock.now(), why)


class _Closed(dict[object, AIOKafkaConnection]):
    """The connections of a client that is left: one that it was still making is closed on arrival,
    before the request that it was made for can go out."""

    def __setitem__(self, key: object, connection: AIOKafkaConnection) -> None:
        connection.close()
        super().__setitem__(key, connection)


def _failed(error: BaseException) -> asyncio.Future[object]:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future


def _now() -> float:
    return asyncio.get_running_loop().time()


def _sort(flights: Sequence[_Flight]) -> tuple[list[_Flight], list[_Failed], list[_Flight]]:
    """Those that landed, those that failed and why, and those that still fly.

    What landed behind one of the same key that failed, or still flies, has not landed yet: it is
    handed over again after that one, so that the last message of a key is the last that was
    written.
    """
    landed: list[_Flight] = []
    failed: list[_Failed] = []
    flying: list[_Flight] = []
    behind: set[tuple[str, bytes]] = set()
    for flight in flights:
        key = flight.row.topic, flight.row.key
        error = flight.error
        if error is not None:
            failed.append((flight, error))
            if not isinstance(error, _RowRefused):
                behind.add(key)
        elif flight.answer.done() and key not in behind:
            landed.append(flight)
        else:
            flying.append(flight)
            behind.add(key)
    return landed, failed, flying


def _say(rows: Sequence[OutboxRow]) -> None:
    """One line a batch: how much the broker took, and what it belongs to."""
    traces = {row.trace for row in rows if row.trace}
    log.info("carried", messages=len(rows), traces=sorted(traces)[:TRACES])
