"""What stands between the network and every handler: who may call, and how we say no.

Requests that change something must come from our own pages. A browser says where a request was
made in `Sec-Fetch-Site`, or where it is too old or the address is plain http, in `Origin`; a
request with neither comes from no page, and must say so (`application/json` and `X-Broadcaster:
1`, which no form can send, and no other site's script without our leave). Reports that CAD
systems sign are told apart by their signature instead.
"""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from yarl import URL

from broadcaster.desk.deps import DESK, LOOPBACK, Desk
from broadcaster.desk.live import note_since
from broadcaster.desk.session import Handler, SignInFirst, sign_in_address, visitor_middleware
from broadcaster.desk.templating import page
from broadcaster.errors import Kind, Refusal

_log = structlog.get_logger(__name__)

STATUS: Final = {
    Kind.INVALID: 422,
    Kind.UNKNOWN: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.GONE: 410,
    Kind.TOO_LARGE: 413,
    Kind.UNAVAILABLE: 503,
}

#: What could not even be read, as against read and found wrong.
UNREADABLE = frozenset({"not_json", "too_deep", "duplicate_key", "not_a_form", "bad_request"})

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})

#: What programs call, and read.
PROGRAMS: Final = ("/api/", "/hooks/")

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

#: What anybody may read in the live world, and find by searching.
PUBLIC: Final = re.compile(r"/p(/|$)")

#: Proved by a signature in what is sent, which no other site can make a browser send.
SIGNED: Final = re.compile(r"/api/v1/reports|/hooks/(sms|approval)/[^/]+")

MAX_BODY = 1024 * 1024

#: Takes more than that, and reads it itself (broadcaster/desk/pictures.py).
UPLOAD: Final = re.compile(r"/incidents/[^/]+/picture")

SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Nothing to other sites, as with no-referrer, which would also turn the Origin of our own
    # forms to "null": browsers without Sec-Fetch-Site could then send none of them.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def status_of(refusal: Refusal) -> int:
    """The HTTP status of a refusal."""
    return 400 if refusal.code in UNREADABLE else STATUS[refusal.kind]


def problem(refusal: Refusal, status: int | None = None) -> web.Response:
    """A refusal for a program (RFC 9457)."""
    status = status or status_of(refusal)
    body = {
        **refusal.facts,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": refusal.code,
        "why": refusal.why,
        "do": refusal.do,
    }
    if refusal.field is not None:
        body["field"] = refusal.field
    return web.json_response(
        body, status=status, content_type="application/problem+json", headers=_retry(refusal)
    )


def for_a_person(request: web.Request) -> bool:
    """Whether the answer is for a browser's window rather than for a program."""
    return not request.path.startswith(PROGRAMS) and "text/html" in request.headers.get(
        "Accept", ""
    )


def refuse(request: web.Request, refusal: Refusal, status: int | None = None) -> web.Response:
    """A refusal in the form that the asker reads: a page in words, or a problem document."""
    if not for_a_person(request):
        return problem(refusal, status)
    status = status or status_of(refusal)
    response = page(request, "error.html", status=status, refusal=refusal)
    response.headers.update(_retry(refusal))
    return response


def _retry(refusal: Refusal) -> dict[str, str]:
    after = refusal.facts.get("retry_after_s")
    if after is None and refusal.kind is Kind.UNAVAILABLE:
        after = 5
    return {} if after is None else {"Retry-After": str(after)}


# --- How things go wrong ----------------------------------------------------------------------


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns what was raised into an answer. Of the unexpected it tells a number and no more."""
    try:
        return await handler(request)
    except SignInFirst as refusal:
        if request.method in ("GET", "HEAD") and for_a_person(request):
            return web.Response(status=303, headers={"Location": sign_in_address(request)})
        return refuse(request, refusal)
    except Refusal as refusal:
        return refuse(request, refusal)
    except web.HTTPException as answer:
        if answer.status < 400:
            raise
        response = refuse(request, _in_words(request, answer), answer.status)
        for name in ("Allow", "WWW-Authenticate"):
            if name in answer.headers:
                response.headers[name] = answer.headers[name]
        return response
    except Exception:
        return _unexpected(request)


def _in_words(request: web.Request, answer: web.HTTPException) -> Refusal:
    """aiohttp's own refusals, said as ours are."""
    if answer.status == 404:
        return Refusal(
            "no_such_page", "There is nothing at this address.",
            "Check the address, or begin at the first page.", kind=Kind.NOT_FOUND,
        )  # fmt: skip
    if isinstance(answer, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(answer.allowed_methods))
        return Refusal(
            "method_not_allowed", f"{request.method} cannot be used at this address.",
            f"Use {allowed}.",
        )  # fmt: skip
    if answer.status == 401:
        return Refusal(
            "feed_of_an_exercise", "This feed belongs to an exercise and asks for a password.",
            "The exercise's public page shows it to people who are signed in.", kind=Kind.UNKNOWN,
        )  # fmt: skip
    if answer.status == 413:
        return Refusal(
            "too_large", "This message is larger than 1 MiB.", "Send less at once.",
            kind=Kind.TOO_LARGE,
        )  # fmt: skip
    return Refusal(
        "bad_request", "This request cannot be read.", "Look at what was sent, and mend it."
    )


