"""Revisions, the requests that put them before the Commander, and the decisions on them."""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, func, insert, or_, select, update

from broadcaster.approval import (
    KEPT,
    RELEASED,
    ApprovalRequest,
    Decision,
    RequestState,
    Verdict,
    request_digest,
)
from broadcaster.incident import Command
from broadcaster.informing import State
from broadcaster.ledger import outbox, request_changes, schema
from broadcaster.ledger.tx import Tx
from broadcaster.passkey import Json
from broadcaster.update import REQUEST_EXPIRES_AFTER, Revision, UpdateKind

#: Notify and the gate are looked for again this long after they were last called.
LOOK_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True)
class Kept:
    """An approval request in the ledger."""

    request: ApprovalRequest
    called_at: datetime | None
    why: str | None
    trace: str | None = None


@dataclass(frozen=True)
class KeptDecision:
    """A decision in the ledger: what held when it was made, and what the gate made of it."""

    decision: Decision
    command: Command
    idempotency_key: str
    request_digest: str
    outcome: str | None
    why: str | None
    proof: Json | None = None
    seal: str | None = None  #: of PIN and code, instead of a passkey's answer

    @property
    def proven(self) -> bool:
        """Whether somebody proved that they meant it; else it is an order, or a guideline's."""
        return self.proof is not None or self.seal is not None


def next_number(tx: Tx, incident_id: str) -> int:
    """The number that an incident's next update gets; the caller holds the incident."""
    highest = tx.connection.execute(
        select(func.max(schema.updates.c.number)).where(schema.updates.c.incident_id == incident_id)
    ).scalar()
    return (highest or 0) + 1


def add_update(tx: Tx, incident_id: str, number: int, kind: UpdateKind) -> str:
    """Begins an update and returns its id."""
    update_id = str(uuid.uuid4())
    tx.connection.execute(
        insert(schema.updates).values(
            id=update_id, incident_id=incident_id, number=number, kind=str(kind)
        )
    )
    return update_id


def update_number(tx: Tx, update_id: str) -> tuple[str, int] | None:
    """The incident and number of an update."""
    row = tx.connection.execute(
        select(schema.updates.c.incident_id, schema.updates.c.number).where(
            schema.updates.c.id == update_id
        )
    ).first()
    return (row.incident_id, row.number) if row else None


def add_revision(tx: Tx, revision: Revision) -> None:
    tx.connection.execute(
        insert(schema.revisions).values(
            id=revision.id, update_id=revision.update_id, incident_id=revision.incident_id,
            body=revision.model_dump_json(), digest=revision.digest,
            compiled_by=revision.compiled_by, compiled_at=revision.compiled_at,
        )
    )  # fmt: skip


def revision(tx: Tx, revision_id: str) -> Revision | None:
    body = tx.connection.execute(
        select(schema.revisions.c.body).where(schema.revisions.c.id == revision_id)
    ).scalar()
    return Revision.model_validate_json(body) if body else None


def head_revision_id(tx: Tx, update_id: str) -> str:
    """The newest wording of an update."""
    table = schema.revisions.c
    newest: str = tx.connection.execute(
        select(table.id)
        .where(table.update_id == update_id)
        .order_by(table.compiled_at.desc(), table.id)
        .limit(1)
    ).scalar_one()
    return newest


def after_the_last(tx: Tx, update_id: str) -> datetime:
    """Now, or just after the update's newest wording where the clock has stepped back."""
    newest = tx.connection.execute(
        select(func.max(schema.revisions.c.compiled_at)).where(
            schema.revisions.c.update_id == update_id
        )
    ).scalar()
    return tx.now if newest is None else max(tx.now, newest + timedelta(microseconds=1))


def revisions_of(tx: Tx, incident_id: str) -> list[Revision]:
    """An incident's revisions, newest first."""
    table = schema.revisions.c
    rows = tx.connection.execute(
        select(table.body)
        .where(table.incident_id == incident_id)
        .order_by(table.compiled_at.desc(), table.id)
    )
    return [Revision.model_validate_json(body) for body in rows.scalars()]


def open_request(tx: Tx, revision: Revision, command: Command) -> ApprovalRequest:
    """Puts a revision before whoever commands now, and wakes notify."""
    request = ApprovalRequest(
        id=str(uuid.uuid4()),
        revision_id=revision.id,
        incident_id=revision.incident_id,
        digest=revision.digest,
        state=RequestState.OPEN,
        asked=command.person_id,
        epoch=command.epoch,
        nonce=secrets.token_hex(32),
        created_at=tx.now,
        expires_at=tx.now + REQUEST_EXPIRES_AFTER,
    )
    tx.connection.execute(
        insert(schema.approval_requests).values(
            **request.model_dump(exclude={"state"}), state=str(request.state),
            trace=tx.trace, next_look=tx.now + LOOK_AGAIN,
        )
    )  # fmt: skip
    outbox.revision_submitted(tx, request.id, request.incident_id)
    _changed(tx, request, State.OPENED)
    return request


