"""Fault matrix, row 43: the push service is down, and the SMS beside it does not wait for it.

The adapters, the ledger and notify are the product's own; push service and Twilio are servers on
loopback that speak as documented, with the faults.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import func, update

from adapters.call_push import CallPush
from adapters.call_sms import CallSms
from broadcaster.calling import Means, Outcome, words
from broadcaster.ledger import Tx, calls, schema
from streams.notify import Notify
from tests.adapters.browser import Browser, raw
from tests.adapters.contract import LOOPBACK
from tests.faults.receiver import Receiver, Way, answers, never_answers, resets_unread
from tests.patience import PATIENCE
from tests.story import EXERCISE, Story, a_story

ACCOUNT, PHONE = "AC" + "0" * 32, "+17605550100"
ADDRESS = "https://alerts.example"
URL = f"{ADDRESS}/a/{{}}".format
TAKEN = json.dumps({"sid": "SM" + "a" * 32, "status": "queued", "error_code": None}).encode()


@pytest_asyncio.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with a_story(tmp_path) as story:
        yield story


@pytest.mark.parametrize("way", [never_answers, resets_unread, answers(503), None])
async def test_the_sms_goes_beside_it(story: Story, way: Way | None) -> None:
    """`None`: nobody listens any more. The SMS is taken whatever has become of the push."""
    async with Receiver() as push, Receiver() as twilio:
        twilio.ways = [answers(201, body=TAKEN)]
        push.ways = [way] if way else []
        endpoint = f"http://127.0.0.1:{push.port}/subscription"
        if way is None:
            await push.__aexit__()
        await reached(story, endpoint)
        notify = Notify(
            story.ledger, {Means.PUSH: a_push(story), Means.SMS: an_sms(story, twilio)}, ADDRESS,
            story.clock,
        )  # fmt: skip
        running = asyncio.create_task(notify.run())
        try:
            submitted = await story.submitted(await story.reported())
            ended = await the_sms_ended(story, submitted.request.id)
        finally:
            running.cancel()
            await asyncio.wait({running})
            await notify.close()
        assert ended[Means.SMS].outcome is Outcome.ACCEPTED
        assert ended[Means.PUSH].outcome in (Outcome.OPEN, Outcome.LATER, Outcome.IN_DOUBT)
        [heard] = twilio.heard
        form = dict(parse_qsl(heard.body.decode()))
        assert form["To"] == PHONE
        assert form["Body"] == f"{words(EXERCISE)}: {URL(submitted.request.id)}"


def a_push(story: Story) -> CallPush[str]:
    return CallPush(
        EXERCISE, key=raw(ec.generate_private_key(ec.SECP256R1())), networks=LOOPBACK,
        contact="mailto:it@police.example", services=("http://127.0.0.1",), clock=story.clock,
    )  # fmt: skip


def an_sms(story: Story, twilio: Receiver) -> CallSms[str]:
    return CallSms(
        EXERCISE, account=ACCOUNT, token="token", sender="+15005550001", networks=LOOPBACK,
        callback="https://alerts.example/hooks/sms", clock=story.clock,
        base=f"http://127.0.0.1:{twilio.port}",
    )  # fmt: skip


async def reached(story: Story, endpoint: str) -> None:
    """The Commander has both. A browser's address is https; here it is given as what listens."""
    named = Browser().subscription(endpoint.replace("http://", "https://"))

    def step(tx: Tx) -> None:
        calls.add_reach(tx, story.commander.id, Means.PUSH, named, actor="test")
        tx.connection.execute(
            update(schema.reaches).values(
                address=func.replace(schema.reaches.c.address, "https://", "http://")
            )
        )
        calls.add_reach(tx, story.commander.id, Means.SMS, PHONE, actor="test")

    await story.ledger.write(step)


async def the_sms_ended(story: Story, request_id: str) -> dict[Means, calls.Kept]:
    """A request's calls, once the SMS has ended; the push beside it may have or not."""
    changed = asyncio.Event()
    forget = story.ledger.on_commit(lambda _: changed.set())
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                changed.clear()
                kept = await story.ledger.read(lambda tx: calls.of_request(tx, request_id))
                made = {each.means: each for each in kept}
                if Means.SMS in made and made[Means.SMS].outcome is not Outcome.OPEN:
                    return made
                await changed.wait()
    finally:
        forget()
