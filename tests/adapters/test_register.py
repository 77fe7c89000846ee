"""The register: every kind of channel, each world by itself, made of its account."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

import adapters
from broadcaster import channel
from broadcaster.accounts import Account, channel_of
from broadcaster.channel import Channel
from broadcaster.errors import Refusal
from tests.story import EXERCISE, PAGE

SECRET = "a-secret-of-thirty-two-characters"
HTTPS = {"url": "https://platform.example/"}

ACCOUNTS: dict[str, Account] = {
    fields["kind"]: TypeAdapter(Account).validate_python({"title": "Title", **fields})
    for fields in (
        {"kind": "webhook", "name": "county", "secret": SECRET, **HTTPS},
        {"kind": "matrix", "name": "matrix", "token": SECRET, "room": "!a:example.org", **HTTPS},
        {"kind": "mastodon", "name": "mastodon", "token": SECRET, **HTTPS},
        {"kind": "bluesky", "name": "bluesky", "user": "pd.example", "password": SECRET, **HTTPS},
        {"kind": "wordpress", "name": "wordpress", "user": "pio", "password": SECRET, **HTTPS},
        {"kind": "x", "name": "x", "user_id": "1", "token": "t", "token_secret": SECRET,
         "api_key": "k", "api_key_secret": SECRET},
        {"kind": "ntfy", "name": "ntfy", "topic": "police", "token": SECRET, **HTTPS},
        {"kind": "mail", "name": "mail", "host": "mail.example", "user": "pio", "password": SECRET,
         "sender": "pio@example.gov", "recipients": ["a@example.org"],
         "unsubscribe": "mailto:pio@example.gov"},
    )
}  # fmt: skip
CHANNELS = [PAGE, *(channel_of(account, EXERCISE) for account in ACCOUNTS.values())]

PARTS = adapters.Parts(
    page=None,  # type: ignore[arg-type]  # nothing is published here
    delivered=None,  # type: ignore[arg-type]  # nor mailed
    accounts={account.name: account for account in ACCOUNTS.values()},
    keys={"county": SECRET.encode()},
)


def test_every_kind_of_channel_is_registered() -> None:
    assert adapters.REGISTER.keys() == channel.kinds().keys() == {each.kind for each in CHANNELS}


@pytest.mark.parametrize("each", CHANNELS, ids=lambda each: each.kind)
def test_an_adapter_is_its_channels_and_keeps_its_secrets(each: Channel[Any]) -> None:
    made = adapters.build(each, EXERCISE, PARTS)
    assert made.channel == each
    assert SECRET not in repr(made) and SECRET not in repr(PARTS)


def test_a_live_adapter_cannot_be_built_in_the_exercise_world() -> None:
    live: Any = channel.public_page("live")
    with pytest.raises(Refusal) as refused:
        adapters.build(live, EXERCISE, PARTS)
    assert refused.value.code == "wrong_world"
