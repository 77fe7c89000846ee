"""Orders about Commanders from outside, each one ledger transaction (broadcaster/guest.py).

Enrolling one is signed by the passkey of the Watch Commander, or of a deputy; ending it is one tap.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Annotated

from pydantic import AwareDatetime, Field

from broadcaster.calling import Means
from broadcaster.devices import proven
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.guest import LINK_LIVES, LONGEST_STAY, Guest, hashed
from broadcaster.handover import How, commanded, move, require_transfer
from broadcaster.incident import Incident
from broadcaster.ledger import Tx, calls, guests, passkeys, people
from broadcaster.passkey import Json, Site, guest_challenge, id_of
from broadcaster.roster import Person
from broadcaster.update import clean
from broadcaster.world import Frozen

#: The most that a name may hold, with rank and agency.
LONGEST_NAME = 120


class EnrolGuest(Frozen):
    """Enrol somebody from outside for one incident, until then."""

    incident_id: str
    person_id: Annotated[str, Field(min_length=36, max_length=36)]
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    token: Annotated[str, Field(min_length=32, max_length=64)]  #: of the link: makes their passkey
    at: AwareDatetime
    until: AwareDatetime
    telephone: str = ""  #: how they are called, where they give one
    proof: Json | None = None  #: what a passkey answered to `guest_challenge`

    @property
    def guest(self) -> Guest:
        return Guest(
            person_id=self.person_id, name=self.name, incident_id=self.incident_id,
            token_hash=hashed(self.token), at=self.at, until=self.until,
        )  # fmt: skip


def draft_guest(
    tx: Tx, incident_id: str, person: Person, *, rank: str, name: str, agency: str, hours: int,
    telephone: str = "",
) -> EnrolGuest:  # fmt: skip
    """What is to be signed, with a new link. Keeps nothing. Raises Refusal."""
    require_transfer(tx, person)
    _open(tx, incident_id)
    said = {field: clean(text, field) for field, text in
            (("rank", rank), ("name", name), ("agency", agency))}  # fmt: skip
    for field, text in said.items():
        if not text:
            raise Refusal(f"{field}_missing", f"The {field} is missing.",
                          "Write rank, name and agency, as on their badge.",
                          field=field)  # fmt: skip
    whole = f"{said['rank']} {said['name']}, {said['agency']}"
    if len(whole) > LONGEST_NAME:
        raise Refusal("name_invalid", f"Rank, name and agency have {LONGEST_NAME} characters.",
                      "Shorten the agency.", field="agency")  # fmt: skip
    if not 1 <= hours <= LONGEST_STAY // timedelta(hours=1):
        raise Refusal("until_too_far", "Somebody from outside stays for 1 to 12 hours.",
                      "Choose an earlier end; they can be enrolled again.",
                      field="hours")  # fmt: skip
    return EnrolGuest(
        incident_id=incident_id, person_id=str(uuid.uuid4()), name=_free(tx, whole), at=tx.now,
        token=secrets.token_urlsafe(24), until=tx.now + timedelta(hours=hours),
        telephone=telephone.strip(),
    )  # fmt: skip


def enrol_guest(tx: Tx, order: EnrolGuest, person: Person, site: Site) -> Guest | Refusal:
    """Enrols somebody from outside; a second time the first answer.

    Raises Refusal; one for what the passkey said is given back, since it is on the record.
    """
    require_transfer(tx, person)
    guest = order.guest
    if (known := guests.of(tx, guest.person_id)) and known.token_hash == guest.token_hash:
        return known
    _open(tx, order.incident_id)
    fresh = timedelta() <= tx.now - order.at < LINK_LIVES and guest.holds(tx.now)
    if not fresh or people.get(tx, guest.person_id):
        raise Refusal("guest_draft_over", "This took too long: the link has run out unused.",
                      "Begin again.", kind=Sort.GONE)  # fmt: skip
    challenge = guest_challenge(guest)
    if refusal := proven(tx, order.proof, person, site, challenge, "this enrolment"):
        return refusal
    assert order.proof is not None, "it proved something"
    key = passkeys.get(tx, id_of(order.proof))
    if key is not None and key.approved_until is not None:
        raise Refusal(
            "passkey_lent", f"{key.name} is approved for a shift, and vouches for nobody.",
            "Use your own device, or ask another Watch Commander.", kind=Sort.FORBIDDEN,
        )  # fmt: skip
    guests.add(tx, guest, order.proof, actor=person.id)
    if order.telephone:
        calls.add_reach(tx, guest.person_id, Means.SMS, order.telephone, actor=person.id)
    return guest


def end_guest(tx: Tx, incident_id: str, person_id: str, person: Person) -> None:
    """Ends an enrolment at once. Command that they hold goes back to nobody. Raises Refusal."""
    require_transfer(tx, person)
    incident = commanded(tx, incident_id)
    guest = guests.of(tx, person_id)
    if guest is None or guest.incident_id != incident_id or guest.ended:
        raise Refusal("no_such_guest", "Nobody from outside is enrolled so.", "Reload the page.",
                      kind=Sort.CONFLICT)  # fmt: skip
    guests.end(tx, guest, actor=person.id)
    people.end_sessions(tx, person_id, actor=person.id)
    if incident.command.held_by(person_id):
        left = [each for each in incident.command.commanders if each != person_id]
        move(tx, incident, left, How.RECORDED, actor=person.id)


def _open(tx: Tx, incident_id: str) -> Incident:
    incident = commanded(tx, incident_id)
    if not incident.open:
        raise Refusal("incident_closed", "This incident is over, and needs no Commander from "
                      "outside.", "Ask the Watch Commander to decide.",
                      kind=Sort.CONFLICT)  # fmt: skip
    return incident


def _free(tx: Tx, name: str) -> str:
    """The name, with a number behind it where they were enrolled before."""
    number = 1
    found = name
    while people.by_name(tx, found):
        number += 1
        found = f"{name} ({number})"
    return found
