"""Why an update was or was not released, and who could approve what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from broadcaster import explain, rostering
from broadcaster.approval import Verdict
from broadcaster.authority import Content, Matter, Office
from broadcaster.edit import EditWords, edit_words
from broadcaster.errors import Kind, Refusal
from broadcaster.handover import record_command
from broadcaster.ledger import approvals, passkeys, people
from broadcaster.ledger.approvals import KeptDecision
from broadcaster.orders import (
    Decide,
    Submitted,
    renew_request,
    stop_release,
    take_back,
    withdraw_request,
)
from broadcaster.roster import Person, Role
from broadcaster.update import EXERCISE_MARK, facts_digest, lapses_by
from streams.gate import judge_decision
from streams.sweep import sweep
from tests.story import CHANNELS, EXERCISE, INCIDENT_URL, SITE, Story, a_story, tapped

Json = dict[str, Any]


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with a_story(tmp_path) as story:
        yield story


async def explained(story: Story, id: str) -> Json:
    return await story.ledger.read(lambda tx: explain.update(tx, id))


async def of(story: Story, submitted: Submitted) -> Json:
    return await explained(story, submitted.revision.update_id)


def clause(told: Json, what: str) -> Json:
    """The one clause of which this is said."""
    (found,) = [each for each in told["clauses"] if what in each["what"]]
    return dict(found)


async def decided(
    story: Story, submitted: Submitted, verdict: Verdict, reason: str | None = None,
    person: Person | None = None,
) -> approvals.KeptDecision | Refusal:  # fmt: skip
    order = Decide(
        request_id=submitted.request.id, verdict=verdict, reason=reason,
        revision_id=submitted.revision.id, digest=submitted.revision.digest,
        idempotency_key=f"key-{submitted.request.id}",
    )  # fmt: skip
    return await story.ledger.write(lambda tx: tapped(tx, order, person or story.commander))


async def added(story: Story, name: str, role: Role, *, practice: bool = False) -> Person:
    return await story.ledger.write(
        lambda tx: people.add(tx, name, [role], actor="test", practice=practice)
    )


async def test_submitted_and_waiting(story: Story) -> None:
    submitted = await story.submitted(await story.reported())
    told = await of(story, submitted)
    assert (told["state"], told["released"]) == ("waiting", False)
    assert told["because"] == (
        "Not released: it waits for the Watch Commander since 2026-11-22 22:00:00 UTC, "
        "until 2026-11-22 22:10:00 UTC."
    )
    held = {each["clause"]: each["holds"] for each in told["clauses"]}
    assert held == {"389.3": True, "389.8": True, "389.4.1": None, "389.5": True}
    assert clause(told, "authorized")["why"].startswith("test granted it to A. Reyes at ")
    assert clause(told, "compiled")["why"] == "A. Reyes compiled it at 2026-11-22 22:00:00 UTC."
    assert "A. Reyes stated" in clause(told, "prohibited")["why"]


async def test_it_waits_for_the_one_who_commands(story: Story) -> None:
    incident_id = await story.reported()
    await story.ledger.write(
        lambda tx: record_command(tx, incident_id, story.commander.id, story.pio)
    )
    told = await of(story, await story.submitted(incident_id))
    assert "it waits for Sgt Ortiz since" in told["because"]


@pytest.mark.parametrize("verdict", [Verdict.DECLINED, Verdict.RETURNED])
async def test_declined_or_returned(story: Story, verdict: Verdict) -> None:
    submitted = await story.submitted(await story.reported())
    story.clock.move(seconds=40)
    await decided(story, submitted, verdict, "Say which street")
    told = await of(story, submitted)
    assert (told["state"], told["released"]) == (str(verdict), False)
    assert told["because"] == (
        f'Not released: Sgt Ortiz {verdict} it at 2026-11-22 22:00:40 UTC: "Say which street"'
    )
    approval = clause(told, "approved by")
    assert (approval["clause"], approval["holds"]) == ("389.4.1", False)


async def test_expired_before_and_after_the_sweep_noted_it(story: Story) -> None:
    submitted = await story.submitted(await story.reported())
    story.clock.move(minutes=11)
    before = await of(story, submitted)
    assert before["state"] == "expired" and "before 2026-11-22 22:10:00 UTC" in before["because"]
    await story.ledger.write(sweep)
    after = await of(story, submitted)
    assert after["state"] == "expired" and "Nobody decided within the time" in after["because"]
    request = await story.ledger.write(
        lambda tx: renew_request(tx, submitted.request.id, story.pio)
    )
    again = await explained(story, request.id)
    asked = [each["holds"] for each in again["clauses"] if "approved by" in each["what"]]
    assert (again["state"], asked) == ("waiting", [False, None]), "both requests are told"


async def test_a_commanders_edit_is_told_with_who_compiled_and_who_stated(story: Story) -> None:
    base = await story.submitted(await story.reported())
    said = {
        each.channel: each.text.removeprefix(EXERCISE_MARK) for each in base.revision.renderings
    }

    async def edited(of_: Submitted, **texts: str) -> Submitted:
        order = EditWords(
            request_id=of_.request.id, digest=of_.revision.digest, texts=texts, attested=True
        )
        return await story.ledger.write(
            lambda tx: edit_words(tx, order, story.commander, CHANNELS, SITE)
        )

    fewer = await edited(base, county=said["county"])
    told = await of(story, fewer)
    assert (told["state"], told["update_id"]) == ("waiting", base.revision.update_id)
    assert clause(told, "authorized")["why"].startswith("test granted it to A. Reyes at ")
    assert "Sgt Ortiz edited it at " in clause(told, "compiled")["why"]
    assert "A. Reyes stated" in clause(told, "prohibited")["why"], "of words nobody changed"
    mended = await edited(fewer, county="Stay inside. Gas leak, 1200 block of Oak St.")
    assert "Sgt Ortiz stated" in clause(await of(story, mended), "prohibited")["why"]
    [asked] = (await explained(story, base.request.id),)
    assert asked["state"] == "withdrawn" and "edited the words" in asked["because"]


async def test_lapsed(story: Story) -> None:
    submitted = await story.submitted(await story.reported())
    story.clock.move(seconds=5)
    await story.reported(place="Palm Dr / 8th St", status="NewLocation")
    told = await of(story, submitted)
    assert told["state"] == "lapsed" and "place" in told["because"]
    assert clause(told, "approved by")["holds"] is False


async def test_kept_though_a_fact_changed_and_taken_back(story: Story) -> None:
    """Who knew of what, and that a prepared retraction was approved with what it takes back."""
    incident_id = await story.reported()
    submitted = await story.submitted(incident_id)
    story.clock.move(seconds=5)
    await story.reported(place="Palm Dr / 8th St", status="NewLocation")
    facts = {"type": "GASLEAK", "place": "Palm Dr / 8th St", "status": "open"}
    order = Decide(
        request_id=submitted.request.id, verdict=Verdict.APPROVED,
        revision_id=submitted.revision.id, digest=submitted.revision.digest,
        idempotency_key="a-keep-1", keeps=facts_digest(lapses_by(submitted.revision, facts)),
    )  # fmt: skip
    kept = await story.ledger.write(lambda tx: tapped(tx, order, story.commander))
    assert isinstance(kept, KeptDecision)
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    told = await of(story, submitted)
    assert told["state"] == "released"
    why = clause(told, "approved by")["why"]
    assert why.endswith("knowing what has changed in them since (place).")

    sent = "UPDATE posts SET state = 'posted'"
    await story.ledger.write(lambda tx: tx.connection.exec_driver_sql(sent).rowcount)
    taken = await story.ledger.write(lambda tx: take_back(tx, told["release_id"], story.pio))
    back = await of(story, taken)
    assert (back["kind"], back["state"]) == ("retraction", "at_the_gate")
    why = clause(back, "approved by")["why"]
    assert f"release {told['release_id']}; A. Reyes ordered it" in why


async def test_withdrawn_and_a_newer_wording(story: Story) -> None:
    incident_id = await story.reported()
    first = await story.submitted(incident_id)
    await story.ledger.write(lambda tx: withdraw_request(tx, first.request.id, story.pio))
    told = await of(story, first)
    assert told["state"] == "withdrawn" and "A. Reyes took it back" in told["because"]
    story.clock.move(seconds=1)
    second = await story.submitted(incident_id, "Then.", update_id=first.revision.update_id)
    older = await explained(story, first.revision.id)
    assert (older["revision_id"], older["newest_revision_id"]) == (
        first.revision.id, second.revision.id,
    )  # fmt: skip
    newest = await of(story, first)
    assert (newest["revision_id"], newest["state"]) == (second.revision.id, "waiting")


async def test_blocked_by_policy_at_the_gate(story: Story) -> None:
    submitted = await story.submitted(
        await story.reported(), "Call 760-329-2904.", contact="Tips: 760-329-2904"
    )
    kept = await story.approved(submitted)
    waits = await of(story, submitted)
    assert waits["state"] == "at_the_gate" and clause(waits, "the gate")["holds"] is None
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    told = await of(story, submitted)
    assert (told["state"], told["released"]) == ("policy_blocked", False)
    gate, screened = clause(told, "the gate"), clause(told, "prohibited")
    assert (gate["clause"], gate["holds"]) == ("389.5", False)
    assert screened["holds"] is False and "389.5" in screened["why"]
    assert clause(told, "approved by")["holds"] is True, "a person did approve it"


async def test_the_gate_came_too_late(story: Story) -> None:
    submitted = await story.submitted(await story.reported())
    kept = await story.approved(submitted)
    story.clock.move(seconds=61)
    incident_id = submitted.request.incident_id
    await story.ledger.write(lambda tx: record_command(tx, incident_id, None, story.pio))
    await story.ledger.write(judge_decision(kept.decision.id, EXERCISE, INCIDENT_URL))
    told = await of(story, submitted)
    assert told["state"] == "gate_late" and "61 s ago" in told["because"]
    assert "Command has moved since." in told["because"]
    assert clause(told, "the gate")["clause"] == "389.4.1"


async def test_released_by_any_of_its_ids(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    told = await explained(story, release.id)
    assert (told["state"], told["released"], told["release_id"]) == ("released", True, release.id)
    assert told["because"] == "Released at 2026-11-22 22:00:00 UTC."
    assert all(each["holds"] is not False for each in told["clauses"])
    approval = clause(told, "approved by")["why"]
    assert f"Sgt Ortiz approved the words #{told['code']} at" in approval
    assert [each["channel"] for each in told["channels"]] == ["county", "public_page"]
    for id in (told["update_id"], told["revision_id"]):
        assert await explained(story, id) == told


async def test_stopped_says_by_whom(story: Story) -> None:
    release, _ = await story.released(await story.reported())
    story.clock.move(seconds=9)
    await story.ledger.write(lambda tx: stop_release(tx, release.id, story.pio))
    told = await explained(story, release.id)
    assert (told["state"], told["released"]) == ("stopped", True)
    assert told["because"] == (
        "Released at 2026-11-22 22:00:00 UTC, and stopped by A. Reyes at 2026-11-22 22:00:09 UTC."
    )
    assert clause(told, "stopped")["holds"] is False


@pytest.mark.parametrize(
    ("state", "said"),
    [("in doubt", "in_doubt"), ("held", "held"), ("posted", "released"), ("refused", "released")],
)
async def test_each_channels_end(story: Story, state: str, said: str) -> None:
    release, _ = await story.released(await story.reported())
    sql = text("UPDATE posts SET state = :state, why = 'So it is.' WHERE channel = 'county'")
    await story.ledger.write(lambda tx: tx.connection.execute(sql.bindparams(state=state)).rowcount)
    told = await explained(story, release.id)
    assert told["state"] == said
    channel = clause(told, "posted on county")
    assert channel["why"] == f"{state} since 2026-11-22 22:00:00 UTC. So it is."
    assert channel["holds"] is {"posted": True, "refused": False}.get(state)


async def test_an_answer_that_was_refused_is_told(story: Story) -> None:
    submitted = await story.submitted(await story.reported())
    other = await added(story, "Sgt Lee", Role.COMMANDER, practice=True)
    assert isinstance(await decided(story, submitted, Verdict.APPROVED, person=other), Refusal)
    told = await of(story, submitted)
    refused = clause(told, "an answer that was refused")
    assert refused["why"] == "Sgt Lee at 2026-11-22 22:00:00 UTC: not_the_commander."


async def test_lapsed_training_and_revoked_authority_are_told_as_they_were(story: Story) -> None:
    chief = await added(story, "Chief Low", Role.CHIEF)
    story.pio = await added(story, "B. New", Role.PIO)
    await story.ledger.write(
        lambda tx: rostering.grant(
            tx, story.pio.id, [Content.INCIDENT], until=None, person=chief, actor=chief.id
        )
    )
    submitted = await story.submitted(await story.reported())
    story.clock.move(hours=1)
    await story.ledger.write(
        lambda tx: rostering.revoke(tx, story.pio.id, [], person=chief, actor=chief.id)
    )
    told = await of(story, submitted)
    assert clause(told, "authorized") == {
        "clause": "389.3", "what": "authorized to post incident content", "holds": True,
        "why": "Chief Low granted it to B. New at 2026-11-22 22:00:00 UTC, until it is revoked; "
        "it was revoked at 2026-11-22 23:00:00 UTC.",
    }  # fmt: skip
    training = clause(told, "training")
    assert (training["clause"], training["holds"]) == ("389.8", None)
    assert "privacy" in training["why"]


async def test_an_unknown_id_is_said_to_be_unknown(story: Story) -> None:
    with pytest.raises(Refusal) as refused:
        await explained(story, "nothing")
    assert (refused.value.code, refused.value.kind) == ("no_such_update", Kind.NOT_FOUND)
    assert "nothing" in refused.value.why


# --- The roster -------------------------------------------------------------------------------


async def listed(story: Story) -> dict[str, Json]:
    return {each["name"]: each for each in await story.ledger.read(explain.roster)}


def acts(person: Json) -> dict[str, bool]:
    return {each["act"]: each["now"] for each in person["may"]}


async def test_the_roster_says_who_may_what_and_on_which_clause(story: Story) -> None:
    await added(story, "B. New", Role.PIO)
    told = await listed(story)
    reyes, new, ortiz = told["A. Reyes"], told["B. New"], told["Sgt Ortiz"]
    assert acts(reyes)["compile and submit incident content"] is True
    assert acts(new)["compile and submit incident content"] is False
    refused = next(each for each in new["may"] if "incident content" in each["act"])
    assert refused["clause"] == "389.4.1" and "authority_missing" in refused["why"]
    assert {each["content"] for each in reyes["authority"]} == {"incident", "routine"}
    assert not any(each["lapsed"] for each in reyes["training"])
    assert all(each["lapsed"] and each["given_at"] is None for each in new["training"])
    assert len(new["training"]) == 5 and new["devices"] == []
    assert ortiz["devices"] == [{"name": "Practice passkey", "approved": True, "revoked": False,
                                 "synced": False, "practice": True}]  # fmt: skip
    assert acts(ortiz)["decide about an update"] is True
    assert "decide about an update" not in acts(reyes)


async def test_who_could_approve_a_waiting_update(story: Story) -> None:
    lee = await added(story, "Sgt Lee", Role.COMMANDER, practice=True)
    incident_id = await story.reported()
    submitted = await story.submitted(incident_id)

    async def able() -> list[str]:
        told = await listed(story)
        return [name for name, each in told.items() if each["could_approve"]]

    assert await able() == ["Sgt Ortiz"], "no command is recorded: the Watch Commander"
    (waiting,) = (await listed(story))["Sgt Ortiz"]["could_approve"]
    assert waiting == {"request_id": submitted.request.id, "incident_id": incident_id,
                       "number": 1, "clause": "389.4.1"}  # fmt: skip
    await story.ledger.write(lambda tx: record_command(tx, incident_id, lee.id, story.pio))
    assert await able() == ["Sgt Lee"]
    (key,) = await story.ledger.read(lambda tx: passkeys.of_person(tx, lee.id))
    await story.ledger.write(lambda tx: passkeys.revoke(tx, key.id, actor="test"))
    assert await able() == []
    decide = next(
        each for each in (await listed(story))["Sgt Lee"]["may"] if "decide" in each["act"]
    )
    assert decide["now"] is False and "no_device" in decide["why"]


async def test_nobody_could_approve_what_ran_out(story: Story) -> None:
    await story.submitted(await story.reported())
    story.clock.move(minutes=11)
    assert not any(each["could_approve"] for each in (await listed(story)).values())


async def test_an_exception_is_told_while_it_holds(story: Story) -> None:
    until = story.clock.at.replace(hour=23)
    await story.ledger.write(
        lambda tx: rostering.exempt(
            tx, story.pio.id, Matter.DUTY_HOURS, reason="Second shift", until=until,
            person=story.commander, actor=story.commander.id,
        )
    )  # fmt: skip
    (given,) = (await listed(story))["A. Reyes"]["exceptions"]
    assert given == {"matter": "duty hours", "until": "2026-11-22T23:00:00+00:00",
                     "reason": "Second shift", "granted_by": "Sgt Ortiz"}  # fmt: skip
    first = await story.submitted(await story.reported())
    assert clause(await of(story, first), "excepted from duty hours")["why"] == (
        'Sgt Ortiz excepted A. Reyes until 2026-11-22 23:00:00 UTC: "Second shift"'
    )
    story.clock.move(hours=1)
    assert (await listed(story))["A. Reyes"]["exceptions"] == []
    later = await story.submitted(await story.reported("2026-2"))
    whats = [each["what"] for each in (await of(story, later))["clauses"]]
    assert "excepted from duty hours" not in whats


async def test_a_deputy_is_told_while_the_delegation_holds(story: Story) -> None:
    bell = await story.ledger.write(
        lambda tx: people.add(tx, "Sgt Bell", [Role.COMMANDER], actor="test")
    )
    until = story.clock.at + timedelta(hours=1)
    await story.ledger.write(
        lambda tx: rostering.delegate(tx, bell.id, Office.DEPUTY, reason="Court", until=until,
                                         person=story.commander, actor="test")
    )  # fmt: skip
    told = await listed(story)
    assert told["Sgt Bell"]["deputy_until"] is not None
    assert told[story.pio.name]["deputy_until"] is None
    story.clock.move(hours=1)
    assert (await listed(story))["Sgt Bell"]["deputy_until"] is None
