"""What moves, told as it moves: `GET /events`, server-sent events.

An event says which things changed and never what they now are; the page fetches the piece again.
One listener on the ledger's commits serves every stream. A slow reader loses nothing: what it has
not read yet is merged into one event. Who comes back says what was heard last (`Last-Event-ID`,
or `?since=` as the page was told), and hears what moved since, or `all` where that is no longer
known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from aiohttp import web

from broadcaster.desk.deps import DESK
from broadcaster.desk.session import Handler, SignInFirst, person, still_signed_in
from broadcaster.errors import Kind, LedgerAway, Refusal
from broadcaster.ledger import Change

#: An event `here` goes out after so many seconds of silence; a page believes itself cut off after
#: 20. No comment: a browser's EventSource does not show comments to the page.
HERE_EVERY = 15.0
#: Whether the session still stands is looked at this often, in seconds.
SESSION_EVERY = 60.0
#: What the browser waits before it connects again, in milliseconds.
RETRY_MS = 2000
#: Commits remembered for those who come back.
REMEMBERED = 1000
#: Streams of the public at one time. Each holds a connection; its page works without.
MOST_PUBLIC = 500
#: When the desk ends, a stream whose reader takes nothing is cut off after so many seconds.
CUT_AFTER = 0.5
#: Between two events to one reader, in seconds: a replay commits hundreds of times a second.
PACE = 0.03
#: More names than this are told as `all`.
MOST_NAMES = 200
#: What moves behind the pages and shows on none.
UNSEEN = frozenset({"outbox", "outbox.sent"})
#: Said to a reader who was away too long: look at everything again.
ALL: Change = "all"

routes = web.RouteTableDef()


class Reader:
    """One stream: what moved and was not sent to it yet."""

    def __init__(
        self, cut: Callable[[], None], hears: Callable[[Change], bool], *, public_only: bool
    ) -> None:
        self.cut = cut
        self.public_only = public_only
        self._hears = hears
        self._moved = asyncio.Event()
        self._waiting: set[Change] = set()

    def add(self, changes: frozenset[Change]) -> None:
        self._waiting |= set(filter(self._hears, changes))
        if len(self._waiting) > MOST_NAMES:
            self._waiting = {ALL}
        if self._waiting:
            self._moved.set()

    def wake(self) -> None:
        self._moved.set()

    async def take(self, timeout: float) -> list[Change]:
        """What moved, in order of name; nothing after so many seconds without a move."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._moved.wait()
        taken, self._waiting = self._waiting, set()
        self._moved.clear()
        return sorted(taken)


class Hub:
    """Hears every commit once, and tells every stream."""

    def __init__(self) -> None:
        self.closing = False
        self._run = secrets.token_hex(4)
        self._number = 0
        self._past: deque[frozenset[Change]] = deque(maxlen=REMEMBERED)
        self._readers: set[Reader] = set()
        self._left = asyncio.Event()

    @property
    def last_id(self) -> str:
        """The number of the newest commit that was heard; another after each start."""
        return f"{self._run}-{self._number}"

    def hear(self, changes: frozenset[Change]) -> None:
        changes -= UNSEEN
        if not changes:
            return
        self._number += 1
        self._past.append(changes)
        for reader in self._readers:
            reader.add(changes)

    async def end(self) -> None:
        """Ends every stream now, whether or not its reader takes anything."""
        self.closing = True
        for reader in self._readers:
            reader.wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_AFTER):
                while self._readers:
                    self._left.clear()
                    await self._left.wait()
        for reader in self._readers:
            reader.cut()

    @contextlib.contextmanager
    def reading(
        self, since: str | None, cut: Callable[[], None], *, public_only: bool,
        guest_of: str | None = None,
    ) -> Iterator[Reader]:  # fmt: skip
        """A reader that has heard everything up to `since`. Raises Refusal where there are many.

        `guest_of`: the one incident that somebody from outside hears of.
        """
        strangers = sum(reader.public_only for reader in self._readers)
        if public_only and strangers >= MOST_PUBLIC:
            raise Refusal(
                "too_many_streams",
                "The desk tells as many pages at once as it can.",
                "The page works without; reload it to see what is new.",
                kind=Kind.UNAVAILABLE,
                facts={"retry_after_s": 30},
            )
        hears = _is_public if public_only else partial(_is_told, guest_of)
        reader = Reader(cut, hears, public_only=public_only)
        reader.add(self._missed(since))
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.remove(reader)
            self._left.set()

    def _missed(self, since: str | None) -> frozenset[Change]:
        if since is None:
            return frozenset()
        behind = self._behind(since)
        if behind is None:
            return frozenset({ALL})
        missed = list(self._past)[len(self._past) - behind :]
        return frozenset(change for changes in missed for change in changes)

    def knows(self, since: str) -> bool:
        """Whether what moved after `since` is still remembered."""
        return self._behind(since) is not None

    def _behind(self, since: str) -> int | None:
        run, _, number = since.partition("-")
        if run != self._run or not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        behind = self._number - int(number)
        return behind if 0 <= behind <= len(self._past) else None


