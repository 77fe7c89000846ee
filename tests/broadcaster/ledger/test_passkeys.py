"""Passkeys and challenges as kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from broadcaster import practice
from broadcaster.errors import Refusal
from broadcaster.ledger import Ledger, Tx, locks, passkeys, people, schema
from broadcaster.passkey import FAILURES, Passkey
from broadcaster.record import Kind
from broadcaster.roster import Role
from tests.story import SITE, Story, unlocked


async def added(story: Story, **ways: object) -> Passkey:
    made, _ = practice.make()
    person = story.commander.id
    return await story.ledger.write(
        lambda tx: passkeys.add(tx, person, made, "  Duty   phone ", actor=person, **ways)
    )


async def kinds(ledger: Ledger) -> list[str]:
    kept = select(schema.entries.c.kind)
    return list(await ledger.read(lambda tx: tx.connection.execute(kept).scalars().all()))


async def refused(story: Story, step: object) -> str:
    with pytest.raises(Refusal) as caught:
        await story.ledger.write(step)
    return caught.value.code


async def test_a_device_is_approved_by_somebody_else_before_its_use(story: Story) -> None:
    kept = await added(story)
    assert (kept.name, kept.approved, kept.usable) == ("Duty phone", False, False)
    await story.ledger.write(
        lambda tx: passkeys.approve(tx, kept, {"id": "none"}, until=None, actor=story.pio.id)
    )
    now = await story.ledger.read(lambda tx: passkeys.get(tx, kept.id))
    assert now and now.usable
    assert (await kinds(story.ledger)).count(Kind.PASSKEY_APPROVED) == 1


async def test_a_revoked_one_stays_so(story: Story) -> None:
    kept = await added(story, approved_by="link")
    assert kept.usable
    for _ in range(2):
        await story.ledger.write(lambda tx: passkeys.revoke(tx, kept.id, actor=story.pio.id))
    now = await story.ledger.read(lambda tx: passkeys.get(tx, kept.id))
    assert now and now.revoked and not now.usable


async def test_names_and_doubles(story: Story) -> None:
    made, _ = practice.make()
    person = story.commander.id

    def add(name: str) -> object:
        return lambda tx: passkeys.add(tx, person, made, name, actor=person)

    for name in ("", " ", "x" * 61):
        assert await refused(story, add(name)) == "device_name_invalid"
    await story.ledger.write(add("x"))
    assert await refused(story, add("y")) == "passkey_known"
    assert (
        await refused(story, lambda tx: passkeys.revoke(tx, "none", actor=story.pio.id))
        == "no_such_device"
    )


@pytest.mark.parametrize(
    ("before", "now", "copied"), [(0, 0, False), (0, 1, False), (4, 5, False), (5, 5, True),
                                  (5, 4, True), (5, 0, True)],
)  # fmt: skip
async def test_a_counter_that_does_not_rise_is_a_copys(
    story: Story, before: int, now: int, copied: bool
) -> None:
    made, _ = practice.make()
    counted = made.model_copy(update={"counter": before})
    person = story.commander.id

    def step(tx: Tx) -> str | None:
        kept = passkeys.add(tx, person, counted, "phone", actor=person)
        refusal = passkeys.used(tx, kept, now)
        return refusal.code if refusal else None

    assert await story.ledger.write(step) == ("passkey_copied" if copied else None)
    kept = await story.ledger.read(lambda tx: passkeys.get(tx, made.id))
    assert kept and kept.counter == (before if copied else now)


async def test_a_challenge_is_answered_once_in_time_and_by_whom_it_was_asked(story: Story) -> None:
    ask, use = passkeys.ask, passkeys.use_up
    mine = await story.ledger.write(lambda tx: ask(tx, story.pio.id))
    assert await refused(story, lambda tx: use(tx, mine, story.commander.id)) == "challenge_used"
    mine = await story.ledger.write(lambda tx: ask(tx, story.pio.id))
    await story.ledger.write(lambda tx: use(tx, mine, story.pio.id))
    assert await refused(story, lambda tx: use(tx, mine, story.pio.id)) == "challenge_used"
    late = await story.ledger.write(ask)
    story.clock.move(minutes=5)
    assert await refused(story, lambda tx: use(tx, late)) == "challenge_used"


@pytest.mark.parametrize(("revoked", "holds"), [("before it", True), ("since", False)])
async def test_who_gives_up_a_phone_locks_nobody_again(
    story: Story, revoked: str, holds: bool
) -> None:
    """What it had signed by then stands; what it signs of a later lock does not."""
    cole = await story.ledger.write(
        lambda tx: people.add(tx, "Sgt Cole", [Role.SUPERVISOR], actor="test", practice=True)
    )
    for _ in range(FAILURES):
        await story.ledger.write(lambda tx: locks.failed(tx, story.commander.id))
    await story.ledger.write(lambda tx: unlocked(tx, story.commander.id, by=cole))
    at = story.clock.at + timedelta(seconds=-1 if revoked == "before it" else 1)

    def given_up(tx: Tx) -> None:
        table = schema.passkeys
        tx.connection.execute(
            update(table).where(table.c.person_id == cole.id).values(revoked_at=at)
        )

    await story.ledger.write(given_up)
    found = await story.ledger.read(lambda tx: locks.holding(tx, story.commander.id, SITE))
    assert (found is not None) is holds
