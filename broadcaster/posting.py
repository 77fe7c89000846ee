"""The channels of this process, and what posts on them: those of the settings, and those added."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import adapters
from adapters.locked import Locked
from broadcaster import channel, channel_accounts
from broadcaster.accounts import Account, WebhookAccount, channel_of
from broadcaster.channel import AnyChannel, Channel
from broadcaster.delivery import Adapter
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.intake import signature
from broadcaster.ledger import Ledger, Tx, accounts, mails, publications
from broadcaster.ledger.accounts import Kept
from broadcaster.sealing import Sealer
from broadcaster.settings import Settings
from broadcaster.world import Exercise, Live, W

EXERCISE: Exercise = "exercise"
LIVE: Live = "live"


def channels(settings: Settings, kept: Sequence[Kept] = ()) -> tuple[AnyChannel, ...]:
    """The channels of the settings, and those that were added by command, as people see them."""
    if settings.world == EXERCISE:
        return _channels(settings, EXERCISE, kept)
    return _channels(settings, LIVE, kept)


def _channels(settings: Settings, world: W, kept: Sequence[Kept]) -> tuple[Channel[W], ...]:
    found: list[Channel[W]] = [channel.public_page(world)]
    found += [channel_of(account, world) for account in settings.channels]
    found += [channel.made(each.kind, world, each.name, each.title, **each.shape) for each in kept]
    return tuple(found)


class Channels:
    """The channels of one process: the same for its life, but for what proves us to them.

    Those that were added by command stand in the ledger. One of a name that the settings have
    come to use is the settings'.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, *, posts: bool = False, tests: bool = False
    ) -> None:
        """`posts`: whether this process posts there, and so has to open their accounts.

        `tests`: what is sent is no post of the ledger's.
        """
        self._settings = settings
        self._ledger = ledger
        self._posts = posts
        self._mails = _NoMails() if tests else _Mails(ledger)
        self._kept: tuple[Kept, ...] = ()
        self._sealed: Mapping[str, str] = {}

    @property
    def all(self) -> tuple[AnyChannel, ...]:
        return channels(self._settings, self._kept)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.all]

    async def read(self) -> None:
        """Before the process begins. Where the ledger is away it begins with the settings' alone,
        and `look` then finds that there are others."""
        with contextlib.suppress(LedgerAway):
            self._kept, self._sealed = await self._ledger.read(self._read)

    async def look(self) -> set[str] | None:
        """Those of which something else proves us by now; None where other channels stand there,
        so that this process has to be started again. Raises LedgerAway."""
        kept, sealed = await self._ledger.read(self._read)
        if [each.made_of for each in kept] != [each.made_of for each in self._kept]:
            return None
        before = {each.name: each.serial for each in self._kept}
        self._kept, self._sealed = kept, sealed
        return {each.name for each in kept if each.serial != before[each.name]}

    def _read(self, tx: Tx) -> tuple[tuple[Kept, ...], Mapping[str, str]]:
        taken = {account.name for account in self._settings.channels}
        kept = tuple(each for each in accounts.standing(tx) if each.name not in taken)
        return kept, accounts.sealed(tx) if self._posts else {}

    def adapters(self) -> Mapping[str, Adapter[Any]]:
        """One adapter for each channel, by the channel's name."""
        return {name: self.adapter(name) for name in self.names}

    def adapter(self, name: str) -> Adapter[Any]:
        """A channel's adapter, by what proves us there now."""
        if self._settings.world == EXERCISE:
            return self._adapter(name, EXERCISE)
        return self._adapter(name, LIVE)

    def to_test(self, name: str) -> Adapter[Exercise]:
        """A channel's adapter for words that nobody approved. Raises Refusal.

        In the exercise world alone; our own page shows what was released, and nothing else.
        """
        if self._settings.world != EXERCISE:
            raise Refusal(
                "only_in_exercise", "In the live world nothing is posted that nobody approved.",
                "Test the channel in the exercise world, on an account for exercises.",
                kind=Kind.FORBIDDEN,
            )  # fmt: skip
        if name not in self.names or name == "public_page":
            raise Refusal("no_such_channel", f"There is no channel {name} that can be tested.",
                          "`broadcaster channel list` shows them.",
                          kind=Kind.NOT_FOUND)  # fmt: skip
        return cast(Adapter[Exercise], self.adapter(name))

    def _adapter(self, name: str, world: W) -> Adapter[W]:
        [made] = [each for each in _channels(self._settings, world, self._kept)
                  if each.name == name]  # fmt: skip
        try:
            account = self._account(name)
        except Refusal as refusal:
            return Locked(made, refusal.in_words)
        keys, before = {}, {}
        if isinstance(account, WebhookAccount):
            keys[name] = signature.key(account.secret.get_secret_value())
            if account.before:
                old = signature.key(account.before.secret.get_secret_value())
                before[name] = old, account.before.until
        return adapters.build(made, world, adapters.Parts(
            page=_Page(self._ledger), delivered=self._mails,
            accounts={name: account} if account else {}, keys=keys, keys_before=before,
            networks=self._settings.channel_networks,
        ))  # fmt: skip

    def _account(self, name: str) -> Account | None:
        """None for our own page. Raises Refusal where it does not open."""
        for account in self._settings.channels:
            if account.name == name:
                return account
        for kept in self._kept:
            if kept.name == name:
                ours = sealer(self._settings)
                return channel_accounts.opened(
                    kept, self._sealed[name], ours, self._settings.world
                )  # fmt: skip
        return None


def sealer(settings: Settings) -> Sealer:
    """What seals and opens accounts in the ledger. Raises Refusal where there is no key."""
    if not settings.sealing_keys:
        raise Refusal(
            "accounts_key_unset",
            "BROADCASTER_ACCOUNTS_KEY is not set here, so no account can be sealed or opened.",
            "`broadcaster channel key` makes one: set it here and for deliver.",
            field="BROADCASTER_ACCOUNTS_KEY",
        )
    return Sealer(settings.sealing_keys)


class _Page:
    """The public page's port: it publishes from the ledger, by the post's id."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def publish(self, post_id: str) -> str:
        return await self._ledger.write(lambda tx: publications.publish(tx, post_id), urgent=True)

    async def find(self, post_id: str) -> str | None:
        return await self._ledger.read(lambda tx: publications.find(tx, post_id))


class _Mails:
    """The port of mail to lists: who has what, by the post's id."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def of(self, post_id: str) -> Mapping[str, str]:
        return await self._ledger.read(lambda tx: mails.of_post(tx, post_id))

    async def note(self, post_id: str, fates: Mapping[str, str]) -> None:
        await self._ledger.write(lambda tx: mails.note(tx, post_id, fates), urgent=True)


class _NoMails:
    """That port for a test, of which nobody keeps who has it."""

    async def of(self, post_id: str) -> Mapping[str, str]:
        return {}

    async def note(self, post_id: str, fates: Mapping[str, str]) -> None:
        """Nothing is kept."""
