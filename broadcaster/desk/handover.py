"""Command on the desk's pages: what may be done about it, what a passkey is asked, and the acts.

The incident's page and the approval page show the same part (templates/command.html) and take the
same acts, so that a Watch Commander or an incoming Commander takes command and decides in one
visit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from broadcaster.desk.decision import on_record, own_passkeys
from broadcaster.desk.deps import Desk
from broadcaster.errors import Refusal
from broadcaster.handover import (
    Accept,
    accept_command,
    challenge_of,
    end_offer,
    force_command,
    may_transfer,
    offer_command,
    practised_acceptance,
    record_command,
    record_radio,
    take_command,
)
from broadcaster.incident import Command, Incident, Offer
from broadcaster.ledger import Tx, people
from broadcaster.passkey import Json, options_to_prove
from broadcaster.roster import Act, Person, may_command

Fields = Mapping[str, str]


@dataclass(frozen=True)
class CommandView:
    """Command of one incident, for whoever looks."""

    offer: Offer | None  #: the one that can be accepted now
    mine: bool  #: and it is offered to the one who looks
    asks: Json | None  #: what their passkey is asked; None where the desk answers for them
    has_passkey: bool
    names: Mapping[str, str]
    candidates: Sequence[Person]
    may_take: bool
    may_offer: bool
    may_record: bool
    may_transfer: bool
    may_end_offer: bool
    may_enrol: bool  #: a Commander from outside


def command_view(tx: Tx, desk: Desk, incident: Incident, person: Person) -> CommandView:
    """What this person may do about command of an incident."""
    command = incident.command
    offer = command.offered(tx.now)
    everybody = people.everybody(tx)
    mine = offer is not None and offer.to == person.id
    asks = _asked(tx, desk, incident, offer, person) if offer and mine else None
    commanded = not incident.notice
    watches = commanded and may_transfer(tx, person)
    holds = command.held_by(person.id)
    return CommandView(
        offer=offer, mine=mine, asks=asks,
        has_passkey=asks is None or bool(asks["allowCredentials"]),
        names={each.id: each.name for each in everybody},
        candidates=[each for each in everybody if may_command(each, incident.id)],
        may_take=watches and not command.commanders,
        may_offer=watches or holds,
        may_record=commanded and person.may(Act.RECORD_COMMAND),
        may_transfer=watches and bool(command.commanders),
        may_enrol=watches and incident.open,
        may_end_offer=offer is not None and (watches or holds or person.id == offer.by),
    )  # fmt: skip


def _asked(tx: Tx, desk: Desk, incident: Incident, offer: Offer, person: Person) -> Json | None:
    allowed = own_passkeys(tx, desk, person)
    if allowed is None:
        return None
    return options_to_prove(desk.site, challenge=challenge_of(incident, offer), allowed=allowed)


async def accepted(desk: Desk, person: Person, order: Accept) -> Command:
    """Takes the command that was offered. Raises Refusal, once that is on the record.

    At a desk for practice a practice person needs no passkey of their own.
    """

    def step(tx: Tx) -> Command | Refusal:
        said = practised_acceptance(tx, order, person, desk.site) if desk.practice else order
        return accept_command(tx, said, person, desk.site)

    return await on_record(desk, step)


def _record(tx: Tx, incident_id: str, person: Person, fields: Fields) -> object:
    return record_command(
        tx, incident_id, fields["commander"] or None, person,
        with_id=fields.get("with") or None, both="both" in fields,
    )  # fmt: skip


def _radio(tx: Tx, incident_id: str, person: Person, fields: Fields) -> object:
    return record_radio(tx, incident_id, fields["said_by"], fields["commander"], person)


def _transfer(tx: Tx, incident_id: str, person: Person, fields: Fields) -> object:
    reason = fields["transfer_reason"]
    return force_command(tx, incident_id, fields["commander"], reason, person)


#: The buttons by their value; accepting alone needs a passkey and stands apart.
_ACTS: dict[str, Callable[[Tx, str, Person, Fields], object]] = {
    "command": _record,
    "command_radio": _radio,
    "command_transfer": _transfer,
    "command_take": lambda tx, incident_id, person, fields: take_command(tx, incident_id, person),
    "command_offer": lambda tx, incident_id, person, fields: offer_command(
        tx, incident_id, fields["commander"], person
    ),
    "command_end_offer": lambda tx, incident_id, person, fields: end_offer(
        tx, incident_id, fields["offer_id"], person
    ),
}
ACTS = frozenset({*_ACTS, "command_accept"})


async def act(desk: Desk, person: Person, incident_id: str, fields: Fields) -> None:
    """Does what a pressed button of the part says. Raises Refusal."""
    try:
        if fields["act"] == "command_accept":
            order = Accept(
                incident_id=incident_id, offer_id=fields["offer_id"],
                proof=json.loads(proof) if (proof := fields.get("passkey")) else None,
            )  # fmt: skip
            await accepted(desk, person, order)
        else:
            chosen = _ACTS[fields["act"]]
            await desk.ledger.write(lambda tx: chosen(tx, incident_id, person, fields), urgent=True)
    except (KeyError, ValueError):
        raise Refusal(
            "command_unreadable", "A part of what the button sends is missing, or unreadable.",
            "Reload the page, and press it again.", field="commander",
        ) from None  # fmt: skip
