"""How people are reached, whom was called for a decision, and what came of it.

An address is a person's own: it stands in `reaches` alone, never on the record. What was sent, what
a provider took, delivered or refused, and whether the page was opened, is on the record.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, update

from broadcaster import calling
from broadcaster.approval import ApprovalRequest
from broadcaster.calling import (
    Accepted,
    AnyAsking,
    AnyCall,
    Asking,
    Callee,
    Calls,
    Gone,
    Made,
    Means,
    Outcome,
    Progress,
    Reach,
    Rung,
)
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Command
from broadcaster.ledger import approvals, authorities, incidents, people, schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind as Fact
from broadcaster.roster import Act, Person, Role

ACTOR = "notify"


# --- How people are reached -------------------------------------------------------------------


def add_reach(tx: Tx, person_id: str, means: Means, address: str, *, actor: str) -> Reach:
    """Keeps an address of a person; one that is kept already stays as it is. Raises Refusal."""
    address = calling.address(means, address)
    for known in reaches_of(tx, person_id):
        if (known.means, known.address) == (means, address):
            return known
    reach = Reach(id=str(uuid.uuid4()), means=means, address=address)
    tx.connection.execute(
        insert(schema.reaches).values(**reach.model_dump(), person_id=person_id, added_at=tx.now)
    )
    tx.record(Fact.REACH_ADDED, actor=actor, person_id=person_id, reach_id=reach.id,
              means=str(means))  # fmt: skip
    tx.changed("people", "calls")
    return reach


def end_reach(tx: Tx, reach_id: str, *, actor: str, why: str | None = None) -> None:
    """Strikes an address off; a second time does nothing. Raises Refusal where it is unknown."""
    table = schema.reaches.c
    row = tx.connection.execute(select(schema.reaches).where(table.id == reach_id)).first()
    if row is None:
        raise Refusal("no_such_reach", "Nobody is reached by this.", "Reload the page.",
                      kind=Kind.NOT_FOUND)  # fmt: skip
    if row.ended_at is not None:
        return
    tx.connection.execute(
        update(schema.reaches).where(table.id == reach_id).values(ended_at=tx.now)
    )
    tx.record(Fact.REACH_ENDED, actor=actor, person_id=row.person_id, reach_id=reach_id,
              means=row.means, why=why)  # fmt: skip
    tx.changed("people", "calls")


def owner_of(tx: Tx, reach_id: str) -> str | None:
    """Whose address it is."""
    return tx.connection.execute(
        select(schema.reaches.c.person_id).where(schema.reaches.c.id == reach_id)
    ).scalar()


def reaches_of(tx: Tx, person_id: str) -> list[Reach]:
    """How a person is reached, the oldest first."""
    return [reach for _, reach in _kept_reaches(tx, schema.reaches.c.person_id == person_id)]


def _kept_reaches(tx: Tx, *of: ColumnElement[bool]) -> list[tuple[str, Reach]]:
    table = schema.reaches.c
    rows = tx.connection.execute(
        select(schema.reaches)
        .where(table.ended_at.is_(None), *of)
        .order_by(table.added_at, table.id)
    )
    return [
        (row.person_id, Reach(id=row.id, means=Means(row.means), address=row.address))
        for row in rows
    ]


# --- Whom to call -----------------------------------------------------------------------------


def state(tx: Tx, means: Collection[Means], request_url: Callable[[str], str]) -> Calls:
    """All that waits for a decision, who may decide it and how they are reached, and the calls
    so far. `means`: those that there are accounts for."""
    waiting = approvals.open_requests(tx)
    if not waiting:
        return Calls()
    everybody, reaches = people.everybody(tx), _reaches(tx, means)
    open_ = tuple(_asking(tx, kept.request, everybody, reaches, request_url) for kept in waiting)
    ids = [kept.request.id for kept in waiting]
    rows = tx.connection.execute(select(schema.calls).where(schema.calls.c.request_id.in_(ids)))
    return Calls(open=open_, made=tuple(map(_made, rows)))


def _reaches(tx: Tx, means: Collection[Means]) -> dict[str, tuple[Reach, ...]]:
    """How everybody is reached by these means, by person."""
    found: dict[str, tuple[Reach, ...]] = {}
    for person_id, reach in _kept_reaches(tx):
        if reach.means in means:
            found[person_id] = (*found.get(person_id, ()), reach)
    return found


def _asking(
    tx: Tx, request: ApprovalRequest, everybody: Iterable[Person],
    reaches: Mapping[str, tuple[Reach, ...]], request_url: Callable[[str], str],
) -> AnyAsking:  # fmt: skip
    revision = approvals.revision(tx, request.revision_id)
    incident = incidents.get(tx, request.incident_id)
    assert revision is not None and incident is not None, "foreign keys"
    command, deputies = incident.incident.command, authorities.deputies(tx)
    callees = tuple(
        Callee(person_id=person.id, rung=rung, reaches=reaches[person.id])
        for person in everybody
        if person.id in reaches and person.id != revision.compiled_by
        if (rung := _rung(person, command, deputies)) is not None
    )
    fields: dict[str, Any] = {
        "request_id": request.id, "world": tx.world, "url": request_url(request.id),
        "opened_at": request.created_at, "expires_at": request.expires_at, "people": callees,
    }  # fmt: skip
    return Asking(**fields)


def _rung(person: Person, command: Command, deputies: Collection[str]) -> Rung | None:
    """Where a person stands under this command; None: not on the ladder.

    A notice has none: its supervisors are asked.
    """
    if command.routine:
        return Rung.APPROVER if person.may(Act.APPROVE_NOTICE) else None
    if command.held_by(person.id):
        return Rung.APPROVER
    if Role.WATCH_COMMANDER in person.roles:
        return Rung.COMMAND if command.person_id else Rung.APPROVER
    if person.id in deputies:
        return Rung.DEPUTY
    return None


# --- Calls ------------------------------------------------------------------------------------


def begin(tx: Tx, call: AnyCall) -> None:
    """Notes a call that is about to be tried, for the first time or again."""
    row = _row(tx, call.id)
    made = calling.begun(call, _made(row) if row else None, tx.now)
    if row is None:
        tx.connection.execute(
            insert(schema.calls).values(
                **_columns(made), id=call.id, request_id=call.request_id,
                person_id=call.person_id, reach_id=call.reach_id, means=str(call.means),
                attempt=call.attempt, at=made.at,
            )
        )  # fmt: skip
        _note(tx, Fact.APPROVER_CALLED, call.request_id, call_id=call.id, called=call.person_id,
              via=str(call.means), attempt=call.attempt)  # fmt: skip
    else:
        _update(tx, call.id, **_columns(made))
    _changed(tx, call.request_id)


def end(tx: Tx, call_id: str, how: Accepted | TryLater | Refused | InDoubt) -> None:
    """Notes what came of one try. An address that is no more is struck off."""
    row = _row(tx, call_id)
    assert row is not None, "a call is begun before it ends"
    made = calling.ended(_made(row), how, tx.now)
    _update(tx, call_id, **_columns(made), ended_at=tx.now,
            remote_id=how.remote_id if isinstance(how, Accepted) else None)  # fmt: skip
    _note(tx, Fact.CALL_ENDED, row.request_id, call_id=call_id, called=row.person_id,
          via=row.means, attempt=row.attempt, outcome=str(made.outcome), why=made.why)  # fmt: skip
    if isinstance(how, Gone):
        end_reach(tx, row.reach_id, actor=ACTOR, why=str(how))
    _changed(tx, row.request_id)


def report(tx: Tx, call_id: str, progress: Progress) -> None:
    """Keeps what a provider tells of a call later. What arrived does not un-arrive.

    Raises Refusal where there is no such call.
    """
    row = _row(tx, call_id)
    if row is None:
        raise Refusal("no_such_call", "There is no such call.", "Nothing was kept.",
                      kind=Kind.NOT_FOUND)  # fmt: skip
    if row.progress in (str(progress), str(Progress.DELIVERED)):
        return
    _update(tx, call_id, progress=str(progress))
    _note(tx, Fact.CALL_REPORTED, row.request_id, call_id=call_id, called=row.person_id,
          via=row.means, attempt=row.attempt, progress=str(progress))  # fmt: skip
    _changed(tx, row.request_id)


def unopened(tx: Tx, request_id: str, person_id: str) -> bool:
    """Whether a person was called for a request, and has not opened it yet."""
    table = schema.calls.c
    mine = (table.request_id == request_id, table.person_id == person_id)
    rows = tx.connection.execute(select(table.opened_at).where(*mine)).scalars().all()
    return bool(rows) and not any(rows)


def opened(tx: Tx, request_id: str, person_id: str) -> None:
    """Notes that a person who was called has the request before them; once."""
    if not unopened(tx, request_id, person_id):
        return
    table = schema.calls.c
    tx.connection.execute(
        update(schema.calls)
        .where(table.request_id == request_id, table.person_id == person_id)
        .values(opened_at=tx.now)
    )
    _note(tx, Fact.REQUEST_OPENED, request_id, actor=person_id)
    _changed(tx, request_id)


@dataclass(frozen=True)
class Kept:
    """One call, and what came of it."""

    person_id: str
    means: Means
    attempt: int
    at: datetime
    outcome: Outcome
    why: str | None
    ended_at: datetime | None
    progress: Progress | None
    opened_at: datetime | None


def of_request(tx: Tx, request_id: str) -> list[Kept]:
    """The calls about a request, the oldest first."""
    table = schema.calls.c
    rows = tx.connection.execute(
        select(schema.calls).where(table.request_id == request_id).order_by(table.at, table.means)
    )
    return [
        Kept(
            row.person_id, Means(row.means), row.attempt, row.at, Outcome(row.outcome), row.why,
            row.ended_at, Progress(row.progress) if row.progress else None, row.opened_at,
        )
        for row in rows
    ]  # fmt: skip


def _row(tx: Tx, call_id: str) -> Row[Any] | None:
    query = select(schema.calls).where(schema.calls.c.id == call_id).with_for_update()
    return tx.connection.execute(query).first()


def _made(row: Row[Any]) -> Made:
    return Made(
        call_id=row.id, request_id=row.request_id, person_id=row.person_id, reach_id=row.reach_id,
        attempt=row.attempt, at=row.at, outcome=Outcome(row.outcome), again_at=row.again_at,
        why=row.why,
    )  # fmt: skip


def _columns(made: Made) -> dict[str, object]:
    return {"outcome": str(made.outcome), "again_at": made.again_at, "why": made.why}


def _update(tx: Tx, call_id: str, **values: object) -> None:
    tx.connection.execute(update(schema.calls).where(schema.calls.c.id == call_id).values(**values))


def _note(
    tx: Tx, kind: Fact, request_id: str, *, actor: str = ACTOR, **public: str | int | None
) -> None:
    kept = approvals.request(tx, request_id)
    assert kept is not None, "a foreign key"
    tx.trace = kept.trace
    incident_id = kept.request.incident_id
    tx.record(
        kind, actor=actor, incident_id=incident_id, request_id=request_id, private=None, **public
    )


def _changed(tx: Tx, request_id: str) -> None:
    tx.changed("calls", f"request:{request_id}")
