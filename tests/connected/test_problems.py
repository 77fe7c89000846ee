"""What came in wrong by Kafka: listed, tried again while the broker has it, dropped."""

from __future__ import annotations

import json
from pathlib import Path

from tests.connected.installation import Installation, Json, until


async def listed(at: Installation, *arguments: str) -> list[Json]:
    code, out, err = await at.run("problems", "list", "--json", *arguments)
    assert code == 0, err
    found: list[Json] = json.loads(out)
    return found


async def open_problem(at: Installation) -> Json:
    """The newest, once it is there."""

    async def there() -> Json | None:
        problems: list[Json] = (await at.order("problems_list"))["problems"]
        return problems[0] if problems else None

    return await until("a problem is noted", there)


async def test_retry_and_drop_while_the_broker_has_it_and_after() -> None:
    async with Installation.fresh(sweep_seconds=0.5) as at:
        # From the future as its time tells; a minute later it would be none.
        early = at.report()
        early["reported_at"] = at.in_seconds(302)
        await at.produce(at.bytes_of(early))
        problem = await open_problem(at)
        assert problem["code"] == "in_future"
        (shown,) = await listed(at)
        assert shown == problem
        code, out, _ = await at.run("problems", "list")
        where = f"exercise.incident.intake partition 0 offset {problem['place']['offset']}"
        assert code == 0 and where in out and problem["why"] in out and problem["do"] in out

        async def retried() -> bool:
            code, _, err = await at.run("problems", "retry", str(problem["id"]))
            assert code == 0 or "[in_future]" in err, err
            return code == 0

        await until("it is no longer from the future", retried)
        await at.suggested(at.incident_of(early))
        assert await listed(at) == []
        assert [each["state"] for each in await listed(at, "--all")] == ["retried"]

        await at.produce(b"never JSON")
        broken = await open_problem(at)
        code, _, err = await at.run("problems", "retry", str(broken["id"]))
        assert code == 1 and err.strip().endswith("[not_json]") and len(err.splitlines()) == 1
        assert [each["id"] for each in await listed(at)] == [broken["id"]], "it stays open"

        at.kill("broker")
        await at.streams_restarted()
        code, _, err = await at.run("problems", "retry", str(broken["id"]))
        assert code == 1 and err.strip().endswith("[original_gone]")
        assert "whoever writes to that topic" in err and f"problems drop {broken['id']}" in err
        await at.produce(b"another, in its place")
        second = await until("it is noted", lambda: newer(at, broken["id"]))
        assert second["place"]["offset"] <= broken["place"]["offset"], "the same place, new message"
        code, _, err = await at.run("problems", "retry", str(broken["id"]))
        assert code == 1 and "[original_gone]" in err, "not the one that stands there now"

        for each in (broken, second):
            code, out, err = await at.run("problems", "drop", str(each["id"]))
            assert code == 0, err
        assert await listed(at) == []
        code, _, err = await at.run("problems", "retry", "99")
        assert code == 1 and err.strip().endswith("[no_such_problem]")


async def newer(at: Installation, than: int) -> Json | None:
    newest = await open_problem(at)
    return newest if newest["id"] > than else None


async def test_what_came_by_http_or_file_cannot_be_read_again(tmp_path: Path) -> None:
    """Whom to ask, without a running `up` as with one."""
    async with Installation.fresh(sweep_seconds=0.5) as at:
        assert (await at.send_raw(b"not JSON")).status == 400
        (http,) = await listed(at)
        code, _, err = await at.run("problems", "retry", str(http["id"]))
        assert code == 1 and "[original_gone]" in err and "the sender of the report" in err
        await at.end()
        code, _, err = await at.run("problems", "retry", str(http["id"]))
        assert code == 1 and "[original_gone]" in err and "the sender of the report" in err
        code, _, err = await at.run("problems", "drop", str(http["id"]))
        assert code == 0, err
        assert await listed(at) == []
