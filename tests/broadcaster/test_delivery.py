"""From a release to posts, and for whom a message is meant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broadcaster.delivery import (
    Message,
    PostState,
    Receipt,
    Refused,
    meant_for,
    plan,
    post_id,
)
from broadcaster.update import Rendering
from tests.broadcaster.values import a_release
from tests.story import EXERCISE, HOOK, NOW, PAGE

LATER = NOW + timedelta(hours=1)
RECEIPT = Receipt(remote_id="r1", url="https://example/1")


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
