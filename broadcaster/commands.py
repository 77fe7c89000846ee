"""What the command line orders, run in the process that has the ledger open.

Each command is a coroutine that gets where it runs and its arguments, may say how far it is, and
returns its result; it raises Refusal. `control` carries the same calls over the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic_core import to_jsonable_python

from broadcaster import (
    accounts,
    anchors,
    bootstrap,
    channel_accounts,
    explain,
    fallback,
    posting,
    rostering,
    settling,
    testing,
)
from broadcaster.authority import Content, Matter, Office, Subject
from broadcaster.beside import Beside
from broadcaster.bootstrap import read_native
from broadcaster.calling import Means
from broadcaster.channel import AnyChannel, kinds
from broadcaster.clock import Clock
from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Report, Topic
from broadcaster.intake import csv_map, person
from broadcaster.ledger import (
    Ledger,
    Tx,
    approvals,
    attempts,
    authorities,
    calls,
    channels,
    incidents,
    outbox,
    passkeys,
    people,
    posts,
    problems,
    records,
    releases,
    reports,
    rights,
)
from broadcaster.ledger import accounts as accounts_kept
from broadcaster.ledger.rights import Rights
from broadcaster.outcome import Choice
from broadcaster.posting import Channels
from broadcaster.record import Anchor
from broadcaster.roster import Act, Person, Role, require
from broadcaster.settings import TAKEN, Settings
from streams import reader
from streams.app import Where
from streams.broker import Broker
from streams.intake import intake_handler
from streams.run import Flowing

Result = dict[str, Any]
Say = Callable[[Result], Awaitable[None]]
E = TypeVar("E", bound=StrEnum)

#: The actor on the record for what the operator does by command line.
OPERATOR = "operator"

#: What the desk's database role may not write (broadcaster/ledger/owner.py).
WORKERS_ALONE = frozenset({
    "roster_add", "roster_link", "roster_role", "roster_remove", "roster_practice",
    "roster_guideline", "channel_allow_replies", "channel_forbid_replies", "channel_add",
    "channel_change", "channel_remove", "channel_reseal", "channel_test",
})  # fmt: skip

#: Rows of a replay that are accepted in one transaction.
ROWS_AT_ONCE = 250


@dataclass
class Here:
    """Where a command runs: the ledger is open, and perhaps the streams run."""

    settings: Settings
    ledger: Ledger
    clock: Clock
    channels: Channels
    address: str | None = None
    broker: Broker | None = None
    #: The streams of this process, or those of the processes beside it; neither for a command on
    #: a ledger that nobody else has.
    flow: Flowing | Beside | None = None

    @property
    def streams(self) -> str:
        """How the streams are: `run`, or a sentence that says why not."""
        if self.flow is None:
            return "They were not started."
        return self.flow.away.why if self.flow.away else "run"


async def unheard(line: Result) -> None:
    """Nobody wants to know how far it is."""


async def run(name: str, arguments: dict[str, Any], here: Here, say: Say = unheard) -> Result:
    """Runs one command by name. Raises Refusal."""
    command = COMMANDS.get(name)
    if command is None:
        raise Refusal("no_such_command", f"There is no command {name}.",
                      "`broadcaster --help` lists them.", kind=Kind.NOT_FOUND)  # fmt: skip
    if name in WORKERS_ALONE and not here.ledger.alone:
        _require_worker(await here.ledger.read(rights.of_this_process))
    return await command(here, say, **arguments)


def _require_worker(ours: Rights) -> None:
    """Raises Refusal under the database role of the desk, which the network reaches."""
    if ours.decides and not ours.releases:
        raise Refusal(
            "desks_role",
            f"{ours.role} is the desk's database role, and makes no person, no link, no "
            "guideline and no decision about a channel.",
            "Run this where a worker runs: `docker compose exec relay broadcaster …`, or with the "
            "worker's BROADCASTER_LEDGER_URL.",
            kind=Kind.FORBIDDEN,
        )


async def status(here: Here, say: Say) -> Result:
    """How this installation is: where, how far, what waits."""
    counts = await here.ledger.read(_counts)
    return {
        "address": here.address,
        "broker": here.broker.bootstrap if here.broker else None,
        "streams": here.streams,
        **counts,
    }


async def idle(here: Here, say: Say) -> Result:
    """Whether nothing waits and no incident is open: then the broker may be started anew."""
    waits = await here.ledger.read(_waits)
    open_ = await here.ledger.read(incidents.any_open)
    return {"idle": not open_ and not any(waits.values()), **waits}


async def drained(here: Here, say: Say, seconds: float = 300) -> Result:
    """Waits until no step has anything left to do; what waits for a person is not among it."""
    until = time.monotonic() + seconds
    while any((waits := await here.ledger.read(_waits)).values()):
        if time.monotonic() > until:
            raise Refusal(
                "not_drained", f"After {seconds:.0f} s these still wait: {waits}.",
                "Look at `broadcaster doctor`.", kind=Kind.UNAVAILABLE,
            )  # fmt: skip
        await say({"waiting": waits})
        await asyncio.sleep(0.1)
    return {"drained": True}


async def report(
    here: Here, say: Say, *, type: str, place: str, status: str = "Active",
    number: str | None = None,
) -> Result:  # fmt: skip
    """Enters a report by hand."""
    form = person.read(
        {"type": type, "place": place, "status": status, "incident_number": number or ""}
    )
    message_id = str(uuid.uuid4())
    new_number = f"P-{here.clock.now():%Y%m%d}-{message_id[:4].upper()}"

    def step(tx: Tx) -> reports.Accepted:
        about = incidents.by_number(tx, form.incident_number) if form.incident_number else None
        made = person.report(
            form, about=about.incident if about else None, message_id=message_id,
            new_number=new_number, now=tx.now,
        )  # fmt: skip
        return reports.accept(tx, made, actor=OPERATOR)

    accepted = await here.ledger.write(step)
    return {"report_id": accepted.report_id, "incident_id": accepted.incident_id,
            "number": number or new_number}  # fmt: skip


async def roster_add(here: Here, say: Say, *, name: str, roles: list[str]) -> Result:
    """Puts a person on the roster and makes a one-time sign-in link."""

    def step(tx: Tx) -> tuple[str, str]:
        added = people.add(tx, name, [_role(role) for role in roles], actor=OPERATOR)
        return added.id, people.enrol(tx, added.id, actor=OPERATOR)

    person_id, token = await here.ledger.write(step)
    return {"person_id": person_id, "link": _link(here, token)}


async def roster_role(here: Here, say: Say, *, name: str, roles: list[str], by: str) -> Result:
    """Gives somebody other roles, by the Chief's word; puts back who was taken off."""

    def step(tx: Tx) -> rostering.Gone:
        return rostering.change_roles(
            tx, _kept(tx, name).id, [_role(role) for role in roles], person=_named(tx, by, "by"),
            actor=OPERATOR,
        )  # fmt: skip

    return {"name": name, "roles": roles, **asdict(await here.ledger.write(step))}


