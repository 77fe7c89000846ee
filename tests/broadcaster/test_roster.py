"""Who may do what."""

from __future__ import annotations

import pytest

from broadcaster.errors import Kind, Refusal
from broadcaster.roster import MAY, Act, Person, Role, may_command, require

#: Act by role, as 389.3 and 389.4.1 have it: pio, commander, watch-commander, supervisor, Chief
#: ("h") and records.
LETTER = {role: role.value[0] for role in Role} | {Role.CHIEF: "h", Role.STAFF: "t"}
TABLE = {
    Act.READ: "pcwshtr",
    Act.ENTER_REPORT: "pcws---",
    Act.CLOSE_INCIDENT: "pcw----",
    Act.COMPILE: "p------",
    Act.WRITE_NOTICE: "pcwsht-",
    Act.RECORD_COMMAND: "p-w----",
    Act.TRANSFER_COMMAND: "--w----",
    Act.NAME_DEPUTY: "--w----",
    Act.NAME_DUTY_CHIEF: "----h--",
    Act.DECIDE: "-cw----",
    Act.APPROVE_NOTICE: "--ws---",
    Act.STOP: "pcws---",
    Act.TAKE_BACK: "pcws---",
    Act.KEEP_CHANNELS: "----h--",
    Act.ALLOW_REPLIES: "----h--",
    Act.SETTLE_POST: "p-ws---",
    Act.RUN_CHANNEL: "p-ws---",
    Act.SETTLE_PROBLEM: "p-ws---",
    Act.APPROVE_DEVICE: "--ws---",
    Act.GRANT_AUTHORITY: "----h--",
    Act.KEEP_GUIDELINES: "----h--",
    Act.RECORD_TRAINING: "----h--",
    Act.KEEP_ROSTER: "----h--",
    Act.ALLOW_FALLBACK: "----h--",
    Act.EXCEPT: "--ws---",
    Act.REQUEST_POST: "pcwsht-",
    Act.SETTLE_REQUEST: "--ws---",
    Act.READ_RECORD: "pcwshtr",
}


def holding(*roles: Role) -> Person:
    return Person(id="1", name="R. Vega", roles=frozenset(roles))


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("role", Role)
def test_what_each_role_may(act: Act, role: Role) -> None:
    person = holding(role)
    if LETTER[role] in TABLE[act]:
        require(person, act)
        assert person.may(act)
        return
    assert not person.may(act)
    with pytest.raises(Refusal) as refused:
        require(person, act)
    assert (refused.value.code, refused.value.kind) == ("not_your_act", Kind.FORBIDDEN)
    assert f"R. Vega ({role.in_words}) may not {act}." == refused.value.why
    assert refused.value.do.startswith("Ask the ")


def test_the_table_is_whole() -> None:
    assert TABLE.keys() == MAY.keys() == set(Act)


def test_no_single_role_both_compiles_and_decides() -> None:
    assert not MAY[Act.COMPILE] & MAY[Act.DECIDE]


def test_somebody_without_a_role_may_nothing() -> None:
    assert not any(holding().may(act) for act in Act)


def test_two_roles_may_what_each_may() -> None:
    both = holding(Role.RECORDS, Role.PIO)
    assert both.may(Act.COMPILE) and both.may(Act.READ_RECORD) and not both.may(Act.DECIDE)
    assert both.title == "Public Information Officer, Custodian of Records"


def test_who_can_command() -> None:
    able = {role for role in Role if may_command(holding(role))}
    assert able == {Role.COMMANDER, Role.WATCH_COMMANDER}
