"""Who may decide with PIN and code, and what the gate makes of it: on both databases."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest
from sqlalchemy import select

from broadcaster import explain, rostering
from broadcaster.devices import lost
from broadcaster.errors import Refusal
from broadcaster.fallback import MOST_WRONG, STEP, Allowance, sealed, step_of
from broadcaster.ledger import Tx, fallbacks, locks, passkeys, people, schema
from broadcaster.passkey import FAILURES
from broadcaster.roster import Person, Role
from streams.prove import LONGEST_WAIT, judge_next, prove
from tests.codes import KEY, PIN, code_at
from tests.story import SITE, Story, unlocked


@pytest.fixture
async def chief(story: Story) -> Person:
    return await story.ledger.write(
        lambda tx: people.add(tx, "Chief Banks", [Role.CHIEF], actor="test")
    )


@pytest.fixture
async def allowed(story: Story, chief: Person) -> Allowance:
    return await allow(story, chief)


async def allow(story: Story, by: Person, **other: object) -> Allowance:
    given = {
        "person_id": story.commander.id, "pin": PIN, "reason": "A broken phone",
        "until": story.clock.at + timedelta(days=1), "person": by, "actor": "test",
    } | other  # fmt: skip
    return await story.ledger.write(lambda tx: rostering.allow_fallback(tx, **given))


async def typed(story: Story, allowed: Allowance, code: str | None = None, meant: str = "") -> str:
    """Typed at the desk, and judged by the gate; answers what was made of it."""
    challenge = meant.encode() or b"words"
    seal = sealed(PIN, code or code_at(allowed, story.clock.at), allowed.salt, challenge)
    await story.ledger.write(lambda tx: fallbacks.enter(tx, allowed.id, seal, challenge))
    await story.ledger.write(judge_next(KEY, SITE))
    kept = await story.ledger.read(lambda tx: fallbacks.entered(tx, seal))
    assert kept is not None
    return kept.answer.refused or str(kept.answer.step)


async def test_a_code_counts_once_and_the_same_words_again_are_the_same(
    story: Story, allowed: Allowance
) -> None:
    step = str(step_of(story.clock.at))
    assert await typed(story, allowed) == step
    assert await typed(story, allowed) == step  # a double tap, or a retry on a bad line
    assert await typed(story, allowed, meant="other words") == "code_used"
    story.clock.move(seconds=STEP)
    assert await typed(story, allowed, meant="other words") == str(step_of(story.clock.at))
    assert not await story.ledger.read(lambda tx: passkeys.locks_of(tx, story.commander.id))


async def test_five_wrong_ones_lock_the_person(story: Story, allowed: Allowance) -> None:
    for number in range(FAILURES):
        assert await typed(story, allowed, f"{number:07}") == "code_wrong"
    assert (
        await story.ledger.read(lambda tx: locks.holding(tx, story.commander.id, SITE)) is not None
    )
    assert await typed(story, allowed) == "locked_out"


async def test_so_many_wrong_ones_end_it_however_often_they_are_unlocked(
    story: Story, allowed: Allowance
) -> None:
    for number in range(MOST_WRONG):
        assert await typed(story, allowed, f"{number:07}") == "code_wrong"
        await story.ledger.write(lambda tx: unlocked(tx, story.commander.id))
    assert await typed(story, allowed) == "fallback_not_allowed"


async def test_without_a_key_nobody_is_proven(story: Story, allowed: Allowance) -> None:
    seal = sealed(PIN, code_at(allowed, story.clock.at), allowed.salt, b"")
    await story.ledger.write(lambda tx: fallbacks.enter(tx, allowed.id, seal, b""))
    assert await story.ledger.write(judge_next(None, SITE))
    kept = await story.ledger.read(lambda tx: fallbacks.entered(tx, seal))
    assert kept is not None and kept.answer.refused == "fallback_off"
    assert not await story.ledger.write(judge_next(None, SITE))


async def test_what_is_typed_wakes_the_gate(story: Story, allowed: Allowance) -> None:
    moved = asyncio.Event()
    story.ledger.on_commit(lambda changed: moved.set())
    judging = asyncio.create_task(prove(story.ledger, KEY, SITE))
    seal = sealed(PIN, code_at(allowed, story.clock.at), allowed.salt, b"")
    await story.ledger.write(lambda tx: fallbacks.enter(tx, allowed.id, seal, b""))
    async with asyncio.timeout(LONGEST_WAIT - 5):
        while await story.ledger.read(lambda tx: fallbacks.waits(tx, seal)):
            await moved.wait()
            moved.clear()
    judging.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await judging


async def test_neither_pin_nor_code_nor_secret_is_kept(story: Story, allowed: Allowance) -> None:
    code = code_at(allowed, story.clock.at)
    await typed(story, allowed)

    def rows(tx: Tx) -> str:
        return str([
            tx.connection.execute(select(table)).all()
            for table in schema.metadata.tables.values()
            if table.name.startswith("fallback") or table.name in ("entries", "private_values")
        ])  # fmt: skip

    kept = await story.ledger.read(rows)
    assert PIN not in kept and f"'{code}'" not in kept


async def test_a_new_one_ends_the_old(story: Story, chief: Person, allowed: Allowance) -> None:
    newer = await allow(story, chief)
    assert await story.ledger.read(lambda tx: fallbacks.standing(tx, story.commander.id)) == newer
    assert await typed(story, allowed) == "fallback_not_allowed"


async def test_a_lost_phone_ends_it(story: Story, allowed: Allowance) -> None:
    await story.ledger.write(lambda tx: lost(tx, story.commander.id, story.commander))
    assert await story.ledger.read(lambda tx: fallbacks.standing(tx, story.commander.id)) is None
    assert not await story.ledger.read(fallbacks.anybody_may)


async def test_the_roster_tells_of_it(story: Story, chief: Person, allowed: Allowance) -> None:
    listed = await story.ledger.read(explain.roster)
    told = next(each for each in listed if each["id"] == story.commander.id)["fallback"]
    assert told["granted_by"] == "Chief Banks" and told["reason"] == "A broken phone"
    assert told["until"].startswith(f"{allowed.until:%Y-%m-%d}")


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"pin": "123456"}, "pin_weak"),
        ({"reason": " "}, "reason_missing"),
        ({"until": timedelta()}, "until_past"),
        ({"until": timedelta(days=31)}, "until_too_far"),
        ({"person_id": "nobody"}, "no_such_person"),
        ({"person_id": "pio"}, "cannot_decide"),
        ({"person": "commander"}, "not_your_act"),
    ],
)
async def test_who_may_allow_it_to_whom(
    story: Story, chief: Person, other: dict[str, object], code: str
) -> None:
    named = {"pio": story.pio, "commander": story.commander}
    if isinstance(length := other.get("until"), timedelta):
        other = {"until": story.clock.at + length}
    if other.get("person_id") == "pio":
        other = {"person_id": story.pio.id}
    if "person" in other:
        other = {"person": named[str(other["person"])]}
    with pytest.raises(Refusal) as refused:
        await allow(story, chief, **other)
    assert refused.value.code == code
    assert await story.ledger.read(lambda tx: fallbacks.standing(tx, story.commander.id)) is None


async def test_nobody_allows_it_to_themselves(story: Story) -> None:
    both = await story.ledger.write(
        lambda tx: people.add(tx, "Chief Ito", [Role.CHIEF, Role.COMMANDER], actor="test")
    )
    with pytest.raises(Refusal) as refused:
        await allow(story, both, person_id=both.id)
    assert refused.value.code == "own_fallback"


async def test_it_is_ended_by_who_may(story: Story, chief: Person, allowed: Allowance) -> None:
    async def end(person: Person) -> None:
        await story.ledger.write(
            lambda tx: rostering.end_fallback(tx, story.commander.id, person=person, actor="test")
        )

    with pytest.raises(Refusal) as refused:
        await end(story.pio)
    assert refused.value.code == "not_your_act"
    await end(chief)
    with pytest.raises(Refusal) as refused:
        await end(chief)
    assert refused.value.code == "no_fallback"
