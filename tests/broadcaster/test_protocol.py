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
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import uuid4

import pytest
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
from sqlalchemy import select
from webauthn.helpers import bytes_to_base64url

from broadcaster import passkey
from broadcaster.approval import (
    ApprovalRequest,
    Assent,
    Decision,
    RequestState,
    Verdict,
    to_keep,
)
from broadcaster.authority import Office
from broadcaster.delivery import PostState
from broadcaster.devices import ApproveDevice, approve_device
from broadcaster.errors import Refusal
from broadcaster.fallback import Allowance, sealed
from broadcaster.guests import draft_guest, end_guest, enrol_guest
from broadcaster.handover import record_command, take_command
from broadcaster.incident import Report, Status
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    authorities,
    fallbacks,
    incidents,
    open_ledger,
    passkeys,
    people,
    posts,
    releases,
    reports,
    schema,
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
    withdraw_assent,
    withdraw_request,
)
from broadcaster.outcome import Next
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.suggestion import words
from broadcaster.update import lapses_by
from streams.compile import compile_reports
from streams.gate import judge_decision
from streams.prove import judge_next
from streams.sweep import sweep
from tests.authenticator import Authenticator
from tests.broadcaster.protocol_judge import Judge
from tests.codes import KEY, PIN, code_at
from tests.story import CHANNELS, EXERCISE, INCIDENT_URL, NOW, PAGE, SITE, ZONE, StillClock, linked

T = TypeVar("T")

ROLES = {
    "Reyes": {Role.PIO},
    "Moss": {Role.PIO, Role.WATCH_COMMANDER},  # compiles, and might approve
    "Ortiz": {Role.COMMANDER},
    "Lee": {Role.COMMANDER},  # and duty chief
    "Kim": {Role.WATCH_COMMANDER},
}
NUMBERS = ("2026-1", "2026-2")
ELSEWHERE = "https://alerts.example.evil.test"

#: Enrolled from outside for the first incident alone.
GUEST = "Diaz"

PERSONS = st.sampled_from(sorted([*ROLES, GUEST]))
COMPILERS = st.sampled_from(["Reyes", "Moss"])
COMMANDERS = st.sampled_from(["Ortiz", "Ortiz", "Lee", "Moss", GUEST, GUEST, None])
#: Who commands with them, if anybody.
SECONDS = st.sampled_from([None, None, "Lee", "Lee", "Moss"])
INCIDENTS = st.sampled_from(NUMBERS)
#: Mostly the newest, sometimes one of those before.
BACK = st.sampled_from([0, 0, 0, 1, 2, 3])
VERDICTS = st.sampled_from([*[Verdict.APPROVED] * 4, *Verdict])

