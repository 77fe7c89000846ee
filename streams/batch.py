"""What is asked for while the one before is under way, done together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from broadcaster.errors import LedgerAway

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

#: Done at once, at most: bounds how long the others wait for the ledger.
AT_MOST = 64


class Batch(Generic[Asked, Answer]):
    """One at a time, so that what comes in the meantime gathers: nothing waits for a timer."""

    def __init__(
        self, do: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | Exception]]]
    ) -> None:
        """`do` answers each in its place; what it raises is every one's, if they fail alone too."""
        self._do = do
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._doing: asyncio.Task[None] | None = None

    async def __call__(self, asked: Asked) -> Answer:
        """Returns, or raises, the answer once it is there."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._doing is None or self._doing.done():
            self._doing = asyncio.create_task(self._all())
        return await answer

    async def _all(self) -> None:
        while self._waiting:
            now, self._waiting = self._waiting[:AT_MOST], self._waiting[AT_MOST:]
            answers = await self._answers([asked for asked, _ in now])
            for (_, future), answer in zip(now, answers, strict=True):
                if future.done():  # whoever asked has gone
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    async def _answers(self, asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
        try:
            return await self._do(asked)
        except Exception as problem:
            if len(asked) == 1 or isinstance(problem, LedgerAway):
                return [problem] * len(asked)
        return [answer for one in asked for answer in await self._answers([one])]
