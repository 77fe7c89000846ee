"""Who may call, and how every no is said."""

from __future__ import annotations

from aiohttp.test_utils import TestClient

from tests.broadcaster.desk import scene


async def test_fixtures(client: TestClient, released, incident, persons) -> None:
    await scene.sign_in(client, persons.pio)
    print(released, incident)
    r = await client.get("/x", headers=scene.PAGE)
    assert r.status == 404
