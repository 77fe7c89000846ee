"""A vendor's export, row by row."""

from __future__ import annotations

import csv
import io
import logging
import random
import time
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Handling, Report, handling
from broadcaster.intake import csv_map
from broadcaster.intake.csv_map import Map, Row

NOW = datetime(2026, 11, 22, 22, 2, 30, tzinfo=UTC)
SAPD = csv_map.load("sapd")
HEADER = (
    "Date,Time,Address,Zipcode,Category,ProblemType,PatrolDistrict,Substation,IncidentNumber,"
    "LAT,LON,ResponseDate,URL,Color,About,Year,Month"
)
GOOD = {
    "Date": "10/01/24", "Time": " 8:31:55", "Address": "900 S San Manuel",
    "ProblemType": "Animal Related", "IncidentNumber": "SAPD-2024-1377791",
    "LAT": "29.418571", "LON": "-98.558526", "ResponseDate": "1727789515000",
}  # fmt: skip

LOCAL = """
name = "other"
delimiter = ";"
zone = "America/Los_Angeles"
closes_after = "PT30M"
[columns]
id = "Id"
number = "No"
type = "Kind"
place = "Where"
opened_at = { columns = ["Day", "Hour"], format = "%m/%d/%Y %H:%M" }
reported_at = { columns = ["Sent"], format = "%Y-%m-%dT%H:%M:%S%z" }
[bounds]
south = 33
north = 35
west = -118
east = -116
[types]
"Gas Leak" = "GASLEAK"
"""


def a_row(**cells: str) -> str:
    out = io.StringIO()
    csv.DictWriter(out, HEADER.split(","), restval="").writerow(GOOD | cells)
    return out.getvalue()


def read(*lines: str | bytes, map: Map = SAPD, header: str = HEADER) -> list[Row]:
    raw = b"".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return list(csv_map.rows(io.BytesIO(header.encode() + b"\n" + raw), map, NOW))


def report(row: Row) -> Report:
    assert isinstance(row.outcome, Report), row.outcome
    return row.outcome


def refusal(row: Row) -> Refusal:
    assert isinstance(row.outcome, Refusal)
    return row.outcome


def other_map(tmp_path: Path, text: str = LOCAL) -> Map:
    file = tmp_path / "other.toml"
    file.write_text(text, "utf-8")
    return csv_map.load(str(file))


def test_a_row_becomes_a_report() -> None:
    (row,) = read(a_row())
    told = report(row)
    assert row == Row(2, told)
    assert (told.source, told.number, told.type) == ("sapd", "SAPD-2024-1377791", "ANIMAL")
    assert told.place == "900 block of S San Manuel"
    assert (told.latitude, told.longitude) == (29.419, -98.559)
    assert told.opened_at == told.reported_at == datetime(2024, 10, 1, 13, 31, 55, tzinfo=UTC)
    assert told.closes_after == timedelta(hours=2)


def test_the_message_id_follows_what_is_kept() -> None:
    ids = [
        report(row).message_id
        for row in read(
            a_row(),
            a_row(Color="Red", Time=" 9:00:00"),  # not kept
            a_row(Address="950 S San Manuel"),  # not kept either: the same block
            a_row(Address="1000 S San Manuel"),
            a_row(ProblemType="Fire"),
        )
    ]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == 3


def test_local_times_an_id_of_its_own_and_another_delimiter(tmp_path: Path) -> None:
    (row,) = read(
        "g-1;7;gas leak;12 Oak St;11/22/2026;13:58;2026-11-22T14:00:00-08:00\n",
        map=other_map(tmp_path),
        header="Id;No;Kind;Where;Day;Hour;Sent",
    )
    told = report(row)
    assert (told.message_id, told.number, told.type) == ("g-1", "7", "GASLEAK")
    assert told.opened_at == datetime(2026, 11, 22, 21, 58, tzinfo=UTC)
    assert told.reported_at == datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
    assert told.latitude is None


def test_an_unlisted_type_is_kept_and_counted() -> None:
    (row,) = read(a_row(ProblemType="Zebedee"))
    assert row.type_unlisted and report(row).type == "NCRNONE"
    assert "Zebedee" not in repr(row)


def test_a_place_that_cannot_be_said_is_withheld_and_counted() -> None:
    (row,) = read(a_row(Address="SAFD TRAINING ACADEMY"))
    assert row.place_withheld and report(row).place is None


