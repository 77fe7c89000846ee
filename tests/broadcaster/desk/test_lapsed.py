"""A fact changed: what the Commander, the PIO and the release's page are told, and the buttons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from markupsafe import Markup

from broadcaster.approval import AnyRelease, RequestState
from broadcaster.delivery import PostState
from broadcaster.incident import Status
from broadcaster.ledger import Ledger, approvals, incidents, posts, releases
from broadcaster.orders import Submitted
from broadcaster.passkey import options_to_prove
from broadcaster.roster import Person
from broadcaster.update import UpdateKind
from streams.gate import judge_decision
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_hook import SITE, enrolled
from tests.broadcaster.desk.test_hook import post as hook

INCIDENT_URL = "http://127.0.0.1:8080/p/{}".format
OLD, NEW = "66100 block of Pierson Blvd", "66400 block of Pierson Blvd"


@pytest.fixture
async def lapsed(ledger: Ledger, clock: scene.HeldClock, submitted: Submitted) -> Submitted:
    """The submission, and CAD says a minute later that it is elsewhere."""
    await moved(ledger, clock)
    return submitted


async def moved(ledger: Ledger, clock: scene.HeldClock, place: str = NEW) -> None:
    clock.on(minutes=1)
    await scene.add_incident(ledger, clock.now(), place=place)


async def shown(client: TestClient, person: Person, path: str) -> str:
    """What a page says to a person, without its tags."""
    return " ".join(Markup(await page_of(client, person, path)).striptags().split())


async def page_of(client: TestClient, person: Person, path: str) -> str:
    await scene.sign_in(client, person)
    answer = await client.get(path, headers=scene.PAGE)
    assert answer.status == 200
    return await answer.text()


async def press(client: TestClient, path: str, fields: Mapping[str, str]) -> tuple[int, str]:
    answer = await client.post(
        path, data=dict(fields), headers={**scene.SAME_ORIGIN, **scene.PAGE},
        allow_redirects=False,
    )  # fmt: skip
    return answer.status, await answer.text()


def form(page: str, id_: str) -> dict[str, str]:
    """The hidden fields of the form that holds an element."""
    [found] = [each for each in re.findall(r"<form.*?</form>", page, re.S) if f'id="{id_}"' in each]
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', found)
    return {name: str(Markup(value).unescape()) for name, value in hidden}


async def detail(client: TestClient, request_id: str) -> dict[str, Any]:
    return await (await client.get(f"/api/v1/approval-requests/{request_id}")).json()


# --- The Commander's page ---------------------------------------------------------------------


async def test_what_changed_is_shown_before_and_after_and_kept_with_one_button(
    client: TestClient, ledger: Ledger, lapsed: Submitted, persons: scene.Persons
) -> None:
    path = f"/a/{lapsed.request.id}"
    seen = await shown(client, persons.watch, path)
    assert f"Place: − was: “{OLD}” + is now: “{NEW}” reported 14:03" in seen
    assert "Keep these words, EXERCISE: 2 channels" in seen and "Approve EXERCISE" not in seen
    assert "Return with this note" not in seen, "what lapsed is not given back"
    fields = form(await page_of(client, persons.watch, path), "approve")
    status, _ = await press(client, path, {**fields, "verdict": "approved"})
    assert status == 303
    decision = await ledger.read(lambda tx: approvals.decision_of(tx, lapsed.request.id))
    assert decision is not None and decision.decision.keeps == fields["keeps"]
    assert "Approved; it is being released" in await shown(client, persons.watch, path)


async def test_a_fact_that_changes_under_the_thumb_is_refused_and_shown(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, lapsed: Submitted,
    persons: scene.Persons,
) -> None:  # fmt: skip
    path = f"/a/{lapsed.request.id}"
    fields = form(await page_of(client, persons.watch, path), "approve")
    await moved(ledger, clock, "Palm Dr / 8th St")
    status, page = await press(client, path, {**fields, "verdict": "approved"})
    assert status == 409 and "is now Palm Dr / 8th St" in page
    assert form(page, "approve")["keeps"] != fields["keeps"]


async def test_who_else_looks_sees_that_the_commander_may_keep_it(
    client: TestClient, lapsed: Submitted, persons: scene.Persons
) -> None:
    for person in (persons.pio, persons.records):
        seen = await shown(client, person, f"/a/{lapsed.request.id}")
        assert "The Watch Commander may keep them, knowing that, until 14:12" in seen
        assert "Keep these words," not in seen


async def test_nothing_is_kept_of_an_incident_that_is_over(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted,
    incident: incidents.Kept, persons: scene.Persons,
) -> None:  # fmt: skip
    clock.on(minutes=1)
    await scene.add_incident(ledger, clock.now(), place=OLD, status=Status.CLOSED)
    seen = await shown(client, persons.watch, f"/a/{submitted.request.id}")
    assert "The incident is over, so nobody may approve these words any more" in seen
    assert "Keep these words" not in seen
    seen = await shown(client, persons.pio, f"/incidents/{incident.incident.id}")
    assert "Status: − was: “open” + is now: “closed”" in seen and "Write the all clear" in seen
    assert "Send again with the new facts" not in seen


# --- From a program ---------------------------------------------------------------------------


async def test_the_hook_and_the_api_take_a_keep(
    client: TestClient, ledger: Ledger, lapsed: Submitted, persons: scene.Persons
) -> None:
    phone = await enrolled(ledger, persons.watch)
    await scene.sign_in(client, persons.watch)
    told = await detail(client, lapsed.request.id)
    [change] = told["changed"]
    assert (change["name"], change["was"], change["now"]) == ("place", OLD, NEW)
    request = lapsed.request

    def body(signs: str | None) -> dict[str, Any]:
        signed = request.challenge("approved", request.digest, request.epoch, signs)
        asks = options_to_prove(SITE, challenge=signed, allowed=[])
        return {
            "request_id": request.id, "verdict": "approved", "revision_id": request.revision_id,
            "digest": request.digest, "idempotency_key": "hook-key-1", "keeps": told["keeps"],
            "proof": phone.prove(asks),
        }  # fmt: skip

    status, answer = await hook(client, request.id, body(None))
    assert (status, answer["code"]) == (403, "passkey_not_proven"), "an approval keeps nothing"
    status, answer = await hook(client, request.id, body(told["keeps"]))
    assert (status, answer["verdict"]) == (200, "approved")
    after = await detail(client, request.id)
    assert (after["changed"], after["keeps"]) == ([], None)


# --- The PIO's page ---------------------------------------------------------------------------


async def test_the_pio_sees_why_and_sends_it_again_with_one_button(
    client: TestClient, ledger: Ledger, lapsed: Submitted, persons: scene.Persons
) -> None:
    path = f"/incidents/{lapsed.request.incident_id}"
    page = await page_of(client, persons.pio, path)
    seen = await shown(client, persons.pio, path)
    assert f"Update #1 lapsed Place: − was: “{OLD}” + is now: “{NEW}”" in seen
    assert "The Watch Commander may keep these words, knowing that, until 14:12" in seen
    fields = form(page, "new-facts")
    status, answer = await press(client, path, {**fields, "act": "new_facts"})
    assert status == 422 and "Read them once more, and tick the statement" in answer
    status, _ = await press(client, path, {**fields, "act": "new_facts", "attested": "on"})
    assert status == 303
    [newest, _] = await ledger.read(
        lambda tx: approvals.revisions_of(tx, lapsed.request.incident_id)
    )
    assert (newest.number, newest.area, newest.kind) == (1, NEW, UpdateKind.UPDATE)
    assert all(NEW in each.text and OLD not in each.text for each in newest.renderings)
    assert newest.update_id == lapsed.revision.update_id
    kept = await scene.request_of(ledger, lapsed.request.id)
    assert kept.request.state is RequestState.LAPSED
    seen = await shown(client, persons.watch, f"/a/{lapsed.request.id}")
    assert "Open the newer request" in seen and "Keep these words," not in seen


async def test_sending_it_again_is_refused_where_another_fact_is_shown_by_now(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, lapsed: Submitted,
    persons: scene.Persons,
) -> None:  # fmt: skip
    path = f"/incidents/{lapsed.request.incident_id}"
    fields = form(await page_of(client, persons.pio, path), "new-facts")
    await moved(ledger, clock, "Palm Dr / 8th St")
    status, page = await press(client, path, {**fields, "act": "new_facts", "attested": "on"})
    assert status == 409 and "Palm Dr / 8th St" in form(page, "new-facts")["seen_place"]
    assert len(await ledger.read(lambda tx: approvals.revisions_of(
        tx, lapsed.request.incident_id))) == 1  # fmt: skip


async def test_what_a_hand_wrote_gets_the_new_place_too(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, incident: incidents.Kept,
    persons: scene.Persons,
) -> None:  # fmt: skip
    said = {"text": f"Stay away from the {OLD}. Gas.", "own_texts": {"partners": f"Gas at {OLD}."}}
    await scene.submit(ledger, scene.order_for(incident, clock.now(), **said), persons.pio)
    await moved(ledger, clock)
    path = f"/incidents/{incident.incident.id}"
    seen = await shown(client, persons.pio, path)
    assert f"Stay away from the {NEW}. Gas." in seen and f"Gas at {NEW}." in seen


# --- What is out, and what is held ------------------------------------------------------------


async def test_what_is_out_with_the_old_words_is_listed_and_what_is_held_can_be_kept(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, released: AnyRelease,
    persons: scene.Persons,
) -> None:  # fmt: skip
    """The public page has it; the partner agencies not yet."""
    await moved(ledger, clock)
    path, release = f"/incidents/{released.incident_id}", f"/releases/{released.id}"
    seen = await shown(client, persons.pio, path)
    assert "Out with the old words: #1, Public page since 14:02" in seen
    assert "Correct #1 Take #1 back" in seen and "Held #1 on Partner agencies: not sent" in seen
    assert "Ask Lt Baker to let #1 go as it stands" in seen
    assert "Correct #1" not in await shown(client, persons.records, path)
    assert 'id="keep"' not in await page_of(client, persons.records, release)
    assert 'id="keep"' in await page_of(client, persons.pio, release)
    status, _ = await press(client, f"{release}/keep", {})
    assert status == 303
    [asked] = await ledger.read(lambda tx: approvals.open_requests(tx, released.incident_id))
    address = f"/a/{asked.request.id}"
    seen = await shown(client, persons.watch, address)
    assert "Keep these words, EXERCISE: 2 channels" in seen and "Return with this note" in seen
    assert "Out with the old words: #1, Public page since 14:02" in seen
    page = await page_of(client, persons.watch, address)
    assert 'id="edit"' not in page
    status, _ = await press(client, address, {**form(page, "approve"), "verdict": "approved"})
    assert status == 303
    decision = await ledger.read(lambda tx: approvals.decision_of(tx, asked.request.id))
    assert decision is not None
    await ledger.write(judge_decision(decision.decision.id, "exercise", INCIDENT_URL))
    states = {post.channel: post.state for post in await ledger.read(
        lambda tx: posts.of_release(tx, released.id))}  # fmt: skip
    assert states == {"public_page": PostState.POSTED, "partners": PostState.WAITING}
    seen = await shown(client, persons.watch, address)
    assert "Kept 14:03:00" in seen and "what was held goes out" in seen
    story = await shown(client, persons.pio, path)
    assert "What was held goes out as it stands: partners" in story
    assert "knowing what has changed: place: " in story


async def test_what_is_out_is_taken_back_from_its_page(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, released: AnyRelease,
    persons: scene.Persons,
) -> None:  # fmt: skip
    clock.on(minutes=1)
    path = f"/releases/{released.id}"
    said = "We take back our update #1 ("
    assert said in await shown(client, persons.pio, path)
    assert 'id="take-back-now"' not in await page_of(client, persons.records, path)
    await scene.sign_in(client, persons.records)
    assert (await press(client, f"{path}/take-back", {}))[0] == 403
    await page_of(client, persons.supervisor, path)
    answer = await client.post(f"{path}/take-back", headers=scene.SAME_ORIGIN,
                               allow_redirects=False)  # fmt: skip
    assert answer.status == 303
    address = answer.headers["Location"]
    [newest, _] = await ledger.read(lambda tx: approvals.revisions_of(tx, released.incident_id))
    decision = await ledger.read(lambda tx: approvals.decision_of(tx, address.split("/")[-1]))
    assert decision is not None
    incident = f"/incidents/{released.incident_id}"
    assert "Sgt Cole took it back: #2 is being released" in await shown(
        client, persons.pio, incident
    )
    await ledger.write(judge_decision(decision.decision.id, "exercise", INCIDENT_URL))
    seen = await shown(client, persons.pio, address)
    assert "Released" in seen and said in seen
    [retraction, _] = await ledger.read(lambda tx: releases.of_incident(tx, released.incident_id))
    assert (retraction.revision_id, retraction.channels) == (newest.id, released.channels)
    assert "taken back by Sgt Cole" in await shown(
        client, persons.pio, f"/releases/{retraction.id}"
    )
    assert "Took it back, as #2, in the words approved for that" in await shown(
        client, persons.pio, incident
    )
    status, page = await press(client, f"{path}/take-back", {})
    assert status == 409 and "This was taken back already" in page


async def test_the_api_takes_back_too_and_shows_what_is_prepared(
    client: TestClient, released: AnyRelease, submitted: Submitted, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    prepared = (await detail(client, submitted.request.id))["retraction"]
    assert [each["channel"] for each in prepared] == ["public_page", "partners"]
    answer = await client.post(
        f"/api/v1/releases/{released.id}/take-back",
        headers={**scene.SAME_ORIGIN, **scene.PROGRAM},
    )
    told = await answer.json()
    assert (answer.status, told["revision"]["kind"]) == (201, "retraction")


async def test_the_commander_reads_what_would_take_it_back(
    client: TestClient, submitted: Submitted, persons: scene.Persons
) -> None:
    seen = await shown(client, persons.watch, f"/a/{submitted.request.id}")
    assert "To take it back: ready, and approved with it" in seen
    assert "We take back our update #1 (" in seen


async def test_asking_to_keep_nothing_says_so(
    client: TestClient, released: AnyRelease, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    status, page = await press(client, f"/releases/{released.id}/keep", {})
    assert status == 409 and "Nothing is held of this release" in page
    answer = await client.post(
        f"/api/v1/releases/{released.id}/keep", headers={**scene.SAME_ORIGIN, **scene.PROGRAM}
    )
    assert (answer.status, (await answer.json())["code"]) == (409, "nothing_to_keep")


async def test_the_api_asks_to_keep_too(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, released: AnyRelease,
    persons: scene.Persons,
) -> None:  # fmt: skip
    await moved(ledger, clock)
    await scene.sign_in(client, persons.pio)
    answer = await client.post(
        f"/api/v1/releases/{released.id}/keep", headers={**scene.SAME_ORIGIN, **scene.PROGRAM}
    )
    asked = await answer.json()
    assert (answer.status, asked["digest"]) == (201, released.digest)
    told = await detail(client, asked["id"])
    [old] = told["old_words"]
    assert [post["channel"] for post in old["out"]] == ["public_page"]
    assert [post["channel"] for post in old["held"]] == ["partners"] and old["may_be_kept"]
