"""Matrix under the contract: against Synapse, and against a homeserver that breaks in every way."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters import http, matrix
from adapters.matrix import Matrix
from broadcaster import channel
from broadcaster.accounts import MatrixAccount
from broadcaster.clock import SystemClock
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    NotThere,
    Receipt,
    Refused,
    Seen,
    TryLater,
)
from broadcaster.errors import Refusal
from broadcaster.media import digest_of
from broadcaster.update import clean
from broadcaster.world import Exercise
from tests.adapters.contract import (
    ALT,
    LOOPBACK,
    SHOWN,
    HttpFaults,
    Pictured,
    Platform,
    Posted,
    approved,
    showing,
)
from tests.adapters.synapse_server import CLOSED, Synapse, User, running
from tests.faults.receiver import Request, Way, answers, by
from tests.story import EXERCISE, StillClock

CHANNEL = channel.matrix(EXERCISE, "room", "Matrix room")
V3 = "/_matrix/client/v3"


@dataclass
class There:
    """The homeserver, who is on it, and a room.

    Each test signs us in on a device of its own: what another sent has another's keys, and the
    server shows it without them.
    """

    synapse: Synapse
    us: User
    limited: User  #: may send a few messages only
    public: User
    room: str

    def adapter(self, user: User | None = None) -> Matrix[Exercise]:
        account = MatrixAccount(
            kind="matrix", name=CHANNEL.name, title=CHANNEL.title, url=self.synapse.url,
            room=self.room, token=(user or self.us).token,
        )  # fmt: skip
        return Matrix(CHANNEL, account, networks=LOOPBACK, clock=SystemClock())

    @property
    def path(self) -> str:
        return f"{V3}/rooms/{quote(self.room, safe='')}"

    def events(self) -> list[dict[str, Any]]:
        """What our device sent to the room, and what still holds something, in order."""
        page = self.synapse.ask("GET", f"{self.path}/messages?dir=b&limit=50", self.us)
        return [
            event for event in reversed(page["chunk"]) if event["type"] == "m.room.message"
            and event["content"] and "transaction_id" in event["unsigned"]
        ]  # fmt: skip

    def takes_of(self, user: User, kind: str, content: dict[str, Any]) -> int:
        """How the room answers what a user sends."""
        return self.synapse.status("PUT", f"{self.path}/send/{kind}/t", user, content)


def seen(text: str, *pictures: str, answerable: bool = False) -> Seen:
    return Seen(text=text, answerable=answerable, pictures=pictures)


def _replaced(event: dict[str, Any]) -> dict[str, Any]:
    """The content of an event's newest edit."""
    edit = event["unsigned"].get("m.relations", {}).get("m.replace", {"content": {}})
    return cast("dict[str, Any]", edit["content"])


#: What platforms count, cut, join or strip in ways of their own.
PIECES = [
    "👩‍👩‍👧‍👦", "👩🏽‍🚒", "🇺🇸", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "1️⃣", "e\u0301\u0323", "Å\u030a", "क्षत्रिय", "नमस्ते", "مرحبا لا",
    "\u0644\u200d\u0627", "\u200c", "\u200d", "\ufeff", "\u00ad", "\u2028", "\u00a0",
    "\n\n", "\t", " ", "&amp;", "<b>",
    "*a* _b_ `c`", "@room", "#alerts:localhost", "https://example.org/" + "a" * 600 + "?q=%20#é",
]  # fmt: skip


def approvable(text: str) -> str:
    """The text as it stands before the Commander; empty where nobody is asked to approve it."""
    try:
        cleaned = clean(text, "text")
    except Refusal:
        return ""
    return cleaned if CHANNEL.fits(cleaned) else ""


TEXTS = (
    st.lists(st.sampled_from(PIECES) | st.text(max_size=20), min_size=1, max_size=12)
    .map(lambda parts: approvable("".join(parts)))
    .filter(bool)
)


