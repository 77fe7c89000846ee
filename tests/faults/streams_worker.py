"""A process with streams, to be killed: notes on a file when it handled what.

python -m tests.faults.streams_worker BOOTSTRAP embedded|kafka GROUP TOPIC FILE
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


async def main(broker: Broker, group: str, topic: str, notes: TextIO) -> None:
    async def handle(message: Delivered) -> None:
        await asyncio.sleep(0.005)
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
        asyncio.run(main(Broker(bootstrap, kind == "embedded"), group, topic, notes))
