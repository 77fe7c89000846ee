"""The map of the topics holds together."""

from __future__ import annotations

from itertools import pairwise

import pytest

from streams import topics

CHANNELS = ["public_page", "webhook"]


def test_a_world_has_every_topic_in_the_order_of_the_flow() -> None:
    assert list(topics.full_names("exercise", CHANNELS)) == [
        "exercise.incident.intake",
        "exercise.incident.reports",
        "exercise.update.submitted",
        "exercise.update.decided",
        "exercise.updates.public",
        "exercise.posts.public_page",
        "exercise.posts.webhook",
        "exercise.posts.settled",
    ]


def test_nothing_crosses_from_one_world_into_the_other() -> None:
    exercise, live = (topics.full_names(world, CHANNELS) for world in ("exercise", "live"))
    assert not set(exercise) & set(live)


def test_each_topic_is_written_by_what_an_earlier_one_wakes() -> None:
    known = {"CAD", "intake", "desk"}
    for topic, after in pairwise([*topics.FLOW, topics.INTAKE]):
        assert topic.writer in known, topic.name
        assert topic.readers, after.name
        known.update(topic.readers)


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("intake", ["exercise.incident.intake"]),
        ("compile", ["exercise.incident.reports"]),
        ("notify", ["exercise.update.submitted"]),
        ("gate", ["exercise.update.decided"]),
        ("deliver", ["exercise.posts.public_page", "exercise.posts.webhook"]),
        ("nobody", []),
    ],
)
def test_a_step_knows_what_it_reads(step: str, names: list[str]) -> None:
    assert list(topics.read_by(step, "exercise", CHANNELS)) == names


def test_no_channel_may_take_the_subscribers_topic() -> None:
    with pytest.raises(ValueError, match="settled"):
        topics.full_names("exercise", ["settled"])
