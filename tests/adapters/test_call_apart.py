"""What the contract of calls does not ask: what each means has of its own, beside HTTP and keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from adapters.call_mail import CallMail
from adapters.call_sms import CallSms
from broadcaster.calling import Call, Means, Progress, words
from broadcaster.delivery import Refused, TryLater
from broadcaster.errors import Refusal
from broadcaster.world import Exercise
from tests.adapters.call_contract import LINK
from tests.adapters.mailserver import BREAKS, HANGS, MailServer, certified
from tests.story import EXERCISE, NOW, StillClock

LOGIN = ("alerts", "the-password")


def a_mail(address: str = "ortiz@police.example") -> Call[Exercise]:
    return Call[Exercise](
        id="c1", about_id=LINK.rpartition("/")[2], incident_id="i1",
        person_id="ortiz", reach_id="r1", means=Means.MAIL, address=address, world=EXERCISE,
        url=LINK, attempt=1,
    )  # fmt: skip


def mail(port: int, **fields: Any) -> CallMail[Exercise]:
    return CallMail(EXERCISE, **{
        "host": "localhost", "port": port, "tls": "none", "login": None, "clock": StillClock(),
        "sender": "alerts@police.example",
    } | fields)  # fmt: skip


@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_mail_goes_over_tls_by_a_server_that_proves_who_it_is(tls: str) -> None:
    theirs, trust = certified()
    known = {"tls": tls, "trust": trust, "login": LOGIN}
    async with MailServer(None, theirs, tls == "tls", LOGIN) as there:
        await mail(there.port, **known).call(a_mail())
        assert len(there.taken) == 1
        with pytest.raises(Refused, match="login") as caught:
            await mail(there.port, **known | {"login": ("alerts", "wrong")}).call(a_mail())
        assert "wrong" not in str(caught.value)
        with pytest.raises(TryLater, match="TLS"):
            await mail(there.port, **known | {"trust": None}).call(a_mail())
        assert len(there.taken) == 1


async def test_mail_does_not_go_in_the_clear_where_tls_was_asked_for() -> None:
    async with MailServer() as there:
        with pytest.raises(Refused, match="no TLS, or no login"):
            await mail(there.port, tls="starttls").call(a_mail())
        assert there.taken == []


def test_no_login_goes_in_the_clear() -> None:
    with pytest.raises(ValueError, match="never sent without TLS"):
        mail(25, login=LOGIN)


async def test_it_is_a_mail_that_no_machine_answers() -> None:
    async with MailServer() as there:
        await mail(there.port).call(a_mail())
        [told], [envelope] = there.mails, there.taken
    assert envelope.mail_from == told["From"] == "alerts@police.example"
    assert envelope.rcpt_tos == [told["To"]] == ["ortiz@police.example"]
    assert told["Auto-Submitted"] == "auto-generated"
    assert told["Date"].datetime == NOW
    assert told.get_content() == f"{words(EXERCISE)}:\r\n\r\n{LINK}\r\n"


@pytest.mark.parametrize("way", [BREAKS, HANGS, "451 later"])
async def test_a_mail_that_was_taken_is_taken_however_the_goodbye_goes(way: str) -> None:
    async with MailServer({"QUIT": way}) as there:
        assert await mail(there.port).call(a_mail())
        assert len(there.taken) == 1


@pytest.mark.parametrize("address", ["", "ortiz", "a@b@c", "a b@c", "a@b\r\nBcc: c@d", "ö@c"])
async def test_what_is_no_mailbox(address: str) -> None:
    async with MailServer() as there:
        with pytest.raises(Refused, match="mailbox"):
            await mail(there.port).call(a_mail(address))
        assert there.taken == []


def sms(token: str) -> CallSms[Exercise]:
    return CallSms(
        EXERCISE, account="AC" + "0" * 32, token=token, sender="MG1", callback=None, networks=(),
        clock=StillClock(),
    )  # fmt: skip


def test_twilio_proves_that_a_report_is_its_own() -> None:
    """The address, the form and the signature stand in Twilio's own documentation."""
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    form = {"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234",
            "From": "+14158675309", "To": "+18005551212"}  # fmt: skip
    assert sms("12345").reported(url, form, signature) is None
    for token, address, said, proof in [
        ("12346", url, form, signature),
        ("12345", url + "&", form, signature),
        ("12345", url, form | {"MessageStatus": "delivered"}, signature),
        ("12345", url, form, ""),
        ("12345", url, form, "é"),
    ]:
        with pytest.raises(Refusal, match="not signed"):
            sms(token).reported(address, said, proof)


@pytest.mark.parametrize(("status", "progress"), [
    ("queued", None), ("sending", None), ("sent", Progress.SENT),
    ("delivered", Progress.DELIVERED), ("undelivered", Progress.FAILED),
    ("failed", Progress.FAILED), ("something new", None),
])  # fmt: skip
def test_what_twilio_says_became_of_it(status: str, progress: Progress | None) -> None:
    signed = hmac.digest(b"t", f"https://a/c1MessageStatus{status}".encode(), hashlib.sha1)
    proof = base64.b64encode(signed).decode()
    assert sms("t").reported("https://a/c1", {"MessageStatus": status}, proof) is progress
