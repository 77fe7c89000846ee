"""Why a broker does not take us, in words that say what to mend.

aiokafka tells whoever cannot connect only that it could not, whatever the reason: wrong address,
wrong password, unknown certificate. So the door is tried once more by hand.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from streams.broker import Broker
from streams.errors import BrokerAway, BrokerRefused
from streams.within import within

#: Seconds that the broker gets to say why.
PATIENCE = 2.0

_LOGIN = (AuthenticationFailedError, SaslAuthenticationFailed)
_MECHANISM = (IllegalSaslStateError, UnsupportedSaslMechanismError)


def may_pass(error: BaseException) -> bool:
    """Whether it is worth trying again: a broker that is away may come back."""
    if isinstance(error, ssl.SSLError):
        return False
    return isinstance(error, OSError) or (isinstance(error, KafkaError) and error.retriable)


async def refusal(
    broker: Broker, error: BaseException, topics: Collection[str] = ()
) -> BrokerAway | BrokerRefused:
    """What to raise: `BrokerAway` where waiting may help, `BrokerRefused` where a person must.

    `topics` are those that were written to (names on the broker), where that took too long.
    """
    if isinstance(error, KafkaConnectionError):
        error = await at_the_door(broker) or error
    why = in_words(error)
    if type(error) is TimeoutError:
        why += await _lagging(broker, topics)
    if not may_pass(error) and not isinstance(error, TimeoutError):
        return BrokerRefused(broker.bootstrap, *_what_to_mend(broker, error, why))
    return BrokerAway(broker.bootstrap, why)


def in_words(error: BaseException) -> str:
    """What an error says; what it is called, where it says nothing."""
    return str(error) or type(error).__name__


async def at_the_door(broker: Broker) -> BaseException | None:
    """What the first broker that can be reached says to us; None where it lets us in now."""
    said: BaseException | None = None
    told = {key: value for key, value in broker.client().items() if key != "bootstrap_servers"}
    for host, port, _ in collect_hosts(broker.bootstrap):
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await create_conn(host, port, **told)
            connection.close()
            return None
        except (KafkaError, OSError, TimeoutError) as error:
            said = error
            if not may_pass(error):
                break
    return said


async def _lagging(broker: Broker, topics: Collection[str]) -> str:
    """Where a cluster keeps us waiting because copies of a topic are missing: which, in words."""
    if not topics:
        return ""
    admin = AIOKafkaAdminClient(**broker.client(), request_timeout_ms=int(PATIENCE * 1000))
    try:
        async with asyncio.timeout(PATIENCE):
            await admin.start()
            for topic in await admin.describe_topics(list(topics)):
                for part in topic["partitions"]:
                    there, all_ = len(part["isr"]), len(part["replicas"])
                    if there < all_:
                        return f"; of {all_} copies of {topic['topic']} {there} can be written to"
    except (KafkaError, OSError):
        pass  # it is away altogether
    finally:
        await within(0.5, admin.close())
    return ""


def _what_to_mend(broker: Broker, error: BaseException, why: str) -> tuple[str, ...]:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not to be trusted ({error.verify_message})",
            "Set BROADCASTER_KAFKA_TLS_CA to the authority that signed the brokers' certificates, "
            "and name the brokers in BROADCASTER_KAFKA as their certificates do.",
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no TLS connection came about ({error.reason or why})",
            "Name the brokers' TLS port in BROADCASTER_KAFKA; if they ask for a certificate of "
            "ours, set BROADCASTER_KAFKA_TLS_CERT and BROADCASTER_KAFKA_TLS_KEY.",
        )
    if isinstance(error, _LOGIN) and broker.sasl:
        return (
            f"it does not let {broker.sasl.user} in by {broker.sasl.mechanism} ({why})",
            "Mend BROADCASTER_KAFKA_USER and BROADCASTER_KAFKA_PASSWORD, or the account on Kafka.",
        )
    if isinstance(error, _MECHANISM):
        return (why, "Set BROADCASTER_KAFKA_SASL to one that the brokers take.")
    return (why,)
