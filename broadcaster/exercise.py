"""REAL INCIDENT: an exercise ends in one act, and what is real begins at the live desk."""

from __future__ import annotations

from broadcaster.approval import RequestState
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, approvals, exercises, incidents, releases
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, require


def end_exercise(tx: Tx, person: Person) -> None:
    """Takes back what is asked, stops what is going out, and lets nothing more begin.

    One tap and no passkey, as for every stop. A second time does nothing. Raises Refusal.
    """
    require(person, Act.STOP)
    _of_an_exercise(tx)
    if exercises.ended(tx):
        return
    exercises.turn(tx, running=False, by=person.id)
    for waiting in approvals.open_requests(tx):
        incidents.lock(tx, waiting.request.incident_id)
        kept = approvals.lock_request(tx, waiting.request.id)
        if kept and kept.request.state is RequestState.OPEN:
            approvals.end_request(
                tx, kept.request, RequestState.WITHDRAWN, "REAL INCIDENT: the exercise has ended."
            )
    tx.trace = None
    stopped = releases.stop_all(tx)
    tx.record(Kind.EXERCISE_ENDED, actor=person.id, stopped=stopped)


def begin_exercise(tx: Tx, person: Person) -> None:
    """Lets updates be asked for again, once all is over. Raises Refusal."""
    require(person, Act.APPROVE_DEVICE)
    _of_an_exercise(tx)
    if exercises.ended(tx):
        exercises.turn(tx, running=True, by=person.id)
        tx.record(Kind.EXERCISE_BEGUN, actor=person.id)


def _of_an_exercise(tx: Tx) -> None:
    if tx.world != "exercise":
        raise Refusal(
            "no_exercise", "This is the live desk: everything here is real.",
            "Stop what should not go out, release by release.", kind=Sort.CONFLICT,
        )  # fmt: skip
