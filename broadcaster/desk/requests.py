"""Requests up the chain of command: asked, passed on or declined, and where each stands (389.3)."""

from __future__ import annotations

from aiohttp import web

from broadcaster import up_the_chain
from broadcaster.desk.deps import DESK
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, people, posting_requests
from broadcaster.ledger.posting_requests import PostingRequest, State
from broadcaster.roster import Act, Person, require

MOST = 200

routes = web.RouteTableDef()


@routes.get("/requests")
async def show(request: web.Request) -> web.Response:
    """The requests that are one's own, or one's to see to."""
    return await _page(request, {})


@routes.post("/requests")
async def act(request: web.Request) -> web.Response:
    """Asks for something to be posted, passes a request on, or declines it."""
    desk, person, fields = request.app[DESK], require_person(request), await fields_of(request)

    def step(tx: Tx) -> None:
        if passed := fields.get("pass_on"):
            up_the_chain.pass_on(tx, passed, person)
        elif declined := fields.get("decline"):
            up_the_chain.decline(tx, declined, fields.get("reason", ""), person)
        else:
            up_the_chain.ask(tx, fields.get("text", ""), person)

    try:
        await desk.ledger.write(step)
    except Refusal as refusal:
        return await _page(request, fields, refusal)
    raise web.HTTPSeeOther(request.path)


async def _page(
    request: web.Request, typed: dict[str, str], refusal: Refusal | None = None
) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)

    def look(tx: Tx) -> tuple[list[PostingRequest], dict[str, str]]:
        listed = posting_requests.listed(tx, of=person.id, states=_seen_by(person), limit=MOST)
        return listed, {each.id: each.name for each in people.everybody(tx)}

    listed, names = await desk.ledger.read(look)
    return page(
        request, "requests.html", listed=listed, names=names, refusal=refusal, typed=typed,
        may_ask=person.may(Act.REQUEST_POST), may_settle=person.may(Act.SETTLE_REQUEST),
        may_write=bool(_seen_by(person)) and person.may(Act.WRITE_NOTICE),
        status=status_of(refusal) if refusal else 200,
    )  # fmt: skip


def _seen_by(person: Person) -> list[State]:
    """Supervisors see all; who compiles sees what was passed on; others their own alone."""
    if person.may(Act.SETTLE_REQUEST):
        return list(State)
    return [State.PASSED_ON] if person.may(Act.COMPILE) else []
