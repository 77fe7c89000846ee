"""What follows from how an errand ended, row by row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from broadcaster.aftercare import (
    READ_AFTER,
    READ_AGAIN,
    READ_UNTIL,
    TAKE_DOWN_WITHIN,
    Errand,
    Found,
    Owed,
    after_read,
    after_retract,
)
from broadcaster.delivery import InDoubt, Refused, Seen, TryLater, Unsupported
from broadcaster.media import Picture
from broadcaster.outcome import Tell
from broadcaster.update import Rendering
from tests.story import HOOK, NOW

APPROVED = Rendering(channel=HOOK.name, headline="Gas leak", text="Stay inside.")
MAP = Picture(digest="0" * 64, type="image/png", width=9, height=9, size=9, alt="A map of Oak St.")
DRAWN = APPROVED.model_copy(update={"pictures": (MAP,)})
HOUR = timedelta(hours=1)


def owed(errand: Errand = Errand.READ_BACK, **fields: Any) -> Owed:
    return Owed(**{"errand": errand, "since": NOW} | fields)


@pytest.mark.parametrize(
    ("seen", "found", "tell"),
    [
        (Seen(text="Stay inside."), Found.AS_APPROVED, None),
        (Seen(text="Stay inside.", headline="Gas leak"), Found.AS_APPROVED, None),
        (Seen(text="Stay inside", headline="Gas leak"), Found.CHANGED, Tell.PIO),
        (Seen(text="Stay inside.\n"), Found.CHANGED, Tell.PIO),
        (Seen(text="Stay inside.", headline="Gas Leak"), Found.CHANGED, Tell.PIO),
        (None, Found.GONE, Tell.PIO),
    ],
)
def test_what_the_public_reads_is_what_was_approved_or_somebody_hears(
    seen: Seen | None, found: Found, tell: Tell | None
) -> None:
    then = after_read(seen, APPROVED, owed(), now=NOW)
    assert (then.found, then.tell, then.due_at) == (found, tell, NOW + READ_AFTER[1])
    assert (then.why is not None) == found.alarms


@pytest.mark.parametrize(
    ("answerable", "found"),
    [(None, Found.AS_APPROVED), (False, Found.AS_APPROVED), (True, Found.ANSWERABLE)],
)
def test_whether_the_public_can_answer_is_read_too(answerable: bool | None, found: Found) -> None:
    seen = Seen(text="Stay inside.", answerable=answerable)
    then = after_read(seen, APPROVED, owed(), now=NOW)
    assert (then.found, then.alarms, then.due_at) == (found, found.alarms, NOW + READ_AFTER[1])
    assert found is Found.AS_APPROVED or (then.why and "389.5.1" in then.why)
    again = after_read(seen, APPROVED, owed(found=then.found, read=then.read), now=NOW)
    assert not again.alarms, "who has seen it has seen it"
    wrong = after_read(Seen(text="Go.", answerable=True), APPROVED, owed(), now=NOW)
    assert wrong.found is Found.CHANGED, "other words come first"


@pytest.mark.parametrize(
    ("pictures", "approved", "why"),
    [
        (None, DRAWN, None),
        ((), APPROVED, None),
        ((MAP.alt,), DRAWN, None),
        ((), DRAWN, "not the picture that was approved"),
        (("Another.",), DRAWN, "not the picture that was approved"),
        ((MAP.alt, "Another."), DRAWN, "not the picture that was approved"),
        ((MAP.alt,), APPROVED, "a picture that nobody approved"),
    ],
)
def test_whether_its_picture_is_there_is_read_too(
    pictures: tuple[str, ...] | None, approved: Rendering, why: str | None
) -> None:
    then = after_read(Seen(text="Stay inside.", pictures=pictures), approved, owed(), now=NOW)
    assert then.found is (Found.CHANGED if why else Found.AS_APPROVED)
    assert then.alarms == bool(why) and (why or "") in (then.why or "")
    gone = after_read(Seen(text="Stay inside.", pictures=()), DRAWN,
                      owed(found=then.found, read=then.read), now=NOW)  # fmt: skip
    assert gone.alarms == (then.read != gone.read)


@pytest.mark.parametrize(("reads", "due"), [(0, NOW + HOUR), (1, NOW + 24 * HOUR), (2, None)])
def test_it_is_read_three_times(reads: int, due: object) -> None:
    then = after_read(Seen(text="Stay inside."), APPROVED, owed(reads=reads), now=NOW)
    assert then.due_at == due


def test_a_read_that_tells_nothing_is_done_again_for_two_days() -> None:
    away = TryLater("Away.", after=timedelta(minutes=20))
    then = after_read(away, APPROVED, owed(tries=1), now=NOW)
    assert then.found is None and then.due_at == NOW + timedelta(minutes=20)
    late = NOW + READ_UNTIL + timedelta(seconds=1)
    assert after_read(away, APPROVED, owed(), now=late).due_at is None
    assert after_read(Unsupported("No."), APPROVED, owed(), now=NOW).due_at is None


READ = after_read(Seen(text="Go."), APPROVED, owed(), now=NOW).read
WRONG = Rendering(channel=HOOK.name, headline="Gas leak", text="Go.")


@pytest.mark.parametrize(
    ("seen", "before", "read", "alarms"),
    [
        (Seen(text="Go."), None, None, True),
        (Seen(text="Go."), Found.AS_APPROVED, None, True),
        (Seen(text="Go."), Found.CHANGED, READ, False),  # who has seen it has seen it
        (Seen(text="Run."), Found.CHANGED, READ, True),
        (Seen(text="Go.", headline="Fire"), Found.CHANGED, READ, True),
        (Seen(text="Go."), Found.GONE, None, True),
        (None, Found.CHANGED, READ, True),
        (None, Found.GONE, None, False),
        (Seen(text="Stay inside."), Found.CHANGED, READ, False),
    ],
)
def test_what_happens_anew_alarms_anew(
    seen: Seen | None, before: Found | None, read: str | None, alarms: bool
) -> None:
    assert after_read(seen, APPROVED, owed(found=before, read=read), now=NOW).alarms == alarms


def test_wrong_words_that_stand_there_again_alarm_each_time_they_are_read() -> None:
    before = owed(found=Found.WRONG, read=READ, reads=2)
    then = after_read(Seen(text="Go."), APPROVED, before, wrong=[WRONG], now=NOW)
    assert (then.found, then.alarms, then.due_at) == (Found.WRONG, True, NOW + READ_AGAIN)
    assert then.why == "The wrong words stand there again, in the place of these."
    late = NOW + READ_UNTIL
    assert after_read(Seen(text="Go."), APPROVED, before, wrong=[WRONG], now=late).due_at is None
    same = after_read(Seen(text="Stay inside."), APPROVED, before, wrong=[APPROVED], now=NOW)
    assert same.found is Found.AS_APPROVED, "a correction of another channel's words alone"


def test_wrong_words_are_taken_down_or_a_person_hears() -> None:
    retract = owed(Errand.RETRACT, tries=1)
    assert after_retract(None, retract, now=NOW).found is Found.DOWN
    for how in (TryLater("Away."), InDoubt("Lost.")):
        then = after_retract(how, retract, now=NOW)
        assert then.found is None and then.due_at and then.due_at >= NOW
        late = NOW + TAKE_DOWN_WITHIN + timedelta(seconds=1)
        then = after_retract(how, retract, now=late)
        assert (then.found, then.tell) == (Found.STAYS, Tell.PIO) and then.due_at
        then = after_retract(how, owed(Errand.RETRACT, reads=1), now=late)
        assert (then.found, then.tell) == (None, None) and then.due_at, "it was told once"
    asked = timedelta(hours=1)
    for how in (TryLater("Away.", asked), InDoubt("Away.", asked)):
        assert after_retract(how, retract, now=NOW).due_at == NOW + asked
    for end in (Refused("Not allowed."), Unsupported("It cannot.")):
        then = after_retract(end, retract, now=NOW)
        assert (then.found, then.tell, then.due_at) == (Found.STAYS, Tell.PIO, None)
        assert then.why == f"{end} Take it down by hand."
