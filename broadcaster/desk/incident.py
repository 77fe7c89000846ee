"""One incident: its story, where its newest update stands, and the composer of the next one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aiohttp import web

from broadcaster import notices
from broadcaster.approval import Assent, RequestState, asked_in_words, to_keep
from broadcaster.calling import Means
from broadcaster.channel import AnyChannel
from broadcaster.delivery import PostState
from broadcaster.desk import composer, handover, reach
from broadcaster.desk import pictures as pictures_
from broadcaster.desk.api import picture_address, pictures_of
from broadcaster.desk.approval import Said, said_once
from broadcaster.desk.board import accept
from broadcaster.desk.checks import PHRASES
from broadcaster.desk.composer import FACT_OF, Typed
from broadcaster.desk.deps import DESK, Desk
from broadcaster.desk.lapsed import FactChange, OldWords, old_words, told
from broadcaster.desk.middleware import status_of
from broadcaster.desk.needs import may_decide
from broadcaster.desk.preview import preview
from broadcaster.desk.session import require_person
from broadcaster.desk.story import STATUS_WORDS, Told, tell
from broadcaster.desk.templating import page
from broadcaster.errors import Kind, Refusal
from broadcaster.guideline import Guideline
from broadcaster.incident import Command, Handling, Incident, Status, commanders_in_words
from broadcaster.ledger import (
    Tx,
    approvals,
    board,
    calls,
    guidelines,
    incidents,
    people,
    pictures,
    posting_requests,
    posts,
    publications,
    records,
    releases,
    reply_decisions,
    reports,
    wrong_words,
)
from broadcaster.ledger.posting_requests import PostingRequest
from broadcaster.ledger.wrong_words import StillOut
from broadcaster.orders import (
    Submitted,
    no_such_request,
    renew_request,
    submit_revision,
    withdraw_request,
    writing,
)
from broadcaster.policy import RULES, Severity
from broadcaster.record import Kind as Entry
from broadcaster.roster import Act, Person, require
from broadcaster.suggestion import TEMPLATES
from broadcaster.type_names import type_in_words
from broadcaster.update import Revision, UpdateKind, compose, lapses_by
from broadcaster.voice import words_of

#: What says nothing in the story that another line does not: the record has it.
LEFT_OUT = frozenset({Entry.ATTEMPT_STARTED, Entry.INCIDENT_OPENED, Entry.INCIDENT_CHANGED})
STORY = 300

#: What the composer's smaller form asks of a notice; who speaks and the day are filled in.
NOTICE_PHRASES = {"hazard": "Subject", "place": "For where", "guidance": "What is said"}
#: Nothing that a notice is about could be over.
NOTICE_KINDS = (UpdateKind.UPDATE, UpdateKind.CORRECTION, UpdateKind.RETRACTION)


@dataclass(frozen=True)
class Earlier:
    """An update that the public was told, for choosing among."""

    release_id: str
    revision: Revision
    channels: frozenset[str]  #: where it may be read


@dataclass(frozen=True)
class Behind:
    """A post that has not ended, and of which update."""

    number: int  #: of its update
    post: posts.Kept


@dataclass(frozen=True)
class View:
    """All that the page shows, from one look at the ledger."""

    kept: incidents.Kept
    standing: board.Standing
    suggestion: incidents.Suggestion | None
    revision: Revision | None  #: the newest request's
    posts: Sequence[posts.Kept]  #: of the newest release
    earlier: Sequence[Earlier]
    story: Sequence[Told]
    behind: Sequence[Behind]
    names: Mapping[str, str]
    command: handover.CommandView
    on_public_page: bool
    channels: Sequence[AnyChannel]  #: that may be posted on
    off: Sequence[AnyChannel]  #: that may not, since the public can answer there
    lapsed: Sequence[FactChange] = ()  #: by which the newest request lapsed
    kept_until: datetime | None = None  #: until when whoever commands may keep its words
    old: Sequence[OldWords] = ()  #: released, and no longer so
    wrong: Sequence[StillOut] = ()  #: put right or taken back, and still up
    told: Sequence[calls.Kept] = ()  #: the calls about what was done last about command
    calls: Sequence[calls.Kept] = ()  #: about the newest request
    unopened: Sequence[str] = ()  #: those that whoever looks sees it by now for the first time
    telephones: Sequence[str] = ()  #: of whoever is asked
    asked_for: PostingRequest | None = None  #: what the notice was begun from
    covered: bool = False  #: whether a guideline lets its compiler release the newest request

    @property
    def incident(self) -> Incident:
        return self.kept.incident

    def there(self, channel: str) -> list[str]:
        """The releases whose words may be read on a channel."""
        return [each.release_id for each in self.earlier if channel in each.channels]

    def usable(self, corrects: str | None) -> list[AnyChannel]:
        """What may be posted on. What puts words right goes wherever they may be read, too."""
        return [*self.channels, *(each for each in self.off if corrects in self.there(each.name))]

    @property
    def commanders(self) -> str | None:
        return commanders_in_words(self.incident.command, self.names)

    @property
    def asked(self) -> str:
        """Who will be asked to approve; or who still is."""
        return asked_in_words(self.incident.command, self.names, self.standing.assent)


def look(tx: Tx, incident_id: str, titles: Mapping[str, str], desk: Desk, person: Person) -> View:
    """Raises Refusal where there is no such incident, or not yet."""
    kept = incidents.get(tx, incident_id)
    if kept is None:
        raise _none_yet(bool(reports.of_incident(tx, incident_id)))
    standing = board.standings(tx, [kept])[0]
    everybody = people.everybody(tx)
    names = {person.id: person.name for person in everybody}
    request = standing.request.request if standing.request else None
    off = reply_decisions.off(tx, desk.channels)
    lines = records.lines(tx, incident_id=incident_id, limit=STORY)
    revision = approvals.revision(tx, request.revision_id) if request else None
    lapsed = request is not None and request.state is RequestState.LAPSED
    changes = lapses_by(revision, kept.incident.facts) if revision and lapsed else ()
    return View(
        kept=kept,
        standing=standing,
        suggestion=incidents.suggestion(tx, incident_id),
        revision=revision,
        posts=posts.of_release(tx, standing.release.id) if standing.release else (),
        earlier=_earlier(tx, incident_id),
        story=[tell(line, names, titles) for line in _newest_of_each(lines)],
        behind=_behind(tx, kept.incident.id),
        names=names,
        command=handover.command_view(tx, desk, kept.incident, person),
        on_public_page=bool(publications.of_incident(tx, kept.public_id)),
        channels=[each for each in desk.channels if each.name not in off],
        off=[each for each in desk.channels if each.name in off],
        lapsed=told(changes, kept.incident),
        kept_until=request.expires_at if request and to_keep(request, changes, tx.now) else None,
        old=old_words(tx, kept),
        wrong=wrong_words.still_out(tx, incident_id),
        calls=calls.of_request(tx, request.id) if request else (),
        told=calls.of_newest_move(tx, incident_id),
        unopened=calls.unopened(tx, person.id, incident_id=incident_id),
        telephones=_telephones(tx, kept.incident.command, standing.assent),
        asked_for=posting_requests.of_notice(tx, incident_id),
        covered=revision is not None and bool(guidelines.covering(tx, kept.incident, revision)),
    )


def _newest_of_each(lines: Sequence[records.Line]) -> Iterator[records.Line]:
    """The lines of the story; of a post that is tried again and again, the newest of them alone."""
    told: set[str] = set()
    for line in lines:
        if line.kind in LEFT_OUT:
            continue
        if line.kind == Entry.POST_DEFERRED:
            post_id = json.loads(line.body)["public"]["post_id"]
            if post_id in told:
                continue
            told.add(post_id)
        yield line


def _behind(tx: Tx, incident_id: str) -> list[Behind]:
    """Posts that have not ended; what is held is told with the facts that changed."""
    numbers = releases.numbers(tx, incident_id)
    return [Behind(numbers[post.release_id], post)
            for post in posts.unended(tx, [incident_id])
            if not post.state.ended and post.state is not PostState.HELD]  # fmt: skip


def _telephones(tx: Tx, command: Command, assent: Assent | None) -> list[str]:
    """Of whoever is still asked."""
    asked = (each for each in command.commanders if not assent or each != assent.person_id)
    reaches = (each for person in asked for each in calls.reaches_of(tx, person))
    return [reach.address for reach in reaches if reach.means is Means.SMS]


def _earlier(tx: Tx, incident_id: str) -> list[Earlier]:
    by_id = {revision.id: revision for revision in approvals.revisions_of(tx, incident_id)}
    there = [each for each in posts.of_incident(tx, incident_id) if each.state.went_out]
    return [
        Earlier(release.id, by_id[release.revision_id],
                frozenset(each.channel for each in there if each.release_id == release.id))
        for release in releases.of_incident(tx, incident_id)
    ]  # fmt: skip


def _none_yet(reported: bool) -> Refusal:
    if reported:
        return Refusal(
            "not_compiled", "The report was received, and is being put on the board.",
            "Reload this page in a few seconds.", kind=Kind.UNAVAILABLE,
        )  # fmt: skip
    return Refusal(
        "no_such_incident", "There is no such incident.", "Open it from the board.",
        kind=Kind.NOT_FOUND,
    )  # fmt: skip


# --- Where the composer begins ----------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """What the composer begins with, and what it says about that."""

    typed: Typed
    name: str  #: as in `?from=`
    note: str | None = None  #: the Commander's, on words that came back


def begin(view: View, desk: Desk, query: Mapping[str, str]) -> Start:
    """What a fresh composer holds: as asked in `?from=`, else what is most likely wanted."""
    wanted, _, revision_id = query.get("from", "").partition(":")
    unreleased = _unreleased(view)
    if wanted in CORRECTS:
        return _correcting(view, desk, revision_id, CORRECTS[wanted])
    if wanted in ("returned", "update"):
        revision = _revision(view, revision_id)
        return _again(view, desk, revision, same_update=wanted == "returned")
    if not wanted and unreleased and view.standing.request:
        if view.standing.request.request.state is not RequestState.LAPSED:
            return _again(view, desk, unreleased, same_update=True)
        if view.incident.open:
            return Start(new_facts(unreleased, view.incident, desk), f"facts:{unreleased.id}")
    start = _fresh(view, desk, wanted)
    if query.get("kind") == str(UpdateKind.ALL_CLEAR):
        over = composer.all_clear(start.typed, desk.settings.zone, desk.clock.now())
        start = replace(start, typed=over)
    if unreleased:
        start = replace(start, typed=replace(start.typed, update_id=unreleased.update_id))
    return start


#: `?from=correct:RELEASE` and `?from=retract:RELEASE`.
CORRECTS = {"correct": UpdateKind.CORRECTION, "retract": UpdateKind.RETRACTION}


def _correcting(view: View, desk: Desk, release_id: str, kind: UpdateKind) -> Start:
    earlier = next((each for each in view.earlier if each.release_id == release_id), None)
    if earlier is None:
        raise Refusal(
            "no_such_release", "This incident has no such release.",
            "Choose among the earlier updates shown.", kind=Kind.NOT_FOUND,
        )  # fmt: skip
    typed = composer.correcting(
        earlier.revision, release_id, kind, view.incident, desk.settings.world,
        there=earlier.channels,
        channels=view.usable(release_id), zone=desk.settings.zone, now=desk.clock.now(),
    )  # fmt: skip
    return Start(typed, f"{kind}:{release_id}")


def new_facts(revision: Revision, incident: Incident, desk: Desk) -> Typed:
    """The same update, with what is reported now put in the place of what changed."""
    return composer.with_new_facts(
        revision, incident, desk.settings.world, department=desk.settings.department,
        channels=desk.channels, zone=desk.settings.zone, now=desk.clock.now(),
    )  # fmt: skip


def _fresh(view: View, desk: Desk, wanted: str) -> Start:
    if view.incident.notice:
        said = notices.words(view.incident, department=desk.settings.department,
                             zone=desk.settings.zone, now=desk.clock.now())  # fmt: skip
        return Start(composer.from_words(said, view.incident, view.channels), "empty")
    drafted = view.incident.handling is Handling.AUTO_DRAFT
    from_template = wanted == "suggestion" or (wanted != "empty" and drafted)
    make = composer.suggested if from_template else composer.empty
    typed = make(
        view.incident, view.channels, department=desk.settings.department,
        zone=desk.settings.zone, now=desk.clock.now(),
    )  # fmt: skip
    return Start(typed, "suggestion" if from_template else "empty")


def _again(view: View, desk: Desk, revision: Revision, *, same_update: bool) -> Start:
    typed = composer.from_revision(
        revision, view.incident, desk.settings.world,
        channels=view.usable(revision.corrects if same_update else None),
        same_update=same_update, zone=desk.settings.zone, now=desk.clock.now(),
    )  # fmt: skip
    decision = view.standing.decision
    returned = same_update and view.revision is not None and view.revision.id == revision.id
    note = decision.decision.reason if returned and decision else None
    return Start(typed, f"{'returned' if same_update else 'update'}:{revision.id}", note)


def _revision(view: View, revision_id: str) -> Revision:
    known = [view.revision, *(earlier.revision for earlier in view.earlier)]
    for revision in known:
        if revision is not None and revision.id == revision_id:
            return revision
    raise Refusal(
        "no_such_revision", "This incident has no such wording.",
        "Open the incident from the board, and begin from what it offers.", kind=Kind.NOT_FOUND,
    )  # fmt: skip


def _unreleased(view: View) -> Revision | None:
    """The newest wording, where it can still be worded anew under its number."""
    request = view.standing.request
    if request is None or view.revision is None:
        return None
    if request.request.state is RequestState.DECLINED:
        return None
    released = any(each.revision.update_id == view.revision.update_id for each in view.earlier)
    on_its_way = view.standing.decision is not None and view.standing.decision.outcome is None
    return None if released or on_its_way else view.revision


# --- The page and its acts --------------------------------------------------------------------

routes = web.RouteTableDef()


@routes.get("/incidents/{incident_id}")
async def show(request: web.Request) -> web.Response:
    """The incident's page, with a composer that begins as `?from=` says."""
    return await _page(request)


