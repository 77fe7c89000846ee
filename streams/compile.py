"""Compile: a report becomes part of its incident, and may suggest an update.

Wakes on `incident.reports`. Decides what the incident now is, what to suggest, and whether a
changed fact stands in words that wait for approval.
"""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from broadcaster.approval import RequestState
from broadcaster.incident import Incident, Report, fold
from broadcaster.ledger import Tx, approvals, incidents, reports
from broadcaster.orders import facts_of
from broadcaster.record import Kind
from broadcaster.suggestion import suggest, why_suggest
from broadcaster.update import changed_facts

ACTOR = "compile"


def compile_report(report_id: str, *, department: str, zone: ZoneInfo) -> Callable[[Tx], bool]:
    """The step for one report: answers whether there is such a report. Twice does nothing more."""

    def step(tx: Tx) -> bool:
        kept = reports.lock(tx, report_id)
        if kept is None:
            return False
        if kept.compiled_at is not None:
            return True
        before = incidents.lock(tx, kept.incident_id)
        after = _folded(tx, before, kept.report)
        _note(tx, before.incident if before else None, after)
        _suggest(tx, before.incident if before else None, after, department, zone)
        if before is not None:
            _lapse(tx, incidents.Kept(after, before.public_id))
        reports.compiled(tx, report_id)
        return True

    return step


def _folded(tx: Tx, before: incidents.Kept | None, report: Report) -> Incident:
    if before is None:
        new = fold(None, report, world=tx.world, now=tx.now)
        incidents.add(tx, new)
        return new
    after = fold(before.incident, report, world=tx.world, now=tx.now)
    incidents.save(tx, after)
    return after


def _note(tx: Tx, before: Incident | None, after: Incident) -> None:
    """One entry for what happened to the incident; silence where nothing did."""
    kind = _kind(before, after)
    if kind is not None:
        tx.record(
            kind, actor=ACTOR, incident_id=after.id, type=after.type.value,
            status=after.status.value, handling=str(after.handling), reports=after.reports,
            private={"place": after.place.value if after.place else None},
        )  # fmt: skip


def _kind(before: Incident | None, after: Incident) -> Kind | None:
    if before is None:
        return Kind.INCIDENT_OPENED
    if before.open and not after.open:
        return Kind.INCIDENT_CLOSED
    if after.open and not before.open:
        return Kind.INCIDENT_REOPENED
    return Kind.INCIDENT_CHANGED if why_suggest(before, after) else None


def _suggest(
    tx: Tx, before: Incident | None, after: Incident, department: str, zone: ZoneInfo
) -> None:
    why = why_suggest(before, after)
    if why is None or not after.open:
        return
    words = suggest(after, department=department, zone=zone, now=tx.now)
    if words is not None:
        incidents.suggest(tx, after.id, words, why)
        tx.record(Kind.UPDATE_SUGGESTED, actor=ACTOR, incident_id=after.id, why=why)


def _lapse(tx: Tx, incident: incidents.Kept) -> None:
    """Ends requests whose words say what is no longer so: nobody may approve them any more."""
    for waiting in approvals.open_requests(tx, incident.incident.id):
        revision = approvals.revision(tx, waiting.request.revision_id)
        changed = changed_facts(revision.words, facts_of(incident)) if revision else ()
        if changed:
            why = f"The incident changed ({', '.join(changed)}) while this waited."
            approvals.end_request(tx, waiting.request, RequestState.LAPSED, why)
            tx.record(Kind.REQUEST_LAPSED, actor=ACTOR, incident_id=incident.incident.id,
                      request_id=waiting.request.id, changed=list(changed))  # fmt: skip
