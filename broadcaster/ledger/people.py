"""The roster as kept, enrolment links and sessions. Tokens are kept as hashes alone."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update

from broadcaster import record
from broadcaster.errors import Kind, Refusal
from broadcaster.ledger import authorities, guests, passkeys, roles, schema
from broadcaster.ledger.tx import Tx
from broadcaster.roster import Act, Person, Role

ENROLMENT_LIVES = timedelta(hours=24)
SESSION_IDLE = timedelta(minutes=30)
SESSION_LONGEST = timedelta(hours=12)

#: So much is kept of what a browser says it is.
LONGEST_BROWSER = 200


def add(tx: Tx, name: str, given: Iterable[Role], *, actor: str, practice: bool = False) -> Person:
    """Puts a person on the roster. Raises Refusal on an empty or taken name, or no role."""
    name = " ".join(name.split())
    person = Person(id=str(uuid.uuid4()), name=name, roles=frozenset(given))
    if not name or len(name) > 80:
        raise Refusal("name_invalid", "A person needs a name of 1 to 80 characters.",
                      "Give the name and rank, as in \"Sgt Ortiz\".", field="name")  # fmt: skip
    if not person.roles:
        raise Refusal("role_missing", f"{name} has no role.",
                      f"Give one of: {', '.join(Role)}.", field="role")  # fmt: skip
    if by_name(tx, name) is not None:
        raise Refusal("name_taken", f"{name} is on the roster already.",
                      "Add a first name or a badge number.", kind=Kind.CONFLICT,
                      field="name")  # fmt: skip
    tx.connection.execute(
        insert(schema.people).values(
            id=person.id, name=name, roles=roles.written(person.roles), practice=practice,
            added_at=tx.now,
        )
    )  # fmt: skip
    tx.record(record.Kind.PERSON_ADDED, actor=actor, person_id=person.id,
              roles=sorted(person.roles), practice=practice, private={"name": name})  # fmt: skip
    if practice:
        passkeys.add_practice(tx, person.id, actor=actor)
        if person.may(Act.COMPILE) or Role.STAFF in person.roles:
            authorities.authorize_for_practice(tx, person.id, actor=actor)
    tx.changed("people")
    return person


def get(tx: Tx, person_id: str, *, at: datetime | None = None) -> Person | None:
    """A person as they stand now, or with the roles that they had at a time."""
    return _one(tx, schema.people.c.id == person_id, at)


def by_name(tx: Tx, name: str) -> Person | None:
    return _one(tx, schema.people.c.name == name)


def everybody(tx: Tx) -> list[Person]:
    rows = tx.connection.execute(select(schema.people).order_by(schema.people.c.name))
    changed = roles.every(tx)
    return [_person(tx, row, changed.get(row.id, ())) for row in rows]


def change_roles(tx: Tx, person: Person, given: Collection[Role], *, by: str, actor: str) -> None:
    """Gives somebody other roles from now on; none: takes them off the roster, by name kept."""
    roles.change(tx, person.id, given, by=by)
    if given:
        tx.record(record.Kind.ROLES_CHANGED, actor=actor, person_id=person.id,
                  roles=sorted(given), before=sorted(person.roles), by=by)  # fmt: skip
    else:
        tx.record(record.Kind.PERSON_REMOVED, actor=actor, person_id=person.id,
                  before=sorted(person.roles), by=by)  # fmt: skip
    tx.changed("people", "calls")


def practice_persons(tx: Tx) -> list[Person]:
    """The persons that an exercise made for itself, whom loopback may choose among."""
    rows = tx.connection.execute(
        select(schema.people).where(schema.people.c.practice).order_by(schema.people.c.added_at)
    )
    changed = roles.every(tx)
    found = [_person(tx, row, changed.get(row.id, ())) for row in rows]
    return [person for person in found if person.left is None]


def enrol(tx: Tx, person_id: str, *, actor: str) -> str:
    """A one-time token for a sign-in link. It is told once and kept as a hash."""
    token = secrets.token_urlsafe(24)
    tx.connection.execute(
        insert(schema.enrolments).values(
            token_hash=_hash(token), person_id=person_id, expires_at=tx.now + ENROLMENT_LIVES
        )
    )
    tx.record(record.Kind.ENROLMENT_ISSUED, actor=actor, person_id=person_id)
    return token


def enrolment(tx: Tx, token: str) -> Person | None:
    """Whom a link is for, while it can still be used. Looking uses nothing up."""
    if guest := guests.by_link(tx, token):
        return get(tx, guest.person_id)
    row = tx.connection.execute(
        select(schema.enrolments).where(schema.enrolments.c.token_hash == _hash(token))
    ).first()
    if row is None or row.used_at is not None or row.expires_at <= tx.now:
        return None
    return _still_here(get(tx, row.person_id))


def sign_in_by_link(
    tx: Tx, token: str, *, passkey_id: str | None = None, browser: str = ""
) -> tuple[Person, str]:
    """Uses a link up and opens a session. Raises Refusal where it is used, old or unknown.

    `passkey_id`: the passkey that is made with it, for which whoever gave the link vouches.
    """
    person = enrolment(tx, token)
    if person is None:
        raise Refusal(
            "link_used",
            "This sign-in link has been used, has run out, or never was.",
            "Ask your administrator for a new one: `broadcaster roster add`, or `roster link`.",
            kind=Kind.GONE,
        )
    if guest := guests.by_link(tx, token):
        guests.use_link(tx, guest, token, passkey_id)
    else:
        tx.connection.execute(
            update(schema.enrolments)
            .where(schema.enrolments.c.token_hash == _hash(token))
            .values(used_at=tx.now, passkey_id=passkey_id, token=token)
        )
    return person, sign_in(tx, person, browser)


def sign_in(tx: Tx, person: Person, browser: str = "", *, by_code: bool = False) -> str:
    """Opens a session and returns its token. `browser`: as it names itself. `by_code`: with PIN
    and code, and not with a passkey."""
    token = secrets.token_urlsafe(24)
    tx.connection.execute(
        insert(schema.sessions).values(
            token_hash=_hash(token),
            person_id=person.id,
            signed_in_at=tx.now,
            seen_at=tx.now,
            browser=browser[:LONGEST_BROWSER],
            by_code=by_code,
        )
    )
    tx.record(record.Kind.SIGNED_IN, actor=person.id, by_code=by_code or None)
    return token


def session(tx: Tx, token: str) -> tuple[Person, datetime] | None:
    """Who a session is, and when it was last seen; None once it ended or ran out."""
    table = schema.sessions.c
    row = tx.connection.execute(
        select(schema.sessions).where(table.token_hash == _hash(token))
    ).first()
    if (
        row is None
        or row.ended_at is not None
        or row.seen_at + SESSION_IDLE <= tx.now
        or row.signed_in_at + SESSION_LONGEST <= tx.now
    ):
        return None
    person = _still_here(get(tx, row.person_id))
    return (person, row.seen_at) if person else None


def signed_in_by_code(tx: Tx, token: str) -> bool:
    """Whether a session was begun with PIN and code."""
    table = schema.sessions.c
    found = select(table.by_code).where(table.token_hash == _hash(token))
    return bool(tx.connection.execute(found).scalar())


def seen(tx: Tx, token: str) -> None:
    """Notes that a session is in use."""
    tx.connection.execute(
        update(schema.sessions)
        .where(schema.sessions.c.token_hash == _hash(token))
        .values(seen_at=tx.now)
    )


def sign_out(tx: Tx, token: str) -> None:
    """Ends a session; a second time does nothing."""
    table = schema.sessions.c
    ended = tx.connection.execute(
        update(schema.sessions)
        .where(table.token_hash == _hash(token), table.ended_at.is_(None))
        .values(ended_at=tx.now)
        .returning(table.person_id)
    ).scalar()
    if ended:
        tx.record(record.Kind.SIGNED_OUT, actor=ended)


@dataclass(frozen=True)
class Session:
    """A session of somebody's that holds still."""

    id: str  #: names it, and opens nothing
    signed_in_at: datetime
    seen_at: datetime
    browser: str  #: as it named itself
    by_code: bool  #: begun with PIN and code


