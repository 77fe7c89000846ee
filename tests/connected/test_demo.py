"""The practice run without a person, and the record that it leaves: whole, and watched."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broadcaster.demo import Memory
from tests.connected.installation import Embedded, Installation, short_folder
from tests.faults.judging import faults

#: Seconds that the practice run may take (it takes about 8).
WITHIN = 60.0

KEYS = (
    "reports", "incidents", "updates", "approvals", "releases", "posts", "delivered",
    "duplicates", "lost", "record_entries", "chain_ok",
)  # fmt: skip


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Installation, str]]:
    """A home in which the sample was played, and what the run printed."""
    with short_folder() as folder:
        at = Embedded(folder / "home", {}, {})
        began = time.monotonic()
        code, out, err = asyncio.run(at.run("demo", "--once", "--json", within=WITHIN))
        assert code == 0, err
        assert time.monotonic() - began < WITHIN
        yield at, out


def test_its_last_line_tells_what_the_receivers_counted(played: tuple[Installation, str]) -> None:
    figures = json.loads(played[1].splitlines()[-1])
    assert tuple(figures) == KEYS
    assert figures["chain_ok"] is True
    assert (figures["duplicates"], figures["lost"]) == (0, 0)
    assert figures["delivered"] == figures["posts"] == 3 * figures["releases"] > 0
    assert figures["incidents"] == 1 and figures["reports"] >= 3
    assert figures["updates"] == figures["approvals"] == figures["releases"]


def test_the_auditor_agrees(played: tuple[Installation, str], tmp_path: Path) -> None:
    """As far as it can without the receivers' logs."""
    at, out = played
    case = tmp_path / "case.json"
    case.write_text(json.dumps({
        "ledger": str(at.home / "ledger.db"), "address": "", "feed": [], "receivers": [],
        "reports": [], "decisions": [],
    }))  # fmt: skip
    releases = json.loads(out.splitlines()[-1])["releases"]
    found = [fault for fault in faults(case) if "and not on the page" not in fault]
    assert found == []
    assert len(faults(case)) == releases, "one post each for the page, whose feed it was not given"


# --- What it keeps ----------------------------------------------------------------------------


