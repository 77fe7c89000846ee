"""What members who may not post ask to have posted, and where each request stands (389.3)."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, or_, select, update

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind as Fact
from broadcaster.world import Frozen


class State(StrEnum):
    """Where a request up the chain of command stands."""

    WAITING = "waiting"  #: for a supervisor
    PASSED_ON = "passed on"  #: to the Public Information Officer, who may compile from it
    DECLINED = "declined"  #: by a supervisor, with a reason


class PostingRequest(Frozen):
    """One request, and who settled it."""

    id: str
    person_id: str
    text: str
    asked_at: datetime
    state: State
    settled_by: str | None
    settled_at: datetime | None
    reason: str | None
    notice_id: str | None = None  #: the notice that was begun from it


def add(tx: Tx, person_id: str, text: str) -> PostingRequest:
    """Keeps a request; a supervisor is to see it."""
    made = PostingRequest(
        id=str(uuid.uuid4()), person_id=person_id, text=text, asked_at=tx.now,
        state=State.WAITING, settled_by=None, settled_at=None, reason=None,
    )  # fmt: skip
    tx.connection.execute(
        insert(schema.posting_requests).values(**made.model_dump() | {"state": str(made.state)})
    )
    tx.record(Fact.POSTING_REQUESTED, actor=person_id, posting_request_id=made.id,
              private={"text_request": text})  # fmt: skip
    tx.changed("requests")
    return made


def get(tx: Tx, request_id: str) -> PostingRequest | None:
    """The request, held until the step ends."""
    row = tx.connection.execute(
        select(schema.posting_requests)
        .where(schema.posting_requests.c.id == request_id)
        .with_for_update()
    ).first()
    return PostingRequest.model_validate(dict(row._mapping)) if row else None


def of_notice(tx: Tx, notice_id: str) -> PostingRequest | None:
    """The request that a notice was begun from."""
    row = tx.connection.execute(
        select(schema.posting_requests).where(schema.posting_requests.c.notice_id == notice_id)
    ).first()
    return PostingRequest.model_validate(dict(row._mapping)) if row else None


def listed(tx: Tx, *, of: str | None, states: list[State], limit: int) -> list[PostingRequest]:
    """The newest requests in these states, and those of one person in any state."""
    table = schema.posting_requests.c
    rows = tx.connection.execute(
        select(schema.posting_requests)
        .where(or_(table.person_id == of, table.state.in_(map(str, states))))
        .order_by(table.asked_at.desc(), table.id)
        .limit(limit)
    )
    return [PostingRequest.model_validate(dict(row)) for row in rows.mappings()]


def settle(tx: Tx, kept: PostingRequest, state: State, reason: str | None, *, actor: str) -> None:
    """Notes what a supervisor made of a request; the caller holds it."""
    tx.connection.execute(
        update(schema.posting_requests)
        .where(schema.posting_requests.c.id == kept.id)
        .values(state=str(state), settled_by=actor, settled_at=tx.now, reason=reason)
    )
    tx.record(Fact.POSTING_REQUEST_SETTLED, actor=actor, posting_request_id=kept.id,
              state=str(state), private={"reason": reason})  # fmt: skip
    tx.changed("requests")


def begun(tx: Tx, request_id: str, notice_id: str) -> None:
    """Notes the notice that was begun from a request that was passed on; the newest counts."""
    table = schema.posting_requests.c
    tx.connection.execute(
        update(schema.posting_requests)
        .where(table.id == request_id, table.state == str(State.PASSED_ON))
        .values(notice_id=notice_id)
    )
    tx.changed("requests")
