"""One writer: what waits together commits together, and a step that fails undoes itself alone."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from broadcaster.errors import LedgerAway, Refusal
from broadcaster.ledger import Ledger, Tx, records, schema
from broadcaster.ledger.sqlite import BATCH
from broadcaster.record import Kind
from tests.patience import PATIENCE

META = schema.meta


@pytest.fixture
def url() -> None:
    """These cases are SQLite's alone."""


def note(name: str, value: str = "x") -> Callable[[Tx], str]:
    """A step that writes a row, an entry and a message."""

    def step(tx: Tx) -> str:
        tx.connection.execute(insert(META).values(name=name, value=value))
        tx.record(Kind.STARTED, actor=name)
        tx.send("updates.public", key=name, value=b"{}", message_id=name)
        tx.changed(f"noted:{name}")
        return name

    return step


def then_raise(step: Callable[[Tx], Any], problem: Exception) -> Callable[[Tx], None]:
    def failing(tx: Tx) -> None:
        step(tx)
        raise problem

    return failing


async def noted(ledger: Ledger) -> set[str]:
    """What is there of the notes, once it is sure that rows, entries and messages agree."""

    def look(tx: Tx) -> set[str]:
        run = tx.connection.execute
        rows = set(run(select(META.c.name).where(META.c.name != "world")).scalars())
        assert set(run(select(schema.outbox.c.key)).scalars()) == rows
        actors = {line.body.split('"actor":"')[1].split('"')[0] for line in records.lines(tx)}
        assert actors - {"broadcaster"} == rows
        return rows

    verdict = await ledger.read(lambda tx: records.verify(tx, []))
    assert verdict.ok, verdict.fault
    return await ledger.read(look)


@asynccontextmanager
async def one_batch(ledger: Ledger) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """The writes that a test puts into the list wait, and are then taken together."""
    begun, go = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        begun.set()
        go.wait(10)

    held = asyncio.ensure_future(ledger.write(hold))
    await asyncio.to_thread(begun.wait, 10)
    tasks: list[asyncio.Task[Any]] = []
    yield tasks
    await asyncio.sleep(0)  # each has put its step into the queue by then
    go.set()
    await held
    await asyncio.wait(tasks)


def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return [task.exception() or task.result() for task in tasks]


