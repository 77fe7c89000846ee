"""Requests to post by members who may not: up the chain of command (389.3).

A request is no update: it reaches nobody outside. A supervisor passes it on to the Public
Information Officer, who compiles from it or does not, or declines it with a reason.
"""

from __future__ import annotations

from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import Tx, posting_requests
from broadcaster.ledger.posting_requests import PostingRequest, State
from broadcaster.roster import Act, Person, require
from broadcaster.update import clean

LONGEST = 2000
LONGEST_REASON = 500


def ask(tx: Tx, text: str, person: Person) -> PostingRequest:
    """A member asks for something to be posted. Raises Refusal."""
    require(person, Act.REQUEST_POST)
    said = clean(text, "text")
    if not said or len(said) > LONGEST:
        raise Refusal("request_empty" if not said else "request_too_long",
                      f"A request says in 1 to {LONGEST} characters what should be posted.",
                      "Write what the public should be told, and why.",
                      field="text")  # fmt: skip
    return posting_requests.add(tx, person.id, said)


def pass_on(tx: Tx, request_id: str, person: Person) -> None:
    """A supervisor passes a request on to the Public Information Officer. Raises Refusal."""
    kept = _to_settle(tx, request_id, person)
    posting_requests.settle(tx, kept, State.PASSED_ON, None, actor=person.id)


def decline(tx: Tx, request_id: str, reason: str, person: Person) -> None:
    """A supervisor declines a request, and says why. Raises Refusal."""
    kept = _to_settle(tx, request_id, person)
    why = clean(reason, "reason")
    if not why or len(why) > LONGEST_REASON:
        raise Refusal("reason_missing", "A request is declined with a reason of 1 to "
                      f"{LONGEST_REASON} characters.", "Write why.", field="reason")  # fmt: skip
    posting_requests.settle(tx, kept, State.DECLINED, why, actor=person.id)


def _to_settle(tx: Tx, request_id: str, person: Person) -> PostingRequest:
    require(person, Act.SETTLE_REQUEST)
    kept = posting_requests.get(tx, request_id)
    if kept is None:
        raise Refusal("no_such_request", "There is no such request.",
                      "Choose one of those listed.", kind=Kind.NOT_FOUND)  # fmt: skip
    if kept.person_id == person.id:
        raise Refusal("own_request", "Nobody settles their own request (389.3).",
                      "Ask another supervisor.", kind=Kind.FORBIDDEN)  # fmt: skip
    if kept.state is not State.WAITING:
        raise Refusal(f"already_{kept.state.replace(' ', '_')}",
                      f"This request is already {kept.state}.",
                      "Look at the list for what stands now.", kind=Kind.CONFLICT)  # fmt: skip
    return kept
