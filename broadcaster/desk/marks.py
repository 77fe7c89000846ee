"""The shape and word of every state. Words first, then shape, then colour: never colour alone.

Shapes are drawn, since a telephone may have no letter for them. Green means proven, amber that
somebody must look, red harm.
"""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

_RING = '<circle cx="8" cy="8" r="6.5"/>'
_SHAPES = {
    "ring": _RING,
    "clock": f'{_RING}<path d="M8 4.2V8l2.6 1.8"/>',
    "arrow": '<path d="M1 8h13M9 3l5 5-5 5"/>',
    "disc": '<circle cx="8" cy="8" r="7" fill="currentColor" stroke="none"/>',
    "forward": '<path d="M2 13V9a4 4 0 0 1 4-4h8M10 1l4 4-4 4"/>',
    "back": '<path d="M14 13V9a4 4 0 0 0-4-4H2M6 1 2 5l4 4"/>',
    "cross": '<path d="m3 3 10 10M13 3 3 13"/>',
    "question": '<path d="M4.5 5a3.5 3.5 0 1 1 5 3.2C8.3 8.8 8 9.3 8 10.5M8 14.4v.1"/>',
    "bars": '<path d="M5 2v12M11 2v12"/>',
    "square": '<path d="M2.5 2.5h11v11h-11z" fill="currentColor"/>',
    "barred": f'{_RING}<path d="m3.5 12.5 9-9"/>',
    "tick": '<path d="m2 8.5 4 4L14 4"/>',
    "exclamation": '<path d="M8 2v8M8 14v.1"/>',
    "triangle": '<path d="M8 1.5 15 14H1zM8 6v4M8 12.1v.1"/>',
}


class State(NamedTuple):
    shape: str
    word: str
    tone: str = ""


#: Of posts, approval requests and phrases.
STATES: dict[str, State] = {
    "planned": State("ring", "Planned"),
    "waiting": State("clock", "Waiting"),
    "sending": State("arrow", "Sending"),
    "posted": State("disc", "Posted", "good"),
    "replaced": State("forward", "Replaced"),
    "refused": State("cross", "Refused", "look"),
    "in doubt": State("question", "In doubt", "look"),
    "held": State("bars", "Held", "look"),
    "stopped": State("square", "Stopped"),
    "expired": State("barred", "Expired", "look"),
    "retracted": State("back", "Retracted"),
    "changed": State("exclamation", "The public reads something else", "look"),
    "wrong again": State("exclamation", "The wrong words stand there again", "look"),
    "open to answers": State("exclamation", "The public can answer", "look"),
    "gone": State("barred", "There no more", "look"),
    "stays": State("exclamation", "To be taken down by hand", "look"),
    "open": State("clock", "Waiting"),
    "approved": State("tick", "Approved"),
    "returned": State("back", "Returned", "look"),
    "declined": State("cross", "Declined", "look"),
    "withdrawn": State("back", "Taken back"),
    "lapsed": State("exclamation", "Lapsed", "look"),
    "released": State("disc", "Released"),
    "verified": State("tick", "verified"),
    "unverified": State("question", "not verified", "look"),
}


def mark(shape: str) -> Markup:
    """A small drawing, for the eye alone: the word beside it says the same."""
    return Markup(
        f'<svg class="mark" viewBox="0 0 16 16" aria-hidden="true">{_SHAPES[shape]}</svg>'
    )


def state(value: str) -> Markup:
    """A state as a shape and a word."""
    shape, word, tone = STATES[str(value)]
    return Markup('<span class="state {}">{}{}</span>').format(tone, mark(shape), word)
