"""An all clear says how it ended, in a person's words, and is not sent before (issue 5)."""

from __future__ import annotations

import pytest

from broadcaster.errors import Refusal
from broadcaster.ledger import incidents
from broadcaster.orders import SubmitRevision, Submitted, submit_revision
from broadcaster.suggestion import words
from broadcaster.update import SLOT, Origin, Phrase, UpdateKind
from tests.story import CHANNELS, PAGE, ZONE, Story

ENDED = "The gas company has closed the line."


async def submitted(
    story: Story, how: str, origin: Origin = Origin.TYPED, text: str = "",
    kind: UpdateKind = UpdateKind.ALL_CLEAR,
) -> Submitted:  # fmt: skip
    incident = await story.reported()
    kept = await story.ledger.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None
    said = words(kept.incident, department="DHSPD", zone=ZONE, now=story.clock.at)
    order = SubmitRevision(
        incident_id=incident, kind=kind, channels=(PAGE.name,), attested=True, text=text,
        words=said.model_copy(update={"guidance": Phrase(text=how, origin=origin)}),
    )  # fmt: skip
    return await story.ledger.write(
        lambda tx: submit_revision(tx, order, story.pio, list(CHANNELS))
    )


@pytest.mark.parametrize(
    ("how", "origin", "text", "field"),
    [
        ("", Origin.TYPED, "", "guidance"),
        (SLOT, Origin.TYPED, "", "guidance"),
        (f"It ended: {SLOT}", Origin.TYPED, "", "guidance"),
        ("Stay inside.", Origin.TEMPLATE, "", "guidance"),  # what to do while it went on
        (ENDED, Origin.TYPED, "All clear.", "text"),
        (ENDED, Origin.TYPED, f"{ENDED} {SLOT}", "text"),
    ],
)
async def test_while_it_is_open_nothing_is_sent(
    story: Story, how: str, origin: Origin, text: str, field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await submitted(story, how, origin, text)
    assert (refused.value.code, refused.value.field) == ("slot_empty", field)


@pytest.mark.parametrize("text", ["", f"It is over. {ENDED}"])
async def test_how_it_ended_stands_in_what_is_said(story: Story, text: str) -> None:
    revision = (await submitted(story, ENDED, text=text)).revision
    assert ENDED in revision.rendering(PAGE.name).text


async def test_another_update_may_leave_it_to_the_template(story: Story) -> None:
    assert await submitted(story, "Stay inside.", Origin.TEMPLATE, kind=UpdateKind.UPDATE)
