"""Mail to a list: one mail each, and nobody two, however a send breaks off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters import http, mail
from adapters.mail import Fate, Mail
from broadcaster import channel
from broadcaster.accounts import MailAccount
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    Receipt,
    Refused,
    TryLater,
    Unsupported,
)
from broadcaster.errors import LedgerAway, Refusal
from broadcaster.media import digest_of
from broadcaster.posting import Channels
from broadcaster.settings import Settings
from broadcaster.update import LONGEST_HEADLINE, clean
from broadcaster.world import Exercise
from tests.adapters.contract import (
    LOOPBACK,
    Contract,
    Pictured,
    Posted,
    approved,
    networks,
    showing,
)
from tests.adapters.exim_server import Exim, exim
from tests.adapters.mailserver import BREAKS, HANGS, MailServer, certified
from tests.story import EXERCISE, NOW, StillClock, a_story

LIST = channel.mail(EXERCISE, "residents", "Residents' list")
ANN, BOB, CAT = "ann@city.example", "bob@city.example", "cat@city.example"
PASSWORD = "exim-pass-word"

__all__ = ["exim"]  # a fixture of this module


class Ledger:
    """What a process notes. `memory` outlives it; it dies, or is away, at one of its notes."""

    def __init__(
        self, memory: dict[str, str], at: int = -1, error: BaseException | None = None,
        *, kept: bool = False,
    ) -> None:  # fmt: skip
        self.memory, self._at, self._error, self._kept = memory, at, error, kept
        self.notes = 0

    async def of(self, post_id: str) -> Mapping[str, str]:
        return dict(self.memory)

    async def note(self, post_id: str, fates: Mapping[str, str]) -> None:
        self.notes += 1
        fails = self._error and self.notes > self._at
        if not fails or (self._kept and self.notes == self._at + 1):
            self.memory |= fates
        if fails and self._error:
            raise self._error


def an_account(port: int, **fields: Any) -> MailAccount:
    return MailAccount(**{
        "kind": "mail", "name": LIST.name, "title": LIST.title, "host": "localhost", "port": port,
        "tls": "none", "sender": "alerts@police.example", "recipients": (ANN,),
        "unsubscribe": "mailto:list@police.example?subject=off",
    } | fields)  # fmt: skip


def an_adapter(
    port: int, recipients: Sequence[str] = (ANN,), ledger: Ledger | None = None, trust: Any = None,
    clock: StillClock | None = None, networks: http.Networks = LOOPBACK, **fields: Any,
) -> Mail[Exercise]:  # fmt: skip
    account = an_account(port, recipients=recipients, **fields)
    return Mail(
        LIST, account, delivered=ledger or Ledger({}), networks=networks,
        clock=clock or StillClock(), trust=trust,
    )  # fmt: skip


def a_message(text: str = "Stay inside.", number: int = 1) -> Message[Exercise]:
    return approved(LIST.name, text, number)


def a_message_of(headline: str, text: str, number: int = 1) -> Message[Exercise]:
    message = a_message(text, number)
    words = message.rendering.model_copy(update={"headline": headline})
    return message.model_copy(update={"rendering": words})


def as_read(each: Any) -> Posted:
    """What a person's mail program shows, without what frames it."""
    words = each.get_payload(0) if each.is_multipart() else each
    text = words.get_payload(decode=True).decode().replace("\r\n", "\n")
    key = each["Message-ID"].removeprefix("<").partition(".")[0]
    return Posted(key, each["Subject"], text.rpartition("\n\n-- \n")[0])


def _may_be_approved(text: str) -> bool:
    try:
        return clean(text, "text") == text != ""
    except Refusal:
        return False


