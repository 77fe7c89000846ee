"""A world for delivery: a ledger, a bus, workers, people, a clock, and the remotes.

Every step is the product's own, each in a transaction of its own on a SQLite ledger in memory. What
`streams/deliver.py` has round them (tasks, timers, sockets) is played here: who calls which step,
when and with what in hand is for chance to say (`test_delivery_world.py`). What happened is told to
the judge (`delivery_judge.py`) in plain values.

A remote tells no lie about itself: it knows a key for as long as it says, and shows a post within
the lag that it says, both with `SLACK` to spare, for a wall clock that is set by so much.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, TypeVar, cast

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from broadcaster.approval import Verdict
from broadcaster.channel import Channel, Idempotency, webhook
from broadcaster.clock import Watch
from broadcaster.delivery import (
    InDoubt,
    Message,
    PostState,
    Receipt,
    Refused,
    TryLater,
    Unsupported,
)
from broadcaster.errors import Refusal
from broadcaster.incident import Report
from broadcaster.ledger import (
    Tx,
    attempts,
    choices,
    incidents,
    leases,
    open_ledger,
    people,
    posts,
    reports,
)
from broadcaster.ledger.attempts import Ended, Opened
from broadcaster.ledger.attempts import Look as Sought
from broadcaster.ledger.chain import newest, seal
from broadcaster.ledger.leases import Lease, LeaseLost
from broadcaster.orders import Decide, SubmitRevision, stop_release, submit_revision
from broadcaster.outcome import Choice, Happened, looked, tried
from broadcaster.roster import Person, Role
from broadcaster.settling import choose, have_sent_again, pause_channel, resume_channel
from broadcaster.suggestion import words
from broadcaster.world import Exercise
from streams import deliver
from streams.compile import compile_reports
from streams.deliver import LOOK_EVERY, MARGIN, SIDE_BY_SIDE
from streams.gate import judge_decision
from streams.lease import LASTS, RENEW_EVERY
from streams.sweep import sweep
from tests.broadcaster.delivery_judge import Step, There, Told
from tests.story import EXERCISE, INCIDENT_URL, NOW, PAGE, ZONE, StillClock, tapped

T = TypeVar("T")
Act = Callable[[Tx], T]

NOTHING = timedelta()
SECOND = timedelta(seconds=1)

#: By so much the wall clock is set in all; a larger step is for somebody to see to.
SLACK = 5 * SECOND

#: So many rounds of work, and one for each post, are enough for whatever waits once nothing fails.
LONGEST = 40


def _hook(name: str, **fields: object) -> Channel[Exercise]:
    return webhook(EXERCISE, name, name.title(), dedupes=False).model_copy(update=fields)


KEYED = _hook("keyed", idempotency=Idempotency.TAKES_OUR_KEY)
FORGETS = _hook("forgets", idempotency=Idempotency.TAKES_OUR_KEY, key_life=90 * SECOND,
                find_lag=15 * SECOND)  # fmt: skip
FORGETS_UNSEEN = _hook("forgets_unseen", idempotency=Idempotency.TAKES_OUR_KEY,
                       key_life=60 * SECOND)  # fmt: skip
SEEN = _hook("seen", idempotency=Idempotency.CAN_LOOK, find_lag=20 * SECOND)
BLIND = _hook("blind")
LIVELY = _hook("lively")  #: sends again, for the safety of life, what nobody can find

CHANNELS = (PAGE, KEYED, FORGETS, FORGETS_UNSEEN, SEEN, BLIND, LIVELY)
#: An incident of which the public is told at once, and one of another type.
INCIDENTS = {"2026-1": "GASLEAK", "2026-2": "HOSTAGE"}
PLACES = ("1200 block of Oak St", "Elm St")


# --- The ledger ------------------------------------------------------------------------------


class Beginning(NamedTuple):
    """A ledger in which nothing has happened yet, and who is in it."""

    ledger: bytes
    pio: Person
    commander: Person


@cache
def beginning() -> Beginning:
    """Made once: migrations and keys take their time."""

    async def made(path: Path) -> tuple[Person, Person]:
        ledger = open_ledger(path, EXERCISE, StillClock())
        pio, commander = [
            await ledger.write(lambda tx, n=name, r=role: people.add(tx, n, [r], actor="test",
                                                                     practice=True))
            for name, role in (("A. Reyes", Role.PIO), ("Sgt Ortiz", Role.WATCH_COMMANDER))
        ]  # fmt: skip
        await ledger.close()
        return pio, commander

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        persons = asyncio.run(made(path))
        ledger = sqlite3.connect(path)
        ledger.execute("PRAGMA journal_mode=DELETE")  # no ledger in memory has a log beside it
        ledger.close()
        return Beginning(path.read_bytes(), *persons)


@cache
def _memory() -> Connection:
    """One connection for all worlds: what SQLAlchemy has compiled is kept with it."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )  # fmt: skip
    return engine.connect()


