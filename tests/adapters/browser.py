"""The other side of web push: a browser that decrypts, and a push service that asks who sends."""

from __future__ import annotations

import base64
import json
from typing import Any

import http_ece
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def point(key: ec.EllipticCurvePrivateKey) -> str:
    return b64(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def raw(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as push libraries write it."""
    return b64(key.private_numbers().private_value.to_bytes(32, "big"))


class Browser:
    """One subscription: its keys never leave it, as in life."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | None = None, auth: str = "") -> None:
        self._key = key or ec.generate_private_key(ec.SECP256R1())
        self.auth = auth or b64(b"sixteen bytes of")
        self.point = point(self._key)

    def subscription(self, endpoint: str) -> str:
        """As a PushSubscription's `toJSON` writes it."""
        keys = {"p256dh": self.point, "auth": self.auth}
        return json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": keys})

    def read(self, body: bytes) -> str:
        """Decrypts (RFC 8291). Raises ECEException where it is not for this browser."""
        auth = unb64(self.auth)
        told: bytes = http_ece.decrypt(body, private_key=self._key, auth_secret=auth)
        return told.decode()


def who_sends(authorization: str) -> tuple[str, dict[str, Any]]:
    """The sender's public key, and what it claims (RFC 8292 §3). Raises InvalidSignature."""
    token, _, key = authorization.removeprefix("vapid t=").partition(",k=")
    signed, _, signature = token.rpartition(".")
    r, s = unb64(signature)[:32], unb64(signature)[32:]
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(key))
    der = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    public.verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
    head, claims = (json.loads(unb64(part)) for part in signed.split("."))
    assert head == {"typ": "JWT", "alg": "ES256"}
    return key, claims
