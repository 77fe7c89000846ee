"""Whom, by which means, when; and that a call can say nothing but that something waits."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broadcaster.calling import (
    AGAIN,
    MOST,
    WITHIN,
    About,
    Accepted,
    AnyAsking,
    Asking,
    Call,
    Callee,
    Calls,
    Due,
    Gone,
    Made,
    Means,
    Outcome,
    Reach,
    Rung,
    begun,
    ended,
    next_calls,
    words,
)
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.world import World
from tests.story import NOW

OK = Accepted(remote_id="r1", at=NOW)
How = Accepted | TryLater | Refused | InDoubt


def s(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def callee(name: str, rung: Rung, *means: Means) -> Callee:
    reaches = [Reach(id=f"{name}-{each}", means=each, address=f"secret {name}") for each in means]
    return Callee(person_id=name, rung=rung, reaches=tuple(reaches))


ORTIZ = callee("ortiz", Rung.APPROVER, Means.PUSH, Means.SMS)
DEPUTY = callee("deputy", Rung.DEPUTY, Means.SMS)
KIM = callee("kim", Rung.COMMAND, Means.SMS)
CHIEF = callee("chief", Rung.COMMAND, Means.MAIL)


def asking(
    *people: Callee, id: str = "r1", world: World = "live", at: float = 0,
    about: About = About.REQUEST,
) -> AnyAsking:  # fmt: skip
    fields = {
        "about": about, "about_id": id, "incident_id": f"i-{id}", "world": world,
        "url": f"https://alerts.example{about.page(id, f'i-{id}')}",
        "opened_at": s(at), "expires_at": s(at + 600), "people": people,
    }  # fmt: skip
    kind: Any = Asking
    made: AnyAsking = kind(**fields)
    return made


class Told:
    """What a ledger would keep, and a clock that goes from look to look."""

    def __init__(self, *open: AnyAsking) -> None:
        self.open = open
        self.made: dict[str, Made] = {}
        self.calls: list[tuple[float, str, Means, int]] = []

    def look(self, now: datetime, how: How | None = OK) -> datetime | None:
        """Makes what is due, each ending as `how` says; None: no end is ever heard of.

        Answers when to look again, which is at once where an end makes further calls due.
        """
        due = self.due(now)
        assert due.next_look is None or due.next_look > now
        assert due.next_look is None or any(due.next_look < each.expires_at for each in self.open)
        for call in due.calls:
            made = begun(call, self.made.get(call.id), now)
            self.made[call.id] = made if how is None else ended(made, how, now)
            at = (now - NOW).total_seconds()
            self.calls.append((at, call.person_id, call.means, call.attempt))
        after = self.due(now)
        return now if after.calls and how is not None else after.next_look

    def due(self, now: datetime) -> Due:
        return next_calls(Calls(open=self.open, made=tuple(self.made.values())), now)

    def run(self, how: How | None = OK, at: float = 0) -> list[tuple[float, str]]:
        """Looks whenever a look is due, until none is; answers who was called when, in order."""
        look: datetime | None = s(at)
        while look is not None:
            assert len(self.calls) < 1000, "it would call for ever"
            look = self.look(look, how)
        return list(dict.fromkeys((at, person) for at, person, _, _ in self.calls))


# --- the table --------------------------------------------------------------------------------

EVERYBODY = (ORTIZ, DEPUTY, KIM, CHIEF)
AT = {
    "ortiz": [0, 60, 120, 180, 240],
    "deputy": [180, 240, 300, 360, 420],
    "kim": [240, 300, 360, 420, 480],
    "chief": [240, 300, 360, 420, 480],
}
WHEN: list[tuple[str, tuple[Callee, ...], dict[str, list[int]]]] = [
    ("everybody", EVERYBODY, AT),
    ("listed the other way round", EVERYBODY[::-1], AT),
    ("the approver alone", (ORTIZ,), {"ortiz": AT["ortiz"]}),
    ("nobody holds a delegation", (ORTIZ, KIM), {"ortiz": AT["ortiz"], "kim": AT["deputy"]}),
    ("the approver has no phone", (callee("ortiz", Rung.APPROVER), DEPUTY, KIM),
     {"deputy": AT["ortiz"], "kim": AT["deputy"]}),
    ("the approver is the Watch Commander",
     (ORTIZ, callee("ortiz", Rung.COMMAND, Means.SMS)), {"ortiz": AT["ortiz"]}),
    ("nobody", (), {}),
]  # fmt: skip


@pytest.mark.parametrize(("_", "people", "when"), WHEN)
@pytest.mark.parametrize("how", [OK, InDoubt("?"), None])
def test_who_is_called_when(
    _: str, people: tuple[Callee, ...], when: dict[str, list[int]], how: How | None
) -> None:
    called = Told(asking(*people)).run(how)
    assert called == sorted(called, key=lambda each: each[0])
    assert {name: [at for at, who in called if who == name] for name in when} == when
    assert {who for _, who in called} == set(when)


def test_push_and_sms_go_side_by_side_each_time() -> None:
    told = Told(asking(ORTIZ))
    told.run()
    assert told.calls == [
        (at, "ortiz", means, attempt)
        for attempt, at in enumerate(AT["ortiz"], start=1)
        for means in (Means.PUSH, Means.SMS)
    ]


def test_the_first_call_does_not_wait_for_two_clocks_to_agree() -> None:
    told = Told(asking(ORTIZ, DEPUTY))
    assert told.look(s(-30)) == s(30)
    assert [call[1] for call in told.calls] == ["ortiz", "ortiz"]


def test_who_comes_late_calls_all_whose_time_has_come() -> None:
    told = Told(asking(*EVERYBODY))
    told.look(s(200))
    assert {who for _, who, _, _ in told.calls} == {"ortiz", "deputy"}


def test_what_did_not_leave_is_the_same_call_again_until_the_next_round() -> None:
    told = Told(asking(ORTIZ))
    assert told.look(s(0), TryLater("away")) == s(5)
    assert told.look(s(5), TryLater("away", timedelta(seconds=20))) == s(25)
    assert told.look(s(25)) == s(60)
    assert [(at, attempt) for at, _, _, attempt in told.calls] == [
        (0, 1), (0, 1), (5, 1), (5, 1), (25, 1), (25, 1)
    ]  # fmt: skip
    assert len(told.made) == 2
    assert told.look(s(60)) == s(120)
    assert len(told.made) == 4


def test_what_did_not_leave_is_not_tried_once_the_next_round_has_been() -> None:
    told = Told(asking(ORTIZ))
    told.look(s(0), TryLater("away", timedelta(seconds=70)))
    told.look(s(60))
    assert told.due(s(100)) == ((), s(120))


def test_a_pause_of_nothing_is_no_leave_to_ask_without_pause() -> None:
    assert Told(asking(ORTIZ)).look(s(0), TryLater("busy", timedelta())) == s(5)


def test_a_long_pause_does_not_keep_the_next_round_waiting() -> None:
    told = Told(asking(ORTIZ))
    assert told.look(s(0), TryLater("busy", timedelta(hours=1))) == s(60)


def test_an_address_that_is_gone_is_left_out_and_nobody_waits_for_whom_it_was_all() -> None:
    told = Told(asking(ORTIZ, DEPUTY))
    assert told.look(s(0), Gone("no such subscription")) == s(0)
    assert told.look(s(1)) == s(61)
    assert told.calls[2:] == [(1, "deputy", Means.SMS, 1)]


def test_a_request_whose_time_has_run_out_calls_nobody() -> None:
    state = Calls(open=(asking(*EVERYBODY),))
    assert next_calls(state, s(600)) == ((), None)


def test_a_new_request_is_never_held_back_by_another() -> None:
    told = Told(asking(ORTIZ))
    told.run()
    told.open = (*told.open, asking(ORTIZ, id="r2", at=241))
    told.calls.clear()
    told.look(s(241))
    assert told.calls == [(241, "ortiz", Means.PUSH, 1), (241, "ortiz", Means.SMS, 1)]


# --- a move of command ----------------------------------------------------------------------------


def moved(*people: Callee, **fields: Any) -> AnyAsking:
    return asking(*people, **{"id": "m1", "about": About.MOVED} | fields)


ANA = callee("ana", Rung.APPROVER, Means.SMS, Means.MAIL)


@pytest.mark.parametrize("about", [each for each in About if each is not About.REQUEST])
def test_of_a_move_each_is_told_once_by_each_means(about: About) -> None:
    told = Told(moved(ORTIZ, ANA, about=about))
    assert told.run() == [(0, "ortiz"), (0, "ana")]
    assert len(told.calls) == 4 and told.due(s(60)) == ((), None)


def test_what_a_provider_did_not_take_is_told_again_until_it_did() -> None:
    told = Told(moved(ORTIZ))
    assert told.look(s(0), TryLater("away")) == s(5)
    told.look(s(5))
    assert [(at, attempt) for at, _, _, attempt in told.calls] == [(0, 1), (0, 1), (5, 1), (5, 1)]
    assert told.due(s(600)) == ((), None)


@pytest.mark.parametrize("how", [None, InDoubt("?")])
def test_what_may_not_have_been_told_is_told_again_in_the_next_round(how: How | None) -> None:
    told = Told(moved(ORTIZ))
    assert told.look(s(0), how) == s(60)
    told.look(s(60))
    assert [(at, attempt) for at, _, _, attempt in told.calls] == [(0, 1), (0, 1), (60, 2), (60, 2)]
    assert told.due(s(120)) == ((), None)


def test_only_the_means_that_failed_is_used_again() -> None:
    told = Told(moved(ORTIZ))
    sms, push = sorted(told.due(s(0)).calls, key=lambda call: call.means)
    for call, how in ((push, OK), (sms, InDoubt("?"))):
        told.made[call.id] = ended(begun(call, None, s(0)), how, s(0))
    assert [call.means for call in told.due(s(60)).calls] == [sms.means]


def test_a_new_move_is_told_at_once_however_many_were_before() -> None:
    told = Told(*(moved(ORTIZ, id=f"m{n}") for n in range(MOST + 2)))
    told.look(s(0))
    assert {call[0] for call in told.calls} == {0} and len(told.calls) == 2 * (MOST + 2)


# --- whatever happens -------------------------------------------------------------------------

HOWS = st.sampled_from([
    OK, InDoubt("?"), TryLater("away"), TryLater("busy", timedelta(seconds=90)), Refused("no"),
    Gone("gone"), None,
])  # fmt: skip
PEOPLE = st.lists(
    st.builds(
        lambda name, rung, means: callee(name, rung, *means),
        st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(Rung),
        st.lists(st.sampled_from(Means), unique=True, max_size=3),
    ),
    max_size=5,
)  # fmt: skip
REQUESTS = st.lists(
    st.tuples(
        PEOPLE, st.sampled_from(["live", "exercise"]), st.integers(0, 900), st.sampled_from(About)
    ),
    min_size=1, max_size=4,
)  # fmt: skip
STEPS = st.lists(st.tuples(st.floats(0, 120), HOWS), max_size=40)


@given(requests=REQUESTS, steps=STEPS)
def test_whatever_happens(requests: list[Any], steps: list[tuple[float, How | None]]) -> None:
    all_of_them = [
        asking(*people, id=f"r{number}", world=world, at=at, about=about)
        for number, (people, world, at, about) in enumerate(requests)
    ]
    told = Told()
    now = NOW
    for passed, how in steps:
        now += timedelta(seconds=passed)
        told.open = tuple(each for each in all_of_them if each.opened_at <= now)
        state = Calls(open=told.open, made=tuple(told.made.values()))
        calls = next_calls(state, now).calls
        assert len({call.id for call in calls}) == len(calls)

        for call in calls:
            page = call.about.page(call.about_id, call.incident_id)
            assert call.text == f"{words(call.world, call.about)}: https://alerts.example{page}"

        for each in told.open:
            if now >= each.expires_at:
                assert not [call for call in calls if call.about_id == each.about_id]
                continue
            made = [one for one in state.made if one.about_id == each.about_id]
            ends = {Outcome.REFUSED}
            if each.about is not About.REQUEST:
                ends.add(Outcome.ACCEPTED)
                taken = {one.reach_id for one in made if one.outcome is Outcome.ACCEPTED}
                assert not [call for call in calls if call.reach_id in taken
                            and call.about_id == each.about_id]  # fmt: skip
            useless = {one.reach_id for one in made if one.outcome in ends}
            useful = [
                person for person in each.people
                if {reach.id for reach in person.reaches} - useless
            ]  # fmt: skip
            useful.sort(key=lambda person: person.rung, reverse=True)
            rungs = {person.person_id: person.rung for person in useful}
            called = {one.person_id for one in made}
            called |= {call.person_id for call in calls if call.about_id == each.about_id}
            first = min(rungs.values(), default=None)
            assert all(who in called for who, rung in rungs.items() if rung is first)
            lowest = max((rungs[who] for who in called & rungs.keys()), default=Rung.APPROVER)
            assert all(who in called for who, rung in rungs.items() if rung < lowest)

        told.look(now, how)

    for person in "abcd":
        for each in all_of_them:
            times = {
                made.attempt: made.at for made in told.made.values()
                if (made.person_id, made.about_id) == (person, each.about_id)
            }  # fmt: skip
            rounds = sorted(times.values())
            assert sorted(times, key=lambda attempt: times[attempt]) == sorted(times)
            assert all(b - a >= AGAIN for a, b in pairwise(rounds))
            assert all(b - a >= WITHIN for a, b in zip(rounds, rounds[MOST:], strict=False))


# --- what a call may say ----------------------------------------------------------------------


def a_call(**fields: Any) -> Call[Any]:
    return Call(**{
        "id": "c1", "about_id": "r1", "incident_id": "i1", "person_id": "ortiz", "reach_id": "p1",
        "means": Means.SMS, "address": "+15005550006", "world": "live",
        "url": "https://alerts.example/a/r1", "attempt": 1,
    } | fields)  # type: ignore[arg-type]  # fmt: skip


def test_a_call_has_no_place_for_words() -> None:
    with pytest.raises(ValidationError):
        a_call(words="Gas leak on Oak St")
    assert a_call().text == "An update waits for your decision: https://alerts.example/a/r1"
    assert a_call(world="exercise").text.startswith("EXERCISE: ")
    assert "+1500" not in repr(a_call())


@pytest.mark.parametrize("about", About)
def test_the_words_follow_from_the_world_and_what_it_is_about(about: About) -> None:
    url = f"https://alerts.example{about.page('r1', 'i1')}"
    live, drill = (a_call(about=about, url=url, world=world) for world in ("live", "exercise"))
    assert drill.words == f"EXERCISE: {live.words[0].lower()}{live.words[1:]}"
    assert live.text == f"{live.words}: {url}" and len(live.text) < 160
    other = About.MOVED if about is About.REQUEST else About.REQUEST
    with pytest.raises(ValidationError):
        a_call(about=other, url=url)


@pytest.mark.parametrize("url", [
    "https://alerts.example/a/r2", "https://alerts.example/a/r1?place=oak",
    "https://alerts.example/a/r1#oak", "https://ortiz@alerts.example/a/r1", "/a/r1",
    "javascript:/a/r1", "https://alerts.example/Oak St/a/r1", "https://alerts.example/\n/a/r1",
    "https://alerts.example/é/a/r1", "https://alerts.example/" + "x" * 500 + "/a/r1",
])  # fmt: skip
def test_a_link_locates_the_request_and_says_nothing_else(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        a_call(url=url)
    assert url not in str(caught.value)
