"""A receiver of the practice run is broken by hand, and is itself again afterwards."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.demo import Receiver
from tests.connected.installation import ROOT, until
from tests.faults.breaking import FAULTS, breaks, mends
from tests.faults.test_receiver import SECRET, send
from tests.patience import PATIENCE


@asynccontextmanager
async def well() -> AsyncIterator[tuple[Receiver, int]]:
    receiver = Receiver("county_eoc", SECRET)
    async with asyncio.timeout(PATIENCE), receiver.listening() as door:
        await send(receiver.port)
        yield receiver, door


async def has_arrived(receiver: Receiver, times: int) -> bool:
    return receiver.arrived.total() >= times


async def begun(capsys: pytest.CaptureFixture[str], says: str) -> None:
    async def said() -> bool:
        return says in capsys.readouterr().out

    await until(says, said)


@pytest.mark.parametrize(
    ("fault", "number", "error", "arrives"),
    [
        ("slow", 0.3, None, True),
        ("slow", 20, InDoubt, True),
        ("hang", 0, InDoubt, True),
        ("drip", 0, InDoubt, True),
        ("reset", 0, InDoubt, True),
        ("cut", 5, InDoubt, True),
        ("away", 0, TryLater, False),
        ("status", 503, InDoubt, False),
        ("status", 403, Refused, False),
        ("429", 30, TryLater, False),
    ],
)
async def test_it_breaks_and_is_mended(
    fault: str, number: float, error: type[Exception] | None, arrives: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """At the same port throughout; what arrives is counted by the receiver itself."""
    async with well() as (receiver, door):
        port = receiver.port
        breaking = asyncio.create_task(breaks("county_eoc", door, FAULTS[fault], number))
        await begun(capsys, "Ctrl-C mends it")
        if error is None:
            await send(port)
        else:
            with pytest.raises(error):
                await send(port)
        if arrives:  # the sender gives up by its own clock
            await until("it arrives", lambda: has_arrived(receiver, 2))
        assert receiver.arrived.total() == 1 + arrives
        await mends("county_eoc", door)
        await breaking
        await send(port)
        assert receiver.arrived.total() == 2 + arrives


async def test_another_fault_takes_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    async with well() as (receiver, door):
        first = asyncio.create_task(breaks("county_eoc", door, FAULTS["hang"], 0))
        await begun(capsys, "never answers")
        second = asyncio.create_task(breaks("county_eoc", door, FAULTS["status"], 403))
        await begun(capsys, "answers 403")
        await first
        with pytest.raises(Refused):
            await send(receiver.port)
        await mends("county_eoc", door)
        await second


async def test_whoever_breaks_it_may_be_killed(capsys: pytest.CaptureFixture[str]) -> None:
    async with well() as (receiver, door):
        breaking = asyncio.create_task(breaks("county_eoc", door, FAULTS["away"], 0))
        await begun(capsys, "nobody listens")
        with pytest.raises(TryLater):
            await send(receiver.port)
        breaking.cancel()

        async def answers() -> bool:
            try:
                await send(receiver.port)
            except TryLater:
                return False
            return True

        await until("it takes messages again", answers)


def test_it_tells_what_there_is_to_break(tmp_path: Path) -> None:
    def told(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.faults.breaking", "--home", str(tmp_path), *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert "make run" in told("list").stderr
    (tmp_path / "demo.json").write_text(json.dumps({"doors": {"county_eoc": 1}}))
    listed = told("list").stdout
    assert "county_eoc" in listed and all(f"\n  {name}" in listed for name in FAULTS)
    assert "does not run" in told("county_eoc", "hang").stderr
    assert "county_eoc" in told("school", "hang").stderr
    assert "takes a number" in told("county_eoc", "slow").stderr
