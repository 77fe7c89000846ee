"""What came in wrong: where, why, and what to do about it."""

from __future__ import annotations

from aiohttp import web

from broadcaster.desk.deps import DESK
from broadcaster.desk.middleware import status_of
from broadcaster.desk.record import number_in
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, problems
from broadcaster.roster import Act, require

MOST = 200

routes = web.RouteTableDef()


@routes.get("/problems")
async def show(request: web.Request) -> web.Response:
    """The problems that are open, or all of them."""
    return await _page(request)


@routes.post("/problems")
async def drop(request: web.Request) -> web.Response:
    """Drops one: somebody has seen it, and nothing more is to be done."""
    desk, person = request.app[DESK], require_person(request)
    try:
        require(person, Act.SETTLE_PROBLEM)
        number = number_in(await fields_of(request), "number") or 0
        await desk.ledger.write(lambda tx: problems.settle(tx, number, "dropped", actor=person.id))
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(request.path_qs)


async def _page(request: web.Request, refusal: Refusal | None = None) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)
    everything = request.query.get("show") == "all"

    def look(tx: Tx) -> tuple[int, list[problems.Problem]]:
        listed = problems.listed(tx, state=None if everything else "open", limit=MOST)
        return problems.open_count(tx), listed

    count, listed = await desk.ledger.read(look)
    return page(
        request,
        "problems.html",
        status=status_of(refusal) if refusal else 200,
        count=count,
        listed=listed,
        everything=everything,
        most=MOST,
        may_settle=person.may(Act.SETTLE_PROBLEM),
        refusal=refusal,
    )
