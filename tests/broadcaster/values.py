"""Values that tests of the rules begin from: a gas leak, its words, its approval. All valid."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from broadcaster import practice
from broadcaster.approval import ApprovalRequest, Case, Release, RequestState, Verdict
from broadcaster.incident import Command
from broadcaster.passkey import Passkey
from broadcaster.roster import Person, Role
from broadcaster.update import Origin, Phrase, Rendering, Revision, UpdateKind, Words
from broadcaster.world import Exercise
from tests.story import EXERCISE, NOW, SITE

PIO = Person(id="pio", name="A. Reyes", roles=frozenset({Role.PIO}))
COMMANDER = Person(id="ortiz", name="Sgt Ortiz", roles=frozenset({Role.COMMANDER}))
WATCH = Person(id="kim", name="Lt Kim", roles=frozenset({Role.WATCH_COMMANDER}))

PLACE = "1200 block of Oak St"


def some_words(**phrases: Phrase) -> Words:
    return Words(**{
        "source": Phrase(text="DHSPD", origin=Origin.TEMPLATE),
        "hazard": Phrase(text="Gas leak", origin=Origin.TEMPLATE, fact="type",
                         fact_value="GASLEAK"),
        "place": Phrase(text=PLACE, origin=Origin.CAD, fact="place", fact_value=PLACE),
        "guidance": Phrase(text="Stay inside.", origin=Origin.TEMPLATE),
        "time": Phrase(text="As of 14:00 PST.", origin=Origin.TEMPLATE),
    } | phrases)  # fmt: skip


def a_revision(**fields: Any) -> Revision:
    return Revision(**{
        "id": "revision-1", "update_id": "update-1", "incident_id": "incident-1",
        "world": EXERCISE, "kind": UpdateKind.UPDATE, "number": 1, "area": PLACE,
        "channels": ("public_page",),
        "renderings": (Rendering(channel="public_page", headline="Gas leak", text="Stay inside."),),
        "expires_at": NOW + timedelta(hours=24), "words": some_words(), "compiled_by": PIO.id,
        "compiled_at": NOW, "attested": True,
    } | fields)  # fmt: skip


def a_request(revision: Revision, **fields: Any) -> ApprovalRequest:
    return ApprovalRequest(**{
        "id": "request-1", "revision_id": revision.id, "incident_id": revision.incident_id,
        "digest": revision.digest, "state": RequestState.OPEN, "asked": COMMANDER.id, "epoch": 1,
        "created_at": NOW, "expires_at": NOW + timedelta(minutes=10),
    } | fields)  # fmt: skip


_MADE, _PRIVATE = practice.make()


def a_passkey(**fields: Any) -> Passkey:
    """The Commander's, approved."""
    return Passkey(**{
        "id": _MADE.id, "person_id": COMMANDER.id, "name": "Duty phone",
        "public_key": _MADE.public_key, "counter": 0, "synced": False, "approved": True,
        "revoked": False, "practice": True,
    } | fields)  # fmt: skip


def a_proof(
    request: ApprovalRequest, verdict: str, digest: str, epoch: int = 1, keeps: str | None = None
) -> dict[str, Any]:
    """What that passkey answers."""
    signed = request.challenge(verdict, digest, epoch, keeps)
    return practice.answer(_MADE.id, _PRIVATE, site=SITE, challenge=signed)


def a_case(**fields: Any) -> Case:
    """A Commander's approval that stands; `fields` say what is different."""
    revision: Revision = fields.get("revision", a_revision())
    stands: dict[str, Any] = {
        "request": a_request(revision), "revision": revision, "head_revision_id": revision.id,
        "person": COMMANDER, "verdict": Verdict.APPROVED, "digest": revision.digest,
        "reason": None, "command": Command(person_id=COMMANDER.id, epoch=1, since=NOW),
        "commander_name": COMMANDER.name,
        "facts": {"type": "GASLEAK", "place": PLACE, "status": "open"},
        "at": NOW + timedelta(minutes=1), "site": SITE,
    }  # fmt: skip
    stands |= fields
    person: Person = stands["person"]
    proven = {
        "passkey": a_passkey(person_id=person.id),
        "proof": a_proof(
            stands["request"],
            stands["verdict"],
            stands["digest"],
            stands["command"].epoch,
            stands.get("keeps"),
        ),
    }
    return Case(**(proven | stands))


def a_release(**fields: Any) -> Release[Exercise]:
    revision = a_revision()
    return Release[Exercise](**{
        "id": "release-1", "world": EXERCISE, "revision_id": revision.id,
        "incident_id": revision.incident_id, "decision_id": "decision-1",
        "digest": revision.digest, "channels": revision.channels, "replaces": (),
        "released_at": NOW, "expires_at": revision.expires_at,
    } | fields)  # fmt: skip
