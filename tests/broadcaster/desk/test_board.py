"""Which incidents need words, in what order, and the report that a person enters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from broadcaster.approval import AnyRelease, Verdict
from broadcaster.delivery import PostState
from broadcaster.desk.board import PAGE
from broadcaster.desk.needs import Need, Row, Seen, row
from broadcaster.handover import record_command
from broadcaster.incident import Report, Status, incident_id
from broadcaster.ledger import Ledger, Tx, board, incidents, posts, records, reports
from broadcaster.ledger.posts import Turn
from broadcaster.orders import Submitted, withdraw_request
from broadcaster.outcome import Next
from broadcaster.record import Kind
from broadcaster.roster import Person
from streams.compile import compile_reports
from tests.broadcaster.desk import scene
from tests.story import tapped

RowOf = Callable[..., Awaitable[Row]]

#: A form's own id.
FORM_ID = "0a0a0a0a-0000-4000-8000-000000000001"


@pytest.fixture
def row_of(ledger: Ledger, persons: scene.Persons, clock: scene.HeldClock) -> RowOf:
    """An incident's row, as somebody sees it."""

    async def row_of(incident: incidents.Kept, person: Person | None = None) -> Row:
        seen = Seen(
            person or persons.pio, {each.id: each.name for each in vars(persons).values()},
            {"partners": "Partner agencies"}, clock.now(), scene.ZONE,
        )  # fmt: skip

        def look(tx: Tx) -> Row:
            kept = incidents.get(tx, incident.incident.id)
            assert kept is not None
            return row(board.standings(tx, [kept])[0], seen)

        return await ledger.read(look)

    return row_of


async def reported(ledger: Ledger, clock: scene.HeldClock, **fields: object) -> None:
    """One more report about the scene's incident."""
    now = clock.now()
    report = Report(**{
        "source": "dhs-cad", "message_id": f"m-{now.timestamp()}-more", "number": "2026-004417",
        "type": "GASLEAKO", "opened_at": now, "reported_at": now, **fields,
    })  # fmt: skip
    await ledger.write(lambda tx: reports.accept(tx, report, actor="dhs-cad"))
    await ledger.write(compile_reports(report.id, department=scene.DEPARTMENT, zone=scene.ZONE))


async def test_a_suggestion_needs_an_update(row_of: RowOf, incident: incidents.Kept) -> None:
    row = await row_of(incident)
    assert row.need is Need.SUGGESTED
    assert (row.why, row.more, row.act) == ("Suggested: update #1", "new incident", "Write update")


async def test_a_request_waits_for_the_one_who_decides(
    row_of: RowOf,
    incident: incidents.Kept,
    submitted: Submitted,
    persons: scene.Persons,
    ledger: Ledger,
) -> None:
    assert (await row_of(incident, persons.watch)).need is Need.YOU
    assert (await row_of(incident)).why == "Waiting for the Watch Commander"
    await ledger.write(
        lambda tx: record_command(tx, incident.incident.id, persons.commander.id, persons.pio)
    )
    row = await row_of(incident, persons.commander)
    assert (row.need, row.link) == (Need.YOU, f"/a/{submitted.request.id}")
    assert (await row_of(incident, persons.watch)).why == "Waiting for Sgt Ortiz"


async def test_one_that_came_back_is_for_the_pio(
    row_of: RowOf,
    incident: incidents.Kept,
    submitted: Submitted,
    persons: scene.Persons,
    ledger: Ledger,
    clock: scene.HeldClock,
) -> None:
    order = scene.decision_on(submitted, Verdict.RETURNED, reason="Which side?")
    await ledger.write(lambda tx: tapped(tx, order, persons.watch))
    row = await row_of(incident)
    assert (row.need, row.why, row.more) == (Need.CAME_BACK, "Returned by Lt Baker", "Which side?")
    assert row.link == f"/incidents/{incident.incident.id}?from=returned:{submitted.revision.id}"


async def test_one_that_ran_out_is_asked_again(
    row_of: RowOf, incident: incidents.Kept, submitted: Submitted, clock: scene.HeldClock
) -> None:
    clock.on(minutes=11)
    row = await row_of(incident)
    assert (row.need, row.act) == (Need.CAME_BACK, "Ask again")