#: What is harmed most easily, and any other character.
_PARTS = st.sampled_from([
    "👩\u200d🚒🏽", "👨\u200d👩\u200d👧\u200d👦", "🇺🇸", "🏴\U000e0067\U000e0062\U000e007f",
    "e\u0323\u0301", "ا\u064eل\u0651", "क्षि", "\u200d", "\u200c", "\u00a0", "\u2028", "\ufeff",
    "  ", " \n", "\t", "\n.\n", "\n..x", "\nFrom ", "\n-- \n", "\n\n-- \n", "=?utf-8?q?x?=",
    "=20", "=\n", "&amp;", "<b>", "https://example.org/" + "a" * 150, "x" * 1000, "é" * 80,
]) | st.characters(exclude_categories=("Cs", "Cc"))  # fmt: skip

#: Each example goes to a server, and so takes its time.
EACH = list(HealthCheck)

TEXTS = st.lists(_PARTS, min_size=1, max_size=20).map("".join).filter(_may_be_approved)
HEADLINES = (
    st.lists(_PARTS, min_size=1, max_size=8)
    .map(lambda parts: "".join(parts).replace("\n", " ")[:LONGEST_HEADLINE])
    .filter(_may_be_approved)
)


@pytest.mark.server
class TestMail(Contract):
    @pytest.fixture(autouse=True)
    def _fresh(self, exim: Exim) -> None:
        exim.empty()
        self.exim = exim

    @pytest.fixture
    def adapter(self) -> Mail[Exercise]:
        return an_adapter(self.exim.port)

    async def message(self, text: str, number: int = 1) -> Message[Exercise]:
        return a_message(text, number)

    async def posted(self) -> list[Posted]:
        return [as_read(each) for each in self.exim.mails()]

    async def shown(self) -> list[Pictured]:
        shown = []
        for each in self.exim.mails():
            words, *files = each.get_payload()
            said = words.get_payload(decode=True).decode().replace("\r\n", "\n")
            [alt] = re.findall("\n-- \nThe picture shows: (.*)\n", said)
            shown += [Pictured(digest_of(file.get_payload(decode=True)), alt) for file in files]
        return shown

    async def test_a_picture_is_attached_to_be_shown(self, adapter: Mail[Exercise]) -> None:
        await adapter.send(showing(a_message()))
        [it] = self.exim.mails()
        assert it.get_content_type() == "multipart/mixed" and it["Subject"] == "Gas leak – Oak St"
        words, file = it.get_payload()
        assert words.get_content_type() == "text/plain" and words.get_content_charset() == "utf-8"
        assert (file.get_content_type(), file.get_content_disposition(), file.get_filename()) == (
            "image/png", "inline", "picture.png"
        )  # fmt: skip

    async def test_each_has_a_mail_of_their_own(self) -> None:
        message, ledger = a_message(), Ledger({})
        whom = [ANN, "nobody@city.example", BOB, "else@where.example", ANN.upper()]
        receipt = await an_adapter(self.exim.port, whom, ledger).send(message)
        assert receipt == Receipt(remote_id=message.post_id)
        ann, bob = self.exim.mails()
        assert {ann["To"], bob["To"]} == {ANN.upper(), BOB}
        assert ann["Message-ID"] != bob["Message-ID"]
        assert sorted(ledger.memory.values()) == ["refused", "refused", "taken", "taken"]

    async def test_its_heads(self, adapter: Mail[Exercise]) -> None:
        await adapter.send(a_message())
        [it] = self.exim.mails()
        assert it["From"] == "alerts@police.example" and it["To"] == ANN
        assert parsedate_to_datetime(it["Date"]) == NOW
        assert it["Auto-Submitted"] == "auto-generated" and it["Precedence"] is None
        assert it["List-Unsubscribe"] == "<mailto:list@police.example?subject=off>"
        assert it["List-Id"] == "<residents.police.example>"
        assert it["Content-Language"] == "en" and it["Reply-To"] is None
        last = it.get_content().splitlines()[-2:]
        assert last == ["-- ", "To get no more of these mails, write to list@police.example"]

    async def test_who_is_put_off_is_sent_to_alone(self) -> None:
        ledger = Ledger({})
        made = an_adapter(self.exim.port, [ANN, "later@city.example", BOB], ledger)
        for _ in range(2):
            with pytest.raises(TryLater, match=r"put 1 of them off \(451\). 2 of 3 mails"):
                await made.send(a_message())
        assert [each["To"] for each in self.exim.mails()] == [ANN, BOB]

    async def test_with_tls_and_a_login(self) -> None:
        made = an_adapter(
            self.exim.port, ["else@where.example"], trust=self.exim.trust, tls="starttls",
            user="alerts", password=PASSWORD,
        )  # fmt: skip
        assert await made.send(a_message())
        assert len(self.exim.mails()) == 1

    async def test_a_wrong_login(self, caplog: pytest.LogCaptureFixture) -> None:
        made = an_adapter(
            self.exim.port, trust=self.exim.trust, tls="starttls", user="alerts",
            password="wrong-pass-word",
        )  # fmt: skip
        with pytest.raises(Refused, match=r"our login \(535\). Correct it. 0 of 1") as told:
            await made.send(a_message())
        assert "wrong-pass-word" not in f"{told.value!r}{made!r}{vars(made)!r}{caplog.text}"

    @settings(max_examples=2, phases=[Phase.generate], deadline=None, suppress_health_check=EACH)
    @given(st.lists(st.tuples(HEADLINES, TEXTS), min_size=10, max_size=12))
    async def test_whatever_may_be_approved_arrives(self, words: list[tuple[str, str]]) -> None:
        self.exim.empty()
        for number, each in enumerate(words):
            assert await an_adapter(self.exim.port).send(a_message_of(*each, number))
        assert [(it.headline, it.text) for it in await self.posted()] == words


