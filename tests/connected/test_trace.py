"""A release travels under one trace id, from its report to its receipts, through each log."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from tests.connected.installation import Answer, Installation, Json, ask, signed, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: What a release with three channels does, and which process of production then says so.
PATH = [
    ("ReportAccepted", "desk"), ("IncidentOpened", "compile"), ("UpdateSuggested", "compile"),
    ("RevisionSubmitted", "desk"), ("ApproverCalled", "notify"), ("DecisionRecorded", "desk"),
    ("UpdateReleased", "gate"), *[("AttemptStarted", "deliver"), ("PostDelivered", "deliver")] * 3,
]  # fmt: skip
KINDS = sorted(kind for kind, _ in PATH)


def lines(at: Installation) -> list[Json]:
    """What the processes logged so far; `by`: which of them."""
    return [
        {**json.loads(line), "by": log.stem}
        for log in at.logs()
        for line in log.read_text().splitlines()
        if line.startswith("{") and line.endswith("}")
    ]


def about(at: Installation, incident_id: str) -> list[Json]:
    """The lines about an incident's release; who commands it is no part of that."""
    found = [line for line in lines(at) if line.get("incident") == incident_id]
    return [line for line in found if line["event"] != "CommandRecorded"]


async def told(at: Installation, report: Json, headers: dict[str, str]) -> tuple[str, Json]:
    """A report with these headers goes all the way; gives its incident's id and its request."""
    body = at.bytes_of(report)
    assert at.http is not None
    answer: Answer = await ask(
        at.http,
        "POST",
        "/api/v1/reports",
        data=body,
        headers={**signed(at.cad_secret, report["id"], body), **headers},
    )
    assert answer.status == 202, answer
    return await through(at, at.incident_of(report))


async def through(at: Installation, incident_id: str) -> tuple[str, Json]:
    await at.commanded(incident_id)
    request = await at.submit(await at.suggested(incident_id))

    async def called() -> bool:
        return (await at.request(request["id"]))["request"]["called_at"] is not None

    await until("the Commander is called", called)
    assert (await at.decide(request)).good
    await at.settled(request)
    return incident_id, request


async def all_said(at: Installation, incident_id: str) -> list[Json]:
    """The lines about an incident, once each of its facts is there."""

    async def there() -> list[Json] | None:
        found = about(at, incident_id)
        return found if len(found) >= len(PATH) else None

    return await until("its facts are logged", there)


async def carried(at: Installation, trace: str) -> bool:
    """Whether the relay said that it carried the last message of a trace."""
    await at.drained()
    return any(trace in line.get("traces", ()) for line in lines(at))


async def test_one_trace_from_report_to_receipt(at: Installation) -> None:
    """Two incidents side by side: each line about one carries its trace, and no other line does."""
    (one, first), (other, second) = await asyncio.gather(
        *(told(at, at.report(), {}) for _ in range(2))
    )
    seen = {}
    for incident_id, request in ((one, first), (other, second)):
        found = await all_said(at, incident_id)
        assert sorted(line["event"] for line in found) == KINDS
        if len(at.logs()) > 1:
            assert sorted((line["event"], line["by"]) for line in found) == sorted(PATH)
        [seen[incident_id]] = {line["trace"] for line in found}
        release = await at.release(request)
        posts = {post["id"] for post in release["posts"]}
        assert {line["post_id"] for line in found if "post_id" in line} == posts
        assert {line["request_id"] for line in found if "request_id" in line} == {request["id"]}
        assert await carried(at, seen[incident_id])
    assert seen[one] != seen[other]
    by_trace = [(line["trace"], line["incident"]) for line in lines(at) if "trace" in line]
    for incident_id, trace in seen.items():
        assert {where for found, where in by_trace if found == trace} == {incident_id}


async def test_a_senders_trace_is_taken_on(at: Installation) -> None:
    trace, parent = uuid.uuid4().hex, uuid.uuid4().hex[16:]
    by_http, _ = await told(at, at.report(), {"traceparent": f"00-{trace}-{parent}-01"})
    assert {line["trace"] for line in await all_said(at, by_http)} == {trace}


async def test_so_is_that_of_a_message(at: Installation) -> None:
    trace, parent = uuid.uuid4().hex, uuid.uuid4().hex[16:]
    report = at.report()
    await at.produce(
        at.bytes_of(report), headers=[("traceparent", f"00-{trace}-{parent}-01".encode())]
    )
    by_topic, _ = await through(at, at.incident_of(report))
    assert {line["trace"] for line in await all_said(at, by_topic)} == {trace}


@pytest.mark.parametrize("sent", ["00-zq17-private-01", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
async def test_an_ill_formed_one_is_not_and_stands_nowhere(at: Installation, sent: str) -> None:
    by_http, _ = await told(at, at.report(), {"traceparent": sent})
    [trace] = {line["trace"] for line in await all_said(at, by_http)}
    assert len(trace) == 32 and trace != "0" * 32
    assert sent not in at.logged()


async def test_reports_that_come_again_have_one_trace(at: Installation) -> None:
    report = at.report()
    for _ in range(2):
        assert (await at.send_report(report)).good
    incident_id, _ = await through(at, at.incident_of(report))
    found = await all_said(at, incident_id)
    assert [line["event"] for line in found].count("ReportAccepted") == 1
    assert len({line["trace"] for line in found}) == 1
