"""What stands in the composer's form, and how it becomes an order.

Everything that was typed is kept through an error: the form is read, judged, and shown again as
it was. A phrase that was typed over is no longer CAD's or the template's, and nobody has verified
it until its tick says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from multidict import MultiMapping

from broadcaster.channel import AnyChannel
from broadcaster.desk.checks import PHRASES
from broadcaster.desk.preview import Preview
from broadcaster.errors import Refusal
from broadcaster.incident import Incident
from broadcaster.orders import LONGEST_REASON, ShowPicture, SubmitRevision
from broadcaster.policy import RULES
from broadcaster.suggestion import times, words
from broadcaster.update import (
    EXERCISE_MARK,
    LONGEST_TEXT,
    SLOT,
    Origin,
    Phrase,
    Revision,
    UpdateKind,
    Words,
    changed_facts,
    compose,
)
from broadcaster.world import World

#: The phrase that each of the incident's facts stands behind.
FACT_OF = {"hazard": "type", "place": "place"}

#: How long an update may stand, in hours.
EXPIRIES = {1: "1 hour", 4: "4 hours", 12: "12 hours", 24: "24 hours", 72: "3 days", 168: "7 days"}
DEFAULT_EXPIRY = 24

LONGEST_PHRASE = 1000

_DIGEST = re.compile(r"[0-9a-f]{64}")

#: Kinds that name the update that was wrong.
CORRECTING = (UpdateKind.CORRECTION, UpdateKind.RETRACTION)


@dataclass(frozen=True)
class TypedPhrase:
    """One phrase as it stands in the form."""

    text: str
    origin: Origin
    was: str  #: what it said before anybody typed
    verified: bool = False

    @property
    def origin_now(self) -> Origin:
        return self.origin if self.text == self.was else Origin.TYPED


@dataclass(frozen=True)
class Typed:
    """All that stands in the composer."""

    phrases: Mapping[str, TypedPhrase]
    #: The incident's facts as this form showed them.
    seen: Mapping[str, str | None]
    text: str = ""  #: the common text, where somebody wrote it by hand
    own_texts: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    kind: UpdateKind = UpdateKind.UPDATE
    corrects: str = ""
    replaces: tuple[str, ...] = ()
    hours: int = DEFAULT_EXPIRY
    update_id: str = ""  #: of the update that this words anew
    reasons: Mapping[str, str] = field(default_factory=dict)  #: by the rule's id
    attested: bool = False
    no_open_incident: bool = False  #: a notice's statement (389.4.1)
    picture: str = ""  #: its digest
    alt: str = ""  #: what it shows

    @property
    def words(self) -> Words:
        return Words(**{name: self._phrase(name) for name in PHRASES})

    def _phrase(self, name: str) -> Phrase:
        typed, fact = self.phrases[name], FACT_OF.get(name)
        return Phrase(
            text=typed.text[:LONGEST_PHRASE], origin=typed.origin_now, verified=typed.verified,
            fact=fact, fact_value=self.seen.get(fact) if fact else None,
        )  # fmt: skip

    def preview(self) -> Preview:
        return Preview(words=self.words, text=self.text, own_texts=dict(self.own_texts),
                       alt=self.alt[:LONGEST_TEXT] if self.picture else "")  # fmt: skip

    def order(self, incident_id: str, now: datetime) -> SubmitRevision:
        """The order to ask for these words' approval. Raises Refusal on what is too long."""
        for name, typed in self.phrases.items():
            if len(typed.text) > LONGEST_PHRASE:
                raise Refusal(
                    "phrase_too_long",
                    f"{PHRASES[name]} holds {LONGEST_PHRASE:,} characters; this has "
                    f"{len(typed.text):,}.",
                    "Shorten it, or write the details into the text.",
                    field=name,
                )
        for rule, reason in self.reasons.items():
            if len(reason) > LONGEST_REASON:
                raise Refusal(
                    "reason_too_long",
                    f"A reason holds {LONGEST_REASON} characters; this has {len(reason):,}.",
                    "Shorten it.",
                    field=f"reason_{rule}",
                )
        return SubmitRevision(
            incident_id=incident_id, kind=self.kind, words=self.words, text=self.text,
            own_texts=dict(self.own_texts), channels=self.channels, replaces=self.replaces,
            corrects=(self.corrects or None) if self.kind in CORRECTING else None,
            expires_at=now + timedelta(hours=self.hours), update_id=self.update_id or None,
            attested=self.attested, no_open_incident=self.no_open_incident,
            policy_reasons=dict(self.reasons),
            pictures=(ShowPicture(digest=self.picture, alt=self.alt[:LONGEST_TEXT]),)
            if self.picture
            else (),
        )  # fmt: skip

    def with_facts(self, incident: Incident) -> Typed:
        """The same words, beside what the incident is now."""
        return replace(self, seen=facts_seen(incident))


