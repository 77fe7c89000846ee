"""What each channel would say of words that are still being typed. No act: it keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from broadcaster.channel import AnyChannel, Shape
from broadcaster.counting import CountRule
from broadcaster.desk.checks import Check, checks
from broadcaster.errors import Refusal
from broadcaster.orders import area_of
from broadcaster.parts import Mark, Part, parts
from broadcaster.policy import Severity, screen
from broadcaster.update import EXERCISE_MARK, LONGEST_TEXT, Words, compose, headline, render
from broadcaster.world import Frozen, World


class Preview(Frozen):
    """What stands in the composer now."""

    words: Words
    #: The common text; empty: composed from the words.
    text: Annotated[str, Field(max_length=2 * LONGEST_TEXT)] = ""
    own_texts: dict[str, str] = Field(default_factory=dict)
    #: What is said of the picture, where there is one.
    alt: Annotated[str, Field(max_length=20_000)] = ""
    #: The channels to show; empty: all.
    channels: tuple[str, ...] = ()


class Fault(Frozen):
    """Why these words could not be submitted as they are."""

    code: str
    why: str
    do: str
    field: str | None


class ChannelPreview(Frozen):
    """What one channel would say, and its length by the channel's own count."""

    channel: str
    title: str
    headline: str
    text: str
    length: int
    limit: int | None
    unit: CountRule
    counted: str = Field(description="The length in words, by the channel's own count.")
    frame: str
    handle: str | None = Field(description="Under what name it posts there, where we know it.")
    shape: Shape = Field(description="How a post looks there, as far as the platform tells.")
    parts: tuple[Part, ...] = Field(description="The text in passages, as that platform reads it.")
    notes: tuple[str, ...] = Field(description="What else a reader would see or has to do.")
    fault: Fault | None


class Previewed(Frozen):
    """The common text, what is wrong with the words, and every channel's own text."""

    text: str
    faults: tuple[Fault, ...]
    channels: tuple[ChannelPreview, ...]
    checks: tuple[Check, ...] = Field(
        description="What policy 389.5 forbids of these words (hard), or asks a reason for (soft)."
    )

    @property
    def ready(self) -> bool:
        """Whether these words could be submitted, with a reason for each soft check."""
        blocked = any(check.severity is Severity.HARD for check in self.checks)
        return not (blocked or self.faults or any(channel.fault for channel in self.channels))


def preview(
    world: World, channels: Sequence[AnyChannel], typed: Preview, *, contact: str
) -> Previewed:
    """Renders as a submission would, channel by channel, and says what would be refused.

    `contact`: the department's own, which words may always say.
    """
    text = typed.text.strip() or compose(typed.words)
    shown = [each for each in channels if not typed.channels or each.name in typed.channels]
    rendered = [_channel(world, each, typed, text) for each in shown]
    of_words = {
        each.fault.code: each.fault for each in rendered if each.fault and not _of_text(each.fault)
    }
    try:
        area_of(typed.words)
    except Refusal as refusal:
        of_words[refusal.code] = _fault(refusal)
    return Previewed(
        text=text,
        faults=tuple(of_words.values()),
        channels=tuple(
            each.model_copy(update={"fault": each.fault if _of_text(each.fault) else None})
            for each in rendered
        ),
        checks=checks(
            screen(typed.words, rendered, contact=contact, alts=[typed.alt]),
            {each.name: each.title for each in shown},
        ),
    )


def _of_text(fault: Fault | None) -> bool:
    """Whether a fault is one channel's own, and not one of the words that all share."""
    return fault is not None and (fault.field or "").startswith("text")


def _channel(world: World, channel: AnyChannel, typed: Preview, text: str) -> ChannelPreview:
    fault = None
    mark = EXERCISE_MARK if world == "exercise" else ""
    title = mark + headline(typed.words)
    said = mark + (typed.own_texts.get(channel.name, "").strip() or text)
    try:
        (rendering,) = render(world, [channel], typed.words, text, typed.own_texts)
        title, said = rendering.headline, rendering.text
    except Refusal as refusal:
        fault = _fault(refusal)
    length, limit, unit = channel.measure(said)
    read = parts(said, channel.shape.marks, channel.shape.folds_after)
    return ChannelPreview(
        channel=channel.name, title=channel.title, headline=title, text=said,
        length=length, limit=limit, unit=unit, counted=unit.of(length, limit),
        frame=channel.frame, handle=channel.handle, shape=channel.shape, parts=read,
        notes=tuple(_notes(channel, read)), fault=fault,
    )  # fmt: skip


def _notes(channel: AnyChannel, read: Sequence[Part]) -> Iterator[str]:
    shape = channel.shape
    link = next((part.text for part in read if part.mark is Mark.LINK), None)
    if shape.card and link:
        yield (
            f"A card of {link} may stand beneath: that page's title and picture, which nobody "
            "approves here."
        )
    if any(part.folded for part in read):
        yield f"What stands under “{shape.folds_with}” is read only by those who press that."


def _fault(refusal: Refusal) -> Fault:
    return Fault(code=refusal.code, why=refusal.why, do=refusal.do, field=refusal.field)