def lock_request(tx: Tx, request_id: str) -> Kept | None:
    """The request, held until the step ends (after its incident in the lock order).

    The step goes on under its trace.
    """
    kept = _kept_request(tx, request_id, lock=True)
    tx.trace = kept.trace if kept else None
    return kept


def request(tx: Tx, request_id: str) -> Kept | None:
    return _kept_request(tx, request_id, lock=False)


def requests_of(tx: Tx, incident_id: str) -> list[Kept]:
    """An incident's requests, newest first."""
    table = schema.approval_requests.c
    rows = tx.connection.execute(
        select(schema.approval_requests)
        .where(table.incident_id == incident_id)
        .order_by(table.created_at.desc(), table.id)
    )
    return [_kept(row) for row in rows]


def open_requests(tx: Tx, incident_id: str | None = None) -> list[Kept]:
    """Requests that wait for a decision, oldest first."""
    table = schema.approval_requests.c
    query = select(schema.approval_requests).where(table.state == str(RequestState.OPEN))
    if incident_id is not None:
        query = query.where(table.incident_id == incident_id)
    return [_kept(row) for row in tx.connection.execute(query.order_by(table.created_at))]


def end_request(tx: Tx, kept: ApprovalRequest, state: RequestState, why: str | None) -> None:
    """Notes how a request ended; decided ones are called on by their decision."""
    tx.connection.execute(
        update(schema.approval_requests)
        .where(schema.approval_requests.c.id == kept.id)
        .values(state=str(state), why=why, next_look=None)
    )
    _changed(tx, kept, State(state))


def renew_nonce(tx: Tx, kept: ApprovalRequest) -> None:
    """What was signed about an undecided request so far proves nothing any more."""
    tx.connection.execute(
        update(schema.approval_requests)
        .where(schema.approval_requests.c.id == kept.id)
        .values(nonce=secrets.token_hex(32))
    )
    _moved(tx, kept)


def wait_for_decision(tx: Tx, kept: ApprovalRequest) -> None:
    """Whoever commands has been called; the next look is at the request's end."""
    tx.connection.execute(
        update(schema.approval_requests)
        .where(schema.approval_requests.c.id == kept.id)
        .values(next_look=kept.expires_at)
    )


def renewed(tx: Tx, kept: ApprovalRequest) -> None:
    """Notes that the same words are asked for again, by another request."""
    request_changes.note(tx, kept.id, State.RENEWED)


def called(tx: Tx, kept: ApprovalRequest, command: Command) -> None:
    """Notify has called whoever commands; the next look is at the request's end."""
    tx.connection.execute(
        update(schema.approval_requests)
        .where(schema.approval_requests.c.id == kept.id)
        .values(called_at=tx.now, next_look=kept.expires_at)
    )
    _changed(tx, kept, State.ASKED, command.epoch)


def requests_due(tx: Tx, *, limit: int) -> list[Kept]:
    """Open requests past their `next_look`: not called yet, or not decided in time."""
    table = schema.approval_requests.c
    rows = tx.connection.execute(
        select(schema.approval_requests)
        .where(table.state == str(RequestState.OPEN), table.next_look <= tx.now)
        .order_by(table.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)  # one that is being decided does not expire
    )
    return [_kept(row) for row in rows]


def all_due(tx: Tx) -> None:
    """Makes what notify and the gate have not seen to due for a look now."""
    request, decided = schema.approval_requests.c, schema.decisions.c
    tx.connection.execute(
        update(schema.approval_requests)
        .where(request.state == str(RequestState.OPEN), request.called_at.is_(None))
        .values(next_look=tx.now)
    )
    tx.connection.execute(
        update(schema.decisions).where(decided.outcome.is_(None)).values(next_look=tx.now)
    )


def look_again(tx: Tx, kept: ApprovalRequest) -> None:
    """Calls notify again for a request."""
    outbox.revision_submitted(tx, kept.id, kept.incident_id)
    tx.connection.execute(
        update(schema.approval_requests)
        .where(schema.approval_requests.c.id == kept.id)
        .values(next_look=tx.now + LOOK_AGAIN)
    )


# --- Decisions --------------------------------------------------------------------------------


def add_decision(
    tx: Tx, decision: Decision, command: Command, idempotency_key: str, proof: Json | None,
    seal: str | None = None,
) -> KeptDecision:  # fmt: skip
    """Keeps a decision; an approval wakes the gate. The caller holds the request."""
    same = request_digest(
        decision.request_id, decision.verdict, decision.digest, decision.reason, decision.keeps
    )
    approved = decision.verdict is Verdict.APPROVED
    tx.connection.execute(
        insert(schema.decisions).values(
            **decision.model_dump(exclude={"verdict"}), verdict=str(decision.verdict),
            idempotency_key=idempotency_key, request_digest=same,
            command=command.model_dump_json(), proof=json.dumps(proof) if proof else None,
            seal=seal,
            outcome=None if approved else str(decision.verdict),
            judged_at=None if approved else tx.now,
            next_look=tx.now + LOOK_AGAIN if approved else None,
        )
    )  # fmt: skip
    return KeptDecision(decision, command, idempotency_key, same, None, None, proof, seal)


