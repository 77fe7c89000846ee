"""The update that is suggested for an incident: a template chosen by CAD's type, filled with facts.

CAD's type chooses the template and nothing more; each phrase says where it is from (CAD, template,
typed) and none of CAD's is verified until a person says so. Wording follows the Warning Lexicon's
order of elements and the Cal OES terms (facts/domain.md §3): short, no jargon, verbs that can be
acted on.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from broadcaster.incident import Handling, Incident
from broadcaster.update import Origin, Phrase, Words
from broadcaster.world import Frozen

#: When the public is promised the next update, where nobody says otherwise.
NEXT_UPDATE_AFTER = timedelta(minutes=15)


class Template(Frozen):
    """What is said of a hazard, and what people are asked to do."""

    hazard: str
    guidance: str


_GAS = Template(
    hazard="Gas leak",
    guidance="If you are inside nearby, stay inside and close doors and windows. "
    "If you smell gas, leave the building on foot and call 911 from outside. "
    "Do not use switches, phones or lighters where you smell gas.",
)
_SHOOTING = Template(
    hazard="Shooting reported",
    guidance="Stay away from the area. If you are nearby, get inside, lock the doors and stay "
    "away from windows. Call 911 if you see something dangerous.",
)
_ABDUCTION = Template(
    hazard="Abduction reported",
    guidance="If you saw anything, call 911. Do not approach anyone or any vehicle yourself.",
)

#: By EIDO incident type: one for each type that is drafted automatically, and for the held ones.
TEMPLATES: dict[str, Template] = {
    "ACTSHOOT": Template(
        hazard="Active shooter reported",
        guidance="Get away from the area if you can do so safely. If you cannot, hide, lock the "
        "door, silence your phone and stay low. Call 911 only if you are in danger.",
    ),
    "SHOOT": _SHOOTING,
    "BARICADE": Template(
        hazard="Police activity",
        guidance="Stay away from the area. If you live nearby, stay inside and away from windows.",
    ),
    "HOSTAGE": Template(
        hazard="Police activity",
        guidance="Stay away from the area. If you live nearby, stay inside and away from windows.",
    ),
    "BOMB": Template(
        hazard="Suspicious item reported",
        guidance="Leave the area on foot and stay away. Do not touch anything suspicious. "
        "Do not use a phone or radio near it.",
    ),
    "EXPLOS": Template(
        hazard="Explosion reported",
        guidance="Stay away from the area. If you are nearby, get out of damaged buildings and "
        "move away from windows and smoke.",
    ),
    "HAZMAT": Template(
        hazard="Hazardous material released",
        guidance="Shelter in place: go inside, close doors and windows, and turn off fans and air "
        "conditioning. Stay away from the area.",
    ),
    "GASLEAK": _GAS,
    "GASLEAKI": _GAS,
    "GASLEAKO": _GAS,
    "FBRUSH": Template(
        hazard="Brush fire",
        guidance="Stay away from the area. Be ready to leave if you live nearby. "
        "Keep roads clear for fire engines.",
    ),
    "FSTRU": Template(
        hazard="Building fire",
        guidance="Stay away from the area and keep roads clear for fire engines. "
        "If there is smoke where you are, close windows.",
    ),
    "MVAINJY": Template(
        hazard="Traffic collision with injuries",
        guidance="Take another route. Slow down near the scene and follow officers' directions.",
    ),
    "THAZ": Template(
        hazard="Traffic hazard", guidance="Take another route, or slow down and pass with care."
    ),
    "WIRES": Template(
        hazard="Power lines down",
        guidance="Stay at least 35 feet away from fallen lines and anything that touches them. "
        "Do not drive over them. Call 911 if somebody is hurt.",
    ),
    "CU1": Template(
        hazard="Disturbance", guidance="Stay away from the area. If you are there, leave it calmly."
    ),
    "ESCAPE": Template(
        hazard="Search for an escaped person",
        guidance="Lock doors and vehicles. Do not approach anyone who acts strangely; call 911.",
    ),
    "ABDUCTF": _ABDUCTION,
    "ABDUCTNF": _ABDUCTION,
    "PERMISS": Template(
        hazard="Search for a missing person",
        guidance="Check yards, sheds and vehicles. Call 911 if you have seen somebody who may "
        "need help.",
    ),
    "TERROR": Template(
        hazard="Emergency", guidance="Leave the area if it is safe to. Follow officers' directions."
    ),
    "MAJORINC": Template(
        hazard="Major incident",
        guidance="Stay away from the area and keep roads clear for emergency vehicles.",
    ),
    "MCI": Template(
        hazard="Incident with several people hurt",
        guidance="Stay away from the area and keep roads clear for ambulances.",
    ),
}


def suggest(incident: Incident, *, department: str, zone: ZoneInfo, now: datetime) -> Words | None:
    """The suggested words for an incident; None where its type is not drafted automatically."""
    if incident.handling is not Handling.AUTO_DRAFT:
        return None
    return words(incident, department=department, zone=zone, now=now)


def words(incident: Incident, *, department: str, zone: ZoneInfo, now: datetime) -> Words:
    """What can be filled in for an incident; an empty phrase is for a person to type."""
    template = TEMPLATES.get(incident.type.value)
    place = incident.place.value if incident.place else ""
    return Words(
        source=Phrase(text=department, origin=Origin.TEMPLATE, verified=True),
        hazard=Phrase(
            text=template.hazard if template else "",
            origin=Origin.TEMPLATE if template else Origin.TYPED,
            fact="type" if template else None,
            fact_value=incident.type.value if template else None,
        ),
        place=Phrase(
            text=place,
            origin=Origin.CAD if place else Origin.TYPED,
            fact="place" if place else None,
            fact_value=place or None,
        ),
        guidance=Phrase(
            text=template.guidance if template else "",
            origin=Origin.TEMPLATE if template else Origin.TYPED,
        ),
        time=Phrase(text=times(now, zone), origin=Origin.TEMPLATE),
    )


def times(now: datetime, zone: ZoneInfo) -> str:
    """When this was true, and when the public hears more."""
    local, following = now.astimezone(zone), (now + NEXT_UPDATE_AFTER).astimezone(zone)
    shift = "" if local.tzname() == following.tzname() else f" {following:%Z}"
    return f"As of {local:%H:%M %Z}; next update by {following:%H:%M}{shift}."


_PROMISE = re.compile(r"\bnext update by (\d\d):(\d\d)\b", re.I)


def promised(said: str, at: datetime, zone: ZoneInfo) -> datetime | None:
    """When words said at a time promise the next update; None where they promise none."""
    match = _PROMISE.search(said)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        return None
    there = at.astimezone(zone)
    by = there.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
    return by if there - by < timedelta(hours=12) else by + timedelta(days=1)


def why_suggest(before: Incident | None, after: Incident) -> str | None:
    """What moved in an incident that the public's words may have to follow; None: nothing did."""
    if before is None:
        return "new incident"
    moved = [
        name
        for name, old, new in (
            ("type changed", before.type.value, after.type.value),
            ("place changed", _value(before.place), _value(after.place)),
            ("status changed", before.status.value, after.status.value),
        )
        if old != new
    ]
    return ", ".join(moved) or None


def _value(fact: object) -> object:
    return getattr(fact, "value", None)
