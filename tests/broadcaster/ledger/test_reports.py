"""A report is accepted once, whatever comes how often."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Report, incident_id
from broadcaster.ledger import Ledger, Tx, outbox, reports, schema
from tests.story import NOW


def a_report(message_id: str = "m1", **fields: Any) -> Report:
    return Report.model_validate({
        "source": "cad", "message_id": message_id, "number": "2026-1", "type": "GASLEAK",
        "opened_at": NOW, "reported_at": NOW,
    } | fields)  # fmt: skip


async def accept(ledger: Ledger, report: Report) -> reports.Accepted:
    return await ledger.write(lambda tx: reports.accept(tx, report, actor="cad"))


async def counted(ledger: Ledger) -> tuple[int, int, int]:
    """Reports, messages that wake compile, entries about reports."""

    def look(tx: Tx) -> tuple[int, int, int]:
        kind = schema.entries.c.kind
        entries = tx.connection.execute(select(kind).where(kind == "ReportAccepted")).all()
        return reports.count(tx), outbox.waiting(tx)[0], len(entries)

    return await ledger.read(look)


async def test_the_first_answer_is_given_again(ledger: Ledger) -> None:
    first = await accept(ledger, a_report())
    again = await accept(ledger, a_report())
    assert not first.repeated and again.repeated
    assert (again.report_id, again.incident_id) == (first.report_id, first.incident_id)
    assert again.received_at == first.received_at
    assert first.incident_id == incident_id("exercise", "cad", "2026-1")
    assert await counted(ledger) == (1, 1, 1)


async def test_a_hundred_at_once_are_one(ledger: Ledger) -> None:
    answers = await asyncio.gather(*(accept(ledger, a_report()) for _ in range(100)))
    assert sum(not answer.repeated for answer in answers) == 1
    assert len({answer.received_at for answer in answers}) == 1
    assert await counted(ledger) == (1, 1, 1)


@pytest.mark.parametrize(
    "other", [{"type": "EXPLOS"}, {"place": "Oak St"}, {"reported_at": NOW + timedelta(seconds=1)}]
)
async def test_the_same_id_with_another_body_is_refused_and_the_first_stands(
    ledger: Ledger, other: dict[str, Any]
) -> None:
    first = await accept(ledger, a_report())
    with pytest.raises(Refusal) as refused:
        await accept(ledger, a_report(**other))
    assert (refused.value.code, refused.value.kind) == ("repeated_id", Kind.CONFLICT)
    assert (refused.value.field, refused.value.facts) == ("id", {"report_id": first.report_id})
    kept = await ledger.write(lambda tx: reports.lock(tx, first.report_id))
    assert kept is not None and kept.report == a_report()
    assert await counted(ledger) == (1, 1, 1)


async def test_ids_are_a_sources_own(ledger: Ledger) -> None:
    await accept(ledger, a_report())
    answer = await accept(ledger, a_report(source="fire", type="FSTRU"))
    assert not answer.repeated
    assert await counted(ledger) == (2, 2, 2)


async def test_several_are_accepted_together_or_not_at_all(ledger: Ledger) -> None:
    await accept(ledger, a_report())
    several = [a_report("m2"), a_report("m1"), a_report("m2")]
    answers = await ledger.write(lambda tx: reports.accept_many(tx, several, actor="cad"))
    assert [answer.repeated for answer in answers] == [False, True, True]
    conflicting = [a_report("m3"), a_report("m1", type="EXPLOS")]
    with pytest.raises(Refusal):
        await ledger.write(lambda tx: reports.accept_many(tx, conflicting, actor="cad"))
    assert await counted(ledger) == (2, 2, 2)
