"""Command changes hands: offered and accepted, said over the radio, taken, forced, shared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from broadcaster import handover, rostering
from broadcaster.approval import RELEASED, Verdict
from broadcaster.authority import Office
from broadcaster.errors import Kind, Refusal
from broadcaster.handover import Accept
from broadcaster.incident import Command, Offer
from broadcaster.ledger import Tx, approvals, incidents, passkeys, people, schema
from broadcaster.orders import Decide, Submitted
from broadcaster.passkey import (
    acceptance_challenge,
    decision_challenge,
    options_to_prove,
    options_to_register,
    register,
)
from broadcaster.roster import Person, Role
from streams.gate import judge_decision
from tests.authenticator import Authenticator
from tests.story import EXERCISE, INCIDENT_URL, SITE, Story, linked, tapped, unlocked


@dataclass
class Scene:
    """An incident that Sgt Ortiz commands, and an update that waits for her."""

    story: Story
    incident_id: str
    submitted: Submitted
    ortiz: Person
    ruiz: Person
    lee: Person

    @property
    def pio(self) -> Person:
        return self.story.pio

    @property
    def watch(self) -> Person:
        return self.story.commander

    async def command(self) -> Command:
        kept = await self.story.ledger.read(lambda tx: incidents.get(tx, self.incident_id))
        assert kept is not None
        return kept.incident.command

    async def offer(self, to: Person, by: Person) -> Offer:
        return await self.story.ledger.write(
            lambda tx: handover.offer_command(tx, self.incident_id, to.id, by)
        )

    async def accept(
        self, offer: Offer, person: Person, proof: dict[str, Any] | None = None
    ) -> Command | Refusal:
        order = Accept(incident_id=self.incident_id, offer_id=offer.id, proof=proof)

        def step(tx: Tx) -> Command | Refusal:
            said = handover.practised_acceptance(tx, order, person, SITE)
            return handover.accept_command(tx, said, person, SITE)

        return await self.story.ledger.write(step)

    async def answer(self, person: Person, challenge: bytes) -> dict[str, Any]:
        """What this person's passkey answers to some challenge."""
        proof = await self.story.ledger.read(
            lambda tx: passkeys.practice_answer(tx, person.id, site=SITE, challenge=challenge)
        )
        assert proof is not None
        return proof

    async def decide(
        self, person: Person, verdict: Verdict = Verdict.DECLINED
    ) -> approvals.KeptDecision | Refusal:
        order = Decide(
            request_id=self.submitted.request.id, verdict=verdict,
            revision_id=self.submitted.revision.id, digest=self.submitted.revision.digest,
            idempotency_key=f"key-{person.id}",
        )  # fmt: skip
        return await self.story.ledger.write(lambda tx: tapped(tx, order, person))

    async def refused(self, step: Callable[[Tx], object]) -> Refusal:
        with pytest.raises(Refusal) as caught:
            await self.story.ledger.write(step)
        return caught.value

    async def last(self, kind: str) -> dict[str, Any]:
        """The public part of the newest entry of a kind, and who made it."""
        entries = schema.entries.c
        found = await self.story.ledger.read(
            lambda tx: tx.connection.execute(
                select(entries.body).where(entries.kind == kind).order_by(entries.at.desc())
            ).scalar()
        )
        body = json.loads(found)
        return {"actor": body["actor"], **body["public"]}


@pytest.fixture
async def scene(story: Story) -> Scene:
    def add(name: str) -> Callable[[Tx], Person]:
        return lambda tx: people.add(tx, name, [Role.COMMANDER], actor="test", practice=True)

    ortiz, ruiz, lee = [
        await story.ledger.write(add(name)) for name in ("Sgt M. Ortiz", "Capt Ruiz", "Lt Lee")
    ]
    incident_id = await story.reported()
    await story.ledger.write(
        lambda tx: handover.record_command(tx, incident_id, ortiz.id, story.pio)
    )
    submitted = await story.submitted(incident_id)
    story.clock.move(seconds=10)
    return Scene(story, incident_id, submitted, ortiz, ruiz, lee)


async def calls(scene: Scene) -> int:
    """How often notify is called, from now on."""
    box = schema.outbox.c
    return await scene.story.ledger.read(
        lambda tx: len(
            tx.connection.execute(select(box.id).where(box.topic.like("%update.submitted"))).all()
        )
    )


async def forget_calls(scene: Scene) -> None:
    await scene.story.ledger.write(lambda tx: tx.connection.execute(delete(schema.outbox)))


# --- Offered and accepted ---------------------------------------------------------------------


