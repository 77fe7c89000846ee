"""One release: where it stands on each channel, since when, with what proof, and what next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from broadcaster.aftercare import Errand
from broadcaster.approval import AnyRelease, Assent, asked_in_words
from broadcaster.delivery import PostState
from broadcaster.desk.api import pictures_of
from broadcaster.desk.approval import said_once
from broadcaster.desk.deps import DESK
from broadcaster.desk.lapsed import old_words
from broadcaster.desk.middleware import status_of
from broadcaster.desk.record import number_in
from broadcaster.desk.session import fields_of, require_person, same_site
from broadcaster.desk.templating import page
from broadcaster.errors import Kind, Refusal
from broadcaster.guideline import Guideline
from broadcaster.incident import Incident
from broadcaster.ledger import (
    Tx,
    approvals,
    assents,
    attempts,
    channels,
    choices,
    errands,
    guidelines,
    incidents,
    people,
    posts,
    releases,
    voices,
    wrong_words,
)
from broadcaster.ledger.wrong_words import StillOut
from broadcaster.orders import ask_to_keep, stop_release, take_back, to_take_back, writing
from broadcaster.outcome import LOOKS, Choice, choices_of, still_looking
from broadcaster.roster import Act, require
from broadcaster.settling import choose, let_go_on, see_alarm, see_missed
from broadcaster.update import Rendering, Revision

#: What follows, by state, where nothing is to be looked up.
NEXT: Mapping[PostState, str] = {
    PostState.PLANNED: "It is sent as soon as this channel is free.",
    PostState.WAITING: "It is tried again by itself, until the update's time runs out.",
    PostState.SENDING: "It is being sent now.",
    PostState.POSTED: "Nothing more. To change what it says, write a correction.",
    PostState.REPLACED: "Nothing more. The later update says what stands.",
    PostState.REFUSED: "Have somebody look at this channel's account or receiver, then submit the "
    "update again.",
    PostState.IN_DOUBT: "Look at the channel itself, then say here what you saw. Nothing is sent "
    "again before somebody has.",
    PostState.HELD: "It waits for an update that takes its place, for Stop, or, where facts "
    "changed, for the Commander to keep these words.",
    PostState.STOPPED: "Nothing more was sent here.",
    PostState.EXPIRED: "Submit the update again if it should still be said. The board shows it "
    "until somebody says that they have seen it.",
    PostState.RETRACTED: "Nothing more.",
}

#: The same of what is not sent any more, since a later update took its place or was sent after it.
SUPERSEDED: Mapping[PostState, str] = {
    PostState.REFUSED: "Nothing more. A later update says what stands.",
    PostState.IN_DOUBT: "Look at the channel itself, then say here what you saw. It is not sent "
    "again: a later update says what stands.",
    PostState.HELD: "A later update was sent here meanwhile, so these words are sent no more. Stop "
    "ends it.",
}


@dataclass(frozen=True)
class OnChannel:
    """One channel's part."""

    post: posts.Kept
    attempts: Sequence[attempts.Attempt]
    kept_back: str | None  #: why nothing is sent on its channel now
    chosen: bool  #: whether somebody's choice is being carried out
    owed: Sequence[errands.Kept]  #: what was and is owed to it, now that it is there

    seen: posts.SeenBy | None  #: who has seen that it expired
    wrong: StillOut | None  #: where its words, or those that it is to put right, are still out
    superseded: bool  #: whether a later update has taken its place, or was tried after it

    @property
    def choices(self) -> Sequence[Choice]:
        """What a person may choose of it now; that wrong words are down is asked with those."""
        return () if self.chosen else choices_of(
            self.post.state, takes_down=False, looking=self.asked_at is not None,
            superseded=self.superseded,
        )  # fmt: skip

    @property
    def asked_at(self) -> datetime | None:
        """When about a person is asked of it, where looking for it tells nothing by then."""
        post = self.post
        looking = still_looking(post.state, post.next_look, post.looks)
        return post.since + LOOKS[-1] if looking else None

    @property
    def follows(self) -> str:
        """What follows, in words."""
        return (SUPERSEDED if self.superseded else NEXT).get(self.post.state, NEXT[self.post.state])

    @property
    def alarms(self) -> Sequence[errands.Kept]:
        """What somebody must still see."""
        return [each for each in self.read if each.alarms]

    @property
    def missed(self) -> bool:
        """Whether somebody must still see that it was not sent in time."""
        return self.post.state is PostState.EXPIRED and self.seen is None

    @property
    def read(self) -> Sequence[errands.Kept]:
        """What was and is to be read back."""
        return [each for each in self.owed if each.owed.errand is Errand.READ_BACK]

    @property
    def waits_why(self) -> str | None:
        """Why nothing happens to it, where its channel is the cause."""
        return None if self.post.state.ended else self.kept_back


