"""A vendor's export, row by row, through one small map: `maps/<name>.toml`.

The map is the allow-list: a column that it does not name is never looked at.
"""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, model_validator

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Report, Source
from broadcaster.intake.checks import block, invalid, past
from broadcaster.intake.eido_types import TYPES
from broadcaster.place import generalise
from broadcaster.world import Frozen

if TYPE_CHECKING:
    from _csv import Reader

#: No row of a sane export is longer; a longer line is read past, not kept.
MAX_LINE = 1024 * 1024
#: A vendor's type that the map does not list: EIDO's "no code found".
UNLISTED = "NCRNONE"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"epoch_s": timedelta(seconds=1), "epoch_ms": timedelta(milliseconds=1)}
_MAPS = files("broadcaster.intake") / "maps"


class Time(Frozen):
    """Where a time stands and how it is written."""

    #: Several columns are read with one space between them.
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    #: `epoch_ms`, `epoch_s`, or a strptime format; without `%z` it is local time in the map's zone.
    format: str

    @property
    def local(self) -> bool:
        return self.format not in _UNITS and "%z" not in self.format

    def read(self, text: str, zone: ZoneInfo | None) -> datetime:
        """Raises ValueError or OverflowError where `text` is no such time."""
        if unit := _UNITS.get(self.format):
            if not (text.isascii() and text.isdigit()):
                raise ValueError("not digits")
            return _EPOCH + int(text) * unit
        at = datetime.strptime(text, self.format)  # noqa: DTZ007 - its zone comes next
        return (at.replace(tzinfo=zone) if at.tzinfo is None else at).astimezone(UTC)


class Columns(Frozen):
    """Which column feeds which field of the report."""

    number: str
    type: str
    place: str
    #: The vendor's own id of the message. Without one, what is kept of a row is its id.
    id: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    opened_at: Time
    reported_at: Time

    @cached_property
    def names(self) -> list[str]:
        """Every column that is read, once."""
        one = (self.id, self.number, self.type, self.place, self.latitude, self.longitude)
        several = (*one, *self.opened_at.columns, *self.reported_at.columns)
        return list(dict.fromkeys(name for name in several if name))


class Bounds(Frozen):
    """The box, in degrees, within which every position must lie."""

    south: Annotated[float, Field(ge=-90, le=90)]
    north: Annotated[float, Field(ge=-90, le=90)]
    west: Annotated[float, Field(ge=-180, le=180)]
    east: Annotated[float, Field(ge=-180, le=180)]


class Map(Frozen):
    """How one vendor's export becomes reports."""

    name: Source
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    zone: ZoneInfo | None = None
    #: How long after its last report an incident of this source closes by itself.
    closes_after: Annotated[timedelta, Field(gt=timedelta(0))]
    columns: Columns
    bounds: Bounds
    #: The vendor's label → EIDO common incident type. Case does not matter.
    types: dict[str, str]

    @model_validator(mode="after")
    def _sound(self) -> Map:
        if wrong := sorted(set(self.types.values()) - TYPES):
            raise ValueError(f"not EIDO incident types: {', '.join(wrong)}")
        if self.zone is None and (self.columns.opened_at.local or self.columns.reported_at.local):
            raise ValueError("a time without %z needs the map's zone")
        if (self.columns.latitude is None) != (self.columns.longitude is None):
            raise ValueError("latitude and longitude come together")
        return self

    @cached_property
    def code_of(self) -> dict[str, str]:
        return {label.casefold(): code for label, code in self.types.items()}


class Row(NamedTuple):
    """One row of the file: its first line's number, and the report or why there is none."""

    line: int
    outcome: Report | Refusal
    #: The map does not list the vendor's type; the report says `NCRNONE`.
    type_unlisted: bool = False
    #: A place that cannot be said in public; the report has none.
    place_withheld: bool = False


