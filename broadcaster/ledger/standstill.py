"""What stands still, as the ledger shows it: how a process knows of the steps in the others.

A step that runs leaves nothing waiting for long; the relay and each channel have a lease that
their worker renews every 1.5 s. Where neither is so, whoever runs that step is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from broadcaster.approval import RequestState
from broadcaster.ledger import outbox, schema
from broadcaster.ledger.tx import Tx

#: What has waited longer for its step than this does not move: a step takes milliseconds, a
#: takeover from a worker that was killed up to ten seconds.
LATE = timedelta(seconds=12)

#: A lease that nobody has had for so long is not merely being handed over.
FREE_FOR = timedelta(seconds=5)

#: A message that has waited so long for the relay, which looks each second, is not being carried.
CARRIED_WITHIN = timedelta(seconds=5)


@dataclass(frozen=True)
class Standstill:
    """A step that does not move: since when, and what to do, in words."""

    step: str
    since: datetime
    why: str


def standing_still(tx: Tx, channels: Sequence[str]) -> list[Standstill]:
    """The steps that do not move, in the order of the flow; empty where all is well."""
    return [*_relay(tx), *_waited_for(tx), *_channels(tx, channels)]


def _relay(tx: Tx) -> list[Standstill]:
    until = _leases(tx, ["relay"]).get("relay")
    waiting, oldest = outbox.waiting(tx)
    if until is None or tx.now - until > FREE_FOR:
        return [Standstill("relay", until or tx.now,
                           "No relay runs: start `broadcaster worker relay`.")]  # fmt: skip
    if oldest is not None and tx.now - oldest > CARRIED_WITHIN:
        return [Standstill("relay", oldest,
                           f"The message broker takes nothing ({waiting} waiting for "
                           "it).")]  # fmt: skip
    return []


def _waited_for(tx: Tx) -> list[Standstill]:
    reports, asked, decided = (
        schema.reports.c, schema.approval_requests.c, schema.decisions.c,
    )  # fmt: skip
    oldest = {
        "compile": select(func.min(reports.received_at)).where(reports.next_look.is_not(None)),
        "notify": select(func.min(asked.created_at)).where(
            asked.state == str(RequestState.OPEN), asked.called_at.is_(None)
        ),
        "gate": select(func.min(decided.at)).where(decided.outcome.is_(None)),
    }
    found = []
    for step, query in oldest.items():
        since = tx.connection.execute(query).scalar()
        if since is not None and tx.now - since > LATE:
            why = f"What waits for {step} does not move: start `broadcaster worker {step}`."
            found.append(Standstill(step, since, why))
    return found


def _channels(tx: Tx, channels: Sequence[str]) -> list[Standstill]:
    held = _leases(tx, [f"channel:{channel}" for channel in channels])
    until = {channel: held.get(f"channel:{channel}") for channel in channels}
    free = {name: at for name, at in until.items() if at is None or tx.now - at > FREE_FOR}
    if not free:
        return []
    since = min((at for at in free.values() if at is not None), default=tx.now)
    return [Standstill("deliver", since, f"Nobody delivers to {', '.join(free)}: start "
                       "`broadcaster worker deliver`.")]  # fmt: skip


def _leases(tx: Tx, names: Sequence[str]) -> dict[str, datetime]:
    """Until when each was held; those never held are left out."""
    table = schema.leases.c
    rows = tx.connection.execute(select(table.name, table.until).where(table.name.in_(names))).all()
    return {row.name: row.until for row in rows}
