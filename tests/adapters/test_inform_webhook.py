"""What the department's app is told of requests; `standardwebhooks` is the judge."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook as Judge

from adapters import http
from adapters.inform_webhook import InformWebhook
from broadcaster.delivery import InDoubt, LockedOut, Refused, TryLater
from broadcaster.informing import State, StateChange
from broadcaster.world import Exercise
from tests.adapters.contract import LOOPBACK, networks
from tests.faults.receiver import Receiver, Way, answers, never_answers, resets_unread
from tests.story import EXERCISE, NOW, StillClock

KEY = b"a key of twenty-six bytes."
CHANGE = StateChange[Exercise](
    id="c1", request_id="r1", incident_id="i1", state=State.NOT_RELEASED, at=NOW, world=EXERCISE,
    epoch=3, url="https://alerts.example/a/r1",
)  # fmt: skip


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with Receiver() as there:
        yield there


async def told(there: Receiver, allowed: http.Networks = LOOPBACK) -> None:
    informer: InformWebhook[Any] = InformWebhook(
        url=f"http://127.0.0.1:{there.port}/a-secret-path", key=KEY, networks=allowed,
        clock=StillClock(),
    )  # fmt: skip
    try:
        await informer.inform(CHANGE)
    finally:
        await informer.close()


async def test_it_is_signed_and_says_what_is_documented_and_no_content(there: Receiver) -> None:
    await told(there)
    await told(there)
    for heard in there.heard:
        stamp = datetime.fromtimestamp(int(heard.headers["webhook-timestamp"]), UTC)
        signed = Judge(KEY).sign("c1", stamp, heard.body.decode())
        assert heard.headers["webhook-id"] == "c1", "the same on every try"
        assert heard.headers["webhook-signature"] == signed
        assert heard.json == {
            "version": 1, "type": "request", "world": "exercise", "change_id": "c1",
            "request_id": "r1", "incident_id": "i1", "state": "not released",
            "at": "2026-11-22T22:00:00+00:00", "epoch": 3, "url": "https://alerts.example/a/r1",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("way", "error"),
    [
        (answers(429), TryLater), (answers(500), InDoubt), (answers(401), LockedOut),
        (answers(410), Refused), (never_answers, InDoubt), (resets_unread, InDoubt),
    ],
)  # fmt: skip
async def test_a_failure_is_told_apart_and_holds_no_secret(
    there: Receiver, way: Way, error: type[Exception], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(http, "READ", 1.0)
    caplog.set_level(logging.DEBUG)
    there.ways = [way]
    with pytest.raises((TryLater, Refused, InDoubt)) as caught:
        await told(there)
    assert type(caught.value) is error
    assert "a-secret-path" not in str(caught.value) + caplog.text


async def test_it_is_sent_to_no_network_that_is_not_allowed(there: Receiver) -> None:
    with pytest.raises(Refused):
        await told(there, networks("10.0.0.0/8"))
    assert there.heard == []
