"""Calls a person by web push (RFC 8030, 8291, 8292): to a browser that they allowed to show it.

The payload is JSON, encrypted for that browser alone:

    world    "exercise" or "live"
    call_id  the call's id
    words    what to show; it names no incident and no place
    url      where the person reads and decides

A phone that is away gets it within ten minutes or not at all; a later call about the same
takes the place of one that has not arrived yet (`Topic`).

Of pywebpush, the two parts that it is made of: its own sending knows no guard, takes what looks
like a path for a key file, and has no place for a deadline of ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Generic, Literal, NamedTuple

import http_ece
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02
from yarl import URL

from adapters import http
from broadcaster.calling import WORTH, Accepted, Call, Gone, Means, meant_for
from broadcaster.clock import Clock
from broadcaster.delivery import LockedOut, Refused
from broadcaster.world import W

#: The push services of the browsers that there are; their subdomains belong to them. A browser
#: gives us the address that we post to, so it is not believed before it is one of these.
SERVICES = (
    "https://fcm.googleapis.com",
    "https://push.services.mozilla.com",
    "https://web.push.apple.com",
    "https://notify.windows.com",
)

#: A signed word to a push service lives this long (RFC 8292 §2: at most 24 h) and is used until
#: little is left of it: Apple asks for no more than one an hour.
_SIGNED_FOR, _LEFT = timedelta(hours=12), timedelta(hours=1)


class _Subscription(NamedTuple):
    endpoint: URL
    p256dh: bytes
    auth: bytes


class CallPush(Generic[W]):
    """Calls by web push. `key`: the raw P-256 private key, base64url; it is never shown.

    `contact` is a `mailto:` or `https:` address where push services reach us.
    """

    means: Literal[Means.PUSH] = Means.PUSH

    def __init__(
        self, world: W, *, key: str, contact: str, networks: http.Networks, clock: Clock,
        deadline: timedelta = http.DEADLINE, services: Sequence[str] = SERVICES,
    ) -> None:  # fmt: skip
        self.world: W = world
        self._vapid = Vapid02.from_raw(key.encode())
        self._contact = contact
        self._signed: dict[str, tuple[str, int]] = {}  # by push service, and until when
        self._clock = clock
        self._deadline = deadline
        self._services = [URL(each) for each in services]
        self._client = http.Client(networks, clock, http.CALL_NETWORKS)

    async def call(self, call: Call[W]) -> Accepted:
        """Gives the push to the browser's service. Raises TryLater, Refused (Gone) or InDoubt."""
        meant_for(self, call)
        subscription = _subscription(call.address)
        if not any(_belongs(subscription.endpoint, service) for service in self._services):
            raise Refused("This browser's push service is none that we know. Nothing was sent.")
        topic = hashlib.sha256(call.about_id.encode()).digest()[:24]
        answer = await self._client.post(
            subscription.endpoint,
            body=_encrypted(call, subscription),
            headers={
                "Authorization": self._vouch(str(subscription.endpoint.origin())),
                "Content-Encoding": "aes128gcm",
                "Content-Type": "application/octet-stream",
                "TTL": str(int(WORTH.total_seconds())),
                "Topic": base64.urlsafe_b64encode(topic).decode(),
                "Urgency": "high",
            },
            deadline=self._deadline,
        )
        if answer.status in (404, 410):  # RFC 8030 §7.3
            raise Gone(f"This browser's subscription has ended ({answer.status}).")
        if answer.status in (401, 403):
            raise (LockedOut if answer.status == 401 else Refused)(
                f"The push service does not accept our key or contact ({answer.status}). Look "
                "whether the key is the one that this browser subscribed with."
            )
        http.prove(answer, repeats=True)
        return Accepted(remote_id=call.id, at=self._clock.now())

    async def close(self) -> None:
        await self._client.close()

    def _vouch(self, service: str) -> str:
        """Says to a push service who sends."""
        header, until = self._signed.get(service, ("", 0))
        now = self._clock.now()
        if until < (now + _LEFT).timestamp():
            until = int((now + _SIGNED_FOR).timestamp())
            claims = {"aud": service, "exp": until, "sub": self._contact}
            header = self._vapid.sign(claims)["Authorization"]
            self._signed[service] = header, until
        return header


def new_key() -> str:
    """A private key of our own for push services: raw P-256, base64url."""
    made = ec.generate_private_key(ec.SECP256R1())
    return _text(made.private_numbers().private_value.to_bytes(32, "big"))


def public_key(key: str) -> str:
    """The public half of a private key, as browsers subscribe with it: a point, base64url."""
    point = Vapid02.from_raw(key.encode()).public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return _text(point)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _subscription(address: str) -> _Subscription:
    """A browser's PushSubscription, as its `toJSON` writes it. Raises Refused where it is none."""
    try:
        told = json.loads(address)
        p256dh, auth = (_bytes(told["keys"][name]) for name in ("p256dh", "auth"))
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
        return _Subscription(URL(told["endpoint"]), p256dh, auth)
    except (ValueError, TypeError, KeyError):
        raise Refused("This browser's subscription cannot be read. Subscribe it again.") from None


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _belongs(endpoint: URL, service: URL) -> bool:
    host, theirs = endpoint.host or "", service.host or ""
    within = host == theirs or host.endswith(f".{theirs}")
    return within and endpoint.scheme == service.scheme


def _encrypted(call: Call[W], subscription: _Subscription) -> bytes:
    fields = {"world": call.world, "call_id": call.id, "words": call.words, "url": call.url}
    encrypted: bytes = http_ece.encrypt(
        json.dumps(fields).encode(),
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=subscription.p256dh,
        auth_secret=subscription.auth,
    )
    return encrypted
