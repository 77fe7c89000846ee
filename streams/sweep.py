"""Sweep: what is past its `next_look` is called again, and what has run out is ended.

Woken by the clock. A message that was lost is so sent again: the same one, from the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from broadcaster.channel import AnyChannel
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import Refusal
from broadcaster.incident import Fact, Status
from broadcaster.ledger import (
    Tx,
    accounts,
    approvals,
    attempts,
    choices,
    errands,
    incidents,
    outbox,
    people,
    posts,
    problems,
    reports,
)
from broadcaster.orders import expire_request
from broadcaster.outcome import Choice, Next, choices_of, still_looking
from broadcaster.record import Kind
from streams import aftercare
from streams.compile import lapse
from streams.ends import note_end

#: Rows of a kind in one sweep: bounds how long it holds the ledger's one writer.
AT_MOST = 500


@dataclass(frozen=True)
class Swept:
    """How many things were called again or ended."""

    reports: int = 0
    requests: int = 0
    decisions: int = 0
    posts: int = 0
    closed: int = 0

    @property
    def more(self) -> bool:
        """Whether a kind was cut off, so that another sweep should follow at once."""
        return AT_MOST in (self.reports, self.decisions, self.closed)


def sweep(tx: Tx, channels: Collection[AnyChannel] = ()) -> Swept:
    """The step: calls again what is past its `next_look`, and ends what has run out.

    `channels`: those of the settings. What they say of how one mends wrong words is looked up
    where a person has seen the right ones; of one that is not among them, it is by hand. And they
    say when a credential ends.
    """
    _stopped(tx)
    known = {channel.name: channel for channel in channels}
    _chosen(tx, known)
    swept = Swept(
        reports=reports.look_again(tx, limit=AT_MOST),
        requests=_requests(tx),
        decisions=approvals.decisions_look_again(tx, limit=AT_MOST),
        posts=posts.look_again(tx),
        closed=_close_silent(tx),
    )
    outbox.call_once(tx)
    _warn_of_credentials(tx, known)
    return swept


def forget(tx: Tx) -> None:
    """The step for a broker that lost its log: whatever has no outcome is due for a look now."""
    reports.all_due(tx)
    approvals.all_due(tx)


def _requests(tx: Tx) -> int:
    due = approvals.requests_due(tx, limit=AT_MOST)
    for kept in due:
        tx.trace = kept.trace
        if kept.request.expires_at <= tx.now:
            expire_request(tx, kept.request)
        else:
            approvals.look_again(tx, kept.request)
    return len(due)


def _stopped(tx: Tx) -> None:
    """What still waits of stopped releases is ended: by deliver, or here where it is held."""
    posts.of_stopped(tx)
    then = Next(PostState.STOPPED, why="The release was stopped before this was sent.")
    for post, public_id in posts.held_of_stopped(tx):
        posts.turn(tx, [posts.Turn(post, then)])
        note_end(tx, post, public_id, then, actor="sweep")


def _chosen(tx: Tx, channels: Mapping[str, AnyChannel]) -> None:
    """Carries out what people chose of posts, where these are still as they saw them."""
    for choice in choices.to_do(tx, limit=AT_MOST):
        [post] = posts.locked(tx, [choice.post_id])
        incident = incidents.get(tx, post.incident_id)
        assert incident is not None, "a foreign key"
        person = people.get(tx, choice.by)
        who = person.name if person else f"The {choice.by}"
        choices.done(tx, choice.id)
        may = choices_of(
            post.state, takes_down=errands.takes_down(tx, post.id),
            looking=still_looking(post.state, post.next_look, post.looks),
            superseded=bool(attempts.superseded(tx, [post])),
        )  # fmt: skip
        if post.attempts != choice.attempt or choice.choice not in may:
            continue  # it ended, was tried again, or a later update went before it, meanwhile
        posts.chosen(tx, post.id)
        if choice.choice is Choice.THERE:
            _seen(tx, channels.get(post.channel), post, incident.public_id, who, choice.url)
        elif choice.choice is Choice.DOWN:
            aftercare.taken_down(tx, post, incident.public_id, who)
        elif choice.choice is Choice.NOT_THERE:
            why = f"{who} has looked, and it is not there. A later update says what stands."
            then = Next(PostState.REPLACED, why=why, surely_not_there=True)
            posts.turn(tx, [posts.Turn(post, then)])
            note_end(tx, post, incident.public_id, then, actor="sweep")
        else:
            then = Next(PostState.WAITING, tx.now, f"{who} has it sent again.",
                        surely_not_there=True)  # fmt: skip
            posts.turn(tx, [posts.Turn(post, then)])
            tx.trace = post.trace
            outbox.post_planned(tx, post.id, post.incident_id, post.channel)


def _warn_of_credentials(tx: Tx, channels: Mapping[str, AnyChannel]) -> None:
    """Asks for a new credential while the one before is still good."""
    last_days, today = accounts.ends(tx, channels.values()), tx.now.date()
    due = accounts.to_warn_of(tx, last_days)
    if not due:
        return
    added = {kept.name: kept for kept in accounts.standing(tx)}
    for name in due:
        day = last_days[name]
        when = f"is good until {day}" if day > today else (
            "is good today for the last time" if day == today else f"was good until {day}"
        )  # fmt: skip
        known = channels.get(name)
        by_command = known is None or known.ends is None
        title = added[name].title if by_command else channels[name].title
        problems.note(tx, problems.Place(source=f"channel {name}"), Refusal(
            "credential_ends", f"The credential of {title} {when}.",
            f"Get a new one there, and give it by `broadcaster channel change {name}`: it is used "
            "at once, and nothing is started again." if by_command else
            "Get a new one there, put it and its last day (`ends`) into BROADCASTER_CHANNELS, and "
            "start its processes again.",
        ))  # fmt: skip


def _seen(
    tx: Tx, channel: AnyChannel | None, post: posts.Kept, public_id: str, who: str, url: str | None
) -> None:  # fmt: skip
    """Ends a post that a person has seen there; what it puts right is then owed as ever."""
    then = Next(PostState.POSTED, why=f"{who} has seen it there.")
    tried = next(iter(attempts.as_sent(tx, [(post, post.attempts)])), None)
    edits = tried.edits if tried else None
    receipt = Receipt(remote_id=edits.remote_id, url=url or edits.url) if edits else None
    posts.turn(tx, [posts.Turn(post, then, receipt, url)])
    note_end(tx, post, public_id, then, receipt, url=url, actor="sweep")
    if tried is not None:
        aftercare.seen(tx, channel, tried)


def _close_silent(tx: Tx) -> int:
    """Closes incidents of whose source nothing was heard for its `closes_after`."""
    silent = incidents.silent_too_long(tx, limit=AT_MOST)
    tx.trace = None  # no report says so: it is their silence
    for kept in silent:
        closed = kept.incident.model_copy(
            update={
                "closed_at": tx.now,
                "status": Fact(value=Status.CLOSED, at=tx.now, report_id="silence"),
            }
        )
        incidents.save(tx, closed)
        tx.record(Kind.INCIDENT_CLOSED, actor="sweep", incident_id=closed.id,
                  why="nothing heard from its source")  # fmt: skip
        lapse(tx, incidents.Kept(closed, kept.public_id), actor="sweep")
        tx.trace = None
    return len(silent)
