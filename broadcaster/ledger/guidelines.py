"""The Chief's written guidelines as kept, and what a notice is judged by (389.3, 389.4.1)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select

from broadcaster import guideline
from broadcaster.guideline import Guideline, OpenIncident, Submission
from broadcaster.incident import Handling, Incident, Topic
from broadcaster.ledger import authorities, people, schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind as Fact
from broadcaster.roster import Role
from broadcaster.type_names import type_in_words
from broadcaster.update import Revision


def grant(
    tx: Tx, topic: Topic, *, members: Collection[str], roles: Collection[Role],
    channels: Collection[str], until: datetime, text: str, granted_by: str, actor: str,
) -> Guideline:  # fmt: skip
    """Keeps a guideline as the Chief wrote it."""
    made = Guideline(
        id=str(uuid.uuid4()), topic=topic, members=frozenset(members), roles=frozenset(roles),
        channels=tuple(dict.fromkeys(channels)), until=until, text=text, granted_by=granted_by,
        granted_at=tx.now,
    )  # fmt: skip
    tx.connection.execute(
        insert(schema.guidelines).values(
            id=made.id, granted_at=made.granted_at, body=made.model_dump_json()
        )
    )
    tx.record(Fact.GUIDELINE_GRANTED, actor=actor, guideline_id=made.id, topic=str(topic),
              clause=made.clause, members=sorted(made.members), roles=sorted(made.roles),
              channels=list(made.channels), until=until.isoformat(), granted_by=granted_by,
              private={"text_guideline": text})  # fmt: skip
    tx.changed("people")
    return made


def covering(tx: Tx, notice: Incident, revision: Revision) -> Guideline | None:
    """The guideline strictly within which these words are, as whoever compiled them wrote them.

    None, too, where they are no notice's.
    """
    compiler = people.get(tx, revision.compiled_by)
    if notice.notice is None or compiler is None or revision.edited_by is not None:
        return None
    it = Submission(
        topic=notice.notice, channels=revision.channels, person=compiler,
        held=authorities.standing(tx, compiler.id), findings=len(revision.policy_reasons),
        at=tx.now, pictured=bool(revision.pictures),
    )  # fmt: skip
    return guideline.covering(every(tx), it)


def end(tx: Tx, held: Guideline, *, ended_by: str, actor: str) -> None:
    """Ends a guideline now; the caller has seen that it holds."""
    tx.connection.execute(
        insert(schema.guideline_ends).values(guideline_id=held.id, at=tx.now, by=ended_by)
    )
    tx.record(Fact.GUIDELINE_ENDED, actor=actor, guideline_id=held.id, topic=str(held.topic),
              ended_by=ended_by)  # fmt: skip
    tx.changed("people")


def get(tx: Tx, guideline_id: str | None) -> Guideline | None:
    row = tx.connection.execute(_query().where(schema.guidelines.c.id == guideline_id)).first()
    return _guideline(row) if row else None


def every(tx: Tx) -> list[Guideline]:
    """All that were ever granted, the newest first."""
    newest = schema.guidelines.c.granted_at.desc(), schema.guidelines.c.id
    return [_guideline(row) for row in tx.connection.execute(_query().order_by(*newest))]


def open_incidents(tx: Tx) -> list[OpenIncident]:
    """What a notice must not be about; the types that are kept private count, too."""
    table = schema.incidents.c
    rows = tx.connection.execute(
        select(table.id, table.public_id, table.body).where(
            table.open, table.handling != str(Handling.NOTICE)
        )
    )
    found = []
    for row in rows:
        it = Incident.model_validate_json(row.body)
        place = it.place.value if it.place else ""
        found.append(OpenIncident(it.id, type_in_words(it.type.value), place, row.public_id))
    return found


def _query() -> Select[tuple[Any, ...]]:
    ends = schema.guideline_ends.c
    return select(schema.guidelines, ends.at, ends.by).outerjoin(
        schema.guideline_ends, ends.guideline_id == schema.guidelines.c.id
    )


def _guideline(row: Row[tuple[Any, ...]]) -> Guideline:
    kept = Guideline.model_validate_json(row.body)
    return kept.model_copy(update={"ended_at": row.at, "ended_by": row.by})
