"""What is out is taken back in the words that were approved with it, by whoever may, at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broadcaster.approval import AnyRelease
from broadcaster.channel import Channel
from broadcaster.delivery import InDoubt, PostState, Receipt, Refused, TryLater
from broadcaster.desk.release import look
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, approvals, attempts, leases, people, posts, records, releases
from broadcaster.ledger.attempts import Closing, Opened, Wanted
from broadcaster.orders import Submitted, take_back
from broadcaster.outcome import Choice, Next
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.settling import choose
from broadcaster.update import UpdateKind
from broadcaster.world import Exercise
from streams.gate import judge_decision
from tests.story import EXERCISE, HOOK, INCIDENT_URL, PAGE, Story


async def posted(story: Story, release: AnyRelease) -> None:
    """The public page has it; the county's desk not yet."""
    await tried(story, release, PAGE, "receipt", PostState.POSTED, Receipt(remote_id="r1"))


async def tried(
    story: Story, release: AnyRelease, channel: Channel[Exercise], outcome: str, state: PostState,
    receipt: Receipt | None = None,
) -> None:  # fmt: skip
    """One try on a channel, and what becomes of the post."""

    def step(tx: Tx) -> None:
        post = next(p for p in posts.of_release(tx, release.id) if p.channel == channel.name)
        lasts = timedelta(seconds=30)
        [lease] = leases.take(tx, [f"channel:{channel.name}"], "test", lasts).values()
        [opened] = attempts.open_(tx, [Wanted(post.id, lease, lasts, channel)]).values()
        assert isinstance(opened, Opened)
        then = Next(state, tx.now if state is PostState.WAITING else None)
        attempts.close(tx, [Closing(opened, lease, outcome, then, receipt)])

    await story.ledger.write(step)


async def channels_of(story: Story, order: Submitted) -> set[str]:
    """Where a retraction that was ordered is released."""
    assert await judged(story, order) == "released"
    said = await story.ledger.read(lambda tx: releases.of_revision(tx, order.revision.id))
    assert said is not None
    return set(said.channels)


async def ordered(story: Story, release_id: str, by: Person | None = None) -> Submitted:
    return await story.ledger.write(lambda tx: take_back(tx, release_id, by or story.pio))


async def judged(story: Story, submitted: Submitted) -> str | None:
    kept = await story.ledger.read(lambda tx: approvals.decision_of(tx, submitted.request.id))
    assert kept is not None
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    after = await story.ledger.read(lambda tx: approvals.decision(tx, kept.decision.id))
    assert after is not None
    return after.outcome


async def test_what_is_out_is_taken_back_in_the_words_approved_with_it(story: Story) -> None:
    incident = await story.reported()
    release, _ = await story.released(incident)
    await posted(story, release)
    base = await story.ledger.read(lambda tx: approvals.revision(tx, release.revision_id))
    assert base is not None and {each.channel for each in base.retraction} == set(base.channels)
    story.clock.move(seconds=1)
    order = await ordered(story, release.id)
    assert await judged(story, order) == "released"
    said = await story.ledger.read(lambda tx: releases.of_revision(tx, order.revision.id))
    assert said is not None and said.channels == base.channels, "it may begin there meanwhile"
    revision = await story.ledger.read(lambda tx: approvals.revision(tx, said.revision_id))
    assert revision is not None and revision.renderings == base.retraction
    assert (revision.kind, revision.number) == (UpdateKind.RETRACTION, 2)
    assert "We take back our update #1" in revision.renderings[0].text
    left = {p.channel: p for p in await story.ledger.read(
        lambda tx: posts.of_release(tx, release.id))}  # fmt: skip
    assert left[PAGE.name].state is PostState.POSTED
    assert left[HOOK.name].replaced_by == said.id, "what had not begun is not sent any more"
    told = await story.ledger.read(lambda tx: records.of_incident(tx, incident))
    [entry] = [each for each in told if each["kind"] == Kind.RETRACTION_ORDERED]
    assert entry["actor"] == story.pio.id and entry["public"]["release_id"] == release.id


