"""What people order of posts and channels: the desk's orders and the operator's.

A person ends what no program may end by guessing: a post in doubt. And a person has a channel
left alone, or asked again. None of these sends anything: deliver does, by its own rules.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NoReturn
from urllib.parse import urlsplit

from broadcaster.aftercare import Errand
from broadcaster.delivery import PostState
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.ledger import (
    Tx,
    attempts,
    calls,
    channels,
    choices,
    clocks,
    errands,
    posts,
    problems,
    reply_decisions,
    wrong_words,
)
from broadcaster.outcome import Choice, choices_of, still_looking
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, require
from broadcaster.update import clean, reason_in

LONGEST_ADDRESS = 2000

#: A channel that the public can answer on is used for so long before the Chief looks again.
LONGEST_REPLIES = timedelta(days=366)


def choose(
    tx: Tx, post_id: str, attempt: int, choice: Choice, by: Person | str, url: str = ""
) -> None:
    """Notes what a person says of a post: it is there, is to be sent again, or was taken down.

    Raises Refusal.

    `attempt`: the newest one that they saw. `url`: where they have seen it. `by`: who says so; the
    operator's command line is no person.
    """
    if isinstance(by, Person):
        require(by, Act.SETTLE_POST)
    actor = by.id if isinstance(by, Person) else by
    post = posts.get(tx, post_id)
    if post is None:
        raise Refusal("no_such_post", "There is no such post.", "Open it from its release's page.",
                      kind=Sort.NOT_FOUND)  # fmt: skip
    looking = still_looking(post.state, post.next_look, post.looks)
    superseded = bool(attempts.superseded(tx, [post]))
    may = choices_of(post.state, takes_down=errands.takes_down(tx, post_id), looking=looking,
                     superseded=superseded)  # fmt: skip
    if choice is Choice.SEND_AGAIN and post.attempts == attempt:
        _may_be_sent_again(post, looking=looking, superseded=superseded)
    if choice not in may or post.attempts != attempt:
        raise Refusal(
            "post_moved", f"It is {post.state} now, after {post.attempts} tries.",
            "Look at its release's page for what stands now.", kind=Sort.CONFLICT,
            facts={"state": str(post.state)},
        )  # fmt: skip
    if choices.waits(tx, post_id):
        return  # the second tap of two
    where = _address(url) if choice is Choice.THERE else None
    tx.trace = post.trace
    choices.add(tx, post_id, attempt, choice, where, actor)
    tx.record(Kind.POST_CHOSEN, actor=actor, incident_id=post.incident_id, post_id=post_id,
              channel=post.channel, choice=str(choice), attempt=attempt, url=where)  # fmt: skip
    posts.changed(tx, post)


def _may_be_sent_again(post: posts.Kept, *, looking: bool, superseded: bool) -> None:
    """Raises Refusal where a post that asks for somebody is not to be sent again all the same."""
    if superseded and post.state in (PostState.IN_DOUBT, PostState.REFUSED, PostState.HELD):
        raise Refusal(
            "post_superseded", "A later update took its place or was sent here since: its words "
            "are not sent any more.",
            "Write an update with what should be said now.", kind=Sort.CONFLICT,
            facts={"state": str(post.state)},
        )  # fmt: skip
    if looking:
        raise Refusal(
            "post_looked_for", "It is still being looked for: what is not to be seen yet may be "
            "there, and would be there twice.",
            "Say that it is there if you see it; else wait until its page asks.",
            kind=Sort.CONFLICT, facts={"state": str(post.state)},
        )  # fmt: skip


def see_alarm(tx: Tx, post_id: str, errand: Errand, alarm: int, person: Person) -> None:
    """Notes that somebody has seen what the public reads in a post's place. Raises Refusal.

    `alarm`: the one that they were shown; of a later one they know nothing. What is still owed
    stays so: wrong words that are out are shown until they are down.
    """
    require(person, Act.SETTLE_POST)
    post = posts.get(tx, post_id)
    standing = next((each for each in errands.of_posts(tx, [post_id])
                     if each.alarms and each.owed.errand is errand), None)  # fmt: skip
    if post is None or standing is None:
        raise _no_alarm()
    if standing.alarm != alarm:
        raise Refusal(
            "alarm_moved", "Something else was found since this page was shown.",
            "Read what stands on its release's page now.", kind=Sort.CONFLICT,
        )  # fmt: skip
    tx.trace = post.trace
    errands.see(tx, standing, person.id)
    tx.record(Kind.POST_ALARM_SEEN, actor=person.id, incident_id=post.incident_id,
              post_id=post_id, channel=post.channel, found=str(standing.found))  # fmt: skip
    posts.changed(tx, post)


def see_missed(tx: Tx, post_id: str, person: Person) -> None:
    """Notes that somebody has seen that a post expired and was never sent. Raises Refusal."""
    require(person, Act.SETTLE_POST)
    post = posts.get(tx, post_id)
    expired = post is not None and post.state is PostState.EXPIRED
    if post is None or not expired or posts.seen_missed(tx, [post_id]):
        raise _no_alarm()
    tx.trace = post.trace
    posts.see_missed(tx, post_id, person.id)
    tx.record(Kind.POST_ALARM_SEEN, actor=person.id, incident_id=post.incident_id,
              post_id=post_id, channel=post.channel, found=str(post.state))  # fmt: skip
    posts.changed(tx, post)


def _no_alarm() -> Refusal:
    return Refusal(
        "no_alarm", "Nothing about it waits for somebody to see it.",
        "Open its release's page for what stands now.", kind=Sort.CONFLICT,
    )  # fmt: skip


def pause_channel(tx: Tx, name: str, why: str, by: Person | str) -> None:
    """Has nothing sent on a channel until it is let go on; what is being sent ends. Raises Refusal.

    `by` as for `choose`.
    """
    actor = _runs_channels(by)
    reason = reason_in(why, "why", "A channel is paused for a reason, so that others know.")
    if not channels.pause(tx, name, actor, reason):
        _no_such_channel(name)
    tx.record(Kind.CHANNEL_PAUSED, actor=actor, channel=name, private={"reason": reason})


def resume_channel(tx: Tx, name: str, by: Person | str) -> None:
    """Lets a channel go on at once, whatever kept it back. Raises Refusal."""
    _go_on(tx, name, _runs_channels(by))


def _go_on(tx: Tx, name: str, actor: str, incident_id: str | None = None) -> None:
    if not channels.go_on(tx, name):
        _no_such_channel(name)
    tx.record(Kind.CHANNEL_RESUMED, actor=actor, incident_id=incident_id, channel=name)


def let_go_on(tx: Tx, post_id: str, person: Person) -> None:
    """Lets a channel go on that a person has paused, since wrong words stay up on it meanwhile.

    So may whoever may take words back: else a pause would outvote the Commander. What was paused
    because its credential is dead stays so, since nothing could go out. Raises Refusal.
    """
    post = posts.get(tx, post_id)
    several = wrong_words.still_out(tx, post.incident_id) if post else []
    wrong = next((each for each in several if each.post.id == post_id and each.paused), None)
    if post is None or wrong is None:
        raise Refusal(
            "nothing_paused", "No wrong words of it wait for a channel that is paused.",
            "Open its release's page for what stands now.", kind=Sort.CONFLICT,
        )  # fmt: skip
    if not wrong.paused_by_a_person:
        raise Refusal(
            "credential_dead", "The channel does not know our credential, so nothing can go there.",
            "Take the words down by hand, and have a new credential put into the settings.",
            kind=Sort.CONFLICT,
        )  # fmt: skip
    if not person.may(Act.RUN_CHANNEL):
        require(person, Act.TAKE_BACK)
    tx.trace = post.trace
    _go_on(tx, post.channel, person.id, post.incident_id)


def have_sent_again(tx: Tx, name: str, actor: str, *, on: bool) -> None:
    """Has a channel send again after a minute what is in doubt, where public safety asks for it.

    It may then be there twice; the Chief's designee weighs that. Raises Refusal.
    """
    if not channels.send_again(tx, name, actor if on else None):
        _no_such_channel(name)
    tx.record(Kind.CHANNEL_SENDS_AGAIN, actor=actor, channel=name, on=on)


def allow_replies(
    tx: Tx, name: str, *, reason: str, until: datetime, person: Person, actor: str
) -> None:
    """The Chief decides that a channel is used although the public can answer there (389.5.1).

    Raises Refusal.
    """
    require(person, Act.ALLOW_REPLIES)
    why = reason_in(reason, "reason", "The Chief decides this for a reason, for the record.")
    if not tx.now < until <= tx.now + LONGEST_REPLIES:
        raise Refusal(
            "until_invalid", f"Such a decision ends within {LONGEST_REPLIES.days} days.",
            "Give a day within them; it can be made again.", field="until",
        )  # fmt: skip
    reply_decisions.decide(tx, name, reason=why, until=until, by=person.id, actor=actor)


def forbid_replies(tx: Tx, name: str, *, person: Person, actor: str) -> None:
    """The Chief ends that early. Raises Refusal."""
    require(person, Act.ALLOW_REPLIES)
    if not reply_decisions.end(tx, name, by=person.id, actor=actor):
        raise Refusal(
            "no_reply_decision", f"Nobody has decided that {name} is used with replies.",
            "`broadcaster deliveries` lists the channels.", kind=Sort.CONFLICT,
        )  # fmt: skip


def confirm_clock(tx: Tx, by: Person | str) -> None:
    """Notes that somebody has looked at the clock, and it is right: sending goes on.

    Raises Refusal.
    """
    actor = _runs_channels(by)
    if not clocks.confirm(tx, actor):
        raise Refusal(
            "clock_not_asked", "Nobody asks about the clock now.", "Reload the page.",
            kind=Sort.CONFLICT,
        )  # fmt: skip
    tx.record(Kind.CLOCK_CONFIRMED, actor=actor)
    for problem in problems.listed(tx):
        if problem.code == calls.CLOCK_SET:
            problems.settle(tx, problem.id, "dropped", actor=actor)


def _runs_channels(by: Person | str) -> str:
    if isinstance(by, Person):
        require(by, Act.RUN_CHANNEL)
        return by.id
    return by


def _no_such_channel(name: str) -> NoReturn:
    raise Refusal(
        "no_such_channel", f"Nothing was ever sent on a channel named {name}.",
        "`broadcaster deliveries` lists them; a new one is known once its worker runs.",
        kind=Sort.NOT_FOUND,
    )  # fmt: skip


def _address(url: str) -> str | None:
    """The web address that somebody gave, if any. Raises Refusal."""
    given = clean(url, "url")
    if not given:
        return None
    try:
        parts = urlsplit(given)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        sound = False
    if not sound or len(given) > LONGEST_ADDRESS:
        raise Refusal(
            "address_invalid", "That is no web address.",
            "Copy it from the browser's address bar, or leave it out.", field="url",
        )  # fmt: skip
    return given
