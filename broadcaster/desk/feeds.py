"""The public's feeds: Atom, RSS 2.0, JSON Feed 1.1, and CAP 1.2 with its index.

They carry the approved words and what frames them. An exercise's feeds ask for a name and a
password (HTTP Basic), which the public page shows to people who are signed in.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.etree import ElementTree as ET

from aiohttp import web

from broadcaster.desk import cap
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.session import person
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.incident import NAMESPACE
from broadcaster.ledger import Tx, publications
from broadcaster.ledger.publications import Publication
from broadcaster.media import Picture
from broadcaster.update import short_code

ATOM = "http://www.w3.org/2005/Atom"
ET.register_namespace("atom", ATOM)
FEED_USER = "feeds"

#: Updates in a feed.
NEWEST = 50


# --- The formats ------------------------------------------------------------------------------


def atom(desk: Desk, told: Sequence[Publication]) -> bytes:
    """RFC 4287."""
    feed = _atom_feed(desk, "/p/feed.atom", f"{desk.settings.department}: updates", told)
    for each in told:
        entry = _atom_entry(feed, each)
        _element(entry, "link", rel="alternate", href=address(desk, each))
        for category in _categories(each):
            _element(entry, "category", term=category)
        for picture in each.pictures:
            _element(entry, "link", rel="enclosure", type=picture.type, length=str(picture.size),
                     title=picture.alt, href=picture_address(desk, each, picture))  # fmt: skip
        _element(entry, "content", each.text, type="text")
    return _xml(feed)


def cap_index(desk: Desk, told: Sequence[Publication]) -> bytes:
    """An Atom feed of CAP alerts, one entry a message. A notice alerts nobody, and is none."""
    feed = _atom_feed(desk, "/p/cap.atom", f"{desk.settings.department}: CAP 1.2", told)
    for each in told:
        if each.routine:
            continue
        entry = _atom_entry(feed, each)
        _element(
            entry, "link", rel="alternate", type="application/cap+xml",
            href=f"{desk.address}/p/cap/{each.post_id}.xml",
        )  # fmt: skip
        _element(entry, "summary", each.text, type="text")
    return _xml(feed)


def rss(desk: Desk, told: Sequence[Publication]) -> bytes:
    """RSS 2.0."""
    root = ET.Element("rss", {"version": "2.0"})
    channel = _element(root, "channel")
    _element(channel, "title", f"{desk.settings.department}: updates")
    _element(channel, "link", f"{desk.address}/p")
    _element(channel, "description", f"What {desk.settings.department} tells the public.")
    _element(channel, "language", "en")
    _element(channel, "lastBuildDate", format_datetime(_newest(told)))
    _element(channel, "ttl", "1")
    ET.SubElement(
        channel, f"{{{ATOM}}}link", rel="self", type="application/rss+xml",
        href=f"{desk.address}/p/feed.rss",
    )  # fmt: skip
    for each in told:
        item = _element(channel, "item")
        _element(item, "title", each.headline)
        _element(item, "link", address(desk, each))
        _element(item, "guid", f"urn:uuid:{each.post_id}", isPermaLink="false")
        _element(item, "pubDate", format_datetime(each.published_at.astimezone(UTC)))
        for category in _categories(each):
            _element(item, "category", category)
        for picture in each.pictures[:1]:  # RSS 2.0 has one enclosure
            _element(item, "enclosure", url=picture_address(desk, each, picture),
                     length=str(picture.size), type=picture.type)  # fmt: skip
        _element(item, "description", each.text)
    return _xml(root)


def json_feed(desk: Desk, told: Sequence[Publication]) -> bytes:
    """JSON Feed 1.1."""
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": f"{desk.settings.department}: updates",
        "home_page_url": f"{desk.address}/p",
        "feed_url": f"{desk.address}/p/feed.json",
        "language": "en",
        "authors": [{"name": desk.settings.department}],
        "items": [
            {
                "id": f"urn:uuid:{each.post_id}",
                "url": address(desk, each),
                "title": each.headline,
                "content_text": each.text,
                "date_published": each.published_at.isoformat(timespec="seconds"),
                "tags": _categories(each),
                **_attachments(desk, each),
                "_broadcaster": {
                    "number": each.number,
                    "code": short_code(each.digest),
                    "area": each.area,
                    "expires_at": each.expires_at.isoformat(timespec="seconds"),
                },
            }
            for each in told
        ],
    }
    return json.dumps(feed, ensure_ascii=False).encode()


def address(desk: Desk, told: Publication) -> str:
    """Where an update stands on the public page."""
    return f"{desk.address}/p/{told.incident_public_id}#{told.number}"


def picture_address(desk: Desk, told: Publication, picture: Picture) -> str:
    """Where the public can fetch an update's picture."""
    return f"{desk.address}/p/{told.incident_public_id}/{told.post_id}/{picture.file_name}"


def _attachments(desk: Desk, told: Publication) -> dict[str, object]:
    if not told.pictures:
        return {}
    return {
        "image": picture_address(desk, told, told.pictures[0]),
        "attachments": [
            {
                "url": picture_address(desk, told, each),
                "mime_type": each.type,
                "title": each.alt,
                "size_in_bytes": each.size,
            }
            for each in told.pictures
        ],
    }


def _atom_feed(desk: Desk, path: str, title: str, told: Sequence[Publication]) -> ET.Element:
    feed = ET.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    name = f"feed\0{desk.settings.world}\0{desk.settings.department}\0{path}"
    _element(feed, "id", f"urn:uuid:{uuid.uuid5(NAMESPACE, name)}")
    _element(feed, "title", title)
    _element(feed, "updated", _newest(told).isoformat(timespec="seconds"))
    _element(_element(feed, "author"), "name", desk.settings.department)
    _element(feed, "link", rel="self", type="application/atom+xml", href=f"{desk.address}{path}")
    _element(feed, "link", rel="alternate", type="text/html", href=f"{desk.address}/p")
    return feed


