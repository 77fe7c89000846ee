"""What the pages and /readyz say of the streams, as those see it who look at them."""

from __future__ import annotations

from tests.connected.installation import PIO, Installation, ask, until

#: Seconds within which the pages and /readyz say that the streams stand still.
SAID_WITHIN = 3.0


async def streams(at: Installation) -> str:
    """What /readyz says of the streams; it answers 200 as long as the desk can do its part."""
    answer = await at.get("/readyz")
    assert answer.status == 200, answer
    said: str = answer.body["streams"]
    return said


async def stand_still(at: Installation) -> str | None:
    said = await streams(at)
    return None if said == "run" else said


async def page(at: Installation) -> str:
    """The board, as the PIO's browser gets it."""
    pio = await at.person(PIO)
    answer = await ask(pio.session, "GET", "/", headers={"Accept": "text/html"})
    assert answer.status == 200, answer
    return answer.raw.decode()


async def run_again(at: Installation) -> None:
    async def so() -> bool:
        return await streams(at) == "run" and "The streams stand still" not in await page(at)

    await until("the pages say no more that the streams stand still", so)
