"""`broadcaster` with channels of class C, of which the product has none yet.

    python -m tests.faults.looking ARGUMENTS

Webhooks named `look_…` can be asked what they hold: their receiver (`receiver.py`) answers it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import aiohttp

import adapters
from adapters.webhook import Webhook
from broadcaster import channel, cli
from broadcaster.accounts import WebhookAccount
from broadcaster.channel import Channel, Idempotency
from broadcaster.delivery import Adapter, Message, Receipt, TryLater
from broadcaster.world import W

#: Beyond how long after a send its receiver may not show it yet (`receiver.py --lag`).
LAG = timedelta(seconds=1.5)


class Looking(Webhook[W]):
    """A webhook whose receiver tells whether it acted on a post."""

    async def find(self, message: Message[W]) -> Receipt | None:
        """Raises TryLater."""
        try:
            async with aiohttp.request("GET", self._url, raise_for_status=True) as answer:
                shown = await answer.json(content_type=None)
        except aiohttp.ClientError:
            raise TryLater("The receiver did not say whether it is there.") from None
        there = any(each["id"] == message.post_id for each in shown)
        return Receipt(remote_id=message.post_id) if there else None


_webhook, _built = channel.webhook, adapters.REGISTER["webhook"]


def _channel(world: W, name: str, title: str, *, dedupes: bool) -> Channel[W]:
    made = _webhook(world, name, title, dedupes=dedupes)
    if not name.startswith("look_"):
        return made
    return made.model_copy(update={"idempotency": Idempotency.CAN_LOOK, "find_lag": LAG})


def _build(made: Channel[Any], parts: adapters.Parts) -> Adapter[Any]:
    if made.idempotency is not Idempotency.CAN_LOOK:
        return _built(made, parts)
    account = parts.accounts[made.name]
    assert isinstance(account, WebhookAccount), "that is what it was made of"
    return Looking(made, account, key=parts.keys[made.name], networks=parts.networks,
                   clock=parts.clock)  # fmt: skip


if __name__ == "__main__":
    channel.webhook = _channel
    adapters.REGISTER["webhook"] = _build
    cli.main()
