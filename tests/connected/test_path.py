"""The whole path: a report becomes a public post, through the PIO and the Commander."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.connected.installation import (
    COMMANDER,
    OTHER,
    PIO,
    WATCH,
    Installation,
    Json,
    until,
)
from tests.connected.production import Fresh

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_POSTED = {"public_page": "posted", "county": "posted", "school": "posted"}


async def states(at: Installation, request: Json, *channels: str) -> dict[str, str]:
    posts = await at.settled(request, *channels)
    return {name: post["state"] for name, post in posts.items()}


async def id_on(at: Installation, request: Json, channel: str) -> str:
    """The id of a request's post on a channel."""
    posted: str = (await at.posts(request))[channel]["id"]
    return posted


# --- The ways in ------------------------------------------------------------------------------


async def test_a_signed_report_becomes_a_post_on_every_channel(at: Installation) -> None:
    seen = await at.opened(place="66123 Pierson Blvd")
    assert seen["suggestion"]["words"]["place"]["text"] == "66100 block of Pierson Blvd"
    request = await at.approved(seen)
    assert await states(at, request) == ALL_POSTED
    shown = {each["channel"]: each for each in (await at.request(request["id"]))["renderings"]}
    assert shown["public_page"]["text"].startswith("EXERCISE, NOT REAL. ")
    on_page = {item["id"]: item["content_text"] for item in await at.feed()}
    assert (
        on_page[f"urn:uuid:{await id_on(at, request, 'public_page')}"]
        == (shown["public_page"]["text"])
    )
    for name, receiver in at.receivers.items():
        assert receiver.acted()[await id_on(at, request, name)] == 1
        assert all(line["verified"] for line in receiver.lines("request"))


async def test_a_report_comes_by_its_topic(at: Installation) -> None:
    report = at.report()
    await at.produce(json.dumps(report).encode(), json.dumps(report).encode())
    incident = await until("it is compiled", lambda: at.numbered(report["incident_number"]))
    assert incident["reports"] == 1, "the same message twice is one report"
    await at.commanded(incident["id"])
    request = await at.approved(await at.suggested(incident["id"]))
    assert await states(at, request) == ALL_POSTED


async def test_a_report_comes_by_the_command_line(at: Installation) -> None:
    place = ("--type", "GASLEAKO", "--place", "66123 Pierson Blvd")
    code, out, err = await at.run("report", *place)
    assert (code, err) == (0, ""), err
    made = json.loads(out)
    await at.commanded(made["incident_id"])
    request = await at.approved(await at.suggested(made["incident_id"]))
    assert await states(at, request) == ALL_POSTED
    code, out, err = await at.run("report", *place, "--status", "Closed", "--number",
                                  made["number"])  # fmt: skip
    assert code == 0, err

    async def closed() -> bool:
        return not (await at.incident(made["incident_id"]))["incident"]["open"]

    await until("it is closed", closed)


async def test_the_same_report_again_gets_the_first_answer_again(at: Installation) -> None:
    report = at.report()
    first = await at.send_report(report)
    again = await at.send_report(report)
    assert (first.status, again.status) == (202, 200)
    assert again.body == {**first.body, "repeated": True}
    other = await at.send_report(report, priority=3)
    assert (other.status, other.body["code"], other.body["field"]) == (409, "repeated_id", "id")
    problems = (await at.order("problems_list"))["problems"]
    assert problems[0]["code"] == "repeated_id"


async def test_a_hundred_times_the_same_report_is_one(at: Installation) -> None:
    report = at.report()
    answers = await asyncio.gather(*(at.send_report(report) for _ in range(100)))
    assert sorted(each.status for each in answers) == [200] * 99 + [202]
    assert len({each.body["received_at"] for each in answers}) == 1
    seen = await at.suggested(at.incident_of(report))
    assert seen["incident"]["reports"] == 1


# --- Decisions --------------------------------------------------------------------------------


async def test_returned_with_a_note_mended_and_approved(at: Installation) -> None:
    seen = await at.opened()
    first = await at.submit(seen)
    bare = await at.decide(first, "returned")
    assert (bare.status, bare.body["code"]) == (422, "reason_missing")
    assert (await at.decide(first, "returned", reason="Say which side of the road.")).good
    again = await at.incident(seen["incident"]["id"])
    assert again["requests"][0]["why"] == "Say which side of the road."
    update_id = again["revisions"][0]["update_id"]
    second = await at.approved(seen, update_id=update_id, text="Gas leak, north side. Stay away.")
    assert await states(at, second) == ALL_POSTED
    detail = await at.request(second["id"])
    assert detail["number"] == 1, "the same update, in other words"
    assert "north side" in detail["renderings"][0]["text"]


