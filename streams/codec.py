"""The messages that wake a step, and their bytes.

They carry ids alone: a step looks in the ledger for what is to be done (DESIGN.md rule 2), so a
message that is late, doubled or forged changes nothing. `message_id` tells one from its double
in logs and at subscribers.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import Poison

#: The only version there is. A reader refuses one it does not know.
VERSION: Literal[1] = 1

#: Bytes; a wake message holds two ids, so anything near this is not one of ours.
LIMIT = 4096

Id = Annotated[str, Field(min_length=1, max_length=200)]


class Wake(BaseModel):
    """What every wake message has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = VERSION
    message_id: Id


class ReportAccepted(Wake):
    """A report passed the door: `compile` folds it into its incident."""

    report_id: Id


class RevisionSubmitted(Wake):
    """A revision asks for approval: `notify` calls whoever commands."""

    request_id: Id


class DecisionRecorded(Wake):
    """Somebody decided: `gate` proves it and releases or refuses."""

    decision_id: Id


class PostPlanned(Wake):
    """A release made a post for this channel: `deliver` sends it when it is due."""

    post_id: Id


M = TypeVar("M", bound=Wake)


def encode(message: Wake) -> bytes:
    """The bytes of a wake message: UTF-8 JSON."""
    return message.model_dump_json().encode()


def decode(kind: type[M], raw: bytes) -> M:
    """Reads the bytes of a message of this kind.

    Raises `Poison` with the code `too_large`, `not_json`, `unknown_version` or `not_<kind>`.
    """
    if len(raw) > LIMIT:
        raise Poison("too_large", f"The message has {len(raw)} bytes; {LIMIT} is the most.")
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise _poison(kind, error) from None


def _poison(kind: type[Wake], error: ValidationError) -> Poison:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return Poison("not_json", "The message is not JSON.")
    if field == "version":
        return Poison(
            "unknown_version",
            f"The message is of a version that this program does not know; it knows {VERSION}.",
            "Bring all parts of this program to the same version.",
            field=field,
        )
    where = f" at `{field}`" if field else ""
    return Poison(
        f"not_{_snake(kind.__name__)}",
        f"The message is not a {kind.__name__}{where}: {first['msg']}.",
        field=field or None,
    )


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
