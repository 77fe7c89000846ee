"""Requests up the chain of command: who asks, who settles, and what each sees (389.3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from broadcaster.ledger import Ledger, posting_requests
from broadcaster.ledger.posting_requests import PostingRequest, State
from broadcaster.roster import Person
from tests.broadcaster.desk import scene

WORDS = "The road past the school is closed at noon."


async def sent(client: TestClient, **fields: str) -> tuple[int, str]:
    answer = await client.post("/requests", data=fields, headers=scene.SAME_ORIGIN | scene.PAGE,
                               allow_redirects=False)  # fmt: skip
    return answer.status, await answer.text()


async def shown(client: TestClient, person: Person) -> str:
    await scene.sign_in(client, person)
    return await (await client.get("/requests", headers=scene.PAGE)).text()


async def kept(ledger: Ledger) -> list[PostingRequest]:
    return await ledger.read(
        lambda tx: posting_requests.listed(tx, of=None, states=list(State), limit=10)
    )


@pytest.fixture
async def asked(client: TestClient, ledger: Ledger, persons: scene.Persons) -> PostingRequest:
    """What the Commander, who may not post, asked for."""
    await scene.sign_in(client, persons.commander)
    assert (await sent(client, text=WORDS))[0] == 303
    (made,) = await kept(ledger)
    assert (made.person_id, made.text, made.state) == (persons.commander.id, WORDS, State.WAITING)
    return made


async def test_a_supervisor_passes_it_on_and_the_pio_sees_it(
    client: TestClient, another_client: Callable[[], TestClient], ledger: Ledger,
    persons: scene.Persons, asked: PostingRequest,
) -> None:  # fmt: skip
    pio = another_client()
    assert WORDS not in await shown(pio, persons.pio), "it waits for a supervisor first"
    supervisor = another_client()
    page = await shown(supervisor, persons.supervisor)
    assert WORDS in page and 'name="pass_on"' in page
    assert (await sent(supervisor, pass_on=asked.id))[0] == 303
    said = "Passed on to the Public Information Officer by Sgt Cole"
    for at, who in ((client, persons.commander), (pio, persons.pio), (supervisor, persons.watch)):
        page = await shown(at, who)
        assert said in page and WORDS in page and 'name="pass_on"' not in page
    (now,) = await kept(ledger)
    assert (now.state, now.settled_by) == (State.PASSED_ON, persons.supervisor.id)
    status, page = await sent(supervisor, decline=asked.id, reason="No")
    assert status == 409 and "This request is already passed on." in page


async def test_it_is_declined_with_a_reason_that_its_member_reads(
    client: TestClient, another_client: Callable[[], TestClient], persons: scene.Persons,
    asked: PostingRequest,
) -> None:  # fmt: skip
    supervisor = another_client()
    await scene.sign_in(supervisor, persons.supervisor)
    status, page = await sent(supervisor, decline=asked.id, reason=" ")
    assert status == 422 and "declined with a reason" in page
    assert (await sent(supervisor, decline=asked.id, reason="The city posts it"))[0] == 303
    page = await shown(client, persons.commander)
    assert "Declined by Sgt Cole" in page and "The city posts it" in page
    assert WORDS not in await shown(another_client(), persons.pio)


async def test_who_may_not_settle_is_refused_and_nobody_settles_their_own(
    client: TestClient, ledger: Ledger, persons: scene.Persons, asked: PostingRequest
) -> None:
    status, page = await sent(client, pass_on=asked.id)
    assert status == 403 and "Ask the Watch Commander or Supervisor." in page
    await scene.sign_in(client, persons.supervisor)
    assert (await sent(client, text="Mine"))[0] == 303
    own = next(each for each in await kept(ledger) if each.text == "Mine")
    status, page = await sent(client, pass_on=own.id)
    assert status == 403 and "Nobody settles their own request" in page
    assert (await sent(client, pass_on="none"))[0] == 404


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001])
async def test_a_request_says_something_and_not_too_much(
    client: TestClient, ledger: Ledger, persons: scene.Persons, text: str
) -> None:
    await scene.sign_in(client, persons.commander)
    assert (await sent(client, text=text))[0] == 422
    assert await kept(ledger) == []


async def test_the_custodian_of_records_asks_for_nothing(
    client: TestClient, persons: scene.Persons
) -> None:
    assert "<textarea" not in await shown(client, persons.records)
    assert (await sent(client, text=WORDS))[0] == 403
