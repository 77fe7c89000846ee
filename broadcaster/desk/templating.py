"""Pages from templates: what every page is told, and the words for times, states and numbers.

Templates stand in `templates/`, escape everything, and fail on a name that nobody gave them.
Styles and scripts stand in `static/`; `static('x.css')` is the address that may be cached for ever.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2
import segno
from aiohttp import web
from markupsafe import Markup

from broadcaster.clock import age
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.live import SINCE
from broadcaster.desk.marks import mark, state
from broadcaster.desk.session import VISITOR, Visitor
from broadcaster.roster import Act
from broadcaster.update import short_code

_HERE = Path(__file__).parent


def units(count: int, one: str, many: str | None = None) -> str:
    """A number with its unit: `1 segment`, `2 segments`, `1,204 characters`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def local(desk: Desk, at: datetime, *, seconds: bool = False) -> str:
    """A time as people here say it, with its zone; with its date where that is not today's."""
    there, today = (
        at.astimezone(desk.settings.zone),
        desk.clock.now().astimezone(desk.settings.zone),
    )
    clock = f"{there:%H:%M:%S %Z}" if seconds else f"{there:%H:%M %Z}"
    if there.date() == today.date():
        return clock
    year = "" if there.year == today.year else f" {there.year}"
    return f"{there:%a %b} {there.day}{year}, {clock}"


def when(desk: Desk, at: datetime) -> Markup:
    """A time with its age: `14:02 PST, 3 min ago`; one to come, without."""
    now = desk.clock.now()
    said = local(desk, at) if at > now else f"{local(desk, at)}, {age(at, now)}"
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), said)


def ago(desk: Desk, at: datetime) -> Markup:
    """How old a time is, alone: `3 min ago`. The page's script keeps it true."""
    said = age(at, desk.clock.now())
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), said)


def until(desk: Desk, at: datetime) -> Markup:
    """How long until a time: `9 min 20 s`, `40 s`. The page's script counts it down."""
    left = max(0, int((at - desk.clock.now()).total_seconds()))
    said = f"{left // 60} min {left % 60} s" if left >= 60 else f"{left} s"
    return Markup('<time datetime="{}" data-until>{}</time>').format(
        at.isoformat(timespec="seconds"), said
    )


def qr(text: str) -> Markup:
    """A QR code (ISO/IEC 18004) as SVG that stands in the page; black on white in the dark, too."""
    made = segno.make(text, error="m", micro=False)
    return Markup(made.svg_inline(omitsize=True, border=4, dark="#000", light="#fff"))


@dataclass(frozen=True)
class Asset:
    """A file under `static/`, as it is sent."""

    body: bytes
    content_type: str
    tag: str


def assets() -> dict[str, Asset]:
    """Every file under `static/`, read once; its tag changes with its content."""
    folder = _HERE / "static"
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            body = path.read_bytes()
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            name = path.relative_to(folder).as_posix()
            found[name] = Asset(body, kind, hashlib.sha256(body).hexdigest()[:16])
    return found


ASSETS = web.AppKey("assets", dict[str, Asset])
ENVIRONMENT = web.AppKey("environment", jinja2.Environment)


def setup(app: web.Application) -> None:
    """Reads the templates' folder and the static files into the application."""
    desk = app[DESK]
    app[ASSETS] = found = assets()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "when": lambda at: when(desk, at),
        "local": lambda at: local(desk, at),
        "local_seconds": lambda at: local(desk, at, seconds=True),
        "age": lambda at: ago(desk, at),
        "until": lambda at: until(desk, at),
        "state": state,
        "mark": mark,
        "code": short_code,
        "qr": qr,
        "units": units,
        "clock": lambda seconds: f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}",
    }
    environment.globals |= {
        "static": lambda name: f"/static/{name}?v={found[name].tag}",
        "world": desk.settings.world,
        "department": desk.settings.department,
        "contact": desk.settings.contact,
        "address": desk.address,
        "practice": desk.practice,
    }
    app[ENVIRONMENT] = environment


def page(
    request: web.Request, template: str, *, status: int = 200, **context: object
) -> web.Response:
    """A page. Its template also knows who asks, how the streams are, and where we are.

    Always there: `world department contact address practice static()` and `person
    practice_persons flow here now since`; a page's stream of changes is
    `/events?since={{ since }}`.
    """
    app = request.app
    visitor = request.get(VISITOR, Visitor())
    text = app[ENVIRONMENT].get_template(template).render(
        person=visitor.person,
        practice_persons=visitor.practice_persons,
        ended=visitor.ended,
        clock_step=visitor.clock,
        may_run=bool(visitor.person and visitor.person.may(Act.RUN_CHANNEL)),
        may_end=bool(
            visitor.person and visitor.person.may(Act.STOP) and not visitor.person.outside
        ),
        may_begin=bool(visitor.person and visitor.person.may(Act.APPROVE_DEVICE)),
        flow=app[DESK].flow(),
        here=request.path_qs,
        now=app[DESK].clock.now(),
        since=request.get(SINCE, ""),
        **context,
    )  # fmt: skip
    return web.Response(text=text, content_type="text/html", status=status)


routes = web.RouteTableDef()


@routes.get("/static/{name:.+}")
async def static_file(request: web.Request) -> web.Response:
    """A style, script or picture. With its tag in the address it may be kept for a year."""
    asset = request.app[ASSETS].get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    for_ever = request.query.get("v") == asset.tag
    headers = {
        "ETag": f'"{asset.tag}"',
        "Cache-Control": "public, max-age=31536000, immutable" if for_ever else "no-cache",
    }
    if any(tag.value == asset.tag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    text = asset.content_type.startswith("text/") or asset.content_type.endswith("javascript")
    return web.Response(
        body=asset.body, content_type=asset.content_type, charset="utf-8" if text else None,
        headers=headers,
    )  # fmt: skip
