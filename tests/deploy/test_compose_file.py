"""What docker-compose.yml promises. That it also runs is proved in tests/connected."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from broadcaster.cli import STEPS, cli
from broadcaster.settings import Settings
from tests.deploy import compose

SERVICES = compose.services()
NAMES = sorted(SERVICES)
LASTING = sorted(name for name, each in SERVICES.items() if not each.runs_to_its_end)
OURS = sorted(name for name, each in SERVICES.items() if each.ours)

#: What may be written out: the names of images, users and files that look like words of a secret.
_SECRET = re.compile(r"(?i)password|secret|whsec_|token|key")


def test_every_step_has_its_worker() -> None:
    workers = [each.said["command"][1] for each in SERVICES.values()
               if each.ours and each.said["command"][0] == "worker"]  # fmt: skip
    assert sorted(workers) == sorted([*STEPS, "relay"])


@pytest.mark.parametrize("name", NAMES)
def test_a_container_can_do_little(name: str) -> None:
    said = SERVICES[name].said
    assert said["read_only"] is True
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert said["mem_limit"] and said["pids_limit"]
    assert "privileged" not in said and "network_mode" not in said


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_as_root(name: str) -> None:
    said = SERVICES[name].said
    target = {"proxy": 0}.get(name, -1)
    user = said.get("user") or next(
        rest for word, rest in compose.stage(target) if word == "USER"
    )  # fmt: skip
    assert "build" in said or "user" in said
    assert int(user.split(":")[0]) > 0 and int(user.split(":")[1]) > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_pinned(name: str) -> None:
    assert re.search(r":\d+\.\d+(\.\d+)?", SERVICES[name].said["image"])


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_started_again_and_looked_after(name: str) -> None:
    assert SERVICES[name].said["restart"] == "unless-stopped"
    assert SERVICES[name].health_check
    assert "stop_grace_period" in SERVICES[name].said


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_written_out(name: str) -> None:
    for variable, value in SERVICES[name].environment.items():
        assert not _SECRET.search(variable) or value.startswith("/run/secrets/")
        assert "@" not in value or variable == "KAFKA_CONTROLLER_QUORUM_VOTERS"


def test_every_secret_is_made_and_used(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    named = compose.whole()["secrets"]
    assert {Path(each["file"]).name for each in named.values()} == set(made)
    used = {source for each in SERVICES.values() for source in each.secrets.values()}
    assert used == set(named)


def test_secrets_are_made_once(tmp_path: Path) -> None:
    first = make_secrets(tmp_path)
    assert make_secrets(tmp_path) == first
    assert len({first["owner_password"], first["desk_password"], first["worker_password"]}) == 3
    assert first["desk_password"] in first["desk_ledger_url"]
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def make_secrets(folder: Path) -> dict[str, str]:
    script = folder / "make-secrets"
    script.write_bytes((compose.ROOT / "deploy" / "make-secrets").read_bytes())
    subprocess.run(["sh", str(script)], check=True)
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def test_each_process_has_the_ledger_as_its_role() -> None:
    urls = {
        name: each.secrets["broadcaster_ledger_url"] for name, each in SERVICES.items()
        if "broadcaster_ledger_url" in each.secrets
    }  # fmt: skip
    workers = dict.fromkeys([*STEPS, "relay"], "worker_ledger_url")
    assert urls == {"desk": "desk_ledger_url", "ledger-apply": "owner_ledger_url", **workers}


def test_only_the_proxy_is_public_and_the_desk_cannot_reach_kafka() -> None:
    networks = compose.whole()["networks"]
    open_ = {name for name, each in networks.items() if not (each or {}).get("internal")}
    assert [name for name in NAMES if "ports" in SERVICES[name].said] == ["proxy"]
    reaching_out = {name for name in NAMES if open_ & set(SERVICES[name].said["networks"])}
    assert reaching_out == {"proxy", "deliver", "notify"}
    kafka = set(SERVICES["kafka"].said["networks"])
    postgres = set(SERVICES["postgres"].said["networks"])
    assert not kafka & set(SERVICES["desk"].said["networks"])
    assert "BROADCASTER_KAFKA" not in SERVICES["desk"].environment
    assert not (kafka | postgres) & set(SERVICES["proxy"].said["networks"])


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_one(name: str) -> None:
    service = SERVICES[name]
    known = {f"BROADCASTER_{field.upper()}" for field in Settings.model_fields}
    ours = {each for each in service.environment if each.startswith("BROADCASTER_")}
    assert ours <= known
    assert {each.upper() for each in service.secrets} <= known


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one(name: str) -> None:
    command: click.Command = cli
    words: list[str] = list(SERVICES[name].said["command"])
    while isinstance(command, click.Group):
        found = command.commands.get(words.pop(0))
        assert found is not None, SERVICES[name].said["command"]
        command = found
    command.make_context(name, words)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_waits_for_can_come_true(name: str) -> None:
    for before, condition in SERVICES[name].waits_for.items():
        wanted = (
            "service_completed_successfully" if SERVICES[before].runs_to_its_end
            else "service_healthy"
        )  # fmt: skip
        assert condition == wanted


def test_only_what_must_last_is_kept() -> None:
    def kept(said: Any) -> list[str]:
        return [each.split(":")[0] for each in said.get("volumes", []) if not each.startswith(".")]

    volumes = [volume for each in SERVICES.values() for volume in kept(each.said)]
    assert sorted(volumes) == sorted(compose.whole()["volumes"])
