"""Every single check of the gate, each with a case that is released once that check is deleted.

The cases are decisions that the desk refuses: they are written past it, into its own tables, as a
desk could that was broken into. Each is judged twice: by the gate as it is, which refuses; and by
one whose source lacks that one condition, which releases. So no check stands here that can go
unnoticed, and `test_no_condition_is_left_out` reads the source for conditions that stand nowhere.
The same table in words: tests/security/README.md.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from types import FunctionType
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from webauthn.helpers import bytes_to_base64url

from broadcaster import approval, passkey, voice
from broadcaster import update as update_module
from broadcaster.approval import ApprovalRequest, Decision, RequestState, Verdict
from broadcaster.handover import record_command
from broadcaster.incident import Command
from broadcaster.ledger import (
    Tx,
    approvals,
    exercises,
    passkeys,
    people,
    releases,
    schema,
    voices,
)
from broadcaster.orders import Submitted
from broadcaster.passkey import Passkey, Site, decision_challenge
from broadcaster.roster import Person, Role
from broadcaster.update import Rendering, UpdateKind
from broadcaster.voice import Heard, Settled
from streams import gate
from tests.authenticator import PRESENT, Authenticator
from tests.story import EXERCISE, INCIDENT_URL, NOW, SITE, Story

ELSEWHERE = Site.at("https://alerts.example.evil.test")


# --- A decision that no desk let through ------------------------------------------------------


@dataclass
class Scene:
    """A submission before Sgt Lee, who commands and holds an approved phone."""

    story: Story
    lee: Person
    submitted: Submitted
    phone: Authenticator
    key: str
    decision_id: str = ""
    code: Any = None
    world: Any = EXERCISE
    by_voice: bool = True

    @property
    def request(self) -> ApprovalRequest:
        return self.submitted.request

    async def change_revision(self, **fields: Any) -> None:
        """Rewrites the words in the ledger, and what was asked about them."""
        await self.tamper(**fields)
        revision = self.submitted.revision
        request = self.request.model_copy(update={"digest": revision.digest})
        self.submitted = Submitted(revision, request)
        await self.set(schema.approval_requests, request.id, digest=request.digest)

    async def tamper(self, **fields: Any) -> None:
        """Rewrites the words in the ledger and nothing else."""
        revision = self.submitted.revision.model_copy(update=fields)
        self.submitted = Submitted(revision, self.request)
        await self.set(schema.revisions, revision.id, body=revision.model_dump_json())

    async def say(self, text: str, **fields: Any) -> None:
        said = self.submitted.revision.renderings
        renderings = tuple(each.model_copy(update={"text": text}) for each in said)
        await self.change_revision(renderings=renderings, **fields)

    async def set(self, table: Any, id_: str, **values: Any) -> None:
        def step(tx: Tx) -> None:
            tx.connection.execute(update(table).where(table.c.id == id_).values(**values))

        await self.story.ledger.write(step)

    async def decide(
        self, person: Person | None = None, *, verdict: Verdict = Verdict.APPROVED,
        digest: str | None = None, signed: ApprovalRequest | None = None,
        state: RequestState | None = None, phone: Authenticator | None = None,
        command: Command | None = None, challenge: bytes | None = None,
    ) -> None:  # fmt: skip
        """Writes a decision and asks nothing; what is not named is as it should be."""
        who, request = person or self.lee, signed or self.request
        shown = digest or request.digest
        challenge = challenge or decision_challenge(request.nonce, request.id, verdict, shown)
        proof = (phone or self.phone).prove({
            "challenge": bytes_to_base64url(challenge), "allowCredentials": [{"id": self.key}],
        })  # fmt: skip

        def step(tx: Tx) -> str:
            kept = approvals.lock_request(tx, self.request.id)
            assert kept is not None
            decision = Decision(
                id=str(uuid4()), request_id=self.request.id, person_id=who.id,
                verdict=verdict, digest=shown, reason="Why", at=tx.now,
            )  # fmt: skip
            held = command or Command(person_id=who.id, epoch=1, since=tx.now)
            approvals.add_decision(tx, decision, held, "no-key-at-all", proof)
            ended = state or RequestState(verdict.value)
            approvals.end_request(tx, kept.request, ended, None)
            return decision.id

        self.decision_id = await self.story.ledger.write(step)
        await self.set(schema.decisions, self.decision_id, outcome=None)

    async def hear(
        self, listener: Person | None = None, *, of: Person | None = None,
        said: str | None = None, command: Command | None = None, **other: Any,
    ) -> None:  # fmt: skip
        """Writes an approval that was given aloud, heard by the custodian of records."""
        request, owner = self.request, of or self.lee
        attester = listener or await self.added("K. Lund", Role.RECORDS)
        self.phone, self.key = await a_phone(self.story, attester)

        def spoken(tx: Tx) -> tuple[str, voice.Code]:
            first = voices.issue(tx, owner.id, actor="test")[0]
            [*_, code] = (
                each for each in voices.standing(tx, owner.id)
                if each.hash == voice.hashed(first, each.salt)
            )  # fmt: skip
            return first, code

        first, self.code = await self.story.ledger.write(spoken)
        heard = Heard(**{
            "attester_id": attester.id, "reader_id": self.story.pio.id, "code": said or first,
            "code_id": self.code.id, "radio": "TAC 2", "at": self.story.clock.at,
        } | other)  # fmt: skip
        signed = voice.attestation(request.nonce, request.id, request.digest, self.code, heard)
        await self.decide(command=command, challenge=signed)
        await self.story.ledger.write(lambda tx: voices.add(tx, self.decision_id, heard))

    async def added(self, name: str, role: Role) -> Person:
        return await self.story.ledger.write(lambda tx: people.add(tx, name, [role], actor="test"))

    async def judged(self) -> str:
        """What the gate makes of it."""
        step = gate.judge_decision(
            self.decision_id, self.world, INCIDENT_URL, by_voice=self.by_voice
        )
        assert await self.story.ledger.write(step)
        kept = await self.story.ledger.read(lambda tx: approvals.decision(tx, self.decision_id))
        assert kept is not None and kept.outcome is not None
        release = await self.story.ledger.read(
            lambda tx: releases.of_revision(tx, self.submitted.revision.id)
        )
        assert (release is not None) == (kept.outcome == "released")
        return kept.outcome

    async def kept(self) -> tuple[str | None, str]:
        """The decision's outcome and the request's state, as the gate finds them."""

        def look(tx: Tx) -> tuple[str | None, str]:
            decision = approvals.decision(tx, self.decision_id)
            request = approvals.request(tx, self.request.id)
            assert decision is not None and request is not None
            return decision.outcome, request.request.state

        return await self.story.ledger.read(look)

    async def put_back(self, outcome: str | None, state: str) -> None:
        await self.set(schema.decisions, self.decision_id, outcome=outcome)
        await self.set(schema.approval_requests, self.request.id, state=state)


async def a_scene(story: Story, number: str = "2026-1") -> Scene:
    incident = await story.reported(number)
    lee = await story.ledger.write(
        lambda tx: people.add(tx, f"Sgt Lee of {number}", [Role.COMMANDER], actor="test")
    )
    await story.ledger.write(lambda tx: record_command(tx, incident, lee.id, story.pio))
    phone, key = await a_phone(story, lee)
    return Scene(story, lee, await story.submitted(incident), phone, key)


async def a_phone(
    story: Story, person: Person, approved: str | None = "test"
) -> tuple[Authenticator, str]:
    holder = Authenticator(SITE.origin, SITE.host)
    answer = holder.make({"challenge": bytes_to_base64url(bytes(32))})
    made = passkey.register(answer, site=SITE, challenge=bytes(32))
    await story.ledger.write(
        lambda tx: passkeys.add(tx, person.id, made, "Phone", actor="test", approved_by=approved)
    )
    return holder, made.id


# --- The cases --------------------------------------------------------------------------------


async def nothing_is_wrong(scene: Scene) -> None:
    await scene.decide()


async def taken_back(scene: Scene) -> None:
    await scene.decide(state=RequestState.WITHDRAWN)


async def declined(scene: Scene) -> None:
    await scene.decide(verdict=Verdict.DECLINED)


async def its_own_compiler(scene: Scene) -> None:
    """Who commands, too, and holds the phone."""
    scene.phone, scene.key = await a_phone(scene.story, scene.story.pio)
    await scene.set(schema.people, scene.story.pio.id, roles="commander pio")
    await _commands(scene, scene.story.pio)
    await scene.decide(scene.story.pio)


async def of_the_live_world(scene: Scene) -> None:
    await scene.change_revision(world="live")
    await scene.decide()


async def the_exercise_ended(scene: Scene) -> None:
    await scene.decide()
    await scene.story.ledger.write(
        lambda tx: exercises.turn(tx, running=False, by=scene.story.pio.id)
    )


async def a_number(scene: Scene) -> None:
    await scene.say("SSN 123-45-6789.")
    await scene.decide()


async def a_number_in_the_area(scene: Scene) -> None:
    await scene.change_revision(area="SSN 123-45-6789")
    await scene.decide()


async def without_a_reason(scene: Scene) -> None:
    await scene.say("Shelter: 1234 Oak St.")
    await scene.decide()


async def not_attested(scene: Scene) -> None:
    await scene.change_revision(attested=False)
    await scene.decide()


async def a_minute_late(scene: Scene) -> None:
    await scene.decide()
    scene.story.clock.move(seconds=61)


async def the_update_ran_out(scene: Scene) -> None:
    await scene.change_revision(expires_at=scene.story.clock.at + timedelta(seconds=10))
    await scene.decide()
    scene.story.clock.move(seconds=10)


async def the_request_ran_out(scene: Scene) -> None:
    scene.story.clock.at = scene.request.expires_at
    await scene.decide()


async def no_command_and_no_watch_commander(scene: Scene) -> None:
    await _commands(scene, None)
    await scene.decide(command=Command())


async def another_commands(scene: Scene) -> None:
    await _commands(scene, scene.story.commander)
    await scene.decide()


async def the_desk_lies_about_command(scene: Scene) -> None:
    await _commands(scene, scene.story.commander)
    await scene.decide(command=Command(person_id=scene.lee.id, epoch=9))


async def command_moved_after_it(scene: Scene) -> None:
    await scene.decide()
    scene.story.clock.move(seconds=1)
    await _commands(scene, scene.story.commander)


async def other_words_seen(scene: Scene) -> None:
    await scene.decide(digest="0" * 64)


async def words_rewritten_since(scene: Scene) -> None:
    await scene.decide()
    said = scene.submitted.revision.renderings
    await scene.tamper(renderings=said[:1])


async def a_newer_wording(scene: Scene) -> None:
    await scene.decide()
    newer = scene.submitted.revision.model_copy(
        update={"id": "newer", "compiled_at": scene.story.clock.at + timedelta(seconds=1)}
    )
    await scene.story.ledger.write(lambda tx: approvals.add_revision(tx, newer))


async def practice_in_the_live_world(scene: Scene) -> None:
    await scene.set(schema.passkeys, scene.key, private_key=b"the desk's own")
    await of_the_live_world(scene)
    scene.world = "live"


async def somebody_elses_phone(scene: Scene) -> None:
    scene.phone, scene.key = await a_phone(scene.story, scene.story.pio)
    await scene.decide()


async def a_phone_nobody_approved(scene: Scene) -> None:
    scene.phone, scene.key = await a_phone(scene.story, scene.lee, approved=None)
    await scene.decide()


async def a_lost_phone(scene: Scene) -> None:
    await scene.story.ledger.write(lambda tx: passkeys.revoke(tx, scene.key, actor="test"))
    await scene.decide()


async def an_answer_to_another_request(scene: Scene) -> None:
    await scene.decide(signed=scene.request.model_copy(update={"id": "another"}))


async def signed_by_another_key(scene: Scene) -> None:
    other = Authenticator(SITE.origin, SITE.host)
    other.make({"challenge": ""})
    other.passkeys = {scene.key: next(iter(other.passkeys.values()))}
    await scene.decide(phone=other)


async def on_another_site(scene: Scene) -> None:
    await scene.decide(phone=replace(scene.phone, origin=ELSEWHERE.origin))


async def for_another_host(scene: Scene) -> None:
    await scene.decide(phone=replace(scene.phone, host=ELSEWHERE.host))


async def without_a_finger(scene: Scene) -> None:
    await scene.decide(phone=replace(scene.phone, flags=PRESENT))


async def it_is_something_else_now(scene: Scene) -> None:
    await scene.decide()
    await scene.story.reported(type="HAZMAT", reported_at=scene.story.clock.at + timedelta(1))


async def it_is_somewhere_else_now(scene: Scene) -> None:
    await scene.decide()
    await scene.story.reported(place="Elm St", reported_at=scene.story.clock.at + timedelta(1))


async def refused_before(scene: Scene) -> None:
    """By a gate; then what was wrong is mended, and the message comes again."""
    await a_lost_phone(scene)
    assert await scene.judged() == "passkey_revoked"
    await scene.set(schema.passkeys, scene.key, revoked_at=None)


async def heard_where_it_is_off(scene: Scene) -> None:
    scene.by_voice = False
    await scene.hear()


async def heard_where_nobody_commands(scene: Scene) -> None:
    await scene.set(schema.people, scene.lee.id, roles=str(Role.WATCH_COMMANDER))
    await _commands(scene, None)
    await scene.hear(command=Command())


async def heard_by_the_compiler(scene: Scene) -> None:
    await scene.hear(scene.story.pio, reader_id="another")


async def heard_on_no_channel(scene: Scene) -> None:
    await scene.hear(radio=" ")


async def heard_before_it_was_asked(scene: Scene) -> None:
    await scene.hear(at=scene.request.created_at - timedelta(minutes=2))


async def heard_later_than_decided(scene: Scene) -> None:
    await scene.hear(at=scene.story.clock.at + timedelta(minutes=1))


async def a_made_up_code(scene: Scene) -> None:
    await scene.hear(said="1")


async def another_commanders_code(scene: Scene) -> None:
    await scene.hear(of=scene.story.commander)


async def a_voided_code(scene: Scene) -> None:
    await scene.hear()
    await scene.story.ledger.write(lambda tx: voices.issue(tx, scene.lee.id, actor="test"))


async def a_code_of_another_decision(scene: Scene) -> None:
    await scene.hear()
    await scene.set(schema.voice_codes, scene.code.id, used_by=None)


async def the_commander_denies_it(scene: Scene) -> None:
    await scene.hear()
    await scene.story.ledger.write(
        lambda tx: voices.settle(tx, scene.decision_id, Settled.REPUDIATED)
    )


async def another_was_heard(scene: Scene) -> None:
    """The listener signed one channel, and the desk wrote another."""
    await scene.hear()
    kept = await scene.story.ledger.read(lambda tx: voices.of_decision(tx, scene.decision_id))
    assert kept is not None
    heard = kept.heard.model_copy(update={"radio": "TAC 9"})

    def step(tx: Tx) -> None:
        table = schema.voice_approvals
        tx.connection.execute(update(table).values(heard=heard.model_dump_json()))

    await scene.story.ledger.write(step)


async def _commands(scene: Scene, person: Person | None) -> None:
    incident, pio = scene.request.incident_id, scene.story.pio
    await scene.story.ledger.write(
        lambda tx: record_command(tx, incident, person.id if person else None, pio)
    )


# --- The checks -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A condition as the source has it, and the source without it."""

    of: tuple[Any, str]  #: where the function stands
    condition: str
    without: str
    case: Callable[[Scene], Awaitable[None]]
    code: str

    def __str__(self) -> str:
        return f"{self.of[1]}: {self.condition}"