async def roster_remove(here: Here, say: Say, *, name: str, by: str) -> Result:
    """Takes somebody off the roster, by the Chief's word."""

    def step(tx: Tx) -> rostering.Gone:
        return rostering.remove(tx, _kept(tx, name).id, person=_named(tx, by, "by"),
                                actor=OPERATOR)  # fmt: skip

    return {"removed": name, **asdict(await here.ledger.write(step))}


async def roster_link(here: Here, say: Say, *, name: str) -> Result:
    """Makes a new one-time sign-in link for somebody on the roster."""

    def step(tx: Tx) -> str:
        return people.enrol(tx, _named(tx, name).id, actor=OPERATOR)

    return {"link": _link(here, await here.ledger.write(step))}


async def roster_reach(here: Here, say: Say, *, name: str, means: str, address: str) -> Result:
    """Keeps an address by which somebody on the roster is called."""

    def step(tx: Tx) -> str:
        return calls.add_reach(tx, _named(tx, name).id, Means(means), address, actor=OPERATOR).id

    return {"reach_id": await here.ledger.write(step)}


async def roster_practice(here: Here, say: Say, *, names: dict[str, list[str]]) -> Result:
    """Makes sure that an exercise has its practice persons, and says who they are."""
    if here.settings.world != "exercise":
        raise Refusal("only_in_exercise", "Practice persons exist in the exercise world alone.",
                      "Use `broadcaster roster add`.", kind=Kind.FORBIDDEN)  # fmt: skip

    def step(tx: Tx) -> dict[str, str]:
        made = {}
        for name, roles in names.items():
            known = people.by_name(tx, name) or people.add(
                tx, name, [_role(role) for role in roles], actor=OPERATOR, practice=True
            )
            if not passkeys.of_person(tx, known.id):  # one of a time before passkeys
                passkeys.add_practice(tx, known.id, actor=OPERATOR)
            if known.may(Act.COMPILE) and not authorities.standing(tx, known.id).authorities:
                authorities.authorize_for_practice(tx, known.id, actor=OPERATOR)  # before those
            made[name] = known.id
        return made

    return {"people": await here.ledger.write(step)}


