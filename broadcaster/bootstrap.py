"""Where the parts meet: everything else receives what it needs as arguments."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from adapters.call_mail import CallMail
from adapters.call_push import CallPush, public_key
from adapters.call_sms import CallSms
from adapters.call_webhook import CallWebhook
from adapters.http import Networks
from adapters.inform_webhook import InformWebhook
from broadcaster.apps import origins
from broadcaster.calling import Caller, Means
from broadcaster.clock import Clock, SystemClock
from broadcaster.desk import deps
from broadcaster.desk.deps import Desk, Flow
from broadcaster.desk.signature import CapSigner
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.incident import Report
from broadcaster.intake import native, signature
from broadcaster.intake.door import Door
from broadcaster.ledger import Ledger, Tx, problems
from broadcaster.passkey import Site
from broadcaster.posting import EXERCISE, LIVE, Channels, channels
from broadcaster.settings import Settings, TwilioSetting
from broadcaster.world import W
from streams import codec, making, topics
from streams.app import Delivered, Handler, Step
from streams.broker import Broker, Sasl, tls
from streams.compile import compile_reports
from streams.deliver import Deliver
from streams.errors import Poison, TopicsNotMade
from streams.gate import judge_decision
from streams.inform import Inform
from streams.intake import intake_handler
from streams.notify import Notify, call_approver
from streams.prove import prove
from streams.run import STEPS, Flowing

log = structlog.get_logger(__name__)


def check_live(settings: Settings, *, calls: bool = False) -> None:
    """Raises Refusal where the live world is asked for and lacks what it cannot do without.

    `calls`: whether people are called from here, or told here how they may be.
    """
    if settings.world == EXERCISE:
        return
    if calls and not settings.calls:
        raise Refusal(
            "live_calls_nobody",
            "The live world does not start: nobody can be called by push, SMS, mail or an app, and "
            "an update that nobody is called for waits.",
            "Write an account into BROADCASTER_CALLS, better two; or set "
            "BROADCASTER_WORLD=exercise.",
            kind=Kind.FORBIDDEN,
        )
    if settings.public_url is None or settings.public_url.scheme != "https":
        raise Refusal(
            "live_without_https",
            "The live world does not start: phones reach the desk over https alone, and passkeys "
            "answer nowhere else.",
            "Put a proxy with TLS before the desk, and its address into BROADCASTER_PUBLIC_URL; or "
            "set BROADCASTER_WORLD=exercise.",
            kind=Kind.FORBIDDEN,
        )


def make_callers(settings: Settings, address: str, clock: Clock) -> Mapping[Means, Caller[Any]]:
    """What people are called by: one for each account of the settings. `address`: the desk's."""
    if settings.world == EXERCISE:
        return _callers(settings, EXERCISE, address, clock)
    return _callers(settings, LIVE, address, clock)


def _callers(
    settings: Settings, world: W, address: str, clock: Clock
) -> dict[Means, Caller[W]]:  # fmt: skip
    networks = settings.call_networks
    callers: list[Caller[W]] = []
    if push := settings.calls.push:
        callers.append(CallPush(
            world, key=push.key.get_secret_value(), contact=push.contact, networks=networks,
            clock=clock,
        ))  # fmt: skip
    if account := settings.calls.sms:
        callers.append(_sms(account, world, address, networks, clock))
    if mail := settings.calls.mail:
        callers.append(CallMail(
            world, host=mail.host, port=mail.port, tls=mail.tls, login=mail.login,
            sender=mail.sender, clock=clock,
        ))  # fmt: skip
    if app := settings.calls.app:
        callers.append(CallWebhook(
            world, url=str(app.url), key=signature.key(app.secret.get_secret_value()),
            networks=networks, clock=clock,
        ))  # fmt: skip
    return {caller.means: caller for caller in callers}


def _inform(settings: Settings, ledger: Ledger, address: str, clock: Clock) -> Inform | None:
    """What tells the department's app of approval requests; None where there is none."""
    app = settings.calls.app
    if app is None:
        return None
    key = signature.key(app.secret.get_secret_value())
    informer: InformWebhook[Any] = InformWebhook(
        url=str(app.url), key=key, networks=settings.call_networks, clock=clock
    )
    return Inform(ledger, informer, address, clock)


def _sms(
    account: TwilioSetting, world: W, address: str, networks: Networks, clock: Clock
) -> CallSms[W]:
    """The account that SMS are sent from. Twilio reports back where it can: over https alone."""
    return CallSms(
        world, account=account.account, token=account.token.get_secret_value(),
        sender=account.sender, networks=networks, clock=clock,
        callback=f"{address}{deps.SMS_REPORTS}" if address.startswith("https://") else None,
    )  # fmt: skip


def read_native(raw: bytes, now: datetime) -> Report:
    """Intake's reading of a message that a CAD system wrote to its topic."""
    return native.parse(raw, now=now).report


