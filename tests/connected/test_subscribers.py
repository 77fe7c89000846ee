"""What subscribers read: every release in full and how each post ended, as AsyncAPI says it."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from jsonschema import Draft7Validator, FormatChecker

from broadcaster.trace import adopted
from tests.connected.installation import Installation, Json, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Read = dict[str, list["ConsumerRecord[bytes, bytes]"]]

#: What is released, and the installation where that was.
Told = tuple[Installation, list[Json], Read, Json]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def told(at: Installation) -> AsyncIterator[Told]:
    """Two releases, the second in the first one's place; what the topics hold; the document."""
    seen = await at.opened()
    first = await at.approved(seen)
    second = await at.approved(seen, replaces=[(await at.release(first))["id"]])
    for request in (first, second):
        await at.settled(request)
    await at.drained()
    document = (await at.get("/api/v1/asyncapi.json")).body
    details = [await at.request(request["id"]) for request in (first, second)]
    yield at, [{**each, "incident": seen["incident"]} for each in details], await read(at), document


async def read(at: Installation) -> Read:
    """All messages of the two topics, once those of six posts are there."""
    found: Read = {"updates.public": [], "posts.settled": []}
    names = {at.topic(name): name for name in found}
    consumer = AIOKafkaConsumer(
        *names, bootstrap_servers=at.broker, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:

        async def all_there() -> bool:
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                found[names[place.topic]] += records
            return (len(found["updates.public"]), len(found["posts.settled"])) >= (2, 6)

        await until("the topics are read", all_there)
    finally:
        await consumer.stop()
    return found


async def test_each_message_is_as_the_document_says(told: Told) -> None:
    _, _, messages, document = told
    for name, model in (("updates.public", "UpdateReleased"), ("posts.settled", "PostSettled")):
        said = document["components"]["messages"][model]
        for part, of in (("payload", body), ("headers", headers)):
            schema = {**said[part], "components": document["components"]}
            check = Draft7Validator(schema, format_checker=FormatChecker())
            for each in messages[name]:
                assert [error.message for error in check.iter_errors(of(each))] == []
        assert {each.topic for each in messages[name]} == {document["channels"][name]["address"]}


def body(message: ConsumerRecord[bytes, bytes]) -> Json:
    found: Json = json.loads(message.value or b"")
    return found


def headers(message: ConsumerRecord[bytes, bytes]) -> Json:
    return {name: value.decode() for name, value in message.headers}


async def test_each_release_comes_once_in_order_and_in_the_words_approved(told: Told) -> None:
    _, releases, messages, _ = told
    found = [body(each) for each in messages["updates.public"]]
    assert [each["release_id"] for each in found] == [each["release"]["id"] for each in releases]
    for message, release in zip(found, releases, strict=True):
        said = {each["channel"]: each["text"] for each in release["renderings"]}
        assert {each["channel"]: each["text"] for each in message["renderings"]} == said
        assert message["incident"] == release["incident"]["public_id"]
        assert message["digest"] == release["request"]["digest"]
    assert found[1]["replaces"] == [found[0]["release_id"]]


async def test_each_post_settles_under_its_release(told: Told) -> None:
    _, releases, messages, _ = told
    settled = [body(each) for each in messages["posts.settled"]]
    wanted = {(each["release"]["id"], post["id"], post["state"])
              for each in releases for post in each["release"]["posts"]}  # fmt: skip
    assert {(each["release_id"], each["post_id"], each["state"]) for each in settled} == wanted


async def test_key_id_and_trace_are_as_the_document_says(told: Told) -> None:
    _, releases, messages, _ = told
    incident = releases[0]["incident"]
    traces = set()
    for each in [*messages["updates.public"], *messages["posts.settled"]]:
        assert each.key == incident["public_id"].encode()
        assert headers(each)["message-id"] == str(uuid.UUID(body(each)["message_id"]))
        traces.add(adopted(headers(each)["traceparent"]))
    assert len(traces) == 1 and None not in traces


async def test_they_read_nothing_that_is_not_public(told: Told) -> None:
    at, releases, messages, _ = told
    incident = releases[0]["incident"]
    private = [incident["id"], incident["number"], *at.people.values(), *at.people]
    for each in [*messages["updates.public"], *messages["posts.settled"]]:
        whole = (each.value or b"").decode() + repr(headers(each))
        assert [word for word in private if word in whole] == []