async def test_what_may_have_arrived_and_waits_to_be_sent_again_is_taken_back_too(
    story: Story,
) -> None:
    """Its answer was lost, on a channel that may be sent the same again (class A or B)."""
    release, _ = await story.released(await story.reported())
    await posted(story, release)
    await tried(story, release, HOOK, InDoubt.__name__, PostState.WAITING)
    story.clock.move(seconds=1)
    order = await ordered(story, release.id)
    assert await channels_of(story, order) == {PAGE.name, HOOK.name}


async def test_what_may_be_out_and_waits_is_enough_to_take_back(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    await tried(story, release, HOOK, InDoubt.__name__, PostState.WAITING)
    view = await story.ledger.read(lambda tx: look(tx, release.id))
    assert {each.channel for each in view.retraction} == {PAGE.name, HOOK.name}
    story.clock.move(seconds=1)
    assert HOOK.name in await channels_of(story, await ordered(story, release.id))


async def test_what_provably_did_not_arrive_is_stopped_and_not_taken_back(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    await tried(story, release, HOOK, TryLater.__name__, PostState.WAITING)
    assert await refused(story, release.id) == "nothing_to_take_back"
    view = await story.ledger.read(lambda tx: look(tx, release.id))
    assert not view.retraction


async def test_what_begins_between_the_order_and_the_gate_is_taken_back_too(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    await posted(story, release)
    story.clock.move(seconds=1)
    order = await ordered(story, release.id)
    await tried(story, release, HOOK, "receipt", PostState.POSTED, Receipt(remote_id="r2"))
    assert await channels_of(story, order) == {PAGE.name, HOOK.name}


async def test_what_was_refused_is_not_sent_again_once_it_was_taken_back(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    await posted(story, release)
    await tried(story, release, HOOK, Refused.__name__, PostState.REFUSED)
    story.clock.move(seconds=1)
    assert await channels_of(story, await ordered(story, release.id)) == {PAGE.name}

    def again(tx: Tx) -> None:
        [post] = [p for p in posts.of_release(tx, release.id) if p.channel == HOOK.name]
        choose(tx, post.id, post.attempts, Choice.SEND_AGAIN, story.pio)

    with pytest.raises(Refusal) as refused:
        await story.ledger.write(again)
    assert refused.value.code == "post_superseded"


async def test_nobody_is_asked_about_it(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    await posted(story, release)
    order = await ordered(story, release.id)
    assert await story.ledger.read(lambda tx: approvals.open_requests(tx)) == []
    kept = await story.ledger.read(lambda tx: approvals.decision_of(tx, order.request.id))
    assert kept is not None and kept.proof is None


async def refused(story: Story, release_id: str, by: Person | None = None) -> str:
    with pytest.raises(Refusal) as refusal:
        await ordered(story, release_id, by)
    return refusal.value.code


async def test_when_it_cannot_be_taken_back_so(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    assert await refused(story, "no-release") == "no_such_release"
    assert await refused(story, release.id) == "nothing_to_take_back", "nothing is out: Stop"
    await posted(story, release)
    lund = await story.ledger.write(lambda tx: people.add(tx, "Lund", [Role.RECORDS], actor="t"))
    assert await refused(story, release.id, lund) == "not_your_act"
    order = await ordered(story, release.id, story.commander)
    assert await refused(story, release.id) == "already_taken_back"
    assert await judged(story, order) == "released"
    retraction = await story.ledger.read(lambda tx: releases.of_revision(tx, order.revision.id))
    assert retraction is not None
    await posted(story, retraction)
    assert await refused(story, retraction.id) == "nothing_to_take_back", "none is prepared of it"


async def test_an_edit_that_leaves_a_channel_out_prepares_none_for_it(story: Story) -> None:
    submitted = await story.submitted(await story.reported(), channels=(PAGE,))
    assert [each.channel for each in submitted.revision.retraction] == [PAGE.name]
