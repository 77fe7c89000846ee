"""A channel that fails is left alone for a while, and one that asks for a pause gets it."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from broadcaster.breaker import OPENS_AFTER, PROBE_EVERY, Breaker
from broadcaster.delivery import InDoubt, Receipt, Refused, TryLater
from broadcaster.outcome import Happened, looked, tried
from tests.story import NOW

MOST = 8
FAILED = tried(TryLater("away"))
PROVED = tried(Receipt(remote_id="1"))
SECOND = timedelta(seconds=1)


def failed(times: int, how: Happened = FAILED) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker = breaker.after(how, now=NOW)
    return breaker


def test_it_opens_after_five_failures_and_lets_one_try_after_each_pause() -> None:
    assert failed(OPENS_AFTER - 1).room(MOST, now=NOW) == MOST
    open_ = failed(OPENS_AFTER)
    assert open_.open and open_.why == "away"
    assert open_.room(MOST, now=NOW) == open_.room(MOST, now=NOW + PROBE_EVERY - SECOND) == 0
    at = NOW + PROBE_EVERY
    assert open_.room(MOST, now=at) == 1
    assert open_.after(FAILED, now=at).room(MOST, now=at + SECOND) == 0
    assert open_.after(PROVED, now=at) == Breaker()


def test_what_nobody_knows_counts_as_a_failure_and_a_refusal_does_not() -> None:
    assert failed(OPENS_AFTER, tried(InDoubt("?"))).open
    assert failed(OPENS_AFTER, looked(TryLater("away"))).open
    for answered in (tried(Refused("no")), looked(None), looked(Receipt(remote_id="1"))):
        assert failed(OPENS_AFTER).after(answered, now=NOW + PROBE_EVERY) == Breaker()


def test_a_channel_that_asks_for_a_pause_is_asked_nothing_before_its_end() -> None:
    """Whatever it was told to: its other posts would only be refused, too."""
    busy = Breaker().after(tried(TryLater("429", timedelta(seconds=30))), now=NOW)
    assert not busy.failures and busy.why == "429"
    assert busy.room(MOST, now=NOW + 29 * SECOND) == 0
    assert busy.room(MOST, now=NOW + 30 * SECOND) == MOST
    assert Breaker().after(tried(InDoubt("429", timedelta(seconds=30))), now=NOW) == busy
    shorter = busy.after(tried(TryLater("429", timedelta(seconds=5))), now=NOW)
    assert shorter.again_at == busy.again_at, "the longer one holds"
    sent_before = busy.after(PROVED, now=NOW + SECOND)
    assert sent_before.again_at == busy.again_at, "an answer to what was under way ends no pause"


HOW = st.sampled_from([
    FAILED, PROVED, tried(InDoubt("?")), tried(Refused("no")), looked(None),
    tried(TryLater("429", timedelta(seconds=40))),
])  # fmt: skip


@given(st.lists(st.tuples(HOW, st.integers(0, 60)), max_size=40))
def test_it_is_never_left_alone_for_longer_than_it_asked_for_or_a_probe_takes(
    story: list[tuple[Happened, int]],
) -> None:
    at, breaker = NOW, Breaker()
    for how, seconds in story:
        breaker = breaker.after(how, now=at)
        assert breaker.again_at is None or breaker.again_at <= at + timedelta(seconds=40)
        assert breaker.room(MOST, now=breaker.again_at or at) >= 1
        at += timedelta(seconds=seconds)
