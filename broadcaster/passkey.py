"""Passkeys (WebAuthn Level 3): what proves a person, and what they decided about which words.

The challenge that a passkey signs is computed from the decision itself, so an answer that was given
to one request, verdict or wording proves nothing about any other (facts/security-reliability-ux.md
§1, point 5). The desk asks for it, the gate looks at it again, and neither believes the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from broadcaster.errors import Kind, Refusal
from broadcaster.guest import Guest
from broadcaster.world import Frozen, World

DECISION_TAG = b"iab/approve/v2\0"
ACCEPTANCE_TAG = b"iab/command/v1\0"
DEVICE_TAG = b"iab/device/v1\0"
GUEST_TAG = b"iab/guest/v1\0"
UNLOCK_TAG = b"iab/unlock/v1\0"
FURTHER_TAG = b"iab/further/v1\0"

#: A device that stands in for another is approved for a shift, and no longer.
LONGEST_SHIFT = timedelta(hours=12)

#: So many proofs that did not fit, from a person's own session within this time, lock them (AC-7).
FAILURES = 5
WITHIN = timedelta(minutes=15)

#: The code of an answer that does not fit what was asked.
NOT_PROVEN = "passkey_not_proven"

#: Authenticator data's flag: the passkey may be backed up, which is to copy it.
_BACKUP_ELIGIBLE = 0x08

#: Longest name of a device.
LONGEST_NAME = 60

Json = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """Where people reach the desk: a passkey answers this site and no other (phishing)."""

    origin: str
    apps: tuple[str, ...] = ()  #: as what the department's own apps answer beside it

    @classmethod
    def at(cls, address: str, apps: tuple[str, ...] = ()) -> Site:
        """The site of an address, whatever its path."""
        parts = urlsplit(address)
        return cls(f"{parts.scheme}://{parts.netloc}", apps)

    @property
    def host(self) -> str:
        """WebAuthn's RP ID."""
        return urlsplit(self.origin).hostname or ""


class Lock(Frozen):
    """From when on a person proves nothing, and who is said to have ended that."""

    person_id: str
    at: datetime
    ended_at: datetime | None = None
    proof: Json | None = None  #: what the passkey of who ended it answered
    by: Passkey | None = None  #: that passkey
    by_may: bool = False  #: whether its owner may unlock, and it was not revoked before the lock


class Passkey(Frozen):
    """One passkey of a person, as kept: the public half, and whether it may be used."""

    id: str  #: WebAuthn's credential id, base64url
    person_id: str
    name: str  #: the device, as its owner calls it
    public_key: bytes
    counter: int  #: 0: this kind counts nothing
    synced: bool  #: copied between devices by its maker's cloud
    approved: bool  #: named, and approved by somebody who may, before its first use (389.3)
    revoked: bool
    practice: bool = False  #: kept by the desk itself for a practice person
    linked: bool = False  #: made with a link of the roster: whoever gave it vouches for the device
    approved_until: datetime | None = None  #: approved for a shift; None: for good
    approval: Json | None = None  #: what the passkey of who approved it answered
    voucher: Passkey | None = None  #: that passkey
    voucher_may: bool = False  #: whether its owner may approve devices, or here enrol a guest
    guest: Guest | None = None  #: whose it is, where its owner is from outside
    locks: tuple[Lock, ...] = ()  #: when its owner was locked

    @property
    def usable(self) -> bool:
        return self.approved and not self.revoked

    def over(self, at: datetime) -> bool:
        """Whether the shift that it was approved for is over."""
        return self.approved_until is not None and at >= self.approved_until


class Registered(Frozen):
    """What an authenticator told when it made a passkey."""

    id: str
    public_key: bytes
    counter: int
    synced: bool
    aaguid: str  #: the authenticator's model; zeros where it does not tell


def decision_challenge(
    nonce: str, request_id: str, verdict: str, digest: str, keeps: str | None = None, *,
    until: datetime, epoch: int,
) -> bytes:  # fmt: skip
    """What a passkey signs to decide: 32 bytes bound to one request, one verdict, these words.

    `keeps`: the digest of the changed facts in spite of which the words are kept. `until`: when the
    request's time is over. `epoch`: of the command that it is decided under. So whoever holds an
    answer back can neither stretch its time nor use it once command has moved.
    """
    kept = () if keeps is None else (keeps,)
    return _signed(
        DECISION_TAG, nonce, request_id, in_utc(until), str(epoch), verdict, digest, *kept
    )


def in_utc(at: datetime) -> str:
    """A time as it is signed: as the API tells it, such as 2026-11-22T22:10:00Z (RFC 3339)."""
    return at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def acceptance_challenge(nonce: str, incident_id: str, offer_id: str, epoch: int) -> bytes:
    """What a passkey signs to accept command: one offer, made while this epoch's command held.

    Its tag is its own, so an answer to it decides nothing, and a decision's accepts nothing.
    """
    return _signed(ACCEPTANCE_TAG, nonce, incident_id, offer_id, str(epoch))


