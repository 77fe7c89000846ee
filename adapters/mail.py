"""Mail to people who asked for it (SMTP, RFC 5321): each gets one of their own.

    To                that person alone
    Subject           the headline
    Date              when it was released
    Message-ID        of the post and the recipient: the same on every try
    List-Id, List-Unsubscribe
                      which list it is, and how to get off it (RFC 2919, RFC 2369)
    Auto-Submitted    auto-generated, so that no holiday notice comes back (RFC 3834)

The text stands verbatim in the body, in UTF-8 as quoted-printable, which nothing on the way has
cause to change; then a signature's separator and a line that says how to get off the list. A
picture is attached to be shown after the text (RFC 2183, inline); what it shows is said after the
separator.

A long list takes several sends, and any of them may break off. So the ledger knows what became of
each recipient: before a mail can leave, its recipient is noted as in doubt, and afterwards as what
the server said. Wherever it breaks off, nobody is sent a second mail unless a person, who was told
of how many nobody knows, has the post sent again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import quopri
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from email.utils import format_datetime
from enum import StrEnum
from itertools import islice
from typing import Protocol

import structlog
from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
)

from adapters import http, smtp
from broadcaster.accounts import MailAccount
from broadcaster.channel import Channel
from broadcaster.clock import Clock
from broadcaster.delivery import (
    InDoubt,
    LockedOut,
    Message,
    Receipt,
    Refused,
    Sender,
    TryLater,
    meant_for,
)
from broadcaster.errors import LedgerAway
from broadcaster.media import ENDINGS, Picture
from broadcaster.world import W

#: Recipients noted at a time: so many at most are in doubt when the program is killed.
BATCH = 20

#: Mails on one connection, and connections at a time, as servers commonly allow.
PER_CONNECTION, LANES = 100, 3

#: Of a send's time, what the last mail has at least for its answer, and what noting it all has.
LAST_MAIL, LAST_NOTE = timedelta(seconds=http.READ), timedelta(seconds=4)

#: A list that the server takes, and that did not get done, goes on at once. A pause that is asked
#: for is no failure of the channel (broadcaster/breaker.py); one of nothing is not asked for.
AT_ONCE = timedelta(milliseconds=1)

#: Whom the server puts off for longer than this since the release is left out, where others have
#: it: the incident's next update waits for this one.
PUT_OFF = timedelta(minutes=5)

#: Between the text and what is added to it (RFC 3676 §4.3).
SEPARATOR = "\n\n-- \n"

log = structlog.get_logger(__name__)


class Fate(StrEnum):
    """What became of one recipient's mail."""

    UNSENT = "unsent"  #: provably not there: not tried yet, or the server said to come back
    TAKEN = "taken"  #: the server has it
    REFUSED = "refused"  #: the server does not take it for this recipient, or puts it off too long
    IN_DOUBT = "in doubt"  #: being sent, or sent without an answer
    TOLD = "told"  #: in doubt, and told to a person: sent again once they say so


class Delivered(Protocol):
    """Who has a post, by a key of each recipient. What was noted is kept, or LedgerAway raised."""

    async def of(self, post_id: str) -> Mapping[str, str]:
        """What was noted so far."""
        ...

    async def note(self, post_id: str, fates: Mapping[str, str]) -> None:
        """Notes what became of some, all or none."""
        ...


