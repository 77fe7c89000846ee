"""The Commander's page: what is asked, exactly what would be posted, and one tap.

Opening it changes nothing (DESIGN.md rule 7); that whoever was called has opened it is on the
record. The form carries the digest of the words that it
shows and a key that is the same however often it is sent, so that a double tap, or a retry on a
bad line, is one decision.
"""

from __future__ import annotations

import difflib
import json
import secrets
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from broadcaster.approval import Assent, RequestState, Verdict, asked_in_words
from broadcaster.desk import fallback, handover
from broadcaster.desk.api import ApprovalDetail, approval_detail
from broadcaster.desk.changes import ChannelChange, Part
from broadcaster.desk.decision import asked, decided
from broadcaster.desk.deps import DESK
from broadcaster.desk.middleware import status_of
from broadcaster.desk.needs import may_decide
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.templating import page
from broadcaster.edit import EditWords, edit_words
from broadcaster.errors import Refusal
from broadcaster.guideline import Guideline
from broadcaster.incident import Command
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    calls,
    fallbacks,
    guidelines,
    incidents,
    voices,
    wrong_words,
)
from broadcaster.ledger.wrong_words import StillOut
from broadcaster.orders import (
    LONGEST_REASON,
    Decide,
    no_such_request,
    renew_request,
    withdraw_assent,
    writing,
)
from broadcaster.passkey import Json
from broadcaster.policy import BY_ID
from broadcaster.roster import Act, require
from broadcaster.type_names import type_in_words
from broadcaster.update import EXERCISE_MARK, LONGEST_TEXT, Words
from broadcaster.voice import words_of

T = TypeVar("T", bound=Hashable)

#: Words that stand before a change, so that an eye finds it in the text.
CONTEXT = 3
#: Changes with no more words than this between them are read as one.
BRIDGE = 1
#: More changes than this are read as a new text.
MOST_HUNKS = 8