def facts_seen(incident: Incident) -> dict[str, str | None]:
    """The incident's facts that a form shows."""
    return {fact: incident.facts[fact] for fact in FACT_OF.values()}


def from_words(said: Words, incident: Incident, channels: Sequence[AnyChannel]) -> Typed:
    """A composer that begins with these words, for every channel."""
    return Typed(
        phrases={
            name: TypedPhrase(phrase.text, phrase.origin, phrase.text, phrase.verified)
            for name, phrase in said.phrases().items()
        },
        seen=facts_seen(incident),
        channels=tuple(channel.name for channel in channels),
    )


def suggested(
    incident: Incident, channels: Sequence[AnyChannel], *,
    department: str, zone: ZoneInfo, now: datetime,
) -> Typed:  # fmt: skip
    """Begins with the template for the incident's type and what its reports say now."""
    said = words(incident, department=department, zone=zone, now=now)
    return from_words(said, incident, channels)


def empty(
    incident: Incident, channels: Sequence[AnyChannel], *,
    department: str, zone: ZoneInfo, now: datetime,
) -> Typed:  # fmt: skip
    """Begins with nothing but who speaks and when."""
    said = words(incident, department=department, zone=zone, now=now)
    nothing = Phrase(text="", origin=Origin.TYPED)
    return from_words(
        said.model_copy(update={"hazard": nothing, "place": nothing, "guidance": nothing}),
        incident, channels,
    )  # fmt: skip


def from_revision(
    revision: Revision, incident: Incident, world: World, *,
    channels: Sequence[AnyChannel], same_update: bool, zone: ZoneInfo, now: datetime,
) -> Typed:  # fmt: skip
    """Begins with an earlier wording: of the same update, to mend it, or for the next one."""
    said = revision.words.model_copy(
        update={"time": Phrase(text=times(now, zone), origin=Origin.TEMPLATE)}
    )
    typed = from_words(said, incident, channels)
    common, own = _texts(revision, world)
    if same_update:
        typed = replace(
            typed, kind=revision.kind, corrects=revision.corrects or "",
            replaces=revision.replaces, update_id=revision.update_id,
            reasons=revision.policy_reasons,
            channels=tuple(name for name in typed.channels if name in revision.channels),
        )  # fmt: skip
        for each in revision.pictures:
            typed = replace(typed, picture=each.digest, alt=each.alt)
    return replace(typed, text=common, own_texts=own)


def with_new_facts(
    revision: Revision, incident: Incident, world: World, *, department: str,
    channels: Sequence[AnyChannel], zone: ZoneInfo, now: datetime,
) -> Typed:  # fmt: skip
    """The same update, with what is reported now put in the place of what changed.

    A place stands in the words as it was reported. Another type brings its own hazard and what to
    do from its template, and nothing where it has none. A picture may show what was so
    before, and is left out.
    """
    typed = from_revision(revision, incident, world, channels=channels, same_update=True,
                          zone=zone, now=now)  # fmt: skip
    fresh = words(incident, department=department, zone=zone, now=now).phrases()
    moved = {change.name for change in changed_facts(revision.words, incident.facts)}
    moved |= {"guidance"} if "hazard" in moved else set()
    anew = {name: fresh[name] for name in moved}

    def put_in(said: str) -> str:
        for name, phrase in anew.items():
            if old := revision.words.phrases()[name].text:
                said = said.replace(old, phrase.text)
        return said

    return replace(
        typed, text=put_in(typed.text), picture="", alt="",
        own_texts={name: put_in(own) for name, own in typed.own_texts.items()},
        phrases={**typed.phrases, **{
            name: TypedPhrase(phrase.text, phrase.origin, phrase.text)
            for name, phrase in anew.items()
        }},
    )  # fmt: skip


