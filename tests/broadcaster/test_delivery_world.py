"""Delivery, whatever breaks: chance drives the product's own steps through a world of its own.

Each step is something that may happen (`delivery_world`); after every one an independent judge
looks at the ledger and at what is at the remotes (`delivery_judge`). A run prints the seed that
replays it: `pytest --hypothesis-seed=…`. `make test` has the same seed each time, so that a change
is judged by itself; `make storm` draws others.
"""

from __future__ import annotations

import hashlib
import random
import re
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from broadcaster import outcome, record
from broadcaster.delivery import PostState
from broadcaster.ledger import Tx, approvals, attempts, channels, leases, reports
from broadcaster.outcome import Choice, Met, Next
from streams import deliver
from tests.broadcaster.delivery_judge import Judge, Step
from tests.broadcaster.delivery_world import (
    CHANNELS,
    INCIDENTS,
    PLACES,
    SECOND,
    Died,
    Look,
    Worker,
    World,
    beginning,
)
from tests.story import NOW, PAGE

#: So many examples at once, and so many steps by chance in each: to begin one, and to work it off,
#: takes as long as a hundred steps. Hypothesis may end one early, so steps are counted.
EXAMPLES, STEPS = 10, 200

#: What chance begins with.
SEED = 389

#: Steps in a run, for each example of the profile: 10,000; `make quick` has a fifth.
LEAST = 100

NAMES = [channel.name for channel in CHANNELS]
NUMBERS = st.sampled_from(list(INCIDENTS))
WHICH = st.integers(0, 7)
WORKERS = st.integers(0, 1)
PAUSES = st.sampled_from([0, 1, 20, 1200])
ANSWERS = st.sampled_from([
    *["takes it and says so"] * 3, *["takes it, and the answer is lost"] * 3, "takes it late",
    "says nothing", "says no", "asks for a pause", "cannot be reached", "was not begun",
])  # fmt: skip
UPDATE = (
    NUMBERS, st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True), st.booleans(),
    st.sampled_from([30, 120, 3600]), st.booleans(),
)  # fmt: skip

ACTS = (*["a choice"] * 4, *["a stop"] * 2, *["a pause", "no pause"] * 2, "a report",
        "altered words")  # fmt: skip

#: What may happen, how often in so many, and with what.
HAPPENS: dict[str, tuple[int, tuple[st.SearchStrategy[object], ...]]] = {
    "time_goes_on": (6, (st.sampled_from([0.2, 1, 2, 5, 14, 20, 61]),)),
    "a_message": (6, (WHICH, st.sampled_from([*["comes"] * 4, "comes twice", "is lost"]))),
    "a_worker_works": (10, (WORKERS, st.sampled_from([*[""] * 9, "before", "after", "still"]))),
    "a_send_ends": (16, (WHICH, ANSWERS, PAUSES, st.sampled_from([0, 3, 30]), st.booleans())),
    "an_end_is_noted": (4, (WHICH, st.sampled_from([*[""] * 3, "before", "after", "unheard"]))),
    "a_look_ends": (8, (WHICH, st.sampled_from(["tells", "tells", "tells", "fails"]), PAUSES,
                        st.booleans())),
    "a_look_is_noted": (4, (WHICH,)),
    "the_sweep_looks": (2, ()),
    "an_update": (1, UPDATE),
    "something_breaks_or_moves": (2, (
        st.sampled_from(["a process", "a lease", "the clock"]), WORKERS, st.sampled_from(NAMES),
        st.sets(st.integers(0, 3)),
    )),
    "somebody_acts": (4, (
        st.sampled_from(ACTS), WHICH, st.sampled_from(NAMES), st.sampled_from(Choice), NUMBERS,
    )),
}  # fmt: skip


#: What of a post is in the trace.
STANDS = ("state", "id", "attempts", "looks", "since", "next_look", "why")


@dataclass
class Run:
    """What came of all examples of a run."""

    #: How often what was met, and in which states posts were seen: nothing met proves nothing.
    met: Counter[str] = field(default_factory=Counter)
    #: Over every step of every example: alike where the same happened.
    trace: hashlib._Hash = field(default_factory=hashlib.sha256)