async def test_one_that_was_taken_back_is_suggested_again(
    row_of: RowOf,
    incident: incidents.Kept,
    submitted: Submitted,
    persons: scene.Persons,
    ledger: Ledger,
) -> None:
    await ledger.write(lambda tx: withdraw_request(tx, submitted.request.id, persons.pio))
    assert (await row_of(incident)).need is Need.SUGGESTED


async def test_told_and_true_needs_nothing(
    row_of: RowOf, incident: incidents.Kept, released: AnyRelease
) -> None:
    row = await row_of(incident)
    assert row.need is Need.NOTHING
    assert (row.told_number, row.promised is not None) == (1, True)


async def test_what_was_never_sent_in_time_needs_a_look_until_somebody_has_seen_it(
    row_of: RowOf,
    client: TestClient,
    incident: incidents.Kept,
    released: AnyRelease,
    persons: scene.Persons,
    ledger: Ledger,
    clock: scene.HeldClock,
) -> None:
    """On a dead channel, also after a later update."""

    def expires(tx: Tx) -> posts.Kept:
        [post] = [each for each in posts.of_release(tx, released.id) if not each.state.ended]
        posts.turn(tx, [Turn(post, Next(PostState.EXPIRED, why="Its time ran out."))])
        return post

    missed = await ledger.write(expires)
    clock.on(seconds=1)
    await scene.told(ledger, incident, persons, clock.now())
    row = await row_of(incident)
    assert (row.need, row.why) == (Need.CHANNEL, "Partner agencies: Expired")
    assert (row.more, row.link) == ("Its time ran out.", f"/releases/{released.id}")
    await scene.sign_in(client, persons.pio)
    shows = lambda: client.get(row.link, headers=scene.PAGE)  # noqa: E731
    assert f'id="seen-{missed.id}"' in await (await shows()).text()
    sees = lambda: client.post(  # noqa: E731
        f"{row.link}/posts/{missed.id}/seen", data={},
        headers={**scene.SAME_ORIGIN, **scene.PAGE}, allow_redirects=False,
    )  # fmt: skip
    assert (await sees()).status == 303
    assert (await row_of(incident)).need is Need.NOTHING
    page = await (await shows()).text()
    assert f"{persons.pio.name} has seen it" in page and f'id="seen-{missed.id}"' not in page
    assert (await sees()).status == 409
    told = await ledger.read(lambda tx: records.of_incident(tx, incident.incident.id))
    [entry] = [each for each in told if each["kind"] == Kind.POST_ALARM_SEEN]
    assert (entry["actor"], entry["public"]["found"]) == (persons.pio.id, "expired")


async def test_facts_that_moved_come_before_a_broken_promise(
    row_of: RowOf,
    incident: incidents.Kept,
    released: AnyRelease,
    ledger: Ledger,
    clock: scene.HeldClock,
) -> None:
    clock.on(minutes=16)
    assert (await row_of(incident)).need is Need.OVERDUE
    await reported(ledger, clock, place="66200 block of Pierson Blvd")
    row = await row_of(incident)
    assert (row.need, row.more) == (Need.CHANGED, "suggested: update #2")
    assert row.why == "The place changed since the public was told"


async def test_closed_without_an_all_clear(
    row_of: RowOf,
    incident: incidents.Kept,
    released: AnyRelease,
    ledger: Ledger,
    clock: scene.HeldClock,
) -> None:
    clock.on(minutes=2)
    await reported(ledger, clock, status=Status.CLOSED)
    row = await row_of(incident)
    assert (row.need, row.act) == (Need.ALL_CLEAR, "Give the all clear")
    clock.on(days=2)
    assert (await row_of(incident)).need is Need.NOTHING  # the update's own time ran out


async def test_a_held_type_is_on_the_board_without_a_suggestion(
    row_of: RowOf, ledger: Ledger, clock: scene.HeldClock
) -> None:
    held = await scene.add_incident(ledger, clock.now(), number="2", type_="BARICADE")
    row = await row_of(held)
    assert (row.need, row.why) == (Need.UNTOLD, "Held")


