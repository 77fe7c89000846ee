"""Approval by voice: where the Commander hears the PIO by radio and has no signal (389.4.1).

Off unless the department turns it on. The PIO reads the whole text aloud; both pages show three
words made from its digest; the Commander says them, and a one-time code that was handed out
beforehand. A second listener, who neither wrote nor read the words, attests with their own passkey
what was heard, on which radio channel and when (facts/security-reliability-ux.md §1, point 13). The
Commander ratifies or repudiates it by passkey as soon as they can.

The code alone releases nothing, nor does the listener alone: it takes both.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from broadcaster import passkey
from broadcaster.errors import Kind, Refusal
from broadcaster.passkey import Json, Lock, Passkey, Site
from broadcaster.roster import Act, Person
from broadcaster.world import Frozen, World

ATTEST_TAG = b"iab/voice/v2\0"
RATIFY_TAG = b"iab/ratify/v1\0"
CODES_TAG = b"iab/codes/v1\0"
WORDS_TAG = b"iab/words/v1\0"

#: Codes that are handed out at a time, and the digits of each: digits are heard best by radio.
CODES = 6
DIGITS = 8
#: Wrong codes after which all of that person's are void; the incident goes on (AC-7).
MOST_WRONG = 5
#: Longest name of a radio channel.
LONGEST_CHANNEL = 40
#: A time is named to the minute.
_MINUTE = timedelta(minutes=1)

#: 256 short words that are hard to mistake for one another, so that three stand for 24 bits. They
#: guard against a text misheard or out of date; what binds the release is the whole digest.
WORDS = tuple(
    """
    acid album alley amber anchor angle ankle apple april apron arrow atlas attic autumn
    avocado axle bacon badge bagel baker bamboo banjo basket beacon beetle bicycle bishop
    blanket blossom bonfire border bottle bracket bridge bronze brush bucket buffalo bullet
    butter button cabin cactus camel camera candle canyon carbon cargo carpet castle cedar
    cement chapel cherry chimney cinema circus clover cobalt coffee comet compass copper coral
    cotton cougar cradle crayon cricket crystal cushion dagger daisy dancer denim desert
    diamond dinner dolphin donkey dragon drummer eagle easel echo elbow elephant ember emerald
    engine envelope estate fabric falcon farmer feather fender ferry fiddle filter flamingo
    flannel forest fossil fountain fragile freckle funnel gadget galaxy gallon garden garlic
    gazelle ginger giraffe glacier goblet gondola gorilla granite grape guitar hammer harbor
    harvest hazel helmet heron hockey honey horizon hotel hundred igloo index indigo insect
    iron island ivory jacket jaguar jasmine jelly jersey jigsaw jungle juniper kayak kernel
    kettle kidney kitchen koala ladder lagoon lantern laptop laundry lemon lettuce lizard
    lobster locket lumber magnet mango maple marble market meadow melon mermaid meteor mirror
    mitten monkey motor muffin museum mustard napkin nectar needle nickel noodle nutmeg oasis
    ocean octopus olive onion orbit orchid ostrich otter oven oxygen paddle palace panda
    parrot pebble pelican pepper piano pigeon pilot pizza planet pocket polar pony potato
    puzzle quartz rabbit radar raisin ribbon rocket saddle salmon satin scarf sherpa silver
    spider sugar sunset tango teapot tiger timber tomato tulip tunnel turtle umbrella velvet
    violin volcano waffle walnut whisper window willow winter yellow yogurt zebra zipper
    zodiac wagon
    """.split()
)


class Settled(StrEnum):
    """What the Commander said afterwards, by passkey, of what was done in their name."""

    RATIFIED = "ratified"
    REPUDIATED = "repudiated"


class Code(Frozen):
    """One code of a Commander, as kept: never the code itself."""

    id: str
    person_id: str
    salt: bytes  #: the set's own, so that a spoken code is hashed once
    hash: str
    used_by: str | None  #: the decision that it was said for
    void: bool  #: newer ones were handed out, or wrong ones were said too often


class Heard(Frozen):
    """What a second listener says that they heard."""

    attester_id: str
    reader_id: str  #: who read the whole text aloud
    code: str  #: as the Commander said it; of no use any more
    code_id: str
    radio: str  #: the radio channel
    at: datetime  #: when the Commander said it


@dataclass(frozen=True)
class Voice:
    """All that an approval by voice is judged by."""

    allowed: bool  #: the setting of whoever judges
    heard: Heard
    code: Code | None  #: the one that is named, as it stands now
    reader: Person | None  #: who is said to have read it aloud; None: nobody whom the roster knows
    locks: tuple[Lock, ...]  #: when the Commander was locked
    decision_id: str | None  #: the decision that it should be used by; None: none is made yet
    repudiated: bool = False  #: by the Commander, since


def words_of(digest: str) -> tuple[str, str, str]:
    """The three words that two people compare aloud."""
    first, second, third, *_ = hashlib.sha256(WORDS_TAG + digest.encode()).digest()
    return WORDS[first], WORDS[second], WORDS[third]


def new_codes() -> list[str]:
    return [f"{secrets.randbelow(10**DIGITS):0{DIGITS}}" for _ in range(CODES)]


def spoken(code: str) -> str:
    """A code as it was heard, without the pauses in it."""
    return "".join(each for each in code if each.isdigit())[: DIGITS + 1]


def hashed(code: str, salt: bytes) -> str:
    """The slow hash (scrypt, RFC 7914) that is all that is kept of a code."""
    return hashlib.scrypt(code.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()


def attestation(meant: bytes, code: Code, heard: Heard) -> bytes:
    """What the second listener's passkey signs: this code, as heard, for what the Commander's own
    passkey would have signed (`meant`: `passkey.decision_challenge`)."""
    parts = (meant.hex(), code.id, code.hash, heard.attester_id, heard.reader_id, heard.radio,
             heard.at.isoformat())  # fmt: skip
    return _signed(ATTEST_TAG, *parts)


def settlement(nonce: str, decision_id: str, digest: str, settled: Settled) -> bytes:
    """What the Commander's passkey signs to ratify or repudiate."""
    return _signed(RATIFY_TAG, nonce, decision_id, digest, settled)