def begin(*work: Awaitable[Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(each) for each in work]


# --- Together, and alone ----------------------------------------------------------------------


async def test_a_step_that_fails_undoes_itself_alone(ledger: Ledger) -> None:
    refusal = Refusal("no", "It was refused.", "Do otherwise.")
    async with one_batch(ledger) as tasks:
        tasks += begin(
            ledger.write(note("a")),
            ledger.write(then_raise(note("b"), refusal)),
            ledger.write(note("c")),
            ledger.write(then_raise(note("d"), ZeroDivisionError())),
            ledger.write(note("e")),
        )
    said = outcomes(tasks)
    assert said[1] is refusal and isinstance(said[3], ZeroDivisionError)
    assert [said[0], said[2], said[4]] == ["a", "c", "e"]
    assert await noted(ledger) == {"a", "c", "e"}


async def test_a_step_that_breaks_a_rule_of_the_tables_undoes_itself_alone(ledger: Ledger) -> None:
    async with one_batch(ledger) as tasks:
        tasks += begin(*(ledger.write(note(name)) for name in ("a", "a", "b")))
    said = outcomes(tasks)
    assert said[0] == "a" and said[2] == "b"
    assert isinstance(said[1], IntegrityError), "a mistake of the step, not of the ledger"
    assert await noted(ledger) == {"a", "b"}


async def test_an_errors_text_does_not_say_what_a_row_says(ledger: Ledger) -> None:
    await ledger.write(note("a"))
    with pytest.raises(IntegrityError) as broken:
        await ledger.write(note("a", "4 Elm St, Apt 12"))
    assert "UNIQUE constraint failed" in str(broken.value)
    assert "4 Elm St" not in str(broken.value) and "4 Elm St" not in repr(broken.value)


async def test_two_hundred_writers_are_served_in_their_order(ledger: Ledger) -> None:
    ran: list[int] = []

    def step(number: int) -> Callable[[Tx], int]:
        def run(tx: Tx) -> int:
            ran.append(number)
            note(f"n{number:03}")(tx)
            return number

        return run

    async with one_batch(ledger) as tasks:
        tasks += begin(*(ledger.write(step(number)) for number in range(200)))
    assert len(tasks) > BATCH
    assert outcomes(tasks) == ran == list(range(200))
    lines = await ledger.read(lambda tx: records.lines(tx, limit=200))
    assert [line.number for line in lines] == list(range(201, 1, -1))
    assert len(await ledger.read(lambda tx: records.lines(tx, limit=1000))) == 201


async def test_decisions_and_stops_go_first(ledger: Ledger) -> None:
    ran: list[str] = []
    async with one_batch(ledger) as tasks:
        tasks += begin(
            ledger.write(lambda tx: ran.append("report")),
            ledger.write(lambda tx: ran.append("decision"), urgent=True),
        )
    assert ran == ["decision", "report"]


async def test_each_step_has_its_own_time(ledger: Ledger) -> None:
    async with one_batch(ledger) as tasks:
        tasks += begin(*(ledger.write(lambda tx: tx.now) for _ in range(3)))
    times = outcomes(tasks)
    assert times == sorted(times) and times[0] != times[2]


async def test_a_caller_who_gives_up_disturbs_nobody(ledger: Ledger) -> None:
    async with one_batch(ledger) as tasks:
        tasks += begin(*(ledger.write(note(name)) for name in "abc"))
        await asyncio.sleep(0)
        tasks[1].cancel()
    assert tasks[1].cancelled() and [tasks[0].result(), tasks[2].result()] == ["a", "c"]
    assert await noted(ledger) == {"a", "b", "c"}, "what was handed in is done"


# --- Told after the commit --------------------------------------------------------------------


async def test_a_commit_is_told_with_what_changed_and_a_failure_is_not(ledger: Ledger) -> None:
    heard: list[frozenset[str]] = []
    stop = ledger.on_commit(heard.append)
    await ledger.write(note("a"))
    with pytest.raises(ZeroDivisionError):
        await ledger.write(then_raise(note("b"), ZeroDivisionError()))
    await ledger.write(lambda tx: None)
    assert heard == [frozenset({"noted:a", "record", "outbox"})]
    stop()
    await ledger.write(note("c"))
    assert len(heard) == 1


async def test_nothing_is_seen_before_it_is_committed(ledger: Ledger) -> None:
    other = sqlite3.connect(ledger.path, check_same_thread=False)

    def seen() -> int:
        count: int = other.execute("SELECT count(*) FROM meta WHERE name = 'a'").fetchone()[0]
        return count

    def step(tx: Tx) -> int:
        note("a")(tx)
        return seen()

    assert (await ledger.write(step), seen()) == (0, 1)
    other.close()


async def test_a_read_cannot_write(ledger: Ledger) -> None:
    with pytest.raises(LedgerAway, match="may not be written"):
        await ledger.read(note("a"))
    assert await noted(ledger) == set()


# --- The ledger away --------------------------------------------------------------------------


def limit_pages(more: int) -> Callable[[Tx], None]:
    """As a disk that has room for so many pages more."""

    def step(tx: Tx) -> None:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")

    return step


async def test_a_full_disk_refuses_what_has_no_room_and_keeps_the_rest(ledger: Ledger) -> None:
    await ledger.write(note("before"))
    await ledger.write(limit_pages(8))
    async with one_batch(ledger) as tasks:
        tasks += begin(
            ledger.write(note("a")),
            ledger.write(note("big", "x" * 200_000)),
            ledger.write(note("b")),
        )
    first, big, last = outcomes(tasks)
    assert (first, last) == ("a", "b")
    assert isinstance(big, LedgerAway)
    assert "the disk is full" in str(big) and "Nothing was kept" in str(big)
    assert await noted(ledger) == {"before", "a", "b"}


async def test_a_disk_without_any_room_leaves_no_half_state(ledger: Ledger) -> None:
    await ledger.write(limit_pages(2))
    kept = set()
    for batch in range(10):
        async with one_batch(ledger) as tasks:
            names = [f"{batch}-{number}" for number in range(10)]
            tasks += begin(*(ledger.write(note(name, "x" * 500)) for name in names))
        for name, said in zip(names, outcomes(tasks), strict=True):
            assert said == name or isinstance(said, LedgerAway)
            kept |= {name} if said == name else set()
    assert len(kept) < 100
    assert await noted(ledger) == kept
    await ledger.write(limit_pages(1000))
    await ledger.write(note("room again"))
    assert await noted(ledger) == kept | {"room again"}


async def test_a_lock_that_another_holds_is_waited_for_once(ledger: Ledger) -> None:
    await ledger.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout = 100"))
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(PATIENCE):
        said = await asyncio.gather(
            *(ledger.write(note(f"n{number}")) for number in range(100)), return_exceptions=True
        )
    assert {type(each) for each in said} == {LedgerAway}
    assert "another program holds a lock on it" in str(said[0])
    other.execute("ROLLBACK")
    other.close()
    await ledger.write(note("a"))
    assert await noted(ledger) == {"a"}


async def test_closing_finishes_what_waits_and_refuses_what_comes(ledger: Ledger) -> None:
    async with one_batch(ledger) as tasks:
        tasks += begin(*(ledger.write(note(name)) for name in "abc"))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(ledger.close())
        await asyncio.sleep(0)
        for late in (ledger.write(note("d")), ledger.read(lambda tx: None)):
            with pytest.raises(LedgerAway, match="being closed"):
                await late
    await closing
    assert outcomes(tasks) == ["a", "b", "c"]
    with sqlite3.connect(ledger.path) as file:
        assert file.execute("SELECT count(*) FROM meta").fetchone()[0] == 4
    file.close()


# --- The record cannot be changed -------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = '{}'",
        "UPDATE entries SET kind = kind",
        "DELETE FROM entries",
        "UPDATE seals SET hash = ''",
        "DELETE FROM seals WHERE number = 1",
    ],
)
async def test_the_database_refuses_to_change_the_record(ledger: Ledger, statement: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"):
        await ledger.write(lambda tx: tx.connection.exec_driver_sql(statement))
    with sqlite3.connect(ledger.path) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute(statement)
    other.close()
    assert (await ledger.read(lambda tx: records.verify(tx, []))).ok
