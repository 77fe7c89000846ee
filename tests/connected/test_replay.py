"""A real export, replayed: in order, again, and shuffled into another home."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broadcaster.errors import Refusal
from tests.connected.installation import Embedded, Installation, short_folder

#: Seconds for one replay of the whole file beside another (each takes about 45 alone).
WITHIN = 300.0

KEYS = {"rows", "accepted", "repeated", "refused", "incidents", "suggested", "suppressed",
        "seconds"}  # fmt: skip

Json = dict[str, Any]


@pytest.fixture(scope="module")
def export(corpus: Path) -> Path:
    """A month of the San Antonio police's calls (corpus/cad_sapd/SOURCES.md)."""
    file = corpus / "cad_sapd" / "sapd_24-10.csv"
    if not file.exists():
        pytest.skip(f"the corpus has no {file.name}: see its README")
    return file


@pytest.fixture(scope="module")
def homes(export: Path) -> Iterator[dict[str, tuple[Installation, Json]]]:
    """The file, replayed into one home in order and into another shuffled; and what was said."""
    with short_folder() as folder, export.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
        random.Random(20241001).shuffle(rows)
        shuffled = folder / "shuffled.csv"
        with shuffled.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([header, *rows])
        homes = {name: Embedded(folder / name, {}, {}) for name in ("order", "shuffled")}
        files = {"order": export, "shuffled": shuffled}

        async def both() -> list[Json]:
            return await asyncio.gather(*(replay(homes[name], files[name]) for name in homes))

        said = asyncio.run(both())
        yield {name: (homes[name], each) for name, each in zip(homes, said, strict=True)}


async def replay(at: Installation, file: Path) -> Json:
    code, out, err = await at.run("replay", str(file), "--map", "sapd", "--json", within=WITHIN)
    assert code == 0, err
    last: Json = json.loads(out.splitlines()[-1])
    return last


Homes = dict[str, tuple[Installation, Json]]


def test_it_ends_with_its_figures(homes: Homes) -> None:
    for _, said in homes.values():
        assert said.keys() >= KEYS
        assert said["rows"] == 20_530
        assert (said["accepted"], said["repeated"], said["refused"]) == (20_528, 0, 2)
        assert said["incidents"] == 20_528
        assert said["suggested"] + said["suppressed"] <= said["incidents"]
        assert said["suggested"] > 500 and said["suppressed"] > 15_000


def test_each_refused_row_is_a_problem_with_its_reason(homes: Homes, export: Path) -> None:
    at, said = homes["order"]
    found = _rows(at, "SELECT line, code, field, why, do, state FROM problems ORDER BY line")
    with export.open(newline="", encoding="utf-8") as file:
        lines = enumerate(csv.DictReader(file), start=2)  # the header is line 1
        unnumbered = [line for line, row in lines if not row["IncidentNumber"].strip()]
    assert [line for line, *_ in found] == unnumbered and len(found) == said["refused"]
    for _, code, field, why, do, state in found:
        assert (code, field, state) == ("invalid_field", "IncidentNumber", "open")
        assert "IncidentNumber is missing" in why and do.endswith(".")


async def test_a_second_run_accepts_none(homes: Homes, export: Path) -> None:
    at, first = homes["order"]
    problems = _rows(at, "SELECT count(*) FROM problems")
    again = await replay(at, export)
    assert (again["rows"], again["accepted"], again["repeated"]) == (20_530, 0, first["accepted"])
    assert (again["refused"], again["incidents"], again["suggested"]) == (first["refused"], 0, 0)
    assert _rows(at, "SELECT count(*) FROM problems") == problems, "a row is noted once"


def test_shuffled_it_gives_the_same_incidents(homes: Homes) -> None:
    ordered, shuffled = (_incidents(homes[name][0]) for name in ("order", "shuffled"))
    assert len(ordered) == 20_528
    assert ordered == shuffled


def _incidents(at: Installation) -> dict[str, Json]:
    """Every incident as folded, without what tells when it came here."""
    found = {}
    for id, body, handling in _rows(at, "SELECT id, body, handling FROM incidents"):
        incident = json.loads(body)
        for name in ("heard_at", "closes_at"):
            del incident[name]
        found[id] = {**incident, "handling": handling}
    return found


async def test_the_record_verifies(homes: Homes) -> None:
    code, out, _ = await homes["shuffled"][0].run("verify", "--json")
    verdict = json.loads(out)
    assert (code, verdict["ok"]) == (0, True)
    assert verdict["entries"] > 2 * 20_528, "each report and each incident is on it"


def _rows(at: Installation, query: str) -> list[Any]:
    ledger = sqlite3.connect(at.home / "ledger.db")
    try:
        return ledger.execute(query).fetchall()
    finally:
        ledger.close()


# --- What cannot be replayed ------------------------------------------------------------------


async def test_it_says_why_not(tmp_path: Path) -> None:
    async with Embedded.fresh() as at:
        (tmp_path / "empty.csv").touch()
        (tmp_path / "other.csv").write_text("a,b\n1,2\n")
        for file, map_, code in (
            ("absent.csv", "sapd", "file_unreadable"),
            ("empty.csv", "sapd", "columns_missing"),
            ("other.csv", "sapd", "columns_missing"),
            ("other.csv", "nobody", "map_unknown"),
        ):
            with pytest.raises(Refusal) as refusal:
                await at.order("replay", file=str(tmp_path / file), map=map_)
            assert refusal.value.code == code
        left, _, err = await at.run("replay", str(tmp_path / "absent.csv"), "--map", "sapd")
        assert left == 1 and "[file_unreadable]" in err and len(err.splitlines()) == 1
