"""Calls by SMS under the contract, on a server that speaks as Twilio documents it."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from adapters.call_sms import CallSms
from broadcaster.calling import Means
from broadcaster.delivery import InDoubt, LockedOut, Refused, TryLater
from broadcaster.world import Exercise
from tests.adapters.call_contract import Heard, HttpCallContract
from tests.faults.receiver import Request, answers
from tests.story import EXERCISE, StillClock

ACCOUNT, TOKEN, SID = "AC" + "0" * 32, "the-auth-token", "SM" + "a" * 32
LOGIN = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
CALLBACK = "https://alerts.example/hooks/calls"


class TestCallSms(HttpCallContract):
    means = Means.SMS
    address = "+15005550006"
    secrets = ("a-path-that-is-a-secret", TOKEN, LOGIN)
    keyed = False
    taken = json.dumps({"sid": SID, "status": "queued", "error_code": None}).encode()

    def make(self, port: int, *, tls: str = "", **ways: Any) -> CallSms[Exercise]:
        return CallSms(
            EXERCISE, account=ACCOUNT, token=TOKEN, sender="+15005550001", callback=CALLBACK,
            clock=StillClock(), base=self.url(port, tls), **ways,
        )  # fmt: skip

    def read(self, request: Request) -> Heard:
        assert request.path.endswith(f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
        assert request.headers["authorization"] == f"Basic {LOGIN}"
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        words, _, link = form.pop("Body").partition(": http")
        assert form == {
            "To": self.address, "From": "+15005550001", "ValidityPeriod": "600",
            "StatusCallback": f"{CALLBACK}/{self.a_call().id}",
        }  # fmt: skip
        return Heard(None, words, f"http{link}")

    @pytest.mark.parametrize(("status", "code", "error"), [
        *((400, code, Refused) for code in (21211, 21408, 21610, 21614, 99999)),
        (401, 20003, LockedOut), (400, 21611, TryLater), (429, 20429, TryLater),
        (500, 20500, InDoubt), (200, 0, InDoubt),
    ])  # fmt: skip
    async def test_twilios_own_words_stay_out_of_ours(
        self, status: int, code: int, error: type[Exception], caplog: pytest.LogCaptureFixture
    ) -> None:
        said = {"code": code, "message": f"The 'To' number {self.address} is bad", "status": status}
        self.there.ways = [answers(status, body=json.dumps(said).encode())]
        assert str(status) in str(await self.fails(error, caplog))
