"""The Chief's written guidelines: which routine content is released on their word alone (389.3).

"Any content that does not strictly conform to the guidelines should be approved by a supervisor":
so a guideline is data that a program can compare, and strictly means each of its terms. Content
that the screening has so much as a question about is not within any.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from broadcaster import authority
from broadcaster.authority import Content, Standing
from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Topic
from broadcaster.policy.fold import fold
from broadcaster.roster import Person, Role
from broadcaster.world import Frozen


class Guideline(Frozen):
    """One written guideline: whose notices of one topic go out on which channels, until when."""

    id: str
    topic: Topic
    members: frozenset[str]  #: persons by id, and
    roles: frozenset[Role]  #: everybody who has one of these
    channels: tuple[str, ...]
    until: datetime
    text: str  #: as the Chief wrote it
    granted_by: str
    granted_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None

    @property
    def clause(self) -> str:
        """What of the policy's list it lets through."""
        return self.topic.clause

    def holds(self, at: datetime) -> bool:
        return self.ended_at is None and at < self.until

    def names(self, person: Person) -> bool:
        return person.id in self.members or bool(self.roles & person.roles)


@dataclass(frozen=True)
class Submission:
    """What a notice is judged by, apart from its words."""

    topic: Topic
    channels: tuple[str, ...]
    person: Person  #: who submitted it
    held: Standing  #: by which authority, and how trained
    findings: int  #: what the screening found in the words
    at: datetime
    pictured: bool = False  #: whether a channel shows a picture, which no screening can judge


def objection(guideline: Guideline | None, it: Submission) -> Refusal | None:
    """Why this is not strictly within the guideline, or None."""
    if guideline is None or not guideline.holds(it.at):
        return Refusal(
            "guideline_ended", "No guideline of the Chief's holds for this (389.3).",
            "Have a supervisor approve it.", kind=Kind.FORBIDDEN,
        )  # fmt: skip
    for outside, what in (
        (it.topic is not guideline.topic, f"it is not about {it.topic}"),
        (not set(it.channels) <= set(guideline.channels), "it does not name each of the channels"),
        (not guideline.names(it.person), f"it does not name {it.person.name}"),
        (it.findings > 0, "the screening has a finding in the words (389.5)"),
        (it.pictured, "it shows a picture, which a person must have seen"),
    ):
        if outside:
            return not_within(what)
    return authority.objection(it.person, it.held, Content.ROUTINE, it.at)


def not_within(what: str) -> Refusal:
    """What strictly within it would have asked."""
    return Refusal(
        "outside_guideline",
        f"This is not strictly within the Chief's guideline: {what} (389.3).",
        "Have a supervisor approve it.", kind=Kind.FORBIDDEN,
    )  # fmt: skip


def covering(guidelines: Iterable[Guideline], it: Submission) -> Guideline | None:
    """The guideline that a submission is strictly within; of several, the one granted last."""
    within = [each for each in guidelines if objection(each, it) is None]
    return max(within, key=lambda each: (each.granted_at, each.id), default=None)


@dataclass(frozen=True)
class OpenIncident:
    """What words must not name while it is open: then they are its Commander's to approve."""

    id: str
    title: str
    place: str
    public_id: str


def named(texts: Collection[str], several: Iterable[OpenIncident]) -> OpenIncident | None:
    """The open incident whose place, or public id, stands in the texts (389.4.1)."""
    said = " ".join(_plain(text) for text in texts)
    for each in several:
        if any(f" {key} " in f" {said} " for key in (_plain(each.place), each.public_id) if key):
            return each
    return None


def about_an_incident(texts: Collection[str], several: Iterable[OpenIncident], *,
                      stated: bool) -> Refusal | None:  # fmt: skip
    """Why words are no notice: what is about an open incident is its Commander's (389.4.1)."""
    if found := named(texts, several):
        return Refusal(
            "open_incident_named",
            f"These words name an open incident: {found.title}, {found.place}. What is said about "
            "it is its Commander's to approve (389.4.1).",
            "Open that incident from the board and write an update there, or leave it out here.",
            kind=Kind.CONFLICT, field="text", facts={"incident": found.id},
        )  # fmt: skip
    if not stated:
        return Refusal(
            "statement_missing",
            "It is not stated that these words are about no open incident (389.4.1).",
            "Look at the board, then tick the statement.", field="no_open_incident",
        )  # fmt: skip
    return None


def _plain(text: str) -> str:
    """Words alone, so that case, signs and line ends hide nothing."""
    folded = fold(text).text.casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())
