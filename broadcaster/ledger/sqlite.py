"""The ledger on SQLite: one writer, and what waits together commits together.

A lone commit with `synchronous=FULL` costs 0.4 ms, one of 160 rows 0.7 ms (facts/faust.md): so
the writer takes what waits, runs each step in a savepoint of one `BEGIN IMMEDIATE`, seals the
record's chain, commits once, and only then tells the callers. A step that fails undoes itself
alone. A failure that ended the transaction (a full disk does) makes every step run again singly.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool

from broadcaster import failpoint, record
from broadcaster.clock import Clock, SystemClock
from broadcaster.errors import LedgerAway, Refusal
from broadcaster.ledger import facts, schema
from broadcaster.ledger.base import Ledger, Step, answered, wrong_world
from broadcaster.ledger.chain import newest, seal
from broadcaster.ledger.migrate import bring_up_to_date
from broadcaster.ledger.tx import Change, Tx
from broadcaster.world import World

T = TypeVar("T")

#: Steps in one commit, at most: bounds how long the first of them waits for its answer.
BATCH = 128
READERS = 3


@dataclass
class _Job(Generic[T]):
    step: Step[T]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[T]


class _Ended(Exception):
    """The whole transaction is gone, not the step alone."""


class SqliteLedger(Ledger):
    """One file, one process, one writer's thread."""

    alone = True

    def __init__(self, path: Path, world: World, clock: Clock, lock: IO[str]) -> None:
        super().__init__()
        self.path = path
        self.world: World = world
        self._clock = clock
        self._lock = lock
        self._engine = _engine(path)
        self._readers = _engine(path, read_only=True)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")
        self._urgent: deque[_Job[Any]] = deque()
        self._waiting: deque[_Job[Any]] = deque()
        self._work = threading.Condition()
        self._closing = False
        self._connection = self._engine.connect()
        self._head = newest(self._connection)
        self._connection.rollback()
        self._thread = threading.Thread(target=self._run, name="ledger-write", daemon=True)
        self._thread.start()

    async def write(self, step: Step[T], *, urgent: bool = False) -> T:
        loop = asyncio.get_running_loop()
        job = _Job(step, loop, loop.create_future())
        with self._work:
            if self._closing:
                raise LedgerAway("it is being closed")
            (self._urgent if urgent else self._waiting).append(job)
            self._work.notify()
        answer: T = await job.answer
        return answer

    async def read(self, query: Step[T], *, long: bool = False) -> T:
        if self._closing:
            raise LedgerAway("it is being closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._look, query)

    async def prove(self) -> None:
        await self.write(_note_proof)

    async def close(self) -> None:
        """Finishes what waits, then lets go of the file."""
        with self._work:
            self._closing = True
            self._work.notify()
        await asyncio.to_thread(self._thread.join)
        self._pool.shutdown()
        self._connection.close()
        self._engine.dispose()
        self._readers.dispose()
        self._lock.close()

    # --- the writer's thread ------------------------------------------------------------------

    def _run(self) -> None:
        while jobs := self._next_batch():
            answers = self._together(jobs)
            self._answer(jobs, answers)
            facts.say(entry for answer in answers for entry in answer.entries)

    def _next_batch(self) -> list[_Job[Any]]:
        with self._work:
            while not (self._urgent or self._waiting or self._closing):
                self._work.wait()
            jobs: list[_Job[Any]] = []
            for queue in (self._urgent, self._waiting):
                while queue and len(jobs) < BATCH:
                    jobs.append(queue.popleft())
            return jobs

    def _together(self, jobs: list[_Job[Any]]) -> list[_Answer]:
        try:
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DatabaseError as problem:  # locked: to ask for each step again would take minutes
            self._rollback()
            return [_Answer(error=_away(problem)) for _ in jobs]
        try:
            return self._commit(jobs)
        except (_Ended, DatabaseError) as problem:
            self._rollback()
            if len(jobs) == 1:
                return [_Answer(error=_away(problem))]
            return [answer for job in jobs for answer in self._together([job])]
        except Exception as mistake:  # ours: whoever waits is told, and the writer goes on
            self._rollback()
            return [_Answer(error=mistake) for _ in jobs]

    def _commit(self, jobs: list[_Job[Any]]) -> list[_Answer]:
        connection = self._connection
        answers = [self._in_savepoint(job) for job in jobs]
        entries = [entry for answer in answers for entry in answer.entries]
        head = seal(connection, self._head, entries)
        failpoint.reach("before_commit", (entry.kind for entry in entries))
        connection.exec_driver_sql("COMMIT")
        failpoint.reach("after_commit", (entry.kind for entry in entries))
        connection.commit()
        self._head = head
        return answers

    def _in_savepoint(self, job: _Job[Any]) -> _Answer:
        connection = self._connection
        connection.exec_driver_sql("SAVEPOINT step")
        try:
            tx = Tx(connection, self._clock.now, self.world)
            value = answered(job.step, tx)
            entries, changes = tx.flush()
            connection.exec_driver_sql("RELEASE step")
            return _Answer(value, entries=entries, changes=changes)
        except Exception as problem:
            if not _driver(connection).in_transaction:
                raise _Ended(str(problem)) from problem
            connection.exec_driver_sql("ROLLBACK TO step")
            connection.exec_driver_sql("RELEASE step")
            error = _away(problem) if _is_away(problem) else problem
            return _Answer(error=error)

    def _rollback(self) -> None:
        with contextlib.suppress(DatabaseError):
            if _driver(self._connection).in_transaction:
                self._connection.exec_driver_sql("ROLLBACK")
        with contextlib.suppress(DatabaseError):
            self._connection.rollback()

    def _answer(self, jobs: list[_Job[Any]], answers: list[_Answer]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job[Any], _Answer]]] = {}
        for job, answer in zip(jobs, answers, strict=True):
            by_loop.setdefault(job.loop, []).append((job, answer))
        for loop, told in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._hear, told)

    def _hear(self, told: list[tuple[_Job[Any], _Answer]]) -> None:
        changes: set[Change] = set()
        for job, answer in told:
            changes |= answer.changes
            if job.answer.done():
                continue
            if answer.error is not None:
                job.answer.set_exception(answer.error)
            else:
                job.answer.set_result(answer.value)
        self._tell(frozenset(changes))

    # --- the readers' threads -----------------------------------------------------------------

    def _look(self, query: Step[T]) -> T:
        try:
            with self._readers.connect() as connection, _reading(connection):
                return answered(query, Tx(connection, self._clock.now, self.world))
        except DatabaseError as problem:
            raise _away(problem) from problem


