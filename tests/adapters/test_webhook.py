"""The webhook under the contract, its signature judged by the `standardwebhooks` library."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Judge

from adapters import http
from adapters.webhook import Webhook
from broadcaster.accounts import WebhookAccount
from broadcaster.delivery import Message, Refused
from broadcaster.world import Exercise
from tests.adapters.contract import (
    LOOPBACK,
    Contract,
    HttpFaults,
    Pictured,
    Posted,
    approved,
    showing,
)
from tests.faults.receiver import Request, answers, answers_without_end
from tests.story import HOOK, StillClock

KEY = b"a key of twenty-six bytes."


class TestWebhook(Contract, HttpFaults):
    channel_name = HOOK.name
    secrets = ("a-path-that-is-a-secret", KEY.decode(), base64.b64encode(KEY).decode())

    def make(self, url: str, *, networks: http.Networks, deadline: timedelta) -> Webhook[Exercise]:
        self.clock = StillClock()
        channel = HOOK.model_copy(update={"deadline": deadline})
        account = WebhookAccount(
            kind="webhook", name=HOOK.name, title=HOOK.title, url=url, secret="whsec_"
        )  # fmt: skip
        return Webhook(channel, account, key=KEY, networks=networks, clock=self.clock)

    @pytest.fixture
    def adapter(self) -> Webhook[Exercise]:
        return self._made()

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        return approved(HOOK.name, text, number)

    async def posted(self) -> list[Posted]:
        return [self._read(request) for request in self.there.heard]

    async def shown(self) -> list[Pictured]:
        return [Pictured(each["sha256"], each["alt"])
                for request in self.there.heard for each in request.json["pictures"]]  # fmt: skip

    async def test_a_picture_is_told_where_it_can_be_fetched(
        self, adapter: Webhook[Exercise]
    ) -> None:
        message = showing(await self.message("Stay inside."))
        await adapter.send(message)
        [told] = self.there.heard[0].json["pictures"]
        [picture] = message.rendering.pictures
        assert told == {
            "url": f"{message.incident_url}/{message.post_id}/{picture.digest}.png",
            "type": "image/png", "width": 64, "height": 48, "size": picture.size,
            "sha256": picture.digest, "alt": picture.alt,
        }  # fmt: skip

    def _read(self, request: Request) -> Posted:
        key, stamp = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        signed = Judge(KEY).sign(key, datetime.fromtimestamp(stamp, UTC), request.body.decode())
        assert request.headers["webhook-signature"] == signed
        return Posted(key, request.json["headline"], request.json["text"])

    async def test_the_body_says_what_is_documented(self, adapter: Webhook[Exercise]) -> None:
        message = await self.message("Stay inside.")
        await adapter.send(message)
        assert self.there.heard[0].headers["content-type"] == "application/json"
        assert "Gas leak – Oak St".encode() in self.there.heard[0].body
        assert self.there.heard[0].json == {
            "version": 1, "world": "exercise", "post_id": message.post_id, "incident": "k7m2p9qx",
            "url": message.incident_url, "number": 3, "kind": "update", "language": "en",
            "headline": "Gas leak – Oak St", "text": "Stay inside.",
            "released_at": "2026-11-22T22:00:00+00:00", "expires_at": "2026-11-23T22:00:00+00:00",
        }  # fmt: skip

    async def test_each_try_is_signed_anew_under_the_same_id(
        self, adapter: Webhook[Exercise]
    ) -> None:
        message = await self.message("Stay inside.")
        await adapter.send(message)
        self.clock.move(minutes=10)
        await adapter.send(message)
        first, second = self.there.heard
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == message.post_id
        moved = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
        assert moved == 600
        assert len(await self.posted()) == 2

    async def test_while_the_secret_is_changed_the_one_before_signs_too(self) -> None:
        """So that a receiver may change at its own time (Standard Webhooks, "Signature scheme")."""
        message, clock = await self.message("Stay inside."), StillClock()
        account = WebhookAccount(
            kind="webhook", name=HOOK.name, title=HOOK.title, url=self.url(), secret="whsec_"
        )  # fmt: skip
        before = b"the key of before, 26 bytes"
        self._adapters.append(Webhook(
            HOOK, account, key=KEY, before=(before, clock.now() + timedelta(hours=24)),
            networks=LOOPBACK, clock=clock,
        ))  # fmt: skip
        await self._adapters[-1].send(message)
        clock.move(hours=24)
        await self._adapters[-1].send(message)
        for heard, keys in zip(self.there.heard, ([KEY, before], [KEY]), strict=True):
            stamp = datetime.fromtimestamp(int(heard.headers["webhook-timestamp"]), UTC)
            signed = [Judge(key).sign(message.post_id, stamp, heard.body.decode()) for key in keys]
            assert heard.headers["webhook-signature"] == " ".join(signed)

    async def test_a_long_answer_is_not_read_to_its_end(self) -> None:
        self.suffers(answers_without_end)
        assert await self._made().send(await self.message("Stay inside."))

    async def test_a_receiver_may_end_the_subscription(self, adapter: Webhook[Exercise]) -> None:
        self.there.ways = [answers(410)]
        with pytest.raises(Refused, match="ended the subscription"):
            await adapter.send(await self.message("Stay inside."))
