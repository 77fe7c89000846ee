"""Who commands an incident, and how command changes hands: each order one ledger transaction.

ICS asks that a transfer is clearly stated and recorded (ICS-200, unit 6). The outgoing Commander
decides until the incoming one accepts by passkey; what was said over the radio is recorded as a
fact; the Watch Commander moves command where its Commander cannot. Every change raises the epoch,
goes on the record with whom it must be told to; notify calls these, and again for what waits.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from broadcaster import passkey
from broadcaster.calling import WATCH_COMMANDER, About
from broadcaster.devices import count_failure
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.incident import Command, Incident, Offer, commanders_in_words
from broadcaster.ledger import Tx, approvals, authorities, calls, incidents, passkeys, people
from broadcaster.passkey import Site, acceptance_challenge, id_of
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, may_command, require
from broadcaster.update import LONGEST_REASON, reason_in
from broadcaster.world import Frozen

#: An offer that nobody accepts ends by itself (ASVS 5.0, 6.5.5: ten minutes at most).
OFFER_LIVES = timedelta(minutes=10)

Reason = Annotated[str, Field(max_length=LONGEST_REASON)]


class How(StrEnum):
    """How command came to whoever has it."""

    RECORDED = "recorded"  #: by the PIO or the Watch Commander
    TAKEN = "taken"  #: by the Watch Commander, a deputy or the duty chief, where nobody commanded
    ACCEPTED = "accepted"  #: by passkey, as the outgoing Commander offered it
    FORCED = "forced"  #: by the Watch Commander, with a reason
    RADIO = "radio"  #: as the outgoing Commander said over the radio
    LEFT = "left"  #: its Commander was taken off the roster, or may command no more


class Accept(Frozen):
    """Takes the command that was offered."""

    incident_id: str
    offer_id: str
    #: What the person's passkey answered to `passkey.acceptance_challenge` (WebAuthn's
    #: AuthenticationResponseJSON).
    proof: dict[str, Any] | None = None


def record_command(
    tx: Tx, incident_id: str, commander_id: str | None, person: Person, *,
    with_id: str | None = None, both: bool = False,
) -> Command:  # fmt: skip
    """Records who commands an incident from now on; None: command has ended. Raises Refusal.

    `with_id`: the second Commander of a unified command. `both`: whether both must approve.
    """
    require(person, Act.RECORD_COMMAND)
    named = [_commander(tx, each, incident_id).id for each in (commander_id, with_id) if each]
    if (both or with_id) and len(set(named)) < 2:
        raise Refusal(
            "unified_command_invalid", "A unified command names two different Commanders.",
            "Choose another second one, or none.", field="with",
        )  # fmt: skip
    incident = commanded(tx, incident_id)
    return move(tx, incident, named, How.RECORDED, actor=person.id, both=both)


def record_radio(
    tx: Tx, incident_id: str, said_by: str, commander_id: str, person: Person
) -> Command:
    """Records that a Commander said over the radio to whom they handed command. Raises Refusal."""
    require(person, Act.RECORD_COMMAND)
    incoming = _commander(tx, commander_id, incident_id)
    incident = commanded(tx, incident_id)
    command = incident.command
    if not command.held_by(said_by):
        who = commander_name(tx, command) or "Nobody"
        raise Refusal(
            "not_theirs_to_hand_over",
            f"{who} commands this incident, so it is not theirs to hand over.",
            "Reload the page, and choose who handed over; or record who commands.",
            kind=Sort.CONFLICT, field="said_by", facts={"commander": who},
        )  # fmt: skip
    _elsewhere(command, incoming)
    to = command.handed(said_by, incoming.id)
    return move(tx, incident, to, How.RADIO, actor=person.id, said_by=said_by)


def may_transfer(tx: Tx, person: Person) -> bool:
    """Whether a person moves command without its Commander: the Watch Commander, or a Commander
    who is a deputy or the duty chief."""
    return person.may(Act.TRANSFER_COMMAND) or (
        may_command(person) and person.id in authorities.holders(tx)
    )


def require_transfer(tx: Tx, person: Person) -> None:
    """Raises Refusal where moving command is not this person's."""
    if not may_transfer(tx, person):
        require(person, Act.TRANSFER_COMMAND)


