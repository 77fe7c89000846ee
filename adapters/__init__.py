"""Channels to the public: one file each, in a hand-written register."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from adapters.bluesky import Bluesky
from adapters.http import Networks
from adapters.mail import Delivered, Mail
from adapters.mastodon import Mastodon
from adapters.matrix import Matrix
from adapters.ntfy import Ntfy
from adapters.public_page import Page, PublicPage
from adapters.webhook import Webhook
from adapters.wordpress import WordPress
from adapters.x import X
from broadcaster.accounts import (
    Account,
    BlueskyAccount,
    MailAccount,
    MastodonAccount,
    MatrixAccount,
    NtfyAccount,
    WebhookAccount,
    WordPressAccount,
    XAccount,
)
from broadcaster.channel import Channel
from broadcaster.clock import Clock, SystemClock
from broadcaster.delivery import Adapter
from broadcaster.errors import Kind, Refusal
from broadcaster.world import W


@dataclass(frozen=True)
class Parts:
    """What `bootstrap` hands to the adapters it builds."""

    page: Page
    delivered: Delivered  #: who has what goes out by mail
    accounts: Mapping[str, Account] = field(default_factory=dict)  #: by channel name
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)  #: that sign webhooks
    #: Those that signed before, and until when they do so, too.
    keys_before: Mapping[str, tuple[bytes, datetime]] = field(default_factory=dict, repr=False)
    networks: Networks = ()  #: that channels may be sent to
    clock: Clock = field(default_factory=SystemClock)


def _public_page(channel: Channel[W], parts: Parts) -> Adapter[W]:
    return PublicPage(channel, page=parts.page)


def _webhook(channel: Channel[W], parts: Parts) -> Adapter[W]:
    return Webhook(
        channel, _account(channel, parts, WebhookAccount), key=parts.keys[channel.name],
        before=parts.keys_before.get(channel.name), networks=parts.networks, clock=parts.clock,
    )  # fmt: skip


def _mail(channel: Channel[W], parts: Parts) -> Adapter[W]:
    return Mail(
        channel, _account(channel, parts, MailAccount), delivered=parts.delivered,
        networks=parts.networks, clock=parts.clock,
    )  # fmt: skip


_Account = TypeVar("_Account", bound=Account)


def _account(channel: Channel[Any], parts: Parts, kind: type[_Account]) -> _Account:
    account = parts.accounts[channel.name]
    assert isinstance(account, kind), "a channel is made of its account"
    return account


def _platform(make: Callable[..., Adapter[Any]], kind: type[Account]) -> Build:
    """Builds the adapter of a platform from its account."""

    def build(channel: Channel[Any], parts: Parts) -> Adapter[Any]:
        return make(
            channel, _account(channel, parts, kind), networks=parts.networks, clock=parts.clock
        )

    return build


Build = Callable[[Channel[Any], Parts], Adapter[Any]]

#: Every kind of channel there is, and what builds its adapter.
REGISTER: dict[str, Build] = {
    "public_page": _public_page,
    "webhook": _webhook,
    "bluesky": _platform(Bluesky, BlueskyAccount),
    "mail": _mail,
    "mastodon": _platform(Mastodon, MastodonAccount),
    "matrix": _platform(Matrix, MatrixAccount),
    "wordpress": _platform(WordPress, WordPressAccount),
    "x": _platform(X, XAccount),
    "ntfy": _platform(Ntfy, NtfyAccount),
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
