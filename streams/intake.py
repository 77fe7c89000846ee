"""Intake: what a CAD system wrote to `incident.intake` becomes a report in the ledger.

The only topic that we do not write. What its messages hold beyond the allow-list goes no further
(DESIGN.md rules 3 and 10); what cannot be used stands in `problems` with its place and cause.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from broadcaster.clock import Clock
from broadcaster.errors import Refusal
from broadcaster.incident import Report
from broadcaster.ledger import Ledger, reports
from broadcaster.trace import adopted
from streams.app import Delivered, Handler
from streams.errors import Poison

#: Reads one message: the report in it, cut to the allow-list. Raises Refusal.
Read = Callable[[bytes, datetime], Report]


def intake_handler(ledger: Ledger, read: Read, clock: Clock) -> Handler:
    """What is done with each message of `incident.intake`. Raises Poison; LedgerAway ends it."""

    async def handle(message: Delivered) -> None:
        try:
            report = read(message.value, clock.now())
        except Refusal as refusal:
            raise _poison(refusal) from None
        trace = adopted(_traceparent(message))
        try:
            await ledger.write(
                lambda tx: reports.accept(tx, report, actor=report.source, trace=trace)
            )
        except Refusal as refusal:
            if refusal.code != "repeated_id":
                raise
            raise _poison(refusal) from None

    return handle


def _traceparent(message: Delivered) -> str:
    """What CAD says the message belongs to; two such headers are none that can be adopted."""
    values = (value or b"" for name, value in message.headers if name.lower() == "traceparent")
    return b",".join(values).decode("ascii", "replace")


def _poison(refusal: Refusal) -> Poison:
    return Poison(refusal.code, refusal.why, refusal.do, field=refusal.field)
