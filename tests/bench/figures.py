"""What every bench measures with: its rows in `figures.json`, and what a process costs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

Json = dict[str, Any]

#: How many processes wanted a processor before the bench began: above 1 others were at work.
LOAD = round(os.getloadavg()[0], 1)

FIGURES = Path(__file__).with_name("figures.json")


def timing(
    bench: str, setup: str, subject: str, took: Sequence[float], *, n: int | None = None
) -> Json:
    """A row of times in ms. `n`: how many channels and the like; else how often it was timed."""
    cuts = quantiles(took, n=100, method="inclusive")
    return {
        "bench": bench, "setup": setup, "subject": subject, "n": n or len(took),
        "p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1),
        "worst_ms": round(max(took), 1), "runs": len(took) if n else 1, **_where(),
    }  # fmt: skip


def figure(bench: str, setup: str, subject: str, value: float, unit: str) -> Json:
    """A row of one value."""
    return {"bench": bench, "setup": setup, "subject": subject, "value": round(value, 1),
            "unit": unit, "runs": 1, **_where()}  # fmt: skip


def tally(bench: str, setup: str, subject: str, **measured: float | str) -> Json:
    """A row of several values, each by what it says."""
    return {"bench": bench, "setup": setup, "subject": subject, "measured": measured, **_where()}


def keep(rows: Sequence[Json]) -> None:
    """Puts the rows in the place of those that their benches wrote before, and prints them."""
    measured = {row["bench"] for row in rows}
    before = json.loads(FIGURES.read_text()) if FIGURES.exists() else []
    kept = [row for row in before if row["bench"] not in measured]
    FIGURES.write_text(json.dumps([*kept, *rows], indent=1, ensure_ascii=False) + "\n")
    show(rows)


def show(rows: Iterable[Json]) -> None:
    """The README's tables."""
    rows = list(rows)
    if timed := [row for row in rows if "p50_ms" in row]:
        print("\n| set-up | what | n | p50 | p99 | worst |\n| --- | --- | --- | --- | --- | --- |")
        for row in timed:
            print(f"| {row['setup']} | {row['subject']} | {row['n']} | {row['p50_ms']} ms | "
                  f"{row['p99_ms']} ms | {row['worst_ms']} ms |")  # fmt: skip
    if measured := [row for row in rows if "value" in row]:
        print("\n| set-up | what | measured |\n| --- | --- | --- |")
        for row in measured:
            print(f"| {row['setup']} | {row['subject']} | {row['value']:,} {row['unit']} |")
    if counted := [row for row in rows if "measured" in row]:
        names = list(counted[0]["measured"])
        print("\n" + _line("set-up", "what", *names) + "\n" + _line(*["---"] * (len(names) + 2)))
        for row in counted:
            print(_line(row["setup"], row["subject"], *row["measured"].values()))


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that the processes have used (Linux)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Memory that a process holds (resident set; Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def _where() -> Json:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return {"machine": machine, "date": f"{datetime.now(UTC):%Y-%m-%d}", "load_before": LOAD}
