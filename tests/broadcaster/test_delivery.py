"""What may be tried, and what becomes of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.channel import Idempotency
from broadcaster.delivery import (
    Happened,
    InDoubt,
    Message,
    Next,
    PostState,
    Receipt,
    Refused,
    Standing,
    TryLater,
    after,
    backoff,
    before_attempt,
    meant_for,
    plan,
    post_id,
)
from broadcaster.update import Change, Rendering, facts_digest
from tests.broadcaster.values import a_release, a_revision
from tests.story import EXERCISE, HOOK, NOW, PAGE

LATER = NOW + timedelta(hours=1)
RECEIPT = Receipt(remote_id="r1", url="https://example/1")


def standing(**fields: object) -> Standing:
    revision = a_revision()
    return Standing(**{
        "release_expires_at": LATER, "stopped": False, "replaced_by": None,
        "digest_released": revision.digest, "digest": revision.digest,
        "changes": (), "keeps": None, "in_doubt": False,
    } | fields)  # type: ignore[arg-type]  # fmt: skip


def test_a_post_may_be_tried_while_nothing_stands_against_it() -> None:
    assert before_attempt(standing(), now=NOW) is None
    assert before_attempt(standing(changes=MOVED, keeps=facts_digest(MOVED)), now=NOW) is None


MOVED = (Change(name="place", was="Oak St", now="Elm St"),)
AWAY = (Change(name="place", was="Oak St", now="Palm Dr"),)
OVER = (Change(name="status", was="open", now="closed"),)


AGAINST: list[tuple[dict[str, object], PostState]] = [
    ({"stopped": True}, PostState.STOPPED),
    ({"replaced_by": "release-2"}, PostState.REPLACED),
    ({"release_expires_at": NOW}, PostState.EXPIRED),
    ({"release_expires_at": NOW - timedelta(seconds=1)}, PostState.EXPIRED),
    ({"digest_released": "0" * 64}, PostState.HELD),
    ({"changes": MOVED}, PostState.HELD),
    ({"changes": AWAY, "keeps": facts_digest(MOVED)}, PostState.HELD),
    ({"changes": OVER, "keeps": facts_digest(OVER)}, PostState.HELD),
]


@pytest.mark.parametrize(("fields", "state"), AGAINST)
def test_what_stands_against_a_try(fields: dict[str, object], state: PostState) -> None:
    instead = before_attempt(standing(**fields), now=NOW)
    assert instead is not None and instead.state is state
    assert instead.why and instead.next_look is None


@pytest.mark.parametrize(("fields", "_"), AGAINST)
def test_a_post_that_may_have_arrived_is_never_said_to_have_failed(
    fields: dict[str, object], _: PostState
) -> None:
    instead = before_attempt(standing(**fields, in_doubt=True), now=NOW)
    assert instead is not None and instead.state is PostState.IN_DOUBT
    assert instead.why and "may have arrived" in instead.why


def test_a_person_who_stopped_it_is_told_so_first() -> None:
    everything = {name: value for fields, _ in reversed(AGAINST) for name, value in fields.items()}
    instead = before_attempt(standing(**everything), now=NOW)
    assert instead is not None and instead.state is PostState.STOPPED


@pytest.mark.parametrize(
    ("error", "classes", "state"),
    [
        (None, "ABCD", PostState.POSTED),
        (Refused("no"), "ABCD", PostState.REFUSED),
        (TryLater("away"), "ABCD", PostState.WAITING),
        (InDoubt("?"), "AB", PostState.WAITING),
        (InDoubt("?"), "CD", PostState.IN_DOUBT),
    ],
)
def test_what_becomes_of_a_post(
    error: TryLater | Refused | InDoubt | None, classes: str, state: PostState
) -> None:
    happened = Happened(error=error) if error else Happened(receipt=RECEIPT)
    for each in classes:
        then = after(happened, idempotency=Idempotency(each), attempts=1, expires_at=LATER, now=NOW)
        assert then.state is state
        assert then.why == (str(error) if error else None)
        assert (then.next_look is not None) == (state is PostState.WAITING)


def test_an_attempt_ends_in_one_way() -> None:
    for neither_nor_both in ({}, {"receipt": RECEIPT, "error": Refused("no")}):
        with pytest.raises(ValueError, match="receipt or with an error"):
            Happened(**neither_nor_both)  # type: ignore[arg-type]


def later(pause: timedelta | None, attempts: int = 1, expires_at: datetime = LATER) -> timedelta:
    then = after(
        Happened(error=TryLater("away", pause)), idempotency=Idempotency.BLIND,
        attempts=attempts, expires_at=expires_at, now=NOW,
    )  # fmt: skip
    assert then.next_look is not None
    return then.next_look - NOW


def test_a_pause_that_was_asked_for_is_kept() -> None:
    assert later(timedelta(seconds=120), attempts=50) == timedelta(seconds=120)
    assert timedelta() <= later(timedelta()) <= timedelta(seconds=0.5)


def test_a_short_pause_is_no_leave_to_ask_without_end() -> None:
    short = timedelta(milliseconds=1)
    assert max(later(short, attempts=20) for _ in range(20)) > timedelta(seconds=1)


@given(st.integers(-5, 10_000))
def test_the_pause_before_the_next_try_is_bounded(attempts: int) -> None:
    longest = min(0.5 * 2 ** min(max(attempts, 1) - 1, 20), 30)
    assert timedelta() <= backoff(attempts) <= timedelta(seconds=longest)


def test_tries_do_not_fall_into_step() -> None:
    assert len({backoff(10) for _ in range(20)}) > 10


@given(st.none() | st.timedeltas(timedelta(), timedelta(days=7)), st.integers(1, 100))
def test_nothing_waits_longer_than_it_lives(pause: timedelta | None, attempts: int) -> None:
    soon = NOW + timedelta(seconds=5)
    assert NOW + later(pause, attempts, soon) <= soon


ERRORS = st.sampled_from([TryLater("away"), TryLater("busy", timedelta(seconds=9)), InDoubt("?")])


@given(st.lists(ERRORS, max_size=30), st.sampled_from(Idempotency), st.booleans())
def test_a_class_that_cannot_send_again_is_never_sent_again_in_doubt(
    story: list[TryLater | InDoubt], idempotency: Idempotency, stopped: bool
) -> None:
    """Whatever happens, and in what order: after doubt, only A and B are tried once more."""
    then, doubted = Next(PostState.PLANNED), False
    for number, error in enumerate(story, start=1):
        if then.state not in (PostState.PLANNED, PostState.WAITING):
            break
        assert not doubted or idempotency.may_send_again
        doubted = doubted or isinstance(error, InDoubt)
        then = after(
            Happened(error=error), idempotency=idempotency, attempts=number, expires_at=LATER,
            now=NOW,
        )  # fmt: skip
        assert then.state is not PostState.SENDING
    ended = before_attempt(standing(stopped=stopped, in_doubt=doubted), now=LATER)
    assert ended is not None
    assert (ended.state is PostState.IN_DOUBT) == doubted


def test_a_release_has_one_post_for_each_of_its_channels() -> None:
    release = a_release(channels=("public_page", "county"))
    first, second = plan(release)
    assert (first.channel, second.channel) == ("public_page", "county")
    assert first.id == post_id(release.id, "public_page") != second.id
    assert plan(release) == plan(release)
    assert {post.release_id for post in (first, second)} == {release.id}
    assert {post.world for post in (first, second)} == {"exercise"}


def test_ids_of_posts_stay_what_they_are() -> None:
    """They are keys at receivers: a change here would post everything once more."""
    assert post_id("release-1", "public_page") == "88fe2823-ab6e-534a-83b0-83606a0b6869"


@pytest.mark.parametrize("state", PostState)
def test_a_state_is_ended_or_unsent_or_neither(state: PostState) -> None:
    assert not (state.ended and state.unsent)
    on_its_way = (PostState.SENDING, PostState.IN_DOUBT)
    assert (not state.ended and not state.unsent) == (state in on_its_way)


def test_a_message_reaches_only_the_channel_and_world_that_it_was_approved_for() -> None:
    message = Message(
        post_id="p", world=EXERCISE, incident_public_id="k", incident_url="http://x/p/k", number=1,
        kind="update", rendering=Rendering(channel=PAGE.name, headline="h", text="t"),
        released_at=NOW, expires_at=LATER,
    )  # fmt: skip
    meant_for(PAGE, message)
    with pytest.raises(Refused, match="not for county"):
        meant_for(HOOK, message)
    with pytest.raises(Refused, match="live world"):
        meant_for(PAGE, message.model_copy(update={"world": "live"}))