@pytest.fixture(scope="module")
def homeserver() -> Iterator[There]:
    with running() as synapse:
        us = synapse.register("pio", admin=True)
        synapse.let_off(us, us)
        limited, public = synapse.register("limited"), synapse.register("public")
        yield There(synapse, us, limited, public, synapse.room(us))


@pytest.fixture
def there(homeserver: There) -> There:
    return replace(homeserver, us=homeserver.synapse.sign_in(homeserver.us))


@pytest.fixture
async def adapter(there: There) -> AsyncIterator[Matrix[Exercise]]:
    made = there.adapter()
    yield made
    await made.close()


@pytest.mark.server
class TestMatrix(Platform):
    @pytest.fixture(autouse=True)
    def _there(self, there: There) -> None:
        self.there = there

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        return approved(CHANNEL.name, text, number)

    async def posted(self) -> list[Posted]:
        return [
            Posted(
                event["unsigned"]["transaction_id"], None,
                _replaced(event).get("m.new_content", event["content"])["body"],
            )
            for event in self.there.events() if "m.relates_to" not in event["content"]
        ]  # fmt: skip

    async def shown(self) -> list[Pictured]:
        """In the order of the room, as whoever is in it may fetch it."""
        return [
            Pictured(digest_of(self.there.synapse.fetch(event["content"]["url"], self.there.us)),
                     event["content"]["body"])
            for event in self.there.events() if event["content"]["msgtype"] == "m.image"
        ]  # fmt: skip

    async def test_words_without_their_picture_are_sent_again(
        self, adapter: Matrix[Exercise], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The picture's answer was lost, or never came: nothing is there twice in the end."""
        message = showing(await self.message("Stay inside."))

        async def refused(*_: object) -> list[str]:
            raise Refused("No.")

        with monkeypatch.context() as patch:
            patch.setattr(Matrix, "_show", refused)
            with pytest.raises(InDoubt, match="words are in the room"):
                await adapter.send(message)
        assert await adapter.find(message) is None
        receipt = await adapter.send(message)
        assert await adapter.find(message) == receipt
        assert len(await self.posted()) == 1 and await self.shown() == [SHOWN]

    async def test_a_correction_puts_its_own_picture_in_the_place_of_the_other_or_none(
        self, adapter: Matrix[Exercise]
    ) -> None:
        there = await adapter.send(showing(await self.message("Leave.")))
        right = showing(await self.message("Stay.", 2), 2)
        for _ in range(2):
            await adapter.edit(right, there)
        assert [each.alt for each in await self.shown()] == [f"{ALT} 2"]
        assert await adapter.find(right) == there
        await adapter.edit(await self.message("Stay inside.", 3), there)
        assert await self.shown() == []

    async def test_a_picture_goes_with_its_words(self, adapter: Matrix[Exercise]) -> None:
        there = await adapter.send(showing(await self.message("Leave.")))
        await adapter.retract(there)
        assert await self.shown() == [] and await self.posted() == []

    async def replies_are_closed(self, receipt: Receipt) -> bool:
        public, there = self.there.public, self.there
        there.synapse.ask("POST", f"{V3}/join/{quote(there.room, safe='')}", public, {})
        about = {"m.relates_to": {"rel_type": "m.thread", "event_id": receipt.remote_id}}
        reaction = {"rel_type": "m.annotation", "event_id": receipt.remote_id, "key": "👍"}
        event = quote(receipt.remote_id, safe="")
        assert there.synapse.ask("GET", f"{there.path}/event/{event}", public)["content"]["body"]
        return {
            there.takes_of(public, "m.room.message", {"msgtype": "m.text", "body": "No!", **about}),
            there.takes_of(public, "m.reaction", {"m.relates_to": reaction}),
            there.synapse.status("PUT", f"{there.path}/state/m.room.topic", public, {"topic": "x"}),
            there.synapse.status("PUT", f"{there.path}/redact/{event}/t", public, {}),
        } == {403}

    async def test_a_longest_text_can_still_be_edited(self, adapter: Matrix[Exercise]) -> None:
        """Each byte of it is two in JSON, and the edit holds it twice."""
        longest = '"' * channel.MATRIX_LIMIT
        assert CHANNEL.fits(longest) and not CHANNEL.fits(longest + '"')
        receipt = await adapter.send(await self.message("Leave."))
        right = await self.message(longest, 2)
        assert await adapter.edit(right, receipt) == receipt
        assert await adapter.read(receipt) == seen(longest)

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=TEXTS)
    async def test_special_texts_arrive_as_they_are(
        self, adapter: Matrix[Exercise], text: str
    ) -> None:
        message = approved(CHANNEL.name, text)
        message = message.model_copy(update={"post_id": str(uuid.uuid5(uuid.NAMESPACE_URL, text))})
        assert await adapter.read(await adapter.send(message)) == seen(text)

    async def test_a_restart_of_the_server_forgets_no_key(self, adapter: Matrix[Exercise]) -> None:
        message = await self.message("Stay inside.")
        receipt = await adapter.send(message)
        self.there.synapse.stop()
        with pytest.raises(TryLater):
            await adapter.send(message)
        self.there.synapse.start()
        assert await adapter.send(message) == receipt
        assert await adapter.find(message) == receipt
        assert len(await self.posted()) == 1

    async def test_the_key_is_the_devices(self, adapter: Matrix[Exercise]) -> None:
        """Why a new token has to be of the same device."""
        message, us = await self.message("Stay inside."), self.there.us
        receipt = await adapter.send(message)
        same = self.there.adapter(self.there.synapse.sign_in(us, us.device))
        other = self.there.adapter(self.there.synapse.sign_in(us))
        assert await same.find(message) == await same.send(message) == receipt
        assert await other.find(message) is None
        assert await other.read(receipt) == seen("Stay inside.")
        await same.close()
        await other.close()

    async def test_a_server_that_wants_us_to_slow_down(self) -> None:
        limited = self.there.limited
        self.there.room = self.there.synapse.room(limited)
        adapter = self.there.adapter(limited)

        async def goes_on() -> None:
            for number in range(20):
                await adapter.send(await self.message("Stay inside.", number))

        with pytest.raises(TryLater, match="429") as told:
            await goes_on()
        assert told.value.after and timedelta() < told.value.after <= timedelta(seconds=100)
        await adapter.close()

    async def test_it_is_found_pages_back(
        self, there: There, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there.room = there.synapse.room(there.us)
        adapter = there.adapter()
        monkeypatch.setattr(matrix, "PAGE", 2)
        receipts = [await adapter.send(await self.message("Stay.", n)) for n in range(5)]
        assert await adapter.find(await self.message("Stay.", 0)) == receipts[0]
        assert await adapter.find(await self.message("Stay.", 9)) is None
        later = {"released_at": datetime.now(UTC) + 2 * matrix.CLOCKS_DIFFER}
        oldest = (await self.message("Stay.", 0)).model_copy(update=later)
        assert await adapter.find(oldest) is None, (
            "what is older than a release is none of its posts"
        )
        await adapter.close()

    async def test_an_edit_is_found_as_its_post(self, adapter: Matrix[Exercise]) -> None:
        """Whatever became of the answer to it."""
        right = await self.message("Stay inside.", 2)
        receipt = await adapter.send(await self.message("Leave."))
        assert await adapter.find(right) is None
        await adapter.edit(right, receipt)
        assert await adapter.find(right) == receipt
        await adapter.retract(receipt)
        assert await adapter.find(right) is None

    async def test_its_edits_are_taken_down_with_a_post(self, adapter: Matrix[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Leave."))
        for number in (2, 3):
            await adapter.edit(await self.message("Stay inside.", number), receipt)
        assert len(self.there.events()) == 3
        await adapter.retract(receipt)
        assert self.there.events() == []

    async def test_what_is_gone_is_not_edited(self, adapter: Matrix[Exercise]) -> None:
        right = await self.message("Stay inside.", 2)
        receipt = await adapter.send(await self.message("Leave."))
        await adapter.retract(receipt)
        with pytest.raises(NotThere, match="no longer in the room"):
            await adapter.edit(right, receipt)
        with pytest.raises(NotThere, match="no longer in the room"):
            await adapter.edit(right, Receipt(remote_id="$never-there"))
        assert await adapter.read(Receipt(remote_id="$never-there")) is None

    @pytest.mark.parametrize(
        ("levels", "named"),
        [
            ({"events_default": 0}, "events_default"),
            ({"users_default": 50, "events_default": 50}, "events_default"),
            (CLOSED | {"state_default": 0}, "state_default"),
            (CLOSED | {"events": {"m.reaction": 0}}, "m.reaction"),
        ],
    )
    async def test_nothing_is_sent_where_everybody_may_speak(
        self, levels: dict[str, Any], named: str
    ) -> None:
        self.there.room = self.there.synapse.room(self.there.us, levels)
        adapter = self.there.adapter()
        with pytest.raises(Refused, match=f"Everybody may speak.*{named}"):
            await adapter.send(await self.message("Stay inside."))
        assert await self.posted() == []
        await adapter.close()

    async def test_a_room_that_was_opened_since_is_told_and_gets_nothing_more(self) -> None:
        self.there.room = self.there.synapse.room(self.there.us)
        adapter = self.there.adapter()
        receipt = await adapter.send(await self.message("Stay inside."))
        assert await adapter.read(receipt) == seen("Stay inside.")
        path = f"{self.there.path}/state/m.room.power_levels"
        levels = self.there.synapse.ask("GET", path, self.there.us)
        self.there.synapse.ask("PUT", path, self.there.us, levels | {"events_default": 0})
        assert await adapter.read(receipt) == seen("Stay inside.", answerable=True)
        with pytest.raises(Refused, match="Everybody may speak"):
            await adapter.send(await self.message("Leave.", 2))
        assert [each.text for each in await self.posted()] == ["Stay inside."]
        await adapter.close()

    async def test_whether_its_picture_is_there_is_read_too(
        self, adapter: Matrix[Exercise]
    ) -> None:
        receipt = await adapter.send(showing(await self.message("Stay inside.")))
        assert await adapter.read(receipt) == seen("Stay inside.", SHOWN.alt)
        right = showing(await self.message("Stay.", 2), 2)
        await adapter.edit(right, receipt)
        assert await adapter.read(receipt) == seen("Stay.", f"{ALT} 2")
        [shown] = [each for each in self.there.events() if each["content"]["msgtype"] == "m.image"]
        event = quote(shown["event_id"], safe="")
        self.there.synapse.ask("PUT", f"{self.there.path}/redact/{event}/t", self.there.us, {})
        assert await adapter.read(receipt) == seen("Stay.")

    async def test_a_room_that_we_are_not_in(self, adapter: Matrix[Exercise]) -> None:
        receipt = await adapter.send(await self.message("Stay inside."))
        outside, message = self.there.adapter(self.there.limited), await self.message("Leave.", 2)
        for act in (outside.send(message), outside.edit(message, receipt),
                    outside.retract(receipt)):  # fmt: skip
            with pytest.raises(Refused, match="may not do this in the room"):
                await act
        for look in (outside.find(message), outside.read(receipt)):
            with pytest.raises(TryLater, match="may not do this in the room"):
                await look
        await outside.close()

    @pytest.mark.parametrize("version", ["10", "12"])
    async def test_the_address_names_room_event_and_server(self, version: str) -> None:
        self.there.room = self.there.synapse.room(self.there.us, room_version=version)
        adapter = self.there.adapter()
        receipt = await adapter.send(await self.message("Stay inside."))
        room, event = quote(self.there.room, safe=""), quote(receipt.remote_id, safe="")
        assert receipt.url == f"https://matrix.to/#/{room}/{event}?via=localhost"
        await adapter.close()


TOKEN = "syt_a_token"

#: Who we are.
US = {"user_id": "@pio:city.example"}


def says(status: int, errcode: str, **more: object) -> Way:
    """A homeserver's refusal (specification, "Standard error response")."""
    body = {"errcode": errcode, "error": f"a-path-that-is-a-secret {TOKEN}", **more}
    return answers(status, body=json.dumps(body).encode())


#: Status and code of each refusal that the specification names for what we ask, and what we say.
REFUSALS = [
    (401, "M_UNKNOWN_TOKEN", "a new one"),
    (401, "M_MISSING_TOKEN", "a new one"),
    (401, "M_USER_LOCKED", "locked our account"),
    (403, "M_USER_SUSPENDED", "suspended our account"),
    (403, "M_USER_DEACTIVATED", "closed our account"),
    (403, "M_FORBIDDEN", "may not do this in the room"),
    (403, "M_CONSENT_NOT_GIVEN", "terms"),
    (403, "M_RESOURCE_LIMIT_EXCEEDED", "limits"),
    (404, "M_NOT_FOUND", "room's id"),
    (404, "M_UNRECOGNIZED", "URL"),
    (405, "M_UNRECOGNIZED", "URL"),
    (413, "M_TOO_LARGE", "Shorten"),
    (400, "M_BAD_JSON", "refused this"),
    (400, "M_NOT_JSON", "refused this"),
    (400, "M_UNKNOWN", "refused this"),
    (400, "M_INVALID_PARAM", "refused this"),
    (403, "ORG.EXAMPLE_OWN", "refused this"),
]


class TestMatrixFaults(HttpFaults):
    channel_name = CHANNEL.name
    secrets = ("a-path-that-is-a-secret", TOKEN)
    taken = b'{"event_id": "$event"}'
    asks_first = True

    def make(self, url: str, *, networks: http.Networks, deadline: timedelta) -> Matrix[Exercise]:
        account = MatrixAccount(
            kind="matrix", name=CHANNEL.name, title=CHANNEL.title, url=url, token=TOKEN,
            room="!room:city.example",
        )  # fmt: skip
        made = CHANNEL.model_copy(update={"deadline": deadline})
        return Matrix(made, account, networks=networks, clock=StillClock())

    def is_upload(self, request: Request) -> bool:
        return "/media/v3/upload" in request.path

    def well(self, request: Request) -> Way:
        if request.path.endswith("/whoami"):
            return answers(200, body=json.dumps(US).encode(), acts=False)
        if request.path.endswith("/m.room.power_levels"):
            return answers(200, body=json.dumps(CLOSED).encode(), acts=False)
        if "/event/" in request.path:
            there = {"event_id": "$event", "sender": US["user_id"], "origin_server_ts": 0,
                     "content": {"body": "Leave."}}  # fmt: skip
            return answers(200, body=json.dumps(there).encode(), acts=False)
        return super().well(request)

    async def test_it_speaks_as_documented(self) -> None:
        await self._made().send(await self.message("Stay inside."))
        [send] = self.sends
        post = approved(CHANNEL.name, "Stay inside.").post_id
        assert send.method == "PUT" and send.headers["authorization"] == f"Bearer {TOKEN}"
        assert send.path == (
            f"/hooks/{self.secrets[0]}{V3}/rooms/%21room%3Acity.example/send/m.room.message/{post}"
        )
        assert send.json == {"msgtype": "m.text", "body": "Stay inside."}

    async def test_the_room_is_looked_at_before_each_post(self) -> None:
        """And who we are is asked once."""
        adapter = self._made()
        for _ in range(2):
            await adapter.send(await self.message("Stay inside."))
        asked = [request.path.rpartition("/")[2] for request in self.there.heard]
        post = (await self.message("Stay inside.")).post_id
        assert asked == ["m.room.power_levels", "whoami", post, "m.room.power_levels", post]

    @pytest.mark.parametrize(
        ("status", "errcode", "means"),
        [
            (413, "M_TOO_LARGE", "no picture that large (413). Have the words approved without"),
            (403, "M_FORBIDDEN", "takes no such picture from our account (403)"),
            (401, "M_UNKNOWN_TOKEN", "does not know our token"),
            (403, "M_RESOURCE_LIMIT_EXCEEDED", "its own limits"),
        ],
    )
    async def test_what_a_homeserver_refuses_of_a_picture(
        self, status: int, errcode: str, means: str
    ) -> None:
        refuses = says(status, errcode)
        self.there.ways = [by(lambda at: refuses if self.is_upload(at) else self.well(at))]
        with pytest.raises(LockedOut if status == 401 else Refused, match=re.escape(means)):
            await self._made().send(showing(await self.message("Stay inside.")))
        assert self.sends == []

    @pytest.mark.parametrize(("status", "errcode", "means"), REFUSALS)
    async def test_what_a_homeserver_refuses(
        self, status: int, errcode: str, means: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.suffers(says(status, errcode))
        told = await self._fails(self._made(), LockedOut if status == 401 else Refused, caplog)
        assert means in str(told) and f"({status})" in str(told)

    @pytest.mark.parametrize(
        ("more", "headers", "pause"),
        [
            ({"retry_after_ms": 2500}, {}, timedelta(seconds=2.5)),
            ({"retry_after_ms": 2500}, {"Retry-After": "3"}, timedelta(seconds=3)),
            ({"retry_after_ms": 10**40}, {}, timedelta(days=7)),
            ({"retry_after_ms": -1}, {}, None),
            ({"retry_after_ms": "soon"}, {}, None),
        ],
    )
    async def test_how_long_a_homeserver_wants_us_to_wait(
        self,
        more: dict[str, object],
        headers: dict[str, str],
        pause: timedelta | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        body = json.dumps({"errcode": "M_LIMIT_EXCEEDED", **more}).encode()
        self.suffers(answers(429, headers, body=body))
        told = await self._fails(self._made(), TryLater, caplog)
        assert isinstance(told, TryLater) and told.after == pause

    @pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"event_id": null}', b"\xff"])
    async def test_an_answer_that_is_no_homeservers(
        self, body: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.suffers(answers(200, body=body))
        await self._fails(self._made(), InDoubt, caplog)

    @pytest.mark.parametrize("asked", ["/whoami", "/m.room.power_levels"])
    @pytest.mark.parametrize(
        ("way", "error", "means"),
        [
            (says(401, "M_UNKNOWN_TOKEN"), LockedOut, "does not know our token"),
            (says(403, "M_FORBIDDEN"), Refused, "may not do this in the room"),
            (answers(307, {"Location": "/"}), Refused, "redirect"),
            (says(429, "M_LIMIT_EXCEEDED"), TryLater, "429"),
            (says(500, "M_UNKNOWN"), TryLater, "500"),
            (answers(200, body=b"<html>"), TryLater, "as a Matrix homeserver does"),
            (answers(200, body=b'{"user_id": 5, "events": "?"}'), TryLater, "as a Matrix"),
        ],
    )
    async def test_what_breaks_before_it_posts(
        self,
        asked: str,
        way: Way,
        error: type[Exception],
        means: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.there.ways = [by(lambda at: way if at.path.endswith(asked) else self.well(at))]
        assert means in str(await self._fails(self._made(), error, caplog))
        assert self.sends == []

    async def test_a_room_without_power_levels_is_open(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Then everybody may send anything (specification, m.room.power_levels)."""
        missing = says(404, "M_NOT_FOUND")
        self.there.ways = [by(lambda at: missing if at.path.endswith("levels") else self.well(at))]
        told = await self._fails(self._made(), Refused, caplog)
        assert "events_default" in str(told) and self.sends == []
