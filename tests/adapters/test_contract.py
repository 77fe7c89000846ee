"""The contract, judged itself: it must fail of each fault that is planted here in a real adapter.

`FAULTS` is the list: what the adapter does wrong, and the test of `contract.py` that notices. Of
each row two tests are made. That test on the adapter as it is, which passes; and once more with the
fault in it, where it must fail.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import unicodedata
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from adapters import http, webhook
from adapters.webhook import Webhook
from adapters.x import X
from broadcaster.delivery import InDoubt, Message, Receipt, Refused, Seen, TryLater
from broadcaster.world import Exercise
from tests.adapters import test_webhook, test_x
from tests.adapters.contract import ANSWERS, BLIND, CERTIFICATES, TEXTS
from tests.faults import receiver

Plant = Callable[[pytest.MonkeyPatch], None]
Do = Callable[..., Any]
Posting = Message[Exercise]

#: What a test fails of.
FAILS = (AssertionError, pytest.fail.Exception)

HOOK = test_webhook.TestWebhook
ON_X, X_FAULTS = test_x.TestX, test_x.TestXFaults


@dataclass(frozen=True)
class Fault:
    """One thing that an adapter must not do, in the adapter that the class `of` makes."""

    what: str
    of: type
    plant: Plant
    caught_by: str
    case: object = None  #: the one of the test's cases that shows it; None: the test has no cases
    fails: type[BaseException] | tuple[type[BaseException], ...] = FAILS


def around(owner: Any, name: str, fault: Do) -> Plant:
    """Plants `fault(self, do, ...)` in a method's place; `do` is what the method did."""
    real = getattr(owner, name)

    def altered(self: Any, *given: Any, **ways: Any) -> Any:
        return fault(self, functools.partial(real, self), *given, **ways)

    return lambda patch: patch.setattr(owner, name, altered)


def instead(owner: Any, name: str, fault: Do) -> Plant:
    return lambda patch: patch.setattr(owner, name, fault)


# --- What is posted ---------------------------------------------------------------------------


def saying(message: Posting, text: str) -> Posting:
    rendering = message.rendering.model_copy(update={"text": text})
    return message.model_copy(update={"rendering": rendering})


