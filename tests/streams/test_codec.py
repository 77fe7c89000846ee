"""Wake messages survive the way, and what is none of them is poison."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec import (
    LIMIT,
    DecisionRecorded,
    PostPlanned,
    ReportAccepted,
    RevisionSubmitted,
    Wake,
    decode,
    encode,
)
from streams.errors import Poison

IDS = st.text(min_size=1, max_size=200)


@given(IDS, IDS)
def test_what_is_encoded_is_decoded(message_id: str, other_id: str) -> None:
    messages: list[Wake] = [
        ReportAccepted(message_id=message_id, report_id=other_id),
        RevisionSubmitted(message_id=message_id, request_id=other_id),
        DecisionRecorded(message_id=message_id, decision_id=other_id),
        PostPlanned(message_id=message_id, post_id=other_id),
    ]
    for message in messages:
        assert decode(type(message), encode(message)) == message


def _raw(**change: object) -> bytes:
    return json.dumps({"version": 1, "message_id": "m", "report_id": "r"} | change).encode()


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (b"", "not_json", None),
        (b"{", "not_json", None),
        (b"\xff\xfe", "not_json", None),
        (b"[" * (LIMIT - 1), "not_json", None),
        (b" " * (LIMIT + 1), "too_large", None),
        (b"[]", "not_report_accepted", None),
        (b"null", "not_report_accepted", None),
        (_raw(version=2), "unknown_version", "version"),
        (_raw(version="1"), "unknown_version", "version"),
        (_raw(report_id=7), "not_report_accepted", "report_id"),
        (_raw(report_id=""), "not_report_accepted", "report_id"),
        (_raw(narrative="x"), "not_report_accepted", "narrative"),
    ],
)
def test_what_is_no_wake_message_is_poison(raw: bytes, code: str, field: str | None) -> None:
    with pytest.raises(Poison) as caught:
        decode(ReportAccepted, raw)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_the_cause_never_quotes_what_was_sent() -> None:
    with pytest.raises(Poison) as caught:
        decode(ReportAccepted, _raw(report_id=["Jane Doe, 12 Elm Street"]))
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_poison(raw: bytes) -> None:
    with pytest.raises(Poison):
        decode(PostPlanned, raw)