async def roster_grant(
    here: Here, say: Say, *, name: str, contents: list[str], until: str | None, by: str
) -> Result:
    """Authorizes a member to post, by the Chief's word."""

    def step(tx: Tx) -> None:
        rostering.grant(tx, _named(tx, name).id, _each(Content, contents, "content"),
                        until=_instant(until, "until"), person=_named(tx, by, "by"),
                        actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"granted": name}


async def roster_revoke(here: Here, say: Say, *, name: str, contents: list[str], by: str) -> Result:
    """Takes a member's authority back, all of it where no content is named."""

    def step(tx: Tx) -> None:
        rostering.revoke(tx, _named(tx, name).id, _each(Content, contents, "content"),
                         person=_named(tx, by, "by"), actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"revoked": name}


async def roster_train(
    here: Here, say: Say, *, name: str, subjects: list[str], given: str | None,
    expires: str | None, by: str,
) -> Result:  # fmt: skip
    """Records that a member was trained; in all five subjects where none is named."""

    def step(tx: Tx) -> None:
        rostering.train(
            tx, _named(tx, name).id, _each(Subject, subjects, "subject") or list(Subject),
            given_at=_instant(given, "given"), expires_at=_instant(expires, "expires"),
            person=_named(tx, by, "by"), actor=OPERATOR,
        )  # fmt: skip

    await here.ledger.write(step)
    return {"trained": name}


async def roster_except(
    here: Here, say: Say, *, name: str, matter: str, reason: str, until: str, by: str
) -> Result:
    """Excepts a member from approved equipment or duty hours, by a supervisor's word."""
    end = _instant(until, "until")
    assert end is not None, "an exception has an end"

    def step(tx: Tx) -> None:
        rostering.exempt(tx, _named(tx, name).id, _each(Matter, [matter], "matter")[0],
                         reason=reason, until=end, person=_named(tx, by, "by"),
                         actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"excepted": name}


async def roster_duty_chief(
    here: Here, say: Say, *, name: str, reason: str, until: str, by: str
) -> Result:
    """Names the duty chief, by the Chief's word."""
    end = _instant(until, "until")
    assert end is not None, "it has an end"

    def step(tx: Tx) -> None:
        rostering.delegate(tx, _named(tx, name).id, Office.DUTY_CHIEF, reason=reason, until=end,
                           person=_named(tx, by, "by"), actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"duty_chief": name}


async def roster_duty_chief_end(here: Here, say: Say, *, name: str, by: str) -> Result:
    """Ends it early, by the Chief's word."""

    def step(tx: Tx) -> None:
        rostering.end_delegation(tx, _named(tx, name).id, Office.DUTY_CHIEF,
                                 person=_named(tx, by, "by"), actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"ended": name}


async def roster_fallback(
    here: Here, say: Say, *, name: str, pin: str, reason: str, until: str, by: str
) -> Result:
    """Lets somebody decide with PIN and code; answers what their authenticator app reads, once."""
    key, end = here.settings.codes_key, _instant(until, "until")
    assert end is not None, "an allowance has an end"
    if key is None:
        raise Refusal(
            "fallback_off", "BROADCASTER_FALLBACK_KEY is not set here, so nobody may use PIN and "
            "code.",
            "Set it to 32 random characters or more, for the gate and for this command.",
        )  # fmt: skip

    def step(tx: Tx) -> fallback.Allowance:
        return rostering.allow_fallback(tx, _named(tx, name).id, pin=pin, reason=reason, until=end,
                                        person=_named(tx, by, "by"), actor=OPERATOR)  # fmt: skip

    made = await here.ledger.write(step)
    secret = fallback.secret_of(key, made.id)
    return {"app": fallback.address(secret, name, here.settings.department)}


