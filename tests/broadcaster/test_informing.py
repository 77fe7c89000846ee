"""When the department's app is told again, and that a change has no place for content."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.approval import KEPT, RELEASED, RequestState
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.informing import State, StateChange, change_id, next_try
from tests.story import NOW


@pytest.mark.parametrize(
    ("how", "tries", "seconds"),
    [
        (InDoubt("?"), 1, 1), (InDoubt("?"), 2, 2), (Refused("no"), 4, 8), (InDoubt("?"), 40, 60),
        (TryLater("busy"), 1, 1), (TryLater("busy", timedelta(seconds=90)), 1, 90),
        (TryLater("busy", timedelta()), 3, 4), (InDoubt("503", timedelta(seconds=90)), 1, 90),
    ],
)  # fmt: skip
def test_it_is_told_later_and_later(
    how: TryLater | Refused | InDoubt, tries: int, seconds: int
) -> None:
    assert next_try(how, tries, NOW) == NOW + timedelta(seconds=seconds)


@given(tries=st.integers(1, 10_000))
def test_it_is_never_told_again_at_once_and_never_much_later(tries: int) -> None:
    pause = next_try(InDoubt("?"), tries, NOW) - NOW
    assert timedelta(seconds=1) <= pause <= timedelta(minutes=1)


def test_every_end_of_a_request_has_its_word() -> None:
    assert {str(each) for each in RequestState} - {"open"} <= {str(each) for each in State}
    assert {RELEASED, KEPT} <= {str(each) for each in State}


def test_a_change_has_no_place_for_content() -> None:
    assert set(StateChange.model_fields) == {
        "id", "request_id", "incident_id", "state", "at", "world", "epoch", "url",
    }  # fmt: skip
    assert change_id("r1", 1) == change_id("r1", 1) != change_id("r1", 2)
