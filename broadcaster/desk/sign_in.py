"""Signing in: the chooser of practice persons, and the one-time links of the roster."""

from __future__ import annotations

from aiohttp import web

from broadcaster.desk.deps import DESK
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import same_site, set_session
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.ledger import people
from broadcaster.roster import Person, Role

#: What a newcomer will do as each, in a few words.
_DOES = {
    Role.PIO: "writes what is said",
    Role.COMMANDER: "approves it at the scene",
    Role.WATCH_COMMANDER: "approves it where nobody commands yet",
    Role.SUPERVISOR: "settles what came in wrong",
    Role.RECORDS: "reads everything, and changes nothing",
}


def does(person: Person) -> str:
    """What a person does at the desk."""
    return ", ".join(words for role, words in _DOES.items() if role in person.roles)


routes = web.RouteTableDef()


@routes.get("/sign-in")
async def sign_in(request: web.Request) -> web.Response:
    """Who may go on from here, and how."""
    return page(request, "sign_in.html", does=does, next=same_site(request.query.get("next")))


@routes.get("/enrol/{token}")
async def enrol(request: web.Request) -> web.Response:
    """Says whom a link is for. Looking uses nothing up: mail scanners look too."""
    token = request.match_info["token"]
    who = await request.app[DESK].ledger.read(lambda tx: people.enrolment(tx, token))
    return page(request, "enrol.html", who=who, status=200 if who else 410)


@routes.post("/enrol/{token}")
async def use_link(request: web.Request) -> web.StreamResponse:
    """Uses the link up, and signs in."""
    token = request.match_info["token"]
    try:
        _, session = await request.app[DESK].ledger.write(
            lambda tx: people.sign_in_by_link(tx, token), urgent=True
        )
    except Refusal as refusal:
        return page(request, "enrol.html", who=None, status=status_of(refusal))
    response = web.Response(status=303, headers={"Location": "/"})
    set_session(request, response, session)
    return response
