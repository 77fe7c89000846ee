"""WordPress under the contract: a real one, and a scripted one for what breaks.

What the public reads is read on the post's page, as the site's theme shows it.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import lxml.html
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from adapters import http
from adapters.wordpress import WordPress
from broadcaster import channel
from broadcaster.accounts import WordPressAccount
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    NotThere,
    Receipt,
    Refused,
    Seen,
    TryLater,
)
from broadcaster.errors import Refusal
from broadcaster.media import digest_of
from broadcaster.update import LONGEST_TEXT, clean
from broadcaster.world import Exercise
from tests.adapters.contract import (
    LOOPBACK,
    HttpFaults,
    Pictured,
    Platform,
    Posted,
    approved,
    showing,
)
from tests.adapters.wordpress_server import (
    ADMINISTRATOR,
    AUTHOR,
    CONTRIBUTOR,
    Site,
    wordpress,
)
from tests.faults.receiver import Request, Way, answers, by
from tests.pictures import drawing
from tests.story import EXERCISE, StillClock

__all__ = ["wordpress"]

SITE = channel.wordpress(EXERCISE, "city_site", "City's site")

#: What WordPress makes something else of, where it is not kept from it.
TOUCHED = [
    "'tis \"quoted\", 9' 9\" 9x9 0x99 '99 ``a'' -- --- ... (c) (tm) xn--p1ai",
    "[gallery] [/gallery] [[embed]] [audio src=1] &#91;gallery&#93; &lt;b&gt; &amp;amp;",
    "https://example.org/watch?v=1&b=2\nhttps://youtu.be/dQw4w9WgXcQ\nWordpress (Wordpress) :) 8-)",
    "<!-- wp:html --><b>a</b><!-- /wp:html --> <!--more--> <!--nextpage--> </pre> {{a}} <?php ?>",
    "a\\b \\n %20 &nbsp;& \u00a0\u00a0 \u2028 a\n\n\n   b",
    "https://example.org/" + "a-long-way/" * 40 + "?q=%F0%9F%9A%92#end",
    "👨‍👩‍👧‍👦 👩🏿‍🚒 🇺🇸🇲🇽 ☎️ 1️⃣ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 ❤️‍🔥",
    "q\u0307\u0323 Z\u0351\u036b\u0343 가각 नमस्ते क्षि ज्ञ مرحبا بكم می\u200cخواهم ภาษาไทย 𝒳 𐍈",
]

ANYTHING = st.lists(st.sampled_from(TOUCHED) | st.text(max_size=40), max_size=4).map(" ".join)

#: The number of each test's first post: none has to be deleted for the next test.
FIRSTS = itertools.count(1000, 1000)


def made(
    site: str, password: str, user: str = AUTHOR, *, networks: http.Networks = LOOPBACK,
    deadline: timedelta = SITE.deadline,
) -> WordPress[Exercise]:  # fmt: skip
    account = WordPressAccount(
        kind="wordpress", name=SITE.name, title=SITE.title, url=site, user=user, password=password
    )  # fmt: skip
    there = SITE.model_copy(update={"deadline": deadline})
    return WordPress(there, account, networks=networks, clock=StillClock())


async def page(url: str) -> Posted:
    """What a reader sees at a post's address."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        shown = lxml.html.fromstring(await answer.text())
    [title], [content] = map(shown.find_class, ("wp-block-post-title", "entry-content"))
    return Posted(url.rstrip("/").rpartition("/")[2], title.text_content(),
                  content.text_content().strip("\n"))  # fmt: skip


