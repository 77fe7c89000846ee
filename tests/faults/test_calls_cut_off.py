"""`kill -9` in the middle of a call: the person is called again, and the record tells both calls.

The whole of `broadcaster up`; the department's app is a program of its own that does not dedupe.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any

from tests.connected.installation import COMMANDER, Embedded, Receiver, short_folder, until

#: What comes a round later (`calling.AGAIN`), with the restart.
A_ROUND = 120.0


async def cut_off(place: str) -> tuple[list[dict[str, Any]], int]:
    """Has the process killed there while it tells a Commander that command was recorded.

    Answers what the record says of the calls, oldest first, and how often the app took one.
    """
    with short_folder() as folder:
        app, armed = Receiver("app", False, folder / "app.log"), folder / "failpoints"
        armed.write_text(f"{place}:webhook\n")
        app.start()
        calls = {"app": {"url": app.setting["url"], "secret": app.secret}}
        try:
            async with Embedded.fresh(calls=json.dumps(calls), call_networks='["127.0.0.1/32"]',
                                      failpoints=armed, start=False) as at:  # fmt: skip
                await at.start()
                code, _, said = await at.run("roster", "reach", COMMANDER, "webhook", "c.tester")
                assert code == 0, said
                await at.commanded((await at.send_report(at.report())).body["incident_id"])

                async def told_again() -> bool:
                    return any(each["public"].get("outcome") == "accepted" for each in told(at))

                await until("the Commander is called again", told_again, A_ROUND)
                assert at.killed() == ["child"] and armed.read_text() == ""
                assert (await at.order("verify"))["ok"]
                return told(at), len(app.acted())
        finally:
            app.end()


def told(at: Embedded) -> list[dict[str, Any]]:
    """The record's entries about the calls."""
    with closing(sqlite3.connect(f"file:{at.home / 'ledger.db'}?mode=ro", uri=True)) as ledger:
        rows = ledger.execute(
            "SELECT body FROM entries WHERE kind IN ('ConcernedCalled', 'CallEnded') ORDER BY at"
        )
        return [json.loads(body) for (body,) in rows]


async def test_whoever_was_being_called_is_called_again() -> None:
    before, after = await asyncio.gather(cut_off("before_call"), cut_off("after_call"))
    for entries, _ in (before, after):
        assert [(each["kind"], each["public"]["attempt"]) for each in entries] == [
            ("ConcernedCalled", 1), ("ConcernedCalled", 2), ("CallEnded", 2),
        ]  # fmt: skip
    assert (before[1], after[1]) == (1, 2), "nothing is lost; what had left may come twice"
