"""Notices: routine content, about no open incident (389.3, 389.4), begun by a person.

A notice is written, screened, approved, posted, corrected and stopped as an incident's updates are;
only who approves it differs: the Chief's guideline, or a supervisor.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.incident import Incident, Topic, notice
from broadcaster.ledger import Tx, incidents, posting_requests
from broadcaster.ledger.posting_requests import State
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, require
from broadcaster.update import Origin, Phrase, Words, clean

#: Both are the headline, which holds no more.
LONGEST_SUBJECT = 120
LONGEST_PLACE = 80


def begin(
    tx: Tx, topic: Topic, subject: str, place: str, person: Person, *,
    request_id: str | None = None,
) -> Incident:  # fmt: skip
    """A member begins a notice; nothing is submitted by it. Raises Refusal.

    `request_id`: the request up the chain of command that it is written from.
    """
    require(person, Act.WRITE_NOTICE)
    asked = posting_requests.get(tx, request_id) if request_id else None
    if request_id and (asked is None or asked.state is not State.PASSED_ON):
        raise Refusal("not_passed_on", "There is no such request that a supervisor passed on.",
                      "Look at the requests for what is to be written.", kind=Sort.CONFLICT,
                      field="request_id")  # fmt: skip
    made = notice(
        tx.world, topic, _said(subject, "subject", LONGEST_SUBJECT),
        _said(place, "place", LONGEST_PLACE), begun_by=person.id, now=tx.now,
    )  # fmt: skip
    incidents.add(tx, made)
    tx.record(Kind.NOTICE_BEGUN, actor=person.id, incident_id=made.id, topic=str(topic),
              clause=topic.clause, posting_request_id=request_id,
              private={"text_subject": made.type.value})  # fmt: skip
    if request_id:
        posting_requests.begun(tx, request_id, made.id)
    tx.changed("board")
    return made


def words(it: Incident, *, department: str, text: str = "", zone: ZoneInfo, now: datetime) -> Words:
    """What a notice begins with: who speaks, its subject, where, and the day."""

    def template(said: str) -> Phrase:
        return Phrase(text=said, origin=Origin.TEMPLATE)

    return Words(
        source=template(department),
        hazard=Phrase(text=it.type.value, origin=Origin.TYPED),
        place=Phrase(text=it.place.value if it.place else "", origin=Origin.TYPED),
        guidance=Phrase(text=text, origin=Origin.TYPED),
        time=template(f"{now.astimezone(zone):%B} {now.astimezone(zone).day}."),
    )


def _said(text: str, field: str, longest: int) -> str:
    said = clean(text, field)
    if not said or len(said) > longest:
        raise Refusal(f"{field}_missing" if not said else f"{field}_too_long",
                      f"A notice's {field} is said in 1 to {longest} characters.",
                      "Write it in a few words; the rest belongs in the text.",
                      field=field)  # fmt: skip
    return said
