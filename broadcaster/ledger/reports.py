"""Reports: accepted once, kept as they came in, waiting for compile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, func, insert, or_, select, update

from broadcaster import record
from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Report, incident_id
from broadcaster.ledger import outbox, schema
from broadcaster.ledger.tx import Tx
from broadcaster.trace import begun

#: Compile is looked for again this long after it was last called, by the sweep.
LOOK_AGAIN = timedelta(seconds=10)


@dataclass(frozen=True)
class Accepted:
    """What the sender is told; the same for the first time and every time after."""

    report_id: str
    incident_id: str
    received_at: datetime
    repeated: bool


@dataclass(frozen=True)
class Kept:
    """A report in the ledger."""

    report: Report
    incident_id: str
    actor: str
    received_at: datetime
    compiled_at: datetime | None
    trace: str


def accept(tx: Tx, report: Report, *, actor: str, trace: str | None = None) -> Accepted:
    """Takes a report in, once: the same id and body again gets the first answer again.

    `trace`: the sender's, where it has begun one; else one begins here.

    Raises Refusal `repeated_id` where the same message id comes with another body.
    """
    return accept_many(tx, [report], actor=actor, trace=trace)[0]


def accept_many(
    tx: Tx, several: Sequence[Report], *, actor: str, trace: str | None = None
) -> list[Accepted]:
    """Takes reports in together, all or none. Raises as `accept` does, at the first that fails."""
    known = _known(tx, several)
    answers: list[Accepted] = []
    rows = []
    for report in several:
        digest = report.body_digest()
        if earlier := known.get(report.id):
            answers.append(_again(report, digest, earlier))
            continue
        incident = incident_id(tx.world, report.source, report.number)
        accepted = Accepted(report.id, incident, tx.now, repeated=False)
        answers.append(accepted)
        known[report.id] = (digest, accepted)
        tx.trace = trace or begun()
        rows.append({
            "id": report.id, "source": report.source, "message_id": report.message_id,
            "body_digest": digest, "body": report.model_dump_json(), "actor": actor,
            "received_at": tx.now, "incident_id": incident, "trace": tx.trace,
            "next_look": tx.now + LOOK_AGAIN,
        })  # fmt: skip
        tx.record(record.Kind.REPORT_ACCEPTED, actor=actor, incident_id=incident,
                  report_id=report.id, source=report.source, type=report.type,
                  status=report.status, reported_at=report.reported_at.isoformat(),
                  private={"number": report.number, "place": report.place})  # fmt: skip
        outbox.report_accepted(tx, report.id, incident)
    tx.trace = None
    if rows:
        tx.connection.execute(insert(schema.reports), rows)
    return answers


def lock(tx: Tx, report_id: str) -> Kept | None:
    """The report, held until the step ends; None where there is none."""
    row = tx.connection.execute(
        select(schema.reports).where(schema.reports.c.id == report_id).with_for_update()
    ).first()
    return _kept(row) if row else None


def lock_waiting(tx: Tx, *, other_than: str, limit: int) -> list[Kept]:
    """The reports that have waited longest for compile, held until the step ends."""
    table = schema.reports.c
    rows = tx.connection.execute(
        select(schema.reports)
        .where(table.next_look.is_not(None), table.id != other_than)
        .order_by(table.next_look)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_kept(row) for row in rows]


def compiled(tx: Tx, report_ids: Sequence[str]) -> None:
    """Compile has seen to them: the sweep need not look again."""
    tx.connection.execute(
        update(schema.reports)
        .where(schema.reports.c.id.in_(report_ids))
        .values(compiled_at=tx.now, next_look=None)
    )


def of_incident(tx: Tx, incident: str) -> list[Kept]:
    """An incident's reports, newest first."""
    rows = tx.connection.execute(
        select(schema.reports)
        .where(schema.reports.c.incident_id == incident)
        .order_by(schema.reports.c.received_at.desc())
        .limit(500)
    )
    return [_kept(row) for row in rows]


def all_due(tx: Tx) -> None:
    """Makes every report that compile has not seen to due for a look now."""
    table = schema.reports.c
    tx.connection.execute(
        update(schema.reports).where(table.next_look.is_not(None)).values(next_look=tx.now)
    )


def look_again(tx: Tx, *, limit: int) -> int:
    """Calls compile again for reports past their `next_look`, and answers how many."""
    table = schema.reports.c
    rows = tx.connection.execute(
        select(table.id, table.incident_id, table.trace)
        .where(or_(table.next_look <= tx.now, table.next_look > tx.now + LOOK_AGAIN))  # or ahead
        .order_by(table.received_at)
        .limit(limit)
        .with_for_update(skip_locked=True)  # one that compile has in hand needs no other look
    ).all()
    for row in rows:
        tx.trace = row.trace
        outbox.report_accepted(tx, row.id, row.incident_id)
    if rows:
        tx.connection.execute(
            update(schema.reports)
            .where(table.id.in_([row.id for row in rows]))
            .values(next_look=tx.now + LOOK_AGAIN)
        )
    return len(rows)


def waiting(tx: Tx) -> int:
    """How many reports compile has not seen to yet."""
    return tx.connection.execute(
        select(func.count()).where(schema.reports.c.next_look.is_not(None))
    ).scalar_one()


def count(tx: Tx) -> int:
    return tx.connection.execute(select(func.count()).select_from(schema.reports)).scalar_one()


def _kept(row: Row[tuple[object, ...]]) -> Kept:
    return Kept(
        Report.model_validate_json(row.body), row.incident_id, row.actor, row.received_at,
        row.compiled_at, row.trace,
    )  # fmt: skip


def _known(tx: Tx, several: Sequence[Report]) -> dict[str, tuple[str, Accepted]]:
    table = schema.reports.c
    rows = tx.connection.execute(
        select(table.id, table.body_digest, table.incident_id, table.received_at).where(
            table.id.in_([report.id for report in several])
        )
    )
    return {
        row.id: (row.body_digest, Accepted(row.id, row.incident_id, row.received_at, True))
        for row in rows
    }


def _again(report: Report, digest: str, earlier: tuple[str, Accepted]) -> Accepted:
    if earlier[0] == digest:
        return Accepted(earlier[1].report_id, earlier[1].incident_id, earlier[1].received_at, True)
    raise Refusal(
        "repeated_id",
        "A report with this id was accepted before, with another body.",
        "Give each message an id of its own; the first one stands.",
        kind=Kind.CONFLICT,
        field="id",
        facts={"report_id": report.id},
    )
