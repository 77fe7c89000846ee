"""The approval protocol as a state machine: whatever people, phones, clock and messages do.

Each rule is something that may happen to a real ledger; a decision also comes past the desk, as
from one that was broken into. After every step an independent judge (`protocol_judge`) reads the
ledger's file.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from webauthn.helpers import bytes_to_base64url

from broadcaster import passkey
from broadcaster.approval import ApprovalRequest, Decision, RequestState, Verdict, to_keep
from broadcaster.delivery import Next, PostState
from broadcaster.devices import ApproveDevice, approve_device
from broadcaster.errors import Refusal
from broadcaster.handover import record_command
from broadcaster.incident import Report, Status
from broadcaster.ledger import (
    Tx,
    approvals,
    authorities,
    incidents,
    open_ledger,
    passkeys,
    people,
    posts,
    releases,
    reports,
)
from broadcaster.ledger.approvals import KeptDecision
from broadcaster.orders import (
    Decide,
    SubmitRevision,
    ask_to_keep,
    decide,
    facts_of,
    renew_request,
    stop_release,
    submit_revision,
    take_back,
    withdraw_request,
)
from broadcaster.passkey import decision_challenge
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.suggestion import words
from broadcaster.update import lapses_by
from streams.compile import compile_reports
from streams.gate import judge_decision
from streams.sweep import sweep
from tests.authenticator import Authenticator
from tests.broadcaster.protocol_judge import Judge
from tests.story import CHANNELS, EXERCISE, INCIDENT_URL, PAGE, SITE, ZONE, StillClock, linked

T = TypeVar("T")

ROLES = {
    "Reyes": {Role.PIO},
    "Moss": {Role.PIO, Role.WATCH_COMMANDER},  # compiles, and might approve
    "Ortiz": {Role.COMMANDER},
    "Lee": {Role.COMMANDER},
    "Kim": {Role.WATCH_COMMANDER},
}
NUMBERS = ("2026-1", "2026-2")
ELSEWHERE = "https://alerts.example.evil.test"

PERSONS = st.sampled_from(sorted(ROLES))
COMPILERS = st.sampled_from(["Reyes", "Moss"])
COMMANDERS = st.sampled_from(["Ortiz", "Ortiz", "Lee", "Moss", None])
INCIDENTS = st.sampled_from(NUMBERS)
#: Mostly the newest, sometimes one of those before.
BACK = st.sampled_from([0, 0, 0, 1, 2, 3])
VERDICTS = st.sampled_from([*[Verdict.APPROVED] * 4, *Verdict])

#: Nothing here loses power, so no example waits for a disk where there is another place.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

#: In which way a decision may not be as it should be.
DIFFERS = (
    "person", "person", "person", "phone", "device", "verdict", "nonce", "another's words",
    "altered words", "site", "proof", "too late", "other facts", "facts not signed",
)  # fmt: skip
#: What may happen between the decision and the gate.
MEANWHILE = (
    "nothing", "the message is lost", "a minute goes by", "the facts change",
    "command moves", "the phone is lost", "newer words", "it is over",
)  # fmt: skip


class Phone(NamedTuple):
    """A device and the one passkey in it."""

    id: str
    holder: Authenticator

    def answers(self, challenge: bytes, origin: str = SITE.origin) -> passkey.Json:
        return replace(self.holder, origin=origin).prove({
            "challenge": bytes_to_base64url(challenge), "allowCredentials": [{"id": self.id}],
        })  # fmt: skip


class Beginning(NamedTuple):
    """A ledger in which nothing has happened yet, and who is in it."""

    ledger: bytes
    persons: dict[str, Person]
    phones: dict[str, tuple[Phone, Phone]]  #: an approved one each, and one that nobody approved


@cache
def beginning() -> Beginning:
    """Made once: migrations and keys take their time."""

    async def made(path: Path) -> tuple[dict[str, Person], dict[str, tuple[Phone, Phone]]]:
        ledger = open_ledger(path, EXERCISE, StillClock())
        persons = {
            name: await ledger.write(lambda tx, n=name: people.add(tx, n, ROLES[n], actor="test"))
            for name in ROLES
        }
        phones = {
            name: await ledger.write(lambda tx, p=person: (a_phone(tx, p, True),
                                                           a_phone(tx, p, False)))
            for name, person in persons.items()
        }  # fmt: skip
        for name in ("Reyes", "Moss"):
            await ledger.write(
                lambda tx, it=persons[name].id: authorities.authorize_for_practice(
                    tx, it, actor="test"
                )
            )
        await ledger.close()
        return persons, phones

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        persons, phones = asyncio.run(made(path))
        return Beginning(path.read_bytes(), persons, phones)


def a_phone(tx: Tx, person: Person, approved: bool) -> Phone:
    holder = Authenticator(SITE.origin, SITE.host)
    challenge = b"enrolment".ljust(32)
    answer = holder.make({"challenge": bytes_to_base64url(challenge)})
    made = passkey.register(answer, site=SITE, challenge=challenge)
    if approved:
        kept = linked(tx, person, made)
    else:
        kept = passkeys.add(tx, person.id, made, "Phone", actor=person.id)
    return Phone(kept.id, holder)


#: What the machine has met in all its examples: a machine that releases nothing proves nothing.
MET: Counter[str] = Counter()


class Protocol(RuleBasedStateMachine):
    """One installation, two incidents, five people with two phones each."""

    def __init__(self) -> None:
        super().__init__()
        start = beginning()
        self.persons, self.phones = start.persons, start.phones
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        self.path = Path(self.folder.name, "ledger.db")
        self.path.write_bytes(start.ledger)
        self.clock = StillClock()
        self.loop = asyncio.new_event_loop()
        self.ledger = open_ledger(self.path, EXERCISE, self.clock)
        self.incidents: dict[str, str] = {}
        self.requests: list[ApprovalRequest] = []
        self.orders: list[tuple[str, Decide]] = []  #: who sent what, to send it again
        self.decisions: list[str] = []
        self.forged: set[str] = set()
        self.released: list[str] = []
        self._reports = 0

    def teardown(self) -> None:
        self.loop.run_until_complete(self.ledger.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    def write(self, step: Callable[[Tx], T]) -> T:
        return self.loop.run_until_complete(self.ledger.write(step))

    def read(self, query: Callable[[Tx], T]) -> T:
        return self.loop.run_until_complete(self.ledger.read(query))

    def ordered(self, step: Callable[[Tx], T]) -> T | None:
        """An order that may be refused."""
        try:
            return self.write(step)
        except Refusal as refusal:
            MET[refusal.code] += 1
            return None

    @initialize(commander=COMMANDERS, compiler=COMPILERS)
    def two_updates_wait(self, commander: str | None, compiler: str) -> None:
        for number in NUMBERS:
            self.a_report(number, "GASLEAK", "1200 block of Oak St", Status.ACTIVE)
            self.command_moves(number, commander, "Reyes")
            self.submit(number, compiler, "", CHANNELS, again=False)

    # --- what happens ---

    @rule(number=INCIDENTS, type=st.sampled_from(["GASLEAK", "GASLEAK", "HAZMAT"]),
          place=st.sampled_from(["1200 block of Oak St", "1200 block of Oak St", "Elm St"]),
          status=st.sampled_from([Status.ACTIVE, Status.ACTIVE, Status.CLOSED]))  # fmt: skip
    def a_report(self, number: str, type: str, place: str, status: Status) -> None:
        """CAD says what is, what changed, or that it is over."""
        self._reports += 1
        report = Report(
            source="cad", message_id=f"m{self._reports}", number=number, type=type, place=place,
            status=status, opened_at=self.clock.at,
            reported_at=self.clock.at + timedelta(microseconds=self._reports),
        )  # fmt: skip
        accepted = self.write(lambda tx: reports.accept(tx, report, actor="cad"))
        self.write(compile_reports(report.id, department="DHSPD", zone=ZONE))
        self.incidents[number] = accepted.incident_id

    @rule(seconds=st.sampled_from([1, 20, 45, 61, 601, -2, -3600]), swept=st.booleans())
    def time_goes_on(self, seconds: int, swept: bool = False) -> None:
        """Or back, where somebody sets the clock. The sweep looks, or has not come to it yet."""
        self.clock.move(seconds=seconds)
        if swept:
            self.write(sweep)

    # --- the PIO ---

    @rule(number=INCIDENTS, who=COMPILERS, text=st.sampled_from(["", "Leave now."]),
          channels=st.sampled_from([CHANNELS, (PAGE,)]), again=st.booleans())  # fmt: skip
    def submit(
        self, number: str, who: str, text: str, channels: tuple[object, ...], again: bool
    ) -> None:
        """New words, or newer ones for the last update."""
        incident_id = self.incidents[number]

        def step(tx: Tx) -> ApprovalRequest:
            kept = incidents.get(tx, incident_id)
            assert kept is not None
            last = approvals.revisions_of(tx, incident_id)[:1]
            order = SubmitRevision(
                incident_id=incident_id, text=text, attested=True,
                update_id=last[0].update_id if last and again else None,
                channels=tuple(each.name for each in CHANNELS if each in channels),
                words=words(kept.incident, department="DHSPD", zone=ZONE, now=tx.now),
            )  # fmt: skip
            return submit_revision(tx, order, self.persons[who], list(CHANNELS)).request

        if request := self.ordered(step):
            self.requests.append(request)

    @rule(back=BACK, who=COMPILERS)
    def take_back_or_ask_again(self, back: int, who: str) -> None:
        """What waits is taken back; what has ended is renewed, or submitted anew."""
        old, person = self._request(back), self.persons[who]
        kept = self.read(lambda tx: approvals.request(tx, old.id))
        if kept is not None and kept.request.state is RequestState.OPEN:
            self.ordered(lambda tx: withdraw_request(tx, old.id, person))
        elif request := self.ordered(lambda tx: renew_request(tx, old.id, person)):
            self.requests.append(request)
        else:
            number = next(n for n, each in self.incidents.items() if each == old.incident_id)
            self.submit(number, who, "Leave now.", CHANNELS, again=back > 0)

    # --- command, and what people may hold in their hands ---

    @rule(number=INCIDENTS, commander=COMMANDERS, by=st.sampled_from(["Reyes", "Kim", "Lee"]))
    def command_moves(self, number: str, commander: str | None, by: str) -> None:
        to = self.persons[commander].id if commander else None
        self.ordered(lambda tx: record_command(tx, self.incidents[number], to, self.persons[by]))

    @rule(who=PERSONS, approve=st.booleans())
    def a_phone_is_lost_or_the_other_approved(self, who: str, approve: bool) -> None:
        """Nobody approves their own."""
        kim, (first, other) = self.persons["Kim"], self.phones[who]
        if not approve:
            self.ordered(lambda tx: passkeys.revoke(tx, first.id, actor=kim.id))
            return
        device = self.read(lambda tx: passkeys.get(tx, other.id))
        assert device is not None
        proof = self.phones["Kim"][0].answers(passkey.device_challenge(device, None))
        order = ApproveDevice(passkey_id=other.id, proof=proof)
        self.ordered(lambda tx: approve_device(tx, order, kim, SITE))

    # --- the Commander, and those who are not ---

    @rule(back=BACK, verdict=VERDICTS, meanwhile=st.sampled_from(MEANWHILE), knowing=st.booleans())
    def whoever_commands_decides(
        self, back: int, verdict: Verdict, meanwhile: str, knowing: bool
    ) -> None:
        """On a phone of theirs, about what it shows; something happens; the gate hears of it.

        `knowing`: of what has changed in the words since, where something has.
        """
        request = self._request(back)
        who = self._commander(request.incident_id)
        keeps = self._keeps(request) if knowing and verdict is Verdict.APPROVED else None
        recorded = self._send(who, self._order(request, who, verdict, keeps=keeps))
        self._meanwhile(meanwhile, request, who)
        if recorded and meanwhile != "the message is lost":
            self._gate(recorded)

    @rule(back=BACK, verdict=VERDICTS, differs=st.sampled_from(DIFFERS), who=PERSONS, other=BACK,
          past_the_desk=st.booleans())  # fmt: skip
    def somebody_decides_somehow(
        self, back: int, verdict: Verdict, differs: str, who: str, other: int, past_the_desk: bool
    ) -> None:
        """All but as it should be; or to the gate past the desk, just as a desk might lie."""
        request = self._request(back)
        second = self.requests[-1 - other % len(self.requests)]
        if differs == "too late":
            self.clock.at = max(self.clock.at, request.expires_at)
        decides = who if differs == "person" else self._commander(request.incident_id)
        order = self._order(request, decides, verdict)
        shown = {"another's words": second.digest, "altered words": "0" * 64}.get(differs)
        shown = shown or request.digest
        about = second if differs == "nonce" else request
        signed = Verdict.DECLINED if differs == "verdict" else verdict
        phone = self.phones[who if differs == "phone" else decides][differs == "device"]
        keeps = {"other facts": "f" * 64, "facts not signed": self._keeps(request)}.get(differs)
        proof = phone.answers(
            decision_challenge(
                about.nonce, about.id, signed, shown, keeps if differs == "other facts" else None
            ),
            ELSEWHERE if differs == "site" else SITE.origin,
        )
        order = order.model_copy(
            update={"digest": shown, "proof": None if differs == "proof" else proof, "keeps": keeps}
        )
        recorded = (self._forge if past_the_desk else self._send)(decides, order)
        if recorded and other == 0:
            self._gate(recorded)

    @precondition(lambda self: self.orders)
    @rule(back=BACK, to=BACK, elsewhere=st.booleans(), by=st.none() | PERSONS,
          new_key=st.booleans())  # fmt: skip
    def an_answer_comes_again(
        self, back: int, to: int, elsewhere: bool, by: str | None, new_key: bool
    ) -> None:
        """To the same request or another, from the same person or another."""
        who, order = self.orders[-1 - back % len(self.orders)]
        changes: dict[str, object] = {}
        if elsewhere:
            request = self._request(to)
            changes |= {"request_id": request.id, "revision_id": request.revision_id}
        if new_key:
            changes |= {"idempotency_key": str(uuid4())}
        self._send(by or who, order.model_copy(update=changes))

    # --- the gate, and after it ---

    @precondition(lambda self: self.decisions)
    @rule(back=BACK)
    def a_message_reaches_the_gate(self, back: int) -> None:
        """Any decision's, at any time, once, again, or never; and one that somebody made up."""
        assert not self.write(judge_decision(str(uuid4()), EXERCISE, INCIDENT_URL))
        self._gate(self.decisions[-1 - back % len(self.decisions)])

    @precondition(lambda self: self.released)
    @rule(back=BACK, who=PERSONS)
    def stop(self, back: int, who: str) -> None:
        release = self.released[-1 - back % len(self.released)]
        self.ordered(lambda tx: stop_release(tx, release, self.persons[who]))

    @precondition(lambda self: self.released)
    @rule(back=BACK, who=PERSONS, moves=st.booleans(), meanwhile=st.sampled_from(MEANWHILE))
    def what_is_held_is_asked_about(self, back: int, who: str, moves: bool, meanwhile: str) -> None:
        """What is out is no longer so, or is not so by now; its Commander keeps it."""
        release = self.released[-1 - back % len(self.released)]
        about = self.read(lambda tx: releases.get(tx, release))
        assert about is not None
        if moves:
            number = next(n for n, each in self.incidents.items() if each == about.incident_id)
            self.a_report(number, "GASLEAK", f"{len(self.requests)}00 block of Elm St",
                          Status.ACTIVE)  # fmt: skip
        if request := self.ordered(lambda tx: ask_to_keep(tx, release, self.persons[who])):
            self.requests.append(request)
            self.whoever_commands_decides(0, Verdict.APPROVED, meanwhile, knowing=True)

    @precondition(lambda self: self.released)
    @rule(back=BACK, who=PERSONS, out=st.booleans(), message=st.booleans())
    def what_is_out_is_taken_back(self, back: int, who: str, out: bool, message: bool) -> None:
        """By whoever; the channel has it, or has not begun."""
        release = self.released[-1 - back % len(self.released)]
        if out:
            self.write(lambda tx: posts.turn(tx, [
                posts.Turn(post, Next(PostState.POSTED)) for post in posts.of_release(tx, release)
                if post.channel == PAGE.name
            ]))  # fmt: skip
        order = self.ordered(lambda tx: take_back(tx, release, self.persons[who]))
        if order is None:
            return
        kept = self.read(lambda tx: approvals.decision_of(tx, order.request.id))
        assert kept is not None
        MET["taken back"] += 1
        self.decisions.append(kept.decision.id)
        if message:
            self._gate(kept.decision.id)

    # --- what must hold ---

    @invariant()
    def the_protocol_was_kept(self) -> None:
        judge = Judge(self.path, SITE.origin, self.forged)
        assert list(judge.faults()) == []
        for release_id in judge.releases.keys() - set(self.released):
            assert list(judge.truth_of(release_id)) == []
            self.released.append(release_id)
            MET["released"] += 1

    # --- how ---

    def _meanwhile(self, what: str, request: ApprovalRequest, who: str) -> None:
        number = next(n for n, each in self.incidents.items() if each == request.incident_id)
        if what == "a minute goes by":
            self.time_goes_on(61)
        elif what == "the facts change":
            self.a_report(number, "GASLEAK", "Elm St", Status.ACTIVE)
        elif what == "it is over":
            self.a_report(number, "GASLEAK", "1200 block of Oak St", Status.CLOSED)
        elif what == "command moves":
            self.time_goes_on(1)
            self.command_moves(number, "Lee" if who == "Ortiz" else "Ortiz", "Reyes")
        elif what == "the phone is lost":
            self.a_phone_is_lost_or_the_other_approved(who, approve=False)
        elif what == "newer words":
            self.submit(number, "Moss", "Leave now.", CHANNELS, again=True)

    def _request(self, back: int) -> ApprovalRequest:
        """One that waits, if any does; else, and now and then, one of those before."""
        undecided = (RequestState.OPEN, RequestState.LAPSED)
        states = self.read(lambda tx: {
            each.request.id: each.request.state for incident in self.incidents.values()
            for each in approvals.requests_of(tx, incident)
        })  # fmt: skip
        waiting = [each for each in self.requests if states[each.id] in undecided]
        some = waiting if back < 2 and waiting else self.requests
        return some[-1 - back % len(some)]

    def _commander(self, incident_id: str) -> str:
        kept = self.read(lambda tx: incidents.get(tx, incident_id))
        assert kept is not None
        commands = kept.incident.command.person_id
        return next((name for name, p in self.persons.items() if p.id == commands), "Kim")

    def _order(
        self, request: ApprovalRequest, who: str, verdict: Verdict, keeps: str | None = None
    ) -> Decide:
        """What a person's page sends after a touch, on the phone that still serves."""
        kept = self.read(lambda tx: passkeys.get(tx, self.phones[who][0].id))
        which = 0 if kept is not None and kept.usable else 1
        challenge = decision_challenge(request.nonce, request.id, verdict, request.digest, keeps)
        return Decide(
            request_id=request.id, verdict=verdict, revision_id=request.revision_id,
            digest=request.digest, reason=None if verdict is Verdict.APPROVED else "Which side?",
            idempotency_key=str(uuid4()), proof=self.phones[who][which].answers(challenge),
            keeps=keeps,
        )  # fmt: skip

    def _keeps(self, request: ApprovalRequest) -> str | None:
        """What the page has signed of the facts that changed in the words."""

        def look(tx: Tx) -> str | None:
            kept, revision = (approvals.request(tx, request.id),
                              approvals.revision(tx, request.revision_id))  # fmt: skip
            incident = incidents.get(tx, request.incident_id)
            assert kept is not None and revision is not None and incident is not None
            return to_keep(kept.request, lapses_by(revision, facts_of(incident)), tx.now)

        return self.read(look)

    def _send(self, who: str, order: Decide) -> str | None:
        """Answers the id of the decision, if it is a new one."""
        answer = self.write(lambda tx: decide(tx, order, self.persons[who], SITE))
        self.orders.append((who, order))
        if isinstance(answer, Refusal):
            MET[answer.code] += 1
            return None
        if answer.decision.id in self.decisions:
            MET["the same answer again"] += 1
            return None
        MET[f"recorded {order.verdict}{', knowing' if order.keeps else ''}"] += 1
        self.decisions.append(answer.decision.id)
        return answer.decision.id

    def _forge(self, who: str, order: Decide) -> str | None:
        """Writes whatever the desk's own tables take, without asking one question.

        One thing it leaves: a request that has ended stays so. A desk that was broken into could
        open it again, and the Commander's own answer about it would be released.
        """
        person = self.persons[who]

        def step(tx: Tx) -> str | None:
            kept = approvals.lock_request(tx, order.request_id)
            assert kept is not None
            if approvals.decision_of(tx, order.request_id):  # the database's own key
                return None
            incident = incidents.get(tx, kept.request.incident_id)
            assert incident is not None
            decision = Decision(
                id=str(uuid4()), request_id=order.request_id, person_id=person.id,
                verdict=order.verdict, digest=order.digest, reason=order.reason, at=tx.now,
                keeps=order.keeps,
            )  # fmt: skip
            approvals.add_decision(tx, decision, incident.incident.command, "forged-key",
                                   order.proof)  # fmt: skip
            if kept.request.state in (RequestState.OPEN, RequestState.LAPSED):
                approvals.end_request(tx, kept.request, RequestState(order.verdict.value), None)
            tx.record(Kind.DECISION_RECORDED, actor=person.id, request_id=order.request_id,
                      incident_id=kept.request.incident_id, decision_id=decision.id)  # fmt: skip
            return decision.id

        decision_id = self.write(step)
        if decision_id:
            MET["forged"] += 1
            self.decisions.append(decision_id)
            self.forged.add(decision_id)
        return decision_id

    def _gate(self, decision_id: str) -> None:
        def outcome(tx: Tx) -> KeptDecision | None:
            return approvals.decision(tx, decision_id)

        before = self.read(outcome)
        assert self.write(judge_decision(decision_id, EXERCISE, INCIDENT_URL))
        after = self.read(outcome)
        assert before is not None and after is not None
        if before.outcome is None:
            MET[f"gate: {after.outcome}"] += 1
        else:
            assert after == before, "judged once"


