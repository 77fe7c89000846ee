"""A picture is kept once and as it is, its revision and each attempt say which, and it goes no
further than its posts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DatabaseError

from broadcaster import channel
from broadcaster.channel import Channel
from broadcaster.cleaning import clean_picture
from broadcaster.delivery import PostState
from broadcaster.edit import EditWords, edit_words
from broadcaster.errors import LedgerAway, Refusal
from broadcaster.ledger import (
    Tx,
    approvals,
    attempts,
    incidents,
    pictures,
    posts,
    publications,
    schema,
)
from broadcaster.ledger.attempts import Ended, Opened, Wanted
from broadcaster.media import Image
from broadcaster.orders import ShowPicture, SubmitRevision, Submitted, submit_revision, take_back
from broadcaster.suggestion import words
from broadcaster.world import Exercise
from streams.gate import judge_decision
from tests.broadcaster.ledger.test_posts import leased
from tests.pictures import drawing, kept_picture
from tests.story import EXERCISE, INCIDENT_URL, PAGE, SITE, ZONE, Story

ALT = "A map of Oak St, closed from Cactus to Palm."
WORDS = channel.mail(EXERCISE, "alerts", "Alerts").model_copy(update={"pictures": 0})
CHANNELS = (PAGE, WORDS)


async def submitted(
    story: Story, incident: str, digest: str, alt: str = ALT,
    names: tuple[str, ...] = ("public_page", "alerts"),
) -> Submitted:  # fmt: skip
    kept = await story.ledger.read(lambda tx: incidents.get(tx, incident))
    assert kept is not None
    order = SubmitRevision(
        incident_id=incident, channels=names, attested=True,
        pictures=(ShowPicture(digest=digest, alt=alt),),
        words=words(kept.incident, department="DHSPD", zone=ZONE, now=story.clock.at),
    )  # fmt: skip
    return await story.ledger.write(lambda tx: submit_revision(tx, order, story.pio, CHANNELS))


async def test_it_is_kept_once(story: Story) -> None:
    incident = await story.reported()
    first, again = [await kept_picture(story.ledger, incident, story.pio) for _ in "ab"]
    assert first == again

    def look(tx: Tx) -> tuple[int, int]:
        added = schema.entries.c.kind == "PictureAdded"
        count = select(func.count())
        return (
            tx.connection.execute(count.select_from(schema.pictures)).scalar_one(),
            tx.connection.execute(count.select_from(schema.entries).where(added)).scalar_one(),
        )

    assert await story.ledger.read(look) == (1, 1)
    kept = await story.ledger.read(lambda tx: pictures.get(tx, first.digest))
    assert kept is not None and kept.image == first
    assert await story.ledger.read(lambda tx: pictures.image(tx, first.digest)) == first
    assert await story.ledger.read(lambda tx: pictures.get(tx, "0" * 64)) is None


async def test_other_bytes_are_not_kept_under_its_name(story: Story) -> None:
    incident = await story.reported()
    made, other = clean_picture(drawing()), clean_picture(drawing(9, 9))
    with pytest.raises(ValueError, match="not this picture"):
        await story.ledger.write(lambda tx: pictures.add(
            tx, made.image, other.data, incident_id=incident, added_by=story.pio.id
        ))  # fmt: skip


@pytest.mark.parametrize("act", ["update", "delete"])
async def test_the_database_changes_none_and_takes_none_away(story: Story, act: str) -> None:
    await kept_picture(story.ledger, await story.reported(), story.pio)
    statement = (
        update(schema.pictures).values(data=b"") if act == "update" else delete(schema.pictures)
    )
    with pytest.raises((DatabaseError, LedgerAway), match="stays as it is"):
        await story.ledger.write(lambda tx: tx.connection.execute(statement))


async def test_who_shows_it_stands_in_the_revision_and_on_the_record(story: Story) -> None:
    incident = await story.reported()
    image = await kept_picture(story.ledger, incident, story.pio)
    revision = (await submitted(story, incident, image.digest)).revision
    page, words_alone = revision.renderings
    assert [each.alt for each in page.pictures] == [ALT] and words_alone.pictures == ()
    assert revision.media == (image.digest,)

    def look(tx: Tx) -> tuple[str, list[str]]:
        entry, private = schema.entries.c, schema.private_values.c
        row = tx.connection.execute(
            select(entry.id, entry.body).where(entry.kind == "RevisionSubmitted")
        ).one()
        said = select(private.value).where(private.entry_id == row.id)
        return row.body, list(tx.connection.execute(said).scalars())

    body, private = await story.ledger.read(look)
    assert image.digest in body and ALT not in body and ALT in private


@pytest.mark.parametrize(
    ("digest", "alt", "names", "code", "field"),
    [
        (None, "", ("public_page",), "alt_missing", "alt"),
        (None, "Call 760-329-2904.", ("public_page",), "policy_blocked", "alt"),
        (None, "A\u202emap", ("public_page",), "hidden_character", "alt"),
        ("0" * 64, ALT, ("public_page",), "no_such_picture", "picture"),
        (None, ALT, ("alerts",), "picture_nowhere", "picture"),
    ],
)
async def test_what_is_refused(
    story: Story, digest: str | None, alt: str, names: tuple[str, ...], code: str, field: str
) -> None:
    incident = await story.reported()
    image = await kept_picture(story.ledger, incident, story.pio)
    with pytest.raises(Refusal) as refused:
        await submitted(story, incident, digest or image.digest, alt, names)
    assert (refused.value.code, refused.value.field) == (code, field)


async def test_an_edit_keeps_it_where_it_was_and_widens_nothing(story: Story) -> None:
    incident = await story.reported()
    image = await kept_picture(story.ledger, incident, story.pio)
    asked = await submitted(story, incident, image.digest)
    able = (PAGE, WORDS.model_copy(update={"pictures": 1}))

    async def edited(base: Submitted, *names: str) -> Submitted:
        order = EditWords(
            request_id=base.request.id, digest=base.revision.digest, attested=True,
            texts=dict.fromkeys(names, "Stay inside. Close the windows."),
        )  # fmt: skip
        return await story.ledger.write(
            lambda tx: edit_words(tx, order, story.commander, able, SITE)
        )

    both = await edited(asked, "public_page", "alerts")
    page, words_alone = both.revision.renderings
    assert len(page.pictures) == 1 and words_alone.pictures == ()
    assert both.revision.media == (image.digest,)
    without = (await edited(both, "alerts")).revision
    assert (without.media, without.pictures) == ((), ())


async def opening(
    story: Story, post: posts.Kept, there: Channel[Exercise] = PAGE
) -> attempts.Outcome:
    lease = await leased(story, channel=post.channel)
    wanted = Wanted(post.id, lease, timedelta(seconds=15), there)
    outcomes = await story.ledger.write(lambda tx: attempts.open_(tx, [wanted]))
    return outcomes[post.id]


async def released(story: Story) -> tuple[Image, str, Mapping[str, posts.Kept]]:
    incident = await story.reported()
    image = await kept_picture(story.ledger, incident, story.pio)
    release, planned = await story.gated(await submitted(story, incident, image.digest))
    return image, release.id, planned


async def test_an_attempt_has_the_bytes_that_were_approved(story: Story) -> None:
    image, _, planned = await released(story)
    outcome = await opening(story, planned["public_page"])
    assert isinstance(outcome, Opened)
    assert outcome.files.keys() == {image.digest}


@pytest.mark.parametrize("upload", [timedelta(), channel.UPLOAD])
async def test_an_attempt_that_brings_a_picture_has_the_time_for_it(
    story: Story, upload: timedelta
) -> None:
    """Nobody sends the post again before that is over, and only then is it not known."""
    _, _, planned = await released(story)
    brought = PAGE.model_copy(update={"upload": upload})
    words_alone = WORDS.model_copy(update={"upload": upload})
    for name, there, longer in (
        ("public_page", brought, upload), ("alerts", words_alone, timedelta())
    ):  # fmt: skip
        post = planned[name]
        assert isinstance(await opening(story, post, there), Opened)
        [attempt] = await story.ledger.read(partial(attempts.of_post, post_id=post.id))
        assert attempt.send_before == story.clock.now() + timedelta(seconds=15) + longer
        kept = await story.ledger.read(partial(posts.get, post_id=post.id))
        assert kept is not None and kept.next_look == attempt.send_before


async def test_bytes_that_are_not_those_that_were_approved_are_not_sent(
    story: Story, url: str | None
) -> None:
    """As whoever owns the database could change them."""
    _, _, planned = await released(story)

    def tamper(tx: Tx) -> None:
        off = (
            "DROP TRIGGER pictures_update_refused"
            if url is None
            else ("DROP TRIGGER pictures_stay ON pictures")
        )
        tx.connection.execute(text(off))
        tx.connection.execute(update(schema.pictures).values(data=b"something else"))

    await story.ledger.write(tamper)
    outcome = await opening(story, planned["public_page"])
    assert isinstance(outcome, Ended) and outcome.then.state is PostState.HELD
    assert "not the words that were approved" in (outcome.then.why or "")


async def test_the_public_sees_it_while_its_post_is_out(story: Story) -> None:
    image, release_id, planned = await released(story)
    page, words_alone = planned["public_page"], planned["alerts"]
    kept = await story.ledger.read(lambda tx: incidents.get(tx, page.incident_id))
    assert kept is not None
    public_id = kept.public_id

    async def seen(post: posts.Kept = page, of: str = public_id, name: str = image.digest) -> bool:
        found = await story.ledger.read(lambda tx: publications.picture(tx, of, post.id, name))
        return found is not None

    assert not await seen()  # approved, and not out
    assert isinstance(await opening(story, page), Opened)
    assert await seen()
    assert not await seen(name="0" * 64) and not await seen(of="zzzzzzzz")
    assert not await seen(words_alone)
    back = await story.ledger.write(lambda tx: take_back(tx, release_id, story.pio))
    assert back.revision.media == () and back.revision.pictures == ()
    assert await seen()  # ordered, and not released

    def decision(tx: Tx) -> str:
        decided = approvals.decision_of(tx, back.request.id)
        assert decided is not None
        return decided.decision.id

    await story.ledger.write(
        judge_decision(await story.ledger.read(decision), EXERCISE, INCIDENT_URL)
    )
    assert not await seen()
