"""How people are reached, who was called for a decision or to be told, and what came of it.

An address is a person's own: it stands in `reaches` alone, never on the record. What was sent, what
a provider took, delivered or refused, and whether the page was opened, is on the record.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, or_, select, update

from broadcaster import calling
from broadcaster.approval import ApprovalRequest, Assent
from broadcaster.authority import Office
from broadcaster.calling import (
    WATCH_COMMANDER,
    WORTH,
    About,
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
from broadcaster.ledger import (
    approvals,
    assents,
    authorities,
    exercises,
    guidelines,
    incidents,
    people,
    problems,
    schema,
)
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


#: What the id of a problem is told from others by.
_PROBLEM = "problem-"

#: The codes of the problems of a channel that knows our credential no more, and of a clock that was
#: set.
CREDENTIAL_DEAD = "credential_dead"
CLOCK_SET = "clock_set"

#: What is told of problems, by their code.
_TOLD = {CREDENTIAL_DEAD: About.LOCKED_OUT, CLOCK_SET: About.CLOCK_SET}


# --- Whom to call -----------------------------------------------------------------------------


def tell(
    tx: Tx, about: About, move_id: str, incident_id: str, concerned: Sequence[str], *,
    by: str | None = None, request_id: str | None = None,
) -> None:  # fmt: skip
    """Leaves it to notify to call whoever a move concerns: persons by id, offices.

    `by`: who made it; None: the gate, or a report. `request_id`: the one that it is about.
    """
    tx.connection.execute(
        insert(schema.command_moves).values(
            id=move_id, incident_id=incident_id, about=str(about), request_id=request_id,
            concerned=json.dumps(concerned), by=by, at=tx.now,
        )
    )  # fmt: skip
    tx.changed("calls")


def state(tx: Tx, means: Collection[Means], address: str) -> Calls:
    """All that waits for a decision or is to be told, whom it concerns and how they are reached,
    and the calls so far. `means`: those that there are accounts for; `address`: the desk's."""
    waiting, moves, troubles = approvals.open_requests(tx), _moves(tx), _troubles(tx)
    if not waiting and not moves and not troubles:
        return Calls()
    everybody, reaches = people.everybody(tx), _reaches(tx, means)
    table = schema.calls.c
    rows = tx.connection.execute(
        select(schema.calls).where(
            table.request_id.in_([kept.request.id for kept in waiting])
            | table.move_id.in_([move.id for move in moves])
            | table.problem_id.in_([trouble.id for trouble in troubles])
        )
    )
    return Calls(
        open=(
            *(_asking(tx, kept.request, everybody, reaches, address) for kept in waiting),
            *(_telling(tx, move, everybody, reaches, address) for move in moves),
            *(_warning(tx, trouble, everybody, reaches, address) for trouble in troubles),
        ),
        made=tuple(map(_made, rows)),
    )


def _moves(tx: Tx) -> Sequence[Row[Any]]:
    """What is still to be told of incidents. An offer that does not stand any more is not."""
    if exercises.ended(tx):
        return ()
    table = schema.command_moves.c
    rows = tx.connection.execute(
        select(schema.command_moves).where(table.at > tx.now - WORTH).order_by(table.at)
    )
    return [row for row in rows if About(row.about) is not About.OFFERED or _stands(tx, row)]


def _stands(tx: Tx, offered: Row[Any]) -> bool:
    incident = incidents.get(tx, offered.incident_id)
    assert incident is not None, "a foreign key"
    offer = incident.incident.command.offer
    return offer is not None and offer.id == offered.id


def _telling(
    tx: Tx, move: Row[Any], everybody: Iterable[Person],
    reaches: Mapping[str, tuple[Reach, ...]], address: str,
) -> AnyAsking:  # fmt: skip
    concerned = set(json.loads(move.concerned))
    callees = tuple(
        Callee(person_id=person.id, rung=Rung.APPROVER, reaches=reaches[person.id])
        for person in everybody
        if person.id in reaches and person.id != move.by and concerned & _known_as(person)
    )
    about = About(move.about)
    fields: dict[str, Any] = {
        "about": about, "about_id": move.id, "incident_id": move.incident_id, "world": tx.world,
        "request_id": move.request_id,
        "url": address + about.page(move.id, move.incident_id, move.request_id),
        "opened_at": move.at, "expires_at": move.at + WORTH, "people": callees,
    }  # fmt: skip
    return Asking(**fields)


def _troubles(tx: Tx) -> Sequence[Row[Any]]:
    """Of what somebody is to be told since nothing can be posted, on a channel or at all."""
    if exercises.ended(tx):
        return ()
    table = schema.problems.c
    return tx.connection.execute(
        select(schema.problems)
        .where(table.code.in_(_TOLD), table.state == "open", table.at > tx.now - WORTH)
        .order_by(table.id)
    ).all()  # fmt: skip