class Delivery(RuleBasedStateMachine):
    """One installation, two incidents, two workers, seven channels."""

    run = Run()

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        there = {name: remote.there for name, remote in self.world.remotes.items()}
        self.judge = Judge(self.world.ledger.raw, self.world.told, there)
        self.sound = True
        self.without = set[str]()

    @initialize(first=st.tuples(*UPDATE), second=st.tuples(*UPDATE), without=st.sets(
        st.sampled_from(["something_breaks_or_moves", "somebody_acts"])
    ))  # fmt: skip
    def two_updates(
        self, first: tuple[Any, ...], second: tuple[Any, ...], without: set[str]
    ) -> None:
        self.without = without
        self.an_update(*first)
        self.an_update(*second)

    # --- what happens ---

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """Of what may happen now: a rule for each would mostly find nothing to do."""
        may = [
            name for name, (often, _) in HAPPENS.items() if self._may(name) for _ in range(often)
        ]
        what = data.draw(st.sampled_from(may))
        given = data.draw(st.tuples(*HAPPENS[what][1]))
        self.run.trace.update(f"{what}{given}".encode())
        getattr(self, what)(*given)

    def _may(self, what: str) -> bool:
        if what == "a_message":
            return bool(self.world.bus)
        if what == "a_send_ends":
            return any(each.happened is None for each in self.world.flights)
        if what == "an_end_is_noted":
            return any(each.happened for each in self.world.flights)
        if what == "a_look_ends":
            return any(look.happened is None for _, look in self._looks())
        if what == "a_look_is_noted":
            return any(look.happened for _, look in self._looks())
        return what not in self.without and (what != "somebody_acts" or bool(self.world.releases))

    def an_update(
        self, number: str, channels: list[str], replaces: bool, lasts: int, heard: bool
    ) -> None:
        self.world.an_update(number, channels, replaces=replaces, lasts=lasts * SECOND)
        if heard and self.world.bus:
            self.a_message(-1, "comes")

    def a_message(self, which: int, what: str) -> None:
        self.world.a_message(which, what)

    def a_worker_works(self, which: int, how: str) -> None:
        """`how`: its process dies before or after the commit, or has stood still since it last
        renewed its leases."""
        worker = self.world.workers[which]
        try:
            if self.world.at >= worker.lease_at and how != "still":
                self.world.holds(worker)
                self.nothing_is_wrong()
            self.world.works(worker, dies="" if how == "still" else how)
        except Died:
            self.run.met["died"] += 1
            self.world.dies(worker, ())

    def a_send_ends(self, which: int, how: str, pause: int, late: int, noted: bool) -> None:
        still = [each for each in self.world.flights if each.happened is None]
        flight = still[which % len(still)]
        self.world.answers(flight, how, pause * SECOND, late * SECOND)
        if noted:
            self.world.notes(flight.worker, flight.channel)
        self.run.met[how] += 1

    def an_end_is_noted(self, which: int, dies: str) -> None:
        """Once, or once more where the ledger's answer was not heard; or its process dies."""
        said = [each for each in self.world.flights if each.happened]
        flight = said[which % len(said)]
        try:
            self.world.notes(flight.worker, flight.channel,
                             dies="after" if dies == "unheard" else dies)  # fmt: skip
        except Died:
            if dies != "unheard":
                self.world.dies(flight.worker, ())

    def a_look_ends(self, which: int, how: str, pause: int, noted: bool) -> None:
        still = [(worker, look) for worker, look in self._looks() if look.happened is None]
        worker, look = still[which % len(still)]
        self.world.looks(look, how, pause * SECOND)
        if noted:
            self.world.notes(worker, look.channel)
        self.run.met[f"looked: {how}"] += 1

    def a_look_is_noted(self, which: int) -> None:
        """Some time after its answer came."""
        said = [(worker, look) for worker, look in self._looks() if look.happened]
        worker, look = said[which % len(said)]
        self.world.notes(worker, look.channel)

    def _looks(self) -> list[tuple[Worker, Look]]:
        return [(worker, look) for worker in self.world.workers for look in worker.looks]

    def time_goes_on(self, seconds: float) -> None:
        self.world.time_goes_on(seconds * SECOND)

    def the_sweep_looks(self) -> None:
        self.world.the_sweep_looks()

    def something_breaks_or_moves(
        self, what: str, which: int, channel: str, arrive: set[int]
    ) -> None:
        """A process is killed, of whose sends some arrive; a channel goes to another process; the
        wall clock is set."""
        if what == "a process":
            self.world.dies(self.world.workers[which], arrive)
        elif what == "a lease":
            self.world.leaves(self.world.workers[which], channel)
        else:
            self.world.the_clock_is_set((len(arrive) - 2) * SECOND)

    # --- people ---

    def somebody_acts(
        self, what: str, back: int, channel: str, choice: Choice, number: str
    ) -> None:
        releases = self.world.releases
        if what == "a stop":
            self.world.a_stop(releases[-1 - back % len(releases)])
        elif what == "a report":
            self.world.a_report(number, PLACES[back % 2])
        elif what == "altered words":
            self.world.words_are_altered(releases[-1])
        elif what != "a choice":
            self.world.a_pause(channel, on=what == "a pause")
        elif asks := self.world.asks():
            self.run.met[f"chosen: {choice}"] += 1
            self.world.a_choice(asks[back % len(asks)], choice)

    # --- what must hold ---

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.run.met["steps"] += 1
        step, self.world.step = self.world.step, Step()
        self._judged(self.judge.faults(self.world.stamp(), step))
        stand = [tuple(post[it] for it in STANDS) for post in self.judge.posts.values()]
        self.run.met.update(state for state, *_ in stand)
        self.run.trace.update(f"{self.world.stamp()}{stand}".encode())

    def teardown(self) -> None:
        if self.sound:
            self.world.heals(self.nothing_is_wrong)
            self._judged(self.judge.left_waiting())

    def _judged(self, faults: list[str]) -> None:
        self.sound = not faults
        if faults:
            raise AssertionError("; ".join(faults))


