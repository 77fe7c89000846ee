"""From a release to posts, and what an adapter is.

`plan` makes the posts; an adapter says what happened to one try or look; the table in `outcome`
says what becomes of the post. Adapters never try again by themselves.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Protocol

from pydantic import Field

from broadcaster.approval import Release
from broadcaster.channel import Channel
from broadcaster.incident import NAMESPACE
from broadcaster.media import Picture, digest_of
from broadcaster.update import Rendering
from broadcaster.world import Frozen, W


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
    STOPPED = "stopped"  #: not sent on purpose: somebody stopped it, or it had nothing to correct
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
    def went_out(self) -> bool:
        """Whether the public has read it there, or may: what corrects it must go there, too."""
        return self is PostState.RETRACTED or self.stands_or_may

    @property
    def stands_or_may(self) -> bool:
        """Before the public, or not surely kept from it: what takes it back goes there, too."""
        return self is PostState.POSTED or not self.ended

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
    #: The bytes of the rendering's pictures, by their digest.
    files: dict[str, bytes] = Field(default_factory=dict, repr=False)
    released_at: datetime
    expires_at: datetime

    def file(self, picture: Picture) -> bytes:
        """A picture's bytes. KeyError where they are missing; `meant_for` has looked."""
        return self.files[picture.digest]

    def picture_url(self, picture: Picture) -> str:
        """Where the public can fetch a picture while the post is out, or may be."""
        return f"{self.incident_url}/{self.post_id}/{picture.file_name}"


class Receipt(Frozen):
    """The channel's proof that a post is there."""

    remote_id: str
    url: str | None = None


class Seen(Frozen):
    """What the public reads on a channel, as far as it is ours: without what frames it."""

    text: str
    headline: str | None = None  #: None: the channel has none
    #: Whether the public can answer it there (389.5.1). None: the channel does not tell.
    answerable: bool | None = None
    #: The descriptions of its pictures, in order. None: the channel does not tell.
    pictures: tuple[str, ...] | None = None


class TryLater(Exception):
    """Provably not posted: it could not connect, or was told 429. `after`: a pause."""

    def __init__(self, why: str, after: timedelta | None = None) -> None:
        super().__init__(why)
        self.after = after


class Refused(Exception):
    """The channel said no for good (401, 403, 410, 422): a person must look."""


class LockedOut(Refused):
    """The channel does not know our credential: nothing can go there before a person mends that."""


class InDoubt(Exception):
    """It was sent, and no trustworthy answer came back. `after`: a pause that was asked for."""

    def __init__(self, why: str, after: timedelta | None = None) -> None:
        super().__init__(why)
        self.after = after


class Unsupported(Exception):
    """This channel cannot do that."""


class NotThere(Exception):
    """The post that was to be changed is there no more. Nothing was changed."""


class Adapter(Protocol[W]):
    """One channel's hands. It sends verbatim or says why not; it never cuts, never retries.

    Before anything else it asks `meant_for`. To edit and to take down are sure to do the same when
    they are done again, whatever became of the first time.
    """

    @property
    def channel(self) -> Channel[W]: ...

    async def send(self, message: Message[W]) -> Receipt:
        """Posts the message. Raises TryLater, Refused or InDoubt, and nothing else on purpose."""
        ...

    async def find(self, message: Message[W]) -> Receipt | None:
        """The post, if it is there; None if it cannot be seen. Raises Unsupported or TryLater.

        What cannot be seen is surely not there once the channel's `find_lag` has passed.
        """
        ...

    async def edit(self, message: Message[W], there: Receipt) -> Receipt:
        """Puts the message in the place of a post. Raises as `send`, NotThere, or Unsupported."""
        ...

    async def retract(self, there: Receipt) -> None:
        """Takes a post down; one that is gone already is down. Raises as `send`, or Unsupported."""
        ...

    async def read(self, there: Receipt) -> Seen | None:
        """What the public reads there; None: it is gone. Raises Unsupported or TryLater."""
        ...

    async def differs(self) -> Sequence[str]:
        """What the platform says of itself, and the channel otherwise: a sentence each.

        Raises TryLater.
        """
        ...

    async def close(self) -> None: ...


class Sender(Generic[W]):
    """What an adapter begins with: a channel that takes a post, and of which nothing is known."""

    channel: Channel[W]

    async def find(self, message: Message[W]) -> Receipt | None:
        raise Unsupported(f"{self.channel.title} cannot be asked what it holds.")

    async def edit(self, message: Message[W], there: Receipt) -> Receipt:
        raise Unsupported(f"A post on {self.channel.title} cannot be changed.")

    async def retract(self, there: Receipt) -> None:
        raise Unsupported(f"A post on {self.channel.title} cannot be taken down by us.")

    async def read(self, there: Receipt) -> Seen | None:
        raise Unsupported(f"{self.channel.title} cannot be read by us.")

    async def differs(self) -> Sequence[str]:
        return ()


def meant_for(channel: Channel[W], message: Message[W]) -> None:
    """Raises Refused unless a message is of the channel's world and approved for this channel.

    Also where the channel would change its words, as when its rules have changed since, or a
    picture's bytes are not those that were approved.
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
    pictures = message.rendering.pictures
    why = channel.unfit(message.rendering.text) or channel.unfit_pictures(pictures)
    if why is not None:
        raise Refused(f"{why} Nothing was sent.")
    for each in pictures:
        if digest_of(message.files.get(each.digest, b"")) != each.digest:
            raise Refused("The picture's bytes are not those that were approved. Nothing was sent.")