DECIDE, PERSON, WORDS = (approval, "decide"), (approval, "person_objection"), (approval, "_words")
POLICY, FOUND = (approval, "_policy"), (approval, "policy_objection")
STILL, TIME, FACTS = (approval, "_still_objected"), (approval, "_time"), (approval, "_facts")
KEY, USABLE = (passkey, "objection"), (Passkey, "usable")
CHANGED = (update_module, "changed_facts")
HEARD, MATCHES, PROOF = (voice, "objection"), (voice, "matches"), (approval, "_proof")
JUDGE, COMMAND = (gate, "judge_decision"), (gate, "_command_then")

CHECKS = [
    Check(DECIDE, "case.request.state == case.verdict ==", "case.verdict ==", taken_back,
          "not_approved"),
    Check(DECIDE, "== case.verdict == Verdict.APPROVED", "== case.verdict", declined,
          "not_approved"),
    Check(DECIDE, "refusal := _still_objected(case)", "refusal := None", its_own_compiler,
          "own_words"),
    Check(DECIDE, "case.revision.world != world", "False", of_the_live_world, "wrong_world"),
    Check(DECIDE, "refusal := _policy(case.revision, contact)", "refusal := None", a_number,
          "policy_blocked"),
    Check(DECIDE, "now - case.at > GATE_MAY_BE_LATE", "False", a_minute_late, "gate_late"),
    Check(DECIDE, "now >= case.revision.expires_at", "False", the_update_ran_out,
          "update_expired"),
    Check(STILL, "_time, ", "", the_request_ran_out, "request_expired"),
    Check(STILL, "person_objection, ", "", its_own_compiler, "own_words"),
    Check(STILL, "_words, ", "", other_words_seen, "words_changed"),
    Check(STILL, "_proof, ", "", somebody_elses_phone, "passkey_unknown"),
    Check(STILL, "_facts, ", "", it_is_somewhere_else_now, "facts_changed"),
    Check(TIME, "case.at >= case.request.expires_at", "False", the_request_ran_out,
          "request_expired"),
    Check(PERSON, "case.person.id == case.revision.compiled_by", "False", its_own_compiler,
          "own_words"),
    Check(PERSON, "Role.WATCH_COMMANDER in case.person.roles", "True",
          no_command_and_no_watch_commander, "not_the_commander"),
    Check(PERSON, "case.command.held_by(case.person.id)", "True", another_commands,
          "command_moved"),
    Check(WORDS, "case.digest == case.request.digest ==", "case.request.digest ==",
          other_words_seen, "words_changed"),
    Check(WORDS, "== case.request.digest == now", "== case.request.digest",
          words_rewritten_since, "words_changed"),
    Check(WORDS, "case.head_revision_id == case.revision.id", "True", a_newer_wording,
          "words_changed"),
    Check(KEY, 'passkey and passkey.practice and world != "exercise"',
          "False", practice_in_the_live_world, "practice_passkey"),
    Check(KEY, "passkey.person_id != person_id", "False", somebody_elses_phone,
          "passkey_unknown"),
    Check(KEY, "not passkey.usable", "False", a_phone_nobody_approved, "passkey_not_approved"),
    Check(USABLE, "self.approved and", "True and", a_phone_nobody_approved,
          "passkey_not_approved"),
    Check(USABLE, "and not self.revoked", "", a_lost_phone, "passkey_revoked"),
    Check(KEY, "expected_challenge=challenge", "expected_challenge=challenge_in(answer)",
          an_answer_to_another_request, "passkey_not_proven"),
    Check(KEY, "expected_origin=site.origin", f'expected_origin="{ELSEWHERE.origin}"',
          on_another_site, "passkey_not_proven"),
    Check(KEY, "expected_rp_id=site.host", f'expected_rp_id="{ELSEWHERE.host}"',
          for_another_host, "passkey_not_proven"),
    Check(KEY, "require_user_verification=True", "require_user_verification=False",
          without_a_finger, "passkey_not_proven"),
    Check(KEY, "TypeError):\n        return Refusal(", "TypeError):\n        () or Refusal(",
          signed_by_another_key, "passkey_not_proven"),
    Check(FACTS, "_lapsed(changed) if changed", "None if changed", it_is_something_else_now,
          "facts_changed"),
    Check(CHANGED, '("type", "place")', '("place",)', it_is_something_else_now, "facts_changed"),
    Check(CHANGED, '("type", "place")', '("type",)', it_is_somewhere_else_now, "facts_changed"),
    Check(CHANGED, "facts.get(phrase.fact) != phrase.fact_value", "False",
          it_is_somewhere_else_now, "facts_changed"),
    Check(POLICY, "area=revision.area", "area=None", a_number_in_the_area, "policy_blocked"),
    Check(FOUND, "blocked := blocking(findings)", "blocked := []", a_number, "policy_blocked"),
    Check(FOUND, "unexplained := wanting(findings, reasons)", "unexplained := []",
          without_a_reason, "policy_reason_missing"),
    Check(FOUND, "not attested", "False", not_attested, "attestation_missing"),
    Check(PROOF, "return voice.objection(", "return () and voice.objection(", another_was_heard,
          "passkey_not_proven"),
    Check(HEARD, "not voice.allowed", "False", heard_where_it_is_off, "voice_off"),
    Check(HEARD, "not commanded", "False", heard_where_nobody_commands, "voice_without_command"),
    Check(HEARD, "heard.attester_id in compilers | {person_id, heard.reader_id}", "False",
          heard_by_the_compiler, "listener_not_second"),
    Check(HEARD, "not heard.radio.strip()", "False", heard_on_no_channel, "radio_missing"),
    Check(HEARD, "heard.at <= asked_at - _MINUTE", "False",
          heard_before_it_was_asked, "heard_at_wrong"),
    Check(HEARD, "heard.at > decided_at", "False", heard_later_than_decided,
          "heard_at_wrong"),
    Check(HEARD, "not matches(code, person_id, heard.code)", "False", a_made_up_code,
          "code_wrong"),
    Check(MATCHES, "code.person_id != person_id", "False", another_commanders_code, "code_wrong"),
    Check(MATCHES, "hmac.compare_digest(code.hash, hashed(said, code.salt))", "True",
          a_made_up_code, "code_wrong"),
    Check(HEARD, "code.void or", "", a_voided_code, "code_void"),
    Check(HEARD, "or code.used_by != voice.decision_id", "", a_code_of_another_decision,
          "code_void"),
    Check(HEARD, "voice.repudiated", "False", the_commander_denies_it, "voice_repudiated"),
    Check(HEARD, "attestation(nonce, request_id, digest, code, heard)",
          "passkey.challenge_in(proof)", another_was_heard, "passkey_not_proven"),
    Check(JUDGE, "exercises.require_running(tx)", "None", the_exercise_ended, "exercise_ended"),
    Check(JUDGE, "kept.outcome is not None", "False", refused_before, "passkey_revoked"),
    Check(COMMAND, "kept.command if moved_since else now", "kept.command",
          the_desk_lies_about_command, "command_moved"),
]  # fmt: skip

