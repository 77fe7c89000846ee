"""Private facts stop at the door: what no allow-list names is nowhere afterwards.

Each field that no mapping names holds a word that stands nowhere else; so do broken messages, and
what is cut off a place. After the whole path those words are looked for in every topic, file,
page, feed and answer.
"""

from __future__ import annotations

import csv
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.connected.installation import (
    COMMANDER,
    PIO,
    Embedded,
    Installation,
    Json,
    ask,
    signed,
    until,
)
from tests.connected.production import Fresh, Production

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: By how it came, the word that must be nowhere.
WORDS = {way: f"zq{uuid.uuid4().hex[:12]}" for way in (
    "http field", "http name", "http nested", "http header", "http query", "http broken",
    "http value", "place", "topic field", "topic broken", "topic value", "topic key",
    "topic twice", "file column", "file row", "file value",
)}  # fmt: skip

INTAKE = "incident.intake"

#: The installation, and the incident and the request that were told there.
Told = tuple[Installation, Json]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def told(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    """Everything came in, and two updates went out."""
    async with fresh(receivers={"county": True}, sweep_seconds=0.5, log_level="debug") as at:
        report = await by_http(at)
        await by_topic(at, report["incident_number"])
        await by_file(at, tmp_path_factory.mktemp("export") / "calls.csv")
        incident_id = at.incident_of(report)
        await at.commanded(incident_id)
        seen = await at.suggested(incident_id)
        for _ in range(2):
            request = await at.approved(seen)
            await at.settled(request)
        await at.drained()
        yield at, {"incident": seen["incident"], "request": request}


def loaded(at: Installation, way: str, **fields: object) -> Json:
    """A report that holds more than its schema names."""
    word = WORDS[f"{way} field"]
    return at.report(
        **{"caller_name": word, "narrative": f"She said {word}.", "plate": word, **fields}
    )


async def by_http(at: Installation) -> Json:
    report = loaded(
        at, "http", place=f"48731 Pierson Blvd Apt 4 {WORDS['place']}",
        caller={"name": {"first": WORDS["http nested"]}, "phones": [WORDS["http nested"]]},
        **{WORDS["http name"]: "a field's own name"},
    )  # fmt: skip
    body = at.bytes_of(report)
    assert at.http is not None
    answer = await ask(
        at.http, "POST", f"/api/v1/reports?q={WORDS['http query']}", data=body,
        headers={**signed(at.cad_secret, report["id"], body), "X-Note": WORDS["http header"],
                 "User-Agent": WORDS["http header"]},
    )  # fmt: skip
    assert (answer.status, answer.body["unknown_fields"]) == (202, 5)
    for broken in (
        f'{{"narrative": "{WORDS["http broken"]}", '.encode(),
        f'{{"{WORDS["http broken"]}": 1, "{WORDS["http broken"]}": 2}}'.encode(),
        at.bytes_of(at.report(id="value-1", type=WORDS["http value"])),
        at.bytes_of(at.report(id="value-1", status=WORDS["http value"])),
        at.bytes_of(at.report(id="value-1", reported_at=WORDS["http value"])),
        at.bytes_of(at.report(id="value-1", source=WORDS["http value"])),
    ):
        refused = await at.send_raw(broken, "value-1")
        assert 400 <= refused.status < 500
        assert not [way for way in WORDS if WORDS[way].encode() in refused.raw]
    return report


async def by_topic(at: Installation, number: str) -> None:
    word = WORDS["topic value"]
    await at.produce(
        at.bytes_of(loaded(at, "topic", incident_number=number)),
        f'{{"narrative": "{WORDS["topic broken"]}", '.encode(),
        f'{{"{WORDS["topic twice"]}": 1, "{WORDS["topic twice"]}": 2}}'.encode(),
        at.bytes_of(at.report(type=word)), at.bytes_of(at.report(latitude=word)),
        key=WORDS["topic key"].encode(),
    )  # fmt: skip

    async def all_noted() -> bool:
        listed = (await at.order("problems_list", all=True))["problems"]
        return [each["place"]["topic"] for each in listed].count(at.topic(INTAKE)) == 4

    await until("what is broken is noted", all_noted)


async def by_file(at: Installation, file: Path) -> None:
    now = str(int((time.time() - 60) * 1000))
    good = {"IncidentNumber": "S-1", "ProblemType": "Fire", "Address": "900 S San Manuel",
            "LAT": "29.418571", "LON": "-98.558526", "ResponseDate": now,
            "Narrative": WORDS["file column"], "URL": WORDS["file column"]}  # fmt: skip
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, good)
        writer.writeheader()
        writer.writerow(good)
        writer.writerow({**good, "IncidentNumber": "S-2", "LAT": WORDS["file value"]})
        writer.writerow({**good, "IncidentNumber": "S-3", "ProblemType": WORDS["file value"]})
        out.write(f"{WORDS['file row']},and too few\r\n")
    code, printed, err = await at.run("replay", str(file), "--map", "sapd", "--json")
    said = json.loads(printed)
    assert (code, said["accepted"], said["refused"]) == (0, 2, 2), err
    assert not found_in(printed.encode() + err.encode())


