"""Gate: a decision becomes a release and one post per channel, or a refusal.

Wakes on `update.decided`. The gate trusts nothing that the desk says: it reads the decision, the
words, the command and the facts from the ledger and judges them again. Only here are releases
made.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

from broadcaster.approval import (
    GATE_LATE,
    KEPT,
    RELEASED,
    Case,
    Decision,
    Release,
    RequestState,
    TakingBack,
    Verdict,
    decide,
    not_prepared,
    take_back,
)
from broadcaster.calling import About
from broadcaster.delivery import plan
from broadcaster.errors import Refusal
from broadcaster.handover import commander_name
from broadcaster.incident import Command
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    authorities,
    calls,
    exercises,
    fallbacks,
    guidelines,
    incidents,
    outbox,
    passkeys,
    people,
    posts,
    releases,
    voices,
)
from broadcaster.orders import facts_of, routine_of
from broadcaster.passkey import Site, id_of
from broadcaster.record import Kind
from broadcaster.roster import Person
from broadcaster.subscribers import update_released
from broadcaster.update import Revision, UpdateKind, lapses_by
from broadcaster.voice import Settled, Voice
from broadcaster.world import W

ACTOR = "gate"

#: What whoever reads of a late approval is told, once the same words are asked for anew.
ASKED_AGAIN = "The same words are asked for again: what was true then may not be true now."


def judge_decision(
    decision_id: str, world: W, incident_url: Callable[[str], str], contact: str = "",
    *, by_voice: bool = False, device_bound: bool = False, apps: tuple[str, ...] = (),
) -> Callable[[Tx], bool]:  # fmt: skip
    """The step for one decision: answers whether there is such a decision. Judged once.

    `incident_url`: where the public reads about an incident, by its public id. The desk is at the
    same site, and the Commander's passkey answers no other. `contact`: the department's own, which
    words may say. `by_voice`: whether the department approves by voice; `device_bound`: whether it
    takes no passkey that its maker copies, but of who is excepted. `apps`: as what its own apps
    answer.
    """
    site = Site.at(incident_url(""), apps)

    def step(tx: Tx) -> bool:
        unlocked = approvals.decision(tx, decision_id)
        request = approvals.request(tx, unlocked.decision.request_id) if unlocked else None
        if request is None:
            return False
        incident = incidents.lock(tx, request.request.incident_id)
        kept = approvals.decision(tx, decision_id)
        if kept is None or incident is None:
            return False
        if kept.outcome is not None:
            return True
        case, revision = _case(tx, kept, incident, site, by_voice, device_bound)
        try:
            exercises.require_running(tx)
            if _takes_back(kept, revision):
                order = _taking_back(tx, kept.decision, revision, case.person)
                release = take_back(order, world, now=tx.now, contact=contact)
            else:
                release = decide(case, decision_id, world, now=tx.now, contact=contact)
        except Refusal as refusal:
            _refused(tx, kept, case, incident, refusal)
            return True
        if releases.of_revision(tx, revision.id) is not None:
            _let_go(tx, kept, release)
        else:
            _release(tx, kept, _after_the_last(tx, release), revision, incident, incident_url)
        return True

    return step


def _takes_back(kept: approvals.KeptDecision, revision: Revision) -> bool:
    """Whether nobody approved it again: a prepared retraction."""
    return not kept.proven and revision.kind is UpdateKind.RETRACTION


def _taking_back(tx: Tx, decision: Decision, retraction: Revision, person: Person) -> TakingBack:
    """What an order to take back is judged by: the release, and its words, as the ledger has them.

    Raises Refusal where there is no such release.
    """
    released = releases.get(tx, retraction.corrects or "")
    base = approvals.revision(tx, released.revision_id) if released else None
    if released is None or base is None:
        raise not_prepared()
    return TakingBack(retraction, base, released, decision, person)


def _release(
    tx: Tx, kept: approvals.KeptDecision, release: Release[W], revision: Revision,
    incident: incidents.Kept, incident_url: Callable[[str], str],
) -> None:  # fmt: skip
    """Keeps a new release, plans its posts, and tells of it."""
    releases.add(tx, release, revision, kept.decision.keeps)
    posts.replace(tx, release.replaces, release.id, corrects=revision.corrects)
    posts.add(tx, plan(release), release.released_at)
    outbox.update_released(tx, update_released(
        release, revision, incident=incident.public_id,
        incident_url=incident_url(incident.public_id),
    ))  # fmt: skip
    approvals.judged(tx, release.decision_id, RELEASED, None)
    tx.record(Kind.UPDATE_RELEASED, actor=ACTOR, incident_id=release.incident_id,
              release_id=release.id, revision_id=revision.id, decision_id=release.decision_id,
              number=revision.number, digest=release.digest,
              channels=list(release.channels),
              guideline_id=kept.decision.guideline_id)  # fmt: skip
    tx.changed(f"request:{kept.decision.request_id}")


def _let_go(tx: Tx, kept: approvals.KeptDecision, release: Release[W]) -> None:
    """Words that are released already are kept: what is held of them goes on, and nothing new."""
    releases.keep(tx, release.id, kept.decision.keeps)
    let_go = posts.let_go(tx, release.id)
    approvals.judged(tx, kept.decision.id, KEPT, None)
    tx.record(Kind.WORDS_KEPT, actor=ACTOR, incident_id=release.incident_id,
              release_id=release.id, decision_id=kept.decision.id,
              channels=[post.channel for post in let_go])  # fmt: skip
    tx.changed(f"request:{kept.decision.request_id}", f"release:{release.id}")


def _after_the_last(tx: Tx, release: Release[W]) -> Release[W]:
    """Posts leave in the order of this time, so it never steps back, whatever the clock does."""
    last = releases.newest_times(tx, [release.incident_id]).get(release.incident_id)
    if last is None or release.released_at > last:
        return release
    return release.model_copy(update={"released_at": last + timedelta(microseconds=1)})


def _case(
    tx: Tx, kept: approvals.KeptDecision, incident: incidents.Kept, site: Site, by_voice: bool,
    device_bound: bool,
) -> tuple[Case, Revision]:  # fmt: skip
    """All that the decision is judged by, read again under the incident's lock."""
    decision = kept.decision
    request = approvals.lock_request(tx, decision.request_id)
    assert request is not None, "a decision's request is a foreign key"
    revision = approvals.revision(tx, request.request.revision_id)
    person = people.get(tx, decision.person_id, at=decision.at)
    assert revision is not None and person is not None, "foreign keys too"
    command = _command_then(kept, incident.incident.command)
    assent = assents.get(tx, decision.assent_id)
    return (
        Case(
            request=request.request, revision=revision,
            head_revision_id=approvals.head_revision_id(tx, revision.update_id),
            person=person, verdict=Verdict(decision.verdict), digest=decision.digest,
            reason=decision.reason, command=command,
            commander_name=commander_name(tx, command), facts=facts_of(incident),
            at=decision.at, proof=kept.proof,
            passkey=passkeys.get(tx, id_of(kept.proof), at=decision.at), site=site,
            keeps=decision.keeps, assent=assent,
            assent_passkey=passkeys.get(tx, id_of(assent.proof), at=assent.at) if assent else None,
            voice=_voice(tx, decision, by_voice), entered=fallbacks.entered(tx, kept.seal),
            routine=routine_of(tx, incident.incident, revision),
            by_guideline=decision.guideline_id is not None,
            guideline=guidelines.get(tx, decision.guideline_id),
            device_bound=authorities.bound(
                tx, decision.person_id, decision.at, device_bound=device_bound
            ),
            assent_bound=assent is not None
            and authorities.bound(tx, assent.person_id, assent.at, device_bound=device_bound),
            taken_back=assents.taken_back(tx, request.request),
        ),
        revision,
    )  # fmt: skip


