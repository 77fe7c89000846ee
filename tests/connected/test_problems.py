"""What came in wrong by Kafka: listed, tried again while the broker has it, dropped."""

from __future__ import annotations

import json

import pytest

from broadcaster.errors import Refusal
from tests.connected.installation import Embedded, Installation, Json, until
from tests.connected.production import Fresh


async def listed(at: Installation, *, all: bool = False) -> list[Json]:
    found: list[Json] = (await at.order("problems_list", all=all))["problems"]
    return found


async def refused(at: Installation, number: int) -> Refusal:
    """What a second reading of a problem's message is refused with."""
    with pytest.raises(Refusal) as refusal:
        await at.order("problems_retry", number=number)
    return refusal.value


async def open_problem(at: Installation) -> Json:
    """The newest, once it is there."""

    async def there() -> Json | None:
        return next(iter(await listed(at)), None)

    return await until("a problem is noted", there)


async def test_retry_and_drop_while_the_broker_has_it(fresh: Fresh) -> None:
    async with fresh(sweep_seconds=0.5) as at:
        # From the future as its time tells; a minute later it would be none.
        early = at.report()
        early["reported_at"] = at.in_seconds(302)
        await at.produce(at.bytes_of(early))
        problem = await open_problem(at)
        assert problem["code"] == "in_future"
        (shown,) = await listed(at)
        assert shown == problem
        code, out, _ = await at.run("problems", "list", "--json")
        assert (code, json.loads(out)) == (0, [problem])
        code, out, _ = await at.run("problems", "list")
        place = problem["place"]
        where = f"{place['topic']} partition {place['partition']} offset {place['offset']}"
        assert place["topic"] == at.topic("incident.intake")
        assert code == 0 and where in out and problem["why"] in out and problem["do"] in out

        async def retried() -> bool:
            try:
                await at.order("problems_retry", number=problem["id"])
            except Refusal as refusal:
                return refusal.code != "in_future"
            return True

        await until("it is no longer from the future", retried)
        await at.suggested(at.incident_of(early))
        assert await listed(at) == []
        assert [each["state"] for each in await listed(at, all=True)] == ["retried"]

        await at.produce(b"never JSON")
        broken = await open_problem(at)
        code, _, err = await at.run("problems", "retry", str(broken["id"]))
        assert code == 1 and err.strip().endswith("[not_json]") and len(err.splitlines()) == 1, err
        assert [each["id"] for each in await listed(at)] == [broken["id"]], "it stays open"
        code, _, err = await at.run("problems", "drop", str(broken["id"]))
        assert code == 0, err
        assert await listed(at) == []
        assert (await refused(at, 99)).code == "no_such_problem"


async def test_what_the_broker_forgot_cannot_be_read_again() -> None:
    async with Embedded.fresh(sweep_seconds=0.5) as at:
        await at.produce(b"never JSON")
        broken = await open_problem(at)
        at.kill("broker")
        await at.streams_restarted()
        gone = await refused(at, broken["id"])
        assert gone.code == "original_gone" and "whoever writes to that topic" in gone.do
        assert f"problems drop {broken['id']}" in gone.do
        await at.produce(b"another, in its place")
        second = await until("it is noted", lambda: newer(at, broken["id"]))
        assert second["place"]["offset"] <= broken["place"]["offset"], "the same place, new message"
        stale = await refused(at, broken["id"])
        assert stale.code == "original_gone", "not the one that stands there now"

        code, _, err = await at.run("problems", "drop", str(broken["id"]))
        assert code == 0, err
        assert [each["id"] for each in await listed(at)] == [second["id"]]


async def newer(at: Installation, than: int) -> Json | None:
    newest = await open_problem(at)
    return newest if newest["id"] > than else None


async def test_what_came_by_http_cannot_be_read_again(fresh: Fresh) -> None:
    """Whom to ask, without a running `up` as with one."""
    async with fresh(sweep_seconds=0.5) as at:
        assert (await at.send_raw(b"not JSON")).status == 400
        (problem,) = await listed(at)
        gone = await refused(at, problem["id"])
        assert gone.code == "original_gone" and "the sender of the report" in gone.do
        await at.end()
        code, _, err = await at.run("problems", "retry", str(problem["id"]))
        assert code == 1 and gone.do in err
        code, _, err = await at.run("problems", "drop", str(problem["id"]))
        assert code == 0, err
