"""What is ordered about the roster, each one ledger transaction (389.3, 389.8).

`person` is whose order it is, and must be somebody who may; `actor` is who brought it to the
ledger: the person at their desk, or the operator at the command line, in their name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from broadcaster.authority import Content, Matter, Office, Subject, own_exemption
from broadcaster.errors import Kind, Refusal
from broadcaster.fallback import Allowance, require_sound
from broadcaster.guideline import Guideline
from broadcaster.handover import leave
from broadcaster.incident import Topic
from broadcaster.ledger import (
    Tx,
    approvals,
    authorities,
    calls,
    fallbacks,
    guests,
    guidelines,
    passkeys,
    people,
    voices,
)
from broadcaster.roster import Act, Person, Role, may_command, require
from broadcaster.update import clean

#: Training is given again within this time, where nobody says otherwise.
TRAINING_LASTS = timedelta(days=365)

#: A supervisor's exemption is for a shift or an emergency, not for good.
LONGEST_EXEMPTION = timedelta(days=7)

#: A deputy or duty chief is named for a shift, an absence or a week, not for good.
LONGEST_DELEGATION = timedelta(days=7)

#: PIN and code are for as long as it takes to get a device that knows passkeys.
LONGEST_FALLBACK = timedelta(days=30)

#: The most that a reason may hold.
LONGEST_REASON = 500

#: The most that a guideline's own text may hold.
LONGEST_GUIDELINE = 4000


@dataclass(frozen=True)
class Gone:
    """What somebody leaves behind who may no longer do what they did."""

    commanded: tuple[str, ...]  #: the numbers of the incidents that they commanded
    approved: tuple[str, ...]  #: devices of others that must be approved again, in words


def change_roles(
    tx: Tx, person_id: str, roles: Collection[Role], *, person: Person, actor: str
) -> Gone:
    """The Chief gives a member other roles in place of those that they have; one who was taken off
    the roster is put back by it, and needs a new link. Raises Refusal.

    What they may no longer have ends: command, an office, codes for approving aloud, PIN and code.
    """
    known = _to_change(tx, person_id, person)
    if known.outside:
        raise Refusal("from_outside", f"{known.name} is from outside the department.",
                      "Put them on the roster (`broadcaster roster add`).", kind=Kind.CONFLICT,
                      field="person")  # fmt: skip
    if not roles:
        raise Refusal("role_missing", f"{known.name} would have no role.",
                      "Give at least one, or take them off the roster.", field="role")  # fmt: skip
    if known.roles == frozenset(roles):
        raise Refusal("roles_already", f"{known.name} is {known.title} already.",
                      "Look at the roster for who is what.", kind=Kind.CONFLICT,
                      field="role")  # fmt: skip
    return _changed(tx, known, roles, person, actor)


def remove(tx: Tx, person_id: str, *, person: Person, actor: str) -> Gone:
    """The Chief takes somebody off the roster: their name stays on the record, and everything else
    of theirs ends at once. Raises Refusal.
    """
    known = _to_change(tx, person_id, person)
    if known.left is not None:
        raise _is_off(known)
    gone = _changed(tx, known, (), person, actor)
    for held in authorities.standing(tx, known.id).authorities:
        if held.holds(tx.now):
            authorities.revoke(tx, held, revoked_by=person.id, actor=actor)
    for reach in calls.reaches_of(tx, known.id):
        calls.end_reach(tx, reach.id, actor=actor)
    guest = guests.of(tx, known.id)
    if guest and not guest.ended:
        guests.end(tx, guest, actor=person.id)
    people.end_links(tx, known.id)
    people.end_sessions(tx, known.id, actor=actor)
    return gone


def _to_change(tx: Tx, person_id: str, person: Person) -> Person:
    """Whose roles the Chief changes. Raises Refusal."""
    require(person, Act.KEEP_ROSTER)
    known = _listed(tx, person_id)
    if known.id == person.id:
        raise Refusal("own_roles", "Nobody changes what they are themselves.",
                      "Ask another designee; `broadcaster roster add` makes one.",
                      kind=Kind.FORBIDDEN)  # fmt: skip
    return known


def _changed(tx: Tx, known: Person, roles: Collection[Role], person: Person, actor: str) -> Gone:
    """Changes somebody's roles, and ends what they may no longer have."""
    people.change_roles(tx, known, roles, by=person.id, actor=actor)
    now, commanded = people.get(tx, known.id), list[str]()
    assert now is not None, "nobody is ever struck out"
    if not may_command(now):
        commanded = leave(tx, now.id, by=person.id)
        voices.end(tx, now.id, "left", actor=actor)
        for held in authorities.standing(tx, now.id).delegations:
            if held.holds(tx.now):
                authorities.end_delegation(tx, held, ended_by=person.id, actor=actor)
    allowed = fallbacks.standing(tx, now.id)
    if allowed and not (now.may(Act.DECIDE) or now.may(Act.APPROVE_NOTICE)):
        fallbacks.end(tx, allowed, ended_by=person.id, actor=actor)
    for waiting in approvals.open_requests(tx):
        approvals.look_again(tx, waiting.request)
    unvouched: Sequence[str] = ()
    if known.may(Act.APPROVE_DEVICE) and not now.may(Act.APPROVE_DEVICE):
        unvouched = [
            f"{device.name} of {owner.name}"
            for owner in people.everybody(tx) if owner.left is None
            for device in passkeys.of_person(tx, owner.id)
            if device.usable and device.voucher and device.voucher.person_id == known.id
        ]  # fmt: skip
    return Gone(tuple(commanded), tuple(unvouched))


