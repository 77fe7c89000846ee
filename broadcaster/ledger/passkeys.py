"""Passkeys as kept, and what browsers were asked to sign."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from broadcaster import practice
from broadcaster.errors import Kind, Refusal
from broadcaster.guest import Guest
from broadcaster.ledger import authorities, guests, roles, schema
from broadcaster.ledger.tx import Tx
from broadcaster.passkey import (
    LONGEST_NAME,
    Json,
    Lock,
    Passkey,
    Registered,
    Site,
    counter_of,
    id_of,
)
from broadcaster.record import Kind as Fact
from broadcaster.roster import MAY, Act

#: Who approved a device that was made with a link: whoever gave the link.
LINK = "link"

#: So many approvals, each by the next, are followed back to a link.
LONGEST_CHAIN = 8

#: A browser answers within this time, or is asked again.
CHALLENGE_LIVES = timedelta(minutes=5)


def add(
    tx: Tx, person_id: str, made: Registered, name: str, *, actor: str,
    approved_by: str | None = None, private_key: bytes | None = None,
) -> Passkey:  # fmt: skip
    """Keeps a person's new passkey. It may be used once somebody has approved its device (389.3).

    Raises Refusal where it has no name, or is kept already.
    """
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise Refusal(
            "device_name_invalid", f"A device needs a name of 1 to {LONGEST_NAME} characters.",
            'Say which it is, as in "Ortiz duty phone".', field="name",
        )  # fmt: skip
    if get(tx, made.id) is not None:
        raise Refusal("passkey_known", "This passkey is enrolled already.",
                      "Use it as it is.", kind=Kind.CONFLICT, field="passkey")  # fmt: skip
    tx.connection.execute(
        insert(schema.passkeys).values(
            id=made.id, person_id=person_id, name=name, public_key=made.public_key,
            counter=made.counter, synced=made.synced, aaguid=made.aaguid, private_key=private_key,
            added_at=tx.now, approved_at=tx.now if approved_by else None, approved_by=approved_by,
        )
    )  # fmt: skip
    tx.record(Fact.PASSKEY_ADDED, actor=actor, person_id=person_id, passkey_id=made.id,
              synced=made.synced, aaguid=made.aaguid, practice=private_key is not None,
              approved_by=approved_by, private={"name": name})  # fmt: skip
    tx.changed("people")
    kept = get(tx, made.id)
    assert kept is not None, "it was just kept"
    return kept


def get(
    tx: Tx, passkey_id: str | None, *, lock: bool = False, at: datetime | None = None
) -> Passkey | None:
    """A passkey as it stands now. `at`: by the roster as it was then: who leaves it ends theirs,
    and vouches for none any more."""
    kept = _one(tx, passkey_id, lock=lock, at=at)
    if kept is None:
        return None
    return kept.model_copy(update={"locks": locks_of(tx, kept.person_id)})


def of_person(tx: Tx, person_id: str) -> list[Passkey]:
    """A person's passkeys, the oldest first."""
    table = schema.passkeys.c
    rows = tx.connection.execute(
        select(schema.passkeys).where(table.person_id == person_id).order_by(table.added_at)
    ).all()
    locks = locks_of(tx, person_id) if rows else ()
    return [_passkey(tx, row).model_copy(update={"locks": locks}) for row in rows]


def locks_of(tx: Tx, person_id: str) -> tuple[Lock, ...]:
    """When a person was locked, the oldest first, and by what it is proven that it is over."""
    table = schema.locks.c
    rows = tx.connection.execute(
        select(schema.locks).where(table.person_id == person_id).order_by(table.id)
    )
    return tuple(_lock(tx, row) for row in rows)


def approve(
    tx: Tx, kept: Passkey, approval: Json, *, until: datetime | None, actor: str
) -> Passkey:
    """Lets a device be used: for good, or until a shift ends. `approval`: what proves it."""
    tx.connection.execute(
        update(schema.passkeys)
        .where(schema.passkeys.c.id == kept.id)
        .values(approved_at=tx.now, approved_by=actor, approved_until=until,
                approval=json.dumps(approval))
    )  # fmt: skip
    tx.record(Fact.PASSKEY_APPROVED, actor=actor, person_id=kept.person_id, passkey_id=kept.id,
              until=until.isoformat() if until else None)  # fmt: skip
    tx.changed("people")
    return known(tx, kept.id)