@pytest.fixture(autouse=True)
def nothing_else_is_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of one time is taken by its ids; Hypothesis says what `random` gives."""
    beginning()  # its ids are in no example's share
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=random.getrandbits(128), version=4))


def driven(number: int, *, least: int = 1, **fields: object) -> Run:
    """At least so many steps by a seed, which is printed; raises AssertionError with what the judge
    found."""
    print(f"To have this run again: --hypothesis-seed={number}")
    run = Run()
    machine = type("Delivery", (Delivery,), {"run": run})
    given = {
        "max_examples": EXAMPLES, "stateful_step_count": STEPS, "database": None,
        "print_blob": True, "report_multiple_bugs": False,
        "suppress_health_check": list(HealthCheck), **fields,
    }  # fmt: skip
    while run.met["steps"] < least:
        run_state_machine_as_test(seed(number)(machine), settings=settings(**given))
        number += 1
    print(f"{run.met['steps']} steps, trace {run.trace.hexdigest()[:16]}")
    return run


def test_nothing_is_lost_doubled_or_lied_about_whatever_breaks(
    request: pytest.FixtureRequest,
) -> None:
    given = request.config.getoption("--hypothesis-seed")
    least = LEAST * settings().max_examples
    run = driven(int(given or SEED), least=least)
    if least >= 10_000:  # a short run need not meet everything
        assert run.met.keys() >= {str(state) for state in PostState} - {"retracted"}


# --- It can fail ------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def standing(**fields: object) -> Plant:
    """What is asked before a try is answered amiss."""
    ask = attempts.before_attempt
    return lambda m: m.setattr(
        attempts, "before_attempt",
        lambda it, now: ask(replace(it, **{k: v(it) if callable(v) else v
                                           for k, v in fields.items()}), now=now),
    )  # fmt: skip


def says(what: str, answer: object) -> Plant:
    """The table's question is answered always so."""
    return lambda m: m.setattr(
        outcome, "TABLE",
        tuple((state, met, (lambda _: answer) if when.__name__ == what else when, then)
              for state, met, when, then in outcome.TABLE),
    )  # fmt: skip


def follows(state: PostState, met: Met, then: Next) -> Plant:
    """The table says something else of what happened."""
    row = (state, met, outcome._It.always, lambda _: then)
    return lambda m: m.setattr(outcome, "TABLE", (row, *outcome.TABLE))


def one_breaker_for_all(m: pytest.MonkeyPatch) -> None:
    note = deliver._note_fares
    m.setattr(
        deliver, "_note_fares", lambda tx, several: note(tx, [(PAGE, it[1]) for it in several])
    )


def one_pause_for_all(m: pytest.MonkeyPatch) -> None:
    ask = channels.several

    def several(tx: Tx, names: Collection[str] | None = None) -> dict[str, channels.Kept]:
        found = ask(tx, names)
        paused = [each for each in found.values() if each.paused_by]
        return {name: (paused or [each])[0] for name, each in found.items()}

    m.setattr(channels, "several", several)


