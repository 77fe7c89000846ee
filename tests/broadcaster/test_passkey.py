"""Passkeys: what is asked, what proves, and what does not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from broadcaster import passkey
from broadcaster.errors import Refusal
from broadcaster.passkey import Passkey, Site
from tests.authenticator import MAY_BE_SYNCED, PRESENT, VERIFIED, Authenticator
from tests.story import NOW

SITE = Site.at("https://alerts.example/a/1")
CHALLENGE = b"\x01" * 32


def device(**ways: Any) -> Authenticator:
    return Authenticator(SITE.origin, SITE.host, **ways)


def enrolled(at: Authenticator, **different: Any) -> Passkey:
    asked = passkey.options_to_register(SITE, name="Sgt Ortiz", challenge=CHALLENGE, known=[])
    made = passkey.register(at.make(asked), site=SITE, challenge=CHALLENGE)
    return Passkey(**{
        "id": made.id, "person_id": "ortiz", "name": "phone", "public_key": made.public_key,
        "counter": made.counter, "synced": made.synced, "approved": True, "revoked": False,
        "linked": True,
    } | different)  # fmt: skip


def asked(challenge: bytes = CHALLENGE, *allowed: str) -> passkey.Json:
    return passkey.options_to_prove(SITE, challenge=challenge, allowed=list(allowed))


def said(answer: passkey.Json | None, key: Passkey | None, **different: Any) -> str | None:
    refusal = passkey.objection(answer, key, **{
        "person_id": "ortiz", "site": SITE, "challenge": CHALLENGE, "world": "exercise", "at": NOW,
    } | different)  # fmt: skip
    return refusal.code if refusal else None


def test_a_site_is_its_origin_whatever_the_path() -> None:
    assert Site.at("http://localhost:8080/p/{}").origin == "http://localhost:8080"
    assert Site.at("http://localhost:8080/p/{}").host == "localhost"


def test_what_a_phone_made_and_answers_proves_its_person() -> None:
    phone = device()
    key = enrolled(phone)
    assert not key.synced
    assert said(phone.prove(asked(CHALLENGE, key.id)), key) is None
    assert asked()["userVerification"] == "required"


def test_one_that_its_maker_copies_is_known_as_such() -> None:
    assert enrolled(device(flags=PRESENT | VERIFIED | MAY_BE_SYNCED)).synced


@pytest.mark.parametrize(
    "faulty",
    [
        device(flags=PRESENT),
        device(flags=0),
        Authenticator("https://alerts.example.evil.test", SITE.host),
        Authenticator("http://alerts.example", SITE.host),
        Authenticator(SITE.origin, "elsewhere.example"),
    ],
    ids=["not verified", "nobody there", "another origin", "no TLS", "another host"],
)
def test_what_proves_nothing_is_neither_kept_nor_believed(faulty: Authenticator) -> None:
    with pytest.raises(Refusal) as refused:
        enrolled(faulty)
    assert refused.value.code == "passkey_not_made"
    sound = device()
    key = enrolled(sound)
    faulty.passkeys = sound.passkeys
    assert said(faulty.prove(asked()), key) == "passkey_not_proven"


def test_an_altered_answer() -> None:
    phone = device()
    key = enrolled(phone)
    answer = phone.prove(asked())
    for part in answer["response"]:
        spoilt = answer | {"response": answer["response"] | {part: answer["response"][part][::-1]}}
        assert said(spoilt, key) == "passkey_not_proven"


def test_another_persons_an_unknown_a_revoked_and_one_not_approved() -> None:
    phone = device()
    key = enrolled(phone)
    answer = phone.prove(asked())
    assert said(answer, key, person_id="reyes") == "passkey_unknown"
    assert said(answer, None) == "passkey_unknown"
    assert said(None, key) == "passkey_missing"
    assert said(answer, key.model_copy(update={"approved": False})) == "passkey_not_approved"
    assert said(answer, key.model_copy(update={"revoked": True})) == "passkey_revoked"


def test_how_often_it_was_used() -> None:
    phone = device(counter=7)
    enrolled(phone)
    assert passkey.counter_of(phone.prove(asked())) == 7


def _decides(*parts: str | None, until: datetime = NOW, epoch: int = 1) -> bytes:
    return passkey.decision_challenge(*parts, until=until, epoch=epoch)  # type: ignore[arg-type]


def test_a_decision_signs_until_when_and_under_which_command_too() -> None:
    parts, later = ("nonce", "request", "approved", "digest"), NOW + timedelta(microseconds=1)
    assert len({_decides(*parts), _decides(*parts, until=later), _decides(*parts, epoch=2)}) == 3


@pytest.mark.parametrize("at", [NOW, NOW + timedelta(microseconds=120)])
def test_a_time_is_signed_as_the_api_tells_it(at: datetime) -> None:
    """A program signs the characters that it was given."""
    assert f'"{passkey.in_utc(at)}"' == TypeAdapter(datetime).dump_json(at).decode()


@given(st.lists(st.text("abc01-", min_size=0, max_size=5), min_size=4, max_size=4),
       st.lists(st.text("abc01-", min_size=0, max_size=5), min_size=4, max_size=4))  # fmt: skip
def test_no_two_decisions_ask_the_same(one: list[str], other: list[str]) -> None:
    same = _decides(*one) == _decides(*other)
    assert same == (one == other)


@pytest.mark.parametrize("answer", [
    {}, {"response": None}, {"response": {}}, {"response": {"clientDataJSON": "!"}},
    {"response": {"clientDataJSON": "W10"}}, {"response": {"clientDataJSON": "bnVsbA"}},
])  # fmt: skip
def test_what_is_no_answer(answer: passkey.Json) -> None:
    with pytest.raises(Refusal) as refused:
        passkey.challenge_in(answer)
    assert refused.value.code == "passkey_not_proven"


def test_what_is_kept_is_signed_too() -> None:
    """An approval proves no keeping of the words, and a keeping of other facts none of these."""
    parts = ("nonce", "request", "approved", "digest")
    asks = {_decides(*parts, keeps) for keeps in (None, "a" * 64, "b" * 64)}
    assert len(asks) == 3


PARTS = st.text(max_size=8)


@given(nonce=PARTS, first=PARTS, second=PARTS, third=PARTS, epoch=st.integers(0, 9))
def test_an_answer_for_a_decision_is_none_for_command(
    nonce: str, first: str, second: str, third: str, epoch: int
) -> None:
    """Whatever stands in their parts, even the other's."""
    decision = _decides(nonce, first, second, third)
    assert decision != passkey.acceptance_challenge(nonce, first, second, epoch)
    same = _decides(nonce, first, second, str(epoch))
    assert same != passkey.acceptance_challenge(nonce, first, second, epoch)


@pytest.mark.parametrize(
    "different", [("x", "i", "o", 1), ("n", "x", "o", 1), ("n", "i", "x", 1), ("n", "i", "o", 2)]
)
def test_an_acceptance_is_bound_to_nonce_incident_offer_and_epoch(
    different: tuple[str, str, str, int],
) -> None:
    bound = passkey.acceptance_challenge("n", "i", "o", 1)
    assert bound != passkey.acceptance_challenge(*different)
    assert bound == passkey.acceptance_challenge("n", "i", "o", 1)