def revoke(tx: Tx, passkey_id: str, *, actor: str) -> Passkey:
    """Ends a device's use, for good. Raises Refusal; a second time does nothing."""
    kept = known(tx, passkey_id)
    if not kept.revoked:
        tx.connection.execute(
            update(schema.passkeys)
            .where(schema.passkeys.c.id == passkey_id)
            .values(revoked_at=tx.now)
        )
        tx.record(Fact.PASSKEY_REVOKED, actor=actor, person_id=kept.person_id,
                  passkey_id=passkey_id)  # fmt: skip
        tx.changed("people")
    return kept


def used(tx: Tx, kept: Passkey, counter: int) -> Refusal | None:
    """Notes a use. A counter that does not rise is a copy's (WebAuthn §6.1.1); 0 counts nothing."""
    if counter <= kept.counter and (counter, kept.counter) != (0, 0):
        return Refusal(
            "passkey_copied",
            f"{kept.name} answers as if a copy of it were in use, so nothing was done.",
            "Tell the Watch Commander at once, and use another device of yours.",
            kind=Kind.FORBIDDEN,
            field="proof",
        )
    if counter:
        tx.connection.execute(
            update(schema.passkeys).where(schema.passkeys.c.id == kept.id).values(counter=counter)
        )
    return None


def counted(tx: Tx, kept: Passkey | None, answer: Json | None) -> Refusal | None:
    """Notes the use that an answer, which proved something, tells of itself."""
    assert kept is not None and answer is not None, "something was proven with them"
    return used(tx, kept, counter_of(answer))


# --- What is to be signed ---------------------------------------------------------------------


def ask(tx: Tx, person_id: str | None = None) -> bytes:
    """A challenge that can be used once; `person_id`: by whom alone."""
    challenge = secrets.token_bytes(32)
    table = schema.challenges
    tx.connection.execute(delete(table).where(table.c.expires_at <= tx.now))
    tx.connection.execute(
        insert(table).values(
            hash=_hash(challenge), person_id=person_id, expires_at=tx.now + CHALLENGE_LIVES
        )
    )
    return challenge


def use_up(tx: Tx, challenge: bytes, person_id: str | None = None) -> None:
    """Takes a challenge that was asked. Raises Refusal where it is used, old or another's."""
    table = schema.challenges
    row = tx.connection.execute(
        delete(table).where(table.c.hash == _hash(challenge)).returning(
            table.c.person_id, table.c.expires_at
        )
    ).first()  # fmt: skip
    if row is None or row.expires_at <= tx.now or row.person_id != person_id:
        raise Refusal("challenge_used", "This took too long, or was answered before.",
                      "Try again.", kind=Kind.GONE, field="passkey")  # fmt: skip


# --- Practice ---------------------------------------------------------------------------------


def add_practice(tx: Tx, person_id: str, *, actor: str) -> Passkey:
    """A passkey that the desk itself keeps for a practice person of an exercise."""
    made, private = practice.make()
    return add(tx, person_id, made, "Practice passkey", actor=actor, approved_by=actor,
               private_key=private)  # fmt: skip


def practice_answer(tx: Tx, person_id: str, *, site: Site, challenge: bytes) -> Json | None:
    """What a practice person's passkey answers; None where they have none."""
    table = schema.passkeys.c
    row = tx.connection.execute(
        select(table.id, table.private_key)
        .where(table.person_id == person_id, table.private_key.is_not(None),
               table.revoked_at.is_(None))
        .limit(1)
    ).first()  # fmt: skip
    if row is None:
        return None
    return practice.answer(row.id, row.private_key, site=site, challenge=challenge)


def known(tx: Tx, passkey_id: str) -> Passkey:
    """A device, locked. Raises Refusal where there is none."""
    kept = get(tx, passkey_id, lock=True)
    if kept is None:
        raise Refusal("no_such_device", "There is no such device.",
                      "Choose one of those listed.", kind=Kind.NOT_FOUND)  # fmt: skip
    return kept


