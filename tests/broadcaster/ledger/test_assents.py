"""Unified command in which both must approve: the first approval waits for the other's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from broadcaster import explain
from broadcaster.approval import ApprovalRequest, Assent, RequestState, Verdict, to_keep
from broadcaster.calling import About, Means, next_calls
from broadcaster.edit import EditWords, edit_words
from broadcaster.errors import Refusal
from broadcaster.handover import record_command, record_radio
from broadcaster.incident import Command
from broadcaster.informing import State
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    calls,
    incidents,
    passkeys,
    people,
    request_changes,
    schema,
)
from broadcaster.ledger.approvals import KeptDecision
from broadcaster.orders import Decide, Submitted, facts_of, withdraw_assent
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.update import lapses_by
from streams.gate import judge_decision
from tests.story import CHANNELS, EXERCISE, INCIDENT_URL, SITE, Story, tapped

Answer = KeptDecision | Assent | Refusal


@dataclass
class Both:
    """An update that waits for Sgt Ortiz and Capt Lee, who must both approve it."""

    story: Story
    submitted: Submitted
    ortiz: Person
    lee: Person
    ruiz: Person

    @property
    def incident_id(self) -> str:
        return self.submitted.request.incident_id

    async def write(self, step: Callable[[Tx], Any]) -> Any:
        return await self.story.ledger.write(step)

    async def taps(
        self, person: Person, verdict: Verdict = Verdict.APPROVED, *, key: str | None = None,
        keeps: str | None = None, reason: str | None = None,
    ) -> Answer:  # fmt: skip
        order = Decide(
            request_id=self.submitted.request.id, verdict=verdict, reason=reason, keeps=keeps,
            revision_id=self.submitted.revision.id, digest=self.submitted.revision.digest,
            idempotency_key=key or str(uuid4()),
        )  # fmt: skip
        self.story.clock.move(seconds=1)
        answer: Answer = await self.write(lambda tx: tapped(tx, order, person))
        return answer

    async def refused(self, person: Person, **how: Any) -> str:
        answer = await self.taps(person, **how)
        assert isinstance(answer, Refusal), answer
        return answer.code

    async def assents(self, person: Person, **how: Any) -> Assent:
        answer = await self.taps(person, **how)
        assert isinstance(answer, Assent), answer
        return answer

    async def decides(self, person: Person, *args: Any, **how: Any) -> KeptDecision:
        answer = await self.taps(person, *args, **how)
        assert isinstance(answer, KeptDecision), answer
        return answer

    async def released(self, decided: KeptDecision) -> str | None:
        """What the gate makes of it."""
        id_ = decided.decision.id
        await self.write(judge_decision(id_, EXERCISE, INCIDENT_URL))
        kept = await self.story.ledger.read(lambda tx: approvals.decision(tx, id_))
        assert kept is not None
        return kept.outcome

    async def request(self) -> ApprovalRequest:
        kept = await self.story.ledger.read(
            lambda tx: approvals.request(tx, self.submitted.request.id)
        )
        assert kept is not None
        return kept.request

    async def waiting(self) -> str | None:
        """Whose approval waits for the other's."""

        def look(tx: Tx) -> Assent | None:
            kept = approvals.request(tx, self.submitted.request.id)
            incident = incidents.get(tx, self.incident_id)
            assert kept is not None and incident is not None
            return assents.waiting(tx, kept.request, incident.incident, self.submitted.revision)

        found = await self.story.ledger.read(look)
        return found.person_id if found else None

    async def command(self) -> Command:
        kept = await self.story.ledger.read(lambda tx: incidents.get(tx, self.incident_id))
        assert kept is not None
        return kept.incident.command

    async def takes_back(self, person: Person) -> None:
        await self.write(lambda tx: withdraw_assent(tx, self.submitted.request.id, person))

    async def recorded(self, *persons: Person, both: bool) -> None:
        first, second = persons
        await self.write(lambda tx: record_command(
            tx, self.incident_id, first.id, self.story.pio, with_id=second.id, both=both
        ))  # fmt: skip

    async def moved_elsewhere(self) -> str | None:
        """The facts change; answers what whoever keeps the words signs."""
        at = self.story.clock.at + timedelta(seconds=1)
        await self.story.reported(place="Elm St", reported_at=at)

        def look(tx: Tx) -> str | None:
            kept, incident = (approvals.request(tx, self.submitted.request.id),
                              incidents.get(tx, self.incident_id))  # fmt: skip
            assert kept is not None and incident is not None
            return to_keep(
                kept.request, lapses_by(self.submitted.revision, facts_of(incident)), tx.now
            )

        return await self.story.ledger.read(look)