def decision_of(tx: Tx, request_id: str) -> KeptDecision | None:
    """The decision on a request, if there is one."""
    row = tx.connection.execute(
        select(schema.decisions).where(schema.decisions.c.request_id == request_id)
    ).first()
    return _kept_decision(row) if row else None


def decision(tx: Tx, decision_id: str) -> KeptDecision | None:
    row = tx.connection.execute(
        select(schema.decisions).where(schema.decisions.c.id == decision_id)
    ).first()
    return _kept_decision(row) if row else None


def judged(tx: Tx, decision_id: str, outcome: str, why: str | None) -> None:
    """Notes what the gate made of a decision."""
    tx.connection.execute(
        update(schema.decisions)
        .where(schema.decisions.c.id == decision_id)
        .values(outcome=outcome, why=why, judged_at=tx.now, next_look=None)
    )
    request_id = tx.connection.execute(
        select(schema.decisions.c.request_id).where(schema.decisions.c.id == decision_id)
    ).scalar_one()
    out = outcome in (RELEASED, KEPT)
    request_changes.note(tx, request_id, State(outcome) if out else State.NOT_RELEASED)


def decisions_look_again(tx: Tx, *, limit: int) -> int:
    """Calls the gate again for approvals that it has not judged."""
    table = schema.decisions.c
    rows = tx.connection.execute(
        select(table.id, schema.approval_requests.c.incident_id, schema.approval_requests.c.trace)
        .join(schema.approval_requests, schema.approval_requests.c.id == table.request_id)
        .where(or_(table.next_look <= tx.now, table.next_look > tx.now + LOOK_AGAIN))  # or ahead
        .order_by(table.at)
        .limit(limit)
        .with_for_update(of=schema.decisions, skip_locked=True)  # not those the gate has in hand
    ).all()
    for row in rows:
        tx.trace = row.trace
        outbox.decision_recorded(tx, row.id, row.incident_id)
    if rows:
        tx.connection.execute(
            update(schema.decisions)
            .where(table.id.in_([row.id for row in rows]))
            .values(next_look=tx.now + LOOK_AGAIN)
        )
    return len(rows)


def waiting_for_gate(tx: Tx) -> int:
    """How many approvals the gate has not judged."""
    return tx.connection.execute(
        select(func.count()).where(schema.decisions.c.outcome.is_(None))
    ).scalar_one()


def updates_counted(tx: Tx) -> int:
    return tx.connection.execute(select(func.count()).select_from(schema.updates)).scalar_one()


def approvals_counted(tx: Tx) -> int:
    """How many decisions were approvals."""
    return tx.connection.execute(
        select(func.count()).where(schema.decisions.c.verdict == str(Verdict.APPROVED))
    ).scalar_one()


def _kept_request(tx: Tx, request_id: str, *, lock: bool) -> Kept | None:
    query = select(schema.approval_requests).where(schema.approval_requests.c.id == request_id)
    row = tx.connection.execute(query.with_for_update() if lock else query).first()
    return _kept(row) if row else None


def _kept(row: Row[tuple[object, ...]]) -> Kept:
    return Kept(
        ApprovalRequest(
            id=row.id, revision_id=row.revision_id, incident_id=row.incident_id,
            digest=row.digest, state=RequestState(row.state), asked=row.asked, epoch=row.epoch,
            nonce=row.nonce, created_at=row.created_at, expires_at=row.expires_at,
        ),
        row.called_at,
        row.why,
        row.trace,
    )  # fmt: skip


def _kept_decision(row: Row[tuple[object, ...]]) -> KeptDecision:
    return KeptDecision(
        Decision(
            id=row.id, request_id=row.request_id, person_id=row.person_id,
            verdict=Verdict(row.verdict), digest=row.digest, reason=row.reason, at=row.at,
            keeps=row.keeps, guideline_id=row.guideline_id, assent_id=row.assent_id,
        ),
        Command.model_validate_json(row.command),
        row.idempotency_key,
        row.request_digest,
        row.outcome,
        row.why,
        json.loads(row.proof) if row.proof else None,
        row.seal,
    )  # fmt: skip


def _changed(tx: Tx, kept: ApprovalRequest, state: State, epoch: int | None = None) -> None:
    request_changes.note(tx, kept.id, state, epoch)
    _moved(tx, kept)


def _moved(tx: Tx, kept: ApprovalRequest) -> None:
    tx.changed("board", "calls", f"incident:{kept.incident_id}", f"request:{kept.id}")