def grant(
    tx: Tx, person_id: str, contents: Sequence[Content], *, until: datetime | None,
    person: Person, actor: str,
) -> None:  # fmt: skip
    """The Chief authorizes a member to post (389.3). Raises Refusal."""
    require(person, Act.GRANT_AUTHORITY)
    known = _known(tx, person_id)
    if not contents:
        raise Refusal("content_missing", "It is not said what they may post.",
                      f"Give at least one of: {', '.join(Content)}.", field="content")  # fmt: skip
    _after_now(tx, until)
    for content in dict.fromkeys(contents):
        authorities.grant(tx, known.id, content, until=until, granted_by=person.id, actor=actor)


def revoke(
    tx: Tx, person_id: str, contents: Sequence[Content], *, person: Person, actor: str
) -> None:
    """The Chief takes authority back; nothing they have submitted is undone by it.

    Raises Refusal where none of it holds.
    """
    require(person, Act.GRANT_AUTHORITY)
    known = _known(tx, person_id)
    held = [
        each
        for each in authorities.standing(tx, known.id).authorities
        if each.holds(tx.now) and (not contents or each.content in contents)
    ]
    if not held:
        raise Refusal("no_authority", f"{known.name} has no such authority.",
                      "Look at the roster for what they have.", kind=Kind.CONFLICT,
                      field="content")  # fmt: skip
    for each in held:
        authorities.revoke(tx, each, revoked_by=person.id, actor=actor)


def train(
    tx: Tx, person_id: str, subjects: Sequence[Subject], *, given_at: datetime | None,
    expires_at: datetime | None, person: Person, actor: str,
) -> None:  # fmt: skip
    """Records that a member was trained (389.8). Raises Refusal."""
    require(person, Act.RECORD_TRAINING)
    known = _known(tx, person_id)
    if not subjects:
        raise Refusal("subject_missing", "It is not said what they were trained in.",
                      f"Give at least one of: {', '.join(Subject)}.", field="subject")  # fmt: skip
    given = given_at or tx.now
    expires = expires_at or given + TRAINING_LASTS
    if given > tx.now or expires <= given:
        raise Refusal(
            "training_dates_invalid", "Training was given in the past, and expires after that.",
            "Give the day it was given, and the day until which it counts.", field="expires",
        )  # fmt: skip
    authorities.train(tx, known.id, dict.fromkeys(subjects), given_at=given, expires_at=expires,
                      recorded_by=person.id, actor=actor)  # fmt: skip


