"""The topics that programs outside read and write, described: AsyncAPI 3.0.

Made from the models that validate what comes in and write what goes out, so the document cannot
say anything else than what the topics hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from broadcaster.desk.deps import Desk
from broadcaster.desk.openapi import VERSION
from broadcaster.subscribers import PostSettled, UpdateReleased

Json = dict[str, Any]

DESCRIPTION = """\
CAD systems write reports to one topic; anybody with an account reads two, which hold public \
content alone. The operator gives out the brokers' addresses and the accounts.

* **At least once.** A message may come again, after others too. The same message has the same \
`message_id`, in its body and in the header `message-id`: what was seen before is left out by it.
* **In order for one key**, where doubles are left out. Messages of different keys overtake each \
other.
* **Kept for a time, not for ever**: `retention.ms` of each channel. Who was away for longer reads \
the feeds of the public page.
* **Versioned.** Fields may join a version; readers leave out those that they do not know. A \
`version` that a reader does not know is not for it.
* **Traced.** `traceparent` is that of W3C Trace Context: a report's goes on to all that follows \
from it. It says nothing about what to do."""

_TRACEPARENT: Json = {
    "type": "string",
    "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    "description": "W3C Trace Context.",
}


@dataclass(frozen=True)
class _Channel:
    """One topic of the document: what we do with it, and what its messages hold."""

    name: str
    act: Literal["send", "receive"]
    operation: str
    summary: str
    model: type[BaseModel]
    headers: Json

    @property
    def mode(self) -> Literal["validation", "serialization"]:
        return "serialization" if self.act == "send" else "validation"


def document(desk: Desk) -> Json:
    """The whole AsyncAPI document."""
    ours: Json = {
        "type": "object",
        "properties": {
            "message-id": {"type": "string", "format": "uuid"},
            "traceparent": _TRACEPARENT,
        },
        "required": ["message-id"],
    }
    channels = (
        _Channel(
            "incident.intake", "receive", "takeReport",
            "A CAD system reports an incident. The same `id` with the same body is one report, "
            "however often it comes. What the schema does not name is left at the door, and what "
            "cannot be used stands among the desk's problems.",
            desk.intake.schema, {"type": "object", "properties": {"traceparent": _TRACEPARENT}},
        ),
        _Channel(
            "updates.public", "send", "tellRelease",
            "A release, in full: one message each, as soon as the Incident Commander's approval "
            "has passed the gate, before it is on the channels.",
            UpdateReleased, ours,
        ),
        _Channel(
            "posts.settled", "send", "tellPost",
            "How one channel's part of a release ended.", PostSettled, ours,
        ),
    )  # fmt: skip
    named, definitions = models_json_schema(
        [(each.model, each.mode) for each in channels], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Incident alert broadcaster", "version": VERSION, "description": DESCRIPTION,
            "externalDocs": {"url": f"{desk.address}/api/v1/openapi.json"},
        },
        "defaultContentType": "application/json",
        "channels": {each.name: _channel(desk, each) for each in channels},
        "operations": {each.operation: _operation(each) for each in channels},
        "components": {
            "messages": {
                each.model.__name__: _message(desk, each, named[(each.model, each.mode)])
                for each in channels
            },
            "schemas": definitions["$defs"],
        },
    }  # fmt: skip


def _channel(desk: Desk, channel: _Channel) -> Json:
    topic, message = desk.topics[channel.name], channel.model.__name__
    return {
        "address": topic.name,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": topic.retention // timedelta(milliseconds=1),
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operation(channel: _Channel) -> Json:
    name = channel.name
    return {
        "action": channel.act,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": channel.summary,
        "messages": [{"$ref": f"#/channels/{name}/messages/{channel.model.__name__}"}],
    }


def _message(desk: Desk, channel: _Channel, payload: Json) -> Json:
    return {
        "name": channel.model.__name__,
        "summary": (channel.model.__doc__ or "").splitlines()[0],
        "headers": channel.headers,
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": desk.topics[channel.name].key},
                "bindingVersion": "0.5.0",
            }
        },
    }
