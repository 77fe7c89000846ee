"""What migrations do with what an earlier version wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, bindparam, create_engine, make_url, text

from broadcaster.ledger.migrate import MIGRATIONS, upgrade
from broadcaster.ledger.schema import Instant
from tests.story import NOW


def made(connection: Connection, version: str) -> None:
    """The tables as a version had them, in which rows need no others beside them."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        connection.execute(text("SET session_replication_role = replica"))
        connection.commit()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


@contextlib.contextmanager
def old(tmp_path: Path, url: str | None, version: str) -> Iterator[Connection]:
    """A ledger as it was at a version, and empty."""
    where = make_url(url).set(drivername="postgresql+psycopg") if url else None
    engine = create_engine(where or f"sqlite:///{tmp_path / 'old.db'}")
    with engine.connect() as connection:
        made(connection, version)
        yield connection
    engine.dispose()


def test_0023_what_was_seen_of_what_stands_is_its_first_alarm(
    tmp_path: Path, url: str | None
) -> None:
    """What was seen of something that is over by now is no alarm that could stand."""
    at = bindparam("at", NOW, type_=Instant)
    with old(tmp_path, url, "0020") as connection:
        for post, errand, found in [
            ("p1", "read back", "changed"), ("p2", "retract", "stays"),
            ("p3", "read back", "as approved"),
        ]:  # fmt: skip
            connection.execute(
                text("INSERT INTO errands (post_id, errand, since, reads, tries, found) "
                     "VALUES (:post, :errand, :at, 1, 0, :found)").bindparams(at),
                {"post": post, "errand": errand, "found": found},
            )  # fmt: skip
        for post in ("p1", "p3"):
            connection.execute(
                text("INSERT INTO alarms_seen (post_id, found, by, at) "
                     "VALUES (:post, 'changed', 'reyes', :at)").bindparams(at),
                {"post": post},
            )  # fmt: skip
        connection.commit()
        upgrade(connection)
        alarms = connection.execute(text("SELECT post_id, alarm FROM errands ORDER BY post_id"))
        assert [tuple(row) for row in alarms] == [("p1", 1), ("p2", 1), ("p3", 0)]
        seen = connection.execute(
            text("SELECT post_id, errand, alarm, by, at FROM alarms_seen").columns(at=Instant())
        )
        assert [tuple(row) for row in seen] == [("p1", "read back", 1, "reyes", NOW)]


def test_0024_a_lock_that_was_over_stays_over(tmp_path: Path, url: str | None) -> None:
    """Nobody's answer that would prove its end was kept then."""
    with old(tmp_path, url, "0023") as connection:
        for person, ended in (("ortiz", NOW), ("lee", None)):
            connection.execute(
                text("INSERT INTO locks (person_id, at, ended_at) VALUES (:person, :at, :ended)")
                .bindparams(bindparam("at", NOW, type_=Instant),
                            bindparam("ended", ended, type_=Instant)),
                {"person": person},
            )  # fmt: skip
        connection.commit()
        upgrade(connection)
        kept = connection.execute(text("SELECT person_id, proof FROM locks"))
        assert [tuple(row) for row in kept] == [("lee", None)]


def test_0029_of_what_somebody_was_told_they_are_not_told_again(
    tmp_path: Path, url: str | None
) -> None:
    at = bindparam("at", NOW, type_=Instant)
    with old(tmp_path, url, "0023") as connection:
        for name, ends, warned in [("told", "2026-11-29", 7), ("new", "2027-11-29", None)]:
            connection.execute(
                text("INSERT INTO accounts (channel, kind, title, shape, serial, expires_on, "
                     "warned, added_by, added_at, changed_by, changed_at) VALUES (:name, 'ntfy', "
                     "'City', '{}', 1, :ends, :warned, 'chief', :at, 'chief', :at)").bindparams(at),
                {"name": name, "ends": ends, "warned": warned},
            )  # fmt: skip
        connection.commit()
        upgrade(connection)
        told = connection.execute(text("SELECT channel, ends, days FROM credential_warnings"))
        assert [tuple(row) for row in told] == [("told", "2026-11-29", 7)]
        kept = connection.execute(text("SELECT channel, expires_on FROM accounts ORDER BY channel"))
        assert [tuple(row) for row in kept] == [("new", "2027-11-29"), ("told", "2026-11-29")]
