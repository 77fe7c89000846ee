"""How this product says no.

Every refusal says what happened, why, and what to do: to a person in words, to a program in a
stable code (DESIGN.md rule 9). Nothing else is raised on purpose.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What sort of no it is; the desk turns each into one HTTP status."""

    INVALID = "invalid"  #: the words or fields sent cannot be used as they are
    UNKNOWN = "unknown"  #: nobody here knows you; sign in
    FORBIDDEN = "forbidden"  #: you are known, and this act is not yours
    NOT_FOUND = "not_found"  #: there is no such thing
    CONFLICT = "conflict"  #: it was possible, but things have moved
    GONE = "gone"  #: it was possible once; its time has run out
    TOO_LARGE = "too_large"  #: more than one message may hold
    UNAVAILABLE = "unavailable"  #: a part we need is away; the same call may work later


class Refusal(Exception):
    """An act that was refused.

    `code` is stable for programs; `why` says what happened and why, `do` what to do about it,
    each a whole sentence. `field` names the field at fault, where there is one; `facts` carries
    what a program needs to go on (a new Commander's name, the seconds to wait).
    """

    def __init__(
        self,
        code: str,
        why: str,
        do: str,
        *,
        kind: Kind = Kind.INVALID,
        field: str | None = None,
        facts: dict[str, str | int] | None = None,
    ) -> None:
        super().__init__(f"{why} {do}")
        self.code = code
        self.why = why
        self.do = do
        self.kind = kind
        self.field = field
        self.facts = facts or {}

    @property
    def in_words(self) -> str:
        """The refusal on one line, for a terminal."""
        return f"{self.why} {self.do} [{self.code}]"


class LedgerAway(Refusal):
    """The ledger cannot be written or read now; nothing of the act was kept."""

    code = "ledger_away"
    kept = "Nothing was kept. Send it again in a few seconds"

    def __init__(self, cause: str) -> None:
        super().__init__(
            self.code,
            f"The ledger cannot take this now: {cause}.",
            f"{self.kept}; `broadcaster doctor` says more.",
            kind=Kind.UNAVAILABLE,
            facts={"retry_after_s": 5},
        )


class LedgerSilent(LedgerAway):
    """The ledger was asked to keep an act, and has not said whether it did."""

    code = "ledger_silent"
    kept = "It may have been kept. Send it again in a few seconds: it is taken once"
