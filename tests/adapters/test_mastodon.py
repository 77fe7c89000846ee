"""The Mastodon channel, on mastodon_mock and under every fault."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, assume, given, settings

from adapters import http
from adapters.mastodon import Mastodon, words
from broadcaster import channel, testing
from broadcaster.accounts import MastodonAccount
from broadcaster.channel import Replies
from broadcaster.delivery import InDoubt, LockedOut, Message, Receipt, Refused, Seen, TryLater
from broadcaster.media import digest_of
from broadcaster.world import Exercise
from tests.adapters.contract import (
    LOOPBACK,
    SHOWN,
    HttpFaults,
    Pictured,
    Platform,
    Posted,
    approved,
    showing,
)
from tests.adapters.mastodon_mock_server import Server, mastodon
from tests.adapters.prism import excerpt, prism
from tests.adapters.special_texts import SPECIAL
from tests.faults.receiver import Receiver, Request, Way, answers, by
from tests.story import EXERCISE, StillClock, a_story

__all__ = ["mastodon"]

CHANNEL = channel.mastodon(EXERCISE, "mastodon", "Mastodon")
TOKEN = "the-access-token"


def made(
    url: str, token: str = TOKEN, *, networks: http.Networks = LOOPBACK,
    deadline: timedelta = timedelta(seconds=5),
) -> Mastodon[Exercise]:  # fmt: skip
    account = MastodonAccount(
        kind="mastodon", name=CHANNEL.name, title=CHANNEL.title, url=url, token=token
    )  # fmt: skip
    return Mastodon(
        CHANNEL.model_copy(update={"deadline": deadline}), account, networks=networks,
        clock=StillClock(),
    )  # fmt: skip


@pytest.mark.server
class TestMastodon(Platform):
    @pytest.fixture
    async def adapter(self, mastodon: Server) -> AsyncIterator[Mastodon[Exercise]]:
        self.server, token, self.numbers = mastodon, mastodon.token(), itertools.count(1)
        adapter = made(mastodon.url, token)
        async with aiohttp.ClientSession(
            mastodon.url, headers={"Authorization": f"Bearer {token}"}
        ) as self.session:
            yield adapter
        await adapter.close()

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        return approved(CHANNEL.name, text, number)

    async def asked(self, path: str) -> Any:
        async with self.session.get(path) as answer:
            return await answer.json()

    async def posted(self) -> list[Posted]:
        me = await self.asked("/api/v1/accounts/verify_credentials")
        statuses = await self.asked(f"/api/v1/accounts/{me['id']}/statuses")
        return [
            Posted(self.server.key(each["id"]), None, await self.source(each["id"]))
            for each in reversed(statuses)
        ]

    async def source(self, status_id: str) -> str:
        source = await self.asked(f"/api/v1/statuses/{status_id}/source")
        return str(source["text"])

    async def shown(self) -> list[Pictured]:
        me = await self.asked("/api/v1/accounts/verify_credentials")
        shown = []
        for status in reversed(await self.asked(f"/api/v1/accounts/{me['id']}/statuses")):
            for media in status["media_attachments"]:
                async with self.session.get(media["url"]) as answer:
                    data = await answer.read()
                shown.append(Pictured(digest_of(data), media["description"]))
        return shown

    async def replies_are_closed(self, receipt: Receipt) -> bool:
        """Mastodon cannot close them (`Replies.OPEN`), only quotes."""
        status = await self.asked(f"/api/v1/statuses/{receipt.remote_id}")
        return bool(status["quote_approval_policy"] == "nobody")

    async def test_it_is_public_and_in_its_language(self, adapter: Mastodon[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Stay inside."))
        status = await self.asked(f"/api/v1/statuses/{receipt.remote_id}")
        assert (status["visibility"], status["language"]) == ("public", "en")
        assert status["url"] == receipt.url

    async def test_what_was_lost_is_there_once(self, adapter: Mastodon[Exercise]) -> None:
        """The server takes it and its answer cannot be read; the same key brings it no second."""
        message = await self.message("Stay inside.")
        there = await adapter.send(message)
        await self.fault("malformed")
        with pytest.raises(InDoubt):
            await adapter.send(message)
        assert await adapter.send(message) == there
        assert len(await self.posted()) == 1

    async def test_it_is_told_when_to_come_back(self, adapter: Mastodon[Exercise]) -> None:
        await self.fault("ratelimit")
        with pytest.raises(TryLater, match="429") as told:
            await adapter.send(await self.message("Stay inside."))
        assert told.value.after == timedelta(seconds=300)

    async def fault(self, kind: str) -> None:
        """The next POST of a status suffers it."""
        asked = {
            "match": {"methods": ["POST"], "path": "/api/v1/statuses"},
            "effect": {"type": kind}, "count": 1,
        }  # fmt: skip
        async with self.session.post("/api/v1/_mock/faults", json=asked) as answer:
            assert answer.status == 200

    async def test_it_looks_beyond_a_page(self, adapter: Mastodon[Exercise]) -> None:
        first = await adapter.send(await self.message("The first."))
        for n in range(2, 44):
            await adapter.send(await self.message(f"Update {n}.", n))
        assert await adapter.find(await self.message("The first.")) == first

    async def test_the_same_words_of_an_earlier_release_are_another_post(
        self, adapter: Mastodon[Exercise]
    ) -> None:
        message = await self.message("Stay inside.")
        await adapter.send(message)
        later = message.model_copy(update={"released_at": message.released_at.replace(year=2100)})
        assert await adapter.find(later) is None

    async def test_a_token_that_nobody_knows(self, mastodon: Server) -> None:
        adapter, message = made(mastodon.url, "unknown"), await self.message("Stay inside.")
        with pytest.raises(Refused, match="token"):
            await adapter.send(message)
        with pytest.raises(TryLater, match="401"):
            await adapter.find(message)
        await adapter.close()

    @given(SPECIAL)
    @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_what_we_accept_is_accepted_and_read_back(
        self, adapter: Mastodon[Exercise], text: str
    ) -> None:
        """The mock counts code points, and strikes through between ~~: Mastodon does neither."""
        assume(CHANNEL.fits(text) and len(text) <= 500 and "~~" not in text)
        there = await adapter.send(await self.message(text, next(self.numbers)))
        assert await self.source(there.remote_id) == text
        assert await adapter.read(there) == Seen(text=text, pictures=())

    async def test_the_picture_is_read_back_or_seen_to_be_missing(
        self, adapter: Mastodon[Exercise]
    ) -> None:
        there = await adapter.send(showing(await self.message("Stay inside.")))
        seen = await adapter.read(there)
        assert seen == Seen(text="Stay inside.", pictures=(SHOWN.alt,))

    async def test_it_says_where_the_server_counts_otherwise(
        self, adapter: Mastodon[Exercise]
    ) -> None:
        assert await adapter.differs() == []
        short = made(self.server.url)
        short.channel = short.channel.model_copy(update={"limit": 300})
        [said] = await short.differs()
        assert "500 characters" in said and "300" in said
        await short.close()


class TestMastodonFaults(HttpFaults):
    channel_name = CHANNEL.name
    secrets = ("a-path-that-is-a-secret", TOKEN)
    taken = json.dumps({"id": "1", "url": "https://mastodon.example/@police/1"}).encode()

    def make(self, url: str, **ways: Any) -> Mastodon[Exercise]:
        return made(url, **ways)

    def is_upload(self, request: Request) -> bool:
        return request.path.endswith("/api/v2/media")


#: How Mastodon refuses (docs.joinmastodon.org), and what we make of it: a part of what is said.
REFUSALS: list[tuple[int, dict[str, str], str, type[Exception], str]] = [
    (401, {}, "The access token is invalid", LockedOut, "token"),
    (403, {}, "This action is outside the authorized scopes", Refused, "scope"),
    (403, {}, "Your login is currently disabled", Refused, "limited the account"),
    (410, {}, "The thing was there and is gone", Refused, "410"),
    (422, {}, "Validation failed: Text can't be blank", Refused, "words"),
    (422, {}, "Validation failed: Text character limit of 500 exceeded", Refused, "limit"),
    (
        429,
        {"X-RateLimit-Reset": "2026-11-22T22:05:00.000000Z"},
        "Too many requests",
        TryLater,
        "429",
    ),
    (500, {}, "Something went wrong on our end", InDoubt, "500"),
    (503, {}, "Service Unavailable", InDoubt, "503"),
    (200, {}, "", InDoubt, "200"),
]


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with Receiver() as there:
        yield there


@pytest.fixture
async def double(there: Receiver) -> AsyncIterator[Mastodon[Exercise]]:
    """An adapter whose server answers what a test says."""
    adapter = made(f"http://127.0.0.1:{there.port}")
    yield adapter
    await adapter.close()


@pytest.mark.parametrize(("status", "headers", "body", "error", "said"), REFUSALS)
async def test_what_it_answers_to_a_post_and_to_an_edit(
    status: int, headers: dict[str, str], body: str, error: type[Exception], said: str,
    there: Receiver, double: Mastodon[Exercise],
) -> None:  # fmt: skip
    there.ways = [answers(status, headers, json.dumps({"error": body}).encode())]
    message = approved(CHANNEL.name, "Stay inside.")
    with pytest.raises(error, match=said) as told:
        await double.send(message)
    if isinstance(told.value, TryLater):
        assert told.value.after == timedelta(minutes=5)
    with pytest.raises(error):
        await double.edit(message, Receipt(remote_id="1"))


#: What a server tells of itself (docs.joinmastodon.org/entities/Instance), as far as we ask.
TOLD: dict[str, dict[str, Any]] = {
    "statuses": {
        "max_characters": 500, "max_media_attachments": 4, "characters_reserved_per_url": 23,
    },
    "media_attachments": {
        "supported_mime_types": ["image/jpeg", "image/png", "video/mp4"],
        "image_size_limit": 16_777_216, "description_limit": 1_500,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("statuses", "max_characters", 500, None),
        ("statuses", "max_characters", 400, "takes 400 characters in a status.*500"),
        ("statuses", "max_characters", 11_000, "takes 11,000 characters in a status.*500"),
        ("statuses", "characters_reserved_per_url", 40, "a link as 40 characters, and we as 23"),
        ("statuses", "max_media_attachments", 0, "takes 0 pictures"),
        ("media_attachments", "image_size_limit", 500_000, "pictures of 500,000 bytes"),
        ("media_attachments", "description_limit", 420, "descriptions of 420 characters"),
        ("media_attachments", "description_limit", None, None),  # before 4.4
        ("media_attachments", "supported_mime_types", ["image/png"], "no image/jpeg,"),
    ],
)
async def test_what_its_server_does_otherwise(
    part: str, name: str, value: object, said: str | None,
    there: Receiver, double: Mastodon[Exercise],
) -> None:  # fmt: skip
    told = {**TOLD, part: {**TOLD[part], name: value}}
    there.ways = [answers(200, body=json.dumps({"configuration": told}).encode())]
    differs = await double.differs()
    assert [bool(re.search(said or "", each)) for each in differs] == ([True] if said else [])
    assert [each.path for each in there.heard] == ["/api/v2/instance"]
    for body in (b"{}", b"[]", b"<p>Welcome</p>"):
        there.ways = [answers(200, body=body)]
        with pytest.raises(TryLater):
            await double.differs()


async def test_a_test_of_the_channel_says_so(
    there: Receiver, double: Mastodon[Exercise], tmp_path: Path
) -> None:
    told = {**TOLD, "statuses": {**TOLD["statuses"], "max_characters": 400}}
    body = {"configuration": told, "id": "1", "url": None}
    there.ways = [answers(200, body=json.dumps(body).encode())]
    double.channel = double.channel.model_copy(update={"replies": Replies.NOWHERE})
    async with a_story(tmp_path) as story:
        came_of = await testing.run(
            story.ledger, double, address="http://127.0.0.1:8080/", actor="operator"
        )
    assert "400 characters" in came_of["differs"] and came_of["sent"] == "posted"


STATUS = {
    "id": "7", "url": "https://mastodon.example/@police/7", "content": "<p>Stay inside.</p>",
    "mentions": [], "media_attachments": [], "created_at": "2026-11-22T22:00:01.000Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "found"),
    [([STATUS], True), ([], False), ([STATUS | {"content": "<p>Leave.</p>"}], False)],
)
async def test_a_500_to_a_key_that_the_server_knows_is_answered_by_a_look(
    shown: list[dict[str, object]], found: bool, there: Receiver, double: Mastodon[Exercise]
) -> None:
    """As servers answer for as long as the key lives (mastodon#40399): the public has the post."""

    def rule(request: Request) -> Way:
        if request.method == "POST":
            return answers(500)
        body = {"id": "1"} if request.path.endswith("/verify_credentials") else shown
        body = [] if "max_id" in request.path else body
        return answers(200, body=json.dumps(body).encode(), acts=False)

    there.ways = [by(rule)]
    message = approved(CHANNEL.name, "Stay inside.")
    if found:
        receipt = await double.send(message)
        assert receipt == Receipt(remote_id="7", url=str(STATUS["url"]))
    else:
        with pytest.raises(InDoubt, match="500"):
            await double.send(message)
    assert [each.method for each in there.heard].count("POST") == 1


@pytest.mark.parametrize("status", [413, 422])
async def test_a_picture_that_the_server_does_not_take(
    status: int, there: Receiver, double: Mastodon[Exercise]
) -> None:
    there.ways = [answers(status, body=b'{"error": "Validation failed: File is invalid"}')]
    with pytest.raises(Refused, match="does not take the picture"):
        await double.send(showing(approved(CHANNEL.name, "Stay inside.")))
    assert [each.path for each in there.heard] == ["/api/v2/media"]


async def test_a_correction_puts_its_own_picture_in_the_place_of_the_other_or_none(
    there: Receiver, double: Mastodon[Exercise]
) -> None:
    """By what it asks: the mock leaves pictures as they are when a status is edited. Mastodon takes
    out what is not named (app/services/update_status_service.rb)."""
    there.ways = [answers(200, body=b'{"id": "7"}')]
    right = approved(CHANNEL.name, "Stay inside.")
    await double.edit(right, Receipt(remote_id="1"))
    await double.edit(showing(right), Receipt(remote_id="1"))
    edits = [each.json["media_ids"] for each in there.heard if each.method == "PUT"]
    assert edits == [[], ["7"]]


async def test_a_picture_that_the_server_works_on_is_brought_again_later(
    there: Receiver, double: Mastodon[Exercise]
) -> None:
    there.ways = [answers(202, body=b'{"id": "1", "url": null}')]
    with pytest.raises(TryLater, match="working on the picture") as told:
        await double.send(showing(approved(CHANNEL.name, "Stay inside.")))
    assert told.value.after == timedelta(seconds=5) and len(there.heard) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (404, None), (410, None), (401, LockedOut), (403, Refused), (429, TryLater),
     (500, InDoubt)],
)  # fmt: skip
async def test_what_it_answers_to_a_deletion(
    status: int, error: type[Exception] | None, there: Receiver, double: Mastodon[Exercise]
) -> None:
    there.ways = [answers(status, body=b'{"id": "1"}')]
    with pytest.raises(error) if error else nullcontext():
        await double.retract(Receipt(remote_id="1"))


