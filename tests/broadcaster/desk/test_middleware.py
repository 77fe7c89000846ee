"""Who may call, how every no is said, and what every answer carries."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from broadcaster.desk.app import make_app
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.middleware import STATUS
from broadcaster.errors import Kind, LedgerAway, Refusal
from tests.broadcaster.desk import scene

NO_HTML = {"Accept": "application/json"}

Served = Callable[..., Awaitable[TestClient]]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """Serves a desk with one handler of the test's own at /try."""
    started: list[TestClient] = []

    async def serve(desk: Desk, raises: BaseException | None = None) -> TestClient:
        async def handler(request: web.Request) -> web.Response:
            if raises is not None:
                raise raises
            return web.Response(text="done")

        app = make_app(desk)
        app.router.add_route("*", "/try", handler)
        client = TestClient(TestServer(app))
        started.append(client)
        await client.start_server()
        return client

    yield serve
    for client in started:
        await client.close()


def a_refusal(kind: Kind) -> Refusal:
    return Refusal("some_code", "This is why.", "Do this.", kind=kind, field="place",
                   facts={"commander": "Sgt Ortiz"})  # fmt: skip


# --- How a no is said -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
async def test_every_refusal_has_its_status(served: Served, desk: Desk, kind: Kind) -> None:
    client = await served(desk, a_refusal(kind))
    answer = await client.get("/try", headers=NO_HTML)
    assert answer.status == STATUS[kind]
    assert answer.content_type == "application/problem+json"
    said = await answer.json()
    assert said == {
        "title": answer.reason, "status": answer.status, "code": "some_code",
        "why": "This is why.", "do": "Do this.", "field": "place", "commander": "Sgt Ortiz",
    }  # fmt: skip
    assert ("Retry-After" in answer.headers) == (kind is Kind.UNAVAILABLE)


@pytest.mark.parametrize("kind", Kind)
async def test_every_refusal_is_a_page_in_a_browser(served: Served, desk: Desk, kind: Kind) -> None:
    client = await served(desk, a_refusal(kind))
    answer = await client.get("/try", headers=scene.PAGE)
    assert answer.status == STATUS[kind]
    assert answer.content_type == "text/html"
    said = await answer.text()
    assert "This is why." in said and "Do this." in said and "some_code" in said


@pytest.mark.parametrize("code", ["not_json", "too_deep", "duplicate_key"])
async def test_what_cannot_be_read_is_400(served: Served, desk: Desk, code: str) -> None:
    client = await served(desk, Refusal(code, "Why.", "Do."))
    assert (await client.get("/try")).status == 400


async def test_the_ledger_away_says_when_to_come_back(served: Served, desk: Desk) -> None:
    client = await served(desk, LedgerAway("the disk is full"))
    answer = await client.get("/try", headers=scene.PAGE)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "5"
    assert "the disk is full" in await answer.text()


@pytest.mark.parametrize("accept", [scene.PAGE, NO_HTML])
async def test_the_unexpected_tells_a_number_and_nothing_else(
    served: Served, desk: Desk, accept: dict[str, str]
) -> None:
    client = await served(desk, RuntimeError("secret internals"))
    with capture_logs() as logs:
        answer = await client.get("/try?token=hidden", headers=accept)
    assert answer.status == 500
    said = await answer.text()
    (line,) = [line for line in logs if line["event"] == "request.failed"]
    assert line["error_id"] in said
    assert "secret" not in said and "RuntimeError" not in said and "Traceback" not in said
    assert "hidden" not in str(line)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "no_such_page"),
        ("GET", "/practice", 405, "method_not_allowed"),
        ("GET", "/static/../app.py", 404, "no_such_page"),
        ("GET", "/static/nothing.css", 404, "no_such_page"),
    ],
)
async def test_the_frameworks_refusals_are_said_as_ours_are(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path, headers=NO_HTML)
    assert (answer.status, (await answer.json())["code"]) == (status, code)
    if status == 405:
        assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=utf-8", b"person_id=%ff%fe\xff"),
        ("application/x-www-form-urlencoded; charset=nonsense", b"person_id=a"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: nonsense"),
        ("multipart/form-data", b"no boundary"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"person_id": 3}'),
        ("application/json", b"\xff"),
    ],
)
async def test_a_form_of_no_use_is_refused_in_words(
    client: TestClient, content_type: str, body: bytes
) -> None:
    answer = await client.post(
        "/practice", data=body, headers={**scene.SAME_ORIGIN, "Content-Type": content_type}
    )
    assert answer.status in (400, 403)
    assert (await answer.json())["code"] in ("not_a_form", "not_json", "not_a_practice_person")