def test_what_it_remembers_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demo.json"
    memory = Memory("whsec_a", {"county_eoc": "whsec_b"})
    memory.save(path)
    write = Path.write_text

    def broken_off(at: Path, text: str) -> int:
        write(at, text[: len(text) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", broken_off)
        with pytest.raises(OSError, match="No space"):
            replace(memory, incident_id="1").save(path)
    assert Memory.load(path) == memory
    replace(memory, incident_id="2").save(path)
    assert Memory.load(path).incident_id == "2"
    assert path.stat().st_mode & 0o777 == 0o600


# --- The record, changed in a copy ------------------------------------------------------------


@pytest.fixture
def copy(played: tuple[Installation, str]) -> Iterator[Installation]:
    with short_folder() as folder:
        shutil.copytree(played[0].home, folder / "home")
        yield Embedded(folder / "home", {}, {})


async def test_once_is_for_a_new_home(copy: Installation) -> None:
    """What an earlier run left would be counted with it. Nothing is started to say so."""
    log = copy.home / "up.log"
    before = log.stat().st_mtime_ns, (copy.home / "ledger.db").read_bytes()
    code, out, err = await copy.run("demo", "--once", "--json")
    assert (code, out) == (1, "")
    assert err.strip().endswith("[not_fresh]") and len(err.splitlines()) == 1
    assert (log.stat().st_mtime_ns, (copy.home / "ledger.db").read_bytes()) == before


async def test_as_it_is_it_verifies(copy: Installation) -> None:
    code, out, _ = await copy.run("verify")
    assert code == 0 and out.startswith("The record is whole: ")
    code, out, _ = await copy.run("verify", "--json")
    verdict = json.loads(out)
    assert code == 0 and verdict["ok"] and verdict["fault"] is None
    assert verdict["anchor"]["number"] == verdict["entries"], "the end was anchored"


def number_of(ledger: sqlite3.Connection, kind: str) -> int:
    """The number of the first entry of a kind."""
    number: int = ledger.execute(
        "SELECT min(number) FROM seals JOIN entries ON id = entry_id WHERE kind = ?", (kind,)
    ).fetchone()[0]
    return number


Change = Callable[[sqlite3.Connection], int]


def of(kind: str, statement: str) -> Change:
    """Changes the first entry of a kind, and gives its number."""

    def change(ledger: sqlite3.Connection) -> int:
        number = number_of(ledger, kind)
        entry = "(SELECT entry_id FROM seals WHERE number = :number)"
        assert ledger.execute(statement.replace("?", entry), {"number": number}).rowcount == 1
        return number

    return change


def last_entry_taken_out(ledger: sqlite3.Connection) -> int:
    number: int = ledger.execute("SELECT max(number) FROM seals").fetchone()[0]
    ledger.execute("DELETE FROM seals WHERE number = ?", (number,))
    return number


def chain_made_anew(ledger: sqlite3.Connection) -> int:
    """Everything from an entry on written again, and well: only the anchor tells."""
    from broadcaster.record import seal

    number = number_of(ledger, "UpdateReleased")
    ledger.execute(
        "UPDATE entries SET body = replace(body, '\"number\":1', '\"number\":7') WHERE id = "
        "(SELECT entry_id FROM seals WHERE number = ?)", (number,),
    )  # fmt: skip
    rows = ledger.execute(
        "SELECT number, previous_hash, body FROM seals JOIN entries ON id = entry_id "
        "WHERE number >= ? ORDER BY number", (number,),
    ).fetchall()  # fmt: skip
    previous = rows[0][1]
    for at, _, body in rows:
        hash_ = seal(previous, at, body)
        ledger.execute("UPDATE seals SET previous_hash = ?, hash = ? WHERE number = ?",
                       (previous, hash_, at))  # fmt: skip
        previous = hash_
    return int(rows[-1][0])


CHANGES: dict[str, Change] = {
    "a byte of a body": of(
        "DecisionRecorded",
        "UPDATE entries SET body = replace(body, '\"approved\"', '\"approvee\"') WHERE id = ?"),
    "who did it": of(
        "UpdateReleased",
        "UPDATE entries SET body = replace(body, '\"actor\":\"gate\"', '\"actor\":\"date\"') "
        "WHERE id = ?"),
    "a byte of a hash": of(
        "ReportAccepted",
        "UPDATE seals SET hash = (CASE substr(hash, 1, 1) WHEN 'f' THEN 'e' ELSE 'f' END) "
        "|| substr(hash, 2) WHERE entry_id = ?"),
    "a previous hash": of(
        "PostDelivered", "UPDATE seals SET previous_hash = hash WHERE entry_id = ?"),
    "a time beside its body": of(
        "RevisionSubmitted", "UPDATE entries SET at = replace(at, '2', '3') WHERE id = ?"),
    "a private value": of(
        "IncidentOpened",
        "UPDATE private_values SET value = replace(value, 'Blvd', 'Blvt') WHERE entry_id = ?"),
    "a salt": of(
        "IncidentOpened", "UPDATE private_values SET salt = zeroblob(16) WHERE entry_id = ?"),
    "a private value taken out": of(
        "IncidentOpened", "DELETE FROM private_values WHERE entry_id = ?"),
    "an entry taken out": of("UpdateReleased", "DELETE FROM seals WHERE entry_id = ?"),
    "an entry's body taken out": of("UpdateReleased", "DELETE FROM entries WHERE id = ?"),
    "the last entry taken out": last_entry_taken_out,
    "the chain made anew": chain_made_anew,
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
async def test_verify_names_what_was_changed(what: str, copy: Installation) -> None:
    ledger = sqlite3.connect(copy.home / "ledger.db")
    triggers = [row[0] for row in ledger.execute("SELECT name FROM sqlite_master "
                                                 "WHERE type = 'trigger'")]  # fmt: skip
    assert {"entries_update_refused", "seals_update_refused"} <= set(triggers)
    for name in triggers:
        ledger.execute(f"DROP TRIGGER {name}")
    number = CHANGES[what](ledger)
    ledger.commit()
    ledger.close()
    code, out, _ = await copy.run("verify", "--json")
    verdict = json.loads(out)
    assert (code, verdict["ok"]) == (1, False), verdict
    assert f"entry {number}" in verdict["fault"], verdict


@pytest.mark.parametrize("table", ["entries", "seals"])
@pytest.mark.parametrize("act", ["UPDATE {} SET rowid = rowid", "DELETE FROM {}"])
async def test_the_record_cannot_be_changed(table: str, act: str, copy: Installation) -> None:
    """Without taking the guard away first."""
    ledger = sqlite3.connect(copy.home / "ledger.db")
    try:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            ledger.execute(act.format(table))
    finally:
        ledger.close()


async def test_a_byte_of_the_file_itself(copy: Installation) -> None:
    """Below SQL: where the text of an entry stands in the file."""
    file = copy.home / "ledger.db"
    data = bytearray(file.read_bytes())
    at = data.index(b'"kind":"UpdateReleased"')
    data[at + 10] ^= 1
    file.write_bytes(data)
    code, out, err = await copy.run("verify")
    assert (code, out) == (1, "")
    assert "(UpdateReleased) is not what was written" in err and len(err.splitlines()) == 1
