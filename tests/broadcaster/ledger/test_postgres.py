"""What PostgreSQL adds: roles with exactly their rights, a sealer, many writers at once."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError

from broadcaster import commands, rostering
from broadcaster.approval import Assent, Verdict
from broadcaster.calling import Means
from broadcaster.clock import SystemClock
from broadcaster.commands import Here
from broadcaster.delivery import PostState
from broadcaster.errors import LedgerAway, LedgerSilent, Refusal
from broadcaster.fallback import Allowance, sealed
from broadcaster.guest import Guest
from broadcaster.guests import EnrolGuest, draft_guest, end_guest, enrol_guest
from broadcaster.handover import record_command
from broadcaster.incident import Command, Report, fold
from broadcaster.ledger import (
    Ledger,
    Tx,
    approvals,
    attempts,
    calls,
    chain,
    fallbacks,
    guests,
    incidents,
    leases,
    locks,
    open_ledger,
    outbox,
    passkeys,
    people,
    records,
    reports,
)
from broadcaster.ledger import postgres as postgres_ledger
from broadcaster.ledger.attempts import Closing, Ended, Opened, Wanted
from broadcaster.orders import (
    Decide,
    renew_request,
    stop_release,
    withdraw_assent,
    withdraw_request,
)
from broadcaster.outcome import Next
from broadcaster.passkey import FAILURES, guest_challenge
from broadcaster.posting import Channels
from broadcaster.record import Kind
from broadcaster.roster import Person, Role
from broadcaster.settings import Settings
from streams.gate import judge_decision
from streams.prove import judge_next
from streams.sweep import sweep
from tests.codes import KEY, PIN
from tests.connected.installation import until
from tests.patience import PATIENCE
from tests.postgres import Database, Server
from tests.story import (
    EXERCISE,
    HOOK,
    INCIDENT_URL,
    NOW,
    PAGE,
    SITE,
    StillClock,
    Story,
    a_story,
    tapped,
    unlocked,
)

NOWHERE = Path("unused")
LASTS = timedelta(seconds=30)


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    with postgres.database() as made:
        yield made


async def opened(database: Database, role: str) -> AsyncIterator[Ledger]:
    ledger = open_ledger(NOWHERE, EXERCISE, url=database.url(role))
    yield ledger
    await ledger.close()


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Ledger]:
    async for ledger in opened(database, "broadcaster_desk"):
        yield ledger


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Ledger]:
    async for ledger in opened(database, "broadcaster_worker"):
        yield ledger


def a_report(number: int) -> Report:
    return Report(source="cad", message_id=f"m{number}", number="1", type="GASLEAK",
                  opened_at=NOW, reported_at=NOW)  # fmt: skip


async def run(ledger: Ledger, sql: str) -> None:
    await ledger.write(lambda tx: tx.connection.exec_driver_sql(sql))


async def test_the_desk_takes_reports(desk: Ledger) -> None:
    await desk.write(lambda tx: reports.accept(tx, a_report(1), actor="cad"))
    assert await desk.read(reports.count) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO releases SELECT * FROM releases",
        "INSERT INTO posts SELECT * FROM posts",
        "INSERT INTO attempts SELECT * FROM attempts",
        "INSERT INTO publications SELECT * FROM publications",
        "INSERT INTO mail_taken SELECT * FROM mail_taken",
        "UPDATE mail_taken SET fate = 'taken'",
        "INSERT INTO errands SELECT * FROM errands",
        "UPDATE errands SET due_at = NULL",
        "INSERT INTO reply_decisions SELECT * FROM reply_decisions",
        "UPDATE reply_decisions SET until = now()",
        "DELETE FROM alarms_seen",
        "UPDATE posts SET state = 'posted'",
        "UPDATE releases SET body = '{}'",
        "UPDATE decisions SET proof = '{}'",
        "UPDATE decisions SET outcome = 'released'",
        "UPDATE assents SET proof = '{}'",
        "DELETE FROM assents",
        "UPDATE assent_ends SET nonce = ''",
        "DELETE FROM assent_ends",
        "UPDATE approval_requests SET expires_at = now()",
        "UPDATE approval_requests SET epoch = 9",
        "UPDATE locks SET at = now()",
        "UPDATE locks SET person_id = 'p'",
        "DELETE FROM locks",
        "INSERT INTO seals SELECT * FROM seals",
        "UPDATE meta SET value = 'live' WHERE name = 'world'",
        "INSERT INTO outbox (topic, key, value, message_id, at) "
        "VALUES ('exercise.posts.public_page', 'k', 'v', 'm', now())",
        "INSERT INTO outbox (topic, key, value, message_id, at) "
        "VALUES ('exercise.updates.public', 'k', 'v', 'm', now())",
        "INSERT INTO outbox (topic, key, value, message_id, at) "
        "VALUES ('exercise.posts.settled', 'k', 'v', 'm', now())",
        "INSERT INTO enrolments (token_hash, person_id, expires_at) VALUES ('h', 'p', now())",
        "INSERT INTO people (id, name, roles, practice, added_at) "
        "VALUES ('p', 'n', 'supervisor', false, now())",
        "UPDATE people SET roles = 'supervisor'",
        "INSERT INTO role_changes (person_id, roles, at, by) VALUES ('p', 'pio', now(), 'p')",
        "UPDATE role_changes SET roles = 'supervisor'",
        "DELETE FROM role_changes",
        "INSERT INTO people (id, name, roles, practice, added_at) "
        "VALUES ('p', 'n', '', true, now())",
        "UPDATE guests SET until = now()",
        "UPDATE guests SET approval = '{}'",
        "DELETE FROM guests",
        "UPDATE guest_ends SET at = now()",
        "DELETE FROM guest_ends",
        "UPDATE passkeys SET public_key = ''",
        "INSERT INTO guidelines SELECT * FROM guidelines",
        "UPDATE guidelines SET body = '{}'",
        "INSERT INTO delegations (id, person_id, office, reason, until, granted_by, granted_at) "
        "VALUES ('d', 'p', 'duty chief', 'r', now(), 'p', now())",
        "UPDATE delegations SET office = 'duty chief'",
        "UPDATE delegations SET until = now()",
        "INSERT INTO request_changes (request_id, state, at, epoch, tries) "
        "VALUES ('r', 'released', now(), 0, 0)",
        "UPDATE request_changes SET state = 'released'",
        "UPDATE command_moves SET concerned = '[]'",
        "UPDATE guideline_ends SET at = now()",
        "DELETE FROM guideline_ends",
        "SELECT hash FROM fallback_pins",
        "INSERT INTO fallback_pins VALUES ('f', 'h')",
        "INSERT INTO fallbacks SELECT * FROM fallbacks",
        "UPDATE fallbacks SET until = now()",
        "DELETE FROM fallback_ends",
        "INSERT INTO fallback_answers (seal, fallback_id, challenge, at, step) "
        "VALUES ('s', 'f', 'c', now(), 1)",
        "UPDATE fallback_answers SET step = 1",
        "UPDATE fallback_answers SET refused = NULL",
        "UPDATE fallback_answers SET challenge = 'c'",
        "DELETE FROM fallback_answers",
        "UPDATE decisions SET seal = 's'",
        "DELETE FROM outbox",
        "DELETE FROM entries",
    ],
)
async def test_the_desks_role_cannot_publish(desk: Ledger, sql: str) -> None:
    with pytest.raises(LedgerAway, match=r"permission denied|row-level security"):
        await run(desk, sql)


async def test_the_desk_types_and_the_worker_judges(desk: Ledger, worker: Ledger) -> None:
    """Each with its own role; what a code proves is noted by the worker's alone."""

    def allowed(tx: Tx) -> Allowance:
        chief = people.add(tx, "Chief", [Role.CHIEF], actor="test")
        lee = people.add(tx, "Lee", [Role.COMMANDER], actor="test")
        return rostering.allow_fallback(
            tx, lee.id, pin=PIN, reason="Why", until=tx.now + timedelta(days=1), person=chief,
            actor="test",
        )  # fmt: skip

    made = await worker.write(allowed)
    wrong = sealed("1", "2", made.salt, b"words")
    await desk.write(lambda tx: fallbacks.enter(tx, made.id, wrong, b"words"))
    assert await worker.write(judge_next(KEY, SITE))
    kept = await desk.read(lambda tx: fallbacks.entered(tx, wrong))
    assert kept is not None and kept.answer.refused == "code_wrong"
    await desk.write(lambda tx: fallbacks.end(tx, made, ended_by="desk", actor="desk"))