def device_challenge(device: Passkey, until: datetime | None) -> bytes:
    """What a supervisor's passkey signs to approve a device: this key, of this person, so long."""
    key = hashlib.sha256(device.public_key).hexdigest()
    end = until.astimezone(UTC).isoformat() if until else ""
    return _signed(DEVICE_TAG, device.id, key, device.person_id, end)


def guest_challenge(guest: Guest) -> bytes:
    """What the Watch Commander's passkey signs to enrol a Commander from outside: whom, for which
    incident, by which link, from when until when.
    """
    times = (each.astimezone(UTC).isoformat() for each in (guest.at, guest.until))
    return _signed(GUEST_TAG, guest.incident_id, guest.person_id, guest.name, guest.token_hash,
                   *times)  # fmt: skip


def unlock_challenge(lock: Lock) -> bytes:
    """What a supervisor's passkey signs to end one lock of one person."""
    return _signed(UNLOCK_TAG, lock.person_id, lock.at.astimezone(UTC).isoformat())


def further_challenge(person_id: str, asked: bytes) -> bytes:
    """What a person's present passkey signs to add a further device, of which this is asked."""
    return _signed(FURTHER_TAG, person_id, bytes_to_base64url(asked))


def vouched(device: Passkey, *, site: Site, world: World) -> bool:
    """Whether a device goes back to a link of the roster, by approvals that were signed (389.3).

    Whoever can write the desk's tables can say that a device is approved; they cannot sign it. A
    device that was revoked vouches for none any more, and one that is lent for a shift for none. A
    guest's goes back to whoever signed that they are enrolled, and to nothing else.
    """
    if device.guest is None and (device.linked or device.practice):
        return True
    if device.guest is not None and not device.guest.made(device.id):
        return False
    by = device.voucher
    return (
        by is not None
        and device.approval is not None
        and device.voucher_may
        and by.usable
        and by.approved_until is None
        and by.person_id != device.person_id
        and not (by.practice and world != "exercise")
        and _answers(device.approval, by, site, _vouching(device))
        and vouched(by, site=site, world=world)
    )


def _vouching(device: Passkey) -> bytes:
    """What was signed for a device: that it is approved, or that its owner is enrolled."""
    if device.guest is not None:
        return guest_challenge(device.guest)
    return device_challenge(device, device.approved_until)


def holds(lock: Lock, at: datetime, *, site: Site, world: World) -> bool:
    """Whether somebody proves nothing at a time: they are locked, and nobody else who may has
    signed that this is over (CJIS AC-7).
    """
    if at < lock.at:
        return False
    return lock.ended_at is None or at < lock.ended_at or not _unlocked(lock, site, world)


def locked(locks: Sequence[Lock], at: datetime, *, site: Site, world: World) -> bool:
    """Whether any of a person's locks holds at a time."""
    return any(holds(lock, at, site=site, world=world) for lock in locks)


def _unlocked(lock: Lock, site: Site, world: World) -> bool:
    """Whether the end of a lock was signed: the desk's tables alone end none."""
    by = lock.by
    return (
        by is not None
        and lock.proof is not None
        and lock.by_may
        and by.person_id != lock.person_id
        and not (by.practice and world != "exercise")
        and _answers(lock.proof, by, site, unlock_challenge(lock))
        and vouched(by, site=site, world=world)
    )


def waits(device: Passkey, *, site: Site, world: World, at: datetime) -> bool:
    """Whether a device is to be approved, or approved again, before it proves anything."""
    if device.revoked:
        return False
    if not device.approved or device.over(at):
        return True
    return not vouched(device, site=site, world=world)


def _signed(tag: bytes, *parts: str) -> bytes:
    return hashlib.sha256(tag + "\0".join(parts).encode()).digest()


def options_to_register(site: Site, *, name: str, challenge: bytes, known: list[str]) -> Json:
    """What a browser is asked when a person adds a passkey; `known`: those they have already."""
    return _json(
        generate_registration_options(
            rp_id=site.host, rp_name="Incident alert broadcaster", user_name=name,
            user_display_name=name, challenge=challenge,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(known),
        )
    )  # fmt: skip


