"""An ntfy topic that everybody may read, and to which only we write (docs.ntfy.sh, "Publishing").

    POST {topic}   publishes its body. X-Sequence-ID is the post's id: a repeat takes its place in
                   apps that know how; a server before 2.16 passes over it. X-Click is the
                   incident's address, which a tap opens.

The body is the text, byte for byte. It has no title, which the server bounds and decodes by rules
of its own, and without which the words are whole.

An answer holds the message as the subscribers get it, so a longer one that became an attachment,
or any other words than ours, are seen at once. What is on a phone can be neither changed nor taken
back for sure: a correction follows it, and rings again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel
from yarl import URL

from adapters import http
from broadcaster.accounts import NtfyAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.delivery import InDoubt, Message, Receipt, Refused, Sender, TryLater, meant_for
from broadcaster.world import W

#: The code of "daily message quota reached". The documents name no hour at which a new day begins;
#: after a pause of this length it is tried again, and somebody is told meanwhile.
DAY_IS_USED_UP, PAUSE = 42908, timedelta(hours=1)

_LENGTH = (
    "The server takes no message of this length",
    "Shorten the text, or have its `message-size-limit` set to 4 KB.",
)

#: What a refusal means, and what to do, by its `code` (server/errors.go).
_REFUSALS = {
    40009: ("The server takes no topic of this name", "Correct it in the settings."),
    40010: ("The server keeps this name for itself", "Put another topic into the settings."),
    40014: _LENGTH,
    40101: ("The server does not know our token", "Put a new one into the settings."),
    40301: (
        "Our user may not write to the topic",
        "Have it given that access, or correct the topic in the settings.",
    ),
    40401: ("There is no topic at this address", "Correct the server's URL in the settings."),
    41301: _LENGTH,
}


class Ntfy(Sender[W]):
    """Publishes to one topic. The token is never shown."""

    def __init__(
        self, channel: Channel[W], account: NtfyAccount, *, networks: http.Networks, clock: Clock
    ) -> None:
        self.channel = channel
        self._topic = account.topic
        self._url = URL(f"{str(account.url).rstrip('/')}/{account.topic}")
        self._headers = {
            "Authorization": f"Bearer {account.token.get_secret_value()}",
            "Content-Type": "text/plain; charset=utf-8",
        }
        self._client = http.Client(networks, clock)

    async def send(self, message: Message[W]) -> Receipt:
        """Publishes the message. Raises TryLater, Refused or InDoubt."""
        meant_for(self.channel, message)
        ours = {"X-Sequence-ID": message.post_id, "X-Click": message.incident_url}
        answer = await self._client.post(
            self._url, body=message.rendering.text.encode(), headers=self._headers | ours,
            deadline=self.channel.deadline,
        )  # fmt: skip
        _prove(answer)
        taken = _taken(answer)
        if (taken.topic, taken.message) != (self._topic, message.rendering.text):
            raise InDoubt(
                f"The server published something else than our words ({answer.status}). See what "
                "the topic shows."
            )
        return Receipt(remote_id=message.post_id, url=str(self._url))

    async def close(self) -> None:
        await self._client.close()


class _Taken(BaseModel):
    """A message as its subscribers get it ("JSON message format")."""

    id: str
    event: Literal["message"]
    topic: str
    message: str


def _taken(answer: http.Answer) -> _Taken:
    try:
        return _Taken.model_validate_json(answer.body)
    except ValueError:
        raise InDoubt(
            f"What answered ({answer.status}) does not speak as an ntfy server does. See whether "
            "the server is well, and its URL in the settings right."
        ) from None


class _Error(BaseModel):
    code: int


def _code(answer: http.Answer) -> int | None:
    """What a refusal says, where it is an ntfy server's."""
    try:
        return _Error.model_validate_json(answer.body).code
    except ValueError:
        return None


def _prove(answer: http.Answer) -> None:
    """Raises unless a message was taken, as `http.prove` does, with an ntfy server's reasons."""
    try:
        http.prove(answer)
    except TryLater:
        if _code(answer) != DAY_IS_USED_UP:
            raise
        raise TryLater(
            f"The day's messages are used up ({answer.status}). Ask whoever runs the server for "
            "more.", PAUSE,
        ) from None  # fmt: skip
    except Refused as refused:
        code = _code(answer)
        if code not in _REFUSALS:
            raise
        what, do = _REFUSALS[code]
        raise type(refused)(f"{what} ({answer.status}). {do}") from None
