"""Who has a post that goes out by mail, so that nobody gets it twice. By a hash of each address."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import bindparam, insert, select, update

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx

#: What became of recipients who have nothing (adapters/mail.py, `Fate`).
_HAVE_NOTHING = ("unsent", "refused")


def of_post(tx: Tx, post_id: str) -> dict[str, str]:
    """What became of a post's recipients, as far as it was noted."""
    table = schema.mail_taken.c
    rows = tx.connection.execute(
        select(table.recipient, table.fate).where(table.post_id == post_id)
    )
    return {row.recipient: row.fate for row in rows}


def note(tx: Tx, post_id: str, fates: Mapping[str, str]) -> None:
    """Notes what became of recipients, whatever was noted of them before."""
    table, run = schema.mail_taken, tx.connection.execute
    known = set(run(
        select(table.c.recipient)
        .where(table.c.post_id == post_id, table.c.recipient.in_(fates))
        .with_for_update()
    ).scalars())  # fmt: skip
    rows = [{"its": each, "fate": fate, "at": tx.now} for each, fate in fates.items()]
    if old := [row for row in rows if row["its"] in known]:
        run(
            update(table).where(table.c.post_id == post_id, table.c.recipient == bindparam("its")),
            old,
        )
    if new := [{"post_id": post_id, "recipient": row.pop("its"), **row}
               for row in rows if row["its"] not in known]:  # fmt: skip
        run(insert(table), new)


def begun(tx: Tx, post_ids: Collection[str]) -> set[str]:
    """Those of some posts that a recipient has, or may have."""
    table = schema.mail_taken.c
    return set(tx.connection.execute(
        select(table.post_id)
        .where(table.post_id.in_(post_ids), table.fate.not_in(_HAVE_NOTHING))
        .distinct()
    ).scalars())  # fmt: skip
