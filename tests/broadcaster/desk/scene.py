"""What the desk's tests act on: people, an incident, a submitted and a released update.

Every step is the product's own: intake, compile, the orders, the gate, the page's publication.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from aiohttp.test_utils import TestClient

from broadcaster.approval import AnyRelease, Verdict
from broadcaster.channel import AnyChannel, public_page, webhook
from broadcaster.delivery import PostState, Receipt
from broadcaster.errors import Refusal
from broadcaster.incident import Report
from broadcaster.intake.native import EXAMPLE
from broadcaster.ledger import (
    Ledger,
    Tx,
    approvals,
    attempts,
    incidents,
    leases,
    people,
    posts,
    publications,
    releases,
    reports,
)
from broadcaster.ledger.attempts import Closing, Opened, Wanted
from broadcaster.ledger.publications import Publication
from broadcaster.orders import Decide, SubmitRevision, Submitted, submit_revision
from broadcaster.outcome import Next
from broadcaster.roster import Person, Role
from broadcaster.suggestion import words
from broadcaster.update import Origin, Phrase, Rendering, UpdateKind, Words
from streams.compile import compile_reports
from streams.gate import judge_decision
from tests.story import tapped

ZONE = ZoneInfo("America/Los_Angeles")
DEPARTMENT = "Desert Hot Springs PD"

#: What a browser says of a request that one of our own pages makes.
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
#: What a browser's window asks for.
PAGE = {"Accept": "text/html,application/xhtml+xml"}
#: What a program of the department's own sends with a change.
PROGRAM = {"X-Broadcaster": "1", "Content-Type": "application/json"}

#: How it ended, in an all clear.
ENDED = Phrase(text="The leak is closed.", origin=Origin.TYPED)

CHANNELS: tuple[AnyChannel, ...] = (
    public_page("exercise"),
    webhook("exercise", "partners", "Partner agencies", dedupes=True),
)


@dataclass
class HeldClock:
    """A clock that stands still until it is moved."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def on(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass(frozen=True)
class Persons:
    """One practice person a role."""

    pio: Person
    commander: Person
    watch: Person
    supervisor: Person
    records: Person


async def add_persons(ledger: Ledger) -> Persons:
    def step(tx: Tx) -> Persons:
        def add(name: str, role: Role) -> Person:
            return people.add(tx, name, [role], actor="test", practice=True)

        return Persons(
            pio=add("A. Reyes", Role.PIO),
            commander=add("Sgt Ortiz", Role.COMMANDER),
            watch=add("Lt Baker", Role.WATCH_COMMANDER),
            supervisor=add("Sgt Cole", Role.SUPERVISOR),
            records=add("K. Lund", Role.RECORDS),
        )

    return await ledger.write(step)


async def add_incident(
    ledger: Ledger, now: datetime, *, number: str = "2026-004417", type_: str = "GASLEAKO",
    place: str | None = "66100 block of Pierson Blvd", **fields: object,
) -> incidents.Kept:  # fmt: skip
    """Reports an incident and compiles it."""
    report = Report.model_validate({
        "source": "dhs-cad", "message_id": f"m-{number}-{now.timestamp()}", "number": number,
        "type": type_, "place": place, "priority": 2, "opened_at": now - timedelta(minutes=4),
        "reported_at": now, **fields,
    })  # fmt: skip
    accepted = await ledger.write(lambda tx: reports.accept(tx, report, actor="dhs-cad"))
    await ledger.write(compile_reports(report.id, department=DEPARTMENT, zone=ZONE))
    kept = await ledger.read(lambda tx: incidents.get(tx, accepted.incident_id))
    assert kept is not None
    return kept


def order_for(
    incident: incidents.Kept, now: datetime, *, hazard: str | None = None, text: str = "",
    kind: UpdateKind = UpdateKind.UPDATE, corrects: str | None = None,
    channels: tuple[str, ...] = ("public_page", "partners"), **more: object,
) -> SubmitRevision:  # fmt: skip
    """An order with the words that the product would suggest."""
    said = words(incident.incident, department=DEPARTMENT, zone=ZONE, now=now)
    if hazard is not None:
        said = Words(**{
            **dict(said), "hazard": said.hazard.model_copy(update={"text": hazard}),
        })  # fmt: skip
    if kind is UpdateKind.ALL_CLEAR:
        said = said.model_copy(update={"guidance": ENDED})
    return SubmitRevision(
        incident_id=incident.incident.id, kind=kind, words=said, text=text, channels=channels,
        corrects=corrects, **({"attested": True} | more),
    )  # fmt: skip


