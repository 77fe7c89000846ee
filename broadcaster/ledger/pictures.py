"""The pictures of updates: their bytes, each kept once, by the digest that is approved."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects import postgresql, sqlite

from broadcaster.ledger import schema
from broadcaster.ledger.tx import Tx
from broadcaster.media import Image, digest_of
from broadcaster.record import Kind


@dataclass(frozen=True)
class Kept:
    """A picture in the ledger."""

    image: Image
    sha1: str  #: of its bytes, in hexadecimal digits (CAP 1.2, `digest`)
    data: bytes


def add(tx: Tx, image: Image, data: bytes, *, incident_id: str, added_by: str) -> None:
    """Keeps a picture; one that is there already stays as it is.

    Raises ValueError where the bytes are not those that it is named by.
    """
    if digest_of(data) != image.digest:
        raise ValueError("these bytes are not this picture's")
    make = postgresql.insert if tx.connection.dialect.name == "postgresql" else sqlite.insert
    added = tx.connection.execute(
        make(schema.pictures)
        .values(
            **image.model_dump(), data=data, added_by=added_by, added_at=tx.now,
            sha1=hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        )
        .on_conflict_do_nothing()
        .returning(schema.pictures.c.digest)
    )  # fmt: skip
    if added.first():
        tx.record(Kind.PICTURE_ADDED, actor=added_by, incident_id=incident_id,
                  picture=image.digest, type=image.type, size=image.size)  # fmt: skip


def image(tx: Tx, digest: str) -> Image | None:
    """What a picture is, without its bytes; None where there is none such."""
    table = schema.pictures
    columns = [table.c[name] for name in Image.model_fields]
    row = tx.connection.execute(select(*columns).where(table.c.digest == digest)).first()
    return _image(row) if row else None


def get(tx: Tx, digest: str) -> Kept | None:
    """A picture whose bytes are those that it is named by; None where there is none such."""
    return several(tx, [digest]).get(digest)


def several(tx: Tx, digests: Collection[str]) -> dict[str, Kept]:
    """Pictures by their digest. Fails closed: one with other bytes is left out."""
    if not digests:
        return {}
    rows = tx.connection.execute(
        select(schema.pictures).where(schema.pictures.c.digest.in_(digests))
    )
    return {row.digest: Kept(_image(row), row.sha1, row.data) for row in rows
            if digest_of(row.data) == row.digest}  # fmt: skip


def _image(row: Row[Any]) -> Image:
    return Image(digest=row.digest, type=row.type, width=row.width, height=row.height,
                 size=row.size)  # fmt: skip