@pytest.mark.server
class TestWordPress(Platform):
    @pytest.fixture(autouse=True)
    async def _site(self, wordpress: Site) -> AsyncIterator[None]:
        self.site = wordpress
        self._adapters: list[WordPress[Exercise]] = []
        self._first = next(FIRSTS)
        self._numbers = itertools.count()
        yield
        for adapter in self._adapters:
            await adapter.close()

    @pytest.fixture
    def adapter(self) -> WordPress[Exercise]:
        return self.of(AUTHOR)

    def of(self, user: str, *, password: str | None = None, path: str = "") -> WordPress[Exercise]:
        known = self.site.passwords[user]
        self._adapters.append(made(self.site.url + path, password or known, user))
        return self._adapters[-1]

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        return approved(SITE.name, text, self._first + number)

    async def posted(self) -> list[Posted]:
        newest = await self.site.ask("GET", orderby="id")
        first = approved(SITE.name, "-", self._first).post_id
        return [await page(post["link"]) for post in newest[::-1] if post["slug"] >= first]

    async def shown(self) -> list[Pictured]:
        """What a reader's browser fetches, and is told of it."""
        newest = await self.site.ask("GET", orderby="id")
        first = approved(SITE.name, "-", self._first).post_id
        shown = []
        async with aiohttp.ClientSession() as session:
            for post in newest[::-1]:
                if post["slug"] < first:
                    continue
                async with session.get(post["link"]) as answer:
                    read = lxml.html.fromstring(await answer.text())
                [content] = read.find_class("entry-content")
                for image in content.iter("img"):
                    async with session.get(image.get("src")) as answer:
                        shown.append(Pictured(digest_of(await answer.read()), image.get("alt")))
        return shown

    async def test_a_picture_is_there_once_and_goes_with_its_post(
        self, adapter: WordPress[Exercise]
    ) -> None:
        """However often it is brought; what is in the library can be fetched by anybody."""
        message = showing(await self.message("Stay inside."))
        there = await adapter.send(message)
        assert await adapter.edit(message, there) == there
        slug = f"picture-{message.post_id}"
        [media] = await self.site.ask("GET", kind="media", slug=slug)
        alt = await self.site.ask("GET", media["id"], kind="media", user=AUTHOR, context="edit")
        assert alt["alt_text"]
        await adapter.retract(there)
        assert await self.site.ask("GET", kind="media", slug=slug) == []
        async with aiohttp.ClientSession() as session, session.get(media["source_url"]) as gone:
            assert gone.status == 404

    async def test_a_picture_of_somebody_elses_stays(self, adapter: WordPress[Exercise]) -> None:
        """As somebody puts one into our post by hand."""
        async with aiohttp.ClientSession() as session:
            login = aiohttp.encode_basic_auth(AUTHOR, self.site.passwords[AUTHOR])
            async with session.post(
                self.site.url, params={"rest_route": "/wp/v2/media"}, data=drawing(),
                headers={"Authorization": login, "Content-Type": "image/png",
                         "Content-Disposition": 'attachment; filename="theirs.png"'},
            ) as answer:  # fmt: skip
                theirs = await answer.json()
        there = await adapter.send(await self.message("Stay inside."))
        shows = f'<img class="wp-image-{theirs["id"]}" src="{theirs["source_url"]}"/>'
        await self.site.ask("POST", there.remote_id, user=AUTHOR, json={"content": shows})
        await adapter.retract(there)
        assert await self.site.ask("GET", theirs["id"], kind="media")

    async def replies_are_closed(self, receipt: Receipt) -> bool:
        """As the site says it, and as it treats who answers all the same."""
        post = await self.site.ask("GET", receipt.remote_id)
        answer = {"comment_post_ID": receipt.remote_id, "comment": "First!", "author": "A",
                  "email": "a@city.example"}  # fmt: skip
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.site.url}/wp-comments-post.php", data=answer) as refused,
        ):
            told = await refused.text()
        assert refused.status == 403 and "comments are closed" in told
        return (post["comment_status"], post["ping_status"]) == ("closed", "closed")

    @pytest.mark.parametrize("text", TOUCHED)
    async def test_nothing_is_made_prettier(self, adapter: WordPress[Exercise], text: str) -> None:
        shown = await page(await self._comes_through(adapter, text, text[:300]))
        assert (shown.text, shown.headline) == (text, text[:300])

    async def test_it_is_the_same_for_whom_wordpress_does_not_clean_up_after(self) -> None:
        """It takes HTML from editors and administrators as it comes (`unfiltered_html`)."""
        text = "\n".join(TOUCHED)
        shown = await page(await self._comes_through(self.of(ADMINISTRATOR), text, text[:300]))
        assert (shown.text, shown.headline) == (text, text[:300])

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(ANYTHING, ANYTHING)
    async def test_what_may_be_approved_comes_through(self, text: str, headline: str) -> None:
        try:
            text, headline = clean(text, "text") or "-", clean(headline[:300], "hazard") or "-"
        except Refusal:
            reject()
        await self._comes_through(self.of(AUTHOR), text, headline)

    async def test_the_longest_text_comes_through(self, adapter: WordPress[Exercise]) -> None:
        await self._comes_through(adapter, "🚒" * LONGEST_TEXT, "🚒" * 300)

    async def _comes_through(self, adapter: WordPress[Exercise], text: str, headline: str) -> str:
        """Posts it, and reads it; the post's address."""
        message = await self.message(text, next(self._numbers))
        rendering = message.rendering.model_copy(update={"headline": headline})
        receipt = await adapter.send(message.model_copy(update={"rendering": rendering}))
        seen = Seen(text=text, headline=headline, answerable=False)
        assert await adapter.read(receipt) == seen
        assert receipt.url
        return receipt.url

    @pytest.mark.parametrize("change", [
        {"title": "Party tonight"}, {"content": "Leave."}, {"comment_status": "open"},
        {"ping_status": "open"}, {"status": "draft"}, None,
    ])  # fmt: skip
    async def test_what_somebody_changed_there_is_still_our_post(
        self, adapter: WordPress[Exercise], change: dict[str, str] | None
    ) -> None:
        """It is found, so that corrections reach it, even what somebody took down (None); and
        nothing is posted beside it."""
        message = await self.message("Stay inside.")
        receipt = await adapter.send(message)
        method = "DELETE" if change is None else "POST"
        assert await self.site.ask(method, receipt.remote_id, user=ADMINISTRATOR, json=change)
        found = await adapter.find(message)
        assert found is not None and found.remote_id == receipt.remote_id
        if change is None or "status" in change:
            with pytest.raises(Refused, match="not public"):
                await adapter.send(message)
            assert await self.posted() == []
        else:
            assert await adapter.send(message) == receipt
            assert len(await self.posted()) == 1
        right = await self.message("Go back.", 2)
        assert (await adapter.edit(right, found)).remote_id == receipt.remote_id
        assert [each.text for each in await self.posted()] == ["Go back."]
        await adapter.retract(found)
        assert await self.posted() == []

    async def test_a_second_post_is_taken_down(self, adapter: WordPress[Exercise]) -> None:
        """As where the site ends a send that we gave up, after we looked whether it is there."""
        message = await self.message("Stay inside.")
        first = await self.of(AUTHOR).send(message)

        async def nothing(_: object) -> None:
            looks.append(1)
            return None if len(looks) == 1 else await look(message)

        looks: list[int] = []
        look, adapter._look = adapter._look, nothing  # type: ignore[method-assign,assignment]
        assert await adapter.send(message) == first
        assert len(looks) == 2 and len(await self.posted()) == 1

    @pytest.mark.parametrize(("change", "seen"), [
        ({"title": "Party"}, Seen(text="Stay inside.", headline="Party", answerable=False)),
        ({"content": "<p>It&#8217;s <b>over</b></p>"},
         Seen(text="It’s over", headline="Gas leak – Oak St", answerable=False)),
        ({"comment_status": "open"},
         Seen(text="Stay inside.", headline="Gas leak – Oak St", answerable=True)),
        ({"ping_status": "open"},
         Seen(text="Stay inside.", headline="Gas leak – Oak St", answerable=True)),
        ({"status": "draft"}, None),
        ({"status": "private"}, None),
    ])  # fmt: skip
    async def test_it_reads_what_somebody_changed_there(
        self, adapter: WordPress[Exercise], change: dict[str, str], seen: Seen | None
    ) -> None:
        receipt = await adapter.send(await self.message("Stay inside."))
        await self.site.ask("POST", receipt.remote_id, user=ADMINISTRATOR, json=change)
        assert await adapter.read(receipt) == seen

    async def test_an_edit_mends_what_somebody_changed(self, adapter: WordPress[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Leave."))
        changed = {"comment_status": "open", "content": "Party"}
        await self.site.ask("POST", receipt.remote_id, user=ADMINISTRATOR, json=changed)
        assert await adapter.edit(await self.message("Stay inside.", 2), receipt) == receipt
        assert await self.replies_are_closed(receipt)
        assert [post.text for post in await self.posted()] == ["Stay inside."]

    async def test_what_is_gone_cannot_be_edited(self, adapter: WordPress[Exercise]) -> None:
        message = await self.message("Stay inside.")
        receipt = await adapter.send(message)
        await adapter.retract(receipt)
        with pytest.raises(NotThere, match="no longer on the site"):
            await adapter.edit(message, receipt)

    async def test_who_may_not_publish(self) -> None:
        adapter, message = self.of(CONTRIBUTOR), await self.message("Stay inside.")
        with pytest.raises(Refused, match="role Author"):
            await adapter.send(message)
        there = await self.of(AUTHOR).send(message)
        for forbidden in (adapter.edit(message, there), adapter.retract(there)):
            with pytest.raises(Refused, match="role Author"):
                await forbidden
        with pytest.raises(Refused, match="role Author"):
            await adapter.send(showing(await self.message("Stay inside.", 2)))

    async def test_a_wrong_password(self) -> None:
        adapter = self.of(AUTHOR, password="wrong")
        message = await self.message("Stay inside.")
        with pytest.raises(Refused, match="login"):
            await adapter.send(message)
        with pytest.raises(TryLater, match="login"):
            await adapter.find(message)
        there = await self.of(AUTHOR).send(message)
        for forbidden in (adapter.edit(message, there), adapter.retract(there)):
            with pytest.raises(Refused, match="login"):
                await forbidden

    async def test_a_site_without_the_api_there(self) -> None:
        adapter = self.of(AUTHOR, path="/wp-includes")
        with pytest.raises(Refused, match="no WordPress REST API"):
            await adapter.send(await self.message("Stay inside."))
        assert await self.posted() == []


#: The slug of what is sent to the scripted site.
SLUG = approved(SITE.name, "-").post_id


def post(**fields: object) -> bytes:
    """A post, as the site tells it to its author."""
    there: dict[str, Any] = {
        "id": 7, "link": "https://city.example/x", "status": "publish", "comment_status": "closed",
        "slug": SLUG,
        "ping_status": "closed", "title": {"rendered": "Gas leak – Oak St"},
        "content": {"rendered": "Stay inside."},
    }  # fmt: skip
    return json.dumps(there | fields).encode()


def error(code: str, **more: object) -> bytes:
    return json.dumps({"code": code, "message": "Sorry.", "data": more}).encode()


#: A request to post: status, body, what it means, and what is said (handbook, "Errors").
ERRORS: list[tuple[int, bytes, type[Exception], str]] = [
    (400, error("rest_invalid_param"), Refused, "refused this"),
    (400, error("empty_content"), Refused, "refused this"),
    (401, error("rest_cannot_create"), LockedOut, "login"),
    (401, error("incorrect_password"), LockedOut, "login"),
    (401, error("application_passwords_disabled"), LockedOut, "login"),
    (403, error("rest_cannot_publish"), Refused, "role Author"),
    (403, b"<h1>Forbidden</h1>", Refused, "refused this"),
    (404, error("rest_no_route"), Refused, "no WordPress REST API"),
    (404, b"<h1>Not found</h1>", Refused, "no WordPress REST API"),
    (500, error("db_insert_error"), InDoubt, "leaves open"),
    (500, error("internal_server_error"), InDoubt, "leaves open"),
    (500, b"<h1>Error establishing a database connection</h1>", InDoubt, "leaves open"),
    (200, b"<html>Are you a robot?</html>", InDoubt, "not as WordPress does"),
    (201, b"[]", InDoubt, "not as WordPress does"),
    (201, post(status="pending"), InDoubt, "not public"),
]

#: What is said of a picture (class-wp-rest-attachments-controller.php), and what it means.
UPLOADS: list[tuple[int, bytes, type[Exception], str]] = [
    (400, error("rest_upload_file_too_big"), Refused, "does not take the picture"),
    (400, error("rest_upload_limited_space"), Refused, "does not take the picture"),
    (413, b"<h1>Request Entity Too Large</h1>", Refused, "does not take the picture"),
    (500, error("rest_upload_sideload_error"), Refused, "does not take the picture"),
    (400, error("rest_cannot_create"), Refused, "role Author"),
    (401, error("rest_cannot_create"), LockedOut, "login"),
    (500, error("internal_server_error"), TryLater, "nothing was posted"),
    (503, b"", TryLater, "nothing was posted"),
    (201, b"[]", TryLater, "cannot be read"),
]

#: A deletion: status, body, and what it means; None: it is gone.
DELETIONS: list[tuple[int, bytes, type[Exception] | None]] = [
    (200, json.dumps({"deleted": True}).encode(), None),
    (404, error("rest_post_invalid_id"), None),
    (410, error("rest_already_trashed"), None),
    (404, error("rest_no_route"), Refused),
    (404, b"<h1>Not found</h1>", Refused),
    (403, error("rest_cannot_delete"), Refused),
    (401, error("rest_cannot_delete"), LockedOut),
    (500, error("rest_cannot_delete"), InDoubt),
    (200, b"<html>Are you a robot?</html>", InDoubt),
]

#: The look before it, in the same way: whatever it says, nothing was sent.
LOOKS: list[tuple[int, bytes, type[Exception], str]] = [
    (400, error("rest_invalid_param", details={"status": {"code": "rest_forbidden_status"}}),
     LockedOut, "login"),
    (401, error("rest_forbidden_context"), LockedOut, "login"),
    (404, error("rest_no_route"), Refused, "no WordPress REST API"),
    (500, b"<h1>Error establishing a database connection</h1>", TryLater, "nothing was sent"),
    (200, b"<html>Are you a robot?</html>", TryLater, "not as WordPress does"),
    (200, post(), TryLater, "not as WordPress does"),
]  # fmt: skip


class TestWordPressFaults(HttpFaults):
    channel_name = SITE.name
    asks_first = True
    taken = post()
    secrets = ("wkPz 4nXv Qm2s", base64.b64encode(b"author 1:wkPz 4nXv Qm2s").decode())

    def make(
        self, url: str, *, networks: http.Networks, deadline: timedelta
    ) -> WordPress[Exercise]:
        return made(url, self.secrets[0], networks=networks, deadline=deadline)

    def is_upload(self, request: Request) -> bool:
        return "media" in request.path

    def well(self, request: Request) -> Way:
        if request.method == "GET":
            return answers(200, body=b"[]" + b" " * 100, acts=False)
        return answers(201, body=self.taken + b" " * 100)

    @pytest.mark.parametrize(("status", "body", "means", "said"), ERRORS)
    async def test_what_wordpress_says(
        self, status: int, body: bytes, means: type[Exception], said: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        self.suffers(answers(status, body=body))
        assert said in str(await self._fails(self._made(), means, caplog))
        assert len(self.sends) == 1

    @pytest.mark.parametrize(("status", "body", "means", "said"), LOOKS)
    async def test_what_wordpress_says_when_it_is_asked(
        self, status: int, body: bytes, means: type[Exception], said: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        self.there.ways = [answers(status, body=body)]
        assert said in str(await self._fails(self._made(), means, caplog))
        with pytest.raises(TryLater, match=said):
            await self._made().find(await self.message("Stay inside."))
        assert self.sends == []

    @pytest.mark.parametrize(("status", "body", "means", "said"), UPLOADS)
    async def test_what_wordpress_says_of_a_picture(
        self, status: int, body: bytes, means: type[Exception], said: str
    ) -> None:
        def rule(request: Request) -> Way:
            uploads = request.method == "POST" and self.is_upload(request)
            return answers(status, body=body) if uploads else self.well(request)

        self.there.ways = [by(rule)]
        with pytest.raises((TryLater, Refused)) as caught:
            await self._made().send(showing(await self.message("Stay inside.")))
        assert type(caught.value) is means and said in str(caught.value)
        assert self.sends == []

    async def test_an_update_of_the_site_itself(self, caplog: pytest.LogCaptureFixture) -> None:
        """WordPress says how long it is being maintained (wp_maintenance), to the look before."""
        self.there.ways = [answers(503, {"Retry-After": "600"}, b"<p>Briefly unavailable</p>")]
        told = await self._fails(self._made(), TryLater, caplog)
        assert isinstance(told, TryLater) and told.after == timedelta(minutes=10)
        assert self.sends == []

    @pytest.mark.parametrize("fields", [
        {"content": {"rendered": "Stay"}}, {"title": {"rendered": "Party"}},
        {"comment_status": "open"},
    ])  # fmt: skip
    async def test_what_a_site_makes_of_the_words_is_posted(self, fields: dict[str, Any]) -> None:
        """So that it is read back, which tells of it, and corrections reach it."""
        message, adapter = await self.message("Stay inside."), self._made()
        self.suffers(answers(201, body=post(**fields)))
        receipt = await adapter.send(message)
        assert receipt.remote_id == "7"
        assert await adapter.edit(message, receipt) == receipt

    async def test_a_site_that_makes_its_own_slugs(self) -> None:
        self.suffers(answers(201, body=post(slug="gas-leak-oak-st")))
        assert (await self._made().send(await self.message("Stay inside."))).remote_id == "7"
        assert [each.method for each in self.there.heard] == ["GET", "POST"]

    @pytest.mark.parametrize(("status", "body", "means"), DELETIONS)
    async def test_what_wordpress_says_of_a_second_post(
        self, status: int, body: bytes, means: type[Exception] | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        """It gives it another slug, `…-2`: a send that we gave up has ended meanwhile."""
        first, second = post(id=6), post(slug=f"{SLUG}-2", link="https://city.example/x-2")

        def rule(request: Request) -> Way:
            if request.method == "GET":
                done = [each for each in self.there.heard if each.method == "POST"]
                return answers(200, body=b"[%s]" % first if done else b"[]")
            if request.method == "POST":
                return answers(201, body=second)
            return answers(status, body=body)

        self.there.ways = [by(rule)]
        if means is None:
            assert (await self._made().send(await self.message("Stay inside."))).remote_id == "6"
            assert [each.method for each in self.there.heard] == ["GET", "POST", "GET", "DELETE"]
            assert "/posts/7" in self.there.heard[-1].path.replace("%2F", "/")
        else:
            told = await self._fails(self._made(), InDoubt, caplog)
            assert "twice" in str(told) and "https://city.example/x-2" in str(told)

    async def test_words_are_taken_down_before_their_picture(self) -> None:
        """Whatever becomes of the picture, nobody reads them; and what is left is tried again."""
        shown = post(content={"rendered": '<img class="wp-image-9"/>'})
        media = [{"id": 9, "slug": "picture-x", "source_url": "https://city.example/x.png"}]
        broken = {"DELETE media": answers(500)}

        def rule(request: Request) -> Way:
            what = "media" if "media" in request.path else "posts"
            if (way := broken.get(f"{request.method} {what}")) is not None:
                return way
            if request.method == "DELETE":
                return answers(200, body=b'{"deleted": true}')
            return answers(200, body=json.dumps(media).encode() if what == "media" else shown)

        self.there.ways = [by(rule)]
        adapter, there = self._made(), Receipt(remote_id="7")
        with pytest.raises(InDoubt, match="words are down"):
            await adapter.retract(there)
        first, *_ = self.there.heard
        assert (first.method, first.json) == ("POST", {"status": "draft"})
        broken.clear()
        await adapter.retract(there)
        assert [each.method for each in self.there.heard[-4:]] == [
            "POST",
            "GET",
            "DELETE",
            "DELETE",
        ]
        assert "posts" in self.there.heard[-1].path

    @pytest.mark.parametrize(("status", "body", "means"), DELETIONS)
    async def test_what_wordpress_says_of_a_deletion(
        self, status: int, body: bytes, means: type[Exception] | None
    ) -> None:
        adapter, there = self._made(), Receipt(remote_id="7")
        gone = answers(status, body=body)
        self.there.ways = [
            by(lambda it: gone if it.method == "DELETE" else answers(200, body=post()))
        ]
        if means is None:
            return await adapter.retract(there)
        with pytest.raises((TryLater, Refused, InDoubt)) as caught:
            await adapter.retract(there)
        assert type(caught.value) is means

    async def test_a_site_without_comments(self) -> None:
        whole = json.loads(post())
        less = {name: whole[name] for name in whole if not name.endswith("_status")}
        self.there.ways = [by(lambda request: answers(200, body=json.dumps(
            [less] if request.method == "GET" else less).encode()))]  # fmt: skip
        assert await self._made().send(await self.message("Stay inside."))
