"""Who is called to decide, or told of what moved without them, by which means, and when; and what
a call may say.

A call holds generic words and a locator: the link finds the request or the incident, and a person
with a passkey decides (facts/security-reliability-ux.md §1; ASVS 5.0, 14.2.1: nothing sensitive in
a URL). The words follow from the world and the sort of call alone, so there is no field that
content could travel in.

`next_calls` is the whole escalation. It only ever makes calls: nothing is approved by silence.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Generic, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.errors import Refusal
from broadcaster.incident import NAMESPACE
from broadcaster.world import Exercise, Frozen, Live, W, World

# --- What a call is, and who makes it ---------------------------------------------------------


class Means(StrEnum):
    """A way to reach a person."""

    PUSH = "push"  #: web push to a browser that said yes; the address is its subscription, as JSON
    SMS = "SMS"  #: the address is a telephone number (E.164)
    MAIL = "mail"  #: the address is a mailbox (RFC 5321)
    WEBHOOK = "webhook"  #: the department's own app; the address is what that app calls the person


#: A mailbox that can be written into a command and a header as it is; quoted and non-ASCII ones
#: cannot, and are refused.
MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255}")

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_NAME = re.compile(r"[!-~]{1,200}")
_LONGEST_SUBSCRIPTION = 2000


def address(means: Means, text: str) -> str:
    """A person's address as it is kept. Raises Refusal where nobody can be called by it."""
    match means:
        case Means.SMS:
            number = re.sub(r"[\s().-]", "", text)
            return _checked(
                number, _NUMBER, "This is no telephone number that can be called.",
                "Write it with the country's code, as +17605550100.",
            )  # fmt: skip
        case Means.MAIL:
            return _checked(
                text.strip(), MAILBOX, "This is no mailbox that can be written to.",
                "Write it as ortiz@example.gov.",
            )  # fmt: skip
        case Means.WEBHOOK:
            return _checked(
                text.strip(), _NAME, "This is no name that the department's app can know.",
                "Write it without spaces, in at most 200 plain characters.",
            )  # fmt: skip
        case Means.PUSH:
            return _subscription(text)


def _checked(text: str, form: re.Pattern[str], why: str, do: str) -> str:
    if not form.fullmatch(text):
        raise Refusal("address_invalid", why, do, field="address")
    return text


def _subscription(text: str) -> str:
    """A browser's PushSubscription, of which no more is kept than what a push needs."""
    try:
        told = json.loads(text if len(text) <= _LONGEST_SUBSCRIPTION else "")
        keys = {name: str(told["keys"][name]) for name in ("p256dh", "auth")}
        if urlsplit(told["endpoint"]).scheme != "https":
            raise ValueError("no https")
        return json.dumps({"endpoint": told["endpoint"], "keys": keys})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Refusal(
            "address_invalid", "This is no browser that can be called.",
            "Press the button once more; if it stays so, use another browser.", field="address",
        ) from None  # fmt: skip


class About(StrEnum):
    """What somebody is called about."""

    REQUEST = "request"  #: an update waits for their decision
    MOVED = "command moved"
    OFFERED = "command offered"
    OFFER_ENDED = "offer ended"
    LOCKED_OUT = "channel locked out"  #: a platform knows our credential no more
    CLOCK_SET = "clock set"  #: nothing is sent before somebody has looked at it
    REFUSED = "release refused"  #: approved, and the gate did not release it
    LAPSED = "words lapsed"  #: a fact changed behind words that waited, or were not sent yet

    def page(self, about_id: str, incident_id: str, request_id: str | None = None) -> str:
        """The path of the page that a call leads to. `request_id`: of what is told of a request."""
        if self in (About.LOCKED_OUT, About.CLOCK_SET):
            return "/channels"
        request = about_id if self is About.REQUEST else request_id
        return f"/a/{request}" if request else f"/incidents/{incident_id}"


#: Who is concerned beside persons by id: everybody who has the office.
WATCH_COMMANDER = "watch-commander"
SUPERVISOR = "supervisor"