class _Answer:
    """How one step ended."""

    def __init__(
        self,
        value: object = None,
        error: BaseException | None = None,
        entries: Sequence[record.Entry] = (),
        changes: Iterable[Change] = (),
    ) -> None:
        self.value = value
        self.error = error
        self.entries = entries
        self.changes = set(changes)


def open_sqlite(path: Path, world: World, clock: Clock | None = None) -> Ledger:
    """Opens, and makes or migrates, the ledger file.

    Raises Refusal where another process has it, where it belongs to the other world, where it is
    damaged, or where a newer version of the product wrote it; LedgerAway where it cannot be
    opened now.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _take(path.with_suffix(".lock"))
    except OSError as problem:
        raise LedgerAway(f"{problem.filename or path}: {problem.strerror}") from problem
    try:
        engine = _engine(path)
        with contextlib.closing(engine.connect()) as connection:
            bring_up_to_date(connection, path)
            _claim(connection, world, clock or SystemClock())
        engine.dispose()
        return SqliteLedger(path, world, clock or SystemClock(), lock)
    except DatabaseError as problem:
        lock.close()
        raise _damaged(path, problem) or _away(problem) from problem
    except BaseException:
        lock.close()
        raise


def _engine(path: Path, *, read_only: bool = False) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=READERS if read_only else 1,
        hide_parameters=True,  # an error's text never holds what a row says
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 5},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        if read_only:
            connection.execute("PRAGMA query_only=ON")

    return engine


@contextlib.contextmanager
def _reading(connection: Connection) -> Iterator[None]:
    connection.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK")


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def _claim(connection: Connection, world: World, clock: Clock) -> None:
    """Makes a new ledger this world's own, or refuses one of the other world."""
    owner = connection.execute(
        select(schema.meta.c.value).where(schema.meta.c.name == "world")
    ).scalar()
    if owner == world:
        return
    if owner is not None:
        raise wrong_world(owner, world)
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    tx = Tx(connection, clock.now, world)
    connection.execute(insert(schema.meta).values(name="world", value=world))
    tx.record(record.Kind.LEDGER_CREATED, actor="broadcaster", world=world)
    entries, _ = tx.flush()
    seal(connection, (0, record.FIRST_HASH), entries)
    connection.exec_driver_sql("COMMIT")
    facts.say(entries)


def _note_proof(tx: Tx) -> None:
    """Writes something to the disk."""
    table, value = schema.meta, tx.now.isoformat()
    noted = tx.connection.execute(
        update(table).where(table.c.name == "proved_at").values(value=value)
    )
    if not noted.rowcount:
        tx.connection.execute(insert(table).values(name="proved_at", value=value))


def _take(path: Path) -> IO[str]:
    """Locks the ledger for this process, or refuses: SQLite keeps one writer."""
    lock = open(path, "a")  # noqa: SIM115 - the ledger holds it, and closes it, as its lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Refusal(
            "ledger_in_use",
            f"Another process has the ledger in {path.parent} open.",
            "End it, or set BROADCASTER_HOME to another folder.",
        ) from None
    return lock


def _is_away(problem: Exception) -> bool:
    """Whether a database error speaks of the database's state, not of the step's own mistake."""
    return isinstance(problem, DatabaseError) and isinstance(problem.orig, sqlite3.OperationalError)


def _damaged(path: Path, problem: DatabaseError) -> Refusal | None:
    """A file that no waiting will make a ledger, or a whole one again."""
    if not any(sign in str(problem.orig) for sign in ("not a database", "malformed")):
        return None
    return Refusal(
        "ledger_damaged",
        f"{path} is no ledger, or it is damaged.",
        "Put the newest copy of it in its place, or set BROADCASTER_HOME to another folder.",
    )


_CAUSES = {
    "disk is full": "the disk is full",
    "locked": "another program holds a lock on it",
    "disk I/O": "the disk answered with an error",
    "unable to open": "its file cannot be opened",
    "readonly": "its file may not be written",
    "not a database": "its file holds something else",
}


def _away(problem: BaseException) -> BaseException:
    """What the caller is told when the ledger itself failed."""
    if isinstance(problem, LedgerAway):
        return problem
    text = str(getattr(problem, "orig", None) or problem)
    cause = next((words for sign, words in _CAUSES.items() if sign in text), text)
    return LedgerAway(cause)
