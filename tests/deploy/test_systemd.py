"""The systemd units: they can be read, they let the processes do little, and name what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from broadcaster.cli import STEPS, cli
from broadcaster.settings import Settings
from tests.deploy.compose import ROOT

UNITS = {
    "broadcaster-desk.service": "broadcaster-desk.service",
    "broadcaster-worker@.service": "broadcaster-worker@gate.service",
}

#: systemd's own figure of what a service can do, from 0 to 10; one without any limit has 9.6.
MOST_EXPOSED = 1.5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units as they would be installed, beside a program that is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here")
    for unit, installed in UNITS.items():
        text = (ROOT / "deploy" / "systemd" / unit).read_text()
        there = text.replace("/opt/broadcaster/bin/broadcaster", shutil.which("true") or "")
        (tmp_path / installed).write_text(there)
    return tmp_path


@pytest.mark.parametrize("installed", UNITS.values())
def test_systemd_finds_nothing_wrong(folder: Path, installed: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", folder / installed], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("installed", UNITS.values())
def test_a_process_can_do_little(folder: Path, installed: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", folder / installed],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    figure = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert figure and float(figure[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_unit_names_exists(unit: str) -> None:
    text = (ROOT / "deploy" / "systemd" / unit).read_text()
    named = set(re.findall(r"BROADCASTER_\w+", text))
    handed_over = {name.upper() for name in re.findall(r"LoadCredential=(\w+):", text)}
    assert named | handed_over <= {f"BROADCASTER_{name.upper()}" for name in Settings.model_fields}
    assert handed_over and not named & handed_over, "a secret is handed over, not written out"


def test_the_units_run_the_commands_that_exist() -> None:
    desk, worker = ((ROOT / "deploy" / "systemd" / unit).read_text() for unit in UNITS)
    assert "ExecStart=/opt/broadcaster/bin/broadcaster desk\n" in desk
    assert "ExecStart=/opt/broadcaster/bin/broadcaster worker ${STEP}\n" in worker
    assert "desk" in cli.commands
    for step in (*STEPS, "relay"):
        cli.commands["worker"].make_context("worker", [step])


def test_each_is_started_again_whatever_happened() -> None:
    for unit in UNITS:
        text = (ROOT / "deploy" / "systemd" / unit).read_text()
        assert "Restart=always" in text and "StartLimitIntervalSec=0" in text
        assert "WatchdogSec" not in text, "nothing of ours tells systemd that it lives"