async def roster_fallback_end(here: Here, say: Say, *, name: str, by: str) -> Result:
    """Ends that somebody may decide with PIN and code."""

    def step(tx: Tx) -> None:
        rostering.end_fallback(tx, _named(tx, name).id, person=_named(tx, by, "by"),
                               actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"ended": name}


async def roster_guideline(
    here: Here, say: Say, *, topic: str, members: list[str], roles: list[str],
    channels: list[str], until: str, text: str, by: str,
) -> Result:  # fmt: skip
    """Keeps a written guideline of the Chief's."""
    end = _instant(until, "until")
    assert end is not None, "a guideline has an end"

    def step(tx: Tx) -> str:
        return rostering.keep_guideline(
            tx, _each(Topic, [topic], "topic")[0],
            members=[_named(tx, name, "member").id for name in members],
            roles=[_role(role) for role in roles], channels=channels, until=end, text=text,
            person=_named(tx, by, "by"), actor=OPERATOR,
        ).id  # fmt: skip

    return {"guideline": await here.ledger.write(step)}


async def roster_guideline_end(here: Here, say: Say, *, id: str, by: str) -> Result:
    """Ends a guideline, by the Chief's word."""

    def step(tx: Tx) -> None:
        rostering.end_guideline(tx, id, person=_named(tx, by, "by"), actor=OPERATOR)

    await here.ledger.write(step)
    return {"ended": id}


async def roster_list(here: Here, say: Say) -> Result:
    """Who is on the roster, what they may do now, and what they could approve."""
    return await here.ledger.read(
        lambda tx: {"people": explain.roster(tx), "guidelines": explain.guidelines_now(tx)}
    )


async def explain_update(here: Here, say: Say, *, id: str) -> Result:
    """Why an update was or was not released, clause by clause."""
    contact = here.settings.contact
    return await here.ledger.read(lambda tx: explain.update(tx, id, contact=contact))


async def problems_list(here: Here, say: Say, *, all: bool = False) -> Result:
    """What came in wrong."""
    state = None if all else "open"
    listed = await here.ledger.read(lambda tx: problems.listed(tx, state=state, limit=1000))
    return {"problems": [{**asdict(p), "at": p.at.isoformat()} for p in listed]}


async def problems_drop(here: Here, say: Say, *, number: int) -> Result:
    """Ends a problem that needs nothing more."""
    await here.ledger.write(lambda tx: problems.settle(tx, number, "dropped", actor=OPERATOR))
    return {"problem": number, "state": "dropped"}


async def problems_retry(here: Here, say: Say, *, number: int) -> Result:
    """Reads the message again where it stood, while the broker has it, and takes it in."""
    problem = await here.ledger.read(lambda tx: problems.get(tx, number))
    place = problem.place
    if place.topic is None or not place.topic.endswith("incident.intake") or here.broker is None:
        raise _gone(problem)
    assert place.partition is not None and place.offset is not None, "noted with its topic"
    message = await reader.read(
        here.broker, Where(place.topic, place.partition, place.offset),
        written=place.written,
    )  # fmt: skip
    if message is None:
        raise _gone(problem)
    await intake_handler(here.ledger, read_native, here.clock)(message)
    await here.ledger.write(lambda tx: problems.settle(tx, number, "retried", actor=OPERATOR))
    return {"problem": number, "state": "retried"}


async def deliveries(here: Here, say: Say) -> Result:
    """How the channels fare, and which posts have not ended well."""
    known = {each.name: each for each in here.channels.all}
    return dict(to_jsonable_python(await here.ledger.read(lambda tx: _deliveries(tx, known))))


