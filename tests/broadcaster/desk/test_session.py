"""Sessions: the cookie, how long they last, and going on as somebody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk
from broadcaster.desk.session import cookie_name, same_site
from broadcaster.ledger import Ledger, people, records
from broadcaster.roster import Role
from tests.broadcaster.desk import scene

WHO = "/api/v1/incidents"


async def choose(client: TestClient, person_id: str, **fields: str) -> int:
    answer = await client.post(
        "/practice", data={"person_id": person_id, **fields}, headers=scene.SAME_ORIGIN,
        allow_redirects=False,
    )  # fmt: skip
    return answer.status


async def test_nobody_is_signed_in_at_first(client: TestClient, persons: scene.Persons) -> None:
    answer = await client.get(WHO)
    assert answer.status == 401
    assert (await answer.json())["code"] == "sign_in_first"


async def test_a_window_is_taken_to_the_sign_in_page_and_back(
    client: TestClient, persons: scene.Persons
) -> None:
    answer = await client.get("/p?a=b", headers=scene.PAGE, allow_redirects=False)
    assert answer.status == 303
    assert answer.headers["Location"] == "/sign-in?next=%2Fp%3Fa%3Db"


async def test_choosing_a_practice_person_signs_in(
    client: TestClient, persons: scene.Persons, desk: Desk
) -> None:
    answer = await client.post(
        "/practice", data={"person_id": persons.pio.id, "next": "/incidents/7"},
        headers=scene.SAME_ORIGIN, allow_redirects=False,
    )  # fmt: skip
    assert (answer.status, answer.headers["Location"]) == (303, "/incidents/7")
    cookie = answer.cookies["sid_8080"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/"
    assert not cookie["secure"] and not cookie["domain"]
    assert len(cookie.value) >= 32
    assert (await client.get(WHO)).status == 200


async def test_a_program_chooses_by_json(client: TestClient, persons: scene.Persons) -> None:
    answer = await client.post(
        "/practice", json={"person_id": persons.watch.id}, headers={"X-Broadcaster": "1"}
    )
    assert await answer.json() == {"person_id": persons.watch.id, "name": "Lt Baker"}
    assert (await client.get(WHO)).status == 200


async def test_going_on_as_another_ends_the_first_session(
    client: TestClient, persons: scene.Persons, ledger: Ledger
) -> None:
    await scene.sign_in(client, persons.pio)
    (first,) = [cookie.value for cookie in client.session.cookie_jar]
    await scene.sign_in(client, persons.commander)
    (second,) = [cookie.value for cookie in client.session.cookie_jar]
    assert first != second
    assert await ledger.read(lambda tx: people.session(tx, first)) is None
    found = await ledger.read(lambda tx: people.session(tx, second))
    assert found is not None and found[0] == persons.commander
    kinds = [line.kind for line in await ledger.read(lambda tx: records.lines(tx, limit=3))]
    assert kinds == ["SignedIn", "SignedOut", "SignedIn"]


async def test_only_practice_persons_can_be_chosen(
    client: TestClient, persons: scene.Persons, ledger: Ledger
) -> None:
    real = await ledger.write(lambda tx: people.add(tx, "Chief Low", [Role.SUPERVISOR], actor="t"))
    assert await choose(client, real.id) == 403
    assert await choose(client, "nobody") == 403
    assert await choose(client, "") == 403
    assert (await client.get(WHO)).status == 401


@pytest.mark.parametrize(
    "change",
    [{"host": "0.0.0.0"}, {"public_url": "https://alerts.example.gov"}, {"world": "live"}],
)
async def test_elsewhere_nobody_can_be_chosen(
    desk: Desk, persons: scene.Persons, change: dict[str, str]
) -> None:
    changed = desk.settings.model_validate({**desk.settings.model_dump(), **change})
    elsewhere = replace(desk, settings=changed)
    assert not elsewhere.practice
    async with TestClient(TestServer(make_app(elsewhere))) as client:
        assert await choose(client, persons.pio.id) == 403


async def test_looking_at_the_chooser_signs_nobody_in(
    client: TestClient, persons: scene.Persons
) -> None:
    answer = await client.get("/practice", params={"person_id": persons.pio.id})
    assert answer.status == 405
    assert (await client.get(WHO)).status == 401


async def test_signing_out_ends_the_session_in_the_ledger(
    client: TestClient, persons: scene.Persons, ledger: Ledger
) -> None:
    await scene.sign_in(client, persons.pio)
    (token,) = [cookie.value for cookie in client.session.cookie_jar]
    answer = await client.post("/sign-out", headers=scene.SAME_ORIGIN, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in")
    assert await ledger.read(lambda tx: people.session(tx, token)) is None
    assert (await client.get(WHO)).status == 401
    again = await client.post("/sign-out", headers=scene.SAME_ORIGIN, allow_redirects=False)
    assert again.status == 303


async def test_a_session_ends_after_half_an_hour_without_use(
    client: TestClient, persons: scene.Persons, clock: scene.HeldClock
) -> None:
    await scene.sign_in(client, persons.pio)
    clock.on(minutes=29)
    assert (await client.get(WHO)).status == 200
    clock.on(minutes=29)
    assert (await client.get(WHO)).status == 200
    clock.on(minutes=30)
    assert (await client.get(WHO)).status == 401


@pytest.mark.parametrize(
    ("path", "headers"), [(WHO, {"X-Refresh": "1"}), ("/events", {}), ("/events?since=x", {})]
)
async def test_what_a_page_left_open_fetches_by_itself_is_no_use_of_the_session(
    client: TestClient, persons: scene.Persons, clock: scene.HeldClock, path: str,
    headers: dict[str, str],
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.pio)
    for minutes, status in ((29, 200), (1, 401)):
        clock.on(minutes=minutes)
        async with client.get(path, headers=headers) as answer:
            assert answer.status == status


async def test_a_session_ends_after_twelve_hours_in_any_case(
    client: TestClient, persons: scene.Persons, clock: scene.HeldClock
) -> None:
    await scene.sign_in(client, persons.pio)
    for _ in range(12 * 3 - 1):
        clock.on(minutes=20)
        assert (await client.get(WHO)).status == 200
    clock.on(minutes=20)
    assert (await client.get(WHO)).status == 401


async def test_use_is_noted_at_most_once_a_minute(
    client: TestClient, persons: scene.Persons, clock: scene.HeldClock, ledger: Ledger
) -> None:
    await scene.sign_in(client, persons.pio)
    (token,) = [cookie.value for cookie in client.session.cookie_jar]
    began = clock.now()
    clock.on(seconds=59)
    await client.get(WHO)
    found = await ledger.read(lambda tx: people.session(tx, token))
    assert found is not None and found[1] == began
    clock.on(seconds=1)
    await client.get(WHO)
    found = await ledger.read(lambda tx: people.session(tx, token))
    assert found is not None and found[1] == clock.now()


async def test_a_made_up_token_is_nobody(client: TestClient, persons: scene.Persons) -> None:
    answer = await client.get(WHO, headers={"Cookie": "sid_8080=made-up"})
    assert answer.status == 401


async def test_two_browsers_are_two_persons(
    client: TestClient, persons: scene.Persons, another_client: Callable[[], TestClient]
) -> None:
    other = another_client()
    await scene.sign_in(client, persons.pio)
    assert (await other.get(WHO)).status == 401
    await scene.sign_in(other, persons.watch)
    assert (await client.get(WHO)).status == (await other.get(WHO)).status == 200


def test_over_https_the_cookie_is_bound_to_the_host(desk: Desk) -> None:
    assert cookie_name(replace(desk, address="https://alerts.example.gov")) == "__Host-sid"
    assert cookie_name(replace(desk, address="http://localhost:4711")) == "sid_4711"


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/incidents/7?a=b#c", "/incidents/7?a=b#c"),
        ("/", "/"),
        (None, "/"),
        ("", "/"),
        ("incidents", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\\b", "/"),
    ],
)
def test_the_way_back_never_leads_elsewhere(path: str | None, leads_to: str) -> None:
    assert same_site(path) == leads_to
