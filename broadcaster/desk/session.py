"""Who is asking: server-side sessions behind a cookie, sign-out, and the practice chooser.

The cookie holds a random token and nothing else; the ledger keeps its hash, whose it is and when
it was last used (30 minutes idle, 12 hours at most; what a page's script fetches by itself is no
use). It is SameSite=Lax, since Strict would drop
it on arrival from an e-mail or a chat (facts/security-reliability-ux.md, "Sessions").
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from broadcaster.desk.deps import DESK, Desk
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.exercise import begin_exercise, end_exercise
from broadcaster.ledger import Tx, clocks, exercises, people
from broadcaster.roster import Act, Person

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

routes = web.RouteTableDef()

SIGN_IN = "/sign-in"

_FIELDS = TypeAdapter(dict[str, str])

#: What a page's script says with what it fetches by itself, though nobody touches the page.
REFRESH: Final = "X-Refresh"

#: The stream of what moves, which a page left open listens to and connects to again.
EVENTS: Final = "/events"

#: A session in use is noted as seen this often and no oftener: each note is a commit.
SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Visitor:
    """Who asks: the person of the session, if there is one, and whom one may practise as."""

    person: Person | None = None
    practice_persons: tuple[Person, ...] = ()
    ended: exercises.Ended | None = None  #: since when the exercise is over
    clock: clocks.Step | None = None  #: by how much it was set, where nobody has looked yet


VISITOR = web.RequestKey("visitor", Visitor)


class SignInFirst(Refusal):
    """Nobody is signed in; a browser that only looks is taken to the sign-in page."""

    def __init__(self) -> None:
        super().__init__(
            "sign_in_first",
            "You are not signed in, or your session has ended.",
            "Sign in, then do it again. What you typed is still in your browser: go back to it.",
            kind=Kind.UNKNOWN,
        )


def person(request: web.Request) -> Person | None:
    """Who is signed in."""
    return request[VISITOR].person


def require_person(request: web.Request) -> Person:
    """Who is signed in. Raises SignInFirst."""
    found = person(request)
    if found is None:
        raise SignInFirst
    return found


def same_site(path: str | None) -> str:
    """`path` if it leads to a page of ours, else the board: never another site."""
    if path is None or not path.startswith("/") or path.startswith(("//", "/\\")):
        return "/"
    if not path.isprintable() or "\\" in path:
        return "/"
    parts = urlsplit(path)
    return "/" if parts.scheme or parts.netloc else path


def sign_in_address(request: web.Request) -> str:
    """The sign-in page's address, with the way back to this page."""
    return f"{SIGN_IN}?{urlencode({'next': request.path_qs})}"


def cookie_name(desk: Desk) -> str:
    """`__Host-` binds it to https and to this host; on one machine, copies differ by their port."""
    return "__Host-sid" if desk.https else f"sid_{URL(desk.address).port}"


def token_of(request: web.Request) -> str | None:
    return request.cookies.get(cookie_name(request.app[DESK]))


def browser_of(request: web.Request) -> str:
    """What asks, as it names itself: by it a person knows their sessions apart."""
    return request.headers.get("User-Agent", "")


def set_session(request: web.Request, response: web.StreamResponse, token: str) -> None:
    """Gives the browser a new session's token. Used by every way of signing in."""
    desk = request.app[DESK]
    response.set_cookie(
        cookie_name(desk), token, path="/", httponly=True, samesite="Lax", secure=desk.https,
        max_age=int(people.SESSION_LONGEST.total_seconds()),
    )  # fmt: skip


#: Answered alike to whoever asks; a machine that asks for our health asks without the ledger.
NOBODY_S: Final = ("/static/", "/healthz", "/readyz", "/metrics")


@web.middleware
async def visitor_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Finds out who asks, once a request, before any handler."""
    request[VISITOR] = await _visitor(request)
    return await handler(request)


async def still_signed_in(request: web.Request) -> bool:
    """Whether the session that a long-lived request began with has not ended since."""
    token = token_of(request)
    if token is None:
        return False
    found = await request.app[DESK].ledger.read(lambda tx: people.session(tx, token))
    return found is not None and found[0].may(Act.READ)


async def _visitor(request: web.Request) -> Visitor:
    desk, token = request.app[DESK], token_of(request)
    choosing = desk.practice and not request.path.startswith("/api/")
    if request.path.startswith(NOBODY_S) or not (token or choosing):
        return Visitor()

    used = request.path != EVENTS and REFRESH not in request.headers

    def look(tx: Tx) -> tuple[bool, Visitor]:
        found = people.session(tx, token) if token else None
        practice = tuple(people.practice_persons(tx)) if choosing else ()
        stale = found is not None and used and tx.now - found[1] >= SEEN_EVERY
        if found is None:
            return False, Visitor(practice_persons=practice)
        return stale, Visitor(found[0], practice, exercises.ended(tx), clocks.unconfirmed(tx))

    stale, visitor = await desk.ledger.read(look)
    if stale and token:
        with contextlib.suppress(LedgerAway):  # a ledger that cannot be written can still be read
            await desk.ledger.write(lambda tx: people.seen(tx, token))
    return visitor


async def fields_of(request: web.Request) -> dict[str, str]:
    """The text fields of a form, or of a JSON object where a program sends one."""
    if request.content_type != "application/json":
        form = await request.post()
        return {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        return _FIELDS.validate_json(await request.read())
    except ValidationError:
        raise Refusal(
            "not_json", "This message is not a JSON object of texts.", "Send one JSON object."
        ) from None


@routes.post("/exercise")
async def turn_exercise(request: web.Request) -> web.Response:
    """REAL INCIDENT ends the exercise; afterwards it can begin again."""
    person, fields = require_person(request), await fields_of(request)
    act = begin_exercise if fields.get("act") == "begin" else end_exercise
    await request.app[DESK].ledger.write(lambda tx: act(tx, person), urgent=True)
    raise web.HTTPSeeOther("/")


@routes.post("/practice")
async def go_on_as(request: web.Request) -> web.StreamResponse:
    """Goes on as a practice person. Only an exercise on loopback knows such persons."""
    desk = request.app[DESK]
    fields = await fields_of(request)
    old, chosen_id = token_of(request), fields.get("person_id", "")

    def step(tx: Tx) -> tuple[Person, str]:
        allowed = people.practice_persons(tx) if desk.practice else []
        chosen = next((each for each in allowed if each.id == chosen_id), None)
        if chosen is None:
            raise Refusal(
                "not_a_practice_person",
                "That is not a practice person of this desk.",
                "Choose one of those shown; elsewhere than in an exercise on loopback, sign in "
                "with the link that your administrator gives you.",
                kind=Kind.FORBIDDEN,
                field="person_id",
            )
        if old:
            people.sign_out(tx, old)
        return chosen, people.sign_in(tx, chosen, browser_of(request))

    chosen, token = await desk.ledger.write(step, urgent=True)
    response: web.Response
    if request.content_type == "application/json":
        response = web.json_response({"person_id": chosen.id, "name": chosen.name})
    else:
        response = web.Response(status=303, headers={"Location": same_site(fields.get("next"))})
    set_session(request, response, token)
    return response


@routes.post("/sign-out")
async def sign_out(request: web.Request) -> web.StreamResponse:
    """Ends the session, here and in the ledger."""
    desk, token = request.app[DESK], token_of(request)
    if token:
        await desk.ledger.write(lambda tx: people.sign_out(tx, token), urgent=True)
    response = web.Response(status=303, headers={"Location": SIGN_IN})
    response.del_cookie(
        cookie_name(desk), path="/", httponly=True, samesite="Lax", secure=desk.https
    )
    return response
