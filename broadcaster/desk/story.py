"""An entry of the record, told in one line: for an incident's story and for the record's page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broadcaster.calling import SUPERVISOR, WATCH_COMMANDER
from broadcaster.incident import Status
from broadcaster.ledger import records
from broadcaster.policy import BY_ID
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


class _Line(dict[str, str]):
    """An entry's fields by name; nothing where it has none of that name."""

    def __init__(
        self,
        line: records.Line,
        body: Mapping[str, Any],
        names: Mapping[str, str],
        channels: Mapping[str, str],
    ) -> None:
        super().__init__(line.private)
        self.names, self.channels = names, channels
        for field, value in body["public"].items():
            self[field] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if "code" in self:
            self["code"] = self["code"].replace("_", " ")  # a refusal's, which programs read

    def __missing__(self, field: str) -> str:
        return ""

    def name(self, field: str) -> str:
        return self.names.get(self[field], self[field])


def tell(line: records.Line, names: Mapping[str, str], channels: Mapping[str, str]) -> Told:
    """The entry in words. `names` are the roster's by id, `channels` the channels' titles."""
    body = json.loads(line.body)
    told = _Line(line, body, names, channels)
    words = WORDS.get(line.kind, line.kind)
    what = words(told) if callable(words) else words.format_map(told)
    actor = str(body["actor"])
    release, request = told["release_id"], told["request_id"]
    return Told(
        number=line.number,
        at=datetime.fromisoformat(line.at),
        kind=line.kind,
        who="" if actor in _STEPS else names.get(actor, actor),
        what=what,
        tone=_TONES.get(line.kind, ""),
        quote=tuple(
            (_quoted(field, channels), value)
            for field, value in line.private.items()
            if field.startswith(("text_", "alt_", "reason"))
        ),
        link=f"/releases/{release}" if release else f"/a/{request}" if request else None,
        incident_id=line.incident_id,
        hash=line.hash,
        body=line.body,
    )


def _quoted(field: str, channels: Mapping[str, str]) -> str:
    if rule := BY_ID.get(field.removeprefix("reason_")):
        return f"Reason for: {rule.title}"
    if field.startswith("alt_"):
        return "The picture shows"
    name = field.removeprefix("text_")
    return channels.get(name, name.replace("_", " ").capitalize())


def _incident(line: _Line) -> str:
    """What a report said, or an incident became: type, place, status."""
    if not line["type"]:
        return line["why"]
    place = f", {line['place']}" if line["place"] else ""
    status = STATUS_WORDS.get(line["status"], line["status"])
    return f"{type_in_words(line['type'])}{place}; {status}"


_HOW = {
    "taken": ", taken where nobody did",
    "accepted": ", accepted by passkey",
    "forced": ", transferred without its Commander",
}


def _command(line: _Line) -> str:
    left = f": {line.name('left')} may command no more" if line["how"] == "left" else ""
    if not line["commander"]:
        return f"Command has ended{left}"
    if second := line["with_commander"]:
        both = "; both must approve" if line["both"] else ""
        return (
            f"{line.name('commander')} and {line.names.get(second, second)} command together{both}"
        )
    how = _HOW.get(line["how"], "")
    if line["how"] == "radio":
        how = f": {line.name('said_by')} handed over by radio"
    return f"{line.name('commander')} commands{how or left}"


def _submitted(line: _Line) -> str:
    lapsed = line["training_lapsed"]
    though = f". Training has lapsed (389.8): {lapsed}" if lapsed else ""
    return f"Submitted {line['update_kind']} #{line['number']} for approval{though}"


def _called(line: _Line) -> str:
    roles = {WATCH_COMMANDER: "the Watch Commander", SUPERVISOR: "the supervisors"}
    who = roles.get(line["called"]) or line.name("called")
    via = "the desk" if line["via"] == "desk" else line["via"]
    return f"Called {who} by {via}"


def _call_ended(line: _Line) -> str:
    why = f": {line['why']}" if line["why"] else ""
    return f"The {line['via']} to {line.name('called')} was {line['outcome']}{why}"


