"""Releases, as the gate made them."""

from __future__ import annotations

from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import func, insert, select, update

from broadcaster.approval import AnyRelease, Release
from broadcaster.ledger import posts, schema
from broadcaster.ledger.tx import Tx
from broadcaster.update import Revision
from broadcaster.world import W

_ANY_RELEASE: TypeAdapter[AnyRelease] = TypeAdapter(AnyRelease)


def add(tx: Tx, release: Release[W], revision: Revision, keeps: str | None = None) -> None:
    """Keeps a release. One a revision: a second for the same revision fails on its key.

    `keeps`: the digest of the changed facts in spite of which it was approved.
    """
    tx.connection.execute(
        insert(schema.releases).values(
            id=release.id, revision_id=release.revision_id, decision_id=release.decision_id,
            incident_id=release.incident_id, body=release.model_dump_json(),
            number=revision.number, released_at=release.released_at,
            expires_at=release.expires_at, keeps=keeps,
        )
    )  # fmt: skip
    tx.changed("board", f"incident:{release.incident_id}", f"release:{release.id}")


def keep(tx: Tx, release_id: str, keeps: str | None) -> None:
    """Notes in spite of which changed facts a release goes on."""
    tx.connection.execute(
        update(schema.releases).where(schema.releases.c.id == release_id).values(keeps=keeps)
    )


def keeps(tx: Tx, release_id: str) -> str | None:
    """The digest of the changed facts in spite of which a release goes on."""
    return tx.connection.execute(
        select(schema.releases.c.keeps).where(schema.releases.c.id == release_id)
    ).scalar()


def get(tx: Tx, release_id: str) -> AnyRelease | None:
    return _first(tx, schema.releases.c.id == release_id)


def stop_all(tx: Tx) -> list[str]:
    """Stops every release of which a post may still begin, or be begun again; answers which."""
    post, table = schema.posts.c, schema.releases.c
    waiting = select(post.release_id).where(post.state.in_(posts.UNENDED))
    found = tx.connection.execute(
        select(table.id).where(table.stopped_at.is_(None), table.id.in_(waiting)).order_by(table.id)
    )
    return [release_id for release_id in found.scalars().all() if stop(tx, release_id)]


def stop(tx: Tx, release_id: str) -> bool:
    """Lets no post of a release begin any more; whether that was news.

    An attempt holds its release while it is opened, so it is either noted before this, or it finds
    the release stopped.
    """
    table = schema.releases.c
    incident_id = tx.connection.execute(
        update(schema.releases)
        .where(table.id == release_id, table.stopped_at.is_(None))
        .values(stopped_at=tx.now)
        .returning(table.incident_id)
    ).scalar()
    if incident_id is not None:
        tx.changed("board", f"incident:{incident_id}", f"release:{release_id}")
    return incident_id is not None


def stopped_at(tx: Tx, release_id: str) -> datetime | None:
    """When a release was stopped, if it was."""
    return tx.connection.execute(
        select(schema.releases.c.stopped_at).where(schema.releases.c.id == release_id)
    ).scalar()


def of_revision(tx: Tx, revision_id: str) -> AnyRelease | None:
    return _first(tx, schema.releases.c.revision_id == revision_id)


def of_incident(
    tx: Tx, incident_id: str, *, after: datetime | None = None
) -> list[AnyRelease]:  # fmt: skip
    """An incident's releases, newest first; those released `after` a time, or all."""
    table = schema.releases.c
    query = select(table.body).where(table.incident_id == incident_id)
    if after is not None:
        query = query.where(table.released_at > after)
    rows = tx.connection.execute(query.order_by(table.released_at.desc(), table.number.desc()))
    return [parse(body) for body in rows.scalars()]


def numbers(tx: Tx, incident_id: str) -> dict[str, int]:
    """The update's number of each release of an incident."""
    table = schema.releases.c
    rows = tx.connection.execute(
        select(table.id, table.number).where(table.incident_id == incident_id)
    )
    return {row.id: row.number for row in rows}


def newest_times(tx: Tx, incident_ids: list[str]) -> dict[str, datetime]:
    """When the public was last told, by incident."""
    table = schema.releases.c
    rows = tx.connection.execute(
        select(table.incident_id, func.max(table.released_at))
        .where(table.incident_id.in_(incident_ids))
        .group_by(table.incident_id)
    )
    return {row[0]: row[1] for row in rows}


def count(tx: Tx) -> int:
    return tx.connection.execute(select(func.count()).select_from(schema.releases)).scalar_one()


def _first(tx: Tx, condition: object) -> AnyRelease | None:
    body = tx.connection.execute(
        select(schema.releases.c.body).where(condition)  # type: ignore[arg-type]
    ).scalar()
    return parse(body) if body else None


def parse(body: str) -> AnyRelease:
    """A release from its row's body."""
    return _ANY_RELEASE.validate_json(body)
