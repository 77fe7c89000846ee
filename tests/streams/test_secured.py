"""A cluster that asks who we are, and proves who it is: TLS and SASL, by right and by wrong."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from broadcaster.bootstrap import flowing, outside_broker
from broadcaster.clock import SystemClock
from broadcaster.errors import Refusal
from broadcaster.settings import Settings
from streams import making, reader, topics
from streams.app import Where
from streams.broker import Broker, tls
from streams.embedded import free_port
from streams.errors import BrokerRefused
from streams.relay import Relay
from tests.kafka import cluster
from tests.patience import PATIENCE
from tests.story import EXERCISE, Story
from tests.streams.helpers import Seen, a_name, streams_on
from tests.streams.outbox import Rows, running

#: aiokafka leaves a connection that was not let in to the garbage collector, which then complains.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PASSWORD = "s3cret"
NAMES = topics.full_names(EXERCISE, ["public_page"])
REPORTS = topics.full_name(EXERCISE, topics.REPORTS)


@dataclass(frozen=True)
class Secured:
    """A node with a door for accounts, and one for certificates."""

    accounts: str  #: HOST:PORT
    certificates: str
    ca: Path
    certificate: Path  #: ours, with its key

    def settings(self, **changed: object) -> Settings:
        """Those of an account that is let in."""
        return Settings.model_validate({
            "kafka": self.accounts, "kafka_prefix": f"{a_name('secured')}.",
            "kafka_partitions": 1, "kafka_replication": 1,
            "kafka_tls": True, "kafka_tls_ca": self.ca,
            "kafka_sasl": "SCRAM-SHA-512", "kafka_user": "ours", "kafka_password": PASSWORD,
        } | changed)  # fmt: skip


def at(settings: Settings) -> Broker:
    broker = outside_broker(settings)
    assert broker is not None
    return broker


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    server, ours = (authority.issue_cert(name) for name in ("127.0.0.1", "ours.test"))
    ca, keys, certificate = (folder / name for name in ("ca.pem", "server.pem", "ours.pem"))
    authority.cert_pem.write_to_path(ca)
    ours.private_key_and_cert_chain_pem.write_to_path(certificate)
    chain = b"".join(each.bytes() for each in server.cert_chain_pems)
    keys.write_bytes(_pkcs8(server.private_key_pem.bytes()) + chain)
    accounts, certificates = (f"127.0.0.1:{free_port()}" for _ in range(2))
    sasl = "listener.name.sasl_ssl"
    modules = "org.apache.kafka.common.security"
    settings = {
        "listeners": f"SASL_SSL://{accounts} SSL://{certificates}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keys),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca),
        "listener.name.ssl.ssl.client.auth": "required",
        f"{sasl}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        f"{sasl}.plain.sasl.jaas.config":
            f'{modules}.plain.PlainLoginModule required user_ours="{PASSWORD}";',
        f"{sasl}.scram-sha-256.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
        f"{sasl}.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
    }  # fmt: skip
    users = [f"SCRAM-SHA-{bits}=[name=ours,password={PASSWORD}]" for bits in (256, 512)]
    with cluster(1, settings, users):
        yield Secured(accounts, certificates, ca, certificate)
    gc.collect()


def _pkcs8(key: bytes) -> bytes:
    """A key as Java reads it."""
    loaded = load_pem_private_key(key, None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("by", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "certificate"])
async def test_who_is_known_makes_topics_writes_and_reads(secured: Secured, by: str) -> None:
    if by == "certificate":
        settings = secured.settings(
            kafka=secured.certificates, kafka_tls_cert=secured.certificate,
            kafka_sasl=None, kafka_user=None, kafka_password=None,
        )  # fmt: skip
    else:
        settings = secured.settings(kafka_sasl=by)
    broker = at(settings)
    await making.apply(broker, NAMES)
    await making.ready(broker, NAMES)
    rows, seen = Rows(), Seen()
    rows.leave(REPORTS, [b"look"])
    streams = streams_on(broker, "group", seen, REPORTS)
    await streams.start()
    try:
        async with running(rows, broker):
            await rows.empty()
            assert await seen.until(1) == [b"look"]
        assert streams.assigned() == {REPORTS}
    finally:
        assert await streams.stop()
    (message,) = seen.messages
    assert message.where == Where(broker.named(REPORTS), 0, 0)
    assert await reader.read(broker, message.where) == message


WRONG = {
    "password": ({"kafka_password": "guessed"}, "does not let ours in", "KAFKA_PASSWORD"),
    "user": ({"kafka_user": "theirs", "kafka_sasl": "PLAIN"}, "does not let theirs in",
             "KAFKA_USER"),
    "authority": ({"kafka_tls_ca": None}, "certificate is not to be trusted", "KAFKA_TLS_CA"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_said_with_what_to_mend(secured: Secured, what: str) -> None:
    changed, why, do = WRONG[what]
    broker = at(secured.settings(**changed))
    rows = Rows()
    rows.leave(REPORTS, [b"look"])
    async with asyncio.timeout(30):  # each at once: no waiting would help
        for attempt in (
            making.ready(broker, NAMES),
            making.apply(broker, NAMES),
            Relay(rows, broker).run(),
            reader.read(broker, Where(REPORTS, 0, 0)),
            streams_on(broker, "group", Seen(), REPORTS).start(),
        ):
            with pytest.raises(BrokerRefused) as told:
                await attempt
            assert why in told.value.why
            assert do in told.value.do
            assert PASSWORD not in str(told.value) and "guessed" not in str(told.value)
    assert rows.rows, "what waits is kept"


async def test_streams_that_are_not_let_in_say_what_to_mend_and_try_again(
    secured: Secured, story: Story, tmp_path: Path
) -> None:
    """A password that is mended on the cluster needs no restart here."""
    broker = at(secured.settings(home=tmp_path, kafka_password="guessed"))
    flow = flowing(
        Settings(home=tmp_path), story.ledger, broker, "http://127.0.0.1", SystemClock(),
        steps=["compile"],
    )  # fmt: skip
    task = asyncio.create_task(flow.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while flow.restarts < 2:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.05)
        assert flow.away and "BROADCASTER_KAFKA_PASSWORD" in flow.away.why
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_certificate_of_another_name_is_not_taken(secured: Secured) -> None:
    """Whoever has some certificate of the same authority is not therefore the broker."""
    port = secured.accounts.rpartition(":")[2]
    with pytest.raises(BrokerRefused, match="not to be trusted"):
        await making.ready(at(secured.settings(kafka=f"localhost:{port}")), NAMES)


def test_files_of_no_use_are_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"cannot use .*absent.pem: No such file") as told:
        tls(tmp_path / "absent.pem")
    assert told.value.code == "kafka_tls_unusable"
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(Refusal, match=r"cannot use .*no.pem"):
        tls(tmp_path / "no.pem")


def test_a_password_is_not_shown() -> None:
    settings = Settings.model_validate({
        "kafka": "h:1", "kafka_tls": True, "kafka_sasl": "PLAIN", "kafka_user": "u",
        "kafka_password": PASSWORD,
    })  # fmt: skip
    broker = at(settings)
    assert PASSWORD not in repr(broker) and PASSWORD not in repr(settings)
    assert broker.client()["sasl_plain_password"] == PASSWORD
    assert isinstance(broker.tls, ssl.SSLContext)
    assert replace(broker, tls=None).client()["security_protocol"] == "SASL_PLAINTEXT"
