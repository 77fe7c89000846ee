"""PIN and code as a rule: which PINs are taken, which codes fit, and what they prove."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from broadcaster.errors import Refusal
from broadcaster.fallback import (
    STEP,
    Allowance,
    Answer,
    address,
    require_sound,
    sealed,
    secret_of,
    step_in,
    step_of,
)
from broadcaster.voice import hashed
from tests.codes import KEY, PIN, code_at
from tests.story import NOW

ALLOWED = Allowance(id="a", person_id="p", salt=b"salt", reason="A broken phone",
                    until=NOW + timedelta(days=1), granted_by="chief", granted_at=NOW)  # fmt: skip
MEANT = b"these words"


@pytest.mark.parametrize("pin", [PIN, "739 154".replace(" ", ""), "120419873344"])
def test_a_pin_that_is_taken(pin: str) -> None:
    require_sound(pin)


@pytest.mark.parametrize(
    "pin",
    ["", "73915", "7391541234567", "73915a", "٧٣٩١٥٤", "111111", "121212", "123123", "112233",
     "123456", "890123", "654321", "987654"],
)  # fmt: skip
def test_a_pin_that_is_soon_guessed(pin: str) -> None:
    with pytest.raises(Refusal) as refused:
        require_sound(pin)
    assert refused.value.code == "pin_weak"


def answer(*, pin: str = PIN, code: str | None = None, later: float = 0) -> Answer:
    """What was typed `later` seconds after the code was shown."""
    at = NOW + timedelta(seconds=later)
    seal = sealed(pin, code or code_at(ALLOWED, NOW), ALLOWED.salt, MEANT)
    return Answer(seal=seal, allowance_id="a", challenge=MEANT.hex(), at=at, step=None,
                  refused=None)  # fmt: skip


def step_taken(it: Answer) -> int | None:
    return step_in(it, hashed(PIN, ALLOWED.salt), secret_of(KEY, ALLOWED.id))


@pytest.mark.parametrize("later", [0, STEP, -STEP])
def test_a_code_fits_its_step_and_those_beside_it(later: float) -> None:
    assert step_taken(answer(later=later)) == step_of(NOW)


@pytest.mark.parametrize("later", [2 * STEP, -2 * STEP])
def test_no_other(later: float) -> None:
    assert step_taken(answer(later=later)) is None


def test_spaces_are_no_part_of_what_is_typed() -> None:
    code = code_at(ALLOWED, NOW)
    assert step_taken(answer(pin="739 154", code=f"{code[:3]} {code[3:]}")) is not None


@pytest.mark.parametrize("wrong", [{"pin": "739155"}, {"code": "0000000"}])
def test_what_is_wrong_fits_nothing(wrong: dict[str, str]) -> None:
    assert step_taken(answer(**wrong)) is None


def test_a_seal_holds_for_what_was_meant_alone() -> None:
    other = answer().model_copy(update={"challenge": b"other words".hex()})
    assert step_taken(other) is None


def test_each_allowance_has_codes_of_its_own() -> None:
    assert len({secret_of(KEY, "a"), secret_of(KEY, "b"), secret_of(f"{KEY}!", "a")}) == 3


def test_an_app_reads_its_address() -> None:
    """Key Uri Format: 160 bits, as RFC 4226 §4 recommends."""
    read = pyotp.parse_uri(address(secret_of(KEY, "a"), "Sgt M. Ortiz", "Desert Hot Springs PD"))
    assert isinstance(read, pyotp.TOTP)
    assert (read.name, read.issuer, read.interval) == ("Sgt M. Ortiz", "Desert Hot Springs PD", 30)
    assert len(read.byte_secret()) == 20
    assert "secret" in parse_qs(urlsplit(address("A" * 32, "n", "d")).query)
