"""Notify: somebody is called to decide.

Wakes on `update.submitted`. Decides who commands now and so who is asked. The call is their
board and approval page, which move at once; push, SMS and mail join as `adapters/call_*.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from broadcaster.approval import RequestState
from broadcaster.ledger import Tx, approvals, incidents
from broadcaster.record import Kind

ACTOR = "notify"


def call_approver(request_id: str) -> Callable[[Tx], bool]:
    """The step for one request: each Commander is called once. False: no such request."""

    def step(tx: Tx) -> bool:
        kept = approvals.lock_request(tx, request_id)
        if kept is None:
            return False
        request = kept.request
        incident = incidents.get(tx, request.incident_id)
        if request.state is not RequestState.OPEN or incident is None:
            return True
        command = incident.incident.command
        if kept.called_at is not None and (command.since is None or command.since < kept.called_at):
            approvals.wait_for_decision(tx, request)
            return True
        approvals.called(tx, request)
        tx.record(Kind.APPROVER_CALLED, actor=ACTOR, incident_id=request.incident_id,
                  request_id=request.id, called=command.person_id or "watch-commander",
                  epoch=command.epoch, via="desk")  # fmt: skip
        return True

    return step
