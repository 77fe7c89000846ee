"""What the Chief or designee orders of channels beside those of the settings: which there are, and
by which accounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from broadcaster.accounts import Account, Before, WebhookAccount, plain, read
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, accounts
from broadcaster.ledger.accounts import Kept
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, require
from broadcaster.sealing import Sealer
from broadcaster.world import World

#: For so long a webhook is signed by the secret before, too, once it was changed.
BOTH_SIGN = timedelta(hours=24)


def add(
    tx: Tx, account: Account, sealer: Sealer, *, taken: Collection[str], expires_on: date | None,
    person: Person, actor: str,
) -> None:  # fmt: skip
    """Has updates posted by an account from now on. Raises Refusal.

    `taken`: names that the settings use. `expires_on`: the last day of its credential, if known.
    """
    require(person, Act.KEEP_CHANNELS)
    name = account.name
    if name in taken or any(each.name == name for each in accounts.standing(tx)):
        raise Refusal("name_taken", f"There is a channel named {name}.",
                      "Choose another name.", kind=Sort.CONFLICT, field="name")  # fmt: skip
    if (once := accounts.kind_once(tx, name)) not in (None, account.kind):
        raise Refusal(
            "name_of_another_kind", f"{name} was a channel of another kind ({once}), and its posts "
            "stay on the record under that name.",
            "Choose another name.", kind=Sort.CONFLICT, field="name",
        )  # fmt: skip
    _not_over(tx, expires_on)
    accounts.add(
        tx, name, account.kind, account.title, account.shape,
        sealer.seal(plain(account), _about(tx.world, name)), expires_on=expires_on, by=person.id,
    )  # fmt: skip
    tx.record(Kind.CHANNEL_ADDED, actor=actor, channel=name, channel_kind=account.kind,
              by=person.id, expires_on=expires_on and expires_on.isoformat())  # fmt: skip


def change(
    tx: Tx, name: str, given: Mapping[str, Any], sealer: Sealer, *, expires_on: date | None,
    person: Person, actor: str,
) -> None:  # fmt: skip
    """Gives a channel's account new members, as a credential, in the same place. Raises Refusal."""
    require(person, Act.KEEP_CHANNELS)
    before = opened(named(tx, name), accounts.sealed(tx)[name], sealer, tx.world)
    fixed = ("name", "title", "kind", *before.place, *before.options)
    for member in given:
        if member in fixed:
            raise Refusal(
                "another_channel", f"With another {member} it is another channel: what was posted "
                "here is looked for where it was posted.",
                "Add it as a channel of its own, and remove this one.", kind=Sort.CONFLICT,
                field=member,
            )  # fmt: skip
    _not_over(tx, expires_on)
    account = _signing(read({**plain(before), **given}), before, tx.now)
    accounts.change(tx, name, sealer.seal(plain(account), _about(tx.world, name)),
                    expires_on=expires_on, by=person.id)  # fmt: skip
    tx.record(Kind.CHANNEL_CREDENTIAL_CHANGED, actor=actor, channel=name, by=person.id,
              expires_on=expires_on and expires_on.isoformat())  # fmt: skip


def _signing(account: Account, before: Account, now: datetime) -> Account:
    """A webhook whose secret was changed has the one before sign for a while, too."""
    if not isinstance(account, WebhookAccount) or not isinstance(before, WebhookAccount):
        return account
    if account.secret == before.secret:
        return account
    signs = Before(secret=before.secret, until=now + BOTH_SIGN)
    return account.model_copy(update={"before": signs})


def remove(tx: Tx, name: str, *, person: Person, actor: str) -> None:
    """Has nothing posted there any more; what waits is held. Raises Refusal."""
    require(person, Act.KEEP_CHANNELS)
    accounts.remove(tx, named(tx, name).name)
    tx.record(Kind.CHANNEL_REMOVED, actor=actor, channel=name, by=person.id)


def reseal(tx: Tx, sealer: Sealer) -> int:
    """Seals all accounts with the newest key; answers how many. Raises Refusal."""
    secrets = accounts.sealed(tx)
    for each in accounts.standing(tx):
        account = opened(each, secrets[each.name], sealer, tx.world)
        accounts.reseal(tx, each.name, sealer.seal(plain(account), _about(tx.world, each.name)))
    return len(secrets)


def named(tx: Tx, name: str) -> Kept:
    """The channel of a name. Raises Refusal where none was added by command."""
    for each in accounts.standing(tx):
        if each.name == name:
            return each
    raise unknown(name)


def unknown(name: str) -> Refusal:
    """What is said of a name that no channel was added under."""
    return Refusal(
        "no_such_account", f"No channel named {name} was added by command.",
        "`broadcaster channel list` shows them; an account of the settings is changed there.",
        kind=Sort.NOT_FOUND,
    )  # fmt: skip


def opened(kept: Kept, sealed: str, sealer: Sealer, world: World) -> Account:
    """The account of a channel. Raises Refusal where it does not open."""
    return read(sealer.open(sealed, _about(world, kept.name)))


def _about(world: World, name: str) -> tuple[str, str]:
    return world, name


def _not_over(tx: Tx, expires_on: date | None) -> None:
    if expires_on and expires_on < tx.now.date():
        raise Refusal("expired", f"Such a credential was good until {expires_on}.",
                      "Give one that is good now.", field="expires")  # fmt: skip
