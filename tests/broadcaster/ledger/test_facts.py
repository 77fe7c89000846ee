"""Each fact is one line of the log, under the trace of the report behind it, and holds no words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from broadcaster.ledger import Ledger, Tx, approvals, outbox, records, reports
from broadcaster.record import Kind
from streams.notify import call_approver
from streams.sweep import sweep
from tests.story import CHANNELS, Story

Line = dict[str, Any]


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    with capture_logs() as logs:
        yield logs


async def on_record(ledger: Ledger) -> list[tuple[str, str | None]]:
    """What the record says, oldest first: kind and trace."""

    def look(tx: Tx) -> list[tuple[str, str | None]]:
        rows = tx.connection.exec_driver_sql("SELECT kind, body FROM entries").all()
        return sorted((kind, json.loads(body)["public"].get("trace", "")) for kind, body in rows)

    return await ledger.read(look)


async def traces(story: Story, incident_id: str) -> list[str]:
    kept = await story.ledger.read(lambda tx: reports.of_incident(tx, incident_id))
    return [each.trace for each in kept]


async def test_each_is_said_once_and_as_it_stands_on_the_record(
    story: Story, lines: list[Line]
) -> None:
    incident_id = await story.reported()
    await story.released(incident_id)
    entries = await on_record(story.ledger)
    await story.ledger.close()
    said = sorted((line["event"], line.get("trace", "")) for line in lines)
    told = {"LedgerCreated", "PersonAdded", "PasskeyAdded",  # it may be before we listen
            "AuthorityGranted", "TrainingRecorded"}  # fmt: skip
    assert [each for each in said if each[0] not in told] == [
        each for each in entries if each[0] not in told
    ]
    assert {line["log_level"] for line in lines} == {"info"}


async def test_a_step_that_failed_says_nothing(story: Story, lines: list[Line]) -> None:
    def step(tx: Tx) -> None:
        tx.record(Kind.STARTED, actor="test")
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        await story.ledger.write(step)
    await story.ledger.close()
    assert [line for line in lines if line["event"] == "Started"] == []


async def test_one_trace_from_report_to_posts(story: Story, lines: list[Line]) -> None:
    """And the incident beside it has its own, though one step may see to both."""
    one, other = await story.reported("1"), await story.reported("2")
    for incident_id in (one, other):
        submitted = await story.submitted(incident_id)
        await story.ledger.write(call_approver(submitted.request.id))
        await story.approved(submitted)
    [mine], [theirs] = await traces(story, one), await traces(story, other)
    sent = await story.ledger.read(lambda tx: outbox.unsent(tx, 100))
    await story.ledger.close()
    path = ["ReportAccepted", "IncidentOpened", "UpdateSuggested", "RevisionSubmitted",
            "ApproverCalled", "DecisionRecorded"]  # fmt: skip
    by_trace = {trace: [line for line in lines if line.get("trace") == trace]
                for trace in (mine, theirs)}  # fmt: skip
    assert mine != theirs
    for trace, incident_id in ((mine, one), (theirs, other)):
        events = [line["event"] for line in by_trace[trace]]
        assert sorted(set(events) - {"CommandRecorded"}) == sorted(path)
        assert {line["incident"] for line in by_trace[trace]} == {incident_id}
    by_key = {(row.key, row.trace) for row in sent}
    assert by_key == {(one, mine), (other, theirs)}
    assert {row.topic for row in sent} == {
        "exercise.incident.reports",
        "exercise.update.submitted",
        "exercise.update.decided",
    }


async def test_the_gate_hands_it_to_posts_and_subscribers(story: Story) -> None:
    incident_id = await story.reported()
    _, planned = await story.released(incident_id)
    [trace] = await traces(story, incident_id)
    sent = await story.ledger.read(lambda tx: outbox.unsent(tx, 100))
    assert len(planned) == len(CHANNELS)
    assert {post.trace for post in planned.values()} == {trace}
    assert {row.trace for row in sent} == {trace} and len(sent) >= 4 + len(CHANNELS)


async def test_what_the_sweep_calls_again_keeps_its_trace(story: Story) -> None:
    """And what it does by itself, for no report, is under none."""
    one, other = await story.reported("1"), await story.reported("2")
    await story.released(one)
    await story.submitted(other)
    [mine], [theirs] = await traces(story, one), await traces(story, other)
    before = await story.ledger.read(lambda tx: outbox.unsent(tx, 100))
    await story.ledger.write(lambda tx: outbox.sent(tx, [row.id for row in before]))
    story.clock.move(days=1)
    with capture_logs() as logs:
        await story.ledger.write(sweep)
        sent = await story.ledger.read(lambda tx: outbox.unsent(tx, 100))
        await story.ledger.close()
    again = {(row.topic, row.trace) for row in sent}
    assert again == {(f"exercise.posts.{name.name}", mine) for name in CHANNELS}
    by_event = {line["event"]: line.get("trace") for line in logs}
    assert by_event == {"RequestExpired": theirs, "IncidentClosed": None}


async def test_words_go_back_to_the_newest_suggestion(story: Story) -> None:
    """A report that changed nothing worth saying suggests nothing, and begins no release."""
    incident_id = await story.reported()
    story.clock.move(seconds=1)
    await story.reported(place="1400 block of Elm St")
    story.clock.move(seconds=1)
    await story.reported(place="1400 block of Elm St")
    submitted = await story.submitted(incident_id)
    kept = await story.ledger.read(lambda tx: approvals.request(tx, submitted.request.id))
    last, changed, first = await traces(story, incident_id)
    assert kept is not None and kept.trace == changed not in (first, last)


async def test_a_request_that_another_report_ends_keeps_its_own_trace(
    story: Story, lines: list[Line]
) -> None:
    incident_id = await story.reported()
    await story.submitted(incident_id)
    story.clock.move(seconds=1)
    await story.reported(place="1400 block of Elm St")
    newer, older = await traces(story, incident_id)
    await story.ledger.close()
    by_event = {line["event"]: line.get("trace") for line in lines}
    assert by_event["RequestLapsed"] == older
    assert by_event["IncidentChanged"] == by_event["UpdateSuggested"] == newer


async def test_no_line_holds_words_or_names(story: Story, lines: list[Line]) -> None:
    incident_id = await story.reported("SECRET-NUMBER")
    await story.released(incident_id, text="Words that nobody reads in a log.", channels=CHANNELS)
    record = await story.ledger.read(records.lines)
    await story.ledger.close()
    said = repr(lines)
    assert len(lines) > 5
    assert story.pio.id not in said and story.pio.name not in said
    for word in ("SECRET-NUMBER", "Words that", "Oak St", "Ortiz"):
        assert word not in said
    if story.ledger.alone:  # where nothing seals, nothing is read yet
        assert "Words that" in str([line.private for line in record])