def after_whenever(after: Callable[..., Next], *given: Any, now: datetime, **_: object) -> Next:
    return after(*given, now=now, began=now)


def overtaken_by_none(m: pytest.MonkeyPatch) -> None:
    standing(overtaken=False)(m)
    m.setattr(attempts, "superseded", lambda tx, several: set())


def reports_kept_as_others(m: pytest.MonkeyPatch) -> None:
    accept = reports.accept
    m.setattr(reports, "accept", lambda tx, report, actor: accept(
        tx, report.model_copy(update={"source": "other"}), actor=actor
    ))  # fmt: skip


def in_the_live_world(m: pytest.MonkeyPatch) -> None:
    make = deliver._message
    m.setattr(deliver, "_message",
              lambda *given: make(*given).model_copy(update={"world": "live"}))  # fmt: skip


SENDING = PostState.SENDING
Way = Sequence[tuple[Any, ...]]


def update(channel: str, *, replaces: bool = False, lasts: int = 3600) -> tuple[Any, ...]:
    return "an_update", "2026-1", [channel], replaces, lasts, True


def act(what: str, channel: str = PAGE.name) -> tuple[Any, ...]:
    return "somebody_acts", what, 0, channel, Choice.THERE, "2026-1"


def ends(how: str, late: int = 0) -> tuple[Any, ...]:
    return "a_send_ends", 0, how, 0, late, True


WORKS, LOOKS = ("a_worker_works", 0, ""), ("a_look_ends", 0, "tells", 0, True)
UNNOTED, NOTED = ("a_look_ends", 0, "tells", 0, False), ("a_look_is_noted", 0)
LATER = ("time_goes_on", 61)
PROVED, LOST = ends("takes it and says so"), ends("takes it, and the answer is lost")
DIES = ("something_breaks_or_moves", "a process", 0, PAGE.name, set[int]())

