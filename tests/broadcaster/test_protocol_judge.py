"""The judge of the protocol finds what is wrong: a ledger that kept it, altered in one place."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from broadcaster.approval import Verdict
from broadcaster.ledger import approvals
from broadcaster.orders import take_back
from streams.gate import judge_decision
from tests.broadcaster.protocol_judge import Judge
from tests.broadcaster.test_protocol import GUEST, Protocol
from tests.story import EXERCISE, INCIDENT_URL, SITE, Story, a_story

REVISION = "UPDATE revisions SET body = json_set(body, {})"

#: An alteration, and a part of what the judge says of it.
ALTERED = {
    "UPDATE decisions SET person_id = (SELECT id FROM people WHERE roles = 'pio')":
        "by somebody who did not command",
    REVISION.format("'$.compiled_by', (SELECT person_id FROM decisions)"):
        "by who compiled the words",
    "UPDATE people SET roles = 'commander' WHERE roles = 'watch-commander'":
        "by somebody who did not command",
    "UPDATE decisions SET digest = 'other'": "on other words than those that stand",
    "UPDATE approval_requests SET digest = 'other'": "on other words than those that stand",
    REVISION.format("'$.area', 'Elm St'"): "of other words than were approved",
    "UPDATE releases SET body = json_set(body, '$.digest', 'other')":
        "of other words than were approved",
    "UPDATE releases SET body = json_set(body, '$.world', 'live')": "in another world",
    "UPDATE approval_requests SET expires_at = created_at": "after the request's time",
    "UPDATE approval_requests SET state = 'withdrawn'": "of a request that is withdrawn",
    "UPDATE approval_requests SET nonce = 'other'": "a passkey's answer to something else",
    "UPDATE decisions SET verdict = 'declined'": "of a decision declined",
    "UPDATE decisions SET keeps = 'other'": "a passkey's answer to something else",
    "UPDATE releases SET keeps = 'other'": "kept for facts that nobody signed",
    "UPDATE decisions SET outcome = 'kept'": "kept: is not on the record",
    "UPDATE incidents SET body = json_set(body, '$.place.value', 'Elm St')":
        "a post that would go: its place says 1200 block of Oak St, and it is Elm St",
    "UPDATE incidents SET body = json_set(body, '$.closed_at', '2026-11-22T22:00:00Z')":
        "a post that would go: it speaks of an incident that is over",
    "UPDATE decisions SET outcome = 'gate_late'": "outcome gate_late",
    "UPDATE decisions SET proof = NULL": "without a passkey",
    "UPDATE decisions SET at = datetime(at, '-2 minutes')": "after the decision",
    "UPDATE passkeys SET person_id = (SELECT id FROM people WHERE roles = 'pio')":
        "with somebody else's passkey",
    REVISION.format("'$.expires_at', '2026-11-22T22:00:00Z'"): "after the update's own time",
    "DELETE FROM posts WHERE channel = 'county'": "posts that were not approved",
    "UPDATE releases SET id = 'other'": "the record and the table of releases differ",
}  # fmt: skip


@pytest.fixture
async def kept(story: Story, tmp_path: Path) -> Path:
    """A ledger in which one update was released as it should be."""
    await story.released(await story.reported())
    return tmp_path / "ledger.db"


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with a_story(tmp_path) as story:
        yield story


async def test_where_nothing_is_wrong_it_finds_nothing(kept: Path) -> None:
    judge = Judge(kept, SITE.origin)
    assert len(judge.releases) == 1 and list(judge.faults()) == []
    assert [fault for each in judge.releases for fault in judge.truth_of(each)] == []


@pytest.mark.parametrize("sql", ALTERED)
async def test_what_it_finds(kept: Path, sql: str) -> None:
    with closing(sqlite3.connect(kept)) as ledger:
        assert ledger.execute(sql).rowcount
        ledger.commit()
    found = list(Judge(kept, SITE.origin).faults())
    assert any(ALTERED[sql] in fault for fault in found), found


#: The same where it was taken back, and everything about the retraction is altered.
TAKEN_BACK = {
    "UPDATE people SET roles = 'records' WHERE roles = 'pio'": "taken back by who may not",
    "UPDATE revisions SET body = json_set(body, '$.renderings[0].text', 'Go home.') "
    "WHERE json_extract(body, '$.kind') = 'retraction'": "in words that were not approved for it",
    "UPDATE revisions SET body = json_set(body, '$.retraction[0].text', 'Go home.') "
    "WHERE json_extract(body, '$.kind') = 'update'": "takes back words that were not approved",
    "UPDATE revisions SET body = json_set(body, '$.channels[0]', 'county') "
    "WHERE json_extract(body, '$.kind') = 'retraction'":
        "on a channel for which no words were approved",
    "UPDATE revisions SET body = json_set(body, '$.corrects', 'nothing') "
    "WHERE json_extract(body, '$.kind') = 'retraction'": "takes back what was never released",
}  # fmt: skip


@pytest.mark.parametrize("sql", [None, *TAKEN_BACK])
async def test_what_it_finds_of_a_retraction(kept: Path, story: Story, sql: str | None) -> None:
    release = next(iter(Judge(kept, SITE.origin).releases))
    sent = "UPDATE posts SET state = 'posted' WHERE channel = 'public_page'"
    await story.ledger.write(lambda tx: tx.connection.exec_driver_sql(sent).rowcount)
    order = await story.ledger.write(lambda tx: take_back(tx, release, story.pio))
    decision = await story.ledger.read(lambda tx: approvals.decision_of(tx, order.request.id))
    assert decision is not None
    await story.ledger.write(judge_decision(decision.decision.id, EXERCISE, INCIDENT_URL))
    with closing(sqlite3.connect(kept)) as ledger:
        assert sql is None or ledger.execute(sql).rowcount
        ledger.commit()
    found = list(Judge(kept, SITE.origin).faults())
    assert any(TAKEN_BACK[sql] in fault for fault in found) if sql else found == [], found


async def test_words_that_are_not_so_any_more(kept: Path) -> None:
    with closing(sqlite3.connect(kept)) as ledger:
        [(text,)] = ledger.execute("SELECT body FROM incidents")
        body = json.loads(text)
        body["place"]["value"] = "Elm St"
        ledger.execute("UPDATE incidents SET body = ?", [json.dumps(body)])
        ledger.commit()
    judge = Judge(kept, SITE.origin)
    [release] = judge.releases
    assert list(judge.truth_of(release)) == ["release: its place says 1200 block of Oak St, "
                                             "and it is Elm St"]  # fmt: skip


async def test_an_answer_given_elsewhere(kept: Path) -> None:
    found = list(Judge(kept, "https://alerts.example.evil.test").faults())
    assert any("a passkey's answer to something else" in fault for fault in found)


#: The same where somebody from outside commanded and decided.
OUTSIDE = {
    "DELETE FROM guests": "by somebody from outside who was not enrolled for it",
    "UPDATE guests SET until = at": "by somebody from outside whose time was over",
    "UPDATE guests SET token_hash = 'other'":
        "by somebody from outside whom no Watch Commander signed for",
    "UPDATE people SET name = 'Capt Roe' WHERE roles = ''":
        "by somebody from outside whom no Watch Commander signed for",
    "UPDATE people SET roles = 'commander' WHERE roles = 'watch-commander'":
        "by somebody from outside whom no Watch Commander signed for",
    "UPDATE guests SET passkey_id = 'other'":
        "by somebody from outside with another device than their link's",
}  # fmt: skip


@pytest.mark.parametrize("sql", [None, *OUTSIDE])
def test_what_it_finds_of_somebody_from_outside(sql: str | None) -> None:
    machine = Protocol()
    try:
        machine.two_updates_wait(GUEST, "Reyes")
        order = machine._order(machine.requests[0], GUEST, Verdict.APPROVED)
        machine._gate(machine._send(GUEST, order) or "")
        with closing(sqlite3.connect(machine.path)) as ledger:
            assert sql is None or ledger.execute(sql).rowcount
            ledger.commit()
        judge = Judge(machine.path, SITE.origin)
        found = list(judge.faults())
        assert len(judge.releases) == 1
        assert any(OUTSIDE[sql] in fault for fault in found) if sql else found == [], found
    finally:
        machine.teardown()
