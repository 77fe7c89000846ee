"""How an attempt or a post ended, put on the record: the same words whichever step found it."""

from __future__ import annotations

import uuid

from broadcaster.delivery import PostState, Receipt
from broadcaster.ledger import Tx, outbox, posts
from broadcaster.outcome import Next
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
    PostState.RETRACTED: Kind.POST_RETRACTED,
}


def _kind(then: Next) -> Kind:
    sent_again = then.state is PostState.WAITING and then.surely_not_there
    return Kind.POST_NOT_FOUND if sent_again else _KINDS[then.state]


def note_end(
    tx: Tx, post: posts.Kept, public_id: str, then: Next, receipt: Receipt | None = None,
    *, actor: str, url: str | None = None,
) -> None:  # fmt: skip
    """Puts what became of a post on the record, and tells subscribers where it has ended.

    `url`: where a person has seen it, without a receipt.
    """
    tx.trace = post.trace
    url = receipt.url if receipt else url
    tx.record(
        _kind(then), actor=actor, incident_id=post.incident_id, post_id=post.id,
        channel=post.channel, remote_id=receipt.remote_id if receipt else None,
        url=url, next_look=then.next_look.isoformat() if then.next_look else None,
        tell=then.tell, private={"why": then.why},
    )  # fmt: skip
    if then.state.ended:
        outbox.post_settled(tx, PostSettled(
            message_id=str(uuid.uuid4()), world=tx.world, incident=public_id,
            release_id=post.release_id, post_id=post.id, channel=post.channel, state=then.state,
            url=url, settled_at=tx.now,
        ))  # fmt: skip
