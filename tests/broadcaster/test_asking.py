"""What the command line asks for, and what it does not take as an argument."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from broadcaster import asking
from broadcaster.accounts import KINDS, read
from broadcaster.cli import cli
from broadcaster.errors import Refusal
from tests.broadcaster.test_accounts import GOOD, SECRET


@pytest.mark.parametrize(
    ("kind", "member", "code"),
    [
        ("matrix", "token=abc", "secret_in_command"),
        ("x", "api_key_secret=abc", "secret_in_command"),
        ("matrix", "colour=red", "member_unknown"),
        ("matrix", "room", "member_unknown"),
        ("matrix", "name=other", "member_unknown"),
    ],
)
def test_what_is_no_argument(kind: str, member: str, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        asking.given(kind, [member])
    assert refusal.value.code == code and "abc" not in refusal.value.in_words


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_left_is_asked_for_and_no_secret_is_shown(kind: str) -> None:
    """Answered in the order of the members, as somebody at a terminal does."""
    asked: dict[str, Any] = {}

    @click.command()
    def command() -> None:
        asked.update(asking.for_the_rest(kind, asking.given(kind, ["title=City"])))

    account = {**GOOD[kind]}
    answers = [
        ",".join(value) if isinstance(value, list) else str(value)
        for name in KINDS[kind].model_fields
        if (value := account.get(name)) is not None
        and (KINDS[kind].model_fields[name].is_required() or name in ("user", "password"))
    ]
    result = CliRunner().invoke(command, input="\n".join(answers) + "\n", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    read({**asked, "kind": kind, "name": "city"})


@pytest.mark.parametrize("said", [[], ["--expires", "2027-01-31", "--no-expiry"]])
def test_when_a_new_credential_ends_is_said_each_time(said: list[str]) -> None:
    """Left out, the day of the one before would be dropped without a word, and nobody warned."""
    changed = CliRunner().invoke(cli, ["channel", "change", "city", "--by", "Chief Banks", *said])
    assert changed.exit_code == 2
    assert "--expires" in changed.output and "--no-expiry" in changed.output


def test_an_empty_answer_leaves_a_secret_as_it_is() -> None:
    asked: dict[str, str] = {}

    @click.command()
    def command() -> None:
        asked.update(asking.for_secrets("x"))

    CliRunner().invoke(command, input="\nnew\n", catch_exceptions=False)
    assert asked == {"token_secret": "new"}