async def test_the_outgoing_commander_decides_until_the_incoming_accepts(scene: Scene) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    assert (await scene.last("CommandOffered"))["tell"] == [scene.ruiz.id]
    early = await scene.decide(scene.ruiz)
    assert isinstance(early, Refusal) and early.code == "not_the_commander"
    assert (await scene.command()).commanders == (scene.ortiz.id,)
    decided = await scene.decide(scene.ortiz)
    assert not isinstance(decided, Refusal)
    accepted = await scene.accept(offer, scene.ruiz)
    assert isinstance(accepted, Command) and accepted.commanders == (scene.ruiz.id,)


async def test_acceptance_moves_command_and_the_request_and_kills_the_old_link(
    scene: Scene,
) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    await forget_calls(scene)
    accepted = await scene.accept(offer, scene.ruiz)
    assert accepted == await scene.command()
    assert (accepted.epoch, accepted.since, accepted.offer) == (2, scene.story.clock.now(), None)
    assert await calls(scene) == 1, "notify is called for what waits"
    entry = await scene.last("CommandRecorded")
    assert (entry["actor"], entry["how"], entry["commander"]) == (
        scene.ruiz.id, "accepted", scene.ruiz.id,
    )  # fmt: skip
    assert entry["before"] == [scene.ortiz.id] and entry["offer_id"] == offer.id
    assert entry["passkey_id"] == json.loads(entry["proof"])["id"]
    assert entry["tell"] == [scene.ortiz.id, "watch-commander"]
    late = await scene.decide(scene.ortiz)
    assert isinstance(late, Refusal)
    assert (late.code, late.kind) == ("command_moved", Kind.CONFLICT)
    assert late.facts == {"commander": "Capt Ruiz"}
    assert not isinstance(await scene.decide(scene.ruiz), Refusal)


async def test_whoever_commanded_in_between_is_told_so_too(scene: Scene) -> None:
    await scene.accept(await scene.offer(scene.ruiz, scene.ortiz), scene.ruiz)
    await scene.accept(await scene.offer(scene.lee, scene.ruiz), scene.lee)
    for former in (scene.ortiz, scene.ruiz):
        late = await scene.decide(former)
        assert isinstance(late, Refusal) and late.code == "command_moved"
        assert late.facts == {"commander": "Lt Lee"}


async def test_accepted_twice_is_accepted_once(scene: Scene) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    first = await scene.accept(offer, scene.ruiz)
    assert await scene.accept(offer, scene.ruiz) == first == await scene.command()


async def test_an_answer_for_one_thing_is_none_for_another(scene: Scene) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    request = scene.submitted.request
    for challenge in (
        request.challenge("approved", request.digest, 1),
        decision_challenge(
            offer.nonce, scene.incident_id, offer.id, "1", until=offer.expires_at, epoch=1
        ),
        acceptance_challenge(offer.nonce, scene.incident_id, offer.id, 2),
        acceptance_challenge(offer.nonce, "another", offer.id, 1),
        acceptance_challenge(request.nonce, scene.incident_id, offer.id, 1),
    ):
        refusal = await scene.accept(offer, scene.ruiz, await scene.answer(scene.ruiz, challenge))
        assert isinstance(refusal, Refusal) and refusal.code == "passkey_not_proven"
    assert (await scene.last("AcceptanceRefused"))["code"] == "passkey_not_proven"
    await scene.story.ledger.write(lambda tx: unlocked(tx, scene.ruiz.id))
    right = acceptance_challenge(offer.nonce, scene.incident_id, offer.id, 1)
    theirs = await scene.accept(offer, scene.ruiz, await scene.answer(scene.ortiz, right))
    assert isinstance(theirs, Refusal) and theirs.code == "passkey_unknown"
    accepted = await scene.accept(offer, scene.ruiz, await scene.answer(scene.ruiz, right))
    assert isinstance(accepted, Command)


async def test_without_a_passkey_nothing_is_accepted(scene: Scene) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    order = Accept(incident_id=scene.incident_id, offer_id=offer.id)
    refusal = await scene.story.ledger.write(
        lambda tx: handover.accept_command(tx, order, scene.ruiz, SITE)
    )
    assert isinstance(refusal, Refusal) and refusal.code == "passkey_missing"


async def test_a_revoked_device_accepts_nothing(scene: Scene) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    signed = acceptance_challenge(offer.nonce, scene.incident_id, offer.id, 1)
    proof = await scene.answer(scene.ruiz, signed)
    await scene.story.ledger.write(
        lambda tx: passkeys.revoke(tx, proof["id"], actor=scene.watch.id)
    )
    refusal = await scene.accept(offer, scene.ruiz, proof)
    assert isinstance(refusal, Refusal) and refusal.code == "passkey_revoked"


