"""The proxy itself: each toxic does what it promises, told by bytes and by order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from tests.faults.proxy import NEVER, Proxy, Toxics
from tests.faults.receiver import reset
from tests.patience import PATIENCE

SAID = bytes(range(256)) * 1024  # 256 KiB

#: The clients' connections, closed after each test.
CLIENTS: list[asyncio.StreamWriter] = []


class Echo:
    """Says back what it hears, and notes how a connection ended."""

    def __init__(self) -> None:
        self.heard = 0
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.open: set[asyncio.StreamWriter] = set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while data := await reader.read(65_536):
                self.heard += len(data)
                writer.write(data)
                await writer.drain()
            self.ended.put_nowait("closed")
        except ConnectionError:
            self.ended.put_nowait("reset")
        writer.close()
        self.open.discard(writer)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def proxied(seed: int = 0) -> AsyncIterator[tuple[Proxy, Echo]]:
    echo = Echo()
    server = await asyncio.start_server(echo.take, "127.0.0.1", 0)
    async with (
        asyncio.timeout(PATIENCE),
        Proxy(server.sockets[0].getsockname()[1], seed=seed) as proxy,
    ):
        yield proxy, echo
        for each in CLIENTS:
            each.close()
        CLIENTS.clear()
    while echo.open:
        await echo.ended.get()
    server.close()
    await server.wait_closed()


async def connected(proxy: Proxy) -> Ends:
    ends = await asyncio.open_connection("127.0.0.1", proxy.port)
    CLIENTS.append(ends[1])
    return ends


async def asked(ends: Ends, said: bytes = b"ping") -> bytes:
    """What comes back of what is said, whole."""
    ends[1].write(said)
    return await ends[0].readexactly(len(said))


async def how_it_ends(ends: Ends) -> tuple[int, str]:
    """How many bytes still come, and whether a FIN or a RST ends it."""
    heard = 0
    try:
        while data := await ends[0].read(65_536):
            heard += len(data)
    except ConnectionResetError:
        return heard, "reset"
    return heard, "closed"


async def silent(ends: Ends) -> None:
    """Nothing comes for as long as one would wait for an answer that comes."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await ends[0].read(1)


async def test_without_toxics_all_passes_and_either_end_may_close() -> None:
    async with proxied() as (proxy, echo):
        ends = await connected(proxy)
        ends[1].write(SAID)
        ends[1].write_eof()
        assert await ends[0].read() == SAID
        assert await echo.ended.get() == "closed"
        ends = await connected(proxy)
        assert await asked(ends) == b"ping"
        reset(ends[1])
        assert await echo.ended.get() == "reset"
        assert proxy.connections == 2


async def test_latency_comes_later_in_the_same_order() -> None:
    """Each piece by itself: what came at the same time does not queue up."""
    async with proxied() as (proxy, _):
        ends, quick = await connected(proxy), await connected(proxy)
        proxy.down = Toxics(latency=0.5, jitter=0.1)
        began = time.monotonic()
        ends[1].write(b"a")
        await asyncio.sleep(0.2)
        ends[1].write(b"b")
        assert await ends[0].readexactly(2) == b"ab"
        took = time.monotonic() - began
        assert 0.4 <= took < 1, "not one after the other"
        ends[1].write(b"c")
        await proxy.mend()
        assert await ends[0].readexactly(1) == b"c"
        assert await asked(quick) == b"ping"


async def test_jitter_has_a_seed() -> None:
    async def drawn(seed: int) -> list[float]:
        async with proxied(seed) as (proxy, _):
            await asked(await connected(proxy))
            return [proxy.chance.random() for _ in range(3)]

    assert await drawn(1) == await drawn(1) != await drawn(2)


async def test_bandwidth_holds_the_rate_and_loses_nothing() -> None:
    async with proxied() as (proxy, _):
        ends = await connected(proxy)
        proxy.up = Toxics(bandwidth=10_000)
        began = time.monotonic()
        assert await asked(ends, SAID[:5_000]) == SAID[:5_000]
        assert time.monotonic() - began >= 0.4, "half a second's bytes"
        proxy.up = Toxics(bandwidth=10)
        ends[1].write(SAID)
        await ends[0].readexactly(1)
        await proxy.mend()
        assert await ends[0].readexactly(len(SAID) - 1) == SAID[1:], "at once, and whole"


