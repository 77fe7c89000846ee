"""Starting, starting again, side by side, and ending so that nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.connected.installation import (
    Embedded,
    Installation,
    family,
    gone,
    short_folder,
    until,
)

#: Seconds within which Ctrl-C ends everything.
ENDS_WITHIN = 5.0


async def test_a_second_start_goes_on_with_what_is_there() -> None:
    """Also an approval request that nobody decided in its time, renewed by one button."""
    async with Embedded.fresh(sweep_seconds=0.5) as at:
        seen = await at.opened()
        first = await at.approved(seen)
        await at.settled(first)
        waiting = await at.submit(seen)
        address, feed = at.address, await at.feed()
        await at.end()
        with sqlite3.connect(at.home / "ledger.db") as ledger:  # ten minutes go by
            past = "2026-01-01 00:00:00.000000"
            ledger.execute("UPDATE approval_requests SET expires_at = ?, next_look = ? "
                           "WHERE state = 'open'", (past, past))  # fmt: skip
        ledger.close()
        await at.start()
        assert (at.address, await at.feed()) == (address, feed), "the port, the people, the posts"

        async def expired() -> bool:
            state: str = (await at.request(waiting["id"]))["request"]["state"]
            return state == "expired"

        await until("it expired", expired)
        late = await at.decide(waiting)
        assert (late.status, late.body["code"]) == (410, "request_expired")
        pio = await at.person("P. Tester")
        renewed = await pio.post(f"/api/v1/approval-requests/{waiting['id']}/renew")
        assert renewed.status == 201, renewed
        assert renewed.body["digest"] == waiting["digest"], "the same words"
        assert (await at.decide(renewed.body)).good
        posts = await at.settled(renewed.body)
        assert posts["public_page"]["state"] == "posted"
        code, out, _ = await at.run("verify", "--json")
        assert (code, json.loads(out)["ok"]) == (0, True)


async def test_two_run_side_by_side() -> None:
    async with Embedded.fresh() as one, Embedded.fresh() as other:
        assert one.address != other.address and one.broker != other.broker
        seen, unseen = await one.opened(), await other.opened()
        await one.settled(await one.approved(seen))
        await other.settled(await other.approved(unseen))
        assert len(await one.feed()) == len(await other.feed()) == 1
        assert await other.incident(seen["incident"]["id"]) == {}


async def test_ctrl_c_ends_everything() -> None:
    """Within 5 s, also while receivers keep us waiting: what was being sent is then in doubt."""
    async with Embedded.fresh(receivers={"county": True, "school": False}) as at:
        for receiver in at.receivers.values():
            await receiver.set_ways("slow:60")
        request = await at.approved(await at.opened())

        async def both_wait() -> bool:
            return all(each.acted() for each in at.receivers.values())

        await until("both have it, and do not answer", both_wait)
        pids = [each.pid for each in family(at.pid("parent"))]
        assert len(pids) == 3, "parent, child and broker"
        began = time.monotonic()
        assert await at.end(signal.SIGINT, within=ENDS_WITHIN) == 0
        await gone(pids, within=0.1)
        assert time.monotonic() - began < ENDS_WITHIN
        assert not (at.home / "control.sock").exists()
        assert "Traceback" not in at.log.read_text()
        await at.receivers["county"].set_ways("ok")
        await at.start()
        states = {name: post["state"] for name, post in (await at.settled(request)).items()}
        assert states == {"public_page": "posted", "county": "posted", "school": "in doubt"}
        assert {name: len(each.acted()) for name, each in at.receivers.items()} == {
            "county": 1, "school": 1,
        }  # fmt: skip
        assert len(at.receivers["school"].lines("request")) == 1, "it was not sent again"


async def test_ctrl_c_ends_the_practice_run() -> None:
    """As a terminal sends it: to the whole group that the terminal knows of."""
    async with Embedded.fresh(start=False) as at:
        process = at.spawn("demo", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           start_new_session=True)  # fmt: skip
        assert process.stdout is not None
        try:
            said = [line async for line in _lines_until(process, "Ctrl-C ends all")]
            pids = [each.pid for each in family(process.pid)]
            assert len(pids) == 4, "the practice run, and parent, child and broker"
            began = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            code = await asyncio.to_thread(process.wait, ENDS_WITHIN)
            await gone(pids, ENDS_WITHIN - (time.monotonic() - began))
            rest = process.stdout.read().decode()
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        assert code in (0, 130)
        assert "Traceback" not in rest
        for place in ("public page", "board", "approval", "record"):
            assert any(place in line and "http://localhost:" in line for line in said), place


async def _lines_until(process: subprocess.Popen[bytes], last: str) -> AsyncIterator[str]:
    assert process.stdout is not None
    while line := (await asyncio.to_thread(process.stdout.readline)).decode():
        yield line
        if last in line:
            return


# --- What cannot start says so in one sentence ------------------------------------------------


async def refused(at: Installation, *arguments: str, code: str) -> str:
    """What a command that cannot run says: one line beside its log, with the code for programs."""
    left, _, err = await at.run(*arguments)
    (said,) = (line for line in err.splitlines() if not line.startswith("{"))
    assert left == 1, said
    assert said.endswith(f"[{code}]"), said
    assert "Traceback" not in at.log_tail()
    return said


async def test_a_ledger_in_use() -> None:
    async with Embedded.fresh() as at:
        said = await refused(at, "up", code="ledger_in_use")
        assert str(at.home) in said and "BROADCASTER_HOME" in said
        await at.ready()
        assert (await at.opened())["incident"]["open"], "the one that had it goes on"
        code, out, err = await at.run("doctor", "--json")
        found = {each["what"]: each for each in json.loads(out)}
        assert code == 0 and all(each["ok"] for each in found.values()), err
        assert found["streams"]["told"] == "run" and "whole" in found["record"]["told"]


async def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Embedded.fresh(start=False, port=port) as at:
            assert f"127.0.0.1:{port}" in await refused(at, "up", code="port_taken")
        async with Embedded.fresh(start=False, broker_port=port) as at:
            assert f"127.0.0.1:{port}" in await refused(at, "up", code="port_taken")


async def test_a_ledger_of_a_newer_version() -> None:
    async with Embedded.fresh(start=False) as at:
        await at.run("roster", "list")
        with sqlite3.connect(at.home / "ledger.db") as ledger:
            ledger.execute("UPDATE alembic_version SET version_num = '9999'")
        ledger.close()
        before = (at.home / "ledger.db").read_bytes()
        assert "9999" in await refused(at, "up", code="ledger_newer")
        await refused(at, "verify", code="ledger_newer")
        assert (at.home / "ledger.db").read_bytes() == before, "left as it was"


async def test_a_file_that_is_no_ledger() -> None:
    async with Embedded.fresh(start=False) as at:
        at.home.mkdir()
        (at.home / "ledger.db").write_bytes(b"not a ledger " * 1000)
        for command in ("up", "verify"):
            await refused(at, command, code="ledger_damaged")


@pytest.mark.parametrize("command", ["up", "verify"])
async def test_a_home_that_cannot_be_written(command: str) -> None:
    async with Embedded.fresh(start=False) as at:
        at.home.write_text("a file, where a folder should be")
        said = await refused(at, command, code="home_unusable")
        assert str(at.home) in said


async def test_a_home_whose_path_is_too_long_for_a_socket() -> None:
    with short_folder() as folder:
        async with Embedded.fresh(start=False, home=folder / ("x" * 100)) as at:
            assert "at most" in await refused(at, "up", code="home_too_long")


@pytest.mark.parametrize(
    "command", [("up",), ("demo", "--once"), ("replay", "x.csv", "--map", "sapd")]
)
async def test_the_live_world_lacks_what_it_needs_and_says_so(command: tuple[str, ...]) -> None:
    async with Embedded.fresh(start=False, world="live") as at:
        code = "live_calls_nobody" if command[0] != "demo" else "only_in_exercise"
        said = await refused(at, *command, code=code)
        assert "exercise" in said
        assert not (at.home / "ledger.db").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "many"), ("broker_port", "many"), ("sweep_seconds", "-1"), ("channels", "[{}]")],
)
async def test_a_setting_of_no_use(name: str, value: str) -> None:
    async with Embedded.fresh(start=False) as at:
        at.environment[f"BROADCASTER_{name.upper()}"] = value
        assert f"BROADCASTER_{name.upper()}" in await refused(at, "up", code="setting_invalid")


async def test_commands_without_a_running_up_say_so_or_do_it_alone() -> None:
    async with Embedded.fresh(start=False) as at:
        code, out, err = await at.run("roster", "add", "A. Person", "--role", "pio")
        assert code == 0 and "/enrol/" in out, err
        code, out, _ = await at.run("roster", "list", "--json")
        (person,) = json.loads(out)
        assert (person["name"], person["roles"], person["authority"]) == ("A. Person", ["pio"], [])
        await at.run("roster", "add", "Chief Low", "--role", "chief")
        by = ("--by", "Chief Low")
        code, out, err = await at.run("roster", "grant", "A. Person", "--content", "incident", *by)
        assert (code, out) == (0, "A. Person may post: incident.\n"), err
        code, out, err = await at.run("roster", "train", "A. Person", *by)
        assert code == 0, err
        code, out, _ = await at.run("roster", "list")
        assert "may post incident until revoked, by Chief Low" in out
        code, _, err = await at.run("roster", "grant", "A. Person", "--content", "all", *by)
        assert code == 1 and "[content_unknown]" in err
        code, _, err = await at.run("roster", "revoke", "A. Person", "--by", "A. Person")
        assert code == 1 and "[not_your_act]" in err
        given = ("--role", "staff", "--channel", "public_page", "--until", "2099-01-31",
                 "--text", "Dates of events.")  # fmt: skip
        code, out, err = await at.run("roster", "guideline", "announcement", *given, *by)
        assert code == 0, err
        kept = out.strip()
        code, _, err = await at.run("roster", "guideline", "gossip", *given, *by)
        assert code == 1 and "[topic_unknown]" in err
        code, out, _ = await at.run("roster", "list")
        assert f"Guideline {kept}: announcement (389.4(a)) on public_page" in out
        code, out, err = await at.run("roster", "guideline-end", kept, *by)
        assert code == 0 and kept not in (await at.run("roster", "list"))[1], err
        code, out, err = await at.run("roster", "revoke", "A. Person", *by)
        assert code == 0, err
        code, out, err = await at.run("roster", "role", "A. Person", "--role", "commander", *by)
        assert code == 0 and out == "A. Person is now: commander.\n", err
        code, out, err = await at.run("roster", "remove", "A. Person", *by)
        assert code == 0 and out == "A. Person is off the roster.\n", err
        code, out, _ = await at.run("roster", "list")
        assert "A. Person  (off the roster since " in out
        assert (await at.run("roster", "link", "A. Person"))[0] == 1
        code, out, err = await at.run("roster", "role", "A. Person", "--role", "pio", *by)
        assert code == 0, err
        code, _, err = await at.run("explain", "nothing")
        assert code == 1 and "[no_such_update]" in err
        (at.home / "control.sock").touch()  # left behind by a crash
        code, out, _ = await at.run("doctor")
        assert code == 0 and "MEND" not in out and "not started" in out


async def test_pin_and_code_are_allowed_by_the_chiefs_word_and_where_the_key_is() -> None:
    async with Embedded.fresh(start=False) as at:
        await at.run("roster", "add", "Chief Low", "--role", "chief")
        await at.run("roster", "add", "Sgt Lee", "--role", "commander")
        end = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}"
        given = ("roster", "fallback", "Sgt Lee", "--until", end, "--reason", "A broken phone",
                 "--by", "Chief Low", "--pin")  # fmt: skip
        assert "BROADCASTER_FALLBACK_KEY" in await refused(
            at, *given, "739154", code="fallback_off"
        )
        at.environment["BROADCASTER_FALLBACK_KEY"] = "k" * 32
        await refused(at, *given, "111111", code="pin_weak")
        code, out, err = await at.run(*given, "739154")
        assert code == 0 and out.startswith("otpauth://totp/"), err
        assert "Sgt%20Lee" in out and "739154" not in out + err
        told = (await at.run("roster", "list"))[1]
        assert "may decide with PIN and code until" in told and "A broken phone" in told
        code, _, err = await at.run("roster", "fallback-end", "Sgt Lee", "--by", "Chief Low")
        assert code == 0 and "PIN and code" not in (await at.run("roster", "list"))[1], err


@pytest.mark.parametrize(
    ("command", "settings", "code"),
    [
        (("desk",), {}, "not_production"),
        (("worker", "gate"), {"ledger_url": "postgresql://localhost/x"}, "not_production"),
        (("worker", "gate"), {"kafka": "localhost:1"}, "not_production"),
        *(
            (
                ("worker", step),
                {"kafka": "localhost:1", "ledger_url": "postgresql://localhost/x"},
                "public_url_unset",
            )
            for step in ("gate", "deliver")
        ),
    ],
)
async def test_a_process_of_many_says_what_it_lacks(
    command: tuple[str, ...], settings: dict[str, str], code: str
) -> None:
    async with Embedded.fresh(start=False, **settings) as at:
        assert "BROADCASTER_" in await refused(at, *command, code=code)
