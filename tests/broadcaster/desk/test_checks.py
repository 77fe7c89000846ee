"""What the screening makes of a submission: blocked, asked for a reason, or on the record."""

from __future__ import annotations

import pytest

from broadcaster.desk.checks import checks
from broadcaster.errors import Refusal
from broadcaster.ledger import Ledger, approvals, incidents, records
from broadcaster.policy import screen
from broadcaster.record import Kind
from broadcaster.update import Origin, Phrase
from tests.broadcaster.desk import scene

REASON = "The shelter of the city."


async def refused(
    ledger: Ledger, incident: incidents.Kept, persons: scene.Persons, **order: object
) -> Refusal:
    with pytest.raises(Refusal) as error:
        await scene.submit(ledger, scene.order_for(incident, scene.a_time(), **order), persons.pio)
    kept = await ledger.read(lambda tx: approvals.requests_of(tx, incident.incident.id))
    assert kept == [], "nothing of it is kept"
    return error.value


@pytest.mark.parametrize(
    ("order", "code", "field", "said"),
    [
        ({"text": "Her SSN is 123-45-6789."}, "policy_blocked", "text", "123-45-6789"),
        ({"own_texts": {"partners": "Call 760-329-2904."}}, "policy_blocked", "text_partners",
         "760-329-2904"),
        ({"hazard": "Gas leak, 951-555-0134"}, "policy_blocked", "hazard", "389.5(b)"),
        ({"hazard": "Fire at the residence", "text": "Out at home, 1234 Oak St."},
         "policy_blocked", "text", "1234 Oak St"),
        ({"text": "Shelter: 1234 Oak St."}, "policy_reason_missing", "reason_house-number",
         "1234 Oak St"),
        ({"text": "Shelter: 1234 Oak St.", "policy_reasons": {"house-number": " \n"}},
         "policy_reason_missing", "reason_house-number", "wants a reason"),
        ({"attested": False}, "attestation_missing", "attested", "389.5"),
    ],
)  # fmt: skip
async def test_what_may_not_go_on(
    ledger: Ledger, incident: incidents.Kept, persons: scene.Persons, order: dict[str, object],
    code: str, field: str, said: str,
) -> None:  # fmt: skip
    refusal = await refused(ledger, incident, persons, **order)
    assert (refusal.code, refusal.field) == (code, field)
    assert said in refusal.why


async def test_reason_and_statement_are_kept_and_on_the_record(
    ledger: Ledger, incident: incidents.Kept, persons: scene.Persons
) -> None:
    reasons = {"house-number": REASON, "medical": "Not found, so not kept."}
    order = scene.order_for(
        incident, scene.a_time(), text="Shelter: 1234 Oak St.", policy_reasons=reasons
    )
    submitted = await scene.submit(ledger, order, persons.pio)
    kept = await ledger.read(lambda tx: approvals.revision(tx, submitted.revision.id))
    assert kept is not None and kept.attested and kept.policy_reasons == {"house-number": REASON}
    lines = await ledger.read(lambda tx: records.lines(tx, incident_id=incident.incident.id))
    line = next(line for line in lines if line.kind == Kind.REVISION_SUBMITTED)
    assert line.private["reason_house-number"] == REASON
    assert '"attested":true' in line.body and '"house-number"' in line.body


def test_a_check_stands_once_with_everywhere_that_it_stands() -> None:
    order_words = scene.Words(**{
        name: Phrase(text=text, origin=Origin.TYPED)
        for name, text in {
            "source": "", "hazard": "Gas leak", "place": "Oak St", "guidance": "SWAT is here.",
            "time": "",
        }.items()
    })  # fmt: skip
    said = [
        scene.rendering(name, text="SWAT is here. SSN 123-45-6789.") for name in ("page", "county")
    ]
    found = checks(
        screen(order_words, said, contact=""), {"page": "Page", "county": "County"},
        {"police-means": "Residents see the trucks."},
    )  # fmt: skip
    assert [(check.rule, check.in_words, check.reason) for check in found] == [
        ("social-security-number", "“123-45-6789” in every channel", None),
        ("police-means", "“SWAT” in Do and every channel", "Residents see the trucks."),
        ("missing-element", "Source; When", None),
    ]
