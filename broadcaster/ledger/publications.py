"""What the department's own page and feeds show. Written by the page's adapter alone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select

from broadcaster.incident import Handling
from broadcaster.ledger import approvals, pictures, posts, releases, schema
from broadcaster.ledger.tx import Tx
from broadcaster.media import Picture
from broadcaster.update import Revision, UpdateKind


@dataclass(frozen=True)
class Publication:
    """One update as the public sees it."""

    post_id: str
    incident_id: str
    incident_public_id: str
    number: int
    kind: str
    headline: str
    text: str
    area: str
    digest: str
    published_at: datetime
    expires_at: datetime
    release_id: str
    #: The release that a correction or retraction is about.
    corrects: str | None
    #: What people are asked to do, where the approved text says just that.
    guidance: str | None
    #: How it ended, in an all clear whose approved text says just that.
    ended: str | None
    #: Whether it is a notice: about no incident.
    routine: bool = False
    #: What is shown beside the words.
    pictures: tuple[Picture, ...] = ()


def publish(tx: Tx, post_id: str) -> str:
    """Puts a post's approved rendering on the page, once; returns the incident's public id.

    The words are read from the approved revision here, not taken from the caller.
    """
    post = posts.get(tx, post_id)
    if post is None:
        raise LookupError(post_id)
    public_id = tx.connection.execute(
        select(schema.incidents.c.public_id).where(schema.incidents.c.id == post.incident_id)
    ).scalar_one()
    if find(tx, post_id) is None:
        release = releases.get(tx, post.release_id)
        assert release is not None, "a post's release is a foreign key"
        revision = approvals.revision(tx, release.revision_id)
        assert revision is not None, "a release's revision is a foreign key"
        rendering = revision.rendering(post.channel)
        tx.connection.execute(
            insert(schema.publications).values(
                post_id=post_id, incident_id=post.incident_id, number=revision.number,
                kind=str(revision.kind), headline=rendering.headline, text=rendering.text,
                area=revision.area, digest=revision.digest, published_at=tx.now,
                expires_at=revision.expires_at,
            )
        )  # fmt: skip
        tx.changed("public", f"public:{public_id}")
    return str(public_id)


def find(tx: Tx, post_id: str) -> str | None:
    """The incident's public id, if the post is on the page."""
    return tx.connection.execute(
        select(schema.incidents.c.public_id)
        .join(schema.publications, schema.publications.c.incident_id == schema.incidents.c.id)
        .where(schema.publications.c.post_id == post_id)
    ).scalar()


def of_incident(tx: Tx, public_id: str) -> list[Publication]:
    """What the public was told about one incident, newest first."""
    query = _query().where(schema.incidents.c.public_id == public_id)
    return [_publication(row) for row in tx.connection.execute(query)]


def newest(tx: Tx, limit: int = 50) -> list[Publication]:
    """What the public was told, newest first."""
    return [_publication(row) for row in tx.connection.execute(_query().limit(limit))]


def one(tx: Tx, post_id: str) -> Publication | None:
    """One update as the public sees it."""
    row = tx.connection.execute(_query().where(schema.publications.c.post_id == post_id)).first()
    return _publication(row) if row else None


def picture(tx: Tx, public_id: str, post_id: str, digest: str) -> pictures.Kept | None:
    """A picture that a post shows, while that is out or may be, and was not taken back."""
    post = posts.get(tx, post_id)
    if post is None or not post.state.out:
        return None
    release = releases.get(tx, post.release_id)
    assert release is not None, "a post's release is a foreign key"
    several = approvals.revisions_of(tx, post.incident_id)
    shown = next(each for each in several if each.id == release.revision_id)
    taken_back = any(
        each.kind is UpdateKind.RETRACTION and each.corrects == release.id
        and releases.of_revision(tx, each.id) is not None
        for each in several
    )  # fmt: skip
    is_of = tx.connection.execute(
        select(schema.incidents.c.public_id).where(schema.incidents.c.id == post.incident_id)
    ).scalar_one()
    named = {each.digest for each in shown.rendering(post.channel).pictures}
    if taken_back or is_of != public_id or digest not in named:
        return None
    return pictures.get(tx, digest)


def sha1s(tx: Tx, told: Publication) -> dict[str, str]:
    """What CAP says of an update's pictures, by their digest."""
    kept = pictures.several(tx, {each.digest for each in told.pictures})
    return {digest: each.sha1 for digest, each in kept.items()}


def feed_password(tx: Tx) -> str:
    """What an exercise's feeds ask readers for; made once, and the same from then on."""
    kept: str | None = tx.connection.execute(
        select(schema.meta.c.value).where(schema.meta.c.name == "feed_password")
    ).scalar()
    if kept is not None:
        return kept
    made = secrets.token_urlsafe(12)
    tx.connection.execute(insert(schema.meta).values(name="feed_password", value=made))
    return made


def _query() -> Select[tuple[Any, ...]]:
    table = schema.publications.c
    return (
        select(
            schema.publications,
            schema.incidents.c.public_id,
            schema.incidents.c.handling,
            schema.posts.c.release_id,
            schema.posts.c.channel,
            schema.revisions.c.body.label("revision"),
        )
        .join(schema.incidents, schema.incidents.c.id == table.incident_id)
        .join(schema.posts, schema.posts.c.id == table.post_id)
        .join(schema.releases, schema.releases.c.id == schema.posts.c.release_id)
        .join(schema.revisions, schema.revisions.c.id == schema.releases.c.revision_id)
        .order_by(table.published_at.desc(), table.number.desc())
    )


def _publication(row: Row[tuple[object, ...]]) -> Publication:
    revision = Revision.model_validate_json(row.revision)
    said = revision.words.guidance.text.strip()
    said_so = said if said and said in row.text else None
    over = revision.kind is UpdateKind.ALL_CLEAR
    return Publication(
        post_id=row.post_id, incident_id=row.incident_id, incident_public_id=row.public_id,
        number=row.number, kind=row.kind, headline=row.headline, text=row.text, area=row.area,
        digest=row.digest, published_at=row.published_at, expires_at=row.expires_at,
        release_id=row.release_id, corrects=revision.corrects,
        guidance=None if over else said_so, ended=said_so if over else None,
        routine=row.handling == str(Handling.NOTICE),
        pictures=revision.rendering(row.channel).pictures,
    )  # fmt: skip