#: Conditions that let nothing through when they are gone: why each stands there, and what then
#: holds in its place.
UNNOTICED = {
    (STILL, "_reason"): "a decision that goes back is not approved, so nothing of it is released",
    (STILL, "refusal := check(case)"): "hands on what a check says; each check has its own row",
    (PERSON, "case.command.person_id is None"):
        "lets the Watch Commander decide; without it nobody could",
    (PERSON, "case.person.id == case.request.asked"): "chooses the refusal's words and code",
    (PERSON, "case.person.id in case.command.former"): "the same",
    (FACTS, "case.verdict is not Verdict.APPROVED"): "lets a stale update be declined",
    (KEY, "answer is None"): "no answer names no passkey, so the next condition refuses it",
    (KEY, "passkey is None"): "the gate would fail on the passkey that is not there",
    (CHANGED, "phrase.fact in ('type', 'place')"): "its two facts have rows of their own",
    (PROOF, "case.voice is not None"): "without it a passkey of the Commander's own is asked for",
    (HEARD, "code is None"): "the gate would fail on the code that is not there",
    (JUDGE, "unlocked"): "a made-up message: there is no decision to release",
    (JUDGE, "request is None"): "the same",
    (JUDGE, "kept is None"): "the same; decisions are never taken away",
    (JUDGE, "incident is None"): "the same; incidents neither",
    (COMMAND, "now.since is not None"): "command that never moved has no time to compare",
    (COMMAND, "now.since > kept.decision.at"):
        "without it a Commander's decision is lost when command moves on: see the test of that",
    (COMMAND, "moved_since"): "the row of this function",
}  # fmt: skip