def test_no_position_is_no_fault() -> None:
    (row,) = read(a_row(LAT="", LON=" "))
    assert report(row).latitude is None


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("IncidentNumber", " ", "invalid_field"),
        ("IncidentNumber", "a\x00b", "invalid_field"),
        ("IncidentNumber", "x" * 81, "invalid_field"),
        ("ProblemType", "", "invalid_field"),
        ("Address", "", "invalid_field"),
        ("LAT", "", "invalid_field"),
        ("LAT", "north", "invalid_field"),
        ("LAT", "nan", "out_of_bounds"),
        ("LAT", "-98.558526", "out_of_bounds"),
        ("LON", "inf", "out_of_bounds"),
        ("ResponseDate", "10/01/24", "invalid_field"),
        ("ResponseDate", "-1", "invalid_field"),
        ("ResponseDate", "1" * 300, "invalid_field"),
        ("ResponseDate", "1" * 5000, "invalid_field"),
        ("ResponseDate", "1795386451000", "in_future"),
    ],
)
def test_a_bad_cell_refuses_its_row_alone(column: str, value: str, code: str) -> None:
    before, bad, after = read(a_row(), a_row(**{column: value}), a_row())
    assert report(before) == report(after)
    assert (bad.line, refusal(bad).code, refusal(bad).field) == (3, code, column)
    assert column in refusal(bad).why


@pytest.mark.parametrize(
    ("opened", "sent", "column"),
    [
        ("01/01/0001", "2026-11-22T14:00:00-08:00", "Day Hour"),
        ("11/22/2026", "0001-01-01T00:00:00-08:00", "Sent"),
    ],
)
def test_a_time_before_anybody_dispatched_by_computer(
    tmp_path: Path, opened: str, sent: str, column: str
) -> None:
    (row,) = read(
        f"g-1;7;gas leak;12 Oak St;{opened};13:58;{sent}\n",
        map=other_map(tmp_path),
        header="Id;No;Kind;Where;Day;Hour;Sent",
    )
    assert (refusal(row).code, refusal(row).field) == ("too_old", column)


def test_five_minutes_ahead_are_allowed() -> None:
    ahead = NOW + timedelta(minutes=5)
    (row,) = read(a_row(ResponseDate=str(int(ahead.timestamp() * 1000))))
    assert report(row).reported_at == ahead


@pytest.mark.parametrize(
    "bad",
    [
        "one,two\n",
        a_row().replace("\n", ",more\n"),
        "x" * 200_000 + "\n",
        "x" * (2 * csv_map.MAX_LINE) + "\n",
        "x" * csv_map.MAX_LINE + "\n",
        '"' + "x" * 200_000 + "\n",
    ],
    ids=["short", "long", "cell", "line", "edge", "quote"],
)
def test_a_broken_row_stops_no_other(bad: str) -> None:
    before, broken, after = read(a_row(), bad, a_row())
    assert report(before) == report(after)
    assert (broken.line, refusal(broken).code) == (3, "row_broken")
    assert after.line == 4


def test_bytes_that_are_not_utf_8_matter_only_where_they_are_read() -> None:
    unread, bad = read(
        a_row(About="@@").encode().replace(b"@@", b"\xff"),
        a_row(Address="@@").encode().replace(b"@@", b"\xff"),
    )
    assert report(unread)
    assert refusal(bad).field == "Address" and "UTF-8" in refusal(bad).do


def test_blank_lines_quoted_lines_and_a_byte_order_mark() -> None:
    rows = read("\r\n", a_row(About="one\ntwo"), a_row(), header="\ufeff" + HEADER)
    assert [row.line for row in rows] == [3, 5]
    assert all(report(row) for row in rows)


@pytest.mark.parametrize(
    ("header", "code", "named"),
    [
        ("", "columns_missing", "IncidentNumber, ProblemType, Address, LAT, LON, ResponseDate"),
        (HEADER.replace("LAT,", "Zebedee,"), "columns_missing", "lacks the columns LAT"),
        (HEADER.replace("Color", "LON"), "columns_twice", "repeats the columns LON"),
        ("x" * 200_000, "columns_missing", "IncidentNumber"),
    ],
)
def test_a_wrong_header_refuses_the_file_at_once(header: str, code: str, named: str) -> None:
    with pytest.raises(Refusal) as caught:
        csv_map.rows(io.BytesIO(header.encode() + b"\n" + a_row().encode()), SAPD, NOW)
    assert caught.value.code == code
    assert named in caught.value.why and "Zebedee" not in str(caught.value)


