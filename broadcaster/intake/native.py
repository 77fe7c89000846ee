"""Our own report, as JSON: `POST /api/v1/reports` and the topic `incident.intake`.

`NativeReport` is the published schema, version 1; `parse` is the only way through it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.config import JsonDict

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import MessageId, Number, Report, Source, Status
from broadcaster.intake.checks import block, invalid, past, refusal
from broadcaster.intake.eido_types import TYPES
from broadcaster.place import generalise

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32

EXAMPLE: JsonDict = {
    "version": 1,
    "id": "cad-2026-11-22-000417",
    "source": "dhs-cad",
    "incident_number": "2026-004417",
    "type": "GASLEAKO",
    "status": "ResourcesOnscene",
    "place": "66142 Pierson Blvd",
    "latitude": 33.961,
    "longitude": -116.502,
    "priority": 2,
    "opened_at": "2026-11-22T13:58:10-08:00",
    "reported_at": "2026-11-22T14:02:00-08:00",
}


def _eido_type(code: str) -> str:
    if code not in TYPES:
        raise ValueError("not a code of the registry")
    return code


def _moment(value: object) -> datetime:
    """ISO 8601 with an offset; a bare number or a local time could mean several things."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("not text")
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo else at
    except OverflowError as error:
        raise ValueError("out of range") from error


EidoType = Annotated[
    str, AfterValidator(_eido_type), Field(json_schema_extra={"enum": sorted(TYPES)})
]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


