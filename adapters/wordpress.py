"""A post of a WordPress site (REST API handbook, "Posts"), by an application password.

Its slug is our id of the post, so that it can be looked for, and what stands at it is our post,
whatever somebody made of it since. WordPress itself makes a second post of the same slug (`…-2`):
of one that was sent again while the site was still at the first, that one is taken down. The title
is the headline, the content one Verse block: text
that keeps its line breaks, in the site's own type. Comments and pings are closed.

WordPress makes typographic quotes, dashes and crosses of plain ones, and runs what stands in square
brackets, as it shows a post (`wptexturize`, `do_shortcode`); as it keeps one, it reads `&amp;#91;`
as `&#91;` (`wp_kses_normalize_entities`). So each sign goes in by its number, and is left alone.

A picture goes into the media library before its post (REST API handbook, "Media"), by a slug of our
own, so that it is there once however often it is brought, and stands in an image block after the
words. It is deleted with its post, once nobody can read that. One that a correction took out stays
in the library.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import NoReturn

import aiohttp
from pydantic import BaseModel, TypeAdapter
from yarl import URL

from adapters import http
from broadcaster.accounts import WordPressAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    NotThere,
    Receipt,
    Refused,
    Seen,
    Sender,
    TryLater,
    meant_for,
)
from broadcaster.media import Picture
from broadcaster.world import W

#: The longest text, each of its signs as a number in JSON, is a third of this.
_LONGEST_ANSWER = 1_048_576

#: What WordPress would touch: signs, a cross between numbers (9x9), and its own name written
#: otherwise (`capital_P_dangit`). What is beyond 16 bits has no place in tables of `utf8`.
_TOUCHED = re.compile(r"[!-/:-@\[-`{-~\U00010000-\U0010ffff]|(?<=[0-9])x|W(?=ordpress)")


class _Words(BaseModel):
    """What the public reads, in HTML."""

    rendered: str = ""


class _Media(BaseModel):
    """What we ask of a picture in the library."""

    id: int
    slug: str
    source_url: str


class _Post(BaseModel):
    """What we ask of a post. It has no state of comments where the site has no comments at all."""

    id: int
    link: str
    slug: str
    status: str
    title: _Words
    content: _Words
    comment_status: str = "closed"
    ping_status: str = "closed"

    @property
    def public(self) -> bool:
        return self.status == "publish"


_POST, _POSTS = TypeAdapter(_Post), TypeAdapter(list[_Post])
_MEDIA, _MEDIAS = TypeAdapter(_Media), TypeAdapter(list[_Media])
_FIELDS, _MEDIA_FIELDS = (",".join(each.model_fields) for each in (_Post, _Media))

#: How WordPress marks which picture of its library an image block shows, and how ours are called.
_SHOWS, _OURS = re.compile(r"\bwp-image-([0-9]+)\b"), "picture-"


class WordPress(Sender[W]):
    """Posts to one site. Class C: it is looked for by its slug, before each post, too."""

    def __init__(
        self, channel: Channel[W], account: WordPressAccount, *,
        networks: http.Networks, clock: Clock,
    ) -> None:  # fmt: skip
        self.channel = channel
        self._site = URL(str(account.url)) / ""
        login = aiohttp.encode_basic_auth(account.user, account.password.get_secret_value())
        self._login = {"Authorization": login}
        self._client = http.Client(networks, clock)

    async def send(self, message: Message[W]) -> Receipt:
        """Publishes the post, unless it is there. Raises TryLater, Refused or InDoubt."""
        meant_for(self.channel, message)
        if there := await self._look(message):
            if not there.public:
                raise Refused("The site holds this post already, but it is not public there. "
                              "Nothing was sent; publish or delete it there.")  # fmt: skip
            return _receipt(there)
        made = await self._publish(message, self._url(), {"slug": message.post_id})
        return _receipt(await self._only(made, message))

    async def find(self, message: Message[W]) -> Receipt | None:
        """The post of our slug. Raises TryLater.

        Whatever it says by now, and though it may be public no more: it is read back, which tells
        of that, and corrections reach it.
        """
        try:
            there = await self._look(message)
        except Refused as refused:
            raise TryLater(str(refused)) from None
        return None if there is None else _receipt(there)

    async def edit(self, message: Message[W], there: Receipt) -> Receipt:
        """Puts the words into a post, which keeps its address, and is public again if it was not.

        Raises as `send`, or NotThere.
        """
        meant_for(self.channel, message)
        return _receipt(await self._publish(message, self._url(there.remote_id), {}))

    async def retract(self, there: Receipt) -> None:
        """Makes a draft of the post, then deletes its pictures, and then it, past the trash.

        In this order nobody reads the words while a picture cannot be deleted, and the post still
        tells which that is. Raises as `send` does.
        """
        answer = await self._ask("POST", self._url(there.remote_id), b'{"status": "draft"}')
        if _gone(answer):
            return
        _prove(answer)
        try:
            draft = _POST.validate_json(answer.body)
        except ValueError:
            raise _no_answer_to_our_change(answer) from None
        with _once_the_words_are_down():
            for picture in await self._pictures(draft):
                await self._delete(f"media/{picture}")
            await self._delete(f"posts/{there.remote_id}")

    async def read(self, there: Receipt) -> Seen | None:
        """What anybody reads there, without our login. Raises TryLater."""
        answer = await self._client.look(
            self._url(there.remote_id), headers={}, deadline=self.channel.deadline,
            most=_LONGEST_ANSWER,
        )  # fmt: skip
        if _gone(answer) or (answer.status, _code(answer)) == (401, "rest_forbidden"):
            return None  # the latter: it is in the trash, or no more than a draft
        try:
            http.prove(answer)
            post = _POST.validate_json(answer.body)
        except InDoubt as said:
            raise TryLater(str(said), said.after) from None
        except Refused as said:
            raise TryLater(str(said)) from None
        except ValueError:
            _no_answer_of_its(answer)
        return Seen(
            text=_text(post.content.rendered), headline=_text(post.title.rendered),
            answerable=(post.comment_status, post.ping_status) != ("closed", "closed"),
        )  # fmt: skip

    async def close(self) -> None:
        await self._client.close()

    async def _look(self, message: Message[W]) -> _Post | None:
        """The post of the message's slug, in whatever state: somebody may have taken it down.

        Raises TryLater or Refused: a look changes nothing.
        """
        slug = message.post_id
        wanted = {"slug": f"{slug},{slug}__trashed", "status": "any,trash", "context": "edit"}
        try:
            answer = await self._ask("GET", self._url(**wanted))
            _prove(answer)
            found = _POSTS.validate_json(answer.body)
        except InDoubt as broke:
            raise TryLater(
                f"{broke} It was only asked for the post; nothing was sent.", broke.after
            ) from None
        except ValueError:
            _no_answer_of_its(answer)
        return found[0] if found else None

    async def _only(self, made: _Post, message: Message[W]) -> _Post:
        """The post that stays, of one that was made and perhaps of another that is there, too.

        A site of which something makes slugs of its own has one. Raises InDoubt where it may have
        two.
        """
        if not re.fullmatch(f"{re.escape(message.post_id)}-[0-9]+", made.slug):
            return made
        try:
            first = await self._look(message)
            if first is None or not first.public:
                return made
            await self._delete(f"posts/{made.id}")
        except (TryLater, Refused, InDoubt) as no:
            raise InDoubt(
                f"The site may show this post twice, since it was still at an earlier try: if so, "
                f"delete {made.link} there by hand. {no}"
            ) from None
        return first

    async def _pictures(self, post: _Post) -> list[int]:
        """Our own pictures that a post shows. Raises TryLater or Refused."""
        shown = _SHOWS.findall(post.content.rendered)
        if not shown:
            return []
        try:
            answer = await self._ask("GET", self._media(include=",".join(shown)))
            _prove(answer)
            found = _MEDIAS.validate_json(answer.body)
        except InDoubt as broke:
            raise TryLater(f"{broke} It was only asked for the picture.", broke.after) from None
        except ValueError:
            _no_answer_of_its(answer)
        return [each.id for each in found if each.slug.startswith(_OURS)]

    async def _delete(self, what: str) -> None:
        answer = await self._ask("DELETE", self._at(what, force="true", _fields="deleted"))
        if _gone(answer):
            return
        _prove(answer)
        try:
            deleted = answer.json["deleted"] is True
        except (ValueError, TypeError, LookupError):
            deleted = False
        if not deleted:
            raise InDoubt(
                f"The site answered {answer.status}, but not as WordPress does when it has "
                "deleted. Look whether the post is there."
            )

    async def _brought(self, message: Message[W], picture: Picture) -> _Media:
        """A picture in the site's library, once. Raises TryLater or Refused."""
        slug = f"{_OURS}{message.post_id}"
        with http.posts_nothing():
            answer = await self._ask("GET", self._media(slug=slug))
            _prove(answer)
            if found := _MEDIAS.validate_json(answer.body):
                return found[0]
            answer = await self._client.bring(
                self._media(slug=slug, alt_text=picture.alt), body=message.file(picture),
                headers=self._login | {
                    "Content-Type": picture.type,
                    "Content-Disposition": f'attachment; filename="{picture.file_name}"',
                },
                deadline=self.channel.time_for([picture]),
            )  # fmt: skip
            if answer.status == 413 or (_code(answer) or "").startswith("rest_upload_"):
                raise Refused(
                    f"The site does not take the picture ({answer.status}), and nothing was "
                    "posted. Have the words approved without it, or with a smaller one."
                )
            _prove(answer)
            return _MEDIA.validate_json(answer.body)

    async def _publish(self, message: Message[W], url: URL, more: Mapping[str, str]) -> _Post:
        content = (
            '<!-- wp:verse -->\n<pre class="wp-block-verse">'
            f"{_html(message.rendering.text)}</pre>\n<!-- /wp:verse -->"
        )
        for picture in message.rendering.pictures:
            content += _block(await self._brought(message, picture), picture)
        fields = {
            "title": _html(message.rendering.headline),
            "content": content,
            "status": "publish",
            "comment_status": "closed",
            "ping_status": "closed",
            **more,
        }
        answer = await self._ask("POST", url, json.dumps(fields).encode())
        if _gone(answer):
            raise NotThere("The post is no longer on the site (404). Nothing was changed.")
        _prove(answer)
        try:
            post = _POST.validate_json(answer.body)
        except ValueError:
            raise _no_answer_to_our_change(answer) from None
        if not post.public:
            raise InDoubt(
                "The site took the post, but it is not public there. Publish or delete it there."
            )
        return post

    async def _ask(self, method: str, url: URL, body: bytes | None = None) -> http.Answer:
        kind = {} if body is None else {"Content-Type": "application/json"}
        return await self._client.request(
            method, url, body=body, headers=self._login | kind, deadline=self.channel.deadline,
            most=_LONGEST_ANSWER,
        )  # fmt: skip

    def _url(self, post: str = "", **query: str) -> URL:
        """The address of the posts, or one of them."""
        return self._at(f"posts/{post}", _fields=_FIELDS, **query)

    def _media(self, **query: str) -> URL:
        """The address of the media library."""
        return self._at("media", _fields=_MEDIA_FIELDS, **query)

    def _at(self, what: str, **query: str) -> URL:
        """An address that a site has with and without permalinks."""
        route = f"/wp/v2/{what}".rstrip("/")
        return self._site.with_query({"rest_route": route, **query})


