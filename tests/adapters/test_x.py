"""The X channel: judged by X's own OpenAPI document, on a double that acts as X, under every fault.

X cannot be run here. The double does what is documented and matters: it refuses the same words
twice without an id, shortens links, escapes HTML, normalises, and answers 200 for what is gone.
"""

from __future__ import annotations

import html
import itertools
import json
import unicodedata
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from pydantic import HttpUrl
from yarl import URL

from adapters import http
from adapters.x import X, signature, words
from broadcaster import channel
from broadcaster.accounts import XAccount
from broadcaster.counting import LINK
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    Receipt,
    Refused,
    Seen,
    TryLater,
)
from broadcaster.world import Exercise
from tests.adapters.contract import LOOPBACK, HttpFaults, Platform, Posted, approved
from tests.adapters.prism import excerpt, prism
from tests.adapters.special_texts import SPECIAL
from tests.faults.receiver import Receiver, Request, Way, acting, answers, by, resets
from tests.story import EXERCISE, NOW, StillClock

CHANNEL = channel.x(EXERCISE, "x", "X")
SECRETS = ("the-api-key-secret", "the-token-secret")
ACCOUNT = XAccount(
    kind="x", name=CHANNEL.name, title=CHANNEL.title, user_id="2244994945", api_key="the-api-key",
    api_key_secret=SECRETS[0], token="the-token", token_secret=SECRETS[1],
)  # fmt: skip
DUPLICATE = {
    "detail": "You are not allowed to create a Tweet with duplicate content.",
    "type": "about:blank", "title": "Forbidden", "status": 403,
}  # fmt: skip


def made(
    url: str, *, networks: http.Networks = LOOPBACK, deadline: timedelta = timedelta(seconds=5)
) -> X[Exercise]:
    return X(
        CHANNEL.model_copy(update={"deadline": deadline}),
        ACCOUNT.model_copy(update={"url": HttpUrl(url)}), networks=networks, clock=StillClock(),
    )  # fmt: skip