async def test_the_desks_role_asks_decides_takes_back_and_unlocks(
    desk: Ledger, worker: Ledger
) -> None:
    """With what it may write of requests, assents and locks, and no more."""
    story = Story(worker, StillClock())
    await story._begin()
    incident_id = await story.reported()

    def added(tx: Tx) -> list[Person]:
        return [people.add(tx, name, [role], actor="test", practice=True)
                for name, role in (("Capt Lee", Role.COMMANDER), ("Sgt Ortega", Role.COMMANDER),
                                   ("Sgt Bell", Role.SUPERVISOR))]  # fmt: skip

    lee, ortega, bell = await worker.write(added)
    story.ledger = desk
    await desk.write(lambda tx: record_command(
        tx, incident_id, lee.id, story.pio, with_id=ortega.id, both=True
    ))  # fmt: skip
    submitted = await story.submitted(incident_id)

    async def approves(person: Person) -> object:
        order = Decide(
            request_id=submitted.request.id, verdict=Verdict.APPROVED,
            revision_id=submitted.revision.id, digest=submitted.revision.digest,
            idempotency_key=str(uuid4()),
        )  # fmt: skip
        return await desk.write(lambda tx: tapped(tx, order, person))

    assert isinstance(await approves(lee), Assent)
    await desk.write(lambda tx: withdraw_assent(tx, submitted.request.id, lee))
    for _ in range(FAILURES):
        await desk.write(lambda tx: locks.failed(tx, ortega.id))
    assert isinstance(refused := await approves(ortega), Refusal) and refused.code == "locked_out"
    await desk.write(lambda tx: unlocked(tx, ortega.id, by=bell))
    assert isinstance(await approves(ortega), Assent)
    decided = await approves(lee)
    assert isinstance(decided, approvals.KeptDecision)
    judge = judge_decision(decided.decision.id, EXERCISE, INCIDENT_URL)
    assert await worker.write(judge)
    kept = await worker.read(lambda tx: approvals.decision(tx, decided.decision.id))
    assert kept is not None and kept.outcome == "released"


