"""The department's app is away, and the process that tells it is killed: it hears of each change of
a request's state all the same, in order, and nothing waits for it meanwhile.

The whole of `broadcaster up`; the app is a program of its own, which proves each signature.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from broadcaster.informing import change_id
from tests.connected.installation import Embedded, Receiver, short_folder, until


async def test_what_an_app_missed_it_is_told_in_order_when_it_is_back() -> None:
    with short_folder() as folder:
        app = Receiver("app", False, folder / "app.log")
        app.start()
        calls = {"app": {"url": app.setting["url"], "secret": app.secret}}
        try:
            async with Embedded.fresh(
                calls=json.dumps(calls), call_networks='["127.0.0.1/32"]'
            ) as at:
                app.end()
                request = await at.submit(await at.opened())

                async def asked() -> bool:
                    return "asked" in changes(at, request["id"]).values()

                await until("whoever commands was asked", asked)
                assert (await at.decide(request)).good
                await at.settled(request)
                at.kill("child")
                await at.ready()
                app.start()
                wanted = changes(at, request["id"])
                assert list(wanted.values()) == ["opened", "asked", "approved", "released"]

                async def heard() -> bool:
                    return len(app.acted()) == len(wanted)

                await until("the app has heard of all", heard, 100)
                assert list(app.acted().items()) == [(each, 1) for each in wanted]
        finally:
            app.end()


def changes(at: Embedded, request_id: str) -> dict[str, str]:
    """A request's states by the change's id, in order, as the ledger has them."""
    with closing(sqlite3.connect(f"file:{at.home / 'ledger.db'}?mode=ro", uri=True)) as ledger:
        rows = ledger.execute(
            "SELECT id, state FROM request_changes WHERE request_id = ? ORDER BY id", [request_id]
        )
        return {change_id(request_id, number): state for number, state in rows}
