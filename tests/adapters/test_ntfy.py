"""ntfy under the contract: against a double of the documented server, and one that breaks."""

from __future__ import annotations

import json
from datetime import timedelta

import aiohttp
import pytest

from adapters import http
from adapters.ntfy import PAUSE, Ntfy
from broadcaster import channel
from broadcaster.accounts import NtfyAccount
from broadcaster.delivery import InDoubt, LockedOut, Message, Refused, TryLater
from broadcaster.world import Exercise
from tests.adapters.contract import Contract, HttpFaults, Posted, approved
from tests.adapters.ntfy_server import NtfyServer, said
from tests.faults.receiver import Request, Way, answers
from tests.story import EXERCISE, StillClock

CHANNEL = channel.ntfy(EXERCISE, "phones", "ntfy")
TOPIC, TOKEN, READER = "dhspd-alerts", "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2", "tk_reads_only"


def taken(**fields: object) -> bytes:
    message = {"id": "a", "event": "message", "topic": TOPIC, "message": "Stay inside."}
    return json.dumps(message | fields).encode()


#: Status, body, what it means, and what is said ("Limitations"; server/errors.go).
ERRORS: list[tuple[int, bytes, type[Exception], str]] = [
    (400, said(400, 40009, "topic invalid"), Refused, "no topic of this name"),
    (400, said(400, 40010, "topic name is disallowed"), Refused, "for itself"),
    (400, said(400, 40014, "attachments not allowed"), Refused, "of this length"),
    (400, said(400, 40007, "invalid priority parameter"), Refused, "refused this"),
    (401, said(401, 40101, "unauthorized"), LockedOut, "know our token"),
    (403, said(403, 40301, "forbidden"), Refused, "may not write"),
    (404, said(404, 40401, "page not found"), Refused, "no topic at this address"),
    (404, b"<h1>Not found</h1>", Refused, "refused this"),
    (413, said(413, 41301, "attachment too large"), Refused, "of this length"),
    (429, said(429, 42901, "too many requests"), TryLater, "come back later"),
    (429, said(429, 42908, "daily message quota reached"), TryLater, "day's messages"),
    (500, said(500, 50001, "internal server error"), InDoubt, "leaves open"),
    (507, said(507, 50701, "cannot publish to UnifiedPush topic"), InDoubt, "leaves open"),
    (200, b"<html>Log in</html>", InDoubt, "not speak as an ntfy server"),
    (200, taken(event="open"), InDoubt, "not speak as an ntfy server"),
    (200, taken(topic="elsewhere"), InDoubt, "something else"),
    (200, taken(message="You received a file: attachment.txt"), InDoubt, "something else"),
]


class TestNtfy(Contract, HttpFaults):
    channel_name = CHANNEL.name
    taken = taken()
    secrets = ("a-path-that-is-a-secret", TOKEN)
    token = TOKEN

    def make(self, url: str, *, networks: http.Networks, deadline: timedelta) -> Ntfy[Exercise]:
        account = NtfyAccount(
            kind="ntfy", name=CHANNEL.name, title=CHANNEL.title, url=url, topic=TOPIC,
            token=self.token,
        )  # fmt: skip
        there = CHANNEL.model_copy(update={"deadline": deadline})
        return Ntfy(there, account, networks=networks, clock=StillClock())

    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.server = NtfyServer(TOPIC, {TOKEN: True, READER: False})

    @pytest.fixture
    def adapter(self) -> Ntfy[Exercise]:
        return self._made()

    def well(self, request: Request) -> Way:
        return self.server.answer(request)

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        return approved(CHANNEL.name, text, number)

    async def posted(self) -> list[Posted]:
        poll = f"{self.url()}/{TOPIC}/json?poll=1&since=all"
        async with aiohttp.ClientSession() as anybody, anybody.get(poll) as answer:
            seen = [json.loads(line) for line in (await answer.text()).splitlines()]
        return [Posted(each["sequence_id"], each.get("title"), each["message"]) for each in seen]

    async def test_the_longest_text_and_where_a_tap_leads(self, adapter: Ntfy[Exercise]) -> None:
        longest = await self.message("é" * 2047 + "x")
        receipt = await adapter.send(longest)
        assert receipt.url == f"{self.url()}/{TOPIC}"
        assert self.server.kept[0]["message"] == longest.rendering.text
        assert self.server.kept[0]["click"] == longest.incident_url
        too_long = longest.rendering.text + "x"
        assert not adapter.channel.fits(too_long), "of which the server makes an attachment"
        with pytest.raises(InDoubt, match="something else"):
            await adapter.send(await self.message(too_long))

    @pytest.mark.parametrize(("token", "burst", "means"), [
        ("tk_old", 60, LockedOut), (READER, 60, Refused), (TOKEN, 0, TryLater),
    ])  # fmt: skip
    async def test_what_is_not_taken_is_not_there(
        self, token: str, burst: int, means: type[Exception], caplog: pytest.LogCaptureFixture
    ) -> None:
        self.token, self.server.burst = token, burst
        await self._fails(self._made(), means, caplog)
        assert await self.posted() == []

    @pytest.mark.parametrize(("status", "body", "means", "why"), ERRORS)
    async def test_what_ntfy_says(
        self, status: int, body: bytes, means: type[Exception], why: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        self.suffers(answers(status, body=body))
        told = await self._fails(self._made(), means, caplog)
        assert why in str(told)
        if isinstance(told, TryLater):
            assert told.after == (PAUSE if b"42908" in body else None)
