"""What the pages say of channels and of posts in doubt, without JavaScript; and the same orders by
the operator's command line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from broadcaster import commands, control
from broadcaster.approval import AnyRelease
from broadcaster.breaker import OPENS_AFTER, Breaker
from broadcaster.commands import Here
from broadcaster.delivery import InDoubt, PostState
from broadcaster.desk.app import make_app
from broadcaster.desk.deps import Desk
from broadcaster.errors import Refusal
from broadcaster.ledger import Ledger, Tx, attempts, channels, leases, posts
from broadcaster.ledger.attempts import Closing, Opened, Wanted
from broadcaster.ledger.posts import Kept
from broadcaster.outcome import Next
from broadcaster.posting import Channels
from broadcaster.settings import Settings
from streams.sweep import sweep
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_notices import sent, shown
from tests.story import HOOK

PARTNERS = HOOK.model_copy(update={"name": "partners"})


@pytest.fixture
async def doubtful(ledger: Ledger, released: AnyRelease) -> Kept:
    """The partners' post: sent, and nobody can say whether it arrived."""

    def step(tx: Tx) -> Kept:
        channels.know(tx, ["public_page", "partners"])
        post = next(p for p in posts.of_release(tx, released.id) if p.channel == "partners")
        lease = leases.take(tx, ["channel:partners"], "w", timedelta(seconds=9))["channel:partners"]
        [opened] = attempts.open_(tx, [Wanted(post.id, lease, timedelta(), PARTNERS)]).values()
        assert isinstance(opened, Opened)
        then = Next(PostState.IN_DOUBT, why="The channel gave no answer in time.")
        attempts.close(tx, [Closing(opened, lease, InDoubt.__name__, then)])
        found = posts.get(tx, post.id)
        assert found is not None
        return found

    return await ledger.write(step)


async def now(ledger: Ledger, post: Kept) -> Kept:
    found = await ledger.read(lambda tx: posts.get(tx, post.id))
    assert found is not None
    return found