async def test_tabs_and_paging(
    client: TestClient, ledger: Ledger, persons: scene.Persons, clock: scene.HeldClock
) -> None:
    for number in range(PAGE + 1):
        await scene.add_incident(ledger, clock.now(), number=f"n{number}", type_="NOISE")
    await scene.sign_in(client, persons.records)
    first = await (await client.get("/?tab=off", headers=scene.PAGE)).text()
    second = await (await client.get("/?tab=off&page=2", headers=scene.PAGE)).text()
    assert first.count('<li class="row') == PAGE and second.count('<li class="row') == 1
    assert "not on the list of those that the public is told about" in first
    needs = await (await client.get("/?page=999999999", headers=scene.PAGE)).text()
    assert "Nothing needs words now." in needs


async def post(client: TestClient, **fields: str) -> ClientResponse:
    form = {"type": "GASLEAKO", "status": "Active", "place": "66142 Pierson Blvd", **fields}
    return await client.post(
        "/", data=form, headers={**scene.SAME_ORIGIN, **scene.PAGE}, allow_redirects=False
    )


async def test_a_persons_report_is_taken_once(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    answers = [await post(client, message_id=FORM_ID) for _ in range(2)]
    assert [answer.status for answer in answers] == [303, 303]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert await ledger.read(reports.count) == 1


async def test_a_wrong_report_keeps_what_was_typed(
    client: TestClient, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    answer = await post(client, place="behind the <old> mill")
    text = await answer.text()
    assert answer.status == 422
    assert 'value="behind the &lt;old&gt; mill"' in text and 'aria-invalid="true"' in text


async def test_who_may_not_report_is_told_who_may(
    client: TestClient, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.records)
    answer = await post(client)
    assert answer.status == 403
    assert "Enter a report" not in await (await client.get("/", headers=scene.PAGE)).text()


@pytest.mark.parametrize("status", [Status.RESOURCES_ONSCENE, Status.CLOSED])
async def test_a_report_lands_on_its_incident_not_on_a_namesake(
    client: TestClient,
    ledger: Ledger,
    persons: scene.Persons,
    clock: scene.HeldClock,
    status: Status,
) -> None:
    """Two systems may give one number; the one heard of last is not the one that is meant."""
    meant = await scene.add_incident(ledger, clock.now(), number="2026-1")
    clock.on(minutes=1)
    await reported(ledger, clock, source="fire-cad", number="2026-1", type="FSTRU")
    namesake = incident_id("exercise", "fire-cad", "2026-1")
    before = await ledger.read(lambda tx: incidents.get(tx, namesake))
    clock.on(minutes=1)
    await scene.sign_in(client, persons.pio)
    answer = await post(
        client, incident_number=meant.incident.id, status=status, place="", message_id=FORM_ID
    )
    assert answer.status == 303
    assert answer.headers["Location"] == f"/?reported={meant.incident.id}#reported"
    sent = Report(
        source="dhs-cad", message_id=FORM_ID, number="2026-1", type="GASLEAKO",
        opened_at=clock.now(), reported_at=clock.now(),
    )  # fmt: skip
    step = compile_reports(sent.id, department=scene.DEPARTMENT, zone=scene.ZONE)
    assert await ledger.write(step)
    after = await ledger.read(lambda tx: incidents.get(tx, meant.incident.id))
    assert after is not None and after.incident.status.value == status
    assert await ledger.read(lambda tx: incidents.get(tx, namesake)) == before


async def test_who_may_report_may_not_always_close(
    client: TestClient, ledger: Ledger, persons: scene.Persons, incident: incidents.Kept
) -> None:
    await scene.sign_in(client, persons.supervisor)
    about = {"incident_number": incident.incident.id, "place": ""}
    for status in ("Closed", "Cancelled"):
        answer = await post(client, status=status, **about)
        assert answer.status == 403
        assert "may not close an incident" in await answer.text()
    assert await ledger.read(reports.count) == 1, "the one that CAD sent"
    assert (await post(client, **about)).status == 303
