"""A Commander from outside the department, often a fire captain, enrolled for one incident.

The Watch Commander, or a deputy, signs with their own passkey who it is, for which incident and
until when, and shows a link that makes a passkey on the guest's phone. The gate follows that
passkey back to the signature (broadcaster/passkey.py): whoever can write the desk's tables can
write a guest's row, and still enrols nobody.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from broadcaster.errors import Kind, Refusal
from broadcaster.world import Frozen

#: A guest's link is used at once, on a phone that is held before the screen.
LINK_LIVES = timedelta(minutes=15)

#: Nobody stays longer without being enrolled anew.
LONGEST_STAY = timedelta(hours=12)


class Guest(Frozen):
    """One person from outside, and the one incident that they may command."""

    person_id: str
    name: str  #: with rank and agency, as every page calls them
    incident_id: str
    token_hash: str  #: of the link that makes their passkey
    at: datetime  #: when it was signed
    until: datetime
    token: str | None = None  #: once the link is used
    passkey_id: str | None = None  #: the one that was made with it
    ended: bool = False
    closed: bool = False  #: whether the incident is over

    def holds(self, at: datetime) -> bool:
        """Whether they may still command that incident."""
        last = min(self.until, self.at + LONGEST_STAY)
        return at < last and not self.ended and not self.closed

    def made(self, passkey_id: str) -> bool:
        """Whether a passkey is the one that was made with the link, by who had it."""
        return self.passkey_id == passkey_id and hashed(self.token or "") == self.token_hash

    def objection(self, incident_id: str | None, at: datetime) -> Refusal | None:
        """Why what is about this incident, or about none, is not theirs; or None."""
        if incident_id != self.incident_id:
            return elsewhere()
        if not self.holds(at):
            return Refusal(
                "guest_over",
                f"{self.name} was enrolled for this incident until its end, or an earlier time, "
                "and that is over.",
                "Telephone the Watch Commander: they can enrol you again.", kind=Kind.FORBIDDEN,
            )  # fmt: skip
        return None


def elsewhere() -> Refusal:
    """What somebody from outside is told of everything but their one incident."""
    return Refusal(
        "guest_elsewhere",
        "You are enrolled from outside the department, for one incident and nothing else.",
        "Go back to that incident's page, or ask the Watch Commander.", kind=Kind.FORBIDDEN,
    )  # fmt: skip


def hashed(token: str) -> str:
    """All that is kept of a link before it is used."""
    return hashlib.sha256(token.encode()).hexdigest()
