"""The parts of Faust that we replace, and why: nothing else of it is changed.

Stock Faust is made to own its process: where the broker is away its shutdown waits for ever,
joins a thread while the event loop stands still, and leaves some fifty tasks. Ours lives beside
the desk in one process and must start and stop again and again. (Faust 0.15.3; facts/faust.md.)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import faust
import mode
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager as FaustTableManager
from faust.transport.drivers import aiokafka as driver
from mode import CrashingSupervisor, Service
from mode.threads import WorkerThread as ModeWorkerThread
from mode.utils.futures import maybe_set_exception

from streams.broker import Broker
from streams.within import within

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

#: Seconds that a handler at work gets to finish when its partition goes or the app stops.
PATIENCE = 2.5

#: Seconds that the broker gets to answer when offsets are committed for the last time, and when
#: the consumer leaves. A broker that is there answers in milliseconds.
GOODBYE = 0.7


class HandlerStuck(Exception):
    """A handler did not end while its partition was taken from us."""


class WorkerThread(ModeWorkerThread):
    """A thread that nobody joins by standing still, and that keeps no process alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True

    def run(self) -> None:
        """Silent: what ended it was told to the app (`ConsumerThread.crash`)."""
        with contextlib.suppress(Exception, asyncio.CancelledError):
            super().run()

    def stop(self) -> None:
        """Does nothing: `App.stop_within` awaits the thread's end."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches in its own thread; ends within seconds though the broker be away."""

    Worker = WorkerThread
    app: App

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        if self.app.fetch_wait_ms is not None:  # Faust's 1500 ms is hard-coded
            consumer._fetch_max_wait_ms = self.app.fetch_wait_ms
        return consumer

    def set_fetch_wait(self, ms: int) -> None:
        """For the fetches to come: one that already waits still takes its time."""
        if self._consumer is not None:
            self._consumer._fetcher._fetch_max_wait_ms = ms

    async def on_thread_stop(self) -> None:
        consumer = self._consumer
        if await within(self.app.goodbye, super().on_thread_stop()) or consumer is None:
            return
        consumer._closed = True  # or it warns when it is collected
        await within(0.2, consumer._fetcher.close())
        await within(0.2, consumer._client.close())

    async def crash(self, exc: BaseException) -> None:
        """Tells the app; Faust would set events of the app's loop from this thread."""
        self.parent_loop.call_soon_threadsafe(maybe_set_exception, self._thread_running, exc)
        await self.app.crash(exc)

    def _crash(self, reason: BaseException) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended already
            self.thread_loop.call_soon_threadsafe(super()._crash, reason)

    def _stopped_set(self) -> None:
        with contextlib.suppress(RuntimeError):
            super()._stopped_set()

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Told to the app; Faust would print it."""

    def abort(self) -> None:
        """Cancels whatever runs in the thread, which ends it."""
        with contextlib.suppress(RuntimeError):
            self.thread_loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self.thread_loop):
            task.cancel()

    async def ended(self, until: float) -> bool:
        """Whether the thread has ended, waiting for that till then (monotonic)."""
        if self._thread is None:  # it never began
            self.thread_loop.close()
            return True
        while self._thread.is_alive() and monotonic() < until:  # noqa: ASYNC110 - of another loop
            await asyncio.sleep(0.01)
        return not self._thread.is_alive()


class Consumer(driver.Consumer):
    """Keeps the books of what was acknowledged; waits for no handler and no broker for ever."""

    app: App

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def wait_empty(self) -> None:
        """Waits for the handlers at work, then commits. Faust's has no end and calls the GC.

        On stop, what is not done by then stays unacknowledged and comes again. In a rebalance it
        would come to somebody else meanwhile, so we crash.
        """
        until = monotonic() + PATIENCE
        while self._unacked_messages and not self.should_stop and monotonic() < until:
            await asyncio.sleep(0.01)
            self._clean_unacked_messages()
        if self._unacked_messages and not self.app.should_stop:
            raise HandlerStuck(f"a handler did not end within {PATIENCE:g} s of a rebalance")
        if not await within(self.app.goodbye, self.commit()) and self.app.should_stop:
            self.app.goodbye = 0.0  # it is not asked again

    async def _wait_next_records(self, timeout: float) -> Any:
        """Looks again soon where an agent's buffer was full; Faust would leave it a second."""
        self.app.polled_at = monotonic()
        if self._buffered_partitions and self.flow_active:
            timeout = 0.01
            if not self._get_active_partitions():
                await asyncio.sleep(timeout)
                return {}, set()
        return await super()._wait_next_records(timeout)

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """None: Faust's takes a quiet topic for a dead one; `Streams.stuck` watches instead."""