def _voice(tx: Tx, decision: Decision, allowed: bool) -> Voice | None:
    """What was heard for a decision that was given aloud, with the code as it stands."""
    kept = voices.of_decision(tx, decision.id)
    if kept is None:
        return None
    return Voice(
        allowed=allowed, heard=kept.heard, code=voices.code(tx, kept.heard.code_id),
        decision_id=decision.id, repudiated=kept.settled is Settled.REPUDIATED,
        reader=people.get(tx, kept.heard.reader_id),
        locks=passkeys.locks_of(tx, decision.person_id),
    )  # fmt: skip


def _command_then(kept: approvals.KeptDecision, now: Command) -> Command:
    """The command that was decided under: the incident's own, unless it moved with the decision,
    as it does where a Watch Commander takes command by deciding, or since."""
    moved_since = now.since is not None and now.since >= kept.decision.at
    return kept.command if moved_since else now


def _refused(
    tx: Tx, kept: approvals.KeptDecision, case: Case, incident: incidents.Kept, refusal: Refusal
) -> None:
    """Nothing is released: the decision says why, both pages move, and whoever decided or wrote
    the words is called. What came late is asked again, where nothing has moved but the time."""
    late = refusal.code == GATE_LATE
    moved = _moved_since(tx, kept, case, incident) if late else None
    again = late and moved is None
    do = ASKED_AGAIN if again else f"{moved} {refusal.do}" if moved else refusal.do
    approvals.judged(tx, kept.decision.id, refusal.code, f"{refusal.why} {do}")
    if late:
        approvals.end_request(tx, case.request, RequestState.EXPIRED, refusal.why)
    tx.record(Kind.RELEASE_REFUSED, actor=ACTOR, incident_id=incident.incident.id,
              decision_id=kept.decision.id, code=refusal.code)  # fmt: skip
    decided = {kept.decision.person_id, *([case.assent.person_id] if case.assent else [])}
    concerned = decided | case.revision.writers
    if again:
        _ask_again(tx, case, incident)
        concerned -= decided  # the new request calls them
    calls.tell(tx, About.REFUSED, str(uuid.uuid4()), incident.incident.id, sorted(concerned),
               request_id=case.request.id)  # fmt: skip
    tx.changed("board", f"incident:{incident.incident.id}", f"request:{kept.decision.request_id}")


def _moved_since(
    tx: Tx, kept: approvals.KeptDecision, case: Case, incident: incidents.Kept
) -> str | None:
    """Why an approval that came late is not asked for again by itself; None: it can be.

    That the words are the newest, the gate has seen before it looks at the time.
    """
    if case.by_guideline:
        return "No person had approved it, whom the gate could ask."
    since = incident.incident.command.since
    if since is not None and since > kept.decision.at:  # who took command by deciding has it yet
        return "Command has moved since."
    if changes := lapses_by(case.revision, case.facts):
        return f"The incident has changed ({'; '.join(each.in_words for each in changes)})."
    if releases.of_revision(tx, case.revision.id) is not None:
        return "These words were released before, and what is held of them stays held."
    if tx.now >= case.revision.expires_at:
        return "The update's own time has run out, too."
    if approvals.open_requests(tx, incident.incident.id):
        return "Another update waits for a decision."
    return None


def _ask_again(tx: Tx, case: Case, incident: incidents.Kept) -> None:
    """Puts the same words before the same command; nothing that was signed so far proves it."""
    approvals.renewed(tx, case.request)
    request = approvals.open_request(tx, case.revision, incident.incident.command)
    tx.record(Kind.REQUEST_RENEWED, actor=ACTOR, incident_id=incident.incident.id,
              request_id=request.id, renews=case.request.id, digest=request.digest)  # fmt: skip
