"""A Commander edits another's words, signs the edit, and nothing else is released."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from broadcaster.approval import RequestState, Verdict
from broadcaster.edit import EditWords, edit_words
from broadcaster.errors import Refusal
from broadcaster.handover import record_command
from broadcaster.ledger import Tx, approvals, people, releases, schema
from broadcaster.ledger.approvals import KeptDecision
from broadcaster.orders import Decide, Submitted
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.update import EXERCISE_MARK
from streams.gate import judge_decision
from tests.story import CHANNELS, EXERCISE, INCIDENT_URL, SITE, Story, tapped

TEXT = "Stay inside and close the windows. Gas leak, 1200 block of Oak St."


@pytest.fixture
async def asked(story: Story) -> Submitted:
    return await story.submitted(await story.reported())


async def edited(
    story: Story, asked: Submitted, by: Person | None = None, **ways: Any
) -> Submitted:
    order = EditWords(**{
        "request_id": asked.request.id, "digest": asked.revision.digest, "attested": True,
        "texts": {each.name: TEXT for each in CHANNELS},
    } | ways)  # fmt: skip
    return await story.ledger.write(
        lambda tx: edit_words(tx, order, by or story.commander, CHANNELS, SITE)
    )


async def refused(story: Story, asked: Submitted, by: Person | None = None, **ways: Any) -> str:
    with pytest.raises(Refusal) as caught:
        await edited(story, asked, by, **ways)
    kept = await story.ledger.read(lambda tx: approvals.request(tx, asked.request.id))
    assert kept
    if caught.value.code not in ("already_withdrawn", "already_declined"):
        assert kept.request.state is RequestState.OPEN, "what was asked still is"
    return caught.value.code


async def test_the_edit_is_asked_signed_and_posted_word_for_word(
    story: Story, asked: Submitted
) -> None:
    edit = await edited(story, asked)
    assert edit.revision.update_id == asked.revision.update_id
    assert (edit.revision.compiled_by, edit.revision.edited_by) == (
        story.pio.id, story.commander.id,
    )  # fmt: skip
    old = await story.ledger.read(lambda tx: approvals.request(tx, asked.request.id))
    assert old and old.request.state is RequestState.WITHDRAWN
    kept = await story.approved(edit)
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    release = await story.ledger.read(lambda tx: releases.of_revision(tx, edit.revision.id))
    assert release and release.digest == edit.revision.digest
    assert {each.text for each in edit.revision.renderings} == {EXERCISE_MARK + TEXT}


async def test_an_answer_on_the_old_words_decides_nothing(story: Story, asked: Submitted) -> None:
    await edited(story, asked)
    order = Decide(
        request_id=asked.request.id, verdict=Verdict.APPROVED, revision_id=asked.revision.id,
        digest=asked.revision.digest, idempotency_key="late-key-1",
    )  # fmt: skip
    answer = await story.ledger.write(lambda tx: tapped(tx, order, story.commander))
    assert isinstance(answer, Refusal) and answer.code == "already_withdrawn"


async def test_a_channel_is_left_out_and_the_words_stay_attested(
    story: Story, asked: Submitted
) -> None:
    """Words that nobody changed need no second statement; the compiler's stands."""
    said = asked.revision.rendering("county").text.removeprefix(EXERCISE_MARK)
    edit = await edited(story, asked, attested=False, texts={"county": said})
    assert edit.revision.channels == ("county",) and edit.revision.attested
    entry = select(schema.entries.c.body).where(schema.entries.c.kind == Kind.REVISION_EDITED)
    body = await story.ledger.read(lambda tx: tx.connection.execute(entry).scalar_one())
    public = json.loads(body)["public"]
    assert public["left_out"] == ["public_page"]
    assert public["compiled_by"] == story.pio.id and json.loads(body)["actor"] == story.commander.id


@pytest.mark.parametrize(
    ("ways", "code"),
    [
        ({"attested": False}, "attestation_missing"),
        ({"digest": "0" * 64}, "words_changed"),
        ({"texts": {}}, "channel_missing"),
        ({"texts": {"elsewhere": TEXT}}, "channel_unknown"),
        ({"texts": {"county": " "}}, "text_empty"),
        ({"texts": {"county": "Now […]."}}, "slot_empty"),
        ({"texts": {"county": f"{TEXT} His SSN is 078-05-1120."}}, "policy_blocked"),
        ({"texts": {"county": f"{TEXT}\u202e"}}, "hidden_character"),
        ({"request_id": "none"}, "no_such_request"),
    ],
)
async def test_what_cannot_be_an_edit(
    story: Story, asked: Submitted, ways: dict[str, Any], code: str
) -> None:
    assert await refused(story, asked, **ways) == code


async def test_no_change_is_no_edit(story: Story, asked: Submitted) -> None:
    said = {each.channel: each.text.removeprefix(EXERCISE_MARK)
            for each in asked.revision.renderings}  # fmt: skip
    assert await refused(story, asked, texts=said) == "nothing_changed"


async def test_whose_edit_it_is(story: Story, asked: Submitted) -> None:
    def add(tx: Tx) -> Person:
        return people.add(tx, "Capt Ruiz", [Role.COMMANDER], actor="test")

    captain = await story.ledger.write(add)
    assert await refused(story, asked, story.pio) == "not_your_act"
    assert await refused(story, asked, captain) == "not_the_commander"
    incident = asked.request.incident_id
    await story.ledger.write(lambda tx: record_command(tx, incident, captain.id, story.pio))
    assert await refused(story, asked) in ("command_moved", "not_the_commander")
    assert (await edited(story, asked, captain)).request.asked == captain.id


async def test_a_time_that_ran_out_and_an_end_are_told(story: Story, asked: Submitted) -> None:
    await edited(story, asked)
    assert await refused(story, asked) == "already_withdrawn"
    again = await story.ledger.read(
        lambda tx: approvals.open_requests(tx, asked.request.incident_id)
    )
    story.clock.at = again[0].request.expires_at
    newest = Submitted(await _revision(story, again[0].request.revision_id), again[0].request)
    assert await refused(story, newest) == "request_expired"


async def _revision(story: Story, revision_id: str) -> Any:
    return await story.ledger.read(lambda tx: approvals.revision(tx, revision_id))


async def test_nobody_approves_an_edit_of_what_they_compiled(story: Story) -> None:
    """A Watch Commander who is PIO too may neither edit nor approve their own words."""
    both = await story.ledger.write(
        lambda tx: people.add(
            tx, "Lt Diaz", [Role.PIO, Role.WATCH_COMMANDER], actor="test", practice=True
        )
    )
    story.pio = both
    asked = await story.submitted(await story.reported())
    assert await refused(story, asked, both) == "own_words"
    edit = await edited(story, asked)
    order = Decide(
        request_id=edit.request.id, verdict=Verdict.APPROVED, revision_id=edit.revision.id,
        digest=edit.revision.digest, idempotency_key="own-key-1",
    )  # fmt: skip
    answer = await story.ledger.write(lambda tx: tapped(tx, order, both))
    assert isinstance(answer, Refusal) and answer.code == "own_words"
    assert isinstance(await story.approved(edit), KeptDecision)
