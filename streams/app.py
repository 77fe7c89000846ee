"""The frame round the steps: it brings each its messages, in order, and acknowledges them.

One Faust app, one agent per step and topic, and one rule (facts/faust.md §4): handle, then
acknowledge; poison goes to `problems` and is acknowledged; at anything else the message stays
unacknowledged, the app ends, and whoever started it starts another. A step therefore sees a
message again after a crash, and does then what the ledger still asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aiokafka.errors import KafkaError

from streams.broker import Broker
from streams.door import refusal
from streams.errors import BrokerAway, Poison
from streams.faust_parts import App
from streams.pins import check_private_names
from streams.within import noticed

#: Seconds that `stop` takes at most, and that tidying up takes after a start that failed.
STOP_DEADLINE = 5.0
START_FAILED_DEADLINE = 2.5

#: Members of a group on Tansu wait half the session timeout, and at least a second, for each
#: other; a stale member holds a new one up for about twice the timeout (both measured).
_EMBEDDED = {
    "broker_session_timeout": 1.0,
    "broker_heartbeat_interval": 0.3,
    "broker_rebalance_timeout": 2.0,
    "broker_request_timeout": 10.0,
}
_CLUSTER = {
    "broker_session_timeout": 6.0,  # the least that Apache Kafka allows, unless told otherwise
    "broker_heartbeat_interval": 1.0,
    "broker_rebalance_timeout": 10.0,
    "broker_request_timeout": 30.0,
}


@dataclass(frozen=True)
class Where:
    """Where a message stands on the broker."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Delivered:
    """One message as it came, bytes as they are."""

    where: Where
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    written: int  #: when it was written, ms since 1970; tells it from another at its place


#: Does what the message asks for. Raises `Poison` for a message that can never be handled;
#: anything else that it raises ends the app, and the message comes again to the next.
Handler = Callable[[Delivered], Awaitable[None]]

#: Commits a poisonous message to `problems`.
OnPoison = Callable[[Delivered, Poison], Awaitable[None]]


@dataclass(frozen=True)
class Step:
    """One step of the flow: what it reads (names of `topics.full_names`) and what it does."""

    name: str
    topics: tuple[str, ...]
    handle: Handler


@dataclass
class Progress:
    """How far a step is on one of its topics. Times are monotonic seconds."""

    step: str
    topic: str
    acked: int = 0  #: messages brought to an end: handled or poison
    poisoned: int = 0  #: of these, poison
    last_acked: float | None = None
    busy_since: float | None = None  #: when the message that is being handled came


class BrokerLost(Exception):
    """The embedded broker ended. What comes up in its place has forgotten everything."""


class Ended(Exception):
    """The streams ended; `Streams.ended` has the reason."""


