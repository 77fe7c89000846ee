"""The scripted channel itself: what it logs, when it acts, and how it breaks."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest

from adapters.webhook import Webhook
from broadcaster.accounts import WebhookAccount
from broadcaster.clock import SystemClock
from broadcaster.delivery import InDoubt, Message, Refused, TryLater
from broadcaster.update import Rendering
from broadcaster.world import Exercise
from tests.faults import receiver
from tests.faults.receiver import Book, Receiver, Request, answers, by, flaky, takes
from tests.patience import PATIENCE
from tests.story import EXERCISE, HOOK, NOW, StillClock

KEY = b"the judge's key, 32 bytes long.."
SECRET = "whsec_" + base64.b64encode(KEY).decode()
MESSAGE = Message[Exercise](
    post_id="post-1", world=EXERCISE, incident_public_id="k7m2p9qx", incident_url="http://x/p/k",
    number=1, kind="update", released_at=NOW, expires_at=NOW + timedelta(hours=1),
    rendering=Rendering(channel=HOOK.name, headline="Gas leak", text="Stay inside."),
)  # fmt: skip


@asynccontextmanager
async def judging(log: Path, *options: str) -> AsyncIterator[dict[str, int]]:
    """The program, running; gives its ports."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", receiver.__file__, "--secret", SECRET, "--log", str(log), *options,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            yield json.loads(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def send(port: int, key: bytes = KEY, clock: StillClock | None = None) -> None:
    """By the real adapter."""
    account = WebhookAccount(
        kind="webhook", name=HOOK.name, title=HOOK.title, secret="whsec_",
        url=f"http://127.0.0.1:{port}/",
    )  # fmt: skip
    adapter = Webhook(
        HOOK.model_copy(update={"deadline": timedelta(seconds=1)}), account, key=key,
        networks=[ip_network("127.0.0.0/8")],
        clock=clock or SystemClock(),
    )  # fmt: skip
    try:
        await adapter.send(MESSAGE)
    finally:
        await adapter.close()


async def ask(
    port: int, method: str = "POST", path: str = "/", body: str = "", **headers: str
) -> tuple[int, str]:
    """Status and body; 0 where the connection broke."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        try:
            async with session.request(method, path, data=body, headers=headers) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""


# --- A process of its own ---------------------------------------------------------------------


async def test_it_logs_what_came_and_acts_on_each(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with judging(log) as at:
        for _ in range(2):
            await send(at["port"])
    request, acted, *_ = [json.loads(line) for line in log.read_text().splitlines()]
    assert (request["is"], request["id"], request["verified"]) == ("request", "post-1", True)
    assert (acted["is"], acted["id"], acted["sha256"]) == ("acted", "post-1", request["sha256"])
    assert request["bytes"] > 100 and len(request["sha256"]) == 64
    assert receiver.count(log) == {"requests": 2, "unverified": 0, "acted": 2, "duplicates": 1}


async def test_declared_to_dedupe_it_acts_once_even_when_started_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        async with judging(log, "--idempotency", "A") as at:
            await send(at["port"])
    assert receiver.count(log) == {"requests": 2, "unverified": 0, "acted": 1, "duplicates": 0}


@pytest.mark.parametrize(
    ("way", "error", "acted"),
    [
        ("slow:0.2", None, 1),
        ("slow:20", InDoubt, 1),
        ("error", InDoubt, 1),
        ("reset", InDoubt, 1),
        ("reset-first", InDoubt, 0),
        ("hang", InDoubt, 1),
        ("hang-first", InDoubt, 0),
        ("drip", InDoubt, 1),
        ("cut:4", InDoubt, 1),
        ("later:7", InDoubt, 0),
        ("too-many:7", TryLater, 0),
        ("refuse:403", Refused, 0),
        ("flaky:1", None, 1),
    ],
)
async def test_the_ways_it_breaks(
    way: str, error: type[Exception] | None, acted: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with judging(log, "--ways", f"{way},ok") as at:
        if error is None:
            await send(at["port"])
        else:
            with pytest.raises(error):
                await send(at["port"])
        assert receiver.count(log)["acted"] == acted
        await send(at["port"])
    assert receiver.count(log)["acted"] == acted + 1


async def test_its_ways_can_be_set_while_it_runs(tmp_path: Path) -> None:
    async with judging(tmp_path / "log") as at:
        assert await ask(at["control"], "PUT", "/ways", "slow:0.2,refuse:410") == (204, "")
        await send(at["port"])
        for _ in range(2):
            with pytest.raises(Refused, match="ended the subscription"):
                await send(at["port"])


async def test_it_can_be_held(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with judging(log) as at:
        await ask(at["control"], "PUT", "/hold")
        with pytest.raises(InDoubt):
            await send(at["port"])
        assert receiver.count(log)["requests"] == 0
        waiting = asyncio.create_task(send(at["port"]))
        await ask(at["control"], "PUT", "/go-on")
        await waiting
    assert receiver.count(log)["acted"] in (1, 2), "the sender that gave up may be heard, too"


async def test_it_acts_on_nothing_that_is_not_signed_well(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with judging(log, "--ways", "ok,slow:0.1") as at:
        old = StillClock(datetime.now(UTC) - timedelta(minutes=6))
        for wrong in (send(at["port"], key=b"another key"), send(at["port"], clock=old)):
            with pytest.raises(Refused, match="401"):
                await wrong
    assert receiver.count(log) == {"requests": 2, "unverified": 2, "acted": 0, "duplicates": 0}


# --- The classes of DESIGN.md -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("idempotency", "asked", "acted"),
    [
        # the same key with the same body and with another; another key
        ("A", [("POST", "/", "x", "1"), ("POST", "/", "x", "1"), ("POST", "/", "y", "1"),
               ("POST", "/", "x", "2")], ["x", "x"]),
        # the same place with the same body, and with another
        ("B", [("PUT", "/posts/1", "x", ""), ("PUT", "/posts/1", "x", ""),
               ("PUT", "/posts/1", "y", ""), ("PUT", "/posts/2", "x", "")], ["x", "y", "x"]),
        ("C", [("POST", "/", "x", "1"), ("POST", "/", "x", "1")], ["x", "x"]),
        ("D", [("POST", "/", "x", "1"), ("POST", "/", "x", "1")], ["x", "x"]),
    ],
)  # fmt: skip
async def test_what_it_makes_of_a_message_that_comes_twice(
    idempotency: str, asked: list[tuple[str, str, str, str]], acted: list[str]
) -> None:
    async with Receiver(Book(idempotency=idempotency)) as there:
        for method, path, body, key in asked:
            headers = {"Idempotency-Key": key} if key else {}
            assert (await ask(there.port, method, path, body, **headers))[0] == 204
        assert [line["text"] for line in there.book.acted] == acted
        assert len(there.heard) == len(asked)


async def test_of_class_c_it_shows_after_its_lag_what_it_acted_on() -> None:
    async with Receiver(Book(idempotency="C", lag=0.3)) as there:
        await ask(there.port, body="Stay inside.")
        assert await ask(there.port, "GET") == (200, "[]")
        acted_at = there.book.acted[0]["at"]
        async with asyncio.timeout(PATIENCE):
            while not (found := json.loads((await ask(there.port, "GET"))[1])):
                pass
        assert time.time() - acted_at >= 0.3
        assert [line["text"] for line in found] == ["Stay inside."]


@pytest.mark.parametrize("idempotency", "ABD")
async def test_of_another_class_it_shows_nothing(idempotency: str) -> None:
    async with Receiver(Book(idempotency=idempotency)) as there:
        await ask(there.port, body="Stay inside.")
        assert (await ask(there.port, "GET"))[0] == 404


# --- Ways of a test's own ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (answers(200, body=b"<html>"), (200, "<html>")),
        (answers(200, body=b'{"id":'), (200, '{"id":')),
        (answers(200, body=b""), (200, "")),
        (answers(200, body=b'{"errors": [{}]}'), (200, '{"errors": [{}]}')),
        (answers(200, body=b"x" * 100, only=99), (0, "")),
        (by(lambda r: answers(404 if r.path == "/gone" else 200)), (200, "{}")),
    ],
)
async def test_it_says_what_it_is_told_to_say(way: receiver.Way, told: tuple[int, str]) -> None:
    async with Receiver(ways=[way]) as there:
        assert await ask(there.port) == told
        assert len(there.book.acted) == 1, "it says so"


async def test_it_breaks_by_chance_with_a_seed() -> None:
    async def broken(seed: int) -> tuple[list[int], int]:
        async with Receiver(ways=[flaky(seed, before=0.2, after=0.1)]) as there:
            heard = [(await ask(there.port, body=str(n)))[0] for n in range(60)]
            return heard, len(there.book.acted)

    once, again, other = await broken(1), await broken(1), await broken(2)
    assert once == again != other
    heard, acted = once
    assert set(heard) == {0, 204}
    assert heard.count(204) < acted < 60, "some broke after it acted, and some before"


async def test_a_request_acts_once_however_its_way_is_made() -> None:
    async with Receiver(ways=[receiver.acting(receiver.acting(takes))]) as there:
        await ask(there.port, body="x")
        assert len(there.book.acted) == 1
        assert there.heard[0] == Request("POST", "/", there.heard[0].headers, b"x")
