"""The composer's form: what it begins with, what it keeps, and the order that it becomes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from broadcaster.channel import AnyChannel
from broadcaster.desk import composer
from broadcaster.desk.approval import hunks, said_once, unverified
from broadcaster.desk.changes import words as changed_words
from broadcaster.errors import Refusal
from broadcaster.incident import Incident, Report, fold
from broadcaster.ledger import Ledger, approvals, incidents
from broadcaster.orders import Submitted
from broadcaster.update import SLOT, Origin, UpdateKind, compose
from tests.broadcaster.desk import scene

NOW = scene.a_time()
CHANNELS: tuple[AnyChannel, ...] = scene.CHANNELS


def incident_at(place: str | None = "66100 block of Pierson Blvd") -> Incident:
    report = Report(
        source="dhs-cad", message_id="m", number="1", type="GASLEAKO", place=place,
        opened_at=NOW - timedelta(minutes=4), reported_at=NOW,
    )  # fmt: skip
    return fold(None, report, world="exercise", now=NOW)


def suggested(incident: Incident | None = None) -> composer.Typed:
    return composer.suggested(
        incident or incident_at(), CHANNELS, department=scene.DEPARTMENT, zone=scene.ZONE, now=NOW
    )


def form_of(typed: composer.Typed, **changed: str) -> MultiDict[object]:
    """The fields that a browser sends of a form that shows `typed`."""
    form: MultiDict[object] = MultiDict({
        "kind": str(typed.kind), "corrects": typed.corrects, "update_id": typed.update_id,
        "hours": str(typed.hours), "composed": compose(typed.words),
        "text": typed.text or compose(typed.words),
    })  # fmt: skip
    for name, phrase in typed.phrases.items():
        form[name], form[f"was_{name}"] = phrase.text, phrase.was
        form[f"origin_{name}"] = str(phrase.origin)
        if phrase.verified:
            form[f"verified_{name}"] = "on"
    for fact, value in typed.seen.items():
        form[f"seen_{fact}"] = value or ""
    for channel in typed.channels:
        form.add("channels", channel)
    for release in typed.replaces:
        form.add("replaces", release)
    for channel, text in typed.own_texts.items():
        form[f"text_{channel}"] = text
    for rule, reason in typed.reasons.items():
        form[f"reason_{rule}"] = reason
    if typed.attested:
        form["attested"] = "on"
    for name, value in changed.items():
        form[name] = value
    return form


def test_a_form_that_nobody_touched_is_what_it_showed() -> None:
    typed = suggested()
    assert composer.read(form_of(typed), CHANNELS) == typed


def test_what_was_typed_over_is_nobody_elses_and_not_verified() -> None:
    read = composer.read(form_of(suggested(), place="Pierson Blvd, Cactus to Palm"), CHANNELS)
    place = read.words.place
    assert (place.origin, place.verified) == (Origin.TYPED, False)
    assert read.words.hazard.origin is Origin.TEMPLATE
    # It was still written with the reported place in view: if that moves, these words lapse.
    assert (place.fact, place.fact_value) == ("place", "66100 block of Pierson Blvd")


def test_the_text_follows_the_phrases_until_somebody_writes_it() -> None:
    typed = suggested()
    assert composer.read(form_of(typed, hazard="Gas smell"), CHANNELS).text == ""
    by_hand = composer.read(form_of(typed, text="Stay inside."), CHANNELS)
    assert by_hand.order("i", NOW).text == "Stay inside."


def test_an_empty_start_says_who_and_when_and_nothing_else() -> None:
    typed = composer.empty(
        incident_at(), CHANNELS, department=scene.DEPARTMENT, zone=scene.ZONE, now=NOW
    )
    assert {name for name, phrase in typed.phrases.items() if phrase.text} == {"source", "time"}


def test_an_all_clear_leaves_how_it_ended_to_a_person() -> None:
    typed = composer.all_clear(suggested(), scene.ZONE, NOW)
    assert typed.kind is UpdateKind.ALL_CLEAR
    assert typed.phrases["hazard"].text == "All clear: gas leak"
    assert typed.phrases["guidance"].text == SLOT
    assert SLOT in compose(typed.words)
    assert "next update" not in typed.phrases["time"].text


def test_a_phrase_too_long_is_refused_and_named() -> None:
    read = composer.read(form_of(suggested(), guidance="x" * 1001), CHANNELS)
    with pytest.raises(Refusal) as refused:
        read.order("i", NOW)
    assert refused.value.field == "guidance"


@given(
    st.dictionaries(
        st.sampled_from(
            "kind hours corrects update_id text composed place origin_place was_place "
            "verified_place seen_place seen_type channels replaces text_partners".split()
        ),
        st.text(max_size=40),
    )
)
def test_whatever_a_form_holds_can_be_read_and_shown(fields: dict[str, str]) -> None:
    read = composer.read(MultiDict(fields), CHANNELS)
    assert read.words and read.preview()


def test_a_wording_goes_in_and_comes_back(submitted: Submitted, incident: incidents.Kept) -> None:
    again = composer.from_revision(
        submitted.revision, incident.incident, "exercise", channels=CHANNELS, same_update=True,
        zone=scene.ZONE, now=NOW,
    )  # fmt: skip
    assert again.update_id == submitted.revision.update_id
    assert again.text == "" and again.own_texts == {}
    assert again.words.hazard == submitted.revision.words.hazard


# --- What the Commander reads -----------------------------------------------------------------


def test_changes_are_read_in_words() -> None:
    old = "DHS PD: Gas leak, Cactus to Ocotillo. Stay inside."
    new = "DHS PD: Gas leak, Cactus to Palm. Stay inside. Call 911."
    first, second = hunks(changed_words(old, new))
    assert (first.before, first.removed, first.added) == ("leak, Cactus to", "Ocotillo.", "Palm.")
    assert (second.removed, second.added) == ("", "Call 911.")


def test_changes_a_word_apart_are_one() -> None:
    (hunk,) = hunks(changed_words("a b c d", "x b y d"))
    assert (hunk.removed, hunk.added) == ("a b c", "x b y")


@given(st.text(alphabet="ab \n", max_size=30), st.text(alphabet="ab \n", max_size=30))
def test_no_change_is_left_out(old: str, new: str) -> None:
    assert bool(hunks(changed_words(old, new))) == (old.split() != new.split())


def test_the_same_text_stands_once() -> None:
    said = said_once([("a", "x"), ("b", "y"), ("c", "x")], {"a": "Page", "c": "County"})
    assert [(each.where, each.text) for each in said] == [
        ("Page and County (the same)", "x"), ("b", "y"),
    ]  # fmt: skip


def test_what_nobody_verified_is_named() -> None:
    assert unverified(suggested().words) == [
        "the hazard (template)", "the place (CAD)", "what people should do (template)",
        "the time (template)",
    ]  # fmt: skip


# --- The page ---------------------------------------------------------------------------------


async def post(
    client: TestClient, incident: incidents.Kept, form: MultiDict[object], act: str
) -> ClientResponse:
    form["act"] = act
    return await client.post(
        f"/incidents/{incident.incident.id}", data=form,
        headers={**scene.SAME_ORIGIN, **scene.PAGE}, allow_redirects=False,
    )  # fmt: skip


async def test_previewing_keeps_nothing(
    client: TestClient, ledger: Ledger, incident: incidents.Kept, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    form = form_of(suggested(incident.incident), hazard="Gas smell")
    answer = await post(client, incident, form, "preview")
    assert answer.status == 200
    assert "Gas smell, 66100 block of Pierson Blvd" in await answer.text()
    assert await ledger.read(lambda tx: approvals.requests_of(tx, incident.incident.id)) == []


async def test_only_the_pio_sends(
    client: TestClient, incident: incidents.Kept, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.watch)
    answer = await post(client, incident, form_of(suggested(incident.incident)), "send")
    assert answer.status == 403
    assert "may not compile an update" in await answer.text()


@pytest.mark.parametrize("act", ["take_back", "ask_again", "command", "close", "nonsense"])
async def test_an_act_that_is_not_yours_changes_nothing(
    client: TestClient, ledger: Ledger, incident: incidents.Kept, submitted: Submitted,
    persons: scene.Persons, act: str,
) -> None:  # fmt: skip
    await scene.sign_in(client, persons.records)
    form: MultiDict[object] = MultiDict(request_id=submitted.request.id, commander="")
    answer = await post(client, incident, form, act)
    assert answer.status in (403, 422)
    kept = await scene.request_of(ledger, submitted.request.id)
    assert kept.request.state == "open"


async def test_a_report_that_is_not_compiled_yet_says_so(
    client: TestClient, persons: scene.Persons
) -> None:
    await scene.sign_in(client, persons.pio)
    answer = await client.post(
        "/", data={"type": "WIRES", "place": "Palm Dr", "message_id": "form-2"},
        headers={**scene.SAME_ORIGIN, **scene.PAGE}, allow_redirects=False,
    )  # fmt: skip
    id_ = answer.headers["Location"].split("=")[1].split("#")[0]
    answer = await client.get(f"/incidents/{id_}", headers=scene.PAGE)
    assert answer.status == 503
    assert "is being put on the board" in await answer.text()
    assert (await client.get("/incidents/none", headers=scene.PAGE)).status == 404
