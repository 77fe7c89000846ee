"""The webhook under the contract, its signature judged by the `standardwebhooks` library."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Judge

from adapters import http
from adapters.webhook import Webhook
from broadcaster.delivery import Refused
from broadcaster.world import Exercise
from tests.adapters.contract import HttpContract, Posted
from tests.adapters.receiver import Request, answers
from tests.story import HOOK, StillClock

KEY = b"a key of twenty-six bytes."


class TestWebhook(HttpContract):
    channel_name = HOOK.name
    secrets = ("a-path-that-is-a-secret", KEY.decode(), base64.b64encode(KEY).decode())

    def make(self, url: str, *, networks: http.Networks, deadline: timedelta) -> Webhook[Exercise]:
        self.clock = StillClock()
        channel = HOOK.model_copy(update={"deadline": deadline})
        return Webhook(channel, url=url, key=KEY, networks=networks, clock=self.clock)

    def read(self, request: Request) -> Posted:
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

    async def test_a_receiver_may_end_the_subscription(self, adapter: Webhook[Exercise]) -> None:
        self.there.ways = [answers(410)]
        with pytest.raises(Refused, match="ended the subscription"):
            await adapter.send(await self.message("Stay inside."))
