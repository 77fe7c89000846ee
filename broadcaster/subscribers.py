"""What subscribers are told over Kafka: each release in full, and how each post ended.

Public content alone: no person's name, and nothing of CAD's own. The bytes on the topics and the
desk's AsyncAPI document are made from these models.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from broadcaster.approval import AnyRelease
from broadcaster.delivery import PostState
from broadcaster.incident import NAMESPACE
from broadcaster.update import Rendering, Revision, UpdateKind
from broadcaster.world import World


class Message(BaseModel):
    """What every message to subscribers holds."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    version: Literal[1] = Field(
        default=1, description="Of this schema. Fields may join it; none changes its meaning."
    )
    message_id: str = Field(
        description="A UUID, in the header message-id too: the same message, come twice, has the "
        "same one."
    )
    world: World = Field(description="Only `live` is meant for the public.")
    incident: str = Field(
        description="The incident's public id. It says nothing about its number at its source."
    )
    release_id: str


class UpdateReleased(Message):
    """One release in full: what the public is told from now on, in the very words approved."""

    incident_url: str = Field(description="Where the public reads about the incident.")
    number: int = Field(description="The update's number within its incident.")
    kind: UpdateKind
    released_at: datetime
    expires_at: datetime = Field(description="Until then the words stand.")
    replaces: tuple[str, ...] = Field(
        description="Releases whose place this one takes on each channel that had not sent them."
    )
    corrects: str | None = Field(
        description="The release that a correction or retraction is about."
    )
    languages: tuple[str, ...]
    area: str = Field(description="Where it is for, in words.")
    renderings: tuple[Rendering, ...] = Field(
        description="What each channel says in each language, word for word."
    )
    retraction: tuple[Rendering, ...] = Field(
        description="What each channel would say to take this back: approved with it, said only "
        "in a retraction."
    )
    digest: str = Field(description="SHA-256 over all that was approved, in hexadecimal digits.")


class PostSettled(Message):
    """How one channel's part of a release ended."""

    post_id: str = Field(
        description="The same for ever for the same release and channel; one that was refused or "
        "in doubt may still be proved to be posted, by a later message."
    )
    channel: str
    state: PostState
    url: str | None = Field(description="Where the public finds the post, if the channel said so.")
    settled_at: datetime


def update_released(
    release: AnyRelease, revision: Revision, *, incident: str, incident_url: str
) -> UpdateReleased:
    """What subscribers are told of a release: the same one gives the same message."""
    return UpdateReleased(
        message_id=str(uuid.uuid5(NAMESPACE, f"message\0updates.public\0{release.id}")),
        world=release.world, incident=incident, incident_url=incident_url,
        release_id=release.id, number=revision.number, kind=revision.kind,
        released_at=release.released_at, expires_at=release.expires_at,
        replaces=revision.replaces, corrects=revision.corrects, languages=revision.languages,
        area=revision.area, renderings=revision.renderings,
        retraction=revision.retraction, digest=release.digest,
    )  # fmt: skip
