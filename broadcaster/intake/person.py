"""A report that a person types: the form on the board, and `broadcaster report`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Incident, Report, Status
from broadcaster.intake.checks import invalid, refusal
from broadcaster.intake.native import EidoType
from broadcaster.place import generalise

SOURCE = "person"

FORMS = "a hundred block (1200 block of Main St), a crossing (Main St and 2nd Ave) or a street"


class PersonReport(BaseModel):
    """The form's fields. What it does not name is ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, str_strip_whitespace=True
    )

    type: EidoType = Field(description="one of the incident types in the list")
    status: Status = Field(
        default=Status.ACTIVE, description="one of the incident statuses in the list"
    )
    place: str = Field(default="", max_length=400, description=FORMS)
    incident_number: str | None = Field(
        default=None,
        max_length=80,
        description="the number of an incident that is on the board, or leave it empty",
    )


def read(fields: Mapping[str, str]) -> PersonReport:
    """The form as it was sent. Raises Refusal `invalid_field` naming the first field at fault."""
    filled = {name: value for name, value in fields.items() if value.strip()}
    try:
        return PersonReport.model_validate(filled)
    except ValidationError as error:
        raise refusal(PersonReport, error) from None


def report(
    form: PersonReport,
    *,
    about: Incident | None,
    message_id: str,
    new_number: str,
    now: datetime,
) -> Report:
    """What the form says, as a report at `now`.

    `about` is the incident that `form.incident_number` names, looked up by the caller: the
    report then counts as one of that incident's, under its source and number. Without one it
    opens a new incident under `new_number`. Raises Refusal `incident_unknown` or
    `invalid_field`.
    """
    if form.incident_number and about is None:
        raise Refusal(
            "incident_unknown",
            "There is no incident with that number.",
            "Look it up on the board, or leave the number empty to report a new incident.",
            kind=Kind.NOT_FOUND,
            field="incident_number",
        )
    place = generalise(form.place)
    if place is None and (form.place or (about is None and form.status.open)):
        raise invalid("place", FORMS, missing=not form.place)
    return Report(
        source=about.source if about else SOURCE,
        message_id=message_id,
        number=about.number if about else new_number,
        type=form.type,
        status=form.status,
        place=place,
        opened_at=about.opened_at if about else now,
        reported_at=now,
    )
