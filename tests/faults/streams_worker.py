"""A process with streams, to be killed: notes on a file when it handled what.

python -m tests.faults.streams_worker BOOTSTRAP embedded|kafka GROUP TOPIC FILE

It waits amid message HELD for as long as there is a file "hold" beside FILE.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from time import monotonic_ns
from typing import TextIO

from streams.app import Delivered, Step, Streams
from streams.broker import Broker
from streams.errors import Poison

HELD = 300


async def main(broker: Broker, group: str, topic: str, notes: TextIO, hold: Path) -> None:
    async def handle(message: Delivered) -> None:
        await asyncio.sleep(0.005)
        while int(message.value) == HELD and hold.exists():  # noqa: ASYNC110, ASYNC240 - a test's
            await asyncio.sleep(0.01)
        notes.write(f"{monotonic_ns()} {message.value.decode()}\n")

    async def on_poison(message: Delivered, poison: Poison) -> None:
        raise poison

    steps = [Step("test", (topic,), handle)]
    streams = Streams(broker, group, steps, on_poison, fetch_wait_ms=20)
    await streams.start()
    print("started", flush=True)
    raise SystemExit(f"ended: {await streams.ended!r}")


if __name__ == "__main__":
    bootstrap, kind, group, topic, file = sys.argv[1:]
    with Path(file).open("a", buffering=1) as notes:
        at = Broker(bootstrap, kind == "embedded")
        asyncio.run(main(at, group, topic, notes, Path(file).with_name("hold")))
