"""The Dockerfile's own commands, run in a folder: what they install, and that it works from there.

Not run here: the last stage's changes to Python's image, and the proxy's, which need Docker.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy import compose
from tests.deploy.compose import ROOT

BUILD = 1  # the stage that installs


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build stage leaves in /opt/broadcaster, with everything else gone."""
    folder = tmp_path_factory.mktemp("image")
    prefix, source = folder / "opt", folder / "source"
    source.mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    environment = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
    for word, rest in compose.stage(BUILD):
        here = rest.replace("/opt/broadcaster", str(prefix))
        if word == "COPY":
            copy(here.split(), source)
        elif word == "ENV":
            pairs = (pair.split("=", 1) for pair in shlex.split(here))
            environment |= {name: value.replace("$PATH", environment["PATH"])
                            for name, value in pairs}  # fmt: skip
        elif word == "RUN":
            done = subprocess.run(["sh", "-c", here], cwd=source, env=environment,
                                  capture_output=True, text=True)  # fmt: skip
            assert done.returncode == 0, f"{here}\n{done.stdout}\n{done.stderr}"
    shutil.rmtree(source)
    return prefix


def copy(words: list[str], source: Path) -> None:
    """COPY of one stage: files into a folder, or a folder under its name."""
    *names, target = words
    for name in names:
        assert is_sent(name), f".dockerignore keeps {name} from Docker"
        if (ROOT / name).is_dir():
            assert target == name
            shutil.copytree(ROOT / name, source / name,
                            ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        else:
            shutil.copy(ROOT / name, source / target)


def is_sent(name: str) -> bool:
    return f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines()


def run(built: Path, *command: str) -> str:
    """A command of the image with the image's environment and nothing of this checkout."""
    done = subprocess.run(
        [built / "bin" / command[0], *command[1:]], cwd="/", capture_output=True, text=True,
        env={**compose.image_environment(), "PATH": str(built / "bin")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_runs_from_what_was_installed(built: Path) -> None:
    (entry,) = compose.said("ENTRYPOINT")
    (words,) = compose.said("CMD")
    assert "worker" in run(built, *compose.command_of(entry), *compose.command_of(words))


def test_whatever_lies_in_the_packages_is_installed(built: Path) -> None:
    """Templates, styles, migrations, maps."""
    (installed,) = built.glob("lib/python3.*/site-packages")
    for package in ("broadcaster", "streams", "adapters"):
        assert files(installed / package) == files(ROOT / package)


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip


def test_nothing_that_builds_or_installs_is_left(built: Path) -> None:
    listed = run(built, "python", "-c", "from importlib.metadata import distributions as d;"
                                        "print(*(each.name for each in d()))")  # fmt: skip
    names = set(listed.lower().split())
    assert "incident-alert-broadcaster" in names
    assert not names & {"pip", "setuptools", "wheel", "pytest", "mypy"}


def test_the_health_check_of_the_image_is_the_compose_files() -> None:
    (check,) = compose.said("HEALTHCHECK")
    command = compose.command_of(check.partition("CMD ")[2])
    ours = [each for each in compose.services().values() if each.ours and each.health_check]
    assert ours and all(each.health_check == command for each in ours)