@routes.post("/incidents/{incident_id}")
async def act(request: web.Request) -> web.Response:
    """Does what the pressed button says. Whatever is refused, what was typed is shown again."""
    desk, person = request.app[DESK], require_person(request)
    form = await request.post()
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    acts: dict[str, Callable[[Tx], str]] = {
        "take_back": lambda tx: _take_back(tx, str(form.get("request_id", "")), person),
        "ask_again": lambda tx: _ask_again(tx, str(form.get("request_id", "")), person),
        "new_facts": lambda tx: _send_new_facts(tx, desk, person, texts),
    }
    chosen = str(form.get("act", ""))
    if chosen in ("send", "preview", "no_picture"):
        return await _compose(request, desk, person, chosen)
    try:
        if chosen == "close":
            await _close(desk, request.match_info["incident_id"], person, form)
            done = "done=closed"
        elif chosen in handover.ACTS:
            await handover.act(desk, person, request.match_info["incident_id"], texts)
            done = "done=command"
        elif chosen in acts:
            done = await desk.ledger.write(acts[chosen], urgent=True)
        else:
            raise Refusal("unknown_act", "This button is not known here.", "Reload the page.")
    except Refusal as refusal:
        said = texts if chosen in handover.ACTS else {}
        return await _page(request, refusal=refusal, said_of_command=said)
    raise web.HTTPSeeOther(f"/incidents/{request.match_info['incident_id']}?{done}#standing")