def options_to_prove(site: Site, *, challenge: bytes, allowed: list[str]) -> Json:
    """What a browser is asked when a person proves something with one of their passkeys."""
    return _json(
        generate_authentication_options(
            rp_id=site.host, challenge=challenge, allow_credentials=_descriptors(allowed),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
    )  # fmt: skip


def register(answer: Json, *, site: Site, challenge: bytes) -> Registered:
    """What a new passkey is. Raises Refusal where the answer does not prove one."""
    try:
        made = verify_registration_response(
            credential=answer, expected_challenge=challenge, expected_rp_id=site.host,
            expected_origin=site.origin, require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError) as problem:
        raise Refusal(
            "passkey_not_made",
            f"This passkey could not be taken ({problem}).",
            "Try again on this device; if it fails again, on another one.",
            field="passkey",
        ) from None
    return Registered(
        id=bytes_to_base64url(made.credential_id), public_key=made.credential_public_key,
        counter=made.sign_count, aaguid=made.aaguid,
        synced=made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
    )  # fmt: skip


def objection(
    answer: Json | None, passkey: Passkey | None, *, person_id: str, site: Site, challenge: bytes,
    world: World, at: datetime, what: str = "these words and this decision",
    incident_id: str | None = None,
) -> Refusal | None:  # fmt: skip
    """Why an answer does not prove that this person meant this challenge; None if it does.

    `passkey`: the one that the answer names, if the ledger knows it. `at`: when it was given. User
    verification (finger, face, device PIN) is required. `incident_id`: what it is about; somebody
    from outside proves nothing about another, nor about none.
    """
    if passkey and passkey.practice and world != "exercise":
        return Refusal(
            "practice_passkey", "A practice passkey proves nothing outside an exercise.",
            "Use the phone or key that you enrolled.", kind=Kind.FORBIDDEN, field="proof",
        )  # fmt: skip
    if answer is None:
        return Refusal(
            "passkey_missing", "This is proven with a passkey, and none was used.",
            "Use the phone or key that you enrolled.", kind=Kind.FORBIDDEN, field="proof",
        )  # fmt: skip
    if passkey is None or passkey.person_id != person_id:
        return Refusal(
            "passkey_unknown", "That passkey is not one of yours.",
            "Use the phone or key that you enrolled, or enrol this one first.",
            kind=Kind.FORBIDDEN, field="proof",
        )  # fmt: skip
    if not passkey.usable:
        how = "revoked" if passkey.revoked else "not approved yet"
        return Refusal(
            f"passkey_{'revoked' if passkey.revoked else 'not_approved'}",
            f"{passkey.name} is {how} (389.3: approved equipment).",
            "Use another device of yours, or have the Watch Commander approve this one.",
            kind=Kind.FORBIDDEN, field="proof",
        )  # fmt: skip
    if passkey.over(at):
        return Refusal(
            "passkey_over", f"{passkey.name} was approved for a shift, which is over (389.3).",
            "Use another device of yours, or have the Watch Commander approve this one again.",
            kind=Kind.FORBIDDEN, field="proof",
        )  # fmt: skip
    if locked(passkey.locks, at, site=site, world=world):
        return locked_out()
    if passkey.guest is not None and (refusal := passkey.guest.objection(incident_id, at)):
        return refusal
    if not vouched(passkey, site=site, world=world):
        return Refusal(
            "passkey_not_vouched",
            f"Nobody who may has signed that {passkey.name} is approved (389.3).",
            "Have the Watch Commander or a Supervisor approve it again, with their own passkey.",
            kind=Kind.FORBIDDEN, field="proof",
        )  # fmt: skip
    if not _answers(answer, passkey, site, challenge):
        return Refusal(
            NOT_PROVEN,
            f"Your passkey's answer does not fit {what}.",
            "Read the page again, then press the button again.",
            kind=Kind.FORBIDDEN,
            field="proof",
        )
    return None


def locked_out() -> Refusal:
    """What a locked person is told."""
    return Refusal(
        "locked_out",
        f"{FAILURES} answers of yours did not fit, so nothing is taken from you any more. What "
        "waits for you goes on to who is called next.",
        "Telephone the Watch Commander: a Supervisor or they can unlock you.",
        kind=Kind.FORBIDDEN, field="proof",
    )  # fmt: skip


def _answers(answer: Json, passkey: Passkey, site: Site, challenge: bytes) -> bool:
    """Whether an answer is this passkey's, to this challenge, at this site or in an app of the
    department's, by its owner."""
    try:
        verify_authentication_response(
            credential=answer, expected_challenge=challenge, expected_rp_id=site.host,
            expected_origin=[site.origin, *site.apps], credential_public_key=passkey.public_key,
            credential_current_sign_count=0, require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError):
        return False
    return True


def counter_of(answer: Json) -> int:
    """How often the authenticator says that a passkey was used (authenticator data, bytes 33–36).

    0 where it counts nothing.
    """
    data = base64url_to_bytes(answer["response"]["authenticatorData"])
    return int.from_bytes(data[33:37], "big")


def may_be_copied(answer: Json) -> bool:
    """Whether an answer says that its passkey can be copied between devices (WebAuthn §6.1.3, flag
    BE). The passkey signed that, and says the same for as long as it lives.
    """
    return bool(base64url_to_bytes(answer["response"]["authenticatorData"])[32] & _BACKUP_ELIGIBLE)


def challenge_in(answer: Json) -> bytes:
    """What an answer says that it was asked. Raises Refusal where it says nothing that can be read.

    Proves nothing by itself.
    """
    try:
        client = json.loads(base64url_to_bytes(answer["response"]["clientDataJSON"]))
        return base64url_to_bytes(client["challenge"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refusal("passkey_not_proven", "That is no passkey's answer.", "Try again.",
                      kind=Kind.FORBIDDEN, field="passkey") from None  # fmt: skip


def id_of(answer: Json | None) -> str | None:
    """The passkey that an answer names."""
    found = (answer or {}).get("id")
    return found if isinstance(found, str) else None


def _descriptors(ids: list[str]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(each)) for each in ids]


def _json(options: Any) -> Json:
    found: Json = json.loads(options_to_json(options))
    return found