def _receipt(post: _Post) -> Receipt:
    return Receipt(remote_id=str(post.id), url=post.link)


@contextmanager
def _once_the_words_are_down() -> Iterator[None]:
    """Says so in what is raised."""
    try:
        yield
    except (TryLater, Refused, InDoubt) as no:
        no.args = (
            f"The words are down, the post being a draft there, but it is not deleted. {no}",
        )
        raise


def _block(there: _Media, picture: Picture) -> str:
    """What shows a picture in a post."""
    return (
        f'\n\n<!-- wp:image {{"id":{there.id}}} -->\n<figure class="wp-block-image">'
        f'<img src="{html.escape(there.source_url)}" alt="{_html(picture.alt)}" '
        f'class="wp-image-{there.id}"/></figure>\n<!-- /wp:image -->'
    )


def _html(text: str) -> str:
    """A text in HTML that WordPress keeps and shows as it is."""
    return _TOUCHED.sub(lambda sign: f"&#{ord(sign[0])};", text)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def _text(marked: str) -> str:
    """What a reader sees of a post's HTML: ours has no more than one element."""
    reader = _Reader()
    reader.feed(marked)
    reader.close()
    return "".join(reader.said).strip()


def _code(answer: http.Answer) -> str | None:
    """What WordPress calls an error (REST API handbook, "Errors"); None: it is none of its own."""
    try:
        said = answer.json
    except ValueError:
        return None
    return said.get("code") if isinstance(said, dict) else None


