"""An entry of the record, told in one line: for an incident's story and for the record's page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broadcaster.incident import Status
from broadcaster.ledger import records
from broadcaster.record import Kind
from broadcaster.type_names import type_in_words

#: EIDO's incident statuses as people say them.
STATUS_WORDS: dict[str, str] = {
    Status.ACTIVE: "active",
    Status.RESOURCES_ASSIGNED: "resources assigned",
    Status.RESOURCES_ENROUTE: "resources on the way",
    Status.RESOURCES_ONSCENE: "resources on scene",
    Status.NEW_LOCATION: "moved to a new place",
    Status.STRUCTURE_CLEARED: "structure cleared",
    Status.FIRE_UNDER_CONTROL: "fire under control",
    Status.CANCELLED: "cancelled",
    Status.CLOSED: "closed",
    Status.REOPENED: "opened again",
}

#: The product's own steps: what they did needs nobody's name.
_STEPS = frozenset("compile notify gate deliver sweep broadcaster".split())


@dataclass(frozen=True)
class Told:
    """One fact: who or what, what happened, and what it opens to."""

    number: int
    at: datetime
    kind: str
    who: str
    what: str
    tone: str  #: `good`, `look` or nothing
    quote: tuple[tuple[str, str], ...]  #: what was said, each with its name
    link: str | None
    incident_id: str | None
    hash: str
    body: str


@dataclass(frozen=True)
class _Line:
    public: Mapping[str, Any]
    private: Mapping[str, str]
    names: Mapping[str, str]
    channels: Mapping[str, str]

    def name(self, person_id: object) -> str:
        return self.names.get(str(person_id), str(person_id))

    def get(self, field: str) -> str:
        return str(self.public.get(field, ""))


def tell(line: records.Line, names: Mapping[str, str], channels: Mapping[str, str]) -> Told:
    """The entry in words. `names` are the roster's by id, `channels` the channels' titles."""
    body = json.loads(line.body)
    told = _Line(body["public"], line.private, names, channels)
    words = _WORDS.get(line.kind)
    what, tone = words(told) if words else (line.kind, "")
    actor = str(body["actor"])
    release = told.public.get("release_id")
    request = told.public.get("request_id")
    return Told(
        number=line.number,
        at=datetime.fromisoformat(line.at),
        kind=line.kind,
        who="" if actor in _STEPS else names.get(actor, actor),
        what=what,
        tone=tone,
        quote=tuple(
            (_quoted(field, channels), value)
            for field, value in line.private.items()
            if field.startswith("text_") or field == "reason"
        ),
        link=f"/releases/{release}" if release else f"/a/{request}" if request else None,
        incident_id=line.incident_id,
        hash=line.hash,
        body=line.body,
    )


def _quoted(field: str, channels: Mapping[str, str]) -> str:
    name = field.removeprefix("text_")
    return channels.get(name, name.replace("_", " ").capitalize())


def _report(line: _Line) -> tuple[str, str]:
    place = line.private.get("place")
    status = STATUS_WORDS.get(line.get("status"), line.get("status"))
    where = f", {place}" if place else ""
    return f"Report: {type_in_words(line.get('type'))}{where}; {status}", ""


def _incident(verb: str) -> Callable[[_Line], tuple[str, str]]:
    def words(line: _Line) -> tuple[str, str]:
        if "type" not in line.public:
            return f"Incident {verb}: {line.get('why')}", ""
        status = STATUS_WORDS.get(line.get("status"), line.get("status"))
        place = line.private.get("place")
        where = f", {place}" if place else ""
        return f"Incident {verb}: {type_in_words(line.get('type'))}{where}; {status}", ""

    return words


def _submitted(line: _Line) -> tuple[str, str]:
    kind = line.get("update_kind") or "update"
    return f"Submitted {kind} #{line.get('number')} for approval", ""


def _command(line: _Line) -> tuple[str, str]:
    commander = line.public.get("commander")
    if commander is None:
        return "Command has ended", ""
    return f"{line.name(commander)} commands", ""


def _called(line: _Line) -> tuple[str, str]:
    called = line.get("called")
    who = "the Watch Commander" if called == "watch-commander" else line.name(called)
    return f"Called {who} by the {line.get('via')}", ""


def _decided(line: _Line) -> tuple[str, str]:
    verdict = line.get("verdict")
    return f"{verdict.capitalize()} the words #{line.get('code')}", (
        "" if verdict == "approved" else "look"
    )


def _released(line: _Line) -> tuple[str, str]:
    channels = line.public.get("channels") or []
    where = "1 channel" if len(channels) == 1 else f"{len(channels)} channels"
    return f"Released update #{line.get('number')} to {where}", ""


def _post(words: str, tone: str = "") -> Callable[[_Line], tuple[str, str]]:
    def told(line: _Line) -> tuple[str, str]:
        why = line.public.get("why") or line.private.get("why")
        channel = line.channels.get(line.get("channel"), line.get("channel"))
        return f"{channel}: {words}" + (f". {why}" if why else ""), tone

    return told


def _plain(words: str, tone: str = "") -> Callable[[_Line], tuple[str, str]]:
    return lambda line: (words, tone)


def _filled(pattern: str, tone: str = "") -> Callable[[_Line], tuple[str, str]]:
    """The pattern with the entry's own fields in it."""
    return lambda line: (pattern.format_map(_Fields(line)), tone)


