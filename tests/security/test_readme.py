"""The README beside this says what is so: its tests exist, its table is the gate's.

The tests that the fault matrix names (`tests/faults/README.md`) exist, too.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.streams.test_gate_checks import CHECKS, UNNOTICED

README = Path(__file__).with_name("README.md").read_text()
ROOT = Path(__file__).resolve().parents[2]
MATRIX = (ROOT / "tests" / "faults" / "README.md").read_text()
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)::(\w+)", README + MATRIX)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_it_names_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_every_row_of_the_matrix_stands_there() -> None:
    rows = re.findall(r"^\| (\d+)(?:–(\d+))? \|", MATRIX, re.MULTILINE)
    stand = [n for first, last in rows for n in range(int(first), int(last or first) + 1)]
    assert stand == list(range(1, 45))


def test_what_is_met_names_a_test() -> None:
    rows = [line for line in README.splitlines() if re.search(r"\| met[ |]", line)]
    assert len(rows) > 25
    for row in rows:
        assert "::" in row or "the same |" in row or "as 7.3 |" in row, row


def gate_table() -> str:
    """Each check of the gate: where, what, how its case is refused, and which case it is."""
    rows = [
        f"| `{check.of[1]}` | `{' '.join(check.condition.split())}` | `{check.code}` | "
        f"{check.case.__name__.replace('_', ' ')} |"
        for check in CHECKS
    ]
    return "\n".join(["| in | check | refused as | case |", "| --- | --- | --- | --- |", *rows])


def unnoticed_table() -> str:
    rows = [f"| `{of[1]}` | `{text}` | {why} |" for (of, text), why in UNNOTICED.items()]
    return "\n".join(
        ["| in | condition | why nothing gets through |", "| --- | --- | --- |", *rows]
    )


@pytest.mark.parametrize("table", [gate_table, unnoticed_table])
def test_the_gates_table_is_the_gates(table: object) -> None:
    assert callable(table)
    assert table() in README, f"put this in its place:\n{table()}"
