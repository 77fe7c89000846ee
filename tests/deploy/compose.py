"""What docker-compose.yml and the Dockerfile say, read as Docker reads them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"

#: The image of desk and workers; every service that has it runs `broadcaster`.
OURS = "incident-alert-broadcaster:"

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """One service as the file says it."""

    name: str
    said: Mapping[str, Any]

    @property
    def ours(self) -> bool:
        return str(self.said["image"]).startswith(OURS)

    @property
    def runs_to_its_end(self) -> bool:
        return self.said["restart"] == "no"

    @property
    def environment(self) -> dict[str, str]:
        """What its process sees: of the image, where that is ours, then of the file."""
        own: dict[str, str] = self.said.get("environment", {})
        return {**(image_environment() if self.ours else {}), **own}

    @property
    def secrets(self) -> dict[str, str]:
        """The file names in its folder of secrets, each with the secret's name in the file."""
        return {
            each if isinstance(each, str) else each["target"]:
            each if isinstance(each, str) else each["source"]
            for each in self.said.get("secrets", [])
        }  # fmt: skip

    @property
    def health_check(self) -> list[str] | None:
        """The command; None where there is none."""
        check = self.said["healthcheck"]
        if check.get("disable"):
            return None
        kind, *command = check["test"]
        assert kind == "CMD", "one that needs no shell"
        return command

    @property
    def waits_for(self) -> dict[str, str]:
        """The services before it, each with the condition that must hold."""
        after: dict[str, Any] = self.said.get("depends_on", {})
        return {name: each["condition"] for name, each in after.items()}


def whole(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file, its variables from `.env` put in: those given, else their defaults."""
    given = variables or {}

    def put_in(said: Any) -> Any:
        if isinstance(said, str):
            return _VARIABLE.sub(lambda found: given.get(found[1], found[2] or ""), said)
        if isinstance(said, dict):
            return {name: put_in(each) for name, each in said.items()}
        return [put_in(each) for each in said] if isinstance(said, list) else said

    read: dict[str, Any] = put_in(yaml.safe_load(FILE.read_text()))
    return read


def services(variables: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Every service by its name."""
    return {name: Service(name, said) for name, said in whole(variables)["services"].items()}


@cache
def instructions() -> tuple[tuple[str, str], ...]:
    """The Dockerfile's instructions of every stage, each on one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return tuple(
        (word, rest)
        for word, _, rest in (line.partition(" ") for line in joined.split("\n") if line)
    )


def stage(number: int) -> list[tuple[str, str]]:
    """The instructions of one stage, counted from 0; -1 is the last."""
    starts = [at for at, (word, _) in enumerate(instructions()) if word == "FROM"]
    begin = starts[number]
    end = next((at for at in starts if at > begin), len(instructions()))
    return list(instructions()[begin:end])


def said(word: str) -> list[str]:
    """What the image of desk and workers says under one word."""
    return [rest for each, rest in stage(-1) if each == word]


def image_environment() -> dict[str, str]:
    """The environment that the image of desk and workers brings."""
    pairs = (pair.split("=", 1) for rest in said("ENV") for pair in shlex.split(rest))
    return {name: value for name, value in pairs if name != "PATH"}


def command_of(rest: str) -> list[str]:
    """An instruction in its exec form."""
    words: list[str] = json.loads(rest)
    return words