async def test_the_desks_role_keeps_no_roster_and_says_where_it_is_kept(
    desk: Ledger, worker: Ledger, tmp_path: Path
) -> None:
    ordered = {
        "roster_add": {"name": "A", "roles": ["pio"]},
        "roster_link": {"name": "A"},
        "roster_role": {"name": "A", "roles": ["pio"], "by": "A"},
        "roster_remove": {"name": "A", "by": "A"},
        "roster_practice": {"names": {"A": ["pio"]}},
        "roster_guideline": {
            "topic": "recruitment", "members": [], "roles": ["staff"], "channels": ["public_page"],
            "until": "2030-01-01", "text": "T", "by": "A",
        },
        "channel_allow_replies": {"name": "x", "reason": "R", "until": "2030-01-01", "by": "A"},
        "channel_forbid_replies": {"name": "x", "by": "A"},
        "channel_add": {"account": {}, "expires": None, "by": "A"},
        "channel_change": {"name": "x", "given": {}, "expires": None, "by": "A"},
        "channel_remove": {"name": "x", "by": "A"},
        "channel_reseal": {},
        "channel_test": {"name": "x"},
    }  # fmt: skip
    assert ordered.keys() == commands.WORKERS_ALONE
    settings = Settings(home=tmp_path)
    for name, arguments in ordered.items():
        here = Here(settings, desk, SystemClock(), Channels(settings, desk))
        with pytest.raises(Refusal) as refusal:
            await commands.run(name, arguments, here)
        assert refusal.value.code == "desks_role"
    added = await commands.run(
        "roster_add", ordered["roster_add"],
        Here(settings, worker, SystemClock(), Channels(settings, worker),
             address="https://alerts.example"),
    )  # fmt: skip
    assert "/enrol/" in added["link"]


