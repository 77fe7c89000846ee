"""A desk on a real ledger, with people and incidents, for every test of its pages."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import jinja2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import etree

from broadcaster.approval import AnyRelease
from broadcaster.bootstrap import outside_topics
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk, Flow
from broadcaster.desk.templating import ENVIRONMENT
from broadcaster.intake.door import Door
from broadcaster.ledger import Ledger, incidents, open_ledger
from broadcaster.orders import Submitted
from broadcaster.settings import Settings
from tests.broadcaster.desk import scene

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def clock() -> scene.HeldClock:
    return scene.HeldClock(scene.a_time())


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new ledger's file: made once, since Alembic takes its time, and copied for each test."""
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    asyncio.run(open_ledger(path, "exercise", scene.HeldClock(scene.a_time())).close())
    return path


@pytest.fixture
async def ledger(
    tmp_path: Path, clock: scene.HeldClock, empty_ledger: Path
) -> AsyncIterator[Ledger]:
    shutil.copy(empty_ledger, tmp_path / "ledger.db")
    ledger = open_ledger(tmp_path / "ledger.db", "exercise", clock)
    yield ledger
    await ledger.close()


@pytest.fixture(scope="session")
def some_settings() -> Settings:
    """To look for each setting in the environment takes 15 ms: done once."""
    return Settings(intake_secrets={"dhs-cad": [SECRET]})


@pytest.fixture
def settings(tmp_path: Path, some_settings: Settings) -> Settings:
    return some_settings.model_copy(update={"home": tmp_path})


@pytest.fixture
def desk(settings: Settings, ledger: Ledger, clock: scene.HeldClock) -> Desk:
    secrets = {
        source: [secret.get_secret_value() for secret in several]
        for source, several in settings.intake_secrets.items()
    }
    return Desk(
        settings=settings, ledger=ledger, intake=Door(secrets), channels=scene.CHANNELS,
        topics=outside_topics(settings), address="http://127.0.0.1:8080",
        flow=lambda: Flow(running=True), clock=clock,
    )  # fmt: skip


@pytest.fixture
def app(desk: Desk, compiled: jinja2.BytecodeCache) -> web.Application:
    app = make_app(desk)
    app[ENVIRONMENT].bytecode_cache = compiled
    return app


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[TestClient]:
    """A browser (or program) without a session yet; `scene.sign_in` gives it one."""
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def another_client(client: TestClient) -> AsyncIterator[Callable[[], TestClient]]:
    """Makes further browsers on the same desk, each with cookies of its own."""
    made: list[TestClient] = []

    def make() -> TestClient:
        made.append(TestClient(client.server))
        return made[-1]

    yield make
    for each in made:
        await each.session.close()


@pytest.fixture
async def persons(ledger: Ledger) -> scene.Persons:
    return await scene.add_persons(ledger)


@pytest.fixture
async def incident(ledger: Ledger, clock: scene.HeldClock) -> incidents.Kept:
    """A gas leak, reported by CAD and compiled."""
    return await scene.add_incident(ledger, clock.now())


@pytest.fixture
async def submitted(
    ledger: Ledger, clock: scene.HeldClock, incident: incidents.Kept, persons: scene.Persons
) -> Submitted:
    """Its first update, waiting for the Watch Commander (no command is recorded)."""
    return await scene.submit(ledger, scene.order_for(incident, clock.now()), persons.pio)


@pytest.fixture
async def released(ledger: Ledger, submitted: Submitted, persons: scene.Persons) -> AnyRelease:
    """The same update approved, released, and on the public page."""
    release = await scene.approve(ledger, submitted, persons.watch)
    await scene.deliver(ledger, release)
    return release


@pytest.fixture(scope="session")
def a_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk for what needs no ledger."""
    return Desk(
        settings=Settings(home=tmp_path_factory.mktemp("home")), ledger=None,  # type: ignore[arg-type]
        intake=Door({}), channels=scene.CHANNELS, topics={}, address="http://127.0.0.1:8080",
        flow=lambda: Flow(running=True), clock=scene.HeldClock(scene.a_time()),
    )  # fmt: skip


@pytest.fixture(scope="session")
def cap_schema(corpus: Path) -> etree.XMLSchema:
    """The schema of OASIS, as it was published."""
    return etree.XMLSchema(etree.parse(corpus / "cap_schema" / "CAP-v1.2.xsd"))
