"""PIN and code: what proves a person whom the roster lets decide without a passkey (389.3).

For a Commander whose phone cannot do passkeys, or who has lost theirs tonight: by the Chief's word,
for a reason and a time. They know a PIN, and their authenticator app shows them a code, another one
every 30 s (RFC 6238). The desk keeps neither. It seals what is meant with what was typed, and
whether the seal fits, the gate alone can tell (streams/prove.py): the desk may read neither the
hash of the PIN nor the key that the codes are made from. So what was typed for one request, verdict
or wording proves nothing about any other.

Weaker than a passkey all the same: what is typed can be watched, and be typed into the wrong page.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from datetime import datetime

import pyotp

from broadcaster import passkey
from broadcaster.errors import Kind, Refusal
from broadcaster.passkey import Lock, Site
from broadcaster.roster import Word
from broadcaster.voice import hashed
from broadcaster.world import Frozen, World

SEAL_TAG = b"iab/code/v1\0"
SECRET_TAG = b"iab/totp/v1\0"

#: Digits that a PIN may have, and how many of them must differ.
PIN_DIGITS = range(6, 13)
DIFFERENT = 4
#: Seconds that a code stands; the one before and the one after are taken, too (RFC 6238 §5.2).
STEP = 30
#: Wrong answers, however often their owner was unlocked, after which an allowance is over: so many
#: are no help in guessing, even to a desk that was broken into and knows the PIN.
MOST_WRONG = 20

_ROW = "01234567890123456789"


class Allowance(Word):
    """The Chief's word that a person may decide with PIN and code."""

    salt: bytes  #: of the PIN's hash


class Answer(Frozen):
    """What was typed, as kept: never PIN nor code."""

    seal: str
    allowance_id: str
    challenge: str  #: what was meant, in hex
    at: datetime
    step: int | None  #: whose code it was, once the gate has taken it
    refused: str | None  #: why the gate has not


@dataclass(frozen=True)
class Entered:
    """All that an answer is judged by."""

    answer: Answer
    allowance: Allowance  #: as it stands now
    locks: tuple[Lock, ...]  #: when its owner was locked


def require_sound(pin: str) -> None:
    """Raises Refusal where a PIN is too short, no number, or among the first that are guessed."""
    sound = pin.isascii() and pin.isdigit() and len(pin) in PIN_DIGITS
    if not sound or len(set(pin)) < DIFFERENT or pin in _ROW or pin in _ROW[::-1]:
        raise Refusal(
            "pin_weak",
            f"A PIN has {PIN_DIGITS[0]} to {PIN_DIGITS[-1]} digits, of which {DIFFERENT} differ, "
            "and not in a row.",
            "Choose another one, and no date of your life.", field="pin",
        )  # fmt: skip


def secret_of(key: str, allowance_id: str) -> str:
    """What an authenticator app is given (base32). Kept nowhere: made again whenever it is needed
    (RFC 4226 §7.5)."""
    made = hmac.digest(key.encode(), SECRET_TAG + allowance_id.encode(), "sha256")
    return base64.b32encode(made[:20]).decode()


def address(secret: str, name: str, department: str) -> str:
    """What an authenticator app reads, as text (`otpauth://`, Key Uri Format)."""
    return pyotp.TOTP(secret, interval=STEP).provisioning_uri(name=name, issuer_name=department)


def sealed(pin: str, code: str, salt: bytes, challenge: bytes) -> str:
    """What is kept of what was typed, spaces aside."""
    return _seal(hashed("".join(pin.split()), salt), "".join(code.split()), challenge)


def step_of(at: datetime) -> int:
    """The time step whose code an app shows at a time."""
    return int(at.timestamp()) // STEP


def step_in(answer: Answer, pin_hash: str, secret: str) -> int | None:
    """The time step whose code was typed, with the right PIN; None: one of them was wrong."""
    app, now = pyotp.TOTP(secret, interval=STEP), step_of(answer.at)
    meant = bytes.fromhex(answer.challenge)
    for step in (now, now - 1, now + 1):
        sealed_then = _seal(pin_hash, app.generate_otp(step), meant)
        if hmac.compare_digest(answer.seal, sealed_then):
            return step
    return None


def objection(
    entered: Entered, *, person_id: str, challenge: bytes, at: datetime, site: Site, world: World
) -> Refusal | None:
    """Why PIN and code do not prove that this person meant this challenge at a time, or None."""
    answer, allowance = entered.answer, entered.allowance
    if allowance.person_id != person_id or not allowance.holds(at):
        return not_allowed()
    if passkey.locked(entered.locks, at, site=site, world=world):
        return passkey.locked_out()
    if answer.step is None:
        return _refusal(answer.refused)
    if abs(answer.step - step_of(at)) > 1:
        return _refusal("code_over")
    if answer.challenge != challenge.hex():
        return Refusal(
            "code_for_other", "PIN and code were typed for something else.",
            "Read the page again, then type the code that is shown now.", kind=Kind.FORBIDDEN,
            field="code",
        )  # fmt: skip
    return None


def not_allowed() -> Refusal:
    """What is told to whom the roster does not allow it."""
    return Refusal(
        "fallback_not_allowed", "The roster does not let you use PIN and code, or no longer.",
        "Use your passkey, or ask the Chief or designee (`broadcaster roster fallback`).",
        kind=Kind.FORBIDDEN, field="code",
    )  # fmt: skip


#: Why the gate did not take what was typed, and what to do.
_REFUSED = {
    "code_wrong": (
        "PIN or code is wrong.",
        f"Type both again. After {passkey.FAILURES} wrong ones nothing is taken from you any more.",
    ),
    "code_used": ("This code was used before.", "Wait for the next one: at most 30 seconds."),
    "code_over": ("This code's time is over.", "Type the one that is shown now."),
    "fallback_off": (
        "Where the gate runs nobody may use PIN and code.",
        "Use your passkey; BROADCASTER_FALLBACK_KEY turns it on.",
    ),
}


def _refusal(code: str | None) -> Refusal:
    if code in _REFUSED:
        why, do = _REFUSED[code]
        return Refusal(code, why, do, kind=Kind.FORBIDDEN, field="code")
    if code is not None:
        return passkey.locked_out() if code == "locked_out" else not_allowed()
    return Refusal(
        "code_not_judged", "The gate has not answered whether PIN and code are right.",
        "Send it again; if it fails again, telephone the Watch Commander.", kind=Kind.UNAVAILABLE,
        field="code",
    )  # fmt: skip


def _seal(pin_hash: str, code: str, challenge: bytes) -> str:
    return hmac.new((pin_hash + code).encode(), SEAL_TAG + challenge, "sha256").hexdigest()