@settings(max_examples=100, deadline=None, suppress_health_check=EACH)
@given(HEADLINES, TEXTS)
async def test_whatever_may_be_approved_is_mailed(headline: str, text: str) -> None:
    async with MailServer() as there:
        assert await an_adapter(there.port).send(a_message_of(headline, text))
        [it] = map(as_read, there.mails)
        assert (it.headline, it.text) == (headline, text)
        assert all(len(line) <= 998 for line in there.taken[0].original_content.splitlines())


# --- How it breaks off ------------------------------------------------------------------------


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is waited for a second."""
    monkeypatch.setattr(http, "READ", 1.0)
    monkeypatch.setattr(mail, "LAST_MAIL", timedelta(seconds=0.1))
    monkeypatch.setattr(mail, "LAST_NOTE", LIST.deadline - timedelta(seconds=0.5))


#: How the server answers; what the send comes to; who has it then; what the next send comes to on
#: a server that is well; whom that one reaches.
ENDS: list[tuple[dict[str, str], type[object], str, type[object], str]] = [
    *(({"MAIL": no}, TryLater, "", Receipt, "ann bob cat") for no in ("451 later", BREAKS, HANGS)),
    ({"MAIL": "550 no"}, Refused, "", Receipt, "ann bob cat"),
    ({"RCPT": "550 no"}, Refused, "", Receipt, "ann bob cat"),
    ({"RCPT": "451 later"}, TryLater, "", Receipt, "ann bob cat"),
    ({f"RCPT {BOB}": "451 later"}, TryLater, "ann cat", Receipt, "bob"),
    ({f"RCPT {BOB}": "550 no"}, Receipt, "ann cat", Receipt, ""),
    ({f"RCPT {BOB}": "550 no", "RSET": BREAKS}, TryLater, "ann", Receipt, "cat"),
    *(({f"RCPT {BOB}": no}, TryLater, "ann", Receipt, "bob cat")
      for no in ("421 bye", "what", BREAKS, HANGS)),
    ({"DATA": "554 no"}, Refused, "", Receipt, "ann bob cat"),
    ({f"DATA {BOB}": "451 later"}, TryLater, "ann cat", Receipt, "bob"),
    ({f"DATA {BOB}": "552 no"}, Receipt, "ann cat", Receipt, ""),
    ({f"DATA {BOB}": "421 bye"}, TryLater, "ann", Receipt, "bob cat"),
    *(({f"DATA {BOB}": no}, TryLater, "ann", InDoubt, "cat")
      for no in ("251 what", "what", BREAKS, HANGS)),
    *(({f"DATA {CAT}": no}, InDoubt, "ann bob", Receipt, "cat")
      for no in ("251 what", "what", BREAKS, HANGS)),
    *(({"QUIT": no}, Receipt, "ann bob cat", Receipt, "") for no in (BREAKS, HANGS)),
]  # fmt: skip


async def tried(made: Mail[Exercise]) -> Receipt | Exception:
    try:
        return await made.send(a_message())
    except (TryLater, Refused, InDoubt) as said:
        return said


def who(there: MailServer) -> str:
    return " ".join(each["To"].partition("@")[0] for each in there.mails)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(("at", "end", "first", "then", "second"), ENDS)
async def test_how_it_ends(
    at: dict[str, str], end: type[object], first: str, then: type[object], second: str
) -> None:
    memory: dict[str, str] = {}
    async with MailServer(at) as there:
        said = await tried(an_adapter(there.port, [ANN, BOB, CAT], Ledger(memory)))
        assert type(said) is end, said
        assert isinstance(said, Receipt) or (str(said)[-1] == "." and "@" not in str(said))
        assert who(there) == first
    async with MailServer() as there:
        said = await tried(an_adapter(there.port, [ANN, BOB, CAT], Ledger(memory)))
        assert type(said) is then, said
        assert who(there) == second


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_nothing_goes_to_an_address_outside_the_networks(host: str) -> None:
    """By name or by number, as with what is spoken to by HTTP."""
    memory: dict[str, str] = {}
    async with MailServer() as there:
        elsewhere = networks("192.0.2.0/24")
        made = an_adapter(there.port, ledger=Ledger(memory), host=host, networks=elsewhere)
        said = await tried(made)
        assert isinstance(said, Refused) and "BROADCASTER_CHANNEL_NETWORKS" in str(said)
        assert not there.connections
    assert set(memory.values()) <= {"unsent"}


async def test_who_is_in_doubt_is_sent_to_again_once_a_person_was_told() -> None:
    memory: dict[str, str] = {}
    async with MailServer({f"DATA {BOB}": BREAKS}) as there:
        said = await tried(an_adapter(there.port, [ANN, BOB, CAT], Ledger(memory)))
        assert isinstance(said, TryLater)
    async with MailServer() as there:
        made = an_adapter(there.port, [ANN, BOB, CAT], Ledger(memory))
        assert str(await tried(made)) == (
            "Of 1 of 3 mails nobody knows whether the server took them; 2 were taken. Sending "
            "again sends to those alone."
        )
        assert isinstance(await tried(made), Receipt)
        assert who(there) == "cat bob"


async def test_who_is_put_off_for_long_is_left_out_where_others_have_it() -> None:
    """Else the incident's next update would wait, for all, behind one full mailbox."""
    clock = StillClock()
    async with MailServer({f"RCPT {BOB}": "452 full"}) as there:
        made = an_adapter(there.port, [ANN, BOB], clock=clock)
        said = await tried(made)
        assert isinstance(said, TryLater) and said.after == mail.AT_ONCE
        clock.move(minutes=6)
        assert isinstance(await tried(made), Receipt)
        assert isinstance(await tried(an_adapter(there.port, [BOB], clock=clock)), TryLater)