@pytest.fixture
async def both(story: Story) -> Both:
    def add(name: str) -> Callable[[Tx], Person]:
        return lambda tx: people.add(tx, name, [Role.COMMANDER], actor="test", practice=True)

    ortiz, lee, ruiz = [
        await story.ledger.write(add(name)) for name in ("Sgt M. Ortiz", "Capt Lee", "Lt Ruiz")
    ]
    incident_id = await story.reported()
    await story.ledger.write(lambda tx: record_command(
        tx, incident_id, ortiz.id, story.pio, with_id=lee.id, both=True
    ))  # fmt: skip
    return Both(story, await story.submitted(incident_id), ortiz, lee, ruiz)


# --- The mode ---------------------------------------------------------------------------------


async def test_both_must_needs_two(both: Both) -> None:
    with pytest.raises(Refusal) as caught:
        await both.write(
            lambda tx: record_command(
                tx, both.incident_id, both.ortiz.id, both.story.pio, both=True
            )
        )
    assert (caught.value.code, caught.value.field) == ("unified_command_invalid", "with")


async def test_the_mode_stays_for_as_long_as_two_command(both: Both) -> None:
    async def hands_over(by: Person, to: Person) -> Command:
        await both.write(
            lambda tx: record_radio(tx, both.incident_id, by.id, to.id, both.story.pio)
        )
        return await both.command()

    command = await hands_over(both.lee, both.ruiz)
    assert (command.commanders, command.both) == ((both.ortiz.id, both.ruiz.id), True)
    command = await hands_over(both.ruiz, both.ortiz)
    assert (command.commanders, command.both) == ((both.ortiz.id,), False)


async def test_else_either_decides(both: Both) -> None:
    await both.recorded(both.ortiz, both.lee, both=False)
    assert await both.released(await both.decides(both.lee)) == "released"


# --- One, then the other ----------------------------------------------------------------------


@pytest.mark.parametrize("first_name", ["ortiz", "lee"])
async def test_the_second_approval_decides_and_the_gate_proves_both(
    both: Both, first_name: str
) -> None:
    first, second = both.ortiz, both.lee
    if first_name == "lee":
        first, second = second, first
    assent = await both.assents(first)
    assert (await both.request()).state is RequestState.OPEN
    assert await both.waiting() == first.id
    decided = await both.decides(second)
    assert (decided.decision.person_id, decided.decision.assent_id) == (second.id, assent.id)
    assert await both.released(decided) == "released"


async def test_the_same_answer_again_and_another_one(both: Both) -> None:
    first = await both.assents(both.ortiz, key="the-first-key")
    assert await both.assents(both.ortiz, key="the-first-key") == first
    assert await both.refused(both.ortiz) == "already_assented"
    declined = await both.refused(both.ortiz, verdict=Verdict.DECLINED, key="the-first-key")
    assert declined == "key_reused"
    decided = await both.decides(both.lee, key="the-second-key")
    assert await both.decides(both.lee, key="the-second-key") == decided
    assert await both.assents(both.ortiz, key="the-first-key") == first, "though it is decided"
    assert await both.refused(both.ortiz) == "already_approved"


async def test_a_third_one_approves_nothing(both: Both) -> None:
    await both.assents(both.ortiz)
    assert await both.refused(both.ruiz) == "not_the_commander"


async def test_either_returns_or_declines_alone(both: Both) -> None:
    await both.assents(both.ortiz)
    decided = await both.decides(both.lee, Verdict.RETURNED, reason="Which side?")
    assert decided.decision.assent_id is None
    assert (await both.request()).state is RequestState.RETURNED
    assert await both.waiting() is None


async def test_who_has_approved_may_still_decline(both: Both) -> None:
    await both.assents(both.ortiz)
    await both.decides(both.ortiz, Verdict.DECLINED)
    assert (await both.request()).state is RequestState.DECLINED


