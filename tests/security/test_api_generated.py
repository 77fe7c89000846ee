"""The API asked for all that its own description allows, and for what it does not (Schemathesis).

Whatever comes, it answers what it said it would, and never fails. That strangers get nothing is
in test_routes.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from broadcaster.bootstrap import outside_topics
from broadcaster.desk.api import ACCEPT_REPORT, OPERATIONS
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk, Flow
from broadcaster.desk.openapi import Nothing, Operation, document
from broadcaster.desk.session import cookie_name
from broadcaster.intake.door import Door
from broadcaster.ledger import open_ledger, people
from broadcaster.settings import Settings
from tests.broadcaster.desk import scene

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance, negative_data_rejection, unsupported_method,
]  # fmt: skip

#: What is allowed, of each; what is not, where something besides the address is sent.
ASKED = [
    pytest.param(each, mode, id=f"{each.name}-{mode.value}")
    for each in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or each.body is not Nothing or each.query
]


@dataclass(frozen=True)
class Running:
    """A desk that listens, and what is on its ledger."""

    url: str
    cookies: dict[str, dict[str, str]]  #: by whose session it is
    ids: dict[str, str]  #: what stands in an address's place holders
    document: dict[str, Any]


async def _run(folder: Path, stack: AsyncExitStack) -> Running:
    ledger = open_ledger(folder / "ledger.db", "exercise")
    stack.push_async_callback(ledger.close)
    settings = Settings(home=folder)
    desk = Desk(
        settings=settings, ledger=ledger, intake=Door({}), channels=scene.CHANNELS,
        topics=outside_topics(settings), address="http://127.0.0.1:8080",
        flow=lambda: Flow(running=True),
    )  # fmt: skip
    persons = await scene.add_persons(ledger)
    now = await ledger.read(lambda tx: tx.now)
    incident = await scene.add_incident(ledger, now)
    waiting = await scene.submit(ledger, scene.order_for(incident, now), persons.pio)
    other = await scene.add_incident(ledger, now, number="2026-2")
    approved = await scene.submit(ledger, scene.order_for(other, now), persons.pio)
    release = await scene.approve(ledger, approved, persons.watch)
    server = await stack.enter_async_context(TestServer(make_app(desk), host="127.0.0.1"))
    name = cookie_name(desk)
    cookies = {
        each.name: {name: await ledger.write(lambda tx, each=each: people.sign_in(tx, each))}
        for each in (persons.pio, persons.watch)
    }
    ids = {
        "incident_id": incident.incident.id, "request_id": waiting.request.id,
        "release_id": release.id, "person_id": persons.commander.id,
    }  # fmt: skip
    return Running(str(server.make_url("")).rstrip("/"), cookies, ids,
                   document(desk, OPERATIONS, ACCEPT_REPORT))  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A desk in a thread of its own: whoever asks it here waits for the answer."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    stack = AsyncExitStack()
    try:
        yield run(_run(tmp_path_factory.mktemp("desk"), stack))
    finally:
        run(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def described(running: Running) -> Any:
    """What the API says of itself, as Schemathesis reads it; who asks is ours to say."""
    del running.document["components"]["securitySchemes"]
    for operations in running.document["paths"].values():
        for operation in operations.values():
            del operation["security"]
    return schemathesis.openapi.from_dict(running.document)


@pytest.mark.parametrize(("asked", "mode"), ASKED)
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_answers_as_it_says(
    asked: Operation[Any], mode: GenerationMode, data: st.DataObject, running: Running,
    described: Any,
) -> None:  # fmt: skip
    """Asked for what it allows and for what it does not, about what there is and what is not."""
    operation = described[asked.path][asked.method]
    case = data.draw(operation.as_strategy(generation_mode=mode))
    if data.draw(st.booleans(), "what there is"):
        case.path_parameters |= {
            name: running.ids.get(name, value) for name, value in case.path_parameters.items()
        }
    cookies = running.cookies[data.draw(st.sampled_from(sorted(running.cookies)), "asked by")]
    case.call_and_validate(
        base_url=running.url, checks=CHECKS, cookies=cookies, headers=scene.PROGRAM
    )