def take_command(tx: Tx, incident_id: str, person: Person) -> Command:
    """The Watch Commander, a deputy or the duty chief commands from now on, where nobody does.

    Raises Refusal.

    Without a passkey: they may record it all the same, and each decision asks for one.
    """
    require_transfer(tx, person)
    incident = commanded(tx, incident_id)
    if incident.command.held_by(person.id):
        return incident.command
    if who := commander_name(tx, incident.command):
        raise Refusal(
            "command_held", f"{who} commands this incident.",
            "Ask them to hand over, or transfer command and say why.", kind=Sort.CONFLICT,
            facts={"commander": who},
        )  # fmt: skip
    return move(tx, incident, [person.id], How.TAKEN, actor=person.id)


def force_command(
    tx: Tx, incident_id: str, commander_id: str, reason: str, person: Person
) -> Command:
    """The Watch Commander, a deputy or the duty chief moves command and says why.

    Raises Refusal.
    """
    require_transfer(tx, person)
    why = reason_in(
        reason, "transfer_reason", "Command moves without its Commander for a reason alone."
    )
    incoming = _commander(tx, commander_id, incident_id)
    incident = commanded(tx, incident_id)
    if incident.command.commanders == (incoming.id,):
        raise _commands_already(incoming)
    return move(tx, incident, [incoming.id], How.FORCED, actor=person.id, reason=why)


def offer_command(tx: Tx, incident_id: str, commander_id: str, person: Person) -> Offer:
    """Offers command to a named person; who commands now decides until then. Raises Refusal.

    It takes the place of an earlier offer.
    """
    incoming = _commander(tx, commander_id, incident_id)
    incident = commanded(tx, incident_id)
    command = incident.command
    if not command.held_by(person.id) and not may_transfer(tx, person):
        who = commander_name(tx, command) or "the Watch Commander"
        raise Refusal(
            "not_yours_to_offer", f"You do not command this incident; {who} does.",
            f"Ask {who} to hand over, or the Watch Commander to transfer command.",
            kind=Sort.FORBIDDEN, facts={"commander": who},
        )  # fmt: skip
    _elsewhere(command, incoming)
    offer = Offer(
        id=str(uuid.uuid4()), by=person.id, to=incoming.id, nonce=secrets.token_hex(32),
        expires_at=tx.now + OFFER_LIVES,
    )  # fmt: skip
    _keep_offer(tx, incident, offer)
    calls.tell(tx, About.OFFERED, offer.id, incident_id, [offer.to], by=person.id)
    tx.record(Kind.COMMAND_OFFERED, actor=person.id, incident_id=incident_id, offer_id=offer.id,
              to=offer.to, epoch=command.epoch, expires_at=offer.expires_at.isoformat(),
              tell=[offer.to])  # fmt: skip
    return offer


def end_offer(tx: Tx, incident_id: str, offer_id: str, person: Person) -> Command:
    """Takes an offer back, or declines it; who commanded goes on. Raises Refusal."""
    incident = commanded(tx, incident_id)
    command = incident.command
    if (offer := command.offer) is None or offer.id != offer_id:
        raise _offer_gone(tx, command)
    concerned = person.id in (offer.by, offer.to) or command.held_by(person.id)
    if not concerned and not may_transfer(tx, person):
        raise _not_offered(tx, offer)
    how = "declined" if person.id == offer.to else "taken back"
    _end_offer(tx, incident, offer, how, person.id)
    return command.model_copy(update={"offer": None})


def leave(tx: Tx, person_id: str, *, by: str) -> list[str]:
    """Takes somebody out of each command and each offer, since they may command no more.

    Whoever commands together with them goes on alone; else nobody commands, and the Watch
    Commander is asked. Answers the numbers of the incidents that they commanded.
    """
    left = []
    for incident_id in incidents.naming(tx, person_id):
        incident = locked(tx, incident_id).incident
        command = incident.command
        if command.held_by(person_id):
            others = [each for each in command.commanders if each != person_id]
            move(tx, incident, others, How.LEFT, actor=by, left=person_id)
            left.append(incident.number)
        elif command.offer and person_id in (command.offer.by, command.offer.to):
            _end_offer(tx, incident, command.offer, "taken back", by)
    return left


