"""What must not be, planted in a good run: the auditor proves itself on it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.connected.installation import Json
from tests.faults.judging import judged

Case = dict[str, Any]


def copied(good: Path, folder: Path) -> Path:
    """A run, to be spoiled: its ledger without what guards it."""
    case = json.loads(good.read_text())
    for each in case["receivers"]:
        each["log"] = shutil.copy(each["log"], folder)
    case["ledger"] = shutil.copy(case["ledger"], folder)
    with sqlite3.connect(case["ledger"]) as ledger:
        for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            ledger.execute(f"DROP TRIGGER {name}")
    ledger.close()
    (folder / "case.json").write_text(json.dumps(case))
    return folder / "case.json"


def finds(what: str, good: Path, folder: Path) -> Json:
    """Plants it in a copy of a good run, and fails unless it is found; gives the figures."""
    copy = copied(good, folder)
    spoil, said = SPOILED[what]
    case = json.loads(copy.read_text())
    spoil(case)
    copy.write_text(json.dumps(case))
    found, figures = judged(copy)
    assert any(said in each for each in found), (what, found)
    return figures


def sql(statement: str) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        with sqlite3.connect(case["ledger"]) as ledger:
            assert ledger.execute(statement).rowcount > 0
        ledger.close()

    return spoil


def log(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        (file,) = (Path(each["log"]) for each in case["receivers"] if each["name"] == name)
        lines = file.read_text().splitlines()
        changed = change(lines)
        assert changed != lines
        file.write_text("".join(f"{line}\n" for line in changed))

    return spoil


def acted(lines: list[str]) -> list[str]:
    return [line for line in lines if json.loads(line)["is"] == "acted"]


def item(number: int, **fields: str) -> Callable[[Case], None]:
    return lambda case: case["feed"][number].update(fields)


FIRST_POST = "(SELECT id FROM posts WHERE channel = 'county' LIMIT 1)"

SPOILED: dict[str, tuple[Callable[[Case], None], str]] = {
    "a byte of an entry": (
        sql("UPDATE entries SET body = replace(body, 'GASLEAKO', 'GASLEAKI') WHERE kind = "
            "'IncidentOpened'"), "record: the hash of entry"),
    "a private value": (
        sql("UPDATE private_values SET value = value || '.' WHERE field = 'place'"),
        "record: the private values of entry"),
    "an entry taken out": (sql("DELETE FROM seals WHERE number = 5"), "record: entry 5 is missing"),
    "an entry never sealed": (
        sql("DELETE FROM seals WHERE number = (SELECT max(number) FROM seals)"),
        "was never sealed"),
    "a report lost": (
        sql("DELETE FROM reports WHERE rowid = 1"), "accepted, and not in the ledger"),
    "a report not compiled": (sql("UPDATE reports SET compiled_at = NULL"), "was not compiled"),
    "a decision lost": (lambda case: case["decisions"].append("x"), "answered, and not in"),
    "a message left": (
        sql("INSERT INTO outbox (topic, key, value, message_id, at) "
            "VALUES ('t', 'k', '', 'm', '')"),
        "left in the outbox"),
    "a decision not released": (
        sql("UPDATE decisions SET verdict = 'declined' WHERE rowid = 1"), "was released 1 times"),
    "other words than approved": (
        sql("""UPDATE revisions SET body = replace(body, '"text":"EXERCISE', '"text":"GUESS')"""),
        "approved were other words"),
    "approved by who compiled": (
        sql("UPDATE decisions SET person_id = (SELECT compiled_by FROM revisions)"),
        "who compiled it approved it"),
    "a channel too many": (
        sql("""UPDATE revisions SET body = replace(body, '"channels":["public_page",',
            '"channels":[')"""), "posts for"),
    "other words on the page": (item(0, content_text="!"), "on the page stand other words"),
    "a post twice on the page": (
        lambda case: case["feed"].append(case["feed"][0]), "on the page 2 times"),
    "a post not on the page": (
        lambda case: case["feed"].pop(), "in the ledger, and not on the page"),
    "a post of nobody's on the page": (
        item(0, id="urn:uuid:0"), "on the page, and not in the ledger"),
    "acted twice": (log("county", lambda lines: lines + acted(lines)[:1]), "acted 2 times"),
    "acted twice, blind": (log("school", lambda lines: lines + acted(lines)[:1]), "acted 2 times"),
    "acted never": (
        log("county", lambda lines: [each for each in lines if each != acted(lines)[0]]),
        "never acted"),
    "acted never, blind": (
        log("school", lambda lines: [each for each in lines if each != acted(lines)[0]]),
        "never acted"),
    "out of order": (log("school", lambda lines: lines[::-1]), "came after a later one"),
    "unsigned": (
        log("county", lambda lines: [each.replace('"verified": true', '"verified": false')
                                     for each in lines]), "came unsigned"),
    "other bytes": (
        log("county", lambda lines: [each.replace('"sha256": "', '"sha256": "0')
                                     for each in lines]),
        "came in other words"),
    "a post that hangs": (
        sql(f"UPDATE posts SET state = 'waiting' WHERE id = {FIRST_POST}"), "is waiting"),
    "in doubt, and nobody was told": (
        sql("UPDATE posts SET state = 'in doubt' WHERE channel = 'school'"), "is in doubt"),
    "replaced by nothing": (
        sql(f"UPDATE posts SET state = 'replaced' WHERE id = {FIRST_POST}"), "is replaced"),
    "an attempt that hangs": (
        sql("UPDATE attempts SET ended_at = NULL"), "an attempt that nobody ended"),
    "sent again though in doubt": (
        sql("INSERT INTO attempts SELECT post_id, 0, started_at, send_before, lease_epoch, "
            "ended_at, 'InDoubt', NULL, NULL FROM attempts JOIN posts ON posts.id = post_id "
            "WHERE channel = 'school'"), "was sent again though nobody knew"),
}  # fmt: skip
