"""How each channel fares: what waits there, what keeps it back, and when it last proved a post."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from aiohttp import web

from broadcaster.channel import AnyChannel
from broadcaster.desk.deps import DESK
from broadcaster.desk.middleware import status_of
from broadcaster.desk.session import fields_of, require_person
from broadcaster.desk.templating import page
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, accounts, channels, people, reply_decisions
from broadcaster.ledger.channels import Figures, Kept
from broadcaster.ledger.reply_decisions import ReplyDecision
from broadcaster.roster import Act, require
from broadcaster.settling import confirm_clock, pause_channel, resume_channel

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Row:
    """One channel on the page."""

    name: str
    title: str
    channel: AnyChannel | None  #: None where the settings know it no more
    fare: Kept | None  #: None until a worker has it
    figures: Figures
    decision: ReplyDecision | None  #: that it is used although the public can answer there
    added: accounts.Kept | None = None  #: where it was added by command
    ends: date | None = None  #: the last day of what proves us there, where somebody knows it

    @property
    def off(self) -> bool:
        """Whether nothing is posted there, since the public can answer (389.5.1)."""
        return bool(self.channel and self.channel.replies.need_the_chief and not self.decision)

    def ends_soon(self, now: datetime) -> bool:
        """Whether somebody should get a new credential there."""
        return accounts.soon(self.ends, now.date())

    @property
    def shape(self) -> str:
        if self.off:
            return "barred"
        if self.fare and self.fare.paused_by:
            return "bars"
        return "exclamation" if self.fare and self.fare.breaker.open else "tick"

    @property
    def word(self) -> str:
        """How it is, in a word."""
        if self.off:
            return "Off"
        if self.fare is None:
            return "No worker has it yet"
        if self.fare.paused_by:
            return "Paused"
        return "Fails" if self.fare.breaker.open else "Works"


@dataclass(frozen=True)
class View:
    """All that the page shows, from one look at the ledger."""

    rows: list[Row]
    names: Mapping[str, str]
    now: datetime


@routes.get("/channels")
async def show(request: web.Request) -> web.Response:
    """The channels, those that need somebody first."""
    return await _page(request)


@routes.post("/channels")
async def order(request: web.Request) -> web.Response:
    """Pauses a channel, or lets it go on; or says that the clock is right."""
    desk, person = request.app[DESK], require_person(request)
    fields = await fields_of(request)
    name, act = fields.get("name", ""), fields.get("act")

    def step(tx: Tx) -> None:
        if act == "clock":
            confirm_clock(tx, person)
        elif act == "resume":
            resume_channel(tx, name, person)
        else:
            pause_channel(tx, name, fields.get("why", ""), person)

    try:
        await desk.ledger.write(step, urgent=True)
    except Refusal as refusal:
        return await _page(request, refusal, about=name)
    raise web.HTTPSeeOther(request.path)


def look(tx: Tx, known: Mapping[str, AnyChannel]) -> View:
    decisions = reply_decisions.standing(tx)
    added = {each.name: each for each in accounts.standing(tx)}
    ends = accounts.ends(tx, known.values())
    rows = [
        Row(each.name, known[each.name].title if each.name in known else each.name,
            known.get(each.name), each.fare, each.figures, decisions.get(each.name),
            added.get(each.name), ends.get(each.name))
        for each in channels.overview(tx, known)
    ]  # fmt: skip
    rows.sort(key=lambda row: (row.word == "Works", -row.figures.in_doubt, row.title))
    return View(rows, {person.id: person.name for person in people.everybody(tx)}, tx.now)


async def _page(
    request: web.Request, refusal: Refusal | None = None, about: str = ""
) -> web.Response:
    desk, person = request.app[DESK], require_person(request)
    require(person, Act.READ)
    known = {channel.name: channel for channel in desk.channels}
    return page(
        request, "channels.html", view=await desk.ledger.read(lambda tx: look(tx, known)),
        refusal=refusal, about=about,
        status=status_of(refusal) if refusal else 200,
    )  # fmt: skip