#: A fault, the invariant by which it is found, and the way there; without one, chance finds it.
PLANTED: dict[str, tuple[Plant, str, Way]] = {
    "altered words go out": (
        standing(digest=lambda it: it.digest_released), "I1: .* other words",
        (update("keyed"), act("altered words"), WORKS, PROVED)),
    "what was stopped goes out": (
        standing(stopped=False), "I1: .* stopped", (update("keyed"), act("a stop"), WORKS)),
    "what has expired goes out": (
        standing(release_expires_at=datetime.max.replace(tzinfo=UTC)), "I1: .* expired",
        (update("keyed", lasts=30), LATER, WORKS)),
    "what was replaced goes out": (
        standing(replaced_by=None), "I1: .* replaced",
        (update("keyed"), update("keyed", replaces=True), WORKS)),
    "sent again without a look": (
        follows(SENDING, Met.UNKNOWN, Next(PostState.WAITING, NOW)), "I2: seen .* 2 times",
        (update("seen"), WORKS, LOST, WORKS, PROVED)),
    "believed before the lag is over": (
        says("may_still_appear", False), "I2: seen .* 2 times",
        (update("seen"), WORKS, ends("takes it, and the answer is lost", 30), ("time_goes_on", 5),
         WORKS, LOOKS, WORKS, PROVED)),
    "believed of when it was noted": (
        lambda m: m.setattr(deliver, "after", partial(after_whenever, deliver.after)),
        "I2: seen .* 2 times",
        (update("seen"), WORKS, ends("takes it, and the answer is lost", 30), ("time_goes_on", 2),
         WORKS, UNNOTED, ("time_goes_on", 20), NOTED, WORKS, PROVED)),
    "sent again with a key that is forgotten": (
        standing(resend_until=None), "I2: forgets_unseen .* 2 times",
        (update("forgets_unseen"), WORKS, LOST, LATER, ("time_goes_on", 14), WORKS, PROVED)),
    "sent again though nobody ordered it": (
        says("is_sent_again", True), "I2: blind .* 2 times",
        (update("blind"), WORKS, LOST, LATER, WORKS, LOOKS, WORKS, PROVED)),
    "two who have the lease": (
        lambda m: m.setattr(leases, "lost", lambda tx, several: {}), "I2: .* lease",
        (("time_goes_on", 14), ("a_worker_works", 1, ""), update("keyed"),
         ("a_worker_works", 0, "still"))),
    "a report that is kept as another": (
        reports_kept_as_others, "I3: report .* not in the ledger", (LATER,)),
    "a wait without an end": (
        follows(SENDING, Met.UNSENT, Next(PostState.WAITING)), "I3: .* nobody looks",
        (update("keyed"), WORKS, ends("cannot be reached"))),
    "decisions that are called once": (
        lambda m: m.setattr(approvals, "decisions_look_again", lambda tx, limit: 0),
        "I3: .* never judged",
        (("an_update", "2026-1", ["keyed"], False, 3600, False), ("a_message", 0, "is lost"))),
    "old after new": (
        lambda m: m.setattr(attempts, "_overtaken", lambda tx, several: set()), "I4: ",
        (update("seen"), WORKS, ends("says nothing"), update("seen"), WORKS, PROVED, LATER, WORKS,
         LOOKS, WORKS)),
    "old after new, as somebody chose": (
        overtaken_by_none, "I4: ",
        (update("keyed"), WORKS, ends("says no"), update("keyed"), WORKS, PROVED,
         ("somebody_acts", "a choice", 0, PAGE.name, Choice.SEND_AGAIN, "2026-1"),
         ("the_sweep_looks",), WORKS)),
    "a chain that does not hold": (
        lambda m: m.setattr(record, "seal", lambda previous, number, body: "0" * 64), "I5: ",
        (LATER,)),
    "what was left open stays so": (
        lambda m: m.setattr(attempts, "left_open", lambda tx, names: []), "I6: .* past its time",
        (update("keyed"), WORKS, DIES, LATER, ("a_worker_works", 1, ""))),
    "in another world": (in_the_live_world, "I7: ", (update("keyed"), WORKS, PROVED)),
    "one breaker for all": (
        one_breaker_for_all, "I8: .* moved by another",
        (update("keyed"), WORKS, ends("cannot be reached"))),
    "one pause for all": (
        one_pause_for_all, "I8: .* not begun", (update("keyed"), act("a pause", "blind"), WORKS)),
    "no answer is a post": (
        follows(SENDING, Met.UNKNOWN, Next(PostState.POSTED)), "truth: .* posted, and is not",
        (update("blind"), WORKS, ends("says nothing"))),
    "a no is the end of an earlier doubt": (
        says("may_be_there", False), "truth: .* refused",
        (update("keyed"), WORKS, LOST, LATER, WORKS, ends("says no"))),
    "what is in doubt expires": (standing(in_doubt=False), "truth: .* and is there", ()),
}  # fmt: skip


def walked(way: Way) -> None:
    """What chance does not meet soon; the judge looks on."""
    machine = Delivery()
    for what, *given in way:
        if machine._may(what):
            getattr(machine, what)(*given)
            machine.nothing_is_wrong()
    machine.teardown()


def test_a_late_proof_ends_the_try_that_followed() -> None:
    unnoted = ("a_send_ends", 0, "takes it and says so", 0, 0, False)
    other = ("a_worker_works", 1, "")
    walked((update("keyed"), WORKS, unnoted, LATER, other, ("time_goes_on", 2), other,
            ("an_end_is_noted", 0, "")))  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_what_is_planted_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, found, way = PLANTED[fault]
    walked(way)  # nothing is wrong with that
    plant(monkeypatch)
    meets = partial(walked, way) if way else partial(driven, 1, phases=[Phase.generate])
    with pytest.raises(AssertionError, match=found):
        meets()


def test_each_invariant_is_found_broken() -> None:
    found = {found[:2] for _, found, _ in PLANTED.values()}
    assert found >= {f"I{number}" for number in range(1, 9)}


def test_a_seed_replays_its_run() -> None:
    few = {"max_examples": 3, "stateful_step_count": 40}
    first, again, other = (driven(number, **few).trace.digest() for number in (1, 1, 2))
    assert first == again != other


def test_a_failure_prints_the_seed_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    PLANTED["no answer is a post"][0](monkeypatch)
    with pytest.raises(AssertionError) as failed:
        driven(secrets.randbits(32), phases=[Phase.generate])
    [printed] = re.findall(r"--hypothesis-seed=(\d+)", capsys.readouterr().out)
    with pytest.raises(AssertionError) as failed_again:
        driven(int(printed), phases=[Phase.generate])
    assert str(failed_again.value) == str(failed.value)
