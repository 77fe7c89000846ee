"""Orders about people's devices and sessions: approve, take away, unlock (389.3, CJIS AC-2, AC-7).

What widens somebody's power is signed by a passkey; what takes power away is one tap.
"""

from __future__ import annotations

from pydantic import AwareDatetime

from broadcaster import passkey
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, fallbacks, locks, passkeys, people, voices
from broadcaster.passkey import LONGEST_SHIFT, Json, Registered, Site
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, require
from broadcaster.world import Frozen


class ApproveDevice(Frozen):
    """A supervisor's order that somebody else's device may be used."""

    passkey_id: str
    until: AwareDatetime | None = None  #: the end of a shift; None: for good
    proof: Json | None = None  #: what the supervisor's passkey answered to `device_challenge`


class Unlock(Frozen):
    """A supervisor's order that a person may prove things again."""

    person_id: str
    proof: Json | None = None  #: what the supervisor's passkey answered to `unlock_challenge`


def approve_device(tx: Tx, order: ApproveDevice, person: Person, site: Site) -> Refusal | None:
    """Lets a device be used, for good or for a shift. One that may be used already stays as it is.

    Raises Refusal; one for what the passkey said is given back, since it is on the record.
    """
    require(person, Act.APPROVE_DEVICE)
    device = passkeys.known(tx, order.passkey_id)
    if device.person_id == person.id:
        raise Refusal("own_device", "Nobody approves their own device (389.3).",
                      "Ask another supervisor.", kind=Sort.FORBIDDEN)  # fmt: skip
    if device.revoked:
        raise Refusal("passkey_revoked", f"{device.name} was revoked, for good.",
                      "Have a new passkey made on it.", kind=Sort.CONFLICT)  # fmt: skip
    if order.until is not None and not tx.now < order.until <= tx.now + LONGEST_SHIFT:
        raise Refusal("until_invalid", "A shift ends after now, and within 12 hours.",
                      "Reload the page, and press the button again.", field="until")  # fmt: skip
    if not passkey.waits(device, site=site, world=tx.world, at=tx.now):
        return None
    challenge = passkey.device_challenge(device, order.until)
    if refusal := proven(tx, order.proof, person, site, challenge, "the approval of this device"):
        return refusal
    assert order.proof is not None, "it proved something"
    passkeys.approve(tx, device, order.proof, until=order.until, actor=person.id)
    return None


def unlock(tx: Tx, order: Unlock, person: Person, site: Site) -> Refusal | None:
    """Lets a locked person prove things again. Raises Refusal; gives back what the passkey said."""
    require(person, Act.APPROVE_DEVICE)
    if order.person_id == person.id:
        raise Refusal("own_lock", "Nobody unlocks themselves.", "Ask another supervisor.",
                      kind=Sort.FORBIDDEN)  # fmt: skip
    lock = locks.holding(tx, order.person_id, site)
    if lock is None:
        return None
    challenge = passkey.unlock_challenge(lock)
    if refusal := proven(tx, order.proof, person, site, challenge, "this unlocking"):
        return refusal
    assert order.proof is not None, "it proved something"
    locks.end(tx, lock, order.proof, by=person.id)
    return None


def proves(tx: Tx, person: Person, site: Site) -> bool:
    """Whether a person has a device of their own that proves something now."""
    return any(
        not (each.practice or each.revoked or passkey.waits(each, site=site, world=tx.world,
                                                            at=tx.now))
        for each in passkeys.of_person(tx, person.id)
    )  # fmt: skip


def add_device(
    tx: Tx, made: Registered, name: str, asked: bytes, proof: Json | None, person: Person,
    site: Site,
) -> Refusal | None:  # fmt: skip
    """Keeps a further device of one's own, which waits for approval.

    Whoever has one that serves proves with it that they mean this: else a stolen session could put
    a device of its own before a supervisor. `asked`: what the new one was asked. Raises Refusal;
    one for what the passkey said is given back, since it is on the record.
    """
    passkeys.use_up(tx, asked, person.id)
    if proves(tx, person, site):
        challenge = passkey.further_challenge(person.id, asked)
        if refusal := proven(tx, proof, person, site, challenge, "adding this device"):
            return refusal
    passkeys.add(tx, person.id, made, name, actor=person.id)
    return None


def lost(tx: Tx, person_id: str, person: Person) -> None:
    """Ends all sessions, devices and links of somebody at once, PIN and code, and the codes that
    they approve aloud with: a lost phone (CJIS AC-2(13)).

    Anybody may do so for themselves, a supervisor for others. Raises Refusal. An offer of command
    stands, for it takes a usable device to accept one.
    """
    if person_id != person.id:
        require(person, Act.APPROVE_DEVICE)
    for device in passkeys.of_person(tx, person_id):
        if not device.practice:
            passkeys.revoke(tx, device.id, actor=person.id)
    if held := fallbacks.standing(tx, person_id):
        fallbacks.end(tx, held, ended_by=person.id, actor=person.id)
    voices.end(tx, person_id, "lost", actor=person.id)
    people.end_links(tx, person_id)
    people.end_sessions(tx, person_id, actor=person.id)


def proven(
    tx: Tx, proof: Json | None, person: Person, site: Site, challenge: bytes, what: str
) -> Refusal | None:
    """Why a passkey's answer does not prove that this person meant `what`; counts what failed."""
    key = passkeys.get(tx, passkey.id_of(proof), lock=True)
    refusal = passkey.objection(
        proof, key, person_id=person.id, site=site, challenge=challenge, world=tx.world,
        at=tx.now, what=what,
    ) or passkeys.counted(tx, key, proof)  # fmt: skip
    if refusal is not None:
        count_failure(tx, refusal, person)
        tx.record(Kind.PROOF_REFUSED, actor=person.id, code=refusal.code)
    return refusal


def count_failure(tx: Tx, refusal: Refusal, person: Person) -> None:
    """Counts an answer that did not fit towards a lock (AC-7).

    Only what comes from the person's own session is counted: else whoever knows a passkey's name
    could lock its owner out from outside.
    """
    if refusal.code == passkey.NOT_PROVEN:
        locks.failed(tx, person.id)
