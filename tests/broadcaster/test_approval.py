"""The gate's rule: which decisions become releases, and how each of the others is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster import approval, practice
from broadcaster.approval import (
    Assent,
    Case,
    RequestState,
    Verdict,
    asked_in_words,
    decide,
    objection,
    request_digest,
    to_keep,
)
from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Command
from broadcaster.passkey import Site
from broadcaster.roster import Person, Role
from broadcaster.update import Change, Phrase, facts_digest, lapses_by
from tests.broadcaster.values import (
    COMMANDER,
    PIO,
    PLACE,
    WATCH,
    a_case,
    a_passkey,
    a_proof,
    a_request,
    a_revision,
    some_words,
)
from tests.story import EXERCISE, NOW

REVISION = a_revision()
NOBODY = Command()
NEW_COMMANDER = Command(person_id="lee", epoch=2, since=NOW)
BOTH = Person(id=PIO.id, name=PIO.name, roles=frozenset({Role.PIO, Role.WATCH_COMMANDER}))


def request(**fields: Any) -> dict[str, Any]:
    return {"request": a_request(REVISION, **fields)}


LAPSED = request(state=RequestState.LAPSED)
MOVED: dict[str, str | None] = {"type": "GASLEAK", "place": "Elm St", "status": "open"}
AWAY = MOVED | {"place": "Palm Dr"}
OVER = MOVED | {"place": PLACE, "status": "closed"}
KEEPS, KEEPS_OVER = (facts_digest(lapses_by(REVISION, facts)) for facts in (MOVED, OVER))


#: What is different from an approval that stands, and how it is refused.
REFUSED: list[tuple[str, dict[str, Any], str, Kind]] = [
    ("decided before", request(state=RequestState.APPROVED), "already_approved", Kind.CONFLICT),
    ("went back before", request(state=RequestState.RETURNED), "already_returned", Kind.CONFLICT),
    ("declined before", request(state=RequestState.DECLINED), "already_declined", Kind.CONFLICT),
    ("taken back", request(state=RequestState.WITHDRAWN), "already_withdrawn", Kind.CONFLICT),
    ("lapsed", request(state=RequestState.LAPSED), "facts_changed", Kind.CONFLICT),
    ("lapsed, and approved as if it had not", {**LAPSED, "facts": MOVED}, "facts_changed",
     Kind.CONFLICT),
    ("lapsed, and kept for other facts", {**LAPSED, "facts": AWAY, "keeps": KEEPS},
     "facts_changed", Kind.CONFLICT),
    ("lapsed, kept, and it is over", {**LAPSED, "facts": OVER, "keeps": KEEPS_OVER},
     "facts_changed", Kind.CONFLICT),
    ("lapsed, and kept too late",
     request(state=RequestState.LAPSED, expires_at=NOW + timedelta(minutes=1))
     | {"facts": MOVED, "keeps": KEEPS}, "facts_changed", Kind.CONFLICT),
    ("lapsed, and returned", {**LAPSED, "facts": MOVED, "keeps": KEEPS, "reason": "It moved.",
     "verdict": Verdict.RETURNED}, "facts_changed", Kind.CONFLICT),
    ("lapsed, and kept by its compiler", {**LAPSED, "facts": MOVED, "keeps": KEEPS, "person": PIO},
     "own_words", Kind.FORBIDDEN),
    ("kept, and the passkey signed an approval alone",
     {**LAPSED, "facts": MOVED, "keeps": KEEPS, "proof": a_proof(
         a_request(REVISION), "approved", REVISION.digest)}, "passkey_not_proven",
     Kind.FORBIDDEN),
    ("the incident is over", {"facts": OVER}, "facts_changed", Kind.CONFLICT),
    ("expired", request(state=RequestState.EXPIRED), "request_expired", Kind.GONE),
    ("in the very second", request(expires_at=NOW + timedelta(minutes=1)), "request_expired",
     Kind.GONE),
    ("its own compiler", {"person": PIO}, "own_words", Kind.FORBIDDEN),
    ("its compiler, who commands", {"person": PIO, "command": Command(person_id=PIO.id, epoch=1)},
     "own_words", Kind.FORBIDDEN),
    ("its compiler, as Watch Commander", {"person": BOTH, "command": NOBODY}, "own_words",
     Kind.FORBIDDEN),
    ("command moved on", {"command": NEW_COMMANDER, "commander_name": "Sgt Lee"}, "command_moved",
     Kind.CONFLICT),
    ("commanded once, and was not asked",
     {"person": WATCH, "command": NEW_COMMANDER.model_copy(update={"former": (WATCH.id,)})},
     "command_moved", Kind.CONFLICT),
    ("neither of a unified command",
     {"person": WATCH, "command": Command(person_id="lee", with_id=COMMANDER.id, epoch=2)},
     "not_the_commander", Kind.FORBIDDEN),
    ("never commanded", {"person": WATCH}, "not_the_commander", Kind.FORBIDDEN),
    ("no command, no Watch Commander", {"command": NOBODY}, "not_the_commander", Kind.FORBIDDEN),
    ("saw other words", {"digest": "0" * 64}, "words_changed", Kind.CONFLICT),
    ("saw no words", {"digest": ""}, "words_changed", Kind.CONFLICT),
    ("asked about other words", request(digest="0" * 64), "words_changed", Kind.CONFLICT),
    ("a newer wording exists", {"head_revision_id": "revision-2"}, "words_changed", Kind.CONFLICT),
    ("the type changed", {"facts": {"type": "EXPLOS", "place": PLACE}}, "facts_changed",
     Kind.CONFLICT),
    ("the place changed", {"facts": {"type": "GASLEAK", "place": "Elm St"}}, "facts_changed",
     Kind.CONFLICT),
    ("the place is unknown now", {"facts": {"type": "GASLEAK"}}, "facts_changed", Kind.CONFLICT),
    ("returned without a word", {"verdict": Verdict.RETURNED}, "reason_missing", Kind.INVALID),
    ("returned with nothing said", {"verdict": Verdict.RETURNED, "reason": " \n"},
     "reason_missing", Kind.INVALID),
]  # fmt: skip


@pytest.mark.parametrize(
    ("different", "code", "kind"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_why_a_decision_cannot_stand(different: dict[str, Any], code: str, kind: Kind) -> None:
    refusal = objection(a_case(**different))
    assert refusal is not None
    assert (refusal.code, refusal.kind) == (code, kind)
    assert refusal.why.endswith(".") and refusal.do.endswith(".")


def test_whoever_lost_command_is_told_who_has_it_and_since_when() -> None:
    refusal = objection(a_case(command=NEW_COMMANDER, commander_name="Sgt Lee"))
    assert refusal is not None and refusal.facts == {"commander": "Sgt Lee"}
    assert "Sgt Lee commands this incident since 22:00 UTC." in refusal.why


STANDS: list[tuple[str, dict[str, Any]]] = [
    ("approved", {}),
    ("by a Watch Commander without command", {"person": WATCH, "command": NOBODY}),
    ("by a Watch Commander who commands",
     {"person": WATCH, "command": Command(person_id=WATCH.id, epoch=3)}),
    ("by the first of a unified command",
     {"command": Command(person_id=COMMANDER.id, with_id=WATCH.id, epoch=2)}),
    ("by the second of a unified command",
     {"person": WATCH, "command": Command(person_id=COMMANDER.id, with_id=WATCH.id, epoch=2)}),
    ("returned with a note", {"verdict": Verdict.RETURNED, "reason": "Which side of the street?"}),
    ("declined", {"verdict": Verdict.DECLINED}),
    # What is no longer true may still be sent back or declined.
    ("returned after a change",
     {"verdict": Verdict.RETURNED, "reason": "It moved.", "facts": {"type": "EXPLOS"}}),
    ("declined after a change", {"verdict": Verdict.DECLINED, "facts": {}}),
    ("kept after a change", {"facts": MOVED, "keeps": KEEPS}),
    ("kept after it lapsed", {**LAPSED, "facts": MOVED, "keeps": KEEPS}),
    ("kept after it lapsed, and is so again", {**LAPSED, "keeps": KEEPS}),
]  # fmt: skip


@pytest.mark.parametrize("different", [row[1] for row in STANDS], ids=[row[0] for row in STANDS])
def test_what_stands(different: dict[str, Any]) -> None:
    assert objection(a_case(**different)) is None


@pytest.mark.parametrize(
    ("command", "given_by", "asked"),
    [
        (Command(), None, "the Watch Commander"),
        (Command(routine=True), None, "a supervisor"),
        (Command(person_id="ortiz"), None, "Sgt Ortiz"),
        (Command(person_id="ortiz", with_id="lee"), None, "Sgt Ortiz or Capt Lee"),
        (Command(person_id="ortiz", with_id="lee", both=True), None,
         "Sgt Ortiz together with Capt Lee"),
        (Command(person_id="ortiz", with_id="lee", both=True), "ortiz", "Capt Lee"),
        (Command(person_id="ortiz", with_id="lee", both=True), "lee", "Sgt Ortiz"),
    ],
)  # fmt: skip
def test_who_is_asked_in_words(command: Command, given_by: str | None, asked: str) -> None:
    assent = given_by and Assent(
        id="a", request_id="r", person_id=given_by, nonce="n", digest="d", keeps=None, epoch=1,
        at=NOW, proof={},
    )  # fmt: skip
    names = {"ortiz": "Sgt Ortiz", "lee": "Capt Lee"}
    assert asked_in_words(command, names, assent or None) == asked


CHANGES = lapses_by(REVISION, MOVED)


@pytest.mark.parametrize(
    ("state", "changes", "seconds", "asked"),
    [
        (RequestState.OPEN, (), 60, False),
        (RequestState.OPEN, CHANGES, 60, True),
        (RequestState.LAPSED, CHANGES, 60, True),
        (RequestState.LAPSED, (), 60, True),
        (RequestState.LAPSED, CHANGES, 600, False),
        (RequestState.LAPSED, lapses_by(REVISION, OVER), 60, False),
        (RequestState.APPROVED, CHANGES, 60, False),
        (RequestState.WITHDRAWN, CHANGES, 60, False),
        (RequestState.EXPIRED, CHANGES, 60, False),
    ],
)
def test_when_a_commander_is_asked_to_keep_words(
    state: RequestState, changes: tuple[Change, ...], seconds: int, asked: bool
) -> None:
    one = a_request(REVISION, state=state)
    keeps = to_keep(one, changes, NOW + timedelta(seconds=seconds))
    assert keeps == (facts_digest(changes) if asked else None)


# --- The gate ---------------------------------------------------------------------------------


def gated(**different: Any) -> Case:
    """A case as the gate sees it: the request is already approved."""
    return a_case(**(request(state=RequestState.APPROVED) | different))


def refused_by_the_gate(case: Case, *, world: Any = EXERCISE, **later: float) -> str:
    with pytest.raises(Refusal) as refused:
        decide(case, "decision-1", world, now=case.at + timedelta(**later))
    return refused.value.code


def test_an_approval_becomes_a_release() -> None:
    case = gated()
    release = decide(case, "decision-1", EXERCISE, now=case.at + timedelta(seconds=59))
    revision = case.revision
    assert release.digest == revision.digest
    assert (release.revision_id, release.incident_id) == (revision.id, revision.incident_id)
    assert (release.channels, release.replaces) == (revision.channels, revision.replaces)
    assert (release.world, release.decision_id) == ("exercise", "decision-1")
    assert release.expires_at == revision.expires_at
    again = decide(case, "decision-2", EXERCISE, now=case.at)
    assert again.id == release.id, "one release a revision, whoever asks"


@pytest.mark.parametrize(
    ("different", "code"),
    [
        # At the gate the request is approved already: what its state says is of the desk's time.
        (row[1], row[2])
        for row in REFUSED
        if "request" not in row[1] and row[1].get("verdict") is None
    ],
)
def test_the_gate_believes_no_desk(different: dict[str, Any], code: str) -> None:
    assert refused_by_the_gate(gated(**different)) == code


def test_the_gate_on_its_own_account() -> None:
    assert refused_by_the_gate(a_case()) == "not_approved"
    for verdict in (Verdict.RETURNED, Verdict.DECLINED):
        assert refused_by_the_gate(gated(verdict=verdict, reason="No.")) == "not_approved"
    for state in RequestState:
        if state is not RequestState.APPROVED:
            assert refused_by_the_gate(a_case(**request(state=state))) == "not_approved"
    assert refused_by_the_gate(gated(), seconds=60) == "gate_late"
    assert refused_by_the_gate(gated(), world="live") == "wrong_world"
    ends = a_revision(expires_at=NOW + timedelta(minutes=1, seconds=5))
    asked = a_request(ends, state=RequestState.APPROVED)
    assert refused_by_the_gate(gated(revision=ends, request=asked), seconds=5) == "update_expired"


@pytest.mark.parametrize("where", ["at the desk", "at the gate"])
@pytest.mark.parametrize(
    ("different", "code"),
    [
        ({"proof": None}, "passkey_missing"),
        ({"passkey": None}, "passkey_unknown"),
        ({"passkey": a_passkey(person_id="somebody else")}, "passkey_unknown"),
        ({"passkey": a_passkey(approved=False)}, "passkey_not_approved"),
        ({"passkey": a_passkey(revoked=True)}, "passkey_revoked"),
        ({"passkey": a_passkey(public_key=practice.make()[0].public_key)}, "passkey_not_proven"),
        ({"proof": a_proof(a_request(REVISION), "declined", REVISION.digest)},
         "passkey_not_proven"),
        ({"proof": a_proof(a_request(REVISION), "approved", "0" * 64)}, "passkey_not_proven"),
        ({"proof": a_proof(a_request(REVISION, id="another"), "approved", REVISION.digest)},
         "passkey_not_proven"),
        ({"proof": a_proof(a_request(REVISION, nonce="1"), "approved", REVISION.digest)},
         "passkey_not_proven"),
        ({"site": Site.at("https://alerts.example.evil.test")}, "passkey_not_proven"),
        ({"proof": {"id": "x", "response": "no such thing"}}, "passkey_not_proven"),
    ],
)  # fmt: skip
def test_a_decision_is_proven_for_itself_alone(
    different: dict[str, Any], code: str, where: str
) -> None:
    """Missing, another's, not approved, replayed for another decision, or from another site."""
    if where == "at the gate":
        assert refused_by_the_gate(gated(**different)) == code
    else:
        found = objection(a_case(**different))
        assert found is not None and found.code == code


