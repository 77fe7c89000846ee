"""From the ledger's outbox to Kafka: every message, in order per key, however often it takes.

At least once: a row is marked as sent after the broker acknowledged it, so what was on its way
when the broker or this process went away is sent again. Receivers tell doubles by their ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from aiokafka import AIOKafkaProducer
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

#: Seconds that the broker gets to acknowledge a batch; then the producer is abandoned.
PATIENCE = 10.0

#: Seconds without an acknowledgement after which the pages are told that the broker is away.
SLOW = 1.0

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

    async def unsent(self, limit: int) -> Sequence[OutboxRow]:
        """The oldest rows that were not marked, by id."""

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


class Relay:
    """Carries the outbox to one broker. One at a time may run on a ledger."""

    def __init__(self, outbox: Outbox, broker: Broker, clock: Clock | None = None) -> None:
        self.away: Away | None = None  #: None: as far as we know the broker is there
        self.sent = 0  #: messages that the broker acknowledged
        self._outbox = outbox
        self._broker = broker
        self._clock = clock or SystemClock()
        self._producer: AIOKafkaProducer | None = None

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
                        await self._drain()
                await self._outbox.wait(LOOK_EVERY)
        finally:
            await self._let_go()

    async def _drain(self) -> None:
        while rows := await self._outbox.unsent(BATCH):
            try:
                await self._send(rows)
            except (KafkaError, OSError, TimeoutError) as error:
                await self._let_go()
                topics = {self._broker.named(row.topic) for row in rows}
                raise await refusal(self._broker, error, topics) from error
            self.away = None

    async def _send(self, rows: Sequence[OutboxRow]) -> None:
        """Sends what it can and marks it; then raises the first thing that went wrong."""
        failpoint.reach("before_publish", (row.topic for row in rows))
        outcomes = await self._outcomes(rows)
        failpoint.reach("after_publish", (row.topic for row in rows))
        if len(rows) == 1 and isinstance(outcomes[0], _REFUSED):
            outcomes = [_RowRefused(in_words(outcomes[0]))]
        done, failed = _sort(rows, outcomes)
        for row, error in failed:
            if isinstance(error, _RowRefused):
                await self._outbox.refused(row.id, str(error))
        await self._outbox.sent(done)
        self.sent += len(done)
        _say(rows, done)
        errors = [error for _, error in failed if not isinstance(error, _RowRefused)]
        if any(isinstance(error, _REFUSED) for error in errors):
            for row in rows:  # which of them it means shows when each goes alone
                if row.id not in done:
                    await self._send([row])
        elif errors:
            raise errors[0]

    async def _outcomes(self, rows: Sequence[OutboxRow]) -> list[BaseException | None]:
        """What became of each row: None if the broker has it."""
        waiting: list[asyncio.Future[object]] = []
        loop = asyncio.get_running_loop()
        slow = loop.call_later(
            SLOW, self._note_away, f"The message broker has acknowledged nothing for {SLOW:g} s."
        )
        try:
            async with asyncio.timeout(PATIENCE):
                producer = await self._connected()
                for row in rows:
                    waiting.append(await self._send_one(producer, row))
                await asyncio.wait(waiting)
        except TimeoutError:
            pass  # what is not done by now failed
        except (KafkaError, OSError) as error:
            waiting.append(_failed(error))
        finally:
            slow.cancel()
        outcomes = [_outcome(future) for future in waiting] + [
            TimeoutError(f"no acknowledgement within {PATIENCE:g} s")
        ] * (len(rows) - len(waiting))
        if any(isinstance(error, _REFUSED) for error in outcomes):
            await self._let_go()  # a refusal leaves a hole in what an idempotent one counts
        return outcomes

    async def _send_one(self, producer: AIOKafkaProducer, row: OutboxRow) -> asyncio.Future[object]:
        topic = self._broker.named(row.topic)
        try:
            future: asyncio.Future[object] = await producer.send(
                topic, key=row.key, value=row.value, headers=list(row.headers)
            )
        except _REFUSED as error:
            return _failed(_RowRefused(in_words(error)))
        except KafkaError as error:  # one topic's trouble is not that of the rows behind it
            return _failed(error)
        future.add_done_callback(noticed)
        return future

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **self._broker.client(),
                acks="all",
                enable_idempotence=not self._broker.embedded,  # that one cannot
                linger_ms=0,
                request_timeout_ms=int(PATIENCE * 1000),
            )
            self._producer = producer
            await producer.start()
        return self._producer

    async def _let_go(self) -> None:
        """Abandons the producer: one whose broker is away cannot be stopped, and an idempotent
        one would still send, when it comes back, what we have sent another way by then."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer._closed = True  # or it warns when it is collected
        if producer._sender.sender_task is not None:
            producer._sender.sender_task.cancel()
        await within(0.5, producer.client.close())

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._note_away(error.why if isinstance(error, BrokerAway) else str(error))

    def _note_away(self, why: str) -> None:
        if self.away is None:
            log.warning("the broker is away", broker=self._broker.bootstrap, why=why)
        self.away = Away(self.away.since if self.away else self._clock.now(), why)


def _failed(error: BaseException) -> asyncio.Future[object]:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future


def _outcome(future: asyncio.Future[object]) -> BaseException | None:
    if not future.done() or future.cancelled():
        return TimeoutError(f"no acknowledgement within {PATIENCE:g} s")
    return future.exception()


def _sort(
    rows: Sequence[OutboxRow], outcomes: Sequence[BaseException | None]
) -> tuple[list[int], list[tuple[OutboxRow, BaseException]]]:
    """The ids to mark as sent, and the rows that failed.

    What the broker took after one of the same key that it may yet take is not marked: it is sent
    again, after that one, so that the last message of a key is the last that was written.
    """
    done: list[int] = []
    failed: list[tuple[OutboxRow, BaseException]] = []
    held: set[tuple[str, bytes]] = set()
    for row, error in zip(rows, outcomes, strict=True):
        if error is not None:
            failed.append((row, error))
            if not isinstance(error, _RowRefused):
                held.add((row.topic, row.key))
        elif (row.topic, row.key) not in held:
            done.append(row.id)
    return done, failed


def _say(rows: Sequence[OutboxRow], done: Sequence[int]) -> None:
    """One line a batch: how much the broker took, and what it belongs to."""
    if done:
        carried = set(done)
        traces = {row.trace for row in rows if row.trace and row.id in carried}
        log.info("carried", messages=len(done), traces=sorted(traces)[:TRACES])
