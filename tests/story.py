"""A story told to a real ledger by the real steps: reported, submitted, approved, released."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from broadcaster import channel
from broadcaster.approval import AnyRelease, Assent, Verdict
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.devices import Unlock, unlock
from broadcaster.errors import Refusal
from broadcaster.incident import Report
from broadcaster.ledger import (
    Ledger,
    Tx,
    incidents,
    locks,
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
    ShowPicture,
    SubmitRevision,
    Submitted,
    decide,
    practised,
    submit_revision,
)
from broadcaster.passkey import Passkey, Registered, Site, unlock_challenge
from broadcaster.roster import Person, Role
from broadcaster.suggestion import words
from broadcaster.update import Origin, Phrase, UpdateKind
from broadcaster.world import Exercise
from streams.compile import compile_reports
from streams.gate import judge_decision

EXERCISE: Exercise = "exercise"
INCIDENT_URL = "https://alerts.example/p/{}".format
SITE = Site.at(INCIDENT_URL(""))
NOW = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
ZONE = ZoneInfo("America/Los_Angeles")
PAGE = channel.public_page(EXERCISE)
HOOK = channel.webhook(EXERCISE, "county", "County desk", dedupes=False)
CHANNELS: tuple[Channel[Exercise], ...] = (PAGE, HOOK)


def tapped(tx: Tx, order: Decide, person: Person) -> KeptDecision | Assent | Refusal:
    """A decision, proven with the person's practice passkey."""
    return decide(tx, practised(tx, order, person, SITE), person, SITE)


def unlocked(tx: Tx, person_id: str, *, by: Person | None = None) -> None:
    """Somebody's lock is ended with a supervisor's practice passkey; without a lock nothing is."""
    lock = locks.holding(tx, person_id, SITE)
    if lock is None:
        return
    who = by or people.add(tx, "Sgt Cole", [Role.SUPERVISOR], actor="test", practice=True)
    proof = passkeys.practice_answer(tx, who.id, site=SITE, challenge=unlock_challenge(lock))
    assert unlock(tx, Unlock(person_id=person_id, proof=proof), who, SITE) is None


class StillClock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


