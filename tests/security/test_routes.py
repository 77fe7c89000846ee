"""Every address of the desk, whoever added it: looking changes nothing, and strangers get nothing.

The addresses are read from the application itself, so that a new one is judged without being named
here; an exception is named, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from broadcaster.approval import AnyRelease
from broadcaster.ledger import Ledger, Tx, approvals, incidents, people, posts, records
from broadcaster.orders import Submitted
from tests.broadcaster.desk import scene
from tests.pictures import kept_picture

#: May be read by whoever asks, even in an exercise, and why.
ANYBODYS = {
    "/sign-in": "the way in",
    "/enrol/{token}": "the way in: its token is the secret",
    "/sw.js": "the script that shows a push, the same for everybody",
    "/manifest.webmanifest": "the name and picture of the desk, for a home screen",
    "/.well-known/assetlinks.json": "which Android apps are the department's: phones ask",
    "/.well-known/apple-app-site-association": "which Apple apps are: Apple asks",
    "/static/{name}": "styles and scripts, the same for everybody",
    "/healthz": "tells a machine that the desk lives, and nothing else",
    "/readyz": "tells a machine whether the desk can work",
    "/metrics": "counts; the proxy keeps it inside",
    "/api/v1/openapi.json": "the API's description",
    "/api/v1/asyncapi.json": "the topics' description",
    "/api/v1/schemas/report.json": "the schema of a report",
}

#: Proved by a signature in what is sent instead of by a page: their own tests send them unproved.
SIGNED = {"/api/v1/reports", "/hooks/sms/{call_id}", "/hooks/approval/{request_id}"}


def addresses(app: web.Application, method: str) -> Iterator[str]:
    """The paths that take a method, as they are written in the code."""
    for route in app.router.routes():
        if route.method == method and route.resource is not None:
            yield route.resource.canonical


@pytest.fixture
async def filled(
    app: web.Application, ledger: Ledger, submitted: Submitted, released: AnyRelease,
    persons: scene.Persons,
) -> dict[str, str]:  # fmt: skip
    """What stands in an address's place holders: things that there are."""
    token = await ledger.write(lambda tx: people.enrol(tx, persons.pio.id, actor="test"))
    public = await ledger.read(lambda tx: incidents.get(tx, released.incident_id))
    picture = await kept_picture(ledger, released.incident_id, persons.pio)
    [post, *_] = await ledger.read(lambda tx: posts.of_release(tx, released.id))
    assert public is not None
    return {
        "request_id": submitted.request.id, "incident_id": submitted.request.incident_id,
        "release_id": released.id, "token": token, "name": "tokens.css",
        "public_id": public.public_id, "post_id": post.id,
        "person_id": persons.commander.id, "call_id": "none", "offer_id": "none",
        "digest": picture.digest, "ending": "jpg",
    }  # fmt: skip


def at(path: str, filled: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: filled[found[1]], path)


async def test_get_and_head_change_nothing(
    app: web.Application, client: TestClient, ledger: Ledger, filled: dict[str, str],
    persons: scene.Persons,
) -> None:  # fmt: skip
    """ASVS 3.5.3. Signed in or not; scanners and browsers that fetch ahead look at every link."""

    async def state() -> object:
        def look(tx: Tx) -> object:
            kept = approvals.request(tx, filled["request_id"])
            link = people.enrolment(tx, filled["token"])
            return records.head(tx), kept, link

        return await ledger.read(look)

    paths = [path for path in addresses(app, "GET") if path != "/events"]  # a stream: never ends
    assert len(paths) > 15
    for person in (None, persons.watch, persons.pio):
        if person is not None:
            await scene.sign_in(client, person)
        before = await state()
        for path in paths:
            for method in ("GET", "HEAD"):
                answer = await client.request(
                    method, at(path, filled), headers=scene.PAGE, allow_redirects=False
                )
                assert answer.status < 500, path
        assert await state() == before, person


async def test_a_stranger_reads_nothing(
    app: web.Application, client: TestClient, filled: dict[str, str]
) -> None:
    """ASVS 8.2.1. In an exercise even the public page asks who is there."""
    for path in addresses(app, "GET"):
        if path not in ANYBODYS:
            answer = await client.get(at(path, filled), allow_redirects=False)
            assert answer.status == 401, (path, answer.status)
            said = await answer.text()
            assert "Gas" not in said and "Pierson" not in said, path


async def test_a_stranger_changes_nothing(
    app: web.Application, client: TestClient, ledger: Ledger, filled: dict[str, str]
) -> None:
    filled["token"] = "made-up"  # whoever has a link is no stranger
    before = await ledger.read(records.head)
    for path in set(addresses(app, "POST")) - SIGNED:
        answer = await client.post(
            at(path, filled), json={}, headers=scene.PROGRAM, allow_redirects=False
        )
        assert answer.status in (303, 400, 401, 403, 404, 410, 422) or path == "/sign-in/ask", path
    assert await ledger.read(records.head) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.alerts.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
async def test_another_sites_form_is_refused_everywhere(
    app: web.Application, client: TestClient, ledger: Ledger, filled: dict[str, str],
    persons: scene.Persons, headers: dict[str, str],
) -> None:  # fmt: skip
    """ASVS 3.5.1 and 3.5.2, with the session of the one who may decide."""
    await scene.sign_in(client, persons.watch)
    before = await ledger.read(records.head)
    paths = list(addresses(app, "POST"))
    assert len(paths) > 12
    for path in paths:
        if path not in SIGNED:
            answer = await client.post(
                at(path, filled), data={"decision": "approved"}, headers=headers,
                allow_redirects=False,
            )  # fmt: skip
            assert answer.status == 403, path
            assert (await answer.json())["code"] == "cross_site"
    assert await ledger.read(records.head) == before


async def test_no_other_method_acts(app: web.Application) -> None:
    """What changes something is a POST; so the rule about POST is the rule about changes."""
    assert {route.method for route in app.router.routes()} <= {"GET", "HEAD", "POST"}


async def test_no_other_site_may_read_an_answer(
    app: web.Application, client: TestClient, filled: dict[str, str], persons: scene.Persons
) -> None:
    """ASVS 3.4.2."""
    await scene.sign_in(client, persons.watch)
    for path in addresses(app, "GET"):
        if path != "/events":
            answer = await client.get(
                at(path, filled), headers={"Origin": "https://evil.example"},
                allow_redirects=False,
            )  # fmt: skip
            assert "Access-Control-Allow-Origin" not in answer.headers, path


async def test_what_is_behind_a_session_is_kept_nowhere(
    app: web.Application, client: TestClient, filled: dict[str, str], persons: scene.Persons
) -> None:
    """ASVS 14.3.2. The public page may be asked for again, and only of us."""
    await scene.sign_in(client, persons.watch)
    for path in addresses(app, "GET"):
        if path not in ANYBODYS and path != "/events":
            answer = await client.get(at(path, filled), headers=scene.PAGE, allow_redirects=False)
            kept = answer.headers["Cache-Control"]
            public = path == "/p" or path.startswith("/p/")
            assert kept == "no-store" or (public and kept == "private, no-cache"), (path, kept)
