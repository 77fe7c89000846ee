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
import json
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from broadcaster.clock import Clock
from broadcaster.delivery import InDoubt, LockedOut, Refused, TryLater
from broadcaster.media import Picture
from broadcaster.update import LONGEST_EXPIRY

Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

#: Seconds to look up a name, connect and agree on TLS; seconds without a byte of an answer; and the
#: same once a picture was brought, which servers work on first (facts/security §3).
CONNECT, READ, READ_AFTER_PICTURE = 3.0, 10.0, 30.0

#: A call is given this long before its end counts as not known.
DEADLINE = timedelta(seconds=CONNECT + READ)

#: The setting that holds the networks that calls may be sent to.
CALL_NETWORKS = "BROADCASTER_CALL_NETWORKS"

#: The headers in which servers tell of a limit what `-Remaining` is and when it ends (`-Reset`):
#: Mastodon, X, Bluesky.
LIMITS = ("X-RateLimit", "X-Rate-Limit", "RateLimit")

#: X's limits of a day, told beside the one of 15 minutes (seen: node-twitter-api-v2 #495, #553; its
#: own documentation does not name them).
LIMITS_OF_A_DAY = ("x-app-limit-24hour", "x-user-limit-24hour")

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
    limit_ends: timedelta | None  #: from now, as servers tell it that send no Retry-After
    body: bytes = field(default=b"", repr=False)  #: its beginning, where it was a long one

    @property
    def json(self) -> Any:
        """Its body, read. Raises ValueError where it is no JSON."""
        return json.loads(self.body)


class Client:
    """Speaks for one channel, to addresses within `networks` and no others.

    `setting` is where the networks stand, for whoever has to correct them.
    """

    def __init__(
        self, networks: Networks, clock: Clock, setting: str = "BROADCASTER_CHANNEL_NETWORKS"
    ) -> None:
        self._networks = networks
        self._clock = clock
        self._outside = _OUTSIDE.format(setting)
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, url: URL, *, body: bytes, headers: Mapping[str, str], deadline: timedelta
    ) -> Answer:
        """Posts once. Raises as `request` does."""
        return await self.request("POST", url, body=body, headers=headers, deadline=deadline)

    async def bring(
        self, url: URL, *, body: bytes, headers: Mapping[str, str], deadline: timedelta
    ) -> Answer:
        """Posts a picture once. Raises as `request` does."""
        return await self.request(
            "POST", url, body=body, headers=headers, deadline=deadline, read=READ_AFTER_PICTURE
        )

    async def look(
        self, url: URL, *, headers: Mapping[str, str], deadline: timedelta,
        most: int = LONGEST_ANSWER,
    ) -> Answer:  # fmt: skip
        """Gets what may be got without changing anything: however it breaks, nothing was done.

        Raises TryLater.
        """
        try:
            return await self.request("GET", url, headers=headers, deadline=deadline, most=most)
        except (InDoubt, Refused) as broke:
            raise TryLater(str(broke)) from None

    async def request(
        self, method: str, url: URL, *, body: bytes | None = None, headers: Mapping[str, str],
        deadline: timedelta, most: int = LONGEST_ANSWER, read: float | None = None,
    ) -> Answer:  # fmt: skip
        """Asks once, and follows no redirect. `most`: bytes of the answer that are read.

        `read`: seconds that it may take without a byte of an answer; None: READ.

        Raises TryLater where it broke before a byte of the message left, InDoubt where it broke
        later or took longer than `deadline`, Refused where the address may not be sent to. No
        error holds the URL, which may itself be a secret.
        """
        if _is_address(url.host) and not within(url.host, self._networks):
            raise Refused(self._outside)
        if self._session is None:
            self._session = _session(self._networks)
        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=read or READ)
        try:
            async with (
                asyncio.timeout(deadline.total_seconds()),
                self._session.request(
                    method, url, data=body, headers=headers, allow_redirects=False, timeout=limits
                ) as response,
            ):
                said = await _read(response, most)
                now, told = self._clock.now(), response.headers
                return Answer(
                    response.status, retry_after(told.get("Retry-After"), now),
                    limit_over(told, now), said,
                )  # fmt: skip
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise self._how_it_broke(problem) from None

    async def post_signed(
        self, url: URL, message_id: str, body: bytes, *, keys: Sequence[bytes], deadline: timedelta
    ) -> Answer:
        """Posts JSON, signed by each key (Standard Webhooks 1.0). Raises as `post` does."""
        return await self.post(
            url,
            body=body,
            headers={
                "Content-Type": "application/json",
                **signed(message_id, body, keys=keys, at=self._clock.now()),
            },
            deadline=deadline,
        )

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


def prove(answer: Answer, *, repeats: bool = False) -> None:
    """Raises unless the answer says that the message was taken (2xx).

    TryLater where the server says that it did nothing: 429 (RFC 6585 §4). A 503 is no such word,
    not even with a time to come back at (RFC 9110 §15.6.4): proxies and time limits say it, too,
    of a server that broke off halfway, as they say 408 and the other 5xx; Varnish adds Retry-After
    to its own (builtin.vcl, vcl_backend_error), and no platform of ours documents that it did
    nothing then. All of these are InDoubt, with the pause; what may be done about it follows from
    the channel's class. Only of what does no harm twice (`repeats`) it is TryLater.
    The rest is Refused, and LockedOut where it does not know who we are (401, RFC 9110 §15.5.2).
    """
    status = answer.status
    if 200 <= status < 300:
        return
    if status == 429 or (status == 503 and answer.retry_after is not None and repeats):
        pause = answer.limit_ends if answer.retry_after is None else answer.retry_after
        raise TryLater(f"The receiver asked us to come back later ({status}).", pause)
    if status < 200 or status == 408 or status >= 500:
        why = f"The receiver answered {status}, which leaves open what it did."
        raise InDoubt(why, answer.retry_after)
    if status < 400:
        raise Refused(
            f"The receiver answered {status}, a redirect, and none is followed. "
            "Put its new address into the settings."
        )
    refusal = LockedOut if status == 401 else Refused
    raise refusal(f"The receiver refused this ({status}). Ask whoever runs it why.")