def _vouchers(tx: Tx, row: Row[Any], longest: int, at: datetime | None) -> dict[str, object]:
    """By what a device's approval is proven: a link that made it, or a supervisor's passkey.

    `longest`: so many approvals are followed; a ring of them leads nowhere.
    """
    link = schema.enrolments.c
    if not roles.added(tx, row.person_id):
        return _guests_vouchers(tx, row, longest, at)
    if row.approved_by == LINK:
        used = select(link.token, link.token_hash).where(
            link.passkey_id == row.id, link.person_id == row.person_id,
            link.used_at < link.expires_at,
        )  # fmt: skip
        links = tx.connection.execute(used).all()
        return {"linked": any(_hash((token or "").encode()) == hash_ for token, hash_ in links)}
    if row.approval is None or not longest:
        return {}
    approval = json.loads(row.approval)
    by = _one(tx, id_of(approval), longest=longest - 1, at=at)
    may = by is not None and bool(roles.held(tx, by.person_id, at) & MAY[Act.APPROVE_DEVICE])
    return {"approval": approval, "voucher": by, "voucher_may": may}


def _guests_vouchers(tx: Tx, row: Row[Any], longest: int, at: datetime | None) -> dict[str, object]:
    """By what somebody from outside is proven to be enrolled, whatever the device's row says."""
    guest = guests.of(tx, str(row.person_id))
    if guest is None or not longest:
        return {}
    approval = guests.approval(tx, guest.person_id)
    by = _one(tx, id_of(approval), longest=longest - 1, at=at)
    may = by is not None and _enrols(tx, by.person_id, guest)
    return {"approval": approval, "voucher": by, "voucher_may": may, "guest": guest}


def _enrols(tx: Tx, person_id: str, guest: Guest) -> bool:
    """Whether a person might enrol a guest when it was signed: they moved command, or stood in for
    who does."""
    held = roles.held(tx, person_id, guest.at)
    if held & MAY[Act.TRANSFER_COMMAND]:
        return True
    deputy = any(each.held(guest.at) for each in authorities.standing(tx, person_id).delegations)
    return deputy and bool(held & MAY[Act.DECIDE])


def _lock(tx: Tx, row: Row[Any]) -> Lock:
    proof = json.loads(row.proof) if row.proof else None
    key = schema.passkeys.c
    revoked_at = tx.connection.execute(
        select(key.revoked_at).where(key.id == id_of(proof))
    ).scalar()
    by = _one(tx, id_of(proof), at=row.ended_at)
    # Whoever gives up a phone has not locked again whom they unlocked with it.
    in_time = revoked_at is None or row.at < revoked_at
    may = by is not None and bool(
        roles.held(tx, by.person_id, row.ended_at) & MAY[Act.APPROVE_DEVICE]
    )
    return Lock(
        person_id=row.person_id, at=row.at, ended_at=row.ended_at, proof=proof, by=by,
        by_may=may and in_time,
    )  # fmt: skip


def _one(
    tx: Tx, passkey_id: str | None, *, lock: bool = False, longest: int = LONGEST_CHAIN,
    at: datetime | None = None,
) -> Passkey | None:  # fmt: skip
    query = select(schema.passkeys).where(schema.passkeys.c.id == passkey_id)
    row = tx.connection.execute(query.with_for_update() if lock else query).first()
    return _passkey(tx, row, longest, at) if row else None


def _passkey(
    tx: Tx, row: Row[Any], longest: int = LONGEST_CHAIN, at: datetime | None = None
) -> Passkey:
    left = roles.left_since(tx, row.person_id, row.added_at, at)
    return Passkey(
        approved_until=row.approved_until,
        **_vouchers(tx, row, longest, at),
        id=row.id, person_id=row.person_id, name=row.name, public_key=row.public_key,
        counter=row.counter, synced=row.synced, approved=row.approved_at is not None,
        revoked=row.revoked_at is not None or left, practice=row.private_key is not None,
    )  # fmt: skip


def _hash(challenge: bytes) -> str:
    return hashlib.sha256(challenge).hexdigest()
