"""Fault matrix, row 27: reports come by the thousand, and an approval does not wait behind them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.connected.export import write_export
from tests.connected.installation import until
from tests.connected.production import Fresh

ROWS = 4000


async def test_an_approval_overtakes_a_flood(fresh: Fresh, tmp_path: Path) -> None:
    write_export(tmp_path / "export.csv", ROWS)
    async with fresh(receivers={"county": True}) as at:
        request = await at.submit(await at.opened())
        before = (await at.order("status"))["reports"]
        flood = asyncio.create_task(
            at.run("replay", str(tmp_path / "export.csv"), "--map", "sapd", "--json", within=300)
        )

        async def comes() -> bool:
            assert not flood.done(), "it was over before it was seen to come"
            return bool((await at.order("status"))["reports"] > before)

        await until("the flood comes", comes)
        assert (await at.decide(request)).good
        posts = await at.settled(request)
        assert not flood.done(), "the approval waited until the flood was over"
        assert {post["state"] for post in posts.values()} == {"posted"}
        code, out, err = await flood
        assert code == 0, err
        assert json.loads(out.splitlines()[-1])["accepted"] == ROWS