async def test_the_workers_role_asks_again_and_tells_of_what_it_refused(worker: Ledger) -> None:
    await run(worker, "INSERT INTO approval_requests SELECT * FROM approval_requests")
    await run(worker, "INSERT INTO command_moves SELECT * FROM command_moves")


async def test_the_workers_role_takes_a_commander_off_the_roster(
    desk: Ledger, worker: Ledger
) -> None:
    """With all that ends by it; who has a link, a session and an incident leaves each."""

    def add(tx: Tx) -> tuple[str, str]:
        people.add(tx, "Chief", [Role.CHIEF], actor="test")
        lee = people.add(tx, "Lee", [Role.COMMANDER], actor="test")
        people.enrol(tx, lee.id, actor="test")
        calls.add_reach(tx, lee.id, Means.MAIL, "lee@example.gov", actor="test")
        return lee.id, people.enrol(tx, lee.id, actor="test")

    lee, link = await worker.write(add)
    about = fold(None, a_report(1), world=EXERCISE, now=datetime.now(UTC))
    about = about.model_copy(update={"command": Command(person_id=lee, epoch=1)})
    await desk.write(lambda tx: incidents.add(tx, about))
    _, token = await desk.write(lambda tx: people.sign_in_by_link(tx, link))
    here = Here(Settings(), worker, SystemClock(), Channels(Settings(), worker))
    gone = await commands.run("roster_remove", {"name": "Lee", "by": "Chief"}, here)
    assert gone["commanded"] == ("1",)
    assert await desk.read(lambda tx: people.session(tx, token)) is None
    kept = await desk.read(lambda tx: incidents.get(tx, about.id))
    assert kept is not None and kept.incident.command.commanders == ()


async def test_the_workers_role_notes_who_has_a_mail(worker: Ledger) -> None:
    await run(worker, "INSERT INTO mail_taken SELECT * FROM mail_taken")
    await run(worker, "UPDATE mail_taken SET fate = 'taken'")


async def test_the_desks_role_may_end_a_guideline(desk: Ledger) -> None:
    """It cannot bring one back: an end is never changed."""
    await run(desk, "INSERT INTO guideline_ends SELECT * FROM guideline_ends")


async def test_the_desks_role_may_name_and_end_a_deputy(desk: Ledger) -> None:
    await run(desk, "INSERT INTO delegations SELECT * FROM delegations WHERE office = 'deputy'")
    await run(desk, "UPDATE delegations SET ended_at = now(), ended_by = 'p'")


async def test_the_desks_role_enrols_from_outside_and_rewrites_nothing_of_it(
    desk: Ledger, worker: Ledger
) -> None:
    watch = await worker.write(
        lambda tx: people.add(tx, "Lt", [Role.WATCH_COMMANDER], actor="test", practice=True)
    )
    about = fold(None, a_report(1), world=EXERCISE, now=datetime.now(UTC))
    await desk.write(lambda tx: incidents.add(tx, about))

    def enrol(tx: Tx) -> EnrolGuest:
        order = draft_guest(tx, about.id, watch, rank="Capt", name="D", agency="F", hours=1)
        signed = guest_challenge(order.guest)
        proof = passkeys.practice_answer(tx, watch.id, site=SITE, challenge=signed)
        assert isinstance(
            enrol_guest(tx, order.model_copy(update={"proof": proof}), watch, SITE), Guest
        )
        return order

    order = await desk.write(enrol)
    with pytest.raises(LedgerAway, match="row-level security"):  # with a link that is used already
        await run(desk, "INSERT INTO guests SELECT person_id || '2', incident_id, 'h', at, until, "
                  "approval, now(), 't', 'p' FROM guests")  # fmt: skip
    await desk.write(lambda tx: people.sign_in_by_link(tx, order.token, passkey_id="theirs"))
    await run(desk, "UPDATE guests SET passkey_id = 'another', used_at = now()")
    kept = await desk.read(lambda tx: guests.of(tx, order.person_id))
    assert kept is not None and kept.passkey_id == "theirs"
    await desk.write(lambda tx: end_guest(tx, about.id, order.person_id, watch))