#: In which way a decision may not be as it should be.
DIFFERS = (
    "person", "person", "person", "phone", "device", "verdict", "nonce", "another's words",
    "altered words", "site", "proof", "too late", "other facts", "facts not signed",
)  # fmt: skip
#: Who may type PIN and code instead, and for how many minutes; and what may be wrong with it.
TYPE = {"Ortiz": 1440, "Kim": 1440, "Lee": 5}
TYPISTS = st.sampled_from(sorted(TYPE))
TYPED_SO = (
    *("as it should be",) * 4, "wrong pin", "wrong code", "another request", "another verdict",
    "a used code", "somebody else's", "kept for later", "not judged", "ended since",
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
    allowed: dict[str, Allowance]  #: PIN and code


@cache
def beginning() -> Beginning:
    """Made once: migrations and keys take their time."""

    async def made(path: Path) -> Beginning:
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
        await ledger.write(
            lambda tx: authorities.delegate(
                tx, persons["Lee"].id, Office.DUTY_CHIEF, reason="Week", actor="test",
                until=NOW + timedelta(days=7), granted_by="test",
            )
        )  # fmt: skip
        now = StillClock().at
        allowed = {
            name: await ledger.write(lambda tx, p=persons[name].id, m=minutes: fallbacks.allow(
                tx, p, pin=PIN, reason="Why", until=now + timedelta(minutes=m), granted_by="chief",
                actor="test",
            ))
            for name, minutes in TYPE.items()
        }  # fmt: skip
        await ledger.close()
        return Beginning(await asyncio.to_thread(path.read_bytes), persons, phones, allowed)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        return asyncio.run(made(path))


def a_phone(tx: Tx, person: Person, approved: bool, token: str | None = None) -> Phone:
    """`token`: of somebody from outside's link; another's is made."""
    holder = Authenticator(SITE.origin, SITE.host)
    challenge = b"enrolment".ljust(32)
    answer = holder.make({"challenge": bytes_to_base64url(challenge)})
    made = passkey.register(answer, site=SITE, challenge=challenge)
    if token:
        people.sign_in_by_link(tx, token, passkey_id=made.id)
        kept = passkeys.add(tx, person.id, made, "Phone", actor=person.id, approved_by="link")
    elif approved:
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
        self.persons, self.phones = dict(start.persons), dict(start.phones)
        self.allowed = start.allowed
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "ledger.db")
        self.path.write_bytes(start.ledger)
        self.clock = StillClock()
        self.loop = asyncio.new_event_loop()
        self.ledger = open_ledger(self.path, EXERCISE, self.clock)
        self.incidents: dict[str, str] = {}
        self.requests: list[ApprovalRequest] = []
        #: Who sent what, by which PIN and code if so: to send it again.
        self.orders: list[tuple[str, Decide, str | None]] = []
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

    @initialize(commander=COMMANDERS, compiler=COMPILERS, second=SECONDS, both=st.booleans())
    def two_updates_wait(
        self, commander: str | None, compiler: str, second: str | None = None, both: bool = False
    ) -> None:
        for number in NUMBERS:
            self.a_report(number, "GASLEAK", "1200 block of Oak St", Status.ACTIVE)
            if number == NUMBERS[0]:
                self._enrol_guest()
            self.command_moves(number, commander, "Reyes", second, both)
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
            wordings = approvals.revisions_of(tx, incident_id)
            # At one time of the still clock they come in no order, and chance must be repeatable.
            last = sorted(wordings, key=lambda it: (it.number, it.compiled_at))[-1:]
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

    @rule(number=INCIDENTS, commander=COMMANDERS, by=st.sampled_from(["Reyes", "Kim", "Lee"]),
          second=SECONDS, both=st.booleans())  # fmt: skip
    def command_moves(
        self, number: str, commander: str | None, by: str, second: str | None = None,
        both: bool = False,
    ) -> None:  # fmt: skip
        """To one, to nobody, or to two: of whom either decides, or both must."""
        self.clock.move(seconds=0.001)  # no two facts have one time
        to = self.persons[commander].id if commander else None
        two = commander is not None and second not in (None, commander)
        self.ordered(lambda tx: record_command(
            tx, self.incidents[number], to, self.persons[by],
            with_id=self.persons[second or ""].id if two else None, both=both and two,
        ))  # fmt: skip

    @rule(number=INCIDENTS, who=PERSONS)
    def command_is_taken(self, number: str, who: str) -> None:
        """Where nobody commands, by the Watch Commander or the duty chief."""
        self.ordered(lambda tx: take_command(tx, self.incidents[number], self.persons[who]))

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

    @rule(ends=st.sampled_from([False, False, True]))
    def somebody_from_outside_is_ended_or_enrolled_anew(self, ends: bool) -> None:
        guest = self.persons[GUEST]
        if ends:
            step = partial(end_guest, incident_id=self.incidents[NUMBERS[0]], person_id=guest.id)
            self.ordered(lambda tx: step(tx, person=self.persons["Kim"]))
            return
        now = self.read(lambda tx: people.get(tx, guest.id))
        if now is not None and now.guest_of is None:
            self._enrol_guest()

    def _enrol_guest(self) -> None:
        """By the Watch Commander's phone, for an hour; the link makes their phone's passkey."""
        incident_id, kim = self.incidents[NUMBERS[0]], self.persons["Kim"]

        def step(tx: Tx) -> tuple[Person, tuple[Phone, Phone]] | None:
            order = draft_guest(
                tx, incident_id, kim, rank="Capt", name=GUEST, agency="Palm Fire", hours=1
            )
            proof = self.phones["Kim"][0].answers(passkey.guest_challenge(order.guest))
            signed = order.model_copy(update={"proof": proof})
            if isinstance(enrol_guest(tx, signed, kim, SITE), Refusal):
                return None
            guest = people.get(tx, order.person_id)
            assert guest is not None
            return guest, (a_phone(tx, guest, True, order.token), a_phone(tx, guest, False))

        if made := self.ordered(step):
            MET["enrolled from outside"] += 1
            self.persons[GUEST], self.phones[GUEST] = made

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

    @rule(back=BACK, who=PERSONS)
    def an_approval_that_waits_is_taken_back(self, back: int, who: str) -> None:
        """By whoever; the other Commander's has not come yet, or has."""
        request = self._request(back)
        self.ordered(lambda tx: withdraw_assent(tx, request.id, self.persons[who]))

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
            self._challenge(about, signed, shown, keeps if differs == "other facts" else None),
            ELSEWHERE if differs == "site" else SITE.origin,
        )
        order = order.model_copy(
            update={"digest": shown, "proof": None if differs == "proof" else proof, "keeps": keeps}
        )
        recorded = (self._forge if past_the_desk else self._send)(decides, order)
        if recorded and other == 0:
            self._gate(recorded)

    @rule(back=BACK, verdict=VERDICTS, typed=st.sampled_from(TYPED_SO), who=TYPISTS, other=BACK,
          past_the_desk=st.booleans())  # fmt: skip
    def somebody_types_pin_and_code(
        self, back: int, verdict: Verdict, typed: str, who: str, other: int, past_the_desk: bool
    ) -> None:
        """Whoever commands, or another, as it should be or not; the gate judges it and hears."""
        request = self._request(back)
        commands = self._commander(request.incident_id)
        decides = commands if commands in TYPE else who
        if typed != "a used code":
            self.clock.move(seconds=30)  # the next one is shown
        seal = self._type(decides, request, verdict, typed, who, other)
        order = self._order(request, decides, verdict).model_copy(update={"proof": None})
        if typed == "kept for later":
            self.clock.move(seconds=75)
        if past_the_desk:
            recorded = self._forge(decides, order, seal)
        else:
            recorded = self._send(decides, order, seal)
        if typed == "ended since":
            held = self._held(decides)
            self.write(lambda tx: fallbacks.end(tx, held, ended_by="chief", actor="test"))
        if recorded:
            self._gate(recorded)

    def _held(self, who: str) -> Allowance:
        """What somebody may type; where it was ended, they are allowed it anew."""
        person = self.persons[who].id
        held = self.read(lambda tx: fallbacks.of_person(tx, person))[0]
        if held.ended_at is not None:
            held = self.write(lambda tx: fallbacks.allow(
                tx, person, pin=PIN, reason="Why", until=tx.now + timedelta(hours=1),
                granted_by="chief", actor="test",
            ))  # fmt: skip
        return held

    def _type(
        self, who: str, request: ApprovalRequest, verdict: Verdict, typed: str, somebody: str,
        other: int,
    ) -> str:  # fmt: skip
        """What was typed for a decision, sealed and judged, or not."""
        allowed = self._held(somebody if typed == "somebody else's" else who)
        about = self.requests[-1 - other % len(self.requests)]
        about = about if typed == "another request" else request
        meant = Verdict.DECLINED if typed == "another verdict" else verdict
        challenge = self._challenge(about, meant, request.digest)
        code = "0000000" if typed == "wrong code" else code_at(allowed, self.clock.at)
        if typed == "a used code":
            first = b"something else"
            self._enter(allowed, sealed(PIN, code, allowed.salt, first), first)
        pin = "975310" if typed == "wrong pin" else PIN
        seal = sealed(pin, code, allowed.salt, challenge)
        self._enter(allowed, seal, challenge, judged=typed != "not judged")
        return seal

    def _enter(
        self, allowed: Allowance, seal: str, challenge: bytes, *, judged: bool = True
    ) -> None:
        self.write(lambda tx: fallbacks.enter(tx, allowed.id, seal, challenge))
        while judged and self.write(judge_next(KEY, SITE)):
            pass

    @precondition(lambda self: self.orders)
    @rule(back=BACK, to=BACK, elsewhere=st.booleans(), by=st.none() | PERSONS,
          new_key=st.booleans())  # fmt: skip
    def an_answer_comes_again(
        self, back: int, to: int, elsewhere: bool, by: str | None, new_key: bool
    ) -> None:
        """To the same request or another, from the same person or another."""
        who, order, seal = self.orders[-1 - back % len(self.orders)]
        changes: dict[str, object] = {}
        if elsewhere:
            request = self._request(to)
            changes |= {"request_id": request.id, "revision_id": request.revision_id}
        if new_key:
            changes |= {"idempotency_key": str(uuid4())}
        self._send(by or who, order.model_copy(update=changes), seal)

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
        judge = Judge(self.path, SITE.origin, self.forged, KEY)
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
        """One that waits, if any does; else, and now and then, one of those before. As it is now:
        its nonce is another one once an approval was taken back."""
        undecided = (RequestState.OPEN, RequestState.LAPSED)
        now = self.read(lambda tx: {
            each.request.id: each.request for incident in self.incidents.values()
            for each in approvals.requests_of(tx, incident)
        })  # fmt: skip
        every = [now[each.id] for each in self.requests]
        waiting = [each for each in every if each.state in undecided]
        some = waiting if back < 2 and waiting else every
        return some[-1 - back % len(some)]

    def _commander(self, incident_id: str) -> str:
        kept = self.read(lambda tx: incidents.get(tx, incident_id))
        assert kept is not None
        command = kept.incident.command
        given = self.read(lambda tx: {
            each.person_id for asked in approvals.open_requests(tx, incident_id)
            if (each := assents.given(tx, asked.request, command, None))
        })  # fmt: skip
        left = [each for each in command.commanders if each not in given]
        return next((name for name, p in self.persons.items() if p.id in left), "Kim")

    def _challenge(
        self, request: ApprovalRequest, verdict: Verdict, digest: str, keeps: str | None = None
    ) -> bytes:
        """What a passkey signs for it, as command is now."""
        kept = self.read(lambda tx: incidents.get(tx, request.incident_id))
        return request.challenge(verdict, digest, kept.incident.command.epoch, keeps)

    def _order(
        self, request: ApprovalRequest, who: str, verdict: Verdict, keeps: str | None = None
    ) -> Decide:
        """What a person's page sends after a touch, on the phone that still serves."""
        kept = self.read(lambda tx: passkeys.get(tx, self.phones[who][0].id))
        which = 0 if kept is not None and kept.usable else 1
        challenge = self._challenge(request, verdict, request.digest, keeps)
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

    def _send(self, who: str, order: Decide, seal: str | None = None) -> str | None:
        """Answers the id of the decision, if it is a new one."""
        answer = self.write(lambda tx: decide(tx, order, self.persons[who], SITE, seal=seal))
        self.orders.append((who, order, seal))
        if isinstance(answer, Refusal):
            MET[answer.code] += 1
            return None
        if isinstance(answer, Assent):
            MET["assented"] += 1
            return None
        if answer.decision.id in self.decisions:
            MET["the same answer again"] += 1
            return None
        MET[f"recorded {order.verdict}{', knowing' if order.keeps else ''}"] += 1
        MET["typed"] += seal is not None
        self.decisions.append(answer.decision.id)
        return answer.decision.id

    def _forge(self, who: str, order: Decide, seal: str | None = None) -> str | None:
        """Writes whatever the desk's own tables take, without asking one question.

        One thing it leaves: a request that has ended stays so, and one that lapsed unless its words
        are kept. A desk that was broken into could open it again, and the Commander's own answer
        about it would be released.
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
                keeps=order.keeps, assent_id=self._some_assent(tx, kept.request, order),
            )  # fmt: skip
            approvals.add_decision(tx, decision, incident.incident.command, "forged-key",
                                   order.proof, seal)  # fmt: skip
            undecided = [RequestState.OPEN, *([RequestState.LAPSED] if order.keeps else [])]
            if kept.request.state in undecided:
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

    def _some_assent(self, tx: Tx, request: ApprovalRequest, order: Decide) -> str:
        """The last one to this request, though it may stand no longer; else one that the other
        Commander never gave, with the only answer that there is."""
        table = schema.assents
        last = tx.connection.execute(
            select(table.c.id).where(table.c.request_id == request.id).order_by(table.c.at.desc())
        ).scalar()
        if last is not None:
            return str(last)
        incident = incidents.get(tx, request.incident_id)
        assert incident is not None
        command = incident.incident.command
        made_up = Assent(
            id=str(uuid4()), request_id=request.id, nonce=request.nonce, digest=order.digest,
            person_id=command.with_id or self.persons["Lee"].id, keeps=order.keeps,
            epoch=command.epoch, at=tx.now, proof=order.proof or {},
        )  # fmt: skip
        assents.add(tx, made_up, "forged-key", "")
        self.forged.add(made_up.id)
        return made_up.id

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
    assert MET["released"] and MET["forged"] and MET["recorded approved"] and MET["typed"]


#: What is typed, and what desk and gate say of it.
TYPED_AND_SAID = {
    "as it should be": "released", "wrong pin": "code_wrong", "wrong code": "code_wrong",
    "another request": "code_for_other", "another verdict": "code_for_other",
    "a used code": "code_used", "somebody else's": "fallback_not_allowed",
    "kept for later": "code_over", "not judged": "code_not_judged",
    "ended since": "fallback_not_allowed", "after its end": "fallback_not_allowed",
}  # fmt: skip


@pytest.mark.parametrize("past_the_desk", [False, True])
@pytest.mark.parametrize("typed", TYPED_AND_SAID)
def test_what_is_typed_decides_as_it_should_be_and_not_otherwise(
    typed: str, past_the_desk: bool
) -> None:
    """The ways that chance does not take in each run; the judge looks on."""
    MET.clear()
    machine = Protocol()
    try:
        machine.two_updates_wait("Lee", "Reyes")
        if typed == "after its end":
            machine.clock.move(minutes=TYPE["Lee"])
        machine.somebody_types_pin_and_code(0, Verdict.APPROVED, typed, "Kim", 1, past_the_desk)
        machine.the_protocol_was_kept()
    finally:
        machine.teardown()
    at_the_gate = past_the_desk or typed in ("as it should be", "ended since")
    said = TYPED_AND_SAID[typed]
    assert MET[f"gate: {said}" if at_the_gate else said] == 1, MET
    assert MET["released"] == (typed == "as it should be")


def test_both_of_a_unified_command_approve_where_both_must() -> None:
    """The way that chance seldom takes to its end; the judge looks on."""
    MET.clear()
    machine = Protocol()
    try:
        machine.two_updates_wait("Ortiz", "Reyes", "Lee", both=True)
        for what in ("nothing", "taken back", "nothing", "command moves", "nothing"):
            machine.whoever_commands_decides(0, Verdict.APPROVED, "nothing", knowing=True)
            if what == "taken back":
                machine.an_approval_that_waits_is_taken_back(0, "Ortiz")
                machine.an_approval_that_waits_is_taken_back(0, "Lee")
            elif what == "command moves":
                machine.command_moves("2026-1", "Lee", "Reyes", "Moss", both=True)
            machine.the_protocol_was_kept()
    finally:
        machine.teardown()
    assert MET["gate: released"] and MET["assented"]


def test_somebody_from_outside_decides_while_they_are_enrolled() -> None:
    """The same of a guest: what chance may not come to, the judge looking on."""
    MET.clear()
    machine = Protocol()
    try:
        machine.two_updates_wait(GUEST, "Reyes")
        first, second = machine.requests
        machine._gate(machine._send(GUEST, machine._order(first, GUEST, Verdict.APPROVED)) or "")
        machine.the_protocol_was_kept()
        forged = machine._forge(GUEST, machine._order(second, GUEST, Verdict.APPROVED))
        machine._gate(forged or "")
        machine.the_protocol_was_kept()
        machine.submit(NUMBERS[0], "Reyes", "Leave now.", CHANNELS, again=False)
        third = machine._order(machine.requests[-1], GUEST, Verdict.APPROVED)
        decision = machine._send(GUEST, third)
        machine.time_goes_on(1)
        machine.somebody_from_outside_is_ended_or_enrolled_anew(ends=True)
        machine._gate(decision or "")
        machine.the_protocol_was_kept()
    finally:
        machine.teardown()
    assert (MET["gate: released"], MET["gate: guest_over"]) == (1, 1)
    assert MET["cannot_command"] == 1 and MET["gate: not_the_commander"] == 1


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