async def test_offers_that_cannot_be_accepted(scene: Scene) -> None:
    first = await scene.offer(scene.ruiz, scene.ortiz)
    other = await scene.accept(first, scene.lee)
    assert isinstance(other, Refusal) and other.code == "not_offered_to_you"
    second = await scene.offer(scene.lee, scene.ortiz)  # takes the first one's place
    gone = await scene.accept(first, scene.ruiz)
    assert isinstance(gone, Refusal) and (gone.code, gone.kind) == ("offer_gone", Kind.CONFLICT)
    assert gone.facts == {"commander": "Sgt M. Ortiz"}
    scene.story.clock.move(minutes=10)
    late = await scene.accept(second, scene.lee)
    assert isinstance(late, Refusal) and (late.code, late.kind) == ("offer_expired", Kind.GONE)
    third = await scene.offer(scene.lee, scene.ortiz)
    await scene.story.ledger.write(
        lambda tx: handover.record_command(tx, scene.incident_id, scene.ruiz.id, scene.pio)
    )
    moved = await scene.accept(third, scene.lee)
    assert isinstance(moved, Refusal) and moved.facts == {"commander": "Capt Ruiz"}


async def test_who_may_offer_and_to_whom(scene: Scene) -> None:
    def offers(to: str, by: Person) -> Callable[[Tx], object]:
        return lambda tx: handover.offer_command(tx, scene.incident_id, to, by)

    for stranger in (scene.ruiz, scene.pio):
        assert (await scene.refused(offers(scene.lee.id, stranger))).code == "not_yours_to_offer"
    for nobody in (scene.pio.id, "nobody"):
        assert (await scene.refused(offers(nobody, scene.ortiz))).code == "cannot_command"
    assert (await scene.refused(offers(scene.ortiz.id, scene.ortiz))).code == "commands_already"
    offer = await scene.offer(scene.lee, scene.watch)
    accepted = await scene.accept(offer, scene.lee)
    assert isinstance(accepted, Command) and accepted.commanders == (scene.lee.id,)


async def test_an_offer_is_taken_back_or_declined(scene: Scene) -> None:
    def end(offer: Offer, person: Person) -> Callable[[Tx], object]:
        return lambda tx: handover.end_offer(tx, scene.incident_id, offer.id, person)

    for person, how in ((scene.ortiz, "taken back"), (scene.watch, "taken back"),
                        (scene.ruiz, "declined")):  # fmt: skip
        offer = await scene.offer(scene.ruiz, scene.ortiz)
        assert (await scene.refused(end(offer, scene.lee))).code == "not_offered_to_you"
        await scene.story.ledger.write(end(offer, person))
        assert (await scene.last("CommandOfferEnded"))["how"] == how
        assert (await scene.refused(end(offer, person))).code == "offer_gone"
        gone = await scene.accept(offer, scene.ruiz)
        assert isinstance(gone, Refusal) and gone.code == "offer_gone"
        scene.story.clock.move(seconds=1)
    assert (await scene.command()).epoch == 1


# --- Said, taken, forced ----------------------------------------------------------------------


async def test_a_hand_over_by_radio_is_recorded_with_whom_to_tell(scene: Scene) -> None:
    def radio(said_by: Person, to: Person, person: Person) -> Callable[[Tx], object]:
        return lambda tx: handover.record_radio(tx, scene.incident_id, said_by.id, to.id, person)

    heard = await scene.refused(radio(scene.ruiz, scene.lee, scene.pio))
    assert (heard.code, heard.facts) == ("not_theirs_to_hand_over", {"commander": "Sgt M. Ortiz"})
    assert (await scene.refused(radio(scene.ortiz, scene.lee, scene.lee))).code == "not_your_act"
    same = await scene.refused(radio(scene.ortiz, scene.ortiz, scene.pio))
    assert same.code == "commands_already"
    await forget_calls(scene)
    await scene.story.ledger.write(radio(scene.ortiz, scene.lee, scene.pio))
    assert (await scene.command()).commanders == (scene.lee.id,)
    entry = await scene.last("CommandRecorded")
    assert (entry["how"], entry["said_by"], entry["actor"]) == (
        "radio", scene.ortiz.id, scene.pio.id,
    )  # fmt: skip
    assert entry["tell"] == [scene.ortiz.id, scene.lee.id, "watch-commander"]
    assert await calls(scene) == 1