async def test_a_post_in_doubt_shows_its_evidence_and_two_buttons(
    client: TestClient, ledger: Ledger, doubtful: Kept, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    page = await shown(client, f"/releases/{doubtful.release_id}")
    assert "The channel gave no answer in time." in page
    assert "I have seen it there" in page and "It is not there: send it again" in page
    address = f"/releases/{doubtful.release_id}/posts/{doubtful.id}"
    seen = "https://partners.example/7"
    status, where, _ = await sent(client, address, attempt="1", choice="there", url=seen)
    assert (status, where) == (303, f"/releases/{doubtful.release_id}#posts")
    page = await shown(client, f"/releases/{doubtful.release_id}")
    assert "it is being done" in page and "I have seen it there" not in page
    assert (await now(ledger, doubtful)).state is PostState.IN_DOUBT, "the desk ends no post"
    await ledger.write(sweep)
    after = await now(ledger, doubtful)
    assert (after.state, after.url) == (PostState.POSTED, seen)
    assert f"{persons.pio.name} has seen it there." in await shown(
        client, f"/releases/{doubtful.release_id}"
    )


async def test_what_is_to_be_sent_again_is_due_at_once(
    client: TestClient, ledger: Ledger, doubtful: Kept, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    address = f"/releases/{doubtful.release_id}/posts/{doubtful.id}"
    await sent(client, address, attempt="1", choice="send again")
    await ledger.write(sweep)
    after = await now(ledger, doubtful)
    assert (after.state, after.next_look) == (PostState.WAITING, after.since)


async def test_what_is_still_looked_for_is_not_offered_to_be_sent_again(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, doubtful: Kept,
    persons: scene.Persons,
) -> None:  # fmt: skip
    looks = Next(PostState.IN_DOUBT, clock.at + timedelta(seconds=2), "It was looked for.")
    await ledger.write(lambda tx: posts.looked_for(tx, doubtful, looks))
    await scene.sign_in(client, persons.pio)
    page = await shown(client, f"/releases/{doubtful.release_id}")
    assert "I have seen it there" in page and "send it again" not in page
    assert "Where that has told nothing by " in page
    address = f"/releases/{doubtful.release_id}/posts/{doubtful.id}"
    status, _, page = await sent(client, address, attempt="1", choice="send again")
    assert status == 409 and "It is still being looked for" in page


async def test_what_a_later_update_took_the_place_of_is_not_offered_to_be_sent_again(
    client: TestClient, ledger: Ledger, doubtful: Kept, persons: scene.Persons
) -> None:
    def step(tx: Tx) -> None:
        posts.replace(tx, (doubtful.release_id,), doubtful.release_id)

    await ledger.write(step)
    await scene.sign_in(client, persons.pio)
    page = await shown(client, f"/releases/{doubtful.release_id}")
    assert "It is not sent again: a later update says what stands." in page
    assert "It is not there<" in page and "send it again" not in page
    address = f"/releases/{doubtful.release_id}/posts/{doubtful.id}"
    status, _, page = await sent(client, address, attempt="1", choice="send again")
    assert status == 409 and "its words are not sent any more" in page
    status, _, _ = await sent(client, address, attempt="1", choice="not there")
    assert status == 303
    await ledger.write(sweep)
    assert (await now(ledger, doubtful)).state is PostState.REPLACED
    page = await shown(client, f"/releases/{doubtful.release_id}")
    assert f"{persons.pio.name} has looked, and it is not there." in page
    assert "has looked, and it is not there" in await shown(client, "/record")


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"choice": "there", "attempt": "1", "url": "javascript:alert(1)"}, 422, "no web address"),
        ({"choice": "there", "attempt": "1", "url": "https://["}, 422, "no web address"),
        ({"choice": "burn it", "attempt": "1"}, 422, "Nothing was chosen"),
        ({"choice": "there", "attempt": "2"}, 409, "in doubt now, after 1 tries"),
        ({"choice": "there"}, 409, "in doubt now"),
    ],
)
async def test_what_cannot_be_chosen_says_why(
    client: TestClient, ledger: Ledger, doubtful: Kept, persons: scene.Persons,
    fields: dict[str, str], status: int, said: str,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.pio)
    address = f"/releases/{doubtful.release_id}/posts/{doubtful.id}"
    answered, _, page = await sent(client, address, **fields)
    assert answered == status and said in page
    await ledger.write(sweep)
    assert (await now(ledger, doubtful)).state is PostState.IN_DOUBT


async def test_a_commander_reads_of_doubt_and_settles_none(
    client: TestClient, doubtful: Kept, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.commander)
    page = await shown(client, f"/releases/{doubtful.release_id}")
    assert "In doubt" in page and "I have seen it there" not in page
    address = f"/releases/{doubtful.release_id}/posts/{doubtful.id}"
    status, _, page = await sent(client, address, attempt="1", choice="there")
    assert status == 403