def _atom_entry(feed: ET.Element, told: Publication) -> ET.Element:
    entry, at = _element(feed, "entry"), told.published_at.isoformat(timespec="seconds")
    _element(entry, "id", f"urn:uuid:{told.post_id}")
    _element(entry, "title", told.headline, type="text")
    _element(entry, "published", at)
    _element(entry, "updated", at)
    return entry


def _categories(told: Publication) -> list[str]:
    """What an update is, and whether it is about no incident."""
    return [told.kind, "notice"] if told.routine else [told.kind]


def _newest(told: Sequence[Publication]) -> datetime:
    """When a feed last moved; an empty one has not moved since time began."""
    newest = max((each.published_at for each in told), default=datetime.fromtimestamp(0, UTC))
    return newest.astimezone(UTC)


def _element(parent: ET.Element, tag: str, text: str | None = None, **more: str) -> ET.Element:
    element = ET.SubElement(parent, tag, more)
    element.text = text
    return element


def _xml(root: ET.Element) -> bytes:
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


# --- Over HTTP --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """A feed's address, type and maker."""

    path: str
    content_type: str
    make: Callable[[Desk, Sequence[Publication]], bytes]


FEEDS = (
    Feed("/p/feed.atom", "application/atom+xml", atom),
    Feed("/p/feed.rss", "application/rss+xml", rss),
    Feed("/p/feed.json", "application/feed+json", json_feed),
    Feed("/p/cap.atom", "application/atom+xml", cap_index),
)


async def feed(request: web.Request) -> web.Response:
    """The newest updates in one of the formats."""
    desk = reader(request)
    of = next(each for each in FEEDS if each.path == request.path)
    told = await desk.ledger.read(lambda tx: publications.newest(tx, NEWEST))
    return _conditional(request, of.make(desk, told), of.content_type, _newest(told))


async def cap_message(request: web.Request) -> web.Response:
    """One update as a CAP 1.2 message, signed where the department has a key for that."""
    desk, post_id = reader(request), request.match_info["post_id"]

    def look(tx: Tx) -> tuple[list[Publication], dict[str, str]]:
        one = publications.one(tx, post_id)
        if one is None:
            return [], {}
        return publications.of_incident(tx, one.incident_public_id), publications.sha1s(tx, one)

    told, sha1s = await desk.ledger.read(look)
    mine = next((each for each in told if each.post_id == post_id and not each.routine), None)
    if mine is None:
        raise Refusal("no_such_message", "There is no such CAP message.",
                      "The index /p/cap.atom lists them.", kind=Kind.NOT_FOUND)  # fmt: skip
    resources = [
        cap.Resource(each.alt, each.type, each.size, picture_address(desk, mine, each),
                     sha1s.get(each.digest))
        for each in mine.pictures
    ]  # fmt: skip
    body = cap.message(desk, mine, told, resources)
    if desk.cap_signer is not None:
        body = await desk.cap_signer.signed(body)
    return _conditional(request, body, "application/cap+xml", mine.published_at)


routes = [
    *(web.get(each.path, feed) for each in FEEDS),
    web.get("/p/cap/{post_id:[0-9a-f-]{36}}.xml", cap_message),
]


def _conditional(
    request: web.Request, body: bytes, content_type: str, changed: datetime
) -> web.Response:
    """The body, unless the reader has it already."""
    tag = hashlib.sha256(body).hexdigest()[:32]
    exercise = request.app[DESK].settings.world == "exercise"
    headers = {
        "ETag": f'"{tag}"',
        "Last-Modified": format_datetime(changed.astimezone(UTC), usegmt=True),
        "Cache-Control": "private, no-cache" if exercise else "public, max-age=15",
    }
    if request.if_none_match is not None:
        same = any(each.value in (tag, "*") for each in request.if_none_match)
    else:
        since = request.if_modified_since
        same = since is not None and changed.replace(microsecond=0) <= since
    if same:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)


# --- Who may read an exercise's feeds ---------------------------------------------------------


class _Password:
    """Set once, when the application starts."""

    value: str | None = None


_PASSWORD = web.AppKey("feed_password", _Password)


def feed_password(app: web.Application) -> str | None:
    """The password of an exercise's feeds; None in the live world, whose feeds are for all."""
    return app[_PASSWORD].value


def setup(app: web.Application) -> None:
    """Looks up, or makes, the password of an exercise's feeds when the desk starts."""
    app[_PASSWORD] = password = _Password()
    desk = app[DESK]

    async def start(app: web.Application) -> None:
        if desk.settings.world == "exercise":
            with contextlib.suppress(LedgerAway):  # then a session alone opens them
                password.value = await desk.ledger.write(publications.feed_password)

    app.on_startup.append(start)


def reader(request: web.Request) -> Desk:
    desk = request.app[DESK]
    if desk.settings.world == "exercise" and person(request) is None and not _knows(request):
        raise web.HTTPUnauthorized(
            headers={"WWW-Authenticate": 'Basic realm="EXERCISE feeds", charset="UTF-8"'}
        )
    return desk


def _knows(request: web.Request) -> bool:
    """Whether the request carries the feeds' name and password."""
    password = feed_password(request.app)
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if password is None or kind.lower() != "basic":
        return False
    try:
        sent = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(sent, f"{FEED_USER}:{password}".encode())