async def test_words_of_one_of_them_cannot_be_approved_by_both(both: Both) -> None:
    pio = both.story.pio
    await both.write(lambda tx: tx.connection.execute(
        update(schema.people).where(schema.people.c.id == pio.id).values(roles="commander pio")
    ))  # fmt: skip
    await both.recorded(both.ortiz, pio, both=True)
    assert await both.refused(both.ortiz) == "one_compiled"
    await both.decides(both.ortiz, Verdict.DECLINED)


# --- What an assent does not outlive ----------------------------------------------------------


async def test_it_is_taken_back_for_good(both: Both) -> None:
    """What was signed proves nothing any more, though somebody kept it and sends it again."""
    assent = await both.assents(both.ortiz, key="the-first-key")
    await both.takes_back(both.ortiz)
    assert await both.waiting() is None
    order = Decide(
        request_id=assent.request_id, verdict=Verdict.APPROVED, digest=assent.digest,
        revision_id=both.submitted.revision.id, idempotency_key="another-key", proof=assent.proof,
    )  # fmt: skip
    again = await both.write(lambda tx: tapped(tx, order, both.ortiz))
    assert isinstance(again, Refusal) and again.code == "passkey_not_proven"
    assert await both.assents(both.ortiz, key="the-first-key") == assent
    assert await both.waiting() is None, "the first answer again is no new approval"

    await both.assents(both.lee)
    assert await both.released(await both.decides(both.ortiz)) == "released"


async def test_only_its_giver_takes_it_back_and_only_while_it_waits(both: Both) -> None:
    async def refused(person: Person) -> str:
        with pytest.raises(Refusal) as caught:
            await both.takes_back(person)
        return caught.value.code

    assert await refused(both.ortiz) == "not_assented"
    await both.assents(both.ortiz)
    assert await refused(both.lee) == "not_assented"
    await both.decides(both.lee)
    assert await refused(both.ortiz) == "not_assented"


async def test_no_change_of_command_lets_it_stand(both: Both) -> None:
    """Not even one after which the same two command."""
    await both.assents(both.ortiz)
    await both.recorded(both.ortiz, both.lee, both=True)
    assert await both.waiting() is None
    await both.assents(both.lee)
    assert await both.released(await both.decides(both.ortiz)) == "released"


async def test_whoever_takes_the_others_place_approves_for_themselves(both: Both) -> None:
    await both.assents(both.lee)
    await both.write(
        lambda tx: record_radio(tx, both.incident_id, both.lee.id, both.ruiz.id, both.story.pio)
    )
    await both.assents(both.ortiz)
    assert await both.refused(both.lee) == "command_moved"
    assert await both.released(await both.decides(both.ruiz)) == "released"


async def test_command_that_moves_after_both_undoes_nothing(both: Both) -> None:
    await both.assents(both.lee)
    decided = await both.decides(both.ortiz)
    both.story.clock.move(seconds=1)
    await both.recorded(both.ruiz, both.ortiz, both=True)
    assert await both.released(decided) == "released"


async def test_a_newer_wording_and_an_edit_begin_anew(both: Both) -> None:
    await both.assents(both.ortiz)
    channels = list(CHANNELS)
    texts = {each.name: "Leave now." for each in channels}
    order = EditWords(request_id=both.submitted.request.id, texts=texts, attested=True,
                      digest=both.submitted.revision.digest)  # fmt: skip
    both.submitted = await both.write(lambda tx: edit_words(tx, order, both.lee, channels, SITE))
    assert await both.waiting() is None
    await both.assents(both.lee)
    assert await both.released(await both.decides(both.ortiz)) == "released"


async def test_a_fact_that_changes_in_between_is_signed_by_both(both: Both) -> None:
    await both.assents(both.ortiz)
    keeps = await both.moved_elsewhere()
    assert await both.waiting() is None
    assert await both.refused(both.lee) == "facts_changed"
    await both.assents(both.lee, keeps=keeps)
    assert await both.waiting() == both.lee.id
    assert await both.released(await both.decides(both.ortiz, keeps=keeps)) == "released"


async def test_nobody_approves_after_the_time(both: Both) -> None:
    await both.assents(both.ortiz)
    both.story.clock.at = both.submitted.request.expires_at
    assert await both.waiting() is None
    assert await both.refused(both.lee) == "request_expired"


