"""Fault matrix, rows 28, 29 and 32: answers that come at once, or about words that have moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from aiohttp.test_utils import TestClient

from broadcaster.ledger import Ledger, Tx, approvals, incidents, people, records
from broadcaster.orders import Submitted
from broadcaster.roster import Person, Role
from tests.broadcaster.desk import scene


async def answer(
    client: TestClient, submitted: Submitted, key: str, verdict: str = "approved"
) -> tuple[int, dict[str, object]]:
    request = submitted.request
    response = await client.post(
        f"/api/v1/approval-requests/{request.id}/decision", headers=scene.PROGRAM,
        json={"request_id": request.id, "verdict": verdict, "digest": request.digest,
              "revision_id": request.revision_id, "idempotency_key": key,
              "reason": "Which side?"},
    )  # fmt: skip
    return response.status, await response.json()


async def recorded(ledger: Ledger) -> int:
    lines = await ledger.read(lambda tx: records.lines(tx, limit=1000))
    return sum(line.kind == "DecisionRecorded" for line in lines)


async def test_fifty_taps_are_one_decision(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons
) -> None:
    """Row 32: one key, as a page sends it again and again on a bad line."""
    await scene.sign_in(client, persons.watch)
    answers = await asyncio.gather(*(answer(client, submitted, "one-key-1") for _ in range(50)))
    assert all(each == answers[0] for each in answers) and answers[0][0] == 200
    assert await recorded(ledger) == 1


async def test_of_two_watch_commanders_at_once_one_decides(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger,
    submitted: Submitted, persons: scene.Persons,
) -> None:  # fmt: skip
    """Row 29: both may, while no command is recorded; one approves, the other sends it back."""

    def step(tx: Tx) -> Person:
        return people.add(tx, "Lt Diaz", [Role.WATCH_COMMANDER], actor="test", practice=True)

    other, second = another_client(), await ledger.write(step)
    await scene.sign_in(client, persons.watch)
    await scene.sign_in(other, second)
    answers = await asyncio.gather(
        *(answer(client, submitted, f"first-{n:03}") for n in range(10)),
        *(answer(other, submitted, f"other-{n:03}", "returned") for n in range(10)),
    )
    assert Counter(status for status, _ in answers) == {200: 1, 409: 19}
    codes = {said["code"] for status, said in answers if status == 409}
    assert codes in ({"already_approved"}, {"already_returned"})
    assert await recorded(ledger) == 1


async def test_an_answer_about_older_words_says_what_stands(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, incident: incidents.Kept,
    submitted: Submitted, persons: scene.Persons,
) -> None:  # fmt: skip
    """Row 28: the PIO put a newer wording in its place while the Commander read the older."""
    await scene.sign_in(client, persons.watch)
    order = scene.order_for(
        incident, clock.now(), text="Leave now.", update_id=submitted.revision.update_id
    )
    newer = await scene.submit(ledger, order, persons.pio)
    status, said = await answer(client, submitted, "too-late-1")
    assert (status, said["code"]) == (409, "already_withdrawn")
    assert await recorded(ledger) == 0
    kept = await ledger.read(lambda tx: approvals.request(tx, newer.request.id))
    assert kept is not None and kept.request.state == "open"
    assert (await answer(client, newer, "in-time-01"))[0] == 200