def handing_out(person_id: str, newest: str | None) -> bytes:
    """What a Commander's passkey signs to be given new codes: `newest` is one of their last set,
    so that no answer counts twice."""
    return _signed(CODES_TAG, person_id, newest or "none")


def objection(
    voice: Voice, proof: Json | None, key: Passkey | None, *, person_id: str,
    commanded: bool, both: bool, compilers: frozenset[str], meant: bytes, asked_at: datetime,
    decided_at: datetime, site: Site, world: World,
) -> Refusal | None:  # fmt: skip
    """Why this was not approved by voice by that person, or None.

    `commanded`: whether a command was recorded. `both`: whether two must approve. `compilers`:
    whose words they are. `meant`: as in `attestation`. `proof` and `key` are the listener's.
    """
    heard, code = voice.heard, voice.code
    if not voice.allowed:
        return Refusal(
            "voice_off", "This department does not approve by voice.",
            "The Commander decides by passkey; BROADCASTER_VOICE_APPROVAL turns it on.",
            kind=Kind.FORBIDDEN,
        )  # fmt: skip
    if not commanded:
        return Refusal(
            "voice_without_command", "No command is recorded, so nobody can approve by voice.",
            "Record who commands, then have them say a code.", kind=Kind.CONFLICT,
        )  # fmt: skip
    if both:
        return Refusal(
            "voice_of_both", "Both Commanders must approve, so neither can by voice.",
            "Have both approve by passkey; or record that either may, and have one say a code.",
            kind=Kind.CONFLICT,
        )  # fmt: skip
    if heard.attester_id in compilers | {person_id, heard.reader_id}:
        return Refusal(
            "listener_not_second",
            "Who wrote the words, reads them or approves them cannot be the second listener.",
            "Have somebody else listen, and attest with their own passkey.", kind=Kind.FORBIDDEN,
        )  # fmt: skip
    if voice.reader is None or not voice.reader.may(Act.COMPILE):
        return Refusal(
            "reader_unknown", "The words are read by somebody who may compile them (389.4.1).",
            "Choose the PIO or designee who read them.", kind=Kind.FORBIDDEN, field="reader",
        )  # fmt: skip
    if not heard.radio.strip():
        return Refusal("radio_missing", "No radio channel is named.",
                       "Name the channel that it was heard on.", field="radio")  # fmt: skip
    if heard.at <= asked_at - _MINUTE or heard.at > decided_at:
        return Refusal(
            "heard_at_wrong", "It was heard before these words were put to the Commander, or later "
            "than now.", "Write the time at which the Commander said it.", field="heard_at",
        )  # fmt: skip
    if passkey.locked(voice.locks, decided_at, site=site, world=world):
        return Refusal(
            "commander_locked", "The Commander is locked, so no code of theirs is taken either.",
            "Have a Supervisor or the Watch Commander unlock them first.", kind=Kind.FORBIDDEN,
        )  # fmt: skip
    if code is None or not matches(code, person_id, heard.code):
        return wrong_code()
    if code.void or code.used_by != voice.decision_id:
        return Refusal(
            "code_void", "That code was used before, or is void.",
            "Ask the Commander for the next one on their list.", kind=Kind.CONFLICT, field="code",
        )  # fmt: skip
    if voice.repudiated:
        return Refusal(
            "voice_repudiated", "The Commander says that they did not approve this.",
            "Telephone them, and submit it again.", kind=Kind.CONFLICT,
        )  # fmt: skip
    return passkey.objection(
        proof, key, person_id=heard.attester_id, site=site, world=world,
        challenge=attestation(meant, code, heard),
        at=decided_at, what="what you state that you heard",
    )  # fmt: skip


def matches(code: Code, person_id: str, said: str) -> bool:
    """Whether what was said is this code of this person."""
    if code.person_id != person_id:
        return False
    return hmac.compare_digest(code.hash, hashed(said, code.salt))


def wrong_code() -> Refusal:
    return Refusal(
        "code_wrong", "That is none of this Commander's codes.",
        f"Have it said again, digit by digit. After {MOST_WRONG} wrong ones all of theirs are "
        "void; the incident goes on, by passkey.", kind=Kind.FORBIDDEN, field="code",
    )  # fmt: skip


def _signed(tag: bytes, *parts: str) -> bytes:
    return hashlib.sha256(tag + "\0".join(parts).encode()).digest()