async def test_what_was_taken_back_is_never_taken_up_again(both: Both) -> None:
    """Not where the request's nonce is put back, either: for this assent, or as the decision."""
    before = await both.request()
    await both.assents(both.ortiz)
    await both.takes_back(both.ortiz)
    assert (await both.request()).nonce != before.nonce

    def put_back(tx: Tx) -> None:
        table = schema.approval_requests
        tx.connection.execute(
            update(table).where(table.c.id == before.id).values(nonce=before.nonce)
        )

    await both.write(put_back)
    assert await both.refused(both.lee) == "assent_taken_back"


async def test_a_lost_phones_approval_is_given_anew(both: Both) -> None:
    """The second approval is refused, and both are asked again."""
    assent = await both.assents(both.ortiz)
    await both.write(lambda tx: passkeys.revoke(tx, assent.proof["id"], actor="test"))
    assert await both.refused(both.lee) == "both_must_approve"
    assert await both.waiting() is None
    await both.assents(both.lee)


async def test_a_phone_lost_after_both_is_found_out_by_the_gate(both: Both) -> None:
    assent = await both.assents(both.ortiz)
    decided = await both.decides(both.lee)
    await both.write(lambda tx: passkeys.revoke(tx, assent.proof["id"], actor="test"))
    assert await both.released(decided) == "both_must_approve"


# --- Who is called, and what is told ----------------------------------------------------------


async def test_who_has_approved_is_called_no_more(both: Both) -> None:
    for number, person in enumerate((both.ortiz, both.lee)):
        await both.write(lambda tx, n=number, p=person: calls.add_reach(
            tx, p.id, Means.SMS, f"+1760555010{n}", actor="test"
        ))  # fmt: skip

    async def called() -> set[str]:
        found = await both.story.ledger.read(lambda tx: next_calls(
            calls.state(tx, [Means.SMS], "https://alerts.example"), tx.now
        ))  # fmt: skip
        return {call.person_id for call in found.calls if call.about is About.REQUEST}

    assert await called() == {both.ortiz.id, both.lee.id}
    await both.assents(both.ortiz)
    assert await called() == {both.lee.id}
    await both.takes_back(both.ortiz)
    assert await called() == {both.ortiz.id, both.lee.id}


async def test_the_record_and_explain_name_both(both: Both) -> None:
    await both.assents(both.ortiz)
    await both.takes_back(both.ortiz)
    await both.assents(both.ortiz)

    async def told() -> list[str]:
        found = await both.story.ledger.read(
            lambda tx: explain.update(tx, both.submitted.request.id)
        )
        return [each["why"] for each in found["clauses"]] + [found["because"]]

    waits = await told()
    assert any("Sgt M. Ortiz's approval was taken back" in each for each in waits)
    assert "it waits for Capt Lee since" in waits[-1] and "Both Commanders must" in waits[-1]
    await both.released(await both.decides(both.lee))
    assert any("Sgt M. Ortiz and Capt Lee approved the words" in each for each in await told())
    kinds = await both.story.ledger.read(lambda tx: list(tx.connection.execute(
        select(schema.entries.c.kind).where(
            schema.entries.c.kind.in_([Kind.ASSENT_GIVEN, Kind.ASSENT_ENDED])
        )
    ).scalars()))  # fmt: skip
    assert sorted(kinds) == ["AssentEnded", "AssentGiven", "AssentGiven"]


async def test_the_departments_app_hears_of_the_first_and_of_its_end(both: Both) -> None:
    async def states() -> list[State]:
        id_ = both.submitted.request.id
        kept = await both.story.ledger.read(lambda tx: request_changes.of_request(tx, id_))
        return [state for state, _, _ in kept if state is not State.ASKED]

    await both.assents(both.ortiz)
    assert await states() == [State.OPENED, State.ASSENTED]
    await both.write(lambda tx: withdraw_assent(tx, both.submitted.request.id, both.ortiz))
    await both.assents(both.lee)
    await both.decides(both.ortiz)
    assert await states() == [
        State.OPENED, State.ASSENTED, State.ASSENT_ENDED, State.ASSENTED, State.APPROVED,
    ]  # fmt: skip
