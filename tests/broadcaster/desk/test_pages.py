"""Sign-in, release, record and problems: what each page says, and what it leaves alone."""

from __future__ import annotations

import json
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from sqlalchemy import update

from broadcaster import anchors
from broadcaster.approval import AnyRelease, RequestState
from broadcaster.delivery import PostState
from broadcaster.desk.marks import STATES
from broadcaster.desk.release import NEXT
from broadcaster.desk.story import STATUS_WORDS, WORDS
from broadcaster.errors import Refusal
from broadcaster.incident import Status
from broadcaster.intake.eido_types import TYPES
from broadcaster.ledger import Ledger, people, problems, records, schema
from broadcaster.record import CHAIN_TAG, Anchor, Kind, salted_digest
from broadcaster.settings import Settings
from broadcaster.type_names import NAMES, type_in_words
from tests.broadcaster.desk import scene


def test_everything_has_a_word_and_a_shape() -> None:
    assert {str(state) for state in (*PostState, *RequestState)} <= STATES.keys()
    assert set(PostState) == NEXT.keys()
    assert {str(kind) for kind in Kind} == {str(kind) for kind in WORDS}
    assert set(map(str, Status)) == STATUS_WORDS.keys()
    assert set(NAMES) == TYPES
    assert type_in_words("NEW") == "NEW"


# --- Sign-in ----------------------------------------------------------------------------------


async def test_the_chooser_says_what_each_person_does(
    client: TestClient, persons: scene.Persons
) -> None:
    answer = await client.get("/", headers=scene.PAGE)
    text = await answer.text()
    assert str(answer.url.path) == "/sign-in"
    assert "Public Information Officer: writes what is said" in text


