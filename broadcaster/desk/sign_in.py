"""Signing in: by passkey, by a one-time link of the roster, or as a practice person."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from aiohttp import web

from broadcaster import passkey
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import browser_of, fields_of, same_site, set_session, token_of
from broadcaster.desk.templating import page
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import Tx, fallbacks, passkeys, people
from broadcaster.passkey import Json
from broadcaster.roster import Person, Role

#: What a newcomer will do as each, in a few words.
_DOES = {
    Role.PIO: "writes what is said",
    Role.COMMANDER: "approves it at the scene",
    Role.WATCH_COMMANDER: "approves it where nobody commands yet",
    Role.SUPERVISOR: "settles what came in wrong",
    Role.CHIEF: "says who may post for the department",
    Role.STAFF: "writes notices",
    Role.RECORDS: "reads everything, and changes nothing",
}

_ENROL_TAG = b"iab/enrol/v1\0"


def does(person: Person) -> str:
    """What a person does at the desk."""
    return ", ".join(words for role, words in _DOES.items() if role in person.roles)


routes = web.RouteTableDef()


@routes.get("/sign-in")
async def sign_in(request: web.Request) -> web.Response:
    """Who may go on from here, and how."""
    return await sign_in_page(request)


@routes.post("/sign-in/ask")
async def ask(request: web.Request) -> web.Response:
    """What a passkey is asked to sign in; any of this site's may answer, once."""
    desk = request.app[DESK]
    challenge = await desk.ledger.write(passkeys.ask)
    return web.json_response(passkey.options_to_prove(desk.site, challenge=challenge, allowed=[]))


@routes.post("/sign-in")
async def with_passkey(request: web.Request) -> web.StreamResponse:
    """Signs in whoever the passkey proves."""
    desk, fields, old = request.app[DESK], await fields_of(request), token_of(request)
    try:
        proof = answer_in(fields)

        def step(tx: Tx) -> str:
            session = _proven(tx, desk, proof, browser_of(request))
            if old:
                people.sign_out(tx, old)
            return session

        signed = await desk.ledger.write(step, urgent=True)
    except Refusal as refusal:
        return await sign_in_page(request, refusal)
    return signed_in(request, signed, same_site(fields.get("next")))


@routes.get("/enrol/{token}")
async def enrol(request: web.Request) -> web.Response:
    """Says whom a link is for. Looking uses nothing up: mail scanners look too."""
    return await _enrol_page(request)


@routes.post("/enrol/{token}")
async def use_link(request: web.Request) -> web.StreamResponse:
    """Uses the link up: keeps the passkey that was made, if one was, and signs in.

    Whoever gave the link vouches for the device that it is opened on (389.3).
    """
    desk, token, old = request.app[DESK], request.match_info["token"], token_of(request)
    fields = await fields_of(request)
    try:
        answer = answer_in(fields) if fields.get("passkey") else None
        made = answer and passkey.register(answer, site=desk.site, challenge=_challenge(token))

        def step(tx: Tx) -> str:
            person, session = people.sign_in_by_link(
                tx, token, passkey_id=made.id if made else None, browser=browser_of(request)
            )
            if made:
                passkeys.add(tx, person.id, made, fields.get("device", ""), actor=person.id,
                             approved_by=passkeys.LINK)  # fmt: skip
            if old:
                people.sign_out(tx, old)
            return session

        session = await desk.ledger.write(step, urgent=True)
    except Refusal as refusal:
        return await _enrol_page(request, refusal, fields.get("device", ""))
    return signed_in(request, session, "/")


def answer_in(fields: Mapping[str, str], name: str = "passkey") -> Json:
    """What a browser's passkey answered. Raises Refusal where it is no JSON object."""
    try:
        found = json.loads(fields.get(name, ""))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal("passkey_missing", "No passkey was used, and nothing has happened.",
                      "Try again, or use another device.", field=name)  # fmt: skip
    return found


def proof_in(fields: Mapping[str, str]) -> Json | None:
    """The same, where a form may come without one. Raises Refusal."""
    return answer_in(fields) if fields.get("passkey") else None


def _proven(tx: Tx, desk: Desk, proof: Json, browser: str) -> str:
    """A new session's token, for whom the passkey proves. Raises Refusal."""
    challenge = passkey.challenge_in(proof)
    passkeys.use_up(tx, challenge)
    key = passkeys.get(tx, passkey.id_of(proof), lock=True)
    person = people.get(tx, key.person_id) if key else None
    refusal = passkey.objection(
        proof, key, person_id=person.id if person else "", site=desk.site, challenge=challenge,
        world=tx.world, at=tx.now,
        incident_id=key.guest.incident_id if key and key.guest else None,
    )  # fmt: skip
    if refusal is None:
        refusal = passkeys.counted(tx, key, proof)
    if refusal is not None or person is None:
        raise refusal or Refusal("passkey_unknown", "That passkey is nobody's here.",
                                 "Ask for a link to enrol it.", kind=Kind.FORBIDDEN)  # fmt: skip
    return people.sign_in(tx, person, browser)


def _challenge(token: str) -> bytes:
    """The link is secret and works once, so what is signed for it is its own, too."""
    return hashlib.sha256(_ENROL_TAG + token.encode()).digest()


def signed_in(request: web.Request, session: str, where: str) -> web.StreamResponse:
    """Gives the browser its session, and goes on."""
    response = web.Response(status=303, headers={"Location": where})
    set_session(request, response, session)
    return response


async def sign_in_page(
    request: web.Request, refusal: Refusal | None = None, *, by_code: bool = False, name: str = ""
) -> web.Response:
    """`by_code`: whether what was refused were PIN and code."""
    may_type = await request.app[DESK].ledger.read(fallbacks.anybody_may)
    return page(
        request, "sign_in.html", does=does, next=same_site(request.query.get("next")),
        refusal=refusal, by_code=by_code, may_type=may_type, name=name,
        status=status_of(refusal) if refusal else 200,
    )  # fmt: skip


async def _enrol_page(
    request: web.Request, refusal: Refusal | None = None, device: str = ""
) -> web.Response:
    desk, token = request.app[DESK], request.match_info["token"]

    def look(tx: Tx) -> tuple[Person | None, list[str]]:
        who = people.enrolment(tx, token)
        return who, [each.id for each in passkeys.of_person(tx, who.id)] if who else []

    who, known = await desk.ledger.read(look)
    asks = passkey.options_to_register(
        desk.site, name=who.name, challenge=_challenge(token), known=known
    ) if who else None  # fmt: skip
    status = status_of(refusal) if refusal else 200 if who else 410
    return page(request, "enrol.html", who=who, asks=asks, refusal=refusal, status=status,
                device=device or (f"{who.name}'s phone" if who else ""))  # fmt: skip