class _Fields(dict[str, str]):
    def __init__(self, line: _Line) -> None:
        self._line = line

    def __missing__(self, field: str) -> str:
        value = self._line.public.get(field)
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


_WORDS: dict[str, Callable[[_Line], tuple[str, str]]] = {
    Kind.LEDGER_CREATED: _filled("This ledger was made, for the {world} world"),
    Kind.STARTED: _plain("Broadcaster started"),
    Kind.REPORT_ACCEPTED: _report,
    Kind.PROBLEM_NOTED: _filled("Something came in wrong: problem {problem} ({code})", "look"),
    Kind.PROBLEM_SETTLED: _filled("Problem {problem} was {state}"),
    Kind.INCIDENT_OPENED: _incident("opened"),
    Kind.INCIDENT_CHANGED: _incident("changed"),
    Kind.INCIDENT_CLOSED: _incident("closed"),
    Kind.INCIDENT_REOPENED: _incident("opened again"),
    Kind.UPDATE_SUGGESTED: _filled("Suggested an update: {why}"),
    Kind.COMMAND_RECORDED: _command,
    Kind.REVISION_SUBMITTED: _submitted,
    Kind.REQUEST_RENEWED: _plain("Asked again for the same words"),
    Kind.REQUEST_LAPSED: _filled("The request lapsed: {changed} changed", "look"),
    Kind.REQUEST_EXPIRED: _plain("Nobody decided in time: the request expired", "look"),
    Kind.REQUEST_WITHDRAWN: _plain("Took the submission back"),
    Kind.APPROVER_CALLED: _called,
    Kind.DECISION_RECORDED: _decided,
    Kind.DECISION_REFUSED: _filled("A decision ({verdict}) was refused: {code}", "look"),
    Kind.UPDATE_RELEASED: _released,
    Kind.RELEASE_REFUSED: _filled("Not released: {code}", "look"),
    Kind.ATTEMPT_STARTED: _post("sending"),
    Kind.POST_DELIVERED: _post("posted", "good"),
    Kind.POST_DEFERRED: _post("not posted yet, will be tried again"),
    Kind.POST_REFUSED: _post("refused", "look"),
    Kind.POST_IN_DOUBT: _post("in doubt", "look"),
    Kind.POST_REPLACED: _post("replaced before it was sent"),
    Kind.POST_EXPIRED: _post("expired before it was sent", "look"),
    Kind.POST_STOPPED: _post("stopped before it was sent", "look"),
    Kind.POST_HELD: _post("held back", "look"),
    Kind.PERSON_ADDED: lambda line: (f"Added to the roster: {line.private.get('name', '')}", ""),
    Kind.ENROLMENT_ISSUED: lambda line: (
        f"Sign-in link for {line.name(line.get('person_id'))}",
        "",
    ),
    Kind.SIGNED_IN: _plain("Signed in"),
    Kind.SIGNED_OUT: _plain("Signed out"),
}
