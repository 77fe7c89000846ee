"""Tells the department's own app of each change of an approval request: a signed webhook (Standard
Webhooks 1.0), to the address and with the secret that it is called by.

`webhook-id` is the change's id, the same on every try: it comes at least once. The changes of one
request come in order. The body is JSON in UTF-8:

    version      1
    type         "request"; a call's is "call" (adapters/call_webhook.py)
    world        "exercise" or "live"
    change_id    the change's id, as in `webhook-id`
    request_id   the last part of `url`
    incident_id  which incident, or notice, it is about
    state        "opened", "asked", "assented", "assent ended", "approved", "returned", "declined",
                 "withdrawn", "lapsed", "expired", "renewed", "released", "kept" or "not released"
    at           when: RFC 3339, UTC
    epoch        of the command that the request was last put to; it rises with each change
    url          where the person reads and decides

The app answers 2xx once it has taken it. Anything else is tried again, later and later, for 24
hours.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Generic

from yarl import URL

from adapters import http
from broadcaster.clock import Clock
from broadcaster.informing import StateChange
from broadcaster.world import W


class InformWebhook(Generic[W]):
    """Tells one app. `key` is the secret's bytes; neither it nor the URL is ever shown."""

    def __init__(
        self, *, url: str, key: bytes, networks: http.Networks, clock: Clock,
        deadline: timedelta = http.DEADLINE,
    ) -> None:  # fmt: skip
        self._url = URL(url)
        self._key = key
        self._deadline = deadline
        self._client = http.Client(networks, clock, http.CALL_NETWORKS)

    async def inform(self, change: StateChange[W]) -> None:
        """Hands the change to the app. Raises TryLater, Refused or InDoubt."""
        answer = await self._client.post_signed(
            self._url, change.id, _body(change), keys=[self._key], deadline=self._deadline
        )
        http.prove(answer)

    async def close(self) -> None:
        await self._client.close()


def _body(change: StateChange[W]) -> bytes:
    fields = {
        "version": 1,
        "type": "request",
        "world": change.world,
        "change_id": change.id,
        "request_id": change.request_id,
        "incident_id": change.incident_id,
        "state": change.state,
        "at": change.at.isoformat(),
        "epoch": change.epoch,
        "url": change.url,
    }
    return json.dumps(fields, separators=(",", ":")).encode()