def _decided(line: _Line) -> str:
    said = f"{line['verdict'].capitalize()} the words #{line['code']}"
    if line["attester"]:
        return f"{said} by voice on {line['radio']}; {line.name('attester')} attests it"
    if line["after"]:
        said += f", after {line.name('after')}"
    if line["fallback_id"]:
        said += " with PIN and code instead of a passkey"
    if line["excepted_by"]:
        said += (
            f" with a passkey that its maker copies, excepted by {line.name('excepted_by')} (389.3)"
        )
    if line["keeps"]:
        return f"{said}, knowing what has changed: {_changes(line)}"
    if line["guideline_id"]:
        return f"{said} by the Chief's guideline on {line['topic']} ({line['clause']})"
    return said


def _released(line: _Line) -> str:
    count = len(line["channels"].split(", "))
    where = "1 channel" if count == 1 else f"{count} channels"
    return f"Released update #{line['number']} to {where}"


def _changes(line: _Line) -> str:
    return line["changes"] or f"{line['changed'] or line['keeps']} changed"


def _post(words: str) -> Callable[[_Line], str]:
    def told(line: _Line) -> str:
        channel = line.channels.get(line["channel"], line["channel"])
        return f"{channel}: {words}" + (f". {line['why']}" if line["why"] else "")

    return told


def _by(line: _Line) -> str:
    return f", by the word of {line.name('by')}"


def _chosen(line: _Line) -> str:
    channel = line.channels.get(line["channel"], line["channel"])
    seen = f"has seen it there ({line['url']})" if line["url"] else "has seen it there"
    said = {
        "there": seen, "down": "has taken it down, since its words were wrong",
        "not there": "has looked, and it is not there",
    }  # fmt: skip
    return f"{channel}: {said.get(line['choice'], 'says to send it again')}"


def _alarm_seen(line: _Line) -> str:
    special = {"stays": "it cannot be taken down", "expired": "it was not sent in time"}
    seen = special.get(line["found"], f"it is {line['found']}")
    return _post(f"has seen that {seen}")(line)