#: All that a call says, whomever it calls.
WORDS: dict[About, str] = {
    About.REQUEST: "An update waits for your decision",
    About.MOVED: "Command of an incident has changed",
    About.OFFERED: "Command of an incident is offered to you",
    About.OFFER_ENDED: "An offer of command has ended",
    About.LOCKED_OUT: "A channel is paused: it knows our credential no more",
    About.CLOCK_SET: "Nothing is sent before somebody says that the clock is right",
    About.REFUSED: "An approved update was not released",
    About.LAPSED: "An update is held back: a fact in it has changed",
}


def words(world: World, about: About = About.REQUEST) -> str:
    """What a call says in a world."""
    said = WORDS[about]
    return said if world == "live" else f"EXERCISE: {said[0].lower()}{said[1:]}"


#: A call is worth nothing after this long: a provider that cannot deliver it by then need not.
WORTH = timedelta(minutes=10)

#: The longest link: with the words it stays far below what any means takes.
LONGEST_URL = 500


class Call(Frozen, Generic[W]):
    """One call of one person by one means. Tried again, it is the same call with the same id."""

    id: str
    about: About = About.REQUEST
    about_id: str  #: of the request, of what is told, or of the problem
    incident_id: str  #: never sent where it is about a request; empty where it is about a channel
    request_id: str | None = None  #: the one of which something is told
    person_id: str
    reach_id: str
    means: Means
    address: str = Field(repr=False)  #: the person's, for that means: no log and no error holds it
    world: W
    url: str = Field(max_length=LONGEST_URL)
    attempt: int = Field(ge=1)  #: the how manieth round of calls to this person about this

    @property
    def words(self) -> str:
        return words(self.world, self.about)

    @property
    def _page(self) -> str:
        return self.about.page(self.about_id, self.incident_id, self.request_id)

    @property
    def text(self) -> str:
        """The words and the locator: the whole message, for a means that has but one field."""
        return f"{self.words}: {self.url}"

    @model_validator(mode="after")
    def _only_locates(self) -> Self:
        """A link is the address of the request or the incident, and holds nothing else."""
        parts = urlsplit(self.url)
        if (
            parts.scheme not in ("https", "http")
            or not parts.hostname
            or "@" in parts.netloc
            or not parts.path.endswith(self._page)
            or parts.query
            or parts.fragment
            or not self.url.isascii()
            or not self.url.isprintable()
            or " " in self.url
        ):
            raise ValueError("a call's link is the address of what it is about, and nothing else")
        return self


AnyCall = Call[Exercise] | Call[Live]


class Accepted(Frozen):
    """A provider took the call. That it arrived, or was opened, is another fact."""

    remote_id: str  #: what the provider calls it; our own id where it has none
    at: datetime


class Gone(Refused):
    """The address is no more: it can be struck off the roster, and is not called again."""


class Caller(Protocol[W]):
    """One means' hands. It sends the words and the link, verbatim; it never tries again.

    Before anything else it asks `meant_for`.
    """

    @property
    def means(self) -> Means: ...

    @property
    def world(self) -> W: ...

    async def call(self, call: Call[W]) -> Accepted:
        """Makes the call. Raises TryLater, Refused (Gone) or InDoubt, and nothing else on purpose.

        No error, log or repr holds the address, the link or a secret.
        """
        ...

    async def close(self) -> None: ...


def meant_for(caller: Caller[W], call: Call[W]) -> None:
    """Raises Refused unless a call is of the caller's world and means.

    The type checker has said the first already; a call that was read from somewhere is asked
    again.
    """
    if call.world != caller.world:
        raise Refused(
            f"The call belongs to the {call.world} world, and this {caller.means} account to the "
            f"{caller.world} world. Nobody was called."
        )
    if call.means is not caller.means:
        raise Refused(f"A call by {call.means} cannot be made by {caller.means}.")


# --- Whom, by which means, when ---------------------------------------------------------------


class Rung(IntEnum):
    """Where a person stands on the ladder; nobody is called before the rungs above are."""

    APPROVER = 0  #: the Commander, or whoever is asked while no command is recorded
    DEPUTY = 1  #: holds a recorded delegation
    COMMAND = 2  #: Watch Commander and duty chief, who may take command and decide in one visit


