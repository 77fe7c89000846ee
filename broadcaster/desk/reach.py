"""How people are called: their own page of it, the service worker that shows a push, and what
Twilio tells of an SMS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from aiohttp import web

from broadcaster import apps
from broadcaster.calling import Means, Outcome, Progress
from broadcaster.desk.deps import DESK, SMS_REPORTS, Desk
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.templating import ASSETS, local, page
from broadcaster.desk.voice import codes_asked, handed_out, may_have_codes
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import Tx, calls
from broadcaster.ledger.calls import Kept
from broadcaster.roster import Act, require

routes = web.RouteTableDef()


@routes.get("/me")
async def show(request: web.Request) -> web.Response:
    """How the person who is signed in is called."""
    return await _page(request)


@routes.post("/me")
async def act(request: web.Request) -> web.Response:
    """Adds an address of one's own, or strikes one off."""
    desk, person, fields = request.app[DESK], require_person(request), await fields_of(request)

    if "codes" in fields:
        try:
            return await _page(request, codes=await handed_out(desk, person, fields))
        except Refusal as refusal:
            return await _page(request, refusal, fields)

    def step(tx: Tx) -> None:
        if reach_id := fields.get("end"):
            if calls.owner_of(tx, reach_id) != person.id:
                require(person, Act.APPROVE_DEVICE)
            calls.end_reach(tx, reach_id, actor=person.id)
        else:
            means = _means(desk, fields.get("means", ""))
            calls.add_reach(tx, person.id, means, fields.get("address", ""), actor=person.id)

    try:
        await desk.ledger.write(step, urgent=True)
    except Refusal as refusal:
        return await _page(request, refusal, fields)
    raise web.HTTPSeeOther(request.path)


@routes.post(f"{SMS_REPORTS}/{{call_id}}")
async def reported(request: web.Request) -> web.Response:
    """What Twilio tells of an SMS that it took. Its signature proves that it does."""
    desk = request.app[DESK]
    if desk.sms_report is None:
        raise Refusal("no_sms", "No SMS are sent from here.", "Nothing was kept.",
                      kind=Kind.NOT_FOUND)  # fmt: skip
    progress = desk.sms_report(
        desk.address + request.path_qs,
        await fields_of(request),
        request.headers.get("X-Twilio-Signature", ""),
    )
    if progress is not None:
        call_id = request.match_info["call_id"]
        await desk.ledger.write(lambda tx: calls.report(tx, call_id, progress))
    return web.Response(status=204)


@routes.get("/sw.js")
async def service_worker(request: web.Request) -> web.Response:
    """Shows a push, and opens what it leads to. At the root, for a worker rules its own folder."""
    asset = request.app[ASSETS]["sw.js"]
    return web.Response(body=asset.body, content_type="text/javascript", charset="utf-8",
                        headers={"Cache-Control": "no-cache"})  # fmt: skip


@routes.get("/manifest.webmanifest")
async def manifest(request: web.Request) -> web.Response:
    """Makes the desk installable: a phone that has it installed may be pushed to."""
    desk = request.app[DESK]
    prefix = "EXERCISE " if desk.settings.world == "exercise" else ""
    icon = {"src": "/static/icon.svg", "sizes": "any", "type": "image/svg+xml"}
    return web.json_response(
        {
            "name": f"{prefix}Alerts, {desk.settings.department}",
            "short_name": f"{prefix}Alerts",
            "start_url": "/",
            "display": "standalone",
            "icons": [icon],
        },
        content_type="application/manifest+json",
    )


@routes.get("/.well-known/assetlinks.json")
async def asset_links(request: web.Request) -> web.Response:
    """Lets the department's own Android apps use this site's passkeys."""
    return web.json_response(apps.asset_links(request.app[DESK].settings.apps))


@routes.get("/.well-known/apple-app-site-association")
async def associated(request: web.Request) -> web.Response:
    """Lets the department's own apps for Apple's devices use this site's passkeys."""
    return web.json_response(apps.associated(request.app[DESK].settings.apps))


def _means(desk: Desk, text: str) -> Means:
    """The means that a form names, if this installation has an account for it."""
    found = next((each for each in desk.means if each == text), None)
    if found is None:
        raise Refusal(
            "means_unknown", "This installation cannot call people that way.",
            "Choose among the ways shown; the administrator adds others in the settings.",
            field="means",
        )  # fmt: skip
    return found


#: What is asked for where a person adds an address by hand.
ASKS: Mapping[Means, str] = {
    Means.SMS: "Telephone number, with the country's code",
    Means.MAIL: "Mailbox",
    Means.WEBHOOK: "What the department's app calls you",
}


async def _page(
    request: web.Request, refusal: Refusal | None = None, fields: Mapping[str, str] | None = None,
    codes: Sequence[str] = (),
) -> web.Response:  # fmt: skip
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)
    reaches, asks = await desk.ledger.read(
        lambda tx: (calls.reaches_of(tx, person.id), codes_asked(tx, desk, person))
    )
    return page(
        request, "reach.html", reaches=reaches, means=desk.means, asks=ASKS, refusal=refusal,
        fields=fields or {}, codes=codes, codes_asks=asks,
        may_voice=may_have_codes(desk, person), push_key=desk.push_key,
        status=status_of(refusal) if refusal else 200,
    )  # fmt: skip


# --- What came of the calls, in words ---------------------------------------------------------


def told(several: Iterable[Kept], names: Mapping[str, str], desk: Desk) -> list[str]:
    """For each person called, what came of the newest round: `Sgt Ortiz: push accepted 14:02:09,
    SMS delivered; opened 14:02:31`."""
    newest: dict[str, dict[Means, Kept]] = {}
    for call in several:
        newest.setdefault(call.person_id, {})[call.means] = call
    return [
        f"{names.get(person_id, person_id)}: {_person(list(by_means.values()), desk)}"
        for person_id, by_means in newest.items()
    ]


def _person(several: list[Kept], desk: Desk) -> str:
    parts = ", ".join(_call(call, desk) for call in several)
    opened: datetime | None = next((each.opened_at for each in several if each.opened_at), None)
    rounds = max(each.attempt for each in several)
    return (
        parts
        + (f"; called {rounds} times" if rounds > 1 else "")
        + (f"; opened {local(desk, opened, seconds=True)}" if opened else "")
    )


def _call(call: Kept, desk: Desk) -> str:
    at = f" {local(desk, call.ended_at, seconds=True)}" if call.ended_at else ""
    match call.outcome:
        case Outcome.ACCEPTED if call.progress in (Progress.DELIVERED, Progress.FAILED):
            words = "delivered" if call.progress is Progress.DELIVERED else "did not arrive"
            return f"{call.means} {words}"
        case Outcome.ACCEPTED:
            return f"{call.means} accepted{at}"
        case Outcome.OPEN:
            return f"{call.means} being sent"
        case Outcome.LATER:
            return f"{call.means} not sent yet, tried again"
        case Outcome.REFUSED:
            return f"{call.means} refused{at}"
        case Outcome.IN_DOUBT:
            return f"{call.means} perhaps sent{at}"
