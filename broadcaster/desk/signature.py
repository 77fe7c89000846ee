"""CAP's enveloped signature: these are the department's words (CAP 1.2, 3.3.4.1; W3C XMLSIG).

RSA-SHA256 over the message's exclusive canonical form, with the certificate in KeyInfo. It holds no
time and nothing random: the same message has the same signature, from every desk and after every
start, so that a reader's copy stays good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from broadcaster.errors import Refusal
from broadcaster.settings import Settings

#: Bits of a key below which nobody should trust it (NIST SP 800-131A).
SHORTEST_KEY = 2048

#: Signed messages that are kept: several times those of the index. An older one is signed again.
KEPT = 256


class CapSigner:
    """Signs with one key and the certificates that speak for it, the key's own first."""

    def __init__(self, key: RSAPrivateKey, certificates: Sequence[x509.Certificate]) -> None:
        self._key = key
        self._certificates = list(certificates)
        self._kept: dict[bytes, asyncio.Task[bytes]] = {}

    @classmethod
    def of(cls, settings: Settings) -> CapSigner | None:
        """The signer of these settings; None where they name none. Raises Refusal.

        Reading a key takes up to 0.3 s, since it is checked: once, at the start.
        """
        secret, public = settings.cap_key, settings.cap_certificate
        if not secret and not public:
            return None
        if not secret or not public:
            raise _unusable("the key and its certificate belong together, and one is missing")
        try:
            key = load_pem_private_key(secret.get_secret_value().encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _unusable("the key is no PEM that can be read without a passphrase") from None
        try:
            certificates = x509.load_pem_x509_certificates(public.encode())
        except ValueError:
            raise _unusable("the certificate is no PEM") from None
        if not isinstance(key, RSAPrivateKey) or key.key_size < SHORTEST_KEY:
            raise _unusable(f"the key is no RSA key of {SHORTEST_KEY} bits or more")
        if certificates[0].public_key() != key.public_key():
            raise _unusable("the first certificate is another key's")
        if not _may_sign(certificates[0]):
            raise _unusable("the certificate's key usage leaves out digital signatures")
        return cls(key, certificates)

    @property
    def valid(self) -> tuple[datetime, datetime]:
        """From when until when all its certificates hold."""
        return (
            max(each.not_valid_before_utc for each in self._certificates),
            min(each.not_valid_after_utc for each in self._certificates),
        )

    async def signed(self, message: bytes) -> bytes:
        """The message with its signature: made once, beside the loop, whoever asks meanwhile."""
        making = self._kept.get(message)
        if making is None:
            making = asyncio.create_task(asyncio.to_thread(self.sign, message))
            self._kept[message] = making
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return await asyncio.shield(making)  # one reader may leave; the others wait for the same

    def sign(self, message: bytes) -> bytes:
        """The same, at once: about a millisecond."""
        signer = XMLSigner(
            signature_algorithm=SignatureMethod.RSA_SHA256,
            digest_algorithm=DigestAlgorithm.SHA256,
            c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        )
        alert = signer.sign(etree.fromstring(message), key=self._key, cert=self._certificates)
        return bytes(etree.tostring(alert, encoding="utf-8", xml_declaration=True))


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether receivers that look at the key usage take its signatures (RFC 5280, 4.2.1.3)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.digital_signature


def _unusable(why: str) -> Refusal:
    return Refusal(
        "cap_signature_unusable",
        f"CAP messages cannot be signed: {why}.",
        "Mend BROADCASTER_CAP_KEY and BROADCASTER_CAP_CERTIFICATE, or leave both out.",
        field="BROADCASTER_CAP_KEY",
    )
