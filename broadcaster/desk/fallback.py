"""PIN and code at the desk: sealed, put before the gate, and waited for.

The desk cannot tell whether they are right, and keeps neither. What it then asks of the ledger is
what the gate has noted of them (broadcaster/fallback.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Mapping

from aiohttp import web

from broadcaster.desk.decision import on_record
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.session import browser_of, fields_of, same_site, token_of
from broadcaster.desk.sign_in import sign_in_page, signed_in
from broadcaster.errors import Refusal
from broadcaster.fallback import not_allowed, objection, sealed
from broadcaster.ledger import Change, Tx, fallbacks, locks, people
from broadcaster.orders import Decide, challenge_of, no_such_request
from broadcaster.passkey import locked_out
from broadcaster.record import Kind
from broadcaster.roster import Person

#: Seconds that the gate is waited for; it answers within a few hundredths of one.
PATIENCE = 6.0
#: More than this was no PIN and no code.
LONGEST = 20

_SIGN_IN_TAG = b"iab/code-sign-in/v1\0"

routes = web.RouteTableDef()


def typed(fields: Mapping[str, str]) -> bool:
    """Whether a form came with PIN and code instead of a passkey's answer."""
    return "pin" in fields or "code" in fields


async def for_decision(desk: Desk, person: Person, order: Decide, fields: Mapping[str, str]) -> str:
    """The seal of what was typed for a decision, once the gate has judged it. Raises Refusal."""
    challenge = await desk.ledger.read(lambda tx: challenge_of(tx, order))
    if challenge is None:
        raise no_such_request()
    return await _judged(desk, person.id, fields, challenge)


@routes.post("/sign-in/code")
async def with_code(request: web.Request) -> web.StreamResponse:
    """Signs in whoever the roster lets do so with PIN and code."""
    desk, fields, old = request.app[DESK], await fields_of(request), token_of(request)
    challenge = hashlib.sha256(_SIGN_IN_TAG + secrets.token_bytes(32)).digest()
    try:
        name = " ".join(fields.get("name", "").split())
        person = await desk.ledger.read(lambda tx: people.by_name(tx, name))
        seal = await _judged(desk, person.id if person else "", fields, challenge)

        def step(tx: Tx) -> str | Refusal:
            entered = fallbacks.entered(tx, seal)
            assert entered is not None and person is not None, "it was just kept"
            refusal = objection(
                entered, person_id=person.id, challenge=challenge, at=tx.now, site=desk.site,
                world=tx.world,
            )  # fmt: skip
            if refusal:
                tx.record(Kind.PROOF_REFUSED, actor=person.id, code=refusal.code)
                return refusal
            if old:
                people.sign_out(tx, old)
            return people.sign_in(tx, person, browser_of(request), by_code=True)

        session = await on_record(desk, step)
    except Refusal as refusal:
        return await sign_in_page(request, refusal, by_code=True, name=fields.get("name", ""))
    return signed_in(request, session, same_site(request.query.get("next")))


async def _judged(desk: Desk, person_id: str, fields: Mapping[str, str], challenge: bytes) -> str:
    """Seals what was typed, and waits until the gate has judged it, or has not in time."""
    pin, code = fields.get("pin", "")[:LONGEST], fields.get("code", "")[:LONGEST]

    def allowed(tx: Tx) -> tuple[str, bytes]:
        held = fallbacks.standing(tx, person_id)
        if held is None:
            raise not_allowed()
        if locks.holding(tx, person_id, desk.site):
            raise locked_out()
        return held.id, held.salt

    allowance_id, salt = await desk.ledger.read(allowed)
    seal = await asyncio.to_thread(sealed, pin, code, salt, challenge)
    moved = asyncio.Event()

    def hear(changed: frozenset[Change]) -> None:
        if changed & {fallbacks.CODES, "all"}:
            moved.set()

    forget = desk.ledger.on_commit(hear)
    try:
        await desk.ledger.write(
            lambda tx: fallbacks.enter(tx, allowance_id, seal, challenge), urgent=True
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while await desk.ledger.read(lambda tx: fallbacks.waits(tx, seal)):
                    await moved.wait()
                    moved.clear()
    finally:
        forget()
    return seal