async def test_too_large_a_form_is_refused_in_words(client: TestClient) -> None:
    body = io.BytesIO(b"person_id=" + b"x" * (1 << 20))
    form = {**scene.SAME_ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.post("/practice", data=body, headers=form)
    assert answer.status == 413
    assert "1 MiB" in (await answer.json())["why"]


# --- Who may call -----------------------------------------------------------------------------

OURS = "http://127.0.0.1:8080"
THEIRS = "https://evil.example"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        # A browser that says where the request was made.
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": OURS}, True),
        ({"Sec-Fetch-Site": "none", "Origin": OURS}, True),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "none", "Origin": THEIRS}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": OURS}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": OURS}, False),
        ({"Sec-Fetch-Site": "cross-site", "X-Broadcaster": "1", **JSON}, False),
        ({"Sec-Fetch-Site": ""}, False),
        # An older one, or plain http, where Origin has to do.
        ({"Origin": OURS}, True),
        ({"Origin": THEIRS}, False),
        ({"Origin": "null"}, False),
        ({"Origin": f"{OURS}.evil.example"}, False),
        ({"Origin": "http://127.0.0.1:9"}, False),
        ({"Origin": THEIRS, "X-Broadcaster": "1", **JSON}, False),
        # A program, which is no browser.
        ({"X-Broadcaster": "1", **JSON}, True),
        ({"X-Broadcaster": "1", "Content-Type": "application/x-www-form-urlencoded"}, False),
        ({"X-Broadcaster": "1", "Content-Type": "text/plain"}, False),
        (JSON, False),
        ({}, False),
    ],
)
async def test_only_our_own_pages_and_programs_change_anything(
    served: Served, desk: Desk, headers: dict[str, str], allowed: bool
) -> None:
    client = await served(desk)
    answer = await client.post("/try", headers=headers)
    assert answer.status == (200 if allowed else 403)
    if not allowed:
        assert (await answer.json())["code"] == "cross_site"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MOVE"])
async def test_no_way_of_changing_is_forgotten(served: Served, desk: Desk, method: str) -> None:
    client = await served(desk)
    assert (await client.request(method, "/try")).status == 403


async def test_the_address_that_was_called_is_ours_too(served: Served, desk: Desk) -> None:
    client = await served(desk)
    origin = f"http://127.0.0.1:{client.port}"
    assert (await client.post("/try", headers={"Origin": origin})).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_looking_is_open_to_links_from_elsewhere(
    served: Served, desk: Desk, method: str
) -> None:
    client = await served(desk)
    answer = await client.request(method, "/try", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 200


async def test_signed_reports_need_no_page(client: TestClient) -> None:
    answer = await client.post("/api/v1/reports", data=b"{}")
    assert (await answer.json())["code"] == "signature_missing"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("[::1]:8080", 200),
        ("alerts.example.gov", 200),
        ("alerts.example.gov:443", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8080", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
async def test_on_loopback_only_our_own_names_are_answered(
    served: Served, desk: Desk, host: str, status: int
) -> None:
    settings = desk.settings.model_validate(
        {**desk.settings.model_dump(), "public_url": "https://alerts.example.gov"}
    )
    client = await served(replace(desk, settings=settings))
    answer = await client.get("/try", headers={"Host": host, **scene.PAGE})
    assert answer.status == status
    if status == 421:
        assert (await answer.json())["code"] == "wrong_host"


async def test_behind_a_network_address_any_name_is_answered(served: Served, desk: Desk) -> None:
    settings = desk.settings.model_copy(update={"host": "0.0.0.0"})
    client = await served(replace(desk, settings=settings))
    assert (await client.get("/try", headers={"Host": "alerts"})).status == 200


@pytest.mark.parametrize("purpose", ["prefetch", "prefetch;prerender"])
async def test_fetching_ahead_gets_nothing_of_an_approval(
    client: TestClient, persons: scene.Persons, purpose: str
) -> None:
    await scene.sign_in(client, persons.commander)
    answer = await client.get("/a/some-request", headers={"Sec-Purpose": purpose})
    assert answer.status == 204
    assert await answer.read() == b""


# --- What every answer carries ----------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/try", "/nowhere", "/p", "/static/tokens.css", "/api/v1/openapi.json"]
)
async def test_security_headers_are_on_every_answer(served: Served, desk: Desk, path: str) -> None:
    client = await served(desk)
    headers = (await client.get(path, allow_redirects=False)).headers
    parts = headers["Content-Security-Policy"].split("; ")
    policy = dict(part.split(" ", 1) for part in parts)
    assert policy["default-src"] == "'none'"
    assert policy["form-action"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] in ("no-referrer", "same-origin")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"] == "broadcaster"
    assert headers["X-Robots-Tag"] == "noindex"
    assert "Strict-Transport-Security" not in headers


async def test_pages_are_not_kept(served: Served, desk: Desk) -> None:
    client = await served(desk)
    assert (await client.get("/try")).headers["Cache-Control"] == "no-store"


async def test_https_is_asked_for_only_where_it_is_used(served: Served, desk: Desk) -> None:
    client = await served(replace(desk, address="https://alerts.example.gov"))
    headers = (await client.get("/try")).headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


async def test_styles_are_kept_for_ever_under_their_tag(client: TestClient) -> None:
    first = await client.get("/static/tokens.css")
    assert first.status == 200 and first.content_type == "text/css"
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    tagged = await client.get("/static/tokens.css", params={"v": tag.strip('"')})
    assert "immutable" in tagged.headers["Cache-Control"]
    again = await client.get("/static/tokens.css", headers={"If-None-Match": tag})
    assert again.status == 304


async def test_a_read_of_the_ledger_that_fails_is_a_page_too(
    client: TestClient, desk: Desk, persons: scene.Persons, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.sign_in(client, persons.pio)

    async def away(query: object) -> object:
        await asyncio.sleep(0)
        raise LedgerAway("its file cannot be opened")

    monkeypatch.setattr(desk.ledger, "read", away)
    answer = await client.get("/p", headers=scene.PAGE)
    assert answer.status == 503
    assert "its file cannot be opened" in await answer.text()


def test_the_desk_is_known_to_its_handlers(app: web.Application, desk: Desk) -> None:
    assert app[DESK] is desk