def _deliveries(tx: Tx, known: Mapping[str, AnyChannel]) -> Result:
    last_days = accounts_kept.ends(tx, known.values())
    return {
        "channels": [
            {"name": each.name, "standing": _standing(each.fare, tx.now), **asdict(each.figures),
             "pace": known[each.name].pace if each.name in known else None,
             "failures": each.fare.breaker.failures if each.fare else 0,
             "again_at": each.fare.breaker.again_at if each.fare else None,
             "proved_at": each.fare.proved_at if each.fare else None,
             "credential": {
                 "known_there": not (each.fare and each.fare.locked_out),
                 "ends": last_days.get(each.name),
                 "ends_soon": accounts_kept.soon(last_days.get(each.name), tx.now.date()),
             }}
            for each in channels.overview(tx, known)
        ],
        "posts": [
            {"id": post.id, "release": post.release_id, "channel": post.channel,
             "state": post.state, "since": post.since, "attempts": post.attempts,
             "next_look": post.next_look, "why": post.why}
            for post in posts.unended(tx, limit=1000)
        ],
    }  # fmt: skip


def _standing(fare: channels.Kept | None, now: datetime) -> str:
    if fare is None:
        return "no worker has it yet"
    return fare.kept_back(now) or ("fails" if fare.breaker.open else "works")


async def delivery(here: Here, say: Say, *, id: str) -> Result:
    """All that is known of one post."""

    def look(tx: Tx) -> Result:
        post = posts.get(tx, id)
        if post is None:
            raise Refusal("no_such_post", f"There is no post {id}.",
                          "`broadcaster deliveries` lists those that have not ended well.",
                          kind=Kind.NOT_FOUND)  # fmt: skip
        tried = [asdict(each) for each in attempts.of_post(tx, id)]
        return {**asdict(post), "attempts": tried, "tries": post.attempts}

    told: Result = to_jsonable_python(await here.ledger.read(look))
    return told


async def channel_pause(
    here: Here, say: Say, *, name: str, why: str, drain: bool = False
) -> Result:
    """Has nothing sent on a channel; `drain`: returns once nothing is being sent there."""
    await here.ledger.write(lambda tx: settling.pause_channel(tx, name, why, OPERATOR))
    while drain and (waits := (await here.ledger.read(channels.figures)).get(name)):
        if not waits.sending:
            break
        await say({"sending": waits.sending})
        await asyncio.sleep(0.1)
    return {"channel": name, "paused": True}


async def channel_resume(here: Here, say: Say, *, name: str) -> Result:
    """Lets a channel go on at once."""
    await here.ledger.write(lambda tx: settling.resume_channel(tx, name, OPERATOR))
    return {"channel": name, "paused": False}


async def channel_add(
    here: Here, say: Say, *, account: dict[str, Any], expires: str | None, by: str
) -> Result:
    """Has updates posted by another account, by the word of the Chief or designee."""
    made, ends, sealer = accounts.read(account), _day(expires), posting.sealer(here.settings)
    taken = {*TAKEN, *(each.name for each in here.settings.channels)}

    def step(tx: Tx) -> None:
        channel_accounts.add(tx, made, sealer, taken=taken, expires_on=ends,
                             person=_named(tx, by, "by"), actor=OPERATOR)  # fmt: skip

    await here.ledger.read(lambda tx: require(_named(tx, by, "by"), Act.KEEP_CHANNELS))
    await bootstrap.topic_for(here.settings, made.name)
    await here.ledger.write(step)
    return {"channel": made.name, "kind": made.kind, "replies": str(kinds()[made.kind].replies)}


async def channel_change(
    here: Here, say: Say, *, name: str, given: dict[str, Any], expires: str | None, by: str
) -> Result:
    """Gives a channel's account another credential; it is used at once.

    `expires`: its last day; None: it has none, or nobody knows it.
    """
    sealer, ends = posting.sealer(here.settings), _day(expires)

    def step(tx: Tx) -> None:
        channel_accounts.change(tx, name, given, sealer, expires_on=ends,
                                person=_named(tx, by, "by"), actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"channel": name, "changed": sorted(given)}


async def channel_remove(here: Here, say: Say, *, name: str, by: str) -> Result:
    """Has nothing posted by an account any more, and forgets what proved us to it."""

    def step(tx: Tx) -> None:
        channel_accounts.remove(tx, name, person=_named(tx, by, "by"), actor=OPERATOR)

    await here.ledger.write(step)
    return {"channel": name, "removed": True}


async def channel_reseal(here: Here, say: Say) -> Result:
    """Seals what was sealed with an older key with the newest."""
    sealer = posting.sealer(here.settings)
    return {"sealed": await here.ledger.write(lambda tx: channel_accounts.reseal(tx, sealer))}


