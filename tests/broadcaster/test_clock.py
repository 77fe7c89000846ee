"""A clock that is set is not believed before somebody has looked at it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broadcaster.clock import BELIEVED, Reading, Watch
from tests.story import NOW

SECOND = timedelta(seconds=1)


def read(steady: float, wall: float, *, late: float = 0) -> Reading:
    """So many seconds after the first reading; `late`: how long the answer took."""
    return Reading(steady, NOW + wall * SECOND, steady + late)


def watching() -> Watch:
    watch = Watch(lambda: 0.0)
    assert watch.set_by(read(0, 0)) is None, "there is nothing to compare it with yet"
    watch.believe(read(0, 0))
    return watch


@pytest.mark.parametrize(
    ("by", "found"),
    [(0, None), (5, None), (-5, None), (6, 6), (-6, -6), (3600, 3600), (-3600, -3600)],
)
def test_a_step_is_told_from_the_time_that_goes_by(by: int, found: int | None) -> None:
    step = None if found is None else found * SECOND
    assert watching().set_by(read(60, 60 + by)) == step


def test_a_ledger_that_answers_late_has_not_stepped() -> None:
    """Its clock was read at some time between the question and the answer."""
    watch = watching()
    for read_at in (10, 25, 40):
        assert watch.set_by(read(10, read_at, late=30)) is None
    assert watch.set_by(read(10, 46, late=30)) == 6 * SECOND
    assert watch.set_by(read(10, 4, late=30)) == -6 * SECOND


def test_what_was_read_late_is_not_what_later_readings_are_held_against() -> None:
    """Or a ledger that was frozen for a while would seem to have stepped when it goes on."""
    watch = watching()
    for wall in (10, 40):
        watch.believe(read(10, wall, late=30))
        assert watch.set_by(read(41, 41)) is None


def test_a_slow_drift_is_no_step_and_a_step_is_told_once() -> None:
    watch = watching()
    for minute in range(1, 100):
        assert watch.set_by(read(minute * 60, minute * 61)) is None
        watch.believe(read(minute * 60, minute * 61))
    far = read(6000, 200_000)
    assert watch.set_by(far)
    watch.believe(far)
    assert watch.set_by(read(6001, 200_001)) is None
    assert BELIEVED < 60 * SECOND
