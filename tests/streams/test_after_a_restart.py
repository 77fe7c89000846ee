"""After a restart all that was being sent is listed and first looked for (how soon:
`bench_restart`)."""

from __future__ import annotations

from broadcaster.ledger import records
from broadcaster.record import Kind
from tests.story import Story
from tests.streams.restart import BLIND, CHANNELS, INCIDENTS, restarted


async def test_a_thousand_open_posts_are_listed_and_looked_for(
    story: Story,
) -> None:
    seen, adapters = await restarted(story)
    failing = await story.ledger.read(lambda tx: records.lines(tx, kinds=[Kind.CHANNEL_FAILING]))
    assert not failing, "it was us who ended, and no channel that failed"
    assert len(seen.listed) == INCIDENTS * len(CHANNELS), "each is on the record as left open"
    assert len(seen.proved) == INCIDENTS * (len(CHANNELS) - len(BLIND))
    for each in adapters:
        assert len(each.asked) == len(set(each.asked)), "at the first look each was found"
    assert max(seen.listed.values()) < min(seen.proved.values()), "listed before any is looked for"
