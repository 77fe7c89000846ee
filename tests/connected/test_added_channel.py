"""A channel that is added by command: its account lies sealed in the ledger, and posts go there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from broadcaster.errors import Refusal
from broadcaster.sealing import new_key
from tests.connected.installation import PIO, Installation, Json, Receiver, new_secret, until
from tests.connected.production import Fresh, Production

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHIEF = "H. Tester"
KEY = new_key()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(fresh: Fresh) -> AsyncIterator[Installation]:
    async with fresh(receivers={"county": True}, sweep_seconds=0.5, accounts_key=KEY) as at:
        await at.order("roster_practice", names={CHIEF: ["chief"]})
        yield at


@contextmanager
def a_receiver(folder: Path, name: str) -> Iterator[Receiver]:
    receiver = Receiver(name, False, folder / f"{name}.log")
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.end()


async def added(at: Installation, receiver: Receiver) -> None:
    """Adds a channel, and returns once every process posts there or knows that others do."""
    await at.order("channel_add", account=receiver.setting, expires=None, by=CHIEF)
    await until("the desk offers it", lambda: offers(at, receiver.name))
    await at.ready()


async def offers(at: Installation, name: str) -> bool:
    page = (await (await at.person(PIO)).get("/channels")).raw.decode()
    return f'id="channel-{name}"' in page and "It is no channel any more" not in page


def deliver_pid(at: Installation) -> int:
    if isinstance(at, Production):
        return at.kept["deliver"].pid
    return at.kill("child", 0)


async def test_what_it_refuses(at: Installation, tmp_path: Path) -> None:
    account = Receiver("county", True, tmp_path / "log").setting
    for wrong, code in (
        ({"account": account}, "name_taken"),
        ({"account": {**account, "name": "public_page"}}, "name_taken"),
        ({"account": {**account, "name": "Other"}}, "account_invalid"),
        ({"account": {**account, "name": "other"}, "by": PIO}, "not_your_act"),
        ({"account": {**account, "name": "other"}, "expires": "2020-01-01"}, "expired"),
    ):
        with pytest.raises(Refusal) as refusal:
            await at.order("channel_add", **{"expires": None, "by": CHIEF, **wrong})
        assert refusal.value.code == code, wrong
    with pytest.raises(Refusal) as refusal:
        await at.order("channel_test", name="public_page")
    assert refusal.value.code == "no_such_channel"


async def test_it_posts_there_changes_its_credential_and_is_removed(
    at: Installation, tmp_path: Path
) -> None:
    seen = await at.opened()
    with a_receiver(tmp_path, "partners") as receiver:
        await added(at, receiver)
        told = await at.order("channel_test", name="partners")
        assert told["sent"] == "posted" and "cannot be taken down" in told["taken back"]
        [test] = receiver.lines("request")
        assert test["verified"]

        request = await at.approved(seen, channels=["public_page", "partners"])
        posts = await at.settled(request)
        assert {name: post["state"] for name, post in posts.items()} == {
            "public_page": "posted", "partners": "posted",
        }  # fmt: skip
        assert receiver.acted()[posts["partners"]["id"]] == 1

        # Whoever runs the receiver gives out another secret: it knows the old one no more.
        await receiver.set_ways("refuse:401")
        second = await at.approved(await at.suggested(seen["incident"]["id"]), kind="update",
                                   channels=["public_page", "partners"])  # fmt: skip
        await until("the channel is paused", lambda: paused(at, "partners"))
        assert (await at.settled(second, "public_page"))["public_page"]["state"] == "posted"
        problems = (await at.order("problems_list"))["problems"]
        assert [each["code"] for each in problems] == ["credential_dead"]

        before = deliver_pid(at)
        receiver.secret = new_secret()
        receiver.end()
        receiver.start()
        given = {"secret": receiver.secret}
        await at.order("channel_change", name="partners", given=given, expires=None, by=CHIEF)
        posts = await at.settled(second)
        assert posts["partners"]["state"] == "posted"
        assert receiver.lines("request")[-1]["verified"], "by the new secret"
        assert deliver_pid(at) == before, "nothing was started again"

        third = await at.submit(await at.suggested(seen["incident"]["id"]),
                                channels=["public_page", "partners"])  # fmt: skip
        await at.order("channel_remove", name="partners", by=CHIEF)
        await until("the desk offers it no more", lambda: gone(at, "partners"))
        await at.ready()
        await at.decide(third)
        posts = await at.settled(third)
        assert (posts["public_page"]["state"], posts["partners"]["state"]) == ("posted", "held")
    assert receiver.secret not in at.logged()
    copy = await at.laid_open()
    assert receiver.secret.encode() not in copy.read_bytes()


async def paused(at: Installation, name: str) -> bool:
    told = (await at.order("deliveries"))["channels"]
    standing: list[Json] = [each for each in told if each["name"] == name]
    return "paused" in standing[0]["standing"]


async def gone(at: Installation, name: str) -> bool:
    return not await offers(at, name)
