"""What every way in checks alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ValidationError

from broadcaster.errors import Refusal

#: How far ahead of ours another system's clock may be.
SKEW = timedelta(minutes=5)


def invalid(field: str, must: str, *, missing: bool = False) -> Refusal:
    """`field` cannot be used; `must` says what it has to be, in words that follow "as".

    The value is never repeated: it may be private.
    """
    wrong = "is missing" if missing else "cannot be used as it was sent"
    return Refusal(
        "invalid_field", f"The field {field} {wrong}.", f"Send {field} as {must}.", field=field
    )


def refusal(model: type[BaseModel], error: ValidationError) -> Refusal:
    """What `error` says of the first field at fault, in the words of that field's description."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    name = str(first["loc"][0])
    must = model.model_fields[name].description or ""
    return invalid(name, must, missing=first["type"] == "missing")


#: Nothing that is reported happened before it.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def past(field: str, at: datetime, now: datetime) -> datetime:
    """`at`, unless it lies in the future, or before anybody dispatched by computer.

    Raises Refusal `in_future` or `too_old`: some systems send the year 1 where they know no time.
    """
    if at < EARLIEST:
        raise Refusal(
            "too_old",
            f"The time in {field} is before 1970, which no report is.",
            "Send the real time, or correct what the sender writes where it knows none.",
            field=field,
        )
    if at - now > SKEW:
        raise Refusal(
            "in_future",
            f"The time in {field} is more than 5 minutes in the future.",
            "Check the sender's clock and its time zone, then send the report again.",
            field=field,
        )
    return at


def block(degrees: float) -> float:
    """Rounded to 0.001 degree, about a block: an exact address stops here."""
    return round(degrees, 3) + 0.0  # the addition turns -0.0 into 0.0
