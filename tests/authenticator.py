"""A software authenticator: makes passkeys and answers with them as a phone does."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

from broadcaster import practice

#: Authenticator data's flags (WebAuthn §6.1).
PRESENT, VERIFIED, MAY_BE_SYNCED, ATTESTED = 1, 4, 8, 64


def asks(page: str, name: str) -> dict[str, Any]:
    """What a form of a page asks a passkey, in an attribute of this name."""
    found = re.search(rf"{name}='([^']*)'", page)
    assert found, page
    asked: dict[str, Any] = json.loads(unescape(found[1]))
    return asked


@dataclass
class Authenticator:
    """One device. `flags` are what it says of its user; `counter` what it counts."""

    origin: str
    host: str
    flags: int = PRESENT | VERIFIED
    counter: int = 0
    passkeys: dict[str, bytes] = field(default_factory=dict)  #: private keys by id

    def make(self, options: dict[str, Any]) -> dict[str, Any]:
        """What a browser sends after it made a passkey (RegistrationResponseJSON)."""
        made, private = practice.make()
        self.passkeys[made.id] = private
        raw = base64url_to_bytes(made.id)
        data = self._data(ATTESTED) + bytes(16) + len(raw).to_bytes(2, "big") + raw
        attested = {"fmt": "none", "attStmt": {}, "authData": data + made.public_key}
        return self._said(made.id, {
            "clientDataJSON": self._client("webauthn.create", options["challenge"]),
            "attestationObject": bytes_to_base64url(cbor2.dumps(attested)),
        })  # fmt: skip

    def prove(self, options: dict[str, Any]) -> dict[str, Any]:
        """What a browser sends after a finger's touch (AuthenticationResponseJSON)."""
        allowed = [each["id"] for each in options["allowCredentials"]] or list(self.passkeys)
        passkey = next(each for each in allowed if each in self.passkeys)
        client, data = self._client("webauthn.get", options["challenge"]), self._data()
        key = serialization.load_der_private_key(self.passkeys[passkey], None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        signed = data + hashlib.sha256(base64url_to_bytes(client)).digest()
        return self._said(passkey, {
            "clientDataJSON": client, "authenticatorData": bytes_to_base64url(data),
            "signature": bytes_to_base64url(key.sign(signed, ec.ECDSA(hashes.SHA256()))),
        })  # fmt: skip

    def _data(self, more: int = 0) -> bytes:
        flags = bytes([self.flags | more])
        return hashlib.sha256(self.host.encode()).digest() + flags + self.counter.to_bytes(4, "big")

    def _client(self, kind: str, challenge: str) -> str:
        told = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return bytes_to_base64url(json.dumps(told).encode())

    def _said(self, passkey: str, response: dict[str, str]) -> dict[str, Any]:
        return {"id": passkey, "rawId": passkey, "type": "public-key",
                "clientExtensionResults": {}, "response": response}  # fmt: skip
