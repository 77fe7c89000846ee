"""Commanders' codes and what was heard, on both databases."""

from __future__ import annotations

from broadcaster.ledger import Tx, voices
from broadcaster.voice import CODES, MOST_WRONG, hashed
from tests.story import Story


async def test_codes_are_kept_as_hashes_and_new_ones_void_the_old(story: Story) -> None:
    person = story.commander.id
    first = await story.ledger.write(lambda tx: voices.issue(tx, person, actor=person))
    kept = await story.ledger.write(lambda tx: voices.standing(tx, person))
    assert len(first) == len(kept) == CODES
    assert {each.hash for each in kept} == {hashed(code, kept[0].salt) for code in first}
    await story.ledger.write(lambda tx: voices.issue(tx, person, actor=person))
    again = await story.ledger.write(lambda tx: voices.standing(tx, person))
    assert len(again) == CODES and not {each.id for each in again} & {each.id for each in kept}
    old = await story.ledger.read(lambda tx: voices.code(tx, kept[0].id))
    assert old is not None and old.void


async def test_the_fifth_wrong_code_voids_that_persons_alone(story: Story) -> None:
    def left(tx: Tx) -> list[int]:
        return [len(voices.standing(tx, each.id)) for each in (story.commander, story.pio)]

    for each in (story.commander, story.pio):
        await story.ledger.write(lambda tx, to=each.id: voices.issue(tx, to, actor="test"))
    for number in range(MOST_WRONG):
        assert await story.ledger.write(left) == [CODES, CODES], number
        await story.ledger.write(
            lambda tx: voices.said_wrong(tx, story.commander.id, actor=story.pio.id)
        )
    assert await story.ledger.write(left) == [0, CODES]
