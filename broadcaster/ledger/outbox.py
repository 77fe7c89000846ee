"""Messages waiting for the relay: the four that wake a step, and the two for subscribers.

A wake message carries ids and nothing else: it says look, the ledger says what (rule 2). One for
subscribers carries what is public.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, select

from broadcaster.errors import Refusal
from broadcaster.incident import NAMESPACE
from broadcaster.ledger import problems, schema
from broadcaster.ledger.tx import Tx
from broadcaster.subscribers import Message, PostSettled, UpdateReleased


def report_accepted(tx: Tx, report_id: str, incident_id: str) -> None:
    """Wakes compile."""
    _wake(tx, "incident.reports", incident_id, "report_id", report_id)


def revision_submitted(tx: Tx, request_id: str, incident_id: str) -> None:
    """Wakes notify."""
    _wake(tx, "update.submitted", incident_id, "request_id", request_id)


def decision_recorded(tx: Tx, decision_id: str, incident_id: str) -> None:
    """Wakes the gate."""
    _wake(tx, "update.decided", incident_id, "decision_id", decision_id)


def post_planned(tx: Tx, post_id: str, incident_id: str, channel: str) -> None:
    """Wakes deliver, on the channel's own topic."""
    _wake(tx, f"posts.{channel}", incident_id, "post_id", post_id)


def update_released(tx: Tx, told: UpdateReleased) -> None:
    """Tells subscribers what the public is told."""
    _tell(tx, "updates.public", told)


def post_settled(tx: Tx, told: PostSettled) -> None:
    """Tells subscribers how a post ended."""
    _tell(tx, "posts.settled", told)


def _tell(tx: Tx, topic: str, told: Message) -> None:
    tx.send(topic, key=told.incident, value=told.model_dump_json().encode(),
            message_id=told.message_id)  # fmt: skip


def _wake(tx: Tx, topic: str, key: str, name: str, value: str) -> None:
    """The same thing to look at gives the same message id, however often it is said again."""
    message_id = str(uuid.uuid5(NAMESPACE, f"message\0{topic}\0{value}"))
    body = json.dumps({"version": 1, "message_id": message_id, name: value}).encode()
    tx.send(topic, key=key, value=body, message_id=message_id)


def call_once(tx: Tx) -> None:
    """Leaves out of a sweep's calls those that wait for the relay already.

    Else what has no outcome would be called again and again while the broker is away. Only a
    sweep may: what it leaves out it looks at again, and a fact's own call must never be missing.
    """
    box = schema.outbox.c
    waiting = select(box.message_id).where(box.message_id.in_(tx.leaves))
    tx.take_back(set(tx.connection.execute(waiting).scalars()))


class Unsent(NamedTuple):
    """A message that waits for the relay."""

    id: int
    topic: str
    key: str
    value: bytes
    message_id: str
    trace: str | None


def unsent(tx: Tx, limit: int, without: Collection[str] = ()) -> list[Unsent]:
    """What waits for the relay, in order, without some topics."""
    box = schema.outbox.c
    rows = tx.connection.execute(
        select(box.id, box.topic, box.key, box.value, box.message_id, box.trace)
        .where(box.topic.not_in(without))
        .order_by(box.id)
        .limit(limit)
    )
    return [Unsent(*row) for row in rows]


def sent(tx: Tx, ids: Sequence[int]) -> None:
    """Takes out what the broker has acknowledged."""
    tx.connection.execute(delete(schema.outbox).where(schema.outbox.c.id.in_(ids)))
    tx.changed("outbox.sent")


def refused(tx: Tx, number: int, reason: str) -> None:
    """Takes out a message that the broker will never take, and makes it a problem."""
    box = schema.outbox.c
    topic = tx.connection.execute(
        delete(schema.outbox).where(box.id == number).returning(box.topic)
    ).scalar()
    if topic is not None:
        problems.note(tx, problems.Place(source="relay"), Refusal(
            "message_refused", f"The broker will not take a message for {topic}: {reason}.",
            "What it was about is in the ledger; look at the topic's settings.",
        ))  # fmt: skip


def waiting(tx: Tx) -> tuple[int, datetime | None]:
    """How many messages wait, and since when the oldest does."""
    box = schema.outbox.c
    row = tx.connection.execute(select(func.count(), func.min(box.at))).one()
    return row[0], row[1]
