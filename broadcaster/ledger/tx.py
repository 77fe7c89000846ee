"""One step's transaction: what it reads and writes, notes on the record, and leaves to send."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection, insert

from broadcaster.ledger import schema
from broadcaster.record import Entry, Kind, entry
from broadcaster.world import World

#: What changed, by name: `outbox`, `board`, `incident:ID`, `request:ID`, `posts:CHANNEL`.
Change = str


@dataclass
class Tx:
    """What a step holds while it runs."""

    connection: Connection
    clock: Callable[[], datetime]
    world: World
    #: What the step's facts and messages belong to (broadcaster/trace.py): a step takes it from
    #: each row that it sees to.
    trace: str | None = None
    _entries: list[Entry] = field(default_factory=list)
    _messages: list[dict[str, object]] = field(default_factory=list)
    _changes: set[Change] = field(default_factory=set)

    @cached_property
    def now(self) -> datetime:
        """The ledger's time: one for the whole step, taken when it first asks, inside its locks."""
        return self.clock()

    def record(
        self,
        kind: Kind,
        *,
        actor: str,
        incident_id: str | None = None,
        private: Mapping[str, str | None] | None = None,
        **public: object,
    ) -> None:
        """Puts a fact on the record, in the same transaction as the fact."""
        self._entries.append(
            entry(
                kind, at=self.now, actor=actor, incident_id=incident_id,
                public={"trace": self.trace, **public}, private=private,
            )
        )  # fmt: skip
        self.changed("record")

    def send(self, topic: str, *, key: str, value: bytes, message_id: str) -> None:
        """Leaves a message for the relay (DESIGN.md rule 3: nothing reaches Kafka another way)."""
        self._messages.append({
            "topic": f"{self.world}.{topic}", "key": key, "value": value,
            "message_id": message_id, "trace": self.trace, "at": self.now,
        })  # fmt: skip
        self.changed("outbox")

    @property
    def leaves(self) -> set[str]:
        """The ids of the messages that the step leaves for the relay so far."""
        return {str(message["message_id"]) for message in self._messages}

    def take_back(self, message_ids: Container[str]) -> None:
        """Leaves these messages out after all."""
        self._messages = [m for m in self._messages if m["message_id"] not in message_ids]

    def changed(self, *what: Change) -> None:
        """Says, after the commit, that something a page or a worker looks at has moved."""
        self._changes.update(what)

    def flush(self) -> tuple[list[Entry], set[Change]]:
        """Writes what the step left. Called once, by the writer, inside the step's savepoint."""
        run = self.connection.execute
        if self._entries:
            run(insert(schema.entries), [
                {"id": e.id, "kind": e.kind, "at": e.at, "incident_id": e.incident_id,
                 "body": e.body} for e in self._entries
            ])  # fmt: skip
            if self.connection.dialect.name == "postgresql":
                run(insert(schema.unsealed), [{"entry_id": e.id} for e in self._entries])
            if private := [
                {"entry_id": e.id, "field": p.field, "salt": p.salt, "value": p.value}
                for e in self._entries
                for p in e.private
            ]:
                run(insert(schema.private_values), private)
        if self._messages:
            run(insert(schema.outbox), self._messages)
        return self._entries, self._changes