@dataclass(frozen=True)
class View:
    """All that the page shows, from one look at the ledger."""

    release: AnyRelease
    revision: Revision
    decision: approvals.KeptDecision
    channels: Sequence[OnChannel]
    names: Mapping[str, str]
    stopped_at: datetime | None
    by_voice: voices.Kept | None
    about: Incident
    guideline: Guideline | None  #: on whose word its compiler decided
    may_be_kept: bool  #: whether the Commander may let go what is held
    commander: str  #: who is asked
    assent: Assent | None  #: where both Commanders had to approve, the first one's
    taken_back_on: Collection[str]  #: the channels that would take it back

    @property
    def retraction(self) -> Sequence[Rendering]:
        """What would be said, where it may be out, to take it back."""
        return [each for each in self.revision.retraction if each.channel in self.taken_back_on]

    @property
    def can_be_stopped(self) -> bool:
        """Whether a post of it may still begin, or be begun again."""
        return self.stopped_at is None and not all(each.post.state.ended for each in self.channels)


def look(tx: Tx, release_id: str) -> View:
    """Raises Refusal where there is no such release."""
    release = releases.get(tx, release_id)
    if release is None:
        raise Refusal(
            "no_such_release", "There is no such release.", "Open it from its incident's page.",
            kind=Kind.NOT_FOUND,
        )  # fmt: skip
    revision = approvals.revision(tx, release.revision_id)
    decision = approvals.decision(tx, release.decision_id)
    kept = incidents.get(tx, release.incident_id)
    assert revision is not None and decision is not None and kept is not None, "its foreign keys"
    command = kept.incident.command
    several = posts.of_release(tx, release.id)
    fares = channels.several(tx, {each.channel for each in several})
    owed = errands.of_posts(tx, {each.id for each in several})
    seen = posts.seen_missed(tx, {each.id for each in several})
    superseded = attempts.superseded(tx, several)
    wrong = {
        post.id: each
        for each in wrong_words.still_out(tx, release.incident_id)
        for post in (each.post, each.waits)
        if post is not None and each.again is None  # its own row says what was read
    }
    names = {person.id: person.name for person in people.everybody(tx)}
    return View(
        release,
        revision,
        decision,
        [
            OnChannel(
                each, attempts.of_post(tx, each.id),
                fares[each.channel].kept_back(tx.now) if each.channel in fares else None,
                choices.waits(tx, each.id),
                [errand for errand in owed if errand.post_id == each.id],
                seen.get(each.id),
                wrong.get(each.id),
                each.id in superseded,
            )
            for each in several
        ],
        names,
        releases.stopped_at(tx, release.id),
        voices.of_decision(tx, release.decision_id),
        kept.incident,
        guidelines.get(tx, decision.decision.guideline_id),
        any(each.release_id == release.id and each.held and each.may_be_kept
            for each in old_words(tx, kept)),
        asked_in_words(command, names),
        assents.get(tx, decision.decision.assent_id),
        to_take_back(tx, several),
    )  # fmt: skip


routes = web.RouteTableDef()


@routes.get("/releases/{release_id}")
async def show(request: web.Request) -> web.Response:
    """The release's page."""
    return await _page(request)


@routes.post("/releases/{release_id}/stop")
async def stop(request: web.Request) -> web.Response:
    """Keeps back what has not begun, and goes back to the page that the button stood on."""
    desk, person = request.app[DESK], require_person(request)
    release_id, fields = request.match_info["release_id"], await fields_of(request)
    try:
        await desk.ledger.write(lambda tx: stop_release(tx, release_id, person), urgent=True)
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(same_site(fields.get("next") or f"/releases/{release_id}"))


@routes.post("/releases/{release_id}/take-back")
async def take_it_back(request: web.Request) -> web.Response:
    """Releases the retraction that was approved with these words, and opens what becomes of it."""
    desk, person = request.app[DESK], require_person(request)
    release_id = request.match_info["release_id"]
    try:
        ordered = await desk.ledger.write(lambda tx: take_back(tx, release_id, person), urgent=True)
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(f"/a/{ordered.request.id}")