def function_at(place: tuple[Any, str]) -> FunctionType:
    found = inspect.getattr_static(*place)
    function: FunctionType = found.fget if isinstance(found, property) else found
    return function


def without(check: Check) -> Any:
    """The function again, compiled from its source without the condition."""
    name, function = check.of[1], function_at(check.of)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(check.condition) == 1, f"{name} says no longer once: {check.condition}"
    changed = source.replace(check.condition, check.without)
    scope = dict(function.__globals__)
    exec(compile(f"from __future__ import annotations\n{changed}", name, "exec"), scope)
    return scope[name]


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_without_this_check_it_is_released(
    story: Story, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await a_scene(story)
    await check.case(scene)
    before = await scene.kept()
    assert await scene.judged() == check.code
    await scene.put_back(*before)
    name, changed = check.of[1], without(check)
    for holder in (check.of[0], gate, approval):  # wherever it was imported to
        if hasattr(holder, name):
            monkeypatch.setattr(holder, name, changed)
    assert await scene.judged() == "released"


async def test_nothing_is_wrong_with_the_scene_itself(story: Story) -> None:
    scene = await a_scene(story)
    await nothing_is_wrong(scene)
    assert await scene.judged() == "released"


async def test_what_was_heard_is_released(story: Story) -> None:
    scene = await a_scene(story)
    await scene.hear()
    assert await scene.judged() == "released"


async def test_who_commanded_then_decided_though_command_has_moved_since(story: Story) -> None:
    scene = await a_scene(story)
    await command_moved_after_it(scene)
    assert await scene.judged() == "released"


#: How words could be rewritten in the ledger after they were approved, field by field.
REWRITTEN: dict[str, Any] = {
    "kind": UpdateKind.ALL_CLEAR, "number": 7, "area": "Elm St", "languages": ("en", "en"),
    "channels": ("public_page",), "media": ("0" * 64,), "corrects": "another",
    "expires_at": NOW + timedelta(days=2),
    "renderings": (Rendering(channel="public_page", headline="Gas leak", text="Go home."),),
}  # fmt: skip


@pytest.mark.parametrize("field", REWRITTEN)
async def test_what_the_digest_did_not_cover_could_be_rewritten(
    story: Story, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await a_scene(story)
    await scene.decide()
    await scene.tamper(**{field: REWRITTEN[field]})
    assert await scene.judged() == "words_changed"

    covered = tuple(each for each in update_module._COVERED if each != field)
    monkeypatch.setattr(update_module, "_COVERED", covered)
    scene = await a_scene(story, "2026-2")
    await scene.decide()
    await scene.tamper(**{field: REWRITTEN[field]})
    assert await scene.judged() == "released"


async def test_a_second_release_of_a_revision_is_refused_by_the_database(story: Story) -> None:
    """Two requests for the same words, both approved: a key of the table refuses the second."""
    scene = await a_scene(story)
    await scene.decide()
    assert await scene.judged() == "released"
    held = Command(person_id=scene.lee.id, epoch=1)
    revision = scene.submitted.revision
    second = await story.ledger.write(lambda tx: approvals.open_request(tx, revision, held))
    scene.submitted = Submitted(revision, second)
    await scene.decide()
    with pytest.raises(IntegrityError):
        await scene.judged()


# --- Nothing is left out ----------------------------------------------------------------------


class Conditions(ast.NodeVisitor):
    """Every single condition that a source branches on, but for those that only choose words."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        self._add(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        if not isinstance(node.body, ast.Constant | ast.JoinedStr):
            self._add(node.test)
            self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._add(node)

    def visit_Call(self, node: ast.Call) -> None:
        if ast.unparse(node.func) not in ("Refusal", "_found"):
            self.generic_visit(node)

    def _add(self, test: ast.expr) -> None:
        """Split at each `and`, `or` and link of a chain: `a == b == c` is two."""
        if isinstance(test, ast.BoolOp):
            for value in test.values:
                self._add(value)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.operand, ast.Compare):
            self._add(test.operand)
        elif isinstance(test, ast.Compare) and len(test.ops) > 1:
            sides = [ast.unparse(each) for each in (test.left, *test.comparators)]
            self.found |= {" == ".join(sides[i : i + 2]) for i in range(len(test.ops))}
        else:
            self.found.add(ast.unparse(test))


def test_no_condition_is_left_out() -> None:
    """Each one in a function of the table is a row's, or is said to let nothing through."""
    rows = [(check.of, " ".join(check.condition.split())) for check in CHECKS]
    said = [*rows, *UNNOTICED]
    for place in {place for place, _ in rows}:
        found = Conditions()
        found.visit(ast.parse(textwrap.dedent(inspect.getsource(function_at(place)))))
        told = [text.replace('"', "'") for where, text in said if where == place]
        for condition in found.found:
            assert any(condition in text or text in condition for text in told), (place, condition)
    for (holder, name), text in UNNOTICED:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function_at((holder, name)))))
        assert text in ast.unparse(tree), f"{name} says no longer: {text}"
