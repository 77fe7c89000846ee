"""The two worlds. Nothing crosses from one into the other.

A world is a type as well as a value: a `Release[Exercise]` cannot be typed into a
`Post[Live]`, and a live adapter cannot be built in the exercise world.
"""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

World = Literal["exercise", "live"]
Exercise = Literal["exercise"]
Live = Literal["live"]
W = TypeVar("W", Exercise, Live)


class Frozen(BaseModel):
    """A value: compared by what it holds, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