def outside_broker(settings: Settings) -> Broker | None:
    """The Apache Kafka cluster of the settings; None where they name none.

    Raises Refusal where a file that TLS needs is of no use.
    """
    if settings.kafka is None:
        return None
    return Broker(
        settings.kafka,
        embedded=False,
        partitions=settings.kafka_partitions,
        replication=settings.kafka_replication,
        prefix=settings.kafka_prefix,
        tls=tls(settings.kafka_tls_ca, settings.kafka_tls_cert, settings.kafka_tls_key)
        if settings.kafka_tls
        else None,
        sasl=_account(settings),
    )


async def apply_topics(
    settings: Settings, added: Sequence[str] = ()
) -> list[making.Applied]:  # fmt: skip
    """Makes and grows the topics on the cluster of the settings. Raises Refusal.

    `added`: channels beside those of the settings.
    """
    broker = outside_broker(settings)
    if broker is None:
        raise Refusal(
            "no_kafka",
            "No Apache Kafka is set; the embedded broker's topics are made when it starts.",
            "Set BROADCASTER_KAFKA.",
        )
    return await making.apply(broker, _topics(settings, added))


async def topic_for(settings: Settings, channel: str) -> None:
    """Makes the topic of a channel that is to be added, where the cluster lacks it. Raises Refusal.

    Without it no step of the next start could begin.
    """
    broker = outside_broker(settings)
    if broker is None:
        return  # the embedded one's are made at each start
    posts = {topics.full_name(settings.world, topics.POSTS, channel): topics.POSTS}
    try:
        await making.ready(broker, posts, deadline=10)
    except TopicsNotMade:
        await making.apply(broker, posts)


async def wrong_topics(settings: Settings, broker: Broker, seconds: float) -> list[str]:
    """What of the topics on a cluster is not as it should be. Raises Refusal after so long."""
    return await making.wrong(broker, _topics(settings), deadline=seconds)


def _topics(settings: Settings, added: Sequence[str] = ()) -> dict[str, topics.Topic]:
    return topics.full_names(settings.world, [*(each.name for each in channels(settings)), *added])


def _account(settings: Settings) -> Sasl | None:
    if not (settings.kafka_sasl and settings.kafka_user and settings.kafka_password):
        return None
    password = settings.kafka_password.get_secret_value()
    return Sasl(settings.kafka_sasl, settings.kafka_user, password)


def flowing(
    settings: Settings,
    ledger: Ledger,
    broker: Broker,
    address: str,
    clock: Clock | None = None,
    *,
    steps: Sequence[str] = STEPS,
    relays: bool = True,
    known: Channels | None = None,
) -> Flowing:
    """The named steps in this process. `address` is the desk's."""
    clock = clock or SystemClock()
    known = known or Channels(settings, ledger)
    holder = uuid.uuid4().hex  # of leases: the process, so that its next streams need not wait
    names = known.names
    incident_url = f"{address}/p/{{}}".format
    flow = Flowing(
        ledger,
        broker,
        settings.world,
        known.all,
        (),
        on_poison(ledger),
        lambda: Deliver(
            ledger,
            known.adapters(),
            incident_url,
            clock,
            holder,
        ),
        lambda: Notify(
            ledger,
            make_callers(settings, address, clock),
            address,
            clock,
            _inform(settings, ledger, address, clock),
        ),
        lambda: prove(ledger, settings.codes_key, Site.at(incident_url(""))),
        clock,
        relays=relays,
        group=_group(settings, broker, steps),
        sweep_seconds=settings.sweep_seconds,
        watchdog_seconds=settings.watchdog_seconds,
    )
    flow.steps = tuple(
        Step(name, topics.read_by(name, settings.world, names), handle)
        for name, handle in handlers(
            settings, ledger, clock, incident_url, lambda: flow.deliver
        ).items()
        if name in steps
    )
    return flow


def _group(settings: Settings, broker: Broker, steps: Sequence[str]) -> str:
    """The consumer group: one for everything in one process, else one a step."""
    if broker.embedded:
        return "broadcaster"
    name = steps[0] if len(steps) == 1 else "up" if steps else "relay"
    return f"broadcaster.{settings.world}.{name}"


#: Reports remembered as compiled before their own message came; forgetting costs one look each.
MOST_DONE = 10_000


