"""The desk as one aiohttp application: what runs before every handler, and every route."""

from __future__ import annotations

from aiohttp import web

from broadcaster.desk import (
    api,
    approval,
    board,
    channels,
    fallback,
    feeds,
    guest,
    incident,
    live,
    middleware,
    people,
    pictures,
    problems,
    public,
    reach,
    record,
    release,
    requests,
    session,
    sign_in,
    templating,
    voice,
)
from broadcaster.desk.deps import DESK, Desk

#: Each has `routes`. No two name the same address.
MODULES = (
    templating, session, sign_in, fallback, board, incident, approval, release, record, people,
    reach, requests, channels, voice, guest,
    pictures, problems, api, live, public, feeds,
)  # fmt: skip


def make_app(desk: Desk) -> web.Application:
    """The desk's application. It starts nothing until it is run, and owns no port."""
    app = web.Application(
        middlewares=(*middleware.ALL, guest.own_incident_only), client_max_size=middleware.MAX_BODY
    )
    app[DESK] = desk
    app.on_response_prepare.append(middleware.add_headers)
    templating.setup(app)
    live.setup(app)
    api.setup(app)
    feeds.setup(app)
    for module in MODULES:
        app.add_routes(module.routes)
    return app
