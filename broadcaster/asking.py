"""What the command line asks for where a channel's account was not given whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from broadcaster.accounts import KINDS
from broadcaster.errors import Refusal

_LIST = "recipients"

#: What is no member of an account here: they are arguments of the command.
_APART = ("kind", "name", "ends")


def given(kind: str, members: Sequence[str]) -> dict[str, Any]:
    """What somebody wrote as NAME=VALUE. Raises Refusal, above all where it is a secret."""
    fields = KINDS[kind].model_fields
    found: dict[str, Any] = {}
    for each in members:
        name, equals, value = each.partition("=")
        if not equals or name not in fields or name in _APART:
            raise Refusal(
                "member_unknown", f"{name} is no member of such an account.",
                "Write NAME=VALUE, of: " + ", ".join(
                    name for name, field in fields.items()
                    if name not in _APART and not is_secret(field)
                ) + ".", field=name,
            )  # fmt: skip
        if is_secret(fields[name]):
            raise Refusal(
                "secret_in_command", f"{name} would stand in the shell's history.",
                f"Leave it out, and it is asked for; and take a new {name}, since this one was "
                "shown.", field=name,
            )  # fmt: skip
        found[name] = _several(value) if name == _LIST else value
    return found


def for_the_rest(kind: str, known: dict[str, Any]) -> dict[str, Any]:
    """Asks for what an account needs and has not got; secrets are not shown."""
    found = dict(known)
    for name, field in KINDS[kind].model_fields.items():
        if name in found or name in _APART:
            continue
        if is_secret(field):
            if kind == "mail" and not found.get("user"):
                continue  # a server that asks for no login
            found[name] = _secret(field)
        elif field.default is PydanticUndefined or (kind == "mail" and name == "user"):
            asked = click.prompt(_label(field), default=None if field.is_required() else "")
            if asked:
                found[name] = _several(asked) if name == _LIST else asked
    return found


def for_secrets(kind: str) -> dict[str, str]:
    """Asks for each secret of an account; an empty answer leaves it as it is."""
    asked = {
        name: _secret(field, leaves=True)
        for name, field in KINDS[kind].model_fields.items()
        if is_secret(field)
    }
    return {name: value for name, value in asked.items() if value}


def is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _secret(field: FieldInfo, *, leaves: bool = False) -> str:
    hint = " (empty: as it is)" if leaves else ""
    asked: str = click.prompt(_label(field) + hint, hide_input=True,
                              default="" if leaves else None, show_default=False)  # fmt: skip
    return asked


def _label(field: FieldInfo) -> str:
    words = field.description or ""
    return words[:1].upper() + words[1:]


def _several(value: str) -> list[str]:
    return [each.strip() for each in value.split(",") if each.strip()]
