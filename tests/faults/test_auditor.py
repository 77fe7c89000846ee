"""The auditor itself: a good run passes, and each thing that must not be is found."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.connected.installation import Embedded
from tests.faults.judging import Story, faults, judged
from tests.faults.planting import SPOILED, copied, finds


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def good() -> AsyncIterator[Path]:
    async with Embedded.fresh(receivers={"county": True, "school": False}) as at:
        story = Story(at)
        await story.two_updates()
        yield await story.case()


def test_a_good_run_passes(good: Path, tmp_path: Path) -> None:
    found, figures = judged(copied(good, tmp_path))
    assert found == []
    assert figures == {
        "kills": 0, "releases": 2, "posts": 6, "lost": 0, "second_posts_abc": 0,
        "in_doubt_surfaced": 0, "unapproved": 0, "order_violations": 0, "record_ok": True,
        "recover_p50_ms": None, "recover_p99_ms": None,
    }  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_it_finds(what: str, good: Path, tmp_path: Path) -> None:
    finds(what, good, tmp_path)


@pytest.mark.parametrize(("what", "figure"), [
    ("acted never", "lost"), ("acted twice", "second_posts_abc"),
    ("other bytes", "unapproved"), ("out of order", "order_violations"),
])  # fmt: skip
def test_it_counts(what: str, figure: str, good: Path, tmp_path: Path) -> None:
    assert finds(what, good, tmp_path)[figure] > 0


def test_it_measures_how_soon_a_kill_was_recovered_from(good: Path, tmp_path: Path) -> None:
    """By the slowest channel; what never went on is a fault."""
    copy = copied(good, tmp_path)
    case = json.loads(copy.read_text())
    copy.write_text(json.dumps(case | {"kills": [1.0]}))
    found, figures = judged(copy)
    assert (found, figures["kills"]) == ([], 1)
    assert figures["recover_p50_ms"] == figures["recover_p99_ms"] > 0
    copy.write_text(json.dumps(case | {"kills": [1e10]}))
    assert any("nothing was proved on county" in each for each in faults(copy))