def sessions(tx: Tx, person_id: str) -> list[Session]:
    """A person's sessions that hold still, the one last seen first."""
    table = schema.sessions.c
    rows = tx.connection.execute(
        select(schema.sessions)
        .where(table.person_id == person_id, table.ended_at.is_(None),
               table.seen_at > tx.now - SESSION_IDLE, table.signed_in_at > tx.now - SESSION_LONGEST)
        .order_by(table.seen_at.desc())
    )  # fmt: skip
    return [
        Session(row.token_hash, row.signed_in_at, row.seen_at, row.browser, row.by_code)
        for row in rows
    ]


def end_sessions(tx: Tx, person_id: str, *, actor: str, only: str | None = None) -> None:
    """Ends a person's sessions, or `only` the one of that id."""
    table = schema.sessions.c
    chosen = [table.person_id == person_id, table.ended_at.is_(None)]
    ended = tx.connection.execute(
        update(schema.sessions)
        .where(*chosen, *([table.token_hash == only] if only else []))
        .values(ended_at=tx.now)
    ).rowcount
    if ended:
        tx.record(record.Kind.SESSIONS_ENDED, actor=actor, person_id=person_id, count=ended)
        tx.changed("people")


def session_id(token: str) -> str:
    """What names a session in a list, and opens nothing."""
    return _hash(token)


def end_links(tx: Tx, person_id: str) -> None:
    """Lets no link that was given for a person be used any more."""
    table = schema.enrolments.c
    tx.connection.execute(
        update(schema.enrolments)
        .where(table.person_id == person_id, table.used_at.is_(None))
        .values(used_at=tx.now)
    )


def _still_here(person: Person | None) -> Person | None:
    """Nobody, where they were taken off the roster."""
    return person if person and person.left is None else None


def _one(tx: Tx, condition: object, at: datetime | None = None) -> Person | None:
    row = tx.connection.execute(select(schema.people).where(condition)).first()  # type: ignore[arg-type]
    return _person(tx, row, roles.changes(tx, row.id), at) if row else None


def _person(
    tx: Tx, row: Row[Any], changes: Sequence[roles.Change], at: datetime | None = None
) -> Person:
    changed = roles.last(changes, at)
    if changed and not changed.roles:
        return Person(id=row.id, name=row.name, roles=frozenset(), left=changed.at)
    held = changed.roles if changed else roles.read(row.roles)
    guest = None if held else guests.of(tx, row.id)
    return Person(
        id=row.id, name=row.name, roles=held,
        guest_of=guest.incident_id if guest and guest.holds(tx.now) else None,
    )  # fmt: skip


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
