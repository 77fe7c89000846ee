"""A vendor's export of calls, in the shape of a real one: made, since the corpus is not ours."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

COLUMNS = (
    "Date Time Address Zipcode Category ProblemType PatrolDistrict Substation IncidentNumber LAT "
    "LON ResponseDate URL Color About Year Month"
).split()


def write_export(file: Path, count: int) -> None:
    """So many calls, map `sapd`; one in thirty is drafted."""
    began = datetime(2024, 10, 1, tzinfo=UTC)
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(COLUMNS)
        for number in range(count):
            at = began + timedelta(seconds=25 * number)
            kind = "Major Accident" if number % 30 == 0 else "Disturbance"
            rows.writerow([
                f"{at:%m/%d/%y}", f"{at:%H:%M:%S}", f"{number % 90 + 10}00 Bandera Rd", "78237",
                "Other Calls", kind, "5110", "WEST", f"SAPD-2024-{number:07}", "29.41", "-98.55",
                str(int(at.timestamp() * 1000)), "", "", "", "24", "10",
            ])  # fmt: skip