@routes.get("/incidents/{incident_id}/picture")
async def back(request: web.Request) -> web.Response:
    """The page whose form adds a picture: a reload comes here."""
    require_person(request)
    raise web.HTTPSeeOther(f"/incidents/{request.match_info['incident_id']}")


@routes.post("/incidents/{incident_id}/picture")
async def add_picture(request: web.Request) -> web.StreamResponse:
    """Keeps a picture, made anew, and shows the composer with it and with all that was typed.

    The page that it answers is the incident's, so its other forms come here, too.
    """
    desk, person = request.app[DESK], require_person(request)
    if request.content_type != "multipart/form-data":
        return await act(request)
    require(person, Act.WRITE_NOTICE)  # whoever writes an update may
    form, sent = await pictures_.uploaded(request)
    typed, incident_id = composer.read(form, desk.channels), request.match_info["incident_id"]
    try:
        made = await pictures_.cleaned(sent)

        def keep(tx: Tx) -> None:
            kept = incidents.get(tx, incident_id)
            if kept is None:
                raise _none_yet(False)
            require(person, writing(kept.incident))
            pictures.add(tx, made.image, made.data, incident_id=incident_id, added_by=person.id)

        await desk.ledger.write(keep)
    except Refusal as refusal:
        return await _page(request, typed=typed, refusal=refusal)
    alt = typed.alt if typed.picture == made.image.digest else ""
    return await _page(request, typed=replace(typed, picture=made.image.digest, alt=alt))


