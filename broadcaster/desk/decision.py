"""A decision on its way to the ledger: what a passkey is asked, and what it answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from broadcaster.approval import Assent, Verdict
from broadcaster.desk.deps import Desk
from broadcaster.errors import Refusal
from broadcaster.incident import Command
from broadcaster.ledger import Tx, approvals, authorities, passkeys, people
from broadcaster.orders import (
    Decide,
    challenge_of,
    decide,
    in_its_place,
    no_such_request,
    practised,
)
from broadcaster.passkey import Json, id_of, objection, options_to_prove
from broadcaster.roster import Person

T = TypeVar("T")


def asked(
    tx: Tx, desk: Desk, kept: approvals.Kept, command: Command, person: Person, keeps: str | None
) -> dict[str, Json] | None:
    """What this person's passkey is asked, by verdict; None where the desk answers for them.

    That is, for a practice person at a desk for practice. `command`: as it is now. `keeps`: of the
    changed facts shown, in spite of which an approval keeps the words.
    """
    bound = authorities.bound(tx, person.id, tx.now, device_bound=desk.settings.device_bound)
    allowed, request = own_passkeys(tx, desk, person, bound=bound), kept.request
    if allowed is None:
        return None
    return {
        str(verdict): options_to_prove(
            desk.site, allowed=allowed,
            challenge=request.challenge(
                verdict, request.digest, command.epoch,
                keeps if verdict is Verdict.APPROVED else None,
            ),
        )
        for verdict in Verdict
    }  # fmt: skip


def own_passkeys(tx: Tx, desk: Desk, person: Person, *, bound: bool = False) -> list[str] | None:
    """Those that a person may prove something with; None where the desk answers for them.

    `bound`: without those that their maker copies between devices.
    """
    usable = [
        each for each in passkeys.of_person(tx, person.id)
        if each.usable and not (bound and each.synced)
    ]  # fmt: skip
    if desk.practice and any(each.practice for each in usable):
        return None
    return [each.id for each in usable if not each.practice]


def answered(
    tx: Tx, desk: Desk, person: Person, proof: Json | None, challenge: bytes
) -> Json | None:
    """What a person's passkey answered; of a practice person who used none, at a desk for practice,
    what the one does that the desk keeps."""
    if proof is not None or not desk.practice:
        return proof
    return passkeys.practice_answer(tx, person.id, site=desk.site, challenge=challenge)


async def on_record(desk: Desk, order: Callable[[Tx], T | Refusal]) -> T:
    """Runs an order that puts its own refusal on the record. Raises Refusal, once that is done."""
    done = await desk.ledger.write(order, urgent=True)
    if isinstance(done, Refusal):
        raise done
    return done


async def prover(desk: Desk, order: Decide) -> Person:
    """Whose passkey signed this decision, session or none. Raises Refusal.

    Nothing is put on the record in that person's name before their passkey has proved it.
    """

    def look(tx: Tx) -> Person:
        kept = approvals.request(tx, order.request_id)
        if kept is None:
            raise no_such_request()
        key = passkeys.get(tx, id_of(order.proof))
        person = people.get(tx, key.person_id) if key else None
        signed = challenge_of(tx, order)
        assert signed is not None, "the request is there"
        if refusal := objection(
            order.proof, key, person_id=person.id if person else "", site=desk.site,
            challenge=signed, world=tx.world, at=tx.now, incident_id=kept.request.incident_id,
        ):  # fmt: skip
            raise refusal
        assert person is not None, "their passkey proved it"
        return person

    return await desk.ledger.read(look)


def _name_the_newer(tx: Tx, desk: Desk, request_id: str, refusal: Refusal) -> None:
    """Says in a refusal which request waits in the place of the one that was answered."""
    kept = approvals.request(tx, request_id)
    if kept and (newer := in_its_place(tx, kept.request)):
        refusal.facts |= {
            "newer_request_id": newer.id, "newer_address": request_address(desk, newer.id),
        }  # fmt: skip


def request_address(desk: Desk, request_id: str) -> str:
    """Where a request is read and decided."""
    return f"{desk.address}/a/{request_id}"


async def decided(
    desk: Desk, person: Person, order: Decide, seal: str | None = None
) -> approvals.KeptDecision | Assent:
    """Records a decision, or the first approval of two. Raises Refusal, once it is on the record.

    At a desk for practice a practice person needs no passkey of their own. `seal`: of PIN and code,
    where they were typed instead.
    """

    def step(tx: Tx) -> approvals.KeptDecision | Assent | Refusal:
        practising = desk.practice and seal is None
        said = practised(tx, order, person, desk.site) if practising else order
        done = decide(
            tx, said, person, desk.site, seal=seal, device_bound=desk.settings.device_bound
        )
        if isinstance(done, Refusal):
            _name_the_newer(tx, desk, order.request_id, done)
        return done

    return await on_record(desk, step)
