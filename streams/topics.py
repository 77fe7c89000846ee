"""Every topic, in the order of the flow: the map of this program.

Nothing of ours reaches a topic but through the ledger's outbox and the relay (DESIGN.md rule 3):
`writer` names the step whose committed fact the relay carries. CAD systems alone write for
themselves, to `incident.intake`. Messages that wake a step carry ids; what they are about is in
the ledger (rule 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from broadcaster.world import World

#: The largest message that `incident.intake` takes, in bytes (1 MiB, as for HTTP).
INTAKE_LIMIT = 1_048_576


@dataclass(frozen=True)
class Topic:
    """One topic: what flows through it, from whom, to whom, and how long it is kept."""

    name: str  #: without its world; `{channel}` stands for a channel's name
    key: str  #: what orders its messages: those with the same key keep their order
    writer: str
    readers: tuple[str, ...]
    retention: timedelta
    holds: str
    one_partition: bool = False  #: a channel's posts are one line, however wide the rest is


INTAKE = Topic(
    name="incident.intake",
    key="the CAD system's own incident number",
    writer="CAD",  # the only writer that is not ours; its account may write here and nowhere else
    readers=("intake",),
    retention=timedelta(days=1),  # it may hold private fields, so it is kept short
    holds="a report as CAD sends it, before the allow-list",
)
REPORTS = Topic(
    name="incident.reports",
    key="incident id",
    writer="intake",
    readers=("compile",),
    retention=timedelta(days=7),
    holds="ReportAccepted: the report's id",
)
SUBMITTED = Topic(
    name="update.submitted",
    key="incident id",
    writer="desk",
    readers=("notify",),
    retention=timedelta(days=7),
    holds="RevisionSubmitted: the approval request's id",
)
DECIDED = Topic(
    name="update.decided",
    key="incident id",
    writer="desk",
    readers=("gate",),
    retention=timedelta(days=7),
    holds="DecisionRecorded: the decision's id",
)
POSTS = Topic(
    name="posts.{channel}",
    key="incident id",
    writer="gate",
    readers=("deliver",),
    retention=timedelta(days=7),
    holds="PostPlanned: the post's id",
    one_partition=True,
)
RELEASED = Topic(
    name="updates.public",
    key="the incident's public id",
    writer="gate",
    readers=("subscribers",),
    retention=timedelta(days=30),
    holds="UpdateReleased: a release in full, as the public is told it",
)
SETTLED = Topic(
    name="posts.settled",
    key="the incident's public id",
    writer="deliver",
    readers=("subscribers",),
    retention=timedelta(days=30),
    holds="PostSettled: what became of a post, as the public saw it",
)

#: The whole flow. `posts.{channel}` stands for one topic per channel.
FLOW = (INTAKE, REPORTS, SUBMITTED, DECIDED, RELEASED, POSTS, SETTLED)


def full_name(world: World, topic: Topic, channel: str | None = None) -> str:
    """The topic's name: `exercise.incident.reports`, `live.posts.webhook`.

    So it is called in the outbox; on the broker `Broker.named` may put a prefix before it.
    """
    return f"{world}.{topic.name.format(channel=channel)}"


def full_names(world: World, channels: Iterable[str]) -> dict[str, Topic]:
    """Every topic of one world by its name, in the order of the flow.

    A channel named `settled` would read and write the subscribers' topic, so it is refused.
    """
    channels = list(channels)
    if full_name(world, POSTS, "settled") in (full_name(world, POSTS, c) for c in channels):
        raise ValueError("no channel may be named 'settled': posts.settled is for subscribers")
    names: dict[str, Topic] = {}
    for topic in FLOW:
        for channel in channels if topic is POSTS else [None]:
            names[full_name(world, topic, channel)] = topic
    return names


def read_by(step: str, world: World, channels: Iterable[str]) -> tuple[str, ...]:
    """The names of what `step` reads."""
    names = full_names(world, channels)
    return tuple(name for name, topic in names.items() if step in topic.readers)