async def channel_list(here: Here, say: Say) -> Result:
    """The channels, when what proves us there ends, and since when and by whom each was added."""

    def query(tx: Tx) -> list[Result]:
        kept = {each.name: each for each in accounts_kept.standing(tx)}
        last_days = accounts_kept.ends(tx, here.channels.all)
        names = {person.id: person.name for person in people.everybody(tx)}
        return [
            {
                "name": each.name, "kind": each.kind, "title": each.title,
                "class": str(each.idempotency), "replies": str(each.replies),
                "expires": last_days[each.name].isoformat() if each.name in last_days else None,
                "added": added and {
                    "by": names.get(added.added_by, added.added_by),
                    "at": added.added_at.isoformat(),
                    "changed_at": added.changed_at.isoformat(),
                },
            }
            for each in here.channels.all
            for added in (kept.get(each.name),)
        ]  # fmt: skip

    return {"channels": await here.ledger.read(query)}


async def channel_test(here: Here, say: Say, *, name: str) -> Result:
    """Sends words of no meaning to a channel, in an exercise, and tells what came back."""
    known = Channels(here.settings, here.ledger, posts=True, tests=True)
    await known.read()
    adapter = known.to_test(name)
    try:
        return dict(await testing.run(
            here.ledger, adapter, address=f"{here.address or 'http://localhost'}/", actor=OPERATOR
        ))  # fmt: skip
    finally:
        await adapter.close()


async def channel_allow_replies(
    here: Here, say: Say, *, name: str, reason: str, until: str, by: str
) -> Result:
    """Has a channel used although the public can answer there, by the Chief's word (389.5.1)."""
    end = _instant(until, "until")
    assert end is not None, "it has an end"

    def step(tx: Tx) -> None:
        settling.allow_replies(tx, name, reason=reason, until=end, person=_named(tx, by, "by"),
                               actor=OPERATOR)  # fmt: skip

    await here.ledger.write(step)
    return {"channel": name, "replies": "allowed", "until": until}


async def channel_forbid_replies(here: Here, say: Say, *, name: str, by: str) -> Result:
    """Ends that early, by the Chief's word."""

    def step(tx: Tx) -> None:
        settling.forbid_replies(tx, name, person=_named(tx, by, "by"), actor=OPERATOR)

    await here.ledger.write(step)
    return {"channel": name, "replies": "forbidden"}


async def channel_send_again(here: Here, say: Say, *, name: str, on: bool) -> Result:
    """Has a channel send again, for safety of life, what nobody can look for; or no longer."""
    await here.ledger.write(lambda tx: settling.have_sent_again(tx, name, OPERATOR, on=on))
    return {"channel": name, "sends_again": on}


async def post_send_again(here: Here, say: Say, *, id: str, attempt: int) -> Result:
    """Has one post sent again, where it is still as it was seen."""
    await here.ledger.write(
        lambda tx: settling.choose(tx, id, attempt, Choice.SEND_AGAIN, OPERATOR)
    )
    return {"post": id, "chosen": str(Choice.SEND_AGAIN)}


async def verify(here: Here, say: Say) -> Result:
    """Walks the record's chain and compares it with its anchors.

    Entries that the sealer has not numbered yet are no fault; that they stay is the relay's.
    """
    taken = anchors.read(here.settings.anchors_path)
    verdict, (unsealed, since) = await here.ledger.read(
        lambda tx: (records.verify(tx, taken), records.unsealed(tx)), long=True
    )
    return {
        "ok": verdict.ok,
        "entries": verdict.entries,
        "head": verdict.head,
        "fault": verdict.fault,
        "anchor": vars(verdict.anchor) if verdict.anchor else None,
        "unsealed": unsealed,
        "unsealed_since": since,
    }


