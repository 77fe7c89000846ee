"""Pictures, over HTTP: uploaded with what stands in the composer, and served.

The desk serves them to who may read about their incident, and no browser keeps them then, as
nothing that is behind a session (ASVS 14.3.2). The public page serves them to everybody, for as
long as a post that shows them is out.
"""

from __future__ import annotations

import asyncio

from aiohttp import BodyPartReader, web
from multidict import MultiDict

from broadcaster.cleaning import MOST_SENT, Cleaned, clean_picture, too_large
from broadcaster.desk.deps import DESK
from broadcaster.desk.feeds import reader
from broadcaster.desk.middleware import MAX_BODY
from broadcaster.desk.session import require_person
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import Tx, approvals, pictures, publications
from broadcaster.ledger.pictures import Kept
from broadcaster.roster import Act, require

#: Read of a file that is too large, so that the browser hears why and the form is kept.
MOST_READ = 64 * 1024 * 1024

#: One is made anew at a time, for the memory that it takes meanwhile.
_ONE = asyncio.Semaphore(1)


async def uploaded(request: web.Request) -> tuple[MultiDict[object], bytes | None]:
    """The fields of a form, and the file in its `file`: None where that is too large.

    Raises Refusal where it is no such form. What is sent is kept in memory and nowhere else.
    """
    fields: MultiDict[object] = MultiDict()
    sent: bytes | None = b""
    room = MAX_BODY
    try:
        parts = await request.multipart()
        while (part := await parts.next()) is not None:
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise _no_form()
            if part.name == "file":
                sent = await _file(part)
                continue
            value = bytearray()
            while chunk := await part.read_chunk():
                value += chunk
                room -= len(chunk)
                if room < 0:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY, MAX_BODY + 1)
            fields.add(part.name, value.decode())
    except (ValueError, LookupError, AssertionError):  # broken parts, another charset
        raise _no_form() from None
    return fields, sent


async def _file(part: BodyPartReader) -> bytes | None:
    data, size = bytearray(), 0
    while chunk := await part.read_chunk(65_536):
        size += len(chunk)
        if size > MOST_READ:
            raise too_large()
        if size > MOST_SENT:
            data.clear()
        else:
            data += chunk
    return bytes(data) if size <= MOST_SENT else None


def _no_form() -> Refusal:
    return Refusal(
        "not_a_form", "This form cannot be read.", "Go back, reload the page and send it again."
    )


async def cleaned(sent: bytes | None) -> Cleaned:
    """The picture in a file, made anew beside the event loop. Raises Refusal."""
    if sent is None:
        raise too_large()
    async with _ONE:
        return await asyncio.to_thread(clean_picture, sent)


# --- Served -----------------------------------------------------------------------------------

routes = web.RouteTableDef()

_NAME = r"{digest:[0-9a-f]{64}}.{ending:jpg|png}"


@routes.get("/incidents/{incident_id}/pictures/" + _NAME)
async def show(request: web.Request) -> web.Response:
    """To who is signed in. Somebody from outside sees what was submitted of their incident."""
    person, named = require_person(request), request.match_info
    require(person, Act.READ)

    def look(tx: Tx) -> Kept | None:
        if person.outside and not any(
            named["digest"] in revision.media
            for revision in approvals.revisions_of(tx, named["incident_id"])
        ):
            return None
        return pictures.get(tx, named["digest"])

    kept = await request.app[DESK].ledger.read(look)
    return _answer(request, kept, "no-store")


@routes.get("/p/{public_id:[0-9a-z]{8}}/{post_id:[0-9a-f-]{36}}/" + _NAME)
async def show_public(request: web.Request) -> web.Response:
    """To everybody in the live world, while it is out.

    Its address names its bytes, so that they never change; but caches keep it for an hour, since
    a picture that was taken back must be gone soon.
    """
    desk, named = reader(request), request.match_info
    kept = await desk.ledger.read(
        lambda tx: publications.picture(tx, named["public_id"], named["post_id"], named["digest"])
    )
    exercise = desk.settings.world == "exercise"
    return _answer(
        request, kept, "private, no-cache" if exercise else "public, max-age=3600, immutable"
    )


def _answer(request: web.Request, kept: Kept | None, caching: str) -> web.Response:
    if kept is None:
        raise Refusal(
            "no_such_picture", "There is no such picture here, or no longer.",
            "Look at the page that it stood on.", kind=Kind.NOT_FOUND,
        )  # fmt: skip
    headers = {"Cache-Control": caching, "ETag": f'"{kept.image.digest}"'}
    if any(each.value == kept.image.digest for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=kept.data, content_type=kept.image.type, headers=headers)
