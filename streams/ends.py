"""How an attempt or a post ended, put on the record: the same words whichever step found it."""

from __future__ import annotations

import uuid

from broadcaster.delivery import Next, PostState, Receipt
from broadcaster.ledger import Tx, outbox, posts
from broadcaster.record import Kind
from broadcaster.subscribers import PostSettled

_KINDS = {
    PostState.POSTED: Kind.POST_DELIVERED,
    PostState.WAITING: Kind.POST_DEFERRED,
    PostState.REFUSED: Kind.POST_REFUSED,
    PostState.IN_DOUBT: Kind.POST_IN_DOUBT,
    PostState.REPLACED: Kind.POST_REPLACED,
    PostState.EXPIRED: Kind.POST_EXPIRED,
    PostState.STOPPED: Kind.POST_STOPPED,
    PostState.HELD: Kind.POST_HELD,
}


def note_end(
    tx: Tx, post: posts.Kept, public_id: str, then: Next, receipt: Receipt | None = None,
    *, actor: str,
) -> None:  # fmt: skip
    """Puts what became of a post on the record, and tells subscribers where it has ended."""
    tx.trace = post.trace
    tx.record(
        _KINDS[then.state], actor=actor, incident_id=post.incident_id, post_id=post.id,
        channel=post.channel, remote_id=receipt.remote_id if receipt else None,
        url=receipt.url if receipt else None,
        next_look=then.next_look.isoformat() if then.next_look else None,
        private={"why": then.why},
    )  # fmt: skip
    if then.state.ended:
        outbox.post_settled(tx, PostSettled(
            message_id=str(uuid.uuid4()), world=tx.world, incident=public_id,
            release_id=post.release_id, post_id=post.id, channel=post.channel, state=then.state,
            url=receipt.url if receipt else None, settled_at=tx.now,
        ))  # fmt: skip