class Double:
    """X, as far as it is documented: how it answers each request."""

    def __init__(self) -> None:
        self.posts: dict[str, dict[str, Any]] = {}
        self.visible = True  #: whether its timeline shows what is new
        self.page = 100  #: how many posts its timeline shows at once
        self._ids, self._links = itertools.count(1_000), itertools.count()

    def answer(self, request: Request) -> Way:
        url = URL(f"http://x{request.path}")
        post_id = url.name
        match request.method, url.parts[2:]:
            case "POST", ("tweets",):
                return self._post(request.json)
            case "GET", ("users", "2244994945", "tweets"):
                return self._timeline(url.query)
            case "GET", ("tweets", _) if post_id in self.posts:
                return _says(200, {"data": self._shown(post_id, url.query["post.fields"])})
            case "GET", ("tweets", _):
                gone = {"type": "https://api.x.com/2/problems/resource-not-found"}
                return _says(200, {"errors": [gone]})
            case "DELETE", ("tweets", _):
                was = self.posts.pop(post_id, None)
                return _says(200 if was else 404, {"data": {"deleted": True}} if was else {})
        raise AssertionError(request)

    def _post(self, asked: dict[str, str]) -> Way:
        text = unicodedata.normalize("NFC", asked["text"]).strip()
        if text in [post["sent"] for post in self.posts.values()]:
            return _says(403, DUPLICATE)
        post_id, urls = str(next(self._ids)), []

        def shortens(found: Any) -> str:
            short = f"https://t.co/{next(self._links):010}"
            urls.append({"start": 0, "end": 0, "url": short, "expanded_url": found[0]})
            return short

        text = html.escape(LINK.sub(shortens, text), quote=False)
        self.posts[post_id] = {
            "id": post_id, "sent": asked["text"], "text": text, "urls": urls,
            "reply_settings": asked["reply_settings"], "at": NOW,
        }  # fmt: skip
        return _says(201, {"data": {"id": post_id, "text": text}})

    def _shown(self, post_id: str, fields: str) -> dict[str, Any]:
        post = self.posts[post_id]
        there = {"reply_settings": post["reply_settings"]}
        if post["urls"]:
            there["entities"] = {"urls": post["urls"]}
        asked = {name: there[name] for name in fields.split(",") if name in there}
        return {"id": post_id, "text": post["text"]} | asked

    def _timeline(self, query: Any) -> Way:
        since = datetime.strptime(query["start_time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        ids = [key for key, post in reversed(self.posts.items()) if post["at"] >= since]
        ids = ids if self.visible else []
        first = int(query.get("pagination_token", 0))
        shown = ids[first : first + self.page]
        meta: dict[str, Any] = {"result_count": len(shown)}
        if first + self.page < len(ids):
            meta["next_token"] = str(first + self.page)
        data = [self._shown(each, query["post.fields"]) for each in shown]
        return _says(200, {"meta": meta} | ({"data": data} if data else {}))


def _says(status: int, body: dict[str, Any]) -> Way:
    return answers(status, body=json.dumps(body).encode())


class TestX(Platform):
    @pytest.fixture
    async def adapter(self) -> AsyncIterator[X[Exercise]]:
        self.x, self.ids, self.numbers = Double(), dict[str, str](), itertools.count(1)
        async with Receiver(ways=[by(self.x.answer)]) as self.there:
            adapter = made(f"http://127.0.0.1:{self.there.port}")
            yield adapter
            await adapter.close()

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        message = approved(CHANNEL.name, text, number)
        self.ids[text] = message.post_id
        return message

    async def posted(self) -> list[Posted]:
        """By their words, since X takes no key."""
        return [
            Posted(self.ids[post["sent"]], None, post["sent"]) for post in self.x.posts.values()
        ]

    async def replies_are_closed(self, receipt: Receipt) -> bool:
        return bool(self.x.posts[receipt.remote_id]["reply_settings"] == "mentionedUsers")

    async def test_it_reads_who_may_answer(self, adapter: X[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Stay inside."))
        assert await adapter.read(receipt) == Seen(text="Stay inside.", answerable=False)
        self.x.posts[receipt.remote_id]["reply_settings"] = "everyone"
        assert await adapter.read(receipt) == Seen(text="Stay inside.", answerable=True)

    async def test_its_address_is_x_s(self, adapter: X[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Stay inside."))
        assert receipt.url == f"https://x.com/i/status/{receipt.remote_id}"

    async def test_what_was_lost_is_found_or_refused_a_second_time(
        self, adapter: X[Exercise]
    ) -> None:
        message = await self.message("Stay inside.")
        rule = by(self.x.answer)
        self.there.ways = [lost(self.x), rule]
        with pytest.raises(InDoubt):
            await adapter.send(message)
        found = await adapter.find(message)
        assert found is not None and await adapter.send(message) == found
        assert len(await self.posted()) == 1

    async def test_a_duplicate_that_cannot_be_seen(self, adapter: X[Exercise]) -> None:
        message = await self.message("Stay inside.")
        await adapter.send(message)
        self.x.visible = False
        with pytest.raises(Refused, match="posted before"):
            await adapter.send(message)

    async def test_a_duplicate_of_an_earlier_release(self, adapter: X[Exercise]) -> None:
        message = await self.message("Stay inside.")
        await adapter.send(message)
        later = message.model_copy(update={"released_at": NOW + timedelta(hours=1)})
        assert await adapter.find(later) is None
        with pytest.raises(Refused, match="posted before"):
            await adapter.send(later)

    async def test_it_looks_beyond_a_page(self, adapter: X[Exercise]) -> None:
        self.x.page = 2
        first = await adapter.send(await self.message("The first."))
        for n in range(2, 7):
            await adapter.send(await self.message(f"Update {n}.", n))
        assert await adapter.find(await self.message("The first.")) == first
        assert await adapter.find(await self.message("Another.", 9)) is None

    async def test_a_text_with_a_mention_is_not_sent(self, adapter: X[Exercise]) -> None:
        with pytest.raises(Refused, match="@oak"):
            await adapter.send(await self.message("Thanks to @oak."))
        assert self.there.heard == []

    @given(SPECIAL)
    @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_what_we_accept_is_read_back(self, adapter: X[Exercise], text: str) -> None:
        assume(CHANNEL.fits(text))
        self.x.posts.clear()
        there = await adapter.send(await self.message(text, next(self.numbers)))
        assert await adapter.read(there) == Seen(text=text, answerable=False)
        assert await adapter.find(await self.message(text)) == there


def lost(x: Double) -> Way:
    """X takes a post, and its answer never comes."""

    async def way(connection: Any) -> None:
        x.answer(await connection.read())
        await acting(resets)(connection)

    return way


class TestXFaults(HttpFaults):
    channel_name = CHANNEL.name
    secrets = ("a-path-that-is-a-secret", *SECRETS)
    taken = json.dumps({"data": {"id": "1445880548472328192", "text": "Stay inside."}}).encode()

    def make(self, url: str, **ways: Any) -> X[Exercise]:
        return made(url, **ways)


#: How X refuses (docs.x.com, "Response codes and errors"), and what we make of it.
REFUSALS: list[tuple[int, dict[str, str], dict[str, Any], type[Exception], str]] = [
    (400, {}, {"title": "Invalid Request"}, Refused, "invalid"),
    (401, {}, {"title": "Unauthorized"}, LockedOut, "keys and tokens"),
    (402, {}, {"title": "CreditsDepleted"}, Refused, "paid"),
    (403, {}, {"title": "Forbidden", "detail": "You are not permitted to perform this action."},
     Refused, "Read and write"),
    (404, {}, {"title": "Not Found Error"}, Refused, "404"),
    (429, {"x-rate-limit-reset": f"{NOW.timestamp() + 300:.0f}"}, {"title": "Too Many Requests"},
     TryLater, "429"),
    (500, {}, {"title": "Internal Server Error"}, InDoubt, "500"),
    *((status, {}, {"title": "Service Unavailable"}, InDoubt, str(status))
      for status in (502, 503, 504)),
    (200, {}, {"errors": [{"title": "Internal"}]}, InDoubt, "200"),
]  # fmt: skip


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with Receiver() as there:
        yield there


@pytest.fixture
async def double(there: Receiver) -> AsyncIterator[X[Exercise]]:
    """An adapter whose server answers what a test says."""
    adapter = made(f"http://127.0.0.1:{there.port}")
    yield adapter
    await adapter.close()


@pytest.mark.parametrize(("status", "headers", "body", "error", "said"), REFUSALS)
async def test_what_it_answers_to_a_post(
    status: int, headers: dict[str, str], body: dict[str, Any], error: type[Exception], said: str,
    there: Receiver, double: X[Exercise],
) -> None:  # fmt: skip
    there.ways = [answers(status, headers, json.dumps(body).encode())]
    with pytest.raises(error, match=said) as told:
        await double.send(approved(CHANNEL.name, "Stay inside."))
    if isinstance(told.value, TryLater):
        assert told.value.after == timedelta(minutes=5)


async def test_a_duplicate_while_it_cannot_be_looked_for(
    there: Receiver, double: X[Exercise]
) -> None:
    """Nothing was posted by this try, and the next will be told the same."""
    there.ways = [_says(403, DUPLICATE), _says(503, {})]
    with pytest.raises(TryLater):
        await double.send(approved(CHANNEL.name, "Stay inside."))
    assert [request.method for request in there.heard] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(200, {"data": {"deleted": True}}, None), (404, {}, None), (401, {}, LockedOut),
     (403, {}, Refused), (429, {}, TryLater), (500, {}, InDoubt), (200, {}, InDoubt),
     (200, {"data": {"deleted": False}}, InDoubt)],
)  # fmt: skip
async def test_what_it_answers_to_a_deletion(
    status: int, body: dict[str, Any], error: type[Exception] | None, there: Receiver,
    double: X[Exercise],
) -> None:  # fmt: skip
    there.ways = [_says(status, body)]
    with pytest.raises(error) if error else nullcontext():
        await double.retract(Receipt(remote_id="1"))


@pytest.mark.parametrize(
    ("status", "body"),
    [(204, {}), (401, {}), (403, {}), (429, {}), (500, {}), (200, {}), (200, {"data": []}),
     (200, {"errors": [{"type": "https://api.x.com/2/problems/not-authorized-for-resource"}]})],
)  # fmt: skip
async def test_a_look_that_shows_nothing_did_nothing(
    status: int, body: dict[str, Any], there: Receiver, double: X[Exercise]
) -> None:
    there.ways = [_says(status, body)]
    with pytest.raises(TryLater):
        await double.read(Receipt(remote_id="1"))
    with pytest.raises(TryLater):
        await double.find(approved(CHANNEL.name, "Stay inside."))


async def test_a_timeline_without_an_end_is_not_looked_through(
    there: Receiver, double: X[Exercise]
) -> None:
    there.ways = [_says(200, {"meta": {"next_token": "again"}})]
    with pytest.raises(TryLater, match="Too many"):
        await double.find(approved(CHANNEL.name, "Stay inside."))


@pytest.mark.parametrize(
    ("shown", "answerable"),
    [
        ({"reply_settings": "mentionedUsers"}, False),
        ({"reply_settings": "everyone"}, True),
        ({"reply_settings": "following"}, True),
        ({}, None),
    ],
)
async def test_it_is_read_who_may_answer(
    shown: dict[str, str], answerable: bool | None, there: Receiver, double: X[Exercise]
) -> None:
    there.ways = [_says(200, {"data": {"id": "1", "text": "Stay inside."} | shown})]
    seen = await double.read(Receipt(remote_id="1"))
    assert seen == Seen(text="Stay inside.", answerable=answerable)


async def test_it_is_gone(there: Receiver, double: X[Exercise]) -> None:
    there.ways = [answers(404)]
    assert await double.read(Receipt(remote_id="1")) is None


@pytest.mark.parametrize(
    ("text", "urls", "said"),
    [
        ("a &lt; b &amp;amp; &amp;copy &gt; c", [], "a < b &amp; &copy > c"),
        ("See https://t.co/1, https://t.co/2 &amp; https://t.co/1.",
         [("https://t.co/1", "https://police.gov/?a=1&lt=2"), ("https://t.co/2", "https://b.us"),
          ("https://t.co/1", "https://police.gov/?a=1&lt=2")],
         "See https://police.gov/?a=1&lt=2, https://b.us & https://police.gov/?a=1&lt=2."),
    ],
)  # fmt: skip
def test_the_words_that_were_sent(text: str, urls: list[tuple[str, str]], said: str) -> None:
    entities = {"urls": [{"url": short, "expanded_url": long} for short, long in urls]}
    assert words({"text": text, "entities": entities}) == said


def test_the_signature_of_x_s_own_example() -> None:
    """docs.x.com, "Creating a signature"."""
    given = {
        "oauth_consumer_key": "xvz1evFS4wEEPTGEFPHBog",
        "oauth_nonce": "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": "1318622958",
        "oauth_token": "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
        "oauth_version": "1.0",
        "status": "Hello Ladies + Gentlemen, a signed OAuth request!",
    }
    url = URL("https://api.twitter.com/1.1/statuses/update.json?include_entities=true")
    key = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw&LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE"
    assert signature("POST", url, given, key) == "hCtSmYh+iHYCEqBWrE7C7hYmtUk="


async def test_x_s_specification_allows_what_we_ask(corpus: Path, tmp_path: Path) -> None:
    specification = excerpt(
        corpus / "specs" / "x-api-v2.openapi.json", tmp_path,
        "/2/tweets", "/2/tweets/{id}", "/2/users/{id}/tweets",
        security=False,  # Prism knows no OAuth 1.0a
    )  # fmt: skip
    message, there = approved(CHANNEL.name, "Stay inside."), Receipt(remote_id="1")
    async with prism(specification) as base:
        adapter = made(base)
        try:
            assert await adapter.send(message)
            await adapter.retract(there)
            assert await adapter.read(there)
            assert await adapter.find(approved(CHANNEL.name, "string"))  # as its examples say
            # So that it is known to judge at all.
            with pytest.raises(Refused, match="422"):
                await adapter.retract(Receipt(remote_id="no-number"))
        finally:
            await adapter.close()
