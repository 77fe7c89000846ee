"""Approval by voice: what is read and heard, attested on one page, and ratified on it later."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web
from pydantic import ValidationError

from broadcaster.approval import RequestState
from broadcaster.by_voice import Attest, attest, hand_out, settle
from broadcaster.desk.approval import said_once, voice_of
from broadcaster.desk.decision import answered, on_record, own_passkeys
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.sign_in import proof_in
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.incident import Command
from broadcaster.ledger import Tx, approvals, incidents, people, voices
from broadcaster.orders import no_such_request
from broadcaster.passkey import Json, options_to_prove
from broadcaster.roster import Act, Person, may_command, require
from broadcaster.update import Revision
from broadcaster.voice import Settled, handing_out, settlement, words_of

Fields = Mapping[str, str]

routes = web.RouteTableDef()


@routes.get("/voice/{request_id}")
async def show(request: web.Request) -> web.Response:
    """What is to be read aloud and heard; afterwards, what was."""
    return await _page(request)


@routes.post("/voice/{request_id}")
async def act(request: web.Request) -> web.Response:
    """Attests what was heard, first without the passkey's answer, then with it; or ratifies."""
    fields = await fields_of(request)
    try:
        if fields.get("act") in {*Settled}:
            await _settled(request, Settled(fields["act"]), fields)
        elif asks := await _attested(request, fields):
            return await _page(request, fields=fields, asks=asks)
    except Refusal as refusal:
        return await _page(request, refusal=refusal, fields=fields)
    raise web.HTTPSeeOther(request.path)


async def _attested(request: web.Request, fields: Fields) -> Json | None:
    """Records it; or answers what the listener's passkey is asked first."""
    desk, person = request.app[DESK], require_person(request)
    order = _order(request, fields, desk)

    def step(tx: Tx) -> Json | Refusal | None:
        done = attest(
            tx, order, person, desk.site, allowed=desk.settings.voice_approval,
            practice=desk.practice,
        )  # fmt: skip
        if isinstance(done, bytes):
            allowed = own_passkeys(tx, desk, person) or []
            return options_to_prove(desk.site, challenge=done, allowed=allowed)
        return done if isinstance(done, Refusal) else None

    return await on_record(desk, step)


def _order(request: web.Request, fields: Fields, desk: Desk) -> Attest:
    try:
        return Attest(
            request_id=request.match_info["request_id"], digest=fields.get("digest", ""),
            commander_id=fields.get("commander", ""), reader_id=fields.get("reader", ""),
            code=fields.get("code", ""), radio=fields.get("radio", ""),
            heard_at=_heard_at(desk, fields.get("heard_at", "")),
            idempotency_key=fields.get("idempotency_key", ""), proof=proof_in(fields),
        )  # fmt: skip
    except (ValidationError, ValueError):
        raise Refusal(
            "attestation_unreadable", "A part of what you heard is missing, or unreadable.",
            "Write the code, the radio channel, and the time as 14:02.", field="heard_at",
        ) from None  # fmt: skip


def _heard_at(desk: Desk, text: str) -> datetime:
    """The last time that the department's clock said so. Raises ValueError."""
    now = desk.clock.now().astimezone(desk.settings.zone)
    hour, minute = text.strip().split(":")
    at = now.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
    return at if at <= now else at - timedelta(days=1)


async def _settled(request: web.Request, settled: Settled, fields: Fields) -> None:
    desk, person = request.app[DESK], require_person(request)
    request_id, proof = request.match_info["request_id"], proof_in(fields)

    def step(tx: Tx) -> Refusal | None:
        kept, spoken = approvals.request(tx, request_id), voice_of(tx, request_id)
        if kept is None or spoken is None:
            return no_such_request()
        signed = settlement(kept.request.nonce, spoken.decision_id, kept.request.digest, settled)
        answer = answered(tx, desk, person, proof, signed)
        return settle(tx, spoken.decision_id, settled, answer, person, desk.site)

    await on_record(desk, step)


# --- Codes, on the page of how one is called --------------------------------------------------


