"""A real SMTP server (aiosmtpd) that takes mail, or does at one command what a test tells it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # what it logs is not what we log

#: Instead of an answer to a command: the connection ends as in a crash, or nothing comes at all.
BREAKS, HANGS = "", "..."


def certified() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate for this machine, and what trusts it."""
    authority = trustme.CA()
    theirs, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(trust)
    return theirs, trust


class MailServer:
    """Listens on a free loopback port. `at`: a command, and how it is answered.

    RCPT and DATA may be followed by the recipient that this is for.

    With a certificate it offers STARTTLS, or speaks TLS from the first byte, and then wants to
    know the user and the password.
    """

    def __init__(
        self, at: dict[str, str] | None = None, certificate: ssl.SSLContext | None = None,
        first_byte: bool = False, login: tuple[str, str] = ("", ""),
    ) -> None:  # fmt: skip
        self.taken: list[Envelope] = []
        self.connections = 0
        self._at = at or {}
        self._certificate = certificate
        self._first_byte = first_byte
        self._login = login

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def mails(self) -> list[EmailMessage]:
        return [message_from_bytes(each.content, policy=policy.SMTP) for each in self.taken]

    async def __aenter__(self) -> MailServer:
        loop = asyncio.get_running_loop()
        inside = self._certificate if not self._first_byte else None
        outside = self._certificate if self._first_byte else None

        def connected() -> SMTP:
            self.connections += 1
            return SMTP(
                self, hostname="mail.example", loop=loop, tls_context=inside,
                require_starttls=inside is not None, authenticator=self._knows,
                auth_required=inside is not None, auth_require_tls=inside is not None,
            )  # fmt: skip

        self._server = await loop.create_server(connected, "127.0.0.1", 0, ssl=outside)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def _knows(self, _s: SMTP, _o: Session, _e: Envelope, _m: str, login: object) -> AuthResult:
        assert isinstance(login, LoginPassword)
        if (answer := self._at.get("AUTH")) is not None:
            return AuthResult(success=False, handled=False, message=answer)
        known = (login.login.decode(), login.password.decode()) == self._login
        return AuthResult(success=known, handled=known)

    async def _answer(self, command: str, server: SMTP, recipient: str = "") -> str:
        answer = self._at.get(f"{command} {recipient}", self._at.get(command, "250 OK"))
        if answer == BREAKS:
            server.transport.abort()
        if answer == HANGS:
            await asyncio.Event().wait()  # until the other side has hung up
        return answer

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _: Session, envelope: Envelope, sender: str, _options: list[str]
    ) -> str:
        envelope.mail_from = sender
        return await self._answer("MAIL", server)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return await self._answer("RCPT", server, address)

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await self._answer("DATA", server, envelope.rcpt_tos[0])
        if answer.startswith("250"):
            self.taken.append(envelope)
        return answer

    async def handle_RSET(self, server: SMTP, _: Session, _e: Envelope) -> str:  # noqa: N802
        return await self._answer("RSET", server)

    async def handle_QUIT(self, server: SMTP, _: Session, _e: Envelope) -> str:  # noqa: N802
        return await self._answer("QUIT", server)