def exempt(
    tx: Tx, person_id: str, matter: Matter, *, reason: str, until: datetime, person: Person,
    actor: str,
) -> None:  # fmt: skip
    """A supervisor excepts a member from approved equipment or duty hours (389.3).

    Raises Refusal.
    """
    require(person, Act.EXCEPT)
    known = _known(tx, person_id)
    if refusal := own_exemption(known, person):
        raise refusal
    why = _reason(reason, "An exception has a reason")
    _within(tx, until, LONGEST_EXEMPTION, "An exception ends within", "it can be made again")
    authorities.exempt(tx, known.id, matter, reason=why, until=until, granted_by=person.id,
                       actor=actor)  # fmt: skip


def delegate(
    tx: Tx, person_id: str, office: Office, *, reason: str, until: datetime, person: Person,
    actor: str,
) -> None:  # fmt: skip
    """The Watch Commander names a deputy, or the Chief the duty chief: a Commander, for a time;
    notify looks again whom to call. Raises Refusal.
    """
    require(person, office.act)
    known = _known(tx, person_id)
    if known.id == person.id or not may_command(known):
        raise Refusal(f"cannot_be_{office.name.lower()}",
                      f"A {office} is another person who may command.",
                      "Choose a Commander on the roster.", field="person")  # fmt: skip
    if authorities.standing(tx, known.id).office(office, tx.now):
        raise Refusal(f"{office.name.lower()}_already", f"{known.name} is a {office} already.",
                      "End that first to change its end or reason.", kind=Kind.CONFLICT,
                      field="person")  # fmt: skip
    why = _reason(reason, f"A {office} is named for a reason")
    _within(tx, until, LONGEST_DELEGATION, f"A {office} is named for at most",
            "they can be named again")  # fmt: skip
    authorities.delegate(tx, known.id, office, reason=why, until=until, granted_by=person.id,
                         actor=actor)  # fmt: skip
    for waiting in approvals.open_requests(tx):
        approvals.look_again(tx, waiting.request)


def end_delegation(tx: Tx, person_id: str, office: Office, *, person: Person, actor: str) -> None:
    """Whoever may name one ends it early; command that was taken stays. Raises Refusal."""
    require(person, office.act)
    known = _known(tx, person_id)
    held = authorities.standing(tx, known.id).office(office, tx.now)
    if held is None:
        raise Refusal(f"no_{office.name.lower()}", f"{known.name} is no {office}.",
                      "Look at the roster for who is.", kind=Kind.CONFLICT,
                      field="person")  # fmt: skip
    authorities.end_delegation(tx, held, ended_by=person.id, actor=actor)


def allow_fallback(
    tx: Tx, person_id: str, *, pin: str, reason: str, until: datetime, person: Person, actor: str
) -> Allowance:
    """The Chief lets somebody who decides do so with PIN and code instead of a passkey; what they
    had of it before is over. Raises Refusal.
    """
    require(person, Act.ALLOW_FALLBACK)
    known = _known(tx, person_id)
    if not (known.may(Act.DECIDE) or known.may(Act.APPROVE_NOTICE)):
        raise Refusal("cannot_decide", f"{known.name} ({known.title}) decides nothing.",
                      "Choose a Commander, or change their role first.",
                      field="person")  # fmt: skip
    if known.id == person.id:
        raise Refusal("own_fallback", "Nobody allows it to themselves.", "Ask another designee.",
                      kind=Kind.FORBIDDEN)  # fmt: skip
    why = _reason(reason, "PIN and code are allowed for a reason")
    _within(tx, until, LONGEST_FALLBACK, "PIN and code are for at most", "it can be allowed again")
    require_sound(pin)
    if held := fallbacks.standing(tx, known.id):
        fallbacks.end(tx, held, ended_by=person.id, actor=actor)
    return fallbacks.allow(tx, known.id, pin=pin, reason=why, until=until, granted_by=person.id,
                           actor=actor)  # fmt: skip


