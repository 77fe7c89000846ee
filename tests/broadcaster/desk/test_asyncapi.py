"""The document of the topics is AsyncAPI 3.0, and says what is written and read there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient
from jsonschema import Draft7Validator
from jsonschema.validators import validator_for

from broadcaster.intake.native import EXAMPLE
from broadcaster.subscribers import PostSettled, UpdateReleased

Json = dict[str, Any]

#: `schemas/3.0.0.json` of npm's @asyncapi/specs 6.11.1 (Apache-2.0), as it is published.
SCHEMA = Path(__file__).with_name("asyncapi-3.0.0.json.gz")


async def document(client: TestClient) -> Json:
    """As a stranger reads it: it holds no secret."""
    answer = await client.get("/api/v1/asyncapi.json")
    assert answer.status == 200
    found: Json = await answer.json()
    return found


def payload(document: Json, message: str) -> Json:
    """The schema of a message's body, with what it refers to."""
    body: Json = document["components"]["messages"][message]["payload"]
    return {**body, "components": document["components"]}


def checker() -> Draft7Validator:
    return Draft7Validator(json.loads(gzip.decompress(SCHEMA.read_bytes())))


async def test_it_is_asyncapi(client: TestClient) -> None:
    faults = checker().iter_errors(await document(client))
    assert [error.message for error in faults] == []


async def test_one_that_is_none_is_found_out(client: TestClient) -> None:
    wrong = await document(client)
    wrong["operations"]["tellRelease"]["action"] = "shout"
    assert not checker().is_valid(wrong)


async def test_it_names_the_topics_and_who_writes_them(client: TestClient) -> None:
    found = await document(client)
    addresses = {name: each["address"] for name, each in found["channels"].items()}
    assert addresses == {
        "incident.intake": "exercise.incident.intake",
        "updates.public": "exercise.updates.public",
        "posts.settled": "exercise.posts.settled",
    }
    acts = {each["channel"]["$ref"]: each["action"] for each in found["operations"].values()}
    assert acts == {
        "#/channels/incident.intake": "receive",
        "#/channels/updates.public": "send",
        "#/channels/posts.settled": "send",
    }
    kept = found["channels"]["updates.public"]["bindings"]["kafka"]["topicConfiguration"]
    assert kept == {"cleanup.policy": ["delete"], "retention.ms": 30 * 24 * 3600 * 1000}


async def test_a_report_is_described_by_what_validates_it(client: TestClient) -> None:
    schema = payload(await document(client), "NativeReport")
    check = validator_for(schema, Draft7Validator)
    check.check_schema(schema)
    assert check(schema).is_valid(EXAMPLE)
    assert not check(schema).is_valid({**EXAMPLE, "type": "NO-SUCH-TYPE"})


async def test_every_field_of_a_message_is_named(client: TestClient) -> None:
    found = await document(client)
    for model in (UpdateReleased, PostSettled):
        named = found["components"]["schemas"][model.__name__]
        assert set(named["properties"]) == set(model.model_fields) == set(named["required"])