def found_in(data: bytes) -> list[str]:
    """The ways whose word stands in some bytes; and of the place, the house itself."""
    ways = [way for way, word in WORDS.items() if word.encode() in data]
    return ways + (["house number"] if b"48731 Pierson" in data else [])


async def test_they_are_in_no_topic_but_the_one_that_cad_writes(told: Told) -> None:
    at, _ = told
    by_name = await all_messages(at)
    assert len(by_name) == 8 and all(by_name.values()), "each topic was written to"
    seen = found_in(b"".join(by_name.pop(at.topic(INTAKE))))
    assert set(seen) == {way for way in WORDS if way.startswith("topic")}, "they were there"
    for name, messages in by_name.items():
        assert found_in(b"".join(messages)) == [], name


async def all_messages(at: Installation) -> dict[str, list[bytes]]:
    """Keys, values and headers of every message of every topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=at.broker)
    await admin.start()
    names = [name for name in await admin.list_topics() if name.startswith(at.topic(""))]
    places = [TopicPartition(topic["topic"], part["partition"])
              for topic in await admin.describe_topics(names)
              for part in topic["partitions"]]  # fmt: skip
    await admin.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=at.broker, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[str, list[bytes]] = {name: [] for name in names}
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning()

        async def nothing_more() -> bool:
            batches: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=500)
            for place, records in batches.items():
                for each in records:
                    found[place.topic] += [each.key or b"", each.value or b"",
                                           *(value for _, value in each.headers)]  # fmt: skip
            return not batches and all(found.values())

        await until("all is read", nothing_more)
    finally:
        await consumer.stop()
    return found


async def test_they_are_on_no_page_and_in_no_answer(told: Told) -> None:
    at, seen = told
    incident, request = seen["incident"], seen["request"]
    for path in (
        "/", "/?tab=off", "/?tab=open", f"/incidents/{incident['id']}", f"/a/{request['id']}",
        "/record", "/problems", "/p", f"/p/{incident['public_id']}", "/p/feed.json",
        "/p/feed.atom", "/p/feed.rss", "/p/cap.atom", "/metrics", "/readyz",
        "/api/v1/incidents", "/api/v1/incidents?show=kept-off", "/api/v1/incidents?show=closed",
        f"/api/v1/incidents/{incident['id']}", f"/api/v1/approval-requests/{request['id']}",
    ):  # fmt: skip
        for name in (PIO, COMMANDER):
            person = await at.person(name)
            for accept in ("text/html", "application/json"):
                answer = await ask(person.session, "GET", path, headers={"Accept": accept})
                assert answer.status == 200, (path, answer)
                assert found_in(answer.raw) == [], path
                assert answer.raw


async def test_they_are_in_no_answer_of_the_command_line(told: Told) -> None:
    at, _ = told
    for name, arguments in {"problems_list": {"all": True}, "status": {}, "verify": {}}.items():
        answer = await at.order(name, **arguments)
        assert found_in(json.dumps(answer).encode()) == []
    code, out, err = await at.run("problems", "list", "--all")
    assert code == 0 and len(out) > 500 and found_in(out.encode() + err.encode()) == []


async def test_they_are_in_no_file(told: Told) -> None:
    """While it runs, so that the journal is there: the raw bytes of ledger and logs."""
    at, _ = told
    if isinstance(at, Production):
        await at.laid_open()
    files = [file for file in at.home.parent.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    if isinstance(at, Embedded):
        assert names >= {"ledger.db", "ledger.db-wal", "broker.log"}
    assert names >= {log.name for log in at.logs()}
    for file in files:
        assert found_in(file.read_bytes()) == [], file.name
    whole = b"".join(file.read_bytes() for file in files)
    assert b"48700 block of Pierson Blvd" in whole, "what may be kept is there"