#: How long after the request each rung is called first (issue 5.4; facts/security §1.12). A rung
#: on which nobody can be reached gives its time to the next.
LADDER = (timedelta(), timedelta(seconds=180), timedelta(seconds=240))

#: Where the Chief's guideline covers a notice, its compiler has so long to release it before
#: anybody is called.
COMPILER_FIRST = timedelta(seconds=60)

#: A person who was called is called again after this long. Every means is used side by side, each
#: time: which of them works tonight is not known beforehand.
AGAIN = timedelta(seconds=60)

#: About one thing, a person gets so many calls within so long (facts/security §1: at
#: most 5 in 10 min; ASVS 5.0, 6.6.4). Side by side counts as one. Others do not count: the first
#: call about a new one is never held back.
MOST, WITHIN = 5, timedelta(minutes=10)

#: What provably did not leave is tried again after this long, or when the provider says.
RETRY = timedelta(seconds=5)


class Reach(Frozen):
    """One address of a person: a browser, a number, a mailbox."""

    id: str
    means: Means
    address: str = Field(repr=False)


class Callee(Frozen):
    """A person who may decide this request, or whom this concerns, and how to reach them."""

    person_id: str
    rung: Rung
    reaches: tuple[Reach, ...]


class Asking(Frozen, Generic[W]):
    """An open request that waits for a decision; or what is to be told: a move of command, a
    refusal of the gate, words that lapsed, or a channel that nothing can be posted on.

    Its people are listed as they are now: of a request without whoever compiled the text, for the
    compiler approves nothing; of what is told all on the first rung.
    """

    about: About = About.REQUEST
    about_id: str
    incident_id: str
    request_id: str | None = None  #: as in Call
    world: W
    url: str
    opened_at: datetime
    expires_at: datetime
    people: tuple[Callee, ...]
    compiler_first: bool = False  #: whether a guideline covers what is asked


AnyAsking = Asking[Exercise] | Asking[Live]


class Outcome(StrEnum):
    """How a call stands."""

    OPEN = "open"  #: being made; if its process dies it stays so, and the next round calls again
    ACCEPTED = "accepted"  #: a provider took it
    LATER = "later"  #: provably not made; tried again at `again_at`, until the next round
    REFUSED = "refused"  #: this address is of no use here
    IN_DOUBT = "in doubt"  #: it may have been made; the next round calls again


class Made(Frozen):
    """A call that was begun, and what has become of it so far: one for each call's id."""

    call_id: str
    about_id: str
    person_id: str
    reach_id: str
    attempt: int
    at: datetime  #: when it was first tried
    outcome: Outcome = Outcome.OPEN
    again_at: datetime | None = None
    why: str | None = None  #: in words, for the record


class Calls(Frozen):
    """All that the escalation looks at: what waits or is to be told, and who was called for it."""

    open: tuple[AnyAsking, ...] = ()
    made: tuple[Made, ...] = ()


class Due(NamedTuple):
    calls: tuple[AnyCall, ...]  #: to be made now, side by side
    next_look: datetime | None  #: later than now; None: time alone brings no further call


def next_calls(state: Calls, now: datetime) -> Due:
    """The calls to make now, and when to look again if nothing happens before then.

    Whoever asks keeps each as `begun` before it is made, in the transaction that asked, and asks
    again once one has `ended`.
    """
    waiting = [asking for asking in state.open if now < asking.expires_at]
    calls: list[AnyCall] = []
    looks: list[datetime] = []
    for asking in waiting:
        made = [each for each in state.made if each.about_id == asking.about_id]
        for callee, starts_at in _in_order(asking, made):
            theirs = [each for each in made if each.person_id == callee.person_id]
            due, look = _for_person(asking, callee, starts_at, theirs, now)
            calls += due
            if look < asking.expires_at:
                looks.append(look)
    return Due(tuple(calls), min(looks, default=None))