def test_a_practice_passkey_proves_nothing_in_the_live_world() -> None:
    live = a_revision(world="live")
    asked = a_request(live, state=RequestState.APPROVED)
    assert refused_by_the_gate(gated(revision=live, request=asked)) == "practice_passkey"


def screened(text: str = "Stay inside.", **fields: Any) -> dict[str, Any]:
    """A revision that says this, as the ledger could hold it whatever the desk did."""
    rendering = REVISION.renderings[0].model_copy(update={"text": text})
    revision = a_revision(**({"renderings": (rendering,)} | fields))
    return {
        "revision": revision, "request": a_request(revision, state=RequestState.APPROVED),
        "digest": revision.digest,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("different", "code", "field"),
    [
        (screened("SSN 123-45-6789."), "policy_blocked", "text_public_page"),
        (screened("Call 760-329-2904."), "policy_blocked", "text_public_page"),
        (screened(area="At the home of the victim, 1234 Oak St"), "policy_blocked", "area"),
        (screened(words=some_words(guidance=Phrase(text="SSN 123-45-6789", origin="typed"))),
         "policy_blocked", "guidance"),
        (screened("SSN 123-45-6789.", policy_reasons={"social-security-number": "I want to."}),
         "policy_blocked", "text_public_page"),
        (screened("Shelter: 1234 Oak St."), "policy_reason_missing", "reason_house-number"),
        (screened("Shelter: 1234 Oak St.", policy_reasons={"house-number": " "}),
         "policy_reason_missing", "reason_house-number"),
        (screened(attested=False), "attestation_missing", "attested"),
    ],
)  # fmt: skip
def test_the_gate_screens_for_itself(different: dict[str, Any], code: str, field: str) -> None:
    case = a_case(**different)
    with pytest.raises(Refusal) as refused:
        decide(case, "decision-1", EXERCISE, now=case.at)
    assert (refused.value.code, refused.value.field) == (code, field)
    assert refused.value.why.endswith(".") and refused.value.do.endswith(".")


