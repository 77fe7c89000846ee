"""The register: every kind of channel, each world by itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest

import adapters
from broadcaster import channel
from broadcaster.channel import Channel
from broadcaster.errors import Refusal
from tests.story import CHANNELS, EXERCISE, HOOK

PARTS = adapters.Parts(
    page=None,  # type: ignore[arg-type]  # nothing is published here
    receivers={HOOK.name: adapters.Receiver("https://county.example/secret-path", b"secret-key")},
)


def test_every_kind_of_channel_is_registered() -> None:
    assert set(adapters.REGISTER) == set(get_args(Channel.model_fields["kind"].annotation))


@pytest.mark.parametrize("each", CHANNELS, ids=lambda each: each.name)
def test_an_adapter_is_its_channels(each: Channel[Any]) -> None:
    assert adapters.build(each, EXERCISE, PARTS).channel == each


def test_a_live_adapter_cannot_be_built_in_the_exercise_world() -> None:
    live: Any = channel.public_page("live")
    with pytest.raises(Refusal) as refused:
        adapters.build(live, EXERCISE, PARTS)
    assert refused.value.code == "wrong_world"


def test_what_is_handed_over_does_not_show_itself() -> None:
    assert "secret" not in repr(PARTS)