class Story:
    """One installation and its people."""

    def __init__(self, ledger: Ledger, clock: StillClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self._reports = 0

    async def _begin(self) -> None:
        async def added(name: str, role: Role) -> Person:
            return await self.ledger.write(
                lambda tx: people.add(tx, name, [role], actor="test", practice=True)
            )

        self.pio = await added("A. Reyes", Role.PIO)
        self.commander = await added("Sgt Ortiz", Role.WATCH_COMMANDER)

    async def reported(self, number: str = "2026-1", **fields: object) -> str:
        """A CAD report comes in and is compiled; answers the incident's id."""
        self._reports += 1
        report = Report.model_validate({
            "source": "cad", "message_id": f"m{self._reports}", "number": number,
            "type": "GASLEAK", "place": "1200 block of Oak St", "opened_at": self.clock.at,
            "reported_at": self.clock.at,
        } | fields)  # fmt: skip
        accepted = await self.ledger.write(lambda tx: reports.accept(tx, report, actor="cad"))
        step = compile_reports(report.id, department="Desert Hot Springs PD", zone=ZONE)
        await self.ledger.write(step)
        return accepted.incident_id

    async def submitted(
        self,
        incident_id: str,
        text: str = "",
        channels: Sequence[Channel[Exercise]] = CHANNELS,
        replaces: tuple[str, ...] = (),
        update_id: str | None = None,
        contact: str = "",
        kind: UpdateKind = UpdateKind.UPDATE,
        pictures: tuple[ShowPicture, ...] = (),
    ) -> Submitted:
        kept = await self.ledger.read(lambda tx: incidents.get(tx, incident_id))
        assert kept is not None
        said = words(kept.incident, department="DHSPD", zone=ZONE, now=self.clock.at)
        if kind is UpdateKind.ALL_CLEAR:
            ended = Phrase(text="The leak is closed.", origin=Origin.TYPED)
            said = said.model_copy(update={"guidance": ended})
        order = SubmitRevision(
            incident_id=incident_id, kind=kind, text=text, replaces=replaces, update_id=update_id,
            channels=tuple(each.name for each in channels), attested=True,
            words=said, pictures=pictures,
        )  # fmt: skip
        return await self.ledger.write(
            lambda tx: submit_revision(tx, order, self.pio, list(channels), contact=contact)
        )

    async def approved(self, submitted: Submitted, keeps: str | None = None) -> KeptDecision:
        order = Decide(
            request_id=submitted.request.id, verdict=Verdict.APPROVED,
            revision_id=submitted.revision.id, digest=submitted.revision.digest,
            idempotency_key=f"key-{submitted.request.id}", keeps=keeps,
        )  # fmt: skip
        answer = await self.ledger.write(lambda tx: tapped(tx, order, self.commander))
        assert isinstance(answer, KeptDecision), answer
        return answer

    async def released(
        self,
        incident_id: str,
        text: str = "",
        channels: Sequence[Channel[Exercise]] = CHANNELS,
        replaces: tuple[str, ...] = (),
    ) -> tuple[AnyRelease, dict[str, posts.Kept]]:
        """Submitted, approved, through the gate; answers the release and its posts by channel."""
        return await self.gated(await self.submitted(incident_id, text, channels, replaces))

    async def corrected(
        self, incident_id: str, release_id: str, channels: Sequence[Channel[Exercise]]
    ) -> Submitted:
        """A correction of a release is submitted."""
        kept = await self.ledger.read(lambda tx: incidents.get(tx, incident_id))
        assert kept is not None
        order = SubmitRevision(
            incident_id=incident_id, kind=UpdateKind.CORRECTION, text="Right words.",
            corrects=release_id, replaces=(release_id,), attested=True,
            channels=tuple(each.name for each in channels),
            words=words(kept.incident, department="DHSPD", zone=ZONE, now=self.clock.at),
        )  # fmt: skip
        return await self.ledger.write(
            lambda tx: submit_revision(tx, order, self.pio, list(channels))
        )

    async def gated(self, submitted: Submitted) -> tuple[AnyRelease, dict[str, posts.Kept]]:
        """Approved, and through the gate."""
        kept = await self.approved(submitted)
        await self.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
        release = await self.ledger.read(lambda tx: releases.of_revision(tx, submitted.revision.id))
        assert release is not None
        planned = await self.ledger.read(lambda tx: posts.of_release(tx, release.id))
        return release, {post.channel: post for post in planned}


def linked(tx: Tx, person: Person, made: Registered, name: str = "Phone") -> Passkey:
    """A device that somebody made a passkey on with a link of the roster, and may use."""
    token = people.enrol(tx, person.id, actor="test")
    people.sign_in_by_link(tx, token, passkey_id=made.id)
    passkeys.add(tx, person.id, made, name, actor=person.id, approved_by=passkeys.LINK)
    return passkeys.known(tx, made.id)


_made: dict[type[Clock], bytes] = {}


async def new_ledger(clock: Clock) -> bytes:
    """A ledger in which nothing has happened: made once by each sort of clock, since the migrations
    take their time."""
    if type(clock) not in _made:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ledger.db")
            await open_ledger(path, EXERCISE, clock).close()
            _made[type(clock)] = await asyncio.to_thread(path.read_bytes)
    return _made[type(clock)]


@asynccontextmanager
async def a_story(folder: Path, url: str | None = None) -> AsyncIterator[Story]:
    """A new ledger in `folder`, or the PostgreSQL one at `url`; its clock held still."""
    clock = StillClock()
    path = folder / "ledger.db"
    if url is None:
        path.write_bytes(await new_ledger(clock))
    ledger = open_ledger(path, EXERCISE, clock, url=url)
    try:
        story = Story(ledger, clock)
        await story._begin()
        yield story
    finally:
        await ledger.close()