def known() -> list[str]:
    """The names of the maps that come with the program."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _MAPS.iterdir()
        if entry.name.endswith(".toml")
    )


def load(name_or_path: str) -> Map:
    """A map of ours by its name, or any other by its path.

    Raises Refusal `map_unknown` or `map_invalid`.
    """
    ours = name_or_path in known()
    file = _MAPS / f"{name_or_path}.toml" if ours else Path(name_or_path)
    try:
        return Map.model_validate(tomllib.loads(file.read_text("utf-8")))
    except OSError:
        raise Refusal(
            "map_unknown",
            f"There is no map {name_or_path}.",
            f"Use one of {', '.join(known())}, or the path of a TOML file.",
            kind=Kind.NOT_FOUND,
        ) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _map_invalid(name_or_path, f"{where or 'as a whole'}: {first['msg']}") from None
    except ValueError as error:  # not UTF-8 or not TOML
        raise _map_invalid(name_or_path, str(error)) from None


def _map_invalid(name: str, cause: str) -> Refusal:
    return Refusal(
        "map_invalid", f"The map {name} cannot be used: {cause}.", "Compare it with maps/sapd.toml."
    )


def rows(file: BinaryIO, map: Map, now: datetime) -> Iterator[Row]:
    """Each row of an export in UTF-8, read as it is asked for; a bad one stops no other.

    Raises Refusal `columns_missing` or `columns_twice` at once where the header is wrong.
    """
    reader = csv.reader(_lines(file), delimiter=map.delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error:
        header = []
    missing = [name for name in map.columns.names if name not in header]
    twice = [name for name in map.columns.names if header.count(name) > 1]
    if missing or twice:
        raise Refusal(
            "columns_missing" if missing else "columns_twice",
            f"The file's first line {'lacks' if missing else 'repeats'} the columns "
            f"{', '.join(missing or twice)}.",
            f"Export it with the header that the map {map.name} reads, or write another map.",
        )
    return _rows(reader, header, _Reading(map, now))


def _rows(reader: Reader, header: list[str], reading: _Reading) -> Iterator[Row]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
            if not cells:
                continue
            if len(cells) != len(header):
                raise _row_broken(f"has {len(cells)} cells where the header has {len(header)}")
            yield reading.row(line, dict(zip(header, cells, strict=True)))
        except StopIteration:
            return
        except csv.Error:
            yield Row(line, _row_broken("is not CSV"))
        except Refusal as refusal:
            yield Row(line, refusal)


def _row_broken(how: str) -> Refusal:
    return Refusal(
        "row_broken",
        f"The row {how}.",
        "Look for a quote that never closes, a delimiter in an unquoted cell, or a line of more "
        "than 1 MiB.",
    )


class _Reading:
    """One file's map and moment, so that a row needs nothing else."""

    def __init__(self, map: Map, now: datetime) -> None:
        self._map = map
        self._now = now

    def row(self, line: int, cells: dict[str, str]) -> Row:
        """Raises Refusal `invalid_field`, `out_of_bounds` or `in_future`."""
        columns = self._map.columns
        label = _cell(cells, columns.type)
        code = self._map.code_of.get(label.casefold())
        place = generalise(_cell(cells, columns.place))
        latitude, longitude = self._position(cells)
        fields: dict[str, object] = {
            "number": _cell(cells, columns.number),
            "type": code or UNLISTED,
            "place": place,
            "place_withheld": place is None,
            "latitude": latitude,
            "longitude": longitude,
            "opened_at": self._time(cells, columns.opened_at),
            "reported_at": self._time(cells, columns.reported_at),
        }
        fields |= {
            "source": self._map.name,
            "message_id": _cell(cells, columns.id) if columns.id else _digest(fields),
            "closes_after": self._map.closes_after,
        }
        try:
            report = Report.model_validate(fields)
        except ValidationError as error:
            # All else was made here: only what a vendor numbers can still be wrong.
            field = error.errors(include_input=False)[0]["loc"][0]
            column = columns.id if field == "message_id" and columns.id else columns.number
            raise invalid(column, "printable ASCII, up to 80 characters") from None
        return Row(line, report, type_unlisted=code is None, place_withheld=place is None)

    def _time(self, cells: dict[str, str], time: Time) -> datetime:
        named = " ".join(time.columns)
        text = " ".join(_cell(cells, column) for column in time.columns)
        try:
            at = time.read(text, self._map.zone)
        except (ValueError, OverflowError):
            raise invalid(named, f"a time written as {time.format}") from None
        return past(named, at, self._now)

    def _position(self, cells: dict[str, str]) -> tuple[float | None, float | None]:
        columns, bounds = self._map.columns, self._map.bounds
        if columns.latitude is None or columns.longitude is None:
            return None, None
        if not cells[columns.latitude].strip() and not cells[columns.longitude].strip():
            return None, None
        return (
            _degrees(cells, columns.latitude, bounds.south, bounds.north),
            _degrees(cells, columns.longitude, bounds.west, bounds.east),
        )


def _cell(cells: dict[str, str], column: str) -> str:
    text = cells[column].strip()
    if not text:
        raise invalid(column, "text that is not empty", missing=True)
    if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text):
        raise invalid(column, "text in UTF-8")
    return text


def _degrees(cells: dict[str, str], column: str, low: float, high: float) -> float:
    try:
        degrees = float(_cell(cells, column))
    except ValueError:
        raise invalid(column, "degrees, such as 29.418571") from None
    if not low <= degrees <= high:  # not a number is outside as well
        raise Refusal(
            "out_of_bounds",
            f"The position in {column} lies outside the bounds of the map.",
            "Check that latitude and longitude are not swapped, and the map's bounds.",
            field=column,
        )
    return block(degrees)


def _digest(fields: dict[str, object]) -> str:
    """The same for the same row in every export, and another once anything kept has changed.

    It is made of what is kept, so that nobody can find an exact address by guessing at it.
    """
    kept = "\0".join(map(str, fields.values()))
    return hashlib.sha256(kept.encode()).hexdigest()[:32]


def _lines(file: BinaryIO) -> Iterator[str]:
    """The file's lines; bytes that are not UTF-8 stay marked, for the cell that holds them."""
    first = True
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            line = b"too long\n"
        yield line.decode("utf-8-sig" if first else "utf-8", "surrogateescape")
        first = False