async def replay(here: Here, say: Say, *, file: str, map: str) -> Result:
    """Takes in a vendor's export, row by row; a bad row stops no other."""
    if here.settings.world != "exercise":
        raise Refusal("only_in_exercise", "A replay of old calls would look like new ones.",
                      "Set BROADCASTER_WORLD=exercise.", kind=Kind.FORBIDDEN)  # fmt: skip
    mapping = csv_map.load(map)
    began = time.monotonic()
    before = await here.ledger.read(_counts)
    tally = {"rows": 0, "accepted": 0, "repeated": 0, "refused": 0, "types_unlisted": 0,
             "places_withheld": 0}  # fmt: skip
    opened = await asyncio.to_thread(_opened, file)
    with contextlib.closing(opened):
        rows = csv_map.rows(opened, mapping, here.clock.now())
        while several := await asyncio.to_thread(_several, rows):
            await _take_in(here, mapping, Path(file).name, several, tally)
            await say({"replayed": dict(tally)})
    accepted_in = time.monotonic() - began
    if here.flow is not None:
        await drained(here, say)
    after = await here.ledger.read(_counts)
    grown = {name: after[name] - before[name] for name in ("incidents", "suggested", "suppressed")}
    seconds = time.monotonic() - began
    return {**tally, **grown, "accept_seconds": round(accepted_in, 2),
            "seconds": round(seconds, 2)}  # fmt: skip


def _opened(file: str) -> BinaryIO:
    try:
        return open(file, "rb")
    except OSError as error:
        raise Refusal("file_unreadable", f"{file} cannot be read: {error.strerror}.",
                      "Check the name, and whether you may read it.",
                      field="file") from None  # fmt: skip


def _several(rows: Iterator[csv_map.Row]) -> list[csv_map.Row]:
    return list(islice(rows, ROWS_AT_ONCE))


async def _take_in(
    here: Here, mapping: csv_map.Map, name: str, several: list[csv_map.Row], tally: dict[str, int]
) -> None:
    """One transaction for several rows; what each row came to is added to the tally."""

    def step(tx: Tx) -> dict[str, int]:
        counted = dict.fromkeys(tally, 0)
        good: list[tuple[int, Report]] = []
        for row in several:
            counted["rows"] += 1
            counted["types_unlisted"] += row.type_unlisted
            counted["places_withheld"] += row.place_withheld
            if isinstance(row.outcome, Refusal):
                counted["refused"] += 1
                _row_problem(tx, name, row.line, row.outcome)
            else:
                good.append((row.line, row.outcome))
        for line, answer in zip(good, _accepted(tx, good, mapping.name), strict=True):
            if isinstance(answer, Refusal):
                counted["refused"] += 1
                _row_problem(tx, name, line[0], answer)
            else:
                counted["repeated" if answer.repeated else "accepted"] += 1
        return counted

    for what, count in (await here.ledger.write(step)).items():
        tally[what] += count


def _accepted(
    tx: Tx, good: list[tuple[int, Report]], actor: str
) -> list[reports.Accepted | Refusal]:
    """All together; or, where one repeats an id with another body, one by one."""
    try:
        return list(reports.accept_many(tx, [report for _, report in good], actor=actor))
    except Refusal:
        return [_one(tx, report, actor) for _, report in good]


def _one(tx: Tx, report: Report, actor: str) -> reports.Accepted | Refusal:
    try:
        return reports.accept(tx, report, actor=actor)
    except Refusal as refusal:
        return refusal


def _row_problem(tx: Tx, name: str, line: int, refusal: Refusal) -> None:
    """Notes a row once, however often the file is replayed."""
    problems.note(tx, problems.Place(source=f"file {name}", line=line), refusal)


def _counts(tx: Tx) -> dict[str, int]:
    by_kind = incidents.counts(tx)
    return {
        "reports": reports.count(tx),
        "incidents": sum(by_kind.values()),
        "suggested": incidents.suggestions_counted(tx),
        "suppressed": sum(n for (_, how), n in by_kind.items() if how == "suppressed"),
        "updates": approvals.updates_counted(tx),
        "approvals": approvals.approvals_counted(tx),
        "releases": releases.count(tx),
        "posts": sum(posts.by_channel_and_state(tx).values()),
        "problems": problems.open_count(tx),
        "record_entries": records.count(tx),
    }


def _waits(tx: Tx) -> dict[str, int]:
    return {
        "reports": reports.waiting(tx),
        "decisions": approvals.waiting_for_gate(tx),
        "posts": posts.waiting(tx),
        "messages": outbox.waiting(tx)[0],
    }


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError:
        raise Refusal("role_unknown", f"There is no role {name}.",
                      f"Give one of: {', '.join(Role)}.", field="role") from None  # fmt: skip