async def test_the_watch_commander_takes_what_nobody_has(scene: Scene) -> None:
    def take(person: Person) -> Callable[[Tx], object]:
        return lambda tx: handover.take_command(tx, scene.incident_id, person)

    held = await scene.refused(take(scene.watch))
    assert (held.code, held.facts) == ("command_held", {"commander": "Sgt M. Ortiz"})
    await scene.story.ledger.write(
        lambda tx: handover.record_command(tx, scene.incident_id, None, scene.pio)
    )
    assert (await scene.refused(take(scene.ortiz))).code == "not_your_act"
    for _ in range(2):
        await scene.story.ledger.write(take(scene.watch))
    command = await scene.command()
    assert (command.commanders, command.epoch) == ((scene.watch.id,), 3)


async def test_a_deputy_moves_command_as_the_watch_commander_may_until_it_ends(
    scene: Scene,
) -> None:
    def force(tx: Tx) -> object:
        return handover.force_command(tx, scene.incident_id, scene.lee.id, "hurt", scene.lee)

    def take(tx: Tx) -> object:
        return handover.take_command(tx, scene.incident_id, scene.lee)

    until = scene.story.clock.at + timedelta(hours=1)
    assert (await scene.refused(force)).code == "not_your_act"
    await scene.story.ledger.write(
        lambda tx: rostering.delegate(tx, scene.lee.id, Office.DEPUTY, reason="Away", until=until,
                                         person=scene.watch, actor=scene.watch.id)
    )  # fmt: skip
    assert (await scene.refused(take)).code == "command_held"
    await scene.story.ledger.write(force)
    assert (await scene.command()).commanders == (scene.lee.id,)
    await scene.story.ledger.write(
        lambda tx: handover.record_command(tx, scene.incident_id, None, scene.pio)
    )
    await scene.story.ledger.write(take)
    await scene.story.ledger.write(
        lambda tx: handover.record_command(tx, scene.incident_id, None, scene.pio)
    )
    scene.story.clock.move(hours=1)
    assert (await scene.refused(take)).code == "not_your_act"


async def test_the_duty_chief_decides_once_they_have_taken_command_and_not_before(
    scene: Scene,
) -> None:
    ledger, until = scene.story.ledger, scene.story.clock.at + timedelta(hours=1)

    def chief(tx: Tx) -> Person:
        return people.add(tx, "Chief Banks", [Role.CHIEF], actor="test")

    banks = await ledger.write(chief)
    await ledger.write(lambda tx: handover.record_command(tx, scene.incident_id, None, scene.pio))
    await ledger.write(
        lambda tx: rostering.delegate(tx, scene.lee.id, Office.DUTY_CHIEF, reason="Week",
                                      until=until, person=banks, actor=banks.id)
    )  # fmt: skip
    early = await scene.decide(scene.lee, Verdict.APPROVED)
    assert isinstance(early, Refusal) and early.code == "not_the_commander"
    await ledger.write(lambda tx: handover.take_command(tx, scene.incident_id, scene.lee))
    decided = await scene.decide(scene.lee, Verdict.APPROVED)
    assert not isinstance(decided, Refusal)
    await ledger.write(judge_decision(decided.decision.id, EXERCISE, INCIDENT_URL))
    judged = await ledger.read(lambda tx: approvals.decision(tx, decided.decision.id))
    assert judged is not None and judged.outcome == RELEASED
    taken = handover.take_command
    await ledger.write(lambda tx: handover.record_command(tx, scene.incident_id, None, scene.pio))
    scene.story.clock.move(hours=1)
    over = await scene.refused(lambda tx: taken(tx, scene.incident_id, scene.lee))
    assert over.code == "not_your_act"


async def test_the_watch_commander_transfers_command_with_a_reason(scene: Scene) -> None:
    def force(reason: str, person: Person, to: Person = scene.lee) -> Callable[[Tx], object]:
        return lambda tx: handover.force_command(tx, scene.incident_id, to.id, reason, person)

    assert (await scene.refused(force("hurt", scene.ortiz))).code == "not_your_act"
    assert (await scene.refused(force(" ", scene.watch))).code == "reason_missing"
    assert (await scene.refused(force("x" * 1001, scene.watch))).code == "reason_too_long"
    same = await scene.refused(force("hurt", scene.watch, scene.ortiz))
    assert same.code == "commands_already"
    await scene.story.ledger.write(force("Sgt Ortiz is hurt", scene.watch))
    assert (await scene.command()).commanders == (scene.lee.id,)
    entry = await scene.last("CommandRecorded")
    assert (entry["how"], entry["tell"][:2]) == ("forced", [scene.ortiz.id, scene.lee.id])
    assert "Sgt Ortiz is hurt" not in json.dumps(entry), "free text stands beside the entry"


# --- Unified ----------------------------------------------------------------------------------


