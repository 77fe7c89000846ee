"""Calls through the department's app, under the contract; `standardwebhooks` is the judge."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook as Judge

from adapters.call_webhook import CallWebhook
from broadcaster.calling import About, Means
from broadcaster.delivery import Refused
from broadcaster.world import Exercise
from tests.adapters.call_contract import LINK, Heard, HttpCallContract
from tests.faults.receiver import Request, answers
from tests.story import EXERCISE, StillClock

KEY = b"a key of twenty-six bytes."


class TestCallWebhook(HttpCallContract):
    means = Means.WEBHOOK
    address = "ortiz@the-app"
    secrets = ("a-path-that-is-a-secret", KEY.decode(), base64.b64encode(KEY).decode())

    def make(self, port: int, *, tls: str = "", **ways: Any) -> CallWebhook[Exercise]:
        return CallWebhook(EXERCISE, url=self.url(port, tls), key=KEY, clock=StillClock(), **ways)

    def read(self, request: Request) -> Heard:
        key, stamp = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        signed = Judge(KEY).sign(key, datetime.fromtimestamp(stamp, UTC), request.body.decode())
        assert request.headers["webhook-signature"] == signed
        return Heard(key, request.json["words"], request.json["url"])

    async def test_the_body_says_what_is_documented(self, caller: CallWebhook[Exercise]) -> None:
        call = self.a_call(attempt=2)
        await caller.call(call)
        assert self.there.heard[0].headers["content-type"] == "application/json"
        assert self.there.heard[0].json == {
            "version": 1, "type": "call", "world": "exercise", "call_id": call.id,
            "about": "request", "request_id": call.about_id, "to": "ortiz@the-app", "attempt": 2,
            "url": LINK,
            "words": "EXERCISE: an update waits for your decision",
        }  # fmt: skip

    async def test_of_command_it_names_the_incident(self, caller: CallWebhook[Exercise]) -> None:
        link = "https://alerts.example/incidents/i1"
        call = self.a_call(about=About.MOVED, about_id="m1", url=link)
        await caller.call(call)
        told = self.there.heard[0].json
        assert (told["about"], told["incident_id"], told["url"]) == ("command moved", "i1", link)
        assert told["words"] == "EXERCISE: command of an incident has changed"
        assert "request_id" not in told

    async def test_of_what_became_of_a_request_it_names_that_and_the_incident(
        self, caller: CallWebhook[Exercise]
    ) -> None:
        call = self.a_call(about=About.REFUSED, about_id="m1", request_id="r7",
                           url="https://alerts.example/a/r7")  # fmt: skip
        await caller.call(call)
        told = self.there.heard[0].json
        assert (told["about"], told["request_id"]) == ("release refused", "r7")
        assert told["incident_id"] == call.incident_id
        assert told["words"] == "EXERCISE: an approved update was not released"

    async def test_the_app_may_end_the_subscription(self, caplog: pytest.LogCaptureFixture) -> None:
        self.there.ways = [answers(410)]
        assert "ended the subscription" in str(await self.fails(Refused, caplog))
