"""What a department's own app is told of approval requests, and when it is told again.

Of each change of a request's state: ids, state, time, world, epoch and a locator, and never
content. Changes of one request are told in order, at least once; each with its own id, by which a
receiver acts once.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Protocol

from pydantic import Field
from tenacity import wait_exponential

from broadcaster.calling import LONGEST_URL
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.incident import NAMESPACE
from broadcaster.outcome import pause
from broadcaster.world import Exercise, Frozen, Live, W


class State(StrEnum):
    """What became of a request; the states in between as in `approval.RequestState`."""

    OPENED = "opened"  #: it waits for a decision
    ASKED = "asked"  #: whoever commands was called by the desk; again where command moved
    ASSENTED = "assented"  #: one Commander approved it, where both must; the other is waited for
    ASSENT_ENDED = "assent ended"  #: that approval stands no longer, and both are asked
    APPROVED = "approved"
    RETURNED = "returned"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    EXPIRED = "expired"
    RENEWED = "renewed"  #: asked again, by a request that is opened now
    RELEASED = "released"
    KEPT = "kept"  #: what was held of a release goes on
    NOT_RELEASED = "not released"  #: the gate refused it


class StateChange(Frozen, Generic[W]):
    """One change of a request's state. Told again, it is the same one with the same id."""

    id: str
    request_id: str
    incident_id: str
    state: State
    at: datetime
    world: W
    epoch: int  #: of the command that it was last put to
    url: str = Field(max_length=LONGEST_URL)  #: the request's page


AnyStateChange = StateChange[Exercise] | StateChange[Live]


def change_id(request_id: str, number: int) -> str:
    """The id of the change that the ledger keeps by this number."""
    return str(uuid.uuid5(NAMESPACE, f"change\0{request_id}\0{number}"))


class Informer(Protocol[W]):
    """The way to the app. It tells one change; it never tries again."""

    async def inform(self, change: StateChange[W]) -> None:
        """Raises TryLater, Refused or InDoubt, and nothing else on purpose."""
        ...

    async def close(self) -> None: ...


#: A change that could not be told within this time is of no use to an app any more.
GIVEN_UP_AFTER = timedelta(hours=24)

#: From a second to a minute, doubling: an app that is back hears of what it missed soon.
_WAIT = wait_exponential(multiplier=1, max=60)


def next_try(how: TryLater | Refused | InDoubt, tries: int, now: datetime) -> datetime:
    """When a change that was tried so often is told again. A refusal, too, may be mended."""
    asked = None if isinstance(how, Refused) else how.after
    return now + max(asked or timedelta(), pause(_WAIT, tries))