class Mail(Sender[W]):
    """Sends to one list. Login, addresses and answers are never shown.

    A server's certificate must be one that `trust` (None: the system) vouches for.
    """

    def __init__(
        self, channel: Channel[W], account: MailAccount, *, delivered: Delivered,
        networks: http.Networks, clock: Clock, trust: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.channel = channel
        self._account = account
        self._delivered = delivered
        self._networks = networks
        self._clock = clock
        self._trust = trust

    async def send(self, message: Message[W]) -> Receipt:
        """Sends to whoever has not got it. Raises TryLater, Refused or InDoubt.

        A receipt says that nobody is left: each mail was taken, refused, or put off for too long.
        """
        meant_for(self.channel, message)
        time = asyncio.get_running_loop().time()
        ends = time + (self.channel.deadline - LAST_NOTE).total_seconds()
        progress = _Progress(self._delivered, message.post_id, self._account.recipients)
        try:
            await progress.load()
            broke = await self._lanes(message, progress, ends)
            return await self._end(message, progress, broke)
        except LedgerAway as away:  # what could not be noted is in doubt there, if it was begun
            raise TryLater(str(away)) from None

    async def close(self) -> None:
        """Each connection ends with its mails, so nothing is open."""

    async def _lanes(
        self, message: Message[W], progress: _Progress, ends: float
    ) -> TryLater | Refused | None:
        """Sends to whoever is left, on some connections at a time; answers what broke one off."""
        whom = progress.left()
        each = max(BATCH, min(PER_CONNECTION, -(-len(whom) // LANES)))
        left = iter(whom)
        broken: list[TryLater | Refused] = []

        async def lane() -> None:
            while some := list(islice(left, each)):
                if (broke := await self._connection(message, progress, some, ends)) is not None:
                    broken.append(broke)
                    return

        lanes = [lane() for _ in range(min(LANES, -(-len(whom) // each)))]
        for failed in await asyncio.gather(*lanes, return_exceptions=True):  # all come to an end
            if failed is not None:
                raise failed
        return broken[0] if broken else None

    async def _end(
        self, message: Message[W], progress: _Progress, broke: TryLater | Refused | None
    ) -> Receipt:
        """The post's receipt, or what keeps it from having one."""
        fates = list(progress.fates.values())
        taken, refused, unsent = map(fates.count, (Fate.TAKEN, Fate.REFUSED, Fate.UNSENT))
        log.info("mail to a list", channel=self.channel.name, post=message.post_id,
                 recipients=len(fates), taken=taken, refused=refused, unsent=unsent)  # fmt: skip
        if broke is None and unsent:
            why = f"The mail server put {unsent} of them off ({progress.said})."
            broke = TryLater(why, AT_ONCE if taken else None)
            if taken and self._clock.now() - message.released_at > PUT_OFF:
                progress.leave_out()
                unsent = 0
        if broke is not None and unsent:
            why = f"{broke} {taken} of {len(fates)} mails were taken so far."
            raise TryLater(why, broke.after) if isinstance(broke, TryLater) else type(broke)(why)
        if doubtful := await progress.tell():
            raise InDoubt(
                f"Of {doubtful} of {len(fates)} mails nobody knows whether the server took them; "
                f"{taken} were taken. Sending again sends to those alone."
            )
        if not taken:
            raise Refused(
                f"The mail server refused every recipient ({progress.said}). Correct the list, or "
                "ask whoever runs the server."
            )
        return Receipt(remote_id=message.post_id)

    async def _connection(
        self, message: Message[W], progress: _Progress, recipients: Sequence[str], ends: float
    ) -> TryLater | Refused | None:
        """Gives one connection's mails to the server; answers what broke it off."""
        account = self._account
        where = (account.host, account.port, account.tls, account.sender)
        with smtp.server(*where, self._trust) as server:
            try:
                async with asyncio.timeout(http.READ):
                    await smtp.connect(server, self._networks)
                    if account.login is not None:
                        await server.login(*account.login)
                waiting = iter(recipients)
                while batch := list(islice(waiting, BATCH)):
                    broke = await self._batch(server, message, progress, batch, ends)
                    if broke is not None:
                        return broke
                await smtp.goodbye(server)
                return None
            except smtp.BREAKS as problem:
                return _how_it_broke(problem)

    async def _batch(
        self, server: SMTP, message: Message[W], progress: _Progress, batch: Sequence[str],
        ends: float,
    ) -> TryLater | Refused | None:  # fmt: skip
        """Gives some mails to the server, noted before and after; answers what broke it off."""
        last = ends - LAST_MAIL.total_seconds()
        async with progress.begun(batch) as waiting:
            for recipient in batch:
                if asyncio.get_running_loop().time() > last:
                    return TryLater("The list is long, and goes on.", AT_ONCE)
                try:
                    async with asyncio.timeout_at(ends):
                        async with asyncio.timeout(http.READ):
                            await server.mail(self._account.sender)
                            await server.rcpt(recipient)
                        mail = _mail(message, self._account, recipient)
                        del waiting[recipient]  # the words go out with the next command
                        await server.data(mail)
                    progress.fates[recipient] = Fate.TAKEN
                except (SMTPRecipientRefused, SMTPDataError) as said:
                    if not 400 <= said.code < 600:
                        return _how_it_broke(said)
                    waiting.pop(recipient, None)
                    progress.answered(recipient, said.code)
                    if said.code == 421:  # it closes the connection (RFC 5321 §3.8)
                        return _how_it_broke(said)
                    async with asyncio.timeout(http.READ):
                        await server.rset()
        return None


class _Progress:
    """What became of each recipient of one post. `said`: the code of the last no."""

    def __init__(self, delivered: Delivered, post_id: str, recipients: Iterable[str]) -> None:
        self._delivered = delivered
        self._post_id = post_id
        once = {key(post_id, each): each for each in recipients}
        self.fates = dict.fromkeys(once.values(), Fate.UNSENT)
        self._noted: dict[str, Fate] = {}
        self.said: int | None = None
        self._noting = asyncio.Lock()  # what was noted last is what is so

    async def load(self) -> None:
        """Reads what was noted so far. Raises LedgerAway."""
        noted = await self._delivered.of(self._post_id)
        for recipient in self.fates:
            if (fate := noted.get(key(self._post_id, recipient))) is not None:
                self.fates[recipient] = Fate(fate)
        self._noted = dict(self.fates)

    def left(self) -> list[str]:
        """Who is to have it now.

        Where nobody is left but those of whom a person was told, or each was refused for good, only
        a person has the post sent again: so they are to have it now.
        """
        if Fate.UNSENT not in self.fates.values():
            none_has_it = set(self.fates.values()) == {Fate.REFUSED}
            again = Fate.REFUSED if none_has_it else Fate.TOLD
            for recipient, fate in self.fates.items():
                if fate is again:
                    self.fates[recipient] = Fate.UNSENT
        return [each for each, fate in self.fates.items() if fate is Fate.UNSENT]

    @contextlib.asynccontextmanager
    async def begun(self, batch: Sequence[str]) -> AsyncIterator[dict[str, Fate]]:
        """Notes a batch as in doubt, and at its end what came of it. Raises LedgerAway.

        Yields those whose mail has not left yet, to be taken out as it leaves: the others are
        afterwards as they were before.
        """
        waiting = {recipient: self.fates[recipient] for recipient in batch}
        self.fates |= dict.fromkeys(batch, Fate.IN_DOUBT)
        await self._note()
        try:
            yield waiting
        finally:
            self.fates |= waiting
            await self._note()

    def answered(self, recipient: str, code: int) -> None:
        """5xx says no, 4xx not now, and neither took anything (RFC 5321 §4.2.1)."""
        self.fates[recipient] = Fate.REFUSED if code >= 500 else Fate.UNSENT
        self.said = code

    def leave_out(self) -> None:
        """Has nobody left: who is unsent counts as refused."""
        for recipient, fate in self.fates.items():
            if fate is Fate.UNSENT:
                self.fates[recipient] = Fate.REFUSED

    async def tell(self) -> int:
        """How many are in doubt; from now on as told to a person. Raises LedgerAway."""
        for recipient, fate in self.fates.items():
            if fate is Fate.IN_DOUBT:
                self.fates[recipient] = Fate.TOLD
        await self._note()
        return list(self.fates.values()).count(Fate.TOLD)

    async def _note(self) -> None:
        async with self._noting:
            fates = self.fates.items()
            if news := {each: fate for each, fate in fates if fate is not self._noted[each]}:
                keyed = {key(self._post_id, each): str(fate) for each, fate in news.items()}
                await self._delivered.note(self._post_id, keyed)
                self._noted |= news


def key(post_id: str, recipient: str) -> str:
    """What a recipient is called in the ledger, and in the mail: no address, and no other post's.

    No two mailboxes differ by case alone (RFC 5321 §2.4 allows it, and no provider does it).
    """
    return hashlib.sha256(f"{post_id}\0{recipient.lower()}".encode()).hexdigest()[:32]


def _mail(message: Message[W], account: MailAccount, recipient: str) -> bytes:
    """One recipient's mail. Written by hand: what the library folds, it may change."""
    domain, rendering = smtp.domain_of(account.sender), message.rendering
    heads = {
        "From": account.sender,
        "To": recipient,
        "Subject": _encoded(rendering.headline),
        "Date": format_datetime(message.released_at),
        "Message-ID": f"<{message.post_id}.{key(message.post_id, recipient)}@{domain}>",
        "List-Id": f"<{account.name}.{domain}>",
        "List-Unsubscribe": f"<{account.unsubscribe}>",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Language": rendering.language,
    }
    shows = "".join(f"The picture shows: {each.alt}\n" for each in rendering.pictures)
    text = f"{rendering.text}{SEPARATOR}{shows}{_way_off(account.unsubscribe)}\n"
    words = _part(
        {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Transfer-Encoding": "quoted-printable",
        },
        quopri.encodestring(text.encode()).replace(b"\n", b"\r\n"),
    )
    if not rendering.pictures:
        return _heads(heads) + words
    border = f"=_{message.post_id}"  # such a line stands in no text of ours, and in no base64
    heads["Content-Type"] = f'multipart/mixed; boundary="{border}"'
    parts = [words]
    for picture in rendering.pictures:
        parts.append(_attached(picture, message.file(picture)))
    return _part(heads, _between(border, parts))


def _between(border: str, parts: Iterable[bytes]) -> bytes:
    """The parts of a mail (RFC 2046 §5.1)."""
    body = b"".join(f"--{border}\r\n".encode() + part + b"\r\n" for part in parts)
    return body + f"--{border}--\r\n".encode()


def _attached(picture: Picture, data: bytes) -> bytes:
    heads = {
        "Content-Type": picture.type,
        "Content-Transfer-Encoding": "base64",
        "Content-Disposition": f'inline; filename="picture.{ENDINGS[picture.type]}"',
    }
    return _part(heads, base64.encodebytes(data).replace(b"\n", b"\r\n"))


def _part(heads: Mapping[str, str], body: bytes) -> bytes:
    return _heads(heads) + b"\r\n" + body


def _heads(heads: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in heads.items()).encode("ascii")


def _way_off(unsubscribe: str) -> str:
    if unsubscribe.startswith("mailto:"):
        mailbox = unsubscribe.removeprefix("mailto:").partition("?")[0]
        return f"To get no more of these mails, write to {mailbox}"
    return f"To get no more of these mails, open {unsubscribe}"


def _encoded(headline: str) -> str:
    """A header's words in encoded words, on lines of at most 76 characters (RFC 2047 §2)."""
    words = (base64.b64encode(part.encode()).decode() for part in _parts(headline, 39))
    return "\r\n ".join(f"=?utf-8?b?{word}?=" for word in words)


def _parts(text: str, most: int) -> Iterator[str]:
    """The text in parts of at most so many bytes of UTF-8, between characters."""
    part = ""
    for character in text:
        if len((part + character).encode()) > most:
            yield part
            part = ""
        part += character
    yield part


def _how_it_broke(problem: Exception) -> TryLater | Refused:
    """What keeps the server from taking any more. Its own text may hold addresses: its number does.

    4xx says "not now", 5xx "no" (RFC 5321 §4.2.1).
    """
    match problem:
        case smtp.Outside():
            return Refused(
                "The mail server's address lies outside the networks that may be sent to. Nothing "
                "was sent. Correct it, or BROADCASTER_CHANNEL_NETWORKS."
            )
        case SMTPAuthenticationError(code=code) if code >= 500:
            return LockedOut(f"The mail server does not take our login ({code}). Correct it.")
        case SMTPResponseException(code=code) if 400 <= code < 500:
            return TryLater(f"The mail server asked us to come back later ({code}).")
        case SMTPResponseException(code=code) if code >= 500:
            return Refused(f"The mail server refused us ({code}). Ask whoever runs it why.")
        case SMTPException() if type(problem) is SMTPException:  # so it says what is not offered
            return Refused(
                "The mail server offers no TLS, or no login. Correct how we speak to it."
            )
        case _:
            return TryLater(
                "The mail server could not be reached, did not prove who it is (TLS), or broke off."
            )