def _unexpected(request: web.Request) -> web.Response:
    """500 with a short number that the log has too, beside the cause."""
    error_id = secrets.token_hex(4)
    _log.exception("request.failed", error_id=error_id, method=request.method, path=request.path)
    refusal = Refusal(
        "internal_error",
        "Something went wrong on our side, and it was none of your doing.",
        f"Try once more. If it happens again, give your administrator the number {error_id}.",
        facts={"error_id": error_id},
    )
    try:
        return refuse(request, refusal, 500)
    except Exception:
        _log.exception("error_page.failed", error_id=error_id)
        return web.Response(status=500, text=f"{refusal.why} {refusal.do}\n")


# --- Who may call -----------------------------------------------------------------------------


@web.middleware
async def host_check(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers to our own names alone, while only this machine can reach us (DNS rebinding)."""
    desk = request.app[DESK]
    if desk.settings.host in LOOPBACK and _host_name(request) not in _own_names(desk):
        refusal = Refusal(
            "wrong_host",
            "This desk does not go by that name.",
            f"Use {desk.address}, or set BROADCASTER_PUBLIC_URL to the address people use.",
        )
        return problem(refusal, 421)
    return await handler(request)


def _own_names(desk: Desk) -> frozenset[str]:
    given = desk.settings.public_url
    return LOOPBACK | ({given.host} if given is not None and given.host else set())


def _host_name(request: web.Request) -> str | None:
    try:
        return urlsplit(f"//{request.host}").hostname
    except ValueError:
        return None


@web.middleware
async def own_pages_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses a change that another site's page asks for (CSRF)."""
    if request.method not in SAFE and not (SIGNED.fullmatch(request.path) or _from_us(request)):
        raise Refusal(
            "cross_site",
            "This did not come from a page of this desk.",
            "Open the page here and do it again. A program of yours sends application/json with "
            "the header X-Broadcaster: 1.",
            kind=Kind.FORBIDDEN,
        )
    return await handler(request)


def _from_us(request: web.Request) -> bool:
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site == "same-origin" or (site == "none" and _is_ours(request, origin))
    if origin is not None:
        return _is_ours(request, origin)
    return (
        request.content_type == "application/json" and request.headers.get("X-Broadcaster") == "1"
    )


def _is_ours(request: web.Request, origin: str | None) -> bool:
    """Whether an Origin is ours: the address people use, or the one that was just called."""
    desk = request.app[DESK]
    called = f"{'https' if desk.https else 'http'}://{request.host}"
    return origin is not None and origin in (str(URL(desk.address).origin()), called)


@web.middleware
async def readable_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reads a form before its handler does, so that one of no use is refused in words."""
    uploads = UPLOAD.fullmatch(request.path) and request.content_type == "multipart/form-data"
    if request.method not in SAFE and request.content_type in FORMS and not uploads:
        try:
            await request.post()
        except (ValueError, LookupError):  # not in its charset, no such charset, broken parts
            raise Refusal(
                "not_a_form", "This form cannot be read.",
                "Go back, reload the page and send it again.",
            ) from None  # fmt: skip
    return await handler(request)


@web.middleware
async def no_prefetch(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A browser that fetches ahead of its person gets nothing of an approval."""
    if "prefetch" in request.headers.get("Sec-Purpose", "") and request.path.startswith("/a/"):
        return web.Response(status=204)
    return await handler(request)


# --- What every answer carries ----------------------------------------------------------------


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Security headers on every answer; nothing is cached unless its handler says so."""
    for name, value in SECURITY.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "broadcaster"
    desk = request.app[DESK]
    if desk.settings.world == "exercise" or not PUBLIC.match(request.path):
        response.headers["X-Robots-Tag"] = "noindex"
    if desk.https:
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"


#: Outermost first.
ALL = (
    errors, host_check, own_pages_only, no_prefetch, readable_form, note_since, visitor_middleware,
)  # fmt: skip
