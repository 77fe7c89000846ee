"""Signatures, made by the standardwebhooks library and verified by us."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from standardwebhooks.webhooks import Webhook

from broadcaster.errors import Kind, Refusal
from broadcaster.intake import signature

NOW = datetime(2026, 11, 22, 22, 2, 30, tzinfo=UTC)
OLD = "whsec_" + base64.b64encode(bytes(range(24))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(100, 132))).decode()
KEYS = [signature.key(OLD), signature.key(NEW)]
BODY = '{"place": "Cañon Dr"}'


def signed(
    secret: str = OLD, *, at: datetime = NOW, message_id: str = "msg_1", body: str = BODY
) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }


def refusal(headers: dict[str, str], body: bytes = BODY.encode()) -> Refusal:
    with pytest.raises(Refusal) as caught:
        signature.verify(body, headers, KEYS, now=NOW)
    assert caught.value.kind is Kind.UNKNOWN
    return caught.value


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_either_secret_will_do_while_rotating(secret: str) -> None:
    assert signature.verify(BODY.encode(), signed(secret), KEYS, now=NOW) == "msg_1"


def test_the_library_agrees() -> None:
    now = datetime.fromtimestamp(int(time.time()), UTC)
    headers = signed(at=now)
    Webhook(OLD).verify(BODY, headers)
    assert signature.verify(BODY.encode(), headers, KEYS, now=now)


def test_headers_in_any_case_and_several_signatures() -> None:
    headers = signed(NEW)
    other = Webhook("whsec_" + base64.b64encode(b"x" * 24).decode()).sign("msg_1", NOW, BODY)
    headers["webhook-signature"] = f"v1a,zz {other} {headers['webhook-signature']}"
    titled = CIMultiDict({name.title(): value for name, value in headers.items()})
    assert signature.verify(BODY.encode(), titled, KEYS, now=NOW) == "msg_1"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_missing(name: str, value: str | None) -> None:
    headers = signed()
    del headers[name]
    assert refusal(headers | ({} if value is None else {name: value})).code == "signature_missing"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,é\udc80"},
        {"webhook-id": "msg_\udc80"},
        {"webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")},
        {"webhook-signature": signed()["webhook-signature"][:-2]},
    ],
)
def test_wrong(change: dict[str, str]) -> None:
    assert refusal(signed() | change).code == "signature_wrong"


def test_another_body_or_no_key() -> None:
    assert refusal(signed(), BODY.encode() + b" ").code == "signature_wrong"
    with pytest.raises(Refusal, match="No signature"):
        signature.verify(BODY.encode(), signed(), [], now=NOW)


@pytest.mark.parametrize("late", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_old_or_early(late: timedelta) -> None:
    assert refusal(signed(at=NOW + late)).code == "signature_old"
    assert signature.verify(BODY.encode(), signed(at=NOW + late), KEYS, now=NOW + late)


def test_five_minutes_are_allowed() -> None:
    for late in (timedelta(minutes=5), timedelta(minutes=-5)):
        assert signature.verify(BODY.encode(), signed(at=NOW + late), KEYS, now=NOW)


@pytest.mark.parametrize("stamp", ["1e9", "-1", "１", "1" * 5000])
def test_a_signed_timestamp_that_is_no_number(stamp: str) -> None:
    digest = hmac.digest(KEYS[0], f"m.{stamp}.".encode() + b"{}", hashlib.sha256)
    made = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": made}
    assert refusal(headers, b"{}").code == "signature_wrong"


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!", "whsec_" + "QUJD" * 7 + "é", "c2hvcnQ="]
)
def test_a_secret_that_cannot_be_used_is_told_without_it(secret: str) -> None:
    with pytest.raises(Refusal) as caught:
        signature.key(secret)
    assert caught.value.code == "secret_unusable"
    assert len(secret) < 7 or secret not in str(caught.value)


def test_a_secret_without_padding_or_prefix() -> None:
    assert signature.key(NEW.removeprefix("whsec_").rstrip("=")) == signature.key(NEW)


@given(st.dictionaries(st.sampled_from(list(signed())), st.text()), st.binary())
def test_nothing_forged_passes(change: dict[str, str], body: bytes) -> None:
    assert refusal(signed() | change, b"." + body).code.startswith("signature_")