async def test_the_desks_role_may_stop_a_release(desk: Ledger) -> None:
    await run(desk, "UPDATE releases SET stopped_at = now() WHERE stopped_at IS NULL")


@pytest.mark.parametrize("sql", ["DELETE FROM entries", "UPDATE seals SET hash = ''",
                                 "DELETE FROM people", "DROP TABLE posts"])  # fmt: skip
async def test_the_workers_role_cannot_rewrite_the_record(worker: Ledger, sql: str) -> None:
    with pytest.raises(LedgerAway, match=r"permission denied|must be owner"):
        await run(worker, sql)


async def test_not_even_the_owner_changes_an_entry(database: Database, worker: Ledger) -> None:
    await worker.write(lambda tx: tx.record(Kind.STARTED, actor="test"))
    owner = open_ledger(NOWHERE, EXERCISE, url=database.url())
    try:
        with pytest.raises(Exception, match="append-only"):
            await run(owner, "UPDATE entries SET kind = 'Other'")
    finally:
        await owner.close()


async def test_two_sealers_make_one_chain(desk: Ledger, worker: Ledger) -> None:
    async def note(number: int) -> None:
        await desk.write(lambda tx: tx.record(Kind.STARTED, actor=f"n{number}"))

    async def seal() -> int:
        return await worker.write(lambda tx: chain.seal_waiting(tx.connection))

    await asyncio.gather(*(note(number) for number in range(60)), *(seal() for _ in range(6)))
    while await seal():
        pass
    verdict = await worker.read(lambda tx: records.verify(tx, []))
    assert (verdict.ok, verdict.entries) == (True, 60)


async def test_reports_that_come_at_once_are_accepted_once(desk: Ledger) -> None:
    answers = await asyncio.gather(*(
        desk.write(lambda tx, number=number: reports.accept(tx, a_report(number % 5), actor="cad"))
        for number in range(40)
    ))  # fmt: skip
    assert len({answer.report_id for answer in answers}) == 5
    assert sum(not answer.repeated for answer in answers) == 5
    assert (await desk.read(outbox.waiting))[0] == 5


async def test_a_commit_is_heard_by_every_process(desk: Ledger, worker: Ledger) -> None:
    heard: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    worker.on_commit(heard.put_nowait)
    await worker.read(reports.count)  # it listens from its first use
    async with asyncio.timeout(PATIENCE):
        assert "all" in await heard.get()  # connected: what was missed is not known
        await desk.write(lambda tx: reports.accept(tx, a_report(1), actor="cad"))
        while "outbox" not in await heard.get():
            pass


async def test_a_step_that_fails_leaves_nothing(desk: Ledger) -> None:
    def failing(tx: Tx) -> None:
        reports.accept(tx, a_report(1), actor="cad")
        raise Refusal("no", "No.", "Stop.")

    with pytest.raises(Refusal):
        await desk.write(failing)
    assert await desk.read(reports.count) == 0
    assert (await desk.read(outbox.waiting))[0] == 0


async def test_a_reader_cannot_write(worker: Ledger) -> None:
    with pytest.raises(LedgerAway, match="read-only"):
        await worker.read(lambda tx: tx.connection.exec_driver_sql("DELETE FROM outbox"))


async def test_a_server_that_is_not_there_is_said_in_one_sentence() -> None:
    ledger = open_ledger(NOWHERE, EXERCISE, url="postgresql://nobody@127.0.0.1:1/none")
    try:
        for use in (ledger.read(reports.count), ledger.write(reports.count), ledger.prove()):
            with pytest.raises(LedgerAway, match="cannot take this now"):
                await use
    finally:
        await ledger.close()


