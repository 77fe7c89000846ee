"""People: who is on the roster, who may post and is trained, and with which devices (389.3, .8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from broadcaster import passkey
from broadcaster.authority import Content, Matter, Standing, Subject, Training
from broadcaster.desk.deps import DESK
from broadcaster.desk.middleware import status_of
from broadcaster.desk.roster import ordered
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.sign_in import answer_in
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.guideline import Guideline
from broadcaster.ledger import Tx, authorities, guidelines, passkeys, people
from broadcaster.passkey import Passkey
from broadcaster.roster import Act, Person, require

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Listed:
    """A person, their devices and their standing at a time."""

    person: Person
    devices: tuple[Passkey, ...]
    held: Standing
    at: datetime

    @property
    def posts(self) -> bool:
        """Whether the page tells of authority and training: of those whom it concerns."""
        return self.person.may(Act.COMPILE) or bool(self.held.authorities)

    @property
    def trained(self) -> list[Training]:
        """The training that counts, what lapses next first."""
        lapsed = self.held.lapsed(self.at)
        counts = [self.held.training(subject) for subject in Subject if subject not in lapsed]
        return sorted(filter(None, counts), key=lambda each: each.expires_at)


@routes.get("/people")
async def show(request: web.Request) -> web.Response:
    """The roster, with everybody's devices."""
    return await _page(request)


@routes.post("/people/ask")
async def ask(request: web.Request) -> web.Response:
    """What this device is asked to become one of the signed-in person's."""
    desk, person = request.app[DESK], require_person(request)

    def step(tx: Tx) -> passkey.Json:
        known = [each.id for each in passkeys.of_person(tx, person.id)]
        return passkey.options_to_register(
            desk.site, name=person.name, challenge=passkeys.ask(tx, person.id), known=known
        )

    return web.json_response(await desk.ledger.write(step))


@routes.post("/people")
async def act(request: web.Request) -> web.Response:
    """Adds or approves a device, ends its use, or orders something about the roster."""
    desk, person, fields = request.app[DESK], require_person(request), await fields_of(request)

    def step(tx: Tx) -> None:
        if device := fields.get("approve"):
            require(person, Act.APPROVE_DEVICE)
            passkeys.approve(tx, device, actor=person.id)
        elif device := fields.get("revoke"):
            kept = passkeys.get(tx, device)
            if kept is None or kept.person_id != person.id:
                require(person, Act.APPROVE_DEVICE)
            passkeys.revoke(tx, device, actor=person.id)
        elif "do" in fields:
            ordered(tx, fields, person, desk.settings.zone)
        else:
            answer = answer_in(fields)
            challenge = passkey.challenge_in(answer)
            passkeys.use_up(tx, challenge, person.id)
            made = passkey.register(answer, site=desk.site, challenge=challenge)
            passkeys.add(tx, person.id, made, fields.get("device", ""), actor=person.id)

    try:
        await desk.ledger.write(step, urgent=True)
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(request.path)


async def _page(request: web.Request, refusal: Refusal | None = None) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)

    def look(tx: Tx) -> tuple[list[Listed], list[Guideline]]:
        listed = [
            Listed(
                each,
                tuple(passkeys.of_person(tx, each.id)),
                authorities.standing(tx, each.id),
                tx.now,
            )
            for each in people.everybody(tx)
        ]
        return listed, guidelines.every(tx)

    listed, written = await desk.ledger.read(look)
    return page(
        request, "people.html", listed=listed, refusal=refusal,
        may_approve=person.may(Act.APPROVE_DEVICE), may_grant=person.may(Act.GRANT_AUTHORITY),
        may_train=person.may(Act.RECORD_TRAINING), may_except=person.may(Act.EXCEPT),
        contents=list(Content), subjects=list(Subject), matters=list(Matter),
        written=written, may_keep=person.may(Act.KEEP_GUIDELINES),
        titles={channel.name: channel.title for channel in desk.channels},
        names={each.person.id: each.person.name for each in listed},
        status=status_of(refusal) if refusal else 200,
    )  # fmt: skip
