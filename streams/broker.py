"""Where the broker is, how we prove to it who we are, and what is ours on it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from broadcaster.errors import Kind, Refusal

#: How a user and a password are shown to the broker. PLAIN shows the password itself.
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True)
class Sasl:
    """An account of ours on the cluster."""

    mechanism: Mechanism
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Broker:
    """A broker, and which sort: the embedded one forgets, and has no idempotence."""

    bootstrap: str  #: `HOST:PORT,HOST:PORT`
    embedded: bool
    partitions: int = 1  #: of a topic made here
    replication: int = 1  #: copies of each partition
    #: Stands before every topic and consumer group, so that several departments share a cluster.
    prefix: str = ""
    tls: ssl.SSLContext | None = None
    sasl: Sasl | None = None

    def named(self, name: str) -> str:
        """A topic or consumer group as it is called on the broker."""
        return f"{self.prefix}{name}"

    def client(self) -> dict[str, Any]:
        """What every client of aiokafka's is told."""
        told: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self._protocol,
            "ssl_context": self.tls,
        }
        if self.sasl:
            told["sasl_mechanism"] = self.sasl.mechanism
            told["sasl_plain_username"] = self.sasl.user
            told["sasl_plain_password"] = self.sasl.password
        return told

    @property
    def _protocol(self) -> str:
        wire = "SSL" if self.tls else "PLAINTEXT"
        return f"SASL_{wire}" if self.sasl else wire


def tls(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Proves that a broker is ours, by `ca` or the system's authorities, and shows our certificate.

    Raises Refusal where one of the files is of no use.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # an ssl.SSLError is one
        files = ", ".join(str(file) for file in (ca, certificate, key) if file)
        raise Refusal(
            "kafka_tls_unusable",
            f"TLS to Kafka cannot use {files}: {error.strerror or error}.",
            "Give PEM files that this user may read, and the key that belongs to the certificate.",
            kind=Kind.UNAVAILABLE,
        ) from None
    return context
