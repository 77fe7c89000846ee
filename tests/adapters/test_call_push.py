"""Calls by web push under the contract: a browser's own keys decrypt what arrives."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.call_push import SERVICES, CallPush
from broadcaster.calling import Means
from broadcaster.delivery import Refused
from broadcaster.world import Exercise
from tests.adapters.browser import Browser, point, raw, who_sends
from tests.adapters.call_contract import Heard, HttpCallContract
from tests.faults.receiver import Request
from tests.story import EXERCISE, NOW, StillClock

OURS, BROWSER = ec.generate_private_key(ec.SECP256R1()), Browser()


class TestCallPush(HttpCallContract):
    means = Means.PUSH
    secrets = ("a-path-that-is-a-secret", raw(OURS), BROWSER.auth, BROWSER.point)
    ended = frozenset({404, 410})

    def address_at(self, port: int, tls: str = "") -> str:
        return BROWSER.subscription(self.url(port, tls))

    def make(self, port: int, *, tls: str = "", **ways: Any) -> CallPush[Exercise]:
        self.clock = StillClock()
        ours = {"services": ("http://127.0.0.1", "https://localhost"), "clock": self.clock}
        contact = "mailto:it@police.example"
        return CallPush(EXERCISE, key=raw(OURS), contact=contact, **(ours | ways))

    def read(self, request: Request) -> Heard:
        assert (request.headers["ttl"], request.headers["urgency"]) == ("600", "high")
        said = json.loads(BROWSER.read(request.body))
        assert said.keys() == {"world", "call_id", "words", "url"} and said["world"] == EXERCISE
        return Heard(request.headers["topic"], said["words"], said["url"])

    async def test_it_vouches_for_itself(self, caller: CallPush[Exercise]) -> None:
        for hours in (0, 10, 2):  # the same word for hours, as Apple asks
            self.clock.move(hours=hours)
            await caller.call(self.a_call())
        first, same, later = (each.headers["authorization"] for each in self.there.heard)
        expires = int((NOW + timedelta(hours=12)).timestamp())
        assert first == same != later
        assert who_sends(first) == (point(OURS), {
            "aud": f"http://127.0.0.1:{self.port}", "sub": "mailto:it@police.example",
            "exp": expires,
        })  # fmt: skip

    @pytest.mark.parametrize("endpoint", ["https://10.0.0.1/", "http://fcm.googleapis.com/", "{"])
    async def test_only_push_services_are_posted_to(self, endpoint: str) -> None:
        call = self.a_call(address=BROWSER.subscription(endpoint) if endpoint != "{" else "{")
        with pytest.raises(Refused):
            await self.made(services=SERVICES).call(call)