#: What each kind of entry says: its fields in a pattern, or a function of them.
WORDS: dict[str, str | Callable[[_Line], str]] = {
    Kind.LEDGER_CREATED: "This ledger was made, for the {world} world",
    Kind.STARTED: "Broadcaster started",
    Kind.REPORT_ACCEPTED: lambda line: f"Report: {_incident(line)}",
    Kind.PROBLEM_NOTED: "Something came in wrong: problem {problem} ({code})",
    Kind.PROBLEM_SETTLED: "Problem {problem} was {state}",
    Kind.INCIDENT_OPENED: lambda line: f"Incident opened: {_incident(line)}",
    Kind.INCIDENT_CHANGED: lambda line: f"Incident changed: {_incident(line)}",
    Kind.INCIDENT_CLOSED: lambda line: f"Incident closed: {_incident(line)}",
    Kind.INCIDENT_REOPENED: lambda line: f"Incident opened again: {_incident(line)}",
    Kind.UPDATE_SUGGESTED: "Suggested an update: {why}",
    Kind.COMMAND_RECORDED: _command,
    Kind.COMMAND_OFFERED: lambda line: f"Offered command to {line.name('to')}",
    Kind.COMMAND_OFFER_ENDED: lambda line: (
        f"The offer of command to {line.name('to')} was {line['how']}"
    ),
    Kind.ACCEPTANCE_REFUSED: "Taking command was refused: {code}",
    Kind.PICTURE_ADDED: "A picture was uploaded",
    Kind.REVISION_SUBMITTED: _submitted,
    Kind.REVISION_EDITED: lambda line: (
        f"Edited {line.name('compiled_by')}'s words of #{line['number']}"
        + (f"; left out {line['left_out']}" if line["left_out"] else "")
    ),
    Kind.REQUEST_RENEWED: "Asked again for the same words",
    Kind.REQUEST_LAPSED: lambda line: f"The request lapsed: {_changes(line)}",
    Kind.KEEP_ASKED: lambda line: f"Asked to let go what is held, as it stands: {_changes(line)}",
    Kind.REQUEST_EXPIRED: "Nobody decided in time: the request expired",
    Kind.REQUEST_WITHDRAWN: "Took the submission back",
    Kind.APPROVER_CALLED: _called,
    Kind.CONCERNED_CALLED: lambda line: (
        f"Called {line.name('called')} by {line['via']}: {line['about']}"
    ),
    Kind.CALL_ENDED: _call_ended,
    Kind.CALL_REPORTED: lambda line: (
        f"The {line['via']} to {line.name('called')}: {line['progress']}"
    ),
    Kind.REQUEST_OPENED: "Opened the request",
    Kind.ASSENT_GIVEN: lambda line: (
        f"Approved the words #{line['code']}; waits for the other Commander"
    ),
    Kind.ASSENT_ENDED: lambda line: f"The approval by {line.name('given_by')} was {line['how']}",
    Kind.CALL_OPENED: "Opened what they were called about: {about}",
    Kind.DECISION_RECORDED: _decided,
    Kind.VOICE_SETTLED: lambda line: f"{line['settled'].capitalize()} the approval by voice",
    Kind.VOICE_CODES_ISSUED: "Took {codes} new codes for approving by voice",
    Kind.VOICE_CODES_VOIDED: lambda line: (
        f"Voided the codes of {line.name('person_id')} for approving by voice"
        if line["how"]
        else f"Too many wrong codes: those of {line.name('person_id')} are void"
    ),
    Kind.DECISION_REFUSED: "A decision ({verdict}) was refused: {code}",
    Kind.UPDATE_RELEASED: _released,
    Kind.WORDS_KEPT: "What was held goes out as it stands: {channels}",
    Kind.RELEASE_REFUSED: "Not released: {code}",
    Kind.ATTEMPT_STARTED: _post("sending"),
    Kind.POST_DELIVERED: _post("posted"),
    Kind.POST_DEFERRED: _post("no proof yet, so it is tried again"),
    Kind.POST_REFUSED: _post("refused"),
    Kind.POST_IN_DOUBT: _post("in doubt"),
    Kind.POST_REPLACED: _post("replaced before it was sent"),
    Kind.POST_EXPIRED: _post("expired before it was sent"),
    Kind.POST_STOPPED: _post("stopped before it was sent"),
    Kind.POST_HELD: _post("held back"),
    Kind.POST_NOT_FOUND: _post("looked for and not there, so sent again"),
    Kind.POST_CHOSEN: _chosen,
    Kind.POST_READ_BACK: lambda line: _post(f"read back, {line['found']}")(line),
    Kind.POST_RETRACTED: _post("there no more"),
    Kind.POST_STAYS: _post("could not be taken down"),
    Kind.REPLIES_ALLOWED: lambda line: (
        f"{line['channel']} is used though the public can answer there, by the word of "
        f"{line.name('decided_by')}, until {line['until']}"
    ),
    Kind.REPLIES_FORBIDDEN: "{channel} is used no more while the public can answer there",
    Kind.POST_ALARM_SEEN: _alarm_seen,
    Kind.CHANNEL_ADDED: lambda line: f"Added the channel {line['channel']}{_by(line)}",
    Kind.CHANNEL_CREDENTIAL_CHANGED: lambda line: (
        f"Gave {line['channel']} another credential{_by(line)}"
    ),
    Kind.CHANNEL_REMOVED: lambda line: f"Removed the channel {line['channel']}{_by(line)}",
    Kind.CHANNEL_TEST_STARTED: "Sends a test to {channel}",
    Kind.CHANNEL_TEST_ENDED: "The test of {channel} is {outcome}",
    Kind.CHANNEL_FAILING: _post("fails again and again, so it is tried every 15 s"),
    Kind.CHANNEL_RECOVERED: _post("works again"),
    Kind.CHANNEL_PAUSED: _post("paused"),
    Kind.CHANNEL_RESUMED: _post("let go on"),
    Kind.CHANNEL_SENDS_AGAIN: lambda line: (
        f"{line.channels.get(line['channel'], line['channel'])}: what is in doubt is "
        + (
            "sent again after a minute, for the safety of life"
            if line["on"] == "True"
            else "not sent again by itself"
        )
    ),
    Kind.CLOCK_STEPPED: "The clock was set by {seconds} s: nothing is sent until somebody looks",
    Kind.CLOCK_CONFIRMED: "Said that the clock is right",
    Kind.PERSON_ADDED: "Added to the roster: {name}",
    Kind.ROLES_CHANGED: lambda line: f"Roles of {line.name('person_id')}: {line['roles']}",
    Kind.PERSON_REMOVED: lambda line: f"Taken off the roster: {line.name('person_id')}",
    Kind.ENROLMENT_ISSUED: lambda line: f"Sign-in link for {line.name('person_id')}",
    Kind.RETRACTION_ORDERED: "Took it back, as #{number}, in the words approved for that",
    Kind.RELEASE_STOPPED: "Stopped: what had not begun is not sent",
    Kind.PASSKEY_ADDED: lambda line: f"Passkey enrolled for {line.name('person_id')}: {{name}}",
    Kind.PASSKEY_APPROVED: lambda line: f"Device approved for {line.name('person_id')}",
    Kind.PROOF_REFUSED: lambda line: f"A proof was refused: {line['code']}",
    Kind.PERSON_LOCKED: lambda line: (
        f"{line.name('person_id')} locked: {line['failures']} answers did not fit"
    ),
    Kind.PERSON_UNLOCKED: lambda line: f"{line.name('person_id')} unlocked",
    Kind.SESSIONS_ENDED: lambda line: f"{line['count']} sessions of {line.name('person_id')} ended",
    Kind.PASSKEY_REVOKED: lambda line: f"Device of {line.name('person_id')} revoked",
    Kind.REACH_ADDED: lambda line: f"{line.name('person_id')} can be called by {line['means']}",
    Kind.REACH_ENDED: lambda line: f"{line.name('person_id')} is not called by {line['means']} so",
    Kind.EXERCISE_ENDED: "REAL INCIDENT: ended the exercise",
    Kind.EXERCISE_BEGUN: "Began the exercise again",
    Kind.AUTHORITY_GRANTED: lambda line: (
        f"{line.name('person_id')} may post {line['content']} content, by {line.name('granted_by')}"
    ),
    Kind.AUTHORITY_REVOKED: lambda line: (
        f"{line.name('person_id')} may no longer post {line['content']} content"
    ),
    Kind.TRAINING_RECORDED: lambda line: (
        f"Training of {line.name('person_id')}: {line['subjects']}"
    ),
    Kind.EXEMPTION_GRANTED: lambda line: (
        f"{line.name('person_id')} is excepted from {line['matter']} rules for a time"
    ),
    Kind.DEPUTY_NAMED: lambda line: (
        f"{line.name('person_id')} is a deputy of the Watch Commander for a time"
    ),
    Kind.DEPUTY_ENDED: lambda line: (
        f"{line.name('person_id')} is no longer a deputy of the Watch Commander"
    ),
    Kind.DUTY_CHIEF_NAMED: lambda line: f"{line.name('person_id')} is duty chief for a time",
    Kind.DUTY_CHIEF_ENDED: lambda line: f"{line.name('person_id')} is no longer duty chief",
    Kind.FALLBACK_ALLOWED: lambda line: (
        f"{line.name('person_id')} may decide with PIN and code for a time"
    ),
    Kind.FALLBACK_ENDED: lambda line: (
        f"{line.name('person_id')} may no longer decide with PIN and code"
    ),
    Kind.GUEST_ENROLLED: "Enrolled a Commander from outside for this incident: {name}",
    Kind.GUEST_ENDED: lambda line: f"{line.name('person_id')} is no longer enrolled",
    Kind.GUIDELINE_GRANTED: "A guideline was written: {topic} ({clause}) on {channels}",
    Kind.GUIDELINE_ENDED: "The guideline on {topic} was ended",
    Kind.NOTICE_BEGUN: "Began a notice: {topic} ({clause})",
    Kind.POSTING_REQUESTED: "Asked for something to be posted",
    Kind.POSTING_REQUEST_SETTLED: "A request to post was {state}",
    Kind.SIGNED_IN: "Signed in",
    Kind.SIGNED_OUT: "Signed out",
}

#: Green is proven; amber is for somebody to look at.
_TONES: dict[str, str] = {
    Kind.POST_DELIVERED: "good",
    **dict.fromkeys(
        (
            Kind.PROBLEM_NOTED, Kind.REQUEST_LAPSED, Kind.REQUEST_EXPIRED, Kind.DECISION_REFUSED,
            Kind.ACCEPTANCE_REFUSED, Kind.RELEASE_REFUSED, Kind.POST_REFUSED, Kind.POST_IN_DOUBT,
            Kind.POST_STAYS, Kind.POST_EXPIRED, Kind.POST_HELD, Kind.POST_NOT_FOUND,
            Kind.CHANNEL_FAILING, Kind.CHANNEL_PAUSED, Kind.CLOCK_STEPPED, Kind.VOICE_CODES_VOIDED,
        ),
        "look",
    ),
}  # fmt: skip
