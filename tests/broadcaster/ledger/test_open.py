"""Opening a ledger: one process, one world, one version; anything else is a sentence."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from broadcaster.errors import LedgerAway, Refusal
from broadcaster.ledger import open_ledger, records
from broadcaster.ledger.migrate import HEAD
from broadcaster.world import World


async def made(path: Path, world: World = "exercise") -> None:
    await open_ledger(path, world).close()


def refused(path: Path, world: World = "exercise") -> Refusal:
    with pytest.raises(Refusal) as refusal:
        open_ledger(path, world)
    assert refusal.value.why.endswith(".") and refusal.value.do.endswith(".")
    return refusal.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "ledger.db"


async def test_it_is_made_once_and_opened_again(path: Path) -> None:
    await made(path)
    ledger = open_ledger(path, "exercise")
    verdict = await ledger.read(lambda tx: records.verify(tx, []))
    [line] = await ledger.read(records.lines)
    await ledger.close()
    assert verdict.ok and verdict.entries == 1
    assert line.kind == "LedgerCreated" and '"world":"exercise"' in line.body


async def test_one_that_this_process_has(path: Path) -> None:
    ledger = open_ledger(path, "exercise")
    assert refused(path).code == "ledger_in_use"
    await ledger.close()
    await made(path)


async def test_one_that_another_process_has(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from broadcaster.ledger import open_ledger; "
        "open_ledger(Path(sys.argv[1]), 'exercise'); print('open', file=sys.stderr, flush=True); "
        "sys.stdin.read()"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert other.stderr is not None
    assert await other.stderr.readline() == b"open\n"
    assert refused(path).code == "ledger_in_use"
    other.kill()
    await other.communicate()
    await made(path)


async def test_one_of_the_other_world(path: Path) -> None:
    await made(path)
    refusal = refused(path, "live")
    assert refusal.code == "wrong_world"
    assert "belongs to the exercise world" in refusal.why
    await made(path)


async def test_one_that_a_newer_version_wrote(path: Path) -> None:
    await made(path)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    file.close()
    refusal = refused(path)
    assert refusal.code == "ledger_newer" and "9999" in refusal.why and HEAD in refusal.why


def test_a_file_that_is_no_ledger(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"notes on the incident\n" * 100)
    assert refused(path).code == "ledger_damaged"
    assert path.read_bytes().startswith(b"notes on the incident")


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal = refused(tmp_path / "file" / "ledger.db")
    assert isinstance(refusal, LedgerAway) and str(tmp_path / "file") in refusal.why
