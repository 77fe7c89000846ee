"""What moves is told as it moves: to whom, in which order, and to the end."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, replace

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from broadcaster.approval import AnyRelease
from broadcaster.desk import live
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk
from broadcaster.errors import Refusal
from broadcaster.incident import NAMESPACE
from broadcaster.ledger import Ledger, incidents, people
from broadcaster.orders import Submitted
from tests.broadcaster.desk import scene
from tests.patience import PATIENCE


@dataclass
class Event:
    name: str | None
    id: str | None
    changes: list[str]


async def next_event(answer: ClientResponse) -> Event:
    """The next block of a stream, a comment or the retry hint among them."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(PATIENCE):
        while (line := (await answer.content.readline()).decode()) != "\n":
            assert line, "the stream ended"
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
    changes = json.loads(fields["data"]) if fields.get("event") == "changed" else []
    return Event(fields.get("event"), fields.get("id"), changes)


async def next_changes(answer: ClientResponse) -> Event:
    while (event := await next_event(answer)).name != "changed":
        pass
    return event


async def move(ledger: Ledger, *names: str) -> None:
    await ledger.write(lambda tx: tx.changed(*names))


@pytest.fixture
def hub(client: TestClient, app: web.Application) -> live.Hub:
    return app[live.HUB]


async def test_a_stream_begins_with_how_to_come_back(
    client: TestClient, persons: scene.Persons, hub: live.Hub
) -> None:
    await scene.sign_in(client, persons.pio)
    async with client.get("/events") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        raw = await answer.content.readuntil(b"\n\n")
        assert raw.decode() == f"retry: {live.RETRY_MS}\nid: {hub.last_id}\n\n"


async def test_a_commit_is_told_by_name_alone(
    client: TestClient, persons: scene.Persons, submitted: Submitted, ledger: Ledger
) -> None:
    await scene.sign_in(client, persons.watch)
    async with client.get("/events") as answer:
        await next_event(answer)
        await scene.approve(ledger, submitted, persons.watch)
        seen: set[str] = set()
        while f"release:{_release_id(submitted)}" not in seen:
            seen |= set((await next_changes(answer)).changes)
    assert f"incident:{submitted.revision.incident_id}" in seen
    assert f"request:{submitted.request.id}" in seen
    assert not seen & live.UNSEEN


def _release_id(submitted: Submitted) -> str:
    return str(uuid.uuid5(NAMESPACE, f"release\0{submitted.revision.id}"))


async def test_who_comes_back_hears_what_was_missed(
    client: TestClient, persons: scene.Persons, ledger: Ledger
) -> None:
    await scene.sign_in(client, persons.pio)
    async with client.get("/events") as answer:
        await next_event(answer)
        await move(ledger, "incident:one")
        last = (await next_changes(answer)).id
        assert last
    await move(ledger, "incident:two")
    await move(ledger, "incident:three", "board")
    async with client.get("/events", headers={"Last-Event-ID": last}) as answer:
        assert (await next_changes(answer)).changes == ["board", "incident:three", "incident:two"]
    async with client.get(f"/events?since={last}") as answer:
        assert (await next_changes(answer)).changes == ["board", "incident:three", "incident:two"]


@pytest.mark.parametrize("since", ["0badcafe-3", "nonsense", "-", "0badcafe-" + "9" * 5000])
async def test_what_is_no_longer_known_is_told_as_all(hub: live.Hub, since: str) -> None:
    with hub.reading(since, lambda: None, public_only=False) as reader:
        assert await reader.take(1) == [live.ALL]


async def test_nothing_of_since_is_repeated(client: TestClient, persons: scene.Persons) -> None:
    await scene.sign_in(client, persons.pio)
    async with client.get("/events", params={"since": "x\n\nevent: changed\ndata: 1"}) as answer:
        assert await answer.content.readuntil(b"\n\n") == f"retry: {live.RETRY_MS}\n\n".encode()
        assert (await next_changes(answer)).changes == [live.ALL]


async def test_an_id_from_the_future_is_told_as_all(hub: live.Hub) -> None:
    run, _, number = hub.last_id.partition("-")
    with hub.reading(f"{run}-{int(number) + 1}", lambda: None, public_only=False) as reader:
        assert await reader.take(1) == [live.ALL]


