"""One way for every channel to speak HTTP: guarded, bounded, and honest about what got through.

Each channel has a session of its own, and each send a connection of its own: no cookie, address
or connection outlives it. A kept connection may have been closed by the other side in the
meantime, and then nobody can say whether the message left on it; a new one costs a handshake and
leaves no such doubt.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from broadcaster.clock import Clock
from broadcaster.delivery import InDoubt, Refused, TryLater
from broadcaster.update import LONGEST_EXPIRY

Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

#: Seconds to look up a name, connect and agree on TLS, and seconds without a byte of an answer.
CONNECT, READ = 3.0, 10.0

#: A call is given this long before its end counts as not known.
DEADLINE = timedelta(seconds=CONNECT + READ)

#: The setting that holds the networks that calls may be sent to.
CALL_NETWORKS = "BROADCASTER_CALL_NETWORKS"

#: Of an answer no more than this is read; its status stands.
LONGEST_ANSWER = 65_536

_OUTSIDE = (
    "The receiver's address lies outside the networks that may be sent to. Nothing was sent. "
    "Correct its URL, or {}."
)


@dataclass(frozen=True)
class Answer:
    """What came back, once all of it was there."""

    status: int
    retry_after: timedelta | None
    body: bytes = field(default=b"", repr=False)  #: its beginning, where it was a long one


class Client:
    """Speaks for one channel, to addresses within `networks` and no others.

    `setting` is where the networks stand, for whoever has to correct them.
    """

    def __init__(
        self, networks: Networks, clock: Clock, setting: str = "BROADCASTER_WEBHOOK_NETWORKS"
    ) -> None:
        self._networks = networks
        self._clock = clock
        self._outside = _OUTSIDE.format(setting)
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, url: URL, *, body: bytes, headers: Mapping[str, str], deadline: timedelta
    ) -> Answer:
        """Posts once, and follows no redirect.

        Raises TryLater where it broke before a byte of the message left, InDoubt where it broke
        later or took longer than `deadline`, Refused where the address may not be sent to. No
        error holds the URL, which may itself be a secret.
        """
        if _is_address(url.host) and not _within(url.host, self._networks):
            raise Refused(self._outside)
        if self._session is None:
            self._session = _session(self._networks)
        try:
            async with (
                asyncio.timeout(deadline.total_seconds()),
                self._session.post(
                    url, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                said = await _read(response)
                pause = retry_after(response.headers.get("Retry-After"), self._clock.now())
                return Answer(response.status, pause, said)
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise self._how_it_broke(problem) from None

    async def close(self) -> None:
        """Ends what is open; may be called again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _how_it_broke(self, problem: Exception) -> TryLater | Refused | InDoubt:
        """By where it broke: aiohttp's connector errors come before the message's first byte."""
        match problem:
            case aiohttp.ClientConnectorDNSError(os_error=_Outside()):
                return Refused(self._outside)
            case aiohttp.InvalidURL():
                return Refused("The receiver's URL cannot be used. Correct it in the settings.")
            case aiohttp.ClientConnectorDNSError():
                return TryLater("The receiver's name could not be looked up. Nothing was sent.")
            case aiohttp.ClientSSLError():
                return TryLater("The receiver did not prove who it is (TLS). Nothing was sent.")
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                return TryLater("The receiver could not be reached. Nothing was sent.")
            case TimeoutError():
                return InDoubt("The receiver gave no answer in time.")
            case _:
                return InDoubt("The connection broke before the whole answer was there.")


def prove(answer: Answer) -> None:
    """Raises unless the answer says that the message was taken (2xx).

    TryLater where the server says that it did nothing: 429 (RFC 6585 §4), and 503 with a time to
    come back at (RFC 9110 §15.6.4). A bare 503 is no such word: proxies and time limits say it
    too of a server that broke off halfway, as they say 408 and the other 5xx. All of these are
    InDoubt; what may be done about it follows from the channel's class. The rest is Refused.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    if status == 429 or (status == 503 and answer.retry_after is not None):
        raise TryLater(f"The receiver asked us to come back later ({status}).", answer.retry_after)
    if status < 200 or status == 408 or status >= 500:
        raise InDoubt(f"The receiver answered {status}, which leaves open what it did.")
    if status < 400:
        raise Refused(
            f"The receiver answered {status}, a redirect, and none is followed. "
            "Put its new address into the settings."
        )
    raise Refused(f"The receiver refused this ({status}). Ask whoever runs it why.")


def signed(message_id: str, body: bytes, *, key: bytes, at: datetime) -> dict[str, str]:
    """The headers that sign a body (Standard Webhooks 1.0); each try has the same `message_id`."""
    stamp = str(int(at.timestamp()))
    to_sign = f"{message_id}.{stamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, to_sign, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{signature}",
    }


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """The pause that a Retry-After header asks for, in either form (RFC 9110 §10.2.3).

    None where there is none that can be read. No pause is longer than any update lives.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(float(text), LONGEST_EXPIRY.total_seconds()))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return min(max(at - now, timedelta()), LONGEST_EXPIRY)


class _Outside(OSError):
    """A name has no address within the allowed networks."""


class _Guard(aiohttp.ThreadedResolver):
    """Gives the connector addresses within the allowed networks and no others.

    The connector connects to just these, so a name cannot mean one address when it is checked
    and another when it is used. A literal address never comes here: `post` checks it.
    """

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self._networks = networks

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        allowed = [each for each in found if _within(each["host"], self._networks)]
        if not allowed:
            raise _Outside
        return allowed


def _session(networks: Networks) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=_Guard(networks), use_dns_cache=False, force_close=True, limit=0
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=READ),
        headers={"User-Agent": "incident-alert-broadcaster"},
        auto_decompress=False,
    )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Reads the answer to its end, so that one cut off halfway is not taken for an answer."""
    said = bytearray()
    async for chunk in response.content.iter_any():
        said += chunk
        if len(said) > LONGEST_ANSWER:
            break
    return bytes(said[:LONGEST_ANSWER])


def _is_address(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


def _within(host: str | None, networks: Networks) -> bool:
    address = ipaddress.ip_address(host or "")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # it reaches the same machine, so it is the same address
    return any(address in network for network in networks)
