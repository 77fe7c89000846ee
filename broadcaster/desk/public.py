"""The department's own page: what the public was told, for any browser, without a script.

It shows approved words and what frames them (number, times, short code), and nothing else. In the
exercise world only people who are signed in may read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.feeds import feed_password
from broadcaster.desk.session import person, require_person
from broadcaster.desk.templating import page
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import publications
from broadcaster.ledger.publications import Publication
from broadcaster.update import UpdateKind

routes = web.RouteTableDef()

#: Updates looked through for the first page.
NEWEST = 200

#: What an update is called, where it is more than an update.
LABELS = {
    UpdateKind.CORRECTION: "Correction",
    UpdateKind.RETRACTION: "Retraction",
    UpdateKind.ALL_CLEAR: "All clear",
}


@dataclass(frozen=True)
class Shown:
    """An update on the page: what it is called, and what has become of it since."""

    it: Publication
    expired: bool
    label: str | None
    #: The update that a correction or retraction is about, if it stood on this page.
    about: Publication | None
    #: The correction or retraction that came after it.
    undone_by: Publication | None

    @property
    def retracted(self) -> bool:
        return self.undone_by is not None and self.undone_by.kind == UpdateKind.RETRACTION


def shown(told: Sequence[Publication], now: datetime) -> list[Shown]:
    """One incident's updates, newest first, each with what has become of it."""
    by_release = {each.release_id: each for each in told}
    undone: dict[str, Publication] = {}
    for each in told:  # newest first: the last word on an update counts
        if each.corrects:
            undone.setdefault(each.corrects, each)
    return [
        Shown(
            each,
            expired=each.expires_at <= now,
            label=LABELS.get(UpdateKind(each.kind)),
            about=by_release.get(each.corrects) if each.corrects else None,
            undone_by=undone.get(each.release_id),
        )
        for each in told
    ]


@routes.get("/p")
async def first_page(request: web.Request) -> web.Response:
    """The newest word on each incident, then on each notice; last what no longer holds."""
    desk = _reader(request)
    told = await desk.ledger.read(lambda tx: publications.newest(tx, NEWEST))
    by_incident: dict[str, list[Publication]] = {}
    for each in told:
        by_incident.setdefault(each.incident_id, []).append(each)
    tops = [shown(several, desk.clock.now())[0] for several in by_incident.values()]
    over = [top for top in tops if top.expired or top.it.kind == UpdateKind.ALL_CLEAR]
    current = [top for top in tops if top not in over]
    return _cached(
        request,
        told,
        "public/index.html",
        current=[top for top in current if not top.it.routine],
        notices=[top for top in current if top.it.routine],
        over=over,
        feed_password=feed_password(request.app) if person(request) else None,
    )


@routes.get("/p/{public_id:[0-9a-z]{8}}")
async def incident_page(request: web.Request) -> web.Response:
    """Everything that was told about one incident, newest first."""
    desk, public_id = _reader(request), request.match_info["public_id"]
    told = await desk.ledger.read(lambda tx: publications.of_incident(tx, public_id))
    if not told:
        raise Refusal(
            "nothing_told",
            "Nothing has been told about this incident.",
            "Look at the first page for what is going on now.",
            kind=Kind.NOT_FOUND,
        )
    top, *earlier = shown(told, desk.clock.now())
    return _cached(request, told, "public/incident.html", top=top, earlier=earlier)


def _reader(request: web.Request) -> Desk:
    """The desk, for anybody in the live world, and for who is signed in in an exercise."""
    desk = request.app[DESK]
    if desk.settings.world == "exercise":
        require_person(request)
    return desk


def _cached(
    request: web.Request, told: Sequence[Publication], template: str, **context: object
) -> web.Response:
    """The page, which a cache may keep for a moment; it says ages, so it changes each minute."""
    desk, who = request.app[DESK], person(request)
    now = desk.clock.now()
    parts = [who.id if who else "", f"{now:%Y%m%d%H%M}", str(desk.flow().running)]
    parts += [f"{each.post_id}{each.expires_at <= now}" for each in told]
    tag = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    headers = {
        "ETag": f'W/"{tag}"',
        "Cache-Control": "private, no-cache" if who else "public, max-age=15, stale-if-error=86400",
        "Vary": "Cookie",
    }
    if any(each.value == tag for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    response = page(request, template, status=200, **context)
    response.headers.update(headers)
    return response