def _warning(
    tx: Tx, trouble: Row[Any], everybody: Iterable[Person],
    reaches: Mapping[str, tuple[Reach, ...]], address: str,
) -> AnyAsking:  # fmt: skip
    """To whoever may give the channel another credential; of the clock to the Watch Commander, too,
    who may say that it is right."""
    about = _TOLD[trouble.code]
    fields: dict[str, Any] = {
        "about": about, "about_id": f"{_PROBLEM}{trouble.id}", "incident_id": "",
        "world": tx.world, "url": address + about.page("", ""),
        "opened_at": trouble.at, "expires_at": trouble.at + WORTH,
        "people": tuple(
            Callee(person_id=person.id, rung=Rung.APPROVER, reaches=reaches[person.id])
            for person in everybody
            if person.id in reaches and (
                person.may(Act.KEEP_CHANNELS)
                or (about is About.CLOCK_SET and Role.WATCH_COMMANDER in person.roles)
            )
        ),
    }  # fmt: skip
    return Asking(**fields)


def _known_as(person: Person) -> set[str]:
    """By what those whom a move concerns are named."""
    office = {WATCH_COMMANDER} if Role.WATCH_COMMANDER in person.roles else set()
    return {person.id, *office}


def _reaches(tx: Tx, means: Collection[Means]) -> dict[str, tuple[Reach, ...]]:
    """How everybody is reached by these means, by person."""
    found: dict[str, tuple[Reach, ...]] = {}
    for person_id, reach in _kept_reaches(tx):
        if reach.means in means:
            found[person_id] = (*found.get(person_id, ()), reach)
    return found


def _asking(
    tx: Tx, request: ApprovalRequest, everybody: Iterable[Person],
    reaches: Mapping[str, tuple[Reach, ...]], address: str,
) -> AnyAsking:  # fmt: skip
    revision = approvals.revision(tx, request.revision_id)
    incident = incidents.get(tx, request.incident_id)
    assert revision is not None and incident is not None, "foreign keys"
    command = incident.incident.command
    offices = {office: authorities.holders(tx, office) for office in Office}
    assent = assents.waiting(tx, request, incident.incident, revision)
    callees = tuple(
        Callee(person_id=person.id, rung=rung, reaches=reaches[person.id])
        for person in everybody
        if person.id in reaches and person.id != revision.compiled_by
        if (rung := _rung(person, command, offices, assent)) is not None
    )
    fields: dict[str, Any] = {
        "about_id": request.id, "incident_id": request.incident_id, "world": tx.world,
        "url": address + About.REQUEST.page(request.id, request.incident_id),
        "opened_at": request.created_at, "expires_at": request.expires_at, "people": callees,
        "compiler_first": guidelines.covering(tx, incident.incident, revision) is not None,
    }  # fmt: skip
    return Asking(**fields)


def _rung(
    person: Person,
    command: Command,
    offices: Mapping[Office, Collection[str]],
    assent: Assent | None,
) -> Rung | None:
    """Where a person stands under this command; None: not on the ladder.

    A notice has none: its supervisors are asked. Whoever has assented waits for the other.
    """
    if assent is not None and assent.person_id == person.id:
        return None
    if command.routine:
        return Rung.APPROVER if person.may(Act.APPROVE_NOTICE) else None
    if command.held_by(person.id):
        return Rung.APPROVER
    if Role.WATCH_COMMANDER in person.roles:
        return Rung.COMMAND if command.person_id else Rung.APPROVER
    if person.id in offices[Office.DEPUTY]:
        return Rung.DEPUTY
    return Rung.COMMAND if person.id in offices[Office.DUTY_CHIEF] else None


# --- Calls ------------------------------------------------------------------------------------


def begin(tx: Tx, call: AnyCall) -> None:
    """Notes a call that is about to be tried, for the first time or again."""
    row = _row(tx, call.id)
    made = calling.begun(call, _made(row) if row else None, tx.now)
    asks = call.about is About.REQUEST
    if row is None:
        tx.connection.execute(
            insert(schema.calls).values(
                **_columns(made), id=call.id, person_id=call.person_id, reach_id=call.reach_id,
                means=str(call.means), attempt=call.attempt, at=made.at,
                **_leads_to(call),
            )
        )  # fmt: skip
        row = _row(tx, call.id)
        assert row is not None, "just written"
        kind = Fact.APPROVER_CALLED if asks else Fact.CONCERNED_CALLED
        _note(tx, kind, row, called=call.person_id, via=str(call.means), attempt=call.attempt)
    else:
        _update(tx, call.id, **_columns(made))


def end(tx: Tx, call_id: str, how: Accepted | TryLater | Refused | InDoubt) -> None:
    """Notes what came of one try. An address that is no more is struck off."""
    row = _row(tx, call_id)
    assert row is not None, "a call is begun before it ends"
    made = calling.ended(_made(row), how, tx.now)
    _update(tx, call_id, **_columns(made), ended_at=tx.now,
            remote_id=how.remote_id if isinstance(how, Accepted) else None)  # fmt: skip
    _note(tx, Fact.CALL_ENDED, row, called=row.person_id, via=row.means, attempt=row.attempt,
          outcome=str(made.outcome), why=made.why)  # fmt: skip
    if isinstance(how, Gone):
        end_reach(tx, row.reach_id, actor=ACTOR, why=str(how))


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
    _note(tx, Fact.CALL_REPORTED, row, called=row.person_id, via=row.means, attempt=row.attempt,
          progress=str(progress))  # fmt: skip


