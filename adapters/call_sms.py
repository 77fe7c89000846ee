"""Calls a person by SMS: Twilio's Messages API (https://www.twilio.com/docs/messaging/api).

The message is the call's text, verbatim: plain ASCII, so one segment where the link is short. It
is worth nothing after ten minutes, and so is not delivered then (`ValidityPeriod`). Twilio takes
no key, so a call that is in doubt is not sent again here; the next round calls anyway.

Twilio tells what becomes of a message at `callback`, which ends in the call's id; `reported`
reads that, once it has proved that Twilio said it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Generic, Literal
from urllib.parse import urlencode

from yarl import URL

from adapters import http
from broadcaster.calling import WORTH, Accepted, Call, Means, Progress, meant_for
from broadcaster.clock import Clock
from broadcaster.delivery import InDoubt, LockedOut, Refused, TryLater
from broadcaster.errors import Kind, Refusal
from broadcaster.world import W

TWILIO = "https://api.twilio.com"

#: What a Twilio error means for us, by its code (https://www.twilio.com/docs/api/errors).
_LATER = {21611}  # the sender's queue is full: nothing was taken
_REFUSED = {
    21211: "Twilio says that this is no telephone number (21211). Correct it on the roster.",
    21408: "The Twilio account may not send to this country (21408). Allow it in its console.",
    21610: "This number has told us to stop (21610). Its owner has to text START to our number.",
    21614: "This number cannot get an SMS (21614). Put a mobile number on the roster.",
}

#: Twilio's word for a message, where it tells us something.
_PROGRESS = {
    "sent": Progress.SENT,
    "delivered": Progress.DELIVERED,
    "read": Progress.DELIVERED,
    "failed": Progress.FAILED,
    "undelivered": Progress.FAILED,
    "canceled": Progress.FAILED,
}


class CallSms(Generic[W]):
    """Calls from one Twilio account. `sender`: a number (E.164) or a Messaging Service's SID.

    `callback` is our own address for Twilio's reports, without the call's id; None: none are
    asked for. `token` signs them too and is never shown.
    """

    means: Literal[Means.SMS] = Means.SMS

    def __init__(
        self, world: W, *, account: str, token: str, sender: str, callback: str | None,
        networks: http.Networks, clock: Clock, deadline: timedelta = http.DEADLINE,
        base: str = TWILIO,
    ) -> None:  # fmt: skip
        self.world: W = world
        self._url = URL(base) / "2010-04-01/Accounts" / account / "Messages.json"
        self._login = base64.b64encode(f"{account}:{token}".encode()).decode()
        self._token = token.encode()
        self._from = {"MessagingServiceSid" if sender.startswith("MG") else "From": sender}
        self._callback = callback
        self._clock = clock
        self._deadline = deadline
        self._client = http.Client(networks, clock, http.CALL_NETWORKS)

    async def call(self, call: Call[W]) -> Accepted:
        """Gives the message to Twilio. Raises TryLater, Refused or InDoubt."""
        meant_for(self, call)
        form = {
            "To": call.address,
            "Body": call.text,
            "ValidityPeriod": str(int(WORTH.total_seconds())),
            **self._from,
        }
        if self._callback is not None:
            form["StatusCallback"] = f"{self._callback}/{call.id}"
        answer = await self._client.post(
            self._url,
            body=urlencode(form).encode(),
            headers={
                "Authorization": f"Basic {self._login}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            deadline=self._deadline,
        )
        said = _said(answer.body)
        if 400 <= answer.status < 500:
            _explain(answer.status, said.get("code"))
        http.prove(answer, repeats=True)
        sid = said.get("sid")
        if not isinstance(sid, str):
            raise InDoubt(f"What answered {answer.status} did not answer as Twilio does.")
        return Accepted(remote_id=sid, at=self._clock.now())

    def reported(self, url: str, form: Mapping[str, str], signature: str) -> Progress | None:
        """What Twilio says of a message at our callback; None: nothing that we keep.

        `url` is the address as Twilio called it, whole. Raises Refusal where the signature is not
        Twilio's (https://www.twilio.com/docs/usage/security#validating-requests).
        """
        said = url + "".join(name + form[name] for name in sorted(form))
        proof = base64.b64encode(hmac.digest(self._token, said.encode(), hashlib.sha1))
        if not hmac.compare_digest(proof, signature.encode()):
            raise Refusal(
                "not_twilio",
                "This report is not signed by our Twilio account.",
                "Look whether the desk's public address and Twilio's token are right.",
                kind=Kind.FORBIDDEN,
            )
        return _PROGRESS.get(form.get("MessageStatus", ""))

    async def close(self) -> None:
        await self._client.close()


def _said(body: bytes) -> dict[str, object]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _explain(status: int, code: object) -> None:
    """Raises where Twilio's own code says more than the status. Its text may hold the number."""
    if status == 401:
        raise LockedOut("Twilio does not know our account (401). Correct its SID or its token.")
    if code in _LATER:
        raise TryLater(f"Twilio's queue for our number is full ({status}, {code}).")
    if isinstance(code, int) and code in _REFUSED:
        raise Refused(f"{_REFUSED[code]} Answered {status}.")
