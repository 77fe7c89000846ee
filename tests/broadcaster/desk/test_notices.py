"""Notices on the desk's pages, without JavaScript: begun, written, released or approved, public."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestClient

from broadcaster import rostering
from broadcaster.approval import AnyRelease
from broadcaster.desk.deps import Desk
from broadcaster.guideline import Guideline
from broadcaster.incident import Incident, Topic
from broadcaster.ledger import (
    Ledger,
    Tx,
    approvals,
    guidelines,
    incidents,
    people,
    posting_requests,
    releases,
)
from broadcaster.ledger.posting_requests import State
from broadcaster.roster import Person, Role
from streams.gate import judge_decision
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_hook import ORIGIN

Another = Callable[[], TestClient]
BEGUN = {"topic": "announcement", "subject": "Coffee with a cop", "place": "Desert Hot Springs"}


@pytest.fixture
async def staff(client: TestClient, ledger: Ledger) -> Person:
    """A member of the staff, signed in at `client`."""
    made = await ledger.write(
        lambda tx: people.add(tx, "J. Lopez", [Role.STAFF], actor="test", practice=True)
    )
    await scene.sign_in(client, made)
    return made


@pytest.fixture
async def chief(ledger: Ledger) -> Person:
    return await ledger.write(
        lambda tx: people.add(tx, "Chief Low", [Role.CHIEF], actor="test", practice=True)
    )


async def written(ledger: Ledger, chief: Person, clock: scene.HeldClock) -> Guideline:
    return await ledger.write(
        lambda tx: rostering.keep_guideline(
            tx, Topic.ANNOUNCEMENT, members=[], roles=[Role.STAFF],
            channels=["public_page", "partners"], until=clock.at + timedelta(days=9),
            text="Dates of community events.", person=chief, actor="test",
        )
    )  # fmt: skip


async def sent(client: TestClient, path: str, **fields: str) -> tuple[int, str, str]:
    """Status, where to, and the page."""
    answer = await client.post(path, data=fields, headers=scene.SAME_ORIGIN | scene.PAGE,
                               allow_redirects=False)  # fmt: skip
    return answer.status, answer.headers.get("Location", ""), await answer.text()


async def shown(client: TestClient, path: str) -> str:
    answer = await client.get(path, headers=scene.PAGE)
    assert answer.status == 200, (path, answer.status)
    return await answer.text()


async def begun(client: TestClient) -> str:
    """The address of a new notice's page."""
    status, where, page = await sent(client, "/notices", **BEGUN)
    assert status == 303, page
    return where.partition("#")[0]


def typed(page: str, **more: str) -> dict[str, str]:
    """What the composer's form holds, and what is typed over it."""
    form = page[page.index('id="composer"') :]
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
    inputs = dict(re.findall(r'<input id="f-\w+" name="([^"]+)" value="([^"]*)"', form))
    return hidden | inputs | {
        "guidance": "Meet your officers on Tuesday at 9.", "text": "", "kind": "update",
        "channels": "public_page", "hours": "24", "act": "send", "attested": "on",
        "no_open_incident": "on",
    } | more  # fmt: skip


async def let_out(client: TestClient, request: str) -> None:
    """The one tap of whoever compiled it."""
    page = await shown(client, request)
    form = page[page.index('id="decide"') :]
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
    status, _, page = await sent(client, request, **fields, verdict="approved")
    assert status == 303, page


async def release_of(ledger: Ledger, notice_id: str, address: str = ORIGIN) -> AnyRelease | None:
    """What the gate makes of the notice's newest decision."""

    def decided(tx: Tx) -> str:
        found = approvals.decision_of(tx, approvals.requests_of(tx, notice_id)[0].request.id)
        assert found is not None
        return found.decision.id

    decision = await ledger.read(decided)
    await ledger.write(judge_decision(decision, "exercise", f"{address}/p/{{}}".format))
    made = await ledger.read(lambda tx: releases.of_incident(tx, notice_id))
    return made[0] if made else None


