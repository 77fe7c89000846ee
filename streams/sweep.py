"""Sweep: what is past its `next_look` is called again, and what has run out is ended.

Woken by the clock. A message that was lost is so sent again: the same one, from the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

from broadcaster.delivery import Next, PostState
from broadcaster.incident import Fact, Status
from broadcaster.ledger import Tx, approvals, incidents, outbox, posts, reports
from broadcaster.orders import expire_request
from broadcaster.record import Kind
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


def sweep(tx: Tx) -> Swept:
    """The step: calls again what is past its `next_look`, and ends what has run out."""
    _stopped(tx)
    swept = Swept(
        reports=reports.look_again(tx, limit=AT_MOST),
        requests=_requests(tx),
        decisions=approvals.decisions_look_again(tx, limit=AT_MOST),
        posts=posts.look_again(tx),
        closed=_close_silent(tx),
    )
    outbox.call_once(tx)
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