def _named(tx: Tx, name: str, field: str = "name") -> Person:
    """Somebody on the roster. Raises Refusal."""
    known = _kept(tx, name, field)
    if known.left is not None:
        raise Refusal("not_on_the_roster", f"{name} was taken off the roster.",
                      "`broadcaster roster role` puts somebody back.", kind=Kind.CONFLICT,
                      field=field)  # fmt: skip
    return known


def _kept(tx: Tx, name: str, field: str = "name") -> Person:
    """Somebody who is, or was, on the roster. Raises Refusal."""
    known = people.by_name(tx, name)
    if known is None:
        raise Refusal("no_such_person", f"{name} is not on the roster.",
                      "`broadcaster roster list` shows who is.",
                      kind=Kind.NOT_FOUND, field=field)  # fmt: skip
    return known


def _each(of: type[E], given: list[str], field: str) -> list[E]:
    try:
        return [of(each) for each in given]
    except ValueError as wrong:
        raise Refusal(f"{field}_unknown", f"There is no such {field}: {wrong.args[0]}.",
                      f"Give one of: {', '.join(of)}.", field=field) from None  # fmt: skip


def _instant(given: str | None, field: str) -> datetime | None:
    """A day or a time as ISO 8601 writes it; UTC where it names no zone."""
    if given is None:
        return None
    try:
        read = datetime.fromisoformat(given)
    except ValueError:
        raise Refusal("time_invalid", f"{given} is no day or time.",
                      "Write it as 2027-01-31, or 2027-01-31T18:00.",
                      field=field) from None  # fmt: skip
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _day(given: str | None) -> date | None:
    read = _instant(given, "expires")
    return read.date() if read else None


def _link(here: Here, token: str) -> str:
    return f"{here.address or '<address of the desk>'}/enrol/{token}"


def _gone(problem: problems.Problem) -> Refusal:
    whom = {
        "http": "the sender of the report (it was told why, and may send it again)",
        "kafka": "whoever writes to that topic",
    }.get(problem.place.source, f"whoever made the {problem.place.source}")
    return Refusal(
        "original_gone",
        f"The original of problem {problem.id} cannot be read again here.",
        f"Ask {whom} to send it again as it should be; then "
        f"`broadcaster problems drop {problem.id}`.",
        kind=Kind.GONE,
    )


COMMANDS: dict[str, Callable[..., Awaitable[Result]]] = {
    "status": status,
    "idle": idle,
    "drained": drained,
    "report": report,
    "deliveries": deliveries,
    "delivery": delivery,
    "channel_pause": channel_pause,
    "channel_resume": channel_resume,
    "channel_send_again": channel_send_again,
    "channel_add": channel_add,
    "channel_change": channel_change,
    "channel_list": channel_list,
    "channel_remove": channel_remove,
    "channel_reseal": channel_reseal,
    "channel_test": channel_test,
    "channel_allow_replies": channel_allow_replies,
    "channel_forbid_replies": channel_forbid_replies,
    "post_send_again": post_send_again,
    "roster_add": roster_add,
    "roster_link": roster_link,
    "roster_role": roster_role,
    "roster_remove": roster_remove,
    "roster_list": roster_list,
    "roster_reach": roster_reach,
    "roster_grant": roster_grant,
    "roster_revoke": roster_revoke,
    "roster_train": roster_train,
    "roster_except": roster_except,
    "roster_duty_chief": roster_duty_chief,
    "roster_duty_chief_end": roster_duty_chief_end,
    "roster_fallback": roster_fallback,
    "roster_fallback_end": roster_fallback_end,
    "roster_guideline": roster_guideline,
    "roster_guideline_end": roster_guideline_end,
    "roster_practice": roster_practice,
    "problems_list": problems_list,
    "problems_drop": problems_drop,
    "problems_retry": problems_retry,
    "explain": explain_update,
    "verify": verify,
    "replay": replay,
}


def take_anchor(settings: Settings, head: tuple[int, str]) -> None:
    """Writes the record's head where `verify` finds it, outside the ledger."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    anchors.add(settings.anchors_path, Anchor(head[0], head[1], now))
