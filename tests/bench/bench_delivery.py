"""What befalls a delivery, beside its peers: `python -m tests.bench.bench_delivery [B2 …]`.

    B2  one incident's updates at 1, 5 and 20 a second: how old what a receiver shows is
    B3  one of ten channels takes 8 s, hangs or drips: the other nine, approve → arrival
    B4  429 and 503 with Retry-After, a reset after acting, half an answer: early, lost, twice; in
        class D a person is asked of what is left open, as each receiver's first 503
    B5  kill -9 at random instants: lost, twice
    B6  an outage of all receivers: what arrives afterwards, in which order

B1, approve → all of N, is `bench_fanout`. All send to ten of the same receivers, one sender at a
time, those that are compared one after the other. `--seconds` is how long B2 and B3 tell updates,
`--outage` how long B6's lasts, `--kills` how many B5 has.

Ours is the embedded set-up. Its receivers are declared to dedupe (class A) and take one
`webhook-id` once, as Standard Webhooks asks of them; *class D* has receivers that do not, and act
each time. The peers send no id that stays the same, so that their receivers act each time, too.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import quantiles

from tests.bench.figures import Json, keep, tally, timing
from tests.bench.peers import (
    ALERTMANAGER,
    APPRISE,
    BARE,
    PROGRAM,
    Arrival,
    Receivers,
    Sender,
    Subject,
    alertmanager,
    bare,
    channel,
    releasing,
    with_apprise,
)
from tests.connected.installation import Embedded

CHANNELS = 10

#: The number of the update that warms up; those that count are numbered from 1.
WARM_UP = 0

RATES = (1, 5, 20)
SICK = {"takes 8 s": "slow 8", "hangs": "hang", "drips": "drip"}
RETRY_AFTER = 10
FAULTS = {
    f"429, Retry-After {RETRY_AFTER}": f"429 {RETRY_AFTER}",
    f"503, Retry-After {RETRY_AFTER}": f"503 {RETRY_AFTER}",
    "reset after acting": "reset", "half an answer": "half",
}  # fmt: skip

#: Seconds that are waited for what has not arrived: two probes of our breaker, and three flushes of
#: Alertmanager.
PATIENCE = 45.0

#: Seconds that are then waited for what comes twice.
CALM = 3.0

#: Updates that B4, and B6 within its outage, tell.
TOLD_IN_FAULT, TOLD_IN_OUTAGE = 3, 10

ALL = frozenset(channel(number) for number in range(CHANNELS))
HEALTHY = ALL - {channel(0)}

OURS, BLIND = "embedded", "embedded, class D"
SEED = 389


def ours(*, dedupes: bool) -> Subject:
    def subject(to: Receivers, n: int) -> AbstractAsyncContextManager[Sender]:
        return releasing(Embedded.fresh(**to.settings(n, dedupes=dedupes)), n)

    return subject


def with_peers(
    named: dict[str, Subject], *, retries: bool = False, group_interval: str = "5m"
) -> dict[str, Subject]:
    """Those named, and the peers. `retries`: where they must try again, those that can do."""
    return {
        **named,
        BARE: bare,
        APPRISE: with_apprise("?retry=3&wait=2" if retries else ""),
        **({ALERTMANAGER: alertmanager(group_interval=group_interval)} if PROGRAM else {}),
    }


# --- B2 ---------------------------------------------------------------------------------------


async def b2(given: argparse.Namespace) -> list[Json]:
    rows = []
    for rate in RATES:
        for name, subject in with_peers({OURS: ours(dedupes=True)}).items():
            async with told(subject) as (to, sender):
                due = await at_pace(sender, rate, given.seconds)
                ended = due[0] + given.seconds
                await all_there(to, len(due))
                acted = acts(to, dedupes=name == OURS)
                ages = staleness(acted, due, ended)
                last = max((each.at for each in acted), default=ended)
                rows.append(tally(
                    "delivery B2", name, f"{rate} updates/s for {given.seconds} s",
                    **{"age p50, ms": share(ages, 50), "age p99, ms": share(ages, 99),
                       "last arrival after the end, s": round(last - ended, 1),
                       **judged(acted, len(due))},
                ))  # fmt: skip
                print(rows[-1], file=sys.stderr)
    return rows


def staleness(acted: Sequence[Arrival], due: Sequence[float], ended: float) -> list[float]:
    """The ms since what a receiver shows was due, of all receivers each 10 ms."""
    ages = []
    for number in range(CHANNELS):
        came = sorted((each.at, each.number) for each in acted if each.channel == channel(number))
        at, shown = due[0], None
        while at < ended:
            while came and came[0][0] <= at:
                shown = came.pop(0)[1]
            ages.append((at - (due[0] if shown is None else due[shown - 1])) * 1000)
            at += 0.01
    return ages


# --- B3 ---------------------------------------------------------------------------------------


async def b3(given: argparse.Namespace) -> list[Json]:
    rows = []
    for what, way in {"none is sick": "ok", **SICK}.items():
        for name, subject in with_peers({OURS: ours(dedupes=True)}).items():
            async with told(subject) as (to, sender):
                await to.told(f"/{channel(0)}", way)
                due = await at_pace(sender, 1, given.seconds)
                await all_there(to, len(due), HEALTHY)
                first: dict[tuple[str, int], float] = {}
                for each in to.arrived:
                    first.setdefault((each.channel, each.number), each.at)
                took = [(at - sender.began[number]) * 1000
                        for (name_, number), at in first.items() if name_ in HEALTHY]  # fmt: skip
                missing = len(HEALTHY) * len(due) - len(took)
                subject_ = f"{what}: the healthy nine" + (f", {missing} lost" if missing else "")
                rows.append(timing("delivery B3", name, subject_, took, n=CHANNELS - 1))
                print(rows[-1], file=sys.stderr)
    return rows


# --- B4 ---------------------------------------------------------------------------------------


async def b4(given: argparse.Namespace) -> list[Json]:
    rows = []
    for what, way in FAULTS.items():
        own = {OURS: ours(dedupes=True), BLIND: ours(dedupes=False)}
        for name, subject in with_peers(own, retries=True, group_interval="10s").items():
            async with told(subject) as (to, sender):
                await to.each(CHANNELS, way)
                await at_pace(sender, 2, TOLD_IN_FAULT / 2)
                await all_there(to, TOLD_IN_FAULT)
                acted = acts(to, dedupes=name == OURS)
                requests = Counter(each.what for each in to.arrived)
                asked = await sender.asked()
                rows.append(tally(
                    "delivery B4", name, what,
                    **{"early requests": requests["early"], **judged(acted, TOLD_IN_FAULT, asked)},
                ))  # fmt: skip
                print(rows[-1], file=sys.stderr)
    return rows


# --- B5 ---------------------------------------------------------------------------------------


async def b5(given: argparse.Namespace) -> list[Json]:
    # Each is killed within about 1.5 times what it takes to tell all ten.
    crashed = {OURS: (ours(dedupes=True), 0.15), BLIND: (ours(dedupes=False), 0.15)}
    if PROGRAM:
        crashed[f"{ALERTMANAGER}, told once"] = alertmanager(), 0.01
        crashed[f"{ALERTMANAGER}, told again after a start"] = alertmanager(again=True), 0.01
    rows = []
    for name, (subject, within) in crashed.items():
        dice = random.Random(SEED)
        async with told(subject) as (to, sender):
            for update in range(1, given.kills + 1):
                telling = asyncio.create_task(sender.tell(update))
                await asyncio.sleep(dice.uniform(0, within))
                await sender.kill()
                await telling
            await all_there(to, given.kills)
            acted = acts(to, dedupes=name == OURS)
            asked = await sender.asked()
            rows.append(tally(
                "delivery B5", name, f"{given.kills} × kill -9",
                **judged(acted, given.kills, asked),
            ))  # fmt: skip
            print(rows[-1], file=sys.stderr)
    return rows


# --- B6 ---------------------------------------------------------------------------------------


async def b6(given: argparse.Namespace) -> list[Json]:
    rows = []
    own = {OURS: ours(dedupes=True)}
    for name, subject in with_peers(own, retries=True, group_interval="10s").items():
        async with told(subject) as (to, sender):
            await to.told("*", "away")
            await at_pace(sender, TOLD_IN_OUTAGE / given.outage, given.outage)
            await to.told("*", "back")
            back = time.monotonic()
            await all_there(to, TOLD_IN_OUTAGE)
            acted = acts(to, dedupes=name == OURS)
            after = [each.at - back for each in acted]
            rows.append(tally(
                "delivery B6", name, f"all away for {given.outage:g} s",
                **{"arrived of": f"{len(pairs(to))} of {CHANNELS * TOLD_IN_OUTAGE}",
                   "first after, s": round(min(after), 1) if after else "–",
                   "last after, s": round(max(after), 1) if after else "–",
                   **judged(acted, TOLD_IN_OUTAGE)},
            ))  # fmt: skip
            print(rows[-1], file=sys.stderr)
    return rows


# --- What they share --------------------------------------------------------------------------


@asynccontextmanager
async def told(subject: Subject) -> AsyncIterator[tuple[Receivers, Sender]]:
    """Receivers and one who sends to them; the first update, which warms up, counts for nothing."""
    async with Receivers.running() as to, subject(to, CHANNELS) as sender:
        await sender.tell(WARM_UP)
        await to.come(lambda: len(to.arrived) >= CHANNELS, PATIENCE)
        await asyncio.sleep(1)
        to.arrived.clear()
        yield to, sender


async def at_pace(sender: Sender, rate: float, seconds: float) -> list[float]:
    """Tells updates, each when it is due, whether the one before is through or not.

    When each was due (time.monotonic). Returns once the last was taken over.
    """
    began = time.monotonic()
    due, telling = [], []
    for each in range(round(rate * seconds)):
        due.append(began + each / rate)
        await asyncio.sleep(max(0.0, due[-1] - time.monotonic()))
        telling.append(asyncio.create_task(sender.tell(each + 1)))
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    await asyncio.wait(telling, timeout=PATIENCE)
    return due


async def all_there(to: Receivers, updates: int, who: Set[str] = ALL) -> None:
    """Returns once they have all acted on all, or have not in time; and what else comes."""
    if await to.come(lambda: len(pairs(to, who)) >= len(who) * updates, PATIENCE):
        await asyncio.sleep(CALM)


def pairs(to: Receivers, who: Set[str] = ALL) -> set[tuple[str, int]]:
    return {(each.channel, each.number) for each in to.arrived
            if each.what == "acted" and each.number != WARM_UP and each.channel in who}  # fmt: skip


def acts(to: Receivers, *, dedupes: bool) -> list[Arrival]:
    """What receivers acted on; those that dedupe, once on each id."""
    known: set[tuple[str, str]] = set()
    acted = []
    for each in to.arrived:
        if (
            each.what == "acted"
            and each.number != WARM_UP
            and not (dedupes and (each.channel, each.id) in known)
        ):
            known.add((each.channel, each.id))
            acted.append(each)
    return acted


def judged(
    acted: Sequence[Arrival], updates: int, asked: Set[tuple[str, int]] = frozenset()
) -> dict[str, int]:
    """Of so many updates to all: lost, acted on twice, come after a later one.

    What a person is asked about is not lost, whether it is there or not.
    """
    times = Counter((each.channel, each.number) for each in acted)
    newest: dict[str, int] = {}
    late = 0
    for each in acted:
        late += each.number < newest.get(each.channel, 0)
        newest[each.channel] = max(each.number, newest.get(each.channel, 0))
    return {"lost": CHANNELS * updates - len(times.keys() | asked),
            "twice": times.total() - len(times), "out of order": late,
            "asked of a person": len(asked)}  # fmt: skip


def share(values: Sequence[float], percent: int) -> int:
    return round(quantiles(values, n=100, method="inclusive")[percent - 1])


BENCHES = {"B2": b2, "B3": b3, "B4": b4, "B5": b5, "B6": b6}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", nargs="*", choices=[*BENCHES, []], default=[*BENCHES])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--outage", type=float, default=60)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    for each in given.which:
        keep(await BENCHES[each](given))


if __name__ == "__main__":
    asyncio.run(main())