def shown(answer: Answer) -> Any:
    """The JSON that a look showed. Raises TryLater where it showed none, ValueError on no JSON."""
    try:
        prove(answer)
    except InDoubt as no:
        raise TryLater(str(no), no.after) from None
    except Refused as no:
        raise TryLater(str(no)) from None
    return answer.json


@contextmanager
def posts_nothing() -> Iterator[None]:
    """For what is brought before a post, as its picture is: however it breaks, nothing was posted,
    and it may be brought again. Raises TryLater and Refused alone."""
    try:
        yield
    except InDoubt as broke:
        raise TryLater(
            f"{broke} It was only the picture; nothing was posted.", broke.after
        ) from None
    except (ValueError, TypeError, LookupError, AttributeError):
        raise TryLater(
            "What the receiver said of the picture cannot be read. Nothing was posted."
        ) from None


def form(fields: Mapping[str, str], name: str, picture: Picture, data: bytes) -> tuple[bytes, str]:
    """A form with a picture in the field `name` (RFC 7578): its bytes and its Content-Type."""
    border = secrets.token_hex(16)
    parts = [
        f'Content-Disposition: form-data; name="{field}"\r\n\r\n{value}'.encode()
        for field, value in fields.items()
    ]
    parts.append(
        f'Content-Disposition: form-data; name="{name}"; filename="{picture.file_name}"\r\n'
        f"Content-Type: {picture.type}\r\n\r\n".encode()
        + data
    )
    body = b"".join(f"--{border}\r\n".encode() + part + b"\r\n" for part in parts)
    return body + f"--{border}--\r\n".encode(), f"multipart/form-data; boundary={border}"


@contextmanager
def legible() -> Iterator[None]:
    """Raises TryLater where what a look showed is not formed as it should be."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError):
        raise TryLater("The receiver showed something that cannot be read.") from None


def signed(
    message_id: str, body: bytes, *, keys: Sequence[bytes], at: datetime
) -> dict[str, str]:  # fmt: skip
    """The headers that sign a body (Standard Webhooks 1.0); each try has the same `message_id`.

    A receiver takes it by whichever of the keys it knows.
    """
    stamp = str(int(at.timestamp()))
    to_sign = f"{message_id}.{stamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, to_sign, hashlib.sha256)) for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{each.decode()}" for each in signatures),
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
    return _until(at, now)


def limit_over(told: Mapping[str, str], now: datetime) -> timedelta | None:
    """The pause that a server's limits ask for: of those at their end the longest, or the first of
    LIMITS where none says how much is left. `told`: the headers, in whatever case."""
    ends = {each: limit_ends(told.get(f"{each}-Reset"), now) for each in LIMITS + LIMITS_OF_A_DAY}
    over = [end for each, end in ends.items()
            if end is not None and told.get(f"{each}-Remaining", "").strip() == "0"]  # fmt: skip
    return max(over, default=next((ends[each] for each in LIMITS if ends[each] is not None), None))


def limit_ends(value: str | None, now: datetime) -> timedelta | None:
    """The pause that the end of one of LIMITS asks for, in any of its three forms.

    Epoch seconds (X, Bluesky), an ISO 8601 time (Mastodon), or seconds from now (the IETF's draft);
    a number of more than the longest pause is an epoch. None and bounds as above.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
        seconds -= now.timestamp() if seconds > LONGEST_EXPIRY.total_seconds() else 0
        return timedelta(seconds=min(max(seconds, 0), LONGEST_EXPIRY.total_seconds()))
    try:
        return _until(datetime.fromisoformat(text), now)
    except ValueError:
        return None


def _until(at: datetime, now: datetime) -> timedelta:
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
        allowed = [each for each in found if within(each["host"], self._networks)]
        if not allowed:
            raise _Outside
        return allowed


def _session(networks: Networks) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=_Guard(networks), use_dns_cache=False, force_close=True, limit=0
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Unasked, a server compresses what is long, and nothing here would undo it.
        headers={"User-Agent": "incident-alert-broadcaster", "Accept-Encoding": "identity"},
        auto_decompress=False,
    )
    # Where a PUT or DELETE broke, aiohttp would ask once more by itself, and has no setting for it.
    session._retry_connection = False
    return session


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Reads the answer to its end, so that one cut off halfway is not taken for an answer."""
    said = bytearray()
    async for chunk in response.content.iter_any():
        said += chunk
        if len(said) > most:
            break
    return bytes(said[:most])


def _is_address(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


def within(host: str | None, networks: Networks) -> bool:
    """Whether an IP address lies in one of the networks."""
    address = ipaddress.ip_address(host or "")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # it reaches the same machine, so it is the same address
    return any(address in network for network in networks)
