"""Authority, training, exemptions, delegations as kept. Who may grant them, `rostering` asks."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import Table, insert, select, update

from broadcaster.authority import (
    Authority,
    Content,
    Delegation,
    Exemption,
    Matter,
    Office,
    Standing,
    Subject,
    Training,
)
from broadcaster.ledger import fallbacks, schema
from broadcaster.ledger.tx import Tx
from broadcaster.record import Kind as Fact

#: How long the authority and training of an exercise's own persons last.
PRACTICE_LASTS = timedelta(days=3650)


def standing(tx: Tx, person_id: str) -> Standing:
    """All that the roster holds of one person's authority, the newest first."""

    def rows(table: Table, newest: str) -> Iterable[dict[str, object]]:
        kept = tx.connection.execute(
            select(table)
            .where(table.c.person_id == person_id)
            .order_by(table.c[newest].desc(), table.c.id)
        )
        return [dict(row) for row in kept.mappings()]

    return Standing(
        authorities=tuple(
            Authority.model_validate(row) for row in rows(schema.authorities, "granted_at")
        ),
        trainings=tuple(
            Training.model_validate(_fields(row, Training.model_fields))
            for row in rows(schema.trainings, "given_at")
        ),
        exemptions=tuple(
            Exemption.model_validate(_fields(row, Exemption.model_fields))
            for row in rows(schema.exemptions, "granted_at")
        ),
        delegations=tuple(
            Delegation.model_validate(row) for row in rows(schema.delegations, "granted_at")
        ),
        fallbacks=fallbacks.of_person(tx, person_id),
    )


def get(tx: Tx, authority_id: str) -> Authority | None:
    row = tx.connection.execute(
        select(schema.authorities).where(schema.authorities.c.id == authority_id)
    ).first()
    return Authority.model_validate(dict(row._mapping)) if row else None


def grant(
    tx: Tx, person_id: str, content: Content, *, until: datetime | None, granted_by: str, actor: str
) -> Authority:
    """Authorizes a person to post one sort of content."""
    made = Authority(
        id=str(uuid.uuid4()), person_id=person_id, content=content, until=until,
        granted_by=granted_by, granted_at=tx.now,
    )  # fmt: skip
    tx.connection.execute(
        insert(schema.authorities).values(**made.model_dump() | {"content": str(content)})
    )
    tx.record(Fact.AUTHORITY_GRANTED, actor=actor, person_id=person_id, authority_id=made.id,
              content=str(content), until=until.isoformat() if until else None,
              granted_by=granted_by)  # fmt: skip
    tx.changed("people")
    return made


def revoke(tx: Tx, held: Authority, *, revoked_by: str, actor: str) -> None:
    """Ends an authority now; the caller has seen that it holds."""
    tx.connection.execute(
        update(schema.authorities)
        .where(schema.authorities.c.id == held.id)
        .values(revoked_at=tx.now, revoked_by=revoked_by)
    )
    tx.record(Fact.AUTHORITY_REVOKED, actor=actor, person_id=held.person_id, authority_id=held.id,
              content=str(held.content), revoked_by=revoked_by)  # fmt: skip
    tx.changed("people")


def train(
    tx: Tx, person_id: str, subjects: Iterable[Subject], *, given_at: datetime,
    expires_at: datetime, recorded_by: str, actor: str,
) -> None:  # fmt: skip
    """Notes that a person was trained in these subjects."""
    listed = list(subjects)
    tx.connection.execute(insert(schema.trainings), [
        {"id": str(uuid.uuid4()), "person_id": person_id, "subject": str(subject),
         "given_at": given_at, "expires_at": expires_at}
        for subject in listed
    ])  # fmt: skip
    tx.record(Fact.TRAINING_RECORDED, actor=actor, person_id=person_id,
              subjects=[str(each) for each in listed], given_at=given_at.isoformat(),
              expires_at=expires_at.isoformat(), recorded_by=recorded_by)  # fmt: skip
    tx.changed("people")