def handlers(
    settings: Settings,
    ledger: Ledger,
    clock: Clock,
    incident_url: Callable[[str], str],
    deliver: Callable[[], Deliver | None],
) -> dict[str, Handler]:
    """What each step does with one message, by the step's name.

    What fails for a reason that nobody foresaw is noted and left to the sweep, which calls it
    again: one row that cannot be used must not hold up all that come after it.
    """

    judge = _judges(settings)
    done: set[str] = set()  # compiled before their own message came
    failing = _Failing(ledger)

    async def compile_(message: Delivered) -> None:
        report_id = codec.decode(codec.ReportAccepted, message.value).report_id
        if report_id in done:
            done.discard(report_id)
            return
        step = partial(
            compile_reports, report_id, department=settings.department, zone=settings.zone
        )
        async with failing("compile", report_id):
            try:
                compiled = await ledger.write(step())
            except LedgerAway:
                raise
            except Exception:  # of one that waits beside it, perhaps
                compiled = await ledger.write(step(side_by_side=1))
            _known(compiled is not None, "report")
            if len(done) > MOST_DONE:  # messages that the broker forgot never come for theirs
                done.clear()
            done.update(set(compiled or ()) - {report_id})

    taken_in = intake_handler(ledger, read_native, clock)

    async def intake(message: Delivered) -> None:
        try:
            await taken_in(message)
        except (LedgerAway, Poison):
            raise
        except Exception as problem:
            log.exception("a step failed", step="intake")
            raise Poison(
                "step_failed",
                f"intake failed at this message ({type(problem).__name__}).",
                "The log of intake says where. Have it mended, then `broadcaster problems retry`.",
            ) from problem

    async def notify(message: Delivered) -> None:
        request_id = codec.decode(codec.RevisionSubmitted, message.value).request_id
        async with failing("notify", request_id):
            _known(await ledger.write(call_approver(request_id)), "request")

    async def gate(message: Delivered) -> None:
        decision_id = codec.decode(codec.DecisionRecorded, message.value).decision_id
        step = judge(decision_id, incident_url, settings.contact)
        async with failing("gate", decision_id):
            _known(await ledger.write(step, urgent=True), "decision")

    async def deliver_(message: Delivered) -> None:
        codec.decode(codec.PostPlanned, message.value)
        if lanes := deliver():
            await lanes.look()

    return {
        "intake": intake,
        "compile": compile_,
        "notify": notify,
        "gate": gate,
        "deliver": deliver_,
    }


def _judges(
    settings: Settings,
) -> Callable[[str, Callable[[str], str], str], Callable[[Tx], bool]]:
    """The gate of one world: releases of the other cannot be typed into what it makes."""
    by_voice, device_bound = settings.voice_approval, settings.device_bound
    apps = origins(settings.apps)
    if settings.world == EXERCISE:
        return lambda decision, url, contact: judge_decision(
            decision, EXERCISE, url, contact, by_voice=by_voice, device_bound=device_bound,
            apps=apps,
        )  # fmt: skip
    return lambda decision, url, contact: judge_decision(
        decision, LIVE, url, contact, by_voice=by_voice, device_bound=device_bound, apps=apps
    )


class _Failing:
    """What a step could not do, noted in `problems` once in a process's life."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._noted: set[tuple[str, str]] = set()

    @contextlib.asynccontextmanager
    async def __call__(self, step: str, about: str) -> AsyncIterator[None]:
        try:
            yield
        except (LedgerAway, Poison):
            raise
        except Exception as problem:
            log.exception("a step failed", step=step, about=about)
            if (step, about) not in self._noted:
                await self._note(step, about, type(problem).__name__)
                self._noted.add((step, about))

    async def _note(self, step: str, about: str, cause: str) -> None:
        refusal = Refusal(
            "step_failed",
            f"{step} failed at {about} ({cause}), and is called for it again every few seconds.",
            f"The log of {step} says where. Have it mended; nothing was lost.",
        )
        await self._ledger.write(lambda tx: problems.note(tx, problems.Place(source=step), refusal))


def on_poison(ledger: Ledger) -> Callable[[Delivered, Poison], Awaitable[None]]:
    """Commits a message that can never be handled to `problems`, without what it said."""

    async def note(message: Delivered, poison: Poison) -> None:
        where = message.where
        place = problems.Place("kafka", where.topic, where.partition, where.offset, message.written)

        def step(tx: Tx) -> None:
            problems.note(tx, place, poison)

        await ledger.write(step)

    return note


def desk(
    settings: Settings, ledger: Ledger, address: str, flow: Callable[[], Flow],
    known: Channels | None = None,
) -> Desk:  # fmt: skip
    """What the desk needs, on this ledger. Raises Refusal where CAP's key cannot be used."""
    secrets = {
        source: [secret.get_secret_value() for secret in several]
        for source, several in settings.intake_secrets.items()
    }
    clock = SystemClock()
    callers = make_callers(settings, address, clock)
    sms = callers.get(Means.SMS)
    push = settings.calls.push
    return Desk(
        settings=settings,
        ledger=ledger,
        intake=Door(secrets),
        channels=known.all if known else channels(settings),
        topics=outside_topics(settings),
        address=address,
        flow=flow,
        clock=clock,
        means=tuple(callers),
        push_key=public_key(push.key.get_secret_value()) if push else None,
        sms_report=sms.reported if isinstance(sms, CallSms) else None,
        cap_signer=CapSigner.of(settings),
    )


def outside_topics(settings: Settings) -> dict[str, deps.Topic]:
    """The topics that programs outside read or write."""
    prefix = settings.kafka_prefix if settings.kafka else ""
    return {
        topic.name: deps.Topic(
            prefix + topics.full_name(settings.world, topic), topic.key, topic.retention
        )
        for topic in (topics.INTAKE, topics.RELEASED, topics.SETTLED)
    }


def _known(found: bool, what: str) -> None:
    if not found:
        raise Poison(
            f"unknown_{what}",
            f"The message names a {what} that the ledger does not hold.",
            "Nothing was done. If it was ours, the ledger was exchanged for an older one; "
            "else find out who writes to this topic.",
        )
