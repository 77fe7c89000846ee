"""What the public is told: an update, its revisions, and the digest that binds approval to words.

A revision is one immutable wording: one rendering per channel and language, made before
approval, and a digest over everything that approval covers (DESIGN.md rule 1).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

import rfc8785
from pydantic import Field

from broadcaster.channel import AnyChannel
from broadcaster.errors import Refusal
from broadcaster.incident import CLOSED, OPEN
from broadcaster.media import Digest, Picture
from broadcaster.type_names import type_in_words
from broadcaster.world import Frozen, World

#: Hashed before the content, so that a digest of one scheme never passes for another's.
DIGEST_TAG = b"incident-alert-broadcaster/revision/1\0"

#: Hashed before the facts in spite of which a Commander keeps the words.
FACTS_TAG = b"incident-alert-broadcaster/facts/1\0"

#: How long a released update stands where the PIO names no other time.
EXPIRES_AFTER = timedelta(hours=24)
LONGEST_EXPIRY = timedelta(days=7)

#: How long the Commander has to decide (ASVS 6.5.5: out-of-band requests live 10 minutes).
REQUEST_EXPIRES_AFTER = timedelta(minutes=10)

LONGEST_TEXT = 20_000
LONGEST_HEADLINE = 300

#: Said first on every channel in the exercise world, and part of the approved words.
EXERCISE_MARK = "EXERCISE, NOT REAL. "


class UpdateKind(StrEnum):
    UPDATE = "update"
    CORRECTION = "correction"
    RETRACTION = "retraction"
    ALL_CLEAR = "all clear"

    @property
    def mends(self) -> bool:
        """Whether it is about words that were wrong: then it is needed whatever has changed."""
        return self in (UpdateKind.CORRECTION, UpdateKind.RETRACTION)


class Origin(StrEnum):
    """Where a phrase comes from."""

    CAD = "CAD"
    TEMPLATE = "template"
    TYPED = "typed"


class Phrase(Frozen):
    """A part of the words, with where it is from and whether a person has verified it."""

    text: Annotated[str, Field(max_length=1000)]
    origin: Origin
    verified: bool = False
    #: The fact of the incident that the phrase was made from, for telling when it has changed.
    fact: Literal["type", "place", "heard_at"] | None = None
    fact_value: str | None = None


class Words(Frozen):
    """The five elements of a warning, in order (source, hazard, location, guidance, time)."""

    source: Phrase
    hazard: Phrase
    place: Phrase
    guidance: Phrase
    time: Phrase

    def phrases(self) -> Mapping[str, Phrase]:
        return {name: getattr(self, name) for name in type(self).model_fields}


class Rendering(Frozen):
    """Exactly what one channel will say in one language."""

    channel: str
    language: Literal["en"] = "en"
    headline: Annotated[str, Field(max_length=LONGEST_HEADLINE)]
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
    #: What the channel shows beside the words. Left out where there is none, so that what was
    #: approved before there were any stays approved.
    pictures: tuple[Picture, ...] = Field(default=(), exclude_if=lambda several: not several)


class Revision(Frozen):
    """One immutable wording of an update, and everything that approval of it covers."""

    id: str
    update_id: str
    incident_id: str
    world: World
    kind: UpdateKind
    number: int  #: the update's number within its incident, as the public sees it
    area: str
    languages: tuple[Literal["en"], ...] = ("en",)
    channels: tuple[str, ...]
    renderings: tuple[Rendering, ...]
    media: tuple[Digest, ...] = ()  #: of the pictures that some channel shows
    replaces: tuple[str, ...] = ()  #: releases that this one takes the place of where unsent
    corrects: str | None = None  #: the release that a correction or retraction is about
    expires_at: datetime
    words: Words
    compiled_by: str
    compiled_at: datetime
    #: The Commander who mended it on the phone; then it stands on the compiler's base.
    edited_by: str | None = None
    #: What `compiled_by` states: these words endanger neither investigation nor anybody (389.5).
    attested: bool = False
    #: Who stated it instead: the Commander who changed the words.
    attested_by: str | None = None
    #: Of a notice, what `compiled_by` states: these words are about no open incident (389.4.1).
    no_open_incident: bool = False
    #: Why the compiler goes on in spite of a soft finding, by the rule's id.
    policy_reasons: dict[str, str] = Field(default_factory=dict)
    #: Whether the incident was open when this was compiled: an update then lapses as it closes.
    incident_open: bool = True
    #: What each channel says to take these words back: prepared with them, and approved with them.
    retraction: tuple[Rendering, ...] = ()

    @property
    def digest(self) -> str:
        return digest(self)

    @property
    def writers(self) -> frozenset[str]:
        """Whose words they are: the compiler, and who mended them."""
        return frozenset(each for each in (self.compiled_by, self.edited_by) if each)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What some channel shows, each once."""
        return pictures_in(self.renderings)

    def rendering(self, channel: str) -> Rendering:
        """The rendering for a channel; KeyError where the revision has none."""
        for rendering in self.renderings:
            if rendering.channel == channel:
                return rendering
        raise KeyError(channel)


