"""What is no longer as words say: before and after, and where such words are out or held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from broadcaster.delivery import PostState
from broadcaster.incident import Fact, Incident
from broadcaster.ledger import Tx, approvals, attempts, incidents, posts, releases
from broadcaster.orders import facts_of
from broadcaster.type_names import type_in_words
from broadcaster.update import Change, is_over, lapses_by
from broadcaster.world import Frozen


class FactChange(Frozen):
    """A fact that stands in the words, before and now."""

    name: str = Field(description="Which part of the words it stands in, or `status`.")
    was: str | None
    now: str | None
    was_in_words: str
    now_in_words: str
    reported_at: datetime | None = Field(description="When it was reported as it is now.")


class OldPost(Frozen):
    """One channel on which words stand that are no longer so."""

    channel: str
    state: PostState
    since: datetime
    url: str | None


class OldWords(Frozen):
    """A release whose words are no longer so: where it is out, and where it is held."""

    release_id: str
    number: int
    changed: tuple[FactChange, ...]
    out: tuple[OldPost, ...]
    held: tuple[OldPost, ...]
    may_be_kept: bool = Field(description="Whether the Commander may let go what is held.")


def told(changes: Sequence[Change], incident: Incident) -> tuple[FactChange, ...]:
    """Changes as they are shown, each with the time of the report that made it."""
    return tuple(
        FactChange(
            name=change.name, was=change.was, now=change.now,
            was_in_words=_in_words(change.name, change.was),
            now_in_words=_in_words(change.name, change.now),
            reported_at=fact.at if (fact := _fact(change.name, incident)) else None,
        )
        for change in changes
    )  # fmt: skip


def old_words(tx: Tx, kept: incidents.Kept) -> tuple[OldWords, ...]:
    """Releases that say what is no longer so, newest first, down to the first that still holds.

    What was told before a release that holds, that release has put right.
    """
    found = []
    for release in releases.of_incident(tx, kept.incident.id):
        revision = approvals.revision(tx, release.revision_id)
        assert revision is not None, "a release's revision is a foreign key"
        changes = lapses_by(revision, facts_of(kept))
        if not changes:
            break
        stopped = releases.stopped_at(tx, release.id) is not None
        planned = posts.of_release(tx, release.id)
        found.append(OldWords(
            release_id=release.id, number=revision.number, changed=told(changes, kept.incident),
            out=_on([each for each in planned if each.state.out]),
            held=_on([each for each in planned if each.state is PostState.HELD and not stopped]),
            may_be_kept=not is_over(changes) and bool(attempts.held_to_go(tx, planned)),
        ))  # fmt: skip
    return tuple(each for each in found if each.out or each.held)


def _on(several: Sequence[posts.Kept]) -> tuple[OldPost, ...]:
    return tuple(
        OldPost(channel=each.channel, state=each.state, since=each.since, url=each.url)
        for each in several
    )


def _fact(name: str, incident: Incident) -> Fact | None:
    return {"hazard": incident.type, "place": incident.place, "status": incident.status}.get(name)


def _in_words(name: str, value: str | None) -> str:
    if not value:
        return "not known"
    return type_in_words(value) if name == "hazard" else value
