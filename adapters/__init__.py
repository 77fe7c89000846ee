"""Channels to the public: one file each, in a hand-written register."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.http import Networks
from adapters.public_page import Page, PublicPage
from adapters.webhook import Webhook
from broadcaster.channel import Channel
from broadcaster.clock import Clock, SystemClock
from broadcaster.delivery import Adapter
from broadcaster.errors import Kind, Refusal
from broadcaster.world import W


@dataclass(frozen=True)
class Receiver:
    """Where a webhook goes, and the bytes of the secret that signs it."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Parts:
    """What `bootstrap` hands to the adapters it builds."""

    page: Page
    receivers: Mapping[str, Receiver] = field(default_factory=dict)  #: by channel name
    networks: Networks = ()  #: that webhooks may be sent to
    clock: Clock = field(default_factory=SystemClock)


def _public_page(channel: Channel[W], parts: Parts) -> Adapter[W]:
    return PublicPage(channel, page=parts.page)


def _webhook(channel: Channel[W], parts: Parts) -> Adapter[W]:
    receiver = parts.receivers[channel.name]
    return Webhook(
        channel, url=receiver.url, key=receiver.key, networks=parts.networks, clock=parts.clock
    )


#: Every kind of channel there is, and what builds its adapter.
REGISTER: dict[str, Callable[[Channel[Any], Parts], Adapter[Any]]] = {
    "public_page": _public_page,
    "webhook": _webhook,
}


def build(channel: Channel[W], world: W, parts: Parts) -> Adapter[W]:
    """The adapter of a channel. Raises Refusal where the channel is of another world.

    To the type checker too: with a world of type `Exercise` no live channel can be passed, and
    what comes out takes no live message.
    """
    if channel.world != world:
        raise Refusal(
            "wrong_world",
            f"The channel {channel.name} belongs to the {channel.world} world, and this start is "
            f"for the {world} world.",
            "Give each world channels, accounts and secrets of its own.",
            kind=Kind.FORBIDDEN,
        )
    return REGISTER[channel.kind](channel, parts)
