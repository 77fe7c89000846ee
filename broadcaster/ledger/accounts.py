"""The channels that were added by command: what each is made of, and its account, sealed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from broadcaster.channel import AnyChannel, Kind
from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx

#: Days before a credential's last one on which somebody is told of it.
WARN_AT = (30, 7, 1, 0)


@dataclass(frozen=True)
class Kept:
    """One channel, as it was added; what proves us to it is read apart."""

    name: str
    kind: Kind
    title: str
    shape: Mapping[str, Any]  #: what its factory takes beside these
    serial: int  #: rises with each new credential
    expires_on: date | None
    added_by: str
    added_at: datetime
    changed_by: str
    changed_at: datetime

    @property
    def made_of(self) -> tuple[object, ...]:
        """What it is, whatever its credential."""
        return self.name, self.kind, self.title, tuple(sorted(self.shape.items()))


def standing(tx: Tx) -> tuple[Kept, ...]:
    """The channels that stand now, the oldest first."""
    table = schema.accounts
    rows = tx.connection.execute(
        select(table).where(table.c.removed_at.is_(None)).order_by(table.c.added_at)
    )
    return tuple(
        Kept(
            name=row.channel, kind=row.kind, title=row.title, shape=json.loads(row.shape),
            serial=row.serial,
            expires_on=date.fromisoformat(row.expires_on) if row.expires_on else None,
            added_by=row.added_by, added_at=row.added_at, changed_by=row.changed_by,
            changed_at=row.changed_at,
        )
        for row in rows
    )  # fmt: skip


def kind_once(tx: Tx, name: str) -> str | None:
    """Of which kind a channel of a name is or was; None: there never was one."""
    table = schema.accounts.c
    return tx.connection.execute(select(table.kind).where(table.channel == name)).scalar()


def sealed(tx: Tx) -> dict[str, str]:
    """What proves us to each channel, as it is kept. Only a worker's role may read it."""
    rows = tx.connection.execute(select(schema.account_secrets))
    return {row.channel: row.sealed for row in rows}


def add(
    tx: Tx, name: str, kind: str, title: str, shape: Mapping[str, Any], sealed: str,
    *, expires_on: date | None, by: str,
) -> None:  # fmt: skip
    """Keeps a channel, a new one or one that was removed."""
    table = schema.accounts
    values = {
        "kind": kind, "title": title, "shape": json.dumps(dict(shape)), "removed_at": None,
        "expires_on": expires_on.isoformat() if expires_on else None, "added_by": by,
        "added_at": tx.now, "changed_by": by, "changed_at": tx.now,
    }  # fmt: skip
    again = tx.connection.execute(
        update(table).where(table.c.channel == name).values(**values, serial=table.c.serial + 1)
    ).rowcount
    if not again:
        tx.connection.execute(insert(table).values(**values, channel=name, serial=1))
    tx.connection.execute(insert(schema.account_secrets).values(channel=name, sealed=sealed))
    tx.changed("accounts", "channels")


def change(tx: Tx, name: str, sealed: str, *, expires_on: date | None, by: str) -> None:
    """Keeps a new credential in the place of the one before."""
    table = schema.accounts
    tx.connection.execute(
        update(table)
        .where(table.c.channel == name)
        .values(
            serial=table.c.serial + 1, changed_by=by, changed_at=tx.now,
            expires_on=expires_on.isoformat() if expires_on else None,
        )
    )  # fmt: skip
    reseal(tx, name, sealed)
    tx.changed("accounts", "channels")


def reseal(tx: Tx, name: str, sealed: str) -> None:
    """Keeps what proves us to a channel, as it is sealed now."""
    secrets = schema.account_secrets
    tx.connection.execute(update(secrets).where(secrets.c.channel == name).values(sealed=sealed))


def remove(tx: Tx, name: str) -> None:
    """Keeps that there was such a channel, and no longer what proves us to it."""
    table, secrets = schema.accounts, schema.account_secrets
    tx.connection.execute(update(table).where(table.c.channel == name).values(removed_at=tx.now))
    tx.connection.execute(delete(secrets).where(secrets.c.channel == name))
    tx.changed("accounts", "channels")


def ends(tx: Tx, channels: Collection[AnyChannel]) -> dict[str, date]:
    """The last day of what proves us to each channel, where somebody knows it.

    Of channels that were added by command the ledger says so, of the others the settings.
    """
    added = {each.name: each.expires_on for each in standing(tx) if each.expires_on}
    return added | {each.name: each.ends for each in channels if each.ends}


def soon(last_day: date | None, today: date) -> bool:
    """Whether somebody should get a new credential."""
    return last_day is not None and (last_day - today).days <= max(WARN_AT)


def to_warn_of(tx: Tx, last_days: Mapping[str, date]) -> list[str]:
    """Channels whose credential ends soon, and of which nobody was told since the last of
    `WARN_AT`; they count as told from now on."""
    table, today = schema.credential_warnings, tx.now.date()
    soon = {name: max((day - today).days, 0) for name, day in last_days.items()}
    stages = {name: min(days for days in WARN_AT if left <= days)
              for name, left in soon.items() if left <= max(WARN_AT)}  # fmt: skip
    if not stages:
        return []
    rows = tx.connection.execute(select(table).where(table.c.channel.in_(stages)))
    told = {row.channel: (row.ends, row.days) for row in rows}
    due = []
    for name, days in stages.items():
        day = last_days[name].isoformat()
        if name in told and told[name][0] == day and told[name][1] <= days:
            continue
        due.append(name)
        values = {"channel": name, "ends": day, "days": days}
        if name in told:
            tx.connection.execute(update(table).where(table.c.channel == name).values(values))
        else:
            tx.connection.execute(insert(table).values(values))
    return due