async def test_declined_is_said_nowhere(at: Installation) -> None:
    seen = await at.opened()
    request = await at.submit(seen)
    assert (await at.decide(request, "declined", reason="Not to be said.")).good
    late = await at.decide(request)
    assert (late.status, late.body["code"]) == (409, "already_declined")
    await at.drained()
    assert (await at.request(request["id"]))["release"] is None
    assert seen["incident"]["public_id"] not in json.dumps(await at.feed())


async def test_a_decision_sent_again_is_one_decision(at: Installation) -> None:
    request = await at.submit(await at.opened())
    taps = [await at.decide(request, key="one tap, twice sent") for _ in range(2)]
    assert taps[0].good and taps[0].body == taps[1].body
    other = await at.decide(request, "declined", key="one tap, twice sent")
    assert (other.status, other.body["code"]) == (422, "key_reused")
    late = await at.decide(request)
    assert (late.status, late.body["code"]) == (409, "already_approved")
    assert await states(at, request) == ALL_POSTED


async def test_fifty_taps_at_once_are_one_decision(at: Installation) -> None:
    request = await at.submit(await at.opened())
    answers = await asyncio.gather(*(at.decide(request) for _ in range(50)))
    assert sorted(each.status for each in answers) == [200] + [409] * 49
    assert await states(at, request) == ALL_POSTED
    assert at.receivers["school"].acted()[await id_on(at, request, "school")] == 1


async def test_command_has_moved(at: Installation) -> None:
    seen = await at.opened()
    request = await at.submit(seen)
    await at.commanded(seen["incident"]["id"], OTHER)
    old = await at.decide(request)
    assert (old.status, old.body["code"], old.body["commander"]) == (409, "command_moved", OTHER)
    assert (await at.decide(request, by=OTHER)).good
    assert await states(at, request) == ALL_POSTED


async def test_who_may_not_decide(at: Installation) -> None:
    request = await at.submit(await at.opened())
    for name, code in ((PIO, "own_words"), (WATCH, "not_the_commander")):
        refused = await at.decide(request, by=name)
        assert (refused.status, refused.body["code"]) == (403, code)
    assert (await at.request(request["id"]))["request"]["state"] == "open"


async def test_the_watch_commander_takes_command_by_deciding(at: Installation) -> None:
    accepted = await at.send_report(at.report())
    seen = await at.suggested(accepted.body["incident_id"])
    request = await at.submit(seen)
    assert request["asked"] is None
    assert (await at.decide(request, by=WATCH)).good
    assert await states(at, request) == ALL_POSTED
    command = (await at.incident(seen["incident"]["id"]))["incident"]["command"]
    assert command["name"] == WATCH


async def test_words_lapse_when_a_fact_behind_them_changes(at: Installation) -> None:
    report = at.report()
    seen = await at.opened(**report)
    request = await at.submit(seen)
    number = report["incident_number"]
    await at.send_report(at.report(incident_number=number, place="Pierson Blvd / Palm Dr"))

    async def lapsed() -> bool:
        state: str = (await at.request(request["id"]))["request"]["state"]
        return state == "lapsed"

    await until("it lapsed", lapsed)
    late = await at.decide(request)
    assert (late.status, late.body["code"]) == (409, "facts_changed")
    told = await at.request(request["id"])
    assert [each["name"] for each in told["changed"]] == ["place"]
    assert (await at.decide(request, keeps="0" * 64)).body["code"] == "facts_changed"
    second = await at.submit(await at.suggested(seen["incident"]["id"], "place changed"))
    assert (await at.decide(second)).good
    assert await states(at, second) == ALL_POSTED


async def test_words_are_kept_by_who_knows_what_changed(at: Installation) -> None:
    report = at.report()
    request = await at.submit(await at.opened(**report))
    number = report["incident_number"]
    await at.send_report(at.report(incident_number=number, place="Pierson Blvd / Palm Dr"))

    async def keeps() -> str | None:
        found: str | None = (await at.request(request["id"]))["keeps"]
        return found

    signed = await until("it lapsed", keeps)
    assert (await at.decide(request, keeps=signed)).good
    assert await states(at, request) == ALL_POSTED


