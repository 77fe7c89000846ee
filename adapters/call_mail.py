"""Calls a person by mail (SMTP, RFC 5321): slower than the others, and often there when they fail.

The subject is the call's words, the text adds the link. `Message-ID` is made from the call's id,
so that whoever gets the same call twice can see that it is one.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Generic, Literal

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
)

from adapters import http, smtp
from broadcaster.calling import MAILBOX, Accepted, Call, Means, meant_for
from broadcaster.clock import Clock
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.world import W


class CallMail(Generic[W]):
    """Calls from one mail account. `login`: user and password, which are never shown.

    `tls`: "tls" from the first byte (port 465), "starttls" (587), or "none" for a relay on this
    machine, which gets no login. A certificate must be one that `trust` (None: the system) vouches
    for. Raises ValueError for a login without TLS.
    """

    means: Literal[Means.MAIL] = Means.MAIL

    def __init__(
        self, world: W, *, host: str, port: int, tls: smtp.Tls,
        login: tuple[str, str] | None, sender: str, clock: Clock,
        deadline: timedelta = http.DEADLINE, trust: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        if login is not None and tls == "none":
            raise ValueError("a login is never sent without TLS")
        self.world: W = world
        self._host, self._port, self._tls = host, port, tls
        self._login = login
        self._sender = sender
        self._clock = clock
        self._deadline = deadline
        self._trust = trust

    async def call(self, call: Call[W]) -> Accepted:
        """Gives the mail to the server. Raises TryLater, Refused or InDoubt."""
        meant_for(self, call)
        if not MAILBOX.fullmatch(call.address):
            raise Refused("This is no mailbox that we can write to. Correct it on the roster.")
        message = self._message(call)
        with smtp.server(self._host, self._port, self._tls, self._sender, self._trust) as server:
            await self._give(server, call, message)
            await smtp.goodbye(server)
        return Accepted(remote_id=message["Message-ID"], at=self._clock.now())

    async def close(self) -> None:
        """Each mail has a connection of its own, so nothing is open."""

    async def _give(self, server: SMTP, call: Call[W], message: EmailMessage) -> None:
        left = False
        try:
            async with asyncio.timeout(self._deadline.total_seconds()):
                async with asyncio.timeout(http.READ):
                    await server.connect()
                async with asyncio.timeout(http.READ):
                    if self._login is not None:
                        await server.login(*self._login)
                    await server.mail(self._sender)
                    await server.rcpt(call.address)
                    left = True  # the words go out with the next command
                    await server.data(message.as_bytes())
        except smtp.BREAKS as problem:
            raise _how_it_broke(problem, left) from None

    def _message(self, call: Call[W]) -> EmailMessage:
        message = EmailMessage(policy.SMTP)
        message["From"] = self._sender
        message["To"] = call.address
        message["Subject"] = call.words
        message["Date"] = format_datetime(self._clock.now())
        message["Message-ID"] = f"<{call.id}@{smtp.domain_of(self._sender)}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
        message["Importance"] = "high"
        message.set_content(f"{call.words}:\n\n{call.url}\n", cte="7bit")
        return message


def _how_it_broke(problem: Exception, left: bool) -> TryLater | Refused | InDoubt:
    """By what the server said, which ends it whenever it was said; else by whether the words left.

    4xx says "not now", and nothing was taken; 5xx says "no" (RFC 5321 §4.2.1). Its own text may
    hold the address, so only its number is told.
    """
    match problem:
        case SMTPAuthenticationError(code=code) if code >= 500:
            return Refused(f"The mail server does not take our login ({code}). Correct it.")
        case SMTPRecipientRefused(code=code) if code >= 500:
            return Refused(f"The mail server does not take this mailbox ({code}). Correct it.")
        case SMTPResponseException(code=code) if 400 <= code < 500:
            return TryLater(f"The mail server asked us to come back later ({code}).")
        case SMTPResponseException(code=code) if code >= 500:
            return Refused(f"The mail server refused this ({code}). Ask whoever runs it why.")
        case _ if left:
            return InDoubt("The mail server gave no answer that says whether it took the mail.")
        case SMTPException() if type(problem) is SMTPException:  # so it says what is not offered
            return Refused(
                "The mail server offers no TLS, or no login. Correct how we speak to it."
            )
        case _:
            return TryLater(
                "The mail server could not be reached, or did not prove who it is (TLS). "
                "Nothing was sent."
            )
