"""The people page's forms: authority, training, exceptions and deputies (389.3, 389.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from aiohttp import web

from broadcaster import rostering
from broadcaster.authority import Content, Matter, Office, Subject
from broadcaster.desk.session import token_of
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import Tx, people
from broadcaster.roster import Person


def require_passkey(tx: Tx, request: web.Request) -> None:
    """Raises Refusal where whoever asks signed in with PIN and code."""
    if people.signed_in_by_code(tx, token_of(request) or ""):
        raise Refusal(
            "signed_in_by_code", "You signed in with PIN and code, which are for deciding alone.",
            "Sign in with a passkey to change the roster.", kind=Kind.FORBIDDEN,
        )  # fmt: skip


def ordered(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    """Does what one of the forms asks. Raises Refusal."""
    order = _ORDERS.get(fields.get("do", ""))
    if order is None:
        raise Refusal("no_such_order", "It is not said what is to be done.",
                      "Use one of the page's buttons.", field="do")  # fmt: skip
    order(tx, fields, person, zone)


def _grant(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    rostering.grant(tx, fields.get("person", ""), _contents(fields),
                    until=_end_of_day(fields, "until", zone), person=person,
                    actor=person.id)  # fmt: skip


def _take_back(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    rostering.revoke(tx, fields.get("person", ""), _contents(fields), person=person,
                     actor=person.id)  # fmt: skip


def _train(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    given = _day(fields, "given")
    rostering.train(
        tx, fields.get("person", ""), [each for each in Subject if fields.get(each.name.lower())],
        given_at=datetime.combine(given, time(), zone).astimezone(UTC) if given else None,
        expires_at=_end_of_day(fields, "expires", zone), person=person, actor=person.id,
    )  # fmt: skip


def _except(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    until, matter = _end_of_day(fields, "until", zone), fields.get("matter", "")
    if until is None or matter not in list(Matter):
        raise Refusal("until_missing" if until is None else "matter_unknown",
                      "An exception says from what, and until when.",
                      "Choose both.", field="until" if until is None else "matter")  # fmt: skip
    rostering.exempt(tx, fields.get("person", ""), Matter(matter),
                     reason=fields.get("reason", ""), until=until, person=person,
                     actor=person.id)  # fmt: skip


def _name_deputy(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    until = _end_of_day(fields, "until", zone)
    if until is None:
        raise Refusal("until_missing", "A deputy stands in until a day that is said.",
                      "Choose the last day.", field="until")  # fmt: skip
    rostering.delegate(tx, fields.get("person", ""), Office.DEPUTY, reason=fields.get("reason", ""),
                       until=until, person=person, actor=person.id)  # fmt: skip


def _end_deputy(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    rostering.end_delegation(tx, fields.get("person", ""), Office.DEPUTY, person=person,
                             actor=person.id)  # fmt: skip


def _end_fallback(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    rostering.end_fallback(tx, fields.get("person", ""), person=person, actor=person.id)


def _end_guideline(tx: Tx, fields: Mapping[str, str], person: Person, zone: ZoneInfo) -> None:
    rostering.end_guideline(tx, fields.get("guideline", ""), person=person, actor=person.id)


_ORDERS: dict[str, Callable[[Tx, Mapping[str, str], Person, ZoneInfo], None]] = {
    "grant": _grant,
    "take back": _take_back,
    "train": _train,
    "except": _except,
    "name deputy": _name_deputy,
    "end deputy": _end_deputy,
    "end fallback": _end_fallback,
    "end guideline": _end_guideline,
}


def _contents(fields: Mapping[str, str]) -> list[Content]:
    return [content for content in Content if fields.get(content)]


def _day(fields: Mapping[str, str], field: str) -> date | None:
    given = fields.get(field, "").strip()
    try:
        return date.fromisoformat(given) if given else None
    except ValueError:
        raise Refusal("day_invalid", f"{given[:20]} is no day.",
                      "Write it as 2027-01-31.", field=field) from None  # fmt: skip


def _end_of_day(fields: Mapping[str, str], field: str, zone: ZoneInfo) -> datetime | None:
    """The midnight that ends a day, where the department is."""
    day = _day(fields, field)
    if day is None:
        return None
    return datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
