"""The steps' handlers: one row that cannot be used holds up no other."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from sqlalchemy import text

from broadcaster.bootstrap import handlers
from broadcaster.incident import Report
from broadcaster.ledger import approvals, incidents, problems, reports
from broadcaster.settings import Settings
from streams.app import Delivered, Handler, Where
from streams.errors import Poison
from tests.story import NOW, Story, a_story


def message(**about: str) -> Delivered:
    value = {"version": 1, "message_id": str(uuid.uuid4()), **about}
    return Delivered(Where("topic", 0, 0), b"key", json.dumps(value).encode(), (), 0)


def handled(story: Story, home: Path, step: str) -> Handler:
    made = handlers(Settings(home=home), story.ledger, story.clock, str, lambda: None)
    return made[step]


async def accepted(story: Story, number: str) -> str:
    report = Report.model_validate({
        "source": "cad", "message_id": number, "number": number, "type": "GASLEAK",
        "opened_at": NOW, "reported_at": NOW,
    })  # fmt: skip
    await story.ledger.write(lambda tx: reports.accept(tx, report, actor="cad"))
    return report.id


async def spoil(story: Story, table: str, column: str, id: str) -> None:
    sql = text(f"UPDATE {table} SET {column} = '{{' WHERE id = :id").bindparams(id=id)
    await story.ledger.write(lambda tx: tx.connection.execute(sql).rowcount)


async def told(story: Story) -> list[tuple[str, str]]:
    listed = await story.ledger.read(problems.listed)
    return [(each.place.source, each.code) for each in listed]


async def test_a_report_that_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    async with a_story(tmp_path) as story:
        compile_ = handled(story, tmp_path, "compile")
        bad, good = await accepted(story, "1"), await accepted(story, "2")
        await spoil(story, "reports", "body", bad)
        await compile_(message(report_id=good))
        assert sum((await story.ledger.read(incidents.counts)).values()) == 1
        assert await told(story) == []
        for _ in range(3):  # the sweep calls it again and again
            await compile_(message(report_id=bad))
        assert await told(story) == [("compile", "step_failed")]
        assert await story.ledger.read(reports.waiting) == 1, "it is not lost"


async def test_a_decision_that_cannot_be_judged_is_noted_and_kept(tmp_path: Path) -> None:
    async with a_story(tmp_path) as story:
        gate = handled(story, tmp_path, "gate")
        submitted = await story.submitted(await story.reported())
        kept = await story.approved(submitted)
        await spoil(story, "revisions", "body", submitted.revision.id)
        for _ in range(2):
            await gate(message(decision_id=kept.decision.id))
        assert await told(story) == [("gate", "step_failed")]
        assert await story.ledger.read(approvals.waiting_for_gate) == 1


async def test_what_intake_cannot_take_in_is_noted_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_story(tmp_path) as story:

        def fails(*_: object, **__: object) -> None:
            raise KeyError("nobody foresaw this")

        intake = handled(story, tmp_path, "intake")
        monkeypatch.setattr(reports, "accept", fails)
        report = {
            "version": 1, "id": "t-1", "source": "cad", "incident_number": "N-1",
            "type": "GASLEAKO", "status": "Active", "place": "66123 Pierson Blvd",
                "opened_at": NOW.isoformat(),
            "reported_at": NOW.isoformat(),
        }  # fmt: skip
        come = Delivered(Where("topic", 0, 0), b"key", json.dumps(report).encode(), (), 0)
        with pytest.raises(Poison, match="intake failed at this message"):
            await intake(come)