async def unified(scene: Scene) -> None:
    await scene.story.ledger.write(
        lambda tx: handover.record_command(
            tx, scene.incident_id, scene.ortiz.id, scene.pio, with_id=scene.ruiz.id
        )
    )


async def test_of_a_unified_command_either_decides(scene: Scene) -> None:
    await unified(scene)
    refusal = await scene.decide(scene.lee)
    assert isinstance(refusal, Refusal)
    assert refusal.why.startswith("Sgt M. Ortiz and Capt Ruiz command this incident since")
    assert not isinstance(await scene.decide(scene.ruiz), Refusal)


async def test_the_gate_judges_by_the_command_of_the_decisions_time(scene: Scene) -> None:
    await unified(scene)
    decided = await scene.decide(scene.ruiz, Verdict.APPROVED)
    assert not isinstance(decided, Refusal)
    scene.story.clock.move(seconds=1)
    await scene.accept(await scene.offer(scene.lee, scene.ruiz), scene.lee)
    ledger, decision_id = scene.story.ledger, decided.decision.id
    await ledger.write(judge_decision(decision_id, EXERCISE, INCIDENT_URL))
    judged = await ledger.read(lambda tx: approvals.decision(tx, decision_id))
    assert judged is not None and (judged.outcome, judged.why) == ("released", None)


async def test_one_of_a_unified_command_hands_over_their_own_part(scene: Scene) -> None:
    await unified(scene)
    await scene.accept(await scene.offer(scene.lee, scene.ruiz), scene.lee)
    command = await scene.command()
    assert (command.commanders, command.former) == ((scene.ortiz.id, scene.lee.id),
                                                    (scene.ruiz.id,))  # fmt: skip


async def test_a_unified_command_names_two_different_commanders(scene: Scene) -> None:
    for first, second in ((scene.ortiz.id, scene.ortiz.id), (None, scene.ortiz.id)):
        refusal = await scene.refused(
            lambda tx, first=first, second=second: handover.record_command(
                tx, scene.incident_id, first, scene.pio, with_id=second
            )
        )
        assert (refusal.code, refusal.field) == ("unified_command_invalid", "with")


async def test_an_open_request_outlives_the_move(scene: Scene) -> None:
    await scene.accept(await scene.offer(scene.ruiz, scene.ortiz), scene.ruiz)
    waiting = await scene.story.ledger.read(lambda tx: approvals.open_requests(tx))
    assert [each.request.id for each in waiting] == [scene.submitted.request.id]


# --- What else may stand against an acceptance ------------------------------------------------


async def test_a_practice_passkey_takes_no_command_in_the_live_world(scene: Scene) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    order = Accept(incident_id=scene.incident_id, offer_id=offer.id)

    def step(tx: Tx) -> Command | Refusal:
        said = handover.practised_acceptance(tx, order, scene.ruiz, SITE)
        tx.world = "live"
        return handover.accept_command(tx, said, scene.ruiz, SITE)

    refusal = await scene.story.ledger.write(step)
    assert isinstance(refusal, Refusal) and refusal.code == "practice_passkey"


async def test_whoever_is_no_commander_any_more_takes_nothing(scene: Scene) -> None:
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    now = scene.ruiz.model_copy(update={"roles": frozenset({Role.RECORDS})})
    refusal = await scene.accept(offer, now)
    assert isinstance(refusal, Refusal) and refusal.code == "cannot_command"


async def test_a_copied_passkey_takes_nothing(scene: Scene) -> None:
    phone = Authenticator(SITE.origin, SITE.host, counter=4)
    asked = options_to_register(SITE, name="Capt Ruiz", challenge=b"1" * 32, known=[])
    made = register(phone.make(asked), site=SITE, challenge=b"1" * 32)
    await scene.story.ledger.write(lambda tx: linked(tx, scene.ruiz, made))
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    phone.counter = 0  # a copy, made before the first use
    signed = acceptance_challenge(offer.nonce, scene.incident_id, offer.id, 1)
    answer = phone.prove(options_to_prove(SITE, challenge=signed, allowed=[made.id]))
    refusal = await scene.accept(offer, scene.ruiz, answer)
    assert isinstance(refusal, Refusal) and refusal.code == "passkey_copied"


async def test_the_pages_of_what_waits_move_at_once(scene: Scene) -> None:
    heard: set[str] = set()
    stop = scene.story.ledger.on_commit(heard.update)
    page = f"request:{scene.submitted.request.id}"
    offer = await scene.offer(scene.ruiz, scene.ortiz)
    assert page in heard
    heard.clear()
    await scene.accept(offer, scene.ruiz)
    assert page in heard and f"incident:{scene.incident_id}" in heard
    stop()