def pictures_in(renderings: Sequence[Rendering]) -> tuple[Picture, ...]:
    """What some of these show, each once."""
    return tuple(dict.fromkeys(each for one in renderings for each in one.pictures))


#: What approval covers. The rest says how the text came about and reaches no channel, so it stands
#: outside: whoever reads a post can be given all that its digest is made of. That goes for the
#: attestation and the reasons too. The Commander reads them, the record holds them from the
#: submission on, and the gate screens the covered words for itself, so it asks for no less if
#: somebody has changed them.
_COVERED = (
    "id", "update_id", "incident_id", "world", "kind", "number", "area", "languages", "channels",
    "renderings", "media", "replaces", "corrects", "expires_at", "retraction",
)  # fmt: skip


def digest(revision: Revision) -> str:
    """SHA-256 over the version tag and RFC 8785 canonical JSON of all that approval covers."""
    covered = revision.model_dump(mode="json", include=set(_COVERED))
    if not revision.retraction:  # so that what was approved before there was one stays approved
        covered.pop("retraction", None)
    return hashlib.sha256(DIGEST_TAG + rfc8785.dumps(covered)).hexdigest()


def short_code(digest: str) -> str:
    """The few characters of a digest that two people can compare by voice: `A91C-04EF`."""
    return f"{digest[:4]}-{digest[4:8]}".upper()


#: Stands where a person must still write something: what is right, in a correction.
SLOT = "[…]"


def unfilled(text: str) -> bool:
    """Whether a place is left in which something must be written."""
    return SLOT in text


def compose(words: Words) -> str:
    """The running text of the five elements, in the order that works (facts/domain.md §3)."""
    source, hazard, place = words.source.text, words.hazard.text, words.place.text
    first = f"{source}: {hazard}, {place}." if place else f"{source}: {hazard}."
    rest = [part.strip() for part in (words.guidance.text, words.time.text) if part.strip()]
    return " ".join([first, *(part if part[-1] in ".!?" else f"{part}." for part in rest)])


def headline(words: Words) -> str:
    return f"{words.hazard.text}, {words.place.text}" if words.place.text else words.hazard.text


def retraction_text(words: Words, number: int) -> str:
    """What is said to take an update back, ready before anybody needs it."""
    source, what = words.source.text.strip(), headline(words)
    said = f"We take back our update #{number} ({what}). Do not act on it."
    return f"{source}: {said}" if source else said


def retraction_of(
    base: Revision, release_id: str, channels: Collection[str], *,
    id: str, update_id: str, number: int, compiled_at: datetime,
) -> Revision:  # fmt: skip
    """The retraction that was approved with a wording, on those of its channels that said it."""
    return base.model_copy(update={
        "id": id, "update_id": update_id, "kind": UpdateKind.RETRACTION, "number": number,
        "channels": tuple(name for name in base.channels if name in channels),
        "renderings": tuple(each for each in base.retraction if each.channel in channels),
        "retraction": (), "media": (), "replaces": (release_id,), "corrects": release_id,
        "expires_at": compiled_at + EXPIRES_AFTER, "compiled_at": compiled_at,
    })  # fmt: skip


#: Invisible characters that turn text round (Unicode bidi controls): what an eye approves would
#: not be what a reader sees.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _hidden(character: str) -> bool:
    point = ord(character)
    none = point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF
    control = unicodedata.category(character) in ("Cc", "Cs") and character != "\n"
    return control or none or character in _BIDI


#: Longest reason that somebody writes for what they order.
LONGEST_REASON = 1000


def reason_in(text: str, field: str, why: str) -> str:
    """A reason that must be given, cleaned. Raises Refusal; `why` says what it is for."""
    reason = clean(text, field)
    if not reason:
        raise Refusal("reason_missing", why, "Write why, for the record.", field=field)
    if len(reason) > LONGEST_REASON:
        raise Refusal("reason_too_long", f"A reason holds at most {LONGEST_REASON:,} characters.",
                      "Shorten it.", field=field)  # fmt: skip
    return reason


def clean(text: str, field: str) -> str:
    """The text in NFC with `\\n` line ends and outer space removed.

    Raises Refusal on control characters, bidi controls and what no text may hold (halves of
    characters, code points that are none), naming the character.
    """
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    for character in text:
        if _hidden(character):
            raise Refusal(
                "hidden_character",
                f"The text holds a hidden character (U+{ord(character):04X}) that could make it "
                "read differently from what was approved.",
                "Type that passage again instead of pasting it.",
                field=field,
            )
    return text


