"""A test of one channel: what keeps it from being sent, and what it says of what came back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broadcaster import channel, testing
from broadcaster.channel import Channel
from broadcaster.delivery import Message, Receipt, Seen, Sender
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, people, records, reply_decisions
from broadcaster.record import Kind
from broadcaster.roster import Role
from broadcaster.world import Exercise
from tests.story import EXERCISE, Story, a_story

OPEN = channel.mastodon(EXERCISE, "mastodon", "Mastodon")
BY_HAND = channel.ntfy(EXERCISE, "ntfy", "ntfy")
CLOSED = channel.matrix(EXERCISE, "matrix", "Matrix")


class Board(Sender[Exercise]):
    """A channel that shows what it was sent."""

    def __init__(self, of: Channel[Exercise]) -> None:
        self.channel = of
        self.sent: list[Message[Exercise]] = []

    async def send(self, message: Message[Exercise]) -> Receipt:
        self.sent.append(message)
        return Receipt(remote_id="1")

    async def read(self, there: Receipt) -> Seen | None:
        return Seen(text=self.sent[-1].rendering.text)

    async def close(self) -> None:
        """Nothing is open."""


@pytest_asyncio.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with a_story(tmp_path) as story:
        yield story


async def come_of(story: Story, board: Board) -> dict[str, str]:
    return await testing.run(
        story.ledger, board, address="https://alerts.example/", actor="operator"
    )


@pytest.mark.parametrize("of", [OPEN, BY_HAND])
async def test_where_the_public_can_answer_nothing_is_sent_before_the_chief_decides(
    story: Story, of: Channel[Exercise]
) -> None:
    board = Board(of)
    with pytest.raises(Refusal) as refusal:
        await come_of(story, board)
    assert refusal.value.code == "channel_off" and "389.5.1" in refusal.value.why
    assert not board.sent
    begun = [Kind.CHANNEL_TEST_STARTED]
    assert not await story.ledger.read(lambda tx: records.lines(tx, kinds=begun)), (
        "no test is on the record that was not begun"
    )


async def test_once_the_chief_has_decided_it_is_sent_and_no_longer_than_that(story: Story) -> None:
    board, until = Board(OPEN), story.clock.now() + timedelta(days=1)

    def step(tx: Tx) -> None:
        chief = people.add(tx, "Chief Banks", [Role.CHIEF], actor="test", practice=True)
        reply_decisions.decide(tx, OPEN.name, reason="For the exercise.", until=until,
                               by=chief.id, actor="operator")  # fmt: skip

    await story.ledger.write(step)
    told = await come_of(story, board)
    assert (told["sent"], told["read"], told["replies"]) == ("posted", "the same words", "open")
    story.clock.move(days=2)
    with pytest.raises(Refusal):
        await come_of(story, board)
    assert len(board.sent) == 1


async def test_where_nobody_can_answer_no_decision_is_needed(story: Story) -> None:
    told = await come_of(story, Board(CLOSED))
    assert (told["sent"], told["replies"]) == ("posted", str(CLOSED.replies))