class Streams:
    """All steps of one process, on one broker, as one consumer group.

    Made inside a running event loop; start and stop it once, then make another: as often as the
    broker or the ledger comes and goes. One at a time in a process.
    """

    def __init__(
        self,
        broker: Broker,
        group: str,
        steps: Sequence[Step],
        on_poison: OnPoison,
        *,
        fetch_wait_ms: int = 1500,
    ) -> None:
        self.progress = [Progress(step.name, topic) for step in steps for topic in step.topics]
        #: Done when the streams have ended: with the reason if they did so by themselves, with
        #: None after `stop`. Whoever waits for it still calls `stop`.
        self.ended: asyncio.Future[BaseException | None] = asyncio.Future()
        self._broker = broker
        self._on_poison = on_poison
        self._watch: list[asyncio.Task[None]] = []
        self._app = App(
            broker.named(group),
            broker,
            fetch_wait_ms=fetch_wait_ms if broker.embedded else None,
            on_end=self._end,
            broker_client_id=group,
            **(_EMBEDDED if broker.embedded else _CLUSTER),
        )
        handlers = {step.name: step.handle for step in steps}
        for progress in self.progress:
            self._add_agent(handlers[progress.step], progress)

    async def start(self, deadline: float = 30.0) -> None:
        """Returns once partitions are assigned: after about 1.1 s on the embedded broker.

        Raises `WrongVersion`, `BrokerAway` if that takes more than `deadline` seconds, or the
        reason for which the streams ended while starting. They are stopped then.
        """
        check_private_names()
        try:
            if self._broker.embedded:
                await self._hold_line()
            self._app.finalize()
            starting = asyncio.create_task(self._app.start())
            either: set[asyncio.Future[Any]] = {starting, self.ended}
            await asyncio.wait(either, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            starting.add_done_callback(noticed)
            if self.ended.done():
                starting.cancel()
                raise self.ended.result() or Ended()
            if not starting.done():
                starting.cancel()
                raise BrokerAway(self._broker.bootstrap, f"no partitions within {deadline:g} s")
            starting.result()
        except KafkaError as error:
            await self._stop(START_FAILED_DEADLINE)
            raise await refusal(self._broker, error) from error
        except BaseException:
            await self._stop(START_FAILED_DEADLINE)
            raise
        self._watch.append(asyncio.create_task(self._wait_for_crash()))

    async def stop(self) -> bool:
        """Ends within 5 s, whatever the broker does. A handler gets 2.5 s to finish.

        What was not acknowledged comes again to the next streams. False if something of Faust's
        could not be ended: then the process should end soon.
        """
        return await self._stop(STOP_DEADLINE)

    async def _stop(self, seconds: float) -> bool:
        for task in self._watch:
            task.cancel()
        clean = await self._app.stop_within(seconds)
        if not self.ended.done():
            self.ended.set_result(None)
        return clean

    def set_fetch_wait(self, ms: int) -> None:
        """How long the embedded broker holds a fetch that finds nothing.

        It does not wake when something is written, so this is the delay of a hop and the price
        of idling: 20 ms while an incident is open, 1500 ms else. Any other broker wakes.
        """
        if self._broker.embedded:
            self._app.set_fetch_wait(ms)

    def assigned(self) -> frozenset[str]:
        """The topics of which this process has partitions now."""
        assigned = self._app.consumer.assignment()
        return frozenset(place.topic.removeprefix(self._broker.prefix) for place in assigned)

    async def behind(self, patience: float = 3.0) -> int:
        """Messages of our partitions that were not fetched yet, as an Apache Kafka cluster tells.

        0 also where it does not answer within `patience` seconds.
        """
        consumer = self._app.consumer
        try:
            async with asyncio.timeout(patience):
                places = consumer.assignment()
                ends = await consumer.highwaters(*places) if places else {}
                at = {place: await consumer.position(place) for place in ends}
        except (KafkaError, TimeoutError):
            return 0
        return sum(end - (at[place] or 0) for place, end in ends.items())

    def stuck(self, seconds: float) -> str | None:
        """What has not moved for so long, in words; None if all is well. For the watchdog."""
        now = monotonic()
        for at in self.progress:
            if at.busy_since is not None and now - at.busy_since > seconds:
                return f"{at.step} has had one message for {now - at.busy_since:.0f} s"
        if now - self._app.polled_at > seconds:
            return f"nothing was polled for {now - self._app.polled_at:.0f} s"
        return None

    def _add_agent(self, handle: Handler, progress: Progress) -> None:
        async def agent(stream: Any) -> None:
            async for event in stream.noack().events():
                progress.busy_since = monotonic()
                try:
                    await self._handle(handle, _delivered(event.message), progress)
                except Exception as reason:
                    self._end(reason)
                    raise Ended(f"{progress.step}: see the reason above") from None
                await stream.ack(event)
                progress.acked += 1
                progress.last_acked = monotonic()
                progress.busy_since = None

        topic = self._app.topic(
            self._broker.named(progress.topic),
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
        )
        self._app.agent(topic, name=f"{progress.step}:{progress.topic}")(agent)

    async def _handle(self, handle: Handler, message: Delivered, progress: Progress) -> None:
        try:
            await handle(message)
        except Poison as poison:
            await self._on_poison(message, poison)
            progress.poisoned += 1

    def _end(self, reason: BaseException) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def _wait_for_crash(self) -> None:
        await self._app.wait_until_stopped()
        self._end(self._app.crash_reason or Ended("Faust stopped by itself"))

    async def _hold_line(self) -> None:
        """Holds a connection to the embedded broker: it ends when the broker does."""
        host, _, port = self._broker.bootstrap.partition(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError as error:
            raise BrokerAway(self._broker.bootstrap, error.strerror or str(error)) from error
        self._watch.append(asyncio.create_task(self._wait_for_hangup(reader, writer)))

    async def _wait_for_hangup(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await reader.read()
        except OSError:
            pass  # reset instead of closed: the same news
        finally:
            writer.close()
        self._app.goodbye = 0.0
        self._end(BrokerLost(f"The embedded broker at {self._broker.bootstrap} ended."))


def _delivered(message: Any) -> Delivered:
    headers = message.headers or ()
    return Delivered(
        where=Where(message.topic, message.partition, message.offset),
        key=message.key,
        value=message.value or b"",
        headers=tuple(headers.items() if isinstance(headers, dict) else headers),
        written=round((message.timestamp or 0) * 1000),
    )
