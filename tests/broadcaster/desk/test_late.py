"""The gate came too late to an approval: no page says that nobody decided."""

from __future__ import annotations

from aiohttp.test_utils import TestClient

from broadcaster.handover import record_command
from broadcaster.ledger import Ledger, approvals, incidents
from broadcaster.orders import Submitted
from streams.gate import judge_decision
from tests.broadcaster.desk import scene
from tests.broadcaster.desk.test_lapsed import page_of, shown
from tests.story import INCIDENT_URL, tapped

WHY = "The approval was given 70 s ago and could not be acted on since."


async def judged_late(
    ledger: Ledger, clock: scene.HeldClock, submitted: Submitted, persons: scene.Persons,
    *, command_moves: bool = False,
) -> None:  # fmt: skip
    order = scene.decision_on(submitted)
    kept = await ledger.write(lambda tx: tapped(tx, order, persons.watch))
    assert isinstance(kept, approvals.KeptDecision)
    clock.on(seconds=70)
    if command_moves:
        incident_id = submitted.request.incident_id
        await ledger.write(lambda tx: record_command(tx, incident_id, None, persons.pio))
    await ledger.write(judge_decision(kept.decision.id, "exercise", INCIDENT_URL))


async def test_asked_again_by_itself_the_old_request_leads_to_the_new_one(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted,
    incident: incidents.Kept, persons: scene.Persons,
) -> None:  # fmt: skip
    await judged_late(ledger, clock, submitted, persons)
    [asked] = await ledger.read(lambda tx: approvals.open_requests(tx))
    for person in (persons.watch, persons.pio):
        seen = await shown(client, person, f"/a/{submitted.request.id}")
        assert "Approved, and not released" in seen and WHY in seen
        assert "Nobody decided" not in seen and "Expired" not in seen
        page = await page_of(client, person, f"/a/{submitted.request.id}")
        assert f'href="/a/{asked.request.id}"' in page and 'id="ask-again"' not in page
    assert "Waiting for you" in await shown(client, persons.watch, "/")
    assert "Approve EXERCISE" in await shown(client, persons.watch, f"/a/{asked.request.id}")


async def test_not_asked_again_every_page_says_that_somebody_decided(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock, submitted: Submitted,
    incident: incidents.Kept, persons: scene.Persons,
) -> None:  # fmt: skip
    """Command has moved: the gate asks nobody then."""
    await judged_late(ledger, clock, submitted, persons, command_moves=True)
    for path in ("/", f"/incidents/{incident.incident.id}", f"/a/{submitted.request.id}"):
        for person in (persons.pio, persons.watch):
            seen = await shown(client, person, path)
            assert WHY in seen and "Command has moved since." in seen, path
            assert "not released" in seen and "Nobody decided" not in seen, path
        if path != "/":
            assert 'id="ask-again"' in await page_of(client, persons.pio, path), path
    assert "Not released: gate late" in await shown(
        client, persons.pio, f"/incidents/{incident.incident.id}"
    )