def test_the_protocol_is_kept_whatever_happens() -> None:
    MET.clear()
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=28, stateful_step_count=60,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )  # fmt: skip
    assert MET["released"] and MET["forged"] and MET["recorded approved"]


def test_what_lapsed_and_what_is_held_is_kept_by_who_commands() -> None:
    """The way that chance does not take in each run; the judge looks on."""
    MET.clear()
    machine = Protocol()
    try:
        machine.two_updates_wait("Ortiz", "Reyes")
        machine.a_report("2026-1", "GASLEAK", "Elm St", Status.ACTIVE)
        lapsed = next(each for each in machine.requests
                      if each.incident_id == machine.incidents["2026-1"])  # fmt: skip
        assert machine._send("Ortiz", machine._order(lapsed, "Ortiz", Verdict.APPROVED)) is None
        knowing = machine._order(lapsed, "Ortiz", Verdict.APPROVED, machine._keeps(lapsed))
        machine._gate(machine._send("Ortiz", knowing) or "")
        machine.the_protocol_was_kept()
        machine.what_is_held_is_asked_about(0, "Reyes", True, "nothing")
        machine.the_protocol_was_kept()
        machine.what_is_held_is_asked_about(0, "Lee", True, "the facts change")
        machine.the_protocol_was_kept()
        machine.what_is_out_is_taken_back(0, "Kim", out=True, message=True)
        machine.the_protocol_was_kept()
    finally:
        machine.teardown()
    assert (MET["facts_changed"], MET["gate: released"], MET["taken back"]) == (1, 2, 1)
    assert (MET["gate: kept"], MET["gate: facts_changed"]) == (1, 1)