class Transport(driver.Transport):
    Consumer = Consumer


class TableManager(FaustTableManager):
    """Only starts consumption after a rebalance; we have no tables."""

    async def on_start(self) -> None:
        # Faust sleeps a second here, for tables and agents that are still being declared.
        await self._update_channels()
        await self.recovery.start()


class Boot(BootStrategy):
    """Starts no producer (the relay is ours) and no monitor."""

    enable_kafka_producer = False
    enable_sensors = False


class App(faust.App):
    """A Faust app that reads nothing from the environment and writes nothing to the disk."""

    BootStrategy = Boot

    def __init__(
        self,
        group: str,
        broker: Broker,
        *,
        fetch_wait_ms: int | None,
        on_end: Callable[[BaseException], None],
        **settings: Any,
    ) -> None:
        self.fetch_wait_ms = fetch_wait_ms
        self.on_end = on_end
        self.polled_at = monotonic()
        self.goodbye = GOODBYE
        super().__init__(
            group,
            broker=[f"kafka://{address}" for address in broker.bootstrap.split(",")],
            broker_credentials=_credentials(broker),
            env={},  # Faust's environment variables (DEBUG, BROKER_URL) would overrule all this
            autodiscover=False,
            web_enabled=False,
            worker_redirect_stdouts=False,
            store="memory://",
            TableManager=TableManager,
            table_standby_replicas=0,  # with it Faust uses the plain round-robin assignor
            topic_allow_declare=False,
            topic_disable_leader=True,
            processing_guarantee="at_least_once",
            agent_supervisor=CrashingSupervisor,  # never skips an event that failed
            broker_commit_interval=0.25,
            # An agent's buffer counts as full at 51 and takes one more poll: it never overflows,
            # for then it would hold up every other topic. Small, since an intake may hold 1 MiB.
            stream_buffer_maxsize=64,
            broker_max_poll_records=10,
            **settings,
        )
        self.transport = Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """None: without tables there is nothing to keep."""

    async def crash(self, reason: BaseException) -> None:
        self.loop.call_soon_threadsafe(self.on_end, reason)
        if asyncio.get_running_loop() is self.loop:
            await super().crash(reason)

    def set_fetch_wait(self, ms: int) -> None:
        self.fetch_wait_ms = ms
        if thread := self._thread():
            thread.set_fetch_wait(ms)

    async def stop_within(self, seconds: float) -> bool:
        """Stops; after that time it cancels what is left. Whether everything ended."""
        until = monotonic() + seconds
        stopping = asyncio.create_task(self.stop())
        await asyncio.wait({stopping}, timeout=seconds - 1.2)
        ended = await self._thread_ended(until)
        await asyncio.wait({stopping}, timeout=0.1)
        sweep_up()
        await asyncio.sleep(0)
        return ended and stopping.done()

    async def _thread_ended(self, until: float) -> bool:
        thread = self._thread()
        if thread is None or await thread.ended(until - 1.0):
            return True
        thread.abort()
        return await thread.ended(until)

    def _thread(self) -> ConsumerThread | None:
        if self._consumer is None:
            return None
        assert isinstance(self._consumer, Consumer)
        thread = self._consumer._thread
        assert isinstance(thread, ConsumerThread)
        return thread


def _credentials(broker: Broker) -> faust.auth.Credentials | None:
    """What Faust's own consumer shows the broker."""
    if broker.sasl:
        return faust.SASLCredentials(
            username=broker.sasl.user, password=broker.sasl.password, ssl_context=broker.tls,
            mechanism=broker.sasl.mechanism,
        )  # fmt: skip
    return faust.SSLCredentials(broker.tls) if broker.tls else None


_LIBRARIES = (*faust.__path__, *mode.__path__)


def sweep_up() -> None:
    """Cancels whatever tasks of Faust's are left in this loop."""
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code and code.co_filename.startswith(_LIBRARIES):
            task.cancel()