def accept_command(tx: Tx, order: Accept, person: Person, site: Site) -> Command | Refusal:
    """Moves command to whom it was offered, or puts the refusal on the record and gives it back.

    Sent again after it was done, it gets the first answer again.
    """
    incident = commanded(tx, order.incident_id)
    command, offer = incident.command, incident.command.offer
    if command.accepted == order.offer_id and command.held_by(person.id):
        return command
    if offer is None or offer.id != order.offer_id:
        return _refused(tx, order, person, _offer_gone(tx, command))
    if refusal := _objection(tx, command, offer, order, person, site):
        return _refused(tx, order, person, refusal)
    return move(
        tx, incident, command.handed(offer.by, offer.to), How.ACCEPTED, actor=person.id,
        offer_id=offer.id, passkey_id=id_of(order.proof), proof=json.dumps(order.proof),
    )  # fmt: skip


def practised_acceptance(tx: Tx, order: Accept, person: Person, site: Site) -> Accept:
    """The order, proven with the practice passkey of a practice person who used no other."""
    kept = incidents.get(tx, order.incident_id)
    offer = kept.incident.command.offer if kept else None
    if order.proof is not None or kept is None or offer is None:
        return order
    signed = challenge_of(kept.incident, offer)
    proof = passkeys.practice_answer(tx, person.id, site=site, challenge=signed)
    return order.model_copy(update={"proof": proof})


def challenge_of(incident: Incident, offer: Offer) -> bytes:
    """What a passkey signs to accept this offer."""
    return acceptance_challenge(offer.nonce, incident.id, offer.id, incident.command.epoch)


def move(
    tx: Tx, incident: Incident, to: Sequence[str], how: How, *, actor: str,
    reason: str | None = None, offer_id: str | None = None, both: bool | None = None,
    **proven: object,
) -> Command:  # fmt: skip
    """Moves command of an incident that is locked; its open requests go to whoever has it now.

    `both`: as in Command.moved.
    """
    before = incident.command
    command = before.moved(to, at=tx.now, accepted=offer_id, both=both)
    incidents.save(tx, incident.model_copy(update={"command": command}))
    concerned = dict.fromkeys((*before.commanders, *command.commanders, WATCH_COMMANDER))
    tell = [each for each in concerned if each != actor]
    calls.tell(tx, About.MOVED, str(uuid.uuid4()), incident.id, tell, by=actor)
    tx.record(
        Kind.COMMAND_RECORDED, actor=actor, incident_id=incident.id, how=str(how),
        commander=command.person_id, with_commander=command.with_id, both=command.both or None,
        epoch=command.epoch, before=list(before.commanders), tell=tell,
        offer_id=offer_id, private={"reason": reason}, **proven,
    )  # fmt: skip
    for waiting in approvals.open_requests(tx, incident.id):
        tx.trace = waiting.trace
        approvals.look_again(tx, waiting.request)
        tx.changed(f"request:{waiting.request.id}")
    return command


def commanded(tx: Tx, incident_id: str) -> Incident:
    """An incident that somebody may command, held until the step ends. Raises Refusal."""
    incident = locked(tx, incident_id).incident
    if incident.notice:
        raise Refusal(
            "notice_has_no_command", "Nobody commands a notice: a supervisor approves it (389.3).",
            "Ask a Supervisor or the Watch Commander.", kind=Sort.CONFLICT,
        )  # fmt: skip
    return incident


def locked(tx: Tx, incident_id: str) -> incidents.Kept:
    """The incident, held until the step ends. Raises Refusal where there is none."""
    kept = incidents.lock(tx, incident_id)
    if kept is None:
        raise no_such_incident()
    return kept


def no_such_incident() -> Refusal:
    """What whoever names an unknown incident is told."""
    return Refusal(
        "no_such_incident", "There is no such incident.", "Open it from the board.",
        kind=Sort.NOT_FOUND,
    )  # fmt: skip


def commander_name(tx: Tx, command: Command) -> str | None:
    """Who commands, by name; None where nobody does."""
    found = (people.get(tx, each) for each in command.commanders)
    return commanders_in_words(command, {each.id: each.name for each in found if each})