def render(
    world: World,
    channels: Sequence[AnyChannel],
    words: Words,
    text: str,
    own_texts: Mapping[str, str],
    pictures: Sequence[Picture] = (),
) -> tuple[Rendering, ...]:
    """What each channel will say: the common text, or a channel's own, marked in an exercise.

    A channel that shows no pictures says the words alone. Raises Refusal where a text or a picture
    is empty, does not fit its channel or would be changed there, or where no channel shows a
    picture. Nothing is ever cut.
    """
    mark = EXERCISE_MARK if world == "exercise" else ""
    if not clean(words.hazard.text, "hazard"):
        raise Refusal(
            "hazard_empty", "The update does not say what the hazard is.",
            "Fill in the hazard.", field="hazard",
        )  # fmt: skip
    title = mark + clean(headline(words), "hazard")
    if len(title) > LONGEST_HEADLINE:
        raise Refusal(
            "headline_too_long",
            f"Hazard and place are the headline, which holds {LONGEST_HEADLINE} characters; "
            f"these have {len(title)}.",
            "Shorten the hazard or the place; details belong in the text.",
            field="hazard",
        )
    if "\n" in title:  # no title and no subject holds one as it is
        raise Refusal(
            "headline_two_lines", "Hazard and place are the headline, which is one line; these "
            "hold a line end (U+000A).",
            "Write each of them on one line; details belong in the text.", field="hazard",
        )  # fmt: skip
    renderings = []
    for channel in channels:
        own = own_texts.get(channel.name, "").strip()
        field = f"text_{channel.name}" if own else "text"
        said = clean(own or text, field)
        if not said:
            raise Refusal(
                "text_empty", "The update has no text.", "Write what the public must know.",
                field=field,
            )  # fmt: skip
        whole = mark + said
        if (why := channel.unfit(whole)) is not None:
            raise Refusal(
                "text_unfit", why, f"Change it, or give {channel.title} a text of its own.",
                field=field,
            )  # fmt: skip
        length, limit, unit = channel.measure(whole)
        if (limit is not None and length > limit) or len(whole) > LONGEST_TEXT:
            raise Refusal(
                "text_too_long",
                f"{channel.title} holds {unit.holds(limit or LONGEST_TEXT)}; this text has "
                f"{length:,}.",
                f"Shorten it, or give {channel.title} a shorter text of its own. Nothing is ever "
                "cut for you.",
                field=field,
            )
        if channel.pictures and (why := channel.unfit_pictures(pictures)) is not None:
            raise Refusal(
                "picture_unfit", why, f"Change it, or leave {channel.title} out.", field="picture"
            )
        shown = tuple(pictures) if channel.pictures else ()
        renderings.append(
            Rendering(channel=channel.name, headline=title, text=whole, pictures=shown)
        )
    if pictures and not pictures_in(renderings):
        raise Refusal(
            "picture_nowhere", "None of these channels shows a picture.",
            "Take the picture out, or choose a channel that shows it.", field="picture",
        )  # fmt: skip
    return tuple(renderings)


class Change(Frozen):
    """A fact that stands in the words, and that is no longer so."""

    name: Literal["source", "hazard", "place", "guidance", "time", "status"]
    was: str | None
    now: str | None

    @property
    def in_words(self) -> str:
        """`place: Oak St is now Elm St`."""
        was, now = (
            type_in_words(value or "") if self.name == "hazard" else value or "not known"
            for value in (self.was, self.now)
        )
        return f"{self.name}: {was} is now {now}"


def changed_facts(words: Words, facts: Mapping[str, str | None]) -> tuple[Change, ...]:
    """The facts behind the words that are no longer what the incident says."""
    return tuple(
        Change(name=name, was=phrase.fact_value, now=facts.get(phrase.fact))
        for name, phrase in words.phrases().items()
        if phrase.fact in ("type", "place") and facts.get(phrase.fact) != phrase.fact_value
    )


def lapses_by(revision: Revision, facts: Mapping[str, str | None]) -> tuple[Change, ...]:
    """What makes a wording lapse: the facts that changed since it was compiled.

    An update lapses with its incident, too. A correction or a retraction never does: the words
    that it mends are out, and stay wrong.
    """
    if revision.kind.mends:
        return ()
    changed = changed_facts(revision.words, facts)
    speaks_of_now = revision.kind is UpdateKind.UPDATE and revision.incident_open
    if speaks_of_now and facts.get("status") == CLOSED:
        return (*changed, Change(name="status", was=OPEN, now=CLOSED))
    return changed


def facts_digest(changes: Sequence[Change]) -> str:
    """What a Commander signs who keeps words though these facts changed: exactly these."""
    told = [[change.name, change.was, change.now] for change in changes]
    return hashlib.sha256(FACTS_TAG + rfc8785.dumps(told)).hexdigest()


def is_over(changes: Sequence[Change]) -> bool:
    """Whether the incident is over of which the words speak: nobody can keep such words."""
    return any(change.name == "status" for change in changes)


def may_stand(changes: Sequence[Change], keeps: str | None) -> bool:
    """Whether words may be said: nothing has changed, or a Commander signed exactly this much.

    `keeps`: the `facts_digest` that was signed.
    """
    return not changes or (keeps == facts_digest(changes) and not is_over(changes))