def test_an_unread_cell_appears_nowhere(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    unread = [name for name in HEADER.split(",") if name not in SAPD.columns.names]
    words = {name: f"zebedee{n}" for n, name in enumerate(unread)}
    spoiled: Iterable[dict[str, str]] = (
        {}, {"IncidentNumber": ""}, {"LAT": "zebedee-lat"}, {"ResponseDate": "zebedee-when"},
        {"Address": "zebedee lives here"}, {"IncidentNumber": "zebedee\x00"},
    )  # fmt: skip
    rows = read(*(a_row(**words, **cells) for cells in spoiled), "zebedee,1\n")
    texts = [repr(row) + str(row.outcome) + repr(vars(row.outcome)) for row in rows]
    texts += [caplog.text, *capsys.readouterr()]
    assert len(rows) == 7
    assert not any("zebedee" in text for text in texts)


def test_a_file_is_read_as_it_is_asked_for() -> None:
    class Endless(io.RawIOBase):
        """A file without an end, that counts what was read of it."""

        lines = 0

        def readline(self, size: int | None = -1) -> bytes:
            self.lines += 1
            return (HEADER + "\n" if self.lines == 1 else a_row()).encode()

    file = Endless()
    rows = csv_map.rows(file, SAPD, NOW)  # type: ignore[arg-type]
    tracemalloc.start()
    for _ in range(2_000):
        assert report(next(rows))
    assert file.lines == 2_001
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"GASLEAK"', '"GAS"', "not EIDO incident types: GAS"),
        ("zone =", "# zone =", "needs the map's zone"),
        ('"America/Los_Angeles"', '"Mars/Olympus"', "zone"),
        ('place = "Where"', "", "columns.place"),
        ('place = "Where"', 'place = "Where"\nlatitude = "Lat"', "come together"),
        ('place = "Where"', 'place = "Where"\nnotes = "Notes"', "columns.notes"),
        ("PT30M", "PT0S", "closes_after"),
        ('";"', '";;"', "delimiter"),
        ("[types]", "[types", "line 18"),
    ],
)
def test_a_map_that_cannot_be_used(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(Refusal) as caught:
        other_map(tmp_path, LOCAL.replace(old, new))
    assert caught.value.code == "map_invalid"
    assert told in caught.value.why


@pytest.mark.parametrize("name", ["nobody", "maps/sapd", "/nowhere/at/all.toml", "."])
def test_a_map_that_is_not_there(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        csv_map.load(name)
    assert (caught.value.code, caught.value.kind) == ("map_unknown", Kind.NOT_FOUND)
    assert "sapd" in caught.value.do


@given(st.binary(max_size=400) | st.text(alphabet='",\n\r0a').map(str.encode))
def test_arbitrary_rows_are_refusals(raw: bytes) -> None:
    assert all(refusal(row).why for row in read(raw))


@given(st.dictionaries(st.sampled_from(SAPD.columns.names), st.text(max_size=40)))
def test_arbitrary_cells_are_a_report_or_a_refusal(cells: dict[str, str]) -> None:
    for row in read(a_row(**cells).encode("utf-8", "surrogatepass")):
        assert isinstance(row.outcome, Refusal) or row.outcome.body_digest()


@given(st.binary(max_size=200))
def test_an_arbitrary_file_is_refused(raw: bytes) -> None:
    with pytest.raises(Refusal):
        csv_map.rows(io.BytesIO(raw), SAPD, NOW)


@pytest.fixture(scope="session")
def october(corpus: Path) -> Path:
    return corpus / "cad_sapd/sapd_24-10.csv"


def of_file(file: Path) -> list[Row]:
    with file.open("rb") as export:
        return list(csv_map.rows(export, SAPD, NOW))


def test_a_real_month(october: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.perf_counter()
    rows = of_file(october)
    seconds = time.perf_counter() - begun
    told = [row.outcome for row in rows if isinstance(row.outcome, Report)]
    refused = [row for row in rows if isinstance(row.outcome, Refusal)]
    assert (len(rows), len(told)) == (20_530, 20_528)
    assert [(row.line, refusal(row).field) for row in refused] == [
        (121, "IncidentNumber"),
        (17_147, "IncidentNumber"),
    ]
    assert not any(row.type_unlisted for row in rows)
    assert sum(row.place_withheld for row in rows) <= 700
    assert len({each.message_id for each in told}) == len({each.number for each in told}) == 20_528
    assert sum(handling(each.type) is Handling.AUTO_DRAFT for each in told) == 712
    assert len(rows) / seconds > 2_000  # a tenth of what an idle machine does
    with capsys.disabled():
        print(f"\n{len(rows)} rows of sapd read in {seconds:.2f} s: {len(rows) / seconds:,.0f}/s")


def test_the_map_lists_every_label_of_a_real_month_and_no_other(october: Path) -> None:
    with october.open(newline="", encoding="utf-8") as export:
        assert {row["ProblemType"] for row in csv.DictReader(export)} == set(SAPD.types)


def test_response_date_is_the_wall_clock_of_san_antonio(october: Path) -> None:
    """Why the map reads ResponseDate: Time leaves out AM and PM in most rows."""
    with october.open(newline="", encoding="utf-8") as export:
        rows = list(csv.DictReader(export))
    for row in random.Random(1).sample(rows, 500):
        at = datetime.fromtimestamp(int(row["ResponseDate"]) / 1000, UTC) - timedelta(hours=5)
        assert at.strftime("%m/%d/%y") == row["Date"]
        assert row["Time"].strip() in (
            at.strftime("%I:%M:%S %p"),
            at.strftime("%I:%M:%S").lstrip("0"),
        )


def test_shuffled_the_same_reports(october: Path, tmp_path: Path) -> None:
    header, *lines = october.read_bytes().splitlines(keepends=True)
    random.Random(2).shuffle(lines)
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_bytes(b"".join([header, *lines]))
    kept = {row.outcome for row in of_file(october) if isinstance(row.outcome, Report)}
    again = {row.outcome for row in of_file(shuffled) if isinstance(row.outcome, Report)}
    assert kept == again
