"""What a channel can do, as data: how it counts, what it holds, how sure it can be.

Two kinds of class meet here. The *count rule* says how the channel measures a text; the
*idempotency class* says what may be done when an answer was lost (DESIGN.md "Errors an adapter
may raise"). What frames the words (identifier, time of posting, page layout) is the channel's
and stands outside the digest: `frame` says it in words for the PIO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, cast

from pydantic import Field

from broadcaster import verbatim
from broadcaster.counting import CountRule, count
from broadcaster.media import LONGEST_ALT, MOST_BYTES, Picture
from broadcaster.parts import Marks
from broadcaster.world import Exercise, Frozen, Live, W


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

    NOWHERE = "nowhere"  #: there is nowhere to answer
    CLOSED = "closed"  #: the platform closes them as we post
    APPROXIMATED = "approximated"  #: the platform closes them to nearly everybody
    #: Somebody closes them there; the adapter looks before each post, and sends none where not.
    KEPT_CLOSED = "closed by hand, seen to be before each post"
    BY_HAND = "by hand"  #: somebody closes them in the platform's own settings
    OPEN = "open"  #: nobody can close them

    @property
    def need_the_chief(self) -> bool:
        """Whether the channel stays off until the Chief decides otherwise (389.5.1)."""
        return self in (Replies.BY_HAND, Replies.OPEN)


class Mending(StrEnum):
    """What becomes of wrong words on a channel, once the right ones are approved."""

    EDIT = "edit"  #: the right words stand in their place
    DELETE = "delete and repost"  #: the right words are posted, and the wrong ones taken down
    FOLLOW_UP = "follow-up"  #: the right words are posted after them


class Layout(StrEnum):
    """What a post is like to whoever reads it there."""

    POST = "post"  #: a short text under the account's name
    MESSAGE = "message"  #: one of a room's
    ARTICLE = "article"  #: a page with a title
    MAIL = "mail"
    NOTIFICATION = "notification"  #: on a telephone's screen
    DATA = "data"  #: fields, for a program


class Shape(Frozen):
    """How a post looks there, as far as the platform tells: for the preview, and nothing else."""

    layout: Layout
    #: What the headline is there; None: it is not posted, since the words hold what it says.
    headline: str | None = None
    marks: Marks = Marks.NONE
    #: Whether the platform may put a card beneath: title and picture of the first link's page.
    card: bool = False
    #: After so many lines a reader has to ask for more, and what the button for that says.
    folds_after: int | None = None
    folds_with: str = ""


#: How long a picture may take to be brought (facts/security §3).
UPLOAD = timedelta(seconds=30)

Kind = Literal[
    "public_page", "webhook", "matrix", "mastodon", "bluesky", "wordpress", "x", "mail", "ntfy"
]


class Channel(Frozen, Generic[W]):
    """One way to the public, in one world. Its name is its topic, lease and address."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    kind: Kind
    world: W
    title: Annotated[str, Field(min_length=1, max_length=60)]
    count_rule: CountRule
    limit: int | None  #: in the count rule's unit; None: no limit
    limit_bytes: int | None = None  #: of UTF-8, where the platform has a second limit
    idempotency: Idempotency
    replies: Replies
    #: A send is given this long before its end counts as not known (facts/security §3: 3 s to
    #: connect, 10 s to answer).
    deadline: timedelta = timedelta(seconds=13)
    #: How much longer a send may take that brings pictures (30 s more to answer, the same source).
    upload: timedelta = timedelta()
    #: How many posts a minute it takes. None: as many as come.
    pace: int | None = None
    #: Of class A: for how long after the first try its server knows our key. None: for good.
    key_life: timedelta | None = None
    #: How long after a send it may be before we see the post there. None: we cannot look.
    find_lag: timedelta | None = None
    #: How long after the proof that it is there it may be before everybody reads it there.
    read_lag: timedelta = timedelta()
    mending: Mending = Mending.FOLLOW_UP
    #: Whether we can read there what the public reads.
    reads_back: bool = False
    #: How many pictures its adapter posts with the words. None: the words go alone.
    pictures: int = 0
    picture_bytes: int = MOST_BYTES  #: of one picture, at most
    longest_alt: int = LONGEST_ALT  #: of its description, in characters, at most
    frame: str  #: what the channel adds round the words, told to the PIO
    shape: Shape
    #: Under what name it posts there, beside its title; None: we do not know it.
    handle: str | None = None
    #: The last day of what proves us there, where the settings say so.
    ends: date | None = None

    def count(self, text: str) -> int:
        """The length of `text` by this channel's own rule."""
        return count(self.count_rule, text)

    def time_for(self, pictures: Sequence[Picture]) -> timedelta:
        """How long a send may take that shows these, before its end counts as not known."""
        return self.deadline + self.upload if pictures else self.deadline

    def resend_until(self, first_tried_at: datetime) -> datetime | None:
        """Until when a post that may have arrived may be sent again without being there twice.

        None: never.
        """
        if not self.idempotency.may_send_again:
            return None
        if self.key_life is None:
            return datetime.max.replace(tzinfo=UTC)
        return first_tried_at + self.key_life

    def unfit(self, text: str) -> str | None:
        """Why the platform would change or refuse the text, however short; None: it would not."""
        return verbatim.unfit(self.kind, text, self.handle)

    def unfit_pictures(self, pictures: Sequence[Picture]) -> str | None:
        """Why it cannot show these as they are; None: it can. It may show none at all."""
        if len(pictures) > self.pictures:
            return f"{self.title} shows {self.pictures} of these {len(pictures)} pictures."
        for each in pictures:
            if each.size > self.picture_bytes:
                return (
                    f"{self.title} takes pictures of {self.picture_bytes:,} bytes; this one has "
                    f"{each.size:,}."
                )
            if len(each.alt) > self.longest_alt:
                return (
                    f"{self.title} takes descriptions of {self.longest_alt:,} characters; this "
                    f"one has {len(each.alt):,}."
                )
        return None

    def fits(self, text: str) -> bool:
        """Whether it can be posted as it is."""
        length, limit, _ = self.measure(text)
        return (limit is None or length <= limit) and self.unfit(text) is None

    def measure(self, text: str) -> tuple[int, int | None, CountRule]:
        """How long a text is, how long it may be, and in what.

        In bytes once it has too many of them: that stands in its way, however few its characters.
        """
        size = len(text.encode())
        if self.limit_bytes is not None and size > self.limit_bytes:
            return size, self.limit_bytes, CountRule.BYTES
        return self.count(text), self.limit, self.count_rule


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
        find_lag=timedelta(),
        replies=Replies.NOWHERE,
        pictures=1,
        frame="The page adds the department's name, the update's number and the time of posting; "
        "feeds and CAP carry the same words.",
        shape=Shape(layout=Layout.ARTICLE, headline="Headline"),
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
        replies=Replies.NOWHERE,
        pictures=1,
        frame="A signed JSON message carries the words with the update's number, the incident's "
        "public address, and that of the picture.",
        shape=Shape(layout=Layout.DATA, headline="headline"),
    )


