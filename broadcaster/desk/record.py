"""The record: whether its chain verifies, and every entry, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from aiohttp import web

from broadcaster import anchors
from broadcaster.desk.deps import DESK
from broadcaster.desk.session import require_person
from broadcaster.desk.story import tell
from broadcaster.desk.templating import page
from broadcaster.ledger import Tx, people, records
from broadcaster.record import Kind, Sealed, Verdict
from broadcaster.roster import Act, require

PAGE = 100
#: A record of so many entries is verified whenever it is looked at; a longer one when asked.
VERIFY_AT_ONCE = 2000
#: Entries read for the export in one go.
EXPORT = 1000

routes = web.RouteTableDef()


def number_in(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of a query; None where there is none."""
    value = query.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


@routes.get("/record")
async def show(request: web.Request) -> web.Response:
    """The record's page, for one incident or kind if the query says so."""
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ_RECORD)
    incident_id, kind = request.query.get("incident", ""), request.query.get("kind", "")
    before = number_in(request.query, "before")
    kept = anchors.read(desk.settings.anchors_path)

    def look(tx: Tx) -> tuple[int, list[records.Line], dict[str, str], Verdict | None]:
        count = records.count(tx)
        lines = records.lines(
            tx, before=before, incident_id=incident_id or None, kinds=[kind] if kind else (),
            limit=PAGE + 1,
        )  # fmt: skip
        names = {each.id: each.name for each in people.everybody(tx)}
        asked = "verify" in request.query or count <= VERIFY_AT_ONCE
        return count, lines, names, records.verify(tx, kept) if asked else None

    count, lines, names, verdict = await desk.ledger.read(look, long="verify" in request.query)
    titles = {channel.name: channel.title for channel in desk.channels}
    return page(
        request,
        "record.html",
        count=count,
        told=[tell(line, names, titles) for line in lines[:PAGE]],
        older=lines[PAGE - 1].number if len(lines) > PAGE else None,
        before=before,
        verdict=verdict,
        anchors=len(kept),
        incident_id=incident_id,
        kind=kind,
        kinds=sorted(Kind),
    )


@routes.get("/record.ndjson")
async def export(request: web.Request) -> web.StreamResponse:
    """Every entry in order, a JSON object a line: what `broadcaster verify` proves."""
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ_RECORD)
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/x-ndjson",
            "Content-Disposition": 'attachment; filename="record.ndjson"',
        }
    )
    await response.prepare(request)
    last = 0
    while some := await desk.ledger.read(partial(records.after, number=last, limit=EXPORT)):
        await response.write(b"".join(_line(sealed) for sealed in some))
        last = some[-1].number
    await response.write_eof()
    return response


def _line(sealed: Sealed) -> bytes:
    """`body` is the very text that `hash` covers; `private` holds what its digests stand for."""
    said = {
        "number": sealed.number,
        "previous_hash": sealed.previous_hash,
        "hash": sealed.hash,
        "body": sealed.entry.body,
        "private": {
            each.field: {"salt": each.salt.hex(), "value": each.value}
            for each in sealed.entry.private
        },
    }
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"