def _in_order(asking: AnyAsking, made: Sequence[Made]) -> Iterator[tuple[Callee, datetime]]:
    """Whoever can be reached, once each and on their highest rung, and from when on.

    A request is called for until somebody decides; what is told is told once a provider took it.
    """
    done = {Outcome.REFUSED}
    if asking.about is not About.REQUEST:
        done.add(Outcome.ACCEPTED)
    useless = {each.reach_id for each in made if each.outcome in done}
    people: dict[str, Callee] = {}
    for callee in sorted(asking.people, key=lambda each: each.rung):
        useful = tuple(reach for reach in callee.reaches if reach.id not in useless)
        if useful:
            reachable = callee.model_copy(update={"reaches": useful})
            people.setdefault(callee.person_id, reachable)
    rungs = sorted({callee.rung for callee in people.values()})
    starts = dict(zip(rungs, LADDER, strict=False))
    begins = asking.opened_at + (COMPILER_FIRST if asking.compiler_first else timedelta())
    for callee in people.values():
        yield callee, begins + starts[callee.rung]


def _for_person(
    asking: AnyAsking, callee: Callee, starts_at: datetime, made: Sequence[Made], now: datetime
) -> tuple[Iterable[AnyCall], datetime]:
    """The calls of one person that are due, and when they are looked at again."""
    round_at = _next_round(starts_at, made)
    # Whoever is asked first is called at once, whatever two machines' clocks make of "now".
    first = not made and starts_at == asking.opened_at
    last = max((each.attempt for each in made), default=0)
    if first or now >= round_at:
        return [_call(asking, callee, reach, last + 1) for reach in callee.reaches], now + AGAIN
    later = {
        each.reach_id: each.again_at
        for each in made
        if each.attempt == last and each.outcome is Outcome.LATER and each.again_at is not None
    }
    again = [reach for reach in callee.reaches if reach.id in later]
    due = [_call(asking, callee, reach, last) for reach in again if later[reach.id] <= now]
    looks = [later[reach.id] for reach in again if later[reach.id] > now]
    return due, min([round_at, *looks])


def _next_round(starts_at: datetime, made: Sequence[Made]) -> datetime:
    times = sorted({each.attempt: each.at for each in made}.values())
    if not times:
        return starts_at
    at = times[-1] + AGAIN
    return max(at, times[-MOST] + WITHIN) if len(times) >= MOST else at


def _call(asking: Asking[W], callee: Callee, reach: Reach, attempt: int) -> Call[W]:
    name = f"call\0{asking.about_id}\0{reach.id}\0{attempt}"
    return Call(
        id=str(uuid.uuid5(NAMESPACE, name)),
        about=asking.about,
        about_id=asking.about_id,
        incident_id=asking.incident_id,
        request_id=asking.request_id,
        person_id=callee.person_id,
        reach_id=reach.id,
        means=reach.means,
        address=reach.address,
        world=asking.world,
        url=asking.url,
        attempt=attempt,
    )


# --- What becomes of a call -------------------------------------------------------------------


def begun(call: AnyCall, before: Made | None, now: datetime) -> Made:
    """A call that is about to be tried, for the first time or again: kept before it is."""
    if before is not None:
        return before.model_copy(update={"outcome": Outcome.OPEN, "again_at": None})
    return Made(
        call_id=call.id,
        about_id=call.about_id,
        person_id=call.person_id,
        reach_id=call.reach_id,
        attempt=call.attempt,
        at=now,
    )


def ended(made: Made, how: Accepted | TryLater | Refused | InDoubt, now: datetime) -> Made:
    """A call after one try. In doubt is no reason to call at once again: the next round will."""
    why = None if isinstance(how, Accepted) else str(how)
    again_at = now + max(how.after or timedelta(), RETRY) if isinstance(how, TryLater) else None
    return made.model_copy(update={"outcome": _outcome(how), "again_at": again_at, "why": why})


def _outcome(how: Accepted | TryLater | Refused | InDoubt) -> Outcome:
    match how:
        case Accepted():
            return Outcome.ACCEPTED
        case TryLater():
            return Outcome.LATER
        case Refused():
            return Outcome.REFUSED
        case InDoubt():
            return Outcome.IN_DOUBT


class Progress(StrEnum):
    """What a provider tells of a call after it took it."""

    SENT = "sent"  #: on its way
    DELIVERED = "delivered"  #: the person's device has it
    FAILED = "failed"  #: it will not arrive