async def test_who_is_left_out_does_not_keep_back_who_is_in_doubt() -> None:
    clock, ledger = StillClock(), Ledger({})
    clock.move(minutes=6)
    full = {f"RCPT {BOB}": "452 full"}
    async with MailServer(full | {f"DATA {CAT}": "251 what"}) as there:
        made = an_adapter(there.port, [ANN, BOB, CAT], ledger, clock=clock)
        assert isinstance(await tried(made), TryLater)
    async with MailServer(full) as there:
        made = an_adapter(there.port, [ANN, BOB, CAT], ledger, clock=clock)
        assert isinstance(await tried(made), InDoubt)
        assert isinstance(await tried(made), Receipt) and who(there) == "cat"


@pytest.mark.usefixtures("hurried")
async def test_nobody_is_there() -> None:
    async with MailServer() as there:
        port = there.port
    said = await tried(an_adapter(port, [ANN, BOB]))
    assert isinstance(said, TryLater) and "could not be reached" in str(said)


@pytest.mark.parametrize(
    ("greeting", "end"), [("421 busy", TryLater), ("554 no service here", Refused)]
)
async def test_a_server_that_greets_with_a_no(greeting: str, end: type[Exception]) -> None:
    """RFC 5321 §3.1, §3.8."""

    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{greeting}\r\n".encode())
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greets, "127.0.0.1", 0) as server:
        said = await tried(an_adapter(server.sockets[0].getsockname()[1], [ANN]))
    assert type(said) is end and greeting[:3] in str(said)