def end_fallback(tx: Tx, person_id: str, *, person: Person, actor: str) -> None:
    """The Chief or a supervisor ends it early. Raises Refusal."""
    if not person.may(Act.APPROVE_DEVICE):
        require(person, Act.ALLOW_FALLBACK)
    known = _known(tx, person_id)
    held = fallbacks.standing(tx, known.id)
    if held is None:
        raise Refusal("no_fallback", f"{known.name} may not use PIN and code.", "Reload the page.",
                      kind=Kind.CONFLICT, field="person")  # fmt: skip
    fallbacks.end(tx, held, ended_by=person.id, actor=actor)


def keep_guideline(
    tx: Tx, topic: Topic, *, members: Sequence[str], roles: Sequence[Role],
    channels: Sequence[str], until: datetime, text: str, person: Person, actor: str,
) -> Guideline:  # fmt: skip
    """The Chief writes a guideline: what goes out on its word, from whom, where (389.3).

    Raises Refusal.
    """
    require(person, Act.KEEP_GUIDELINES)
    _after_now(tx, until)
    written = clean(text, "text")
    if not written or len(written) > LONGEST_GUIDELINE:
        raise Refusal("text_missing", f"A guideline is written, in 1 to {LONGEST_GUIDELINE:,} "
                      "characters.", "Write what may be posted.", field="text")  # fmt: skip
    if not members and not roles:
        raise Refusal("member_missing", "It is not said whom the guideline is for.",
                      "Name members or roles.", field="member")  # fmt: skip
    if not channels:
        raise Refusal("channel_missing", "It is not said on which channels.",
                      "Name at least one.", field="channel")  # fmt: skip
    named = [_known(tx, each).id for each in members]
    return guidelines.grant(tx, topic, members=named, roles=roles, channels=channels, until=until,
                            text=written, granted_by=person.id, actor=actor)  # fmt: skip


def end_guideline(tx: Tx, guideline_id: str, *, person: Person, actor: str) -> None:
    """The Chief ends a guideline; what went out by it stays. Raises Refusal."""
    require(person, Act.KEEP_GUIDELINES)
    held = guidelines.get(tx, guideline_id)
    if held is None or not held.holds(tx.now):
        raise Refusal("no_such_guideline", "No such guideline holds.",
                      "Look at the list for what stands now.", kind=Kind.CONFLICT,
                      field="guideline")  # fmt: skip
    guidelines.end(tx, held, ended_by=person.id, actor=actor)


def _reason(text: str, what: str) -> str:
    """Why something is done. Raises Refusal where that is not said; `what` begins its sentence."""
    said = clean(text, "reason")
    if not said or len(said) > LONGEST_REASON:
        raise Refusal("reason_missing", f"{what} of 1 to {LONGEST_REASON} characters.",
                      "Write why it is needed.", field="reason")  # fmt: skip
    return said


def _known(tx: Tx, person_id: str) -> Person:
    """Somebody on the roster. Raises Refusal."""
    known = _listed(tx, person_id)
    if known.left is not None:
        raise _is_off(known)
    return known


def _is_off(person: Person) -> Refusal:
    return Refusal(
        "not_on_the_roster", f"{person.name} was taken off the roster.",
        "`broadcaster roster role` puts somebody back.", kind=Kind.CONFLICT, field="person",
    )  # fmt: skip


def _listed(tx: Tx, person_id: str) -> Person:
    """Somebody who is, or was, on the roster. Raises Refusal."""
    known = people.get(tx, person_id)
    if known is None:
        raise Refusal("no_such_person", "That person is not on the roster.",
                      "Choose one of those listed.", kind=Kind.NOT_FOUND,
                      field="person")  # fmt: skip
    return known


def _within(tx: Tx, until: datetime, longest: timedelta, what: str, again: str) -> None:
    """Raises Refusal unless something ends after now, and soon enough; `what` begins its
    sentence."""
    _after_now(tx, until)
    if until > tx.now + longest:
        raise Refusal("until_too_far", f"{what} {longest.days} days.",
                      f"Choose an earlier end; {again}.", field="until")  # fmt: skip


def _after_now(tx: Tx, until: datetime | None) -> None:
    if until is not None and until <= tx.now:
        raise Refusal("until_past", "The end lies in the past.", "Choose a later one.",
                      field="until")  # fmt: skip
