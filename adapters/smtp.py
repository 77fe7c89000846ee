"""One way to speak to a mail server (SMTP, RFC 5321), for mail that calls a person and mail to a
list.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Literal

from aiosmtplib import SMTP, SMTPException

from adapters import http

Tls = Literal["tls", "starttls", "none"]

#: What a server, or the way to it, may end a conversation with.
BREAKS = (SMTPException, OSError, TimeoutError)


def domain_of(sender: str) -> str:
    """The domain of a mailbox: by it we say who we are, and our mails' ids are told apart."""
    return sender.rpartition("@")[2]


@contextlib.contextmanager
def server(
    host: str, port: int, tls: Tls, sender: str, trust: ssl.SSLContext | None
) -> Iterator[SMTP]:
    """A server to connect to; what was opened ends with the block, however that ends."""
    # It has no timeouts of its own: `wait_for`, by which it keeps them, may swallow our
    # cancellation in Python 3.11.
    there = SMTP(
        hostname=host, port=port, timeout=None, tls_context=trust, use_tls=tls == "tls",
        start_tls=tls == "starttls", local_hostname=domain_of(sender),
    )  # fmt: skip
    try:
        yield there
    finally:
        if isinstance(there.transport, asyncio.Transport):  # it broke off, and TLS says no bye
            there.transport.abort()
        there.close()


class Outside(OSError):
    """A server has no address within the allowed networks."""


async def connect(there: SMTP, networks: http.Networks) -> None:
    """Connects, to an address within `networks` and no other.

    The one that was checked is the one that is connected to, as `http` has it; the certificate must
    still be the name's. Raises Outside, or one of BREAKS.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(there.hostname, there.port, type=socket.SOCK_STREAM)
    allowed = [each for each in found if http.within(str(each[4][0]), networks)]
    if not allowed:
        raise Outside
    await there.connect(sock=await _dialled(allowed), port=None)


async def _dialled(addresses: list[tuple[Any, ...]]) -> socket.socket:
    """A socket to the first of them that answers. Raises OSError."""
    loop, failed = asyncio.get_running_loop(), OSError()
    for family, kind, protocol, _, address in addresses:
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        try:
            await loop.sock_connect(made, address)
        except BaseException as problem:
            made.close()
            if not isinstance(problem, OSError):
                raise
            failed = problem
        else:
            return made
    raise failed


async def goodbye(there: SMTP) -> None:
    """Ends a conversation in order. What was taken is taken, however the goodbye goes."""
    with contextlib.suppress(*BREAKS):
        async with asyncio.timeout(1):
            await there.quit()