async def test_a_link_signs_in_once_and_looking_uses_nothing_up(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    token = await ledger.write(lambda tx: people.enrol(tx, persons.pio.id, actor="test"))
    for _ in range(2):
        answer = await client.get(f"/enrol/{token}", headers=scene.PAGE)
        assert answer.status == 200 and "Enrol this device for A. Reyes" in await answer.text()
    sign_in = {"headers": {**scene.SAME_ORIGIN, **scene.PAGE}, "allow_redirects": False}
    answer = await client.post(f"/enrol/{token}", **sign_in)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert (await client.get("/", headers=scene.PAGE)).url.path == "/"
    answer = await client.post(f"/enrol/{token}", **sign_in)
    assert (answer.status, "no longer works" in await answer.text()) == (410, True)
    assert (await client.get(f"/enrol/{token}", headers=scene.PAGE)).status == 410


@pytest.mark.parametrize("path", ["/", "/incidents/x", "/a/x", "/releases/x", "/record",
                                  "/record.ndjson", "/problems", "/people",
                                  "/requests"])  # fmt: skip
async def test_nothing_is_shown_to_a_stranger(client: TestClient, path: str) -> None:
    answer = await client.get(path, headers=scene.PAGE, allow_redirects=False)
    assert answer.status == 303 and answer.headers["Location"].startswith("/sign-in?next=")


# --- Release ----------------------------------------------------------------------------------


async def test_a_release_says_who_when_where_and_what_next(
    client: TestClient, released: AnyRelease, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.records)
    text = await (await client.get(f"/releases/{released.id}", headers=scene.PAGE)).text()
    for words in (
        "compiled by A. Reyes", "approved by Lt Baker", released.digest[:4].upper(), "Posted",
        "Planned", "It is sent as soon as this channel is free.", "1 attempt", "See the proof",
    ):  # fmt: skip
        assert words in text
    assert (await client.get("/releases/none", headers=scene.PAGE)).status == 404


@pytest.mark.parametrize(("state", "offered"), [
    (PostState.PLANNED, True), (PostState.SENDING, True), (PostState.IN_DOUBT, True),
    (PostState.HELD, True), (PostState.POSTED, False), (PostState.EXPIRED, False),
])  # fmt: skip
async def test_stop_is_offered_while_anything_may_be_sent_or_sent_again(
    client: TestClient, ledger: Ledger, released: AnyRelease, persons: scene.Persons,
    state: PostState, offered: bool,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.pio)
    await ledger.write(
        lambda tx: tx.connection.execute(update(schema.posts).values(state=str(state)))
    )
    text = await (await client.get(f"/releases/{released.id}", headers=scene.PAGE)).text()
    assert ("Stop EXERCISE" in text) is offered


# --- Record -----------------------------------------------------------------------------------


async def test_the_record_verifies_against_its_anchor(
    client: TestClient, ledger: Ledger, settings: Settings, released: AnyRelease,
    persons: scene.Persons,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.records)
    number, hash_ = await ledger.read(records.head)
    anchors.add(settings.anchors_path, Anchor(number, hash_, "2026-11-22T22:05:00+00:00"))
    text = await (await client.get("/record", headers=scene.PAGE)).text()
    assert "The chain verifies" in text and f"anchor of entry {number}" in text
    anchors.add(settings.anchors_path, Anchor(number + 1000, hash_, "2026-11-22T22:06:00+00:00"))
    text = await (await client.get("/record", headers=scene.PAGE)).text()
    assert "The chain does not verify" in text and "entries are missing" in text


async def test_the_record_is_filtered_and_paged(
    client: TestClient, released: AnyRelease, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.records)

    async def entries(query: str) -> int:
        text = await (await client.get(f"/record?{query}", headers=scene.PAGE)).text()
        return text.count('<tr id="entry-')

    assert await entries("kind=UpdateReleased") == 1
    assert await entries(f"incident={released.incident_id}") > 5
    assert await entries("incident=none") == await entries("kind=Nonsense") == 0
    assert await entries("before=3") == 2


async def test_the_export_can_be_proved_without_us(
    client: TestClient, released: AnyRelease, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.records)
    body = await (await client.get("/record.ndjson")).text()
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    previous = lines[0]["previous_hash"]
    for line in lines:
        covered = f"{previous}\0{line['number']}\0{line['body']}".encode()
        assert line["previous_hash"] == previous
        assert line["hash"] == sha256(CHAIN_TAG + covered).hexdigest()
        digests = {
            field: salted_digest(bytes.fromhex(each["salt"]), each["value"])
            for field, each in line["private"].items()
        }
        assert digests == json.loads(line["body"])["private"]
        previous = line["hash"]


async def test_a_broken_record_is_said_at_the_top(
    client: TestClient, ledger: Ledger, released: AnyRelease, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.records)
    _break(ledger.path)
    text = await (await client.get("/record", headers=scene.PAGE)).text()
    assert "The chain does not verify" in text and "its hash differs" in text


def _break(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER entries_update_refused")
        connection.execute("UPDATE entries SET body = body || ' ' WHERE kind = 'UpdateReleased'")
    connection.close()


# --- Problems ---------------------------------------------------------------------------------


async def test_a_problem_is_dropped_by_who_may(
    client: TestClient, ledger: Ledger, persons: scene.Persons
) -> None:
    refusal = Refusal("not_json", "This message is not a JSON object.", "Send one JSON object.")
    place = problems.Place("kafka", "exercise.incident.intake", 0, 41)
    number = await ledger.write(lambda tx: problems.note(tx, place, refusal))

    async def drop() -> int:
        answer = await client.post(
            "/problems", data={"number": str(number)},
            headers={**scene.SAME_ORIGIN, **scene.PAGE}, allow_redirects=False,
        )  # fmt: skip
        return answer.status

    await scene.sign_in(client, persons.records)
    text = await (await client.get("/problems", headers=scene.PAGE)).text()
    assert "topic exercise.incident.intake, partition 0, offset 41" in text
    assert f"broadcaster problems retry {number}" in text and ">Drop<" not in text
    assert await drop() == 403
    await scene.sign_in(client, persons.supervisor)
    assert await drop() == 303
    text = await (await client.get("/problems?show=all", headers=scene.PAGE)).text()
    assert "Dropped" in text
    assert (await ledger.read(lambda tx: problems.get(tx, number or 0))).state == "dropped"
