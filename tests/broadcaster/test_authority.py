"""Who may post, and what lapsed training stops (389.3, 389.8)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from broadcaster.authority import (
    Authority,
    Content,
    Exemption,
    Matter,
    Standing,
    Subject,
    Training,
    content_of,
    objection,
    own_exemption,
)
from broadcaster.errors import Kind
from broadcaster.roster import Person, Role
from broadcaster.update import UpdateKind
from tests.story import NOW

PIO = Person(id="1", name="A. Reyes", roles=frozenset({Role.PIO}))
DAY = timedelta(days=1)


def granted(
    content: Content, until: datetime | None = None, revoked_at: datetime | None = None
) -> Authority:
    return Authority(id="a", person_id="1", content=content, until=until, granted_by="chief",
                     granted_at=NOW - DAY, revoked_at=revoked_at)  # fmt: skip


def trained(*but: Subject, expires_at: datetime = NOW + DAY) -> tuple[Training, ...]:
    return tuple(
        Training(subject=subject, given_at=NOW - DAY, expires_at=expires_at)
        for subject in Subject
        if subject not in but
    )


def code(held: Standing, content: Content) -> str | None:
    refusal = objection(PIO, held, content, NOW)
    return refusal.code if refusal else None


@pytest.mark.parametrize("content", Content)
@pytest.mark.parametrize("asked", Content)
def test_authority_is_for_one_content(content: Content, asked: Content) -> None:
    held = Standing(authorities=(granted(content),), trainings=trained())
    assert code(held, asked) == (None if content is asked else "authority_missing")


@pytest.mark.parametrize(
    ("until", "revoked_at", "said"),
    [
        (None, None, None),
        (NOW + DAY, None, None),
        (NOW, None, "ended 2026-11-22 22:00 UTC"),
        (None, NOW, "was revoked 2026-11-22 22:00 UTC"),
    ],
)
def test_authority_ends_with_its_time_or_when_it_is_revoked(
    until: datetime | None, revoked_at: datetime | None, said: str | None
) -> None:
    held = Standing(
        authorities=(granted(Content.INCIDENT, until, revoked_at),), trainings=trained()
    )
    refusal = objection(PIO, held, Content.INCIDENT, NOW)
    if said is None:
        assert refusal is None
        return
    assert refusal is not None and (refusal.code, refusal.kind) == (
        "authority_ended",
        Kind.FORBIDDEN,
    )
    assert refusal.why == f"A. Reyes's authority to post incident content {said} (389.3)."
    assert refusal.do.startswith("Ask the Chief of Police or designee for it")


def test_a_clock_that_steps_back_neither_takes_authority_nor_gives_it_back() -> None:
    assert granted(Content.INCIDENT).holds(NOW - 2 * DAY)
    assert not granted(Content.INCIDENT, revoked_at=NOW).holds(NOW - DAY)


def test_the_authority_that_lasts_longest_counts() -> None:
    short, long = granted(Content.INCIDENT, NOW + DAY), granted(Content.INCIDENT, NOW + 9 * DAY)
    assert Standing(authorities=(short, long)).authority(Content.INCIDENT, NOW) is long
    endless = granted(Content.INCIDENT)
    held = Standing(authorities=(long, endless, short))
    assert held.authority(Content.INCIDENT, NOW) is endless


@pytest.mark.parametrize("subject", Subject)
def test_lapsed_training_stops_routine_posts_and_no_others(subject: Subject) -> None:
    held = Standing(
        authorities=(granted(Content.INCIDENT), granted(Content.ROUTINE)),
        trainings=trained(subject),
    )
    assert held.lapsed(NOW) == (subject,)
    refusal = objection(PIO, held, Content.ROUTINE, NOW)
    assert refusal is not None and refusal.code == "training_lapsed"
    assert str(subject) in refusal.why and "389.8" in refusal.why
    assert code(held, Content.INCIDENT) is None


def test_training_lapses_at_its_end_and_counts_again_once_renewed() -> None:
    old = trained(expires_at=NOW)
    assert Standing(trainings=old).lapsed(NOW) == tuple(Subject)
    assert Standing(trainings=old + trained()).lapsed(NOW) == ()
    newest = Standing(trainings=old + trained()).training(Subject.PRIVACY)
    assert newest is not None and newest.expires_at == NOW + DAY
    assert Standing().training(Subject.PRIVACY) is None


@pytest.mark.parametrize(
    ("kind", "incident_open", "content"),
    [
        (UpdateKind.UPDATE, True, Content.INCIDENT),
        (UpdateKind.UPDATE, False, Content.ROUTINE),
        (UpdateKind.CORRECTION, False, Content.INCIDENT),
        (UpdateKind.RETRACTION, False, Content.INCIDENT),
        (UpdateKind.ALL_CLEAR, False, Content.INCIDENT),
    ],
)
def test_what_mends_or_ends_an_incident_belongs_to_it(
    kind: UpdateKind, incident_open: bool, content: Content
) -> None:
    assert content_of(kind, incident_open=incident_open) is content


def test_an_exemption_has_an_end_and_is_nobodys_own() -> None:
    given = Exemption(matter=Matter.EQUIPMENT, reason="phone broke", until=NOW + DAY,
                      granted_by="2", granted_at=NOW)  # fmt: skip
    held = Standing(exemptions=(given,))
    assert held.exempt(NOW) == (given,) and held.exempt(NOW + DAY) == ()
    refusal = own_exemption(PIO, PIO)
    assert refusal is not None and refusal.code == "own_exemption"
    assert own_exemption(PIO, PIO.model_copy(update={"id": "2"})) is None
