"""Approval by voice on the desk's pages, without JavaScript, by practice persons."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from aiohttp.test_utils import TestClient

from broadcaster.approval import RequestState
from broadcaster.explain import update as explained
from broadcaster.handover import record_command
from broadcaster.ledger import Ledger, Tx, approvals, records, releases, voices
from broadcaster.orders import Submitted
from broadcaster.settings import Settings
from broadcaster.voice import MOST_WRONG, words_of
from streams.gate import judge_decision
from tests.broadcaster.desk import scene
from tests.story import EXERCISE


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings.model_validate(settings.model_dump() | {"voice_approval": True})


@pytest.fixture
async def codes(
    client: TestClient, ledger: Ledger, submitted: Submitted, persons: scene.Persons
) -> list[str]:
    """Sgt Ortiz commands, and has taken a list of codes."""
    await ledger.write(
        lambda tx: record_command(
            tx, submitted.request.incident_id, persons.commander.id, persons.pio
        )
    )
    await scene.sign_in(client, persons.commander)
    page = await (await post(client, "/me", codes="new"))[1]
    found = re.findall(r'class="code">(\d{4} \d{4})<', page)
    assert len(found) == 6
    return found


async def post(client: TestClient, path: str, **fields: str) -> tuple[int, object]:
    answer = await client.post(
        path, data=fields, headers=scene.SAME_ORIGIN | scene.PAGE, allow_redirects=False
    )
    return answer.status, answer.text()


async def page_of(client: TestClient, path: str) -> str:
    answer = await client.get(path, headers=scene.PAGE)
    assert answer.status == 200
    return await answer.text()


def heard(submitted: Submitted, persons: scene.Persons, code: str, at: str) -> dict[str, str]:
    return {
        "digest": submitted.request.digest, "idempotency_key": "a-key-of-mine",
        "commander": persons.commander.id, "reader": persons.pio.id, "code": code,
        "radio": "TAC 2", "heard_at": at,
    }  # fmt: skip
