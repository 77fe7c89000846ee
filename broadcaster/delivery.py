"""From a release to an honest end on every channel.

`plan` makes the posts; an adapter says what happened to one try; the table in `after` says what
becomes of the post. Adapters never try again by themselves: whether and when is decided here,
by tenacity's stop and wait objects, and kept in the ledger as `next_look`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Protocol

import tenacity

from broadcaster.approval import Release
from broadcaster.channel import Channel, Idempotency
from broadcaster.incident import NAMESPACE
from broadcaster.update import Change, Rendering, may_stand
from broadcaster.world import Frozen, W

#: Full jitter, at most 30 s between tries (facts/security-reliability-ux.md §3).
_WAIT = tenacity.wait_random_exponential(multiplier=0.5, max=30)


class PostState(StrEnum):
    """Where a post stands. A proven post is *posted*, and nothing else is."""

    PLANNED = "planned"  #: released; no try yet
    WAITING = "waiting"  #: to be tried again at `next_look`
    SENDING = "sending"  #: one attempt is open
    POSTED = "posted"  #: the channel proved it
    REPLACED = "replaced"  #: a later release took its place before it was sent
    REFUSED = "refused"  #: the channel said no for good; a person must look
    IN_DOUBT = "in doubt"  #: sent, and nobody can say whether it arrived
    HELD = "held"  #: kept back until a person says so
    STOPPED = "stopped"  #: a person stopped the release before this was sent
    EXPIRED = "expired"  #: its time ran out before it was sent
    RETRACTED = "retracted"  #: taken down again

    @property
    def ended(self) -> bool:
        return self in _ENDED

    @property
    def unsent(self) -> bool:
        """Provably not before the public, and still on its way."""
        return self in (PostState.PLANNED, PostState.WAITING, PostState.HELD)

    @property
    def out(self) -> bool:
        """Before the public, or perhaps so."""
        return self in (PostState.POSTED, PostState.SENDING, PostState.IN_DOUBT)


_ENDED = frozenset({
    PostState.POSTED, PostState.REPLACED, PostState.REFUSED, PostState.STOPPED, PostState.EXPIRED,
    PostState.RETRACTED,
})  # fmt: skip


class Post(Frozen, Generic[W]):
    """Release × channel. The same release and channel give the same id for ever."""

    id: str
    release_id: str
    incident_id: str
    channel: str
    world: W
    state: PostState = PostState.PLANNED
    attempts: int = 0


def post_id(release_id: str, channel: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"post\0{release_id}\0{channel}"))


def plan(release: Release[W]) -> tuple[Post[W], ...]:
    """One post for each channel that was approved; no more, no fewer."""
    return tuple(
        Post(
            id=post_id(release.id, channel),
            release_id=release.id,
            incident_id=release.incident_id,
            channel=channel,
            world=release.world,
        )
        for channel in release.channels
    )


# --- What an adapter is, and what it may say --------------------------------------------------


class Message(Frozen, Generic[W]):
    """What an adapter sends: the approved rendering, verbatim, and what frames it."""

    post_id: str
    world: W
    incident_public_id: str
    incident_url: str  #: the incident's address on the public page
    number: int
    kind: str
    rendering: Rendering
    released_at: datetime
    expires_at: datetime


class Receipt(Frozen):
    """The channel's proof that a post is there."""

    remote_id: str
    url: str | None = None


class TryLater(Exception):
    """Provably not posted: could not connect, 429, a 5xx that did nothing. `after`: a pause."""

    def __init__(self, why: str, after: timedelta | None = None) -> None:
        super().__init__(why)
        self.after = after


class Refused(Exception):
    """The channel said no for good (401, 403, 410, 422): a person must look."""


class InDoubt(Exception):
    """It was sent, and no trustworthy answer came back."""


class Unsupported(Exception):
    """This channel cannot do that."""


class Adapter(Protocol[W]):
    """One channel's hands. It sends verbatim or says why not; it never cuts, never retries.

    Before anything else it asks `meant_for`.
    """

    @property
    def channel(self) -> Channel[W]: ...

    async def send(self, message: Message[W]) -> Receipt:
        """Posts the message. Raises TryLater, Refused or InDoubt, and nothing else on purpose."""
        ...

    async def find(self, message: Message[W]) -> Receipt | None:
        """The post, if it is there; None if it is surely not. Raises Unsupported or TryLater."""
        ...

    async def close(self) -> None: ...


