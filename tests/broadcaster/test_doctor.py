"""What the doctor finds on PostgreSQL: as whom we sign in, and what time it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from broadcaster import doctor
from broadcaster.doctor import Finding
from broadcaster.ledger.rights import Rights
from broadcaster.settings import Settings
from streams.embedded import free_port
from tests.postgres import Database, Server


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    with postgres.database() as made:
        yield made


def examined(database: Database, role: str, home: Path) -> dict[str, Finding]:
    settings = Settings.model_validate({"home": home, "ledger_url": database.url(role)})
    return {each.what: each for each in asyncio.run(doctor.examine(settings))}


@pytest.mark.parametrize(
    ("role", "ok", "said"),
    [
        ("broadcaster_desk", True, "a desk's"),
        ("broadcaster_worker", True, "a worker's"),
        ("postgres", False, "owns the tables"),
    ],
)
def test_on_postgres_it_knows_our_role(
    database: Database, tmp_path: Path, role: str, ok: bool, said: str
) -> None:
    found = examined(database, role, tmp_path)
    assert found["role"].ok is ok
    assert role in found["role"].told and said in found["role"].told
    others = {name: each.ok for name, each in found.items() if name != "role"}
    assert others == {**dict.fromkeys(others, True), "streams": False}, "nobody runs them here"
    assert {"home folder", "disk", "ledger", "clock", "record", "problems"} <= set(others)


def test_on_postgres_a_right_too_much_is_found(database: Database, tmp_path: Path) -> None:
    with psycopg.connect(database.url()) as owner:
        owner.execute("GRANT INSERT ON attempts TO broadcaster_desk")
    found = examined(database, "broadcaster_desk", tmp_path)["role"]
    assert not found.ok and "could publish" in found.told


def test_on_postgres_a_ledger_that_is_away_is_told(database: Database, tmp_path: Path) -> None:
    gone = Database("not_there", database.port)
    found = examined(gone, "broadcaster_desk", tmp_path)["ledger"]
    assert not found.ok and "not_there" in found.told


def test_a_role_without_rights_is_sent_to_the_owner() -> None:
    found = doctor.role(Rights("somebody", owns=False, decides=False, releases=False))
    assert not found.ok and "ledger apply" in found.told


@pytest.mark.parametrize(
    ("seconds", "ok", "said"),
    [(0.4, True, "0.40 s"), (-1.9, True, "1.90 s"), (3, False, "3.0 s behind"),
     (-90, False, "90.0 s ahead of")],
)  # fmt: skip
def test_two_clocks_may_be_two_seconds_apart(seconds: float, ok: bool, said: str) -> None:
    found = doctor.clock(timedelta(seconds=seconds))
    assert found.ok is ok and said in found.told


async def test_a_broker_that_is_away_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "BROKER_PATIENCE", 0.5)
    settings = Settings.model_validate({"home": tmp_path, "kafka": f"127.0.0.1:{free_port()}"})
    found = {each.what: each for each in await doctor.examine(settings)}
    assert not found["broker"].ok and "127.0.0.1" in found["broker"].told


@pytest.mark.parametrize(
    ("days", "ok", "said"),
    [(-1, False, "not valid before"), (0, True, "holds until 2027-03-01"), (59, True, "holds"),
     (61, False, "in 29 days"), (90, False, "ended on 2027-03-01")],
)  # fmt: skip
def test_the_certificate_of_cap_is_replaced_before_it_ends(days: int, ok: bool, said: str) -> None:
    begins, ends = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 3, 1, tzinfo=UTC)
    found = doctor.certificate(begins, ends, begins + timedelta(days=days))
    assert found.ok is ok and said in found.told


async def test_it_says_whether_cap_is_signed(tmp_path: Path) -> None:
    async def found(**more: str) -> Finding:
        settings = Settings.model_validate({"home": tmp_path, **more})
        return next(each for each in await doctor.examine(settings) if "CAP" in each.what)

    unset = await found()
    assert unset.ok and "unsigned" in unset.told
    half = await found(cap_key="a key without its certificate")
    assert not half.ok and "cap_signature_unusable" in half.told