async def test_a_slow_reader_gets_one_merged_event(hub: live.Hub) -> None:
    with hub.reading(None, lambda: None, public_only=False) as reader:
        for number in range(5):
            hub.hear(frozenset({"board", f"incident:{number}"}))
        assert await reader.take(1) == ["board", *(f"incident:{n}" for n in range(5))]
        assert await reader.take(0.001) == []


async def test_a_very_slow_reader_is_told_to_look_at_everything(hub: live.Hub) -> None:
    with hub.reading(None, lambda: None, public_only=False) as reader:
        for number in range(live.MOST_NAMES + 1):
            hub.hear(frozenset({f"incident:{number}"}))
        assert await reader.take(1) == [live.ALL]


async def test_a_public_reader_hears_of_public_things_alone(hub: live.Hub) -> None:
    with hub.reading(None, lambda: None, public_only=True) as reader:
        hub.hear(frozenset({"board", "incident:1", "publican"}))
        hub.hear(frozenset({"public", "public:abcd2345", "record"}))
        assert await reader.take(1) == ["public", "public:abcd2345"]


async def test_an_exercises_stream_needs_a_session(client: TestClient) -> None:
    answer = await client.get("/events", headers={"Accept": "text/event-stream"})
    assert answer.status == 401


@pytest.mark.parametrize(("only", "status"), [("", 200), ("public", 200), ("members", 401)])
async def test_live_a_members_page_learns_that_its_session_has_ended(
    desk: Desk, only: str, status: int
) -> None:
    """Strangers have a stream there, of public things: a member's page would never know."""
    settings = desk.settings.model_copy(update={"world": "live"})
    async with (
        TestClient(TestServer(make_app(replace(desk, settings=settings)))) as client,
        client.get(f"/events?only={only}") as answer,
    ):
        assert answer.status == status


async def test_only_public_on_request(
    client: TestClient, persons: scene.Persons, ledger: Ledger, released: AnyRelease,
    incident: incidents.Kept,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.pio)
    async with client.get("/events?only=public") as answer:
        await next_event(answer)
        await move(ledger, "board")
        await move(ledger, "public", f"public:{incident.public_id}")
        assert (await next_changes(answer)).changes == ["public", f"public:{incident.public_id}"]


async def test_the_public_has_so_many_streams_and_no_more(
    hub: live.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_PUBLIC", 1)
    with hub.reading(None, lambda: None, public_only=True):
        with (
            pytest.raises(Refusal, match="reload"),
            hub.reading(None, lambda: None, public_only=True),
        ):
            pass
        with hub.reading(None, lambda: None, public_only=False):
            pass


async def test_silence_is_filled(
    client: TestClient, persons: scene.Persons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HERE_EVERY", 0.01)
    await scene.sign_in(client, persons.pio)
    async with client.get("/events") as answer:
        await next_event(answer)
        assert (await next_event(answer)).name == "here"


async def test_a_stream_ends_with_its_session(
    client: TestClient, persons: scene.Persons, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SESSION_EVERY", 0.0)
    await scene.sign_in(client, persons.pio)
    async with client.get("/events") as answer:
        await next_event(answer)
        (cookie,) = client.session.cookie_jar
        await ledger.write(lambda tx: people.sign_out(tx, cookie.value))
        await move(ledger, "board")
        async with asyncio.timeout(PATIENCE):
            await answer.content.read()


async def test_every_stream_ends_when_the_desk_does(app: web.Application, desk: Desk) -> None:
    persons = await scene.add_persons(desk.ledger)
    server = TestServer(app)
    client = TestClient(server)
    await client.start_server()
    await scene.sign_in(client, persons.pio)
    answer = await client.get("/events")
    await next_event(answer)
    async with asyncio.timeout(PATIENCE):
        await server.close()
    assert await answer.content.read() == b""
    await client.close()


async def test_a_reader_who_takes_nothing_is_cut_off(
    hub: live.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "CUT_AFTER", 0.01)
    cut: list[bool] = []
    with hub.reading(None, lambda: cut.append(True), public_only=False):
        await hub.end()
    assert cut == [True]