def exempt(
    tx: Tx, person_id: str, matter: Matter, *, reason: str, until: datetime, granted_by: str,
    actor: str,
) -> None:  # fmt: skip
    """Notes a supervisor's leave from a rule of 389.3, for a time."""
    tx.connection.execute(
        insert(schema.exemptions).values(
            id=str(uuid.uuid4()), person_id=person_id, matter=str(matter), reason=reason,
            until=until, granted_by=granted_by, granted_at=tx.now,
        )
    )  # fmt: skip
    tx.record(Fact.EXEMPTION_GRANTED, actor=actor, person_id=person_id, matter=str(matter),
              until=until.isoformat(), granted_by=granted_by,
              private={"reason": reason})  # fmt: skip
    tx.changed("people")


def excepted(tx: Tx, person_id: str, at: datetime) -> Exemption | None:
    """The exemption from approved equipment that a person had at a time."""
    return standing(tx, person_id).excepted(Matter.EQUIPMENT, at)


def bound(tx: Tx, person_id: str, at: datetime, *, device_bound: bool) -> bool:
    """Whether a person's decision at a time took no passkey that its maker copies.

    `device_bound`: whether the department takes none, but for exemptions.
    """
    return device_bound and excepted(tx, person_id, at) is None


def delegate(
    tx: Tx, person_id: str, office: Office, *, reason: str, until: datetime, granted_by: str,
    actor: str,
) -> None:  # fmt: skip
    """Notes that a person has an office that moves command, for a time."""
    made = Delegation(
        id=str(uuid.uuid4()), person_id=person_id, office=office, reason=reason, until=until,
        granted_by=granted_by, granted_at=tx.now,
    )  # fmt: skip
    tx.connection.execute(
        insert(schema.delegations).values(**made.model_dump() | {"office": str(office)})
    )
    tx.record(_NAMED[office], actor=actor, person_id=person_id, delegation_id=made.id,
              until=until.isoformat(), granted_by=granted_by,
              private={"reason": reason})  # fmt: skip
    tx.changed("people", "calls")


def end_delegation(tx: Tx, held: Delegation, *, ended_by: str, actor: str) -> None:
    """Ends a delegation now; the caller has seen that it holds."""
    tx.connection.execute(
        update(schema.delegations)
        .where(schema.delegations.c.id == held.id)
        .values(ended_at=tx.now, ended_by=ended_by)
    )
    tx.record(_ENDED[held.office], actor=actor, person_id=held.person_id, delegation_id=held.id,
              ended_by=ended_by)  # fmt: skip
    tx.changed("people", "calls")


_NAMED = {Office.DEPUTY: Fact.DEPUTY_NAMED, Office.DUTY_CHIEF: Fact.DUTY_CHIEF_NAMED}
_ENDED = {Office.DEPUTY: Fact.DEPUTY_ENDED, Office.DUTY_CHIEF: Fact.DUTY_CHIEF_ENDED}


def holders(tx: Tx, office: Office | None = None) -> Collection[str]:
    """Whoever has an office now; None: any of them."""
    table = schema.delegations.c
    holds = [table.ended_at.is_(None), table.until > tx.now]
    if office is not None:
        holds.append(table.office == str(office))
    return set(tx.connection.execute(select(table.person_id).where(*holds)).scalars())


def authorize_for_practice(tx: Tx, person_id: str, *, actor: str) -> None:
    """Gives an exercise's own person every authority and training, as the Chief would."""
    until = tx.now + PRACTICE_LASTS
    for content in Content:
        grant(tx, person_id, content, until=until, granted_by=actor, actor=actor)
    train(tx, person_id, Subject, given_at=tx.now, expires_at=until, recorded_by=actor,
          actor=actor)  # fmt: skip


def _fields(row: dict[str, object], wanted: Iterable[str]) -> dict[str, object]:
    return {name: row[name] for name in wanted}