def all_clear(typed: Typed, zone: ZoneInfo, now: datetime) -> Typed:
    """The same incident, said to be over. How it ended is left open: nothing is sent before a
    person has said it (`orders`)."""
    hazard = typed.phrases["hazard"].text
    over = f"All clear: {hazard[:1].lower()}{hazard[1:]}" if hazard else "All clear"
    at = f"As of {now.astimezone(zone):%H:%M %Z}."
    return replace(
        typed,
        kind=UpdateKind.ALL_CLEAR,
        phrases={
            **typed.phrases,
            "hazard": TypedPhrase(over, Origin.TEMPLATE, over),
            "guidance": TypedPhrase(SLOT, Origin.TYPED, SLOT),
            "time": TypedPhrase(at, Origin.TEMPLATE, at),
        },
    )


def correcting(
    revision: Revision, release_id: str, kind: UpdateKind, incident: Incident, world: World, *,
    there: Collection[str], channels: Sequence[AnyChannel], zone: ZoneInfo, now: datetime,
) -> Typed:  # fmt: skip
    """A correction or retraction of what was released, exactly where that may be read.

    The retraction is ready as it is. A correction names the wrong words and leaves open what is
    right: `update.unfilled` keeps it from being sent so.
    """
    typed = from_revision(revision, incident, world, channels=channels, same_update=False,
                          zone=zone, now=now)  # fmt: skip
    said, _ = _texts(revision, world)
    told = f"#{revision.number} of {revision.compiled_at.astimezone(zone):%H:%M %Z}"
    wrong = (said or compose(revision.words)).strip()
    text = (
        f"We take back update {told}. Do not act on it."
        if kind is UpdateKind.RETRACTION
        else f"Correction of update {told}. It said: “{wrong}” What is right: {SLOT}"
    )
    return replace(
        typed, kind=kind, corrects=release_id, text=text, own_texts={}, replaces=(release_id,),
        channels=tuple(name for name in typed.channels if name in there),
    )  # fmt: skip


def _texts(revision: Revision, world: World) -> tuple[str, dict[str, str]]:
    """The common text, empty where it was composed from the words, and the channels' own."""
    mark = EXERCISE_MARK if world == "exercise" else ""
    said = {each.channel: each.text.removeprefix(mark) for each in revision.renderings}
    composed = compose(revision.words)
    texts = list(said.values())
    common = composed if composed in texts else max(texts, key=texts.count)
    own = {channel: text for channel, text in said.items() if text != common}
    return "" if common == composed else common, own


def read(form: MultiMapping[object], channels: Sequence[AnyChannel]) -> Typed:
    """The form as it was sent; whatever is missing or makes no sense is as on a fresh one."""

    def text(name: str) -> str:
        value = form.get(name, "")
        return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""

    def several(name: str) -> tuple[str, ...]:
        return tuple(str(value) for value in form.getall(name, []))

    composed, common = text("composed"), text("text")
    hours = text("hours")
    return Typed(
        phrases={
            name: TypedPhrase(
                " ".join(text(name).split()),
                _origin(text(f"origin_{name}")),
                text(f"was_{name}"),
                f"verified_{name}" in form,
            )
            for name in PHRASES
        },
        seen={fact: text(f"seen_{fact}") or None for fact in FACT_OF.values()},
        text="" if common == composed else common,
        own_texts={
            channel.name: own for channel in channels if (own := text(f"text_{channel.name}"))
        },
        channels=several("channels"),
        kind=_kind(text("kind")),
        corrects=text("corrects"),
        replaces=several("replaces"),
        hours=int(hours) if hours in map(str, EXPIRIES) else DEFAULT_EXPIRY,
        update_id=text("update_id"),
        reasons={rule.id: reason for rule in RULES if (reason := text(f"reason_{rule.id}"))},
        attested="attested" in form,
        no_open_incident="no_open_incident" in form,
        picture=digest if _DIGEST.fullmatch(digest := text("picture")) else "",
        alt=text("alt"),
    )


def _origin(value: str) -> Origin:
    return Origin(value) if value in set(map(str, Origin)) else Origin.TYPED


def _kind(value: str) -> UpdateKind:
    return UpdateKind(value) if value in set(map(str, UpdateKind)) else UpdateKind.UPDATE
