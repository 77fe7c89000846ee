"""What we ask of Twilio, judged by Twilio's own OpenAPI specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.call_sms import CallSms
from broadcaster.calling import Accepted, Call, Means
from broadcaster.delivery import Refused
from broadcaster.world import Exercise
from tests.adapters.call_contract import LINK
from tests.adapters.contract import LOOPBACK
from tests.adapters.prism import prism
from tests.story import EXERCISE, NOW, StillClock

CALL = Call[Exercise](
    id="c1", about_id=LINK.rpartition("/")[2], incident_id="i1", person_id="ortiz",
    reach_id="r1", attempt=1, means=Means.SMS, address="+15005550006", world=EXERCISE, url=LINK,
)  # fmt: skip


async def asked(base: str, **fields: Any) -> Accepted:
    sms = CallSms(EXERCISE, **{
        "account": "AC" + "0" * 32, "token": "the-auth-token", "sender": "+15005550001",
        "callback": "https://alerts.example/hooks/calls", "networks": LOOPBACK,
        "clock": StillClock(), "base": base,
    } | fields)  # fmt: skip
    try:
        return await sms.call(CALL)
    finally:
        await sms.close()


async def test_twilios_specification_allows_what_we_ask(corpus: Path) -> None:
    async with prism(corpus / "specs" / "twilio_api_v2010.json") as base:
        for fields in ({}, {"sender": "MG" + "0" * 32}, {"callback": None}):
            accepted = await asked(base, **fields)
            assert accepted.remote_id.startswith("SM") and accepted.at == NOW

        # So that it is known to judge at all.
        for wrong in ({"account": "AC1"}, {"sender": "MG1"}, {"callback": "no address"}):
            with pytest.raises(Refused, match="422"):
                await asked(base, **wrong)