async def submit(ledger: Ledger, order: SubmitRevision, person: Person) -> Submitted:
    return await ledger.write(lambda tx: submit_revision(tx, order, person, CHANNELS))


def rendering(channel: str, *, text: str) -> Rendering:
    return Rendering(channel=channel, headline="Gas leak", text=text)


def decision_on(
    submitted: Submitted, verdict: Verdict = Verdict.APPROVED, **more: object
) -> Decide:
    return Decide(**{
        "request_id": submitted.request.id, "verdict": verdict,
        "revision_id": submitted.revision.id, "digest": submitted.revision.digest,
        "idempotency_key": f"key-{submitted.request.id}", **more,
    })  # fmt: skip


async def approve(ledger: Ledger, submitted: Submitted, person: Person) -> AnyRelease:
    """Decides, and lets the gate judge the decision."""
    kept = await ledger.write(lambda tx: tapped(tx, decision_on(submitted), person))
    assert not isinstance(kept, Refusal), kept
    await ledger.write(
        judge_decision(kept.decision.id, "exercise", "https://alerts.example/p/{}".format)
    )
    release = await ledger.read(lambda tx: releases.of_revision(tx, submitted.revision.id))
    assert release is not None
    return release


async def deliver(ledger: Ledger, release: AnyRelease, *, page_address: str = "") -> None:
    """Puts a release's post on the public page, as the page's adapter and deliver do."""

    def step(tx: Tx) -> None:
        post = next(p for p in posts.of_release(tx, release.id) if p.channel == "public_page")
        public_id = publications.publish(tx, post.id)
        lasts = timedelta(seconds=30)
        [lease] = leases.take(tx, ["channel:public_page"], "test", lasts).values()
        wanted = Wanted(post.id, lease, lasts, public_page(tx.world))
        [opened] = attempts.open_(tx, [wanted]).values()
        assert isinstance(opened, Opened)
        receipt = Receipt(remote_id=public_id, url=f"{page_address}/p/{public_id}")
        attempts.close(tx, [Closing(opened, lease, "receipt", Next(PostState.POSTED), receipt)])

    await ledger.write(step)


async def told(
    ledger: Ledger, incident: incidents.Kept, persons: Persons, now: datetime, **order: object
) -> AnyRelease:
    """One whole round: submitted, approved, released, on the page."""
    submitted = await submit(ledger, order_for(incident, now, **order), persons.pio)
    release = await approve(ledger, submitted, persons.watch)
    await deliver(ledger, release)
    return release


async def sign_in(client: TestClient, person: Person) -> None:
    """Chooses a practice person, as the chooser's form does."""
    answer = await client.post(
        "/practice", data={"person_id": person.id, "next": "/"}, headers=SAME_ORIGIN,
        allow_redirects=False,
    )  # fmt: skip
    assert answer.status == 303, await answer.text()


async def request_of(ledger: Ledger, request_id: str) -> approvals.Kept:
    kept = await ledger.read(lambda tx: approvals.request(tx, request_id))
    assert kept is not None
    return kept


def report_body(now: datetime, **fields: object) -> bytes:
    """A report as a CAD system sends it."""
    return json.dumps({
        **EXAMPLE, "opened_at": (now - timedelta(minutes=4)).isoformat(),
        "reported_at": now.isoformat(), **fields,
    }).encode()  # fmt: skip


def a_time() -> datetime:
    """14:02 in California on an ordinary Sunday."""
    return datetime(2026, 11, 22, 22, 2, 0, tzinfo=UTC)


def publication(at: datetime, number: int = 1, **fields: object) -> Publication:
    """What the feeds are made from, for what needs no ledger."""
    return Publication(**{
        "post_id": f"00000000-0000-0000-0000-{number:012}", "incident_id": "i",
        "incident_public_id": "abcd2345", "number": number, "kind": "update",
        "headline": "Gas leak", "text": "Gas leak.", "area": "Pierson Blvd", "digest": "0" * 64,
        "published_at": at, "expires_at": at + timedelta(hours=1), "release_id": f"r{number}",
        "corrects": None, "guidance": None, "ended": None, **fields,
    })  # fmt: skip