@routes.post("/releases/{release_id}/keep")
async def keep(request: web.Request) -> web.Response:
    """Asks whoever commands whether what is held may go as it stands, and opens what was asked."""
    desk, person = request.app[DESK], require_person(request)
    release_id = request.match_info["release_id"]
    try:
        asked = await desk.ledger.write(lambda tx: ask_to_keep(tx, release_id, person))
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(f"/a/{asked.id}")


@routes.post("/releases/{release_id}/posts/{post_id}")
async def settle(request: web.Request) -> web.Response:
    """Notes what somebody saw of a post that no program can end, and goes back to its release."""
    desk, person = request.app[DESK], require_person(request)
    release_id, post_id = request.match_info["release_id"], request.match_info["post_id"]
    fields = await fields_of(request)
    try:
        choice, attempt = _choice_in(fields), number_in(fields, "attempt") or 0
        await desk.ledger.write(
            lambda tx: choose(tx, post_id, attempt, choice, person, fields.get("url", "")),
            urgent=True,
        )
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(_back(fields, release_id))


@routes.post("/releases/{release_id}/posts/{post_id}/seen")
async def see(request: web.Request) -> web.Response:
    """Notes that somebody has seen what the public reads, or that a post was not sent in time, and
    goes back to where they were."""
    desk, person = request.app[DESK], require_person(request)
    release_id, post_id = request.match_info["release_id"], request.match_info["post_id"]
    fields = await fields_of(request)
    try:
        if "errand" in fields:
            errand, alarm = _errand_in(fields), number_in(fields, "alarm") or 0
            await desk.ledger.write(lambda tx: see_alarm(tx, post_id, errand, alarm, person))
        else:
            await desk.ledger.write(lambda tx: see_missed(tx, post_id, person))
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(_back(fields, release_id))


@routes.post("/releases/{release_id}/posts/{post_id}/go-on")
async def go_on(request: web.Request) -> web.Response:
    """Lets the channel go on on which wrong words stay up, and goes back to where they were."""
    desk, person = request.app[DESK], require_person(request)
    release_id, post_id = request.match_info["release_id"], request.match_info["post_id"]
    fields = await fields_of(request)
    try:
        await desk.ledger.write(lambda tx: let_go_on(tx, post_id, person), urgent=True)
    except Refusal as refusal:
        return await _page(request, refusal)
    raise web.HTTPSeeOther(_back(fields, release_id))


def _back(fields: Mapping[str, str], release_id: str) -> str:
    return same_site(fields.get("next") or f"/releases/{release_id}#posts")


def _errand_in(fields: Mapping[str, str]) -> Errand:
    try:
        return Errand(fields.get("errand", ""))
    except ValueError:
        raise Refusal(
            "errand_unknown", "Nothing was named that can be seen.",
            "Use one of the post's buttons.", field="errand",
        ) from None  # fmt: skip


def _choice_in(fields: Mapping[str, str]) -> Choice:
    try:
        return Choice(fields.get("choice", ""))
    except ValueError:
        raise Refusal(
            "choice_unknown", "Nothing was chosen that can be done.",
            "Use one of the post's buttons.", field="choice",
        ) from None  # fmt: skip


async def _page(request: web.Request, refusal: Refusal | None = None) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)
    view = await desk.ledger.read(lambda tx: look(tx, request.match_info["release_id"]))
    titles = {channel.name: channel.title for channel in desk.channels}
    return page(
        request,
        "release.html",
        view=view,
        titles=titles,
        said=said_once(((r.channel, r.text) for r in view.revision.renderings), titles),
        pictures=pictures_of(view.revision),
        takes_back=said_once(((r.channel, r.text) for r in view.retraction), titles),
        may_settle=person.may(Act.SETTLE_POST),
        may_stop=person.may(Act.WRITE_NOTICE if view.about.notice else Act.STOP),
        may_take_back=person.may(Act.TAKE_BACK),
        may_let_go_on=person.may(Act.TAKE_BACK) or person.may(Act.RUN_CHANNEL),
        may_compile=person.may(writing(view.about)),
        may_ask_to_keep=person.may(writing(view.about)) or person.may(Act.DECIDE),
        refusal=refusal,
        status=status_of(refusal) if refusal else 200,
    )
