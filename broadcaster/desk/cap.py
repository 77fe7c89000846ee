"""An update as a CAP 1.2 message (OASIS, 1 July 2010; section numbers below are its own).

The words are the approved ones; the rest frames them and claims nothing that nobody approved:
urgency, severity and certainty are `Unknown`, the category is `Safety`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

from broadcaster.desk.deps import Desk
from broadcaster.ledger.publications import Publication
from broadcaster.update import UpdateKind

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"


@dataclass(frozen=True)
class Resource:
    """A picture of the update (3.2.3). `size` is in bytes, `sha1` in hexadecimal digits."""

    description: str
    mime_type: str
    size: int
    uri: str
    sha1: str | None


def message(
    desk: Desk, told: Publication, of_incident: Sequence[Publication],
    resources: Sequence[Resource] = (),
) -> bytes:  # fmt: skip
    """The message of one update; `of_incident` holds all updates of its incident."""
    zone, exercise = desk.settings.zone, desk.settings.world == "exercise"
    earlier = _referred(told, of_incident)
    alert = ET.Element("alert", {"xmlns": NAMESPACE})
    _add(alert, "identifier", identifier(told))
    _add(alert, "sender", _sender(desk))
    _add(alert, "sent", moment(told.published_at, zone))
    _add(alert, "status", "Exercise" if exercise else "Actual")
    _add(alert, "msgType", _type(told, earlier))
    _add(alert, "scope", "Public")
    if exercise:
        _add(alert, "note", "Exercise: nothing in this message is real.")
    if earlier:
        _add(alert, "references", " ".join(
            f"{_sender(desk)},{identifier(each)},{moment(each.published_at, zone)}"
            for each in earlier
        ))  # fmt: skip
    _add(alert, "incidents", told.incident_public_id)
    _info(alert, desk, told, zone, resources)
    return bytes(ET.tostring(alert, encoding="utf-8", xml_declaration=True))


def _info(
    alert: ET.Element, desk: Desk, told: Publication, zone: ZoneInfo, resources: Sequence[Resource]
) -> None:
    over = told.kind in (UpdateKind.ALL_CLEAR, UpdateKind.RETRACTION)
    info = _add(alert, "info")
    _add(info, "language", "en")
    _add(info, "category", "Safety")
    _add(info, "event", told.headline)
    if told.kind == UpdateKind.ALL_CLEAR:
        _add(info, "responseType", "AllClear")
    _add(info, "urgency", "Past" if over else "Unknown")
    _add(info, "severity", "Unknown")
    _add(info, "certainty", "Unknown")
    _add(info, "expires", moment(told.expires_at, zone))
    _add(info, "senderName", desk.settings.department)
    _add(info, "headline", told.headline)
    _add(info, "description", told.text)
    if told.guidance:
        _add(info, "instruction", told.guidance)
    _add(info, "web", f"{desk.address}/p/{told.incident_public_id}")
    if desk.settings.contact:
        _add(info, "contact", desk.settings.contact)
    for each in resources:
        resource = _add(info, "resource")
        _add(resource, "resourceDesc", each.description)
        _add(resource, "mimeType", each.mime_type)
        _add(resource, "size", str(each.size))
        _add(resource, "uri", each.uri)
        if each.sha1:
            _add(resource, "digest", each.sha1)
    _add(_add(info, "area"), "areaDesc", told.area)


def identifier(told: Publication) -> str:
    """Ours for ever: the post's id never changes (3.2.1: no spaces, commas, < or &)."""
    return f"urn:uuid:{told.post_id}"


def moment(at: datetime, zone: ZoneInfo) -> str:
    """A time as CAP writes it: whole seconds and a numeric offset, `-00:00` for UTC (3.3.2)."""
    said = at.astimezone(zone).isoformat(timespec="seconds")
    return said.removesuffix("+00:00") + "-00:00" if said.endswith("+00:00") else said


def _sender(desk: Desk) -> str:
    return desk.address.partition("//")[2]


def _referred(told: Publication, of_incident: Sequence[Publication]) -> list[Publication]:
    """The earlier messages that this one is about, oldest first.

    A retraction is about the one that it takes back. Any other update is about all that came
    before it and were not cancelled, since CAP's readers show the newest of such a row.
    """
    before = sorted((each for each in of_incident if _order(each) < _order(told)), key=_order)
    if told.kind == UpdateKind.RETRACTION:
        return [each for each in before if each.release_id == told.corrects]
    cancelled = {each.corrects for each in before if each.kind == UpdateKind.RETRACTION}
    return [
        each
        for each in before
        if each.kind != UpdateKind.RETRACTION and each.release_id not in cancelled
    ]


def _order(told: Publication) -> tuple[datetime, int]:
    return told.published_at, told.number


def _type(told: Publication, earlier: Sequence[Publication]) -> str:
    """What a message is (3.2.1). An Update or a Cancel without references would mean nothing."""
    if not earlier:
        return "Alert"
    return "Cancel" if told.kind == UpdateKind.RETRACTION else "Update"


def _add(parent: ET.Element, tag: str, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, tag)
    element.text = text
    return element
