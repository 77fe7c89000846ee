"""The ledger on PostgreSQL: many processes, each step its own transaction.

Lock order: incident, request, release, post. The time of a step is the database's own, taken
after its locks (`clock_timestamp()`). Entries are sealed behind the steps, by whoever runs
`worker relay`. A commit tells every process what changed (NOTIFY).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
import structlog
import tenacity
from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError

from broadcaster import failpoint
from broadcaster.clock import Clock
from broadcaster.errors import LedgerAway, LedgerSilent
from broadcaster.ledger import facts, schema
from broadcaster.ledger.base import Ledger, Step, answered, never_made, wrong_world
from broadcaster.ledger.migrate import HEAD, version_of
from broadcaster.ledger.tx import Change, Tx
from broadcaster.record import Entry
from broadcaster.world import World

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: Steps side by side, in one process; decisions and stops have connections of their own.
WRITERS, URGENT, READERS = 4, 2, 3

#: Seconds that a step may take, its waiting for others included, before its caller hears no more.
PATIENCE = 10.0

#: Milliseconds within which the server ends what takes too long: a statement, a wait for a lock,
#: and a transaction whose process was frozen in the midst of it. Then seconds within which a
#: server that is no longer there is noticed.
_CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    "options": "-c statement_timeout=8000 -c lock_timeout=5000 "
    "-c idle_in_transaction_session_timeout=5000",
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 9000,
}

CHANNEL = "broadcaster"

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

#: PostgreSQL tells at most 8,000 bytes; what does not fit is told as `all`.
LONGEST_TOLD = 7_000

#: serialization_failure, deadlock_detected; and unique_violation, where two steps were first to
#: say the same thing: the second one then finds it said.
AGAIN = frozenset({"40001", "40P01", "23505"})

_RETRY = tenacity.Retrying(
    retry=tenacity.retry_if_exception(lambda problem: _state(problem) in AGAIN),
    stop=tenacity.stop_after_attempt(6),
    wait=tenacity.wait_random_exponential(multiplier=0.01, max=0.2),
    reraise=True,
)


class PostgresLedger(Ledger):
    """One database, as many processes as there are."""

    alone = False

    def __init__(self, url: str, world: World, clock: Clock | None = None) -> None:
        """`clock`: in the place of the database's own time, for tests that hold it still."""
        super().__init__()
        self.world = world
        self._clock = clock
        self._me = secrets.token_hex(4)
        self._checked = False
        self._url = url
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=WRITERS + URGENT + READERS,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,  # an error never holds what a row says
            connect_args=_CONNECT,
        )
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="ledger-write")
        self._urgent = ThreadPoolExecutor(URGENT, thread_name_prefix="ledger-urgent")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")
        self._saying = ThreadPoolExecutor(1, thread_name_prefix="ledger-say")
        self._hearing: asyncio.Task[None] | None = None

    async def write(self, step: Step[T], *, urgent: bool = False) -> T:
        self._listen()
        pool = self._urgent if urgent else self._writers
        running = asyncio.get_running_loop().run_in_executor(pool, self._run, step)
        try:
            async with asyncio.timeout(PATIENCE):
                value, changes = await running
        except TimeoutError:
            raise LedgerSilent(f"it has not answered within {PATIENCE:g} s") from None
        self._tell(changes)
        return value

    async def read(self, query: Step[T], *, long: bool = False) -> T:
        self._listen()
        looking = asyncio.get_running_loop().run_in_executor(self._readers, self._look, query)
        try:
            async with asyncio.timeout(None if long else PATIENCE):
                return await looking
        except TimeoutError:
            raise LedgerAway(f"it has not answered within {PATIENCE:g} s") from None

    async def prove(self) -> None:
        await self.write(_assign)

    async def close(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._hearing
        await asyncio.to_thread(self.dispose)

    def check(self) -> None:
        """Raises Refusal unless the tables are this version's and the world is ours.

        Once it was so it is not asked again: a newer version's tables are for its own processes.
        """
        if self._checked:
            return
        with self._engine.connect() as connection:
            if version_of(connection) != HEAD:
                raise never_made()
            owner = connection.execute(
                select(schema.meta.c.value).where(schema.meta.c.name == "world")
            ).scalar()
            if owner != self.world:
                raise wrong_world(owner or "no", self.world)
        self._checked = True

    def dispose(self) -> None:
        """Lets go of every connection and thread."""
        for pool in (self._writers, self._urgent, self._readers, self._saying):
            pool.shutdown()
        self._engine.dispose()

    def _run(self, step: Step[T]) -> tuple[T, frozenset[Change]]:
        try:
            self.check()
            value, entries, changes = _RETRY(self._once, step)
        except DatabaseError as problem:
            raise _away(problem) from None  # its details quote the row
        self._saying.submit(facts.say, entries)  # nobody waits for the log
        return value, frozenset(changes)

    def _once(self, step: Step[T]) -> tuple[T, list[Entry], set[Change]]:
        with self._engine.connect() as connection, _committed(connection):
            tx = Tx(connection, lambda: self._now(connection), self.world)
            value = answered(step, tx)
            entries, changes = tx.flush()
            self._notify(connection, changes)
            kinds = [entry.kind for entry in entries]
            failpoint.reach("before_commit", kinds)
        failpoint.reach("after_commit", kinds)
        return value, entries, changes

    def _look(self, query: Step[T]) -> T:
        try:
            self.check()
            with self._engine.connect() as connection, connection.begin():
                connection.execute(text(_SNAPSHOT))
                return answered(query, Tx(connection, lambda: self._now(connection), self.world))
        except DatabaseError as problem:
            raise _away(problem) from None  # its details quote the row

    def _now(self, connection: Connection) -> datetime:
        return self._clock.now() if self._clock else _time(connection)

    def _notify(self, connection: Connection, changes: set[Change]) -> None:
        if not changes:
            return
        told = json.dumps({"from": self._me, "changed": sorted(changes)})
        if len(told) > LONGEST_TOLD:
            told = json.dumps({"from": self._me, "changed": ["all", *_short(changes)]})
        connection.execute(select(func.pg_notify(CHANNEL, told)))

    # --- what other processes change ----------------------------------------------------------

    def _listen(self) -> None:
        """Hears other processes from the first use on; the loop exists only then."""
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear(), name="ledger-hear")

    async def _hear(self) -> None:
        """Until closed: connects again when the connection ends, and then tells `all`.

        So it does after what is not ours, too: whoever may sign in may say anything here.
        """
        while True:
            with contextlib.suppress(psycopg.Error, OSError, LookupError, TypeError, ValueError):
                async with await psycopg.AsyncConnection.connect(
                    _plain(self._url), autocommit=True, **_CONNECT
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._tell(frozenset({"all", "outbox", "board"}))
                    async for told in connection.notifies():
                        heard = json.loads(told.payload)
                        if heard["from"] != self._me:
                            self._tell(frozenset(heard["changed"]))
            await asyncio.sleep(1)


def open_postgres(url: str, world: World, clock: Clock | None = None) -> PostgresLedger:
    """Opens the ledger that its owner made. Raises Refusal where it is not ours.

    One whose server is away is opened all the same: each use says so until it is back, and a desk
    can tell people meanwhile.
    """
    ledger = PostgresLedger(url, world, clock)
    try:
        ledger.check()
    except DatabaseError as problem:
        log.warning("the ledger is away", why=_away(problem).args[0])
    except BaseException:
        ledger.dispose()
        raise
    return ledger


@contextlib.contextmanager
def _committed(connection: Connection) -> Iterator[None]:
    """A transaction. Raises LedgerSilent where the connection ended while it was committing."""
    with connection.begin() as transaction:
        yield
        try:
            transaction.commit()
        except DatabaseError as problem:
            if problem.connection_invalidated:
                raise LedgerSilent("the connection ended") from problem
            raise


def _assign(tx: Tx) -> None:
    """Needs a primary that takes writes, and leaves nothing behind."""
    tx.connection.execute(select(func.txid_current()))


def _time(connection: Connection) -> datetime:
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)


def _short(changes: set[Change]) -> Iterator[Change]:
    """The few that wake workers, which `all` alone does not."""
    return (change for change in changes if ":" not in change or change.startswith("posts:"))


def _state(problem: BaseException) -> str | None:
    return getattr(getattr(problem, "orig", None), "sqlstate", None)


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _away(problem: DatabaseError) -> Exception:
    """What the caller is told: its own mistake as such, the database's state as LedgerAway."""
    state, cause = _state(problem) or "", _without_values(problem)
    mistaken = state.startswith("42") and state != "42501"
    if mistaken or isinstance(problem, IntegrityError | DataError):
        assert problem.orig is not None, "the database spoke"
        return type(problem)(problem.statement, None, type(problem.orig)(cause))
    return LedgerAway(cause)


def _without_values(problem: DatabaseError) -> str:
    """What PostgreSQL says first. The lines after it quote rows; and class 22 (data) at once."""
    if problem.orig is None:
        return "it does not answer"
    if isinstance(problem, DataError):
        return type(problem.orig).__name__
    return str(problem.orig).strip().splitlines()[0]
