"""Posts of an account on X (API v2, docs.x.com; fields as in its OpenAPI document, version 2.167).

X takes no key of ours, and the same words only once: where it refuses them as a duplicate, an
earlier try may have left them there, and they are looked for. Only those whom a post mentions may
answer it, and it mentions nobody (`verbatim`). X turns links into t.co and escapes HTML; both are
undone when the words are read. It makes a new post of an edit, so nothing is edited.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import quote

from yarl import URL

from adapters import http
from broadcaster.accounts import XAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    Receipt,
    Refused,
    Seen,
    Sender,
    TryLater,
    meant_for,
)
from broadcaster.world import W

#: How many posts are asked for at once (X gives no more), the bytes they may be, and how often.
PAGE, LONGEST_PAGE, PAGES = 100, 2_000_000, 10

#: What the type of an error ends in that tells of a post which is gone.
GONE = "/resource-not-found"

#: How far X's clock may be behind ours: what is older than the release is another post.
SKEW = timedelta(minutes=1)


class X(Sender[W]):
    """Posts to one account. What proves us is never shown."""

    def __init__(
        self, channel: Channel[W], account: XAccount, *, networks: http.Networks, clock: Clock,
    ) -> None:  # fmt: skip
        self.channel = channel
        self._api = URL(str(account.url)) / "2"
        self._account = account
        self._clock = clock
        self._client = http.Client(networks, clock)

    async def send(self, message: Message[W]) -> Receipt:
        """Posts. Raises TryLater, Refused or InDoubt."""
        meant_for(self.channel, message)
        answer = await self._ask(
            "POST", self._api / "tweets",
            {"text": message.rendering.text, "reply_settings": "mentionedUsers"},
        )  # fmt: skip
        if answer.status == 403 and "duplicate content" in _detail(answer):
            return await self._there_already(message)
        _prove(answer)
        try:
            return _receipt(answer.json["data"])
        except (ValueError, TypeError, KeyError):
            raise InDoubt(
                f"The server answered {answer.status}, but not as X does when it has posted."
            ) from None

    async def _there_already(self, message: Message[W]) -> Receipt:
        found = await self.find(message)
        if found is None:
            raise Refused(
                "X says that these words were posted before (403), and they are not to be seen "
                "since this update was released. Look at the account, and change a word if they "
                "are missing there."
            )
        return found

    async def find(self, message: Message[W]) -> Receipt | None:
        """The newest post of these words since their release. Raises TryLater."""
        since = (message.released_at - SKEW).astimezone(UTC)
        query = {
            "max_results": str(PAGE), "exclude": "replies,retweets", "post.fields": "entities",
            "start_time": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }  # fmt: skip
        with http.legible():
            for _ in range(PAGES):
                shown = http.shown(await self._look(f"users/{self._account.user_id}/tweets", query))
                for post in shown.get("data", ()):
                    if words(post) == message.rendering.text:
                        return _receipt(post)
                if (further := shown["meta"].get("next_token")) is None:
                    return None
                query["pagination_token"] = further
        raise TryLater("Too many posts were made since these words were released to look through.")

    async def retract(self, there: Receipt) -> None:
        """Deletes a post; one that is gone is deleted. Raises TryLater, Refused or InDoubt."""
        answer = await self._ask("DELETE", self._api / "tweets" / there.remote_id)
        if answer.status == 404:
            return
        _prove(answer)
        try:
            deleted = answer.json["data"]["deleted"] is True
        except (ValueError, TypeError, LookupError):
            deleted = False
        if not deleted:
            raise InDoubt(
                f"The server answered {answer.status}, but not as X does when it has deleted."
            )

    async def read(self, there: Receipt) -> Seen | None:
        """The words that the public reads; None: they are gone. Raises TryLater."""
        answer = await self._look(
            f"tweets/{there.remote_id}", {"post.fields": "entities,reply_settings"}
        )
        if answer.status == 404:
            return None
        with http.legible():
            shown = http.shown(answer)
            # X answers 200 with an error in place of the post.
            if "data" not in shown and shown["errors"][0]["type"].endswith(GONE):
                return None
            post = shown["data"]
            settings = post.get("reply_settings")
            answerable = None if settings is None else settings != "mentionedUsers"
            return Seen(text=words(post), answerable=answerable)

    async def close(self) -> None:
        await self._client.close()

    async def _look(self, path: str, query: Mapping[str, str]) -> http.Answer:
        url = self._api.joinpath(path).with_query(query)
        return await self._client.look(
            url, headers=self._proof("GET", url), deadline=self.channel.deadline, most=LONGEST_PAGE
        )

    async def _ask(
        self, method: str, url: URL, fields: Mapping[str, str] | None = None
    ) -> http.Answer:
        body = None if fields is None else json.dumps(fields).encode()
        said = {} if fields is None else {"Content-Type": "application/json"}
        return await self._client.request(
            method, url, body=body, headers=self._proof(method, url) | said,
            deadline=self.channel.deadline,
        )  # fmt: skip

    def _proof(self, method: str, url: URL) -> dict[str, str]:
        given = {
            "oauth_consumer_key": self._account.api_key,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_timestamp": str(int(self._clock.now().timestamp())),
            "oauth_token": self._account.token,
            "oauth_version": "1.0",
        }
        key = "&".join(
            _quoted(secret.get_secret_value())
            for secret in (self._account.api_key_secret, self._account.token_secret)
        )
        given["oauth_signature"] = signature(method, url, given, key)
        said = ", ".join(f'{name}="{_quoted(value)}"' for name, value in given.items())
        return {"Authorization": f"OAuth {said}"}


def signature(method: str, url: URL, given: Mapping[str, str], key: str) -> str:
    """Signs a request and the query of its URL, not its body (OAuth 1.0a, RFC 5849 §3.4)."""
    pairs = sorted(
        (_quoted(name), _quoted(value)) for name, value in [*given.items(), *url.query.items()]
    )
    said = "&".join(f"{name}={value}" for name, value in pairs)
    base = "&".join(map(_quoted, (method, str(url.with_query(None)), said)))
    return base64.b64encode(hmac.digest(key.encode(), base.encode(), hashlib.sha1)).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _detail(answer: http.Answer) -> str:
    try:
        return str(answer.json["detail"])
    except (ValueError, TypeError, LookupError):
        return ""


def _prove(answer: http.Answer) -> None:
    """As `http.prove`, and says what X's refusals mean (docs.x.com, "Response codes")."""
    match answer.status:
        case 400:
            raise Refused(
                "X found these words or their form invalid (400), and posted nothing. Reword the "
                "update."
            )
        case 401:
            raise LockedOut(
                "X does not know our keys and tokens (401). Make new ones in its developer "
                "console, and put them into the settings; look at this machine's clock, too."
            )
        case 402:
            raise Refused(
                "X wants to be paid first (402). Buy credits in its developer console, or have "
                "the department's free access as a public utility confirmed."
            )
        case 403:
            raise Refused(
                "X does not let this app or account post this (403). Look whether the app has the "
                'right "Read and write", and whether X has limited the account.'
            )
    http.prove(answer)


def _receipt(post: Any) -> Receipt:
    post_id = str(post["id"])
    return Receipt(remote_id=post_id, url=f"https://x.com/i/status/{post_id}")


def words(post: Mapping[str, Any]) -> str:
    """The words of a post as they were sent: t.co expanded, then HTML's three escapes undone.

    In this order and no further: X escapes each & of the words, so that what reads like another
    escape is theirs.
    """
    text = str(post["text"])
    for link in post.get("entities", {}).get("urls", ()):
        text = text.replace(link["url"], link["expanded_url"].replace("&", "&amp;"), 1)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