def matrix(world: W, name: str, title: str, handle: str | None = None) -> Channel[W]:
    """A Matrix room. The transaction id is ours; Synapse knows it for 24 hours, restarted or not.

    That is its `_cleanup_old_transaction_ids`; the specification names no time.
    """
    return Channel(
        name=name,
        kind="matrix",
        world=world,
        title=title,
        count_rule=CountRule.BYTES,
        limit=MATRIX_LIMIT,
        idempotency=Idempotency.TAKES_OUR_KEY,
        key_life=timedelta(hours=23),
        find_lag=timedelta(),
        replies=Replies.KEPT_CLOSED,
        mending=Mending.EDIT,
        pictures=1,
        upload=UPLOAD,
        reads_back=True,
        frame="Readers see the words in the room, with the room's name and the time.",
        # Apps may ask their server for a preview of a link (specification, "URL previews").
        shape=Shape(layout=Layout.MESSAGE, marks=Marks.LINKS, card=True),
        handle=handle,
    )


#: Of a Matrix event's 65,536 bytes (specification, "Size limits") a quarter, less what stands round
#: the words: an edit holds them twice, and each byte of them may be two in JSON.
MATRIX_LIMIT = 15_000


def mastodon(
    world: W, name: str, title: str, handle: str | None = None, *, limit: int = 500
) -> Channel[W]:  # fmt: skip
    """Mastodon. It knows our Idempotency-Key for an hour; its replies cannot be closed (#14762)."""
    return Channel(
        name=name,
        kind="mastodon",
        world=world,
        title=title,
        count_rule=CountRule.MASTODON,
        limit=limit,
        idempotency=Idempotency.TAKES_OUR_KEY,
        key_life=timedelta(hours=1),
        find_lag=timedelta(seconds=30),
        read_lag=timedelta(seconds=30),
        replies=Replies.OPEN,
        mending=Mending.EDIT,
        pace=60,
        pictures=1,
        upload=UPLOAD,
        longest_alt=1_500,  # docs.joinmastodon.org/methods/media, description
        reads_back=True,
        frame="Readers see the words with the account's name and the time. Anybody can answer.",
        # Its web pages show 706 px of a post, 32 lines (status_content, MAX_HEIGHT).
        shape=Shape(
            layout=Layout.POST,
            marks=Marks.MASTODON,
            card=True,
            folds_after=32,
            folds_with="Read more",
        ),
        handle=handle,
    )