def meant_for(channel: Channel[W], message: Message[W]) -> None:
    """Raises Refused unless a message is of the channel's world and approved for this channel.

    The type checker has said so already; a message that was read from somewhere is asked again.
    """
    if message.world != channel.world:
        raise Refused(
            f"The message belongs to the {message.world} world, the channel to the "
            f"{channel.world} world. Nothing was sent."
        )
    if message.rendering.channel != channel.name:
        raise Refused(
            f"These words were approved for {message.rendering.channel}, not for {channel.name}. "
            "Nothing was sent."
        )


# --- What may be tried, and what becomes of it ------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """What must be true now for an attempt: read under the lock, in the attempt's transaction."""

    release_expires_at: datetime
    stopped: bool
    replaced_by: str | None
    digest_released: str
    digest: str  #: of the words that would be sent, computed from them now
    changes: Sequence[Change]  #: the facts in those words that are no longer so
    keeps: str | None  #: of which of them the Commander knew
    in_doubt: bool  #: whether an earlier attempt may have reached the public


@dataclass(frozen=True)
class Next:
    """What becomes of a post: its state, when it is looked at again, and why, in words."""

    state: PostState
    next_look: datetime | None = None
    why: str | None = None


def before_attempt(standing: Standing, *, now: datetime) -> Next | None:
    """None if the post may be tried now; else what becomes of it instead. Fails closed.

    A post that may have reached the public already does not end as if it had not: it stays in
    doubt until somebody looks.
    """
    instead = _against(standing, now)
    if instead is not None and standing.in_doubt:
        return Next(PostState.IN_DOUBT, why=f"{instead.why} An earlier try may have arrived.")
    return instead


def _against(standing: Standing, now: datetime) -> Next | None:
    if standing.stopped:
        return Next(PostState.STOPPED, why="The release was stopped before this was sent.")
    if standing.replaced_by is not None:
        return Next(PostState.REPLACED, why=f"Release {standing.replaced_by} took its place.")
    if now >= standing.release_expires_at:
        return Next(PostState.EXPIRED, why="Its time ran out before it could be sent.")
    if standing.digest != standing.digest_released:
        return Next(
            PostState.HELD,
            why="The words in the ledger are not the words that were approved. Nothing was sent; "
            "run `broadcaster verify`.",
        )
    if not may_stand(standing.changes, standing.keeps):
        changed = "; ".join(change.in_words for change in standing.changes)
        return Next(
            PostState.HELD,
            why=f"The incident has changed since these words were approved ({changed}). Nothing "
            "was sent.",
        )
    return None


@dataclass(frozen=True)
class Happened:
    """How one attempt ended: with a receipt, or with what the adapter raised. Never neither."""

    receipt: Receipt | None = None
    error: TryLater | Refused | InDoubt | None = None

    def __post_init__(self) -> None:
        if (self.receipt is None) == (self.error is None):
            raise ValueError("an attempt ends with a receipt or with an error")


def after(
    happened: Happened,
    *,
    idempotency: Idempotency,
    attempts: int,
    expires_at: datetime,
    now: datetime,
) -> Next:
    """What becomes of a post after its `attempts`-th attempt.

    In doubt: a channel of class A or B is tried again with the same key or id, since that cannot
    post twice; any other stays in doubt until somebody looks.
    """
    error = happened.error
    if error is None:
        return Next(PostState.POSTED)
    if isinstance(error, Refused):
        return Next(PostState.REFUSED, why=str(error))
    if isinstance(error, InDoubt) and not idempotency.may_send_again:
        return Next(PostState.IN_DOUBT, why=str(error))
    pause = error.after if isinstance(error, TryLater) else None
    # A pause of 0 s is no leave to ask without pause; and no post waits longer than it lives.
    look = min(now + max(pause or timedelta(), backoff(attempts)), expires_at)
    return Next(PostState.WAITING, next_look=look, why=str(error))


def backoff(attempts: int) -> timedelta:
    """The pause before the next try of a post, with full jitter."""
    return pause(_WAIT, attempts)


def pause(wait: tenacity.wait.wait_base, attempts: int) -> timedelta:
    """How long tenacity's `wait` waits after so many attempts, for whoever waits by itself."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = max(1, attempts)
    return timedelta(seconds=wait(state))
