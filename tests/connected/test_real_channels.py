"""One release to everything that there is a real server of: posted, read back word for word,
corrected, and taken back, as a reader sees it there.

`broadcaster up` posts to its own page, a webhook's receiver, Synapse, the reference PDS, WordPress
and Exim; what is there is asked of each server, and not of the adapters. With
BROADCASTER_PICTURES=1 the README's pictures of it are taken on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import async_playwright

from tests.adapters import synapse_server
from tests.adapters.bluesky_pds_server import Account, Pds, bluesky_pds
from tests.adapters.exim_server import Exim, exim
from tests.adapters.test_bluesky import POST
from tests.adapters.test_wordpress import AUTHOR, page
from tests.adapters.wordpress_server import Site, wordpress
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.connected.installation import PIO, Embedded, Json, Receiver, short_folder, until

pytestmark = pytest.mark.server

__all__ = ["exim", "wordpress"]  # fixtures of this module

MARK = "EXERCISE, NOT REAL. "
WRONG = MARK + "Gas leak on Oak St – stay inside. Fuga de gas: no salga. 🚒"
RIGHT = MARK + "Correction: the gas leak is on Elm St, not on Oak St. Stay inside there."
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
#: Whatever is there of one channel, newest last.
There = dict[str, list[str]]


@dataclass
class Servers:
    """The real servers, and what the public reads on each."""

    synapse: synapse_server.Synapse
    us: synapse_server.User
    room: str
    pds: Pds
    account: Account
    site: Site
    exim: Exim
    county: Receiver

    @property
    def accounts(self) -> list[Json]:
        return [
            self.county.setting,
            {"kind": "matrix", "name": "matrix", "title": "Matrix", "url": self.synapse.url,
             "room": self.room, "token": self.us.token},
            {"kind": "bluesky", "name": "bluesky", "title": "Bluesky", "url": self.pds.url,
             "user": self.account.handle, "password": self.account.password},
            {"kind": "wordpress", "name": "wordpress", "title": "City site", "url": self.site.url,
             "user": AUTHOR, "password": self.site.passwords[AUTHOR]},
            {"kind": "mail", "name": "mail", "title": "Subscribers", "host": "localhost",
             "port": self.exim.port, "tls": "none", "sender": "alerts@police.example",
             "recipients": ["ann@city.example"], "unsubscribe": "mailto:off@police.example"},
        ]  # fmt: skip

    async def read(self, at: Embedded) -> There:
        """What a reader finds on each now."""
        room = f"/_matrix/client/v3/rooms/{quote(self.room, safe='')}/messages?dir=b&limit=50"
        events = [each for each in self.synapse.ask("GET", room, self.us)["chunk"]
                  if each["type"] == "m.room.message" and each["content"]]  # fmt: skip
        edits = {each["content"]["m.relates_to"]["event_id"]: each["content"]["m.new_content"]
                 for each in reversed(events) if "m.relates_to" in each["content"]}  # fmt: skip
        posts = await self.site.ask("GET", orderby="id")
        return {
            "public_page": [each["content_text"] for each in reversed(await at.feed())],
            "county": [json.loads(each["text"])["text"] for each in self.county.lines("acted")],
            "matrix": [edits.get(each["event_id"], each["content"])["body"]
                       for each in reversed(events) if "m.relates_to" not in each["content"]],
            "bluesky": [each["text"] for each in self.pds.records(self.account, POST).values()],
            "wordpress": [(await page(each["link"])).text for each in reversed(posts)],
            "mail": [each.get_content().partition("\n-- \n")[0].rstrip("\n")
                     for each in self.exim.mails()],
        }  # fmt: skip


@pytest.fixture
def servers(wordpress: Site, exim: Exim) -> Iterator[Servers]:
    with ExitStack() as stack:
        synapse = stack.enter_context(synapse_server.running())
        pds = stack.enter_context(bluesky_pds())
        folder: Path = stack.enter_context(short_folder())
        county = Receiver("county", True, folder / "county.log")
        stack.callback(county.end)
        county.start()
        us = synapse.register("pio", admin=True)
        synapse.let_off(us, us)
        yield Servers(synapse, us, synapse.room(us), pds, pds.account(), wordpress, exim, county)


async def test_what_is_approved_is_read_everywhere_corrected_and_taken_back(
    servers: Servers,
) -> None:
    channels = ["public_page", *(each["name"] for each in servers.accounts)]
    async with (
        Embedded.fresh(
            channels=json.dumps(servers.accounts), channel_networks='["127.0.0.0/8"]'
        ) as at,
        camera(at) as take,
    ):
        seen = await at.opened()
        first = await at.approved(seen, text=WRONG.removeprefix(MARK), channels=channels)
        await posted(at, first)
        assert await servers.read(at) == {name: [WRONG] for name in channels}
        await read_back(at, first, {"matrix", "bluesky", "wordpress"})
        wrong = await at.release(first)
        await take("real-posted", f"{at.address}/releases/{wrong['id']}")
        corrected = await at.approved(
            seen, kind="correction", text=RIGHT.removeprefix(MARK), channels=channels,
            corrects=wrong["id"], replaces=[wrong["id"]],
        )  # fmt: skip
        await posted(at, corrected)
        both, alone = [WRONG, RIGHT], [RIGHT]
        await reads(servers, at, {
            "public_page": both, "county": both, "mail": both, "matrix": alone,
            "wordpress": alone, "bluesky": alone,
        })  # fmt: skip
        await read_back(at, corrected, {"matrix", "bluesky", "wordpress"})
        states = {name: each["state"] for name, each in (await at.posts(first)).items()}
        gone = {"matrix", "wordpress", "bluesky"}
        assert {name for name, state in states.items() if state == "retracted"} == gone

        await take("real-mended", f"{at.address}/releases/{wrong['id']}")
        await take("real-website", (await servers.site.ask("GET", orderby="id"))[0]["link"])
        right = await at.release(corrected)
        back = await taken_back(at, right)
        await posted(at, back)
        said = (await servers.read(at))["public_page"][-1]
        assert said.startswith(MARK) and "We take back our update #2" in said
        await reads(servers, at, {
            "public_page": [*both, said], "county": [*both, said], "mail": [*both, said],
            "matrix": [said], "wordpress": [said], "bluesky": [said],
        })  # fmt: skip
        await take("real-taken-back", f"{at.address}/releases/{(await at.release(back))['id']}")


Take = Callable[[str, str], Awaitable[None]]


@contextlib.asynccontextmanager
async def camera(at: Embedded) -> AsyncIterator[Take]:
    """Takes pictures of pages, as the PIO sees them, where they are asked for."""
    if os.environ.get("BROADCASTER_PICTURES") != "1":

        async def leave(name: str, url: str) -> None:
            """Nobody asked."""

        yield leave
        return
    pio = await at.person(PIO)
    cookies: list[Any] = [
        {"name": each.key, "value": each.value, "url": at.address}
        for each in pio.session.cookie_jar
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context(viewport={"width": 960, "height": 720})
        await context.add_cookies(cookies)
        page = await context.new_page()

        async def take(name: str, url: str) -> None:
            await page.goto(url)
            await page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")

        yield take
        await browser.close()


async def posted(at: Embedded, request: Json) -> None:
    states = {name: each["state"] for name, each in (await at.settled(request)).items()}
    assert set(states.values()) == {"posted"}, states


async def read_back(at: Embedded, request: Json, channels: set[str]) -> None:
    """Until the installation itself has found there what was approved."""

    async def found() -> bool:
        posts = await at.posts(request)
        return channels == {name for name, each in posts.items() if each["read_back"]} and all(
            posts[name]["read_back"] == "as approved" for name in channels
        )

    await until("it was read back", found)


async def reads(servers: Servers, at: Embedded, wanted: There) -> None:
    """Until the public reads this everywhere: what is wrong is taken down after the right words."""
    shown: There = {}

    async def is_so() -> bool:
        shown.update(await servers.read(at))
        return shown == wanted

    with contextlib.suppress(AssertionError):  # said better below
        await until("the public reads it", is_so)
    assert shown == wanted


async def taken_back(at: Embedded, release: Json) -> Any:
    """Takes a release back in the words prepared for that; the request that says so."""
    pio = await at.person(PIO)
    answer = await pio.post(f"/api/v1/releases/{release['id']}/take-back")
    assert answer.good, answer
    return answer.body["request"]
