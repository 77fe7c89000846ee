"""What changed since the public was last told, and in a newer request since the Commander read the
one before, word by word: for the approval page and the API."""

from __future__ import annotations

import difflib
import re
from typing import Literal

from broadcaster.ledger import Tx, approvals, releases
from broadcaster.update import Revision
from broadcaster.world import Frozen

#: Words with the space that follows them, so that parts join to the text again.
_WORD = re.compile(r"\S+\s*")


class Part(Frozen):
    """A stretch of text that stayed, came or went."""

    how: Literal["same", "added", "removed"]
    text: str


class ChannelChange(Frozen):
    """One channel's text beside what it said last; `parts` is empty where it stayed the same."""

    channel: str
    new_channel: bool  #: the earlier one did not go here
    parts: tuple[Part, ...]


class Difference(Frozen):
    """One wording beside an earlier one."""

    channels: tuple[ChannelChange, ...]
    channels_left_out: tuple[str, ...]  #: told then, and not now
    area: tuple[str, str] | None  #: before and now, where they differ
    #: What became of the picture; null: there is the same, or none as before.
    picture: Literal["new", "another", "none any more"] | None = None


class Changes(Difference):
    """A revision beside the incident's last release."""

    since_number: int
    since_release_id: str


def words(old: str, new: str) -> tuple[Part, ...]:
    """`old` turned into `new`, in words: joined without the removed parts, they are `new`."""
    if old == new:
        return ()
    before, now = _WORD.findall(old), _WORD.findall(new)
    parts: list[Part] = []
    for op, a, b, c, d in difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if op == "equal":
            parts.append(Part(how="same", text="".join(now[c:d])))
            continue
        if a < b:
            parts.append(Part(how="removed", text="".join(before[a:b])))
        if c < d:
            parts.append(Part(how="added", text="".join(now[c:d])))
    return tuple(parts)


def since_last_release(tx: Tx, revision: Revision) -> Changes | None:
    """What is new against the incident's newest release before this revision; None: the first."""
    mine = releases.of_revision(tx, revision.id)
    earlier = next(
        (
            release
            for release in releases.of_incident(tx, revision.incident_id)
            if mine is None or release.released_at < mine.released_at
        ),
        None,
    )
    if earlier is None:
        return None
    last = approvals.revision(tx, earlier.revision_id)
    assert last is not None, "a release's revision is a foreign key"
    return Changes(
        since_number=last.number, since_release_id=earlier.id, **dict(between(last, revision))
    )


def between(last: Revision, now: Revision) -> Difference:
    """What is new in one wording against an earlier one."""
    said = {rendering.channel: rendering.text for rendering in last.renderings}
    return Difference(
        channels=tuple(
            ChannelChange(
                channel=rendering.channel,
                new_channel=rendering.channel not in said,
                parts=words(said[rendering.channel], rendering.text)
                if rendering.channel in said
                else (),
            )
            for rendering in now.renderings
        ),
        channels_left_out=tuple(name for name in last.channels if name not in now.channels),
        area=(last.area, now.area) if last.area != now.area else None,
        picture=_picture(last, now),
    )


def _picture(last: Revision, now: Revision) -> Literal["new", "another", "none any more"] | None:
    if last.media == now.media:
        return None
    if not now.media:
        return "none any more"
    return "another" if last.media else "new"
