"""The watchers of live readings: each gets the newest, and nobody holds up another."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from tweetdock.show.board import Board
from tweetdock.show.web.answers import Message, Receive, Send, as_bytes
from tweetdock.show.web.guard import Limits

if TYPE_CHECKING:
    from tweetdock.core.reading import Reading

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect events before it passes them on
]
RETRY = b"retry: 2000\n\n"


class Watchers:
    """The page's watchers, as many as the limits allow.

    Belongs to the loop of asyncio in which `begin` is called, but for what the board calls.
    """

    def __init__(self, board: Board, limits: Limits) -> None:
        self._board = board
        self._limits = limits
        self._all: set[Watcher] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_due = False
        self._due_at = 0.0
        self._shown: Reading | None = None
        self.number = 0
        self._event = b""
        self.has_ended = False
        board.watch(self._published)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def has_room(self) -> bool:
        """Whether one more may watch."""
        return len(self._all) < self._limits.watchers and not self.has_ended

    @property
    def event(self) -> bytes:
        """The newest reading as an event; nothing while the loop hangs, as that is old."""
        return b"" if self._board.is_silent else self._event

    def begin(self) -> None:
        """Follow the board from now on."""
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """End the answers to all of them."""
        self.has_ended = True
        for watcher in self._all:
            watcher.wake()

    async def follow(self, scope: Message, receive: Receive, send: Send) -> None:
        """Send the readings until the watcher leaves; an ASGI application."""
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        # What was put up before the loop hung is not sent to who comes later, nor when it turns.
        is_late = self._board.is_silent
        watcher = Watcher(self, send, seen=self.number if is_late else 0)
        self._all.add(watcher)
        if not is_late:
            self._make_event()
        leaving = asyncio.ensure_future(_gone(receive))
        leaving.add_done_callback(lambda _: watcher.leave())
        try:
            await watcher.watch()
        finally:
            self._all.discard(watcher)
            leaving.cancel()

    def _published(self) -> None:
        """A new reading is up; called in the gauge's own loop, which waits for nothing."""
        if self._loop is not None and self._all:
            with suppress(RuntimeError):  # asyncio's loop is closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._is_due or self._loop is None:
            return
        self._is_due = True
        self._loop.call_at(max(self._due_at, self._loop.time()), self._wake_all)

    def _wake_all(self) -> None:
        self._is_due = False
        if self._loop is not None:
            self._due_at = self._loop.time() + self._limits.pause_seconds
        self._make_event()
        for watcher in self._all:
            watcher.wake()

    def _make_event(self) -> None:
        """Make an event of the newest reading, one for all."""
        reading = self._board.reading
        if reading is None or reading is self._shown:
            return
        self._shown = reading
        self.number += 1
        self._event = b"id: %d\ndata: %b\n" % (reading.at_ms, as_bytes(reading))


class Watcher:
    """One who watches; seen: the number of the event that it needs no more."""

    def __init__(self, watchers: Watchers, send: Send, *, seen: int) -> None:
        self._watchers = watchers
        self._send = send
        self._changed = asyncio.Event()
        self._has_left = False
        self._seen = seen

    def wake(self) -> None:
        """Have it see whether there is a newer event."""
        self._changed.set()

    def leave(self) -> None:
        """Its connection has ended."""
        self._has_left = True
        self._changed.set()

    async def watch(self) -> None:
        """Send it the newest reading, again and again."""
        await self._body(RETRY)
        while not (self._has_left or self._watchers.has_ended):
            if self._seen == self._watchers.number:
                await self._changed.wait()
            self._changed.clear()
            # This returns when all that was sent before is on its way: only then the newest is
            # chosen, so that who reads slowly misses readings, and is never shown old ones.
            await self._body(b"")
            if self._seen != self._watchers.number:
                self._seen = self._watchers.number
                await self._body(self._watchers.event)
        await self._body(b"", more=False)

    async def _body(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
