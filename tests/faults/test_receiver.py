"""The judge itself: what it logs, when it acts, and how it breaks. Sent to by the real adapter."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest

from adapters.webhook import Webhook
from broadcaster.clock import SystemClock
from broadcaster.delivery import InDoubt, Message, Refused, TryLater
from broadcaster.update import Rendering
from broadcaster.world import Exercise
from tests.faults import receiver
from tests.story import EXERCISE, HOOK, NOW, StillClock

KEY = b"the judge's key, 32 bytes long.."
SECRET = "whsec_" + base64.b64encode(KEY).decode()
MESSAGE = Message[Exercise](
    post_id="post-1", world=EXERCISE, incident_public_id="k7m2p9qx", incident_url="http://x/p/k",
    number=1, kind="update", released_at=NOW, expires_at=NOW + timedelta(hours=1),
    rendering=Rendering(channel=HOOK.name, headline="Gas leak", text="Stay inside."),
)  # fmt: skip


@asynccontextmanager
async def judging(log: Path, *options: str) -> AsyncIterator[int]:
    """The program, running; gives its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", receiver.__file__, "--secret", SECRET, "--log", str(log), *options,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            yield json.loads(await process.stdout.readline())["port"]
    finally:
        process.kill()
        await process.wait()


async def send(port: int, key: bytes = KEY, clock: StillClock | None = None) -> None:
    adapter = Webhook(
        HOOK, url=f"http://127.0.0.1:{port}/", key=key, networks=[ip_network("127.0.0.0/8")],
        clock=clock or SystemClock(),
    )  # fmt: skip
    try:
        await adapter.send(MESSAGE)
    finally:
        await adapter.close()


async def test_it_logs_what_came_and_acts_on_each(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with judging(log) as port:
        for _ in range(2):
            await send(port)
    request, acted, *_ = [json.loads(line) for line in log.read_text().splitlines()]
    assert (request["is"], request["id"], request["verified"]) == ("request", "post-1", True)
    assert (acted["is"], acted["id"], acted["sha256"]) == ("acted", "post-1", request["sha256"])
    assert request["bytes"] > 100 and len(request["sha256"]) == len(hashlib.sha256().hexdigest())
    assert receiver.count(log) == {"requests": 2, "unverified": 0, "acted": 2, "duplicates": 1}


async def test_declared_to_dedupe_it_acts_once_even_when_started_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        async with judging(log, "--dedupe") as port:
            await send(port)
    assert receiver.count(log) == {"requests": 2, "unverified": 0, "acted": 1, "duplicates": 0}


@pytest.mark.parametrize(
    ("way", "error", "acted"),
    [
        ("error", InDoubt, 1),
        ("reset", InDoubt, 1),
        ("reset-first", InDoubt, 0),
        ("later:7", TryLater, 0),
        ("refuse:403", Refused, 0),
    ],
)
async def test_the_ways_it_breaks(
    way: str, error: type[Exception], acted: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with judging(log, "--ways", f"{way},ok") as port:
        with pytest.raises(error):
            await send(port)
        assert receiver.count(log)["acted"] == acted
        await send(port)
    assert receiver.count(log)["acted"] == acted + 1


async def test_its_ways_can_be_set_while_it_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with judging(log) as port:
        async with aiohttp.ClientSession() as session:
            await session.put(f"http://127.0.0.1:{port}/ways", data="slow:0.2,refuse:410")
        await send(port)
        with pytest.raises(Refused, match="ended the subscription"):
            await send(port)


async def test_it_acts_on_nothing_that_is_not_signed_well(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with judging(log) as port:
        old = StillClock(datetime.now(UTC) - timedelta(minutes=6))
        for wrong in (send(port, key=b"another key"), send(port, clock=old)):
            with pytest.raises(Refused, match="401"):
                await wrong
    assert receiver.count(log) == {"requests": 2, "unverified": 2, "acted": 0, "duplicates": 0}
