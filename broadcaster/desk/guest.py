"""A Commander from outside: enrolled on one page, and kept to one incident everywhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from pydantic import ValidationError

from broadcaster.calling import Means
from broadcaster.desk.decision import answered, on_record, own_passkeys
from broadcaster.desk.deps import DESK
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import VISITOR, Handler, fields_of, require_person
from broadcaster.desk.sign_in import proof_in
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.guest import LINK_LIVES, LONGEST_STAY, Guest, elsewhere
from broadcaster.guests import EnrolGuest, draft_guest, end_guest, enrol_guest
from broadcaster.handover import no_such_incident, require_transfer
from broadcaster.ledger import Tx, approvals, guests, incidents, releases
from broadcaster.passkey import Json, guest_challenge, options_to_prove
from broadcaster.type_names import type_in_words

#: How long somebody may be enrolled for, in hours.
HOURS: Final = (2, 4, 8, int(LONGEST_STAY.total_seconds() // 3600))

#: What somebody from outside may call beside the pages of their incident: the ways in and out, and
#: what is the same for everybody. What `/events` tells them, it chooses itself.
ANYWHERE: Final = re.compile(
    r"/(sign-in|sign-out|enrol|practice|static|events|healthz|readyz)(/.*)?|/sw\.js"
    r"|/manifest\.webmanifest|/\.well-known/.*"
)


@web.middleware
async def own_incident_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses somebody from outside every address that is not about their one incident."""
    person = request[VISITOR].person
    if person is None or not person.outside or ANYWHERE.fullmatch(request.path):
        return await handler(request)
    named = request.match_info

    def about(tx: Tx) -> str | None:
        if request_id := named.get("request_id"):
            kept = approvals.request(tx, request_id)
            return kept.request.incident_id if kept else None
        if release_id := named.get("release_id"):
            release = releases.get(tx, release_id)
            return release.incident_id if release else None
        return named.get("incident_id")

    if person.guest_of and request.path == "/":
        raise web.HTTPSeeOther(f"/incidents/{person.guest_of}")
    incident_id = await request.app[DESK].ledger.read(about)
    if incident_id is None or incident_id != person.guest_of:
        raise elsewhere()
    return await handler(request)


routes = web.RouteTableDef()


@routes.get("/incidents/{incident_id}/guests")
async def show(request: web.Request) -> web.Response:
    """Who is enrolled from outside for this incident, and the form that enrols another."""
    return await _page(request)


@routes.post("/incidents/{incident_id}/guests")
async def act(request: web.Request) -> web.Response:
    """Drafts an enrolment, enrols with the passkey's answer and shows the link once, or ends one.

    The form goes twice: what a passkey signs names the link, which the first time makes.
    """
    desk, person, fields = request.app[DESK], require_person(request), await fields_of(request)
    incident_id = request.match_info["incident_id"]
    try:
        if ends := fields.get("end"):
            await desk.ledger.write(
                lambda tx: end_guest(tx, incident_id, ends, person), urgent=True
            )
            raise web.HTTPSeeOther(request.path)
        if "token" not in fields:
            draft = await desk.ledger.write(
                lambda tx: draft_guest(
                    tx, incident_id, person, rank=fields.get("rank", ""),
                    name=fields.get("name", ""), agency=fields.get("agency", ""),
                    hours=int(fields["hours"]) if fields.get("hours", "").isdigit() else 0,
                    telephone=fields.get("telephone", ""),
                )
            )  # fmt: skip
            return await _page(request, draft=draft)
        order = _order(incident_id, fields)

        def step(tx: Tx) -> Guest | Refusal:
            challenge = guest_challenge(order.guest)
            proof = answered(tx, desk, person, proof_in(fields), challenge)
            return enrol_guest(tx, order.model_copy(update={"proof": proof}), person, desk.site)

        await on_record(desk, step)
    except Refusal as refusal:
        return await _page(request, refusal=refusal, fields=fields)
    return await _page(request, link=f"{desk.address}/enrol/{order.token}", enrolled=order.guest)


def _order(incident_id: str, fields: Mapping[str, str]) -> EnrolGuest:
    names = ("person_id", "name", "token", "at", "until", "telephone")
    try:
        return EnrolGuest.model_validate(
            {"incident_id": incident_id} | {name: fields.get(name, "") for name in names}
        )
    except ValidationError:
        raise Refusal("guest_unreadable", "A part of what the button sends is missing, or "
                      "unreadable.", "Begin again.", field="name") from None  # fmt: skip


async def _page(
    request: web.Request, *, refusal: Refusal | None = None,
    fields: Mapping[str, str] | None = None, draft: EnrolGuest | None = None,
    link: str | None = None, enrolled: Guest | None = None,
) -> web.Response:  # fmt: skip
    desk, person = request.app[DESK], require_person(request)
    incident_id = request.match_info["incident_id"]

    def look(tx: Tx) -> tuple[str, list[Guest], Json | None, bool]:
        require_transfer(tx, person)
        kept = incidents.get(tx, incident_id)
        if kept is None:
            raise no_such_incident()
        about = kept.incident
        place = about.place.value if about.place else "place not known"
        asks, has_passkey = None, True
        if draft and (allowed := own_passkeys(tx, desk, person)) is not None:
            challenge = guest_challenge(draft.guest)
            asks = options_to_prove(desk.site, challenge=challenge, allowed=allowed)
            has_passkey = bool(allowed)
        title = f"{type_in_words(about.type.value)}, {place}"
        return title, guests.of_incident(tx, incident_id), asks, has_passkey

    title, listed, asks, has_passkey = await desk.ledger.read(look)
    return page(
        request, "guest.html", status=status_of(refusal) if refusal else 200, refusal=refusal,
        fields=fields or {}, draft=draft, link=link, enrolled=enrolled, title=title,
        listed=listed, asks=asks, has_passkey=has_passkey, incident_id=incident_id, hours=HOURS,
        by_sms=Means.SMS in desk.means, lives=LINK_LIVES,
    )  # fmt: skip