#: What each phrase is called where one is not verified.
_CALLED = {
    "source": "who says it", "hazard": "the hazard", "place": "the place",
    "guidance": "what people should do", "time": "the time",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """One text, and every channel that says it."""

    where: str
    text: str
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hunk:
    """One place where the text changed."""

    before: str
    removed: str
    added: str


@dataclass(frozen=True)
class Changed:
    """What changed on some channels since the last release."""

    where: str
    hunks: Sequence[Hunk]


def said_once(texts: Iterable[tuple[str, str]], titles: Mapping[str, str]) -> list[Said]:
    """What channels say, each with its text; texts that are the same stand once."""
    return [
        Said(_together([titles.get(name, name) for name in names]), text, tuple(names))
        for text, names in _grouped(texts)
    ]


def hunks(parts: Sequence[Part]) -> list[Hunk]:
    """What changed, each with the words before it. Spaces alone are no change to a reader."""
    old = "".join(part.text for part in parts if part.how != "added").split()
    new = "".join(part.text for part in parts if part.how != "removed").split()
    found: list[Hunk] = []
    removed, added, begins = slice(0, 0), slice(0, 0), 0
    for op, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if op == "equal":
            continue
        if found and c - added.stop <= BRIDGE:
            found.pop()
            removed, added = slice(removed.start, b), slice(added.start, d)
        else:
            begins, removed, added = added.stop, slice(a, b), slice(c, d)
        before = new[max(begins, added.start - CONTEXT) : added.start]
        found.append(Hunk(" ".join(before), " ".join(old[removed]), " ".join(new[added])))
    return found


def changed(several: Sequence[ChannelChange], titles: Mapping[str, str]) -> list[Changed]:
    """What changed, once for all channels where it is the same."""
    return [
        Changed(_together([titles.get(name, name) for name in names], len(several)), hunks(parts))
        for parts, names in _grouped((each.channel, each.parts) for each in several)
        if parts
    ]


def unverified(words: Words) -> list[str]:
    """What nobody has verified, with where it comes from: `the place (CAD)`."""
    return [
        f"{_CALLED[name]} ({phrase.origin})"
        for name, phrase in words.phrases().items()
        if phrase.text and not phrase.verified
    ]


def _grouped(pairs: Iterable[tuple[str, T]]) -> Iterable[tuple[T, list[str]]]:
    groups: dict[T, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(value, []).append(name)
    return groups.items()


def _together(names: Sequence[str], all_of: int | None = None) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) == all_of:
        return "Every channel"
    return f"{', '.join(names[:-1])} and {names[-1]} (the same)"


routes = web.RouteTableDef()


@routes.get("/a/{request_id}")
async def show(request: web.Request) -> web.Response:
    """The request, for whoever is signed in; its buttons, for the one who decides."""
    return await _page(request)


@routes.post("/a/{request_id}")
async def act(request: web.Request) -> web.Response:
    """Records the decision that the pressed button says, takes back an approval that waits, puts an
    edit in the place of what is asked, or asks again after an expiry."""
    desk, person = request.app[DESK], require_person(request)
    fields = await fields_of(request)
    try:
        if fields.get("act") == "ask_again":
            request_id = request.match_info["request_id"]
            renewed = await desk.ledger.write(
                lambda tx: renew_request(tx, request_id, person), urgent=True
            )
            address = f"/a/{renewed.id}"
        elif fields.get("act") == "withdraw":
            request_id = request.match_info["request_id"]
            await desk.ledger.write(lambda tx: withdraw_assent(tx, request_id, person), urgent=True)
            address = request.path
        elif fields.get("act") == "edit":
            address = f"/a/{await _edited(request, fields)}"
        elif fields.get("act") in handover.ACTS:
            kept = await desk.ledger.read(lambda tx: _known(tx, request.match_info["request_id"]))
            await handover.act(desk, person, kept.request.incident_id, fields)
            address = request.path
        else:
            order = _order(request, fields)
            typed = fallback.typed(fields)
            seal = await fallback.for_decision(desk, person, order, fields) if typed else None
            await decided(desk, person, order, seal)
            if request.headers.get("X-Broadcaster") == "1":  # the page's script: one round trip
                return await _page(request)
            address = request.path
    except Refusal as refusal:
        return await _page(request, refusal=refusal, fields=fields)
    raise web.HTTPSeeOther(address)


def _order(request: web.Request, fields: Mapping[str, str]) -> Decide:
    verdict = fields.get("verdict", "")
    try:
        return Decide(
            request_id=request.match_info["request_id"],
            verdict=Verdict(verdict),
            revision_id=fields.get("revision_id", ""),
            digest=fields.get("digest", ""),
            reason=fields.get(f"reason_{verdict}", "").strip() or None,
            idempotency_key=fields.get("idempotency_key", ""),
            proof=json.loads(proof) if (proof := fields.get("proof")) else None,
            keeps=fields.get("keeps") or None if verdict == Verdict.APPROVED else None,
        )
    except (ValidationError, ValueError):
        raise Refusal(
            "decision_unreadable",
            "What was sent is no decision: a part of it is missing, or the note is longer than "
            "1,000 characters.",
            "Read the page again, shorten the note, and decide.",
            field="reason",
        ) from None


async def _edited(request: web.Request, fields: Mapping[str, str]) -> str:
    """What was mended or left out, as a request of its own: its id."""
    desk, person, request_id = (
        request.app[DESK], require_person(request), request.match_info["request_id"],
    )  # fmt: skip

    def step(tx: Tx) -> str:
        kept = approvals.request(tx, request_id)
        revision = approvals.revision(tx, kept.request.revision_id) if kept else None
        if revision is None:
            raise no_such_request()
        groups = said_once(((each.channel, each.text) for each in revision.renderings), {})
        order = EditWords(
            request_id=request_id,
            digest=fields.get("digest", ""),
            texts={
                name: fields.get(f"text_{number}", "")[:LONGEST_TEXT]
                for number, group in enumerate(groups)
                for name in group.channels
                if f"post_{name}" in fields
            },
            attested="attested" in fields,
            policy_reasons={
                name.removeprefix("reason_"): text[:LONGEST_REASON]
                for name, text in fields.items()
                if name.removeprefix("reason_") in BY_ID and text.strip()
            },
        )
        contact = desk.settings.contact
        return edit_words(tx, order, person, desk.channels, desk.site, contact=contact).request.id

    return await desk.ledger.write(step, urgent=True)


@dataclass(frozen=True)
class Look:
    """All that the page shows, from one look at the ledger."""

    detail: ApprovalDetail
    asks: dict[str, Json] | None
    command: Command
    writing: Act  #: what it takes to ask again
    at: handover.CommandView
    by_voice: voices.Kept | None
    assent: Assent | None  #: that waits for the other Commander's
    unopened: Sequence[str]  #: the calls that they see it by now for the first time
    still_out: Sequence[StillOut]  #: wrong words of its incident
    may_type: bool  #: PIN and code
    covered: Guideline | None  #: on whose word the one who looks may release it


def voice_of(tx: Tx, request_id: str) -> voices.Kept | None:
    """What was heard, where the decision on a request was given by voice."""
    decided = approvals.decision_of(tx, request_id)
    return voices.of_decision(tx, decided.decision.id) if decided else None


def _known(tx: Tx, request_id: str) -> approvals.Kept:
    kept = approvals.request(tx, request_id)
    if kept is None:
        raise no_such_request()
    return kept


async def _page(
    request: web.Request, *, refusal: Refusal | None = None, fields: Mapping[str, str] | None = None
) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)

    def look(tx: Tx) -> Look:
        kept = _known(tx, request.match_info["request_id"])
        incident = incidents.get(tx, kept.request.incident_id)
        assert incident is not None, "a request's incident is a foreign key"
        detail = approval_detail(tx, desk, kept)
        revision = approvals.revision(tx, kept.request.revision_id)
        assert revision is not None, "a request's revision is a foreign key, too"
        return Look(
            detail,
            asked(tx, desk, kept, incident.incident.command, person, detail.keeps),
            incident.incident.command,
            writing(incident.incident),
            handover.command_view(tx, desk, incident.incident, person),
            voice_of(tx, kept.request.id),
            assents.waiting(tx, kept.request, incident.incident, revision),
            calls.unopened(tx, person.id, request_id=kept.request.id),
            wrong_words.still_out(tx, kept.request.incident_id),
            fallbacks.standing(tx, person.id) is not None,
            guidelines.covering(tx, incident.incident, revision)
            if person.id == revision.compiled_by else None,
        )  # fmt: skip

    seen = await desk.ledger.read(look)
    it, command, passkey_asks = seen.detail, seen.command, seen.asks
    if seen.unopened and refusal is None:
        await desk.ledger.write(lambda tx: calls.opened(tx, seen.unopened))
    titles = {channel.name: channel.title for channel in desk.channels}
    expired = it.request.state is RequestState.EXPIRED or (
        it.request.state is RequestState.OPEN and it.request.expires_at <= it.now
    )
    waits = it.request.state is RequestState.OPEN and not expired
    over = any(change.name == "status" for change in it.changed)
    own = person.id == it.compiled_by
    return page(
        request,
        "approval.html",
        status=status_of(refusal) if refusal else 200,
        it=it,
        titles=titles,
        title=f"{it.words.hazard.text}, {it.area}",
        reported=type_in_words(it.incident.type),
        said=said_once(((each.channel, each.text) for each in it.renderings), titles),
        takes_back=said_once(((each.channel, each.text) for each in it.retraction), titles),
        counts={each.channel: each for each in it.renderings},
        changed=changed(it.changes.channels, titles) if it.changes else (),
        most_hunks=MOST_HUNKS,
        unverified=unverified(it.words),
        waits=waits,
        expired=expired,
        over=over,
        newer=it.newer.request_id if it.newer else None,
        newly=changed(it.newer.changes.channels, titles) if it.newer else (),
        by_voice=seen.by_voice,
        still_out=seen.still_out,
        names=seen.at.names,
        may_settle=person.may(Act.SETTLE_POST),
        may_let_go_on=person.may(Act.TAKE_BACK) or person.may(Act.RUN_CHANNEL),
        may_type=seen.may_type,
        said_words=words_of(it.request.digest) if desk.settings.voice_approval else (),
        own=own,
        covered=seen.covered if waits else None,
        mine=(waits or it.keeps is not None) and not own and may_decide(person, command),
        moved=person.id == it.request.asked or person.id in command.former,
        at=seen.at,
        may_stop=person.may(Act.STOP),
        may_compile=person.may(seen.writing),
        may_ask_again=expired and not it.newer and person.may(seen.writing),
        asked=asked_in_words(command, seen.at.names, seen.assent),
        gave=seen.assent is not None and seen.assent.person_id == person.id,
        others=[seen.at.names.get(each) for each in command.commanders if each != person.id],
        passkey_asks=passkey_asks,
        has_passkey=passkey_asks is None or bool(passkey_asks["approved"]["allowCredentials"]),
        key=(fields or {}).get("idempotency_key") or secrets.token_urlsafe(18),
        fields=fields or {},
        editing=bool(fields) and (fields or {}).get("act") == "edit",
        mark=EXERCISE_MARK if desk.settings.world == "exercise" else "",
        refusal=refusal,
    )
