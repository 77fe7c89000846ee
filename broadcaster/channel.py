"""What a channel can do, as data: how it counts, what it holds, how sure it can be.

Two kinds of class meet here. The *count rule* says how the channel measures a text; the
*idempotency class* says what may be done when an answer was lost (DESIGN.md "Errors an adapter
may raise"). What frames the words (identifier, time of posting, page layout) is the channel's
and stands outside the digest: `frame` says it in words for the PIO.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Generic, Literal

from pydantic import Field

from broadcaster.world import Exercise, Frozen, Live, W


class CountRule(StrEnum):
    """How a channel counts the length of a text."""

    CHARACTERS = "characters"  #: Unicode code points
    BYTES = "bytes"  #: bytes of UTF-8


class Idempotency(StrEnum):
    """What may be done when a send got no trustworthy answer."""

    TAKES_OUR_KEY = "A"  #: the server takes our key: sending again within its life is safe
    WE_CHOOSE_THE_ID = "B"  #: we choose the id: sending again writes the same post
    CAN_LOOK = "C"  #: we can look for the post, and after a lag believe what we see
    BLIND = "D"  #: neither: a person is asked

    @property
    def may_send_again(self) -> bool:
        return self in (Idempotency.TAKES_OUR_KEY, Idempotency.WE_CHOOSE_THE_ID)


class Replies(StrEnum):
    """Whether the public can answer on the channel itself (389.5.1)."""

    IMPOSSIBLE = "impossible"  #: there is nowhere to answer
    CLOSED = "closed"  #: we close them when we post


class Channel(Frozen, Generic[W]):
    """One way to the public, in one world. Its name is its topic, lease and address."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    kind: Literal["public_page", "webhook"]
    world: W
    title: Annotated[str, Field(min_length=1, max_length=60)]
    count_rule: CountRule
    limit: int | None  #: in the count rule's unit; None: no limit
    idempotency: Idempotency
    replies: Replies
    #: A send is given this long before its end counts as not known (facts/security §3: 3 s to
    #: connect, 10 s to answer).
    deadline: timedelta = timedelta(seconds=13)
    frame: str  #: what the channel adds round the words, told to the PIO

    def count(self, text: str) -> int:
        """The length of `text` by this channel's own rule."""
        return len(text.encode()) if self.count_rule is CountRule.BYTES else len(text)

    def fits(self, text: str) -> bool:
        return self.limit is None or self.count(text) <= self.limit


#: A channel of either world, where only its way of counting matters.
AnyChannel = Channel[Exercise] | Channel[Live]


def public_page(world: W) -> Channel[W]:
    """The department's own page and feeds: no limit, our id, nowhere to answer."""
    return Channel(
        name="public_page",
        kind="public_page",
        world=world,
        title="Public page",
        count_rule=CountRule.CHARACTERS,
        limit=None,
        idempotency=Idempotency.WE_CHOOSE_THE_ID,
        replies=Replies.IMPOSSIBLE,
        frame="The page adds the department's name, the update's number and the time of posting; "
        "feeds and CAP carry the same words.",
    )


#: What one signed webhook may carry, by our own rule; receivers commonly refuse above 256 KiB.
WEBHOOK_LIMIT = 16_384


def webhook(world: W, name: str, title: str, *, dedupes: bool) -> Channel[W]:
    """A signed webhook (Standard Webhooks). Class A only if its receiver is declared to dedupe."""
    return Channel(
        name=name,
        kind="webhook",
        world=world,
        title=title,
        count_rule=CountRule.BYTES,
        limit=WEBHOOK_LIMIT,
        idempotency=Idempotency.TAKES_OUR_KEY if dedupes else Idempotency.BLIND,
        replies=Replies.IMPOSSIBLE,
        frame="A signed JSON message carries the words with the update's number and the "
        "incident's public address.",
    )
