"""What can go wrong on the way through Kafka, for people and for programs.

Standard library and `broadcaster.errors` alone: the parent process imports this and stays small.
"""

from __future__ import annotations

from broadcaster.errors import Kind, Refusal


class Poison(Refusal):
    """A message that can never be handled, however often it comes.

    The second of the three ends (DESIGN.md rule 4): it is committed to `problems`, redacted, with
    this code and cause, and then acknowledged. `why` never quotes what the message said.
    """

    def __init__(
        self,
        code: str,
        why: str,
        do: str = "Ask whoever wrote it to send it again as it should be.",
        *,
        field: str | None = None,
    ) -> None:
        super().__init__(code, why, do, field=field)


class BrokerAway(Refusal):
    """The broker does not answer, or answers that it cannot serve us now."""

    def __init__(self, bootstrap: str, cause: str) -> None:
        super().__init__(
            "broker_away",
            f"The message broker at {bootstrap} cannot be used now: {cause}.",
            "What is in the ledger is kept and goes on by itself when the broker is back; "
            "if it stays away, look at the broker's log.",
            kind=Kind.UNAVAILABLE,
        )


class BrokerRefused(Refusal):
    """The broker answered, and will not do what we need however often we ask."""

    def __init__(
        self,
        bootstrap: str,
        cause: str,
        do: str = "Give this program's account the rights that the README lists, or correct the "
        "topic settings.",
    ) -> None:
        super().__init__(
            "broker_refused",
            f"The message broker at {bootstrap} refused: {cause}.",
            do,
            kind=Kind.FORBIDDEN,
        )


class TopicsNotMade(Refusal):
    """A cluster lacks topics; nobody but `broadcaster topics apply` makes them there."""

    def __init__(self, bootstrap: str, missing: list[str]) -> None:
        super().__init__(
            "topics_not_made",
            f"The message broker at {bootstrap} lacks these topics: {', '.join(missing)}.",
            "Run `broadcaster topics apply` with the same settings, by an account that may make "
            "topics.",
            kind=Kind.FORBIDDEN,
        )


class NoBroker(Refusal):
    """The embedded broker cannot be started here."""

    def __init__(self, code: str, why: str, do: str) -> None:
        super().__init__(code, why, do, kind=Kind.UNAVAILABLE)


class WrongVersion(Refusal):
    """A library on which we rely by private names is not the one we know."""

    def __init__(self, why: str, do: str) -> None:
        super().__init__("wrong_version", why, do, kind=Kind.UNAVAILABLE)
