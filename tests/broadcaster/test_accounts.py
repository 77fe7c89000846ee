"""The accounts of each kind: what they are read from, and what is said of one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from broadcaster import channel
from broadcaster.accounts import KINDS, channel_of, plain, read
from broadcaster.errors import Refusal

SECRET = "hunter2-and-more"

GOOD: dict[str, dict[str, Any]] = {
    "webhook": {"url": "http://county.example/hook", "secret": SECRET, "dedupes": "true"},
    "matrix": {"url": "https://m.example", "room": "!r:m.example", "token": SECRET},
    "mastodon": {"url": "https://social.example", "token": SECRET, "limit": 1000},
    "bluesky": {"url": "https://pds.example", "user": "pd.example", "password": SECRET},
    "wordpress": {"url": "https://city.example", "user": "poster", "password": SECRET},
    "x": {"user_id": "1", "api_key": "k", "api_key_secret": SECRET, "token": "t",
          "token_secret": SECRET},
    "mail": {"host": "mx.example", "user": "u", "password": SECRET, "sender": "pd@a.example",
             "recipients": ["a@b.example", "c@d.example"], "unsubscribe": "mailto:off@a.example"},
    "ntfy": {"url": "https://ntfy.example", "topic": "alerts", "token": SECRET},
}  # fmt: skip


def whole(kind: str, **other: Any) -> dict[str, Any]:
    return {"kind": kind, "name": "city", "title": "City", **GOOD[kind], **other}


def test_each_kind_of_channel_has_its_account() -> None:
    assert set(KINDS) == set(GOOD) == set(channel.kinds()) - {"public_page"}


@pytest.mark.parametrize("kind", GOOD)
def test_it_is_read_and_written_whole(kind: str) -> None:
    account = read(whole(kind))
    assert read(plain(account)) == account
    assert SECRET in str(plain(account)) and SECRET not in repr(account)
    made = channel_of(account, "exercise")
    assert (made.kind, made.name, made.title) == (kind, "city", "City")


@pytest.mark.parametrize("kind", GOOD)
def test_what_it_says_of_itself(kind: str) -> None:
    account = KINDS[kind]
    assert account.checklist and all(line.endswith(".") for line in account.checklist)
    for member in (*account.place, *account.options):
        assert "SecretStr" not in str(account.model_fields[member].annotation), member
    for name, field in account.model_fields.items():
        assert name == "kind" or field.description, name
    assert not any(isinstance(value, SecretStr) for value in read(whole(kind)).shape.values())


def test_the_options_make_the_channel() -> None:
    assert channel_of(read(whole("mastodon")), "exercise").limit == 1000
    assert channel_of(read(whole("webhook")), "exercise").idempotency == "A"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kind": "fax"}, "kind"),
        ({}, "kind"),
        (whole("matrix", room="#alias:m.example"), "room"),
        (whole("matrix", name="City Hall"), "name"),
        (whole("matrix", title=""), "title"),
        (whole("matrix", url="http://m.example"), "url"),
        (whole("wordpress", user="a:b"), "user"),
        (whole("mail", recipients=[]), "recipients"),
        (whole("mail", recipients=["nobody"]), "recipients"),
        (whole("mail", password=None), None),
        (whole("mail", tls="none"), None),
        (whole("ntfy", topic="a b"), "topic"),
        (whole("ntfy", extra="x"), None),
        ({key: value for key, value in whole("x").items() if key != "token_secret"},
         "token_secret"),
    ],
)  # fmt: skip
def test_what_is_refused_and_by_which_name(given: dict[str, Any], field: str | None) -> None:
    with pytest.raises(Refusal) as refusal:
        read(given)
    assert (refusal.value.code, refusal.value.field) == ("account_invalid", field)
    assert SECRET not in refusal.value.in_words