async def test_a_channel_is_paused_with_a_reason_and_goes_on(
    client: TestClient, ledger: Ledger, doubtful: Kept, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    assert "1 in doubt" in await shown(client, "/channels")
    status, _, page = await sent(client, "/channels", name="partners", act="pause", why=" ")
    assert status == 422 and "paused for a reason" in page
    await sent(client, "/channels", name="partners", act="pause", why="Being rebuilt.")
    page = await shown(client, "/channels")
    assert "Paused" in page and "Being rebuilt." in page and persons.pio.name in page
    page = await shown(client, f"/releases/{doubtful.release_id}")
    assert "Its channel is kept back: paused: Being rebuilt." in page
    await sent(client, "/channels", name="partners", act="resume")
    assert "Being rebuilt." not in await shown(client, "/channels")
    status, _, page = await sent(client, "/channels", name="nowhere", act="resume")
    assert status == 404


async def test_the_operator_sees_and_does_the_same(
    ledger: Ledger, clock: scene.HeldClock, doubtful: Kept, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    here = Here(settings, ledger, clock, Channels(settings, ledger))

    async def run(name: str, /, **arguments: object) -> commands.Result:
        return await commands.run(name, arguments, here)

    failing = Breaker(failures=OPENS_AFTER, again_at=clock.at + timedelta(seconds=9), why="Away.")
    await ledger.write(lambda tx: channels.fare(tx, {"public_page": failing}, []))
    told = await run("deliveries")
    assert json.loads(json.dumps(told)) == told, "a program reads it, whoever ran it"
    assert {each["name"]: (each["standing"], each["in_doubt"]) for each in told["channels"]} == {
        "partners": ("works", 1), "public_page": ("Away.", 0),
    }  # fmt: skip
    assert {each["state"] for each in told["posts"]} == {PostState.IN_DOUBT}
    known = await run("delivery", id=doubtful.id)
    assert known["attempts"][0]["outcome"] == InDoubt.__name__
    await run("channel_pause", name="partners", why="Maintenance.", drain=True)
    await run("channel_send_again", name="partners", on=True)
    fare = (await ledger.read(channels.several))["partners"]
    assert (fare.paused_by, fare.sends_again_by) == ("operator", "operator")
    await run("channel_resume", name="public_page")
    assert (await ledger.read(channels.several))["public_page"].breaker == Breaker()
    await run("post_send_again", id=doubtful.id, attempt=1)
    await ledger.write(sweep)
    after = await now(ledger, doubtful)
    assert (after.state, after.why) == (PostState.WAITING, "The operator has it sent again.")
    with pytest.raises(Refusal, match="There is no post"):
        await run("delivery", id="none")


async def test_pace_and_credential_are_told_alike_on_page_command_and_metrics(
    desk: Desk, ledger: Ledger, clock: scene.HeldClock, persons: scene.Persons, tmp_path: Path
) -> None:
    """Of one channel whose credential ends soon, and of one that knows ours no more."""
    today = clock.at.date()
    accounts = [
        {"kind": "mastodon", "name": name, "title": name, "url": "https://social.example",
         "token": "t", "ends": (today + timedelta(days=days)).isoformat()}
        for name, days in (("soon", 7), ("dead", 90))
    ]  # fmt: skip
    settings = Settings(home=tmp_path, channels=accounts)
    here = Here(settings, ledger, clock, Channels(settings, ledger))

    def step(tx: Tx) -> None:
        channels.know(tx, ["soon", "dead", "public_page"])
        channels.pause(tx, "dead", channels.ITSELF, "It does not know our token.")
        channels.pause(tx, "public_page", "operator", "Being rebuilt.")

    await ledger.write(step)
    told = {each["name"]: each for each in (await commands.run("deliveries", {}, here))["channels"]}
    assert {name: (each["pace"], each["credential"]) for name, each in told.items()} == {
        "soon": (60, {"known_there": True, "ends": accounts[0]["ends"], "ends_soon": True}),
        "dead": (60, {"known_there": False, "ends": accounts[1]["ends"], "ends_soon": False}),
        "public_page": (None, {"known_there": True, "ends": None, "ends_soon": False}),
    }  # fmt: skip

    health = web.Application()
    control.add_health(health, here, desk=True)
    async with TestClient(TestServer(health)) as asked:
        lines = (await (await asked.get("/metrics")).text()).splitlines()
    for line in (
        'paused{channel="dead"} 0.0', 'paused{channel="public_page"} 1.0',
        'locked_out{channel="dead"} 1.0', 'locked_out{channel="public_page"} 0.0',
        'pace_per_minute{channel="soon"} 60.0', 'credential_days{channel="soon"} 7.0',
    ):  # fmt: skip
        assert f"broadcaster_channel_{line}" in lines
    assert not [line for line in lines if 'pace_per_minute{channel="public_page"}' in line]

    pages = make_app(replace(desk, channels=here.channels.all))
    async with TestClient(TestServer(pages)) as client:
        await scene.sign_in(client, persons.pio)
        page = await shown(client, "/channels")
    assert "takes 60 a minute" in page
    assert f"Its credential is good until {accounts[0]['ends']}" in page
    assert f"credential good until {accounts[1]['ends']}" in page
    assert "since it does not know our credential" in page