def _gone(answer: http.Answer) -> bool:
    """Whether WordPress says that there is no such post, or that it is in the trash."""
    ends = {(404, "rest_post_invalid_id"), (410, "rest_already_trashed")}
    return (answer.status, _code(answer)) in ends


#: What WordPress calls a user's lack of a right; the second is about the media library (400).
_NOT_OURS = frozenset({
    "rest_cannot_publish", "rest_cannot_create", "rest_cannot_edit", "rest_cannot_delete",
})  # fmt: skip


def _prove(answer: http.Answer) -> None:
    """Raises as `http.prove` does, in WordPress's terms where they say what to do."""
    status, code = answer.status, _code(answer)
    if status == 401 or b"rest_forbidden_status" in answer.body:
        raise LockedOut(
            f"The site does not know our login ({status}). Correct user and application password "
            "in the settings, or have its web server hand on the Authorization header."
        )
    if status in (400, 403) and code in _NOT_OURS:
        raise Refused(
            f"Our user may not do this on the site ({status}). Give it the role Author there."
        )
    if status == 404:
        raise Refused(
            f"There is no WordPress REST API at this address ({status}). Correct the site's URL "
            "in the settings, or switch the API on."
        )
    http.prove(answer)


def _no_answer_to_our_change(answer: http.Answer) -> InDoubt:
    return InDoubt(
        f"The site answered {answer.status}, but not as WordPress does. Look whether the post is "
        "there."
    )


def _no_answer_of_its(answer: http.Answer) -> NoReturn:
    raise TryLater(f"The site answered {answer.status}, but not as WordPress does.") from None