async def test_slicer_gives_small_pieces_with_a_pause_between() -> None:
    async with proxied() as (proxy, _):
        ends = await connected(proxy)
        proxy.down = Toxics(slicer=3, delay=0.1)
        ends[1].write(b"0123456789")
        pieces, came = [], []
        for _ in range(4):
            pieces.append(await ends[0].read(100))
            came.append(time.monotonic())
        assert pieces == [b"012", b"345", b"678", b"9"]
        assert all(later - sooner >= 0.05 for sooner, later in pairwise(came))


async def test_slow_close_tells_the_end_later() -> None:
    async with proxied() as (proxy, echo):
        ends = await connected(proxy)
        proxy.down = Toxics(slow_close=NEVER)
        ends[1].write(b"ping")
        ends[1].write_eof()
        assert await echo.ended.get() == "closed"
        assert await ends[0].readexactly(4) == b"ping", "what was said comes"
        await silent(ends)
        await proxy.mend()
        assert await how_it_ends(ends) == (0, "closed")


async def test_timeout_stops_one_direction_and_closes_when_it_is_over() -> None:
    async with proxied() as (proxy, echo):
        ends = await connected(proxy)
        proxy.down = Toxics(timeout=0.5)
        ends[1].write(b"ping")
        await silent(ends)
        assert echo.heard == 4, "the other direction goes on"
        assert await how_it_ends(ends) == (0, "closed")


async def test_timeout_may_never_be_over_and_what_was_stopped_does_not_go_on() -> None:
    async with proxied() as (proxy, echo):
        ends = await connected(proxy)
        proxy.up = Toxics(timeout=NEVER)
        ends[1].write(b"ping")
        await silent(ends)
        proxy.down = Toxics(latency=0.01)
        await silent(ends)
        assert echo.heard == 0
        await proxy.mend()
        assert await how_it_ends(ends) == (0, "closed")
        assert await asked(await connected(proxy)) == b"ping"


@pytest.mark.parametrize(
    ("toxics", "end"),
    [
        (Toxics(reset_peer=0), (0, "reset")),
        (Toxics(limit_data=0), (0, "closed")),
        (Toxics(limit_data=10), (10, "closed")),
        (Toxics(limit_data=100_000), (100_000, "closed")),
    ],
)
async def test_cut_after_so_many_bytes(toxics: Toxics, end: tuple[int, str]) -> None:
    async with proxied() as (proxy, _):
        ends = await connected(proxy)
        proxy.down = toxics
        ends[1].write(SAID)
        assert await how_it_ends(ends) == end


async def test_reset_after_so_many_bytes_on_both_sides() -> None:
    """Of what was on its way a RST takes some along."""
    async with proxied() as (proxy, echo):
        ends = await connected(proxy)
        proxy.up = Toxics(reset_peer=1_000)
        ends[1].write(SAID)
        heard, end = await how_it_ends(ends)
        assert end == "reset" and heard <= 1_000
        assert await echo.ended.get() == "reset" and echo.heard <= 1_000


async def test_what_has_passed_before_counts() -> None:
    async with proxied() as (proxy, _):
        ends = await connected(proxy)
        assert await asked(ends, b"0123456789") == b"0123456789"
        proxy.down = Toxics(limit_data=10)
        assert await how_it_ends(ends) == (0, "closed")


async def test_refused_as_by_a_process_that_died() -> None:
    async with proxied() as (proxy, echo):
        ends = await connected(proxy)
        assert await asked(ends) == b"ping"
        await proxy.refuse()
        assert await how_it_ends(ends) == (0, "reset")
        assert await echo.ended.get() == "reset"
        with pytest.raises(ConnectionRefusedError):
            await connected(proxy)
        await proxy.mend()
        assert await asked(await connected(proxy)) == b"ping", "at the same port"


async def test_a_black_hole_takes_no_connection_and_keeps_what_is_open() -> None:
    async with proxied() as (proxy, echo):
        ends = await connected(proxy)
        assert await asked(ends) == b"ping"
        proxy.blackhole()
        ends[1].write(b"ping")
        await silent(ends)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await connected(proxy)
        assert echo.heard == 4 and echo.ended.empty()
        await proxy.mend()
        assert await asked(await connected(proxy)) == b"ping"


async def test_a_server_that_is_away_resets_whoever_comes() -> None:
    async with proxied() as (proxy, _):
        proxy.to = 1
        assert await how_it_ends(await connected(proxy)) == (0, "reset")
