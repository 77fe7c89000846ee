"""Wrong words that are still before the public, though what puts them right is released."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broadcaster.aftercare import Found
from broadcaster.delivery import PostState
from broadcaster.ledger import approvals, channels, errands, posts, releases
from broadcaster.ledger.tx import Tx


@dataclass(frozen=True)
class StillOut:
    """Wrong words on one channel, and what keeps them there."""

    post: posts.Kept
    number: int  #: of the update that was wrong
    errand: errands.Kept | None = None  #: that takes them down, where the right words are there
    waits: posts.Kept | None = None  #: what is to put them right, where it does not go by itself
    again: errands.Kept | None = None  #: that has read them where `post` had put them right
    right: int = 0  #: the number of the update that puts them right, where `waits` or `again`
    paused: channels.Kept | None = None  #: their channel, where it is paused

    @property
    def paused_by_a_person(self) -> bool:
        """Whether somebody may let the channel go on at once: else its credential is dead."""
        return self.paused is not None and self.paused.paused_by != channels.ITSELF


_NEEDS_SOMEBODY = (PostState.HELD, PostState.REFUSED, PostState.EXPIRED)


def still_out(tx: Tx, incident_id: str) -> list[StillOut]:
    """Those of an incident, the newest first.

    What is to put them right is told where it does not go out before a person has done something:
    its channel is paused, or it is held, was refused or expired. Else it is on its way.
    """
    several = posts.of_incident(tx, incident_id)
    out = {(post.release_id, post.channel): post for post in several if post.state.out}
    about = _corrects(tx, incident_id)
    numbers = releases.numbers(tx, incident_id)
    fares = channels.several(tx, {post.channel for post in several})
    paused = {name: each for name, each in fares.items() if each.paused_by}
    owed = errands.of_posts(tx, [post.id for post in out.values()])
    down = {each.post_id: each for each in owed if each.takes_down}
    again = {each.post_id: each for each in owed if each.found is Found.WRONG}
    waits = {}
    for post in reversed(several):  # of two that put the same words right, the later one counts
        needs_somebody = post.state in _NEEDS_SOMEBODY or (
            not post.state.ended and post.channel in paused
        )
        for wrong in _chain(about, post.release_id):
            if needs_somebody:
                waits[wrong, post.channel] = post
            elif post.state is PostState.POSTED:
                waits.pop((wrong, post.channel), None)
    found = []
    for at, post in out.items():
        right = waits.get(at)
        number = numbers[post.release_id]
        if post.id in down or right is not None:
            found.append(StillOut(
                post, number, down.get(post.id), right,
                right=numbers[right.release_id] if right else 0, paused=paused.get(post.channel),
            ))  # fmt: skip
        elif post.id in again:
            wrong = next(_chain(about, post.release_id))
            found.append(StillOut(post, numbers[wrong], again=again[post.id], right=number))
    return found


def _corrects(tx: Tx, incident_id: str) -> dict[str, str | None]:
    """What each release of an incident puts right or takes back, by its id."""
    words = {each.id: each.corrects for each in approvals.revisions_of(tx, incident_id)}
    return {each.id: words[each.revision_id] for each in releases.of_incident(tx, incident_id)}


def _chain(about: Mapping[str, str | None], release_id: str) -> Iterator[str]:
    """The releases that one puts right: what it corrects, and what that was to correct."""
    wrong = about.get(release_id)
    while wrong is not None:
        yield wrong
        wrong = about.get(wrong)