async def cuts(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    return await send(saying(message, message.rendering.text[:280]))


async def mends(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    return await send(saying(message, unicodedata.normalize("NFC", message.rendering.text)))


async def signs_off(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    return await send(saying(message, f"{message.rendering.text}\nSent by the police"))


async def shows_no_picture(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    rendering = message.rendering.model_copy(update={"pictures": ()})
    return await send(message.model_copy(update={"rendering": rendering}))


async def describes_it_itself(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    pictures = tuple(
        each.model_copy(update={"alt": each.alt[:20]}) for each in message.rendering.pictures
    )
    rendering = message.rendering.model_copy(update={"pictures": pictures})
    return await send(message.model_copy(update={"rendering": rendering}))


async def takes_a_new_key(
    _: http.Client, post: Do, url: Any, message_id: str, *given: Any, **ways: Any
) -> Any:
    return await post(url, uuid.uuid4().hex, *given, **ways)


async def gets_around_a_duplicate(x: X[Exercise], send: Do, message: Posting) -> Any:
    if await x.find(message) is not None:
        message = saying(message, f"{message.rendering.text}!")
    return await send(message)


async def lets_all_answer(_: X[Exercise], ask: Do, *given: Any) -> Any:
    return await ask(*[
        each | {"reply_settings": "everyone"} if isinstance(each, dict) else each for each in given
    ])  # fmt: skip


def asks_nobody(*_: object) -> None:
    """Whom a message is meant for."""


# --- What an end means ------------------------------------------------------------------------


async def tries_again_in_doubt(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except InDoubt:
        return await send(message)


async def tries_again_at_once(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except TryLater:
        return await send(message)


async def swallows_doubt(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except InDoubt:
        return Receipt(remote_id=message.post_id)


async def calls_doubt_failed(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except InDoubt as doubt:
        raise Refused(str(doubt)) from None


async def sends_doubt_again_later(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except InDoubt as doubt:
        raise TryLater(str(doubt)) from None


async def forgets_the_pause(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except TryLater as later:
        raise TryLater(str(later)) from None


async def forgets_the_pause_in_doubt(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except InDoubt as doubt:
        raise InDoubt(str(doubt)) from None


async def outlives_its_cancelling(_: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except asyncio.CancelledError:
        raise InDoubt("It was cancelled.") from None


async def needs_no_answer(response: aiohttp.ClientResponse, most: int) -> bytes:
    return b""


async def takes_any_2xx(x: X[Exercise], _: Do, message: Posting) -> Any:
    http.prove(await x._ask("POST", x._api / "tweets", {"text": message.rendering.text}))
    return Receipt(remote_id=message.post_id)


async def has_all_day(_: http.Client, request: Do, *given: Any, **ways: Any) -> Any:
    return await request(*given, **(ways | {"deadline": timedelta(days=1)}))


async def closes_once(client: http.Client, _: Do) -> None:
    assert client._session is not None, "closed already"
    await client._session.close()
    client._session = None


# --- What is told -----------------------------------------------------------------------------

LOG = logging.getLogger("adapters")


async def logs_its_key(hook: Webhook[Exercise], send: Do, message: Posting) -> Any:
    LOG.debug("signed with %s", hook._key)
    return await send(message)


async def logs_where_it_posted(hook: Webhook[Exercise], send: Do, message: Posting) -> Any:
    receipt = await send(message)
    LOG.info("posted to %s", hook._url)
    return receipt


async def names_the_address(hook: Webhook[Exercise], send: Do, message: Posting) -> Any:
    try:
        return await send(message)
    except TryLater as later:
        raise TryLater(f"{hook._url}: {later}") from None


# --- Where it goes ----------------------------------------------------------------------------


def asking(**altered: Any) -> Plant:
    """Each request is made otherwise."""

    def request(_: aiohttp.ClientSession, do: Do, *given: Any, **ways: Any) -> Any:
        return do(*given, **(ways | altered))

    return around(aiohttp.ClientSession, "request", request)


def compresses(_: aiohttp.ClientSession, do: Do, *given: Any, **ways: Any) -> Any:
    ways["headers"] = {**ways["headers"], "Accept-Encoding": "gzip"}
    return do(*given, **ways)


def with_session(alter: Callable[[aiohttp.ClientSession], None]) -> Plant:
    """The channel's session is another."""
    real = http._session

    def session(networks: http.Networks) -> aiohttp.ClientSession:
        made = real(networks)
        alter(made)
        return made

    return instead(http, "_session", session)


def keeps_connections(session: aiohttp.ClientSession) -> None:
    assert session.connector is not None
    session.connector._force_close = False


def keeps_cookies(session: aiohttp.ClientSession) -> None:
    session._cookie_jar = aiohttp.CookieJar(unsafe=True)


def obeys_the_environment(session: aiohttp.ClientSession) -> None:
    session._trust_env = True


# --- What is there ----------------------------------------------------------------------------


async def finds_nothing(*_: object) -> None: ...


async def finds_what_it_remembers(x: X[Exercise], send: Do, message: Posting) -> Any:
    x.__dict__.setdefault("sent", {})[message.post_id] = receipt = await send(message)
    return receipt


def remembering(patch: pytest.MonkeyPatch) -> None:
    async def find(x: X[Exercise], _: Do, message: Posting) -> Any:
        return x.__dict__.get("sent", {}).get(message.post_id)

    around(X, "send", finds_what_it_remembers)(patch)
    around(X, "find", find)(patch)


async def sees_nothing(_: X[Exercise], look: Do, of: Any) -> Any:
    try:
        return await look(of)
    except TryLater:
        return None


async def reads_from_memory(x: X[Exercise], read: Do, there: Receipt) -> Any:
    return Seen(text="Leave.")


async def retracts_nothing(*_: object) -> None: ...


async def takes_no_for_done(_: X[Exercise], retract: Do, there: Receipt) -> None:
    try:
        await retract(there)
    except (TryLater, Refused, InDoubt):
        return


async def edits_by_posting_anew(x: X[Exercise], _: Do, message: Posting, there: Receipt) -> Any:
    await x.retract(there)
    return await x.send(message)


# --- The list ---------------------------------------------------------------------------------


def answer(status: int, **headers: str) -> object:
    """The contract's case of an answer."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return next(case for case in ANSWERS if case[:2] == (status, told))


FAULTS = [
    Fault("cuts the text", HOOK, around(Webhook, "send", cuts),
          "test_what_was_approved_is_what_is_posted", TEXTS[-1]),
    Fault("normalises the text", HOOK, around(Webhook, "send", mends),
          "test_what_was_approved_is_what_is_posted", TEXTS[-2]),
    Fault("adds a line of its own", HOOK, around(Webhook, "send", signs_off),
          "test_what_was_approved_is_what_is_posted", TEXTS[0]),
    Fault("leaves the picture out", HOOK, around(Webhook, "send", shows_no_picture),
          "test_a_picture_is_shown_as_it_was_approved_or_is_not_taken", fails=(*FAILS, KeyError)),
    Fault("cuts the description", HOOK, around(Webhook, "send", describes_it_itself),
          "test_a_picture_is_shown_as_it_was_approved_or_is_not_taken"),
    Fault("shows whatever bytes it has", HOOK, instead(webhook, "meant_for", asks_nobody),
          "test_a_picture_of_other_bytes_is_not_sent"),
    Fault("drops the key", HOOK, around(http.Client, "post_signed", takes_a_new_key),
          "test_the_same_post_carries_the_same_key"),
    Fault("gets around a duplicate", ON_X, around(X, "send", gets_around_a_duplicate),
          "test_twice_is_once"),
    Fault("lets the public answer", ON_X, around(X, "_ask", lets_all_answer),
          "test_nobody_can_answer"),
    Fault("posts what is of the other world", HOOK, instead(webhook, "meant_for", asks_nobody),
          "test_nothing_of_the_other_world_is_sent"),
    Fault("posts what another channel says", HOOK, instead(webhook, "meant_for", asks_nobody),
          "test_nothing_approved_for_another_channel_is_sent"),

    Fault("retries by itself in doubt", HOOK, around(Webhook, "send", tries_again_in_doubt),
          "test_broken_after_the_message_may_have_left", receiver.hangs_up),
    Fault("retries by itself at once", HOOK, around(Webhook, "send", tries_again_at_once),
          "test_what_an_answer_means", answer(429)),
    Fault("swallows a 5xx", HOOK, around(Webhook, "send", swallows_doubt),
          "test_what_an_answer_means", answer(500)),
    Fault("calls a 5xx failed", HOOK, around(Webhook, "send", calls_doubt_failed),
          "test_what_an_answer_means", answer(500)),
    Fault("calls silence not sent", HOOK, around(Webhook, "send", sends_doubt_again_later),
          "test_broken_after_the_message_may_have_left", receiver.never_answers),
    Fault("takes half an answer", HOOK, instead(http, "_read", needs_no_answer),
          "test_broken_after_the_message_may_have_left", receiver.answers_half),
    Fault("takes any 2xx for proof", X_FAULTS, around(X, "send", takes_any_2xx),
          "test_what_an_answer_means", answer(204)),
    Fault("forgets when to come back", HOOK, around(Webhook, "send", forgets_the_pause),
          "test_what_an_answer_means", answer(429, Retry_After="120")),
    Fault("forgets it in doubt", HOOK, around(Webhook, "send", forgets_the_pause_in_doubt),
          "test_what_an_answer_means", answer(503, Retry_After="7")),
    Fault("has no deadline", HOOK, around(http.Client, "request", has_all_day),
          "test_it_ends_at_its_deadline", fails=TimeoutError),
    Fault("is not to be cancelled", HOOK, around(Webhook, "send", outlives_its_cancelling),
          "test_it_obeys_when_it_is_cancelled", fails=InDoubt),
    Fault("cannot be closed twice", HOOK, around(http.Client, "close", closes_once),
          "test_it_may_be_closed_twice"),

    Fault("logs its key", HOOK, around(Webhook, "send", logs_its_key), "test_nobody_listens"),
    Fault("logs a secret URL when all is well", HOOK,
          around(Webhook, "send", logs_where_it_posted),
          "test_a_send_that_is_well_tells_no_secret"),
    Fault("puts a secret URL into an error", HOOK, around(Webhook, "send", names_the_address),
          "test_nobody_listens"),

    Fault("follows redirects", HOOK, asking(allow_redirects=True),
          "test_a_redirect_is_not_followed"),
    Fault("takes any certificate", HOOK, asking(ssl=False),
          "test_a_server_that_does_not_prove_who_it_is", CERTIFICATES[0]),
    Fault("asks for what is compressed", HOOK, around(aiohttp.ClientSession, "request", compresses),
          "test_nothing_compressed_is_asked_for"),
    Fault("keeps its connections", HOOK, with_session(keeps_connections),
          "test_a_connection_is_not_used_twice", fails=InDoubt),
    Fault("keeps cookies", HOOK, with_session(keeps_cookies), "test_cookies_are_not_kept"),
    Fault("goes by a proxy of the environment", HOOK, with_session(obeys_the_environment),
          "test_the_environment_names_no_proxy", fails=TryLater),
    Fault("goes to any address", HOOK, instead(http, "within", lambda *_: True),
          "test_an_address_outside_the_networks", "127.0.0.1"),

    Fault("finds nothing", ON_X, around(X, "find", finds_nothing),
          "test_it_finds_what_is_there_or_says_that_it_cannot_look"),
    Fault("finds what it remembers", ON_X, remembering, "test_it_is_found_by_another_process"),
    Fault("takes a look that broke for absence", X_FAULTS, around(X, "find", sees_nothing),
          "test_who_cannot_see_does_not_say_that_nothing_is_there", BLIND[4]),
    Fault("takes a read that broke for gone", X_FAULTS, around(X, "read", sees_nothing),
          "test_who_cannot_see_does_not_say_that_nothing_is_there", BLIND[4]),
    Fault("reads from memory", ON_X, around(X, "read", reads_from_memory),
          "test_what_is_retracted_is_gone"),
    Fault("retracts nothing", ON_X, around(X, "retract", retracts_nothing),
          "test_what_is_retracted_is_gone"),
    Fault("takes a refusal to retract for done", X_FAULTS, around(X, "retract", takes_no_for_done),
          "test_a_retraction_without_an_answer_is_not_done", BLIND[1]),
    Fault("edits by posting anew", ON_X, around(X, "edit", edits_by_posting_anew),
          "test_what_cannot_be_done_to_a_post_is_said"),
]  # fmt: skip


# --- The tests --------------------------------------------------------------------------------


def with_its_case(fault: Fault, test: Any) -> Any:
    """A test with the one case of the fault, which must be one of the contract's own."""
    marks = getattr(test, "pytestmark", [])
    if fault.case is None:
        assert not marks, f"{fault.what}: {fault.caught_by} has cases"
        return test
    [cases] = marks
    assert fault.case in cases.args[1], f"{fault.what}: no such case of {fault.caught_by}"
    test.pytestmark = []
    return pytest.mark.parametrize(cases.args[0], [fault.case])(test)


def as_it_is(test: Any) -> Any:
    @functools.wraps(test)
    async def passes(self: Any, **given: Any) -> None:
        await test(self, **given)

    return passes


def planted(fault: Fault, test: Any) -> Any:
    @functools.wraps(test)
    async def fails(self: Any, **given: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            fault.plant(patch)
            with pytest.raises(fault.fails):
                await test(self, **given)

    return fails


def judged(fault: Fault) -> type:
    """The tests of a fault: its channel's one that notices it, and that once more with it."""
    test = getattr(fault.of, fault.caught_by)
    others = {name: None for name in dir(fault.of) if name.startswith("test_")}
    return type("Test" + fault.what.title().replace(" ", ""), (fault.of,), others | {
        fault.caught_by: with_its_case(fault, as_it_is(test)),
        "test_the_fault_is_caught": with_its_case(fault, planted(fault, test)),
    })  # fmt: skip


globals().update({each.__name__: each for each in map(judged, FAULTS)})  # pytest collects classes