# --- Delivery ---------------------------------------------------------------------------------


async def test_a_receiver_that_asks_for_time_gets_it(at: Installation) -> None:
    school = at.receivers["school"]
    await school.set_ways("too-many:2,ok")
    request = await at.approved(await at.opened())
    assert await states(at, request) == ALL_POSTED
    post = await id_on(at, request, "school")
    first, second = (line for line in school.lines("request") if line["id"] == post)
    assert second["at"] - first["at"] >= 2, "Retry-After is honoured"
    assert school.acted()[post] == 1


async def test_a_receiver_that_is_down_gets_it_when_it_is_back(at: Installation) -> None:
    school = at.receivers["school"]
    school.end()
    request = await at.approved(await at.opened())
    assert (await states(at, request, "public_page", "county"))["county"] == "posted"

    async def tried() -> bool:
        return bool((await at.posts(request))["school"]["attempts"])

    await until("it was tried", tried)
    school.start()
    assert await states(at, request) == ALL_POSTED
    assert school.acted()[await id_on(at, request, "school")] == 1


async def test_an_answer_that_leaves_it_open(at: Installation) -> None:
    """Who dedupes is sent it again, and acts once; who does not is in doubt, and sent no more."""
    for receiver in at.receivers.values():
        await receiver.set_ways("error,ok")
    request = await at.approved(await at.opened())
    assert await states(at, request) == {**ALL_POSTED, "school": "in doubt"}
    assert at.receivers["county"].acted()[await id_on(at, request, "county")] == 1
    sent = [line["id"] for line in at.receivers["school"].lines("request")]
    assert sent.count(await id_on(at, request, "school")) == 1


async def test_in_order_within_an_incident(at: Installation) -> None:
    school = at.receivers["school"]
    await school.set_ways("too-many:2,ok")
    seen = await at.opened()
    first = await at.approved(seen)
    second = await at.approved(seen)
    third = await at.approved(seen)
    for request in (first, second, third):
        assert await states(at, request) == ALL_POSTED
    wanted = [await id_on(at, request, "school") for request in (first, second, third)]
    assert [each for each in school.acted() if each in wanted] == wanted


async def test_an_unsent_post_is_replaced_where_the_revision_says_so(at: Installation) -> None:
    school = at.receivers["school"]
    await school.set_ways("too-many:15,ok")
    seen = await at.opened()
    first = await at.approved(seen)

    async def waits() -> bool:
        state: str = (await at.posts(first))["school"]["state"]
        return state == "waiting"

    await until("it waits", waits)
    second = await at.approved(seen, replaces=[(await at.release(first))["id"]])
    assert await states(at, second) == ALL_POSTED
    assert await states(at, first) == {**ALL_POSTED, "school": "replaced"}
    assert school.acted()[await id_on(at, first, "school")] == 0
    assert school.acted()[await id_on(at, second, "school")] == 1


async def test_a_sick_channel_delays_no_other(fresh: Fresh) -> None:
    """I8, for the same incident and for another: all else is done while the first still waits."""
    async with fresh(receivers={"county": True, "school": False}) as at:
        await at.receivers["county"].set_ways("slow:60")
        one, other = await at.opened(), await at.opened()
        for seen in (one, other, one):
            request = await at.submit(seen)
            assert (await at.decide(request)).good
            posts = await at.settled(request, "public_page", "school")
            assert posts["county"]["state"] in ("planned", "sending")
            post = await id_on(at, request, "school")
            assert at.receivers["school"].acted()[post] == 1


async def test_the_pages_show_what_the_api_says(at: Installation) -> None:
    """Every page that a person opens on the way answers, and says the approved words."""
    seen = await at.opened()
    request = await at.approved(seen)
    await at.settled(request)
    said = (await at.request(request["id"]))["renderings"][0]["text"]
    pages: dict[str, Any] = {
        "/": None, f"/incidents/{seen['incident']['id']}": None, f"/a/{request['id']}": said,
        f"/p/{seen['incident']['public_id']}": said, "/p": None, "/record": None,
        "/problems": None,
    }  # fmt: skip
    commander = await at.person(COMMANDER)
    for path, words in pages.items():
        async with commander.session.get(path, headers={"Accept": "text/html"}) as response:
            page = await response.text()
        assert (response.status, response.content_type) == (200, "text/html"), path
        assert words is None or words.split(". ")[-1] in page, path