def unopened(
    tx: Tx, person_id: str, *, request_id: str | None = None, incident_id: str | None = None
) -> list[str]:
    """The calls of a person that lead to a request, or to an incident of which something was told;
    without those about what they have opened already."""
    table, moves = schema.calls.c, schema.command_moves.c
    told = moves.request_id == request_id if request_id else moves.incident_id == incident_id
    of_it = table.move_id.in_(select(moves.id).where(told))
    leads = or_(of_it, table.request_id == request_id) if request_id else of_it
    about = func.coalesce(table.request_id, table.move_id).label("about")
    rows = tx.connection.execute(
        select(table.id, about, table.opened_at).where(table.person_id == person_id, leads)
    ).all()
    seen = {row.about for row in rows if row.opened_at}
    return [row.id for row in rows if row.about not in seen]


def opened(tx: Tx, call_ids: Iterable[str]) -> None:
    """Notes that a person who was called has what it is about before them; once for each."""
    rows = [row for call_id in call_ids if (row := _row(tx, call_id)) and row.opened_at is None]
    for row in rows:
        _update(tx, row.id, opened_at=tx.now)
    for row in {_about(row): row for row in rows}.values():
        kind = Fact.REQUEST_OPENED if row.request_id else Fact.CALL_OPENED
        _note(tx, kind, row, actor=row.person_id)


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
    """The calls for a decision on a request, or about what became of it; the oldest first."""
    moves = schema.command_moves.c
    told = select(moves.id).where(moves.request_id == request_id)
    return _of(tx, (schema.calls.c.request_id == request_id) | schema.calls.c.move_id.in_(told))


def of_newest_move(tx: Tx, incident_id: str) -> list[Kept]:
    """The calls about what was done last about command of an incident, the oldest first."""
    moves = schema.command_moves.c
    newest = (
        select(moves.id)
        .where(moves.incident_id == incident_id, moves.request_id.is_(None))
        .order_by(moves.at.desc(), moves.id)
        .limit(1)
    )
    return _of(tx, schema.calls.c.move_id == newest.scalar_subquery())


def _of(tx: Tx, them: ColumnElement[bool]) -> list[Kept]:
    table = schema.calls.c
    rows = tx.connection.execute(select(schema.calls).where(them).order_by(table.at, table.means))
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
        call_id=row.id, about_id=_about(row), person_id=row.person_id,
        reach_id=row.reach_id, attempt=row.attempt, at=row.at, outcome=Outcome(row.outcome),
        again_at=row.again_at, why=row.why,
    )  # fmt: skip


def _leads_to(call: AnyCall) -> dict[str, object]:
    """The column that says what a call is about."""
    if call.about in _TOLD.values():
        return {"problem_id": int(call.about_id.removeprefix(_PROBLEM))}
    return {"request_id" if call.about is About.REQUEST else "move_id": call.about_id}


def _about(row: Row[Any]) -> str:
    return str(row.request_id or row.move_id or f"{_PROBLEM}{row.problem_id}")


def _columns(made: Made) -> dict[str, object]:
    return {"outcome": str(made.outcome), "again_at": made.again_at, "why": made.why}


def _update(tx: Tx, call_id: str, **values: object) -> None:
    tx.connection.execute(update(schema.calls).where(schema.calls.c.id == call_id).values(**values))


def _note(
    tx: Tx, kind: Fact, call: Row[Any], *, actor: str = ACTOR, **public: str | int | None
) -> None:
    """Puts what became of a call on the record, under what it is about; pages of that move."""
    if call.request_id is not None:
        kept = approvals.request(tx, call.request_id)
        assert kept is not None, "a foreign key"
        tx.trace, incident_id = kept.trace, kept.request.incident_id
        tx.changed(f"request:{call.request_id}")
        public["request_id"] = call.request_id
    elif call.problem_id is not None:
        incident_id, tx.trace = None, None
        about = _TOLD[problems.get(tx, call.problem_id).code]
        public |= {"problem": call.problem_id, "about": str(about)}
    else:
        moves = schema.command_moves.c
        query = select(moves.incident_id, moves.about, moves.request_id)
        incident_id, about, request_id = tx.connection.execute(
            query.where(moves.id == call.move_id)
        ).one()
        tx.changed(f"incident:{incident_id}")
        if request_id is not None:
            tx.changed(f"request:{request_id}")
            public["request_id"] = request_id
        public |= {"move_id": call.move_id, "about": about}
    tx.record(kind, actor=actor, incident_id=incident_id, call_id=call.id, private=None,
              **public)  # fmt: skip
    tx.changed("calls")
