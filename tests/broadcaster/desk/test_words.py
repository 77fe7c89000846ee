"""What pages say of times and numbers, and what changed between two texts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.desk import changes
from broadcaster.desk.deps import Desk
from broadcaster.desk.templating import local, units, when
from tests.broadcaster.desk import scene


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(0), "14:02 PST, just now"),
        (timedelta(minutes=3), "13:59 PST, 3 min ago"),
        (timedelta(hours=14), "00:02 PST, 14 h ago"),
        (timedelta(hours=15), "Sat Nov 21, 23:02 PST, 15 h ago"),
        (timedelta(days=60), "Wed Sep 23, 15:02 PDT, 60 days ago"),
        (timedelta(days=400), "Sat Oct 18 2025, 15:02 PDT, 400 days ago"),
        (-timedelta(minutes=10), "14:12 PST"),
        (-timedelta(hours=24), "Mon Nov 23, 14:02 PST"),
    ],
)
def test_a_time_has_its_zone_and_its_age(desk: Desk, ago: timedelta, said: str) -> None:
    at = scene.a_time() - ago
    assert when(desk, at) == f'<time datetime="{at.isoformat(timespec="seconds")}">{said}</time>'
    assert local(desk, at) == said.partition(" ago")[0].rpartition(",")[0] or said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 updates"), (1, "1 update"), (2, "2 updates"), (1204, "1,204 updates")],
)
def test_a_number_has_its_unit(count: int, said: str) -> None:
    assert units(count, "update") == said
    assert units(2, "entry", "entries") == "2 entries"


WORDS = st.lists(st.sampled_from("Stay inside. Close the windows. \n Call 911".split(" "))).map(
    " ".join
)


@given(old=WORDS, new=WORDS)
def test_the_parts_join_to_both_texts(old: str, new: str) -> None:
    parts = changes.words(old, new)
    if old == new:
        assert parts == ()
        return

    def joined(without: str) -> list[str]:
        return "".join(part.text for part in parts if part.how != without).split()

    assert joined("removed") == new.split()
    assert joined("added") == old.split()


def test_what_changed_is_as_little_as_can_be() -> None:
    parts = changes.words("Avoid Pierson Blvd, Cactus to Ocotillo.",
                          "Avoid Pierson Blvd, Cactus to Palm.")  # fmt: skip
    assert [(part.how, part.text) for part in parts] == [
        ("same", "Avoid Pierson Blvd, Cactus to "), ("removed", "Ocotillo."), ("added", "Palm."),
    ]  # fmt: skip