def _take_back(tx: Tx, request_id: str, person: Person) -> str:
    withdraw_request(tx, request_id, person)
    return "done=taken-back"


def _ask_again(tx: Tx, request_id: str, person: Person) -> str:
    renew_request(tx, request_id, person)
    return "done=asked-again"


def _send_new_facts(tx: Tx, desk: Desk, person: Person, fields: Mapping[str, str]) -> str:
    """Submits what lapsed again, with what was reported when the button was shown put in."""
    kept = approvals.request(tx, fields.get("request_id", ""))
    if kept is None:
        raise no_such_request()
    incident = incidents.lock(tx, kept.request.incident_id)
    revision = approvals.revision(tx, kept.request.revision_id)
    assert incident is not None and revision is not None, "a request's foreign keys"
    typed = replace(
        new_facts(revision, incident.incident, desk), attested="attested" in fields,
        seen={name: fields.get(f"seen_{name}") or None for name in FACT_OF.values()},
    )  # fmt: skip
    order = typed.order(kept.request.incident_id, tx.now)
    submit_revision(tx, order, person, desk.channels, contact=desk.settings.contact)
    return "done=sent"


async def _close(desk: Desk, incident_id: str, person: Person, form: Mapping[str, object]) -> None:
    """A person's report that the incident is over."""
    require(person, Act.CLOSE_INCIDENT)
    kept = await desk.ledger.read(lambda tx: incidents.get(tx, incident_id))
    if kept is None:
        raise _none_yet(False)
    fields = {
        "type": kept.incident.type.value,
        "status": str(Status.CLOSED),
        "incident_number": kept.incident.id,
        "message_id": str(form.get("message_id", "")),
    }
    await accept(desk, person, fields)


