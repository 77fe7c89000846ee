"""The public's page: the approved words, whole, and what has become of them."""

from __future__ import annotations

from aiohttp.test_utils import TestClient

from tests.broadcaster.desk import scene


async def test_shows(client: TestClient, released, incident, persons) -> None:
    await scene.sign_in(client, persons.pio)
    for p in (
        "/p",
        f"/p/{incident.public_id}",
        "/p/feed.atom",
        "/p/feed.rss",
        "/p/feed.json",
        "/p/cap.atom",
    ):
        r = await client.get(p, headers=scene.PAGE)
        print(r.status, r.headers, await r.text())
    r = await client.get(f"/p/cap/{(await r.text()).split('/p/cap/')[1][:36]}.xml")
    print(r.status, await r.text())
    r = await client.get("/api/v1/openapi.json")
    print(r.status, (await r.text())[:3000])
    assert 0