def bluesky(world: W, name: str, title: str, handle: str | None = None) -> Channel[W]:
    """Bluesky. The record's key is ours; its app shows no edit of a post."""
    return Channel(
        name=name,
        kind="bluesky",
        world=world,
        title=title,
        count_rule=CountRule.GRAPHEMES,
        limit=300,
        limit_bytes=3_000,
        idempotency=Idempotency.WE_CHOOSE_THE_ID,
        find_lag=timedelta(),
        replies=Replies.APPROXIMATED,
        mending=Mending.DELETE,
        pictures=1,
        upload=UPLOAD,
        reads_back=True,
        frame="Readers see the words with the account's name and the time. Bluesky's app lets "
        "nobody answer or quote.",
        # A link alone is marked by us; a card would be posted with it. Its app shows 25 lines
        # (bluesky-social/social-app, MAX_POST_LINES).
        shape=Shape(layout=Layout.POST, marks=Marks.LINKS, folds_after=25, folds_with="Show more"),
        handle=handle,
    )


def wordpress(world: W, name: str, title: str, handle: str | None = None) -> Channel[W]:
    """A post of a WordPress site. Its slug is ours, and it can be looked for by that.

    PHP goes on with a post after we gave it up: for 30 s of its own (`max_execution_time`; it does
    not count what it waits for), and the database waits up to 50 s for a lock
    (`innodb_lock_wait_timeout`). What is sent again before is there twice.
    """
    return Channel(
        name=name,
        kind="wordpress",
        world=world,
        title=title,
        count_rule=CountRule.CHARACTERS,
        limit=None,
        idempotency=Idempotency.CAN_LOOK,
        find_lag=timedelta(seconds=90),
        read_lag=timedelta(seconds=5),
        replies=Replies.CLOSED,
        mending=Mending.EDIT,
        pictures=1,
        upload=UPLOAD,
        reads_back=True,
        frame="The site adds its own layout and the time. The headline is the title of the post.",
        shape=Shape(layout=Layout.ARTICLE, headline="Title"),
        handle=handle,
    )


def x(world: W, name: str, title: str) -> Channel[W]:
    """X. It refuses the same words twice, and tells no id then: the post is looked for."""
    return Channel(
        name=name,
        kind="x",
        world=world,
        title=title,
        count_rule=CountRule.WEIGHTED,
        limit=280,
        idempotency=Idempotency.CAN_LOOK,
        find_lag=timedelta(seconds=30),
        read_lag=timedelta(seconds=30),
        replies=Replies.APPROXIMATED,
        mending=Mending.DELETE,
        pace=6,  # 100 in 15 minutes (docs.x.com, rate limits)
        reads_back=True,
        frame="Readers see the words with the account's name and the time; links are shortened by "
        "X. Only those whom the words mention may answer.",
        shape=Shape(layout=Layout.POST, marks=Marks.X, card=True),
    )


def mail(world: W, name: str, title: str, handle: str | None = None) -> Channel[W]:
    """Mail to a list. What was sent and not answered for cannot be asked for again."""
    return Channel(
        name=name,
        kind="mail",
        world=world,
        title=title,
        count_rule=CountRule.CHARACTERS,
        limit=None,
        idempotency=Idempotency.BLIND,
        replies=Replies.NOWHERE,
        pictures=1,
        frame="The headline is the subject. A line after the words says how to get off the list.",
        deadline=timedelta(seconds=60),
        shape=Shape(layout=Layout.MAIL, headline="Subject", marks=Marks.LINKS),
        handle=handle,
    )


