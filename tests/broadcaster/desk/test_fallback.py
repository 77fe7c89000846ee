"""PIN and code on the desk's pages, without JavaScript: signing in, deciding, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import NamedTuple

import pytest
from aiohttp.test_utils import TestClient

from broadcaster import rostering
from broadcaster.approval import RequestState
from broadcaster.desk import fallback as desk_fallback
from broadcaster.explain import update as explained
from broadcaster.fallback import STEP, Allowance
from broadcaster.handover import record_command
from broadcaster.ledger import Ledger, approvals, locks, people, releases
from broadcaster.orders import Submitted
from broadcaster.passkey import FAILURES
from broadcaster.roster import Person, Role
from streams.gate import judge_decision
from streams.prove import prove
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_hook import SITE
from tests.codes import KEY, PIN, code_at
from tests.story import EXERCISE


class Typing(NamedTuple):
    """A Commander without a passkey, whom the roster lets type PIN and code."""

    person: Person
    allowed: Allowance


@pytest.fixture
async def proving(ledger: Ledger) -> AsyncIterator[None]:
    """What the gate runs beside it."""
    running = asyncio.create_task(prove(ledger, KEY, SITE))
    yield
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def lee(
    ledger: Ledger, clock: scene.HeldClock, submitted: Submitted, persons: scene.Persons,
    proving: None,
) -> Typing:  # fmt: skip
    """Sgt Lee, who commands."""
    added = await ledger.write(lambda tx: people.add(tx, "Sgt Lee", [Role.COMMANDER], actor="test"))
    chief = await ledger.write(lambda tx: people.add(tx, "Chief", [Role.CHIEF], actor="test"))
    allowed = await ledger.write(
        lambda tx: rostering.allow_fallback(
            tx, added.id, pin=PIN, reason="A broken phone", until=clock.at + timedelta(days=1),
            person=chief, actor="test",
        )
    )  # fmt: skip
    incident = submitted.request.incident_id
    await ledger.write(lambda tx: record_command(tx, incident, added.id, persons.pio))
    return Typing(added, allowed)


async def post(client: TestClient, path: str, **fields: str) -> tuple[int, str]:
    answer = await client.post(
        path, data=fields, headers=scene.SAME_ORIGIN | scene.PAGE, allow_redirects=False
    )
    return answer.status, await answer.text()


async def page_of(client: TestClient, path: str) -> str:
    answer = await client.get(path, headers=scene.PAGE)
    assert answer.status == 200
    return await answer.text()


async def signed_in(client: TestClient, lee: Typing, clock: scene.HeldClock) -> None:
    """With one code; the next one is shown."""
    code = code_at(lee.allowed, clock.at)
    status, said = await post(client, "/sign-in/code", name="Sgt  Lee ", pin=PIN, code=code)
    assert status == 303, said
    clock.on(seconds=STEP)


def decision(submitted: Submitted, **other: str) -> dict[str, str]:
    return {
        "verdict": "approved", "revision_id": submitted.revision.id,
        "digest": submitted.request.digest, "idempotency_key": "a-key-of-mine", "pin": PIN,
    } | other  # fmt: skip


async def judged(ledger: Ledger, submitted: Submitted) -> str | None:
    decided = await ledger.read(lambda tx: approvals.decision_of(tx, submitted.request.id))
    assert decided is not None
    url = "http://127.0.0.1:8080/p/{}".format
    await ledger.write(judge_decision(decided.decision.id, EXERCISE, url))
    kept = await ledger.read(lambda tx: approvals.decision(tx, decided.decision.id))
    return kept.outcome if kept else None


async def test_signed_in_decided_released_and_told(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted,
    persons: scene.Persons, lee: Typing,
) -> None:  # fmt: skip
    path = f"/a/{submitted.request.id}"
    assert "Use PIN and code" in await page_of(client, "/sign-in")
    await signed_in(client, lee, clock)
    page = await page_of(client, path)
    assert 'autocomplete="one-time-code"' in page and 'inputmode="numeric"' in page
    assert 'id="decide"' not in page  # they have no passkey
    code = code_at(lee.allowed, clock.at)
    status, said = await post(client, path, **decision(submitted, code=code))
    assert status == 303, said
    assert (await post(client, path, **decision(submitted, code=code)))[0] == 303  # a second tap
    assert await judged(ledger, submitted) == "released"
    release = await ledger.read(lambda tx: releases.of_revision(tx, submitted.revision.id))
    assert release is not None

    await scene.sign_in(client, persons.pio)
    told = "PIN and code instead of a passkey"
    for where in (path, f"/releases/{release.id}", "/record",
                  f"/incidents/{submitted.request.incident_id}"):  # fmt: skip
        assert told in await page_of(client, where), where
    assert "May decide with PIN and code until" in await page_of(client, "/people")
    answer = await client.get(f"/api/v1/approval-requests/{submitted.request.id}")
    assert (await answer.json())["decided"]["by_code"] is True
    clauses = (await ledger.read(lambda tx: explained(tx, release.id)))["clauses"]
    assert any(each["what"] == told and "A broken phone" in each["why"] for each in clauses)


@pytest.mark.parametrize(
    ("other", "status", "words"),
    [
        ({"pin": "739155"}, 403, "PIN or code is wrong"),
        ({"code": "0000000"}, 403, "PIN or code is wrong"),
        ({"code": ""}, 403, "PIN or code is wrong"),
        ({"digest": "0" * 64}, 409, "are not the words that stand now"),
        ({"verdict": "returned"}, 422, "goes back with a note"),
    ],
)
async def test_what_is_refused_decides_nothing(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted, lee: Typing,
    other: dict[str, str], status: int, words: str,
) -> None:  # fmt: skip
    await signed_in(client, lee, clock)
    code = code_at(lee.allowed, clock.at)
    fields = decision(submitted, **({"code": code} | other))
    got, said = await post(client, f"/a/{submitted.request.id}", **fields)
    assert (got, words in said) == (status, True)
    assert code not in said and PIN not in said
    assert await ledger.read(lambda tx: approvals.decision_of(tx, submitted.request.id)) is None
    assert "was refused" in await page_of(client, "/record")


async def test_a_code_signs_in_once(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted, lee: Typing
) -> None:
    code = code_at(lee.allowed, clock.at)
    fields = {"name": "Sgt Lee", "pin": PIN, "code": code}
    assert (await post(client, "/sign-in/code", **fields))[0] == 303
    status, said = await post(client, "/sign-in/code", **fields)
    assert status == 403 and "used before" in said
    status, said = await post(
        client, f"/a/{submitted.request.id}", **decision(submitted, code=code)
    )
    assert status == 403 and "used before" in said


async def test_who_is_not_allowed_is_told_so_whoever_they_are(
    client: TestClient, lee: Typing
) -> None:
    said = {
        (await post(client, "/sign-in/code", name=name, pin=PIN, code="123456"))
        for name in ("Lt Baker", "A. Reyes")
    }
    [(status, page)] = {(status, page.replace("A. Reyes", "Lt Baker")) for status, page in said}
    assert status == 403 and "does not let you use PIN and code" in page


async def test_five_wrong_ones_lock_the_person_and_no_incident(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted, lee: Typing
) -> None:
    await signed_in(client, lee, clock)
    path = f"/a/{submitted.request.id}"
    for number in range(FAILURES):
        status, said = await post(client, path, **decision(submitted, code=f"{number:07}"))
        assert status == 403
    assert "nothing is taken from you any more" in said
    fields = decision(submitted, code=code_at(lee.allowed, clock.at))
    assert (await post(client, path, **fields))[0] == 403
    assert await ledger.read(lambda tx: locks.holding(tx, lee.person.id, SITE)) is not None
    kept = await scene.request_of(ledger, submitted.request.id)
    assert kept.request.state is RequestState.OPEN


async def test_a_session_by_code_changes_no_roster(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted,
    persons: scene.Persons, proving: None,
) -> None:  # fmt: skip
    """Though its person's role would let them."""
    both = await ledger.write(
        lambda tx: people.add(tx, "Capt Ito", [Role.CHIEF, Role.COMMANDER], actor="test")
    )
    chief = await ledger.write(lambda tx: people.add(tx, "Chief", [Role.CHIEF], actor="test"))
    allowed = await ledger.write(
        lambda tx: rostering.allow_fallback(
            tx, both.id, pin=PIN, reason="Why", until=clock.at + timedelta(days=1), person=chief,
            actor="test",
        )
    )  # fmt: skip
    code = code_at(allowed, clock.at)
    assert (await post(client, "/sign-in/code", name="Capt Ito", pin=PIN, code=code))[0] == 303
    status, said = await post(client, "/people", do="grant", person=persons.pio.id, incident="yes")
    assert status == 403 and "PIN and code, which are for deciding alone" in said
    assert (await post(client, "/people", lost=both.id))[0] in (303, 401)  # a lost phone is