async def test_it_is_begun_on_the_routine_tab_and_on_no_other(
    client: TestClient, ledger: Ledger, staff: Person
) -> None:
    assert "New notice" in await shown(client, "/?tab=routine")
    where = await begun(client)
    assert "Coffee with a cop" in await shown(client, "/?tab=routine")
    for tab in ("needs", "open", "off", "closed"):
        page = await shown(client, f"/?tab={tab}")
        assert "Coffee with a cop" not in page and "New notice" not in page
    page = await shown(client, where)
    assert "Submit EXERCISE notice" in page and "announcement (389.4(a))" in page.lower()
    for of_an_incident in ("is closed", "Report a change", "All clear", "Who commands", "Closed"):
        assert of_an_incident not in page[page.index("<main") :], of_an_incident


@pytest.mark.parametrize("field", ["topic", "subject", "place"])
async def test_what_is_missing_is_named_and_the_rest_kept(
    client: TestClient, staff: Person, field: str
) -> None:
    status, _, page = await sent(client, "/notices", **BEGUN | {field: ""})
    assert (status == 422 and f'id="r-{field}-fault"' in page) or "aria-invalid" in page
    kept = next(value for name, value in BEGUN.items() if name not in (field, "topic"))
    assert f'value="{kept}"' in page


async def test_within_a_guideline_its_compiler_releases_it(
    client: TestClient, ledger: Ledger, staff: Person, chief: Person, clock: scene.HeldClock
) -> None:
    await written(ledger, chief, clock)
    where = await begun(client)
    status, request, page = await sent(client, where, **typed(await shown(client, where)))
    assert status == 303 and request.startswith("/a/"), page
    assert f'href="{request}">Release it, EXERCISE' in await shown(client, where)
    page = await shown(client, request)
    assert "guideline on announcement covers it (389.4(a))" in page
    assert "Release EXERCISE: 1 channel" in page and "Decline" not in page
    await let_out(client, request)
    assert "Update #1, which the Chief's guideline covers, is being" in await shown(client, where)
    release = await release_of(ledger, where.rpartition("/")[2])
    assert release is not None
    page = await shown(client, f"/releases/{release.id}")
    assert "within the Chief's guideline on announcement (389.4(a), 389.3)" in page
    assert "J. Lopez released it" in page and "approved by" not in page
    assert "Stop EXERCISE" in page and "Correct it" in page
    assert "by the Chief&#39;s guideline on announcement" in await shown(client, where)


async def test_without_one_a_supervisor_reads_and_approves(
    client: TestClient, another_client: Another, ledger: Ledger, staff: Person,
    persons: scene.Persons, desk: Desk,
) -> None:  # fmt: skip
    where = await begun(client)
    await sent(client, where, **typed(await shown(client, where)))
    assert "waits for a supervisor" in await shown(client, where)
    (kept,) = await ledger.read(lambda tx: approvals.open_requests(tx))
    request = f"/a/{kept.request.id}"
    commander, supervisor = another_client(), another_client()
    await scene.sign_in(commander, persons.commander)
    assert "A supervisor decides" in await shown(commander, request)
    await scene.sign_in(supervisor, persons.supervisor)
    assert "Waiting for you" in await shown(supervisor, "/")
    page = await shown(supervisor, request)
    key = re.search(r'name="idempotency_key" value="([^"]+)"', page)
    assert key is not None
    status, *_ = await sent(
        supervisor, request, verdict="approved", revision_id=kept.request.revision_id,
        digest=kept.request.digest, idempotency_key=key[1],
    )  # fmt: skip
    assert status == 303
    notice_id = where.rpartition("/")[2]
    assert await release_of(ledger, notice_id, desk.address) is not None


async def test_the_statement_is_asked_for_and_the_words_stay(
    client: TestClient, staff: Person
) -> None:
    where = await begun(client)
    fields = typed(await shown(client, where))
    fields.pop("no_open_incident")
    status, _, page = await sent(client, where, **fields)
    assert status == 422 and "about no open incident (389.4.1)" in page
    assert "Meet your officers on Tuesday at 9." in page


async def test_an_open_incident_is_named_in_the_refusal(
    client: TestClient, ledger: Ledger, staff: Person, clock: scene.HeldClock
) -> None:
    await scene.add_incident(ledger, clock.at, number="9", place="Elm St")
    where = await begun(client)
    fields = typed(await shown(client, where), guidance="Meet us on Elm St.")
    status, _, page = await sent(client, where, **fields)
    assert status == 409 and "These words name an open incident: " in page and "Elm St" in page


