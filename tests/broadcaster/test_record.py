"""The record: what is changed, taken out, put in or cut off is found, and named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.record import (
    FIRST_HASH,
    Anchor,
    Entry,
    Kind,
    PrivateValue,
    Sealed,
    Verdict,
    entry,
    salted_digest,
    seal,
    verify,
)
from tests.story import NOW


def an_entry(number: int) -> Entry:
    return entry(
        Kind.REPORT_ACCEPTED, at=NOW + timedelta(seconds=number), actor="cad",
        incident_id=None if number == 1 else "incident-1",
        public={"type": "GASLEAK", "line": number, "left_out": None},
        private={"number": f"2026-{number}", "place": "Oak St", "left_out": None},
    )  # fmt: skip


def sealed_up(entries: Sequence[Entry], first: int = 1, previous: str = FIRST_HASH) -> list[Sealed]:
    chain = []
    for number, each in enumerate(entries, start=first):
        hash_ = seal(previous, number, each.body)
        chain.append(Sealed(number, previous, hash_, each))
        previous = hash_
    return chain


CHAIN = sealed_up([an_entry(number) for number in range(1, 6)])


def anchor(number: int, chain: Sequence[Sealed] = CHAIN) -> Anchor:
    return Anchor(number, chain[number - 1].hash, NOW.isoformat())


def entry_changed(sealed: Sealed, **fields: Any) -> Sealed:
    return dataclasses.replace(sealed, entry=dataclasses.replace(sealed.entry, **fields))


def private_changed(sealed: Sealed, **fields: Any) -> Sealed:
    first, *others = sealed.entry.private
    return entry_changed(sealed, private=(dataclasses.replace(first, **fields), *others))


def test_a_whole_chain_is_whole() -> None:
    verdict = verify(CHAIN, [anchor(2), anchor(5)])
    assert verdict == Verdict(5, CHAIN[-1].hash, anchor=anchor(5)) and verdict.ok
    assert verify([]) == Verdict(0, FIRST_HASH)


def test_an_entry_holds_digests_of_what_is_private_and_nothing_of_it() -> None:
    body = json.loads(CHAIN[1].entry.body)
    assert body["public"] == {"type": "GASLEAK", "line": 2}
    assert body["private"].keys() == {"number", "place"}
    assert "Oak St" not in CHAIN[1].entry.body and "2026-2" not in CHAIN[1].entry.body
    places = {private.salt for sealed in CHAIN for private in sealed.entry.private}
    assert len(places) == 10, "each value has a salt of its own"
    assert salted_digest(b"a", "Oak St") != salted_digest(b"b", "Oak St")


def test_a_value_cannot_be_shortened_by_a_longer_salt() -> None:
    assert salted_digest(b"salt", "xvalue") != salted_digest(b"saltx", "value")


TAMPERED: list[tuple[str, Callable[[Sealed], Sealed]]] = [
    ("hash", lambda e: dataclasses.replace(e, hash="0" * 64)),
    ("previous hash", lambda e: dataclasses.replace(e, previous_hash="0" * 64)),
    ("number", lambda e: dataclasses.replace(e, number=e.number + 10)),
    ("body", lambda e: entry_changed(e, body=e.entry.body.replace("GASLEAK", "GASLEAX"))),
    ("body that is no JSON", lambda e: entry_changed(e, body=e.entry.body[:-1])),
    ("body gone", lambda e: entry_changed(e, body="{}")),
    ("kind", lambda e: entry_changed(e, kind="UpdateReleased")),
    ("at", lambda e: entry_changed(e, at=NOW.isoformat())),
    ("id", lambda e: entry_changed(e, id="0" * 32)),
    ("incident", lambda e: entry_changed(e, incident_id="incident-2")),
    ("incident gone", lambda e: entry_changed(e, incident_id=None)),
    ("private value", lambda e: private_changed(e, value="2026-99")),
    ("private salt", lambda e: private_changed(e, salt=b"0" * 16)),
    ("private field", lambda e: private_changed(e, field="name")),
    ("private value gone", lambda e: entry_changed(e, private=e.entry.private[1:])),
    ("private value added",
     lambda e: entry_changed(e, private=(*e.entry.private, PrivateValue("name", b"", "J.")))),
    ("private value twice",
     lambda e: entry_changed(e, private=(
         dataclasses.replace(e.entry.private[0], value="2026-99"), *e.entry.private))),
]  # fmt: skip


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("change", [row[1] for row in TAMPERED], ids=[row[0] for row in TAMPERED])
def test_a_changed_entry_is_named(change: Callable[[Sealed], Sealed], number: int) -> None:
    chain = list(CHAIN)
    chain[number - 1] = change(chain[number - 1])
    if chain == CHAIN:
        return  # entry 1 is of no incident
    verdict = verify(chain)
    assert not verdict.ok and verdict.fault is not None
    assert f"entry {number}" in verdict.fault
    assert verdict.entries == number


def test_an_entry_that_is_taken_out_is_named() -> None:
    for number in range(1, 5):
        verdict = verify(CHAIN[: number - 1] + CHAIN[number:])
        assert verdict.fault == f"entry {number} is missing (the next there is {number + 1})"


def test_an_entry_that_changed_its_place_is_named() -> None:
    chain = [CHAIN[0], CHAIN[2], CHAIN[1], *CHAIN[3:]]
    assert "entry 2" in str(verify(chain).fault)
    swapped = [
        dataclasses.replace(CHAIN[2], number=2), dataclasses.replace(CHAIN[1], number=3)
    ]  # fmt: skip
    assert "entry 2 " in str(verify([CHAIN[0], *swapped, *CHAIN[3:]]).fault)


def test_an_entry_that_stands_twice_is_named() -> None:
    assert "entry 3" in str(verify([*CHAIN[:2], CHAIN[1], *CHAIN[2:]]).fault)


def test_a_cut_off_end_shows_only_beside_an_anchor() -> None:
    assert verify(CHAIN[:3]).ok
    fault = str(verify(CHAIN[:3], [anchor(5), anchor(2)]).fault)
    assert "ends at entry 3" in fault and "names entry 5" in fault
    assert "ends at entry 0" in str(verify([], [anchor(1)]).fault)


def test_a_rewritten_end_shows_beside_an_anchor() -> None:
    rewritten = CHAIN[:2] + sealed_up([an_entry(9), an_entry(10)], 3, CHAIN[1].hash)
    assert verify(rewritten).ok
    verdict = verify(rewritten, [anchor(2), anchor(4)])
    assert "entry 4 differs from the anchor" in str(verdict.fault)
    assert verdict.anchor == anchor(2)


def test_a_fork_shows_whichever_of_its_anchors_came_last() -> None:
    """A ledger put back from a copy and written on has had two heads of the same number."""
    forked = CHAIN[:2] + sealed_up([an_entry(9)], 3, CHAIN[1].hash)
    for anchors in ([anchor(3), anchor(3, forked)], [anchor(3, forked), anchor(3)]):
        for chain in (CHAIN, forked):
            assert "entry 3 differs from the anchor" in str(verify(chain, anchors).fault)


@given(st.data())
def test_no_byte_of_a_body_can_change(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 5))
    body = CHAIN[number - 1].entry.body
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != body[at]))
    chain = list(CHAIN)
    chain[number - 1] = entry_changed(chain[number - 1], body=body[:at] + other + body[at + 1 :])
    assert str(verify(chain).fault).startswith(f"entry {number} ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)


@given(st.dictionaries(NAMES, JSON, max_size=4), st.dictionaries(NAMES, st.text(), max_size=3))
def test_whatever_is_said_verifies(public: dict[str, Any], private: dict[str, str]) -> None:
    said = [
        entry(Kind.STARTED, at=NOW, actor="test", public=public, private=private) for _ in range(2)
    ]
    assert verify(sealed_up(said)).ok