async def test_where_the_gate_is_away_nothing_is_decided(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted,
    persons: scene.Persons, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(desk_fallback, "PATIENCE", 0.05)
    chief = await ledger.write(lambda tx: people.add(tx, "Chief", [Role.CHIEF], actor="test"))
    allowed = await ledger.write(
        lambda tx: rostering.allow_fallback(
            tx, persons.watch.id, pin=PIN, reason="Why", until=clock.at + timedelta(days=1),
            person=chief, actor="test",
        )
    )  # fmt: skip
    await scene.sign_in(client, persons.watch)
    page = await page_of(client, f"/a/{submitted.request.id}")
    assert 'id="decide"' in page and 'id="with-code"' in page  # asked for the passkey first
    fields = decision(submitted, code=code_at(allowed, clock.at))
    status, said = await post(client, f"/a/{submitted.request.id}", **fields)
    assert status == 503 and "The gate has not answered" in said
    assert await ledger.read(lambda tx: approvals.decision_of(tx, submitted.request.id)) is None


async def test_a_supervisor_ends_it_in_one_tap(
    client: TestClient, clock: scene.HeldClock, persons: scene.Persons, lee: Typing
) -> None:
    await scene.sign_in(client, persons.supervisor)
    assert "that Sgt Lee may decide with PIN and code" in await page_of(client, "/people")
    assert (await post(client, "/people", do="end fallback", person=lee.person.id))[0] == 303
    assert "May decide with PIN and code" not in await page_of(client, "/people")


async def test_an_app_of_the_departments_own_needs_a_passkey(
    client: TestClient, submitted: Submitted, lee: Typing
) -> None:
    fields = decision(submitted)
    fields.pop("pin")
    answer = await client.post(
        f"/hooks/approval/{submitted.request.id}", headers=scene.PROGRAM,
        json=fields | {"request_id": submitted.request.id},
    )  # fmt: skip
    assert (answer.status, (await answer.json())["code"]) == (403, "passkey_missing")