async def test_a_ledger_without_tables_names_the_cure(postgres: Server) -> None:
    with pytest.raises(Refusal, match="broadcaster ledger apply"):
        open_ledger(NOWHERE, EXERCISE, url=Database("postgres", postgres.port).url())


async def test_a_key_that_is_taken_twice_is_a_mistake_not_an_outage(worker: Ledger) -> None:
    with pytest.raises(IntegrityError):
        await run(worker, "INSERT INTO meta VALUES ('world', 'exercise')")


@pytest.mark.parametrize(("sql", "said"), [
    ("INSERT INTO meta VALUES ('world', %s)", "pk_meta"),
    ("INSERT INTO meta VALUES (%s, NULL)", "not-null constraint"),
    ("INSERT INTO unsealed (entry_id) VALUES (%s)", "fk_unsealed_entry_id"),
    ("SELECT CAST(%s AS text)::integer", "InvalidTextRepresentation"),
    ("SELECT CAST(%s AS text)::timestamptz", "InvalidDatetimeFormat"),
])  # fmt: skip
async def test_what_the_database_says_of_a_mistake_quotes_no_row(
    worker: Ledger, sql: str, said: str
) -> None:
    """Not even in the log, where the whole traceback stands."""
    private = f"x{uuid4().hex}"  # one that begins with ten digits would be too large a number
    with pytest.raises(DatabaseError) as caught:
        await worker.write(lambda tx: tx.connection.exec_driver_sql(sql, (private,)))
    whole = "".join(traceback.format_exception(caught.value))
    assert said in whole and private not in whole and "DETAIL" not in whole