def may_have_codes(desk: Desk, person: Person) -> bool:
    return desk.settings.voice_approval and may_command(person)


def codes_asked(tx: Tx, desk: Desk, person: Person) -> Json | None:
    """What their passkey is asked for new codes; None where the desk answers for them."""
    allowed = own_passkeys(tx, desk, person)
    if allowed is None:
        return None
    signed = handing_out(person.id, voices.newest(tx, person.id))
    return options_to_prove(desk.site, challenge=signed, allowed=allowed)


async def handed_out(desk: Desk, person: Person, fields: Fields) -> list[str]:
    """New codes. Raises Refusal."""
    if not may_have_codes(desk, person):
        raise Refusal(
            "voice_off", "You approve nothing by voice here.", "Decide by passkey.", field="codes"
        )
    proof = proof_in(fields)

    def step(tx: Tx) -> list[str] | Refusal:
        signed = handing_out(person.id, voices.newest(tx, person.id))
        return hand_out(tx, person, answered(tx, desk, person, proof, signed), desk.site)

    return await on_record(desk, step)


# --- The page ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """All that the page shows, from one look at the ledger."""

    kept: approvals.Kept
    revision: Revision
    command: Command
    spoken: voices.Kept | None
    mine: bool  #: whether it was approved in the name of the one who looks
    settling: dict[str, Json] | None  #: what their passkey is asked; None: the desk answers
    roster: dict[str, Person]
    waits: bool

    @property
    def readers(self) -> list[Person]:
        """Who may be said to have read it aloud."""
        return [each for each in self.roster.values() if each.may(Act.COMPILE)]

    def name(self, person_id: str) -> str:
        found = self.roster.get(person_id)
        return found.name if found else "somebody who left the roster"


def look(tx: Tx, desk: Desk, request_id: str, person: Person) -> View:
    """Raises Refusal where there is no such request."""
    kept = approvals.request(tx, request_id)
    if kept is None:
        raise no_such_request()
    request = kept.request
    incident = incidents.get(tx, request.incident_id)
    revision = approvals.revision(tx, request.revision_id)
    assert incident is not None and revision is not None, "a request's are foreign keys"
    decided = approvals.decision_of(tx, request_id)
    mine = decided is not None and decided.decision.person_id == person.id
    spoken = voice_of(tx, request_id)
    return View(
        kept=kept, revision=revision, command=incident.incident.command, spoken=spoken, mine=mine,
        settling=_settling(tx, desk, person, request.nonce, request.digest, spoken),
        roster={each.id: each for each in people.everybody(tx)},
        waits=request.state is RequestState.OPEN and request.expires_at > tx.now,
    )  # fmt: skip


def _settling(
    tx: Tx, desk: Desk, person: Person, nonce: str, digest: str, spoken: voices.Kept | None
) -> dict[str, Json] | None:
    allowed = own_passkeys(tx, desk, person)
    if spoken is None or allowed is None:
        return None
    return {
        str(each): options_to_prove(
            desk.site, allowed=allowed,
            challenge=settlement(nonce, spoken.decision_id, digest, each),
        )
        for each in Settled
    }  # fmt: skip


async def _page(
    request: web.Request, *, refusal: Refusal | None = None, fields: Fields | None = None,
    asks: Json | None = None,
) -> web.Response:  # fmt: skip
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)
    request_id = request.match_info["request_id"]
    view = await desk.ledger.read(lambda tx: look(tx, desk, request_id, person))
    titles = {channel.name: channel.title for channel in desk.channels}
    return page(
        request, "voice.html", status=status_of(refusal) if refusal else 200, view=view,
        said=said_once(((r.channel, r.text) for r in view.revision.renderings), titles),
        said_words=words_of(view.revision.digest), refusal=refusal, fields=fields or {},
        asks=asks, on=desk.settings.voice_approval,
        may_listen=person.id not in {*view.revision.writers, *view.command.commanders},
        key=(fields or {}).get("idempotency_key") or secrets.token_urlsafe(18),
    )  # fmt: skip
