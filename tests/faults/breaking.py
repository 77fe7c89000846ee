"""Breaks a receiver of the practice run that runs, by hand, so that one can watch the pages.

    python -m tests.faults.breaking list
    python -m tests.faults.breaking county_eoc hang
    python -m tests.faults.breaking school_district slow 8s
    python -m tests.faults.breaking county_eoc mend

Something broken stands where the receiver stood until Ctrl-C, until `mend` from another terminal,
or until another fault takes its place. What gets through arrives at the receiver and is counted
there. The practice run is the one in `--home`, or `BROADCASTER_HOME`, or `.broadcaster` beside
this project, as for `make run`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.faults.proxy import NEVER, Proxy, Toxics
from tests.faults.receiver import Receiver, Way, answers

ROOT = Path(__file__).parents[2]


class Away(Proxy):
    """A port where nobody listens."""

    async def accept(self) -> None:
        """Takes no connection."""


@dataclass(frozen=True)
class Fault:
    """`how`: what stands in the receiver's place, by the ports of both and the number given."""

    what: str  #: with {} for the number
    how: Callable[[int, int, float], AbstractAsyncContextManager[object]]


def on_the_way(toxics: Callable[[float], Toxics]) -> Callable[[int, int, float], Proxy]:
    """A proxy: the receiver gets the message, and its answer suffers this."""

    def made(to: int, port: int, number: float) -> Proxy:
        return Proxy(to, port, down=toxics(number))

    return made


def instead(way: Callable[[float], Way]) -> Callable[[int, int, float], Receiver]:
    """Another server: the receiver gets nothing."""
    return lambda _, port, number: Receiver(port=port, ways=[way(number)])


FAULTS = {
    "slow": Fault("takes the message, and answers {} s later",
                  on_the_way(lambda seconds: Toxics(latency=seconds))),
    "hang": Fault("takes the message, and never answers",
                  on_the_way(lambda _: Toxics(timeout=NEVER))),
    "drip": Fault("takes the message, and answers a byte a second",
                  on_the_way(lambda _: Toxics(slicer=1, delay=1))),
    "reset": Fault("takes the message, and resets the connection as it begins to answer",
                   on_the_way(lambda _: Toxics(reset_peer=1))),
    "cut": Fault("takes the message, and hangs up after {} bytes of its answer",
                 on_the_way(lambda size: Toxics(limit_data=int(size)))),
    "away": Fault("is not there: nobody listens", lambda to, port, _: Away(to, port)),
    "status": Fault("takes nothing, and answers {}",
                    instead(lambda status: answers(int(status), acts=False))),
    "429": Fault("takes nothing, and asks us to come back after {} s",
                 instead(lambda s: answers(429, {"Retry-After": f"{s:.0f}"}))),
}  # fmt: skip


async def breaks(receiver: str, door: int, fault: Fault, number: float) -> None:
    """Stands in the receiver's place for as long as the receiver lets it."""
    async with asked(door, "PUT") as line:
        port = int(await line.content.readline())
        async with fault.how(door, port, number):
            print(f"{receiver} {fault.what.format(f'{number:g}')}. Ctrl-C mends it.", flush=True)
            with contextlib.suppress(aiohttp.ClientError):
                await line.content.read()
    print(f"{receiver} is mended.", flush=True)


async def mends(receiver: str, door: int) -> None:
    async with asked(door, "DELETE"):
        print(f"{receiver} is mended.")


@contextlib.asynccontextmanager
async def asked(door: int, method: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """PUT asks the receiver to stand aside while the answer lasts; DELETE, to come back."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.request(method, f"http://127.0.0.1:{door}/aside") as answer,
    ):
        yield answer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.breaking")
    parser.add_argument("receiver", help="its name; `list` shows the names and what can be done")
    parser.add_argument("fault", nargs="?", choices=[*FAULTS, "mend"])
    parser.add_argument("number", nargs="?", help="as 8s, 503")
    home = os.environ.get("BROADCASTER_HOME", str(ROOT / ".broadcaster"))
    parser.add_argument("--home", type=Path, default=home)
    given = parser.parse_args()
    try:
        doors = json.loads((given.home / "demo.json").read_text())["doors"]
    except (OSError, KeyError):
        sys.exit(f"No practice run has begun in {given.home}. Start one: make run.")
    if given.receiver == "list":
        print("\n".join(["receivers:", *(f"  {name}" for name in doors), "faults:"]))
        print("\n".join(f"  {name:8}{fault.what.format('N')}" for name, fault in FAULTS.items()))
        return
    if given.receiver not in doors or given.fault is None:
        parser.error(f"name one of {', '.join(doors)}, and what is to happen to it")
    if given.number is None and given.fault != "mend" and "{}" in FAULTS[given.fault].what:
        parser.error(f"{given.fault} takes a number")
    door = doors[given.receiver]
    try:
        if given.fault == "mend":
            asyncio.run(mends(given.receiver, door))
        else:
            number = float((given.number or "0").removesuffix("s"))
            asyncio.run(breaks(given.receiver, door, FAULTS[given.fault], number))
    except aiohttp.ClientConnectorError:
        sys.exit(f"The practice run in {given.home} does not run. Start it: make run.")
    except KeyboardInterrupt:
        print(f"{given.receiver} is mended.")


if __name__ == "__main__":
    main()