async def test_a_row_that_somebody_holds_ends_in_a_sentence(
    worker: Ledger, database: Database
) -> None:
    with psycopg.connect(database.url()) as other:
        other.execute("LOCK TABLE meta IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LedgerAway, match="lock timeout"):
            await run(worker, "UPDATE meta SET value = value WHERE name = 'sealer'")
    await run(worker, "UPDATE meta SET value = value WHERE name = 'sealer'")


async def test_a_frozen_transaction_gives_its_locks_back(
    worker: Ledger, database: Database
) -> None:
    held = threading.Event()
    go_on = threading.Event()

    def frozen(tx: Tx) -> None:
        tx.connection.exec_driver_sql("UPDATE meta SET value = value WHERE name = 'sealer'")
        held.set()
        go_on.wait(30)
        tx.connection.exec_driver_sql("SELECT 1")

    stopped = asyncio.create_task(worker.write(frozen))
    await asyncio.to_thread(held.wait)
    with psycopg.connect(database.url()) as other:  # waits for the row
        other.execute("UPDATE meta SET value = value WHERE name = 'sealer'")
    go_on.set()
    with pytest.raises(LedgerAway, match="idle-in-transaction"):
        await stopped


async def test_a_commit_that_is_not_answered_may_have_been_kept(
    worker: Ledger, database: Database
) -> None:
    def killed(tx: Tx) -> None:
        pid = tx.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(database.url(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with pytest.raises(LedgerSilent, match="may have been kept"):
        await worker.write(killed)


async def test_a_server_that_is_frozen_is_waited_for_so_long(
    worker: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_ledger, "PATIENCE", 0.2)
    go_on = threading.Event()
    with pytest.raises(LedgerSilent, match="has not answered"):
        await worker.write(lambda tx: go_on.wait(30))
    with pytest.raises(LedgerAway, match="has not answered"):
        await worker.read(lambda tx: go_on.wait(30))
    assert await worker.read(lambda tx: not go_on.wait(0.5), long=True)
    go_on.set()


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        ("UPDATE reports SET compiled_at = now(), next_look = NULL",
         "SELECT count(*) = 0 FROM reports WHERE next_look IS NOT NULL"),
        ("UPDATE approval_requests SET state = 'declined', next_look = NULL",
         "SELECT state = 'declined' FROM approval_requests"),
        ("UPDATE decisions SET outcome = 'released', next_look = NULL",
         "SELECT next_look IS NULL FROM decisions"),
        ("UPDATE incidents SET closes_at = closes_at + interval '1 year'",
         "SELECT open FROM incidents"),
    ],
    ids=["compile", "desk", "gate", "compile again"],
)  # fmt: skip
async def test_the_sweep_leaves_alone_what_a_step_has_in_hand(
    step: str, asked: str, database: Database, tmp_path: Path
) -> None:
    """It saw the row before the step's commit; what it does comes after."""
    async with a_story(tmp_path, database.url()) as story:
        request = await story.submitted(await story.reported())
        if "decisions" in step:
            await story.approved(request)
        with psycopg.connect(database.url()) as other:
            other.execute("UPDATE reports SET compiled_at = NULL, next_look = '2026-01-01'")
        story.clock.move(days=30)
        with psycopg.connect(database.url()) as other:
            other.execute(step)  # type: ignore[arg-type]
            sweeping = asyncio.create_task(story.ledger.write(sweep))
            await asyncio.wait({sweeping}, timeout=1)
        await sweeping
        with psycopg.connect(database.url()) as other:
            assert other.execute(asked).fetchone() == (True,)  # type: ignore[arg-type]


async def test_a_request_is_not_renewed_beside_one_that_is_being_submitted(
    database: Database, tmp_path: Path
) -> None:
    """One request at a time waits for the Commander, whoever asks at the same moment."""
    async with a_story(tmp_path, database.url()) as story:
        incident_id = await story.reported()
        old = (await story.submitted(incident_id)).request
        story.clock.move(minutes=11)
        await story.ledger.write(sweep)  # it has expired
        submitting, renewing = await side_by_side(
            database, story,
            lambda: story.submitted(incident_id, "Newer."),
            lambda: story.ledger.write(lambda tx: renew_request(tx, old.id, story.pio)),
        )  # fmt: skip
        with pytest.raises(Refusal, match="Another update of this incident is waiting"):
            await renewing
        waiting = await story.ledger.read(approvals.open_requests)
        assert [kept.request.id for kept in waiting] == [(await submitting).request.id]


async def test_a_stop_comes_before_an_attempt_or_after_it(
    database: Database, tmp_path: Path
) -> None:
    """An attempt that is being opened holds its release: nothing begins once Stop has answered."""
    async with a_story(tmp_path, database.url()) as story:
        release, planned = await story.released(await story.reported())
        post = planned[PAGE.name]
        name = f"channel:{PAGE.name}"
        taken = await story.ledger.write(lambda tx: leases.take(tx, [name], "w", LASTS))
        held, go = threading.Event(), threading.Event()

        def open_slowly(tx: Tx) -> object:
            opened = attempts.open_(tx, [Wanted(post.id, taken[name], LASTS, PAGE)])[post.id]
            held.set()
            go.wait(5)
            return opened

        opening = asyncio.create_task(story.ledger.write(open_slowly))
        await asyncio.to_thread(held.wait, 5)
        stopping = asyncio.create_task(
            story.ledger.write(lambda tx: stop_release(tx, release.id, story.pio), urgent=True)
        )
        done, _ = await asyncio.wait({stopping}, timeout=0.3)
        assert not done, "it waits for the attempt that is being noted"
        go.set()
        assert isinstance(await opening, Opened)
        await stopping
        other = planned[HOOK.name]
        hook = f"channel:{HOOK.name}"
        taken = await story.ledger.write(lambda tx: leases.take(tx, [hook], "w", LASTS))
        wanted = [Wanted(other.id, taken[hook], LASTS, HOOK)]
        after = await story.ledger.write(lambda tx: attempts.open_(tx, wanted))
        assert isinstance(after[other.id], Ended)


async def test_a_look_that_ends_while_a_later_post_is_opened_finds_it_passed(
    database: Database, tmp_path: Path
) -> None:
    async with a_story(tmp_path, database.url()) as story:
        _, planned = await story.released(await story.reported(), channels=[PAGE])
        first, name = planned[PAGE.name], f"channel:{PAGE.name}"
        story.clock.move(seconds=1)
        _, planned = await story.released(first.incident_id, "Second.", channels=[PAGE])
        second = planned[PAGE.name]
        taken = await story.ledger.write(lambda tx: leases.take(tx, [name], "w", LASTS))
        lease, at_once = taken[name], story.clock.at + timedelta(seconds=1)
        opened = (await story.ledger.write(
            lambda tx: attempts.open_(tx, [Wanted(first.id, lease, LASTS, PAGE)])
        ))[first.id]  # fmt: skip
        assert isinstance(opened, Opened)
        doubt = Closing(opened, lease, "InDoubt", Next(PostState.IN_DOUBT, at_once, "?"))
        await story.ledger.write(lambda tx: attempts.close(tx, [doubt]))
        held, go = threading.Event(), threading.Event()

        def open_slowly(tx: Tx) -> object:
            wanted = Wanted(second.id, lease, LASTS, PAGE, (first.id,))
            opened = attempts.open_(tx, [wanted])[second.id]
            held.set()
            go.wait(5)
            return opened

        opening = asyncio.create_task(story.ledger.write(open_slowly))
        await asyncio.to_thread(held.wait, 5)
        looking = asyncio.create_task(story.ledger.write(
            lambda tx: attempts.trials(tx, {first.id: PAGE}, ending=False)[first.id]
        ))  # fmt: skip
        done, _ = await asyncio.wait({looking}, timeout=0.3)
        assert not done, "it waits for the attempt that is being noted"
        go.set()
        assert isinstance(await opening, Opened)
        assert (await looking).overtaken


async def test_a_request_that_is_being_taken_back_ends_once(
    database: Database, tmp_path: Path
) -> None:
    async with a_story(tmp_path, database.url()) as story:
        incident_id = await story.reported()
        old = await story.submitted(incident_id)
        _, submitting = await side_by_side(
            database, story,
            lambda: story.ledger.write(lambda tx: withdraw_request(tx, old.request.id, story.pio)),
            lambda: story.submitted(incident_id, "Newer.", update_id=old.revision.update_id),
        )  # fmt: skip
        await submitting
        await story.ledger.write(lambda tx: chain.seal_waiting(tx.connection))
        kinds = [line.kind for line in await story.ledger.read(records.lines)]
        assert kinds.count(Kind.REQUEST_WITHDRAWN) == 1


async def side_by_side(
    database: Database,
    story: Story,
    first: Callable[[], Awaitable[Any]],
    second: Callable[[], Awaitable[Any]],
) -> tuple[asyncio.Future[Any], asyncio.Future[Any]]:
    """Two orders: the second begins, and waits for a lock, before the first's commit."""
    done, go_on, write = threading.Event(), threading.Event(), story.ledger.write

    async def in_hand(step: Callable[[Tx], object]) -> object:
        def slow(tx: Tx) -> object:
            answer = step(tx)
            done.set()
            go_on.wait(30)
            return answer

        return await write(slow)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story.ledger, "write", in_hand)
        one = asyncio.ensure_future(first())
        await asyncio.to_thread(done.wait)
    other = asyncio.ensure_future(second())
    await until("the second waits for a lock", lambda: somebody_waits(database))
    go_on.set()
    await asyncio.wait({one, other})
    return one, other


async def somebody_waits(database: Database) -> bool:
    """Whether one of its sessions waits for another's lock."""
    with psycopg.connect(database.url()) as other:
        waiting = other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone()
    return waiting is not None


@pytest.mark.parametrize("said", ["", "nothing of ours", "null", "{}"])
async def test_what_is_not_ours_does_not_make_it_deaf(
    desk: Ledger, worker: Ledger, said: str
) -> None:
    heard: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    worker.on_commit(heard.put_nowait)
    async with asyncio.timeout(PATIENCE):
        await worker.read(reports.count)
        await heard.get()  # it listens
        await run(desk, f"NOTIFY {postgres_ledger.CHANNEL}, '{said}'")
        await heard.get()  # it listens again
        await desk.write(lambda tx: reports.accept(tx, a_report(1), actor="cad"))
        while "outbox" not in await heard.get():
            pass