async def test_the_public_reads_it_apart_from_incidents(
    client: TestClient, ledger: Ledger, staff: Person, chief: Person, clock: scene.HeldClock,
    persons: scene.Persons,
) -> None:  # fmt: skip
    about = await scene.add_incident(ledger, clock.at)
    await scene.told(ledger, about, persons, clock.at)
    await written(ledger, chief, clock)
    where = await begun(client)
    _, request, _ = await sent(client, where, **typed(await shown(client, where)))
    await let_out(client, request)
    release = await release_of(ledger, where.rpartition("/")[2])
    assert release is not None
    clock.on(minutes=1)
    await scene.deliver(ledger, release)
    page = await shown(client, "/p")
    notices = page.index('<h2 id="notices">Notices</h2>')
    assert page.index("Pierson") < notices < page.index("Coffee with a cop")
    told = json.loads(await shown(client, "/p/feed.json"))["items"]
    assert [each["tags"] for each in told] == [["update", "notice"], ["update"]]
    assert 'category term="notice"' in await shown(client, "/p/feed.atom")
    assert "<category>notice</category>" in await shown(client, "/p/feed.rss")
    assert "Coffee" not in await shown(client, "/p/cap.atom"), "a notice alerts nobody"
    post = told[0]["id"].removeprefix("urn:uuid:")
    assert (await client.get(f"/p/cap/{post}.xml", headers=scene.PAGE)).status == 404


async def test_what_was_passed_on_becomes_a_notice(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    def ask(tx: Tx) -> str:
        made = posting_requests.add(tx, persons.commander.id, "Tell them of the fair.")
        posting_requests.settle(tx, made, State.PASSED_ON, None, actor=persons.supervisor.id)
        return made.id

    asked = await ledger.write(ask)
    await scene.sign_in(client, persons.pio)
    link = f"/?tab=routine&amp;request={asked}#notice"
    assert link in await shown(client, "/requests") or link.replace("&amp;", "&") in (
        await shown(client, "/requests")
    )
    page = await shown(client, f"/?tab=routine&request={asked}")
    assert f'name="request" value="{asked}"' in page
    status, where, _ = await sent(client, "/notices", **BEGUN, request=asked)
    assert status == 303
    assert "Tell them of the fair." in await shown(client, where.partition("#")[0])
    assert "Open its notice" in await shown(client, "/requests")


async def test_the_chief_ends_a_guideline_and_everybody_reads_them(
    client: TestClient, another_client: Another, ledger: Ledger, staff: Person, chief: Person,
    clock: scene.HeldClock,
) -> None:  # fmt: skip
    kept = await written(ledger, chief, clock)
    page = await shown(client, "/people")
    assert "Dates of community events." in page and "every Staff member" in page
    assert 'value="end guideline"' not in page
    status, *_ = await sent(client, "/people", do="end guideline", guideline=kept.id)
    assert status == 403
    at_the_chiefs = another_client()
    await scene.sign_in(at_the_chiefs, chief)
    assert 'value="end guideline"' in await shown(at_the_chiefs, "/people")
    status, *_ = await sent(at_the_chiefs, "/people", do="end guideline", guideline=kept.id)
    assert status == 303
    (ended,) = await ledger.read(guidelines.every)
    assert ended.ended_by == chief.id
    assert "by Chief Low" in await shown(client, "/people")


async def test_a_report_names_no_notice(
    client: TestClient, ledger: Ledger, staff: Person, persons: scene.Persons
) -> None:
    notice = (await begun(client)).rpartition("/")[2]
    await scene.sign_in(client, persons.pio)

    def kept(tx: Tx) -> Incident:
        found = incidents.get(tx, notice)
        assert found is not None
        return found.incident

    before = await ledger.read(kept)
    status, *_ = await sent(
        client, "/", type="GASLEAK", status="Active", place="Elm St", incident_number=before.number
    )
    assert status == 404
    assert await ledger.read(kept) == before
