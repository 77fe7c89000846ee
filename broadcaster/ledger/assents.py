"""Approvals of one Commander that wait for the other's, where both must approve.

Rows are never changed. What takes one back, or lets it stand no longer, is that the request has
another nonce by now, or the incident another command, or its facts are others. A nonce that was
given up stands in a table of its own, so that no request ever has it again.
"""

from __future__ import annotations

import json

from sqlalchemy import Row, insert, select

from broadcaster.approval import ApprovalRequest, Assent, RequestState, to_keep
from broadcaster.incident import Command, Incident
from broadcaster.ledger import approvals, schema
from broadcaster.ledger.tx import Tx
from broadcaster.update import Revision, lapses_by


def add(tx: Tx, assent: Assent, idempotency_key: str, request_digest: str) -> None:
    tx.connection.execute(
        insert(schema.assents).values(
            **assent.model_dump(exclude={"proof"}), proof=json.dumps(assent.proof),
            idempotency_key=idempotency_key, request_digest=request_digest,
        )
    )  # fmt: skip


def get(tx: Tx, assent_id: str | None) -> Assent | None:
    row = tx.connection.execute(
        select(schema.assents).where(schema.assents.c.id == assent_id)
    ).first()
    return _assent(row) if row else None


def sent(
    tx: Tx, request_id: str, person_id: str, idempotency_key: str
) -> tuple[Assent, str] | None:
    """What a person gave under a key, standing or not, and the digest of what they sent."""
    table = schema.assents.c
    row = tx.connection.execute(
        select(schema.assents).where(
            table.request_id == request_id, table.person_id == person_id,
            table.idempotency_key == idempotency_key,
        )
    ).first()  # fmt: skip
    return (_assent(row), row.request_digest) if row else None


def given(tx: Tx, request: ApprovalRequest, command: Command, keeps: str | None) -> Assent | None:
    """The one that waits for the other Commander's, under this command, to words so kept."""
    if not command.both:
        return None
    table = schema.assents.c
    row = tx.connection.execute(
        select(schema.assents).where(
            table.request_id == request.id, table.nonce == request.nonce,
            table.epoch == command.epoch,
            table.keeps.is_(None) if keeps is None else table.keeps == keeps,
        )
    ).first()  # fmt: skip
    return _assent(row) if row else None


def waiting(
    tx: Tx, request: ApprovalRequest, incident: Incident, revision: Revision
) -> Assent | None:
    """The one that waits now, with the incident's facts as they are."""
    undecided = request.state in (RequestState.OPEN, RequestState.LAPSED)
    if not undecided or tx.now >= request.expires_at:
        return None
    keeps = to_keep(request, lapses_by(revision, incident.facts), tx.now)
    return given(tx, request, incident.command, keeps)


def end(tx: Tx, request: ApprovalRequest, assent: Assent, *, by: str) -> None:
    """What was signed for the request's nonce counts for nothing any more, and never will."""
    tx.connection.execute(
        insert(schema.assent_ends).values(
            request_id=request.id, nonce=request.nonce, assent_id=assent.id, at=tx.now, by=by
        )
    )
    approvals.renew_nonce(tx, request)


def taken_back(tx: Tx, request: ApprovalRequest) -> bool:
    """Whether the request's nonce is one that was given up."""
    table = schema.assent_ends.c
    found = select(table.nonce).where(
        table.request_id == request.id, table.nonce == request.nonce
    )  # fmt: skip
    return tx.connection.execute(found).first() is not None


def _assent(row: Row[tuple[object, ...]]) -> Assent:
    return Assent(
        id=row.id, request_id=row.request_id, person_id=row.person_id, nonce=row.nonce,
        digest=row.digest, keeps=row.keeps, epoch=row.epoch, at=row.at,
        proof=json.loads(row.proof),
    )  # fmt: skip