class Died(Exception):
    """The process of a step was killed."""


class WorldLedger:
    """A ledger in memory: a step is committed whole, or was never there."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._connection = _memory()
        self.raw = cast(sqlite3.Connection, self._connection.connection.dbapi_connection)
        self.raw.deserialize(beginning().ledger)
        self.raw.execute("PRAGMA foreign_keys=ON")
        self._head = newest(self._connection)
        self._connection.rollback()

    def write(self, step: Act[T], *, dies: str = "") -> T:
        """`dies`: its process does, "before" the commit or "after" it. Raises Died then."""
        self.raw.execute("BEGIN IMMEDIATE")
        try:
            tx = Tx(self._connection, self._clock, EXERCISE)
            answer = step(tx)
            entries, _ = tx.flush()
            head = seal(self._connection, self._head, entries)
            if dies == "before":
                raise Died
        except BaseException:
            self.raw.execute("ROLLBACK")
            raise
        self.raw.execute("COMMIT")
        self._head = head
        if dies:
            raise Died
        return answer

    def read(self, query: Act[T]) -> T:
        return query(Tx(self._connection, self._clock, EXERCISE))


# --- The remotes -----------------------------------------------------------------------------


class Remote:
    """Whoever is posted to on one channel; it keeps what it takes for good."""

    def __init__(self, channel: Channel[Exercise]) -> None:
        self.channel = channel
        self.there: list[There] = []
        self._keys: dict[str, datetime] = {}  #: since when it knows each
        self._shows: dict[str, datetime] = {}  #: since when each can be seen

    def takes(self, message: Message[Exercise], at: datetime, shown_after: timedelta) -> Receipt:
        """`shown_after`: at most its lag."""
        known = self._keys.get(message.post_id)
        life = self.channel.key_life
        if known is None or not self.channel.idempotency.may_send_again or (
            life is not None and at > known + life + SLACK
        ):  # fmt: skip
            self._keys[message.post_id] = at
            self._shows.setdefault(message.post_id, at + shown_after)
            self.there.append(There(message.post_id, message.world, message.rendering.channel,
                                    message.rendering.text))  # fmt: skip
        return self.receipt(message.post_id)

    def sees(self, post_id: str, at: datetime) -> Receipt | None:
        shown = self._shows.get(post_id)
        return self.receipt(post_id) if shown and shown <= at else None

    def receipt(self, post_id: str) -> Receipt:
        return Receipt(remote_id=f"{self.channel.name}:{post_id}")

    @property
    def latest(self) -> timedelta:
        """How long what was sent in time may be under way yet, or not be seen."""
        return max((self.channel.find_lag or NOTHING) - SLACK, NOTHING)


# --- The workers -----------------------------------------------------------------------------


@dataclass(eq=False)
class Flight:
    """A send under way, or one whose end is to be noted."""

    worker: Worker
    opened: Opened
    lease: Lease
    until: datetime  #: by true time, as the process's own clock tells it
    happened: Happened | None = None

    @property
    def channel(self) -> str:
        return self.opened.post.channel


@dataclass(eq=False)
class Look:
    """A look for a post in doubt, or one whose end is to be noted."""

    sought: Sought
    happened: Happened | None = None

    @property
    def channel(self) -> str:
        return self.sought.opened.post.channel


@dataclass(eq=False)
class Worker:
    """One process that delivers, as `Deliver` and its lanes do."""

    name: str
    watch: Watch  #: of the ledger's clock
    lease_at: datetime  #: by true time
    held: dict[str, Lease] = field(default_factory=dict)
    leaving: dict[str, Lease] = field(default_factory=dict)
    flights: list[Flight] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    woken: bool = True
    next_look: datetime | None = None
    caught_up: set[str] = field(default_factory=set)

    def under_way(self, channel: str) -> int:
        return sum(each.channel == channel for each in self.flights)


# --- The world -------------------------------------------------------------------------------


class World:
    """One installation in the exercise world, and all that is round it."""

    def __init__(self, channels: Sequence[Channel[Exercise]] = CHANNELS) -> None:
        self.at = NOW  #: true time
        self.set_by = NOTHING  #: by how much the wall clock is off
        self.told, self.step = Told(), Step()
        self.pio, self.commander = beginning()[1:]
        self.ledger = WorldLedger(self.wall)
        self.remotes = {channel.name: Remote(channel) for channel in channels}
        self.channels = {channel.name: channel for channel in channels}
        self.workers = [self._begun(f"worker {place}") for place in (0, 1)]
        self.bus: list[tuple[str, str]] = []  #: topics, and what they speak of
        self.under_way: list[tuple[datetime, Message[Exercise]]] = []  #: sent, and not arrived yet
        self.incidents: dict[str, str] = {}
        self.releases: list[str] = []
        self._count = 0
        for number in INCIDENTS:
            self.a_report(number, PLACES[0])
        for worker in self.workers:
            self.holds(worker)
        if LIVELY.name in self.channels:
            self.write(lambda tx: have_sent_again(tx, LIVELY.name, "designee", on=True))
            self.told.lively.add(LIVELY.name)

    def wall(self) -> datetime:
        return self.at + self.set_by

    def stamp(self) -> str:
        """The wall clock's time as the ledger writes it."""
        return self.wall().strftime("%Y-%m-%d %H:%M:%S.%f")

    def asks(self) -> list[str]:
        """The posts of which a person may say what becomes of them, in an order of their own."""
        return [row[0] for row in self.ledger.raw.execute(
            "SELECT id FROM posts WHERE state IN ('in doubt', 'refused', 'held') "
            "ORDER BY released_at DESC, channel"
        )]  # fmt: skip

    def states(self) -> dict[str, int]:
        """How many posts stand in each state."""
        return dict(self.ledger.raw.execute("SELECT state, count(*) FROM posts GROUP BY state"))

    def write(self, step: Act[T], *, dies: str = "") -> T:
        """One transaction; what it leaves for the relay goes to the bus."""
        try:
            return self.ledger.write(step, dies=dies)
        finally:
            rows = self.ledger.raw.execute(
                "DELETE FROM outbox RETURNING id, topic, value"
            ).fetchall()
            for _, topic, value in sorted(rows):
                step_topic = topic.removeprefix(f"{EXERCISE}.")
                if step_topic == "update.decided":
                    self.bus.append((step_topic, json.loads(value)["decision_id"]))
                elif step_topic.startswith("posts.") and step_topic != "posts.settled":
                    self.bus.append((step_topic, ""))

    def ordered(self, step: Act[T]) -> T | None:
        """An order that may be refused."""
        try:
            return self.write(step)
        except Refusal:
            return None

    # --- what is so, and who says so ---

    def a_report(self, number: str, place: str) -> None:
        """CAD says what is: what is released and says otherwise is held."""
        self._count += 1
        report = Report(
            source="cad", message_id=f"m{self._count}", number=number, type=INCIDENTS[number],
            place=place, opened_at=NOW, reported_at=NOW + self._count * SECOND,
        )  # fmt: skip
        accepted = self.write(lambda tx: reports.accept(tx, report, actor="cad"))
        self.told.reported.add(report.id)
        self.write(compile_reports(report.id, department="DHSPD", zone=ZONE))
        self.incidents[number] = accepted.incident_id

    def an_update(
        self, number: str, channels: Sequence[str], *, replaces: bool, lasts: timedelta
    ) -> None:
        """The PIO submits the next update, and the Commander approves it; the gate hears of it."""
        incident_id = self.incidents[number]
        last = self.ledger.raw.execute(
            "SELECT id FROM releases WHERE incident_id = ? ORDER BY rowid DESC LIMIT 1",
            [incident_id],
        ).fetchone()
        self._count += 1
        shown: dict[str, str] = {}  # what the Commander sees
        text = f"Stay away. This is message {self._count}."

        def submitted(tx: Tx) -> Decide:
            kept = incidents.get(tx, incident_id)
            assert kept is not None
            said = words(kept.incident, department="DHSPD", zone=ZONE, now=tx.now)
            order = SubmitRevision(
                incident_id=incident_id, text=text, channels=tuple(channels), attested=True,
                words=said, replaces=tuple(last) if replaces and last else (),
                expires_at=tx.now + lasts,
            )  # fmt: skip
            made = submit_revision(tx, order, self.pio, list(self.channels.values()))
            shown.update({each.channel: each.text for each in made.revision.renderings})
            return Decide(
                request_id=made.request.id, verdict=Verdict.APPROVED,
                revision_id=made.revision.id, digest=made.revision.digest,
                idempotency_key=f"key-{made.request.id}",
            )  # fmt: skip

        if (order := self.ordered(submitted)) is not None:
            answer = self.write(lambda tx: tapped(tx, order, self.commander))
            if not isinstance(answer, Refusal):
                self.told.approved[order.revision_id] = shown

    def words_are_altered(self, release_id: str) -> None:
        """In the ledger, by whoever broke into it."""
        self.ledger.raw.execute(
            "UPDATE revisions SET body = json_set(body, '$.renderings[0].text', 'Go home.') "
            "WHERE id = (SELECT revision_id FROM releases WHERE id = ?)", [release_id],
        )  # fmt: skip

    def a_stop(self, release_id: str) -> None:
        self.write(lambda tx: stop_release(tx, release_id, self.pio))
        self.told.stopped.add(release_id)

    def a_choice(self, post_id: str, choice: Choice) -> None:
        """A person says what they believe; it may not be so."""
        post = self.ledger.read(lambda tx: posts.get(tx, post_id))
        assert post is not None
        tapped_before = self.ledger.read(lambda tx: choices.waits(tx, post_id))
        try:
            self.write(lambda tx: choose(tx, post_id, post.attempts, choice, self.pio))
        except Refusal:
            return
        if choice is Choice.THERE:
            self.told.seen_there.add(post_id)
        elif post.state is PostState.IN_DOUBT and not tapped_before:
            self.told.denied.add(post_id)
            self.told.sent_again[post_id] += choice is Choice.SEND_AGAIN

    def a_pause(self, channel: str, *, on: bool) -> None:
        if on:
            self.write(lambda tx: pause_channel(tx, channel, "It is ill.", "A. Reyes"))
        else:
            self.write(lambda tx: resume_channel(tx, channel, "A. Reyes"))

    # --- the clock, the bus, the sweep ---

    def time_goes_on(self, by: timedelta) -> None:
        self.at += by
        for due in [each for each in self.under_way if each[0] <= self.at]:
            self.under_way.remove(due)
            self._arrives(due[1], due[0])

    def the_clock_is_set(self, by: timedelta) -> None:
        if abs(self.set_by + by) <= SLACK / 2:
            self.set_by += by

    def a_message(self, which: int, what: str) -> None:
        """A message of the bus comes, is lost, or comes and will come again."""
        topic, subject = self.bus[which % len(self.bus)]
        if what != "comes twice":
            self.bus.pop(which % len(self.bus))
        if what == "is lost":
            return
        if topic != "update.decided":
            for worker in self.workers:
                worker.woken = worker.woken or topic.removeprefix("posts.") in worker.held
            return
        self.write(judge_decision(subject, EXERCISE, INCIDENT_URL))
        self.releases = [row[0] for row in self.ledger.raw.execute(
            "SELECT id FROM releases ORDER BY rowid"
        )]  # fmt: skip

    def the_sweep_looks(self) -> None:
        self.write(sweep)

    # --- a worker ---

    def works(self, worker: Worker, *, dies: str = "") -> None:
        """One look of `Deliver._go`. `dies`: before or after the commit of what it begins."""
        due = worker.next_look is not None and worker.next_look <= self.wall()
        if worker.held and (worker.woken or due):
            self._sends_due(worker, dies)

    def holds(self, worker: Worker) -> None:
        """As `Deliver._hold` and what a lane does that is left."""
        for flight in worker.flights:  # a process that goes on waits for no answer any longer
            if flight.happened is None and self.at >= flight.until:
                self.answers(flight, "says nothing", NOTHING, NOTHING)
        self.step.noting = {each.opened.post.id for each in worker.flights}
        for name, lease in list(worker.leaving.items()):
            if worker.under_way(name):
                self.write(lambda tx, it=lease: leases.renew(tx, it, LASTS))
            else:
                self.write(lambda tx, it=lease: leases.let_go(tx, it))
                del worker.leaving[name]
        names = [f"channel:{name}" for name in self.channels if name not in worker.leaving]
        taken = self.write(partial(deliver._take, names=names, holder=worker.name))
        for name in [name for name in self.channels if name not in worker.leaving]:
            lease, before = taken.get(f"channel:{name}"), worker.held.pop(name, None)
            if before and (lease is None or lease.epoch != before.epoch):
                worker.leaving[name] = before
            elif lease:
                worker.held[name] = lease
        left = self.ledger.read(lambda tx: attempts.left_open(tx, worker.held))
        gone = tried(InDoubt("The program ended while this was being sent."))
        if sent := [
            deliver._Sent(each, worker.held[each.post.channel], gone,
                          self.channels[each.post.channel])
            for each in left if each.post.id not in self.step.noting
        ]:  # fmt: skip
            self.write(partial(deliver._note_ends, several=sent, fares=False))
        self.step.settled = set(worker.held)
        all_held = len(worker.held) == len(self.channels)
        worker.lease_at = self.at + (RENEW_EVERY if all_held else LOOK_EVERY * SECOND)
        worker.woken = True

    def _sends_due(self, worker: Worker, dies: str) -> None:
        worker.woken = False
        asks = [
            deliver._Ask(
                self.channels[name], lease, self.channels[name].deadline + MARGIN,
                under_way=worker.under_way(name),
                looks=sum(each.channel == name for each in worker.looks),
                pace=SIDE_BY_SIDE, served={},
            )
            for name, lease in sorted(worker.held.items())
        ]  # fmt: skip
        begun = self.write(
            partial(deliver._open_due, asks=asks, last=(), watch=worker.watch,
                    behind=worker.held.keys() - worker.caught_up), dies=dies
        )  # fmt: skip
        worker.caught_up = set() if begun.held else set(worker.held)
        worker.watch.believe(begun.read)
        outcomes, doubtful, worker.next_look = begun.outcomes, begun.doubtful, begun.next_look
        self.step.looked = {name: lease.epoch for name, lease in worker.held.items()}
        for each in sorted(outcomes.values(), key=_by_age):
            if isinstance(each, Opened):
                channel = self.channels[each.post.channel]
                worker.flights.append(Flight(worker, each, worker.held[channel.name],
                                             self.at + channel.deadline))  # fmt: skip
            elif isinstance(each, Ended):
                worker.woken = True
            elif isinstance(each, LeaseLost):
                worker.lease_at = self.at
            else:
                raise each
        worker.looks += [Look(each) for each in sorted(doubtful, key=lambda it: _by_age(it.opened))]

    def leaves(self, worker: Worker, channel: str) -> None:
        """The channel goes to another process."""
        if lease := worker.held.pop(channel, None):
            worker.leaving[channel] = lease

    def dies(self, worker: Worker, arrive: Collection[int]) -> None:
        """The process ends; of what it was sending, some arrives. Another takes its place."""
        for number, flight in enumerate(worker.flights):
            if flight.happened is None and number in arrive:
                self._arrives(self._message(flight.opened), min(self.at, flight.until))
        self._count += 1
        place = self.workers.index(worker)
        self.workers[place] = self._begun(f"worker {place}, after {self._count}")

    def _begun(self, name: str) -> Worker:
        return Worker(name, Watch(lambda: self.at.timestamp()), lease_at=self.at)

    # --- a send, a look, and how they end ---

    @property
    def flights(self) -> list[Flight]:
        return [each for worker in self.workers for each in worker.flights]

    def answers(self, flight: Flight, how: str, pause: timedelta, late: timedelta) -> None:
        """How a send ends, as `_Lane._try` tells it. `late`: how much of what its channel may take
        to show it, or, of what was cut off, to have it arrive."""
        remote, message = self.remotes[flight.channel], self._message(flight.opened)
        late = min(late, remote.latest)
        in_time = self.at < flight.until
        at = min(self.at, flight.until)
        flight.happened = tried(InDoubt("The channel gave no answer in time."))
        if how == "takes it and says so" and in_time:
            flight.happened = tried(self._arrives(message, at, late))
        elif how in ("takes it and says so", "takes it, and the answer is lost"):
            self._arrives(message, at, late)
        elif how == "takes it late" and self.channels[flight.channel].key_life is None:
            self.under_way.append((at + late, message))
            self.time_goes_on(NOTHING)  # it may be there already: the process heard of it late
        elif how == "says no" and in_time:
            flight.happened = tried(Refused("The channel says no."))
        elif how == "asks for a pause" and in_time:
            flight.happened = tried(TryLater("The channel asks for a pause.", pause))
        elif how == "cannot be reached" or (how == "was not begun" and not in_time):
            flight.happened = tried(TryLater("It broke before the message left."))

    def notes(self, worker: Worker, channel: str, *, dies: str = "") -> None:
        """How the sends and looks of a channel ended, told to the ledger."""
        sends = [each for each in worker.flights if each.happened and each.channel == channel]
        looks = [each for each in worker.looks if each.happened and each.channel == channel]
        self.step.channels = {channel}
        if sends:
            ends = [deliver._Sent(each.opened, each.lease, each.happened, self.channels[channel])
                    for each in sends if each.happened]  # fmt: skip
            self.write(partial(deliver._note_ends, several=ends), dies=dies)
            worker.flights = [each for each in worker.flights if each not in sends]
        if looks:
            found = [deliver._Looked(each.sought, each.happened, self.channels[channel])
                     for each in looks if each.happened]  # fmt: skip
            self.write(partial(deliver._note_looks, several=found))
            worker.looks = [each for each in worker.looks if each not in looks]
        worker.woken = True

    def looks(self, look: Look, how: str, pause: timedelta) -> None:
        """What a look tells, of now: it may have begun before, and is noted later."""
        channel = self.channels[look.channel]
        if channel.find_lag is None:
            look.happened = looked(Unsupported("It cannot be looked for."))
        elif how == "tells":
            look.happened = looked(
                self.remotes[channel.name].sees(look.sought.opened.post.id, self.at)
            )
        else:
            look.happened = looked(TryLater("It does not say.", pause or None))

    def _message(self, opened: Opened) -> Message[Exercise]:
        """As a lane makes it, of which nothing but its channel is asked."""
        adapter = SimpleNamespace(channel=self.channels[opened.post.channel])
        return deliver._message(opened, cast(deliver.AnyAdapter, adapter), INCIDENT_URL)

    def _arrives(
        self, message: Message[Exercise], at: datetime, late: timedelta = NOTHING
    ) -> Receipt:
        return self.remotes[message.rendering.channel].takes(message, at, late)

    # --- in the end ---

    def heals(self, judge: Callable[[], None]) -> None:
        """From now on nothing fails, for as long as there is something to wait for."""
        for name in self.channels:
            self.a_pause(name, on=False)
        for _ in range(LONGEST + sum(self.states().values())):
            self.the_sweep_looks()
            while self.bus:
                self.a_message(0, "comes")
            judge()
            for worker in self.workers:
                if self.at >= worker.lease_at:
                    self.holds(worker)
                    judge()
                self.works(worker)
                judge()
                for flight in worker.flights:
                    if flight.happened is None:
                        self.answers(flight, "takes it and says so", NOTHING, NOTHING)
                for look in worker.looks:
                    if look.happened is None:
                        self.looks(look, "tells", NOTHING)
                for name in sorted({each.channel for each in (*worker.flights, *worker.looks)}):
                    self.notes(worker, name)
                    judge()
            if (next_look := self._next_look()) is None:
                return
            self.time_goes_on(max(next_look - self.wall(), SECOND))

    def _next_look(self) -> datetime | None:
        """When something waits for no person, and for no channel that asked for a pause."""
        [(found,)] = self.ledger.raw.execute(
            "SELECT min(at) FROM (SELECT max(posts.next_look, coalesce(again_at, '')) AS at "
            "FROM posts JOIN channels ON name = channel WHERE NOT EXISTS (SELECT 1 FROM posts it "
            "WHERE it.channel = posts.channel AND it.incident_id = posts.incident_id "
            "AND it.state IN ('planned', 'waiting') AND posts.state = 'planned' "
            "AND (it.released_at, it.id) < (posts.released_at, posts.id)) "  # its turn comes later
            "UNION ALL SELECT next_look FROM decisions)"
        )
        return datetime.fromisoformat(found).replace(tzinfo=UTC) if found else None


def _by_age(outcome: object) -> tuple[datetime, str]:
    """An order that is the same each time, other than that of the ids."""
    if isinstance(outcome, Opened | Ended):
        return outcome.post.released_at, outcome.post.channel
    return NOW, ""
