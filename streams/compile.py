"""Compile: a report becomes part of its incident, and may suggest an update.

Wakes on `incident.reports`. Decides what the incident now is, what to suggest, and whether a
changed fact stands in words that wait for approval, or to be sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from zoneinfo import ZoneInfo

from broadcaster.approval import RequestState
from broadcaster.calling import WATCH_COMMANDER, About
from broadcaster.delivery import PostState
from broadcaster.incident import Incident, Report, fold
from broadcaster.ledger import Tx, approvals, attempts, calls, incidents, releases, reports
from broadcaster.orders import changes_told, facts_of
from broadcaster.record import Kind
from broadcaster.suggestion import suggest, why_suggest
from broadcaster.update import Revision, lapses_by
from streams.ends import note_end

ACTOR = "compile"

#: Reports compiled in one transaction, at most: bounds how long a decision waits for the writer.
SIDE_BY_SIDE = 24


def compile_reports(
    report_id: str, *, department: str, zone: ZoneInfo, side_by_side: int = SIDE_BY_SIDE
) -> Callable[[Tx], list[str] | None]:
    """The step that a report's message wakes. Twice does nothing more.

    The message says look, the ledger says what: others that wait are compiled in the same
    transaction, and what comes for them later finds them done. Answers the ids of those that are
    done now, None where there is no such report.
    """

    def step(tx: Tx) -> list[str] | None:
        named = reports.lock(tx, report_id)
        if named is None:
            return None
        if named.compiled_at is not None:
            return [report_id]
        waiting = [named, *reports.lock_waiting(tx, other_than=report_id, limit=side_by_side - 1)]
        for kept in sorted(waiting, key=lambda kept: kept.incident_id):  # no two lock crosswise
            _compile(tx, kept, department, zone)
        done = [kept.report.id for kept in waiting]
        reports.compiled(tx, done)
        return done

    return step


def _compile(tx: Tx, kept: reports.Kept, department: str, zone: ZoneInfo) -> None:
    """One report: what the incident now is, what to suggest, what no longer holds."""
    tx.trace = kept.trace
    known = incidents.lock(tx, kept.incident_id)
    before = known.incident if known else None
    after = _folded(tx, before, kept.report)
    _note(tx, before, after)
    _suggest(tx, before, after, department, zone)
    if known is not None:
        lapse(tx, incidents.Kept(after, known.public_id), actor=ACTOR)


def _folded(tx: Tx, before: Incident | None, report: Report) -> Incident:
    after = fold(before, report, world=tx.world, now=tx.now)
    if before is None:
        incidents.add(tx, after)
    else:
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


def lapse(tx: Tx, incident: incidents.Kept, *, actor: str) -> None:
    """Ends requests whose words say what is no longer so, and holds their posts that have not
    begun: from now on nobody may approve such words but a Commander who keeps them, knowing it.
    Whoever commands, and whose words they are, is called once.
    """
    for waiting in approvals.open_requests(tx, incident.incident.id):
        revision = approvals.revision(tx, waiting.request.revision_id)
        assert revision is not None, "a request's revision is a foreign key"
        changes = lapses_by(revision, facts_of(incident))
        if changes and (kept := approvals.lock_request(tx, waiting.request.id)):
            if kept.request.state is not RequestState.OPEN:
                continue  # decided meanwhile
            told = changes_told(changes)
            why = f"The incident changed while this waited ({told['changes']})."
            approvals.end_request(tx, waiting.request, RequestState.LAPSED, why)
            tx.record(Kind.REQUEST_LAPSED, actor=actor, incident_id=incident.incident.id,
                      request_id=waiting.request.id, changed=[each.name for each in changes],
                      private=told)  # fmt: skip
            _tell(tx, incident, revision, waiting.request.id)
    several = attempts.hold_lapsed(tx, incident)
    for ended in several:
        note_end(tx, ended.post, ended.public_id, ended.then, actor=actor)
    held = (each.post.release_id for each in several if each.then.state is PostState.HELD)
    for release_id in dict.fromkeys(held):
        _tell_of_release(tx, incident, release_id)


def _tell_of_release(tx: Tx, incident: incidents.Kept, release_id: str) -> None:
    """Where it is a changed fact that holds it, and not something else that the attempt asks."""
    release = releases.get(tx, release_id)
    assert release is not None, "a post's release is a foreign key"
    revision = approvals.revision(tx, release.revision_id)
    decided = approvals.decision(tx, release.decision_id)
    assert revision is not None and decided is not None, "foreign keys, too"
    if lapses_by(revision, facts_of(incident)):
        _tell(tx, incident, revision, decided.decision.request_id)


def _tell(tx: Tx, incident: incidents.Kept, revision: Revision, request_id: str) -> None:
    commanding = incident.incident.command.commanders or (WATCH_COMMANDER,)
    concerned = dict.fromkeys((*commanding, *sorted(revision.writers)))
    calls.tell(tx, About.LAPSED, str(uuid.uuid4()), incident.incident.id, list(concerned),
               request_id=request_id)  # fmt: skip
