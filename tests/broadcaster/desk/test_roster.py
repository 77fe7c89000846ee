"""The people's page: authority, training and exceptions, without JavaScript (389.3, 389.8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestClient

from broadcaster import explain, rostering
from broadcaster.authority import Content, Office, Standing, Subject
from broadcaster.ledger import Ledger, Tx, authorities, people
from broadcaster.roster import Person, Role
from tests.broadcaster.desk import scene

ALL = {subject.name.lower(): "yes" for subject in Subject}


@pytest.fixture
async def chief(client: TestClient, ledger: Ledger) -> Person:
    """The Chief, signed in at `client`."""
    made = await ledger.write(
        lambda tx: people.add(tx, "Chief Low", [Role.CHIEF], actor="test", practice=True)
    )
    await scene.sign_in(client, made)
    return made


@pytest.fixture
async def new(ledger: Ledger) -> Person:
    """A member whom nobody has authorized."""
    return await ledger.write(lambda tx: people.add(tx, "B. New", [Role.PIO], actor="test"))


async def held(ledger: Ledger, person: Person) -> Standing:
    return await ledger.read(lambda tx: authorities.standing(tx, person.id))


async def sent(client: TestClient, **fields: str) -> tuple[int, str]:
    answer = await client.post("/people", data=fields, headers=scene.SAME_ORIGIN | scene.PAGE,
                               allow_redirects=False)  # fmt: skip
    return answer.status, await answer.text()


async def shown(client: TestClient) -> str:
    return await (await client.get("/people", headers=scene.PAGE)).text()


async def test_the_chief_authorizes_and_takes_back(
    client: TestClient, ledger: Ledger, chief: Person, new: Person, clock: scene.HeldClock
) -> None:
    assert "Not authorized to post incident content (389.3)" in await shown(client)
    tomorrow = f"{clock.at + timedelta(days=1):%Y-%m-%d}"
    status, _ = await sent(client, do="grant", person=new.id, incident="yes", until=tomorrow)
    assert status == 303
    given = (await held(ledger, new)).authority(Content.INCIDENT, clock.at)
    assert given is not None and given.granted_by == chief.id and given.until is not None
    ends = given.until.astimezone(scene.ZONE)
    assert f"{ends - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}" == f"{tomorrow} 23:59:59"
    page = await shown(client)
    assert "by the word of Chief Low (389.3)" in page
    status, _ = await sent(client, do="take back", person=new.id)
    assert status == 303
    assert (await held(ledger, new)).authority(Content.INCIDENT, clock.at) is None
    assert "May no longer post incident content: revoked" in await shown(client)


async def test_the_chief_records_training(
    client: TestClient, ledger: Ledger, chief: Person, new: Person, clock: scene.HeldClock
) -> None:
    assert "Training has lapsed or is not recorded: legal issues, privacy" in await shown(client)
    day = f"{clock.at - timedelta(days=2):%Y-%m-%d}"
    status, _ = await sent(client, do="train", person=new.id, given=day, privacy="yes")
    assert status == 303
    assert Subject.PRIVACY not in (await held(ledger, new)).lapsed(clock.at)
    assert "Trained: privacy" in await shown(client)
    status, _ = await sent(client, do="train", person=new.id, **ALL)
    assert status == 303 and (await held(ledger, new)).lapsed(clock.at) == ()
    page = await shown(client)
    assert "Training has lapsed" not in page and "privacy lapses next" not in page


async def test_a_supervisor_excepts_and_does_not_authorize(
    client: TestClient, ledger: Ledger, persons: scene.Persons, new: Person, clock: scene.HeldClock
) -> None:
    await scene.sign_in(client, persons.supervisor)
    page = await shown(client)
    assert 'value="except"' in page and 'value="grant"' not in page and 'value="train"' not in page
    status, page = await sent(client, do="grant", person=new.id, incident="yes")
    assert status == 403 and "Ask the Chief of Police or designee." in page
    tomorrow = f"{clock.at + timedelta(days=1):%Y-%m-%d}"
    about = {"do": "except", "person": new.id, "matter": "equipment", "until": tomorrow}
    status, page = await sent(client, **about)
    assert status == 422 and "An exception has a reason" in page
    status, _ = await sent(client, **about, reason="Duty phone broke")
    assert status == 303
    (given,) = (await held(ledger, new)).exempt(clock.at)
    assert (given.reason, given.granted_by) == ("Duty phone broke", persons.supervisor.id)
    assert "Excepted from equipment until" in await shown(client)


async def test_the_watch_commander_names_a_deputy_and_ends_it(
    client: TestClient, ledger: Ledger, clock: scene.HeldClock
) -> None:
    watch, bell = [
        await ledger.write(
            lambda tx, n=name, r=role: people.add(tx, n, [r], actor="test", practice=True)
        )
        for name, role in (("Lt Kim", Role.WATCH_COMMANDER), ("Sgt Bell", Role.COMMANDER))
    ]
    await scene.sign_in(client, watch)
    about = {"do": "name deputy", "person": bell.id, "reason": "In court"}
    status, page = await sent(client, **about)
    assert status == 422 and "A deputy stands in until a day that is said." in page
    status, _ = await sent(client, **about, until=f"{clock.at + timedelta(days=1):%Y-%m-%d}")
    assert status == 303
    given = (await held(ledger, bell)).office(Office.DEPUTY, clock.at)
    assert given is not None and given.granted_by == watch.id
    page = await shown(client)
    assert "Deputy of the Watch Commander until" in page and "by Lt Kim: In court" in page
    status, _ = await sent(client, do="end deputy", person=bell.id)
    assert status == 303 and (await held(ledger, bell)).office(Office.DEPUTY, clock.at) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"do": "dance"}, "It is not said what is to be done."),
        ({"do": "grant"}, "It is not said what they may post."),
        ({"do": "grant", "incident": "yes", "until": "soon"}, "soon is no day."),
        ({"do": "grant", "incident": "yes", "until": "2020-01-01"}, "The end lies in the past."),
        ({"do": "train"}, "It is not said what they were trained in."),
    ],
)
async def test_what_cannot_be_meant_is_refused_in_words(
    client: TestClient, chief: Person, new: Person, fields: dict[str, str], said: str
) -> None:
    status, page = await sent(client, person=new.id, **fields)
    assert status == 422 and said in page


async def test_who_may_nothing_sees_no_form(
    another_client: Callable[[], TestClient], persons: scene.Persons, new: Person
) -> None:
    reader = another_client()
    await scene.sign_in(reader, persons.records)
    page = await shown(reader)
    assert 'name="do"' not in page and "Not authorized to post incident content" in page


async def test_who_left_and_whose_roles_changed_stand_there(
    client: TestClient, ledger: Ledger, chief: Person, persons: scene.Persons,
    another_client: Callable[[], TestClient],
) -> None:  # fmt: skip
    theirs = another_client()
    await scene.sign_in(theirs, persons.supervisor)
    assert (await theirs.get("/people", headers=scene.PAGE)).status == 200

    def order(tx: Tx) -> None:
        rostering.remove(tx, persons.supervisor.id, person=chief, actor="operator")
        rostering.change_roles(
            tx, persons.commander.id, [Role.RECORDS], person=chief, actor="operator"
        )

    await ledger.write(order)
    page = await shown(client)
    assert "Off the roster" in page and "Sgt Cole" in page.split("Off the roster")[1]
    assert "Sgt Cole" not in page.split("Off the roster")[0]
    assert re.search(r"Custodian of Records <span class=\"quiet\">since .*by the word of Chief Low",
                     page)  # fmt: skip
    answer = await theirs.get("/people", headers=scene.PAGE, allow_redirects=False)
    assert answer.status == 303 and answer.headers["Location"].startswith("/sign-in")
    with pytest.raises(AssertionError):
        await scene.sign_in(theirs, persons.supervisor)
    listed = await ledger.read(explain.roster)
    left = next(each for each in listed if each["name"] == "Sgt Cole")
    assert left["left"] and left["roles"] == [] and not left["could_approve"]
    assert left["role_changes"][-1]["by"] == "Chief Low"