def test_what_has_a_reason_or_is_our_own_is_released() -> None:
    reasons = {"house-number": "The shelter."}
    case = a_case(**screened("Shelter: 1234 Oak St.", policy_reasons=reasons))
    assert decide(case, "decision-1", EXERCISE, now=case.at)
    case = a_case(**screened("Call 760-329-2904."))
    assert decide(case, "decision-1", EXERCISE, now=case.at, contact="Tips: (760) 329-2904")


def test_what_cannot_be_screened_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr(approval, "screen", stumbles)
    assert refused_by_the_gate(gated()) == "policy_blocked"


def test_a_live_release_is_the_live_gates_alone() -> None:
    live = a_revision(world="live")
    asked = a_request(live, state=RequestState.APPROVED)
    case = gated(revision=live, request=asked, passkey=a_passkey(practice=False, linked=True))
    assert refused_by_the_gate(case, world="exercise") == "wrong_world"
    assert decide(case, "decision-1", "live", now=case.at).world == "live"


CASES = st.fixed_dictionaries({
    "person": st.sampled_from([COMMANDER, WATCH, PIO, BOTH]),
    "command": st.sampled_from([Command(person_id=COMMANDER.id, epoch=1), NOBODY, NEW_COMMANDER]),
    "verdict": st.sampled_from(Verdict),
    "digest": st.sampled_from([REVISION.digest, REVISION.digest.upper(), ""]),
    "head_revision_id": st.sampled_from([REVISION.id, "revision-2"]),
    "reason": st.sampled_from([None, "why"]),
    "facts": st.sampled_from([{"type": "GASLEAK", "place": PLACE}, {"type": "GASLEAK"}]),
    "request": st.builds(
        lambda state, digest, minutes: a_request(
            REVISION, state=state, digest=digest, expires_at=NOW + timedelta(minutes=minutes)
        ),
        st.sampled_from(RequestState),
        st.sampled_from([REVISION.digest, "0" * 64]),
        st.sampled_from([1, 10]),
    ),
})  # fmt: skip


