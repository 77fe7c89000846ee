"""Practice passkeys: a software authenticator for the practice persons of an exercise on loopback.

It makes and answers just as a phone does, so that the desk and the gate see nothing special; but
its key lies in the ledger, so whoever has the ledger could answer with it. The gate of the live
world takes none.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url as b64

from broadcaster.passkey import Registered, Site

#: Authenticator data's flags: the user was there, and was verified (WebAuthn §6.1).
_THERE_AND_VERIFIED = 0b101


def make() -> tuple[Registered, bytes]:
    """A new passkey, and the private key (PKCS 8) that `answer` needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_numbers()
    cose = {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32, "big"), -3: public.y.to_bytes(32, "big")}
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )  # fmt: skip
    made = Registered(id=b64(secrets.token_bytes(16)), public_key=cbor2.dumps(cose), counter=0,
                      synced=False, aaguid="00000000-0000-0000-0000-000000000000")  # fmt: skip
    return made, private


def answer(passkey_id: str, private: bytes, *, site: Site, challenge: bytes) -> dict[str, Any]:
    """What a browser would send after a finger's touch (AuthenticationResponseJSON)."""
    key = serialization.load_der_private_key(private, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "make() made it"
    client = json.dumps({
        "type": "webauthn.get", "challenge": b64(challenge), "origin": site.origin,
        "crossOrigin": False,
    }).encode()  # fmt: skip
    data = hashlib.sha256(site.host.encode()).digest() + bytes([_THERE_AND_VERIFIED]) + bytes(4)
    signature = key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
    return {
        "id": passkey_id, "rawId": passkey_id, "type": "public-key",
        "clientExtensionResults": {},
        "response": {"clientDataJSON": b64(client), "authenticatorData": b64(data),
                     "signature": b64(signature)},
    }  # fmt: skip
