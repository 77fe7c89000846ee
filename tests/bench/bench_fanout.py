"""How fast an approval fans out: `make bench`.

From the start of the Commander's tap (the POST of the decision) to its arrival at the last of N
receivers, which answer after 50 ms. Embedded, Apache Kafka with SQLite, and Kafka with PostgreSQL
and a process a step; beside them, in the same rounds, what does nothing but send: bare aiohttp
(all posts at once), Apprise, and Debian's Alertmanager where it is installed.

Every round visits every subject, each started anew, so that none works while another is measured
and what the machine does besides falls on all of them.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from statistics import median

from tests.bench.figures import Json, keep, timing
from tests.bench.peers import (
    ALERTMANAGER,
    APPRISE,
    BARE,
    PROGRAM,
    Receivers,
    Sender,
    alertmanager,
    bare,
    last_of,
    releasing,
    with_apprise,
)
from tests.bench.setups import SETUPS, servers
from tests.connected.production import Servers

ROUNDS, RELEASES, WARM_UPS = 5, 30, 3
WIDTHS = (5, 10, 40)


async def measure(on: Servers) -> None:
    took: dict[tuple[int, str], list[float]] = {}
    async with Receivers.running() as receivers:
        for n in WIDTHS:
            for each_round in range(ROUNDS):
                for name, subject in subjects(on, receivers, n).items():
                    async with subject as sender:
                        times = [await last_of(receivers, n, sender, update)
                                 for update in range(WARM_UPS + RELEASES // ROUNDS)]  # fmt: skip
                    took.setdefault((n, name), []).extend(times[WARM_UPS:])
                    print(f"N={n}, round {each_round + 1}: {name}, "
                          f"{median(times[WARM_UPS:]):.1f} ms", file=sys.stderr)  # fmt: skip
    rows = [
        timing("fanout", name, "approve → the last of n", times, n=n)
        for (n, name), times in took.items()
    ]
    keep(rows)
    show_ratios(rows)


def show_ratios(rows: list[Json]) -> None:
    p50 = {(row["n"], row["setup"]): row["p50_ms"] for row in rows}
    print("\n| set-up | n | × bare aiohttp, p50 | Apprise ÷ it, p50 |\n| --- | --- | --- | --- |")
    for (n, setup), ms in p50.items():
        if setup in SETUPS:
            print(f"| {setup} | {n} | {ms / p50[n, BARE]:.1f} | {p50[n, APPRISE] / ms:.1f} |")


# --- Who sends --------------------------------------------------------------------------------


def subjects(on: Servers, to: Receivers, n: int) -> dict[str, AbstractAsyncContextManager[Sender]]:
    return {
        BARE: bare(to, n),
        APPRISE: with_apprise()(to, n),
        **({ALERTMANAGER: alertmanager()(to, n)} if PROGRAM else {}),
        **{
            name: releasing(setup(on, **to.settings(n)), n, ahead=True)
            for name, setup in SETUPS.items()
        },
    }


if __name__ == "__main__":
    with servers() as on:
        asyncio.run(measure(on))
