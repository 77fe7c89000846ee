"""Notify: somebody is called to decide.

The step wakes on `update.submitted`. It decides who commands now and so who is asked; their board
and approval page move at once. Beside it `Notify` makes the calls that reach a person elsewhere:
push, SMS, mail, the department's app, again and higher up while nobody decides; and once to whoever
a move of command concerns. Whom, when and by which means is `calling.next_calls`; the ledger says
what was done. One transaction before each call, one after, none across I/O (DESIGN.md rule 5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog

from broadcaster import failpoint
from broadcaster.approval import RequestState
from broadcaster.calling import (
    SUPERVISOR,
    WATCH_COMMANDER,
    Accepted,
    AnyCall,
    Caller,
    Due,
    Means,
    next_calls,
)
from broadcaster.clock import Clock
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.ledger import Ledger, Tx, approvals, calls, incidents
from broadcaster.record import Kind
from streams.inform import Inform
from streams.together import together
from streams.within import noticed
from streams.woken import Woken

ACTOR = "notify"

#: Where nothing is due, the ledger is looked at again after this long, whoever wakes us.
LONGEST_WAIT = timedelta(seconds=30)

log = structlog.get_logger(__name__)


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
        approvals.called(tx, request, command)
        nobody = SUPERVISOR if command.routine else WATCH_COMMANDER
        for called in command.commanders or (nobody,):
            tx.record(Kind.APPROVER_CALLED, actor=ACTOR, incident_id=request.incident_id,
                      request_id=request.id, called=called, epoch=command.epoch,
                      via="desk")  # fmt: skip
        return True

    return step


class Notify:
    """Makes the calls of one installation, where and while it runs. One at a time may."""

    def __init__(
        self,
        ledger: Ledger,
        callers: Mapping[Means, Caller[Any]],
        address: str,
        clock: Clock,
        inform: Inform | None = None,
    ) -> None:
        """`address`: the desk's, which calls lead to. `inform`: what runs beside the calls."""
        self._ledger = ledger
        self._callers = callers
        self._address = address
        self._clock = clock
        self._inform = inform
        self._calling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Calls, and tells the department's app, until cancelled. Raises LedgerAway.

        A call that was being made then stays open in the ledger, and the next round calls again.
        """
        if not self._callers:  # nobody can be called: there is nothing to look for
            return
        await together(self._call(), *([self._inform.run()] if self._inform else []))

    async def _call(self) -> None:
        changed = Woken(self._ledger, "calls")
        try:
            while True:
                due = await self._due()
                for call in due.calls:
                    self._start(call)
                await changed.wait(self._until(due))
        finally:
            changed.forget()
            for task in self._calling:
                task.cancel()

    async def close(self) -> None:
        """Ends what the accounts hold open; called once, when the process ends."""
        for caller in self._callers.values():
            await caller.close()
        if self._inform is not None:
            await self._inform.close()

    async def _due(self) -> Due:
        """What is to be called now, begun in the ledger; most looks find nothing and write none."""
        due = await self._ledger.read(self._look)
        return await self._ledger.write(self._begin) if due.calls else due

    def _look(self, tx: Tx) -> Due:
        return next_calls(calls.state(tx, self._callers, self._address), tx.now)

    def _begin(self, tx: Tx) -> Due:
        due = self._look(tx)
        for call in due.calls:
            calls.begin(tx, call)
        return due

    def _until(self, due: Due) -> float:
        if due.next_look is None:
            return LONGEST_WAIT.total_seconds()
        wait = min(due.next_look - self._clock.now(), LONGEST_WAIT)
        return max(wait.total_seconds(), 0.0)

    def _start(self, call: AnyCall) -> None:
        task = asyncio.create_task(self._make(call))
        self._calling.add(task)
        task.add_done_callback(self._calling.discard)
        task.add_done_callback(noticed)

    async def _make(self, call: AnyCall) -> None:
        failpoint.reach("before_call", [call.means])
        how = await self._try(call)
        failpoint.reach("after_call", [call.means])
        log.info("called", means=str(call.means), attempt=call.attempt, about=str(call.about),
                 about_id=call.about_id, outcome=type(how).__name__)  # fmt: skip
        await self._ledger.write(lambda tx: calls.end(tx, call.id, how))

    async def _try(self, call: AnyCall) -> Accepted | TryLater | Refused | InDoubt:
        try:
            return await self._callers[call.means].call(call)
        except (TryLater, Refused, InDoubt) as problem:
            return problem
        except Exception as problem:  # what nobody foresaw must not keep the others from calling
            log.exception("a call failed", means=str(call.means), about_id=call.about_id)
            return InDoubt(f"Something failed in calling ({type(problem).__name__}).")