@pytest.mark.parametrize("status", [204, 301, 401, 403, 422, 429, 500, 503])
async def test_a_look_that_shows_nothing_did_nothing(
    status: int, there: Receiver, double: Mastodon[Exercise]
) -> None:
    there.ways = [answers(status)]
    with pytest.raises(TryLater):
        await double.read(Receipt(remote_id="1"))
    with pytest.raises(TryLater):
        await double.find(approved(CHANNEL.name, "Stay inside."))


LINK = (
    '<a href="https://www.police.gov/alerts/2026/gas-leak?a=1&amp;b=2" target="_blank" '
    'rel="nofollow noopener noreferrer"><span class="invisible">https://www.</span>'
    '<span class="ellipsis">police.gov/alerts/2026/gas-lea</span>'
    '<span class="invisible">k?a=1&amp;b=2</span></a>'
)
MENTION = (
    '<span class="h-card"><a href="https://{0}/@oak" class="u-url mention">@<span>oak</span></a>'
    "</span>"
)
TAG = (
    '<a href="https://here.example/tags/OakSt" class="mention hashtag" rel="tag">'
    "#<span>OakSt</span></a>"
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<p>Stay.</p>", "Stay."),
        ("<p>One<br>two<br />three</p><p>Four</p>", "One\ntwo\nthree\n\nFour"),
        ("<p>&lt;b&gt; &amp;amp; &quot;it&#39;s&quot; &amp;copy 5 &gt; 4</p>",
         "<b> &amp; \"it's\" &copy 5 > 4"),
        (f"<p>See {LINK}.</p>", "See https://www.police.gov/alerts/2026/gas-leak?a=1&b=2."),
        (f"<p>{MENTION.format('here.example')} {MENTION.format('there.example')}</p>",
         "@oak @oak@there.example"),
        (f"<p>{TAG}  two spaces</p>", "#OakSt  two spaces"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_words_of_mastodons_own_html(content: str, text: str) -> None:
    mentions = [
        {"url": "https://here.example/@oak", "acct": "oak"},
        {"url": "https://there.example/@oak", "acct": "oak@there.example"},
    ]
    assert words({"content": content, "mentions": mentions}) == text


async def test_the_specification_allows_what_we_ask(corpus: Path, tmp_path: Path) -> None:
    """By the community's OpenAPI document: Mastodon publishes none."""
    specification = excerpt(
        corpus / "specs" / "mastodon-openapi.community.json", tmp_path,
        "/api/v1/statuses", "/api/v1/statuses/{id}", "/api/v2/media",
    )  # fmt: skip
    message, there = approved(CHANNEL.name, "Stay inside."), Receipt(remote_id="1")
    async with prism(specification) as base:
        adapter = made(base)
        try:
            assert (await adapter.send(message)).remote_id
            assert (await adapter.edit(message, there)).remote_id
            # Not `send`: the document has a status be of words or of pictures (`oneOf`), though its
            # own words, and Mastodon, allow both.
            assert (await adapter.edit(showing(message), there)).remote_id
            await adapter.retract(there)
            assert await adapter.read(there)
        finally:
            await adapter.close()
        # So that it is known to judge at all.
        wrong = {"status": "Stay inside.", "visibility": "everybody"}
        async with aiohttp.request(
            "POST",
            f"{base}/api/v1/statuses",
            json=wrong,
            headers={"Authorization": "Bearer x", "Idempotency-Key": "1"},
        ) as answer:
            assert answer.status == 422