def _objection(
    tx: Tx, command: Command, offer: Offer, order: Accept, person: Person, site: Site
) -> Refusal | None:
    """Why this person's acceptance cannot stand, in the order of mending it."""
    if offer.to != person.id:
        return _not_offered(tx, offer)
    if not may_command(person, order.incident_id):
        return _cannot_command()
    if command.offered(tx.now) is None:
        by = _name(tx, offer.by)
        return Refusal(
            "offer_expired", f"{by}'s offer of command was for {_MINUTES} minutes, and is over.",
            f"Ask {by} to offer it again.", kind=Sort.GONE,
        )  # fmt: skip
    key = passkeys.get(tx, id_of(order.proof), lock=True)
    signed = acceptance_challenge(offer.nonce, order.incident_id, offer.id, command.epoch)
    refusal = passkey.objection(
        order.proof, key, person_id=person.id, site=site, challenge=signed, world=tx.world,
        at=tx.now, what="this offer of command", incident_id=order.incident_id,
    )  # fmt: skip
    return refusal or passkeys.counted(tx, key, order.proof)


_MINUTES = int(OFFER_LIVES.total_seconds() // 60)


def _refused(tx: Tx, order: Accept, person: Person, refusal: Refusal) -> Refusal:
    count_failure(tx, refusal, person)
    tx.record(Kind.ACCEPTANCE_REFUSED, actor=person.id, incident_id=order.incident_id,
              offer_id=order.offer_id[:64], code=refusal.code)  # fmt: skip
    return refusal


def _end_offer(tx: Tx, incident: Incident, offer: Offer, how: str, by: str) -> None:
    _keep_offer(tx, incident, None)
    tell = [each for each in (offer.by, offer.to) if each != by]
    calls.tell(tx, About.OFFER_ENDED, str(uuid.uuid4()), incident.id, tell, by=by)
    tx.record(Kind.COMMAND_OFFER_ENDED, actor=by, incident_id=incident.id,
              offer_id=offer.id, to=offer.to, how=how, tell=tell)  # fmt: skip


def _keep_offer(tx: Tx, incident: Incident, offer: Offer | None) -> None:
    command = incident.command.model_copy(update={"offer": offer})
    incidents.save(tx, incident.model_copy(update={"command": command}))
    tx.changed(*(f"request:{each.request.id}" for each in approvals.open_requests(tx, incident.id)))


def _commander(tx: Tx, person_id: str, incident_id: str) -> Person:
    person = people.get(tx, person_id)
    if person is None or not may_command(person, incident_id):
        raise _cannot_command()
    return person


def _cannot_command() -> Refusal:
    return Refusal(
        "cannot_command",
        "That person is not on the roster as a Commander.",
        "Choose one of the Commanders listed, or have them added to the roster.",
        field="commander",
    )


def _elsewhere(command: Command, incoming: Person) -> None:
    """Raises Refusal where command would go to the one who has it. In unified command it may."""
    if command.commanders == (incoming.id,):
        raise _commands_already(incoming)


def _commands_already(person: Person) -> Refusal:
    return Refusal(
        "commands_already", f"{person.name} commands this incident already.",
        "Choose somebody else.", kind=Sort.CONFLICT, field="commander",
    )  # fmt: skip


def _offer_gone(tx: Tx, command: Command) -> Refusal:
    who = commander_name(tx, command)
    now = f"{who} {'command' if command.with_id else 'commands'}" if who else "Nobody commands"
    return Refusal(
        "offer_gone", f"This offer of command does not stand any more. {now} this incident.",
        "Ask for a new offer if command should go to you.", kind=Sort.CONFLICT,
        facts={"commander": who or ""},
    )  # fmt: skip


def _not_offered(tx: Tx, offer: Offer) -> Refusal:
    return Refusal(
        "not_offered_to_you", f"Command is offered to {_name(tx, offer.to)}.",
        "It is theirs to take. Telephone them if you have something to add.", kind=Sort.FORBIDDEN,
    )  # fmt: skip


def _name(tx: Tx, person_id: str) -> str:
    person = people.get(tx, person_id)
    return person.name if person else "somebody who left the roster"
