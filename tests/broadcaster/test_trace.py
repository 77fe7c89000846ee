"""A trace begins with a report, or is the sender's own where that is well formed."""

from __future__ import annotations

import uuid

import pytest

from broadcaster.trace import adopted, begun, traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_ours_is_well_formed_and_new_each_time() -> None:
    one, other = begun(), begun()
    message_id = str(uuid.uuid4())
    assert adopted(traceparent(one, message_id)) == one != other
    assert traceparent(one, message_id) == traceparent(one, message_id)
    assert traceparent(one, message_id) != traceparent(one, str(uuid.uuid4()))


@pytest.mark.parametrize("sent", [
    f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00",
    f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what the future brings",
])  # fmt: skip
def test_a_senders_is_adopted(sent: str) -> None:
    assert adopted(sent) == TRACE


@pytest.mark.parametrize("sent", [
    None, "", TRACE, f"00-{TRACE}-{SPAN}", f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}-01\n", f" 00-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01", f"00-{TRACE[:-1]}é-{SPAN}-01",
])  # fmt: skip
def test_one_that_is_ill_formed_is_not(sent: str | None) -> None:
    assert adopted(sent) is None
