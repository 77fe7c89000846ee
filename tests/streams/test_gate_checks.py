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
import json
import textwrap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import FunctionType
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError
from webauthn.helpers import bytes_to_base64url

from broadcaster import approval, authority, fallback, guideline, notices, passkey, voice
from broadcaster import update as update_module
from broadcaster.approval import ApprovalRequest, Assent, Decision, RequestState, Verdict
from broadcaster.authority import Matter
from broadcaster.fallback import Allowance
from broadcaster.guest import Guest, hashed
from broadcaster.guests import EnrolGuest
from broadcaster.handover import How, move, record_command
from broadcaster.incident import Command, Status, Topic
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    exercises,
    fallbacks,
    guests,
    guidelines,
    incidents,
    locks,
    passkeys,
    people,
    releases,
    roles,
    schema,
    voices,
)
from broadcaster.media import Picture
from broadcaster.orders import SubmitRevision, Submitted, submit_revision
from broadcaster.passkey import Passkey, Site
from broadcaster.roster import Person, Role
from broadcaster.update import Change, Rendering, UpdateKind, facts_digest, retraction_of
from broadcaster.voice import Heard, Settled
from streams import gate, prove
from tests.authenticator import MAY_BE_SYNCED, PRESENT, Authenticator
from tests.codes import KEY as CODES_KEY
from tests.codes import PIN, code_at
from tests.story import (
    CHANNELS,
    EXERCISE,
    INCIDENT_URL,
    NOW,
    PAGE,
    SITE,
    ZONE,
    Story,
    linked,
    unlocked,
)

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
    seals: tuple[str, ...] = ()  #: of what was typed, and is judged before the decision
    world: Any = EXERCISE
    by_voice: bool = True
    device_bound: bool = False

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

    async def show(self, alt: str) -> None:
        """Has the words show a picture, described so."""
        picture = Picture(digest="a" * 64, type="image/png", width=8, height=8, size=90, alt=alt)
        said = self.submitted.revision.renderings
        await self.change_revision(
            renderings=tuple(each.model_copy(update={"pictures": (picture,)}) for each in said),
            media=(picture.digest,),
        )

    async def set_answers(self, **values: Any) -> None:
        def step(tx: Tx) -> None:
            tx.connection.execute(update(schema.fallback_answers).values(**values))

        await self.story.ledger.write(step)

    async def set(self, table: Any, id_: str, **values: Any) -> None:
        def step(tx: Tx) -> None:
            tx.connection.execute(update(table).where(table.c.id == id_).values(**values))

        await self.story.ledger.write(step)

    async def decide(
        self, person: Person | None = None, *, verdict: Verdict = Verdict.APPROVED,
        digest: str | None = None, signed: ApprovalRequest | None = None,
        state: RequestState | None = None, phone: Authenticator | None = None,
        command: Command | None = None, keeps: str | None = None, signs_keeps: bool = True,
        challenge: bytes | None = None,
    ) -> None:  # fmt: skip
        """Writes a decision and asks nothing; what is not named is as it should be."""
        who, request = person or self.lee, signed or self.request
        shown, epoch = digest or request.digest, command.epoch if command else await self.epoch()
        signs = request.challenge(verdict, shown, epoch, keeps if signs_keeps else None)
        challenge = challenge or signs
        proof = (phone or self.phone).prove({
            "challenge": bytes_to_base64url(challenge), "allowCredentials": [{"id": self.key}],
        })  # fmt: skip

        def step(tx: Tx) -> str:
            kept = approvals.lock_request(tx, self.request.id)
            assert kept is not None
            decision = Decision(
                id=str(uuid4()), request_id=self.request.id, person_id=who.id,
                verdict=verdict, digest=shown, reason="Why", at=tx.now, keeps=keeps,
            )  # fmt: skip
            held = command or Command(person_id=who.id, epoch=epoch, since=tx.now)
            approvals.add_decision(tx, decision, held, "no-key-at-all", proof)
            ended = state or RequestState(verdict.value)
            approvals.end_request(tx, kept.request, ended, None)
            return decision.id

        self.decision_id = await self.story.ledger.write(step)
        await self.set(schema.decisions, self.decision_id, outcome=None)

    async def epoch(self) -> int:
        """The command's, as it is now."""
        kept = await self.story.ledger.read(lambda tx: incidents.get(tx, self.request.incident_id))
        assert kept is not None
        return kept.incident.command.epoch

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
        epoch = command.epoch if command else await self.epoch()
        meant = request.challenge(Verdict.APPROVED, request.digest, epoch)
        signed = voice.attestation(meant, self.code, heard)
        await self.decide(command=command, challenge=signed)
        await self.story.ledger.write(lambda tx: voices.add(tx, self.decision_id, heard))

    async def type(
        self, *, of: Person | None = None, pin: str = PIN, ago: float = 0,
        about: ApprovalRequest | None = None, wrong_before: int = 0, dated_back: bool = True,
        lasts: timedelta = timedelta(days=1),
    ) -> Allowance:  # fmt: skip
        """Writes a decision that Lee typed PIN and code for, `ago` seconds ago; not judged yet."""
        request, clock, about = self.request, self.story.clock, about or self.request
        at = clock.at - timedelta(seconds=ago)
        meant = about.challenge(Verdict.APPROVED, request.digest, await self.epoch())

        def typed(tx: Tx) -> Allowance:
            allowed = fallbacks.allow(
                tx, (of or self.lee).id, pin=PIN, reason="A broken phone", until=at + lasts,
                granted_by="chief", actor="test",
            )  # fmt: skip
            code = code_at(allowed, at)
            several = [(pin, meant, None)]
            if wrong_before:
                several.insert(0, ("0000001", meant, None))
                several += [
                    (f"{number:07}", meant, "code_wrong") for number in range(2, wrong_before + 1)
                ]
            for number, (said, challenge, refused) in enumerate(several):
                seal = fallback.sealed(said, code, allowed.salt, challenge)
                tx.connection.execute(insert(schema.fallback_answers).values(
                    seal=seal, fallback_id=allowed.id, challenge=challenge.hex(), refused=refused,
                    at=at + timedelta(microseconds=number),
                ))  # fmt: skip
                if refused is None:
                    self.seals += (seal,)
            return allowed

        allowed = await self.story.ledger.write(typed)
        await self.decide()
        decided = at if dated_back else clock.at
        await self.set(schema.decisions, self.decision_id, proof=None, seal=self.seals[-1],
                       at=decided)  # fmt: skip
        return allowed

    async def added(self, name: str, role: Role) -> Person:
        return await self.story.ledger.write(lambda tx: people.add(tx, name, [role], actor="test"))

    async def judged(self) -> str:
        """What the gate makes of it."""
        while await self.story.ledger.write(prove.judge_next(CODES_KEY, SITE)):
            pass
        step = gate.judge_decision(
            self.decision_id, self.world, INCIDENT_URL, by_voice=self.by_voice,
            device_bound=self.device_bound,
        )  # fmt: skip
        assert await self.story.ledger.write(step)
        kept = await self.story.ledger.read(lambda tx: approvals.decision(tx, self.decision_id))
        assert kept is not None and kept.outcome is not None
        release = await self.story.ledger.read(
            lambda tx: releases.of_revision(tx, self.submitted.revision.id)
        )
        assert (release is not None) == (kept.outcome == "released")
        return kept.outcome

    async def judged_alone(self) -> None:
        """What was typed is taken, and stays so."""
        while await self.story.ledger.write(prove.judge_next(CODES_KEY, SITE)):
            pass
        self.seals = ()

    async def release(self) -> str:
        found = await self.story.ledger.read(
            lambda tx: releases.of_revision(tx, self.submitted.revision.id)
        )
        assert found is not None
        return found.id

    async def kept(self) -> tuple[str | None, str]:
        """The decision's outcome and the request's state, as the gate finds them."""

        def look(tx: Tx) -> tuple[str | None, str]:
            decision = approvals.decision(tx, self.decision_id)
            request = approvals.request(tx, self.request.id)
            assert decision is not None and request is not None
            return decision.outcome, request.request.state

        return await self.story.ledger.read(look)

    async def put_back(self, outcome: str | None, state: str) -> None:
        answers = schema.fallback_answers

        def unjudged(tx: Tx) -> None:
            tx.connection.execute(
                update(answers)
                .where(answers.c.seal.in_(self.seals))
                .values(step=None, refused=None)
            )
            tx.connection.execute(
                delete(schema.fallback_ends).where(schema.fallback_ends.c.by == prove.ACTOR)
            )

        await self.story.ledger.write(unjudged)
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
    story: Story, person: Person, *, approved: bool = True
) -> tuple[Authenticator, str]:
    holder = Authenticator(SITE.origin, SITE.host)
    answer = holder.make({"challenge": bytes_to_base64url(bytes(32))})
    made = passkey.register(answer, site=SITE, challenge=bytes(32))
    if approved:
        await story.ledger.write(lambda tx: linked(tx, person, made))
    else:
        await story.ledger.write(
            lambda tx: passkeys.add(tx, person.id, made, "Phone", actor="test")
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


async def a_number_in_the_pictures_description(scene: Scene) -> None:
    await scene.show("Call 760-329-2904.")
    await scene.decide()


async def without_a_reason(scene: Scene) -> None:
    await scene.say("Shelter: 1234 Oak St.")
    await scene.decide()


async def not_attested(scene: Scene) -> None:
    await scene.change_revision(attested=False)
    await scene.decide()


async def a_minute_late(scene: Scene) -> None:
    await scene.decide()
    scene.story.clock.move(seconds=60)


async def dated_ahead(scene: Scene) -> None:
    """So that it would be on time whenever a desk lets the gate hear of it."""
    await scene.decide()
    later = scene.story.clock.at + timedelta(minutes=5)
    await scene.set(schema.decisions, scene.decision_id, at=later)


async def kept_for_later(scene: Scene) -> None:
    """The phone was told that it was not sent; the desk gives the request more time."""
    held = scene.request
    scene.story.clock.move(minutes=15)
    later = held.expires_at + timedelta(minutes=10)
    await scene.set(schema.approval_requests, held.id, expires_at=later)
    await scene.decide(signed=held)


async def kept_until_command_came_back(scene: Scene) -> None:
    signed = scene.request.challenge(Verdict.APPROVED, scene.request.digest, await scene.epoch())
    await _commands(scene, scene.story.commander)
    await _commands(scene, scene.lee)
    await scene.decide(challenge=signed)


async def the_update_ran_out(scene: Scene) -> None:
    await scene.change_revision(expires_at=scene.story.clock.at + timedelta(seconds=10))
    await scene.decide()
    scene.story.clock.move(seconds=10)


async def the_request_ran_out(scene: Scene) -> None:
    scene.story.clock.at = scene.request.expires_at
    await scene.decide()


async def no_command_and_no_watch_commander(scene: Scene) -> None:
    await _commands(scene, None)
    await scene.decide()


async def a_passkey_that_is_copied(scene: Scene) -> None:
    scene.device_bound = True
    await scene.decide(phone=replace(scene.phone, flags=scene.phone.flags | MAY_BE_SYNCED))


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
    await scene.set(schema.passkeys, scene.key, approved_at=None)
    await scene.decide()


async def a_lost_phone(scene: Scene) -> None:
    await scene.story.ledger.write(lambda tx: passkeys.revoke(tx, scene.key, actor="test"))
    await scene.decide()


async def a_phone_whose_shift_is_over(scene: Scene) -> None:
    await scene.set(schema.passkeys, scene.key, approved_until=scene.story.clock.at)
    await scene.decide()


async def a_locked_person(scene: Scene) -> None:
    await _locked(scene)
    await scene.decide()


async def unlocked_after_it(scene: Scene) -> None:
    await a_locked_person(scene)
    scene.story.clock.move(seconds=1)
    await scene.story.ledger.write(lambda tx: unlocked(tx, scene.lee.id))


async def unlocked_by_the_desk_alone(scene: Scene) -> None:
    """Its tables say so, and nobody signed anything."""
    await _locked(scene)
    await _end_lock(scene, ended_by=scene.story.commander.id)
    await scene.decide()


async def _locked(scene: Scene) -> None:
    for _ in range(passkey.FAILURES):
        await scene.story.ledger.write(lambda tx: locks.failed(tx, scene.lee.id))


async def _end_lock(scene: Scene, **values: object) -> None:
    at = scene.story.clock.at

    def step(tx: Tx) -> None:
        tx.connection.execute(update(schema.locks).values(ended_at=at, **values))

    await scene.story.ledger.write(step)


async def is_unlocked(
    scene: Scene, roles: Sequence[Role] = (Role.SUPERVISOR,), *, linked: bool = True,
    own: bool = False, earlier: bool = False,
) -> None:  # fmt: skip
    """Lee was locked, and somebody's passkey says that this is over; but for what is named.

    `roles` and `linked`: whose passkey, and whether it is vouched for; `own`: Lee's, who has these
    roles, too; `earlier`: it signed the end of another lock.
    """
    story = scene.story
    await _locked(scene)
    if own:
        held = " ".join([Role.COMMANDER, *roles])
        await scene.set(schema.people, scene.lee.id, roles=held)
        phone, key = scene.phone, scene.key
    else:
        by = await story.ledger.write(lambda tx: people.add(tx, "Sgt Cole", roles, actor="test"))
        phone, key = await a_phone(story, by, approved=linked)
    [lock] = await story.ledger.read(lambda tx: passkeys.locks_of(tx, scene.lee.id))
    meant = lock.model_copy(update={"at": NOW - timedelta(days=1)}) if earlier else lock
    challenge = bytes_to_base64url(passkey.unlock_challenge(meant))
    proof = phone.prove({"challenge": challenge, "allowCredentials": [{"id": key}]})
    await _end_lock(scene, proof=json.dumps(proof))
    await scene.decide()


async def unlocked_by_who_may_not(scene: Scene) -> None:
    await is_unlocked(scene, [Role.PIO])


async def unlocked_by_themselves(scene: Scene) -> None:
    await is_unlocked(scene, own=True)


async def unlocked_by_the_answer_to_another_lock(scene: Scene) -> None:
    await is_unlocked(scene, earlier=True)


async def unlocked_by_a_phone_that_nobody_vouches_for(scene: Scene) -> None:
    await is_unlocked(scene, linked=False)


async def unlocked_by_a_practice_passkey_in_the_live_world(scene: Scene) -> None:
    await _locked(scene)
    await scene.story.ledger.write(lambda tx: unlocked(tx, scene.lee.id))
    await of_the_live_world(scene)
    scene.world = "live"


async def a_phone_approved(
    scene: Scene, roles: Sequence[Role] = (Role.SUPERVISOR,), *, signs: str | None = None,
    linked: bool = True, own: bool = False, then: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """Lee's second phone, of which the desk's tables say that somebody has approved it.

    `roles` and `linked`: whose, and whether their own device is vouched for; `signs`: another
    device than this one; `own`: Lee themselves, who is given these roles; `then`: what becomes of
    the device that approved.
    """
    story, write = scene.story, scene.story.ledger.write
    if own:
        held = " ".join([Role.COMMANDER, *roles])
        await scene.set(schema.people, scene.lee.id, roles=held)
        by, phone, key = scene.lee, scene.phone, scene.key
    else:
        by = await write(lambda tx: people.add(tx, "Sgt Cole", roles, actor="test"))
        phone, key = await a_phone(story, by, approved=linked)
    scene.phone, scene.key = await a_phone(story, scene.lee, approved=False)

    def step(tx: Tx) -> None:
        device = passkeys.known(tx, scene.key)
        meant = device.model_copy(update={"id": signs or device.id})
        challenge = bytes_to_base64url(passkey.device_challenge(meant, None))
        proof = phone.prove({"challenge": challenge, "allowCredentials": [{"id": key}]})
        passkeys.approve(tx, device, proof, until=None, actor=by.id)

    await write(step)
    if then is not None:
        await scene.set(schema.passkeys, key, **then)
    await scene.decide()


async def a_phone_that_the_desk_approved(scene: Scene) -> None:
    """Its tables say so, and nobody signed anything."""
    scene.phone, scene.key = await a_phone(scene.story, scene.lee, approved=False)
    await scene.set(schema.passkeys, scene.key, approved_at=scene.story.clock.at, approved_by="x")
    await scene.decide()


async def a_phone_approved_by_who_may_not(scene: Scene) -> None:
    await a_phone_approved(scene, [Role.PIO])


async def a_phone_approved_by_its_owner(scene: Scene) -> None:
    await a_phone_approved(scene, own=True)


async def approved_by_a_phone_that_is_lost(scene: Scene) -> None:
    await a_phone_approved(scene, then={"revoked_at": NOW})


async def approved_by_a_phone_that_is_lent(scene: Scene) -> None:
    await a_phone_approved(scene, then={"approved_until": NOW + timedelta(hours=9)})


async def the_approval_of_another_phone(scene: Scene) -> None:
    await a_phone_approved(scene, signs="another")


async def approved_by_a_phone_that_nobody_vouches_for(scene: Scene) -> None:
    then = {"approved_at": NOW, "approved_by": "x"}
    await a_phone_approved(scene, linked=False, then=then)


async def approved_by_a_practice_passkey_in_the_live_world(scene: Scene) -> None:
    def step(tx: Tx) -> None:
        practised = people.add(tx, "Sgt Cole", [Role.SUPERVISOR], actor="test", practice=True)
        device = passkeys.known(tx, scene.key)
        challenge = passkey.device_challenge(device, None)
        proof = passkeys.practice_answer(tx, practised.id, site=SITE, challenge=challenge)
        assert proof is not None
        passkeys.approve(tx, device, proof, until=None, actor=practised.id)

    scene.phone, scene.key = await a_phone(scene.story, scene.lee, approved=False)
    await scene.story.ledger.write(step)
    await of_the_live_world(scene)
    scene.world = "live"


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


async def it_is_over(scene: Scene) -> None:
    await scene.decide()
    await scene.story.reported(status="Closed", reported_at=scene.story.clock.at + timedelta(1))


async def kept_though_it_is_over(scene: Scene) -> None:
    await scene.decide(keeps=facts_digest([Change(name="status", was="open", now="closed")]))
    await scene.story.reported(status="Closed", reported_at=scene.story.clock.at + timedelta(1))


async def kept_and_somewhere_else_again(scene: Scene) -> None:
    """Lapsed for one place, kept knowing that; and now it is another place."""
    await scene.story.reported(place="Elm St", reported_at=scene.story.clock.at + timedelta(1))
    await scene.decide(keeps=facts_digest([_moved(scene, "Elm St")]))
    await scene.story.reported(place="Palm Dr", reported_at=scene.story.clock.at + timedelta(2))


async def approved_and_not_kept(scene: Scene) -> None:
    """The Commander signed an approval and knew of no change; the desk says that they did."""
    await scene.story.reported(place="Elm St", reported_at=scene.story.clock.at + timedelta(1))
    await scene.decide(keeps=facts_digest([_moved(scene, "Elm St")]), signs_keeps=False)


def _moved(scene: Scene, to: str) -> Change:
    return Change(name="place", was=scene.submitted.revision.words.place.fact_value, now=to)


async def taken_back_again(scene: Scene, order: Person | None = None, **fields: Any) -> None:
    """What is out is taken back, in the words approved for that; `fields`: but for these."""
    await scene.decide()
    assert await scene.judged() == "released"
    base, release = scene.submitted.revision, await scene.release()
    story, who = scene.story, order or scene.story.pio
    retraction = retraction_of(base, release, base.channels, id="retraction", number=2,
                               update_id="its-update", compiled_at=story.clock.at)  # fmt: skip
    said = retraction.model_copy(update=fields)

    def step(tx: Tx) -> tuple[Submitted, str]:
        update_id = approvals.add_update(tx, base.incident_id, 2, UpdateKind.RETRACTION)
        revision = said.model_copy(update={"update_id": update_id})
        approvals.add_revision(tx, revision)
        held = Command()
        request = approvals.open_request(tx, revision, held)
        approvals.end_request(tx, request, RequestState.APPROVED, None)
        decision = Decision(
            id=str(uuid4()), request_id=request.id, person_id=who.id, verdict=Verdict.APPROVED,
            digest=revision.digest, reason=None, at=tx.now,
        )  # fmt: skip
        approvals.add_decision(tx, decision, held, "take-back", None)
        return Submitted(revision, request), decision.id

    scene.submitted, scene.decision_id = await story.ledger.write(step)


async def taken_back_in_other_words(scene: Scene) -> None:
    other = Rendering(channel=PAGE.name, headline="Gas leak", text="Go home.")
    await taken_back_again(scene, renderings=(other,))


async def taken_back_by_who_may_not(scene: Scene) -> None:
    lund = await scene.story.ledger.write(
        lambda tx: people.add(tx, "Lund", [Role.RECORDS], actor="test")
    )
    await taken_back_again(scene, lund)


async def taking_back_declined(scene: Scene) -> None:
    await taken_back_again(scene)
    await scene.set(schema.decisions, scene.decision_id, verdict="declined")


async def taken_back_in_words_rewritten_since(scene: Scene) -> None:
    """In what was approved, too, as the ledger has it by now."""
    base = scene.submitted.revision
    other = tuple(each.model_copy(update={"text": "Go home."}) for each in base.retraction)
    await taken_back_again(scene, renderings=other)
    body = base.model_copy(update={"retraction": other}).model_dump_json()
    await scene.set(schema.revisions, base.id, body=body)


async def taken_back_in_no_words(scene: Scene) -> None:
    """Of what was approved before a retraction was prepared with it."""
    await scene.change_revision(retraction=())
    await taken_back_again(scene)


async def taken_back_with_a_number(scene: Scene) -> None:
    said = scene.submitted.revision.retraction
    await scene.change_revision(retraction=tuple(
        each.model_copy(update={"text": "SSN 123-45-6789."}) for each in said
    ))  # fmt: skip
    await taken_back_again(scene)


async def refused_before(scene: Scene) -> None:
    """By a gate; then what was wrong is mended, and the message comes again."""
    await a_lost_phone(scene)
    assert await scene.judged() == "passkey_revoked"
    await scene.set(schema.passkeys, scene.key, revoked_at=None)


# --- Of a notice ---


async def a_notice(scene: Scene, text: str = "Coffee with an officer.", **guideline: Any) -> str:
    """The scene's words are a notice's now, that a guideline covers but for what is named."""
    story = scene.story
    terms: dict[str, Any] = {
        "members": [story.pio.id], "roles": [], "channels": ["public_page", "county"],
        "until": story.clock.at + timedelta(hours=1), "text": "Events.", "granted_by": "chief",
    } | guideline  # fmt: skip
    topic = terms.pop("topic", Topic.ANNOUNCEMENT)

    def begun(tx: Tx) -> Submitted:
        it = notices.begin(tx, Topic.ANNOUNCEMENT, "Coffee with a cop", "The city", story.pio)
        order = SubmitRevision(
            incident_id=it.id, channels=tuple(each.name for each in CHANNELS), attested=True,
            no_open_incident=True,
            words=notices.words(it, department="DHSPD", text=text, zone=ZONE, now=tx.now),
        )  # fmt: skip
        return submit_revision(tx, order, story.pio, list(CHANNELS))

    scene.submitted = await story.ledger.write(begun)
    kept = await story.ledger.write(lambda tx: guidelines.grant(tx, topic, actor="test", **terms))
    return kept.id


async def on_its_word(scene: Scene, guideline_id: str, person: Person | None = None) -> None:
    """A decision by guideline, with the passkey of whoever compiled it, or of `person`."""
    who = person or scene.story.pio
    scene.phone, scene.key = await a_phone(scene.story, who)
    await scene.decide(who)
    await scene.set(schema.decisions, scene.decision_id, guideline_id=guideline_id)


async def on_its_word_and_nobodys(scene: Scene) -> None:
    """The desk says that a member submitted it, and no passkey does."""
    await on_its_word(scene, await a_notice(scene))
    await scene.set(schema.decisions, scene.decision_id, proof=None)


async def on_its_word_with_a_passkey_that_is_copied(scene: Scene) -> None:
    kept = await a_notice(scene)
    scene.device_bound = True
    phone, scene.key = await a_phone(scene.story, scene.story.pio)
    copied = replace(phone, flags=phone.flags | MAY_BE_SYNCED)
    await scene.decide(scene.story.pio, phone=copied)
    await scene.set(schema.decisions, scene.decision_id, guideline_id=kept)


async def an_incident_on_a_guidelines_word(scene: Scene) -> None:
    about = scene.submitted
    kept = await a_notice(scene)
    scene.submitted = about
    await on_its_word(scene, kept)


async def on_a_guideline_that_was_ended(scene: Scene) -> None:
    kept = await a_notice(scene)

    def end(tx: Tx) -> None:
        held = guidelines.get(tx, kept)
        assert held is not None
        guidelines.end(tx, held, ended_by=scene.story.pio.id, actor="test")

    await scene.story.ledger.write(end)
    await on_its_word(scene, kept)


async def on_a_guideline_whose_time_is_over(scene: Scene) -> None:
    await on_its_word(scene, await a_notice(scene, until=scene.story.clock.at))


async def of_another_topic(scene: Scene) -> None:
    await on_its_word(scene, await a_notice(scene, topic=Topic.RECRUITMENT))


async def on_a_channel_that_it_does_not_name(scene: Scene) -> None:
    await on_its_word(scene, await a_notice(scene, channels=["public_page"]))


async def by_a_member_whom_it_does_not_name(scene: Scene) -> None:
    await on_its_word(scene, await a_notice(scene, members=[scene.lee.id], roles=[Role.CHIEF]))


async def with_a_finding_that_has_a_reason(scene: Scene) -> None:
    kept = await a_notice(scene)
    await scene.say("At 1234 Oak St.", policy_reasons={"house-number": "The library's own."})
    await on_its_word(scene, kept)


async def with_a_picture_that_nobody_saw(scene: Scene) -> None:
    kept = await a_notice(scene)
    await scene.show("A map of the library.")
    await on_its_word(scene, kept)


async def mended_by_somebody_since(scene: Scene) -> None:
    kept = await a_notice(scene)
    await scene.tamper(edited_by=scene.lee.id)
    await on_its_word(scene, kept)


async def submitted_by_somebody_else(scene: Scene) -> None:
    await on_its_word(scene, await a_notice(scene), scene.story.commander)


async def authority_taken_back_since(scene: Scene) -> None:
    kept = await a_notice(scene)
    await scene.story.ledger.write(
        lambda tx: tx.connection.execute(update(schema.authorities).values(revoked_at=tx.now))
    )
    await on_its_word(scene, kept)


async def training_lapsed_since(scene: Scene) -> None:
    kept = await a_notice(scene)
    await scene.story.ledger.write(
        lambda tx: tx.connection.execute(update(schema.trainings).values(expires_at=tx.now))
    )
    await on_its_word(scene, kept)


async def an_open_incident_is_named(scene: Scene) -> None:
    kept = await a_notice(scene, "Keep away from Elm St.")
    await scene.story.reported("2026-9", place="Elm St")
    await on_its_word(scene, kept)


async def nobody_states_that_it_is_about_none(scene: Scene) -> None:
    kept = await a_notice(scene)
    await scene.tamper(no_open_incident=False)
    await on_its_word(scene, kept)


async def a_notice_by_no_supervisor(scene: Scene) -> None:
    await a_notice(scene)
    await scene.decide()


# --- By voice ---


async def heard_where_it_is_off(scene: Scene) -> None:
    scene.by_voice = False
    await scene.hear()


async def heard_where_nobody_commands(scene: Scene) -> None:
    await scene.set(schema.people, scene.lee.id, roles=str(Role.WATCH_COMMANDER))
    await _commands(scene, None)
    await scene.hear()


async def heard_by_the_compiler(scene: Scene) -> None:
    await scene.hear(scene.story.pio, reader_id=(await scene.added("B. Cruz", Role.PIO)).id)


async def read_by_who_may_not(scene: Scene) -> None:
    """The listener reads it alone, and names somebody who compiles nothing."""
    await scene.hear(reader_id=(await scene.added("Ofc. Bell", Role.RECORDS)).id)


async def heard_of_a_locked_commander(scene: Scene) -> None:
    await _locked(scene)
    await scene.hear()


async def a_picture_was_not_seen(scene: Scene) -> None:
    await scene.show("A map of the library.")
    await scene.hear()


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


# --- Where both Commanders must approve ---


async def both_approve(
    scene: Scene, *, by: Person | None = None, moves: bool = False, late: bool = False,
    digest: str | None = None, compiler: bool = False, copied: bool = False,
    taken_back: bool = False,
) -> None:  # fmt: skip
    """Lee's decision completes the assent of Capt Cho, who commands, too; but for what is named.

    `by`: whose assent it is; `moves`: command, between the two; `late`: the assent is from after
    the request's time; `digest`: what it signs; `compiler`: who commands with Lee; `copied`: its
    passkey, between devices; `taken_back`: it was, and the desk gave the request its nonce again.
    """
    story, write = scene.story, scene.story.ledger.write
    cho = story.pio if compiler else await scene.added("Capt Cho", Role.COMMANDER)
    if compiler:
        await scene.set(schema.people, cho.id, roles="commander pio")
    who = by or cho
    phone, key = (scene.phone, scene.key) if who == scene.lee else await a_phone(story, who)
    if copied:
        phone = replace(phone, flags=phone.flags | MAY_BE_SYNCED)
    request, shown = scene.request, digest or scene.request.digest
    signed = request.challenge(Verdict.APPROVED, shown, await scene.epoch() + 1)
    proof = phone.prove({
        "challenge": bytes_to_base64url(signed), "allowCredentials": [{"id": key}],
    })  # fmt: skip

    def step(tx: Tx) -> None:
        record_command(tx, request.incident_id, scene.lee.id, story.pio, with_id=cho.id, both=True)
        kept = incidents.get(tx, request.incident_id)
        assert kept is not None
        assent = Assent(
            id="assent", request_id=request.id, person_id=who.id, nonce=request.nonce, keeps=None,
            digest=request.digest, epoch=kept.incident.command.epoch, proof=proof,
            at=request.expires_at if late else tx.now,
        )  # fmt: skip
        assents.add(tx, assent, "no-key-at-all", "")
        if taken_back:
            assents.end(tx, request, assent, by=who.id)
        if moves:
            record_command(
                tx, request.incident_id, scene.lee.id, story.pio, with_id=cho.id, both=True
            )

    await write(step)
    if taken_back:
        await scene.set(schema.approval_requests, request.id, nonce=request.nonce)
    story.clock.move(seconds=1)
    await scene.decide()
    await scene.set(schema.decisions, scene.decision_id, assent_id="assent")


async def one_of_two_alone(scene: Scene) -> None:
    await both_approve(scene)
    await scene.set(schema.decisions, scene.decision_id, assent_id=None)


async def one_of_two_twice(scene: Scene) -> None:
    await both_approve(scene, by=scene.lee)


async def one_of_two_and_a_third(scene: Scene) -> None:
    await both_approve(scene, by=await scene.added("Lt Third", Role.COMMANDER))


async def the_other_before_command_moved(scene: Scene) -> None:
    await both_approve(scene, moves=True)


async def the_other_came_too_late(scene: Scene) -> None:
    await both_approve(scene, late=True)


async def the_other_took_it_back(scene: Scene) -> None:
    await both_approve(scene, taken_back=True)


async def the_other_signed_other_words(scene: Scene) -> None:
    await both_approve(scene, digest="0" * 64)


async def the_others_passkey_is_copied(scene: Scene) -> None:
    scene.device_bound = True
    await both_approve(scene, copied=True)


async def the_other_compiled_the_words(scene: Scene) -> None:
    await both_approve(scene, compiler=True)


async def heard_of_one_of_two(scene: Scene) -> None:
    await both_approve(scene)
    await scene.story.ledger.write(lambda tx: tx.connection.execute(delete(schema.decisions)))
    await scene.hear()
    await scene.set(schema.decisions, scene.decision_id, assent_id="assent")


# --- By PIN and code ---


async def typed_for_another_request(scene: Scene) -> None:
    await scene.type(about=scene.request.model_copy(update={"id": "another"}))


async def typed_by_another(scene: Scene) -> None:
    await scene.type(of=scene.story.commander)


async def typed_by_who_may_no_longer(scene: Scene) -> None:
    allowed = await scene.type()
    await scene.judged_alone()
    await scene.story.ledger.write(
        lambda tx: fallbacks.end(tx, allowed, ended_by="chief", actor="test")
    )


async def typed_when_its_time_was_over(scene: Scene) -> None:
    """The gate took what was typed; the desk decided with it later."""
    await scene.type(lasts=timedelta(seconds=1))
    await scene.judged_alone()
    scene.story.clock.move(seconds=1)
    await scene.set(schema.decisions, scene.decision_id, at=scene.story.clock.at)


async def typed_by_a_locked_person(scene: Scene) -> None:
    await scene.type()
    await scene.judged_alone()
    await _locked(scene)


async def typed_long_before(scene: Scene) -> None:
    """The gate took the code, and the desk kept it for later."""
    await scene.type()
    await scene.judged_alone()
    scene.story.clock.move(seconds=60)
    await scene.set(schema.decisions, scene.decision_id, at=scene.story.clock.at)


async def a_wrong_pin(scene: Scene) -> None:
    await scene.type(pin="975310")


async def a_code_shown_long_ago(scene: Scene) -> None:
    """A desk that saw one dates it back, and the decision with it."""
    await scene.type(ago=40)


async def guessed_too_often(scene: Scene) -> None:
    await scene.type(wrong_before=fallback.MOST_WRONG)


# --- From outside ---


async def a_guest(
    scene: Scene, roles: Sequence[Role] = (Role.WATCH_COMMANDER,), *,
    then: Mapping[str, object] | None = None, decides: bool = True, **fields: Any,
) -> None:  # fmt: skip
    """Somebody from outside commands and decides in Lee's place; `fields` are signed otherwise.

    `roles`: of who enrols them; `then`: how their row is rewritten afterwards.
    """
    story, now, incident_id = scene.story, scene.story.clock.at, scene.request.incident_id
    by = await scene.added("Lt Kim", roles[0])
    by_phone, by_key = await a_phone(story, by)
    order = EnrolGuest(**{
        "incident_id": incident_id, "person_id": str(uuid4()), "name": "Capt Diaz, Palm Fire",
        "token": "t" * 32, "at": now, "until": now + timedelta(hours=8),
    } | fields)  # fmt: skip
    guest = order.guest
    challenge = bytes_to_base64url(passkey.guest_challenge(guest))
    proof = by_phone.prove({"challenge": challenge, "allowCredentials": [{"id": by_key}]})
    scene.phone = Authenticator(SITE.origin, SITE.host)
    made = passkey.register(scene.phone.make({"challenge": bytes_to_base64url(bytes(32))}),
                            site=SITE, challenge=bytes(32))  # fmt: skip
    scene.key = made.id

    def step(tx: Tx) -> Person:
        guests.add(tx, guest, proof, actor=by.id)
        guests.use_link(tx, guest, order.token, made.id)
        passkeys.add(tx, guest.person_id, made, "Phone", actor="test", approved_by=passkeys.LINK)
        kept = incidents.lock(tx, incident_id)
        assert kept is not None
        move(tx, kept.incident, [guest.person_id], How.RECORDED, actor=by.id)
        if then is not None:
            table = schema.guests
            tx.connection.execute(
                update(table).where(table.c.person_id == guest.person_id).values(**then)
            )
        person = people.get(tx, guest.person_id)
        assert person is not None
        return person

    scene.lee = await story.ledger.write(step)
    if decides:
        await scene.decide()


async def a_guest_of_another_incident(scene: Scene) -> None:
    await a_guest(scene, incident_id=await scene.story.reported("2026-9"))


async def a_guest_whose_time_is_over(scene: Scene) -> None:
    await a_guest(scene, until=scene.story.clock.at)


async def a_guest_who_was_signed_for_a_week(scene: Scene) -> None:
    at = scene.story.clock.at - timedelta(hours=13)
    await a_guest(scene, at=at, until=at + timedelta(days=7))


async def a_guest_who_was_ended(scene: Scene) -> None:
    await a_guest(scene)

    def end(tx: Tx) -> None:
        guest = guests.of(tx, scene.lee.id)
        assert guest is not None
        guests.end(tx, guest, actor=scene.story.commander.id)

    await scene.story.ledger.write(end)


async def a_guest_of_an_incident_that_is_closed(scene: Scene) -> None:
    await scene.change_revision(kind=UpdateKind.ALL_CLEAR)
    await a_guest(scene)
    later = scene.story.clock.at + timedelta(seconds=1)
    await scene.story.reported(status=Status.CLOSED, reported_at=later)


async def a_guest_enrolled_by_who_may_not(scene: Scene) -> None:
    await a_guest(scene, [Role.COMMANDER])


async def a_guest_under_another_name(scene: Scene) -> None:
    await a_guest(scene)
    await scene.set(schema.people, scene.lee.id, name="Capt Roe, Palm Fire")


async def a_guests_other_phone(scene: Scene) -> None:
    await a_guest(scene, decides=False)
    scene.phone, scene.key = await a_phone(scene.story, scene.lee, approved=False)
    await scene.set(schema.passkeys, scene.key, approved_at=NOW, approved_by=passkeys.LINK)
    await scene.decide()


async def a_guest_whose_link_nobody_held(scene: Scene) -> None:
    await a_guest(scene, then={"token": "u" * 32})


async def a_guest_whom_nobody_signed_for(scene: Scene) -> None:
    """The desk's tables say that they practise."""
    await a_guest(scene, then={"approval": "{}"})
    await scene.set(schema.passkeys, scene.key, private_key=b"the desk's own")


async def a_guest_was_heard(scene: Scene) -> None:
    await a_guest(scene, decides=False)
    await scene.hear()


async def a_commander_who_is_none_any_more(scene: Scene) -> None:
    """Whom the desk's tables still call the Commander; the roster does not."""
    await _is_now(scene, Role.STAFF)
    await scene.decide()


async def heard_of_one_who_left_the_roster(scene: Scene) -> None:
    await _is_now(scene)
    await scene.hear()


async def _is_now(scene: Scene, *given: Role) -> None:
    lee, pio = scene.lee.id, scene.story.pio.id
    await scene.story.ledger.write(lambda tx: roles.change(tx, lee, given, by=pio))


async def _commands(scene: Scene, person: Person | None) -> None:
    incident, pio = scene.request.incident_id, scene.story.pio
    await scene.story.ledger.write(
        lambda tx: record_command(tx, incident, person.id if person else None, pio)
    )
    scene.story.clock.move(seconds=1)


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
COMMANDER = (approval, "_no_commander")
POLICY, FOUND = (approval, "_policy"), (approval, "policy_objection")
SCREENED = (approval, "_screened")
STILL, TIME, FACTS = (approval, "_still_objected"), (approval, "_time"), (approval, "_facts")
KEY, USABLE, SHIFT = (passkey, "objection"), (Passkey, "usable"), (Passkey, "over")
ANSWERS, VOUCHED = (passkey, "_answers"), (passkey, "vouched")
CHANGED, LAPSES = (update_module, "changed_facts"), (update_module, "lapses_by")
STAND, OVER = (update_module, "may_stand"), (update_module, "is_over")
PROOF, DEVICE, COPIED = (approval, "_proof"), (approval, "_device"), (approval, "_copied")
OTHER, OWN = (approval, "assent_objection"), (approval, "_one_compiled")
TAKE = (approval, "take_back")
OUTSIDE, NO_INCIDENT = (approval, "_outside"), (approval, "_no_incident")
STRICTLY, ABOUT = (guideline, "objection"), (guideline, "about_an_incident")
HOLDS, NAMES = (guideline.Guideline, "holds"), (guideline.Guideline, "names")
MEMBER = (authority, "objection")
HOLDS_OUT, MADE, GUESTS = (Guest, "holds"), (Guest, "made"), (Guest, "objection")
HEARD, MATCHES = (voice, "objection"), (voice, "matches")
TYPED, LASTS = (fallback, "objection"), (Allowance, "holds")
STEP_IN, TAKEN = (fallback, "step_in"), (prove, "_judged")
HOLD, UNLOCKED = (passkey, "holds"), (passkey, "_unlocked")
NONCE, SIGNED = (approval, "_nonce"), (ApprovalRequest, "challenge")
JUDGE, COMMAND = (gate, "judge_decision"), (gate, "_command_then")

CHECKS = [
    Check(DECIDE, "case.request.state == case.verdict ==", "case.verdict ==", taken_back,
          "not_approved"),
    Check(DECIDE, "== case.verdict == Verdict.APPROVED", "== case.verdict", declined,
          "not_approved"),
    Check(DECIDE, "refusal := _still_objected(case) or assent_objection(case)",
          "refusal := assent_objection(case)", its_own_compiler, "own_words"),
    Check(DECIDE, "or assent_objection(case)", "", one_of_two_alone, "both_must_approve"),
    Check(OTHER, "assent.person_id == case.person.id", "False", one_of_two_twice,
          "both_must_approve"),
    Check(OTHER, "not case.command.held_by(assent.person_id)", "False", one_of_two_and_a_third,
          "both_must_approve"),
    Check(OTHER, "assent.epoch != case.command.epoch", "False", the_other_before_command_moved,
          "both_must_approve"),
    Check(OTHER, "assent.at >= request.expires_at", "False", the_other_came_too_late,
          "both_must_approve"),
    Check(OTHER, "if unproven else None", "if False else None", the_other_signed_other_words,
          "both_must_approve"),
    Check(OTHER, "or _copied(case.assent_bound, assent.proof)", "",
          the_others_passkey_is_copied, "both_must_approve"),
    Check(STILL, "_one_compiled, ", "", the_other_compiled_the_words, "one_compiled"),
    Check(OWN, "case.command.held_by(case.revision.compiled_by)", "False",
          the_other_compiled_the_words, "one_compiled"),
    Check(HEARD, "if both:", "if False:", heard_of_one_of_two, "voice_of_both"),
    Check(DECIDE, "case.revision.world != world", "False", of_the_live_world, "wrong_world"),
    Check(DECIDE, "refusal := _policy(case.revision, contact)", "refusal := None", a_number,
          "policy_blocked"),
    Check(DECIDE, "now - case.at >= GATE_MAY_BE_LATE", "False", a_minute_late, "gate_late"),
    Check(DECIDE, "case.at - now > CLOCKS_DIFFER", "False", dated_ahead, "decided_ahead"),
    Check(SIGNED, "until=self.expires_at", "until=self.created_at + timedelta(minutes=10)",
          kept_for_later, "passkey_not_proven"),
    Check(PROOF, "case.command.epoch, case.keeps)", "1, case.keeps)",
          kept_until_command_came_back, "passkey_not_proven"),
    Check(DECIDE, "now >= case.revision.expires_at", "False", the_update_ran_out,
          "update_expired"),
    Check(STILL, "_time, ", "", the_request_ran_out, "request_expired"),
    Check(STILL, "_nonce, ", "", the_other_took_it_back, "assent_taken_back"),
    Check(NONCE, "not case.taken_back", "True", the_other_took_it_back, "assent_taken_back"),
    Check(STILL, "person_objection, ", "", its_own_compiler, "own_words"),
    Check(STILL, "_words, ", "", other_words_seen, "words_changed"),
    Check(STILL, "_proof, ", "", somebody_elses_phone, "passkey_unknown"),
    Check(STILL, "_device, ", "", a_passkey_that_is_copied, "passkey_synced"),
    Check(STILL, "_proof, ", "", on_its_word_and_nobodys, "passkey_missing"),
    Check(STILL, "_device, ", "", on_its_word_with_a_passkey_that_is_copied, "passkey_synced"),
    Check(DEVICE, "_copied(case.device_bound, case.proof)", "None", a_passkey_that_is_copied,
          "passkey_synced"),
    Check(COPIED, "(bound and passkey.may_be_copied(proof))", "False",
          a_passkey_that_is_copied, "passkey_synced"),
    Check(STILL, "_facts, ", "", it_is_somewhere_else_now, "facts_changed"),
    Check(TIME, "case.at >= case.request.expires_at", "False", the_request_ran_out,
          "request_expired"),
    Check(PERSON, "case.person.id == case.revision.compiled_by", "False", its_own_compiler,
          "own_words"),
    Check(PERSON, "Role.WATCH_COMMANDER in case.person.roles", "True",
          no_command_and_no_watch_commander, "not_the_commander"),
    Check(PERSON, "case.command.held_by(case.person.id)", "True", another_commands,
          "command_moved"),
    Check(PERSON, "return _no_commander(case)", "return None", a_commander_who_is_none_any_more,
          "cannot_command"),
    Check(COMMANDER, "may_command(case.person)", "True", heard_of_one_who_left_the_roster,
          "cannot_command"),
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
    Check(KEY, "passkey.over(at)", "False", a_phone_whose_shift_is_over, "passkey_over"),
    Check(SHIFT, "at >= self.approved_until", "False", a_phone_whose_shift_is_over,
          "passkey_over"),
    Check(KEY, "locked(passkey.locks, at, site=site, world=world)", "False", a_locked_person,
          "locked_out"),
    Check(HOLD, "at < lock.ended_at or", "", unlocked_after_it, "locked_out"),
    Check(HOLD, "or not _unlocked(lock, site, world)", "", unlocked_by_the_desk_alone,
          "locked_out"),
    Check(UNLOCKED, "and lock.by_may", "", unlocked_by_who_may_not, "locked_out"),
    Check(UNLOCKED, "and by.person_id != lock.person_id", "", unlocked_by_themselves,
          "locked_out"),
    Check(UNLOCKED, 'and not (by.practice and world != "exercise")', "",
          unlocked_by_a_practice_passkey_in_the_live_world, "locked_out"),
    Check(UNLOCKED, "_answers(lock", "(lambda *_: True)(lock",
          unlocked_by_the_answer_to_another_lock, "locked_out"),
    Check(UNLOCKED, "and vouched(by, site=site, world=world)", "",
          unlocked_by_a_phone_that_nobody_vouches_for, "locked_out"),
    Check(KEY, "not vouched(passkey, site=site, world=world)", "False",
          a_phone_that_the_desk_approved, "passkey_not_vouched"),
    Check(VOUCHED, "and device.voucher_may", "", a_phone_approved_by_who_may_not,
          "passkey_not_vouched"),
    Check(VOUCHED, "and by.usable", "", approved_by_a_phone_that_is_lost,
          "passkey_not_vouched"),
    Check(VOUCHED, "and by.approved_until is None", "", approved_by_a_phone_that_is_lent,
          "passkey_not_vouched"),
    Check(VOUCHED, "and by.person_id != device.person_id", "", a_phone_approved_by_its_owner,
          "passkey_not_vouched"),
    Check(VOUCHED, "_answers(device", "(lambda *_: True)(device", the_approval_of_another_phone,
          "passkey_not_vouched"),
    Check(VOUCHED, "and vouched(by, site=site, world=world)", "",
          approved_by_a_phone_that_nobody_vouches_for, "passkey_not_vouched"),
    Check(VOUCHED, 'and not (by.practice and world != "exercise")', "",
          approved_by_a_practice_passkey_in_the_live_world, "passkey_not_vouched"),
    Check(VOUCHED, "and device.voucher_may", "", a_guest_enrolled_by_who_may_not,
          "passkey_not_vouched"),
    Check(VOUCHED, "_answers(device", "(lambda *_: True)(device", a_guest_under_another_name,
          "passkey_not_vouched"),
    Check(VOUCHED, "device.guest is None and", "", a_guest_whom_nobody_signed_for,
          "passkey_not_vouched"),
    Check(VOUCHED, "not device.guest.made(device.id)", "False", a_guests_other_phone,
          "passkey_not_vouched"),
    Check(MADE, "self.passkey_id == passkey_id", "True", a_guests_other_phone,
          "passkey_not_vouched"),
    Check(MADE, 'hashed(self.token or "") == self.token_hash', "True",
          a_guest_whose_link_nobody_held, "passkey_not_vouched"),
    Check(KEY, "refusal := passkey.guest.objection(incident_id, at)", "refusal := None",
          a_guest_of_another_incident, "guest_elsewhere"),
    Check(GUESTS, "incident_id != self.incident_id", "False", a_guest_of_another_incident,
          "guest_elsewhere"),
    Check(GUESTS, "not self.holds(at)", "False", a_guest_whose_time_is_over, "guest_over"),
    Check(HOLDS_OUT, "at < last", "True", a_guest_whose_time_is_over, "guest_over"),
    Check(HOLDS_OUT, "min(self.until, self.at + LONGEST_STAY)", "self.until",
          a_guest_who_was_signed_for_a_week, "guest_over"),
    Check(HOLDS_OUT, "and not self.ended", "", a_guest_who_was_ended, "guest_over"),
    Check(HOLDS_OUT, "and not self.closed", "", a_guest_of_an_incident_that_is_closed,
          "guest_over"),
    Check(PROOF, "case.voice is not None and case.person.outside", "False", a_guest_was_heard,
          "voice_from_outside"),
    Check(PROOF, "case.voice is not None and case.revision.pictures", "False",
          a_picture_was_not_seen, "voice_picture_unseen"),
    Check(KEY, "not _answers(answer, passkey, site, challenge)", "False", signed_by_another_key,
          "passkey_not_proven"),
    Check(ANSWERS, "expected_challenge=challenge", "expected_challenge=challenge_in(answer)",
          an_answer_to_another_request, "passkey_not_proven"),
    Check(ANSWERS, "[site.origin, *site.apps]", f'"{ELSEWHERE.origin}"',
          on_another_site, "passkey_not_proven"),
    Check(ANSWERS, "expected_rp_id=site.host", f'expected_rp_id="{ELSEWHERE.host}"',
          for_another_host, "passkey_not_proven"),
    Check(ANSWERS, "require_user_verification=True", "require_user_verification=False",
          without_a_finger, "passkey_not_proven"),
    Check(PROOF, "case.command.epoch, case.keeps)", "case.command.epoch)",
          approved_and_not_kept, "passkey_not_proven"),
    Check(FACTS, "may_stand(changes, case.keeps)", "True", it_is_something_else_now,
          "facts_changed"),
    Check(STAND, "not changes or (keeps", "True or (keeps", it_is_somewhere_else_now,
          "facts_changed"),
    Check(STAND, "keeps == facts_digest(changes)", "keeps", kept_and_somewhere_else_again,
          "facts_changed"),
    Check(STAND, "not is_over(changes)", "True", kept_though_it_is_over, "facts_changed"),
    Check(OVER, 'change.name == "status"', "False", kept_though_it_is_over, "facts_changed"),
    Check(LAPSES, "revision.kind is UpdateKind.UPDATE and", "False and", it_is_over,
          "facts_changed"),
    Check(LAPSES, 'facts.get("status") == CLOSED', "False", it_is_over, "facts_changed"),
    Check(CHANGED, '("type", "place")', '("place",)', it_is_something_else_now, "facts_changed"),
    Check(CHANGED, '("type", "place")', '("type",)', it_is_somewhere_else_now, "facts_changed"),
    Check(CHANGED, "facts.get(phrase.fact) != phrase.fact_value", "False",
          it_is_somewhere_else_now, "facts_changed"),
    Check(TAKE, "require(order.person, Act.TAKE_BACK)", "None", taken_back_by_who_may_not,
          "not_your_act"),
    Check(TAKE, "base.digest == order.released.digest", "True",
          taken_back_in_words_rewritten_since, "not_prepared"),
    Check(TAKE, "and base.retraction", "", taken_back_in_no_words, "not_prepared"),
    Check(TAKE, "said == prepared", "True", taken_back_in_other_words, "not_prepared"),
    Check(TAKE, "order.decision.verdict is Verdict.APPROVED", "True", taking_back_declined,
          "not_prepared"),
    Check(TAKE, "refusal := _policy(said, contact)", "refusal := None", taken_back_with_a_number,
          "policy_blocked"),
    Check(SCREENED, "area=revision.area", "area=None", a_number_in_the_area, "policy_blocked"),
    Check(SCREENED, "alts=[each.alt for each in revision.pictures]", "alts=()",
          a_number_in_the_pictures_description, "policy_blocked"),
    Check(FOUND, "blocked := blocking(findings)", "blocked := []", a_number, "policy_blocked"),
    Check(FOUND, "unexplained := wanting(findings, reasons)", "unexplained := []",
          without_a_reason, "policy_reason_missing"),
    Check(FOUND, "not attested", "False", not_attested, "attestation_missing"),
    Check(DECIDE, "case.by_guideline and (refusal := _outside(case, contact))", "False",
          an_incident_on_a_guidelines_word, "guideline_ended"),
    Check(OUTSIDE, "revision.edited_by is not None", "False", mended_by_somebody_since,
          "outside_guideline"),
    Check(OUTSIDE, "case.person.id != revision.compiled_by", "False", submitted_by_somebody_else,
          "outside_guideline"),
    Check(STRICTLY, "not guideline.holds(it.at)", "False", on_a_guideline_that_was_ended,
          "guideline_ended"),
    Check(HOLDS, "self.ended_at is None", "True", on_a_guideline_that_was_ended,
          "guideline_ended"),
    Check(HOLDS, "at < self.until", "True", on_a_guideline_whose_time_is_over,
          "guideline_ended"),
    Check(STRICTLY, "it.topic is not guideline.topic", "False", of_another_topic,
          "outside_guideline"),
    Check(STRICTLY, "not set(it.channels) <= set(guideline.channels)", "False",
          on_a_channel_that_it_does_not_name, "outside_guideline"),
    Check(STRICTLY, "not guideline.names(it.person)", "False", by_a_member_whom_it_does_not_name,
          "outside_guideline"),
    Check(NAMES, "person.id in self.members or bool(self.roles & person.roles)", "True",
          by_a_member_whom_it_does_not_name, "outside_guideline"),
    Check(STRICTLY, "it.findings > 0", "False", with_a_finding_that_has_a_reason,
          "outside_guideline"),
    Check(STRICTLY, "it.pictured", "False", with_a_picture_that_nobody_saw, "outside_guideline"),
    Check(STRICTLY, "authority.objection(it.person, it.held, Content.ROUTINE, it.at)", "None",
          training_lapsed_since, "training_lapsed"),
    Check(MEMBER, "held.authority(content, at) is None", "False", authority_taken_back_since,
          "authority_ended"),
    Check(MEMBER, "content is Content.ROUTINE and (lapsed := held.lapsed(at))", "False",
          training_lapsed_since, "training_lapsed"),
    Check(STILL, "_no_incident,", "", an_open_incident_is_named, "open_incident_named"),
    Check(ABOUT, "found := named(texts, several)", "found := None", an_open_incident_is_named,
          "open_incident_named"),
    Check(ABOUT, "if not stated:", "if False:", nobody_states_that_it_is_about_none,
          "statement_missing"),
    Check(PERSON, "case.person.may(Act.APPROVE_NOTICE)", "True", a_notice_by_no_supervisor,
          "not_a_supervisor"),
    Check(PROOF, "return voice.objection(", "return () and voice.objection(", another_was_heard,
          "passkey_not_proven"),
    Check(HEARD, "not voice.allowed", "False", heard_where_it_is_off, "voice_off"),
    Check(HEARD, "not commanded", "False", heard_where_nobody_commands, "voice_without_command"),
    Check(HEARD, "heard.attester_id in compilers | {person_id, heard.reader_id}", "False",
          heard_by_the_compiler, "listener_not_second"),
    Check(HEARD, "or not voice.reader.may(Act.COMPILE)", "", read_by_who_may_not,
          "reader_unknown"),
    Check(HEARD, "passkey.locked(voice.locks, decided_at, site=site, world=world)", "False",
          heard_of_a_locked_commander, "commander_locked"),
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
    Check(HEARD, "attestation(meant, code, heard)",
          "passkey.challenge_in(proof)", another_was_heard, "passkey_not_proven"),
    Check(PROOF, "return fallback.objection(", "return () and fallback.objection(",
          typed_for_another_request, "code_for_other"),
    Check(TYPED, "allowance.person_id != person_id or", "", typed_by_another,
          "fallback_not_allowed"),
    Check(TYPED, "not allowance.holds(at)", "False", typed_by_who_may_no_longer,
          "fallback_not_allowed"),
    Check(LASTS, "self.ended_at is None", "True", typed_by_who_may_no_longer,
          "fallback_not_allowed"),
    Check(LASTS, "at < self.until", "True", typed_when_its_time_was_over,
          "fallback_not_allowed"),
    Check(TYPED, "passkey.locked(entered.locks, at, site=site, world=world)", "False",
          typed_by_a_locked_person, "locked_out"),
    Check(TYPED, "abs(answer.step - step_of(at)) > 1", "False", typed_long_before, "code_over"),
    Check(TYPED, "answer.challenge != challenge.hex()", "False", typed_for_another_request,
          "code_for_other"),
    Check(STEP_IN, "hmac.compare_digest(answer.seal, sealed_then)", "True", a_wrong_pin,
          "code_wrong"),
    Check(TAKEN, "(tx.now - answer.at).total_seconds() > STEP", "False", a_code_shown_long_ago,
          "code_over"),
    Check(TAKEN, "fallbacks.wrong_ones(tx, allowance.id) + 1 >= MOST_WRONG", "False",
          guessed_too_often, "fallback_not_allowed"),
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
    (STILL, "case.by_guideline"): "lets a guideline decide; without it none could",
    (STILL, "check is person_objection"): "the same: its compiler approves no words of their own",
    (OUTSIDE, "it is None"): "the gate would fail on the notice that is not there",
    (STRICTLY, "guideline is None"): "the gate would fail on the guideline that is not there",
    (STRICTLY, "outside"): "hands on what a term says; each term has its own row",
    (COMMANDER, "case.person.outside"): "lets a Commander from outside decide; their passkey says "
    "of which incident",
    (PERSON, "case.command.routine"):
        "lets a supervisor decide; without it the Watch Commander alone could",
    (PERSON, "case.command.person_id is None"):
        "lets the Watch Commander decide; without it nobody could",
    (PERSON, "case.person.id == case.request.asked"): "chooses the refusal's words and code",
    (PERSON, "case.person.id in case.command.former"): "the same",
    (FACTS, "case.verdict is not Verdict.APPROVED"): "lets a stale update be declined",
    (KEY, "answer is None"): "no answer names no passkey, so the next condition refuses it",
    (KEY, "passkey is None"): "the gate would fail on the passkey that is not there",
    (SHIFT, "self.approved_until is not None"): "what is approved for good has no end to compare",
    (VOUCHED, "device.linked"): "a link that the command line gave is where vouching begins",
    (VOUCHED, "device.practice"): "a practice passkey counts in an exercise alone: its own row",
    (VOUCHED, "device.guest is not None"): "the gate would fail on the guest who is not there",
    (KEY, "passkey.guest is not None"): "the same",
    (VOUCHED, "by is not None"): "the gate would fail on the passkey that is not there",
    (VOUCHED, "device.approval is not None"): "the same",
    (VOUCHED, "by.practice"): "one with the next: a row of their own",
    (VOUCHED, "world != 'exercise'"): "the same",
    (CHANGED, "phrase.fact in ('type', 'place')"): "its two facts have rows of their own",
    (LAPSES, "revision.kind.mends"): "lets a correction go: the words that it mends are out",
    (LAPSES, "revision.incident_open"): "lets be said what never spoke of an open incident",
    (LAPSES, "speaks_of_now"): "its two halves have rows of their own",
    (JUDGE, "releases.of_revision(tx, revision.id) is not None"):
        "a second release of a revision fails on a key of the database",
    (TAKE, "approved"): "its two halves have rows of their own",
    (JUDGE, "_takes_back(kept, revision)"):
        "what is approved again is no prepared retraction, and judged as any other",
    (DEVICE, "case.voice is not None"):
        "lets a listener attest with any passkey; the Commander used none",
    (DEVICE, "case.proof is None"): "no answer is refused by the check before",
    (PROOF, "case.voice is not None"): "without it a passkey of the Commander's own is asked for",
    (OTHER, "not case.command.both"): "lets one decide where either may; without it none could",
    (OTHER, "assent is None"): "the gate would fail on the assent that is not there",
    (OWN, "case.command.both"): "one with the next, which has a row of its own",
    (OWN, "not own"): "the same",
    (OWN, "case.verdict is not Verdict.APPROVED"): "lets such words be declined",
    (PROOF, "case.entered is not None"): "the same",
    (TYPED, "answer.step is None"): "the gate would fail on the step that is not there",
    (TAKEN, "key is None"): "the gate would fail on the key that is not there",
    (TAKEN, "not allowance.holds(tx.now)"): "the gate asks it again of the decision",
    (TAKEN, "locks.holding(tx, allowance.person_id, site)"): "the same",
    (TAKEN, "step is None"): "an answer without a step is one that the gate has not taken",
    (HOLD, "at < lock.at"): "lets stand what was decided before the lock",
    (HOLD, "lock.ended_at is None"): "the gate would fail on the end that is not there",
    (UNLOCKED, "by is not None"): "the gate would fail on the passkey that is not there",
    (UNLOCKED, "lock.proof is not None"): "no answer names no passkey: the same",
    (UNLOCKED, "by.practice"): "one with the next: a row of their own",
    (UNLOCKED, "world != 'exercise'"): "the same",
    (HEARD, "voice.reader is None"): "the gate would fail on the reader who is not there",
    (HEARD, "code is None"): "the gate would fail on the code that is not there",
    (JUDGE, "unlocked"): "a made-up message: there is no decision to release",
    (JUDGE, "request is None"): "the same",
    (JUDGE, "kept is None"): "the same; decisions are never taken away",
    (JUDGE, "incident is None"): "the same; incidents neither",
    (COMMAND, "now.since is not None"): "command that never moved has no time to compare",
    (COMMAND, "now.since >= kept.decision.at"):
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
    for holder in (check.of[0], gate, approval, prove):  # wherever it was imported to
        if hasattr(holder, name):
            monkeypatch.setattr(holder, name, changed)
    assert await scene.judged() == "released"


async def test_nothing_is_wrong_with_the_scene_itself(story: Story) -> None:
    scene = await a_scene(story)
    await nothing_is_wrong(scene)
    assert await scene.judged() == "released"


async def test_what_was_approved_for_that_takes_back(story: Story) -> None:
    scene = await a_scene(story)
    await taken_back_again(scene)
    assert await scene.judged() == "released"


async def test_what_was_heard_is_released(story: Story) -> None:
    scene = await a_scene(story)
    await scene.hear()
    assert await scene.judged() == "released"


async def test_what_both_approved_is_released(story: Story) -> None:
    scene = await a_scene(story)
    await both_approve(scene)
    assert await scene.judged() == "released"


async def test_what_was_typed_is_released(story: Story) -> None:
    scene = await a_scene(story)
    await scene.type()
    assert await scene.judged() == "released"


async def test_a_code_that_was_used_fails_on_a_key_of_the_database(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests, and one code for both."""
    scene = await a_scene(story)
    allowed = await scene.type()
    assert await scene.judged() == "released"
    seal = fallback.sealed(PIN, code_at(allowed, story.clock.at), allowed.salt, b"another")
    await story.ledger.write(lambda tx: fallbacks.enter(tx, allowed.id, seal, b"another"))
    monkeypatch.setattr(fallbacks, "was_used", lambda tx, allowance_id, step: False)
    with pytest.raises(IntegrityError):
        await story.ledger.write(prove.judge_next(CODES_KEY, SITE))


async def test_what_the_gate_has_not_taken_proves_nothing(story: Story) -> None:
    """Its step is not there yet; the desk cannot write it (tests/broadcaster/ledger)."""
    scene = await a_scene(story)
    await scene.type()
    await scene.set_answers(refused="code_used")
    assert await scene.judged() == "code_used"


async def test_a_guest_who_is_enrolled_is_released(story: Story) -> None:
    scene = await a_scene(story)
    await a_guest(scene)
    assert await scene.judged() == "released"


#: How the desk's tables could say otherwise what was signed of a guest.
GUESTS_ROW: dict[str, Any] = {
    "at": NOW - timedelta(minutes=1), "until": NOW + timedelta(hours=12),
    "token_hash": hashed("u" * 32), "incident_id": "another",
}  # fmt: skip


@pytest.mark.parametrize("field", GUESTS_ROW)
async def test_what_was_signed_of_a_guest_cannot_be_rewritten(story: Story, field: str) -> None:
    scene = await a_scene(story)
    then = {field: GUESTS_ROW[field]}
    signed: dict[str, Any] = {}
    if field == "token_hash":
        then["token"] = "u" * 32
    if field == "incident_id":
        then = {field: scene.request.incident_id}
        signed = {field: await story.reported("2026-9")}
    await a_guest(scene, then=then, **signed)
    assert await scene.judged() == "passkey_not_vouched"


@pytest.mark.parametrize("of_assent", [False, True])
@pytest.mark.parametrize(("matter", "since", "outcome"), [
    (Matter.EQUIPMENT, 0, "released"),
    (Matter.DUTY_HOURS, 0, None),
    (Matter.EQUIPMENT, 1, None),  # given after they decided
    (Matter.EQUIPMENT, -25, None),  # over by then
])  # fmt: skip
async def test_an_exception_from_equipment_lets_a_copied_passkey_decide(
    story: Story, matter: Matter, since: float, outcome: str | None, of_assent: bool
) -> None:
    scene = await a_scene(story)
    at = story.clock.at + timedelta(hours=since)
    await (the_others_passkey_is_copied if of_assent else a_passkey_that_is_copied)(scene)

    def except_everybody(tx: Tx) -> None:
        for each in people.everybody(tx):
            tx.connection.execute(insert(schema.exemptions).values(
                id=str(uuid4()), person_id=each.id, matter=str(matter), reason="A broken key",
                until=at + timedelta(hours=24), granted_by=scene.story.commander.id, granted_at=at,
            ))  # fmt: skip

    await story.ledger.write(except_everybody)
    refused = "both_must_approve" if of_assent else "passkey_synced"
    assert await scene.judged() == (outcome or refused)


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
    "retraction": (Rendering(channel="public_page", headline="Gas leak", text="Go home."),),
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


async def test_a_link_that_nobody_held_vouches_for_nothing(story: Story) -> None:
    """The desk's tables say that one was used; whoever wrote that knows its hash and not itself."""
    scene = await a_scene(story)
    scene.phone, scene.key = await a_phone(story, scene.lee, approved=False)

    def claim(tx: Tx) -> None:
        people.enrol(tx, scene.lee.id, actor="test")
        link = schema.enrolments.c
        tx.connection.execute(
            update(schema.enrolments)
            .where(link.used_at.is_(None))
            .values(used_at=tx.now, token=link.token_hash, passkey_id=scene.key)
        )

    await story.ledger.write(claim)
    at = {"approved_at": story.clock.at, "approved_by": passkeys.LINK}
    await scene.set(schema.passkeys, scene.key, **at)
    await scene.decide()
    assert await scene.judged() == "passkey_not_vouched"


async def test_a_ring_of_approvals_leads_nowhere(story: Story) -> None:
    scene = await a_scene(story)
    at = {
        "approved_at": story.clock.at,
        "approved_by": "x",
        "approval": json.dumps({"id": scene.key}),
    }
    await scene.set(schema.passkeys, scene.key, **at)
    await scene.decide()
    assert await scene.judged() == "passkey_not_vouched"


async def test_a_second_release_of_a_revision_is_refused_by_the_database(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests for the same words, both approved, and a gate that would release each."""
    scene = await a_scene(story)
    await scene.decide()
    assert await scene.judged() == "released"
    held = Command(person_id=scene.lee.id, epoch=1)
    revision = scene.submitted.revision
    second = await story.ledger.write(lambda tx: approvals.open_request(tx, revision, held))
    scene.submitted = Submitted(revision, second)
    await scene.decide()
    monkeypatch.setattr(releases, "of_revision", lambda tx, revision_id: None)
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
