"""People: who is on the roster, who may post and is trained, and with which devices (389.3, .8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from broadcaster import devices, passkey
from broadcaster.authority import Content, Matter, Office, Standing, Subject, Training
from broadcaster.desk.decision import answered, on_record, own_passkeys
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.middleware import status_of
from broadcaster.desk.roster import ordered, require_passkey
from broadcaster.desk.session import fields_of, require_person, token_of
from broadcaster.desk.sign_in import answer_in, proof_in
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.guideline import Guideline
from broadcaster.ledger import Tx, authorities, guidelines, locks, passkeys, people, roles
from broadcaster.passkey import LONGEST_SHIFT, Json, Lock, Passkey
from broadcaster.roster import Act, Person, may_command, require

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Listed:
    """A person, their devices and their standing at a time."""

    person: Person
    devices: tuple[Passkey, ...]
    waiting: frozenset[str]  #: of these, those that are to be approved before they prove anything
    held: Standing
    at: datetime
    lock: Lock | None  #: since when they prove nothing
    asks: Mapping[str, Json]  #: what a supervisor's passkey is asked: by device, and to unlock
    changed: roles.Change | None  #: what was changed last of their roles

    @property
    def posts(self) -> bool:
        """Whether the page tells of authority and training: of those whom it concerns."""
        return self.person.may(Act.COMPILE) or bool(self.held.authorities)

    @property
    def excepted(self) -> bool:
        """Whether a passkey of theirs that its maker copies decides, too."""
        return self.held.excepted(Matter.EQUIPMENT, self.at) is not None

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
    """What this device is asked to become one of the signed-in person's, and before it the one
    that they have, where that serves."""
    desk, person = request.app[DESK], require_person(request)

    def step(tx: Tx) -> Json:
        owned, asked = passkeys.of_person(tx, person.id), passkeys.ask(tx, person.id)
        prove = passkey.options_to_prove(
            desk.site, challenge=passkey.further_challenge(person.id, asked),
            allowed=[each.id for each in owned if each.usable and not each.practice],
        ) if devices.proves(tx, person, desk.site) else None  # fmt: skip
        make = passkey.options_to_register(
            desk.site, name=person.name, challenge=asked, known=[each.id for each in owned]
        )
        return {"prove": prove, "make": make}

    return web.json_response(await desk.ledger.write(step))


@routes.post("/people")
async def act(request: web.Request) -> web.Response:
    """Adds or approves a device, ends its use, or orders something about the roster."""
    desk, person, fields = request.app[DESK], require_person(request), await fields_of(request)

    def step(tx: Tx) -> Refusal | None:
        if fields.get("do") in _SIGNED:
            return _SIGNED[fields["do"]](tx, fields, person, desk)
        if device := fields.get("revoke"):
            kept = passkeys.get(tx, device)
            if kept is None or kept.person_id != person.id:
                require(person, Act.APPROVE_DEVICE)
            passkeys.revoke(tx, device, actor=person.id)
        elif whose := fields.get("lost"):
            devices.lost(tx, whose, person)
        elif session := fields.get("end_session"):
            people.end_sessions(tx, person.id, actor=person.id, only=session)
        elif "do" in fields:
            require_passkey(tx, request)
            ordered(tx, fields, person, desk.settings.zone)
        else:
            answer = answer_in(fields)
            challenge = passkey.challenge_in(answer)
            made = passkey.register(answer, site=desk.site, challenge=challenge)
            proof = answer_in(fields, "proof") if fields.get("proof") else None
            return devices.add_device(
                tx, made, fields.get("device", ""), challenge, proof, person, desk.site
            )
        return None

    try:
        await on_record(desk, step)
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(request.path)


def _approve(tx: Tx, fields: Mapping[str, str], person: Person, desk: Desk) -> Refusal | None:
    device = passkeys.known(tx, fields.get("device", ""))
    until = _time_in(fields, "until")
    challenge = passkey.device_challenge(device, until)
    proof = answered(tx, desk, person, proof_in(fields), challenge)
    order = devices.ApproveDevice(passkey_id=device.id, until=until, proof=proof)
    return devices.approve_device(tx, order, person, desk.site)


def _unlock(tx: Tx, fields: Mapping[str, str], person: Person, desk: Desk) -> Refusal | None:
    whose = fields.get("person", "")
    lock = locks.holding(tx, whose, desk.site)
    challenge = passkey.unlock_challenge(lock) if lock else b""
    proof = answered(tx, desk, person, proof_in(fields), challenge)
    return devices.unlock(tx, devices.Unlock(person_id=whose, proof=proof), person, desk.site)


#: What is signed by a passkey.
_SIGNED: dict[str, Callable[[Tx, Mapping[str, str], Person, Desk], Refusal | None]] = {
    "approve": _approve,
    "unlock": _unlock,
}


def _time_in(fields: Mapping[str, str], name: str) -> datetime | None:
    """The time in a hidden field. Raises Refusal."""
    try:
        return datetime.fromisoformat(fields[name]) if fields.get(name) else None
    except ValueError:
        raise Refusal("until_invalid", "That is no time.", "Reload the page, and press the button "
                      "again.", field=name) from None  # fmt: skip


async def _page(request: web.Request, refusal: Refusal | None = None) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)

    shift = desk.clock.now().replace(second=0, microsecond=0) + LONGEST_SHIFT

    def look(tx: Tx) -> tuple[list[Listed], list[people.Session], list[Guideline]]:
        allowed = own_passkeys(tx, desk, person) if person.may(Act.APPROVE_DEVICE) else None
        changed = {whose: roles.last(made) for whose, made in roles.every(tx).items()}
        listed = [
            _listed(tx, desk, each, allowed or [], shift, changed.get(each.id))
            for each in people.everybody(tx)
        ]
        return listed, people.sessions(tx, person.id), guidelines.every(tx)

    everybody, sessions, written = await desk.ledger.read(look)
    listed = [each for each in everybody if each.person.left is None]
    return page(
        request, "people.html", listed=listed, refusal=refusal,
        gone=[each for each in everybody if each.person.left],
        may_approve=person.may(Act.APPROVE_DEVICE), may_grant=person.may(Act.GRANT_AUTHORITY),
        may_train=person.may(Act.RECORD_TRAINING), may_except=person.may(Act.EXCEPT),
        sessions=sessions, this_session=people.session_id(token_of(request) or ""),
        shift=shift.isoformat(), contents=list(Content), subjects=list(Subject),
        matters=list(Matter), Office=Office,
        may_end_fallback=person.may(Act.APPROVE_DEVICE) or person.may(Act.ALLOW_FALLBACK),
        may_name_deputy=person.may(Act.NAME_DEPUTY),
        commanders=[each.person for each in listed if may_command(each.person)],
        device_bound=desk.settings.device_bound,
        written=written, may_keep=person.may(Act.KEEP_GUIDELINES),
        titles={channel.name: channel.title for channel in desk.channels},
        names={each.person.id: each.person.name for each in everybody},
        status=status_of(refusal) if refusal else 200,
    )  # fmt: skip


def _listed(
    tx: Tx, desk: Desk, whose: Person, allowed: list[str], shift: datetime,
    changed: roles.Change | None,
) -> Listed:  # fmt: skip
    """`allowed`: the supervisor's passkeys, where they are asked; `shift`: when one would end;
    `changed`: what was changed last of their roles."""
    owned = tuple(passkeys.of_person(tx, whose.id))
    waiting = [
        each for each in owned
        if passkey.waits(each, site=desk.site, world=tx.world, at=tx.now)
    ]  # fmt: skip
    lock = locks.holding(tx, whose.id, desk.site)
    asks = _asked(desk, whose, waiting, lock, allowed, shift) if allowed else {}
    return Listed(
        whose,
        owned,
        frozenset(each.id for each in waiting),
        authorities.standing(tx, whose.id),
        tx.now,
        lock,
        asks,
        changed,
    )


def _asked(
    desk: Desk, whose: Person, waiting: Sequence[Passkey], lock: Lock | None, allowed: list[str],
    shift: datetime,
) -> dict[str, Json]:  # fmt: skip
    """What a supervisor's passkey is asked about somebody else, by what it would do."""
    challenges = {
        f"{device.id} {name}": passkey.device_challenge(device, until)
        for device in waiting
        for name, until in (("good", None), ("shift", shift))
    }  # fmt: skip
    if lock:
        challenges["unlock"] = passkey.unlock_challenge(lock)
    return {
        name: passkey.options_to_prove(desk.site, challenge=challenge, allowed=allowed)
        for name, challenge in challenges.items()
    }