async def _compose(request: web.Request, desk: Desk, person: Person, chosen: str) -> web.Response:
    incident_id = request.match_info["incident_id"]
    typed = composer.read(await request.post(), desk.channels)
    if chosen == "no_picture":
        typed = replace(typed, picture="", alt="")
    if chosen != "send":
        return await _page(request, typed=typed)
    try:
        order = typed.order(incident_id, desk.clock.now())

        def step(tx: Tx) -> tuple[Submitted, Guideline | None]:
            made = submit_revision(tx, order, person, desk.channels, contact=desk.settings.contact)
            kept = incidents.get(tx, incident_id)
            assert kept is not None, "it was just submitted about it"
            return made, guidelines.covering(tx, kept.incident, made.revision)

        submitted, covered = await desk.ledger.write(step)
    except Refusal as refusal:
        return await _page(request, typed=typed, refusal=refusal)
    if covered:  # they release it themselves, where it is read and signed
        raise web.HTTPSeeOther(f"/a/{submitted.request.id}")
    raise web.HTTPSeeOther(f"/incidents/{incident_id}?sent={submitted.request.id}#standing")


async def _page(
    request: web.Request, *, typed: Typed | None = None, refusal: Refusal | None = None,
    said_of_command: Mapping[str, str] | None = None,
) -> web.Response:  # fmt: skip
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)
    incident_id = request.match_info["incident_id"]
    titles = {channel.name: channel.title for channel in desk.channels}
    view = await desk.ledger.read(lambda tx: look(tx, incident_id, titles, desk, person))
    if view.unopened and refusal is None:
        await desk.ledger.write(lambda tx: calls.opened(tx, view.unopened))
    start = begin(view, desk, request.query)
    fresh = typed is None
    typed = typed or start.typed
    if refusal is not None and refusal.code == "facts_changed":
        typed = typed.with_facts(view.incident)
    incident, shows = view.incident, typed.picture
    may_be_there = [each for each in view.off if view.there(each.name)]
    picture = await desk.ledger.read(lambda tx: pictures.image(tx, shows)) if shows else None
    shown = preview(
        desk.settings.world, [*view.channels, *may_be_there], typed.preview(),
        contact=desk.settings.contact,
    )  # fmt: skip
    corrects = typed.corrects if typed.kind in composer.CORRECTING else ""
    return page(
        request,
        "incident.html",
        status=status_of(refusal) if refusal else 200,
        view=view,
        incident=incident,
        standing=view.standing,
        said_words=words_of(view.revision.digest)
        if view.revision and desk.settings.voice_approval
        else (),
        title=type_in_words(incident.type.value),
        place=incident.place.value if incident.place else "place not known",
        status_words=STATUS_WORDS.get(incident.status.value, incident.status.value),
        waiting=_waiting(view, desk),
        called=reach.told(view.calls, view.names, desk),
        told_of_command=reach.told(view.told, view.names, desk),
        calls_people=bool(desk.means),
        waiting_words=_said(view, titles),
        zone_name=f"{desk.clock.now().astimezone(desk.settings.zone):%Z}",
        typed=typed,
        fresh=fresh,
        start=start,
        chosen="from" in request.query,
        facts_seen=composer.facts_seen(incident),
        anew=_anew(view, desk, titles),
        composed=compose(typed.words),
        shown=shown,
        off_there={each.name: view.there(each.name) for each in may_be_there},
        left_out={each.name for each in may_be_there} - {c.name for c in view.usable(corrects)},
        picture=picture,
        picture_address=picture_address(incident.id, picture) if picture else "",
        shows=[each.title for each in view.channels if each.pictures],
        goes_without=[each.title for each in view.channels if not each.pictures],
        waiting_pictures=pictures_of(view.revision) if view.revision else (),
        rules=sorted(RULES, key=lambda rule: rule.severity is not Severity.HARD),
        checks={check.rule: check for check in shown.checks},
        titles=titles,
        phrases=PHRASES | NOTICE_PHRASES if incident.notice else PHRASES,
        filled_in=PHRASES.keys() - NOTICE_PHRASES.keys() if incident.notice else (),
        facts={"hazard": None, "place": incident.facts["place"]},
        has_template=incident.type.value in TEMPLATES and not incident.notice,
        number=_number(view, typed),
        kinds=[each for each in UpdateKind if each in NOTICE_KINDS or not incident.notice],
        expiries=composer.EXPIRIES,
        refusal=refusal,
        own_words=incident.command.commanders == (person.id,),
        may_compile=person.may(writing(incident)),
        may_settle=person.may(Act.SETTLE_POST),
        may_let_go_on=person.may(Act.TAKE_BACK) or person.may(Act.RUN_CHANNEL),
        at=view.command,
        said_of_command=said_of_command or {},
        may_close=person.may(Act.CLOSE_INCIDENT) and incident.open,
        may_decide=may_decide(person, incident.command, view.standing.assent),
        message_id=str(uuid.uuid4()),
    )  # fmt: skip


def _waiting(view: View, desk: Desk) -> bool:
    """Whether a request is open and its time has not run out."""
    kept = view.standing.request
    return (
        kept is not None
        and kept.request.state is RequestState.OPEN
        and kept.request.expires_at > desk.clock.now()
    )


def _said(view: View, titles: Mapping[str, str]) -> Sequence[Said]:
    renderings = view.revision.renderings if view.revision else ()
    return said_once(((each.channel, each.text) for each in renderings), titles)


def _anew(view: View, desk: Desk, titles: Mapping[str, str]) -> Sequence[Said]:
    """What lapsed, as it would be sent again with what is reported now."""
    request, unreleased = view.standing.request, _unreleased(view)
    if request is None or request.request.state is not RequestState.LAPSED:
        return ()
    if unreleased is None or not view.incident.open:
        return ()
    typed = new_facts(unreleased, view.incident, desk)
    shown = preview(desk.settings.world, desk.channels, typed.preview(), contact="").channels
    return said_once(
        ((each.channel, each.text) for each in shown if each.channel in typed.channels), titles
    )


def _number(view: View, typed: Typed) -> int:
    if view.revision is not None and typed.update_id == view.revision.update_id:
        return view.revision.number
    return view.standing.next_number
