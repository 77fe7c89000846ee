"""What may be tried, and what becomes of a post: the table, row by row, and what it never says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.channel import AnyChannel, Idempotency, kinds
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    NotThere,
    PostState,
    Receipt,
    Refused,
    TryLater,
    Unsupported,
)
from broadcaster.outcome import (
    LOOKED_FOR,
    LOOKS,
    SENT_AGAIN_AFTER,
    TABLE,
    Choice,
    Met,
    Next,
    Standing,
    Tell,
    Trial,
    after,
    backoff,
    before_attempt,
    choices_of,
    looked,
    still_looking,
    tried,
)
from broadcaster.update import Change, facts_digest
from tests.broadcaster.values import a_revision
from tests.story import HOOK, NOW

LATER = NOW + timedelta(hours=4)
RECEIPT = Receipt(remote_id="r1", url="https://example/1")
FOR_EVER = datetime.max.replace(tzinfo=UTC)
SECONDS = timedelta(seconds=1)


def of_class(letter: str, **fields: object) -> AnyChannel:
    """A channel of a class; what can be looked for, with a lag of 10 s, is of class C."""
    lag = 10 * SECONDS if letter == "C" else None
    return HOOK.model_copy(
        update={"idempotency": Idempotency(letter), "find_lag": lag} | fields
    )  # fmt: skip


A, B, C, D = (of_class(letter) for letter in "ABCD")
#: Mastodon's: its server knows a key for an hour.
A_HOUR = of_class("A", key_life=timedelta(hours=1))
A_HOUR_SEEN = of_class("A", key_life=timedelta(hours=1), find_lag=timedelta())
A_SEEN = of_class("A", find_lag=timedelta())


def trial(channel: AnyChannel = D, **fields: object) -> Trial:
    return Trial(**{
        "channel": channel, "attempts": 1, "doubts": 1, "looks": 0, "first_tried_at": NOW,
        "doubt_since": NOW, "expires_at": LATER, "overtaken": False, "sent_again": False,
        "may_be_there": False,
    } | fields)  # type: ignore[arg-type]  # fmt: skip


# --- What may be tried ------------------------------------------------------------------------


def standing(**fields: object) -> Standing:
    revision = a_revision()
    return Standing(**{
        "release_expires_at": LATER, "stopped": False, "replaced_by": None, "overtaken": False,
        "nothing_to_correct": False, "replies_open": False,
        "digest_released": revision.digest, "digest": revision.digest,
        "changes": (), "keeps": None, "in_doubt": False, "resend_until": FOR_EVER,
        "can_look": False, "deadline": D.deadline,
    } | fields)  # type: ignore[arg-type]  # fmt: skip


def test_a_post_may_be_tried_while_nothing_stands_against_it() -> None:
    assert before_attempt(standing(), now=NOW) is None
    assert before_attempt(standing(changes=MOVED, keeps=facts_digest(MOVED)), now=NOW) is None


MOVED = (Change(name="place", was="Oak St", now="Elm St"),)
AWAY = (Change(name="place", was="Oak St", now="Palm Dr"),)
OVER = (Change(name="status", was="open", now="closed"),)


AGAINST: list[tuple[dict[str, object], PostState]] = [
    ({"stopped": True}, PostState.STOPPED),
    ({"replaced_by": "release-2"}, PostState.REPLACED),
    ({"overtaken": True}, PostState.REPLACED),
    ({"nothing_to_correct": True}, PostState.STOPPED),
    ({"release_expires_at": NOW}, PostState.EXPIRED),
    ({"release_expires_at": NOW - timedelta(seconds=1)}, PostState.EXPIRED),
    ({"replies_open": True}, PostState.HELD),
    ({"digest_released": "0" * 64}, PostState.HELD),
    ({"changes": MOVED}, PostState.HELD),
    ({"changes": AWAY, "keeps": facts_digest(MOVED)}, PostState.HELD),
    ({"changes": OVER, "keeps": facts_digest(OVER)}, PostState.HELD),
]


@pytest.mark.parametrize(("fields", "state"), AGAINST)
def test_what_stands_against_a_try(fields: dict[str, object], state: PostState) -> None:
    instead = before_attempt(standing(**fields), now=NOW)
    assert instead is not None and instead.state is state
    assert instead.why and instead.next_look is None


def test_the_pio_is_told_of_what_was_not_sent_in_time() -> None:
    instead = before_attempt(standing(release_expires_at=NOW), now=NOW)
    assert instead is not None and instead.tell is Tell.PIO


@pytest.mark.parametrize(("fields", "_"), AGAINST)
def test_a_post_that_may_have_arrived_is_never_said_to_have_failed(
    fields: dict[str, object], _: PostState
) -> None:
    instead = before_attempt(standing(**fields, in_doubt=True), now=NOW)
    assert instead is not None and instead.state is PostState.IN_DOUBT
    assert instead.why and "may have arrived" in instead.why
    assert instead.next_look is None, "nobody can look"
    instead = before_attempt(standing(**fields, in_doubt=True, can_look=True), now=NOW)
    assert instead is not None and instead.next_look == NOW


def test_a_person_who_stopped_it_is_told_so_first() -> None:
    everything = {name: value for fields, _ in reversed(AGAINST) for name, value in fields.items()}
    instead = before_attempt(standing(**everything), now=NOW)
    assert instead is not None and instead.state is PostState.STOPPED


@pytest.mark.parametrize(
    ("until", "may"),
    [
        (FOR_EVER, True),  # class B, or A whose server knows its keys for good
        (None, True),  # sent again because somebody looked, or knowingly
        (NOW + D.deadline, True),
        (NOW + D.deadline - SECONDS, False),  # the server would take it for another post
        (NOW - SECONDS, False),
    ],
)
def test_a_key_that_its_server_may_have_forgotten_is_not_used_again(
    until: datetime | None, may: bool
) -> None:
    instead = before_attempt(standing(in_doubt=True, resend_until=until), now=NOW)
    assert (instead is None) == may
    assert instead is None or instead.state is PostState.IN_DOUBT
    assert before_attempt(standing(resend_until=until), now=NOW) is None, "nothing has arrived"


# --- What becomes of it: the table ------------------------------------------------------------

SENDING, IN_DOUBT, WAITING = PostState.SENDING, PostState.IN_DOUBT, PostState.WAITING
POSTED, REFUSED, REPLACED = PostState.POSTED, PostState.REFUSED, PostState.REPLACED
UNKNOWN, BUSY = InDoubt("?"), TryLater("busy", timedelta(minutes=15))
OVERLOADED = InDoubt("503", timedelta(minutes=15))
LONG = TryLater("come back", timedelta(minutes=16))
TWICE: dict[str, object] = {"attempts": 2, "doubts": 2}
SEEN_LATE: dict[str, object] = {"doubt_since": NOW - 10 * SECONDS, "looks": 3}
#: When it is looked at again, as seconds from now; soon: with the back-off; never: by a person.
SOON, NEVER = "soon", None

#: state, what happened, channels, what was before, then: state, next look, who is told
ROWS: list[tuple[PostState, object, Sequence[AnyChannel], dict[str, object],
                 PostState, float | str | None, Tell | None]] = [
    (SENDING, RECEIPT, [A, B, C, D], {}, POSTED, NEVER, None),
    (SENDING, Refused("no"), [A, B, C, D], {}, REFUSED, NEVER, Tell.PIO),
    (SENDING, Refused("no"), [A, D], {"may_be_there": True}, IN_DOUBT, NEVER, Tell.PIO),
    (SENDING, Refused("no"), [C], {"may_be_there": True}, IN_DOUBT, 0, Tell.PIO),
    (SENDING, TryLater("away"), [A, B, C, D], {}, WAITING, SOON, None),
    (SENDING, LockedOut("who?"), [A, B, C, D], {}, WAITING, SOON, Tell.OPERATOR),
    (SENDING, NotThere("gone"), [A, B, C, D], {}, WAITING, SOON, None),
    (SENDING, UNKNOWN, [C, D], {"edits": True}, WAITING, SOON, None),
    (SENDING, BUSY, [A, B, C, D], {}, WAITING, 900, None),
    (SENDING, LONG, [A, B, C, D], {}, WAITING, 960, Tell.OPERATOR),
    (SENDING, UNKNOWN, [A, B, A_HOUR], {}, WAITING, SOON, None),
    (SENDING, OVERLOADED, [A, B, A_HOUR], {}, WAITING, 900, None),
    (SENDING, OVERLOADED, [C], {}, IN_DOUBT, 900, Tell.PIO),
    (SENDING, OVERLOADED, [D], {}, IN_DOUBT, NEVER, Tell.PIO),
    (SENDING, UNKNOWN, [A_HOUR], {"first_tried_at": NOW - timedelta(hours=1)},
     IN_DOUBT, NEVER, Tell.PIO),
    (SENDING, UNKNOWN, [A_HOUR_SEEN], {"first_tried_at": NOW - timedelta(hours=1)},
     IN_DOUBT, 2, Tell.PIO),
    # A key that is taken, and a post that can be looked for: it is looked for first.
    (SENDING, UNKNOWN, [A_SEEN, A_HOUR_SEEN], {}, IN_DOUBT, 2, Tell.PIO),
    (SENDING, UNKNOWN, [A_SEEN, A_HOUR_SEEN], {"edits": True}, WAITING, SOON, None),
    (SENDING, UNKNOWN, [C], {}, IN_DOUBT, 2, Tell.PIO),
    (SENDING, UNKNOWN, [D], {}, IN_DOUBT, NEVER, Tell.PIO),
    (SENDING, UNKNOWN, [D], {"sent_again": True}, IN_DOUBT, 60, Tell.PIO),
    (SENDING, UNKNOWN, [D], {"sent_again": True} | TWICE, IN_DOUBT, NEVER, Tell.PIO),
    (SENDING, UNKNOWN, [C], {"sent_again": True}, IN_DOUBT, 2, Tell.PIO),
    (IN_DOUBT, RECEIPT, [A, B, C, D], {}, POSTED, NEVER, None),
    (IN_DOUBT, None, [C], {"looks": 1}, IN_DOUBT, 5, None),
    (IN_DOUBT, None, [C], SEEN_LATE, WAITING, SOON, None),
    (IN_DOUBT, None, [C], SEEN_LATE | {"overtaken": True}, REPLACED, NEVER, None),
    (IN_DOUBT, None, [C], SEEN_LATE | TWICE, IN_DOUBT, NEVER, Tell.PIO),
    (IN_DOUBT, None, [A_HOUR_SEEN], {"looks": 1}, WAITING, SOON, None),
    # While its server knows our key it is there once, however often it is sent.
    (IN_DOUBT, None, [A_SEEN, A_HOUR_SEEN], {"doubts": 9}, WAITING, SOON, None),
    (IN_DOUBT, None, [A_HOUR_SEEN], {"doubts": 9, "first_tried_at": NOW - timedelta(hours=1)},
     IN_DOUBT, NEVER, Tell.PIO),
    (IN_DOUBT, TryLater("away"), [C], {"looks": 1}, IN_DOUBT, 5, None),
    (IN_DOUBT, TryLater("away", 90 * SECONDS), [C], {"looks": 1}, IN_DOUBT, 90, None),
    (IN_DOUBT, TryLater("away"), [C], {"looks": 999, "doubt_since": NOW - LOOKED_FOR - SECONDS},
     IN_DOUBT, NEVER, Tell.PIO),
    (IN_DOUBT, Unsupported("blind"), [D], {}, IN_DOUBT, NEVER, Tell.PIO),
    (IN_DOUBT, Unsupported("blind"), [D], {"sent_again": True}, WAITING, 0, None),
    (IN_DOUBT, Unsupported("blind"), [D], {"sent_again": True} | TWICE, IN_DOUBT, NEVER, Tell.PIO),
    (IN_DOUBT, Unsupported("blind"), [D], {"sent_again": True, "overtaken": True},
     IN_DOUBT, NEVER, Tell.PIO),
]  # fmt: skip


@pytest.mark.parametrize(("state", "how", "channels", "before", "then", "look", "tell"), ROWS)
def test_what_becomes_of_a_post(
    state: PostState, how: object, channels: Sequence[AnyChannel], before: dict[str, object],
    then: PostState, look: float | str | None, tell: Tell | None,
) -> None:  # fmt: skip
    happened = tried(how) if state is SENDING else looked(how)  # type: ignore[arg-type]
    for channel in channels:
        became = after(state, happened, trial(channel, **before), now=NOW, began=NOW)
        assert (became.state, became.tell) == (then, tell)
        assert became.why or then is POSTED
        if look is SOON:
            assert became.next_look and NOW <= became.next_look <= NOW + SECONDS / 2
        else:
            assert became.next_look == (None if look is None else NOW + float(look) * SECONDS)


def test_each_row_of_the_table_is_tried_above() -> None:
    used = set()
    for state, how, channels, before, *_ in ROWS:
        happened = tried(how) if state is SENDING else looked(how)  # type: ignore[arg-type]
        for channel in channels:
            became = after(state, happened, trial(channel, **before), now=NOW, began=NOW)
            used |= {(state, happened.met, became.state, became.tell, became.next_look is None)}
    assert {(row[0], row[1]) for row in TABLE} - {each[:2] for each in used} == {
        (IN_DOUBT, Met.PROVED)  # a receipt that comes late: the ledger's tests have it
    }


def test_what_was_looked_for_and_is_sent_again_and_again_is_sent_with_pauses() -> None:
    often = trial(A_SEEN, attempts=20, doubts=20, looks=1)
    pauses = [after(IN_DOUBT, looked(None), often, now=NOW).next_look for _ in range(20)]
    assert max(each - NOW for each in pauses if each) > SECONDS


def test_a_look_comes_after_2_5_15_60_seconds_and_then_each_minute() -> None:
    at, seen = NOW, []
    channel = of_class("C", find_lag=timedelta(hours=1))
    then = after(SENDING, tried(UNKNOWN), trial(channel), now=at)
    for looks in range(1, 8):
        assert then.next_look
        at = then.next_look
        seen.append((at - NOW).total_seconds())
        then = after(IN_DOUBT, looked(None), trial(channel, looks=looks), now=at, began=at)
    assert seen == [each.total_seconds() for each in LOOKS] + [180, 240]


def test_what_was_not_looked_for_in_time_is_not_looked_for_without_a_pause() -> None:
    late = NOW + timedelta(hours=3)
    then = after(IN_DOUBT, looked(TryLater("away")), trial(C, looks=1), now=late)
    assert then.next_look == late + LOOKS[0]


@pytest.mark.parametrize("overtaken", [False, True])
def test_what_a_look_did_not_see_while_it_might_still_appear_is_looked_for_again(
    overtaken: bool,
) -> None:
    """However long the look took: what it says is of when it began, at the latest."""
    before = trial(C, looks=1, overtaken=overtaken)
    for began in (None, NOW, NOW + 9 * SECONDS):
        then = after(IN_DOUBT, looked(None), before, now=NOW + 12 * SECONDS, began=began)
        assert then.state is IN_DOUBT and then.next_look == NOW + 14 * SECONDS
    began = NOW + 10 * SECONDS
    then = after(IN_DOUBT, looked(None), before, now=NOW + 12 * SECONDS, began=began)
    assert then.state is (REPLACED if overtaken else WAITING)


HELD = PostState.HELD
THERE, AGAIN, NOT_THERE = Choice.THERE, Choice.SEND_AGAIN, Choice.NOT_THERE


@pytest.mark.parametrize(
    ("state", "looking", "superseded", "may"),
    [
        (IN_DOUBT, False, False, (THERE, AGAIN)),
        (IN_DOUBT, False, True, (THERE, NOT_THERE)),
        (IN_DOUBT, True, False, (THERE,)),
        (IN_DOUBT, True, True, (THERE,)),
        (REFUSED, False, False, (AGAIN,)),
        (REFUSED, False, True, ()),
        (HELD, False, False, (AGAIN,)),
        (HELD, False, True, ()),
    ],
)
def test_a_person_may_choose_where_no_program_may(
    state: PostState, looking: bool, superseded: bool, may: tuple[Choice, ...]
) -> None:
    assert choices_of(state, takes_down=False, looking=looking, superseded=superseded) == may


@pytest.mark.parametrize("state", sorted({*PostState} - {IN_DOUBT, HELD, REFUSED}))
def test_of_whatever_else_nothing_is_chosen(state: PostState) -> None:
    assert not choices_of(state, takes_down=False, looking=False, superseded=False)


def test_a_person_is_asked_once_a_channel_that_answers_would_have_told() -> None:
    assert still_looking(IN_DOUBT, NOW, len(LOOKS) - 1)
    assert not still_looking(IN_DOUBT, NOW, len(LOOKS)), "the channel does not answer"
    assert not still_looking(IN_DOUBT, None, 0), "nobody looks"
    assert not still_looking(WAITING, NOW, 0)
    lags = [channel.find_lag for channel in kinds().values()]
    assert all(lag is None or lag < LOOKS[-1] for lag in lags)


def test_an_end_that_the_table_does_not_know_is_no_end() -> None:
    with pytest.raises(ValueError, match="nothing is said"):
        after(PostState.POSTED, tried(RECEIPT), trial(), now=NOW)


# --- When it is tried again -------------------------------------------------------------------


def later(pause: timedelta | None, attempts: int = 1, expires_at: datetime = LATER) -> timedelta:
    before = trial(D, attempts=attempts, expires_at=expires_at)
    then = after(SENDING, tried(TryLater("away", pause)), before, now=NOW)
    assert then.next_look is not None
    return then.next_look - NOW


def test_a_pause_that_was_asked_for_is_kept() -> None:
    assert later(timedelta(seconds=120), attempts=50) == timedelta(seconds=120)
    assert timedelta() <= later(timedelta()) <= timedelta(seconds=0.5)


def test_a_short_pause_is_no_leave_to_ask_without_end() -> None:
    short = timedelta(milliseconds=1)
    assert max(later(short, attempts=20) for _ in range(20)) > timedelta(seconds=1)


@given(st.integers(-5, 10_000))
def test_the_pause_before_the_next_try_is_bounded(attempts: int) -> None:
    longest = min(0.5 * 2 ** min(max(attempts, 1) - 1, 20), 30)
    assert timedelta() <= backoff(attempts) <= timedelta(seconds=longest)


def test_tries_do_not_fall_into_step() -> None:
    assert len({backoff(10) for _ in range(20)}) > 10


@given(st.none() | st.timedeltas(timedelta(), timedelta(days=7)), st.integers(1, 100))
def test_nothing_waits_longer_than_it_lives(pause: timedelta | None, attempts: int) -> None:
    soon = NOW + timedelta(seconds=5)
    assert NOW + later(pause, attempts, soon) <= soon


ENDS = st.sampled_from([TryLater("away"), TryLater("busy", 9 * SECONDS), InDoubt("?")])
SIGHTS = st.sampled_from([None, TryLater("away"), Unsupported("blind")])
CHANNELS = st.sampled_from([A, B, C, D, A_HOUR, A_SEEN, A_HOUR_SEEN])


@given(
    st.lists(ENDS, max_size=30), st.lists(SIGHTS, max_size=60), CHANNELS, st.booleans(),
    st.integers(0, 600), st.integers(0, 20),
)  # fmt: skip
def test_what_may_have_arrived_is_sent_again_only_where_that_cannot_double(
    ends: list[TryLater | InDoubt], sights: list[object], channel: AnyChannel, stopped: bool,
    pause: int, slow: int,
) -> None:  # fmt: skip
    """Whatever happens, and in what order: with the key, within its life; or once it was looked
    for, and surely not there. And it never waits without an end in sight."""
    at, then, doubt_since = NOW, Next(PostState.PLANNED), None
    it = trial(channel, attempts=0, doubts=0)
    while True:
        if then.state in (PostState.PLANNED, WAITING):
            until = channel.resend_until(it.first_tried_at)
            now_standing = standing(in_doubt=doubt_since is not None, resend_until=until,
                                    can_look=channel.find_lag is not None,
                                    deadline=channel.deadline, stopped=stopped and it.attempts > 1,
                                    release_expires_at=it.expires_at)  # fmt: skip
            instead = before_attempt(now_standing, now=at)
            if instead is not None:
                then = instead
                assert doubt_since is None or then.state is IN_DOUBT
            elif not ends:
                return
            else:
                if doubt_since is not None:
                    assert until is not None and at + channel.deadline <= until
                how = ends.pop()
                doubtful = isinstance(how, InDoubt)
                it = replace(it, attempts=it.attempts + 1, doubts=it.doubts + doubtful, looks=0)
                if doubtful:
                    doubt_since = at
                    it = replace(it, doubt_since=at)
                then = after(SENDING, tried(how), it, now=at)
        if then.state is not WAITING and then.state is not IN_DOUBT:
            return
        if then.next_look is None:
            assert then.tell is Tell.PIO, "a person is asked"
            return
        at = max(then.next_look, at) + timedelta(seconds=pause)
        if then.state is IN_DOUBT:
            if not sights:
                return
            it = replace(it, looks=it.looks + 1)
            began, at = at, at + timedelta(seconds=slow)
            then = after(IN_DOUBT, looked(sights.pop()), it, now=at, began=began)  # type: ignore[arg-type]
            if then.surely_not_there:
                assert doubt_since is not None and channel.find_lag is not None
                assert began >= doubt_since + channel.find_lag
                doubt_since = None


def test_for_the_safety_of_life_it_may_be_there_twice_and_no_more() -> None:
    """The Chief's designee has weighed that, for this channel."""
    then = after(SENDING, tried(UNKNOWN), trial(D, sent_again=True), now=NOW)
    assert then.next_look == NOW + SENT_AGAIN_AFTER
    then = after(IN_DOUBT, looked(Unsupported("")), trial(D, sent_again=True), now=then.next_look)
    assert then.state is WAITING and not then.surely_not_there
    then = after(SENDING, tried(UNKNOWN), trial(D, sent_again=True, **TWICE), now=NOW)
    assert then.state is IN_DOUBT and then.next_look is None