@pytest.mark.parametrize(
    ("no", "end"), [("454 4.7.0 later", TryLater), ("535 5.7.8 wrong", LockedOut)]
)
async def test_a_server_that_does_not_take_our_login(no: str, end: type[Exception]) -> None:
    """RFC 4954 §6: it says so, too, where it cannot look who we are just now (454)."""
    theirs, trust = certified()
    async with MailServer({"AUTH": no}, theirs, False, ("alerts", PASSWORD)) as there:
        made = an_adapter(there.port, tls="starttls", user="alerts", password=PASSWORD, trust=trust)
        said = await tried(made)
        assert type(said) is end and no[:3] in str(said) and there.mails == []


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_a_server_that_does_not_prove_who_it_is(tls: str) -> None:
    theirs, _ = certified()
    login = ("alerts", PASSWORD)
    async with MailServer(None, theirs, tls == "tls", login) as there:
        made = an_adapter(there.port, tls=tls, user="alerts", password=PASSWORD)
        assert isinstance(await tried(made), TryLater)
        assert there.taken == []


async def test_a_server_without_tls() -> None:
    async with MailServer() as there:
        said = await tried(an_adapter(there.port, tls="starttls"))
        assert isinstance(said, Refused) and "offers no TLS" in str(said)


class Killed(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize(
    "error", [Killed(), LedgerAway("disk full")], ids=["killed", "ledger away"]
)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("at", range(6))
async def test_nobody_gets_it_twice(
    at: int, kept: bool, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five recipients, noted by two: whichever note a process dies at, before or after it."""
    monkeypatch.setattr(mail, "BATCH", 2)
    memory: dict[str, str] = {}
    everybody = [f"{name}@city.example" for name in "abcde"]
    async with MailServer() as there:
        made = an_adapter(there.port, everybody, Ledger(memory, at, error, kept=kept))
        try:
            said = await tried(made)
            assert isinstance(said, TryLater)
        except Killed:
            pass
        said = await tried(an_adapter(there.port, everybody, Ledger(memory)))
        has = who(there).split()
        assert len(has) == len(set(has))
        assert isinstance(said, InDoubt if Fate.TOLD in memory.values() else Receipt)
        assert len(has) + list(memory.values()).count(Fate.TOLD) >= len(everybody)


async def test_a_long_list_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until shortly before its deadline, and on so many mails a connection as is usual."""
    monkeypatch.setattr(mail, "BATCH", 1)
    monkeypatch.setattr(mail, "PER_CONNECTION", 2)
    monkeypatch.setattr(mail, "LANES", 1)
    everybody = [f"{number}@city.example" for number in range(5)]
    memory: dict[str, str] = {}

    class Slow(Ledger):
        async def note(self, post_id: str, fates: Mapping[str, str]) -> None:
            await super().note(post_id, fates)
            if self.notes == 5:  # as the third mail is to leave
                await asyncio.sleep(0.3)

    async with MailServer() as there:
        with monkeypatch.context() as patch:
            patch.setattr(mail, "LAST_NOTE", LIST.deadline - mail.LAST_MAIL)
            patch.setattr(mail, "LAST_MAIL", timedelta(seconds=9.8))
            said = await tried(an_adapter(there.port, everybody, Slow(memory)))
        assert isinstance(said, TryLater) and said.after == mail.AT_ONCE
        assert str(said) == "The list is long, and goes on. 2 of 5 mails were taken so far."
        there.connections = 0
        assert isinstance(await tried(an_adapter(there.port, everybody, Ledger(memory))), Receipt)
        assert who(there) == "0 1 2 3 4" and there.connections == 2


async def test_a_long_list_goes_by_several_connections() -> None:
    everybody = {f"{number}@city.example" for number in range(130)}
    ledger = Ledger({})
    async with MailServer() as there:
        assert await an_adapter(there.port, tuple(everybody), ledger).send(a_message())
        assert len(there.taken) == 130 and set(who(there).split()) == {str(n) for n in range(130)}
        assert there.connections == mail.LANES
    assert set(ledger.memory.values()) == {"taken"} and len(ledger.memory) == 130


async def test_it_obeys_when_it_is_cancelled_and_notes_who_has_it() -> None:
    memory: dict[str, str] = {}
    async with MailServer({f"DATA {BOB}": HANGS}) as there:
        made = an_adapter(there.port, [ANN, BOB, CAT], Ledger(memory))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await made.send(a_message())
    assert sorted(memory.values()) == ["in doubt", "taken", "unsent"]


async def test_what_the_ledger_notes_is_kept(tmp_path: Path) -> None:
    """Joined as in a start of the program: a second send reaches who is left, and nobody else."""
    async with a_story(tmp_path) as story, MailServer({f"RCPT {BOB}": "451 later"}) as there:
        released = await story.released(await story.reported(), channels=[LIST])
        of_it = {"post_id": released[1][LIST.name].id, "released_at": datetime.now(UTC)}
        message = a_message().model_copy(update=of_it)
        known = Settings(home=tmp_path, channels=[an_account(there.port, recipients=[ANN, BOB])],
                         channel_networks=list(LOOPBACK))  # fmt: skip
        for _ in range(2):
            made = Channels(known, story.ledger).adapter(LIST.name)
            with pytest.raises(TryLater, match="1 of 2 mails were taken"):
                await made.send(message)
        assert who(there) == "ann"
        await story.ledger.close()
        with pytest.raises(TryLater, match="ledger"):
            await made.send(message)


@pytest.mark.parametrize(
    "fields",
    [{"recipients": [each]} for each in (
        "ann", "a b@c.example", "a@c.example\nBcc: x@y.example", "a@c.example\n", "é@c.example",
        "a@c.example,b@c.example")]
    + [{"recipients": []}, {"sender": "police"}, {"unsubscribe": "https://x.example/>,<mailto:y"},
       {"unsubscribe": "off@police.example"}, {"unsubscribe": "https://x.example/\r\nX: y"},
       {"user": "alerts", "password": PASSWORD}, {"user": "alerts"}],
)  # fmt: skip
def test_what_no_mail_can_be_written_with(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        an_account(25, **fields)
    assert PASSWORD not in str(refused.value)


async def test_it_cannot_look_edit_or_take_down() -> None:
    made, there = an_adapter(1), Receipt(remote_id="1")
    with pytest.raises(Unsupported):
        await made.find(a_message())
    with pytest.raises(Unsupported):
        await made.retract(there)