def ntfy(world: W, name: str, title: str, handle: str | None = None) -> Channel[W]:
    """An ntfy topic. Blind: nothing that its server can be asked proves that words did not go out.

    It hands a message to the subscribers before it keeps it, and has answered 500 for what they
    read and it did not keep (binwiederhier/ntfy#1110). A repeat under the same sequence id is a
    second message, which takes the first one's place only in apps that know how (#1569). Who may
    write to a topic is set on the server ("Access control"), and no answer tells us.
    """
    return Channel(
        name=name,
        kind="ntfy",
        world=world,
        title=title,
        count_rule=CountRule.BYTES,
        limit=4_095,  # "up to 4,096 bytes", but of just so many it makes an attachment (util.Peek)
        idempotency=Idempotency.BLIND,
        replies=Replies.BY_HAND,
        pace=12,  # 60 at once, then one each 5 s (docs.ntfy.sh, "Limitations")
        frame="Readers see the words on their phones, under the topic's name; a tap opens the "
        "incident's public page.",
        shape=Shape(layout=Layout.NOTIFICATION, marks=Marks.LINKS),
        handle=handle,
    )


_MAKERS: dict[Kind, Callable[..., AnyChannel]] = {
    "webhook": webhook, "matrix": matrix, "mastodon": mastodon, "bluesky": bluesky,
    "wordpress": wordpress, "x": x, "mail": mail, "ntfy": ntfy,
}  # fmt: skip


def made(kind: Kind, world: W, name: str, title: str, **options: Any) -> Channel[W]:
    """The channel of an account: of its kind, with the options that its factory has."""
    return cast(Channel[W], _MAKERS[kind](world, name, title, **options))


# --- The README's table -----------------------------------------------------------------------


class Proof(NamedTuple):
    """What a kind of channel was tested against."""

    sort: Literal["real server", "specification", "stand-in"]
    against: str


#: When all of them were tried together for the last time. Whoever tries them all again sets it; one
#: that is tried alone has no date of its own.
TRIED = date(2026, 11, 26)

#: By kind. Nothing is claimed beyond it: a PDS shows that a threadgate is there, not its effect.
PROOFS: dict[Kind, tuple[Proof, ...]] = {
    "public_page": (
        Proof("real server", "our own desk, read by Chromium 156 and feedparser 6.0.14"),
        Proof("specification", "CAP 1.2 by the OASIS schema; its signature by xmlsec1 1.2.37"),
    ),
    "webhook": (Proof("stand-in", "a loopback receiver; `standardwebhooks` 1.1.0 verifies"),),
    "matrix": (Proof("real server", "Synapse 1.163.2"),),
    "mastodon": (
        Proof("stand-in", "mastodon_mock 0.6.1"),
        Proof("specification", "mastodon-openapi 4.7.0 (community, 89b11e7)"),
    ),
    "bluesky": (Proof("real server", "the reference PDS 0.4.217, without an AppView"),),
    "mail": (Proof("real server", "Exim 4.96 and aiosmtpd 1.4.6"),),
    "wordpress": (Proof("real server", "WordPress 6.1.9, MariaDB 10.11, PHP 8.2"),),
    "x": (
        Proof("specification", "X API 2.167, by Prism 5.16.0"),
        Proof("stand-in", "a loopback server of ours for what Prism cannot do"),
    ),
    "ntfy": (Proof("stand-in", "a loopback double of docs.ntfy.sh, which has no version"),),
}


def kinds() -> dict[Kind, Channel[Exercise]]:
    """One channel of each kind, as it is without settings of its own."""
    world: Exercise = "exercise"
    return {each.kind: each for each in (
        public_page(world), webhook(world, "webhook", "Signed webhook", dedupes=False),
        matrix(world, "matrix", "Matrix"), mastodon(world, "mastodon", "Mastodon"),
        bluesky(world, "bluesky", "Bluesky"), wordpress(world, "wordpress", "WordPress"),
        x(world, "x", "X"), mail(world, "mail", "E-mail list"), ntfy(world, "ntfy", "ntfy"),
    )}  # fmt: skip


def table() -> str:
    """The README's table of channels."""
    rows = [
        "| channel | class | counts | replies | wrong words | read back | pictures | "
        f"proved against, all last on {TRIED} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, each in kinds().items():
        limit = "no limit" if each.limit is None else f"{each.limit:,} {each.count_rule}"
        limit += f", {each.limit_bytes:,} bytes" if each.limit_bytes else ""
        key = f", key for {each.key_life // timedelta(hours=1)} h" if each.key_life else ""
        proofs = "; ".join(f"{proof.sort}: {proof.against}" for proof in PROOFS[kind])
        cells = [
            each.title, f"{each.idempotency}{key}", limit, each.replies, each.mending,
            "yes" if each.reads_back else "no", str(each.pictures or "no"), proofs,
        ]  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