class NativeReport(BaseModel):
    """One message about an incident.

    Fields that this schema does not name are counted and forgotten. Only the hundred block,
    intersection or street of `place` is kept, and coordinates to 0.001 degree.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [EXAMPLE]},
    )

    version: Literal[1] = Field(description="the number 1, the version of this schema")
    id: MessageId = Field(
        description="1 to 200 visible ASCII characters that name this message and no other; "
        "over HTTP the same as the header webhook-id",
        examples=[EXAMPLE["id"]],
    )
    source: Source = Field(
        description="the sending system's name as it is enrolled here: lower-case letters, "
        "digits, - and _",
        examples=[EXAMPLE["source"]],
    )
    incident_number: Number = Field(
        description="the incident's number in the sending system, up to 80 printable ASCII "
        "characters; reports with the same number are about the same incident",
        examples=[EXAMPLE["incident_number"]],
    )
    type: EidoType = Field(
        description="a common incident type of EIDO (NENA-STA-021.1b), such as GASLEAKO",
        examples=[EXAMPLE["type"]],
    )
    status: Status = Field(
        default=Status.ACTIVE,
        description="a common incident status of EIDO (NENA-STA-021.1b), such as Active or Closed",
        examples=[EXAMPLE["status"]],
    )
    place: Annotated[str, Field(strict=True, max_length=400)] | None = Field(
        default=None,
        description="an address, a hundred block, an intersection or a street, up to 400 "
        "characters; it may be left out only where status is Closed or Cancelled",
        examples=[EXAMPLE["place"]],
    )
    latitude: Annotated[float, Field(strict=True, ge=-90, le=90)] | None = Field(
        default=None,
        description="degrees north, WGS 84, from -90 to 90, together with longitude",
        examples=[EXAMPLE["latitude"]],
    )
    longitude: Annotated[float, Field(strict=True, ge=-180, le=180)] | None = Field(
        default=None,
        description="degrees east, WGS 84, from -180 to 180, together with latitude",
        examples=[EXAMPLE["longitude"]],
    )
    priority: Annotated[int, Field(strict=True, ge=0, le=10)] | None = Field(
        default=None,
        description="a whole number from 0 to 10, EIDO's common priority",
        examples=[EXAMPLE["priority"]],
    )
    opened_at: Moment = Field(
        description="the time at which the incident was opened, in ISO 8601 with an offset",
        examples=[EXAMPLE["opened_at"]],
    )
    reported_at: Moment = Field(
        description="the time at which the sending system made this report, in ISO 8601 with an "
        "offset; of two reports the later one is believed",
        examples=[EXAMPLE["reported_at"]],
    )


@dataclass(frozen=True)
class Parsed:
    """A report, and what was left at the door."""

    report: Report
    unknown_fields: int
    #: A place was sent, but none that can be said in public: a person types it.
    place_withheld: bool


def parse(
    raw: bytes, *, now: datetime, source: str | None = None, message_id: str | None = None
) -> Parsed:
    """The report in `raw`, at `now`.

    `source` and `message_id` are what the signature proved, where there is one: the body must
    say the same. Raises Refusal `too_large`, `not_json`, `too_deep`, `duplicate_key`,
    `invalid_field`, `in_future` or `source_wrong`, and nothing else whatever the bytes.
    """
    body = _object(raw)
    try:
        sent = NativeReport.model_validate(body)
    except ValidationError as error:
        raise refusal(NativeReport, error) from None
    if source is not None and sent.source != source:
        raise Refusal(
            "source_wrong",
            "This message was signed by another system than the one that its source names.",
            "Send source as it was enrolled with the secret, or sign with that system's secret.",
            kind=Kind.FORBIDDEN,
            field="source",
        )
    if sent.source == "person" or (message_id is not None and sent.id != message_id):
        raise _field("source" if sent.source == "person" else "id")
    for one, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if getattr(sent, one) is None and getattr(sent, other) is not None:
            raise _field(one, missing=True)
    said = (sent.place or "").strip()
    if not said and sent.status.open:
        raise _field("place", missing=True)
    place = generalise(said)
    report = Report(
        source=sent.source,
        message_id=sent.id,
        number=sent.incident_number,
        type=sent.type,
        status=sent.status,
        place=place,
        place_withheld=bool(said) and place is None,
        latitude=None if sent.latitude is None else block(sent.latitude),
        longitude=None if sent.longitude is None else block(sent.longitude),
        priority=sent.priority,
        opened_at=past("opened_at", sent.opened_at, now),
        reported_at=past("reported_at", sent.reported_at, now),
    )
    unknown = len(body.keys() - NativeReport.model_fields.keys())
    return Parsed(report, unknown, report.place_withheld)


def _field(name: str, *, missing: bool = False) -> Refusal:
    return invalid(name, NativeReport.model_fields[name].description or "", missing=missing)


#: A whole string (closed or not), an opening or a closing bracket. The possessive repeats make
#: this one pass over the text, whatever it holds.
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.S)


def _object(raw: bytes) -> dict[str, object]:
    if len(raw) > MAX_BYTES:
        raise Refusal(
            "too_large",
            "This message is larger than 1 MiB.",
            "Send the fields of the schema alone; the rest would be left at the door.",
            kind=Kind.TOO_LARGE,
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start + 1} is not UTF-8") from None
    _check_depth(text)
    try:
        body = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise _not_json(f"it breaks at line {error.lineno}, column {error.colno}") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise _not_json("a number in it is too long") from None
    if not isinstance(body, dict):
        raise _not_json("its outermost value is not an object")
    return body


def _check_depth(text: str) -> None:
    """Before the parser sees it, since each level costs the parser stack."""
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            raise Refusal(
                "too_deep",
                f"This message is nested deeper than {MAX_DEPTH} levels.",
                "Send the fields of the schema alone; none of them is nested.",
            )


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    known = [name for name in NativeReport.model_fields if names.count(name) > 1]
    # A name that the schema does not know might itself be private.
    said = f"The field {known[0]}" if known else "A field that the schema does not know"
    raise Refusal(
        "duplicate_key",
        f"{said} appears twice in one object, and which of the two counts is anyone's guess.",
        "Send each field once.",
        field=known[0] if known else None,
    )


def _constant(_: str) -> object:
    raise _not_json("NaN and Infinity are not JSON numbers")


def _not_json(cause: str) -> Refusal:
    return Refusal(
        "not_json",
        f"This message is not a JSON object in UTF-8: {cause}.",
        "Send one JSON object as /api/v1/openapi.json describes it.",
    )