def _is_told(guest_of: str | None, change: Change) -> bool:
    """What a member hears is everything; of requests and releases the id alone says nothing."""
    if guest_of is None:
        return True
    named = (f"incident:{guest_of}", "exercise", ALL)
    return change in named or change.startswith(("request:", "release:"))


def _is_public(change: Change) -> bool:
    return change in ("public", ALL) or change.startswith("public:")


HUB = web.AppKey("hub", Hub)
SINCE = web.RequestKey("since", str)


def setup(app: web.Application) -> None:
    """Listens to the ledger for as long as the application runs."""
    hub = app[HUB] = Hub()

    async def listening(app: web.Application) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def hear(changes: frozenset[Change]) -> None:
            """In the loop whose step was committed, which may be another thread's."""
            loop.call_soon_threadsafe(hub.hear, changes)

        stop_listening = app[DESK].ledger.on_commit(hear)
        yield
        stop_listening()

    async def end(app: web.Application) -> None:
        await hub.end()

    app.cleanup_ctx.append(listening)
    app.on_shutdown.append(end)


@web.middleware
async def note_since(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a page shows is at least as new as this, so its stream begins here."""
    request[SINCE] = request.app[HUB].last_id
    return await handler(request)


@routes.get("/events", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Event `changed` with a JSON list of names, as they move. Strangers hear of public things.

    `only=public`: of these alone. `only=members`: the page was a member's, and is to learn it when
    their session has ended, instead of being told what strangers are.
    """
    reads, only = person(request), request.query.get("only")
    signed_in = reads is not None
    exercise = request.app[DESK].settings.world == "exercise"
    if not signed_in and (exercise or only == "members"):
        raise SignInFirst
    hub = request.app[HUB]
    public_only = not signed_in or only == "public"
    since = request.headers.get("Last-Event-ID") or request.query.get("since")
    known = since is None or hub.knows(since)
    first = f"id: {since or hub.last_id}\n" if known else ""
    assert request.transport is not None, "its headers were just read"
    guest_of = (reads.guest_of or "") if reads and reads.outside else None
    with hub.reading(
        since, request.transport.abort, public_only=public_only, guest_of=guest_of
    ) as reader:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError, LedgerAway):
            await response.write(f"retry: {RETRY_MS}\n{first}\n".encode())
            await _tell(request, response, hub, reader, signed_in=signed_in)
        return response


async def _tell(
    request: web.Request,
    response: web.StreamResponse,
    hub: Hub,
    reader: Reader,
    *,
    signed_in: bool,
) -> None:
    """Until the desk ends, the session ends, or nobody reads any more."""
    loop = asyncio.get_running_loop()
    look_at_session = loop.time() + SESSION_EVERY
    while True:
        changes = await reader.take(HERE_EVERY)
        if hub.closing:
            return
        if changes:
            told = f"event: changed\nid: {hub.last_id}\ndata: {json.dumps(changes)}\n\n"
            await response.write(told.encode())
            await asyncio.sleep(PACE)
        else:
            await response.write(b"event: here\ndata: 1\n\n")
        if signed_in and loop.time() >= look_at_session:
            if not await still_signed_in(request):
                return
            look_at_session = loop.time() + SESSION_EVERY
