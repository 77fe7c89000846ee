"""What every part of the desk needs, handed to it by `bootstrap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from aiohttp import web
from pydantic import BaseModel

from broadcaster.apps import origins
from broadcaster.calling import Means, Progress
from broadcaster.channel import AnyChannel
from broadcaster.clock import Clock, SystemClock
from broadcaster.desk.signature import CapSigner
from broadcaster.incident import Incident, Report
from broadcaster.ledger import Ledger
from broadcaster.passkey import Site
from broadcaster.settings import Settings


@dataclass(frozen=True)
class Flow:
    """How the streams are: whether what is recorded here also moves on."""

    running: bool
    #: Since when they stand still, and why, in words; None while they run.
    since: datetime | None = None
    why: str | None = None


class Arrived(Protocol):
    """A signed report, and what was left at the door."""

    @property
    def report(self) -> Report: ...
    @property
    def unknown_fields(self) -> int: ...
    @property
    def place_withheld(self) -> bool: ...


class Intake(Protocol):
    """How reports come in. The desk and `intake` do not know each other: `bootstrap` joins them."""

    @property
    def schema(self) -> type[BaseModel]:
        """The model that validates a signed report, for the API's document."""
        ...

    @property
    def types(self) -> Sequence[str]:
        """The incident types that a person may choose among."""
        ...

    def signed(self, raw: bytes, headers: Mapping[str, str], *, now: datetime) -> Arrived:
        """A report that its sender signed. Raises Refusal."""
        ...

    def typed(
        self,
        fields: Mapping[str, str],
        *,
        find: Callable[[str], Incident | None],
        message_id: str,
        new_number: str,
        now: datetime,
    ) -> Report:
        """A report that a person typed; `find` looks an incident up by number. Raises Refusal."""
        ...


@dataclass(frozen=True)
class Topic:
    """A topic that programs outside read or write, for the API's document."""

    name: str  #: as it is called on the broker
    key: str  #: what orders its messages, in words
    retention: timedelta


@dataclass(frozen=True)
class Desk:
    """The desk's own world: one ledger, the channels that may be chosen, how the streams are."""

    settings: Settings
    ledger: Ledger
    intake: Intake
    channels: tuple[AnyChannel, ...]
    #: `incident.intake`, `updates.public` and `posts.settled`.
    topics: Mapping[str, Topic]
    #: The address that people reach the desk by, without a slash at the end.
    address: str
    flow: Callable[[], Flow]
    clock: Clock = field(default_factory=SystemClock)
    #: How people can be called: those ways that there are accounts for.
    means: tuple[Means, ...] = ()
    #: Our public key at push services, which a browser subscribes with (RFC 8292 §4).
    push_key: str | None = None
    #: What Twilio tells of an SMS, at which address, signed how. Raises Refusal.
    sms_report: Callable[[str, Mapping[str, str], str], Progress | None] | None = None
    #: Signs CAP messages, where the department has a key for that.
    cap_signer: CapSigner | None = None

    @property
    def practice(self) -> bool:
        """Whether anybody at this desk may choose a practice person: an exercise, on loopback.

        A proxy before it (`public_url`) brings strangers to loopback, so then nobody may.
        """
        settings = self.settings
        return (
            settings.world == "exercise"
            and settings.host in LOOPBACK
            and (settings.public_url is None or settings.public_url.host in LOOPBACK)
        )

    @property
    def site(self) -> Site:
        """Where people's passkeys answer."""
        return Site.at(self.address, origins(self.settings.apps))

    @property
    def https(self) -> bool:
        """Whether people reach the desk by https alone."""
        return self.address.startswith("https://")


#: Where Twilio tells what became of an SMS; the call's id follows.
SMS_REPORTS = "/hooks/sms"

LOOPBACK = frozenset({"127.0.0.1", "::1", "[::1]", "localhost"})

DESK = web.AppKey("desk", Desk)
