"""Channels that are added by command: who may, what stays, and when a new credential is due."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import TypeAdapter

from broadcaster import channel_accounts
from broadcaster.accounts import Account, WebhookAccount, channel_of, read
from broadcaster.channel import AnyChannel
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, accounts, people, problems
from broadcaster.roster import Person, Role
from broadcaster.sealing import Sealer, new_key
from streams.sweep import sweep
from tests.story import PAGE, Story

_KEYS = [new_key()]
SEALER = Sealer(_KEYS)
MATRIX = {
    "kind": "matrix", "name": "city", "title": "City", "url": "https://m.example",
    "room": "!r:m.example", "token": "first",
}  # fmt: skip


async def somebody(story: Story, role: Role = Role.CHIEF) -> Person:
    return await story.ledger.write(
        lambda tx: people.add(tx, f"A {role}", [role], actor="test", practice=True)
    )


async def add(
    story: Story, by: Person, expires_on: date | None = None, **other: Any
) -> None:  # fmt: skip
    account = read({**MATRIX, **other})
    await story.ledger.write(lambda tx: channel_accounts.add(
        tx, account, SEALER, taken={"county"}, expires_on=expires_on, person=by, actor="operator",
    ))  # fmt: skip


async def change(
    story: Story, by: Person, expires_on: date | None = None, **given: Any
) -> None:  # fmt: skip
    await story.ledger.write(lambda tx: channel_accounts.change(
        tx, "city", given, SEALER, expires_on=expires_on, person=by, actor="operator",
    ))  # fmt: skip


def token(tx: Tx) -> str:
    [kept] = accounts.standing(tx)
    account = channel_accounts.opened(kept, accounts.sealed(tx)["city"], SEALER, tx.world)
    read_token: str = account.token.get_secret_value()  # type: ignore[union-attr]
    return read_token


async def test_it_is_added_changed_and_removed(story: Story) -> None:
    chief = await somebody(story)
    await add(story, chief)
    [first] = await story.ledger.read(accounts.standing)
    assert (first.name, first.kind, first.title, first.serial) == ("city", "matrix", "City", 1)
    await change(story, chief, token="second")
    [second] = await story.ledger.read(accounts.standing)
    assert second.serial == 2 and second.made_of == first.made_of
    assert await story.ledger.read(token) == "second"
    await story.ledger.write(
        lambda tx: channel_accounts.remove(tx, "city", person=chief, actor="operator")
    )
    assert await story.ledger.read(accounts.standing) == ()
    assert await story.ledger.read(accounts.sealed) == {}
    await add(story, chief, token="third")
    [again] = await story.ledger.read(accounts.standing)
    assert again.serial == 3 and await story.ledger.read(token) == "third"


async def test_a_webhook_is_signed_by_the_secret_before_for_a_day(story: Story) -> None:
    def account(tx: Tx) -> WebhookAccount:
        [kept] = accounts.standing(tx)
        found = channel_accounts.opened(kept, accounts.sealed(tx)["city"], SEALER, tx.world)
        assert isinstance(found, WebhookAccount)
        return found

    chief = await somebody(story)
    hook = read({"kind": "webhook", "name": "city", "title": "City", "secret": "first",
                 "url": "https://m.example"})  # fmt: skip
    await story.ledger.write(lambda tx: channel_accounts.add(
        tx, hook, SEALER, taken=(), expires_on=None, person=chief, actor="operator",
    ))  # fmt: skip
    assert (await story.ledger.read(account)).before is None
    for secret, before in (("second", "first"), ("third", "second")):
        await change(story, chief, secret=secret)
        changed_at = story.clock.now()
        now = await story.ledger.read(account)
        assert now.secret.get_secret_value() == secret and now.before is not None
        assert now.before.secret.get_secret_value() == before and before not in repr(now)
        assert now.before.until == changed_at + timedelta(hours=24)
        story.clock.move(hours=1)
        await story.ledger.write(lambda tx: channel_accounts.reseal(tx, SEALER))
        assert await story.ledger.read(account) == now
    await change(story, chief, secret="third")
    assert await story.ledger.read(account) == now, "nothing else was given"
    await change(story, chief, before=None)
    assert (await story.ledger.read(account)).before is None, "as where somebody else has it"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"name": "county"}, "name_taken"),
        ({}, "name_taken"),
        ({"kind": "ntfy", "name": "old", "topic": "t", "room": None}, "name_of_another_kind"),
    ],
)
async def test_a_name_is_one_channels(story: Story, other: dict[str, Any], code: str) -> None:
    chief = await somebody(story)
    await add(story, chief)
    await add(story, chief, name="old")
    await story.ledger.write(
        lambda tx: channel_accounts.remove(tx, "old", person=chief, actor="operator")
    )
    given = {key: value for key, value in {**MATRIX, **other}.items() if value is not None}
    account = read(given)
    with pytest.raises(Refusal) as refusal:
        await story.ledger.write(lambda tx: channel_accounts.add(
            tx, account, SEALER, taken={"county"}, expires_on=None, person=chief, actor="operator",
        ))  # fmt: skip
    assert (refusal.value.code, refusal.value.field) == (code, "name")


@pytest.mark.parametrize("member", ["name", "title", "kind", "url", "room"])
async def test_where_it_posts_stays(story: Story, member: str) -> None:
    chief = await somebody(story)
    await add(story, chief)
    with pytest.raises(Refusal) as refusal:
        await change(story, chief, **{member: "other"})
    assert (refusal.value.code, refusal.value.field) == ("another_channel", member)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CHIEF])
async def test_the_chief_alone_may(story: Story, role: Role) -> None:
    chief, other = await somebody(story), await somebody(story, role)
    await add(story, chief)
    for order in (
        add(story, other, name="new"),
        change(story, other, token="x"),
        story.ledger.write(
            lambda tx: channel_accounts.remove(tx, "city", person=other, actor="operator")
        ),
    ):
        with pytest.raises(Refusal) as refusal:
            await order
        assert refusal.value.code == "not_your_act"


async def test_another_key_seals_them_all_again(story: Story) -> None:
    chief = await somebody(story)
    await add(story, chief)
    await add(story, chief, name="other")
    newer = new_key()
    both = Sealer([newer, *_KEYS])
    assert await story.ledger.write(lambda tx: channel_accounts.reseal(tx, both)) == 2
    sealed = await story.ledger.read(accounts.sealed)
    assert Sealer([newer]).open(sealed["city"], ("exercise", "city"))["token"] == "first"


async def test_somebody_is_told_before_a_credential_ends_and_not_each_time(story: Story) -> None:
    chief, today = await somebody(story), story.clock.now().date()
    await add(story, chief, today + timedelta(days=40))
    told = []
    for day in range(45):
        await story.ledger.write(sweep)
        await story.ledger.write(sweep)
        listed = await story.ledger.read(lambda tx: problems.listed(tx))
        if len(listed) > len(told):
            told.append((day, listed[0].why))
        story.clock.move(days=1)
    assert [day for day, _ in told] == [10, 33, 39, 40]
    assert told[-1][1] == "The credential of City is good today for the last time."

    await change(story, chief, story.clock.now().date() + timedelta(days=100), token="new")
    await story.ledger.write(sweep)
    assert len(await story.ledger.read(lambda tx: problems.listed(tx))) == len(told)


async def test_of_an_account_of_the_settings_somebody_is_told_likewise(story: Story) -> None:
    """And anew once the settings say another day."""
    today, told = story.clock.now().date(), []

    def settings(days: int) -> list[AnyChannel]:
        account = TypeAdapter(Account).validate_python(
            {**MATRIX, "ends": (today + timedelta(days=days)).isoformat()}
        )
        return [channel_of(account, "exercise"), PAGE]

    for day in range(45):
        for _ in range(2):
            await story.ledger.write(partial(sweep, channels=settings(40 if day < 42 else 50)))
        listed = await story.ledger.read(lambda tx: problems.listed(tx))
        if len(listed) > len(told):
            told.append((day, listed[0].why))
            assert "BROADCASTER_CHANNELS" in listed[0].do
        story.clock.move(days=1)
    assert [day for day, _ in told] == [10, 33, 39, 40, 42, 43]
    assert told[3][1] == "The credential of City is good today for the last time."


async def test_its_last_day_is_no_member_where_it_is_added_by_command(story: Story) -> None:
    with pytest.raises(Refusal) as refusal:
        read({**MATRIX, "ends": "2027-01-31"})
    assert (refusal.value.code, refusal.value.field) == ("account_invalid", "ends")
    assert "--expires" in refusal.value.do


async def test_one_that_has_ended_is_none(story: Story) -> None:
    chief = await somebody(story)
    with pytest.raises(Refusal) as refusal:
        await add(story, chief, story.clock.now().date() - timedelta(days=1))
    assert (refusal.value.code, refusal.value.field) == ("expired", "expires")