@given(CASES, st.integers(0, 120), st.sampled_from(["exercise", "live"]))
def test_only_what_meets_every_condition_is_released(
    different: dict[str, Any], seconds: int, world: Any
) -> None:
    case = a_case(**different)
    commands = (
        case.command.person_id == case.person.id
        if case.command.person_id
        else Role.WATCH_COMMANDER in case.person.roles
    )
    may = (
        case.verdict is Verdict.APPROVED
        and case.request.state is RequestState.APPROVED
        and case.at < case.request.expires_at
        and commands
        and case.person.id != case.revision.compiled_by
        and case.digest == case.request.digest == case.revision.digest
        and case.head_revision_id == case.revision.id
        and case.facts.get("place") == PLACE
        and world == case.revision.world
        and seconds <= 60
    )
    try:
        release = decide(case, "decision-1", world, now=case.at + timedelta(seconds=seconds))
    except Refusal:
        assert not may
    else:
        assert may and release.digest == case.revision.digest


def test_the_same_decision_again_is_told_from_another() -> None:
    one = request_digest("request-1", "approved", "digest", None)
    assert one != request_digest("request-1", "approved", "digest", None, KEEPS)
    assert one == request_digest("request-1", "approved", "digest", None)
    others = [
        request_digest("request-2", "approved", "digest", None),
        request_digest("request-1", "declined", "digest", None),
        request_digest("request-1", "approved", "other", None),
        request_digest("request-1", "approved", "digest", "reason"),
    ]
    assert len({one, *others}) == 5
