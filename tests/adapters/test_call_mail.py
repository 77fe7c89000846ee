"""Calls by mail under the contract, given to a real SMTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.call_mail import CallMail
from broadcaster.calling import Means
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.world import Exercise
from tests.adapters.call_contract import CallContract, Heard
from tests.adapters.mailserver import BREAKS, HANGS, MailServer
from tests.story import EXERCISE, StillClock

ENDS: list[tuple[dict[str, str], type[Exception]]] = [
    *(({at: "451 later"}, TryLater) for at in ("MAIL", "RCPT", "DATA")),
    *(({at: "550 no"}, Refused) for at in ("MAIL", "RCPT", "DATA")),
    *(({at: way}, TryLater) for at in ("MAIL", "RCPT") for way in (BREAKS, HANGS)),
    *(({"DATA": way}, InDoubt) for way in (BREAKS, HANGS)),
    ({"DATA": "251 what"}, InDoubt), ({"DATA": "what"}, InDoubt), ({"DATA": "421 bye"}, TryLater),
]  # fmt: skip


class TestCallMail(CallContract):
    means = Means.MAIL
    address = "ortiz@police.example"
    secrets = ()  # the relay on this machine asks for none
    broken_off = TryLater  # nothing is said before the server has greeted

    def make(self, port: int, *, tls: str = "none", **ways: Any) -> CallMail[Exercise]:
        return CallMail(EXERCISE, **{
            "host": "localhost", "port": port, "tls": tls, "login": None, "clock": StillClock(),
            "sender": "alerts@police.example",
        } | ways)  # fmt: skip

    @pytest.fixture(autouse=True)
    async def _server(self) -> AsyncIterator[None]:
        async with MailServer() as self.there:
            yield

    @property
    def port(self) -> int:
        return self.there.port

    def heard(self) -> list[Heard]:
        return [
            Heard(mail["Message-ID"], mail["Subject"], mail.get_content().split()[-1])
            for mail in self.there.mails
        ]

    @pytest.mark.parametrize(("at", "error"), ENDS)
    async def test_how_it_ends(
        self, at: dict[str, str], error: type[Exception], caplog: pytest.LogCaptureFixture
    ) -> None:
        async with MailServer(at) as there:
            await self.fails(error, caplog, there.port)
            assert there.taken == []
